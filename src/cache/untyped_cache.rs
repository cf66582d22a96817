//! Caches of initialised slots whose layout is known at run time.

use core::alloc::Layout;
use core::fmt;
use core::mem::{self, MaybeUninit};
use core::ptr::{self, NonNull};

use super::front::{AtHand, Wanted};
use super::object_alloc::UntypedObjectAlloc;
use super::retention::{KeepAll, Retention};
use super::slab_cache::{CacheStats, SlabCore, SlabStats};
use super::slot::{KeptAtRunTime, Slot};
use crate::AllocError;
use crate::check::Unchecked;
use crate::describe::{Child, Cost, Describe, Tree};
use crate::heap::{Chunk, Corruption, Locked, SharedHeap, Usage};
use crate::lock::{Lock, NoLock};
use crate::slab::{ShapeError, SlabSystem};

/// A cache of slots of one layout, known only when the program runs, that `F` initialises once and that come again as they came back.
///
/// What [`ObjectCache`](super::ObjectCache) is for a type, this is for a size and an alignment: for records whose length a file or a
/// plug-in tells, for objects of another language. `F` is called with a slot's bytes before it is handed out for the first time, while no
/// lock is held; nothing is called when its slab is released. If slots need nothing done to them, a [`SlabCache`](super::SlabCache) is
/// less. The other parameters are those of `SlabCache`.
///
/// Slots are taken and given by the methods of [`UntypedObjectAlloc`], also by way of [`Magazined`](super::Magazined). What they hold is
/// their users' business: a cache that threads share has to be given only what any of them may find. Dropped while slots are out, it
/// leaves their slabs as they are, for good. If `F` unwinds, the slot is raw again, and nothing is lost.
///
/// It takes no policy of [checks](crate::check), as slots stay as they come back: what does not come back as it should is taken at its word.
///
/// Cost: that of an `ObjectCache`: an array's pop and push under the lock. One bit per object more than a `SlabCache`.
///
/// ```
/// use heapwright::cache::{UntypedCache, UntypedObjectAlloc};
/// use heapwright::slab::AlignedSlabs;
/// use heapwright::source::StaticBuffer;
/// use std::alloc::Layout;
///
/// static RAM: StaticBuffer<8192> = StaticBuffer::new();
/// let record = Layout::from_size_align(100, 64)?; // say, from a file's header
/// let records = UntypedCache::<_, AlignedSlabs<_, 4096>>::with_layout(&RAM, record, |bytes| {
///     bytes.iter_mut().for_each(|byte| { byte.write(b' '); });
/// })?;
/// let slot = records.alloc_slot()?;
/// assert_eq!(slot.addr().get() % 64, 0);
/// // SAFETY: the slot is ours, and was filled.
/// assert_eq!(unsafe { slot.add(99).read() }, b' ');
/// // SAFETY: the same.
/// unsafe { slot.write(b'A') };
/// // SAFETY: it was handed out by this cache, and is not used again.
/// unsafe { records.free_slot(slot) };
/// // SAFETY: the slot is ours again, as it came back.
/// assert_eq!(unsafe { records.alloc_slot()?.read() }, b'A');
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct UntypedCache<F, S, L = NoLock, R = KeepAll, const FRONT: usize = 128>
where
    F: Fn(&mut [MaybeUninit<u8>]),
    S: SlabSystem,
    L: Lock,
    R: Retention,
{
    core: Locked<SlabCore<S, KeptAtRunTime, R, FRONT>, L>,
    init: F,
    /// The core's, to be told without its lock.
    layout: Layout,
}

impl<F, S, L, R, const FRONT: usize> UntypedCache<F, S, L, R, FRONT>
where
    F: Fn(&mut [MaybeUninit<u8>]),
    S: SlabSystem,
    L: Lock,
    R: Retention,
{
    /// A cache over `source` for slots of this layout, which `init` makes ready for their first use. It takes no memory until it is used.
    ///
    /// # Errors
    /// When no slab can hold such a slot, the source can't align such slabs, or their bookkeeping overwrites what is free
    /// ([`IntrusiveList`](crate::slab::IntrusiveList)).
    pub fn with_layout(source: S::Source, layout: Layout, init: F) -> Result<Self, ShapeError> {
        let slot = KeptAtRunTime::new::<S>(layout)?;
        let shape = slot.shape::<S, Unchecked>();
        let layout =
            Layout::from_size_align(shape.stride(), shape.align()).map_err(|_| ShapeError::TooLarge)?;
        Ok(UntypedCache { core: Locked::new(SlabCore::with_slot(source, slot)), init, layout })
    }

    /// Runs `work` on the core, which is locked; the default of `V` on re-entry.
    fn locked<V: Default>(&self, work: impl FnOnce(&mut SlabCore<S, KeptAtRunTime, R, FRONT>) -> V) -> V {
        // SAFETY: the closures in this file call nothing but the core, leave it in its place and do not unwind.
        unsafe { self.core.enter(work) }.unwrap_or_default()
    }

    /// Makes a raw slot ready; if that unwinds, the slot goes back raw.
    #[cold]
    #[inline(never)]
    fn make(&self, slot: NonNull<u8>) {
        let raw = Raw { cache: self, slot };
        let bytes = ptr::slice_from_raw_parts_mut(slot.as_ptr().cast(), self.layout.size());
        // SAFETY: the slot is this long, and ours alone; a `MaybeUninit` may be anything.
        (self.init)(unsafe { &mut *bytes });
        mem::forget(raw);
    }

    /// Gives slabs without live slots back to the source until `keep` of them are left, slots at hand included; says how many went.
    pub fn trim(&self, keep: usize) -> usize {
        self.locked(|core| {
            core.flush() + release(core, Wanted::Beyond(keep)) + release(core, Wanted::Surplus)
        })
    }

    /// Gives all slabs without live slots back to the source; says how many went.
    pub fn reap(&self) -> usize {
        self.trim(0)
    }

    /// Lets the retention policy look again, for a program that has gone quiet; says how many slabs went.
    pub fn tick(&self) -> usize {
        self.locked(|core| core.tick() + release(core, Wanted::Surplus))
    }

    /// How many slots and slabs there are. O(1). All zero on re-entry.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        self.locked(|core| core.stats())
    }

    /// How full the slabs are, in bytes. O(1). All zero on re-entry.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.core.usage()
    }

    /// The slabs, as [`ObjectCache::slabs`](super::ObjectCache::slabs).
    pub fn slabs(&self) -> impl Iterator<Item = SlabStats> {
        (0..).map_while(|number| self.locked(|core| core.slab(number)))
    }

    /// What is used and free, as [`ObjectCache::chunks`](super::ObjectCache::chunks).
    pub fn chunks(&self) -> impl Iterator<Item = Chunk> {
        self.core.chunks()
    }

    /// Checks all that the cache believes about its slabs. `Ok` on re-entry.
    ///
    /// # Errors
    /// The first rule found broken.
    pub fn verify(&self) -> Result<(), Corruption> {
        self.core.verify()
    }

    /// Takes slots back, and releases the slabs that the policy then wants gone.
    ///
    /// # Safety
    /// All are slots of this cache that have not come back yet; `kept` says whether they were made ready.
    unsafe fn put(&self, slots: &[NonNull<u8>], kept: bool) {
        self.locked(|core| {
            // SAFETY: the caller's promise is the same.
            unsafe { core.put(slots, kept) };
            release(core, Wanted::Surplus);
        });
    }
}

/// Releases slabs without live slots as long as there are any of those `wanted`; says how many. Nothing in them has to be destroyed.
fn release<S: SlabSystem, R: Retention, const FRONT: usize>(
    core: &mut SlabCore<S, KeptAtRunTime, R, FRONT>,
    wanted: Wanted,
) -> usize {
    let mut count = 0;
    while let Some(slab) = core.detach(wanted) {
        // SAFETY: the slab has just been detached, and nobody needs what its free slots hold.
        unsafe { core.release(slab) };
        count += 1;
    }
    count
}

/// A slot that goes back raw when this is dropped.
struct Raw<'a, F, S, L, R, const FRONT: usize>
where
    F: Fn(&mut [MaybeUninit<u8>]),
    S: SlabSystem,
    L: Lock,
    R: Retention,
{
    cache: &'a UntypedCache<F, S, L, R, FRONT>,
    /// Out, and nobody else's.
    slot: NonNull<u8>,
}

impl<F, S, L, R, const FRONT: usize> Drop for Raw<'_, F, S, L, R, FRONT>
where
    F: Fn(&mut [MaybeUninit<u8>]),
    S: SlabSystem,
    L: Lock,
    R: Retention,
{
    fn drop(&mut self) {
        // SAFETY: the field's invariant.
        unsafe { self.cache.put(&[self.slot], false) };
    }
}

// SAFETY: U1: Y1; the core releases no slab with live slots. U2: set once. U3: a raw slot is made ready before it goes out, and what comes
// back is kept as it is (Y6). U4: `make` gives back what is not made. U5: Y5.
unsafe impl<F, S, L, R, const FRONT: usize> UntypedObjectAlloc for UntypedCache<F, S, L, R, FRONT>
where
    F: Fn(&mut [MaybeUninit<u8>]),
    S: SlabSystem,
    L: Lock,
    R: Retention,
{
    fn slot_layout(&self) -> Layout {
        self.layout
    }

    #[inline]
    fn alloc_slot(&self) -> Result<NonNull<u8>, AllocError> {
        // SAFETY: `pop` calls nothing and does not unwind. What is at hand has been made ready.
        if let Some(Some(slot)) = unsafe { self.core.at_hand(SlabCore::pop) } {
            return Ok(slot);
        }
        // SAFETY: the closure only calls the core.
        let (slot, kept) = unsafe { self.core.enter(SlabCore::take) }??;
        if !kept {
            self.make(slot);
        }
        Ok(slot)
    }

    #[inline]
    unsafe fn free_slot(&self, slot: NonNull<u8>) {
        // SAFETY: the caller's promise is the same.
        let push = |core: &mut SlabCore<S, KeptAtRunTime, R, FRONT>| unsafe { core.push(slot) };
        // SAFETY: `push` calls nothing and does not unwind.
        if unsafe { self.core.at_hand(push) } == Some(true) {
            return;
        }
        self.locked(|core| {
            // SAFETY: the caller's promise is the same.
            unsafe { core.give(slot) };
            release(core, Wanted::Surplus);
        });
    }

    fn alloc_slots(&self, out: &mut [MaybeUninit<NonNull<u8>>]) -> Result<usize, AllocError> {
        // SAFETY: the closure only calls the core.
        let taken = unsafe { self.core.enter(|core| core.take_some(out)) }??;
        if !taken.constructed {
            let first = out.first().ok_or(AllocError)?;
            // SAFETY: a raw slot has come alone, in the first place.
            self.make(unsafe { first.assume_init() });
        }
        Ok(taken.count)
    }

    unsafe fn free_slots(&self, slots: &[NonNull<u8>]) {
        // SAFETY: the caller's promise: what was handed out was made ready.
        unsafe { self.put(slots, true) };
    }
}

impl<F, S, L, R, const FRONT: usize> fmt::Debug for UntypedCache<F, S, L, R, FRONT>
where
    F: Fn(&mut [MaybeUninit<u8>]),
    S: SlabSystem,
    L: Lock,
    R: Retention,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UntypedCache").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl<F, S, L, R, const FRONT: usize> Describe for UntypedCache<F, S, L, R, FRONT>
where
    F: Fn(&mut [MaybeUninit<u8>]),
    S: SlabSystem + Describe,
    L: Lock + Describe,
    R: Retention + Describe,
{
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let cost = Cost::state_around::<Self, (F, S, S::Source, L, R)>();
        let parts: [Child<'_>; 4] = [
            ("lock", L::describe),
            ("slots", describe_slots::<F>),
            ("slabs", S::describe),
            ("free slabs", R::describe),
        ];
        tree.part(format_args!("UntypedCache, {}", AtHand(FRONT, true)), cost, &parts)
    }
}

/// What the slots are.
fn describe_slots<F>(tree: &mut Tree<'_>) -> fmt::Result {
    let what = format_args!("of a layout known when the cache is made, made ready once (1 bit per slot)");
    tree.part(what, Cost::state_of::<F>(), &[])
}
