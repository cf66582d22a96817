//! No lock: one thread at a time, by type.

use core::cell::Cell;

use super::{Lock, Work};
use crate::describe::describe_leaf;

/// No lock at all: the heap stays on one thread, and the compiler sees to it (`!Sync`).
///
/// Choose it for a heap that one thread uses. It costs one byte and two plain stores to a hot line; the byte
/// tells a re-entry (a source that allocates from the heap it serves), which gets
/// [`AllocError`](crate::AllocError) in every build profile.
///
/// ```
/// use heapwright::lock::{Lock, NoLock};
/// let lock = NoLock::INIT;
/// let seen = lock.with(|| lock.with(|| "a second entry"));
/// assert_eq!(seen, Some(None), "is told, not undefined");
/// ```
///
/// ```compile_fail
/// fn shared<T: Sync>() {}
/// shared::<heapwright::lock::NoLock>();
/// ```
#[derive(Debug, Default)]
pub struct NoLock {
    /// True while work runs.
    held: Cell<bool>,
}

/// Clears the flag when the work ends, however it does.
struct Leave<'a>(&'a Cell<bool>);

impl Drop for Leave<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.set(false);
    }
}

// SAFETY: L1: work runs only when `held` was false, and with it set; only the work's end clears it. L2: `Cell`
// makes the type `!Sync`, so all calls are on one thread at a time. L3: nothing unwinds. L4: `INIT` is a new cell.
unsafe impl Lock for NoLock {
    const INIT: Self = NoLock { held: Cell::new(false) };

    #[inline(always)]
    fn with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        if self.held.get() {
            return None;
        }
        self.held.set(true);
        let _leave = Leave(&self.held);
        Some(work())
    }

    const LEAF_IS_FREE: bool = true;

    #[inline(always)]
    unsafe fn with_leaf<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        // Nothing else can run under this lock before the work has ended, so nobody would see the flag.
        if self.held.get() { None } else { Some(work()) }
    }

    #[inline(always)]
    fn with_work<W: Work>(&self, work: W) -> Option<W::Done> {
        if self.held.get() {
            return None;
        }
        self.held.set(true);
        let _leave = Leave(&self.held);
        Some(work.run())
    }

    #[inline(always)]
    unsafe fn with_leaf_work<W: Work>(&self, work: W) -> Option<W::Done> {
        if self.held.get() { None } else { Some(work.run()) }
    }

    #[inline(always)]
    fn try_with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        self.with(work)
    }
}

describe_leaf!(NoLock, "NoLock, for one thread");
