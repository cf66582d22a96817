//! Pages that refuse what they are told to, on the thread that tells them.

use std::alloc::Layout;
use std::cell::Cell;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::source::{BackingSource, Pages};

std::thread_local! {
    static REFUSED: Cell<Refused> = const { Cell::new(Refused::NOTHING) };
    static OUT: Cell<usize> = const { Cell::new(0) };
}

/// What is refused.
#[derive(Clone, Copy)]
pub(crate) struct Refused {
    /// Blocks of such sizes.
    pub(crate) blocks: fn(Layout) -> bool,
    /// To make pages untouchable.
    pub(crate) protect: bool,
    /// To make them usable again.
    pub(crate) unprotect: bool,
    /// To make anything untouchable but whole pages of 64 KiB, as a kernel does that has no others.
    pub(crate) small_pages: bool,
}

/// The length of a large page.
const LARGE_PAGE: usize = 64 << 10;

impl Refused {
    pub(crate) const NOTHING: Self =
        Refused { blocks: |_| false, protect: false, unprotect: false, small_pages: false };
    pub(crate) const BLOCKS: Self = Refused { blocks: |_| true, ..Self::NOTHING };
    pub(crate) const PROTECT: Self = Refused { protect: true, ..Self::NOTHING };
    pub(crate) const UNPROTECT: Self = Refused { unprotect: true, ..Self::NOTHING };
    pub(crate) const SMALL_PAGES: Self = Refused { small_pages: true, ..Self::NOTHING };

    /// Refuses this on this thread while `work` runs.
    pub(crate) fn during<R>(self, work: impl FnOnce() -> R) -> R {
        let before = REFUSED.replace(self);
        let done = work();
        REFUSED.set(before);
        done
    }
}

/// Blocks that this thread has got from sources of this kind, less those that it has given back.
pub(crate) fn blocks_out() -> usize {
    OUT.get()
}

/// Whether a range is of whole large pages.
fn is_large(ptr: NonNull<u8>, len: usize) -> bool {
    ptr.addr().get() % LARGE_PAGE == 0 && len % LARGE_PAGE == 0
}

/// What fresh memory holds that is not zero.
pub(crate) const JUNK: u8 = 0xcd;

/// Pages that refuse what [`Refused`] says, hand out memory that is not zero unless `ZEROED`, and protect nothing unless `PROTECTS`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fickle<const ZEROED: bool, const PROTECTS: bool>;

// SAFETY: B1 to B6 are those of `Pages`, whose memory may be written before it is handed out; more requests may fail. B7: there is no state but what is refused.
unsafe impl<const ZEROED: bool, const PROTECTS: bool> BackingSource for Fickle<ZEROED, PROTECTS> {
    const GRANULE: usize = Pages::GRANULE;
    const ALIGN_MAX: usize = Pages::ALIGN_MAX;
    const ZEROED: bool = ZEROED;
    const PROTECTS: bool = PROTECTS;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if (REFUSED.get().blocks)(layout) {
            return Err(AllocError);
        }
        let block = Pages.acquire(layout)?;
        if !ZEROED {
            // SAFETY: the block is fresh, and so long.
            unsafe { block.cast::<u8>().write_bytes(JUNK, block.len()) };
        }
        OUT.set(OUT.get() + 1);
        Ok(block)
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        OUT.set(OUT.get() - 1);
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.release(block, layout) };
    }

    unsafe fn purge(&mut self, ptr: NonNull<u8>, len: usize) {
        if ZEROED {
            // SAFETY: the caller's promise is the same.
            unsafe { Pages.purge(ptr, len) };
        } else {
            // SAFETY: the caller's promise: nobody needs what is there.
            unsafe { ptr.write_bytes(JUNK, len) };
        }
    }

    unsafe fn protect(&mut self, ptr: NonNull<u8>, len: usize) -> Result<(), AllocError> {
        if !PROTECTS || REFUSED.get().protect || REFUSED.get().small_pages && !is_large(ptr, len) {
            return Err(AllocError);
        }
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.protect(ptr, len) }
    }

    unsafe fn unprotect(&mut self, ptr: NonNull<u8>, len: usize) -> Result<(), AllocError> {
        if !PROTECTS || REFUSED.get().unprotect {
            return Err(AllocError);
        }
        if REFUSED.get().small_pages && !is_large(ptr, len) {
            // What is no whole page of that kernel is none of this one's.
            // SAFETY: a byte of the range.
            let inside = unsafe { ptr.add(1) };
            // SAFETY: it was refused to protect the range, and this is a part of it.
            return unsafe { Pages.unprotect(inside, len - 1) };
        }
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.unprotect(ptr, len) }
    }
}
