//! What the documentation says of how much memory is held.

use std::alloc::{GlobalAlloc, Layout};
use std::thread;

use heapwright::cache::{ChunkHeap, Classes, KeepAll, MallocSettings, SizeClasses};
use heapwright::lock::YieldLock;
use heapwright::source::Pages;

use crate::shadow::Random;

struct Bounded;
impl MallocSettings for Bounded {
    type Classes = Classes;
    type Chunks = ChunkHeap<Pages, YieldLock, KeepAll>;
    type Lock = YieldLock;
}
heapwright::malloc! { static BOUNDED as BoundedMalloc: Bounded = ChunkHeap::new(Pages); }

struct Passed;
impl MallocSettings for Passed {
    type Classes = Classes;
    type Chunks = ChunkHeap<Pages, YieldLock, KeepAll>;
    type Lock = YieldLock;
}
heapwright::malloc! { static PASSED as PassedMalloc: Passed = ChunkHeap::new(Pages); }

struct Idle;
impl MallocSettings for Idle {
    type Classes = Classes;
    type Chunks = ChunkHeap<Pages, YieldLock, KeepAll>;
    type Lock = YieldLock;
    // So that the other class goes on to visit what is shared.
    const GROWN_BYTES: usize = 0;
}
heapwright::malloc! { static IDLE as IdleMalloc: Idle = ChunkHeap::new(Pages); }

/// The most that a thread may have at hand of a class, in objects.
fn at_hand_max<T: MallocSettings>(size: usize) -> usize {
    2 * (T::FRONT_BYTES / size).clamp(1, T::FRONT_SLOTS)
}

#[test]
fn what_a_thread_has_at_hand_and_what_lies_in_depots_is_bounded() {
    let mut random = Random::new(1);
    for size in Classes::SIZES.iter().copied().filter(|size| *size <= 16384) {
        let layout = Layout::from_size_align(size, 8).unwrap();
        // SAFETY: each block is freed once, with its layout.
        unsafe {
            let mut blocks: Vec<*mut u8> = (0..300).map(|_| BoundedMalloc.alloc(layout)).collect();
            while !blocks.is_empty() {
                BoundedMalloc.dealloc(blocks.swap_remove(random.below(blocks.len())), layout);
            }
        }
    }
    let stats = BoundedMalloc.stats();
    for class in stats.classes() {
        let most = at_hand_max::<Bounded>(class.size);
        assert!(class.at_hand <= most, "{most} at most: {class:?}");
        assert!(class.in_depots * class.size <= Bounded::SHARDS * Bounded::DEPOT_BYTES, "{class:?}");
    }
    assert_eq!((stats.threads, stats.bytes_at_hand_most), (1, stats.bytes_at_hand), "{stats}");
    // A thread with less at hand makes the sum larger, and not the most.
    let small = Layout::new::<u64>();
    // SAFETY: the block is freed once, with its layout.
    let both = thread::spawn(move || unsafe {
        BoundedMalloc.dealloc(BoundedMalloc.alloc(small), small);
        BoundedMalloc.stats()
    });
    let both = both.join().unwrap();
    assert_eq!((both.threads, both.bytes_at_hand_most), (2, stats.bytes_at_hand), "{both}");
    assert!(both.bytes_at_hand > stats.bytes_at_hand, "{both}");
    assert_eq!(stats.bytes_live, 0, "{stats}");
}

#[test]
fn threads_that_only_free_hold_no_more_than_others_and_leave_nothing() {
    let layout = Layout::new::<[u64; 8]>();
    for _ in 0..30 {
        // SAFETY: each block is freed once, with its layout.
        let blocks: Vec<usize> =
            (0..2000).map(|_| unsafe { PassedMalloc.alloc(layout) }.expose_provenance()).collect();
        let free = move || {
            for block in blocks {
                // SAFETY: as above.
                unsafe { PassedMalloc.dealloc(std::ptr::with_exposed_provenance_mut(block), layout) };
            }
        };
        thread::spawn(free).join().unwrap();
    }
    let stats = PassedMalloc.stats();
    assert_eq!(stats.bytes_live, 0, "{stats}");
    // 2000 objects, what this thread and the depots have, and no more, however often that was.
    let objects = 2000 + at_hand_max::<Passed>(64) + Passed::SHARDS * Passed::DEPOT_SLOTS;
    assert!(stats.bytes_in_slabs <= (objects * 64).next_multiple_of(65536) + 65536, "{stats}");
}

#[test]
fn what_is_not_used_goes_back_while_the_thread_does_other_things() {
    let (idle, busy) = (Layout::new::<[u64; 4]>(), Layout::new::<[u64; 16]>());
    // SAFETY: each block is freed once, with its layout.
    unsafe {
        let blocks: Vec<*mut u8> = (0..200).map(|_| IdleMalloc.alloc(idle)).collect();
        blocks.into_iter().for_each(|block| IdleMalloc.dealloc(block, idle));
        let of = |size: usize| {
            IdleMalloc.stats().classes().iter().find(|class| class.size == size).copied().unwrap()
        };
        let before = of(32).at_hand;
        assert!(before > 0);
        for _ in 0..400 {
            let blocks: Vec<*mut u8> = (0..1000).map(|_| IdleMalloc.alloc(busy)).collect();
            blocks.into_iter().for_each(|block| IdleMalloc.dealloc(block, busy));
        }
        assert!(of(32).at_hand < before, "{before} were at hand: {:?}", of(32));
    }
}
