//! What every lock is tested for: exclusion, trying, re-entry, size, `Send` and `Sync`.

extern crate std;

use core::cell::UnsafeCell;
use core::mem::size_of;

use static_assertions::{assert_eq_size, assert_impl_all, assert_not_impl_any, const_assert_eq};

use super::*;

/// A plain counter: whoever counts without exclusion loses counts (and Miri sees the race).
struct Counter<L> {
    lock: L,
    count: UnsafeCell<usize>,
}

// SAFETY: `count` is only touched under the lock, and by the one who owns the counter.
unsafe impl<L: Sync> Sync for Counter<L> {}

const THREADS: usize = 4;
const ROUNDS: usize = if cfg!(miri) { 50 } else { 20_000 };

impl<L: Lock> Counter<L> {
    /// Counts by `lock` and by `try_lock` in turn.
    fn work(&self) {
        for round in 0..ROUNDS {
            let _held = loop {
                let guard = if round % 2 == 0 { self.lock.lock() } else { self.lock.try_lock() };
                match guard {
                    Some(guard) => break guard,
                    None if round % 2 == 0 => panic!("no re-entry here: `lock` has to wait"),
                    None => std::thread::yield_now(),
                }
            };
            // SAFETY: the guard gives exclusion (L1).
            unsafe { *self.count.get() += 1 };
        }
    }
}

/// Counts on several threads at once.
fn exclusion<L: Lock + Sync>() {
    let counter = Counter { lock: L::INIT, count: UnsafeCell::new(0) };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| counter.work());
        }
    });
    assert_eq!(counter.count.into_inner(), THREADS * ROUNDS);
}

/// Held: no second guard. Free again: one more. Two locks from `INIT` have nothing to do with each other.
fn trying<L: Lock>() {
    let (lock, other) = (L::INIT, L::INIT);
    for _ in 0..3 {
        let held = lock.lock();
        assert!(held.is_some());
        assert!(lock.try_lock().is_none());
        assert!(other.try_lock().is_some());
        drop(held);
        let held = lock.try_lock();
        assert!(held.is_some());
        assert!(lock.try_lock().is_none());
        drop(held);
    }
    let moved = lock;
    assert!(moved.lock().is_some());
}

/// A holder that locks again is told so, as often as it tries, and loses nothing by it.
fn reentry_is_told<L: Lock>() {
    let lock = L::INIT;
    let held = lock.lock();
    assert!(held.is_some());
    assert!(lock.lock().is_none());
    assert!(lock.lock().is_none());
    drop(held);
    assert!(lock.lock().is_some());
    assert!(lock.lock().is_some());
}

macro_rules! shared_lock {
    ($name:ident: $lock:ty $(, $reentry:ident)?) => {
        mod $name {
            use super::*;

            static LOCK: $lock = <$lock as Lock>::INIT;
            assert_impl_all!($lock: Send, Sync);

            #[test]
            fn exclusion() {
                super::exclusion::<$lock>();
            }

            #[test]
            fn trying() {
                super::trying::<$lock>();
            }

            #[test]
            fn works_as_a_static() {
                let held = LOCK.lock();
                assert!(std::thread::scope(|scope| scope.spawn(|| LOCK.try_lock().is_none()).join().unwrap()));
                drop(held);
            }

            $(
                #[test]
                fn $reentry() {
                    super::$reentry::<$lock>();
                }
            )?
        }
    };
}

shared_lock!(spin: SpinLock);
shared_lock!(ticket: TicketLock);
#[cfg(feature = "std")]
shared_lock!(std_lock: StdLock);
#[cfg(feature = "std")]
shared_lock!(owner_checked_spin: OwnerChecked<SpinLock>, reentry_is_told);
#[cfg(feature = "std")]
shared_lock!(owner_checked_std: OwnerChecked<StdLock>, reentry_is_told);
#[cfg(feature = "lock_api")]
shared_lock!(lock_api_parking: LockApi<parking_lot::RawMutex>);
#[cfg(all(feature = "lock_api", feature = "std"))]
shared_lock!(owner_checked_parking: OwnerChecked<LockApi<parking_lot::RawMutex>>, reentry_is_told);

// Another thread's try waits for the critical section, so this one has its own test as a static.
#[cfg(feature = "critical-section")]
mod critical_section_lock {
    use super::*;

    static LOCK: CriticalSectionLock = CriticalSectionLock::INIT;
    assert_impl_all!(CriticalSectionLock: Send, Sync);

    #[test]
    fn exclusion() {
        super::exclusion::<CriticalSectionLock>();
    }

    #[test]
    fn trying() {
        super::trying::<CriticalSectionLock>();
    }

    #[test]
    fn reentry_is_told() {
        super::reentry_is_told::<CriticalSectionLock>();
    }

    #[test]
    fn works_as_a_static() {
        assert!(LOCK.lock().is_some());
    }
}

mod no_lock {
    use super::*;

    assert_impl_all!(NoLock: Send);
    assert_not_impl_any!(NoLock: Sync);

    #[test]
    fn trying() {
        super::trying::<NoLock>();
    }

    #[test]
    fn reentry_is_told() {
        super::reentry_is_told::<NoLock>();
    }
}

const_assert_eq!(size_of::<NoLock>(), 1);
const_assert_eq!(size_of::<SpinLock>(), 1);
assert_eq_size!(TicketLock, [usize; 2]);
#[cfg(all(feature = "std", target_os = "linux"))]
const_assert_eq!(size_of::<StdLock>(), 8);
#[cfg(feature = "critical-section")]
const_assert_eq!(size_of::<CriticalSectionLock>(), 1);
#[cfg(feature = "lock_api")]
assert_eq_size!(LockApi<parking_lot::RawMutex>, parking_lot::RawMutex);
#[cfg(feature = "std")]
assert_eq_size!(OwnerChecked<SpinLock>, [usize; 2]);

// What is dropped on the wrong thread would unlock for somebody else.
assert_not_impl_any!(NoLockGuard<'_>: Send);
#[cfg(feature = "std")]
assert_not_impl_any!(StdLockGuard<'_>: Send);
#[cfg(feature = "std")]
assert_not_impl_any!(OwnerCheckedGuard<'_, SpinLock>: Send);
#[cfg(feature = "critical-section")]
assert_not_impl_any!(CriticalSectionGuard<'_>: Send);
