//! A few free objects at hand, in front of a slab system.

use core::fmt;
use core::mem::{self, MaybeUninit};
use core::ptr::{self, NonNull};

use super::retention::Retention;
use super::slab_cache::CacheStats;
use super::watch::SlabChecks;
use crate::AllocError;
use crate::check::{Checks, Dice, Fresh, Switch, Unchecked, Wrong};
use crate::heap::ChunkKind;
use crate::slab::{Census, Lookup, Shape, Slab, SlabInfo, SlabMap, SlabSystem, Taken};

/// Room for an object's pointer.
pub(super) type Room = MaybeUninit<NonNull<u8>>;

/// A slab system `S`, up to `FRONT` + 1 free objects of its slabs at hand, and the policy `R` which slabs to keep.
///
/// The objects at hand are free ones that their slabs count as taken: an allocation takes the last, a free puts one behind it.
/// Source and shape come by argument: each call brings the same source, and the one shape, made by [`Shape::new`] from `S::RULES`.
/// If the shape is tracked, all objects at hand are constructed ones, and the policy `P` looks at nothing.
pub(super) struct Fronted<S, R, const FRONT: usize, const HOT: bool, P: Checks = Unchecked> {
    /// An object that came back when there was none here. Where one comes and goes at a time that is the last, and what is wanted next, and
    /// it comes and goes without a count of the others (whose change, read again right away, takes longer than all the rest). `None` if
    /// `FRONT` is 0, or `HOT` false:
    /// where objects of many classes come and go at random, whether there is one is a coin's toss, and a branch that goes wrong half of
    /// the time takes longer still.
    hot: Option<NonNull<u8>>,
    /// How many more objects are at hand: `front[..top]` are free objects of ours, as is `hot`. At most `FRONT`.
    top: usize,
    front: [Room; FRONT],
    slabs: Slabs<S, R, P>,
}

/// What is behind the front.
struct Slabs<S, R, P: Checks> {
    system: S,
    retention: R,
    /// Slabs that the policy wants gone, and whose objects have to be destroyed first.
    surplus: usize,
    /// The most objects ever taken.
    taken_peak: usize,
    known: <P::Frees as Switch>::Of<Known>,
}

/// What is remembered about slabs whose objects are looked at when they come back.
struct Known {
    /// The slabs, of systems that would have to walk; those of which there was no memory to remember them are missing.
    map: SlabMap,
    dice: Dice,
    /// A free object that was written to, found where its slab takes it for a link, and how many there were: a call that takes from several slabs may find some.
    damaged: Option<(NonNull<u8>, usize)>,
}

impl Fresh for Known {
    const NEW: Self = Known { map: SlabMap::NEW, dice: Dice::NEW, damaged: None };
}

// SAFETY: the free objects at hand are this value's alone, and no thread's in particular, as is what is known about slabs; the other fields may be sent.
unsafe impl<S: Send, R: Send, const FRONT: usize, const HOT: bool, P: Checks> Send
    for Fronted<S, R, FRONT, HOT, P>
{
}

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

impl<S: SlabSystem, R: Retention, P: Checks> Slabs<S, R, P> {
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
        const {
            assert!(
                !P::RESTORES || S::RULES.restores(),
                "free objects of this slab system hold links in the clear: name the policy of checks in the bookkeeping too, `IntrusiveList<Hardened>`, or use `Bitmap` or `IndexStack`"
            );
        }
        let before = self.system.census();
        let free = before.free_slabs;
        // SAFETY: the caller's promise is the same.
        let taken = unsafe { self.system.take(source, shape, out) }?;
        let census = self.system.census();
        let first = out.iter().take(taken.count).next();
        if let (Some(known), Some(first)) = (P::Frees::get_mut(&mut self.known), first) {
            // SAFETY: so many have been written.
            let first = unsafe { first.assume_init() };
            // SAFETY: the caller's promise; the objects have just been taken.
            unsafe { known.learn::<S, P>(&self.system, source, shape, first, &before) };
        }
        self.taken_peak = self.taken_peak.max(census.taken);
        if census.free_slabs < free {
            // What is used again does not wait to be released.
            self.surplus = self.surplus.min(census.free_slabs);
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
            // SAFETY: the caller's promise is the same.
            unsafe { self.forget(source, shape, &slab) };
            // SAFETY: the slab has just been detached; its objects are raw.
            unsafe { self.system.release(source, shape, slab) };
        }
    }
}

impl Known {
    /// Notes what a take has changed: a new slab, and objects that were lost.
    ///
    /// # Safety
    /// Source and shape are those of every call; `first` is one of what was taken since there was `before`, none of which is anybody's yet.
    unsafe fn learn<S: SlabSystem, P: Checks>(
        &mut self,
        system: &S,
        source: &mut S::Source,
        shape: &Shape,
        first: NonNull<u8>,
        before: &Census,
    ) {
        let is_new = system.census().slabs > before.slabs;
        if !is_new && !P::ENCODE {
            return;
        }
        // SAFETY: the object lies in a slab.
        let Some(slab) = (unsafe { system.slab_of(shape, first.addr().get()) }) else { return };
        // Objects come from one slab at a time.
        if is_new {
            if P::ZEROES && !S::RULES.is_zeroed() {
                // SAFETY: no object of a new slab is anybody's.
                unsafe { slab.first_object().write_bytes(0, slab.capacity() * slab.stride()) };
            }
            let base = slab.base();
            // SAFETY: the map has seen this source and this length only.
            if S::LOOKUP == Lookup::Walk && unsafe { self.map.reserve(source, shape.slab_size()) }.is_ok() {
                // SAFETY: there is room for one more, and the slab is new, and overlaps none.
                unsafe { self.map.insert(base, shape.slab_size()) };
            }
        }
        if P::ENCODE && slab.is_damaged() {
            let (damaged, count) = self.damaged.unwrap_or((first, 0));
            self.damaged = Some((damaged, count + 1));
            if P::ZEROES {
                // What is told once is not told again.
                // SAFETY: the object has just been taken, and is nobody's.
                unsafe { first.write_bytes(0, shape.stride()) };
            }
        }
    }
}

/// What is known about slabs whose objects are looked at when they come back.
impl<S: SlabSystem, R: Retention, P: Checks> Slabs<S, R, P> {
    /// Forgets a slab that is released, if it was remembered.
    ///
    /// # Safety
    /// Source and shape are those of every call.
    unsafe fn forget(&mut self, source: &mut S::Source, shape: &Shape, slab: &Slab) {
        let (Some(known), Some(base)) = (P::Frees::get_mut(&mut self.known), slab.base()) else { return };
        if let Some(slab) = known.map.find(base.addr().get(), shape.slab_size()) {
            // SAFETY: it is in the map, which has seen this source and this length only.
            unsafe { known.map.remove(source, slab, shape.slab_size()) };
        }
    }

    /// The slab in which an address lies, which may be anything.
    ///
    /// # Safety
    /// The shape is that of every call.
    unsafe fn slab_at(&self, shape: &Shape, address: usize) -> Option<SlabInfo<'_>> {
        let known = P::Frees::get(&self.known)?;
        let mapped = S::LOOKUP == Lookup::Walk;
        if mapped && known.map.find(address, shape.slab_size()).is_some() {
            // SAFETY: it lies in a slab; the caller's promise.
            return unsafe { self.system.slab_of(shape, address) };
        }
        if mapped && known.map.len() == self.system.census().slabs {
            return None;
        }
        // SAFETY: the caller's promise is the same.
        unsafe { self.system.slab_at(shape, address) }
    }

    /// An object of one slab, by chance, where none is kept at hand.
    ///
    /// # Safety
    /// Source and shape are those of every call.
    unsafe fn draw(&mut self, source: &mut S::Source, shape: &Shape) -> Result<NonNull<u8>, AllocError> {
        let mut some = [const { MaybeUninit::uninit() }; SOME];
        let peak = self.taken_peak;
        // SAFETY: the caller's promise is the same.
        let taken = unsafe { self.take(source, shape, &mut some) }?;
        let last = taken.count.checked_sub(1).ok_or(AllocError)?;
        let drawn = P::Frees::get(&self.known).map_or(last, |known| known.dice.below(taken.count));
        some.swap(drawn, last);
        // SAFETY: so many have been written.
        let rest = unsafe { objects(&some[..last]) };
        // SAFETY: they have just been taken.
        unsafe { self.system.put(shape, rest, true) };
        self.taken_peak = peak.max(self.system.census().taken);
        // SAFETY: it has been written.
        Ok(unsafe { some[last].assume_init() })
    }
}

/// Of how many objects one is drawn where none are kept at hand.
const SOME: usize = 16;

/// What a policy has looked at, and what it leaves to chance.
impl<S: SlabSystem, R: Retention, const FRONT: usize, const HOT: bool, P: Checks>
    Fronted<S, R, FRONT, HOT, P>
{
    /// The fewest objects at hand of which one is drawn.
    const LEAST: usize = if P::RESTS { Self::BATCH } else { 1 };

    /// One of the objects at hand, by chance.
    fn draw(&mut self) -> Option<NonNull<u8>> {
        let known = P::Frees::get(&self.slabs.known)?;
        let last = self.top.checked_sub(1)?;
        self.front.swap(known.dice.below(self.top), last);
        self.top = last;
        // SAFETY: places below the old top hold objects.
        Some(renewed(unsafe { self.front[last].assume_init() }))
    }

    /// As [`refill`](Fronted::refill), when fewer than `LEAST` are at hand, or none can be.
    ///
    /// # Safety
    /// The same.
    unsafe fn refill_and_draw(
        &mut self,
        source: &mut S::Source,
        shape: &Shape,
    ) -> Result<NonNull<u8>, AllocError> {
        if FRONT == 0 {
            // SAFETY: the caller's promise is the same.
            return unsafe { self.slabs.draw(source, shape) };
        }
        let room = self.front.get_mut(self.top..self.top + Self::BATCH);
        // SAFETY: the caller's promise is the same.
        let taken = room.and_then(|out| unsafe { self.slabs.take(source, shape, out) }.ok());
        // If there are no more, those at hand have to do.
        self.top += taken.map_or(0, |taken| taken.count);
        self.draw().ok_or(AllocError)
    }

    /// As [`take`](Fronted::take), each by chance.
    ///
    /// # Safety
    /// The same.
    unsafe fn draw_some(
        &mut self,
        source: &mut S::Source,
        shape: &Shape,
        out: &mut [Room],
    ) -> Result<Taken, AllocError> {
        let mut count = 0;
        while let Some(place) = out.get_mut(count) {
            let object = match self.pop() {
                Some(object) => Ok(object),
                // SAFETY: the caller's promise is the same.
                None => unsafe { self.refill_and_draw(source, shape) },
            };
            let Ok(object) = object else { break };
            place.write(object);
            count += 1;
        }
        if count == 0 { Err(AllocError) } else { Ok(Taken { count, constructed: true }) }
    }

    /// Whether a live object of ours begins at an address, which may be anything. O(`FRONT`), and what the slab system takes.
    ///
    /// # Errors
    /// What is wrong with it.
    ///
    /// # Safety
    /// The shape is that of every call.
    pub(super) unsafe fn place_of(&self, shape: &Shape, address: usize) -> Result<(), Wrong> {
        if S::LOOKUP != Lookup::None {
            // SAFETY: the caller's promise is the same.
            unsafe { self.slabs.slab_at(shape, address) }.ok_or(Wrong::Foreign)?.place_of(address)?;
        }
        // SAFETY: places below the top hold objects.
        let front = unsafe { objects(&self.front[..self.top]) };
        // Without a way out in between, which would keep several from being compared at once.
        let is_here = |found, object: &NonNull<u8>| found | (object.addr().get() == address);
        if front.iter().chain(&self.hot).fold(false, is_here) { Err(Wrong::DoubleFree) } else { Ok(()) }
    }

    /// Whether an address lies in one of the slabs, as far as their system tells.
    ///
    /// # Safety
    /// The shape is that of every call.
    pub(super) unsafe fn has(&self, shape: &Shape, address: usize) -> bool {
        // SAFETY: the caller's promise is the same.
        unsafe { self.slabs.slab_at(shape, address) }.is_some()
    }

    /// The first free object that was written to of those found since the last call, and how many these are.
    pub(super) fn take_damaged(&mut self) -> Option<(NonNull<u8>, usize)> {
        P::Frees::get_mut(&mut self.slabs.known)?.damaged.take()
    }
}

impl<S: SlabSystem, R: Retention, const FRONT: usize, const HOT: bool, P: Checks>
    Fronted<S, R, FRONT, HOT, P>
{
    /// How many objects move between front and slabs at once.
    const BATCH: usize = FRONT.div_ceil(2);

    /// Without slabs.
    pub(super) const NEW: Self = Fronted {
        hot: None,
        top: 0,
        front: [const { MaybeUninit::uninit() }; FRONT],
        slabs: Slabs { system: S::NEW, retention: R::NEW, surplus: 0, taken_peak: 0, known: Fresh::NEW },
    };

    /// An object from those at hand.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<NonNull<u8>> {
        if FRONT == 0 {
            return None;
        }
        if P::CHANCE {
            return if self.top < Self::LEAST { None } else { self.draw() };
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
        if HOT && !P::CHANCE && self.hot.is_none() {
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
        if P::CHANCE {
            // SAFETY: the caller's promise is the same.
            return Ok((unsafe { self.refill_and_draw(source, shape) }?, true));
        }
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
        if P::CHANCE {
            // SAFETY: the caller's promise is the same.
            return unsafe { self.draw_some(source, shape, out) };
        }
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
            // SAFETY: the caller's promise is the same.
            unsafe { self.slabs.forget(source, shape, &slab) };
            // SAFETY: the slab has just been detached; raw memory is of no more use to anybody.
            unsafe { self.slabs.system.release(source, shape, slab) };
        }
        if let Some(known) = P::Frees::get_mut(&mut self.slabs.known) {
            // SAFETY: the map has seen this source only.
            unsafe { known.map.release(source) };
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

impl<S, R, const FRONT: usize, const HOT: bool, P: Checks> fmt::Debug for Fronted<S, R, FRONT, HOT, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at_hand = self.top + usize::from(self.hot.is_some());
        f.debug_struct("Fronted").field("at_hand", &at_hand).finish_non_exhaustive()
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

#[cfg(test)]
mod tests {
    use core::alloc::Layout;

    use super::*;
    use crate::cache::KeepAll;
    use crate::slab::AlignedSlabs;
    use crate::source::Buffer;

    #[repr(align(1024))]
    struct Memory([MaybeUninit<u8>; 4096]);

    #[test]
    fn no_more_slabs_are_given_back_than_there_are() {
        type Slabs<'a> = AlignedSlabs<Buffer<'a>, 1024>;
        let mut memory = Memory([MaybeUninit::uninit(); 4096]);
        let mut source = Buffer::from_slice(&mut memory.0);
        let shape = Shape::new(&Slabs::RULES, Layout::new::<[u64; 32]>(), false).unwrap();
        let mut fronted = Fronted::<Slabs<'_>, KeepAll, 0, false>::NEW;
        let mut out = [MaybeUninit::uninit(); 7];
        let mut count = 0;
        while count < out.len() {
            // SAFETY: source and shape are those of all calls.
            count += unsafe { fronted.take(&mut source, &shape, &mut out[count..]) }.unwrap().count;
        }
        let slabs = fronted.system().census().slabs;
        assert!(slabs > 1);
        // SAFETY: all of them were written.
        let all = unsafe { objects(&out) };
        // SAFETY: all but one of what was taken, each once.
        unsafe { fronted.put(&mut source, &shape, &all[1..], true) };
        // SAFETY: source and shape are those of all calls, and objects hold nothing.
        unsafe { fronted.slabs.release_free(&mut source, &shape, usize::MAX) };
        let census = fronted.system().census();
        assert_eq!((census.slabs, census.free_slabs, census.taken), (1, 0, 1));
        // SAFETY: the one that was left, and nothing else is done with the slabs but to give them back.
        unsafe { fronted.put(&mut source, &shape, &all[..1], true) };
        // SAFETY: as above.
        unsafe { fronted.close(&mut source, &shape) };
        assert_eq!(fronted.system().census().slabs, 0);
    }
}
