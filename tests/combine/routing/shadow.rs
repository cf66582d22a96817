//! The model: a list of the blocks that there are, and what each holds.

use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::slice;

use heapwright::heap::Heap;
use quickcheck::{Arbitrary, Gen, QuickCheck};

use super::layout;
use super::strict::{Shared, narrowed};

/// A step of a script. Sizes and picks are drawn when it runs, so that scripts shrink well.
#[derive(Clone, Copy, Debug)]
pub(super) struct Op {
    kind: u8,
    pick: u16,
    size: u16,
    align: u8,
}

impl Arbitrary for Op {
    fn arbitrary(g: &mut Gen) -> Self {
        // Small sizes often, the neighbourhood of powers of two often, large ones now and then.
        let near = 1u16 << (u8::arbitrary(g) % 12);
        let size = match u8::arbitrary(g) % 4 {
            0 => u16::from(u8::arbitrary(g)),
            1 => (near + u16::from(u8::arbitrary(g) % 3)).saturating_sub(1),
            2 => u16::arbitrary(g) % 1024,
            _ => u16::arbitrary(g) % 6000,
        };
        let align = if u8::arbitrary(g) % 4 == 0 { u8::arbitrary(g) % 9 } else { u8::arbitrary(g) % 5 };
        Op { kind: u8::arbitrary(g) % 16, pick: u16::arbitrary(g), size: size.max(1), align }
    }
}

#[derive(Clone, Copy)]
struct Block {
    at: NonNull<u8>,
    layout: Layout,
    len: usize,
    seed: u8,
}

impl Block {
    /// What its first bytes hold; all behind them are the seed.
    const FRONT: usize = 20;

    fn byte(&self, idx: usize) -> u8 {
        if idx < Self::FRONT { (idx as u8).wrapping_mul(31) ^ self.seed } else { self.seed }
    }

    fn fill(&self) {
        // SAFETY: the block is live, the model's alone, and so long.
        unsafe { self.at.write_bytes(self.seed, self.len) };
        // SAFETY: as above.
        let bytes = unsafe { slice::from_raw_parts_mut(self.at.as_ptr(), self.len) };
        for (idx, byte) in bytes.iter_mut().enumerate().take(Self::FRONT) {
            *byte = self.byte(idx);
        }
    }

    /// Looks at the first bytes and the last ones of `len`, and at some between.
    fn check(&self, len: usize) {
        // SAFETY: the block is live, the model's alone, so long, and all of it has been written.
        let bytes = unsafe { slice::from_raw_parts(self.at.as_ptr(), len) };
        let between = (Self::FRONT..len).step_by(37);
        let ends = (0..len.min(Self::FRONT)).chain(len.saturating_sub(Self::FRONT)..len);
        for idx in ends.chain(between) {
            assert_eq!(bytes[idx], self.byte(idx), "byte {idx} of {:?} has changed", self.layout);
        }
    }

    /// A layout of the block's, with a size between the one that it was asked for and its length.
    fn any_layout(&self, pick: u16) -> Layout {
        let slack = self.len - self.layout.size();
        let more = match pick % 3 {
            0 => 0,
            1 => slack,
            _ => usize::from(pick) % (slack + 1),
        };
        layout(self.layout.size() + more, self.layout.align())
    }
}

/// A heap and its blocks.
struct Shadow<'h, H> {
    heap: &'h mut H,
    blocks: Vec<Block>,
    seed: u8,
    at_hand: bool,
}

impl<H: Heap> Shadow<'_, H> {
    fn note(&mut self, given: NonNull<[u8]>, layout: Layout) {
        let at = given.cast::<u8>();
        assert!(given.len() >= layout.size(), "{layout:?} got {} bytes", given.len());
        assert_eq!(at.addr().get() % layout.align(), 0, "{layout:?} is not aligned");
        let (start, end) = (at.addr().get(), at.addr().get() + given.len());
        for other in &self.blocks {
            let from = other.at.addr().get();
            assert!(end <= from || from + other.len <= start, "{layout:?} overlaps {:?}", other.layout);
        }
        let good = self.heap.good_size(layout);
        assert!(good >= layout.size(), "{layout:?} has a good size of {good}");
        let middle = layout.size() + (good - layout.size()) / 2;
        for size in [middle, good] {
            let between = super::layout(size, layout.align());
            assert_eq!(self.heap.good_size(between), good, "H7: {layout:?}, {between:?}");
        }
        self.seed = self.seed.wrapping_add(29);
        let block = Block { at, layout, len: given.len(), seed: self.seed };
        block.fill();
        self.blocks.push(block);
    }

    fn alloc(&mut self, layout: Layout, zeroed: bool) {
        let at_hand = if self.at_hand && !zeroed { self.heap.alloc_at_hand(layout) } else { None };
        let given = match at_hand {
            Some(block) => Ok(block),
            None if zeroed => self.heap.alloc_zeroed(layout),
            None => self.heap.alloc(layout),
        };
        let Ok(given) = given else { return };
        if zeroed {
            // SAFETY: a fresh block, so long, and written to by the heap.
            let bytes = unsafe { slice::from_raw_parts(given.cast::<u8>().as_ptr(), given.len()) };
            assert_eq!(bytes.iter().position(|&byte| byte != 0), None, "{layout:?} is not zero");
        }
        self.note(given, layout);
    }

    fn free(&mut self, pick: u16) {
        let block = self.blocks.swap_remove(usize::from(pick) % self.blocks.len());
        block.check(block.len);
        let layout = block.any_layout(pick);
        let ptr = narrowed(block.at, layout.size());
        // SAFETY: the block is live, and the layout one of its own.
        if self.at_hand && unsafe { self.heap.dealloc_at_hand(ptr, layout) } {
            return;
        }
        // SAFETY: as above; it was not taken.
        unsafe { self.heap.dealloc(ptr, layout) };
    }

    fn resize(&mut self, pick: u16, new: Layout, may_move: bool) {
        let idx = usize::from(pick) % self.blocks.len();
        let mut block = self.blocks[idx];
        block.check(block.len);
        let old = block.any_layout(pick);
        let ptr = narrowed(block.at, old.size());
        let given = if may_move {
            // SAFETY: the block is live, and the layout one of its own.
            unsafe { self.heap.resize(ptr, old, new) }
        } else {
            // SAFETY: as above.
            unsafe { self.heap.resize_in_place(ptr, old, new) }
        };
        let Ok(given) = given else {
            // It is as it was.
            block.check(block.len);
            return;
        };
        assert!(may_move || given.cast() == block.at, "moved in place");
        let kept = old.size().min(new.size());
        block.at = given.cast();
        block.check(kept);
        self.blocks.swap_remove(idx);
        self.note(given, new);
    }

    fn batch(&mut self, layout: Layout, count: usize) {
        let mut out = vec![MaybeUninit::uninit(); count];
        let got = self.heap.alloc_batch(layout, &mut out);
        assert!(got <= count);
        for block in &out[..got] {
            // SAFETY: so many were filled from the front.
            let block = unsafe { block.assume_init() };
            self.note(NonNull::slice_from_raw_parts(block, layout.size()), layout);
        }
    }

    /// Frees all blocks of one layout at once.
    fn free_batch(&mut self, pick: u16) {
        let layout = self.blocks[usize::from(pick) % self.blocks.len()].layout;
        let (gone, kept) = self.blocks.drain(..).partition(|block| block.layout == layout);
        self.blocks = kept;
        let gone: Vec<Block> = gone;
        gone.iter().for_each(|block| block.check(block.len));
        let ptrs: Vec<_> = gone.iter().map(|block| narrowed(block.at, layout.size())).collect();
        // SAFETY: live blocks of this layout, all different.
        unsafe { self.heap.dealloc_batch(layout, &ptrs) };
    }

    fn apply(&mut self, op: Op) {
        let Op { kind, pick, size, align } = op;
        let new = layout(usize::from(size), 1 << align);
        match kind {
            0..=5 => self.alloc(new, false),
            6 => self.alloc(new, true),
            7 => self.batch(new, usize::from(pick % 70)),
            _ if self.blocks.is_empty() => {}
            8..=10 => self.free(pick),
            11 => self.free_batch(pick),
            12 | 13 => self.resize(pick, new, true),
            14 => {
                let old = self.blocks[usize::from(pick) % self.blocks.len()].layout;
                self.resize(pick, layout(new.size(), old.align()), size % 2 == 0);
            }
            _ => self.resize(pick, new, false),
        }
        if pick % 64 == 0 {
            self.heap.release_unused();
        }
    }
}

/// Runs a script; at its end all blocks are freed.
pub(super) fn run<H: Heap>(heap: &mut H, script: &[Op], at_hand: bool) {
    assert!(heap.alloc(layout(0, 1)).is_err(), "H6");
    let mut shadow = Shadow { heap, blocks: Vec::new(), seed: 0, at_hand: at_hand && H::AT_HAND };
    for &op in script {
        shadow.apply(op);
    }
    while !shadow.blocks.is_empty() {
        shadow.free(u16::from(shadow.seed).wrapping_mul(77));
        shadow.seed = shadow.seed.wrapping_add(3);
    }
}

/// Runs a script on a heap made by `make` over strict ones, some of whose requests are refused; says how many requests there were.
pub(super) fn check<H: Heap>(
    make: fn(&Shared) -> H,
    script: &[Op],
    at_hand: bool,
    refused: Option<(u64, u64)>,
) -> u64 {
    let log = Shared::default();
    if let Some((first, last)) = refused {
        log.refuse(first, last);
    }
    let mut heap = make(&log);
    run(&mut heap, script, at_hand);
    drop(heap);
    assert_eq!(log.see(|log| log.live), 0, "blocks are left in a parent");
    log.requests()
}

/// Runs scripts on heaps made by `make`: as they are, in `property`, and with requests refused at every place of some of them.
pub(super) fn holds<H: Heap>(make: fn(&Shared) -> H, property: fn(Vec<Op>) -> bool) {
    let (small, tests) = if cfg!(miri) { (1, 1) } else { (1, 15) };
    let mut seed = Gen::from_size_and_seed(80, 0xB10C);
    for _ in 0..small {
        let script = Vec::<Op>::arbitrary(&mut seed);
        for first in 0..check(make, &script, true, None) {
            check(make, &script, true, Some((first, first)));
            check(make, &script, false, Some((first, first + 5)));
        }
    }
    let mut driver = QuickCheck::new().rng(Gen::from_size_and_seed(200, 0x0DD5)).tests(tests);
    if let Err(failure) = driver.quicktest(property) {
        panic!("{failure:?}");
    }
}
