//! Combinators: heaps made of other heaps.
//!
//! # Cores of cores
//! A core around other cores, which one [`Locked`](crate::heap::Locked) makes a heap to be shared, with one lock for all of it. A source becomes a core by
//! [`SourceHeap`](crate::source::SourceHeap), and so does a heap that is shared already, by reference.
//!
//! | block | what it does |
//! |---|---|
//! | [`Affix<Pre, P, Suf>`](Affix) | a value before and one behind each block |
//! | [`AlignUp<A, P>`](AlignUp) | every block aligned to `A` bytes or more |
//! | [`Fallback<P, S>`](Fallback) | the second heap for what the first refuses; frees are routed by ownership |
//! | [`FreeLists<C, P, B>`](FreeLists) | lists of freed blocks by size class in front of any heap; bounded by [`Unbounded`], [`AtMost`], [`Adaptive`] |
//! | [`PerClass<C, H>`](PerClass) | a heap for each size class |
//! | [`Quantize<R, P>`](Quantize) | sizes rounded up by a rule: [`Multiples`], [`PowersOfTwo`], [`ToClasses`], [`Percent`] |
//! | [`Segregate<AT, Small, Large>`](Segregate), [`segregate!`](crate::segregate) | one heap for sizes up to a limit, another above; several limits |
//! | [`SegregateBy<R, A, B>`](SegregateBy) | two heaps, and a rule by size and alignment which of them: [`ByAlign`], a [`Route`] of one's own |
//!
//! [`NoHeap`](crate::heap::NoHeap) stands where there is to be none.
//!
//! ```
//! # #[cfg(feature = "alloc")] {
//! use core::mem::MaybeUninit;
//! use heapwright::cache::Classes;
//! use heapwright::combine::{AtMost, Fallback, FreeLists, Segregate};
//! use heapwright::heap::Locked;
//! use heapwright::{lock::NoLock, sizing::Sizing4KiB};
//! use heapwright::source::{GlobalHeap, SourceHeap};
//!
//! type System = SourceHeap<GlobalHeap>;
//! type Tower<'a> = Segregate<512, FreeLists<Classes, Fallback<Arena<'a>, System>, AtMost<64>>, System>;
//! type Arena<'a> = heapwright::arena::Arena<'a, Sizing4KiB>;
//!
//! let mut memory = [MaybeUninit::uninit(); 4000];
//! let system = SourceHeap::new(GlobalHeap);
//! let small = FreeLists::new(Fallback::new(Arena::from_slice(&mut memory), system));
//! let heap = Locked::<Tower<'_>, NoLock>::new(Segregate::new(small, system));
//! # #[cfg(feature = "allocator-api2-04")] {
//! let boxed = allocator_api2_04::boxed::Box::new_in([1u64; 40], &heap);
//! assert_eq!(boxed.len(), 40);
//! # }
//! # }
//! ```
//!
//! # Around shared heaps
//! | block | what it adds to a heap | by value | by reference |
//! |---|---|---|---|
//! | [`StackFirst<N, A, L>`](StackFirst) | `N` bytes of its own, on the stack, which are used first | a heap to be borrowed | an `Allocator` |
//!
//! The heap within is anything that is a [`SharedHeap`](crate::heap::SharedHeap): a shell, a reference to one, a handle of size zero, or
//! [`GlobalHeap`](crate::source::GlobalHeap), the program's own. Such a combinator is a `SharedHeap` as well, so they nest.
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

mod affix;
mod align_up;
mod attach;
mod bound;
mod bump;
mod exposed;
mod fallback;
mod free_lists;
mod per_class;
mod quantize;
mod round;
mod row;
mod segregate;
mod stack_first;

pub use self::affix::Affix;
pub use self::align_up::AlignUp;
pub use self::attach::{Attach, Requested};
pub use self::bound::{Adaptive, AtMost, Bound, Unbounded};
pub use self::fallback::Fallback;
pub use self::free_lists::FreeLists;
pub use self::per_class::PerClass;
pub use self::quantize::Quantize;
pub use self::round::{Multiples, Percent, PowersOfTwo, Round, ToClasses};
#[doc(hidden)]
pub use self::segregate::rising;
pub use self::segregate::{ByAlign, BySize, Route, Segregate, SegregateBy};
pub use self::stack_first::{StackFirst, StackFirstCore};
