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

/// All three pointers of a bin that is not open.
const CLOSED: *mut Place = (&raw const NOTHING).cast::<Place>().wrapping_add(1).cast_mut();

/// Two stacks of free objects: one to take from, one to give to. When the first is empty they change places.
///
/// ```text
///  ┌──────┬──────┬──────┬─────────────┬──────┬──────┬──────┬──────┬───────────┐
///  │ null │ obj. │ obj. │ (stale)     │ null │ obj. │ obj. │ obj. │ (stale)   │
///  └──────┴──────┴──────┴─────────────┴──────┴──────┴──────┴──────┴───────────┘
///         base           take                base                 give     limit
/// ```
/// What ends a stack is null, so that to take an object is one look: there is nothing to compare `take` with.
///
/// Two stacks, because a free and an allocation then have no place in common. With one, a pair took about half as long again (the guide's chapter
/// [`performance`](crate::guide::performance)): each waits for what the other has just written. Whether processors also let an allocation go ahead of a free
/// whose class is known late, and undo it, was not found out.
///
/// Invariants: the places from a stack's base to below `take`, or `give`, hold free objects of the class, and the one before each base is null; `limit` is
/// not below `give`, and within the room of its stack. A bin that is not open has `CLOSED` in all three.
#[repr(C, align(32))]
pub(super) struct Bin {
    /// Written by its thread alone, as is `give`; others read them, to count.
    take: AtomicPtr<Place>,
    give: AtomicPtr<Place>,
    limit: Cell<*mut Place>,
    /// `take` and `give` as they were when somebody last looked whether this bin is in use.
    seen: Cell<usize>,
}

/// Where the two stacks of a bin are: the base of the first; the second lies behind it, with a place between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stacks {
    pub(super) base: *mut Place,
    /// Places of each.
    pub(super) most: usize,
}

impl Stacks {
    /// Places of both, with the marks before them.
    pub(super) const fn places(most: usize) -> usize {
        2 * (most + 1)
    }

    /// The base of the stack that `top` is in.
    fn base_of(self, top: *mut Place) -> *mut Place {
        if top <= self.base.wrapping_add(self.most) { self.base } else { self.second() }
    }

    /// The base of the second stack.
    fn second(self) -> *mut Place {
        self.base.wrapping_add(self.most + 1)
    }

    /// Whether this is a top of one of the two.
    fn has(self, top: *mut Place) -> bool {
        top.addr().wrapping_sub(self.base.addr()) < Self::places(self.most) * size_of::<Place>()
    }

    /// How high a stack is.
    fn height(self, top: *mut Place) -> usize {
        (top.addr() - self.base_of(top).addr()) / size_of::<Place>()
    }
}

impl Bin {
    /// Not open.
    pub(super) const fn new() -> Self {
        Bin {
            take: AtomicPtr::new(CLOSED),
            give: AtomicPtr::new(CLOSED),
            limit: Cell::new(CLOSED),
            seen: Cell::new(0),
        }
    }

    /// An object, or null.
    #[inline(always)]
    pub(super) fn pop(&self) -> *mut u8 {
        let last = self.take.load(Ordering::Relaxed).wrapping_sub(1);
        // SAFETY: below `take` is an object, or the null that ends the stack: the invariant.
        let object = unsafe { last.read() };
        if !object.is_null() {
            self.take.store(last, Ordering::Relaxed);
        }
        entire(object)
    }

    /// Puts an object here, if there is room; says whether.
    ///
    /// # Safety
    /// It is a free object of this bin's class, in no other place.
    #[inline(always)]
    pub(super) unsafe fn push(&self, object: *mut u8) -> bool {
        let top = self.give.load(Ordering::Relaxed);
        if top == self.limit.get() {
            return false;
        }
        // SAFETY: below the limit is room: the invariant.
        unsafe { top.write(object) };
        self.give.store(top.wrapping_add(1), Ordering::Relaxed);
        true
    }

    /// Whether it is open.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.limit.get() != CLOSED
    }

    /// Opens the bin, with empty stacks.
    ///
    /// # Safety
    /// It is not open; the stacks' places, and those of the marks, are this bin's until it is closed; `room` is no more than their most.
    pub(super) unsafe fn open(&self, stacks: Stacks, room: usize) {
        let second = stacks.second();
        for base in [stacks.base, second] {
            let mark = base.wrapping_sub(1);
            // SAFETY: the caller's promise.
            unsafe { mark.write(ptr::null_mut()) };
        }
        self.take.store(stacks.base, Ordering::Relaxed);
        self.give.store(second, Ordering::Relaxed);
        self.limit.set(second.wrapping_add(room));
        self.seen.set(0);
    }

    /// Moves all objects to other stacks, of which the one to give to gets such a room.
    ///
    /// # Safety
    /// The bin is open, with the stacks `from`. The places of `to`, and those of the marks, are this bin's until it is closed; `room` is no more than
    /// their most, and no less than what is on either stack.
    pub(super) unsafe fn move_to(&self, from: Stacks, to: Stacks, room: usize) {
        let ((taken, to_take), (given, to_give)) = (self.to_take(from), self.to_give(from));
        let second = to.second();
        for (source, target, len) in [(taken, to.base, to_take), (given, second, to_give)] {
            // With the mark before them.
            let (source, target) = (source.wrapping_sub(1), target.wrapping_sub(1));
            // SAFETY: the mark and the objects of a stack; the caller's promise: the same number of places, others.
            unsafe { target.copy_from_nonoverlapping(source, len + 1) };
        }
        self.take.store(to.base.wrapping_add(to_take), Ordering::Relaxed);
        self.give.store(second.wrapping_add(to_give), Ordering::Relaxed);
        self.limit.set(second.wrapping_add(room));
    }

    /// Takes the oldest `count` objects off the stack to give to, which has that many: the others move down.
    pub(super) fn drop_given(&self, stacks: Stacks, count: usize) {
        let (base, len) = self.to_give(stacks);
        debug_assert!(count <= len);
        // SAFETY: places of the stack, as many as there are objects above those.
        unsafe { base.copy_from(base.wrapping_add(count), len - count) };
        self.give.store(base.wrapping_add(len - count), Ordering::Relaxed);
    }

    /// Closes the bin, which is empty.
    pub(super) fn close(&self) {
        self.take.store(CLOSED, Ordering::Relaxed);
        self.give.store(CLOSED, Ordering::Relaxed);
        self.limit.set(CLOSED);
    }

    /// Objects of both stacks. Another thread may ask: it gets what was true a moment ago.
    pub(super) fn len(&self, stacks: Stacks) -> usize {
        let tops = [&self.take, &self.give].map(|top| top.load(Ordering::Relaxed));
        // That the stacks are others meanwhile is nothing that a count has to get right.
        tops.into_iter().filter(|&top| stacks.has(top)).map(|top| stacks.height(top)).sum()
    }

    /// The stacks change places, whatever is on them. The limit of the one to give to is what is there, or the former room.
    pub(super) fn swap(&self, stacks: Stacks) {
        let (take, give) = (self.take.load(Ordering::Relaxed), self.give.load(Ordering::Relaxed));
        let room = self.room(stacks).max(stacks.height(take));
        self.take.store(give, Ordering::Relaxed);
        self.give.store(take, Ordering::Relaxed);
        self.limit.set(stacks.base_of(take).wrapping_add(room));
    }

    /// Places of the stack to give to, up to the limit.
    pub(super) fn room(&self, stacks: Stacks) -> usize {
        stacks.height(self.limit.get())
    }

    /// Moves the limit.
    ///
    /// # Safety
    /// The bin is open, with these stacks; `room` is no more than their most, and no less than what is on the stack to give to.
    pub(super) unsafe fn set_room(&self, stacks: Stacks, room: usize) {
        self.limit.set(stacks.base_of(self.give.load(Ordering::Relaxed)).wrapping_add(room));
    }

    /// The stack to take from: its base, and how high it is.
    pub(super) fn to_take(&self, stacks: Stacks) -> (*mut Place, usize) {
        let take = self.take.load(Ordering::Relaxed);
        (stacks.base_of(take), stacks.height(take))
    }

    /// The stack to give to.
    pub(super) fn to_give(&self, stacks: Stacks) -> (*mut Place, usize) {
        let give = self.give.load(Ordering::Relaxed);
        (stacks.base_of(give), stacks.height(give))
    }

    /// Says how high the stack to take from is.
    ///
    /// # Safety
    /// The bin is open, with these stacks, and so many places from that stack's base on hold free objects of the class.
    pub(super) unsafe fn set_to_take(&self, stacks: Stacks, len: usize) {
        let base = stacks.base_of(self.take.load(Ordering::Relaxed));
        self.take.store(base.wrapping_add(len), Ordering::Relaxed);
    }

    /// Whether both stacks are as when this was last asked.
    pub(super) fn is_idle(&self) -> bool {
        let (take, give) = (self.take.load(Ordering::Relaxed), self.give.load(Ordering::Relaxed));
        let now = take.addr().rotate_left(16) ^ give.addr();
        self.seen.replace(now) == now
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Whichever of the two tops has moved, and whatever the other is.
    #[test]
    fn a_bin_is_idle_if_neither_top_has_moved() {
        let bin = Bin::new();
        let high = !7;
        for (take, give) in
            [(8, 0), (16, 0), (16, 8), (16, high), (24, high), (24, high - 8), (high, high - 8)]
        {
            bin.take.store(ptr::without_provenance_mut(take), Ordering::Relaxed);
            bin.give.store(ptr::without_provenance_mut(give), Ordering::Relaxed);
            assert!(!bin.is_idle(), "{take:#x} {give:#x}");
            assert!(bin.is_idle(), "{take:#x} {give:#x}");
        }
    }
}
