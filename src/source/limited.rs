//! A quota of bytes.

use core::alloc::Layout;
use core::ptr::NonNull;

use super::BackingSource;
use crate::AllocError;
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
    ) -> Result<usize, AllocError> {
        let (old_cost, new_cost) = self.afford(old, new_size)?;
        // SAFETY: the caller's promise is the same.
        let len = unsafe { self.source.extend(block, old, new_size) }?;
        self.used += new_cost - old_cost;
        Ok(len.min(new_cost))
    }

    unsafe fn shrink(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<usize, AllocError> {
        let (old_cost, new_cost) = self.afford(old, new_size)?;
        // SAFETY: the caller's promise is the same.
        let len = unsafe { self.source.shrink(block, old, new_size) }?;
        self.used -= old_cost - new_cost;
        Ok(len.min(new_cost))
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

    fn good_size(&self, layout: Layout) -> usize {
        self.source.good_size(layout)
    }

    fn huge_page_size(&self) -> Option<usize> {
        self.source.huge_page_size()
    }
}
