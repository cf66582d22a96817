//! Any `Allocator` as a source: one wrapper for each version of the trait.

/// Writes the wrapper for one version of the trait.
macro_rules! from_allocator {
    ($name:ident, $api:path, $trait_name:literal, $example:literal) => {
        #[doc = concat!("Any ", $trait_name, " as a source of blocks.")]
        ///
        /// Choose it to put arenas, slabs and caches over an allocator that is already there: the program's own, an arena of another
        /// crate, or a heap of this one. It is the wrapped allocator's size, and costs what that costs.
        ///
        /// Blocks may have any size, and any alignment up to 1 GiB; an allocator that gives less than that answers with
        /// an error. The allocator must be one that does not unwind, and not the heap that is built over this source.
        ///
        #[doc = $example]
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name<A> {
            /// Never handed out by `&mut`: that could end the life of its blocks.
            allocator: A,
        }

        const _: () = {
            use core::alloc::Layout;
            use core::ptr::NonNull;

            use $api as api;

            use crate::AllocError;
            use crate::describe::{describe_leaf, name};
            use crate::source::BackingSource;

            impl<A: api::Allocator> $name<A> {
                /// A source of `allocator`'s blocks.
                #[must_use]
                pub const fn new(allocator: A) -> Self {
                    $name { allocator }
                }

                /// The allocator.
                #[must_use]
                pub const fn allocator(&self) -> &A {
                    &self.allocator
                }

                /// The allocator, no longer a source.
                #[must_use]
                pub fn into_inner(self) -> A {
                    self.allocator
                }
            }

            // SAFETY: B1: `Allocator` promises blocks that fit their layout, are valid until the allocator is dropped, and survive
            // its moves. B2: any layout may be asked of it; nothing is promised of contents. B3: an allocator does not
            // unwind (core's contract). B4: an error leaves nothing behind. B5: only the allocator is called.
            // B6: the default, for a granule of one. B7: clones of an allocator are one allocator (its contract).
            unsafe impl<A: api::Allocator> BackingSource for $name<A> {
                const GRANULE: usize = 1;
                const ALIGN_MAX: usize = 1 << 30;

                fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
                    if layout.size() == 0 || layout.align() > Self::ALIGN_MAX {
                        return Err(AllocError);
                    }
                    self.allocator.allocate(layout).map_err(|_| AllocError)
                }

                unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
                    // SAFETY: the caller's promise: the block is live, and the layout fits it.
                    unsafe { self.allocator.deallocate(block, layout) };
                }
            }

            // Allocators of others don't say what they are made of.
    describe_leaf!([A] $name<A>, "{} over {}", stringify!($name), name::<A>());
        };
    };
}

// With `nightly`, 0.2 re-exports core's trait, and this wrapper takes it.
#[cfg(feature = "allocator-api2-02")]
from_allocator!(
    FromAllocator02,
    allocator_api2_02::alloc,
    "`Allocator` of allocator-api2 0.2 (hashbrown's and bumpalo's)",
    "```
# #![cfg_attr(feature = \"nightly\", feature(allocator_api))]
use core::alloc::Layout;
# #[cfg(feature = \"alloc\")] {
use allocator_api2_02::alloc::Global;
use heapwright::source::{BackingSource, FromAllocator02};

let mut source = FromAllocator02::new(Global);
let layout = Layout::new::<[u64; 1000]>();
let block = source.acquire(layout)?;
// SAFETY: the block is live, and its layout this one.
unsafe { source.release(block.cast(), layout) };
# }
# Ok::<(), heapwright::AllocError>(())
```"
);

#[cfg(feature = "allocator-api2-03")]
from_allocator!(
    FromAllocator03,
    allocator_api2_03::alloc,
    "`Allocator` of allocator-api2 0.3",
    "```
use core::alloc::Layout;
# #[cfg(feature = \"alloc\")] {
use allocator_api2_03::alloc::Global;
use heapwright::source::{BackingSource, FromAllocator03};

let mut source = FromAllocator03::new(Global);
let layout = Layout::new::<[u64; 1000]>();
let block = source.acquire(layout)?;
// SAFETY: the block is live, and its layout this one.
unsafe { source.release(block.cast(), layout) };
# }
# Ok::<(), heapwright::AllocError>(())
```"
);

#[cfg(feature = "allocator-api2-04")]
from_allocator!(
    FromAllocator04,
    allocator_api2_04::alloc,
    "`Allocator` of allocator-api2 0.4",
    "```
use core::alloc::Layout;
# #[cfg(feature = \"alloc\")] {
use allocator_api2_04::alloc::Global;
use heapwright::source::{BackingSource, FromAllocator04};

let mut source = FromAllocator04::new(Global);
let layout = Layout::new::<[u64; 1000]>();
let block = source.acquire(layout)?;
// SAFETY: the block is live, and its layout this one.
unsafe { source.release(block.cast(), layout) };
# }
# Ok::<(), heapwright::AllocError>(())
```"
);

#[cfg(feature = "nightly")]
from_allocator!(
    FromCoreAllocator,
    core::alloc,
    "`Allocator` of core (unstable)",
    "```
#![feature(allocator_api)]
use core::alloc::Layout;
use heapwright::source::{BackingSource, FromCoreAllocator};

let mut source = FromCoreAllocator::new(std::alloc::Global);
let layout = Layout::new::<[u64; 1000]>();
let block = source.acquire(layout)?;
// SAFETY: the block is live, and its layout this one.
unsafe { source.release(block.cast(), layout) };
# Ok::<(), heapwright::AllocError>(())
```"
);
