//! Sources by reference: a shared heap, or a borrowed source.

use core::alloc::Layout;
use core::ptr::NonNull;

use super::BackingSource;
use crate::AllocError;
use crate::heap::{Heap, SharedHeap};

/// A heap by reference is a source: its blocks are cut from that heap, and live as long as the borrow.
///
/// Only the reference is one, not the heap itself: a heap that owns its bytes moves them when it moves. An arena serves any
/// number of caches and arenas in this way, and when they are gone it is as it was. The cost is the heap's own, its lock included.
///
/// ```
/// # #[cfg(feature = "os")] {
/// use core::alloc::Layout;
/// use heapwright::heap::Locked;
/// use heapwright::lock::SpinLock;
/// use heapwright::source::{BackingSource, Limited, Pages, SourceHeap};
///
/// let heap = Locked::<_, SpinLock>::new(SourceHeap::new(Pages));
/// let mut share = Limited::new(&heap, 64 << 10); // 64 KiB of that heap, and no more
/// let layout = Layout::from_size_align(48 << 10, 4096)?;
/// let block = share.acquire(layout)?;
/// assert!(share.acquire(layout).is_err());
/// // SAFETY: the block is live, and its layout this one.
/// unsafe { share.release(block.cast(), layout) };
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Its alignment limit of 1 GiB is nominal: a heap over less memory than that runs out sooner.
// SAFETY: B1: H1, and the heap outlives the reference. B2: a heap takes any layout; nothing is promised of contents. B3, B4: S3, H3,
// H4. B5: only the heap behind the reference is called. B6: the default, for a granule of one. B7: copies of a reference.
unsafe impl<A: SharedHeap + ?Sized> BackingSource for &A {
    const GRANULE: usize = 1;
    const ALIGN_MAX: usize = 1 << 30;

    #[inline]
    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 || layout.align() > Self::ALIGN_MAX {
            return Err(AllocError);
        }
        self.try_alloc(layout)
    }

    #[inline]
    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.free(block, layout) };
    }

    unsafe fn extend(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same, and no live block is of size zero.
        unsafe { resize_in_place(*self, block, old, new_size) }
    }

    unsafe fn shrink(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if new_size == 0 {
            return Err(AllocError);
        }
        // SAFETY: the caller's promise is the same, and the new size is not zero.
        unsafe { resize_in_place(*self, block, old, new_size) }
    }
}

/// Changes the size of a heap's block where it stands.
///
/// # Safety
/// `block` is a live block of `heap`, `old` its layout, `new_size` not zero.
unsafe fn resize_in_place<A: SharedHeap + ?Sized>(
    heap: &A,
    block: NonNull<u8>,
    old: Layout,
    new_size: usize,
) -> Result<NonNull<[u8]>, AllocError> {
    let new = Layout::from_size_align(new_size, old.align()).map_err(|_| AllocError)?;
    // SAFETY: the caller's promise is the same.
    let work = |core: &mut A::Core<'_>| unsafe { core.resize_in_place(block, old, new) };
    // SAFETY: the closure only calls the core.
    unsafe { heap.enter(work) }?
}

/// A source borrowed for a while: what it hands out is the source's own.
///
/// ```
/// # #[cfg(feature = "os")] {
/// use core::alloc::Layout;
/// use heapwright::source::{BackingSource, Counted, Pages};
///
/// fn use_some(mut source: impl BackingSource) -> Option<()> {
///     let layout = Layout::new::<[u8; 4096]>();
///     let block = source.acquire(layout).ok()?;
///     // SAFETY: the block is live, and its layout this one.
///     unsafe { source.release(block.cast(), layout) };
///     Some(())
/// }
/// let mut counted = Counted::new(Pages);
/// assert!(use_some(&mut counted).is_some());
/// assert_eq!(counted.counts().acquired, 1);
/// # }
/// ```
// SAFETY: B1 to B6 are those of the source behind the reference, which outlives it. B7: it is not `Clone`.
unsafe impl<B: BackingSource> BackingSource for &mut B {
    const GRANULE: usize = B::GRANULE;
    const ALIGN_MAX: usize = B::ALIGN_MAX;
    const ZEROED: bool = B::ZEROED;
    const LAZY: bool = B::LAZY;

    #[inline]
    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        B::acquire(self, layout)
    }

    #[inline]
    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { B::release(self, block, layout) };
    }

    unsafe fn extend(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { B::extend(self, block, old, new_size) }
    }

    unsafe fn shrink(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { B::shrink(self, block, old, new_size) }
    }

    unsafe fn remap(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { B::remap(self, block, old, new_size) }
    }

    unsafe fn purge(&mut self, ptr: NonNull<u8>, len: usize) {
        // SAFETY: the caller's promise is the same.
        unsafe { B::purge(self, ptr, len) };
    }

    pages_of!(this of B: **this);

    fn good_size(&self, layout: Layout) -> usize {
        B::good_size(self, layout)
    }

    fn huge_page_size(&self) -> Option<usize> {
        B::huge_page_size(self)
    }
}

#[cfg(test)]
#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each call is on a live block with a layout of its own"
)]
mod tests {
    use core::mem::MaybeUninit;

    use super::*;
    use crate::heap::Locked;
    use crate::lock::{NoLock, SpinLock};
    use crate::mem;
    use crate::source::{Buffer, SourceHeap};

    #[test]
    fn a_heap_serves_as_parent_and_is_whole_afterwards() {
        let mut memory = [MaybeUninit::uninit(); 1000];
        let heap = Locked::<_, NoLock>::new(SourceHeap::new(Buffer::from_slice(&mut memory)));
        let layout = Layout::new::<[u8; 100]>();
        let (mut one, mut other) = (&heap, &heap);
        let first = one.acquire(layout).unwrap().cast();
        let last = other.acquire(layout).unwrap().cast();
        assert!(unsafe { one.extend(first, layout, 101) }.is_err());
        assert_eq!(unsafe { other.extend(last, layout, 900) }, Ok(mem::slice(last, 900)));
        assert!(unsafe { other.extend(last, Layout::new::<[u8; 900]>(), usize::MAX) }.is_err());
        let shrunk = unsafe { other.shrink(last, Layout::new::<[u8; 900]>(), 1) };
        assert_eq!(shrunk, Ok(mem::slice(last, 1)));
        unsafe { other.release(last, Layout::new::<u8>()) };
        unsafe { one.release(first, layout) };
        assert_eq!(heap.into_inner().source().left(), 1000);
    }

    /// Work that is done on a heap from within it is refused, and the heap is as it was.
    #[test]
    fn a_heap_that_serves_itself_is_told_so() {
        let mut memory = [MaybeUninit::uninit(); 1000];
        let heap = Locked::<_, NoLock>::new(SourceHeap::new(Buffer::from_slice(&mut memory)));
        let within = unsafe { heap.enter(|_| (&heap).acquire(Layout::new::<u8>())) };
        assert_eq!(within, Ok(Err(AllocError)));
        assert_eq!(heap.into_inner().source().left(), 1000);
    }

    type Shell<L> = Locked<SourceHeap<Buffer<'static>>, L>;
    static_assertions::assert_impl_all!(&'static Shell<SpinLock>: BackingSource, Send);
    // A heap that one thread uses is a source on that thread only.
    static_assertions::assert_not_impl_any!(&'static Shell<NoLock>: Send);
    // By value a heap is no source.
    static_assertions::assert_not_impl_any!(Shell<SpinLock>: BackingSource);
}
