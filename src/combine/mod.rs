//! Combinators: heaps made of another heap and something beside it.
//!
//! | block | what it adds to a heap | by value | by reference |
//! |---|---|---|---|
//! | [`Counted<C, P>`](Counted) | counts: none, totals, totals for other threads, by size class, by size | a core | |
//! | [`FailNth<P>`](FailNth), [`FailRandom<P>`](FailRandom), [`Refusing<W, P>`](Refusing) | refusals on purpose: for tests | a core | |
//! | [`Quarantine<N, P, R>`](Quarantine) | freed blocks wait, and who writes to them is found | a core | |
//! | [`Quota<P>`](Quota) | a bound on the bytes of live blocks | a core | |
//! | [`RedZones<PRE, POST, P, R>`](RedZones) | zones around blocks, by which writes past their ends are found | a core | |
//! | [`StackFirst<N, A, L>`](StackFirst) | `N` bytes of its own, on the stack, which are used first | a heap to be borrowed | an `Allocator` |
//! | [`Region<B, G, D, MIN_ALIGN>`](Region) | chunks of a source, used like a stack; [scopes](Scope) | a core | |
//! | [`Ring<N, A>`](Ring), turned by [`Frames`] | `N` heaps used in turn | a core | |
//! | [`Chain<F, B, KEEP>`](Chain) | as many heaps of a kind as it takes | a core | |
//! | [`Scoped<P>`](Scoped) | all that was taken from `P` goes back at the end | a core | |
//! | [`Shared<H, L>`](Shared) | a counted handle that owns the heap | an `Allocator` | an `Allocator` |
//! | `&dyn `[`DynHeap`] | a heap chosen at run time | | an `Allocator` |
//!
//! A core is what [`Locked`](crate::heap::Locked) makes an `Allocator` of. The block without memory, D's `NullAllocator`, is [`NoHeap`](crate::heap::NoHeap).
//! | [`Zeroing<W, P>`](Zeroing) | blocks that are zero when they are handed out, or zeroed before they go back | a core | |
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

mod around;
mod bump;
mod chain;
mod class_totals;
mod counted;
mod counters;
mod dyn_heap;
mod frames;
mod pattern;
mod quarantine;
mod quota;
mod red_zones;
mod refusing;
mod region;
mod ring;
mod scoped;
mod shared;
mod size_histogram;
mod stack_first;
mod totals;
mod zeroing;

pub use self::chain::{Arenas, Chain, Factory};
pub use self::class_totals::{ClassCount, ClassTotals};
pub use self::counted::Counted;
pub use self::counters::Counters;
pub use self::dyn_heap::{DynCore, DynHeap};
pub use self::frames::{Carried, Earlier, Frames};
pub use self::quarantine::Quarantine;
pub use self::quota::Quota;
pub use self::red_zones::RedZones;
pub use self::refusing::{FailNth, FailRandom, Nth, Random, Refusal, Refusing};
pub use self::region::{
    Direction, Downward, FixedChunks, Growing, Growth, Keep, Marks, Region, RegionMark, RegionUsage, Scope,
    Upward,
};
pub use self::ring::Ring;
pub use self::scoped::Scoped;
pub use self::shared::Shared;
pub use self::size_histogram::SizeHistogram;
pub use self::stack_first::{StackFirst, StackFirstCore};
pub use self::totals::{AtomicTotals, Totals};
pub use self::zeroing::{OnAlloc, OnBoth, OnFree, ZeroWhen, Zeroing};
