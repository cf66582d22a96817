//! Slab systems: the contract for cutting blocks into objects of one layout.
//!
//! The crate has no slab system of its own yet; the contract is here so that yours fits what comes.
//!
//! # Write your own in three steps
//! 1. A type that remembers its slabs; the source is not part of it.
//! 2. `unsafe impl SlabSystem`: `take` acquires a slab when none has room, `put` finds the slab by the object's address.
//! 3. Hand it a source with every call.
//!
//! ```
//! use core::alloc::Layout;
//! use core::ptr::NonNull;
//! use heapwright::AllocError;
//! use heapwright::slab::SlabSystem;
//! use heapwright::source::BackingSource;
//!
//! // 1. slabs of one object each; the last ones that came back are kept
//! #[derive(Default)]
//! struct Singles {
//!     kept: Vec<(NonNull<u8>, Layout)>,
//! }
//!
//! // 2. SAFETY: Y1: an object is a whole block of the source, in use or in `kept`, never both. Y2: the slab is the object. Y3: only
//! // blocks in `kept` are released, and they leave it. Y4: nothing unwinds but for the global heap running out.
//! unsafe impl SlabSystem for Singles {
//!     fn take<B: BackingSource>(&mut self, source: &mut B, layout: Layout) -> Result<NonNull<u8>, AllocError> {
//!         match self.kept.iter().position(|&(_, kept)| kept == layout) {
//!             Some(place) => Ok(self.kept.swap_remove(place).0),
//!             None => source.acquire(layout).map(NonNull::cast),
//!         }
//!     }
//!     unsafe fn put<B: BackingSource>(&mut self, _: &mut B, object: NonNull<u8>, layout: Layout) {
//!         self.kept.push((object, layout));
//!     }
//!     fn trim<B: BackingSource>(&mut self, source: &mut B, keep: usize) -> usize {
//!         let gone = self.kept.split_off(keep.min(self.kept.len()));
//!         for &(block, layout) in &gone {
//!             // SAFETY: the block came from this source with this layout, and is in no other place.
//!             unsafe { source.release(block, layout) };
//!         }
//!         gone.len()
//!     }
//! }
//!
//! // 3. use it
//! # #[cfg(feature = "alloc")] {
//! use heapwright::source::{Counted, GlobalHeap};
//! let (mut slabs, mut source) = (Singles::default(), Counted::new(GlobalHeap));
//! let object = slabs.take(&mut source, Layout::new::<u64>())?;
//! // SAFETY: the object is live and its layout its own.
//! unsafe { slabs.put(&mut source, object, Layout::new::<u64>()) };
//! assert_eq!(slabs.take(&mut source, Layout::new::<u64>())?, object);
//! // SAFETY: as above.
//! unsafe { slabs.put(&mut source, object, Layout::new::<u64>()) };
//! assert_eq!(slabs.trim(&mut source, 0), 1);
//! # }
//! # Ok::<(), AllocError>(())
//! ```

mod map;

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
