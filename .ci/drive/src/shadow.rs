//! What is known of the blocks that are live.

use core::alloc::Layout;
use core::ptr::NonNull;

/// The most blocks that are live at once.
const LIVE_MAX: usize = 48;

/// A live block, filled from its first byte to its last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live {
    pub(crate) ptr: NonNull<u8>,
    /// As it was asked for.
    pub(crate) layout: Layout,
    /// The length that was given.
    pub(crate) len: usize,
    /// What it is filled with: this, and so on.
    pub(crate) mark: u8,
}

impl Live {
    /// A layout that the block may come back with.
    pub(crate) fn between(&self, slack: u8) -> Layout {
        let (size, align) = (self.layout.size(), self.layout.align());
        let extra = (self.len - size) / 255 * usize::from(slack);
        let extra = if slack == u8::MAX {
            self.len - size
        } else {
            extra.max(usize::from(slack).min(self.len - size))
        };
        Layout::from_size_align(size + extra, align).unwrap_or(self.layout)
    }

    fn byte(&self, idx: usize) -> u8 {
        self.mark.wrapping_add((idx as u8).wrapping_mul(29)).wrapping_add((idx >> 8) as u8)
    }

    pub(crate) fn fill(&self) {
        for idx in 0..self.len {
            // SAFETY: the block has so many bytes.
            let at = unsafe { self.ptr.add(idx) };
            // SAFETY: they are ours.
            unsafe { at.write(self.byte(idx)) };
        }
    }

    /// Checks that the first `count` bytes are those that were written.
    pub(crate) fn check(&self, count: usize) {
        self.check_bytes(count, |idx| self.byte(idx));
    }

    pub(crate) fn check_zero(&self) {
        self.check_bytes(self.len, |_| 0);
    }

    fn check_bytes(&self, count: usize, expected: impl Fn(usize) -> u8) {
        for idx in 0..count {
            // SAFETY: the block has so many bytes.
            let at = unsafe { self.ptr.add(idx) };
            // SAFETY: they are written, and ours.
            let found = unsafe { at.read() };
            assert_eq!(found, expected(idx), "byte {idx} of {self:?}");
        }
    }
}

/// All live blocks.
#[derive(Debug)]
pub(crate) struct Shadow {
    blocks: [Option<Live>; LIVE_MAX],
    count: usize,
    marks: u8,
}

impl Shadow {
    pub(crate) fn new() -> Self {
        Shadow { blocks: [None; LIVE_MAX], count: 0, marks: 0 }
    }

    fn live(&self) -> impl Iterator<Item = &Live> {
        self.blocks[..self.count].iter().flatten()
    }

    pub(crate) fn has_room(&self, count: usize) -> bool {
        self.count + count <= LIVE_MAX
    }

    /// What to fill the next block with.
    pub(crate) fn mark(&mut self) -> u8 {
        self.marks = self.marks.wrapping_add(101);
        self.marks
    }

    /// Blocks that have bytes, and the bytes that were asked for.
    pub(crate) fn sums(&self) -> (usize, usize) {
        self.live()
            .filter(|block| block.layout.size() > 0)
            .fold((0, 0), |(count, bytes), block| (count + 1, bytes + block.layout.size()))
    }

    pub(crate) fn put(&mut self, block: Live) {
        self.blocks[self.count] = Some(block);
        self.count += 1;
    }

    /// Takes the block of that number, modulo how many there are.
    pub(crate) fn take(&mut self, pick: u8) -> Option<Live> {
        let idx = usize::from(pick).checked_rem(self.count)?;
        self.count -= 1;
        self.blocks.swap(idx, self.count);
        self.blocks[self.count].take()
    }

    pub(crate) fn take_last(&mut self) -> Option<Live> {
        self.count = self.count.checked_sub(1)?;
        self.blocks[self.count].take()
    }

    /// Checks where a new block is: aligned, long enough, apart from all others.
    pub(crate) fn check_place(&self, block: &Live) {
        let start = block.ptr.addr().get();
        assert_eq!(start % block.layout.align(), 0, "not aligned: {block:?}");
        assert!(block.len >= block.layout.size(), "too short: {block:?}");
        let Some(end) = start.checked_add(block.len) else { panic!("past the end of memory: {block:?}") };
        for other in self.live().filter(|other| other.len > 0 && block.len > 0) {
            let from = other.ptr.addr().get();
            assert!(end <= from || from + other.len <= start, "two blocks overlap: {block:?} and {other:?}");
        }
    }

    pub(crate) fn check_all(&self) {
        self.live().for_each(|block| block.check(block.len));
    }
}
