//! What a thread has at hand: a bin for each class.

use core::cell::Cell;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};
use core::slice;

use super::bin::{Bin, Stacks};
use super::settings::{MallocSettings, Numbers};
use super::shared::SharedMalloc;
use super::threads::Block;
use crate::AllocError;
use crate::cache::front::Room;
use crate::cache::size_classes::{ClassArray, SizeClasses};

/// Bytes of a stack when it is opened: its room doubles each time that it proves too small.
const ROOM_BYTES: usize = 4096;

/// The most objects for which a stack has room when it is opened, and with which it is worth to let the two change places.
const ROOM_FIRST: usize = 16;

/// Room of a stack of a class when it is opened.
fn room_first<T: MallocSettings>(class: usize, most: usize) -> usize {
    (ROOM_BYTES / Numbers::<T>::size(class)).clamp(1, ROOM_FIRST).min(most)
}

/// After so many visits to what is shared, one class is looked at: if it is not in use, one of its stacks goes back.
const VISITS: u32 = 32;

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

/// What a thread has at hand: the thread-local half of a [`Malloc`](super::Malloc), without a destructor. [`malloc!`](crate::malloc) declares it.
pub struct Front<T: MallocSettings> {
    /// One for each class. They are open only while `phase` is `Open`, and their stacks lie in `block`.
    bins: <T::Classes as SizeClasses>::Array<Bin>,
    /// Set while `phase` is `Open`.
    block: Cell<*mut Block<T>>,
    phase: Cell<Phase>,
    /// Visits to what is shared since a class was looked at.
    visits: Cell<u32>,
    /// The class that is looked at next.
    next: Cell<usize>,
}

impl<T: MallocSettings> Front<T> {
    /// Nothing at hand.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it is of use as a thread-local only")]
    pub const fn new() -> Self {
        let mut bins = ClassArray::<T::Classes, Bin>::new();
        while bins.len() < T::Classes::COUNT {
            bins.push(Bin::new());
        }
        Front {
            bins: bins.finish(),
            block: Cell::new(ptr::null_mut()),
            phase: Cell::new(Phase::New),
            visits: Cell::new(0),
            next: Cell::new(0),
        }
    }

    /// The bin of a class.
    ///
    /// # Safety
    /// `class` is less than `COUNT`.
    #[inline(always)]
    pub(super) unsafe fn bin(&self, class: usize) -> &Bin {
        let first = ptr::from_ref(&self.bins).cast::<Bin>();
        // SAFETY: the array is `[Bin; COUNT]` (K4); the caller's promise.
        let bin = unsafe { first.add(class) };
        // SAFETY: as above.
        unsafe { &*bin }
    }

    /// Opens the front, if it has not been, and says whether this call did: then the thread's end has to be seen to.
    pub(super) fn open(&self, shared: &'static SharedMalloc<T>) -> bool {
        if self.phase.get() != Phase::New {
            return false;
        }
        self.phase.set(Phase::Opening);
        // SAFETY: the front is a thread-local that lives until its thread ends, before which `close` gives the block back.
        match unsafe { shared.threads.open(shared.chunks(), self) } {
            Ok(block) => {
                self.block.set(block.as_ptr());
                self.phase.set(Phase::Open);
                true
            }
            Err(AllocError) => {
                self.phase.set(Phase::New);
                false
            }
        }
    }

    /// The block, while it is open.
    fn block(&self) -> Option<NonNull<Block<T>>> {
        NonNull::new(self.block.get()).filter(|_| self.phase.get() == Phase::Open)
    }

    /// The bin of a class, with its stacks and the number of the block; opens it if need be. `None`: the front is not open.
    fn opened(&self, class: usize) -> Option<(&Bin, Stacks, usize)> {
        let block = self.block()?;
        // SAFETY: callers have classes of `COUNT`.
        let bin = unsafe { self.bin(class) };
        // SAFETY: the block is this thread's.
        let stacks = unsafe { Block::stacks(block, class) };
        if !bin.is_open() {
            // SAFETY: the block has these places for the class.
            unsafe { bin.open(stacks, room_first::<T>(class, stacks.most)) };
        }
        // SAFETY: the block is this thread's.
        Some((bin, stacks, unsafe { block.as_ref() }.number))
    }

    /// An object when the stack to take from has none. `class` is less than `COUNT`.
    pub(super) fn refill(
        &self,
        shared: &'static SharedMalloc<T>,
        class: usize,
    ) -> Result<NonNull<u8>, AllocError> {
        let Some((bin, stacks, number)) = self.opened(class) else { return take_one(shared, class) };
        if bin.to_take(stacks).1 > 0 {
            // What saw to the thread's end has used the heap meanwhile.
            return NonNull::new(bin.pop()).ok_or(AllocError);
        }
        let room = bin.room(stacks);
        // A few are not worth it: where one object comes and goes, the stacks would change places all the time.
        let enough = ROOM_FIRST.min(stacks.most.div_ceil(2));
        if bin.to_give(stacks).1 >= enough {
            bin.swap(stacks, room);
            return NonNull::new(bin.pop()).ok_or(AllocError);
        }
        let (base, _) = bin.to_take(stacks);
        // SAFETY: the stack is empty, and has room for so many.
        let out = unsafe { slice::from_raw_parts_mut(base.cast::<Room>(), room) };
        let taken = match shared.refill(class, number, out) {
            Err(AllocError) if bin.swap(stacks, room) => return NonNull::new(bin.pop()).ok_or(AllocError),
            taken => taken?,
        };
        // SAFETY: so many have been written, one of which goes out.
        let object = unsafe { out[taken - 1].assume_init() };
        // SAFETY: the others are free objects of the class.
        unsafe { bin.set_to_take(stacks, taken - 1) };
        // SAFETY: the room only grows.
        unsafe { bin.set_room(stacks, (2 * room).min(stacks.most)) };
        self.look_around(shared);
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
        let Some((bin, stacks, number)) = self.opened(class) else {
            // SAFETY: the caller's promise is the same.
            return unsafe { shared.flush(class, 0, &[object]) };
        };
        let room = bin.room(stacks);
        let ((_, to_take), (_, to_give)) = (bin.to_take(stacks), bin.to_give(stacks));
        if to_give >= room {
            if to_take == 0 {
                bin.swap(stacks, room);
            } else if room < stacks.most {
                // SAFETY: what is there is less than that.
                unsafe { bin.set_room(stacks, (2 * room).min(stacks.most)) };
            } else {
                flush_given(shared, class, number, bin, stacks);
                self.look_around(shared);
            }
        }
        // SAFETY: the caller's promise is the same; there is room now.
        unsafe { bin.push(object.as_ptr()) };
    }

    /// Now and then: what a class has at hand and has not used since the last time goes back, one stack at a time.
    fn look_around(&self, shared: &'static SharedMalloc<T>) {
        let visits = self.visits.get() + 1;
        self.visits.set(visits % VISITS);
        if visits < VISITS {
            return;
        }
        let class = self.next.get();
        self.next.set((class + 1) % T::Classes::COUNT);
        // SAFETY: less than `COUNT`.
        let bin = unsafe { self.bin(class) };
        if !bin.is_open() || !bin.is_idle() {
            return;
        }
        let Some((bin, stacks, number)) = self.opened(class) else { return };
        if bin.to_give(stacks).1 == 0 {
            bin.swap_back(stacks);
        }
        flush_given(shared, class, number, bin, stacks);
        // SAFETY: that stack is empty.
        unsafe { bin.set_room(stacks, (bin.room(stacks) / 2).max(room_first::<T>(class, stacks.most))) };
    }

    /// Gives back all that is at hand.
    pub(super) fn flush(&self, shared: &'static SharedMalloc<T>) {
        let Some(block) = self.block() else { return };
        // SAFETY: the block is this thread's.
        let number = unsafe { block.as_ref() }.number;
        for class in 0..T::Classes::COUNT {
            // SAFETY: less than `COUNT`.
            let bin = unsafe { self.bin(class) };
            if bin.is_open() {
                // SAFETY: the block is this thread's.
                let stacks = unsafe { Block::stacks(block, class) };
                flush_given(shared, class, number, bin, stacks);
                bin.swap_back(stacks);
                flush_given(shared, class, number, bin, stacks);
            }
        }
    }

    /// Gives back all, for good: the thread ends.
    pub(super) fn close(&self, shared: &'static SharedMalloc<T>) {
        self.flush(shared);
        if let Some(block) = self.block() {
            self.bins.as_ref().iter().for_each(Bin::close);
            self.block.set(ptr::null_mut());
            // SAFETY: it is from `open`, and the bins are closed.
            unsafe { shared.threads.close(block) };
        }
        self.phase.set(Phase::Closed);
    }

    /// How many objects of a class are at hand. Any thread may ask.
    pub(super) fn len(&self, block: NonNull<Block<T>>, class: usize) -> usize {
        // SAFETY: callers have classes of `COUNT`.
        let bin = unsafe { self.bin(class) };
        // SAFETY: the block is that of this front.
        bin.len(unsafe { Block::stacks(block, class) })
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

/// Gives back what is on the stack to give to. The bin is open, with these stacks.
fn flush_given<T: MallocSettings>(
    shared: &'static SharedMalloc<T>,
    class: usize,
    shard: usize,
    bin: &Bin,
    stacks: Stacks,
) {
    let (base, len) = bin.to_give(stacks);
    // SAFETY: these places hold objects, which are not null: the bin's invariant.
    let given = unsafe { slice::from_raw_parts(base.cast::<NonNull<u8>>(), len) };
    // SAFETY: they are free objects of the class, and the next line forgets them.
    unsafe { shared.flush(class, shard, given) };
    bin.clear_to_give(stacks);
}

impl<T: MallocSettings> fmt::Debug for Front<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").field("phase", &self.phase.get()).finish_non_exhaustive()
    }
}
