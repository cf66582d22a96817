//! The same heaps as one would write them who has the arenas and size classes of this crate, but none of its combinators: what each tower does is
//! written out in one place, with the checks that it takes.

mod arenas;
mod lists;
mod others;

use std::alloc::Layout;
use std::cell::{Cell, UnsafeCell};
use std::ptr::{self, NonNull};

use heapwright::AllocError;

pub(crate) use self::arenas::{
    AffixByHand, AlignedByHand, ArenaByHand, FallbackByHand, PerClassByHand, QuantizedByHand, QuotaByHand,
    TotalsByHand, TwoSizesByHand, ZeroedByHand,
};
pub(crate) use self::lists::{Arenas, BoundedListsByHand, EverythingByHand, FourWaysByHand, ListsByHand};
pub(crate) use self::others::{InStatic, RegionByHand, StackFirstByHand};
use crate::pair::Face;

/// What is behind the flag of a [`Shell`].
pub(crate) trait Core {
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError>;

    /// # Safety
    /// A live block of this heap, and its layout.
    unsafe fn free(&mut self, ptr: NonNull<u8>, layout: Layout);
}

/// A heap for one thread, used through a shared reference: a flag tells who comes in while it is at work, and requests of size zero are met.
pub(crate) struct Shell<C> {
    busy: Cell<bool>,
    core: UnsafeCell<C>,
}

impl<C> Shell<C> {
    pub(crate) fn new(core: C) -> Self {
        Shell { busy: Cell::new(false), core: UnsafeCell::new(core) }
    }
}

impl<C: Core> Face for Shell<C> {
    #[inline(always)]
    fn get(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(empty(layout));
        }
        if self.busy.replace(true) {
            return Err(AllocError);
        }
        // SAFETY: the flag was down, so nobody else is in here; the type is for one thread.
        let core = unsafe { &mut *self.core.get() };
        let block = core.alloc(layout);
        self.busy.set(false);
        block
    }

    #[inline(always)]
    unsafe fn give(&self, ptr: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 || self.busy.replace(true) {
            return;
        }
        // SAFETY: as above.
        let core = unsafe { &mut *self.core.get() };
        // SAFETY: the caller's promise is the same.
        unsafe { core.free(ptr, layout) };
        self.busy.set(false);
    }
}

/// What is behind lists or a buffer, which look at the flag and need not raise it: they call nobody.
pub(crate) struct Behind<T> {
    busy: Cell<bool>,
    core: UnsafeCell<T>,
}

impl<T> Behind<T> {
    pub(crate) const fn new(core: T) -> Self {
        Behind { busy: Cell::new(false), core: UnsafeCell::new(core) }
    }

    #[inline(always)]
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.get()
    }

    /// Works with the flag raised.
    #[inline(always)]
    pub(crate) fn enter<R>(&self, work: impl FnOnce(&mut T) -> R) -> Result<R, AllocError> {
        if self.busy.replace(true) {
            return Err(AllocError);
        }
        // SAFETY: the flag was down, so nobody else is in here; the type is for one thread.
        let result = work(unsafe { &mut *self.core.get() });
        self.busy.set(false);
        Ok(result)
    }
}

/// A block of no bytes.
#[inline(always)]
fn empty(layout: Layout) -> NonNull<[u8]> {
    let start = ptr::without_provenance_mut(layout.align());
    // SAFETY: an alignment is not zero.
    slice(unsafe { NonNull::new_unchecked(start) }, 0)
}

#[inline(always)]
fn slice(start: NonNull<u8>, len: usize) -> NonNull<[u8]> {
    NonNull::slice_from_raw_parts(start, len)
}

/// So many bytes, aligned so far.
#[inline(always)]
fn layout_of(size: usize, align: usize) -> Result<Layout, AllocError> {
    Layout::from_size_align(size, align).map_err(|_| AllocError)
}
