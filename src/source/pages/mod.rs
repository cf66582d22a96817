//! Pages of the operating system.

use core::alloc::Layout;
use core::fmt;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicUsize, Ordering};

use super::BackingSource;
use crate::AllocError;
use crate::describe::describe_leaf;
use crate::mem;

#[cfg(unix)]
#[path = "unix.rs"]
mod os;
#[cfg(windows)]
#[path = "windows.rs"]
mod os;
#[cfg(not(any(unix, windows)))]
#[path = "wasm.rs"]
mod os;

#[cfg(any(test, not(any(unix, windows))))]
mod kept;

/// Pages of the operating system, straight from it and straight back.
///
/// Choose it under everything that runs on an OS: slabs, arenas, big blocks. It has no state: all values are equal, any of them
/// may release what another acquired, and it is `Copy`.
///
/// Acquiring and releasing are one system call each, three for an alignment above the page, and each page costs a fault when it is
/// first touched: so ask for 64 KiB or more at a time. An alignment above the page maps that much more and unmaps both ends
/// again; nothing of it stays behind.
///
/// | | Unix | Windows | WebAssembly |
/// |---|---|---|---|
/// | acquire, release | `mmap`, `munmap` | `VirtualAlloc`, `VirtualFree` | `memory.grow`; released blocks are kept and reused |
/// | largest alignment | 1 GiB | 1 GiB | 64 KiB |
/// | `extend`, `remap` | Linux: `mremap` | no | no |
/// | `shrink` | yes | no | no |
/// | `purge` | Linux, Android: pages go back; else zeroed by hand | zeroed by hand | zeroed by hand |
/// | [`decommit`](Pages::decommit) | as `purge` | pages go back | zeroed by hand |
/// | [`advise_huge`](Pages::advise_huge) | Linux, Android | [`Unsupported`] | [`Unsupported`] |
///
/// On Windows every block takes 64 KiB of address space or a multiple of it, though only its pages take memory.
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::source::{BackingSource, Pages};
///
/// let slab = Layout::from_size_align(64 << 10, 64 << 10)?; // aligned to its size: an address masks to its slab
/// let mut pages = Pages;
/// let block = pages.acquire(slab)?;
/// assert_eq!(block.cast::<u8>().addr().get() % (64 << 10), 0);
/// // SAFETY: the block is live, and its layout this one.
/// unsafe { pages.release(block.cast(), slab) };
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pages;

/// This operating system has no such thing; nothing has changed.
///
/// ```
/// use heapwright::source::Unsupported;
/// assert_eq!(Unsupported.to_string(), "the operating system does not support this");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Unsupported;

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the operating system does not support this")
    }
}

impl core::error::Error for Unsupported {}

impl Pages {
    /// The length of a page in bytes: 4096 on most machines, 16 or 64 KiB on some. A power of two, at least `GRANULE`.
    ///
    /// Asked of the OS once, then one relaxed load.
    ///
    /// ```
    /// use heapwright::source::{BackingSource, Pages};
    /// assert_eq!(Pages::page_size() % Pages::GRANULE, 0);
    /// ```
    #[must_use]
    pub fn page_size() -> usize {
        static PAGE_SIZE: AtomicUsize = AtomicUsize::new(0);
        match PAGE_SIZE.load(Ordering::Relaxed) {
            0 => {
                // Two threads may both ask; they get the same answer.
                let size = os::page_size().max(Pages::GRANULE);
                PAGE_SIZE.store(size, Ordering::Relaxed);
                size
            }
            size => size,
        }
    }

    /// Gives the whole pages in a range back to the OS; the block keeps its addresses.
    ///
    /// Before the range is touched again it must be [`recommit`](Pages::recommit)ted; its whole pages then read as zero, and the
    /// rest of it is as it was. Where the OS can't take pages out of a block, they are zeroed at once, and stay.
    ///
    /// ```
    /// use core::alloc::Layout;
    /// use heapwright::source::{BackingSource, Pages};
    ///
    /// let layout = Layout::from_size_align(1 << 20, 4096)?;
    /// let block = Pages.acquire(layout)?.cast::<u8>();
    /// // SAFETY: the block is live and ours, and between the first two calls nobody touches it.
    /// unsafe {
    ///     Pages.decommit(block, 1 << 20);
    ///     Pages.recommit(block, 1 << 20)?;
    ///     assert_eq!(block.read(), 0);
    ///     Pages.release(block, layout);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Safety
    /// The `len` bytes from `ptr` on lie in one live block of `Pages`, nobody needs what they hold, and nobody touches its whole
    /// pages before they are recommitted. To release the block is allowed.
    pub unsafe fn decommit(&self, ptr: NonNull<u8>, len: usize) {
        let (_, start, len) = whole_pages(ptr, len);
        if len > 0 {
            // SAFETY: whole pages of a live block that nobody needs: the caller's promise.
            unsafe { os::decommit(start, len) };
        }
    }

    /// Makes the whole pages in a decommitted range usable again; they read as zero. [`decommit`](Pages::decommit) has an example.
    ///
    /// # Errors
    /// When the OS has no memory for them. They are still decommitted then.
    ///
    /// # Safety
    /// The `len` bytes from `ptr` on lie in one live block of `Pages`, and were the argument of
    /// [`decommit`](Pages::decommit), untouched since.
    pub unsafe fn recommit(&self, ptr: NonNull<u8>, len: usize) -> Result<(), AllocError> {
        let (_, start, len) = whole_pages(ptr, len);
        if len == 0 {
            return Ok(());
        }
        // SAFETY: whole pages of a live block, decommitted: the caller's promise.
        unsafe { os::recommit(start, len) }
    }

    /// Asks the OS to back the whole pages in a range with huge ones where it can, now or in time.
    ///
    /// Worth its while for ranges that hold a whole, aligned huge page ([`huge_page_size`](BackingSource::huge_page_size)): they
    /// take fewer faults and fewer entries of the translation cache. In return the first touch of each clears all of it at once, and
    /// a huge page that is in use anywhere takes memory everywhere. The contents stay as they are.
    ///
    /// ```
    /// use core::alloc::Layout;
    /// use heapwright::source::{BackingSource, Pages};
    ///
    /// let huge = Pages.huge_page_size().unwrap_or(2 << 20);
    /// let layout = Layout::from_size_align(huge, huge)?;
    /// let block = Pages.acquire(layout)?.cast::<u8>();
    /// // SAFETY: the block is live and ours, and its layout this one.
    /// unsafe {
    ///     let _ = Pages.advise_huge(block, huge); // advice: without huge pages all goes on as before
    ///     Pages.release(block, layout);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When this OS, or the kernel as it is built, knows no such advice.
    ///
    /// # Safety
    /// The `len` bytes from `ptr` on lie in one live block of `Pages`.
    pub unsafe fn advise_huge(&self, ptr: NonNull<u8>, len: usize) -> Result<(), Unsupported> {
        let (_, start, len) = whole_pages(ptr, len);
        if len == 0 {
            return Ok(());
        }
        // SAFETY: whole pages of a live block: the caller's promise.
        unsafe { os::advise_huge(start, len) }
    }
}

/// The bytes before the first whole page of a range (all of it if it holds none), that page, and the length of all whole pages.
///
/// ```text
///      ptr                                    ptr + len
///       |-- head --|------ len of pages ------|-- rest --|
///   ....|..........P............P.............P..........|....P   (P: page boundaries)
/// ```
fn whole_pages(ptr: NonNull<u8>, len: usize) -> (usize, NonNull<u8>, usize) {
    let page = Pages::page_size();
    let head = (ptr.addr().get().wrapping_neg() & (page - 1)).min(len);
    // SAFETY: `head` is at most `len`, so the pointer stays in its block or one past it: the callers' caller promises the range.
    let start = unsafe { ptr.add(head) };
    (head, start, (len - head) & !(page - 1))
}

/// A block as the OS gives it: `len` bytes from `start` on. Its provenance is kept for [`whole`].
fn handed_out(start: NonNull<u8>, len: usize) -> NonNull<[u8]> {
    start.as_ptr().expose_provenance();
    mem::slice(start, len)
}

/// A block's pointer, good for all of it: a caller's own may be good for fewer bytes than the block has.
///
/// This source has no state, so it keeps no base to make the pointer from. What the OS gave has been exposed instead, when it was
/// handed out, and is found again by its address.
fn whole(block: NonNull<u8>) -> NonNull<u8> {
    let start = ptr::with_exposed_provenance_mut(block.addr().get());
    // SAFETY: the address is not zero.
    unsafe { NonNull::new_unchecked(start) }
}

/// `size` in whole pages; an error if no block can be that long.
fn round_up(size: usize) -> Result<usize, AllocError> {
    match mem::align_up(size, Pages::page_size()) {
        Some(len) if isize::try_from(len).is_ok() => Ok(len),
        _ => Err(AllocError),
    }
}

// SAFETY: B1: the OS hands out addresses that are free, and takes them back in `release` only; a block's length is its size in
// whole pages, so any size from the request to that length names the same pages; its pointer is the OS's own, or made from that
// (`whole`). B2: pages are at least `GRANULE` long, both a
// power of two; `os::acquire` aligns up to `ALIGN_MAX`; fresh pages are zero. B3: no panicking operation. B4: each operation is one
// call to the OS that does all or nothing, or undoes what it did. B5: the OS calls no heap. B6: page rounding is idempotent. B7: there is no state.
unsafe impl BackingSource for Pages {
    const GRANULE: usize = os::GRANULE;
    const ALIGN_MAX: usize = os::ALIGN_MAX;
    const ZEROED: bool = true;
    // `memory.grow` gives memory that is there; the others give it when it is touched.
    const LAZY: bool = cfg!(not(target_arch = "wasm32"));

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 || layout.align() > Self::ALIGN_MAX {
            return Err(AllocError);
        }
        let len = round_up(layout.size())?;
        Ok(handed_out(os::acquire(len, layout.align())?, len))
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise; the rounded size is the length of the block.
        unsafe { os::release(block, self.good_size(layout)) };
    }

    unsafe fn extend(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let (old_len, new_len) = (round_up(old.size())?, round_up(new_size)?);
        if new_len == old_len {
            return Ok(mem::slice(whole(block), old_len));
        }
        // SAFETY: the caller's promise; `old_len` is the length of the block, and `new_len` more.
        let extended = unsafe { os::extend(block, old_len, new_len) }?;
        Ok(handed_out(extended, new_len))
    }

    unsafe fn shrink(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let (old_len, new_len) = (round_up(old.size())?, round_up(new_size)?);
        if new_len == 0 {
            return Err(AllocError);
        }
        if new_len < old_len {
            // SAFETY: the caller's promise; `old_len` is the length of the block, `new_len` less and not zero.
            unsafe { os::shrink(block, old_len, new_len) }?;
        }
        Ok(mem::slice(whole(block), new_len))
    }

    unsafe fn remap(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let (old_len, new_len) = (round_up(old.size())?, round_up(new_size)?);
        if new_len == old_len {
            return Ok(mem::slice(whole(block), old_len));
        }
        // Moved pages are aligned to a page and no more.
        if old.align() > Pages::page_size() {
            return Err(AllocError);
        }
        // SAFETY: the caller's promise; `old_len` is the length of the block, and `new_len` more.
        let moved = unsafe { os::remap(block, old_len, new_len) }?;
        Ok(handed_out(moved, new_len))
    }

    unsafe fn relocate(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        target: NonNull<[u8]>,
    ) -> Result<(), AllocError> {
        let len = round_up(old.size())?;
        // SAFETY: the caller's promise: `len` is the length of one live block, and no more than that of the other.
        unsafe { os::relocate(whole(block), len, mem::slice(whole(target.cast()), target.len())) }
    }

    unsafe fn purge(&mut self, ptr: NonNull<u8>, len: usize) {
        let (head, start, pages) = whole_pages(ptr, len);
        // SAFETY: the head lies in the range: the caller's promise.
        unsafe { ptr.write_bytes(0, head) };
        if pages > 0 {
            // SAFETY: whole pages of a live block that nobody needs: the caller's promise.
            unsafe { os::purge(start, pages) };
        }
        // SAFETY: the pages end in the range.
        let rest = unsafe { start.add(pages) };
        // SAFETY: the rest lies in the range: the caller's promise.
        unsafe { rest.write_bytes(0, len - head - pages) };
    }

    unsafe fn prefer_huge(&mut self, ptr: NonNull<u8>, len: usize) {
        // SAFETY: the caller's promise is the same. What can't be had makes no difference.
        let _ = unsafe { self.advise_huge(ptr, len) };
    }

    const PROTECTS: bool = cfg!(not(target_arch = "wasm32"));

    unsafe fn protect(&mut self, ptr: NonNull<u8>, len: usize) -> Result<(), AllocError> {
        let page = Pages::page_size();
        if len == 0 || ptr.addr().get() % page != 0 || len % page != 0 {
            return Err(AllocError);
        }
        // SAFETY: whole pages of a live block, which nobody touches: the caller's promise.
        unsafe { os::set_access(ptr, len, false) }
    }

    unsafe fn unprotect(&mut self, ptr: NonNull<u8>, len: usize) -> Result<(), AllocError> {
        // What is no whole page was never protected.
        let (_, start, pages) = whole_pages(ptr, len);
        if pages == 0 {
            return Ok(());
        }
        // SAFETY: whole pages of a live block: the caller's promise.
        unsafe { os::set_access(start, pages, true) }
    }

    fn good_size(&self, layout: Layout) -> usize {
        round_up(layout.size()).unwrap_or(layout.size())
    }

    fn huge_page_size(&self) -> Option<usize> {
        os::huge_page_size(Pages::page_size())
    }
}

describe_leaf!(Pages, "Pages of the OS");

#[cfg(test)]
#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each call is on a live block with a layout of its own"
)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    /// `count` pages, each byte 9.
    fn nines(count: usize) -> (NonNull<u8>, Layout) {
        let layout = layout(count * Pages::page_size(), 1);
        let ptr = Pages.acquire(layout).unwrap().cast::<u8>();
        unsafe { ptr.write_bytes(9, layout.size()) };
        (ptr, layout)
    }

    /// Asserts that the block's bytes in the range are zero, and all others 9.
    #[track_caller]
    fn check(ptr: NonNull<u8>, layout: Layout, zero: core::ops::Range<usize>) {
        let bytes = unsafe { core::slice::from_raw_parts(ptr.as_ptr(), layout.size()) };
        for (i, &byte) in bytes.iter().enumerate() {
            assert_eq!(byte, if zero.contains(&i) { 0 } else { 9 }, "byte {i}, {zero:?} should be zero");
        }
    }

    #[test]
    fn every_alignment_up_to_the_largest() {
        let page = Pages::page_size();
        assert!(page.is_power_of_two() && page >= Pages::GRANULE);
        for shift in 0..=Pages::ALIGN_MAX.trailing_zeros() {
            for size in [1, page, 3 * page + 1] {
                let layout = layout(size, 1 << shift);
                let block = Pages.acquire(layout).unwrap();
                assert_eq!(block.len(), size.next_multiple_of(page));
                assert_eq!(block.cast::<u8>().addr().get() % layout.align(), 0);
                let last = unsafe { block.cast::<u8>().add(block.len() - 1) };
                unsafe { last.write(1) };
                unsafe { Pages.release(block.cast(), layout) };
            }
        }
    }

    #[test]
    fn purge_zeroes_the_range_and_nothing_else() {
        let page = Pages::page_size();
        for (from, to) in
            [(0, 4 * page), (1, 4 * page - 1), (page - 1, page + 1), (page + 1, 2 * page - 1), (7, 7)]
        {
            let (ptr, layout) = nines(4);
            let start = unsafe { ptr.add(from) };
            unsafe { Pages.purge(start, to - from) };
            check(ptr, layout, from..to);
            unsafe { Pages.release(ptr, layout) };
        }
    }

    /// Pages that are locked in memory can't be given back, and must read as zero all the same.
    #[cfg(target_os = "linux")]
    #[test]
    fn purge_zeroes_locked_pages() {
        let (ptr, layout) = nines(1);
        unsafe { rustix::mm::mlock(ptr.as_ptr().cast(), layout.size()) }.unwrap();
        unsafe { Pages.purge(ptr, layout.size()) };
        check(ptr, layout, 0..layout.size());
        unsafe { Pages.release(ptr, layout) };
    }

    /// Where pages are longer than a range, or begin elsewhere, nothing is protected, and the end of that is no failure.
    #[test]
    fn what_is_no_whole_page_is_not_protected_and_can_be_unprotected() {
        let page = Pages::page_size();
        let (ptr, layout) = nines(4);
        let at = |offset| unsafe { ptr.add(offset) };
        for (from, len) in
            [(0, 0), (0, page / 2), (1, page), (page / 2, page), (page, page + 1), (1, page - 1)]
        {
            assert_eq!(unsafe { Pages.protect(at(from), len) }, Err(AllocError), "{from} {len}");
            check(ptr, layout, 0..0);
            assert_eq!(unsafe { Pages.unprotect(at(from), len) }, Ok(()), "{from} {len}");
            check(ptr, layout, 0..0);
        }
        // Of several such ranges side by side, those that were protected can be used again.
        if unsafe { Pages.protect(at(page), page) }.is_ok() {
            assert_eq!(unsafe { Pages.unprotect(at(page / 2), 2 * page) }, Ok(()));
        }
        check(ptr, layout, 0..0);
        unsafe { Pages.release(ptr, layout) };
    }

    #[test]
    fn decommitted_pages_come_back_zero() {
        let page = Pages::page_size();
        let (ptr, layout) = nines(3);
        let inside = unsafe { ptr.add(1) };
        unsafe { Pages.decommit(inside, page) };
        assert_eq!(unsafe { Pages.recommit(inside, page) }, Ok(()));
        check(ptr, layout, 0..0);
        unsafe { Pages.decommit(inside, 2 * page) };
        assert_eq!(unsafe { Pages.recommit(inside, 2 * page) }, Ok(()));
        check(ptr, layout, page..2 * page);
        unsafe { Pages.release(ptr, layout) };
    }

    #[test]
    fn huge_page_advice_keeps_contents() {
        let (ptr, layout) = nines(600);
        let told = unsafe { Pages.advise_huge(ptr, layout.size()) };
        assert!(matches!(told, Ok(()) | Err(Unsupported)));
        assert_eq!(
            unsafe { Pages.advise_huge(ptr, 1) },
            Ok(()),
            "no whole page in the range: nothing to ask"
        );
        check(ptr, layout, 0..0);
        unsafe { Pages.release(ptr, layout) };
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        assert_eq!(Pages.huge_page_size(), Some(2 << 20));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn shrinks_and_moves_without_copying() {
        let page = Pages::page_size();
        let (ptr, whole) = nines(8);
        assert_eq!(unsafe { Pages.shrink(ptr, whole, page + 1) }, Ok(mem::slice(ptr, 2 * page)));
        let moved = unsafe { Pages.remap(ptr, layout(page + 1, 1), 511 * page + 1) }.unwrap();
        assert_eq!(moved.len(), 512 * page);
        check(moved.cast(), layout(512 * page, 1), 2 * page..512 * page);
        unsafe { Pages.release(moved.cast(), layout(511 * page + 1, 1)) };
        // A larger alignment than the page's is lost in a move.
        let aligned = layout(2 * page, 2 * page);
        let ptr = Pages.acquire(aligned).unwrap().cast::<u8>();
        assert!(unsafe { Pages.remap(ptr, aligned, 4 * page) }.is_err());
        assert_eq!(unsafe { Pages.remap(ptr, aligned, 2 * page) }.map(|block| block.cast()), Ok(ptr));
        unsafe { Pages.release(ptr, aligned) };
    }

    /// A block that was moved is one mapping again, though it became longer: it can be moved time and again.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_block_that_was_moved_can_be_moved_again() {
        let page = Pages::page_size();
        let (mut ptr, mut now) = nines(8);
        for doubled in 1..6 {
            let wanted = layout(now.size() * 2, 1);
            let target = Pages.acquire(wanted).unwrap();
            // SAFETY: two live blocks, the second of which holds nothing.
            assert_eq!(unsafe { Pages.relocate(ptr, now, target) }, Ok(()), "move {doubled}");
            let _ = unsafe { Pages.advise_huge(target.cast(), target.len()) };
            (ptr, now) = (target.cast(), wanted);
            check(ptr, now, 8 * page..now.size());
        }
        unsafe { Pages.release(ptr, now) };
    }

    /// A block of which a part is locked is several mappings to the kernel. Whether it can be moved or not, both blocks are whole afterwards.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_block_that_is_locked_in_part_moves_or_stays() {
        let page = Pages::page_size();
        for locked in [0, 1, 6] {
            let (ptr, from) = nines(8);
            let wanted = layout(16 * page, 1);
            let whole = Pages.acquire(wanted).unwrap();
            let target = whole.cast::<u8>();
            let part = unsafe { ptr.add(page) };
            unsafe { rustix::mm::mlock(part.as_ptr().cast(), locked * page) }.unwrap();
            match unsafe { Pages.relocate(ptr, from, whole) } {
                Ok(()) => {
                    check(target, wanted, 8 * page..16 * page);
                }
                Err(AllocError) => {
                    assert!(locked > 0, "one mapping can be moved");
                    check(ptr, from, 0..0);
                    check(target, wanted, 0..16 * page);
                    unsafe { Pages.release(ptr, from) };
                }
            }
            unsafe { Pages.release(target, wanted) };
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn extends_in_place_where_nobody_is() {
        let page = Pages::page_size();
        // Room is made by giving up the tail of a block. Another thread may take it in between, so try more than once.
        let extended = (0..100).any(|_| {
            let (ptr, whole) = nines(64);
            let one = mem::slice(ptr, page);
            assert_eq!(unsafe { Pages.shrink(ptr, whole, page) }, Ok(one));
            let extended = unsafe { Pages.extend(ptr, layout(page, 1), 60 * page) };
            let block = extended.unwrap_or(one);
            assert_eq!(block.cast(), ptr);
            let now = layout(block.len(), 1);
            check(block.cast(), now, page..60 * page);
            unsafe { Pages.release(block.cast(), now) };
            extended == Ok(mem::slice(ptr, 60 * page))
        });
        assert!(extended);
    }

    static_assertions::assert_eq_size!(Pages, ());
    static_assertions::assert_impl_all!(Pages: Copy, Default, Send, Sync);
}
