//! Right use, on several threads: nothing is reported, contents stay, and what is freed is zero.

use crate::{Chance, CheckedHeap, HardenedHeap, LonelyHeap, found, times};
use std::alloc::{GlobalAlloc, Layout};

fn valid<A: GlobalAlloc + Sync>(heap: &'static A) {
    valid_for(heap, times(20_000, 10_000_000));
}

/// Random right operations, so many on each of three threads; blocks change threads by the end of them.
pub(crate) fn valid_for<A: GlobalAlloc + Sync>(heap: &'static A, steps: usize) {
    let threads: Vec<_> = (0..3)
        .map(|seed| {
            std::thread::spawn(move || {
                let mut chance = Chance::new(77 + seed);
                let mut blocks: Vec<(usize, Layout, u8)> = Vec::new();
                for number in 0..steps {
                    step(heap, &mut chance, &mut blocks, number as u8);
                }
                assert_eq!(found(), []);
                blocks
            })
        })
        .collect();
    for thread in threads {
        for (address, layout, id) in thread.join().unwrap() {
            let block = std::ptr::with_exposed_provenance_mut::<u8>(address);
            check(block, layout, id);
            // SAFETY: live, with its layout.
            unsafe { heap.dealloc(block, layout) };
        }
    }
    assert_eq!(found(), []);
}

fn check(block: *mut u8, layout: Layout, id: u8) {
    // SAFETY: the block is live, and its user has written it.
    let bytes = unsafe { std::slice::from_raw_parts(block, layout.size()) };
    assert!(bytes.iter().all(|&byte| byte == id), "{layout:?}");
    assert_eq!(block.addr() % layout.align(), 0);
}

fn step<A: GlobalAlloc>(heap: &A, chance: &mut Chance, blocks: &mut Vec<(usize, Layout, u8)>, id: u8) {
    let size = match chance.below(200) {
        0 => 1 + chance.below(1 << 20),
        1..20 => 1 + chance.below(40_000),
        _ => 1 + chance.below(400),
    };
    if blocks.len() < 100 || chance.below(3) == 0 && blocks.len() < 300 {
        let layout = Layout::from_size_align(size, 1 << chance.below(13)).unwrap();
        let block = if id % 2 == 0 {
            // SAFETY: the size is not zero.
            unsafe { heap.alloc(layout) }
        } else {
            // SAFETY: the size is not zero.
            let block = unsafe { heap.alloc_zeroed(layout) };
            check(block, layout, 0);
            block
        };
        // SAFETY: the block is live, and so long.
        unsafe { block.write_bytes(id, size) };
        blocks.push((block.expose_provenance(), layout, id));
        return;
    }
    let at = chance.below(blocks.len());
    let (address, layout, old) = blocks[at];
    let block = std::ptr::with_exposed_provenance_mut::<u8>(address);
    if chance.below(2) == 0 {
        check(block, layout, old);
        blocks.swap_remove(at);
        // SAFETY: live, with its layout.
        return unsafe { heap.dealloc(block, layout) };
    }
    // SAFETY: live, with its layout; the size is not zero.
    let moved = unsafe { heap.realloc(block, layout, size) };
    let new = Layout::from_size_align(size, layout.align()).unwrap();
    let kept = Layout::from_size_align(size.min(layout.size()), layout.align()).unwrap();
    check(moved, kept, old);
    // SAFETY: the block is live, and so long.
    unsafe { moved.write_bytes(id, size) };
    blocks[at] = (moved.expose_provenance(), new, id);
}

#[test]
fn checked_heaps_find_nothing_where_nothing_is_wrong() {
    valid(&CheckedHeap);
}

#[test]
fn hardened_heaps_find_nothing_where_nothing_is_wrong() {
    valid(&HardenedHeap);
}

/// Freed memory holds nothing of what it held, but for the mark in its first word.
#[test]
fn hardened_heaps_zero_what_is_freed() {
    for size in [16, 100, 5000, 32_000, 60_000] {
        let layout = Layout::from_size_align(size, 8).unwrap();
        // SAFETY: the size is not zero.
        let block = unsafe { LonelyHeap.alloc(layout) };
        // SAFETY: live, and so long.
        unsafe { block.write_bytes(0x55, size) };
        // SAFETY: live, with its layout.
        unsafe { LonelyHeap.dealloc(block, layout) };
        for at in size_of::<usize>()..size {
            // SAFETY: memory of the heap, which no other thread of this test uses: a peek.
            let byte = unsafe { block.wrapping_add(at).read_volatile() };
            assert_eq!(byte, 0, "byte {at} of {size}");
        }
    }
    assert_eq!(found(), []);
}

/// Which object comes next can't be told from those before.
#[test]
fn hardened_heaps_hand_out_objects_in_no_order() {
    let layout = Layout::new::<[u64; 11]>();
    let mut addresses: Vec<usize> = Vec::new();
    for _ in 0..200 {
        // SAFETY: the size is not zero.
        addresses.push(unsafe { HardenedHeap.alloc(layout) }.addr());
    }
    let rising = addresses.windows(2).filter(|pair| pair[0] < pair[1]).count();
    assert!((40..160).contains(&rising), "{rising} of 199 are in order of address");
    // The one freed last does not come next, but by chance.
    let mut again = 0;
    for _ in 0..1000 {
        // SAFETY: the size is not zero.
        let block = unsafe { HardenedHeap.alloc(layout) };
        // SAFETY: live, with its layout.
        unsafe { HardenedHeap.dealloc(block, layout) };
        // SAFETY: the size is not zero.
        let next = unsafe { HardenedHeap.alloc(layout) };
        again += usize::from(next == block);
        // SAFETY: live, with its layout.
        unsafe { HardenedHeap.dealloc(next, layout) };
    }
    assert!(again < 300, "{again} of 1000 came back at once");
}
