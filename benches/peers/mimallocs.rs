//! mimalloc, of the version that this program is built with.

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys::{mi_free, mi_malloc};
use mimalloc::MiMalloc;

use crate::global::Global;

impl Global for MiMalloc {
    const NAME: &'static str = if cfg!(feature = "twin") { "mimalloc 2" } else { "mimalloc 3" };
    const IT: Self = MiMalloc;
}

/// mimalloc by the C function that asks for no alignment: the crate's allocator always asks for one, which takes three times as many
/// instructions.
pub(crate) struct MiMallocPlain;

// SAFETY: mimalloc aligns to 16 bytes, and nothing here asks for more.
unsafe impl GlobalAlloc for MiMallocPlain {
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: any size will do.
        unsafe { mi_malloc(layout.size()) }.cast()
    }

    #[inline(always)]
    unsafe fn dealloc(&self, ptr: *mut u8, _: Layout) {
        // SAFETY: the caller's promise: it is from `alloc`.
        unsafe { mi_free(ptr.cast()) }
    }
}

impl Global for MiMallocPlain {
    const NAME: &'static str =
        if cfg!(feature = "twin") { "mimalloc 2, unaligned" } else { "mimalloc 3, unaligned" };
    const IT: Self = MiMallocPlain;
}
