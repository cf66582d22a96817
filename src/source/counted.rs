//! A source that counts.

use core::alloc::Layout;
use core::ptr::NonNull;

use super::BackingSource;
use crate::AllocError;
use crate::mem;

/// A source that counts what goes through it.
///
/// Choose it to see how much a heap really takes from below, and to prove in a test that it gives all of it back. A block counts
/// for its [`good_size`](BackingSource::good_size) in bytes, and is cut to that. The cost is a few additions.
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::source::{BackingSource, Counted, FromGlobalAlloc};
/// use std::alloc::System;
///
/// let mut source = Counted::new(FromGlobalAlloc::new(&System));
/// let layout = Layout::new::<[u8; 600]>();
/// let block = source.acquire(layout)?;
/// // SAFETY: the block is live, and its layout this one.
/// unsafe { source.release(block.cast(), layout) };
/// let counts = source.counts();
/// assert_eq!((counts.blocks, counts.bytes, counts.bytes_peak), (0, 0, 600));
/// # Ok::<(), heapwright::AllocError>(())
/// ```
#[derive(Debug)]
pub struct Counted<B: BackingSource> {
    source: B,
    counts: Counts,
}

/// What a [`Counted`] source has seen.
///
/// `blocks = acquired - released`, and the peaks are at least the present values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Live blocks.
    pub blocks: usize,
    /// Bytes in live blocks.
    pub bytes: usize,
    /// The most live blocks at any time.
    pub blocks_peak: usize,
    /// The most bytes in live blocks at any time.
    pub bytes_peak: usize,
    /// Blocks handed out.
    pub acquired: u64,
    /// Blocks taken back.
    pub released: u64,
    /// Requests for a block that were refused. Blocks that can't be resized where they stand are none of these.
    pub failed: u64,
}

impl<B: BackingSource> Counted<B> {
    /// `source`, counting from zero.
    #[must_use]
    pub const fn new(source: B) -> Self {
        let counts = Counts {
            blocks: 0,
            bytes: 0,
            blocks_peak: 0,
            bytes_peak: 0,
            acquired: 0,
            released: 0,
            failed: 0,
        };
        Counted { source, counts }
    }

    /// The counts as they are now.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// The source within.
    #[must_use]
    pub const fn source(&self) -> &B {
        &self.source
    }

    /// The source, no longer counted.
    #[must_use]
    pub fn into_inner(self) -> B {
        self.source
    }

    /// Counts a block of `old`'s alignment as resized from there to `new_size`; gives the new good size.
    fn resized(&mut self, old: Layout, new_size: usize) -> usize {
        let new = Layout::from_size_align(new_size, old.align());
        // A size that was met makes a layout.
        let new_bytes = new.map_or(new_size, |new| self.source.good_size(new));
        self.counts.bytes = self.counts.bytes - self.source.good_size(old) + new_bytes;
        self.counts.bytes_peak = self.counts.bytes_peak.max(self.counts.bytes);
        new_bytes
    }
}

// SAFETY: B1 to B5 are those of the source within: calls go through with the caller's own layouts, and a length is only ever cut, to
// no less than was asked for. A live block counts the same for every size up to its length (B6), so the counts come out even.
unsafe impl<B: BackingSource> BackingSource for Counted<B> {
    const GRANULE: usize = B::GRANULE;
    const ALIGN_MAX: usize = B::ALIGN_MAX;
    const ZEROED: bool = B::ZEROED;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let Ok(block) = self.source.acquire(layout) else {
            self.counts.failed += 1;
            return Err(AllocError);
        };
        let bytes = self.source.good_size(layout);
        let counts = &mut self.counts;
        counts.acquired += 1;
        counts.blocks += 1;
        counts.blocks_peak = counts.blocks_peak.max(counts.blocks);
        counts.bytes += bytes;
        counts.bytes_peak = counts.bytes_peak.max(counts.bytes);
        Ok(mem::slice(block.cast(), block.len().min(bytes)))
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        self.counts.released += 1;
        self.counts.blocks -= 1;
        self.counts.bytes -= self.source.good_size(layout);
        // SAFETY: the caller's promise is the same.
        unsafe { self.source.release(block, layout) };
    }

    unsafe fn extend(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<usize, AllocError> {
        // SAFETY: the caller's promise is the same.
        let len = unsafe { self.source.extend(block, old, new_size) }?;
        Ok(len.min(self.resized(old, new_size)))
    }

    unsafe fn shrink(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<usize, AllocError> {
        // SAFETY: the caller's promise is the same.
        let len = unsafe { self.source.shrink(block, old, new_size) }?;
        Ok(len.min(self.resized(old, new_size)))
    }

    unsafe fn remap(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        let moved = unsafe { self.source.remap(block, old, new_size) }?;
        Ok(mem::slice(moved.cast(), moved.len().min(self.resized(old, new_size))))
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
