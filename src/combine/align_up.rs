//! A heap whose blocks are aligned better than asked.

use core::alloc::Layout;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::row::inspect_one;
use crate::AllocError;
use crate::check::Finding;
use crate::describe::{Cost, Describe, Tree};
use crate::heap::{Heap, Inspect, Owns, Reset, UsableSize, refuse};

/// The heap `P`, asked for an alignment of `A` bytes at least.
///
/// Choose it to keep blocks of different threads on cache lines of their own (64 or 128), for hardware that reads in units (DMA, vector
/// registers, pages), or where whoever asks can't say what alignment it needs. `A` is a power of two.
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use core::alloc::Layout;
/// use heapwright::combine::AlignUp;
/// use heapwright::heap::Heap;
/// use heapwright::source::{GlobalHeap, SourceHeap};
///
/// let mut heap = AlignUp::<64, _>::new(SourceHeap::new(GlobalHeap));
/// let layout = Layout::new::<[u8; 10]>();
/// let block = heap.alloc(layout)?.cast::<u8>();
/// assert_eq!(block.addr().get() % 64, 0);
/// // SAFETY: the block is live, and its layout this one.
/// unsafe { heap.dealloc(block, layout) };
/// # }
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// # Cost
/// No state; a comparison in each call, none where the alignment is a constant. What lies between blocks for their alignment is the heap's loss: the size of a
/// request stays as it is. To keep others off a block's last line too, round sizes up: `Quantize<Multiples<64>, AlignUp<64, P>>`
/// ([`Quantize`](super::Quantize)).
///
/// # Errors
/// As `P`, and for sizes within `A` bytes of `isize::MAX`.
///
/// ```compile_fail,E0080
/// use heapwright::{combine::AlignUp, heap::NoHeap};
/// let heap = AlignUp::<48, _>::new(NoHeap); // error: an alignment is a power of two
/// ```
///
/// The idea: `aligned_allocator` of foonathan/memory.
#[derive(Clone, Copy, Debug)]
pub struct AlignUp<const A: usize, P: Heap> {
    heap: P,
}

impl<const A: usize, P: Heap> AlignUp<A, P> {
    /// `heap`, asked for better alignment.
    #[must_use]
    pub const fn new(heap: P) -> Self {
        const { assert!(A.is_power_of_two(), "an alignment is a power of two: 16, 64, 4096") };
        AlignUp { heap }
    }

    /// The heap within.
    pub const fn heap(&self) -> &P {
        &self.heap
    }

    /// The heap, without the alignment.
    #[must_use]
    pub fn into_inner(self) -> P {
        self.heap
    }

    /// What the heap is asked for when this one is asked for `layout`.
    #[inline(always)]
    fn aligned(layout: Layout) -> Result<Layout, AllocError> {
        layout.align_to(A).map_err(|_| AllocError)
    }

    /// The same for a block that comes back, of this heap or not: a layout that no block has goes to a heap that checks as it is, which finds it wrong.
    #[inline(always)]
    fn told(layout: Layout) -> Result<Layout, AllocError> {
        Self::aligned(layout).or(if P::CHECKS { Ok(layout) } else { Err(AllocError) })
    }

    /// The same for the layout of a live block.
    ///
    /// # Safety
    /// `layout` is the layout of a live block of such a heap: its size one from the requested to the returned.
    #[inline(always)]
    unsafe fn aligned_live(layout: Layout) -> Layout {
        if P::CHECKS {
            return Self::told(layout).unwrap_or(layout);
        }
        let align = if layout.align() < A { A } else { layout.align() };
        // SAFETY: a power of two. The block has this alignment and at least this size, and `alloc` has cut it to what such a layout may have.
        unsafe { Layout::from_size_align_unchecked(layout.size(), align) }
    }

    /// A block cut to sizes that have a layout with the alignment. There are no longer ones in practice: they would end at the end of memory.
    #[inline(always)]
    fn cut(block: NonNull<[u8]>, layout: Layout) -> NonNull<[u8]> {
        let align = if layout.align() < A { A } else { layout.align() };
        crate::mem::slice(block.cast(), block.len().min(isize::MAX as usize + 1 - align))
    }
}

// SAFETY: H1: a block is one of the heap's, for the same size and no lesser alignment. It comes back with a size that the heap gave it for, and with the
// alignment that the heap was asked for: that depends on the layout's alignment alone. H2 to H7: those of the heap, which gets the layout's own size.
unsafe impl<const A: usize, P: Heap> Heap for AlignUp<A, P> {
    const AT_HAND: bool = P::AT_HAND;

    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        Ok(Self::cut(self.heap.alloc(Self::aligned(layout)?)?, layout))
    }

    #[inline(always)]
    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        let aligned = unsafe { Self::aligned_live(layout) };
        // SAFETY: the caller's promise, and what the heap was asked for.
        unsafe { self.heap.dealloc(ptr, aligned) };
    }

    #[inline(always)]
    fn alloc_at_hand(&mut self, layout: Layout) -> Option<NonNull<[u8]>> {
        Some(Self::cut(self.heap.alloc_at_hand(Self::aligned(layout).ok()?)?, layout))
    }

    #[inline(always)]
    unsafe fn dealloc_at_hand(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise.
        let aligned = unsafe { Self::aligned_live(layout) };
        // SAFETY: the caller's promise, and what the heap was asked for.
        unsafe { self.heap.dealloc_at_hand(ptr, aligned) }
    }

    #[inline]
    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        Ok(Self::cut(self.heap.alloc_zeroed(Self::aligned(layout)?)?, layout))
    }

    #[inline]
    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let Ok(aligned) = Self::aligned(new) else {
            // SAFETY: the caller's promise is the same.
            return Err(unsafe { refuse(self, ptr, old) });
        };
        // SAFETY: the caller's promise.
        let old = unsafe { Self::aligned_live(old) };
        // SAFETY: the caller's promise, and what the heap was asked for.
        Ok(Self::cut(unsafe { self.heap.resize_in_place(ptr, old, aligned) }?, new))
    }

    #[inline]
    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let Ok(aligned) = Self::aligned(new) else {
            // SAFETY: the caller's promise is the same.
            return Err(unsafe { refuse(self, ptr, old) });
        };
        // SAFETY: the caller's promise.
        let old = unsafe { Self::aligned_live(old) };
        // SAFETY: the caller's promise, and what the heap was asked for.
        Ok(Self::cut(unsafe { self.heap.resize(ptr, old, aligned) }?, new))
    }

    #[inline]
    fn good_size(&self, layout: Layout) -> usize {
        Self::aligned(layout).map_or(layout.size(), |aligned| self.heap.good_size(aligned))
    }

    #[inline]
    fn alloc_batch(&mut self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        Self::aligned(layout).map_or(0, |aligned| self.heap.alloc_batch(aligned, out))
    }

    #[inline]
    unsafe fn dealloc_batch(&mut self, layout: Layout, blocks: &[NonNull<u8>]) {
        if blocks.is_empty() {
            return;
        }
        // SAFETY: the caller's promise.
        let aligned = unsafe { Self::aligned_live(layout) };
        // SAFETY: the caller's promise, and what the heap was asked for.
        unsafe { self.heap.dealloc_batch(aligned, blocks) };
    }

    fn release_unused(&mut self) -> usize {
        self.heap.release_unused()
    }

    const CHECKS: bool = P::CHECKS;

    #[inline]
    fn looks_at(layout: Layout) -> bool {
        P::looks_at(Self::aligned(layout).unwrap_or(layout))
    }

    unsafe fn judge(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise.
        let aligned = unsafe { Self::aligned_live(layout) };
        // SAFETY: the caller's promise, and what the heap was asked for.
        unsafe { self.heap.judge(ptr, aligned) }
    }

    #[inline(always)]
    fn take_finding(&mut self) -> Option<Finding> {
        self.heap.take_finding()
    }
}

// SAFETY: the blocks are the heap's own.
unsafe impl<const A: usize, P: Owns> Owns for AlignUp<A, P> {
    #[inline]
    fn owns(&self, ptr: NonNull<u8>, layout: Layout) -> bool {
        Self::told(layout).is_ok_and(|aligned| self.heap.owns(ptr, aligned))
    }

    #[inline]
    unsafe fn try_dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        let Ok(aligned) = Self::told(layout) else { return false };
        // SAFETY: the caller's promise: a live block of the heap and what it was asked for, or another heap's.
        unsafe { self.heap.try_dealloc(ptr, aligned) }
    }
}

// SAFETY: V1: the blocks are the heap's own, and their sizes too, whatever the alignment.
unsafe impl<const A: usize, P: Heap + UsableSize> UsableSize for AlignUp<A, P> {
    #[inline]
    unsafe fn usable_size(&self, ptr: NonNull<u8>) -> usize {
        // SAFETY: the caller's promise, of the same block.
        unsafe { self.heap.usable_size(ptr) }
    }
}

impl<const A: usize, P: Reset> Reset for AlignUp<A, P> {
    unsafe fn reset(&mut self) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.heap.reset() };
    }
}

inspect_one!([const A: usize, P: Inspect] AlignUp<A, P>);

impl<const A: usize, P: Heap + Default> Default for AlignUp<A, P> {
    fn default() -> Self {
        AlignUp::new(P::default())
    }
}

impl<const A: usize, P: Heap + Describe> Describe for AlignUp<A, P> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        tree.part(
            format_args!("AlignUp, every block aligned to {A} bytes or more"),
            Cost::NONE,
            &[("heap", P::describe)],
        )
    }
}
