//! What a thread has at hand: a bin for each class.

use core::cell::Cell;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};
use core::slice;

use super::bin::{Bin, Place};
use super::settings::{MallocSettings, Numbers};
use super::shared::SharedMalloc;
use super::threads::Block;
use crate::AllocError;
use crate::cache::front::Room;
use crate::cache::size_classes::{ClassArray, SizeClasses};

/// Room of a stack when it is opened. It doubles each time that it proves too small.
const ROOM_FIRST: usize = 4;

/// After so many visits to what is shared, one class is looked at: if it is not in use, half of it goes back.
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

    /// The bin of a class, and where its stack begins; opens it if need be. `None`: the front is not open.
    fn opened(&self, class: usize) -> Option<(&Bin, *mut Place, NonNull<Block<T>>)> {
        let block = self.block()?;
        // SAFETY: callers have classes of `COUNT`.
        let bin = unsafe { self.bin(class) };
        // SAFETY: the block is this thread's.
        let base = unsafe { Block::stack(block, class) };
        if !bin.is_open() {
            // SAFETY: the block has `front_slots` places for the class, and one before them.
            unsafe { bin.open(base, ROOM_FIRST.min(Numbers::<T>::front_slots(class))) };
        }
        Some((bin, base, block))
    }

    /// An object when the bin has none. `class` is less than `COUNT`.
    pub(super) fn refill(
        &self,
        shared: &'static SharedMalloc<T>,
        class: usize,
    ) -> Result<NonNull<u8>, AllocError> {
        let Some((bin, base, block)) = self.opened(class) else { return take_one(shared, class) };
        let room = bin.room(base);
        let wanted = (room / 2).max(1);
        // SAFETY: the stack is empty, and has room for so many.
        let out = unsafe { slice::from_raw_parts_mut(base.cast::<Room>(), wanted) };
        // SAFETY: the block is this thread's.
        let number = unsafe { block.as_ref() }.number;
        let taken = shared.refill(class, number, out)?;
        // SAFETY: so many have been written, one of which goes out.
        let object = unsafe { out[taken - 1].assume_init() };
        // SAFETY: the others are free objects of the class.
        unsafe { bin.set_len(base, taken - 1) };
        // SAFETY: open, and with less than that in it.
        unsafe { bin.set_room(base, (2 * room).min(Numbers::<T>::front_slots(class))) };
        self.look_around(shared);
        Ok(object)
    }

    /// Takes an object back when the bin has no room. `class` is less than `COUNT`.
    ///
    /// # Safety
    /// It is a free object of this class, in no other place.
    pub(super) unsafe fn push_when_full(
        &self,
        shared: &'static SharedMalloc<T>,
        class: usize,
        object: NonNull<u8>,
    ) {
        let Some((bin, base, block)) = self.opened(class) else {
            // SAFETY: the caller's promise is the same.
            return unsafe { shared.flush(class, 0, &[object]) };
        };
        let (len, room, most) = (bin.len(base), bin.room(base), Numbers::<T>::front_slots(class));
        if len >= room && room < most {
            // SAFETY: open, and with less than that in it.
            unsafe { bin.set_room(base, (2 * room).min(most)) };
        } else if len >= room {
            // SAFETY: the block is this thread's.
            let number = unsafe { block.as_ref() }.number;
            // SAFETY: the stack has `len` objects.
            unsafe { flush_older(shared, class, number, bin, base, len.div_ceil(2)) };
            self.look_around(shared);
        }
        // SAFETY: the caller's promise is the same; there is room now.
        unsafe { bin.push(object.as_ptr()) };
    }

    /// Now and then: half of what a class has at hand and has not used since the last time goes back.
    fn look_around(&self, shared: &'static SharedMalloc<T>) {
        let visits = self.visits.get() + 1;
        self.visits.set(visits % VISITS);
        let Some(block) = self.block().filter(|_| visits == VISITS) else { return };
        let class = self.next.get();
        self.next.set((class + 1) % T::Classes::COUNT);
        // SAFETY: less than `COUNT`.
        let bin = unsafe { self.bin(class) };
        // SAFETY: the block is this thread's.
        let base = unsafe { Block::stack(block, class) };
        let len = bin.len(base);
        if bin.is_open() && bin.is_idle() && len > 0 {
            // SAFETY: the block is this thread's.
            let number = unsafe { block.as_ref() }.number;
            // SAFETY: the stack has `len` objects.
            unsafe { flush_older(shared, class, number, bin, base, len.div_ceil(2)) };
            let room = (bin.room(base) / 2).max(ROOM_FIRST.min(Numbers::<T>::front_slots(class)));
            // SAFETY: open, and at most half of what was in it still is.
            unsafe { bin.set_room(base, room.max(bin.len(base))) };
        }
    }

    /// Gives back all that is at hand.
    pub(super) fn flush(&self, shared: &'static SharedMalloc<T>) {
        let Some(block) = self.block() else { return };
        // SAFETY: the block is this thread's.
        let number = unsafe { block.as_ref() }.number;
        for class in 0..T::Classes::COUNT {
            // SAFETY: less than `COUNT`.
            let bin = unsafe { self.bin(class) };
            // SAFETY: the block is this thread's.
            let base = unsafe { Block::stack(block, class) };
            if !bin.is_open() {
                continue;
            }
            let len = bin.len(base);
            // SAFETY: the stack has `len` objects.
            unsafe { flush_older(shared, class, number, bin, base, len) };
            if let Some(hot) = NonNull::new(bin.take_hot()) {
                // SAFETY: a free object of the class, now in no other place.
                unsafe { shared.flush(class, number, &[hot]) };
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

    /// How many objects of a class are on the stack. Any thread may ask.
    pub(super) fn len(&self, block: NonNull<Block<T>>, class: usize) -> usize {
        // SAFETY: callers have classes of `COUNT`.
        let bin = unsafe { self.bin(class) };
        // SAFETY: the block is that of this front.
        bin.len(unsafe { Block::stack(block, class) })
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

/// Gives back the `count` objects that have been longest on a stack.
///
/// # Safety
/// The bin is open and has `base`, and no less than `count` objects.
unsafe fn flush_older<T: MallocSettings>(
    shared: &'static SharedMalloc<T>,
    class: usize,
    shard: usize,
    bin: &Bin,
    base: *mut Place,
    count: usize,
) {
    let rest = bin.len(base) - count;
    // SAFETY: the caller's promise: these places hold objects, which are not null.
    let older = unsafe { slice::from_raw_parts(base.cast::<NonNull<u8>>(), count) };
    // SAFETY: they are free objects of the class, and others move over their places below.
    unsafe { shared.flush(class, shard, older) };
    // SAFETY: both ranges lie in the stack.
    unsafe { base.copy_from(base.wrapping_add(count), rest) };
    // SAFETY: the rest has moved down.
    unsafe { bin.set_len(base, rest) };
}

impl<T: MallocSettings> fmt::Debug for Front<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").field("phase", &self.phase.get()).finish_non_exhaustive()
    }
}
