//! What a slab knows about itself, and the lists that slabs stand in.

use core::ptr::{self, NonNull};

/// Bytes of a [`Header`]; its tables follow at once.
pub(super) const HEADER_LEN: usize = size_of::<Header>();

/// Bytes of a region's record, before its headers: a cache line.
pub(super) const REGION_LEN: usize = 64;

/// The list that a slab stands in, by how much of it is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Shelf {
    /// Nothing free, or less than is worth a visit.
    Asleep,
    /// Some free: at least 1/8, 1/4, 1/2, 3/4.
    Eighth,
    Quarter,
    Half,
    Most,
    /// All free.
    Free,
    /// In no list: the one that objects are taken from, or one that has been detached.
    Out,
}

/// The lists of slabs with some objects free, the fullest slabs first.
pub(super) const PARTIAL: [Shelf; 4] = [Shelf::Eighth, Shelf::Quarter, Shelf::Half, Shelf::Most];
/// How many lists there are.
pub(super) const SHELVES: usize = 6;

/// A slab's header. It lies outside the objects; nothing but slab code reads or writes it.
///
/// Aligned to the words of the tables that follow it, also where pointers are of four bytes and those words are not.
#[derive(Debug)]
#[repr(C, align(8))]
pub(super) struct Header {
    /// The next slab of the list, or null.
    pub(super) next: *mut Header,
    /// The one before, or null.
    pub(super) prev: *mut Header,
    /// The slab's first byte, good for the whole slab.
    pub(super) base: NonNull<u8>,
    /// Free objects.
    pub(super) free: u32,
    /// At so many free objects the slab changes lists.
    pub(super) limit: u32,
    /// Objects, free or not.
    pub(super) capacity: u32,
    /// Free objects that are constructed; stays 0 where that isn't tracked.
    pub(super) kept: u32,
    /// For the bookkeeping's own use.
    pub(super) notes: [u32; 2],
    /// The list that it stands in.
    pub(super) shelf: Shelf,
}

const _: () = assert!(align_of::<Header>() >= align_of::<u64>() && HEADER_LEN % align_of::<u64>() == 0);

impl Header {
    /// Fewest free objects of a slab that stands in this list, for `Asleep` one.
    pub(super) const fn threshold(capacity: u32, shelf: Shelf) -> u32 {
        let least = match shelf {
            Shelf::Asleep | Shelf::Eighth => capacity / 8,
            Shelf::Quarter => capacity / 4,
            Shelf::Half => capacity / 2,
            Shelf::Most => capacity - capacity / 4,
            Shelf::Free | Shelf::Out => capacity,
        };
        if least == 0 { 1 } else { least }
    }

    /// The list for a slab with so many free objects, and at how many it leaves that list upwards.
    pub(super) fn place(free: u32, capacity: u32) -> (Shelf, u32) {
        if free == capacity {
            return (Shelf::Free, u32::MAX);
        }
        let mut place = Shelf::Asleep;
        for shelf in PARTIAL {
            let threshold = Self::threshold(capacity, shelf);
            if free < threshold {
                return (place, threshold);
            }
            place = shelf;
        }
        (place, capacity)
    }
}

/// A doubly linked list of slabs through their headers.
///
/// Invariant: `first` and all that follows it are headers in use, each in this list only, `prev` of each the one before.
#[derive(Debug)]
pub(super) struct List {
    pub(super) first: *mut Header,
}

impl List {
    pub(super) const EMPTY: Self = List { first: ptr::null_mut() };

    /// Puts a slab in front.
    ///
    /// # Safety
    /// `slab` is a header in use, in no list.
    pub(super) unsafe fn push(&mut self, slab: NonNull<Header>) {
        // SAFETY: the caller's promise.
        unsafe { (*slab.as_ptr()).next = self.first };
        // SAFETY: the caller's promise.
        unsafe { (*slab.as_ptr()).prev = ptr::null_mut() };
        if let Some(first) = NonNull::new(self.first) {
            // SAFETY: the list's invariant: it is a header in use.
            unsafe { (*first.as_ptr()).prev = slab.as_ptr() };
        }
        self.first = slab.as_ptr();
    }

    /// Takes a slab out.
    ///
    /// # Safety
    /// `slab` stands in this list.
    pub(super) unsafe fn unlink(&mut self, slab: NonNull<Header>) {
        // SAFETY: the caller's promise.
        let next = unsafe { (*slab.as_ptr()).next };
        // SAFETY: the caller's promise.
        let prev = unsafe { (*slab.as_ptr()).prev };
        match NonNull::new(prev) {
            // SAFETY: the list's invariant: a neighbour is a header in use.
            Some(prev) => unsafe { (*prev.as_ptr()).next = next },
            None => self.first = next,
        }
        if let Some(next) = NonNull::new(next) {
            // SAFETY: the list's invariant: a neighbour is a header in use.
            unsafe { (*next.as_ptr()).prev = prev };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slabs stand with others that have at least an eighth, a quarter, half or three quarters of their objects free, and leave when they have
    /// as many as the next.
    #[test]
    fn slabs_stand_by_their_free_objects() {
        for (free, shelf, limit) in [
            (0, Shelf::Asleep, 12),
            (11, Shelf::Asleep, 12),
            (12, Shelf::Eighth, 25),
            (24, Shelf::Eighth, 25),
            (25, Shelf::Quarter, 51),
            (50, Shelf::Quarter, 51),
            (51, Shelf::Half, 77),
            (76, Shelf::Half, 77),
            (77, Shelf::Most, 102),
            (101, Shelf::Most, 102),
            (102, Shelf::Free, u32::MAX),
        ] {
            assert_eq!(Header::place(free, 102), (shelf, limit), "{free} of 102");
        }
    }
}
