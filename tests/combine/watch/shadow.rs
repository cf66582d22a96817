//! Random operations on towers and on a shadow of them: blocks are aligned, overlap nothing, keep their bytes, come back with every size that
//! they may come back with, and all of them come back, whatever the heap below refuses.

use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::arena::Arena;
use heapwright::cache::Classes;
use heapwright::check::{Misuse, MisuseHook};
use heapwright::combine::{
    ClassTotals, Counted, FailNth, FailRandom, OnAlloc, OnBoth, OnFree, Quarantine, Quota, RedZones,
    SizeHistogram, Totals, Zeroing,
};
use heapwright::heap::{Heap, Locked};
use heapwright::lock::NoLock;
use heapwright::sizing::{Checked, Sizing128KiB};
use heapwright::source::{self, GlobalHeap, SourceHeap};

use super::{layout, resize};

/// A sequence of numbers that looks random, the same from each seed.
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % end
    }

    fn layout(&mut self) -> Layout {
        let end = [8, 70, 300][self.below(3)];
        let size = 1 + self.below(end);
        layout(size, 1 << self.below(7))
    }
}

struct Block {
    ptr: NonNull<u8>,
    layout: Layout,
    /// Bytes that it may come back with.
    len: usize,
    fill: u8,
}

/// The shadow of a heap.
struct Shadow<H> {
    heap: H,
    /// Whether bytes that are handed out are zero, asked for or not.
    zeroes: bool,
    blocks: Vec<Block>,
    next_fill: u8,
    refused: usize,
}

impl<H: Heap> Shadow<H> {
    /// A block that was handed out: it is as it should be, and the bytes from `kept` on are the shadow's to fill.
    fn enter(&mut self, block: NonNull<[u8]>, layout: Layout) {
        let (ptr, len) = (block.cast::<u8>(), block.len());
        assert!(len >= layout.size());
        assert_eq!(ptr.addr().get() % layout.align(), 0);
        let start = ptr.addr().get();
        for other in &self.blocks {
            let from = other.ptr.addr().get();
            assert!(start + len <= from || from + other.len <= start, "two blocks overlap");
        }
        self.next_fill = self.next_fill.wrapping_add(1) | 1;
        // SAFETY: the block is that long, and ours.
        unsafe { ptr.write_bytes(self.next_fill, len) };
        self.blocks.push(Block { ptr, layout, len, fill: self.next_fill });
    }

    /// The first `len` bytes of a block are all `fill`.
    fn holds(ptr: NonNull<u8>, len: usize, fill: u8) {
        // SAFETY: they are the block's, and were filled.
        let bytes = unsafe { NonNull::slice_from_raw_parts(ptr, len).as_ref() };
        assert!(bytes.iter().all(|byte| *byte == fill), "a block has lost its bytes");
    }

    fn take(&mut self, numbers: &mut Numbers) -> Option<Block> {
        if self.blocks.is_empty() {
            return None;
        }
        let block = self.blocks.swap_remove(numbers.below(self.blocks.len()));
        Self::holds(block.ptr, block.len, block.fill);
        Some(block)
    }

    /// One of the sizes that it may come back with.
    fn some_layout(block: &Block, numbers: &mut Numbers) -> Layout {
        let size = block.layout.size() + numbers.below(block.len - block.layout.size() + 1);
        layout(size, block.layout.align())
    }

    fn step(&mut self, numbers: &mut Numbers) {
        match numbers.below(10) {
            0..4 => {
                let layout = numbers.layout();
                let zeroed = numbers.below(2) == 0;
                let found = if zeroed { self.heap.alloc_zeroed(layout) } else { self.heap.alloc(layout) };
                let Ok(block) = found else {
                    self.refused += 1;
                    return;
                };
                assert!(self.heap.good_size(layout) >= layout.size());
                if zeroed || self.zeroes {
                    Self::holds(block.cast(), block.len(), 0);
                }
                self.enter(block, layout);
            }
            4..6 => {
                let Some(block) = self.take(numbers) else { return };
                let layout = Self::some_layout(&block, numbers);
                // SAFETY: the block is live, and this one of its layouts.
                unsafe { self.heap.dealloc(block.ptr, layout) };
            }
            6..9 => self.resize(numbers),
            _ => self.batch(numbers),
        }
    }

    fn resize(&mut self, numbers: &mut Numbers) {
        let Some(block) = self.take(numbers) else { return };
        let old = Self::some_layout(&block, numbers);
        let mut new = numbers.layout();
        if numbers.below(3) > 0 {
            new = layout(new.size(), old.align());
        }
        let in_place = numbers.below(2) == 0;
        // SAFETY: the block is live, `old` one of its layouts, and `new` is not of size zero.
        let resized = unsafe { resize(&mut self.heap, in_place, block.ptr, old, new) };
        let Ok(resized) = resized else {
            self.refused += usize::from(!in_place);
            Self::holds(block.ptr, block.len, block.fill);
            self.blocks.push(block);
            return;
        };
        assert!(!in_place || resized.cast() == block.ptr);
        Self::holds(resized.cast(), old.size().min(new.size()), block.fill);
        if self.zeroes && old.size() < resized.len() {
            // SAFETY: the byte is the block's.
            let more = unsafe { resized.cast::<u8>().add(old.size()) };
            Self::holds(more, resized.len() - old.size(), 0);
        }
        self.enter(resized, new);
    }

    fn batch(&mut self, numbers: &mut Numbers) {
        let (layout, count) = (numbers.layout(), numbers.below(12));
        let mut out = vec![MaybeUninit::uninit(); count];
        let got = self.heap.alloc_batch(layout, &mut out);
        self.refused += count - got;
        // SAFETY: so many were filled.
        let blocks: Vec<NonNull<u8>> =
            out[..got].iter().map(|block| unsafe { block.assume_init() }).collect();
        for &block in &blocks {
            if self.zeroes {
                Self::holds(block, layout.size(), 0);
            }
            self.enter(NonNull::slice_from_raw_parts(block, layout.size()), layout);
        }
        if numbers.below(2) == 0 {
            self.blocks.truncate(self.blocks.len() - got);
            // SAFETY: they are live, all different, and of this layout.
            unsafe { self.heap.dealloc_batch(layout, &blocks) };
        }
    }

    fn drain(mut self, numbers: &mut Numbers) -> usize {
        while let Some(block) = self.take(numbers) {
            let layout = Self::some_layout(&block, numbers);
            // SAFETY: the block is live, and this one of its layouts.
            unsafe { self.heap.dealloc(block.ptr, layout) };
        }
        self.refused
    }
}

/// Runs the heap, and drops it with all its blocks back; says how much was refused.
fn run<H: Heap>(heap: H, zeroes: bool, seed: u64, steps: usize) -> usize {
    let mut numbers = Numbers(seed);
    let mut shadow = Shadow { heap, zeroes, blocks: Vec::new(), next_fill: 0, refused: 0 };
    for _ in 0..steps {
        shadow.step(&mut numbers);
    }
    shadow.drain(&mut numbers)
}

const STEPS: usize = if cfg!(miri) { 100 } else { 1000 };

/// Runs a tower over a small arena, whose blocks are rounded up and which is often full; over a source that counts its blocks; and over one
/// that fails at each of its first requests, and at random.
macro_rules! tower {
    ($zeroes:literal, |$heap:ident| $make:expr) => {{
        for seed in 0..4 {
            let mut memory = vec![MaybeUninit::uninit(); 6000];
            let arena = Locked::<_, NoLock>::new(Arena::<Checked<Sizing128KiB>>::from_slice(&mut memory));
            let $heap = SourceHeap::new(&arena);
            let refused = run($make, $zeroes, seed, STEPS);
            assert!(refused > 0 || cfg!(miri), "{}: the arena was never full", stringify!($make));
            assert_eq!((arena.usage().objects, arena.misuses()), (0, 0), "{}", stringify!($make));

            let mut source = source::Counted::new(GlobalHeap);
            let $heap = SourceHeap::new(&mut source);
            run($make, $zeroes, seed, STEPS);
            assert_eq!((source.counts().blocks, source.counts().bytes), (0, 0), "{}", stringify!($make));

            let mut source = source::Counted::new(GlobalHeap);
            let $heap = FailRandom::new_seeded(SourceHeap::new(&mut source), seed, 300);
            let refused = run($make, $zeroes, seed, STEPS);
            assert!(refused > 0);
            assert_eq!((source.counts().blocks, source.counts().bytes), (0, 0), "{}", stringify!($make));
        }
        for n in 0..if cfg!(miri) { 4 } else { 60 } {
            let mut source = source::Counted::new(source::Failing::nth(GlobalHeap, n));
            let $heap = SourceHeap::new(&mut source);
            run($make, $zeroes, n, 60);
            assert_eq!((source.counts().blocks, source.counts().bytes), (0, 0), "{}", stringify!($make));
        }
    }};
}

/// There is no misuse here: to panic in a heap is to abort.
fn there_is_none() -> MisuseHook {
    fn hook(misuse: &Misuse) {
        panic!("reported where there is nothing wrong: {misuse}");
    }
    // SAFETY: the process ends.
    unsafe { MisuseHook::new(hook) }
}

#[test]
fn quota_and_counted() {
    tower!(false, |heap| Quota::new(heap, 3000));
    tower!(false, |heap| Counted::new((), heap));
    tower!(false, |heap| Counted::new(
        (Totals::new(), ClassTotals::<Classes>::new(), SizeHistogram::new()),
        heap
    ));
}

#[test]
fn refusing() {
    tower!(false, |heap| FailNth::nth(heap, 30));
    tower!(false, |heap| FailRandom::new_seeded(heap, 5, 100));
}

#[test]
fn zeroing() {
    tower!(true, |heap| Zeroing::<OnAlloc, _>::new(heap));
    tower!(false, |heap| Zeroing::<OnFree, _>::new(heap));
    tower!(true, |heap| Zeroing::<OnBoth, _>::new(heap));
}

#[test]
fn guards() {
    tower!(false, |heap| Quarantine::<8, _, _>::new(heap, there_is_none()));
    tower!(false, |heap| Quarantine::<20, _, _>::with_bytes_max(heap, there_is_none(), 500));
    tower!(false, |heap| RedZones::<16, 8, _, _>::new(heap, there_is_none()));
    tower!(false, |heap| RedZones::<0, 3, _, _>::new(heap, there_is_none()));
    tower!(false, |heap| RedZones::<1, 0, _, _>::new(heap, there_is_none()));
}

#[test]
fn towers() {
    tower!(true, |heap| {
        let quarantine = Quarantine::<8, _, _>::new(Quota::new(heap, 4000), there_is_none());
        let zones = RedZones::<8, 8, _, _>::new(quarantine, there_is_none());
        Counted::new(Totals::new(), Zeroing::<OnBoth, _>::new(zones))
    });
    tower!(false, |heap| {
        let counted = Counted::new(SizeHistogram::new(), Quota::new(heap, 4000));
        let zones = RedZones::<32, 1, _, _>::new(counted, there_is_none());
        Quarantine::<4, _, _>::new(zones, there_is_none())
    });
}
