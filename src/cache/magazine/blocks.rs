//! Slots as blocks: what makes a front of a raw cache an `Allocator`.

use core::alloc::Layout;
use core::ptr::NonNull;

use super::front::entire;
use crate::AllocError;
use crate::cache::RawSlots;
use crate::mem;

/// The methods of [`SharedHeap`](crate::heap::SharedHeap) for a cache without a core of its own: a block is a slot, a block of size zero is
/// nothing. `impl_allocators!` makes an `Allocator` of them.
pub(super) trait SlotBlocks: RawSlots {
    /// A slot, if `layout` fits.
    #[inline]
    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(mem::slice(mem::dangling(layout), 0));
        }
        let len = fitting(self, layout)?;
        Ok(mem::slice(self.alloc_slot()?, len))
    }

    /// The same, all its bytes zero.
    fn try_alloc_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let block = self.try_alloc(layout)?;
        // SAFETY: the block is new, so the caller's alone, and good for its length.
        unsafe { block.cast::<u8>().write_bytes(0, block.len()) };
        Ok(block)
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// It is a live block of this cache, of this layout.
    #[inline]
    unsafe fn free(&self, ptr: NonNull<u8>, layout: Layout) {
        if layout.size() > 0 {
            // SAFETY: the caller's promise: a slot that is out. Raw ones may hold anything (U3).
            unsafe { self.free_slot(ptr) };
        }
    }

    /// The same block for another layout, if that fits as well.
    ///
    /// # Safety
    /// As [`free`](SlotBlocks::free); on success `ptr` is dead.
    #[inline]
    unsafe fn try_resize(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if old.size() == 0 {
            return self.try_alloc(new);
        }
        if new.size() == 0 {
            // SAFETY: the caller's promise is the same.
            unsafe { self.free(ptr, old) };
            return Ok(mem::slice(mem::dangling(new), 0));
        }
        Ok(mem::slice(entire(ptr), fitting(self, new)?))
    }

    /// The same, and the bytes past the old size are zero.
    ///
    /// # Safety
    /// As [`try_resize`](SlotBlocks::try_resize).
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

impl<C: RawSlots + ?Sized> SlotBlocks for C {}

/// The length of a slot, if `layout` fits.
#[inline(always)]
fn fitting<C: RawSlots + ?Sized>(cache: &C, layout: Layout) -> Result<usize, AllocError> {
    let slot = cache.slot_layout();
    let fits = layout.size() <= slot.size() && layout.align() <= slot.align();
    if fits { Ok(slot.size()) } else { Err(AllocError) }
}
