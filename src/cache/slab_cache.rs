//! The core of the caches: a few objects at hand in front of slabs.

use core::alloc::Layout;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

use super::object_alloc::UntypedObjectAlloc;
use super::retention::{KeepAll, Retention};
use super::slot::{AtRunTime, ConstSlot, Slot};
use crate::AllocError;
use crate::heap::{Chunk, ChunkKind, Corruption, Cursor, Heap, Inspect, Locked, SharedHeap, Usage};
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
pub type SlabCache<S, L = NoLock, Z = AtRunTime, R = KeepAll, const FRONT: usize = 32> =
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
    /// The object that came back last, if it has not gone out again: most often it is what is wanted next, and it comes and goes without
    /// a count of the others (whose change, read again right away, takes longer than all the rest).
    hot: Option<NonNull<u8>>,
    /// How many more objects are at hand: `front[..top]`, and `hot`, are free objects of ours (if tracked, constructed ones).
    /// At most `FRONT`.
    top: usize,
    front: [MaybeUninit<NonNull<u8>>; FRONT],
    system: S,
    source: S::Source,
    slot: Z,
    retention: R,
    /// Slabs that the policy wants gone and that hold objects to be destroyed first.
    surplus: usize,
    /// The most objects ever taken from slabs.
    taken_peak: usize,
}

// SAFETY: the free objects at hand are the core's alone, and no thread's in particular; all other fields may be sent.
unsafe impl<S, Z, R, const FRONT: usize> Send for SlabCore<S, Z, R, FRONT>
where
    S: SlabSystem + Send,
    S::Source: Send,
    Z: Slot + Send,
    R: Retention + Send,
{
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
    /// Objects that are in use.
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
    /// How many objects move between front and slabs at once.
    const BATCH: usize = FRONT.div_ceil(2);

    const fn with_slot(source: S::Source, slot: Z) -> Self {
        SlabCore {
            hot: None,
            top: 0,
            front: [const { MaybeUninit::uninit() }; FRONT],
            system: S::NEW,
            source,
            slot,
            retention: R::NEW,
            surplus: 0,
            taken_peak: 0,
        }
    }

    /// Where the objects lie in their slabs.
    #[inline(always)]
    pub(super) fn shape(&self) -> Shape {
        self.slot.shape::<S>()
    }

    /// An object from those at hand (tracked: a constructed one).
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<NonNull<u8>> {
        if FRONT == 0 {
            return None;
        }
        if let Some(object) = self.hot {
            self.hot = None;
            return Some(renewed(object));
        }
        let top = self.top.checked_sub(1)?;
        self.top = top;
        // SAFETY: `top` was at most `FRONT`, and is now below.
        let place = unsafe { self.front.get_unchecked(top) };
        // SAFETY: places below the old top hold objects.
        let object = unsafe { place.assume_init() };
        Some(renewed(object))
    }

    /// An object, raw or as it came back. Tracked: says whether it is constructed.
    #[inline(always)]
    pub(super) fn take(&mut self) -> Result<(NonNull<u8>, bool), AllocError> {
        match self.pop() {
            Some(object) => Ok((object, true)),
            None => self.take_from_slabs(),
        }
    }

    /// As [`take`](SlabCore::take), of the slabs; what else is at little cost goes to the front.
    #[cold]
    #[inline(never)]
    fn take_from_slabs(&mut self) -> Result<(NonNull<u8>, bool), AllocError> {
        let shape = self.shape();
        let free = self.system.census().free_slabs;
        let mut one = [MaybeUninit::uninit()];
        let out = if FRONT == 0 { &mut one[..] } else { &mut self.front[..Self::BATCH] };
        // SAFETY: T1, and this is the one source of the system.
        let taken = unsafe { self.system.take(&mut self.source, &shape, out) }?;
        let last = taken.count.checked_sub(1).ok_or(AllocError)?;
        // SAFETY: the system has written so many.
        let object = unsafe { out[last].assume_init() };
        // Raw objects of a tracked shape come alone, so that what stays in front is constructed.
        self.top = if FRONT == 0 { 0 } else { last };
        let census = self.system.census();
        self.taken_peak = self.taken_peak.max(census.taken);
        if census.free_slabs < free {
            self.retention.used(census.free_slabs.saturating_sub(self.surplus));
        }
        Ok((object, taken.constructed))
    }

    /// Objects of the slabs into `out` from its front (tracked: all constructed, or a raw one; says which).
    pub(super) fn take_batch(&mut self, out: &mut [MaybeUninit<NonNull<u8>>]) -> Result<Taken, AllocError> {
        let shape = self.shape();
        let free = self.system.census().free_slabs;
        // SAFETY: T1, and this is the one source of the system.
        let taken = unsafe { self.system.take(&mut self.source, &shape, out) }?;
        let census = self.system.census();
        self.taken_peak = self.taken_peak.max(census.taken);
        if census.free_slabs < free {
            self.retention.used(census.free_slabs.saturating_sub(self.surplus));
        }
        Ok(taken)
    }

    /// Fills `out` with objects at hand, then with some of the slabs.
    fn take_many(&mut self, out: &mut [MaybeUninit<NonNull<u8>>]) -> Result<usize, AllocError> {
        let mut count = 0;
        while let Some(place) = out.get_mut(count) {
            let Some(object) = self.pop() else { break };
            place.write(object);
            count += 1;
        }
        while count < out.len() {
            match self.take_batch(&mut out[count..]) {
                Ok(taken) => count += taken.count,
                Err(_) if count > 0 => break,
                Err(error) => return Err(error),
            }
        }
        if count == 0 { Err(AllocError) } else { Ok(count) }
    }

    /// Fills `out` with objects at hand; if there are none, with some of one slab (tracked: all constructed, or a raw one; says which).
    pub(super) fn take_kept(&mut self, out: &mut [MaybeUninit<NonNull<u8>>]) -> Result<Taken, AllocError> {
        let mut count = 0;
        while let Some(place) = out.get_mut(count) {
            let Some(object) = self.pop() else { break };
            place.write(object);
            count += 1;
        }
        if count > 0 { Ok(Taken { count, constructed: true }) } else { self.take_batch(out) }
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
        if FRONT == 0 {
            return false;
        }
        if self.hot.is_none() {
            self.hot = Some(object);
            return true;
        }
        if self.top == FRONT {
            return false;
        }
        // SAFETY: `top` is below `FRONT`.
        let place = unsafe { self.front.get_unchecked_mut(self.top) };
        place.write(object);
        self.top += 1;
        true
    }

    /// As [`give`](SlabCore::give), when there is no room in front: the older half goes to the slabs.
    ///
    /// # Safety
    /// The same.
    #[cold]
    #[inline(never)]
    unsafe fn give_when_full(&mut self, object: NonNull<u8>) {
        if FRONT == 0 {
            // SAFETY: the caller's promise is the same.
            return unsafe { self.put(&[object], true) };
        }
        let batch = Self::BATCH;
        self.give_back(batch);
        self.front.copy_within(batch.., 0);
        self.front[FRONT - batch].write(object);
        self.top = FRONT - batch + 1;
    }

    /// The first `count` objects in front to their slabs. The caller moves the others down.
    fn give_back(&mut self, count: usize) {
        let (shape, free) = (self.shape(), self.system.census().free_slabs);
        let front = ptr::from_ref(&self.front[..count]) as *const [NonNull<u8>];
        // SAFETY: the front's first `count` places hold objects.
        let objects = unsafe { &*front };
        // SAFETY: they are free objects of ours, none twice.
        unsafe { self.system.put(&shape, objects, true) };
        self.put_down(free);
    }

    /// Objects to their slabs, and slabs that are no longer wanted to the source.
    ///
    /// # Safety
    /// All objects were taken from this cache and have not come back since; `constructed` is true of all (tracked).
    pub(super) unsafe fn put(&mut self, objects: &[NonNull<u8>], constructed: bool) {
        let (shape, free) = (self.shape(), self.system.census().free_slabs);
        // SAFETY: the caller's promise is the same.
        unsafe { self.system.put(&shape, objects, constructed) };
        self.put_down(free);
    }

    /// After objects have come back, when `free` slabs had no live objects before.
    fn put_down(&mut self, free: usize) {
        let now = self.system.census().free_slabs;
        if now > free {
            self.consider(now);
        }
    }

    /// Asks the policy about `free` slabs without live objects.
    #[cold]
    #[inline(never)]
    fn consider(&mut self, free: usize) {
        // Slabs that wait to be released are gone, as far as the policy knows.
        self.surplus = self.surplus.min(free);
        let surplus = self.retention.surplus(free - self.surplus);
        if Z::TRACKED {
            self.surplus += surplus;
        } else {
            self.release_free(surplus);
        }
    }

    /// Gives back up to `most` slabs without live objects; says how many.
    fn release_free(&mut self, most: usize) -> usize {
        let shape = self.shape();
        let mut gone = 0;
        while gone < most {
            // SAFETY: T1.
            let Some(slab) = (unsafe { self.system.detach(&shape, false) }) else { break };
            // SAFETY: the slab has just been detached; its objects are raw, or nobody needs what they hold.
            unsafe { self.system.release(&mut self.source, &shape, slab) };
            gone += 1;
        }
        gone
    }

    /// All objects at hand to their slabs; says how many slabs the policy released on the occasion (tracked: none).
    pub(super) fn flush(&mut self) -> usize {
        let slabs = self.system.census().slabs;
        let top = core::mem::take(&mut self.top);
        self.give_back(top);
        if let Some(object) = self.hot.take() {
            // SAFETY: a free object of ours.
            unsafe { self.put(&[object], true) };
        }
        slabs - self.system.census().slabs
    }

    /// Gives slabs without live objects back to the source until `keep` are left; says how many went.
    fn trim(&mut self, keep: usize) -> usize {
        let gone = self.flush();
        let free = self.system.census().free_slabs;
        let gone = gone + self.release_free(free.saturating_sub(keep));
        self.retention.used(self.system.census().free_slabs);
        gone
    }

    /// Lets the policy look again; says how many slabs went (tracked: none).
    pub(super) fn tick(&mut self) -> usize {
        let slabs = self.system.census().slabs;
        self.flush();
        self.consider(self.system.census().free_slabs);
        slabs - self.system.census().slabs
    }

    /// For tracked shapes: a slab to be emptied of constructed objects and released, if there is one: one that the policy wants gone, one
    /// more than `keep` free ones, or any at all.
    pub(super) fn detach(&mut self, wanted: Wanted) -> Option<Slab> {
        let shape = self.shape();
        match wanted {
            Wanted::Surplus => {
                self.surplus = self.surplus.checked_sub(1)?;
                // SAFETY: T1.
                unsafe { self.system.detach(&shape, false) }
            }
            Wanted::Beyond(keep) if self.system.census().free_slabs <= keep => {
                self.retention.used(self.system.census().free_slabs);
                None
            }
            Wanted::Beyond(_) => {
                self.surplus = self.surplus.saturating_sub(1);
                // SAFETY: T1.
                unsafe { self.system.detach(&shape, false) }
            }
            // SAFETY: T1.
            Wanted::Any => unsafe { self.system.detach(&shape, true) },
        }
    }

    /// Whether slabs wait to be emptied and released.
    #[inline(always)]
    pub(super) const fn has_surplus(&self) -> bool {
        self.surplus > 0
    }

    /// [`SlabSystem::next_constructed`].
    ///
    /// # Safety
    /// `slab` was detached from this cache.
    pub(super) unsafe fn next_constructed(&mut self, slab: &Slab) -> Option<NonNull<u8>> {
        let shape = self.shape();
        // SAFETY: the caller's promise is the same.
        unsafe { self.system.next_constructed(&shape, slab) }
    }

    /// [`SlabSystem::release`].
    ///
    /// # Safety
    /// `slab` was detached from this cache; nobody needs what its free objects hold.
    pub(super) unsafe fn release(&mut self, slab: Slab) {
        let shape = self.shape();
        // SAFETY: the caller's promise is the same.
        unsafe { self.system.release(&mut self.source, &shape, slab) };
    }

    pub(super) fn stats(&self) -> CacheStats {
        let (census, shape) = (self.system.census(), self.shape());
        let at_hand = self.top + usize::from(self.hot.is_some());
        CacheStats {
            live: census.taken - at_hand,
            live_peak: self.taken_peak,
            at_hand,
            capacity: census.capacity,
            slabs: census.slabs,
            free_slabs: census.free_slabs,
            slabs_peak: census.slabs_peak,
            slot_size: shape.stride(),
            bytes_held: census.slabs * shape.slab_size(),
        }
    }

    /// The slab of this number.
    pub(super) fn slab(&self, number: usize) -> Option<SlabStats> {
        // SAFETY: T1.
        let slab = unsafe { self.system.slab(&self.shape(), number) }?;
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

/// Which slab to detach.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    Surplus,
    Beyond(usize),
    Any,
}

/// The object at the address of `object`, good for all of it: what came back may be a pointer that is good for less.
#[inline(always)]
fn renewed(object: NonNull<u8>) -> NonNull<u8> {
    // SAFETY: an object's address is not null. (Y5: its provenance is exposed.)
    unsafe { NonNull::new_unchecked(ptr::with_exposed_provenance_mut(object.addr().get())) }
}

// SAFETY: H1: a free object is in its slab or at hand, and leaves that place when it is handed out (Y1); it has the shape's stride and
// alignment, and `fits` has checked the layout against these. It is handed out with its slab's provenance (Y5). H2: slabs are blocks of
// the source. H3: Y4, and policies do not unwind. H4: Y4. H5: B5. H6: a size of zero fits.
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
}

impl<S: SlabSystem, Z: Slot, R: Retention, const FRONT: usize> Inspect for SlabCore<S, Z, R, FRONT> {
    fn usage(&self) -> Usage {
        let stats = self.stats();
        Usage {
            total: stats.bytes_held,
            used: stats.bytes_live(),
            free: (stats.capacity - stats.live) * stats.slot_size,
            objects: stats.live,
        }
    }

    /// The slabs one behind the other, whatever their addresses. O(slabs + objects of a slab).
    fn next_chunk(&mut self, cursor: &mut Cursor) -> Option<Chunk> {
        let shape = self.shape();
        // SAFETY: T1.
        let slab = unsafe { self.system.slab(&shape, cursor.offset / shape.slab_size()) }?;
        let within = cursor.offset % shape.slab_size();
        let (start, stride) = (slab.objects_at(), slab.stride());
        let end = start + slab.capacity() * stride;
        let (kind, next) = if within < start {
            (ChunkKind::Table, start)
        } else if within >= end {
            (ChunkKind::Table, slab.len())
        } else {
            let number = (within - start) / stride;
            let free = slab.is_free(number);
            let same = (number + 1..slab.capacity()).take_while(|&next| slab.is_free(next) == free).count();
            let kind = if free { ChunkKind::Free } else { ChunkKind::Used };
            (kind, start + (number + 1 + same) * stride)
        };
        let chunk = Chunk { offset: cursor.offset, len: next - within, kind };
        cursor.offset += chunk.len;
        Some(chunk)
    }

    fn verify(&mut self) -> Result<(), Corruption> {
        // SAFETY: T1.
        unsafe { self.system.verify(&self.shape()) }
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
    /// Runs `work` on the core, which is locked; the default of `R` on re-entry.
    fn locked<T: Default>(&self, work: impl FnOnce(&mut SlabCore<S, Z, R, FRONT>) -> T) -> T {
        // SAFETY: the closures in this file call nothing but the core, leave it in its place and do not unwind.
        unsafe { self.enter(work) }.unwrap_or_default()
    }

    /// Bytes of a slot: any layout of at most this size, and of at most the slot's alignment, fits.
    #[must_use]
    pub fn slot_size(&self) -> usize {
        self.locked(|core| core.shape().stride())
    }

    /// How many objects and slabs there are. O(1). All zero on re-entry.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        self.locked(|core| core.stats())
    }

    /// Gives slabs without live objects back to the source until `keep` of them are left, objects at hand included; says how many
    /// went.
    pub fn trim(&self, keep: usize) -> usize {
        self.locked(|core| core.trim(keep))
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

// SAFETY: U1: H1, H2, and a dropped core releases no slab with live objects. U2: T1. U3: raw memory. U4: H4, and no user code is called.
unsafe impl<S: SlabSystem, Z: Slot, R: Retention, L: Lock, const FRONT: usize> UntypedObjectAlloc
    for Locked<SlabCore<S, Z, R, FRONT>, L>
{
    fn slot_layout(&self) -> Layout {
        let (size, align) = self.locked(|core| (core.shape().stride(), core.shape().align()));
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

impl<S: SlabSystem, Z: Slot, R: Retention, const FRONT: usize> Drop for SlabCore<S, Z, R, FRONT> {
    fn drop(&mut self) {
        self.flush();
        let shape = self.shape();
        // SAFETY: T1.
        while let Some(slab) = unsafe { self.system.detach(&shape, true) } {
            // SAFETY: the slab has just been detached; raw memory is of no more use to anybody.
            unsafe { self.system.release(&mut self.source, &shape, slab) };
        }
        // SAFETY: T1, and this is the one source of the system, which goes now.
        unsafe { self.system.close(&mut self.source, &shape) };
    }
}

impl<S: SlabSystem, Z: Slot, R: Retention, const FRONT: usize> fmt::Debug for SlabCore<S, Z, R, FRONT> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlabCore").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
