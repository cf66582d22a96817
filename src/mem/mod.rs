//! Pointers and layouts: the arithmetic that every layer above needs, in one place.

use core::alloc::Layout;
use core::ptr::{self, NonNull};

/// The smallest multiple of `align` (a power of two) that is at least `value`; `None` past `usize::MAX`.
pub(crate) const fn align_up(value: usize, align: usize) -> Option<usize> {
    debug_assert!(align.is_power_of_two());
    match value.checked_add(align - 1) {
        Some(sum) => Some(sum & !(align - 1)),
        None => None,
    }
}

/// The block that stands for every zero-size request: dangling, aligned, never dereferenced.
pub(crate) fn dangling(layout: Layout) -> NonNull<u8> {
    // SAFETY: an alignment is never zero.
    unsafe { NonNull::new_unchecked(ptr::without_provenance_mut(layout.align())) }
}

/// The slice pointer for `len` bytes from `ptr` on.
pub(crate) fn slice(ptr: NonNull<u8>, len: usize) -> NonNull<[u8]> {
    NonNull::slice_from_raw_parts(ptr, len)
}

/// Zeroes what a block has behind its first `kept` bytes, if anything.
///
/// # Safety
/// The block is the caller's alone, and its pointer good for its length.
#[inline]
pub(crate) unsafe fn zero_behind(block: NonNull<[u8]>, kept: usize) {
    let kept = kept.min(block.len());
    // SAFETY: `kept` is at most the block's length.
    let rest = unsafe { block.cast::<u8>().add(kept) };
    // SAFETY: the bytes from `kept` on are the block's, and the caller's alone.
    unsafe { rest.write_bytes(0, block.len() - kept) };
}
