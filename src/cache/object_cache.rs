//! Caches of constructed objects.

use core::alloc::Layout;
use core::convert::Infallible;
use core::fmt;
use core::marker::PhantomData;
use core::mem::{self, MaybeUninit};
use core::ptr::NonNull;

use super::front::{AtHand, Wanted};
use super::init::{DefaultInit, Init, NewObjectError};
use super::obj::Obj;
use super::object_alloc::{ObjectAlloc, UntypedObjectAlloc};
use super::retention::{KeepAll, Retention};
use super::slab_cache::{CacheStats, SlabCore, SlabStats};
use super::slot::{ConstSlot, Constructed, Slot};
use crate::AllocError;
use crate::check::Unchecked;
use crate::describe::{Child, Cost, Describe, Tree, name};
use crate::heap::{Chunk, Corruption, Locked, SharedHeap, Usage};
use crate::lock::{Lock, NoLock};
use crate::slab::{Slab, SlabSystem};

/// A cache of objects of type `T` that stay constructed between uses (Bonwick 1994).
///
/// An object is made by `I` when it is first handed out. When its handle is dropped it goes back as it is (reset, if `I` has
/// a hook), buffers and locks and all, and comes out again in that state. Its destructor runs once, when the slab that it lies in is
/// released: by the retention policy `R`, by [`trim`](ObjectCache::trim) and [`reap`](ObjectCache::reap), or with the cache.
/// Choose it for objects that cost more to make than to reuse, and for nodes of one type. The other parameters are those of
/// [`SlabCache`](super::SlabCache).
///
/// Initialisers, reset hooks and destructors run while no lock is held, and may use the cache. One that unwinds loses nothing: an object
/// that was not made goes back as raw memory, one whose reset unwound is destroyed, and a destructor that unwinds stops
/// neither the others of its slab nor the slab's release. (If a second one of that slab unwinds meanwhile, the program aborts, as with the
/// items of a `Vec`.)
///
/// # Dropping the cache
/// Handles borrow the cache, so it outlives them. Objects whose handles were leaked (`mem::forget`, [`Obj::into_raw`]) are left as they are, and
/// their slabs with them: neither destroyed nor given back to the source, for good. All others are destroyed, and their slabs given back.
/// It never panics by itself; a destructor that panics while the thread is unwinding already aborts, as anywhere in Rust.
///
/// Objects are taken from the fullest slab, so one may be made there while constructed ones lie free in emptier slabs: that is what lets
/// those drain. More objects may therefore be made than were ever in use at once, though never more than there is room for.
///
/// Objects are aligned as their type is. For more, put them into a type of yours with `#[repr(align(64))]`, which also keeps two of them
/// from sharing a cache line.
///
/// It takes no policy of [checks](crate::check): handles are safe, and what is kept constructed can be neither zeroed nor enclosed. What comes back by `unsafe`
/// calls ([`free_slot`](UntypedObjectAlloc::free_slot), [`Obj::from_raw`]) is taken at its word.
///
/// Cost: the fast path of an allocation and of a free is an array's pop and push under the lock. With [`Bitmap`](crate::slab::Bitmap) two
/// bits per object, one if nothing is kept ([`Uninit`](super::Uninit)).
///
/// ```
/// use heapwright::cache::{FnInit, ObjectCache};
/// use heapwright::lock::SpinLock;
/// use heapwright::slab::AlignedSlabs;
/// use heapwright::source::StaticBuffer;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// static RAM: StaticBuffer<8192> = StaticBuffer::new();
/// static MADE: AtomicUsize = AtomicUsize::new(0);
/// let make = || {
///     MADE.fetch_add(1, Ordering::Relaxed);
///     Vec::<u64>::with_capacity(64)
/// };
/// let cache = ObjectCache::<Vec<u64>, _, AlignedSlabs<_, 2048>, SpinLock>::new(&RAM, FnInit(make));
/// for round in 0..100 {
///     let mut numbers = cache.alloc()?;
///     numbers.clear();
///     numbers.push(round);
/// }
/// assert_eq!(MADE.load(Ordering::Relaxed), 1, "99 allocations of a buffer saved");
/// assert_eq!(cache.reap(), 1);
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// Constructed objects need bookkeeping that leaves them alone:
/// ```compile_fail,E0080
/// use heapwright::cache::{DefaultInit, ObjectCache};
/// use heapwright::slab::{AlignedSlabs, IntrusiveList};
/// use heapwright::source::StaticBuffer;
/// static RAM: StaticBuffer<8192> = StaticBuffer::new();
/// // "an intrusive list overwrites free objects, so they can't stay constructed: use `Bitmap` .."
/// let cache = ObjectCache::<String, DefaultInit, AlignedSlabs<_, 2048, IntrusiveList>>::new(&RAM, DefaultInit);
/// let text = cache.alloc();
/// ```
pub struct ObjectCache<T, I, S, L = NoLock, R = KeepAll, const FRONT: usize = 128>
where
    I: Init<T>,
    S: SlabSystem,
    L: Lock,
    R: Retention,
{
    core: Locked<SlabCore<S, Constructed<T, I>, R, FRONT>, L>,
    init: I,
    objects: PhantomData<T>,
}

// SAFETY: objects move between threads (`T: Send`), and the initialiser is used by all of them (`I: Sync`); all else is behind the lock, if
// it may be shared. No `&T` is ever given to two threads by the cache itself.
unsafe impl<T, I, S, L, R, const FRONT: usize> Sync for ObjectCache<T, I, S, L, R, FRONT>
where
    T: Send,
    I: Init<T> + Sync,
    S: SlabSystem + Send,
    S::Source: Send,
    L: Lock + Sync,
    R: Retention + Send,
{
}

/// As its parameters say: what all methods need.
impl<T, I, S, L, R, const FRONT: usize> ObjectCache<T, I, S, L, R, FRONT>
where
    I: Init<T>,
    S: SlabSystem,
    L: Lock,
    R: Retention,
{
    /// A cache over `source`, whose objects `init` makes. It takes no memory until it is used.
    #[must_use]
    pub const fn new(source: S::Source, init: I) -> Self {
        ObjectCache { core: Locked::new(SlabCore::new(source)), init, objects: PhantomData }
    }

    /// An object, handled, with the initialiser's error if it fails.
    ///
    /// # Errors
    /// When the source has no more, on re-entry, or when the initialiser fails.
    #[inline]
    pub fn try_alloc(&self) -> Result<Obj<'_, T, Self>, NewObjectError<I::Error>> {
        let object = self.obtain()?;
        // SAFETY: the object is of this cache, valid, and nobody else's.
        Ok(unsafe { Obj::from_raw(object, self) })
    }

    /// An object, handled.
    ///
    /// # Errors
    /// When the source has no more, or on re-entry.
    #[inline]
    pub fn alloc(&self) -> Result<Obj<'_, T, Self>, AllocError>
    where
        I: Init<T, Error = Infallible>,
    {
        self.try_alloc().map_err(|_| AllocError)
    }

    /// An object, made if it is raw.
    #[inline(always)]
    fn obtain(&self) -> Result<NonNull<T>, NewObjectError<I::Error>> {
        // SAFETY: `pop` calls nothing and does not unwind. What is at hand is constructed.
        if let Some(Some(object)) = unsafe { self.core.at_hand(SlabCore::pop) } {
            return Ok(object.cast());
        }
        self.obtain_from_slabs()
    }

    /// As [`obtain`](ObjectCache::obtain), if nothing is at hand, or that can't be told without locking.
    #[inline]
    fn obtain_from_slabs(&self) -> Result<NonNull<T>, NewObjectError<I::Error>> {
        // SAFETY: the closure only calls the core.
        let (object, constructed) = unsafe { self.core.enter(SlabCore::take) }
            .and_then(|taken| taken)
            .map_err(NewObjectError::Alloc)?;
        let object = object.cast::<T>();
        if I::KEEPS && !constructed {
            self.make(object)?;
        }
        Ok(object)
    }

    /// Makes the object in a raw slot; if that fails or unwinds, the slot goes back raw.
    #[cold]
    #[inline(never)]
    fn make(&self, mut object: NonNull<T>) -> Result<(), NewObjectError<I::Error>> {
        let raw = Raw { cache: self, object };
        // SAFETY: the slot is as large and aligned as a `T`, and ours alone; a `MaybeUninit` may be anything.
        let place = unsafe { object.cast::<MaybeUninit<T>>().as_mut() };
        self.init.init(place).map_err(NewObjectError::Init)?;
        // SAFETY: I1 has just made it; this only takes its address.
        let _ = unsafe { object.as_mut() };
        mem::forget(raw);
        Ok(())
    }

    /// Empties and releases the slabs that the policy wants gone.
    #[cold]
    #[inline(never)]
    fn release_surplus(&self) {
        self.release(usize::MAX, Wanted::Surplus);
    }

    /// Destroys the objects of slabs and releases these, for as long as there is one of those `wanted`, but no more than `most`; says how
    /// many. If a destructor unwinds, the slab at hand is dealt with first, and those not yet begun stay.
    fn release(&self, most: usize, wanted: Wanted) -> usize {
        for count in 0..most {
            let Some(slab) = self.locked(|core| core.detach(wanted)) else { return count };
            drop(Emptied { cache: self, slab: Some(slab) });
        }
        most
    }

    /// Runs `work` on the core, which is locked; the default of `V` on re-entry.
    fn locked<V: Default>(&self, work: impl FnOnce(&mut SlabCore<S, Constructed<T, I>, R, FRONT>) -> V) -> V {
        // SAFETY: the closures in this file call nothing but the core, leave it in its place and do not unwind.
        unsafe { self.core.enter(work) }.unwrap_or_default()
    }

    /// Destroys free objects and gives slabs without live ones back to the source, until `keep` of these are left; says how many went.
    ///
    /// # Panics
    /// If a destructor does; the slab is released all the same.
    pub fn trim(&self, keep: usize) -> usize {
        let gone = self.locked(SlabCore::flush);
        // Slabs that destructors make free while this goes on are not waited for.
        let slabs = self.stats().slabs;
        // What the policy wants gone goes as well.
        gone + self.release(slabs, Wanted::Beyond(keep)) + self.release(slabs, Wanted::Surplus)
    }

    /// Gives all slabs without live objects back to the source; says how many went.
    ///
    /// # Panics
    /// If a destructor does; the slab is released all the same.
    pub fn reap(&self) -> usize {
        self.trim(0)
    }

    /// Lets the retention policy look again, for a program that has gone quiet; says how many slabs went.
    ///
    /// # Panics
    /// If a destructor does; the slab is released all the same.
    pub fn tick(&self) -> usize {
        let gone = self.locked(SlabCore::tick);
        gone + self.release(self.stats().slabs, Wanted::Surplus)
    }

    /// How many objects and slabs there are. O(1). All zero on re-entry.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        self.locked(|core| core.stats())
    }

    /// How full the slabs are, in bytes. O(1). All zero on re-entry.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.core.usage()
    }

    /// The source that the slabs come from, to look at: the numbers of a [`Counted`](crate::source::Counted), say.
    #[must_use]
    pub fn source(&mut self) -> &S::Source {
        self.core.get_mut().source()
    }

    /// The slabs, in no particular order. Each step takes the lock, and O(slabs) to find its place: with other threads at work slabs
    /// may be missed or seen twice.
    pub fn slabs(&self) -> impl Iterator<Item = SlabStats> {
        (0..).map_while(|number| self.locked(|core| core.slab(number)))
    }

    /// What is used and free, slab by slab, for a [`HeapMap`](crate::heap::HeapMap). The first step puts the objects at hand back to
    /// their slabs, as none is in use.
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

    /// The initialiser.
    #[must_use]
    pub const fn init(&self) -> &I {
        &self.init
    }
}

impl<T: Default, S, L, R, const FRONT: usize> ObjectCache<T, DefaultInit, S, L, R, FRONT>
where
    S: SlabSystem,
    L: Lock,
    R: Retention,
{
    /// A cache over `source` whose objects are made by `Default`.
    #[must_use]
    pub const fn over(source: S::Source) -> Self {
        Self::new(source, DefaultInit)
    }
}

/// A slot that goes back raw when this is dropped.
struct Raw<'a, T, I: Init<T>, S: SlabSystem, L: Lock, R: Retention, const FRONT: usize> {
    cache: &'a ObjectCache<T, I, S, L, R, FRONT>,
    /// Out, and nobody else's.
    object: NonNull<T>,
}

impl<T, I: Init<T>, S: SlabSystem, L: Lock, R: Retention, const FRONT: usize> Drop
    for Raw<'_, T, I, S, L, R, FRONT>
{
    fn drop(&mut self) {
        // SAFETY: the field's invariant.
        unsafe { self.cache.free_uninit(self.object) };
    }
}

/// A detached slab whose objects are destroyed when this is dropped, and that is then released.
struct Emptied<'a, T, I: Init<T>, S: SlabSystem, L: Lock, R: Retention, const FRONT: usize> {
    cache: &'a ObjectCache<T, I, S, L, R, FRONT>,
    /// `None` once it is released.
    slab: Option<Slab>,
}

impl<T, I: Init<T>, S: SlabSystem, L: Lock, R: Retention, const FRONT: usize>
    Emptied<'_, T, I, S, L, R, FRONT>
{
    /// Destroys what is left of the objects.
    fn destroy_objects(&self) {
        // SAFETY: the slab was detached from this cache.
        let next = |slab| self.cache.locked(|core| unsafe { core.next_constructed(slab) });
        while let Some(object) = self.slab.as_ref().and_then(next) {
            // SAFETY: a constructed object that is free, and that is given once.
            unsafe { object.cast::<T>().drop_in_place() };
        }
    }
}

impl<T, I: Init<T>, S: SlabSystem, L: Lock, R: Retention, const FRONT: usize> Drop
    for Emptied<'_, T, I, S, L, R, FRONT>
{
    fn drop(&mut self) {
        /// Destroys the others when a destructor has unwound, and releases the slab in any case.
        struct Rest<'a, 'b, T, I: Init<T>, S: SlabSystem, L: Lock, R: Retention, const FRONT: usize>(
            &'b mut Emptied<'a, T, I, S, L, R, FRONT>,
        );
        impl<T, I: Init<T>, S: SlabSystem, L: Lock, R: Retention, const FRONT: usize> Drop
            for Rest<'_, '_, T, I, S, L, R, FRONT>
        {
            fn drop(&mut self) {
                self.0.destroy_objects();
                let slab = self.0.slab.take();
                // SAFETY: the slab was detached from this cache, and its free objects are destroyed.
                self.0.cache.locked(|core| slab.map(|slab| unsafe { core.release(slab) }));
            }
        }
        let rest = Rest(self);
        rest.0.destroy_objects();
    }
}

impl<T, I, S, L, R, const FRONT: usize> Drop for ObjectCache<T, I, S, L, R, FRONT>
where
    I: Init<T>,
    S: SlabSystem,
    L: Lock,
    R: Retention,
{
    fn drop(&mut self) {
        /// Goes on with the other slabs when a destructor has unwound.
        struct Rest<'a, T, I: Init<T>, S: SlabSystem, L: Lock, R: Retention, const FRONT: usize>(
            &'a ObjectCache<T, I, S, L, R, FRONT>,
        );
        impl<T, I: Init<T>, S: SlabSystem, L: Lock, R: Retention, const FRONT: usize> Drop
            for Rest<'_, T, I, S, L, R, FRONT>
        {
            fn drop(&mut self) {
                self.0.release(usize::MAX, Wanted::Any);
            }
        }
        if !I::KEEPS || !mem::needs_drop::<T>() {
            return; // The core gives the slabs back.
        }
        self.locked(SlabCore::flush);
        let rest = Rest(self);
        rest.0.release(usize::MAX, Wanted::Any);
    }
}

// SAFETY: U1: Y1; the core releases no slab with live objects. U2: a constant. U3: objects come constructed, by I1 or as they came back. U4:
// `make` gives back what is not made.
unsafe impl<T, I, S, L, R, const FRONT: usize> UntypedObjectAlloc for ObjectCache<T, I, S, L, R, FRONT>
where
    I: Init<T>,
    S: SlabSystem,
    L: Lock,
    R: Retention,
{
    fn slot_layout(&self) -> Layout {
        let shape = Constructed::<T, I>::NEW.shape::<S, Unchecked>();
        Layout::from_size_align(shape.stride(), shape.align()).unwrap_or(Layout::new::<T>())
    }

    #[inline]
    fn alloc_slot(&self) -> Result<NonNull<u8>, AllocError> {
        self.obtain().map(NonNull::cast).map_err(|_| AllocError)
    }

    #[inline]
    unsafe fn free_slot(&self, slot: NonNull<u8>) {
        // SAFETY: the caller's promise: an object of ours that has not come back yet; it holds a `T`.
        let push = |core: &mut SlabCore<S, Constructed<T, I>, R, FRONT>| unsafe { core.push(slot) };
        // SAFETY: `push` calls nothing and does not unwind.
        if unsafe { self.core.at_hand(push) } == Some(true) {
            return;
        }
        let give = |core: &mut SlabCore<S, Constructed<T, I>, R, FRONT>| {
            // SAFETY: the caller's promise: an object of ours that has not come back yet; it holds a `T`.
            unsafe { core.give(slot) };
            core.has_surplus()
        };
        if self.locked(give) {
            self.release_surplus();
        }
    }

    /// Constructed objects as far as there are any at hand or in one slab; otherwise one that is made.
    fn alloc_slots(&self, out: &mut [MaybeUninit<NonNull<u8>>]) -> Result<usize, AllocError> {
        // SAFETY: the closure only calls the core.
        let taken = unsafe { self.core.enter(|core| core.take_some(out)) }??;
        if I::KEEPS && !taken.constructed {
            let first = out.first().ok_or(AllocError)?;
            // SAFETY: a raw object has come alone, in the first place.
            let object = unsafe { first.assume_init() };
            self.make(object.cast()).map_err(|_| AllocError)?;
        }
        Ok(taken.count)
    }

    unsafe fn free_slots(&self, slots: &[NonNull<u8>]) {
        let put = |core: &mut SlabCore<S, Constructed<T, I>, R, FRONT>| {
            // SAFETY: the caller's promise, for each of them.
            unsafe { core.put(slots, true) };
            core.has_surplus()
        };
        if self.locked(put) {
            self.release_surplus();
        }
    }
}

// SAFETY: O1: slots are laid out for `T`. They hold what U3 says, and are dropped when their slab goes, which is after they have come back.
unsafe impl<T, I, S, L, R, const FRONT: usize> ObjectAlloc<T> for ObjectCache<T, I, S, L, R, FRONT>
where
    I: Init<T>,
    S: SlabSystem,
    L: Lock,
    R: Retention,
{
    #[inline]
    fn reset_object(&self, object: &mut T) {
        self.init.reset(object);
    }

    unsafe fn free_uninit(&self, object: NonNull<T>) {
        let put = |core: &mut SlabCore<S, Constructed<T, I>, R, FRONT>| {
            // SAFETY: the caller's promise: an object of ours that has not come back yet.
            unsafe { core.put(&[object.cast()], false) };
            core.has_surplus()
        };
        if self.locked(put) {
            self.release_surplus();
        }
    }
}

impl<T, I, S, L, R, const FRONT: usize> fmt::Debug for ObjectCache<T, I, S, L, R, FRONT>
where
    I: Init<T>,
    S: SlabSystem,
    L: Lock,
    R: Retention,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectCache").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl<T, I, S, L, R, const FRONT: usize> Describe for ObjectCache<T, I, S, L, R, FRONT>
where
    I: Init<T>,
    S: SlabSystem + Describe,
    L: Lock + Describe,
    R: Retention + Describe,
{
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let cost = Cost::state_around::<Self, (I, S, S::Source, L, R)>();
        let parts: [Child<'_>; 4] = [
            ("lock", L::describe),
            ("objects", describe_objects::<T, I>),
            ("slabs", S::describe),
            ("free slabs", R::describe),
        ];
        tree.part(format_args!("ObjectCache, {}", AtHand(FRONT, true)), cost, &parts)
    }
}

/// What the objects are, and how they are made.
fn describe_objects<T, I: Init<T>>(tree: &mut Tree<'_>) -> fmt::Result {
    let (size, align) = (size_of::<T>(), align_of::<T>());
    let kept = if I::KEEPS { "kept constructed (1 bit per object)" } else { "made anew each time" };
    tree.part(
        format_args!("{:#}, {size} bytes aligned to {align}, made by {:#}, {kept}", name::<T>(), name::<I>()),
        Cost::state_of::<I>(),
        &[],
    )
}
