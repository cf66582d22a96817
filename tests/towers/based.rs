//! A heap together with the one that it borrows from: so that a tower of heaps by reference is one value.

use std::alloc::Layout;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::check::Finding;
use heapwright::describe::{Describe, Tree};
use heapwright::heap::{Chunk, Corruption, Cursor, Heap, Inspect, Owns, Reset, SharedHeap, Usage};
use heapwright::source::BackingSource;

/// `T`, which borrows the `U` below it; dropped before it.
#[derive(Debug)]
pub(crate) struct Based<T, U> {
    top: ManuallyDrop<T>,
    base: NonNull<U>,
}

// SAFETY: one value, in effect: what it is made of goes with it.
unsafe impl<T: Send, U: Send> Send for Based<T, U> {}

// SAFETY: the base is reached through the top only.
unsafe impl<T: Sync, U: Sync> Sync for Based<T, U> {}

impl<T, U: 'static> Based<T, U> {
    /// What `make` puts on `base`.
    pub(crate) fn new(base: U, make: impl FnOnce(&'static U) -> T) -> Self {
        Self::try_new(base, |base| Ok(make(base))).unwrap()
    }

    /// The same, where that may fail.
    pub(crate) fn try_new(
        base: U,
        make: impl FnOnce(&'static U) -> Result<T, AllocError>,
    ) -> Result<Self, AllocError> {
        let base = NonNull::from(Box::leak(Box::new(base)));
        // SAFETY: the base stays where it is until the top is gone, which is private to this value.
        match make(unsafe { base.as_ref() }) {
            Ok(top) => Ok(Based { top: ManuallyDrop::new(top), base }),
            Err(AllocError) => {
                // SAFETY: a box's, which nobody borrows any more.
                drop(unsafe { Box::from_raw(base.as_ptr()) });
                Err(AllocError)
            }
        }
    }
}

impl<T, U> Drop for Based<T, U> {
    fn drop(&mut self) {
        // SAFETY: dropped once, here.
        unsafe { ManuallyDrop::drop(&mut self.top) };
        // SAFETY: a box's, which nobody borrows any more.
        drop(unsafe { Box::from_raw(self.base.as_ptr()) });
    }
}

// SAFETY: the top's, for as long as the value lives; what it borrows does not move with it.
unsafe impl<T: Heap, U> Heap for Based<T, U> {
    const AT_HAND: bool = T::AT_HAND;

    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.top.alloc(layout)
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.top.dealloc(ptr, layout) }
    }

    fn alloc_at_hand(&mut self, layout: Layout) -> Option<NonNull<[u8]>> {
        self.top.alloc_at_hand(layout)
    }

    unsafe fn dealloc_at_hand(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise is the same.
        unsafe { self.top.dealloc_at_hand(ptr, layout) }
    }

    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.top.alloc_zeroed(layout)
    }

    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.top.resize_in_place(ptr, old, new) }
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.top.resize(ptr, old, new) }
    }

    fn good_size(&self, layout: Layout) -> usize {
        self.top.good_size(layout)
    }

    fn alloc_batch(&mut self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        self.top.alloc_batch(layout, out)
    }

    unsafe fn dealloc_batch(&mut self, layout: Layout, blocks: &[NonNull<u8>]) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.top.dealloc_batch(layout, blocks) }
    }

    fn release_unused(&mut self) -> usize {
        self.top.release_unused()
    }

    const CHECKS: bool = T::CHECKS;

    unsafe fn judge(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise is the same.
        unsafe { self.top.judge(ptr, layout) }
    }

    fn take_finding(&mut self) -> Option<Finding> {
        self.top.take_finding()
    }
}

// SAFETY: the top's.
unsafe impl<T: Owns, U> Owns for Based<T, U> {
    fn owns(&self, ptr: NonNull<u8>, layout: Layout) -> bool {
        self.top.owns(ptr, layout)
    }

    unsafe fn try_dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise is the same.
        unsafe { self.top.try_dealloc(ptr, layout) }
    }
}

impl<T: Reset, U> Reset for Based<T, U> {
    unsafe fn reset(&mut self) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.top.reset() }
    }
}

impl<T: Inspect, U> Inspect for Based<T, U> {
    fn usage(&self) -> Usage {
        self.top.usage()
    }

    fn next_chunk(&mut self, cursor: &mut Cursor) -> Option<Chunk> {
        self.top.next_chunk(cursor)
    }

    fn verify(&mut self) -> Result<(), Corruption> {
        self.top.verify()
    }

    fn misuses(&self) -> usize {
        self.top.misuses()
    }
}

impl<T: Describe, U> Describe for Based<T, U> {
    fn describe(tree: &mut Tree<'_>) -> std::fmt::Result {
        T::describe(tree)
    }
}

// SAFETY: the top's.
unsafe impl<T: SharedHeap, U> SharedHeap for Based<T, U> {
    type Core<'a>
        = T::Core<'a>
    where
        Self: 'a;

    unsafe fn enter<'s, R>(&'s self, work: impl FnOnce(&mut Self::Core<'s>) -> R) -> Result<R, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.top.enter(work) }
    }
}

// SAFETY: the top's.
unsafe impl<T: BackingSource, U> BackingSource for Based<T, U> {
    const GRANULE: usize = T::GRANULE;
    const ALIGN_MAX: usize = T::ALIGN_MAX;
    const ZEROED: bool = T::ZEROED;
    const LAZY: bool = T::LAZY;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.top.acquire(layout)
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.top.release(block, layout) }
    }

    unsafe fn extend(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.top.extend(block, old, new_size) }
    }

    unsafe fn shrink(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.top.shrink(block, old, new_size) }
    }

    unsafe fn remap(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.top.remap(block, old, new_size) }
    }

    unsafe fn purge(&mut self, ptr: NonNull<u8>, len: usize) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.top.purge(ptr, len) }
    }

    fn good_size(&self, layout: Layout) -> usize {
        self.top.good_size(layout)
    }
}
