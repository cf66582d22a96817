//! The lock that waits in a loop.

use super::Lock;

/// A spin lock (crate `spin`): works everywhere, needs no OS; right when the critical section is short, as it is here.
///
/// Choose it when threads or cores share a heap and there are no more busy threads than cores. It costs one byte; one
/// compare-and-swap to enter, one store to leave.
///
/// It is not fair: under contention one thread may win many times in a row (for that see [`TicketLock`](super::TicketLock)).
/// It masks no interrupts: a handler that allocates from the heap it interrupted waits for ever (for that see
/// `CriticalSectionLock`). A thread that waits burns its time slice, and with threads of different priorities perhaps the
/// holder's too (for that see `StdLock`). A re-entry by the holder hangs (for that see `OwnerChecked`).
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

/// Proof that a [`SpinLock`] is held.
#[derive(Debug)]
pub struct SpinLockGuard<'a> {
    _held: spin::mutex::SpinMutexGuard<'a, ()>,
}

// SAFETY: L1, L2: `spin`'s mutex (acquire on entry, release on exit). L3: it spins, nothing unwinds. L4: a new mutex.
unsafe impl Lock for SpinLock {
    const INIT: Self = SpinLock(spin::mutex::SpinMutex::new(()));

    type Guard<'a> = SpinLockGuard<'a>;

    #[inline]
    fn lock(&self) -> Option<SpinLockGuard<'_>> {
        Some(SpinLockGuard { _held: self.0.lock() })
    }

    #[inline]
    fn try_lock(&self) -> Option<SpinLockGuard<'_>> {
        self.0.try_lock().map(|held| SpinLockGuard { _held: held })
    }
}
