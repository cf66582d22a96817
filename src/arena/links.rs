//! Encoded links, and what is done when one was written to.
//!
//! Links and lengths of free blocks lie in free memory, where whoever writes past the end of an object, or to one that was freed, can reach them. Under
//! `ENCODE` each is xored with a number that depends on a secret of the arena and on its place. And none is believed alone: two neighbours in a list have to name each other, and a length is
//! one only if both ends of the block tell it and the tables, which lie apart, have the marks of a block's ends in both places, and that of a live object behind it. So each look costs a few
//! words, however long the block is. A link that fails counts as none, and a length that fails is told by the tables alone, which takes reading them over the block; what does not agree is
//! noted at the end of the call, and the lists are made anew from the tables ([`View::mend`]). So nothing outside of free memory is ever followed; and to have a live object taken for free, one
//! has to write two words that are right for their places and the secret. What nothing confirms is the end of a list: a word that is changed so that it tells just that hides the blocks behind it, until
//! one beside them is freed, whose neighbour's link to the one before it fails then.
//!
//! Invariant, beside those of a [`View`], while links are read:
//! - **A7** (runs) under `ENCODE` a free block is followed by the first granule of a live object, which has its start mark. (Free blocks do not touch each other
//!   or the frontier (A5); a block that is being taken gets its mark before free ones are made of what is left, and one that is given back keeps it until it is free.)

use super::bins;
use super::view::{Bitmap, Node, View};
use crate::check::{Misuse, Wrong};
use crate::sizing::Sizing;

impl<S: Sizing> View<'_, S> {
    /// What the word at `ptr` is encoded with.
    #[inline(always)]
    pub(super) fn key(&self, ptr: *mut u8) -> u32 {
        if Self::ENCODE {
            let secret = self.notes().map_or(0, |notes| notes.secret.get());
            let place = ptr.addr().wrapping_sub(self.origin.addr()) as u32;
            let folded = secret as u32 ^ (secret as u64 >> 32) as u32;
            return folded ^ place.wrapping_mul(0x9e37_79b1).rotate_left(13);
        }
        0
    }

    /// The links, if they lead to where they may; otherwise none, and that is kept in mind.
    pub(super) fn believed(&self, index: u32, node: Node) -> Node {
        let len = self.believed_len(index);
        if self.agree(index, node, len, |neighbour| self.told_len(neighbour).is_some()) {
            return node;
        }
        self.broken_at(index);
        Node { next: 0, prev: 0 }
    }

    /// Whether the links of the free block at `index`, of `len` granules, lead to blocks whose links lead back, or out of its list. `is_block` says of a granule whether a free block begins there,
    /// or else ends, so that the words there may be read.
    fn agree(&self, index: u32, node: Node, len: u32, is_block: impl Fn(u32) -> bool) -> bool {
        let Node { next, prev } = node;
        let link = index + 1;
        // No block is its own neighbour: the lengths of the first block, if it has two granules, look like that from its second one.
        if next == link || prev == link {
            return false;
        }
        let next_agrees = next == 0 || (is_block(next - 1) && self.raw_node(next - 1).prev == link);
        let prev_agrees = if prev == 0 {
            self.class_head(self.shape.class(len)) == link
        } else {
            is_block(prev - 1) && self.raw_node(prev - 1).next == link
        };
        next_agrees && prev_agrees
    }

    /// The granules of the free block at `start`. If its words do not tell them, the tables do, and that is kept in mind.
    pub(super) fn believed_len(&self, start: u32) -> u32 {
        self.told_len(start).unwrap_or_else(|| {
            self.broken_at(start);
            self.run_from(start)
        })
    }

    /// The same for the free block that ends before granule `end`.
    pub(super) fn believed_len_back(&self, end: u32) -> u32 {
        let len = self.last_len(end);
        // (No block tells of no granules.)
        if end.checked_sub(len).and_then(|start| self.told_len(start)) == Some(len) {
            return len;
        }
        let start = self.start_before(end);
        self.broken_at(start);
        end - start
    }

    /// The first granule of the free block that ends before granule `end`, by the tables alone.
    #[cold]
    fn start_before(&self, end: u32) -> u32 {
        let last = end - 1;
        let before = last.checked_sub(1).and_then(|from| self.find_bit_back(Bitmap::Bits, from));
        match (before, self.find_bit_back(Bitmap::Starts, last)) {
            // Between two free blocks there is a live object.
            (Some(bit), Some(live)) if live > bit => last,
            (Some(bit), _) => bit,
            (None, _) => last,
        }
    }

    /// The granules of the free block at `start`, if there is one whose words tell them, and the tables have its ends where they have to be.
    fn told_len(&self, start: u32) -> Option<u32> {
        if !self.is_end_of_free(start) {
            return None;
        }
        // Behind a block there is a live object below the frontier (A5, A7). If it is one granule behind, the rest of what a longer block would have here may be somebody's.
        if self.is_live_start(start + 1) {
            // The last granule of a longer block looks the same in the tables, and one word tells all; but no list leads there.
            let told = self.tells_len(start, 1)
                && self.agree(start, self.raw_node(start), 1, |neighbour| self.is_end_of_free(neighbour));
            return told.then_some(1);
        }
        let len = self.first_len(start)?;
        let end = start.checked_add(len)?;
        let ends_there = self.is_live_start(end) && self.bit(Bitmap::Bits, end - 1);
        (ends_there && self.tells_len(start, len)).then_some(len)
    }

    /// Whether a granule is the first or the last of a free block.
    fn is_end_of_free(&self, index: u32) -> bool {
        index < self.state.frontier && self.bit(Bitmap::Bits, index)
    }

    /// Whether a granule is the first of a live object.
    fn is_live_start(&self, index: u32) -> bool {
        index < self.state.frontier && self.bit(Bitmap::Starts, index)
    }

    /// The granules of the free block at `start`, by the tables alone.
    #[cold]
    fn run_from(&self, start: u32) -> u32 {
        let limit = self.state.frontier;
        let live = self.find_bit(Bitmap::Starts, start + 1, limit, true);
        let last = self.find_bit(Bitmap::Bits, start + 1, live, true);
        // No second mark before the next live object: it is a block of one granule.
        if last == live { 1 } else { last + 1 - start }
    }

    #[cold]
    pub(super) fn broken_at(&self, index: u32) {
        if let Some(notes) = self.notes() {
            notes.broken.set(index + 1);
        }
    }

    /// Whether something was found that is not what was written.
    pub(super) fn is_broken(&self) -> bool {
        self.notes().is_some_and(|notes| Self::ENCODE && notes.broken.get() != 0)
    }

    /// Puts right what was found broken since the last call, and notes it. Says whether there was something. For the end of a call, when every live
    /// object has its start mark.
    #[inline]
    pub(super) fn mend(&mut self) -> bool {
        let broken = self.is_broken();
        if broken {
            self.rebuild();
        }
        broken
    }

    /// Makes the lists of free blocks anew, by the tables.
    #[cold]
    #[inline(never)]
    fn rebuild(&mut self) {
        let index = self.notes().map_or(0, |notes| notes.broken.replace(0)).saturating_sub(1);
        self.note(&Misuse::new(Wrong::Metadata, self.at(index).addr(), self.granule_layout()), 0);
        self.clear_class_heads();
        self.state.classes = [0; 2];
        self.state.dry = 0;
        let limit = self.state.frontier;
        let mut from = 0;
        while from < limit {
            let start = self.find_bit(Bitmap::Bits, from, limit, true);
            if start == limit {
                break;
            }
            let len = self.run_from(start);
            self.clear_node(start, len);
            bins::insert(self, start, len);
            from = start + len;
        }
    }
}
