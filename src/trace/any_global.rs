//! Any `GlobalAlloc` as a shared heap.

use core::alloc::{GlobalAlloc, Layout};
use core::fmt;
use core::ptr::NonNull;

use crate::AllocError;
use crate::describe::{describe_leaf, name};
use crate::heap::SharedHeap;
use crate::mem;
use crate::source::{FromGlobalAlloc, SourceHeap};

/// The largest alignment that is asked of a `GlobalAlloc`; every system's own gives at least this.
const ALIGN_MAX: usize = 1 << 30;

/// Any `GlobalAlloc` as the heap behind a [`Traced`](super::Traced): `std::alloc::System`, a [`malloc!`](crate::malloc), another crate's allocator.
///
/// Choose it to trace the program's allocator as it is. It adds no byte and no lock, since a `GlobalAlloc` does its own locking. Blocks grow
/// by the allocator's own `realloc`. They may have any alignment up to 1 GiB.
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::heap::SharedHeap;
/// use heapwright::trace::AnyGlobal;
/// use std::alloc::System;
///
/// let heap = AnyGlobal::new(System);
/// let (short, long) = (Layout::new::<[u64; 10]>(), Layout::new::<[u64; 1000]>());
/// let block = heap.try_alloc_zeroed(short)?;
/// // SAFETY: the block is live, and its layout first the short, then the long one.
/// unsafe {
///     let block = heap.try_resize(block.cast(), short, long)?;
///     heap.free(block.cast(), long);
/// }
/// # Ok::<(), heapwright::AllocError>(())
/// ```
#[derive(Clone, Copy, Default)]
pub struct AnyGlobal<G>(G);

impl<G: GlobalAlloc> AnyGlobal<G> {
    /// `allocator` as a shared heap.
    #[must_use]
    pub const fn new(allocator: G) -> Self {
        AnyGlobal(allocator)
    }

    /// The allocator.
    pub const fn allocator(&self) -> &G {
        &self.0
    }
}

impl<G> fmt::Debug for AnyGlobal<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyGlobal").field(&format_args!("{}", core::any::type_name::<G>())).finish()
    }
}

describe_leaf!([G] AnyGlobal<G>, "AnyGlobal, the allocator {}", name::<G>());

// SAFETY: S1: the core has no state, so each call has one of its own; a `GlobalAlloc` keeps calls apart. S2: borrowed, the allocator stays where
// it is; this is no `Allocator` by value. S3: a `GlobalAlloc` does not unwind. S4: blocks have the layout that was asked for, as those of the
// core; the allocator leaves a block as it was when it can't be resized.
unsafe impl<G: GlobalAlloc> SharedHeap for AnyGlobal<G> {
    type Core<'a>
        = SourceHeap<FromGlobalAlloc<'a, G>>
    where
        Self: 'a;

    #[inline]
    unsafe fn enter<'s, R>(&'s self, work: impl FnOnce(&mut Self::Core<'s>) -> R) -> Result<R, AllocError> {
        Ok(work(&mut SourceHeap::new(FromGlobalAlloc::new(&self.0))))
    }

    #[inline]
    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(mem::slice(mem::dangling(layout), 0));
        }
        if layout.align() > ALIGN_MAX {
            return Err(AllocError);
        }
        // SAFETY: the size is not zero.
        let start = unsafe { self.0.alloc(layout) };
        NonNull::new(start).map(|start| mem::slice(start, layout.size())).ok_or(AllocError)
    }

    #[inline]
    fn try_alloc_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(mem::slice(mem::dangling(layout), 0));
        }
        if layout.align() > ALIGN_MAX {
            return Err(AllocError);
        }
        // SAFETY: the size is not zero.
        let start = unsafe { self.0.alloc_zeroed(layout) };
        NonNull::new(start).map(|start| mem::slice(start, layout.size())).ok_or(AllocError)
    }

    #[inline]
    unsafe fn free(&self, ptr: NonNull<u8>, layout: Layout) {
        if layout.size() > 0 {
            // SAFETY: the caller's promise; a block is as long as was asked for, so this is the layout that it was asked with.
            unsafe { self.0.dealloc(ptr.as_ptr(), layout) };
        }
    }

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
        if old.align() == new.align() {
            // SAFETY: the block is the allocator's, `old` its layout, the new size is not zero, and `new` is a layout, so it does not
            // overflow when it is rounded up.
            let start = unsafe { self.0.realloc(ptr.as_ptr(), old, new.size()) };
            return NonNull::new(start).map(|start| mem::slice(start, new.size())).ok_or(AllocError);
        }
        let block = self.try_alloc(new)?;
        // SAFETY: both are live blocks of at least that many bytes, and do not overlap.
        unsafe { block.cast::<u8>().copy_from_nonoverlapping(ptr, old.size().min(new.size())) };
        // SAFETY: the caller's promise; the copy has been made.
        unsafe { self.free(ptr, old) };
        Ok(block)
    }
}
