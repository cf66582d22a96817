//! `StackFirst`: what is in the buffer, what is behind it, and what crosses the border.
#![expect(clippy::expect_used, reason = "a test that can not go on says why and stops")]

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

use heapwright::heap::SharedHeap;

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a valid layout")
}

/// A block, all its bytes `fill`.
fn take(heap: &impl SharedHeap, layout: Layout, fill: u8) -> NonNull<[u8]> {
    let block = heap.try_alloc(layout).expect("there is room");
    // SAFETY: the block is live and that long.
    unsafe { block.cast::<u8>().write_bytes(fill, block.len()) };
    block
}

/// Whether the first `len` bytes of a live block are `fill`.
fn holds(block: NonNull<[u8]>, len: usize, fill: u8) -> bool {
    // SAFETY: the tests ask this of live blocks that they have filled so far.
    let bytes = unsafe { std::slice::from_raw_parts(block.cast::<u8>().as_ptr(), len) };
    bytes.iter().all(|&byte| byte == fill)
}
