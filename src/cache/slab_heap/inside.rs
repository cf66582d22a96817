//! What is inside a heap of slab caches: its memory, and its parts.

use core::fmt;

use super::{Shapes, SlabHeap};
use crate::cache::front::{AtHand, stretch};
use crate::cache::retention::Retention;
use crate::cache::size_classes::{SizeClasses, describe_classes};
use crate::cache::watch::SlabChecks;
use crate::check::Checks;
use crate::describe::{Child, Cost, Describe, Tree};
use crate::heap::{Chunk, ChunkKind, Corruption, Cursor, Heap, Inspect, Usage};
use crate::slab::SlabSystem;

/// What the next heap has handed out counts as used, by the next heap's own word ([`Heap::good_size`]).
impl<C: SizeClasses, S: SlabSystem, N: Heap, R: Retention, const FRONT: usize, P: Checks> Inspect
    for SlabHeap<C, S, N, R, FRONT, P>
{
    /// How full it is. O(classes).
    fn usage(&self) -> Usage {
        let mut usage =
            Usage { total: self.large.bytes, used: self.large.bytes, free: 0, objects: self.large.blocks };
        for (class, shape) in self.classes.as_ref().iter().zip(Shapes::<C, S>::ALL) {
            let stats = class.stats(shape);
            usage.total += stats.bytes_held;
            usage.used += stats.bytes_live();
            usage.free += (stats.capacity - stats.live) * stats.slot_size;
            usage.objects += stats.live;
        }
        usage
    }

    /// The slabs of one class behind those of the other, whatever their addresses, and at last all that the next heap has handed out as one
    /// chunk. The first step puts the objects at hand back to their slabs. O(classes + slabs + objects of a slab).
    fn next_chunk(&mut self, cursor: &mut Cursor) -> Option<Chunk> {
        if cursor.offset == 0 {
            self.each(|class, shape, source| {
                // SAFETY: the invariant of `classes`.
                unsafe { class.flush(source, shape) };
                0
            });
        }
        let mut offset = cursor.offset;
        let mut found = None;
        for (class, shape) in self.classes.as_ref().iter().zip(Shapes::<C, S>::ALL) {
            let len = class.system().census().slabs * shape.slab_size();
            if offset < len {
                // SAFETY: the invariant of `classes`.
                let slab = unsafe { class.system().slab(shape, offset / shape.slab_size()) }?;
                let within = offset % shape.slab_size();
                let (kind, next) = stretch(&slab, within);
                found = Some((kind, next - within));
                break;
            }
            offset -= len;
        }
        let large = self.large.bytes.checked_sub(offset).filter(|&len| len > 0);
        let (kind, len) = found.or(large.map(|len| (ChunkKind::Used, len)))?;
        let chunk = Chunk { offset: cursor.offset, len, kind };
        cursor.offset += len;
        Some(chunk)
    }

    /// Checks all slabs. What the next heap believes is its own business.
    fn verify(&mut self) -> Result<(), Corruption> {
        let mut classes = self.classes.as_ref().iter().zip(Shapes::<C, S>::ALL);
        // SAFETY: the invariant of `classes`.
        classes.try_for_each(|(class, shape)| unsafe { class.system().verify(shape) })
    }

    /// How much was found here, not in the next heap.
    fn misuses(&self) -> usize {
        self.watch.misuses()
    }
}

impl<C, S, N, R, const FRONT: usize, P> Describe for SlabHeap<C, S, N, R, FRONT, P>
where
    C: SizeClasses,
    S: SlabSystem + Describe,
    N: Heap + Describe,
    R: Retention + Describe,
    P: Checks + Describe,
{
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        // Slabs and policy are told for one class, and there is one of each for every class.
        let of_classes = C::COUNT * size_of::<(S, R)>();
        let state = Cost::state_around::<Self, (S::Source, N)>().state.saturating_sub(of_classes);
        let parts: [Child<'_>; 5] = [
            ("classes", describe_classes::<C>),
            ("slabs of each class", S::describe),
            ("free slabs of each class", R::describe),
            ("next", N::describe),
            ("checks", P::describe),
        ];
        let parts = if P::LOOKS { &parts[..] } else { &parts[..4] };
        tree.part(
            format_args!("SlabHeap, {} for each class", AtHand(FRONT, false)),
            Cost { state, per_block: 0 },
            parts,
        )
    }
}
