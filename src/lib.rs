// The README's examples are whole programs, without lines for rustdoc to hide: they run where their features are.
#![cfg_attr(
    any(not(doctest), all(feature = "os", feature = "allocator-api2-02")),
    doc = include_str!("../README.md")
)]
#![no_std]
#![cfg_attr(feature = "nightly", feature(allocator_api))]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(feature = "std", feature = "conformance"))]
extern crate std;

pub mod alloc;
pub mod arena;
pub mod cache;
pub mod check;
pub mod combine;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod describe;
pub mod guide;
pub mod heap;
pub mod lock;
mod mem;
pub mod preset;
pub mod sizing;
pub mod slab;
pub mod source;
pub mod trace;

pub use crate::alloc::AllocError;
