//! Pages on Unix: `mmap` and its kin, through rustix.

use core::ptr::{self, NonNull};

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use super::{Pages, Unsupported};
use crate::AllocError;

/// No supported Unix has smaller pages.
pub(super) const GRANULE: usize = 4096;
/// As far as mapping more and trimming is reasonable: the largest huge page in use.
pub(super) const ALIGN_MAX: usize = 1 << 30;

/// The length of a page.
///
/// The kernel refuses advice about an address that is no multiple of its page, and takes it about zero bytes anywhere: so the
/// first power of two that it takes is the page. (rustix's own answer may panic or allocate on Linux, and no source may.)
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn page_size() -> usize {
    let page = |shift: &u32| {
        let address = ptr::without_provenance_mut(1 << shift);
        // SAFETY: advice about zero bytes touches none.
        unsafe { rustix::mm::madvise(address, 0, rustix::mm::Advice::Normal) }.is_ok()
    };
    // 4 KiB to 1 MiB: Linux has pages of up to 256 KiB. A sandbox may forbid even this call: then trust the last.
    (12..=20).find(page).map_or_else(rustix::param::page_size, |shift| 1 << shift)
}

/// The length of a page.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn page_size() -> usize {
    rustix::param::page_size()
}

/// Maps `len` bytes wherever there is room.
fn map(len: usize) -> Result<NonNull<u8>, AllocError> {
    let protection = ProtFlags::READ.union(ProtFlags::WRITE);
    // SAFETY: no address is asked for, so no mapping is replaced.
    let start = unsafe { mmap_anonymous(ptr::null_mut(), len, protection, MapFlags::PRIVATE) };
    start.ok().and_then(|start| NonNull::new(start.cast())).ok_or(AllocError)
}

/// Fresh pages. `len` is in whole pages, not zero.
///
/// ```text
///     start                 block                    block + len           start + len + slack
///       |------- head --------|-------- len -----------|------- tail ---------|
///       |     unmapped        |     handed out         |     unmapped         |
/// ```
/// The kernel's start is aligned to a page, so `align - page` bytes of slack are enough.
///
/// A length in multiples of the alignment is first asked for as it is: kernels put mappings side by side, so behind one such block
/// the next one falls into place by itself.
pub(super) fn acquire(len: usize, align: usize) -> Result<NonNull<u8>, AllocError> {
    let page = Pages::page_size();
    if align <= page {
        return map(len);
    }
    if len & (align - 1) == 0 {
        let block = map(len)?;
        if block.addr().get() & (align - 1) == 0 {
            return Ok(block);
        }
        // SAFETY: the block is fresh, and nobody knows of it.
        unsafe { release(block, len) };
    }
    let slack = align - page;
    let start = map(len.checked_add(slack).ok_or(AllocError)?)?;
    let head = start.addr().get().wrapping_neg() & (align - 1);
    // SAFETY: `head` is at most `slack`: `start` is a multiple of the page.
    let block = unsafe { start.add(head) };
    // SAFETY: `block + len` is at most the end of the mapping, for the same reason.
    let tail = unsafe { block.add(len) };
    // SAFETY: the head is ours, in whole pages, and nobody knows of it.
    let head_gone = unsafe { unmap(start, head) };
    // SAFETY: the tail is ours, in whole pages, and nobody knows of it.
    let tail_gone = unsafe { unmap(tail, slack - head) };
    if head_gone && tail_gone {
        return Ok(block);
    }
    // The process has as many mappings as the kernel allows, and cutting would make one more. What is left of the whole goes
    // in one piece, which needs no cut.
    let (first, rest) = if head_gone { (block, len) } else { (start, head + len) };
    let rest = if tail_gone { rest } else { rest + (slack - head) };
    // SAFETY: the range is what is still mapped of a mapping that nobody knows of.
    unsafe { unmap(first, rest) };
    Err(AllocError)
}

/// Unmaps `len` bytes; tells if it worked. Zero bytes are none.
///
/// # Safety
/// The range is mapped by this file, in whole pages, and nobody uses it.
unsafe fn unmap(start: NonNull<u8>, len: usize) -> bool {
    // SAFETY: the caller's promise is the same.
    len == 0 || unsafe { munmap(start.as_ptr().cast(), len) }.is_ok()
}

/// Unmaps a block.
///
/// # Safety
/// The block is live and `len` bytes long, and nobody uses it again.
pub(super) unsafe fn release(block: NonNull<u8>, len: usize) {
    // SAFETY: the caller's promise is the same.
    if !unsafe { unmap(block, len) } {
        // The kernel merges neighbours, and cutting this one out would be a mapping too many. The addresses are lost, but the
        // memory behind them need not be.
        // SAFETY: whole pages of a block that nobody uses.
        unsafe { advise_unneeded(block, len) };
    }
}

/// Maps more behind a block; gives the same address, good for all of it.
///
/// # Safety
/// The block is live and `old_len` bytes long; `new_len`, in whole pages, is more.
#[cfg(target_os = "linux")]
pub(super) unsafe fn extend(
    block: NonNull<u8>,
    old_len: usize,
    new_len: usize,
) -> Result<NonNull<u8>, AllocError> {
    let flags = rustix::mm::MremapFlags::empty();
    // SAFETY: the range is a live mapping of ours; without `MAYMOVE` it stays where it is, and nothing is unmapped.
    let start = unsafe { rustix::mm::mremap(block.as_ptr().cast(), old_len, new_len, flags) };
    start.ok().and_then(|start| NonNull::new(start.cast())).ok_or(AllocError)
}

/// Moves a block to where there is room for more.
///
/// # Safety
/// The block is live and `old_len` bytes long; `new_len`, in whole pages, is more. On success the old addresses are dead.
#[cfg(target_os = "linux")]
pub(super) unsafe fn remap(
    block: NonNull<u8>,
    old_len: usize,
    new_len: usize,
) -> Result<NonNull<u8>, AllocError> {
    let flags = rustix::mm::MremapFlags::MAYMOVE;
    // SAFETY: the range is a live mapping of ours, and the caller keeps no reference into it.
    let start = unsafe { rustix::mm::mremap(block.as_ptr().cast(), old_len, new_len, flags) };
    start.ok().and_then(|start| NonNull::new(start.cast())).ok_or(AllocError)
}

/// Moves the pages of a block to the front of another.
///
/// # Safety
/// Both are live blocks, the first is `len` bytes long, the other no shorter, in whole pages, and nobody needs what the other holds. On success the old addresses are dead.
#[cfg(target_os = "linux")]
pub(super) unsafe fn relocate(
    block: NonNull<u8>,
    len: usize,
    target: NonNull<[u8]>,
) -> Result<(), AllocError> {
    // The kernel unmaps the target before it finds that it can't move the block. Another thread may map something there before anybody knows, so what can
    // be known is found out first.
    // SAFETY: the caller's promise is the same.
    if !unsafe { is_one_mapping(block, len) } {
        return Err(AllocError);
    }
    let flags = rustix::mm::MremapFlags::MAYMOVE;
    let (from, to) = (block.as_ptr().cast(), target.cast::<u8>().as_ptr().cast());
    // To the target's whole length, so that it is one mapping afterwards, and can be moved again.
    // SAFETY: the caller's promise: both ranges are mappings of ours, and nobody uses the target's.
    unsafe { rustix::mm::mremap_fixed(from, len, target.len(), flags, to) }.map(drop).map_err(|_| AllocError)
}

/// Whether a block lies in one mapping, as far as the kernel is concerned. It does not if its owner has locked or advised a part of it; many kernels do
/// not move it then.
///
/// # Safety
/// The block is live and `len` bytes long.
#[cfg(target_os = "linux")]
unsafe fn is_one_mapping(block: NonNull<u8>, len: usize) -> bool {
    let longer = len + Pages::page_size();
    // There is no way to ask but to want it longer: no room behind it is what is said of one mapping only.
    let flags = rustix::mm::MremapFlags::empty();
    // SAFETY: the range is mapped by this file; without `MAYMOVE` it stays where it is, and nothing is unmapped.
    match unsafe { rustix::mm::mremap(block.as_ptr().cast(), len, longer, flags) } {
        Ok(_) => {
            // SAFETY: the block has just been made so much longer.
            let rest = unsafe { block.add(len) };
            // SAFETY: that page is new, and nobody knows of it.
            unsafe { unmap(rest, longer - len) }
        }
        Err(error) => error == rustix::io::Errno::NOMEM,
    }
}

/// Only Linux moves pages.
///
/// # Safety
/// None is needed; it is that of the others.
#[cfg(not(target_os = "linux"))]
pub(super) unsafe fn relocate(_: NonNull<u8>, _: usize, _: NonNull<[u8]>) -> Result<(), AllocError> {
    Err(AllocError)
}

/// Only Linux maps more behind a block without risk to what is there.
///
/// # Safety
/// None is needed; it is that of the others.
#[cfg(not(target_os = "linux"))]
pub(super) unsafe fn extend(_: NonNull<u8>, _: usize, _: usize) -> Result<NonNull<u8>, AllocError> {
    Err(AllocError)
}

/// Only Linux moves pages.
///
/// # Safety
/// None is needed; it is that of the others.
#[cfg(not(target_os = "linux"))]
pub(super) unsafe fn remap(_: NonNull<u8>, _: usize, _: usize) -> Result<NonNull<u8>, AllocError> {
    Err(AllocError)
}

/// Unmaps the tail of a block.
///
/// # Safety
/// The block is live and `old_len` bytes long; `new_len`, in whole pages, is less; nobody needs the bytes behind it.
pub(super) unsafe fn shrink(block: NonNull<u8>, old_len: usize, new_len: usize) -> Result<(), AllocError> {
    // SAFETY: `new_len` is less than the block's length.
    let tail = unsafe { block.add(new_len) };
    // SAFETY: the tail is of a live block, in whole pages, and nobody needs it.
    if unsafe { unmap(tail, old_len - new_len) } { Ok(()) } else { Err(AllocError) }
}

/// Zeroes whole pages, giving their memory back where the OS can.
///
/// # Safety
/// The pages are of a live block, and nobody needs what they hold.
pub(super) unsafe fn purge(start: NonNull<u8>, len: usize) {
    // SAFETY: the caller's promise is the same.
    if !unsafe { advise_unneeded(start, len) } {
        // SAFETY: the pages are of a live block.
        unsafe { start.write_bytes(0, len) };
    }
}

/// As [`purge`]: pages that are given back return by themselves when they are touched.
///
/// # Safety
/// As [`purge`].
pub(super) unsafe fn decommit(start: NonNull<u8>, len: usize) {
    // SAFETY: the caller's promise is the same.
    unsafe { purge(start, len) };
}

/// Lets pages be touched, or not.
///
/// # Safety
/// Whole pages of a live block; if they may not be touched, nobody does.
pub(super) unsafe fn set_access(start: NonNull<u8>, len: usize, allowed: bool) -> Result<(), AllocError> {
    let access =
        if allowed { MprotectFlags::READ.union(MprotectFlags::WRITE) } else { MprotectFlags::empty() };
    // SAFETY: the caller's promise.
    unsafe { mprotect(start.as_ptr().cast(), len, access) }.map_err(|_| AllocError)
}

/// Nothing to do: the pages return by themselves when they are touched.
///
/// # Safety
/// None is needed; it is that of the others.
pub(super) unsafe fn recommit(_: NonNull<u8>, _: usize) -> Result<(), AllocError> {
    Ok(())
}

/// Gives the memory behind whole pages back, so that they read as zero; tells if it could (locked pages can't go).
///
/// # Safety
/// The pages are of a live block, and nobody needs what they hold.
#[cfg(any(target_os = "linux", target_os = "android"))]
unsafe fn advise_unneeded(start: NonNull<u8>, len: usize) -> bool {
    // SAFETY: the pages are mapped by this file, and nobody needs what they hold.
    unsafe { rustix::mm::madvise(start.as_ptr().cast(), len, rustix::mm::Advice::LinuxDontNeed) }.is_ok()
}

/// Other systems' advice does not promise zeroes.
///
/// # Safety
/// None is needed; it is that of the other.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
unsafe fn advise_unneeded(_: NonNull<u8>, _: usize) -> bool {
    false
}

/// Asks for huge pages.
///
/// # Safety
/// The pages are of a live block.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) unsafe fn advise_huge(start: NonNull<u8>, len: usize) -> Result<(), Unsupported> {
    // SAFETY: the pages are mapped by this file, and the advice keeps their contents.
    let told = unsafe { rustix::mm::madvise(start.as_ptr().cast(), len, rustix::mm::Advice::LinuxHugepage) };
    told.map_err(|_| Unsupported)
}

/// No such advice.
///
/// # Safety
/// None is needed; it is that of the other.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) unsafe fn advise_huge(_: NonNull<u8>, _: usize) -> Result<(), Unsupported> {
    Err(Unsupported)
}

/// What one page of 8-byte page-table entries maps: 2 MiB for pages of 4 KiB, 32 MiB for 16, 512 MiB for 64.
pub(super) fn huge_page_size(page: usize) -> Option<usize> {
    let known = cfg!(all(
        any(target_os = "linux", target_os = "android"),
        any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
    ));
    known.then_some(page / 8 * page)
}
