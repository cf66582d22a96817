//! Ready-made heaps.

#[cfg(feature = "std")]
mod slab_malloc;

#[cfg(feature = "std")]
pub use self::slab_malloc::{
    COMPACT_MALLOC, CompactMalloc, CompactSettings, SLAB_MALLOC, SlabMalloc, SlabSettings,
};
