//! Blocks that are kept for the next request of their size: the one at hand, and those in quick lists.

use core::alloc::Layout;

use super::{UpTo, alloc, free, holes, layout, take, with};
use crate::AllocError;
use crate::arena::quick;
use crate::arena::shape::Shape;
use crate::arena::view::{HOT_OFF, View};
use crate::heap::Heap;
use crate::sizing::{Bounded, Sizing, Sizing4KiB, Sizing128KiB};

/// The block at hand: its first granule and its granules.
fn at_hand<S: Sizing>(view: &View<'_, S>) -> (u32, u32) {
    ((view.state.hot >> 32) as u32, view.state.hot as u32)
}

#[test]
fn the_block_freed_first_stays_at_hand_for_the_next_of_its_size() {
    fn comes_back<S: Sizing>(size: usize, align: usize) {
        with::<S>(|view| {
            let [layout, between] =
                [(size, align), (1, 1)].map(|(size, align)| Layout::from_size_align(size, align).unwrap());
            let [lower, higher] = [(); 2].map(|()| (alloc(view, layout), alloc(view, between)).0);
            free(view, higher, layout);
            free(view, lower, layout);
            assert_eq!([(); 2].map(|()| alloc(view, layout)), [higher, lower]);
        });
    }
    fn all<S: Sizing>() {
        let largest = S::OBJECT_SIZE_MAX.min(2000);
        for (size, align) in [(1, 1), (40, 8), (24, 64), (80, 32), (largest, 1), (largest - 8, 16)] {
            comes_back::<S>(size, align);
        }
    }
    all::<Sizing4KiB>();
    all::<Sizing128KiB>();
    all::<Bounded<Sizing128KiB>>();
    all::<UpTo<1001, 0>>();
    all::<UpTo<1001, 64>>();
}

#[test]
fn a_block_of_another_size_comes_to_hand_too_where_there_are_no_quick_lists() {
    fn both<S: Sizing>() {
        with::<S>(|view| {
            let [long, short] = [3, 2].map(|granules| layout(view, granules));
            let blocks = [long, short].map(|layout| alloc(view, layout));
            free(view, blocks[0], long);
            assert_eq!(at_hand(view), (blocks[0], 3));
            assert_eq!(alloc(view, long), blocks[0]);
            free(view, blocks[1], short);
            assert_eq!(at_hand(view), (blocks[1], 2));
        });
    }
    both::<Sizing4KiB>();
    both::<Sizing128KiB>();
    both::<Bounded<Sizing128KiB>>();
}

/// A free block of just the size is taken without merging the one at hand.
#[test]
fn a_block_of_an_exact_class_leaves_the_one_at_hand_alone() {
    with::<Bounded<Sizing128KiB>>(|view| {
        let most = 1 << view.shape.exact;
        for granules in [2, 3, most - 1, most] {
            let one = layout(view, 1);
            let other = alloc(view, one);
            take(view, 1);
            let [block] = holes(view, [granules]);
            free(view, other, one);
            let exact = layout(view, granules);
            assert_eq!(alloc(view, exact), block);
            assert_eq!(at_hand(view), (other, 1));
            assert_eq!(alloc(view, one), other);
        }
    });
}

// ---- quick lists ----------------------------------------------------------------------------------------------

/// So many live objects of one granule, of which each second may be freed without merging.
fn objects<const N: usize, S: Sizing>(view: &mut View<'_, S>) -> [u32; N] {
    let one = layout(view, 1);
    [(); N].map(|()| alloc(view, one))
}

/// Frees two of some objects: one is at hand then, the other goes to the placement.
fn free_two<S: Sizing>(view: &mut View<'_, S>, objects: &[u32]) {
    let one = layout(view, 1);
    free(view, objects[0], one);
    assert_eq!(view.state.quick_max, 0);
    free(view, objects[2], one);
}

/// An arena with quick lists, and a block of one granule at hand.
fn with_lists<S: Sizing>(work: impl FnOnce(&mut View<'_, S>)) {
    with::<S>(|view| {
        let objects = objects::<60, S>(view);
        free_two(view, &objects);
        assert!(view.state.quick_max > 0);
        work(view);
    });
}

/// The memory of the lists is found by the first request that needs it, with no block at hand as well.
#[test]
fn what_the_lists_take_is_given_back_when_nothing_else_is_free() {
    fn full<S: Sizing>() {
        with_lists::<S>(|view| {
            let one = layout(view, 1);
            while view.alloc(one).is_ok() {}
            assert_eq!((view.state.quick_max, view.state.used()), (0, view.shape.granules));
        });
    }
    full::<Sizing128KiB>();
    full::<UpTo<1001, 64>>();
}

/// The first request that finds no room has the block at hand merged and the lists' memory given back at once: the next finds no more than that did.
#[test]
fn all_that_is_kept_is_merged_before_a_request_is_refused() {
    fn full<S: Sizing>() {
        with_lists::<S>(|view| {
            let two = layout(view, 2);
            while view.alloc(two).is_ok() {}
            assert_eq!((view.state.quick_max, view.alloc(two)), (0, Err(AllocError)));
        });
    }
    full::<Sizing128KiB>();
    full::<UpTo<1001, 64>>();
}

#[test]
fn quick_lists_come_with_32_objects() {
    fn come<const N: usize>() -> bool {
        let mut come = false;
        with::<Sizing128KiB>(|view| {
            let objects = objects::<N, Sizing128KiB>(view);
            free_two(view, &objects);
            assert_eq!(view.state.objects() as usize, N - 2);
            come = view.state.quick_max > 0;
        });
        come
    }
    assert!(!come::<33>());
    assert!(come::<34>());
}

#[test]
fn quick_lists_come_while_a_quarter_of_the_region_is_free() {
    for (missing, come) in [(0, true), (1, false)] {
        with::<Sizing128KiB>(|view| {
            let objects = objects::<64, Sizing128KiB>(view);
            let quarter = view.shape.granules / 4;
            let large = layout(view, view.shape.granules - quarter - 62 + missing);
            alloc(view, large);
            free_two(view, &objects);
            assert_eq!(view.shape.granules - view.state.used(), quarter - missing);
            assert_eq!(view.state.quick_max > 0, come);
        });
    }
}

/// Where each block that is freed is at hand for the next, none goes to the placement on its own.
#[test]
fn quick_lists_come_when_the_block_at_hand_is_merged() {
    with::<Sizing128KiB>(|view| {
        let [one, two] = [1, 2].map(|granules| layout(view, granules));
        let objects = objects::<60, Sizing128KiB>(view);
        free(view, objects[3], one);
        assert_eq!(view.state.quick_max, 0);
        alloc(view, two);
        assert!(view.state.quick_max > 0);
    });
}

#[test]
fn the_table_of_quick_lists_takes_a_64th_of_the_region_and_has_no_list_for_what_no_object_takes() {
    fn lists<S: Sizing>() -> (usize, usize) {
        let mut lists = (0, 0);
        with_lists::<S>(|view| {
            let part = ((view.shape.granules as usize) << view.shift()) / 64;
            lists = (usize::from(view.state.quick_max), part / Shape::head_bytes::<S>());
        });
        lists
    }
    let (lists_of_4_bytes, most) = lists::<UpTo<4096, 64>>();
    assert!(lists_of_4_bytes == most && (28..=32).contains(&most));
    let (lists_of_2_bytes, most) = lists::<Sizing128KiB>();
    assert!(lists_of_2_bytes == most && (56..64).contains(&most));
    assert_eq!(lists::<UpTo<4096, 5>>().0, 5);
    assert_eq!(lists::<UpTo<32, 64>>().0, 4);
}

#[test]
fn what_has_a_quick_list_goes_there_and_comes_back_from_there_last_first() {
    with_lists::<Sizing128KiB>(|view| {
        let most = u32::from(view.state.quick_max);
        for granules in [2, 3, most] {
            let layout = layout(view, granules);
            let blocks = [(); 3].map(|()| alloc(view, layout));
            for block in blocks {
                free(view, block, layout);
            }
            assert_eq!(view.quick_head(granules), blocks[2] + 1);
            assert_eq!([(); 3].map(|()| alloc(view, layout)), [blocks[2], blocks[1], blocks[0]]);
        }
    });
}

/// With sizes in turn, a block at hand is in the way of the lists more often than it is of use.
#[test]
fn no_second_size_comes_to_hand_beside_quick_lists_until_one_of_these_runs_dry() {
    with_lists::<Sizing128KiB>(|view| {
        let [one, two, five] = [1, 2, 5].map(|granules| layout(view, granules));
        let blocks = [(); 2].map(|()| alloc(view, two));
        alloc(view, one);
        assert_eq!(at_hand(view).1, 0);
        free(view, blocks[0], two);
        assert_eq!((view.state.hot, view.quick_head(2)), (HOT_OFF, blocks[0] + 1));
        let long = alloc(view, five);
        free(view, long, five);
        assert_eq!(at_hand(view), (long, 5), "there was none in the list of five granules");
        assert_eq!(alloc(view, five), long);
        free(view, blocks[1], two);
        assert_eq!((view.state.hot, view.quick_head(2)), (HOT_OFF, blocks[1] + 1));
    });
}

#[test]
fn where_memory_is_short_a_longer_kept_block_is_divided_and_the_lists_stay() {
    with_lists::<Sizing128KiB>(|view| {
        let aligned = Layout::from_size_align(6 << view.shift(), 64).unwrap();
        let long = alloc(view, aligned);
        for granules in [32, 2, 1] {
            while view.take(granules, 1).is_some() {
                view.count(granules);
            }
        }
        free(view, long, aligned);
        let part = Layout::from_size_align(2 << view.shift(), 64).unwrap();
        assert_eq!(alloc(view, part), long);
        assert!(view.state.quick_max > 0);
        assert_eq!(view.quick_head(4), long + 3, "the rest");
        let rest = layout(view, 4);
        assert_eq!(alloc(view, rest), long + 2);
        // A shorter one will not do.
        let [part, three] = [2, 3].map(|granules| layout(view, granules));
        free(view, long, part);
        free(view, long + 2, rest);
        assert_eq!(alloc(view, three), long + 2);
    });
}

/// After they were emptied quick lists come back after frees of a quarter of the objects, but 64 at most.
#[test]
fn quick_lists_come_back_after_a_pause() {
    fn frees<const N: usize>() -> usize {
        let mut frees = 0;
        with::<Sizing128KiB>(|view| {
            let objects = objects::<N, Sizing128KiB>(view);
            free_two(view, &objects);
            assert!(quick::switch_off(view));
            let one = layout(view, 1);
            for &object in objects[3..].iter().step_by(2) {
                free(view, object, one);
                frees += 1;
                if view.state.quick_max > 0 {
                    break;
                }
            }
            assert!(view.state.quick_max > 0);
        });
        frees
    }
    assert_eq!(frees::<122>(), 120 / 4 + 1);
    assert_eq!(frees::<402>(), 64 + 1);
}
