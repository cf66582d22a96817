//! Object caches and slab caches, scenario by scenario: what they count, keep and give back, what they do when memory runs out, when user
//! code panics or comes back to the cache, over which sources, between which threads.

#![cfg(feature = "std")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod every_call;
mod failures;
mod handles;
mod items;
mod ledger;
mod panics;
mod reentry;
mod retention;
mod sources;
mod threads;
mod untyped;
