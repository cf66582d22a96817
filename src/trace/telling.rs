//! How a sink is called: never from within itself, and never so that it unwinds.

#[cfg(feature = "std")]
use core::cell::Cell;

#[cfg(feature = "std")]
std::thread_local! {
    /// Whether a sink runs on this thread, or work that is not to be traced. Const-made and without a destructor, so that it can be had at any
    /// time in a thread's life.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Makes the thread quiet for as long as it lives, and then as it was.
#[cfg(feature = "std")]
struct Quiet {
    was: bool,
}

#[cfg(feature = "std")]
impl Quiet {
    #[inline]
    fn new() -> Self {
        Quiet { was: QUIET.with(|quiet| quiet.replace(true)) }
    }
}

#[cfg(feature = "std")]
impl Drop for Quiet {
    #[inline]
    fn drop(&mut self) {
        QUIET.with(|quiet| quiet.set(self.was));
    }
}

/// Runs `work` untraced: what it allocates and frees on this thread, in whatever heap, is told to no sink. Feature `std`.
///
/// For reports about a traced heap, which are not to be in the next report. A block that is allocated inside and freed outside is one that a
/// sink has never heard of; the other way round, one that seems to live for ever. So let `work` keep what it makes to itself.
///
/// ```
/// use heapwright::trace::{AnyGlobal, LastEvents, Traced, untraced};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static HEAP: Traced<LastEvents<64>, AnyGlobal<System>> =
///     Traced::new(LastEvents::new(), AnyGlobal::new(System));
///
/// let before = HEAP.sink().told();
/// untraced(|| drop(vec![0u8; 100]));
/// assert_eq!(HEAP.sink().told(), before);
/// drop(vec![0u8; 100]);
/// assert_eq!(HEAP.sink().told(), before + 2);
/// ```
#[cfg(feature = "std")]
pub fn untraced<R>(work: impl FnOnce() -> R) -> R {
    let _quiet = Quiet::new();
    work()
}

/// Calls a sink, unless one is at work on this thread already: then there is nothing to be had.
#[inline]
pub(super) fn tell<R>(call: impl FnOnce() -> R) -> Option<R> {
    #[cfg(feature = "std")]
    if QUIET.with(Cell::get) {
        return None;
    }
    #[cfg(feature = "std")]
    let _quiet = Quiet::new();
    let mut call = Call { call: Some(call), result: None };
    or_abort(&mut call);
    call.result
}

/// A call and, when it is over, what it gave.
struct Call<F, R> {
    call: Option<F>,
    result: Option<R>,
}

/// An `extern "C"` function aborts the process where another would unwind (since Rust 1.81).
extern "C" fn or_abort<R, F: FnOnce() -> R>(call: &mut Call<F, R>) {
    call.result = call.call.take().map(|call| call());
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_quiet_for_as_long_as_the_outermost_asks() {
        assert_eq!(tell(|| tell(|| 1)), Some(None));
        assert_eq!(tell(|| 1), Some(1));
        untraced(|| {
            untraced(|| assert_eq!(tell(|| 1), None));
            assert_eq!(tell(|| 1), None);
            std::thread::scope(|scope| {
                assert_eq!(scope.spawn(|| tell(|| 1)).join().unwrap(), Some(1), "other threads are not");
            });
        });
        assert_eq!(tell(|| 1), Some(1));
    }

    #[test]
    fn unwinding_ends_the_quiet() {
        assert!(std::panic::catch_unwind(|| untraced(|| panic!("on purpose"))).is_err());
        assert_eq!(tell(|| 1), Some(1));
    }
}
