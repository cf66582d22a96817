//! Large blocks that came back, kept for the next that are as large.

use core::ptr::{self, NonNull};

/// So many are kept.
const SPARES: usize = 16;

/// The longest block that is kept, in bytes. What is longer takes so long to use that to map it anew makes little difference.
const LEN_MAX: usize = 4 << 20;

/// A block of the source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spare {
    /// Null: there is none.
    base: *mut u8,
    pub(super) len: usize,
    pub(super) align: usize,
}

impl Spare {
    const NONE: Self = Spare { base: ptr::null_mut(), len: 0, align: 0 };

    /// A block.
    pub(super) const fn new(base: NonNull<u8>, len: usize, align: usize) -> Self {
        Spare { base: base.as_ptr(), len, align }
    }

    /// Where it begins.
    pub(super) const fn base(&self) -> Option<NonNull<u8>> {
        NonNull::new(self.base)
    }
}

/// The blocks that are kept, the one that came last at the front.
#[derive(Debug)]
pub(super) struct Spares([Spare; SPARES]);

impl Spares {
    pub(super) const NONE: Self = Spares([Spare::NONE; SPARES]);

    /// The block that came last of those of this alignment that are as long, and not more than an eighth longer.
    pub(super) fn take(&mut self, len: usize, align: usize) -> Option<Spare> {
        let fits = |spare: &Spare| {
            spare.base().is_some() && spare.align == align && spare.len >= len && spare.len - len <= len / 8
        };
        let found = self.0.iter().position(fits)?;
        Some(self.remove(found))
    }

    /// Keeps a block; gives the one that has to go instead: the oldest, or this one.
    pub(super) fn give(&mut self, spare: Spare) -> Option<Spare> {
        if spare.len > LEN_MAX {
            return Some(spare);
        }
        let oldest = self.remove(SPARES - 1);
        self.0.copy_within(..SPARES - 1, 1);
        self.0[0] = spare;
        Some(oldest).filter(|oldest| oldest.base().is_some())
    }

    /// The oldest block, if there is any.
    pub(super) fn oldest(&mut self) -> Option<Spare> {
        let found = self.0.iter().rposition(|spare| spare.base().is_some())?;
        Some(self.remove(found))
    }

    /// Takes a place out; those behind it move up.
    fn remove(&mut self, place: usize) -> Spare {
        let spare = self.0[place];
        self.0.copy_within(place + 1.., place);
        self.0[SPARES - 1] = Spare::NONE;
        spare
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(address: usize, len: usize) -> Spare {
        Spare { base: ptr::without_provenance_mut(address), len, align: 4096 }
    }

    #[test]
    fn the_last_that_fits_is_taken_and_the_oldest_goes() {
        let mut spares = Spares::NONE;
        assert!(spares.oldest().is_none() && spares.take(1, 4096).is_none());
        for number in 1..=SPARES {
            assert!(spares.give(block(number << 20, 1 << 20)).is_none());
        }
        assert_eq!(spares.give(block(99 << 20, 2 << 20)).map(|gone| gone.base.addr()), Some(1 << 20));
        assert_eq!(spares.take(1 << 20, 4096).map(|taken| taken.base.addr()), Some(SPARES << 20));
        assert!(spares.take(1 << 20, 8192).is_none(), "another alignment");
        assert!(spares.take((1 << 20) + 1, 4096).is_none(), "too short, or too long");
        assert_eq!(spares.take((2 << 20) - (200 << 10), 4096).map(|taken| taken.len), Some(2 << 20));
        assert_eq!(spares.oldest().map(|oldest| oldest.base.addr()), Some(2 << 20));
        assert!(spares.give(block(1, LEN_MAX + 1)).is_some(), "never kept");
    }

    #[test]
    fn bounds_are_within() {
        let mut spares = Spares::NONE;
        assert!(spares.give(block(1 << 20, LEN_MAX)).is_none(), "kept");
        assert!(spares.take(LEN_MAX, 4096).is_some());
        assert!(spares.give(block(1 << 20, 9 << 16)).is_none());
        assert!(spares.take((8 << 16) - 1, 4096).is_none(), "more than an eighth longer");
        assert!(spares.take(8 << 16, 4096).is_some(), "an eighth longer");
    }
}
