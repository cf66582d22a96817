//! What a thread has at hand: a bin for each class.

use core::cell::Cell;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};
use core::slice;

use super::bin::{Bin, Stacks};
use super::fork::Doing;
use super::quarantine::Pens;
use super::settings::{DEPOT_MAX, MallocSettings, Numbers};
use super::shared::SharedMalloc;
use super::stock::ChunkStock;
use super::threads::Block;
use crate::AllocError;
use crate::cache::front::Room;
use crate::cache::size_classes::{ClassArray, SizeClasses};
use crate::check::{Checks, Dice, Switch};

/// Bytes of a stack when it is opened: its room doubles each time that it proves too small.
const ROOM_BYTES: usize = 4096;

/// The most objects for which a stack has room when it is opened, and with which it is worth to let the two change places.
const ROOM_FIRST: usize = 16;

/// Room of a stack of a class when it is opened.
fn room_first<T: MallocSettings>(class: usize) -> usize {
    (ROOM_BYTES / Numbers::<T>::size(class)).clamp(1, ROOM_FIRST).min(Numbers::<T>::front_slots(class))
}

/// After so many visits to what is shared, one class is looked at: if it is not in use, one of its stacks goes back.
const VISITS: u32 = 32;

/// A thread that has taken nothing frees so many objects before it has a front of its own.
const FREED_FIRST: u32 = 64;

/// How far a thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It has not used the heap yet.
    New,
    /// Its block is being acquired: what is asked for meanwhile goes past the bins.
    Opening,
    Open,
    /// It ends: what its last destructors do goes past the bins.
    Closed,
}

/// The bins of threads that have none: nothing is in them, and there is no room. [`malloc!`](crate::malloc) declares them, as a `static`.
pub struct NoBins<T: MallocSettings>(Bins<T>);

/// A bin for each class.
pub(super) type Bins<T> = <<T as MallocSettings>::Classes as SizeClasses>::Array<Bin>;

// SAFETY: bins that are not open are never written to.
unsafe impl<T: MallocSettings> Sync for NoBins<T> {}

impl<T: MallocSettings> NoBins<T> {
    /// All of them.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it is of use as a static only")]
    pub const fn new() -> Self {
        NoBins(closed_bins::<T>())
    }
}

impl<T: MallocSettings> fmt::Debug for NoBins<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoBins")
    }
}

/// Bins that are not open.
pub(super) const fn closed_bins<T: MallocSettings>() -> Bins<T> {
    let mut bins = ClassArray::<T::Classes, Bin>::new();
    while bins.len() < T::Classes::COUNT {
        bins.push(Bin::new());
    }
    bins.finish()
}

/// The way to what a thread has at hand: the thread-local half of a [`Malloc`](super::Malloc), without a destructor. [`malloc!`](crate::malloc) declares it.
///
/// What other threads may look at lies in the thread's block and not here: so nobody looks at the memory of a thread that is gone, even if nothing has told the heap
/// of its end.
pub struct Front<T: MallocSettings> {
    /// The first of the block's bins while `phase` is `Open`, else of `closed`.
    bins: Cell<*const Bin>,
    /// Those of nobody.
    closed: *const Bin,
    /// Set while `phase` is `Open`.
    block: Cell<*mut Block<T>>,
    phase: Cell<Phase>,
    #[cfg_attr(not(unix), expect(dead_code, reason = "for forks, which only Unix has"))]
    pub(super) forking: Doing,
    /// Visits to what is shared since a class was looked at; of a thread that has taken nothing yet, what it has freed.
    visits: Cell<u32>,
    /// The class that is looked at next.
    next: Cell<usize>,
    /// What stacks that have grown count against this thread's share, in bytes.
    charged: Cell<usize>,
}

/// The policy of a heap with these settings.
type ChecksOf<T> = <<T as MallocSettings>::Chunks as ChunkStock>::Checks;

/// Where freed objects of each class rest, if the policy says so.
pub(super) type PensOf<T> = <<ChecksOf<T> as Checks>::Quarantine as Switch>::Of<Pens<T>>;

impl<T: MallocSettings> Front<T> {
    /// Nothing at hand.
    #[must_use]
    pub const fn new(closed: &'static NoBins<T>) -> Self {
        let closed = ptr::from_ref(&closed.0).cast::<Bin>();
        Front {
            bins: Cell::new(closed),
            closed,
            block: Cell::new(ptr::null_mut()),
            phase: Cell::new(Phase::New),
            forking: Doing::new(),
            visits: Cell::new(0),
            next: Cell::new(0),
            charged: Cell::new(0),
        }
    }

    /// The bin of a class.
    ///
    /// # Safety
    /// `class` is less than `COUNT`.
    #[inline(always)]
    pub(super) unsafe fn bin(&self, class: usize) -> &Bin {
        // SAFETY: the array is `[Bin; COUNT]` (K4); the caller's promise.
        let bin = unsafe { self.bins.get().add(class) };
        // SAFETY: blocks stay for good, and so do the bins of nobody.
        unsafe { &*bin }
    }

    /// Whether there is something at hand, or can be.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.phase.get() == Phase::Open
    }

    /// Opens the front, if it has not been, and says whether this call did: then the thread's end has to be seen to.
    pub(super) fn open(&self, shared: &'static SharedMalloc<T>) -> bool {
        if self.phase.get() != Phase::New {
            return false;
        }
        self.phase.set(Phase::Opening);
        let Ok(own) = shared.threads.open(shared.stock()) else {
            self.phase.set(Phase::New);
            return false;
        };
        // SAFETY: blocks stay for good.
        let block = unsafe { own.as_ref() };
        if let Some(pens) = block.pens() {
            pens.prepare(shared.stock().secret());
        }
        self.bins.set(block.bins());
        self.block.set(own.as_ptr());
        self.visits.set(0);
        self.phase.set(Phase::Open);
        true
    }

    /// Whether a thread that frees something, and has no front open, is to have one: not before it has freed some things. (The C library frees what it keeps of threads that
    /// are gone on one that is about to be, when there is no way left to hear of its end.)
    pub(super) fn opens_to_free(&self) -> bool {
        if self.phase.get() != Phase::New {
            return false;
        }
        let freed = self.visits.get() + 1;
        self.visits.set(freed);
        freed > FREED_FIRST
    }

    /// The block of this front, or null.
    #[cfg_attr(not(unix), expect(dead_code, reason = "for forks, which only Unix has"))]
    pub(super) fn own(&self) -> *const Block<T> {
        self.block.get()
    }

    /// The block, while it is open.
    fn block(&self) -> Option<NonNull<Block<T>>> {
        NonNull::new(self.block.get()).filter(|_| self.phase.get() == Phase::Open)
    }

    /// The bin of a class at work; opens it if need be. `block` is that of this front.
    fn opened(
        &self,
        shared: &'static SharedMalloc<T>,
        block: NonNull<Block<T>>,
        class: usize,
    ) -> Opened<'_, T> {
        // SAFETY: callers have classes of `COUNT`.
        let bin = unsafe { self.bin(class) };
        // SAFETY: the block is this thread's.
        let stacks = unsafe { Block::stacks(block, class) };
        if !bin.is_open() {
            // SAFETY: the block has these places for the class.
            unsafe { bin.open(stacks, room_first::<T>(class)) };
        }
        Opened { shared, class, bin, stacks, own: block, charged: &self.charged }
    }

    /// An object when the stack to take from has none. `class` is less than `COUNT`.
    pub(super) fn refill(
        &self,
        shared: &'static SharedMalloc<T>,
        class: usize,
    ) -> Result<NonNull<u8>, AllocError> {
        let Some(own) = self.block() else { return take_one(shared, class) };
        let opened = self.opened(shared, own, class);
        let block = opened.block();
        let Opened { bin, stacks, .. } = opened;
        if bin.to_take(stacks).1 > 0 {
            // What saw to the thread's end has used the heap meanwhile.
            return NonNull::new(bin.pop()).ok_or(AllocError);
        }
        let room = bin.room(stacks);
        // A few are not worth it: where one object comes and goes, the stacks would change places all the time.
        let enough = ROOM_FIRST.min(stacks.most.div_ceil(2));
        if bin.to_give(stacks).1 >= enough {
            bin.swap(stacks);
            return NonNull::new(bin.pop()).ok_or(AllocError);
        }
        let (base, _) = bin.to_take(stacks);
        let first = Numbers::<T>::front_slots(class);
        // SAFETY: the stack is empty, and has room for so many.
        let out = unsafe { slice::from_raw_parts_mut(base.cast::<Room>(), room.min(first)) };
        let taken = match shared.refill(class, block.number, out) {
            Err(AllocError) if bin.to_give(stacks).1 > 0 => {
                bin.swap(stacks);
                return NonNull::new(bin.pop()).ok_or(AllocError);
            }
            taken => taken?,
        };
        if ChecksOf::<T>::SHUFFLE {
            // SAFETY: one at least has been written.
            let first = unsafe { out[0].assume_init() };
            let seed = shared.stock().secret() ^ first.addr().get() ^ self.visits.get() as usize;
            shuffle(&mut out[..taken], seed as u64);
        }
        // SAFETY: so many have been written, one of which goes out.
        let object = unsafe { out[taken - 1].assume_init() };
        // SAFETY: the others are free objects of the class.
        unsafe { bin.set_to_take(stacks, taken - 1) };
        if room < first {
            // SAFETY: the room only grows.
            unsafe { bin.set_room(stacks, (2 * room).min(first)) };
        }
        block.grown(class).took(taken);
        self.look_around(shared, own, class);
        Ok(object)
    }

    /// Takes an object back when the stack to give to has no room. `class` is less than `COUNT`.
    ///
    /// # Safety
    /// It is a free object of this class, in no other place.
    pub(super) unsafe fn push_when_full(
        &self,
        shared: &'static SharedMalloc<T>,
        class: usize,
        object: NonNull<u8>,
    ) {
        let Some(own) = self.block() else {
            // SAFETY: the caller's promise is the same.
            return unsafe { shared.flush(class, 0, &[object]) };
        };
        let mut opened = self.opened(shared, own, class);
        let block = opened.block();
        let Opened { bin, stacks, .. } = opened;
        let room = bin.room(stacks);
        let ((_, to_take), (_, to_give)) = (bin.to_take(stacks), bin.to_give(stacks));
        if to_give >= room {
            let granted = block.grown(class).granted::<T>(class);
            if to_take <= room / 2 {
                bin.swap(stacks);
            } else if room < granted {
                // SAFETY: what is there is less than that.
                unsafe { bin.set_room(stacks, (2 * room).min(granted)) };
            } else if !opened.grow() {
                // All of a stack as it is at first, half of one that has grown.
                let count = if to_give > Numbers::<T>::front_slots(class) { to_give / 2 } else { to_give };
                opened.flush_given(count);
                block.grown(class).gave(count);
                self.look_around(shared, own, class);
            }
        }
        // SAFETY: the caller's promise is the same; there is room now.
        let pushed = unsafe { bin.push(object.as_ptr()) };
        debug_assert!(pushed, "there is room for one more");
    }

    /// Now and then: what a class has at hand and has not used since the last time goes back, one stack at a time. `in_use` is the class that brings the thread here, `block` that
    /// of this front.
    fn look_around(&self, shared: &'static SharedMalloc<T>, block: NonNull<Block<T>>, in_use: usize) {
        let visits = self.visits.get() + 1;
        self.visits.set(visits % VISITS);
        if visits < VISITS {
            return;
        }
        let class = self.next.get();
        self.next.set((class + 1) % T::Classes::COUNT);
        if class == 0 {
            // Where all that comes and goes is at hand or in depots no slab becomes free, and nobody else asks.
            shared.stock().tick();
        }
        // SAFETY: less than `COUNT`.
        let bin = unsafe { self.bin(class) };
        if class == in_use || (bin.is_open() && !bin.is_idle()) {
            return;
        }
        self.end_rest(shared, block, class);
        if !bin.is_open() {
            return;
        }
        let mut opened = self.opened(shared, block, class);
        let Opened { stacks, .. } = opened;
        if bin.to_give(stacks).1 == 0 {
            bin.swap(stacks);
        }
        opened.flush_given(bin.to_give(stacks).1);
        if bin.to_take(stacks).1 == 0 {
            opened.shrink();
        } else {
            // SAFETY: that stack is empty.
            unsafe { bin.set_room(stacks, (bin.room(stacks) / 2).max(room_first::<T>(class))) };
        }
    }

    /// Gives back all that is at hand.
    pub(super) fn flush(&self, shared: &'static SharedMalloc<T>) {
        let Some(block) = self.block() else { return };
        for class in 0..T::Classes::COUNT {
            self.end_rest(shared, block, class);
            // SAFETY: less than `COUNT`.
            let bin = unsafe { self.bin(class) };
            if !bin.is_open() {
                continue;
            }
            let mut opened = self.opened(shared, block, class);
            opened.flush_given(bin.to_give(opened.stacks).1);
            bin.swap(opened.stacks);
            opened.flush_given(bin.to_give(opened.stacks).1);
            opened.shrink();
        }
    }

    /// Gives back all, for good: the thread ends.
    pub(super) fn close(&self, shared: &'static SharedMalloc<T>) {
        self.flush(shared);
        let own = self.block();
        // Before the registry's lock, which may be one that uses the heap.
        self.phase.set(Phase::Closed);
        if let Some(block) = own {
            // SAFETY: the block is this thread's, and stays.
            unsafe { block.as_ref() }.close_bins();
            self.bins.set(self.closed);
            self.block.set(ptr::null_mut());
            // SAFETY: it is from `open`, and the bins are closed.
            unsafe { shared.threads.close(block) };
        }
    }

    /// Gives back what it has, as if it had never been opened: the next request opens it.
    pub(super) fn put_off(&self, shared: &'static SharedMalloc<T>) {
        self.close(shared);
        self.phase.set(Phase::New);
    }

    /// Puts a freed object to rest, and gives one that has rested; the same where none rest, or nobody would see to their end.
    ///
    /// # Safety
    /// `class` is less than `COUNT`.
    #[inline(always)]
    pub(super) unsafe fn rest(&self, class: usize, object: NonNull<u8>) -> Option<NonNull<u8>> {
        if self.phase.get() != Phase::Open {
            return Some(object);
        }
        // SAFETY: set while the front is open; blocks stay for good.
        let block = unsafe { &*self.block.get() };
        match block.pens() {
            // SAFETY: the caller's promise is the same.
            Some(pens) => unsafe { pens.exchange(class, object) },
            None => Some(object),
        }
    }

    /// Gives the objects of a class that rest back. `block` is that of this front.
    fn end_rest(&self, shared: &'static SharedMalloc<T>, block: NonNull<Block<T>>, class: usize) {
        // SAFETY: the block is this thread's, and stays.
        let block = unsafe { block.as_ref() };
        while let Some(object) = block.pens().and_then(|pens| pens.take(class)) {
            // SAFETY: a free object of the class, which is in no other place any more.
            unsafe { shared.flush(class, block.number, &[object]) };
        }
    }
}

/// Brings free objects into an order that nobody can foresee. (R. Durstenfeld, *Algorithm 235: Random permutation*, 1964.)
fn shuffle(objects: &mut [Room], seed: u64) {
    let dice = Dice::seeded(seed);
    for last in (1..objects.len()).rev() {
        objects.swap(last, dice.below(last + 1));
    }
}

/// An object past all bins.
fn take_one<T: MallocSettings>(
    shared: &'static SharedMalloc<T>,
    class: usize,
) -> Result<NonNull<u8>, AllocError> {
    let mut one = [MaybeUninit::uninit()];
    shared.refill(class, 0, &mut one)?;
    // SAFETY: one at least has been written.
    Ok(unsafe { one[0].assume_init() })
}

/// A bin at work. It is open, with these stacks; the block is this thread's.
struct Opened<'a, T: MallocSettings> {
    shared: &'static SharedMalloc<T>,
    class: usize,
    bin: &'a Bin,
    stacks: Stacks,
    own: NonNull<Block<T>>,
    charged: &'a Cell<usize>,
}

impl<'a, T: MallocSettings> Opened<'a, T> {
    /// The block's record.
    fn block(&self) -> &'a Block<T> {
        // SAFETY: the block is this thread's, and stays.
        unsafe { self.own.as_ref() }
    }

    /// Gives the oldest objects of the stack to give to back, so many.
    fn flush_given(&mut self, count: usize) {
        let (base, _) = self.bin.to_give(self.stacks);
        // SAFETY: these places hold objects, which are not null: the bin's invariant.
        let given = unsafe { slice::from_raw_parts(base.cast::<NonNull<u8>>(), count) };
        for some in given.chunks(DEPOT_MAX) {
            // SAFETY: they are free objects of the class, and what follows forgets them.
            unsafe { self.shared.flush(self.class, self.block().number, some) };
        }
        self.bin.drop_given(self.stacks, count);
    }

    /// Twice the room, if the class has earned it; says whether.
    fn grow(&mut self) -> bool {
        let grown = self.block().grown(self.class);
        let Some((stacks, room)) = grown.double(self.shared, self.class, self.stacks, self.charged) else {
            return false;
        };
        if stacks.base == self.stacks.base {
            // SAFETY: the stacks have that many places.
            unsafe { self.bin.set_room(stacks, room) };
            return true;
        }
        // SAFETY: the bin is open, with these stacks; the new ones have been made for it, with twice the room.
        unsafe { self.bin.move_to(self.stacks, stacks, room) };
        // SAFETY: just made, and the bin has left the former ones.
        unsafe { grown.replace(self.shared, stacks) };
        self.stacks = stacks;
        true
    }

    /// Back to the first stacks, and to the room of the beginning. There is nothing on the present ones.
    fn shrink(&mut self) {
        // SAFETY: the block is this thread's.
        let first = unsafe { Block::first_stacks(self.own, self.class) };
        let room = room_first::<T>(self.class);
        if first.base == self.stacks.base {
            // SAFETY: as many places as when it was opened.
            return unsafe { self.bin.set_room(first, room) };
        }
        // SAFETY: both are empty; the block has these places for the class.
        unsafe { self.bin.move_to(self.stacks, first, room) };
        // SAFETY: those that are not the first have been made larger, and the bin has left them.
        unsafe { self.block().grown(self.class).end(self.shared, self.class, self.stacks, self.charged) };
        self.stacks = first;
    }
}

impl<T: MallocSettings> fmt::Debug for Front<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").field("phase", &self.phase.get()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Each order comes, also those in which some stay where they are.
    #[test]
    fn all_orders_come_of_a_shuffle() {
        let mut orders = BTreeSet::new();
        for seed in 0..1000 {
            let mut objects = [8, 16, 24]
                .map(|address| MaybeUninit::new(NonNull::new(ptr::without_provenance_mut(address)).unwrap()));
            shuffle(&mut objects, seed << 20);
            // SAFETY: all three are written.
            orders.insert(objects.map(|object| unsafe { object.assume_init() }.addr().get()));
        }
        assert_eq!(orders.len(), 6, "{orders:?}");
    }
}
