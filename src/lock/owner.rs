//! The lock that knows its holder.

use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::Lock;

/// Lock `L` that remembers which thread holds it: a re-entry by that thread gives `None` instead of waiting for ever. Feature `std`.
///
/// Choose it when code of your own runs under the lock (a source, a core) and could come back to the heap it serves: the
/// inner request then fails with [`AllocError`](crate::AllocError), as with [`NoLock`](super::NoLock). It adds a word to `L`, and to each
/// entry the address of a thread-local, one load and one store, to each exit one store. Fairness, priorities and interrupts are
/// those of `L`; an interrupt or signal handler counts as the thread that it interrupted, so it gets `None` too.
///
/// Threads are told apart by the address of a thread-local variable. On targets without native thread-locals the standard library
/// keeps them on the heap: don't use it in a `#[global_allocator]` there. (Linux, Windows and Apple's systems have native ones.)
///
/// ```
/// use heapwright::lock::{Lock, OwnerChecked, SpinLock};
/// static LOCK: OwnerChecked<SpinLock> = OwnerChecked::INIT;
/// let held = LOCK.lock();
/// assert!(held.is_some());
/// assert!(LOCK.lock().is_none(), "a bare SpinLock would spin here for ever");
/// ```
#[derive(Debug, Default)]
pub struct OwnerChecked<L> {
    /// The thread whose guard lives, 0 for none. Stored by the holder of `lock` only, so a thread that reads itself here holds it.
    owner: AtomicUsize,
    lock: L,
}

/// Proof that an [`OwnerChecked`] lock is held, by this thread.
pub struct OwnerCheckedGuard<'a, L: Lock + 'a> {
    owner: &'a AtomicUsize,
    _held: L::Guard<'a>,
    /// The owner must be the thread that drops the guard: it is `!Send`.
    thread: PhantomData<*const ()>,
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
    /// The guard for a thread that has just got `held`.
    #[inline]
    fn guard<'a>(&'a self, thread: usize, held: L::Guard<'a>) -> OwnerCheckedGuard<'a, L> {
        self.owner.store(thread, Ordering::Relaxed);
        OwnerCheckedGuard { owner: &self.owner, _held: held, thread: PhantomData }
    }
}

impl<L: Lock> Drop for OwnerCheckedGuard<'_, L> {
    #[inline]
    fn drop(&mut self) {
        // Before `_held` goes: afterwards the next holder may have written itself here.
        self.owner.store(0, Ordering::Relaxed);
    }
}

// SAFETY: L1, L2: a guard is made of a guard of `L`, and holds it to its end; `owner` only ever refuses. L3: `L` does not unwind,
// `this_thread` neither. L4: `L::INIT` is free, and so is owner 0.
unsafe impl<L: Lock> Lock for OwnerChecked<L> {
    const INIT: Self = OwnerChecked { owner: AtomicUsize::new(0), lock: L::INIT };

    type Guard<'a>
        = OwnerCheckedGuard<'a, L>
    where
        L: 'a;

    #[inline]
    fn lock(&self) -> Option<OwnerCheckedGuard<'_, L>> {
        let thread = this_thread();
        // Relaxed is enough: a thread always sees its own last store, or a later one by another thread.
        if self.owner.load(Ordering::Relaxed) == thread {
            return None;
        }
        self.lock.lock().map(|held| self.guard(thread, held))
    }

    #[inline]
    fn try_lock(&self) -> Option<OwnerCheckedGuard<'_, L>> {
        self.lock.try_lock().map(|held| self.guard(this_thread(), held))
    }
}

impl<L: Lock> fmt::Debug for OwnerCheckedGuard<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnerCheckedGuard")
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
        std::thread::scope(|scope| {
            let held = lock.lock();
            let other = scope.spawn(|| {
                assert!(lock.try_lock().is_none());
                arrived.store(1, Ordering::Release);
                lock.lock().is_some()
            });
            while arrived.load(Ordering::Acquire) == 0 {
                std::thread::yield_now();
            }
            assert!(lock.lock().is_none(), "the holder asks again");
            drop(held);
            assert!(other.join().unwrap());
        });
        assert!(lock.lock().is_some(), "nobody is left in possession");
    }
}
