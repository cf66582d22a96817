//! Locks: the exclusion around a heap, as a type parameter.
//!
//! | lock | who may share the heap | waits by | bytes | re-entry by its holder | feature |
//! |---|---|---|---|---|---|
//! | [`NoLock`] | one thread (checked by the compiler) | never waits | 1 | `None` | |
//! | [`SpinLock`] | threads, cores | spinning, no order | 1 | hangs | |
//! | [`TicketLock`] | threads, cores | spinning, in order of arrival | 2 words | hangs | |
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
//! - **Threads of an OS**: [`SpinLock`] while there are no more busy threads than cores. `StdLock` otherwise, and wherever threads
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
//! 2. A guard whose `Drop` releases.
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
//! // 2. the guard
//! pub struct Guard<'a>(&'a AtomicBool);
//! impl Drop for Guard<'_> {
//!     fn drop(&mut self) {
//!         self.0.store(false, Ordering::Release);
//!     }
//! }
//!
//! // 3. the contract
//! // SAFETY: L1: only the caller whose swap saw `false` gets a guard, and only its drop resets it.
//! // L2: acquire on entry, release on exit. L3: nothing here unwinds. L4: nothing is shared by `INIT`.
//! unsafe impl Lock for Yielding {
//!     const INIT: Self = Yielding(AtomicBool::new(false));
//!     type Guard<'a> = Guard<'a>;
//!     fn lock(&self) -> Option<Guard<'_>> {
//!         loop {
//!             if let Some(guard) = self.try_lock() {
//!                 return Some(guard);
//!             }
//!             std::thread::yield_now();
//!         }
//!     }
//!     fn try_lock(&self) -> Option<Guard<'_>> {
//!         (!self.0.swap(true, Ordering::Acquire)).then(|| Guard(&self.0))
//!     }
//! }
//!
//! let lock = Yielding::INIT;
//! let held = lock.lock();
//! assert!(lock.try_lock().is_none());
//! drop(held);
//! assert!(lock.try_lock().is_some());
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
pub use self::blocking::{StdLock, StdLockGuard};
#[cfg(feature = "critical-section")]
pub use self::masking::{CriticalSectionGuard, CriticalSectionLock};
pub use self::none::{NoLock, NoLockGuard};
#[cfg(feature = "std")]
pub use self::owner::{OwnerChecked, OwnerCheckedGuard};
#[cfg(feature = "lock_api")]
pub use self::raw_mutex::{LockApi, LockApiGuard};
pub use self::spinning::{SpinLock, SpinLockGuard};
pub use self::ticket::{TicketLock, TicketLockGuard};

/// Mutual exclusion around a heap.
///
/// `lock` answers `None` when the lock can tell that this very thread already holds it (a re-entry);
/// the heap then gives [`AllocError`](crate::AllocError) instead of waiting for ever.
///
/// # Safety
/// An implementation keeps these:
/// - **L1** (exclusion) while a guard of a lock is alive no other guard of it is made.
/// - **L2** (order) what happened before a guard was dropped is visible to the one who gets the next.
///   A lock that can't promise this between threads is `!Sync`.
/// - **L3** (no unwinding) no method unwinds, nor does the guard's drop.
/// - **L4** (fresh) every `INIT` is a free lock of its own, and moving a lock that no guard borrows is harmless.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a heapwright lock",
    label = "this type parameter takes a lock",
    note = "use `NoLock` (one thread), `SpinLock`, `TicketLock`, `StdLock` (feature `std`), `CriticalSectionLock` (feature `critical-section`), `LockApi<R>` (feature `lock_api`) or `OwnerChecked<L>` (feature `std`)",
    note = "or implement `heapwright::lock::Lock` in three steps: see the docs of `heapwright::lock`"
)]
pub unsafe trait Lock {
    /// A free lock.
    const INIT: Self;

    /// Proof that the lock is held; dropping it releases the lock.
    type Guard<'a>
    where
        Self: 'a;

    /// Waits for the lock. `None`: this thread holds it already, waiting would never end.
    fn lock(&self) -> Option<Self::Guard<'_>>;

    /// The lock if it is free now, without waiting.
    fn try_lock(&self) -> Option<Self::Guard<'_>>;
}
