//! A cache for tests that watches its slots.

use std::alloc::Layout;
use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use heapwright::AllocError;
use heapwright::cache::{ObjectAlloc, UntypedObjectAlloc};

/// What a slot holds.
pub(crate) type Object = [u64; 3];

/// What every object is when it comes from its maker.
pub(crate) const FRESH: Object = [7, 8, 9];

/// A user's code that runs inside of the cache, before it gives slots.
pub(crate) type Hook = Box<dyn FnMut() + Send>;

/// A cache of [`Object`]s that knows which slots are out, and panics when one is freed that is not.
#[derive(Default)]
pub(crate) struct Checked {
    state: Mutex<State>,
    /// Taken out while it runs.
    constructor: Mutex<Option<Hook>>,
    /// The same for slots that come back many at once.
    destructor: Mutex<Option<Hook>>,
}

struct State {
    free: Vec<usize>,
    out: BTreeSet<usize>,
    made: usize,
    /// How many slots may be made.
    limit: usize,
    /// How many slots one call gives at most.
    per_call: usize,
}

impl Default for State {
    fn default() -> Self {
        State { free: Vec::new(), out: BTreeSet::new(), made: 0, limit: usize::MAX, per_call: usize::MAX }
    }
}

impl Checked {
    pub(crate) const fn new() -> Self {
        let state = State {
            free: Vec::new(),
            out: BTreeSet::new(),
            made: 0,
            limit: usize::MAX,
            per_call: usize::MAX,
        };
        Checked { state: Mutex::new(state), constructor: Mutex::new(None), destructor: Mutex::new(None) }
    }

    /// With a limit to the number of slots in all, and one to what a call gives.
    pub(crate) fn limited(limit: usize, per_call: usize) -> Self {
        let cache = Checked::new();
        cache.set_limit(limit);
        cache.state().per_call = per_call;
        cache
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `hook` run whenever slots are asked for, but not while it runs already.
    pub(crate) fn set_constructor(&self, hook: Option<Hook>) {
        *self.constructor.lock().unwrap() = hook;
    }

    /// Lets no more than `limit` slots be made from now on.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.state().limit = limit;
    }

    /// How many slots are out.
    pub(crate) fn out(&self) -> usize {
        self.state().out.len()
    }

    /// How many slots there are.
    pub(crate) fn made(&self) -> usize {
        self.state().made
    }

    /// Lets `hook` run whenever several slots have come back at once, but not while it runs already.
    pub(crate) fn set_destructor(&self, hook: Option<Hook>) {
        *self.destructor.lock().unwrap() = hook;
    }
}

/// Runs a hook; one that unwinds is gone.
fn run(place: &Mutex<Option<Hook>>) {
    let hook = place.lock().unwrap().take();
    if let Some(mut hook) = hook {
        hook();
        place.lock().unwrap().get_or_insert(hook);
    }
}

impl Drop for Checked {
    fn drop(&mut self) {
        let state = self.state();
        for &slot in &state.free {
            let slot = std::ptr::with_exposed_provenance_mut::<Object>(slot);
            // SAFETY: the slot came from `Box::into_raw`, and is free.
            drop(unsafe { Box::from_raw(slot) });
        }
        if !std::thread::panicking() {
            assert!(state.out.is_empty(), "slots are lost: {}", state.out.len());
        }
    }
}

// SAFETY: U1: a slot is a `Box` that stays until the cache is dropped, in `free` or in `out`. U2: one type. U3: a slot is made from
// `FRESH`, and not touched again. U4: user code runs before anything is taken. U5: exposed as it is made.
unsafe impl UntypedObjectAlloc for Checked {
    fn slot_layout(&self) -> Layout {
        Layout::new::<Object>()
    }

    fn alloc_slot(&self) -> Result<NonNull<u8>, AllocError> {
        let mut one = [MaybeUninit::uninit()];
        self.alloc_slots(&mut one)?;
        // SAFETY: a success writes the first at least.
        Ok(unsafe { one[0].assume_init() })
    }

    unsafe fn free_slot(&self, slot: NonNull<u8>) {
        let mut state = self.state();
        let slot = slot.addr().get();
        assert!(state.out.remove(&slot), "a slot was freed that is not out");
        state.free.push(slot);
    }

    unsafe fn free_slots(&self, slots: &[NonNull<u8>]) {
        for &slot in slots {
            // SAFETY: the caller's promise is the same.
            unsafe { self.free_slot(slot) };
        }
        run(&self.destructor);
    }

    fn alloc_slots(&self, out: &mut [MaybeUninit<NonNull<u8>>]) -> Result<usize, AllocError> {
        run(&self.constructor);
        let mut state = self.state();
        let wanted = out.len().min(state.per_call);
        let mut count = 0;
        while count < wanted {
            let slot = match state.free.pop() {
                Some(slot) => slot,
                None if state.made < state.limit => {
                    state.made += 1;
                    Box::into_raw(Box::new(FRESH)).expose_provenance()
                }
                None => break,
            };
            assert!(state.out.insert(slot));
            out[count].write(NonNull::new(std::ptr::with_exposed_provenance_mut(slot)).unwrap());
            count += 1;
        }
        if count == 0 { Err(AllocError) } else { Ok(count) }
    }
}

// SAFETY: O1: a slot holds the `Object` that it was made of, or what its user left there; `Object`s need no drop.
unsafe impl ObjectAlloc<Object> for Checked {
    fn reset_object(&self, object: &mut Object) {
        object[2] = 0;
    }

    unsafe fn free_uninit(&self, object: NonNull<Object>) {
        // SAFETY: the caller's promise: the slot is ours; an object is made anew in it.
        unsafe { object.write(FRESH) };
        // SAFETY: the caller's promise: it is out, and comes back once.
        unsafe { self.free_slot(object.cast()) };
    }
}
