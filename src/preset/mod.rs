//! Ready-made heaps.

#[cfg(feature = "std")]
#[expect(
    clippy::allow_attributes,
    reason = "`malloc!` is for statics of any name, and allows what some of them need"
)]
mod slab_malloc;

#[cfg(feature = "std")]
pub use self::slab_malloc::{
    COMPACT_MALLOC, CompactMalloc, CompactSettings, SLAB_MALLOC, SlabMalloc, SlabSettings,
};
