//! What the workloads cost without any pool behind them.

use std::alloc::System;
use std::ptr;

use crate::construct::{Session, Sessions};
use crate::global::Via;
use crate::pool::{Kind, Objects, Pool, Shared};

/// Bytes that the floors play with: they stay in the first-level cache.
const BYTES: usize = 16 << 10;

#[repr(align(4096))]
struct Lines([u8; BYTES]);

/// Hands out the objects of a small region in turn, live or not.
pub(crate) struct Floor<const SIZE: usize> {
    lines: Box<Lines>,
    next: usize,
}

impl<const SIZE: usize> Objects for Floor<SIZE> {
    #[inline(always)]
    fn alloc(&mut self) -> *mut u8 {
        self.next = (self.next + SIZE) % BYTES;
        self.lines.0.as_mut_ptr().wrapping_add(self.next)
    }

    #[inline(always)]
    unsafe fn free(&mut self, _: *mut u8) {}
}

impl<const SIZE: usize> Pool for Floor<SIZE> {
    const NAME: &'static str = "(no pool: the harness)";
    const KIND: Kind = Kind::Floor;

    fn make() -> Self {
        const { assert!(BYTES % SIZE == 0, "objects do not divide the floor") };
        Floor { lines: Box::new(Lines([0; BYTES])), next: 0 }
    }
}

/// The floor of constructed objects: a few of them, given out in turn whatever happens.
pub(crate) struct SessionFloor {
    sessions: Vec<Session<Via<System>>>,
    next: usize,
}

impl Sessions for SessionFloor {
    const NAME: &'static str = <Floor<64> as Pool>::NAME;
    type Handle = *mut Session<Via<System>>;

    fn make() -> Self {
        SessionFloor { sessions: (0..16).map(|_| Session::default()).collect(), next: 0 }
    }

    #[inline]
    fn take(&mut self) -> Self::Handle {
        self.next = (self.next + 1) % self.sessions.len();
        &raw mut self.sessions[self.next]
    }

    #[inline]
    fn write(handle: &mut Self::Handle, byte: u8) {
        // SAFETY: the sessions outlive their users, which use them one after the other.
        unsafe { &mut **handle }.write(byte);
    }

    #[inline]
    fn give(&mut self, handle: Self::Handle) {
        // SAFETY: as in `write`.
        unsafe { &mut *handle }.reset();
    }
}

/// Room for more objects than the harness ever has of the list.
const LIST_LINES: usize = 16;

/// The floor of shared pools: a floor for each handle.
pub(crate) struct SharedFloor;

impl Shared for SharedFloor {
    const NAME: &'static str = <Floor<64> as Pool>::NAME;
    type Handle<'a> = Floor<64>;

    fn make() -> Self {
        SharedFloor
    }

    fn handle(&self) -> Floor<64> {
        Pool::make()
    }
}

/// The least that a pool can do: takes the first of a list through the free objects and puts it back, without counting
/// anything, and never asks for more memory. Only its first objects are ever used again, so that it works in the first-level
/// cache.
pub(crate) struct ListFloor<const SIZE: usize> {
    _lines: Vec<Lines>,
    first: *mut Link,
}

struct Link {
    next: *mut Link,
}

impl<const SIZE: usize> Objects for ListFloor<SIZE> {
    #[inline(always)]
    fn alloc(&mut self) -> *mut u8 {
        let first = self.first;
        // SAFETY: the list never runs empty: the harness has fewer objects live than there are.
        self.first = unsafe { (*first).next };
        first.cast()
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8) {
        let link = ptr.cast::<Link>();
        // SAFETY: the object is free now, and has room and alignment for a link.
        unsafe { link.write(Link { next: self.first }) };
        self.first = link;
    }
}

impl<const SIZE: usize> Pool for ListFloor<SIZE> {
    const NAME: &'static str = "(floor: a list, nothing counted)";
    const KIND: Kind = Kind::ListFloor;

    fn make() -> Self {
        let mut lines: Vec<Lines> = (0..LIST_LINES).map(|_| Lines([0; BYTES])).collect();
        let base = lines.as_mut_ptr().cast::<u8>();
        let mut list = ListFloor { _lines: lines, first: ptr::null_mut() };
        for offset in (0..LIST_LINES * BYTES).step_by(SIZE).rev() {
            // SAFETY: the object lies in the lines, and no other is there.
            unsafe { Objects::free(&mut list, base.wrapping_add(offset)) };
        }
        list
    }
}
