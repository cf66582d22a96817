//! Each preset's four calls as a global allocator, under names that a disassembler finds.

use std::alloc::{GlobalAlloc, Layout};

use heapwright::preset::{
    CompactMalloc, SlabMalloc, StaticHeap, TinyHeap4KiB, TinyHeap16MiB, TinyHeap128KiB,
};

macro_rules! entries {
    ($($heap:expr => $alloc:ident, $zeroed:ident, $dealloc:ident, $realloc:ident;)*) => {$(
        /// # Safety
        /// `size` and `align` make a layout, and `size` is not zero.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $alloc(size: usize, align: usize) -> *mut u8 {
            // SAFETY: the caller's promise.
            let layout = unsafe { Layout::from_size_align_unchecked(size, align) };
            // SAFETY: the same.
            unsafe { $heap.alloc(layout) }
        }

        /// # Safety
        /// As the above.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $zeroed(size: usize, align: usize) -> *mut u8 {
            // SAFETY: the caller's promise.
            let layout = unsafe { Layout::from_size_align_unchecked(size, align) };
            // SAFETY: the same.
            unsafe { $heap.alloc_zeroed(layout) }
        }

        /// # Safety
        /// The block is live, and its layout this one.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $dealloc(block: *mut u8, size: usize, align: usize) {
            // SAFETY: the caller's promise.
            let layout = unsafe { Layout::from_size_align_unchecked(size, align) };
            // SAFETY: the same.
            unsafe { $heap.dealloc(block, layout) };
        }

        /// # Safety
        /// The block is live, and its layout this one; `new` and `align` make a layout, and `new` is not zero.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $realloc(block: *mut u8, size: usize, align: usize, new: usize) -> *mut u8 {
            // SAFETY: the caller's promise.
            let layout = unsafe { Layout::from_size_align_unchecked(size, align) };
            // SAFETY: the same.
            unsafe { $heap.realloc(block, layout, new) }
        }
    )*};
}

static STATIC: StaticHeap<{ 64 << 10 }> = StaticHeap::new();
static TINY_4KIB: TinyHeap4KiB<4096> = TinyHeap4KiB::new();
static TINY_128KIB: TinyHeap128KiB<{ 64 << 10 }> = TinyHeap128KiB::new();
static TINY_16MIB: TinyHeap16MiB<{ 1 << 20 }> = TinyHeap16MiB::new();

entries! {
    STATIC => entry_static_heap_alloc, entry_static_heap_zeroed, entry_static_heap_dealloc, entry_static_heap_realloc;
    TINY_4KIB => entry_tiny_4kib_alloc, entry_tiny_4kib_zeroed, entry_tiny_4kib_dealloc, entry_tiny_4kib_realloc;
    TINY_128KIB => entry_tiny_128kib_alloc, entry_tiny_128kib_zeroed, entry_tiny_128kib_dealloc, entry_tiny_128kib_realloc;
    TINY_16MIB => entry_tiny_16mib_alloc, entry_tiny_16mib_zeroed, entry_tiny_16mib_dealloc, entry_tiny_16mib_realloc;
    SlabMalloc => entry_slab_malloc_alloc, entry_slab_malloc_zeroed, entry_slab_malloc_dealloc, entry_slab_malloc_realloc;
    CompactMalloc => entry_compact_malloc_alloc, entry_compact_malloc_zeroed, entry_compact_malloc_dealloc, entry_compact_malloc_realloc;
}
