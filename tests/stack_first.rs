//! Some bytes on the stack first, then another heap.

#![cfg(all(feature = "std", not(miri)))]
#![expect(clippy::multiple_unsafe_ops_per_block, reason = "one block, its whole life")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "malloc/shadow.rs"]
#[expect(dead_code, reason = "not all of it is of use here")]
mod shadow;

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::NonNull;
use std::thread;

use heapwright::arena::StaticArena;
use heapwright::combine::StackFirst;
use heapwright::heap::{Heap, Locked, NoHeap, SharedHeap};
use heapwright::lock::{Lock, NoLock, SpinLock};
use heapwright::sizing::Sizing128KiB;
use heapwright::source::{Failing, GlobalHeap, Limited, SourceHeap};
use quickcheck::quickcheck;
use static_assertions::{assert_impl_all, assert_not_impl_any, const_assert_eq};

use shadow::{Random, Shadow};

type Global<L> = Locked<SourceHeap<GlobalHeap>, L>;

assert_impl_all!(StackFirst<64, Global<NoLock>, NoLock>: Send);
assert_not_impl_any!(StackFirst<64, Global<NoLock>, NoLock>: Sync);
assert_not_impl_any!(StackFirst<64, Global<SpinLock>, NoLock>: Sync);
assert_impl_all!(StackFirst<64, Global<SpinLock>, SpinLock>: Send, Sync);
const_assert_eq!(size_of::<StackFirst<64, Locked<NoHeap, NoLock>, NoLock>>(), 64 + 32);

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

/// Random blocks, most of which fit the buffer.
fn churn<const N: usize, A: SharedHeap, L: Lock>(heap: &StackFirst<N, A, L>, seed: u64, steps: usize) {
    let (mut random, mut shadow) = (Random::new(seed), Shadow::default());
    for _ in 0..steps {
        let (often, rare) = (random.below(5) > 0, random.below(9) == 0);
        let size = 1 + random.below(if often { N / 4 + 2 } else { 2 * N + 2 });
        let align = 1 << random.below(if rare { 13 } else { 5 });
        match random.below(8) {
            0..=3 if shadow.len() < 30 => _ = shadow.alloc(heap, layout(size, align), random.below(3) == 0),
            0..=5 => shadow.free(heap, &mut random),
            _ => shadow.resize(heap, &mut random, size),
        }
        assert!(heap.used() <= N);
        if random.below(60) == 0 {
            shadow.clear(heap);
            assert_eq!(heap.used(), 0, "empty, so as new");
        }
    }
    shadow.clear(heap);
    assert_eq!(heap.used(), 0);
}

quickcheck! {
    fn blocks_keep_apart_and_hold_what_was_written(seed: u64) -> bool {
        let next = || Global::<NoLock>::new(SourceHeap::new(GlobalHeap));
        churn(&StackFirst::<0, _>::new(next()), seed, 300);
        churn(&StackFirst::<1, _>::new(next()), seed, 300);
        churn(&StackFirst::<64, _>::new(next()), seed, 300);
        churn(&StackFirst::<1000, _>::new(next()), seed, 500);
        churn(&StackFirst::<4096, _, SpinLock>::new(next()), seed, 500);
        true
    }
}

#[test]
fn a_next_heap_that_fails_at_each_position_loses_nothing() {
    for position in 0..60 {
        let next = Locked::<_, NoLock>::new(SourceHeap::new(Failing::nth(GlobalHeap, position)));
        churn(&StackFirst::<100, _>::new(next), position, 300);
    }
    let next = Locked::<_, NoLock>::new(SourceHeap::new(Limited::new(GlobalHeap, 2000)));
    churn(&StackFirst::<300, _>::new(next), 1, 3000);
}

#[test]
fn the_last_block_grows_shrinks_and_goes_and_others_wait() {
    let heap = StackFirst::<256, _>::new(Locked::<_, NoLock>::new(NoHeap));
    let (a, b) = (heap.try_alloc(layout(40, 8)).unwrap(), heap.try_alloc(layout(40, 8)).unwrap());
    assert_eq!((a.len(), b.len(), heap.used()), (40, 40, 80));
    // SAFETY: each block is live, with this layout.
    unsafe {
        let b = heap.try_resize(b.cast(), layout(40, 8), layout(100, 8)).unwrap();
        assert_eq!((b.len(), heap.used()), (100, 140));
        assert!(
            heap.try_resize(a.cast(), layout(40, 8), layout(200, 8)).is_err(),
            "no room, and no other heap"
        );
        let a = heap.try_resize(a.cast(), layout(40, 8), layout(10, 8)).unwrap();
        assert_eq!((a.len(), heap.used()), (10, 140));
        heap.free(a.cast(), layout(10, 8));
        assert_eq!(heap.used(), 140, "a hole");
        let b = heap.try_resize(b.cast(), layout(100, 8), layout(1, 8)).unwrap();
        assert_eq!(heap.used(), 41);
        heap.free(b.cast(), layout(1, 8));
    }
    assert_eq!(heap.used(), 0);
}

#[test]
fn a_block_crosses_over_when_it_grows_and_when_its_alignment_does() {
    let heap = StackFirst::<128, _>::new(Global::<NoLock>::new(SourceHeap::new(GlobalHeap)));
    let block = heap.try_alloc(layout(100, 4)).unwrap().cast::<u8>();
    assert!(heap.owns(block.as_ptr()));
    // SAFETY: the block is live, with this layout, throughout.
    unsafe {
        block.write_bytes(5, 100);
        let grown = heap.try_resize_zeroed(block, layout(100, 4), layout(200, 4)).unwrap().cast::<u8>();
        assert!(!heap.owns(grown.as_ptr()) && heap.used() == 0);
        assert!((0..200).all(|at| grown.add(at).read() == if at < 100 { 5 } else { 0 }));
        let shrunk = heap.try_resize(grown, layout(200, 4), layout(50, 4)).unwrap().cast::<u8>();
        heap.free(shrunk, layout(50, 4));
        let block = heap.try_alloc(layout(16, 1)).unwrap().cast::<u8>();
        let aligned = heap.try_resize(block, layout(16, 1), layout(16, 4096)).unwrap().cast::<u8>();
        assert_eq!(aligned.addr().get() % 4096, 0);
        heap.free(aligned, layout(16, 4096));
    }
    assert_eq!(heap.used(), 0);
}

#[test]
fn a_size_of_zero_ends_at_the_shell_and_the_core_refuses_it() {
    let heap = StackFirst::<64, _>::new(Locked::<_, NoLock>::new(NoHeap));
    assert_eq!(heap.try_alloc(layout(0, 16)).unwrap().len(), 0);
    // SAFETY: the closure only calls the core.
    assert!(unsafe { heap.enter(|core| core.alloc(layout(0, 8))) }.unwrap().is_err());
    assert_eq!(heap.used(), 0);
}

#[test]
fn threads_share_one_with_a_lock() {
    static HEAP: StackFirst<512, &StaticArena<65536, Sizing128KiB>, SpinLock> = StackFirst::new(&ARENA);
    static ARENA: StaticArena<65536, Sizing128KiB> = StaticArena::new();
    let threads: Vec<_> = (0..4)
        .map(|seed| {
            thread::spawn(move || {
                let (mut random, mut shadow) = (Random::new(seed), Shadow::default());
                for _ in 0..5000 {
                    let size = 1 + random.below(200);
                    if shadow.len() < 10 && random.below(2) == 0 {
                        shadow.alloc(&HEAP, layout(size, 8), false);
                    } else {
                        shadow.free(&HEAP, &mut random);
                    }
                }
                shadow.clear(&HEAP);
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!((HEAP.used(), ARENA.usage().objects), (0, 0));
}

#[test]
fn memory_of_a_moved_value_is_used_where_it_is_now() {
    let first = StackFirst::<64, _>::new(Locked::<_, NoLock>::new(NoHeap));
    // SAFETY: the block is freed with its layout.
    unsafe {
        let block = first.alloc(layout(8, 8));
        first.dealloc(block, layout(8, 8));
    }
    let moved = Box::new(first);
    let block = moved.try_alloc(layout(8, 8)).unwrap().cast::<u8>();
    assert!(moved.owns(block.as_ptr()));
    // SAFETY: the block is live, with this layout.
    unsafe { moved.free(NonNull::new(block.as_ptr()).unwrap(), layout(8, 8)) };
}

#[cfg(feature = "allocator-api2-02")]
#[test]
fn maps_and_boxes_live_in_it() {
    use allocator_api2_02::boxed::Box;
    use hashbrown_17::{DefaultHashBuilder, HashMap};

    let heap = StackFirst::<4096, _>::new(Global::<NoLock>::new(SourceHeap::new(GlobalHeap)));
    let mut map = HashMap::with_hasher_in(DefaultHashBuilder::default(), &heap);
    for number in 0..300u64 {
        map.insert(number, Box::new_in([number; 3], &heap));
    }
    map.retain(|number, _| number % 2 == 0);
    map.shrink_to_fit();
    assert!(map.len() == 150 && map.iter().all(|(number, boxed)| **boxed == [*number; 3]));
    drop(map);
    assert_eq!(heap.used(), 0);
}
