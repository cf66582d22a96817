//! Bytes that a hardened arena writes and looks at again: zeroes in free memory, and patterns behind live objects.

use core::alloc::Layout;
use core::ptr::NonNull;

use super::view::View;
use crate::AllocError;
use crate::check::{Damage, Misuse, Wrong};
use crate::mem;
use crate::sizing::Sizing;

/// The bytes behind an object, up to the end of its last granule, are this, changed by how many they are: so that they tell the object's size, too.
const ZONE: u8 = 0xbb;

/// What so many bytes behind an object are, each.
const fn pattern(len: usize) -> u8 {
    ZONE ^ len as u8
}

impl<S: Sizing> View<'_, S> {
    /// A block, when something is to be done about the bytes of fresh ones, or about links.
    #[inline(never)]
    pub(super) fn alloc_hardened(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if let Some(notes) = self.notes().filter(|_| Self::ENCODE) {
            notes.secret.make();
        }
        let mut taken = self.take_block(layout);
        if self.mend() && taken.is_none() {
            taken = self.take_block(layout);
            self.mend();
        }
        let (index, granules) = taken.ok_or(AllocError)?;
        self.look_at_fresh(index, granules, layout);
        Ok(self.enclose(index, granules, layout.size()))
    }

    /// The block that begins at granule `index`, with its zone behind it.
    pub(super) fn enclose(&mut self, index: u32, granules: u32, size: usize) -> NonNull<[u8]> {
        let len = (granules as usize) << self.shift();
        // SAFETY: a pointer into a live allocation (A1) is not null.
        let start = unsafe { NonNull::new_unchecked(self.at(index)) };
        if Self::ZONE == 0 {
            return mem::slice(start, len);
        }
        let behind = len - size;
        // SAFETY: the block has `granules_for(size)` granules, so the zone is inside it, and it is nobody's but the arena's.
        unsafe { start.as_ptr().wrapping_add(size).write_bytes(pattern(behind), behind) };
        mem::slice(start, size)
    }

    /// Looks at the zone behind the live block at granule `index`, which comes back with `layout`. False, and noted: the block has another layout. What was
    /// written to the zone is noted, and the block goes its way.
    #[inline(never)]
    pub(super) fn look_behind(&mut self, index: u32, granules: u32, layout: Layout) -> bool {
        let (start, len) = (self.at(index), (granules as usize) << self.shift());
        let behind = len - layout.size();
        // A zone's last byte is always one, whatever size comes back, and tells one size alone (Z6): nothing is read that may be the user's, and without a value.
        let last = self.byte(start.wrapping_add(len - 1));
        if last == pattern(behind) {
            let other = (layout.size()..len)
                .map(|at| (at, self.byte(start.wrapping_add(at))))
                .find(|&(_, found)| found != last);
            if let Some((offset, found)) = other {
                self.note_damage(Wrong::WrittenBehind, index, layout, (offset, last, found), len);
            }
            return true;
        }
        // The zone of an object of another size, as long as such zones are? From its end on, so that it is left where it ends.
        // A byte tells how many more bytes than the shortest zone has that would be, and with it the length.
        let other = Self::ZONE + usize::from((last ^ ZONE).wrapping_sub(Self::ZONE as u8));
        let fits = other < len && self.granules_for(len - other) == granules as usize;
        if fits && (len - other..len).rev().all(|at| self.byte(start.wrapping_add(at)) == last) {
            let misuse = Misuse::new(Wrong::WrongLayout, start.addr(), layout);
            self.note(&misuse, len - other);
            return false;
        }
        self.note_damage(Wrong::WrittenBehind, index, layout, (len - 1, pattern(behind), last), len);
        true
    }

    /// Looks whether free granules, which are handed out now, are as they were left.
    #[inline]
    pub(super) fn look_at_fresh(&mut self, index: u32, granules: u32, layout: Layout) {
        if Self::ZERO {
            let start = self.at(index);
            let words = ((granules as usize) << self.shift()) / 4;
            let other = (0..words).find(|word| self.load(start.wrapping_add(word * 4)) != 0);
            let Some(word) = other else { return };
            let bytes = self.load(start.wrapping_add(word * 4)).to_ne_bytes();
            let byte = bytes.iter().position(|&byte| byte != 0).unwrap_or(0);
            self.note_damage(Wrong::WrittenAfterFree, index, layout, (word * 4 + byte, 0, bytes[byte]), 0);
        }
    }

    /// The same for the words that links and lengths of a free block are about to be written to.
    pub(super) fn look_at_node(&mut self, index: u32, granules: u32) {
        let start = self.at(index);
        let other = self.node_words(granules).find(|&offset| self.load(start.wrapping_add(offset)) != 0);
        if let Some(offset) = other {
            let bytes = self.load(start.wrapping_add(offset)).to_ne_bytes();
            let byte = bytes.iter().position(|&byte| byte != 0).unwrap_or(0);
            let layout = self.granule_layout();
            self.note_damage(Wrong::WrittenAfterFree, index, layout, (offset + byte, 0, bytes[byte]), 0);
        }
    }

    /// The layout of one granule, for what is found in free memory.
    pub(super) fn granule_layout(&self) -> Layout {
        // By Z1 no more than 4096, and a power of two.
        Layout::from_size_align(self.granule(), self.granule()).unwrap_or(Layout::new::<u32>())
    }

    /// Notes a byte of the block at granule `index`: its offset, what it should be and what it is.
    #[cold]
    fn note_damage(
        &mut self,
        wrong: Wrong,
        index: u32,
        layout: Layout,
        (offset, expected, found): (usize, u8, u8),
        object_size: usize,
    ) {
        // An offset inside the region is below `isize::MAX` (Z3).
        let damage = Damage { offset: offset as isize, expected, found };
        let misuse = Misuse::new(wrong, self.at(index).addr(), layout).with_damage(damage);
        self.note(&misuse, object_size);
    }

    /// Zeroes granules that are about to be free.
    #[inline]
    pub(super) fn wipe(&mut self, index: u32, granules: u32) {
        if Self::ZERO {
            let len = (granules as usize) << self.shift();
            // SAFETY: by the callers the granules are nobody's any more, and in the region (A1).
            unsafe { self.at(index).write_bytes(0, len) };
        }
    }

    /// Granules before `end` are about to be handed out, or to be free between such: what of them has never been used is made zero.
    #[inline]
    pub(super) fn raise(&mut self, end: u32) {
        if Self::ZERO {
            let high = self.notes().map_or(end, |notes| notes.high.replace(end.max(notes.high.get())));
            self.wipe(high, end.saturating_sub(high));
        }
    }

    /// One byte of a zone.
    fn byte(&self, ptr: *mut u8) -> u8 {
        // SAFETY: by the callers a byte of a live block's zone: in the region (A1), written by `enclose`, and nobody's but the arena's.
        unsafe { ptr.read() }
    }
}
