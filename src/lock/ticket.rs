//! The lock that waits in a loop, in order of arrival.

use core::hint;
#[cfg(target_has_atomic = "ptr")]
use core::sync::atomic::{AtomicUsize, Ordering};

// Made of critical sections where the chip has no compare-and-swap.
#[cfg(not(target_has_atomic = "ptr"))]
use portable_atomic::{AtomicUsize, Ordering};

use super::Lock;
use crate::describe::describe_leaf;

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
/// let seen = LOCK.with(|| LOCK.try_with(|| "inside"));
/// assert_eq!(seen, Some(None));
/// ```
#[derive(Debug, Default)]
pub struct TicketLock {
    /// The ticket that the next comer draws.
    next: AtomicUsize,
    /// The ticket whose holder may enter: equal to `next` exactly while the lock is free. Written by the holder only.
    serving: AtomicUsize,
}

/// Calls the next ticket when the work ends, however it does.
struct Served<'a> {
    lock: &'a TicketLock,
    /// The ticket that was drawn; `serving` stands at it while the work runs.
    ticket: usize,
}

impl Drop for Served<'_> {
    #[inline]
    fn drop(&mut self) {
        self.lock.serving.store(self.ticket.wrapping_add(1), Ordering::Release);
    }
}

// SAFETY: L1: tickets are drawn by an atomic addition (or a compare-exchange that does the same), so each is drawn once as long as
// fewer than 2^bits threads wait; work runs only for the ticket at `serving`, and only that work's end moves `serving` on.
// L2: `serving` is stored with release and read with acquire. L3: wrapping arithmetic and loads, nothing unwinds. L4: new atomics.
unsafe impl Lock for TicketLock {
    const INIT: Self = TicketLock { next: AtomicUsize::new(0), serving: AtomicUsize::new(0) };

    #[inline]
    fn with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        while self.serving.load(Ordering::Acquire) != ticket {
            hint::spin_loop();
        }
        let _served = Served { lock: self, ticket };
        Some(work())
    }

    #[inline]
    fn try_with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        // Draw a ticket only if it is being served already. `serving` can't pass `ticket` before it has been drawn, so a
        // success means that it still stands there.
        let ticket = self.serving.load(Ordering::Acquire);
        self.next
            .compare_exchange(ticket, ticket.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed)
            .ok()?;
        let _served = Served { lock: self, ticket };
        Some(work())
    }
}

describe_leaf!(TicketLock, "TicketLock");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_wrap_round() {
        let worn =
            || TicketLock { next: AtomicUsize::new(usize::MAX), serving: AtomicUsize::new(usize::MAX) };
        let lock = worn();
        assert_eq!(lock.try_with(|| lock.next.load(Ordering::Relaxed)), Some(0));
        assert_eq!(lock.with(|| lock.try_with(|| ())), Some(None));
        assert_eq!(lock.try_with(|| ()), Some(()));
        assert_eq!(lock.serving.load(Ordering::Relaxed), 2);

        let lock = worn();
        assert_eq!(lock.with(|| lock.try_with(|| ())), Some(None));
        assert_eq!(lock.try_with(|| ()), Some(()));
    }

    #[test]
    fn entry_is_in_order_of_arrival() {
        extern crate std;
        use std::sync::Mutex;
        use std::vec::Vec;

        let lock = TicketLock::INIT;
        let order = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            lock.with(|| {
                for arrival in 1..=4 {
                    let (lock, order) = (&lock, &order);
                    scope.spawn(move || lock.with(|| order.lock().unwrap().push(arrival)));
                    // The next thread starts only after this one has drawn its ticket.
                    while lock.next.load(Ordering::Relaxed) != 1 + arrival {
                        std::thread::yield_now();
                    }
                }
            });
        });
        assert_eq!(*order.lock().unwrap(), [1, 2, 3, 4]);
    }
}
