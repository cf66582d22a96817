//! Combinators, as their users see them.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod watch;
