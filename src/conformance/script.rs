//! What is done to a subject: operations that say their sizes and blocks in relative terms, so that any part of a script is a script.

use std::vec::Vec;

use super::pattern::splitmix;

/// A size, which the run turns into bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// So many bytes.
    Bytes(usize),
    /// So many eighths of the block's present size (of 64 bytes if there is none), and so many bytes more or less.
    OfOld(u8, i8),
    /// `isize::MAX` less so many bytes.
    Huge(u8),
}

/// Which of several methods for the same is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The plain one.
    Plain,
    /// The one that zeroes.
    Zeroed,
    /// `.._at_hand`, and the plain one if that gives nothing. A resize: in place, or not at all.
    Special,
}

/// One operation. Blocks are picked by number, modulo how many there are; `slack` (of 255) says where between the requested and the
/// returned size the layout lies with which a block comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// A new block, aligned to `1 << align` bytes.
    Alloc { size: Size, align: u8, way: Way },
    /// A block goes. `Special`: by `.._at_hand` or `try_dealloc`.
    Free { pick: u16, slack: u8, way: Way },
    /// A block changes size and (unless `align` is none) alignment.
    Resize { pick: u16, size: Size, align: Option<u8>, slack: u8, way: Way },
    /// So many blocks at once.
    AllocBatch { size: Size, align: u8, count: u8 },
    /// Up to so many blocks of one layout go at once.
    FreeBatch { pick: u16, count: u8 },
    /// Memory that nobody needs is given back.
    Release,
    /// The heap moves.
    Move,
    /// All blocks are forgotten.
    Reset,
    /// The heap is looked into.
    Inspect,
}

/// What scripts are drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// The largest size, in bytes.
    pub(super) size_max: usize,
    /// The largest alignment, in bytes.
    pub(super) align_max: usize,
}

/// The generator of scripts.
pub(super) struct Draw {
    state: u64,
    range: Range,
}

impl Draw {
    pub(super) fn new(seed: u64, range: Range) -> Self {
        Draw { state: seed, range }
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        ((splitmix(&mut self.state) >> 16) % end.max(1) as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn size(&mut self) -> Size {
        match self.below(40) {
            0..8 => Size::Bytes(1 + self.below(64.min(self.range.size_max))),
            8..30 => {
                // Uniform in the logarithm; near powers of two and the largest at times.
                let bits = usize::BITS - self.range.size_max.leading_zeros();
                let top = 1usize << self.below(bits as usize + 1);
                let exact = self.below(3) == 0;
                let size = if exact { top } else { 1 + top / 2 + self.below(top) };
                Size::Bytes(size.saturating_add_signed(self.one_of(&[0, 0, 0, 1, -1])))
            }
            30..36 => Size::OfOld(1 + self.below(20) as u8, self.one_of(&[0, 0, 1, -1, 7, -7])),
            36 => Size::Bytes(self.range.size_max.saturating_add_signed(self.one_of(&[0, 1, -1]))),
            37 => Size::Bytes(0),
            38 if self.below(4) == 0 => Size::Huge(self.below(40) as u8),
            _ => Size::OfOld(8, 0),
        }
    }

    fn align(&mut self) -> u8 {
        let most = self.range.align_max.trailing_zeros() as usize;
        let end = match self.below(50) {
            0..35 => 5.min(most + 1),
            35..42 => 8.min(most + 1),
            42..49 => most + 1,
            _ => 63,
        };
        self.below(end) as u8
    }

    fn way(&mut self) -> Way {
        self.one_of(&[Way::Plain, Way::Plain, Way::Zeroed, Way::Special])
    }

    /// An operation where the user's own blocks are what there is: no move, no reset.
    pub(super) fn op(&mut self, allocs: usize, frees: usize, resizes: usize) -> Op {
        let anywhere = self.below(256) as u8;
        let slack = self.one_of(&[0, 0, 255, 128, anywhere]);
        let pick = self.below(1 << 16) as u16;
        match self.below(200) {
            0..4 => Op::AllocBatch { size: self.size(), align: self.align(), count: self.below(20) as u8 },
            4..9 => Op::FreeBatch { pick, count: self.below(20) as u8 },
            9 => Op::Release,
            _ => {
                let drawn = self.below(allocs + frees + resizes);
                let way = self.way();
                if drawn < allocs {
                    Op::Alloc { size: self.size(), align: self.align(), way }
                } else if drawn < allocs + frees {
                    Op::Free { pick, slack, way }
                } else {
                    let align = (self.below(4) == 0).then(|| self.align());
                    Op::Resize { pick, size: self.size(), align, slack, way }
                }
            }
        }
    }

    /// A script of so many operations, in moods that change every so often, so that heaps fill up and run empty.
    pub(super) fn script(&mut self, len: usize) -> Vec<Op> {
        let mut ops = Vec::with_capacity(len);
        let mut mood = (1, 1, 1);
        while ops.len() < len {
            if ops.len() % 32 == 0 {
                mood = self.one_of(&[(6, 1, 3), (4, 3, 4), (2, 5, 3), (1, 1, 5), (4, 4, 1)]);
            }
            ops.push(match self.below(60) {
                0 => Op::Move,
                1 => Op::Inspect,
                2 if self.below(6) == 0 => Op::Reset,
                _ => self.op(mood.0, mood.1, mood.2),
            });
        }
        ops
    }
}

/// Scripts that are always run: what heaps have got wrong before.
pub(super) fn classics(range: Range) -> Vec<Vec<Op>> {
    let alloc = |size, align| Op::Alloc { size: Size::Bytes(size), align, way: Way::Plain };
    let free = |pick, slack| Op::Free { pick, slack, way: Way::Plain };
    let resize = |pick, size, align, slack| Op::Resize {
        pick,
        size: Size::Bytes(size),
        align,
        slack,
        way: Way::Plain,
    };
    let sizes = [1, 2, 8, 9, 24, 52, 64, 100, 256, 1000, 4096, range.size_max / 2, range.size_max];
    let mut all = Vec::new();
    for size in sizes.into_iter().filter(|&size| 0 < size && size <= range.size_max) {
        for slack in [0, 128, 255] {
            // Every size up to the returned one comes back, and the memory is used again.
            let mut back = Vec::new();
            for _ in 0..2 {
                back.extend([alloc(size, 0), alloc(size, 3), free(0, slack), alloc(size, 0), free(0, slack)]);
                back.extend([
                    resize(0, size * 2, None, slack),
                    resize(0, size / 2 + 1, None, slack),
                    free(0, slack),
                ]);
            }
            all.push(back);
        }
        // A resize that moves into the gap before its block, with and without another alignment.
        for align in [None, Some(0), Some(4), Some(6)] {
            let mut gap = Vec::from([alloc(size, 3), alloc(size, 3), alloc(size, 3), alloc(size, 3)]);
            gap.extend([free(0, 0), resize(1, size + size / 2, align, 0), resize(1, size * 3, align, 255)]);
            gap.extend([
                alloc(size, 3),
                resize(0, size / 3 + 1, align, 0),
                alloc(size / 2 + 1, 0),
                Op::Inspect,
            ]);
            all.push(gap);
        }
        // Moved with live blocks, which are then resized.
        all.push(Vec::from([
            alloc(size, 3),
            alloc(size, 0),
            Op::Move,
            resize(0, size + 1, None, 0),
            Op::Move,
            free(0, 0),
        ]));
        // Batches, and what stands between them.
        all.push(Vec::from([
            Op::AllocBatch { size: Size::Bytes(size), align: 3, count: 17 },
            free(3, 255),
            alloc(size, 0),
            Op::FreeBatch { pick: 0, count: 9 },
            Op::AllocBatch { size: Size::Bytes(size), align: 0, count: 0 },
            Op::Release,
            Op::AllocBatch { size: Size::Bytes(size), align: 3, count: 3 },
        ]));
    }
    all.push(extremes(range));
    all
}

/// Layouts at the edges of what there is: each is met or refused, and nothing else happens.
fn extremes(range: Range) -> Vec<Op> {
    let mut ops = Vec::from([Op::Alloc { size: Size::Bytes(24), align: 3, way: Way::Plain }]);
    for align in [0, 3, 12, 13, 16, 20, 31, 32, 47, 61, 62] {
        for size in
            [Size::Bytes(0), Size::Bytes(1), Size::Bytes(17), Size::Bytes(range.size_max), Size::Huge(0)]
        {
            for way in [Way::Plain, Way::Zeroed, Way::Special] {
                ops.push(Op::Alloc { size, align, way });
                ops.push(Op::Resize { pick: 0, size, align: Some(align), slack: 0, way });
                ops.push(Op::Free { pick: 1, slack: 255, way });
            }
            ops.push(Op::AllocBatch { size, align, count: 2 });
            ops.push(Op::FreeBatch { pick: 1, count: 2 });
        }
    }
    for less in [0, 1, 2, 6, 7, 8, 15, 16, 31, 63, 127, 255] {
        ops.push(Op::Alloc { size: Size::Huge(less), align: 0, way: Way::Plain });
        ops.push(Op::Resize { pick: 0, size: Size::Huge(less), align: None, slack: 0, way: Way::Zeroed });
        ops.push(Op::Resize { pick: 0, size: Size::Huge(less), align: Some(3), slack: 0, way: Way::Special });
    }
    ops
}

/// Simpler operations to try in place of one.
pub(super) fn simpler(op: Op) -> Vec<Op> {
    let mut found = Vec::new();
    match op {
        Op::Alloc { size, align, way } => {
            found.extend(sizes(size).map(|size| Op::Alloc { size, align, way }));
            found.extend((align > 0).then_some(Op::Alloc { size, align: align / 2, way }));
            found.push(Op::Alloc { size, align, way: Way::Plain });
        }
        Op::Free { pick, slack, way } => {
            found.extend(picks(pick).map(|pick| Op::Free { pick, slack, way }));
            found.push(Op::Free { pick, slack: 0, way });
            found.push(Op::Free { pick, slack, way: Way::Plain });
        }
        Op::Resize { pick, size, align, slack, way } => {
            found.extend(sizes(size).map(|size| Op::Resize { pick, size, align, slack, way }));
            found.extend(picks(pick).map(|pick| Op::Resize { pick, size, align, slack, way }));
            found.push(Op::Resize { pick, size, align: None, slack, way });
            found.push(Op::Resize { pick, size, align, slack: 0, way });
            found.push(Op::Resize { pick, size, align, slack, way: Way::Plain });
        }
        Op::AllocBatch { size, align, count } => {
            found.extend(sizes(size).map(|size| Op::AllocBatch { size, align, count }));
            found.push(Op::AllocBatch { size, align, count: count / 2 });
            found.push(Op::AllocBatch { size, align: 0, count });
        }
        Op::FreeBatch { pick, count } => {
            found.extend(picks(pick).map(|pick| Op::FreeBatch { pick, count }));
            found.push(Op::FreeBatch { pick, count: count / 2 });
        }
        Op::Release | Op::Move | Op::Reset | Op::Inspect => {}
    }
    found.retain(|&simpler| simpler != op);
    found
}

fn sizes(size: Size) -> impl Iterator<Item = Size> {
    let simpler = match size {
        Size::Bytes(bytes) => [Size::Bytes(bytes / 2), Size::Bytes(bytes.saturating_sub(1))],
        _ => [Size::Bytes(8), Size::Bytes(64)],
    };
    simpler.into_iter()
}

fn picks(pick: u16) -> impl Iterator<Item = u16> {
    [0, 1, 2, pick % 8, pick / 2].into_iter().filter(move |&simpler| simpler < pick)
}
