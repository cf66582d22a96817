//! Locks that wait in a loop.

use super::Lock;

/// A spin lock (crate `spin`): works everywhere, needs no OS; right when the critical section is short, as it is here.
///
/// About 7 ns uncontended. No fairness, and no interrupt masking: for interrupt handlers see
/// `CriticalSectionLock`.
///
/// ```
/// use heapwright::lock::{Lock, SpinLock};
/// let lock = SpinLock::INIT;
/// let held = lock.lock();
/// assert!(lock.try_lock().is_none());
/// # drop(held);
/// ```
#[derive(Debug, Default)]
pub struct SpinLock(spin::mutex::SpinMutex<()>);

// SAFETY: L1, L2: `spin`'s mutex (acquire on entry, release on exit). L3: it spins, nothing unwinds. L4: a new mutex.
unsafe impl Lock for SpinLock {
    const INIT: Self = SpinLock(spin::mutex::SpinMutex::new(()));

    type Guard<'a> = spin::mutex::SpinMutexGuard<'a, ()>;

    #[inline]
    fn lock(&self) -> Option<Self::Guard<'_>> {
        Some(self.0.lock())
    }

    #[inline]
    fn try_lock(&self) -> Option<Self::Guard<'_>> {
        self.0.try_lock()
    }
}
