//! Blocks one behind the other in a few bytes: what is taken and given back like a stack costs an addition.

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::mem::{self, align_up};

/// Lengths of blocks are rounded up to this many bytes, so that most blocks follow each other without a gap.
const GRANULE: usize = 8;

/// What there is to know about the buffer. All zero when it is empty.
///
/// Every live block ends at `top` or before, its length rounded up.
#[derive(Debug)]
pub(super) struct State {
    /// Offset of the first byte that no block has. 0 when no block is live.
    top: u32,
    /// Blocks that are live: at most one for each granule that was begun, so 32 bits count them.
    live: u32,
}

impl State {
    pub(super) const EMPTY: State = State { top: 0, live: 0 };
}

/// Where in the `len` bytes from `base` on `ptr` points to; `None` if it points elsewhere.
#[inline(always)]
pub(super) fn offset_in(base: NonNull<u8>, len: usize, ptr: *const u8) -> Option<usize> {
    let offset = ptr.addr().wrapping_sub(base.addr().get());
    (offset < len).then_some(offset)
}

/// A buffer at work: put together for one operation.
///
/// ```text
///  base                              base + top                    base + len
///  ├──────────┬─────┬───────┬────────────┼─────────────────────────────┤
///  │ a block  │ gap │ block │ last block │ free                        │
///  └──────────┴─────┴───────┴────────────┴─────────────────────────────┘
/// ```
#[derive(Debug)]
pub(super) struct Bump<'a> {
    /// The buffer's first byte, with provenance for all of it.
    base: NonNull<u8>,
    /// Bytes of the buffer, at most `u32::MAX`.
    len: usize,
    state: &'a mut State,
}

impl<'a> Bump<'a> {
    /// The buffer of `len` bytes from `base` on.
    ///
    /// # Safety
    /// For as long as this value is used: the bytes are valid, `base` is good for all of them, and none of them is touched but by owners
    /// of blocks. `len` is at most `u32::MAX`, and `state` is the buffer's own: what this type has made of `State::EMPTY`.
    pub(super) unsafe fn new(base: NonNull<u8>, len: usize, state: &'a mut State) -> Self {
        Bump { base, len, state }
    }

    /// Bytes of the buffer.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Bytes up to the end of the last block.
    pub(super) const fn top(&self) -> usize {
        self.state.top as usize
    }

    /// Live blocks.
    pub(super) const fn live(&self) -> usize {
        self.state.live as usize
    }

    /// Where in the buffer `ptr` points to; `None` if it points elsewhere.
    #[inline(always)]
    pub(super) fn offset(&self, ptr: *const u8) -> Option<usize> {
        offset_in(self.base, self.len, ptr)
    }

    /// The end of a block of `size` bytes at `offset`, rounded up; `None` past the buffer's end. The same for all sizes up to the block's
    /// length.
    #[inline(always)]
    fn end(&self, offset: usize, size: usize) -> Option<usize> {
        // No overflow: an offset is at most `len`, and `place` adds no more to it than leaves room for the size below `isize::MAX`.
        let end = offset + size;
        (end <= self.len).then(|| self.rounded(end))
    }

    /// Where the next block may begin behind one that ends at `end`, which is no more than the length.
    #[inline(always)]
    fn rounded(&self, end: usize) -> usize {
        // No overflow: `len` is at most `isize::MAX`, as of any object.
        let up = (end + (GRANULE - 1)) & !(GRANULE - 1);
        // Nothing to compute where the length is a constant.
        if self.len % GRANULE == 0 { up } else { up.min(self.len) }
    }

    /// Offset and end of the first block for `layout` from `from` on.
    #[inline(always)]
    fn place(&self, from: usize, layout: Layout) -> Option<(usize, usize)> {
        let align_mask = layout.align() - 1;
        // What is missing to an aligned address. With the layout's size it is at most `isize::MAX`, as any layout's when it is padded.
        let pad = (self.base.addr().get() + from).wrapping_neg() & align_mask;
        let offset = from + pad;
        Some((offset, self.end(offset, layout.size())?))
    }

    /// The bytes from `offset` to `end`, with provenance for them that is the buffer's own.
    #[inline(always)]
    fn block(&self, offset: usize, end: usize) -> NonNull<[u8]> {
        debug_assert!(offset <= end);
        debug_assert!(end <= self.len);
        // SAFETY: `offset` is in the buffer, or right at its end, by the callers in this file.
        let start = unsafe { self.base.add(offset) };
        mem::slice(start, end - offset)
    }

    /// A block for `layout`, which is not of size zero; `None` if the buffer has no room for it.
    #[inline(always)]
    pub(super) fn alloc(&mut self, layout: Layout) -> Option<NonNull<[u8]>> {
        let (offset, end) = self.place(self.top(), layout)?;
        self.state.top = end as u32;
        self.state.live += 1;
        Some(self.block(offset, end))
    }

    /// The length of a block of `size` bytes, if the buffer could ever have one.
    pub(super) fn good_size(&self, size: usize) -> Option<usize> {
        align_up(size, GRANULE).filter(|&len| len <= self.len)
    }

    /// Takes the block at `offset` back.
    ///
    /// # Safety
    /// It is live, and `size` its own (any from the requested to the returned one).
    #[inline(always)]
    pub(super) unsafe fn dealloc(&mut self, offset: usize, size: usize) {
        // A free too many is the caller's fault and undefined; it does not unwind all the same.
        self.state.live = self.state.live.wrapping_sub(1);
        if self.state.live == 0 {
            self.state.top = 0;
        } else if self.rounded(offset + size) == self.top() {
            self.state.top = offset as u32;
        }
    }

    /// Changes the size of the block at `offset` where it stands: the last one, or the only one, to whatever there is room for, and others
    /// to what they have.
    ///
    /// # Safety
    /// The block is live, `old_size` its own, and `new` is not of size zero.
    #[inline(always)]
    pub(super) unsafe fn resize_in_place(
        &mut self,
        offset: usize,
        old_size: usize,
        new: Layout,
    ) -> Option<NonNull<[u8]>> {
        if (self.base.addr().get() + offset) & (new.align() - 1) != 0 {
            return None;
        }
        let (old_end, new_end) = (self.end(offset, old_size)?, self.end(offset, new.size())?);
        if old_end == self.top() || self.state.live == 1 {
            self.state.top = new_end as u32;
        } else if new_end > old_end {
            return None;
        }
        Some(self.block(offset, new_end))
    }

    /// Changes size and alignment of a block, within the buffer: in place, or else to the buffer's start if no other block is live, or else
    /// behind the last one. `None` if none of that has room; nothing has changed then.
    ///
    /// # Safety
    /// `ptr` is a live block at `offset`, `old_size` its own size, and `new` is not of size zero. On success `ptr` is dead.
    pub(super) unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        offset: usize,
        old_size: usize,
        new: Layout,
    ) -> Option<NonNull<[u8]>> {
        // SAFETY: the caller's promise is the same.
        if let Some(block) = unsafe { self.resize_in_place(offset, old_size, new) } {
            return Some(block);
        }
        let kept = old_size.min(new.size());
        if self.state.live == 1 {
            let (offset, end) = self.place(0, new)?;
            let block = self.block(offset, end);
            // SAFETY: `kept` bytes are the old block's and within the new one; both lie in the buffer, where nobody else has a block. They
            // may overlap.
            unsafe { ptr.copy_to(block.cast(), kept) };
            self.state.top = end as u32;
            return Some(block);
        }
        let block = self.alloc(new)?;
        // SAFETY: `kept` bytes are the old block's and within the new one, which lies behind all live blocks.
        unsafe { ptr.copy_to_nonoverlapping(block.cast(), kept) };
        // SAFETY: the caller's promise.
        unsafe { self.dealloc(offset, old_size) };
        Some(block)
    }
}
