//! Magazines: what fronts and depot pass on, when they ask whom, and that nothing is lost or out twice, whatever happens to
//! a thread.

#![cfg(feature = "std")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[cfg(feature = "allocator-api2-04")]
mod boxes;
mod checked;
mod many_threads;
mod objects;
mod per_cpu;
mod per_thread;

use std::alloc::Layout;
use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::thread;

use heapwright::arena::StaticArena;
use heapwright::cache::{Handle, HeapSlots, Magazined, ObjectAlloc, PerCpu, UntypedObjectAlloc};
use heapwright::lock::{NoLock, SpinLock, StdLock};
use heapwright::sizing::Sizing4KiB;
use static_assertions::{assert_impl_all, assert_not_impl_any, const_assert, const_assert_eq};

use checked::{Checked, FRESH, Object};

/// Magazines of four slots, two in the depot.
type Small = Magazined<Checked, SpinLock, 4, 2>;

assert_impl_all!(Magazined<Checked>: Send, Sync);
assert_impl_all!(Handle<'_, Checked>: Send);
assert_not_impl_any!(Handle<'_, Checked>: Sync);
assert_impl_all!(Magazined<Checked, NoLock>: Send);
assert_not_impl_any!(Magazined<Checked, NoLock>: Sync);
assert_not_impl_any!(Handle<'_, Checked, NoLock>: Send, Sync);
assert_impl_all!(PerCpu<Magazined<Checked>, 2>: Send, Sync);
assert_not_impl_any!(PerCpu<Magazined<Checked, NoLock>, 2>: Sync);
const_assert_eq!(size_of::<Handle<'_, Checked>>(), (2 * 64 + 2) * size_of::<usize>());
const_assert!(size_of::<Magazined<Checked>>() < (64 * 16 + 8) * size_of::<usize>() + size_of::<Checked>());
const_assert_eq!(align_of::<PerCpu<Magazined<Checked>, 1>>(), 128);

fn take<C: UntypedObjectAlloc>(cache: &C, count: usize) -> Vec<NonNull<u8>> {
    (0..count).map(|_| cache.alloc_slot().unwrap()).collect()
}

fn give<C: UntypedObjectAlloc>(cache: &C, slots: impl IntoIterator<Item = NonNull<u8>>) {
    for slot in slots {
        // SAFETY: the callers pass slots that this layer has handed out, each once.
        unsafe { cache.free_slot(slot) };
    }
}

fn visits<L: heapwright::lock::Lock, const N: usize, const M: usize>(
    magazined: &Magazined<Checked, L, N, M>,
) -> [usize; 5] {
    let stats = magazined.stats();
    [stats.loads, stats.load_misses, stats.unloads, stats.unload_misses, stats.magazines]
}

#[test]
fn a_front_is_a_stack_and_keeps_the_order_of_the_cache() {
    let magazined = Small::new(Checked::new());
    let front = magazined.handle();
    let slots = take(&front, 4);
    assert_eq!(magazined.cache().out(), 4, "one call for a whole magazine");
    assert_eq!(visits(&magazined), [0, 1, 0, 0, 0]);
    give(&front, slots.clone());
    let again = take(&front, 4);
    assert_eq!(again, slots.iter().rev().copied().collect::<Vec<_>>());
    give(&front, again.into_iter().rev());
    drop(front);
    magazined.reap();

    // The cache gives what it got last first, and so does the front that is filled by it.
    let direct = take(magazined.cache(), 4);
    give(magazined.cache(), direct.iter().rev().copied());
    let front = magazined.handle();
    let through = take(&front, 4);
    assert_eq!(through, direct);
    give(&front, through);
}

#[test]
fn the_depot_is_asked_at_most_once_in_a_magazine() {
    let magazined = Small::new(Checked::new());
    let front = magazined.handle();
    // Up and down over the same bounds, by less than a magazine each way.
    let mut held = take(&front, 5);
    let before = visits(&magazined);
    assert_eq!(before, [0, 2, 0, 0, 0]);
    for _ in 0..10 {
        give(&front, held.drain(1..));
        held.extend(take(&front, 4));
    }
    assert_eq!(visits(&magazined), before, "five slots in all are fewer than two magazines");

    // From all taken to all given back and again: one visit for each magazine that moves.
    held.extend(take(&front, 35));
    let before = visits(&magazined);
    give(&front, held.drain(..));
    let after = visits(&magazined);
    assert_eq!(after[2] - before[2], 2, "the depot has room for two");
    assert_eq!(after[3] - before[3], 40 / 4 - 2 - 2, "the front keeps two, the rest goes to the cache");
    assert_eq!(after[4], 2);
    assert_eq!(magazined.cache().out(), 16);
}

#[test]
fn what_one_front_gives_up_another_gets() {
    let magazined = Small::new(Checked::new());
    let (giver, taker) = (magazined.handle(), magazined.handle());
    let slots = take(&giver, 12);
    let asked = visits(&magazined)[1];
    give(&giver, slots.iter().copied());
    assert_eq!(visits(&magazined), [0, asked, 1, 0, 1]);
    let passed_on = take(&taker, 4);
    assert_eq!(visits(&magazined), [1, asked, 1, 0, 0]);
    let oldest: BTreeSet<_> = slots[..4].iter().copied().collect();
    assert_eq!(passed_on.iter().copied().collect::<BTreeSet<_>>(), oldest, "the one given back first");
    assert_eq!(magazined.cache().made(), 12);
    give(&taker, passed_on);
}

#[test]
fn a_front_gives_all_back_however_much_it_holds() {
    for count in 0..=9 {
        for returned in 0..=count {
            let magazined = Small::new(Checked::new());
            let front = magazined.handle();
            let mut slots = take(&front, count);
            give(&front, slots.drain(..returned));
            if count % 2 == 0 {
                front.flush();
                assert_eq!(magazined.cache().out(), slots.len() + 4 * magazined.stats().magazines);
            }
            drop(front);
            assert_eq!(magazined.reap() % 4, 0);
            assert_eq!(magazined.stats().magazines, 0);
            assert_eq!(magazined.cache().out(), slots.len());
            give(magazined.cache(), slots);
        }
    }
}

#[test]
fn reap_gives_back_all_and_trim_what_is_idle() {
    let magazined = Magazined::<Checked, StdLock, 4, 8>::new(Checked::new());
    let front = magazined.handle();
    let fill = |magazines: usize| {
        let slots = take(&front, 4 * magazines);
        give(&front, slots);
        front.flush();
    };
    fill(6);
    assert_eq!(magazined.stats().magazines, 6);
    assert_eq!(magazined.trim(), 0, "at some time since the beginning there was none");
    // Two of the six are used.
    let slots = take(&front, 8);
    assert_eq!((magazined.stats().magazines, magazined.stats().magazines_min), (4, 4));
    give(&front, slots);
    front.flush();
    assert_eq!(magazined.stats().magazines, 6);
    assert_eq!(magazined.trim(), 16, "four were not");
    assert_eq!((magazined.stats().magazines, magazined.stats().magazines_min), (2, 2));
    assert_eq!(magazined.trim(), 8);
    assert_eq!(magazined.trim(), 0);
    fill(3);
    assert_eq!(magazined.reap(), 12);
    assert_eq!(magazined.cache().out(), 0);
    fill(3);
    // The cache checks when it is dropped that nothing is missing: the depot gives its slots back before.
}

#[test]
fn magazines_of_one_and_no_depot_work() {
    fn churn<const N: usize, const M: usize>() {
        let magazined = Magazined::<Checked, SpinLock, N, M>::new(Checked::limited(usize::MAX, 3));
        let front = magazined.handle();
        for count in [1, 2, 7, 30] {
            let slots = take(&front, count);
            assert_eq!(slots.iter().collect::<BTreeSet<_>>().len(), count);
            give(&front, slots);
        }
        drop(front);
        assert!(magazined.stats().magazines <= M);
        assert_eq!(magazined.cache().out(), magazined.stats().magazines * N);
    }
    churn::<1, 0>();
    churn::<1, 1>();
    churn::<2, 0>();
    churn::<3, 5>();
    churn::<64, 16>();
}

#[test]
fn the_end_of_the_cache_is_an_error_and_loses_nothing() {
    let magazined = Small::new(Checked::limited(10, 3));
    let front = magazined.handle();
    let mut slots = take(&front, 10);
    for _ in 0..3 {
        assert!(front.alloc_slot().is_err());
    }
    give(&front, slots.drain(3..));
    slots.extend(take(&front, 7));
    assert_eq!(slots.iter().collect::<BTreeSet<_>>().len(), 10);
    assert!(front.alloc_slot().is_err());
    give(&front, slots);
}

#[test]
fn many_at_once() {
    let magazined = Small::new(Checked::limited(10, 100));
    let front = magazined.handle();
    let mut out = [MaybeUninit::uninit(); 7];
    assert!(front.alloc_slots(&mut []).is_err());
    let mut slots = Vec::new();
    while let Ok(count) = front.alloc_slots(&mut out) {
        assert!((1..=7).contains(&count));
        // SAFETY: so many are written.
        slots.extend(out[..count].iter().map(|slot| unsafe { slot.assume_init() }));
    }
    assert_eq!(slots.iter().collect::<BTreeSet<_>>().len(), 10);
    // SAFETY: all were handed out, each once.
    unsafe { front.free_slots(&slots) };
    drop(front);
    magazined.reap();
    assert_eq!(magazined.cache().out(), 0);
}

#[test]
fn objects_keep_their_state_and_are_reset_by_the_cache() {
    let magazined = Small::new(Checked::new());
    let front = magazined.handle();
    let object: NonNull<Object> = front.alloc_object().unwrap();
    // SAFETY: the object is initialised (O1) and ours.
    assert_eq!(unsafe { object.read() }, FRESH);
    // SAFETY: as above.
    unsafe { object.write([1, 2, 3]) };
    // SAFETY: it was handed out just now.
    unsafe { front.free_object(object) };
    let again: NonNull<Object> = front.alloc_object().unwrap();
    assert_eq!(again, object);
    // SAFETY: as above.
    assert_eq!(unsafe { again.read() }, [1, 2, 0], "the hook has run, and nothing else");
    // SAFETY: it was handed out just now.
    unsafe { front.free_object(again) };
}

/// Who frees through a pointer that is good for a part of the slot does not spoil it for the next one. Miri looks.
#[test]
fn a_slot_comes_whole_whatever_pointer_it_was_freed_by() {
    let magazined = Small::new(Checked::new());
    let front = magazined.handle();
    let slots = take(&front, 12);
    for slot in slots {
        // SAFETY: the slot is ours, and longer than a byte.
        let part = NonNull::from(unsafe { &mut *slot.as_ptr() });
        give(&front, [part]);
    }
    let slots = take(&front, 12);
    for slot in &slots {
        // SAFETY: the slot has room for an object and is ours.
        unsafe { slot.cast::<Object>().write([4; 3]) };
    }
    give(&front, slots);
}

#[test]
fn a_constructor_may_use_the_front_that_is_being_filled() {
    thread_local! {
        static FRONT: OnceCell<Handle<'static, Checked, SpinLock, 4, 2>> = const { OnceCell::new() };
    }
    fn with_front<R>(work: impl FnOnce(&Handle<'static, Checked, SpinLock, 4, 2>) -> R) -> R {
        FRONT.with(|front| work(front.get().unwrap()))
    }
    static LAYER: Small = Small::new(Checked::new());
    for count in 0..12 {
        let taken = thread::spawn(move || {
            FRONT.with(|front| front.set(LAYER.handle()).unwrap());
            let hook = move || with_front(|front| give(front, take(front, count)));
            LAYER.cache().set_constructor(Some(Box::new(hook)));
            let slots = with_front(|front| take(front, 20));
            assert_eq!(slots.iter().collect::<BTreeSet<_>>().len(), 20);
            with_front(|front| give(front, slots));
            LAYER.cache().set_constructor(None);
        });
        taken.join().unwrap();
        LAYER.reap();
        assert_eq!(LAYER.cache().out(), 0, "a constructor that takes {count}");
    }
}

#[test]
fn a_constructor_that_panics_loses_nothing() {
    let magazined = Small::new(Checked::new());
    let front = magazined.handle();
    let mut slots = take(&front, 3);
    magazined.cache().set_constructor(Some(Box::new(|| panic!("a constructor's"))));
    let more = catch_unwind(AssertUnwindSafe(|| {
        while let Ok(slot) = front.alloc_slot() {
            slots.push(slot);
        }
    }));
    assert!(more.is_err());
    assert_eq!((slots.len(), magazined.cache().out()), (4, 4));
    slots.extend(take(&front, 1));
    give(&front, slots);
    drop(front);
    magazined.reap();
    assert_eq!(magazined.cache().out(), 0);
}

#[test]
fn a_destructor_that_panics_loses_nothing() {
    // While a front gives magazines back.
    let magazined = Magazined::<Checked, SpinLock, 4, 0>::new(Checked::new());
    let front = magazined.handle();
    let slots = take(&front, 9);
    magazined.cache().set_destructor(Some(Box::new(|| panic!("a destructor's"))));
    let freed = catch_unwind(AssertUnwindSafe(|| give(&front, slots.iter().copied())));
    assert!(freed.is_err());
    // The front had three of its twelve already. The sixth was the one too many: it is in the front for all that.
    give(&front, slots.into_iter().skip(6));
    drop(front);
    assert_eq!(magazined.cache().out(), 0);

    // While a front is filled that a constructor has filled meanwhile.
    static LAYER: Magazined<Checked, SpinLock, 4, 0> = Magazined::new(Checked::new());
    thread_local! {
        static FRONT: ManuallyDrop<Handle<'static, Checked, SpinLock, 4, 0>> = ManuallyDrop::new(LAYER.handle());
    }
    LAYER.cache().set_constructor(Some(Box::new(|| FRONT.with(|front| give(&**front, take(&**front, 7))))));
    LAYER.cache().set_destructor(Some(Box::new(|| panic!("a destructor's"))));
    let taken = catch_unwind(|| FRONT.with(|front| front.alloc_slot()));
    assert!(taken.is_err(), "otherwise this test tests nothing");
    FRONT.with(|front| front.flush());
    assert_eq!(LAYER.cache().out(), 0);
}

/// A heap's slots are its blocks, and go back to it.
#[test]
fn slots_of_a_heap_go_back_to_it() {
    let arena = StaticArena::<4096, Sizing4KiB, SpinLock>::new();
    let slots = HeapSlots::new(&arena, Layout::new::<[u64; 3]>());
    let all: Vec<_> = (0..3).map(|_| slots.alloc_slot().unwrap()).collect();
    assert_eq!(arena.usage().objects, 3);
    // SAFETY: they are live, and from there.
    all.into_iter().for_each(|slot| unsafe { slots.free_slot(slot) });
    assert_eq!(arena.usage().objects, 0);
}
