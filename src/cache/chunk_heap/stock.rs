//! Which chunks are free, in all regions.

use core::ptr::{self, NonNull};
use core::sync::atomic::Ordering;

use super::ChunkStats;
use super::region::{CHUNKS, Grid, Region, object_size, wholeness};
use super::runs::{self, Run};
use super::spares::{Spare, Spares};
use crate::AllocError;
use crate::cache::retention::Retention;

/// The regions with a free chunk, and the counts of all.
///
/// Invariant: `first` and those that follow it by `next` are the regions with a free chunk, in order of address; `last` is the last of them; `prev` of each is
/// the one before. The counts are those of all regions.
#[derive(Debug)]
pub(super) struct Stock<R, const CHUNK: usize> {
    first: *mut Region,
    last: *mut Region,
    retention: R,
    regions: usize,
    /// Regions of which no chunk is in use.
    empty: usize,
    /// Free chunks that may be resident, and those that spare blocks would be.
    kept: usize,
    spares: Spares,
    spare_bytes: usize,
    /// Chunks in use, those included that are being purged; not those that are guards of slabs.
    used: usize,
    /// Blocks in use that have a record of their own, and their bytes, records included.
    large_blocks: usize,
    large_bytes: usize,
}

/// What is to be given back.
#[derive(Debug)]
pub(super) enum Doomed {
    /// A region that the stock has forgotten, with so many free chunks that may be resident, and a bit for each that can't be touched.
    Region { region: NonNull<u8>, kept: usize, guards: u64 },
    /// A block that was spare.
    Large(Spare),
    /// Chunks that count as in use until they are purged.
    Chunks { run: Run, chunks: usize },
}

impl<R: Retention, const CHUNK: usize> Stock<R, CHUNK> {
    pub(super) const NEW: Self = Stock {
        first: ptr::null_mut(),
        last: ptr::null_mut(),
        retention: R::NEW,
        regions: 0,
        empty: 0,
        kept: 0,
        spares: Spares::NONE,
        spare_bytes: 0,
        used: 0,
        large_blocks: 0,
        large_bytes: 0,
    };

    /// How much there is.
    pub(super) const fn stats(&self) -> ChunkStats {
        ChunkStats {
            bytes_mapped: self.regions * Grid::<CHUNK>::REGION + self.large_bytes + self.spare_bytes,
            bytes_kept: self.kept * CHUNK,
            regions: self.regions,
            chunks_used: self.used,
            large_blocks: self.large_blocks,
            large_bytes: self.large_bytes,
        }
    }

    /// A block that had `before` bytes, or 0 if there was none, has `after`, or 0 if it is gone.
    pub(super) fn count_large(&mut self, before: usize, after: usize) {
        self.large_blocks = self.large_blocks + (after > 0) as usize - (before > 0) as usize;
        self.large_bytes = self.large_bytes + after - before;
    }

    /// So many chunks that have been taken are guards.
    pub(super) fn uncount(&mut self, guards: usize) {
        self.used -= guards;
    }

    /// So many chunks are none any more, and are to be given back.
    pub(super) fn count(&mut self, guards: usize) {
        self.used += guards;
    }

    pub(super) const fn regions(&self) -> usize {
        self.regions
    }

    pub(super) const fn empty_regions(&self) -> usize {
        self.empty
    }

    pub(super) const fn kept(&self) -> usize {
        self.kept
    }

    /// A spare block, no shorter than asked for and not much longer.
    pub(super) fn take_spare(&mut self, len: usize, align: usize) -> Option<Spare> {
        let spare = self.spares.take(len, align)?;
        self.forget(&spare);
        self.retention.used(self.kept);
        Some(spare)
    }

    /// Keeps a block; gives the one that has to go instead, and how many chunks the policy wants purged.
    pub(super) fn give_spare(&mut self, spare: Spare) -> (Option<Spare>, usize) {
        self.kept += spare.len.div_ceil(CHUNK);
        self.spare_bytes += spare.len;
        let gone = self.spares.give(spare);
        if let Some(gone) = &gone {
            self.forget(gone);
        }
        (gone, self.surplus())
    }

    /// A block is no longer spare.
    fn forget(&mut self, spare: &Spare) {
        self.kept -= spare.len.div_ceil(CHUNK);
        self.spare_bytes -= spare.len;
    }

    /// Adds a region, all its chunks free.
    ///
    /// # Safety
    /// The region is a block of the grid's length and alignment, exposed, the caller's alone; `zeroed` says that it is all zero.
    pub(super) unsafe fn add(&mut self, region: NonNull<u8>, zeroed: bool) {
        let all = Grid::<CHUNK>::ALL;
        let kept = if zeroed { 0 } else { all };
        let record = Region { next: ptr::null_mut(), prev: ptr::null_mut(), free: all, kept, guards: 0 };
        let region = region.cast::<Region>();
        // SAFETY: the caller's promise; a region's front is room for its record.
        unsafe { region.write(record) };
        for number in 0..CHUNKS {
            let address = region.addr().get() + number * CHUNK;
            // SAFETY: the region is in use from here on.
            unsafe { object_size::<CHUNK>(address) }.store(0, Ordering::Relaxed);
        }
        self.regions += 1;
        self.empty += 1;
        self.kept += kept.count_ones() as usize;
        // SAFETY: it is in use, and in no list.
        unsafe { self.link(region) };
    }

    /// Takes so many chunks in a row: the lowest that may be resident, else the lowest. A `slab` is one chunk, and where its region has guards a second one: rather one that is a guard already.
    /// `guards`: whether there may be any.
    pub(super) fn take(&mut self, chunks: usize, note: usize, slab: bool, guards: bool) -> Option<Run> {
        let guarded = |region: &Region| {
            // SAFETY: a region in use.
            slab && guards
                && unsafe { wholeness::<CHUNK>(ptr::from_ref(region).addr()) }.load(Ordering::Relaxed) == 0
        };
        let ready = |region: &Region| {
            let ready = region.free & !region.guards & (region.guards >> 1);
            Some((runs::find(ready & region.kept, 1).or_else(|| runs::find(ready, 1))?, 2))
        };
        if let Some(run) = if slab && guards { self.take_where(note, ready) } else { None } {
            return Some(run);
        }
        let open = |region: &Region| {
            let (open, chunks) = (region.free & !region.guards, chunks + usize::from(guarded(region)));
            Some((runs::find(region.kept & open, chunks).or_else(|| runs::find(open, chunks))?, chunks))
        };
        let run = self.take_where(note, open);
        if run.is_some() || !guards {
            return run;
        }
        // What was a guard is a chunk like others, but for a call to the source.
        self.take_where(note, |region| {
            let chunks = chunks + usize::from(guarded(region));
            Some((runs::find(region.free, chunks)?, chunks))
        })
    }

    /// Takes chunks of the first region in which `choose` finds some free, and tells where they begin, and how many it takes.
    fn take_where(&mut self, note: usize, choose: impl Fn(&Region) -> Option<(usize, usize)>) -> Option<Run> {
        let mut next = NonNull::new(self.first);
        while let Some(region) = next {
            // SAFETY: the list's invariant: a region in use.
            let record = unsafe { region.as_ref() };
            if let Some((at, chunks)) = choose(record) {
                // SAFETY: the chunks are free, in a region of the list.
                return Some(unsafe { self.take_at(region, at, chunks, note) });
            }
            next = NonNull::new(record.next);
        }
        None
    }

    /// Takes chunks of a region.
    ///
    /// # Safety
    /// The region is in the list, and the chunks are free.
    unsafe fn take_at(&mut self, mut region: NonNull<Region>, at: usize, chunks: usize, note: usize) -> Run {
        let mask = runs::mask(at, chunks);
        // SAFETY: the caller's promise: a region in use, which nobody else refers to.
        let record = unsafe { region.as_mut() };
        let [kept, guards] = [record.kept, record.guards].map(|bits| (bits & mask) >> at);
        self.empty -= usize::from(record.free == Grid::<CHUNK>::ALL);
        record.free &= !mask;
        record.kept &= !mask;
        record.guards &= !mask;
        let address = region.addr().get() + at * CHUNK;
        // SAFETY: a region in use.
        unsafe { object_size::<CHUNK>(address) }.store(note as u32, Ordering::Relaxed);
        let none_left = record.free == 0;
        if none_left {
            // SAFETY: the caller's promise: it is in the list.
            unsafe { self.unlink(region) };
        }
        self.used += chunks;
        if kept != 0 {
            self.kept -= kept.count_ones() as usize;
            self.retention.used(self.kept);
        }
        // SAFETY: the chunk lies in the region.
        let first = unsafe { region.cast::<u8>().add(at * CHUNK) };
        Run { first, kept, guards }
    }

    /// Takes chunks back; gives how many the policy wants purged.
    ///
    /// # Safety
    /// The `chunks` from `run.first` on are in use, nobody uses them, and `run` is true of them.
    pub(super) unsafe fn give(&mut self, run: Run, chunks: usize) -> usize {
        // SAFETY: the caller's promise is the same.
        unsafe { self.put(run, chunks) };
        self.surplus()
    }

    /// How many chunks the policy wants purged.
    pub(super) fn surplus(&mut self) -> usize {
        self.retention.surplus(self.kept).min(self.kept)
    }

    /// Marks chunks as free: those that have come back, or were doomed.
    ///
    /// # Safety
    /// As [`give`](Stock::give).
    pub(super) unsafe fn put(&mut self, run: Run, chunks: usize) {
        let Run { first, kept, guards } = run;
        let mut region = Grid::<CHUNK>::region(first);
        let at = Grid::<CHUNK>::number(first.addr().get());
        let mask = runs::mask(at, chunks);
        // SAFETY: the region of a chunk in use is in use, and nobody else refers to it.
        let record = unsafe { region.as_mut() };
        debug_assert!(record.free & mask == 0, "a chunk was given back twice");
        let was_in_list = record.free != 0;
        record.free |= mask;
        record.kept |= kept << at & mask;
        record.guards |= guards << at & mask;
        self.kept += kept.count_ones() as usize;
        self.empty += usize::from(record.free == Grid::<CHUNK>::ALL);
        self.used -= chunks;
        if !was_in_list {
            // SAFETY: it had no free chunk, so it was in no list.
            unsafe { self.link(region) };
        }
    }

    /// Makes a run longer, if the chunks behind it are free.
    ///
    /// # Safety
    /// A run of `had` chunks begins at `first`, and `wanted` is more.
    pub(super) unsafe fn grow(
        &mut self,
        first: NonNull<u8>,
        had: usize,
        wanted: usize,
    ) -> Result<(), AllocError> {
        let at = Grid::<CHUNK>::number(first.addr().get());
        if at + wanted > CHUNKS {
            return Err(AllocError);
        }
        let region = Grid::<CHUNK>::region(first);
        let more = runs::mask(at + had, wanted - had);
        // SAFETY: the region of a run in use is in use.
        let Region { free, guards, .. } = *unsafe { region.as_ref() };
        if free & !guards & more != more {
            return Err(AllocError);
        }
        // SAFETY: the region has free chunks, so it is in the list; and these are free.
        unsafe { self.take_at(region, at + had, wanted - had, 0) };
        // SAFETY: the caller's promise: the run begins there.
        unsafe { self.note(first, wanted * CHUNK) };
        Ok(())
    }

    /// Notes the length of a run.
    ///
    /// # Safety
    /// It begins at `first`.
    pub(super) unsafe fn note(&self, first: NonNull<u8>, len: usize) {
        // SAFETY: the region of a run in use is in use.
        unsafe { object_size::<CHUNK>(first.addr().get()) }.store(len as u32, Ordering::Relaxed);
    }

    /// Something to give back, of up to `most` chunks that lie `below` if it is chunks, as high in memory as there is.
    /// Spare blocks go first.
    pub(super) fn doom(&mut self, most: usize, below: usize) -> Option<Doomed> {
        if let Some(spare) = self.spares.oldest() {
            self.forget(&spare);
            return Some(Doomed::Large(spare));
        }
        let mut next = NonNull::new(self.last);
        while let Some(mut region) = next {
            // SAFETY: the list's invariant: a region in use, which nobody else refers to.
            let record = unsafe { region.as_mut() };
            if record.free == Grid::<CHUNK>::ALL {
                let (kept, guards) = (record.kept.count_ones() as usize, record.guards);
                (self.kept, self.regions, self.empty) = (self.kept - kept, self.regions - 1, self.empty - 1);
                // SAFETY: it is in the list.
                unsafe { self.unlink(region) };
                return Some(Doomed::Region { region: region.cast(), kept, guards });
            }
            let kept = record.kept & runs::lowest(below.saturating_sub(region.addr().get()) / CHUNK);
            if kept != 0 {
                let (at, chunks) = runs::highest(kept, most);
                // SAFETY: the chunks are free, in a region of the list.
                let run = unsafe { self.take_at(region, at, chunks, 0) };
                return Some(Doomed::Chunks { run, chunks });
            }
            next = NonNull::new(record.prev);
        }
        None
    }

    /// Puts a region into the list, by its address.
    ///
    /// # Safety
    /// It is in use, and in no list.
    unsafe fn link(&mut self, region: NonNull<Region>) {
        let mut before = ptr::null_mut();
        let mut after = self.first;
        while !after.is_null() && after < region.as_ptr() {
            before = after;
            // SAFETY: the list's invariant: a region in use.
            after = unsafe { (*after).next };
        }
        // SAFETY: the caller's promise.
        unsafe { (*region.as_ptr()).next = after };
        // SAFETY: the caller's promise.
        unsafe { (*region.as_ptr()).prev = before };
        match NonNull::new(before) {
            // SAFETY: the list's invariant: a region in use.
            Some(before) => unsafe { (*before.as_ptr()).next = region.as_ptr() },
            None => self.first = region.as_ptr(),
        }
        match NonNull::new(after) {
            // SAFETY: the list's invariant: a region in use.
            Some(after) => unsafe { (*after.as_ptr()).prev = region.as_ptr() },
            None => self.last = region.as_ptr(),
        }
    }

    /// Takes a region out of the list.
    ///
    /// # Safety
    /// It is in the list.
    unsafe fn unlink(&mut self, region: NonNull<Region>) {
        // SAFETY: the caller's promise.
        let Region { next, prev, .. } = *unsafe { region.as_ref() };
        match NonNull::new(prev) {
            // SAFETY: the list's invariant: a region in use.
            Some(prev) => unsafe { (*prev.as_ptr()).next = next },
            None => self.first = next,
        }
        match NonNull::new(next) {
            // SAFETY: the list's invariant: a region in use.
            Some(next) => unsafe { (*next.as_ptr()).prev = prev },
            None => self.last = prev,
        }
    }
}
