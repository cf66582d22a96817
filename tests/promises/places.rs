//! Memory of every length at every place: whoever is given it stays inside, and says so when there is too little.

use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::arena::{Arena, SourceArena};
use heapwright::cache::{Exactly, KeepAll, ReleaseAtOnce, SlabCache, SlabCore, SlabHeap};
use heapwright::combine::{Growing, Region};
use heapwright::heap::{Heap, NoHeap, SharedHeap};
use heapwright::sizing::{Bounded, Checked, Sizing, Sizing4KiB, Sizing16MiB, Sizing128KiB};
use heapwright::slab::{AlignedSlabs, IndexStack, IntrusiveList, LargeSlabs};
use heapwright::source::{BackingSource, Buffer, SourceHeap};

use crate::is_long;
use crate::scenario::layout;

/// The longest region, in bytes.
const LEN_MAX: usize = 512;
/// The farthest start of one from a multiple of 64.
const START_MAX: usize = 64;
/// Bytes on both sides that nobody may touch.
const SENTINEL: usize = 64;
const UNTOUCHED: u8 = 0xA5;

#[repr(align(64))]
struct Room([u8; 2 * SENTINEL + START_MAX + LEN_MAX]);

/// Makes a heap in memory of every length at every start, asks it for blocks of this layout and that size until there are no more, and gives
/// them back; says how many blocks there were in all.
fn everywhere<'m, H: Heap>(size: usize, make: impl Fn(&'m mut [MaybeUninit<u8>]) -> Option<H>) -> usize {
    let mut room = Box::new(Room([UNTOUCHED; _]));
    let base = NonNull::from(&mut room.0).cast::<u8>();
    let mut count = 0;
    for start in 0..=START_MAX {
        for len in 0..=LEN_MAX {
            // One alignment for each place; all of them in long runs.
            let turn = start + len;
            let aligns = if is_long() { 0..7 } else { turn % 7..turn % 7 + 1 };
            for align in aligns.map(|doublings| 1 << doublings) {
                let first = SENTINEL + start;
                // SAFETY: the start lies in the room.
                let region = unsafe { base.add(first) };
                // SAFETY: the length stays in the room; the heap is gone before the room is looked at, and before the next one is made.
                let memory = unsafe { std::slice::from_raw_parts_mut(region.as_ptr().cast(), len) };
                if let Some(heap) = make(memory) {
                    count += fill(heap, region.addr().get()..region.addr().get() + len, layout(size, align));
                }
                for side in [0..first, first + len..room_len()] {
                    // SAFETY: it lies in the room, and nobody should have it.
                    let bytes =
                        unsafe { std::slice::from_raw_parts(base.as_ptr().add(side.start), side.len()) };
                    let touched = bytes.iter().position(|&byte| byte != UNTOUCHED);
                    assert_eq!(touched, None, "{len} bytes at {start}: a byte from {} on", side.start);
                }
                // SAFETY: the region is in the room, and nobody else's now.
                unsafe { region.write_bytes(UNTOUCHED, len) };
            }
        }
    }
    count
}

const fn room_len() -> usize {
    size_of::<Room>() / 64 * 64 - (size_of::<Room>() - (2 * SENTINEL + START_MAX + LEN_MAX))
}

/// Blocks until there are no more, each inside the region and written to its last byte; then all go, and one more is asked for.
fn fill(mut heap: impl Heap, region: std::ops::Range<usize>, layout: Layout) -> usize {
    let mut blocks = Vec::new();
    while let Ok(made) = heap.alloc(layout) {
        let at = made.cast::<u8>().addr().get();
        assert!(at % layout.align() == 0 && made.len() >= layout.size());
        assert!(
            region.start <= at && at + made.len() <= region.end,
            "{at:#x} of {} bytes in {region:x?}",
            made.len()
        );
        // SAFETY: the block is live and so long.
        unsafe { made.cast::<u8>().write_bytes(0x3C, made.len()) };
        blocks.push(made.cast::<u8>());
    }
    let count = blocks.len();
    for block in blocks {
        // SAFETY: the block is live, of this layout.
        unsafe { heap.dealloc(block, layout) };
    }
    heap.release_unused();
    assert_eq!(heap.alloc(layout).is_ok(), count > 0, "what was there is there again");
    count
}

/// Writes a test for each row: `name: the size of blocks, a heap in memory`.
macro_rules! rows {
    ($($name:ident: $size:expr, |$memory:ident| $heap:expr;)*) => {$(
        #[test]
        fn $name() {
            let count = everywhere($size, |$memory| $heap);
            let too_short = stringify!($name).ends_with("too_short");
            assert_eq!(count > 1000, !too_short, "{count} blocks in all");
        }
    )*};
}

fn arena<S: Sizing>(memory: &mut [MaybeUninit<u8>]) -> Option<Arena<'_, S>> {
    Some(Arena::from_slice(memory))
}

rows! {
    arena_4kib: 5, |memory| arena::<Sizing4KiB>(memory);
    arena_128kib: 9, |memory| arena::<Sizing128KiB>(memory);
    arena_16mib: 24, |memory| arena::<Sizing16MiB>(memory);
    arena_bounded: 17, |memory| arena::<Bounded<Sizing128KiB>>(memory);
    arena_checked: 3, |memory| arena::<Checked<Sizing4KiB>>(memory);
    arena_over_a_buffer: 8, |memory| {
        let len = memory.len();
        SourceArena::<_, Sizing4KiB>::with_size(Buffer::from_slice(memory), len).ok()
    };
    arena_over_a_buffer_that_is_too_short: 8, |memory| {
        let len = memory.len();
        let made = SourceArena::<_, Sizing16MiB>::with_size(Buffer::from_slice(memory), len + 1);
        assert!(made.is_err(), "{len} bytes are not one more");
        made.ok()
    };
    slabs: 24, |memory| Some(SlabCore::<AlignedSlabs<_, 256>, Exactly<24, 64>, KeepAll, 0>::new(Buffer::from_slice(memory)));
    slabs_large: 24, |memory| Some(SlabCore::<LargeSlabs<_, 200>, Exactly<24, 64>, ReleaseAtOnce, 2>::new(Buffer::from_slice(memory)));
    slabs_with_lists: 16, |memory| Some(SlabCore::<AlignedSlabs<_, 256, IntrusiveList>, Exactly<16, 64>, KeepAll, 3>::new(Buffer::from_slice(memory)));
    slabs_with_indices: 7, |memory| Some(SlabCore::<AlignedSlabs<_, 256, IndexStack>, Exactly<7, 64>, KeepAll, 0>::new(Buffer::from_slice(memory)));
    blocks_of_a_buffer: 10, |memory| Some(SourceHeap::new(Buffer::from_slice(memory)));
    region: 12, |memory| Some(Region::<_, Growing<64, 256>>::new(Buffer::from_slice(memory)));
}

/// A source that gives nothing, and to which nothing can be too large.
#[derive(Clone, Copy, Debug)]
struct Nothing;

// SAFETY: it gives nothing.
unsafe impl BackingSource for Nothing {
    const GRANULE: usize = 1;
    const ALIGN_MAX: usize = 1 << (usize::BITS - 2);

    fn acquire(&mut self, _: Layout) -> Result<NonNull<[u8]>, AllocError> {
        Err(AllocError)
    }

    unsafe fn release(&mut self, block: NonNull<u8>, _: Layout) {
        panic!("{block:?} was never given");
    }
}

/// Constructors with numbers that nobody means: an error, or a heap that refuses.
#[test]
fn constructors_are_total() {
    let largest = isize::MAX as usize;
    for size in [0, 1, 2, largest / 2, largest - 4096, largest, largest + 1, usize::MAX - 1, usize::MAX] {
        fn refuses<S: Sizing>(size: usize) {
            if let Ok(mut arena) = SourceArena::<_, S>::with_size(Nothing, size) {
                assert!(arena.alloc(layout(1, 1)).is_err(), "{size} bytes of nothing");
            }
        }
        refuses::<Sizing4KiB>(size);
        refuses::<Bounded<Sizing128KiB>>(size);
        refuses::<Checked<Sizing16MiB>>(size);
    }
    type Aligned = AlignedSlabs<Nothing>;
    type Large = LargeSlabs<Nothing>;
    for doublings in 0..usize::BITS - 1 {
        for size in [0, 1, 24, 4096, 1 << 31, largest >> 1, largest + 1 - (1 << doublings)] {
            let Ok(layout) = Layout::from_size_align(size, 1 << doublings) else { continue };
            // Each is refused at once, or when an object is asked for.
            if let Ok(cache) = SlabCache::<Aligned>::with_layout(Nothing, layout) {
                assert!(cache.try_alloc(layout).is_err() || size == 0);
                assert!(cache.slot_size() >= size);
            }
            if let Ok(cache) = SlabCache::<Large>::with_layout(Nothing, layout) {
                assert!(cache.try_alloc(layout).is_err() || size == 0);
                assert!(cache.slot_size() >= size);
            }
        }
    }
    heapwright::size_classes! { struct Few = 8..=64, 1 per doubling; }
    let mut heap = SlabHeap::<Few, Aligned, NoHeap>::new(Nothing, NoHeap);
    assert!(heap.alloc(layout(8, 8)).is_err() && heap.alloc(layout(largest, 1)).is_err());
    let mut region = Region::<_, Growing<64, 256>>::new(Nothing);
    assert!(
        region.alloc(layout(largest, 1)).is_err() && region.alloc(layout(1, 1 << (usize::BITS - 2))).is_err()
    );
}
