//! `Chain` of heaps that check: what they refuse is not counted, and what they find is told.

use std::alloc::Layout;
use std::ptr::NonNull;

use heapwright::arena::Arena;
use heapwright::check::{self, Checks, Hardened, Ignore, Later, Wrong};
use heapwright::combine::{Arenas, Chain, Factory, FixedChunks, Quarantine};
use heapwright::heap::Heap;
use heapwright::sizing::{Checked, Sizing4KiB};
use heapwright::source::{Counted, GlobalHeap};

use super::layout;

type Checking<C> = Chain<Arenas<Checked<Sizing4KiB, C>, FixedChunks<4096>>, Counted<GlobalHeap>, 0>;

fn chain<C: Checks>() -> Checking<C> {
    Chain::new(Arenas::new(), Counted::new(GlobalHeap))
}

/// What was found since it was last asked, all of it.
fn found<C: Checks>(chain: &mut Checking<C>) -> Vec<Wrong> {
    std::iter::from_fn(|| chain.take_finding()).map(|finding| finding.misuse().wrong).collect()
}

fn alloc<C: Checks>(chain: &mut Checking<C>, layout: Layout) -> NonNull<u8> {
    chain.alloc(layout).expect("room").cast()
}

/// Writes past the end of a block of 40 bytes: the fault that is looked for.
fn write_behind(block: NonNull<u8>) {
    // SAFETY: the tests hand in blocks of 40 bytes.
    let behind = unsafe { block.add(40) };
    // SAFETY: it is in the red zone, in the same chunk.
    unsafe { behind.write(0) };
}

/// The one chunk stays for as long as there is a live block in it, whatever is freed beside, and goes with the last.
#[test]
fn a_free_that_is_refused_is_not_counted() {
    let of_this = layout(40, 8);
    let wrong = |offset: usize, layout: Layout, kind: Wrong| {
        let mut chain = chain::<check::Checked<Ignore>>();
        let [gone, block, last] = [(); 3].map(|()| alloc(&mut chain, of_this));
        // SAFETY: the block is live, and its layout this one.
        unsafe { chain.dealloc(gone, of_this) };
        let at = if kind == Wrong::DoubleFree { gone } else { block };
        // SAFETY: the block is that long.
        let at = unsafe { at.add(offset) };
        for round in 0..3 {
            // SAFETY: none: that it is refused is what is tested.
            unsafe { chain.dealloc(at, layout) };
            // SAFETY: as above.
            unsafe { chain.dealloc_batch(layout, &[at, at]) };
            assert_eq!((chain.heaps(), chain.idle(), chain.source().counts().blocks), (1, 0, 1), "{round}");
        }
        assert_eq!(found(&mut chain), [kind]);
        // SAFETY: the blocks are live, and their layout is this one.
        unsafe { chain.dealloc_batch(of_this, &[block, last]) };
        assert_eq!((found(&mut chain), chain.heaps(), chain.source().counts().blocks), (vec![], 0, 0));
    };
    wrong(0, of_this, Wrong::DoubleFree);
    wrong(0, layout(100, 8), Wrong::WrongLayout);
    wrong(8, layout(16, 8), Wrong::Interior);
    wrong(1, layout(16, 1), Wrong::Interior);
}

/// It is no reason to move the block.
#[test]
fn a_resize_that_is_refused_moves_nothing() {
    let mut chain = chain::<check::Checked<Ignore>>();
    let (old, new) = (layout(40, 8), layout(100, 8));
    let block = alloc(&mut chain, old);
    // SAFETY: none: that it is refused is what is tested.
    assert!(unsafe { chain.resize(block, layout(80, 8), new) }.is_err());
    assert_eq!((found(&mut chain), chain.heaps()), (vec![Wrong::WrongLayout], 1));
    // SAFETY: the block is live, and its layout this one.
    unsafe { chain.dealloc(block, old) };
    assert_eq!((found(&mut chain), chain.heaps()), (vec![], 0), "there was no other block");

    // What is right, and has no room in its heap, goes to another one.
    let (first, more) = (alloc(&mut chain, layout(2000, 8)), layout(3000, 8));
    alloc(&mut chain, layout(1000, 8));
    // SAFETY: the block is live, and its layout this one.
    let moved = unsafe { chain.resize(first, layout(2000, 8), more) }.expect("room").cast();
    assert_eq!((found(&mut chain), chain.heaps(), chain.idle()), (vec![], 2, 0));
    // SAFETY: as above.
    unsafe { chain.dealloc(moved, more) };
    assert_eq!((found(&mut chain), chain.heaps(), chain.idle()), (vec![], 1, 0));
}

/// What the free of a heap's last block finds is not lost with the heap: this waits until it was told.
#[test]
fn what_a_heap_finds_at_its_end_is_told() {
    let mut chain = chain::<Hardened<Ignore>>();
    let layout = layout(40, 8);
    for _ in 0..3 {
        let block = alloc(&mut chain, layout);
        write_behind(block);
        // SAFETY: the block is live, and its layout this one.
        unsafe { chain.dealloc(block, layout) };
        assert_eq!((chain.heaps(), chain.idle()), (1, 1));
        assert_eq!(chain.release_unused(), 0, "not told yet");
        assert_eq!(found(&mut chain), [Wrong::WrittenBehind]);
        assert!(chain.release_unused() > 4096);
        assert_eq!((chain.heaps(), chain.idle(), chain.source().counts().blocks), (0, 0, 0));
    }
    // If it was told before, a heap that has served again goes as others do.
    let block = alloc(&mut chain, layout);
    write_behind(block);
    // SAFETY: as above.
    unsafe { chain.dealloc(block, layout) };
    assert_eq!(found(&mut chain), [Wrong::WrittenBehind]);
    let block = alloc(&mut chain, layout);
    // SAFETY: as above.
    unsafe { chain.dealloc(block, layout) };
    assert_eq!((found(&mut chain), chain.heaps()), (vec![], 0));
}

/// Arenas whose freed blocks wait.
struct Waiting;

// SAFETY: N1: an arena hands out bytes of its region. N2: nothing unwinds. N3: the default.
unsafe impl Factory for Waiting {
    type Heap = Quarantine<4, Arena<'static, Sizing4KiB>, Later<Ignore>>;

    fn chunk(&self, _: Layout, _: usize) -> Option<Layout> {
        Some(layout(4096, 16))
    }

    unsafe fn heap(&self, start: NonNull<u8>, len: usize) -> Self::Heap {
        // SAFETY: the caller's promise is the same.
        Quarantine::new(unsafe { Arena::from_raw_parts(start, len) }, Later::new())
    }
}

/// Before a heap goes, what waits in it is looked at.
#[test]
fn what_waits_in_a_heap_is_looked_at_before_it_goes() {
    let mut chain = Chain::<_, _, 0>::new(Waiting, Counted::new(GlobalHeap));
    let layout = layout(40, 8);
    let [first, last] = [(); 2].map(|()| chain.alloc(layout).expect("room").cast::<u8>());
    // SAFETY: the block is live, and its layout this one.
    unsafe { chain.dealloc(first, layout) };
    // SAFETY: none: that it is refused is what is tested. The block waits.
    unsafe { chain.dealloc(first, layout) };
    assert_eq!((chain.heaps(), chain.idle()), (1, 0));
    assert_eq!(chain.take_finding().map(|finding| finding.misuse().wrong), Some(Wrong::DoubleFree));
    // SAFETY: the fault that is looked for; the memory is the chunk's.
    unsafe { first.write(1) };
    // SAFETY: the block is live, and its layout this one.
    unsafe { chain.dealloc(last, layout) };
    assert_eq!(chain.take_finding().map(|finding| finding.misuse().wrong), Some(Wrong::WrittenAfterFree));
    assert!(chain.take_finding().is_none());
    chain.release_unused();
    assert_eq!((chain.heaps(), chain.source().counts().blocks), (0, 0));
}
