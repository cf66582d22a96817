//! The lock that is somebody else's.

use core::fmt;

use lock_api::RawMutex;

use super::Lock;
use crate::describe::{describe_leaf, name};

/// Any raw mutex of the crate `lock_api` (version 0.4) as a lock. Feature `lock_api`.
///
/// Choose it for the mutexes of an RTOS or a kernel, for those with priority inheritance, or for `parking_lot`'s. It costs what `R`
/// costs and has its size; cost, fairness, interrupts and re-entry are as `R` has them. Many an `R` hangs when its
/// holder locks it again: `OwnerChecked<LockApi<R>>` makes that an error.
///
/// Should a method of `R` panic, the process is aborted, since nothing may unwind out of an allocator. In a `#[global_allocator]`
/// take only such an `R` as never allocates. `parking_lot`'s does, when it has to wait.
///
/// ```
/// use heapwright::lock::{Lock, LockApi};
/// static LOCK: LockApi<parking_lot::RawMutex> = LockApi::INIT;
/// let seen = LOCK.with(|| LOCK.try_with(|| "inside"));
/// assert_eq!(seen, Some(None));
/// ```
pub struct LockApi<R>(R);

// An `extern "C"` function aborts the process where another would unwind (since Rust 1.81).

extern "C" fn lock_or_abort<R: RawMutex>(raw: &R) {
    raw.lock();
}

extern "C" fn try_lock_or_abort<R: RawMutex>(raw: &R) -> bool {
    raw.try_lock()
}

/// # Safety
/// The caller holds the mutex, and from now on no longer does.
unsafe extern "C" fn unlock_or_abort<R: RawMutex>(raw: &R) {
    // SAFETY: the caller's promise is the same.
    unsafe { raw.unlock() };
}

/// Unlocks when the work ends, however it does.
struct Unlock<'a, R: RawMutex> {
    /// Locked by whoever made this.
    raw: &'a R,
}

impl<R: RawMutex> Drop for Unlock<'_, R> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the mutex has been locked for this value, in the same call and so in the same context.
        unsafe { unlock_or_abort(self.raw) };
    }
}

// SAFETY: L1, L2: `RawMutex` promises exclusion, which without order between holders would be none. L3: what would unwind
// aborts. L4: `RawMutex::INIT` is an unlocked mutex.
unsafe impl<M: RawMutex> Lock for LockApi<M> {
    const INIT: Self = LockApi(M::INIT);

    #[inline]
    fn with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        lock_or_abort(&self.0);
        let _unlock = Unlock { raw: &self.0 };
        Some(work())
    }

    #[inline]
    fn try_with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        if !try_lock_or_abort(&self.0) {
            return None;
        }
        let _unlock = Unlock { raw: &self.0 };
        Some(work())
    }
}

impl<R: RawMutex> Default for LockApi<R> {
    fn default() -> Self {
        Self::INIT
    }
}

impl<R> fmt::Debug for LockApi<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LockApi").field(&format_args!("{}", core::any::type_name::<R>())).finish()
    }
}

describe_leaf!([R] LockApi<R>, "LockApi by {}", name::<R>());

#[cfg(test)]
mod tests {
    extern crate std;

    use std::process::Command;

    use super::*;

    /// A mutex that panics instead of locking.
    struct BrokenMutex;

    // SAFETY: never locked, so never by two.
    unsafe impl RawMutex for BrokenMutex {
        const INIT: Self = BrokenMutex;
        type GuardMarker = lock_api::GuardNoSend;
        fn lock(&self) {
            panic!("this mutex can't be locked");
        }
        fn try_lock(&self) -> bool {
            false
        }
        unsafe fn unlock(&self) {}
    }

    #[test]
    fn a_failed_try_runs_nothing() {
        assert!(LockApi::<BrokenMutex>::INIT.try_with(|| ()).is_none());
    }

    #[test]
    #[cfg_attr(miri, ignore = "starts a process")]
    fn a_panic_in_the_mutex_aborts() {
        const CHILD: &str = "HEAPWRIGHT_TEST_CHILD";
        if std::env::var_os(CHILD).is_some() {
            let _ = LockApi::<BrokenMutex>::INIT.with(|| ());
            return;
        }
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "lock::raw_mutex::tests::a_panic_in_the_mutex_aborts"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert!(!output.status.success(), "the child went on: {output:?}");
        assert_ne!(output.status.code(), Some(101), "the child unwound instead of aborting: {output:?}");
    }
}
