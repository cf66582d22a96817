//! Which slabs to keep when all their objects are free.

use core::marker::PhantomData;

use super::clock::Clock;
use crate::describe::{describe_leaf, name};

/// How many slabs without live objects a cache keeps.
///
/// A policy is asked when a slab's last object has come back, and told when such a slab is used again. Whatever it says, `trim` and `reap` of the
/// cache give memory back at any time, and `tick` asks it again without a free.
///
/// # Safety
/// No method unwinds or uses the cache.
///
/// ```
/// use heapwright::cache::{KeepSlabs, Retention};
/// let mut two = KeepSlabs::<2>::NEW;
/// assert_eq!((two.surplus(1), two.surplus(5)), (0, 3));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a heapwright retention policy",
    label = "this type parameter takes `KeepAll`, `ReleaseAtOnce`, `KeepSlabs<N>` or `WorkingSet<Clock>`",
    note = "or implement `heapwright::cache::Retention`"
)]
pub unsafe trait Retention {
    /// The policy at the start.
    const NEW: Self;

    /// Called when slabs have become free, and by `tick`: of `free` slabs without live objects, how many are to go? More than `free` means all.
    fn surplus(&mut self, free: usize) -> usize;

    /// Called when a free slab is used again: `free` are left.
    #[inline]
    fn used(&mut self, free: usize) {
        let _ = free;
    }
}

/// Keeps every slab until `trim`, `reap`, or the end of the cache. The default: the fastest, and memory is reused by this cache only.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepAll;

// SAFETY: nothing unwinds or uses a cache.
unsafe impl Retention for KeepAll {
    const NEW: Self = KeepAll;

    #[inline(always)]
    fn surplus(&mut self, _: usize) -> usize {
        0
    }
}

/// Keeps no slab without live objects: for small memory that many caches share.
///
/// Objects that a cache has at hand keep their slabs; `FRONT` of 0 leaves none.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReleaseAtOnce;

// SAFETY: nothing unwinds or uses a cache.
unsafe impl Retention for ReleaseAtOnce {
    const NEW: Self = ReleaseAtOnce;

    #[inline(always)]
    fn surplus(&mut self, free: usize) -> usize {
        free
    }
}

/// Keeps at most `N` slabs without live objects.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepSlabs<const N: usize>;

// SAFETY: nothing unwinds or uses a cache.
unsafe impl<const N: usize> Retention for KeepSlabs<N> {
    const NEW: Self = KeepSlabs;

    #[inline(always)]
    fn surplus(&mut self, free: usize) -> usize {
        free.saturating_sub(N)
    }
}

/// Keeps the working set: the free slabs that were needed at some moment of the last period of `MILLISECONDS`.
///
/// What stayed free for a whole period goes at its end (Bonwick 1994, who took 15 seconds). The clock is read once for each slab that becomes
/// free, and by `tick`, so that a program that has gone quiet can give memory back from a timer.
///
/// ```
/// use core::sync::atomic::{AtomicU64, Ordering};
/// use heapwright::cache::{Clock, Retention, WorkingSet};
/// static NOW: AtomicU64 = AtomicU64::new(0);
/// struct Test;
/// // SAFETY: an atomic load neither unwinds nor uses a cache.
/// unsafe impl Clock for Test {
///     fn now() -> u64 {
///         NOW.load(Ordering::Relaxed)
///     }
/// }
/// let mut set = WorkingSet::<Test, 15_000>::NEW;
/// assert_eq!(set.surplus(4), 0, "the first period begins");
/// set.used(2); // at some moment only two were left over
/// NOW.store(15_000, Ordering::Relaxed);
/// assert_eq!(set.surplus(4), 2);
/// ```
#[derive(Debug)]
pub struct WorkingSet<C, const MILLISECONDS: u64 = 15_000> {
    /// Fewest free slabs in this period.
    fewest: usize,
    /// When the period began; `None` before the first slab became free.
    since: Option<u64>,
    clock: PhantomData<fn() -> C>,
}

// SAFETY: nothing unwinds or uses a cache, the clock included.
unsafe impl<C: Clock, const MILLISECONDS: u64> Retention for WorkingSet<C, MILLISECONDS> {
    const NEW: Self = WorkingSet { fewest: 0, since: None, clock: PhantomData };

    fn surplus(&mut self, free: usize) -> usize {
        let now = C::now();
        match self.since {
            Some(since) if now.saturating_sub(since) < MILLISECONDS => 0,
            Some(_) => {
                let gone = self.fewest.min(free);
                self.since = Some(now);
                self.fewest = free - gone;
                gone
            }
            None => {
                self.since = Some(now);
                self.fewest = free;
                0
            }
        }
    }

    #[inline]
    fn used(&mut self, free: usize) {
        self.fewest = self.fewest.min(free);
    }
}

describe_leaf!(KeepAll, "KeepAll");
describe_leaf!(ReleaseAtOnce, "ReleaseAtOnce");
describe_leaf!([const N: usize] KeepSlabs<N>, "KeepSlabs, {N} at most");
describe_leaf!(
    [C, const MILLISECONDS: u64] WorkingSet<C, MILLISECONDS>,
    "WorkingSet of the last {MILLISECONDS} ms by {}",
    name::<C>()
);
