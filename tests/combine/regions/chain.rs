//! `Chain`: as many heaps as it takes, and no more.

use std::ptr::NonNull;

use heapwright::check::{Checks, Ignore, Off, On, Unchecked};
use heapwright::combine::{Arenas, Chain, Factory, FixedChunks, Growing};
use heapwright::heap::{Heap, Locked, Owns, Reset};
use heapwright::lock::NoLock;
use heapwright::sizing::{Checked, Link, Sizing, Sizing4KiB, Sizing128KiB};
use heapwright::source::{Counted, GlobalHeap};

use super::layout;
use super::shadow::{assert_whole, torture};

type Small = Arenas<Checked<Sizing4KiB>, FixedChunks<4096>>;

#[test]
fn keeps_blocks_whole_and_gives_all_back() {
    let mut parents = Vec::new();
    torture(&mut parents, 3000, |parent| Chain::<Small, _>::new(Arenas::new(), parent));
    parents.into_iter().for_each(|parent| {
        assert_whole(parent);
    });
    let mut parents = Vec::new();
    torture(&mut parents, 3000, |parent| {
        Chain::<Arenas<Sizing128KiB, Growing<1024, 16384>>, _, 0>::new(Arenas::new(), parent)
    });
    parents.into_iter().for_each(|parent| {
        assert_whole(parent);
    });
}

#[test]
fn heaps_without_blocks_go_back_but_for_some() {
    let mut chain = Chain::<Small, _, 2>::new(Arenas::new(), Counted::new(GlobalHeap));
    let large = layout(3000, 1);
    let blocks: Vec<NonNull<u8>> = (0..6).map(|_| chain.alloc(large).expect("room").cast()).collect();
    assert_eq!((chain.heaps(), chain.idle(), chain.source().counts().blocks), (6, 0, 6));
    for &block in &blocks {
        assert!(chain.owns(block, large));
        // SAFETY: the block is live, and the layout its own.
        unsafe { chain.dealloc(block, large) };
    }
    assert_eq!((chain.heaps(), chain.idle(), chain.source().counts().blocks), (2, 2, 2));
    let acquired = chain.source().counts().acquired;
    for _ in 0..10 {
        let pair = [(); 2].map(|()| chain.alloc(large).expect("room").cast());
        // SAFETY: the blocks are live and different, and the layout their own.
        unsafe { chain.dealloc_batch(large, &pair) };
    }
    assert_eq!(chain.source().counts().acquired, acquired, "what is kept is used");
    assert!(chain.release_unused() >= 2 * 4096);
    assert_eq!((chain.heaps(), chain.idle(), chain.source().counts().blocks), (0, 0, 0));
}

#[test]
fn the_heap_that_has_served_comes_first() {
    let mut chain = Chain::<Small, _>::new(Arenas::new(), Counted::new(GlobalHeap));
    let large = layout(3000, 1);
    let first = chain.alloc(large).expect("room").cast::<u8>();
    let second = chain.alloc(large).expect("room").cast::<u8>();
    // Both heaps have room for a small one, behind the large one; the second was used last. (The two may lie side by side, in either order.)
    let behind =
        |one: NonNull<u8>, large: NonNull<u8>| one.addr().get().wrapping_sub(large.addr().get()) < 4096;
    let small = chain.alloc(layout(8, 8)).expect("room").cast::<u8>();
    assert!(behind(small, second) && !behind(small, first));
    // SAFETY: the block is live, and the layout its own.
    unsafe { chain.dealloc(first, large) };
    let third = chain.alloc(large).expect("room").cast::<u8>();
    assert_eq!(third, first);
    let small = chain.alloc(layout(8, 8)).expect("room").cast::<u8>();
    assert!(behind(small, first), "the first heap has served last");
}

#[test]
fn refuses_what_no_heap_has() {
    let mut chain = Chain::<Small, _>::new(Arenas::new(), Counted::new(GlobalHeap));
    assert!(chain.alloc(layout(0, 1)).is_err());
    assert!(chain.alloc(layout(5000, 1)).is_err());
    assert!(chain.alloc(layout(isize::MAX as usize, 1)).is_err());
    assert_eq!((chain.heaps(), chain.source().counts().blocks), (0, 0));
    chain.alloc(layout(1, 1)).expect("room");
    // SAFETY: no block is used again.
    unsafe { chain.reset() };
    assert_eq!((chain.heaps(), chain.idle(), chain.source().counts().blocks), (0, 0, 0));
}

/// Random towers of handles would never see a heap's blocks again if the chain lost one: `Checked` arenas tell wrong frees.
#[test]
fn nested_chains() {
    let outer = Locked::<_, NoLock>::new(Chain::<Arenas<Sizing128KiB, FixedChunks<65536>>, _>::new(
        Arenas::new(),
        GlobalHeap,
    ));
    let mut inner = Chain::<Small, _>::new(Arenas::new(), &outer);
    let blocks: Vec<NonNull<u8>> =
        (0..200).map(|_| inner.alloc(layout(900, 4)).expect("room").cast()).collect();
    for block in blocks {
        // SAFETY: the block is live, and the layout its own.
        unsafe { inner.dealloc(block, layout(900, 4)) };
    }
    drop(inner);
    let outer = outer.into_inner();
    assert_eq!((outer.heaps(), outer.idle()), (1, 1));
}

/// What a further heap asks for, after so many: grown as far as the cap, or what the first has where nothing is said to grow.
#[test]
fn chunks_grow_as_told() {
    let small = layout(100, 8);
    let sizes = |chunk: &dyn Fn(usize) -> Option<std::alloc::Layout>| {
        [0, 1, 2, 9].map(|heaps| chunk(heaps).expect("room for it").size())
    };
    let growing = Arenas::<Sizing4KiB, Growing<1024, 3000>>::new();
    assert_eq!(sizes(&|heaps| growing.chunk(small, heaps)), [1024, 2048, 3000, 3000]);
    let level = Arenas::<Sizing4KiB, Growing<1024, 3000, 1, 1>>::new();
    assert_eq!(sizes(&|heaps| level.chunk(small, heaps)), [1024; 4]);
    assert!(
        level.chunk(layout(3000, 8), 0).expect("room for it").size() > 3000,
        "a request has what it needs"
    );
}

/// A policy with zones of that length.
struct LongZones;
impl Checks for LongZones {
    type Frees = On;
    type Quarantine = Off;
    type Report = Ignore;
    const RED_ZONE: usize = 1024;
}

/// A chunk has room for what stands behind a block.
#[test]
fn requests_near_the_length_of_a_chunk_are_met() {
    let mut chain = Chain::<Arenas<Checked<Sizing128KiB, LongZones>, FixedChunks<4096>>, _>::new(
        Arenas::new(),
        Counted::new(GlobalHeap),
    );
    for size in (100..9000).step_by(100) {
        let layout = layout(size, 8);
        let block = chain.alloc(layout).expect("there is memory").cast();
        // SAFETY: the block is live, and its layout this one.
        unsafe { chain.dealloc(block, layout) };
    }
}

/// Granules of a page, or half of one.
struct Granules<const G: usize>;
impl<const G: usize> Sizing for Granules<G> {
    type Checks = Unchecked;
    const GRANULE: usize = G;
    const LINK: Link = Link::Bits31;
    const OBJECT_SIZE_MAX: usize = 1 << 20;
    const REGION_SIZE_MAX: usize = 1 << 26;
}

/// A heap is made long enough for what it is made for, whatever its granules are, and wherever its memory begins.
#[test]
fn granules_of_a_page_leave_room_for_the_first_block() {
    for align in [1, 64, 4096] {
        for size in (50_000..130_000).step_by(61) {
            let mut chain: Chain<Arenas<Granules<4096>, FixedChunks<65536>>, _> =
                Chain::new(Arenas::new(), GlobalHeap);
            assert!(chain.alloc(layout(size, align)).is_ok(), "{size} bytes, aligned to {align}");
        }
    }
}

/// So it is for a block that is shorter than what the granules cost.
#[test]
fn long_granules_leave_room_for_a_short_block() {
    fn for_each_address<S: Sizing>() {
        // What has been taken from the source before moves the chunk.
        let mut before = Vec::new();
        for round in 0..50 {
            for (size, align) in [(1, 1), (1, 4096), (100, 64), (5000, 8), (60_000, 4096)] {
                before.push(vec![0u8; 16 + 48 * round + size % 37]);
                let mut chain: Chain<Arenas<S, FixedChunks<4096>>, _> = Chain::new(Arenas::new(), GlobalHeap);
                assert!(chain.alloc(layout(size, align)).is_ok(), "{size} bytes, aligned to {align}");
            }
        }
    }
    for_each_address::<Granules<1024>>();
    for_each_address::<Granules<2048>>();
    for_each_address::<Granules<4096>>();
}
