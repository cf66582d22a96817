//! A front: the slots that one thread, handle or CPU has at hand.

use core::cell::Cell;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

/// Room for a slot's pointer.
pub(super) type Room = MaybeUninit<NonNull<u8>>;

/// No pointer, all zero.
pub(super) const VACANT: Room = MaybeUninit::zeroed();

/// Two magazines end to end, used as one stack.
///
/// ```text
///   slots[0]: the older magazine     slots[1]: the younger one
///   +---+---+---+---+ ... +---+      +---+---+---+ ... +---+
///   | . | . | . | . |     | . |      | . | . |   |     |   |
///   +---+---+---+---+ ... +---+      +---+---+---+ ... +---+
///     0   1   2   3        N-1         N  N+1  ^ count       2N
/// ```
///
/// Magazines come and go at `slots[0]`: one comes when the stack is empty, the older goes when it is full. Either way
/// `N` slots are left, so that the depot is not asked again before `N` more have been taken or given: what Bonwick and Adams'
/// loaded and previous magazine are for, without the exchange, and what is kept is what was used last.
///
/// Invariants:
/// - **F1** the first `count` rooms hold pointers to free slots of the cache, all different, that are nowhere else.
/// - **F2** `count` is at most `2 * N`.
///
/// All access is by `Cell`s, for moments: nothing here calls out, and nothing stays borrowed.
#[derive(Debug)]
pub struct Front<const N: usize> {
    count: Cell<usize>,
    slots: [[Cell<Room>; N]; 2],
}

impl<const N: usize> Front<N> {
    /// An empty front, all zero.
    pub(super) const fn new() -> Self {
        Front { count: Cell::new(0), slots: [const { [const { Cell::new(VACANT) }; N] }; 2] }
    }

    /// How many slots are at hand.
    pub(super) fn len(&self) -> usize {
        self.count.get()
    }

    /// Whether a whole magazine has to leave before a slot can come.
    pub(super) fn has_no_room(&self) -> bool {
        self.count.get() == 2 * N
    }

    /// Takes the slot that came last.
    #[inline(always)]
    pub(super) fn pop(&self) -> Option<NonNull<u8>> {
        // Zero wraps round to a place that does not exist.
        let top = self.count.get().wrapping_sub(1);
        let place = self.slots.as_flattened().get(top)?.get();
        self.count.set(top);
        // SAFETY: F1: `top` was below `count`. From now on it is not, and the slot is the caller's.
        Some(entire(unsafe { place.assume_init() }))
    }

    /// Puts a slot on top; `false` if there is no room, and then nothing has changed.
    #[inline(always)]
    pub(super) fn push(&self, slot: NonNull<u8>) -> bool {
        let count = self.count.get();
        let Some(place) = self.slots.as_flattened().get(count) else { return false };
        place.set(MaybeUninit::new(slot));
        self.count.set(count + 1);
        true
    }

    /// Takes a whole magazine in. There must be none yet: the front is empty.
    pub(super) fn load(&self, magazine: &[Room; N]) {
        debug_assert!(self.count.get() == 0, "a magazine comes when the front is empty");
        for (to, from) in self.slots[0].iter().zip(magazine) {
            to.set(*from);
        }
        self.count.set(N);
    }

    /// Gives the older magazine away, whole or not: the number of slots that are now in `magazine` and no longer here.
    pub(super) fn unload(&self, magazine: &mut [Room; N]) -> usize {
        let count = self.count.get();
        for (to, from) in magazine.iter_mut().zip(&self.slots[0]) {
            *to = from.get();
        }
        for (to, from) in self.slots[0].iter().zip(&self.slots[1]) {
            to.set(from.get());
        }
        self.count.set(count.saturating_sub(N));
        count.min(N)
    }
}

/// The pointer to all of a slot. Whoever gave the slot back may have had the right to a part of it only, that of a `Box` of a smaller
/// type, say; the memory's own provenance is exposed (obligation U5 of
/// [`UntypedObjectAlloc`](crate::cache::UntypedObjectAlloc)).
#[inline(always)]
pub(super) fn entire(slot: NonNull<u8>) -> NonNull<u8> {
    let slot = ptr::with_exposed_provenance_mut(slot.addr().get());
    // SAFETY: the address was that of a `NonNull`.
    unsafe { NonNull::new_unchecked(slot) }
}

/// A magazine on its way to or from the inner cache, on the stack.
pub(super) struct Magazine<const N: usize> {
    /// The first `count` places hold slots that are nowhere else.
    pub(super) count: usize,
    pub(super) slots: [Room; N],
}

impl<const N: usize> Magazine<N> {
    /// An empty one.
    pub(super) const fn new() -> Self {
        Magazine { count: 0, slots: [const { MaybeUninit::uninit() }; N] }
    }

    /// What it holds.
    pub(super) fn as_slice(&self) -> &[NonNull<u8>] {
        let held = &raw const self.slots[..self.count];
        // SAFETY: the first `count` places are initialised, and borrowed as long as `self` is.
        unsafe { &*(held as *const [NonNull<u8>]) }
    }
}
