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

/// Blocks of one class that are looked at before the search goes on to a class where all fit.
const TRIES_MAX: u32 = 8;

/// Takes `granules` whose first is aligned to `align` bytes.
pub(super) fn take<S: Sizing>(view: &mut View<'_, S>, granules: u32, align: usize) -> Option<u32> {
    if let Some((block, len)) = find(view, granules, align) {
        unlink(view, block, len);
        let start = view.align_index(block, align);
        if start > block {
            insert(view, block, start - block);
        }
        let end = start + granules;
        if end < block + len {
            insert(view, end, block + len - end);
        }
        return Some(start);
    }
    take_at_frontier(view, granules, align)
}

/// A free block in which `granules` fit at that alignment, and its length.
fn find<S: Sizing>(view: &View<'_, S>, granules: u32, align: usize) -> Option<(u32, u32)> {
    let slack = (align >> view.shift()).saturating_sub(1);
    let Ok(slack) = u32::try_from(slack) else { return None };
    let class = view.shape.class(granules);
    // From this class on every block fits, wherever it starts.
    let sure = match granules.checked_add(slack).map(|all| view.shape.class(all)) {
        Some(class) if view.shape.is_exact(class) => class,
        Some(class) => class + 1,
        None => usize::MAX,
    };
    let mut left = view.state.classes.checked_shr(class as u32).unwrap_or(0);
    let mut class = class;
    let mut tries = TRIES_MAX;
    while left != 0 {
        class += left.trailing_zeros() as usize;
        let head = view.class_head(class);
        if class >= sure {
            return Some((head - 1, view.len_from_start(head - 1)));
        }
        if let Some(found) = find_in_class(view, head, granules, align, &mut tries) {
            return Some(found);
        }
        if tries == 0 && S::QUICK_SIZES == 0 {
            // Bounded: skip to where the first block is sure to fit.
            class = sure.max(class + 1);
        } else {
            class += 1;
        }
        left = view.state.classes.checked_shr(class as u32).unwrap_or(0);
    }
    None
}

/// Looks through one list. Without bounded time asked for, looks through all of it.
fn find_in_class<S: Sizing>(
    view: &View<'_, S>,
    head: u32,
    granules: u32,
    align: usize,
    tries: &mut u32,
) -> Option<(u32, u32)> {
    let mut link = head;
    loop {
        let block = link - 1;
        let len = view.len_from_start(block);
        let start = view.align_index(block, align);
        if start.saturating_add(granules) <= block + len {
            return Some((block, len));
        }
        if S::QUICK_SIZES == 0 {
            *tries = tries.saturating_sub(1);
            if *tries == 0 {
                return None;
            }
        }
        link = view.node(block).next;
        if link == head {
            return None;
        }
    }
}

/// Takes granules that have never been used.
fn take_at_frontier<S: Sizing>(view: &mut View<'_, S>, granules: u32, align: usize) -> Option<u32> {
    let frontier = view.state.frontier;
    let start = view.align_index(frontier, align);
    let end = start.checked_add(granules)?;
    if end > view.shape.granules {
        return None;
    }
    advance_frontier(view, end);
    if start > frontier {
        insert(view, frontier, start - frontier);
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
}

/// Gives granules back, merging them with their free neighbours.
pub(super) fn give<S: Sizing>(view: &mut View<'_, S>, index: u32, granules: u32) {
    let (mut start, mut end) = (index, index + granules);
    if start > 0 && view.bit(Bitmap::Bits, start - 1) {
        let len = view.len_from_end(start);
        unlink(view, start - len, len);
        start -= len;
    }
    if end == view.state.frontier {
        view.state.frontier = start;
        return;
    }
    if view.bit(Bitmap::Bits, end) {
        let len = view.len_from_start(end);
        unlink(view, end, len);
        end += len;
    }
    insert(view, start, end - start);
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
    unlink(view, end, len);
    if len > granules {
        insert(view, end + granules, len - granules);
    }
}

/// Granules that are free right before granule `start`, to be had by [`take_before`].
pub(super) fn free_before<S: Sizing>(view: &View<'_, S>, start: u32) -> u32 {
    if start > 0 && view.bit(Bitmap::Bits, start - 1) { view.len_from_end(start) } else { 0 }
}

/// Takes all the free granules right before granule `start`.
pub(super) fn take_before<S: Sizing>(view: &mut View<'_, S>, start: u32) {
    let len = view.len_from_end(start);
    unlink(view, start - len, len);
}

/// Puts a free block that touches no other one into its list, and marks its ends.
///
/// Lists are circular, so that a block can go to either end at once: to the front when it lies lower than
/// the first, else to the back. That keeps low addresses in use first, without a search.
fn insert<S: Sizing>(view: &mut View<'_, S>, block: u32, len: u32) {
    let class = view.shape.class(len);
    let head = view.class_head(class);
    let link = block + 1;
    if head == 0 {
        view.set_node(block, Node { next: link, prev: link }, len);
        view.set_class_head(class, link);
        view.state.classes |= 1 << class;
    } else {
        let tail = view.node(head - 1).prev;
        view.set_node(block, Node { next: head, prev: tail }, len);
        view.set_next(tail - 1, link);
        view.set_prev(head - 1, link);
        if link < head {
            view.set_class_head(class, link);
        }
    }
    view.set_bit(Bitmap::Bits, block, true);
    view.set_bit(Bitmap::Bits, block + len - 1, true);
}

/// Takes a free block out of its list, and clears its marks.
fn unlink<S: Sizing>(view: &mut View<'_, S>, block: u32, len: u32) {
    let Node { next, prev } = view.node(block);
    let class = view.shape.class(len);
    if next == block + 1 {
        view.set_class_head(class, 0);
        view.state.classes &= !(1 << class);
    } else {
        view.set_next(prev - 1, next);
        view.set_prev(next - 1, prev);
        if view.class_head(class) == block + 1 {
            view.set_class_head(class, next);
        }
    }
    view.set_bit(Bitmap::Bits, block, false);
    view.set_bit(Bitmap::Bits, block + len - 1, false);
}
