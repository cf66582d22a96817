//! Presets and arenas under random calls, every other one a resize: what is live stays whole, apart, aligned and inside; what is refused changes
//! nothing.
//!
//! `HEAPWRIGHT_LONG=1` runs 100,000,000 operations on each, `HEAPWRIGHT_MODEL_OPS` as many as it says; otherwise it is 20,000. `HEAPWRIGHT_MODEL_SEED`
//! draws others; what fails says with which seed.

use std::alloc::{GlobalAlloc, Layout};
use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::arena::Teaspoon;
use heapwright::heap::{Locked, SharedHeap};
use heapwright::lock::{Lock, NoLock, SpinLock};
use heapwright::preset::{StackFirst, StaticHeap, TinyHeap4KiB, TinyHeap16MiB, TinyHeap128KiB};
use heapwright::sizing::{Bounded, Checked, Sizing, Sizing4KiB, Sizing16MiB, Sizing128KiB};
use heapwright::source::{FromGlobalAlloc, SourceHeap};

use crate::books::Random;
use crate::is_long;

/// Operations on each heap in a long run.
const OPERATIONS_LONG: usize = 100_000_000;
/// Operations on each heap otherwise.
const OPERATIONS: usize = 20_000;
/// Of a hundred operations so many are resizes, at least.
const RESIZES_PERCENT: usize = 30;

/// At the start of a page, so that a run goes the same way again.
#[repr(align(4096))]
struct Aligned<T>(T);

/// A live block; its bytes follow from `seed`.
#[derive(Clone, Copy, Debug)]
struct Block {
    ptr: *mut u8,
    layout: Layout,
    seed: u64,
}

impl Block {
    /// The word at a multiple of 8 bytes.
    fn word(&self, at: usize) -> [u8; 8] {
        (self.seed ^ (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_ne_bytes()
    }

    /// Writes all its bytes.
    fn fill(&self) {
        // SAFETY: the block is live, so long, and nobody else's.
        let bytes =
            unsafe { std::slice::from_raw_parts_mut(self.ptr.cast::<MaybeUninit<u8>>(), self.layout.size()) };
        for (number, part) in bytes.chunks_mut(8).enumerate() {
            let word = self.word(number * 8);
            part.iter_mut().zip(word).for_each(|(byte, value)| *byte = MaybeUninit::new(value));
        }
    }

    /// Whether its first `len` bytes are what was written.
    fn holds(&self, len: usize) -> Result<(), String> {
        // SAFETY: the block is live, at least so long, and was filled.
        let bytes = unsafe { std::slice::from_raw_parts(self.ptr, len) };
        let wrong =
            bytes.chunks(8).enumerate().find(|(number, part)| *part != &self.word(number * 8)[..part.len()]);
        match wrong {
            None => Ok(()),
            Some((number, _)) => Err(format!("bytes from {} on of {self:?} have changed", number * 8)),
        }
    }
}

/// What is asked of a heap besides its blocks.
struct Facts<'h> {
    heap: &'h dyn GlobalAlloc,
    /// Where blocks must lie, if that is known.
    region: Option<Range<usize>>,
    /// Live blocks by the heap's own count, and whether it finds itself in order.
    verify: &'h dyn Fn() -> Result<Option<usize>, String>,
    /// Sizes go up to 2 to the power of this.
    doublings: usize,
}

/// The shadow of a heap.
struct Model<'h> {
    facts: Facts<'h>,
    random: Random,
    live: Vec<Block>,
    /// Ends of live blocks by their starts.
    taken: BTreeMap<usize, usize>,
    resizes: usize,
    refused: usize,
}

impl Model<'_> {
    fn layout(&mut self) -> Layout {
        let random = &mut self.random;
        let size = match random.below(32) {
            0 => random.size(self.facts.doublings),
            _ => random.size(8.min(self.facts.doublings)),
        };
        let align = match random.below(16) {
            0 => 1 << random.below(13),
            _ => 1 << random.below(5),
        };
        Layout::from_size_align(size, align).unwrap_or(Layout::new::<u64>())
    }

    /// Enters a block, which must be aligned, inside, and apart from all others.
    fn welcome(&mut self, ptr: *mut u8, layout: Layout) -> Result<(), String> {
        let (start, end) = (ptr.addr(), ptr.addr() + layout.size());
        if start % layout.align() != 0 {
            return Err(format!("{ptr:?} is not aligned as {layout:?}"));
        }
        if self.facts.region.as_ref().is_some_and(|region| start < region.start || end > region.end) {
            return Err(format!("{ptr:?} of {layout:?} lies outside of {:x?}", self.facts.region));
        }
        let before = self.taken.range(..end).next_back();
        if let Some((other, other_end)) = before.filter(|(_, other_end)| **other_end > start) {
            return Err(format!("{ptr:?} of {layout:?} overlaps {other:#x}..{other_end:#x}"));
        }
        self.taken.insert(start, end);
        let block = Block { ptr, layout, seed: self.random.next() };
        block.fill();
        self.live.push(block);
        Ok(())
    }

    fn take(&mut self) -> Result<(), String> {
        let layout = self.layout();
        let zeroed = self.random.below(8) == 0;
        // SAFETY: the size is not zero.
        let ptr = unsafe {
            if zeroed { self.facts.heap.alloc_zeroed(layout) } else { self.facts.heap.alloc(layout) }
        };
        if ptr.is_null() {
            self.refused += 1;
            return Ok(());
        }
        // SAFETY: a live block, all of which the heap says it has zeroed.
        if zeroed && !unsafe { std::slice::from_raw_parts(ptr, layout.size()) }.iter().all(|&byte| byte == 0)
        {
            return Err(format!("{ptr:?} of {layout:?} is not zeroed"));
        }
        self.welcome(ptr, layout)
    }

    /// Takes a block out of the shadow, after a look at all of it.
    fn pick(&mut self) -> Result<Option<Block>, String> {
        if self.live.is_empty() {
            return Ok(None);
        }
        let at = self.random.below(self.live.len());
        let block = self.live.swap_remove(at);
        self.taken.remove(&block.ptr.addr());
        block.holds(block.layout.size())?;
        Ok(Some(block))
    }

    fn give(&mut self) -> Result<(), String> {
        if let Some(block) = self.pick()? {
            // SAFETY: the block is live, of this layout.
            unsafe { self.facts.heap.dealloc(block.ptr, block.layout) };
        }
        Ok(())
    }

    fn resize(&mut self) -> Result<(), String> {
        let Some(block) = self.pick()? else { return self.take() };
        self.resizes += 1;
        let old = block.layout.size();
        let size = match self.random.below(4) {
            0 => self.layout().size(),
            1 => old + self.random.below(16),
            2 => old.div_ceil(2),
            _ => old * 3 / 2,
        };
        let size = size.clamp(1, 2 << self.facts.doublings);
        // SAFETY: the block is live, of this layout; the size is small.
        let ptr = unsafe { self.facts.heap.realloc(block.ptr, block.layout, size) };
        if ptr.is_null() {
            self.refused += 1;
            block.holds(old)?;
            self.taken.insert(block.ptr.addr(), block.ptr.addr() + old);
            self.live.push(block);
            return Ok(());
        }
        Block { ptr, ..block }.holds(old.min(size))?;
        let layout = Layout::from_size_align(size, block.layout.align()).unwrap();
        self.welcome(ptr, layout)
    }

    fn look(&self) -> Result<(), String> {
        self.live.iter().try_for_each(|block| block.holds(block.layout.size()))?;
        match (self.facts.verify)()? {
            Some(objects) if objects != self.live.len() => {
                Err(format!("{objects} blocks by the heap's count, {} are live", self.live.len()))
            }
            _ => Ok(()),
        }
    }

    fn run(&mut self, operations: usize) -> Result<(), String> {
        let mut greed = 3;
        for number in 0..operations {
            if number % 512 == 0 {
                // The heap fills up, stays as it is, or runs empty.
                greed = 1 + self.random.below(4);
            }
            if number % (operations / 50).max(1000) == 0 {
                self.look()?;
            }
            match self.random.below(10) {
                0..5 => self.resize()?,
                drawn if drawn - 5 < greed && self.live.len() < 4000 => self.take()?,
                _ => self.give()?,
            }
        }
        if self.resizes * 100 < operations * RESIZES_PERCENT {
            return Err(format!("{} resizes are too few", self.resizes));
        }
        self.look()?;
        while !self.live.is_empty() {
            self.give()?;
        }
        self.look()
    }
}

/// Runs the model on a heap.
fn run(name: &str, facts: Facts<'_>) {
    let setting = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = setting("HEAPWRIGHT_MODEL_SEED").unwrap_or(0x7EA5);
    let operations = setting("HEAPWRIGHT_MODEL_OPS").map(|count| count as usize);
    let operations = operations.unwrap_or(if is_long() { OPERATIONS_LONG } else { OPERATIONS });
    let (live, taken) = (Vec::new(), BTreeMap::new());
    let mut model = Model { facts, random: Random(seed), live, taken, resizes: 0, refused: 0 };
    if let Err(fault) = model.run(operations) {
        panic!("{name}: {fault}; run again with HEAPWRIGHT_MODEL_SEED={seed}");
    }
}

/// An arena of a sizing in memory of this length.
fn arena<S: Sizing, L: Lock>(len: usize, doublings: usize) {
    let mut pages: Vec<Aligned<_>> =
        (0..len.div_ceil(4096)).map(|_| Aligned([MaybeUninit::<u8>::uninit(); 4096])).collect();
    let memory = pages.as_mut_ptr().cast::<MaybeUninit<u8>>();
    let start = memory.addr();
    // SAFETY: the pages are as long, and nobody else uses them.
    let heap = Teaspoon::<S, L>::from_slice(unsafe { std::slice::from_raw_parts_mut(memory, len) });
    let verify = || heap.verify().map(|()| Some(heap.usage().objects)).map_err(|found| found.to_string());
    let facts = Facts { heap: &heap, region: Some(start..start + len), verify: &verify, doublings };
    run(std::any::type_name::<Teaspoon<'_, S, L>>(), facts);
}

macro_rules! arenas {
    ($($name:ident: $sizing:ty, $len:expr, $doublings:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn no_lock() {
                arena::<$sizing, NoLock>($len, $doublings);
            }

            #[test]
            fn spin_lock() {
                arena::<$sizing, SpinLock>($len, $doublings);
            }
        }
    )*};
}

arenas! {
    sizing_4kib: Sizing4KiB, 12 << 10, 11;
    sizing_4kib_bounded: Bounded<Sizing4KiB>, 4096, 10;
    sizing_4kib_checked: Checked<Sizing4KiB>, 12 << 10, 11;
    sizing_128kib: Sizing128KiB, 200_000, 15;
    sizing_128kib_bounded: Bounded<Sizing128KiB>, 60_000, 14;
    sizing_128kib_checked: Checked<Sizing128KiB>, 200_000, 15;
    sizing_16mib: Sizing16MiB, 1 << 20, 18;
    sizing_16mib_bounded: Bounded<Sizing16MiB>, 1 << 20, 18;
    sizing_16mib_checked: Checked<Sizing16MiB>, 1 << 20, 18;
}

macro_rules! statics {
    ($($name:ident: $heap:ident of $len:expr, $doublings:expr;)*) => {$(
        mod $name {
            use super::*;

            fn in_place<L: Lock>() {
                let heap = Box::new(Aligned($heap::<{ $len }, L>::new()));
                let heap = &heap.0;
                let start = std::ptr::from_ref(heap).addr();
                let verify = || heap.verify().map(|()| Some(heap.usage().objects)).map_err(|found| found.to_string());
                let region = Some(start..start + size_of_val(heap));
                run(stringify!($heap), Facts { heap, region, verify: &verify, doublings: $doublings });
            }

            #[test]
            fn no_lock() {
                in_place::<NoLock>();
            }

            #[test]
            fn spin_lock() {
                in_place::<SpinLock>();
            }
        }
    )*};
}

statics! {
    static_heap_small: StaticHeap of 8192, 10;
    static_heap: StaticHeap of 64 << 10, 13;
    static_heap_large: StaticHeap of 300 << 10, 16;
    tiny_heap_4kib: TinyHeap4KiB of 4096, 10;
    tiny_heap_128kib: TinyHeap128KiB of 128 << 10, 14;
    tiny_heap_16mib: TinyHeap16MiB of 300 << 10, 16;
}

/// A shared heap by the calls of `GlobalAlloc`.
struct ByShared<A>(A);

fn start(made: Result<NonNull<[u8]>, AllocError>) -> *mut u8 {
    made.map_or(std::ptr::null_mut(), |block| block.cast().as_ptr())
}

// SAFETY: the shared heap's blocks.
unsafe impl<A: SharedHeap> GlobalAlloc for ByShared<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        start(self.0.try_alloc(layout))
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        start(self.0.try_alloc_zeroed(layout))
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise: a live block.
        unsafe { self.0.free(NonNull::new(ptr).unwrap(), layout) };
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let new = Layout::from_size_align(new_size, layout.align()).unwrap();
        // SAFETY: the caller's promise: a live block.
        start(unsafe { self.0.try_resize(NonNull::new(ptr).unwrap(), layout, new) })
    }
}

/// A few KiB on the stack, and the system behind them.
#[test]
fn stack_first() {
    let behind = Locked::<_, SpinLock>::new(SourceHeap::new(FromGlobalAlloc::new(&std::alloc::System)));
    let heap = ByShared(StackFirst::<4096, _>::new(behind));
    run("StackFirst", Facts { heap: &heap, region: None, verify: &|| Ok(None), doublings: 16 });
}

#[cfg(all(feature = "std", any(unix, windows)))]
mod general {
    use heapwright::preset::{CheckedMalloc, CompactMalloc, HardenedMalloc, SlabMalloc};

    use super::*;

    macro_rules! general {
        ($($name:ident: $heap:ident;)*) => {$(
            #[test]
            fn $name() {
                let facts = Facts { heap: &$heap, region: None, verify: &|| Ok(None), doublings: 19 };
                run(stringify!($heap), facts);
            }
        )*};
    }

    general! {
        slab_malloc: SlabMalloc;
        compact_malloc: CompactMalloc;
        checked_malloc: CheckedMalloc;
        hardened_malloc: HardenedMalloc;
    }
}
