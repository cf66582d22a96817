//! A heap that gives back all that it has taken from another one.

use core::alloc::Layout;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

use crate::AllocError;
use crate::check::Finding;
use crate::describe::{Cost, Describe, Tree};
use crate::heap::{Chunk, Corruption, Cursor, Heap, Inspect, Reset, UsableSize, Usage};
use crate::mem;

/// Any heap, with all that was taken from it given back on drop or [`reset`](crate::heap::Locked::reset).
///
/// Choose it to end many lives at once over a heap that can't do that by itself, where blocks also go singly and in any order, and are resized in place:
/// a plug-in's or a script's heap, a transaction, an interpreter's world. (If nothing goes singly, a [`Region`](super::Region) is less.) Destructors
/// are not run: it is memory that goes back.
///
/// ```text
///  a block of P
///  ├── padding, for alignments above the record's ── record: previous │ next │ size │ align ── the user's bytes ──┤
/// ```
///
/// ```
/// # #[cfg(all(feature = "alloc", feature = "allocator-api2-04"))] {
/// use allocator_api2_04::{boxed::Box, vec::Vec};
/// use heapwright::source::{Counted, GlobalHeap, SourceHeap};
/// use heapwright::{combine::Scoped, heap::Locked, lock::NoLock};
///
/// let parent = Locked::<_, NoLock>::new(SourceHeap::new(GlobalHeap));
/// let scoped = Locked::<_, NoLock>::new(Scoped::new(SourceHeap::new(&parent)));
/// let mut list = Vec::new_in(&scoped);
/// list.push(Box::new_in(1, &scoped));
/// list.pop(); // goes back to `parent` at once
/// core::mem::forget(list); // this one goes with `scoped`
/// drop(scoped);
/// # }
/// ```
///
/// # Cost
/// Four words before each block, rounded up to the block's alignment, and the six stores of a doubly linked list for each request; a free takes two. The state is a
/// word and the parent's.
///
/// # Errors
/// The parent's.
///
/// The idea is `ScopedAllocator` of D's `std.experimental.allocator` (Andrei Alexandrescu).
pub struct Scoped<P: Heap> {
    /// The block that was handed out last. All records in the list stand before live blocks, in blocks of `parent`.
    last: Option<NonNull<Record>>,
    parent: P,
}

/// What stands before each block.
#[derive(Clone, Copy)]
struct Record {
    /// The block that was handed out before; `None` for the first.
    older: Option<NonNull<Record>>,
    newer: Option<NonNull<Record>>,
    /// What the block was last asked for.
    layout: Layout,
}

/// Bytes from the parent's block to the user's: the same for all sizes.
const fn offset(align: usize) -> usize {
    if align > size_of::<Record>() { align } else { size_of::<Record>() }
}

/// What the parent is asked for; `None` past what a layout can be.
fn whole(layout: Layout) -> Option<Layout> {
    let size = offset(layout.align()).checked_add(layout.size())?;
    Layout::from_size_align(size, layout.align().max(align_of::<Record>())).ok()
}

/// The record before a block, from a pointer that may be good for the block only.
fn record_of(ptr: NonNull<u8>) -> NonNull<Record> {
    let addr = ptr.addr().get().wrapping_sub(size_of::<Record>());
    // SAFETY: a record stands there, so the address is not null. (The parent's block was exposed when it was handed out.)
    unsafe { NonNull::new_unchecked(ptr::with_exposed_provenance_mut(addr)) }
}

/// The parent's block behind a record.
fn base_of(record: NonNull<Record>, align: usize) -> NonNull<u8> {
    let base = record.as_ptr().cast::<u8>().wrapping_sub(offset(align) - size_of::<Record>());
    // SAFETY: the record ends `offset` bytes into the parent's block, which it has the provenance of; what a parent that checks is asked about lies above that.
    unsafe { NonNull::new_unchecked(base) }
}

// SAFETY: the records are in memory of the parent, which is this value's alone and goes where it goes.
unsafe impl<P: Heap + Send> Send for Scoped<P> {}
// SAFETY: nothing is changed through a shared reference.
unsafe impl<P: Heap + Sync> Sync for Scoped<P> {}

impl<P: Heap> Scoped<P> {
    /// Over `parent`, with nothing taken.
    #[must_use]
    pub const fn new(parent: P) -> Self {
        // So that records are aligned when they end where an aligned block begins.
        const { assert!(size_of::<Record>() % align_of::<Record>() == 0 && size_of::<Record>().is_power_of_two()) };
        Scoped { last: None, parent }
    }

    /// The heap that blocks are taken from.
    pub const fn parent(&self) -> &P {
        &self.parent
    }

    /// Live blocks. O(number of blocks).
    #[must_use]
    pub fn live(&self) -> usize {
        let mut at = self.last;
        let mut count = 0;
        while let Some(record) = at {
            // SAFETY: records in the list are live.
            at = unsafe { record.read() }.older;
            count += 1;
        }
        count
    }

    /// Writes the record of a new block into the parent's block at `base`, of `len` bytes, and gives what is behind it.
    ///
    /// # Safety
    /// The block is fresh, ours, and good for `whole(layout)`.
    #[inline]
    unsafe fn adopt(&mut self, base: NonNull<u8>, len: usize, layout: Layout) -> NonNull<[u8]> {
        base.as_ptr().expose_provenance();
        let offset = offset(layout.align());
        // SAFETY: the block is longer than the offset.
        let user = unsafe { base.add(offset) };
        // SAFETY: the offset is no less than a record.
        let record = unsafe { user.sub(size_of::<Record>()) }.cast::<Record>();
        // SAFETY: `size_of::<Record>()` bytes of the block, aligned: by the offset and by the alignment of `whole`.
        unsafe { record.write(Record { older: self.last, newer: None, layout }) };
        if let Some(older) = self.last {
            // SAFETY: records in the list are live.
            unsafe { (*older.as_ptr()).newer = Some(record) };
        }
        self.last = Some(record);
        mem::slice(user, len - offset)
    }

    /// Lets the neighbours of a record know where it is.
    ///
    /// # Safety
    /// It is in the list, at this place or one that it has left.
    unsafe fn relink(&mut self, record: NonNull<Record>) {
        // SAFETY: records in the list are live.
        let Record { older, newer, .. } = unsafe { record.read() };
        if let Some(older) = older {
            // SAFETY: as above.
            unsafe { (*older.as_ptr()).newer = Some(record) };
        }
        match newer {
            // SAFETY: as above.
            Some(newer) => unsafe { (*newer.as_ptr()).older = Some(record) },
            None => self.last = Some(record),
        }
    }

    /// Takes a record out of the list.
    ///
    /// # Safety
    /// It is in the list.
    #[inline]
    unsafe fn unlink(&mut self, record: NonNull<Record>) {
        // SAFETY: records in the list are live.
        let Record { older, newer, .. } = unsafe { record.read() };
        if let Some(older) = older {
            // SAFETY: as above.
            unsafe { (*older.as_ptr()).newer = newer };
        }
        match newer {
            // SAFETY: as above.
            Some(newer) => unsafe { (*newer.as_ptr()).older = older },
            None => self.last = older,
        }
    }

    /// Enters the new layout of a block that the parent has resized, and gives what is behind its record.
    ///
    /// # Safety
    /// `block` is what the parent gave for a block with a record in the list, for `whole(new)`, which has the same offset as before.
    unsafe fn settle(&mut self, block: NonNull<[u8]>, new: Layout) -> NonNull<[u8]> {
        let base = block.cast::<u8>();
        base.as_ptr().expose_provenance();
        let offset = offset(new.align());
        // SAFETY: the block is longer than the offset.
        let user = unsafe { base.add(offset) };
        // SAFETY: the offset is no less than a record.
        let record = unsafe { user.sub(size_of::<Record>()) }.cast::<Record>();
        // SAFETY: the record has been kept, as it lies in the first `min(old, new)` bytes.
        unsafe { (*record.as_ptr()).layout = new };
        // SAFETY: it is in the list.
        unsafe { self.relink(record) };
        mem::slice(user, block.len() - offset)
    }

    /// What the parent's block is, if it can be resized as one: its start, and the layouts.
    ///
    /// # Safety
    /// `ptr` is a live block, and `old` its layout.
    unsafe fn as_one(ptr: NonNull<u8>, old: Layout, new: Layout) -> Option<(NonNull<u8>, Layout, Layout)> {
        if offset(old.align()) != offset(new.align()) {
            return None;
        }
        Some((base_of(record_of(ptr), old.align()), whole(old)?, whole(new)?))
    }

    /// Gives everything back.
    fn free_all(&mut self) {
        while let Some(record) = self.last {
            // SAFETY: records in the list are live.
            let Record { older, layout, .. } = unsafe { record.read() };
            self.last = older;
            if let Some(whole) = whole(layout) {
                // SAFETY: the parent's block before the user's, with what it was asked for; it is in the list no more.
                unsafe { self.parent.dealloc(base_of(record, layout.align()), whole) };
            }
        }
    }
}

// SAFETY: H1: a block is the end of one of the parent's (H1), behind an offset that is the same for every size that may come back, so those
// are sizes of the parent's block too; its record was exposed with it, and is read and written through that. H2: the parent's H2. H3: nothing here
// panics, and the parent does not unwind (H3). H4: the list changes when the parent has succeeded. H5: the parent's. H6: refused. H7: the parent's,
// less the offset.
unsafe impl<P: Heap> Heap for Scoped<P> {
    #[inline]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let whole = whole(layout).filter(|_| layout.size() != 0).ok_or(AllocError)?;
        let block = self.parent.alloc(whole)?;
        // SAFETY: it is fresh, and was asked for as `whole`.
        Ok(unsafe { self.adopt(block.cast(), block.len(), layout) })
    }

    #[inline]
    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        if P::CHECKS && !unsafe { self.judge(ptr, layout) } {
            return;
        }
        let Some(whole) = whole(layout) else { return };
        let record = record_of(ptr);
        // SAFETY: the block is live, so its record is in the list.
        unsafe { self.unlink(record) };
        // SAFETY: the parent's block, with one of its own layouts.
        unsafe { self.parent.dealloc(base_of(record, layout.align()), whole) };
    }

    #[inline]
    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let whole = whole(layout).filter(|_| layout.size() != 0).ok_or(AllocError)?;
        let block = self.parent.alloc_zeroed(whole)?;
        // SAFETY: it is fresh, and was asked for as `whole`.
        Ok(unsafe { self.adopt(block.cast(), block.len(), layout) })
    }

    #[inline]
    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        if P::CHECKS && !unsafe { self.judge(ptr, old) } {
            return Err(AllocError);
        }
        // SAFETY: as above.
        let (base, old_whole, new_whole) = unsafe { Self::as_one(ptr, old, new) }.ok_or(AllocError)?;
        // SAFETY: the parent's block, with one of its own layouts.
        let block = unsafe { self.parent.resize_in_place(base, old_whole, new_whole) }?;
        // SAFETY: the parent's answer, and the offset is the same.
        Ok(unsafe { self.settle(block, new) })
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        if P::CHECKS && !unsafe { self.judge(ptr, old) } {
            return Err(AllocError);
        }
        // SAFETY: as above.
        if let Some((base, old_whole, new_whole)) = unsafe { Self::as_one(ptr, old, new) } {
            // SAFETY: the parent's block, with one of its own layouts.
            let block = unsafe { self.parent.resize(base, old_whole, new_whole) }?;
            // SAFETY: the parent's answer, and the offset is the same.
            return Ok(unsafe { self.settle(block, new) });
        }
        let block = self.alloc(new)?;
        // SAFETY: both are live blocks of at least `min(old, new)` bytes and do not overlap (H1).
        unsafe { block.cast::<u8>().copy_from_nonoverlapping(ptr, old.size().min(new.size())) };
        // SAFETY: the caller's promise; the copy has been made.
        unsafe { self.dealloc(ptr, old) };
        Ok(block)
    }

    fn good_size(&self, layout: Layout) -> usize {
        let Some(padded) = whole(layout) else { return layout.size() };
        let good = self.parent.good_size(padded) - offset(layout.align());
        // Where the good size with what goes before it makes no layout any more, each size is its own (H7).
        let fits = Layout::from_size_align(good, layout.align()).is_ok_and(|good| whole(good).is_some());
        if fits { good } else { layout.size() }
    }

    fn alloc_batch(&mut self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        let Some(whole) = whole(layout).filter(|_| layout.size() != 0) else { return 0 };
        let count = self.parent.alloc_batch(whole, out).min(out.len());
        for place in &mut out[..count] {
            // SAFETY: the parent has filled so many places.
            let base = unsafe { place.assume_init() };
            // SAFETY: it is fresh, and was asked for as `whole`.
            place.write(unsafe { self.adopt(base, whole.size(), layout) }.cast());
        }
        count
    }

    unsafe fn dealloc_batch(&mut self, layout: Layout, blocks: &[NonNull<u8>]) {
        // Where the parent checks, one after the other: one of them may be there twice.
        for some in blocks.chunks(if P::CHECKS { 1 } else { BATCH }) {
            // SAFETY: the caller's promise is the same.
            if P::CHECKS && !some.iter().all(|&ptr| unsafe { self.judge(ptr, layout) }) {
                continue;
            }
            let Some(whole) = whole(layout) else { return };
            let mut bases = [NonNull::dangling(); BATCH];
            for (base, &ptr) in bases.iter_mut().zip(some) {
                let record = record_of(ptr);
                // SAFETY: the block is live, so its record is in the list.
                unsafe { self.unlink(record) };
                *base = base_of(record, layout.align());
            }
            // SAFETY: the parent's blocks, all different, with one of their own layouts.
            unsafe { self.parent.dealloc_batch(whole, &bases[..some.len()]) };
        }
    }

    fn release_unused(&mut self) -> usize {
        self.parent.release_unused()
    }

    const CHECKS: bool = P::CHECKS;

    #[inline]
    fn looks_at(layout: Layout) -> bool {
        P::looks_at(whole(layout).unwrap_or(layout))
    }

    unsafe fn judge(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        if let Some(whole) = whole(layout).filter(|_| ptr.addr().get() > offset(layout.align())) {
            // SAFETY: the parent's block, with one of its own layouts.
            return unsafe { self.parent.judge(base_of(record_of(ptr), layout.align()), whole) };
        }
        // SAFETY: the caller's promise; no block of the parent either has that layout, or that address with it.
        let _ = unsafe { self.parent.judge(ptr, layout) };
        false
    }

    #[inline(always)]
    fn take_finding(&mut self) -> Option<Finding> {
        self.parent.take_finding()
    }
}

/// Blocks that go back to the parent at a time.
const BATCH: usize = 32;

impl<P: Heap> Reset for Scoped<P> {
    unsafe fn reset(&mut self) {
        self.free_all();
    }
}

/// From the block's record: what it was last asked for.
// SAFETY: V1: the size that was asked for, which the block has, and which may come back.
unsafe impl<P: Heap> UsableSize for Scoped<P> {
    unsafe fn usable_size(&self, ptr: NonNull<u8>) -> usize {
        // SAFETY: the block is live, so its record stands before it.
        unsafe { record_of(ptr).read() }.layout.size()
    }
}

/// That of the parent: records count as used.
impl<P: Inspect> Inspect for Scoped<P> {
    fn usage(&self) -> Usage {
        self.parent.usage()
    }

    fn next_chunk(&mut self, cursor: &mut Cursor) -> Option<Chunk> {
        self.parent.next_chunk(cursor)
    }

    fn verify(&mut self) -> Result<(), Corruption> {
        self.parent.verify()
    }

    fn misuses(&self) -> usize {
        self.parent.misuses()
    }
}

impl<P: Heap> Drop for Scoped<P> {
    fn drop(&mut self) {
        self.free_all();
    }
}

impl<P: Heap + Default> Default for Scoped<P> {
    fn default() -> Self {
        Scoped::new(P::default())
    }
}

impl<P: Heap + fmt::Debug> fmt::Debug for Scoped<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scoped").field("parent", &self.parent).finish_non_exhaustive()
    }
}

impl<P: Heap + Describe> Describe for Scoped<P> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let cost = Cost::state_of::<usize>().and_per_block(size_of::<Record>());
        tree.part(format_args!("Scoped, gives all back at its end"), cost, &[("parent", P::describe)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::NoHeap;

    static_assertions::const_assert_eq!(size_of::<Scoped<NoHeap>>(), size_of::<usize>());
    static_assertions::const_assert_eq!(size_of::<Record>(), 4 * size_of::<usize>());
    static_assertions::assert_impl_all!(Scoped<NoHeap>: Send, Sync);

    #[test]
    fn offsets_keep_records_and_blocks_aligned() {
        for align in (0..20).map(|bits| 1 << bits) {
            assert_eq!((offset(align) % align, offset(align) % align_of::<Record>()), (0, 0));
            assert!(offset(align) >= size_of::<Record>());
        }
    }
}
