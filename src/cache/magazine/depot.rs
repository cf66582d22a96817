//! The depot: whole magazines that are in no front.

use core::cell::UnsafeCell;
use core::fmt;
use core::ptr::NonNull;

use super::front::{Front, Magazine, Room, VACANT};
use crate::lock::Lock;

/// What the magazine layer has done, counted where it leaves the fast path, and what its depot holds.
///
/// Each of the four counts is one visit to the depot, that is, one use of its lock. For rates, divide by the number of objects: with
/// magazines of `N` slots there is at most one visit in `N` operations of a front.
///
/// ```
/// use heapwright::cache::MagazineStats;
/// assert_eq!(MagazineStats::default().magazines, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MagazineStats {
    /// How often an empty front got a magazine from the depot.
    pub loads: usize,
    /// How often the depot had none for an empty front, so that the inner cache was asked.
    pub load_misses: usize,
    /// How often the depot took a magazine from a front.
    pub unloads: usize,
    /// How often the depot had no room for a front's magazine, so that the inner cache got the slots.
    pub unload_misses: usize,
    /// How many magazines the depot holds now.
    pub magazines: usize,
    /// The least that it has held since the last [`trim`](super::Magazined::trim).
    pub magazines_min: usize,
}

/// Up to `M` whole magazines of `N` slots behind a lock.
pub(super) struct Depot<L, const N: usize, const M: usize> {
    lock: L,
    /// Touched only under `lock`.
    state: UnsafeCell<State<N, M>>,
}

struct State<const N: usize, const M: usize> {
    /// `magazines` is at most `M`.
    stats: MagazineStats,
    /// The first `stats.magazines` are whole: `N` pointers each to free slots of the cache that are in no other place.
    magazines: [[Room; N]; M],
}

impl<const N: usize, const M: usize> State<N, M> {
    /// The magazine that came last.
    fn pop(&mut self) -> Option<&[Room; N]> {
        let top = self.stats.magazines.checked_sub(1)?;
        self.stats.magazines = top;
        self.stats.magazines_min = self.stats.magazines_min.min(top);
        Some(&self.magazines[top])
    }
}

impl<L: Lock, const N: usize, const M: usize> Depot<L, N, M> {
    /// An empty depot, all zero but perhaps for the lock.
    pub(super) const fn new() -> Self {
        let stats = MagazineStats {
            loads: 0,
            load_misses: 0,
            unloads: 0,
            unload_misses: 0,
            magazines: 0,
            magazines_min: 0,
        };
        Depot { lock: L::INIT, state: UnsafeCell::new(State { stats, magazines: [[VACANT; N]; M] }) }
    }

    /// Runs `work` on the state under the lock; `None` on re-entry. What is passed in calls nothing that could come back here.
    fn enter<R>(&self, work: impl FnOnce(&mut State<N, M>) -> R) -> Option<R> {
        self.lock.with(|| {
            // SAFETY: the lock gives exclusion (L1, L2), and no closure of this file enters again.
            work(unsafe { &mut *self.state.get() })
        })
    }

    /// Takes a slot from the front, which gets a magazine first if it is empty.
    pub(super) fn pop_through(&self, front: &Front<N>) -> Option<NonNull<u8>> {
        let slot = front.pop();
        if slot.is_some() {
            return slot;
        }
        self.enter(|state| match state.pop() {
            Some(magazine) => {
                front.load(magazine);
                state.stats.loads = state.stats.loads.wrapping_add(1);
            }
            None => state.stats.load_misses = state.stats.load_misses.wrapping_add(1),
        })?;
        front.pop()
    }

    /// Takes the older magazine of a front in, if it is whole and there is room for it. `false`: nothing has changed.
    pub(super) fn unload(&self, front: &Front<N>) -> bool {
        let work = |state: &mut State<N, M>| {
            if front.len() < N {
                return false;
            }
            let Some(room) = state.magazines.get_mut(state.stats.magazines) else {
                state.stats.unload_misses = state.stats.unload_misses.wrapping_add(1);
                return false;
            };
            front.unload(room);
            state.stats.magazines += 1;
            state.stats.unloads = state.stats.unloads.wrapping_add(1);
            true
        };
        self.enter(work).unwrap_or(false)
    }

    /// Moves a magazine out, if there is one.
    pub(super) fn take(&self, magazine: &mut Magazine<N>) -> bool {
        let work = |state: &mut State<N, M>| {
            let Some(slots) = state.pop() else { return false };
            magazine.slots = *slots;
            magazine.count = N;
            true
        };
        self.enter(work).unwrap_or(false)
    }

    /// What is idle: the least number of magazines since the last call, which starts the count anew.
    pub(super) fn idle(&self) -> usize {
        self.enter(|state| {
            let idle = state.stats.magazines_min;
            state.stats.magazines_min = state.stats.magazines;
            idle
        })
        .unwrap_or(0)
    }

    /// The numbers; all zero on re-entry.
    pub(super) fn stats(&self) -> MagazineStats {
        self.enter(|state| state.stats).unwrap_or_default()
    }
}

impl<L: fmt::Debug, const N: usize, const M: usize> fmt::Debug for Depot<L, N, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Depot")
            .field("lock", &self.lock)
            .field("slots", &N)
            .field("magazines_max", &M)
            .finish_non_exhaustive()
    }
}
