//! Pages on WebAssembly: `memory.grow`. A linear memory never shrinks, so released pages are kept for reuse.

use core::arch::wasm32::memory_grow;
use core::ptr::{self, NonNull};

use spin::mutex::SpinMutex;

use super::kept::Kept;
use super::{Unsupported, whole};
use crate::AllocError;

/// The page of WebAssembly.
pub(super) const GRANULE: usize = 64 << 10;
/// Pages are aligned to themselves; more would leave gaps for ever.
pub(super) const ALIGN_MAX: usize = GRANULE;

/// What has been released. A linear memory is one for all, as an operating system is.
static KEPT: SpinMutex<Kept> = SpinMutex::new(Kept::new());

/// The length of a page.
pub(super) fn page_size() -> usize {
    GRANULE
}

/// Zero pages: kept ones, or fresh ones. `len` is in whole pages, not zero.
pub(super) fn acquire(len: usize, _: usize) -> Result<NonNull<u8>, AllocError> {
    if let Some(block) = KEPT.lock().take(len) {
        // SAFETY: the run is `len` bytes long, and nobody else's now.
        unsafe { block.write_bytes(0, len) };
        return Ok(block);
    }
    let first = memory_grow::<0>(len / GRANULE);
    // All ones is a refusal. An object may not end at the very top, where the address past it wraps round to zero.
    let address =
        first.checked_mul(GRANULE).filter(|start| start.checked_add(len).is_some()).ok_or(AllocError)?;
    // The memory has no pointer yet: this is where it gets one.
    NonNull::new(ptr::with_exposed_provenance_mut(address)).ok_or(AllocError)
}

/// Keeps a block for reuse.
///
/// # Safety
/// The block is live and `len` bytes long, and nobody uses it again.
pub(super) unsafe fn release(block: NonNull<u8>, len: usize) {
    // SAFETY: the pages are ours again, far longer than a list entry, and parts of the one linear memory.
    unsafe { KEPT.lock().keep(whole(block), len) };
}

/// Fresh pages may belong to anybody.
///
/// # Safety
/// None is needed; it is that of the other systems.
pub(super) unsafe fn extend(_: NonNull<u8>, _: usize, _: usize) -> Result<NonNull<u8>, AllocError> {
    Err(AllocError)
}

/// Pages can't move.
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

/// Keeps the tail of a block for reuse.
///
/// # Safety
/// The block is live and `old_len` bytes long; `new_len`, in whole pages, is less; nobody needs the bytes behind it.
pub(super) unsafe fn shrink(block: NonNull<u8>, old_len: usize, new_len: usize) -> Result<(), AllocError> {
    // SAFETY: `new_len` is less than the block's length.
    let tail = unsafe { block.add(new_len) };
    // SAFETY: the tail is whole pages that nobody needs.
    unsafe { release(tail, old_len - new_len) };
    Ok(())
}

/// Zeroes whole pages.
///
/// # Safety
/// The pages are of a live block, and nobody needs what they hold.
pub(super) unsafe fn purge(start: NonNull<u8>, len: usize) {
    // SAFETY: the caller's promise is the same.
    unsafe { start.write_bytes(0, len) };
}

/// As [`purge`]: the pages stay.
///
/// # Safety
/// As [`purge`].
pub(super) unsafe fn decommit(start: NonNull<u8>, len: usize) {
    // SAFETY: the caller's promise is the same.
    unsafe { purge(start, len) };
}

/// Nothing to do: the pages stayed.
///
/// # Safety
/// None is needed; it is that of the other systems.
pub(super) unsafe fn recommit(_: NonNull<u8>, _: usize) -> Result<(), AllocError> {
    Ok(())
}

/// All memory can be touched.
///
/// # Safety
/// None is needed; it is that of the other systems.
pub(super) unsafe fn set_access(_: NonNull<u8>, _: usize, allowed: bool) -> Result<(), AllocError> {
    if allowed { Ok(()) } else { Err(AllocError) }
}

/// No such advice.
///
/// # Safety
/// None is needed; it is that of the other systems.
pub(super) unsafe fn advise_huge(_: NonNull<u8>, _: usize) -> Result<(), Unsupported> {
    Err(Unsupported)
}

/// None.
pub(super) fn huge_page_size(_: usize) -> Option<usize> {
    None
}
