//! Combinators: heaps made of another heap and something beside it.
//!
//! | block | what it adds to a heap | by value | by reference |
//! |---|---|---|---|
//! | [`StackFirst<N, A, L>`](StackFirst) | `N` bytes of its own, on the stack, which are used first | a heap to be borrowed | an `Allocator` |
//!
//! The heap within is anything that is a [`SharedHeap`](crate::heap::SharedHeap): a shell, a reference to one, a handle of size zero, or
//! [`GlobalHeap`](crate::source::GlobalHeap), the program's own. A combinator is a `SharedHeap` as well, so they nest.
//!
//! ```
//! # #[cfg(all(feature = "alloc", feature = "allocator-api2-04"))] {
//! use allocator_api2_04::vec::Vec;
//! use heapwright::{combine::StackFirst, source::GlobalHeap};
//!
//! let heap = StackFirst::<256, GlobalHeap>::new(GlobalHeap);
//! let mut word = Vec::new_in(&heap);
//! word.extend(*b"on the stack");
//! assert!(heap.is_inline(word.as_ptr()));
//! # }
//! ```

mod bump;
mod stack_first;

pub use self::stack_first::{StackFirst, StackFirstCore};
