//! A heap, and another one for what the first has no room for.

use core::alloc::Layout;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::row::inspect_two;
use crate::AllocError;
use crate::check::Finding;
use crate::describe::{Cost, Describe, Tree};
use crate::heap::{Heap, Inspect, Owns, Reset};

/// The heap `P` first, and the heap `S` for whatever `P` has no room for.
///
/// Choose it to spend fast or precious memory first and still not fail: an arena of fixed size before the system's heap, a bank of quick RAM before a
/// slow one. A block goes back to the heap that has it, found by its address ([`Owns`]) in one look-up. A fallback of
/// heaps that all have that ability has it too, so they nest on both sides. For the bytes of a value on the stack there is
/// [`StackFirst`](super::StackFirst).
///
/// ```text
///  Fallback<P, S>
///  ├── P: a heap that knows its own blocks    all requests
///  └── S: any heap                            what P refuses
/// ```
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use core::{alloc::Layout, mem::MaybeUninit};
/// use heapwright::arena::Arena;
/// use heapwright::combine::Fallback;
/// use heapwright::heap::{Heap, Inspect};
/// use heapwright::sizing::Sizing4KiB;
/// use heapwright::source::{GlobalHeap, SourceHeap};
///
/// let mut memory = [MaybeUninit::uninit(); 512];
/// let arena = Arena::<Sizing4KiB>::from_slice(&mut memory);
/// let mut heap = Fallback::new(arena, SourceHeap::new(GlobalHeap));
/// let (small, large) = (Layout::new::<[u8; 100]>(), Layout::new::<[u8; 1000]>());
/// let block = heap.alloc(small)?.cast();
/// assert_eq!(heap.first().usage().objects, 1);
/// // SAFETY: the block is live, its layout first `small`, then `large`.
/// unsafe {
///     let block = heap.resize(block, small, large)?.cast(); // more than the arena has: it moves
///     assert_eq!(heap.first().usage().objects, 0);
///     heap.dealloc(block, large);
/// }
/// # }
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// # Cost
/// No state and nothing per block. A request costs a test of what `P` has answered, a free or resize one look-up in `P`: for an arena a
/// subtraction and a compare. A block that is resized stays with its heap while that has room, and moves to the other one else; one that has left `P`
/// comes back only if `S` refuses it.
///
/// # Errors
/// A request fails when both heaps refuse it.
///
/// The idea: `FallbackAllocator` of D's `std.experimental.allocator` (Andrei Alexandrescu), with the single look-up of `try_deallocate_node` in
/// foonathan/memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fallback<P: Owns, S: Heap> {
    first: P,
    second: S,
}

impl<P: Owns, S: Heap> Fallback<P, S> {
    /// `first`, and `second` behind it.
    #[must_use]
    pub const fn new(first: P, second: S) -> Self {
        Fallback { first, second }
    }

    /// The heap that is asked first.
    pub const fn first(&self) -> &P {
        &self.first
    }

    /// The heap for what the first one refuses.
    pub const fn second(&self) -> &S {
        &self.second
    }

    /// Both heaps.
    #[must_use]
    pub fn into_inner(self) -> (P, S) {
        (self.first, self.second)
    }

    /// Out of line, so that the way through the first heap stays short enough to be part of its callers.
    #[inline(never)]
    fn alloc_second(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.second.alloc(layout)
    }

    /// # Safety
    /// As [`Heap::dealloc`], of the second heap.
    #[inline(never)]
    unsafe fn dealloc_second(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.second.dealloc(ptr, layout) };
    }
}

/// Moves a block from one heap to another.
///
/// # Errors
/// When that one has no room, or the first one finds that this is no block of its own; the block is as it was.
///
/// # Safety
/// `ptr` is a live block of `from`, `old` its layout, and `new` is not of size zero.
pub(super) unsafe fn move_block<A: Heap, B: Heap>(
    from: &mut A,
    to: &mut B,
    ptr: NonNull<u8>,
    old: Layout,
    new: Layout,
) -> Result<NonNull<[u8]>, AllocError> {
    // SAFETY: the caller's promise.
    if A::CHECKS && !unsafe { from.judge(ptr, old) } {
        return Err(AllocError);
    }
    let block = to.alloc(new)?;
    // SAFETY: both are live blocks of at least that many bytes, of heaps that hold them at the same time, so they do not overlap (H1).
    unsafe { block.cast::<u8>().copy_from_nonoverlapping(ptr, old.size().min(new.size())) };
    // SAFETY: the caller's promise; the copy has been made.
    unsafe { from.dealloc(ptr, old) };
    Ok(block)
}

// SAFETY: H1: a block is one of `first` or of `second`, both in our hands, and handed out as it is. It goes back to the one that it is from: `first`
// tells its own (`Owns`), and what is not its own is the other's, for there are no others; with the layout of the caller, which is what that heap gave
// it for. H2 to H4: those of both; a request that both refuse has changed neither, and `move_block` allocates before it frees. H5: only the two
// are called; at hand only what is at hand in the heap in question. H6: both refuse size zero. H7: every size from a request to the lesser good size
// has, in each heap, the request's good size there (H7), and so the same lesser one.
unsafe impl<P: Owns, S: Heap> Heap for Fallback<P, S> {
    // What `first` does not have at hand it may have all the same, so `second` is not asked.
    const AT_HAND: bool = P::AT_HAND;

    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        match self.first.alloc(layout) {
            Ok(block) => Ok(block),
            Err(AllocError) => self.alloc_second(layout),
        }
    }

    #[inline(always)]
    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: a live block of one of the two, and its layout: the caller's promise.
        if !unsafe { self.first.try_dealloc(ptr, layout) } {
            // SAFETY: it is not the first's, so it is the second's.
            unsafe { self.dealloc_second(ptr, layout) };
        }
    }

    #[inline(always)]
    fn alloc_at_hand(&mut self, layout: Layout) -> Option<NonNull<[u8]>> {
        self.first.alloc_at_hand(layout)
    }

    #[inline(always)]
    unsafe fn dealloc_at_hand(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        if self.first.owns(ptr, layout) {
            // SAFETY: the caller's promise, and the block is the first's.
            unsafe { self.first.dealloc_at_hand(ptr, layout) }
        } else {
            // SAFETY: the caller's promise, and the block is not the first's.
            unsafe { self.second.dealloc_at_hand(ptr, layout) }
        }
    }

    #[inline]
    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        match self.first.alloc_zeroed(layout) {
            Ok(block) => Ok(block),
            Err(AllocError) => self.second.alloc_zeroed(layout),
        }
    }

    #[inline]
    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if self.first.owns(ptr, old) {
            // SAFETY: the caller's promise, and the block is the first's.
            unsafe { self.first.resize_in_place(ptr, old, new) }
        } else {
            // SAFETY: the caller's promise, and the block is not the first's.
            unsafe { self.second.resize_in_place(ptr, old, new) }
        }
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        if Self::CHECKS && !unsafe { self.judge(ptr, old) } {
            return Err(AllocError);
        }
        if self.first.owns(ptr, old) {
            // SAFETY: the caller's promise, and the block is the first's.
            if let Ok(block) = unsafe { self.first.resize(ptr, old, new) } {
                return Ok(block);
            }
            // SAFETY: the same; the block is as it was (H4).
            return unsafe { move_block(&mut self.first, &mut self.second, ptr, old, new) };
        }
        // SAFETY: the caller's promise, and the block is not the first's.
        if let Ok(block) = unsafe { self.second.resize(ptr, old, new) } {
            return Ok(block);
        }
        // SAFETY: the same; the block is as it was (H4).
        unsafe { move_block(&mut self.second, &mut self.first, ptr, old, new) }
    }

    /// The lesser of what the two say, since it is not known which of them a request will get its block from.
    #[inline]
    fn good_size(&self, layout: Layout) -> usize {
        self.first.good_size(layout).min(self.second.good_size(layout))
    }

    fn alloc_batch(&mut self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        let count = self.first.alloc_batch(layout, out);
        match out.get_mut(count..) {
            None | Some([]) => count,
            Some(rest) => count + self.second.alloc_batch(layout, rest),
        }
    }

    /// Blocks of one heap that follow each other go back together.
    unsafe fn dealloc_batch(&mut self, layout: Layout, blocks: &[NonNull<u8>]) {
        let mut rest = blocks;
        while let Some(&block) = rest.first() {
            let ours = self.first.owns(block, layout);
            let others = rest.iter().skip(1).position(|&block| self.first.owns(block, layout) != ours);
            let (run, behind) = rest.split_at(others.map_or(rest.len(), |count| count + 1));
            if ours {
                // SAFETY: the caller's promise, and all of these are the first's.
                unsafe { self.first.dealloc_batch(layout, run) };
            } else {
                // SAFETY: the caller's promise, and none of these is the first's.
                unsafe { self.second.dealloc_batch(layout, run) };
            }
            rest = behind;
        }
    }

    fn release_unused(&mut self) -> usize {
        self.first.release_unused() + self.second.release_unused()
    }

    const CHECKS: bool = P::CHECKS || S::CHECKS;

    #[inline]
    fn looks_at(layout: Layout) -> bool {
        // What is not the first's is for the second.
        S::looks_at(layout)
    }

    unsafe fn judge(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        if self.first.owns(ptr, layout) {
            // SAFETY: the caller's promise, and the block is the first's.
            unsafe { self.first.judge(ptr, layout) }
        } else {
            // SAFETY: the caller's promise, and the block is not the first's.
            unsafe { self.second.judge(ptr, layout) }
        }
    }

    #[inline(always)]
    fn take_finding(&mut self) -> Option<Finding> {
        self.first.take_finding().or_else(|| self.second.take_finding())
    }
}

// SAFETY: a live block is one of the two heaps', and no block of another heap is either's, if it is not built over this one: what is
// built over one of the two is built over this.
unsafe impl<P: Owns, S: Owns> Owns for Fallback<P, S> {
    #[inline]
    fn owns(&self, ptr: NonNull<u8>, layout: Layout) -> bool {
        self.first.owns(ptr, layout) || self.second.owns(ptr, layout)
    }

    #[inline(always)]
    unsafe fn try_dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise is the same.
        if unsafe { self.first.try_dealloc(ptr, layout) } {
            return true;
        }
        // SAFETY: as above; it is still live, for the first has not taken it.
        unsafe { self.second.try_dealloc(ptr, layout) }
    }
}

impl<P: Owns + Reset, S: Reset> Reset for Fallback<P, S> {
    unsafe fn reset(&mut self) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.first.reset() };
        // SAFETY: as above.
        unsafe { self.second.reset() };
    }
}

inspect_two!([P: Owns + Inspect, S: Inspect] Fallback<P, S>);

impl<P: Owns + Describe, S: Heap + Describe> Describe for Fallback<P, S> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let parts: [crate::describe::Child<'_>; 2] = [("first", P::describe), ("then", S::describe)];
        tree.part(format_args!("Fallback, the second for what the first refuses"), Cost::NONE, &parts)
    }
}
