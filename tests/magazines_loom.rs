//! Magazines under loom, which runs threads in all the orders that their synchronisation allows.
//!
//! All synchronisation of the magazine layer goes through `Lock`; so with a lock of loom's mutex, loom sees all of it.

#![cfg(not(miri))]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod loom_lock;
#[path = "loom_lock/orders.rs"]
mod orders;

use std::alloc::Layout;
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::cache::{Magazined, PerCpu, UntypedObjectAlloc};
use heapwright::lock::Lock;
use loom::sync::{Arc, Mutex};
use loom::thread;

use loom_lock::LoomLock;
use orders::explore;

/// How many slots the cache has.
const SLOTS: usize = 12;

/// A cache of a few slots that knows which are out.
struct Few {
    lock: LoomLock,
    /// Touched under `lock` only.
    state: UnsafeCell<FewState>,
    memory: Box<[UnsafeCell<u64>; SLOTS]>,
}

struct FewState {
    /// Indices of free slots.
    free: Vec<usize>,
    is_out: [bool; SLOTS],
}

// SAFETY: the state is touched under the lock only, and a slot's memory by the one who has it.
unsafe impl Sync for Few {}
// SAFETY: nothing in it belongs to a thread.
unsafe impl Send for Few {}

impl Few {
    fn new() -> Self {
        let few = Few {
            lock: LoomLock::INIT,
            state: UnsafeCell::new(FewState { free: (0..SLOTS).collect(), is_out: [false; SLOTS] }),
            memory: Box::new([const { UnsafeCell::new(0) }; SLOTS]),
        };
        for slot in &*few.memory {
            let _ = slot.get().expose_provenance();
        }
        assert_eq!(few.out(), 0, "and the lock is made");
        few
    }

    fn enter<R>(&self, work: impl FnOnce(&mut FewState) -> R) -> R {
        let locked = self.lock.with(|| {
            // SAFETY: under the lock.
            work(unsafe { &mut *self.state.get() })
        });
        locked.unwrap()
    }

    /// How many slots are out.
    fn out(&self) -> usize {
        self.enter(|state| {
            let out = state.is_out.iter().filter(|&&out| out).count();
            assert_eq!(out + state.free.len(), SLOTS, "a slot is lost");
            out
        })
    }
}

// SAFETY: U1: a slot is a word of `memory`, given to one at a time. U2: one type. U3: a slot holds a number. U4: nothing here unwinds but
// for a fault. U5: exposed in `new`.
unsafe impl UntypedObjectAlloc for Few {
    fn slot_layout(&self) -> Layout {
        Layout::new::<u64>()
    }

    fn alloc_slot(&self) -> Result<NonNull<u8>, AllocError> {
        let mut one = [MaybeUninit::uninit()];
        self.alloc_slots(&mut one)?;
        // SAFETY: a success writes the first at least.
        Ok(unsafe { one[0].assume_init() })
    }

    fn alloc_slots(&self, out: &mut [MaybeUninit<NonNull<u8>>]) -> Result<usize, AllocError> {
        self.enter(|state| {
            let count = out.len().min(state.free.len());
            for out in &mut out[..count] {
                let idx = state.free.pop().unwrap();
                assert!(!state.is_out[idx], "a slot is out twice");
                state.is_out[idx] = true;
                out.write(NonNull::new(self.memory[idx].get().cast()).unwrap());
            }
            if count == 0 { Err(AllocError) } else { Ok(count) }
        })
    }

    unsafe fn free_slot(&self, slot: NonNull<u8>) {
        self.enter(|state| {
            let idx = (slot.addr().get() - self.memory.as_ptr().addr()) / size_of::<u64>();
            assert!(state.is_out[idx], "a slot came back twice");
            state.is_out[idx] = false;
            state.free.push(idx);
        });
    }

    unsafe fn free_slots(&self, slots: &[NonNull<u8>]) {
        for &slot in slots {
            // SAFETY: the caller's promise is the same.
            unsafe { self.free_slot(slot) };
        }
    }
}

/// Magazines of two slots, one in the depot.
type Tiny = Magazined<Few, LoomLock, 2, 1>;

fn tiny() -> Arc<Tiny> {
    let magazined = Magazined::new(Few::new());
    assert_eq!(magazined.stats().magazines, 0, "and the lock is made");
    Arc::new(magazined)
}

/// Takes slots and writes into each, so that a second owner is seen.
fn take<C: UntypedObjectAlloc>(cache: &C, count: usize, mark: u64) -> Vec<Slot> {
    let slots: Vec<_> = (0..count).map(|_| Slot { slot: cache.alloc_slot().unwrap(), mark }).collect();
    for slot in &slots {
        // SAFETY: the slot is ours.
        unsafe { slot.slot.cast::<u64>().write(mark) };
    }
    slots
}

/// A slot that its owner has marked.
struct Slot {
    slot: NonNull<u8>,
    mark: u64,
}

// SAFETY: the cache is `Sync`: slots may be used and freed on any thread.
unsafe impl Send for Slot {}

fn give<C: UntypedObjectAlloc>(cache: &C, slots: impl IntoIterator<Item = Slot>) {
    for Slot { slot, mark } in slots {
        // SAFETY: the slot is ours.
        assert_eq!(unsafe { slot.cast::<u64>().read() }, mark, "two had this slot at once");
        // SAFETY: it was handed out by this layer, and is given back once.
        unsafe { cache.free_slot(slot) };
    }
}

/// All is with the cache once no front and no depot has anything.
fn assert_all_back(magazined: &Tiny) {
    let in_depot = 2 * magazined.stats().magazines;
    assert_eq!(magazined.cache().out(), in_depot);
    assert_eq!(magazined.reap(), in_depot);
    assert_eq!(magazined.cache().out(), 0);
}

#[test]
fn two_threads_take_and_give() {
    explore(Some(4), || {
        let magazined = tiny();
        let other = Arc::clone(&magazined);
        let work = |magazined: &Tiny, mark| {
            let front = magazined.handle();
            let slots = take(&front, 5, mark);
            give(&front, slots);
        };
        let thread = thread::spawn(move || work(&other, 1));
        work(&magazined, 2);
        thread.join().unwrap();
        assert_all_back(&magazined);
    });
}

#[test]
fn threads_free_what_others_took() {
    explore(Some(4), || {
        let magazined = tiny();
        let shared = Arc::new(Mutex::new(Vec::new()));
        let work = |magazined: &Tiny, shared: &Mutex<Vec<Slot>>, mark| {
            let front = magazined.handle();
            let mine = take(&front, 3, mark);
            let theirs = std::mem::replace(&mut *shared.lock().unwrap(), mine);
            give(&front, theirs);
            let more = take(&front, 2, mark + 1);
            give(&front, more);
        };
        let (other, other_shared) = (Arc::clone(&magazined), Arc::clone(&shared));
        let thread = thread::spawn(move || work(&other, &other_shared, 10));
        work(&magazined, &shared, 20);
        thread.join().unwrap();
        let left = std::mem::take(&mut *shared.lock().unwrap());
        assert_eq!(left.len(), 3);
        give(magazined.cache(), left);
        assert_all_back(&magazined);
    });
}

#[test]
fn a_handle_is_dropped_and_the_depot_reaped_while_others_work() {
    explore(Some(3), || {
        let magazined = tiny();
        let leaving = Arc::clone(&magazined);
        let leaving = thread::spawn(move || {
            let front = leaving.handle();
            let slots = take(&front, 3, 1);
            give(&front, slots);
        });
        let reaping = Arc::clone(&magazined);
        let reaping = thread::spawn(move || {
            reaping.reap();
            reaping.trim();
        });
        let front = magazined.handle();
        let slots = take(&front, 5, 2);
        give(&front, slots);
        leaving.join().unwrap();
        reaping.join().unwrap();
        drop(front);
        assert_all_back(&magazined);
    });
}

#[test]
fn two_threads_share_the_front_of_a_cpu() {
    explore(Some(4), || {
        let cache: PerCpu<Tiny, 1> = PerCpu::new(Magazined::new(Few::new()), || 0);
        assert_eq!(cache.magazined().stats().magazines, 0, "and the depot's lock is made");
        cache.flush();
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let work = |cache: &PerCpu<Tiny, 1>, mark| {
            let slots = take(cache, 4, mark);
            give(cache, slots);
        };
        let thread = thread::spawn(move || work(&other, 1));
        work(&cache, 2);
        thread.join().unwrap();
        cache.flush();
        assert_all_back(cache.magazined());
    });
}
