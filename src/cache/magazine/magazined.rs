//! The layer itself: a depot in front of a cache.

use core::fmt;
use core::mem;
use core::ptr::NonNull;

use super::depot::{Depot, MagazineStats};
use super::front::{Front, Magazine};
use super::handle::Handle;
use super::layer::{Layer, Place};
use crate::AllocError;
use crate::cache::UntypedObjectAlloc;
use crate::describe::{Cost, Describe, Tree};
use crate::lock::{Lock, SpinLock};

/// A cache with a magazine layer: fronts take and give slots without a lock, and exchange them with each other, `N` at a time, by
/// way of a depot that holds up to `M` magazines.
///
/// Choose it for a cache that several threads use often. [The module's docs](super) say how to get a front.
///
/// **Cost.** Alloc and free in a front: a load, a comparison, a load or store of the pointer, a store of the count. Once in at least
/// `N` operations of a front: one use of the depot's lock and a copy of `N` pointers, or if the depot can't help, one call of
/// the inner cache for `N` slots. Objects are not touched.
///
/// **Memory.** The depot's room is in the value: `N * M` words, 8 KiB as it is set by default on a 64-bit machine; a front
/// takes `2 * N + 1` words. What is free in there is not with the inner cache: up to `2 * N` slots for each front, and `N * M` for the
/// depot ([`reap`](Magazined::reap) and [`trim`](Magazined::trim) give the latter back). So for large objects take small magazines:
/// at 4 KiB each the default keeps up to 4 MiB in the depot. `M = 0` is allowed: no depot, whole magazines go to the inner cache.
///
/// **The cache behind** is asked for many slots at once, so it needs none at hand itself: an [`ObjectCache`](crate::cache::ObjectCache)
/// may have `FRONT = 0`. One that constructs its objects makes them one by one, as they are wanted: until there are enough, each
/// allocation that finds nothing at hand is a call of it.
///
/// **Threads.** It is `Sync` if cache and lock are. An object may be freed on any thread; it goes into the front of that one.
/// What was taken from [`cache`](Magazined::cache) itself may come back by way of a front, and the other way round. (As a slot, that is, or a block of a slot's
/// layout: where there are [red zones](crate::check::Checks::RED_ZONE), what a front gives has its zone behind the slot, wherever the block ends.)
///
/// **Checks.** A cache with a [policy](crate::check) looks at what a front hands on, and not at what goes from hand to hand within it.
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use heapwright::cache::{DefaultInit, Magazined, Obj, ObjectCache};
/// use heapwright::{lock::SpinLock, slab::AlignedSlabs, source::GlobalHeap};
///
/// type Lists = ObjectCache<Vec<u8>, DefaultInit, AlignedSlabs<GlobalHeap, 4096>, SpinLock>;
/// let lists: Magazined<Lists> = Magazined::new(ObjectCache::over(GlobalHeap));
/// std::thread::scope(|scope| {
///     for _ in 0..2 {
///         scope.spawn(|| {
///             let front = lists.handle();
///             let mut list = Obj::new(&front).unwrap();
///             list.reserve(100);
///             drop(list); // goes into the front
///             assert!(Obj::new(&front).unwrap().capacity() >= 100, "as it came back");
///         });
///     }
/// });
/// assert_eq!(lists.cache().stats().live, 0, "each handle has given back what it had");
/// # }
/// ```
///
/// It goes no further than its cache or its lock:
/// ```compile_fail,E0277
/// use heapwright::cache::{HeapSlots, Magazined};
/// use heapwright::{arena::StaticArena, lock::NoLock, sizing::Sizing4KiB};
/// fn shared<T: Sync>(_: &T) {}
/// let arena = StaticArena::<1024, Sizing4KiB, NoLock>::new();
/// let magazined: Magazined<_> = Magazined::new(HeapSlots::new(&arena, std::alloc::Layout::new::<u64>()));
/// shared(&magazined); // error: `NoLock` is not `Sync`
/// ```
pub struct Magazined<C, L = SpinLock, const N: usize = 64, const M: usize = 16>
where
    C: UntypedObjectAlloc,
    L: Lock,
{
    depot: Depot<L, N, M>,
    cache: C,
}

// SAFETY: the depot's slots are the cache's, and go with it to the other thread, as those do that are free in the cache.
unsafe impl<C: UntypedObjectAlloc + Send, L: Lock + Send, const N: usize, const M: usize> Send
    for Magazined<C, L, N, M>
{
}

// SAFETY: the depot's state is touched under its lock only, which may be shared (L1, L2). What it passes between threads are
// slots of the cache that are free: as the cache is `Sync`, a slot taken on one thread may be freed on another and be taken
// again there (so says `free_slot`), contents included. The depot lets nothing else happen.
unsafe impl<C: UntypedObjectAlloc + Sync, L: Lock + Sync, const N: usize, const M: usize> Sync
    for Magazined<C, L, N, M>
{
}

impl<C: UntypedObjectAlloc, L: Lock, const N: usize, const M: usize> Magazined<C, L, N, M> {
    /// Puts a depot, empty so far, in front of `cache`.
    #[must_use]
    pub const fn new(cache: C) -> Self {
        const { assert!(N > 0, "a magazine has room for one slot at least: take N > 0") };
        Magazined { depot: Depot::new(), cache }
    }

    /// A front of one's own. It is empty and costs nothing until it is used; what it holds comes back when it is dropped.
    #[inline]
    pub const fn handle(&self) -> Handle<'_, C, L, N, M> {
        Handle::new(self)
    }

    /// The cache behind the depot.
    pub const fn cache(&self) -> &C {
        &self.cache
    }

    /// What the layer has done and what the depot holds. O(1), under the depot's lock. All zero on re-entry.
    #[must_use]
    pub fn stats(&self) -> MagazineStats {
        self.depot.stats()
    }

    /// Gives all that the depot holds back to the inner cache, and says how many slots that were. Fronts keep theirs.
    ///
    /// When memory is short: `flush` the fronts that you can reach, then `reap`, then have the inner cache give up its free slabs.
    pub fn reap(&self) -> usize {
        self.give_back(M)
    }

    /// Gives back what the depot has not needed since the last `trim`: as many magazines as it has held at any time since
    /// then. Says how many slots that were.
    ///
    /// Call it now and then (each second, say, or each ten thousand requests) where load comes in waves. It is the depot's working
    /// set as Bonwick and Adams have it.
    pub fn trim(&self) -> usize {
        self.give_back(self.depot.idle())
    }

    /// Moves up to `magazines_max` magazines from the depot to the inner cache, one at a time.
    fn give_back(&self, magazines_max: usize) -> usize {
        let mut slots = 0;
        for _ in 0..magazines_max {
            let mut magazine = Magazine::new();
            if !self.depot.take(&mut magazine) {
                break;
            }
            slots += magazine.count;
            self.return_slots(&magazine);
        }
        slots
    }

    /// Gives a magazine's slots back to the inner cache. They are in no other place, and the caller forgets them.
    fn return_slots(&self, magazine: &Magazine<N>) {
        if magazine.count > 0 {
            // SAFETY: whatever a magazine holds is a free slot of the cache, in no other place.
            unsafe { self.cache.free_slots(magazine.as_slice()) };
        }
    }

    /// A slot from the inner cache, and more for the front.
    fn alloc_from_cache(&self, place: &impl Place<Layer = Self>) -> Result<NonNull<u8>, AllocError> {
        let mut fresh = Magazine::<N>::new();
        // A constructor may run in there, and use this very front.
        fresh.count = self.cache.alloc_slots(&mut fresh.slots)?;
        let (&first, rest) = fresh.as_slice().split_first().ok_or(AllocError)?;
        // In reverse, so that they are handed out in the order in which the cache gave them.
        let put = |front: &Front<N>| rest.iter().rev().take_while(|&&slot| front.push(slot)).count();
        let left = &rest[..rest.len() - place.visit(put).unwrap_or(0)];
        if !left.is_empty() {
            let held = Held { cache: &self.cache, slot: first };
            // SAFETY: they came from the cache just now, and the front has no room for them: a constructor has filled it.
            unsafe { self.cache.free_slots(left) };
            mem::forget(held);
        }
        Ok(first)
    }

    /// A slot where there is no front: from the inner cache, or if it has none, from the depot.
    fn alloc_without_front(&self) -> Result<NonNull<u8>, AllocError> {
        self.cache
            .alloc_slot()
            .or_else(|error| if self.give_back(1) > 0 { self.cache.alloc_slot() } else { Err(error) })
    }
}

/// A slot that goes back when this is dropped: if the cache unwinds, in a destructor.
struct Held<'a, C: UntypedObjectAlloc> {
    cache: &'a C,
    /// A slot of the cache that is in no other place.
    slot: NonNull<u8>,
}

impl<C: UntypedObjectAlloc> Drop for Held<'_, C> {
    fn drop(&mut self) {
        // SAFETY: the field's invariant.
        unsafe { self.cache.free_slot(self.slot) };
    }
}

impl<C: UntypedObjectAlloc, L: Lock, const N: usize, const M: usize> Layer for Magazined<C, L, N, M> {
    type Cache = C;
    type Lock = L;
    type Front = Front<N>;

    const FRONT: Front<N> = Front::new();

    #[inline(always)]
    fn inner(&self) -> &C {
        &self.cache
    }

    #[inline(always)]
    fn pop(front: &Front<N>) -> Option<NonNull<u8>> {
        front.pop()
    }

    #[inline(always)]
    fn push(front: &Front<N>, slot: NonNull<u8>) -> bool {
        front.push(slot)
    }

    #[cold]
    #[inline(never)]
    fn alloc_slow(&self, place: &impl Place<Layer = Self>) -> Result<NonNull<u8>, AllocError> {
        match place.visit(|front| self.depot.pop_through(front)) {
            Some(Some(slot)) => Ok(slot),
            Some(None) => self.alloc_from_cache(place),
            None => self.alloc_without_front(),
        }
    }

    #[cold]
    #[inline(never)]
    unsafe fn free_slow(&self, place: &impl Place<Layer = Self>, slot: NonNull<u8>) {
        let mut older = Magazine::new();
        let put = |front: &Front<N>| {
            if front.has_no_room() && !self.depot.unload(front) {
                older.count = front.unload(&mut older.slots);
            }
            front.push(slot)
        };
        if place.visit(put) != Some(true) {
            // SAFETY: the caller's promise is the same, and no front has it.
            unsafe { self.cache.free_slot(slot) };
        }
        self.return_slots(&older);
    }

    #[cold]
    #[inline(never)]
    fn drain(&self, place: &impl Place<Layer = Self>) {
        // A front holds two magazines. Both come out before either goes back: what user code in the inner cache puts in may stay, and if
        // it unwinds, the second goes back all the same.
        let returned = || Returned { layer: self, magazine: Magazine::new() };
        let mut both = [returned(), returned()];
        for older in &mut both {
            place.peek(|front| {
                if !self.depot.unload(front) {
                    older.magazine.count = front.unload(&mut older.magazine.slots);
                }
            });
        }
    }
}

/// A magazine whose slots go back to the inner cache when this is dropped.
struct Returned<'a, C: UntypedObjectAlloc, L: Lock, const N: usize, const M: usize> {
    layer: &'a Magazined<C, L, N, M>,
    magazine: Magazine<N>,
}

impl<C: UntypedObjectAlloc, L: Lock, const N: usize, const M: usize> Drop for Returned<'_, C, L, N, M> {
    fn drop(&mut self) {
        self.layer.return_slots(&self.magazine);
    }
}

impl<C: UntypedObjectAlloc, L: Lock, const N: usize, const M: usize> Drop for Magazined<C, L, N, M> {
    fn drop(&mut self) {
        /// Goes on with the other magazines when a destructor has unwound.
        struct Rest<'a, C: UntypedObjectAlloc, L: Lock, const N: usize, const M: usize>(
            &'a Magazined<C, L, N, M>,
        );
        impl<C: UntypedObjectAlloc, L: Lock, const N: usize, const M: usize> Drop for Rest<'_, C, L, N, M> {
            fn drop(&mut self) {
                self.0.reap();
            }
        }
        let rest = Rest(self);
        rest.0.reap();
    }
}

impl<C: UntypedObjectAlloc + Default, L: Lock, const N: usize, const M: usize> Default
    for Magazined<C, L, N, M>
{
    fn default() -> Self {
        Magazined::new(C::default())
    }
}

impl<C, L, const N: usize, const M: usize> fmt::Debug for Magazined<C, L, N, M>
where
    C: UntypedObjectAlloc + fmt::Debug,
    L: Lock + fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Magazined").field("cache", &self.cache).field("depot", &self.depot).finish()
    }
}

impl<C, L, const N: usize, const M: usize> Describe for Magazined<C, L, N, M>
where
    C: UntypedObjectAlloc + Describe,
    L: Lock + Describe,
{
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let cost = Cost::state_around::<Self, (C, L)>();
        tree.part(
            format_args!("Magazined, a depot of {M} magazines of {N} slots"),
            cost,
            &[("lock", L::describe), ("cache", C::describe)],
        )
    }
}
