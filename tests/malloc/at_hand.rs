//! How much is at hand, and in depots, after what.

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::NonNull;
use std::sync::mpsc;
use std::thread;

use heapwright::AllocError;
use heapwright::cache::malloc::MallocInstance;
use heapwright::cache::{ChunkHeap, ClassStats, Classes, KeepAll, Malloc, MallocSettings};
use heapwright::lock::YieldLock;
use heapwright::source::{BackingSource, Pages};

use crate::source::{Ledger, Watched, ledger};

/// Declares a heap over pages, or over others.
macro_rules! heap {
    ($heap:ident as $malloc:ident, $settings:ident $(, $number:ident = $value:expr)*) => {
        heap!($heap as $malloc, $settings, over Pages: Pages $(, $number = $value)*);
    };
    ($heap:ident as $malloc:ident, $settings:ident, over $source:ty: $new:expr $(, $number:ident = $value:expr)*) => {
        struct $settings;
        impl MallocSettings for $settings {
            type Classes = Classes;
            type Chunks = ChunkHeap<$source, YieldLock, KeepAll, 32768>;
            type Lock = YieldLock;
            $(const $number: usize = $value;)*
        }
        heapwright::malloc! { static $heap as $malloc: $settings = ChunkHeap::new($new); }
    };
}

ledger!(LastLedger);
ledger!(EndedLedger);
heap!(FIRST as FirstMalloc, First);
heap!(SHARDS as ShardsMalloc, Shards);
heap!(FREES as FreesMalloc, Frees);
heap!(ONLY_FREES as OnlyFreesMalloc, OnlyFrees);
heap!(USED as UsedMalloc, Used, GROWN_BYTES = 0);
heap!(LAST as LastMalloc, Last, over Watched<LastLedger>: Watched::new());
heap!(ENDED as EndedMalloc, Ended, over Watched<EndedLedger>: Watched::new());

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

fn take(heap: &impl GlobalAlloc, count: usize, size: usize) -> Vec<usize> {
    // SAFETY: no size here is zero.
    (0..count).map(|_| unsafe { heap.alloc(layout(size)) }.expose_provenance()).collect()
}

fn give(heap: &impl GlobalAlloc, blocks: impl IntoIterator<Item = usize>, size: usize) {
    for block in blocks {
        // SAFETY: each block is freed once, with its layout.
        unsafe { heap.dealloc(std::ptr::with_exposed_provenance_mut(block), layout(size)) };
    }
}

fn class<I>(heap: Malloc<I>, size: usize) -> ClassStats
where
    I: MallocInstance<Settings: MallocSettings<Classes = Classes>>,
{
    heap.stats().classes().iter().find(|class| class.size == size).copied().unwrap()
}

/// 4 KiB, 16 objects at most and one at least; and twice that each time that it proves too small, up to what the settings say.
#[test]
fn stacks_begin_small_and_double() {
    let heap = FirstMalloc;
    for (size, first, then) in [(48, 16, 32), (512, 8, 16), (2048, 2, 4), (16384, 1, 1)] {
        let mut blocks = take(&heap, 1, size);
        assert_eq!(class(heap, size).at_hand, first - 1, "{size}");
        blocks.extend(take(&heap, first, size));
        assert_eq!(class(heap, size).at_hand, then - 1, "{size}");
        give(&heap, blocks, size);
    }
}

/// A thread that frees keeps what fits on its stacks before it gives any to others.
#[test]
fn stacks_to_give_to_double_as_well() {
    let heap = FreesMalloc;
    // All of what is taken at once: 16, and then 32 each time.
    let blocks = take(&heap, 16 + 2 * 32, 48);
    assert_eq!(class(heap, 48).at_hand, 0);
    let free = move || {
        // Whoever has not taken anything frees past the stacks for a while.
        give(&heap, take(&heap, 1, 16), 16);
        give(&heap, blocks[..64].iter().copied(), 48);
        let class = class(heap, 48);
        assert_eq!((class.at_hand, class.in_depots), (64, 0));
        give(&heap, blocks[64..].iter().copied(), 48);
    };
    thread::spawn(free).join().unwrap();
    assert_eq!(class(heap, 48).live, 0);
}

/// A thread that only frees has no stacks at first; it has when there is no end to it.
#[test]
fn threads_that_only_free_come_to_have_stacks() {
    let heap = OnlyFreesMalloc;
    for (count, at_hand) in [(64, 0), (65, 1), (100, 36)] {
        let blocks = take(&heap, count, 48);
        let free = move || {
            give(&heap, blocks, 48);
            class(heap, 48).at_hand
        };
        heap.flush();
        assert_eq!(thread::spawn(free).join().unwrap(), at_hand, "{count}");
        assert_eq!(class(heap, 48).live, 0);
    }
}

/// Pages that hold anything when they have been purged.
#[derive(Clone)]
struct Littered;

// SAFETY: B1 to B7 are those of `Pages`; what is purged is undefined here.
unsafe impl BackingSource for Littered {
    const GRANULE: usize = Pages::GRANULE;
    const ALIGN_MAX: usize = Pages::ALIGN_MAX;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        Pages.acquire(layout)
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.release(block, layout) };
    }

    unsafe fn purge(&mut self, ptr: NonNull<u8>, len: usize) {
        // SAFETY: the caller's promise: nobody needs what these bytes hold.
        unsafe { ptr.write_bytes(0xee, len) };
    }
}

heap!(LITTERED as LitteredMalloc, InLitter, over Littered: Littered);

/// The stacks of a thread that is gone are made anew for the next, whatever they hold by then.
#[test]
fn stacks_that_were_purged_are_opened_anew() {
    let heap = LitteredMalloc;
    for _ in 0..3 {
        let work = move || {
            let sizes = [8, 48, 200];
            let blocks = sizes.map(|size| take(&heap, 40, size));
            sizes.into_iter().zip(blocks).for_each(|(size, blocks)| give(&heap, blocks, size));
        };
        thread::spawn(work).join().unwrap();
        assert_eq!((heap.stats().threads, heap.stats().bytes_live, heap.stats().bytes_at_hand), (0, 0, 0));
        heap.release();
    }
}

/// What threads free fills the depots of their shards, as full as they may be; and a thread of any shard finds what is in those of others.
#[test]
fn depots_are_filled_and_emptied_from_all_shards() {
    type Work = Box<dyn FnOnce() + Send>;
    let heap = ShardsMalloc;
    let worker = |_| {
        let ((give, gets), (done, is_done)) = (mpsc::channel::<Work>(), mpsc::channel());
        let thread = thread::spawn(move || {
            gets.into_iter().for_each(|work| {
                work();
                done.send(()).unwrap();
            });
        });
        let run = move |work: Work| {
            give.send(work).unwrap();
            is_done.recv().unwrap();
        };
        (run, thread)
    };
    let workers: Vec<_> = (0..Shards::SHARDS).map(worker).collect();
    for (taker, _) in &workers {
        let mut blocks = take(&heap, 400 * Shards::SHARDS, 48);
        heap.flush();
        for (run, _) in &workers {
            let some = blocks.split_off(blocks.len() - 400);
            run(Box::new(move || {
                give(&heap, some, 48);
                heap.flush();
            }));
        }
        let (stats, all) = (heap.stats(), Shards::SHARDS * Shards::DEPOT_SLOTS);
        let in_depots = class(heap, 48).in_depots;
        // What does not fit as a whole goes to the slabs.
        assert!((all - 31..=all).contains(&in_depots), "{stats}");
        assert_eq!(stats.bytes_in_depots, in_depots * 48, "{stats}");
        taker(Box::new(move || {
            let blocks = take(&heap, all, 48);
            assert_eq!((class(heap, 48).in_depots, class(heap, 48).live), (0, all));
            give(&heap, blocks, 48);
            heap.flush();
        }));
    }
    for (run, thread) in workers {
        drop(run);
        thread.join().unwrap();
    }
    heap.release();
    assert_eq!((heap.stats().bytes_in_slabs, heap.stats().bytes_in_depots), (0, 0));
}

/// What is used now and then stays at hand, while the thread does other things.
#[test]
fn what_is_used_stays_at_hand() {
    let heap = UsedMalloc;
    give(&heap, take(&heap, 200, 32), 32);
    let before = class(heap, 32).at_hand;
    assert!(before > 40);
    for _ in 0..120 {
        give(&heap, take(&heap, 1000, 128), 128);
        give(&heap, take(&heap, 1, 32), 32);
    }
    assert!(class(heap, 32).at_hand >= before, "{before} were: {:?}", class(heap, 32));
}

/// Where there is no more memory what a thread has freed last is found, however little.
#[test]
fn the_last_objects_at_hand_are_found() {
    let heap = LastMalloc;
    let mut blocks = take(&heap, 100, 48);
    LastLedger::account().lock().unwrap().left = 0;
    loop {
        let more = take(&heap, 1, 48);
        if more == [0] {
            break;
        }
        blocks.extend(more);
    }
    for count in [1, 3] {
        let some = blocks.split_off(blocks.len() - count);
        give(&heap, some.iter().copied(), 48);
        let mut again = take(&heap, count, 48);
        again.sort_unstable();
        assert!(again.iter().all(|block| some.contains(block)), "{some:?} {again:?}");
        assert_eq!(take(&heap, 1, 48), [0]);
        blocks.extend(again);
    }
    LastLedger::account().lock().unwrap().left = usize::MAX;
    give(&heap, blocks, 48);
    assert_eq!(heap.stats().bytes_live, 0);
}

/// The pages of stacks that no thread has go back, all of them.
#[test]
fn stacks_of_threads_that_have_ended_go_back() {
    let heap = EndedMalloc;
    thread::spawn(move || give(&heap, take(&heap, 1, 48), 48)).join().unwrap();
    let slots = |size: &usize| (Ended::FRONT_BYTES / size).clamp(1, Ended::FRONT_SLOTS);
    let places: usize =
        <Classes as heapwright::cache::SizeClasses>::SIZES.iter().map(|size| 2 * (slots(size) + 1)).sum();
    let bytes = places * size_of::<usize>();
    EndedLedger::account().lock().unwrap().purged.clear();
    heap.release();
    let purged = std::mem::take(&mut EndedLedger::account().lock().unwrap().purged);
    assert!(purged.iter().any(|len| (bytes..bytes + 128).contains(len)), "{bytes}: {purged:?}");
}
