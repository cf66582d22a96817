//! The lock that waits in a loop.

use core::mem;

use super::{HoldLock, Lock};
use crate::describe::describe_leaf;

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
/// let seen = lock.with(|| lock.try_with(|| "inside"));
/// assert_eq!(seen, Some(None));
/// ```
#[derive(Debug, Default)]
pub struct SpinLock(spin::mutex::SpinMutex<()>);

// SAFETY: L1, L2: `spin`'s mutex (acquire on entry, release on exit). L3: it spins, nothing unwinds. L4: a new mutex.
unsafe impl Lock for SpinLock {
    const INIT: Self = SpinLock(spin::mutex::SpinMutex::new(()));

    #[inline]
    fn with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        let _held = self.0.lock();
        Some(work())
    }

    #[inline]
    fn try_with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        let _held = self.0.try_lock()?;
        Some(work())
    }
}

// SAFETY: L5: the guard is forgotten, so that the mutex stays locked until it is unlocked by force, once.
unsafe impl HoldLock for SpinLock {
    fn hold(&self) {
        mem::forget(self.0.lock());
    }

    unsafe fn let_go(&self) {
        // SAFETY: the caller's promise: it is locked, by a guard that `hold` has forgotten.
        unsafe { self.0.force_unlock() };
    }
}

describe_leaf!(SpinLock, "SpinLock");
