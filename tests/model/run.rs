//! The run: each operation is done on the heap and on a shadow of it, and everything that both know is compared.

use std::alloc::Layout;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::ptr::NonNull;

use heapwright::heap::{ChunkKind, Usage};

use super::pattern;
use super::script::{Op, Script, Size, Way};
use super::subject::{Facts, Subject};

/// What was found to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// A block lies outside the region.
    Bounds,
    /// A block is not aligned as asked.
    Alignment,
    /// A block is shorter than asked.
    Length,
    /// A block overlaps a live one.
    Overlap,
    /// A live block does not hold what was written to it.
    Contents,
    /// Bytes that should be zero are not.
    Zeroed,
    /// `usage` differs from the shadow.
    Usage,
    /// `chunks` differs from the shadow, or from `usage`.
    Chunks,
    /// `owns` denies a live block.
    Owns,
    /// A request that had to be met was refused, or the other way round.
    Refusal,
    /// Memory beside the region was written.
    Sentinel,
    /// The heap's own check of its state failed.
    Verify,
    /// A proper call was counted as misuse.
    Misuse,
}

/// A failed check.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) check: Check,
    /// Which operation, counted from 0, and the operation.
    pub(crate) step: (usize, Option<Op>),
    pub(crate) text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} after step {} ({:?}): {}", self.check, self.step.0, self.step.1, self.text)
    }
}

/// A live block as the shadow knows it.
#[derive(Clone, Copy, Debug)]
struct Block {
    ptr: NonNull<u8>,
    /// The layout that was asked for.
    layout: Layout,
    /// Bytes that are filled: the returned length.
    len: usize,
    /// Bytes that the heap counts as used for it.
    taken: usize,
    /// Which pattern it is filled with.
    id: u32,
}

impl Block {
    fn range(&self) -> Range<usize> {
        let start = self.ptr.addr().get();
        start..start + self.taken
    }
}

type Outcome<T = ()> = Result<T, (Check, String)>;

/// A check, its text made only if it fails.
macro_rules! ensure {
    ($holds:expr, $check:ident, $($text:tt)+) => {
        if !$holds {
            return Err((Check::$check, format!($($text)+)));
        }
    };
}

/// A heap, its shadow, and the way to see the sentinels.
struct Run<'s> {
    subject: &'s mut dyn Subject,
    untouched: &'s dyn Fn() -> Result<(), String>,
    facts: Facts,
    /// Live blocks by address, those of size zero apart.
    live: BTreeMap<usize, Block>,
    empty: Vec<Block>,
    next_id: u32,
    /// The usage of the empty heap.
    fresh: Usage,
    /// `verify` runs after every so many operations.
    verify_every: usize,
}

/// Does what `script` says on `subject`. `untouched` tells whether the memory beside the region is as it was.
pub(crate) fn run(
    subject: &mut dyn Subject,
    untouched: &dyn Fn() -> Result<(), String>,
    script: &Script,
) -> Result<(), Fault> {
    let (facts, fresh) = (subject.facts(), subject.usage());
    // A walk over all state costs as much as the region is long: the large ones are checked less often.
    let verify_every = 1 + fresh.total / (64 << 10);
    let (live, empty) = (BTreeMap::new(), Vec::new());
    let mut run = Run { subject, untouched, facts, live, empty, next_id: 1, fresh, verify_every };
    for (idx, &op) in script.ops.iter().enumerate() {
        let done = run.step(op).and_then(|()| run.check(idx));
        done.map_err(|(check, text)| Fault { check, step: (idx, Some(op)), text })?;
    }
    let end = run.drain().and_then(|()| run.check(0));
    end.map_err(|(check, text)| Fault { check, step: (script.ops.len(), None), text })
}

impl Run<'_> {
    fn step(&mut self, op: Op) -> Outcome {
        match op {
            Op::Alloc { size, align, zeroed, way } => {
                let size = self.bytes(size, None);
                match Layout::from_size_align(size, 1 << align) {
                    Ok(layout) => self.alloc(layout, zeroed, way),
                    Err(_) => Ok(()),
                }
            }
            Op::Free { pick, slack, way } => match self.take(pick) {
                Some(block) => self.free(block, slack, way),
                None => Ok(()),
            },
            Op::Resize { pick, size, align, zeroed, slack, way } => {
                let Some(block) = self.take(pick) else { return Ok(()) };
                let size = self.bytes(size, Some(block.layout.size()));
                let align = align.map_or(block.layout.align(), |align| 1 << align);
                match Layout::from_size_align(size, align) {
                    Ok(layout) => self.resize(block, layout, zeroed, slack, way),
                    Err(_) => {
                        self.put(block);
                        Ok(())
                    }
                }
            }
            Op::Walk => self.walk(),
            Op::Reset => {
                if self.subject.reset() {
                    self.live.clear();
                    self.empty.clear();
                    let usage = self.subject.usage();
                    ensure!(usage == self.fresh, Usage, "{usage:?} after a reset, {:?} when new", self.fresh);
                }
                Ok(())
            }
        }
    }

    /// A script's size in bytes.
    fn bytes(&self, size: Size, old: Option<usize>) -> usize {
        let (base, delta) = match size {
            Size::Bytes(bytes) => (bytes, 0),
            Size::Granules(count, delta) => (usize::from(count) * self.facts.granule, delta),
            Size::Largest(delta) => (self.facts.object_size_max, delta),
            Size::OfFree(sixteenths, delta) => {
                (self.subject.usage().free * usize::from(sixteenths) / 16, delta)
            }
            Size::OfOld(eighths, delta) => (old.unwrap_or(64) * usize::from(eighths) / 8, delta),
            Size::Huge(less) => (isize::MAX as usize - usize::from(less), 0),
        };
        base.saturating_add_signed(isize::from(delta))
    }

    /// Takes the block of that number, modulo how many there are, out of the shadow.
    fn take(&mut self, pick: u16) -> Option<Block> {
        let count = self.live.len() + self.empty.len();
        let idx = usize::from(pick).checked_rem(count)?;
        let Some(&addr) = self.live.keys().nth(idx) else {
            return Some(self.empty.swap_remove(idx - self.live.len()));
        };
        self.live.remove(&addr)
    }

    fn put(&mut self, block: Block) {
        if block.layout.size() == 0 {
            self.empty.push(block);
        } else {
            self.live.insert(block.ptr.addr().get(), block);
        }
    }

    fn used(&self) -> usize {
        self.live.values().map(|block| block.taken).sum()
    }

    fn alloc(&mut self, layout: Layout, zeroed: bool, way: Way) -> Outcome {
        let before = self.subject.usage();
        match self.subject.alloc(layout, zeroed, way) {
            Ok(made) => {
                let zero_from = if zeroed { Some(0) } else { None };
                self.welcome(made, layout, zero_from, None)
            }
            Err(_) => {
                self.unchanged(before)?;
                self.refused(layout, None)
            }
        }
    }

    fn free(&mut self, block: Block, slack: u8, way: Way) -> Outcome {
        self.contents(&block)?;
        let layout = self.routed(&block, slack, way);
        // SAFETY: the block is live and leaves the shadow here; the size lies between the requested and the returned
        // one, and is the requested one for `GlobalAlloc`.
        unsafe { self.subject.free(block.ptr, layout, way) };
        Ok(())
    }

    /// A block's layout as its user may give it back: with a size between the requested and the returned one.
    fn routed(&self, block: &Block, slack: u8, way: Way) -> Layout {
        let (size, align) = (block.layout.size(), block.layout.align());
        let extra = if way == Way::Global { 0 } else { (block.len - size) * usize::from(slack) / 255 };
        Layout::from_size_align(size + extra, align).unwrap_or(block.layout)
    }

    fn resize(&mut self, block: Block, new: Layout, zeroed: bool, slack: u8, way: Way) -> Outcome {
        self.contents(&block)?;
        let before = self.subject.usage();
        // `GlobalAlloc::realloc` keeps the alignment and can't be asked for zeroed bytes.
        let way = if new.align() == block.layout.align() && !zeroed { way } else { Way::Allocator };
        let old = self.routed(&block, slack, way);
        // SAFETY: the block is live, and out of the shadow until we know what became of it; the layout is its own.
        match unsafe { self.subject.resize(block.ptr, old, new, zeroed, way) } {
            Ok(made) => {
                let kept = (block.id, old.size().min(new.size()));
                let zero_from = if zeroed && new.size() > old.size() { Some(old.size()) } else { None };
                self.welcome(made, new, zero_from, Some(kept))
            }
            Err(_) => {
                self.put(block);
                self.unchanged(before)?;
                self.refused(new, Some(&block))
            }
        }
    }

    /// Checks a new or resized block, fills it, and enters it into the shadow. `kept` says whose first so many bytes it
    /// should begin with.
    fn welcome(
        &mut self,
        made: NonNull<[u8]>,
        layout: Layout,
        zero_from: Option<usize>,
        kept: Option<(u32, usize)>,
    ) -> Outcome {
        let (ptr, len) = (made.cast::<u8>(), made.len());
        let addr = ptr.addr().get();
        ensure!(addr % layout.align() == 0, Alignment, "{addr:#x} for {layout:?}");
        ensure!(len >= layout.size(), Length, "{len} bytes for {layout:?}");
        let id = self.next_id;
        self.next_id += 1;
        if layout.size() == 0 {
            self.empty.push(Block { ptr, layout, len: 0, taken: 0, id });
            return Ok(());
        }
        ensure!(
            layout.size() <= self.facts.object_size_max,
            Refusal,
            "{layout:?} is above the largest object"
        );
        // What the block takes shows in `usage` only: `GlobalAlloc` tells no length.
        let taken = self.subject.usage().used.wrapping_sub(self.used());
        let end = addr + len;
        ensure!(
            taken >= len && taken < isize::MAX as usize,
            Usage,
            "{layout:?} of {len} bytes takes {taken}"
        );
        let good_size = self.subject.good_size(layout);
        ensure!(taken == good_size, Length, "{layout:?} takes {taken}, its good size is {good_size}");
        if let Some(region) = &self.facts.region {
            let inside = region.start <= addr && addr + taken <= region.end;
            ensure!(inside, Bounds, "{addr:#x}..{end:#x} in {region:x?}");
        }
        if let Some((_, before)) = self.live.range(..=addr).next_back() {
            let before_end = before.ptr.addr().get() + before.taken;
            ensure!(before_end <= addr, Overlap, "{addr:#x} for {layout:?} lies in {before:?}");
        }
        if let Some((_, after)) = self.live.range(addr..).next() {
            ensure!(
                addr + taken <= after.ptr.addr().get(),
                Overlap,
                "{addr:#x}..{end:#x} reaches into {after:?}"
            );
        }
        ensure!(self.subject.owns(ptr, layout), Owns, "{addr:#x} is denied");
        if let Some((id, kept)) = kept {
            // SAFETY: the block is live and at least as long; its first bytes were filled before it moved.
            let lost = unsafe { pattern::first_difference(ptr, kept, id) };
            ensure!(lost.is_none(), Contents, "byte {lost:?} of the {kept} kept ones is lost at {addr:#x}");
        }
        if let Some(from) = zero_from {
            // SAFETY: the block is live, `len` bytes long, and the heap says that it has zeroed it.
            let dirty = unsafe { pattern::first_nonzero(ptr, from, len) };
            ensure!(dirty.is_none(), Zeroed, "byte {dirty:?} of {from}..{len} is not zero at {addr:#x}");
        }
        // SAFETY: the block is live, `len` bytes long, overlaps no other, and nobody else knows it.
        unsafe { pattern::fill(ptr, len, id) };
        self.live.insert(addr, Block { ptr, layout, len, taken, id });
        Ok(())
    }

    /// A failed operation changes nothing.
    fn unchanged(&self, before: Usage) -> Outcome {
        let after = self.subject.usage();
        ensure!(after == before, Usage, "{before:?} before a failed operation, {after:?} after it");
        self.all_contents()
    }

    /// A refusal is right only if no free chunk has room, and for a resize, if the block together with the free
    /// chunks on both sides of it has none either.
    fn refused(&self, layout: Layout, block: Option<&Block>) -> Outcome {
        ensure!(layout.size() > 0, Refusal, "{layout:?}: size zero is never refused");
        let granule = self.facts.granule;
        let Some(region) = &self.facts.region else { return Ok(()) };
        if layout.size() > self.facts.object_size_max {
            return Ok(());
        }
        let align = layout.align().max(granule);
        let size = layout.size().next_multiple_of(granule);
        let first = |range: &Range<usize>| range.start.checked_next_multiple_of(align);
        let mut around = block.map(|block| block.range());
        for chunk in self.subject.chunks().iter().filter(|chunk| chunk.kind == ChunkKind::Free) {
            let start = region.start + chunk.offset;
            let range = start..start + chunk.len;
            let room = if self.facts.bounded {
                chunk.len >= (size + align - granule).saturating_mul(2)
            } else {
                first(&range).is_some_and(|first| first + size <= range.end)
            };
            ensure!(!room, Refusal, "{layout:?} is refused with {range:x?} free");
            if let Some(around) = &mut around {
                around.start = if around.start == range.end { range.start } else { around.start };
                around.end = if around.end == range.start { range.end } else { around.end };
            }
        }
        let (Some(block), Some(around)) = (block, around) else { return Ok(()) };
        let own = block.range().start;
        let start = if self.facts.slides { first(&around) } else { (own % align == 0).then_some(own) };
        let room = start.is_some_and(|start| start + size <= around.end);
        ensure!(!room, Refusal, "{block:?} is refused {layout:?} in {around:x?}");
        Ok(())
    }

    fn contents(&self, block: &Block) -> Outcome {
        let (ptr, len) = (block.ptr, block.len);
        // SAFETY: the block is live, was filled when it came, and is written by nobody but us.
        let lost = unsafe { pattern::first_difference(ptr, len, block.id) };
        ensure!(lost.is_none(), Contents, "byte {lost:?} of {block:?} has changed");
        Ok(())
    }

    fn all_contents(&self) -> Outcome {
        self.live.values().try_for_each(|block| self.contents(block))
    }

    /// What must hold after every operation.
    fn check(&self, step: usize) -> Outcome {
        let usage = self.subject.usage();
        let (used, objects) = (self.used(), self.live.len());
        ensure!(
            usage.used == used && usage.objects == objects,
            Usage,
            "{usage:?}, expected {used}, {objects}"
        );
        if self.facts.fixed {
            let accounted = usage.used.checked_add(usage.free);
            let free = accounted.is_some_and(|sum| sum == self.fresh.free) && usage.total == self.fresh.total;
            ensure!(free, Usage, "{usage:?}, {:?} when new", self.fresh);
        }
        (self.untouched)().map_err(|text| (Check::Sentinel, text))?;
        ensure!(self.subject.misuses() == 0, Misuse, "{} calls", self.subject.misuses());
        if step % self.verify_every == 0 {
            self.subject.verify().map_err(|text| (Check::Verify, text))?;
        }
        if step % 8 == 0 {
            self.all_contents()?;
        }
        Ok(())
    }

    /// The chunks follow each other without gaps, none is free next to a free one, and they add up to `usage`; no live
    /// block lies in one that is not used.
    fn walk(&self) -> Outcome {
        let Some(region) = &self.facts.region else { return Ok(()) };
        let (chunks, usage) = (self.subject.chunks(), self.subject.usage());
        let sum =
            |kind| chunks.iter().filter(|chunk| chunk.kind == kind).map(|chunk| chunk.len).sum::<usize>();
        let (used, free) = (sum(ChunkKind::Used), sum(ChunkKind::Free));
        ensure!(used == usage.used && free == usage.free, Chunks, "{used} used, {free} free, but {usage:?}");
        for pair in chunks.windows(2) {
            ensure!(pair[0].offset + pair[0].len == pair[1].offset, Chunks, "a gap in {pair:?}");
            ensure!(
                pair[0].kind != ChunkKind::Free || pair[0].kind != pair[1].kind,
                Chunks,
                "unmerged {pair:?}"
            );
        }
        for block in self.live.values() {
            let start = block.ptr.addr().get() - region.start;
            let holds = chunks.iter().any(|chunk| {
                chunk.kind == ChunkKind::Used
                    && chunk.offset <= start
                    && start + block.taken <= chunk.offset + chunk.len
            });
            ensure!(holds, Chunks, "no used chunk holds {block:?}");
        }
        Ok(())
    }

    /// Frees everything: an empty heap is as a new one.
    fn drain(&mut self) -> Outcome {
        self.all_contents()?;
        while let Some(block) = self.take(0) {
            self.free(block, 0, Way::Shared)?;
        }
        let usage = self.subject.usage();
        ensure!(usage.used == 0 && usage.objects == 0, Usage, "{usage:?} with no block left");
        self.walk()
    }
}
