//! What a core has found wrong, on its way out of the lock.

use core::fmt;
use core::marker::PhantomData;

use super::misuse::{Misuse, OnMisuse};
use super::policy::Report;
use super::report;

/// A misuse that a heap core has found, and what is to be told of it: kept by the core until the shell around it has let go of the lock.
///
/// [`Heap::take_finding`](crate::heap::Heap::take_finding) gives it to the shell, which takes all that there are and tells the first.
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

/// Counts misuses, and has `R` told when the lock of the heap is free: of those that one call finds, the first. Where parts of a heap within each other find some, the
/// first of the outermost.
///
/// For [`RedZones`](crate::combine::RedZones) and [`Quarantine`](crate::combine::Quarantine) in a shell, whose report is to use memory of that heap, or to take its time. What is found
/// while a quarantine is dropped is not told, since nobody asks a heap that is gone: [`release_unused`](crate::heap::Heap::release_unused) before that looks at all blocks that wait.
///
/// ```
/// use heapwright::arena::Arena;
/// use heapwright::check::{Later, Misuse, Report};
/// use heapwright::combine::RedZones;
/// use heapwright::heap::{Locked, SharedHeap};
/// use heapwright::{lock::SpinLock, sizing::Sizing4KiB};
/// use std::alloc::Layout;
/// use std::mem::MaybeUninit;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// static TOLD: AtomicUsize = AtomicUsize::new(0);
/// struct Count;
/// impl Report for Count {
///     fn report(_: &Misuse) {
///         TOLD.fetch_add(1, Ordering::Relaxed); // the heap's lock is free here
///     }
/// }
///
/// let mut memory = [MaybeUninit::uninit(); 1024];
/// let zones = RedZones::<16, 8, _, _>::new(Arena::<Sizing4KiB>::from_slice(&mut memory), Later::<Count>::new());
/// let heap: Locked<_, SpinLock> = Locked::new(zones);
/// let layout = Layout::new::<[u8; 5]>();
/// let block = heap.try_alloc(layout)?.cast::<u8>();
/// // SAFETY: the block is live, and its layout this one. The write past its end is the fault that is looked for; the memory is the arena's.
/// unsafe {
///     block.add(5).write(0);
///     heap.free(block, layout);
/// }
/// assert_eq!((TOLD.load(Ordering::Relaxed), heap.misuses()), (1, 1));
/// # Ok::<(), heapwright::AllocError>(())
/// ```
pub struct Later<R> {
    count: usize,
    untold: Option<Misuse>,
    report: PhantomData<fn() -> R>,
}

impl<R: Report> Later<R> {
    /// None so far.
    #[must_use]
    pub const fn new() -> Self {
        Later { count: 0, untold: None, report: PhantomData }
    }

    /// How many there were.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }
}

impl<R: Report> Default for Later<R> {
    fn default() -> Self {
        Later::new()
    }
}

impl<R> fmt::Debug for Later<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Later").field("count", &self.count).field("untold", &self.untold).finish()
    }
}

// SAFETY: M1: an addition and a copy.
unsafe impl<R: Report> OnMisuse for Later<R> {
    fn on_misuse(&mut self, misuse: &Misuse) {
        self.count = self.count.saturating_add(1);
        self.untold = self.untold.or(Some(*misuse));
    }

    fn misuses(&self) -> usize {
        self.count
    }

    const LATER: bool = true;

    fn take_finding(&mut self) -> Option<Finding> {
        self.untold.take().map(Finding::new::<R>)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Ignore;

    static_assertions::assert_impl_all!(Later<Ignore>: Send, Sync);

    static_assertions::assert_impl_all!(Finding: Send, Sync, Copy);
}
