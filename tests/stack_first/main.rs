//! `StackFirst`: what is in the buffer, what is behind it, and what crosses the border.
#![expect(clippy::expect_used, reason = "a test that can not go on says why and stops")]

#[cfg(feature = "alloc")]
mod behind;
mod border;
#[cfg(all(feature = "std", feature = "allocator-api2-02", feature = "allocator-api2-04"))]
mod collections;
#[cfg(feature = "alloc")]
mod failures;
#[cfg(feature = "alloc")]
mod shadow;
mod sizes;

use std::alloc::Layout;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::heap::SharedHeap;

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a valid layout")
}

/// A block, all its bytes `byte`.
fn take(heap: &impl SharedHeap, layout: Layout, byte: u8) -> NonNull<[u8]> {
    let block = heap.try_alloc(layout).expect("there is room");
    fill(block, block.len(), byte);
    block
}

/// Gives a block back. The tests pass live blocks with layouts of their own, here and below.
fn free(heap: &impl SharedHeap, block: NonNull<[u8]>, layout: Layout) {
    // SAFETY: the block is live, and the layout its own.
    unsafe { heap.free(block.cast(), layout) };
}

fn resize(
    heap: &impl SharedHeap,
    block: NonNull<[u8]>,
    old: Layout,
    new: Layout,
) -> Result<NonNull<[u8]>, AllocError> {
    // SAFETY: the block is live, and the old layout its own.
    unsafe { heap.try_resize(block.cast(), old, new) }
}

fn resize_zeroed(
    heap: &impl SharedHeap,
    block: NonNull<[u8]>,
    old: Layout,
    new: Layout,
) -> Result<NonNull<[u8]>, AllocError> {
    // SAFETY: the block is live, and the old layout its own.
    unsafe { heap.try_resize_zeroed(block.cast(), old, new) }
}

/// Writes the first `len` bytes of a live block.
fn fill(block: NonNull<[u8]>, len: usize, byte: u8) {
    assert!(len <= block.len());
    // SAFETY: the block is live and that long.
    unsafe { block.cast::<u8>().write_bytes(byte, len) };
}

/// The bytes of a live block, all of which have been written.
fn bytes<'a>(block: NonNull<[u8]>) -> &'a [u8] {
    // SAFETY: the block is live, and nobody writes to it while a test looks at it.
    unsafe { block.as_ref() }
}

/// Whether the first `len` bytes of a live block, which have been written, are `byte`.
fn holds(block: NonNull<[u8]>, len: usize, byte: u8) -> bool {
    bytes(NonNull::slice_from_raw_parts(block.cast(), len)).iter().all(|&found| found == byte)
}
