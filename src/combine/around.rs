//! A heap around another one, whose blocks are that one's: how the hooks of a combinator that watches or guards its child are called, and
//! that every method of the child is reached. Written once, for all of them.

use core::alloc::Layout;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use crate::AllocError;
use crate::check::Finding;
use crate::heap::{Heap, Owns};
use crate::mem;

/// A heap made of another one, and what that one is not asked for.
pub(super) trait Within {
    /// The heap within.
    type Heap: Heap;

    fn heap(&self) -> &Self::Heap;

    fn heap_mut(&mut self) -> &mut Self::Heap;

    /// All blocks are about to be forgotten.
    #[inline(always)]
    fn forget(&mut self) {}

    /// Looks whether what is kept is as it was.
    #[inline(always)]
    fn inspect(&mut self) {}

    /// Misuses found by this heap, beside those that the heap within has found.
    #[inline(always)]
    fn misuses(&self) -> usize {
        0
    }
}

/// Hooks around one heap. Each layout goes to the heap as it came.
///
/// [`heap_around!`] makes a [`Heap`] of it. What a hook has noted holds only for what has really happened: requests are noted when they have
/// been met, frees when they have been made.
///
/// # Safety
/// An implementation keeps these:
/// - **W1** (the same blocks) `heap` and `heap_mut` give one heap, which is owned, and whose blocks no hook takes or gives back but those that `leaves` has kept.
///   `granted` and `resized` give the block that they get, or less of it, down to the size asked for.
/// - **W2** (no unwinding) no hook unwinds, or calls a shell; with `AT_HAND` they call nothing that is no core, and `admit` and
///   `admit_batch` change nothing.
/// - **W3** (kept blocks) a block that `leaves` keeps goes back to the heap once, with the layout that it came with, or is lost for good.
pub(super) unsafe trait Around: Within {
    /// What a request is noted by, so that it is found out once: that of a layout holds for as long as the heap lives.
    type Note: Copy;

    /// Whether the hooks may run where nothing but cores may: see [`Heap::alloc_at_hand`].
    const AT_HAND: bool = true;

    /// Whether bytes of blocks are zero when they are handed out.
    const CLEARS: bool = false;

    /// Whether `leaves` is to see each block. Blocks are then moved by a new block, a copy and a free.
    const LOOKS: bool = false;

    /// Whether `leaves` may keep a block.
    const KEEPS: bool = false;

    /// Whether `found` may ever give something.
    const FINDS: bool = false;

    /// What the hooks have found wrong, and nobody has been told.
    #[inline(always)]
    fn found(&mut self) -> Option<Finding> {
        None
    }

    /// Before a request: an error if it is not to reach the heap.
    fn admit(&mut self, layout: Layout) -> Result<Self::Note, AllocError>;

    /// Before a request for many: how many of them may reach the heap.
    #[inline(always)]
    fn admit_batch(&mut self, layout: Layout, count: usize) -> usize {
        let _ = layout;
        count
    }

    /// Before a block is resized (in place, with `LOOKS`): an error if it is not to be, or what its old and its new layout are noted by.
    fn admit_resize(&mut self, old: Layout, new: Layout) -> Result<(Self::Note, Self::Note), AllocError>;

    /// Before a block is resized, with `KEEPS`: an error if it is one that `leaves` has kept, which is nobody's to resize.
    #[inline(always)]
    fn admit_block(&mut self, ptr: NonNull<u8>, layout: Layout) -> Result<(), AllocError> {
        let _ = (ptr, layout);
        Ok(())
    }

    /// The heap has refused a request for `layout`. True: there is room now, it is asked again.
    #[inline(always)]
    fn refused(&mut self, layout: Layout) -> bool {
        let _ = layout;
        false
    }

    /// The heap has met a request.
    #[inline(always)]
    fn granted(&mut self, layout: Layout, note: Self::Note, block: NonNull<[u8]>) -> NonNull<[u8]> {
        let _ = (layout, note);
        block
    }

    /// The heap has met a request for so many blocks at once.
    #[inline(always)]
    fn granted_batch(&mut self, layout: Layout, count: usize) {
        let _ = (layout, count);
    }

    /// The heap has resized a block.
    #[inline(always)]
    fn resized(
        &mut self,
        layouts: (Layout, Layout),
        notes: (Self::Note, Self::Note),
        block: NonNull<[u8]>,
        moved: bool,
    ) -> NonNull<[u8]> {
        let _ = (layouts, notes, moved);
        block
    }

    /// A block is about to go back to the heap. False: it is kept, and the heap does not get it now.
    ///
    /// # Safety
    /// As [`Heap::dealloc`].
    #[inline(always)]
    unsafe fn leaves(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        let _ = (ptr, layout);
        true
    }

    /// The heap has taken so many blocks back.
    #[inline(always)]
    fn freed(&mut self, layout: Layout, count: usize) {
        let _ = (layout, count);
    }

    /// Memory is to be given back: what is kept goes to the heap. Says how many bytes.
    #[inline(always)]
    fn let_go(&mut self) -> usize {
        0
    }
}

/// Zeroes the bytes of a block from `from` on.
///
/// # Safety
/// The block is live, and the caller's alone.
#[inline(always)]
unsafe fn clear(block: NonNull<[u8]>, from: usize) {
    let from = from.min(block.len());
    // SAFETY: `from` is at most the block's length.
    let rest = unsafe { block.cast::<u8>().add(from) };
    // SAFETY: the bytes from there to the block's length are the block's, and the caller's alone.
    unsafe { rest.write_bytes(0, block.len() - from) };
}

/// As [`Heap::alloc`], or [`Heap::alloc_zeroed`].
#[inline(always)]
pub(super) fn alloc<A: Around>(
    around: &mut A,
    layout: Layout,
    zeroed: bool,
) -> Result<NonNull<[u8]>, AllocError> {
    let note = around.admit(layout)?;
    loop {
        let heap = around.heap_mut();
        let found = if zeroed || A::CLEARS { heap.alloc_zeroed(layout) } else { heap.alloc(layout) };
        match found {
            Ok(block) => return Ok(around.granted(layout, note, block)),
            Err(error) if !around.refused(layout) => return Err(error),
            Err(_) => {}
        }
    }
}

/// As [`Heap::alloc_at_hand`].
#[inline(always)]
pub(super) fn alloc_at_hand<A: Around>(around: &mut A, layout: Layout) -> Option<NonNull<[u8]>> {
    if !A::AT_HAND {
        return None;
    }
    let note = around.admit(layout).ok()?;
    let block = around.heap_mut().alloc_at_hand(layout)?;
    if A::CLEARS {
        // SAFETY: the block is fresh (H1).
        unsafe { clear(block, 0) };
    }
    Some(around.granted(layout, note, block))
}

/// As [`Heap::alloc_batch`].
#[inline(always)]
pub(super) fn alloc_batch<A: Around>(
    around: &mut A,
    layout: Layout,
    out: &mut [MaybeUninit<NonNull<u8>>],
) -> usize {
    let count = around.admit_batch(layout, out.len()).min(out.len());
    let mut got = 0;
    while got < count {
        let rest = out.get_mut(got..count).unwrap_or_default();
        got += around.heap_mut().alloc_batch(layout, rest);
        if got < count && !around.refused(layout) {
            break;
        }
    }
    if A::CLEARS {
        for block in out.iter().take(got) {
            // SAFETY: the heap has filled so many from the front.
            let block = unsafe { block.assume_init() };
            // SAFETY: the block is fresh, and as long as its layout (H1).
            unsafe { clear(mem::slice(block, layout.size()), 0) };
        }
    }
    around.granted_batch(layout, got);
    got
}

/// Whether a block may come back, as far as the heap within checks: asked before a hook does something to it.
///
/// # Safety
/// As [`Heap::dealloc`].
#[inline(always)]
unsafe fn may_come_back<A: Around>(around: &mut A, ptr: NonNull<u8>, layout: Layout) -> bool {
    // SAFETY: the caller's promise is the same.
    !A::Heap::CHECKS || unsafe { around.heap_mut().judge(ptr, layout) }
}

/// As [`Heap::judge`].
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn judge<A: Around>(around: &mut A, ptr: NonNull<u8>, layout: Layout) -> bool {
    // SAFETY: the caller's promise is the same.
    (!A::KEEPS || around.admit_block(ptr, layout).is_ok()) && unsafe { may_come_back(around, ptr, layout) }
}

/// As [`Heap::dealloc`].
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn dealloc<A: Around>(around: &mut A, ptr: NonNull<u8>, layout: Layout) {
    // SAFETY: the caller's promise is the same.
    if !unsafe { may_come_back(around, ptr, layout) } {
        return;
    }
    // SAFETY: as above.
    if unsafe { around.leaves(ptr, layout) } {
        // SAFETY: the caller's promise is the same.
        unsafe { around.heap_mut().dealloc(ptr, layout) };
        around.freed(layout, 1);
    }
}

/// As [`Heap::dealloc_at_hand`].
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn dealloc_at_hand<A: Around>(around: &mut A, ptr: NonNull<u8>, layout: Layout) -> bool {
    // A block that is looked at would be looked at twice where it is not taken here.
    if !A::AT_HAND || A::LOOKS {
        return false;
    }
    // SAFETY: the caller's promise is the same.
    if !unsafe { may_come_back(around, ptr, layout) } {
        // All that is to be done with it.
        return true;
    }
    // SAFETY: as above.
    let taken = unsafe { around.heap_mut().dealloc_at_hand(ptr, layout) };
    if taken {
        around.freed(layout, 1);
    }
    taken
}

/// As [`Heap::dealloc_batch`].
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn dealloc_batch<A: Around>(around: &mut A, layout: Layout, blocks: &[NonNull<u8>]) {
    if A::KEEPS {
        for &block in blocks {
            // SAFETY: the caller's promise is the same.
            unsafe { dealloc(around, block, layout) };
        }
        return;
    }
    if A::Heap::CHECKS && blocks.len() != 1 {
        // One after the other: one of them may be there twice.
        for block in blocks.chunks(1) {
            // SAFETY: the caller's promise is the same.
            unsafe { dealloc_batch(around, layout, block) };
        }
        return;
    }
    for &block in blocks.iter().filter(|_| A::Heap::CHECKS) {
        // SAFETY: as above.
        if !unsafe { may_come_back(around, block, layout) } {
            return;
        }
    }
    if A::LOOKS {
        for &block in blocks {
            // SAFETY: the caller's promise is the same. It is not kept.
            unsafe { around.leaves(block, layout) };
        }
    }
    // SAFETY: the caller's promise is the same.
    unsafe { around.heap_mut().dealloc_batch(layout, blocks) };
    around.freed(layout, blocks.len());
}

/// As [`Owns::try_dealloc`].
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn try_dealloc<A>(around: &mut A, ptr: NonNull<u8>, layout: Layout) -> bool
where
    A: Around,
    A::Heap: Owns,
{
    if A::LOOKS {
        let owned = around.heap().owns(ptr, layout);
        if owned {
            // SAFETY: the caller's promise, and the block is the heap's.
            unsafe { dealloc(around, ptr, layout) };
        }
        return owned;
    }
    // SAFETY: the caller's promise, and the block is the heap's.
    if A::Heap::CHECKS && around.heap().owns(ptr, layout) && !unsafe { may_come_back(around, ptr, layout) } {
        return true;
    }
    // SAFETY: the caller's promise is the same.
    let owned = unsafe { around.heap_mut().try_dealloc(ptr, layout) };
    if owned {
        around.freed(layout, 1);
    }
    owned
}

/// What has to be done when the heap has resized a block that was at `ptr`.
#[inline(always)]
fn resized<A: Around>(
    around: &mut A,
    ptr: NonNull<u8>,
    layouts: (Layout, Layout),
    notes: (A::Note, A::Note),
    block: NonNull<[u8]>,
) -> NonNull<[u8]> {
    if A::CLEARS {
        // SAFETY: the block is live, and its bytes past the old size are nobody's yet.
        unsafe { clear(block, layouts.0.size()) };
    }
    around.resized(layouts, notes, block, block.cast() != ptr)
}

/// As [`Heap::resize_in_place`].
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn resize_in_place<A: Around>(
    around: &mut A,
    ptr: NonNull<u8>,
    old: Layout,
    new: Layout,
) -> Result<NonNull<[u8]>, AllocError> {
    // SAFETY: the caller's promise is the same.
    if (A::KEEPS || A::Heap::CHECKS) && !unsafe { judge(around, ptr, old) } {
        return Err(AllocError);
    }
    // SAFETY: as above.
    unsafe { resize_here(around, ptr, old, new) }
}

/// The same, for a block that is not kept.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn resize_here<A: Around>(
    around: &mut A,
    ptr: NonNull<u8>,
    old: Layout,
    new: Layout,
) -> Result<NonNull<[u8]>, AllocError> {
    let notes = around.admit_resize(old, new)?;
    // SAFETY: the caller's promise is the same.
    let block = unsafe { around.heap_mut().resize_in_place(ptr, old, new) }?;
    Ok(resized(around, ptr, (old, new), notes, block))
}

/// As [`Heap::resize`].
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn resize<A: Around>(
    around: &mut A,
    ptr: NonNull<u8>,
    old: Layout,
    new: Layout,
) -> Result<NonNull<[u8]>, AllocError> {
    // SAFETY: the caller's promise is the same.
    if (A::KEEPS || A::Heap::CHECKS) && !unsafe { judge(around, ptr, old) } {
        return Err(AllocError);
    }
    if A::LOOKS {
        // SAFETY: the caller's promise is the same.
        if let Ok(block) = unsafe { resize_here(around, ptr, old, new) } {
            return Ok(block);
        }
        let block = alloc(around, new, false)?;
        // SAFETY: both are live blocks of at least `min(old, new)` bytes and do not overlap (H1).
        unsafe { block.cast::<u8>().copy_from_nonoverlapping(ptr, old.size().min(new.size())) };
        // SAFETY: the caller's promise; the copy has been made.
        unsafe { dealloc(around, ptr, old) };
        return Ok(block);
    }
    let notes = around.admit_resize(old, new)?;
    loop {
        // SAFETY: the caller's promise is the same; after an error the block is as it was (H4).
        match unsafe { around.heap_mut().resize(ptr, old, new) } {
            Ok(block) => return Ok(resized(around, ptr, (old, new), notes, block)),
            Err(error) if !around.refused(new) => return Err(error),
            Err(_) => {}
        }
    }
}

/// Makes a heap of hooks: `Heap`, and `Owns`, `Reset` and `Inspect` where the heap within has them.
macro_rules! heap_around {
    ([$($generics:tt)*] $type:ty, $heap:ty) => {
        // SAFETY: the blocks are those of the heap within, each with the layout that it came with, and no longer than there (W1, W3): H1 to H5
        // are that heap's, and the hooks neither unwind nor call a shell (W2); a request that is not admitted has changed nothing. H6: the
        // heap within refuses. H7: as there.
        unsafe impl<$($generics)*> $crate::heap::Heap for $type {
            const AT_HAND: bool =
                <Self as $crate::combine::around::Around>::AT_HAND && <$heap as $crate::heap::Heap>::AT_HAND;

            #[inline(always)]
            fn alloc(
                &mut self,
                layout: core::alloc::Layout,
            ) -> Result<core::ptr::NonNull<[u8]>, $crate::AllocError> {
                $crate::combine::around::alloc(self, layout, false)
            }

            #[inline(always)]
            unsafe fn dealloc(&mut self, ptr: core::ptr::NonNull<u8>, layout: core::alloc::Layout) {
                // SAFETY: the caller's promise is the same.
                unsafe { $crate::combine::around::dealloc(self, ptr, layout) }
            }

            #[inline(always)]
            fn alloc_at_hand(&mut self, layout: core::alloc::Layout) -> Option<core::ptr::NonNull<[u8]>> {
                $crate::combine::around::alloc_at_hand(self, layout)
            }

            #[inline(always)]
            unsafe fn dealloc_at_hand(
                &mut self,
                ptr: core::ptr::NonNull<u8>,
                layout: core::alloc::Layout,
            ) -> bool {
                // SAFETY: the caller's promise is the same.
                unsafe { $crate::combine::around::dealloc_at_hand(self, ptr, layout) }
            }

            #[inline]
            fn alloc_zeroed(
                &mut self,
                layout: core::alloc::Layout,
            ) -> Result<core::ptr::NonNull<[u8]>, $crate::AllocError> {
                $crate::combine::around::alloc(self, layout, true)
            }

            #[inline]
            unsafe fn resize_in_place(
                &mut self,
                ptr: core::ptr::NonNull<u8>,
                old: core::alloc::Layout,
                new: core::alloc::Layout,
            ) -> Result<core::ptr::NonNull<[u8]>, $crate::AllocError> {
                // SAFETY: the caller's promise is the same.
                unsafe { $crate::combine::around::resize_in_place(self, ptr, old, new) }
            }

            #[inline]
            unsafe fn resize(
                &mut self,
                ptr: core::ptr::NonNull<u8>,
                old: core::alloc::Layout,
                new: core::alloc::Layout,
            ) -> Result<core::ptr::NonNull<[u8]>, $crate::AllocError> {
                // SAFETY: the caller's promise is the same.
                unsafe { $crate::combine::around::resize(self, ptr, old, new) }
            }

            #[inline(always)]
            fn good_size(&self, layout: core::alloc::Layout) -> usize {
                $crate::combine::around::Within::heap(self).good_size(layout)
            }

            #[inline]
            fn alloc_batch(
                &mut self,
                layout: core::alloc::Layout,
                out: &mut [core::mem::MaybeUninit<core::ptr::NonNull<u8>>],
            ) -> usize {
                $crate::combine::around::alloc_batch(self, layout, out)
            }

            #[inline]
            unsafe fn dealloc_batch(
                &mut self,
                layout: core::alloc::Layout,
                blocks: &[core::ptr::NonNull<u8>],
            ) {
                // SAFETY: the caller's promise is the same.
                unsafe { $crate::combine::around::dealloc_batch(self, layout, blocks) }
            }

            #[inline]
            fn release_unused(&mut self) -> usize {
                let kept = $crate::combine::around::Around::let_go(self);
                // What was kept may be part of what the heap gives back in turn.
                $crate::combine::around::Within::heap_mut(self).release_unused().max(kept)
            }

            const CHECKS: bool =
                <$heap as $crate::heap::Heap>::CHECKS || <Self as $crate::combine::around::Around>::FINDS;

            #[inline]
            fn looks_at(layout: core::alloc::Layout) -> bool {
                <$heap as $crate::heap::Heap>::looks_at(layout)
            }

            #[inline]
            unsafe fn judge(&mut self, ptr: core::ptr::NonNull<u8>, layout: core::alloc::Layout) -> bool {
                // SAFETY: the caller's promise is the same.
                unsafe { $crate::combine::around::judge(self, ptr, layout) }
            }

            #[inline(always)]
            fn take_finding(&mut self) -> Option<$crate::check::Finding> {
                $crate::combine::around::Around::found(self)
                    .or_else(|| $crate::combine::around::Within::heap_mut(self).take_finding())
            }
        }

        // SAFETY: the blocks are those of the heap within, which tells its own.
        unsafe impl<$($generics)*> $crate::heap::Owns for $type
        where
            $heap: $crate::heap::Owns,
        {
            #[inline]
            fn owns(&self, ptr: core::ptr::NonNull<u8>, layout: core::alloc::Layout) -> bool {
                $crate::combine::around::Within::heap(self).owns(ptr, layout)
            }

            #[inline]
            unsafe fn try_dealloc(
                &mut self,
                ptr: core::ptr::NonNull<u8>,
                layout: core::alloc::Layout,
            ) -> bool {
                // SAFETY: the caller's promise is the same.
                unsafe { $crate::combine::around::try_dealloc(self, ptr, layout) }
            }
        }

        $crate::combine::around::reset_and_inspect!([$($generics)*] $type, $heap);
    };
}

/// Writes `Reset` and `Inspect` for a heap made of another one that has them: its region is that one's.
macro_rules! reset_and_inspect {
    ([$($generics:tt)*] $type:ty, $heap:ty) => {
        impl<$($generics)*> $crate::heap::Reset for $type
        where
            $heap: $crate::heap::Reset,
        {
            unsafe fn reset(&mut self) {
                $crate::combine::around::Within::forget(self);
                // SAFETY: the caller's promise is the same, and no block is kept any more.
                unsafe { $crate::combine::around::Within::heap_mut(self).reset() }
            }
        }

        impl<$($generics)*> $crate::heap::Inspect for $type
        where
            $heap: $crate::heap::Inspect,
        {
            fn usage(&self) -> $crate::heap::Usage {
                $crate::combine::around::Within::heap(self).usage()
            }

            fn next_chunk(&mut self, cursor: &mut $crate::heap::Cursor) -> Option<$crate::heap::Chunk> {
                $crate::combine::around::Within::heap_mut(self).next_chunk(cursor)
            }

            fn verify(&mut self) -> Result<(), $crate::heap::Corruption> {
                $crate::combine::around::Within::inspect(self);
                $crate::combine::around::Within::heap_mut(self).verify()
            }

            fn misuses(&self) -> usize {
                let within = $crate::combine::around::Within::heap(self).misuses();
                within.saturating_add($crate::combine::around::Within::misuses(self))
            }
        }
    };
}

pub(super) use {heap_around, reset_and_inspect};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::combine::{FailNth, Nth};
    use crate::source::{Buffer, SourceHeap};

    /// Hooks that can make room so many times.
    struct MakesRoom<P> {
        heap: P,
        times: usize,
    }

    impl<P: Heap> Within for MakesRoom<P> {
        type Heap = P;

        fn heap(&self) -> &P {
            &self.heap
        }

        fn heap_mut(&mut self) -> &mut P {
            &mut self.heap
        }
    }

    // SAFETY: W1 to W3: the blocks are left as they are, and none is kept.
    unsafe impl<P: Heap> Around for MakesRoom<P> {
        type Note = ();

        fn admit(&mut self, _: Layout) -> Result<(), AllocError> {
            Ok(())
        }

        fn admit_resize(&mut self, _: Layout, _: Layout) -> Result<((), ()), AllocError> {
            Ok(((), ()))
        }

        fn refused(&mut self, _: Layout) -> bool {
            let room = self.times > 0;
            self.times = self.times.saturating_sub(1);
            room
        }
    }

    heap_around!([P: Heap] MakesRoom<P>, P);

    #[test]
    fn a_heap_that_has_got_room_is_asked_again() {
        let (old, new) = (Layout::new::<[u8; 16]>(), Layout::new::<[u8; 40]>());
        let mut memory = [MaybeUninit::uninit(); 256];
        let buffer = SourceHeap::new(Buffer::from_slice(&mut memory));
        let mut heap = MakesRoom { heap: FailNth::new(Nth { first: 1, last: 2 }, buffer), times: 2 };
        let block = heap.alloc(old).unwrap().cast::<u8>();
        // SAFETY: the block is so long.
        unsafe { block.write_bytes(7, 16) };
        // SAFETY: the block is live, and its layout this one.
        let block = unsafe { heap.resize(block, old, new) }.unwrap().cast::<[u8; 16]>();
        assert_eq!((heap.times, heap.heap.requests(), heap.heap.refusals()), (0, 4, 2));
        // There is no more to be had: an error, and the block is as it was.
        heap.heap.set_rule(Nth { first: 0, last: u64::MAX });
        // SAFETY: as above.
        assert!(unsafe { heap.resize(block.cast(), new, old) }.is_err());
        assert_eq!(heap.heap.requests(), 5, "asked once");
        // SAFETY: the block is longer, and these bytes were written.
        assert_eq!(unsafe { block.read() }, [7; 16]);
    }
}
