//! Loom's mutex as a lock, for whoever runs under loom and is not about locks.

use std::sync::OnceLock;

use heapwright::lock::{HoldLock, Lock};
use loom::sync::Mutex;

/// Loom's mutexes can't be made by a constant, so it is made at the first use, which has to be before the model's threads start.
#[derive(Debug)]
pub(crate) struct LoomLock(OnceLock<Mutex<()>>);

impl LoomLock {
    fn mutex(&self) -> &Mutex<()> {
        self.0.get_or_init(|| Mutex::new(()))
    }
}

// SAFETY: L1, L2: a mutex, which loom checks. L3: it unwinds only where loom has found a fault. L4: made anew for each `INIT`.
unsafe impl Lock for LoomLock {
    const INIT: Self = LoomLock(OnceLock::new());

    fn with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        let _held = self.mutex().lock().ok()?;
        Some(work())
    }

    fn try_with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        let _held = self.mutex().try_lock().ok()?;
        Some(work())
    }
}

// SAFETY: L5: it is held for good, since nobody forks here and lets go.
unsafe impl HoldLock for LoomLock {
    fn hold(&self) {
        std::mem::forget(self.mutex().lock());
    }

    unsafe fn let_go(&self) {
        unreachable!("nobody forks here");
    }
}
