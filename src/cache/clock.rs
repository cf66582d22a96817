//! Time, for policies that need it.

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

/// The monotonic clock of the standard library, counted from its first use.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug, Default)]
pub struct StdClock;

// SAFETY: the standard clock uses no cache; it unwinds only where the OS has no clock at all, and then from the first call on, before there
// is anything to free.
#[cfg(feature = "std")]
unsafe impl Clock for StdClock {
    fn now() -> u64 {
        use std::sync::OnceLock;
        use std::time::Instant;

        static START: OnceLock<Instant> = OnceLock::new();
        let elapsed = START.get_or_init(Instant::now).elapsed();
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}
