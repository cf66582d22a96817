//! Pages on Windows: `VirtualAlloc` and `VirtualFree`.

use core::ffi::c_void;
use core::ptr::{self, NonNull};

use windows_sys::Win32::System::Memory::{
    MEM_COMMIT, MEM_DECOMMIT, MEM_RELEASE, MEM_RESERVE, PAGE_NOACCESS, PAGE_READWRITE,
    VIRTUAL_ALLOCATION_TYPE, VirtualAlloc, VirtualFree, VirtualProtect,
};
use windows_sys::Win32::System::SystemInformation::{GetSystemInfo, SYSTEM_INFO};

use super::Unsupported;
use crate::AllocError;

/// No Windows has smaller pages.
pub(super) const GRANULE: usize = 4096;
/// As far as reserving more is reasonable.
pub(super) const ALIGN_MAX: usize = 1 << 30;

/// The alignment that every reservation has: the allocation granularity, 64 KiB on every Windows.
const RESERVED_ALIGN: usize = 64 << 10;
/// How often an aligned place is tried for: it is lost only if another thread takes it between two calls.
const TRIES_MAX: usize = 16;

/// The length of a page.
pub(super) fn page_size() -> usize {
    let mut info = SYSTEM_INFO::default();
    // SAFETY: the pointer is good for a whole `SYSTEM_INFO`.
    unsafe { GetSystemInfo(&raw mut info) };
    info.dwPageSize as usize
}

/// `VirtualAlloc` for reading and writing, at `place` or (null) anywhere.
///
/// # Safety
/// `place` is null, or lies in no reservation, or (with `MEM_COMMIT` alone) in one of ours.
unsafe fn virtual_alloc(
    place: *const c_void,
    len: usize,
    how: VIRTUAL_ALLOCATION_TYPE,
) -> Option<NonNull<u8>> {
    // SAFETY: the caller's promise: no page that is in use is touched; a place that is taken is refused.
    NonNull::new(unsafe { VirtualAlloc(place, len, how, PAGE_READWRITE) }.cast())
}

/// Fresh pages. `len` is in whole pages, not zero.
///
/// A reservation can only be released whole, so an aligned place is found by reserving more, releasing that, and asking for the
/// aligned place in it.
pub(super) fn acquire(len: usize, align: usize) -> Result<NonNull<u8>, AllocError> {
    let at_once = MEM_RESERVE | MEM_COMMIT;
    if align <= RESERVED_ALIGN {
        // SAFETY: no place is asked for.
        return unsafe { virtual_alloc(ptr::null(), len, at_once) }.ok_or(AllocError);
    }
    let total = len.checked_add(align - RESERVED_ALIGN).ok_or(AllocError)?;
    for _ in 0..TRIES_MAX {
        // SAFETY: no place is asked for.
        let start = unsafe { virtual_alloc(ptr::null(), total, MEM_RESERVE) }.ok_or(AllocError)?;
        let head = start.addr().get().wrapping_neg() & (align - 1);
        let place = start.as_ptr().wrapping_add(head);
        // SAFETY: the reservation is ours, whole, and nobody knows of it.
        unsafe { release(start, total) };
        // SAFETY: the place lay in a reservation that is no more; if another has been made there, the call fails.
        if let Some(block) = unsafe { virtual_alloc(place.cast(), len, at_once) } {
            return Ok(block);
        }
    }
    Err(AllocError)
}

/// Gives a block back.
///
/// # Safety
/// The block is live (a reservation of its own), and nobody uses it again.
pub(super) unsafe fn release(block: NonNull<u8>, _: usize) {
    // SAFETY: the start of a reservation of ours; with `MEM_RELEASE` the size must be zero: the whole goes.
    unsafe { VirtualFree(block.as_ptr().cast(), 0, MEM_RELEASE) };
}

/// A reservation can't grow.
///
/// # Safety
/// None is needed; it is that of the other systems.
pub(super) unsafe fn extend(_: NonNull<u8>, _: usize, _: usize) -> Result<NonNull<u8>, AllocError> {
    Err(AllocError)
}

/// A reservation can't move.
///
/// # Safety
/// None is needed; it is that of the other systems.
pub(super) unsafe fn remap(_: NonNull<u8>, _: usize, _: usize) -> Result<NonNull<u8>, AllocError> {
    Err(AllocError)
}

/// Pages can't be moved here.
///
/// # Safety
/// None is needed; it is that of the others.
pub(super) unsafe fn relocate(_: NonNull<u8>, _: usize, _: NonNull<[u8]>) -> Result<(), AllocError> {
    Err(AllocError)
}

/// A reservation can't shrink.
///
/// # Safety
/// None is needed; it is that of the other systems.
pub(super) unsafe fn shrink(_: NonNull<u8>, _: usize, _: usize) -> Result<(), AllocError> {
    Err(AllocError)
}

/// Zeroes whole pages by hand: decommitting them would need a commit afterwards, and that can fail.
///
/// # Safety
/// The pages are of a live block, and nobody needs what they hold.
pub(super) unsafe fn purge(start: NonNull<u8>, len: usize) {
    // SAFETY: the caller's promise is the same.
    unsafe { start.write_bytes(0, len) };
}

/// Lets pages be touched, or not.
///
/// # Safety
/// Whole pages of a live block; if they may not be touched, nobody does.
pub(super) unsafe fn set_access(start: NonNull<u8>, len: usize, allowed: bool) -> Result<(), AllocError> {
    let access = if allowed { PAGE_READWRITE } else { PAGE_NOACCESS };
    let mut before = 0;
    // SAFETY: the caller's promise; `before` is a place for the former access.
    let done = unsafe { VirtualProtect(start.as_ptr().cast(), len, access, &raw mut before) };
    if done == 0 { Err(AllocError) } else { Ok(()) }
}

/// Gives the memory behind whole pages back; they can't be touched until they are recommitted.
///
/// # Safety
/// The pages are of a live block, nobody needs what they hold, and nobody touches them until they are recommitted.
pub(super) unsafe fn decommit(start: NonNull<u8>, len: usize) {
    // SAFETY: whole, committed pages of a reservation of ours.
    if unsafe { VirtualFree(start.as_ptr().cast(), len, MEM_DECOMMIT) } == 0 {
        // Refused, so the pages are still there, and must read as zero after `recommit`.
        // SAFETY: the pages are of a live block.
        unsafe { start.write_bytes(0, len) };
    }
}

/// Makes decommitted pages usable again, zero.
///
/// # Safety
/// The pages are of a live block, and decommitted.
pub(super) unsafe fn recommit(start: NonNull<u8>, len: usize) -> Result<(), AllocError> {
    // SAFETY: the pages lie in a reservation of ours; committing keeps those that are committed.
    unsafe { virtual_alloc(start.as_ptr().cast(), len, MEM_COMMIT) }.map(drop).ok_or(AllocError)
}

/// Large pages need a privilege and a reservation of their own kind.
///
/// # Safety
/// None is needed; it is that of the other systems.
pub(super) unsafe fn advise_huge(_: NonNull<u8>, _: usize) -> Result<(), Unsupported> {
    Err(Unsupported)
}

/// None that a block of ours can have.
pub(super) fn huge_page_size(_: usize) -> Option<usize> {
    None
}
