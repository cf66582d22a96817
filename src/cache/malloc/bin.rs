//! The free objects of one class that a thread has at hand.

use core::cell::Cell;
use core::fmt;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

/// A place of a stack.
pub(super) type Place = *mut u8;

/// The stack of a bin that is not open: nothing to take from it, no room in it.
struct Nothing(#[expect(dead_code, reason = "it is there to be pointed to")] [Place; 2]);

// SAFETY: nothing is ever written there.
unsafe impl Sync for Nothing {}

static NOTHING: Nothing = Nothing([ptr::null_mut(); 2]);

/// `top` and `limit` of a bin that is not open.
const CLOSED: *mut Place = (&raw const NOTHING).cast::<Place>().wrapping_add(1).cast_mut();

/// `hot` of a bin that is not open: no object, and no room for one.
const NO_ROOM: *mut u8 = ptr::without_provenance_mut(1);

/// A stack of free objects, and one more before it.
///
/// ```text
///           base             top          limit
///   ┌──────┬──────┬──────┬──┬────────────┬─────        ┌─────┐
///   │ null │ obj. │ obj. │ …│ (stale)    │ …           │ hot │ an object, null, or no room
///   └──────┴──────┴──────┴──┴────────────┴─────        └─────┘
/// ```
/// What ends the stack is null, so that to take an object is one look: there is nothing to compare `top` with. An object that comes back goes to `hot` if that
/// is vacant, and is the next to go out. Where one object comes and goes, nothing is counted up and down, whose change, read again right away, would take
/// longer than all the rest.
///
/// Invariants: the places from the stack's base to below `top` hold free objects of the class, the one before the base null; `top` is at most `limit`, which
/// is at most the end of the stack's room. `hot` is null, `NO_ROOM`, or a free object. A bin that is not open has `CLOSED` in both, and `NO_ROOM`.
#[repr(C, align(32))]
pub(super) struct Bin {
    hot: Cell<*mut u8>,
    /// Written by its thread alone; others read it, to count.
    top: AtomicPtr<Place>,
    limit: Cell<*mut Place>,
    /// `top` as it was when somebody last looked whether this bin is in use.
    seen: Cell<*mut Place>,
}

impl Bin {
    /// Not open.
    pub(super) const fn new() -> Self {
        Bin {
            hot: Cell::new(NO_ROOM),
            top: AtomicPtr::new(CLOSED),
            limit: Cell::new(CLOSED),
            seen: Cell::new(ptr::null_mut()),
        }
    }

    /// An object, or null.
    #[inline(always)]
    pub(super) fn pop(&self) -> *mut u8 {
        let hot = self.hot.get();
        if hot.addr() > NO_ROOM.addr() {
            self.hot.set(ptr::null_mut());
            return entire(hot);
        }
        let last = self.top().wrapping_sub(1);
        // SAFETY: below `top` is an object, or the null that ends the stack: the invariant.
        let object = unsafe { last.read() };
        if !object.is_null() {
            self.top.store(last, Ordering::Relaxed);
        }
        entire(object)
    }

    /// Puts an object here, if there is room; says whether.
    ///
    /// # Safety
    /// It is a free object of this bin's class, in no other place.
    #[inline(always)]
    pub(super) unsafe fn push(&self, object: *mut u8) -> bool {
        if self.hot.get().is_null() {
            self.hot.set(object);
            return true;
        }
        let top = self.top();
        if top == self.limit.get() {
            return false;
        }
        // SAFETY: below the limit is room: the invariant.
        unsafe { top.write(object) };
        self.top.store(top.wrapping_add(1), Ordering::Relaxed);
        true
    }

    #[inline(always)]
    fn top(&self) -> *mut Place {
        self.top.load(Ordering::Relaxed)
    }

    /// Whether it is open.
    pub(super) fn is_open(&self) -> bool {
        self.limit.get() != CLOSED
    }

    /// Opens the bin: an empty stack, whose limit is `room` places on.
    ///
    /// # Safety
    /// It is not open; the place before `base` and `room` or more from there on are this bin's until it is closed.
    pub(super) unsafe fn open(&self, base: *mut Place, room: usize) {
        let mark = base.wrapping_sub(1);
        // SAFETY: the caller's promise.
        unsafe { mark.write(ptr::null_mut()) };
        self.hot.set(ptr::null_mut());
        self.top.store(base, Ordering::Relaxed);
        self.limit.set(base.wrapping_add(room));
        self.seen.set(base);
    }

    /// Closes the bin, which is empty.
    pub(super) fn close(&self) {
        self.hot.set(NO_ROOM);
        self.top.store(CLOSED, Ordering::Relaxed);
        self.limit.set(CLOSED);
    }

    /// Objects of the stack. Another thread may ask: it gets what was true a moment ago.
    pub(super) fn len(&self, base: *mut Place) -> usize {
        let top = self.top();
        if top == CLOSED { 0 } else { (top.addr() - base.addr()) / size_of::<Place>() }
    }

    /// Places up to the limit.
    pub(super) fn room(&self, base: *mut Place) -> usize {
        (self.limit.get().addr() - base.addr()) / size_of::<Place>()
    }

    /// Moves the limit.
    ///
    /// # Safety
    /// The bin is open, with this base, has no more than `room` objects, and room for so many.
    pub(super) unsafe fn set_room(&self, base: *mut Place, room: usize) {
        self.limit.set(base.wrapping_add(room));
    }

    /// Says how many objects there are.
    ///
    /// # Safety
    /// The bin is open, with this base; the first `len` places hold free objects of the class, and `len` is at most the room.
    pub(super) unsafe fn set_len(&self, base: *mut Place, len: usize) {
        self.top.store(base.wrapping_add(len), Ordering::Relaxed);
    }

    /// The hot object, taken out.
    pub(super) fn take_hot(&self) -> *mut u8 {
        let hot = self.hot.get();
        if hot.addr() > NO_ROOM.addr() {
            self.hot.set(ptr::null_mut());
            return hot;
        }
        ptr::null_mut()
    }

    /// Whether the stack is as high as when this was last asked.
    pub(super) fn is_idle(&self) -> bool {
        let top = self.top();
        self.seen.replace(top) == top
    }
}

/// The object at the address of `object`, good for all of it: what came back may be a pointer that is good for less. (Y5: its provenance is exposed.)
#[inline(always)]
fn entire(object: *mut u8) -> *mut u8 {
    ptr::with_exposed_provenance_mut(object.addr())
}

impl fmt::Debug for Bin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bin").field("open", &self.is_open()).finish_non_exhaustive()
    }
}
