//! A core or a source that comes back to the heap it serves gets `AllocError`: never a hang, never a second `&mut`,
//! in debug and release builds alike.
//!
//! The source here breaks its contract on purpose (B5, and by it the core breaks H5): it reaches its own heap through a
//! thread-local, as safe code can. What is tested is that the locks which can tell a re-entry keep the outcome defined all
//! the same.

#![cfg(feature = "std")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::conformance::{Call, Probe};
use heapwright::heap::{
    Chunk, ChunkKind, Corruption, Cursor, Heap, Inspect, Locked, Owns, SharedHeap, Usage,
};
use heapwright::lock::Lock;
use heapwright::source::BackingSource;

const LAYOUT: Layout = Layout::new::<[u64; 4]>();
const LONGER: Layout = Layout::new::<[u64; 8]>();

thread_local! {
    /// How often the source has called the heap above it.
    static BETRAYALS: Cell<usize> = const { Cell::new(0) };
    /// Blocks of the source handed out and not yet taken back.
    static LIVE: Cell<usize> = const { Cell::new(0) };
    /// A block of the heap above for the requests from inside. Without one, the source is loyal.
    static BAIT: Cell<Option<NonNull<u8>>> = const { Cell::new(None) };
}

/// A source over the system's allocator that calls back into the heap above it before it does its work.
struct Turncoat {
    /// The way back: makes requests to the heap above.
    way_back: fn(NonNull<u8>),
    /// True during a call of the source.
    inside: bool,
}

impl Turncoat {
    fn betray(&mut self) {
        assert!(!self.inside, "a second `&mut` to the source");
        if let Some(bait) = BAIT.get() {
            self.inside = true;
            let live = LIVE.get();
            (self.way_back)(bait);
            assert_eq!(LIVE.get(), live, "somebody has been inside");
            BETRAYALS.set(BETRAYALS.get() + 1);
            self.inside = false;
        }
    }
}

// SAFETY: B1, B2: the system's allocator. B3: it doesn't unwind, nor do assertions that hold. B4: nothing changes on
// an error. B5 is broken, and no block is put at risk by it, as long as the lock refuses.
unsafe impl BackingSource for Turncoat {
    const GRANULE: usize = 1;
    const ALIGN_MAX: usize = 16;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.betray();
        if layout.size() == 0 {
            return Err(AllocError);
        }
        // SAFETY: the size is not zero.
        let block = NonNull::new(unsafe { System.alloc(layout) }).ok_or(AllocError)?;
        LIVE.set(LIVE.get() + 1);
        Ok(NonNull::slice_from_raw_parts(block, layout.size()))
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        self.betray();
        LIVE.set(LIVE.get() - 1);
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(block.as_ptr(), layout) };
    }
}

/// The thinnest core over a source.
struct Through(Turncoat);

impl Through {
    const fn new(way_back: fn(NonNull<u8>)) -> Self {
        Through(Turncoat { way_back, inside: false })
    }
}

// SAFETY: H1 to H4, H6: the source's B1, B3, B4, and its error for size zero. H5: broken by the source, see there.
unsafe impl Heap for Through {
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.0.acquire(layout)
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.release(ptr, layout) };
    }
}

// SAFETY: it never says that a block is its own which is not: there are no others here.
unsafe impl Owns for Through {
    fn owns(&self, _: NonNull<u8>, _: Layout) -> bool {
        true
    }
}

/// What no heap answers that was not entered.
impl Inspect for Through {
    fn usage(&self) -> Usage {
        Usage { total: 7, used: 7, free: 0, objects: 1 }
    }

    fn next_chunk(&mut self, cursor: &mut Cursor) -> Option<Chunk> {
        cursor.offset += 7;
        (cursor.offset == 7).then_some(Chunk { offset: 0, len: 7, kind: ChunkKind::Used })
    }

    fn verify(&mut self) -> Result<(), Corruption> {
        Err(Corruption { rule: "it says so", offset: 0 })
    }

    fn misuses(&self) -> usize {
        1
    }
}

/// Whether the heap's core answers when it is asked about itself: all of these ways, or none.
fn answers<L: Lock>(heap: &Locked<Through, L>, bait: NonNull<u8>) -> bool {
    let entered = heap.look(|_| ()).is_some();
    assert_eq!(heap.usage(), if entered { Through::new(|_| {}).usage() } else { Usage::default() });
    assert_eq!(heap.chunks().count(), usize::from(entered));
    assert_eq!(heap.verify().is_err(), entered);
    assert_eq!(heap.misuses(), usize::from(entered));
    assert_eq!(heap.owns(bait, LAYOUT), entered);
    // SAFETY: the work does nothing.
    assert_eq!(unsafe { heap.enter(|_| ()) }.is_ok(), entered);
    entered
}

/// From inside the heap: every kind of request is refused.
fn ask<L: Lock>(heap: &Locked<Through, L>, bait: NonNull<u8>) {
    assert_eq!(heap.try_alloc(LAYOUT), Err(AllocError));
    assert_eq!(heap.try_alloc_zeroed(LAYOUT), Err(AllocError));
    // SAFETY: the layout is not of size zero.
    assert!(unsafe { GlobalAlloc::alloc(heap, LAYOUT) }.is_null());
    // SAFETY: the bait is a live block of this heap, and `LAYOUT` its own.
    assert_eq!(unsafe { heap.try_resize(bait, LAYOUT, LONGER) }, Err(AllocError));
    // SAFETY: as above.
    assert_eq!(unsafe { heap.try_resize_zeroed(bait, LAYOUT, LONGER) }, Err(AllocError));
    assert_eq!(heap.try_alloc_batch(LAYOUT, &mut [MaybeUninit::uninit(); 3]), 0);
    assert_eq!(heap.release_unused(), 0);
    assert!(!answers(heap, bait));
    // SAFETY: the layout is not of size zero.
    assert!(unsafe { GlobalAlloc::alloc_zeroed(heap, LAYOUT) }.is_null());
    // SAFETY: the bait is a live block of this heap, `LAYOUT` its own, and the new size is not zero.
    assert!(unsafe { GlobalAlloc::realloc(heap, bait.as_ptr(), LAYOUT, LONGER.size()) }.is_null());
    #[cfg(feature = "allocator-api2-04")]
    assert!(allocator_api2_04::boxed::Box::try_new_in(1, heap).is_err());
    // A request of size zero never enters, so it can't be refused.
    assert!(heap.try_alloc(Layout::new::<()>()).is_ok());
}

/// From inside the heap: frees the bait.
fn free<L: Lock>(heap: &Locked<Through, L>, bait: NonNull<u8>) {
    // SAFETY: the bait is a live block of this heap, `LAYOUT` its own, and nobody uses it again but to see it leaked.
    unsafe { heap.free(bait, LAYOUT) };
}

/// The same in other ways; that it is freed more than once does no harm, as none is a free.
fn free_in_other_ways<L: Lock>(heap: &Locked<Through, L>, bait: NonNull<u8>) {
    // SAFETY: as in `free`.
    unsafe { heap.free_batch(LAYOUT, &[bait]) };
    // SAFETY: as in `free`.
    unsafe { GlobalAlloc::dealloc(heap, bait.as_ptr(), LAYOUT) };
    // SAFETY: as in `free`. A resize to nothing is a free.
    assert!(unsafe { heap.try_resize(bait, LAYOUT, Layout::new::<()>()) }.is_ok());
    #[cfg(feature = "allocator-api2-04")]
    // SAFETY: as in `free`.
    unsafe {
        allocator_api2_04::alloc::Allocator::deallocate(&heap, bait, LAYOUT);
    }
}

/// A heap with a live block that will be the bait.
fn bait<L: Lock>(heap: &Locked<Through, L>) -> NonNull<u8> {
    BETRAYALS.set(0);
    LIVE.set(0);
    BAIT.set(None);
    let bait = heap.try_alloc(LAYOUT).unwrap().cast();
    BAIT.set(Some(bait));
    bait
}

/// Requests from outside succeed, though each is betrayed on the way; those from inside change nothing.
fn requests_are_refused<L: Lock>(heap: &Locked<Through, L>) {
    let bait = bait(heap);
    // SAFETY: the block is live, ours, and of this size and alignment.
    unsafe { bait.cast::<[u64; 4]>().write([1, 2, 3, 4]) };

    assert!(answers(heap, bait));
    let block = heap.try_alloc(LAYOUT).unwrap();
    assert_eq!(BETRAYALS.get(), 1);
    let zeroed = heap.try_alloc_zeroed(LAYOUT).unwrap();
    assert_eq!(BETRAYALS.get(), 2);
    // SAFETY: the block is live and `LAYOUT` its own. The core moves it by an alloc and a dealloc.
    let longer = unsafe { heap.try_resize(block.cast(), LAYOUT, LONGER) }.unwrap();
    assert_eq!(BETRAYALS.get(), 4);
    assert_eq!(LIVE.get(), 3);
    // SAFETY: the block is live and `LONGER` its layout.
    unsafe { heap.free(longer.cast(), LONGER) };
    // SAFETY: the block is live and `LAYOUT` its own.
    unsafe { heap.free(zeroed.cast(), LAYOUT) };
    assert_eq!(BETRAYALS.get(), 6);

    BAIT.set(None);
    // SAFETY: the refused requests left the block live.
    assert_eq!(unsafe { bait.cast::<[u64; 4]>().read() }, [1, 2, 3, 4]);
    // SAFETY: as above; `LAYOUT` is its own.
    unsafe { heap.free(bait, LAYOUT) };
    assert_eq!(LIVE.get(), 0);
}

/// A free from inside leaks its block, and all goes on.
fn a_free_leaks<L: Lock>(heap: &Locked<Through, L>) {
    let bait = bait(heap);
    let block = heap.try_alloc(LAYOUT).unwrap().cast();
    assert_eq!(BETRAYALS.get(), 1);
    BAIT.set(None);
    assert_eq!(LIVE.get(), 2);
    // SAFETY: the block is live and `LAYOUT` its own.
    unsafe { heap.free(block, LAYOUT) };
    assert_eq!(LIVE.get(), 1);
    // SAFETY: the heap has leaked it, so it is nobody's; it was allocated there with this layout.
    unsafe { System.dealloc(bait.as_ptr(), LAYOUT) };
}

macro_rules! tells_reentry {
    ($name:ident: $lock:ty) => {
        mod $name {
            use super::*;

            thread_local! {
                static ASKED: Locked<Through, $lock> =
                    const { Locked::new(Through::new(|bait| ASKED.with(|heap| ask(heap, bait)))) };
                static FREED: Locked<Through, $lock> =
                    const { Locked::new(Through::new(|bait| FREED.with(|heap| free(heap, bait)))) };
            }

            thread_local! {
                static FREED_OTHERWISE: Locked<Through, $lock> = const {
                    Locked::new(Through::new(|bait| FREED_OTHERWISE.with(|heap| free_in_other_ways(heap, bait))))
                };
            }

            #[test]
            fn requests_are_refused() {
                ASKED.with(super::requests_are_refused);
            }

            #[test]
            fn a_free_leaks() {
                FREED.with(super::a_free_leaks);
            }

            #[test]
            fn a_free_in_another_way_leaks() {
                FREED_OTHERWISE.with(super::a_free_leaks);
            }
        }
    };
}

tells_reentry!(no_lock: heapwright::lock::NoLock);
tells_reentry!(owner_checked_spin: heapwright::lock::OwnerChecked<heapwright::lock::SpinLock>);
tells_reentry!(owner_checked_ticket: heapwright::lock::OwnerChecked<heapwright::lock::TicketLock>);
tells_reentry!(owner_checked_std: heapwright::lock::OwnerChecked<heapwright::lock::StdLock>);
#[cfg(feature = "critical-section")]
tells_reentry!(critical_section: heapwright::lock::CriticalSectionLock);
#[cfg(feature = "lock_api")]
tells_reentry!(owner_checked_lock_api: heapwright::lock::OwnerChecked<heapwright::lock::LockApi<parking_lot::RawMutex>>);

thread_local! {
    /// Whether the lock of this thread's heaps is held.
    static HELD: Cell<bool> = const { Cell::new(false) };
}

/// A user's lock that costs next to nothing: what is at hand is tried first.
struct Flag;

// SAFETY: L1, L2: it refuses whoever comes while it is held, and is used on one thread. L3: nothing unwinds. L4: one value.
unsafe impl Lock for Flag {
    const INIT: Self = Flag;
    const LEAF_IS_FREE: bool = true;

    fn with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        (!HELD.get()).then(work)
    }

    fn try_with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        self.with(work)
    }
}

#[test]
fn what_is_at_hand_is_not_to_be_had_from_within() {
    let probe = Probe::new();
    let heap = Locked::<_, Flag>::new(probe.clone());
    let block = heap.try_alloc(LAYOUT).unwrap().cast();
    assert_eq!((probe.calls(Call::AllocAtHand), probe.calls(Call::Alloc), probe.blocks()), (1, 0, 1));
    HELD.set(true);
    assert!(heap.try_alloc(LAYOUT).is_err());
    // SAFETY: the block is live, and its layout this one; here it stays, for the heap can't be entered.
    unsafe { heap.free(block, LAYOUT) };
    assert_eq!((probe.calls(Call::AllocAtHand), probe.calls(Call::Alloc), probe.blocks()), (1, 0, 1));
    HELD.set(false);
    // SAFETY: as above: it has stayed.
    unsafe { heap.free(block, LAYOUT) };
    assert_eq!((probe.calls(Call::DeallocAtHand), probe.calls(Call::Dealloc), probe.blocks()), (1, 0, 0));
}
