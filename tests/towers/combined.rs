//! Combinators one by one, and some of them on each other.

use heapwright::arena::{Arena, SourceArena};
use heapwright::cache::{Classes, SlabHeap};
use heapwright::combine::{
    Adaptive, Affix, AlignUp, Arenas, AtMost, Attach, ByAlign, Chain, ClassTotals, Counted, Downward,
    DynHeap, Fallback, FixedChunks, FreeLists, Growing, Multiples, OnAlloc, OnBoth, OnFree, PerClass,
    Percent, PowersOfTwo, Quantize, Quarantine, Quota, RedZones, Region, Requested, Ring, Scoped, Segregate,
    SegregateBy, Shared, SizeHistogram, ToClasses, Totals, Unbounded, Upward, Zeroing,
};
use heapwright::conformance::{Source, heap, heap_over, shared_over, try_shared_over};
use heapwright::heap::{Abort, Locked, NoHeap};
use heapwright::lock::{NoLock, SpinLock};
use heapwright::sizing::{Checked, Sizing4KiB, Sizing16MiB, Sizing128KiB};
use heapwright::slab::AlignedSlabs;
use heapwright::source::{GlobalHeap, Limited, SourceHeap};
use heapwright::trace::{LastEvents, Traced};

use crate::cores::{Odd, Small};
use crate::rows;

type Plain = SourceHeap<Source>;

/// An arena in lent memory: a heap that knows its blocks, and runs out of room.
fn arena(source: &Source, len: usize) -> Arena<'static, Sizing128KiB> {
    // SAFETY: the arena uses it, and nobody else does.
    Arena::from_slice(unsafe { source.lend(len, 16) })
}

/// An arena in memory of its own: for heaps that give back to it what the source does not see.
fn own_arena(len: usize) -> SourceArena<GlobalHeap, Sizing128KiB> {
    SourceArena::with_size(GlobalHeap, len).unwrap()
}

/// No value, but an alignment.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Line;

// SAFETY: nothing here unwinds or uses a heap.
unsafe impl Attach for Line {
    fn attach(_: std::alloc::Layout) -> Self {
        Line
    }
}

// Which heap.
rows! {
    fallback: heap_over(|source: Source| Fallback::new(arena(&source, 3000), SourceHeap::new(source)));
    fallback_of_owners: heap_over(|source: Source| {
        Fallback::new(arena(&source, 3000), Region::<_, FixedChunks<2048>>::new(source))
    }).owns().resets();
    fallback_in_fallback: heap_over(|source: Source| {
        let first = Fallback::new(arena(&source, 1000), arena(&source, 2001));
        Fallback::new(first, arena(&source, 5000))
    }).owns().resets().inspects();
    segregate: heap_over(|source: Source| {
        Segregate::<100, _, _>::new(SourceHeap::new(source.clone()), SourceHeap::new(source))
    }).describes();
    segregate_arenas: heap_over(|source: Source| {
        Segregate::<101, _, Segregate<777, _, _>>::new(arena(&source, 2000), Segregate::new(arena(&source, 5000), arena(&source, 20_000)))
    }).owns().resets().inspects();
    segregate_by_align: heap_over(|source: Source| {
        SegregateBy::<ByAlign<16>, _, _>::new(arena(&source, 20_000), arena(&source, 90_000))
    }).owns().resets().inspects();
    per_class: heap_over(|source: Source| PerClass::<Small, _>::from_fn(|_| SourceHeap::new(source.clone()))).describes();
    per_class_arenas: heap_over(|source: Source| PerClass::<Odd, _>::from_fn(|_| arena(&source, 4001))).owns().resets().inspects();
    per_class_regions: heap_over(|source: Source| {
        PerClass::<Small, _>::from_fn(|_| Region::<_, FixedChunks<1024>, Downward, 8>::new(source.clone()))
    }).owns().resets();
    free_lists: heap_over(|source: Source| FreeLists::<Classes, _>::new(SourceHeap::new(source))).gives_all_back().describes();
    free_lists_refilled: heap_over(|source: Source| FreeLists::<Odd, _, Unbounded, 7>::new(SourceHeap::new(source))).gives_all_back();
    free_lists_bounded: heap_over(|source: Source| FreeLists::<Small, _, AtMost<3>, 4>::new(SourceHeap::new(source))).gives_all_back();
    free_lists_adaptive: heap_over(|source: Source| FreeLists::<Small, _, Adaptive<5>>::new(SourceHeap::new(source))).gives_all_back();
    free_lists_over_an_arena: heap(|| FreeLists::<Small, _, Adaptive<5>, 2>::new(own_arena(9000))).owns().resets();
    free_lists_over_regions: heap(|| {
        FreeLists::<Odd, _, AtMost<9>>::new(Region::<_, Growing<64, 4096>, Upward, 1>::new(GlobalHeap))
    }).owns().resets();
}

// What blocks are like.
rows! {
    quantize_multiples: heap_over(|source: Source| Quantize::<Multiples<48>, _>::new(SourceHeap::new(source))).describes();
    quantize_powers: heap_over(|source: Source| Quantize::<PowersOfTwo, _>::new(arena(&source, 9000))).owns().resets().inspects();
    quantize_percent: heap_over(|source: Source| Quantize::<Percent<12>, _>::new(Region::<_, FixedChunks<999>>::new(source))).owns().resets();
    quantize_classes: heap_over(|source: Source| Quantize::<ToClasses<Odd>, _>::new(SourceHeap::new(source)));
    align_up: heap_over(|source: Source| AlignUp::<64, _>::new(SourceHeap::new(source))).describes();
    align_up_an_arena: heap_over(|source: Source| AlignUp::<256, _>::new(arena(&source, 9000))).owns().resets().inspects();
    prefix: heap_over(|source: Source| Affix::<u32, _>::new(SourceHeap::new(source))).describes();
    suffix: heap_over(|source: Source| Affix::<(), _, u64>::new(arena(&source, 9000))).owns().resets().inspects();
    suffix_of_no_size: heap_over(|source: Source| Affix::<(), _, Line>::new(arena(&source, 9000))).owns().resets().inspects();
    affixes: heap_over(|source: Source| Affix::<[u8; 5], _, Requested>::new(SourceHeap::new(source)));
    affixes_of_no_size: heap_over(|source: Source| Affix::<Line, _, [u128; 0]>::new(Region::<_, FixedChunks<512>>::new(source))).resets();
    zeroing_on_alloc: heap_over(|source: Source| Zeroing::<OnAlloc, _>::new(SourceHeap::new(source))).describes();
    zeroing_on_free: heap_over(|source: Source| Zeroing::<OnFree, _>::new(arena(&source, 9000))).owns().resets().inspects();
    zeroing_on_both: heap_over(|source: Source| Zeroing::<OnBoth, _>::new(Region::<_, FixedChunks<777>, Downward>::new(source))).owns().resets();
}

// How long they live.
rows! {
    region_up: heap_over(|source: Source| Region::<_>::new(source)).owns().resets().describes();
    region_up_8: heap_over(|source: Source| Region::<_, FixedChunks<100>, Upward, 8>::new(source)).owns().resets();
    region_up_4096: heap_over(|source: Source| Region::<_, FixedChunks<32>, Upward, 4096>::new(source)).owns().resets();
    region_down: heap_over(|source: Source| Region::<_, FixedChunks<333>, Downward>::new(source)).owns().resets();
    region_down_32: heap_over(|source: Source| Region::<_, Growing<40, 5000, 3, 2>, Downward, 32>::new(source)).owns().resets();
    region_down_4096: heap_over(|source: Source| Region::<_, FixedChunks<8192>, Downward, 4096>::new(source)).owns().resets();
    ring: heap_over(|source: Source| Ring::new([(); 3].map(|()| Region::<_, FixedChunks<512>>::new(source.clone())))).owns().resets().describes();
    chain: heap_over(|source: Source| Chain::<Arenas<Checked<Sizing4KiB>, FixedChunks<1024>>, _, 0>::new(Arenas::new(), source)).owns().resets().gives_all_back();
    chain_growing: heap_over(|source: Source| Chain::<Arenas<Sizing16MiB, Growing<512, 9000>>, _, 2>::new(Arenas::new(), source)).owns().resets().gives_all_back();
    scoped: heap_over(|source: Source| Scoped::new(SourceHeap::new(source))).resets().knows_sizes().describes();
    scoped_arena: heap_over(|source: Source| Scoped::new(arena(&source, 9000))).resets().knows_sizes().inspects();
}

// What happens is seen to.
rows! {
    quota: heap_over(|source: Source| Quota::new(SourceHeap::new(source), 4000)).describes();
    quota_of_an_arena: heap_over(|source: Source| Quota::new(arena(&source, 9000), 3001)).owns().resets().inspects();
    counted: heap_over(|source: Source| {
        Counted::new((Totals::new(), ClassTotals::<Small>::new(), SizeHistogram::new()), arena(&source, 9000))
    }).owns().resets().inspects();
    quarantine: heap_over(|source: Source| Quarantine::<5, _>::new(SourceHeap::new(source), Abort)).gives_all_back().describes();
    quarantine_of_few_bytes: heap(|| Quarantine::<1, _>::with_bytes_max(own_arena(9000), Abort, 99)).owns().resets();
    red_zones: heap_over(|source: Source| RedZones::<16, 8, _>::new(SourceHeap::new(source), Abort)).describes();
    red_zones_behind: heap_over(|source: Source| RedZones::<0, 3, _>::new(arena(&source, 9000), Abort)).resets().inspects();
    red_zones_before: heap_over(|source: Source| RedZones::<5, 0, _>::new(Region::<_, FixedChunks<700>>::new(source), Abort)).resets();
}

// On each other.
rows! {
    guarded: heap_over(|source: Source| {
        RedZones::<8, 8, _>::new(Quarantine::<4, _>::new(Zeroing::<OnFree, _>::new(SourceHeap::new(source)), Abort), Abort)
    }).gives_all_back();
    shaped: heap_over(|source: Source| {
        Affix::<u16, _, u8>::new(AlignUp::<32, _>::new(Quantize::<Multiples<24>, _>::new(SourceHeap::new(source))))
    });
    bounded: heap_over(|source: Source| {
        Quota::new(Fallback::new(Quota::new(arena(&source, 3000), 999), FreeLists::<Small, _>::new(SourceHeap::new(source))), 5000)
    }).gives_all_back();
    bounded_zones: heap_over(|source: Source| Quota::new(RedZones::<3, 5, _>::new(Affix::<(), _, Line>::new(arena(&source, 9000)), Abort), 3000)).resets();
    lists_of_lists: heap_over(|source: Source| {
        FreeLists::<Odd, _, AtMost<2>, 3>::new(FreeLists::<Small, _, AtMost<4>, 5>::new(Scoped::new(SourceHeap::new(source))))
    }).gives_all_back();
    classes_of_chains: heap_over(|source: Source| {
        let chain = |_| Chain::<Arenas<Sizing4KiB, FixedChunks<2048>>, _>::new(Arenas::new(), source.clone());
        Segregate::<1024, PerClass<Small, _>, _>::new(PerClass::from_fn(chain), SourceHeap::new(source.clone()))
    }).gives_all_back();
    counted_slabs: heap_over(|source: Source<4096, true>| {
        Counted::new(Totals::new(), Quota::new(SlabHeap::<Small, AlignedSlabs<_, 4096>, NoHeap>::new(source, NoHeap), 20_000))
    }).inspects().gives_all_back();
}

// Around shared heaps.
rows! {
    shared_region: try_shared_over(|source: Source| Shared::<Region<_>, SpinLock>::new(Region::new(source))).moves().threads();
    shared_chain: try_shared_over(|source: Source| {
        Shared::<_, NoLock>::new(Chain::<Arenas<Sizing128KiB, FixedChunks<4096>>, _>::new(Arenas::new(), source))
    }).moves().refuses_reentry();
    shared_guarded: try_shared_over(|source: Source| {
        Shared::<_, SpinLock>::new(RedZones::<8, 8, _>::new(Quarantine::<4, Plain>::new(SourceHeap::new(source), Abort), Abort))
    }).moves();
    traced: shared_over(|source: Source| {
        Traced::new(LastEvents::<8>::new(), Locked::<_, SpinLock>::new(FreeLists::<Small, _>::new(SourceHeap::new(Limited::new(source, 99_000)))))
    }).threads();
    chosen_at_run_time: shared_over(|source: Source| -> &'static dyn DynHeap {
        Box::leak(Box::new(Locked::<_, NoLock>::new(SourceHeap::new(source))))
    });
}
