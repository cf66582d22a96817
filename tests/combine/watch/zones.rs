//! `RedZones`, and calls that can be about no live block of it: nothing reaches the heap within.

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::arena::Arena;
use heapwright::check::{CountMisuses, Misuse, Wrong};
use heapwright::combine::RedZones;
use heapwright::conformance::{Call, Probe};
use heapwright::heap::{Heap, Inspect};
use heapwright::sizing::Sizing128KiB;

use super::layout;

/// A block comes back with a size that no block has, between zones.
#[test]
fn a_layout_that_no_block_has_frees_nothing() {
    let probe = Probe::new();
    let mut heap = RedZones::<16, 8, _, _>::new(probe.clone(), CountMisuses::new());
    let right = layout(40, 8);
    let block = heap.alloc(right).unwrap().cast::<u8>();
    for wrong in [layout(0, 8), layout(isize::MAX as usize - 7, 8)] {
        // SAFETY: the fault that is looked for; the block's memory is there, and not touched.
        unsafe { heap.dealloc(block, wrong) };
        // SAFETY: as above.
        unsafe { heap.dealloc_batch(wrong, &[block]) };
        // SAFETY: as above.
        assert!(unsafe { heap.resize_in_place(block, wrong, right) }.is_err());
    }
    assert_eq!((probe.blocks(), heap.handler().count()), (1, 0));
    assert_eq!(probe.calls(Call::Dealloc) + probe.calls(Call::DeallocBatch), 0);
    // SAFETY: the block is live, and its layout this one.
    unsafe { heap.dealloc(block, right) };
    assert_eq!((probe.blocks(), heap.handler().count()), (0, 0));
}

/// A freed block does not come to life by a resize.
#[test]
fn a_freed_block_is_not_resized_in_place() {
    let mut memory = [MaybeUninit::uninit(); 4096];
    let arena = Arena::<Sizing128KiB>::from_slice(&mut memory);
    let mut heap = RedZones::<16, 8, _, _>::new(arena, CountMisuses::new());
    let (long, short) = (layout(40, 8), layout(24, 8));
    let block = heap.alloc(long).unwrap().cast::<u8>();
    // SAFETY: the block is live, and its layout this one.
    unsafe { heap.dealloc(block, long) };
    // SAFETY: the fault that is looked for; the memory is the arena's.
    assert!(unsafe { heap.resize_in_place(block, long, short) }.is_err());
    let double = Misuse::new(Wrong::DoubleFree, block.addr().get(), long);
    assert_eq!((heap.misuses(), heap.handler().first()), (1, Some(double)));
    assert_eq!((heap.usage().objects, heap.verify()), (0, Ok(())));
}

/// More blocks than go back at once.
#[test]
fn a_long_batch_goes_back_whole() {
    let probe = Probe::new();
    let mut heap = RedZones::<16, 8, _, _>::new(probe.clone(), CountMisuses::new());
    let layout = layout(24, 8);
    let blocks: Vec<NonNull<u8>> = (0..70).map(|_| heap.alloc(layout).unwrap().cast()).collect();
    // SAFETY: the blocks are live and different, and the layout their own.
    unsafe { heap.dealloc_batch(layout, &blocks) };
    assert_eq!((probe.blocks(), probe.calls(Call::DeallocBatch), heap.handler().count()), (0, 3, 0));
}
