//! Sources of slabs whose headers lie apart from them.

use core::ptr::NonNull;

use super::BackingSource;
use crate::AllocError;

/// A source that hands out slabs of one size, and keeps room for a header of each in another place, which is found from any address in the slab.
///
/// Slabs of many layouts share such a source, and yet their headers lie side by side: see [`ChunkHeap`](crate::cache::ChunkHeap), which has the
/// headers of 64 slabs at the front of a region. Headers at the front of each slab would all fall into the same few cache sets, and each would take an entry of
/// the translation cache.
///
/// # Safety
/// An implementation keeps B1 to B7 of [`BackingSource`] for slabs as for blocks, and:
/// - **D1** (slabs) a slab is `SLAB_SIZE` bytes, a power of two, and aligned to it. Its provenance is exposed, and is the same that the header has.
/// - **D2** (headers) `header_address` gives the same address for all addresses in a slab, of `HEADER_ROOM` bytes that are aligned to 64 and belong to
///   whoever has the slab, until it is released; different slabs have different headers, and no slab contains one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a source of slabs with their headers apart",
    label = "this type parameter takes such a source",
    note = "use `Chunks<'_, ChunkHeap<..>>` here, or `AlignedSlabs<B>` over any source `B` that aligns"
)]
pub unsafe trait SideHeaders: BackingSource {
    /// Bytes of a slab.
    const SLAB_SIZE: usize;

    /// Bytes for the header of a slab, with its tables.
    const HEADER_ROOM: usize;

    /// A slab for objects of `object_size` bytes, which the source may note for whoever asks for the size of an object.
    ///
    /// # Errors
    /// When there is no more. Nothing has changed then.
    fn acquire_slab(&mut self, object_size: usize) -> Result<NonNull<u8>, AllocError>;

    /// Takes a slab back.
    ///
    /// # Safety
    /// It is a slab from `acquire_slab` that has not come back since, and nobody uses it.
    unsafe fn release_slab(&mut self, slab: NonNull<u8>);

    /// Where the header of a slab lies, given any address in the slab.
    fn header_address(address: usize) -> usize;
}
