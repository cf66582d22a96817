//! Teaspoon arenas: heaps of any layout in one region, without a header on any live object.

use core::alloc::Layout;
use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::AllocError;
use crate::heap::{Chunk, Heap, Inspect, Locked, Owns, Reset, Usage};
use crate::lock::{Lock, SpinLock};
use crate::sizing::Sizing;

/// An arena behind a lock: `Locked<Arena<S>, L>`.
pub type Teaspoon<'a, S, L = SpinLock> = Locked<Arena<'a, S>, L>;

/// The core of a teaspoon arena.
#[derive(Debug)]
pub struct Arena<'a, S: Sizing> {
    base: NonNull<u8>,
    len: usize,
    memory: PhantomData<(&'a mut [u8], fn() -> S)>,
}

// SAFETY: the region is borrowed exclusively.
unsafe impl<S: Sizing> Send for Arena<'_, S> {}

impl<'a, S: Sizing> Arena<'a, S> {
    /// An arena in a slice.
    #[must_use]
    pub fn from_slice(memory: &'a mut [u8]) -> Self {
        let len = memory.len();
        Arena { base: NonNull::from(memory).cast(), len, memory: PhantomData }
    }
}

impl<'a, S: Sizing, L: Lock> Teaspoon<'a, S, L> {
    /// An arena in a slice.
    #[must_use]
    pub fn from_slice(memory: &'a mut [u8]) -> Self {
        Locked::new(Arena::from_slice(memory))
    }
}

// SAFETY: gives nothing yet.
unsafe impl<S: Sizing> Heap for Arena<'_, S> {
    fn alloc(&mut self, _: Layout) -> Result<NonNull<[u8]>, AllocError> {
        Err(AllocError)
    }

    unsafe fn dealloc(&mut self, _: NonNull<u8>, _: Layout) {}
}

// SAFETY: by address range.
unsafe impl<S: Sizing> Owns for Arena<'_, S> {
    fn owns(&self, ptr: NonNull<u8>, _: Layout) -> bool {
        ptr.addr().get().wrapping_sub(self.base.addr().get()) < self.len
    }
}

impl<S: Sizing> Inspect for Arena<'_, S> {
    fn usage(&self) -> Usage {
        Usage { total: self.len, used: 0, free: self.len, objects: 0 }
    }

    fn chunk_at(&mut self, _: usize) -> Option<Chunk> {
        None
    }
}

impl<S: Sizing> Reset for Arena<'_, S> {
    unsafe fn reset(&mut self) {}
}
