//! Any `GlobalAlloc` as a source, and the program's own.

#[cfg(feature = "alloc")]
extern crate alloc as liballoc;

use core::alloc::{GlobalAlloc, Layout};
use core::fmt;
use core::ptr::NonNull;

use super::BackingSource;
#[cfg(feature = "alloc")]
use super::SourceHeap;
use crate::AllocError;
use crate::describe::{describe_leaf, name};
#[cfg(feature = "alloc")]
use crate::heap::SharedHeap;
use crate::mem;

/// The largest alignment that is asked of a `GlobalAlloc`; every system's own gives at least this.
const ALIGN_MAX: usize = 1 << 30;

/// Any `GlobalAlloc` by reference as a source of blocks: `&std::alloc::System`, or an allocator crate's.
///
/// Choose it to build a `#[global_allocator]` over the system's allocator, or over an allocator that has no `Allocator` impl. By
/// reference only, since a `GlobalAlloc` may keep its memory within itself. It is one word, and costs what that allocator
/// costs. For the global allocator itself see `GlobalHeap`.
///
/// Blocks may have any size, and any alignment up to 1 GiB; an allocator that gives less than that answers with an error.
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::source::{BackingSource, FromGlobalAlloc};
/// use std::alloc::System;
///
/// let mut source = FromGlobalAlloc::new(&System);
/// let layout = Layout::new::<[u64; 1000]>();
/// let block = source.acquire(layout)?;
/// // SAFETY: the block is live, and its layout this one.
/// unsafe { source.release(block.cast(), layout) };
/// # Ok::<(), heapwright::AllocError>(())
/// ```
pub struct FromGlobalAlloc<'a, G: ?Sized> {
    allocator: &'a G,
}

impl<'a, G: GlobalAlloc + ?Sized> FromGlobalAlloc<'a, G> {
    /// A source of `allocator`'s blocks.
    #[must_use]
    pub const fn new(allocator: &'a G) -> Self {
        FromGlobalAlloc { allocator }
    }

    /// The allocator.
    #[must_use]
    pub const fn allocator(&self) -> &'a G {
        self.allocator
    }
}

impl<G: ?Sized> Clone for FromGlobalAlloc<'_, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G: ?Sized> Copy for FromGlobalAlloc<'_, G> {}

impl<G: ?Sized> fmt::Debug for FromGlobalAlloc<'_, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FromGlobalAlloc").field(&core::any::type_name::<G>()).finish()
    }
}

// SAFETY: B1: `GlobalAlloc` promises blocks that fit their layout, and the borrow keeps the allocator where it is. B2: any layout
// may be asked of it; nothing is promised of contents. B3: a `GlobalAlloc` does not unwind. B4: null leaves nothing behind.
// B5: only the allocator is called. B6: the default, for a granule of one. B7: a copy of the reference.
unsafe impl<G: GlobalAlloc + ?Sized> BackingSource for FromGlobalAlloc<'_, G> {
    const GRANULE: usize = 1;
    const ALIGN_MAX: usize = ALIGN_MAX;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 || layout.align() > Self::ALIGN_MAX {
            return Err(AllocError);
        }
        // SAFETY: the size is not zero.
        let start = unsafe { self.allocator.alloc(layout) };
        NonNull::new(start).map(|start| mem::slice(start, layout.size())).ok_or(AllocError)
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise; a block is as long as was asked for, so this is the layout that it was asked with.
        unsafe { self.allocator.dealloc(block.as_ptr(), layout) };
    }
}

/// The program's global allocator as a source of blocks, in no bytes at all.
///
/// Choose it for caches and arenas in a program that has a global allocator already. Not for the one that *is* the global allocator: it
/// would call itself, which ends in an error or a deadlock, according to the lock.
///
/// Blocks may have any size, and any alignment up to 1 GiB.
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::source::{BackingSource, GlobalHeap};
///
/// let layout = Layout::new::<[u64; 1000]>();
/// let block = GlobalHeap.acquire(layout)?;
/// // SAFETY: the block is live, and its layout this one.
/// unsafe { GlobalHeap.release(block.cast(), layout) };
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// It is a [`SharedHeap`] too, for compositions that want another heap behind them: a
/// [`StackFirst`](crate::combine::StackFirst), say. The global allocator does its own locking, so there is no lock here, and blocks
/// grow by its own `realloc`.
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::{heap::SharedHeap, source::GlobalHeap};
///
/// let (short, long) = (Layout::new::<[u64; 10]>(), Layout::new::<[u64; 1000]>());
/// let block = GlobalHeap.try_alloc_zeroed(short)?;
/// // SAFETY: the block is live, and its layout first the short, then the long one.
/// unsafe {
///     let block = GlobalHeap.try_resize(block.cast(), short, long)?;
///     GlobalHeap.free(block.cast(), long);
/// }
/// # Ok::<(), heapwright::AllocError>(())
/// ```
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GlobalHeap;

// SAFETY: B1: the global allocator's blocks fit their layout and live until they are freed. B2: any layout may be asked of it; nothing
// is promised of contents. B3: it does not unwind. B4: null leaves nothing behind. B5: only the global allocator is called.
// B6: the default, for a granule of one. B7: there is no state.
#[cfg(feature = "alloc")]
unsafe impl BackingSource for GlobalHeap {
    const GRANULE: usize = 1;
    const ALIGN_MAX: usize = ALIGN_MAX;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 || layout.align() > Self::ALIGN_MAX {
            return Err(AllocError);
        }
        // SAFETY: the size is not zero.
        let start = unsafe { liballoc::alloc::alloc(layout) };
        NonNull::new(start).map(|start| mem::slice(start, layout.size())).ok_or(AllocError)
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise; a block is as long as was asked for, so this is the layout that it was asked with.
        unsafe { liballoc::alloc::dealloc(block.as_ptr(), layout) };
    }
}

// SAFETY: S1: the core has no state, so each call has one of its own; the global allocator keeps calls apart. S2: its blocks live until they
// are freed, wherever this value moves. S3: nothing here unwinds. S4: blocks have the layout that was asked for, as those of
// the core; the global allocator leaves a block as it was when it can't be resized.
#[cfg(feature = "alloc")]
unsafe impl SharedHeap for GlobalHeap {
    type Core<'a> = SourceHeap<GlobalHeap>;

    #[inline]
    unsafe fn enter<'s, R>(&'s self, work: impl FnOnce(&mut Self::Core<'s>) -> R) -> Result<R, AllocError> {
        Ok(work(&mut SourceHeap::new(GlobalHeap)))
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
        let start = unsafe { liballoc::alloc::alloc_zeroed(layout) };
        NonNull::new(start).map(|start| mem::slice(start, layout.size())).ok_or(AllocError)
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
            // SAFETY: the block is the global allocator's, `old` its layout, the new size is not zero, and `new` is a layout, so it does
            // not overflow when it is rounded up.
            let start = unsafe { liballoc::alloc::realloc(ptr.as_ptr(), old, new.size()) };
            return NonNull::new(start).map(|start| mem::slice(start, new.size())).ok_or(AllocError);
        }
        let block = self.try_alloc(new)?;
        // SAFETY: both are live blocks of at least that many bytes, and do not overlap (B1).
        unsafe { block.cast::<u8>().copy_from_nonoverlapping(ptr, old.size().min(new.size())) };
        // SAFETY: the caller's promise; the copy has been made.
        unsafe { self.free(ptr, old) };
        Ok(block)
    }
}

describe_leaf!([G: ?Sized] FromGlobalAlloc<'_, G>, "FromGlobalAlloc over {}", name::<G>());

#[cfg(feature = "alloc")]
describe_leaf!(GlobalHeap, "GlobalHeap, the program's own");
