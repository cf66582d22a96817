//! C's `malloc` and its kin, for programs that are there already: a shared library over the preset `SlabMalloc`.
//!
//! ```sh
//! cargo build --release --example preload
//! LD_PRELOAD=$PWD/target/release/examples/libpreload.so python3 -c 'print(sum(range(10)))'
//! ```
//! No block has a header. C's `free` says no size, so the size of a block is found from its pointer: the slab of an object is found by masking its address, and
//! says how large its objects are ([`UsableSize`]). Every block is aligned to 16 bytes, as C programs expect.
//!
//! For Linux, whose symbols these are; on other systems the library is empty.

#![cfg(target_os = "linux")]

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};

use heapwright::heap::UsableSize;
use heapwright::preset::SlabMalloc;

/// What any block is aligned to, in bytes: enough for every type of C.
const ALIGN: usize = 16;

/// The layout of a request; `None` if no block can be so large.
fn layout(size: usize, align: usize) -> Option<Layout> {
    // A size of zero still takes a byte, so that every block has an address of its own.
    Layout::from_size_align(size.max(1), align.max(ALIGN)).ok()
}

/// Where this thread's `errno` is.
fn errno() -> NonNull<c_int> {
    // SAFETY: it may be called at any time.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: every thread has one.
    unsafe { NonNull::new_unchecked(place) }
}

/// Sets `errno`, and gives null.
fn fail(error: c_int) -> *mut c_void {
    // SAFETY: the place is this thread's own.
    unsafe { errno().write(error) };
    ptr::null_mut()
}

/// A block, or null and `ENOMEM`.
fn alloc(size: usize, align: usize, zeroed: bool) -> *mut c_void {
    let Some(layout) = layout(size, align) else { return fail(libc::ENOMEM) };
    let block = if zeroed {
        // SAFETY: the size is not zero.
        unsafe { SlabMalloc.alloc_zeroed(layout) }
    } else {
        // SAFETY: the size is not zero.
        unsafe { SlabMalloc.alloc(layout) }
    };
    if block.is_null() { fail(libc::ENOMEM) } else { block.cast() }
}

/// # Safety
/// None is needed.
#[unsafe(no_mangle)]
pub extern "C" fn malloc(size: usize) -> *mut c_void {
    alloc(size, ALIGN, false)
}

/// # Safety
/// None is needed.
#[unsafe(no_mangle)]
pub extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    match count.checked_mul(size) {
        Some(size) => alloc(size, ALIGN, true),
        None => fail(libc::ENOMEM),
    }
}

/// # Safety
/// `ptr` is null, or a live block of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free(ptr: *mut c_void) {
    if let Some(block) = NonNull::new(ptr) {
        // SAFETY: the caller's promise is the same, and no block here is of size zero.
        unsafe { SlabMalloc.free_unsized(block.cast()) };
    }
}

/// A size of zero frees the block and gives null, as glibc does.
///
/// # Safety
/// As [`free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(ptr: *mut c_void, size: usize) -> *mut c_void {
    let Some(block) = NonNull::new(ptr) else { return malloc(size) };
    if size == 0 {
        // SAFETY: the caller's promise is the same.
        unsafe { free(ptr) };
        return ptr::null_mut();
    }
    // SAFETY: the caller's promise is the same.
    let usable = unsafe { SlabMalloc.usable_size(block.cast()) };
    // A little less is not worth a copy.
    if size <= usable && size > usable / 2 {
        return ptr;
    }
    let (Some(old), Some(new)) = (layout(usable, ALIGN), layout(size, ALIGN)) else {
        return fail(libc::ENOMEM);
    };
    // SAFETY: the block is live, and its usable size one that may come back.
    let moved = unsafe { SlabMalloc.realloc(block.cast().as_ptr(), old, new.size()) };
    if moved.is_null() { fail(libc::ENOMEM) } else { moved.cast() }
}

/// # Safety
/// As [`free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reallocarray(ptr: *mut c_void, count: usize, size: usize) -> *mut c_void {
    match count.checked_mul(size) {
        // SAFETY: the caller's promise is the same.
        Some(size) => unsafe { realloc(ptr, size) },
        None => fail(libc::ENOMEM),
    }
}

/// An alignment that is no power of two is rounded up to one, as glibc does.
///
/// # Safety
/// None is needed.
#[unsafe(no_mangle)]
pub extern "C" fn memalign(align: usize, size: usize) -> *mut c_void {
    match align.checked_next_power_of_two() {
        Some(align) => alloc(size, align, false),
        None => fail(libc::EINVAL),
    }
}

/// An alignment has to be a power of two, as C says.
///
/// # Safety
/// None is needed.
#[unsafe(no_mangle)]
pub extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
    if align.is_power_of_two() { alloc(size, align, false) } else { fail(libc::EINVAL) }
}

/// Gives an error number, and leaves `errno` alone.
///
/// # Safety
/// `place` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(place: *mut *mut c_void, align: usize, size: usize) -> c_int {
    if !align.is_power_of_two() || align % size_of::<*mut c_void>() != 0 {
        return libc::EINVAL;
    }
    // SAFETY: the place is this thread's own.
    let before = unsafe { errno().read() };
    let block = alloc(size, align, false);
    // SAFETY: as above.
    unsafe { errno().write(before) };
    if block.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: the caller's promise.
    unsafe { place.write(block) };
    0
}

/// The length of a page.
fn page() -> usize {
    heapwright::source::Pages::page_size()
}

/// # Safety
/// None is needed.
#[unsafe(no_mangle)]
pub extern "C" fn valloc(size: usize) -> *mut c_void {
    alloc(size, page(), false)
}

/// # Safety
/// None is needed.
#[unsafe(no_mangle)]
pub extern "C" fn pvalloc(size: usize) -> *mut c_void {
    match size.max(1).checked_next_multiple_of(page()) {
        Some(size) => alloc(size, page(), false),
        None => fail(libc::ENOMEM),
    }
}

/// # Safety
/// As [`free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_usable_size(ptr: *mut c_void) -> usize {
    // SAFETY: the caller's promise is the same.
    NonNull::new(ptr).map_or(0, |block| unsafe { SlabMalloc.usable_size(block.cast()) })
}

/// Gives back to the OS what is not in use. Always says that there was something.
///
/// # Safety
/// None is needed.
#[unsafe(no_mangle)]
pub extern "C" fn malloc_trim(_: usize) -> c_int {
    SlabMalloc.release();
    1
}
