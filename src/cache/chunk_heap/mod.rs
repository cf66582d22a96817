//! A stock of chunks: slabs of many layouts, runs of several chunks, and blocks larger than that, out of one source.

mod guarded;
mod large;
mod map;
mod region;
mod runs;
mod spares;
mod stock;

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;

pub use self::guarded::ChunkPlace;
#[cfg(feature = "std")]
pub(in crate::cache) use self::guarded::{GUARD_LEN, slab_number};
use self::map::{Kind, RegionMap};
use self::region::Grid;
use self::runs::Run;
use self::stock::{Doomed, Stock};
use super::retention::{KeepAll, Retention};
use crate::AllocError;
use crate::check::{Checks, Follows, Fresh, Secret, Switch, Unchecked};
use crate::describe::{Bytes, Child, Cost, Describe, Tree};
use crate::heap::UsableSize;
#[cfg(feature = "std")]
use crate::lock::HoldLock;
use crate::lock::Lock;
use crate::mem;
use crate::source::{BackingSource, SideHeaders};

/// A stock of chunks of `CHUNK` bytes for heaps of slabs, and a heap for what is larger than a slab: what stands between the size classes
/// of a global allocator and the OS.
///
/// ```text
///   region of 64 chunks, aligned to its length                        block of its own, its front aligned to a region
///  ┌────────┬─────────┬──────┬──────┬────────────────┬───            ┌────────┬──────────────────────────────
///  │ record │ 64      │ slab │ slab │ run of several │ …             │ record │ more than 16 chunks
///  │        │ headers │      │      │ chunks         │               │ 64 B   │
///  └────────┴─────────┴──────┴──────┴────────────────┴───            └────────┴──────────────────────────────
/// ```
/// **Slabs** are single chunks, their headers side by side at the region's front ([`SideHeaders`]). **Runs**, up to 16 chunks, serve what is
/// larger; they grow in place while the next chunks are free. **Larger blocks** come from the source one by one, and the OS moves their pages when
/// they grow.
///
/// Chunks that come back, and up to 16 larger blocks of up to 4 MiB, stay resident and are the first to be handed out again; `R` says how many stay ([`KeepAll`], [`WorkingSet`](super::WorkingSet),
/// [`ReleaseAtOnce`](super::ReleaseAtOnce)), what is beyond is purged, outside the lock, and a region without a chunk in use goes back to the source.
/// [`release`](ChunkHeap::release) does so with all.
///
/// **Huge pages** are asked for behind each region from number `HUGE_AFTER` on, and behind blocks of 4 MiB and more (never, by default): they take a third of
/// the time to be had, and fewer entries of the translation cache; a region that is hardly used then takes all of its memory. With `CHUNK` of 32 KiB a region is
/// one huge page of the common processors.
///
/// It is used by reference: `Chunks(&stock)` is a source, by [`BackingSource`] and [`SideHeaders`]. The source `B` is cloned for each call, as one
/// whose clones are all one source may be (B7): [`Pages`](crate::source::Pages), say, or a reference to a shared heap.
///
/// **Checks** are those of the policy `C`, [`Unchecked`] by default: a stock whose frees are looked at keeps a map of its chunks; one with guards leaves a chunk that can't be touched behind each slab, which takes addresses, and no memory where the source's `purge` gives that back, and stays there for the next slab until other blocks need the addresses. Regions with huge pages, which guards
/// would cut up, have one behind them instead, of a page. The heap above does the rest.
///
/// # Cost
/// A slab or a run: one lock, a look at 64 bits for each region with a free chunk until it is found; the regions are in order of address. 1/64 of
/// a region's addresses (of those of 64 chunks of 64 KiB), and of their memory what headers of slabs in use take: 576 bytes each.
///
/// With a policy that looks at frees there is a table of 128 KiB in this value, and for each 16 GiB of addresses (with chunks of 32 KiB) in which it has memory 2 MiB from the source, which stay: four bytes for each
/// chunk. Over pages only what is touched of both takes memory: a page for each 32 MiB in use. It tells of addresses below 2⁴⁸ (on 64 bits): what the source has beyond is of no use to such a stock, and requests
/// fail. Linux, Windows and Apple's systems give programs none of these unless they ask; a system that maps there, as Solaris and illumos are said to (neither was tried), has no use for a stock that looks at frees.
///
/// ```
/// # #[cfg(feature = "os")] {
/// use core::alloc::Layout;
/// use heapwright::cache::{ChunkHeap, Chunks};
/// use heapwright::heap::UsableSize;
/// use heapwright::{lock::SpinLock, source::{BackingSource, Pages}};
///
/// static STOCK: ChunkHeap<Pages, SpinLock> = ChunkHeap::new(Pages);
/// let layout = Layout::new::<[u8; 100_000]>();
/// let mut source = Chunks(&STOCK);
/// let block = source.acquire(layout)?;
/// assert_eq!((block.len(), STOCK.stats().chunks_used), (2 * 65536, 2));
/// // SAFETY: the block is live, and its layout first this one, then one of 150,000 bytes.
/// unsafe {
///     assert_eq!(STOCK.usable_size(block.cast()), 2 * 65536);
///     assert_eq!(source.extend(block.cast(), layout, 150_000)?.len(), 3 * 65536);
///     source.release(block.cast(), Layout::new::<[u8; 150_000]>());
/// }
/// assert_eq!(STOCK.stats().bytes_kept, 3 * 65536);
/// STOCK.release();
/// assert_eq!(STOCK.stats().bytes_mapped, 0);
/// # }
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// A region has to hold the headers of its chunks, and the smallest chunk is 8 KiB:
/// ```compile_fail,E0080
/// # use heapwright::{cache::{ChunkHeap, KeepAll}, lock::SpinLock, source::Pages};
/// // "chunks are a power of two from 8 KiB to 1 MiB: choose such a `CHUNK`"
/// static STOCK: ChunkHeap<Pages, SpinLock, KeepAll, 5000> = ChunkHeap::new(Pages);
/// ```
pub struct ChunkHeap<
    B,
    L,
    R = KeepAll,
    const CHUNK: usize = 65536,
    const HUGE_AFTER: usize = { usize::MAX },
    C: Checks = Unchecked,
> {
    lock: L,
    /// Touched only under `lock`.
    stock: UnsafeCell<Stock<R, CHUNK>>,
    source: B,
    /// Where regions and blocks of their own lie, if frees are looked at. Written under `lock`.
    map: <C::Frees as Switch>::Of<RegionMap>,
    /// What marks in freed objects are made with.
    secret: <C::Frees as Switch>::Of<Secret>,
}

// SAFETY: the stock is touched under the lock, which may be shared (L1, L2), and holds memory that belongs to no thread; the source is cloned by
// shared reference.
unsafe impl<B: Sync, L: Lock + Sync, R: Send, const CHUNK: usize, const HUGE_AFTER: usize, C: Checks> Sync
    for ChunkHeap<B, L, R, CHUNK, HUGE_AFTER, C>
{
}

// SAFETY: as above; what its regions hold goes with it.
unsafe impl<B: Send, L: Lock + Send, R: Send, const CHUNK: usize, const HUGE_AFTER: usize, C: Checks> Send
    for ChunkHeap<B, L, R, CHUNK, HUGE_AFTER, C>
{
}

/// How much a [`ChunkHeap`] holds.
///
/// ```
/// use heapwright::cache::ChunkStats;
/// assert_eq!(ChunkStats::default().bytes_mapped, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChunkStats {
    /// Bytes of the source's memory: regions, and blocks of their own; the map of a stock that checks. Not guards behind huge pages, which take none.
    pub bytes_mapped: usize,
    /// Bytes of free chunks, and of larger blocks, that are kept for reuse: they may take memory. What has been purged does not count.
    pub bytes_kept: usize,
    /// Regions.
    pub regions: usize,
    /// Chunks in slabs and runs; not those that are guards.
    pub chunks_used: usize,
    /// Blocks in use that are larger than a run.
    pub large_blocks: usize,
    /// Bytes of these.
    pub large_bytes: usize,
}

impl<B, L: Lock, R: Retention, const CHUNK: usize, const HUGE_AFTER: usize, C: Checks>
    ChunkHeap<B, L, R, CHUNK, HUGE_AFTER, C>
{
    /// A stock without chunks so far, over `source`. All zero, if `L` and `B` are.
    #[must_use]
    pub const fn new(source: B) -> Self {
        const { Grid::<CHUNK>::CHECK };
        const {
            assert!(
                !<C::Frees as Switch>::ON || CHUNK >= 32 << 10 || size_of::<usize>() <= 4,
                "the map of regions is for those of 2 MiB and more: choose a `CHUNK` of 32 KiB or more, or checks without `Frees`"
            );
        }
        ChunkHeap {
            lock: L::INIT,
            stock: UnsafeCell::new(Stock::NEW),
            source,
            map: Fresh::NEW,
            secret: Fresh::NEW,
        }
    }

    /// Runs `work` on the stock under the lock; `None` on re-entry. `work` calls nothing that could come back here, and does not unwind.
    fn enter<T>(&self, work: impl FnOnce(&mut Stock<R, CHUNK>) -> T) -> Option<T> {
        self.lock.with(|| {
            // SAFETY: the lock gives exclusion (L1, L2), and no closure of this directory enters again.
            work(unsafe { &mut *self.stock.get() })
        })
    }
}

impl<B: BackingSource + Clone, L: Lock, R: Retention, const CHUNK: usize, const HUGE_AFTER: usize, C: Checks>
    ChunkHeap<B, L, R, CHUNK, HUGE_AFTER, C>
{
    /// The layout of a region.
    const REGION: Layout = match Layout::from_size_align(Grid::<CHUNK>::REGION, Grid::<CHUNK>::REGION) {
        Ok(layout) => layout,
        Err(_) => panic!("a region's length is a power of two"),
    };

    /// A run of so many chunks, at most `RUN_MAX`, or a `slab`; objects in it count as `object_size` bytes long.
    fn take(&self, chunks: usize, object_size: usize, slab: bool) -> Result<Run, AllocError> {
        const {
            assert!(
                B::ALIGN_MAX >= Grid::<CHUNK>::REGION,
                "the source can't align a region of 64 chunks: choose smaller chunks, or a source that aligns, such as `Pages`"
            );
        };
        self.make_secret();
        let take = |stock: &mut Stock<R, CHUNK>| {
            let run = stock.take(chunks, object_size, slab, C::GUARDS);
            if let (true, Some(run)) = (C::GUARDS && slab, &run) {
                // SAFETY: a chunk of a region in use.
                stock.uncount(unsafe { Self::slab_chunks(run.first) } - 1);
            }
            run
        };
        let taken = self.enter(|stock| {
            if let Some(run) = take(stock) {
                return Ok(run);
            }
            let huge = stock.regions() >= HUGE_AFTER;
            let fenced = huge && Self::may_be_fenced();
            let layout = Self::region_layout(fenced);
            // B5: the source does not come back here.
            let got = self.source.clone().acquire(layout).inspect_err(|_| Self::unfenced(fenced));
            let region = got?.cast::<u8>();
            region.as_ptr().expose_provenance();
            if let Err(error) = self.note(region.addr().get(), Kind::Region) {
                Self::unfenced(fenced);
                // SAFETY: the region has just been acquired.
                unsafe { self.source.clone().release(region, layout) };
                return Err(error);
            }
            if huge {
                // Before any of it is touched: a page that is there already would be no part of a huge one.
                // SAFETY: the region is ours.
                unsafe { self.source.clone().prefer_huge(region, Grid::<CHUNK>::REGION) };
            }
            // SAFETY: the region is fresh, ours, and has the grid's length and alignment.
            unsafe { stock.add(region, B::ZEROED) };
            if huge {
                // SAFETY: it has just been added.
                unsafe { self.fence(region, fenced) };
            }
            take(stock).ok_or(AllocError)
        });
        taken.unwrap_or(Err(AllocError))
    }

    /// Takes chunks back, of which so many are `guards`, and purges what the policy does not want to keep.
    ///
    /// # Safety
    /// They are a run, or its tail, and nobody uses them; `run` is true of them.
    unsafe fn give(&self, run: Run, chunks: usize, guards: usize) {
        let surplus = self.enter(|stock| {
            if C::GUARDS {
                stock.count(guards);
            }
            if <C::Frees as Switch>::ON {
                // Who brings its address from now on brings that of no block.
                // SAFETY: a region of ours.
                unsafe { region::object_size::<CHUNK>(run.first.addr().get()) }.store(0, Ordering::Relaxed);
            }
            // SAFETY: the caller's promise is the same.
            unsafe { stock.give(run, chunks) }
        });
        if let Some(1..) = surplus {
            self.purge(surplus.unwrap_or(0));
        }
    }

    /// Purges up to `most` free chunks that may be resident, the highest first; gives how many.
    fn purge(&self, most: usize) -> usize {
        let (mut purged, mut below) = (0, usize::MAX);
        while purged < most {
            let Some(Some(doomed)) = self.enter(|stock| stock.doom(most - purged, below)) else { break };
            // Outside the lock: the chunks are nobody's as long as they are marked as in use.
            match doomed {
                Doomed::Region { region, kept, guards } => {
                    self.forget(region.addr().get());
                    // SAFETY: the stock has forgotten the region, in which no chunk is in use.
                    let layout = unsafe { self.unfence(region) };
                    // What can't be touched any more can't go back.
                    if let (Ok(()), Ok(layout)) = (self.unguard(region, guards), layout) {
                        // SAFETY: as above.
                        unsafe { self.source.clone().release(region, layout) };
                    }
                    purged += kept.max(1);
                }
                Doomed::Large(spare) => {
                    purged += spare.len.div_ceil(CHUNK);
                    self.let_spare_go(spare);
                }
                Doomed::Chunks { run, chunks } => {
                    purged += chunks;
                    if !B::ZEROED {
                        // They count as kept for ever, and would be the highest again.
                        below = run.first.addr().get();
                    }
                    if self.unguard(run.first, run.guards).is_err() {
                        // They stay in use, for good.
                        continue;
                    }
                    // SAFETY: the chunks lie in a region, and nobody uses them.
                    unsafe { self.source.clone().purge(run.first, chunks * CHUNK) };
                    let kept = if B::ZEROED { 0 } else { Run::used(run.first, chunks).kept };
                    // SAFETY: they were doomed, and are purged.
                    self.enter(|stock| unsafe { stock.put(Run { kept, guards: 0, ..run }, chunks) });
                }
            }
        }
        purged
    }

    /// Gives back all memory that is not in use: free chunks are purged, regions without a chunk in use released.
    pub fn release(&self) {
        let held = self.enter(|stock| stock.kept() + stock.empty_regions());
        self.purge(held.unwrap_or(0));
    }

    /// Asks the policy again, as a free would, and purges what it does not want to keep. For a timer.
    pub fn tick(&self) {
        let surplus = self.enter(Stock::surplus);
        self.purge(surplus.unwrap_or(0));
    }

    /// How much it holds. O(1), under the lock.
    #[must_use]
    pub fn stats(&self) -> ChunkStats {
        let mut stats = self.enter(|stock| stock.stats()).unwrap_or_default();
        stats.bytes_mapped += <C::Frees as Switch>::get(&self.map).map_or(0, RegionMap::bytes);
        stats
    }

    /// The source of all memory.
    pub const fn source(&self) -> &B {
        &self.source
    }
}

#[cfg(feature = "std")]
impl<B, L: Lock + HoldLock, R: Retention, const CHUNK: usize, const HUGE_AFTER: usize, C: Checks>
    ChunkHeap<B, L, R, CHUNK, HUGE_AFTER, C>
{
    /// Takes the lock and keeps it: before a `fork`.
    pub(super) fn hold(&self) {
        self.lock.hold();
    }

    /// Lets go of the lock.
    ///
    /// # Safety
    /// It is held by `hold`.
    pub(super) unsafe fn let_go(&self) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.lock.let_go() };
    }
}

/// A [`ChunkHeap`] by reference, as a source; and what the parameters of a `ChunkHeap` are hidden behind where only this is of interest.
///
/// ```
/// # #[cfg(feature = "os")] {
/// use heapwright::cache::{ChunkHeap, Chunks};
/// use heapwright::{lock::SpinLock, source::{BackingSource, Pages, SideHeaders}};
/// static STOCK: ChunkHeap<Pages, SpinLock> = ChunkHeap::new(Pages);
/// let slab = Chunks(&STOCK).acquire_slab(48)?;
/// assert_eq!(slab.addr().get() % 65536, 0);
/// // SAFETY: the slab was acquired there, and nobody uses it.
/// unsafe { Chunks(&STOCK).release_slab(slab) };
/// # }
/// # Ok::<(), heapwright::AllocError>(())
/// ```
#[derive(Debug)]
pub struct Chunks<'a, H>(pub &'a H);

impl<H> Clone for Chunks<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for Chunks<'_, H> {}

// SAFETY: B1: a run is free before it is handed out, lies in a region that lives as long as one of its chunks is in use, and is exposed, as are
// blocks of their own, which are the source's (B1, B7). B2: lengths are in chunks, alignments above one served by blocks of their own. B3: nothing
// unwinds. B4: a run that can't be had changes nothing. B5: the source's. B6: `good_size` rounds up to
// chunks, or as the source does (B6).
unsafe impl<
    B: BackingSource + Clone,
    L: Lock,
    R: Retention,
    const CHUNK: usize,
    const HUGE_AFTER: usize,
    C: Checks,
> BackingSource for Chunks<'_, ChunkHeap<B, L, R, CHUNK, HUGE_AFTER, C>>
{
    const GRANULE: usize = CHUNK;
    const ALIGN_MAX: usize = B::ALIGN_MAX;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.0.acquire(layout, false)
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        if Grid::<CHUNK>::is_run(layout) {
            let chunks = layout.size().div_ceil(CHUNK);
            if C::ZERO_FREED {
                // SAFETY: nobody uses the run.
                unsafe { Grid::<CHUNK>::entire(block).write_bytes(0, chunks * CHUNK) };
            }
            // SAFETY: the caller's promise: a run of this length.
            unsafe { self.0.give(Run::used(block, chunks), chunks, 0) };
        } else {
            // SAFETY: the caller's promise: a block of its own.
            unsafe { self.0.release_large(block) };
        }
    }

    unsafe fn extend(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.resize(block, old, new_size) }
    }

    unsafe fn shrink(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if new_size == 0 {
            return Err(AllocError);
        }
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.resize(block, old, new_size) }
    }

    unsafe fn remap(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        if let Ok(block) = unsafe { self.0.resize(block, old, new_size) } {
            return Ok(block);
        }
        if Grid::<CHUNK>::is_run(old) {
            return Err(AllocError);
        }
        // SAFETY: the caller's promise is the same; it is a block of its own, and stays one.
        unsafe { self.0.move_large(block, old, new_size) }
    }

    unsafe fn purge(&mut self, ptr: NonNull<u8>, len: usize) {
        // SAFETY: the caller's promise; the block is part of one of the source's.
        unsafe { self.0.source.clone().purge(ptr, len) };
    }

    fn good_size(&self, layout: Layout) -> usize {
        match Grid::<CHUNK>::is_run(layout) {
            true => mem::align_up(layout.size(), CHUNK).unwrap_or(layout.size()),
            false => self.0.large_good_size(layout),
        }
    }
}

// SAFETY: D1: a chunk is aligned to its length, as the region is, and has the region's provenance, which is exposed. D2: the region of an address is found by
// masking, its number by a shift; each chunk has a header in the region's front, which is never handed out.
unsafe impl<
    B: BackingSource + Clone,
    L: Lock,
    R: Retention,
    const CHUNK: usize,
    const HUGE_AFTER: usize,
    C: Checks,
> SideHeaders for Chunks<'_, ChunkHeap<B, L, R, CHUNK, HUGE_AFTER, C>>
{
    const SLAB_SIZE: usize = CHUNK;
    const HEADER_ROOM: usize = Grid::<CHUNK>::HEADER;

    fn acquire_slab(&mut self, object_size: usize) -> Result<NonNull<u8>, AllocError> {
        self.0.take_slab(object_size)
    }

    unsafe fn release_slab(&mut self, slab: NonNull<u8>) {
        // SAFETY: the caller's promise: it is from `acquire_slab`.
        unsafe { self.0.give_slab(slab) };
    }

    #[inline(always)]
    fn header_address(address: usize) -> usize {
        Grid::<CHUNK>::header_address(address)
    }
}

impl<B: BackingSource + Clone, L: Lock, R: Retention, const CHUNK: usize, const HUGE_AFTER: usize, C: Checks>
    ChunkHeap<B, L, R, CHUNK, HUGE_AFTER, C>
{
    /// A block for `layout`, all zero if `zeroed`.
    pub(super) fn acquire(&self, layout: Layout, zeroed: bool) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 || layout.align() > B::ALIGN_MAX {
            return Err(AllocError);
        }
        if !Grid::<CHUNK>::is_run(layout) {
            return self.acquire_large(layout, zeroed);
        }
        let chunks = layout.size().div_ceil(CHUNK);
        let run = self.take_open(chunks, chunks * CHUNK, false)?;
        if zeroed && run.kept != 0 {
            // SAFETY: the run is ours, and so long.
            unsafe { run.first.write_bytes(0, layout.size()) };
        }
        Ok(mem::slice(run.first, chunks * CHUNK))
    }

    /// Changes the length of a block where it stands.
    ///
    /// # Safety
    /// `block` is live, `old` its layout, `new_size` not zero; bytes from there on are not needed.
    unsafe fn resize(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let new = Layout::from_size_align(new_size, old.align()).map_err(|_| AllocError)?;
        match (Grid::<CHUNK>::is_run(old), Grid::<CHUNK>::is_run(new)) {
            (true, true) => {
                let (had, wanted) = (old.size().div_ceil(CHUNK), new_size.div_ceil(CHUNK));
                let first = Grid::<CHUNK>::entire(block);
                if wanted < had {
                    // SAFETY: the tail lies in the run.
                    let tail = unsafe { first.add(wanted * CHUNK) };
                    if C::ZERO_FREED {
                        // SAFETY: the caller's promise: nobody needs the tail.
                        unsafe { tail.write_bytes(0, (had - wanted) * CHUNK) };
                    }
                    // SAFETY: the caller's promise; the run is that much shorter first.
                    self.enter(|stock| unsafe { stock.note(first, wanted * CHUNK) });
                    // SAFETY: the caller's promise: nobody needs the tail.
                    unsafe { self.give(Run::used(tail, had - wanted), had - wanted, 0) };
                } else if wanted > had {
                    // SAFETY: the caller's promise: a run of that length.
                    let grown = self.enter(|stock| unsafe { stock.grow(first, had, wanted) });
                    grown.unwrap_or(Err(AllocError))?;
                }
                Ok(mem::slice(first, wanted * CHUNK))
            }
            // SAFETY: the caller's promise is the same; both are blocks of their own.
            (false, false) => unsafe { self.resize_large(block, new) },
            _ => Err(AllocError),
        }
    }
}

// SAFETY: V1: the region's table has the length of each run, and for slabs the size of its objects; a block of its own has its length in front.
unsafe impl<
    B: BackingSource + Clone,
    L: Lock,
    R: Retention,
    const CHUNK: usize,
    const HUGE_AFTER: usize,
    C: Checks,
> UsableSize for ChunkHeap<B, L, R, CHUNK, HUGE_AFTER, C>
{
    #[inline]
    unsafe fn usable_size(&self, ptr: NonNull<u8>) -> usize {
        let address = ptr.addr().get();
        if Grid::<CHUNK>::is_in_front(address) {
            // SAFETY: no chunk begins there, so it is a block of its own.
            return unsafe { large::usable_size(ptr) };
        }
        // SAFETY: the caller's promise: a live block in a chunk of a region.
        unsafe { region::object_size::<CHUNK>(address) }.load(Ordering::Relaxed) as usize
    }
}

impl<B, L: fmt::Debug, R, const CHUNK: usize, const HUGE_AFTER: usize, C: Checks> fmt::Debug
    for ChunkHeap<B, L, R, CHUNK, HUGE_AFTER, C>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkHeap").field("lock", &self.lock).field("chunk", &CHUNK).finish_non_exhaustive()
    }
}

impl<B, L, R, const CHUNK: usize, const HUGE_AFTER: usize, C> Describe
    for ChunkHeap<B, L, R, CHUNK, HUGE_AFTER, C>
where
    B: Describe,
    L: Describe,
    R: Describe,
    C: Checks + Describe,
{
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let cost = Cost::state_around::<Self, (L, R, B)>();
        let parts: [Child<'_>; 4] = [
            ("checks", C::describe),
            ("lock", L::describe),
            ("free chunks", R::describe),
            ("source", B::describe),
        ];
        // Where nothing is checked there is nothing to tell of.
        let parts = if C::NONE { &parts[1..] } else { &parts };
        let (chunk, region) = (Bytes(CHUNK), Bytes(Grid::<CHUNK>::REGION));
        if HUGE_AFTER == usize::MAX {
            return tree.part(
                format_args!("ChunkHeap, chunks of {chunk} in regions of {region}"),
                cost,
                parts,
            );
        }
        tree.part(
            format_args!(
                "ChunkHeap, chunks of {chunk} in regions of {region}, huge pages from region {HUGE_AFTER} on"
            ),
            cost,
            parts,
        )
    }
}

/// Behind a reference there is the same.
impl<H: Describe> Describe for Chunks<'_, H> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        H::describe(tree)
    }
}
