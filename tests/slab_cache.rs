//! Caches of raw memory: what a user sees.

#![cfg(feature = "std")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::alloc::Layout;
use std::collections::HashSet;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::cache::{Exactly, For, KeepAll, SlabCache, SlabCore, UntypedObjectAlloc};
use heapwright::heap::{Heap, Inspect, SharedHeap, UsableSize};
use heapwright::lock::NoLock;
use heapwright::slab::{AlignedSlabs, IndexStack, IntrusiveList, LargeSlabs, SlabSystem};
use heapwright::source::{FromGlobalAlloc, Limited, Pages, StaticBuffer};

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

type System = Limited<FromGlobalAlloc<'static, std::alloc::System>>;
type Core<const FRONT: usize> = SlabCore<AlignedSlabs<System, 1024>, Exactly<40, 8>, KeepAll, FRONT>;

const SLOT: Layout = Layout::new::<[u64; 5]>();

/// A cache of some slabs.
fn core<const FRONT: usize>(slabs: usize) -> Core<FRONT> {
    Core::new(Limited::new(FromGlobalAlloc::new(&std::alloc::System), slabs * 1024))
}

/// What fits has all of a slot, by whatever call it comes; what does not is refused by all of them.
#[test]
fn what_does_not_fit_is_refused() {
    let mut core = core::<4>(1);
    let layouts = |sizes: &[(usize, usize)]| -> Vec<_> {
        sizes.iter().map(|&(size, align)| Layout::from_size_align(size, align).unwrap()).collect()
    };
    let (fit, refused) =
        (layouts(&[(0, 1), (1, 1), (7, 2), (40, 8)]), layouts(&[(41, 1), (1, 16), (0, 16), (4000, 4096)]));
    for &old in &fit {
        let block = core.alloc(old).unwrap();
        let other = core.alloc(old).unwrap().cast();
        assert_eq!((block.len(), core.good_size(old)), (40, 40), "{old:?}");
        // SAFETY: the block is live; so there is one at hand.
        unsafe { core.dealloc(other, old) };
        for &new in &fit {
            // SAFETY: the block is live, and any layout that fits its own.
            assert_eq!(unsafe { core.resize_in_place(block.cast(), old, new) }, Ok(block), "{old:?} {new:?}");
        }
        for &new in &refused {
            assert_eq!((core.alloc(new), core.alloc_at_hand(new)), (Err(AllocError), None), "{new:?}");
            assert_eq!(core.alloc_batch(new, &mut [MaybeUninit::uninit(); 3]), 0, "{new:?}");
            assert_eq!(core.good_size(new), new.size());
            // SAFETY: the block is live.
            assert_eq!(unsafe { core.resize_in_place(block.cast(), old, new) }, Err(AllocError), "{new:?}");
            // SAFETY: the block is live.
            assert_eq!(unsafe { core.resize(block.cast(), old, new) }, Err(AllocError), "{new:?}");
        }
        // SAFETY: the block is live.
        unsafe { core.dealloc(block.cast(), old) };
    }
    assert_eq!((core.usage().objects, core.verify()), (0, Ok(())));
}

/// What came back is at hand, the last first, as far as there is room; without a front nothing is.
#[test]
fn what_came_back_is_at_hand() {
    let mut fronted = core::<2>(1);
    assert_eq!(fronted.alloc_at_hand(SLOT), None);
    let blocks: Vec<_> = (0..8).map(|_| fronted.alloc(SLOT).unwrap()).collect();
    while fronted.alloc_at_hand(SLOT).is_some() {}
    let come_back = |block: &&NonNull<[u8]>| {
        // SAFETY: the block is live, and not used any more.
        unsafe { fronted.dealloc_at_hand(block.cast(), SLOT) }
    };
    let back = blocks.iter().take_while(come_back).count();
    assert_eq!(back, 3, "one, and as many as there is room for");
    let again: HashSet<_> = std::iter::from_fn(|| fronted.alloc_at_hand(SLOT)).collect();
    assert_eq!(again, blocks[..back].iter().copied().collect());
    for block in blocks {
        // SAFETY: what came back is live again, as the others are.
        unsafe { fronted.dealloc(block.cast(), SLOT) };
    }
    let mut bare = core::<0>(1);
    let block = bare.alloc(SLOT).unwrap().cast();
    // SAFETY: the block is live, and stays so if it is not taken.
    assert!(!unsafe { bare.dealloc_at_hand(block, SLOT) });
    // SAFETY: the block is live.
    unsafe { bare.dealloc(block, SLOT) };
    assert_eq!((bare.alloc_at_hand(SLOT), bare.usage().objects), (None, 0));
}

/// Many come and go at once, until there are no more; what nobody needs then goes back, and is told in bytes.
#[test]
fn many_come_and_go_together() {
    fn run<const FRONT: usize>() {
        let mut core = core::<FRONT>(3);
        let mut out = [MaybeUninit::uninit(); 100];
        let capacity = core.alloc_batch(SLOT, &mut out);
        assert!((60..100).contains(&capacity));
        // SAFETY: so many were written.
        let mut blocks = out[..capacity].iter().map(|block| unsafe { block.assume_init() });
        let (one, others) = (blocks.next().unwrap(), blocks.collect::<Vec<_>>());
        assert_eq!(
            (others.iter().collect::<HashSet<_>>().len(), core.usage().objects),
            (capacity - 1, capacity)
        );
        assert_eq!((core.alloc_batch(SLOT, &mut out), core.release_unused()), (0, 0));
        // SAFETY: they are live, all different, and not used any more.
        unsafe { core.dealloc_batch(SLOT, &others) };
        assert_eq!((core.usage().objects, core.verify()), (1, Ok(())));
        assert_eq!((core.release_unused(), core.release_unused()), (2 * 1024, 0));
        // SAFETY: the first is live still.
        unsafe { core.dealloc_batch(SLOT, &[one]) };
        assert_eq!((core.release_unused(), core.usage().total), (1024, 0));
    }
    run::<0>();
    run::<16>();
}

/// Bytes in use, free ones, and those that can never be objects are all that are held.
#[test]
fn the_bytes_of_a_cache_add_up() {
    let cache: SlabCache<AlignedSlabs<Pages, 4096>, NoLock, Exactly<100, 4>, KeepAll, 8> =
        SlabCache::over(Pages);
    let blocks: Vec<_> = (0..50).map(|_| cache.alloc_slot().unwrap()).collect();
    // SAFETY: they are live, all different, and not used any more.
    unsafe { cache.free_slots(&blocks[..13]) };
    let (stats, usage) = (cache.stats(), cache.usage());
    let free = cache.slabs().map(|slab| slab.free).sum::<usize>() + stats.at_hand;
    assert_eq!((stats.bytes_live(), stats.bytes_free()), (37 * 100, free * 100));
    assert_eq!((usage.used, usage.free, usage.objects), (37 * 100, free * 100, 37));
    assert_eq!((stats.slabs, stats.bytes_held, usage.total), (2, 2 * 4096, 2 * 4096));
    assert_eq!(stats.bytes_wasted(), 2 * 4096 - (37 + free) * 100);
    assert!(stats.bytes_wasted() > 0);
}
