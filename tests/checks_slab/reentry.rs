//! Who is told may use the very heap that was misused.

use std::alloc::Layout;
use std::sync::atomic::{AtomicUsize, Ordering};

use heapwright::cache::{Classes, Exactly, KeepAll, SlabCache, SlabHeap};
use heapwright::check::{Checked, Misuse, Report};
use heapwright::heap::{Locked, SharedHeap};
use heapwright::lock::SpinLock;
use heapwright::slab::AlignedSlabs;
use heapwright::source::{Pages, SourceHeap};

use crate::{free, is_resized};

type Heap = Locked<
    SlabHeap<Classes, AlignedSlabs<Pages>, SourceHeap<Pages>, KeepAll, 16, Checked<FromHeap>>,
    SpinLock,
>;
static HEAP: Heap = Heap::over(Pages, SourceHeap::new(Pages));

type Cache = SlabCache<AlignedSlabs<Pages>, SpinLock, Exactly<64, 8>, KeepAll, 16, Checked<FromCache>>;
static CACHE: Cache = Cache::over(Pages);

static TOLD: AtomicUsize = AtomicUsize::new(0);

fn use_heap<A: SharedHeap>(heap: &A) {
    let layout = Layout::new::<[u64; 5]>();
    let block = heap.try_alloc(layout).unwrap();
    // SAFETY: a live block, and its layout.
    unsafe { heap.free(block.cast(), layout) };
    TOLD.fetch_add(1, Ordering::Relaxed);
}

struct FromHeap;

impl Report for FromHeap {
    fn report(_: &Misuse) {
        use_heap(&HEAP);
        assert_ne!(HEAP.misuses(), 0);
    }
}

struct FromCache;

impl Report for FromCache {
    fn report(_: &Misuse) {
        use_heap(&CACHE);
        assert_ne!(CACHE.misuses(), 0);
    }
}

fn misuse<A: SharedHeap>(heap: &A) {
    let layout = Layout::new::<[u64; 5]>();
    let block = heap.try_alloc(layout).unwrap().cast::<u8>();
    // The first free is right, what follows is not.
    free(heap, block, layout);
    free(heap, block, layout);
    // SAFETY: the heap looks at what comes back.
    unsafe { heap.free_batch(layout, &[block, block]) };
    assert!(!is_resized(heap, block, layout, Layout::new::<[u64; 6]>()));
}

#[test]
fn reports_may_use_the_heap() {
    misuse(&HEAP);
    misuse(&CACHE);
    assert_eq!((HEAP.misuses(), CACHE.misuses(), TOLD.load(Ordering::Relaxed)), (4, 4, 8));
}
