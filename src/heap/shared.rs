//! The `&self` side of a heap: written once, used by every shell and handle.

use core::alloc::Layout;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::Heap;
use crate::AllocError;
use crate::mem;

/// A heap behind a lock, or a handle to one: what `Locked`, `StaticArena` and the handles have in common.
///
/// The methods have names of their own, so that they never collide with those of `Allocator` or `GlobalAlloc`.
/// Zero-size requests end here: they get a dangling, aligned pointer and never reach the core.
///
/// ```
/// use heapwright::{arena::Teaspoon, heap::SharedHeap, lock::NoLock, sizing::Sizing4KiB};
/// use std::{alloc::Layout, mem::MaybeUninit};
/// let mut memory = [MaybeUninit::uninit(); 1024];
/// let heap = Teaspoon::<Sizing4KiB, NoLock>::from_slice(&mut memory);
/// let (short, long) = (Layout::new::<[u32; 4]>(), Layout::new::<[u32; 8]>());
///
/// let block = heap.try_alloc_zeroed(short)?;
/// assert_eq!(block.len(), 16);
/// // SAFETY: the block is live and its layout `short`; of the result it is `long`.
/// unsafe {
///     let block = heap.try_resize_zeroed(block.cast(), short, long)?;
///     assert_eq!(block.cast::<[u32; 8]>().read(), [0; 8]);
///     heap.free(block.cast(), long);
/// }
/// assert_eq!(heap.try_alloc(Layout::new::<()>())?.len(), 0);
/// assert_eq!(heap.usage().objects, 0);
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// # Safety
/// An implementation keeps these:
/// - **S1** (exclusion) `enter` runs its closure on the one core of this heap, alone, or does not run it and gives an error.
/// - **S2** (place) blocks stay valid for as long as the heap is borrowed. If the type is an `Allocator` by value, they also
///   survive moves of the value.
/// - **S3** (no unwinding) `enter` does not unwind by itself.
/// - **S4** (the same blocks) a method that is written anew does what its default does, with blocks that keep H1, and after
///   an error nothing has changed (H4); it does not unwind.
pub unsafe trait SharedHeap {
    /// The core that does the work.
    type Core<'a>: Heap
    where
        Self: 'a;

    /// Runs `work` on the core, under the lock.
    ///
    /// # Errors
    /// When this thread is already inside (a re-entry).
    ///
    /// # Safety
    /// `work` neither moves the core out or into its place, nor unwinds, nor uses this heap in any other way than through its argument.
    unsafe fn enter<'s, R>(&'s self, work: impl FnOnce(&mut Self::Core<'s>) -> R) -> Result<R, AllocError>;

    /// A block for `layout`.
    ///
    /// # Errors
    /// When there is no room, or on re-entry.
    #[inline]
    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(mem::slice(mem::dangling(layout), 0));
        }
        // SAFETY: the closure only calls the core.
        unsafe { self.enter(|core| core.alloc(layout)) }?
    }

    /// A block for `layout`, all its bytes zero.
    ///
    /// # Errors
    /// As [`try_alloc`](SharedHeap::try_alloc).
    #[inline]
    fn try_alloc_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(mem::slice(mem::dangling(layout), 0));
        }
        // SAFETY: the closure only calls the core.
        unsafe { self.enter(|core| core.alloc_zeroed(layout)) }?
    }

    /// Takes a block back. On re-entry the block is leaked.
    ///
    /// # Safety
    /// `ptr` is a live block of this heap, and `layout` its own: the same alignment, a size from the requested to the returned one.
    #[inline]
    unsafe fn free(&self, ptr: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 {
            return;
        }
        let work = |core: &mut Self::Core<'_>| {
            // SAFETY: the caller's promise is the same.
            unsafe { core.dealloc(ptr, layout) }
        };
        // SAFETY: the closure only calls the core. An error means re-entry: the block is leaked, as documented.
        let _ = unsafe { self.enter(work) };
    }

    /// Changes size and alignment of a block, in place if possible; keeps the first `min(old, new)` bytes.
    ///
    /// # Errors
    /// When there is no room, or on re-entry; the block is as it was.
    ///
    /// # Safety
    /// `ptr` is a live block of this heap and `old` its layout. On success `ptr` is dead.
    #[inline]
    unsafe fn try_resize(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if old.size() == 0 {
            return self.try_alloc(new);
        }
        if new.size() == 0 {
            // SAFETY: the caller's promise is the same.
            unsafe { self.free(ptr, old) };
            return Ok(mem::slice(mem::dangling(new), 0));
        }
        let work = |core: &mut Self::Core<'_>| {
            // SAFETY: the caller's promise, and both sizes are above zero.
            unsafe { core.resize(ptr, old, new) }
        };
        // SAFETY: the closure only calls the core.
        unsafe { self.enter(work) }?
    }

    /// As [`try_resize`](SharedHeap::try_resize), and the bytes past the old size are zero.
    ///
    /// # Errors
    /// As [`try_resize`](SharedHeap::try_resize).
    ///
    /// # Safety
    /// As [`try_resize`](SharedHeap::try_resize).
    #[inline]
    unsafe fn try_resize_zeroed(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        let block = unsafe { self.try_resize(ptr, old, new) }?;
        // SAFETY: the block is the caller's alone, and good for its length.
        unsafe { mem::zero_behind(block, old.size()) };
        Ok(block)
    }

    /// Fills `out` from its front with blocks for `layout`, under one lock; says how many there are: fewer than asked for only when there is
    /// no room for more, none on re-entry.
    ///
    /// ```
    /// use core::{alloc::Layout, mem::MaybeUninit};
    /// use heapwright::{arena::Teaspoon4KiB, heap::SharedHeap};
    /// let mut memory = [MaybeUninit::uninit(); 1024];
    /// let heap = <Teaspoon4KiB<'_>>::from_slice(&mut memory);
    /// let mut blocks = [MaybeUninit::uninit(); 8];
    /// let layout = Layout::new::<u64>();
    /// assert_eq!(heap.try_alloc_batch(layout, &mut blocks), 8);
    /// // SAFETY: all were filled; they are live and have this layout.
    /// unsafe { heap.free_batch(layout, &blocks.map(|block| block.assume_init())) };
    /// assert_eq!(heap.usage().objects, 0);
    /// ```
    #[inline]
    fn try_alloc_batch(&self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        if layout.size() == 0 {
            out.fill(MaybeUninit::new(mem::dangling(layout)));
            return out.len();
        }
        // SAFETY: the closure only calls the core.
        unsafe { self.enter(|core| core.alloc_batch(layout, out)) }.unwrap_or(0)
    }

    /// Takes blocks of one layout back, under one lock; one by one where the core [checks](Heap::CHECKS). On re-entry they are leaked.
    ///
    /// # Safety
    /// Each is a live block of this heap, all are different (but those of size zero), and `layout` is the layout of each.
    #[inline]
    unsafe fn free_batch(&self, layout: Layout, blocks: &[NonNull<u8>]) {
        if layout.size() == 0 {
            return;
        }
        if <Self::Core<'_> as Heap>::CHECKS {
            // One by one, so that each that is wrong is told.
            for &block in blocks {
                // SAFETY: the caller's promise is the same.
                unsafe { self.free(block, layout) };
            }
            return;
        }
        // SAFETY: the caller's promise is the same.
        let work = |core: &mut Self::Core<'_>| unsafe { core.dealloc_batch(layout, blocks) };
        // SAFETY: the closure only calls the core. An error means re-entry: the blocks are leaked, as documented.
        let _ = unsafe { self.enter(work) };
    }

    /// Gives memory that no block needs back to where the heap has it from, as far as it can; says how many bytes. Zero on re-entry.
    #[inline]
    fn release_unused(&self) -> usize {
        // SAFETY: the closure only calls the core.
        unsafe { self.enter(|core| core.release_unused()) }.unwrap_or(0)
    }
}

/// Writes all methods of [`SharedHeap`] for a handle: every one goes to the same method of the heap behind it.
///
/// All of them, because a heap may do better than the default in any one.
macro_rules! forward_shared_heap {
    ($heap:ty, |$this:ident| $target:expr) => {
        #[inline]
        unsafe fn enter<'s, R>(
            &'s self,
            work: impl FnOnce(&mut Self::Core<'s>) -> R,
        ) -> Result<R, crate::AllocError> {
            let $this = self;
            // SAFETY: the caller's promise is the same.
            unsafe { <$heap as SharedHeap>::enter($target, work) }
        }

        #[inline]
        fn try_alloc(
            &self,
            layout: core::alloc::Layout,
        ) -> Result<core::ptr::NonNull<[u8]>, crate::AllocError> {
            let $this = self;
            <$heap as SharedHeap>::try_alloc($target, layout)
        }

        #[inline]
        fn try_alloc_zeroed(
            &self,
            layout: core::alloc::Layout,
        ) -> Result<core::ptr::NonNull<[u8]>, crate::AllocError> {
            let $this = self;
            <$heap as SharedHeap>::try_alloc_zeroed($target, layout)
        }

        #[inline]
        unsafe fn free(&self, ptr: core::ptr::NonNull<u8>, layout: core::alloc::Layout) {
            let $this = self;
            // SAFETY: the caller's promise is the same.
            unsafe { <$heap as SharedHeap>::free($target, ptr, layout) }
        }

        #[inline]
        unsafe fn try_resize(
            &self,
            ptr: core::ptr::NonNull<u8>,
            old: core::alloc::Layout,
            new: core::alloc::Layout,
        ) -> Result<core::ptr::NonNull<[u8]>, crate::AllocError> {
            let $this = self;
            // SAFETY: the caller's promise is the same.
            unsafe { <$heap as SharedHeap>::try_resize($target, ptr, old, new) }
        }

        #[inline]
        unsafe fn try_resize_zeroed(
            &self,
            ptr: core::ptr::NonNull<u8>,
            old: core::alloc::Layout,
            new: core::alloc::Layout,
        ) -> Result<core::ptr::NonNull<[u8]>, crate::AllocError> {
            let $this = self;
            // SAFETY: the caller's promise is the same.
            unsafe { <$heap as SharedHeap>::try_resize_zeroed($target, ptr, old, new) }
        }

        #[inline]
        fn try_alloc_batch(
            &self,
            layout: core::alloc::Layout,
            out: &mut [core::mem::MaybeUninit<core::ptr::NonNull<u8>>],
        ) -> usize {
            let $this = self;
            <$heap as SharedHeap>::try_alloc_batch($target, layout, out)
        }

        #[inline]
        unsafe fn free_batch(&self, layout: core::alloc::Layout, blocks: &[core::ptr::NonNull<u8>]) {
            let $this = self;
            // SAFETY: the caller's promise is the same.
            unsafe { <$heap as SharedHeap>::free_batch($target, layout, blocks) }
        }

        #[inline]
        fn release_unused(&self) -> usize {
            let $this = self;
            <$heap as SharedHeap>::release_unused($target)
        }
    };
}

pub(crate) use forward_shared_heap;

// SAFETY: S1 to S3 hold for the heap behind the reference, and a reference may move freely.
unsafe impl<A: SharedHeap + ?Sized> SharedHeap for &A {
    type Core<'a>
        = A::Core<'a>
    where
        Self: 'a;

    forward_shared_heap!(A, |this| *this);
}
