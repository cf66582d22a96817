//! Slab systems: the contract for cutting blocks into objects of one layout.

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::AllocError;
use crate::source::BackingSource;

/// Cuts blocks of a source into objects of one layout.
///
/// The source comes by argument, so that many slab systems can share one.
///
/// # Safety
/// An implementation keeps these:
/// - **Y1** (objects) an object handed out has the layout's size and alignment, lies in a slab acquired from the source, and overlaps no live object.
/// - **Y2** (owner) `put` finds the slab of an object by its address alone.
/// - **Y3** (whole slabs) a slab goes back to the source only when all its objects are free, and exactly once.
/// - **Y4** (no unwinding) no method unwinds, and after an error nothing has changed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a heapwright slab system",
    label = "this type parameter takes a slab system",
    note = "implement `heapwright::slab::SlabSystem`: see the docs of `heapwright::slab`"
)]
pub unsafe trait SlabSystem {
    /// An object of `layout`, from a slab that has one, or from a slab newly acquired.
    ///
    /// # Errors
    /// When no slab has a free object and the source has no block.
    fn take<B: BackingSource>(&mut self, source: &mut B, layout: Layout) -> Result<NonNull<u8>, AllocError>;

    /// Takes an object back to its slab.
    ///
    /// # Safety
    /// `object` is live, taken from this system with this source and this layout.
    unsafe fn put<B: BackingSource>(&mut self, source: &mut B, object: NonNull<u8>, layout: Layout);

    /// Gives all slabs without live objects back to the source, but `keep` of them; says how many went.
    fn trim<B: BackingSource>(&mut self, source: &mut B, keep: usize) -> usize;
}
