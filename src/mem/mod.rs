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
