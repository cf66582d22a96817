//! Placement by bitmap runs: one bit per granule, first fit by address.
//!
//! Free memory needs no structure at all: to free is to clear bits, and there is nothing to merge. A search looks
//! at 64 starts at a time: in a word whose bit `i` says "granule `i` is free", and-ing it with itself shifted by one leaves
//! the starts of runs of two, and so on by doubling (Warren, Hacker's Delight, 6-3).

use super::shape::Shape;
use super::view::{Bitmap, View};
use crate::sizing::Sizing;

/// The longest run that is looked for 64 starts at a time: with the word after them they hold it.
const WINDOW_RUN_MAX: u32 = 32;

/// Takes `granules` whose first is aligned to `align` bytes.
pub(super) fn take<S: Sizing>(view: &mut View<'_, S>, granules: u32, align: usize) -> Option<u32> {
    let every = (align >> view.shift()).max(1);
    let start = if granules <= WINDOW_RUN_MAX && every <= 32 {
        find_short(view, granules, align, every as u32)
    } else {
        find_long(view, granules, align)
    }?;
    view.fill_bits(Bitmap::Bits, start, start + granules, true);
    Some(start)
}

/// The free granules of word `word` of `words`, one bit each; those past the region's end count as taken.
#[inline(always)]
fn free_word<S: Sizing>(view: &View<'_, S>, word: usize, words: usize) -> u32 {
    if word >= words {
        return 0;
    }
    let free = !view.word(Bitmap::Bits, word);
    let tail = view.shape.granules % 32;
    if word + 1 == words && tail != 0 { free & ((1 << tail) - 1) } else { free }
}

/// The first run of at most 32 granules, every `every`-th start allowed.
fn find_short<S: Sizing>(view: &mut View<'_, S>, granules: u32, align: usize, every: u32) -> Option<u32> {
    let words = Shape::words(view.shape.granules);
    let mut starts_allowed = u64::MAX;
    if every > 1 {
        // One bit in `every`, from the first aligned granule on; words are a multiple of `every` long, so one mask serves all.
        let comb = u64::MAX / ((1 << every) - 1);
        starts_allowed = comb << (view.align_index(0, align) % 64);
    }
    let mut word = view.state.hint as usize;
    // Words without a free granule are skipped for good, until something before them is freed.
    while word + 1 < words && free_word(view, word, words) == 0 {
        word += 1;
    }
    view.state.hint = word as u32;
    // 64 starts, and the 32 granules after them into which their runs may reach.
    let mut free =
        u64::from(free_word(view, word, words)) | u64::from(free_word(view, word + 1, words)) << 32;
    while word < words {
        let after = u64::from(free_word(view, word + 2, words));
        let runs = run_starts(free, after, granules) & starts_allowed;
        if runs != 0 {
            return Some(word as u32 * 32 + runs.trailing_zeros());
        }
        free = after | u64::from(free_word(view, word + 3, words)) << 32;
        word += 2;
    }
    None
}

/// The bits of `free` at which a run of `granules` (1 to 32) set bits begins; `after` has the bits that follow the top one.
#[inline(always)]
fn run_starts(free: u64, after: u64, granules: u32) -> u64 {
    let (mut runs, mut after, mut have) = (free, after, 1);
    // Most words of a full region have no run of two: that ends it at once.
    while have * 2 <= granules && runs != 0 {
        runs &= (runs >> have) | (after << (64 - have));
        after &= after >> have;
        have *= 2;
    }
    let rest = granules - have;
    if rest == 0 { runs } else { runs & ((runs >> rest) | (after << (64 - rest))) }
}

/// The first run of any length, walked from hole to hole.
fn find_long<S: Sizing>(view: &View<'_, S>, granules: u32, align: usize) -> Option<u32> {
    let all = view.shape.granules;
    let mut from = view.state.hint * 32;
    loop {
        let hole = view.find_bit(Bitmap::Bits, from, all, false);
        let start = view.align_index(hole, align);
        let end = start.checked_add(granules).filter(|&end| end <= all)?;
        from = view.find_bit(Bitmap::Bits, start, end, true);
        if from == end {
            return Some(start);
        }
    }
}

/// Gives granules back.
pub(super) fn give<S: Sizing>(view: &mut View<'_, S>, index: u32, granules: u32) {
    view.fill_bits(Bitmap::Bits, index, index + granules, false);
    view.state.hint = view.state.hint.min(index / 32);
}

/// Granules that are free right after granule `end - 1`, but not more than `most`.
pub(super) fn free_after<S: Sizing>(view: &View<'_, S>, end: u32, most: u32) -> u32 {
    let limit = end.saturating_add(most).min(view.shape.granules);
    view.find_bit(Bitmap::Bits, end, limit, true) - end
}

/// Granules that are free right before granule `start`.
pub(super) fn free_before<S: Sizing>(view: &View<'_, S>, start: u32) -> u32 {
    let mut index = start;
    while index > 0 {
        let word = (index - 1) / 32;
        // The granules of this word below `index`, moved up so that the nearest is the top bit.
        let below = view.word(Bitmap::Bits, word as usize) << (31 - (index - 1) % 32);
        let here = (index - 1) % 32 + 1;
        let free = below.leading_zeros().min(here);
        index -= free;
        if free < here {
            break;
        }
    }
    start - index
}

#[cfg(test)]
mod tests {
    use super::run_starts;

    #[test]
    fn run_starts_agrees_with_counting() {
        let words = [0, 1, u64::MAX, 0x8000_0000_0000_0000, 0x00ff_0ff0_1234_5678, 0xffff_ffff_0000_ffff];
        for (free, after) in
            words.iter().flat_map(|&free| words.iter().map(move |&after| (free, after >> 32)))
        {
            let all = u128::from(after) << 64 | u128::from(free);
            for granules in 1..=32u32 {
                let runs = run_starts(free, after, granules);
                for start in 0..64 {
                    let expected = (start..start + granules).all(|bit| all >> bit & 1 != 0);
                    assert_eq!(runs >> start & 1 != 0, expected, "{free:x} {after:x} {granules} {start}");
                }
            }
        }
    }
}
