//! A few free objects at hand, in front of a slab system.

use core::fmt;
use core::mem::{self, MaybeUninit};
use core::ptr::{self, NonNull};

use super::retention::Retention;
use super::slab_cache::CacheStats;
use crate::AllocError;
use crate::heap::ChunkKind;
use crate::slab::{Shape, Slab, SlabInfo, SlabSystem, Taken};

/// Room for an object's pointer.
pub(super) type Room = MaybeUninit<NonNull<u8>>;

/// A slab system `S`, up to `FRONT` + 1 free objects of its slabs at hand, and the policy `R` which slabs to keep.
///
/// The objects at hand are free ones that their slabs count as taken: an allocation takes the last, a free puts one behind it.
/// Source and shape come by argument: each call brings the same source, and the one shape, made by [`Shape::new`] from `S::RULES`.
/// If the shape is tracked, all objects at hand are constructed ones.
#[derive(Debug)]
pub(super) struct Fronted<S, R, const FRONT: usize, const HOT: bool> {
    /// An object that came back when there was none here. Where one comes and goes at a time that is the last, and what is wanted next, and
    /// it comes and goes without a count of the others (whose change, read again right away, takes longer than all the rest). `None` if
    /// `FRONT` is 0, or `HOT` false:
    /// where objects of many classes come and go at random, whether there is one is a coin's toss, and a branch that goes wrong half of
    /// the time takes longer still.
    hot: Option<NonNull<u8>>,
    /// How many more objects are at hand: `front[..top]` are free objects of ours, as is `hot`. At most `FRONT`.
    top: usize,
    front: [Room; FRONT],
    slabs: Slabs<S, R>,
}

/// What is behind the front.
#[derive(Debug)]
struct Slabs<S, R> {
    system: S,
    retention: R,
    /// Slabs that the policy wants gone, and whose objects have to be destroyed first.
    surplus: usize,
    /// The most objects ever taken.
    taken_peak: usize,
}

// SAFETY: the free objects at hand are this value's alone, and no thread's in particular; the other fields may be sent.
unsafe impl<S: Send, R: Send, const FRONT: usize, const HOT: bool> Send for Fronted<S, R, FRONT, HOT> {}

/// Which slab to detach.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    /// One of those that the policy wants gone.
    Surplus,
    /// One without live objects, if there are more than so many.
    Beyond(usize),
    /// One without live objects, or if there is none, any.
    Any,
}

impl<S: SlabSystem, R: Retention> Slabs<S, R> {
    /// Objects of the slabs into `out` from its front; those to be used first come last. Tracked: all constructed, or a raw one; says which.
    ///
    /// # Safety
    /// Source and shape are those of every call.
    #[inline(always)]
    unsafe fn take(
        &mut self,
        source: &mut S::Source,
        shape: &Shape,
        out: &mut [Room],
    ) -> Result<Taken, AllocError> {
        let free = self.system.census().free_slabs;
        // SAFETY: the caller's promise is the same.
        let taken = unsafe { self.system.take(source, shape, out) }?;
        let census = self.system.census();
        self.taken_peak = self.taken_peak.max(census.taken);
        if census.free_slabs < free {
            self.retention.used(census.free_slabs.saturating_sub(self.surplus));
        }
        Ok(taken)
    }

    /// Objects to their slabs, and slabs that are no longer wanted to the source (tracked: they are counted as surplus).
    ///
    /// # Safety
    /// All objects were taken from here and have not come back since; `constructed` is true of all (tracked). Source and shape
    /// are those of every call.
    #[inline(always)]
    unsafe fn put(
        &mut self,
        source: &mut S::Source,
        shape: &Shape,
        objects: &[NonNull<u8>],
        constructed: bool,
    ) {
        let free = self.system.census().free_slabs;
        // SAFETY: the caller's promise is the same.
        unsafe { self.system.put(shape, objects, constructed) };
        if self.system.census().free_slabs > free {
            // SAFETY: the caller's promise is the same.
            unsafe { self.consider(source, shape) };
        }
    }

    /// Asks the policy about the slabs without live objects.
    ///
    /// # Safety
    /// Source and shape are those of every call.
    #[cold]
    #[inline(never)]
    unsafe fn consider(&mut self, source: &mut S::Source, shape: &Shape) {
        let free = self.system.census().free_slabs;
        // Slabs that wait to be released are gone, as far as the policy knows.
        self.surplus = self.surplus.min(free);
        // A policy may say more than there are.
        let kept = free - self.surplus;
        let surplus = self.retention.surplus(kept).min(kept);
        if shape.is_tracked() {
            self.surplus += surplus;
        } else {
            // SAFETY: the caller's promise is the same.
            unsafe { self.release_free(source, shape, surplus) };
        }
    }

    /// Gives back up to `most` slabs without live objects.
    ///
    /// # Safety
    /// Source and shape are those of every call; no object holds anything that has to be destroyed.
    unsafe fn release_free(&mut self, source: &mut S::Source, shape: &Shape, most: usize) {
        for _ in 0..most {
            // SAFETY: the caller's promise is the same.
            let Some(slab) = (unsafe { self.system.detach(shape, false) }) else { break };
            // SAFETY: the slab has just been detached; its objects are raw.
            unsafe { self.system.release(source, shape, slab) };
        }
    }
}

impl<S: SlabSystem, R: Retention, const FRONT: usize, const HOT: bool> Fronted<S, R, FRONT, HOT> {
    /// How many objects move between front and slabs at once.
    const BATCH: usize = FRONT.div_ceil(2);

    /// Without slabs.
    pub(super) const NEW: Self = Fronted {
        hot: None,
        top: 0,
        front: [const { MaybeUninit::uninit() }; FRONT],
        slabs: Slabs { system: S::NEW, retention: R::NEW, surplus: 0, taken_peak: 0 },
    };

    /// An object from those at hand.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<NonNull<u8>> {
        if FRONT == 0 {
            return None;
        }
        if HOT {
            if let Some(object) = self.hot.take() {
                return Some(renewed(object));
            }
        }
        // One comparison for both ends: what comes before 0 is no place either.
        let last = self.top.wrapping_sub(1);
        let place = self.front.get(last)?;
        self.top = last;
        // SAFETY: places below the old top hold objects.
        Some(renewed(unsafe { place.assume_init() }))
    }

    /// Puts an object at hand, if there is room; says whether.
    ///
    /// # Safety
    /// The object was taken from here, and has not come back since (tracked: it is constructed).
    #[inline(always)]
    pub(super) unsafe fn push(&mut self, object: NonNull<u8>) -> bool {
        if FRONT == 0 {
            return false;
        }
        if HOT && self.hot.is_none() {
            self.hot = Some(object);
            return true;
        }
        let Some(place) = self.front.get_mut(self.top) else { return false };
        place.write(object);
        self.top += 1;
        true
    }

    /// An object of the slabs, when none is at hand; what else is at little cost goes to the front. Says whether it is constructed (tracked).
    ///
    /// # Safety
    /// Source and shape are those of every call.
    #[inline(always)]
    pub(super) unsafe fn refill(
        &mut self,
        source: &mut S::Source,
        shape: &Shape,
    ) -> Result<(NonNull<u8>, bool), AllocError> {
        let mut one = [MaybeUninit::uninit()];
        let out = if FRONT == 0 { &mut one[..] } else { &mut self.front[..Self::BATCH] };
        // SAFETY: the caller's promise is the same.
        let taken = unsafe { self.slabs.take(source, shape, out) }?;
        let last = taken.count.checked_sub(1).ok_or(AllocError)?;
        // SAFETY: the system has written so many.
        let object = unsafe { out[last].assume_init() };
        // Raw objects of a tracked shape come alone, so that what stays in front is constructed.
        self.top = if FRONT == 0 { 0 } else { last };
        Ok((object, taken.constructed))
    }

    /// Takes an object back when there is no room in front: the older half goes to the slabs.
    ///
    /// # Safety
    /// As for [`push`](Fronted::push); source and shape are those of every call.
    #[inline(always)]
    pub(super) unsafe fn push_when_full(
        &mut self,
        source: &mut S::Source,
        shape: &Shape,
        object: NonNull<u8>,
    ) {
        if FRONT == 0 {
            // SAFETY: the caller's promise is the same.
            return unsafe { self.slabs.put(source, shape, &[object], true) };
        }
        let batch = Self::BATCH;
        self.top -= batch;
        // SAFETY: the front was full: these places hold objects.
        let older = unsafe { objects(&self.front[..batch]) };
        // SAFETY: they are free objects of ours, and the others move down over them.
        unsafe { self.slabs.put(source, shape, older, true) };
        self.front.copy_within(batch.., 0);
        self.front[FRONT - batch].write(object);
        self.top += 1;
    }

    /// Objects to their slabs, past the front.
    ///
    /// # Safety
    /// All objects were taken from here and have not come back since; `constructed` is true of all (tracked). Source and shape
    /// are those of every call.
    #[inline(always)]
    pub(super) unsafe fn put(
        &mut self,
        source: &mut S::Source,
        shape: &Shape,
        objects: &[NonNull<u8>],
        constructed: bool,
    ) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.slabs.put(source, shape, objects, constructed) };
    }

    /// Fills `out` from its front with objects at hand; if there are none, with some of one slab (tracked: all constructed, or a raw
    /// one; says which).
    ///
    /// # Safety
    /// Source and shape are those of every call.
    #[inline(always)]
    pub(super) unsafe fn take(
        &mut self,
        source: &mut S::Source,
        shape: &Shape,
        out: &mut [Room],
    ) -> Result<Taken, AllocError> {
        let mut count = 0;
        while let Some(place) = out.get_mut(count) {
            let Some(object) = self.pop() else { break };
            place.write(object);
            count += 1;
        }
        if count > 0 {
            return Ok(Taken { count, constructed: true });
        }
        // SAFETY: the caller's promise is the same.
        unsafe { self.slabs.take(source, shape, out) }
    }

    /// All objects at hand to their slabs.
    ///
    /// # Safety
    /// Source and shape are those of every call.
    pub(super) unsafe fn flush(&mut self, source: &mut S::Source, shape: &Shape) {
        let top = mem::take(&mut self.top);
        // SAFETY: places below the old top hold objects.
        let all = unsafe { objects(&self.front[..top]) };
        // SAFETY: they are free objects of ours, and nobody looks there any more.
        unsafe { self.slabs.put(source, shape, all, true) };
        if let Some(object) = self.hot.take() {
            // SAFETY: a free object of ours, now in no other place.
            unsafe { self.slabs.put(source, shape, &[object], true) };
        }
    }

    /// Gives slabs without live objects back to the source until `keep` are left; says how many went.
    ///
    /// # Safety
    /// Source and shape are those of every call; no object holds anything that has to be destroyed.
    pub(super) unsafe fn trim(&mut self, source: &mut S::Source, shape: &Shape, keep: usize) -> usize {
        let slabs = self.system().census().slabs;
        // SAFETY: the caller's promise is the same. The policy may release some on the occasion.
        unsafe { self.flush(source, shape) };
        let surplus = self.system().census().free_slabs.saturating_sub(keep);
        // SAFETY: the caller's promise is the same.
        unsafe { self.slabs.release_free(source, shape, surplus) };
        self.slabs.retention.used(self.system().census().free_slabs);
        slabs - self.system().census().slabs
    }

    /// Lets the policy look again; says how many slabs went (tracked: none, they are counted as surplus).
    ///
    /// # Safety
    /// Source and shape are those of every call.
    pub(super) unsafe fn tick(&mut self, source: &mut S::Source, shape: &Shape) -> usize {
        let slabs = self.system().census().slabs;
        // SAFETY: the caller's promise is the same.
        unsafe { self.flush(source, shape) };
        // SAFETY: the caller's promise is the same.
        unsafe { self.slabs.consider(source, shape) };
        slabs - self.system().census().slabs
    }

    /// A slab out of use, to be emptied of constructed objects and released.
    ///
    /// # Safety
    /// The shape is that of every call.
    pub(super) unsafe fn detach(&mut self, shape: &Shape, wanted: Wanted) -> Option<Slab> {
        let free = self.system().census().free_slabs;
        match wanted {
            Wanted::Surplus => self.slabs.surplus = self.slabs.surplus.checked_sub(1)?,
            Wanted::Beyond(keep) if free <= keep => {
                self.slabs.retention.used(free);
                return None;
            }
            Wanted::Beyond(_) => self.slabs.surplus = self.slabs.surplus.saturating_sub(1),
            Wanted::Any => {}
        }
        // SAFETY: the caller's promise is the same.
        unsafe { self.slabs.system.detach(shape, matches!(wanted, Wanted::Any)) }
    }

    /// Whether slabs wait to be emptied and released.
    #[inline(always)]
    pub(super) const fn has_surplus(&self) -> bool {
        self.slabs.surplus > 0
    }

    /// Gives back all slabs without live objects, and leaves the others as they are, for good.
    ///
    /// # Safety
    /// Source and shape are those of every call, and no call but for looking follows. Constructed objects have been destroyed.
    pub(super) unsafe fn close(&mut self, source: &mut S::Source, shape: &Shape) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.flush(source, shape) };
        // SAFETY: the caller's promise is the same.
        while let Some(slab) = unsafe { self.detach(shape, Wanted::Any) } {
            // SAFETY: the slab has just been detached; raw memory is of no more use to anybody.
            unsafe { self.slabs.system.release(source, shape, slab) };
        }
        // SAFETY: the caller's promise is the same.
        unsafe { self.slabs.system.close(source, shape) };
    }

    /// How many objects and slabs there are.
    pub(super) fn stats(&self, shape: &Shape) -> CacheStats {
        let census = self.system().census();
        let at_hand = self.top + usize::from(self.hot.is_some());
        CacheStats {
            live: census.taken - at_hand,
            live_peak: self.slabs.taken_peak,
            at_hand,
            capacity: census.capacity,
            slabs: census.slabs,
            free_slabs: census.free_slabs,
            slabs_peak: census.slabs_peak,
            slot_size: shape.stride(),
            bytes_held: census.slabs * shape.slab_size(),
        }
    }

    /// The slabs.
    #[inline(always)]
    pub(super) const fn system(&self) -> &S {
        &self.slabs.system
    }

    /// The slabs, to be changed by their own rules.
    #[inline(always)]
    pub(super) const fn system_mut(&mut self) -> &mut S {
        &mut self.slabs.system
    }
}

/// Places that hold objects, as what they hold.
///
/// # Safety
/// They do.
#[inline(always)]
pub(super) unsafe fn objects(places: &[Room]) -> &[NonNull<u8>] {
    let places = ptr::from_ref(places) as *const [NonNull<u8>];
    // SAFETY: the caller's promise; both types are laid out alike, and the borrow is the same.
    unsafe { &*places }
}

/// The object at the address of `object`, good for all of it: what came back may be a pointer that is good for less.
#[inline(always)]
pub(super) fn renewed(object: NonNull<u8>) -> NonNull<u8> {
    // SAFETY: an object's address is not null. (Y5: its provenance is exposed.)
    unsafe { NonNull::new_unchecked(ptr::with_exposed_provenance_mut(object.addr().get())) }
}

/// What lies at the offset `within` of a slab, and where the next thing begins: all before and behind the objects, or a run of
/// objects that are all free, or all taken.
pub(super) fn stretch(slab: &SlabInfo<'_>, within: usize) -> (ChunkKind, usize) {
    let (start, stride) = (slab.objects_at(), slab.stride());
    if within < start {
        return (ChunkKind::Table, start);
    }
    if within >= start + slab.capacity() * stride {
        return (ChunkKind::Table, slab.len());
    }
    let number = (within - start) / stride;
    let free = slab.is_free(number);
    let same = (number + 1..slab.capacity()).take_while(|&next| slab.is_free(next) == free).count();
    let kind = if free { ChunkKind::Free } else { ChunkKind::Used };
    (kind, start + (number + 1 + same) * stride)
}

/// How many objects a front has room for, in words: `FRONT` and whether it is `HOT`.
pub(super) struct AtHand(pub(super) usize, pub(super) bool);

impl fmt::Display for AtHand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("no objects at hand"),
            front => write!(f, "up to {} objects at hand", front + usize::from(self.1)),
        }
    }
}
