//! Over a heap that gives more than its good size says, and looks at what comes back.

use std::alloc::{self, Layout};
use std::collections::HashMap;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::combine::{Counted, OnBoth, OnFree, Quota, Totals, ZeroWhen, Zeroing};
use heapwright::heap::Heap;

use super::layout;

/// Bytes that each block has beyond its request.
const MORE: usize = 32;

/// Blocks are zero when they are handed out, and longer than was asked for. Counts the bytes that come back and are not zero.
#[derive(Default)]
struct Loose {
    blocks: HashMap<usize, Layout>,
    dirty: usize,
}

impl Loose {
    /// Looks at the bytes of a block from `from` to its end.
    fn look(&mut self, ptr: NonNull<u8>, from: usize) {
        let real = self.blocks[&ptr.addr().get()];
        let whole = std::ptr::with_exposed_provenance::<u8>(ptr.addr().get());
        // SAFETY: the block is live and that long; all of it was initialised, and its provenance exposed, when it was made.
        let bytes = unsafe { std::slice::from_raw_parts(whole, real.size()) };
        self.dirty += bytes[from..].iter().filter(|byte| **byte != 0).count();
    }
}

// SAFETY: H1: blocks are the system's, and are freed there with the layout that they were asked for with. H2 to H5: as one sees. H6: refused.
// H7: the default.
unsafe impl Heap for Loose {
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let size = layout.size().checked_add(MORE).filter(|_| layout.size() > 0).ok_or(AllocError)?;
        let real = Layout::from_size_align(size, layout.align()).map_err(|_| AllocError)?;
        // SAFETY: the size is not zero.
        let block = NonNull::new(unsafe { alloc::alloc_zeroed(real) }).ok_or(AllocError)?;
        self.blocks.insert(block.as_ptr().expose_provenance(), real);
        Ok(NonNull::slice_from_raw_parts(block, size))
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        self.look(ptr, 0);
        let real = self.blocks.remove(&ptr.addr().get()).unwrap();
        assert!((real.size() - MORE..=real.size()).contains(&layout.size()), "a size that it can't have");
        // SAFETY: the block is the system's, and this its layout.
        unsafe { alloc::dealloc(ptr.as_ptr(), real) }
    }

    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let real = self.blocks[&ptr.addr().get()];
        let len = real.size();
        if old.align() != new.align() || !(len - MORE..=len).contains(&new.size()) {
            return Err(AllocError);
        }
        // What is past the new size is the heap's again.
        self.look(ptr, new.size().min(old.size()));
        let whole = std::ptr::with_exposed_provenance_mut(ptr.addr().get());
        Ok(NonNull::slice_from_raw_parts(NonNull::new(whole).unwrap(), len))
    }
}

/// A block may come back with each of its sizes, and costs the same with all of them.
fn is_cut_to_its_cost<H: Heap>(make: impl Fn(Loose) -> H, charged: impl Fn(&H) -> usize) {
    for back in 0..=MORE {
        let mut heap = make(Loose::default());
        let (short, long) = (layout(40, 8), layout(44, 8));
        let block = heap.alloc(short).unwrap();
        assert_eq!((block.len(), charged(&heap)), (40, 40));
        // SAFETY: the block is live, and its layout `short`.
        let block = unsafe { heap.resize_in_place(block.cast(), short, long) }.unwrap();
        assert_eq!((block.len(), charged(&heap)), (44, 44));
        let size = (44 + back).min(block.len());
        // SAFETY: the block is live, and this one of its layouts.
        unsafe { heap.dealloc(block.cast(), layout(size, 8)) };
        assert_eq!(charged(&heap), 0);
    }
}

#[test]
fn blocks_are_cut_to_what_they_are_charged_for() {
    is_cut_to_its_cost(|heap| Quota::new(heap, 100), |heap| heap.used());
    is_cut_to_its_cost(|heap| Counted::new(Totals::new(), heap), |heap| heap.counters().bytes);
}

/// Nothing that was written comes back, whatever the block went through.
fn all_is_wiped<W: ZeroWhen>() {
    let write = |block: NonNull<[u8]>| {
        // SAFETY: the block is that long, and ours.
        unsafe { block.cast::<u8>().write_bytes(7, block.len()) };
        block.cast::<u8>()
    };
    let mut heap = Zeroing::<W, _>::new(Loose::default());
    let (short, middle, long, huge) = (layout(40, 8), layout(50, 8), layout(60, 8), layout(200, 8));
    let block = write(heap.alloc(short).unwrap());
    // SAFETY: the block is live, its layout is first `short`, and then what it was resized to.
    let grown = unsafe { heap.resize_in_place(block, short, long) }.unwrap();
    assert_eq!(grown.cast(), block, "grows where it stands");
    write(grown);
    // SAFETY: as above.
    let shrunk = write(unsafe { heap.resize(block, long, middle) }.unwrap());
    // SAFETY: as above.
    let moved = write(unsafe { heap.resize(shrunk, middle, huge) }.unwrap());
    // SAFETY: as above.
    unsafe { heap.dealloc(moved, huge) };
    let blocks = [(); 3].map(|()| write(heap.alloc(short).unwrap()));
    // SAFETY: the blocks are live, different, and of this layout.
    unsafe { heap.dealloc_batch(short, &blocks) };
    assert!(heap.heap().blocks.is_empty());
    assert_eq!(heap.heap().dirty, 0);
}

#[test]
fn what_is_freed_is_zero() {
    all_is_wiped::<OnFree>();
    all_is_wiped::<OnBoth>();
}
