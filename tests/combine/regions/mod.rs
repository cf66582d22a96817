//! Blocks about regions and lifetimes: `Region` and its scopes, `Ring` and its frames, `Chain`, `Scoped`, `Shared`, `DynHeap`.

#[cfg(feature = "alloc")]
mod chain;
#[cfg(all(feature = "std", feature = "allocator-api2-02", feature = "allocator-api2-04"))]
mod handles;
mod probe;
#[cfg(feature = "alloc")]
mod refused;
#[cfg(feature = "alloc")]
mod region;
#[cfg(all(feature = "std", feature = "allocator-api2-04"))]
mod ring;
#[cfg(feature = "alloc")]
mod scoped;
#[cfg(all(feature = "std", feature = "allocator-api2-04"))]
mod scopes;
#[cfg(feature = "alloc")]
mod shadow;
#[cfg(feature = "alloc")]
mod strangers;

use std::alloc::Layout;

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a valid layout")
}
