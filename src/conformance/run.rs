//! The run: each operation is done on the subject and on a shadow of it, and everything that both know is compared.

use core::alloc::Layout;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use std::any::Any;
use std::borrow::ToOwned;
use std::boxed::Box;
use std::format;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::string::String;
use std::vec::Vec;

use super::law::Law;
use super::pattern;
use super::script::{Op, Size, Way};
use super::shadow::{Block, Outcome, Shadow, ensure};
use super::subject::{Subject, Tail, Traits, ZeroSize};
use super::supply::Ledger;
use crate::heap::Usage;

/// What was found to be wrong.
#[derive(Clone, Debug)]
pub struct Fault {
    pub(super) law: Law,
    pub(super) text: String,
}

/// How a whole run went.
pub(super) type Ran = Result<(), Fault>;

/// Runs something that must not unwind.
pub(super) fn guarded<R>(work: impl FnOnce() -> R) -> Outcome<R> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| (Law::NoUnwinding, message(&*panic)))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic".to_owned())
}

/// A subject, its shadow, and what else is watched.
pub(super) struct Run<'r> {
    subject: &'r mut dyn Subject,
    traits: Traits,
    ledger: Option<&'r Ledger>,
    /// Whether nobody else uses the heap or its source.
    alone: bool,
    /// Whether what is released goes to the source, all that there is of it.
    all_back: bool,
    live_max: usize,
    shadow: Shadow,
    next_id: u32,
    id_step: u32,
    /// Good sizes that must stay.
    good: Vec<(Layout, usize)>,
    fresh: Option<Usage>,
    /// A block of somebody else.
    foreign: Box<[u128; 4]>,
    /// What was done, in words, if that is wanted.
    pub(super) log: Option<Vec<String>>,
}

impl<'r> Run<'r> {
    pub(super) fn new(subject: &'r mut dyn Subject, ledger: Option<&'r Ledger>, live_max: usize) -> Self {
        let traits = subject.traits();
        let (shadow, good, foreign) = (Shadow::default(), Vec::new(), Box::new([7; 4]));
        let mut run = Run {
            subject,
            traits,
            ledger,
            alone: true,
            all_back: false,
            live_max,
            shadow,
            next_id: 0,
            id_step: 1,
            good,
            fresh: None,
            foreign,
            log: None,
        };
        run.fresh = run.subject.usage();
        run
    }

    /// One of `count` runs on one heap at the same time, of number `number`.
    pub(super) fn together(mut self, number: u32, count: u32) -> Self {
        (self.alone, self.next_id, self.id_step) = (false, number, count);
        self
    }

    /// What is released goes to the source, all that there is of it.
    pub(super) fn all_back(mut self, all_back: bool) -> Self {
        self.all_back = all_back;
        self
    }

    /// Blocks come back with the requested size only.
    pub(super) fn exact(mut self) -> Self {
        self.traits.slack = false;
        self
    }

    /// Does what the script says, gives all blocks back, and looks once more.
    pub(super) fn script(&mut self, ops: &[Op]) -> Result<(), Fault> {
        for &op in ops {
            self.step(op).map_err(|(law, text)| Fault { law, text })?;
        }
        self.finish().map_err(|(law, text)| Fault { law, text })
    }

    /// Gives all blocks back, and looks once more.
    pub(super) fn finish(&mut self) -> Outcome {
        let mut turn = 0;
        while let Some(block) = self.shadow.take(turn) {
            turn += 3;
            self.free(block, if turn % 2 == 0 { 0 } else { 255 }, Way::Plain)?;
            self.check_source()?;
        }
        if self.alone {
            self.release()?;
            self.inspect()?;
        }
        for (layout, good) in core::mem::take(&mut self.good) {
            let now = guarded(|| self.subject.good_size(layout))?;
            ensure!(now == Some(good), GoodSizes, "the good size of {layout:?} was {good}, and is {now:?}");
        }
        Ok(())
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(text());
        }
    }

    /// Does one operation.
    pub(super) fn step(&mut self, op: Op) -> Outcome {
        match op {
            Op::Alloc { size, align, way } => {
                if let Some(layout) = self.layout(size, None, align) {
                    self.alloc(layout, way)?;
                }
            }
            Op::Free { pick, slack, way } => {
                if let Some(block) = self.shadow.take(pick.into()) {
                    self.free(block, slack, way)?;
                }
            }
            Op::Resize { pick, size, align, slack, way } => {
                if let Some(block) = self.shadow.take(pick.into()) {
                    let align = align.unwrap_or(block.layout.align().trailing_zeros() as u8);
                    match self.layout(size, Some(block.layout.size()), align) {
                        Some(new) => self.resize(block, new, slack, way)?,
                        None => self.shadow.put(block),
                    }
                }
            }
            Op::AllocBatch { size, align, count } => {
                if let Some(layout) = self.layout(size, None, align) {
                    self.alloc_batch(layout, count.into())?;
                }
            }
            Op::FreeBatch { pick, count } => self.free_batch(pick.into(), count.into())?,
            Op::Release => self.release()?,
            Op::Move => {
                self.note(|| "the heap moves".to_owned());
                guarded(|| self.subject.relocate())?;
                self.shadow.check_contents(Law::Outside)?;
            }
            Op::Reset => self.reset()?,
            Op::Inspect => self.inspect()?,
        }
        self.check_source()
    }

    /// Whether the source was used as it must be.
    fn check_source(&self) -> Outcome {
        match self.ledger.and_then(Ledger::fault) {
            Some(text) => Err((Law::SourceUse, text)),
            None => Ok(()),
        }
    }

    fn layout(&self, size: Size, old: Option<usize>, align: u8) -> Option<Layout> {
        let size = match size {
            Size::Bytes(bytes) => bytes,
            Size::OfOld(eighths, more) => {
                let size = old.unwrap_or(64).saturating_mul(eighths.into()) / 8;
                // Growth by what has grown before has no end otherwise.
                size.min(4 << 20).saturating_add_signed(more.into())
            }
            Size::Huge(less) => isize::MAX as usize - usize::from(less),
        };
        let align = 1usize.checked_shl(align.into())?;
        Layout::from_size_align(size, align).ok()
    }

    fn alloc(&mut self, layout: Layout, way: Way) -> Outcome {
        if self.shadow.len() >= self.live_max {
            return Ok(());
        }
        if layout.size() == 0 && self.traits.zero_size == ZeroSize::Undefined {
            return Ok(());
        }
        self.good_size(layout)?;
        let before = self.usage();
        let mut made = None;
        if way == Way::Special {
            let calls = self.ledger.map(Ledger::calls);
            made = guarded(|| self.subject.alloc_at_hand(layout))?.map(Ok);
            ensure!(
                !self.alone || calls == self.ledger.map(Ledger::calls),
                NoWayBack,
                "`alloc_at_hand` of {layout:?} calls the source"
            );
        }
        let made = match made {
            Some(made) => made,
            None => guarded(|| self.subject.alloc(layout, way))?,
        };
        let id = self.next_id;
        self.note(|| {
            format!(
                "b{id} = {way:?} alloc of {} bytes, aligned to {}: {made:?}",
                layout.size(),
                layout.align()
            )
        });
        match made {
            Ok(block) => {
                let good = guarded(|| self.subject.good_size(layout))?.unwrap_or(layout.size());
                let fits = Layout::from_size_align(good, layout.align()).is_ok();
                ensure!(fits, GoodSizes, "{layout:?} is met, and its good size, {good}, makes no layout");
                ensure!(
                    layout.size() > 0 || self.traits.zero_size != ZeroSize::Refused,
                    SizeZero,
                    "a core gives a block for {layout:?}"
                );
                ensure!(
                    layout.align() <= self.traits.align_max,
                    Promises,
                    "{layout:?} is met: above `ALIGN_MAX`"
                );
                let zeroed = way == Way::Zeroed && self.traits.zeroes || self.traits.zeroed;
                self.welcome(block, layout, zeroed.then_some(0))
            }
            Err(_) => {
                ensure!(
                    layout.size() > 0 || self.traits.zero_size != ZeroSize::Dangling,
                    SizeZero,
                    "{layout:?} is refused"
                );
                self.unchanged(before)
            }
        }
    }

    /// Checks a new or resized block, fills it, and enters it into the shadow.
    fn welcome(&mut self, made: NonNull<[u8]>, layout: Layout, zero_from: Option<usize>) -> Outcome {
        let mut block = Block { ptr: made.cast(), layout, len: made.len(), id: self.next_id };
        self.shadow.check_place(&block)?;
        if layout.size() == 0 && self.traits.zero_size == ZeroSize::Dangling {
            ensure!(block.len == 0, SizeZero, "{} bytes for {layout:?}", block.len);
        }
        if layout.size() > 0 {
            let owns = guarded(|| self.subject.owns(block.ptr, layout))?;
            ensure!(owns != Some(false), Owns, "a live block at {made:?} of {layout:?} is denied");
        }
        if let Some(from) = zero_from {
            // SAFETY: the block is live, `len` bytes long, and the subject says that those bytes are zero.
            let dirty = unsafe { pattern::first_nonzero(block.ptr, from, block.len) };
            ensure!(
                dirty.is_none(),
                Zeroed,
                "byte {dirty:?} of {from}..{} is not zero, of {layout:?}",
                block.len
            );
        }
        if layout.size() > 0 {
            // SAFETY: the block is live.
            let usable = guarded(|| unsafe { self.subject.usable_size(block.ptr) })?;
            if let Some(usable) = usable {
                ensure!(usable >= layout.size(), UsableSizes, "{usable} bytes are usable of {layout:?}");
                block.len = block.len.max(usable);
                self.shadow.check_place(&block).map_err(|(_, text)| (Law::UsableSizes, text))?;
            }
        }
        // SAFETY: the block is live, `len` bytes long, overlaps no other, and nobody else knows it.
        unsafe { pattern::fill(block.ptr, block.len, block.id) };
        self.next_id = self.next_id.wrapping_add(self.id_step);
        self.shadow.put(block);
        Ok(())
    }

    fn free(&mut self, block: Block, slack: u8, way: Way) -> Outcome {
        block.holds(block.ptr, block.len, Law::Blocks)?;
        let layout = block.between(if self.traits.slack { slack } else { 0 });
        self.note(|| {
            format!(
                "free of b{} with {} bytes of {}..={}",
                block.id,
                layout.size(),
                block.layout.size(),
                block.len
            )
        });
        let ptr = block.narrow(layout.size());
        if way == Way::Special && layout.size() > 0 {
            let calls = self.ledger.map(Ledger::calls);
            // SAFETY: the block is live and leaves the shadow here; its size lies between the requested and the returned one.
            let done = guarded(|| unsafe { self.subject.free_at_hand(ptr, layout) })?;
            ensure!(
                !self.alone || calls == self.ledger.map(Ledger::calls),
                NoWayBack,
                "`dealloc_at_hand` of {layout:?} calls the source"
            );
            if done {
                return Ok(());
            }
            // SAFETY: as above; it was not taken.
            if let Some(done) = guarded(|| unsafe { self.subject.try_free(ptr, layout) })? {
                ensure!(done, Owns, "`try_dealloc` denies b{} of {layout:?}", block.id);
                return Ok(());
            }
        }
        // SAFETY: as above.
        guarded(|| unsafe { self.subject.free(ptr, layout) })
    }

    fn resize(&mut self, block: Block, new: Layout, slack: u8, way: Way) -> Outcome {
        block.holds(block.ptr, block.len, Law::Blocks)?;
        let old = block.between(if self.traits.slack { slack } else { 0 });
        let align = if self.traits.aligns { new.align() } else { old.align() };
        let size = match self.traits.zero_size {
            ZeroSize::Refused | ZeroSize::Undefined => new.size().max(1),
            // "`new` is not of size zero", of a core.
            ZeroSize::Met if self.traits.in_place => new.size().max(1),
            _ => new.size(),
        };
        let Ok(new) = Layout::from_size_align(size, align) else {
            self.shadow.put(block);
            return Ok(());
        };
        self.good_size(new)?;
        let before = self.usage();
        let ptr = block.narrow(old.size());
        // SAFETY: the block is live, and out of the shadow until we know what became of it; the layout is its own.
        let made = guarded(|| unsafe { self.subject.resize(ptr, old, new, way) })?;
        let id = self.next_id;
        self.note(|| {
            let (size, align) = (new.size(), new.align());
            format!(
                "b{id} = {way:?} resize of b{}, of {old:?}, to {size} bytes, aligned to {align}: {made:?}",
                block.id
            )
        });
        let Ok(made) = made else {
            self.shadow.put(block);
            ensure!(new.size() > 0, SizeZero, "a resize to {new:?} is refused");
            return self.unchanged(before);
        };
        if way == Way::Special && self.traits.in_place && old.size() > 0 && new.size() > 0 {
            ensure!(
                made.cast() == block.ptr,
                InPlace,
                "b{} has moved: from {:?} to {made:?}",
                block.id,
                block.ptr
            );
        }
        ensure!(made.len() >= new.size(), Blocks, "{} bytes for {new:?}", made.len());
        block.holds(made.cast(), old.size().min(new.size()), Law::Kept)?;
        let from = match self.traits.tail {
            Tail::PastSize if way == Way::Zeroed => Some(old.size()),
            Tail::PastLen if way == Way::Zeroed && new.size() >= old.size() || self.traits.zeroed => {
                Some(block.len)
            }
            _ => None,
        };
        // What grows past the old size only: a shrink has nothing to zero.
        self.welcome(made, new, from.map(|from| from.min(made.len())))
    }

    fn alloc_batch(&mut self, layout: Layout, count: usize) -> Outcome {
        let mut out = [MaybeUninit::uninit(); 32];
        if count > self.live_max.saturating_sub(self.shadow.len()).min(out.len()) {
            return Ok(());
        }
        // How long such blocks are is not said.
        if layout.size() == 0 && self.traits.zero_size == ZeroSize::Met {
            return Ok(());
        }
        let before = self.usage();
        let Some(got) = guarded(|| self.subject.alloc_batch(layout, &mut out[..count]))? else {
            return Ok(());
        };
        self.note(|| format!("{got} blocks of {layout:?} from `alloc_batch` for {count}"));
        ensure!(got <= count, Batches, "{got} blocks where {count} were asked for");
        ensure!(
            got == 0 || layout.size() > 0 || self.traits.zero_size != ZeroSize::Refused,
            SizeZero,
            "{got} blocks of {layout:?}"
        );
        for block in &out[..got] {
            // SAFETY: so many were written.
            let block = unsafe { block.assume_init() };
            self.welcome(NonNull::slice_from_raw_parts(block, layout.size()), layout, None)?;
        }
        if got == 0 {
            return self.unchanged(before.filter(|_| count > 0));
        }
        let injects = self.ledger.is_some_and(Ledger::injects);
        // Above, it is a matter of where memory happens to be.
        let aligned = layout.align() <= 64;
        if got < count && self.alone && aligned && !injects {
            let more = guarded(|| self.subject.alloc(layout, Way::Plain))?;
            ensure!(
                more.is_err(),
                Batches,
                "{got} of {count} blocks of {layout:?}, and there is room for another one"
            );
        }
        Ok(())
    }

    fn free_batch(&mut self, pick: usize, count: usize) -> Outcome {
        let Some(first) = self.shadow.take(pick) else { return Ok(()) };
        let mut blocks = Vec::from([first]);
        while blocks.len() < count {
            let Some(block) = self.shadow.take_like(first.layout) else { break };
            blocks.push(block);
        }
        for block in &blocks {
            block.holds(block.ptr, block.len, Law::Blocks)?;
        }
        let layout = first.layout;
        self.note(|| format!("{} blocks of {layout:?} go at once", blocks.len()));
        let blocks: Vec<_> = blocks.iter().map(|block| block.narrow(layout.size())).collect();
        // SAFETY: the blocks are live, all different, of this layout, and have left the shadow.
        guarded(|| unsafe { self.subject.free_batch(layout, &blocks) })
    }

    fn release(&mut self) -> Outcome {
        let before = self.ledger.map(Ledger::bytes);
        let Some(bytes) = guarded(|| self.subject.release_unused())? else { return Ok(()) };
        self.note(|| format!("{bytes} bytes are released"));
        let after = self.ledger.map(Ledger::bytes);
        if let (Some(before), Some(after), true) = (before, after, self.alone) {
            ensure!(after <= before, Releases, "a release takes {} bytes from the source", after - before);
            let gone = before - after;
            // What goes to a heap in between need not go on to the source.
            ensure!(
                !self.all_back || (gone == 0) == (bytes == 0),
                Releases,
                "{bytes} bytes are said to be released, and the source got {gone}"
            );
        }
        self.shadow.check_contents(Law::Releases)
    }

    fn reset(&mut self) -> Outcome {
        // SAFETY: the shadow forgets all blocks as well.
        if !guarded(|| unsafe { self.subject.reset() })? {
            return Ok(());
        }
        self.note(|| "the heap is reset".to_owned());
        self.shadow.clear();
        let usage = self.usage();
        let same =
            usage.zip(self.fresh).is_none_or(|(now, new)| (now.used, now.objects) == (new.used, new.objects));
        ensure!(same, Reset, "{usage:?} after a reset, {:?} when new", self.fresh);
        Ok(())
    }

    fn inspect(&mut self) -> Outcome {
        self.note(|| "the heap is looked into".to_owned());
        let mine = NonNull::from(&mut *self.foreign).cast();
        let layout = Layout::new::<[u128; 4]>();
        let owns = guarded(|| self.subject.owns(mine, layout))?;
        ensure!(owns != Some(true), Owns, "a block of another heap at {mine:?} is claimed");
        // SAFETY: a live block of another heap; whoever denies it leaves it alone.
        let took = guarded(|| unsafe { self.subject.try_free(mine, layout) })?;
        ensure!(took != Some(true), Owns, "a block of another heap at {mine:?} is taken");
        if let Some(usage) = self.usage() {
            let (objects, bytes) = self.shadow.sums();
            ensure!(usage.objects == objects, Inspect, "{objects} blocks are live: {usage:?}");
            ensure!(usage.used >= bytes, Inspect, "{bytes} bytes are live: {usage:?}");
            let sum = usage.used.checked_add(usage.free);
            ensure!(sum.is_some_and(|sum| sum <= usage.total), Inspect, "more than there is: {usage:?}");
        }
        guarded(|| self.subject.inspect())?.map_err(|text| (Law::Inspect, text))?;
        if let Some(ledger) = self.ledger {
            ledger.check_guards();
        }
        self.shadow.check_contents(Law::Blocks)
    }

    fn usage(&mut self) -> Option<Usage> {
        if self.alone { self.subject.usage() } else { None }
    }

    /// A failed operation changes nothing.
    fn unchanged(&mut self, before: Option<Usage>) -> Outcome {
        if let (Some(before), Some(after)) = (before, self.usage()) {
            let same = (before.used, before.objects) == (after.used, after.objects);
            ensure!(same, Whole, "{before:?} before a failed operation, {after:?} after it");
        }
        self.shadow.check_contents(Law::Whole)
    }

    /// Every size up to the good one has the same good size.
    fn good_size(&mut self, layout: Layout) -> Outcome {
        if layout.size() == 0 {
            return Ok(());
        }
        let Some(good) = guarded(|| self.subject.good_size(layout))? else { return Ok(()) };
        ensure!(good >= layout.size(), GoodSizes, "the good size of {layout:?} is {good}");
        let (size, align) = (layout.size(), layout.align());
        for size in [size + 1, size + (good - size) / 2, good - 1, good] {
            let Ok(between) = Layout::from_size_align(size, align) else { continue };
            if (layout.size()..=good).contains(&size) {
                let found = guarded(|| self.subject.good_size(between))?;
                ensure!(
                    found == Some(good),
                    GoodSizes,
                    "the good size of {layout:?} is {good}, that of {size} bytes {found:?}"
                );
            }
        }
        if self.good.len() < 48 {
            self.good.push((layout, good));
        }
        Ok(())
    }
}

/// Blocks that pass between runs on one heap.
impl Run<'_> {
    /// Takes a block out, to be sent to another run.
    pub(super) fn send(&mut self, pick: usize) -> Option<Block> {
        self.shadow.take(pick)
    }

    /// Takes a block of another run in, which has been filled there.
    pub(super) fn receive(&mut self, block: Block) -> Outcome {
        self.shadow.check_place(&block)?;
        block.holds(block.ptr, block.len, Law::Blocks)?;
        self.shadow.put(block);
        Ok(())
    }
}
