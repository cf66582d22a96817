//! The stock of chunks behind a global allocator.

use core::alloc::Layout;
use core::ops::Range;
use core::ptr::NonNull;

use crate::AllocError;
use crate::cache::chunk_heap::{ChunkHeap, ChunkPlace, ChunkStats, Chunks};
use crate::cache::retention::Retention;
use crate::check::{Checks, Wrong};
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

    /// What the heap over this stock checks.
    type Checks: Checks;

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

    /// What marks in freed objects are made with; 0 where frees are not looked at.
    fn secret(&self) -> usize;

    /// Objects that are counted at once by [`taken`](ChunkStock::taken): 1, but where slabs are longer than 256 KiB.
    const TAKEN_STEP: u32;

    /// How many objects have been taken, from the first on, of the slab in which the address lies, rounded up to whole steps; nothing if it is no slab with that number, which tells the length
    /// of its objects, and where frees are not looked at.
    fn taken(&self, address: usize, number: u16) -> Option<u32>;

    /// Notes that the object with the number `last` is taken from the slab at `address`; gives the numbers of those that count as taken since then: none, where frees are not looked at. Those behind
    /// `last` among them are nobody's.
    ///
    /// # Safety
    /// It has just been taken, and nobody else takes one from that slab at the same time.
    unsafe fn note_taken(&self, address: usize, last: u32) -> Range<u32>;

    /// What stands in the first word of a free object at that address, where frees are looked at.
    #[inline(always)]
    fn mark(&self, object: usize) -> usize {
        self.secret() ^ object
    }

    /// A block for the heap's own needs: frees that bring its address are refused.
    ///
    /// # Errors
    /// When there is no more.
    fn acquire_reserved(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError>;

    /// What lies at an address.
    ///
    /// # Errors
    /// When there is no slab, run or block of its own, and where frees are not looked at.
    ///
    /// # Safety
    /// No other thread resizes a block of its own that begins there.
    unsafe fn look_up(&self, address: usize) -> Result<ChunkPlace, Wrong>;

    /// The length of the block without a class at this address, if it is live and can have this layout.
    ///
    /// # Errors
    /// What is wrong with it.
    ///
    /// # Safety
    /// As [`look_up`](ChunkStock::look_up).
    unsafe fn look_at_block(&self, address: usize, layout: Layout) -> Result<usize, Wrong>;

    /// As [`look_at_block`](ChunkStock::look_at_block), and nobody else may give the block back: it has still to be released.
    ///
    /// # Errors
    /// What is wrong with it.
    ///
    /// # Safety
    /// As [`look_up`](ChunkStock::look_up); if the block is live, it is the caller's.
    unsafe fn claim(&self, address: usize, layout: Layout) -> Result<usize, Wrong>;

    /// Makes pages fault when they are touched, or not any more; says whether that was possible.
    ///
    /// # Safety
    /// As [`BackingSource::protect`] and [`BackingSource::unprotect`].
    unsafe fn protect(&self, ptr: NonNull<u8>, len: usize, protect: bool) -> bool;

    /// Asks the source for a word and for a region, if it may be a heap, and gives them back. No lock is held: so a heap has its handlers of forks registered then, before the heap over this stock has.
    fn ask_source(&self);

    /// Takes all locks, and keeps them.
    fn hold(&self);

    /// Lets go of the locks.
    ///
    /// # Safety
    /// They are held by `hold`.
    unsafe fn let_go(&self);
}

// SAFETY: W1: as one sees. W2: nothing of a `ChunkHeap` unwinds.
unsafe impl<B, L, R, const CHUNK: usize, const HUGE_AFTER: usize, C: Checks> ChunkStock
    for ChunkHeap<B, L, R, CHUNK, HUGE_AFTER, C>
where
    B: BackingSource + Clone + Sync + 'static,
    L: HoldLock + Sync + 'static,
    R: Retention + Send + 'static,
{
    type Source = Chunks<'static, Self>;
    type Checks = C;

    const TAKEN_STEP: u32 = Self::TAKEN_STEP;

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

    #[inline(always)]
    fn secret(&self) -> usize {
        self.secret()
    }

    #[inline(always)]
    fn taken(&self, address: usize, number: u16) -> Option<u32> {
        self.taken(address, number)
    }

    #[inline]
    unsafe fn note_taken(&self, address: usize, last: u32) -> Range<u32> {
        self.note_taken(address, last)
    }

    fn acquire_reserved(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.acquire_reserved(layout)
    }

    unsafe fn look_up(&self, address: usize) -> Result<ChunkPlace, Wrong> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.look_up(address) }
    }

    unsafe fn look_at_block(&self, address: usize, layout: Layout) -> Result<usize, Wrong> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.look_at_block(address, layout) }
    }

    unsafe fn claim(&self, address: usize, layout: Layout) -> Result<usize, Wrong> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.claim(address, layout) }
    }

    unsafe fn protect(&self, ptr: NonNull<u8>, len: usize, protect: bool) -> bool {
        // SAFETY: the caller's promise is the same.
        unsafe { self.protect(ptr, len, protect) }
    }

    fn ask_source(&self) {
        // What is zero is fresh, and from no heap. (One block may be all that such a source has, and would have to be cleared.)
        if B::ZEROED {
            return;
        }
        let mut source = self.source().clone();
        // A source may have its short blocks from somewhere else. A heap that refuses has its handlers as well.
        for layout in [Layout::new::<usize>(), Self::region_layout(false)] {
            if let Ok(block) = source.acquire(layout) {
                // SAFETY: just acquired, with this layout.
                unsafe { source.release(block.cast(), layout) };
            }
        }
    }

    fn hold(&self) {
        ChunkHeap::hold(self);
    }

    unsafe fn let_go(&self) {
        // SAFETY: the caller's promise is the same.
        unsafe { ChunkHeap::let_go(self) };
    }
}
