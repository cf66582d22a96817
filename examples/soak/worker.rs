//! What a thread does in its life.

use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;

use heapwright::AllocError;
use heapwright::heap::SharedHeap;

use crate::block::{Block, check_zeroed};
use crate::heaps::impossible;
use crate::objects::Objects;
use crate::random::Random;
use crate::run::{Place, Planted, Run, panic_as_planned};

/// Operations on one heap before it is another one's turn.
const SHIFT: usize = 256;
/// Blocks that a thread has of one heap at most, or a few more.
const BLOCKS_MAX: usize = 400;
/// Blocks of one heap that are on their way between threads at most, or a few more.
const MARKET_MAX: usize = 64;
/// Blocks of a batch at most.
const BATCH_MAX: usize = 40;

/// A life: some shifts on heaps that chance picks; at the end, a thread frees what it has, or leaves it to others, or panics.
pub(crate) fn work(run: &Run, mut random: Random) {
    let mut hands: Vec<Hand<'_>> = run.places.iter().map(|place| Hand::new(run, place)).collect();
    let mut objects = Objects::new(run);
    let shifts = 1 + random.size(256);
    for _ in 0..shifts {
        if run.is_over() {
            break;
        }
        match random.below(hands.len() + 1) {
            idx if idx < hands.len() => hands[idx].shift(&mut random),
            _ => objects.shift(&mut random, SHIFT),
        }
    }
    match random.below(4) {
        0 => hands.iter_mut().for_each(Hand::leave_all),
        1 => panic_as_planned(),
        _ => {}
    }
}

/// What a thread has of one heap. It frees what it still has when it is dropped, in a panic as well.
struct Hand<'r> {
    run: &'r Run,
    place: &'r Place,
    blocks: Vec<Block>,
    /// Bytes of these.
    bytes: usize,
    /// Operations since they were counted for all to see.
    operations: u64,
}

impl Drop for Hand<'_> {
    fn drop(&mut self) {
        let mut random = Random::new(self.bytes as u64);
        while let Some(block) = self.blocks.pop() {
            free(self.run, self.place, block, &mut random);
        }
        self.place.tally.operations.fetch_add(self.operations, Relaxed);
    }
}

impl<'r> Hand<'r> {
    fn new(run: &'r Run, place: &'r Place) -> Self {
        Hand { run, place, blocks: Vec::new(), bytes: 0, operations: 0 }
    }

    /// A turn at this heap.
    fn shift(&mut self, random: &mut Random) {
        for _ in 0..SHIFT {
            if self.run.is_over() {
                return;
            }
            self.operation(random);
            self.operations += 1;
        }
        self.place.tally.operations.fetch_add(std::mem::take(&mut self.operations), Relaxed);
    }

    fn operation(&mut self, random: &mut Random) {
        let is_full = self.blocks.len() >= BLOCKS_MAX || self.bytes >= self.place.subject.share;
        match random.below(1000) {
            0..400 if is_full => self.free(random),
            0..340 => self.alloc(random, false),
            340..400 => self.alloc(random, true),
            400..700 => self.free(random),
            700..820 => self.resize(random),
            820..850 if !is_full => self.alloc_batch(random),
            820..880 => self.free_batch(random),
            880..920 => self.leave(random),
            920..960 => self.take(random),
            960..990 => self.look(random),
            990..995 => self.ask_for_too_much(random),
            995..998 => self.place.subject.account.rest(random.once_in(10)),
            _ => self.verify(random),
        }
    }

    /// A layout of any size and alignment that this heap may have room for.
    fn layout(&self, random: &mut Random) -> Layout {
        let max = if random.once_in(100) { self.place.subject.size_max } else { 2048 };
        let size = if random.once_in(100) { 0 } else { random.size(max.min(self.place.subject.size_max)) };
        let bits = match random.below(100) {
            0..80 => random.below(5),
            80..98 => random.below(8),
            _ => random.below(14),
        };
        Layout::from_size_align(size, 1 << bits).unwrap_or(Layout::new::<u8>())
    }

    /// Takes a block that was asked for into its hand; if there is none, counts that.
    fn have(&mut self, given: Result<NonNull<[u8]>, AllocError>, layout: Layout, random: &mut Random) {
        let Ok(given) = given else {
            self.place.tally.refused.fetch_add(1, Relaxed);
            return;
        };
        let start = given.cast::<u8>();
        if given.len() < layout.size() || start.addr().get() % layout.align() != 0 {
            let name = self.place.subject.name;
            return self.run.wrong(format!("{name}: {} bytes at {start:?} for {layout:?}", given.len()));
        }
        // SAFETY: the heap has handed it out just now.
        self.put(unsafe { Block::fill(given, layout, random.next()) });
    }

    fn put(&mut self, block: Block) {
        self.bytes += block.len();
        self.blocks.push(block);
    }

    /// One of its blocks.
    fn pick(&mut self, random: &mut Random) -> Option<Block> {
        if self.blocks.is_empty() {
            return None;
        }
        let block = self.blocks.swap_remove(random.below(self.blocks.len()));
        self.bytes -= block.len();
        Some(block)
    }

    fn alloc(&mut self, random: &mut Random, zeroed: bool) {
        let layout = self.layout(random);
        let heap = self.place.subject.heap;
        if !zeroed {
            return self.have(heap.try_alloc(layout), layout, random);
        }
        let given = heap.try_alloc_zeroed(layout);
        if let Ok(block) = given {
            // SAFETY: the heap has handed it out just now, and has written all of it.
            if !self.run.expect(self.place.subject.name, unsafe { check_zeroed(block, 0) }) {
                return;
            }
        }
        self.have(given, layout, random);
    }

    fn free(&mut self, random: &mut Random) {
        let Some(mut block) = self.pick(random) else { return };
        if block.len() > 0 && self.run.is_due(Planted::Byte) {
            block.spoil(random);
        }
        if block.len() > 0 && self.run.is_due(Planted::Leak) {
            return;
        }
        free(self.run, self.place, block, random);
    }

    fn resize(&mut self, random: &mut Random) {
        let Some(block) = self.pick(random) else { return };
        if !check(self.run, self.place, &block) {
            return;
        }
        let (old, zeroed) = (block.any_layout(random), random.once_in(4));
        let mut new = self.layout(random);
        if !random.once_in(4) {
            new = Layout::from_size_align(new.size(), old.align()).unwrap_or(new);
        }
        let heap = self.place.subject.heap;
        let given = if zeroed {
            // SAFETY: the block is live, and this a layout that it can have.
            unsafe { heap.try_resize_zeroed(block.start(), old, new) }
        } else {
            // SAFETY: as above.
            unsafe { heap.try_resize(block.start(), old, new) }
        };
        let Ok(now) = given else {
            self.place.tally.refused.fetch_add(1, Relaxed);
            if check(self.run, self.place, &block) {
                self.put(block);
            }
            return;
        };
        let kept = old.size().min(new.size()).min(now.len());
        // SAFETY: the block is live, and its front was written before it was resized.
        let mut whole = unsafe { block.check_moved(now.cast(), kept) };
        if zeroed && whole.is_ok() {
            // SAFETY: as above; what is behind has been zeroed.
            whole = unsafe { check_zeroed(now, old.size()) };
        }
        if self.run.expect(self.place.subject.name, whole) {
            self.have(given, new, random);
        }
    }

    fn alloc_batch(&mut self, random: &mut Random) {
        let mut out = [MaybeUninit::uninit(); BATCH_MAX];
        let wanted = 1 + random.below(BATCH_MAX);
        let layout = self.layout(random);
        let most = (self.place.subject.share / 4 / layout.size().max(1)).max(1);
        let wanted = wanted.min(most);
        let count = self.place.subject.heap.try_alloc_batch(layout, &mut out[..wanted]);
        self.place.tally.refused.fetch_add(u64::from(count < wanted), Relaxed);
        for place in &out[..count] {
            // SAFETY: so many places are filled, from the front.
            let start = unsafe { place.assume_init() };
            self.have(Ok(NonNull::slice_from_raw_parts(start, layout.size())), layout, random);
        }
    }

    /// Frees all blocks that it has of one layout.
    fn free_batch(&mut self, random: &mut Random) {
        let Some(first) = self.pick(random) else { return };
        let layout = first.layout();
        let (same, others) = std::mem::take(&mut self.blocks).into_iter().partition(|b| b.layout() == layout);
        self.blocks = others;
        let mut batch: Vec<Block> = same;
        self.bytes -= batch.iter().map(Block::len).sum::<usize>();
        batch.push(first);
        let whole = batch.iter().filter(|block| check(self.run, self.place, block));
        let starts: Vec<_> = whole.map(Block::start).collect();
        // SAFETY: all are live blocks of this heap, each once, and this is the layout that each was asked with.
        unsafe { self.place.subject.heap.free_batch(layout, &starts) };
    }

    /// Leaves a block to other threads.
    fn leave(&mut self, random: &mut Random) {
        if self.place.market().len() >= MARKET_MAX {
            return self.take(random);
        }
        if let Some(block) = self.pick(random) {
            self.place.market().push(block);
        }
    }

    /// Leaves all its blocks to other threads.
    fn leave_all(&mut self) {
        let mut market = self.place.market();
        let room = MARKET_MAX.saturating_sub(market.len()).min(self.blocks.len());
        market.extend(self.blocks.drain(..room));
    }

    /// Takes over a block that another thread has left.
    fn take(&mut self, random: &mut Random) {
        let mut market = self.place.market();
        if market.is_empty() {
            return;
        }
        let idx = random.below(market.len());
        let block = market.swap_remove(idx);
        drop(market);
        self.place.tally.handed.fetch_add(1, Relaxed);
        if check(self.run, self.place, &block) {
            self.put(block);
        }
    }

    /// Looks at a block, and lets it be.
    fn look(&mut self, random: &mut Random) {
        if let Some(block) = self.pick(random) {
            if check(self.run, self.place, &block) {
                self.put(block);
            }
        }
    }

    /// Asks for more than there can be, which must come to nothing, and leave all as it is.
    fn ask_for_too_much(&mut self, random: &mut Random) {
        let Some(layout) = impossible(random.below(4)) else { return };
        let heap = self.place.subject.heap;
        let block = self.pick(random);
        let given = match &block {
            // SAFETY: the block is live, and this its layout.
            Some(block) => unsafe { heap.try_resize(block.start(), block.layout(), layout) },
            None => heap.try_alloc(layout),
        };
        if given.is_ok() {
            return self.run.wrong(format!("{}: a block for {layout:?}", self.place.subject.name));
        }
        self.place.tally.refused.fetch_add(1, Relaxed);
        if let Some(block) = block {
            if check(self.run, self.place, &block) {
                self.put(block);
            }
        }
    }

    /// Has the heap look at itself: seldom, as it takes long.
    fn verify(&mut self, random: &mut Random) {
        if random.once_in(20) {
            self.run.expect(self.place.subject.name, self.place.subject.account.verify(false));
        }
    }
}

/// Whether a block is as it was left. If not, the run is over, and the block is not to be touched.
fn check(run: &Run, place: &Place, block: &Block) -> bool {
    place.tally.checked.fetch_add(block.len() as u64, Relaxed);
    run.expect(place.subject.name, block.check())
}

/// Frees a block that is as it was left.
pub(crate) fn free(run: &Run, place: &Place, block: Block, random: &mut Random) {
    if check(run, place, &block) {
        let layout = block.any_layout(random);
        // SAFETY: the block is live, nobody else's, and this a layout that it can have.
        unsafe { place.subject.heap.free(block.start(), layout) };
    }
}
