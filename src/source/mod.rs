//! Backing sources: whole blocks of memory for the layers above.

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::AllocError;

/// Hands out and takes back whole blocks of memory: pages, buffers, another allocator's blocks.
///
/// Sources are asked rarely and for much; arenas and slabs cut what they give.
///
/// # Safety
/// An implementation keeps these:
/// - **B1** (blocks) a block handed out has at least the layout's size and its alignment, overlaps no live block, and stays
///   valid and untouched until it is released, or the source is dropped; it survives moves of the source.
/// - **B2** (promises) the associated constants are true: any layout whose size is a multiple of `GRANULE` and whose
///   alignment is at most `ALIGN_MAX` can be met while memory lasts; blocks arrive all zero if `ZEROED` says so.
/// - **B3** (no unwinding) no method unwinds, whatever the layout.
/// - **B4** (whole) after an error nothing has changed.
/// - **B5** (no way back) no method calls, directly or not, the heap that this source serves.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a heapwright backing source",
    label = "this type parameter takes a backing source",
    note = "use `Pages` (feature `os`), `FromAllocator<A>`, `Buffer`, `&Locked<..>`, or a wrapper such as `Limited<B>`",
    note = "or implement `heapwright::source::BackingSource` in three steps: see the docs of `heapwright::source`"
)]
pub unsafe trait BackingSource {
    /// Blocks are best asked for in multiples of this many bytes; other sizes are rounded up to it. A power of two.
    const GRANULE: usize;

    /// The largest alignment that this source can give, in bytes. A power of two.
    const ALIGN_MAX: usize;

    /// Whether every block arrives all zero.
    const ZEROED: bool = false;

    /// A block for `layout`; it may be longer than asked, and any size from the request to its length may be released.
    ///
    /// # Errors
    /// When the source has no more, or `layout` is of size zero or above `ALIGN_MAX`.
    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError>;

    /// Takes a block back.
    ///
    /// # Safety
    /// `block` is a live block of this source, and `layout` its own: the same alignment, a size from the requested to the given one.
    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout);

    /// Makes a block longer where it stands; gives its new length.
    ///
    /// # Errors
    /// When it can't be had without moving. Nothing has changed then.
    ///
    /// # Safety
    /// `block` is a live block of this source and `old` its layout.
    unsafe fn extend(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<usize, AllocError> {
        let _ = (block, old, new_size);
        Err(AllocError)
    }

    /// Tells the source that the contents of these bytes are no longer needed; what they read as afterwards is undefined
    /// (zero if `ZEROED`). They stay part of their block.
    ///
    /// # Safety
    /// The `len` bytes from `ptr` on lie in one live block of this source, and nobody needs what they hold.
    unsafe fn purge(&mut self, ptr: NonNull<u8>, len: usize) {
        let _ = (ptr, len);
    }
}
