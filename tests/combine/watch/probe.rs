//! A heap that notes which of its methods were called.

use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::arena::Arena;
use heapwright::heap::{Chunk, Corruption, Cursor, Heap, Inspect, Owns, Reset, Usage};
use heapwright::sizing::{Checked, Sizing128KiB};

/// How often each method was called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) alloc: usize,
    pub(crate) dealloc: usize,
    pub(crate) alloc_at_hand: usize,
    pub(crate) dealloc_at_hand: usize,
    pub(crate) alloc_zeroed: usize,
    pub(crate) resize_in_place: usize,
    pub(crate) resize: usize,
    pub(crate) alloc_batch: usize,
    pub(crate) dealloc_batch: usize,
    pub(crate) release_unused: usize,
    pub(crate) try_dealloc: usize,
    pub(crate) reset: usize,
    pub(crate) verify: usize,
}

/// An arena that checks itself, and has everything at hand.
pub(crate) struct Probe<'a> {
    arena: Arena<'a, Checked<Sizing128KiB>>,
    pub(crate) calls: Calls,
}

impl<'a> Probe<'a> {
    pub(crate) fn new(memory: &'a mut [MaybeUninit<u8>]) -> Self {
        Probe { arena: Arena::from_slice(memory), calls: Calls::default() }
    }
}

// SAFETY: all of it is the arena's work.
unsafe impl Heap for Probe<'_> {
    const AT_HAND: bool = true;

    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.calls.alloc += 1;
        self.arena.alloc(layout)
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        self.calls.dealloc += 1;
        // SAFETY: the caller's promise is the same.
        unsafe { self.arena.dealloc(ptr, layout) }
    }

    fn alloc_at_hand(&mut self, layout: Layout) -> Option<NonNull<[u8]>> {
        self.calls.alloc_at_hand += 1;
        self.arena.alloc(layout).ok()
    }

    unsafe fn dealloc_at_hand(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        self.calls.dealloc_at_hand += 1;
        // SAFETY: the caller's promise is the same.
        unsafe { self.arena.dealloc(ptr, layout) };
        true
    }

    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.calls.alloc_zeroed += 1;
        self.arena.alloc_zeroed(layout)
    }

    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        self.calls.resize_in_place += 1;
        // SAFETY: the caller's promise is the same.
        unsafe { self.arena.resize_in_place(ptr, old, new) }
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        self.calls.resize += 1;
        // SAFETY: the caller's promise is the same.
        unsafe { self.arena.resize(ptr, old, new) }
    }

    fn good_size(&self, layout: Layout) -> usize {
        self.arena.good_size(layout)
    }

    fn alloc_batch(&mut self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        self.calls.alloc_batch += 1;
        self.arena.alloc_batch(layout, out)
    }

    unsafe fn dealloc_batch(&mut self, layout: Layout, blocks: &[NonNull<u8>]) {
        self.calls.dealloc_batch += 1;
        // SAFETY: the caller's promise is the same.
        unsafe { self.arena.dealloc_batch(layout, blocks) }
    }

    fn release_unused(&mut self) -> usize {
        self.calls.release_unused += 1;
        4321
    }
}

// SAFETY: the arena's.
unsafe impl Owns for Probe<'_> {
    fn owns(&self, ptr: NonNull<u8>, layout: Layout) -> bool {
        self.arena.owns(ptr, layout)
    }

    unsafe fn try_dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        self.calls.try_dealloc += 1;
        // SAFETY: the caller's promise is the same.
        unsafe { self.arena.try_dealloc(ptr, layout) }
    }
}

impl Reset for Probe<'_> {
    unsafe fn reset(&mut self) {
        self.calls.reset += 1;
        // SAFETY: the caller's promise is the same.
        unsafe { self.arena.reset() }
    }
}

impl Inspect for Probe<'_> {
    fn usage(&self) -> Usage {
        self.arena.usage()
    }

    fn next_chunk(&mut self, cursor: &mut Cursor) -> Option<Chunk> {
        self.arena.next_chunk(cursor)
    }

    fn verify(&mut self) -> Result<(), Corruption> {
        self.calls.verify += 1;
        self.arena.verify()
    }

    fn misuses(&self) -> usize {
        self.arena.misuses()
    }
}
