//! A heap made of a source.

use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;

use super::BackingSource;
use crate::AllocError;
use crate::describe::{Cost, Describe, Tree};
use crate::heap::Heap;
use crate::mem;

/// A heap core over a source: one block of the source for each request.
///
/// Choose it where requests are few and large, behind a core that takes the small ones; or to look at a source through the
/// allocator traits. Over `Pages` it is what C libraries do with their largest blocks: fresh zero pages, growth by moving
/// pages rather than bytes, and everything back to the OS at once. The cost is the source's; the state is none.
///
/// ```
/// # #[cfg(all(feature = "os", feature = "allocator-api2-04"))] {
/// use heapwright::heap::Locked;
/// use heapwright::lock::NoLock;
/// use heapwright::source::{Pages, SourceHeap};
///
/// let heap = Locked::<_, NoLock>::new(SourceHeap::new(Pages));
/// let mut big = allocator_api2_04::vec::Vec::with_capacity_in(1 << 20, &heap);
/// big.resize(3 << 20, 1u8); // grows in place or moves its pages; no byte is copied on Linux
/// assert_eq!(big[2 << 20], 1);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SourceHeap<B: BackingSource> {
    source: B,
}

impl<B: BackingSource> SourceHeap<B> {
    /// A heap of `source`'s blocks.
    #[must_use]
    pub const fn new(source: B) -> Self {
        SourceHeap { source }
    }

    /// The source.
    #[must_use]
    pub const fn source(&self) -> &B {
        &self.source
    }

    /// The source, out of its heap.
    #[must_use]
    pub fn into_inner(self) -> B {
        self.source
    }

    /// What the source is asked for when the heap is asked for `layout`. The same for every size up to the block's length (B6),
    /// so that the source gets its own layout back.
    #[inline]
    fn block(&self, layout: Layout) -> Result<Layout, AllocError> {
        let size = self.source.good_size(layout);
        // Most sources have no granule, and then there is nothing to be checked.
        if size == layout.size() {
            return Ok(layout);
        }
        Layout::from_size_align(size, layout.align()).map_err(|_| AllocError)
    }
}

// SAFETY: H1: a block is one of the source's (B1), and its length what the source was asked for: any size up to that has the same
// good size (B6), so the source gets the layout that it was asked for. H2: the source's blocks survive its moves (B1). H3: B3, and
// nothing here panics. H4: B4. H5: B5. H6: the source refuses size zero.
unsafe impl<B: BackingSource> Heap for SourceHeap<B> {
    #[inline]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let layout = self.block(layout)?;
        let block = self.source.acquire(layout)?;
        Ok(mem::slice(block.cast(), layout.size()))
    }

    #[inline]
    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // A block that is live has been asked for, so that there is such a layout.
        let layout = self.block(layout).unwrap_or(layout);
        // SAFETY: a live block of the source, and what it was asked for.
        unsafe { self.source.release(ptr, layout) };
    }

    #[inline]
    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let block = self.alloc(layout)?;
        if !B::ZEROED {
            // SAFETY: the block is fresh, ours, and `len` bytes long.
            unsafe { block.cast::<u8>().write_bytes(0, block.len()) };
        }
        Ok(block)
    }

    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // A source takes a block back with the alignment that it was asked for.
        if old.align() != new.align() {
            return Err(AllocError);
        }
        let (old_block, new_block) = (self.block(old)?, self.block(new)?);
        let resized = if old_block.size() <= new_block.size() {
            // Asked when nothing changes, too: the caller's pointer may be good for less than the block.
            // SAFETY: a live block of the source, and what it was asked for.
            unsafe { self.source.extend(ptr, old_block, new_block.size()) }
        } else {
            // SAFETY: as above; the caller does not need the bytes past the new size.
            unsafe { self.source.shrink(ptr, old_block, new_block.size()) }
        };
        match resized {
            Ok(block) => Ok(mem::slice(block.cast(), new_block.size())),
            // A source that resizes nothing has no say in this: as far as the old size, the caller's pointer is good.
            Err(_) if old_block == new_block && new.size() <= old.size() => Ok(mem::slice(ptr, new.size())),
            Err(error) => Err(error),
        }
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        if let Ok(block) = unsafe { self.resize_in_place(ptr, old, new) } {
            return Ok(block);
        }
        let (old_block, new_block) = (self.block(old)?, self.block(new)?);
        if old.align() == new.align() && old_block.size() < new_block.size() {
            // SAFETY: a live block of the source, and what it was asked for.
            if let Ok(moved) = unsafe { self.source.remap(ptr, old_block, new_block.size()) } {
                return Ok(mem::slice(moved.cast(), new_block.size()));
            }
        }
        let block = self.alloc(new)?;
        // SAFETY: both are live blocks of at least `min(old, new)` bytes and do not overlap (B1).
        unsafe { block.cast::<u8>().copy_from_nonoverlapping(ptr, old.size().min(new.size())) };
        // SAFETY: the caller's promise; the copy has been made.
        unsafe { self.dealloc(ptr, old) };
        Ok(block)
    }

    #[inline]
    fn good_size(&self, layout: Layout) -> usize {
        self.source.good_size(layout)
    }
}

impl<B: BackingSource + Describe> Describe for SourceHeap<B> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        tree.part(
            format_args!("SourceHeap, a block of the source for each request"),
            Cost::NONE,
            &[("source", B::describe)],
        )
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
    use crate::lock::NoLock;
    use crate::source::{Buffer, Counted, Counts, Limited, StaticBuffer};

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn resizes_in_place_or_moves() {
        let mut memory = [MaybeUninit::uninit(); 4096];
        let mut heap = SourceHeap::new(Counted::new(Buffer::from_slice(&mut memory)));
        let block = heap.alloc_zeroed(layout(100, 8)).unwrap().cast::<[u8; 100]>();
        assert_eq!(unsafe { block.read() }, [0; 100]);
        unsafe { block.write([3; 100]) };
        let ptr = block.cast();
        // The last block of a buffer grows and shrinks where it stands.
        let grown = unsafe { heap.resize_in_place(ptr, layout(100, 8), layout(1000, 8)) };
        assert_eq!(grown, Ok(mem::slice(ptr, 1000)));
        let shrunk = unsafe { heap.resize_in_place(ptr, layout(1000, 8), layout(200, 8)) };
        assert_eq!(shrunk, Ok(mem::slice(ptr, 200)));
        // The source gets blocks back with the alignment that it was asked for, so another one means another block.
        assert!(unsafe { heap.resize_in_place(ptr, layout(200, 8), layout(200, 1)) }.is_err());
        let moved =
            unsafe { heap.resize(ptr, layout(200, 8), layout(300, 256)) }.unwrap().cast::<[u8; 100]>();
        assert_eq!(moved.addr().get() % 256, 0);
        assert_eq!(unsafe { moved.read() }, [3; 100]);
        // No room: the block is as it was.
        assert!(unsafe { heap.resize(moved.cast(), layout(300, 256), layout(5000, 256)) }.is_err());
        assert_eq!(unsafe { moved.read() }, [3; 100]);
        unsafe { heap.dealloc(moved.cast(), layout(300, 256)) };
        let Counts { blocks, bytes, acquired, released, .. } = heap.into_inner().counts();
        assert_eq!((blocks, bytes, acquired, released), (0, 0, 2, 2));
    }

    /// What a `Vec` does that takes over a `Box`'s memory: its pointer is good for the old size only, and the new bytes are written.
    fn grows_from_a_pointer_for_the_old_size(source: impl BackingSource) {
        let mut heap = SourceHeap::new(source);
        let old = layout(4, 8);
        let mut start = heap.alloc_zeroed(old).unwrap().cast::<[u8; 4]>();
        let narrow = NonNull::from(unsafe { start.as_mut() });
        let block = unsafe { heap.resize(narrow.cast(), old, layout(64, 8)) }.unwrap();
        assert!(block.len() >= 64);
        unsafe { block.cast::<u8>().write_bytes(6, block.len()) };
        unsafe { heap.dealloc(block.cast(), layout(64, 8)) };
    }

    #[test]
    fn a_block_that_grows_is_good_for_all_of_it() {
        let ram = StaticBuffer::<128>::new();
        grows_from_a_pointer_for_the_old_size(&ram);
        let mut memory = [MaybeUninit::uninit(); 256];
        grows_from_a_pointer_for_the_old_size(Buffer::from_slice(&mut memory));
        grows_from_a_pointer_for_the_old_size(Limited::new(
            Counted::new(Buffer::from_slice(&mut memory)),
            256,
        ));
        let shared = Locked::<_, NoLock>::new(SourceHeap::new(Buffer::from_slice(&mut memory)));
        grows_from_a_pointer_for_the_old_size(&shared);
        #[cfg(feature = "alloc")]
        grows_from_a_pointer_for_the_old_size(crate::source::GlobalHeap);
        // The system calls of `Pages` are beyond Miri.
        #[cfg(all(feature = "os", not(miri)))]
        grows_from_a_pointer_for_the_old_size(crate::source::Pages);
    }

    /// A source that resizes nothing: a size that it need not be asked for is met where the block stands.
    #[cfg(feature = "alloc")]
    #[test]
    fn what_needs_no_source_is_done_in_place() {
        let mut heap = SourceHeap::new(crate::source::GlobalHeap);
        let old = layout(40, 8);
        let ptr = heap.alloc(old).unwrap().cast();
        assert_eq!(unsafe { heap.resize_in_place(ptr, old, old) }, Ok(mem::slice(ptr, 40)));
        assert!(
            unsafe { heap.resize_in_place(ptr, old, layout(39, 8)) }.is_err(),
            "another size is another layout"
        );
        assert!(unsafe { heap.resize_in_place(ptr, old, layout(41, 8)) }.is_err());
        unsafe { heap.dealloc(ptr, old) };
    }

    #[test]
    fn refuses_what_no_source_has() {
        let mut memory = [MaybeUninit::uninit(); 64];
        let mut heap = SourceHeap::new(Buffer::from_slice(&mut memory));
        assert!(heap.alloc(layout(0, 1)).is_err());
        assert!(heap.alloc(layout(isize::MAX as usize, 1)).is_err());
        assert!(heap.alloc_zeroed(layout(65, 1)).is_err());
        assert_eq!(heap.good_size(layout(5, 1)), 5);
        assert_eq!(heap.source().left(), 64);
    }

    /// Every size from the request to the length of the block may come back.
    #[cfg(feature = "os")]
    #[test]
    fn takes_every_fitting_size_back() {
        use crate::source::Pages;
        let page = Pages::page_size();
        let mut heap = SourceHeap::new(Counted::new(Pages));
        for (size, back) in [(1, 1), (1, page), (page - 1, page), (page, page), (page + 1, 2 * page)] {
            let block = heap.alloc_zeroed(layout(size, 64)).unwrap();
            assert_eq!(block.len(), size.next_multiple_of(page));
            assert_eq!(heap.good_size(layout(size, 64)), block.len());
            unsafe { heap.dealloc(block.cast(), layout(back, 64)) };
        }
        let counts = heap.source().counts();
        assert_eq!((counts.blocks, counts.bytes, counts.bytes_peak), (0, 0, 2 * page));
    }

    /// Growing over pages keeps the contents, in place or moved, and shrinking gives the tail back.
    #[cfg(feature = "os")]
    #[test]
    fn grows_and_shrinks_over_pages() {
        use crate::source::Pages;
        let page = Pages::page_size();
        let mut heap = SourceHeap::new(Counted::new(Pages));
        let mut ptr = heap.alloc(layout(page, 8)).unwrap().cast::<u8>();
        unsafe { ptr.write(7) };
        for pages in [1, 2, 50, 1000, 999, 3] {
            let (old, new) = (heap.source().counts().bytes, pages * page);
            ptr = unsafe { heap.resize(ptr, layout(old, 8), layout(new, 8)) }.unwrap().cast();
            assert_eq!(unsafe { ptr.read() }, 7);
            assert_eq!(heap.source().counts().bytes, new);
            let last = unsafe { ptr.add(new - 1) };
            unsafe { last.write(1) };
        }
        unsafe { heap.dealloc(ptr, layout(3 * page, 8)) };
        assert_eq!(heap.source().counts().blocks, 0);
    }
}
