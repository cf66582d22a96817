//! Combinators: heaps made of other heaps.

#[cfg(feature = "alloc")]
mod routing;
