//! Layouts that what is put around them makes too much of, and heaps that say little of themselves.

use std::alloc::Layout;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::arena::Arena;
use heapwright::combine::{Affix, AlignUp, Fallback, Multiples, Quantize, rising};
use heapwright::conformance::{Call, Probe};
use heapwright::heap::{Cursor, Heap, Inspect, Owns};
use heapwright::sizing::Sizing4KiB;

use super::layout;
use super::strict::Shared;

/// Half of all addresses: no block with bytes is aligned to that.
const HALF: usize = 1 << (usize::BITS - 1);

#[test]
fn an_alignment_that_no_block_can_have() {
    let probe = Probe::new();
    let mut heap = AlignUp::<HALF, _>::new(probe.clone());
    let layout = layout(8, 8);
    assert!(heap.alloc(layout).is_err());
    assert!(heap.alloc_zeroed(layout).is_err());
    assert_eq!(heap.alloc_batch(layout, &mut [MaybeUninit::uninit()]), 0);
    assert_eq!(heap.good_size(layout), 8);
    let mut other = 7u64;
    let stranger = NonNull::from(&mut other).cast();
    assert!(!heap.owns(stranger, layout));
    // SAFETY: a live block of somebody else.
    assert!(!unsafe { heap.try_dealloc(stranger, layout) });
    // Whose it is, a heap that looks at frees is asked, whatever the layout.
    assert_eq!((probe.calls(Call::Alloc), probe.calls(Call::TryDealloc), other), (0, 1, 7));
}

/// What rounding up makes too much of is no layout to grow to: the heap is not asked, and the block is as it was.
#[test]
fn a_block_does_not_grow_to_what_no_layout_can_be() {
    fn stays<H: Heap>(log: &Shared, mut heap: H) {
        let (short, long) = (layout(24, 8), layout(isize::MAX as usize - 7, 8));
        let block = heap.alloc(short).expect("there is room").cast();
        // SAFETY: a live block and its layout, here and below.
        assert!(unsafe { heap.resize_in_place(block, short, long) }.is_err());
        // SAFETY: as above.
        assert!(unsafe { heap.resize(block, short, long) }.is_err());
        assert_eq!(log.see(|log| (log.in_place, log.resize, log.live)), (0, 0, 1));
        // SAFETY: as above.
        unsafe { heap.dealloc(block, short) };
        assert_eq!(log.see(|log| log.live), 0);
    }
    let log = Shared::default();
    stays(&log, AlignUp::<64, _>::new(log.heap()));
    stays(&log, Quantize::<Multiples<64>, _>::new(log.heap()));
}

/// A heap of blocks of powers of two, as far as it says.
struct Doubling;

// SAFETY: no block is ever handed out. H7: a power of two is its own good size.
unsafe impl Heap for Doubling {
    fn alloc(&mut self, _: Layout) -> Result<NonNull<[u8]>, AllocError> {
        Err(AllocError)
    }

    unsafe fn dealloc(&mut self, _: NonNull<u8>, _: Layout) {}

    fn good_size(&self, layout: Layout) -> usize {
        layout.size().next_power_of_two()
    }
}

/// What the heap would give is no layout with the prefix: then a size is as good as any.
#[test]
fn a_good_size_is_one_that_a_layout_can_have() {
    let heap = Affix::<u64, Doubling>::new(Doubling);
    assert_eq!(heap.good_size(layout(100, 8)), 128 - 8);
    assert_eq!(heap.good_size(layout(HALF / 2 - 8, 8)), HALF / 2 - 8);
    for size in [HALF / 2, HALF / 2 + 1, HALF - 16] {
        assert_eq!(heap.good_size(layout(size, 8)), size);
    }
}

/// A heap that shows no chunk takes its room in the row, and what is behind it stands where it should.
#[test]
fn a_heap_without_chunks_is_passed_over() {
    let mut memory = [MaybeUninit::uninit(); 512];
    let arena = Arena::<Sizing4KiB>::from_slice(&mut memory);
    let mut heap = Fallback::new(Probe::new(), arena);
    let (large, small) = (layout(100, 8), layout(24, 8));
    let block = heap.alloc(large).expect("the first has room").cast();
    assert_eq!(heap.usage().total, 100 + heap.second().usage().total);
    let (mut cursor, mut end) = (Cursor::default(), 100);
    while let Some(chunk) = heap.next_chunk(&mut cursor) {
        assert_eq!(chunk.offset, end, "behind the first, and each other");
        end += chunk.len;
    }
    assert_eq!(end, heap.usage().total);
    // SAFETY: the block is live, and its layout this one.
    unsafe { heap.dealloc(block, large) };
    assert!(heap.alloc(small).is_ok());
}

#[test]
fn limits_rise() {
    let limits = [64, 1024, 1025];
    assert_eq!([0, 1, 2].map(|idx| rising(black_box(&limits), idx)), limits);
}

#[test]
#[should_panic(expected = "sort the arms, smallest first")]
fn limits_that_do_not_rise_are_told() {
    let _ = rising(black_box(&[64, 1024, 1024]), 2);
}
