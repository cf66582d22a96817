//! Combinators, each against a shadow of what it has to do.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that can not go on says why and stops")]

mod regions;
mod watch;
