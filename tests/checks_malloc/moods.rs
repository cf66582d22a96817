//! Heaps over sources that refuse now this and now that, at random.

use std::alloc::{GlobalAlloc, Layout};

use heapwright::cache::malloc::MallocInstance;
use heapwright::cache::{ChunkHeap, Classes, Malloc, MallocSettings, ReleaseAtOnce};
use heapwright::check::Hardened;
use heapwright::lock::YieldLock;

use crate::fickle::{Fickle, Refused};
use crate::{Chance, Note, found, times};

macro_rules! moody {
    ($heap:ident, $handle:ident, $settings:ident, $zeroed:literal, $protects:literal, $huge_after:expr) => {
        struct $settings;
        impl MallocSettings for $settings {
            type Classes = Classes;
            type Chunks = ChunkHeap<
                Fickle<$zeroed, $protects>,
                YieldLock,
                ReleaseAtOnce,
                32768,
                { $huge_after },
                Hardened<Note>,
            >;
            type Lock = YieldLock;
        }
        heapwright::malloc! { static $heap as $handle: $settings = ChunkHeap::new(Fickle); }
    };
}
moody!(EACH, EachHeap, Each, true, true, usize::MAX);
moody!(MIXED, MixedHeap, Mixed, true, true, 2);
moody!(WHOLE, WholeHeap, Whole, true, true, 0);
moody!(DIRTY, DirtyHeap, Dirty, false, true, 1);
moody!(NEVER, NeverHeap, Never, false, false, 1);

fn holds(block: *mut u8, len: usize, byte: u8) -> bool {
    // SAFETY: callers have a block that is so long, and has been written.
    unsafe { std::slice::from_raw_parts(block, len) }.iter().all(|&found| found == byte)
}

fn layout(chance: &mut Chance) -> Layout {
    let size = match chance.below(100) {
        0 => 1 + chance.below(3 << 20),
        1..20 => 1 + chance.below(300_000),
        20..50 => 1 + chance.below(40_000),
        _ => 1 + chance.below(600),
    };
    let log = if chance.below(20) == 0 { 17 } else { 7 };
    Layout::from_size_align(size, 1 << chance.below(log)).unwrap()
}

fn moods<I: MallocInstance>(heap: Malloc<I>, seed: u64, steps: usize) {
    let mut chance = Chance::new(seed);
    let mut blocks: Vec<(*mut u8, Layout, u8)> = Vec::new();
    let mut refused = Refused::NOTHING;
    for step in 0..steps {
        if chance.below(30) == 0 {
            let mut mood = || chance.below(3) == 0;
            refused = Refused { protect: mood(), unprotect: mood(), ..Refused::NOTHING };
            if chance.below(10) == 0 {
                refused.blocks = |_| true;
            }
        }
        let byte = 1 + (step % 200) as u8;
        refused.during(|| match chance.below(40) {
            0 => heap.release(),
            1..18 if blocks.len() < 300 => {
                let layout = layout(&mut chance);
                let zeroed = chance.below(2) == 0;
                let block = if zeroed {
                    // SAFETY: the size is not zero.
                    unsafe { heap.alloc_zeroed(layout) }
                } else {
                    // SAFETY: as above.
                    unsafe { heap.alloc(layout) }
                };
                if !block.is_null() {
                    assert_eq!(block.addr() % layout.align(), 0);
                    assert!(!zeroed || holds(block, layout.size(), 0), "{layout:?}");
                    // SAFETY: live, and so long.
                    unsafe { block.write_bytes(byte, layout.size()) };
                    blocks.push((block, layout, byte));
                }
            }
            18..28 if !blocks.is_empty() => {
                let at = chance.below(blocks.len());
                let (block, old, held) = blocks[at];
                let new = Layout::from_size_align(layout(&mut chance).size(), old.align()).unwrap();
                // SAFETY: live, with its layout; the size is not zero.
                let moved = unsafe { heap.realloc(block, old, new.size()) };
                if moved.is_null() {
                    assert!(holds(block, old.size(), held), "{old:?} to {new:?}");
                } else {
                    assert!(holds(moved, old.size().min(new.size()), held), "{old:?} to {new:?}");
                    // SAFETY: live, and so long.
                    unsafe { moved.write_bytes(byte, new.size()) };
                    blocks[at] = (moved, new, byte);
                }
            }
            _ if !blocks.is_empty() => {
                let (block, layout, held) = blocks.swap_remove(chance.below(blocks.len()));
                assert!(holds(block, layout.size(), held), "{layout:?}");
                // SAFETY: live, with its layout.
                unsafe { heap.dealloc(block, layout) };
            }
            _ => {}
        });
        let found = found();
        assert_eq!(found, [], "step {step}");
    }
    for (block, layout, held) in blocks {
        assert!(holds(block, layout.size(), held), "{layout:?}");
        // SAFETY: live, with its layout.
        unsafe { heap.dealloc(block, layout) };
    }
    heap.release();
    assert_eq!(found(), []);
    let classes = heap.stats();
    assert!(classes.classes().iter().all(|class| class.live == 0), "{classes}");
}

/// What is refused is missed by nobody: blocks keep what they hold, zeroes are zeroes, and nothing is told.
#[test]
fn nothing_is_wrong_whatever_is_refused() {
    for seed in 0..times(1, 40) as u64 {
        moods(EachHeap, seed * 977 + 1, 2000);
        moods(MixedHeap, seed * 977 + 2, 2000);
        moods(WholeHeap, seed * 977 + 3, 2000);
        moods(DirtyHeap, seed * 977 + 4, 2000);
        moods(NeverHeap, seed * 977 + 5, 2000);
    }
}
