//! A global allocator as a heap.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

use heapwright::AllocError;
use heapwright::heap::Heap;

/// Whatever can be a global allocator.
#[derive(Debug)]
pub struct ByGlobal<'a, A>(pub &'a A);

fn block(ptr: *mut u8, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
    NonNull::new(ptr).map(|ptr| NonNull::slice_from_raw_parts(ptr, layout.size())).ok_or(AllocError)
}

// SAFETY: H1 to H5 are what a global allocator promises, H6 and H7 as one sees.
unsafe impl<A: GlobalAlloc> Heap for ByGlobal<'_, A> {
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Err(AllocError);
        }
        // SAFETY: the size is not zero.
        block(unsafe { self.0.alloc(layout) }, layout)
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.dealloc(ptr.as_ptr(), layout) };
    }

    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Err(AllocError);
        }
        // SAFETY: the size is not zero.
        block(unsafe { self.0.alloc_zeroed(layout) }, layout)
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if new.align() != old.align() {
            return Err(AllocError);
        }
        // SAFETY: the caller's promise; the new layout is a valid one.
        block(unsafe { self.0.realloc(ptr.as_ptr(), old, new.size()) }, new)
    }
}
