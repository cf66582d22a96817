//! Where blocks are placed, in numbers: which free block is taken, which end of it, and what is kept at hand.

mod at_hand;
mod looked_at;

use core::alloc::Layout;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use crate::arena::Arena;
use crate::arena::view::View;
use crate::check::Unchecked;
use crate::heap::{Heap, Inspect};
use crate::sizing::{Bounded, Link, Sizing, Sizing4KiB, Sizing128KiB};

/// A sizing with objects of up to `MAX` bytes and so many quick lists.
struct UpTo<const MAX: usize, const QUICK: usize>;

impl<const MAX: usize, const QUICK: usize> Sizing for UpTo<MAX, QUICK> {
    type Checks = Unchecked;
    const GRANULE: usize = 8;
    const LINK: Link = Link::Bits31;
    const OBJECT_SIZE_MAX: usize = MAX;
    const REGION_SIZE_MAX: usize = 1 << 20;
    const QUICK_SIZES: usize = QUICK;
}

#[repr(align(64))]
struct Memory([MaybeUninit<u8>; 8192]);

/// Runs `work` on an arena in 8 KiB that others have used: no bit of them is zero.
fn with<S: Sizing>(work: impl FnOnce(&mut View<'_, S>)) {
    let mut memory = Memory([MaybeUninit::new(0xff); 8192]);
    let mut arena = Arena::<S>::from_slice(&mut memory.0);
    let mut view = arena.view();
    work(&mut view);
    assert_eq!(view.verify(), Ok(()));
}

/// The layout of so many granules.
fn layout<S: Sizing>(view: &View<'_, S>, granules: u32) -> Layout {
    Layout::from_size_align((granules as usize) << view.shift(), view.granule()).unwrap()
}

/// The first granule of a new block of this layout.
fn alloc<S: Sizing>(view: &mut View<'_, S>, layout: Layout) -> u32 {
    let block = view.alloc(layout).unwrap().cast::<u8>();
    assert_eq!(block.addr().get() % layout.align(), 0);
    view.index_of(block.addr().get())
}

fn free<S: Sizing>(view: &mut View<'_, S>, index: u32, layout: Layout) {
    let block = NonNull::new(view.at(index)).unwrap();
    // SAFETY: by the callers a live block of that layout, or the arena looks at what comes back.
    unsafe { view.dealloc(block, layout) };
}

/// Takes a block from the placement, past all that is kept at hand.
fn take<S: Sizing>(view: &mut View<'_, S>, granules: u32) -> u32 {
    let index = view.take(granules, 1).unwrap();
    view.count(granules);
    index
}

fn give<S: Sizing>(view: &mut View<'_, S>, index: u32, granules: u32) {
    view.uncount(granules);
    view.give(index, granules);
}

/// Makes free blocks of these lengths between taken ones, in lists in the order of their addresses, and tells where they begin.
fn holes<const N: usize, S: Sizing>(view: &mut View<'_, S>, lens: [u32; N]) -> [u32; N] {
    let starts = lens.map(|len| {
        let start = take(view, len);
        take(view, 1);
        start
    });
    free_in_order(view, starts, lens);
    starts
}

/// The same, each `past` granules behind a multiple of `align`.
fn holes_past<const N: usize, S: Sizing>(
    view: &mut View<'_, S>,
    align: usize,
    past: [u32; N],
    lens: [u32; N],
) -> [u32; N] {
    let mut past = past.into_iter();
    let starts = lens.map(|len| {
        take(view, 1);
        let start = view.align_index(view.state.frontier, align) + past.next().unwrap();
        if start > view.state.frontier {
            take(view, start - view.state.frontier);
        }
        take(view, len)
    });
    take(view, 1);
    free_in_order(view, starts, lens);
    starts
}

/// A block goes behind the first of its list if it does not lie lower: so the last but the first come first.
fn free_in_order<const N: usize, S: Sizing>(view: &mut View<'_, S>, starts: [u32; N], lens: [u32; N]) {
    give(view, starts[0], lens[0]);
    for place in (1..N).rev() {
        give(view, starts[place], lens[place]);
    }
}

/// The lengths of the first two classes that have several: the first and the last of each.
fn wide_classes<S: Sizing>(view: &View<'_, S>) -> [(u32, u32); 2] {
    let first = (1 << view.shape.exact) + 1;
    let last_like = |first: u32| {
        let class = view.shape.class(first);
        (first..).take_while(|&len| view.shape.class(len) == class).last().unwrap()
    };
    let last = last_like(first);
    let both = [(first, last), (last + 1, last_like(last + 1))];
    // As many as the tests below want.
    assert!(both.iter().all(|(first, last)| last - first >= 6), "{both:?}");
    both
}

#[test]
fn up_to_eight_granules_come_from_the_low_end_of_a_free_block_and_more_from_the_high_end() {
    fn both<S: Sizing>() {
        for granules in [1, 2, 7, 8, 9, 10, 16] {
            with::<S>(|view| {
                let [hole] = holes(view, [40]);
                let from_the_high_end = if granules > 8 { 40 - granules } else { 0 };
                assert_eq!(take(view, granules), hole + from_the_high_end, "{granules} granules");
            });
        }
    }
    both::<Sizing128KiB>();
    both::<Bounded<Sizing128KiB>>();
}

#[test]
fn a_free_block_goes_in_front_of_its_list_if_it_lies_lower_and_else_behind_the_first() {
    fn order(order: [usize; 4], comes: [usize; 4]) {
        with::<Bounded<Sizing128KiB>>(|view| {
            let blocks = [(); 4].map(|()| {
                let start = take(view, 3);
                take(view, 1);
                start
            });
            for place in order {
                give(view, blocks[place], 3);
            }
            assert_eq!([(); 4].map(|()| take(view, 3)), comes.map(|place| blocks[place]));
        });
    }
    order([0, 1, 2, 3], [0, 3, 2, 1]);
    order([3, 2, 1, 0], [0, 1, 2, 3]);
    order([1, 3, 0, 2], [0, 2, 1, 3]);
}

#[test]
fn blocks_that_come_back_in_any_order_are_one_free_block() {
    fn merged<S: Sizing>(granules: u32, order: [usize; 4]) {
        with::<S>(|view| {
            let layout = layout(view, granules);
            let blocks = [(); 5].map(|()| alloc(view, layout));
            for place in order {
                free(view, blocks[place], layout);
            }
            assert!(view.cool());
            assert_eq!(view.verify(), Ok(()));
            assert_eq!(take(view, 4 * granules), blocks[0]);
        });
    }
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [0, 1, 3, 2], [0, 2, 1, 3], [1, 3, 0, 2]] {
        for granules in 1..5 {
            merged::<Sizing4KiB>(granules, order);
            merged::<Sizing128KiB>(granules, order);
            merged::<Bounded<Sizing4KiB>>(granules, order);
        }
    }
}

#[test]
fn of_a_class_of_longer_blocks_the_first_is_taken() {
    fn both<S: Sizing>() {
        with::<S>(|view| {
            let [(short, _), (_, long)] = wide_classes(view);
            let [first, _] = holes(view, [long, long - 4]);
            assert_eq!(take(view, short), first + long - short);
        });
        // Aligned as well, where every block is long enough for that.
        with::<S>(|view| {
            let [(_, short), (_, long)] = wide_classes(view);
            let align = 2 * view.granule();
            let [first, _] = holes(view, [long, long - 4]);
            let found = view.take(short - 1, align).unwrap();
            view.count(short - 1);
            assert!((first..first + long).contains(&found), "{found} is not in the first, {first}");
        });
    }
    both::<Sizing128KiB>();
    both::<Bounded<Sizing128KiB>>();
}

#[test]
fn the_shortest_that_fits_of_the_first_eight_of_a_class_is_taken() {
    fn both<S: Sizing>() {
        with::<S>(|view| {
            let [(first, _), _] = wide_classes(view);
            let blocks = holes(view, [first, first + 4, first + 3, first + 3, first + 6]);
            assert_eq!(take(view, first + 2), blocks[2] + 1, "the first of the shortest that fit");
        });
        for (place, taken) in [(7, 7), (8, 0)] {
            with::<S>(|view| {
                let [(first, _), _] = wide_classes(view);
                let mut lens = [first + 4; 10];
                lens[place] = first + 2;
                let blocks = holes(view, lens);
                assert_eq!(take(view, first + 2), blocks[taken] + lens[taken] - first - 2);
            });
        }
    }
    both::<Sizing128KiB>();
    both::<Bounded<Sizing128KiB>>();
}

/// Eight blocks of a class are too short, and the ninth is not.
fn the_ninth_fits<S: Sizing>() -> bool {
    let mut found = false;
    with::<S>(|view| {
        let [(first, _), _] = wide_classes(view);
        let mut lens = [first; 9];
        lens[8] = first + 4;
        let blocks = holes(view, lens);
        found = take(view, first + 2) == blocks[8] + 2;
    });
    found
}

#[test]
fn in_bounded_time_no_more_than_eight_blocks_of_a_class_are_looked_at() {
    assert!(the_ninth_fits::<Sizing128KiB>());
    assert!(!the_ninth_fits::<Bounded<Sizing128KiB>>());
    // All of the last class, as there is none behind it.
    with::<UpTo<4096, 0>>(|view| {
        let last = (1..).find(|&len| view.shape.class(len) == usize::from(view.shape.last)).unwrap();
        let mut lens = [last; 9];
        lens[8] = last + 4;
        let blocks = holes(view, lens);
        assert_eq!(take(view, last + 2), blocks[8] + 2);
    });
}

/// Blocks of so many classes can not hold an aligned granule, and one of a longer class can, as it happens. Whether it is found.
fn found_behind<const N: usize, S: Sizing>() -> bool {
    let mut found = false;
    with::<S>(|view| {
        let align = 16 * view.granule();
        let mut lens = [9; N];
        // The last of the lengths before nine, one each; and the one that holds it begins with it.
        (0..N - 1).for_each(|place| lens[place] = 9 - (N - 1 - place) as u32);
        let past = core::array::from_fn(|place| u32::from(place < N - 1));
        let blocks = holes_past(view, align, past, lens);
        let index = view.take(1, align).unwrap();
        view.count(1);
        found = index == blocks[N - 1];
    });
    found
}

#[test]
fn in_bounded_time_no_more_than_eight_classes_are_looked_at_for_an_aligned_block() {
    assert!(found_behind::<8, Sizing128KiB>() && found_behind::<9, Sizing128KiB>());
    assert!(found_behind::<8, Bounded<Sizing128KiB>>());
    assert!(!found_behind::<9, Bounded<Sizing128KiB>>());
}

/// A block that is long enough wherever it begins is found in any case.
#[test]
fn eight_classes_without_an_aligned_block_do_not_hide_one_that_is_long_enough() {
    with::<Bounded<Sizing128KiB>>(|view| {
        let align = 16 * view.granule();
        let blocks = holes_past(view, align, [1; 9], [1, 2, 3, 4, 5, 6, 7, 8, 16]);
        assert_eq!(view.take(1, align), Some(blocks[8] + 15));
        view.count(1);
    });
}

/// Nor does it take long to refuse it again.
#[test]
fn what_was_not_to_be_had_is_not_looked_for_until_something_comes_back() {
    with::<Bounded<Sizing128KiB>>(|view| {
        let [(first, _), _] = wide_classes(view);
        let mut lens = [first; 9];
        lens[8] = first + 4;
        let other = [(); 2].map(|()| take(view, 1))[0];
        let blocks = holes(view, lens);
        take(view, view.shape.granules - view.state.frontier);
        let (short, long) = (layout(view, first), layout(view, first + 2));
        assert!(view.alloc(long).is_err(), "it would be the ninth");
        assert_eq!(alloc(view, short), blocks[0]);
        assert!(view.alloc(long).is_err(), "nothing has come back");
        give(view, other, 1);
        assert_eq!(alloc(view, long), blocks[8] + 2);
    });
}

#[test]
fn no_object_is_larger_than_its_sizing_allows_whatever_is_free() {
    fn refused<S: Sizing>() {
        with::<S>(|view| {
            let largest = Layout::from_size_align(S::OBJECT_SIZE_MAX, 1).unwrap();
            let granules = view.granules_for(largest.size()) as u32;
            // One granule more than the largest takes, and just as many: in lists, and at hand.
            holes(view, [granules + 1, granules]);
            let block = alloc(view, largest);
            free(view, block, largest);
            for more in 1..=2 * S::GRANULE {
                let larger = Layout::from_size_align(largest.size() + more, 1).unwrap();
                assert!(view.alloc(larger).is_err(), "{} bytes", larger.size());
            }
            assert_eq!(alloc(view, largest), block, "the block at hand is still there");
        });
    }
    refused::<UpTo<5, 0>>();
    refused::<UpTo<64, 0>>();
    refused::<UpTo<60, 64>>();
    refused::<UpTo<1001, 0>>();
    refused::<UpTo<1024, 64>>();
}
