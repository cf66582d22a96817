//! Frees and writes that come late, after what they are wrong about has changed.

use crate::{Note, found};
use heapwright::cache::malloc::ChunkStock;
use heapwright::cache::{ChunkHeap, Classes, KeepAll, MallocSettings};
use heapwright::check::{Checked, Hardened, Misuse, Report, Wrong};
use heapwright::lock::YieldLock;
use heapwright::source::{BackingSource, Pages, SideHeaders};
use std::alloc::{GlobalAlloc, Layout};
use std::collections::BTreeSet;

/// Declares a heap that no other test uses.
macro_rules! heap {
    ($handle:ident, $policy:ty) => {
        heap!($handle, $policy, 32768);
    };
    ($handle:ident, $policy:ty, $chunk:expr) => {
        mod settings {
            pub(super) struct Parts;
        }
        impl MallocSettings for settings::Parts {
            type Classes = Classes;
            type Chunks = ChunkHeap<Pages, YieldLock, KeepAll, { $chunk }, { usize::MAX }, $policy>;
            type Lock = YieldLock;
        }
        heapwright::malloc! { static HEAP as $handle: settings::Parts = ChunkHeap::new(Pages); }
    };
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

fn take<A: GlobalAlloc>(heap: &A, size: usize) -> *mut u8 {
    // SAFETY: no size here is zero.
    let block = unsafe { heap.alloc(layout(size)) };
    assert!(!block.is_null());
    block
}

fn give<A: GlobalAlloc>(heap: &A, block: *mut u8, size: usize) {
    // SAFETY: what is wrong with it is what the tests are about: it is to be refused.
    unsafe { heap.dealloc(block, layout(size)) };
}

/// Live blocks, none of which lies where another does.
fn all_apart<A: GlobalAlloc>(heap: &A, count: usize, size: usize) {
    let blocks: Vec<_> = (0..count).map(|_| take(heap, size)).collect();
    assert_eq!(blocks.iter().collect::<BTreeSet<_>>().len(), count, "one block went out twice");
    blocks.into_iter().for_each(|block| give(heap, block, size));
}

/// In long slabs several objects are as far in as the heap notes: each is marked all the same.
#[test]
fn objects_of_long_slabs_are_found_free() {
    heap!(Heap, Hardened<Note>, 1 << 20);
    let blocks: Vec<_> = (0..3000).map(|_| take(&Heap, 8)).collect();
    assert_eq!(found(), []);
    give(&Heap, blocks[1000], 8);
    give(&Heap, blocks[1000], 8);
    assert_eq!(wrongs(), [Wrong::DoubleFree]);
    for (number, &block) in blocks.iter().enumerate() {
        if number != 1000 {
            give(&Heap, block, 8);
        }
    }
    all_apart(&Heap, 5000, 8);
    assert_eq!(found(), []);
}

/// What is left at the end of a slab is no object, though it would be one of those that the heap notes together.
#[test]
fn the_end_of_a_long_slab_is_no_object() {
    const CHUNK: usize = 1 << 20;
    heap!(Heap, Checked<Note>, CHUNK);
    let size = 20 << 10;
    let blocks: BTreeSet<_> = (0..200).map(|_| take(&Heap, size)).collect();
    // The last of a slab that is taken as a whole, and ends before the slab does.
    let is_last = |block: &&*mut u8| {
        let (at, next) = (block.addr() % CHUNK, blocks.range(block.wrapping_add(1)..).next());
        at + size < CHUNK && at + 2 * size > CHUNK && next.is_some()
    };
    let end = blocks.iter().find(is_last).unwrap().wrapping_add(size);
    give(&Heap, end, size);
    assert_eq!(wrongs(), [Wrong::Interior]);
    blocks.into_iter().for_each(|block| give(&Heap, block, size));
    all_apart(&Heap, 200, size);
    assert_eq!(found(), []);
}

/// Objects that went back to their slab are looked at when they come again, the first word as well.
#[test]
fn writes_to_objects_of_slabs_are_found() {
    heap!(Heap, Hardened<Note>);
    let blocks: Vec<_> = (0..60).map(|_| take(&Heap, 1000)).collect();
    // One of each slab stays, and with it the slab.
    let (stay, go): (Vec<_>, Vec<_>) =
        blocks.into_iter().enumerate().partition(|(number, _)| number % 6 == 0);
    go.iter().for_each(|&(_, block)| give(&Heap, block, 1000));
    Heap.release();
    assert_eq!(found(), []);
    for &(_, block) in &go {
        // SAFETY: the misuse; the memory is the heap's.
        unsafe { block.cast::<usize>().write(5) };
    }
    let again: Vec<_> = (0..200).map(|_| take(&Heap, 1000)).collect();
    let told = found();
    assert!(told.iter().all(|misuse| misuse.wrong == Wrong::WrittenAfterFree), "{told:?}");
    let told: BTreeSet<_> = told.iter().map(|misuse| misuse.address).collect();
    assert_eq!(told, go.iter().map(|(_, block)| block.addr()).collect());
    again
        .into_iter()
        .chain(stay.into_iter().map(|(_, block)| block))
        .for_each(|block| give(&Heap, block, 1000));
    assert_eq!(found(), []);
}

fn wrongs() -> Vec<Wrong> {
    found().iter().map(|misuse| misuse.wrong).collect()
}

/// The object behind a live one has not been handed out yet, or lies on the thread's stack: neither is a live block.
#[test]
fn objects_that_nobody_was_given_are_not_freed() {
    heap!(Heap, Checked<Note>);
    let block = take(&Heap, 96);
    for away in [96, 192, 96 * 200] {
        give(&Heap, block.wrapping_add(away), 96);
        assert_eq!(wrongs(), [Wrong::DoubleFree], "{away}");
    }
    all_apart(&Heap, 300, 96);
    give(&Heap, block, 96);
    assert_eq!(found(), []);
}

/// Nor where several objects are noted as taken at once, of which one has been given to somebody.
#[test]
fn objects_of_long_slabs_that_nobody_was_given_are_not_freed() {
    heap!(Heap, Checked<Note>, 1 << 20);
    for size in [20 << 10, 3072, 1024, 8] {
        let block = take(&Heap, size);
        for away in 1..4 {
            give(&Heap, block.wrapping_add(away * size), size);
            assert_eq!(wrongs(), [Wrong::DoubleFree], "{away} of {size}");
        }
        all_apart(&Heap, 200, size);
        give(&Heap, block, size);
        assert_eq!(found(), []);
    }
}

/// Blocks that were freed before their slabs went back, and are freed again when the slabs have come again.
#[test]
fn frees_after_their_slabs_have_come_again_are_found() {
    heap!(Heap, Checked<Note>);
    let blocks: Vec<_> = (0..400).map(|_| take(&Heap, 200)).collect();
    blocks.iter().for_each(|&block| give(&Heap, block, 200));
    Heap.release();
    let live = take(&Heap, 200);
    let stale: Vec<_> = blocks.iter().filter(|&&block| block != live).collect();
    stale.iter().for_each(|&&block| give(&Heap, block, 200));
    assert_eq!(found().len(), stale.len());
    all_apart(&Heap, 400, 200);
    give(&Heap, live, 200);
    assert_eq!(found(), []);
}

/// A second free after a write over the mark of the first: the red zone is that of no live object.
#[test]
fn hardened_heaps_find_double_frees_after_a_write() {
    heap!(Heap, Hardened<Note>);
    let blocks: Vec<_> = (0..64).map(|_| take(&Heap, 96)).collect();
    for &block in &blocks {
        for _ in 0..2 {
            // SAFETY: the second is the misuse; the memory is the heap's.
            unsafe { block.cast::<u64>().write(3) };
            give(&Heap, block, 96);
        }
        let misuses = found();
        assert_eq!(misuses.len(), 1);
        assert_eq!((misuses[0].wrong, misuses[0].address), (Wrong::DoubleFree, block.addr()));
    }
    all_apart(&Heap, 600, 96);
    // What was written is found when the object goes out; a few rest still.
    let late = found();
    assert!((40..=64).contains(&late.len()), "{}", late.len());
    assert!(late.iter().all(|misuse| misuse.wrong == Wrong::WrittenAfterFree), "{late:?}");
}

/// The same after writes to its first word and to others: a block that may be free is nobody's twice.
#[test]
fn hardened_heaps_hand_out_nothing_twice_after_writes() {
    heap!(Heap, Hardened<Note>);
    let blocks: Vec<_> = (0..64).map(|_| take(&Heap, 88)).collect();
    for &block in &blocks {
        for _ in 0..2 {
            // SAFETY: the second is the misuse; the memory is the heap's.
            unsafe { block.cast::<[u64; 4]>().write([3; 4]) };
            give(&Heap, block, 88);
        }
        let misuses = found();
        assert_eq!(misuses.len(), 1, "{misuses:?}");
        assert_eq!((misuses[0].wrong, misuses[0].address), (Wrong::WrittenBehind, block.addr()));
    }
    all_apart(&Heap, 600, 88);
    assert!(found().iter().all(|misuse| misuse.wrong == Wrong::WrittenAfterFree));
}

/// Zeroes are what is written to freed memory most often: `next = null`.
#[test]
fn hardened_heaps_find_zeroes_written_to_freed_objects() {
    heap!(Heap, Hardened<Note>);
    let blocks: Vec<_> = (0..200).map(|_| take(&Heap, 96)).collect();
    give(&Heap, blocks[100], 96);
    // SAFETY: the misuse; the memory is the heap's.
    unsafe { blocks[100].cast::<usize>().write(0) };
    // Frees let what rests go on.
    let next = |_| {
        give(&Heap, take(&Heap, 96), 96);
        take(&Heap, 96)
    };
    let more: Vec<_> = (0..2000).map(next).collect();
    let misuses = found();
    assert_eq!(misuses.len(), 1, "{misuses:?}");
    assert_eq!((misuses[0].wrong, misuses[0].address), (Wrong::WrittenAfterFree, blocks[100].addr()));
    more.into_iter().for_each(|block| give(&Heap, block, 96));
}

/// Where a thread keeps what it has at hand is a run of chunks like others, but nobody's to free.
#[test]
fn the_heaps_own_runs_are_not_freed() {
    heap!(Heap, Checked<Note>);
    let small = take(&Heap, 48);
    let run = take(&Heap, 40_000);
    let region = run.map_addr(|address| address & !((2 << 20) - 1));
    let mut refused = 0;
    for chunk in 0..64 {
        let start = region.wrapping_add(chunk * 32768);
        // A length that a run of as many chunks can have.
        for chunks in 2..=32 {
            if start != run {
                give(&Heap, start, chunks * 32768 - 8);
                refused += 1;
            }
        }
    }
    assert_eq!(found().len(), refused);
    give(&Heap, small, 48);
    all_apart(&Heap, 1000, 48);
    give(&Heap, run, 40_000);
    assert_eq!(found(), []);
}

/// The same of what a heap has for itself, short or long: it is no block, then and afterwards.
#[test]
fn reserved_blocks_are_foreign() {
    static STOCK: ChunkHeap<Pages, YieldLock, KeepAll, 32768, { usize::MAX }, Checked<Note>> =
        ChunkHeap::new(Pages);
    for size in [1000, 100_000, 3 << 20] {
        let block = STOCK.acquire_reserved(layout(size)).unwrap().cast::<u8>();
        let is_block = || {
            // SAFETY: nobody else uses the stock.
            unsafe { STOCK.look_up(block.addr().get()) }.is_ok()
        };
        assert!(!is_block(), "{size}");
        // SAFETY: live, with its layout.
        unsafe { STOCK.chunks().release(block, layout(size)) };
        assert!(!is_block(), "{size}");
    }
}

/// A block of its own that has gone back to the stock is none any more, also where nobody has taken it out of the books before.
#[test]
fn blocks_that_the_stock_took_back_are_foreign() {
    static STOCK: ChunkHeap<Pages, YieldLock, KeepAll, 32768, { usize::MAX }, Checked<Note>> =
        ChunkHeap::new(Pages);
    for (size, align) in [(100_000, 8), (3 << 20, 8), (8 << 20, 8), (8 << 20, 4 << 20)] {
        let layout = Layout::from_size_align(size, align).unwrap();
        let block = STOCK.chunks().acquire(layout).unwrap().cast::<u8>();
        // SAFETY: nobody else uses the stock.
        let look = || unsafe { STOCK.look_up(block.addr().get()) };
        assert_eq!(look().map(|place| place.start), Ok(block.addr().get()), "{size}");
        // SAFETY: live, with its layout.
        unsafe { STOCK.chunks().release(block, layout) };
        let wrong = if size > 16 * 32768 { Wrong::Foreign } else { Wrong::DoubleFree };
        assert_eq!(look(), Err(wrong), "{size}");
    }
}

/// All of a block that was freed is zero when its memory goes out again, also what lies behind the size that it had in the end: in its last chunk, and in chunks that went before.
#[test]
fn hardened_heaps_zero_all_of_a_run() {
    heap!(Heap, Hardened<Note>);
    for end in [200_000, 100_000] {
        let block = take(&Heap, 225_000);
        // SAFETY: live, and so long.
        unsafe { block.write_bytes(0x5a, 225_000) };
        // SAFETY: live, with its layout.
        let block = unsafe { Heap.realloc(block, layout(225_000), end) };
        give(&Heap, block, end);
        let again = take(&Heap, 225_000);
        assert_eq!(again, block, "another place, where nothing has been");
        // SAFETY: live, and so long; free memory is zero.
        let bytes = unsafe { std::slice::from_raw_parts(again, 225_000) };
        assert!(bytes.iter().all(|&byte| byte == 0), "{end}");
        give(&Heap, again, 225_000);
    }
    assert_eq!(found(), []);
}

/// How many of a slab's objects have been taken is noted, in slabs that are longer than 256 KiB to so many steps, of the last of which others may come for the first time.
#[test]
fn what_is_taken_from_a_slab_is_noted() {
    fn note<const CHUNK: usize>(
        stock: &'static ChunkHeap<Pages, YieldLock, KeepAll, CHUNK, { usize::MAX }, Checked<Note>>,
        steps: [(u32, (u32, u32), u32); 4],
    ) {
        assert_eq!(stock.secret(), 0);
        let slab = stock.chunks().acquire_slab(8).unwrap();
        let address = slab.addr().get();
        let secret = stock.secret();
        assert_ne!(secret, 0, "marks that anybody can make");
        assert_eq!(stock.taken(address, 1), Some(0));
        for (last, counted, taken) in steps {
            // SAFETY: nobody else uses the stock.
            let noted = unsafe { stock.note_taken(address, last) };
            assert_eq!((noted.start, noted.end), counted, "{last} of {CHUNK}");
            assert_eq!(
                [1, 2].map(|number| stock.taken(address, number)),
                [Some(taken), None],
                "{last} of {CHUNK}"
            );
        }
        let other = stock.chunks().acquire_slab(8).unwrap();
        assert_eq!(stock.secret(), secret, "it is that of all marks");
        assert_eq!(stock.taken(other.addr().get(), 1), Some(0));
        // SAFETY: they were acquired there, and nobody uses them.
        [slab, other].into_iter().for_each(|slab| unsafe { stock.chunks().release_slab(slab) });
        assert_eq!(stock.taken(address, 1), None);
        stock.release_free();
    }
    static SHORT: ChunkHeap<Pages, YieldLock, KeepAll, 32768, { usize::MAX }, Checked<Note>> =
        ChunkHeap::new(Pages);
    note(&SHORT, [(0, (0, 1), 1), (1, (1, 2), 2), (4095, (2, 4096), 4096), (2, (4096, 3), 4096)]);
    static LONG: ChunkHeap<Pages, YieldLock, KeepAll, { 1 << 20 }, { usize::MAX }, Checked<Note>> =
        ChunkHeap::new(Pages);
    // Of the first objects of a step the others count as taken with them.
    note(
        &LONG,
        [(0, (0, 4), 4), (5, (0, 8), 8), (131_071, (4, 131_072), 131_072), (2, (131_068, 3), 131_072)],
    );
}

/// Of a block of its own that is aligned to more than a region's front the first byte is the first of a region's length, whatever its user writes there.
#[test]
fn blocks_of_large_alignment_are_found() {
    heap!(Heap, Checked<Note>);
    for align in [64 << 10, 128 << 10, 2 << 20, 4 << 20] {
        let layout = Layout::from_size_align(3 << 20, align).unwrap();
        // SAFETY: the size is not zero.
        let block = unsafe { Heap.alloc(layout) };
        assert_eq!(block.addr() % align, 0);
        // SAFETY: live, and so long.
        unsafe { block.write_bytes(0x5a, 4096) };
        // SAFETY: live, with its layout.
        unsafe { Heap.dealloc(block, layout) };
        assert_eq!(found(), [], "{align}");
        // SAFETY: none: it is free, which is to be found.
        unsafe { Heap.dealloc(block, layout) };
        assert_eq!(wrongs(), [Wrong::Foreign], "{align}");
    }
    Heap.release();
    assert_eq!(Heap.stats().chunks.large_blocks, 0);
}

/// A report that takes memory may find that damaged as well, and so on: there is an end to it.
#[test]
fn reports_within_reports_have_an_end() {
    struct Allocates;
    impl Report for Allocates {
        fn report(misuse: &Misuse) {
            assert_eq!(misuse.wrong, Wrong::WrittenAfterFree);
            <Note as Report>::report(misuse);
            give(&Heap, take(&Heap, 96), 96);
        }
    }
    heap!(Heap, Hardened<Allocates>);
    let blocks: Vec<_> = (0..40_000).map(|_| take(&Heap, 96)).collect();
    for (number, &block) in blocks.iter().enumerate() {
        // Some stay, so that their slabs stay as well.
        if number % 8 != 0 {
            give(&Heap, block, 96);
            // SAFETY: the misuse; the memory is the heap's.
            unsafe { block.wrapping_add(8).write(1) };
        }
    }
    for _ in 0..100 {
        let before = found().len();
        take(&Heap, 96);
        assert!(before == 0 && found().len() <= 8, "told one within the other");
    }
}
