//! Fronts per thread: born at the first use, given back at the thread's end.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use heapwright::cache::magazine::{FrontPointer, ThreadFront, ThreadFronts};
use heapwright::cache::{Magazined, PerThread, UntypedObjectAlloc};
use heapwright::lock::{SpinLock, StdLock};
use static_assertions::{assert_impl_all, const_assert_eq};

use crate::checked::Checked;
use crate::many_threads::{collect, exchange, places};
use crate::{give, take};

heapwright::magazined! {
    static ENDING as Ending: Magazined<Checked, SpinLock, 4, 2> = Magazined::new(Checked::new());
    static PANICKING as Panicking: Magazined<Checked, SpinLock, 4, 2> = Magazined::new(Checked::new());
    static EXCHANGED as Exchanged: Magazined<Checked, StdLock, 8, 2> = Magazined::new(Checked::new());
    static LATE as Late: Magazined<Checked, SpinLock, 4, 2> = Magazined::new(Checked::new());
    static SCARCE as Scarce: Magazined<Checked, SpinLock, 4, 2> = Magazined::new(Checked::new());
    static BARE as Bare: Magazined<Checked, SpinLock, 4, 2> = Magazined::new(Checked::new());
    static NESTED as Nested: Magazined<Checked, SpinLock, 4, 2> = Magazined::new(Checked::new());
}

assert_impl_all!(Ending: Send, Sync, Copy);
const_assert_eq!(size_of::<Ending>(), 0);

/// Runs `work` on a thread of its own, to its end with all destructors.
fn on_a_thread(work: impl FnOnce() + Send + 'static) -> thread::Result<()> {
    thread::spawn(work).join()
}

#[test]
fn a_thread_that_ends_gives_all_back() {
    for count in [0, 1, 5, 8, 30] {
        on_a_thread(move || {
            let slots = take(&Ending, count);
            give(&Ending, slots);
        })
        .unwrap();
        ENDING.reap();
        assert_eq!(ENDING.cache().out(), 0, "after {count} slots");
    }
    on_a_thread(|| {
        give(&Ending, take(&Ending, 6));
        Ending.flush();
        assert_eq!(ENDING.cache().out(), 4 * ENDING.stats().magazines);
        give(&Ending, take(&Ending, 1));
    })
    .unwrap();
    ENDING.reap();
    assert_eq!(ENDING.cache().out(), 0);
}

#[test]
fn a_thread_that_panics_gives_all_back() {
    let panicked = on_a_thread(|| {
        give(&Panicking, take(&Panicking, 30));
        assert!(PANICKING.cache().out() > 8, "otherwise this test tests nothing");
        resume_unwind(Box::new("a user's"));
    });
    assert!(panicked.is_err());
    assert_eq!(PANICKING.cache().out(), 8, "the depot's");
}

#[test]
fn threads_free_what_others_took() {
    let places = places();
    thread::scope(|scope| {
        let spawn = |thread_idx| {
            let places = &places;
            scope.spawn(move || exchange(thread_idx, &Exchanged, places))
        };
        // The scope's end waits for the threads' work only, a join for their destructors too.
        for thread in [0, 1].map(spawn) {
            thread.join().unwrap();
        }
    });
    for thread_idx in 0..4 {
        let left = collect(&places);
        let left: Vec<_> = left.into_iter().map(|slot| slot.as_ptr().expose_provenance()).collect();
        on_a_thread(move || {
            let places = crate::many_threads::places();
            for slot in left {
                give(&Exchanged, NonNull::new(std::ptr::with_exposed_provenance_mut(slot)));
            }
            exchange(thread_idx, &Exchanged, &places);
            give(&Exchanged, collect(&places));
        })
        .unwrap();
    }
    EXCHANGED.reap();
    assert_eq!(EXCHANGED.cache().out(), 0);
}

/// Objects that are freed when the thread's values are dropped, before or after its front.
struct Held<I: ThreadFronts>(PerThread<I>, RefCell<Vec<NonNull<u8>>>);

impl<I: ThreadFronts> Drop for Held<I> {
    fn drop(&mut self) {
        give(&self.0, self.1.take());
        // Allocating is possible too.
        let slots = take(&self.0, 9);
        assert_eq!(slots.iter().collect::<BTreeSet<_>>().len(), 9);
        give(&self.0, slots);
        SEEN.lock().unwrap().push(());
    }
}

static SEEN: Mutex<Vec<()>> = Mutex::new(Vec::new());

#[test]
fn destructors_may_use_the_cache_before_and_after_the_front_is_gone() {
    // Registered before the front and after it: whatever the order of destructors is, one of them comes first and the
    // other last.
    thread_local! {
        static EARLIER: Held<<Late as Named>::Fronts> = const { Held(Late, RefCell::new(Vec::new())) };
        static LATER: Held<<Late as Named>::Fronts> = const { Held(Late, RefCell::new(Vec::new())) };
    }
    on_a_thread(|| {
        EARLIER.with(|_| ());
        let slots = take(&Late, 20);
        LATER.with(|_| ());
        EARLIER.with(|held| held.1.borrow_mut().extend(&slots[..10]));
        LATER.with(|held| held.1.borrow_mut().extend(&slots[10..]));
    })
    .unwrap();
    assert_eq!(SEEN.lock().unwrap().len(), 2);
    LATE.reap();
    assert_eq!(LATE.cache().out(), 0);
}

/// Takes and frees one object when the thread's values are dropped.
struct TakesOne;

impl Drop for TakesOne {
    fn drop(&mut self) {
        give(&Scarce, take(&Scarce, 1));
        SCARCE_SEEN.store(true, Ordering::SeqCst);
    }
}

static SCARCE_SEEN: AtomicBool = AtomicBool::new(false);

#[test]
fn without_a_front_the_depot_is_the_last_resort() {
    thread_local! {
        static EARLIER: TakesOne = const { TakesOne };
        static LATER: TakesOne = const { TakesOne };
    }
    on_a_thread(|| {
        EARLIER.with(|_| ());
        let slots = take(&Scarce, 8);
        SCARCE.cache().set_limit(8);
        LATER.with(|_| ());
        give(&Scarce, slots);
        // When the front goes, all there is goes to the depot.
    })
    .unwrap();
    assert!(SCARCE_SEEN.load(Ordering::SeqCst));
    assert_eq!(SCARCE.cache().made(), 8);
    SCARCE.reap();
    assert_eq!(SCARCE.cache().out(), 0);
}

/// Asks for a slot of which there is none, when its thread has no front any more.
struct FindsNone;

impl Drop for FindsNone {
    fn drop(&mut self) {
        assert!(Bare.alloc_slot().is_err());
        BARE_SEEN.fetch_add(1, Ordering::SeqCst);
    }
}

static BARE_SEEN: AtomicUsize = AtomicUsize::new(0);

#[test]
fn without_a_front_and_with_an_empty_depot_the_end_is_an_error() {
    thread_local! {
        static EARLIER: FindsNone = const { FindsNone };
        static LATER: FindsNone = const { FindsNone };
    }
    let last = take(BARE.cache(), 1);
    BARE.cache().set_limit(1);
    on_a_thread(|| {
        EARLIER.with(|_| ());
        assert!(Bare.alloc_slot().is_err(), "and the thread has a front from now on");
        LATER.with(|_| ());
    })
    .unwrap();
    assert_eq!(BARE_SEEN.load(Ordering::SeqCst), 2);
    give(BARE.cache(), last);
    BARE.reap();
    assert_eq!(BARE.cache().out(), 0);
}

/// Thread-locals whose registration allocates from the cache that they are for, as those of a global allocator may.
struct Greedy;

static GREEDY: Magazined<Checked, SpinLock, 4, 2> = Magazined::new(Checked::new());

thread_local! {
    static POINTER: FrontPointer<Greedy> = const { FrontPointer::new() };
    static FRONT: ThreadFront<Greedy> = const { ThreadFront::new() };
}

// SAFETY: T1: one static. T2, T3: the standard library's thread-locals.
unsafe impl ThreadFronts for Greedy {
    type Layer = Magazined<Checked, SpinLock, 4, 2>;

    fn magazined() -> &'static Self::Layer {
        &GREEDY
    }

    fn with_pointer<R>(work: impl FnOnce(&FrontPointer<Self>) -> R) -> Option<R> {
        POINTER.try_with(work).ok()
    }

    fn with_front<R>(work: impl FnOnce(&ThreadFront<Self>) -> R) -> Option<R> {
        let slots = take(&PerThread::<Greedy>::new(), 3);
        assert_eq!(GREEDY.cache().out(), 3, "without a front there is no magazine");
        give(&PerThread::<Greedy>::new(), slots);
        FRONT.try_with(work).ok()
    }
}

#[test]
fn opening_a_front_may_allocate() {
    on_a_thread(|| {
        let slot = take(&PerThread::<Greedy>::new(), 1);
        assert_eq!(GREEDY.cache().out(), 4, "a magazine");
        give(&PerThread::<Greedy>::new(), slot);
    })
    .unwrap();
    assert_eq!((GREEDY.cache().out(), GREEDY.stats().magazines), (4, 1));
    GREEDY.reap();
    assert_eq!(GREEDY.cache().out(), 0);
}

/// The type that a handle is made of.
trait Named {
    type Fronts: ThreadFronts;
}

impl<I: ThreadFronts> Named for PerThread<I> {
    type Fronts = I;
}

#[test]
fn a_constructor_may_use_the_front_that_is_being_filled() {
    NESTED.cache().set_constructor(Some(Box::new(|| give(&Nested, take(&Nested, 7)))));
    on_a_thread(|| {
        let slots = take(&Nested, 30);
        assert_eq!(slots.iter().collect::<BTreeSet<_>>().len(), 30);
        give(&Nested, slots);
    })
    .unwrap();
    NESTED.cache().set_constructor(None);
    NESTED.reap();
    assert_eq!(NESTED.cache().out(), 0);
    assert_eq!(Nested.slot_layout(), NESTED.cache().slot_layout());
}
