//! Teaspoon arenas: heaps of any layout in one region, without a header on any live object.
//!
//! An arena manages one region: a byte array, a static, a block of pages. Rust gives an object's [`Layout`](::core::alloc::Layout) back when
//! it is freed, so a live object needs no header: it takes its size, rounded up to the granule, and nothing else. What the
//! arena must know lies in tables at the region's front (1 bit per granule) and inside free memory.
//!
//! | type | the region is | lock outside |
//! |---|---|---|
//! | [`Teaspoon`] | borrowed: a slice or an array of `MaybeUninit<u8>`, raw memory | any, in the type |
//! | [`StaticArena`] | its own, inline, for a `static` | any, in the type |
//! | [`SourceTeaspoon`] | one block of a backing source, given back on drop | any, in the type |
//!
//! [`Arena`] and [`SourceArena`] are the cores of the first and the last, without a lock.
//!
//! The numbers come from a [`Sizing`](crate::sizing::Sizing); see [`crate::sizing`] for those that exist and for writing your own.
//!
//! ```
//! use core::mem::MaybeUninit;
//! use heapwright::arena::Teaspoon;
//! use heapwright::lock::NoLock;
//! use heapwright::sizing::Sizing4KiB;
//!
//! let mut memory = [MaybeUninit::uninit(); 1024];
//! let spoon = Teaspoon::<Sizing4KiB, NoLock>::from_slice(&mut memory);
//! # #[cfg(feature = "allocator-api2-04")] {
//! use allocator_api2_04::{boxed::Box, vec::Vec};
//! let mut words = Vec::new_in(&spoon);
//! words.push(Box::new_in("teaspoon", &spoon));
//! assert_eq!(spoon.usage().objects, 2);
//! # }
//! ```

mod bins;
mod core;
mod links;
mod notes;
mod quick;
mod region;
mod resize;
mod runs;
mod scrub;
mod shape;
mod sourced;
mod static_arena;
#[cfg(test)]
mod tests;
mod view;
mod walk;

pub use self::region::{Arena, Teaspoon, Teaspoon4KiB, Teaspoon16MiB, Teaspoon128KiB};
pub use self::sourced::{SourceArena, SourceTeaspoon};
pub use self::static_arena::StaticArena;
pub use self::view::View;
