//! No lock: one thread at a time, by type.

use core::cell::Cell;

use super::Lock;

/// No lock at all: the heap stays on one thread, and the compiler sees to it (`!Sync`).
///
/// Choose it for a heap that one thread uses. It costs one byte and two plain stores to a hot line; the byte
/// tells a re-entry (a source that allocates from the heap it serves), which gets
/// [`AllocError`](crate::AllocError) in every build profile.
///
/// ```
/// use heapwright::lock::{Lock, NoLock};
/// let lock = NoLock::INIT;
/// let held = lock.lock();
/// assert!(held.is_some());
/// assert!(lock.lock().is_none(), "a second entry is told, not undefined");
/// ```
///
/// ```compile_fail
/// fn shared<T: Sync>() {}
/// shared::<heapwright::lock::NoLock>();
/// ```
#[derive(Debug, Default)]
pub struct NoLock {
    /// True while a guard lives.
    held: Cell<bool>,
}

/// Proof that a [`NoLock`] is entered.
#[derive(Debug)]
pub struct NoLockGuard<'a> {
    held: &'a Cell<bool>,
}

impl Drop for NoLockGuard<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.held.set(false);
    }
}

// SAFETY: L1: a guard is made only when `held` is false, and sets it; only the guard's drop clears it. L2: `Cell`
// makes the type `!Sync`, so all calls are on one thread at a time. L3: nothing unwinds. L4: `INIT` is a new cell.
unsafe impl Lock for NoLock {
    const INIT: Self = NoLock { held: Cell::new(false) };

    type Guard<'a> = NoLockGuard<'a>;

    #[inline(always)]
    fn lock(&self) -> Option<NoLockGuard<'_>> {
        self.try_lock()
    }

    #[inline(always)]
    fn try_lock(&self) -> Option<NoLockGuard<'_>> {
        if self.held.get() {
            return None;
        }
        self.held.set(true);
        Some(NoLockGuard { held: &self.held })
    }
}
