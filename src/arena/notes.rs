//! What an arena that checks keeps beside its books, and what it says about wrong calls.

use core::alloc::Layout;
use core::cell::Cell;

use super::view::{Bitmap, View};
use crate::check::{Checks, Damage, Finding, Fresh, Misuse, Owner, Secret, Switch, Wrong};
use crate::sizing::{Placement, Sizing};

/// What an arena of sizing `S` keeps for its checks: [`Notes`], or nothing.
pub(super) type NotesOf<S> = <<<S as Sizing>::Checks as Checks>::Frees as Switch>::Of<Notes>;

/// Beside the books of an arena that checks. All zero is a new one's, so that it costs no room in a program's image.
pub(super) struct Notes {
    /// What was found wrong since it was last asked: the first of it.
    found: Cell<Found>,
    /// Granules before this one have been handed out at some time; those of them that are free are zero (`ZERO_FREED`).
    pub(super) high: Cell<u32>,
    /// What links are encoded with (`ENCODE`).
    pub(super) secret: Secret,
    /// The granule of a free block whose links or length are not what was written, plus one; 0: there is none.
    pub(super) broken: Cell<u32>,
}

impl Fresh for Notes {
    const NEW: Self = Notes {
        found: Cell::new(Found::NOTHING),
        high: Cell::new(0),
        secret: Secret::new(),
        broken: Cell::new(0),
    };
}

/// A [`Misuse`], of which nothing is all zero.
#[derive(Clone, Copy)]
struct Found {
    /// Which of [`KINDS`], plus one.
    kind: u8,
    has_damage: bool,
    expected: u8,
    found: u8,
    address: usize,
    size: usize,
    align: usize,
    offset: isize,
    object_size: usize,
}

/// All that an arena finds.
const KINDS: [Wrong; 7] = [
    Wrong::DoubleFree,
    Wrong::Foreign,
    Wrong::Interior,
    Wrong::WrongLayout,
    Wrong::WrittenBehind,
    Wrong::WrittenAfterFree,
    Wrong::Metadata,
];

impl Found {
    const NOTHING: Found = Found {
        kind: 0,
        has_damage: false,
        expected: 0,
        found: 0,
        address: 0,
        size: 0,
        align: 0,
        offset: 0,
        object_size: 0,
    };

    fn new(misuse: &Misuse, object_size: usize) -> Found {
        let kind = KINDS.iter().position(|&kind| kind == misuse.wrong).map_or(0, |kind| kind as u8 + 1);
        let damage = misuse.damage.unwrap_or(Damage { offset: 0, expected: 0, found: 0 });
        Found {
            kind,
            has_damage: misuse.damage.is_some(),
            expected: damage.expected,
            found: damage.found,
            address: misuse.address,
            size: misuse.layout.size(),
            align: misuse.layout.align(),
            offset: damage.offset,
            object_size,
        }
    }

    /// The misuse, in a heap of this name.
    fn misuse(&self, heap: &'static str) -> Option<Misuse> {
        let wrong = *KINDS.get(usize::from(self.kind).checked_sub(1)?)?;
        let layout = Layout::from_size_align(self.size, self.align).ok()?;
        let mut misuse = Misuse::new(wrong, self.address, layout);
        if self.has_damage {
            let Found { offset, expected, found, .. } = *self;
            misuse = misuse.with_damage(Damage { offset, expected, found });
        }
        if wrong != Wrong::Foreign {
            misuse = misuse.with_owner(Owner { heap, object_size: self.object_size });
        }
        Some(misuse)
    }
}

impl<S: Sizing> View<'_, S> {
    /// What is kept for checks, if there are any.
    #[inline(always)]
    pub(super) fn notes(&self) -> Option<&Notes> {
        <S::Checks as Checks>::Frees::get(&self.state.notes)
    }

    /// Counts a misuse, and keeps it to be told if there is none yet. The address belongs to a live object of `object_size` bytes; 0: to none.
    pub(super) fn note(&mut self, misuse: &Misuse, object_size: usize) {
        self.state.misuses = self.state.misuses.saturating_add(1);
        if let Some(notes) = self.notes() {
            if notes.found.get().kind == 0 {
                notes.found.set(Found::new(misuse, object_size));
            }
        }
    }

    /// What was found since it was last asked, in an arena of this name.
    #[inline]
    pub(super) fn finding(&mut self, heap: &'static str) -> Option<Finding> {
        let found = self.notes()?.found.replace(Found::NOTHING);
        found.misuse(heap).map(Finding::new::<<S::Checks as Checks>::Report>)
    }

    /// The first granule of the live object at `address`, if `layout` can be its own; otherwise the call is noted as a misuse.
    #[inline]
    pub(super) fn admit(&mut self, address: usize, layout: Layout) -> Option<u32> {
        let granules = self.granules_for(layout.size());
        if layout.size() == 0 || !self.is_live(address, granules) || address & (layout.align() - 1) != 0 {
            self.refuse(address, layout);
            return None;
        }
        let index = self.index_of(address);
        if Self::ZONE > 0 && !self.look_behind(index, granules as u32, layout) {
            return None;
        }
        Some(index)
    }

    /// As [`Heap::judge`](crate::heap::Heap::judge).
    pub(super) fn lets_back(&mut self, address: usize, layout: Layout) -> bool {
        if Self::CHECKED {
            let Some(index) = self.admit(address, layout) else { return false };
            // What was found behind the block has been noted, and is not to be found again.
            self.enclose(index, self.granules_for(layout.size()) as u32, layout.size());
        }
        true
    }

    /// Notes what is wrong with a call for a block that can't be at `address`.
    #[cold]
    #[inline(never)]
    fn refuse(&mut self, address: usize, layout: Layout) {
        let (wrong, object_size) = self.judge(address);
        self.note(&Misuse::new(wrong, address, layout), object_size);
    }

    /// What is wrong with an address that comes back with a layout which no live object there can have, and the bytes of the live object around it.
    fn judge(&self, address: usize) -> (Wrong, usize) {
        let offset = address.wrapping_sub(self.origin.addr());
        if offset >> self.shift() >= self.shape.granules as usize {
            return (Wrong::Foreign, 0);
        }
        let index = (offset >> self.shift()) as u32;
        let starts_granule = offset & (self.granule() - 1) == 0;
        let Some(start) = self.live_around(index) else {
            return (if starts_granule { Wrong::DoubleFree } else { Wrong::Foreign }, 0);
        };
        let bytes = ((self.live_end(start) - start) as usize) << self.shift();
        let is_start = start == index && starts_granule;
        (if is_start { Wrong::WrongLayout } else { Wrong::Interior }, bytes)
    }

    /// The first granule of the live object that granule `index` belongs to; `None` if the granule is free.
    fn live_around(&self, index: u32) -> Option<u32> {
        if index >= self.taken_limit() {
            return None;
        }
        let start = self.find_bit_back(Bitmap::Starts, index)?;
        let free = match S::PLACEMENT {
            Placement::BitmapRuns => !self.bit(Bitmap::Bits, index),
            // A free block begins behind the object.
            Placement::Bins => self.find_bit_back(Bitmap::Bits, index).is_some_and(|free| free > start),
        };
        (!free).then_some(start)
    }

    /// One past the last granule of the live object that starts at `start`.
    fn live_end(&self, start: u32) -> u32 {
        let limit = self.taken_limit();
        let next = self.find_bit(Bitmap::Starts, start + 1, limit, true);
        self.find_bit(Bitmap::Bits, start + 1, next, S::PLACEMENT == Placement::Bins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A misuse comes out as it went in.
    #[test]
    fn what_is_noted_is_told() {
        for wrong in KINDS {
            let misuse = Misuse::new(wrong, 0x1000, Layout::new::<[u16; 5]>());
            let damage = Damage { offset: -3, expected: 1, found: 2 };
            for misuse in [misuse, misuse.with_damage(damage)] {
                let owner = Owner { heap: "arena", object_size: 12 };
                let told = if wrong == Wrong::Foreign { misuse } else { misuse.with_owner(owner) };
                assert_eq!(Found::new(&misuse, 12).misuse("arena"), Some(told));
            }
        }
        assert_eq!(Found::NOTHING.misuse("arena"), None);
    }
}
