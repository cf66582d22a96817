//! Zones byte by byte, and what a report says of where the damage is.

use std::alloc::GlobalAlloc;
use std::ptr::NonNull;

use heapwright::cache::{ChunkHeap, Classes, KeepAll, MallocSettings, SizeClasses};
use heapwright::check::{Hardened, Wrong};
use heapwright::heap::UsableSize;
use heapwright::lock::YieldLock;
use heapwright::source::Pages;

use crate::partial::{GuardsHeap, Rests, ZonedHeap, alloc, free, layout};
use crate::{CheckedHeap, HardenedHeap, Note, WideHeap, found, heap};

/// The pattern.
const ZONE: u8 = 0xbb;

heap!(PENS, PensHeap, PensParts, Rests);
heap!(ENDS, EndsHeap, EndsParts, Rests);
heap!(FREED, FreedHeap, FreedParts, Hardened<Note>);
heap!(PART, PartHeap, PartParts, Hardened<Note>);

/// What a user may write of a live block.
fn usable<A: UsableSize>(heap: &A, block: *mut u8) -> usize {
    // SAFETY: it is live.
    unsafe { heap.usable_size(NonNull::new(block).unwrap()) }
}

/// The one thing that has been found: writes behind the block, from there on.
fn written_behind(at: usize, byte: u8) {
    let all = found();
    assert_eq!(all.len(), 1, "{all:?}");
    let damage = all[0].damage.unwrap();
    let told = (all[0].wrong, damage.offset, damage.expected, damage.found);
    assert_eq!(told, (Wrong::WrittenBehind, at as isize, ZONE, byte));
}

/// One byte, wherever it is, and where it is: in the zone, and among as many bytes at the block's end.
#[test]
fn every_byte_of_both_ends_is_looked_at() {
    fn bytes<A: GlobalAlloc + UsableSize>(heap: &A, zone: usize) {
        for size in [1, 130, 4100, 40_000, 700_000] {
            let block = alloc(heap, size);
            let end = usable(heap, block);
            free(heap, block, layout(size));
            for at in (size..size + zone).chain(end.max(size)..end + zone) {
                let block = alloc(heap, size);
                // SAFETY: none: the zone is the heap's.
                unsafe { block.wrapping_add(at).write(3) };
                free(heap, block, layout(size));
                written_behind(at, 3);
            }
        }
    }
    bytes(&ZonedHeap, 8);
    bytes(&WideHeap, 20);
    bytes(&HardenedHeap, 8);
}

/// All of a zone, which no two looks take for one that is whole.
#[test]
fn a_zone_that_is_all_one_byte_is_damaged() {
    fn all<A: GlobalAlloc>(heap: &A, zone: usize) {
        for size in [100, 40_000] {
            let block = alloc(heap, size);
            // SAFETY: none: the zone is the heap's.
            unsafe { block.wrapping_add(size).write_bytes(3, zone) };
            free(heap, block, layout(size));
            written_behind(size, 3);
        }
    }
    all(&ZonedHeap, 8);
    all(&WideHeap, 20);
    all(&HardenedHeap, 8);
}

/// What is usable can be written by who brings the usable size back; behind the size that was asked for it is zone.
#[test]
fn who_uses_more_than_was_asked_for_says_so() {
    fn more<A: GlobalAlloc + UsableSize>(heap: &A) {
        for size in [100, 130, 40_000, 700_000] {
            let write_all = || {
                let block = alloc(heap, size);
                let end = usable(heap, block);
                assert!(end > size);
                // SAFETY: live, and so long.
                unsafe { block.write_bytes(3, end) };
                (block, end)
            };
            let (block, end) = write_all();
            free(heap, block, layout(end));
            assert_eq!(found(), [], "{end} of {size}");
            let (block, _) = write_all();
            free(heap, block, layout(size));
            written_behind(size, 3);
        }
    }
    more(&HardenedHeap);
    more(&ZonedHeap);
    let block = alloc(&HardenedHeap, 100);
    assert_eq!(usable(&HardenedHeap, block), 104);
    free(&HardenedHeap, block, layout(100));
}

/// Blocks without a class that grow and shrink, where they stand or by moving: all of them can be written, and the zone moves along.
#[test]
fn zones_and_guards_follow_long_blocks_that_are_resized() {
    fn resized<A: GlobalAlloc + UsableSize>(heap: &A, zones: bool) {
        let mut size = 700_000;
        let mut block = alloc(heap, size);
        for new in [1_500_000, 3_000_000, 800_000, 100_000, 40_000, 39_000, 90_000] {
            // SAFETY: live, and so long.
            unsafe { block.write_bytes(6, size) };
            // SAFETY: live, with its layout.
            block = unsafe { heap.realloc(block, layout(size), new) };
            // SAFETY: live; both sizes are behind it.
            let bytes = unsafe { std::slice::from_raw_parts(block, new.min(size)) };
            assert!(bytes.iter().all(|&byte| byte == 6), "{size} to {new}");
            size = new;
            let end = usable(heap, block);
            // SAFETY: live, and so much is the user's.
            unsafe { block.write_bytes(7, if zones { size } else { end }) };
            assert_eq!(found(), [], "to {new}");
            if zones {
                let place = block.wrapping_add(size);
                // SAFETY: none: the zone is the heap's; it is put right.
                unsafe { place.write(1) };
                // SAFETY: live, with its layout.
                block = unsafe { heap.realloc(block, layout(size), size - 8) };
                written_behind(size, 1);
                size -= 8;
            }
        }
        free(heap, block, layout(size));
        assert_eq!(found(), []);
    }
    resized(&ZonedHeap, true);
    resized(&WideHeap, true);
    resized(&HardenedHeap, true);
    resized(&GuardsHeap, false);
    resized(&CheckedHeap, false);
}

/// The largest objects have no guard, but all of their length.
#[test]
fn what_may_be_written_is_no_less_than_was_asked_for() {
    fn largest<A: GlobalAlloc + UsableSize>(heap: &A, zone: usize) {
        let size = Classes::SIZE_MAX - zone;
        let block = alloc(heap, size);
        assert_eq!(usable(heap, block), size);
        free(heap, block, layout(size));
        assert_eq!(found(), []);
    }
    largest(&CheckedHeap, 0);
    largest(&GuardsHeap, 0);
    largest(&WideHeap, 20);
    largest(&HardenedHeap, 8);
}

/// Size zero is no block, not even one with a zone: it frees nothing.
#[test]
fn size_zero_frees_nothing() {
    fn nothing<A: GlobalAlloc>(heap: &A) {
        for size in [1, 20, 40_000] {
            let block = alloc(heap, size);
            free(heap, block, layout(0));
            assert_eq!(found(), [], "{size}");
            free(heap, block, layout(size));
            assert_eq!(found(), [], "{size}");
        }
    }
    nothing(&ZonedHeap);
    nothing(&CheckedHeap);
    nothing(&HardenedHeap);
}

/// A block that is free is that, whatever layout it is freed with once more.
#[test]
fn a_second_free_with_another_layout_is_told_as_a_second_free() {
    fn twice<A: GlobalAlloc>(heap: &A) {
        let block = alloc(heap, 40);
        free(heap, block, layout(40));
        free(heap, block, layout(400));
        let all = found();
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!((all[0].wrong, all[0].address), (Wrong::DoubleFree, block.addr()));
    }
    twice(&CheckedHeap);
    twice(&ZonedHeap);
}

/// Where a freed object was written to is told: in its first word, over the mark, or behind it, with the mark whole.
#[test]
fn writes_to_freed_objects_are_told_where_they_are() {
    for (offset, len) in [(0, 8), (40, 1)] {
        let blocks: Vec<_> = (0..200).map(|_| alloc(&FreedHeap, 96)).collect();
        let written = blocks[100];
        free(&FreedHeap, written, layout(96));
        // SAFETY: the misuse; the memory is the heap's.
        unsafe { written.wrapping_add(offset).write_bytes(7, len) };
        // Frees let what rests go on.
        let next = |_| {
            free(&FreedHeap, alloc(&FreedHeap, 96), layout(96));
            alloc(&FreedHeap, 96)
        };
        let more: Vec<_> = (0..2000).map(next).collect();
        let all = found();
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!((all[0].wrong, all[0].address), (Wrong::WrittenAfterFree, written.addr()));
        let damage = all[0].damage.unwrap();
        assert_eq!((damage.offset, damage.found, damage.expected), (offset as isize, 7, 0));
        more.into_iter().for_each(|block| free(&FreedHeap, block, layout(96)));
    }
}

/// Objects that rest are counted as at hand, and are no thread's when it ends: not even those of one that does nothing but free one.
#[test]
fn what_rests_is_at_hand_and_ends_with_its_thread() {
    let blocks: Vec<_> = (0..100).map(|_| alloc(&PensHeap, 48)).collect();
    blocks.into_iter().for_each(|block| free(&PensHeap, block, layout(48)));
    assert_eq!(PensHeap.stats().bytes_live, 0);
    let blocks: Vec<_> = (0..8).map(|_| alloc(&EndsHeap, 48).expose_provenance()).collect();
    for block in blocks {
        let end = move || free(&EndsHeap, std::ptr::with_exposed_provenance_mut(block), layout(48));
        std::thread::spawn(end).join().unwrap();
    }
    let stats = EndsHeap.stats();
    assert_eq!((stats.bytes_live, stats.threads), (0, 1), "{stats}");
}

/// An object is taken for a free one only if all of its zone is zero.
#[test]
fn a_zone_that_is_zero_in_part_is_that_of_a_live_object() {
    let block = alloc(&PartHeap, 30);
    // SAFETY: the misuse; the memory is the object's.
    unsafe { block.wrapping_add(30).write(0) };
    free(&PartHeap, block, layout(30));
    written_behind(30, 0);
    assert_eq!(PartHeap.stats().bytes_live, 0, "it goes its way");
}

heap!(MOVES, MovesHeap, MovesParts, Hardened<Note>);

/// What may be free is not moved either, and damage that was told when a block moved is not told again when its old place is freed.
#[test]
fn damage_is_looked_at_before_a_block_moves() {
    let resize = |block: *mut u8, from: usize, to: usize| {
        // SAFETY: live; or what is to be found.
        unsafe { MovesHeap.realloc(block, layout(from), to) }
    };
    // Freed, its mark written over.
    let block = alloc(&MovesHeap, 24);
    free(&MovesHeap, block, layout(24));
    // SAFETY: none: that is what is to be found.
    unsafe { block.cast::<u64>().write_volatile(77) };
    for to in [20, 500, 100_000] {
        assert!(resize(block, 24, to).is_null());
        assert_eq!(
            found().iter().map(|misuse| misuse.wrong).collect::<Vec<_>>(),
            [Wrong::DoubleFree],
            "{to}"
        );
    }
    // Live, and all zero behind it.
    let block = alloc(&MovesHeap, 24);
    // SAFETY: live, and so long.
    unsafe { block.write_bytes(7, 24) };
    let behind = block.wrapping_add(24).cast::<[u8; 8]>();
    // SAFETY: a peek at the zone.
    let zone = unsafe { behind.read_volatile() };
    // SAFETY: none: the zone is the heap's.
    unsafe { behind.write_volatile([0; 8]) };
    for to in [20, 500, 100_000] {
        assert!(resize(block, 24, to).is_null());
        written_behind(24, 0);
    }
    // SAFETY: as above.
    unsafe { behind.write_volatile(zone) };
    free(&MovesHeap, block, layout(24));
    assert_eq!(found(), []);
    // Live, with some other byte behind it.
    for to in [20, 500, 100_000] {
        let block = alloc(&MovesHeap, 24);
        // SAFETY: live, and so long; the byte behind is the heap's.
        unsafe { block.write_bytes(7, 25) };
        let block = resize(block, 24, to);
        written_behind(24, 7);
        // SAFETY: live, and so long.
        assert_eq!(unsafe { block.cast::<[u8; 20]>().read() }, [7; 20]);
        free(&MovesHeap, block, layout(to));
        assert_eq!(found(), [], "{to}");
    }
    MovesHeap.flush();
    assert_eq!(MovesHeap.stats().bytes_live, 0);
}

/// A heap that looks at zones alone finds them when blocks move, too; and where there is no room to move to, the block stays as it was.
#[test]
fn damage_is_told_once_wherever_blocks_move() {
    let damaged = |heap: &dyn GlobalAlloc, size: usize| {
        // SAFETY: the size is not zero.
        let block = unsafe { heap.alloc(layout(size)) };
        // SAFETY: none: the zone is the heap's.
        unsafe { block.wrapping_add(size).write(3) };
        block
    };
    let resized = |heap: &dyn GlobalAlloc, block: *mut u8, from: usize, to: usize| {
        // SAFETY: live, of that layout.
        unsafe { heap.realloc(block, layout(from), to) }
    };
    let heaps: [&dyn GlobalAlloc; 2] = [&WideHeap, &HardenedHeap];
    for heap in heaps {
        for (from, to) in [(100, 101), (100, 5000), (100, 700_000), (700_000, 100), (700_000, 3_000_000)] {
            let block = resized(heap, damaged(heap, from), from, to);
            written_behind(from, 3);
            // SAFETY: live, of that layout.
            unsafe { heap.dealloc(block, layout(to)) };
            assert_eq!(found(), [], "{from} to {to}");
        }
        for size in [100, 700_000] {
            let block = damaged(heap, size);
            assert!(resized(heap, block, size, isize::MAX as usize - 4096).is_null());
            written_behind(size, 3);
            // SAFETY: live, of that layout.
            unsafe { heap.dealloc(block, layout(size)) };
            // It is still there.
            written_behind(size, 3);
        }
        // A size that is wrong, but leads to the same class or length, is told; and nothing is written behind it.
        for (right, wrong) in [(100, 98), (700_000, 699_990)] {
            // SAFETY: the size is not zero.
            let block = unsafe { heap.alloc(layout(right)) };
            // SAFETY: the block is live, and so long.
            unsafe { block.write_bytes(5, right) };
            assert!(resized(heap, block, wrong, isize::MAX as usize - 4096).is_null());
            written_behind(wrong, 5);
            // SAFETY: the block is live, and written to.
            assert!(unsafe { std::slice::from_raw_parts(block, right) }.iter().all(|&byte| byte == 5));
            // SAFETY: live, of that layout.
            unsafe { heap.dealloc(block, layout(right)) };
            assert_eq!(found(), []);
        }
    }
}
