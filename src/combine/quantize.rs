//! A heap whose sizes are rounded by a rule.

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::exposed::{each_changed, expose, expose_some, whole};
use super::round::Round;
use super::row::inspect_one;
use crate::AllocError;
use crate::check::Finding;
use crate::describe::{Cost, Describe, Tree, name};
use crate::heap::{Heap, Inspect, Owns, Reset, refuse};
use crate::mem;

/// The heap `P`, asked for sizes that the rule `R` has rounded up.
///
/// Choose it before a heap that is better with few sizes (lists of freed blocks, pages), and for blocks that grow in small steps: growth and
/// shrinking within a quantum happen in place and cost nothing. The owner of a block may use all of its quantum.
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use core::alloc::Layout;
/// use heapwright::combine::{Multiples, Quantize};
/// use heapwright::heap::Heap;
/// use heapwright::source::{Counted, GlobalHeap, SourceHeap};
///
/// let mut heap = Quantize::<Multiples<64>, _>::new(SourceHeap::new(Counted::new(GlobalHeap)));
/// let (short, long) = (Layout::new::<[u8; 5]>(), Layout::new::<[u8; 60]>());
/// let block = heap.alloc(short)?;
/// assert_eq!(block.len(), 64);
/// // SAFETY: the block is live, its layout first `short`, then `long`.
/// unsafe {
///     assert_eq!(heap.resize(block.cast(), short, long)?.cast::<u8>(), block.cast());
///     heap.dealloc(block.cast(), long);
/// }
/// assert_eq!(heap.heap().source().counts().acquired, 1);
/// # }
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// # Cost
/// No state and nothing per block but what its size is rounded up by. The rule is computed in each call, and is a constant where the layout is one.
///
/// # Errors
/// As `P`; and if a rounded size is more than a layout may have.
///
/// The idea: `Quantizer` of D's `std.experimental.allocator` (Andrei Alexandrescu).
pub struct Quantize<R: Round, P: Heap> {
    heap: P,
    rule: PhantomData<fn() -> R>,
}

impl<R: Round, P: Heap> Quantize<R, P> {
    /// `heap`, asked for rounded sizes.
    #[must_use]
    pub const fn new(heap: P) -> Self {
        const { R::VALID };
        Quantize { heap, rule: PhantomData }
    }

    /// The heap within.
    pub const fn heap(&self) -> &P {
        &self.heap
    }

    /// The heap, without the rule.
    #[must_use]
    pub fn into_inner(self) -> P {
        self.heap
    }

    /// What the heap is asked for when this one is asked for `layout`.
    #[inline(always)]
    fn quantum(layout: Layout) -> Result<Layout, AllocError> {
        if layout.size() == 0 {
            return Err(AllocError);
        }
        Layout::from_size_align(R::round(layout), layout.align()).map_err(|_| AllocError)
    }

    /// The same for a block that comes back, of this heap or not: a layout that no block has goes to a heap that checks as it is, which finds it wrong.
    #[inline(always)]
    fn told(layout: Layout) -> Result<Layout, AllocError> {
        Self::quantum(layout).or(if P::CHECKS { Ok(layout) } else { Err(AllocError) })
    }

    /// The same for the layout of a live block.
    ///
    /// # Safety
    /// `layout` is the layout of a live block of such a heap: its size one from the requested to the returned.
    #[inline(always)]
    unsafe fn live_quantum(layout: Layout) -> Layout {
        if P::CHECKS {
            return Self::told(layout).unwrap_or(layout);
        }
        let size = R::round(layout);
        // SAFETY: the size is the one that the request was rounded to (Q2), which was part of a layout with this alignment.
        unsafe { Layout::from_size_align_unchecked(size, layout.align()) }
    }

    /// A block that stays as it is, with a quantum of its own.
    ///
    /// # Errors
    /// When the heap finds that it is none.
    ///
    /// # Safety
    /// It is a live block of the heap, and `quantum` what it was asked for.
    #[inline(always)]
    unsafe fn same(&mut self, ptr: NonNull<u8>, quantum: Layout) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise.
        if P::CHECKS && !unsafe { self.heap.judge(whole(ptr), quantum) } {
            return Err(AllocError);
        }
        Ok(mem::slice(whole(ptr), quantum.size()))
    }
}

// SAFETY: H1: a block is one of the heap's, cut to what it was asked for: the quantum of the request. With any size from the request to that, it comes
// back to the heap with that quantum (Q2), by a pointer good for all of it: the block was exposed when it was handed out, or resized by the heap. H2 to
// H5: those of the heap; Q1, Q3. H6: refused by `quantum`. H7: the good size is the quantum, the same for all sizes up to it (Q2).
unsafe impl<R: Round, P: Heap> Heap for Quantize<R, P> {
    const AT_HAND: bool = P::AT_HAND;

    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let quantum = Self::quantum(layout)?;
        expose_some(self.heap.alloc(quantum), quantum.size())
    }

    #[inline(always)]
    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        let quantum = unsafe { Self::live_quantum(layout) };
        // SAFETY: a live block of the heap, and what it was asked for.
        unsafe { self.heap.dealloc(whole(ptr), quantum) };
    }

    #[inline(always)]
    fn alloc_at_hand(&mut self, layout: Layout) -> Option<NonNull<[u8]>> {
        let quantum = Self::quantum(layout).ok()?;
        Some(expose(self.heap.alloc_at_hand(quantum)?, quantum.size()))
    }

    #[inline(always)]
    unsafe fn dealloc_at_hand(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise.
        let quantum = unsafe { Self::live_quantum(layout) };
        // SAFETY: a live block of the heap, and what it was asked for.
        unsafe { self.heap.dealloc_at_hand(whole(ptr), quantum) }
    }

    #[inline]
    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let quantum = Self::quantum(layout)?;
        expose_some(self.heap.alloc_zeroed(quantum), quantum.size())
    }

    #[inline]
    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let Ok(new) = Self::quantum(new) else {
            // SAFETY: the caller's promise is the same.
            return Err(unsafe { refuse(self, ptr, old) });
        };
        // SAFETY: the caller's promise.
        let old = unsafe { Self::live_quantum(old) };
        if old == new {
            // SAFETY: a live block of the heap, and what it was asked for.
            return unsafe { self.same(ptr, new) };
        }
        // SAFETY: a live block of the heap, and what it was asked for.
        expose_some(unsafe { self.heap.resize_in_place(whole(ptr), old, new) }, new.size())
    }

    #[inline]
    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let Ok(new) = Self::quantum(new) else {
            // SAFETY: the caller's promise is the same.
            return Err(unsafe { refuse(self, ptr, old) });
        };
        // SAFETY: the caller's promise.
        let old = unsafe { Self::live_quantum(old) };
        if old == new {
            // SAFETY: a live block of the heap, and what it was asked for.
            return unsafe { self.same(ptr, new) };
        }
        // SAFETY: a live block of the heap, and what it was asked for. Quanta are no less than the sizes, so all that is to be kept is.
        expose_some(unsafe { self.heap.resize(whole(ptr), old, new) }, new.size())
    }

    #[inline]
    fn good_size(&self, layout: Layout) -> usize {
        R::round(layout)
    }

    fn alloc_batch(&mut self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        let Ok(quantum) = Self::quantum(layout) else { return 0 };
        let count = self.heap.alloc_batch(quantum, out);
        for block in out.iter().take(count) {
            // SAFETY: the heap has filled so many from the front.
            let block = unsafe { block.assume_init() };
            expose(mem::slice(block, quantum.size()), quantum.size());
        }
        count
    }

    unsafe fn dealloc_batch(&mut self, layout: Layout, blocks: &[NonNull<u8>]) {
        if blocks.is_empty() {
            return;
        }
        // SAFETY: the caller's promise.
        let quantum = unsafe { Self::live_quantum(layout) };
        each_changed(blocks, whole, |blocks| {
            // SAFETY: live blocks of the heap, and what it was asked for.
            unsafe { self.heap.dealloc_batch(quantum, blocks) };
        });
    }

    fn release_unused(&mut self) -> usize {
        self.heap.release_unused()
    }

    const CHECKS: bool = P::CHECKS;

    #[inline]
    fn looks_at(layout: Layout) -> bool {
        P::looks_at(Self::quantum(layout).unwrap_or(layout))
    }

    unsafe fn judge(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise.
        let quantum = unsafe { Self::live_quantum(layout) };
        // SAFETY: a live block of the heap, and what it was asked for.
        unsafe { self.heap.judge(whole(ptr), quantum) }
    }

    #[inline(always)]
    fn take_finding(&mut self) -> Option<Finding> {
        self.heap.take_finding()
    }
}

// SAFETY: the blocks are the heap's own.
unsafe impl<R: Round, P: Owns> Owns for Quantize<R, P> {
    #[inline]
    fn owns(&self, ptr: NonNull<u8>, layout: Layout) -> bool {
        Self::told(layout).is_ok_and(|quantum| self.heap.owns(ptr, quantum))
    }

    #[inline]
    unsafe fn try_dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        let Ok(quantum) = Self::told(layout) else { return false };
        // SAFETY: the caller's promise: a live block of the heap and what it was asked for, or another heap's.
        unsafe { self.heap.try_dealloc(whole(ptr), quantum) }
    }
}

impl<R: Round, P: Reset> Reset for Quantize<R, P> {
    unsafe fn reset(&mut self) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.heap.reset() };
    }
}

inspect_one!([R: Round, P: Inspect] Quantize<R, P>);

impl<R: Round, P: Heap + Default> Default for Quantize<R, P> {
    fn default() -> Self {
        Quantize::new(P::default())
    }
}

impl<R: Round, P: Heap + fmt::Debug> fmt::Debug for Quantize<R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quantize")
            .field("rule", &format_args!("{}", name::<R>()))
            .field("heap", &self.heap)
            .finish()
    }
}

impl<R: Round, P: Heap + Describe> Describe for Quantize<R, P> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        tree.part(
            format_args!("Quantize, sizes rounded up to {}", name::<R>()),
            Cost::NONE,
            &[("heap", P::describe)],
        )
    }
}
