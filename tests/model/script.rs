//! What a model run does: operations that say their sizes in the heap's own terms, so that one script fits every heap,
//! and that shrink.

use quickcheck::{Arbitrary, Gen};

/// A size, in terms that each heap turns into bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// So many bytes.
    Bytes(usize),
    /// So many granules, and so many bytes more or less.
    Granules(u8, i8),
    /// The largest object of the heap, and so many bytes more or less.
    Largest(i8),
    /// So many sixteenths of what is free now, and so many bytes more or less.
    OfFree(u8, i8),
    /// So many eighths of the block's present size (of 64 bytes if there is none), and so many bytes more or less.
    OfOld(u8, i8),
    /// `isize::MAX` less so many bytes.
    Huge(u8),
}

/// Which face of the heap is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// `SharedHeap`.
    Shared,
    /// `GlobalAlloc`.
    Global,
    /// `Allocator` of allocator-api2.
    Allocator,
}

/// One operation. Blocks are picked by number, modulo how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// A new block, aligned to `1 << align` bytes.
    Alloc { size: Size, align: u8, zeroed: bool, way: Way },
    /// A block goes; `slack` (of 255) says where between the requested and the returned size the layout lies.
    Free { pick: u16, slack: u8, way: Way },
    /// A block changes size and (unless `align` is none) alignment: grow, grow_zeroed, shrink or realloc.
    Resize { pick: u16, size: Size, align: Option<u8>, zeroed: bool, slack: u8, way: Way },
    /// A walk over the chunks, which may merge what was kept apart.
    Walk,
    /// All blocks go at once.
    Reset,
}

/// A whole run: the region's cut and the operations on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Script {
    /// So many bytes are taken off the region's longest length.
    pub(crate) trim: usize,
    /// So many bytes the region's start is off a 4 KiB boundary.
    pub(crate) skew: usize,
    /// What is done, in order.
    pub(crate) ops: Vec<Op>,
}

/// How a stretch of a script draws: what sizes, and how often which operation.
struct Mood {
    small: bool,
    allocs: u32,
    frees: u32,
    resizes: u32,
}

impl Mood {
    fn draw(g: &mut Gen) -> Self {
        let (allocs, frees, resizes) =
            *g.choose(&[(6, 1, 3), (4, 3, 4), (2, 5, 3), (1, 1, 5)]).unwrap_or(&(1, 1, 1));
        Mood { small: bool::arbitrary(g), allocs, frees, resizes }
    }
}

/// A number below `end`.
fn below(g: &mut Gen, end: u32) -> u32 {
    u32::arbitrary(g) % end
}

/// A number around zero, zero most often.
fn nudge(g: &mut Gen) -> i8 {
    *g.choose(&[0, 0, 0, 1, -1, 2, -2, 7, -7]).unwrap_or(&0)
}

fn draw_size(g: &mut Gen, mood: &Mood) -> Size {
    // Even among small objects a large one at times, so that what those leave behind must be merged.
    let kinds = if mood.small && below(g, 12) > 0 { 9 } else { 16 };
    let kind = below(g, kinds);
    match kind {
        0..3 => Size::Bytes(below(g, 65) as usize),
        3..6 => Size::Granules((below(g, 12)) as u8, nudge(g)),
        6 => Size::Granules(below(g, 140) as u8, nudge(g)),
        7 => Size::OfOld((1 + below(g, 20)) as u8, nudge(g)),
        8 => Size::Bytes(below(g, 513) as usize),
        9..13 => Size::OfFree((1 + below(g, 5)) as u8, nudge(g)),
        13 if bool::arbitrary(g) => Size::OfFree(16, nudge(g)),
        13 => Size::OfFree((1 + below(g, 17)) as u8, nudge(g)),
        14 => Size::Largest(nudge(g)),
        _ => Size::Huge(below(g, 40) as u8),
    }
}

/// The exponent of an alignment: mostly a word's, at times anything up to 2³¹.
fn draw_align(g: &mut Gen) -> u8 {
    let end = *g.choose(&[4, 4, 4, 4, 4, 6, 6, 8, 12, 14, 32]).unwrap_or(&4);
    below(g, end) as u8
}

fn draw_way(g: &mut Gen) -> Way {
    *g.choose(&[Way::Shared, Way::Global, Way::Allocator]).unwrap_or(&Way::Shared)
}

fn draw_op(g: &mut Gen, mood: &Mood) -> Op {
    let sum = mood.allocs + mood.frees + mood.resizes;
    match below(g, 400) {
        0 => return Op::Reset,
        1..8 => return Op::Walk,
        _ => {}
    }
    let drawn = below(g, sum);
    let way = draw_way(g);
    if drawn < mood.allocs {
        Op::Alloc { size: draw_size(g, mood), align: draw_align(g), zeroed: below(g, 4) == 0, way }
    } else if drawn < mood.allocs + mood.frees {
        Op::Free { pick: u16::arbitrary(g), slack: u8::arbitrary(g), way }
    } else {
        let align = (below(g, 3) == 0).then(|| draw_align(g));
        let (pick, slack) = (u16::arbitrary(g), u8::arbitrary(g));
        Op::Resize { pick, size: draw_size(g, mood), align, zeroed: below(g, 3) == 0, slack, way }
    }
}

impl Arbitrary for Op {
    fn arbitrary(g: &mut Gen) -> Self {
        let mood = Mood::draw(g);
        draw_op(g, &mood)
    }

    /// Towards small sizes, small alignments, plain calls.
    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        let mut simpler = Vec::new();
        match *self {
            Op::Alloc { size, align, zeroed, way } => {
                simpler.extend(simpler_sizes(size).map(|size| Op::Alloc { size, align, zeroed, way }));
                simpler.extend(simpler_aligns(align).map(|align| Op::Alloc { size, align, zeroed, way }));
                if zeroed || way != Way::Shared {
                    simpler.push(Op::Alloc { size, align, zeroed: false, way: Way::Shared });
                }
            }
            Op::Free { pick, slack, way } => {
                simpler.extend(simpler_picks(pick).map(|pick| Op::Free { pick, slack, way }));
                if slack > 0 || way != Way::Shared {
                    simpler.push(Op::Free { pick, slack: 0, way: Way::Shared });
                }
            }
            Op::Resize { pick, size, align, zeroed, slack, way } => {
                let with = |size, align| Op::Resize { pick, size, align, zeroed, slack, way };
                simpler.extend(simpler_picks(pick).map(|pick| Op::Resize {
                    pick,
                    size,
                    align,
                    zeroed,
                    slack,
                    way,
                }));
                simpler.extend(simpler_sizes(size).map(|size| with(size, align)));
                simpler.extend(align.is_some().then_some(with(size, None)));
                simpler.extend(align.into_iter().flat_map(simpler_aligns).map(|a| with(size, Some(a))));
                if zeroed || slack > 0 || way != Way::Shared {
                    simpler.push(Op::Resize { pick, size, align, zeroed: false, slack: 0, way: Way::Shared });
                }
            }
            Op::Walk | Op::Reset => {}
        }
        Box::new(simpler.into_iter())
    }
}

/// Sizes to try instead of `size`: plain bytes, halves, one less, or just all that is free.
fn simpler_sizes(size: Size) -> impl Iterator<Item = Size> {
    const ALL: Size = Size::OfFree(16, 0);
    let simpler = match size {
        Size::Bytes(bytes) => [Size::Bytes(bytes / 2), Size::Bytes(bytes.saturating_sub(1)), size],
        _ => [Size::Bytes(8), Size::Bytes(64), ALL],
    };
    simpler.into_iter().filter(move |&simpler| simpler != size)
}

fn simpler_picks(pick: u16) -> impl Iterator<Item = u16> {
    [0, 1, 2, pick % 8, pick / 2].into_iter().filter(move |&simpler| simpler < pick)
}

fn simpler_aligns(align: u8) -> impl Iterator<Item = u8> {
    [0, align / 2, align.saturating_sub(1)].into_iter().filter(move |&simpler| simpler < align)
}

impl Arbitrary for Script {
    /// Up to `g.size()` operations, in moods that change every so often, so that heaps fill up and run empty.
    fn arbitrary(g: &mut Gen) -> Self {
        let len = 1 + below(g, g.size() as u32) as usize;
        let mut ops = Vec::with_capacity(len);
        while ops.len() < len {
            let mood = Mood::draw(g);
            let until = len.min(ops.len() + 10 + below(g, 80) as usize);
            while ops.len() < until {
                ops.push(draw_op(g, &mood));
            }
        }
        let trim_end = *g.choose(&[1, 16, 64, 600, 4000]).unwrap_or(&1);
        let skew_end = *g.choose(&[1, 1, 16, 64, 4096]).unwrap_or(&1);
        Script { trim: below(g, trim_end) as usize, skew: below(g, skew_end) as usize, ops }
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        let Script { trim, skew, ref ops } = *self;
        let mut simpler = Vec::new();
        simpler.extend((trim > 0).then(|| Script { trim: 0, skew, ops: ops.clone() }));
        simpler.extend((skew > 0).then(|| Script { trim, skew: 0, ops: ops.clone() }));
        let fewer = ops.shrink().map(move |ops| Script { trim, skew, ops });
        Box::new(simpler.into_iter().chain(fewer))
    }
}
