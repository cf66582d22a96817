//! The core of the caches: a few objects at hand in front of slabs.

use core::alloc::Layout;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::front::{AtHand, Fronted, Room, Wanted, renewed, stretch};
use super::object_alloc::{RawSlots, UntypedObjectAlloc};
use super::retention::{KeepAll, Retention};
use super::slot::{AtRunTime, ConstSlot, Slot};
use crate::AllocError;
use crate::describe::{Child, Cost, Describe, Tree};
use crate::heap::{Chunk, Corruption, Cursor, Heap, Inspect, Locked, SharedHeap, UsableSize, Usage};
use crate::lock::{Lock, NoLock};
use crate::slab::{Shape, ShapeError, Slab, SlabSystem, Taken};

/// A cache of raw memory blocks of one layout, under the lock `L`: a slab system `S` with a few objects at hand.
///
/// It is an `Allocator`, by reference and by value, for every layout that fits its slot, and a heap core in a shell: everything that
/// [`Locked`] can do, this can. Choose it for `Box`es of one type, the nodes of one list or map, buffers of one size; for objects
/// that are to stay constructed, [`ObjectCache`](super::ObjectCache).
///
/// | parameter | |
/// |---|---|
/// | `S` | the slabs: [`AlignedSlabs`](crate::slab::AlignedSlabs), [`LargeSlabs`](crate::slab::LargeSlabs), your own |
/// | `L` | the lock |
/// | `Z` | the layout: [`For<T>`](super::For) or [`Exactly`](super::Exactly) at compile time ([`over`](Locked::over)), [`AtRunTime`] ([`with_layout`](Locked::with_layout)) |
/// | `R` | which slabs without live objects to keep |
/// | `FRONT` | how many free objects are kept at hand, outside their slabs: 8 bytes each. 0 for none |
///
/// The objects at hand are what makes it fast: a free puts the object's address into an array, an allocation takes the last one, and neither
/// touches a slab, nor the object. Half of the array at a time goes back to the slabs or comes from there. (The idea is Bonwick and
/// Adams's magazine, 2001.)
///
/// Dropped while blocks are out (which only a leaked handle or a raw pointer can bring about), it gives back the slabs without live blocks, and leaves
/// the others as they are, for good. Cost: an allocation and a free are O(1), bookkeeping apart.
///
/// ```
/// use heapwright::cache::{For, SlabCache};
/// use heapwright::heap::SharedHeap;
/// use heapwright::lock::NoLock;
/// use heapwright::slab::AlignedSlabs;
/// use heapwright::source::StaticBuffer;
/// use std::alloc::Layout;
///
/// static RAM: StaticBuffer<8192> = StaticBuffer::new();
/// type Pairs = SlabCache<AlignedSlabs<&'static StaticBuffer<8192>, 1024>, NoLock, For<(u64, u64)>>;
/// let cache = Pairs::over(&RAM);
/// # #[cfg(feature = "allocator-api2-04")] {
/// let pair = allocator_api2_04::boxed::Box::new_in((1u64, 2u64), &cache);
/// let small = allocator_api2_04::boxed::Box::new_in(3u8, &cache); // fits as well
/// assert_eq!((pair.1, *small, cache.stats().live), (2, 3, 2));
/// # }
/// assert!(cache.try_alloc(Layout::new::<[u64; 3]>()).is_err(), "larger than the slot");
/// ```
pub type SlabCache<S, L = NoLock, Z = AtRunTime, R = KeepAll, const FRONT: usize = 128> =
    Locked<SlabCore<S, Z, R, FRONT>, L>;

/// The core of a [`SlabCache`], without a lock.
///
/// ```
/// use heapwright::cache::{For, KeepAll, SlabCore};
/// use heapwright::heap::Heap;
/// use heapwright::slab::AlignedSlabs;
/// use heapwright::source::StaticBuffer;
/// use std::alloc::Layout;
/// static RAM: StaticBuffer<4096> = StaticBuffer::new();
/// let mut core = SlabCore::<AlignedSlabs<_, 1024>, For<u64>, KeepAll, 16>::new(&RAM);
/// let block = core.alloc(Layout::new::<u64>())?;
/// // SAFETY: the block is live, and its layout this one.
/// unsafe { core.dealloc(block.cast(), Layout::new::<u64>()) };
/// # Ok::<(), heapwright::AllocError>(())
/// ```
pub struct SlabCore<S: SlabSystem, Z: Slot, R: Retention, const FRONT: usize> {
    /// Invariant: every call brings `source`, and the shape of `slot`, which are never changed.
    fronted: Fronted<S, R, FRONT, true>,
    source: S::Source,
    slot: Z,
}

/// How full a cache is, in objects, slabs and bytes.
///
/// ```
/// use heapwright::cache::{For, SlabCache};
/// use heapwright::lock::NoLock;
/// use heapwright::slab::AlignedSlabs;
/// use heapwright::source::StaticBuffer;
/// static RAM: StaticBuffer<4096> = StaticBuffer::new();
/// let cache: SlabCache<AlignedSlabs<_, 1024>, NoLock, For<u64>> = SlabCache::over(&RAM);
/// let stats = cache.stats();
/// assert_eq!((stats.slabs, stats.bytes_held, stats.bytes_wasted()), (0, 0, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Objects that are in use. Those in the [`magazines`](super::magazine) in front of a cache count as well: it has given them out.
    pub live: usize,
    /// The most that ever were, or up to `FRONT` + 1 more: objects at hand are not told apart at every moment.
    pub live_peak: usize,
    /// Free objects at hand.
    pub at_hand: usize,
    /// Objects for which there is room in the slabs that are held.
    pub capacity: usize,
    /// Slabs that are held.
    pub slabs: usize,
    /// Slabs all of whose objects are free.
    pub free_slabs: usize,
    /// The most slabs that were ever held.
    pub slabs_peak: usize,
    /// Bytes of an object, its padding included.
    pub slot_size: usize,
    /// Bytes of the slabs that are held.
    pub bytes_held: usize,
}

/// How full a slab is.
///
/// ```
/// use heapwright::cache::{For, SlabCache};
/// use heapwright::heap::SharedHeap;
/// use heapwright::lock::NoLock;
/// use heapwright::slab::AlignedSlabs;
/// use heapwright::source::StaticBuffer;
/// use std::alloc::Layout;
/// static RAM: StaticBuffer<4096> = StaticBuffer::new();
/// let cache: SlabCache<AlignedSlabs<_, 1024>, NoLock, For<u64>> = SlabCache::over(&RAM);
/// cache.try_alloc(Layout::new::<u64>())?;
/// for slab in cache.slabs() {
///     println!("{:x}: {} of {} free", slab.address, slab.free, slab.capacity);
///     assert_eq!(slab.len, 1024);
/// }
/// # Ok::<(), heapwright::AllocError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlabStats {
    /// Where it starts.
    pub address: usize,
    /// Its bytes.
    pub len: usize,
    /// Objects that it has room for.
    pub capacity: usize,
    /// Objects that are free; those that the cache has at hand are not counted as free here.
    pub free: usize,
    /// Free objects that are constructed.
    pub constructed: usize,
}

impl CacheStats {
    /// Bytes of the objects that are in use.
    #[must_use]
    pub const fn bytes_live(&self) -> usize {
        self.live * self.slot_size
    }

    /// Bytes of the objects that are free, at hand or in slabs.
    #[must_use]
    pub const fn bytes_free(&self) -> usize {
        (self.capacity - self.live) * self.slot_size
    }

    /// Bytes that can never be objects: headers, tables, slack.
    #[must_use]
    pub const fn bytes_wasted(&self) -> usize {
        self.bytes_held - self.capacity * self.slot_size
    }
}

impl<S: SlabSystem, Z: ConstSlot, R: Retention, const FRONT: usize> SlabCore<S, Z, R, FRONT> {
    /// A cache over `source`, with a layout known at compile time.
    #[must_use]
    pub const fn new(source: S::Source) -> Self {
        Self::with_slot(source, Z::NEW)
    }
}

impl<S: SlabSystem, Z: Slot, R: Retention, const FRONT: usize> SlabCore<S, Z, R, FRONT> {
    pub(super) const fn with_slot(source: S::Source, slot: Z) -> Self {
        SlabCore { fronted: Fronted::NEW, source, slot }
    }

    /// Where the objects lie in their slabs.
    #[inline(always)]
    pub(super) fn shape(&self) -> Shape {
        self.slot.shape::<S>()
    }

    /// An object from those at hand (tracked: a constructed one).
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<NonNull<u8>> {
        self.fronted.pop()
    }

    /// An object, raw or as it came back. Tracked: says whether it is constructed.
    #[inline(always)]
    pub(super) fn take(&mut self) -> Result<(NonNull<u8>, bool), AllocError> {
        match self.pop() {
            Some(object) => Ok((object, true)),
            None => self.take_from_slabs(),
        }
    }

    /// As [`take`](SlabCore::take), of the slabs. Compiled once for each cache, with the shape's numbers built in.
    #[cold]
    #[inline(never)]
    fn take_from_slabs(&mut self) -> Result<(NonNull<u8>, bool), AllocError> {
        let shape = self.shape();
        // SAFETY: the invariant of `fronted`, T1.
        unsafe { self.fronted.refill(&mut self.source, &shape) }
    }

    /// Fills `out` with objects at hand; if there are none, with some of one slab (tracked: all constructed, or a raw one; says which).
    #[inline(never)]
    pub(super) fn take_some(&mut self, out: &mut [Room]) -> Result<Taken, AllocError> {
        let shape = self.shape();
        // SAFETY: the invariant of `fronted`, T1.
        unsafe { self.fronted.take(&mut self.source, &shape, out) }
    }

    /// Fills `out` with as many objects as there are; one at least.
    fn take_many(&mut self, out: &mut [Room]) -> Result<usize, AllocError> {
        let mut count = 0;
        while count < out.len() {
            match self.take_some(&mut out[count..]) {
                Ok(taken) => count += taken.count,
                Err(_) => break,
            }
        }
        if count == 0 { Err(AllocError) } else { Ok(count) }
    }

    /// Takes an object back (tracked: a constructed one).
    ///
    /// # Safety
    /// The object was taken from this cache, and has not come back since.
    #[inline(always)]
    pub(super) unsafe fn give(&mut self, object: NonNull<u8>) {
        // SAFETY: the caller's promise is the same.
        if !unsafe { self.push(object) } {
            // SAFETY: the caller's promise is the same.
            unsafe { self.give_when_full(object) };
        }
    }

    /// As [`give`](SlabCore::give), if there is room in front; says whether.
    ///
    /// # Safety
    /// The same.
    #[inline(always)]
    pub(super) unsafe fn push(&mut self, object: NonNull<u8>) -> bool {
        // SAFETY: the caller's promise is the same.
        unsafe { self.fronted.push(object) }
    }

    /// As [`give`](SlabCore::give), when there is no room in front. Compiled once for each cache, with the shape's numbers built in.
    ///
    /// # Safety
    /// The same.
    #[cold]
    #[inline(never)]
    unsafe fn give_when_full(&mut self, object: NonNull<u8>) {
        let shape = self.shape();
        // SAFETY: the caller's promise; the invariant of `fronted`, T1.
        unsafe { self.fronted.push_when_full(&mut self.source, &shape, object) };
    }

    /// Objects to their slabs, and slabs that are no longer wanted to the source.
    ///
    /// # Safety
    /// All objects were taken from this cache and have not come back since; `constructed` is true of all (tracked).
    #[inline(never)]
    pub(super) unsafe fn put(&mut self, objects: &[NonNull<u8>], constructed: bool) {
        let shape = self.shape();
        // SAFETY: the caller's promise; the invariant of `fronted`, T1.
        unsafe { self.fronted.put(&mut self.source, &shape, objects, constructed) };
    }

    /// All objects at hand to their slabs; says how many slabs the policy released on the occasion (tracked: none, they wait to be emptied).
    pub(super) fn flush(&mut self) -> usize {
        let (shape, slabs) = (self.shape(), self.fronted.system().census().slabs);
        // SAFETY: the invariant of `fronted`, T1.
        unsafe { self.fronted.flush(&mut self.source, &shape) };
        slabs - self.fronted.system().census().slabs
    }

    /// Objects at hand to their slabs, and all but `keep` slabs without live objects to the source; says how many went.
    fn trim_slabs(&mut self, keep: usize) -> usize {
        let shape = self.shape();
        // SAFETY: the invariant of `fronted`, T1. For raw memory only: `Constructed` is for `ObjectCache` alone, whose slabs go another way.
        unsafe { self.fronted.trim(&mut self.source, &shape, keep) }
    }

    /// Lets the policy look again; says how many slabs went (tracked: none, they wait to be emptied).
    pub(super) fn tick(&mut self) -> usize {
        let shape = self.shape();
        // SAFETY: the invariant of `fronted`, T1.
        unsafe { self.fronted.tick(&mut self.source, &shape) }
    }

    /// A slab out of use, to be emptied of constructed objects and released.
    pub(super) fn detach(&mut self, wanted: Wanted) -> Option<Slab> {
        let shape = self.shape();
        // SAFETY: the invariant of `fronted`, T1.
        unsafe { self.fronted.detach(&shape, wanted) }
    }

    /// Whether slabs wait to be emptied and released.
    #[inline(always)]
    pub(super) const fn has_surplus(&self) -> bool {
        self.fronted.has_surplus()
    }

    /// [`SlabSystem::next_constructed`].
    ///
    /// # Safety
    /// `slab` was detached from this cache.
    pub(super) unsafe fn next_constructed(&mut self, slab: &Slab) -> Option<NonNull<u8>> {
        let shape = self.shape();
        // SAFETY: the caller's promise is the same.
        unsafe { self.fronted.system_mut().next_constructed(&shape, slab) }
    }

    /// [`SlabSystem::release`].
    ///
    /// # Safety
    /// `slab` was detached from this cache; nobody needs what its free objects hold.
    pub(super) unsafe fn release(&mut self, slab: Slab) {
        let shape = self.shape();
        // SAFETY: the caller's promise; the invariant of `fronted`, T1.
        unsafe { self.fronted.system_mut().release(&mut self.source, &shape, slab) };
    }

    /// Where the slabs come from.
    pub(super) const fn source(&self) -> &S::Source {
        &self.source
    }

    pub(super) fn stats(&self) -> CacheStats {
        self.fronted.stats(&self.shape())
    }

    /// The slab of this number.
    pub(super) fn slab(&self, number: usize) -> Option<SlabStats> {
        // SAFETY: the invariant of `fronted`, T1.
        let slab = unsafe { self.fronted.system().slab(&self.shape(), number) }?;
        Some(SlabStats {
            address: slab.address(),
            len: slab.len(),
            capacity: slab.capacity(),
            free: slab.free(),
            constructed: slab.constructed(),
        })
    }

    /// Whether a block of this layout fits into a slot.
    #[inline(always)]
    fn fits(&self, layout: Layout) -> bool {
        let shape = self.shape();
        layout.size() <= shape.stride() && layout.align() <= shape.align()
    }
}

// SAFETY: H1: a free object is in its slab or at hand, and leaves that place when it is handed out (Y1); it has the shape's stride and
// alignment, and `fits` has checked the layout against these. It is handed out with its slab's provenance (Y5). H2: slabs are blocks of
// the source. H3: Y4, and policies do not unwind. H4: Y4. H5: B5; what is done at hand calls nothing but
// `shape` (T2). H6: a size of zero fits.
unsafe impl<S: SlabSystem, Z: Slot, R: Retention, const FRONT: usize> Heap for SlabCore<S, Z, R, FRONT> {
    #[inline]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if !self.fits(layout) {
            return Err(AllocError);
        }
        let (object, _) = self.take()?;
        Ok(NonNull::slice_from_raw_parts(object, self.shape().stride()))
    }

    #[inline]
    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, _: Layout) {
        // SAFETY: the caller's promise: a live block.
        unsafe { self.give(ptr) };
    }

    const AT_HAND: bool = FRONT > 0;

    #[inline(always)]
    fn alloc_at_hand(&mut self, layout: Layout) -> Option<NonNull<[u8]>> {
        if !self.fits(layout) {
            return None;
        }
        Some(NonNull::slice_from_raw_parts(self.pop()?, self.shape().stride()))
    }

    #[inline(always)]
    unsafe fn dealloc_at_hand(&mut self, ptr: NonNull<u8>, _: Layout) -> bool {
        // SAFETY: the caller's promise: a live block.
        unsafe { self.push(ptr) }
    }

    #[inline]
    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        _: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if !self.fits(new) {
            return Err(AllocError);
        }
        Ok(NonNull::slice_from_raw_parts(renewed(ptr), self.shape().stride()))
    }

    #[inline]
    fn good_size(&self, layout: Layout) -> usize {
        if self.fits(layout) { self.shape().stride() } else { layout.size() }
    }

    fn alloc_batch(&mut self, layout: Layout, out: &mut [Room]) -> usize {
        if self.fits(layout) { self.take_many(out).unwrap_or(0) } else { 0 }
    }

    unsafe fn dealloc_batch(&mut self, _: Layout, blocks: &[NonNull<u8>]) {
        // SAFETY: the caller's promise: live blocks, all different. Raw memory is in no state that counts.
        unsafe { self.put(blocks, false) };
    }

    fn release_unused(&mut self) -> usize {
        let held = self.stats().bytes_held;
        self.trim_slabs(0);
        held - self.stats().bytes_held
    }
}

impl<S: SlabSystem, Z: Slot, R: Retention, const FRONT: usize> Inspect for SlabCore<S, Z, R, FRONT> {
    fn usage(&self) -> Usage {
        let stats = self.stats();
        Usage {
            total: stats.bytes_held,
            used: stats.bytes_live(),
            free: stats.bytes_free(),
            objects: stats.live,
        }
    }

    /// The slabs one behind the other, whatever their addresses. The first step puts the objects at hand back to them, as none is live.
    /// O(slabs + objects of a slab).
    fn next_chunk(&mut self, cursor: &mut Cursor) -> Option<Chunk> {
        if cursor.offset == 0 {
            self.flush();
        }
        let shape = self.shape();
        let (number, within) = (cursor.offset / shape.slab_size(), cursor.offset % shape.slab_size());
        // SAFETY: the invariant of `fronted`, T1.
        let slab = unsafe { self.fronted.system().slab(&shape, number) }?;
        let (kind, next) = stretch(&slab, within);
        let chunk = Chunk { offset: cursor.offset, len: next - within, kind };
        cursor.offset += chunk.len;
        Some(chunk)
    }

    fn verify(&mut self) -> Result<(), Corruption> {
        // SAFETY: the invariant of `fronted`, T1.
        unsafe { self.fronted.system().verify(&self.shape()) }
    }
}

impl<S: SlabSystem, Z: ConstSlot, R: Retention, L: Lock, const FRONT: usize>
    Locked<SlabCore<S, Z, R, FRONT>, L>
{
    /// A cache over `source` for objects of a layout known at compile time.
    #[must_use]
    pub const fn over(source: S::Source) -> Self {
        Locked::new(SlabCore::new(source))
    }
}

impl<S: SlabSystem, R: Retention, L: Lock, const FRONT: usize> Locked<SlabCore<S, AtRunTime, R, FRONT>, L> {
    /// A cache over `source` for objects of this layout.
    ///
    /// # Errors
    /// When no slab can hold such an object, or the source can't align such slabs.
    pub fn with_layout(source: S::Source, layout: Layout) -> Result<Self, ShapeError> {
        match AtRunTime::new::<S>(layout) {
            Ok(slot) => Ok(Locked::new(SlabCore::with_slot(source, slot))),
            Err(error) => Err(error),
        }
    }
}

/// What caches of raw memory can do besides what every [`Locked`] heap can.
impl<S: SlabSystem, Z: Slot, R: Retention, L: Lock, const FRONT: usize> Locked<SlabCore<S, Z, R, FRONT>, L> {
    /// Runs `work` on the core, which is locked; the default of `T` on re-entry.
    fn locked<T: Default>(&self, work: impl FnOnce(&mut SlabCore<S, Z, R, FRONT>) -> T) -> T {
        // SAFETY: the closures in this file call nothing but the core, leave it in its place and do not unwind.
        unsafe { self.enter(work) }.unwrap_or_default()
    }

    /// Bytes of a slot: any layout of at most this size, and of at most the slot's alignment, fits.
    #[must_use]
    pub fn slot_size(&self) -> usize {
        self.slot_layout().size()
    }

    /// The source that the slabs come from, to look at: the numbers of a [`Counted`](crate::source::Counted), say.
    #[must_use]
    pub fn source(&mut self) -> &S::Source {
        self.get_mut().source()
    }

    /// How many objects and slabs there are. O(1). All zero on re-entry.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        self.locked(|core| core.stats())
    }

    /// Gives slabs without live objects back to the source until `keep` of them are left, objects at hand included; says how many
    /// went.
    pub fn trim(&self, keep: usize) -> usize {
        self.locked(|core| core.trim_slabs(keep))
    }

    /// Gives all slabs without live objects back to the source; says how many went.
    pub fn reap(&self) -> usize {
        self.trim(0)
    }

    /// Lets the retention policy look again, for a program that has gone quiet; says how many slabs went.
    pub fn tick(&self) -> usize {
        self.locked(SlabCore::tick)
    }

    /// The slabs, in no particular order. Each step takes the lock, and O(slabs) to find its place: with other threads at work slabs
    /// may be missed or seen twice.
    pub fn slabs(&self) -> impl Iterator<Item = SlabStats> {
        (0..).map_while(|number| self.locked(|core| core.slab(number)))
    }
}

// SAFETY: V1: every block is a slot, which fits all layouts that it was asked for with.
unsafe impl<S: SlabSystem, Z: Slot, R: Retention, L: Lock, const FRONT: usize> UsableSize
    for Locked<SlabCore<S, Z, R, FRONT>, L>
{
    unsafe fn usable_size(&self, _: NonNull<u8>) -> usize {
        self.slot_layout().size()
    }
}

// SAFETY: U1: H1, H2, and a dropped core releases no slab with live objects. U2: T1. U3: raw memory. U4: H4, and no user code is called.
unsafe impl<S: SlabSystem, Z: Slot, R: Retention, L: Lock, const FRONT: usize> UntypedObjectAlloc
    for Locked<SlabCore<S, Z, R, FRONT>, L>
{
    fn slot_layout(&self) -> Layout {
        let (size, align) = match Z::KNOWN {
            Some(slot) => (slot.shape::<S>().stride(), slot.shape::<S>().align()),
            None => self.locked(|core| (core.shape().stride(), core.shape().align())),
        };
        Layout::from_size_align(size, align).unwrap_or(Layout::new::<u8>())
    }

    #[inline]
    fn alloc_slot(&self) -> Result<NonNull<u8>, AllocError> {
        // SAFETY: `pop` calls nothing and does not unwind.
        if let Some(Some(object)) = unsafe { self.at_hand(SlabCore::pop) } {
            return Ok(object);
        }
        // SAFETY: the closure only calls the core.
        let (object, _) = unsafe { self.enter(SlabCore::take) }??;
        Ok(object)
    }

    #[inline]
    unsafe fn free_slot(&self, slot: NonNull<u8>) {
        // SAFETY: the caller's promise is the same.
        let push = |core: &mut SlabCore<S, Z, R, FRONT>| unsafe { core.push(slot) };
        // SAFETY: `push` calls nothing and does not unwind.
        if unsafe { self.at_hand(push) } == Some(true) {
            return;
        }
        // SAFETY: the caller's promise is the same.
        self.locked(|core| unsafe { core.give(slot) });
    }

    fn alloc_slots(&self, out: &mut [MaybeUninit<NonNull<u8>>]) -> Result<usize, AllocError> {
        // SAFETY: the closure only calls the core.
        unsafe { self.enter(|core| core.take_many(out)) }?
    }

    unsafe fn free_slots(&self, slots: &[NonNull<u8>]) {
        // SAFETY: the caller's promise is the same.
        self.locked(|core| unsafe { core.put(slots, true) });
    }
}

// SAFETY: raw memory; H3.
unsafe impl<S: SlabSystem, Z: Slot, R: Retention, L: Lock, const FRONT: usize> RawSlots
    for Locked<SlabCore<S, Z, R, FRONT>, L>
{
}

impl<S: SlabSystem, Z: Slot, R: Retention, const FRONT: usize> Drop for SlabCore<S, Z, R, FRONT> {
    fn drop(&mut self) {
        let shape = self.shape();
        // SAFETY: the invariant of `fronted`, T1; this is its end. Constructed objects are the business of `ObjectCache`, whose end was before.
        unsafe { self.fronted.close(&mut self.source, &shape) };
    }
}

impl<S: SlabSystem, Z: Slot, R: Retention, const FRONT: usize> fmt::Debug for SlabCore<S, Z, R, FRONT> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlabCore").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl<S, Z, R, const FRONT: usize> Describe for SlabCore<S, Z, R, FRONT>
where
    S: SlabSystem + Describe,
    Z: Slot + Describe,
    R: Retention + Describe,
{
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let cost = Cost::state_around::<Self, (S, S::Source, Z, R)>();
        let parts: [Child<'_>; 3] =
            [("layout", Z::describe), ("slabs", S::describe), ("free slabs", R::describe)];
        tree.part(format_args!("SlabCore, {}", AtHand(FRONT, true)), cost, &parts)
    }
}
