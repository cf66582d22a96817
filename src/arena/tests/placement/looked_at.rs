//! What arenas that check look at, and what they do not believe.

use core::alloc::Layout;

use super::{UpTo, alloc, free, layout, with};
use crate::arena::view::{Bitmap, Node, View};
use crate::check::{Checks, Hardened, Ignore, Off, On, Wrong};
use crate::heap::{Heap, Inspect};
use crate::sizing::{Checked, Sizing, Sizing4KiB, Sizing128KiB};

/// Only links are encoded, and frees looked at.
struct Encoded;

impl Checks for Encoded {
    type Frees = On;
    type Quarantine = Off;
    type Report = Ignore;
    const ENCODE: bool = true;
}

type Linked = Checked<Sizing128KiB, Encoded>;

/// Makes free blocks of these lengths, and takes the granules between them for live objects.
fn linked<const N: usize>(view: &mut View<'_, Linked>, lens: [u32; N]) -> [u32; N] {
    let one = layout(view, 1);
    let blocks = lens.map(|len| {
        let len = layout(view, len);
        (alloc(view, len), alloc(view, one)).0
    });
    for place in 0..N {
        let len = layout(view, lens[place]);
        free(view, blocks[place], len);
    }
    assert_eq!(view.verify(), Ok(()));
    blocks
}

/// The bits where nothing was ever handed out are whatever the region held, and none of them is looked at.
#[test]
fn a_layout_that_reaches_past_the_used_part_is_not_the_block_s() {
    fn refused<S: Sizing>() {
        with::<S>(|view| {
            let [before, right] = [20, 4].map(|granules| layout(view, granules));
            alloc(view, before);
            let block = alloc(view, right);
            assert_eq!(block, 20);
            // Up to the first granule of which no bit is known, and other ends.
            for granules in [5, 11, 12, 13, 44, view.shape.granules] {
                let wrong = layout(view, granules);
                free(view, block, wrong);
                let finding = view.finding("an arena").unwrap();
                assert_eq!(finding.misuse().wrong, Wrong::WrongLayout, "{granules} granules");
            }
            free(view, block, right);
            assert_eq!((view.usage().objects, view.misuses()), (1, 6));
        });
    }
    refused::<Checked<Sizing4KiB>>();
    refused::<Checked<Sizing128KiB>>();
    refused::<Linked>();
}

#[test]
fn every_bit_of_the_secret_changes_what_a_word_is_encoded_with_wherever_it_lies() {
    fn keys(secret: usize) -> [u32; 64] {
        let mut keys = [0; 64];
        with::<Linked>(|view| {
            view.notes().unwrap().secret.set(secret);
            keys = core::array::from_fn(|granule| view.key(view.at(granule as u32)));
        });
        keys
    }
    for secret in [1, usize::MAX] {
        let before = keys(secret);
        let mut apart = before;
        apart.sort_unstable();
        assert!(apart.windows(2).all(|two| two[0] != two[1]), "two places have the same");
        for bit in 1..usize::BITS {
            let after = keys(secret ^ 1 << bit);
            assert!((0..64).all(|place| before[place] != after[place]), "bit {bit} of {secret:x}");
        }
    }
}

#[test]
fn a_link_to_another_list_or_past_the_used_part_is_not_believed() {
    with::<Linked>(|view| {
        let [first, second, other] = linked(view, [3, 3, 5]);
        assert_eq!((view.node(first).next, view.is_broken()), (second + 1, false));
        view.set_next(first, other + 1);
        assert_eq!((view.node(first).next, view.is_broken()), (0, true));
        assert!(view.mend());
        assert_eq!((view.node(first).next, view.is_broken()), (second + 1, false));
        view.set_prev(second, other + 1);
        assert_eq!((view.node(second).prev, view.is_broken()), (0, true));
        assert!(view.mend());
        assert_eq!((view.node(second).prev, view.is_broken()), (first + 1, false));
        // The first block that was never handed out, whose bit is what the region held, and made to look like one of the list.
        let rest = layout(view, 64 - view.state.frontier % 32);
        alloc(view, rest);
        let frontier = view.state.frontier;
        assert!(view.bit(Bitmap::Bits, frontier));
        view.set_node(frontier, Node { next: 0, prev: first + 1 }, 1);
        view.set_next(first, frontier + 1);
        assert_eq!((view.node(first).next, view.is_broken()), (0, true));
        assert!(view.mend());
    });
}

#[test]
fn what_is_told_of_broken_links_names_the_free_block_also_the_very_first() {
    with::<Linked>(|view| {
        let blocks = linked(view, [3, 4, 5]);
        assert_eq!(blocks[0], 0);
        for block in blocks {
            view.broken_at(block);
            assert!(view.mend());
            let finding = view.finding("an arena").unwrap();
            assert_eq!(finding.misuse().wrong, Wrong::Metadata);
            assert_eq!(finding.misuse().address, view.at(block).addr());
        }
    });
}

#[test]
fn a_good_size_is_what_a_block_has() {
    fn all<S: Sizing>() {
        with::<S>(|view| {
            for size in 1..40 {
                let layout = Layout::from_size_align(size, 1).unwrap();
                assert_eq!(view.good_size(layout), view.alloc(layout).unwrap().len(), "{size}");
            }
        });
    }
    all::<Sizing4KiB>();
    all::<Sizing128KiB>();
    all::<UpTo<1001, 0>>();
    all::<Checked<Sizing128KiB, Hardened>>();
}
