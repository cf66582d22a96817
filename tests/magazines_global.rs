//! Magazines below the global allocator: what the standard library allocates for a thread, its front's registration included, comes
//! from that front.

#![cfg(all(feature = "std", not(miri)))]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::RefCell;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::thread;

use heapwright::cache::{HeapSlots, Magazined, UntypedObjectAlloc};
use heapwright::heap::Locked;
use heapwright::lock::SpinLock;
use heapwright::source::{FromGlobalAlloc, SourceHeap};

/// One class of 64 bytes; the rest goes to the system.
struct Global;

type Blocks = Locked<SourceHeap<FromGlobalAlloc<'static, System>>, SpinLock>;

static BLOCKS: Blocks = Locked::new(SourceHeap::new(FromGlobalAlloc::new(&System)));

const CLASS: Layout = Layout::new::<[u128; 4]>();

heapwright::magazined! {
    static SMALL as Small: Magazined<HeapSlots<'static, Blocks>, SpinLock, 8, 4> = Magazined::new(HeapSlots::new(&BLOCKS, CLASS));
}

fn is_small(layout: Layout) -> bool {
    layout.size() <= CLASS.size() && layout.align() <= CLASS.align()
}

// SAFETY: slots of the class are large enough and aligned for what `is_small` lets through; the rest is the system's.
unsafe impl GlobalAlloc for Global {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_small(layout) {
            return Small.alloc_slot().map_or(ptr::null_mut(), NonNull::as_ptr);
        }
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        if is_small(layout) {
            // SAFETY: `alloc` has taken it from there.
            return unsafe { Small.free_slot(NonNull::new(ptr).unwrap()) };
        }
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(ptr, layout) };
    }
}

#[global_allocator]
static GLOBAL: Global = Global;

thread_local! {
    /// Dropped when the thread ends, and frees what is from the front, before or after that has gone.
    static LATE: RefCell<Vec<Rc<u64>>> = const { RefCell::new(Vec::new()) };
}

#[test]
fn threads_come_and_go_over_it() {
    for round in 0..50_u64 {
        let threads: Vec<_> = (0..4_u64)
            .map(|idx| {
                thread::spawn(move || {
                    let values: Vec<_> = (0..40).map(|value| Rc::new(value + idx + round)).collect();
                    let sum: u64 = values.iter().map(|value| **value).sum();
                    LATE.with_borrow_mut(|late| late.extend(values.into_iter().take(20)));
                    // Freed by the thread that joins this one.
                    (Box::new(sum), vec![idx; 5])
                })
            })
            .collect();
        for (idx, thread) in threads.into_iter().enumerate() {
            let (sum, indices) = thread.join().unwrap();
            assert_eq!(*sum, 780 + 40 * (idx as u64 + round));
            assert_eq!(indices, [idx as u64; 5]);
        }
    }
    let stats = SMALL.stats();
    assert!(stats.loads > 0 && stats.unloads > 0, "threads have handed slots on: {stats:?}");
}
