//! Each kind of misuse, injected at random places among live blocks: every one is found, and told as what it is.

use crate::{Chance, CheckedHeap, HardenedHeap, WideHeap, WrittenHeap, found, times};
use heapwright::check::{Misuse, Wrong};
use heapwright::heap::UsableSize;
use std::alloc::{GlobalAlloc, Layout};
use std::collections::HashSet;
use std::ptr::NonNull;

const SHORT: usize = 20_000;
const LONG: usize = 1_000_000;

/// Live blocks in a heap.
struct Live<'a, A> {
    heap: &'a A,
    blocks: Vec<(*mut u8, Layout)>,
    chance: Chance,
}

impl<'a, A: GlobalAlloc> Live<'a, A> {
    fn new(heap: &'a A, seed: u64) -> Self {
        let mut live = Live { heap, blocks: Vec::new(), chance: Chance::new(seed) };
        for _ in 0..500 {
            let block = live.block(3000);
            live.blocks.push(block);
        }
        live
    }

    /// A new block of a random layout, one in `rare` of them larger than all classes.
    fn block(&mut self, rare: usize) -> (*mut u8, Layout) {
        let size = match self.chance.below(rare) {
            0 => 33_000 + self.chance.below(600_000),
            1..100 => 1 + self.chance.below(32_000),
            _ => 1 + self.chance.below(600),
        };
        let align = 1 << self.chance.below(7);
        let layout = Layout::from_size_align(size, align).unwrap();
        // SAFETY: the size is not zero.
        let block = unsafe { self.heap.alloc(layout) };
        assert!(!block.is_null());
        // SAFETY: the block is live, and so long.
        unsafe { block.write_bytes(0xaa, size) };
        (block, layout)
    }

    /// Frees a random block, and puts another in its place.
    fn replace(&mut self) -> (*mut u8, Layout) {
        let at = self.chance.below(self.blocks.len());
        let new = self.block(3000);
        let (block, layout) = std::mem::replace(&mut self.blocks[at], new);
        // SAFETY: the block is live, with its layout.
        unsafe { self.heap.dealloc(block, layout) };
        (block, layout)
    }
}

impl<A> Drop for Live<'_, A> {
    fn drop(&mut self) {
        self.blocks.clear();
    }
}

/// What was found, which is one thing at this address.
fn only(address: *mut u8, layout: Layout) -> Misuse {
    let all = found();
    assert_eq!(all.len(), 1, "{all:?} at {address:?} of {layout:?}");
    assert_eq!(all[0].address, address.addr());
    all[0]
}

/// Turns a bit of a byte that is the heap's, and that nobody else uses at this moment.
fn flip(place: *mut u8, chance: &mut Chance) {
    // SAFETY: none by the rules of a heap: it is the misuse.
    let byte = unsafe { place.read() };
    // SAFETY: as above.
    unsafe { place.write(byte ^ (1 << chance.below(8))) };
}

/// Frees of blocks that are free.
fn double<A: GlobalAlloc>(heap: &A) {
    let mut live = Live::new(heap, 1);
    for _ in 0..times(SHORT, LONG) {
        let (block, layout) = live.block(3000);
        // SAFETY: live, with its layout.
        unsafe { heap.dealloc(block, layout) };
        assert_eq!(found(), []);
        // SAFETY: none: it is free, and nothing else has been allocated meanwhile.
        unsafe { heap.dealloc(block, layout) };
        let wrong = only(block, layout).wrong;
        // A large block that has gone back to the OS is unknown; a zone and a guard page may have made it one.
        let known = layout.size() < 500 << 10;
        assert!(wrong == Wrong::DoubleFree || (!known && wrong == Wrong::Foreign), "{wrong:?} {layout:?}");
    }
}

/// Frees of pointers into blocks.
fn interior<A: GlobalAlloc>(heap: &A) {
    let mut live = Live::new(heap, 2);
    for _ in 0..times(SHORT, LONG) {
        live.replace();
        let at = live.chance.below(live.blocks.len());
        let (block, layout) = live.blocks[at];
        if layout.size() == 1 {
            continue;
        }
        let inside = block.wrapping_add(1 + live.chance.below(layout.size() - 1));
        // SAFETY: none: the heap is to find it.
        unsafe { heap.dealloc(inside, layout) };
        let wrong = only(inside, layout).wrong;
        // Of a large block only the first 2 MiB of addresses are known.
        assert!(matches!(wrong, Wrong::Interior | Wrong::WrongLayout), "{wrong:?} {layout:?}");
    }
}

/// Frees of what is from elsewhere: the stack, a static, another heap, an address at random.
fn foreign<A: GlobalAlloc>(heap: &A) {
    static STATIC: [u64; 512] = [0; 512];
    let mut live = Live::new(heap, 3);
    let on_stack = [0u64; 512];
    let in_box = vec![0u64; 5000];
    for _ in 0..times(SHORT, LONG) {
        let offset = 8 * live.chance.below(512);
        let pointer = match live.chance.below(4) {
            0 => on_stack.as_ptr().cast::<u8>().wrapping_add(offset),
            1 => STATIC.as_ptr().cast::<u8>().wrapping_add(offset),
            2 => in_box.as_ptr().cast::<u8>().wrapping_add(offset),
            _ => std::ptr::without_provenance((live.chance.below(usize::MAX >> 24) << 7) + 8),
        };
        let layout = Layout::from_size_align(1 + live.chance.below(500), 8).unwrap();
        // SAFETY: none: the heap is to find it.
        unsafe { heap.dealloc(pointer.cast_mut(), layout) };
        assert_eq!(only(pointer.cast_mut(), layout).wrong, Wrong::Foreign);
    }
}

/// Frees with the layout of another class.
fn layouts<A: GlobalAlloc>(heap: &A) {
    let mut live = Live::new(heap, 4);
    for _ in 0..times(SHORT, LONG) {
        live.replace();
        let at = live.chance.below(live.blocks.len());
        let (block, layout) = live.blocks[at];
        let other = Layout::from_size_align(2 * layout.size() + 64, layout.align()).unwrap();
        // SAFETY: none: the heap is to find it.
        unsafe { heap.dealloc(block, other) };
        let misuse = only(block, other);
        assert_eq!((misuse.wrong, misuse.layout), (Wrong::WrongLayout, other));
        // SAFETY: as above, by a resize: it fails, and the block is as it was.
        let resized = unsafe { heap.realloc(block, other, 10) };
        assert!(resized.is_null());
        assert_eq!(only(block, other).wrong, Wrong::WrongLayout);
        // SAFETY: the block is still live.
        assert_eq!(unsafe { block.read() }, 0xaa);
    }
}

#[test]
fn checked_heaps_find_double_frees() {
    double(&CheckedHeap);
}

#[test]
fn checked_heaps_find_pointers_into_blocks() {
    interior(&CheckedHeap);
}

#[test]
fn checked_heaps_find_foreign_pointers() {
    foreign(&CheckedHeap);
}

#[test]
fn checked_heaps_find_wrong_layouts() {
    layouts(&CheckedHeap);
}

#[test]
fn hardened_heaps_find_double_frees() {
    double(&HardenedHeap);
}

#[test]
fn hardened_heaps_find_pointers_into_blocks() {
    interior(&HardenedHeap);
}

#[test]
fn hardened_heaps_find_foreign_pointers() {
    foreign(&HardenedHeap);
}

#[test]
fn hardened_heaps_find_wrong_layouts() {
    layouts(&HardenedHeap);
}

/// Writes behind a block, of one byte that is not what it was, up to where the next may begin.
#[test]
fn hardened_heaps_find_writes_behind_blocks() {
    let mut live = Live::new(&HardenedHeap, 5);
    for round in 0..times(SHORT, LONG) {
        let (block, layout) = live.block(3000);
        let at = layout.size() + live.chance.below(8);
        flip(block.wrapping_add(at), &mut live.chance);
        if round % 2 == 0 {
            // SAFETY: live, with its layout.
            unsafe { HardenedHeap.dealloc(block, layout) };
            let misuse = only(block, layout);
            assert_eq!(misuse.wrong, Wrong::WrittenBehind);
            assert_eq!(misuse.damage.unwrap().offset, at as isize);
        } else {
            // SAFETY: live, with its layout.
            let moved = unsafe { HardenedHeap.realloc(block, layout, layout.size() + 1) };
            let all = found();
            // A block that moves is looked at when its old place is freed.
            assert_eq!(
                all.iter().map(|misuse| misuse.wrong).collect::<Vec<_>>(),
                [Wrong::WrittenBehind],
                "{all:?}"
            );
            let new = Layout::from_size_align(layout.size() + 1, layout.align()).unwrap();
            // SAFETY: live, with its layout.
            unsafe { HardenedHeap.dealloc(moved, new) };
        }
        assert_eq!(found(), []);
    }
}

/// Objects of a few sizes, of which those that are freed are written to.
struct Freed {
    layouts: Vec<Layout>,
    /// Live objects, by layout.
    live: Vec<Vec<*mut u8>>,
    /// The first of each page, which stays: a slab that is free altogether would be wiped, with what was written.
    kept: Vec<(*mut u8, Layout)>,
    pages: HashSet<usize>,
    /// The addresses of those that were written to and are not found yet.
    written: HashSet<usize>,
}

impl Freed {
    /// One more object of a layout.
    fn take(&mut self, kind: usize) {
        let layout = self.layouts[kind];
        loop {
            // SAFETY: the size is not zero.
            let object = unsafe { WrittenHeap.alloc(layout) };
            assert!(!object.is_null());
            for misuse in found() {
                assert_eq!(misuse.wrong, Wrong::WrittenAfterFree);
                assert!(self.written.remove(&misuse.address), "nothing is wrong there: {misuse}");
            }
            if !self.pages.insert(object.addr() >> 12) {
                return self.live[kind].push(object);
            }
            self.kept.push((object, layout));
        }
    }

    /// One object of a layout less: it is its address.
    fn give(&mut self, kind: usize, chance: &mut Chance) -> *mut u8 {
        let live = &mut self.live[kind];
        let object = live.swap_remove(chance.below(live.len()));
        // SAFETY: live, with its layout.
        unsafe { WrittenHeap.dealloc(object, self.layouts[kind]) };
        object
    }
}

/// Writes to freed objects, found when their memory goes out again.
#[test]
fn hardened_heaps_find_writes_to_freed_objects() {
    let mut chance = Chance::new(6);
    let layouts: Vec<_> =
        (0..40).map(|_| Layout::from_size_align(1 + chance.below(500), 8).unwrap()).collect();
    let mut freed = Freed {
        live: vec![Vec::new(); layouts.len()],
        layouts,
        kept: Vec::new(),
        pages: HashSet::new(),
        written: HashSet::new(),
    };
    for kind in 0..freed.layouts.len() {
        (0..50).for_each(|_| freed.take(kind));
    }
    for _ in 0..times(SHORT, LONG) {
        let kind = chance.below(freed.layouts.len());
        let object = freed.give(kind, &mut chance);
        flip(object.wrapping_add(chance.below(freed.layouts[kind].size())), &mut chance);
        assert!(freed.written.insert(object.addr()));
        freed.take(kind);
    }
    // What rests goes out in the end: two are taken for each that is freed.
    for kind in 0..freed.layouts.len() {
        for _ in 0..1000 {
            freed.take(kind);
            freed.take(kind);
            freed.give(kind, &mut chance);
        }
    }
    assert_eq!(freed.written, HashSet::new(), "never found");
    let live = freed.layouts.iter().zip(&freed.live);
    let live = live.flat_map(|(&layout, live)| live.iter().map(move |&object| (object, layout)));
    for (object, layout) in live.chain(freed.kept) {
        // SAFETY: live, with its layout.
        unsafe { WrittenHeap.dealloc(object, layout) };
    }
    assert_eq!(found(), []);
}

/// C's `free` of what is as it should be, and of what was written behind: zones are found without a layout.
#[test]
fn frees_without_a_layout_find_the_zones() {
    fn frees<A: GlobalAlloc + UsableSize>(heap: &A, free: impl Fn(NonNull<u8>)) {
        for size in [1, 8, 100, 500, 3000, 20_000, 40_000, 100_000, 300_000, 700_000] {
            let layout = Layout::from_size_align(size, 8).unwrap();
            for writes in [0, size, usize::MAX] {
                // SAFETY: the size is not zero.
                let block = NonNull::new(unsafe { heap.alloc(layout) }).unwrap();
                // SAFETY: live.
                let usable = unsafe { heap.usable_size(block) };
                // SAFETY: so many bytes are the user's.
                unsafe { block.write_bytes(3, writes.min(usable)) };
                free(block);
                assert_eq!(found(), [], "{size}, {writes} written");
            }
            // SAFETY: the size is not zero.
            let block = NonNull::new(unsafe { heap.alloc(layout) }).unwrap();
            // SAFETY: live.
            let usable = unsafe { heap.usable_size(block) };
            flip(block.as_ptr().wrapping_add(usable), &mut Chance::new(size as u64));
            free(block);
            let wrong: Vec<_> = found().iter().map(|misuse| misuse.wrong).collect();
            assert_eq!(wrong, [Wrong::WrittenBehind], "{size}");
        }
    }
    // SAFETY: live blocks, once each.
    frees(&HardenedHeap, |block| unsafe { HardenedHeap.free_unsized(block) });
    // SAFETY: the same.
    frees(&WideHeap, |block| unsafe { WideHeap.free_unsized(block) });
}

/// C's `free`, without a layout.
#[test]
fn frees_without_a_layout_are_looked_at() {
    let layout = Layout::new::<[u8; 100]>();
    // SAFETY: the size is not zero.
    let block = NonNull::new(unsafe { CheckedHeap.alloc(layout) }).unwrap();
    // SAFETY: live; and then it is not.
    unsafe { CheckedHeap.free_unsized(block) };
    assert_eq!(found(), []);
    // SAFETY: none: the heap is to find it.
    unsafe { CheckedHeap.free_unsized(block) };
    assert_eq!(only(block.as_ptr(), layout).wrong, Wrong::DoubleFree);
    let local = 5u64;
    // SAFETY: as above.
    unsafe { CheckedHeap.free_unsized(NonNull::from(&local).cast()) };
    assert_eq!(found().pop().unwrap().wrong, Wrong::Foreign);
}
