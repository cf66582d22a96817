//! Heaps of slab caches: the model, every size, routing, and memory that runs out.

#![cfg(all(feature = "std", not(target_arch = "wasm32")))]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[expect(dead_code, reason = "the arenas and the faulty heap of the model have a test of their own")]
mod model;

use std::alloc::Layout;
use std::any::type_name;
use std::collections::HashSet;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::arena::Teaspoon;
use heapwright::cache::{
    CacheStats, Classes, Exactly, KeepAll, KeepSlabs, ReleaseAtOnce, Retention, SizeClasses, SlabCore,
    SlabHeap,
};
use heapwright::heap::{Heap, Inspect, Locked, NoHeap, SharedHeap, Usage};
use heapwright::lock::{Lock, NoLock, SpinLock, TicketLock};
use heapwright::sizing::Sizing16MiB;
use heapwright::slab::{AlignedSlabs, IndexStack, IntrusiveList, LargeSlabs, SlabSystem};
use heapwright::source::{
    BackingSource, Counted, Failing, FromGlobalAlloc, GlobalHeap, Limited, Pages, SourceHeap,
};

use self::model::drive::{self, Case};
use self::model::pattern;
use self::model::region::Region;
use self::model::run::{self, Fault};
use self::model::script::Script;
use self::model::subject::{Face, Facts, Under};

heapwright::size_classes! { struct Small = 8..=1024, 4 per doubling; }
// Some are too little aligned for what is as large as they are: 17 bytes aligned to 16 get 144.
heapwright::size_classes! { struct Odd = [8, 24, 40, 72, 136, 144, 1000, 4104], waste 90 %; }

type System = FromGlobalAlloc<'static, std::alloc::System>;
const SYSTEM: System = FromGlobalAlloc::new(&std::alloc::System);

/// Blocks of the system's heap, `LIMIT` bytes in all at most.
fn limited<const LIMIT: usize>() -> SourceHeap<Limited<System>> {
    SourceHeap::new(Limited::new(SYSTEM, LIMIT))
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

fn face<C, S, N, R, const FRONT: usize, L>() -> Face<Locked<SlabHeap<C, S, N, R, FRONT>, L>>
where
    C: SizeClasses,
    S: SlabSystem,
    N: Heap,
    R: Retention,
    L: Lock,
{
    Face {
        // A request that fails may have given slabs back, so what is free is nothing to hold on to.
        usage: |heap| Usage { total: 0, free: 100_000, ..heap.usage() },
        owns: |_, _, _| true,
        verify: |heap| {
            // Not after every step: a walk puts what is at hand back.
            if heap.usage().objects % 32 == 7 {
                chunks_add_up(heap);
            }
            heap.verify().map_err(|found| found.to_string())
        },
        misuses: |heap| heap.misuses(),
        chunks: |heap| heap.chunks().collect(),
        reset: |_| false,
        global: Some(|heap| heap),
        #[cfg(feature = "allocator-api2-04")]
        allocator: Some(|heap| heap),
    }
}

/// Chunks follow each other, and come to what `usage` says.
fn chunks_add_up<H: Inspect, L: Lock>(heap: &Locked<H, L>) {
    use heapwright::heap::ChunkKind::{Free, Table, Used};
    let chunks: Vec<_> = heap.chunks().collect();
    let usage = heap.usage();
    assert!(chunks.windows(2).all(|pair| pair[0].offset + pair[0].len == pair[1].offset));
    let sum = |kind| chunks.iter().filter(|chunk| chunk.kind == kind).map(|chunk| chunk.len).sum::<usize>();
    assert_eq!((sum(Used), sum(Free), sum(Table)), (usage.used, usage.free, usage.tables()));
}

const LARGE: usize = 400_000;

fn facts(object_size_max: usize) -> Facts {
    Facts { granule: 8, object_size_max, region: None, fixed: false, slides: false, bounded: false }
}

/// Slabs of a source of its own, and a next heap over the system's.
struct Apart<C, S, R, L, const FRONT: usize>(PhantomData<(C, S, R, L)>);

impl<C, S, R, L, const FRONT: usize> Case for Apart<C, S, R, L, FRONT>
where
    C: SizeClasses + 'static,
    S: SlabSystem<Source: Default> + 'static,
    R: Retention + 'static,
    L: Lock + 'static,
{
    fn name() -> String {
        type_name::<Self>().into()
    }

    fn run(script: &Script) -> Result<(), Fault> {
        let core = SlabHeap::<C, S, _, R, FRONT>::new(S::Source::default(), limited::<LARGE>());
        let heap = Locked::<_, L>::new(core);
        let mut under = Under { heap, face: face(), facts: facts(LARGE) };
        run::run(&mut under, &|| Ok(()), script)?;
        assert_eq!(under.heap.stats().large_bytes, 0);
        under.heap.reap();
        assert_eq!(under.heap.usage(), Usage::default());
        Ok(())
    }
}

/// Slabs and larger blocks out of one arena, which runs out.
struct InArena<C, R, const FRONT: usize, const LEN: usize>(PhantomData<(C, R)>);

impl<C, R, const FRONT: usize, const LEN: usize> Case for InArena<C, R, FRONT, LEN>
where
    C: SizeClasses + 'static,
    R: Retention + 'static,
{
    fn name() -> String {
        type_name::<Self>().into()
    }

    fn run(script: &Script) -> Result<(), Fault> {
        let region = Region::new(LEN - script.trim, script.skew);
        // SAFETY: the region outlives the arena, and this is the only one in it.
        let arena = unsafe { Teaspoon::<Sizing16MiB, NoLock>::from_raw_parts(region.start(), region.len()) };
        let fresh = arena.usage();
        type Slabs<'a> = AlignedSlabs<&'a Teaspoon<'a, Sizing16MiB, NoLock>>;
        let core = SlabHeap::<C, Slabs<'_>, _, R, FRONT>::new(&arena, SourceHeap::new(&arena));
        let heap = Locked::<_, NoLock>::new(core);
        let mut under = Under { heap, face: face(), facts: facts(LEN) };
        run::run(&mut under, &|| region.untouched(), script)?;
        drop(under);
        assert_eq!((arena.usage(), arena.verify()), (fresh, Ok(())));
        Ok(())
    }
}

macro_rules! models {
    ($($(#[$attribute:meta])* $name:ident: $case:ty;)*) => {
        mod models {
            use super::*;

            $($(#[$attribute])*
            #[test]
            fn $name() {
                drive::check::<$case>();
            })*
        }
    };
}

models! {
    #[cfg_attr(miri, ignore = "system calls")]
    pages: Apart<Classes, AlignedSlabs<Pages>, KeepAll, NoLock, 16>;
    #[cfg_attr(miri, ignore = "system calls")]
    pages_without_front: Apart<Classes, AlignedSlabs<Pages>, ReleaseAtOnce, SpinLock, 0>;
    #[cfg_attr(miri, ignore = "system calls")]
    small_slabs: Apart<Small, AlignedSlabs<Pages, 4096, IndexStack>, KeepSlabs<1>, TicketLock, 3>;
    blocks_of_the_system: Apart<Odd, AlignedSlabs<GlobalHeap, 16384, IntrusiveList>, ReleaseAtOnce, NoLock, 1>;
    slabs_of_any_length: Apart<Classes, LargeSlabs<GlobalHeap>, KeepSlabs<2>, NoLock, 16>;
    arena: InArena<Small, KeepAll, 16, 100_000>;
    arena_released_at_once: InArena<Small, ReleaseAtOnce, 0, 50_000>;
    arena_with_all_classes: InArena<Classes, KeepAll, 8, 1_000_000>;
    arena_with_odd_classes: InArena<Odd, KeepSlabs<1>, 4, 200_000>;
}

/// The sizes about every class's edge, and about the largest.
fn edges<C: SizeClasses>() -> Vec<usize> {
    let around = |&size: &usize| [size - 1, size, size + 1];
    C::SIZES.iter().flat_map(around).collect()
}

/// Every size has a block of its good size, which comes back with any size up to its length.
fn serves<C: SizeClasses, H: Inspect>(
    heap: &Locked<H, NoLock>,
    sizes: impl Iterator<Item = usize>,
    align_max: usize,
) {
    for size in sizes.filter(|&size| size > 0) {
        // All alignments for some, one for most.
        let all = size % 61 == 0 || C::SIZES.binary_search(&size).is_ok();
        let aligns = (0..=align_max.ilog2()).map(|log| 1usize << log);
        for align in aligns.filter(|&align| all || align == 1 << (size % 5)) {
            let (asked, mut state) = (layout(size, align), size as u64);
            let block = heap.try_alloc(asked).unwrap();
            assert!(block.len() >= size && block.cast::<u8>().addr().get() % align == 0, "{asked:?}");
            // SAFETY: the closure only asks the core.
            let good = unsafe { heap.enter(|core| core.good_size(asked)) };
            assert_eq!(Ok(heap.usage().used), good, "{asked:?}");
            if let Some(class) = C::index(asked) {
                assert_eq!(block.len(), C::SIZES[class]);
            }
            let len = size + pattern::splitmix(&mut state) as usize % (block.len() - size + 1);
            // SAFETY: the block is live, and the size one between that asked for and its length.
            unsafe { heap.free(block.cast(), layout(len, align)) };
            assert_eq!(heap.usage().objects, 0, "{asked:?} freed with {len} bytes");
        }
    }
    assert_eq!(heap.verify(), Ok(()));
    chunks_add_up(heap);
}

#[test]
#[cfg_attr(miri, ignore = "system calls")]
fn every_size_is_served() {
    let heap = Locked::new(SlabHeap::<Classes, AlignedSlabs<Pages>, _>::new(Pages, limited::<LARGE>()));
    serves::<Classes, _>(&heap, 1..=70_000, 8192);
    assert_eq!((heap.stats().large_bytes, heap.stats().live), (0, 0));
    assert!(heap.reap() > 0);
    assert_eq!(heap.usage(), Usage::default());
    let pages = SourceHeap::new(Counted::new(Pages));
    let heap = Locked::new(SlabHeap::<Small, AlignedSlabs<Pages>, _, KeepAll, 0>::new(Pages, pages));
    serves::<Small, _>(&heap, (1..=70_000).step_by(97).chain(edges::<Small>()), 8192);
    let core = heap.into_inner();
    assert_eq!((core.next().source().counts().blocks, core.usage().used), (0, 0));
}

#[test]
#[cfg_attr(miri, ignore = "system calls")]
fn classes_have_edges() {
    fn refused_above<C: SizeClasses, S: SlabSystem<Source = Pages>>() {
        let heap = Locked::<_, NoLock>::new(SlabHeap::<C, S>::new(Pages, NoHeap));
        let at_most = edges::<C>().into_iter().filter(|&size| size <= C::SIZE_MAX);
        serves::<C, _>(&heap, at_most, 8);
        for refused in
            [layout(C::SIZE_MAX + 1, 1), layout(1, 2 * C::ALIGN_MAX), layout(isize::MAX as usize, 1)]
        {
            assert_eq!((C::index(refused), heap.try_alloc(refused)), (None, Err(AllocError)));
            assert!(heap.try_alloc_zeroed(refused).is_err());
        }
        assert_eq!(heap.try_alloc(layout(0, 64)).map(|block| block.len()), Ok(0));
        // A core refuses size zero; its shell never asks for it.
        assert!(heap.into_inner().alloc(layout(0, 1)).is_err());
    }
    refused_above::<Classes, AlignedSlabs<Pages>>();
    refused_above::<Small, AlignedSlabs<Pages, 8192, IntrusiveList>>();
    refused_above::<Odd, AlignedSlabs<Pages, 16384, IndexStack>>();
}

/// Resizes one block through all `steps`, and checks what it holds after each.
fn resizes<H: Inspect>(heap: &Locked<H, NoLock>, steps: impl Iterator<Item = Layout>) {
    let mut old = layout(1, 1);
    let mut block = heap.try_alloc(old).unwrap();
    // SAFETY: the block is live, and so long.
    unsafe { pattern::fill(block.cast(), block.len(), 0) };
    for (id, new) in (1..).zip(steps) {
        let kept = old.size().min(new.size());
        // SAFETY: the block is live, and its layout `old`.
        let moved = unsafe { heap.try_resize(block.cast(), old, new) }.unwrap();
        assert!(moved.len() >= new.size() && moved.cast::<u8>().addr().get() % new.align() == 0);
        // SAFETY: the block is live, so long, and initialised as far as it was before.
        assert_eq!(unsafe { pattern::first_difference(moved.cast(), kept, id - 1) }, None, "{old:?} {new:?}");
        // SAFETY: the block is live, and so long.
        unsafe { pattern::fill(moved.cast(), moved.len(), id) };
        (block, old) = (moved, new);
        assert_eq!(heap.usage().objects, 1);
    }
    // SAFETY: the block is live, and its layout `old`.
    unsafe { heap.free(block.cast(), old) };
    assert_eq!((heap.usage().used, heap.usage().objects), (0, 0));
}

#[test]
#[cfg_attr(miri, ignore = "system calls")]
fn resizing_keeps_the_contents() {
    let heap = Locked::new(SlabHeap::<Classes, AlignedSlabs<Pages>, _>::new(Pages, SourceHeap::new(Pages)));
    resizes(&heap, (1..=40_000).step_by(7).map(|size| layout(size, 1)));
    resizes(&heap, (1..=40_000).rev().step_by(11).map(|size| layout(size, 8)));
    // Up and down, across the largest class and the largest alignment.
    let mut state = 5;
    let random = move |_| {
        let (size, align) = (pattern::splitmix(&mut state) % 80_000, pattern::splitmix(&mut state) % 14);
        layout(1 + (size >> (align % 8)) as usize, 1 << align)
    };
    resizes(&heap, (0..3000).map(random));
    let largest = Classes::SIZE_MAX;
    resizes(&heap, [largest - 1, largest, largest + 1, largest, 1].into_iter().map(|size| layout(size, 16)));
    resizes(&heap, [1, 4096, 8192, 4096, 8192, 1].into_iter().map(|align| layout(5000, align)));
}

#[test]
#[cfg_attr(miri, ignore = "system calls")]
fn a_resize_within_a_class_stays() {
    let next = SourceHeap::new(Counted::new(Pages));
    let mut heap = SlabHeap::<Classes, AlignedSlabs<Pages>, _>::new(Pages, next);
    let (short, full, long, longer) = (layout(65, 1), layout(80, 16), layout(33_000, 1), layout(40_000, 1));
    let block = heap.alloc(short).unwrap().cast::<u8>();
    let pages = heap.alloc(longer).unwrap().cast::<u8>();
    let used = heap.usage().used;
    // Windows takes no part of a block back.
    let shrinks = cfg!(not(windows));
    for (at, old, new, len) in [
        (block, short, full, Some(80)),
        (block, full, short, Some(80)),
        (block, short, layout(64, 1), None),
        (block, short, layout(70, 32), None),
        (block, short, longer, None),
        (pages, longer, layout(32_768, 1), None),
        (pages, longer, long, shrinks.then(|| Pages.good_size(long))),
    ] {
        // SAFETY: the block is live, and `old` its layout.
        let resized = unsafe { heap.resize_in_place(at, old, new) };
        let expected = len.map(|len| NonNull::slice_from_raw_parts(at, len)).ok_or(AllocError);
        assert_eq!(resized, expected, "{old:?} {new:?}");
    }
    let last = if shrinks { long } else { longer };
    let shorter = Pages.good_size(longer) - Pages.good_size(last);
    assert_eq!((heap.usage().used, heap.usage().objects), (used - shorter, 2));
    // SAFETY: the block is live, and its size one between that asked for and its length.
    unsafe { heap.dealloc(block, layout(80, 1)) };
    // SAFETY: the block is live, and its layout the one that it was resized to.
    unsafe { heap.dealloc(pages, last) };
    assert_eq!((heap.usage().used, heap.next().source().counts().blocks), (0, 0));
}

#[test]
#[cfg_attr(miri, ignore = "system calls")]
fn zeroed_is_zero() {
    let heap =
        Locked::<_, NoLock>::new(SlabHeap::<Classes, AlignedSlabs<Pages>, _>::new(Pages, limited::<LARGE>()));
    for size in [1, 8, 100, 1000, 32_768, 32_769, 70_000] {
        for _ in 0..3 {
            let block = heap.try_alloc_zeroed(layout(size, 8)).unwrap();
            // SAFETY: the block is live, and initialised.
            assert_eq!(unsafe { pattern::first_nonzero(block.cast(), 0, block.len()) }, None);
            // SAFETY: the block is live, and so long.
            unsafe { pattern::fill(block.cast(), block.len(), 1) };
            // SAFETY: the block is live, and its layout this one.
            unsafe { heap.free(block.cast(), layout(size, 8)) };
        }
    }
}

/// Many sizes come and go; what holds is checked, and how many requests failed is told.
fn busy<H: Heap>(heap: &Locked<H, NoLock>, rounds: u32) -> usize {
    let (mut live, mut state, mut failed) = (Vec::<(NonNull<u8>, Layout, u32)>::new(), 1, 0);
    for id in 0..rounds {
        let random = pattern::splitmix(&mut state);
        let asked = layout(1 + (random as usize >> 16) % (3 << (random % 14)), 1 << (random % 5));
        let idx = (random >> 40) as usize % (live.len() + 1);
        let made = match live.get(idx).copied() {
            Some((ptr, old, id)) if random & 32 == 0 => {
                live.swap_remove(idx);
                // SAFETY: the block is live, filled, and so long.
                assert_eq!(unsafe { pattern::first_difference(ptr, old.size(), id) }, None);
                // SAFETY: the block is live, and its layout `old`.
                let made = unsafe { heap.try_resize(ptr, old, asked) };
                if made.is_err() {
                    live.push((ptr, old, id));
                }
                made
            }
            Some((ptr, old, id)) if random & 64 == 0 => {
                live.swap_remove(idx);
                // SAFETY: the block is live, filled, and so long.
                assert_eq!(unsafe { pattern::first_difference(ptr, old.size(), id) }, None);
                // SAFETY: the block is live, and its layout `old`.
                unsafe { heap.free(ptr, old) };
                continue;
            }
            _ => heap.try_alloc(asked),
        };
        match made {
            Ok(block) => {
                // SAFETY: the block is live, and so long.
                unsafe { pattern::fill(block.cast(), asked.size(), id) };
                live.push((block.cast(), asked, id));
            }
            Err(AllocError) => failed += 1,
        }
    }
    for (ptr, old, id) in live {
        // SAFETY: the block is live, filled, and so long.
        assert_eq!(unsafe { pattern::first_difference(ptr, old.size(), id) }, None);
        // SAFETY: the block is live, and its layout `old`.
        unsafe { heap.free(ptr, old) };
    }
    failed
}

/// Each request to a source fails in turn, alone or with all that follow, and nothing is lost.
#[test]
fn sources_fail_at_every_request() {
    type Source = Failing<Counted<System>>;
    fn run(slabs: &mut Source, next: &mut Source) -> usize {
        let heap = Locked::new(SlabHeap::<Small, AlignedSlabs<&mut Source>, _, KeepAll, 4>::new(
            slabs,
            SourceHeap::new(next),
        ));
        let failed = busy(&heap, 400);
        assert_eq!((heap.usage().objects, heap.verify()), (0, Ok(())));
        failed
    }
    let never = || Failing::never(Counted::new(SYSTEM));
    let (mut slabs, mut next) = (never(), never());
    assert_eq!(run(&mut slabs, &mut next), 0);
    assert!(slabs.requests() > 10 && next.requests() > 10, "{slabs:?} {next:?}");
    for n in 0..slabs.requests() + next.requests() {
        for fail in [Failing::nth, Failing::after] {
            let from_next = n.checked_sub(slabs.requests());
            let (mut slabs, mut next) = match from_next {
                None => (fail(Counted::new(SYSTEM), n), never()),
                Some(n) => (never(), fail(Counted::new(SYSTEM), n)),
            };
            let failed = run(&mut slabs, &mut next);
            assert_eq!((slabs.source().counts().blocks, next.source().counts().blocks), (0, 0), "{n}");
            assert!(n > 0 || failed > 0, "nobody asks again when there is nothing to give back");
        }
    }
}

/// Slabs that one class keeps are given back when another finds no memory.
#[test]
fn a_class_does_not_starve_the_others() {
    type Slabs = AlignedSlabs<Limited<System>, 4096>;
    let heap =
        Locked::<_, NoLock>::new(SlabHeap::<Small, Slabs>::new(Limited::new(SYSTEM, 16 << 10), NoHeap));
    for (class, &size) in Small::SIZES.iter().enumerate() {
        let blocks: Vec<_> = std::iter::from_fn(|| heap.try_alloc(layout(size, 8)).ok()).collect();
        let stats = heap.class_stats(class).unwrap();
        assert_eq!((stats.live, stats.slabs, heap.stats().slabs), (blocks.len(), 4, 4));
        for block in blocks {
            // SAFETY: the block is live, and its layout this one.
            unsafe { heap.free(block.cast(), layout(size, 8)) };
        }
    }
    assert_eq!(heap.slabs(Small::COUNT - 1).count(), 4);
    assert_eq!((heap.slabs(0).count(), heap.slabs(Small::COUNT).count()), (0, 0));
    assert_eq!((heap.class_stats(Small::COUNT), heap.trim(1), heap.stats().slabs), (None, 3, 1));
}

#[test]
#[cfg_attr(miri, ignore = "system calls")]
fn slots_move_many_at_once() {
    let mut heap = SlabHeap::<Small, AlignedSlabs<Pages>>::new(Pages, NoHeap);
    let class = Small::index(layout(40, 8)).unwrap();
    let first = heap.alloc(layout(40, 8)).unwrap().cast::<u8>();
    let mut out = [MaybeUninit::uninit(); 100];
    assert_eq!(heap.take_slots(class, &mut out), Ok(100));
    // SAFETY: all have been written.
    let mut slots = out.map(|slot| unsafe { slot.assume_init() }).to_vec();
    slots.push(first);
    slots.sort_unstable();
    slots.dedup();
    assert_eq!((slots.len(), heap.usage().objects), (101, 101));
    // SAFETY: all are live slots of this class, and different.
    unsafe { heap.give_slots(class, &slots) };
    assert_eq!((heap.usage().objects, heap.verify()), (0, Ok(())));
    assert!(heap.take_slots(class, &mut []).is_err() && heap.take_slots(Small::COUNT, &mut out).is_err());
}

/// What came back is at hand, each class by itself, as far as there is room; without a front nothing is, and nothing large ever.
#[test]
fn what_came_back_is_at_hand() {
    let mut heap =
        SlabHeap::<Small, AlignedSlabs<GlobalHeap>, _, KeepAll, 2>::new(GlobalHeap, limited::<LARGE>());
    let (small, other, large) = (layout(40, 8), layout(100, 4), layout(5000, 8));
    assert_eq!(heap.alloc_at_hand(small), None);
    let blocks: Vec<_> = (0..8).map(|_| heap.alloc(small).unwrap()).collect();
    let (lone, long) = (heap.alloc(other).unwrap(), heap.alloc(large).unwrap());
    while heap.alloc_at_hand(small).is_some() || heap.alloc_at_hand(other).is_some() {}
    let mut comes_back = |block: NonNull<[u8]>, layout| {
        // SAFETY: the block is live, and not used any more if it is taken.
        unsafe { heap.dealloc_at_hand(block.cast(), layout) }
    };
    assert_eq!(blocks.iter().take_while(|&&block| comes_back(block, small)).count(), 2);
    assert!(comes_back(lone, layout(112, 8)), "any layout of its class");
    assert!(!comes_back(long, large));
    assert_eq!(heap.alloc_at_hand(large), None);
    assert_eq!((heap.alloc_at_hand(other), heap.alloc_at_hand(other)), (Some(lone), None));
    assert_eq!([(); 3].map(|()| heap.alloc_at_hand(small)), [Some(blocks[1]), Some(blocks[0]), None]);
    // SAFETY: the block is live, and its layout this one.
    unsafe { heap.dealloc(long.cast(), large) };
    // SAFETY: as above: what was at hand has been taken again.
    unsafe { heap.dealloc(lone.cast(), other) };
    for block in blocks {
        // SAFETY: as above.
        unsafe { heap.dealloc(block.cast(), small) };
    }
    assert_eq!(heap.usage().objects, 0);
    let mut bare = SlabHeap::<Small, AlignedSlabs<GlobalHeap>, _, KeepAll, 0>::new(GlobalHeap, NoHeap);
    let block = bare.alloc(small).unwrap().cast();
    // SAFETY: the block is live, and stays so if it is not taken.
    assert!(!unsafe { bare.dealloc_at_hand(block, small) });
    // SAFETY: the block is live, and its layout this one.
    unsafe { bare.dealloc(block, small) };
    assert_eq!((bare.alloc_at_hand(small), bare.usage().objects), (None, 0));
}

/// Blocks of a class, and large ones, come and go at once, until there are no more; what nobody needs then goes back, here and in the
/// next heap.
#[test]
fn many_come_and_go_together() {
    type Next = SlabCore<AlignedSlabs<GlobalHeap, 16384>, Exactly<3000, 8>, KeepAll, 0>;
    type Slabs = AlignedSlabs<Limited<System>, 4096>;
    let slabs = Limited::new(SYSTEM, 4 * 4096);
    let mut heap = SlabHeap::<Small, Slabs, Next, KeepAll, 4>::new(slabs, Next::new(GlobalHeap));
    let mut out = [MaybeUninit::uninit(); 500];
    let mut batch = |heap: &mut SlabHeap<_, _, _, _, 4>, asked, most| -> Vec<NonNull<u8>> {
        let count = heap.alloc_batch(asked, &mut out[..most]);
        // SAFETY: so many were written.
        out[..count].iter().map(|block| unsafe { block.assume_init() }).collect()
    };
    let (small, large) = (layout(50, 2), layout(3000, 8));
    let (blocks, long) = (batch(&mut heap, small, 500), batch(&mut heap, large, 7));
    assert!((200..300).contains(&blocks.len()) && long.len() == 7);
    assert_eq!(blocks.iter().chain(&long).collect::<HashSet<_>>().len(), blocks.len() + 7);
    assert_eq!(batch(&mut heap, small, 1), []);
    assert_eq!(batch(&mut heap, layout(4000, 8), 1), []);
    assert_eq!(heap.usage().objects, blocks.len() + 7);
    assert_eq!(heap.release_unused(), 0);
    // SAFETY: they are live blocks of this layout, all different, and not used any more.
    unsafe { heap.dealloc_batch(small, &blocks[1..]) };
    // SAFETY: the same.
    unsafe { heap.dealloc_batch(large, &long[1..]) };
    assert_eq!((heap.usage().objects, heap.verify()), (2, Ok(())));
    // The large ones are in two slabs, of which the first still has one.
    assert_eq!((heap.release_unused(), heap.release_unused()), (3 * 4096 + 16384, 0));
    // SAFETY: the first are live still.
    unsafe { heap.dealloc_batch(small, &blocks[..1]) };
    // SAFETY: the same.
    unsafe { heap.dealloc_batch(large, &long[..1]) };
    assert_eq!((heap.release_unused(), heap.usage()), (4096 + 16384, Usage::default()));
}

#[test]
fn what_all_classes_have_is_summed_up() {
    let heap = Locked::<_, NoLock>::new(SlabHeap::<Small, AlignedSlabs<GlobalHeap>, _>::new(
        GlobalHeap,
        limited::<LARGE>(),
    ));
    let large = heap.try_alloc(layout(2000, 8)).unwrap();
    let mut left = Vec::new();
    for (size, count, back) in [(8, 600, 580), (100, 30, 30), (1000, 9, 1)] {
        let blocks: Vec<_> = (0..count).map(|_| heap.try_alloc(layout(size, 4)).unwrap()).collect();
        for block in &blocks[..back] {
            // SAFETY: the block is live, and its layout this one.
            unsafe { heap.free(block.cast(), layout(size, 4)) };
        }
        left.extend(blocks[back..].iter().map(|&block| (block, layout(size, 4))));
    }
    let (stats, classes) =
        (heap.stats(), (0..Small::COUNT).map(|class| heap.class_stats(class).unwrap()).collect::<Vec<_>>());
    assert_eq!((stats.live, stats.bytes_live, stats.large_blocks), (28, 20 * 8 + 8 * 1024, 1));
    let sum = |of: fn(&CacheStats) -> usize| classes.iter().map(of).sum::<usize>();
    assert_eq!((stats.at_hand, stats.slabs), (sum(|class| class.at_hand), sum(|class| class.slabs)));
    assert_eq!(
        (stats.free_slabs, stats.bytes_held),
        (sum(|class| class.free_slabs), sum(|class| class.bytes_held))
    );
    assert_eq!(stats.bytes_wasted, sum(CacheStats::bytes_wasted));
    assert!(
        stats.at_hand > 20 && stats.slabs > 3 && stats.free_slabs > 0 && stats.bytes_wasted > 100,
        "{stats:?}"
    );
    // SAFETY: the block is live, and its layout this one.
    unsafe { heap.free(large.cast(), layout(2000, 8)) };
    assert_eq!(heap.stats().large_bytes, 0);
    for (block, layout) in left {
        // SAFETY: as above.
        unsafe { heap.free(block.cast(), layout) };
    }
    assert_eq!(heap.stats().live, 0);
}

/// With live objects about, a drop gives back all slabs without any.
#[test]
fn a_drop_leaves_slabs_with_live_objects() {
    let mut slabs = Counted::new(SYSTEM);
    let mut heap = SlabHeap::<Small, AlignedSlabs<&mut Counted<System>, 2048>>::new(&mut slabs, NoHeap);
    let blocks: Vec<_> = (0..100).map(|_| heap.alloc(layout(64, 8)).unwrap().cast::<u8>()).collect();
    // SAFETY: the block is live, and the layout its own.
    unsafe { pattern::fill(blocks[0], 64, 3) };
    for &block in &blocks[1..] {
        // SAFETY: as above.
        unsafe { heap.dealloc(block, layout(64, 8)) };
    }
    drop(heap);
    assert_eq!(slabs.counts().blocks, 1);
    // SAFETY: the block is live for good.
    assert_eq!(unsafe { pattern::first_difference(blocks[0], 64, 3) }, None);
    let slab = NonNull::new(blocks[0].as_ptr().map_addr(|address| address & !2047)).unwrap();
    // SAFETY: nobody needs the slab any more; this is the layout that it was asked for with.
    unsafe { slabs.release(slab, layout(2048, 2048)) };
}

/// A class costs its slab system, four words, and the objects at hand.
#[test]
fn a_class_takes_what_the_docs_say() {
    const fn per_class<S: SlabSystem<Source = Pages>, const FRONT: usize>() -> usize {
        size_of::<SlabHeap<Small, S, NoHeap, KeepAll, FRONT>>() - 2 * size_of::<usize>()
    }
    type Slabs = AlignedSlabs<Pages>;
    for (bytes, front) in [(per_class::<Slabs, 0>(), 0), (per_class::<Slabs, 16>(), 16)] {
        assert_eq!(bytes, Small::COUNT * (size_of::<Slabs>() + (4 + front) * size_of::<usize>()));
    }
    static_assertions::assert_impl_all!(SlabHeap<Classes, Slabs, SourceHeap<Pages>>: Send);
    static_assertions::assert_impl_all!(Locked<SlabHeap<Classes, Slabs>, SpinLock>: Send, Sync);
    static_assertions::assert_not_impl_any!(Locked<SlabHeap<Classes, Slabs>, NoLock>: Sync);
}

#[cfg(all(feature = "allocator-api2-02", feature = "allocator-api2-04"))]
mod collections {
    use super::*;

    use allocator_api2_04::boxed::Box as Box04;
    use allocator_api2_04::vec::Vec as Vec04;
    use hashbrown_15::HashMap as Map15;
    use hashbrown_17::HashMap as Map17;

    type General = Locked<SlabHeap<Classes, AlignedSlabs<Pages>, SourceHeap<Pages>>, SpinLock>;

    fn fill(heap: &General) {
        let mut vec = Vec04::new_in(heap);
        let mut map15 = Map15::new_in(heap);
        let mut map17 = Map17::new_in(heap);
        for number in 0..20_000u64 {
            vec.push(Box04::new_in([number; 3], heap));
            map15.insert(number, number + 1);
            map17.insert(number, [number as u8; 24]);
        }
        for number in (0..20_000u64).filter(|number| number % 3 > 0) {
            assert_eq!(
                (map15.remove(&number), map17.remove(&number)),
                (Some(number + 1), Some([number as u8; 24]))
            );
        }
        map15.shrink_to_fit();
        map17.shrink_to_fit();
        vec.truncate(100);
        vec.shrink_to_fit();
        assert!(vec.iter().zip(0..).all(|(boxed, number)| **boxed == [number; 3]));
        assert_eq!((map15.len(), map17.len(), map17[&9]), (6667, 6667, [9; 24]));
    }

    #[test]
    #[cfg_attr(miri, ignore = "system calls")]
    fn live_in_it() {
        static HEAP: General = General::over(Pages, SourceHeap::new(Pages));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| fill(&HEAP));
            }
        });
        assert_eq!((HEAP.usage().objects, HEAP.usage().used, HEAP.verify()), (0, 0, Ok(())));
        assert!(HEAP.reap() > 0);
        assert_eq!(HEAP.usage(), Usage::default());
        let mut owned = Vec04::new_in(General::over(Pages, SourceHeap::new(Pages)));
        owned.extend(0..1000u32);
        assert_eq!(owned.iter().sum::<u32>(), 499_500);
    }
}
