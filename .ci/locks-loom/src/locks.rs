//! Locks, alone: a counter under each, which is plain.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};

use critical_section::RawRestoreState;
use heapwright::lock::{CriticalSectionLock, Lock, OwnerChecked, TicketLock};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use loom_core::hint::spin_loop;
use loom_core::sync::atomic::{AtomicBool, Ordering};

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
        Counter { lock: L::INIT, count: UnsafeCell::new(0) }
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
                    resume_unwind(Box::new("work failed"));
                };
                let unwound = catch_unwind(AssertUnwindSafe(|| counter.lock.with(work)));
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
    super::explore(name, preemptions, move || {
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
            counted += thread.join().unwrap_or_else(|panic| resume_unwind(panic));
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
}

/// Critical sections as a chip with several cores has them: who is in one may enter another.
struct Sections;
critical_section::set_impl!(Sections);

/// What keeps others out.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Who is in a section: asked by whoever wants to know whether it is himself.
static WITHIN: Mutex<Option<thread::ThreadId>> = Mutex::new(None);

fn within() -> std::sync::MutexGuard<'static, Option<thread::ThreadId>> {
    WITHIN.lock().unwrap_or_else(PoisonError::into_inner)
}

// SAFETY: a spin lock, but for who has it.
unsafe impl critical_section::Impl for Sections {
    unsafe fn acquire() -> RawRestoreState {
        let own = thread::current().id();
        if *within() == Some(own) {
            return true;
        }
        while TAKEN.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            spin_loop();
        }
        *within() = Some(own);
        false
    }

    unsafe fn release(was_within: RawRestoreState) {
        if !was_within {
            *within() = None;
            TAKEN.store(false, Ordering::Release);
        }
    }
}

/// All of them.
pub(crate) fn explore_all(more: usize) {
    use Does::{Again, Try, Unwind, With};
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
    type Section = CriticalSectionLock;
    explore::<Section>(
        "CriticalSectionLock, two ask again",
        Some(3 + more),
        &[&[Again, With], &[With, Again]],
    );
    explore::<Section>("CriticalSectionLock, one unwinds", Some(3 + more), &[&[Unwind, With], &[Again, Try]]);
}
