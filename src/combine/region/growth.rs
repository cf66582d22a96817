//! How large the chunks of a region are, and from which end they are used.

use super::chunks::HEADER;

/// How large the chunks are that a growing heap asks its source for: four numbers, known at compile time.
///
/// The first chunk has `FIRST` bytes, each further one `NUMERATOR / DENOMINATOR` times those of the one before, up to `MAX`. A request that
/// does not fit there gets a chunk of its own size. [`Growing`] and [`FixedChunks`] are ready-made.
///
/// ```
/// use heapwright::combine::{Growing, Growth, Region};
/// use heapwright::source::{BackingSource, Counted, FromGlobalAlloc};
/// use std::alloc::System;
///
/// /// Half as much again each time.
/// struct Gently;
/// impl Growth for Gently {
///     const FIRST: usize = 1024;
///     const MAX: usize = 64 << 10;
///     const NUMERATOR: usize = 3;
///     const DENOMINATOR: usize = 2;
/// }
/// let region = Region::<_, Gently>::new(Counted::new(FromGlobalAlloc::new(&System)));
/// # let _ = region;
/// ```
pub trait Growth {
    /// Bytes of the first chunk.
    const FIRST: usize;
    /// Bytes that no chunk exceeds, unless a single request does.
    const MAX: usize;
    /// A chunk has this many ..
    const NUMERATOR: usize = 2;
    /// .. times the bytes of the one before, divided by this.
    const DENOMINATOR: usize = 1;
}

/// Chunks of `FIRST` bytes, then `NUMERATOR / DENOMINATOR` times as many each time (twice by default), up to `MAX`.
///
/// The cap keeps a heap that has grown large from asking for as much again; foonathan/memory's `growing_block_allocator` has none.
///
/// ```
/// use heapwright::combine::{Growing, Growth};
/// type Kib = Growing<1024, { 1 << 20 }>;
/// assert_eq!((Kib::FIRST, Kib::MAX, Kib::NUMERATOR, Kib::DENOMINATOR), (1024, 1 << 20, 2, 1));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Growing<
    const FIRST: usize,
    const MAX: usize,
    const NUMERATOR: usize = 2,
    const DENOMINATOR: usize = 1,
>;

impl<const FIRST: usize, const MAX: usize, const NUMERATOR: usize, const DENOMINATOR: usize> Growth
    for Growing<FIRST, MAX, NUMERATOR, DENOMINATOR>
{
    const FIRST: usize = FIRST;
    const MAX: usize = MAX;
    const NUMERATOR: usize = NUMERATOR;
    const DENOMINATOR: usize = DENOMINATOR;
}

/// Chunks of `BYTES` bytes each.
pub type FixedChunks<const BYTES: usize> = Growing<BYTES, BYTES, 1, 1>;

/// Bytes of the chunk after one of `last` bytes; of the first one, if there is none.
pub(super) const fn next<G: Growth>(last: Option<usize>) -> usize {
    match last {
        None => G::FIRST,
        Some(last) => {
            let more = last.saturating_mul(G::NUMERATOR) / G::DENOMINATOR;
            let more = if more < G::FIRST { G::FIRST } else { more };
            if more < G::MAX { more } else { G::MAX }
        }
    }
}

/// Fails to compile if the numbers can't be.
pub(in super::super) const fn check<G: Growth>() {
    assert!(G::FIRST >= 2 * HEADER, "a chunk has room for more than its header: raise `FIRST`");
    assert!(G::MAX >= G::FIRST, "the cap of chunks is below the first one: raise `MAX`");
    assert!(
        G::DENOMINATOR > 0 && G::NUMERATOR >= G::DENOMINATOR,
        "chunks do not shrink: `NUMERATOR` is no less than `DENOMINATOR`, which is not zero"
    );
}

mod sealed {
    pub trait Sealed {}
}

/// Whether a [`Region`](super::Region) is used from its chunks' start or end: [`Upward`] or [`Downward`].
pub trait Direction: sealed::Sealed {
    /// Whether from the start.
    const UP: bool;
}

/// From the start of a chunk to its end: the last block grows and shrinks where it stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Upward;

/// From the end of a chunk to its start: where an address has to be rounded, it takes an instruction or two less, since to round down is simpler than to
/// round up; but the last block grows by moving its bytes, and shrinks without giving any back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Downward;

impl sealed::Sealed for Upward {}
impl sealed::Sealed for Downward {}

impl Direction for Upward {
    const UP: bool = true;
}

impl Direction for Downward {
    const UP: bool = false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_up_to_the_cap() {
        type G = Growing<100, 450, 3, 2>;
        assert_eq!(next::<G>(None), 100);
        assert_eq!(
            [100, 150, 300, 310, usize::MAX].map(|last| next::<G>(Some(last))),
            [150, 225, 450, 450, 450]
        );
        assert_eq!(next::<G>(Some(10)), 100, "after a small one");
        assert_eq!(next::<FixedChunks<64>>(Some(1 << 20)), 64);
    }
}
