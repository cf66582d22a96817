//! The lock that knows its holder.

use core::cell::Cell;
use core::fmt;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::Lock;
use crate::describe::{Cost, Describe, Tree};

/// Lock `L` that remembers which thread holds it: a re-entry by that thread gives `None` instead of waiting for ever. Feature `std`.
///
/// Choose it when code of your own runs under the lock (a source, a core) and could come back to the heap it serves: the
/// inner request then fails with [`AllocError`](crate::AllocError), as with [`NoLock`](super::NoLock). It adds a word to `L`, and to each
/// entry the address of a thread-local, one load and one store, to each exit one store. Fairness, priorities and interrupts are
/// those of `L`; an interrupt or signal handler counts as the thread that it interrupted. During the work it gets `None` too; but between the
/// taking of `L` and the noting of the name, and between the name's end and the release of `L`, it finds another one, and waits for `L` for ever: so this is no lock for handlers.
///
/// Threads are told apart by the address of a thread-local variable. On targets without native thread-locals the standard library
/// keeps them on the heap: don't use it in a `#[global_allocator]` there. (Linux, Windows and Apple's systems have native ones.)
///
/// ```
/// use heapwright::lock::{Lock, OwnerChecked, SpinLock};
/// static LOCK: OwnerChecked<SpinLock> = OwnerChecked::INIT;
/// let seen = LOCK.with(|| LOCK.with(|| "a second entry"));
/// assert_eq!(seen, Some(None), "a bare SpinLock would spin for ever");
/// ```
#[derive(Debug, Default)]
pub struct OwnerChecked<L> {
    /// The thread whose work runs, 0 for none. Stored by the holder of `lock` only, so a thread that reads itself here holds it.
    owner: AtomicUsize,
    lock: L,
}

/// Takes the thread's name off when the work ends, however it does.
struct Leave<'a>(&'a AtomicUsize);

impl Drop for Leave<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// A number that no other living thread has, and never 0.
#[inline]
fn this_thread() -> usize {
    std::thread_local! {
        static MARK: Cell<u8> = const { Cell::new(0) };
    }
    // Const-made and without a destructor, the variable can be had at any time in a thread's life: `with` never panics.
    MARK.with(|mark| ptr::from_ref(mark).addr())
}

impl<L: Lock> OwnerChecked<L> {
    /// Runs `work` in the name of `thread`, which holds `lock`.
    #[inline]
    fn own<R>(&self, thread: usize, work: impl FnOnce() -> R) -> R {
        self.owner.store(thread, Ordering::Relaxed);
        let _leave = Leave(&self.owner);
        work()
    }
}

// SAFETY: L1, L2: work runs under `L`, to its end; `owner` only ever refuses. L3: `L` does not unwind, `this_thread` neither.
// L4: `L::INIT` is free, and so is owner 0.
unsafe impl<L: Lock> Lock for OwnerChecked<L> {
    const INIT: Self = OwnerChecked { owner: AtomicUsize::new(0), lock: L::INIT };

    #[inline]
    fn with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        let thread = this_thread();
        // Relaxed is enough: a thread always sees its own last store, or a later one by another thread.
        if self.owner.load(Ordering::Relaxed) == thread {
            return None;
        }
        self.lock.with(|| self.own(thread, work))
    }

    #[inline]
    fn try_with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        self.lock.try_with(|| self.own(this_thread(), work))
    }
}

impl<L: Lock + Describe> Describe for OwnerChecked<L> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let cost = Cost::state_around::<Self, L>();
        tree.part(format_args!("OwnerChecked"), cost, &[("lock", L::describe)])
    }
}

#[cfg(test)]
mod tests {
    use super::super::SpinLock;
    use super::*;

    #[test]
    fn threads_differ_and_stay_themselves() {
        let here = this_thread();
        let there = std::thread::scope(|scope| scope.spawn(this_thread).join().unwrap());
        assert_ne!(here, there);
        assert_eq!(here, this_thread());
        assert_ne!(here, 0);
    }

    #[test]
    fn another_thread_waits_instead_of_failing() {
        let lock = OwnerChecked::<SpinLock>::INIT;
        let arrived = AtomicUsize::new(0);
        let other = || {
            assert!(lock.try_with(|| ()).is_none());
            arrived.store(1, Ordering::Release);
            lock.with(|| "inside")
        };
        std::thread::scope(|scope| {
            let work = || {
                let other = scope.spawn(other);
                while arrived.load(Ordering::Acquire) == 0 {
                    std::thread::yield_now();
                }
                assert!(lock.with(|| ()).is_none(), "the holder asks again");
                other
            };
            let other = lock.with(work).unwrap();
            assert_eq!(other.join().unwrap(), Some("inside"));
        });
        assert!(lock.with(|| ()).is_some(), "nobody is left in possession");
    }
}
