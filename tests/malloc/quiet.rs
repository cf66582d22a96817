//! Memory that is free altogether goes back, also while a thread has use for little.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicU64, Ordering};

use heapwright::cache::{ChunkHeap, Classes, Clock, MallocSettings, WorkingSet};
use heapwright::lock::YieldLock;
use heapwright::source::Pages;

/// Milliseconds that the test says that it is.
static NOW: AtomicU64 = AtomicU64::new(0);

struct Told;
// SAFETY: an atomic load neither unwinds nor uses a cache.
unsafe impl Clock for Told {
    fn now() -> u64 {
        NOW.load(Ordering::Relaxed)
    }
}

struct Quiet;
impl MallocSettings for Quiet {
    type Classes = Classes;
    type Chunks = ChunkHeap<Pages, YieldLock, WorkingSet<Told, 1000>, 32768>;
    type Lock = YieldLock;
}
heapwright::malloc! { static QUIET as QuietMalloc: Quiet = ChunkHeap::new(Pages); }

/// The same for a test of its own.
static LATER: AtomicU64 = AtomicU64::new(0);

struct ToldLater;
// SAFETY: as above.
unsafe impl Clock for ToldLater {
    fn now() -> u64 {
        LATER.load(Ordering::Relaxed)
    }
}

struct Timed;
impl MallocSettings for Timed {
    type Classes = Classes;
    type Chunks = ChunkHeap<Pages, YieldLock, WorkingSet<ToldLater, 1000>, 32768>;
    type Lock = YieldLock;
}
heapwright::malloc! { static TIMED as TimedMalloc: Timed = ChunkHeap::new(Pages); }

/// Makes so many objects of 8 to 200 bytes, and frees them all.
fn make_and_free(count: usize) {
    let layout = |number: usize| Layout::from_size_align(8 + number * 40 % 193, 8).unwrap();
    // SAFETY: no size is zero.
    let blocks: Vec<*mut u8> =
        (0..count).map(|number| unsafe { QuietMalloc.alloc(layout(number)) }).collect();
    for (number, block) in blocks.into_iter().enumerate() {
        // SAFETY: each block is freed once, with its layout.
        unsafe { QuietMalloc.dealloc(block, layout(number)) };
    }
}

#[test]
fn what_is_free_goes_back_though_no_slab_becomes_free() {
    make_and_free(100_000);
    let before = QuietMalloc.stats().chunks.bytes_kept;
    assert!(before > 5 << 20, "{before} bytes are kept");
    for _ in 0..1000 {
        NOW.fetch_add(10, Ordering::Relaxed);
        make_and_free(1500);
    }
    let stats = QuietMalloc.stats();
    assert!(stats.chunks.bytes_kept < 1 << 20, "{before} bytes were kept\n{stats}");
}

/// A program that does nothing any more has a timer ask the policy.
#[test]
fn what_is_free_goes_back_by_a_timer() {
    let layout = Layout::from_size_align(300_000, 8).unwrap();
    // SAFETY: the size is not zero.
    let blocks = [(); 8].map(|()| unsafe { TimedMalloc.alloc(layout) });
    for block in blocks {
        // SAFETY: each block is freed once, with its layout.
        unsafe { TimedMalloc.dealloc(block, layout) };
    }
    let kept = || TimedMalloc.stats().chunks.bytes_kept;
    let before = kept();
    TimedMalloc.tick();
    assert_eq!((before > 1 << 20, kept()), (true, before), "in the middle of a period");
    for _ in 0..2 {
        LATER.fetch_add(1000, Ordering::Relaxed);
        TimedMalloc.tick();
    }
    assert_eq!(kept(), 0, "{before} bytes were kept");
}
