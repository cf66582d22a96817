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
mod counted;
mod counters;
mod pattern;
mod per_class;
mod quarantine;
mod quota;
mod red_zones;
mod refusing;
mod size_histogram;
mod stack_first;
mod totals;
mod zeroing;

pub use self::counted::Counted;
pub use self::counters::Counters;
pub use self::per_class::{ClassCount, PerClass};
pub use self::quarantine::Quarantine;
pub use self::quota::Quota;
pub use self::red_zones::RedZones;
pub use self::refusing::{FailNth, FailRandom, Nth, Random, Refusal, Refusing};
pub use self::size_histogram::SizeHistogram;
pub use self::stack_first::{StackFirst, StackFirstCore};
pub use self::totals::{AtomicTotals, Totals};
pub use self::zeroing::{OnAlloc, OnBoth, OnFree, ZeroWhen, Zeroing};
