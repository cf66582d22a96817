//! Handles on several threads at once.

use std::panic::resume_unwind;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::mpsc;
use std::thread;

use heapwright::cache::{Magazined, ObjectAlloc, UntypedObjectAlloc};
use heapwright::lock::{Lock, SpinLock, StdLock, TicketLock};

use crate::checked::{Checked, FRESH, Object};
use crate::{give, take};

/// A slot's pointer on its way to another thread.
#[derive(Clone, Copy)]
struct Parcel(NonNull<u8>);

// SAFETY: the cache is `Sync`: slots may be used and freed on any thread.
unsafe impl Send for Parcel {}

const ROUNDS: usize = if cfg!(miri) { 60 } else { 30_000 };

/// What is written into an object by its user, so that a second user would be seen.
fn mark(object: NonNull<Object>, seed: u64) {
    // SAFETY: the callers own the object.
    unsafe { object.write([seed, !seed, seed.rotate_left(32)]) };
}

fn check(object: NonNull<Object>) {
    // SAFETY: the callers own the object.
    let [seed, not, turned] = unsafe { object.read() };
    let whole = [seed, not, turned] == FRESH || (not == !seed && turned == seed.rotate_left(32));
    assert!(whole, "two had this object at once: {seed:x} {not:x} {turned:x}");
}

/// Threads swap objects in shared places for new ones: what one allocates the others free.
pub(crate) fn exchange<C: ObjectAlloc<Object>>(thread_idx: usize, cache: &C, places: &[AtomicPtr<u8>]) {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(thread_idx as u64 + 1);
    for _ in 0..ROUNDS {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let place = &places[(state >> 33) as usize % places.len()];
        let object: NonNull<Object> = cache.alloc_object().unwrap();
        check(object);
        mark(object, state);
        let old = place.swap(object.as_ptr().cast(), Ordering::AcqRel);
        if let Some(old) = NonNull::new(old) {
            check(old.cast());
            give(cache, [old]);
        }
    }
}

/// Takes out what [`exchange`] has left.
pub(crate) fn collect(places: &[AtomicPtr<u8>]) -> Vec<NonNull<u8>> {
    places.iter().filter_map(|place| NonNull::new(place.swap(ptr::null_mut(), Ordering::AcqRel))).collect()
}

pub(crate) fn places() -> Vec<AtomicPtr<u8>> {
    (0..50).map(|_| AtomicPtr::default()).collect()
}

fn exchanges<L: Lock + Sync, const N: usize, const M: usize>() {
    let magazined = Magazined::<Checked, L, N, M>::new(Checked::new());
    let places = places();
    thread::scope(|scope| {
        for thread_idx in 0..2 {
            let (magazined, places) = (&magazined, &places);
            scope.spawn(move || exchange(thread_idx, &magazined.handle(), places));
        }
    });
    let left = collect(&places);
    assert_eq!(magazined.cache().out(), left.len() + magazined.stats().magazines * N);
    give(magazined.cache(), left);
}

#[test]
fn exchanges_keep_objects_apart() {
    exchanges::<SpinLock, 2, 2>();
    exchanges::<StdLock, 4, 1>();
    exchanges::<TicketLock, 64, 16>();
    exchanges::<SpinLock, 1, 0>();
}

#[test]
fn one_takes_and_another_frees() {
    let magazined = Magazined::<Checked, SpinLock, 8, 4>::new(Checked::limited(200, 8));
    let count = ROUNDS / 10;
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(16);
        let magazined = &magazined;
        scope.spawn(move || {
            let front = magazined.handle();
            for seed in 0..count {
                let object: NonNull<Object> = front.alloc_object().unwrap();
                check(object);
                mark(object, seed as u64);
                sender.send(Parcel(object.cast())).unwrap();
            }
        });
        let front = magazined.handle();
        for (seed, Parcel(slot)) in receiver.into_iter().enumerate() {
            // SAFETY: the slot is ours now.
            assert_eq!(unsafe { slot.cast::<Object>().read() }[0], seed as u64);
            give(&front, [slot]);
        }
    });
    let stats = magazined.stats();
    assert!(stats.loads > 0 && stats.unloads > 0, "magazines have gone round: {stats:?}");
    magazined.reap();
    assert_eq!(magazined.cache().out(), 0);
}

#[test]
fn a_handle_on_a_thread_that_panics_gives_all_back() {
    let magazined = Magazined::<Checked, SpinLock, 4, 2>::new(Checked::new());
    let panicked = thread::scope(|scope| {
        let panicking = || {
            let front = magazined.handle();
            let slots = take(&front, 30);
            give(&front, slots);
            assert!(magazined.cache().out() > 8, "otherwise this test tests nothing");
            resume_unwind(Box::new("a user's"));
        };
        scope.spawn(panicking).join()
    });
    assert!(panicked.is_err());
    assert_eq!(magazined.cache().out(), 8, "the depot's");
}

#[test]
fn a_handle_may_move_to_another_thread() {
    let magazined = Magazined::<Checked, SpinLock, 4, 2>::new(Checked::new());
    let front = magazined.handle();
    let slots = take(&front, 5);
    let parcels: Vec<_> = slots.into_iter().map(Parcel).collect();
    thread::scope(|scope| {
        scope.spawn(move || {
            give(&front, parcels.into_iter().map(|parcel| parcel.0));
            assert!(front.alloc_slot().map(|slot| give(&front, [slot])).is_ok());
        });
    });
    magazined.reap();
    assert_eq!(magazined.cache().out(), 0);
}
