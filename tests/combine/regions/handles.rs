//! `Shared` and `DynHeap` in collections.

use std::mem::MaybeUninit;

use allocator_api2_04::boxed::Box;
use allocator_api2_04::vec::Vec;
use hashbrown_17::HashMap;
use heapwright::arena::{Arena, Teaspoon4KiB};
use heapwright::check::{self, Ignore, Wrong};
use heapwright::combine::{DynCore, DynHeap, Region, Scoped, Shared};
use heapwright::heap::{Heap, Locked, SharedHeap};
use heapwright::lock::{NoLock, SpinLock};
use heapwright::sizing::{Checked, Sizing16MiB};
use heapwright::source::{Counted, GlobalHeap, SourceHeap};

use super::layout;
use super::shadow::{Parent, assert_whole, never, parent};

type Handle<'a> = Shared<Scoped<SourceHeap<&'a Parent>>, SpinLock>;

fn handle(parent: &Parent) -> Handle<'_> {
    Shared::new(Scoped::new(SourceHeap::new(parent))).expect("room")
}

#[test]
fn collections_take_their_heap_along() {
    let parent = parent(never, 0);
    {
        let map = {
            let heap = handle(&parent);
            let mut map = HashMap::new_in(heap.clone());
            for n in 0..500u32 {
                map.insert(n, Box::new_in(n * n, heap.clone()));
            }
            assert_eq!(heap.handles(), 502);
            assert_eq!(heap, heap.clone());
            assert_ne!(heap, handle(&parent));
            map
        };
        let copy = map.clone();
        std::thread::scope(|threads| {
            threads.spawn(move || drop(map));
            assert_eq!(*copy[&22], 484);
            threads.spawn(move || drop(copy));
        });
    }
    assert_whole(parent);
}

#[test]
fn the_last_handle_ends_the_heap() {
    let parent = parent(never, 0);
    let heap = handle(&parent);
    let handles: std::vec::Vec<_> = (0..100).map(|_| heap.clone()).collect();
    // Left behind by its owner: it goes with the heap.
    std::mem::forget(Box::new_in([1u8; 100], heap.clone()));
    drop(heap);
    std::thread::scope(|threads| {
        for handle in handles {
            threads.spawn(move || assert!(handle.try_alloc(layout(10, 1)).is_ok()));
        }
    });
    // The forgotten box has a handle, too.
    let source = |parent: &Parent| {
        // SAFETY: the closure only reads the core.
        unsafe { parent.enter(|core| core.source().source().counts().blocks) }
    };
    assert!(source(&parent).is_ok_and(|blocks| blocks > 1));

    let whole = super::shadow::parent(never, 0);
    let heap = handle(&whole);
    assert!(heap.try_alloc(layout(10, 1)).is_ok());
    drop(heap.clone());
    assert!(source(&whole).is_ok_and(|blocks| blocks == 2));
    drop(heap);
    assert_whole(whole);
}

#[test]
fn a_shared_heap_of_a_region() {
    let heap = Shared::<Region<Counted<GlobalHeap>>, NoLock>::new(Region::new(Counted::new(GlobalHeap)))
        .expect("room");
    let mut list = Vec::new_in(heap.clone());
    list.extend(0..10_000u32);
    drop(heap);
    assert_eq!(list.iter().sum::<u32>(), 49_995_000);
    assert_eq!(list.allocator().handles(), 1);
}

fn numbers(heap: &dyn DynHeap) -> Vec<u32, &dyn DynHeap> {
    let mut list = Vec::new_in(heap);
    list.extend(0..100);
    list
}

#[test]
fn heaps_are_chosen_at_run_time() {
    let mut memory = [MaybeUninit::uninit(); 2048];
    let arena = <Teaspoon4KiB<'_>>::from_slice(&mut memory);
    let shared = Shared::<Region<GlobalHeap>, NoLock>::new(Region::new(GlobalHeap)).expect("room");
    let heaps: [&dyn DynHeap; 4] = [&arena, &GlobalHeap, &shared, &&arena];
    for heap in heaps {
        let list = numbers(heap);
        let mut map = HashMap::new_in(heap);
        map.extend(list.iter().map(|&n| (n as u8, n)));
        assert_eq!(map[&7], 7);
    }
    assert_eq!(arena.usage().objects, 0);
    assert_eq!(format!("{:?}", heaps[0]), "DynHeap { .. }");
}

/// A handle without a type is a source, and a heap for other threads if what is behind it is.
#[test]
fn as_a_source_and_on_threads() {
    let parent = parent(never, 0);
    let heap: &(dyn DynHeap + Sync) = &parent;
    {
        let region = Locked::<Region<_>, NoLock>::new(Region::new(heap));
        let mut list = Vec::new_in(&region);
        list.extend(0..1000u32);
        assert_eq!(list.len(), 1000);
    }
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(move || {
                let mut list = Vec::new_in(heap);
                list.extend(0..1000u32);
            });
        }
    });
    assert_whole(parent);
}

/// Growth in place and zeroed memory go through.
#[test]
fn resizes_as_the_heap_itself() {
    let heap = Locked::<Region<GlobalHeap>, NoLock>::new(Region::new(GlobalHeap));
    let erased: &dyn DynHeap = &heap;
    let (short, long) = (layout(40, 8), layout(400, 8));
    let block = erased.try_alloc_zeroed(short).expect("room").cast::<u8>();
    // SAFETY: the block is live, and the layouts its own.
    let grown = unsafe { erased.try_resize_zeroed(block, short, long) }.expect("room");
    assert_eq!(grown.cast(), block);
    // SAFETY: zeroed, and 400 bytes long.
    assert_eq!(unsafe { grown.cast::<[u8; 400]>().read() }, [0; 400]);
    let work = |core: &mut _| {
        // SAFETY: the block is live, and the layouts its own.
        unsafe { Heap::resize_in_place(core, block, long, short) }
    };
    // SAFETY: the closure only calls the core.
    let shrunk = unsafe { erased.enter(work) };
    assert_eq!(shrunk.map(|block| block.map(|block| block.len())), Ok(Ok(40)));
    // SAFETY: as above.
    unsafe { erased.free(block, short) };
}

/// The core of a heap whose type is forgotten looks at blocks, and tells what it has found, as the heap itself does.
#[test]
fn a_core_without_a_type_looks_and_tells() {
    let mut memory = [MaybeUninit::uninit(); 2048];
    let arena = Arena::<Checked<Sizing16MiB, check::Checked<Ignore>>>::from_slice(&mut memory);
    let heap = Locked::<_, NoLock>::new(arena);
    let this = layout(40, 8);
    let blocks = [(); 3].map(|()| heap.try_alloc(this).expect("room").cast());
    let shared: &dyn DynHeap = &heap;
    let entered = |core: &mut DynCore<'_>| {
        // SAFETY: live blocks, and their layout.
        unsafe { core.dealloc_batch(this, &blocks[..2]) };
        for (block, live) in blocks.into_iter().zip([false, false, true]) {
            // SAFETY: whether it is live is what is asked.
            assert_eq!(unsafe { core.judge(block, this) }, live);
            let found = core.take_finding().map(|finding| finding.misuse().wrong);
            assert_eq!(found, (!live).then_some(Wrong::DoubleFree));
        }
    };
    // SAFETY: the closure only calls the core.
    assert_eq!(unsafe { shared.enter(entered) }, Ok(()));
    assert_eq!((heap.usage().objects, heap.misuses()), (1, 2));
}
