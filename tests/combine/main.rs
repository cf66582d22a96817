//! Combinators: heaps made of other heaps.
#![expect(clippy::expect_used, reason = "a test that can not go on says why and stops")]

#[cfg(feature = "alloc")]
mod routing;
