//! What a stock knows of an address, and what keeps slabs apart: for heaps that check.

use core::alloc::Layout;
#[cfg(feature = "std")]
use core::ops::Range;
use core::ptr::NonNull;
#[cfg(any(target_os = "linux", target_os = "android"))]
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering;

use super::ChunkHeap;
#[cfg(feature = "std")]
use super::large;
use super::map::Kind;
#[cfg(feature = "std")]
use super::map::RegionMap;
#[cfg(feature = "std")]
use super::region::exposed;
use super::region::{self, Grid};
use super::runs::Run;
use crate::AllocError;
use crate::cache::retention::Retention;
#[cfg(feature = "std")]
use crate::check::Wrong;
use crate::check::{Checks, Switch, entropy};
use crate::lock::Lock;
use crate::source::BackingSource;

/// Bytes of a guard behind a block, or a region: a page of the common systems with that processor.
pub(in crate::cache) const GUARD_LEN: usize =
    if cfg!(any(target_arch = "x86_64", target_arch = "x86")) { 4096 } else { 16384 };

/// What stands in the place of a size for a chunk that can't be touched: no object has it.
const GUARD: u32 = 1;
/// The same for one that may hold something, and take memory.
const GUARD_KEPT: u32 = 2;
/// The same for a run that the heap above has for itself.
#[cfg(feature = "std")]
const RESERVED: u32 = 3;
/// The same for a run that has been freed, and is not back yet.
#[cfg(feature = "std")]
const CLAIMED: u32 = 4;

/// Guards that a process has at once. Each takes Linux two mappings, of which it gives a process 65,530; with none left nothing can be mapped any more, no thread's stack either.
#[cfg(any(target_os = "linux", target_os = "android"))]
const GUARDS_MAX: usize = 1 << 14;

/// Guards of this process: of slabs those that are there, and one for each block that may have one.
#[cfg(any(target_os = "linux", target_os = "android"))]
static GUARDS: AtomicUsize = AtomicUsize::new(0);

/// Counts one more guard; says whether there may be so many.
fn count_guard() -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return GUARDS.fetch_add(1, Ordering::Relaxed) < GUARDS_MAX;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    true
}

/// Counts so many less.
fn uncount_guards(count: usize) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    GUARDS.fetch_sub(count, Ordering::Relaxed);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = count;
}

/// Where an address lies that a free brought.
///
/// ```
/// # #[cfg(all(feature = "os", feature = "std"))] {
/// use heapwright::cache::{ChunkHeap, KeepAll, SizeClasses, malloc::ChunkStock};
/// use heapwright::check::{Checked, Wrong};
/// use heapwright::{lock::YieldLock, source::{BackingSource, Pages}};
/// use std::alloc::Layout;
///
/// static STOCK: ChunkHeap<Pages, YieldLock, KeepAll, 32768, { usize::MAX }, Checked> = ChunkHeap::new(Pages);
/// let layout = Layout::new::<[u8; 40_000]>();
/// let block = STOCK.chunks().acquire(layout)?.cast::<u8>();
/// // SAFETY: nobody else uses the stock.
/// let place = unsafe { STOCK.look_up(block.addr().get()) }.unwrap();
/// assert_eq!((place.start, place.len, place.is_large), (block.addr().get(), 65536, false));
/// // SAFETY: as above.
/// assert_eq!(unsafe { STOCK.look_up(0x1000) }, Err(Wrong::Foreign));
/// # // SAFETY: the block is live, and its layout this one.
/// # unsafe { STOCK.chunks().release(block, layout) };
/// # }
/// # Ok::<(), heapwright::AllocError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkPlace {
    /// The first byte of the chunk, or of the block of its own.
    pub start: usize,
    /// Bytes of each object of the slab, of the run, or of the block of its own.
    pub len: usize,
    /// Whether it is a block of its own.
    pub is_large: bool,
}

impl<B: BackingSource + Clone, L: Lock, R: Retention, const CHUNK: usize, const HUGE_AFTER: usize, C: Checks>
    ChunkHeap<B, L, R, CHUNK, HUGE_AFTER, C>
{
    /// Whether there is a page behind each region with huge pages, to be its guard.
    const FENCES: bool = C::GUARDS && B::PROTECTS;

    /// The layout of a region with a page behind it, or without.
    pub(in crate::cache) const fn region_layout(fenced: bool) -> Layout {
        match Layout::from_size_align(Grid::<CHUNK>::REGION + GUARD_LEN, Grid::<CHUNK>::REGION) {
            Ok(layout) if fenced => layout,
            _ => Self::REGION,
        }
    }

    /// Whether a region with huge pages may have a guard behind it, which counts from here on. Those that may not lie side by side, as one mapping.
    pub(super) fn may_be_fenced() -> bool {
        let may_be = Self::FENCES && count_guard();
        if Self::FENCES && !may_be {
            uncount_guards(1);
        }
        may_be
    }

    /// There is no region to be fenced after all.
    pub(super) fn unfenced(fenced: bool) {
        if fenced {
            uncount_guards(1);
        }
    }

    /// Notes of a region with huge pages that its slabs have no guards; and makes the page behind it one, if it is to be `fenced`.
    ///
    /// # Safety
    /// It has just been added to the stock, with that `region_layout`, after `may_be_fenced` said so.
    pub(super) unsafe fn fence(&self, region: NonNull<u8>, fenced: bool) {
        if !C::GUARDS {
            return;
        }
        // SAFETY: a region in use.
        let note = unsafe { region::wholeness::<CHUNK>(region.addr().get()) };
        note.store(region::WHOLE, Ordering::Relaxed);
        if !fenced {
            return;
        }
        // SAFETY: the page is part of the region's block.
        let guard = unsafe { region.add(Grid::<CHUNK>::REGION) };
        // SAFETY: as above, and nobody touches it.
        if unsafe { self.source.clone().protect(guard, GUARD_LEN) }.is_ok() {
            note.store(region::WHOLE_FENCED, Ordering::Relaxed);
        } else {
            note.store(region::WHOLE_OPEN, Ordering::Relaxed);
            uncount_guards(1);
        }
    }

    /// Makes the guard behind a region, if there is one, a page like others, and gives the region's layout.
    ///
    /// # Errors
    /// When the source refuses: the region can't go back.
    ///
    /// # Safety
    /// A region of this stock, of which nobody uses a chunk any more.
    pub(super) unsafe fn unfence(&self, region: NonNull<u8>) -> Result<Layout, AllocError> {
        // SAFETY: the caller's promise.
        let note = unsafe { region::wholeness::<CHUNK>(region.addr().get()) }.load(Ordering::Relaxed);
        if note == region::WHOLE_FENCED {
            // SAFETY: the page is part of the region's block.
            let guard = unsafe { region.add(Grid::<CHUNK>::REGION) };
            // SAFETY: as above; it was protected.
            unsafe { self.source.clone().unprotect(guard, GUARD_LEN) }?;
            uncount_guards(1);
        }
        Ok(Self::region_layout(C::GUARDS && note >= region::WHOLE_FENCED))
    }

    /// Chunks of the slab that begins with `chunk`: with a guard two, the second of which can't be touched.
    ///
    /// # Safety
    /// A chunk of a region in use.
    pub(super) unsafe fn slab_chunks(chunk: NonNull<u8>) -> usize {
        if !C::GUARDS {
            return 1;
        }
        // SAFETY: the caller's promise is the same.
        let note = unsafe { region::wholeness::<CHUNK>(chunk.addr().get()) };
        1 + usize::from(note.load(Ordering::Relaxed) == 0)
    }

    /// In how many objects at once it is noted which ones of a slab have been taken, so that a slab has no more than 2¹⁵ such steps.
    #[cfg(feature = "std")]
    pub(in crate::cache) const TAKEN_STEP: u32 = if CHUNK > 8 << 15 { (CHUNK / (8 << 15)) as u32 } else { 1 };

    /// The number of the region's length of addresses that an address lies in.
    #[inline(always)]
    pub(super) const fn unit(address: usize) -> usize {
        address / Grid::<CHUNK>::REGION
    }

    /// Sees to it that there is a secret.
    #[inline]
    pub(super) fn make_secret(&self) {
        if let Some(secret) = <C::Frees as Switch>::get(&self.secret) {
            if secret.get() == 0 {
                let number = entropy(core::ptr::from_ref(self).addr());
                self.enter(|_| secret.set(number));
            }
        }
    }

    /// Notes what begins at an address, if frees are looked at. Callers are under the lock.
    ///
    /// # Errors
    /// When there is no memory for the map.
    pub(super) fn note(&self, address: usize, kind: Kind) -> Result<(), AllocError> {
        match <C::Frees as Switch>::get(&self.map) {
            Some(map) => map.note(Self::unit(address), kind, &mut self.source.clone()),
            None => Ok(()),
        }
    }

    /// The same, under the lock.
    ///
    /// # Errors
    /// When there is no memory for the map.
    pub(super) fn note_locked(&self, address: usize, kind: Kind) -> Result<(), AllocError> {
        self.make_secret();
        self.enter(|_| self.note(address, kind)).unwrap_or(Err(AllocError))
    }

    /// Forgets what begins at an address, if it was noted.
    pub(super) fn forget(&self, address: usize) {
        if let Some(map) = <C::Frees as Switch>::get(&self.map) {
            self.enter(|_| map.forget(Self::unit(address)));
        }
    }

    /// A slab.
    ///
    /// # Errors
    /// When there is no chunk.
    pub(super) fn take_slab(&self, object_size: usize) -> Result<NonNull<u8>, AllocError> {
        let run = self.take_open(1, object_size, true)?;
        if C::ZERO_FREED && run.kept & 1 != 0 {
            // What is free is zero, in every slab.
            // SAFETY: the chunk is ours.
            unsafe { run.first.write_bytes(0, CHUNK) };
        }
        // SAFETY: the run is in use.
        if unsafe { Self::slab_chunks(run.first) } > 1 {
            // SAFETY: the second chunk is ours.
            let guard = unsafe { run.first.add(CHUNK) };
            let note = match run.guards & 2 {
                0 => self.guard(guard, run.kept & 2 != 0),
                _ if run.kept & 2 != 0 => GUARD_KEPT,
                _ => GUARD,
            };
            // SAFETY: a region of ours.
            unsafe { region::object_size::<CHUNK>(guard.addr().get()) }.store(note, Ordering::Relaxed);
        }
        if let Some(map) = <C::Frees as Switch>::get(&self.map) {
            map.note_slab(run.first.addr().get() / CHUNK, object_size);
        }
        Ok(run.first)
    }

    /// Takes a slab back. Its guard stays one, for the next slab there.
    ///
    /// # Safety
    /// It is from `take_slab`, and nobody uses it.
    pub(super) unsafe fn give_slab(&self, slab: NonNull<u8>) {
        // SAFETY: the caller's promise: a slab in use.
        let chunks = unsafe { Self::slab_chunks(slab) };
        let mut run = Run::used(slab, chunks);
        if chunks > 1 {
            // SAFETY: a region of ours.
            let noted = unsafe { region::object_size::<CHUNK>(slab.addr().get() + CHUNK) };
            let note = noted.load(Ordering::Relaxed);
            noted.store(0, Ordering::Relaxed);
            match note {
                GUARD => (run.guards, run.kept) = (2, 1),
                GUARD_KEPT => run.guards = 2,
                _ => {}
            }
        }
        if let Some(map) = <C::Frees as Switch>::get(&self.map) {
            map.note_slab(slab.addr().get() / CHUNK, 0);
        }
        // SAFETY: the caller's promise: a run of so many chunks, one of them counted.
        unsafe { self.give(run, chunks, chunks - 1) };
    }

    /// Makes a chunk one that can't be touched, and takes no memory, as far as the source can; what it is then. What can't be protected is a gap all the same.
    fn guard(&self, chunk: NonNull<u8>, is_kept: bool) -> u32 {
        if !B::PROTECTS {
            return 0;
        }
        let mut source = self.source.clone();
        // SAFETY: callers have a chunk that is theirs, which nobody touches until it is unprotected.
        let mut protect = || unsafe { source.protect(chunk, CHUNK) }.is_ok();
        if !count_guard() || !protect() {
            uncount_guards(1);
            return 0;
        }
        if !is_kept {
            return GUARD;
        }
        // Only now: who refuses has not purged for nothing.
        let mut source = self.source.clone();
        // SAFETY: it was protected.
        if unsafe { source.unprotect(chunk, CHUNK) }.is_err() {
            return GUARD_KEPT;
        }
        // SAFETY: the chunk is the caller's.
        unsafe { source.purge(chunk, CHUNK) };
        match protect() {
            true if B::ZEROED => GUARD,
            true => GUARD_KEPT,
            false => {
                uncount_guards(1);
                0
            }
        }
    }

    /// Makes those chunks from `first` on that can't be touched, a bit each, chunks like others.
    ///
    /// # Errors
    /// When the source refuses: none of them, nor those around them, can be used again.
    pub(super) fn unguard(&self, first: NonNull<u8>, guards: u64) -> Result<(), AllocError> {
        if !C::GUARDS || guards == 0 {
            return Ok(());
        }
        let lowest = guards.trailing_zeros() as usize;
        let chunks = 64 - guards.leading_zeros() as usize - lowest;
        // SAFETY: callers have the chunks.
        let start = unsafe { first.add(lowest * CHUNK) };
        // SAFETY: the range begins and ends with a guard, and lies in a region.
        unsafe { self.source.clone().unprotect(start, chunks * CHUNK) }?;
        uncount_guards(guards.count_ones() as usize);
        Ok(())
    }

    /// As [`take`](ChunkHeap::take); all of its chunks can be touched, or of a slab the first.
    ///
    /// # Errors
    /// When there is no such run.
    pub(super) fn take_open(&self, chunks: usize, object_size: usize, slab: bool) -> Result<Run, AllocError> {
        let used = if slab { 1 } else { u64::MAX };
        loop {
            let run = self.take(chunks, object_size, slab)?;
            if self.unguard(run.first, run.guards & used).is_ok() {
                return Ok(run);
            }
            // What can't be touched is no block, for good. A new region, at the latest, has no guards.
            // SAFETY: a region of ours.
            unsafe { region::object_size::<CHUNK>(run.first.addr().get()) }.store(GUARD, Ordering::Relaxed);
        }
    }
}

/// What stands for a slab of objects of so many bytes, a multiple of eight up to half a MiB, of which each has a number of its own.
#[cfg(feature = "std")]
pub(in crate::cache) const fn slab_number(object_size: usize) -> u16 {
    RegionMap::number(object_size)
}

/// What a heap above asks of an address.
#[cfg(feature = "std")]
impl<B: BackingSource + Clone, L: Lock, R: Retention, const CHUNK: usize, const HUGE_AFTER: usize, C: Checks>
    ChunkHeap<B, L, R, CHUNK, HUGE_AFTER, C>
{
    /// What marks are made with.
    #[inline(always)]
    pub(in crate::cache) fn secret(&self) -> usize {
        <C::Frees as Switch>::get(&self.secret).map_or(0, |secret| secret.get())
    }

    /// How many objects have been taken, from the first on, of the slab with that [`slab_number`] in which the address lies, rounded up to whole `TAKEN_STEP`s; nothing if there is no such slab,
    /// and for a stock that does not check frees.
    #[inline(always)]
    pub(in crate::cache) fn taken(&self, address: usize, number: u16) -> Option<u32> {
        Some(<C::Frees as Switch>::get(&self.map)?.taken(address / CHUNK, number)? * Self::TAKEN_STEP)
    }

    /// Notes that objects are taken from the slab at `address`, the last of which is number `last`; gives the numbers of those that count as taken since then and did not before. The whole step
    /// in which those begin is among them; and if the last step is new, what of it lies behind `last`, which nobody has taken. Callers are under the lock of the slab's class.
    #[inline]
    pub(in crate::cache) fn note_taken(&self, address: usize, last: u32) -> Range<u32> {
        <C::Frees as Switch>::get(&self.map).map_or(u32::MAX..u32::MAX, |map| {
            let steps = last / Self::TAKEN_STEP + 1;
            let before = map.note_taken(address / CHUNK, steps as u16);
            // Of the last step some may not have been taken.
            let first =
                if Self::TAKEN_STEP > 1 { before.saturating_sub(1) * Self::TAKEN_STEP } else { before };
            first..if before < steps { steps * Self::TAKEN_STEP } else { last + 1 }
        })
    }

    /// A block for the heap above itself, which nobody may free who brings its address.
    ///
    /// # Errors
    /// When there is none.
    pub(in crate::cache) fn acquire_reserved(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let run = self.acquire(layout, false)?;
        let address = run.cast::<u8>().addr().get();
        if !Grid::<CHUNK>::is_run(layout) {
            self.forget(address);
        } else if <C::Frees as Switch>::ON {
            // SAFETY: a region of ours.
            unsafe { region::object_size::<CHUNK>(address) }.store(RESERVED, Ordering::Relaxed);
        }
        Ok(run)
    }

    /// What lies at an address.
    ///
    /// # Errors
    /// When no slab, run or block of its own is there.
    ///
    /// # Safety
    /// No other thread resizes a block of its own that begins there.
    #[cold]
    pub(in crate::cache) unsafe fn look_up(&self, address: usize) -> Result<ChunkPlace, Wrong> {
        let Some(map) = <C::Frees as Switch>::get(&self.map) else { return Err(Wrong::Foreign) };
        // SAFETY: the caller's promise is the same.
        self.enter(|_| unsafe { Self::place(map, address) }).unwrap_or(Err(Wrong::Foreign))
    }

    /// As [`look_up`](ChunkHeap::look_up). Callers are under the lock, before which nothing that the map tells of goes back to the source.
    ///
    /// # Errors, safety
    /// The same.
    unsafe fn place(map: &RegionMap, address: usize) -> Result<ChunkPlace, Wrong> {
        let base = address & !(Grid::<CHUNK>::REGION - 1);
        let start = match map.kind(Self::unit(address)) {
            Kind::Nothing => return Err(Wrong::Foreign),
            Kind::Region if Grid::<CHUNK>::is_in_front(address) => return Err(Wrong::Foreign),
            Kind::Region => {
                // SAFETY: the address lies in a region of ours.
                let len = unsafe { region::object_size::<CHUNK>(address) }.load(Ordering::Relaxed);
                return match len {
                    GUARD | GUARD_KEPT | RESERVED => Err(Wrong::Foreign),
                    CLAIMED => Err(Wrong::DoubleFree),
                    0 => {
                        // SAFETY: a region of ours, touched under the lock.
                        let free = unsafe { region::is_free::<CHUNK>(exposed(base), address) };
                        Err(if free { Wrong::DoubleFree } else { Wrong::Interior })
                    }
                    _ => {
                        let start = address & !(CHUNK - 1);
                        Ok(ChunkPlace { start, len: len as usize, is_large: false })
                    }
                };
            }
            // SAFETY: there is such a block, as the map says.
            Kind::Large => unsafe { large::start_after(base) },
            Kind::LargeAtOnce => base,
        };
        if address != start {
            return Err(Wrong::Interior);
        }
        // SAFETY: as above: it begins here.
        let len = unsafe { large::usable_size(exposed(start)) };
        Ok(ChunkPlace { start, len, is_large: true })
    }

    /// The length of a block without a class that begins at the address and can have this layout.
    ///
    /// # Errors
    /// What is wrong with it.
    fn fitting(place: ChunkPlace, address: usize, layout: Layout) -> Result<usize, Wrong> {
        let ChunkPlace { start, len, is_large } = place;
        if address != start {
            return Err(Wrong::Interior);
        }
        let fits = match Grid::<CHUNK>::is_run(layout) {
            true => !is_large && len == layout.size().div_ceil(CHUNK) * CHUNK,
            false => is_large && layout.size() <= len,
        };
        if fits && address % layout.align() == 0 { Ok(len) } else { Err(Wrong::WrongLayout) }
    }

    /// Whether a block without a class is live and can have this layout, which is its length then.
    ///
    /// # Errors
    /// What is wrong with it.
    ///
    /// # Safety
    /// As [`look_up`](ChunkHeap::look_up).
    #[cold]
    pub(in crate::cache) unsafe fn look_at_block(
        &self,
        address: usize,
        layout: Layout,
    ) -> Result<usize, Wrong> {
        // SAFETY: the caller's promise is the same.
        Self::fitting(unsafe { self.look_up(address) }?, address, layout)
    }

    /// Takes a block without a class out of the books, so that nobody else can give it back: it has still to be released.
    ///
    /// # Errors
    /// What is wrong with it; of two threads that free it at once, one gets an error.
    ///
    /// # Safety
    /// As [`look_up`](ChunkHeap::look_up); if the block is live, it is the caller's.
    #[cold]
    pub(in crate::cache) unsafe fn claim(&self, address: usize, layout: Layout) -> Result<usize, Wrong> {
        let Some(map) = <C::Frees as Switch>::get(&self.map) else { return Err(Wrong::Foreign) };
        // Under one lock: another thread may be about to do the same.
        let claimed = self.enter(|_| {
            // SAFETY: the caller's promise is the same.
            let place = unsafe { Self::place(map, address) }?;
            let len = Self::fitting(place, address, layout)?;
            if place.is_large {
                map.forget(Self::unit(address));
            } else {
                // SAFETY: a region of ours.
                unsafe { region::object_size::<CHUNK>(address) }.store(CLAIMED, Ordering::Relaxed);
            }
            Ok(len)
        });
        claimed.unwrap_or(Err(Wrong::Foreign))
    }

    /// Makes pages of a block fault, or not any more, whether they did or not; says whether that was possible. Nobody asks for either again once it was.
    ///
    /// # Safety
    /// As [`BackingSource::protect`] and [`BackingSource::unprotect`]: whole pages of a live block.
    pub(in crate::cache) unsafe fn protect(&self, ptr: NonNull<u8>, len: usize, protect: bool) -> bool {
        if !B::PROTECTS {
            // What can't be protected can be used.
            return !protect;
        }
        let mut source = self.source.clone();
        if protect {
            // SAFETY: the caller's promise is the same.
            count_guard() && unsafe { source.protect(ptr, len) }.is_ok()
        } else {
            // SAFETY: the caller's promise is the same.
            let is_open = unsafe { source.unprotect(ptr, len) }.is_ok();
            if is_open {
                // What still faults still counts: it may be asked for again.
                uncount_guards(1);
            }
            is_open
        }
    }
}
