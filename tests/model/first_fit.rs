//! A plain heap with faults to switch on: what the model is tried on.

use std::alloc::Layout;
use std::marker::PhantomData;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::heap::{Chunk, ChunkKind, Corruption, Cursor, Heap, Inspect, Owns, Reset, Usage};

/// Bytes of one granule.
pub(crate) const GRANULE: usize = 4;

/// A fault that the heap has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seeded {
    /// None: the heap is right.
    Nothing,
    /// A resize that moves into the gap right before the block forgets the new block (trap T8).
    ForgetsTheMoved,
    /// A resize that moves copies all but the last byte.
    CopiesTooLittle,
    /// A resize that fails frees the block.
    FreesOnFailure,
    /// A resize in place grows over the next block by a granule.
    GrowsTooFar,
    /// Alignments above 16 are taken for 16.
    AlignsTooLittle,
    /// `alloc_zeroed` leaves the last byte as it was.
    ZeroesTooLittle,
    /// The length is rounded down to the granule.
    RoundsDown,
    /// The last block may end one granule past the region.
    PassesTheEnd,
    /// A free of the block at the region's end writes a granule behind it.
    WritesBehind,
    /// An object that shrinks is counted twice.
    CountsTwice,
    /// What an object takes is counted short.
    CountsShort,
    /// Requests above half of the region are refused.
    RefusesLarge,
    /// A free of a longer layout than requested is not recognised.
    FreesExactOnly,
    /// Free memory is told as two chunks.
    SplitsChunks,
    /// `owns` denies the block at the region's start.
    DeniesTheFirst,
}

/// Blocks in a sorted list, placed by first fit.
#[derive(Debug)]
pub(crate) struct FirstFit<'a> {
    base: NonNull<u8>,
    len: usize,
    /// Offset and length of each live block, and the size it was asked for; by offset.
    live: Vec<(usize, usize, usize)>,
    extra_objects: usize,
    fault: Seeded,
    memory: PhantomData<&'a mut [u8]>,
}

impl FirstFit<'_> {
    /// A heap in `len` bytes from `base` on.
    ///
    /// # Safety
    /// The bytes, and with [`Seeded::WritesBehind`] a granule behind them, are this heap's alone while it lives.
    pub(crate) unsafe fn new(base: NonNull<u8>, len: usize, fault: Seeded) -> Self {
        FirstFit { base, len, live: Vec::new(), extra_objects: 0, fault, memory: PhantomData }
    }

    fn is(&self, fault: Seeded) -> bool {
        self.fault == fault
    }

    fn offset(&self, ptr: NonNull<u8>) -> usize {
        ptr.addr().get() - self.base.addr().get()
    }

    /// The block at `offset`, `len` bytes long.
    fn block(&self, offset: usize, len: usize) -> NonNull<[u8]> {
        // SAFETY: the offset lies in the region.
        let ptr = unsafe { self.base.add(offset) };
        NonNull::slice_from_raw_parts(ptr, len)
    }

    /// The index of the block that starts at `ptr`.
    fn find(&self, ptr: NonNull<u8>) -> Option<usize> {
        let offset = self.offset(ptr);
        self.live.iter().position(|&(start, ..)| start == offset)
    }

    /// Drops the block at `ptr` from the list.
    fn forget(&mut self, ptr: NonNull<u8>) {
        let offset = self.offset(ptr);
        self.live.retain(|&(start, ..)| start != offset);
    }

    /// Gaps between blocks as (index of the next block, start, end).
    fn gaps(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        let ends = std::iter::once(0).chain(self.live.iter().map(|&(start, len, _)| start + len));
        let starts = self.live.iter().map(|&(start, ..)| start).chain(std::iter::once(self.len));
        ends.zip(starts).enumerate().map(|(idx, (from, to))| (idx, from, to))
    }

    /// The length that a block of `size` takes.
    fn rounded(&self, size: usize) -> Option<usize> {
        let size = size.checked_next_multiple_of(GRANULE)?;
        (size <= self.len).then_some(size)
    }
}

// SAFETY: H1: without a fault, blocks lie in gaps between live ones, aligned, and rounded up. H2: a pointer, not the
// bytes. H3: nothing unwinds. H4: state changes after success only. H5: it calls nothing. H6: size zero takes no bytes.
unsafe impl Heap for FirstFit<'_> {
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let need = self.rounded(layout.size()).ok_or(AllocError)?;
        if self.is(Seeded::RefusesLarge) && need > self.len / 2 {
            return Err(AllocError);
        }
        let align = layout.align().min(if self.is(Seeded::AlignsTooLittle) { 16 } else { usize::MAX });
        let base = self.base.addr().get();
        let spill = if self.is(Seeded::PassesTheEnd) { GRANULE } else { 0 };
        let placed = self.gaps().find_map(|(idx, from, to)| {
            let to = if idx == self.live.len() { to + spill } else { to };
            let from = (base + from).checked_next_multiple_of(align.max(GRANULE))? - base;
            (from.checked_add(need)? <= to).then_some((idx, from))
        });
        let (idx, offset) = placed.ok_or(AllocError)?;
        self.live.insert(idx, (offset, need, layout.size()));
        let told = if self.is(Seeded::RoundsDown) { layout.size() / GRANULE * GRANULE } else { need };
        Ok(self.block(offset, told))
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        let Some(idx) = self.find(ptr) else { return };
        let (offset, len, size) = self.live[idx];
        if self.is(Seeded::FreesExactOnly) && layout.size() != size {
            return;
        }
        if self.is(Seeded::WritesBehind) && offset + len == self.len {
            // SAFETY: whoever switches this fault on gave a granule more than the region.
            let behind = unsafe { self.base.add(offset + len) };
            // SAFETY: as above.
            unsafe { behind.write_bytes(0xEE, GRANULE) };
        }
        self.live.remove(idx);
    }

    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let block = self.alloc(layout)?;
        let left = if self.is(Seeded::ZeroesTooLittle) { 1 } else { 0 };
        // SAFETY: the block is live and that long.
        unsafe { block.cast::<u8>().write_bytes(0, block.len() - left) };
        Ok(block)
    }

    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        _: Layout,
        new: Layout,
    ) -> Result<usize, AllocError> {
        let idx = self.find(ptr).ok_or(AllocError)?;
        let need = self.rounded(new.size()).ok_or(AllocError)?;
        let (offset, len, _) = self.live[idx];
        let mut limit = self.live.get(idx + 1).map_or(self.len, |&(start, ..)| start);
        if self.is(Seeded::GrowsTooFar) && limit < self.len {
            limit += GRANULE;
        }
        if ptr.addr().get() % new.align() != 0 || offset + need > limit {
            return Err(AllocError);
        }
        if self.is(Seeded::CountsTwice) && need < len {
            self.extra_objects += 1;
        }
        self.live[idx] = (offset, need, new.size());
        Ok(need)
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        if let Ok(len) = unsafe { self.resize_in_place(ptr, old, new) } {
            return Ok(NonNull::slice_from_raw_parts(ptr, len));
        }
        let made = self.alloc(new).inspect_err(|_| {
            if self.is(Seeded::FreesOnFailure) {
                self.forget(ptr);
            }
        });
        let made = made?;
        let kept = old.size().min(new.size()) - usize::from(self.is(Seeded::CopiesTooLittle));
        // SAFETY: both blocks are live and that long; they may overlap only through a seeded fault.
        unsafe { made.cast::<u8>().copy_from(ptr, kept) };
        let forgotten = self.is(Seeded::ForgetsTheMoved) && self.offset(made.cast()) < self.offset(ptr);
        // SAFETY: the caller's promise; the copy has been made.
        unsafe { self.dealloc(ptr, old) };
        if forgotten {
            self.forget(made.cast());
        }
        Ok(made)
    }

    fn good_size(&self, layout: Layout) -> usize {
        layout.size().next_multiple_of(GRANULE)
    }
}

// SAFETY: by address range, which is no other heap's.
unsafe impl Owns for FirstFit<'_> {
    fn owns(&self, ptr: NonNull<u8>, _: Layout) -> bool {
        let offset = ptr.addr().get().wrapping_sub(self.base.addr().get());
        offset < self.len && !(offset == 0 && self.is(Seeded::DeniesTheFirst))
    }
}

impl Inspect for FirstFit<'_> {
    fn usage(&self) -> Usage {
        let taken: usize = self.live.iter().map(|&(_, len, _)| len).sum();
        let short = if self.is(Seeded::CountsShort) { self.live.len() } else { 0 };
        let free = self.len.saturating_sub(taken);
        let objects = self.live.len() + self.extra_objects;
        Usage { total: self.len, used: taken - short, free, objects }
    }

    fn next_chunk(&mut self, cursor: &mut Cursor) -> Option<Chunk> {
        let offset = cursor.offset;
        let used = self.live.iter().find(|&&(start, len, _)| start <= offset && offset < start + len);
        let chunk = if let Some(&(start, len, _)) = used {
            Chunk { offset, len: start + len - offset, kind: ChunkKind::Used }
        } else {
            let (_, _, to) = self.gaps().find(|&(_, from, to)| from <= offset && offset < to)?;
            let split = self.is(Seeded::SplitsChunks) && offset + GRANULE < to;
            Chunk { offset, len: if split { GRANULE } else { to - offset }, kind: ChunkKind::Free }
        };
        cursor.offset += chunk.len;
        Some(chunk)
    }

    fn verify(&mut self) -> Result<(), Corruption> {
        let sorted = self.live.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0);
        if sorted { Ok(()) } else { Err(Corruption { rule: "blocks are sorted", offset: 0 }) }
    }
}

impl Reset for FirstFit<'_> {
    unsafe fn reset(&mut self) {
        self.live.clear();
        self.extra_objects = 0;
    }
}
