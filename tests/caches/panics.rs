//! Constructors, reset hooks and destructors that panic, and caches that go while objects are out: nothing is lost that need not be,
//! and nothing is destroyed twice.

use std::convert::Infallible;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use heapwright::cache::{
    FnInit, Init, KeepAll, NewObjectError, Obj, ObjectCache, ReleaseAtOnce, Retention, TryInit,
    UntypedObjectAlloc, WithReset, WorkingSet,
};
use heapwright::lock::{Lock, NoLock, SpinLock, StdLock};
use heapwright::slab::{AlignedSlabs, IndexStack, LargeSlabs, SlabSystem};
use heapwright::source::BackingSource;

use crate::items::{Item, Tally};
use crate::ledger::{Ledger, Via};
use crate::retention::{Hand, NOW};

/// Items in a slab of 1 KiB.
const SLAB: usize = 7;

/// What the tests panic with. It does not go through the panic hook, so that nothing is printed.
struct Intended;

fn panic_if(wanted: bool) {
    if wanted {
        resume_unwind(Box::new(Intended));
    }
}

/// Runs what must panic with `Intended`.
fn panics(work: impl FnOnce()) {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(()) => panic!("it did not panic"),
        Err(panic) => assert!(panic.is::<Intended>(), "it panicked by itself"),
    }
}

/// A cache of items that are counted, with a reset hook.
fn cache<'t, S: SlabSystem, L: Lock, R: Retention, const FRONT: usize>(
    source: S::Source,
    tally: &'t Tally,
) -> ObjectCache<Item<'t>, impl Init<Item<'t>, Error = Infallible>, S, L, R, FRONT> {
    ObjectCache::new(source, WithReset(FnInit(|| tally.make()), |item: &mut Item<'t>| tally.reset(item)))
}

/// Runs a generic function over systems, locks and fronts; every block must be back at the end.
macro_rules! everywhere {
    ($function:ident) => {
        let ledger = Ledger::default();
        $function::<AlignedSlabs<Via<'_>, 1024>, NoLock, 0>(ledger.source());
        $function::<AlignedSlabs<Via<'_>, 1024, IndexStack>, SpinLock, 1>(ledger.source());
        $function::<AlignedSlabs<Via<'_>, 1024>, StdLock, 32>(ledger.source());
        $function::<LargeSlabs<Via<'_>, 1024>, NoLock, 3>(ledger.source());
        $function::<LargeSlabs<Via<'_>, 1024, IndexStack>, SpinLock, 32>(ledger.source());
        assert_eq!((ledger.blocks(), ledger.faults()), (0, vec![]));
    };
}

fn constructors<S: SlabSystem, L: Lock, const FRONT: usize>(source: S::Source) {
    let tally = Tally::default();
    let cache = cache::<S, L, KeepAll, FRONT>(source, &tally);
    *tally.on_make.borrow_mut() = Some(Box::new(|call| panic_if(call % 2 == 1)));
    let mut items = Vec::new();
    for number in 0..3 * SLAB {
        items.push(cache.try_alloc().unwrap());
        let before = cache.stats();
        match number % 3 {
            0 => panics(|| drop(cache.try_alloc())),
            1 => panics(|| {
                let _ = cache.alloc_slot();
            }),
            _ => panics(|| {
                let _ = cache.alloc_slots(&mut [mem::MaybeUninit::uninit(); 3]);
            }),
        }
        let after = cache.stats();
        assert_eq!((after.live, after.at_hand), (before.live, before.at_hand));
        cache.verify().unwrap();
    }
    let stats = cache.stats();
    assert_eq!((tally.made.get(), stats.live), (3 * SLAB, 3 * SLAB));
    assert!(stats.slabs <= 4, "slots of objects that were not made are used again: {stats:?}");
    items.iter().for_each(|item| item.check());
    drop(items);
    drop(cache);
    assert_eq!((tally.made.get(), tally.destroyed.get(), tally.alive()), (3 * SLAB, 3 * SLAB, 0));
}

#[test]
fn a_constructor_that_panics_loses_nothing() {
    everywhere!(constructors);
}

fn fallible<S: SlabSystem, L: Lock, const FRONT: usize>(source: S::Source) {
    let tally = Tally::default();
    let make = || if tally.calls.get() % 3 == 2 { Err(tally.calls.replace(0)) } else { Ok(tally.make()) };
    let cache = ObjectCache::<Item<'_>, _, S, L, KeepAll, FRONT>::new(source, TryInit(make));
    let mut items = Vec::new();
    for round in 0..20 {
        items.push(cache.try_alloc().unwrap());
        items.push(cache.try_alloc().unwrap());
        match round % 2 {
            0 => assert!(matches!(cache.try_alloc(), Err(NewObjectError::Init(2)))),
            _ => assert!(cache.alloc_slot().is_err()),
        }
        assert_eq!(cache.stats().live, items.len());
        cache.verify().unwrap();
    }
    drop(items);
    assert_eq!(cache.reap(), 40_usize.div_ceil(SLAB));
    assert_eq!((tally.made.get(), tally.destroyed.get()), (40, 40));
}

#[test]
fn an_initialiser_that_fails_loses_nothing() {
    everywhere!(fallible);
}

fn resets<S: SlabSystem, L: Lock, const FRONT: usize>(source: S::Source) {
    let tally = Tally::default();
    let cache = cache::<S, L, KeepAll, FRONT>(source, &tally);
    let items: Vec<_> = (0..3 * SLAB).map(|_| cache.try_alloc().unwrap()).collect();
    *tally.on_reset.borrow_mut() = Some(Box::new(|item| panic_if(item.number % 4 == 0)));
    let mut destroyed = 0;
    for item in items {
        if item.number % 4 == 0 {
            panics(|| drop(item));
            destroyed += 1;
        } else {
            drop(item);
        }
        assert_eq!(tally.destroyed.get(), destroyed, "the one whose reset panicked");
        cache.verify().unwrap();
    }
    assert_eq!((cache.stats().live, tally.reset.get()), (0, 3 * SLAB));
    *tally.on_reset.borrow_mut() = None;
    let again: Vec<_> = (0..3 * SLAB).map(|_| cache.try_alloc().unwrap()).collect();
    again.iter().for_each(|item| item.check());
    assert!(cache.stats().slabs <= 4, "what was destroyed is made anew where it was");
    drop(again);
    drop(cache);
    assert_eq!((tally.alive(), tally.made.get()), (0, tally.destroyed.get()));
}

#[test]
fn a_reset_that_panics_costs_its_object_and_no_other() {
    everywhere!(resets);
}

/// The destructor of one object in each slab panics: each `reap` gets one slab further.
fn reaps<S: SlabSystem, L: Lock, const FRONT: usize>(source: S::Source) {
    NOW.set(0);
    let tally = Tally::default();
    let cache = cache::<S, L, WorkingSet<Hand, 10>, FRONT>(source, &tally);
    let fill = || drop((0..6 * SLAB).map(|_| cache.try_alloc().unwrap()).collect::<Vec<_>>());
    fill();
    cache.tick();
    *tally.on_destroy.borrow_mut() = Some(Box::new(|item| panic_if(item.number % SLAB == 3)));
    for left in (3..6).rev() {
        panics(|| {
            let _ = cache.reap();
        });
        assert_eq!((cache.stats().slabs, tally.alive()), (left, left * SLAB), "a whole slab, and no other");
        cache.verify().unwrap();
    }
    panics(|| {
        let _ = cache.trim(1);
    });
    assert_eq!((cache.stats().slabs, tally.alive()), (2, 2 * SLAB));
    for left in [1, 0] {
        NOW.set(NOW.get() + 10);
        panics(|| {
            let _ = cache.tick();
        });
        assert_eq!((cache.stats().slabs, tally.alive()), (left, left * SLAB));
    }
    assert_eq!(cache.reap(), 0);
    *tally.on_destroy.borrow_mut() = None;
    fill();
    cache.verify().unwrap();
    drop(cache);
    assert_eq!(tally.alive(), 0);
}

/// The destructor panics in the free that gives its slab back, and where an object is destroyed by its user.
fn frees<S: SlabSystem, L: Lock, const FRONT: usize>(source: S::Source) {
    let tally = Tally::default();
    let cache = cache::<S, L, ReleaseAtOnce, FRONT>(source, &tally);
    let mut items: Vec<_> = (0..3 * SLAB).map(|_| cache.try_alloc().unwrap()).collect();
    *tally.on_destroy.borrow_mut() = Some(Box::new(|item| panic_if(item.number % SLAB == 3)));
    let third = items.remove(3);
    panics(|| Obj::destroy(third));
    assert_eq!((cache.stats().live, tally.alive()), (3 * SLAB - 1, 3 * SLAB - 1));
    let mut panicked = 0;
    for item in items {
        if catch_unwind(AssertUnwindSafe(|| drop(item))).is_err() {
            panicked += 1;
        }
        cache.verify().unwrap();
    }
    while catch_unwind(AssertUnwindSafe(|| cache.reap())).is_err() {
        panicked += 1;
    }
    assert_eq!(panicked, 2, "one of each slab, and the first was destroyed before");
    assert_eq!((cache.stats().live, cache.stats().slabs, tally.alive()), (0, 0, 0));
}

/// The destructor panics when the cache goes.
fn ends<S: SlabSystem, L: Lock, const FRONT: usize>(source: S::Source) {
    let tally = Tally::default();
    let cache = cache::<S, L, KeepAll, FRONT>(source, &tally);
    drop((0..6 * SLAB).map(|_| cache.try_alloc().unwrap()).collect::<Vec<_>>());
    *tally.on_destroy.borrow_mut() = Some(Box::new(|item| panic_if(item.number == 2 * SLAB + 3)));
    panics(|| drop(cache));
    assert_eq!((tally.alive(), tally.destroyed.get()), (0, 6 * SLAB));
}

#[test]
fn a_destructor_that_panics_stops_neither_its_slab_nor_the_cache() {
    everywhere!(reaps);
    everywhere!(frees);
    everywhere!(ends);
}

/// A cache that goes while objects are leaked: these stay whole, all others are destroyed, and their slabs go back. Also when it goes because of
/// a panic.
fn leaks<S: SlabSystem, L: Lock, const FRONT: usize>(ledger: &Ledger, source: S::Source, unwinding: bool) {
    let tally = Tally::default();
    let mut leaked = Vec::new();
    let blocks = ledger.blocks();
    let work = AssertUnwindSafe(|| {
        let cache = cache::<S, L, KeepAll, FRONT>(source, &tally);
        let items: Vec<_> = (0..10 * SLAB).map(|_| cache.try_alloc().unwrap()).collect();
        for (number, item) in items.into_iter().enumerate() {
            match number {
                // All of one slab, one of another; at the start, for which the front does not matter.
                7..14 | 30 => leaked.push(Obj::into_raw(item)),
                _ => drop(item),
            }
        }
        assert_eq!(cache.stats().live, 8);
        panic_if(unwinding);
    });
    match catch_unwind(work) {
        Ok(()) => assert!(!unwinding),
        Err(panic) => assert!(unwinding && panic.is::<Intended>()),
    }
    assert_eq!((tally.alive(), tally.destroyed.get()), (8, 10 * SLAB - 8));
    for object in &leaked {
        // SAFETY: leaked objects stay as they are for good.
        let item = unsafe { object.as_ref() };
        item.check();
    }
    // Where slabs lie in regions of two there are other numbers of objects in them, if a word has 64 bits.
    let slabs = if <S::Source as BackingSource>::LAZY && usize::BITS > 32 { 3 } else { 2 };
    assert_eq!(ledger.blocks() - blocks, slabs);
    for object in leaked {
        // SAFETY: nobody else uses or drops it; its memory stays.
        unsafe { object.drop_in_place() };
    }
    assert_eq!(tally.alive(), 0);
}

#[test]
fn leaked_objects_survive_their_cache() {
    for unwinding in [false, true] {
        let ledger = Ledger::default();
        leaks::<AlignedSlabs<Via<'_>, 1024>, NoLock, 0>(&ledger, ledger.source(), unwinding);
        leaks::<AlignedSlabs<Via<'_>, 1024, IndexStack>, SpinLock, 3>(&ledger, ledger.source(), unwinding);
        leaks::<LargeSlabs<Via<'_>, 1024>, StdLock, 32>(&ledger, ledger.source(), unwinding);
        leaks::<LargeSlabs<Via<'_>, 1024, IndexStack>, NoLock, 1>(&ledger, ledger.source(), unwinding);
        leaks::<AlignedSlabs<Via<'_, true>, 1024>, NoLock, 2>(&ledger, ledger.source(), unwinding);
        assert_eq!(ledger.faults(), Vec::<String>::new());
    }
}
