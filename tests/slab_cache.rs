//! Caches of raw memory: what a user sees.

#![cfg(feature = "std")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::alloc::Layout;
use std::collections::HashSet;

use heapwright::cache::{For, SlabCache};
use heapwright::heap::SharedHeap;
use heapwright::lock::NoLock;
use heapwright::slab::{AlignedSlabs, LargeSlabs, SlabSystem};
use heapwright::source::Pages;

/// Hands out many objects, all different, and gives all memory back.
fn many_objects<S: SlabSystem<Source = Pages>>() {
    let cache: SlabCache<S, NoLock, For<[u64; 8]>> = SlabCache::over(Pages);
    let layout = Layout::new::<[u64; 8]>();
    let mut seen = HashSet::new();
    let mut live = Vec::new();
    for _ in 0..20_000 {
        let block = cache.try_alloc(layout).unwrap().cast::<u8>();
        assert!(seen.insert(block.addr()));
        live.push(block);
    }
    assert_eq!(cache.stats().live, 20_000);
    assert_eq!(cache.verify(), Ok(()));
    for block in live.drain(..) {
        // SAFETY: the block is live.
        unsafe { cache.free(block, layout) };
    }
    assert_eq!(cache.stats().live, 0);
    assert_eq!(cache.reap(), cache.stats().slabs_peak);
    assert_eq!((cache.stats().slabs, cache.verify()), (0, Ok(())));
}

#[test]
fn many_objects_in_aligned_slabs() {
    many_objects::<AlignedSlabs<Pages>>();
    many_objects::<AlignedSlabs<Pages, 4096>>();
}

#[test]
fn many_objects_in_large_slabs() {
    many_objects::<LargeSlabs<Pages>>();
    many_objects::<LargeSlabs<Pages, 12288>>();
}
