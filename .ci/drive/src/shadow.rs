//! What is known of the blocks that are live.

use core::alloc::Layout;
use core::ptr::NonNull;

/// The most blocks that are live at once.
const LIVE_MAX: usize = 48;

/// How much of a block is written, and looked at, at once.
const PART: usize = 1024;

/// What blocks are filled with, from one of the first 256 places on.
static PATTERN: [u8; 256 + PART] = {
    let mut bytes = [0; 256 + PART];
    let mut idx = 0;
    while idx < bytes.len() {
        bytes[idx] = (idx * 29 + idx / 256) as u8;
        idx += 1;
    }
    bytes
};
static ZEROES: [u8; PART] = [0; PART];

/// A live block, filled from its first byte to its last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live {
    pub(crate) ptr: NonNull<u8>,
    /// As it was asked for.
    pub(crate) layout: Layout,
    /// The length that was given.
    pub(crate) len: usize,
    /// Where in the pattern it begins that it is filled with.
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

    /// The parts that the block is filled by: where each begins, and what it holds.
    fn parts(&self) -> impl Iterator<Item = (usize, &'static [u8])> {
        let (len, mark) = (self.len, usize::from(self.mark));
        (0..len.div_ceil(PART)).map(move |part| {
            let start = (mark + part * 7) % 256;
            (part * PART, &PATTERN[start..start + PART.min(len - part * PART)])
        })
    }

    pub(crate) fn fill(&self) {
        for (at, bytes) in self.parts() {
            // SAFETY: the block has so many bytes.
            let to = unsafe { self.ptr.add(at) };
            // SAFETY: they are ours, and have nothing to do with a static.
            unsafe { to.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
        }
    }

    /// Checks that the first `count` bytes are those that were written.
    pub(crate) fn check(&self, count: usize) {
        for (at, bytes) in self.parts().take_while(|&(at, _)| at < count) {
            self.check_part(at, &bytes[..bytes.len().min(count - at)]);
        }
    }

    pub(crate) fn check_zero(&self) {
        for at in (0..self.len).step_by(PART) {
            self.check_part(at, &ZEROES[..PART.min(self.len - at)]);
        }
    }

    /// All at once: a comparison of single bytes would be slow under a fuzzer, which has each of them watched.
    fn check_part(&self, at: usize, expected: &[u8]) {
        // SAFETY: the block has so many bytes.
        let from = unsafe { self.ptr.add(at) };
        let bytes = NonNull::slice_from_raw_parts(from, expected.len());
        // SAFETY: they are written, ours, and nothing changes them meanwhile.
        let found = unsafe { bytes.as_ref() };
        if found != expected {
            self.differs(at, found, expected);
        }
    }

    #[cold]
    fn differs(&self, at: usize, found: &[u8], expected: &[u8]) {
        for (idx, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert_eq!(found, expected, "byte {} of {self:?}", at + idx);
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
