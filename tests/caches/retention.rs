//! How often objects are made and destroyed, and when memory goes back: by `trim`, `reap`, `tick`, and by each policy.

use std::alloc::Layout;
use std::cell::Cell;

use heapwright::cache::{
    Classes, Clock, DefaultInit, Exactly, FnInit, For, KeepAll, KeepSlabs, Obj, ObjectAlloc, ObjectCache,
    ReleaseAtOnce, Retention, SlabCache, SlabHeap, UntypedObjectAlloc, WorkingSet,
};
use heapwright::heap::{Locked, NoHeap, SharedHeap};
use heapwright::lock::NoLock;
use heapwright::slab::{AlignedSlabs, LargeSlabs, SlabSystem};
use heapwright::source::GlobalHeap;

use crate::items::{Item, Tally};
use crate::ledger::{Ledger, Via};

/// Items in a slab of 1 KiB.
const SLAB: usize = 7;

type Small<'a> = AlignedSlabs<Via<'a>, 1024>;
type SmallLarge<'a> = LargeSlabs<Via<'a>, 1024>;

/// A cache of items over slabs of seven.
fn cache<'t, S: SlabSystem, R: Retention, const FRONT: usize>(
    source: S::Source,
    tally: &'t Tally,
) -> ObjectCache<Item<'t>, FnInit<impl Fn() -> Item<'t>>, S, NoLock, R, FRONT> {
    ObjectCache::new(source, FnInit(|| tally.make()))
}

/// So many objects.
fn filled<'c, 't, C: ObjectAlloc<Item<'t>>>(cache: &'c C, count: usize) -> Vec<Obj<'c, Item<'t>, C>> {
    let taken: Vec<_> = (0..count).map(|_| Obj::new(cache).unwrap()).collect();
    taken.iter().for_each(|item| item.check());
    taken
}

thread_local! {
    pub(crate) static NOW: Cell<u64> = const { Cell::new(0) };
}

/// A clock that a test moves.
#[derive(Debug)]
pub(crate) struct Hand;

// SAFETY: it neither unwinds nor uses a cache.
unsafe impl Clock for Hand {
    fn now() -> u64 {
        NOW.get()
    }
}

type Second = WorkingSet<Hand, 1000>;

/// Cycles of taking and freeing make no more objects than were ever out at once, and destroy none.
fn cycles<S: SlabSystem, const FRONT: usize>(source: S::Source) {
    let tally = Tally::default();
    let cache = cache::<S, KeepAll, FRONT>(source, &tally);
    for round in 0..50 {
        let most = [1, 7, 30, 3, 50][round % 5];
        let mut items = filled(&cache, most);
        if round % 3 == 0 {
            items.reverse();
        }
        drop(items);
        cache.verify().unwrap();
        assert_eq!(cache.stats().live, 0);
    }
    // A raw object is taken only where no constructed one is in the slab in use.
    assert!(tally.made.get() >= 50 && tally.made.get() <= cache.stats().capacity);
    let made = tally.made.get();
    assert_eq!(tally.calls.get(), made);
    for _ in 0..1000 {
        drop(cache.alloc().unwrap());
    }
    assert_eq!((tally.made.get(), tally.destroyed.get()), (made, 0));
    let slabs = cache.stats().slabs;
    assert_eq!(cache.reap(), slabs);
    assert_eq!((tally.destroyed.get(), tally.alive()), (made, 0));
    assert_eq!(cache.stats().slabs, 0);
    drop(filled(&cache, 1));
    assert_eq!(tally.made.get(), made + 1, "what was destroyed is made anew");
    drop(cache);
    assert_eq!(tally.alive(), 0);
}

/// Calls a generic function for each length of the front.
macro_rules! with_fronts {
    ($function:ident :: <$system:ty> ($source:expr)) => {
        $function::<$system, 0>($source);
        $function::<$system, 1>($source);
        $function::<$system, 2>($source);
        $function::<$system, 3>($source);
        $function::<$system, 32>($source);
    };
}

/// Runs a generic function over both systems and all fronts; every block must be back at the end.
macro_rules! everywhere {
    ($function:ident) => {
        let ledger = Ledger::default();
        with_fronts!($function::<Small<'_>>(ledger.source()));
        with_fronts!($function::<SmallLarge<'_>>(ledger.source()));
        assert_eq!((ledger.blocks(), ledger.faults()), (0, vec![]));
    };
}

#[test]
fn cycles_make_and_destroy_nothing() {
    everywhere!(cycles);
}

/// `trim(keep)` leaves that many free slabs, destroys what was in the others, and no live object.
fn trims<S: SlabSystem, const FRONT: usize>(source: S::Source) {
    let tally = Tally::default();
    let cache = cache::<S, KeepAll, FRONT>(source, &tally);
    let mut items = filled(&cache, 6 * SLAB);
    assert_eq!(cache.stats().slabs, 6);
    items.truncate(1);
    assert_eq!(cache.trim(usize::MAX), 0);
    assert_eq!((cache.stats().free_slabs, tally.destroyed.get()), (5, 0));
    assert_eq!(cache.trim(3), 2);
    assert_eq!((cache.stats().free_slabs, cache.stats().slabs, tally.destroyed.get()), (3, 4, 2 * SLAB));
    assert_eq!(cache.trim(3), 0);
    assert_eq!(cache.reap(), 3);
    assert_eq!(
        (cache.stats().slabs, tally.alive()),
        (1, SLAB),
        "the live one's slab stays, with its objects"
    );
    items[0].check();
    drop(items);
    assert_eq!(cache.reap(), 1);
    assert_eq!((cache.stats().slabs, tally.alive()), (0, 0));
    assert_eq!(cache.reap(), 0);
}

#[test]
fn trim_keeps_what_it_is_told() {
    everywhere!(trims);
}

/// Raw caches count the slabs that go, whoever releases them.
fn raw_trims<S: SlabSystem, const FRONT: usize>(source: S::Source) {
    let layout = Layout::new::<[u64; 16]>();
    let cache: SlabCache<S, NoLock, For<[u64; 16]>, ReleaseAtOnce, FRONT> = SlabCache::over(source);
    let blocks: Vec<_> = (0..SLAB).map(|_| cache.try_alloc(layout).unwrap().cast::<u8>()).collect();
    for block in blocks {
        // SAFETY: the block is live.
        unsafe { cache.free(block, layout) };
    }
    let slabs = cache.stats().slabs;
    assert_eq!(slabs, usize::from(FRONT > 0), "objects at hand keep their slab");
    assert_eq!(cache.reap(), slabs, "all that went are counted");
    assert_eq!(cache.stats().slabs, 0);
}

#[test]
fn reap_counts_what_the_policy_releases() {
    everywhere!(raw_trims);
}

/// Nothing is given back while `KeepAll` is asked, nor by its `tick`.
fn keeps_all<S: SlabSystem, const FRONT: usize>(source: S::Source) {
    let tally = Tally::default();
    let cache = cache::<S, KeepAll, FRONT>(source, &tally);
    drop(filled(&cache, 10 * SLAB));
    assert_eq!(cache.tick(), 0);
    assert_eq!((cache.stats().slabs, tally.destroyed.get()), (10, 0));
}

/// `ReleaseAtOnce` has no free slab after any call.
fn releases_at_once<S: SlabSystem, const FRONT: usize>(source: S::Source) {
    let tally = Tally::default();
    let cache = cache::<S, ReleaseAtOnce, FRONT>(source, &tally);
    let mut items = filled(&cache, 10 * SLAB);
    while items.pop().is_some() {
        let stats = cache.stats();
        assert_eq!(stats.free_slabs, 0);
        let needed = (items.len() + FRONT).div_ceil(SLAB) + 2;
        assert!(stats.slabs <= needed, "{} slabs for {} items", stats.slabs, items.len());
        cache.verify().unwrap();
    }
    assert_eq!(cache.stats().slabs == 0, FRONT == 0);
    let slabs = cache.stats().slabs;
    assert_eq!(cache.tick(), slabs, "those at hand go back first");
    assert_eq!((cache.stats().slabs, tally.alive()), (0, 0));
}

/// `KeepSlabs` has never more free ones than it keeps, and those it has.
fn keeps_slabs<S: SlabSystem, const FRONT: usize>(source: S::Source) {
    let tally = Tally::default();
    let cache = cache::<S, KeepSlabs<2>, FRONT>(source, &tally);
    for _ in 0..3 {
        let mut items = filled(&cache, 10 * SLAB);
        while items.pop().is_some() {
            assert!(cache.stats().free_slabs <= 2);
        }
        cache.tick();
        assert_eq!((cache.stats().slabs, cache.stats().free_slabs), (2, 2));
        assert_eq!(tally.alive(), 2 * SLAB);
    }
    assert_eq!(cache.trim(1), 1);
    assert_eq!(cache.reap(), 1);
}

/// What `trim` keeps is kept: the policy's wishes from before it are done with.
fn keeps_what_trim_leaves<S: SlabSystem, const FRONT: usize>(source: S::Source) {
    let tally = Tally::default();
    let cache = cache::<S, KeepSlabs<2>, FRONT>(source, &tally);
    let mut items = filled(&cache, 4 * SLAB);
    let stay = items.split_off(3 * SLAB);
    drop(items);
    cache.trim(2);
    assert_eq!(cache.stats().free_slabs, 2);
    drop(stay);
    let free = cache.stats().free_slabs;
    assert_eq!(free, 2, "neither the policy nor `trim` wants fewer");
}

#[test]
fn policies_keep_to_their_numbers() {
    everywhere!(keeps_all);
    everywhere!(releases_at_once);
    everywhere!(keeps_slabs);
    everywhere!(keeps_what_trim_leaves);
}

/// `WorkingSet` gives back what stayed free for a whole period, and only then: by a free that empties a slab, or by `tick`.
fn works_in_sets<S: SlabSystem, const FRONT: usize>(source: S::Source) {
    NOW.set(5);
    let tally = Tally::default();
    let cache = cache::<S, Second, FRONT>(source, &tally);
    drop(filled(&cache, 10 * SLAB));
    assert_eq!(cache.tick(), 0, "the first period began with the first free slab");
    assert_eq!((cache.stats().free_slabs, tally.destroyed.get()), (10, 0));
    NOW.set(1005);
    assert_eq!(cache.tick(), 1, "that one was free all the time");
    // Four slabs' worth, and what is at hand, is needed again and again.
    for step in 1..4 {
        NOW.set(1005 + step * 300);
        drop(filled(&cache, 4 * SLAB));
        assert_eq!(cache.tick(), 0, "in the middle of a period");
        assert_eq!(cache.stats().slabs, 9);
    }
    NOW.set(2005);
    let gone = cache.tick();
    assert!((4..=5).contains(&gone), "{gone} slabs of nine, of which four or five were needed");
    assert_eq!((cache.stats().slabs, cache.stats().free_slabs), (9 - gone, 9 - gone));
    assert_eq!(tally.destroyed.get(), (1 + gone) * SLAB);
    // The program has gone quiet: one more period.
    NOW.set(3004);
    assert_eq!(cache.tick(), 0);
    NOW.set(3005);
    assert_eq!(cache.tick(), 9 - gone);
    assert_eq!((cache.stats().slabs, tally.alive()), (0, 0));
}

/// A slab that becomes free in the very call that ends the period does not save the others.
fn sets_end_with_a_flush<S: SlabSystem, const FRONT: usize>(source: S::Source) {
    NOW.set(0);
    let tally = Tally::default();
    let cache = cache::<S, Second, FRONT>(source, &tally);
    drop(filled(&cache, 10 * SLAB));
    cache.tick();
    NOW.set(1000);
    assert_eq!(cache.tick(), 1);
    // One object out of its slab, from now on at hand or back.
    drop(filled(&cache, 1));
    NOW.set(2000);
    assert_eq!(cache.tick(), 8);
    NOW.set(3000);
    assert_eq!(cache.tick(), 1);
    assert_eq!(tally.alive(), 0);
}

#[test]
fn working_sets_go_by_the_clock() {
    everywhere!(works_in_sets);
    everywhere!(sets_end_with_a_flush);
}

/// A policy works through frees alone, without a `tick`.
#[test]
fn a_busy_cache_gives_back_without_a_tick() {
    NOW.set(0);
    let ledger = Ledger::default();
    let tally = Tally::default();
    let cache = cache::<Small<'_>, Second, 3>(ledger.source(), &tally);
    drop(filled(&cache, 10 * SLAB));
    for time in 0..3000 {
        NOW.set(time);
        drop(filled(&cache, 2 * SLAB));
    }
    assert!(cache.stats().slabs <= 3, "{:?}", cache.stats());
    drop(cache);
    assert_eq!((tally.alive(), ledger.blocks(), ledger.faults()), (0, 0, vec![]));
}

/// Objects without a destructor are no reason to look into their slabs, and are made as often as others.
#[test]
fn plain_objects_are_made_once_as_well() {
    let ledger = Ledger::default();
    let cache = ObjectCache::<u64, DefaultInit, Small<'_>>::over(ledger.source());
    *cache.alloc().unwrap() = 7;
    assert_eq!(*cache.alloc().unwrap(), 7);
    assert_eq!(cache.reap(), 1);
    assert_eq!(*cache.alloc().unwrap(), 0);
    drop(cache);
    assert_eq!((ledger.blocks(), ledger.faults()), (0, vec![]));
}

/// A slab that goes back to a region of which others are in use is emptied, but for the region's headers; the last takes the region along.
#[test]
fn slabs_of_a_region_are_emptied() {
    thread_local! {
        static GONE: Cell<usize> = const { Cell::new(0) };
    }
    type Cache<'a> = SlabCache<AlignedSlabs<Via<'a, true>, 65536>, NoLock, Exactly<1024>, ReleaseAtOnce, 0>;
    let ledger = Ledger::default();
    ledger.watch.set(Some(|range| {
        GONE.set(GONE.get() + range.len());
        None
    }));
    let cache = Cache::over(ledger.source());
    let mut objects: Vec<_> = (0..130).map(|_| cache.alloc_slot().unwrap()).collect();
    objects.sort_unstable();
    let slabs: Vec<_> =
        objects.chunk_by(|one, next| one.addr().get() >> 16 == next.addr().get() >> 16).collect();
    let gone = slabs.into_iter().map(|slab| {
        // SAFETY: they are live, all different, and not used any more.
        unsafe { cache.free_slots(slab) };
        GONE.take()
    });
    assert_eq!(gone.collect::<Vec<_>>(), [65_536 - 4096, 65_536, 2 << 20]);
    assert_eq!((ledger.faults(), ledger.blocks()), (vec![], 0));
}

/// A heap of many caches asks the policy of each.
#[test]
fn a_heap_of_slabs_gives_back_what_its_policies_say() {
    NOW.set(0);
    let heap = Locked::<_, NoLock>::new(
        SlabHeap::<Classes, AlignedSlabs<GlobalHeap, 65536>, _, Second, 0>::new(GlobalHeap, NoHeap),
    );
    let layouts = [Layout::new::<[u64; 2]>(), Layout::new::<[u64; 20]>()];
    for layout in layouts {
        let block = heap.try_alloc(layout).unwrap();
        // SAFETY: the block is live, and its layout this one.
        unsafe { heap.free(block.cast(), layout) };
    }
    assert_eq!((heap.tick(), heap.stats().slabs), (0, 2), "the first period has begun");
    NOW.set(999);
    assert_eq!((heap.tick(), heap.stats().slabs), (0, 2));
    NOW.set(1000);
    assert_eq!((heap.tick(), heap.stats().slabs), (2, 0), "each was free all the time");
    let block = heap.try_alloc(layouts[0]).unwrap();
    assert_eq!(heap.reap(), 0, "there is a block in it");
    // SAFETY: the block is live, and its layout this one.
    unsafe { heap.free(block.cast(), layouts[0]) };
    assert_eq!((heap.reap(), heap.stats().slabs), (1, 0));
}

/// A slab that is used again does not wait to be released.
#[test]
fn what_is_used_again_is_not_released_for_what_was() {
    let cache: ObjectCache<[u64; 16], DefaultInit, AlignedSlabs<GlobalHeap, 1024>, NoLock, KeepSlabs<1>, 32> =
        ObjectCache::over(GlobalHeap);
    let two = || -> Vec<_> { (0..2 * SLAB).map(|_| cache.alloc().unwrap()).collect() };
    drop(two());
    assert!(cache.chunks().count() > 0, "and what is at hand is back in its slabs");
    assert_eq!((cache.stats().slabs, cache.stats().free_slabs), (2, 2));
    let mut used = two();
    let slab = std::ptr::from_ref(&*used[0]).addr() & !1023;
    used.retain(|object| std::ptr::from_ref(&**object).addr() & !1023 == slab);
    assert_eq!(used.len(), SLAB);
    cache.tick();
    assert_eq!((cache.stats().slabs, cache.stats().free_slabs), (2, 1), "the policy keeps one");
}
