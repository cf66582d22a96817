//! Heaps around arenas.

use std::alloc::Layout;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::cache::SizeClasses;
use heapwright::combine::Totals;
use heapwright::heap::{Heap, Owns};

use super::{Core, layout_of, slice};
use crate::rows::{Arena, Few};

/// An arena.
pub(crate) struct ArenaByHand(pub(crate) Arena);

impl Core for ArenaByHand {
    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.0.alloc(layout)
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.dealloc(ptr, layout) }
    }
}

/// An arena for blocks of up to 512 bytes, another for larger ones.
pub(crate) struct TwoSizesByHand {
    pub(crate) small: Arena,
    pub(crate) large: Arena,
}

impl Core for TwoSizesByHand {
    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() > 512 {
            return self.large.alloc(layout);
        }
        let block = self.small.alloc(layout)?;
        // What is longer would be freed as a large one.
        Ok(slice(block.cast(), block.len().min(512)))
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: NonNull<u8>, layout: Layout) {
        if layout.size() > 512 {
            // SAFETY: the caller's promise, and blocks of this size are in this arena.
            unsafe { self.large.dealloc(ptr, layout) }
        } else {
            // SAFETY: as above.
            unsafe { self.small.dealloc(ptr, layout) }
        }
    }
}

/// An arena, and a second one for when it is used up.
pub(crate) struct FallbackByHand {
    pub(crate) first: Arena,
    pub(crate) second: Arena,
}

impl Core for FallbackByHand {
    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if let Ok(block) = self.first.alloc(layout) {
            return Ok(block);
        }
        self.second.alloc(layout)
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: NonNull<u8>, layout: Layout) {
        if self.first.owns(ptr, layout) {
            // SAFETY: the caller's promise, and the block is this arena's.
            unsafe { self.first.dealloc(ptr, layout) }
        } else {
            // SAFETY: the caller's promise, and the block is not the first's.
            unsafe { self.second.dealloc(ptr, layout) }
        }
    }
}

/// An arena that is asked for powers of two.
pub(crate) struct QuantizedByHand(pub(crate) Arena);

impl Core for QuantizedByHand {
    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let size = layout.size().next_power_of_two();
        let block = self.0.alloc(layout_of(size, layout.align())?)?;
        Ok(slice(block.cast(), size))
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: NonNull<u8>, layout: Layout) {
        let size = layout.size().next_power_of_two();
        // SAFETY: what the block was asked for with.
        let layout = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: the caller's promise.
        unsafe { self.0.dealloc(ptr, layout) }
    }
}

/// An arena whose blocks are aligned to a cache line.
pub(crate) struct AlignedByHand(pub(crate) Arena);

impl Core for AlignedByHand {
    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.0.alloc(layout_of(layout.size(), layout.align().max(64))?)
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: what the block was asked for with.
        let layout = unsafe { Layout::from_size_align_unchecked(layout.size(), layout.align().max(64)) };
        // SAFETY: the caller's promise.
        unsafe { self.0.dealloc(ptr, layout) }
    }
}

/// An arena with a `u64` before and a `u32` behind each block.
pub(crate) struct AffixByHand(pub(crate) Arena);

impl AffixByHand {
    /// Bytes before a block, up to the number behind it, and the alignment of all.
    #[inline(always)]
    fn parts(layout: Layout) -> (usize, usize, usize) {
        let align = layout.align().max(8);
        (align, (layout.size() + 3) & !3, align)
    }
}

impl Core for AffixByHand {
    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let (before, len, align) = Self::parts(layout);
        // No overflow: a size is at most `isize::MAX`, and an alignment half as much more.
        let all = self.0.alloc(layout_of(before + len + 4, align)?)?;
        // SAFETY: the block is longer than that.
        let block = unsafe { all.cast::<u8>().add(before) };
        // SAFETY: eight bytes or more are before it.
        let number = unsafe { block.cast::<u64>().sub(1) };
        // SAFETY: aligned as the block, to eight at least.
        unsafe { number.write(0) };
        // SAFETY: four bytes are behind it.
        let number = unsafe { block.add(len) };
        // SAFETY: the block and its length are multiples of four.
        unsafe { number.cast::<u32>().write(0) };
        Ok(slice(block, len))
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: NonNull<u8>, layout: Layout) {
        let (before, len, align) = Self::parts(layout);
        // SAFETY: what the block was asked for with.
        let layout = unsafe { Layout::from_size_align_unchecked(before + len + 4, align) };
        // SAFETY: so far from its start is the block that the arena gave.
        let all = unsafe { ptr.sub(before) };
        // SAFETY: the caller's promise.
        unsafe { self.0.dealloc(all, layout) }
    }
}

/// An arena of which no more than so many bytes are given out.
pub(crate) struct QuotaByHand {
    pub(crate) arena: Arena,
    pub(crate) limit: usize,
    pub(crate) used: usize,
}

impl Core for QuotaByHand {
    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let cost = self.arena.good_size(layout);
        // The limit may have been lowered.
        if cost > self.limit.saturating_sub(self.used) {
            return Err(AllocError);
        }
        let block = self.arena.alloc(layout)?;
        self.used += cost;
        Ok(slice(block.cast(), block.len().min(cost)))
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.arena.dealloc(ptr, layout) };
        self.used -= self.arena.good_size(layout);
    }
}

/// An arena whose blocks are counted.
pub(crate) struct TotalsByHand {
    pub(crate) arena: Arena,
    pub(crate) totals: Totals,
}

/// A block of so many bytes is there.
#[inline(always)]
pub(super) fn count(totals: &mut Totals, bytes: usize) {
    totals.allocated += 1;
    totals.blocks += 1;
    totals.blocks_peak = totals.blocks_peak.max(totals.blocks);
    totals.bytes += bytes;
    totals.bytes_peak = totals.bytes_peak.max(totals.bytes);
}

/// And is gone.
#[inline(always)]
pub(super) fn uncount(totals: &mut Totals, bytes: usize) {
    totals.freed += 1;
    totals.blocks -= 1;
    totals.bytes -= bytes;
}

impl Core for TotalsByHand {
    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let bytes = self.arena.good_size(layout);
        let Ok(block) = self.arena.alloc(layout) else {
            self.totals.refused += 1;
            return Err(AllocError);
        };
        count(&mut self.totals, bytes);
        Ok(slice(block.cast(), block.len().min(bytes)))
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.arena.dealloc(ptr, layout) };
        uncount(&mut self.totals, self.arena.good_size(layout));
    }
}

/// An arena whose blocks are zero.
pub(crate) struct ZeroedByHand(pub(crate) Arena);

impl Core for ZeroedByHand {
    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let block = self.0.alloc(layout)?;
        // SAFETY: the block is fresh, and as long.
        unsafe { block.cast::<u8>().write_bytes(0, block.len()) };
        Ok(block)
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.dealloc(ptr, layout) }
    }
}

/// An arena for each of a few sizes.
pub(crate) struct PerClassByHand(pub(crate) [Arena; Few::COUNT]);

impl Core for PerClassByHand {
    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let class = Few::index(layout).ok_or(AllocError)?;
        // SAFETY: there is such a class.
        let size = *unsafe { Few::SIZES.get_unchecked(class) };
        // SAFETY: an arena for each class.
        let arena = unsafe { self.0.get_unchecked_mut(class) };
        // SAFETY: sizes of classes are far from the greatest that there is.
        let block = arena.alloc(unsafe { Layout::from_size_align_unchecked(size, layout.align()) })?;
        Ok(slice(block.cast(), block.len().min(size)))
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: a block without a class was never given.
        let class = unsafe { Few::index(layout).unwrap_unchecked() };
        // SAFETY: there is such a class.
        let size = *unsafe { Few::SIZES.get_unchecked(class) };
        // SAFETY: an arena for each class.
        let arena = unsafe { self.0.get_unchecked_mut(class) };
        // SAFETY: sizes of classes are far from the greatest that there is.
        let layout = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: the caller's promise.
        unsafe { arena.dealloc(ptr, layout) }
    }
}
