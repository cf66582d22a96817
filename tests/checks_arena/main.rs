//! Arenas that check: each kind of misuse is found and told, each time, and nothing else is.
#![cfg(feature = "alloc")]
#![expect(clippy::expect_used, reason = "a test that can not go on says why and stops")]

mod injected;
mod inside;
mod policies;
mod subject;
