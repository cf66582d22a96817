//! Combinators: heaps made of other heaps.
//!
//! | combinator | what it does | choose it for |
//! |---|---|---|
//! | [`StackFirst<N, A>`](StackFirst) | `N` bytes of its own first, then the heap `A` | short-lived data that is mostly small |
//!
//! A combinator asks the one heap before the other, and a block goes back to the one that it came from, which is told by the block's address and never by its
//! size: a block may come back with a size between the one that was asked for and the one that was given.

mod stack_first;

pub use self::stack_first::{StackFirst, StackFirstCore};
