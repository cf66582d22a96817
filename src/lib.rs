#![doc = include_str!("../README.md")]
#![no_std]
#![cfg_attr(feature = "nightly", feature(allocator_api))]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "std")]
extern crate std;

pub mod alloc;
pub mod arena;
pub mod guide;
pub mod heap;
pub mod lock;
mod mem;
pub mod preset;
pub mod sizing;
pub mod slab;
pub mod source;

pub use crate::alloc::AllocError;
