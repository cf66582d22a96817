//! Random operations against a shadow of the heap: blocks are aligned, overlap nothing, keep their bytes, and take any size back between the requested
//! and the returned one.

use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::heap::{Heap, Locked};
use heapwright::lock::SpinLock;
use heapwright::source::{Counted, Failing, GlobalHeap, SourceHeap};

use super::layout;

/// A parent that counts what is not given back, and fails when told to.
pub(crate) type Parent = Locked<SourceHeap<Failing<Counted<GlobalHeap>>>, SpinLock>;

pub(crate) fn parent(
    failing: fn(Counted<GlobalHeap>, u64) -> Failing<Counted<GlobalHeap>>,
    n: u64,
) -> Parent {
    Locked::new(SourceHeap::new(failing(Counted::new(GlobalHeap), n)))
}

pub(crate) fn never(source: Counted<GlobalHeap>, _: u64) -> Failing<Counted<GlobalHeap>> {
    Failing::never(source)
}

/// That everything is back with the parent; says how many requests it had.
pub(crate) fn assert_whole(parent: Parent) -> u64 {
    let source = parent.into_inner().into_inner();
    let counts = source.source().counts();
    assert_eq!((counts.blocks, counts.bytes), (0, 0), "left behind: {counts:?}");
    source.requests()
}

/// A generator of numbers: the same ones for the same seed.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}

pub(crate) struct Block {
    pub(crate) at: NonNull<u8>,
    pub(crate) layout: Layout,
    len: usize,
    number: u8,
    /// The frame that it was allocated in, for those who have some.
    pub(crate) frame: usize,
}

impl Block {
    fn byte(&self, offset: usize) -> u8 {
        (offset as u8).wrapping_mul(31) ^ self.number.wrapping_mul(97)
    }

    fn fill(&self) {
        for offset in 0..self.len {
            // SAFETY: the block is live and longer than that.
            let at = unsafe { self.at.add(offset) };
            // SAFETY: as above.
            unsafe { at.write(self.byte(offset)) };
        }
    }

    pub(crate) fn assert_whole(&self, len: usize) {
        for offset in 0..len {
            // SAFETY: the block is live and longer than that.
            let at = unsafe { self.at.add(offset) };
            // SAFETY: as above, and filled.
            let byte = unsafe { at.read() };
            assert_eq!(byte, self.byte(offset), "byte {offset} of {:?}, {} long", self.layout, self.len);
        }
    }
}

pub(crate) struct Shadow {
    pub(crate) blocks: Vec<Block>,
    pub(crate) numbers: Numbers,
    pub(crate) frame: usize,
    size_max: usize,
    number: u8,
    /// Requests that were refused.
    pub(crate) refused: usize,
}

impl Shadow {
    pub(crate) fn new(seed: u64, size_max: usize) -> Self {
        Shadow { blocks: Vec::new(), numbers: Numbers(seed | 1), frame: 0, size_max, number: 0, refused: 0 }
    }

    pub(crate) fn any_layout(&mut self) -> Layout {
        let small = self.numbers.below(4) != 0;
        let size = 1 + self.numbers.below(if small { 40 } else { self.size_max });
        layout(size, 1 << self.numbers.below(if small { 5 } else { 8 }))
    }

    fn note(&mut self, given: NonNull<[u8]>, layout: Layout) {
        self.number = self.number.wrapping_add(1);
        let block =
            Block { at: given.cast(), layout, len: given.len(), number: self.number, frame: self.frame };
        let start = block.at.addr().get();
        assert!(start % layout.align() == 0 && block.len >= layout.size(), "{layout:?} at {start:#x}");
        for other in &self.blocks {
            let from = other.at.addr().get();
            assert!(
                start + block.len <= from || from + other.len <= start,
                "{layout:?} overlaps {:?}",
                other.layout
            );
        }
        block.fill();
        self.blocks.push(block);
    }

    fn assert_zero(given: NonNull<[u8]>) {
        for offset in 0..given.len() {
            // SAFETY: the block is live and longer than that.
            let at = unsafe { given.cast::<u8>().add(offset) };
            // SAFETY: as above, and zeroed if the heap keeps its promise.
            assert_eq!(unsafe { at.read() }, 0);
        }
    }

    /// A layout between what was asked for and what was given.
    fn any_between(&mut self, block: &Block) -> Layout {
        let more = self.numbers.below(block.len - block.layout.size() + 1);
        layout(block.layout.size() + more, block.layout.align())
    }

    fn alloc(&mut self, heap: &mut impl Heap) {
        let layout = self.any_layout();
        let good = heap.good_size(layout);
        assert!(good >= layout.size());
        let zeroed = self.numbers.below(4) == 0;
        let given = if zeroed { heap.alloc_zeroed(layout) } else { heap.alloc(layout) };
        let Ok(given) = given else {
            self.refused += 1;
            return;
        };
        if zeroed {
            Self::assert_zero(given);
        }
        assert_eq!(heap.good_size(Layout::from_size_align(good, layout.align()).expect("a good size")), good);
        self.note(given, layout);
    }

    pub(crate) fn free(&mut self, heap: &mut impl Heap, pick: usize) {
        let block = self.blocks.swap_remove(pick);
        block.assert_whole(block.len);
        let layout = self.any_between(&block);
        // SAFETY: the block is live, and the layout one of its own.
        unsafe { heap.dealloc(block.at, layout) };
    }

    fn resize(&mut self, heap: &mut impl Heap, pick: usize) {
        let block = self.blocks.swap_remove(pick);
        block.assert_whole(block.len);
        let old = self.any_between(&block);
        let wanted = self.any_layout();
        let align = if self.numbers.below(4) == 0 { wanted.align() } else { old.align() };
        let new = layout(wanted.size(), align);
        let in_place = self.numbers.below(3) == 0;
        let given = if in_place {
            // SAFETY: the block is live, and the layout one of its own.
            unsafe { heap.resize_in_place(block.at, old, new) }
        } else {
            // SAFETY: as above.
            unsafe { heap.resize(block.at, old, new) }
        };
        let Ok(given) = given else {
            self.refused += usize::from(!in_place);
            block.assert_whole(old.size());
            self.blocks.push(block);
            return;
        };
        assert!(!in_place || given.cast() == block.at);
        let frame = if given.cast() == block.at { block.frame } else { self.frame };
        let moved = Block { at: given.cast(), ..block };
        moved.assert_whole(old.size().min(new.size()));
        self.note(given, new);
        if let Some(last) = self.blocks.last_mut() {
            last.frame = frame;
        }
    }

    fn batch(&mut self, heap: &mut impl Heap) {
        let layout = self.any_layout();
        let mut places = [MaybeUninit::uninit(); 20];
        let wanted = self.numbers.below(20);
        let count = heap.alloc_batch(layout, &mut places[..wanted]);
        self.refused += wanted - count;
        // SAFETY: the heap has filled so many.
        let blocks: Vec<NonNull<u8>> =
            places[..count].iter().map(|place| unsafe { place.assume_init() }).collect();
        for &block in &blocks {
            self.note(NonNull::slice_from_raw_parts(block, layout.size()), layout);
        }
        if self.numbers.below(2) == 0 {
            self.blocks.truncate(self.blocks.len() - count);
            // SAFETY: they are live and all different, and have this layout.
            unsafe { heap.dealloc_batch(layout, &blocks) };
        }
    }

    pub(crate) fn step(&mut self, heap: &mut impl Heap) {
        let picked = if self.blocks.is_empty() { None } else { Some(self.numbers.below(self.blocks.len())) };
        match (self.numbers.below(12), picked) {
            (0..5, _) | (_, None) => self.alloc(heap),
            (5..8, Some(pick)) => self.free(heap, pick),
            // The last one.
            (8, Some(_)) => self.free(heap, self.blocks.len() - 1),
            (9, Some(_)) => self.resize(heap, self.blocks.len() - 1),
            (10, Some(pick)) => self.resize(heap, pick),
            _ => self.batch(heap),
        }
    }

    pub(crate) fn run(&mut self, heap: &mut impl Heap, steps: usize) {
        for _ in 0..steps {
            self.step(heap);
        }
    }

    pub(crate) fn free_all(&mut self, heap: &mut impl Heap) {
        while !self.blocks.is_empty() {
            let pick = self.numbers.below(self.blocks.len());
            self.free(heap, pick);
        }
    }
}

/// The whole treatment for a heap over a source: many runs, blocks left at the end and not, and with each request of the source failing, alone or with all after
/// it. In the end the source has everything back.
pub(crate) fn torture<'a, H: Heap>(
    parents: &'a mut Vec<Parent>,
    size_max: usize,
    make: impl Fn(&'a Parent) -> H,
) {
    const SEEDS: u64 = 12;
    const FAILURES: u64 = 20;
    for seed in 0..SEEDS {
        parents.push(parent(never, seed));
    }
    for n in 0..FAILURES {
        parents.push(parent(Failing::nth, n));
        parents.push(parent(Failing::after, n));
    }
    let mut refused = 0;
    for (number, parent) in parents.iter().enumerate() {
        let mut heap = make(parent);
        let mut shadow = Shadow::new(0x9E37_79B9_7F4A_7C15 ^ (number as u64) << 20, size_max);
        shadow.run(&mut heap, 300);
        assert!(number as u64 >= SEEDS || shadow.refused == 0, "refused with memory enough");
        if number % 2 == 0 {
            shadow.free_all(&mut heap);
            heap.release_unused();
            shadow.run(&mut heap, 50);
        }
        refused += shadow.refused;
    }
    assert!(refused > 100, "the failures were hardly noticed: {refused}");
}
