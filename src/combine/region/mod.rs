//! A heap that adds an offset: blocks one behind the other in chunks of a source.

mod chunks;
mod growth;
mod marks;
mod scope;

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use self::chunks::{Chunk, HEADER, List};
use crate::AllocError;
use crate::describe::{Cost, Describe, Tree};
use crate::heap::{Heap, Owns, Reset};
use crate::mem::{self, align_up};
use crate::source::BackingSource;

pub(super) use self::growth::check;
pub use self::growth::{Direction, Downward, FixedChunks, Growing, Growth, Upward};
pub use self::marks::{Keep, RegionMark, RegionUsage};
pub use self::scope::{Marks, Scope};

/// Blocks one behind the other in chunks of a source: a bump allocator.
///
/// Choose it for what is made piece by piece and goes all at once: a request, a frame, a syntax tree. What goes in reverse order goes singly too; what goes in
/// any other order waits for [`reset`](crate::heap::Locked::reset), the end of its [`scope`](crate::heap::Locked::scope), or the region's end.
///
/// ```text
///  Region<B, G, D, MIN_ALIGN>
///  ├── chunk: header │ block │ block │ block │ free ..     blocks are cut from here
///  ├── chunk: header │ block │ block │ too little for the request that came
///  └── spare chunks, kept by a reset or a scope's end
/// ```
///
/// - `B` is where chunks come from; `&Locked<..>` makes a region within another heap.
/// - `G` says how large they are: [`Growing<FIRST, MAX>`](Growing) (4 KiB, doubled up to 1 MiB by default), [`FixedChunks`], or a [`Growth`] of your own.
/// - `D` says from which end they are used: [`Upward`] (the last block is grown and shrunk where it stands) or [`Downward`] (a little shorter code, growth
///   of the last block moves its bytes).
/// - `MIN_ALIGN` rounds every size and address up: with 8, say, requests aligned to 8 or less have nothing left to round.
///
/// ```
/// # #[cfg(all(feature = "alloc", feature = "allocator-api2-04"))] {
/// use allocator_api2_04::{boxed::Box, vec::Vec};
/// use heapwright::{combine::Region, heap::Locked, lock::NoLock, source::GlobalHeap};
///
/// let mut region = Locked::<Region<GlobalHeap>, NoLock>::new(Region::new(GlobalHeap));
/// let mut words = Vec::new_in(&region);
/// words.push(Box::new_in("first", &region));
/// words.push(Box::new_in("second", &region));
/// assert_eq!(words.len(), 2);
/// drop(words);
/// region.reset(); // all blocks are forgotten; the largest chunk stays for what comes next
/// # }
/// ```
///
/// # Scopes
/// [`Locked::scope`](crate::heap::Locked::scope) runs a closure, and takes back what was allocated meanwhile. Scopes nest; that nothing outlives its own
/// is checked by the compiler. See [`Scope`].
///
/// # Cost
/// Beside the lock, a request takes two loads, a subtraction, a comparison, an addition and a store; one aligned above `MIN_ALIGN`, an addition and a mask
/// more; one whose size is not known at compile time, the same for its rounding, unless `MIN_ALIGN` is 1. A free takes an addition and a
/// comparison. The state is four words and the source's; two words per chunk; none per block. A free that can't be met, since the block is not the
/// last one, does nothing.
///
/// # Errors
/// When the source has no chunk: the size wanted is tried first, then the size needed.
///
/// Numbers that can't be fail to compile:
/// ```compile_fail,E0080
/// use heapwright::{combine::{Growing, Region}, source::GlobalHeap};
/// let region = Region::<GlobalHeap, Growing<4096, 1024>>::new(GlobalHeap); // error: the cap is below the first chunk
/// ```
///
/// The idea is as old as stacks; this one has been shaped by D's `Region` (Andrei Alexandrescu: direction, minimal alignment, growth of the last
/// block), foonathan/memory's `memory_stack` (growing blocks, markers), Zig's `ArenaAllocator` (modes of reset), bumpalo, and bump-scope (scopes).
pub struct Region<
    B: BackingSource,
    G: Growth = Growing<4096, { 1 << 20 }>,
    D: Direction = Upward,
    const MIN_ALIGN: usize = 1,
> {
    /// Between free and taken bytes of the first of `chunks`, with provenance for that chunk, a multiple of `MIN_ALIGN`, and on its side of `limit`. Null if
    /// there is none.
    top: *mut u8,
    /// Where the free bytes of that chunk end. 0 if there is none.
    ///
    /// ```text
    ///  Upward:   header │ taken │ top .. free .. limit
    ///  Downward: header │ limit .. free .. top │ taken
    /// ```
    limit: usize,
    /// Chunks that blocks are in, newest first.
    chunks: List,
    /// Chunks without blocks.
    spare: List,
    source: B,
    policy: PhantomData<fn() -> (G, D)>,
}

// SAFETY: the chunks are the region's alone, and go where it goes; the source is sent as it is.
unsafe impl<B: BackingSource + Send, G: Growth, D: Direction, const M: usize> Send for Region<B, G, D, M> {}
// SAFETY: nothing is changed through a shared reference.
unsafe impl<B: BackingSource + Sync, G: Growth, D: Direction, const M: usize> Sync for Region<B, G, D, M> {}

impl<B: BackingSource, G: Growth, D: Direction, const MIN_ALIGN: usize> Region<B, G, D, MIN_ALIGN> {
    /// Without a chunk, which the first request asks for.
    #[must_use]
    pub const fn new(source: B) -> Self {
        const {
            assert!(
                MIN_ALIGN.is_power_of_two(),
                "the minimal alignment of a region is a power of two: 1, 8, 16, .."
            );
            assert!(MIN_ALIGN <= 1 << 12, "the minimal alignment of a region is at most 4096");
            check::<G>();
        };
        Region {
            top: ptr::null_mut(),
            limit: 0,
            chunks: List::EMPTY,
            spare: List::EMPTY,
            source,
            policy: PhantomData,
        }
    }

    /// The source.
    pub const fn source(&self) -> &B {
        &self.source
    }

    /// The bytes that a block of `size` takes. The same for all sizes up to that.
    #[inline(always)]
    const fn len(size: usize) -> usize {
        // No overflow: a layout's size is at most `isize::MAX`, and so is what an alignment adds.
        (size + (MIN_ALIGN - 1)) & !(MIN_ALIGN - 1)
    }

    /// A block from the current chunk, if there is room; not for size zero.
    #[inline(always)]
    fn cut(&mut self, layout: Layout) -> Option<NonNull<[u8]>> {
        if layout.size() == 0 {
            return None;
        }
        let (len, top) = (Self::len(layout.size()), self.top.addr());
        // What needs no more than the minimal alignment has it already.
        let rounded = layout.align() > MIN_ALIGN;
        let (start, new_top) = if D::UP {
            let start = if rounded { align_up(top, layout.align())? } else { top };
            // Not below zero unless `start` was rounded past `limit`.
            let room = if rounded { self.limit.checked_sub(start)? } else { self.limit.wrapping_sub(top) };
            if len > room {
                return None;
            }
            (start, start + len)
        } else {
            if len > top.wrapping_sub(self.limit) {
                return None;
            }
            let start = if rounded { (top - len) & !(layout.align() - 1) } else { top - len };
            if rounded && start < self.limit {
                return None;
            }
            (start, start)
        };
        let block = self.top.with_addr(start);
        self.top = self.top.with_addr(new_top);
        // SAFETY: there is a chunk, since without one `top` and `limit` are 0 and leave no room for a byte; so the address is in it.
        Some(mem::slice(unsafe { NonNull::new_unchecked(block) }, len))
    }

    /// A block from another chunk: a spare one, or a new one.
    #[cold]
    fn cut_from_next(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Err(AllocError);
        }
        let padding = layout.align().max(MIN_ALIGN) - 1;
        let least = Self::len(layout.size()).checked_add(HEADER + padding).ok_or(AllocError)?;
        let chunk = match self.spare.take(least) {
            Some(chunk) => chunk,
            None => {
                let last = self.chunks.iter().next().map(|(_, len)| len);
                Chunk::acquire(&mut self.source, least, growth::next::<G>(last))?
            }
        };
        // SAFETY: it is live and in no list: new, or taken out.
        unsafe { self.chunks.push(chunk) };
        self.begin();
        self.cut(layout).ok_or(AllocError)
    }

    /// Sets `top` and `limit` for the current chunk, all of it free.
    fn begin(&mut self) {
        let (Some(chunk), Some((start, len))) = (self.chunks.head(), self.chunks.iter().next()) else {
            (self.top, self.limit) = (ptr::null_mut(), 0);
            return;
        };
        let base = chunk.as_ptr().cast::<u8>();
        let (low, high) = (start + HEADER, (start + len) & !(MIN_ALIGN - 1));
        // No overflow: a chunk has room for its header and more, and its end is an address.
        let low = (low + MIN_ALIGN - 1) & !(MIN_ALIGN - 1);
        (self.top, self.limit) =
            if D::UP { (base.with_addr(low), start + len) } else { (base.with_addr(high), low) };
    }

    /// Whether a block of `len` bytes at `addr` is the last one.
    #[inline(always)]
    fn is_last(&self, addr: usize, len: usize) -> bool {
        // No other block of this region begins or ends there: between two chunks there is a header.
        if D::UP { addr + len == self.top.addr() } else { addr == self.top.addr() }
    }

    /// The `len` bytes from `addr` on, in any chunk.
    fn rebuilt(addr: NonNull<u8>, len: usize) -> NonNull<[u8]> {
        let ptr = ptr::with_exposed_provenance_mut(addr.addr().get());
        // SAFETY: the address of a block is not null. (Chunks are exposed when they are acquired.)
        mem::slice(unsafe { NonNull::new_unchecked(ptr) }, len)
    }

    /// Moves the last block, which starts at `top`, down to make it larger, in its chunk.
    ///
    /// # Safety
    /// `ptr` is the last block of a region that is used downward, `old` its layout, and `new` is larger.
    unsafe fn move_down(&mut self, ptr: NonNull<u8>, old: Layout, new: Layout) -> Option<NonNull<[u8]>> {
        let (old_len, new_len) = (Self::len(old.size()), Self::len(new.size()));
        let end = ptr.addr().get() + old_len;
        let start = end.checked_sub(new_len)? & !(new.align().max(MIN_ALIGN) - 1);
        if start < self.limit {
            return None;
        }
        // SAFETY: the address is in the chunk, so it is not null.
        let target = unsafe { NonNull::new_unchecked(self.top.with_addr(start)) };
        // SAFETY: both ranges are in the chunk, from `limit` to the old block's end, where nobody else has a block; they may overlap.
        unsafe { ptr.copy_to(target, old.size()) };
        self.top = target.as_ptr();
        Some(mem::slice(target, new_len))
    }
}

// SAFETY: H1: a block is cut from the free bytes of a chunk (B1), between `top` and `limit`, and `top` moves past it; it moves back over the
// last block only, whose length is the same for every size that may come back; `top` has the chunk's provenance, exposed when it was acquired. H2:
// chunks are the source's (B1). H3: nothing here panics, and the source does not unwind (B3). H4: `top` moves after everything that can fail; a chunk that
// was added holds no block. H5: B5; what is at hand calls nothing. H6: both ways to a block refuse size zero. H7: rounding up to `MIN_ALIGN`.
unsafe impl<B: BackingSource, G: Growth, D: Direction, const M: usize> Heap for Region<B, G, D, M> {
    #[inline]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        match self.cut(layout) {
            Some(block) => Ok(block),
            None => self.cut_from_next(layout),
        }
    }

    #[inline]
    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        let (addr, len) = (ptr.addr().get(), Self::len(layout.size()));
        if self.is_last(addr, len) {
            self.top = self.top.with_addr(if D::UP { addr } else { addr + len });
        }
    }

    const AT_HAND: bool = true;

    #[inline(always)]
    fn alloc_at_hand(&mut self, layout: Layout) -> Option<NonNull<[u8]>> {
        self.cut(layout)
    }

    #[inline(always)]
    unsafe fn dealloc_at_hand(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise is the same.
        unsafe { self.dealloc(ptr, layout) };
        true
    }

    #[inline]
    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let addr = ptr.addr().get();
        let (old_len, new_len) = (Self::len(old.size()), Self::len(new.size()));
        if addr & (new.align() - 1) != 0 {
            return Err(AllocError);
        }
        if D::UP && self.is_last(addr, old_len) {
            // No overflow: the block lies below `limit`.
            if new_len > self.limit - addr {
                return Err(AllocError);
            }
            self.top = self.top.with_addr(addr + new_len);
        } else if new_len > old_len {
            return Err(AllocError);
        }
        Ok(Self::rebuilt(ptr, new_len))
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        if let Ok(block) = unsafe { self.resize_in_place(ptr, old, new) } {
            return Ok(block);
        }
        if !D::UP && new.size() > old.size() && self.is_last(ptr.addr().get(), 0) {
            // SAFETY: the caller's promise, and it is the last block.
            if let Some(block) = unsafe { self.move_down(ptr, old, new) } {
                return Ok(block);
            }
        }
        let block = self.alloc(new)?;
        // SAFETY: both are live blocks of at least `min(old, new)` bytes and do not overlap (H1).
        unsafe { block.cast::<u8>().copy_from_nonoverlapping(ptr, old.size().min(new.size())) };
        // SAFETY: the caller's promise; the copy has been made.
        unsafe { self.dealloc(ptr, old) };
        Ok(block)
    }

    #[inline]
    fn good_size(&self, layout: Layout) -> usize {
        Self::len(layout.size())
    }

    /// Gives the spare chunks back. The one that blocks are cut from stays, even without a block.
    fn release_unused(&mut self) -> usize {
        // SAFETY: spare chunks hold no block, and are the source's.
        unsafe { self.spare.release(&mut self.source) }
    }
}

/// O(number of chunks): as they grow, there are few.
// SAFETY: a block lies in one of the chunks, which are this region's alone.
unsafe impl<B: BackingSource, G: Growth, D: Direction, const M: usize> Owns for Region<B, G, D, M> {
    fn owns(&self, ptr: NonNull<u8>, _: Layout) -> bool {
        self.chunks.iter().any(|(start, len)| ptr.addr().get().wrapping_sub(start) < len)
    }
}

/// Keeps the largest chunk: [`reset_keeping`](Region::reset_keeping) has other modes.
impl<B: BackingSource, G: Growth, D: Direction, const M: usize> Reset for Region<B, G, D, M> {
    unsafe fn reset(&mut self) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.reset_keeping(Keep::One) };
    }
}

impl<B: BackingSource, G: Growth, D: Direction, const M: usize> Drop for Region<B, G, D, M> {
    fn drop(&mut self) {
        // SAFETY: blocks live no longer than the core (H1).
        unsafe { self.reset_keeping(Keep::Nothing) };
    }
}

impl<B: BackingSource + Default, G: Growth, D: Direction, const M: usize> Default for Region<B, G, D, M> {
    fn default() -> Self {
        Region::new(B::default())
    }
}

impl<B: BackingSource, G: Growth, D: Direction, const M: usize> fmt::Debug for Region<B, G, D, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region")
            .field("usage", &self.usage())
            .field("source", &format_args!("{}", core::any::type_name::<B>()))
            .finish()
    }
}

impl<B: BackingSource + Describe, G: Growth, D: Direction, const M: usize> Describe for Region<B, G, D, M> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let way = if D::UP { "upward" } else { "downward" };
        let (first, max) = (G::FIRST, G::MAX);
        let state = size_of::<Self>() - size_of::<B>();
        tree.part(
            format_args!("Region, {way}, aligned to {M} at least, chunks of {first} to {max} bytes"),
            Cost { state, per_block: 0 },
            &[("source", B::describe)],
        )
    }
}

#[cfg(test)]
mod tests;
