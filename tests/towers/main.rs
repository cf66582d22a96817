//! Every core, source and combinator, and towers of them, through the conformance kit.
//!
//! - `rows` the macro: a row is a test;
//! - `based` a heap together with the one that it borrows from;
//! - `combined` combinators, one by one and on each other;
//! - `cores`, `handles`, `sources` the blocks one by one;
//! - `crossed` towers: lists of storeys, and every way to put them on each other;
//! - `forwarding` what blocks around others pass on.
//!
//! A new block is a row in one of the first, and a storey in `crossed`. `HEAPWRIGHT_TEST_SCALE=20 cargo test --test towers` takes longer.

#![cfg(feature = "alloc")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod based;
mod combined;
mod cores;
mod crossed;
mod forwarding;
mod handles;
mod rows;
mod sources;

use rows::rows;
