//! Magazines: caches for many threads, without a lock for most operations.

mod depot;
mod front;
mod handle;
mod heap_slots;
mod layer;
mod magazined;
mod per_cpu;
#[cfg(feature = "std")]
mod per_thread;

pub use self::depot::MagazineStats;
pub use self::handle::Handle;
pub use self::heap_slots::HeapSlots;
pub use self::magazined::Magazined;
pub use self::per_cpu::PerCpu;
#[cfg(feature = "std")]
pub use self::per_thread::{FrontPointer, PerThread, ThreadFront, ThreadFronts};

// For `magazined!`, whose user may be a crate without std in scope.
#[cfg(feature = "std")]
#[doc(hidden)]
pub use std::thread_local;
