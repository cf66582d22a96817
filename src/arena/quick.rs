//! Quick lists: freed objects kept, unmerged, in a list of exactly their size.
//!
//! The idea is that of the fast lists of Quick Fit (Weinstock and Wulf 1988): most frees are soon followed by
//! a request of the same size. Here the lists are a loan. Their heads stand in a block that is taken from the arena
//! when memory is plentiful, and when an allocation would fail the lists are emptied, everything is merged and the
//! block goes back. So they cost nothing when memory is short, and nothing of the region's fixed tables.

use super::shape::Shape;
use super::view::View;
use crate::sizing::Sizing;

/// The lists are used while at least this part of the region is free, as a shift: 1/4.
const FREE_PART_SHIFT: u32 = 2;
/// The table of heads takes at most this part of the region, as a shift: 1/64.
const TABLE_PART_SHIFT: u32 = 6;
/// With fewer live objects than this the lists would be emptied more often than used.
const OBJECTS_MIN: u32 = 32;
/// After memory ran short the lists come back after so many frees: as a part of the live objects, as a shift, and at most.
const PAUSE_PART_SHIFT: u32 = 2;
const PAUSE_FREES_MAX: u32 = 64;

/// How many sizes have a list in a region of this shape.
fn sizes<S: Sizing>(view: &View<'_, S>) -> usize {
    let affordable =
        ((view.shape.granules as usize) << view.shift() >> TABLE_PART_SHIFT) / Shape::head_bytes::<S>();
    S::QUICK_SIZES.min(affordable).min(S::OBJECT_SIZE_MAX >> view.shift())
}

/// Granules of the table of heads.
fn table_granules<S: Sizing>(view: &View<'_, S>, sizes: usize) -> u32 {
    view.granules_for(sizes * Shape::head_bytes::<S>()) as u32
}

/// Switches the lists on if memory is plentiful. Called after a free, so that an empty arena stays empty.
pub(super) fn switch_on<S: Sizing>(view: &mut View<'_, S>) {
    if view.state.quick_pause > 0 {
        view.state.quick_pause -= 1;
        return;
    }
    let free = view.shape.granules - view.state.used();
    let sizes = sizes(view);
    if free < view.shape.granules >> FREE_PART_SHIFT || sizes == 0 || view.state.objects() < OBJECTS_MIN {
        return;
    }
    let granules = table_granules(view, sizes);
    let Some(table) = view.take(granules, view.granule()) else { return };
    view.state.quick_table = (table as usize) << view.shift();
    view.state.quick_max = sizes as u16;
    view.clear_quick_heads(sizes as u32);
}

/// Takes `granules` off the front of a longer kept block; the rest goes to the list of its size.
pub(super) fn take_from_longer<S: Sizing>(
    view: &mut View<'_, S>,
    granules: u32,
    align: usize,
) -> Option<u32> {
    let longer = (granules + 1..=u32::from(view.state.quick_max)).find(|&longer| {
        let head = view.quick_head(longer);
        head != 0 && view.is_aligned(head - 1, align)
    })?;
    let index = view.quick_head(longer) - 1;
    view.set_quick_head(longer, view.quick_next(index));
    let (rest, rest_granules) = (index + granules, longer - granules);
    view.push_quick(view.at(rest).addr(), rest, rest_granules);
    Some(index)
}

/// Empties the lists into the placement and gives their table back; `false` if they are off. O(blocks in the lists), which
/// earlier frees saved.
#[cold]
#[inline(never)]
pub(super) fn switch_off<S: Sizing>(view: &mut View<'_, S>) -> bool {
    let sizes = u32::from(view.state.quick_max);
    if sizes == 0 {
        return false;
    }
    for granules in 1..=sizes {
        let mut link = view.quick_head(granules);
        while link != 0 {
            let index = link - 1;
            link = view.quick_next(index);
            view.give(index, granules);
        }
    }
    view.state.quick_max = 0;
    view.state.quick_pause = (view.state.objects() >> PAUSE_PART_SHIFT).min(PAUSE_FREES_MAX) as u8;
    let granules = table_granules(view, sizes as usize);
    let table = (view.state.quick_table >> view.shift()) as u32;
    view.give(table, granules);
    true
}

/// Granules in the lists and in their table.
pub(super) fn held<S: Sizing>(view: &View<'_, S>) -> u32 {
    let sizes = u32::from(view.state.quick_max);
    let mut held = if sizes == 0 { 0 } else { table_granules(view, sizes as usize) };
    for granules in 1..=sizes {
        let mut link = view.quick_head(granules);
        while link != 0 {
            held += granules;
            link = view.quick_next(link - 1);
        }
    }
    held
}
