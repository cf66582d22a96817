//! A quota of bytes.

use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;

use super::BackingSource;
use crate::AllocError;
use crate::describe::{Cost, Describe, Tree};
use crate::mem;

/// A source that hands out no more than a quota of bytes at a time.
///
/// Choose it to keep one part of a program from eating what the others need. The quota is exact: a block costs its
/// [`good_size`](BackingSource::good_size) (whole pages over `Pages`), what is released or refused costs nothing, and a quota of zero is
/// a source that has nothing. Blocks are cut to what they cost, so that no more than the quota can be used. The cost is one
/// compare and one addition.
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::source::{BackingSource, FromGlobalAlloc, Limited};
/// use std::alloc::System;
///
/// let mut source = Limited::new(FromGlobalAlloc::new(&System), 1000);
/// let layout = Layout::new::<[u8; 600]>();
/// let block = source.acquire(layout)?;
/// assert_eq!((source.used(), source.left()), (600, 400));
/// assert!(source.acquire(layout).is_err());
/// // SAFETY: the block is live, and its layout this one.
/// unsafe { source.release(block.cast(), layout) };
/// assert_eq!(source.left(), 1000);
/// # Ok::<(), heapwright::AllocError>(())
/// ```
#[derive(Debug)]
pub struct Limited<B: BackingSource> {
    source: B,
    limit: usize,
    /// The good sizes of all live blocks. At most `limit`, unless that has been lowered since.
    used: usize,
}

impl<B: BackingSource> Limited<B> {
    /// `source`, up to `limit` bytes at a time.
    #[must_use]
    pub const fn new(source: B, limit: usize) -> Self {
        Limited { source, limit, used: 0 }
    }

    /// The quota in bytes.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes of live blocks.
    #[must_use]
    pub const fn used(&self) -> usize {
        self.used
    }

    /// Bytes that can still be had.
    #[must_use]
    pub const fn left(&self) -> usize {
        self.limit.saturating_sub(self.used)
    }

    /// Changes the quota. If more is in use, nothing can be had until enough has been released.
    pub const fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The source within.
    #[must_use]
    pub const fn source(&self) -> &B {
        &self.source
    }

    /// The source, out of its quota.
    #[must_use]
    pub fn into_inner(self) -> B {
        self.source
    }

    /// What a block of `old`'s alignment and this size costs more than `old`: both costs, and an error if that is not left.
    fn afford(&self, old: Layout, new_size: usize) -> Result<(usize, usize), AllocError> {
        let new = Layout::from_size_align(new_size, old.align()).map_err(|_| AllocError)?;
        let (old_cost, new_cost) = (self.source.good_size(old), self.source.good_size(new));
        if new_cost.saturating_sub(old_cost) > self.left() {
            return Err(AllocError);
        }
        Ok((old_cost, new_cost))
    }
}

// SAFETY: B1 to B5 are those of the source within: calls go through with the caller's own layouts, and a length is only ever cut, to
// no less than was asked for. A live block's cost is the same for every size up to its length (B6), so what is refunded was charged.
unsafe impl<B: BackingSource> BackingSource for Limited<B> {
    const GRANULE: usize = B::GRANULE;
    const ALIGN_MAX: usize = B::ALIGN_MAX;
    const ZEROED: bool = B::ZEROED;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let cost = self.source.good_size(layout);
        if cost > self.left() {
            return Err(AllocError);
        }
        let block = self.source.acquire(layout)?;
        self.used += cost;
        Ok(mem::slice(block.cast(), block.len().min(cost)))
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        self.used -= self.source.good_size(layout);
        // SAFETY: the caller's promise is the same.
        unsafe { self.source.release(block, layout) };
    }

    unsafe fn extend(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let (old_cost, new_cost) = self.afford(old, new_size)?;
        // SAFETY: the caller's promise is the same.
        let block = unsafe { self.source.extend(block, old, new_size) }?;
        self.used += new_cost - old_cost;
        Ok(mem::slice(block.cast(), block.len().min(new_cost)))
    }

    unsafe fn shrink(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let (old_cost, new_cost) = self.afford(old, new_size)?;
        // SAFETY: the caller's promise is the same.
        let block = unsafe { self.source.shrink(block, old, new_size) }?;
        self.used -= old_cost - new_cost;
        Ok(mem::slice(block.cast(), block.len().min(new_cost)))
    }

    unsafe fn remap(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let (old_cost, new_cost) = self.afford(old, new_size)?;
        // SAFETY: the caller's promise is the same.
        let moved = unsafe { self.source.remap(block, old, new_size) }?;
        self.used += new_cost - old_cost;
        Ok(mem::slice(moved.cast(), moved.len().min(new_cost)))
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

impl<B: BackingSource + Describe> Describe for Limited<B> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let cost = Cost::state_around::<Self, B>();
        tree.part(format_args!("Limited to a number of bytes at a time"), cost, &[("source", B::describe)])
    }
}

#[cfg(test)]
#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each call is on a live block with a layout of its own"
)]
mod tests {
    use core::mem::MaybeUninit;

    use super::*;
    use crate::source::{Buffer, Failing, StaticBuffer};

    fn bytes(size: usize) -> Layout {
        Layout::from_size_align(size, 1).unwrap()
    }

    #[test]
    fn the_quota_is_exact() {
        let mut memory = [MaybeUninit::uninit(); 100];
        assert!(Limited::new(Buffer::from_slice(&mut memory), 0).acquire(bytes(1)).is_err());

        let mut one = Limited::new(Buffer::from_slice(&mut memory), 1);
        assert!(one.acquire(bytes(2)).is_err());
        let block = one.acquire(bytes(1)).unwrap();
        assert!(one.acquire(bytes(1)).is_err());
        unsafe { one.release(block.cast(), bytes(1)) };
        assert_eq!(one.left(), 1);
    }

    #[test]
    fn what_is_refused_costs_nothing() {
        let mut memory = [MaybeUninit::uninit(); 100];
        let mut max = Limited::new(Failing::nth(Buffer::from_slice(&mut memory), 1), usize::MAX);
        assert!(max.acquire(bytes(isize::MAX as usize)).is_err());
        assert!(max.acquire(bytes(1)).is_err(), "the source's own failure");
        assert_eq!((max.used(), max.left()), (0, usize::MAX));
        let block = max.acquire(bytes(100)).unwrap();
        assert_eq!(max.used(), 100);
        unsafe { max.release(block.cast(), bytes(100)) };
        assert_eq!((max.used(), max.limit(), max.source().requests()), (0, usize::MAX, 3));
    }

    #[test]
    fn a_lowered_quota_waits_for_releases() {
        let mut memory = [MaybeUninit::uninit(); 100];
        let mut source = Limited::new(Buffer::from_slice(&mut memory), 20);
        let block = source.acquire(bytes(10)).unwrap().cast();
        source.set_limit(5);
        assert_eq!((source.used(), source.left()), (10, 0));
        assert!(source.acquire(bytes(1)).is_err());
        assert_eq!(unsafe { source.shrink(block, bytes(10), 8) }, Ok(mem::slice(block, 8)));
        unsafe { source.release(block, bytes(8)) };
        assert_eq!(source.left(), 5);
    }

    #[test]
    fn resizes_are_charged() {
        let mut memory = [MaybeUninit::uninit(); 1000];
        let mut source = Limited::new(Buffer::from_slice(&mut memory), 100);
        let block = source.acquire(bytes(60)).unwrap().cast::<u8>();
        assert!(unsafe { source.extend(block, bytes(60), 101) }.is_err());
        assert!(unsafe { source.extend(block, bytes(60), usize::MAX) }.is_err());
        assert_eq!((source.used(), source.source().left()), (60, 940));
        assert_eq!(unsafe { source.extend(block, bytes(60), 100) }, Ok(mem::slice(block, 100)));
        assert_eq!(source.left(), 0);
        assert_eq!(unsafe { source.shrink(block, bytes(100), 1) }, Ok(mem::slice(block, 1)));
        assert_eq!(source.left(), 99);
        assert!(unsafe { source.remap(block, bytes(1), 2) }.is_err(), "a buffer can't");
        unsafe { source.release(block, bytes(1)) };
        assert_eq!((source.used(), source.into_inner().left()), (0, 1000));
    }

    #[test]
    fn a_block_is_cut_to_its_price() {
        let ram = StaticBuffer::<100>::new();
        let block = Limited::new(&ram, 50).acquire(bytes(10));
        assert_eq!(block.map(|block| block.len()), Ok(10));
    }

    #[cfg(feature = "os")]
    #[test]
    fn pages_count_whole() {
        use crate::source::Pages;
        let page = Pages::page_size();
        assert!(Limited::new(Pages, page - 1).acquire(bytes(1)).is_err());
        let mut source = Limited::new(Pages, page);
        let block = source.acquire(bytes(1)).unwrap();
        assert_eq!((block.len(), source.left()), (page, 0));
        unsafe { source.release(block.cast(), bytes(page)) };
        assert_eq!(source.used(), 0);
    }

    #[cfg(all(feature = "os", target_os = "linux"))]
    #[test]
    fn moves_are_charged() {
        use crate::source::Pages;
        let page = Pages::page_size();
        let mut source = Limited::new(Pages, 10 * page);
        let block = source.acquire(bytes(page)).unwrap().cast();
        assert!(unsafe { source.remap(block, bytes(page), 10 * page + 1) }.is_err());
        let moved = unsafe { source.remap(block, bytes(page), 9 * page + 1) }.unwrap();
        assert_eq!((moved.len(), source.left()), (10 * page, 0));
        unsafe { source.release(moved.cast(), bytes(10 * page)) };
        assert_eq!(source.used(), 0);
    }
}
