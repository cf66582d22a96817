//! Where a stock's regions and blocks of their own lie, and its slabs: for heaps that check what comes back.

use core::alloc::Layout;
use core::fmt;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

use super::region::CHUNKS;
use crate::AllocError;
use crate::check::Fresh;
use crate::source::BackingSource;

/// What begins in the addresses of one region's length and alignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Kind {
    /// Nothing that is in use, as far as this stock knows.
    Nothing = 0,
    /// A region of chunks.
    Region = u16::MAX,
    /// A block of its own, its base here.
    Large = u16::MAX - 1,
    /// A block of its own, whose first byte is the first here.
    LargeAtOnce = u16::MAX - 2,
}

/// The largest number that stands for a slab, and for those of all larger objects.
pub(super) const MOST: u16 = u16::MAX - 3;

/// Chunks that a leaf tells of: those of 8,192 regions.
const LEAF: usize = CHUNKS << 13;
/// Leaves: with regions of 2 MiB for all addresses of 48 bits, or of 32.
const LEAVES: usize = if size_of::<usize>() > 4 { 1 << 14 } else { 1 };

/// For the first chunk of each region's length of addresses a [`Kind`], for the others that are slabs a number for the length of their objects, and in the upper half how many of
/// them have been taken, from the first on; all zero when new.
type Leaf = [AtomicU32; LEAF];

/// A map of all addresses, with leaves where there is something to tell. Read without a lock; what begins in a region's length is written under the stock's.
///
/// A look-up is two loads that are nearly always in the cache: a leaf tells of 16 GiB, and four lines of it of a region. Leaves come from the stock's source and stay with it.
pub(super) struct RegionMap {
    leaves: [AtomicPtr<Leaf>; LEAVES],
    /// How many there are.
    count: AtomicUsize,
}

impl Fresh for RegionMap {
    const NEW: Self =
        RegionMap { leaves: [const { AtomicPtr::new(ptr::null_mut()) }; LEAVES], count: AtomicUsize::new(0) };
}

impl RegionMap {
    /// The place of a chunk's number, if there is a leaf for it. A chunk is an address divided by a chunk's length.
    #[inline(always)]
    fn place(&self, chunk: usize) -> Option<&AtomicU32> {
        // What a leaf says is read after it: it is written by an address that is handed out after.
        let leaf = NonNull::new(self.leaves.get(chunk / LEAF)?.load(Ordering::Acquire))?;
        // SAFETY: leaves are never given back while the stock is in use.
        Some(&unsafe { leaf.as_ref() }[chunk % LEAF])
    }

    /// What begins in the unit, which is an address divided by a region's length.
    #[cfg(any(feature = "std", test))]
    pub(super) fn kind(&self, unit: usize) -> Kind {
        match self.place(unit * CHUNKS).map(|place| place.load(Ordering::Relaxed) as u16) {
            Some(kind) if kind == Kind::Region as u16 => Kind::Region,
            Some(kind) if kind == Kind::Large as u16 => Kind::Large,
            Some(kind) if kind == Kind::LargeAtOnce as u16 => Kind::LargeAtOnce,
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
        let chunk = unit * CHUNKS;
        let leaf = self.leaves.get(chunk / LEAF).ok_or(AllocError)?;
        if leaf.load(Ordering::Relaxed).is_null() {
            let new = source.acquire(Layout::new::<Leaf>())?.cast::<Leaf>();
            new.as_ptr().expose_provenance();
            if !B::ZEROED {
                // SAFETY: fresh, ours, and of that length.
                unsafe { new.write_bytes(0, 1) };
            }
            leaf.store(new.as_ptr(), Ordering::Release);
            self.count.store(self.count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        self.set(chunk, kind as u16);
        Ok(())
    }

    /// Bytes of the source's memory that the leaves take.
    pub(super) fn bytes(&self) -> usize {
        self.count.load(Ordering::Relaxed) * size_of::<Leaf>()
    }

    /// Notes that nothing begins in the unit any more. Callers are under the stock's lock.
    pub(super) fn forget(&self, unit: usize) {
        self.set(unit * CHUNKS, Kind::Nothing as u16);
    }

    /// Notes that a chunk is a slab of objects of so many bytes, none of which has been taken from it; 0: it is none any more. Callers own the chunk.
    pub(super) fn note_slab(&self, chunk: usize, object_size: usize) {
        self.set(chunk, Self::number(object_size));
    }

    /// How many objects of a chunk have been taken, now or before, if it is a slab with that number. In steps that the caller chooses.
    #[cfg(any(feature = "std", test))]
    #[inline(always)]
    pub(super) fn taken(&self, chunk: usize, number: u16) -> Option<u32> {
        let noted = self.place(chunk)?.load(Ordering::Relaxed);
        (noted as u16 == number).then_some(noted >> 16)
    }

    /// Notes that so many objects of a slab have been taken, from its first on; gives how many had been before. Callers are under the lock of the slab's class.
    #[cfg(any(feature = "std", test))]
    pub(super) fn note_taken(&self, chunk: usize, taken: u16) -> u32 {
        self.place(chunk).map_or(0, |place| {
            let noted = place.load(Ordering::Relaxed);
            let before = noted >> 16;
            if before < taken.into() {
                place.store(noted & 0xffff | u32::from(taken) << 16, Ordering::Relaxed);
            }
            before
        })
    }

    /// What stands for a slab of objects of so many bytes, which are a multiple of eight where anybody asks. Above half a MiB they are all the same.
    pub(super) const fn number(object_size: usize) -> u16 {
        if object_size / 8 < MOST as usize { (object_size / 8) as u16 } else { MOST }
    }

    fn set(&self, chunk: usize, number: u16) {
        if let Some(place) = self.place(chunk) {
            place.store(number.into(), Ordering::Relaxed);
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
        assert_eq!(MAP.bytes(), 0);
        let units = [0, 1, 31, 32, LEAF / CHUNKS - 1];
        for (number, kind) in [Kind::Region, Kind::Large, Kind::LargeAtOnce].into_iter().enumerate() {
            for unit in units {
                assert_eq!(MAP.kind(unit), Kind::Nothing, "{number} {unit}");
                assert_eq!(MAP.note(unit, kind, &mut source), Ok(()));
                assert_eq!(MAP.kind(unit), kind);
            }
            assert_eq!(MAP.kind(2), Kind::Nothing);
            units.iter().for_each(|&unit| MAP.forget(unit));
        }
        assert_eq!(MAP.bytes(), size_of::<Leaf>());
        let beyond = LEAF / CHUNKS * LEAVES;
        MAP.forget(beyond);
        assert_eq!(MAP.kind(beyond), Kind::Nothing);
        assert_eq!(MAP.note(beyond, Kind::Region, &mut source), Err(AllocError));
    }

    #[test]
    fn slabs_are_told_apart_by_their_objects() {
        static RAM: StaticBuffer<{ 2 * size_of::<Leaf>() }> = StaticBuffer::new();
        static MAP: RegionMap = RegionMap::NEW;
        let taken = |chunk, size| MAP.taken(chunk, RegionMap::number(size)).unwrap_or(0);
        assert_eq!((taken(65, 48), MAP.note_taken(65, 1), taken(65, 48)), (0, 0, 0), "there is no leaf");
        assert_eq!(MAP.note(1, Kind::Region, &mut &RAM), Ok(()));
        MAP.note_slab(65, 48);
        assert_eq!(taken(65, 48), 0, "nothing has been taken from it");
        assert_eq!((MAP.note_taken(65, 1), MAP.note_taken(65, 1)), (0, 1));
        assert_eq!([taken(65, 48), taken(65, 56), taken(66, 48), taken(64, 48)], [1, 0, 0, 0]);
        // No length of objects has the number of another, or what stands for a region or no slab.
        assert_eq!(
            (RegionMap::number(8 * (MOST as usize - 1)), RegionMap::number(1 << 20)),
            (MOST - 1, MOST)
        );
        MAP.note_slab(65, 1 << 20);
        assert_eq!(MAP.note_taken(65, 1), 0);
        assert_eq!([taken(65, 1 << 20), taken(65, 48)], [1, 0]);
        MAP.note_slab(66, 48);
        assert_eq!((MAP.note_taken(66, 7), MAP.note_taken(66, 1)), (0, 7));
        assert_eq!(taken(66, 48), 7);
        assert_eq!(MAP.note_taken(66, u16::MAX), 7);
        assert_eq!(taken(66, 48), u32::from(u16::MAX));
        MAP.note_slab(65, 0);
        assert_eq!((taken(65, 1 << 20), MAP.kind(1)), (0, Kind::Region));
    }
}
