//! Sources that refuse: no memory, no protection, or no end of it. Nothing is lost but what can't be had, and nothing is told that is not wrong.

use std::alloc::{GlobalAlloc, Layout};
use std::collections::BTreeSet;
use std::ptr::NonNull;

use heapwright::cache::malloc::ChunkStock;
use heapwright::cache::{ChunkHeap, Chunks, Classes, KeepAll, MallocSettings};
use heapwright::check::{Checked, Hardened, Wrong};
use heapwright::lock::YieldLock;
use heapwright::source::{BackingSource, SideHeaders};

use crate::endings::ending;
use crate::fickle::{self, Fickle, Refused, blocks_out};
use crate::{Note, found, times};

const CHUNK: usize = 32768;
const RUN: Layout = Layout::new::<[u8; 16 * CHUNK]>();

type Stock<const ZEROED: bool, const PROTECTS: bool> =
    ChunkHeap<Fickle<ZEROED, PROTECTS>, YieldLock, KeepAll, CHUNK, { usize::MAX }, Hardened<Note>>;

/// Declares a heap over such a source.
macro_rules! fickle {
    ($heap:ident, $handle:ident, $settings:ident, $zeroed:literal, $policy:ty) => {
        struct $settings;
        impl MallocSettings for $settings {
            type Classes = Classes;
            type Chunks =
                ChunkHeap<Fickle<$zeroed, true>, YieldLock, KeepAll, CHUNK, { usize::MAX }, $policy>;
            type Lock = YieldLock;
        }
        heapwright::malloc! { static $heap as $handle: $settings = ChunkHeap::new(Fickle); }
    };
}

fickle!(SCARCE, ScarceHeap, ScarceParts, true, Checked<Note>);
fickle!(SCANTY, ScantyHeap, ScantyParts, true, Hardened<Note>);
fickle!(STUCK, StuckHeap, StuckParts, true, Hardened<Note>);
fickle!(COARSE, CoarseHeap, CoarseParts, true, Hardened<Note>);
fickle!(DIRTY, DirtyHeap, DirtyParts, false, Hardened<Note>);
fickle!(PLAIN, PlainHeap, PlainParts, false, Checked<Note>);

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

fn holds(block: NonNull<u8>, len: usize, byte: u8) -> bool {
    // SAFETY: callers have a block that is so long, and has been written.
    unsafe { std::slice::from_raw_parts(block.as_ptr(), len) }.iter().all(|&found| found == byte)
}

/// A slab of a stock, which is all zero and becomes all ones.
fn slab<H>(stock: &'static H) -> NonNull<u8>
where
    Chunks<'static, H>: SideHeaders,
{
    let slab = Chunks(stock).acquire_slab(48).unwrap();
    assert!(holds(slab, CHUNK, 0));
    // SAFETY: the slab is ours.
    unsafe { slab.write_bytes(1, CHUNK) };
    slab
}

/// Gives slabs back.
fn give<H>(stock: &'static H, slabs: impl IntoIterator<Item = NonNull<u8>>)
where
    Chunks<'static, H>: SideHeaders,
{
    // SAFETY: each was acquired there, and nobody uses it.
    slabs.into_iter().for_each(|slab| unsafe { Chunks(stock).release_slab(slab) });
}

/// The chunks in which slabs lie; no two of them side by side.
fn chunks(slabs: &[NonNull<u8>]) -> BTreeSet<usize> {
    let chunks: BTreeSet<_> = slabs.iter().map(|slab| slab.addr().get() / CHUNK).collect();
    assert_eq!(chunks.len(), slabs.len());
    assert!(chunks.iter().all(|chunk| !chunks.contains(&(chunk + 1))), "{chunks:?}");
    chunks
}

/// Where nothing can be protected there are gaps, which are given back with their slabs.
#[test]
fn gaps_that_can_not_be_protected_are_gaps() {
    fn gaps<const PROTECTS: bool>(stock: &'static Stock<true, PROTECTS>) {
        let slabs: Vec<_> = (0..50).map(|_| slab(stock)).collect();
        chunks(&slabs);
        assert_eq!(stock.stats().chunks_used, 50);
        give(stock, slabs);
        let run = Chunks(stock).acquire(RUN).unwrap().cast::<u8>();
        // SAFETY: the run is ours, and so long.
        unsafe { run.write_bytes(3, RUN.size()) };
        // SAFETY: live, with its layout.
        unsafe { Chunks(stock).release(run, RUN) };
        stock.release();
        assert_eq!((stock.stats().chunks_used, stock.stats().regions), (0, 0));
    }
    static NEVER: Stock<true, false> = ChunkHeap::new(Fickle);
    gaps(&NEVER);
    static REFUSED: Stock<true, true> = ChunkHeap::new(Fickle);
    Refused::PROTECT.during(|| gaps(&REFUSED));
}

/// A guard whose chunk held something, and could not be emptied, keeps that: the next to use it finds zeroes all the same.
#[test]
fn guards_that_keep_what_they_held_are_known_as_that() {
    static REFUSES: Stock<true, true> = ChunkHeap::new(Fickle);
    static UNZEROED: Stock<false, true> = ChunkHeap::new(Fickle);
    fn kept<const ZEROED: bool>(stock: &'static Stock<ZEROED, true>, refused: Refused) {
        // Every chunk of a region, in use once.
        let runs: Vec<_> = (0..3).map(|_| Chunks(stock).acquire(RUN).unwrap().cast::<u8>()).collect();
        for run in runs {
            // SAFETY: the run is ours, and so long.
            unsafe { run.write_bytes(2, RUN.size()) };
            // SAFETY: live, with its layout.
            unsafe { Chunks(stock).release(run, RUN) };
        }
        let kept = stock.stats().bytes_kept;
        let slabs: Vec<_> = refused.during(|| (0..20).map(|_| slab(stock)).collect());
        let before = chunks(&slabs);
        assert_eq!(stock.stats().bytes_kept, kept - 40 * CHUNK);
        let guard = slabs[0].addr().get() + CHUNK;
        // SAFETY: nobody else uses the stock.
        assert_eq!(unsafe { stock.look_up(guard) }, Err(Wrong::Foreign));
        give(stock, slabs);
        assert_eq!(stock.stats().bytes_kept, kept, "they may hold something");
        // The same slabs again, with the guards that are there.
        let slabs: Vec<_> = Refused::PROTECT.during(|| (0..20).map(|_| slab(stock)).collect());
        assert_eq!(chunks(&slabs), before);
        // SAFETY: nobody else uses the stock.
        assert_eq!(unsafe { stock.look_up(guard) }, Err(Wrong::Foreign));
        give(stock, slabs);
        assert_eq!(stock.stats().bytes_kept, kept, "they still may");
        // Every chunk of the region but a few, guards among them.
        let runs: Vec<_> = (0..3).map(|_| Chunks(stock).acquire_zeroed_run()).collect();
        assert_eq!(stock.stats().regions, 1);
        for run in runs {
            assert!(holds(run, RUN.size(), 0));
            // SAFETY: live, with its layout.
            unsafe { Chunks(stock).release(run, RUN) };
        }
        stock.release();
        assert_eq!((stock.stats().chunks_used, stock.stats().regions), (0, 0));
    }
    kept(&REFUSES, Refused::UNPROTECT);
    kept(&UNZEROED, Refused::NOTHING);
}

/// A run that is asked to be zero.
trait AcquireZeroed {
    fn acquire_zeroed_run(self) -> NonNull<u8>;
}

impl<H: ChunkStock> AcquireZeroed for Chunks<'_, H> {
    fn acquire_zeroed_run(self) -> NonNull<u8> {
        self.0.acquire_zeroed(RUN).unwrap().cast()
    }
}

/// Chunks that can't be made usable again are nobody's, and no other request suffers.
#[test]
fn guards_that_stay_are_never_handed_out() {
    static STAYS: Stock<true, true> = ChunkHeap::new(Fickle);
    let slabs: Vec<_> = (0..30).map(|_| slab(&STAYS)).collect();
    let guards: BTreeSet<_> = chunks(&slabs).iter().map(|chunk| chunk + 1).collect();
    let out = blocks_out();
    give(&STAYS, slabs);
    Refused::UNPROTECT.during(|| {
        let runs: Vec<_> = (0..4).map(|_| Chunks(&STAYS).acquire(RUN).unwrap().cast::<u8>()).collect();
        for run in runs {
            let first = run.addr().get() / CHUNK;
            assert!(guards.range(first..first + 16).next().is_none(), "it can't be touched");
            // SAFETY: the run is ours, and so long.
            unsafe { run.write_bytes(4, RUN.size()) };
            // SAFETY: live, with its layout.
            unsafe { Chunks(&STAYS).release(run, RUN) };
        }
        STAYS.release();
    });
    // The first region is not free, as some of it is lost; the second is, and has no guards.
    assert_eq!(STAYS.stats().regions, 1);
    STAYS.release();
    assert_eq!(blocks_out(), out);
}

/// Memory that can't be made usable does not go back to the source, which would have it touched.
#[test]
fn regions_with_guards_that_stay_do_not_go_back() {
    static LOST: Stock<true, true> = ChunkHeap::new(Fickle);
    let slabs: Vec<_> = (0..5).map(|_| slab(&LOST)).collect();
    let out = blocks_out();
    give(&LOST, slabs);
    Refused::UNPROTECT.during(|| LOST.release());
    assert_eq!((LOST.stats().regions, blocks_out()), (0, out), "it is lost");
    let slab = slab(&LOST);
    give(&LOST, [slab]);
}

/// The same with guards behind huge pages: those that can't be had are missed by nobody.
#[test]
fn huge_pages_with_guards_that_stay_do_not_go_back() {
    static HUGE: ChunkHeap<Fickle<true, true>, YieldLock, KeepAll, CHUNK, 0, Hardened<Note>> =
        ChunkHeap::new(Fickle);
    let without = Refused::PROTECT.during(|| slab(&HUGE));
    give(&HUGE, [without]);
    let out = blocks_out() - 1;
    Refused::UNPROTECT.during(|| HUGE.release());
    assert_eq!((HUGE.stats().regions, blocks_out()), (0, out), "there was no guard");
    let slabs: Vec<_> = (0..62).map(|_| slab(&HUGE)).collect();
    assert_eq!(
        (HUGE.stats().regions, HUGE.stats().chunks_used),
        (1, 62),
        "there is a guard behind all of them"
    );
    give(&HUGE, slabs);
    Refused::UNPROTECT.during(|| HUGE.release());
    assert_eq!((HUGE.stats().regions, blocks_out()), (0, out + 1), "it is lost");
    let slab = slab(&HUGE);
    give(&HUGE, [slab]);
    HUGE.release();
    assert_eq!(blocks_out(), out + 1);
}

/// A guard of a region that could not be had counts as none.
#[test]
fn guards_of_regions_that_are_refused_do_not_count() {
    static NONE: ChunkHeap<Fickle<true, true>, YieldLock, KeepAll, CHUNK, 0, Hardened<Note>> =
        ChunkHeap::new(Fickle);
    let no_map = Refused { blocks: |layout| layout.align() < 2 << 20, ..Refused::NOTHING };
    for refused in [Refused::BLOCKS, no_map] {
        // More often than there may be guards.
        refused.during(|| (0..17_000).for_each(|_| assert!(Chunks(&NONE).acquire_slab(48).is_err())));
    }
    let slab = slab(&NONE);
    let out = blocks_out();
    give(&NONE, [slab]);
    Refused::UNPROTECT.during(|| NONE.release());
    assert_eq!(blocks_out(), out, "it went back: it had no guard");
}

/// As do chunks that are to be purged: what can't be touched can't be emptied.
#[test]
fn chunks_with_guards_that_stay_are_not_purged() {
    static KEPT: Stock<false, true> = ChunkHeap::new(Fickle);
    let mut slabs: Vec<_> = (0..5).map(|_| slab(&KEPT)).collect();
    let first = slabs.remove(0);
    give(&KEPT, slabs);
    assert_eq!(KEPT.stats().chunks_used, 1);
    Refused::UNPROTECT.during(|| KEPT.release());
    let lost = KEPT.stats().chunks_used - 1;
    assert!(lost >= 8, "{lost} chunks are lost, with those of four slabs and their guards among them");
    let other = slab(&KEPT);
    give(&KEPT, [first, other]);
    KEPT.release();
    assert_eq!((KEPT.stats().chunks_used, KEPT.stats().regions), (lost, 1), "they stay nobody's");
}

#[test]
fn where_there_is_no_memory_there_is_null_and_nothing_to_tell() {
    fn nothing<A: GlobalAlloc>(heap: &A) {
        for size in [24, 5000, 100_000, 2 << 20] {
            // SAFETY: the size is not zero.
            assert!(unsafe { heap.alloc(layout(size)) }.is_null(), "{size}");
            // SAFETY: the size is not zero.
            assert!(unsafe { heap.alloc_zeroed(layout(size)) }.is_null(), "{size}");
        }
    }
    Refused::BLOCKS.during(|| {
        nothing(&ScarceHeap);
        nothing(&ScantyHeap);
    });
    // No map: then a region is of no use, and goes back.
    let out = blocks_out();
    let no_map = Refused { blocks: |layout| layout.align() < 2 << 20, ..Refused::NOTHING };
    no_map.during(|| {
        nothing(&ScarceHeap);
        nothing(&ScantyHeap);
    });
    assert_eq!((blocks_out(), ScarceHeap.stats().chunks.bytes_mapped), (out, 0));
    // SAFETY: the size is not zero.
    let block = unsafe { ScarceHeap.alloc(layout(24)) };
    assert!(!block.is_null(), "there is enough again");
    // SAFETY: live, with its layout.
    unsafe { ScarceHeap.dealloc(block, layout(24)) };
    assert_eq!(found(), []);
}

/// A block whose last page stays a guard can be used as before, and is nobody's once it is freed.
#[test]
fn a_block_whose_guard_stays_is_used_and_then_lost() {
    for size in [100_000, 2 << 20] {
        // SAFETY: the size is not zero.
        let block = unsafe { StuckHeap.alloc(layout(size)) };
        // SAFETY: live, and so long.
        unsafe { block.write_bytes(6, size) };
        Refused::UNPROTECT.during(|| {
            // SAFETY: live, with its layout.
            let moved = unsafe { StuckHeap.realloc(block, layout(size), 2 * size) };
            assert_ne!(moved, block, "it is copied");
            assert!(holds(NonNull::new(moved).unwrap(), size, 6));
            // SAFETY: live, with its layout.
            unsafe { StuckHeap.dealloc(moved, layout(2 * size)) };
        });
        let taken: Vec<_> = (0..20)
            .map(|_| {
                // SAFETY: the size is not zero.
                let other = unsafe { StuckHeap.alloc(layout(size)) };
                assert_ne!(other, block, "its last page can't be touched");
                // SAFETY: live, and so long.
                unsafe { other.write_bytes(5, size) };
                other
            })
            .collect();
        // SAFETY: live, with their layout.
        taken.into_iter().for_each(|other| unsafe { StuckHeap.dealloc(other, layout(size)) });
    }
    assert_eq!(found(), []);
}

/// Damage behind such a block is told by the call that finds it, once.
#[test]
fn damage_behind_a_block_whose_guard_stays_is_told_once() {
    for size in [100_000, 2 << 20] {
        // SAFETY: the size is not zero.
        let block = unsafe { StuckHeap.alloc(layout(size)) };
        // SAFETY: live, and so long.
        unsafe { block.write_bytes(6, size) };
        // SAFETY: none: the zone is the heap's.
        unsafe { block.wrapping_add(size + 1).write(9) };
        Refused::UNPROTECT.during(|| {
            // SAFETY: live, with its layout.
            let moved = unsafe { StuckHeap.realloc(block, layout(size), 2 * size) };
            assert_ne!(moved, block, "it is copied");
            assert!(holds(NonNull::new(moved).unwrap(), size, 6));
            let told = found();
            assert_eq!(told.len(), 1, "{told:?}");
            let damage = told[0].damage.unwrap();
            assert_eq!((told[0].wrong, told[0].address), (Wrong::WrittenBehind, block.addr()));
            assert_eq!((damage.offset, damage.found), (size as isize + 1, 9));
            // SAFETY: live, with its layout.
            unsafe { StuckHeap.dealloc(moved, layout(2 * size)) };
        });
        assert_eq!(found(), []);
    }
}

/// A guard that stays is one, however often its block is asked for: the others can be had as before.
#[test]
fn guards_that_stay_are_counted_once() {
    static OTHERS: Stock<true, true> = ChunkHeap::new(Fickle);
    // In this process there are other tests, whose guards count as well.
    if let Some(output) = ending("refused::guards_that_stay_are_counted_once") {
        let errors = String::from_utf8_lossy(&output.stderr);
        return assert!(output.status.success(), "{errors}");
    }
    for size in [100_000, 2 << 20] {
        // SAFETY: the size is not zero.
        let block = unsafe { StuckHeap.alloc(layout(size)) };
        // SAFETY: live, with its layout.
        let moved = Refused::UNPROTECT.during(|| unsafe { StuckHeap.realloc(block, layout(size), 2 * size) });
        // SAFETY: live, with its layout.
        unsafe { StuckHeap.dealloc(moved, layout(2 * size)) };
    }
    let slab = slab(&OTHERS);
    // SAFETY: nobody else uses the stock.
    assert_eq!(unsafe { OTHERS.look_up(slab.addr().get() + CHUNK) }, Err(Wrong::Foreign), "it has no guard");
    give(&OTHERS, [slab]);
}

/// Where pages are longer than guards there are none of these, and nothing else is missed: blocks go back, and grow and shrink where they stand.
#[test]
fn where_pages_are_large_blocks_without_guards_come_and_go() {
    // In this process there are other tests, whose guards count as well.
    if let Some(output) = ending("refused::where_pages_are_large_blocks_without_guards_come_and_go") {
        let errors = String::from_utf8_lossy(&output.stderr);
        return assert!(output.status.success(), "{errors}");
    }
    let alloc = |size| {
        // SAFETY: the size is not zero.
        let block = unsafe { CoarseHeap.alloc(layout(size)) };
        // SAFETY: live, and so long.
        unsafe { block.write_bytes(7, size) };
        block
    };
    // SAFETY: live, with its layout.
    let free = |block, size| unsafe { CoarseHeap.dealloc(block, layout(size)) };
    // Whether blocks stay where they are: of 100,000 bytes with as many chunks, more, fewer; and one of its own.
    let resized = || {
        [(100_000, 110_000), (100_000, 200_000), (200_000, 50_000), (2 << 20, 1 << 20)].map(|(from, to)| {
            let block = alloc(from);
            // SAFETY: live, with its layout.
            let moved = unsafe { CoarseHeap.realloc(block, layout(from), to) };
            assert!(holds(NonNull::new(moved).unwrap(), from.min(to), 7));
            free(moved, to);
            moved == block
        })
    };
    let usual = resized();
    assert_eq!(usual, [true; 4]);
    let used = CoarseHeap.stats().chunks.chunks_used;
    Refused::SMALL_PAGES.during(|| {
        // More often than there may be guards.
        for round in 0..17_000 {
            free(alloc(100_000), 100_000);
            if round % 1000 == 0 {
                free(alloc(2 << 20), 2 << 20);
            }
        }
        assert_eq!((resized(), CoarseHeap.stats().chunks.chunks_used), (usual, used));
    });
    let slab = slab(COARSE.stock());
    give(COARSE.stock(), [slab]);
    assert_eq!(found(), []);
}

/// Who asks for a guard is told whether it is one, and who asks for its end whether it can be used.
#[test]
fn guards_that_can_not_be_had_are_told_of() {
    fn told<const PROTECTS: bool>(stock: &'static Stock<true, PROTECTS>) {
        let run = Chunks(stock).acquire(RUN).unwrap().cast::<u8>();
        // SAFETY: whole pages of a live run, which nobody touches meanwhile.
        let protect = |protect| unsafe { stock.protect(run, CHUNK, protect) };
        assert!(!Refused::PROTECT.during(|| protect(true)) && protect(false));
        assert!(protect(true) == PROTECTS && protect(false));
        // SAFETY: live, with its layout.
        unsafe { Chunks(stock).release(run, RUN) };
        stock.release();
    }
    static ONCE: Stock<true, true> = ChunkHeap::new(Fickle);
    told(&ONCE);
    static NEVER: Stock<true, false> = ChunkHeap::new(Fickle);
    told(&NEVER);
}

/// What fresh memory holds is no note of the heap: neither of which chunks are slabs, nor of what begins where.
#[test]
fn what_fresh_memory_holds_is_not_believed() {
    static JUNK: ChunkHeap<Fickle<false, true>, YieldLock, KeepAll, CHUNK, { usize::MAX }, Checked<Note>> =
        ChunkHeap::new(Fickle);
    let run = Chunks(&JUNK).acquire(RUN).unwrap().cast::<u8>();
    let region = run.addr().get() & !(64 * CHUNK - 1);
    for chunk in (0..64).map(|number| region + number * CHUNK) {
        let wrong = match (chunk.checked_sub(run.addr().get())).map(|distance| distance / CHUNK) {
            Some(0) => continue,
            Some(1..16) => Wrong::Interior,
            Some(_) => Wrong::DoubleFree,
            None => Wrong::Foreign,
        };
        // SAFETY: nobody else uses the stock.
        assert_eq!(unsafe { JUNK.look_up(chunk) }, Err(wrong), "{chunk:#x}");
        assert_eq!(JUNK.taken(chunk, u16::from_ne_bytes([fickle::JUNK; 2])), None, "{chunk:#x}");
    }
    // SAFETY: live, with its layout.
    unsafe { Chunks(&JUNK).release(run, RUN) };
}

/// Memory that is not zero when it is fresh is made zero, for those who ask and for the heap's own books.
#[test]
fn memory_that_is_not_zero_is_made_so() {
    fn zeroes<A: GlobalAlloc>(heap: &A) {
        for size in [24, 5000, 100_000, 2 << 20] {
            for _ in 0..3 {
                // SAFETY: the size is not zero.
                let block = NonNull::new(unsafe { heap.alloc_zeroed(layout(size)) }).unwrap();
                assert!(holds(block, size, 0), "{size}");
                // SAFETY: live, and so long.
                unsafe { block.write_bytes(8, size) };
                // SAFETY: live, with its layout.
                unsafe { heap.dealloc(block.as_ptr(), layout(size)) };
            }
        }
        assert_eq!(found(), []);
    }
    zeroes(&DirtyHeap);
    zeroes(&PlainHeap);
    crate::valid::valid_for(&DirtyHeap, times(4_000, 2_000_000));
}
