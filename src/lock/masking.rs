//! The lock that keeps interrupts out.

use core::marker::PhantomData;
use core::sync::atomic::{AtomicBool, Ordering};

use critical_section::RestoreState;

use super::Lock;

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
/// fair nor unfair: on one core nobody waits. [`try_lock`](Lock::try_lock) may wait for another core's critical section.
///
/// The program must link an implementation of critical sections: those of the HAL or `cortex-m` crates, or that of
/// `critical-section` itself for hosted tests (its feature `std`). Critical sections may be nested, so exclusion alone would let the
/// holder in again; a flag tells it, and a re-entry gives `None`.
///
/// Guards belong to the thread that made them. Drop them in the reverse order of their making (scopes do so by themselves), and forget
/// none: otherwise interrupts come back early or never. The exclusion of this lock itself does not depend on it.
///
/// ```
/// use heapwright::lock::{CriticalSectionLock, Lock};
/// static LOCK: CriticalSectionLock = CriticalSectionLock::INIT;
/// let held = LOCK.lock();
/// assert!(held.is_some());
/// assert!(LOCK.lock().is_none(), "a re-entry is told, though critical sections nest");
/// ```
///
/// ```compile_fail,E0277
/// use heapwright::lock::{CriticalSectionGuard, CriticalSectionLock, Lock};
/// fn sent<T: Send>() {}
/// sent::<CriticalSectionLock>();
/// sent::<CriticalSectionGuard<'_>>(); // error: the guard stays on its thread
/// ```
#[derive(Debug, Default)]
pub struct CriticalSectionLock {
    /// True while a guard lives. Set in a critical section only. Atomic, so that even guards dropped in the wrong order, and
    /// so outside of any critical section, race with nobody; loads and stores alone, which every target has.
    held: AtomicBool,
}

/// Proof that a [`CriticalSectionLock`] is held and interrupts are masked.
#[derive(Debug)]
pub struct CriticalSectionGuard<'a> {
    held: &'a AtomicBool,
    /// What the guard's own critical section came with; used once, by the drop.
    before: RestoreState,
    /// A critical section ends on the thread that began it: the guard is `!Send`.
    thread: PhantomData<*const ()>,
}

impl Drop for CriticalSectionGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.held.store(false, Ordering::Release);
        // SAFETY: `before` came from the acquire of this very guard, whose one release this is, on the same thread (the guard is
        // `!Send`). Pairs nest: the heaps hold their guards in nested scopes, and users of the lock itself are told to.
        unsafe { critical_section::release(self.before) };
    }
}

// SAFETY: L1: a guard is made only when `held` is false, and the test and the setting are in one critical section, in which nobody
// else makes a guard; only the guard's drop clears it. L2: `held` is stored with release and loaded with acquire. L3: the
// implementations mask interrupts or spin, nothing unwinds. L4: `INIT` is a new flag.
unsafe impl Lock for CriticalSectionLock {
    const INIT: Self = CriticalSectionLock { held: AtomicBool::new(false) };

    type Guard<'a> = CriticalSectionGuard<'a>;

    #[inline]
    fn lock(&self) -> Option<CriticalSectionGuard<'_>> {
        // SAFETY: released once on each way: below, or by the drop of the guard (see there).
        let before = unsafe { critical_section::acquire() };
        if self.held.load(Ordering::Acquire) {
            // SAFETY: `before` is from the acquire above, and none lies between.
            unsafe { critical_section::release(before) };
            return None;
        }
        self.held.store(true, Ordering::Relaxed);
        Some(CriticalSectionGuard { held: &self.held, before, thread: PhantomData })
    }

    #[inline]
    fn try_lock(&self) -> Option<CriticalSectionGuard<'_>> {
        self.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_is_a_critical_section() {
        extern crate std;
        use std::sync::atomic::AtomicUsize;

        // An implementation for hosts has one mutex for all critical sections: another thread's can't run while we hold ours.
        let lock = CriticalSectionLock::INIT;
        let step = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let held = lock.lock();
            scope.spawn(|| {
                step.store(1, Ordering::SeqCst);
                critical_section::with(|_| step.store(2, Ordering::SeqCst));
            });
            while step.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            for _ in 0..100 {
                std::thread::yield_now();
                assert_eq!(step.load(Ordering::SeqCst), 1, "the lock is held, yet a critical section ran");
            }
            drop(held);
        });
        assert_eq!(step.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn two_locks_nest() {
        let (outer, inner) = (CriticalSectionLock::INIT, CriticalSectionLock::INIT);
        let outer_held = outer.lock();
        assert!(outer_held.is_some());
        {
            let inner_held = inner.lock();
            assert!(inner_held.is_some());
            assert!(inner.try_lock().is_none());
            assert!(outer.try_lock().is_none());
        }
        assert!(inner.try_lock().is_some());
        assert!(outer.try_lock().is_none());
        drop(outer_held);
        assert!(outer.try_lock().is_some());
    }
}
