//! A quota of bytes.

use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;

use super::around::{Around, Within, heap_around};
use crate::AllocError;
use crate::describe::{Cost, Describe, Tree};
use crate::heap::Heap;
use crate::mem;

/// A heap that hands out no more than a quota of bytes at a time.
///
/// Choose it to keep one part of a program from eating what the others need: a request's memory, a plugin's, a cache's. The quota is exact:
/// a block costs its [`good_size`](Heap::good_size), so what it really takes of the heap within; what is refused, given back or not resized
/// costs nothing. Blocks are cut to what they cost, so that no more than the quota can be used. A quota of zero is a heap that has nothing.
/// To bound what a heap takes from *below*, slabs and tables included, put [`source::Limited`](crate::source::Limited) under it.
///
/// # Cost
/// Two words. A request takes a compare and an addition beside the question for the good size, a free a subtraction; a batch is charged at once.
///
/// ```
/// use heapwright::combine::Quota;
/// use heapwright::heap::Heap;
/// use heapwright::source::{FromGlobalAlloc, SourceHeap};
/// use std::alloc::{Layout, System};
///
/// let mut heap = Quota::new(SourceHeap::new(FromGlobalAlloc::new(&System)), 1000);
/// let (long, longer) = (Layout::new::<[u8; 600]>(), Layout::new::<[u8; 1001]>());
/// let block = heap.alloc(long)?.cast();
/// assert_eq!((heap.used(), heap.left()), (600, 400));
/// assert!(heap.alloc(long).is_err());
/// // SAFETY: the block is live, and its layout `long`.
/// assert!(unsafe { heap.resize(block, long, longer) }.is_err());
/// heap.set_limit(1200);
/// // SAFETY: as above.
/// unsafe { heap.dealloc(block, long) };
/// assert_eq!(heap.left(), 1200);
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// Behind a lock, while blocks are out, it is reached by [`enter`](crate::heap::SharedHeap::enter).
///
/// Where a resize has to move a block, old and new one are not charged at once, though both are there for a moment.
///
/// The idea: Zig's `requested_memory_limit`, the byte limits that users of `bumpalo` ask for.
#[derive(Debug)]
pub struct Quota<P: Heap> {
    heap: P,
    limit: usize,
    /// The good sizes of all live blocks. At most `limit`, unless that has been lowered since.
    used: usize,
}

impl<P: Heap> Quota<P> {
    /// `heap`, up to `limit` bytes at a time.
    #[must_use]
    pub const fn new(heap: P, limit: usize) -> Self {
        Quota { heap, limit, used: 0 }
    }

    /// The quota in bytes.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes of live blocks.
    #[must_use]
    pub const fn used(&self) -> usize {
        self.used
    }

    /// Bytes that can still be had.
    #[must_use]
    pub const fn left(&self) -> usize {
        self.limit.saturating_sub(self.used)
    }

    /// Changes the quota. If more is in use, nothing can be had until enough has come back.
    pub const fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The heap within.
    #[must_use]
    pub const fn heap(&self) -> &P {
        &self.heap
    }

    /// The heap, out of its quota.
    #[must_use]
    pub fn into_inner(self) -> P {
        self.heap
    }
}

impl<P: Heap> Within for Quota<P> {
    type Heap = P;

    #[inline(always)]
    fn heap(&self) -> &P {
        &self.heap
    }

    #[inline(always)]
    fn heap_mut(&mut self) -> &mut P {
        &mut self.heap
    }

    fn forget(&mut self) {
        self.used = 0;
    }
}

// SAFETY: W1: a block is cut to its good size, which is no less than the request, so that it costs the same with every size that may come
// back (H7): what is refunded was charged. W2: arithmetic that wraps. W3: none is kept.
unsafe impl<P: Heap> Around for Quota<P> {
    /// What a block costs.
    type Note = usize;

    #[inline(always)]
    fn admit(&mut self, layout: Layout) -> Result<usize, AllocError> {
        let cost = self.heap.good_size(layout);
        if cost > self.left() { Err(AllocError) } else { Ok(cost) }
    }

    #[inline(always)]
    fn admit_batch(&mut self, layout: Layout, count: usize) -> usize {
        let cost = self.heap.good_size(layout);
        self.left().checked_div(cost).unwrap_or(count).min(count)
    }

    #[inline(always)]
    fn admit_resize(&mut self, old: Layout, new: Layout) -> Result<(usize, usize), AllocError> {
        let (old, new) = (self.heap.good_size(old), self.heap.good_size(new));
        if new.saturating_sub(old) > self.left() { Err(AllocError) } else { Ok((old, new)) }
    }

    #[inline(always)]
    fn granted(&mut self, _: Layout, cost: usize, block: NonNull<[u8]>) -> NonNull<[u8]> {
        // No overflow: it was admitted, so it is no more than what was left.
        self.used = self.used.wrapping_add(cost);
        mem::slice(block.cast(), block.len().min(cost))
    }

    #[inline(always)]
    fn granted_batch(&mut self, layout: Layout, count: usize) {
        self.used = self.used.wrapping_add(self.heap.good_size(layout).wrapping_mul(count));
    }

    #[inline(always)]
    fn resized(
        &mut self,
        _: (Layout, Layout),
        (old, new): (usize, usize),
        block: NonNull<[u8]>,
        _: bool,
    ) -> NonNull<[u8]> {
        self.used = self.used.wrapping_sub(old).wrapping_add(new);
        mem::slice(block.cast(), block.len().min(new))
    }

    #[inline(always)]
    fn freed(&mut self, layout: Layout, count: usize) {
        // No overflow: they were charged. (A free too many is the caller's fault and undefined; it does not unwind all the same.)
        self.used = self.used.wrapping_sub(self.heap.good_size(layout).wrapping_mul(count));
    }
}

heap_around!([P: Heap] Quota<P>, P);

impl<P: Heap + Describe> Describe for Quota<P> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        tree.part(
            format_args!("Quota, bytes at a time"),
            Cost::state_of::<[usize; 2]>(),
            &[("heap", P::describe)],
        )
    }
}

#[cfg(test)]
#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each call is on a live block with a layout of its own"
)]
mod tests {
    use core::mem::MaybeUninit;
    use std::vec::Vec;

    use super::*;
    use crate::arena::Arena;
    use crate::heap::{Inspect, Reset};
    use crate::sizing::Sizing4KiB;
    use crate::source::{Buffer, SourceHeap};

    static_assertions::assert_impl_all!(Quota<Arena<'static, Sizing4KiB>>: Send);
    static_assertions::const_assert_eq!(size_of::<Quota<crate::heap::NoHeap>>(), 2 * size_of::<usize>());

    fn bytes(size: usize) -> Layout {
        Layout::from_size_align(size, 1).unwrap()
    }

    /// At limits of zero, one, exactly what is asked for, and all there can be.
    #[test]
    fn the_quota_is_exact() {
        let mut memory = [MaybeUninit::uninit(); 100];
        for (limit, size, fits) in [
            (0, 1, false),
            (1, 1, true),
            (1, 2, false),
            (40, 40, true),
            (40, 41, false),
            (usize::MAX, 100, true),
        ] {
            let mut heap = Quota::new(SourceHeap::new(Buffer::from_slice(&mut memory)), limit);
            assert_eq!(heap.alloc(bytes(size)).is_ok(), fits, "{size} of {limit}");
            assert_eq!(heap.used(), if fits { size } else { 0 });
        }
    }

    /// A block costs what it takes, with whichever of its sizes it comes back.
    #[test]
    fn what_was_charged_is_refunded() {
        let mut memory = [MaybeUninit::uninit(); 512];
        let mut heap = Quota::new(Arena::<Sizing4KiB>::from_slice(&mut memory), 64);
        for size in 1..=64 {
            let block = heap.alloc(bytes(size)).unwrap();
            assert_eq!(block.len(), heap.used());
            unsafe { heap.dealloc(block.cast(), bytes(size)) };
            for back in size..=block.len() {
                let block = heap.alloc(bytes(size)).unwrap();
                unsafe { heap.dealloc(block.cast(), bytes(back)) };
                assert_eq!(heap.used(), 0, "{size} freed with {back}");
            }
        }
        assert_eq!(heap.heap().usage().objects, 0);
    }

    /// Across resizes: what fails costs nothing, what shrinks is refunded, and a lowered limit lets blocks shrink.
    #[test]
    fn resizes_are_charged_and_refunded() {
        let mut memory = [MaybeUninit::uninit(); 200];
        let mut heap = Quota::new(SourceHeap::new(Buffer::from_slice(&mut memory)), 150);
        let block = heap.alloc(bytes(50)).unwrap().cast();
        let block = unsafe { heap.resize(block, bytes(50), bytes(150)) }.unwrap().cast();
        assert_eq!((heap.used(), heap.left()), (150, 0));
        assert!(unsafe { heap.resize(block, bytes(150), bytes(151)) }.is_err());
        assert!(unsafe { heap.resize_in_place(block, bytes(150), bytes(151)) }.is_err());
        heap.set_limit(10_000);
        assert!(unsafe { heap.resize(block, bytes(150), bytes(201)) }.is_err(), "the buffer is shorter");
        assert_eq!(heap.used(), 150);
        heap.set_limit(20);
        assert_eq!(heap.left(), 0);
        assert!(heap.alloc(bytes(1)).is_err());
        let block = unsafe { heap.resize_in_place(block, bytes(150), bytes(19)) }.unwrap().cast();
        assert_eq!(heap.left(), 1);
        unsafe { heap.dealloc(block, bytes(19)) };
        assert_eq!(heap.left(), 20);
    }

    #[test]
    fn batches_are_cut_to_what_is_left() {
        let mut memory = [MaybeUninit::uninit(); 512];
        let mut heap = Quota::new(Arena::<Sizing4KiB>::from_slice(&mut memory), 100);
        let mut out = [MaybeUninit::uninit(); 20];
        assert_eq!(heap.alloc_batch(bytes(16), &mut out), 6);
        assert_eq!(heap.used(), 96);
        let blocks: Vec<_> = out[..6].iter().map(|block| unsafe { block.assume_init() }).collect();
        unsafe { heap.dealloc_batch(bytes(16), &blocks) };
        assert_eq!((heap.used(), heap.heap().usage().objects), (0, 0));
        heap.alloc(bytes(16)).unwrap();
        unsafe { heap.reset() };
        assert_eq!((heap.used(), heap.heap().usage().objects), (0, 0));
    }
}
