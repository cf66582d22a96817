//! A source that fails on purpose.

use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;

use super::BackingSource;
use crate::AllocError;
use crate::describe::{Cost, Describe, Tree};

/// A source that refuses chosen requests: for tests that memory running out does no harm.
///
/// Requests for memory (acquire, extend, remap) are numbered from zero. A test runs its work once with [`never`](Failing::never) to learn
/// how many there are, then once with each of them failing, alone ([`nth`](Failing::nth)) or with all after it
/// ([`after`](Failing::after)). The cost is two compares.
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::AllocError;
/// use heapwright::source::{BackingSource, Failing, FromGlobalAlloc};
/// use std::alloc::System;
///
/// fn work(source: &mut impl BackingSource) -> Result<(), AllocError> {
///     let layout = Layout::new::<[u8; 64]>();
///     let first = source.acquire(layout)?;
///     let second = source.acquire(layout);
///     // SAFETY: the block is live, and its layout this one.
///     unsafe { source.release(first.cast(), layout) };
///     // SAFETY: as above.
///     unsafe { source.release(second?.cast(), layout) };
///     Ok(())
/// }
///
/// let mut source = Failing::never(FromGlobalAlloc::new(&System));
/// work(&mut source)?;
/// for n in 0..source.requests() {
///     assert!(work(&mut Failing::nth(FromGlobalAlloc::new(&System), n)).is_err());
///     assert!(work(&mut Failing::after(FromGlobalAlloc::new(&System), n)).is_err());
/// }
/// # Ok::<(), AllocError>(())
/// ```
#[derive(Debug)]
pub struct Failing<B: BackingSource> {
    source: B,
    /// Requests so far.
    requests: u64,
    /// The first request that fails; a number that is never reached if none is to.
    first: u64,
    /// The last request that fails.
    last: u64,
}

impl<B: BackingSource> Failing<B> {
    /// Fails no request, but counts them.
    #[must_use]
    pub const fn never(source: B) -> Self {
        Failing { source, requests: 0, first: u64::MAX, last: 0 }
    }

    /// Fails request number `n`, counted from zero, and no other.
    #[must_use]
    pub const fn nth(source: B, n: u64) -> Self {
        Failing { source, requests: 0, first: n, last: n }
    }

    /// Lets `n` requests through, and fails all after them.
    #[must_use]
    pub const fn after(source: B, n: u64) -> Self {
        Failing { source, requests: 0, first: n, last: u64::MAX }
    }

    /// Requests for memory so far, failed ones included.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// The source within.
    #[must_use]
    pub const fn source(&self) -> &B {
        &self.source
    }

    /// The source, failing no more.
    #[must_use]
    pub fn into_inner(self) -> B {
        self.source
    }

    /// Counts a request; an error if it is one to fail.
    fn pass(&mut self) -> Result<(), AllocError> {
        let request = self.requests;
        self.requests += 1;
        if self.first <= request && request <= self.last { Err(AllocError) } else { Ok(()) }
    }
}

// SAFETY: B1 to B6 are those of the source within, to which all calls go through as they are, but for some that end in an error first.
unsafe impl<B: BackingSource> BackingSource for Failing<B> {
    const GRANULE: usize = B::GRANULE;
    const ALIGN_MAX: usize = B::ALIGN_MAX;
    const ZEROED: bool = B::ZEROED;
    const LAZY: bool = B::LAZY;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.pass()?;
        self.source.acquire(layout)
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.source.release(block, layout) };
    }

    unsafe fn extend(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        self.pass()?;
        // SAFETY: the caller's promise is the same.
        unsafe { self.source.extend(block, old, new_size) }
    }

    unsafe fn shrink(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.source.shrink(block, old, new_size) }
    }

    unsafe fn remap(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        self.pass()?;
        // SAFETY: the caller's promise is the same.
        unsafe { self.source.remap(block, old, new_size) }
    }

    unsafe fn purge(&mut self, ptr: NonNull<u8>, len: usize) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.source.purge(ptr, len) };
    }

    pages_of!(this of B: this.source);

    fn good_size(&self, layout: Layout) -> usize {
        self.source.good_size(layout)
    }

    fn huge_page_size(&self) -> Option<usize> {
        self.source.huge_page_size()
    }
}

impl<B: BackingSource + Describe> Describe for Failing<B> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let cost = Cost::state_around::<Self, B>();
        tree.part(format_args!("Failing, requests refused on purpose"), cost, &[("source", B::describe)])
    }
}

#[cfg(test)]
#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each call is on a live block with a layout of its own"
)]
mod tests {
    use super::*;
    use crate::mem;
    use crate::source::StaticBuffer;

    /// Which of five requests get through.
    fn pattern<B: BackingSource>(mut source: Failing<B>) -> [bool; 5] {
        let passed = [(); 5].map(|()| {
            let layout = Layout::new::<u8>();
            let Ok(block) = source.acquire(layout) else { return false };
            unsafe { source.release(block.cast(), layout) };
            true
        });
        assert_eq!(source.requests(), 5);
        passed
    }

    #[test]
    fn fails_when_told() {
        let ram = StaticBuffer::<8>::new();
        assert_eq!(pattern(Failing::never(&ram)), [true; 5]);
        assert_eq!(pattern(Failing::nth(&ram, 0)), [false, true, true, true, true]);
        assert_eq!(pattern(Failing::nth(&ram, 2)), [true, true, false, true, true]);
        assert_eq!(pattern(Failing::after(&ram, 2)), [true, true, false, false, false]);
        assert_eq!(pattern(Failing::after(&ram, 0)), [false; 5]);
    }

    #[test]
    fn resizes_are_requests_too() {
        let ram = StaticBuffer::<8>::new();
        let mut source = Failing::nth(&ram, 1);
        let layout = Layout::new::<u8>();
        let block = source.acquire(layout).unwrap().cast();
        assert!(unsafe { source.extend(block, layout, 8) }.is_err());
        assert_eq!(unsafe { source.extend(block, layout, 8) }, Ok(mem::slice(block, 8)));
        assert!(unsafe { source.remap(block, layout, 8) }.is_err(), "a static can't");
        assert_eq!(source.requests(), 4);
        unsafe { source.release(block, layout) };
        assert!(!source.into_inner().is_claimed());
    }
}
