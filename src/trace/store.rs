//! Arrays in pages of their own: what a profile keeps must not come from the heap that it is about.

use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;

use crate::AllocError;
use crate::source::{BackingSource, Pages};

/// A growing array of plain values, in pages from the OS.
pub(super) struct Store<T: Copy> {
    /// A block of `capacity` values, the first `len` of which are written; dangling if the capacity is zero.
    block: NonNull<T>,
    capacity: usize,
    len: usize,
}

// SAFETY: the values are the store's own.
unsafe impl<T: Copy + Send> Send for Store<T> {}

impl<T: Copy> Store<T> {
    pub(super) const fn new() -> Self {
        const { assert!(size_of::<T>() > 0, "a store is for values that have a size") };
        Store { block: NonNull::dangling(), capacity: 0, len: 0 }
    }

    /// An array of `len` times `value`.
    pub(super) fn filled(len: usize, value: T) -> Result<Self, AllocError> {
        let mut store = Store::new();
        store.reserve(len)?;
        for _ in 0..len {
            store.push(value)?;
        }
        Ok(store)
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn as_slice(&self) -> &[T] {
        // SAFETY: that many values are written, and a dangling pointer is good for none.
        unsafe { core::slice::from_raw_parts(self.block.as_ptr(), self.len) }
    }

    pub(super) const fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: that many values are written, and a dangling pointer is good for none; they are borrowed with the store.
        unsafe { core::slice::from_raw_parts_mut(self.block.as_ptr(), self.len) }
    }

    pub(super) fn push(&mut self, value: T) -> Result<(), AllocError> {
        if self.len == self.capacity {
            self.reserve(self.capacity.max(32).saturating_mul(2))?;
        }
        // SAFETY: the capacity is above the length.
        let place = unsafe { self.block.add(self.len) };
        // SAFETY: the place is one of the block's.
        unsafe { place.write(value) };
        self.len += 1;
        Ok(())
    }

    /// Makes it shorter.
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    fn layout(capacity: usize) -> Result<Layout, AllocError> {
        Layout::array::<T>(capacity).map_err(|_| AllocError)
    }

    /// Makes room for `capacity` values in all.
    pub(super) fn reserve(&mut self, capacity: usize) -> Result<(), AllocError> {
        if capacity <= self.capacity {
            return Ok(());
        }
        let block = Pages.acquire(Self::layout(capacity)?)?.cast::<T>();
        // SAFETY: the old block has `len` values, the new one room for more; they are two blocks.
        unsafe { block.copy_from_nonoverlapping(self.block, self.len) };
        self.release();
        (self.block, self.capacity) = (block, capacity);
        Ok(())
    }

    /// Gives the block back, for a new one or none.
    fn release(&mut self) {
        if let Some(layout) = Self::layout(self.capacity).ok().filter(|layout| layout.size() > 0) {
            // SAFETY: the block was acquired with this layout, and nobody will use it again.
            unsafe { Pages.release(self.block.cast(), layout) };
        }
    }
}

impl<T: Copy> Drop for Store<T> {
    fn drop(&mut self) {
        self.release();
    }
}

impl<T: Copy> fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_while_it_grows() {
        let mut store = Store::new();
        for value in 0..10_000u32 {
            store.push(value).unwrap();
        }
        assert!(store.as_slice().iter().copied().eq(0..10_000));
        store.as_mut_slice()[9] = 5;
        store.truncate(10);
        assert_eq!(store.as_slice(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 5]);
        assert!(Store::<u64>::new().as_slice().is_empty());
        assert_eq!(Store::filled(3, 7u8).unwrap().as_slice(), [7; 3]);
        assert!(Store::filled(usize::MAX, 7u8).is_err());
    }

    #[test]
    fn room_that_is_there_is_not_made_again() {
        let mut store = Store::filled(3, 7u32).unwrap();
        let before = store.as_slice().as_ptr();
        store.reserve(3).unwrap();
        store.reserve(0).unwrap();
        assert_eq!((store.as_slice().as_ptr(), store.as_slice()), (before, &[7; 3][..]));
    }
}
