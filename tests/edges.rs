//! The edges of arenas: tiny regions, odd starts, absurd layouts, misuse. Each has a defined result.
#![expect(clippy::expect_used, reason = "a test that can not go on says why and stops")]

use std::alloc::{GlobalAlloc, Layout};
use std::any::Any;
use std::mem::MaybeUninit;
use std::panic::{self, AssertUnwindSafe};
use std::ptr::{self, NonNull};

use heapwright::arena::{Arena, StaticArena, Teaspoon};
use heapwright::check::{Checks, Switch};
use heapwright::heap::{ChunkKind, Heap, Inspect, Locked, SharedHeap, Usage};
use heapwright::lock::{NoLock, SpinLock, TicketLock};
use heapwright::sizing::{Bounded, Checked, Link, Sizing, Sizing4KiB, Sizing16MiB, Sizing128KiB};

/// A user's own sizing.
#[derive(Debug)]
struct Own16;

impl Sizing for Own16 {
    type Checks = heapwright::check::Unchecked;
    const GRANULE: usize = 16;
    const LINK: Link = Link::Bits31;
    const OBJECT_SIZE_MAX: usize = 100_000;
    const REGION_SIZE_MAX: usize = 1 << 20;
}

/// The largest granule that there is.
#[derive(Debug)]
struct Own4096;

impl Sizing for Own4096 {
    type Checks = heapwright::check::Unchecked;
    const GRANULE: usize = 4096;
    const LINK: Link = Link::Bits31;
    const OBJECT_SIZE_MAX: usize = 1 << 20;
    const REGION_SIZE_MAX: usize = 1 << 30;
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a valid layout")
}

/// Bytes of one granule in a region of `len` bytes.
fn granule<S: Sizing>(len: usize) -> usize {
    if len <= S::REGION_SMALL_MAX { S::GRANULE_SMALL } else { S::GRANULE }
}

fn take(heap: &impl SharedHeap, layout: Layout, fill: u8) -> NonNull<[u8]> {
    let block = heap.try_alloc(layout).expect("there is room");
    // SAFETY: the block is live and that long.
    unsafe { block.cast::<u8>().write_bytes(fill, block.len()) };
    block
}

/// Whether the first `len` bytes of a live block are `fill`.
fn holds(block: NonNull<[u8]>, len: usize, fill: u8) -> bool {
    // SAFETY: the tests ask this of live blocks that they have filled.
    let bytes = unsafe { block.as_ref() };
    bytes[..len].iter().all(|&byte| byte == fill)
}

fn at(block: NonNull<[u8]>) -> usize {
    block.cast::<u8>().addr().get()
}

// ---- tiny regions ---------------------------------------------------------------------------------------------

/// The start of a buffer that is aligned to 64.
#[repr(align(64))]
struct Buffer([u8; 1024]);

const UNTOUCHED: u8 = 0xA5;

/// Every length to 512 bytes at every start to 64: construction is total, `usage` counts what can be handed out and that
/// can all be handed out, and no byte outside is written.
fn every_small_region<S: Sizing>() {
    let mut buffer = Buffer([UNTOUCHED; 1024]);
    for start in 0..=64 {
        for len in 0..=512 {
            buffer.0[64 + start..64 + start + len].fill(!UNTOUCHED);
            let (before, rest) = buffer.0.split_at_mut(64 + start);
            let (region, after) = rest.split_at_mut(len);
            let addresses = region.as_ptr_range();
            // SAFETY: the region is filled anew below, and not read before.
            let spoon = unsafe { Teaspoon::<S, NoLock>::from_bytes(region) };
            let fresh = spoon.usage();
            let granule = granule::<S>(len);
            assert!(fresh.total <= len && fresh.used + fresh.objects == 0, "{start} {len}: {fresh:?}");
            assert_eq!(fresh.free % granule, 0, "{start} {len}: {fresh:?}");
            assert_eq!(fresh.total == 0, fresh.free == 0, "{start} {len}: tables for nothing: {fresh:?}");
            // The largest object that there is room for, then the smallest, until nothing is free.
            let mut taken = 0;
            let sizes = std::iter::once(fresh.free).chain((0..).map(|_| 1));
            for size in sizes.filter(|&size| size > 0) {
                let Ok(block) = spoon.try_alloc(layout(size, 1)) else { break };
                let end = block.cast::<u8>().as_ptr().wrapping_add(block.len()).cast_const();
                assert!(addresses.start <= block.cast().as_ptr() && end <= addresses.end, "{start} {len}");
                // SAFETY: the block is live and that long.
                unsafe { block.cast::<u8>().write_bytes(0x11, block.len()) };
                taken += block.len();
            }
            assert_eq!(taken, fresh.free, "{start} {len}: what is called free is not all to be had");
            assert_eq!((spoon.usage().free, spoon.verify()), (0, Ok(())), "{start} {len}");
            let outside = before.iter().chain(&*after);
            assert!(
                outside.copied().all(|byte| byte == UNTOUCHED),
                "{start} {len}: bytes outside are touched"
            );
            buffer.0[64 + start..64 + start + len].fill(UNTOUCHED);
        }
    }
}

/// How many 8-byte objects 64 bytes hold.
fn objects_in_64_bytes<S: Sizing>() -> usize {
    let mut buffer = Buffer([0; 1024]);
    // SAFETY: the buffer is not read afterwards.
    let spoon = unsafe { Teaspoon::<S, NoLock>::from_bytes(&mut buffer.0[..64]) };
    std::iter::from_fn(|| spoon.try_alloc(layout(8, 8)).ok()).count()
}

/// The ancestor fits 5, 4 and 3.
#[test]
fn a_region_of_64_bytes_is_useful() {
    assert_eq!(objects_in_64_bytes::<Sizing4KiB>(), 7);
    assert_eq!(objects_in_64_bytes::<Sizing128KiB>(), 6);
    assert_eq!(objects_in_64_bytes::<Sizing16MiB>(), 6);
    assert_eq!(objects_in_64_bytes::<Checked<Sizing4KiB>>(), 7);
    assert_eq!(objects_in_64_bytes::<Bounded<Sizing4KiB>>(), 6);
}

/// The largest granule: a region of a few pages, started anywhere, loses less than one page at each end.
#[test]
fn the_largest_granule() {
    let mut memory = vec![MaybeUninit::uninit(); 10 * 4096];
    for start in [0, 1, 100, 4095] {
        let spoon = Teaspoon::<Own4096, NoLock>::from_slice(&mut memory[start..]);
        let fresh = spoon.usage();
        assert!(fresh.free >= 7 * 4096, "{fresh:?}");
        let count = std::iter::from_fn(|| spoon.try_alloc(layout(1, 4096)).ok()).count();
        assert_eq!((count * 4096, spoon.usage().free), (fresh.free, 0));
    }
}

/// Null and empty regions are arenas in which every request but that for nothing fails.
#[test]
fn null_and_empty_regions() {
    fn serves_nothing(spoon: &Teaspoon<'_, Sizing4KiB, NoLock>) {
        assert_eq!(spoon.usage(), Usage::default());
        assert!(spoon.try_alloc(layout(1, 1)).is_err());
        assert!(spoon.try_alloc(layout(0, 8)).is_ok());
        assert_eq!((spoon.chunks().count(), spoon.verify()), (0, Ok(())));
        assert!(!spoon.owns(NonNull::dangling(), layout(1, 1)));
    }
    serves_nothing(&Teaspoon::from_slice(&mut []));
    serves_nothing(&Teaspoon::from_static(&mut []));
    serves_nothing(&Teaspoon::from(&mut [MaybeUninit::uninit(); 3]));
    Teaspoon::scoped(&mut [], serves_nothing);
    Teaspoon::scoped(&mut [1; 3], serves_nothing);
    // SAFETY: null is defined.
    serves_nothing(&unsafe { Teaspoon::from_ptr(ptr::slice_from_raw_parts_mut(ptr::null_mut(), 100)) });
    // SAFETY: null is defined.
    serves_nothing(&unsafe { Teaspoon::from_addr_size(0, 100) });
}

// ---- layouts --------------------------------------------------------------------------------------------------

/// Every alignment up to 2⁶², at sizes 1 and 24: aligned or refused, and a refusal changes nothing.
fn every_alignment<S: Sizing>() {
    let mut memory = vec![MaybeUninit::uninit(); 9000];
    for shift in 0..usize::BITS - 2 {
        let align = 1usize << shift;
        for size in [1, 24, 5] {
            let spoon = Teaspoon::<S, NoLock>::from_slice(&mut memory);
            let fresh = spoon.usage();
            let served = spoon.try_alloc(layout(size, align));
            assert!(served.is_ok() || align > 4096, "{align} is refused in {fresh:?}");
            match served {
                Ok(block) => {
                    assert_eq!(at(block) % align, 0);
                    // SAFETY: the block is live and its layout its own.
                    unsafe { spoon.free(block.cast(), layout(size, align)) };
                }
                Err(_) => assert_eq!(spoon.usage(), fresh),
            }
            assert_eq!((spoon.usage(), spoon.verify()), (fresh, Ok(())));
        }
    }
}

/// Sizes near `isize::MAX`, with the largest alignment that each may have, to allocate and to grow to.
fn sizes_near_the_maximum<S: Sizing>() {
    let mut memory = vec![MaybeUninit::uninit(); 4096];
    let spoon = Teaspoon::<S, NoLock>::from_slice(&mut memory);
    let small = layout(40, 8);
    let block = take(&spoon, small, 0x42);
    let before = spoon.usage();
    let max = isize::MAX as usize;
    // And multiples of 2³² granules, which a 32-bit count of them would take for next to nothing.
    let wrapping = (1..13u64).filter_map(|times| usize::try_from(times << 34).ok());
    let near = (0..70).map(|less| max - less);
    for size in near
        .chain((12..usize::BITS - 1).map(|shift| 1 << shift))
        .chain(wrapping.flat_map(|size| [size, size + 1]))
    {
        for shift in [0, 3, 4, 12, 20, usize::BITS / 2 - 1, usize::BITS - 3] {
            let Ok(absurd) = Layout::from_size_align(size, 1 << shift) else { continue };
            assert!(spoon.try_alloc(absurd).is_err());
            assert!(spoon.try_alloc_zeroed(absurd).is_err());
            // SAFETY: the block is live and its layout its own.
            assert!(unsafe { spoon.try_resize(block.cast(), small, absurd) }.is_err());
            // SAFETY: as above.
            assert!(unsafe { spoon.try_resize_zeroed(block.cast(), small, absurd) }.is_err());
            // SAFETY: as above; a size that is too large when rounded up gives null too.
            assert!(unsafe { spoon.realloc(block.cast().as_ptr(), small, size) }.is_null());
            assert_eq!(spoon.usage(), before);
        }
    }
    // SAFETY: as above.
    assert!(unsafe { spoon.realloc(block.cast().as_ptr(), small, usize::MAX) }.is_null());
    assert!(holds(block, 40, 0x42));
    assert_eq!(spoon.verify(), Ok(()));
}

/// A size that is no multiple of its alignment (5 bytes aligned to 4): each block is aligned all the same.
fn sizes_off_their_alignment<S: Sizing>() {
    let mut memory = vec![MaybeUninit::uninit(); 4096];
    let spoon = Teaspoon::<S, NoLock>::from_slice(&mut memory);
    for (size, align) in [(5, 4), (1, 2), (9, 8), (17, 16), (33, 32), (3, 64)] {
        for _ in 0..8 {
            let block = take(&spoon, layout(size, align), 1);
            assert_eq!(at(block) % align, 0);
            assert!(block.len() >= size);
        }
    }
}

/// Trap T1: any size from the requested to the returned one frees a block, and all of it.
fn frees_with_every_size_between<S: Sizing>() {
    let mut memory = vec![MaybeUninit::uninit(); 4096];
    let mut spoon = Teaspoon::<S, NoLock>::from_slice(&mut memory);
    let fresh = spoon.usage();
    for size in 1..=100 {
        let len = take(&spoon, layout(size, 1), 0).len();
        spoon.reset();
        for given_back in size..=len {
            let neighbours = [8, size, 8].map(|size| (take(&spoon, layout(size, 1), size as u8), size));
            // SAFETY: the block is live, and the size lies between the requested and the returned one.
            unsafe { spoon.free(neighbours[1].0.cast(), layout(given_back, 1)) };
            let next = take(&spoon, layout(size, 1), 0);
            // SAFETY: as above, as a resize.
            let grown = unsafe { spoon.try_resize(next.cast(), layout(given_back, 1), layout(len + 1, 1)) };
            let grown = grown.expect("there is room");
            // SAFETY: the block is live and its layout its own.
            unsafe { spoon.free(grown.cast(), layout(len + 1, 1)) };
            for (block, size) in [neighbours[0], neighbours[2]] {
                assert!(holds(block, size, size as u8));
                // SAFETY: as above.
                unsafe { spoon.free(block.cast(), layout(size, 1)) };
            }
            assert_eq!((spoon.usage(), spoon.verify()), (fresh, Ok(())), "{size} {given_back}");
        }
    }
}

/// Trap T4: the pointers that `Box` gives back are good for the value's bytes only; nothing is written or read beyond through them.
#[cfg(all(feature = "allocator-api2-04", feature = "allocator-api2-02"))]
fn boxes_smaller_than_a_link<S: Sizing>() {
    macro_rules! in_every_version {
        ($value:expr, $spoon:expr) => {
            let (new, old) = (
                allocator_api2_04::boxed::Box::new_in($value, $spoon),
                allocator_api2_02::boxed::Box::new_in($value, $spoon),
            );
            assert_eq!((*new, *old), ($value, $value));
            drop((old, new));
        };
    }
    let mut memory = vec![MaybeUninit::uninit(); 2048];
    let spoon = Teaspoon::<S, NoLock>::from_slice(&mut memory);
    for _ in 0..200 {
        in_every_version!(1u8, &spoon);
        in_every_version!(2u16, &spoon);
        in_every_version!(3u32, &spoon);
        in_every_version!([4u8; 3], &spoon);
        in_every_version!((), &spoon);
    }
    assert_eq!((spoon.usage().used, spoon.verify()), (0, Ok(())));
}

/// A core refuses size zero by itself (H6): the shell never asks it.
fn cores_refuse_size_zero<S: Sizing>() {
    let mut memory = vec![MaybeUninit::uninit(); 4096];
    let mut core = Arena::<S>::from_slice(&mut memory);
    for round in 0..200 {
        assert!(core.alloc(layout(0, 1)).is_err() && core.alloc_zeroed(layout(0, 64)).is_err());
        // Blocks that come and go, so that every list that the arena has is tried.
        let block = core.alloc(layout(1 + round, 1)).expect("there is room");
        // SAFETY: the block is live and its layout its own.
        unsafe { core.dealloc(block.cast(), layout(1 + round, 1)) };
    }
    assert_eq!(core.verify(), Ok(()));
}

// ---- resizes --------------------------------------------------------------------------------------------------

/// Blocks of 64 bytes, one after the other, until the region is full; each filled with its number.
fn row(spoon: &impl SharedHeap) -> Vec<NonNull<[u8]>> {
    let next = |number: usize| {
        let block = spoon.try_alloc(layout(64, 8)).ok()?;
        // SAFETY: the block is live and that long.
        unsafe { block.cast::<u8>().write_bytes(number as u8, block.len()) };
        Some(block)
    };
    let mut blocks: Vec<_> = (0..).map_while(next).collect();
    // Addresses rise under every sizing at first; if they do not, the neighbours below are the wrong ones.
    blocks.sort_by_key(|&block| at(block));
    for (number, block) in blocks.iter().enumerate() {
        // SAFETY: the block is live and that long.
        unsafe { block.cast::<u8>().write_bytes(number as u8, block.len()) };
    }
    blocks
}

/// Trap T8: in a full region the gap right before a block is the only room for it to grow. It moves there, keeps its
/// bytes and stays counted.
fn grows_into_the_gap_before<S: Sizing>() {
    let mut memory = vec![MaybeUninit::uninit(); 4096];
    // Up to 128 bytes the gap alone has room; above, the new place overlaps the old one.
    for size in [65, 100, 128, 129, 192] {
        let spoon = Teaspoon::<S, NoLock>::from_slice(&mut memory);
        let blocks = row(&spoon);
        let before = spoon.usage();
        // SAFETY: both blocks are live, and not used again.
        unsafe { spoon.free(blocks[3].cast(), layout(64, 8)) };
        // SAFETY: as above.
        unsafe { spoon.free(blocks[4].cast(), layout(64, 8)) };
        // SAFETY: the block is live and its layout its own.
        let grown = unsafe { spoon.try_resize(blocks[5].cast(), layout(64, 8), layout(size, 8)) };
        let grown = grown.expect("the gap before has room");
        assert!((at(blocks[3])..at(blocks[5])).contains(&at(grown)));
        assert!(holds(grown, 64, 5), "bytes are lost on the way to {size}");
        let usage = spoon.usage();
        assert_eq!((usage.objects, usage.used), (before.objects - 2, before.used - 3 * 64 + grown.len()));
        assert_eq!(spoon.verify(), Ok(()));
        // What is left around it, and nothing that is live, is handed out again.
        while let Ok(block) = spoon.try_alloc(layout(1, 1)) {
            // SAFETY: the block is live and that long.
            unsafe { block.cast::<u8>().write_bytes(0xFF, block.len()) };
        }
        assert_eq!(spoon.usage().free, 0);
        let live = blocks.iter().enumerate().filter(|&(number, _)| !(3..=5).contains(&number));
        assert!(live.into_iter().all(|(number, &block)| holds(block, 64, number as u8)));
        assert!(holds(grown, 64, 5));
    }
}

/// Small blocks that were freed, and are kept apart for speed, are merged when a resize needs their room.
fn resizes_merge_what_was_freed<S: Sizing>() {
    let mut memory = vec![MaybeUninit::uninit(); 4096];
    let spoon = Teaspoon::<S, NoLock>::from_slice(&mut memory);
    let granule = granule::<S>(4096);
    let small = layout(granule, 1);
    // Frees early on, while most is free: that is when an arena takes to keeping blocks.
    let first = [0; 8].map(|_| take(&spoon, small, 0));
    for block in first {
        // SAFETY: the block is live and not used again.
        unsafe { spoon.free(block.cast(), small) };
    }
    let kept = take(&spoon, layout(100, 1), 0x3C);
    let blocks: Vec<_> = std::iter::from_fn(|| spoon.try_alloc(small).ok()).collect();
    for block in blocks {
        // SAFETY: the block is live and not used again.
        unsafe { spoon.free(block.cast(), small) };
    }
    let whole = spoon.usage().free;
    // SAFETY: the block is live and its layout its own.
    let grown = unsafe { spoon.try_resize(kept.cast(), layout(100, 1), layout(whole, 1)) };
    let grown = grown.expect("all the free memory is in one piece, or can be");
    assert!(holds(grown, 100, 0x3C));
    assert_eq!((spoon.usage().objects, spoon.verify()), (1, Ok(())));
}

/// A resize that fails leaves the block, its bytes and all numbers as they were.
fn failing_resizes_change_nothing<S: Sizing>() {
    let mut memory = vec![MaybeUninit::uninit(); 4096];
    let spoon = Teaspoon::<S, NoLock>::from_slice(&mut memory);
    let blocks = row(&spoon);
    // Leave one gap, too small and not next to the block.
    // SAFETY: the block is live, and not used again.
    unsafe { spoon.free(blocks[1].cast(), layout(64, 8)) };
    let before = spoon.usage();
    for new in [layout(136, 8), layout(1000, 8), layout(64, 1 << 20), layout(1, 1 << 30), layout(4000, 1)] {
        // SAFETY: the block is live and its layout its own.
        assert!(unsafe { spoon.try_resize(blocks[9].cast(), layout(64, 8), new) }.is_err(), "{new:?}");
        // SAFETY: as above.
        assert!(unsafe { spoon.try_resize_zeroed(blocks[9].cast(), layout(64, 8), new) }.is_err(), "{new:?}");
        assert_eq!((spoon.usage(), spoon.verify()), (before, Ok(())));
        let live = blocks.iter().enumerate().filter(|&(number, _)| number != 1);
        for (number, &block) in live {
            assert!(holds(block, 64, number as u8), "{new:?} changed block {number}");
        }
    }
}

/// The alignment may change with the size, up and down.
fn resizes_change_alignment<S: Sizing>() {
    let mut memory = vec![MaybeUninit::uninit(); 8192];
    let spoon = Teaspoon::<S, NoLock>::from_slice(&mut memory);
    let mut old = layout(48, 1);
    let mut block = take(&spoon, old, 0x77);
    for (size, align) in [(48, 512), (49, 2), (48, 1024), (200, 64), (48, 2048), (2000, 1), (48, 16)] {
        let new = layout(size, align);
        // SAFETY: the block is live and its layout its own.
        block = unsafe { spoon.try_resize(block.cast(), old, new) }.expect("there is room");
        assert_eq!(at(block) % align, 0);
        assert!(holds(block, 48, 0x77));
        assert_eq!((spoon.usage().objects, spoon.verify()), (1, Ok(())));
        old = new;
    }
}

// ---- misuse ---------------------------------------------------------------------------------------------------

/// Null is no block: freeing it does nothing, and it can't be resized.
fn null_is_ignored<S: Sizing>() {
    let mut memory = vec![MaybeUninit::uninit(); 1024];
    let spoon = Teaspoon::<S, NoLock>::from_slice(&mut memory);
    let block = take(&spoon, layout(30, 1), 9);
    let before = spoon.usage();
    // SAFETY: null is defined.
    unsafe { spoon.dealloc(ptr::null_mut(), layout(30, 1)) };
    // SAFETY: null is defined.
    assert!(unsafe { spoon.realloc(ptr::null_mut(), layout(30, 1), 60) }.is_null());
    assert_eq!((spoon.usage(), spoon.misuses()), (before, 0));
    assert!(holds(block, 30, 9));
}

/// Under `Checked`, each wrong free or resize is ignored and counted: every live block keeps its place and bytes.
fn misuse_is_ignored_and_counted<S: Sizing>() {
    const { assert!(<S::Checks as Checks>::Frees::ON) };
    let (mut memory, mut other_memory) =
        (vec![MaybeUninit::uninit(); 4096], vec![MaybeUninit::uninit(); 4096]);
    let spoon = Teaspoon::<S, NoLock>::from_slice(&mut memory);
    let other = Teaspoon::<S, NoLock>::from_slice(&mut other_memory);
    let granule = granule::<S>(4096);
    let mine = layout(4 * granule, 1);
    let blocks = [1, 2, 3, 4].map(|fill| take(&spoon, mine, fill));
    let freed = take(&spoon, mine, 5);
    let last = take(&spoon, mine, 6);
    let foreign = take(&other, mine, 7);
    let mut local = [0u8; 64];
    // SAFETY: the block is live; what comes after is the misuse that this test is about.
    unsafe { spoon.free(freed.cast(), mine) };
    let before = spoon.usage();
    let inside = |block: NonNull<[u8]>, offset: usize| {
        // SAFETY: the offset is less than the block's length.
        unsafe { block.cast::<u8>().add(offset) }
    };
    let wrong = [
        ("double free", freed.cast(), mine),
        ("a block of another arena", foreign.cast(), mine),
        ("not a block at all", NonNull::from(&mut local).cast(), mine),
        ("dangling", NonNull::<u8>::dangling(), mine),
        ("the inside of a block", inside(blocks[1], granule), layout(3 * granule, 1)),
        ("the inside of a granule", inside(blocks[1], 1), mine),
        ("reaches into the next block", blocks[1].cast(), layout(8 * granule, 1)),
        ("one granule too long", blocks[0].cast(), layout(5 * granule, 1)),
        ("reaches into a free block", blocks[3].cast(), layout(6 * granule, 1)),
        ("one granule too short", blocks[1].cast(), layout(3 * granule, 1)),
        ("reaches past the region", last.cast(), layout(5000, 1)),
        ("absurdly long", last.cast(), layout(isize::MAX as usize, 1)),
    ];
    let mut expected = 0;
    for (what, ptr, layout) in wrong {
        for twice in 0..2 {
            // SAFETY: none; `Checked` defines what happens.
            unsafe { spoon.free(ptr, layout) };
            expected += 1;
            assert_eq!(spoon.misuses(), expected, "{what} {twice}");
            let new = Layout::from_size_align(granule, 1).expect("a valid layout");
            // SAFETY: none; `Checked` defines what happens.
            assert!(unsafe { spoon.try_resize(ptr, layout, new) }.is_err(), "{what}");
            assert!(spoon.misuses() > expected, "{what} {twice}");
            expected = spoon.misuses();
            assert_eq!((spoon.usage(), spoon.verify()), (before, Ok(())), "{what} {twice}");
        }
    }
    assert!(blocks.iter().zip(1..).all(|(&block, fill)| holds(block, mine.size(), fill)));
    assert!(holds(last, mine.size(), 6) && holds(foreign, mine.size(), 7));
    // After all that the arena still works, to the last byte.
    for block in blocks.into_iter().chain([last]) {
        // SAFETY: the blocks are live.
        unsafe { spoon.free(block.cast(), mine) };
    }
    assert_eq!((spoon.usage().used, spoon.misuses(), other.misuses()), (0, expected, 0));
}

/// Under `Checked` each live object is a chunk of its own.
fn chunks_show_single_objects<S: Sizing>() {
    let mut memory = vec![MaybeUninit::uninit(); 2048];
    let spoon = Teaspoon::<S, NoLock>::from_slice(&mut memory);
    let blocks: Vec<_> = (1..=10).map(|count| take(&spoon, layout(count * 16, 16), 0)).collect();
    let used: Vec<_> = spoon.chunks().filter(|chunk| chunk.kind == ChunkKind::Used).collect();
    assert_eq!(used.len(), blocks.len());
    assert!(blocks.iter().all(|block| used.iter().any(|chunk| chunk.len == block.len())));
}

/// A walk goes on when blocks come and go between its steps, also where its place is inside a merged chunk by now.
fn chunks_are_true_when_given<S: Sizing>() {
    let mut memory = vec![MaybeUninit::uninit(); 4096];
    let spoon = Teaspoon::<S, NoLock>::from_slice(&mut memory);
    let blocks = row(&spoon);
    let free = |number: usize| {
        // SAFETY: the test frees each of these blocks once.
        unsafe { spoon.free(blocks[number].cast(), layout(64, 8)) };
    };
    free(4);
    // What is shorter was skipped to align the first block.
    let mut walk = spoon.chunks().skip_while(|chunk| chunk.kind != ChunkKind::Free || chunk.len < 64);
    let gap = walk.next().expect("a block is free");
    assert_eq!(gap.len, 64);
    // The walk stands at block 5: which is merged with the gap behind it now.
    free(5);
    let next = walk.next().expect("more is to come");
    assert_eq!((next.offset, next.len, next.kind), (gap.offset + 64, 64, ChunkKind::Free));
    // It stands at block 6. Taking both back makes the gap used again, and what is before the walk is not told again.
    let both = take(&spoon, layout(128, 8), 0);
    assert_eq!(at(both), at(blocks[4]));
    let next = walk.next().expect("more is to come");
    assert_eq!((next.offset, next.kind), (gap.offset + 128, ChunkKind::Used));
}

// ---- borrowed bytes -------------------------------------------------------------------------------------------

/// An object with padding, and more that has no value.
type Holey = (u8, u64, MaybeUninit<[u64; 5]>);

/// Writes objects with holes all over the arena, and leaves them there.
fn leave_holes<S: Sizing>(spoon: &Teaspoon<'_, S, NoLock>) -> usize {
    let put = || {
        let block = spoon.try_alloc(Layout::new::<Holey>()).ok()?;
        // SAFETY: the block is live, and of the object's layout.
        unsafe { block.cast::<Holey>().write((1, 2, MaybeUninit::uninit())) };
        Some(())
    };
    std::iter::from_fn(put).count()
}

/// A scoped arena leaves zeroes all over its bytes, in whatever way its user leaves.
fn scoped_bytes_are_zero_afterwards<S: Sizing>() {
    for len in [0, 1, 100, 1024] {
        let mut memory = vec![0xB7; len + 2];
        let count = Teaspoon::<S, NoLock>::scoped(&mut memory[1..=len], leave_holes);
        assert_eq!(count > 0, len >= 100, "{len}");
        assert!(memory[1..=len].iter().all(|&byte| byte == 0), "{len}");

        memory[1..=len].fill(0xB7);
        let unwound = panic::catch_unwind(AssertUnwindSafe(|| {
            let unwind = |spoon: &Teaspoon<'_, S, NoLock>| panic::resume_unwind(Box::new(leave_holes(spoon)));
            Teaspoon::<S, NoLock>::scoped(&mut memory[1..=len], unwind)
        }));
        let payload: Box<dyn Any + Send> = unwound.expect_err("it unwinds");
        assert_eq!(payload.downcast_ref(), Some(&count), "{len}");
        assert!(memory[1..=len].iter().all(|&byte| byte == 0), "{len}, unwound");
        assert_eq!([memory[0], memory[len + 1]], [0xB7; 2], "{len}");
    }
}

/// A scoped arena within a scoped arena's block, and one whose memory is used again as bytes.
#[test]
fn scopes_in_scopes() {
    let mut memory = [7u8; 4096];
    for _ in 0..2 {
        let (outer, inner) = Teaspoon::<Sizing16MiB, SpinLock>::scoped(&mut memory, |outer| {
            let block = outer.try_alloc_zeroed(layout(1024, 1)).expect("there is room");
            // SAFETY: the block is live, initialised, and used by this reference alone.
            let bytes = unsafe { &mut *block.as_ptr() };
            let inner = Teaspoon::<Sizing4KiB, NoLock>::scoped(bytes, leave_holes);
            assert!(bytes.iter().all(|&byte| byte == 0));
            (outer.usage().objects, inner)
        });
        assert!(outer == 1 && inner > 10);
        assert_eq!(memory, [0; 4096]);
        memory.fill(9);
    }
}

/// Bytes that are borrowed for ever: as a slice, as an array, as either by `from`.
#[test]
fn arenas_in_leaked_bytes() {
    type Spoon = Teaspoon<'static, Sizing4KiB, NoLock>;
    let slice = || Box::leak(vec![0u8; 512].into_boxed_slice());
    let spoons = [
        Spoon::from_static(slice()),
        Spoon::from_static(Box::leak(Box::new([0; 512]))),
        Spoon::from(slice()),
        Spoon::from(Box::leak(Box::new([0; 512]))),
        Locked::new(Arena::from_static(slice())),
    ];
    for spoon in spoons {
        assert!(leave_holes(&spoon) > 5);
    }
}

// ---- statics --------------------------------------------------------------------------------------------------

/// A static arena of each shipped sizing: ready without a start, all zero, and every byte of `free` can be had.
#[test]
fn static_arenas() {
    fn fill<const N: usize, S: Sizing>(heap: &'static StaticArena<N, S, SpinLock>) {
        let fresh = heap.usage();
        let region = ptr::from_ref(heap).addr();
        let blocks: Vec<_> = std::iter::from_fn(|| heap.try_alloc(layout(32, 16)).ok()).collect();
        assert!(blocks.len() * 32 + 32 > fresh.free, "{} blocks in {fresh:?}", blocks.len());
        for (fill, &block) in (0u8..).zip(&blocks) {
            assert!(at(block) % 16 == 0 && at(block) >= region && at(block) + 32 <= region + N);
            // SAFETY: the block is live and that long.
            unsafe { block.cast::<u8>().write_bytes(fill, 32) };
        }
        for (fill, block) in (0u8..).zip(blocks) {
            assert!(holds(block, 32, fill));
            // SAFETY: the block is live and its layout its own.
            unsafe { heap.free(block.cast(), layout(32, 16)) };
        }
        assert_eq!((heap.usage(), heap.verify()), (fresh, Ok(())));
    }
    static SMALL: StaticArena<2048, Sizing4KiB> = StaticArena::new();
    static MIDDLE: StaticArena<6000, Sizing128KiB> = StaticArena::new();
    static LARGE: StaticArena<8000, Sizing16MiB> = StaticArena::new();
    static CHECKED: StaticArena<4096, Bounded<Checked<Sizing128KiB>>> = StaticArena::new();
    fill(&SMALL);
    fill(&MIDDLE);
    fill(&LARGE);
    fill(&CHECKED);
}

/// A static arena takes no room in the program's file: all its bytes are zero, so it lies in `.bss`.
#[cfg(all(not(miri), not(target_family = "wasm")))]
#[test]
fn static_arenas_take_no_room_in_the_program() {
    const SIZE: usize = 64 << 20;
    static SPINNING: StaticArena<SIZE, Sizing4KiB> = StaticArena::new();
    static IN_TURN: StaticArena<SIZE, Sizing16MiB, TicketLock> = StaticArena::new();
    assert_eq!((SPINNING.usage().objects, IN_TURN.usage().objects), (0, 0));
    #[cfg(feature = "std")]
    {
        static SLEEPING: StaticArena<SIZE, Bounded<Sizing128KiB>, heapwright::lock::StdLock> =
            StaticArena::new();
        assert_eq!(SLEEPING.usage().objects, 0);
    }
    let program = std::env::current_exe().expect("a running program has a file");
    let len = std::fs::metadata(program).expect("the file is still there").len();
    assert!(len < SIZE as u64, "{len} bytes");
}

/// An arena in which objects with holes have been may be moved, empty or not, and goes on.
#[test]
fn used_static_arenas_move() {
    let arena = StaticArena::<1024, Sizing128KiB, NoLock>::new();
    let (fresh, object) = (arena.usage(), Layout::new::<Holey>());
    let blocks: Vec<_> = std::iter::from_fn(|| arena.try_alloc(object).ok()).collect();
    for block in &blocks {
        // SAFETY: the block is live, and of the object's layout.
        unsafe { block.cast::<Holey>().write((1, 2, MaybeUninit::uninit())) };
    }
    for block in blocks {
        // SAFETY: the block is live and its layout its own.
        unsafe { arena.free(block.cast(), object) };
    }
    let moved = std::hint::black_box(Box::new(arena));
    assert_eq!((moved.usage(), moved.verify()), (fresh, Ok(())));
    assert!(moved.try_alloc(layout(fresh.free, 1)).is_ok(), "the moved arena has all its room");
}

macro_rules! tests {
    ($($sizing:ident: $type:ty, [$($test:ident),*];)*) => {
        $(mod $sizing {
            use super::*;

            $(#[test]
            fn $test() {
                super::$test::<$type>();
            })*

            #[cfg(all(feature = "allocator-api2-04", feature = "allocator-api2-02"))]
            #[test]
            fn boxes_smaller_than_a_link() {
                super::boxes_smaller_than_a_link::<$type>();
            }
        })*
    };
    ($($sizing:ident: $type:ty;)*) => {
        tests! {
            $($sizing: $type, [
                every_small_region, every_alignment, sizes_near_the_maximum, sizes_off_their_alignment,
                frees_with_every_size_between, grows_into_the_gap_before, failing_resizes_change_nothing,
                resizes_change_alignment, null_is_ignored, scoped_bytes_are_zero_afterwards,
                cores_refuse_size_zero, resizes_merge_what_was_freed, chunks_are_true_when_given
            ];)*
        }
    };
}

tests! {
    four_kib: Sizing4KiB;
    four_kib_bounded: Bounded<Sizing4KiB>;
    of_128_kib: Sizing128KiB;
    of_128_kib_bounded: Bounded<Sizing128KiB>;
    of_16_mib: Sizing16MiB;
    of_16_mib_bounded: Bounded<Sizing16MiB>;
    own: Own16;
}

mod checked {
    use super::*;

    /// What is wrong is counted, and the program goes on.
    type Counts = heapwright::check::Checked<heapwright::check::Ignore>;

    tests! {
        four_kib: Checked<Sizing4KiB, Counts>, [every_small_region, misuse_is_ignored_and_counted, chunks_show_single_objects];
        four_kib_bounded: Bounded<Checked<Sizing4KiB, Counts>>, [misuse_is_ignored_and_counted, chunks_show_single_objects];
        of_128_kib: Checked<Sizing128KiB, Counts>, [every_small_region, misuse_is_ignored_and_counted, chunks_show_single_objects];
        of_16_mib: Checked<Sizing16MiB, Counts>, [every_small_region, misuse_is_ignored_and_counted, chunks_show_single_objects];
        bounded_16_mib: Checked<Bounded<Sizing16MiB>, Counts>, [misuse_is_ignored_and_counted, chunks_show_single_objects];
        own: Checked<Own16, Counts>, [every_small_region, misuse_is_ignored_and_counted, chunks_show_single_objects];
    }
}
