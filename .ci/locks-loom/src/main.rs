//! Locks, and the ring of last events, alone, in every order of their atomic operations that the memory model allows.
//!
//! The files themselves are compiled here; what they import from `core` and `crate` is this crate's, where atomics are loom's. Locks made
//! of others' atomics (`SpinLock` and `YieldLock` of those of `spin`, `StdLock` of the standard library's) can't be had so: ThreadSanitizer sees them.

extern crate self as core;
// Thread-locals are loom's as well.
extern crate self as std;
extern crate std as real;

use real::sync::atomic as plain;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use heapwright::lock::Lock;

#[expect(unreachable_pub, reason = "it is written for another crate")]
#[path = "../../../src/lock/ticket.rs"]
mod ticket;

#[expect(unreachable_pub, reason = "it is written for another crate")]
#[path = "../../../src/lock/owner.rs"]
mod owner;

#[expect(dead_code, unreachable_pub, reason = "it is written for another crate")]
#[path = "../../../src/trace/last_events.rs"]
mod last_events;

mod ring;

use owner::OwnerChecked;
use ticket::TicketLock;

/// What the ring imports from its parents.
use heapwright::AllocError;
use heapwright::trace::{Block, Event, Sink};

/// What they import from `core`.
use real::{alloc, cell, fmt, marker, ptr};
/// With an initial value that loom's own macro has no rule for, as it is older than such values are.
macro_rules! loom_local {
    (static $name:ident: $type:ty = $value:expr;) => {
        loom::thread_local! { static $name: $type = { $value }; }
    };
}
use loom_local as thread_local;
mod hint {
    pub(crate) use loom::hint::spin_loop;
}

/// The same: loom's atomics, but made by a constant.
mod sync {
    pub(crate) mod atomic {
        use real::sync::OnceLock;

        pub(crate) use loom::sync::atomic::{Ordering, fence};

        /// Made at the first use, which has to be before the model's threads start.
        #[derive(Debug, Default)]
        pub(crate) struct AtomicUsize {
            initial: usize,
            atomic: OnceLock<loom::sync::atomic::AtomicUsize>,
        }

        impl AtomicUsize {
            pub(crate) const fn new(initial: usize) -> Self {
                AtomicUsize { initial, atomic: OnceLock::new() }
            }

            fn atomic(&self) -> &loom::sync::atomic::AtomicUsize {
                self.atomic.get_or_init(|| loom::sync::atomic::AtomicUsize::new(self.initial))
            }

            pub(crate) fn load(&self, order: Ordering) -> usize {
                self.atomic().load(order)
            }

            pub(crate) fn store(&self, value: usize, order: Ordering) {
                self.atomic().store(value, order);
            }

            pub(crate) fn fetch_add(&self, value: usize, order: Ordering) -> usize {
                self.atomic().fetch_add(value, order)
            }

            pub(crate) fn compare_exchange(
                &self,
                current: usize,
                new: usize,
                success: Ordering,
                failure: Ordering,
            ) -> Result<usize, usize> {
                self.atomic().compare_exchange(current, new, success, failure)
            }
        }
    }
}

/// What locks import from this crate's `describe`: nothing is described here.
mod describe {
    macro_rules! describe_leaf {
        ($($ignored:tt)*) => {};
    }
    pub(crate) use describe_leaf;

    pub(crate) use heapwright::describe::{Cost, Describe, Tree};
}

/// A plain counter under a lock: loom sees whoever counts without exclusion, or does not see what was counted before.
struct Counter<L> {
    lock: L,
    count: UnsafeCell<usize>,
}

// SAFETY: the count is touched under the lock only, which is what is tested.
unsafe impl<L: Sync> Sync for Counter<L> {}
// SAFETY: a number and a lock.
unsafe impl<L: Send> Send for Counter<L> {}

impl<L: Lock> Counter<L> {
    fn new() -> Self {
        let counter = Counter { lock: L::INIT, count: UnsafeCell::new(0) };
        assert_eq!(counter.lock.with(|| ()), Some(()), "and the atomics are made");
        counter
    }

    fn count(&self) {
        self.count.with_mut(|count| {
            // SAFETY: under the lock, as loom checks.
            let now = unsafe { count.read() };
            // SAFETY: the same.
            unsafe { count.write(now + 1) };
        });
    }
}

/// What a thread does.
#[derive(Clone, Copy)]
enum Does {
    /// Waits and counts.
    With,
    /// Counts if the lock is free.
    Try,
    /// Waits and unwinds.
    Unwind,
    /// Waits, counts, and asks for the lock that it holds.
    Again,
}

/// Does it; says how often it has counted.
fn act<L: Lock>(counter: &Counter<L>, acts: &[Does]) -> usize {
    let mut counted = 0;
    for act in acts {
        let done = match act {
            Does::With => {
                let done = counter.lock.with(|| counter.count());
                assert!(done.is_some(), "it has to wait");
                done
            }
            Does::Again => counter.lock.with(|| {
                counter.count();
                assert_eq!(counter.lock.with(|| counter.count()), None, "the holder is let in again");
                assert_eq!(counter.lock.try_with(|| counter.count()), None, "the holder is let in again");
            }),
            Does::Try => counter.lock.try_with(|| counter.count()),
            Does::Unwind => {
                let work = || {
                    counter.count();
                    real::panic::resume_unwind(Box::new("work failed"));
                };
                let unwound =
                    real::panic::catch_unwind(real::panic::AssertUnwindSafe(|| counter.lock.with(work)));
                assert!(unwound.is_err(), "the work's panic is lost");
                Some(())
            }
        };
        counted += usize::from(done.is_some());
    }
    counted
}

/// Explores threads, each of which does its row, the first of them on the main thread.
fn explore<L: Lock + Send + Sync + 'static>(
    name: &str,
    preemptions: Option<usize>,
    rows: &'static [&'static [Does]],
) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 100_000;
    let orders = real::sync::Arc::new(plain::AtomicUsize::new(0));
    let counter = real::sync::Arc::clone(&orders);
    let start = real::time::Instant::now();
    builder.check(move || {
        counter.fetch_add(1, plain::Ordering::Relaxed);
        let shared = Arc::new(Counter::<L>::new());
        let threads: Vec<_> = rows[1..]
            .iter()
            .map(|row| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || act(&shared, row))
            })
            .collect();
        let mut counted = act(&shared, rows[0]);
        for thread in threads {
            counted += thread.join().unwrap_or_else(|panic| real::panic::resume_unwind(panic));
        }
        assert_eq!(
            shared.count.with(|count| {
                // SAFETY: all threads have ended.
                unsafe { count.read() }
            }),
            counted,
            "counts are lost"
        );
    });
    let orders = orders.load(plain::Ordering::Relaxed);
    let bound = preemptions.map_or("all orders".to_owned(), |bound| format!("up to {bound} preemptions"));
    println!("{name}: {orders} orders ({bound}), {:.1} s", start.elapsed().as_secs_f64());
    assert!(orders > 10, "the threads did not meet");
}

fn main() {
    use Does::{Again, Try, Unwind, With};
    let more =
        real::env::var("HEAPWRIGHT_LOOM_MORE").ok().and_then(|more| more.parse::<usize>().ok()).unwrap_or(0);
    explore::<TicketLock>("TicketLock, two wait twice", None, &[&[With, With], &[With, With]]);
    explore::<TicketLock>("TicketLock, one waits, one tries", None, &[&[With, With], &[Try, Try]]);
    explore::<TicketLock>("TicketLock, one unwinds", None, &[&[Unwind, Try], &[With, With]]);
    // Threads that spin have endless orders, of which a bound leaves few: of three, one waits and two try.
    explore::<TicketLock>("TicketLock, one waits, two try", Some(3 + more), &[&[With], &[Try], &[Try]]);
    explore::<TicketLock>("TicketLock, two wait, one tries", Some(1 + more), &[&[With], &[With], &[Try]]);
    type Owned = OwnerChecked<TicketLock>;
    explore::<Owned>("OwnerChecked, two ask again", Some(3 + more), &[&[Again, With], &[With, Again]]);
    explore::<Owned>(
        "OwnerChecked, one asks again, one tries",
        Some(4 + more),
        &[&[Again, Try], &[Try, With]],
    );
    explore::<Owned>("OwnerChecked, one unwinds", Some(3 + more), &[&[Unwind, With], &[Again, Try]]);
    ring::explore(more);
}
