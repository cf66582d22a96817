//! The edges: buffers of no size, alignments above the buffer, blocks that go out and come back.

use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::arena::StaticArena;
use heapwright::combine::StackFirst;
use heapwright::heap::{Heap, Locked, NoHeap, SharedHeap, Usage};
use heapwright::lock::{Lock, NoLock};
use heapwright::sizing::{Checked, Sizing16MiB};

use super::{bytes, fill, free, holds, layout, resize, resize_zeroed, take};

type Behind = StaticArena<65_536, Checked<Sizing16MiB>, NoLock>;

/// A buffer of `N` bytes before an arena that counts wrong frees: `work` leaves both empty and nothing amiss.
fn with<const N: usize>(work: impl FnOnce(&StackFirst<N, &Behind>)) {
    let behind = Box::new(Behind::new());
    let heap = StackFirst::<N, &Behind>::new(&behind);
    let fresh = Usage { total: N, used: 0, free: N, objects: 0 };
    assert_eq!(heap.usage(), fresh);
    work(&heap);
    assert_eq!(heap.usage(), fresh);
    assert_eq!((behind.usage().objects, behind.misuses(), behind.verify()), (0, 0, Ok(())));
}

fn is_inline<const N: usize, A: SharedHeap, L: Lock>(
    heap: &StackFirst<N, A, L>,
    block: NonNull<[u8]>,
) -> bool {
    heap.is_inline(block.cast().as_ptr())
}

#[test]
fn a_buffer_of_no_bytes() {
    with::<0>(|heap| {
        let block = take(heap, layout(1, 1), 7);
        assert!(!is_inline(heap, block));
        let block = resize(heap, block, layout(1, 1), layout(100, 64));
        let block = block.expect("there is room");
        assert!(!is_inline(heap, block) && holds(block, 1, 7));
        free(heap, block, layout(100, 64));
    });
}

/// In buffers of every length up to 40 bytes, blocks of every size: in the buffer if they fit, and never longer than it.
#[test]
fn small_buffers() {
    fn every_size<const N: usize>() {
        with::<N>(|heap| {
            for size in 1..=48 {
                let block = take(heap, layout(size, 1), 1);
                assert_eq!(is_inline(heap, block), size <= N, "{size} of {N}");
                assert!(size > N || block.len() == size.next_multiple_of(8).min(N), "{size} of {N}");
                for given_back in size..=block.len() {
                    free(heap, block, layout(given_back, 1));
                    let again = take(heap, layout(size, 1), 1);
                    assert_eq!((again, is_inline(heap, again)), (block, size <= N));
                }
                free(heap, block, layout(size, 1));
            }
        });
    }
    every_size::<1>();
    every_size::<2>();
    every_size::<7>();
    every_size::<8>();
    every_size::<9>();
    every_size::<12>();
    every_size::<15>();
    every_size::<16>();
    every_size::<31>();
    every_size::<40>();
}

/// Freed with any of its sizes, the last block is the last one, and the one before it stays whole.
#[test]
fn every_size_between_the_requested_and_the_returned() {
    with::<64>(|heap| {
        for size in 17..=24 {
            let before = take(heap, layout(5, 1), 1);
            let block = take(heap, layout(17, 1), 2);
            assert_eq!((before.len(), block.len()), (8, 24));
            free(heap, block, layout(size, 1));
            assert_eq!(heap.usage().used, 8);
            let grown = resize(heap, before, layout(size - 16, 1), layout(64, 1));
            assert_eq!(grown, Ok(NonNull::slice_from_raw_parts(before.cast(), 64)));
            assert!(holds(before, size - 16, 1));
            free(heap, before, layout(64, 1));
        }
    });
}

#[test]
fn every_alignment() {
    with::<256>(|heap| {
        for shift in 0..=12 {
            for size in [1, 5, 24, 100, 256, 300] {
                let block = take(heap, layout(size, 1 << shift), 3);
                assert!(block.cast::<u8>().addr().get() % (1 << shift) == 0, "{size} at {}", 1 << shift);
                free(heap, block, layout(size, 1 << shift));
            }
        }
        // The buffer starts at a multiple of 16 bytes.
        let block = take(heap, layout(256, 16), 1);
        assert!(is_inline(heap, block));
        free(heap, block, layout(256, 16));
        for size in [isize::MAX as usize - 4095, isize::MAX as usize / 2] {
            assert!(heap.try_alloc(layout(size, 4096)).is_err());
            assert!(heap.try_alloc(layout(1, size.next_power_of_two() >> 1)).is_err());
        }
    });
}

#[test]
fn size_zero_is_nobodys() {
    with::<64>(|heap| {
        let none = heap.try_alloc(layout(0, 32)).expect("size zero is always to be had");
        assert_eq!((none.len(), none.cast::<u8>().addr().get() % 32), (0, 0));
        assert_eq!(heap.usage().objects, 0);
        let some = resize_zeroed(heap, none, layout(0, 32), layout(8, 8)).expect("room");
        assert!(is_inline(heap, some) && holds(some, 8, 0));
        let none = resize(heap, some, layout(8, 8), layout(0, 1)).expect("always");
        assert_eq!((none.len(), heap.usage().objects), (0, 0));
        free(heap, none, layout(0, 1));
        // SAFETY: the closure only calls the core.
        let refused = unsafe { heap.enter(|core| core.alloc(layout(0, 1)).is_err()) };
        assert_eq!(refused, Ok(true));
    });
}

/// Out of the buffer, back in by another block, and out of the heap only when the heap refuses.
#[test]
fn across_the_border_and_back() {
    with::<64>(|heap| {
        let block = take(heap, layout(40, 8), 1);
        assert!(is_inline(heap, block));
        let block = resize(heap, block, layout(40, 8), layout(65, 8)).expect("room");
        assert!(!is_inline(heap, block) && holds(block, 40, 1));
        assert_eq!((heap.usage().objects, heap.heap().usage().objects), (0, 1));
        let block = resize(heap, block, layout(65, 8), layout(10, 8)).expect("room");
        assert!(!is_inline(heap, block) && holds(block, 10, 1), "a block that has outgrown the buffer stays");
        let other = take(heap, layout(64, 8), 2);
        assert!(is_inline(heap, other));
        free(heap, block, layout(10, 8));
        assert!(holds(other, 64, 2));
        free(heap, other, layout(64, 8));
    });
}

#[test]
fn comes_back_when_the_heap_is_full() {
    let behind = StaticArena::<256, Checked<Sizing16MiB>, NoLock>::new();
    let heap = StackFirst::<128, _>::new(&behind);
    let first = take(&heap, layout(128, 8), 1);
    let spilled = take(&heap, layout(32, 8), 2);
    let rest = behind.try_alloc(layout(behind.usage().free, 1)).expect("all that is free");
    assert!(resize(&heap, spilled, layout(32, 8), layout(100, 8)).is_err());
    assert!(holds(spilled, 32, 2) && holds(first, 128, 1));
    free(&heap, first, layout(128, 8));
    let back = resize(&heap, spilled, layout(32, 8), layout(100, 8)).expect("in the buffer");
    assert!(is_inline(&heap, back) && holds(back, 32, 2));
    free(&heap, back, layout(100, 8));
    free(&behind, rest, layout(rest.len(), 1));
    assert_eq!((heap.usage().used, behind.usage().objects, behind.misuses()), (0, 0, 0));
}

#[test]
fn the_last_and_the_only_block_resize_in_place() {
    with::<256>(|heap| {
        let first = take(heap, layout(40, 8), 1);
        let second = take(heap, layout(40, 8), 2);
        // The last one grows and shrinks where it stands.
        let grown = resize(heap, second, layout(40, 8), layout(216, 8)).expect("room");
        assert_eq!((grown.cast::<u8>(), grown.len(), heap.usage().free), (second.cast(), 216, 0));
        let shrunk = resize(heap, grown, layout(216, 8), layout(20, 8)).expect("room");
        assert_eq!((shrunk.cast::<u8>(), shrunk.len(), heap.usage().used), (second.cast(), 24, 64));
        // One before it shrinks where it stands, and moves behind the last to grow.
        let less = resize(heap, first, layout(40, 8), layout(8, 8)).expect("room");
        assert_eq!((less.cast::<u8>(), less.len(), heap.usage().used), (first.cast(), 8, 64));
        let moved = resize(heap, less, layout(8, 8), layout(100, 8)).expect("room");
        assert!(is_inline(heap, moved) && holds(moved, 8, 1));
        assert_eq!((heap.usage().used, heap.usage().objects), (168, 2));
        // The only one, in the middle: grows in place, and slides to the start for what does not fit there.
        free(heap, second, layout(20, 8));
        fill(moved, 100, 3);
        let grown = resize(heap, moved, layout(100, 8), layout(192, 8)).expect("room");
        assert_eq!((grown.cast::<u8>(), heap.usage().free), (moved.cast(), 0));
        fill(grown, 192, 4);
        let whole = resize(heap, grown, layout(192, 8), layout(256, 8)).expect("room");
        assert_eq!((whole.cast::<u8>(), whole.len()), (first.cast(), 256));
        assert!(holds(whole, 192, 4));
        free(heap, whole, layout(256, 8));
    });
}

#[test]
fn what_is_freed_in_the_middle_comes_back_with_the_last() {
    with::<64>(|heap| {
        let blocks = [1, 2, 3, 4].map(|fill| take(heap, layout(16, 8), fill));
        let free = |block: NonNull<[u8]>| free(heap, block, layout(16, 8));
        free(blocks[1]);
        free(blocks[2]);
        assert_eq!((heap.usage().used, heap.usage().objects), (64, 2));
        let spilled = take(heap, layout(16, 8), 5);
        assert!(!is_inline(heap, spilled));
        free(blocks[3]);
        assert_eq!((heap.usage().used, heap.usage().objects), (48, 1));
        free(blocks[0]);
        assert_eq!((heap.usage().used, heap.usage().objects), (0, 0));
        free(spilled);
    });
}

/// Alignment changes on both sides of the border, contents kept.
#[test]
fn resizes_that_change_the_alignment() {
    with::<256>(|heap| {
        let beside = take(heap, layout(1, 1), 9);
        for (from, to) in [(1, 64), (64, 1), (16, 128), (4096, 8), (8, 4096), (2, 256)] {
            for (old, new) in [(20, 20), (20, 90), (90, 20), (20, 400), (400, 20), (400, 500)] {
                let block = take(heap, layout(old, from), 5);
                let resized = resize(heap, block, layout(old, from), layout(new, to));
                let resized = resized.expect("there is room");
                assert_eq!(resized.cast::<u8>().addr().get() % to, 0);
                assert!(resized.len() >= new && holds(resized, old.min(new), 5));
                free(heap, resized, layout(new, to));
            }
        }
        assert!(holds(beside, 1, 9));
        free(heap, beside, layout(1, 1));
    });
}

/// Zeroed: in the buffer where others have written, behind it, and across.
#[test]
fn zeroed() {
    with::<128>(|heap| {
        for (old, new) in [(5, 100), (100, 128), (100, 129), (60, 1000), (200, 3000), (200, 9), (13, 13)] {
            for size in [128, 3000] {
                let dirty = take(heap, layout(size, 1), 0xFF);
                free(heap, dirty, layout(size, 1));
            }
            let block = heap.try_alloc_zeroed(layout(old, 4)).expect("there is room");
            assert!(holds(block, block.len(), 0));
            fill(block, old, 6);
            let resized = resize_zeroed(heap, block, layout(old, 4), layout(new, 4));
            let resized = resized.expect("there is room");
            assert!(holds(resized, old.min(new), 6));
            assert!(bytes(resized)[old.min(resized.len())..].iter().all(|&byte| byte == 0), "{old} to {new}");
            free(heap, resized, layout(new, 4));
        }
    });
}

/// With nothing behind it, the buffer is all there is, and errors change nothing.
#[test]
fn nothing_behind() {
    let heap = StackFirst::<64, Locked<NoHeap, NoLock>>::default();
    let block = take(&heap, layout(60, 4), 1);
    assert_eq!(block.len(), 64);
    assert!(heap.try_alloc(layout(1, 1)).is_err() && heap.try_alloc_zeroed(layout(1, 1)).is_err());
    assert!(resize(&heap, block, layout(60, 4), layout(65, 4)).is_err());
    assert!(resize(&heap, block, layout(60, 4), layout(60, 4096)).is_err());
    assert!(holds(block, 60, 1));
    assert_eq!(heap.usage(), Usage { total: 64, used: 64, free: 0, objects: 1 });
    free(&heap, block, layout(60, 4));
    assert_eq!(heap.usage().objects, 0);
    let _: Locked<NoHeap, NoLock> = heap.into_inner();
}

/// The core under the lock does what the shell does; the shell, used from within, refuses.
#[test]
fn under_the_lock() {
    with::<64>(|heap| {
        let work = |core: &mut _| {
            let core: &mut heapwright::combine::StackFirstCore<'_, &Behind> = core;
            assert_eq!((core.good_size(layout(13, 1)), core.good_size(layout(70, 1))), (16, 72));
            let inline = core.alloc_zeroed(layout(13, 1)).expect("room");
            let behind = core.alloc(layout(60, 8)).expect("room");
            assert_eq!((inline.len(), behind.len()), (16, 64));
            // SAFETY: the block is live, and its layout its own.
            let refused = unsafe { core.resize_in_place(inline.cast(), layout(13, 1), layout(65, 1)) };
            assert!(refused.is_err());
            // SAFETY: as above.
            let inline = unsafe { core.resize_in_place(inline.cast(), layout(13, 1), layout(64, 1)) };
            // SAFETY: as above.
            let behind = unsafe { core.resize_in_place(behind.cast(), layout(60, 8), layout(600, 8)) };
            let (inline, behind) = (inline.expect("room"), behind.expect("room"));
            assert_eq!((inline.len(), behind.len()), (64, 600));
            // SAFETY: as above.
            let inline = unsafe { core.resize(inline.cast(), layout(64, 1), layout(80, 1)) }.expect("room");
            // SAFETY: as above.
            unsafe { core.dealloc(inline.cast(), layout(80, 1)) };
            // SAFETY: as above.
            unsafe { core.dealloc(behind.cast(), layout(600, 8)) };
        };
        // SAFETY: the closure only calls the core.
        unsafe { heap.enter(work) }.expect("not entered before");
        let twice = |_: &mut _| (heap.try_alloc(layout(1, 1)).is_err(), heap.usage().total);
        // SAFETY: none: that a re-entry is refused is what is tested.
        assert_eq!(unsafe { heap.enter(twice) }, Ok((true, 0)));
    });
}

/// Under the lock it is a core, and those have no blocks of size zero.
#[test]
fn a_core_refuses_size_zero() {
    with::<64>(|heap| {
        for zeroed in [false, true] {
            // SAFETY: the closure only calls the core.
            let made =
                unsafe {
                    heap.enter(|core| {
                        if zeroed { core.alloc_zeroed(layout(0, 8)) } else { core.alloc(layout(0, 8)) }
                    })
                };
            assert_eq!(made, Ok(Err(AllocError)));
        }
        assert_eq!(heap.try_alloc(layout(0, 8)).map(|block| block.len()), Ok(0));
    });
}
