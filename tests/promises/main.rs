//! What SECURITY.md promises, where no other test holds it already.
//!
//! - `books` a source that keeps books, requests that fail in turns, random numbers;
//! - `scenario` what programs do with a heap, step by step;
//! - `scarcity` each request below a heap fails;
//! - `places` memory of every length at every place;
//! - `layouts` every layout;
//! - `quotas` limits, and their ends;
//! - `lives` heaps that come and go;
//! - `long_run` presets and arenas under random calls;
//! - `steps` the longest calls, in instructions;
//! - `interrupts` signal handlers and forks.
//!
//! `HEAPWRIGHT_LONG=1` runs the long forms, which take most of an hour or more, `HEAPWRIGHT_SHORT=1` short ones, for where all is slow.

#![cfg(not(miri))]
#![expect(clippy::multiple_unsafe_ops_per_block, reason = "one block, its whole life")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod books;
#[cfg(unix)]
mod interrupts;
mod layouts;
mod lives;
mod long_run;
mod places;
mod quotas;
mod scarcity;
mod scenario;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod steps;

/// So many times: `HEAPWRIGHT_LONG=1` does a hundred times as much, `HEAPWRIGHT_SHORT=1` a twentieth.
fn scale(count: usize) -> usize {
    if is_long() {
        count * 100
    } else if std::env::var_os("HEAPWRIGHT_SHORT").is_some() {
        count / 20 + 1
    } else {
        count
    }
}

/// Whether the long runs are wanted, for which nobody waits.
fn is_long() -> bool {
    std::env::var("HEAPWRIGHT_LONG").is_ok_and(|value| value == "1")
}
