//! Blocks that watch or guard one heap: that every method of the heap within is reached, that blocks are whole whatever fails, and that
//! each misuse is found.

mod forwarding;
mod loose;
mod misuse;
#[cfg(feature = "alloc")]
mod numbers;
mod probe;
#[cfg(feature = "alloc")]
mod shadow;
mod stale;
#[cfg(feature = "alloc")]
mod wrong;
mod zones;

use std::alloc::Layout;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::heap::Heap;

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

/// Resizes a block, in place or as it comes.
///
/// # Safety
/// As `Heap::resize`.
unsafe fn resize(
    heap: &mut impl Heap,
    in_place: bool,
    ptr: NonNull<u8>,
    old: Layout,
    new: Layout,
) -> Result<NonNull<[u8]>, AllocError> {
    if in_place {
        // SAFETY: the caller's promise is the same.
        return unsafe { heap.resize_in_place(ptr, old, new) };
    }
    // SAFETY: the caller's promise is the same.
    unsafe { heap.resize(ptr, old, new) }
}
