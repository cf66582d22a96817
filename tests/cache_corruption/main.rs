//! Objects that know whether they are whole, in caches of every kind, size and alignment: none is handed out twice while it lives, none
//! is moved, written over, made again or destroyed while it lives, and none is destroyed more than once, or never.
//!
//! The idea of objects that carry a nonce and a hash over it and over their own address is that of object-alloc-test, by Joshua
//! Liebow-Feeser (2017). Here a table of all constructed objects knows in addition what each must hold, so that objects
//! too small for a hash, down to none at all, are tested as well; and the source asks it, whenever memory goes back, whether
//! anything is still in there.
//!
//! `HEAPWRIGHT_CACHE_OPS` is the number of operations for each cache, `HEAPWRIGHT_CACHE_SEED` what they are drawn from.

#![cfg(feature = "std")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../caches/ledger.rs"]
mod ledger;
mod mixes;
mod objects;
mod random;
mod raw;
mod sequences;
mod subject;
mod tester;
mod witness;
