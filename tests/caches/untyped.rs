//! Slots of a run-time layout that are made ready once.

use std::alloc::Layout;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use heapwright::cache::{
    Exactly, KeepAll, Magazined, ReleaseAtOnce, Retention, SlabCache, UntypedCache, UntypedObjectAlloc,
};
use heapwright::heap::{ChunkKind, SharedHeap};
use heapwright::lock::{Lock, NoLock, SpinLock};
use heapwright::slab::{AlignedSlabs, IndexStack, IntrusiveList, LargeSlabs, ShapeError, SlabSystem};
use heapwright::source::{Failing, GlobalHeap};
use static_assertions::{assert_impl_all, assert_not_impl_any};

type Slabs = AlignedSlabs<GlobalHeap, 1024>;
type Fill = fn(&mut [MaybeUninit<u8>]);
assert_impl_all!(UntypedCache<Fill, Slabs, SpinLock>: Send, Sync);
assert_impl_all!(UntypedCache<Fill, Slabs, NoLock>: Send);
assert_not_impl_any!(UntypedCache<Fill, Slabs, NoLock>: Sync);
// What a slot holds is for the next user, and a `Box` would not leave it as it was.
assert_not_impl_any!(UntypedCache<Fill, Slabs, SpinLock>: heapwright::cache::RawSlots);

fn fill(bytes: &mut [MaybeUninit<u8>]) {
    bytes.iter_mut().for_each(|byte| {
        byte.write(7);
    });
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

/// Takes `count` slots, all different, aligned and filled; marks each by its last byte, and gives them back. Says how many were marked.
fn round<C: UntypedObjectAlloc>(cache: &C, count: usize) -> usize {
    let slot = cache.slot_layout();
    let slots: BTreeSet<NonNull<u8>> = (0..count).map(|_| cache.alloc_slot().unwrap()).collect();
    assert_eq!(slots.len(), count);
    let mut marked = 0;
    for first in &slots {
        assert_eq!(first.addr().get() % slot.align(), 0);
        // SAFETY: the slot is ours and filled.
        let bytes = unsafe { NonNull::slice_from_raw_parts(*first, slot.size()).as_mut() };
        let (last, others) = bytes.split_last_mut().unwrap();
        assert!(others.iter().all(|byte| *byte == 7));
        assert!(*last == 7 || *last == 9);
        marked += usize::from(*last == 9);
        *last = 9;
    }
    let slots: Vec<_> = slots.into_iter().collect();
    let (some, others) = slots.split_at(count / 2);
    // SAFETY: they were handed out above, and come back once.
    unsafe { cache.free_slots(some) };
    for slot in others {
        // SAFETY: the same.
        unsafe { cache.free_slot(*slot) };
    }
    marked
}

fn comes_again<S: SlabSystem<Source = GlobalHeap>, L: Lock, R: Retention, const FRONT: usize>() {
    for layout in [layout(1, 1), layout(5, 4), layout(24, 8), layout(100, 64)] {
        let made = Cell::new(0);
        let make = |bytes: &mut [MaybeUninit<u8>]| {
            made.set(made.get() + 1);
            fill(bytes);
        };
        let cache = UntypedCache::<_, S, L, R, FRONT>::with_layout(GlobalHeap, layout, make).unwrap();
        assert_eq!(cache.slot_layout(), layout.pad_to_align());
        assert_eq!(round(&cache, 40), 0);
        assert_eq!((made.get(), cache.stats().live), (40, 0));
        let again = round(&cache, 40);
        assert_eq!(made.get() + again, 80, "what is not made anew is as it came back");
        assert!(cache.verify().is_ok());
        let slabs = cache.stats().slabs;
        let shown: usize = cache.chunks().map(|chunk| chunk.len).sum();
        assert!(shown > 0 && shown == cache.usage().total);
        assert_eq!(cache.reap(), slabs);
        assert_eq!((cache.stats().slabs, cache.usage().total), (0, 0));
        assert_eq!(round(&cache, 3), 0, "nothing is left of them");
    }
}

/// What is at hand when a cache is looked through is free, the first slot of a slab too.
#[test]
fn what_is_at_hand_is_shown_as_free() {
    fn shown<S: SlabSystem<Source = GlobalHeap>>() {
        let cache =
            UntypedCache::<_, S, NoLock, KeepAll, 4>::with_layout(GlobalHeap, layout(24, 8), fill).unwrap();
        let slot = cache.alloc_slot().unwrap();
        assert!(cache.chunks().any(|chunk| chunk.kind == ChunkKind::Used));
        // SAFETY: it is of this cache, and given back once.
        unsafe { cache.free_slot(slot) };
        assert!(cache.chunks().all(|chunk| chunk.kind != ChunkKind::Used));
        assert!(cache.chunks().any(|chunk| chunk.kind == ChunkKind::Free));

        // They are put back before the first look: here their slab goes then.
        let cache = SlabCache::<S, NoLock, Exactly<24, 8>, ReleaseAtOnce, 4>::over(GlobalHeap);
        let block = cache.try_alloc(layout(24, 8)).unwrap().cast();
        assert!(cache.chunks().any(|chunk| chunk.kind == ChunkKind::Used));
        // SAFETY: the block is live, and its layout this one.
        unsafe { cache.free(block, layout(24, 8)) };
        assert_eq!(cache.chunks().count(), 0);
    }
    shown::<Slabs>();
    shown::<LargeSlabs<GlobalHeap, 1500>>();
    shown::<LargeSlabs<GlobalHeap, 1500, IndexStack>>();
}

#[test]
fn slots_come_again_as_they_came_back() {
    comes_again::<Slabs, NoLock, KeepAll, 128>();
    comes_again::<Slabs, SpinLock, KeepAll, 0>();
    comes_again::<LargeSlabs<GlobalHeap, 1500, IndexStack>, NoLock, KeepAll, 4>();
    comes_again::<Slabs, NoLock, ReleaseAtOnce, 2>();
}

#[test]
fn a_policy_has_its_slabs_released_by_the_free_itself() {
    let cache =
        UntypedCache::<_, Slabs, NoLock, ReleaseAtOnce, 0>::with_layout(GlobalHeap, layout(64, 8), fill);
    let cache = cache.unwrap();
    round(&cache, 100);
    assert_eq!((cache.stats().slabs, cache.stats().slabs_peak > 5), (0, true));
    let kept =
        UntypedCache::<_, Slabs, NoLock, KeepAll, 0>::with_layout(GlobalHeap, layout(64, 8), fill).unwrap();
    round(&kept, 100);
    let slabs = kept.stats().slabs;
    assert_eq!((kept.tick(), kept.trim(2), kept.stats().slabs), (0, slabs - 2, 2));
    assert_eq!(kept.slabs().count(), 2);
}

#[test]
fn an_initialiser_that_unwinds_loses_nothing() {
    let fails = Cell::new(true);
    let make = |bytes: &mut [MaybeUninit<u8>]| {
        assert!(!fails.get(), "asked for");
        fill(bytes);
    };
    let cache = UntypedCache::<_, Slabs>::with_layout(GlobalHeap, layout(48, 8), make).unwrap();
    for _ in 0..100 {
        assert!(catch_unwind(AssertUnwindSafe(|| cache.alloc_slot().map(drop))).is_err());
        let mut out = [MaybeUninit::uninit(); 3];
        assert!(catch_unwind(AssertUnwindSafe(|| cache.alloc_slots(&mut out).map(drop))).is_err());
    }
    assert_eq!((cache.stats().live, cache.stats().slabs), (0, 1));
    fails.set(false);
    assert_eq!(round(&cache, 30), 0);
    assert!(cache.verify().is_ok());
}

#[test]
fn magazines_hand_made_slots_on() {
    let cache = UntypedCache::<_, Slabs, SpinLock, KeepAll, 0>::with_layout(GlobalHeap, layout(24, 8), fill);
    let layer: Magazined<_, SpinLock, 4, 2> = Magazined::new(cache.unwrap());
    let (front, other) = (layer.handle(), layer.handle());
    assert_eq!(round(&front, 30), 0);
    front.flush();
    assert!(round(&other, 30) > 20);
    drop((front, other));
    layer.reap();
    assert_eq!(layer.cache().stats().live, 0);
}

#[test]
fn what_cannot_be_is_told() {
    type Listed = UntypedCache<Fill, AlignedSlabs<GlobalHeap, 1024, IntrusiveList>>;
    assert!(matches!(Listed::with_layout(GlobalHeap, layout(8, 8), fill), Err(ShapeError::Overwritten)));
    type Small = UntypedCache<Fill, Slabs>;
    assert!(matches!(Small::with_layout(GlobalHeap, layout(2000, 8), fill), Err(ShapeError::TooLarge)));
    for (error, remedy) in [
        (ShapeError::TooLarge, "choose a larger slab size"),
        (ShapeError::Unaligned, "use `LargeSlabs<B>`"),
        (ShapeError::NotAPowerOfTwo, "use `LargeSlabs`"),
        (ShapeError::Overwritten, "use `Bitmap` or `IndexStack`"),
    ] {
        assert!(error.to_string().contains(remedy), "{error:?} names no remedy: {error}");
    }
    type Scarce = UntypedCache<Fill, AlignedSlabs<Failing<GlobalHeap>, 1024>>;
    let cache = Scarce::with_layout(Failing::after(GlobalHeap, 1), layout(100, 4), fill).unwrap();
    let slots: Vec<NonNull<u8>> = std::iter::from_fn(|| cache.alloc_slot().ok()).collect();
    assert_eq!((slots.len(), cache.stats().slabs), (cache.stats().capacity, 1));
    for slot in slots {
        // SAFETY: the cache's, each once.
        unsafe { cache.free_slot(slot) };
    }
}
