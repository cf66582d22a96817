//! The lock that waits asleep.

use std::sync::{Mutex, PoisonError, TryLockError};

use super::Lock;
use crate::describe::describe_leaf;

/// The standard library's mutex: spins for a moment, then sleeps in the OS until it is its turn. Feature `std`.
///
/// Choose it for threads of an OS when there may be more of them than cores, or when they differ in priority. Uncontended it costs
/// what [`SpinLock`](super::SpinLock) does, one compare-and-swap to enter and one swap to leave, and a test whether the thread is
/// panicking; a system call only where somebody sleeps. 8 bytes on Linux.
///
/// It is not fair, does not pass a waiter's priority on to the holder, and can't be used in interrupt or signal handlers. It never stays
/// poisoned: a heap is whole whenever its lock is free, since no core unwinds. A re-entry by the holder hangs (for that see
/// [`OwnerChecked`](super::OwnerChecked)), except where the target has no threads: there it gives `None`.
///
/// In a `#[global_allocator]`: this mutex allocates nothing on Linux, Android, the BSDs that have futexes, Windows and wasm. On
/// Apple's systems the standard library makes it on the heap at the first use, through the very allocator that it would guard:
/// take another lock there.
///
/// ```
/// use heapwright::lock::{Lock, StdLock};
/// static LOCK: StdLock = StdLock::INIT;
/// let from_another_thread = || std::thread::spawn(|| LOCK.try_with(|| "inside")).join();
/// assert_eq!(LOCK.with(from_another_thread).unwrap().unwrap(), None);
/// assert_eq!(from_another_thread().unwrap(), Some("inside"));
/// ```
#[derive(Debug, Default)]
pub struct StdLock(Mutex<()>);

/// Without threads the standard mutex panics when its holder locks it again, and a failed try can mean nothing else.
const SINGLE_THREADED: bool = cfg!(all(target_family = "wasm", not(target_feature = "atomics")));

// SAFETY: L1, L2: the standard mutex; poison says nothing about exclusion, and the guard comes with it to the work's end. L3: a lock by its holder
// hangs where there are threads; where there are none it would panic, and `with` tries instead. L4: a new mutex.
unsafe impl Lock for StdLock {
    const INIT: Self = StdLock(Mutex::new(()));

    #[inline]
    fn with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        if SINGLE_THREADED {
            return self.try_with(work);
        }
        let _held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(work())
    }

    #[inline]
    fn try_with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        let _held = match self.0.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(poison)) => poison.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(work())
    }
}

describe_leaf!(StdLock, "StdLock");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_under_the_lock_leaves_it_usable() {
        let lock = StdLock::INIT;
        let panicking = || lock.with(|| std::panic::resume_unwind(std::boxed::Box::new("under the lock")));
        let panicked = std::thread::scope(|scope| scope.spawn(panicking).join());
        assert!(panicked.is_err());
        assert!(lock.0.is_poisoned(), "otherwise this test tests nothing");
        assert_eq!(lock.try_with(|| 1), Some(1));
        assert_eq!(lock.with(|| 2), Some(2));
    }
}
