//! A cache that keeps its working set gives back, at the end of a period, what it did not need in that period.

use std::sync::atomic::{AtomicU64, Ordering};

use heapwright::arena::StaticArena;
use heapwright::cache::{Clock, DefaultInit, ObjectCache, WorkingSet};
use heapwright::lock::{NoLock, SpinLock};
use heapwright::sizing::Sizing128KiB;
use heapwright::slab::AlignedSlabs;

const PERIOD: u64 = 10;

static NOW: AtomicU64 = AtomicU64::new(0);

struct Test;

// SAFETY: an atomic load neither unwinds nor uses a cache.
unsafe impl Clock for Test {
    fn now() -> u64 {
        NOW.load(Ordering::Relaxed)
    }
}

type Arena = StaticArena<{ 64 << 10 }, Sizing128KiB, SpinLock>;
static ARENA: Arena = StaticArena::new();
type Cache =
    ObjectCache<String, DefaultInit, AlignedSlabs<&'static Arena, 1024>, NoLock, WorkingSet<Test, PERIOD>>;

/// The objects at hand make a slab free when `tick` puts them back; that must not make it forget what else is to go.
#[test]
fn a_tick_gives_back_what_was_not_needed() {
    let cache = Cache::new(&ARENA, DefaultInit);
    let burst: Vec<_> = (0..400).map(|_| cache.alloc().unwrap()).collect();
    let slabs = cache.stats().slabs;
    assert!(slabs > 8);
    drop(burst);
    assert!(cache.stats().at_hand > 0);
    // The period in which the burst ended: its slabs were needed when it began, but for the first that became free.
    NOW.store(PERIOD, Ordering::Relaxed);
    assert_eq!((cache.tick(), cache.stats().slabs), (1, slabs - 1));

    // Light traffic, of one slab at a time.
    let some: Vec<_> = (0..20).map(|_| cache.alloc().unwrap()).collect();
    drop(some);
    NOW.store(2 * PERIOD, Ordering::Relaxed);
    let gone = cache.tick();
    assert!(gone >= slabs - 3, "{gone} of {slabs} slabs gone");
    assert!(cache.stats().slabs >= 1, "what the light traffic needs stays");

    NOW.store(3 * PERIOD, Ordering::Relaxed);
    cache.tick();
    NOW.store(4 * PERIOD, Ordering::Relaxed);
    cache.tick();
    assert_eq!(cache.stats().slabs, 0, "nothing was needed for a whole period");
}
