//! A heap that is chosen at run time.

use core::alloc::Layout;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use crate::AllocError;
use crate::alloc::impl_allocators;
use crate::check::Finding;
use crate::describe::{Cost, Describe, Tree, describe_leaf};
use crate::heap::{Heap, SharedHeap};

/// Any shared heap, its type forgotten: `&dyn DynHeap` is a handle of two words to a heap that is chosen at run time.
///
/// Choose it where a heap's type would go through every signature, or is not known before the program runs: a struct that takes any heap, a plug-in's
/// interface. Every [`SharedHeap`] is one. `&dyn DynHeap` is an `Allocator` of every version that is switched on, a `SharedHeap`, and a
/// [`BackingSource`](crate::source::BackingSource); `&(dyn DynHeap + Sync)` is all that and may go to other threads. (`&dyn Allocator` of one version is of
/// no use to a collection of another.)
///
/// ```
/// # #[cfg(all(feature = "alloc", feature = "allocator-api2-04"))] {
/// use allocator_api2_04::vec::Vec;
/// use core::mem::MaybeUninit;
/// use heapwright::arena::Teaspoon4KiB;
/// use heapwright::{combine::DynHeap, source::GlobalHeap};
///
/// fn squares(n: u32, heap: &dyn DynHeap) -> Vec<u32, &dyn DynHeap> {
///     let mut list = Vec::new_in(heap);
///     list.extend((0..n).map(|n| n * n));
///     list
/// }
/// let mut memory = [MaybeUninit::uninit(); 1024];
/// let arena = <Teaspoon4KiB<'_>>::from_slice(&mut memory);
/// for n in [10, 1000] {
///     let heap: &dyn DynHeap = if n < 100 { &arena } else { &GlobalHeap };
///     assert_eq!(squares(n, heap).len(), n as usize);
/// }
/// # }
/// ```
///
/// # Cost
/// A call through a pointer for each request, which is not inlined; whatever the heap itself does better than the default (batches, zeroed memory, growth in
/// place) is done here too. No state: the handle is a pointer to the heap and one to its table of functions.
///
/// Its methods are called through [`SharedHeap`]; there is nothing to implement.
///
/// Without `Sync` the handle stays on its thread:
/// ```compile_fail,E0277
/// use heapwright::combine::DynHeap;
/// fn send<T: Send>() {}
/// send::<&dyn DynHeap>(); // error: may not be shared between threads
/// ```
///
/// The idea is that of C++'s `std::pmr::memory_resource`, foonathan/memory's `any_allocator`, and Zig's `Allocator`.
pub trait DynHeap: Erased {}

impl<A: SharedHeap> DynHeap for A {}

mod erased {
    use super::{AllocError, DynCore, Finding, Layout, MaybeUninit, NonNull};

    /// The methods of `SharedHeap` without generics. Each is unsafe as there.
    pub trait Erased {
        unsafe fn enter_dyn(&self, work: &mut dyn FnMut(&mut DynCore<'_>)) -> Result<(), AllocError>;
        fn alloc_dyn(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError>;
        fn alloc_zeroed_dyn(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError>;
        unsafe fn free_dyn(&self, ptr: NonNull<u8>, layout: Layout);
        unsafe fn resize_dyn(
            &self,
            ptr: NonNull<u8>,
            old: Layout,
            new: Layout,
        ) -> Result<NonNull<[u8]>, AllocError>;
        unsafe fn resize_zeroed_dyn(
            &self,
            ptr: NonNull<u8>,
            old: Layout,
            new: Layout,
        ) -> Result<NonNull<[u8]>, AllocError>;
        fn alloc_batch_dyn(&self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize;
        unsafe fn free_batch_dyn(&self, layout: Layout, blocks: &[NonNull<u8>]);
        fn release_unused_dyn(&self) -> usize;
    }

    /// The methods of `Heap` without constants. Each is unsafe as there.
    pub(super) trait ErasedCore {
        fn alloc_dyn(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError>;
        fn alloc_zeroed_dyn(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError>;
        unsafe fn dealloc_dyn(&mut self, ptr: NonNull<u8>, layout: Layout);
        unsafe fn resize_in_place_dyn(
            &mut self,
            ptr: NonNull<u8>,
            old: Layout,
            new: Layout,
        ) -> Result<NonNull<[u8]>, AllocError>;
        unsafe fn resize_dyn(
            &mut self,
            ptr: NonNull<u8>,
            old: Layout,
            new: Layout,
        ) -> Result<NonNull<[u8]>, AllocError>;
        fn good_size_dyn(&self, layout: Layout) -> usize;
        fn alloc_batch_dyn(&mut self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize;
        unsafe fn dealloc_batch_dyn(&mut self, layout: Layout, blocks: &[NonNull<u8>]);
        fn release_unused_dyn(&mut self) -> usize;
        unsafe fn judge_dyn(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool;
        fn take_finding_dyn(&mut self) -> Option<Finding>;
    }
}

use self::erased::{Erased, ErasedCore};

#[rustfmt::skip]
impl<A: SharedHeap> Erased for A {
    unsafe fn enter_dyn(&self, work: &mut dyn FnMut(&mut DynCore<'_>)) -> Result<(), AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.enter(|core| work(&mut DynCore { core })) }
    }
    fn alloc_dyn(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.try_alloc(layout)
    }
    fn alloc_zeroed_dyn(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.try_alloc_zeroed(layout)
    }
    unsafe fn free_dyn(&self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.free(ptr, layout) }
    }
    unsafe fn resize_dyn(&self, ptr: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.try_resize(ptr, old, new) }
    }
    unsafe fn resize_zeroed_dyn(&self, ptr: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.try_resize_zeroed(ptr, old, new) }
    }
    fn alloc_batch_dyn(&self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        self.try_alloc_batch(layout, out)
    }
    unsafe fn free_batch_dyn(&self, layout: Layout, blocks: &[NonNull<u8>]) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.free_batch(layout, blocks) }
    }
    fn release_unused_dyn(&self) -> usize {
        self.release_unused()
    }
}

#[rustfmt::skip]
impl<H: Heap> ErasedCore for H {
    fn alloc_dyn(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.alloc(layout)
    }
    fn alloc_zeroed_dyn(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.alloc_zeroed(layout)
    }
    unsafe fn dealloc_dyn(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.dealloc(ptr, layout) }
    }
    unsafe fn resize_in_place_dyn(&mut self, ptr: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.resize_in_place(ptr, old, new) }
    }
    unsafe fn resize_dyn(&mut self, ptr: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.resize(ptr, old, new) }
    }
    fn good_size_dyn(&self, layout: Layout) -> usize {
        self.good_size(layout)
    }
    fn alloc_batch_dyn(&mut self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        self.alloc_batch(layout, out)
    }
    unsafe fn dealloc_batch_dyn(&mut self, layout: Layout, blocks: &[NonNull<u8>]) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.dealloc_batch(layout, blocks) }
    }
    fn release_unused_dyn(&mut self) -> usize {
        self.release_unused()
    }
    unsafe fn judge_dyn(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise is the same.
        unsafe { self.judge(ptr, layout) }
    }
    fn take_finding_dyn(&mut self) -> Option<Finding> {
        self.take_finding()
    }
}

/// The core of a [`DynHeap`], under its lock: what [`enter`](SharedHeap::enter) gives.
///
/// ```
/// use heapwright::combine::DynHeap;
/// use heapwright::heap::{Heap, Locked, NoHeap, SharedHeap};
/// use heapwright::lock::NoLock;
/// let heap = Locked::<_, NoLock>::new(NoHeap);
/// let heap: &dyn DynHeap = &heap;
/// // SAFETY: the closure only calls the core.
/// let size = unsafe { heap.enter(|core| core.good_size(std::alloc::Layout::new::<u32>())) };
/// assert_eq!(size, Ok(4));
/// ```
pub struct DynCore<'a> {
    core: &'a mut dyn ErasedCore,
}

describe_leaf!(DynCore<'_>, "a heap chosen at run time, at work");

impl fmt::Debug for DynCore<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynCore").finish_non_exhaustive()
    }
}

// SAFETY: H1 to H7 are those of the core behind it: every method is the core's.
unsafe impl Heap for DynCore<'_> {
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.core.alloc_dyn(layout)
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.core.dealloc_dyn(ptr, layout) };
    }

    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.core.alloc_zeroed_dyn(layout)
    }

    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.core.resize_in_place_dyn(ptr, old, new) }
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.core.resize_dyn(ptr, old, new) }
    }

    fn good_size(&self, layout: Layout) -> usize {
        self.core.good_size_dyn(layout)
    }

    fn alloc_batch(&mut self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        self.core.alloc_batch_dyn(layout, out)
    }

    unsafe fn dealloc_batch(&mut self, layout: Layout, blocks: &[NonNull<u8>]) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.core.dealloc_batch_dyn(layout, blocks) };
    }

    fn release_unused(&mut self) -> usize {
        self.core.release_unused_dyn()
    }

    // Whether the core behind it does is not known here.
    const CHECKS: bool = true;

    unsafe fn judge(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise is the same.
        unsafe { self.core.judge_dyn(ptr, layout) }
    }

    fn take_finding(&mut self) -> Option<Finding> {
        self.core.take_finding_dyn()
    }
}

/// Writes what a trait object of heaps can do. Only ever used by reference, so its place is that of the heap.
macro_rules! shared_dyn {
    ($type:ty) => {
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("DynHeap").finish_non_exhaustive()
            }
        }

        impl Describe for $type {
            fn describe(tree: &mut Tree<'_>) -> fmt::Result {
                tree.part(format_args!("a heap chosen at run time"), Cost::NONE, &[])
            }
        }

        // SAFETY: S1 to S4 are those of the heap behind the table, which is `SharedHeap`'s own methods; `enter` gives the one core that it
        // has, by a reference that it can't be moved through.
        unsafe impl SharedHeap for $type {
            type Core<'a>
                = DynCore<'a>
            where
                Self: 'a;

            unsafe fn enter<'s, R>(
                &'s self,
                work: impl FnOnce(&mut Self::Core<'s>) -> R,
            ) -> Result<R, AllocError> {
                let mut work = Some(work);
                let mut result = None;
                let mut once = |core: &mut DynCore<'_>| {
                    // SAFETY: lifetimes only. `work` takes any `&mut DynCore<'s>` and, by its caller's promise, keeps nothing of it.
                    let core = unsafe { &mut *(&raw mut *core).cast::<DynCore<'s>>() };
                    result = work.take().map(|work| work(core));
                };
                // SAFETY: the caller's promise is the same.
                unsafe { self.enter_dyn(&mut once) }?;
                result.ok_or(AllocError)
            }

            fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
                self.alloc_dyn(layout)
            }

            fn try_alloc_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
                self.alloc_zeroed_dyn(layout)
            }

            unsafe fn free(&self, ptr: NonNull<u8>, layout: Layout) {
                // SAFETY: the caller's promise is the same.
                unsafe { self.free_dyn(ptr, layout) };
            }

            unsafe fn try_resize(
                &self,
                ptr: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<[u8]>, AllocError> {
                // SAFETY: the caller's promise is the same.
                unsafe { self.resize_dyn(ptr, old, new) }
            }

            unsafe fn try_resize_zeroed(
                &self,
                ptr: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<[u8]>, AllocError> {
                // SAFETY: the caller's promise is the same.
                unsafe { self.resize_zeroed_dyn(ptr, old, new) }
            }

            fn try_alloc_batch(&self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
                self.alloc_batch_dyn(layout, out)
            }

            unsafe fn free_batch(&self, layout: Layout, blocks: &[NonNull<u8>]) {
                // SAFETY: the caller's promise is the same.
                unsafe { self.free_batch_dyn(layout, blocks) };
            }

            fn release_unused(&self) -> usize {
                self.release_unused_dyn()
            }
        }
    };
}

shared_dyn!(dyn DynHeap + '_);
shared_dyn!(dyn DynHeap + Sync + '_);
impl_allocators!([] dyn DynHeap + '_);
impl_allocators!([] dyn DynHeap + Sync + '_);

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::source::BackingSource;

    static_assertions::assert_eq_size!(&'static dyn DynHeap, [usize; 2]);
    static_assertions::assert_impl_all!(&'static dyn DynHeap: BackingSource, SharedHeap, Copy);
    static_assertions::assert_impl_all!(&'static (dyn DynHeap + Sync): BackingSource, SharedHeap, Send, Sync);
    static_assertions::assert_not_impl_any!(&'static dyn DynHeap: Send);

    #[test]
    fn says_what_it_is() {
        let tree = crate::describe::describe::<&dyn DynHeap>();
        assert_eq!(std::format!("{tree}"), "a heap chosen at run time\n");
    }
}
