//! The plainest cache: slots that are blocks of a heap.

use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;

use crate::AllocError;
use crate::cache::{RawSlots, UntypedObjectAlloc};
use crate::describe::{Cost, Describe, Tree};
use crate::heap::SharedHeap;

/// Blocks of a heap, all of one layout, as a cache: nothing is kept, each slot is a call of the heap.
///
/// Choose it to put magazines in front of a heap that you have ([`Magazined<HeapSlots<H>>`](super::Magazined): then the heap's lock
/// is taken once for many objects and not for each), and to try code that is generic over caches. It costs what the heap does.
///
/// ```
/// use heapwright::cache::{HeapSlots, UntypedObjectAlloc};
/// use heapwright::{arena::StaticArena, lock::NoLock, sizing::Sizing4KiB};
/// use std::alloc::Layout;
///
/// let arena = StaticArena::<1024, Sizing4KiB, NoLock>::new();
/// let slots = HeapSlots::new(&arena, Layout::new::<[u64; 4]>());
/// let slot = slots.alloc_slot()?;
/// assert_eq!(arena.usage().objects, 1);
/// // SAFETY: it was handed out just now.
/// unsafe { slots.free_slot(slot) };
/// assert_eq!(arena.usage().objects, 0);
/// # Ok::<(), heapwright::AllocError>(())
/// ```
pub struct HeapSlots<'a, H: ?Sized> {
    heap: &'a H,
    layout: Layout,
}

impl<'a, H: SharedHeap + ?Sized> HeapSlots<'a, H> {
    /// Slots of `layout`, its size rounded up to its alignment.
    ///
    /// # Panics
    /// If `layout` has no size.
    #[must_use]
    pub const fn new(heap: &'a H, layout: Layout) -> Self {
        assert!(layout.size() > 0, "a slot has a size: this layout is zero bytes long");
        HeapSlots { heap, layout: layout.pad_to_align() }
    }
}

// SAFETY: U1: slots are blocks of the heap, asked for by this layout (S1), which stay valid while it is borrowed (S2), so longer than this
// value lives; it owns none of them. U2: the layout is set once. U3: nothing is said of contents. U4: nothing is kept, so nothing is
// lost. U5: exposed right after the heap has handed the block out.
unsafe impl<H: SharedHeap + ?Sized> UntypedObjectAlloc for HeapSlots<'_, H> {
    #[inline]
    fn slot_layout(&self) -> Layout {
        self.layout
    }

    #[inline]
    fn alloc_slot(&self) -> Result<NonNull<u8>, AllocError> {
        let slot = self.heap.try_alloc(self.layout)?.cast::<u8>();
        let _ = slot.as_ptr().expose_provenance();
        Ok(slot)
    }

    #[inline]
    unsafe fn free_slot(&self, slot: NonNull<u8>) {
        // SAFETY: the caller's promise: it is a block that `alloc_slot` got from this heap with this layout.
        unsafe { self.heap.free(slot, self.layout) };
    }
}

// SAFETY: a block of a heap is its user's bytes (H1), and `SharedHeap` does not unwind (S3).
unsafe impl<H: SharedHeap + ?Sized> RawSlots for HeapSlots<'_, H> {}

impl<H: ?Sized> Clone for HeapSlots<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H: ?Sized> Copy for HeapSlots<'_, H> {}

impl<H: ?Sized> fmt::Debug for HeapSlots<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeapSlots").field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl<H: Describe + ?Sized> Describe for HeapSlots<'_, H> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let what = format_args!("HeapSlots, a block for each slot");
        tree.part(what, Cost::state_of::<Self>(), &[("heap", H::describe)])
    }
}
