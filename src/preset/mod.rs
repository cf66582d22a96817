//! Ready-made heaps: each an alias or a declaration of a few lines over public parts, which its documentation shows, so that any of them can be changed.
//!
//! | preset | for |
//! |---|---|
//! | `SlabMalloc` (feature `std`) | the program's general allocator: fast, for any number of threads |
//! | `CompactMalloc` (feature `std`) | the same parts, set for little memory |
//! | [`StaticHeap`] | firmware: a heap in a static array |
//! | [`TinyHeap4KiB`], [`TinyHeap128KiB`], [`TinyHeap16MiB`] | the same, by how small it is |
//! | [`StackFirst`] | some bytes on the stack first, then another heap |

#[cfg(all(feature = "std", any(unix, windows)))]
#[expect(
    clippy::allow_attributes,
    reason = "`malloc!` is for statics of any name, and allows what some of them need"
)]
mod slab_malloc;

#[cfg(all(feature = "std", any(unix, windows)))]
pub use self::slab_malloc::{
    COMPACT_MALLOC, CompactMalloc, CompactSettings, SLAB_MALLOC, SlabMalloc, SlabSettings,
};
