//! A heap and its live objects, each of them watched for overlaps.

use std::alloc::Layout;

use crate::mix::{Mix, Rng};
use crate::peers::Heap;

#[derive(Clone, Copy)]
struct Object {
    ptr: *mut u8,
    layout: Layout,
    mark: u8,
}

/// A heap and what lives in it. Not for timing: every object is marked at both ends, and the marks are looked at when it
/// is freed, since a figure of a heap that hands memory out twice would say nothing.
pub(crate) struct Objects<H> {
    heap: H,
    live: Vec<Object>,
    payload: usize,
    mark: u8,
}

impl<H: Heap> Objects<H> {
    pub(crate) const fn new(heap: H) -> Self {
        Objects { heap, live: Vec::new(), payload: 0, mark: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }

    /// Bytes asked for and live.
    pub(crate) const fn payload(&self) -> usize {
        self.payload
    }

    /// Allocates; false if there is no room.
    pub(crate) fn add(&mut self, layout: Layout) -> bool {
        let ptr = self.heap.alloc(layout);
        if ptr.is_null() {
            return false;
        }
        assert!(ptr.addr() % layout.align() == 0, "a heap gave a misaligned block");
        self.mark = self.mark.wrapping_add(1);
        // SAFETY: the block is live and of at least one byte.
        unsafe { ptr.write(self.mark) };
        // SAFETY: the block has `size` bytes.
        unsafe { ptr.wrapping_add(layout.size() - 1).write(self.mark) };
        self.live.push(Object { ptr, layout, mark: self.mark });
        self.payload += layout.size();
        true
    }

    /// Frees one of the live objects.
    pub(crate) fn remove_random(&mut self, rng: &mut Rng) {
        let object = self.live.swap_remove(rng.below(self.live.len()));
        // SAFETY: the block is live and its first byte was written.
        let first = unsafe { object.ptr.read() };
        // SAFETY: the block is live and its last byte was written.
        let last = unsafe { object.ptr.wrapping_add(object.layout.size() - 1).read() };
        assert!(first == object.mark && last == object.mark, "a heap handed live memory out twice");
        // SAFETY: the block is live, and this is its layout.
        unsafe { self.heap.free(object.ptr, object.layout) };
        self.payload -= object.layout.size();
    }

    /// Allocates until the first failure.
    pub(crate) fn fill(&mut self, mix: &Mix, rng: &mut Rng) {
        while self.add(mix.draw(rng)) {}
    }
}
