//! Counts that something hangs on: of the handles to a heap, whose last one ends it; and the peak of what is counted.

use std::alloc::Layout;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::combine::{AtomicTotals, Counters, Shared};
use heapwright::heap::SharedHeap;
use heapwright::source::{BackingSource, GlobalHeap, SourceHeap};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::Times;
use super::mutex::LoomLock;

/// A source that counts plainly what it has handed out, for a heap under a lock, and that is dropped once.
struct Plain {
    out: UnsafeCell<usize>,
    dropped: Times,
}

impl Plain {
    fn count(&mut self, change: impl FnOnce(usize) -> usize) -> usize {
        self.out.with_mut(|out| {
            // SAFETY: the heap is one thread's at a time, as loom checks.
            let now = change(unsafe { out.read() });
            // SAFETY: the same.
            unsafe { out.write(now) };
            now
        })
    }
}

// SAFETY: the obligations are those of the global heap, whose blocks these are.
unsafe impl BackingSource for Plain {
    const GRANULE: usize = <GlobalHeap as BackingSource>::GRANULE;
    const ALIGN_MAX: usize = <GlobalHeap as BackingSource>::ALIGN_MAX;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.count(|out| out + 1);
        GlobalHeap.acquire(layout)
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        self.count(|out| out - 1);
        // SAFETY: the caller's promise is the same.
        unsafe { GlobalHeap.release(block, layout) };
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        assert_eq!(self.count(|out| out), 0, "what was in it is gone");
        self.dropped.count();
    }
}

/// Threads with a handle each, which allocate, clone it, and drop both.
fn the_last_handle_ends_the_heap(threads: usize, preemptions: Option<usize>) {
    let name = format!("Shared, {threads} threads with a handle each");
    super::explore(&name, preemptions, move || {
        let dropped = Times::default();
        let source = Plain { out: UnsafeCell::new(0), dropped: dropped.clone() };
        let heap = Shared::<_, LoomLock>::new(SourceHeap::new(source)).expect("there is room for it");
        let work = |heap: Shared<SourceHeap<Plain>, LoomLock>| {
            let layout = Layout::new::<u64>();
            let other = heap.clone();
            let block = heap.try_alloc(layout).expect("there is memory");
            drop(heap);
            // SAFETY: the block is live, and its layout this one.
            unsafe { other.free(block.cast(), layout) };
        };
        let spawned: Vec<_> = (1..threads)
            .map(|_| {
                let handle = heap.clone();
                thread::spawn(move || work(handle))
            })
            .collect();
        work(heap);
        spawned.into_iter().for_each(|thread| thread.join().expect("it ends"));
        assert_eq!(dropped.get(), 1, "the heap is dropped once, by the last");
    });
}

/// Two threads count at once: nothing is lost, of the peak neither.
fn no_peak_is_lost(preemptions: usize) {
    super::explore("AtomicTotals, two threads count", Some(preemptions), || {
        let totals = Arc::new(AtomicTotals::new());
        let work = |totals: &AtomicTotals| {
            let (layout, mut counters) = (Layout::new::<u64>(), totals);
            counters.allocated(layout, layout, 1);
            counters.freed(layout, 1);
            counters.allocated(layout, layout, 1);
        };
        let other = thread::spawn({
            let totals = Arc::clone(&totals);
            move || work(&totals)
        });
        work(&totals);
        other.join().expect("it ends");
        let read = totals.read();
        assert_eq!((read.allocated, read.freed, read.blocks, read.bytes), (4, 2, 2, 16));
        assert_eq!((read.blocks_peak, read.bytes_peak), (2, 16), "there were two at the end, and never more");
    });
}

/// All of them.
pub(crate) fn explore_all(more: usize) {
    the_last_handle_ends_the_heap(2, None);
    the_last_handle_ends_the_heap(3, Some(2 + more));
    no_peak_is_lost(3 + more);
}
