//! Calls for blocks that their owners have given back, or that have moved.

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::arena::Arena;
use heapwright::check::{CountMisuses, Misuse, OnMisuse, Wrong};
use heapwright::combine::{Quarantine, RedZones};
use heapwright::heap::{Heap, Inspect};
use heapwright::sizing::{Sizing, Sizing4KiB, Sizing128KiB};

use super::{layout, resize};

type Memory = [MaybeUninit<u8>; 4096];

/// A block that waits is nobody's to resize: shorter or longer, where it stands or elsewhere.
#[test]
fn a_block_that_waits_is_not_resized() {
    fn waits<S: Sizing>(in_place: bool, size: usize) {
        let mut memory: Memory = [MaybeUninit::uninit(); 4096];
        let arena = Arena::<S>::from_slice(&mut memory);
        let mut heap = Quarantine::<8, _, _>::new(arena, CountMisuses::new());
        let (old, new) = (layout(64, 8), layout(size, 8));
        let block = heap.alloc(old).unwrap().cast();
        // SAFETY: the block is live, and its layout this one.
        unsafe { heap.dealloc(block, old) };
        // SAFETY: the fault that is looked for; the block waits.
        assert!(unsafe { resize(&mut heap, in_place, block, old, new) }.is_err());
        let misuse = Misuse::new(Wrong::DoubleFree, block.addr().get(), old);
        assert_eq!((heap.misuses(), heap.handler().first()), (1, Some(misuse)), "found, and once");
        assert_eq!((heap.held(), heap.held_bytes(), heap.usage().objects), (1, 64, 1));
        heap.release_unused();
        assert_eq!((heap.misuses(), heap.verify(), heap.usage().objects), (1, Ok(()), 0));
    }
    for in_place in [true, false] {
        for size in [32, 64, 100] {
            waits::<Sizing4KiB>(in_place, size);
            waits::<Sizing128KiB>(in_place, size);
        }
    }
}

/// The place that a block has left is known for a freed one.
#[test]
fn a_block_between_zones_that_has_moved_is_not_freed_where_it_was() {
    fn moves<const PRE: usize, const POST: usize>() {
        let mut memory: Memory = [MaybeUninit::uninit(); 4096];
        let arena = Arena::<Sizing128KiB>::from_slice(&mut memory);
        let mut heap = RedZones::<PRE, POST, _, _>::new(arena, CountMisuses::new());
        let (old, new) = (layout(64, 8), layout(200, 8));
        let block = heap.alloc(old).unwrap().cast::<u8>();
        // So that there is no room behind it.
        heap.alloc(old).unwrap();
        // SAFETY: the block is live, and as long as that.
        unsafe { block.write_bytes(7, 64) };
        // SAFETY: the block is live, and its layout `old`.
        let moved = unsafe { heap.resize(block, old, new) }.unwrap().cast::<u8>();
        assert_ne!(moved, block);
        // SAFETY: the first bytes were kept.
        assert_eq!(unsafe { moved.cast::<[u8; 64]>().read() }, [7; 64]);
        // SAFETY: the fault that is looked for; the memory is the arena's.
        unsafe { heap.dealloc(block, old) };
        let misuse = Misuse::new(Wrong::DoubleFree, block.addr().get(), old);
        assert_eq!((heap.misuses(), heap.handler().first()), (1, Some(misuse)));
        // SAFETY: the block is live, and its layout this one.
        unsafe { heap.dealloc(moved, new) };
        assert_eq!((heap.misuses(), heap.verify(), heap.usage().objects), (1, Ok(()), 1));
    }
    moves::<16, 8>();
    moves::<0, 16>();
}

/// A resize that can't be had leaves the zones as they were.
#[test]
fn a_block_between_zones_that_can_t_be_resized_is_as_it_was() {
    let mut memory: Memory = [MaybeUninit::uninit(); 4096];
    let arena = Arena::<Sizing128KiB>::from_slice(&mut memory);
    let mut heap = RedZones::<16, 8, _, _>::new(arena, CountMisuses::new());
    let old = layout(64, 8);
    let block = heap.alloc(old).unwrap().cast::<u8>();
    // SAFETY: the block is live, and its layout `old`.
    assert!(unsafe { heap.resize(block, old, layout(5000, 8)) }.is_err());
    // SAFETY: the block is live, and its layout this one.
    unsafe { heap.dealloc(block, old) };
    assert_eq!((heap.misuses(), heap.usage().objects), (0, 0));
}

/// A write to a block that waits is told once, however often it is looked at; and an address where no block is does not wait.
#[test]
fn a_block_that_waits_is_told_of_once() {
    let mut memory: Memory = [MaybeUninit::uninit(); 4096];
    let arena = Arena::<Sizing4KiB>::from_slice(&mut memory);
    let mut heap = Quarantine::<4, _, _>::new(arena, CountMisuses::new());
    let this = layout(64, 8);
    for round in 1..4 {
        let block = heap.alloc(this).unwrap().cast::<u8>();
        // SAFETY: the block is live, and its layout this one.
        unsafe { heap.dealloc(block, this) };
        // SAFETY: the fault that is looked for; the memory is the arena's.
        unsafe { block.write(1) };
        for _ in 0..3 {
            assert_eq!((heap.verify(), heap.misuses()), (Ok(()), round));
        }
    }
    // SAFETY: nothing is read of it.
    assert!(unsafe { heap.judge(NonNull::dangling(), layout(1, 1)) });
    heap.release_unused();
    assert_eq!((heap.misuses(), heap.held(), heap.usage().objects), (3, 0, 0));
}

/// A handler that counts nothing.
struct Seen(Option<Misuse>);

// SAFETY: M1: no heap is used.
unsafe impl OnMisuse for Seen {
    fn on_misuse(&mut self, misuse: &Misuse) {
        self.0 = Some(*misuse);
    }
}

/// A heap whose handler counts nothing has no number.
#[test]
fn what_is_not_counted_is_none() {
    let mut memory: Memory = [MaybeUninit::uninit(); 4096];
    let arena = Arena::<Sizing4KiB>::from_slice(&mut memory);
    let (mut heap, this) = (Quarantine::<4, _, _>::new(arena, Seen(None)), layout(64, 8));
    let block = heap.alloc(this).unwrap().cast::<u8>();
    for _ in 0..2 {
        // SAFETY: the block is live; the second time is the fault that is looked for.
        unsafe { heap.dealloc(block, this) };
    }
    let seen = heap.handler().0.map(|misuse| (misuse.wrong, misuse.address));
    assert_eq!((heap.misuses(), seen), (0, Some((Wrong::DoubleFree, block.addr().get()))));
}
