//! What a core has found wrong, on its way out of the lock.

use super::misuse::Misuse;
use super::policy::Report;
use super::report;

/// A misuse that a heap core has found, and what is to be told of it: kept by the core until the shell around it has let go of the lock.
///
/// [`Heap::take_finding`](crate::heap::Heap::take_finding) gives it to the shell.
///
/// ```
/// use heapwright::check::{Finding, Misuse, Report, Wrong};
/// use std::alloc::Layout;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// static TOLD: AtomicUsize = AtomicUsize::new(0);
/// struct Count;
/// impl Report for Count {
///     fn report(_: &Misuse) {
///         TOLD.fetch_add(1, Ordering::Relaxed);
///     }
/// }
///
/// let finding = Finding::new::<Count>(Misuse::new(Wrong::DoubleFree, 0x1000, Layout::new::<u64>()));
/// assert_eq!(finding.misuse().wrong, Wrong::DoubleFree);
/// assert_eq!(TOLD.load(Ordering::Relaxed), 0);
/// finding.tell();
/// assert_eq!(TOLD.load(Ordering::Relaxed), 1);
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "who takes a finding is to tell it"]
pub struct Finding {
    misuse: Misuse,
    /// [`report`] for some `R`, which does not unwind.
    tell: fn(&Misuse),
}

impl Finding {
    /// `R` is to be told of `misuse`.
    pub const fn new<R: Report>(misuse: Misuse) -> Self {
        Finding { misuse, tell: report::<R> }
    }

    /// What was found.
    #[must_use]
    pub const fn misuse(&self) -> &Misuse {
        &self.misuse
    }

    /// Tells it. For who holds no lock of the heap. If the report unwinds, the process is aborted.
    pub fn tell(self) {
        (self.tell)(&self.misuse);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static_assertions::assert_impl_all!(Finding: Send, Sync, Copy);
}
