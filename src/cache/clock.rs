//! Time, for policies that need it.

#[cfg(feature = "std")]
use crate::describe::describe_leaf;

/// A clock, for [`WorkingSet`](super::WorkingSet).
///
/// # Safety
/// `now` does not unwind, and uses no cache that goes by this clock.
///
/// ```
/// use core::sync::atomic::{AtomicU64, Ordering};
/// use heapwright::cache::Clock;
///
/// /// Counted up by a timer interrupt.
/// static TICKS: AtomicU64 = AtomicU64::new(0);
/// struct Ticks;
/// // SAFETY: an atomic load neither unwinds nor uses a cache.
/// unsafe impl Clock for Ticks {
///     fn now() -> u64 {
///         TICKS.load(Ordering::Relaxed)
///     }
/// }
/// TICKS.store(1500, Ordering::Relaxed);
/// assert_eq!(Ticks::now(), 1500);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a heapwright clock",
    label = "this type parameter takes `StdClock` (feature `std`) or a clock of your own",
    note = "implement `heapwright::cache::Clock`: one function"
)]
pub unsafe trait Clock {
    /// Milliseconds since some fixed moment; never less than before.
    fn now() -> u64;
}

/// The monotonic clock of the operating system.
///
/// It may stand inside a global allocator: it allocates nothing, and waits for nobody.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug, Default)]
pub struct StdClock;

// SAFETY: the system's clock uses no cache, and does not unwind.
#[cfg(all(feature = "std", unix))]
unsafe impl Clock for StdClock {
    fn now() -> u64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the place is there to be written to. An error, of a system without that clock, leaves zeroes.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
        let milliseconds = u64::try_from(time.tv_nsec / 1_000_000).unwrap_or(0);
        u64::try_from(time.tv_sec).unwrap_or(0).wrapping_mul(1000).wrapping_add(milliseconds)
    }
}

// SAFETY: the standard clock uses no cache; it unwinds only where the OS has no clock at all, and then from the first call on, before there
// is anything to free.
#[cfg(all(feature = "std", not(unix)))]
unsafe impl Clock for StdClock {
    fn now() -> u64 {
        use std::sync::OnceLock;
        use std::time::Instant;

        static START: OnceLock<Instant> = OnceLock::new();
        let elapsed = START.get_or_init(Instant::now).elapsed();
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(feature = "std")]
describe_leaf!(StdClock, "StdClock of the OS");
