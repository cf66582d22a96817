//! Changing the size of a block: where it stands, into the gap before it, or elsewhere.

use core::alloc::Layout;

use super::view::View;
use super::{bins, runs};
use crate::sizing::{Placement, Sizing};

impl<S: Sizing> View<'_, S> {
    /// Changes the block at `address` to layout `new`; gives its first granule and its granules. `None`: nothing has changed.
    ///
    /// # Safety
    /// The block is live and `old` its layout.
    pub(super) unsafe fn resize_block(
        &mut self,
        address: usize,
        old: Layout,
        new: Layout,
    ) -> Option<(u32, u32)> {
        let had = self.live_granules(address, old)?;
        let Some(want) = self.fitting_granules(new.size()) else {
            return self.refuse_resize(address, had, old);
        };
        if let Some(done) = self.resize_here(address, had, want, new) {
            return Some(done);
        }
        // The hot block may be the neighbour that is in the way.
        if self.cool() {
            if let Some(done) = self.resize_here(address, had, want, new) {
                return Some(done);
            }
        }
        let index = self.index_of(address);
        let bytes = old.size().min(new.size());
        // SAFETY: the caller's promise, and both are granules of this block's layouts.
        if let Some(start) = unsafe { self.slide(index, had, want, new, bytes) } {
            return Some((start, want));
        }
        if let Some(start) = self.take(want, new.align()) {
            self.look_at_fresh(start, want, new);
            // SAFETY: `start` is fresh, so it overlaps nothing; both have `bytes` bytes.
            unsafe { self.move_to(index, had, start, want, bytes) };
            return Some((start, want));
        }
        if self.state.quick_max == 0 {
            return self.refuse_resize(address, had, old);
        }
        // Merge everything and try each way again; the lists are off then, so this ends.
        super::quick::switch_off(self);
        // SAFETY: the caller's promise; nothing about the block has changed.
        unsafe { self.resize_block(address, old, new) }
    }

    /// Changes the block where it stands. `None`: nothing has changed.
    #[inline]
    pub(super) fn resize_where_it_stands(
        &mut self,
        address: usize,
        old: Layout,
        new: Layout,
    ) -> Option<(u32, u32)> {
        let had = self.live_granules(address, old)?;
        let want = self.fitting_granules(new.size());
        let done = want.and_then(|want| self.resize_here(address, had, want, new));
        done.or_else(|| self.refuse_resize(address, had, old))
    }

    /// The block stays as it is, as it can't be resized. What was found behind it has been noted, and is not to be found again.
    #[inline]
    fn refuse_resize(&mut self, address: usize, had: u32, old: Layout) -> Option<(u32, u32)> {
        self.enclose(self.index_of(address), had, old.size());
        None
    }

    /// As `resize_where_it_stands`, for a live block of `had` granules that is to have `want`.
    #[inline]
    fn resize_here(&mut self, address: usize, had: u32, want: u32, new: Layout) -> Option<(u32, u32)> {
        if address & (new.align() - 1) != 0 {
            return None;
        }
        let index = self.index_of(address);
        if want < had {
            self.wipe(index + want, had - want);
            self.give(index + want, had - want);
        } else if want > had {
            let end = index + had;
            if self.free_after(end, want - had) < want - had {
                return None;
            }
            self.take_after(end, want - had);
            self.look_at_fresh(end, want - had, new);
        }
        self.state.tally = self.state.tally + u64::from(want) - u64::from(had);
        Some((index, want))
    }

    /// The granules of the block at `address`, whose layout is `old`; `None` (and noted) if there is no such block and this is checked.
    #[inline]
    fn live_granules(&mut self, address: usize, old: Layout) -> Option<u32> {
        let granules = self.granules_for(old.size());
        if Self::CHECKED {
            self.admit(address, old)?;
        }
        Some(granules as u32)
    }

    /// Moves the block within its own room and the free granules right before and after it: down as far as there are any
    /// before it, or up to the alignment.
    ///
    /// All free neighbours are taken before a byte is moved, and what remains is given back after: nothing
    /// that is looked up before the move is used after it.
    ///
    /// # Safety
    /// `had` granules at `index` are live and hold `bytes` bytes, and so do `want`.
    unsafe fn slide(&mut self, index: u32, had: u32, want: u32, new: Layout, bytes: usize) -> Option<u32> {
        let align = new.align();
        let mut before = self.free_before(index);
        let mut start = self.align_index(index - before, align);
        if start >= index {
            // Only the alignment is wrong: up, inside its own room and what follows.
            before = 0;
            start = self.align_index(index, align);
        }
        let end = start.checked_add(want)?;
        let old_end = index + had;
        let after = end.saturating_sub(old_end);
        if before == 0 && start == index || after > 0 && self.free_after(old_end, after) < after {
            return None;
        }
        if before > 0 {
            self.take_before(index, before);
            self.look_at_fresh(index - before, before, new);
        }
        if after > 0 {
            self.take_after(old_end, after);
            self.look_at_fresh(old_end, after, new);
        }
        // SAFETY: both lie in granules that are this block's alone now; they may overlap, which `copy` allows.
        unsafe { self.at(start).copy_from(self.at(index), bytes) };
        // Before there is a free block in front of it (A7).
        self.start(start);
        if start > index - before {
            self.wipe(index - before, start - (index - before));
            self.give(index - before, start - (index - before));
        }
        // Only now, so that a free block before it can still be told from it (A7).
        self.end(index);
        let whole_end = old_end + after;
        if whole_end > end {
            self.wipe(end, whole_end - end);
            self.give(end, whole_end - end);
        }
        self.state.tally = self.state.tally + u64::from(want) - u64::from(had);
        Some(start)
    }

    /// Copies the block at `index` to `start` and frees the old place.
    ///
    /// # Safety
    /// `want` granules at `start` are taken and unused, `had` granules at `index` live, and both hold `bytes` bytes.
    unsafe fn move_to(&mut self, index: u32, had: u32, start: u32, want: u32, bytes: usize) {
        // SAFETY: two different blocks of this region, both at least `bytes` bytes long.
        unsafe { self.at(start).copy_from_nonoverlapping(self.at(index), bytes) };
        self.wipe(index, had);
        self.give(index, had);
        // Only now, so that a broken free block before it can still be told from it (A7).
        self.end(index);
        self.start(start);
        self.state.tally = self.state.tally + u64::from(want) - u64::from(had);
    }

    /// Free granules right after granule `end - 1`; `most` is as many as the caller cares for.
    fn free_after(&self, end: u32, most: u32) -> u32 {
        if end == self.shape.granules {
            return 0;
        }
        match S::PLACEMENT {
            Placement::BitmapRuns => runs::free_after(self, end, most),
            Placement::Bins => bins::free_after(self, end),
        }
    }

    /// Takes free granules that `free_after` found.
    fn take_after(&mut self, end: u32, granules: u32) {
        self.state.changed = true;
        match S::PLACEMENT {
            Placement::BitmapRuns => {
                self.fill_bits(super::view::Bitmap::Bits, end, end + granules, true);
                self.raise(end + granules);
            }
            Placement::Bins => bins::take_after(self, end, granules),
        }
    }

    fn free_before(&self, start: u32) -> u32 {
        match S::PLACEMENT {
            Placement::BitmapRuns => runs::free_before(self, start),
            Placement::Bins => bins::free_before(self, start),
        }
    }

    /// Takes all the free granules right before `start`, which `free_before` counted.
    fn take_before(&mut self, start: u32, granules: u32) {
        self.state.changed = true;
        match S::PLACEMENT {
            Placement::BitmapRuns => {
                self.fill_bits(super::view::Bitmap::Bits, start - granules, start, true);
            }
            Placement::Bins => bins::take_before(self, start),
        }
    }
}
