//! Sizings, cursors and frees that nobody should write, and that must do no harm.
#![expect(clippy::expect_used, reason = "a test that can not go on says why and stops")]

#[expect(dead_code, reason = "the model's other tests use the rest of it")]
mod model;

use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::arena::{Arena, StaticArena, Teaspoon};
use heapwright::heap::{Chunk, ChunkKind, Cursor, Heap, HeapMap, Inspect, SharedHeap, Usage};
use heapwright::lock::NoLock;
use heapwright::sizing::{Bounded, Checked, Link, Placement, Sizing, Sizing4KiB, Sizing16MiB, Sizing128KiB};

use self::model::arenas::{In, InUninit, Inline};
use self::model::drive;

/// Writes a sizing: granule, link, largest object, largest region, and what differs from the defaults.
macro_rules! sizing {
    ($(#[$doc:meta])* $name:ident: $granule:expr, $link:ident, $object:expr, $region:expr $(, $key:ident: $type:ty = $value:expr)*) => {
        $(#[$doc])*
        #[derive(Debug)]
        struct $name;

        impl Sizing for $name {
            type Checks = heapwright::check::Unchecked;
            const GRANULE: usize = $granule;
            const LINK: Link = Link::$link;
            const OBJECT_SIZE_MAX: usize = $object;
            const REGION_SIZE_MAX: usize = $region;
            $(const $key: $type = $value;)*
        }
    };
}

sizing!(/// The largest granule under the narrowest link.
    Pages15: 4096, Bits15, 32 << 12, 64 << 12);
sizing!(/// The same as bitmap runs.
    PageRuns: 4096, Bits15, 32 << 12, 64 << 12, PLACEMENT: Placement = Placement::BitmapRuns, QUICK_SIZES: usize = 256);
sizing!(/// As many granules as fifteen bits reach, and a length that is no whole number of them.
    Limit15: 4, Bits15, 100_000, 4 * 32_767 + 3, QUICK_SIZES: usize = 256, BIN_STEPS: u32 = 4);
sizing!(/// Two granules that are far apart.
    TwoGranules: 512, Bits31, 65_536, 1 << 20, GRANULE_SMALL: usize = 8, REGION_SMALL_MAX: usize = 10_000);
sizing!(/// The coarsest bins.
    NoSteps: 8, Bits31, 1 << 20, 1 << 21, BIN_STEPS: u32 = 0, QUICK_SIZES: usize = 1);
sizing!(/// Long bitmap runs with all the quick lists there are.
    LongRuns: 8, Bits31, 1 << 20, 1 << 21, PLACEMENT: Placement = Placement::BitmapRuns, QUICK_SIZES: usize = 256);
sizing!(/// Objects of at most one granule.
    OneGranule: 64, Bits31, 64, 1 << 20, QUICK_SIZES: usize = 256);
sizing!(/// A region of three granules in whatever length.
    Tiny: 8, Bits31, 24, 32);

macro_rules! models {
    ($($name:ident: $case:ty;)*) => {
        $(
            #[test]
            fn $name() {
                drive::check::<$case>();
            }
        )*
    };
}

mod models {
    use super::*;

    models! {
        pages_15: In<InUninit, Pages15, NoLock, 270_000>;
        pages_15_bounded: In<InUninit, Bounded<Pages15>, NoLock, 270_000>;
        pages_15_checked: In<InUninit, Checked<Pages15>, NoLock, 270_000>;
        page_runs: In<InUninit, PageRuns, NoLock, 270_000>;
        page_runs_checked: In<InUninit, Checked<PageRuns>, NoLock, 270_000>;
        limit_15: In<InUninit, Limit15, NoLock, 160_000>;
        limit_15_bounded: In<InUninit, Bounded<Limit15>, NoLock, 160_000>;
        limit_15_checked: In<InUninit, Checked<Limit15>, NoLock, 160_000>;
        no_steps: In<InUninit, NoSteps, NoLock, 400_000>;
        no_steps_bounded: In<InUninit, Bounded<NoSteps>, NoLock, 400_000>;
        no_steps_checked: In<InUninit, Checked<NoSteps>, NoLock, 400_000>;
        long_runs: In<InUninit, LongRuns, NoLock, 200_000>;
        long_runs_checked: In<InUninit, Checked<LongRuns>, NoLock, 200_000>;
        one_granule: In<InUninit, OneGranule, NoLock, 60_000>;
        one_granule_checked: In<InUninit, Checked<OneGranule>, NoLock, 60_000>;
        small_of_two: In<InUninit, TwoGranules, NoLock, 10_000>;
        large_of_two: In<InUninit, TwoGranules, NoLock, 100_000>;
        large_of_two_checked: In<InUninit, Checked<TwoGranules>, NoLock, 100_000>;
        small_of_two_inline: Inline<Checked<NoSteps>, NoLock, 10_000>;
        tiny: In<InUninit, Tiny, NoLock, 5000>;
    }
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a valid layout")
}

/// A sizing whose largest object has more of the small granules than 32 bits count.
#[cfg(target_pointer_width = "64")]
mod beyond_32_bits {
    use super::*;

    sizing!(Far: 64, Bits31, 64 << 30, 127 << 30, GRANULE_SMALL: usize = 8, REGION_SMALL_MAX: usize = 64 << 10);

    /// Sizes that are small modulo 2³² granules are refused all the same.
    fn refuses<S: Sizing>() {
        let mut memory = [const { MaybeUninit::uninit() }; 4096];
        let mut arena = Arena::<S>::from_slice(&mut memory);
        for size in [8 << 32, (8 << 32) + 1, (8 << 32) + 64, 32 << 30, (32 << 30) + 8, 64 << 30] {
            assert_eq!(arena.alloc(layout(size, 1)), Err(heapwright::AllocError), "{size} bytes");
        }
        let block = arena.alloc(layout(8, 8)).expect("room for 8 bytes").cast();
        for size in [(32 << 30) + 8, (32 << 30) + 64] {
            // SAFETY: the block is live, and its layout this one.
            let resized = unsafe { arena.resize(block, layout(8, 8), layout(size, 8)) };
            assert_eq!(resized, Err(heapwright::AllocError), "to {size} bytes");
        }
        // A freed block of one granule waits for a request of one granule.
        // SAFETY: as above.
        unsafe { arena.dealloc(block, layout(8, 8)) };
        assert_eq!(arena.alloc(layout((32 << 30) + 8, 1)), Err(heapwright::AllocError));
        assert_eq!(arena.verify(), Ok(()));
    }

    #[test]
    fn a_request_beyond_them_is_refused() {
        refuses::<Far>();
        refuses::<Bounded<Far>>();
        refuses::<Checked<Far>>();
    }
}

// ---- cursors ----------------------------------------------------------------------------------------------------------

/// The chunks of an arena, walked from its start.
fn chunks(arena: &mut impl Inspect) -> Vec<Chunk> {
    let mut cursor = Cursor::default();
    std::iter::from_fn(|| arena.next_chunk(&mut cursor)).collect()
}

/// An arena with holes: 64 objects of one to seven granules, every third one freed.
fn with_holes<S: Sizing>(memory: &mut [MaybeUninit<u8>]) -> Arena<'_, S> {
    let mut arena = Arena::<S>::from_slice(memory);
    let mut blocks = Vec::new();
    for n in 0..64 {
        let layout = layout((n % 7 + 1) * S::GRANULE, 1);
        let block = arena.alloc(layout).expect("room");
        // What the user wrote is a length that leads far away, for whoever takes it for the arena's own.
        // SAFETY: the block is fresh, and that long.
        unsafe { block.cast::<u8>().write_bytes(0x7F, block.len()) };
        blocks.push((block.cast(), layout));
    }
    for (block, layout) in blocks.into_iter().step_by(3) {
        // SAFETY: the block is live, and its layout this one.
        unsafe { arena.dealloc(block, layout) };
    }
    arena
}

/// A cursor that safe code made: wherever it points, the chunk given is the rest of the one that lies there.
fn any_cursor<S: Sizing>() {
    let mut memory = [const { MaybeUninit::uninit() }; 20_000];
    let mut arena = with_holes::<S>(&mut memory);
    let truth = chunks(&mut arena);
    let end = truth.last().map_or(0, |chunk| chunk.offset + chunk.len);
    let far = [usize::MAX, usize::MAX / 2, isize::MAX as usize, 1 << 20, end, end + 1];
    #[cfg(target_pointer_width = "64")]
    let far = far.into_iter().chain([(4 << 32) + 400, (8 << 32) + 400, (4096 << 32) + 400]);
    for offset in (0..end + 10).step_by(3).chain(far) {
        // With the version of a cursor that has just come here, and with another one.
        let mut genuine = Cursor::default();
        arena.next_chunk(&mut genuine);
        for version in [genuine.version, genuine.version.wrapping_sub(1), 0] {
            let mut cursor = Cursor { offset, version };
            let found = arena.next_chunk(&mut cursor);
            let expected =
                truth.iter().find(|chunk| offset >= chunk.offset && offset - chunk.offset < chunk.len);
            let expected = expected.map(|chunk| Chunk {
                offset,
                len: chunk.offset + chunk.len - offset,
                kind: chunk.kind,
            });
            assert_eq!(found, expected, "at {offset}, version {version}");
        }
    }
    assert_eq!(arena.verify(), Ok(()));
}

#[test]
fn a_cursor_that_leads_anywhere() {
    any_cursor::<Sizing4KiB>();
    any_cursor::<Sizing128KiB>();
    any_cursor::<Sizing16MiB>();
    any_cursor::<Bounded<Sizing128KiB>>();
    any_cursor::<Checked<Sizing16MiB>>();
    any_cursor::<Checked<Sizing4KiB>>();
}

/// A cursor of one arena, used on another: the walk goes on, and covers what lies behind the cursor.
#[test]
fn a_cursor_of_another_arena() {
    let mut memory = [const { MaybeUninit::uninit() }; 20_000];
    let mut other_memory = [const { MaybeUninit::uninit() }; 3000];
    let mut arena = with_holes::<Sizing16MiB>(&mut memory);
    let mut other = Arena::<Sizing16MiB>::from_slice(&mut other_memory);
    assert!(other.alloc(layout(1000, 8)).is_ok());
    let mut cursor = Cursor::default();
    while arena.next_chunk(&mut cursor).is_some() {
        let mut strayed = cursor;
        let mut last = strayed.offset;
        while let Some(chunk) = other.next_chunk(&mut strayed) {
            assert_eq!(chunk.offset, last);
            last += chunk.len;
        }
        assert!(last == cursor.offset || last == chunks(&mut other).last().map_or(0, |c| c.offset + c.len));
    }
}

/// Two walks in turns, with changes in between, each see the whole region once.
#[test]
fn walks_in_turns() {
    let mut memory = [const { MaybeUninit::uninit() }; 20_000];
    let mut arena = with_holes::<Sizing16MiB>(&mut memory);
    let end = chunks(&mut arena).last().map_or(0, |chunk| chunk.offset + chunk.len);
    let (mut one, mut other) = (Cursor::default(), Cursor::default());
    let (mut ended_one, mut ended_other) = (false, false);
    let mut held = None;
    for round in 0usize.. {
        if ended_one && ended_other {
            break;
        }
        let at = one.offset;
        match arena.next_chunk(&mut one) {
            Some(chunk) => assert!(chunk.offset == at && one.offset == at + chunk.len && chunk.len > 0),
            None => ended_one = true,
        }
        if round % 2 == 0 {
            ended_other = arena.next_chunk(&mut other).is_none();
        }
        match held.take() {
            // SAFETY: the block is live, and its layout this one.
            Some((block, layout)) => unsafe { arena.dealloc(block, layout) },
            None => {
                let layout = layout(8 + round % 5 * 8, 8);
                held = arena.alloc(layout).ok().map(|block| (block.cast(), layout));
            }
        }
        assert_eq!(arena.verify(), Ok(()));
    }
    assert_eq!((one.offset, other.offset), (end, end));
}

/// A reset in the middle of a walk: the rest is free.
#[test]
fn a_reset_in_a_walk() {
    let mut memory = [const { MaybeUninit::uninit() }; 20_000];
    let mut spoon = Teaspoon::<Sizing16MiB, NoLock>::from_slice(&mut memory);
    for n in 1..50 {
        assert!(spoon.try_alloc(layout(n, 1)).is_ok());
    }
    let mut cursor = Cursor::default();
    for _ in 0..2 {
        assert!(spoon.get_mut().next_chunk(&mut cursor).is_some());
    }
    spoon.reset();
    let from = cursor.offset;
    let rest = spoon.get_mut().next_chunk(&mut cursor).expect("the rest of the region");
    assert_eq!((rest.offset, rest.kind), (from, ChunkKind::Free));
    assert_eq!(spoon.get_mut().next_chunk(&mut cursor), None);
    assert_eq!(spoon.verify(), Ok(()));
}

// ---- wrong frees ------------------------------------------------------------------------------------------------------

/// Every pointer and every size in granules that is not exactly a live block is refused once, counted once, and
/// changes nothing.
fn every_wrong_free<S: Sizing>() {
    let mut memory = [const { MaybeUninit::uninit() }; 2000];
    let region = NonNull::from(&mut memory[..]).cast::<u8>();
    let mut arena = Arena::<S>::from_slice(&mut memory);
    let granule = arena.good_size(layout(1, 1));
    let mut blocks = Vec::new();
    for n in 0..24 {
        let layout = layout(n % 5 * granule + 1, 1);
        blocks.push((arena.alloc(layout).expect("room").cast::<u8>(), layout));
    }
    for n in [20, 13, 12, 4, 0] {
        let (block, layout) = blocks.remove(n);
        // SAFETY: the block is live, and its layout this one.
        unsafe { arena.dealloc(block, layout) };
    }
    let (usage, map) = (arena.usage(), chunks(&mut arena));
    let mut misuses = 0;
    for offset in 0..2000 + 2 * granule {
        let ptr = NonNull::new(region.as_ptr().wrapping_add(offset).wrapping_sub(granule)).expect("not null");
        for granules in (0..12).chain([1 << 20, (isize::MAX as usize) / granule - 1]) {
            let wrong = layout(granules * granule + 1, 1);
            let live = |&(block, layout): &(NonNull<u8>, Layout)| {
                block == ptr && layout.size().div_ceil(granule) == granules + 1
            };
            if blocks.iter().any(live) {
                continue;
            }
            // SAFETY: none: that it is refused is what is tested. A checked arena reads its own tables only.
            unsafe { arena.dealloc(ptr, wrong) };
            misuses += 1;
            assert_eq!(arena.misuses(), misuses, "a free at {offset} of {granules} granules");
            // SAFETY: as above.
            assert!(unsafe { arena.resize(ptr, wrong, layout(1, 1)) }.is_err());
            misuses += 1;
            assert_eq!(arena.misuses(), misuses, "a resize at {offset} of {granules} granules");
            // SAFETY: as above.
            assert!(unsafe { arena.resize_in_place(ptr, wrong, layout(1, 1)) }.is_err());
            misuses += 1;
            assert_eq!(arena.misuses(), misuses, "a resize in place at {offset} of {granules} granules");
        }
    }
    assert_eq!((arena.usage(), chunks(&mut arena)), (usage, map));
    assert_eq!(arena.verify(), Ok(()));
    for (block, layout) in blocks {
        // SAFETY: the block is live, and its layout this one.
        unsafe { arena.dealloc(block, layout) };
    }
    assert_eq!((arena.usage().objects, arena.misuses()), (0, misuses));
}

/// What is wrong is counted, and the program goes on.
type Counts = heapwright::check::Checked<heapwright::check::Ignore>;

#[test]
fn every_wrong_free_is_refused_and_counted_once() {
    every_wrong_free::<Checked<Sizing4KiB, Counts>>();
    every_wrong_free::<Checked<Sizing128KiB, Counts>>();
    every_wrong_free::<Checked<Sizing16MiB, Counts>>();
    every_wrong_free::<Checked<NoSteps, Counts>>();
}

// ---- alignments -------------------------------------------------------------------------------------------------------

/// No alignment that a layout can have panics, hangs, or gives a block that lacks it.
fn every_alignment<S: Sizing>(memory: &mut [MaybeUninit<u8>]) {
    let mut arena = Arena::<S>::from_slice(memory);
    let mut blocks = Vec::new();
    for round in 0..3 {
        for shift in 0..usize::BITS - 1 {
            for size in [1, 5, 64, 4096, 40_000] {
                let Ok(layout) = Layout::from_size_align(size, 1 << shift) else { continue };
                let Ok(block) = arena.alloc(layout) else { continue };
                assert_eq!(block.addr().get() & (layout.align() - 1), 0);
                blocks.push((block.cast(), layout));
                let Ok(new) = Layout::from_size_align(size / 2 + 1, 1 << (usize::BITS - 2 - shift)) else {
                    continue;
                };
                let (old_block, old) = blocks.swap_remove(round * 7 % blocks.len());
                // SAFETY: the block is live, and its layout this one.
                match unsafe { arena.resize(old_block, old, new) } {
                    Ok(moved) => {
                        assert_eq!(moved.addr().get() & (new.align() - 1), 0);
                        blocks.push((moved.cast(), new));
                    }
                    Err(_) => blocks.push((old_block, old)),
                }
                assert_eq!(arena.verify(), Ok(()));
            }
        }
        for (block, layout) in blocks.drain(blocks.len() / 3..) {
            // SAFETY: the block is live, and its layout this one.
            unsafe { arena.dealloc(block, layout) };
        }
        assert_eq!(arena.verify(), Ok(()));
    }
}

#[test]
fn every_alignment_of_every_placement() {
    let mut memory = vec![MaybeUninit::uninit(); 150_000];
    every_alignment::<Sizing4KiB>(&mut memory);
    every_alignment::<Sizing128KiB>(&mut memory);
    every_alignment::<Sizing16MiB>(&mut memory);
    every_alignment::<Bounded<Sizing16MiB>>(&mut memory);
    every_alignment::<Checked<Sizing128KiB>>(&mut memory);
    every_alignment::<LongRuns>(&mut memory);
    every_alignment::<Pages15>(&mut memory);
    every_alignment::<PageRuns>(&mut memory);
    every_alignment::<TwoGranules>(&mut memory);
}

// ---- regions ----------------------------------------------------------------------------------------------------------

/// A start that is off the large granule takes a region below the length at which the granule changes.
#[test]
fn between_two_granules() {
    let mut memory = vec![MaybeUninit::uninit(); 12_000];
    for start in (0..520).step_by(13) {
        for len in 9_990..10_530 {
            let mut arena = Arena::<TwoGranules>::from_slice(&mut memory[start..start + len]);
            let Usage { total, free, .. } = arena.usage();
            assert!(total <= len && free > 0);
            let block = arena.alloc(layout(1, 1)).expect("room");
            assert_eq!(block.len(), arena.usage().used);
            assert_eq!(arena.verify(), Ok(()));
        }
    }
}

/// Without room for one granule, all that can be asked has an answer.
fn no_room<S: Sizing>(memory: &mut [MaybeUninit<u8>]) {
    let mut spoon = Teaspoon::<S, NoLock>::from_slice(memory);
    assert!(spoon.try_alloc(layout(1, 1)).is_err());
    assert_eq!(spoon.usage(), Usage::default());
    assert_eq!((spoon.chunks().count(), spoon.verify(), spoon.misuses()), (0, Ok(()), 0));
    assert!(!spoon.owns(NonNull::dangling(), layout(1, 1)));
    spoon.reset();
    assert!(spoon.get_mut().alloc(layout(0, 1)).is_err());
    let mut cursor = Cursor { offset: 77, version: 0 };
    assert_eq!(spoon.get_mut().next_chunk(&mut cursor), None);
}

#[test]
fn no_room_at_all() {
    sizing!(OneByte: 8, Bits31, 1, 1);
    sizing!(OneByteRuns: 8, Bits31, 1, 1, PLACEMENT: Placement = Placement::BitmapRuns);
    let mut memory = [MaybeUninit::uninit(); 4096];
    no_room::<OneByte>(&mut memory);
    no_room::<OneByteRuns>(&mut memory);
    no_room::<Checked<OneByte>>(&mut memory);
    no_room::<Pages15>(&mut memory);
    no_room::<PageRuns>(&mut memory);
    for len in 0..4 {
        no_room::<Sizing4KiB>(&mut memory[1..1 + len]);
        no_room::<Checked<Sizing128KiB>>(&mut memory[..len]);
    }
    let none = StaticArena::<0, Sizing16MiB, NoLock>::new();
    assert!(none.try_alloc(layout(1, 1)).is_err());
    assert_eq!((none.usage(), none.chunks().count(), none.verify()), (Usage::default(), 0, Ok(())));
}

/// Regions that can't be, and those that no chunk tells anything of.
#[test]
fn maps_of_what_is_not_there() {
    let map = HeapMap::<1, 1>::new(usize::MAX, []);
    assert_eq!((map.cells().len(), map.cell_len(), map.region_len()), (1, usize::MAX, usize::MAX));
    let used = Chunk { offset: 0, len: 32, kind: ChunkKind::Used };
    let map = HeapMap::<4, 1>::new(64, [used]).ansi_colours(true);
    let text = map.to_string();
    assert_eq!((map.cell_len(), map.total().used), (16, 32));
    assert!(text.contains("\u{1b}[34m██\u{1b}[0m  "), "{text:?}");
}
