//! When the source has no more: an error, nothing changed, and no free object that can't be had.

use std::collections::HashSet;

use heapwright::cache::{
    CacheStats, DefaultInit, FnInit, Init, KeepAll, NewObjectError, Obj, ObjectCache, ReleaseAtOnce,
    Retention, UntypedObjectAlloc,
};
use heapwright::lock::{Lock, NoLock};
use heapwright::slab::{AlignedSlabs, Bitmap, IndexStack, LargeSlabs, SlabSystem};

use crate::items::{Item, Tally};
use crate::ledger::{Ledger, Via};

/// What an error may not change.
fn numbers(stats: CacheStats) -> [usize; 5] {
    [stats.live, stats.at_hand, stats.capacity, stats.slabs, stats.free_slabs]
}

/// An object, at the second try if the first fails, which then must have changed nothing.
fn insist<'c, 't, I, S, L, R, const FRONT: usize>(
    cache: &'c ObjectCache<Item<'t>, I, S, L, R, FRONT>,
    failures: &mut usize,
) -> Obj<'c, Item<'t>, ObjectCache<Item<'t>, I, S, L, R, FRONT>>
where
    I: Init<Item<'t>>,
    S: SlabSystem,
    L: Lock,
    R: Retention,
{
    let before = numbers(cache.stats());
    match cache.try_alloc() {
        Ok(object) => object,
        Err(error) => {
            assert!(matches!(error, NewObjectError::Alloc(_)));
            assert_eq!(numbers(cache.stats()), before);
            cache.verify().unwrap();
            *failures += 1;
            cache.try_alloc().map_err(|_| "refused again").unwrap()
        }
    }
}

/// Grows to a hundred objects, shrinks, and grows again; gives how many requests failed.
fn work<S: SlabSystem, R: Retention, const FRONT: usize>(source: S::Source) -> usize {
    let tally = Tally::default();
    let cache = ObjectCache::<_, _, S, NoLock, R, FRONT>::new(source, FnInit(|| tally.make()));
    let mut failures = 0;
    let mut items: Vec<_> = (0..100).map(|_| insist(&cache, &mut failures)).collect();
    items.iter().for_each(|item| item.check());
    let mut number = 0;
    items.retain(|_| {
        number += 1;
        number % 3 == 0 || number > 90
    });
    cache.reap();
    items.extend((0..80).map(|_| insist(&cache, &mut failures)));
    items.iter().for_each(|item| item.check());
    cache.verify().unwrap();
    drop(items);
    cache.reap();
    assert_eq!(tally.alive(), 0);
    failures
}

/// Has each request of the work fail once.
fn every_request_fails_once(work: fn(&Ledger) -> usize) {
    let ledger = Ledger::default();
    assert_eq!(work(&ledger), 0);
    let requests = ledger.requests.get();
    assert!(requests > 0);
    let mut failures = 0;
    for refused in 0..requests {
        let ledger = Ledger::default();
        ledger.refused.set(Some(refused));
        failures += work(&ledger);
        assert_eq!((ledger.blocks(), ledger.faults()), (0, vec![]), "request {refused} failed");
    }
    // Some are met by what is asleep.
    assert!(failures > 0 && failures <= requests);
}

#[test]
fn a_request_that_fails_changes_nothing() {
    every_request_fails_once(|ledger| work::<AlignedSlabs<Via<'_>, 1024>, KeepAll, 0>(ledger.source()));
    every_request_fails_once(|ledger| {
        work::<AlignedSlabs<Via<'_>, 1024, IndexStack>, ReleaseAtOnce, 3>(ledger.source())
    });
    every_request_fails_once(|ledger| {
        work::<AlignedSlabs<Via<'_, true>, 1024>, KeepAll, 32>(ledger.source())
    });
    every_request_fails_once(|ledger| work::<LargeSlabs<Via<'_>, 777>, KeepAll, 1>(ledger.source()));
    every_request_fails_once(|ledger| {
        work::<LargeSlabs<Via<'_>, 777, IndexStack>, ReleaseAtOnce, 0>(ledger.source())
    });
    every_request_fails_once(|ledger| {
        work::<LargeSlabs<Via<'_, true>, 777>, ReleaseAtOnce, 32>(ledger.source())
    });
}

/// Slabs of which less than an eighth is free are left alone while the source has more, and used when it has not: to the last object.
fn sleepers<S: SlabSystem, const FRONT: usize>(ledger: &Ledger, source: S::Source) {
    let cache = ObjectCache::<u64, DefaultInit, S, NoLock, KeepAll, FRONT>::over(source);
    let mut items = vec![cache.alloc().unwrap()];
    while cache.stats().slabs < 5 {
        items.push(cache.alloc().unwrap());
    }
    while cache.stats().capacity > items.len() {
        items.push(cache.alloc().unwrap());
    }
    for (number, item) in items.iter_mut().enumerate() {
        **item = number as u64;
    }
    // A few of each slab.
    let step = items.len() / 20;
    let mut number = 0;
    let mut freed = HashSet::new();
    items.retain(|item| {
        number += 1;
        let stays = number % step != 0;
        if !stays {
            freed.insert(**item);
        }
        stays
    });
    cache.reap();
    assert!(cache.slabs().all(|slab| slab.free * 8 < slab.capacity) && freed.len() > 10);
    let slabs = cache.stats().slabs;
    ledger.empty.set(true);
    let again: Vec<_> = (0..freed.len()).map(|_| cache.alloc().unwrap()).collect();
    assert_eq!(again.iter().map(|item| **item).collect::<HashSet<_>>(), freed, "each of them, as it was");
    for _ in 0..3 {
        assert!(cache.alloc().is_err());
        let mut out = [std::mem::MaybeUninit::uninit(); 4];
        assert!(cache.alloc_slots(&mut out).is_err());
    }
    cache.verify().unwrap();
    drop(again);
    cache.reap();
    ledger.empty.set(false);
    let one = cache.alloc().unwrap();
    assert_eq!((cache.stats().slabs, *one), (slabs + 1, 0), "a new slab is preferred");
    drop((one, items));
    cache.verify().unwrap();
}

#[test]
fn no_object_is_lost_in_slabs_that_sleep() {
    let ledger = Ledger::default();
    sleepers::<AlignedSlabs<Via<'_>, 1024, Bitmap>, 0>(&ledger, ledger.source());
    sleepers::<AlignedSlabs<Via<'_>, 1024, IndexStack>, 1>(&ledger, ledger.source());
    sleepers::<LargeSlabs<Via<'_>, 1000, Bitmap>, 2>(&ledger, ledger.source());
    sleepers::<LargeSlabs<Via<'_>, 1000, IndexStack>, 32>(&ledger, ledger.source());
    sleepers::<AlignedSlabs<Via<'_>, 4096, Bitmap>, 32>(&ledger, ledger.source());
    assert_eq!((ledger.blocks(), ledger.faults()), (0, vec![]));
}
