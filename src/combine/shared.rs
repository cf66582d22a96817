//! A heap that lives as long as the last of its handles, in a block of its own memory.

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
#[cfg(target_has_atomic = "ptr")]
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering;

#[cfg(not(target_has_atomic = "ptr"))]
use portable_atomic::AtomicUsize;

use crate::AllocError;
use crate::alloc::impl_allocators;
use crate::describe::{Cost, Describe, Tree};
use crate::heap::{Heap, Locked, SharedHeap, forward_shared_heap};
use crate::lock::Lock;

/// A counted handle to a heap of its own: the heap lives until the last handle is dropped.
///
/// Choose it for collections that outlive the scope that made their heap: they take a clone along. The handle is one word, an `Allocator` by value, and
/// may be sent to other threads if the heap and its lock can. Clones are equivalent: what one allocated any other may grow and free.
///
/// The heap and its count lie in a block of the heap itself, so no other heap is needed.
///
/// ```text
///  Shared ──┐    memory of H
///  Shared ──┴──► ├ count │ lock │ H ┤ block │ block │ ..
/// ```
///
/// ```
/// # #[cfg(all(feature = "alloc", feature = "allocator-api2-04"))] {
/// use allocator_api2_04::vec::Vec;
/// use heapwright::{combine::{Region, Shared}, lock::SpinLock, source::GlobalHeap};
///
/// type Arena = Shared<Region<GlobalHeap>, SpinLock>;
/// fn numbers() -> Result<Vec<u32, Arena>, heapwright::AllocError> {
///     let heap = Arena::new(Region::new(GlobalHeap))?;
///     let mut list = Vec::new_in(heap);
///     list.extend(0..100);
///     Ok(list) // and its heap with it
/// }
/// let list = numbers()?;
/// assert_eq!(std::thread::spawn(move || list.iter().sum::<u32>()).join().ok(), Some(4950));
/// # }
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// # Cost
/// To clone or drop a handle is an atomic addition; a request takes what the heap and its lock take, and a pointer in between. A word beside the heap.
///
/// What a lock does not allow, the compiler refuses:
/// ```compile_fail,E0277
/// use heapwright::{combine::{Region, Shared}, lock::NoLock, source::GlobalHeap};
/// fn send<T: Send>() {}
/// send::<Shared<Region<GlobalHeap>, NoLock>>(); // error: `NoLock` can't be shared between threads
/// ```
///
/// The heap can't be reset, which would forget the handle's own block. The idea is D's `RCIAllocator`, its place in its own memory that of D's
/// `AllocatorList` (Andrei Alexandrescu).
pub struct Shared<H: Heap, L: Lock> {
    /// Live, and good for the whole of it, as long as there is a handle.
    inner: NonNull<Inner<H, L>>,
    /// The handles own it together: invariant as the cell in it.
    owns: PhantomData<Inner<H, L>>,
}

struct Inner<H, L> {
    handles: AtomicUsize,
    heap: Locked<H, L>,
}

/// More handles than this are a leak in a loop.
const HANDLES_MAX: usize = isize::MAX as usize;

// SAFETY: handles on several threads share the heap, which `Locked` allows if `H` is `Send` and `L` is `Sync`; and whichever is dropped last
// takes the heap, and with it the lock, along to its thread.
unsafe impl<H: Heap + Send, L: Lock + Send + Sync> Send for Shared<H, L> {}
// SAFETY: as above; a reference to a handle makes more handles.
unsafe impl<H: Heap + Send, L: Lock + Send + Sync> Sync for Shared<H, L> {}

impl<H: Heap, L: Lock> Shared<H, L> {
    /// The first handle to `core`, which is moved into a block of its own memory.
    ///
    /// # Errors
    /// When it has no room for that; the core is dropped.
    pub fn new(mut core: H) -> Result<Self, AllocError> {
        let inner = core.alloc(Layout::new::<Inner<H, L>>())?.cast::<Inner<H, L>>();
        let value = Inner { handles: AtomicUsize::new(1), heap: Locked::new(core) };
        // SAFETY: the block is fresh and fits; the core may move, into one of its blocks too, which lies outside of it (H2).
        unsafe { inner.write(value) };
        Ok(Shared { inner, owns: PhantomData })
    }

    fn inner(&self) -> &Inner<H, L> {
        // SAFETY: live as long as there is a handle, and only shared while there are several.
        unsafe { self.inner.as_ref() }
    }

    /// The heap behind the handle: for its usage, its chunks, or to borrow it.
    #[must_use]
    pub fn heap(&self) -> &Locked<H, L> {
        &self.inner().heap
    }

    /// Handles at the moment; other threads may change the number at once.
    #[must_use]
    pub fn handles(&self) -> usize {
        self.inner().handles.load(Ordering::Relaxed)
    }
}

// An `extern "C"` function aborts the process where another would unwind (since Rust 1.81).
#[cold]
extern "C" fn too_many_handles() {
    panic!("more than isize::MAX handles to one heap");
}

/// Another handle to the same heap.
impl<H: Heap, L: Lock> Clone for Shared<H, L> {
    #[inline]
    fn clone(&self) -> Self {
        // Relaxed as in `Arc`: who clones has a handle, so the heap is alive.
        if self.inner().handles.fetch_add(1, Ordering::Relaxed) > HANDLES_MAX {
            too_many_handles();
        }
        Shared { inner: self.inner, owns: PhantomData }
    }
}

impl<H: Heap, L: Lock> Drop for Shared<H, L> {
    #[inline]
    fn drop(&mut self) {
        if self.inner().handles.fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        // What other threads did with their handles comes before the end of the heap. (As good as a fence, which sanitizers of races do not know.)
        self.inner().handles.load(Ordering::Acquire);
        // SAFETY: this was the last handle, so nobody knows the value any more, and nobody looks at the place again.
        let inner = unsafe { self.inner.read() };
        let mut core = ManuallyDrop::new(inner.heap.into_inner());
        // SAFETY: a live block of the heap, which has moved out of it, with the layout that it was asked for.
        unsafe { core.dealloc(self.inner.cast(), Layout::new::<Inner<H, L>>()) };
        // The core's own drop may unwind only after that.
        drop(ManuallyDrop::into_inner(core));
    }
}

/// Handles to one heap are equal.
impl<H: Heap, L: Lock> PartialEq for Shared<H, L> {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl<H: Heap, L: Lock> Eq for Shared<H, L> {}

impl<H: Heap, L: Lock + fmt::Debug> fmt::Debug for Shared<H, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("handles", &self.handles()).field("heap", self.heap()).finish()
    }
}

// SAFETY: S1 to S4 are those of the heap behind the handle, which is in one place as long as there is a handle; moving the handle moves a pointer.
unsafe impl<H: Heap, L: Lock> SharedHeap for Shared<H, L> {
    type Core<'a>
        = H
    where
        Self: 'a;

    forward_shared_heap!(Locked<H, L>, |this| this.heap());
}

impl_allocators!([H: Heap, L: Lock] Shared<H, L>);

impl<H: Heap + Describe, L: Lock + Describe> Describe for Shared<H, L> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let cost = Cost::state_of::<(usize, usize)>();
        tree.part(format_args!("Shared, counted handles"), cost, &[("heap", <Locked<H, L>>::describe)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{NoLock, SpinLock};
    use crate::source::{Buffer, SourceHeap};

    type Over<L> = Shared<SourceHeap<Buffer<'static>>, L>;
    static_assertions::assert_eq_size!(Over<SpinLock>, usize);
    static_assertions::assert_eq_size!(Option<Over<SpinLock>>, usize);
    static_assertions::assert_impl_all!(Over<SpinLock>: Send, Sync, Clone);
    static_assertions::assert_not_impl_any!(Over<NoLock>: Send, Sync);

    #[test]
    fn a_heap_without_room_for_itself_is_an_error() {
        let source = Buffer::from_slice(&mut []);
        assert!(Shared::<_, NoLock>::new(SourceHeap::new(source)).is_err());
    }
}
