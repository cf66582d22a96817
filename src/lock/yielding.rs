//! The lock that spins for a while, and then lets others run.

use core::hint;
use core::mem;

use super::{HoldLock, Lock};
use crate::describe::describe_leaf;

/// So many looks at a held lock before the thread gives up its time slice.
const LOOKS: u32 = 64;

/// A spin lock for programs with an OS: a thread that has waited for a moment yields the processor to whoever holds the lock.
///
/// Choose it for short critical sections under any number of threads, also many more than there are processors: a holder that the OS has put
/// aside is let back in, and nobody burns its time slice waiting for it. It costs one byte; one compare-and-swap to enter, one store to leave,
/// like [`SpinLock`](super::SpinLock). It never allocates, so it may stand inside a global allocator. Feature `std`.
///
/// It is not fair, and a re-entry by the holder hangs (for that see `OwnerChecked`). It is not for threads of different real-time priorities: yielding
/// does not let a lower one run (for that see `StdLock`).
///
/// ```
/// use heapwright::lock::{Lock, YieldLock};
/// let lock = YieldLock::INIT;
/// let seen = lock.with(|| lock.try_with(|| "inside"));
/// assert_eq!(seen, Some(None));
/// ```
#[derive(Debug, Default)]
pub struct YieldLock(spin::mutex::SpinMutex<()>);

impl YieldLock {
    #[inline]
    fn lock(&self) -> spin::mutex::SpinMutexGuard<'_, ()> {
        match self.0.try_lock() {
            Some(held) => held,
            None => self.wait(),
        }
    }

    #[cold]
    fn wait(&self) -> spin::mutex::SpinMutexGuard<'_, ()> {
        loop {
            for _ in 0..LOOKS {
                if !self.0.is_locked() {
                    if let Some(held) = self.0.try_lock() {
                        return held;
                    }
                }
                hint::spin_loop();
            }
            std::thread::yield_now();
        }
    }
}

// SAFETY: L1, L2: `spin`'s mutex (acquire on entry, release on exit). L3: it spins and yields, nothing unwinds. L4: a new mutex.
unsafe impl Lock for YieldLock {
    const INIT: Self = YieldLock(spin::mutex::SpinMutex::new(()));

    #[inline]
    fn with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        let _held = self.lock();
        Some(work())
    }

    #[inline]
    fn try_with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        let _held = self.0.try_lock()?;
        Some(work())
    }
}

// SAFETY: L5: the guard is forgotten, so that the mutex stays locked until it is unlocked by force, once.
unsafe impl HoldLock for YieldLock {
    fn hold(&self) {
        mem::forget(self.lock());
    }

    unsafe fn let_go(&self) {
        // SAFETY: the caller's promise: it is locked, by a guard that `hold` has forgotten.
        unsafe { self.0.force_unlock() };
    }
}

describe_leaf!(YieldLock, "YieldLock");
