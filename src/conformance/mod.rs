//! The conformance kit: one call that puts a heap, an allocator or a source of your own through all that ours go through.
//!
//! | you have | call | it also checks, where you say so |
//! |---|---|---|
//! | a core, any [`Heap`] | [`heap`], [`heap_over`], [`try_heap_over`] | `owns`, `resets`, `inspects`, `knows_sizes`, `describes` |
//! | a shell or a handle, any [`SharedHeap`] | [`shared`], [`shared_over`], [`try_shared_over`] | `moves`, `threads`, `refuses_reentry`, `knows_sizes`, `describes` |
//! | a [`BackingSource`] | [`source`], [`source_over`] | `describes` |
//! | an `Allocator` of allocator-api2 0.2, 0.3, 0.4 or of core | `allocator_02` and its kin, `allocator_02_ref` for allocators by reference | `threads` |
//! | a `GlobalAlloc` | [`global`] | `threads` |
//! | a heap around another one | [`forwards`] | |
//!
//! The feature `conformance` brings it; it links std. In your `Cargo.toml`:
//!
//! ```toml
//! [dev-dependencies]
//! heapwright = { version = "0.1", features = ["conformance"] }
//! ```
//!
//! ```
//! use heapwright::arena::SourceArena;
//! use heapwright::conformance::{self, Source};
//! use heapwright::sizing::Sizing16MiB;
//!
//! conformance::try_heap_over(|source: Source| SourceArena::<_, Sizing16MiB>::with_size(source, 20_000))
//!     .owns()
//!     .resets()
//!     .inspects()
//!     .check();
//! ```
//!
//! # What is done
//! Each script of operations, fixed ones that heaps have failed at before and random ones, runs on a heap of its own and on a shadow of it,
//! which knows where each block is and what was written to it. A heap that is a static is the same for all scripts: nobody else may use it
//! meanwhile, another test neither, as what they take and give back would pass for the heap's mistakes. The laws that are held against the heap are those of [`Law`]. In particular:
//! - blocks come back with every size from the requested to the returned one, and by pointers that are good for that size only (which Miri
//!   sees);
//! - the heap moves while blocks are live, and its old place is overwritten;
//! - layouts go to the edges: size zero, sizes near `isize::MAX`, alignments above a page, sizes that are no multiple of the alignment;
//! - a resize changes the alignment, and moves into gaps before its block;
//! - over a [`Source`], each of the first requests fails once alone and once with all after it; in the end the source has all that it gave.
//!
//! A failure is a [`Failure`]: the law, the script cut down to the few steps that break it, the seed, and the tree of the composition.
//!
//! # Settings
//! `HEAPWRIGHT_TEST_SCALE` multiplies what is done, for long runs; `HEAPWRIGHT_TEST_SEED` draws other scripts. Each number has a method of
//! [`Check`] as well.

mod allocator_face;
mod check;
mod core_face;
mod engine;
mod failure;
mod forwards;
mod law;
mod pattern;
mod plan;
mod probe;
mod reentry;
mod run;
mod script;
mod shadow;
mod shared_face;
mod source_face;
mod subject;
mod supply;
#[cfg(test)]
mod tests;
mod threads;

use core::alloc::GlobalAlloc;
use std::sync::Arc;

use self::allocator_face::{AllocatorFace, Global};
use self::core_face::CoreFace;
use self::shared_face::SharedFace;
use self::source_face::SourceFace;
use crate::heap::{Heap, SharedHeap};
use crate::source::BackingSource;

pub use self::check::Check;
pub use self::failure::Failure;
pub use self::forwards::{Forwards, forwards};
pub use self::law::Law;
pub use self::probe::{Call, Probe};
pub use self::supply::Source;

/// Checks heap cores.
///
/// ```
/// use heapwright::{conformance, heap::NoHeap};
/// conformance::heap(|| NoHeap).owns().resets().inspects().describes().check();
/// ```
pub fn heap<'a, H: Heap + 'a>(make: impl Fn() -> H + 'a) -> Check<'a, CoreFace<H>> {
    Check::new(CoreFace::NEW, false, move |_| Ok(make()))
}

/// Checks heap cores that get their memory from a source: which fails at times, and in the end has to have all that it gave.
///
/// ```
/// use heapwright::conformance::{self, Source};
/// use heapwright::source::SourceHeap;
/// conformance::heap_over(|source: Source| SourceHeap::new(source)).check();
/// ```
pub fn heap_over<'a, H: Heap + 'a, const GRANULE: usize, const ZEROED: bool>(
    make: impl Fn(Source<GRANULE, ZEROED>) -> H + 'a,
) -> Check<'a, CoreFace<H>> {
    Check::new(CoreFace::NEW, true, move |ledger| Ok(make(Source::new(Arc::clone(ledger)))))
}

/// Checks heap cores that get their memory from a source, from the first moment on: making one fails if the source does.
///
/// ```
/// use heapwright::arena::SourceArena;
/// use heapwright::conformance::{self, Source};
/// use heapwright::sizing::Sizing4KiB;
/// conformance::try_heap_over(|source: Source| SourceArena::<_, Sizing4KiB>::with_size(source, 4096)).check();
/// ```
pub fn try_heap_over<'a, H: Heap + 'a, E, const GRANULE: usize, const ZEROED: bool>(
    make: impl Fn(Source<GRANULE, ZEROED>) -> Result<H, E> + 'a,
) -> Check<'a, CoreFace<H>> {
    Check::new(CoreFace::NEW, true, move |ledger| {
        make(Source::new(Arc::clone(ledger))).map_err(|_| crate::AllocError)
    })
}

/// Checks shared heaps: shells, and handles.
///
/// ```
/// use heapwright::{arena::StaticArena, conformance, sizing::Sizing4KiB};
/// conformance::shared(StaticArena::<4096, Sizing4KiB>::new).threads().check();
/// ```
pub fn shared<'a, A: SharedHeap + 'a>(make: impl Fn() -> A + 'a) -> Check<'a, SharedFace<A>> {
    Check::new(SharedFace::NEW, false, move |_| Ok(make()))
}

/// Checks shared heaps that get their memory from a source.
///
/// ```
/// use heapwright::conformance::{self, Source};
/// use heapwright::{heap::Locked, lock::SpinLock, source::SourceHeap};
/// conformance::shared_over(|source: Source| Locked::<_, SpinLock>::new(SourceHeap::new(source)))
///     .moves()
///     .threads()
///     .check();
/// ```
pub fn shared_over<'a, A: SharedHeap + 'a, const GRANULE: usize, const ZEROED: bool>(
    make: impl Fn(Source<GRANULE, ZEROED>) -> A + 'a,
) -> Check<'a, SharedFace<A>> {
    Check::new(SharedFace::NEW, true, move |ledger| Ok(make(Source::new(Arc::clone(ledger)))))
}

/// Checks shared heaps that get their memory from a source, from the first moment on.
pub fn try_shared_over<'a, A: SharedHeap + 'a, E, const GRANULE: usize, const ZEROED: bool>(
    make: impl Fn(Source<GRANULE, ZEROED>) -> Result<A, E> + 'a,
) -> Check<'a, SharedFace<A>> {
    Check::new(SharedFace::NEW, true, move |ledger| {
        make(Source::new(Arc::clone(ledger))).map_err(|_| crate::AllocError)
    })
}

/// Checks backing sources.
///
/// ```
/// use heapwright::{conformance, source::GlobalHeap};
/// conformance::source(|| GlobalHeap).check();
/// ```
pub fn source<'a, B: BackingSource + 'a>(make: impl Fn() -> B + 'a) -> Check<'a, SourceFace<B>> {
    Check::new(SourceFace::NEW, false, move |_| Ok(make()))
}

/// Checks sources around a source.
///
/// ```
/// use heapwright::conformance::{self, Source};
/// use heapwright::source::Limited;
/// conformance::source_over(|source: Source| Limited::new(source, 10_000)).check();
/// ```
pub fn source_over<'a, B: BackingSource + 'a, const GRANULE: usize, const ZEROED: bool>(
    make: impl Fn(Source<GRANULE, ZEROED>) -> B + 'a,
) -> Check<'a, SourceFace<B>> {
    Check::new(SourceFace::NEW, true, move |ledger| Ok(make(Source::new(Arc::clone(ledger)))))
}

/// Checks allocators by `GlobalAlloc`.
///
/// ```
/// heapwright::conformance::global(|| std::alloc::System).threads().check();
/// ```
pub fn global<'a, A: GlobalAlloc + 'a>(make: impl Fn() -> A + 'a) -> Check<'a, AllocatorFace<A, Global>> {
    Check::new(AllocatorFace::new(false), false, move |_| Ok(make()))
}

/// Writes the functions for one version of `Allocator`.
macro_rules! allocators {
    ($($(#[$attribute:meta])* $value:ident, $reference:ident: $by_value:ident, $by_reference:ident, $api:path, $version:literal;)*) => {$(
        #[doc = concat!("Checks allocators by value, of ", $version, ". They move while blocks are live.")]
        $(#[$attribute])*
        pub fn $value<'a, A: $api + 'a>(
            make: impl Fn() -> A + 'a,
        ) -> Check<'a, AllocatorFace<A, allocator_face::$by_value>> {
            Check::new(AllocatorFace::new(true), false, move |_| Ok(make()))
        }

        #[doc = concat!("Checks allocators by reference, of ", $version, ". They stay where they are.")]
        $(#[$attribute])*
        pub fn $reference<'a, A: 'a>(
            make: impl Fn() -> A + 'a,
        ) -> Check<'a, AllocatorFace<A, allocator_face::$by_reference>>
        where
            for<'r> &'r A: $api,
        {
            Check::new(AllocatorFace::new(false), false, move |_| Ok(make()))
        }
    )*};
}

allocators! {
    #[cfg(all(feature = "allocator-api2-02", not(feature = "allocator-api2-02-nightly")))]
    allocator_02, allocator_02_ref: Allocator02, Allocator02Ref, allocator_api2_02::alloc::Allocator, "allocator-api2 0.2";
    #[cfg(feature = "allocator-api2-03")]
    allocator_03, allocator_03_ref: Allocator03, Allocator03Ref, allocator_api2_03::alloc::Allocator, "allocator-api2 0.3";
    #[cfg(feature = "allocator-api2-04")]
    allocator_04, allocator_04_ref: Allocator04, Allocator04Ref, allocator_api2_04::alloc::Allocator, "allocator-api2 0.4";
    #[cfg(feature = "nightly")]
    allocator_core, allocator_core_ref: AllocatorCore, AllocatorCoreRef, core::alloc::Allocator, "core, on nightly compilers";
}
