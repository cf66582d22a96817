//! Sizes of blocks by their pointers.

use core::ptr::NonNull;

/// A heap that can tell the size of a live block from its pointer alone: what C's `free(ptr)` and `malloc_usable_size` need.
///
/// Not every heap can: an arena whose objects have no headers knows the size of a block only by the layout that comes back with it. Heaps of slabs can, as the
/// slab of an object is found by its address, and says the size of its objects; and so can a cache, whose objects have one size.
///
/// | heap | finds it in |
/// |---|---|
/// | `Malloc` and the presets made of it | the region's table of sizes: a load and some arithmetic; for blocks of more than 16 chunks, the record before them |
/// | [`ChunkHeap`](crate::cache::ChunkHeap) | the same |
/// | [`SlabCache`](crate::cache::SlabCache) | its layout. With a [`RED_ZONE`](crate::check::Checks::RED_ZONE) blocks are as long as was asked for, which no pointer tells: then to ask is a compile error |
///
/// ```
/// # #[cfg(feature = "os")] {
/// use core::alloc::Layout;
/// use heapwright::cache::{ChunkHeap, Chunks};
/// use heapwright::heap::UsableSize;
/// use heapwright::{lock::SpinLock, source::{BackingSource, Pages}};
///
/// static STOCK: ChunkHeap<Pages, SpinLock> = ChunkHeap::new(Pages);
/// let layout = Layout::new::<[u8; 3_000_000]>();
/// let block = Chunks(&STOCK).acquire(layout)?;
/// // SAFETY: the block is live, and its layout this one.
/// unsafe {
///     assert_eq!(STOCK.usable_size(block.cast()), block.len());
///     Chunks(&STOCK).release(block.cast(), layout);
/// }
/// # }
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// # Safety
/// An implementation keeps this:
/// - **V1** (a size that fits) the size is no less than was asked for, no more than the block has, and one that may come back as the
///   size of the block's layout, whatever its alignment was. Who has written beyond what was asked for brings this size back, and not that: a general
///   allocator with red zones takes those bytes for damage else.
pub unsafe trait UsableSize {
    /// Bytes of a live block, from its first on.
    ///
    /// # Safety
    /// `ptr` is a live block of this heap, not of size zero.
    unsafe fn usable_size(&self, ptr: NonNull<u8>) -> usize;
}
