//! Scopes of regions: what lives through which, and what is left.

use std::panic::{AssertUnwindSafe, catch_unwind};

use allocator_api2_04::boxed::Box;
use allocator_api2_04::vec::Vec;
use heapwright::combine::{Direction, Downward, FixedChunks, Growing, Region, RegionUsage, Scope, Upward};
use heapwright::heap::{Heap, Locked, SharedHeap};
use heapwright::lock::{NoLock, SpinLock};
use heapwright::source::{Counted, GlobalHeap};

use super::layout;

type Shell<D, L = NoLock> = Locked<Region<Counted<GlobalHeap>, Growing<256, 4096>, D>, L>;

fn shell<D: Direction>() -> Shell<D> {
    Locked::new(Region::new(Counted::new(GlobalHeap)))
}

/// Allocates at random in scopes within scopes, and looks that what is outside stays.
fn nest<D: Direction>(
    scope: &mut Scope<'_, Region<Counted<GlobalHeap>, Growing<256, 4096>, D>, NoLock>,
    depth: u32,
) -> u32 {
    let number: &mut u32 = scope.alloc(depth).expect("room");
    let text = scope.alloc_str("what is outside stays").expect("room");
    let list = scope.alloc_slice(&[depth; 100]).expect("room");
    let mut sum = 0;
    for turn in 0..3 {
        {
            let mut vec = Vec::new_in(&*scope);
            vec.extend((0..50 * turn).map(|n| Box::new_in(n, &*scope)));
            assert!(vec.iter().enumerate().all(|(at, n)| **n == at as u32));
        }
        if depth < 4 {
            sum += scope.scope(|inner| nest(inner, depth + 1));
        }
        *number += 1;
        list[turn as usize] += 1;
    }
    assert_eq!((*number, &*text), (depth + 3, "what is outside stays"));
    assert_eq!((list[0], list[2], list[99]), (depth + 1, depth + 1, depth));
    sum + 1
}

fn nested<D: Direction>() {
    let mut region = shell::<D>();
    for _ in 0..3 {
        assert_eq!(region.scope(|scope| nest(scope, 0)), 1 + 3 + 9 + 27 + 81);
        let RegionUsage { chunks, spare_chunks, .. } = region.region_usage();
        assert_eq!((chunks, spare_chunks), (0, 1));
    }
    let counts = region.get_mut().source().counts();
    assert_eq!(counts.blocks, 1);
}

#[test]
fn what_is_outside_stays() {
    nested::<Upward>();
    nested::<Downward>();
}

/// In a loop, the source is soon asked no more.
#[test]
fn a_loop_of_scopes_settles() {
    let mut region = shell::<Upward>();
    let mut turn = || {
        region.scope(|scope| {
            for _ in 0..100 {
                assert!(scope.try_alloc(layout(30, 1)).is_ok());
            }
        });
        region.get_mut().source().counts().acquired
    };
    for _ in 0..10 {
        turn();
    }
    let settled = turn();
    assert_eq!(turn(), settled);
}

#[test]
fn a_panic_goes_through_scopes() {
    let mut region = shell::<Upward>();
    let mark = region.scope(|outer| {
        let kept = outer.alloc(5u64).expect("room");
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            outer.scope(|inner| {
                let mut list = Vec::new_in(&*inner);
                list.extend(0..10_000u32);
                drop(list);
                let _left_behind = inner.alloc([0u32; 2000]);
                inner.scope(|innermost| {
                    let _more = Box::new_in([0u8; 5000], &*innermost);
                    panic!("on purpose");
                })
            })
        }));
        assert!(unwound.is_err());
        let next = outer.alloc(6u64).expect("room");
        // The next one stands where the unwound scope began.
        assert_eq!((&raw const *next).addr() - (&raw const *kept).addr(), 8);
        (*kept, *next)
    });
    assert_eq!(mark, (5, 6));
    assert_eq!(region.region_usage().chunks, 0);
}

/// What safe code can call on a scope's heap, it can call within a scope, too.
#[test]
fn unused_memory_may_be_released_within_a_scope() {
    let mut region = Locked::<Region<GlobalHeap, FixedChunks<256>>, NoLock>::new(Region::new(GlobalHeap));
    region.scope(|outer| {
        outer.scope(|inner| {
            assert!(inner.try_alloc(layout(1000, 1)).is_ok());
            outer_free(inner);
        });
        assert!(SharedHeap::release_unused(&*outer) > 1000);
        let kept = outer.alloc(1u8).expect("room");
        outer.scope(|inner| {
            assert_eq!(SharedHeap::release_unused(&*inner), 0);
            let _ = inner.alloc([0u8; 2000]);
            inner.scope(|innermost| assert_eq!(SharedHeap::release_unused(&*innermost), 0));
        });
        assert_eq!(*kept, 1);
    });
}

fn outer_free<H: heapwright::combine::Marks>(scope: &Scope<'_, H, NoLock>) {
    let block = scope.try_alloc(layout(10, 1)).expect("room");
    // SAFETY: the block is live, and the layout its own.
    unsafe { scope.free(block.cast(), layout(10, 1)) };
}

/// Threads share a scope whose region has a lock.
#[test]
fn threads_share_a_scope() {
    let mut region = Locked::<Region<GlobalHeap>, SpinLock>::new(Region::new(GlobalHeap));
    let sum = region.scope(|scope| {
        let scope = &*scope;
        std::thread::scope(|threads| {
            let work = |from: u32| {
                move || (0..500).map(|n| scope.alloc(from + n).expect("room")).collect::<std::vec::Vec<_>>()
            };
            let both = [threads.spawn(work(0)), threads.spawn(work(500))];
            both.map(|thread| thread.join().expect("no panic").into_iter().map(|n| *n).sum::<u32>())
        })
    });
    assert_eq!(sum[0] + sum[1], (0..1000).sum());
}

#[test]
fn zero_sized_and_failing() {
    let mut region = shell::<Downward>();
    region.scope(|scope| {
        *scope.alloc(()).expect("room") = ();
        assert_eq!(scope.alloc_slice::<u64>(&[]).map(|slice| slice.len()), Ok(0));
        assert!(scope.try_alloc(layout(isize::MAX as usize, 1)).is_err());
    });
    let nothing = Locked::<_, NoLock>::new(heapwright::heap::NoHeap);
    let mut none = Locked::<Region<_>, NoLock>::new(Region::new(&nothing));
    assert!(none.scope(|scope| scope.alloc(1).is_err()));
    assert_eq!(none.get_mut().release_unused(), 0);
}
