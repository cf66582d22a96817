//! A heap that tells what it does.

use core::alloc::Layout;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::telling::tell;
use super::{Block, Sink};
use crate::AllocError;
use crate::alloc::{impl_allocators, impl_global_alloc};
use crate::describe::{Cost, Describe, Tree};
use crate::heap::{SharedHeap, UsableSize};
use crate::mem;

/// The heap `A`, and the sink `T` that is told what it does, outside of the heap's lock.
///
/// Choose it to see where memory goes: with a [`HeapProfile`](super::HeapProfile) for call sites and pictures, with
/// [`LastEvents`](super::LastEvents) for what happened just before a crash, or with a [`Sink`] of your own. It is a shell around a shell, so
/// that the sink may take its time and use locks of its own: `A` is `Locked<..>`, `StaticArena<..>`, [`Of<I>`](crate::heap::Of),
/// [`AnyGlobal<G>`](super::AnyGlobal) for any `GlobalAlloc`, or a reference to one.
///
/// ```text
///  Traced<T, A>
///  ├── T: what is told          before a free, after an allocation, before and after a resize
///  └── A: any `SharedHeap`      does the work
/// ```
///
/// It is a `GlobalAlloc`, and by reference an `Allocator`: `&Traced<..>`, or the handle of [`instance!`](crate::instance).
///
/// ```
/// use heapwright::trace::{AnyGlobal, LastEvents, Traced};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static HEAP: Traced<LastEvents<16>, AnyGlobal<System>> =
///     Traced::new(LastEvents::new(), AnyGlobal::new(System));
///
/// let text = String::from("a text of 26 bytes or less");
/// let address = text.as_ptr().addr();
/// let mut last = [None; 16];
/// let last = HEAP.sink().copy_to(&mut last);
/// assert!(last.iter().flatten().any(|event| event.event.address() == Some(address)));
/// ```
///
/// # What is told
/// Everything that comes by the methods of [`SharedHeap`], and so by the allocator traits. Of a batch, each block; of a resize from or to size
/// zero, an allocation or a free. What is done on the core itself, in [`enter`](SharedHeap::enter), is not told, since that is under the lock.
/// Requests of size zero are none.
///
/// # Cost
/// With `()` for a sink nothing, in bytes and in instructions. With any other, the sink's own cost, and with `std` a look at a thread-local
/// variable per call; without `std` no more than the call.
#[derive(Default)]
pub struct Traced<T: Sink, A> {
    sink: T,
    heap: A,
}

impl<T: Sink, A> Traced<T, A> {
    /// `heap`, and `sink` to be told.
    #[must_use]
    pub const fn new(sink: T, heap: A) -> Self {
        Traced { sink, heap }
    }

    /// Who is told.
    pub const fn sink(&self) -> &T {
        &self.sink
    }

    /// The heap that does the work. What is asked of it directly is not told.
    pub const fn heap(&self) -> &A {
        &self.heap
    }

    /// The sink and the heap.
    #[must_use]
    pub fn into_parts(self) -> (T, A) {
        (self.sink, self.heap)
    }

    /// Tells of a request for `layout`, and how it went.
    #[inline]
    fn tell_allocated(&self, layout: Layout, given: Result<NonNull<[u8]>, AllocError>) {
        tell(|| match given {
            Ok(block) => self.sink.allocated(&had(block, layout)),
            Err(AllocError) => self.sink.refused(layout),
        });
    }

    /// Tells of a block that will come back.
    #[inline]
    fn tell_freeing(&self, ptr: NonNull<u8>, layout: Layout) {
        tell(|| self.sink.freeing(&back(ptr, layout)));
    }

    /// [`try_resize`](SharedHeap::try_resize), or [`try_resize_zeroed`](SharedHeap::try_resize_zeroed).
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    unsafe fn change(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
        zeroed: bool,
    ) -> Result<NonNull<[u8]>, AllocError>
    where
        A: SharedHeap,
    {
        let resize = || {
            if zeroed {
                // SAFETY: the caller's promise is the same.
                unsafe { self.heap.try_resize_zeroed(ptr, old, new) }
            } else {
                // SAFETY: the caller's promise is the same.
                unsafe { self.heap.try_resize(ptr, old, new) }
            }
        };
        if !T::LISTENS {
            return resize();
        }
        if old.size() == 0 {
            return if zeroed { self.try_alloc_zeroed(new) } else { self.try_alloc(new) };
        }
        if new.size() == 0 {
            // SAFETY: the caller's promise is the same.
            unsafe { self.free(ptr, old) };
            return Ok(mem::slice(mem::dangling(new), 0));
        }
        let was = back(ptr, old);
        let begun = tell(|| self.sink.resizing(&was, new));
        let given = resize();
        if let Some(begun) = begun {
            let now = given.map(|block| had(block, new));
            tell(|| self.sink.resized(begun, &was, now.as_ref().map_err(|error| *error)));
        }
        given
    }
}

/// A block that was handed out.
fn had(block: NonNull<[u8]>, layout: Layout) -> Block {
    Block { address: block.cast::<u8>().addr().get(), layout, len: block.len() }
}

/// A block that comes back.
fn back(ptr: NonNull<u8>, layout: Layout) -> Block {
    Block { address: ptr.addr().get(), layout, len: layout.size() }
}

// SAFETY: S1 to S3 are those of the heap within, which does all the work; `tell` does not unwind, and gets no pointer to a block. S2: it is an
// `Allocator` by reference only, and borrowed it borrows the heap. S4: each method is the heap's own, with the caller's own arguments.
unsafe impl<T: Sink, A: SharedHeap> SharedHeap for Traced<T, A> {
    type Core<'a>
        = A::Core<'a>
    where
        Self: 'a;

    /// The core of the heap within: what is done there is not told.
    #[inline]
    unsafe fn enter<'s, R>(&'s self, work: impl FnOnce(&mut Self::Core<'s>) -> R) -> Result<R, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.heap.enter(work) }
    }

    #[inline]
    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let given = self.heap.try_alloc(layout);
        if T::LISTENS && layout.size() > 0 {
            self.tell_allocated(layout, given);
        }
        given
    }

    #[inline]
    fn try_alloc_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let given = self.heap.try_alloc_zeroed(layout);
        if T::LISTENS && layout.size() > 0 {
            self.tell_allocated(layout, given);
        }
        given
    }

    #[inline]
    unsafe fn free(&self, ptr: NonNull<u8>, layout: Layout) {
        if T::LISTENS && layout.size() > 0 {
            self.tell_freeing(ptr, layout);
        }
        // SAFETY: the caller's promise is the same.
        unsafe { self.heap.free(ptr, layout) };
    }

    #[inline]
    unsafe fn try_resize(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.change(ptr, old, new, false) }
    }

    #[inline]
    unsafe fn try_resize_zeroed(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.change(ptr, old, new, true) }
    }

    #[inline]
    fn try_alloc_batch(&self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        let count = self.heap.try_alloc_batch(layout, out);
        if T::LISTENS && layout.size() > 0 {
            for place in &out[..count] {
                // SAFETY: the heap has filled this many places, from the front.
                let ptr = unsafe { place.assume_init() };
                self.tell_allocated(layout, Ok(mem::slice(ptr, layout.size())));
            }
            if count < out.len() {
                self.tell_allocated(layout, Err(AllocError));
            }
        }
        count
    }

    #[inline]
    unsafe fn free_batch(&self, layout: Layout, blocks: &[NonNull<u8>]) {
        if T::LISTENS && layout.size() > 0 {
            for &ptr in blocks {
                self.tell_freeing(ptr, layout);
            }
        }
        // SAFETY: the caller's promise is the same.
        unsafe { self.heap.free_batch(layout, blocks) };
    }

    #[inline]
    fn release_unused(&self) -> usize {
        self.heap.release_unused()
    }
}

// SAFETY: V1: the blocks are those of the heap within.
unsafe impl<T: Sink, A: UsableSize> UsableSize for Traced<T, A> {
    unsafe fn usable_size(&self, ptr: NonNull<u8>) -> usize {
        // SAFETY: the caller's promise is the same.
        unsafe { self.heap.usable_size(ptr) }
    }
}

impl<T: Sink, A: fmt::Debug> fmt::Debug for Traced<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traced")
            .field("sink", &format_args!("{}", core::any::type_name::<T>()))
            .field("heap", &self.heap)
            .finish()
    }
}

impl<T: Sink, A: Describe> Describe for Traced<T, A> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let what = if T::LISTENS { "each block is told to a sink" } else { "nobody is told" };
        tree.part(format_args!("Traced, {what}"), Cost::state_of::<T>(), &[("heap", A::describe)])
    }
}

impl_allocators!([T: Sink, A: SharedHeap] &Traced<T, A>);
impl_global_alloc!([T: Sink, A: SharedHeap] Traced<T, A>);

#[cfg(test)]
mod tests {
    use static_assertions::{assert_eq_size, assert_impl_all, assert_not_impl_any};

    use super::*;
    use crate::arena::StaticArena;
    use crate::lock::{NoLock, SpinLock};
    use crate::sizing::Sizing4KiB;

    type Threads = StaticArena<1024, Sizing4KiB, SpinLock>;
    type OneThread = StaticArena<1024, Sizing4KiB, NoLock>;

    assert_eq_size!(Traced<(), Threads>, Threads);
    assert_impl_all!(Traced<(), Threads>: Send, Sync);
    assert_not_impl_any!(Traced<(), OneThread>: Sync);
}
