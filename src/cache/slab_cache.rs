//! The core of the caches: a few objects at hand in front of slabs.

use core::alloc::Layout;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::front::{AtHand, Fronted, Room, Wanted, renewed, stretch};
use super::object_alloc::{RawSlots, UntypedObjectAlloc};
use super::retention::{KeepAll, Retention};
use super::slot::{AtRunTime, ConstSlot, Slot};
use super::watch::{SlabChecks, Watch};
use crate::AllocError;
use crate::check::{Checks, Finding, Misuse, Unchecked, Wrong};
use crate::describe::{Child, Cost, Describe, Tree};
use crate::heap::{Chunk, Corruption, Cursor, Heap, Inspect, Locked, SharedHeap, UsableSize, Usage};
use crate::lock::{Lock, NoLock};
use crate::slab::{Lookup, Shape, ShapeError, Slab, SlabSystem, Taken};

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
/// | `P` | what is [checked](crate::check) when a block comes back, and goes out |
///
/// The objects at hand are what makes it fast: a free puts the object's address into an array, an allocation takes the last one, and neither
/// touches a slab, nor the object. Half of the array at a time goes back to the slabs or comes from there. (The idea is Bonwick and
/// Adams's magazine, 2001.)
///
/// With a policy `P` that looks at [frees](Checks::Frees), what comes back, to be freed or resized, has to be a live block of this cache, and its layout to fit: else it is left alone,
/// counted ([`misuses`](Locked::misuses)), and told. The guide's chapter [`caches`](crate::guide::caches#checks) says what the rest of a policy comes to, and what it costs.
///
/// Dropped while blocks are out (which only a leaked handle or a raw pointer can bring about), it gives back the slabs without live blocks, and leaves
/// the others as they are, for good. Cost: an allocation and a free are O(1), bookkeeping apart; but where the
/// source has no more, an allocation goes through the slabs asleep to find what is left.
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
///
/// With checks:
/// ```
/// use heapwright::cache::{Exactly, KeepAll, SlabCache};
/// use heapwright::check::{Checked, Ignore};
/// use heapwright::heap::SharedHeap;
/// use heapwright::lock::NoLock;
/// use heapwright::slab::AlignedSlabs;
/// use heapwright::source::StaticBuffer;
/// use std::alloc::Layout;
///
/// static RAM: StaticBuffer<8192> = StaticBuffer::new();
/// type Buffers = SlabCache<AlignedSlabs<&'static StaticBuffer<8192>, 1024>, NoLock, Exactly<64, 8>, KeepAll, 16, Checked<Ignore>>;
/// let cache = Buffers::over(&RAM);
/// let block = cache.try_alloc(Layout::new::<[u64; 8]>())?.cast::<u8>();
/// // SAFETY: the first free is right; what is wrong with the second, the policy finds.
/// unsafe {
///     cache.free(block, Layout::new::<[u64; 8]>());
///     cache.free(block, Layout::new::<[u64; 8]>());
/// }
/// assert_eq!(cache.misuses(), 1);
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// With a red zone behind each block, where it ends can't be told from its pointer:
/// ```compile_fail,E0080
/// use heapwright::cache::{Exactly, KeepAll, SlabCache};
/// use heapwright::check::Hardened;
/// use heapwright::heap::{SharedHeap, UsableSize};
/// use heapwright::lock::NoLock;
/// use heapwright::slab::AlignedSlabs;
/// use heapwright::source::StaticBuffer;
/// use std::alloc::Layout;
///
/// static RAM: StaticBuffer<8192> = StaticBuffer::new();
/// type Buffers = SlabCache<AlignedSlabs<&'static StaticBuffer<8192>, 1024>, NoLock, Exactly<64, 8>, KeepAll, 16, Hardened>;
/// let cache = Buffers::over(&RAM);
/// let block = cache.try_alloc(Layout::new::<u64>())?.cast::<u8>();
/// // "a red zone begins where a block ends, which its pointer does not tell .."
/// let size = unsafe { cache.usable_size(block) };
/// # Ok::<(), heapwright::AllocError>(())
/// ```
pub type SlabCache<S, L = NoLock, Z = AtRunTime, R = KeepAll, const FRONT: usize = 128, P = Unchecked> =
    Locked<SlabCore<S, Z, R, FRONT, P>, L>;

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
pub struct SlabCore<S: SlabSystem, Z: Slot, R: Retention, const FRONT: usize, P: Checks = Unchecked> {
    /// Invariant: every call brings `source`, and the shape of `slot`, which are never changed.
    fronted: Fronted<S, R, FRONT, true, P>,
    source: S::Source,
    slot: Z,
    watch: Watch<P>,
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

impl<S: SlabSystem, Z: ConstSlot, R: Retention, const FRONT: usize, P: Checks> SlabCore<S, Z, R, FRONT, P> {
    /// A cache over `source`, with a layout known at compile time.
    #[must_use]
    pub const fn new(source: S::Source) -> Self {
        Self::with_slot(source, Z::NEW)
    }
}

impl<S: SlabSystem, Z: Slot, R: Retention, const FRONT: usize, P: Checks> SlabCore<S, Z, R, FRONT, P> {
    pub(super) const fn with_slot(source: S::Source, slot: Z) -> Self {
        SlabCore { fronted: Fronted::NEW, source, slot, watch: Watch::NEW }
    }

    /// Where the objects lie in their slabs.
    #[inline(always)]
    pub(super) fn shape(&self) -> Shape {
        self.slot.shape::<S, P>()
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

    /// Whether a block of this layout can be had. Where there are zones, one of no byte can't: it could not be told from its zone.
    #[inline(always)]
    fn fits(&self, layout: Layout) -> bool {
        self.has_room(layout) && (P::ZONE == 0 || layout.size() > 0)
    }

    /// Whether a block of this layout fits into a slot.
    #[inline(always)]
    fn has_room(&self, layout: Layout) -> bool {
        let shape = self.shape();
        layout.size() <= Self::room(&shape) && layout.align() <= shape.align()
    }

    /// Bytes of an object that can be a block.
    #[inline(always)]
    const fn room(shape: &Shape) -> usize {
        shape.stride() - P::ZONE
    }

    /// The layout of a slot: that of the largest block whose size is a multiple of its alignment.
    #[inline(always)]
    fn slot_layout_of(shape: &Shape) -> Layout {
        let (room, align) = (Self::room(shape), shape.align());
        Layout::from_size_align(room & !(align - 1), align).unwrap_or(Layout::new::<u8>())
    }

    /// An object as a block of `layout`.
    #[inline(always)]
    fn block(&self, object: NonNull<u8>, layout: Layout) -> NonNull<[u8]> {
        // Where there are zones, they begin where the block ends.
        let len = if P::ZONE == 0 { self.shape().stride() } else { layout.size() };
        NonNull::slice_from_raw_parts(object, len)
    }
}

/// What the policy has looked at.
impl<S: SlabSystem, Z: Slot, R: Retention, const FRONT: usize, P: Checks> SlabCore<S, Z, R, FRONT, P> {
    /// An object, ready to be a block of `layout`, which fits.
    #[inline(always)]
    fn take_ready(&mut self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        let (object, _) = self.take()?;
        if P::LOOKS {
            // SAFETY: the object is ours, and the layout fits.
            unsafe { self.make_ready(object, layout) };
        }
        Ok(object)
    }

    /// Makes an object ready to be a block of `layout`.
    ///
    /// # Safety
    /// It has just been taken from here, and the layout fits.
    unsafe fn make_ready(&mut self, object: NonNull<u8>, layout: Layout) {
        let shape = self.shape();
        if let Some((damaged, count)) = self.fronted.take_damaged() {
            self.watch.note_some(Misuse::new(Wrong::Metadata, damaged.addr().get(), layout), count);
        }
        // SAFETY: the caller's promise.
        unsafe { self.watch.ready(object, layout, shape.stride(), S::LOOKUP != Lookup::None) };
    }

    /// Whether a block may come back: it is live, ours, and `layout` fits. If not, that is noted.
    ///
    /// # Safety
    /// As [`Heap::dealloc`], but for what is looked at.
    unsafe fn lets_back(&self, ptr: NonNull<u8>, layout: Layout) -> bool {
        let (shape, address) = (self.shape(), ptr.addr().get());
        // SAFETY: the invariant of `fronted`, T1.
        let place = unsafe { self.fronted.place_of(&shape, address) };
        let place = place.and(if self.has_room(layout) { Ok(()) } else { Err(Wrong::WrongLayout) });
        let place = place.map_err(|wrong| Misuse::new(wrong, address, layout));
        // SAFETY: an object of ours that is live, and the layout fits.
        unsafe { self.watch.lets_back(place, renewed(ptr), layout, shape.stride()) }
    }

    /// Takes a block back that is looked at first.
    ///
    /// # Safety
    /// As [`Heap::dealloc`], but for what is looked at.
    #[inline(always)]
    unsafe fn take_back(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        if P::LOOKS && !unsafe { self.lets_back(ptr, layout) } {
            return;
        }
        // SAFETY: a live object of ours, which is free now.
        unsafe { Watch::<P>::clear(renewed(ptr), self.shape().stride()) };
        // SAFETY: the caller's promise: a live block.
        unsafe { self.give(ptr) };
    }

    /// As [`take_back`](SlabCore::take_back), of many.
    ///
    /// # Safety
    /// The same, of each. Raw memory is in no state that counts.
    #[inline(always)]
    unsafe fn take_all_back(&mut self, blocks: &[NonNull<u8>], layout: Layout) {
        if !P::LOOKS {
            // SAFETY: the caller's promise: live blocks, all different.
            return unsafe { self.put(blocks, true) };
        }
        for &block in blocks {
            // SAFETY: the caller's promise is the same.
            unsafe { self.take_back(block, layout) };
        }
    }

    /// As [`take_many`](SlabCore::take_many), each ready to be a block of `layout`, which fits.
    #[inline(always)]
    fn take_many_ready(&mut self, out: &mut [Room], layout: Layout) -> Result<usize, AllocError> {
        let count = self.take_many(out)?;
        if P::LOOKS {
            for object in &out[..count] {
                // SAFETY: it has been written.
                let object = unsafe { object.assume_init() };
                // SAFETY: it has just been taken, and the layout fits.
                unsafe { self.make_ready(object, layout) };
            }
        }
        Ok(count)
    }
}

// SAFETY: H1: a free object is in its slab or at hand, and leaves that place when it is handed out (Y1); it has the shape's stride and
// alignment, and `fits` has checked the layout against these. It is handed out with its slab's provenance (Y5). H2: slabs are blocks of
// the source. H3: Y4, and policies do not unwind. H4: Y4. H5: B5; what is done at hand calls nothing but
// `shape` (T2). H6: a size of zero fits, or is an error. H7: the stride, or with zones the size itself, as no block is longer than what was asked for.
unsafe impl<S: SlabSystem, Z: Slot, R: Retention, const FRONT: usize, P: Checks> Heap
    for SlabCore<S, Z, R, FRONT, P>
{
    #[inline]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if !self.fits(layout) {
            return Err(AllocError);
        }
        let object = self.take_ready(layout)?;
        Ok(self.block(object, layout))
    }

    #[inline]
    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.take_back(ptr, layout) };
    }

    /// What is looked at takes longer than any leaf.
    const AT_HAND: bool = FRONT > 0 && !P::LOOKS;

    #[inline(always)]
    fn alloc_at_hand(&mut self, layout: Layout) -> Option<NonNull<[u8]>> {
        if P::LOOKS || !self.fits(layout) {
            return None;
        }
        let object = self.pop()?;
        Some(self.block(object, layout))
    }

    #[inline(always)]
    unsafe fn dealloc_at_hand(&mut self, ptr: NonNull<u8>, _: Layout) -> bool {
        if P::LOOKS {
            return false;
        }
        // SAFETY: the caller's promise: a live block.
        unsafe { self.push(ptr) }
    }

    #[inline]
    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        if P::LOOKS && !unsafe { self.lets_back(ptr, old) } {
            return Err(AllocError);
        }
        if !self.fits(new) {
            return Err(AllocError);
        }
        // SAFETY: a live object of ours, and nobody needs what lies behind that size.
        unsafe { Watch::<P>::enclose(renewed(ptr), new.size(), self.shape().stride()) };
        Ok(self.block(renewed(ptr), new))
    }

    /// What does not fit where it is fits nowhere.
    #[inline]
    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.resize_in_place(ptr, old, new) }
    }

    #[inline]
    fn good_size(&self, layout: Layout) -> usize {
        if self.fits(layout) && P::ZONE == 0 { self.shape().stride() } else { layout.size() }
    }

    fn alloc_batch(&mut self, layout: Layout, out: &mut [Room]) -> usize {
        if self.fits(layout) { self.take_many_ready(out, layout).unwrap_or(0) } else { 0 }
    }

    unsafe fn dealloc_batch(&mut self, layout: Layout, blocks: &[NonNull<u8>]) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.take_all_back(blocks, layout) };
    }

    fn release_unused(&mut self) -> usize {
        let held = self.stats().bytes_held;
        self.trim_slabs(0);
        held - self.stats().bytes_held
    }

    const CHECKS: bool = P::LOOKS;

    unsafe fn judge(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise is the same.
        !P::LOOKS || unsafe { self.lets_back(ptr, layout) }
    }

    #[inline(always)]
    fn take_finding(&mut self) -> Option<Finding> {
        self.watch.take()
    }
}

impl<S: SlabSystem, Z: Slot, R: Retention, const FRONT: usize, P: Checks> Inspect
    for SlabCore<S, Z, R, FRONT, P>
{
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

    fn misuses(&self) -> usize {
        self.watch.misuses()
    }
}

impl<S: SlabSystem, Z: ConstSlot, R: Retention, L: Lock, const FRONT: usize, P: Checks>
    Locked<SlabCore<S, Z, R, FRONT, P>, L>
{
    /// A cache over `source` for objects of a layout known at compile time.
    #[must_use]
    pub const fn over(source: S::Source) -> Self {
        Locked::new(SlabCore::new(source))
    }
}

impl<S: SlabSystem, R: Retention, L: Lock, const FRONT: usize, P: Checks>
    Locked<SlabCore<S, AtRunTime, R, FRONT, P>, L>
{
    /// A cache over `source` for objects of this layout.
    ///
    /// # Errors
    /// When no slab can hold such an object, or the source can't align such slabs.
    pub fn with_layout(source: S::Source, layout: Layout) -> Result<Self, ShapeError> {
        match AtRunTime::new::<S, P>(layout) {
            Ok(slot) => Ok(Locked::new(SlabCore::with_slot(source, slot))),
            Err(error) => Err(error),
        }
    }
}

/// What caches of raw memory can do besides what every [`Locked`] heap can.
impl<S: SlabSystem, Z: Slot, R: Retention, L: Lock, const FRONT: usize, P: Checks>
    Locked<SlabCore<S, Z, R, FRONT, P>, L>
{
    /// Runs `work` on the core, which is locked; the default of `T` on re-entry.
    fn locked<T: Default>(&self, work: impl FnOnce(&mut SlabCore<S, Z, R, FRONT, P>) -> T) -> T {
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

// SAFETY: V1: every block is a slot, which fits all layouts that it was asked for with; where it is shorter than its slot nobody can ask.
unsafe impl<S: SlabSystem, Z: Slot, R: Retention, L: Lock, const FRONT: usize, P: Checks> UsableSize
    for Locked<SlabCore<S, Z, R, FRONT, P>, L>
{
    /// With a red zone behind blocks it does not compile: where a block ends is known to who asked for it alone.
    unsafe fn usable_size(&self, _: NonNull<u8>) -> usize {
        const { P::BLOCKS_ARE_SLOTS };
        self.slot_layout().size()
    }
}

// SAFETY: U1: H1, H2, and a dropped core releases no slab with live objects. U2: T1. U3: raw memory. U4: H4, and no user code is called.
unsafe impl<S: SlabSystem, Z: Slot, R: Retention, L: Lock, const FRONT: usize, P: Checks> UntypedObjectAlloc
    for Locked<SlabCore<S, Z, R, FRONT, P>, L>
{
    fn slot_layout(&self) -> Layout {
        let layout_of = SlabCore::<S, Z, R, FRONT, P>::slot_layout_of;
        match Z::KNOWN {
            Some(slot) => layout_of(&slot.shape::<S, P>()),
            None => self.locked(|core| Some(layout_of(&core.shape()))).unwrap_or(Layout::new::<u8>()),
        }
    }

    #[inline]
    fn alloc_slot(&self) -> Result<NonNull<u8>, AllocError> {
        // SAFETY: `pop` calls nothing and does not unwind.
        if let Some(Some(object)) = unsafe { self.at_hand(SlabCore::pop) } {
            return Ok(object);
        }
        let take = |core: &mut SlabCore<S, Z, R, FRONT, P>| {
            let layout = SlabCore::<S, Z, R, FRONT, P>::slot_layout_of(&core.shape());
            core.take_ready(layout)
        };
        // SAFETY: the closure only calls the core.
        unsafe { self.enter(take) }?
    }

    #[inline]
    unsafe fn free_slot(&self, slot: NonNull<u8>) {
        // SAFETY: the caller's promise is the same.
        let push = |core: &mut SlabCore<S, Z, R, FRONT, P>| unsafe { core.push(slot) };
        // SAFETY: `push` calls nothing and does not unwind.
        if unsafe { self.at_hand(push) } == Some(true) {
            return;
        }
        self.locked(|core| {
            let layout = SlabCore::<S, Z, R, FRONT, P>::slot_layout_of(&core.shape());
            // SAFETY: the caller's promise is the same.
            unsafe { core.take_back(slot, layout) };
        });
    }

    fn alloc_slots(&self, out: &mut [MaybeUninit<NonNull<u8>>]) -> Result<usize, AllocError> {
        let take = |core: &mut SlabCore<S, Z, R, FRONT, P>| {
            let layout = SlabCore::<S, Z, R, FRONT, P>::slot_layout_of(&core.shape());
            core.take_many_ready(out, layout)
        };
        // SAFETY: the closure only calls the core.
        unsafe { self.enter(take) }?
    }

    unsafe fn free_slots(&self, slots: &[NonNull<u8>]) {
        if P::LOOKS {
            // One by one, so that each that is wrong is told.
            for &slot in slots {
                // SAFETY: the caller's promise is the same.
                unsafe { self.free_slot(slot) };
            }
            return;
        }
        // SAFETY: the caller's promise is the same.
        self.locked(|core| unsafe { core.put(slots, true) });
    }
}

// SAFETY: raw memory; H3.
unsafe impl<S: SlabSystem, Z: Slot, R: Retention, L: Lock, const FRONT: usize, P: Checks> RawSlots
    for Locked<SlabCore<S, Z, R, FRONT, P>, L>
{
}

impl<S: SlabSystem, Z: Slot, R: Retention, const FRONT: usize, P: Checks> Drop
    for SlabCore<S, Z, R, FRONT, P>
{
    fn drop(&mut self) {
        let shape = self.shape();
        // SAFETY: the invariant of `fronted`, T1; this is its end. Constructed objects are the business of `ObjectCache`, whose end was before.
        unsafe { self.fronted.close(&mut self.source, &shape) };
    }
}

impl<S: SlabSystem, Z: Slot, R: Retention, const FRONT: usize, P: Checks> fmt::Debug
    for SlabCore<S, Z, R, FRONT, P>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlabCore").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl<S, Z, R, const FRONT: usize, P> Describe for SlabCore<S, Z, R, FRONT, P>
where
    S: SlabSystem + Describe,
    Z: Slot + Describe,
    R: Retention + Describe,
    P: Checks + Describe,
{
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let cost = Cost::state_around::<Self, (S, S::Source, Z, R)>();
        let parts: [Child<'_>; 4] = [
            ("layout", Z::describe),
            ("slabs", S::describe),
            ("free slabs", R::describe),
            ("checks", P::describe),
        ];
        let parts = if P::LOOKS { &parts[..] } else { &parts[..3] };
        tree.part(format_args!("SlabCore, {}", AtHand(FRONT, true)), cost, parts)
    }
}
