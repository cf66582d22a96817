//! A source that counts.

use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;

use super::BackingSource;
use crate::AllocError;
use crate::describe::{Cost, Describe, Tree};
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
///
/// ```
/// use heapwright::source::{Counted, Counts, StaticBuffer};
/// static RAM: StaticBuffer<4096> = StaticBuffer::new();
/// assert_eq!(Counted::new(&RAM).counts(), Counts::default());
/// ```
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
    const LAZY: bool = B::LAZY;

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
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        let block = unsafe { self.source.extend(block, old, new_size) }?;
        Ok(mem::slice(block.cast(), block.len().min(self.resized(old, new_size))))
    }

    unsafe fn shrink(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        let block = unsafe { self.source.shrink(block, old, new_size) }?;
        Ok(mem::slice(block.cast(), block.len().min(self.resized(old, new_size))))
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

    pages_of!(this of B: this.source);

    fn good_size(&self, layout: Layout) -> usize {
        self.source.good_size(layout)
    }

    fn huge_page_size(&self) -> Option<usize> {
        self.source.huge_page_size()
    }
}

impl<B: BackingSource + Describe> Describe for Counted<B> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let cost = Cost::state_around::<Self, B>();
        tree.part(format_args!("Counted, by blocks and bytes"), cost, &[("source", B::describe)])
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
    use crate::source::{Buffer, StaticBuffer};

    fn bytes(size: usize) -> Layout {
        Layout::from_size_align(size, 1).unwrap()
    }

    #[test]
    fn counts_what_goes_through() {
        let mut memory = [MaybeUninit::uninit(); 1000];
        let mut source = Counted::new(Buffer::from_slice(&mut memory));
        assert_eq!(source.counts(), Counts::default());
        let first = source.acquire(bytes(300)).unwrap().cast();
        let second = source.acquire(bytes(400)).unwrap().cast();
        assert!(source.acquire(bytes(301)).is_err());
        assert_eq!(unsafe { source.extend(second, bytes(400), 500) }, Ok(mem::slice(second, 500)));
        assert!(unsafe { source.extend(second, bytes(500), 701) }.is_err());
        unsafe { source.release(first, bytes(300)) };
        let counts = source.counts();
        assert_eq!((counts.blocks, counts.blocks_peak), (1, 2));
        assert_eq!((counts.bytes, counts.bytes_peak), (500, 800));
        assert_eq!((counts.acquired, counts.released, counts.failed), (2, 1, 1));
        assert_eq!(unsafe { source.shrink(second, bytes(500), 5) }, Ok(mem::slice(second, 5)));
        assert_eq!(source.counts().bytes, 5);
        unsafe { source.release(second, bytes(5)) };
        assert_eq!((source.counts().blocks, source.counts().bytes), (0, 0));
        assert_eq!(source.into_inner().left(), 1000);
    }

    #[test]
    fn a_block_is_cut_to_what_is_counted() {
        let ram = StaticBuffer::<100>::new();
        let mut source = Counted::new(&ram);
        assert_eq!(source.acquire(bytes(10)).map(|block| block.len()), Ok(10));
        assert_eq!(source.counts().bytes, 10);
    }

    #[cfg(all(feature = "os", target_os = "linux"))]
    #[test]
    fn moves_are_counted() {
        use crate::source::Pages;
        let page = Pages::page_size();
        let mut source = Counted::new(Pages);
        let block = source.acquire(bytes(1)).unwrap().cast();
        let moved = unsafe { source.remap(block, bytes(page), 5 * page) }.unwrap();
        assert_eq!((source.counts().blocks, source.counts().bytes), (1, 5 * page));
        unsafe { source.release(moved.cast(), bytes(5 * page)) };
        assert_eq!(source.counts().bytes, 0);
    }
}
