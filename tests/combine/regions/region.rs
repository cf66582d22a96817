//! `Region`: upward and downward, with every growth, over sources that fail.

use std::alloc::Layout;

use heapwright::combine::{Direction, Downward, FixedChunks, Growing, Growth, Keep, Region, Upward};
use heapwright::describe::describe;
use heapwright::heap::{Heap, Locked, Owns, Reset, SharedHeap};
use heapwright::lock::NoLock;
use heapwright::source::{Counted, GlobalHeap};

use super::layout;
use super::shadow::{Shadow, assert_whole, torture};

fn tortured<G: Growth, D: Direction, const M: usize>() {
    let mut parents = Vec::new();
    torture(&mut parents, 3000, Region::<_, G, D, M>::new);
    let requests: u64 = parents.into_iter().map(assert_whole).sum();
    assert!(requests > 100, "the source was hardly asked");
}

#[test]
fn keeps_blocks_whole_in_both_directions() {
    tortured::<Growing<256, 4096>, Upward, 1>();
    tortured::<Growing<256, 4096>, Downward, 1>();
    tortured::<FixedChunks<1000>, Upward, 16>();
    tortured::<FixedChunks<1000>, Downward, 16>();
    tortured::<Growing<64, { 1 << 20 }, 3, 2>, Upward, 64>();
    tortured::<Growing<64, { 1 << 20 }, 3, 2>, Downward, 64>();
}

fn last_block<D: Direction>() {
    let mut region = Region::<GlobalHeap, FixedChunks<4096>, D, 8>::new(GlobalHeap);
    let (short, long) = (layout(40, 8), layout(80, 8));
    let first = region.alloc(short).expect("room").cast::<u8>();
    let left = region.usage().left;
    let second = region.alloc(short).expect("room").cast::<u8>();
    // SAFETY: the blocks are live, here and below, and the layouts their own.
    unsafe { region.dealloc(second, short) };
    assert_eq!(region.usage().left, left, "the last block is taken back");
    let second = region.alloc(short).expect("room").cast::<u8>();
    // SAFETY: as above.
    let grown = unsafe { region.resize(second, short, long) }.expect("room").cast::<u8>();
    assert_eq!(region.usage().left, left - 80, "the last block grows without a copy beside it");
    assert_eq!(grown == second, D::UP);
    // SAFETY: as above.
    unsafe { region.dealloc(first, short) };
    assert_eq!(region.usage().left, left - 80, "another one waits");
    // SAFETY: as above.
    let shrunk = unsafe { region.resize_in_place(grown, long, short) };
    assert_eq!(shrunk.map(|block| (block.cast(), block.len())), Ok((grown, 40)));
    assert_eq!(region.usage().left, if D::UP { left - 40 } else { left - 80 });
    assert_eq!(region.usage().chunks, 1);
}

#[test]
fn the_last_block_is_freed_and_resized() {
    last_block::<Upward>();
    last_block::<Downward>();
}

#[test]
fn chunks_grow_and_are_kept_as_told() {
    let mut region = Region::<_, Growing<1024, 4096>>::new(Counted::new(GlobalHeap));
    for _ in 0..9 {
        region.alloc(layout(1000, 1)).expect("room");
    }
    // 1, 2, 4, 4 KiB: one, two, and four blocks twice.
    assert_eq!(region.source().counts().bytes, 11 << 10);
    let usage = region.usage();
    assert_eq!((usage.chunks, usage.total, usage.spare_chunks), (4, 11 << 10, 0));
    region.alloc(layout(100_000, 1)).expect("room");
    assert!(region.source().counts().bytes < (11 << 10) + 101_000, "a large request has a chunk of its size");
    region.alloc(layout(5000, 1)).expect("room");
    // SAFETY: no block is used again, here and below.
    unsafe { region.reset_keeping(Keep::All) };
    let spare = region.usage();
    assert_eq!((spare.chunks, spare.spare_chunks, spare.left), (0, 6, 0));
    let acquired = region.source().counts().acquired;
    for _ in 0..9 {
        region.alloc(layout(1000, 1)).expect("room");
    }
    assert_eq!(region.source().counts().acquired, acquired, "spare chunks serve first");
    // SAFETY: as above.
    unsafe { region.reset() };
    let kept = region.usage();
    assert_eq!((kept.chunks, kept.spare_chunks), (0, 1));
    assert!(kept.total > 100_000, "the largest stays");
    assert_eq!(region.release_unused(), kept.total);
    region.alloc(layout(1, 1)).expect("room");
    assert_eq!(region.release_unused(), 0, "a chunk in use stays");
    // SAFETY: as above.
    unsafe { region.reset_keeping(Keep::Nothing) };
    assert_eq!(region.source().counts().blocks, 0);
}

#[test]
fn marks_go_back() {
    let mut region = Region::<_, FixedChunks<1024>>::new(Counted::new(GlobalHeap));
    let start = region.mark();
    let first = region.alloc(layout(10, 1)).expect("room");
    let mark = region.mark();
    let mut shadow = Shadow::new(5, 500);
    shadow.run(&mut region, 100);
    assert!(region.usage().chunks > 3);
    // SAFETY: blocks from after the mark are not used again.
    unsafe { region.rewind(mark) };
    assert_eq!((region.usage().chunks, region.usage().spare_chunks), (1, 1));
    let next = region.alloc(layout(10, 1)).expect("room");
    assert_eq!(next.cast::<u8>().addr().get(), first.cast::<u8>().addr().get() + 10);
    // SAFETY: as above.
    unsafe { region.rewind(start) };
    assert_eq!((region.usage().chunks, region.source().counts().blocks), (0, 1));
}

#[test]
fn refuses_what_can_not_be() {
    let mut region = <Region<GlobalHeap>>::new(GlobalHeap);
    assert!(region.alloc(layout(0, 1)).is_err());
    assert!(region.alloc(layout(isize::MAX as usize, 1)).is_err());
    assert!(region.alloc(layout(isize::MAX as usize - 4095, 4096)).is_err());
    assert!(region.alloc(layout(1, 1 << 20)).is_ok(), "alignment beyond the source's own");
    let mut down = <Region<GlobalHeap, FixedChunks<4096>, Downward, 4096>>::new(GlobalHeap);
    assert!(down.alloc(layout(0, 1)).is_err());
    assert!(down.alloc(layout(isize::MAX as usize, 1)).is_err());
    assert_eq!(down.alloc(layout(1, 1)).map(|block| block.len()), Ok(4096));
}

#[test]
fn knows_its_own() {
    let mut region = <Region<GlobalHeap>>::new(GlobalHeap);
    let mut other = <Region<GlobalHeap>>::new(GlobalHeap);
    let byte = Layout::new::<u8>();
    let ours = region.alloc(byte).expect("room").cast();
    let theirs = other.alloc(byte).expect("room").cast();
    assert!(region.owns(ours, byte) && !region.owns(theirs, byte));
    // SAFETY: both are live, and the layout their own.
    assert!(unsafe { region.try_dealloc(ours, byte) });
    // SAFETY: as above.
    assert!(!unsafe { region.try_dealloc(theirs, byte) });
}

/// A region within a region, which goes back when it is dropped: the other way to scopes.
#[test]
fn regions_nest() {
    let outer = Locked::<Region<GlobalHeap, FixedChunks<4096>>, NoLock>::new(Region::new(GlobalHeap));
    let left = {
        let inner = Locked::<Region<_, FixedChunks<512>>, NoLock>::new(Region::new(&outer));
        assert!(inner.try_alloc(layout(100, 1)).is_ok());
        outer.region_usage().left
    };
    assert_eq!(outer.region_usage().left, left + 512);
}

#[test]
fn says_what_it_is() {
    let tree = describe::<Region<&GlobalHeap2, FixedChunks<512>, Downward, 8>>().to_string();
    assert!(
        tree.starts_with(&format!(
            "Region, downward, aligned to 8 at least, chunks of 512 to 512 bytes ({} bytes)",
            4 * size_of::<usize>()
        )),
        "{tree}"
    );
}

/// A heap that can be described.
type GlobalHeap2 = Locked<heapwright::heap::NoHeap, NoLock>;

/// A spare chunk is taken where it is long enough, past shorter ones, which stay.
#[test]
fn a_spare_chunk_that_is_long_enough_is_taken() {
    let mut region = Region::<_, Growing<512, 8192>>::new(Counted::new(GlobalHeap));
    let requests = [layout(300, 8), layout(1500, 8), layout(3000, 8)];
    for request in requests {
        region.alloc(request).expect("room");
    }
    assert_eq!((region.usage().chunks, region.source().counts().acquired), (3, 3));
    // SAFETY: no block is used again.
    unsafe { region.reset_keeping(Keep::All) };
    assert_eq!(region.usage().chunks, 0);
    for request in [requests[1], requests[2], requests[0]] {
        region.alloc(request).expect("room");
    }
    assert_eq!(region.source().counts().acquired, 3, "all were there");
    // SAFETY: as above.
    unsafe { region.reset_keeping(Keep::Nothing) };
    assert_eq!(region.source().counts().blocks, 0, "none was lost");
}
