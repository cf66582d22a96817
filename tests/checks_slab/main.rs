//! What caches of raw memory and heaps of them find with a policy of checks: every kind of misuse, in every slab system, with every bookkeeping.
//!
//! 20,000 misuses of each kind, placed at random; with the environment variable `HEAPWRIGHT_LONG` set to 1, 10⁶, with `HEAPWRIGHT_SHORT` 1000.

#![cfg(all(feature = "std", feature = "os", not(miri)))]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod blind;
mod caches;
mod damage;
mod heaps;
mod random;
mod reentry;
mod together;
mod told;

use std::alloc::Layout;
use std::ptr::NonNull;

use heapwright::cache::{ChunkHeap, Chunks};
use heapwright::heap::SharedHeap;
use heapwright::lock::SpinLock;
use heapwright::source::Pages;

/// Slabs with their headers apart.
pub(crate) type Stock = ChunkHeap<Pages, SpinLock>;
pub(crate) static STOCK: Stock = ChunkHeap::new(Pages);

/// The source of such slabs.
pub(crate) type Apart = Chunks<'static, Stock>;

/// How many misuses of a kind, over `subjects` of equal share.
pub(crate) fn share(subjects: usize) -> usize {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| value == "1");
    let all = if is_set("HEAPWRIGHT_LONG") {
        1_000_000
    } else if is_set("HEAPWRIGHT_SHORT") {
        1000
    } else {
        20_000
    };
    all / subjects + 1
}

/// Flips a bit of a byte.
///
/// # Safety
/// The byte may be written, though perhaps by nobody who does no wrong.
pub(crate) unsafe fn flip(object: NonNull<u8>, offset: usize, bit: usize) {
    // SAFETY: the caller's promise.
    let byte = unsafe { object.add(offset) };
    // SAFETY: the caller's promise.
    let old = unsafe { byte.read() };
    // SAFETY: the caller's promise.
    unsafe { byte.write(old ^ (1 << bit)) };
}

/// Frees what may be no block: what is wrong with that, the heap's policy is to find.
pub(crate) fn free<A: SharedHeap>(heap: &A, block: NonNull<u8>, layout: Layout) {
    // SAFETY: the heap looks at what comes back.
    unsafe { heap.free(block, layout) };
}

/// Resizes what may be no block.
pub(crate) fn is_resized<A: SharedHeap>(heap: &A, block: NonNull<u8>, old: Layout, new: Layout) -> bool {
    // SAFETY: the heap looks at what comes back.
    unsafe { heap.try_resize(block, old, new) }.is_ok()
}
