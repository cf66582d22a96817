//! Every method of every allocator trait reaches the core's own, through every kind of handle, and keeps its contract.
#![cfg(any(
    feature = "allocator-api2-02",
    feature = "allocator-api2-03",
    feature = "allocator-api2-04",
    feature = "nightly"
))]
#![cfg_attr(feature = "nightly", feature(allocator_api))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::RefCell;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::heap::{Heap, Locked};
use heapwright::lock::{NoLock, SpinLock};

thread_local! {
    /// The core's methods that were called on this thread, a letter each.
    static CALLS: RefCell<String> = const { RefCell::new(String::new()) };
}

fn called(method: char) {
    CALLS.with_borrow_mut(|calls| calls.push(method));
}

/// The calls since the last time.
fn calls() -> String {
    CALLS.take()
}

/// The system's heap; it notes which methods are called, and refuses what is larger than 1 MiB.
struct Recorder;

const SIZE_MAX: usize = 1 << 20;

// SAFETY: H1, H3, H4: the system's allocator keeps them. H2: the blocks are the system's. H5: nothing calls the shell. H6: refused.
unsafe impl Heap for Recorder {
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        called('a');
        if layout.size() == 0 || layout.size() > SIZE_MAX {
            return Err(AllocError);
        }
        // SAFETY: the size is above zero.
        let ptr = NonNull::new(unsafe { System.alloc(layout) }).ok_or(AllocError)?;
        // SAFETY: the block is that long. Filled, so that nothing is zero by accident.
        unsafe { ptr.write_bytes(0xaa, layout.size()) };
        Ok(NonNull::slice_from_raw_parts(ptr, layout.size()))
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        called('d');
        // SAFETY: the caller's promise; the block is the system's.
        unsafe { System.dealloc(ptr.as_ptr(), layout) }
    }

    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        called('z');
        if layout.size() == 0 || layout.size() > SIZE_MAX {
            return Err(AllocError);
        }
        // SAFETY: the size is above zero.
        let ptr = NonNull::new(unsafe { System.alloc_zeroed(layout) }).ok_or(AllocError)?;
        Ok(NonNull::slice_from_raw_parts(ptr, layout.size()))
    }

    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        called('r');
        if old.size() != new.size() || new.align() > old.align() {
            return Err(AllocError);
        }
        Ok(NonNull::slice_from_raw_parts(ptr, old.size()))
    }
}

type Shell = Locked<Recorder, NoLock>;

heapwright::instance! {
    static NAMED as Named: Locked<Recorder, SpinLock> = Locked::new(Recorder);
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap_or(Layout::new::<()>())
}

/// The bytes of a block.
///
/// # Safety
/// The block is live, written, and not written to while the slice is in use.
unsafe fn bytes<'a>(block: NonNull<[u8]>) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe { block.as_ref() }
}

macro_rules! allocator_tests {
    ($name:ident, $api:path) => {
        mod $name {
            use super::*;
            use $api as api;

            use api::Allocator;

            fn forwards(heap: &impl Allocator) {
                let _ = calls();
                let (old, new) = (layout(24, 8), layout(40, 32));
                let block = heap.allocate(old).unwrap();
                assert_eq!((calls().as_str(), block.len()), ("a", 24));
                // SAFETY: live, of this heap, with its layout; so below, each block by the layout it was last given.
                let block = unsafe { heap.grow(block.cast(), old, new) }.unwrap();
                assert_eq!(calls(), "rad", "the default resize of a core: in place, or alloc, copy, dealloc");
                assert_eq!(block.cast::<u8>().addr().get() % 32, 0);
                // SAFETY: as above.
                let block = unsafe { heap.shrink(block.cast(), new, layout(40, 16)) }.unwrap();
                assert_eq!(calls(), "r");
                // SAFETY: as above.
                let block = unsafe { heap.shrink(block.cast(), layout(40, 16), layout(4, 16)) }.unwrap();
                assert_eq!(calls(), "rad");
                // SAFETY: as above.
                unsafe { heap.deallocate(block.cast(), layout(4, 16)) };
                assert_eq!(calls(), "d");
            }

            fn zeroes(heap: &impl Allocator) {
                let _ = calls();
                let (old, new) = (layout(24, 8), layout(100, 8));
                let block = heap.allocate_zeroed(old).unwrap();
                assert_eq!(calls(), "z");
                // SAFETY: live and zeroed.
                assert_eq!(unsafe { bytes(block) }, [0; 24]);
                // SAFETY: the block is 24 bytes long.
                unsafe { block.cast::<u8>().write_bytes(7, 24) };
                // SAFETY: live, of this heap, with its layout.
                let block = unsafe { heap.grow_zeroed(block.cast(), old, new) }.unwrap();
                // SAFETY: live, the old bytes kept and the rest zeroed.
                let (kept, rest) = unsafe { bytes(block) }.split_at(24);
                assert_eq!((kept, rest), (&[7; 24][..], &[0; 76][..]));
                // SAFETY: live, of this heap, with its layout.
                unsafe { heap.deallocate(block.cast(), new) };

                let empty = heap.allocate_zeroed(layout(0, 64)).unwrap();
                // SAFETY: a block of size zero of this heap.
                let block = unsafe { heap.grow_zeroed(empty.cast(), layout(0, 64), new) }.unwrap();
                // SAFETY: live and zeroed.
                assert_eq!(unsafe { bytes(block) }, [0; 100]);
                // SAFETY: live, of this heap, with its layout.
                unsafe { heap.deallocate(block.cast(), new) };
            }

            fn keeps_size_zero_away(heap: &impl Allocator) {
                let _ = calls();
                let (none, some) = (layout(0, 64), layout(8, 64));
                let empty = heap.allocate(none).unwrap();
                assert_eq!((empty.len(), empty.cast::<u8>().addr().get() % 64), (0, 0));
                // SAFETY: a block of size zero of this heap.
                unsafe { heap.deallocate(empty.cast(), none) };
                // SAFETY: as above; it stays valid, since size zero takes nothing.
                let block = unsafe { heap.grow(empty.cast(), none, some) }.unwrap();
                assert_eq!(calls(), "a");
                // SAFETY: live, of this heap, with its layout.
                let empty = unsafe { heap.shrink(block.cast(), some, none) }.unwrap();
                assert_eq!((calls().as_str(), empty.len()), ("d", 0));
                // SAFETY: a block of size zero of this heap.
                unsafe { heap.deallocate(empty.cast(), none) };
                assert_eq!(calls(), "");
            }

            fn reports_failure(heap: &impl Allocator) {
                let (small, large) = (layout(16, 8), layout(SIZE_MAX + 1, 8));
                assert_eq!(heap.allocate(large), Err(api::AllocError));
                assert_eq!(heap.allocate_zeroed(large), Err(api::AllocError));
                let block = heap.allocate(small).unwrap();
                // SAFETY: live, of this heap, with its layout.
                assert_eq!(unsafe { heap.grow(block.cast(), small, large) }, Err(api::AllocError));
                // SAFETY: as above: after an error the block is as it was.
                assert_eq!(unsafe { heap.grow_zeroed(block.cast(), small, large) }, Err(api::AllocError));
                // SAFETY: live and written by the core.
                assert_eq!(unsafe { bytes(block) }, [0xaa; 16]);
                // SAFETY: live, of this heap, with its layout.
                unsafe { heap.deallocate(block.cast(), small) };
            }

            fn all(heap: &impl Allocator) {
                forwards(heap);
                zeroes(heap);
                keeps_size_zero_away(heap);
                reports_failure(heap);
            }

            #[test]
            fn by_value() {
                all(&Shell::new(Recorder));
            }

            #[test]
            fn by_reference() {
                all(&&Shell::new(Recorder));
            }

            #[test]
            fn by_handle() {
                all(&Named);
            }

            #[test]
            fn by_trait_object() {
                let shell = Shell::new(Recorder);
                let heaps: [&dyn Allocator; 2] = [&shell, &Named];
                for heap in heaps {
                    all(&heap);
                }
            }
        }
    };
}

#[cfg(feature = "allocator-api2-02")]
allocator_tests!(version_02, allocator_api2_02::alloc);
#[cfg(feature = "allocator-api2-03")]
allocator_tests!(version_03, allocator_api2_03::alloc);
#[cfg(feature = "allocator-api2-04")]
allocator_tests!(version_04, allocator_api2_04::alloc);
#[cfg(feature = "nightly")]
allocator_tests!(version_core, core::alloc);

fn as_global(heap: &impl GlobalAlloc) {
    let _ = calls();
    let small = layout(24, 8);
    // SAFETY: the layout is not of size zero; so below.
    let ptr = unsafe { heap.alloc(small) };
    assert!(!ptr.is_null() && calls() == "a");
    // SAFETY: live, of this heap, with its layout.
    let ptr = unsafe { heap.realloc(ptr, small, 100) };
    assert!(!ptr.is_null());
    assert_eq!(calls(), "rad");
    // SAFETY: as above.
    assert!(unsafe { heap.realloc(ptr, layout(100, 8), SIZE_MAX + 1) }.is_null());
    // SAFETY: as above: after a null the block is as it was.
    assert!(unsafe { heap.realloc(ptr, layout(100, 8), isize::MAX as usize) }.is_null());
    let _ = calls();
    // SAFETY: as above.
    unsafe { heap.dealloc(ptr, layout(100, 8)) };
    assert_eq!(calls(), "d");
    // SAFETY: the layout is not of size zero.
    let ptr = unsafe { heap.alloc_zeroed(small) };
    assert_eq!(calls(), "z");
    // SAFETY: live, of this heap, with its layout.
    unsafe { heap.dealloc(ptr, small) };
    // SAFETY: the layout is not of size zero.
    assert!(unsafe { heap.alloc(layout(SIZE_MAX + 1, 8)) }.is_null());
}

#[test]
fn global_by_value() {
    as_global(&Shell::new(Recorder));
}

#[test]
fn global_by_handle() {
    as_global(&Named);
}
