//! The operations of an arena: what `alloc` and `free` do, whatever the placement.

use core::alloc::Layout;
use core::marker::PhantomData;

use super::shape::Shape;
use super::view::{Bitmap, HOT_OFF, State, View};
use super::{bins, quick, runs};
use crate::check::Fresh;
use crate::sizing::{Placement, Sizing};

impl<S: Sizing> View<'_, S> {
    /// Granules that `size` bytes take.
    #[inline(always)]
    pub(super) fn granules_for(&self, size: usize) -> usize {
        // A layout's size is at most `isize::MAX`, and the zone at most 4096 (Z6): no overflow.
        (size + Self::ZONE + self.granule() - 1) >> self.shift()
    }

    /// The index of the granule at `address`, which is that of a block of this arena.
    #[inline(always)]
    pub(super) fn index_of(&self, address: usize) -> u32 {
        (address.wrapping_sub(self.origin.addr()) >> self.shift()) as u32
    }

    /// Enters or removes live granules in the books.
    #[inline(always)]
    pub(super) fn count(&mut self, granules: u32) {
        self.state.tally += (1 << 32) + u64::from(granules);
    }

    #[inline(always)]
    pub(super) fn uncount(&mut self, granules: u32) {
        self.state.tally -= (1 << 32) + u64::from(granules);
    }

    /// A block for `layout`: its first granule and its granules. `None` when there is no room.
    #[inline]
    pub(super) fn take_block(&mut self, layout: Layout) -> Option<(u32, u32)> {
        let granules = self.granules_for(layout.size());
        let hot = self.state.hot;
        // Where the largest object ends inside a granule, so many granules may still be too large.
        let fits = S::OBJECT_SIZE_MAX % S::GRANULE == 0 || layout.size() <= S::OBJECT_SIZE_MAX;
        if granules as u64 == hot & u64::from(u32::MAX) && layout.size() != 0 && fits {
            let index = (hot >> 32) as u32;
            if self.is_aligned(index, layout.align()) {
                self.state.hot = 0;
                return Some((index, granules as u32));
            }
        }
        // One comparison for "not zero" and "has a quick list".
        if S::QUICK_SIZES > 0 && granules.wrapping_sub(1) < self.state.quick_max as usize {
            let granules = granules as u32;
            let head = self.quick_head(granules);
            if head != 0 && self.is_aligned(head - 1, layout.align()) {
                let next = self.quick_next(head - 1);
                self.set_quick_head(granules, next);
                self.count(granules);
                return Some((head - 1, granules));
            }
        }
        // The parts go in registers: the fast path never builds a view in memory.
        match take_slowly::<S>(self.origin, self.shape, self.state, layout.size(), layout.align()) {
            (_, 0) => None,
            found => Some(found),
        }
    }

    #[inline(always)]
    pub(super) fn is_aligned(&self, index: u32, align: usize) -> bool {
        align <= self.granule() || self.at(index).addr() & (align - 1) == 0
    }

    /// Granules for `size`, if an object may be that large here.
    pub(super) fn fitting_granules(&self, size: usize) -> Option<u32> {
        if size == 0 || size > S::OBJECT_SIZE_MAX {
            return None;
        }
        // Compared before it is cut to 32 bits.
        let granules = self.granules_for(size);
        (granules <= self.shape.granules as usize).then_some(granules as u32)
    }

    /// Whether a block of another size than the last may be the hot one; see [`HOT_OFF`].
    #[inline(always)]
    fn may_be_hot(&mut self, granules: u32) -> bool {
        let first = self.state.hot_size == 0;
        self.state.hot_size = granules;
        first || S::QUICK_SIZES == 0 || self.state.quick_max == 0
    }

    /// Gives the hot block back to the placement, if there is one; says whether.
    pub(super) fn cool(&mut self) -> bool {
        let hot = self.state.hot;
        self.state.hot = 0;
        if hot as u32 == 0 {
            return false;
        }
        self.uncount(hot as u32);
        self.give((hot >> 32) as u32, hot as u32);
        true
    }

    /// Takes granules from the placement; when there are none, from a kept block that is longer; when there is none, merges
    /// all that is kept and tries again.
    #[inline(never)]
    fn take_or_flush(&mut self, granules: u32, align: usize) -> Option<u32> {
        if self.state.hot == HOT_OFF {
            (self.state.hot, self.state.hot_size) = (0, 0);
        }
        if self.state.quick_max == 0 {
            // Nothing else is kept apart: with the hot block merged, the placement sees all there is.
            let given = self.cool();
            if given && S::QUICK_SIZES > 0 {
                quick::switch_on(self);
            }
        }
        if self.state.dry == 0 || granules < self.state.dry {
            let found = self.take(granules, align);
            if found.is_some() {
                return found;
            }
            if align <= self.granule() {
                self.state.dry = granules;
            }
        }
        if self.state.quick_max > 0 {
            let found = quick::take_from_longer(self, granules, align);
            if found.is_some() {
                return found;
            }
        }
        // Not `||`: both are to be merged.
        let merged = self.cool() | quick::switch_off(self);
        if merged { self.take(granules, align) } else { None }
    }

    /// Takes granules from the placement.
    #[inline(never)]
    pub(super) fn take(&mut self, granules: u32, align: usize) -> Option<u32> {
        self.state.changed = true;
        match S::PLACEMENT {
            Placement::BitmapRuns => {
                let start = runs::take(self, granules, align)?;
                self.raise(start + granules);
                Some(start)
            }
            Placement::Bins => bins::take(self, granules, align),
        }
    }

    /// Gives granules back to the placement.
    #[inline(never)]
    pub(super) fn give(&mut self, index: u32, granules: u32) {
        self.state.dry = 0;
        self.state.changed = true;
        match S::PLACEMENT {
            Placement::BitmapRuns => runs::give(self, index, granules),
            Placement::Bins => bins::give(self, index, granules),
        }
    }

    /// Takes back the block at `address`.
    #[inline]
    pub(super) fn give_block(&mut self, address: usize, layout: Layout) {
        let granules = self.granules_for(layout.size());
        if Self::CHECKED {
            self.give_checked(address, layout, granules as u32);
            return;
        }
        let index = self.index_of(address);
        // Without the mark of its start, a checked neighbour could not tell that its own room ends there.
        if self.state.hot == 0 {
            if self.state.hot_size == granules as u32 || self.may_be_hot(granules as u32) {
                self.state.hot = u64::from(index) << 32 | granules as u64;
                return;
            }
            self.state.hot = HOT_OFF;
        }
        self.uncount(granules as u32);
        if S::QUICK_SIZES > 0 && granules <= self.state.quick_max as usize {
            let granules = granules as u32;
            self.push_quick(address, index, granules);
            return;
        }
        give_slowly::<S>(self.origin, self.shape, self.state, index, granules as u32);
    }

    /// As `give_block`, if there is such a block; otherwise the call is noted.
    fn give_checked(&mut self, address: usize, layout: Layout, granules: u32) {
        let Some(index) = self.admit(address, layout) else { return };
        self.uncount(granules);
        self.wipe(index, granules);
        give_slowly::<S>(self.origin, self.shape, self.state, index, granules);
        self.mend();
    }

    // ---- marks of live objects (`CHECKED`) --------------------------------------------------------------------

    /// Marks the start of a live object.
    #[inline]
    pub(super) fn start(&mut self, index: u32) {
        if Self::CHECKED {
            self.set_bit(Bitmap::Starts, index, true);
        }
    }

    /// Removes the mark.
    #[inline]
    pub(super) fn end(&mut self, index: u32) {
        if Self::CHECKED {
            self.set_bit(Bitmap::Starts, index, false);
        }
    }

    /// Whether exactly one live object stands at `address` and takes `granules`, one at least.
    #[inline(never)]
    pub(super) fn is_live(&self, address: usize, granules: usize) -> bool {
        let offset = address.wrapping_sub(self.origin.addr());
        let limit = self.taken_limit();
        if offset & (self.granule() - 1) != 0 || offset >> self.shift() >= limit as usize {
            return false;
        }
        let index = (offset >> self.shift()) as u32;
        if granules > (limit - index) as usize || !self.bit(Bitmap::Starts, index) {
            return false;
        }
        let end = index + granules as u32;
        let ends_here = end == limit || self.bit(Bitmap::Starts, end) || self.is_free_start(end);
        ends_here && self.none_set(Bitmap::Starts, index + 1, end) && self.none_free(index, end)
    }

    /// One past the last granule that can be live, and whose bits are known.
    pub(super) fn taken_limit(&self) -> u32 {
        match S::PLACEMENT {
            Placement::BitmapRuns => self.shape.granules,
            Placement::Bins => self.state.frontier,
        }
    }

    /// Whether a free block begins at `index`, given that a taken one ends there.
    fn is_free_start(&self, index: u32) -> bool {
        self.bit(Bitmap::Bits, index) == (S::PLACEMENT == Placement::Bins)
    }

    /// Whether no granule of `from..end` is free, given that `from` is taken.
    fn none_free(&self, from: u32, end: u32) -> bool {
        match S::PLACEMENT {
            Placement::BitmapRuns => self.find_bit(Bitmap::Bits, from, end, false) == end,
            Placement::Bins => self.none_set(Bitmap::Bits, from, end),
        }
    }

    /// Forgets all blocks.
    pub(super) fn forget_all(&mut self) {
        let notes = core::mem::replace(&mut self.state.notes, Fresh::NEW);
        *self.state = State { misuses: self.state.misuses, changed: true, notes, ..State::EMPTY };
        if let Some(notes) = self.notes() {
            notes.high.set(0);
            notes.broken.set(0);
        }
        self.clear_tables();
    }
}

/// The arena whose parts these are, for code that needs no lead.
fn view_of<'s, S: Sizing>(origin: *mut u8, shape: &'s Shape, state: &'s mut State<S>) -> View<'s, S> {
    View { origin, lead: 0, shape, state, sizing: PhantomData }
}

/// A block from the placement; zero granules: there is no room.
#[cold]
#[inline(never)]
fn take_slowly<S: Sizing>(
    origin: *mut u8,
    shape: &Shape,
    state: &mut State<S>,
    size: usize,
    align: usize,
) -> (u32, u32) {
    if S::PLACEMENT == Placement::Bins && size.wrapping_sub(1) < S::OBJECT_SIZE_MAX {
        let mut view = view_of::<S>(origin, shape, state);
        let granules = view.granules_for(size);
        if let Some(index) = bins::take_exact(&mut view, granules, align) {
            let granules = granules as u32;
            view.start(index);
            view.count(granules);
            return (index, granules);
        }
    }
    search::<S>(origin, shape, state, size, align)
}

/// As `take_slowly`, when the placement has to look for it.
#[inline(never)]
fn search<S: Sizing>(
    origin: *mut u8,
    shape: &Shape,
    state: &mut State<S>,
    size: usize,
    align: usize,
) -> (u32, u32) {
    let mut view = view_of::<S>(origin, shape, state);
    let Some(granules) = view.fitting_granules(size) else { return (0, 0) };
    let Some(index) = view.take_or_flush(granules, align) else { return (0, 0) };
    view.start(index);
    view.count(granules);
    (index, granules)
}

/// Gives a block, already out of the books, back to the placement.
#[cold]
#[inline(never)]
fn give_slowly<S: Sizing>(origin: *mut u8, shape: &Shape, state: &mut State<S>, index: u32, granules: u32) {
    let mut view = view_of::<S>(origin, shape, state);
    let done = S::PLACEMENT == Placement::Bins && bins::give_lone(&mut view, index, granules);
    if done {
        view.end(index);
    }
    if !done || (S::QUICK_SIZES > 0 && view.state.quick_max == 0) {
        merge::<S>(origin, shape, state, index, granules, done);
    }
}

/// As `give_slowly`, when there is more to do.
#[inline(never)]
fn merge<S: Sizing>(
    origin: *mut u8,
    shape: &Shape,
    state: &mut State<S>,
    index: u32,
    granules: u32,
    given: bool,
) {
    let mut view = view_of::<S>(origin, shape, state);
    if !given {
        view.give(index, granules);
        // Only now, so that a broken free block before it can still be told from it (A7).
        view.end(index);
    }
    if S::QUICK_SIZES > 0 && view.state.quick_max == 0 {
        quick::switch_on(&mut view);
    }
}
