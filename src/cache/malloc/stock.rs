//! The stock of chunks behind a global allocator.

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::AllocError;
use crate::cache::chunk_heap::{ChunkHeap, ChunkStats, Chunks};
use crate::cache::retention::Retention;
use crate::heap::UsableSize;
use crate::lock::HoldLock;
use crate::source::{BackingSource, SideHeaders};

/// A stock of chunks: [`ChunkHeap`], whose parameters this hides.
///
/// # Safety
/// - **W1** `chunks` gives the stock by reference, as the one source that all of its blocks are from.
/// - **W2** no method unwinds.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a stock of chunks",
    label = "this takes a `ChunkHeap` over a source that can be cloned, under a lock that can be held",
    note = "use `ChunkHeap<Pages, YieldLock, WorkingSet<StdClock>>`, say"
)]
pub unsafe trait ChunkStock: UsableSize + Sync + 'static {
    /// The stock by reference.
    type Source: SideHeaders + Copy;

    /// The stock by reference.
    fn chunks(&'static self) -> Self::Source;

    /// A block for `layout`, all zero.
    ///
    /// # Errors
    /// When there is no more.
    fn acquire_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError>;

    /// Gives back what is not in use.
    fn release_free(&self);

    /// Asks the policy again.
    fn tick(&self);

    /// How much there is.
    fn numbers(&self) -> ChunkStats;

    /// Takes all locks, and keeps them.
    fn hold(&self);

    /// Lets go of the locks.
    ///
    /// # Safety
    /// They are held by `hold`.
    unsafe fn let_go(&self);
}

// SAFETY: W1: as one sees. W2: nothing of a `ChunkHeap` unwinds.
unsafe impl<B, L, R, const CHUNK: usize, const HUGE_AFTER: usize> ChunkStock
    for ChunkHeap<B, L, R, CHUNK, HUGE_AFTER>
where
    B: BackingSource + Clone + Sync + 'static,
    L: HoldLock + Sync + 'static,
    R: Retention + Send + 'static,
{
    type Source = Chunks<'static, Self>;

    #[inline]
    fn chunks(&'static self) -> Self::Source {
        Chunks(self)
    }

    fn acquire_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.acquire(layout, true)
    }

    fn release_free(&self) {
        self.release();
    }

    fn tick(&self) {
        ChunkHeap::tick(self);
    }

    fn numbers(&self) -> ChunkStats {
        self.stats()
    }

    fn hold(&self) {
        ChunkHeap::hold(self);
    }

    unsafe fn let_go(&self) {
        // SAFETY: the caller's promise is the same.
        unsafe { ChunkHeap::let_go(self) };
    }
}
