//! A heap whose blocks are counted.

use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;

use super::around::{Around, Within, heap_around};
use super::counters::Counters;
use crate::AllocError;
use crate::describe::{Cost, Describe, Tree};
use crate::heap::Heap;
use crate::mem;

/// A heap that counts what goes through it, as the type `C` says.
///
/// Choose it to see what a program really asks for, to find the blocks that do not come back, or to choose size classes. What is counted,
/// and what that costs, is `C`:
///
/// | counters | what they tell | bytes | cost of an alloc and free |
/// |---|---|---|---|
/// | `()` | nothing | 0 | none: not one instruction |
/// | [`Totals`](super::Totals) | live blocks and bytes, their peaks; requests met, refused, resized in place and moved | 9 words | about 10 additions |
/// | [`&AtomicTotals`](super::AtomicTotals) | the same, for other threads to read while the heap is at work | 1 word, 9 elsewhere | as many atomic ones |
/// | [`ClassTotals<S>`](super::ClassTotals) | live blocks, their peak, and requests, for each size class | 3 words a class | a look-up, 3 additions |
/// | [`SizeHistogram`](super::SizeHistogram) | requests by size, by powers of two | a word for each power | an addition |
/// | `(C, D)`, `(C, D, E)` | what each of them does | of each | of each |
/// | [`Counters`] of your own | | | |
///
/// Bytes are those that blocks really take: the [`good_size`](Heap::good_size) of the heap within; a block is cut to that. The histogram
/// counts sizes as they are asked for.
///
/// ```
/// use core::alloc::Layout;
/// use core::mem::MaybeUninit;
/// use heapwright::arena::Arena;
/// use heapwright::combine::{Counted, SizeHistogram, Totals};
/// use heapwright::heap::Heap;
/// use heapwright::sizing::Sizing4KiB;
///
/// let mut memory = [MaybeUninit::uninit(); 1024];
/// let arena = Arena::<Sizing4KiB>::from_slice(&mut memory);
/// let mut heap = Counted::new((Totals::new(), SizeHistogram::new()), arena);
/// let layout = Layout::new::<[u8; 50]>();
/// let block = heap.alloc(layout)?.cast();
/// // SAFETY: the block is live, and its layout this one.
/// let block = unsafe { heap.resize(block, layout, Layout::new::<[u8; 100]>()) }?.cast();
/// // SAFETY: the same with the new layout.
/// unsafe { heap.dealloc(block, Layout::new::<[u8; 100]>()) };
/// assert!(heap.alloc(Layout::new::<[u8; 2000]>()).is_err());
///
/// let (totals, sizes) = heap.counters();
/// assert_eq!((totals.blocks, totals.blocks_peak, totals.refused), (0, 1, 1));
/// assert_eq!(totals.resized + totals.moved, 1);
/// assert_eq!(sizes.count(50), 1, "of 32 to 63 bytes");
/// println!("{heap}");
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// [`source::Counted`](crate::source::Counted) does the same for a source. The idea: `StatsCollector` of D's `std.experimental.allocator`
/// (Andrei Alexandrescu), which chooses what it counts at compile time, too.
#[derive(Debug)]
pub struct Counted<C: Counters, P: Heap> {
    counters: C,
    heap: P,
}

impl<C: Counters, P: Heap> Counted<C, P> {
    /// `heap`, whose blocks `counters` count.
    #[must_use]
    pub const fn new(counters: C, heap: P) -> Self {
        Counted { counters, heap }
    }

    /// What has been counted.
    #[must_use]
    pub const fn counters(&self) -> &C {
        &self.counters
    }

    /// The heap within.
    #[must_use]
    pub const fn heap(&self) -> &P {
        &self.heap
    }

    /// The heap, no longer counted.
    #[must_use]
    pub fn into_inner(self) -> P {
        self.heap
    }

    /// The layout by which a block is counted: the same for all sizes that it may come back with (H7).
    ///
    /// # Safety
    /// The request has been met.
    #[inline(always)]
    unsafe fn counted(&self, layout: Layout) -> Layout {
        // SAFETY: H7, by the caller's promise.
        unsafe { Layout::from_size_align_unchecked(self.heap.good_size(layout), layout.align()) }
    }
}

impl<C: Counters, P: Heap> Within for Counted<C, P> {
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
        self.counters.forgotten();
    }
}

// SAFETY: W1: a block is cut to its good size, which is no less than the request, so that it is counted by the same layout with every size
// that may come back (H7). W2: counters do not unwind, and use no heap (N1). W3: none is kept.
unsafe impl<C: Counters, P: Heap> Around for Counted<C, P> {
    /// The good size.
    type Note = usize;

    #[inline(always)]
    fn admit(&mut self, layout: Layout) -> Result<usize, AllocError> {
        Ok(if C::COUNTS { self.heap.good_size(layout) } else { 0 })
    }

    #[inline(always)]
    fn admit_resize(&mut self, _: Layout, _: Layout) -> Result<(usize, usize), AllocError> {
        // They are asked for afterwards: a resize costs more than that.
        Ok((0, 0))
    }

    #[inline(always)]
    fn refused(&mut self, layout: Layout) -> bool {
        self.counters.refused(layout);
        false
    }

    #[inline(always)]
    fn granted(&mut self, layout: Layout, good: usize, block: NonNull<[u8]>) -> NonNull<[u8]> {
        if !C::COUNTS {
            return block;
        }
        // SAFETY: H7: the request has been met.
        let counted = unsafe { Layout::from_size_align_unchecked(good, layout.align()) };
        self.counters.allocated(layout, counted, 1);
        mem::slice(block.cast(), block.len().min(counted.size()))
    }

    #[inline(always)]
    fn granted_batch(&mut self, layout: Layout, count: usize) {
        if C::COUNTS && count > 0 {
            // SAFETY: it has just been met.
            let counted = unsafe { self.counted(layout) };
            self.counters.allocated(layout, counted, count);
        }
    }

    #[inline(always)]
    fn resized(
        &mut self,
        (old, new): (Layout, Layout),
        _: (usize, usize),
        block: NonNull<[u8]>,
        moved: bool,
    ) -> NonNull<[u8]> {
        if !C::COUNTS {
            return block;
        }
        // SAFETY: it was met, or a block has been resized to it; and it may have been any size up to the good one, which has the same (H7).
        let old = unsafe { self.counted(old) };
        // SAFETY: it has just been met.
        let counted = unsafe { self.counted(new) };
        self.counters.resized(old, counted, moved);
        mem::slice(block.cast(), block.len().min(counted.size()))
    }

    #[inline(always)]
    fn freed(&mut self, layout: Layout, count: usize) {
        if C::COUNTS && count > 0 {
            // SAFETY: there was a block of this layout, or of another with the same good size (H7).
            let counted = unsafe { self.counted(layout) };
            self.counters.freed(counted, count);
        }
    }
}

heap_around!([C: Counters, P: Heap] Counted<C, P>, P);

/// The counters' tables.
impl<C: Counters, P: Heap> fmt::Display for Counted<C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.counters.table(f)
    }
}

impl<C: Counters, P: Heap + Describe> Describe for Counted<C, P> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        tree.part(format_args!("Counted, by {}", C::NAME), Cost::state_of::<C>(), &[("heap", P::describe)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Classes;
    use crate::combine::{AtomicTotals, ClassTotals, SizeHistogram, Totals};
    use crate::heap::NoHeap;

    static_assertions::const_assert_eq!(size_of::<Counted<(), NoHeap>>(), 0);
    static_assertions::const_assert_eq!(size_of::<Counted<Totals, NoHeap>>(), 9 * size_of::<usize>());
    static_assertions::const_assert_eq!(
        size_of::<Counted<&'static AtomicTotals, NoHeap>>(),
        size_of::<usize>()
    );
    static_assertions::assert_impl_all!(Counted<(Totals, SizeHistogram), NoHeap>: Send, Sync);
    static_assertions::assert_impl_all!(Counted<(ClassTotals<Classes>, &'static AtomicTotals), NoHeap>: Send, Sync);
}
