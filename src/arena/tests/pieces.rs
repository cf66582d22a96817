//! The pieces an arena is made of, each by itself: what a report says of objects, what is looked at in free memory, and what a check of all of it refuses.

extern crate std;

use core::alloc::Layout;
use core::ptr::NonNull;
use std::boxed::Box;

use super::{LAYOUT, alloc, broken, hole, with_view};
use crate::arena::view::{Bitmap, View};
use crate::arena::{Arena, StaticArena};
use crate::check::{Abort, Checks, Damage, Hardened, Misuse, Off, On, Wrong};
use crate::heap::{ChunkKind, Cursor, Heap, Inspect, SharedHeap};
use crate::lock::NoLock;
use crate::sizing::{Bounded, Checked, Sizing, Sizing4KiB, Sizing16MiB, Sizing128KiB};

/// Bytes of eight at a time, so that they are whole granules in each of the arenas here.
const LONG: Layout = Layout::new::<[u32; 26]>();
const SHORT: Layout = Layout::new::<[u32; 2]>();

fn free<S: Sizing>(view: &mut View<'_, S>, block: NonNull<u8>, layout: Layout) {
    // SAFETY: it is live, with its layout; or, where the arena checks, it may be refused.
    unsafe { view.dealloc(block, layout) };
}

fn found<S: Sizing>(view: &mut View<'_, S>) -> Option<Misuse> {
    view.finding("an arena").map(|finding| *finding.misuse())
}

/// What is found wrong with a free, and how long the object is said to be.
fn refused<S: Sizing>(view: &mut View<'_, S>, block: NonNull<u8>, layout: Layout) -> (Wrong, usize) {
    free(view, block, layout);
    let misuse = found(view).unwrap();
    (misuse.wrong, misuse.owner.map_or(0, |owner| owner.object_size))
}

/// A byte so far behind a block's first.
fn behind(block: NonNull<u8>, offset: usize) -> NonNull<u8> {
    block.map_addr(|address| address.checked_add(offset).unwrap())
}

/// Writes to a byte of the arena, and tells what was there.
fn write<S: Sizing>(view: &View<'_, S>, block: NonNull<u8>, offset: usize, byte: u8) -> u8 {
    let ptr = view.origin.wrapping_add(block.addr().get() - view.origin.addr() + offset);
    // SAFETY: a byte of the region, which nobody uses meanwhile.
    let was = unsafe { ptr.read() };
    // SAFETY: as above.
    unsafe { ptr.write(byte) };
    was
}

#[test]
fn reports_tell_how_long_objects_are() {
    fn sizes<S: Sizing>() {
        with_view::<S>(|view| {
            let layouts = [LAYOUT, SHORT, LONG, SHORT, LAYOUT, LONG];
            let blocks = layouts.map(|layout| alloc(view, layout));
            // Before a live object, before a free block, and before what was never used.
            free(view, blocks[3], SHORT);
            for (block, layout) in blocks.into_iter().zip(layouts) {
                if block == blocks[3] {
                    continue;
                }
                let longer = Layout::from_size_align(layout.size() + 16, 4).unwrap();
                assert_eq!(refused(view, block, longer), (Wrong::WrongLayout, layout.size()));
                for offset in [4, layout.size() - 1] {
                    let inside = behind(block, offset);
                    assert_eq!(refused(view, inside, layout), (Wrong::Interior, layout.size()));
                }
            }
        });
    }
    sizes::<Checked<Sizing4KiB>>();
    sizes::<Checked<Sizing128KiB>>();
    sizes::<Checked<Sizing16MiB>>();
}

#[test]
fn free_memory_belongs_to_no_object() {
    fn places<S: Sizing>() {
        with_view::<S>(|view| {
            let blocks = [(); 4].map(|()| alloc(view, LAYOUT));
            // Between two live objects, and behind the last.
            for block in [blocks[1], blocks[3]] {
                free(view, block, LAYOUT);
                assert_eq!(refused(view, block, LAYOUT), (Wrong::DoubleFree, 0));
                assert_eq!(refused(view, behind(block, 16), LAYOUT), (Wrong::DoubleFree, 0));
                assert_eq!(refused(view, behind(block, 17), LAYOUT), (Wrong::Foreign, 0));
            }
            assert_eq!(refused(view, blocks[2], SHORT), (Wrong::WrongLayout, LAYOUT.size()));
        });
    }
    places::<Checked<Sizing4KiB>>();
    places::<Checked<Sizing128KiB>>();
    places::<Checked<Sizing16MiB>>();
}

/// Arenas with all checks, of each kind.
macro_rules! hardened {
    ($test:ident) => {
        $test::<Checked<Sizing4KiB, Hardened>>();
        $test::<Checked<Sizing128KiB, Hardened>>();
        $test::<Checked<Sizing16MiB, Hardened>>();
    };
}

#[test]
fn a_write_to_what_was_freed_is_told_byte_by_byte() {
    fn bytes<S: Sizing>() {
        with_view::<S>(|view| {
            let len = view.granules_for(LAYOUT.size()) << view.shift();
            for offset in 0..len {
                let block = alloc(view, LAYOUT);
                free(view, block, LAYOUT);
                assert_eq!(write(view, block, offset, 0x55), 0, "freed memory is zero");
                assert_eq!(alloc(view, LAYOUT), block);
                let misuse = found(view).unwrap();
                assert_eq!((misuse.wrong, misuse.address), (Wrong::WrittenAfterFree, block.addr().get()));
                let damage = Damage { offset: offset as isize, expected: 0, found: 0x55 };
                assert_eq!(misuse.damage, Some(damage));
                free(view, block, LAYOUT);
            }
            assert_eq!((found(view), view.verify()), (None, Ok(())));
        });
    }
    hardened!(bytes);
}

/// Links are not written over what shows a misuse.
#[test]
fn a_write_to_where_links_will_be_is_told() {
    fn words<S: Sizing>() {
        with_view::<S>(|view| {
            let blocks = [LONG, SHORT].map(|layout| alloc(view, layout));
            let short = view.granules_for(SHORT.size()) << view.shift();
            // Links, and a length.
            for offset in 0..S::LINK.bytes() + 4 {
                free(view, blocks[0], LONG);
                write(view, blocks[0], short + offset, 0x55);
                // From the front of the free block; what is left of it has its links there.
                let block = alloc(view, SHORT);
                assert_eq!(block, blocks[0]);
                let misuse = found(view).unwrap();
                let rest = behind(block, short).addr().get();
                assert_eq!((misuse.wrong, misuse.address), (Wrong::WrittenAfterFree, rest));
                assert_eq!(misuse.damage.map(|damage| damage.offset), Some(offset as isize));
                assert_eq!(view.verify(), Ok(()));
                free(view, block, SHORT);
                assert_eq!(alloc(view, LONG), blocks[0]);
                assert_eq!(found(view), None);
            }
        });
    }
    words::<Checked<Sizing128KiB, Hardened>>();
    words::<Checked<Sizing16MiB, Hardened>>();
    words::<Checked<Bounded<Sizing4KiB>, Hardened>>();
}

/// The block that showed that a link is broken is handed out, and no other beside it.
#[test]
fn who_meets_a_broken_link_gets_one_block() {
    fn one<S: Sizing>() {
        with_view::<S>(|view| {
            let blocks = [(); 6].map(|()| alloc(view, LAYOUT));
            for block in [blocks[1], blocks[3]] {
                free(view, block, LAYOUT);
            }
            let was = write(view, blocks[1], 0, 0);
            write(view, blocks[1], 0, was ^ 4);
            let used = view.usage();
            assert!(blocks[1..4].contains(&alloc(view, LAYOUT)));
            assert_eq!(found(view).map(|misuse| misuse.wrong), Some(Wrong::Metadata));
            assert_eq!(view.usage().objects, used.objects + 1);
            assert_eq!(view.verify(), Ok(()));
        });
    }
    one::<Checked<Sizing128KiB, Hardened>>();
    one::<Checked<Sizing16MiB, Hardened>>();
}

/// Frees with other sizes of as many granules are told with the object's own; gives the first of the layouts.
fn sizes_are_told<S: Sizing>(view: &mut View<'_, S>) -> Layout {
    // The last has as short a zone as there is.
    let layouts = [41, 42, 43, 44].map(|size| Layout::from_size_align(size, 1).unwrap());
    for layout in layouts {
        let block = alloc(view, layout);
        for other in layouts.into_iter().filter(|&other| other != layout) {
            assert_eq!(refused(view, block, other), (Wrong::WrongLayout, layout.size()));
        }
        free(view, block, layout);
        assert_eq!((found(view), view.usage().objects), (None, 0));
    }
    layouts[0]
}

#[test]
fn the_zone_tells_the_objects_size() {
    fn sizes<S: Sizing>() {
        with_view::<S>(|view| {
            let layout = sizes_are_told(view);
            let block = alloc(view, layout);
            // The last byte of the zone, which tells how long that is.
            let len = view.granules_for(41) << view.shift();
            let was = write(view, block, len - 1, 0);
            free(view, block, layout);
            let misuse = found(view).unwrap();
            let damage = Damage { offset: len as isize - 1, expected: was, found: 0 };
            assert_eq!((misuse.wrong, misuse.damage), (Wrong::WrittenBehind, Some(damage)));
            assert_eq!(view.usage().objects, 0, "the block has gone");
        });
    }
    hardened!(sizes);
}

/// A zone of one byte at least.
struct ShortZone;

impl Checks for ShortZone {
    type Frees = On;
    type Quarantine = Off;
    type Report = Abort;
    const RED_ZONE: usize = 1;
}

/// Whatever is written over a whole block: it is said to be one of some size.
#[test]
fn no_zone_is_that_of_an_object_of_no_size() {
    with_view::<Checked<Sizing16MiB, ShortZone>>(|view| {
        let layout = Layout::new::<[u8; 3]>();
        let block = alloc(view, layout);
        let right = write(view, block, 7, 0);
        for byte in (0..=255).filter(|&byte| byte != right) {
            let block = alloc(view, layout);
            for offset in 0..8 {
                write(view, block, offset, byte);
            }
            let (wrong, object_size) = refused(view, block, layout);
            assert!(matches!(wrong, Wrong::WrittenBehind | Wrong::WrongLayout), "{wrong:?}");
            assert!((1..=8).contains(&object_size), "{byte:x}: an object of {object_size} bytes");
        }
    });
}

/// Where the last byte of a zone tells of a longer one, the object before it is not read: it may have no value.
#[test]
fn a_zone_is_looked_at_from_its_end() {
    // On the heap, so that tools see that it was never written.
    let mut memory = Box::new_uninit_slice(1024);
    let mut arena = Arena::<Checked<Sizing16MiB, ShortZone>>::from_slice(&mut memory);
    let mut view = arena.view();
    let layout = Layout::new::<[u8; 3]>();
    for byte in 0..=255 {
        let block = alloc(&mut view, layout);
        let right = write(&view, block, 7, byte);
        // A zone of one byte alone, that of an object of seven, would be whole.
        if byte == right ^ 4 {
            write(&view, block, 7, right);
        }
        free(&mut view, block, layout);
        let wrong = found(&mut view).map(|misuse| misuse.wrong);
        assert!(wrong.is_none() || wrong == Some(Wrong::WrittenBehind), "{byte:x}: {wrong:?}");
        assert_eq!((wrong.is_none(), view.usage().objects), (byte == right || byte == right ^ 4, 0));
    }
}

/// Links are encoded, and nothing else is done.
struct Encodes;

impl Checks for Encodes {
    type Frees = On;
    type Quarantine = Off;
    type Report = Abort;
    const ENCODE: bool = true;
}

/// No bit of links and lengths can be changed without being noticed.
#[test]
fn every_bit_of_links_and_lengths_is_looked_at() {
    fn bits<S: Sizing>() {
        with_view::<S>(|view| {
            // Two of each, so that they are linked; the shortest has room for links alone.
            let layouts = [S::LINK.bytes(), 3 * S::LINK.bytes(), LONG.size(), 3 * S::LINK.bytes(), 1]
                .map(|size| Layout::from_size_align(size, 1).unwrap());
            let blocks = layouts.map(|layout| {
                let block = alloc(view, layout);
                alloc(view, LAYOUT);
                block
            });
            for (block, layout) in blocks.into_iter().zip(layouts) {
                free(view, block, layout);
            }
            assert_eq!(view.verify(), Ok(()));
            for (block, layout) in blocks.into_iter().zip(layouts) {
                let words = view.node_words(view.granules_for(layout.size()) as u32);
                for (byte, bit) in words.flat_map(|word| (0..32).map(move |bit| (word + bit / 8, bit % 8))) {
                    let was = write(view, block, byte, 0);
                    write(view, block, byte, was ^ 1 << bit);
                    assert!(view.verify().is_err(), "bit {bit} of byte {byte} of {layout:?}");
                    write(view, block, byte, was);
                    if let Some(notes) = view.notes() {
                        notes.broken.set(0);
                    }
                    assert_eq!(view.verify(), Ok(()));
                }
            }
        });
    }
    bits::<Checked<Sizing128KiB, Hardened>>();
    bits::<Checked<Sizing16MiB, Hardened>>();
    bits::<Checked<Sizing128KiB, Encodes>>();
    bits::<Checked<Sizing16MiB, Encodes>>();
}

#[test]
fn a_static_arena_tells_what_it_has() {
    let arena = StaticArena::<1024, Sizing4KiB, NoLock>::new();
    let block = arena.try_alloc(LAYOUT).unwrap().cast();
    let mut other = 0u32;
    assert!(arena.owns(block, LAYOUT) && !arena.owns(NonNull::from(&mut other).cast(), LAYOUT));
    assert_eq!(arena.verify(), Ok(()));
    // SAFETY: nothing of the arena is used afterwards.
    let done = unsafe { arena.enter(|view| view.state.tally += 1) };
    assert_eq!(done, Ok(()));
    assert_eq!(arena.verify().unwrap_err().rule, "live, free and kept granules add up");
}

/// What has been found full is not looked at again until something of it comes back.
#[test]
fn a_search_begins_behind_what_is_full() {
    with_view::<Sizing4KiB>(|view| {
        let word = Layout::from_size_align(32 * 4, 4).unwrap();
        let blocks = [(); 4].map(|()| alloc(view, word));
        assert_eq!(view.state.hint, 3);
        // One that is aligned to as much is found the same way.
        let aligned = alloc(view, Layout::from_size_align(4, 32 * 4).unwrap());
        assert_eq!((view.state.hint, aligned.addr().get() % (32 * 4)), (4, 0));
        free(view, blocks[1], word);
        view.cool();
        assert_eq!(view.state.hint, 1);
        assert_eq!(alloc(view, LAYOUT), blocks[1]);
        assert_eq!((view.state.hint, view.verify()), (1, Ok(())));
    });
}

/// A walk may begin within the tables.
#[test]
fn any_byte_of_the_tables_leads_to_the_first_granule() {
    with_view::<Sizing128KiB>(|view| {
        let lead = view.lead as usize;
        alloc(view, LAYOUT);
        for offset in 0..lead {
            let mut cursor = Cursor { offset, version: 0 };
            let chunk = view.next_chunk(&mut cursor).unwrap();
            assert_eq!((chunk.offset, chunk.len, chunk.kind), (offset, lead - offset, ChunkKind::Table));
            let chunk = view.next_chunk(&mut cursor).unwrap();
            assert_eq!((chunk.offset, chunk.len, chunk.kind), (lead, LAYOUT.size(), ChunkKind::Used));
        }
    });
}

#[test]
fn free_memory_out_of_place_is_found() {
    broken::<Sizing4KiB>("nothing is free before the hint", |view| view.state.hint = 2);
    fn bins<S: Sizing>() {
        broken::<S>("a free block ends before the frontier", |view| {
            let (start, granules) = hole(view);
            view.state.frontier = start + granules;
        });
        broken::<S>("a link leads to a free block", |view| {
            // To memory that was never used, whatever its bit is.
            let (frontier, class) = (view.state.frontier, view.shape.class(hole(view).1));
            assert!(frontier % 32 != 0);
            view.set_bit(Bitmap::Bits, frontier, true);
            view.set_class_head(class, frontier + 1);
        });
    }
    bins::<Sizing128KiB>();
    bins::<Bounded<Sizing16MiB>>();
}

/// A mark within a free block, where there is room for one.
#[test]
fn marks_inside_of_free_blocks_are_found() {
    fn marks<S: Sizing>() {
        for granules in 3..8u32 {
            for inside in 1..granules - 1 {
                with_view::<S>(|view| {
                    let layout = Layout::from_size_align(view.granule() * granules as usize, 1).unwrap();
                    let blocks = [(); 3].map(|()| alloc(view, layout));
                    free(view, blocks[1], layout);
                    view.cool();
                    assert_eq!((hole(view), view.verify()), ((granules, granules), Ok(())));
                    view.set_bit(Bitmap::Bits, granules + inside, true);
                    let told = view.verify().unwrap_err();
                    let offset = layout.size();
                    assert_eq!((told.rule, told.offset), ("a free block has no mark inside", offset));
                });
            }
        }
    }
    marks::<Sizing128KiB>();
    marks::<Sizing16MiB>();
}

#[test]
fn a_hot_block_out_of_the_used_part_is_found() {
    fn hot<S: Sizing>() {
        for beyond in [0, 1, 1000] {
            broken::<S>("the hot block is inside the used part", |view| {
                view.state.hot = u64::from(view.taken_limit() + beyond) << 32 | 1;
            });
        }
    }
    hot::<Sizing4KiB>();
    hot::<Sizing128KiB>();
    hot::<Sizing16MiB>();
}

/// Breaks an arena whose lists of kept blocks have two blocks of this layout; `damage` gets their first granules, and that of a free one, and says what is wrong where.
fn broken_quick<S: Sizing>(
    layout: Layout,
    damage: impl FnOnce(&mut View<'_, S>, u32, [u32; 3]) -> (&'static str, u32),
) {
    with_view::<S>(|view| {
        let blocks = [(); 40].map(|()| alloc(view, layout));
        // The first is kept at hand, the second switches the lists on, the others go there.
        for block in [1, 3, 5, 7] {
            free(view, blocks[block], layout);
        }
        assert!(view.state.quick_max > 0 && view.verify() == Ok(()));
        let granules = view.granules_for(layout.size()) as u32;
        let [last, first, free] = [5, 7, 3].map(|block| view.index_of(blocks[block].addr().get()));
        assert_eq!((view.quick_head(granules), view.quick_next(first)), (first + 1, last + 1));
        let (rule, index) = damage(view, granules, [first, last, free]);
        let told = view.verify().unwrap_err();
        assert_eq!((told.rule, told.offset), (rule, (index as usize) << view.shift()));
    });
}

#[test]
fn lists_of_kept_blocks_that_can_not_be_are_found() {
    fn lists<S: Sizing>(layout: Layout) {
        broken_quick::<S>(layout, |view, granules, [first, ..]| {
            view.push_quick(view.at(first).addr(), first, granules);
            ("a quick list ends", first)
        });
        broken_quick::<S>(layout, |view, granules, _| {
            let beyond = view.taken_limit() - granules + 1;
            view.set_quick_head(granules, beyond + 1);
            ("a kept block is inside the used part", beyond)
        });
        broken_quick::<S>(layout, |view, granules, [.., free]| {
            view.set_quick_head(granules, free + 1);
            ("a kept block counts as taken", free)
        });
    }
    for layout in [SHORT, LAYOUT] {
        lists::<Sizing4KiB>(layout);
        lists::<Sizing128KiB>(layout);
        lists::<Sizing16MiB>(layout);
    }
}

/// A zone of more bytes than a byte can count.
struct LongZone;

impl Checks for LongZone {
    type Frees = On;
    type Quarantine = Off;
    type Report = Abort;
    const RED_ZONE: usize = 300;
}

#[test]
fn a_long_zone_tells_the_objects_size_as_well() {
    fn sizes<S: Sizing>() {
        with_view::<S>(|view| {
            sizes_are_told(view);
        });
    }
    sizes::<Checked<Sizing4KiB, LongZone>>();
    sizes::<Checked<Sizing16MiB, LongZone>>();
}
