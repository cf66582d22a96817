//! What goes where.

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::arena::Arena;
use heapwright::cache::{ClassArray, Classes};
use heapwright::check::{self, Ignore};
use heapwright::combine::{
    Affix, AlignUp, AtMost, ByAlign, Fallback, FreeLists, Multiples, PerClass, Quantize, Segregate,
    SegregateBy, ToClasses,
};
use heapwright::heap::{Cursor, Heap, Inspect, NoHeap, Owns, Reset};
use heapwright::sizing::{Checked, Sizing4KiB, Sizing16MiB};
use heapwright::{segregate, size_classes};

use super::layout;
use super::strict::{Shared, narrowed};

size_classes! { struct Few = 16..=128, 1 per doubling; }

fn take(heap: &mut impl Heap, size: usize) -> NonNull<[u8]> {
    heap.alloc(layout(size, 8)).expect("there is room")
}

fn free(heap: &mut impl Heap, block: NonNull<[u8]>, size: usize) {
    // SAFETY: the tests below pass live blocks with sizes of their own.
    unsafe { heap.dealloc(narrowed(block.cast(), size), layout(size, 8)) };
}

#[test]
fn a_fallback_asks_the_second_only_when_the_first_refuses() {
    let (front, behind) = (Shared::default(), Shared::default());
    let mut heap = Fallback::new(front.heap().room(2), behind.heap());
    let blocks: Vec<_> = (0..5).map(|_| take(&mut heap, 40)).collect();
    assert_eq!((front.see(|log| log.live), behind.see(|log| log.live)), (2, 3));
    // One look-up for each free, and no other.
    for block in blocks {
        free(&mut heap, block, 40);
    }
    assert_eq!((front.see(|log| log.live), behind.see(|log| log.live)), (0, 0));
    assert_eq!((front.see(|log| (log.try_dealloc, log.dealloc)), behind.see(|log| log.dealloc)), ((5, 0), 3));
}

#[test]
fn a_fallback_resizes_across_the_border_both_ways() {
    let (front, behind) = (Shared::default(), Shared::default());
    let mut heap = Fallback::new(front.heap(), behind.heap().room(1));
    let block = take(&mut heap, 4);
    // SAFETY: so long, and ours.
    unsafe { block.cast::<u32>().write(0x1234_5678) };
    front.refuse(0, u64::MAX);
    // SAFETY: the block is live, and the layout its own; so are those below.
    let block =
        unsafe { heap.resize(block.cast(), layout(4, 8), layout(100, 8)) }.expect("the second has room");
    assert_eq!((front.see(|log| log.live), behind.see(|log| log.live)), (0, 1));
    // Both refuse: it is as it was.
    behind.refuse(0, u64::MAX);
    // SAFETY: as above.
    assert!(unsafe { heap.resize(block.cast(), layout(100, 8), layout(500, 8)) }.is_err());
    // SAFETY: as above.
    assert_eq!(unsafe { block.cast::<u32>().read() }, 0x1234_5678);
    front.refuse(1, 0);
    // SAFETY: as above.
    let block =
        unsafe { heap.resize(block.cast(), layout(100, 8), layout(500, 8)) }.expect("the first has room");
    assert_eq!((front.see(|log| log.live), behind.see(|log| log.live)), (1, 0));
    // SAFETY: as above.
    assert_eq!(unsafe { block.cast::<u32>().read() }, 0x1234_5678);
    free(&mut heap, block, 500);
}

#[test]
fn a_batch_goes_on_in_the_second_and_comes_back_in_runs() {
    let (front, behind) = (Shared::default(), Shared::default());
    let mut heap = Fallback::new(front.heap().room(3), behind.heap().room(4));
    let mut out = [MaybeUninit::uninit(); 10];
    assert_eq!(heap.alloc_batch(layout(24, 8), &mut out), 7);
    assert_eq!((front.see(|log| log.alloc_batch), behind.see(|log| log.alloc_batch)), (1, 1));
    // SAFETY: seven were filled.
    let mut blocks: Vec<NonNull<u8>> = out[..7].iter().map(|block| unsafe { block.assume_init() }).collect();
    blocks.swap(0, 6);
    // SAFETY: live blocks of this layout, all different.
    unsafe { heap.dealloc_batch(layout(24, 8), &blocks) };
    assert_eq!((front.see(|log| log.dealloc_batch), behind.see(|log| log.dealloc_batch)), (2, 2));
    assert_eq!((front.see(|log| log.live), behind.see(|log| log.live)), (0, 0));
    assert_eq!(heap.release_unused(), 2, "both are asked");
    // SAFETY: no block is used again.
    unsafe { heap.reset() };
    assert_eq!((front.see(|log| log.reset), behind.see(|log| log.reset)), (1, 1));
}

#[test]
fn ownership_goes_through_every_layer() {
    let (log, other) = (Shared::default(), Shared::default());
    let first = Quantize::<ToClasses<Few>, _>::new(log.heap().room(1));
    let second = Segregate::<64, _, _>::new(PerClass::<Few, _>::from_fn(|_| log.heap()), log.heap());
    let mut heap = Fallback::new(FreeLists::<Few, _>::new(first), second);
    let mut stranger = other.heap();
    for size in [3, 64, 65, 3000] {
        let (ours, theirs) = (take(&mut heap, size), take(&mut stranger, size));
        let layout = layout(size, 8);
        assert!(heap.owns(ours.cast(), layout) && !heap.owns(theirs.cast(), layout));
        // SAFETY: a live block of another heap.
        assert!(!unsafe { heap.try_dealloc(theirs.cast(), layout) });
        // SAFETY: a live block, and its layout.
        assert!(unsafe { heap.try_dealloc(narrowed(ours.cast(), size), layout) });
        // SAFETY: as above.
        unsafe { stranger.dealloc(theirs.cast(), layout) };
        heap.release_unused();
        assert_eq!((log.see(|log| log.live), other.see(|log| log.live)), (0, 0), "{size}");
    }
}

/// The trap of a segregated heap: a small heap that gives more than was asked, up to sizes that the large heap serves.
#[test]
fn a_block_is_never_longer_than_its_side() {
    let (small, large) = (Shared::default(), Shared::default());
    let mut heap = Segregate::<100, _, _>::new(small.heap().granule(512), large.heap());
    let block = take(&mut heap, 52);
    assert_eq!((block.len(), heap.good_size(layout(52, 8))), (100, 100));
    free(&mut heap, block, 100);
    assert_eq!((small.see(|log| log.live), large.see(|log| log.alloc)), (0, 0));
}

#[test]
fn sizes_and_alignments_go_to_their_side() {
    let logs: Vec<Shared> = (0..4).map(|_| Shared::default()).collect();
    type Four = segregate! {
        ..=64 => super::strict::Strict,
        ..=1024 => super::strict::Strict,
        ..={ 1 << 16 } => super::strict::Strict,
        _ => super::strict::Strict,
    };
    let mut heap: Four = segregate!(new: logs[0].heap(), logs[1].heap(), logs[2].heap(), logs[3].heap());
    for (size, side) in [(1, 0), (64, 0), (65, 1), (1024, 1), (1025, 2), (65_536, 2), (65_537, 3)] {
        let block = take(&mut heap, size);
        let live: Vec<_> = logs.iter().map(|log| log.see(|log| log.live)).collect();
        assert!((0..4).all(|idx| live[idx] == usize::from(idx == side)), "{size}: {live:?}");
        free(&mut heap, block, size);
    }
    let mut heap = SegregateBy::<ByAlign<16>, _, _>::new(NoHeap, logs[0].heap());
    assert!(heap.alloc(layout(100, 16)).is_err());
    let block = heap.alloc(layout(100, 32)).expect("the second has room");
    // SAFETY: a live block, and its layout.
    unsafe { heap.dealloc(block.cast(), layout(100, 32)) };
}

#[test]
fn lists_hand_out_what_was_freed_last() {
    let log = Shared::default();
    let mut heap = FreeLists::<Few, _, AtMost<2>>::new(log.heap());
    let blocks: Vec<_> = (0..3).map(|_| take(&mut heap, 20)).collect();
    assert!(blocks.iter().all(|block| block.len() == 32));
    for &block in &blocks {
        free(&mut heap, block, 20);
    }
    assert_eq!(log.see(|log| (log.alloc, log.live)), (3, 2), "the bound holds");
    assert_eq!(take(&mut heap, 32), blocks[1]);
    assert_eq!(take(&mut heap, 17), blocks[0]);
    assert_eq!(log.see(|log| log.alloc), 3);
    free(&mut heap, blocks[0], 17);
    free(&mut heap, blocks[1], 32);
    // Another class has a list of its own, and what has none goes past them.
    let (other, large) = (take(&mut heap, 33), take(&mut heap, 1000));
    assert_eq!((other.len(), large.len(), log.see(|log| log.live)), (64, 1000, 4));
    free(&mut heap, large, 1000);
    free(&mut heap, other, 33);
    assert_eq!(log.see(|log| log.live), 3);
    assert_eq!(heap.release_unused(), 2 * 32 + 64);
    assert_eq!(log.see(|log| (log.live, log.release)), (0, 1));
}

#[test]
fn lists_are_given_back_when_the_parent_has_no_room() {
    let log = Shared::default();
    let mut heap = FreeLists::<Few, _>::new(log.heap().room(3));
    let blocks: Vec<_> = (0..3).map(|_| take(&mut heap, 20)).collect();
    assert!(heap.alloc(layout(100, 8)).is_err());
    free(&mut heap, blocks[0], 20);
    free(&mut heap, blocks[1], 20);
    let block = heap.alloc(layout(100, 8)).expect("the blocks in lists make room");
    assert_eq!(log.see(|log| log.live), 2);
    free(&mut heap, block, 100);
    // So for what has no class, for a resize, and for a batch.
    let large = take(&mut heap, 5000);
    assert_eq!(log.see(|log| log.live), 3);
    free(&mut heap, blocks[2], 20);
    // SAFETY: a live block, and its layout.
    let large =
        unsafe { heap.resize(large.cast(), layout(5000, 8), layout(50_000, 8)) }.expect("there is room");
    free(&mut heap, large, 50_000);
    let small = take(&mut heap, 128);
    free(&mut heap, small, 128);
    let mut out = [MaybeUninit::uninit(); 4];
    assert_eq!(heap.alloc_batch(layout(16, 8), &mut out), 3);
    for block in &out[..3] {
        // SAFETY: three were filled.
        let block = unsafe { block.assume_init() };
        free(&mut heap, NonNull::slice_from_raw_parts(block, 16), 16);
    }
}

#[test]
fn a_refill_takes_many_blocks_with_one_call() {
    let log = Shared::default();
    let mut heap = FreeLists::<Classes, _, AtMost<7>, 8>::new(log.heap());
    let blocks: Vec<_> = (0..16).map(|_| take(&mut heap, 40)).collect();
    assert_eq!(log.see(|log| (log.alloc, log.alloc_batch, log.live)), (0, 2, 16));
    for block in blocks {
        free(&mut heap, block, 40);
    }
    assert_eq!(log.see(|log| log.live), 7);
    drop(heap);
    assert_eq!(log.see(|log| (log.live, log.dealloc_batch)), (0, 1));
}

#[test]
fn two_heaps_are_looked_into_as_one() {
    let (mut one, mut two) = ([MaybeUninit::uninit(); 512], [MaybeUninit::uninit(); 1024]);
    let arenas = (Arena::<Sizing4KiB>::from_slice(&mut one), Arena::<Sizing4KiB>::from_slice(&mut two));
    let mut heap = Segregate::<32, _, _>::new(arenas.0, Fallback::new(arenas.1, NoHeap));
    let totals = (heap.first().usage().total, heap.second().usage().total);
    assert_eq!(heap.usage().total, totals.0 + totals.1);
    let blocks = [take(&mut heap, 8), take(&mut heap, 100), take(&mut heap, 32), take(&mut heap, 64)];
    assert_eq!(heap.usage().objects, 4);
    let (mut cursor, mut end, mut used) = (Cursor::default(), 0, 0);
    while let Some(chunk) = heap.next_chunk(&mut cursor) {
        assert_eq!(chunk.offset, end, "chunks follow each other");
        end += chunk.len;
        used += usize::from(chunk.kind == heapwright::heap::ChunkKind::Used) * chunk.len;
    }
    assert_eq!((end, used), (heap.usage().total, heap.usage().used));
    assert_eq!((heap.verify(), heap.misuses()), (Ok(()), 0));
    for (block, size) in blocks.into_iter().zip([8, 100, 32, 64]) {
        free(&mut heap, block, size);
    }
    assert_eq!(heap.usage().used, 0);
    take(&mut heap, 8);
    // SAFETY: no block is used again.
    unsafe { heap.reset() };
    assert_eq!(heap.usage().objects, 0);
}

#[test]
fn heaps_per_class_are_looked_into_as_one() {
    let mut memory = [[MaybeUninit::uninit(); 512]; 4];
    let mut arenas = ClassArray::<Few, _>::new();
    for slice in &mut memory {
        arenas.push(Arena::<Sizing4KiB>::from_slice(slice));
    }
    let mut heap = PerClass::<Few, _>::new(arenas.finish());
    let blocks = [take(&mut heap, 8), take(&mut heap, 100), take(&mut heap, 32)];
    let (mut cursor, mut end) = (Cursor::default(), 0);
    while let Some(chunk) = heap.next_chunk(&mut cursor) {
        assert_eq!(chunk.offset, end);
        end += chunk.len;
    }
    let usage = heap.usage();
    assert_eq!((end, usage.objects, usage.used), (usage.total, 3, 16 + 128 + 32));
    assert_eq!(heap.heaps().iter().map(|arena| arena.usage().objects).collect::<Vec<_>>(), [1, 1, 0, 1]);
    assert_eq!((heap.verify(), heap.misuses()), (Ok(()), 0));
    for (block, size) in blocks.into_iter().zip([8, 100, 32]) {
        free(&mut heap, block, size);
    }
    assert_eq!(heap.usage().used, 0);
}

/// What is around one heap shows its region, finds what is wrong there, and has as many misuses.
#[test]
fn what_is_around_one_heap_shows_it() {
    fn shows<'a, H: Heap + Inspect>(
        memory: &'a mut [MaybeUninit<u8>],
        wrap: impl FnOnce(Arena<'a, Checked<Sizing16MiB, check::Checked<Ignore>>>) -> H,
    ) {
        let mut heap = wrap(Arena::from_slice(memory));
        let block = take(&mut heap, 40);
        assert_eq!((heap.usage().objects, heap.misuses(), heap.verify()), (1, 0, Ok(())));
        let chunks = |heap: &mut H| {
            let mut cursor = Cursor::default();
            std::iter::from_fn(|| heap.next_chunk(&mut cursor)).map(|chunk| chunk.len).sum::<usize>()
        };
        assert_eq!(chunks(&mut heap), heap.usage().total);
        free(&mut heap, block, 40);
        free(&mut heap, block, 40);
        assert_eq!((heap.usage().objects, heap.misuses()), (0, 1), "freed twice");
    }
    let mut memory = [MaybeUninit::uninit(); 2048];
    shows(&mut memory, AlignUp::<32, _>::new);
    shows(&mut memory, Quantize::<Multiples<64>, _>::new);
    shows(&mut memory, Affix::<u32, _, u64>::new);
}

/// What was put around heaps gives them back as they are.
#[test]
fn heaps_come_out_of_their_classes() {
    let log = Shared::default();
    let mut heap = PerClass::<Few, _>::from_fn(|_| log.heap());
    let block = take(&mut heap, 30);
    let mut heaps = heap.into_inner();
    let owner = heaps.iter().position(|heap| heap.owns(block.cast(), layout(32, 8)));
    assert_eq!((heaps.len(), owner), (4, Some(1)));
    free(&mut heaps[1], block, 32);
    assert_eq!(log.see(|log| log.live), 0);
}
