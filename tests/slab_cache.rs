//! Caches of raw memory: what a user sees.

#![cfg(feature = "std")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::alloc::Layout;
use std::collections::HashSet;

use heapwright::cache::{Exactly, For, KeepAll, SlabCache};
use heapwright::heap::SharedHeap;
use heapwright::lock::NoLock;
use heapwright::slab::{AlignedSlabs, Bitmap, IndexStack, IntrusiveList};
use heapwright::source::{Counted, GlobalHeap, Pages};

#[test]
fn a_thousand_objects_in_pages() {
    let cache: SlabCache<AlignedSlabs<Pages>, NoLock, For<[u64; 8]>> = SlabCache::over(Pages);
    let layout = Layout::new::<[u64; 8]>();
    let mut seen = HashSet::new();
    let mut live = Vec::new();
    for _ in 0..100_000 {
        let block = cache.try_alloc(layout).unwrap().cast::<u8>();
        assert!(seen.insert(block.addr()));
        live.push(block);
    }
    assert_eq!(cache.stats().live, 100_000);
    for block in live.drain(..) {
        // SAFETY: the block is live.
        unsafe { cache.free(block, layout) };
    }
    println!("{:?}", cache.stats());
    println!("{}", cache.reap());
    println!("{:?}", cache.stats());
}
