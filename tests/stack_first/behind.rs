//! What the heap behind the buffer holds, and what it reports.

use std::cell::Cell;
use std::mem::MaybeUninit;

use heapwright::cache::{Classes, KeepAll, SlabHeap};
use heapwright::check::{self, Misuse, Report};
use heapwright::combine::StackFirst;
use heapwright::heap::{Heap, Locked, NoHeap, SharedHeap};
use heapwright::lock::NoLock;
use heapwright::slab::AlignedSlabs;
use heapwright::source::GlobalHeap;

use super::{free, layout, take};

/// What the heap behind holds and does not need goes back by way of the whole, and by way of its core.
#[test]
fn what_is_behind_is_released() {
    type Behind = Locked<SlabHeap<Classes, AlignedSlabs<GlobalHeap>, NoHeap, KeepAll, 16>, NoLock>;
    let heap = StackFirst::<64, Behind>::new(Behind::over(GlobalHeap, NoHeap));
    for by_core in [false, true] {
        free(&heap, take(&heap, layout(128, 8), 1), layout(128, 8));
        let held = heap.heap().stats().bytes_held;
        assert!(held > 0);
        let released = if by_core {
            // SAFETY: the closure only calls the core.
            unsafe { heap.enter(|core| core.release_unused()) }.unwrap()
        } else {
            heap.release_unused()
        };
        assert_eq!((released, heap.heap().stats().bytes_held), (held, 0));
    }
}

/// Many blocks together are taken and given back like each of them: the heap behind is called when no lock is held.
#[test]
fn a_report_of_the_heap_behind_may_use_the_whole() {
    thread_local! {
        static WHOLE: Cell<Option<&'static Whole>> = const { Cell::new(None) };
        static SERVED: Cell<usize> = const { Cell::new(0) };
    }
    struct Uses;
    impl Report for Uses {
        fn report(_: &Misuse) {
            let heap = WHOLE.get().expect("there is one while it is used");
            free(heap, take(heap, layout(200, 8), 1), layout(200, 8));
            SERVED.set(SERVED.get() + 1);
        }
    }
    type Looking = Locked<
        SlabHeap<Classes, AlignedSlabs<GlobalHeap>, NoHeap, KeepAll, 16, check::Checked<Uses>>,
        NoLock,
    >;
    type Whole = StackFirst<64, Looking, NoLock>;
    let heap: &'static Whole = Box::leak(Box::new(Whole::new(Looking::over(GlobalHeap, NoHeap))));
    WHOLE.set(Some(heap));
    let this = layout(160, 8);
    let mut out = [MaybeUninit::uninit(); 3];
    assert_eq!(heap.try_alloc_batch(this, &mut out), 3);
    // SAFETY: so many were written.
    let blocks = out.map(|block| unsafe { block.assume_init() });
    // SAFETY: they are live, of that layout; the last is there twice, which is to be found.
    unsafe { heap.free_batch(this, &[blocks[0], blocks[1], blocks[2], blocks[2]]) };
    assert_eq!(SERVED.get(), 1);
}
