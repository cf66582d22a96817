//! What is counted: a block comes and goes.

use std::alloc::Layout;
use std::hint::black_box;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::heap::SharedHeap;

/// How many pairs are counted.
pub(crate) const PAIRS: u32 = 1000;

/// The layout of all blocks.
pub(crate) const LAYOUT: Layout = Layout::new::<[u64; 6]>();

/// What a heap is to its users: the two calls of an `Allocator` that are counted.
pub(crate) trait Face {
    fn get(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError>;

    /// # Safety
    /// A live block of this heap, and its layout.
    unsafe fn give(&self, ptr: NonNull<u8>, layout: Layout);
}

/// A tower, as the crate makes an `Allocator` of it.
pub(crate) struct Ours<H>(pub(crate) H);

impl<H: SharedHeap> Face for Ours<H> {
    #[inline(always)]
    fn get(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.0.try_alloc(layout)
    }

    #[inline(always)]
    unsafe fn give(&self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.free(ptr, layout) }
    }
}

/// No heap: for the instructions of the loop.
pub(crate) struct Nothing;

impl Face for Nothing {
    #[inline(always)]
    fn get(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        Ok(NonNull::slice_from_raw_parts(NonNull::dangling(), layout.size()))
    }

    #[inline(always)]
    unsafe fn give(&self, _: NonNull<u8>, _: Layout) {}
}

/// A heap of which any type may be.
pub(crate) trait Work {
    /// A pair with a layout that is a constant.
    fn known(&self);

    /// A pair with a layout that comes from without.
    fn unknown(&self, layout: Layout);
}

impl<F: Face> Work for F {
    #[inline(never)]
    fn known(&self) {
        pair(self, LAYOUT);
    }

    #[inline(never)]
    fn unknown(&self, layout: Layout) {
        pair(self, layout);
    }
}

#[inline(always)]
fn pair(face: &impl Face, layout: Layout) {
    let Ok(block) = face.get(layout) else { refused() };
    // All of it is looked at: where it begins, and how long it is.
    let block = black_box(block);
    // SAFETY: the block is live, and this is its layout.
    unsafe { face.give(block.cast(), layout) };
}

#[cold]
#[inline(never)]
fn refused() -> ! {
    panic!("a heap that is measured must have room for one block")
}

/// Runs the pairs that are counted, after some that are not, so that lists are filled and the first chunks are there.
pub(crate) fn counted(work: &dyn Work, known: bool) {
    for _ in 0..10 {
        work.known();
        work.unknown(black_box(LAYOUT));
    }
    towers_counted(work, known);
}

/// Valgrind counts what happens in here, and knows it by its name.
#[inline(never)]
fn towers_counted(work: &dyn Work, known: bool) {
    if known {
        for _ in 0..PAIRS {
            work.known();
        }
    } else {
        let layout = black_box(LAYOUT);
        for _ in 0..PAIRS {
            work.unknown(layout);
        }
    }
}
