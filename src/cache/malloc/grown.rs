//! Stacks that have proved too small, time and again.
//!
//! What a thread has at hand of a class is small at first. Where a class goes back and forth (more is freed than the stacks hold, and then that much is
//! allocated again), each turn moves many objects to what is shared and back. After such a turn the class gets twice the room, if the thread's share of
//! [`GROWN_BYTES`](super::MallocSettings::GROWN_BYTES) allows it; what is not in use gives it up. A thread that only frees, or only allocates, makes no turns.

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use super::bin::{Place, Stacks};
use super::settings::{MallocSettings, Numbers};
use super::shared::SharedMalloc;
use super::stock::ChunkStock;
use crate::source::{BackingSource, SideHeaders};

/// How many objects make a turn, as a multiple of what is on one of the first stacks. A few are what any random order of allocations and frees brings about, now and
/// then; it is not worth memory.
const LONG: usize = 4;

/// The larger stacks of a class, if it has any.
///
/// Written by its thread alone. Others read where the stacks are, to count.
#[derive(Debug)]
pub(super) struct Grown {
    /// The base of the first stack; null while the class has its first stacks.
    base: AtomicPtr<Place>,
    /// Places of each.
    most: AtomicU32,
    /// The room that was granted, in objects; 0 while the class has its first stacks.
    room: Cell<u32>,
    /// Objects that were given back to what is shared, and then objects that were taken from there: of the last run of each.
    given: Cell<u32>,
    taken: Cell<u32>,
}

impl Grown {
    pub(super) const fn new() -> Self {
        Grown {
            base: AtomicPtr::new(ptr::null_mut()),
            most: AtomicU32::new(0),
            room: Cell::new(0),
            given: Cell::new(0),
            taken: Cell::new(0),
        }
    }

    /// The stacks, if there are any.
    #[inline]
    pub(super) fn stacks(&self) -> Option<Stacks> {
        let base = self.base.load(Ordering::Relaxed);
        (!base.is_null()).then(|| Stacks { base, most: self.most.load(Ordering::Relaxed) as usize })
    }

    /// The room that a class may take without being granted more.
    pub(super) fn granted<T: MallocSettings>(&self, class: usize) -> usize {
        (self.room.get() as usize).max(Numbers::<T>::front_slots(class))
    }

    /// Notes that objects were taken from what is shared: no more than on a stack.
    pub(super) fn took(&self, count: usize) {
        self.taken.set(self.taken.get().saturating_add(count as u32));
    }

    /// Notes that objects were given back.
    pub(super) fn gave(&self, count: usize) {
        self.given.set(self.given.get().saturating_add(count as u32));
    }

    /// Whether many objects were given back and then as many taken: asked before others are given back, once for each such turn.
    fn has_turned(&self, long: usize) -> bool {
        if self.taken.get() == 0 {
            return false;
        }
        let (given, taken) = (self.given.take(), self.taken.take());
        given.min(taken) as usize >= long
    }

    /// Bytes that count against the thread's share when a class has such a room: of the objects on both stacks, and their places.
    fn charge<T: MallocSettings>(class: usize, room: usize) -> usize {
        2 * room * (Numbers::<T>::size(class) + size_of::<Place>())
    }

    /// Twice the room, if the class goes back and forth and the thread's share allows it: gives the stacks, larger ones if need be, and the room. What is on the present stacks is for the caller to move; then
    /// [`replace`](Grown::replace) has to be told.
    pub(super) fn double<T: MallocSettings>(
        &self,
        shared: &'static SharedMalloc<T>,
        class: usize,
        stacks: Stacks,
        charged: &Cell<usize>,
    ) -> Option<(Stacks, usize)> {
        let long = LONG * Numbers::<T>::front_slots(class);
        if !self.has_turned(long) {
            return None;
        }
        let room = 2 * self.granted::<T>(class);
        // No more than that, so that the places of a run whose length is a power of two can be told as well.
        let granted = u32::try_from(room).ok().filter(|&room| room <= u32::MAX / 4)?;
        let charge = charged.get() - Self::charge::<T>(class, self.room.get() as usize)
            + Self::charge::<T>(class, room);
        if charge > shared.grown_share() {
            return None;
        }
        let larger = if room <= stacks.most { stacks } else { Self::make(shared, room)? };
        charged.set(charge);
        self.room.set(granted);
        // What has room now would have been given back.
        self.gave(long);
        Some((larger, room))
    }

    /// Stacks of at least so many places.
    fn make<T: MallocSettings>(shared: &'static SharedMalloc<T>, room: usize) -> Option<Stacks> {
        let chunk = <<T::Chunks as ChunkStock>::Source as SideHeaders>::SLAB_SIZE;
        let len = (Stacks::places(room) * size_of::<Place>()).next_power_of_two().max(chunk);
        let run = shared.stock().acquire_reserved(Self::layout(len)?).ok()?;
        shared.threads.add_bytes(len);
        Some(Stacks {
            base: run.cast::<Place>().as_ptr().wrapping_add(1),
            most: len / size_of::<Place>() / 2 - 1,
        })
    }

    /// The layout of stacks in a run of `len` bytes.
    fn layout(len: usize) -> Option<Layout> {
        Layout::from_size_align(len, align_of::<Place>()).ok()
    }

    /// Notes that the class has these stacks now, and gives the memory of the former ones back.
    ///
    /// # Safety
    /// They are from [`double`](Grown::double), and nothing refers to the former ones.
    pub(super) unsafe fn replace<T: MallocSettings>(&self, shared: &'static SharedMalloc<T>, stacks: Stacks) {
        let former = self.stacks();
        self.base.store(stacks.base, Ordering::Relaxed);
        self.most.store(stacks.most as u32, Ordering::Relaxed);
        if let Some(former) = former.filter(|former| former.base != stacks.base) {
            // SAFETY: the caller's promise.
            unsafe { Self::unmake(shared, former) };
        }
    }

    /// Notes that the class has its first stacks again, and gives the memory of those that it has had back.
    ///
    /// # Safety
    /// `former` are from [`double`](Grown::double), and nothing refers to them.
    pub(super) unsafe fn end<T: MallocSettings>(
        &self,
        shared: &'static SharedMalloc<T>,
        class: usize,
        former: Stacks,
        charged: &Cell<usize>,
    ) {
        charged.set(charged.get() - Self::charge::<T>(class, self.room.get() as usize));
        self.room.set(0);
        self.given.set(0);
        self.taken.set(0);
        self.base.store(ptr::null_mut(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { Self::unmake(shared, former) };
    }

    /// Gives the memory of stacks back.
    ///
    /// # Safety
    /// They are from `make`, and nothing refers to them.
    unsafe fn unmake<T: MallocSettings>(shared: &'static SharedMalloc<T>, stacks: Stacks) {
        let len = Stacks::places(stacks.most) * size_of::<Place>();
        let (Some(run), Some(layout)) = (NonNull::new(stacks.base.wrapping_sub(1)), Self::layout(len)) else {
            return;
        };
        shared.threads.remove_bytes(len);
        // SAFETY: the caller's promise: a run of the stock, of this length.
        unsafe { shared.chunks().release(run.cast(), layout) };
    }
}

impl<T: MallocSettings> SharedMalloc<T> {
    /// The bytes that a thread may have on stacks that have grown: a part of the whole, but at most a fourth of it.
    fn grown_share(&self) -> usize {
        T::GROWN_BYTES / self.threads.open_count().max(4)
    }
}
