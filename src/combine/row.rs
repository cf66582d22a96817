//! Heaps looked into as if their regions were one, the next behind the last.

use crate::heap::{Chunk, Corruption, Cursor, Inspect, Usage};

/// The usage of two heaps together.
pub(super) fn sum(one: Usage, other: Usage) -> Usage {
    Usage {
        total: one.total + other.total,
        used: one.used + other.used,
        free: one.free + other.free,
        objects: one.objects + other.objects,
    }
}

/// A step of a walk over heaps in a row: each is asked in turn, until one has a chunk.
pub(super) struct Step<'c> {
    cursor: &'c mut Cursor,
    /// Bytes of the heaps that were asked.
    before: usize,
}

impl<'c> Step<'c> {
    pub(super) fn new(cursor: &'c mut Cursor) -> Self {
        Step { cursor, before: 0 }
    }

    /// The chunk at the cursor, if it is in this heap.
    pub(super) fn ask<H: Inspect>(&mut self, heap: &mut H) -> Option<Chunk> {
        let start = self.before;
        self.before += heap.usage().total;
        if self.cursor.offset >= self.before {
            return None;
        }
        let offset = self.cursor.offset - start;
        // What stands at a heap's start has not been there before.
        let version = if offset == 0 { 0 } else { self.cursor.version };
        let mut within = Cursor { offset, version };
        let Some(chunk) = heap.next_chunk(&mut within) else {
            *self.cursor = Cursor { offset: self.before, version: 0 };
            return None;
        };
        *self.cursor = Cursor { offset: start + within.offset, version: within.version };
        Some(Chunk { offset: start + chunk.offset, ..chunk })
    }
}

/// Checks a heap that stands `before` bytes from the start of the row.
pub(super) fn verify<H: Inspect>(heap: &mut H, before: usize) -> Result<(), Corruption> {
    heap.verify().map_err(|found| Corruption { offset: before + found.offset, ..found })
}

/// Writes [`Inspect`] for a combinator of two heaps, `first` and `second`.
macro_rules! inspect_two {
    ([$($generics:tt)*] $type:ty) => {
        /// The second heap's region is shown behind the first's.
        impl<$($generics)*> crate::heap::Inspect for $type {
            fn usage(&self) -> crate::heap::Usage {
                crate::combine::row::sum(self.first.usage(), self.second.usage())
            }

            fn next_chunk(&mut self, cursor: &mut crate::heap::Cursor) -> Option<crate::heap::Chunk> {
                let mut step = crate::combine::row::Step::new(cursor);
                step.ask(&mut self.first).or_else(|| step.ask(&mut self.second))
            }

            fn verify(&mut self) -> Result<(), crate::heap::Corruption> {
                self.first.verify()?;
                let before = self.first.usage().total;
                crate::combine::row::verify(&mut self.second, before)
            }

            fn misuses(&self) -> usize {
                self.first.misuses() + self.second.misuses()
            }
        }
    };
}

/// Writes [`Inspect`] for a combinator of one heap, its field `heap`, as that heap's own.
macro_rules! inspect_one {
    ([$($generics:tt)*] $type:ty) => {
        impl<$($generics)*> crate::heap::Inspect for $type {
            fn usage(&self) -> crate::heap::Usage {
                self.heap.usage()
            }

            fn next_chunk(&mut self, cursor: &mut crate::heap::Cursor) -> Option<crate::heap::Chunk> {
                self.heap.next_chunk(cursor)
            }

            fn verify(&mut self) -> Result<(), crate::heap::Corruption> {
                self.heap.verify()
            }

            fn misuses(&self) -> usize {
                self.heap.misuses()
            }
        }
    };
}

pub(super) use {inspect_one, inspect_two};
