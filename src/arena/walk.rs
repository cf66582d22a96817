//! Walking an arena: its chunks in address order, and the check of every invariant.

use super::view::{Bitmap, HOT_OFF, View};
use super::{quick, shape::Shape};
use crate::heap::{Chunk, ChunkKind, Corruption, Cursor};
use crate::sizing::{Placement, Sizing};

impl<S: Sizing> View<'_, S> {
    /// The chunk that begins at granule `index`, which is the start of one; not at the region's end.
    fn chunk_from(&self, index: u32) -> (ChunkKind, u32) {
        let limit = self.taken_limit();
        if index == limit {
            return (ChunkKind::Free, self.shape.granules - index);
        }
        let bit = self.bit(Bitmap::Bits, index);
        let (kind, mut end) = match S::PLACEMENT {
            Placement::BitmapRuns => {
                let kind = if bit { ChunkKind::Used } else { ChunkKind::Free };
                (kind, self.find_bit(Bitmap::Bits, index, limit, !bit))
            }
            Placement::Bins if bit => (ChunkKind::Free, index + self.len_from_start(index)),
            Placement::Bins => (ChunkKind::Used, self.find_bit(Bitmap::Bits, index, limit, true)),
        };
        if Self::CHECKED && kind == ChunkKind::Used {
            end = self.find_bit(Bitmap::Starts, index + 1, end, true);
        }
        (kind, end - index)
    }

    /// The next chunk of a walk. Merges the quick lists first.
    pub(super) fn walk(&mut self, cursor: &mut Cursor) -> Option<Chunk> {
        let lead = self.lead as usize;
        self.cool();
        quick::switch_off(self);
        if self.shape.granules == 0 {
            return None;
        }
        if cursor.offset < lead {
            let chunk = Chunk { offset: cursor.offset, len: lead - cursor.offset, kind: ChunkKind::Table };
            cursor.offset = lead;
            return Some(chunk);
        }
        // Cursors are anybody's to make: one that stands nowhere in particular gets the rest of the chunk around it.
        let at = cursor.offset - lead;
        let from = u32::try_from(at >> self.shift()).ok()?;
        let stands = !self.state.changed && self.state.walked <= from;
        let mut index = if stands { self.state.walked } else { 0 };
        while index < self.shape.granules {
            let (kind, len) = self.chunk_from(index);
            index += len;
            if index > from {
                let len = ((index as usize) << self.shift()) - at;
                let chunk = Chunk { offset: cursor.offset, len, kind };
                cursor.offset += len;
                (self.state.walked, self.state.changed) = (index, false);
                return Some(chunk);
            }
        }
        None
    }

    fn corrupt(&self, rule: &'static str, index: u32) -> Corruption {
        Corruption { rule, offset: (index as usize) << self.shift() }
    }

    fn ensure(&self, holds: bool, rule: &'static str, index: u32) -> Result<(), Corruption> {
        if holds { Ok(()) } else { Err(self.corrupt(rule, index)) }
    }

    /// Checks every invariant of the arena. O(granules / 32 + free blocks).
    pub(super) fn check(&self) -> Result<(), Corruption> {
        self.ensure(self.state.frontier <= self.shape.granules, "the frontier is inside the region", 0)?;
        self.verify_quick()?;
        let free = match S::PLACEMENT {
            Placement::BitmapRuns => self.verify_runs()?,
            Placement::Bins => self.verify_bins()?,
        };
        let hot = self.state.hot;
        let hot_end = (hot >> 32) + (hot & u64::from(u32::MAX));
        self.ensure(
            hot == HOT_OFF || hot_end <= u64::from(self.taken_limit()),
            "the hot block is inside the used part",
            0,
        )?;
        let all = (self.state.tally & u64::from(u32::MAX)) + u64::from(free) + u64::from(quick::held(self));
        self.ensure(all == u64::from(self.taken_limit()), "live, free and kept granules add up", 0)?;
        let (used, objects) = (self.state.used(), self.state.objects());
        self.ensure(objects <= used && (objects == 0) == (used == 0), "every object takes granules", 0)?;
        if Self::CHECKED {
            let limit = self.taken_limit();
            let mut starts = 0;
            let mut index = self.find_bit(Bitmap::Starts, 0, limit, true);
            while index < limit {
                starts += 1;
                index = self.find_bit(Bitmap::Starts, index + 1, limit, true);
            }
            self.ensure(starts == objects, "every object has one start mark", 0)?;
        }
        self.ensure(!self.is_broken(), "links and lengths of free blocks are what was written", 0)
    }

    fn verify_quick(&self) -> Result<(), Corruption> {
        let limit = self.taken_limit();
        for granules in 1..=u32::from(self.state.quick_max) {
            let mut link = self.quick_head(granules);
            let mut left = limit / granules;
            while link != 0 {
                let index = link - 1;
                self.ensure(left > 0, "a quick list ends", index)?;
                left -= 1;
                let end = index.saturating_add(granules);
                self.ensure(end <= limit, "a kept block is inside the used part", index)?;
                let taken = match S::PLACEMENT {
                    Placement::BitmapRuns => self.find_bit(Bitmap::Bits, index, end, false) == end,
                    Placement::Bins => self.none_set(Bitmap::Bits, index, end),
                };
                self.ensure(taken, "a kept block counts as taken", index)?;
                link = self.quick_next(index);
            }
        }
        Ok(())
    }

    /// Free granules, counted.
    fn verify_runs(&self) -> Result<u32, Corruption> {
        let all = self.shape.granules;
        let before_hint = (self.state.hint * 32).min(all);
        let hole = self.find_bit(Bitmap::Bits, 0, before_hint, false);
        self.ensure(hole == before_hint, "nothing is free before the hint", hole)?;
        let mut free = 0;
        let mut index = 0;
        while index < all {
            let hole = self.find_bit(Bitmap::Bits, index, all, false);
            index = self.find_bit(Bitmap::Bits, hole, all, true);
            free += index - hole;
        }
        Ok(free)
    }

    /// Free granules below the frontier, counted.
    fn verify_bins(&self) -> Result<u32, Corruption> {
        let frontier = self.state.frontier;
        let (mut free, mut blocks) = (0, 0);
        let mut index = 0;
        while index < frontier {
            index = self.find_bit(Bitmap::Bits, index, frontier, true);
            if index == frontier {
                break;
            }
            let len = self.len_from_start(index);
            let end = index.saturating_add(len);
            self.ensure(len > 0 && end < frontier, "a free block ends before the frontier", index)?;
            self.ensure(self.bit(Bitmap::Bits, end - 1), "a free block's last granule is marked", index)?;
            self.ensure(self.len_from_end(end) == len, "a free block's two lengths agree", index)?;
            // (Blocks of one or two granules have no inside: the range is empty.)
            let plain = self.none_set(Bitmap::Bits, index + 1, end - 1);
            self.ensure(plain, "a free block has no mark inside", index)?;
            self.ensure(!self.bit(Bitmap::Bits, end), "two free blocks do not touch", index)?;
            free += len;
            blocks += 1;
            index = end;
        }
        self.verify_lists(blocks)?;
        Ok(free)
    }

    /// Every list is of blocks of its class, linked both ways, and together they hold all free blocks.
    fn verify_lists(&self, blocks: u32) -> Result<(), Corruption> {
        let heads = self.shape.heads_bytes::<S>(self.shape.granules) / Shape::head_bytes::<S>();
        let mut listed = 0;
        for class in 0..heads {
            let head = self.class_head(class);
            let marked = self.state.next_class(class) == Some(class);
            self.ensure(marked == (head != 0), "the class map tells which lists are empty", 0)?;
            let (mut link, mut before) = (head, 0);
            while link != 0 {
                let index = link - 1;
                let inside = index < self.state.frontier && self.bit(Bitmap::Bits, index);
                self.ensure(inside, "a link leads to a free block", index.min(self.shape.granules))?;
                listed += 1;
                self.ensure(listed <= blocks, "the lists hold no more than the free blocks", index)?;
                let granules = self.len_from_start(index);
                self.ensure(self.shape.class(granules) == class, "a block is in its class's list", index)?;
                let node = self.node(index);
                self.ensure(node.prev == before, "links agree both ways", index)?;
                (link, before) = (node.next, link);
            }
        }
        self.ensure(listed == blocks, "every free block is in a list", 0)
    }
}
