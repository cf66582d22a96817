//! The lock that waits in a loop, in order of arrival.

use core::hint;
#[cfg(target_has_atomic = "ptr")]
use core::sync::atomic::{AtomicUsize, Ordering};

// Made of critical sections where the chip has no compare-and-swap.
#[cfg(not(target_has_atomic = "ptr"))]
use portable_atomic::{AtomicUsize, Ordering};

use super::Lock;

/// A fair spin lock: threads enter in the order in which they came.
///
/// Choose it over [`SpinLock`](super::SpinLock) when many cores compete for one heap and the worst wait counts more than the
/// mean. It costs two words; one atomic addition to enter, one store to leave. With more busy threads than cores it is the
/// wrong choice: the turn may come to a thread that the OS has put aside, and all later ones wait for it.
///
/// It masks no interrupts: a handler that allocates from the heap it interrupted waits for ever (for that see
/// `CriticalSectionLock`). A re-entry by the holder hangs (for that see `OwnerChecked`).
///
/// The idea is that of J. M. Mellor-Crummey and M. L. Scott, *Algorithms for Scalable Synchronization on Shared-Memory
/// Multiprocessors*, 1991. Tickets wrap round, so a lock never wears out; `spin`'s ticket mutex, with overflow checks on, panics
/// once the numbers are used up (2³² on a 32-bit machine), which an allocator must not do.
///
/// ```
/// use heapwright::lock::{Lock, TicketLock};
/// static LOCK: TicketLock = TicketLock::INIT;
/// let held = LOCK.lock();
/// assert!(LOCK.try_lock().is_none());
/// drop(held);
/// assert!(LOCK.try_lock().is_some());
/// ```
#[derive(Debug, Default)]
pub struct TicketLock {
    /// The ticket that the next comer draws.
    next: AtomicUsize,
    /// The ticket whose holder may enter: equal to `next` exactly while the lock is free. Written by the holder only.
    serving: AtomicUsize,
}

/// Proof that a [`TicketLock`] is held.
#[derive(Debug)]
pub struct TicketLockGuard<'a> {
    lock: &'a TicketLock,
    /// The ticket that was drawn; `serving` stands at it while the guard lives.
    ticket: usize,
}

impl Drop for TicketLockGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.lock.serving.store(self.ticket.wrapping_add(1), Ordering::Release);
    }
}

// SAFETY: L1: tickets are drawn by an atomic addition (or a compare-exchange that does the same), so each is drawn once as long as
// fewer than 2^bits threads wait; a guard is made only for the ticket at `serving`, and only that guard's drop moves `serving` on.
// L2: `serving` is stored with release and read with acquire. L3: wrapping arithmetic and loads, nothing unwinds. L4: new atomics.
unsafe impl Lock for TicketLock {
    const INIT: Self = TicketLock { next: AtomicUsize::new(0), serving: AtomicUsize::new(0) };

    type Guard<'a> = TicketLockGuard<'a>;

    #[inline]
    fn lock(&self) -> Option<TicketLockGuard<'_>> {
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        while self.serving.load(Ordering::Acquire) != ticket {
            hint::spin_loop();
        }
        Some(TicketLockGuard { lock: self, ticket })
    }

    #[inline]
    fn try_lock(&self) -> Option<TicketLockGuard<'_>> {
        // Draw a ticket only if it is being served already. `serving` can't pass `ticket` before it has been drawn, so a
        // success means that it still stands there.
        let ticket = self.serving.load(Ordering::Acquire);
        self.next
            .compare_exchange(ticket, ticket.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed)
            .ok()
            .map(|ticket| TicketLockGuard { lock: self, ticket })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_wrap_round() {
        let lock = TicketLock { next: AtomicUsize::new(usize::MAX), serving: AtomicUsize::new(usize::MAX) };
        drop(lock.try_lock().unwrap());
        assert_eq!(lock.next.load(Ordering::Relaxed), 0);
        drop(lock.lock());
        drop(lock.try_lock().unwrap());
        assert_eq!(lock.serving.load(Ordering::Relaxed), 2);

        let lock = TicketLock { next: AtomicUsize::new(usize::MAX), serving: AtomicUsize::new(usize::MAX) };
        let held = lock.lock().unwrap();
        assert!(lock.try_lock().is_none());
        drop(held);
        assert!(lock.try_lock().is_some());
    }

    #[test]
    fn entry_is_in_order_of_arrival() {
        extern crate std;
        use std::sync::Mutex;
        use std::vec::Vec;

        let lock = TicketLock::INIT;
        let order = Mutex::new(Vec::new());
        let held = lock.lock();
        std::thread::scope(|scope| {
            for arrival in 1..=4 {
                let (lock, order) = (&lock, &order);
                scope.spawn(move || {
                    let _held = lock.lock();
                    order.lock().unwrap().push(arrival);
                });
                // The next thread starts only after this one has drawn its ticket.
                while lock.next.load(Ordering::Relaxed) != 1 + arrival {
                    std::thread::yield_now();
                }
            }
            drop(held);
        });
        assert_eq!(*order.lock().unwrap(), [1, 2, 3, 4]);
    }
}
