//! Ready-made heaps. What each is made of stands in its documentation, to be put together anew with other parts where it does not fit;
//! [`composing`](crate::guide::composing) has more.
//!
//! | heap | what for |
//! |---|---|
//! | `SlabMalloc` (feature `std`) | the program's general allocator: fast, for any number of threads |
//! | `CompactMalloc` (feature `std`) | the same parts, set for little memory |
//! | `CheckedMalloc` (feature `std`) | `SlabMalloc` that looks at what comes back: double, foreign and interior frees, wrong layouts |
//! | `HardenedMalloc` (feature `std`) | with all checks there are: red zones, freed memory zeroed and looked at, a quarantine, guard pages |
//! | [`StaticHeap<N, L>`](StaticHeap) | firmware: `N` bytes in `.bss`, the sizing by length, short calls |
//! | [`TinyHeap4KiB<N, L>`](TinyHeap4KiB), [`TinyHeap128KiB`], [`TinyHeap16MiB`] | `N` bytes in `.bss`, the sizing by name |
//! | [`StackFirst<N, A, L>`](StackFirst) | `N` bytes on the stack, and the heap `A` for what does not fit |
//!
//! `L` is the lock, [`SpinLock`](crate::lock::SpinLock) of those for statics and [`NoLock`](crate::lock::NoLock) of `StackFirst` where
//! nothing is said.

#[cfg(all(feature = "std", any(unix, windows)))]
#[expect(
    clippy::allow_attributes,
    reason = "`malloc!` is for statics of any name, and allows what some of them need"
)]
mod slab_malloc;
mod static_heap;
mod tiny_heap;

#[cfg(all(feature = "std", any(unix, windows)))]
pub use self::slab_malloc::{
    CHECKED_MALLOC, COMPACT_MALLOC, CheckedMalloc, CheckedSettings, CompactMalloc, CompactSettings,
    HARDENED_MALLOC, HardenedMalloc, HardenedSettings, SLAB_MALLOC, SlabMalloc, SlabSettings,
};
pub use self::static_heap::{FirmwareSizing, StaticHeap};
pub use self::tiny_heap::{TinyHeap4KiB, TinyHeap16MiB, TinyHeap128KiB, Whole};
pub use crate::combine::StackFirst;
