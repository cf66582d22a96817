//! Locks: the exclusion around a heap, as a type parameter.
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

mod none;
mod spinning;

pub use self::none::NoLock;
pub use self::spinning::SpinLock;

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
    note = "use `NoLock` (one thread), `SpinLock`, `TicketLock`, `StdLock` (feature `std`), `CriticalSectionLock` (feature `critical-section`) or `LockApi<R>` (feature `lock_api`)",
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
