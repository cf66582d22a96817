//! Heaps used in turn: what was allocated in a turn lives through the next ones, until its heap's turn comes again.

use core::alloc::Layout;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use crate::AllocError;
use crate::check::Finding;
use crate::describe::{Cost, Describe, Tree};
use crate::heap::{Heap, Owns, Reset, refuse};

/// `N` heaps used in turn, each emptied when its turn comes: blocks live for `N` frames.
///
/// Choose it for what is made anew in every turn of a loop and needed in the next few: frames of a game, ticks of a simulation, generations of a search. With
/// `N` of 2, a frame's blocks are there while the next one is made. [`Frames`](super::Frames) is the safe way to turn it; the core's own
/// [`advance`](Ring::advance) is unsafe.
///
/// ```text
///  frame 7: heap 0 ◄── requests        frame 8: heap 0, blocks of frame 7
///           heap 1, blocks of frame 6           heap 1 emptied ◄── requests
/// ```
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use heapwright::{combine::{Region, Ring}, heap::Heap, source::GlobalHeap};
/// use std::alloc::Layout;
///
/// let mut ring: Ring<2, Region<GlobalHeap>> = Ring::new([Region::new(GlobalHeap), Region::new(GlobalHeap)]);
/// let first = ring.alloc(Layout::new::<u64>())?.cast::<u64>();
/// // SAFETY: no block is from two frames ago.
/// unsafe { ring.advance() };
/// let second = ring.alloc(Layout::new::<u64>())?.cast::<u64>();
/// assert_ne!(first, second, "the first frame's block is live");
/// // SAFETY: `first` is not used again.
/// unsafe { ring.advance() };
/// assert_eq!(ring.alloc(Layout::new::<u64>())?.cast(), first);
/// # }
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// # Cost
/// A word of state and the heaps'; a request takes an index more than in the heap itself. Frees and resizes find the heap by ownership, newest frame first.
///
/// # Errors
/// Those of the frame's heap.
///
/// Of no heap there is no turn:
/// ```compile_fail,E0080
/// use heapwright::{combine::{Region, Ring}, source::GlobalHeap};
/// let ring = Ring::<0, Region<GlobalHeap>>::new([]); // error: a ring has at least one heap
/// ```
///
/// The idea is foonathan/memory's `iteration_allocator<N>`, and older in games, as the double-buffered frame allocator.
pub struct Ring<const N: usize, A: Heap> {
    frames: [A; N],
    /// Below `N`.
    current: usize,
}

impl<const N: usize, A: Heap> Ring<N, A> {
    /// Of these heaps, the first one first.
    #[must_use]
    pub const fn new(frames: [A; N]) -> Self {
        const { assert!(N > 0, "a ring has at least one heap") };
        Ring { frames, current: 0 }
    }

    /// The heap that requests go to now.
    pub const fn current(&self) -> &A {
        &self.frames[self.current]
    }

    /// All heaps, in the order of their turns.
    pub const fn frames(&self) -> &[A; N] {
        &self.frames
    }

    /// Which heap requests go to now: below `N`.
    pub const fn turn(&self) -> usize {
        self.current
    }

    /// Gives the turn to the next heap, and empties it.
    ///
    /// # Safety
    /// No block handed out `N` turns ago is used again, not even to free it.
    pub unsafe fn advance(&mut self)
    where
        A: Reset,
    {
        self.current = (self.current + 1) % N;
        // SAFETY: its blocks are from its last turn, which was `N` turns ago.
        unsafe { self.frames[self.current].reset() };
    }

    /// The indices of the frames, the newest first.
    fn newest_first(&self) -> impl Iterator<Item = usize> + use<N, A> {
        let current = self.current;
        (0..N).map(move |age| (current + N - age) % N)
    }
}

impl<const N: usize, A: Owns> Ring<N, A> {
    /// The frame that a block is from.
    fn owner(&self, ptr: NonNull<u8>, layout: Layout) -> Option<usize> {
        self.newest_first().find(|&frame| self.frames[frame].owns(ptr, layout))
    }

    /// The same for a block that comes back. What is no frame's the current one, if it checks, finds wrong.
    ///
    /// # Safety
    /// As [`Heap::dealloc`].
    unsafe fn frame_of(&mut self, ptr: NonNull<u8>, layout: Layout) -> Option<usize> {
        let owner = self.owner(ptr, layout);
        if owner.is_none() {
            // SAFETY: the caller's promise; it is no block of this heap.
            unsafe { refuse(&mut self.frames[self.current], ptr, layout) };
        }
        owner
    }
}

// SAFETY: H1: a block is one of a frame's heap (H1), and goes back there, whatever its size, by ownership; frames are emptied when their blocks are not
// used again. H2 to H6: those of the frames' heaps; the array is moved as a whole. H4: as a block that changes frames is copied before it is freed. H7: as
// of the first frame, always.
unsafe impl<const N: usize, A: Owns> Heap for Ring<N, A> {
    #[inline]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.frames[self.current].alloc(layout)
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        for frame in self.newest_first() {
            // SAFETY: a live block of this frame or another one, by the caller's promise.
            if unsafe { self.frames[frame].try_dealloc(ptr, layout) } {
                return;
            }
        }
        // SAFETY: as above; it is no frame's.
        unsafe { refuse(&mut self.frames[self.current], ptr, layout) };
    }

    const AT_HAND: bool = A::AT_HAND;

    #[inline(always)]
    fn alloc_at_hand(&mut self, layout: Layout) -> Option<NonNull<[u8]>> {
        self.frames[self.current].alloc_at_hand(layout)
    }

    #[inline]
    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.frames[self.current].alloc_zeroed(layout)
    }

    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        let frame = unsafe { self.frame_of(ptr, old) }.ok_or(AllocError)?;
        // SAFETY: a live block of this frame.
        unsafe { self.frames[frame].resize_in_place(ptr, old, new) }
    }

    /// A block of an earlier frame that has to move goes to the current one.
    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        let frame = unsafe { self.frame_of(ptr, old) }.ok_or(AllocError)?;
        if frame == self.current {
            // SAFETY: a live block of this frame.
            return unsafe { self.frames[frame].resize(ptr, old, new) };
        }
        // SAFETY: as above.
        if A::CHECKS && !unsafe { self.frames[frame].judge(ptr, old) } {
            return Err(AllocError);
        }
        // SAFETY: as above.
        if let Ok(block) = unsafe { self.frames[frame].resize_in_place(ptr, old, new) } {
            return Ok(block);
        }
        let block = self.alloc(new)?;
        // SAFETY: both are live blocks of at least `min(old, new)` bytes and do not overlap (H1).
        unsafe { block.cast::<u8>().copy_from_nonoverlapping(ptr, old.size().min(new.size())) };
        // SAFETY: a live block of this frame; the copy has been made.
        unsafe { self.frames[frame].dealloc(ptr, old) };
        Ok(block)
    }

    fn good_size(&self, layout: Layout) -> usize {
        self.frames[0].good_size(layout)
    }

    fn alloc_batch(&mut self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        self.frames[self.current].alloc_batch(layout, out)
    }

    unsafe fn dealloc_batch(&mut self, layout: Layout, blocks: &[NonNull<u8>]) {
        if A::CHECKS {
            for &block in blocks {
                // SAFETY: the caller's promise is the same.
                unsafe { self.dealloc(block, layout) };
            }
            return;
        }
        let mut rest = blocks;
        while let Some(&first) = rest.first() {
            let Some(frame) = self.owner(first, layout) else { return };
            let heap = &mut self.frames[frame];
            let run = rest.iter().position(|&block| !heap.owns(block, layout)).unwrap_or(rest.len());
            let (some, others) = rest.split_at(run);
            // SAFETY: live blocks of this frame, all different.
            unsafe { heap.dealloc_batch(layout, some) };
            rest = others;
        }
    }

    fn release_unused(&mut self) -> usize {
        self.frames.iter_mut().map(A::release_unused).sum()
    }

    const CHECKS: bool = A::CHECKS;

    #[inline]
    fn looks_at(layout: Layout) -> bool {
        A::looks_at(layout)
    }

    unsafe fn judge(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise is the same.
        let frame = unsafe { self.frame_of(ptr, layout) };
        // SAFETY: as above, and the block is this frame's.
        frame.is_some_and(|frame| unsafe { self.frames[frame].judge(ptr, layout) })
    }

    #[inline(always)]
    fn take_finding(&mut self) -> Option<Finding> {
        self.frames.iter_mut().find_map(A::take_finding)
    }
}

// SAFETY: the blocks are those of the frames.
unsafe impl<const N: usize, A: Owns> Owns for Ring<N, A> {
    fn owns(&self, ptr: NonNull<u8>, layout: Layout) -> bool {
        self.owner(ptr, layout).is_some()
    }

    unsafe fn try_dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise is the same.
        self.newest_first().any(|frame| unsafe { self.frames[frame].try_dealloc(ptr, layout) })
    }
}

impl<const N: usize, A: Owns + Reset> Reset for Ring<N, A> {
    unsafe fn reset(&mut self) {
        for frame in &mut self.frames {
            // SAFETY: the caller's promise is the same.
            unsafe { frame.reset() };
        }
    }
}

impl<const N: usize, A: Heap + fmt::Debug> fmt::Debug for Ring<N, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("turn", &self.current).field("frames", &self.frames).finish()
    }
}

impl<const N: usize, A: Heap + Describe> Describe for Ring<N, A> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        tree.part(
            format_args!("Ring of {N} heaps used in turn"),
            Cost::state_of::<usize>(),
            &[("each", A::describe)],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::{Locked, NoHeap};
    use crate::lock::{NoLock, SpinLock};

    static_assertions::const_assert_eq!(size_of::<Ring<3, NoHeap>>(), size_of::<usize>());
    static_assertions::assert_impl_all!(Ring<3, NoHeap>: Send, Sync);
    static_assertions::assert_impl_all!(Locked<Ring<3, NoHeap>, SpinLock>: Send, Sync);
    static_assertions::assert_not_impl_any!(Locked<Ring<3, NoHeap>, NoLock>: Sync);

    #[test]
    fn newest_first() {
        let mut ring = Ring::new([NoHeap; 3]);
        assert!(ring.newest_first().eq([0, 2, 1]));
        // SAFETY: there are no blocks.
        unsafe { ring.advance() };
        assert!(ring.newest_first().eq([1, 0, 2]) && ring.turn() == 1);
    }
}
