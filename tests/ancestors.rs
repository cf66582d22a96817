//! What the `teaspoon` crate 0.1.0 promises and tests, as black-box tests of our arenas, with our numbers; and what it
//! gets wrong, shown side by side.
#![cfg(feature = "allocator-api2-04")]
#![expect(clippy::expect_used, reason = "a test that can not go on says why and stops")]

use std::alloc::{GlobalAlloc, Layout};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use allocator_api2_04::alloc::Allocator;
use allocator_api2_04::boxed::Box;
use allocator_api2_04::vec::Vec;
use heapwright::arena::Teaspoon;
use heapwright::check::{Checks, Switch};
use heapwright::heap::Usage;
use heapwright::lock::{NoLock, SpinLock};
use heapwright::sizing::{Bounded, Checked, Link, Sizing, Sizing4KiB, Sizing16MiB, Sizing128KiB};

/// Memory that starts at a multiple of 16.
#[repr(align(16))]
struct Memory<T, const N: usize>([T; N]);

/// A user's own sizing.
#[derive(Debug)]
struct Own16;

impl Sizing for Own16 {
    type Checks = heapwright::check::Unchecked;
    const GRANULE: usize = 16;
    const LINK: Link = Link::Bits31;
    const OBJECT_SIZE_MAX: usize = 100_000;
    const REGION_SIZE_MAX: usize = 1 << 20;
}

/// Bytes of one granule in a region of `len` bytes.
fn granule<S: Sizing>(len: usize) -> usize {
    if len <= S::REGION_SMALL_MAX { S::GRANULE_SMALL } else { S::GRANULE }
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a valid layout")
}

fn take(heap: &dyn Allocator, size: usize) -> NonNull<[u8]> {
    heap.allocate(layout(size, 1)).expect("there is room")
}

fn give(heap: &dyn Allocator, block: NonNull<[u8]>, size: usize) {
    // SAFETY: the tests give back each block once, with the size that they took it with.
    unsafe { heap.deallocate(block.cast(), layout(size, 1)) }
}

fn write(block: NonNull<[u8]>, bytes: &[u8]) {
    assert!(bytes.len() <= block.len());
    // SAFETY: the block is live and long enough.
    unsafe { block.cast::<u8>().as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
}

fn read<'a>(block: NonNull<[u8]>, len: usize) -> &'a [u8] {
    assert!(len <= block.len());
    // SAFETY: the block is live, and its first `len` bytes have been written.
    unsafe { std::slice::from_raw_parts(block.cast().as_ptr(), len) }
}

/// Takes all that is free, in ever smaller objects; gives the bytes taken.
fn take_all(heap: &dyn Allocator, size_max: usize) -> usize {
    let (mut size, mut taken) = (size_max, 0);
    while size > 0 {
        while let Ok(block) = heap.allocate(layout(size, 1)) {
            taken += block.len();
        }
        size /= 2;
    }
    taken
}

/// The last sixteen letters and the first forty of the alphabet's kind, to see bytes move.
const TEXT: &[u8; 40] = b"abcdefghijklmnopqrstuvwxyz0123456789!#@:";

fn boxes<S: Sizing>() {
    let mut memory = [MaybeUninit::uninit(); 512];
    let spoon = Teaspoon::<S, NoLock>::from(&mut memory);
    let boxes: std::vec::Vec<_> = (0..9u32).map(|number| Box::new_in(number, &spoon)).collect();
    assert_eq!(spoon.usage().objects, 9);
    for (number, boxed) in (0..).zip(&boxes) {
        assert_eq!(**boxed, number);
    }
    drop(boxes);
    assert_eq!(spoon.usage().used, 0);
}

fn vec_by_reference<S: Sizing>() {
    let mut memory = [MaybeUninit::uninit(); 512];
    let spoon = Teaspoon::<S, NoLock>::from(&mut memory);
    let mut numbers = Vec::new_in(&spoon);
    numbers.extend(1..=32u32);
    assert!(numbers.iter().copied().eq(1..=32));
    assert_eq!(spoon.usage().objects, 1);
    drop(numbers);
    assert_eq!(spoon.usage().used, 0);
}

/// The vector owns its arena, and moves with it while its buffer is live.
fn vec_by_value<S: Sizing>() {
    let mut memory = [MaybeUninit::uninit(); 512];
    let spoon = Teaspoon::<S, SpinLock>::from(&mut memory);
    let mut numbers = Vec::new_in(spoon);
    numbers.extend(1..=16u32);
    let mut moved = std::boxed::Box::new(numbers);
    moved.extend(17..=32);
    let numbers = *moved;
    assert!(numbers.iter().copied().eq(1..=32));
    assert_eq!(numbers.allocator().usage().objects, 1);
}

fn box_by_value<S: Sizing>() {
    let mut memory = [MaybeUninit::uninit(); 512];
    let boxed = Box::new_in([7u64; 9], Teaspoon::<S, SpinLock>::from(&mut memory));
    let moved = [boxed];
    assert_eq!(*moved[0], [7; 9]);
}

/// Objects of size zero take nothing, have an aligned address, and may be freed any time.
fn zst<S: Sizing>() {
    let mut memory = [MaybeUninit::uninit(); 512];
    let spoon = Teaspoon::<S, NoLock>::from(&mut memory);
    let fresh = spoon.usage();
    for shift in 0..32 {
        let empty = layout(0, 1 << shift);
        let block = spoon.allocate(empty).expect("size zero never fails");
        assert_eq!((block.len(), block.cast::<u8>().addr().get() % (1 << shift)), (0, 0));
        assert_eq!(spoon.usage(), fresh);
        // SAFETY: the block came from here with this layout.
        unsafe { spoon.deallocate(block.cast(), empty) };
    }
    let mut units = Vec::new_in(&spoon);
    units.extend([(); 1000]);
    let unit = Box::new_in((), &spoon);
    assert_eq!((units.len(), *unit), (1000, ()));
    assert_eq!(spoon.usage(), fresh);
}

/// From size zero to some size and back, as `realloc` does it.
fn zero_size_resizes<S: Sizing>() {
    let mut memory = [MaybeUninit::uninit(); 512];
    let spoon = Teaspoon::<S, NoLock>::from(&mut memory);
    let fresh = spoon.usage();
    // SAFETY: heapwright defines size zero for `GlobalAlloc` too; each pointer is used with its own layout.
    let empty = unsafe { spoon.alloc(layout(0, 8)) };
    assert_eq!(empty.addr() % 8, 0);
    // SAFETY: as above.
    let grown = unsafe { spoon.realloc(empty, layout(0, 8), 40) };
    assert!(!grown.is_null());
    assert_eq!(spoon.usage().objects, 1);
    // SAFETY: as above.
    let shrunk = unsafe { spoon.realloc(grown, layout(40, 8), 0) };
    assert!(!shrunk.is_null() && shrunk.addr() % 8 == 0);
    assert_eq!(spoon.usage(), fresh);
}

/// An object may be as large as the sizing says, and not a byte larger, whatever room there is.
fn max_alloc<S: Sizing>() {
    let mut memory = vec![MaybeUninit::uninit(); S::REGION_SIZE_MAX];
    let spoon = Teaspoon::<S, NoLock>::from(memory.as_mut_slice());
    assert!(spoon.usage().free > S::OBJECT_SIZE_MAX + 4096);
    assert!(spoon.allocate(layout(S::OBJECT_SIZE_MAX + 1, 1)).is_err());
    let block = take(&spoon, S::OBJECT_SIZE_MAX);
    // SAFETY: the block is live; its layout is the one it was taken with, and the new size is the larger one.
    let grown =
        unsafe { spoon.grow(block.cast(), layout(S::OBJECT_SIZE_MAX, 1), layout(S::OBJECT_SIZE_MAX + 1, 1)) };
    assert!(grown.is_err());
    assert_eq!(spoon.usage().objects, 1);
}

/// One-byte objects take one granule each, and all free bytes go to them.
fn fill_with_smallest<S: Sizing>() {
    let mut memory = Memory([MaybeUninit::uninit(); 1024]);
    let spoon = Teaspoon::<S, NoLock>::from(&mut memory.0);
    let fresh = spoon.usage();
    let granule = granule::<S>(1024);
    let count = std::iter::from_fn(|| spoon.allocate(Layout::new::<u8>()).ok()).count();
    assert_eq!(count, fresh.free / granule);
    assert_eq!((spoon.usage().used, spoon.usage().free), (fresh.free, 0));
    // Where the ancestor had 127, 127 and 63 of them: granules of 4, 2 and 8 bytes behind headers of 4, 6 and 8.
    let ancestor = if granule == 4 { 127 } else { 63 };
    assert!(granule > 8 || count * 10 > ancestor * 18, "{count} where teaspoon has {ancestor}");
}

/// The documented share of the tables: a bit per granule (two when checked), and at most 1/128 of bins, or a few.
fn tables<S: Sizing>() {
    for len in [64, 256, 1024, 4096, 12 << 10] {
        let mut memory = vec![MaybeUninit::uninit(); len];
        let usage = Teaspoon::<S, NoLock>::from(memory.as_mut_slice()).usage();
        let granule = granule::<S>(len);
        let bits = (len / granule).div_ceil(32) * 4 * if <S::Checks as Checks>::Frees::ON { 2 } else { 1 };
        let coarsest = (len.ilog2() as usize + 1) * S::LINK.bytes() / 2;
        let bound = bits + coarsest.max(len / 128) + granule;
        assert!(usage.tables() <= bound, "{len}: {usage:?}, {bound}");
        assert!(usage.total <= len && usage.total + 2 * granule > len, "{len}: {usage:?}");
    }
}

fn shrink_in_place<S: Sizing>() {
    let mut memory = [MaybeUninit::uninit(); 256];
    let spoon = Teaspoon::<S, NoLock>::from(&mut memory);
    let (long, short) = (Layout::new::<[u32; 10]>(), Layout::new::<[u32; 4]>());
    let block = spoon.allocate(long).expect("there is room");
    write(block, TEXT);
    let free = spoon.usage().free;
    // SAFETY: the block is live, the layout its own, the new size smaller.
    let shrunk = unsafe { spoon.shrink(block.cast(), long, short) }.expect("a shrink needs no room");
    assert_eq!(shrunk.cast::<u8>(), block.cast());
    assert_eq!(read(shrunk, 16), &TEXT[..16]);
    assert_eq!((shrunk.len(), spoon.usage().free), (16, free + block.len() - 16), "the rest is free at once");
}

fn grow_in_place<S: Sizing>() {
    let mut memory = [MaybeUninit::uninit(); 256];
    let spoon = Teaspoon::<S, NoLock>::from(&mut memory);
    let (short, long) = (Layout::new::<[u32; 4]>(), Layout::new::<[u32; 10]>());
    let block = spoon.allocate(short).expect("there is room");
    write(block, &TEXT[..16]);
    // SAFETY: the block is live, the layout its own, the new size larger.
    let grown = unsafe { spoon.grow(block.cast(), short, long) }.expect("there is room");
    assert_eq!(grown.cast::<u8>(), block.cast());
    assert_eq!(read(grown, 16), &TEXT[..16]);
    assert_eq!(spoon.usage().objects, 1);
}

/// The ancestor always moved here.
fn grow_zeroed_in_place<S: Sizing>() {
    let mut memory = [MaybeUninit::new(0xFF); 256];
    let spoon = Teaspoon::<S, NoLock>::from(&mut memory);
    let (short, long) = (Layout::new::<[u32; 4]>(), Layout::new::<[u32; 10]>());
    let block = spoon.allocate(short).expect("there is room");
    write(block, &TEXT[..16]);
    // SAFETY: the block is live, the layout its own, the new size larger.
    let grown = unsafe { spoon.grow_zeroed(block.cast(), short, long) }.expect("there is room");
    assert_eq!(grown.cast::<u8>(), block.cast());
    assert_eq!(read(grown, 16), &TEXT[..16]);
    assert!(read(grown, grown.len())[16..].iter().all(|&byte| byte == 0));
}

fn grow_reallocated<S: Sizing>() {
    let mut memory = Memory([MaybeUninit::uninit(); 160]);
    let spoon = Teaspoon::<S, NoLock>::from(&mut memory.0);
    let (short, long) = (Layout::new::<[u32; 4]>(), Layout::new::<[u32; 10]>());
    let block = spoon.allocate(short).expect("there is room");
    write(block, &TEXT[..16]);
    let behind = take(&spoon, 1);
    assert_eq!(behind.cast::<u8>().addr().get(), block.cast::<u8>().addr().get() + block.len());
    write(behind, b"|");
    // SAFETY: the block is live, the layout its own, the new size larger.
    let grown = unsafe { spoon.grow(block.cast(), short, long) }.expect("there is room");
    assert_ne!(grown.cast::<u8>(), block.cast());
    assert_eq!((read(grown, 16), read(behind, 1)), (&TEXT[..16], &b"|"[..]));
    assert_eq!(spoon.usage().objects, 2);
}

/// The shortest region that serves a one-byte object. The ancestor's was 12, 12 and 24 bytes.
fn min_arena_size<S: Sizing>() {
    let mut memory = Memory([MaybeUninit::uninit(); 256]);
    let mut serves = |len: usize| {
        let spoon = Teaspoon::<S, NoLock>::from(&mut memory.0[..len]);
        let served = spoon.allocate(Layout::new::<u8>()).is_ok();
        assert_eq!(served, spoon.usage().used > 0, "{len}");
        served
    };
    let shortest = (0..256).find(|&len| serves(len)).expect("some region serves one byte");
    assert!((shortest..256).all(&mut serves), "what {shortest} bytes do, more do too");
    let granule = granule::<S>(0);
    // A word of bits, twice if checked, a list head, the granule: rounded up to granules.
    let words = if <S::Checks as Checks>::Frees::ON { 8 } else { 4 };
    let bound = (words + S::LINK.bytes() / 2).next_multiple_of(granule) + granule;
    assert!(shortest <= bound, "{shortest} bytes, {bound} expected");
}

/// The ancestor's usage script: 1,024 bytes, sizes 0, 1 and 16, and back.
fn usage<S: Sizing>() {
    let mut memory = Memory([MaybeUninit::uninit(); 1024]);
    let spoon = Teaspoon::<S, NoLock>::from(&mut memory.0);
    let granule = granule::<S>(1024);
    let fresh = spoon.usage();
    let expect = |used: usize, objects| {
        let free = fresh.free - used;
        assert_eq!(spoon.usage(), Usage { total: fresh.total, used, free, objects });
    };
    assert!(fresh.total <= 1024 && fresh.total > 1024 - granule);
    let empty = take(&spoon, 0);
    expect(0, 0);
    let byte = take(&spoon, 1);
    expect(granule, 1);
    let block = spoon.allocate(Layout::new::<u128>()).expect("there is room");
    expect(granule + 16, 2);
    give(&spoon, byte, 1);
    expect(16, 1);
    // SAFETY: the block is live and its layout its own.
    unsafe { spoon.deallocate(block.cast(), Layout::new::<u128>()) };
    give(&spoon, empty, 0);
    expect(0, 0);
    assert_eq!(take_all(&spoon, S::OBJECT_SIZE_MAX.min(1024)), fresh.free, "all that is free can be had");
}

/// A region longer than the sizing reaches: the rest is neither touched nor counted. The ancestor reports bytes as free
/// that it can never hand out.
fn longer_than_the_maximum<S: Sizing>() {
    let len = S::REGION_SIZE_MAX + 70_000;
    let mut memory = vec![0xB7u8; len];
    // SAFETY: the vector outlives the arena, and only bytes that no arena of this sizing reaches are read again.
    let spoon = unsafe { Teaspoon::<S, NoLock>::from_ptr_size(memory.as_mut_ptr(), len) };
    let fresh = spoon.usage();
    assert!(fresh.total <= S::REGION_SIZE_MAX, "{fresh:?}");
    assert!(fresh.total + 2 * S::GRANULE > S::REGION_SIZE_MAX, "{fresh:?}");
    assert_eq!(take_all(&spoon, S::OBJECT_SIZE_MAX), fresh.free, "all that is free can be had");
    assert_eq!(spoon.usage().free, 0);
    assert_eq!(spoon.verify(), Ok(()));
    let rest = &memory[S::REGION_SIZE_MAX + S::GRANULE..];
    assert!(rest.iter().all(|&byte| byte == 0xB7), "bytes past the maximum are touched");
}

/// A start that is not aligned costs less than a granule at each end.
fn misaligned_starts<S: Sizing>() {
    for start in 0..=16 {
        let mut memory = Memory([MaybeUninit::uninit(); 96]);
        let spoon = Teaspoon::<S, NoLock>::from(&mut memory.0[start..start + 64]);
        let fresh = spoon.usage();
        let granule = granule::<S>(64);
        assert!(fresh.total + 2 * granule > 64 && fresh.total <= 64, "{start}: {fresh:?}");
        assert_eq!(take_all(&spoon, 64), fresh.free, "{start}");
    }
}

/// Alignments far above the granule: served where an aligned address is free, refused where there is none.
fn over_aligned<S: Sizing>() {
    let mut memory = vec![MaybeUninit::uninit(); 16 << 10];
    let spoon = Teaspoon::<S, NoLock>::from(memory.as_mut_slice());
    let reach = spoon.usage().total;
    let mut pages = 0;
    while let Ok(block) = spoon.allocate(layout(8, 4096)) {
        assert_eq!(block.cast::<u8>().addr().get() % 4096, 0);
        pages += 1;
    }
    assert!(pages + 1 >= reach / 4096, "{pages} of {reach} bytes");
    // The gaps between them serve small objects.
    let free = spoon.usage().free;
    assert_eq!(take_all(&spoon, S::OBJECT_SIZE_MAX.min(4096)), free);
    for shift in [usize::BITS - 2, usize::BITS / 2 + 8, usize::BITS - 3] {
        assert!(spoon.allocate(layout(1, 1 << shift)).is_err());
    }
    assert!(spoon.allocate(layout(isize::MAX as usize, 1)).is_err());
}

/// A live block that nothing must touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    addr: usize,
    len: usize,
}

impl Span {
    fn overlaps(self, other: Span) -> bool {
        self.addr < other.addr + other.len && other.addr < self.addr + self.len
    }
}

/// What the scenario of trap T8 shows: where the resized block went, and what the next request of its size got.
struct Outcome {
    resized: Span,
    next: Option<Span>,
    bytes_kept: bool,
}

/// Takes 200 bytes, 64, and all that is left behind them; frees the first; grows the second to 160, which fits only
/// into the gap right before it; then asks for 160 more.
fn resize_into_the_gap_before(heap: &dyn GlobalAlloc, kept: impl Fn(*mut u8) -> bool) -> Outcome {
    // SAFETY: sizes are above zero; each pointer is used with its own layout, and not at all after it is freed.
    let [first, second] = [200, 64].map(|size| unsafe { heap.alloc(layout(size, 8)) });
    assert!(!first.is_null() && !second.is_null());
    // SAFETY: the block is live and 64 bytes long.
    unsafe { second.write_bytes(b'b', 64) };
    for size in (1..1024).rev() {
        // SAFETY: the size is above zero.
        unsafe { heap.alloc(layout(size, 1)) };
    }
    // SAFETY: the block is live and this is its layout.
    unsafe { heap.dealloc(first, layout(200, 8)) };
    // SAFETY: as above.
    let resized = unsafe { heap.realloc(second, layout(64, 8), 160) };
    assert!(!resized.is_null(), "the gap has room");
    let bytes_kept = kept(resized);
    // SAFETY: the size is above zero.
    let next = unsafe { heap.alloc(layout(160, 8)) };
    let next = (!next.is_null()).then(|| Span { addr: next.addr(), len: 160 });
    Outcome { resized: Span { addr: resized.addr(), len: 160 }, next, bytes_kept }
}

/// Trap T8 here: the block is kept, counted, and not handed out again.
fn resize_moves_into_the_gap_before<S: Sizing>() {
    let mut memory = Memory([MaybeUninit::uninit(); 1024]);
    let spoon = Teaspoon::<S, NoLock>::from(&mut memory.0);
    let outcome = resize_into_the_gap_before(&spoon, |resized| {
        // SAFETY: the block is live and begins with the 64 bytes it had.
        let bytes = unsafe { std::slice::from_raw_parts(resized, 64) };
        bytes == [b'b'; 64]
    });
    assert!(outcome.bytes_kept);
    assert_eq!(outcome.next.filter(|next| next.overlaps(outcome.resized)), None);
    let usage = spoon.usage();
    let others = usage.used - 160 - outcome.next.map_or(0, |next| next.len);
    assert!(usage.objects >= 2 && others > 500, "{usage:?}");
    assert_eq!(spoon.verify(), Ok(()));
}

/// Trap T8 in `teaspoon` 0.1.0: the resized block is not counted, and the next request of its size gets it again, while it
/// is live. Only addresses and numbers are looked at, so that nothing here reads memory that has two owners.
#[cfg(target_pointer_width = "64")]
fn ancestor_hands_live_memory_out_twice<S: teaspoon::Sizing>() {
    let mut memory = Memory([0u8; 1024]);
    let spoon = teaspoon::Teaspoon::<'_, S>::from(&mut memory.0);
    let outcome = resize_into_the_gap_before(&spoon, |_| true);
    let next = outcome.next.expect("the ancestor thinks that the gap is free");
    assert!(next.overlaps(outcome.resized), "{next:?} does not overlap {:?}", outcome.resized);
}

#[cfg(target_pointer_width = "64")]
#[test]
fn ancestor_fails_t8_in_every_sizing() {
    ancestor_hands_live_memory_out_twice::<teaspoon::Sizing4KiB>();
    ancestor_hands_live_memory_out_twice::<teaspoon::Sizing128KiB>();
    ancestor_hands_live_memory_out_twice::<teaspoon::Sizing16MiB>();
}

/// The same by safe code alone: a vector grows into the gap before it, and the next one gets other memory.
fn safe_vec_in_the_gap_before<S: Sizing>() {
    let mut memory = Memory([MaybeUninit::uninit(); 1024]);
    let spoon = Teaspoon::<S, NoLock>::from(&mut memory.0);
    let mut first = Vec::<u8, _>::with_capacity_in(208, &spoon);
    first.resize(208, b'a');
    let mut second = Vec::<u8, _>::with_capacity_in(64, &spoon);
    second.resize(64, b'b');
    let rest = take(&spoon, spoon.usage().free);
    drop(first);
    second.reserve_exact(96);
    let third = Vec::<u8, _>::with_capacity_in(32, &spoon);
    let mut third = third;
    third.resize(32, b'd');
    assert!(second.iter().all(|&byte| byte == b'b'));
    assert_eq!(spoon.usage().objects, 3);
    drop((second, third));
    assert_eq!((spoon.usage().used, spoon.usage().objects), (rest.len(), 1));
}

/// At the same region, never fewer equal objects than the ancestor fits (its measured figures at 4,096 bytes).
fn density<S: Sizing>() {
    let mut memory = Memory([MaybeUninit::uninit(); 4096]);
    let ancestor = [(4, 4, 511), (8, 8, 256), (16, 16, 128), (64, 64, 32), (24, 8, 128)];
    for (size, align, most) in ancestor {
        if size % granule::<S>(4096) != 0 {
            continue;
        }
        let spoon = Teaspoon::<S, NoLock>::from(&mut memory.0);
        let fresh = spoon.usage();
        let count = std::iter::from_fn(|| spoon.allocate(layout(size, align)).ok()).count();
        assert!(count > most, "{count} objects of {size} bytes, teaspoon has {most}");
        // No bytes per object but the rounding to the granule; an alignment costs one gap in all.
        let each = size.next_multiple_of(granule::<S>(4096));
        assert!(count >= (fresh.free - align) / each, "{count} objects of {size} bytes in {fresh:?}");
    }
}

macro_rules! tests {
    ($($sizing:ident: $type:ty, [$($test:ident),*];)*) => {
        $(mod $sizing {
            use super::*;

            $(#[test]
            fn $test() {
                super::$test::<$type>();
            })*
        })*
    };
    ($($sizing:ident: $type:ty;)*) => {
        tests! {
            $($sizing: $type, [
                boxes, vec_by_reference, vec_by_value, box_by_value, zst, zero_size_resizes, max_alloc,
                fill_with_smallest, tables, shrink_in_place, grow_in_place, grow_zeroed_in_place, grow_reallocated,
                min_arena_size, usage, longer_than_the_maximum, misaligned_starts, over_aligned,
                resize_moves_into_the_gap_before, safe_vec_in_the_gap_before, density
            ];)*
        }
    };
}

tests! {
    four_kib: Sizing4KiB;
    four_kib_bounded: Bounded<Sizing4KiB>;
    four_kib_checked: Checked<Sizing4KiB>;
    of_128_kib: Sizing128KiB;
    of_128_kib_bounded: Bounded<Sizing128KiB>;
    of_128_kib_checked: Checked<Sizing128KiB>;
    of_16_mib: Sizing16MiB;
    of_16_mib_bounded: Bounded<Sizing16MiB>;
    of_16_mib_checked: Checked<Sizing16MiB>;
    own: Own16;
    own_bounded_and_checked: Bounded<Checked<Own16>>;
}
