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
    /// Counts once.
    ///
    /// # Safety
    /// Called under the lock.
    unsafe fn count(&self) {
        // SAFETY: the lock gives exclusion (L1).
        unsafe { *self.count.get() += 1 };
    }

    /// Counts by `with` and by `try_with` in turn.
    fn work(&self) {
        // SAFETY: called under the lock.
        let count = || unsafe { self.count() };
        for round in 0..ROUNDS {
            if round % 2 == 0 {
                assert!(self.lock.with(count).is_some(), "no re-entry here: it has to wait");
            } else {
                while self.lock.try_with(count).is_none() {
                    std::thread::yield_now();
                }
            }
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

/// Held: a try does nothing. Free again: it works. Two locks from `INIT` have nothing to do with each other.
fn trying<L: Lock>() {
    let (lock, other) = (L::INIT, L::INIT);
    let inside = || (lock.try_with(|| unreachable!()), other.try_with(|| 7));
    for _ in 0..3 {
        assert_eq!(lock.with(inside), Some((None::<()>, Some(7))));
        assert_eq!(lock.try_with(inside), Some((None, Some(7))));
    }
    let moved = lock;
    assert_eq!(moved.with(|| 8), Some(8));
}

/// A holder that locks again is told so, as often as it tries, and loses nothing by it.
fn reentry_is_told<L: Lock>() {
    let lock = L::INIT;
    assert_eq!(lock.with(|| [lock.with(|| 1), lock.with(|| 2)]), Some([None, None]));
    assert_eq!(lock.try_with(|| lock.with(|| 1)), Some(None));
    assert_eq!(lock.with(|| 3), Some(3));
}

/// A lock that is held without work: nobody gets in until it is let go of, which another thread may do, and holders are alone.
#[cfg(feature = "std")]
fn holding<L: HoldLock + Sync>() {
    let lock = L::INIT;
    for _ in 0..3 {
        lock.hold();
        assert_eq!(lock.try_with(|| ()), None);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                assert_eq!(lock.try_with(|| ()), None);
                // SAFETY: it is held by the thread that made this one.
                unsafe { lock.let_go() };
                lock.with(|| 1)
            });
            // Waits for the other thread, or finds the lock free.
            assert_eq!(lock.with(|| 2), Some(2));
            assert_eq!(other.join().unwrap(), Some(1));
        });
    }
    let counter = Counter { lock: L::INIT, count: UnsafeCell::new(0) };
    std::thread::scope(|scope| {
        for _ in 0..THREADS / 2 {
            scope.spawn(|| counter.work());
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    counter.lock.hold();
                    // SAFETY: it is held (L5).
                    unsafe { counter.count() };
                    // SAFETY: it is held by the line above.
                    unsafe { counter.lock.let_go() };
                }
            });
        }
    });
    assert_eq!(counter.count.into_inner(), THREADS * ROUNDS);
}

/// Waiters are let in, in whatever order, when a holder that took its time lets go: they have long stopped spinning by then.
#[cfg(feature = "std")]
fn waiting<L: Lock + Sync>() {
    let counter = Counter { lock: L::INIT, count: UnsafeCell::new(0) };
    std::thread::scope(|scope| {
        let slow = counter.lock.with(|| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    // SAFETY: called under the lock.
                    assert!(counter.lock.with(|| unsafe { counter.count() }).is_some());
                });
            }
            std::thread::sleep(core::time::Duration::from_millis(30));
            // SAFETY: called under the lock.
            unsafe { *counter.count.get() }
        });
        assert_eq!(slow, Some(0), "nobody gets in before");
    });
    assert_eq!(counter.count.into_inner(), THREADS);
}

/// Work that unwinds frees the lock.
fn unwinding_frees<L: Lock>() {
    let lock = std::panic::AssertUnwindSafe(L::INIT);
    for tried in [false, true] {
        let work = || -> u8 { std::panic::resume_unwind(std::boxed::Box::new("work failed")) };
        let unwound = std::panic::catch_unwind(|| if tried { lock.try_with(work) } else { lock.with(work) });
        assert!(unwound.is_err());
        assert_eq!(lock.try_with(|| 1), Some(1));
        assert_eq!(lock.with(|| 2), Some(2));
    }
}

macro_rules! shared_lock {
    ($name:ident: $lock:ty $(, $more:ident)*) => {
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
            fn unwinding_frees() {
                super::unwinding_frees::<$lock>();
            }

            #[test]
            fn works_as_a_static() {
                let other = || std::thread::spawn(|| LOCK.try_with(|| ())).join().unwrap();
                assert_eq!(LOCK.with(other), Some(None));
                assert_eq!(other(), Some(()));
            }

            $(
                #[test]
                fn $more() {
                    super::$more::<$lock>();
                }
            )*
        }
    };
}

#[cfg(not(feature = "std"))]
shared_lock!(spin: SpinLock);
#[cfg(feature = "std")]
shared_lock!(spin: SpinLock, holding, waiting);
#[cfg(feature = "std")]
shared_lock!(yielding: YieldLock, holding, waiting);
shared_lock!(ticket: TicketLock);
#[cfg(feature = "std")]
shared_lock!(std_lock: StdLock, waiting);
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
    fn unwinding_frees() {
        super::unwinding_frees::<CriticalSectionLock>();
    }

    #[test]
    fn reentry_is_told() {
        super::reentry_is_told::<CriticalSectionLock>();
    }

    #[test]
    fn works_as_a_static() {
        assert_eq!(LOCK.with(|| 1), Some(1));
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
    fn unwinding_frees() {
        super::unwinding_frees::<NoLock>();
    }

    #[test]
    fn reentry_is_told() {
        super::reentry_is_told::<NoLock>();
    }

    /// Leaves, which leave no sign of themselves, see that of others.
    #[test]
    fn leaves_and_work_are_told_too() {
        struct Number(u8);
        impl Work for Number {
            type Done = u8;
            fn run(self) -> u8 {
                self.0
            }
        }
        let lock = NoLock::INIT;
        let all = || {
            // SAFETY: the leaf neither unwinds nor comes back.
            let leaf = unsafe { lock.with_leaf(|| 1) };
            // SAFETY: as above.
            let leaf_work = unsafe { lock.with_leaf_work(Number(2)) };
            [leaf, leaf_work, lock.with_work(Number(3))]
        };
        assert_eq!(lock.with(all), Some([None; 3]));
        assert_eq!(all(), [Some(1), Some(2), Some(3)]);
    }
}

const_assert_eq!(size_of::<NoLock>(), 1);
const_assert_eq!(size_of::<SpinLock>(), 1);
#[cfg(feature = "std")]
const_assert_eq!(size_of::<YieldLock>(), 1);
assert_eq_size!(TicketLock, [usize; 2]);
#[cfg(all(feature = "std", target_os = "linux"))]
const_assert_eq!(size_of::<StdLock>(), 8);
#[cfg(feature = "critical-section")]
const_assert_eq!(size_of::<CriticalSectionLock>(), 1);
#[cfg(feature = "lock_api")]
assert_eq_size!(LockApi<parking_lot::RawMutex>, parking_lot::RawMutex);
#[cfg(feature = "std")]
assert_eq_size!(OwnerChecked<SpinLock>, [usize; 2]);
