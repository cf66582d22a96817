//! General allocators: every layout, on one thread and on several, with settings of all kinds, and with memory that runs out; and the stock of chunks
//! behind them.

#![cfg(all(feature = "std", any(unix, windows), not(miri)))]
#![expect(clippy::multiple_unsafe_ops_per_block, reason = "one block, its whole life")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod at_hand;
mod bounds;
mod chunks;
mod collections;
mod ends;
#[cfg(unix)]
mod forks;
#[cfg(unix)]
mod gone;
mod grown;
mod heaps;
mod places;
mod quiet;
mod scarce;
mod shadow;
mod source;
