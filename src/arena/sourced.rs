//! The arena over a block of a backing source.

use core::alloc::Layout;
use core::any::type_name;
use core::fmt;
use core::ptr::NonNull;

use super::region::{Arena, forward_to_view};
use super::shape::Shape;
use super::view::View;
use crate::AllocError;
use crate::check::Finding;
use crate::describe::{Cost, Describe, Tree};
use crate::heap::{Chunk, Corruption, Cursor, Heap, Inspect, Locked, Owns, Reset, Usage};
use crate::lock::{Lock, SpinLock};
use crate::sizing::{Sizing, describe_sizing};
use crate::source::BackingSource;

/// An arena over one block of a backing source, behind a lock; the block goes back when it is dropped.
///
/// Choose it for an arena in OS pages, in another allocator's memory, or in another arena. The block is acquired when the arena
/// is made, and used whole, even if the source gave more than it was asked for. Costs as [`Teaspoon`](super::Teaspoon), and
/// the source and three words for its block in `size_of`.
///
/// ```
/// # #[cfg(feature = "os")] {
/// use heapwright::arena::SourceTeaspoon;
/// use heapwright::lock::NoLock;
/// use heapwright::sizing::Sizing16MiB;
/// use heapwright::source::Pages;
///
/// let spoon = SourceTeaspoon::<Pages, Sizing16MiB, NoLock>::with_size(Pages, 1 << 20)?;
/// assert!(spoon.usage().free > 1_000_000);
/// # }
/// # Ok::<(), heapwright::AllocError>(())
/// ```
pub type SourceTeaspoon<B, S, L = SpinLock> = Locked<SourceArena<B, S>, L>;

/// The core of an arena over a block of a backing source, without a lock; see [`SourceTeaspoon`].
///
/// ```
/// use core::mem::MaybeUninit;
/// use heapwright::{arena::SourceArena, heap::Inspect, sizing::Sizing4KiB, source::Buffer};
/// let mut memory = [MaybeUninit::uninit(); 1024];
/// let arena = SourceArena::<Buffer<'_>, Sizing4KiB>::with_size(Buffer::from_slice(&mut memory), 512)?;
/// assert!(arena.usage().free > 480);
/// assert!(arena.source().left() <= 512);
/// # Ok::<(), heapwright::AllocError>(())
/// ```
pub struct SourceArena<B: BackingSource, S: Sizing> {
    source: B,
    block: NonNull<u8>,
    layout: Layout,
    /// Over `block`, which is released only by this type's drop, when nothing uses the arena any more.
    arena: Arena<'static, S>,
}

// SAFETY: the block is this value's alone and stays valid wherever the source moves (B1); the rest is plain data.
unsafe impl<B: BackingSource + Send, S: Sizing> Send for SourceArena<B, S> {}

impl<B: BackingSource, S: Sizing> SourceArena<B, S> {
    /// An arena over `size` bytes of `source`.
    ///
    /// # Errors
    /// When the source has no such block, or `size` is zero.
    pub fn with_size(mut source: B, size: usize) -> Result<Self, AllocError> {
        let align = Shape::granule::<S>(size).max(align_of::<u64>()).min(B::ALIGN_MAX);
        let layout = Layout::from_size_align(size, align).map_err(|_| AllocError)?;
        if size == 0 {
            return Err(AllocError);
        }
        let block = source.acquire(layout)?;
        // SAFETY: the block is ours until we release it (B1), which only our drop does, with the arena.
        let arena = unsafe { Arena::from_raw_parts(block.cast(), block.len()) };
        Ok(SourceArena { source, block: block.cast(), layout, arena })
    }

    /// The source.
    pub const fn source(&self) -> &B {
        &self.source
    }
}

impl<B: BackingSource, S: Sizing> Drop for SourceArena<B, S> {
    fn drop(&mut self) {
        // SAFETY: the block is live, this is its layout, and nothing uses it after this.
        unsafe { self.source.release(self.block, self.layout) }
    }
}

impl<B: BackingSource, S: Sizing> fmt::Debug for SourceArena<B, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceArena").field("arena", &self.arena).finish_non_exhaustive()
    }
}

forward_to_view!([B: BackingSource, S: Sizing] SourceArena<B, S>, self => self.arena.view(), self.arena);

impl<B: BackingSource, S: Sizing, L: Lock> SourceTeaspoon<B, S, L> {
    /// An arena over `size` bytes of `source`.
    ///
    /// # Errors
    /// When the source has no such block, or `size` is zero.
    pub fn with_size(source: B, size: usize) -> Result<Self, AllocError> {
        SourceArena::with_size(source, size).map(Locked::new)
    }
}

impl<B: BackingSource + Describe, S: Sizing> Describe for SourceArena<B, S> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let what = format_args!("SourceArena, one block of the source");
        let cost = Cost::state_around::<Self, B>();
        tree.part(what, cost, &[("sizing", describe_sizing::<S>), ("source", B::describe)])
    }
}
