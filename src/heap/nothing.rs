//! A heap without memory.

use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;

use super::{Chunk, Corruption, Cursor, Heap, Inspect, Owns, Reset, Usage};
use crate::AllocError;
use crate::describe::{Cost, Describe, Tree};

/// A heap core that has no memory and refuses every request.
///
/// Choose it where a composition takes another heap and there is to be none: as the heap for requests that a
/// [`SlabHeap`](crate::cache::SlabHeap) has no size class for, say. It takes no room and no time.
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::heap::{Heap, Inspect, NoHeap};
/// assert!(NoHeap.alloc(Layout::new::<u8>()).is_err());
/// assert_eq!((NoHeap.usage().total, size_of::<NoHeap>()), (0, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoHeap;

// SAFETY: H1, H2: no block is ever handed out. H3 to H5: nothing is called, changed or unwound. H6: all requests get an error.
unsafe impl Heap for NoHeap {
    #[inline]
    fn alloc(&mut self, _: Layout) -> Result<NonNull<[u8]>, AllocError> {
        Err(AllocError)
    }

    #[inline]
    unsafe fn dealloc(&mut self, _: NonNull<u8>, _: Layout) {}
}

// SAFETY: there is no live block of this heap.
unsafe impl Owns for NoHeap {
    #[inline]
    fn owns(&self, _: NonNull<u8>, _: Layout) -> bool {
        false
    }
}

impl Describe for NoHeap {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        tree.part(format_args!("NoHeap, refuses every request"), Cost::NONE, &[])
    }
}

impl Reset for NoHeap {
    unsafe fn reset(&mut self) {}
}

impl Inspect for NoHeap {
    fn usage(&self) -> Usage {
        Usage::default()
    }

    fn next_chunk(&mut self, _: &mut Cursor) -> Option<Chunk> {
        None
    }

    fn verify(&mut self) -> Result<(), Corruption> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::{Locked, SharedHeap};
    use crate::lock::NoLock;

    static_assertions::const_assert_eq!(size_of::<NoHeap>(), 0);

    #[test]
    fn refuses_everything_but_size_zero() {
        let heap = Locked::<_, NoLock>::new(NoHeap);
        assert!(heap.try_alloc(Layout::new::<u8>()).is_err());
        assert!(heap.try_alloc_zeroed(Layout::new::<[u64; 100]>()).is_err());
        assert_eq!(heap.try_alloc(Layout::new::<()>()).map(|block| block.len()), Ok(0));
        assert!(!heap.owns(NonNull::dangling(), Layout::new::<u8>()));
        assert_eq!((heap.chunks().next(), heap.verify(), heap.usage()), (None, Ok(()), Usage::default()));
    }
}
