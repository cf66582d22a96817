//! Combinators: heaps made of another heap and something beside it.
//!
//! | block | what it adds to a heap | by value | by reference |
//! |---|---|---|---|
//! | [`StackFirst<N, A, L>`](StackFirst) | `N` bytes of its own, on the stack, which are used first | a heap to be borrowed | an `Allocator` |
//! | [`Region<B, G, D, MIN_ALIGN>`](Region) | chunks of a source, used like a stack; [scopes](Scope) | a core | |
//! | [`Ring<N, A>`](Ring), turned by [`Frames`] | `N` heaps used in turn | a core | |
//! | [`Chain<F, B, KEEP>`](Chain) | as many heaps of a kind as it takes | a core | |
//! | [`Scoped<P>`](Scoped) | all that was taken from `P` goes back at the end | a core | |
//! | [`Shared<H, L>`](Shared) | a counted handle that owns the heap | an `Allocator` | an `Allocator` |
//! | `&dyn `[`DynHeap`] | a heap chosen at run time | | an `Allocator` |
//!
//! A core is what [`Locked`](crate::heap::Locked) makes an `Allocator` of. The block without memory, D's `NullAllocator`, is [`NoHeap`](crate::heap::NoHeap).
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
mod chain;
mod dyn_heap;
mod frames;
mod region;
mod ring;
mod scoped;
mod shared;
mod stack_first;

pub use self::chain::{Arenas, Chain, Factory};
pub use self::dyn_heap::{DynCore, DynHeap};
pub use self::frames::{Carried, Earlier, Frames};
pub use self::region::{
    Direction, Downward, FixedChunks, Growing, Growth, Keep, Marks, Region, RegionMark, RegionUsage, Scope,
    Upward,
};
pub use self::ring::Ring;
pub use self::scoped::Scoped;
pub use self::shared::Shared;
pub use self::stack_first::{StackFirst, StackFirstCore};
