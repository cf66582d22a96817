//! Locks: the exclusion around a heap, as a type parameter.
//!
//! | lock | who may share the heap | waits by | bytes | re-entry by its holder | feature |
//! |---|---|---|---|---|---|
//! | [`NoLock`] | one thread (checked by the compiler) | never waits | 1 | `None` | |
//! | [`SpinLock`] | threads, cores | spinning, no order | 1 | hangs | |
//! | [`TicketLock`] | threads, cores | spinning, in order of arrival | 2 words | hangs | |
//! | `YieldLock` | threads | spinning, then yielding to the OS | 1 | hangs | `std` |
//! | `StdLock` | threads | sleeping in the OS | 8 on Linux | hangs | `std` |
//! | `CriticalSectionLock` | cores and interrupt handlers | masking interrupts | 1 | `None` | `critical-section` |
//! | `LockApi<R>` | whoever may share `R` | as `R` does | those of `R` | as `R` does | `lock_api` |
//! | `OwnerChecked<L>` | whoever may share `L` | as `L` does | those of `L`, and a word | `None` | `std` |
//!
//! # Which one
//! - **One thread**: [`NoLock`].
//! - **Firmware whose interrupt handlers allocate**: `CriticalSectionLock`, and no other. A handler that spins for a lock which
//!   the code that it interrupted holds waits for ever.
//! - **Threads, no OS**: [`SpinLock`]; [`TicketLock`] where many cores compete for one heap and none may starve.
//! - **Threads of an OS**: [`SpinLock`] while there are no more busy threads than cores, `YieldLock` for any number of them. `StdLock` where they may wait for long, and wherever threads
//!   have different priorities: a high one that spins for a lock whose holder, a low one, gets no time waits long, on one core
//!   for ever (*priority inversion*). No lock here hands its waiter's priority to the holder; with real-time scheduling
//!   wrap such a mutex of your OS in `LockApi`, or give each priority a heap of its own.
//! - **Chips without compare-and-swap** (Cortex-M0, some RISC-V): `CriticalSectionLock` or [`NoLock`]. The spinning ones compile there,
//!   their atomics made of critical sections, but on a single core nobody is there to spin for.
//! - **User code runs under the lock** (a source or a core of your own that might use its own heap): `OwnerChecked<L>` turns
//!   the dead-lock into an error.
//!
//! # Write your own in three steps
//! 1. A type with whatever state it needs, and that state's free value as a constant.
//! 2. What releases it, however the work under it ends: a value whose `Drop` does.
//! 3. `unsafe impl Lock`, keeping obligations L1 to L4 of [`Lock`].
//!
//! ```
//! use core::sync::atomic::{AtomicBool, Ordering};
//! use heapwright::lock::Lock;
//!
//! // 1. the state
//! #[derive(Debug)]
//! pub struct Yielding(AtomicBool);
//!
//! // 2. the release
//! struct Release<'a>(&'a AtomicBool);
//! impl Drop for Release<'_> {
//!     fn drop(&mut self) {
//!         self.0.store(false, Ordering::Release);
//!     }
//! }
//!
//! // 3. the contract
//! // SAFETY: L1: work runs only for the caller whose swap saw `false`, and `Release` resets it when the work is done.
//! // L2: acquire on entry, release on exit. L3: nothing here unwinds. L4: nothing is shared by `INIT`.
//! unsafe impl Lock for Yielding {
//!     const INIT: Self = Yielding(AtomicBool::new(false));
//!     fn with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
//!         while self.0.swap(true, Ordering::Acquire) {
//!             std::thread::yield_now();
//!         }
//!         let _release = Release(&self.0);
//!         Some(work())
//!     }
//!     fn try_with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
//!         if self.0.swap(true, Ordering::Acquire) {
//!             return None;
//!         }
//!         let _release = Release(&self.0);
//!         Some(work())
//!     }
//! }
//!
//! let lock = Yielding::INIT;
//! let seen = lock.with(|| lock.try_with(|| "inside"));
//! assert_eq!(seen, Some(None));
//! assert_eq!(lock.try_with(|| "inside"), Some("inside"));
//! ```

#[cfg(feature = "std")]
mod blocking;
#[cfg(feature = "critical-section")]
mod masking;
mod none;
#[cfg(feature = "std")]
mod owner;
#[cfg(feature = "lock_api")]
mod raw_mutex;
mod spinning;
#[cfg(test)]
mod tests;
mod ticket;
#[cfg(feature = "std")]
mod yielding;

#[cfg(feature = "std")]
pub use self::blocking::StdLock;
#[cfg(feature = "critical-section")]
pub use self::masking::CriticalSectionLock;
pub use self::none::NoLock;
#[cfg(feature = "std")]
pub use self::owner::OwnerChecked;
#[cfg(feature = "lock_api")]
pub use self::raw_mutex::LockApi;
pub use self::spinning::SpinLock;
pub use self::ticket::TicketLock;
#[cfg(feature = "std")]
pub use self::yielding::YieldLock;

/// Mutual exclusion around a heap.
///
/// Work is passed in and no guard comes out: so entries and exits nest whatever safe code does, which critical sections require, and
/// none is forgotten.
///
/// [The module's docs](self) have an implementation in three steps.
///
/// ```
/// use heapwright::lock::{Lock, SpinLock, NoLock};
/// let lock = SpinLock::INIT;
/// assert_eq!(lock.with(|| 5), Some(5));
/// assert_eq!(lock.with(|| lock.try_with(|| 5)), Some(None));
/// let none = NoLock::INIT;
/// assert_eq!(none.with(|| none.with(|| 5)), Some(None), "a re-entry is told");
/// ```
///
/// # Safety
/// An implementation keeps these:
/// - **L1** (exclusion) while work runs under a lock, no other work runs under it.
/// - **L2** (order) what work did is visible to the work that comes next, and the lock is free as soon as work has returned or unwound.
///   A lock that can't promise this between threads is `!Sync`.
/// - **L3** (no unwinding) no method unwinds, unless its work does.
/// - **L4** (fresh) every `INIT` is a free lock of its own, and moving a free lock is harmless.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a heapwright lock",
    label = "this type parameter takes a lock",
    note = "use `NoLock` (one thread), `SpinLock`, `TicketLock`, `StdLock` (feature `std`), `CriticalSectionLock` (feature `critical-section`), `LockApi<R>` (feature `lock_api`) or `OwnerChecked<L>` (feature `std`)",
    note = "or implement `heapwright::lock::Lock` in three steps: see the docs of `heapwright::lock`"
)]
pub unsafe trait Lock {
    /// A free lock.
    const INIT: Self;

    /// Waits for the lock and runs `work` under it. `None`: this thread holds it already, waiting would never end, and
    /// `work` has not run; a heap then gives [`AllocError`](crate::AllocError).
    fn with<R>(&self, work: impl FnOnce() -> R) -> Option<R>;

    /// Runs `work` under the lock if it is free now, without waiting.
    fn try_with<R>(&self, work: impl FnOnce() -> R) -> Option<R>;

    /// Whether [`with_leaf`](Lock::with_leaf) costs so much less than [`with`](Lock::with) that it is worth to try work that may turn out to be
    /// no leaf, and to enter again for the rest.
    const LEAF_IS_FREE: bool = false;

    /// As [`with`](Lock::with), for work that can't come back here: a lock that is there to tell re-entries only need not note that it
    /// runs.
    ///
    /// # Safety
    /// `work` does not unwind, and calls nothing that could use this lock.
    #[inline(always)]
    unsafe fn with_leaf<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        self.with(work)
    }

    /// As [`with`](Lock::with), for the shells of this crate.
    #[doc(hidden)]
    #[inline(always)]
    fn with_work<W: Work>(&self, work: W) -> Option<W::Done> {
        self.with(|| work.run())
    }

    /// As [`with_leaf`](Lock::with_leaf), for the shells of this crate.
    ///
    /// # Safety
    /// As there.
    #[doc(hidden)]
    #[inline(always)]
    unsafe fn with_leaf_work<W: Work>(&self, work: W) -> Option<W::Done> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.with_leaf(|| work.run()) }
    }
}

/// Work that is not a closure. A compiler makes each closure a function of its own, and one that has a whole heap in it does not become part of its
/// callers: between a lock that costs two instructions and a heap that costs ten, that would be the most of it all.
#[doc(hidden)]
pub trait Work {
    /// What comes of it.
    type Done;

    /// Does it. To be marked `#[inline(always)]`.
    fn run(self) -> Self::Done;
}

/// A lock that can be held across calls, without work that is passed in: what `fork` needs, before which all locks of a heap are taken, so that
/// the child finds none held by a thread that it does not have.
///
/// ```
/// use heapwright::lock::{HoldLock, Lock, SpinLock};
/// let lock = SpinLock::INIT;
/// lock.hold();
/// assert_eq!(lock.try_with(|| ()), None);
/// // SAFETY: it is held by the line above.
/// unsafe { lock.let_go() };
/// assert_eq!(lock.try_with(|| ()), Some(()));
/// ```
///
/// # Safety
/// An implementation keeps L1 to L4 for what happens between `hold` and `let_go` as for work, and
/// - **L5** (held) after `hold` the lock is held until `let_go`, which may be called by another thread, or in a forked child.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a heapwright lock that can be held across calls",
    label = "this type parameter takes `YieldLock` (feature `std`) or `SpinLock`",
    note = "or implement `heapwright::lock::HoldLock`: two functions"
)]
pub unsafe trait HoldLock: Lock {
    /// Waits for the lock and keeps it.
    fn hold(&self);

    /// Releases the lock.
    ///
    /// # Safety
    /// It is held by a `hold` that has had no `let_go` yet.
    unsafe fn let_go(&self);
}
