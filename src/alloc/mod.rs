//! The one place that implements the allocator traits. (Those who have such an allocator and want a source: `source::FromAllocator02` and
//! its kin.)
//!
//! allocator-api2 0.2, 0.3 and 0.4 and nightly core each have a trait of the same text and a
//! different identity. The macro in this layer writes the impls of all that are switched on.
//!
//! | feature | trait | taken by |
//! |---|---|---|
//! | `allocator-api2-02` (default) | allocator-api2 0.2 | hashbrown, iddqd, bumpalo, pstd |
//! | `allocator-api2-03` | allocator-api2 0.3 | stalloc |
//! | `allocator-api2-04` (default) | allocator-api2 0.4 | smallvec 2, talc 5, blink-alloc 0.4, shared_vector, linked-list |
//! | `nightly` | core's, unstable | std's `Box`, `Vec`, `BTreeMap`, `VecDeque`, `Rc`, `Arc`; hashbrown's feature `nightly` |
//! | `allocator-api2-02-nightly` | core's, under 0.2's name too | builds with allocator-api2 0.2's feature `nightly` |
//!
//! All are additive, but for one thing that Cargo can't express: allocator-api2 0.2 with *its* feature `nightly` has no trait
//! of its own and re-exports core's. That breaks every crate of the build that does not expect it (hashbrown without its own
//! `nightly`, say), so nothing here turns it on, except the feature made for it: where some other crate does,
//! turn on `allocator-api2-02-nightly` here. The compiler asks for it with "conflicting implementations of trait `Allocator`" or
//! "use of unstable library feature `allocator_api`" in this crate.

use core::fmt;

/// A request could not be met: the heap or the source has no room for it, or it never could have.
///
/// Nothing has changed: whatever was live before the call is live, and where it was.
///
/// ```
/// use heapwright::AllocError;
/// assert_eq!(AllocError.to_string(), "memory allocation failed");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AllocError;

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory allocation failed")
    }
}

impl core::error::Error for AllocError {}

/// Writes `unsafe impl Allocator` of every allocator-trait version that is switched on, for a type whose
/// `SharedHeap` impl does the work; or, with `via`, another trait with the same five methods.
macro_rules! impl_allocators {
    ([$($generics:tt)*] $type:ty $(where $($bound:tt)*)?) => {
        crate::alloc::impl_allocators!(via crate::heap::SharedHeap, [$($generics)*] $type $(where $($bound)*)?);
    };
    (via $work:path, [$($generics:tt)*] $type:ty $(where $($bound:tt)*)?) => {
        // With its own feature `nightly` on, 0.2 re-exports core's trait: one impl serves both.
        #[cfg(all(feature = "allocator-api2-02", not(feature = "allocator-api2-02-nightly")))]
        crate::alloc::impl_allocators!(@one allocator_api2_02::alloc, $work, [$($generics)*] $type $(where $($bound)*)?);
        #[cfg(feature = "allocator-api2-03")]
        crate::alloc::impl_allocators!(@one allocator_api2_03::alloc, $work, [$($generics)*] $type $(where $($bound)*)?);
        #[cfg(feature = "allocator-api2-04")]
        crate::alloc::impl_allocators!(@one allocator_api2_04::alloc, $work, [$($generics)*] $type $(where $($bound)*)?);
        #[cfg(feature = "nightly")]
        crate::alloc::impl_allocators!(@one core::alloc, $work, [$($generics)*] $type $(where $($bound)*)?);
    };
    (@one $api:path, $work:path, [$($generics:tt)*] $type:ty $(where $($bound:tt)*)?) => {
        const _: () = {
            use core::alloc::Layout;
            use core::ptr::NonNull;

            use $api as api;

            use $work;

            // SAFETY: `SharedHeap` promises what `Allocator` asks: blocks that fit their layout (S1), that stay valid
            // until freed while the heap or an equivalent handle lives, wherever the handle moves (S2), and no unwinding (S3). Whoever
            // names another trait promises the same of that.
            unsafe impl<$($generics)*> api::Allocator for $type $(where $($bound)*)? {
                #[inline]
                fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, api::AllocError> {
                    self.try_alloc(layout).map_err(|_| api::AllocError)
                }

                #[inline]
                fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, api::AllocError> {
                    self.try_alloc_zeroed(layout).map_err(|_| api::AllocError)
                }

                #[inline]
                unsafe fn deallocate(&self, ptr: NonNull<u8>, layout: Layout) {
                    // SAFETY: the caller's promise is the same.
                    unsafe { self.free(ptr, layout) }
                }

                #[inline]
                unsafe fn grow(&self, ptr: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, api::AllocError> {
                    // SAFETY: the caller's promise is the same.
                    unsafe { self.try_resize(ptr, old, new) }.map_err(|_| api::AllocError)
                }

                #[inline]
                unsafe fn grow_zeroed(&self, ptr: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, api::AllocError> {
                    // SAFETY: the caller's promise is the same.
                    unsafe { self.try_resize_zeroed(ptr, old, new) }.map_err(|_| api::AllocError)
                }

                #[inline]
                unsafe fn shrink(&self, ptr: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, api::AllocError> {
                    // SAFETY: the caller's promise is the same.
                    unsafe { self.try_resize(ptr, old, new) }.map_err(|_| api::AllocError)
                }
            }
        };
    };
}

/// Writes `unsafe impl GlobalAlloc` for a type whose `SharedHeap` impl does the work.
macro_rules! impl_global_alloc {
    ([$($generics:tt)*] $type:ty $(where $($bound:tt)*)?) => {
        const _: () = {
            use core::alloc::{GlobalAlloc, Layout};
            use core::ptr::{self, NonNull};

            use crate::heap::SharedHeap;

            // SAFETY: `SharedHeap` keeps what `GlobalAlloc` asks: blocks that fit their layout (S1), no unwinding (S3), null
            // on failure.
            unsafe impl<$($generics)*> GlobalAlloc for $type $(where $($bound)*)? {
                #[inline]
                unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
                    self.try_alloc(layout).map_or(ptr::null_mut(), |block| block.as_ptr().cast())
                }

                #[inline]
                unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
                    self.try_alloc_zeroed(layout).map_or(ptr::null_mut(), |block| block.as_ptr().cast())
                }

                #[inline]
                unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
                    // Null is never a block: freeing it does nothing, as in C.
                    let Some(ptr) = NonNull::new(ptr) else { return };
                    // SAFETY: the caller's promise is the same.
                    unsafe { self.free(ptr, layout) }
                }

                #[inline]
                unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
                    let (Some(ptr), Ok(new)) = (NonNull::new(ptr), Layout::from_size_align(new_size, layout.align()))
                    else {
                        return ptr::null_mut();
                    };
                    // SAFETY: the caller's promise is the same.
                    unsafe { self.try_resize(ptr, layout, new) }.map_or(ptr::null_mut(), |block| block.as_ptr().cast())
                }
            }
        };
    };
}

pub(crate) use {impl_allocators, impl_global_alloc};
