//! Pages that now and then are not to be had.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use heapwright::AllocError;
use heapwright::source::{BackingSource, Pages};

use crate::random::mixed;

/// Requests that have the same luck, one after the other.
const WEATHER: u64 = 32;

/// When requests fail, and what is out.
pub(crate) struct Faults {
    /// Bytes that may be out.
    limit: usize,
    requests: AtomicU64,
    injected: AtomicU64,
    blocks: AtomicUsize,
    bytes: AtomicUsize,
}

impl Faults {
    pub(crate) const fn new(limit: usize) -> Self {
        Faults {
            limit,
            requests: AtomicU64::new(0),
            injected: AtomicU64::new(0),
            blocks: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    /// How many requests have failed on purpose.
    pub(crate) fn injected(&self) -> u64 {
        self.injected.load(Relaxed)
    }

    /// Bytes that are out.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Blocks that are out.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks.load(Relaxed)
    }

    /// Lets a request for `size` bytes more pass, or not: in fair weather one of sixteen fails, in foul three of four.
    fn pass(&self, size: usize) -> Result<(), AllocError> {
        let number = self.requests.fetch_add(1, Relaxed);
        let is_foul = mixed(number / WEATHER) % 8 == 0;
        let luck = mixed(number ^ 0x5eed) % 16;
        let is_over = self.bytes().saturating_add(size) > self.limit;
        if is_over || luck < if is_foul { 12 } else { 1 } {
            self.injected.fetch_add(1, Relaxed);
            return Err(AllocError);
        }
        Ok(())
    }

    /// Counts a block, or a part of one, that went out.
    fn out(&self, blocks: usize, len: usize) {
        self.blocks.fetch_add(blocks, Relaxed);
        self.bytes.fetch_add(len, Relaxed);
    }

    /// Counts a block, or a part of one, that came back.
    fn back(&self, blocks: usize, len: usize) {
        self.blocks.fetch_sub(blocks, Relaxed);
        self.bytes.fetch_sub(len, Relaxed);
    }
}

/// Pages of the OS that fail by chance, and beyond a limit.
#[derive(Clone, Copy)]
pub(crate) struct Shaky(pub(crate) &'static Faults);

/// Bytes that the OS gives for so many.
fn whole(size: usize) -> usize {
    size.next_multiple_of(Pages::page_size())
}

// SAFETY: B1 to B6 are those of `Pages`, to which all calls go as they are, but for some that end in an error first. B7: clones have the same pages.
unsafe impl BackingSource for Shaky {
    const GRANULE: usize = Pages::GRANULE;
    const ALIGN_MAX: usize = Pages::ALIGN_MAX;
    const ZEROED: bool = Pages::ZEROED;
    const LAZY: bool = Pages::LAZY;
    const PROTECTS: bool = Pages::PROTECTS;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.0.pass(layout.size())?;
        let block = Pages.acquire(layout)?;
        self.0.out(1, whole(block.len()));
        Ok(block)
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        self.0.back(1, whole(layout.size()));
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.release(block, layout) };
    }

    unsafe fn extend(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        self.0.pass(new_size.saturating_sub(old.size()))?;
        // SAFETY: the caller's promise is the same.
        let grown = unsafe { Pages.extend(block, old, new_size) }?;
        self.0.out(0, whole(grown.len()).saturating_sub(whole(old.size())));
        Ok(grown)
    }

    unsafe fn shrink(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        let rest = unsafe { Pages.shrink(block, old, new_size) }?;
        self.0.back(0, whole(old.size()).saturating_sub(whole(rest.len())));
        Ok(rest)
    }

    unsafe fn remap(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        self.0.pass(new_size.saturating_sub(old.size()))?;
        // SAFETY: the caller's promise is the same.
        let moved = unsafe { Pages.remap(block, old, new_size) }?;
        self.0.out(0, whole(moved.len()).saturating_sub(whole(old.size())));
        Ok(moved)
    }

    unsafe fn relocate(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        target: NonNull<[u8]>,
    ) -> Result<(), AllocError> {
        self.0.pass(0)?;
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.relocate(block, old, target) }?;
        self.0.back(1, whole(old.size()));
        Ok(())
    }

    unsafe fn purge(&mut self, ptr: NonNull<u8>, len: usize) {
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.purge(ptr, len) };
    }

    unsafe fn prefer_huge(&mut self, ptr: NonNull<u8>, len: usize) {
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.prefer_huge(ptr, len) };
    }

    unsafe fn protect(&mut self, ptr: NonNull<u8>, len: usize) -> Result<(), AllocError> {
        self.0.pass(0)?;
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.protect(ptr, len) }
    }

    /// Never fails on purpose: what can't be touched can't be freed either, and would be lost.
    unsafe fn unprotect(&mut self, ptr: NonNull<u8>, len: usize) -> Result<(), AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.unprotect(ptr, len) }
    }

    fn good_size(&self, layout: Layout) -> usize {
        Pages.good_size(layout)
    }

    fn huge_page_size(&self) -> Option<usize> {
        Pages.huge_page_size()
    }
}
