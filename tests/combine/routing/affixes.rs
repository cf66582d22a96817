//! Prefixes and suffixes: where they stand, and that they stay.

use std::alloc::Layout;
use std::ptr::NonNull;

use heapwright::combine::{Affix, Attach, Requested};
use heapwright::heap::Heap;

use super::layout;
use super::strict::{Shared, Strict, narrowed};

/// A value that its owner sets, aligned better than most blocks.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(align(32))]
struct Wide(u64);

// SAFETY: nothing here unwinds or uses a heap.
unsafe impl Attach for Wide {
    fn attach(layout: Layout) -> Self {
        Wide(layout.size() as u64)
    }
}

/// No value, but an alignment.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(align(32))]
struct Line;

// SAFETY: nothing here unwinds or uses a heap.
unsafe impl Attach for Line {
    fn attach(_: Layout) -> Self {
        Line
    }
}

/// Both values of a live block, as far as they are there. The tests pass layouts of its own.
fn values<Pre: Attach, Suf: Attach>(
    _: &Affix<Pre, Strict, Suf>,
    at: NonNull<u8>,
    layout: Layout,
) -> (NonNull<Pre>, NonNull<Suf>) {
    // SAFETY: a live block of this type of heap, and its layout.
    let pre = unsafe { Affix::<Pre, Strict, Suf>::pre(at, layout) };
    // SAFETY: as above.
    let suf = unsafe { Affix::<Pre, Strict, Suf>::suf(at, layout) };
    assert!(pre.is_aligned() && suf.is_aligned());
    (pre, suf)
}

/// What they hold.
fn read<Pre: Attach, Suf: Attach>(
    heap: &Affix<Pre, Strict, Suf>,
    at: NonNull<u8>,
    layout: Layout,
) -> (Pre, Suf) {
    let (pre, suf) = values(heap, at, layout);
    // SAFETY: aligned and initialised, and nobody else's meanwhile.
    let pre = unsafe { pre.read() };
    // SAFETY: as above.
    (pre, unsafe { suf.read() })
}

/// Makes, resizes and frees blocks of all kinds, and looks at both values after each step.
fn keeps<Pre, Suf>(pre: Pre, suf: Suf)
where
    Pre: Attach + PartialEq + std::fmt::Debug,
    Suf: Attach + PartialEq + std::fmt::Debug,
{
    let log = Shared::default();
    let mut heap = Affix::<Pre, Strict, Suf>::new(log.heap().granule(24));
    let aligns = [1, 2, 8, 16, 64, 256];
    for (size, align) in
        [1, 7, 8, 9, 31, 33, 100].into_iter().flat_map(|size| aligns.map(|align| (size, align)))
    {
        let first = layout(size, align);
        let block = heap.alloc(first).expect("there is room");
        let at = block.cast::<u8>();
        assert_eq!(at.addr().get() % align, 0);
        let places = values(&heap, at, first);
        assert!(places.1.addr().get() >= at.addr().get() + block.len() || size_of::<Suf>() == 0);
        assert_eq!(read(&heap, at, first), (Pre::attach(first), Suf::attach(first)));
        // SAFETY: aligned, and ours.
        unsafe { places.0.write(pre) };
        // SAFETY: as above.
        unsafe { places.1.write(suf) };
        // SAFETY: the block is so long. What the owner writes is not theirs.
        unsafe { at.write_bytes(0xAB, block.len()) };
        resized(&mut heap, block, first, (pre, suf));
    }
    drop(heap);
    assert_eq!(log.see(|log| log.live), 0);
}

fn resized<Pre, Suf>(
    heap: &mut Affix<Pre, Strict, Suf>,
    block: NonNull<[u8]>,
    first: Layout,
    values: (Pre, Suf),
) where
    Pre: Attach + PartialEq + std::fmt::Debug,
    Suf: Attach + PartialEq + std::fmt::Debug,
{
    let (mut at, mut len, mut old) = (block.cast::<u8>(), block.len(), first);
    for (size, align) in [(2, 1), (300, 1), (40, 64), (41, 64), (4000, 8), (5, 128), (64, 2)] {
        let new = layout(size, align);
        // Any size up to the length is the block's own.
        let back = layout(len, old.align());
        // SAFETY: a live block of this heap, and a layout of its own.
        let moved = unsafe { heap.resize(narrowed(at, back.size()), back, new) }.expect("there is room");
        (at, len, old) = (moved.cast(), moved.len(), new);
        assert_eq!(read(heap, at, new), values, "{back:?} to {new:?}");
        // With any of its sizes the suffix is at the same place.
        assert!(size_of::<Suf>() == 0 || read(heap, at, layout(len, align)) == values);
        // SAFETY: the first byte has been kept.
        assert_eq!(unsafe { at.read() }, 0xAB);
        // SAFETY: the block is so long.
        unsafe { at.write_bytes(0xAB, len) };
    }
    // SAFETY: a live block of this heap, and a layout of its own.
    unsafe { heap.dealloc(narrowed(at, old.size()), old) };
}

#[test]
fn values_stay_with_their_blocks() {
    keeps((), ());
    keeps(7u8, ());
    keeps((), 9u8);
    keeps(0x1234_5678_9ABC_DEF0u64, 0xFEDCu16);
    keeps([1u8, 2, 3], u128::MAX - 5);
    keeps(Wide(77), 5u32);
    keeps(-3i16, Wide(78));
    keeps(Wide(1), Wide(2));
    keeps((), [0u64; 0]);
    keeps((), Line);
    keeps(Line, Line);
    keeps(7u8, Line);
}

/// A block costs the same with each of its sizes, where the suffix is an alignment alone.
#[test]
fn good_sizes_are_whole_alignments_of_the_suffix() {
    let log = Shared::default();
    let heap = Affix::<(), Strict, Line>::new(log.heap().granule(24));
    for size in 1..200 {
        let good = heap.good_size(layout(size, 1));
        assert!(good >= size && good % 32 == 0);
        assert!((size..=good).all(|size| heap.good_size(layout(size, 1)) == good));
    }
}

#[test]
fn the_size_that_was_asked_for_is_kept_up_to_date() {
    type Sized = Affix<Requested, Strict, Requested>;
    let log = Shared::default();
    let mut heap = Sized::new(log.heap());
    let (old, new) = (layout(10, 4), layout(12, 4));
    let at = heap.alloc(old).expect("there is room").cast();
    assert_eq!(read(&heap, at, old), (Requested(10), Requested(10)));
    // SAFETY: a live block and its layout, here and below.
    let at = unsafe { heap.resize_in_place(at, old, new) }.expect("within the gap before the suffix").cast();
    assert_eq!(read(&heap, at, new), (Requested(12), Requested(12)));
    assert_eq!(log.see(|log| log.in_place), 0, "it needs nobody");
    // SAFETY: as above.
    unsafe { heap.dealloc(at, new) };
}

#[test]
fn a_refused_resize_leaves_the_values() {
    type Both = Affix<u32, Strict, u32>;
    let log = Shared::default();
    let mut heap = Both::new(log.heap());
    let old = layout(12, 4);
    let at = heap.alloc(old).expect("there is room").cast::<u8>();
    // SAFETY: aligned, and ours.
    unsafe { values(&heap, at, old).1.write(99) };
    log.refuse(0, u64::MAX);
    for new in [layout(1000, 4), layout(8, 4), layout(12, 64)] {
        // SAFETY: a live block and its layout.
        assert!(unsafe { heap.resize(at, old, new) }.is_err());
        assert_eq!(read(&heap, at, old), (0, 99));
    }
    // SAFETY: as above.
    unsafe { heap.dealloc(at, old) };
}

#[test]
fn zeroed_blocks_are_zero_up_to_their_affixes() {
    type Ones = Affix<Requested, Strict, Requested>;
    let log = Shared::default();
    let mut heap = Ones::new(log.heap());
    let layout = layout(50, 1);
    let block = heap.alloc_zeroed(layout).expect("there is room");
    assert_eq!(log.see(|log| (log.alloc, log.zeroed)), (0, 1), "the parent's zeroes are used");
    // SAFETY: the block is so long.
    let bytes = unsafe { std::slice::from_raw_parts(block.cast::<u8>().as_ptr(), block.len()) };
    assert!(bytes.iter().all(|&byte| byte == 0));
    assert_eq!(read(&heap, block.cast(), layout), (Requested(50), Requested(50)));
    // SAFETY: a live block and its layout.
    unsafe { heap.dealloc(block.cast(), layout) };
}

#[test]
fn what_no_layout_can_hold_is_refused() {
    let log = Shared::default();
    let mut heap = Affix::<u64, Strict, u64>::new(log.heap());
    assert!(heap.alloc(layout(isize::MAX as usize, 1)).is_err());
    assert!(heap.alloc(layout(isize::MAX as usize - 7, 8)).is_err());
    assert!(heap.alloc(layout(0, 8)).is_err());
    assert_eq!(log.see(|log| log.alloc), 0);
}
