//! Every source against a model: blocks are aligned, apart, keep their contents, and all go back.
#![cfg(test)]
#![cfg_attr(feature = "nightly", feature(allocator_api))]
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "the model keeps the live blocks and their layouts: its calls fit them"
)]

use core::alloc::{GlobalAlloc, Layout};
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use std::alloc::System;
use std::sync::LazyLock;

use heapwright::arena::{SourceTeaspoon, StaticArena, Teaspoon};
use heapwright::heap::Locked;
use heapwright::lock::SpinLock;
use heapwright::sizing::{Sizing4KiB, Sizing16MiB, Sizing128KiB};
#[cfg(feature = "alloc")]
use heapwright::source::GlobalHeap;
#[cfg(feature = "os")]
use heapwright::source::Pages;
use heapwright::source::{
    BackingSource, Buffer, Counted, Failing, FromGlobalAlloc, Limited, SourceHeap, StaticBuffer,
};
use quickcheck::{Arbitrary, Gen, QuickCheck, TestResult, Testable};

/// What the model knows of a live block.
#[derive(Clone, Copy)]
struct Block {
    ptr: NonNull<u8>,
    /// The size asked for last: the least that may come back.
    requested: usize,
    /// The length given: the most that may come back. All of it is written.
    len: usize,
    align: usize,
    /// Where its pattern starts.
    seed: usize,
}

impl Block {
    /// A layout of the block: the choice is among all that are allowed.
    fn layout(&self, choice: usize) -> Layout {
        let size = self.requested + choice % (self.len - self.requested + 1);
        Layout::from_size_align(size, self.align).unwrap()
    }

    /// What a collection hands over when it lets the block go or grow: a pointer that is good for the layout's size only.
    fn handed(&mut self, layout: Layout) -> NonNull<u8> {
        NonNull::from(self.bytes(0, layout.size())).cast()
    }

    /// Its bytes from `from` to `to`.
    fn bytes(&mut self, from: usize, to: usize) -> &mut [u8] {
        assert!(from <= to && to <= self.len);
        let start = self.ptr.as_ptr().wrapping_add(from);
        unsafe { core::slice::from_raw_parts_mut(start, to - from) }
    }

    /// What it should hold from `from` to `to`: differs from block to block and along each.
    fn pattern(&self, from: usize, to: usize) -> &'static [u8] {
        static PATTERN: LazyLock<Vec<u8>> =
            LazyLock::new(|| (0..1u32 << 17).map(|i| (i ^ (i >> 8).wrapping_mul(31)) as u8).collect());
        &PATTERN[self.seed..][from..to]
    }

    fn fill(&self, from: usize) {
        // The bytes may never have been written: no slice of them yet.
        let (start, pattern) = (self.ptr.as_ptr().wrapping_add(from), self.pattern(from, self.len));
        unsafe { start.copy_from_nonoverlapping(pattern.as_ptr(), pattern.len()) };
    }

    #[track_caller]
    fn check(&mut self, len: usize) {
        let pattern = self.pattern(0, len);
        assert!(self.bytes(0, len) == pattern, "a block of {} has changed within {len}", self.len);
    }

    #[track_caller]
    fn check_zero(&mut self, from: usize) {
        let bytes = self.bytes(from, self.len);
        assert_eq!(bytes.iter().position(|&byte| byte != 0), None, "not zero from {from} on");
    }
}

/// One step of a random run: which operation, on which block, how large, with what alignment.
type Step = (u8, u8, u16, u8);

/// Says what was run, if the run panics.
struct Tell<'a>(&'a [Step]);

impl Drop for Tell<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("steps: {:?}", self.0);
        }
    }
}

/// Runs the steps against `source`, checks each result and all live blocks after each step, and gives all back.
fn model<B: BackingSource>(source: &mut B, steps: &[Step]) {
    let _tell = Tell(steps);
    let mut live: Vec<Block> = Vec::new();
    for (number, &(what, which, size, align)) in steps.iter().enumerate() {
        let size = size as usize % 20_000;
        let pick = which as usize % live.len().max(1);
        match (what % 8, live.get(pick).copied()) {
            (0..=2, _) | (_, None) => {
                let layout = Layout::from_size_align(size, 1 << (align % 17)).unwrap();
                acquire(source, &mut live, layout, number * 7);
            }
            (3, Some(mut block)) => {
                live.swap_remove(pick);
                let layout = block.layout(size);
                unsafe { source.release(block.handed(layout), layout) };
            }
            (4, Some(_)) => extend(source, &mut live[pick], size),
            (5, Some(block)) => {
                let (old, less) = (block.layout(size), size);
                shrink(source, &mut live[pick], old, old.size().saturating_sub(less));
            }
            (6, Some(_)) => remap(source, &mut live[pick], size),
            (_, Some(_)) => purge(source, &mut live[pick], size),
        }
        check_all(&mut live);
    }
    for (i, block) in live.iter_mut().enumerate() {
        let layout = block.layout(i * 7919);
        unsafe { source.release(block.handed(layout), layout) };
    }
}

fn purge<B: BackingSource>(source: &mut B, block: &mut Block, choice: usize) {
    let from = choice % block.len;
    let start = unsafe { block.ptr.add(from) };
    unsafe { source.purge(start, block.len - from) };
    block.check(from);
    if B::ZEROED {
        block.check_zero(from);
    }
    block.fill(from);
}

/// Live blocks are whole, aligned and apart.
fn check_all(live: &mut [Block]) {
    for i in 0..live.len() {
        let mut block = live[i];
        block.check(block.len);
        let (start, end) = (block.ptr.addr().get(), block.ptr.addr().get() + block.len);
        assert_eq!(start % block.align, 0);
        for other in &live[..i] {
            let other_start = other.ptr.addr().get();
            assert!(end <= other_start || other_start + other.len <= start, "blocks overlap");
        }
    }
}

fn acquire<B: BackingSource>(source: &mut B, live: &mut Vec<Block>, layout: Layout, seed: usize) {
    let good = source.good_size(layout);
    for size in [layout.size(), (layout.size() + good) / 2, good] {
        let same = Layout::from_size_align(size, layout.align()).unwrap();
        assert_eq!(source.good_size(same), good, "B6 for {size} of {}..={good}", layout.size());
    }
    let Ok(memory) = source.acquire(layout) else { return };
    assert!(layout.size() > 0 && memory.len() >= layout.size());
    let mut block = Block {
        ptr: memory.cast(),
        requested: layout.size(),
        len: memory.len(),
        align: layout.align(),
        seed,
    };
    if B::ZEROED {
        block.check_zero(0);
    }
    block.fill(0);
    live.push(block);
}

fn extend<B: BackingSource>(source: &mut B, block: &mut Block, more: usize) {
    let old = block.layout(more);
    let (old_len, new_size) = (block.len, old.size() + more);
    let Ok(memory) = (unsafe { source.extend(block.handed(old), old, new_size) }) else { return };
    assert!(memory.cast() == block.ptr && memory.len() >= new_size);
    (block.ptr, block.requested, block.len) = (memory.cast(), new_size, memory.len());
    grown::<B>(block, old_len);
}

fn remap<B: BackingSource>(source: &mut B, block: &mut Block, more: usize) {
    let old = block.layout(more);
    let (old_len, new_size) = (block.len, old.size() + more);
    let Ok(memory) = (unsafe { source.remap(block.handed(old), old, new_size) }) else { return };
    assert!(memory.len() >= new_size);
    (block.ptr, block.requested, block.len) = (memory.cast(), new_size, memory.len());
    grown::<B>(block, old_len);
}

/// A block has grown from `old_len`: what was there is there, and the rest is zero if promised.
fn grown<B: BackingSource>(block: &mut Block, old_len: usize) {
    block.check(old_len.min(block.len));
    if B::ZEROED {
        block.check_zero(old_len);
    }
    block.fill(old_len);
}

fn shrink<B: BackingSource>(source: &mut B, block: &mut Block, old: Layout, new_size: usize) {
    let Ok(memory) = (unsafe { source.shrink(block.handed(old), old, new_size) }) else { return };
    assert!(memory.len() >= new_size && memory.len() <= block.len && new_size > 0);
    assert_eq!(memory.cast(), block.ptr);
    (block.ptr, block.requested, block.len) = (memory.cast(), new_size, memory.len());
}

/// Checks the counts after a run: everything went back.
fn all_back<B: BackingSource>(source: &Counted<B>) {
    let counts = source.counts();
    assert_eq!((counts.blocks, counts.bytes), (0, 0));
    assert_eq!(counts.acquired, counts.released);
    assert!(counts.blocks_peak as u64 <= counts.acquired && counts.bytes_peak >= counts.blocks_peak);
}

/// A property of a list of steps, for quickcheck: which by itself takes functions only.
struct Property<F>(F);

impl<F: Fn(&[Step]) + 'static> Testable for Property<F> {
    fn result(&self, g: &mut Gen) -> TestResult {
        (self.0)(&Vec::<Step>::arbitrary(g));
        TestResult::passed()
    }
}

/// Runs a property on random steps.
fn random(tests: u64, property: impl Fn(&[Step]) + 'static) {
    QuickCheck::new().tests(tests).quickcheck(Property(property));
}

/// Runs the model on what `make` gives: bare, in every wrapper, and with a failure at every position; then the edge cases.
fn suite<B: BackingSource>(make: impl Fn() -> B + Clone + 'static) {
    edges(&mut make());
    let fresh = make.clone();
    random(100, move |steps| {
        let mut source = Counted::new(fresh());
        model(&mut source, steps);
        all_back(&source);
    });
    let fresh = make.clone();
    random(40, move |steps| {
        let mut source = Limited::new(Counted::new(fresh()), 50_000);
        model(&mut source, steps);
        assert_eq!(source.used(), 0);
        all_back(source.source());
        assert!(source.source().counts().bytes_peak <= 50_000, "the quota held");
    });
    random(6, move |steps| {
        let mut source = Failing::never(Counted::new(make()));
        model(&mut source, steps);
        for n in 0..source.requests() {
            let mut source = Failing::nth(Counted::new(make()), n);
            model(&mut source, steps);
            all_back(source.source());
            let mut source = Failing::after(Counted::new(make()), n);
            model(&mut source, steps);
            assert!(source.source().counts().acquired <= n);
            all_back(source.source());
        }
    });
}

/// Sizes and alignments that no source can meet give errors, and leave it whole.
fn edges<B: BackingSource>(source: &mut B) {
    let mut refused = |size: usize, align: usize| {
        let layout = Layout::from_size_align(size, align).unwrap();
        if let Ok(block) = source.acquire(layout) {
            // Half of all addresses of 32 bits a process may have.
            assert!(usize::BITS == 32 && size > 1 << 29 && align <= B::ALIGN_MAX, "{layout:?}");
            unsafe { source.release(block.cast(), layout) };
        }
    };
    let max = isize::MAX as usize;
    for align in [1, 16, 4096, B::ALIGN_MAX] {
        refused(0, align);
        refused(max - (align - 1), align);
        refused(max / 2 + 1, align);
    }
    let mut align = B::ALIGN_MAX;
    while align <= max / 2 {
        align *= 2;
        refused(1, align);
        refused(max - (align - 1), align);
    }
    let layout = Layout::from_size_align(100, 8).unwrap();
    let block = source.acquire(layout).unwrap();
    let old = Layout::from_size_align(block.len(), 8).unwrap();
    for size in [max / 2, max, usize::MAX].into_iter().filter(|&size| usize::BITS > 32 || size > max / 2) {
        assert!(unsafe { source.extend(block.cast(), old, size) }.is_err());
        assert!(unsafe { source.remap(block.cast(), old, size) }.is_err());
    }
    assert!(unsafe { source.shrink(block.cast(), old, 0) }.is_err());
    unsafe { source.purge(block.cast(), 0) };
    unsafe { source.release(block.cast(), layout) };
}

#[cfg(feature = "os")]
#[test]
fn pages() {
    suite(|| Pages);
}

/// What is no range of whole pages is not protected, not in part either.
#[test]
#[cfg(all(feature = "os", any(unix, windows), not(miri)))]
fn only_whole_pages_are_protected() {
    let page = Pages::page_size();
    let layout = Layout::from_size_align(2 * page, page).unwrap();
    let block = Pages.acquire(layout).unwrap().cast::<u8>();
    for (from, len) in [(0, 0), (1, page), (page / 2, page), (0, page - 1), (0, page + 8)] {
        // SAFETY: inside of the block.
        let start = unsafe { block.add(from) };
        // SAFETY: it is a part of the block, which is used only if it was refused.
        assert!(unsafe { Pages.protect(start, len) }.is_err(), "{len} bytes from {from} on");
        // SAFETY: the block is ours, and so long.
        unsafe { block.write_bytes(1, 2 * page) };
    }
    // SAFETY: the block is ours, with its layout.
    unsafe { Pages.release(block, layout) };
}

/// A buffer that could not be aligned so far stays free.
#[test]
fn no_static_buffer_is_aligned_beyond_its_bound() {
    static BUFFER: StaticBuffer<4096> = StaticBuffer::new();
    let mut source = &BUFFER;
    // On 32 bits there is no such layout.
    let beyond = Layout::from_size_align(1, 2 * <&StaticBuffer<4096> as BackingSource>::ALIGN_MAX);
    assert!(beyond.is_err() || source.acquire(beyond.unwrap()).is_err());
    assert!(source.acquire(Layout::new::<[u8; 4097]>()).is_err());
    assert!(!BUFFER.is_claimed());
    let layout = Layout::new::<[u8; 2000]>();
    let block = source.acquire(layout).unwrap();
    // SAFETY: the block is ours, with its layout.
    unsafe { source.release(block.cast(), layout) };
}

/// Pages can be protected through whatever wraps their source, and not where there are none.
#[cfg(all(unix, feature = "os"))]
#[test]
fn wrappers_protect_pages() {
    fn protects<B: BackingSource>(source: &mut B) {
        let page = Pages::page_size();
        let layout = Layout::from_size_align(2 * page, page).unwrap();
        let block = source.acquire(layout).unwrap().cast::<u8>();
        let second = unsafe { block.add(page) };
        unsafe { block.write(7) };
        unsafe { second.write(7) };
        let mut ends = [0; 2];
        assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
        // The OS says of a pointer that it faults, and does not fault.
        let readable = |at: NonNull<u8>| unsafe { libc::write(ends[1], at.as_ptr().cast(), 1) } == 1;
        let can = unsafe { source.protect(second, page) }.is_ok();
        assert_eq!((can, readable(block), readable(second)), (B::PROTECTS, true, !B::PROTECTS));
        if can {
            unsafe { source.unprotect(second, page) }.unwrap();
        }
        assert!(readable(second) && unsafe { second.read() } == 7);
        unsafe { source.prefer_huge(block, 2 * page) };
        for end in ends {
            unsafe { libc::close(end) };
        }
        unsafe { source.release(block, layout) };
    }
    protects(&mut Pages);
    protects(&mut Counted::new(Pages));
    protects(&mut Limited::new(&mut Failing::never(Pages), 1 << 20));
    #[cfg(feature = "alloc")]
    protects(&mut Counted::new(GlobalHeap));
    let (pages, heap) =
        (Counted::<Pages>::PROTECTS, <Counted<FromGlobalAlloc<'_, System>> as BackingSource>::PROTECTS);
    assert!(pages && !heap);
}

#[cfg(feature = "alloc")]
#[test]
fn global_heap() {
    suite(|| GlobalHeap);
}

#[test]
fn any_global_alloc() {
    suite(|| FromGlobalAlloc::new(&System));
    let heap: &'static dyn GlobalAlloc = &System;
    suite(move || FromGlobalAlloc::new(heap));
}

#[cfg(all(feature = "alloc", feature = "allocator-api2-02"))]
#[test]
fn allocator_02() {
    suite(|| heapwright::source::FromAllocator02::new(allocator_api2_02::alloc::Global));
}

#[cfg(all(feature = "alloc", feature = "allocator-api2-03"))]
#[test]
fn allocator_03() {
    suite(|| heapwright::source::FromAllocator03::new(allocator_api2_03::alloc::Global));
}

#[cfg(all(feature = "alloc", feature = "allocator-api2-04"))]
#[test]
fn allocator_04() {
    suite(|| heapwright::source::FromAllocator04::new(allocator_api2_04::alloc::Global));
}

#[cfg(feature = "nightly")]
#[test]
fn core_allocator() {
    suite(|| heapwright::source::FromCoreAllocator::new(std::alloc::Global));
}

/// A heap of this library is an allocator, and so a source, by value too.
#[cfg(all(feature = "alloc", feature = "allocator-api2-04"))]
#[test]
fn own_heap_as_allocator() {
    use heapwright::source::FromAllocator04;
    suite(|| FromAllocator04::new(Locked::<_, SpinLock>::new(SourceHeap::new(GlobalHeap))));
}

/// Memory for a buffer: leaked, as each is small and the runs are few.
#[inline(never)]
fn leaked(len: usize) -> &'static mut [MaybeUninit<u8>] {
    vec![MaybeUninit::uninit(); len].leak()
}

/// The same for what has a type.
#[inline(never)]
fn leaked_value<T>(value: T) -> &'static mut T {
    Box::leak(Box::new(value))
}

#[test]
fn buffer() {
    suite(|| Buffer::from_slice(leaked(100_000)));
    // Starting at an odd address.
    suite(|| Buffer::from_slice(&mut leaked(70_001)[1..]));
}

#[test]
fn static_buffer() {
    suite(|| &*leaked_value(StaticBuffer::<30_000>::new()));
}

#[test]
fn heap_by_reference() {
    suite(|| {
        let heap = Locked::<_, SpinLock>::new(SourceHeap::new(Buffer::from_slice(leaked(100_000))));
        &*leaked_value(heap)
    });
}

#[test]
fn arena_by_reference() {
    suite(|| &*leaked_value(Teaspoon::<Sizing4KiB>::from_slice(leaked(100_000))));
    suite(|| &*leaked_value(Teaspoon::<Sizing16MiB>::from_slice(leaked(200_000))));
    suite(|| &*leaked_value(StaticArena::<100_000, Sizing128KiB>::new()));
}

/// An arena in an arena in an arena, and all of it back in the end.
#[test]
fn arenas_in_arenas() {
    let outer = Teaspoon::<Sizing16MiB>::from_slice(leaked(100_000));
    let empty = outer.usage();
    {
        let middle = SourceTeaspoon::<_, Sizing16MiB>::with_size(Counted::new(&outer), 50_000).unwrap();
        assert_eq!(outer.usage().objects, 1);
        let inner = SourceTeaspoon::<_, Sizing4KiB>::with_size(&middle, 20_000).unwrap();
        assert_eq!(middle.usage().objects, 1);
        let mut source = Counted::new(&inner);
        model(&mut source, &[(0, 0, 700, 3), (1, 0, 900, 4), (4, 1, 300, 0), (3, 0, 9, 0), (2, 0, 4000, 0)]);
        all_back(&source);
        assert_eq!(inner.usage().objects, 0);
    }
    assert_eq!(outer.usage(), empty);
}

#[test]
fn source_by_mutable_reference() {
    suite(|| leaked_value(Buffer::from_slice(leaked(100_000))));
}

/// A source as a heap, and that as a source again: good sizes and lengths fit through both.
#[cfg(feature = "os")]
#[test]
fn heap_over_pages_by_reference() {
    suite(|| &*leaked_value(Locked::<_, SpinLock>::new(SourceHeap::new(Pages))));
}
