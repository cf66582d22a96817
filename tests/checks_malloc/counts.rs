//! What is counted, and known of a block by its pointer, where blocks have guards.

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::NonNull;

use heapwright::cache::{ChunkHeap, KeepAll, MallocSettings};
use heapwright::check::Hardened;
use heapwright::heap::UsableSize;
use heapwright::lock::YieldLock;
use heapwright::source::Pages;

use crate::partial::{Guards, alloc, free, layout};
use crate::{Note, found};

/// Slabs with guards between them in the first region, and without in others.
struct Mixed;
impl MallocSettings for Mixed {
    type Classes = heapwright::cache::Classes;
    type Chunks = ChunkHeap<Pages, YieldLock, KeepAll, 32768, 1, Hardened<Note>>;
    type Lock = YieldLock;
}
heapwright::malloc! { static MIXED as MixedHeap: Mixed = ChunkHeap::new(Pages); }

/// What is live is counted as that, whether slabs have guards or not.
#[test]
fn guards_are_no_live_bytes_and_hide_none() {
    for count in [10, 300, 4000] {
        let blocks: Vec<_> = (0..count).map(|_| alloc(&MixedHeap, 2040)).collect();
        let before = MixedHeap.stats().bytes_live;
        assert_eq!(before, count * 2048);
        let runs: Vec<_> = [100_000, 40_000, 2 << 20].map(|size| (alloc(&MixedHeap, size), size)).into();
        let live = MixedHeap.stats().bytes_live;
        let asked: usize = runs.iter().map(|(_, size)| size).sum();
        assert!((asked..asked + (200 << 10)).contains(&(live - before)), "{} of {asked}", live - before);
        runs.into_iter().for_each(|(block, size)| free(&MixedHeap, block, layout(size)));
        assert_eq!(MixedHeap.stats().bytes_live, before);
        blocks.into_iter().for_each(|block| free(&MixedHeap, block, layout(2040)));
    }
    assert_eq!((MixedHeap.stats().bytes_live, found()), (0, vec![]));
}

heapwright::size_classes! { struct UpTo28KiB = 8..=28672, 8 per doubling; }

/// Declares a heap whose largest objects are as long as a chunk without a guard.
macro_rules! short {
    ($heap:ident, $handle:ident, $settings:ident, $policy:ty) => {
        struct $settings;
        impl MallocSettings for $settings {
            type Classes = UpTo28KiB;
            type Chunks = ChunkHeap<Pages, YieldLock, KeepAll, 32768, { usize::MAX }, $policy>;
            type Lock = YieldLock;
        }
        heapwright::malloc! { static $heap as $handle: $settings = ChunkHeap::new(Pages); }
    };
}
short!(SHORT, ShortHeap, ShortParts, Hardened<Note>);
short!(GUARDED, GuardedHeap, GuardedParts, Guards);

/// A block without a class for its alignment is longer than all objects, so that who brings its pointer alone does not bring that of an object.
#[test]
fn aligned_blocks_are_freed_by_their_pointers() {
    fn freed<A: GlobalAlloc + UsableSize>(heap: &A, free: impl Fn(NonNull<u8>)) {
        for size in [8, 1000, 20_000, 28_600] {
            for align in [8192, 16384, 32768] {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: the size is not zero.
                let block = NonNull::new(unsafe { heap.alloc(layout) }).unwrap();
                // SAFETY: it is live.
                let usable = unsafe { heap.usable_size(block) };
                assert!(usable >= size);
                // SAFETY: so much is its user's.
                unsafe { block.write_bytes(3, usable) };
                free(block);
                assert_eq!(found(), [], "{size} aligned to {align}");
                // SAFETY: the size is not zero.
                let object = unsafe { heap.alloc(Layout::from_size_align(28_664, 8).unwrap()) };
                // SAFETY: live, and so long; a page that can't be touched would fault.
                unsafe { object.write_bytes(4, 28_664) };
                // SAFETY: live, with its layout.
                unsafe { heap.dealloc(object, Layout::from_size_align(28_664, 8).unwrap()) };
            }
        }
    }
    // SAFETY: each block is live, and freed once.
    freed(&GuardedHeap, |block| unsafe { GuardedHeap.free_unsized(block) });
    // SAFETY: as above.
    freed(&ShortHeap, |block| unsafe { ShortHeap.free_unsized(block) });
    for heap in [ShortHeap.stats().bytes_live, GuardedHeap.stats().bytes_live] {
        assert_eq!(heap, 0);
    }
}
