//! Blocks that are live, with what was written to them: an allocator is checked against it, operation by operation.

use std::alloc::{GlobalAlloc, Layout};
use std::collections::BTreeMap;

/// A xorshift generator (Marsaglia 2003).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() >> 16) as usize % end
    }

    /// A size whose logarithm is uniform, up to so many doublings.
    pub(crate) fn size(&mut self, doublings: usize) -> usize {
        let top = 1usize << self.below(doublings + 1);
        top / 2 + 1 + self.below(top.div_ceil(2))
    }
}

/// A live block: its layout, and what its bytes follow from.
#[derive(Clone, Copy)]
struct Block {
    layout: Layout,
    seed: u8,
}

/// The byte at an offset of a block.
fn byte(seed: u8, offset: usize) -> u8 {
    seed.wrapping_mul(31).wrapping_add(offset as u8) ^ (offset >> 8) as u8
}

/// All live blocks of one owner, by address.
#[derive(Default)]
pub(crate) struct Shadow {
    blocks: BTreeMap<usize, Block>,
    count: u8,
}

// The addresses are those of blocks that nobody else uses.
impl Shadow {
    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Bytes that were asked for.
    pub(crate) fn bytes(&self) -> usize {
        self.blocks.values().map(|block| block.layout.size()).sum()
    }

    /// Notes a new block, after a check that it is aligned and overlaps none; writes what will be checked.
    fn add(&mut self, block: *mut u8, layout: Layout) {
        let start = block.addr();
        assert_eq!(start % layout.align(), 0, "{layout:?} is not aligned");
        let before = self.blocks.range(..start + layout.size()).next_back();
        if let Some((&other, known)) = before {
            assert!(other + known.layout.size() <= start, "{layout:?} overlaps {:?}", known.layout);
        }
        self.count = self.count.wrapping_add(1);
        let seed = self.count;
        for offset in places(layout.size()) {
            // SAFETY: within the block.
            unsafe { block.add(offset).write(byte(seed, offset)) };
        }
        self.blocks.insert(start, Block { layout, seed });
    }

    /// Checks the first bytes of a block.
    fn check(block: *mut u8, known: Block, len: usize) {
        for offset in places(known.layout.size()).filter(|&offset| offset < len) {
            // SAFETY: within the block.
            let found = unsafe { block.add(offset).read() };
            assert_eq!(found, byte(known.seed, offset), "byte {offset} of {:?}", known.layout);
        }
    }

    /// A block of this layout; says whether there was one.
    pub(crate) fn alloc(&mut self, heap: &impl GlobalAlloc, layout: Layout, zeroed: bool) -> bool {
        // SAFETY: no size here is zero.
        let block = unsafe { if zeroed { heap.alloc_zeroed(layout) } else { heap.alloc(layout) } };
        if block.is_null() {
            return false;
        }
        for offset in places(layout.size()).filter(|_| zeroed) {
            // SAFETY: within the block.
            assert_eq!(unsafe { block.add(offset).read() }, 0, "byte {offset} of {layout:?} is not zero");
        }
        self.add(block, layout);
        true
    }

    /// A block at random.
    fn any(&self, random: &mut Random) -> Option<(*mut u8, Block)> {
        let from = random.next() as usize >> 17;
        let found = self.blocks.range(from..).next().or(self.blocks.iter().next())?;
        Some((std::ptr::with_exposed_provenance_mut(*found.0), *found.1))
    }

    /// Frees a block at random.
    pub(crate) fn free(&mut self, heap: &impl GlobalAlloc, random: &mut Random) {
        let Some((block, known)) = self.any(random) else { return };
        self.blocks.remove(&block.addr());
        Self::check(block, known, usize::MAX);
        // SAFETY: the block is live, and its layout this one.
        unsafe { heap.dealloc(block, known.layout) };
    }

    /// Gives a block at random another size.
    pub(crate) fn resize(&mut self, heap: &impl GlobalAlloc, random: &mut Random, new_size: usize) {
        let Some((block, known)) = self.any(random) else { return };
        // SAFETY: the block is live, and its layout this one; no size here is zero.
        let moved = unsafe { heap.realloc(block, known.layout, new_size) };
        if moved.is_null() {
            return Self::check(block, known, usize::MAX);
        }
        self.blocks.remove(&block.addr());
        Self::check(moved, known, new_size);
        self.add(moved, Layout::from_size_align(new_size, known.layout.align()).unwrap());
    }

    /// Frees all.
    pub(crate) fn clear(&mut self, heap: &impl GlobalAlloc) {
        for (start, known) in std::mem::take(&mut self.blocks) {
            let block = std::ptr::with_exposed_provenance_mut(start);
            Self::check(block, known, usize::MAX);
            // SAFETY: the block is live, and its layout this one.
            unsafe { heap.dealloc(block, known.layout) };
        }
    }

    /// Shows each block and its size.
    pub(crate) fn each(&self, mut see: impl FnMut(*mut u8, Layout)) {
        for (&start, block) in &self.blocks {
            see(std::ptr::with_exposed_provenance_mut(start), block.layout);
        }
    }
}

/// The places of a block that are written and checked: all of a small one; of others the ends, and some between.
fn places(size: usize) -> impl Iterator<Item = usize> {
    let step = if size <= 512 { 1 } else { 509 };
    (0..size).step_by(step).chain(size.saturating_sub(16)..size)
}

/// Layouts of all kinds, mostly small.
pub(crate) fn any_layout(random: &mut Random) -> Layout {
    let size = match random.below(200) {
        0 => random.size(22),
        1..=9 => random.size(17),
        _ => random.size(11),
    };
    let align = match random.below(40) {
        0 => 1 << random.below(17),
        1..=4 => 1 << random.below(8),
        _ => 8,
    };
    Layout::from_size_align(size, align).unwrap()
}

/// So many operations at random, of all kinds.
pub(crate) fn churn(
    heap: &impl GlobalAlloc,
    random: &mut Random,
    shadow: &mut Shadow,
    count: usize,
    live: usize,
) {
    for _ in 0..count {
        match random.below(16) {
            0..=6 if shadow.len() < live => {
                let layout = any_layout(random);
                shadow.alloc(heap, layout, random.below(4) == 0);
            }
            0..=10 => shadow.free(heap, random),
            _ => {
                let size = any_layout(random).size();
                shadow.resize(heap, random, size);
            }
        }
    }
}
