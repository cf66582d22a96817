//! Misuses among many blocks that come and go together, and in resizes that stay where they are.

use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::cache::{Classes, Exactly, KeepAll, SizeClasses, SlabCache, SlabHeap, UntypedObjectAlloc};
use heapwright::check::{Checked, Checks, Hardened, Wrong};
use heapwright::heap::{Locked, SharedHeap};
use heapwright::lock::NoLock;
use heapwright::slab::{AlignedSlabs, Bitmap, FreeObjects, IntrusiveList};
use heapwright::source::{Pages, SourceHeap};

use crate::told::{Keep, told};
use crate::{flip, free, is_resized};

type Core<K, P> = SlabHeap<Classes, AlignedSlabs<Pages, 0, K>, SourceHeap<Pages>, KeepAll, 8, P>;
type Heap<K, P> = Locked<Core<K, P>, NoLock>;

fn heap<K: FreeObjects, P: Checks>() -> Heap<K, P> {
    Heap::over(Pages, SourceHeap::new(Pages))
}

const LAYOUT: Layout = Layout::new::<[u64; 7]>();

fn take<K: FreeObjects, P: Checks>(heap: &Heap<K, P>, count: usize) -> Vec<NonNull<u8>> {
    (0..count).map(|_| heap.try_alloc(LAYOUT).unwrap().cast()).collect()
}

/// What was told, in short.
fn found() -> Vec<(Wrong, usize)> {
    told().iter().map(|misuse| (misuse.wrong, misuse.address)).collect()
}

/// Of blocks that come back together, the one that is free already is left out.
#[test]
fn one_of_many_is_freed_twice() {
    let heap = heap::<Bitmap, Checked<Keep>>();
    let blocks = take(&heap, 20);
    free(&heap, blocks[7], LAYOUT);
    // SAFETY: the heap looks at what comes back.
    unsafe { heap.free_batch(LAYOUT, &blocks) };
    assert_eq!(found(), [(Wrong::DoubleFree, blocks[7].addr().get())]);
    assert_eq!((heap.usage().objects, heap.verify()), (0, Ok(())));
}

#[test]
fn slots_of_a_class_that_are_given_twice() {
    let heap = heap::<Bitmap, Hardened<Keep>>();
    let class = Classes::index(LAYOUT).unwrap();
    let mut out = [MaybeUninit::uninit(); 5];
    // SAFETY: the core is asked for slots, and nothing else.
    let taken = unsafe { heap.enter(|core| core.take_slots(class, &mut out)) }.unwrap();
    assert_eq!(taken, Ok(5));
    // SAFETY: all of them were written.
    let slots = out.map(|slot| unsafe { slot.assume_init() });
    let give = |slots: &[NonNull<u8>]| {
        // SAFETY: there is such a class, and the slots are its; that the first comes back twice is what the heap looks for.
        let work = |core: &mut Core<Bitmap, Hardened<Keep>>| unsafe { core.give_slots(class, slots) };
        // SAFETY: the core is given slots, and nothing else.
        unsafe { heap.enter(work) }.unwrap();
    };
    give(&slots);
    assert_eq!((found(), heap.usage().objects), (vec![], 0));
    give(&slots[..1]);
    assert_eq!((found(), heap.usage().objects), (vec![(Wrong::DoubleFree, slots[0].addr().get())], 0));
}

#[test]
fn slots_of_a_cache_that_are_freed_twice_together() {
    type Cache = SlabCache<AlignedSlabs<Pages, 4096>, NoLock, Exactly<40, 8>, KeepAll, 8, Checked<Keep>>;
    let cache = Cache::over(Pages);
    let slots: Vec<_> = (0..5).map(|_| cache.alloc_slot().unwrap()).collect();
    // SAFETY: the cache looks at what comes back.
    unsafe { cache.free_slots(&[slots[0], slots[1], slots[0], slots[2]]) };
    assert_eq!((found(), cache.stats().live), (vec![(Wrong::DoubleFree, slots[0].addr().get())], 2));
    // SAFETY: those that are live still.
    unsafe { cache.free_slots(&slots[3..]) };
    assert_eq!((found(), cache.stats().live), (vec![], 0));
}

#[test]
fn a_free_block_is_not_resized_where_it_is() {
    let heap = heap::<Bitmap, Checked<Keep>>();
    let blocks = take(&heap, 3);
    let shorter = Layout::new::<[u8; 50]>();
    assert_eq!(Classes::index(shorter), Classes::index(LAYOUT));
    assert!(is_resized(&heap, blocks[0], LAYOUT, shorter));
    free(&heap, blocks[0], shorter);
    assert!(!is_resized(&heap, blocks[0], shorter, LAYOUT));
    assert_eq!(found(), [(Wrong::DoubleFree, blocks[0].addr().get())]);
}

#[test]
fn a_small_block_is_not_resized_as_a_large_one() {
    let heap = heap::<Bitmap, Checked<Keep>>();
    let block = take(&heap, 1)[0];
    let (large, larger) = (Layout::new::<[u8; 100_000]>(), Layout::new::<[u8; 200_000]>());
    assert!(!is_resized(&heap, block, large, larger));
    let misuses = told();
    let owner = misuses[0].owner.unwrap();
    assert_eq!((misuses.len(), misuses[0].wrong, owner.object_size), (1, Wrong::WrongLayout, 56));
    free(&heap, block, LAYOUT);
    let block = heap.try_alloc(large).unwrap().cast();
    // SAFETY: the block is live, and its layout this one.
    let block = unsafe { heap.try_resize(block, large, larger) }.unwrap().cast();
    free(&heap, block, larger);
    assert_eq!((found(), heap.usage().objects), (vec![], 0));
}

/// Where the links of free blocks lie in them, one that was written to is told when it is met.
#[test]
fn a_link_in_a_free_block_that_was_written_to() {
    type Policy = Hardened<Keep>;
    for nth in [0, 10, 29] {
        let heap = heap::<IntrusiveList<Policy>, Policy>();
        let blocks = take(&heap, 30);
        let live = take(&heap, 1)[0];
        blocks.iter().for_each(|&block| free(&heap, block, LAYOUT));
        // What is at hand goes to the slabs.
        heap.trim(1);
        // SAFETY: memory that we have, though nobody may write there.
        unsafe { flip(blocks[nth], 2, 5) };
        let again = take(&heap, 60);
        assert_eq!(found(), [(Wrong::Metadata, blocks[nth].addr().get())]);
        again.into_iter().chain([live]).for_each(|block| free(&heap, block, LAYOUT));
        assert_eq!(found(), []);
    }
}
