//! A heap without a core of its own, as an `Allocator`.

use core::alloc::Layout;
use core::ptr::NonNull;

use super::handle::{Malloc, MallocInstance};
use crate::AllocError;
use crate::mem;

/// The methods of [`SharedHeap`](crate::heap::SharedHeap), for a heap without a core of its own; `impl_allocators!` makes an `Allocator` of them.
pub(super) trait MallocBlocks {
    /// A block for `layout`.
    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError>;

    /// The same, all its bytes zero.
    fn try_alloc_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError>;

    /// Takes a block back.
    ///
    /// # Safety
    /// It is a live block of this heap, of this layout.
    unsafe fn free(&self, ptr: NonNull<u8>, layout: Layout);

    /// A block of another layout.
    ///
    /// # Safety
    /// As [`free`](MallocBlocks::free); on success `ptr` is dead.
    unsafe fn try_resize(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError>;

    /// The same, and the bytes past the old size are zero.
    ///
    /// # Safety
    /// As [`try_resize`](MallocBlocks::try_resize).
    unsafe fn try_resize_zeroed(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        let block = unsafe { self.try_resize(ptr, old, new) }?;
        // SAFETY: the block is the caller's alone, and good for its length.
        unsafe { mem::zero_behind(block, old.size()) };
        Ok(block)
    }
}

/// What was given for a request, with the length that was asked for.
#[inline(always)]
fn given(block: *mut u8, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
    NonNull::new(block).map(|block| mem::slice(block, layout.size())).ok_or(AllocError)
}

impl<I: MallocInstance> MallocBlocks for Malloc<I> {
    #[inline]
    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        given(self.take(layout), layout)
    }

    #[inline]
    fn try_alloc_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        given(self.take_zeroed(layout), layout)
    }

    #[inline]
    unsafe fn free(&self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.give(ptr, layout) };
    }

    #[inline]
    unsafe fn try_resize(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        given(unsafe { self.resize(ptr, old, new) }, new)
    }
}

crate::alloc::impl_allocators!(via super::blocks::MallocBlocks, [I: MallocInstance] Malloc<I>);
