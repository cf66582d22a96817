//! Where a stock's regions and blocks of their own lie: for heaps that check what comes back.

use core::alloc::Layout;
use core::fmt;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

use crate::AllocError;
use crate::check::Fresh;
use crate::source::BackingSource;

/// What begins in the addresses of one region's length and alignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Nothing that is in use, as far as this stock knows.
    Nothing = 0,
    /// A region of chunks.
    Region = 1,
    /// A block of its own, its base here.
    Large = 2,
    /// A block of its own, whose first byte is the first here.
    LargeAtOnce = 3,
}

/// Regions' lengths that a leaf tells of.
const LEAF: usize = 1 << 15;
/// Leaves: with regions of 2 MiB for all addresses of 48 bits, or of 32.
const LEAVES: usize = if size_of::<usize>() > 4 { 1 << 12 } else { 1 };

/// A [`Kind`] for each region's length of addresses; all zero when new.
type Leaf = [AtomicU8; LEAF];

/// A map of all addresses, with leaves where there is something to tell. Read without a lock, written under the stock's.
///
/// A look-up is two loads that are nearly always in the cache: a leaf tells of 64 GiB, and a page of it of 8 GiB. Leaves come from the stock's source and stay with it.
pub(super) struct RegionMap {
    leaves: [AtomicPtr<Leaf>; LEAVES],
}

impl Fresh for RegionMap {
    const NEW: Self = RegionMap { leaves: [const { AtomicPtr::new(ptr::null_mut()) }; LEAVES] };
}

impl RegionMap {
    /// What begins in the unit, which is an address divided by a region's length.
    #[cfg(any(feature = "std", test))]
    #[inline(always)]
    pub(super) fn kind(&self, unit: usize) -> Kind {
        let Some(leaf) = self.leaves.get(unit / LEAF) else { return Kind::Nothing };
        // What a leaf says is read after it: it is written by an address that is handed out after.
        let Some(leaf) = NonNull::new(leaf.load(Ordering::Acquire)) else { return Kind::Nothing };
        // SAFETY: leaves are never given back while the stock is in use.
        match unsafe { leaf.as_ref() }[unit % LEAF].load(Ordering::Relaxed) {
            1 => Kind::Region,
            2 => Kind::Large,
            3 => Kind::LargeAtOnce,
            _ => Kind::Nothing,
        }
    }

    /// Notes what begins in the unit. Callers are under the stock's lock.
    ///
    /// # Errors
    /// When there is no memory for a leaf, or the address is beyond all leaves.
    pub(super) fn note<B: BackingSource>(
        &self,
        unit: usize,
        kind: Kind,
        source: &mut B,
    ) -> Result<(), AllocError> {
        let place = self.leaves.get(unit / LEAF).ok_or(AllocError)?;
        let leaf = match NonNull::new(place.load(Ordering::Relaxed)) {
            Some(leaf) => leaf,
            None => {
                let leaf = source.acquire(Layout::new::<Leaf>())?.cast::<Leaf>();
                leaf.as_ptr().expose_provenance();
                if !B::ZEROED {
                    // SAFETY: fresh, ours, and of that length.
                    unsafe { leaf.write_bytes(0, 1) };
                }
                place.store(leaf.as_ptr(), Ordering::Release);
                leaf
            }
        };
        // SAFETY: leaves are never given back while the stock is in use.
        let leaf = unsafe { leaf.as_ref() };
        leaf[unit % LEAF].store(kind as u8, Ordering::Relaxed);
        Ok(())
    }

    /// Notes that nothing begins in the unit any more. Callers are under the stock's lock.
    pub(super) fn forget(&self, unit: usize) {
        let leaf = self.leaves.get(unit / LEAF).map_or(ptr::null_mut(), |leaf| leaf.load(Ordering::Relaxed));
        // SAFETY: leaves are never given back while the stock is in use.
        if let Some(leaf) = unsafe { leaf.as_ref() } {
            leaf[unit % LEAF].store(Kind::Nothing as u8, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for RegionMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegionMap").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::StaticBuffer;

    #[test]
    fn what_is_noted_is_found_until_it_is_forgotten() {
        static RAM: StaticBuffer<{ 4 * size_of::<Leaf>() }> = StaticBuffer::new();
        static MAP: RegionMap = RegionMap::NEW;
        let mut source = &RAM;
        let units = [0, 1, 31, 32, LEAF - 1];
        for (number, kind) in [Kind::Region, Kind::Large, Kind::LargeAtOnce].into_iter().enumerate() {
            for unit in units {
                assert_eq!(MAP.kind(unit), Kind::Nothing, "{number} {unit}");
                assert_eq!(MAP.note(unit, kind, &mut source), Ok(()));
                assert_eq!(MAP.kind(unit), kind);
            }
            assert_eq!(MAP.kind(2), Kind::Nothing);
            units.iter().for_each(|&unit| MAP.forget(unit));
        }
        MAP.forget(usize::MAX);
        assert_eq!(MAP.kind(usize::MAX), Kind::Nothing);
        assert_eq!(MAP.note(LEAF * LEAVES, Kind::Region, &mut source), Err(AllocError));
    }
}
