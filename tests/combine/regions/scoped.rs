//! `Scoped`: what was taken goes back, singly or at the end.

use heapwright::arena::Arena;
use heapwright::combine::{Region, Scoped};
use heapwright::heap::{Heap, Inspect, Locked, Reset, SharedHeap, UsableSize};
use heapwright::lock::NoLock;
use heapwright::sizing::{Checked, Sizing16MiB};
use heapwright::source::{GlobalHeap, SourceHeap};

use super::layout;
use super::shadow::{Shadow, assert_whole, torture};

#[test]
fn everything_goes_back() {
    let mut parents = Vec::new();
    torture(&mut parents, 3000, |parent| Scoped::new(SourceHeap::new(parent)));
    parents.into_iter().for_each(|parent| {
        assert_whole(parent);
    });
    let mut parents = Vec::new();
    torture(&mut parents, 300, |parent| Scoped::new(Region::<_>::new(parent)));
    parents.into_iter().for_each(|parent| {
        assert_whole(parent);
    });
}

#[test]
fn an_arena_is_as_new_afterwards() {
    let mut memory = vec![std::mem::MaybeUninit::uninit(); 1 << 20];
    let arena = Arena::<Checked<Sizing16MiB>>::from_slice(&mut memory);
    let arena = Locked::<_, NoLock>::new(arena);
    for seed in 0..20 {
        let mut scoped = Scoped::new(SourceHeap::new(&arena));
        let mut shadow = Shadow::new(seed * 77 + 1, 2000);
        shadow.run(&mut scoped, 300);
        assert_eq!((scoped.live(), arena.usage().objects), (shadow.blocks.len(), shadow.blocks.len()));
        if seed % 2 == 0 {
            // SAFETY: no block is used again.
            unsafe { scoped.reset() };
            assert_eq!((scoped.live(), arena.usage().objects), (0, 0));
        }
        drop(scoped);
        assert_eq!((arena.usage().objects, arena.misuses(), arena.verify()), (0, 0, Ok(())));
    }
}

#[test]
fn looks_into_its_parent_and_refuses_size_zero() {
    let mut memory = vec![std::mem::MaybeUninit::uninit(); 4096];
    let mut scoped = Scoped::new(Arena::<Sizing16MiB>::from_slice(&mut memory));
    assert!(scoped.alloc(layout(0, 1)).is_err());
    assert!(scoped.alloc(layout(isize::MAX as usize, 1)).is_err());
    scoped.alloc(layout(1, 256)).expect("room");
    assert_eq!((scoped.usage().objects, scoped.verify()), (1, Ok(())));
    assert_eq!(scoped.parent().usage(), scoped.usage());
}

/// What a `Vec` does that takes over a `Box`'s memory: its pointer is good for the old size only.
#[test]
fn grows_and_frees_from_a_pointer_for_the_block_only() {
    let heap = Locked::<_, NoLock>::new(Scoped::new(SourceHeap::new(GlobalHeap)));
    let (old, new) = (layout(4, 4), layout(64, 4));
    let mut start = heap.try_alloc_zeroed(old).expect("room").cast::<[u8; 4]>();
    // SAFETY: the block is live and zeroed, and there is no other reference.
    let narrow = std::ptr::NonNull::from(unsafe { start.as_mut() });
    // SAFETY: the block is live, and the layout its own.
    let mut block = unsafe { heap.try_resize(narrow.cast(), old, new) }.expect("room").cast::<u8>();
    // SAFETY: the block has 64 bytes.
    unsafe { block.write_bytes(7, 64) };
    // SAFETY: as above.
    let narrow = std::ptr::NonNull::from(unsafe { block.as_mut() });
    // SAFETY: as above.
    unsafe { heap.free(narrow, new) };
    assert_eq!(heap.into_inner().live(), 0);
}

#[test]
fn knows_the_size_of_a_block() {
    let mut scoped = Scoped::new(SourceHeap::new(GlobalHeap));
    for (size, align) in [(1, 1), (100, 4), (33, 64), (5, 4096)] {
        let block = scoped.alloc(layout(size, align)).expect("room").cast();
        // SAFETY: the block is live.
        assert_eq!(unsafe { scoped.usable_size(block) }, size);
    }
}
