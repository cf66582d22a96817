//! Allocators of whole programs, asked for objects of one layout known at compile time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use allocator_api2_04::alloc::{AllocError, Allocator};
use allocator_api2_04::boxed::Box;

use crate::construct::{Session, Sessions};
use crate::mix::layout;
use crate::pool::{Objects, Pool, Shared};

/// An allocator whose only state is the program's.
pub(crate) trait Global: GlobalAlloc + Send + Sync + 'static {
    /// As in the tables.
    const NAME: &'static str;
    const IT: Self;
}

impl Global for System {
    const NAME: &'static str = "system allocator";
    const IT: Self = System;
}

/// What an allocator is for objects of one size.
pub(crate) struct OfSize<A, const SIZE: usize>(PhantomData<A>);

impl<A: Global, const SIZE: usize> OfSize<A, SIZE> {
    const LAYOUT: Layout = layout(SIZE, 8);
}

impl<A: Global, const SIZE: usize> Objects for OfSize<A, SIZE> {
    #[inline(always)]
    fn alloc(&mut self) -> *mut u8 {
        // SAFETY: no object is empty.
        unsafe { A::IT.alloc(Self::LAYOUT) }
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8) {
        // SAFETY: the caller's promise is the same.
        unsafe { A::IT.dealloc(ptr, Self::LAYOUT) }
    }
}

impl<A: Global, const SIZE: usize> Pool for OfSize<A, SIZE> {
    const NAME: &'static str = A::NAME;

    fn make() -> Self {
        OfSize(PhantomData)
    }
}

impl<A: Global, const SIZE: usize> Shared for OfSize<A, SIZE> {
    const NAME: &'static str = A::NAME;
    type Handle<'a> = OfSize<A, SIZE>;

    fn make() -> Self {
        OfSize(PhantomData)
    }

    fn handle(&self) -> Self {
        OfSize(PhantomData)
    }
}

/// The allocator for collections.
pub(crate) struct Via<A>(PhantomData<A>);

impl<A> Clone for Via<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A> Copy for Via<A> {}

impl<A> Default for Via<A> {
    fn default() -> Self {
        Via(PhantomData)
    }
}

// SAFETY: the allocator's state is the program's, so that any value stands for it; zero sizes do not reach it.
unsafe impl<A: Global> Allocator for Via<A> {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let start = match layout.size() {
            0 => ptr::without_provenance_mut(layout.align()),
            // SAFETY: the size is not zero.
            _ => unsafe { A::IT.alloc(layout) },
        };
        NonNull::new(ptr::slice_from_raw_parts_mut(start, layout.size())).ok_or(AllocError)
    }

    #[inline]
    unsafe fn deallocate(&self, ptr: NonNull<u8>, layout: Layout) {
        if layout.size() != 0 {
            // SAFETY: the caller's promise is the same.
            unsafe { A::IT.dealloc(ptr.as_ptr(), layout) }
        }
    }
}

/// Builds every session and drops it.
impl<A: Global> Sessions for Via<A> {
    const NAME: &'static str = A::NAME;
    type Handle = Box<Session<Via<A>>, Via<A>>;

    fn make() -> Self {
        Via(PhantomData)
    }

    #[inline]
    fn take(&mut self) -> Self::Handle {
        Box::new_in(Session::new_in(*self), *self)
    }

    #[inline]
    fn write(handle: &mut Self::Handle, byte: u8) {
        handle.write(byte);
    }

    #[inline]
    fn give(&mut self, handle: Self::Handle) {
        drop(handle);
    }
}
