//! Allocators under test: of every version of the trait that is switched on, and global ones.

use core::alloc::{GlobalAlloc, Layout};
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;
use std::boxed::Box;

use super::check::Check;
use super::plan::Plan;
use super::run::Ran;
use super::script::Way;
use super::subject::{Face, Place, Subject, Traits, ZeroSize};
use super::threads;
use crate::AllocError;

/// A trait of allocators, and how a type is called by it.
pub trait Trait<A> {
    const TRAITS: Traits;
    fn alloc(heap: &A, layout: Layout, way: Way) -> Result<NonNull<[u8]>, AllocError>;
    /// # Safety
    /// As the trait's.
    unsafe fn free(heap: &A, ptr: NonNull<u8>, layout: Layout);
    /// # Safety
    /// As the trait's.
    unsafe fn resize(
        heap: &A,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
        way: Way,
    ) -> Result<NonNull<[u8]>, AllocError>;
}

/// An allocator `A` by its trait `T`.
pub struct AllocatorFace<A, T> {
    moves: bool,
    threads: Option<fn(&A, &Plan) -> Ran>,
    kind: PhantomData<fn(T)>,
}

impl<A, T> fmt::Debug for AllocatorFace<A, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AllocatorFace")
    }
}

impl<A, T> AllocatorFace<A, T> {
    /// Of an allocator that may move, or of one that stays where it is.
    pub(super) const fn new(moves: bool) -> Self {
        AllocatorFace { moves, threads: None, kind: PhantomData }
    }
}

/// What else the allocator can do, to be checked as well.
impl<A, T: Trait<A> + 'static> Check<'_, AllocatorFace<A, T>> {
    /// Uses an allocator on many threads at once, which pass blocks to each other.
    pub fn threads(mut self) -> Self
    where
        A: Sync,
    {
        self.face.threads = Some(|heap, plan| {
            threads::run(|| Faced { heap, kind: PhantomData::<fn(T, A)>, moves: false }, plan)
        });
        self
    }
}

/// An allocator, in a box or by reference.
struct Faced<P, T, A> {
    heap: P,
    moves: bool,
    kind: PhantomData<fn(T, A)>,
}

/// Where an allocator is.
trait Held<A> {
    fn get(&self) -> &A;
    fn relocate(&mut self) {}
}

impl<A> Held<A> for &A {
    fn get(&self) -> &A {
        self
    }
}

impl<A> Held<A> for Place<A> {
    fn get(&self) -> &A {
        self.get()
    }

    fn relocate(&mut self) {
        self.relocate();
    }
}

impl<P: Held<A>, A, T: Trait<A>> Subject for Faced<P, T, A> {
    fn traits(&self) -> Traits {
        T::TRAITS
    }

    fn alloc(&mut self, layout: Layout, way: Way) -> Result<NonNull<[u8]>, AllocError> {
        T::alloc(self.heap.get(), layout, way)
    }

    unsafe fn free(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { T::free(self.heap.get(), ptr, layout) };
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
        way: Way,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { T::resize(self.heap.get(), ptr, old, new, way) }
    }

    fn relocate(&mut self) {
        if self.moves {
            self.heap.relocate();
        }
    }
}

impl<A, T: Trait<A> + 'static> Face for AllocatorFace<A, T> {
    type Heap = A;

    fn subject<'s>(&self, heap: A) -> Box<dyn Subject + 's>
    where
        A: 's,
    {
        Box::new(Faced { heap: Place::new(heap), moves: self.moves, kind: PhantomData::<fn(T, A)> })
    }

    fn threads(&self, heap: &A, plan: &Plan) -> Option<Ran> {
        self.threads.map(|threads| threads(heap, plan))
    }
}

/// Allocators by `GlobalAlloc`.
#[derive(Debug)]
pub enum Global {}

impl<A: GlobalAlloc> Trait<A> for Global {
    const TRAITS: Traits = Traits {
        zero_size: ZeroSize::Undefined,
        aligns: false,
        in_place: false,
        slack: false,
        ..Traits::HEAP
    };

    fn alloc(heap: &A, layout: Layout, way: Way) -> Result<NonNull<[u8]>, AllocError> {
        let ptr = if way == Way::Zeroed {
            // SAFETY: the size is not zero.
            unsafe { heap.alloc_zeroed(layout) }
        } else {
            // SAFETY: as above.
            unsafe { heap.alloc(layout) }
        };
        NonNull::new(ptr).map(|ptr| NonNull::slice_from_raw_parts(ptr, layout.size())).ok_or(AllocError)
    }

    unsafe fn free(heap: &A, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { heap.dealloc(ptr.as_ptr(), layout) };
    }

    unsafe fn resize(
        heap: &A,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
        _: Way,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same; the new size makes a layout, and is not zero.
        let ptr = unsafe { heap.realloc(ptr.as_ptr(), old, new.size()) };
        NonNull::new(ptr).map(|ptr| NonNull::slice_from_raw_parts(ptr, new.size())).ok_or(AllocError)
    }
}

/// Writes the traits of one version of `Allocator`: by value and by reference.
macro_rules! versions {
    ($($(#[$attribute:meta])* $version:ident, $value:ident, $reference:ident: $api:path;)*) => {$(
        $(#[$attribute])*
        mod $version {
            use $api as api;

            use super::super::subject::Tail;
            use super::*;

            const TRAITS: Traits =
                Traits { zero_size: ZeroSize::Met, tail: Tail::PastLen, in_place: false, ..Traits::HEAP };

            /// Allocators by value.
            #[derive(Debug)]
            pub enum ByValue {}

            /// Allocators by reference.
            #[derive(Debug)]
            pub enum ByReference {}

            impl<A: api::Allocator> Trait<A> for ByValue {
                const TRAITS: Traits = TRAITS;

                fn alloc(heap: &A, layout: Layout, way: Way) -> Result<NonNull<[u8]>, AllocError> {
                    let made = if way == Way::Zeroed {
                        heap.allocate_zeroed(layout)
                    } else {
                        heap.allocate(layout)
                    };
                    made.map_err(|_| AllocError)
                }

                unsafe fn free(heap: &A, ptr: NonNull<u8>, layout: Layout) {
                    // SAFETY: the caller's promise is the same.
                    unsafe { heap.deallocate(ptr, layout) };
                }

                unsafe fn resize(
                    heap: &A,
                    ptr: NonNull<u8>,
                    old: Layout,
                    new: Layout,
                    way: Way,
                ) -> Result<NonNull<[u8]>, AllocError> {
                    let made = match (new.size() < old.size(), way) {
                        // SAFETY: the caller's promise, and the new size is the smaller one.
                        (true, _) => unsafe { heap.shrink(ptr, old, new) },
                        // SAFETY: the caller's promise, and the new size is not the smaller one.
                        (false, Way::Zeroed) => unsafe { heap.grow_zeroed(ptr, old, new) },
                        // SAFETY: as above.
                        (false, _) => unsafe { heap.grow(ptr, old, new) },
                    };
                    made.map_err(|_| AllocError)
                }
            }

            impl<A> Trait<A> for ByReference
            where
                for<'r> &'r A: api::Allocator,
            {
                const TRAITS: Traits = TRAITS;

                fn alloc(heap: &A, layout: Layout, way: Way) -> Result<NonNull<[u8]>, AllocError> {
                    <ByValue as Trait<&A>>::alloc(&heap, layout, way)
                }

                unsafe fn free(heap: &A, ptr: NonNull<u8>, layout: Layout) {
                    // SAFETY: the caller's promise is the same.
                    unsafe { <ByValue as Trait<&A>>::free(&heap, ptr, layout) };
                }

                unsafe fn resize(
                    heap: &A,
                    ptr: NonNull<u8>,
                    old: Layout,
                    new: Layout,
                    way: Way,
                ) -> Result<NonNull<[u8]>, AllocError> {
                    // SAFETY: the caller's promise is the same.
                    unsafe { <ByValue as Trait<&A>>::resize(&heap, ptr, old, new, way) }
                }
            }
        }

        $(#[$attribute])*
        pub(super) use self::$version::{ByReference as $reference, ByValue as $value};
    )*};
}

versions! {
    #[cfg(all(feature = "allocator-api2-02", not(feature = "allocator-api2-02-nightly")))]
    version_02, Allocator02, Allocator02Ref: allocator_api2_02::alloc;
    #[cfg(feature = "allocator-api2-03")]
    version_03, Allocator03, Allocator03Ref: allocator_api2_03::alloc;
    #[cfg(feature = "allocator-api2-04")]
    version_04, Allocator04, Allocator04Ref: allocator_api2_04::alloc;
    #[cfg(feature = "nightly")]
    version_core, AllocatorCore, AllocatorCoreRef: core::alloc;
}
