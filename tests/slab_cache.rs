//! Caches of raw memory: what a user sees.

#![cfg(feature = "std")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::alloc::Layout;
use std::collections::HashSet;

use heapwright::cache::{Exactly, For, KeepAll, SlabCache, UntypedObjectAlloc};
use heapwright::heap::{SharedHeap, UsableSize};
use heapwright::lock::NoLock;
use heapwright::slab::{AlignedSlabs, IndexStack, IntrusiveList, LargeSlabs, SlabSystem};
use heapwright::source::{Pages, StaticBuffer};

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

/// Gives objects back in rows of every length up to some hundred, upwards and downwards, within slabs and across them, with a gap now and
/// then, and takes them again.
fn rows<S: SlabSystem<Source = Pages>, const SIZE: usize>() {
    let cache: SlabCache<S, NoLock, Exactly<SIZE, 1>, KeepAll, 0> = SlabCache::over(Pages);
    let mut live: Vec<_> = (0..3000).map(|_| cache.alloc_slot().unwrap()).collect();
    live.sort_unstable();
    let mut from = 0;
    for len in (1..300).chain([900, 1500, 3000]) {
        let start = from % (live.len() - len + 1);
        from += 2 * len + 1;
        let mut row: Vec<_> = live[start..start + len].to_vec();
        match len % 4 {
            0 => row.reverse(),
            1 if len > 2 => row.swap(0, len / 2), // as far apart at its ends as a row, or not, but none
            2 if len > 3 => row.swap(1, len - 2),
            3 if start + len < live.len() => row[1] = live[start + len], // ends like a row's, with a gap in it
            _ => {}
        }
        let before = cache.stats().live;
        // SAFETY: they are live, all different, and not used any more.
        unsafe { cache.free_slots(&row) };
        assert_eq!((cache.verify(), cache.stats().live), (Ok(()), before - len));
        let again: HashSet<_> = (0..len).map(|_| cache.alloc_slot().unwrap()).collect();
        assert_eq!(again.len(), len);
        let gone: HashSet<_> = row.iter().collect();
        let rest: HashSet<_> = live.iter().filter(|object| !gone.contains(object)).copied().collect();
        assert!(again.is_disjoint(&rest), "live objects are not handed out again");
        live = rest.into_iter().chain(again).collect();
        live.sort_unstable();
    }
    // SAFETY: as above.
    unsafe { cache.free_slots(&live) };
    assert_eq!((cache.stats().live, cache.verify()), (0, Ok(())));
    assert_eq!(cache.reap(), cache.stats().slabs_peak);
}

#[test]
fn rows_come_back_together() {
    rows::<AlignedSlabs<Pages>, 64>();
    rows::<AlignedSlabs<Pages, 4096>, 64>();
    rows::<AlignedSlabs<Pages, 4096>, 1>();
    rows::<AlignedSlabs<Pages, 65536>, 1024>();
    rows::<AlignedSlabs<Pages, 16384, IntrusiveList>, 48>();
    rows::<AlignedSlabs<Pages, 16384, IndexStack>, 48>();
    rows::<LargeSlabs<Pages, 12288>, 100>();
}

#[test]
fn the_size_of_a_block_is_that_of_its_slot() {
    static RAM: StaticBuffer<4096> = StaticBuffer::new();
    let slot = Layout::new::<[u64; 3]>();
    let cache = SlabCache::<AlignedSlabs<_, 1024>>::with_layout(&RAM, slot).unwrap();
    let block = cache.try_alloc(Layout::new::<u32>()).unwrap();
    // SAFETY: the block is live.
    assert_eq!(unsafe { cache.usable_size(block.cast()) }, 24);
    // SAFETY: the block is live, and any size up to that of its slot may come back.
    unsafe { cache.free(block.cast(), slot) };
}
