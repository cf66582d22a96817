//! Misuses among many blocks that come and go together, and in resizes that stay where they are.

use std::alloc::Layout;
use std::collections::HashSet;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::cache::{
    Classes, Exactly, KeepAll, SizeClasses, SlabCache, SlabCore, SlabHeap, UntypedObjectAlloc,
};
use heapwright::check::{Checked, Checks, Hardened, Wrong};
use heapwright::heap::{Inspect, Locked, SharedHeap};
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

/// What a core has found by now, in short.
fn found_by(core: &mut impl Inspect) -> Vec<(Wrong, usize)> {
    while let Some(finding) = core.take_finding() {
        finding.tell();
    }
    found()
}

/// Blocks that come together end where they are to, and are looked at one by one when they come back together.
#[test]
fn each_of_many_is_looked_at() {
    fn run<P: Checks>(core: &mut impl Inspect) {
        // Its slots have some bytes more, with and without a zone.
        let layout = Layout::new::<[u8; 42]>();
        let mut out = [MaybeUninit::uninit(); 20];
        assert_eq!(core.alloc_batch(layout, &mut out), 20);
        // SAFETY: all of them were written.
        let blocks = out.map(|block| unsafe { block.assume_init() });
        let addresses = blocks.map(|block| block.addr().get());
        let mut back = |blocks: &[NonNull<u8>]| {
            // SAFETY: blocks of this layout; that one comes back twice is what the core looks for.
            unsafe { core.dealloc_batch(layout, blocks) };
            (found_by(core), core.usage().objects)
        };
        assert_eq!(back(&blocks[..10]), (vec![], 10));
        if P::RED_ZONE > 0 {
            // SAFETY: it lies behind the block, in its zone.
            unsafe { flip(blocks[12], 42, 3) };
            assert_eq!(back(&blocks[11..13]), (vec![(Wrong::WrittenBehind, addresses[12])], 8));
        } else {
            assert_eq!(back(&blocks[11..13]), (vec![], 8));
        }
        assert_eq!(back(&[blocks[12], blocks[14]]), (vec![(Wrong::DoubleFree, addresses[12])], 7));
        assert_eq!(back(&[blocks[10], blocks[13]]), (vec![], 5));
        assert_eq!((back(&blocks[15..]), core.verify()), ((vec![], 0), Ok(())));
    }
    type Cache<P> = SlabCore<AlignedSlabs<Pages, 4096>, Exactly<48, 8>, KeepAll, 8, P>;
    run::<Hardened<Keep>>(&mut Cache::<Hardened<Keep>>::new(Pages));
    run::<Checked<Keep>>(&mut Cache::<Checked<Keep>>::new(Pages));
    run::<Hardened<Keep>>(&mut Core::<Bitmap, Hardened<Keep>>::new(Pages, SourceHeap::new(Pages)));
    run::<Checked<Keep>>(&mut Core::<Bitmap, Checked<Keep>>::new(Pages, SourceHeap::new(Pages)));
}

/// With zones a block is as long as was asked for, and fits where its zone does too: one of no byte nowhere. Nothing is at hand that is not
/// looked at.
#[test]
fn zones_take_room() {
    fn run(core: &mut impl Inspect, most: Layout) {
        let sized = |size| Layout::from_size_align(size, 1).unwrap();
        for size in [1, 7, 40] {
            let blocks = [(); 2].map(|()| core.alloc(sized(size)).unwrap());
            assert!(blocks.iter().all(|block| block.len() == size) && core.good_size(sized(size)) == size);
            assert!(blocks[0].addr().get().abs_diff(blocks[1].addr().get()) >= size + 8);
            // SAFETY: the block is live, and so long.
            blocks.iter().for_each(|block| unsafe { block.cast::<u8>().write_bytes(0xee, size) });
            // SAFETY: the block is live, and stays so if it is not taken.
            assert!(!unsafe { core.dealloc_at_hand(blocks[0].cast(), sized(size)) });
            // SAFETY: the block is live, and its layout this one.
            blocks.iter().for_each(|block| unsafe { core.dealloc(block.cast(), sized(size)) });
            assert_eq!((core.alloc_at_hand(sized(size)), core.usage().objects), (None, 0));
        }
        assert_eq!(
            (core.alloc(sized(0)), core.alloc_batch(sized(0), &mut [MaybeUninit::uninit()])),
            (Err(AllocError), 0)
        );
        let longer = Layout::from_size_align(most.size() + 1, most.align()).unwrap();
        let block = core.alloc(most).unwrap();
        // SAFETY: the block is live.
        assert_eq!(unsafe { core.resize_in_place(block.cast(), most, longer) }, Err(AllocError));
        // SAFETY: the block is live, and its layout this one.
        unsafe { core.dealloc(block.cast(), most) };
        assert_eq!((found_by(core), core.verify()), (vec![], Ok(())));
    }
    type Cache = SlabCache<AlignedSlabs<Pages, 4096>, NoLock, Exactly<40, 8>, KeepAll, 8, Hardened<Keep>>;
    let cache = Cache::over(Pages);
    assert_eq!((cache.slot_size(), cache.stats().slot_size), (40, 48));
    assert_eq!(cache.try_alloc(Layout::new::<[u8; 41]>()), Err(AllocError));
    run(&mut cache.into_inner(), Layout::new::<[u64; 5]>());
    let largest = Layout::from_size_align(Classes::SIZE_MAX - 8, 8).unwrap();
    run(&mut Core::<Bitmap, Hardened<Keep>>::new(Pages, SourceHeap::new(Pages)), largest);
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
        assert_eq!(heap.verify(), Ok(()));
        // SAFETY: memory that we have, though nobody may write there.
        unsafe { flip(blocks[nth], 2, 5) };
        assert!(heap.verify().is_err(), "what is behind it is lost");
        let again = take(&heap, 60);
        assert_eq!(found(), [(Wrong::Metadata, blocks[nth].addr().get())]);
        assert_eq!(heap.verify(), Ok(()), "what is lost counts as taken");
        again.into_iter().chain([live]).for_each(|block| free(&heap, block, LAYOUT));
        assert_eq!(found(), []);
    }
    type Slabs = AlignedSlabs<Pages, 4096, IntrusiveList<Policy>>;
    let cache = SlabCache::<Slabs, NoLock, Exactly<56, 8>, KeepAll, 0, Policy>::over(Pages);
    let slots: Vec<_> = (0..30).map(|_| cache.alloc_slot().unwrap()).collect();
    // SAFETY: they are live, all different, and not used any more.
    unsafe { cache.free_slots(&slots) };
    // SAFETY: memory that we have, though nobody may write there.
    unsafe { flip(slots[7], 6, 1) };
    assert!(cache.verify().is_err(), "what is behind it is lost");
}

/// Free blocks are zero; one that was written to is told when it goes out again, whatever it is written to, and wherever it waits.
#[test]
fn a_free_block_that_was_written_to() {
    let heap = heap::<Bitmap, Hardened<Keep>>();
    let blocks = take(&heap, 60);
    blocks.iter().for_each(|&block| free(&heap, block, LAYOUT));
    for (&block, offset) in blocks[10..].iter().step_by(20).zip([0, 30, 63]) {
        // SAFETY: memory that we have, though nobody may write there.
        unsafe { flip(block, offset, 1) };
    }
    // Which goes out is a matter of chance.
    let mut again = Vec::new();
    while !blocks.iter().all(|block| again.contains(block)) {
        again.extend(take(&heap, 60));
    }
    let damages: HashSet<_> = told()
        .iter()
        .map(|misuse| (misuse.wrong, misuse.address, misuse.damage.map(|damage| damage.offset)))
        .collect();
    let expected =
        |(nth, offset): (usize, isize)| (Wrong::WrittenAfterFree, blocks[nth].addr().get(), Some(offset));
    assert_eq!(damages, [(10, 0), (30, 30), (50, 63)].map(expected).into());
    again.into_iter().for_each(|block| free(&heap, block, LAYOUT));
    assert_eq!((found(), heap.usage().objects, heap.verify()), (vec![], 0, Ok(())));
}

/// A call that takes from several slabs tells of the broken link in each.
#[test]
fn links_of_several_slabs_that_were_written_to() {
    type Policy = Hardened<Keep>;
    fn counted<const FRONT: usize>(together: bool) {
        type Slabs = AlignedSlabs<Pages, 4096, IntrusiveList<Policy>>;
        let cache = SlabCache::<Slabs, NoLock, Exactly<56, 8>, KeepAll, FRONT, Policy>::over(Pages);
        let mut slots = Vec::new();
        while cache.stats().slabs < 3 {
            slots.push(cache.try_alloc(LAYOUT).unwrap().cast::<u8>());
        }
        // The third slab has one, which stays, and more that were never out.
        let live = slots.pop();
        for &slot in &slots {
            // SAFETY: it is live, its layout this one, and not used any more.
            unsafe { cache.free(slot, LAYOUT) };
        }
        cache.trim(3);
        for &slot in &slots {
            // SAFETY: memory that we have, though nobody may write there.
            unsafe { flip(slot, 0, 1) };
        }
        if together {
            let mut out = [MaybeUninit::uninit(); 300];
            cache.try_alloc_batch(LAYOUT, &mut out);
        } else {
            while cache.misuses() < 2 {
                cache.try_alloc(LAYOUT).unwrap();
            }
        }
        assert_eq!(cache.misuses(), 2, "at hand {FRONT}, together: {together}");
        // One report tells of what one call has found.
        let reports = found();
        assert!(reports.iter().all(|&(wrong, _)| wrong == Wrong::Metadata));
        assert_eq!(reports.len(), if together { 1 } else { 2 });
        std::mem::forget((cache, live));
    }
    for together in [false, true] {
        counted::<0>(together);
        counted::<16>(together);
        counted::<128>(together);
    }
}
