//! Some bytes of one's own first, then another heap.

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use crate::AllocError;
use crate::alloc::{impl_allocators, impl_global_alloc};
use crate::heap::{Heap, SharedHeap};
use crate::lock::{Lock, NoLock};
use crate::mem;

/// `N` bytes in the value itself, and the heap `A` for what they have no room for.
///
/// Choose it for data that lives as long as a function and is mostly small: a vector of arguments, a path, a message. While it fits the buffer no heap is
/// touched, and nothing fails; what is larger spills into `A` by itself. The buffer is a bump allocator: blocks lie one behind the other, the last one can be
/// freed, and grows and shrinks where it stands; when none is left the buffer is as new. That suits one vector that grows, and temporaries that go in the reverse
/// order in which they came; holes between are not used again before all is gone. (For a small heap that uses them, take an
/// [`Arena`](crate::arena::Arena): it needs tables, and more time.)
///
/// ```text
///   buffer, N bytes                                 the heap A
///  ┌─────────┬──────┬──────────────┬────────┐      ┌──────────────────┐
///  │ block 1 │ gone │ block 3, last│ free   │      │ block 4, larger  │ …
///  └─────────┴──────┴──────────────┴────────┘      └──────────────────┘
///                                  top
/// ```
/// The value owns the bytes, so that only a reference to it is an `Allocator`, and it can't be moved while a block is live. Under [`NoLock`], the default, it is for
/// one thread; another lock makes it one for all.
///
/// # Cost
/// `N` bytes and two words beside heap and lock; an allocation in the buffer is an addition and a comparison, a free two comparisons. Every call on a block of `A` is one on
/// `A`, with a comparison before.
///
/// ```
/// # #[cfg(all(feature = "alloc", feature = "allocator-api2-04"))] {
/// use allocator_api2_04::vec::Vec;
/// use heapwright::combine::StackFirst;
/// use heapwright::heap::Locked;
/// use heapwright::lock::NoLock;
/// use heapwright::source::{GlobalHeap, SourceHeap};
///
/// let scratch = StackFirst::<256, _>::new(Locked::<_, NoLock>::new(SourceHeap::new(GlobalHeap)));
/// let mut numbers = Vec::new_in(&scratch);
/// numbers.extend(0..40u32);
/// assert_eq!((scratch.used(), scratch.owns(numbers.as_ptr().cast())), (numbers.capacity() * 4, true));
/// numbers.extend(40..1000);
/// assert_eq!((scratch.used(), numbers[999]), (0, 999), "moved into the heap");
/// # }
/// ```
///
/// It can't be moved while something lives in it, nor be an allocator by value:
/// ```compile_fail,E0505
/// # use heapwright::{combine::StackFirst, heap::{Locked, NoHeap}, lock::NoLock};
/// let scratch = StackFirst::<64, _>::new(Locked::<_, NoLock>::new(NoHeap));
/// let boxed = allocator_api2_04::boxed::Box::new_in(1, &scratch);
/// let elsewhere = scratch; // error: borrowed by `boxed`
/// drop(boxed);
/// ```
/// ```compile_fail,E0277
/// # use heapwright::{combine::StackFirst, heap::{Locked, NoHeap}, lock::NoLock};
/// let scratch = StackFirst::<64, _>::new(Locked::<_, NoLock>::new(NoHeap));
/// let boxed = allocator_api2_04::boxed::Box::new_in(1, scratch); // error: take `&scratch`
/// ```
#[repr(C, align(16))]
pub struct StackFirst<const N: usize, A, L = NoLock> {
    /// Reached by raw pointer only: a reference would take the blocks from their owners.
    buffer: UnsafeCell<[MaybeUninit<u8>; N]>,
    /// Touched only under `lock`.
    state: UnsafeCell<State>,
    lock: L,
    next: A,
}

/// How much of the buffer is in use.
#[derive(Clone, Copy, Debug)]
struct State {
    /// Bytes from the buffer's start to the end of its last block, or further; 0 when there is no block. At most `N`.
    top: usize,
    /// Blocks in the buffer.
    live: usize,
}

// SAFETY: the state is touched under the lock only (L1, L2), the buffer by the blocks' owners, and the next heap may be shared.
unsafe impl<const N: usize, A: Sync, L: Sync> Sync for StackFirst<N, A, L> {}

impl<const N: usize, A, L: Lock> StackFirst<N, A, L> {
    /// An empty buffer before the heap `next`.
    #[must_use]
    pub const fn new(next: A) -> Self {
        StackFirst {
            buffer: UnsafeCell::new([MaybeUninit::new(0); N]),
            state: UnsafeCell::new(State { top: 0, live: 0 }),
            lock: L::INIT,
            next,
        }
    }

    /// The heap behind the buffer.
    #[must_use]
    pub const fn next(&self) -> &A {
        &self.next
    }

    /// The heap behind the buffer, which is given up: nothing lives in it.
    #[must_use]
    pub fn into_next(self) -> A {
        self.next
    }

    /// Bytes of the buffer that are in use, holes included. 0 on re-entry.
    #[must_use]
    pub fn used(&self) -> usize {
        // SAFETY: the lock gives exclusion (L1).
        self.lock.with(|| unsafe { (*self.state.get()).top }).unwrap_or(0)
    }

    /// Whether an address lies in the buffer.
    #[must_use]
    pub fn owns(&self, ptr: *const u8) -> bool {
        ptr.addr().wrapping_sub(self.buffer.get().addr()) < N
    }
}

/// A [`StackFirst`] at work: its core, for the time of one call.
pub struct StackFirstCore<'a, A> {
    /// The buffer's first byte, good for all of it.
    base: NonNull<u8>,
    len: usize,
    state: &'a mut State,
    next: &'a A,
}

impl<A> StackFirstCore<'_, A> {
    /// Where in the buffer an address lies, if it does.
    #[inline]
    fn offset(&self, ptr: NonNull<u8>) -> Option<usize> {
        let offset = ptr.addr().get().wrapping_sub(self.base.addr().get());
        (offset < self.len).then_some(offset)
    }

    /// A block at an offset that is at most `len`.
    #[inline]
    fn block(&self, offset: usize, size: usize) -> NonNull<[u8]> {
        // SAFETY: the offset is in the buffer.
        mem::slice(unsafe { self.base.add(offset) }, size)
    }

    /// Room for a layout behind the last block.
    #[inline]
    fn bump(&mut self, layout: Layout) -> Option<NonNull<[u8]>> {
        if layout.size() == 0 {
            return None;
        }
        let free = self.base.addr().get() + self.state.top;
        let gap = free.wrapping_neg() & (layout.align() - 1);
        let start = self.state.top.checked_add(gap)?;
        let end = start.checked_add(layout.size()).filter(|&end| end <= self.len)?;
        *self.state = State { top: end, live: self.state.live + 1 };
        Some(self.block(start, layout.size()))
    }
}

// SAFETY: H1: a block lies in the buffer, between the former top and the new one, or is the next heap's (H1 there); which of the two its address tells. Those of
// the buffer are made from its base. H2: the core refers to the buffer. H3: nothing here unwinds, and the next heap does not (S3). H4: nothing is
// changed before an error. H5: the next heap knows nothing of this one. H6: `bump` refuses a size of zero, and so does the shell.
unsafe impl<A: SharedHeap> Heap for StackFirstCore<'_, A> {
    #[inline]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        match self.bump(layout) {
            Some(block) => Ok(block),
            None if layout.size() == 0 => Err(AllocError),
            None => self.next.try_alloc(layout),
        }
    }

    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        match self.bump(layout) {
            Some(block) => {
                // SAFETY: the block is fresh, and so long.
                unsafe { block.cast::<u8>().write_bytes(0, block.len()) };
                Ok(block)
            }
            None if layout.size() == 0 => Err(AllocError),
            None => self.next.try_alloc_zeroed(layout),
        }
    }

    #[inline]
    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        let Some(start) = self.offset(ptr) else {
            // SAFETY: the caller's promise; no block of the buffer lies outside it.
            return unsafe { self.next.free(ptr, layout) };
        };
        self.state.live -= 1;
        if self.state.live == 0 {
            self.state.top = 0;
        } else if start + layout.size() == self.state.top {
            self.state.top = start;
        }
    }

    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let Some(start) = self.offset(ptr) else {
            // SAFETY: the caller's promise is the same, for a core of the next heap.
            let work = |core: &mut A::Core<'_>| unsafe { core.resize_in_place(ptr, old, new) };
            // SAFETY: the closure only calls the core.
            return unsafe { self.next.enter(work) }?;
        };
        if ptr.addr().get() & (new.align() - 1) != 0 || new.size() == 0 {
            return Err(AllocError);
        }
        let is_last = start + old.size() == self.state.top;
        let end = start.checked_add(new.size()).filter(|&end| end <= self.len).ok_or(AllocError)?;
        if is_last {
            self.state.top = end;
        } else if new.size() > old.size() {
            return Err(AllocError);
        }
        Ok(self.block(start, new.size()))
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if self.offset(ptr).is_none() {
            // SAFETY: the caller's promise; the block is the next heap's, which knows best how to resize it.
            return unsafe { self.next.try_resize(ptr, old, new) };
        }
        // SAFETY: the caller's promise is the same.
        if let Ok(block) = unsafe { self.resize_in_place(ptr, old, new) } {
            return Ok(block);
        }
        let block = self.alloc(new)?;
        // SAFETY: both are live blocks of at least so many bytes, and do not overlap (H1).
        unsafe { block.cast::<u8>().copy_from_nonoverlapping(ptr, old.size().min(new.size())) };
        // SAFETY: the caller's promise; the copy has been made.
        unsafe { self.dealloc(ptr, old) };
        Ok(block)
    }
}

// SAFETY: S1: `enter` runs the closure under the lock (L1), and gives an error if it doesn't run. S2: borrowed it can't move, and it is an `Allocator` by
// reference only. S3: locks do not unwind (L3).
unsafe impl<const N: usize, A: SharedHeap, L: Lock> SharedHeap for StackFirst<N, A, L> {
    type Core<'a>
        = StackFirstCore<'a, A>
    where
        Self: 'a;

    #[inline]
    unsafe fn enter<'s, R>(&'s self, work: impl FnOnce(&mut Self::Core<'s>) -> R) -> Result<R, AllocError> {
        let locked = self.lock.with(|| {
            let mut core = StackFirstCore {
                // SAFETY: a field's address is not null.
                base: unsafe { NonNull::new_unchecked(self.buffer.get().cast()) },
                len: N,
                // SAFETY: the lock gives exclusion (L1).
                state: unsafe { &mut *self.state.get() },
                next: &self.next,
            };
            work(&mut core)
        });
        locked.ok_or(AllocError)
    }
}

impl_allocators!([const N: usize, A: SharedHeap, L: Lock] &StackFirst<N, A, L>);
impl_global_alloc!([const N: usize, A: SharedHeap, L: Lock] StackFirst<N, A, L>);

impl<const N: usize, A: Default, L: Lock> Default for StackFirst<N, A, L> {
    fn default() -> Self {
        StackFirst::new(A::default())
    }
}

impl<const N: usize, A: fmt::Debug, L: fmt::Debug> fmt::Debug for StackFirst<N, A, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackFirst")
            .field("bytes", &N)
            .field("lock", &self.lock)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl<A> fmt::Debug for StackFirstCore<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackFirstCore")
            .field("bytes", &self.len)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
