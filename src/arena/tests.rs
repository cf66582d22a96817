//! Arenas that are reached into: what is said of one that is broken, and what shows nowhere else.

mod pieces;
mod placement;

use core::alloc::Layout;
use core::ptr::NonNull;

use super::view::{Bitmap, View};
use super::{StaticArena, bins};
use crate::check::{Hardened, Misuse, Unchecked, Wrong};
use crate::heap::{Heap, Inspect, Owns, SharedHeap};
use crate::lock::NoLock;
use crate::sizing::{Bounded, Checked, Link, Sizing, Sizing4KiB, Sizing16MiB, Sizing128KiB};

const LAYOUT: Layout = Layout::new::<[u32; 12]>();

/// Runs `work` on an arena of 8 KiB.
fn with_view<S: Sizing>(work: impl FnOnce(&mut View<'_, S>)) {
    let arena = StaticArena::<8192, S, NoLock>::new();
    // SAFETY: nothing of the arena is used afterwards.
    assert_eq!(unsafe { arena.enter(work) }, Ok(()));
}

fn alloc<S: Sizing>(view: &mut View<'_, S>, layout: Layout) -> NonNull<u8> {
    view.alloc(layout).unwrap().cast()
}

/// Breaks an arena that has some live objects and some holes between them: it is told by this rule.
fn broken<S: Sizing>(rule: &str, damage: impl FnOnce(&mut View<'_, S>)) {
    with_view::<S>(|view| {
        let blocks = [(); 6].map(|()| alloc(view, LAYOUT));
        for block in [blocks[1], blocks[3]] {
            // SAFETY: it is live, with its layout.
            unsafe { view.dealloc(block, LAYOUT) };
        }
        view.cool();
        assert_eq!(view.verify(), Ok(()));
        damage(view);
        assert_eq!(view.verify().unwrap_err().rule, rule);
    });
}

/// The first free block, and its granules.
fn hole<S: Sizing>(view: &View<'_, S>) -> (u32, u32) {
    let start = view.find_bit(Bitmap::Bits, 0, view.state.frontier, true);
    (start, view.len_from_start(start))
}

#[test]
fn counts_that_can_not_be_are_found() {
    fn both<S: Sizing>() {
        broken::<S>("the frontier is inside the region", |view| {
            view.state.frontier = view.shape.granules + 1;
        });
        broken::<S>("every object takes granules", |view| view.state.tally += 10_000 << 32);
        broken::<S>("live, free and kept granules add up", |view| view.state.tally += 1);
    }
    both::<Sizing4KiB>();
    both::<Sizing128KiB>();
    both::<Bounded<Sizing16MiB>>();
    broken::<Checked<Sizing128KiB>>("every object has one start mark", |view| {
        let first = view.find_bit(Bitmap::Starts, 0, view.state.frontier, true);
        view.set_bit(Bitmap::Starts, first, false);
    });
}

#[test]
fn free_blocks_of_no_length_or_too_long_are_found() {
    fn lengths<S: Sizing>() {
        for len in [0, 1 << 20] {
            broken::<S>("a free block ends before the frontier", |view| {
                let (start, granules) = hole(view);
                assert!(granules > 4);
                // The length stands behind the links.
                let place = view.at(start).wrapping_add(S::LINK.bytes()).cast::<u32>();
                // SAFETY: a word of a free block.
                unsafe { place.write(len) };
            });
        }
    }
    lengths::<Sizing128KiB>();
    lengths::<Bounded<Sizing16MiB>>();
}

#[test]
fn links_out_of_the_used_part_are_found() {
    fn links<S: Sizing>() {
        let rule = "a link leads to a free block";
        broken::<S>(rule, |view| {
            let class = view.shape.class(hole(view).1);
            view.set_class_head(class, view.state.frontier + 1);
        });
        broken::<S>(rule, |view| {
            let (start, granules) = hole(view);
            // To the object behind the block.
            view.set_class_head(view.shape.class(granules), start + granules + 1);
        });
    }
    links::<Sizing128KiB>();
    links::<Bounded<Sizing16MiB>>();
}

/// An arena without checks has no room for what others find.
#[test]
fn arenas_without_checks_count_and_keep_nothing() {
    with_view::<Sizing128KiB>(|view| {
        view.note(&Misuse::new(Wrong::DoubleFree, 0x1000, LAYOUT), 0);
        assert_eq!(view.state.misuses, 1);
        assert!(view.finding("an arena").is_none());
        view.broken_at(3);
        assert!(!view.is_broken() && !view.mend());
    });
    with_view::<Checked<Sizing128KiB>>(|view| {
        view.note(&Misuse::new(Wrong::DoubleFree, 0x1000, LAYOUT), 0);
        assert_eq!(view.finding("an arena").map(|finding| finding.misuse().address), Some(0x1000));
    });
}

/// Few sizes have quick lists.
struct FewQuick;

impl Sizing for FewQuick {
    type Checks = Unchecked;
    const GRANULE: usize = 8;
    const LINK: Link = Link::Bits31;
    const OBJECT_SIZE_MAX: usize = 4096;
    const REGION_SIZE_MAX: usize = 1 << 20;
    const QUICK_SIZES: usize = 3;
}

/// A block that is longer than those of quick lists goes to its bin, whether there are such lists or not.
#[test]
fn what_is_too_long_for_quick_lists_goes_to_its_bin() {
    const SMALL: Layout = Layout::new::<u64>();
    with_view::<FewQuick>(|view| {
        let small = [(); 50].map(|()| alloc(view, SMALL));
        let long = [(); 6].map(|()| (alloc(view, LAYOUT), alloc(view, SMALL)).0);
        // Two sizes that go in turn, as one alone would be at hand without lists.
        let mut other = alloc(view, LAYOUT);
        for block in &small[..10] {
            // SAFETY: it is live, with its layout.
            unsafe { view.dealloc(*block, SMALL) };
            // SAFETY: as above.
            unsafe { view.dealloc(other, LAYOUT) };
            other = alloc(view, LAYOUT);
        }
        assert_eq!(view.state.quick_max, 3, "the lists are on");
        let free = view.usage().free;
        for block in [long[1], long[3]] {
            // SAFETY: as above.
            unsafe { view.dealloc(block, LAYOUT) };
        }
        assert_eq!(view.usage().free, free + 2 * LAYOUT.size());
        assert_eq!(view.verify(), Ok(()));
        let granules = view.granules_for(LAYOUT.size());
        assert!(bins::take_exact(view, granules, 8).is_some(), "one of them is in its bin");
    });
}

/// No block is of size zero: a core owns none, and who frees one has a block of another layout, or none.
#[test]
fn there_are_no_blocks_of_size_zero() {
    fn zero<S: Sizing>() {
        with_view::<S>(|view| {
            let block = alloc(view, LAYOUT);
            let nothing = Layout::new::<[u32; 0]>();
            assert!(view.owns(block, LAYOUT) && !view.owns(block, nothing));
            // SAFETY: none is needed, as the arena looks at what comes back.
            unsafe { view.dealloc(block, nothing) };
            let finding = view.finding("an arena").unwrap();
            assert_eq!((finding.misuse().wrong, finding.misuse().layout), (Wrong::WrongLayout, nothing));
            assert_eq!(view.usage().objects, 1, "it stays live");
        });
    }
    zero::<Checked<Sizing4KiB>>();
    zero::<Checked<Sizing128KiB>>();
    zero::<Checked<Sizing16MiB, Hardened>>();
}
