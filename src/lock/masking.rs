//! The lock that keeps interrupts out.

use core::sync::atomic::{AtomicBool, Ordering};

use super::Lock;
use crate::describe::describe_leaf;

/// Exclusion by critical section (crate `critical-section`): interrupts are masked while the lock is held. Feature
/// `critical-section`.
///
/// Choose it for firmware whose interrupt handlers share the heap, and for heaps shared by the tasks of an RTOS. It is the only lock here
/// with which a handler may allocate: it can't start while another holds the lock, so it neither waits for ever nor inverts
/// priorities.
///
/// It costs one byte, and interrupt latency: an interrupt waits for as long as the longest operation of the heap takes (arenas of a
/// `Bounded` sizing keep it short). To enter and leave takes a few instructions on a single core (read the mask, mask, restore);
/// with more cores the implementation adds a spin lock of its own, which all critical sections of the program share. Neither
/// fair nor unfair: on one core nobody waits. [`try_with`](Lock::try_with) may wait for another core's critical section.
///
/// The program must link an implementation of critical sections: those of the HAL or `cortex-m` crates, or that of
/// `critical-section` itself for hosted tests (its feature `std`). Critical sections may be nested, so exclusion alone would let the
/// holder in again; a flag tells it, and a re-entry gives `None`.
///
/// ```
/// use heapwright::lock::{CriticalSectionLock, Lock};
/// static LOCK: CriticalSectionLock = CriticalSectionLock::INIT;
/// let seen = LOCK.with(|| LOCK.with(|| "a second entry"));
/// assert_eq!(seen, Some(None), "is told, though critical sections nest");
/// ```
#[derive(Debug, Default)]
pub struct CriticalSectionLock {
    /// True while work runs. Touched in a critical section only; atomic for `Sync`, by loads and stores alone, which
    /// every target has.
    held: AtomicBool,
}

/// Clears the flag when the work ends, however it does.
struct Leave<'a>(&'a AtomicBool);

impl Drop for Leave<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

// SAFETY: L1: a critical section keeps everybody else out; the flag keeps out work that this work itself would start. L2: the crate's
// contract: acquire on entry, release on exit, in every way out. L3: the implementations mask interrupts or spin, nothing
// unwinds. L4: `INIT` is a new flag.
unsafe impl Lock for CriticalSectionLock {
    const INIT: Self = CriticalSectionLock { held: AtomicBool::new(false) };

    #[inline]
    fn with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        critical_section::with(|_| {
            if self.held.load(Ordering::Relaxed) {
                return None;
            }
            self.held.store(true, Ordering::Relaxed);
            let _leave = Leave(&self.held);
            Some(work())
        })
    }

    #[inline]
    fn try_with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        self.with(work)
    }
}

describe_leaf!(CriticalSectionLock, "CriticalSectionLock");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_runs_in_a_critical_section() {
        extern crate std;
        use std::sync::atomic::AtomicUsize;

        // An implementation for hosts has one mutex for all critical sections: another thread's can't run while we are in ours.
        let lock = CriticalSectionLock::INIT;
        let step = AtomicUsize::new(0);
        let other = || {
            step.store(1, Ordering::SeqCst);
            critical_section::with(|_| step.store(2, Ordering::SeqCst));
        };
        std::thread::scope(|scope| {
            let work = || {
                scope.spawn(other);
                while step.load(Ordering::SeqCst) == 0 {
                    std::thread::yield_now();
                }
                for _ in 0..100 {
                    std::thread::yield_now();
                    assert_eq!(
                        step.load(Ordering::SeqCst),
                        1,
                        "the lock is held, yet a critical section ran"
                    );
                }
            };
            lock.with(work).unwrap();
        });
        assert_eq!(step.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn two_locks_nest() {
        let (outer, inner) = (CriticalSectionLock::INIT, CriticalSectionLock::INIT);
        let both = || {
            assert!(inner.try_with(|| ()).is_none());
            assert!(outer.try_with(|| ()).is_none());
        };
        let work = || {
            assert!(inner.with(both).is_some());
            assert!(inner.try_with(|| ()).is_some());
            assert!(outer.try_with(|| ()).is_none());
        };
        assert!(outer.with(work).is_some());
        assert!(outer.try_with(|| ()).is_some());
    }
}
