//! Placement by bins: lists of free blocks by size, merged through boundary bits.
//!
//! A free block's first and last granule have their bit set, so a block that is freed sees by two bits
//! whether its neighbours are free, and reads their length there. That is the boundary tag (Knuth, The Art of
//! Computer Programming, vol. 1, 2.5) at one bit per granule instead of a word per object, possible because Rust gives
//! the layout back with every free. Classes are those of TLSF (Masmano et al. 2004) with exact classes below.
//!
//! Memory from the frontier on has never been used: it is in no list, and its bits are not even initialised.

use super::shape::Shape;
use super::view::{Bitmap, Node, View};
use crate::sizing::Sizing;

/// Blocks of one class that are looked at for the best fit; in bounded time also to find one that fits at all, but in the last.
const TRIES_MAX: u32 = 8;

/// The commonest way to take: the first block of the list of exactly this size. `None`: it takes [`take`] to tell.
#[inline(always)]
pub(super) fn take_exact<S: Sizing>(view: &mut View<'_, S>, granules: usize, align: usize) -> Option<u32> {
    if granules > 1 << view.shape.exact {
        return None;
    }
    // Classes of one size, at most 64, are numbered from the first bit of the first word on.
    let class = granules as u32 - 1;
    if view.state.classes[0] >> class & 1 == 0 {
        return None;
    }
    let block = view.class_head(class as usize) - 1;
    if !view.is_aligned(block, align) {
        return None;
    }
    view.state.changed = true;
    let next = view.node(block).next;
    view.set_class_head(class as usize, next);
    if next == 0 {
        view.state.classes[0] &= !(1 << class);
    } else {
        view.set_prev(next - 1, 0);
    }
    view.clear_node(block, granules as u32);
    view.set_bit(Bitmap::Bits, block, false);
    view.set_bit(Bitmap::Bits, block + class, false);
    Some(block)
}

/// The commonest way to give: a block of a small size between two taken ones. `false`: it takes [`give`].
#[inline(always)]
pub(super) fn give_lone<S: Sizing>(view: &mut View<'_, S>, index: u32, granules: u32) -> bool {
    let end = index + granules;
    let merges = (index > 0 && view.bit(Bitmap::Bits, index - 1))
        || end == view.state.frontier
        || view.bit(Bitmap::Bits, end);
    if merges || granules > 1 << view.shape.exact {
        return false;
    }
    view.state.dry = 0;
    view.state.changed = true;
    insert_in_class(view, index, granules, granules as usize - 1);
    view.set_bit(Bitmap::Bits, index, true);
    view.set_bit(Bitmap::Bits, end - 1, true);
    true
}

/// Objects of more granules than this are taken from the high end of the block they are found in, smaller ones from the
/// low end. That keeps the two sorts apart; the holes that large ones leave stay large (src/guide/performance.md).
const LOW_END_MAX: u32 = 8;

/// Takes `granules` whose first is aligned to `align` bytes.
pub(super) fn take<S: Sizing>(view: &mut View<'_, S>, granules: u32, align: usize) -> Option<u32> {
    let Some((block, len)) = find(view, granules, align) else {
        return take_at_frontier(view, granules, align);
    };
    let block_end = block + len;
    let start = if granules > LOW_END_MAX {
        view.align_index_down(block_end - granules, align)
    } else {
        view.align_index(block, align)
    };
    let end = start + granules;
    remove(view, block, len);
    if View::<S>::ENCODE {
        // Before there is a free block in front of it (A7).
        view.start(start);
    }
    if start == block {
        view.set_bit(Bitmap::Bits, block, false);
    } else {
        insert(view, block, start - block);
        view.set_bit(Bitmap::Bits, start - 1, true);
    }
    if end < block_end {
        insert(view, end, block_end - end);
        view.set_bit(Bitmap::Bits, end, true);
    } else {
        view.set_bit(Bitmap::Bits, block_end - 1, false);
    }
    Some(start)
}

/// A free block in which `granules` fit at that alignment, and its length.
#[inline]
fn find<S: Sizing>(view: &View<'_, S>, granules: u32, align: usize) -> Option<(u32, u32)> {
    let class = view.shape.class(granules);
    if align > view.granule() {
        return find_aligned(view, granules, align, class);
    }
    let found = view.state.next_class(class)?;
    let head = view.class_head(found) - 1;
    if found > class || view.shape.is_exact(class) {
        return Some((head, view.len_from_start(head)));
    }
    // Blocks of this very class may be too short; those of the next are not.
    best_in_class(view, found, granules, align).or_else(|| {
        let found = view.state.next_class(class + 1)?;
        let head = view.class_head(found) - 1;
        Some((head, view.len_from_start(head)))
    })
}

/// As `find`, when where a block begins decides whether it fits.
#[inline(never)]
fn find_aligned<S: Sizing>(
    view: &View<'_, S>,
    granules: u32,
    align: usize,
    class: usize,
) -> Option<(u32, u32)> {
    let slack = u32::try_from((align >> view.shift()) - 1).ok()?;
    // From this class on every block fits, wherever it begins.
    let sure = match granules.checked_add(slack).map(|all| view.shape.class(all)) {
        Some(class) if view.shape.is_exact(class) => class,
        Some(class) => class + 1,
        None => usize::MAX,
    };
    let mut classes_left = if S::QUICK_SIZES == 0 { TRIES_MAX } else { u32::MAX };
    let mut next = view.state.next_class(class);
    while let Some(class) = next.filter(|&class| class < sure) {
        if classes_left == 0 {
            next = view.state.next_class(sure);
            break;
        }
        classes_left -= 1;
        if let Some(found) = best_in_class(view, class, granules, align) {
            return Some(found);
        }
        next = view.state.next_class(class + 1);
    }
    let head = view.class_head(next?) - 1;
    Some((head, view.len_from_start(head)))
}

/// The shortest block that fits among the first of a class. If none of those fits, the first of the others that does, but not
/// where bounded time is asked for.
#[inline(never)]
fn best_in_class<S: Sizing>(
    view: &View<'_, S>,
    class: usize,
    granules: u32,
    align: usize,
) -> Option<(u32, u32)> {
    // The last class has no next one where all fit; its blocks are large, so they are few.
    let gives_up = S::QUICK_SIZES == 0 && class != usize::from(view.shape.last);
    let mut best: Option<(u32, u32)> = None;
    let mut tries = 0;
    let mut link = view.class_head(class);
    while link != 0 {
        let block = link - 1;
        let len = view.len_from_start(block);
        let start = view.align_index(block, align);
        if start.saturating_add(granules) <= block + len && best.is_none_or(|(_, best)| len < best) {
            best = Some((block, len));
        }
        tries += 1;
        if tries >= TRIES_MAX && (best.is_some() || gives_up) {
            break;
        }
        link = view.node(block).next;
    }
    best
}

/// Takes granules that have never been used.
#[inline(never)]
fn take_at_frontier<S: Sizing>(view: &mut View<'_, S>, granules: u32, align: usize) -> Option<u32> {
    let frontier = view.state.frontier;
    let start = view.align_index(frontier, align);
    let end = start.checked_add(granules)?;
    if end > view.shape.granules {
        return None;
    }
    advance_frontier(view, end);
    if View::<S>::ENCODE {
        view.start(start);
    }
    if start > frontier {
        insert_marked(view, frontier, start - frontier);
    }
    Some(start)
}

/// Moves the frontier up to `end`, initialising the bits that this brings below it (A2).
fn advance_frontier<S: Sizing>(view: &mut View<'_, S>, end: u32) {
    let known = Shape::words(view.state.frontier);
    let needed = Shape::words(end);
    if needed > known {
        view.clear_words(known, needed);
    }
    view.state.frontier = end;
    view.raise(end);
}

/// Gives granules back, merging them with their free neighbours.
pub(super) fn give<S: Sizing>(view: &mut View<'_, S>, index: u32, granules: u32) {
    let (mut start, mut end) = (index, index + granules);
    if start > 0 && view.bit(Bitmap::Bits, start - 1) {
        let len = view.len_from_end(start);
        remove(view, start - len, len);
        view.set_bit(Bitmap::Bits, start - 1, false);
        start -= len;
    }
    if end == view.state.frontier {
        if start < index {
            view.set_bit(Bitmap::Bits, start, false);
        }
        view.state.frontier = start;
        return;
    }
    if view.bit(Bitmap::Bits, end) {
        let len = view.len_from_start(end);
        remove(view, end, len);
        view.set_bit(Bitmap::Bits, end, false);
        end += len;
    }
    insert_marked(view, start, end - start);
}

/// Granules that are free right after granule `end - 1`, to be had by [`take_after`].
pub(super) fn free_after<S: Sizing>(view: &View<'_, S>, end: u32) -> u32 {
    if end == view.state.frontier {
        view.shape.granules - end
    } else if view.bit(Bitmap::Bits, end) {
        view.len_from_start(end)
    } else {
        0
    }
}

/// Takes the first `granules` of the free ones that follow granule `end - 1`.
pub(super) fn take_after<S: Sizing>(view: &mut View<'_, S>, end: u32, granules: u32) {
    if end == view.state.frontier {
        advance_frontier(view, end + granules);
        return;
    }
    let len = view.len_from_start(end);
    remove_marked(view, end, len);
    if len > granules {
        insert_marked(view, end + granules, len - granules);
    }
}

/// Granules that are free right before granule `start`, to be had by [`take_before`].
pub(super) fn free_before<S: Sizing>(view: &View<'_, S>, start: u32) -> u32 {
    if start > 0 && view.bit(Bitmap::Bits, start - 1) { view.len_from_end(start) } else { 0 }
}

/// Takes all the free granules right before granule `start`.
pub(super) fn take_before<S: Sizing>(view: &mut View<'_, S>, start: u32) {
    let len = view.len_from_end(start);
    remove_marked(view, start - len, len);
}

/// Puts a free block that touches no other one into its list, and marks its ends.
#[inline]
fn insert_marked<S: Sizing>(view: &mut View<'_, S>, block: u32, len: u32) {
    insert(view, block, len);
    view.set_bit(Bitmap::Bits, block, true);
    view.set_bit(Bitmap::Bits, block + len - 1, true);
}

/// Takes a free block out of its list and clears its marks.
#[inline]
fn remove_marked<S: Sizing>(view: &mut View<'_, S>, block: u32, len: u32) {
    remove(view, block, len);
    view.set_bit(Bitmap::Bits, block, false);
    view.set_bit(Bitmap::Bits, block + len - 1, false);
}

/// Puts a block into its list: in front if it lies lower than the first, else behind that one.
///
/// The list then tends to have low addresses in front, at no more than the first block's cache line: nearly the
/// density of a list in address order (Wilson et al. 1995, 3.6).
#[inline]
pub(super) fn insert<S: Sizing>(view: &mut View<'_, S>, block: u32, len: u32) {
    insert_in_class(view, block, len, view.shape.class(len));
}

#[inline(always)]
fn insert_in_class<S: Sizing>(view: &mut View<'_, S>, block: u32, len: u32, class: usize) {
    let head = view.class_head(class);
    let link = block + 1;
    if head == 0 {
        view.set_node(block, Node { next: 0, prev: 0 }, len);
        view.set_class_head(class, link);
        view.state.mark_class(class, true);
    } else if link < head {
        if View::<S>::ENCODE {
            // What is wrong with it is seen before it is written over.
            view.node(head - 1);
        }
        view.set_node(block, Node { next: head, prev: 0 }, len);
        view.set_prev(head - 1, link);
        view.set_class_head(class, link);
    } else {
        let second = view.node(head - 1).next;
        view.set_node(block, Node { next: second, prev: head }, len);
        view.set_next(head - 1, link);
        if second != 0 {
            view.set_prev(second - 1, link);
        }
    }
}

/// Takes a block out of its list.
#[inline]
fn remove<S: Sizing>(view: &mut View<'_, S>, block: u32, len: u32) {
    let Node { next, prev } = view.node(block);
    view.clear_node(block, len);
    if next != 0 {
        view.set_prev(next - 1, prev);
    }
    if prev != 0 {
        view.set_next(prev - 1, next);
        return;
    }
    let class = view.shape.class(len);
    view.set_class_head(class, next);
    if next == 0 {
        view.state.mark_class(class, false);
    }
}
