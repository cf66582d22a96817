//! Going back: to a mark, or to the start.

use core::ptr::NonNull;

use super::chunks::{Chunk, List};
use super::scope::Marks;
use super::{Direction, Growth, Region};
use crate::heap::{Locked, SharedHeap};
use crate::lock::Lock;
use crate::source::BackingSource;

/// What a [`Region`] does with its chunks when it is reset.
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use heapwright::{combine::{Keep, Region}, heap::{Locked, SharedHeap}, lock::NoLock, source::GlobalHeap};
/// let mut region = Locked::<Region<GlobalHeap>, NoLock>::new(Region::new(GlobalHeap));
/// for _ in 0..100 {
///     assert!(region.try_alloc(std::alloc::Layout::new::<[u64; 100]>()).is_ok());
/// }
/// let total = region.region_usage().total;
/// region.reset_keeping(Keep::All);
/// assert_eq!(region.region_usage().total, total);
/// region.reset_keeping(Keep::Nothing);
/// assert_eq!(region.region_usage().total, 0);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// All go back to the source.
    Nothing,
    /// The largest stays: in a loop, a region soon has one that holds all of a turn.
    One,
    /// All stay.
    All,
}

/// A place in a [`Region`] to go back to: what [`mark`](Region::mark) gives.
#[derive(Clone, Copy, Debug)]
pub struct RegionMark {
    /// The chunk that blocks were cut from; `None` if there was none.
    chunk: Option<NonNull<Chunk>>,
    top: *mut u8,
}

/// What a [`Region`] has from its source, in chunks and bytes.
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use heapwright::{combine::{FixedChunks, Region}, heap::Heap, source::GlobalHeap};
/// let mut region = Region::<GlobalHeap, FixedChunks<1024>>::new(GlobalHeap);
/// region.alloc(std::alloc::Layout::new::<[u8; 100]>())?;
/// let usage = region.usage();
/// assert_eq!((usage.chunks, usage.total), (1, 1024));
/// assert_eq!(usage.left, 1024 - 100 - 2 * size_of::<usize>());
/// # }
/// # Ok::<(), heapwright::AllocError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegionUsage {
    /// Chunks with blocks.
    pub chunks: usize,
    /// Bytes of all chunks, spare ones and headers included.
    pub total: usize,
    /// Bytes left in the chunk that blocks are cut from.
    pub left: usize,
    /// Chunks without blocks, kept for later.
    pub spare_chunks: usize,
    /// Bytes of those.
    pub spare: usize,
}

impl<B: BackingSource, G: Growth, D: Direction, const MIN_ALIGN: usize> Region<B, G, D, MIN_ALIGN> {
    /// What there is. O(number of chunks).
    #[must_use]
    pub fn usage(&self) -> RegionUsage {
        let count = |list: &List| list.iter().fold((0, 0), |(count, sum), (_, len)| (count + 1, sum + len));
        let ((chunks, bytes), (spare_chunks, spare)) = (count(&self.chunks), count(&self.spare));
        let left = self.limit.abs_diff(self.top.addr());
        RegionUsage { chunks, total: bytes + spare, left, spare_chunks, spare }
    }

    /// The place where the region stands now.
    #[must_use]
    pub fn mark(&self) -> RegionMark {
        RegionMark { chunk: self.chunks.head(), top: self.top }
    }

    /// Goes back to where `mark` was made: all blocks that have been handed out since are forgotten.
    ///
    /// The largest chunk that this frees is kept, in place of a smaller one that was kept before; others go back to the source.
    ///
    /// # Safety
    /// `mark` is of this region; since it was made, no block from before has been freed or resized, and the region has neither been reset nor gone
    /// back to an earlier mark. No block from after it is used again, not even to free it.
    pub unsafe fn rewind(&mut self, mark: RegionMark) {
        while let Some(chunk) = self.chunks.pop_unless(mark.chunk) {
            // SAFETY: blocks in it are from after the mark, and not used again; it is in no list any more.
            unsafe { self.retire(chunk, Keep::One) };
        }
        self.begin();
        self.top = mark.top;
    }

    /// Forgets all blocks; what happens to the chunks, `keep` says.
    ///
    /// # Safety
    /// No block handed out before is used again, not even to free it.
    pub unsafe fn reset_keeping(&mut self, keep: Keep) {
        while let Some(chunk) = self.chunks.pop() {
            // SAFETY: no block is used again; it is in no list any more.
            unsafe { self.retire(chunk, keep) };
        }
        self.begin();
        match keep {
            Keep::All => {}
            Keep::Nothing => {
                // SAFETY: spare chunks hold no block.
                unsafe { self.spare.release(&mut self.source) };
            }
            Keep::One => {
                let largest = self.spare.iter().map(|(_, len)| len).max().unwrap_or(0);
                let kept = self.spare.take(largest);
                // SAFETY: spare chunks hold no block.
                unsafe { self.spare.release(&mut self.source) };
                if let Some(kept) = kept {
                    // SAFETY: it was taken out.
                    unsafe { self.spare.push(kept) };
                }
            }
        }
    }

    /// Makes a chunk a spare one, or gives it back.
    ///
    /// # Safety
    /// It is a live chunk of this region, in no list, and no block in it is used again.
    unsafe fn retire(&mut self, chunk: NonNull<Chunk>, keep: Keep) {
        // SAFETY: chunks begin with a header.
        let len = unsafe { chunk.read() }.len;
        let kept = self.spare.iter().next().map_or(0, |(_, len)| len);
        if keep == Keep::All || keep == Keep::One && len > kept {
            if keep == Keep::One {
                if let Some(smaller) = self.spare.pop() {
                    // SAFETY: a spare chunk holds no block, and it was taken out.
                    unsafe { Chunk::release(smaller, &mut self.source) };
                }
            }
            // SAFETY: it is live and in no list.
            unsafe { self.spare.push(chunk) };
        } else {
            // SAFETY: it is live, in no list, and nobody uses it.
            unsafe { Chunk::release(chunk, &mut self.source) };
        }
    }
}

impl<B: BackingSource, G: Growth, D: Direction, const M: usize, L: Lock> Locked<Region<B, G, D, M>, L> {
    /// What the region has from its source. O(number of chunks), under the lock. All zero on re-entry.
    #[must_use]
    pub fn region_usage(&self) -> RegionUsage {
        // SAFETY: the closure only reads the core.
        unsafe { self.enter(|core| core.usage()) }.unwrap_or_default()
    }

    /// Forgets all blocks at once; what happens to the chunks, `keep` says. The `&mut` proves that no handle borrows the region.
    ///
    /// ```compile_fail,E0502
    /// use heapwright::{combine::{Keep, Region}, heap::Locked, lock::NoLock, source::GlobalHeap};
    /// let mut region = Locked::<Region<GlobalHeap>, NoLock>::new(Region::new(GlobalHeap));
    /// let boxed = allocator_api2_04::boxed::Box::new_in(1, &region);
    /// region.reset_keeping(Keep::All); // error: `region` is borrowed by `boxed`
    /// drop(boxed);
    /// ```
    pub fn reset_keeping(&mut self, keep: Keep) {
        // SAFETY: nobody borrows the heap, so nobody can free into it; what raw pointers do is their user's promise.
        unsafe { self.get_mut().reset_keeping(keep) };
    }
}

// SAFETY: K1: `rewind` gives back and forgets what lies behind the mark only: chunks that were added since, and the bytes of the marked chunk past
// the mark. K2: chunks leave the list in `rewind` and `reset_keeping` only, so a mark's chunk is there and its place within it.
unsafe impl<B: BackingSource, G: Growth, D: Direction, const M: usize> Marks for Region<B, G, D, M> {
    type Mark = RegionMark;

    fn mark(&self) -> RegionMark {
        Region::mark(self)
    }

    unsafe fn rewind(&mut self, mark: RegionMark) {
        // SAFETY: the caller's promise is the same.
        unsafe { Region::rewind(self, mark) };
    }
}
