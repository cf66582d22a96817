//! Cores one by one.

use heapwright::arena::{Arena, SourceArena};
use heapwright::cache::{
    Classes, ConstSlot, Exactly, KeepAll, KeepSlabs, ReleaseAtOnce, Retention, SizeClasses, SlabCore,
    SlabHeap,
};
use heapwright::check::{Checks, Hardened};
use heapwright::conformance::{Source, heap, heap_over, try_heap_over};
use heapwright::heap::NoHeap;
use heapwright::sizing::{Bounded, Checked, Sizing, Sizing4KiB, Sizing16MiB, Sizing128KiB};
use heapwright::slab::{AlignedSlabs, IndexStack, IntrusiveList, LargeSlabs, NoColor, SlabSystem};
use heapwright::source::{Counted, Failing, GlobalHeap, Limited, SourceHeap};

use crate::rows;

heapwright::size_classes! { pub(crate) struct Small = 8..=1024, 4 per doubling; }
heapwright::size_classes! { pub(crate) struct Odd = [8, 24, 40, 72, 136, 144, 1000, 4104], waste 90 %; }

pub(crate) type Pages = Source<4096, true>;

/// Policies of checks, which end the process at a mistake: there is none.
type CheckedFrees = heapwright::check::Checked;
type HardenedAll = Hardened;

/// An arena in lent memory.
fn arena<S: Sizing>(source: &Source, len: usize, align: usize) -> Arena<'static, S> {
    // SAFETY: the arena uses it, and nobody else does.
    Arena::from_slice(unsafe { source.lend(len, align) })
}

macro_rules! arenas {
    ($($name:ident: $sizing:ty, $len:expr;)*) => {rows! {$(
        $name: heap_over(|source: Source| arena::<$sizing>(&source, $len, 1)).owns().resets().inspects();
    )*}};
}

arenas! {
    arena_4kib: Sizing4KiB, 4096;
    arena_4kib_of_100_bytes: Sizing4KiB, 100;
    arena_4kib_bounded: Bounded<Sizing4KiB>, 4000;
    arena_4kib_checked: Checked<Sizing4KiB>, 4001;
    arena_4kib_hardened: Checked<Sizing4KiB, Hardened>, 4001;
    arena_128kib: Sizing128KiB, 30_000;
    arena_128kib_bounded: Bounded<Sizing128KiB>, 30_001;
    arena_128kib_checked: Checked<Sizing128KiB>, 30_007;
    arena_128kib_hardened: Checked<Sizing128KiB, Hardened>, 30_007;
    arena_16mib: Sizing16MiB, 50_000;
    arena_16mib_bounded: Bounded<Sizing16MiB>, 50_000;
    arena_16mib_checked: Checked<Sizing16MiB>, 50_003;
    arena_16mib_hardened: Checked<Sizing16MiB, Hardened>, 50_003;
    arena_of_nothing: Sizing16MiB, 0;
}

rows! {
    arena_full_of_blocks: heap_over(|source: Source| arena::<Checked<Sizing16MiB>>(&source, 60_000, 1))
        .sizes_to(500).live_to(400).ops(1000).scripts(4).inspects();
}

macro_rules! sourced {
    ($($name:ident: $sizing:ty, $len:expr;)*) => {rows! {$(
        $name: try_heap_over(|source: Pages| SourceArena::<_, $sizing>::with_size(source, $len))
            .owns().resets().inspects();
    )*}};
}

sourced! {
    source_arena_4kib: Sizing4KiB, 4096;
    source_arena_128kib: Sizing128KiB, 40_000;
    source_arena_16mib: Sizing16MiB, 40_000;
    source_arena_checked: Checked<Bounded<Sizing16MiB>>, 40_000;
}

/// A slab core, of one slot or of what fits there.
fn slabs<S: SlabSystem, Z: ConstSlot, R: Retention, const FRONT: usize>(
    source: S::Source,
) -> SlabCore<S, Z, R, FRONT> {
    SlabCore::new(source)
}

macro_rules! slab_cores {
    ($($name:ident: $source:ty, $system:ty, $size:literal, $align:literal, $retention:ty, $front:literal;)*) => {rows! {$(
        $name: heap_over(|source: $source| slabs::<$system, Exactly<$size, $align>, $retention, $front>(source))
            .sizes_to($size).aligns_to(2 * $align).size_zero_fits().inspects().gives_all_back();
    )*}};
}

slab_cores! {
    slab_core_aligned: Source, AlignedSlabs<Source>, 64, 8, KeepAll, 0;
    slab_core_aligned_front: Source, AlignedSlabs<Source, 4096>, 24, 8, KeepAll, 16;
    slab_core_aligned_pages: Pages, AlignedSlabs<Pages>, 100, 4, KeepSlabs<1>, 3;
    slab_core_intrusive: Source, AlignedSlabs<Source, 4096, IntrusiveList>, 40, 8, ReleaseAtOnce, 0;
    slab_core_index: Source, AlignedSlabs<Source, 1024, IndexStack, NoColor>, 7, 1, KeepAll, 8;
    slab_core_large: Source, LargeSlabs<Source>, 300, 16, KeepAll, 4;
    slab_core_large_list: Source, LargeSlabs<Source, 9000, IntrusiveList>, 1000, 64, KeepSlabs<2>, 0;
    slab_core_large_pages: Pages, LargeSlabs<Pages>, 3000, 32, ReleaseAtOnce, 2;
}

/// A slab core with a policy of checks.
fn watched_slabs<S: SlabSystem, Z: ConstSlot, const FRONT: usize, P: Checks>(
    source: S::Source,
) -> SlabCore<S, Z, KeepAll, FRONT, P> {
    SlabCore::new(source)
}

macro_rules! watched_cores {
    ($($name:ident: $source:ty, $system:ty, $size:literal, $align:literal, $front:literal;)*) => {rows! {$(
        $name: heap_over(|source: $source| watched_slabs::<$system, Exactly<$size, $align>, $front, HardenedAll>(source))
            .sizes_to($size).aligns_to($align).inspects().gives_all_back();
    )*}};
}

rows! {
    slab_core_checked: heap_over(|source: Source| {
        watched_slabs::<AlignedSlabs<Source, 4096, IndexStack>, Exactly<40, 8>, 5, CheckedFrees>(source)
    }).sizes_to(40).aligns_to(8).size_zero_fits().inspects().gives_all_back();
    slab_core_checked_list: heap_over(|source: Source| {
        watched_slabs::<LargeSlabs<Source, 2000, IntrusiveList>, Exactly<24, 8>, 0, CheckedFrees>(source)
    }).sizes_to(24).aligns_to(8).size_zero_fits().inspects().gives_all_back();
}

watched_cores! {
    slab_core_hardened: Source, AlignedSlabs<Source>, 64, 8, 16;
    slab_core_hardened_alone: Source, AlignedSlabs<Source, 1024>, 7, 1, 0;
    slab_core_hardened_pages: Pages, AlignedSlabs<Pages>, 100, 64, 3;
    slab_core_hardened_list: Source, LargeSlabs<Source, 9000, IntrusiveList<HardenedAll>>, 300, 16, 4;
}

/// A heap of slabs with a policy of checks.
fn watched_heap<C: SizeClasses, S: SlabSystem<Source = Source>, const FRONT: usize, P: Checks>(
    source: Source,
) -> SlabHeap<C, S, SourceHeap<Source>, KeepSlabs<1>, FRONT, P> {
    SlabHeap::new(source.clone(), SourceHeap::new(source))
}

rows! {
    slab_heap_checked: heap_over(watched_heap::<Small, AlignedSlabs<Source>, 16, CheckedFrees>).inspects();
    slab_heap_hardened: heap_over(watched_heap::<Classes, AlignedSlabs<Source>, 4, HardenedAll>).inspects();
    slab_heap_hardened_list: heap_over(watched_heap::<Odd, LargeSlabs<Source, 0, IntrusiveList<HardenedAll>>, 0, HardenedAll>).inspects();
}

/// Two sources in one heap: slabs from the one, larger blocks from the other.
fn slab_heap<C: SizeClasses, S: SlabSystem<Source = Source>, R: Retention, const FRONT: usize>(
    source: Source,
) -> SlabHeap<C, S, SourceHeap<Source>, R, FRONT> {
    SlabHeap::new(source.clone(), SourceHeap::new(source))
}

rows! {
    slab_heap_small: heap_over(slab_heap::<Small, AlignedSlabs<Source>, KeepAll, 16>).inspects();
    slab_heap_odd: heap_over(slab_heap::<Odd, LargeSlabs<Source>, KeepSlabs<1>, 3>).inspects();
    slab_heap_classes: heap_over(slab_heap::<Classes, AlignedSlabs<Source>, ReleaseAtOnce, 0>).inspects();
    slab_heap_classes_list: heap_over(slab_heap::<Classes, AlignedSlabs<Source, 0, IntrusiveList>, KeepAll, 8>).inspects();
    slab_heap_alone: heap_over(|source: Source| SlabHeap::<Small, AlignedSlabs<_>, NoHeap, KeepAll, 4>::new(source, NoHeap))
        .sizes_to(1100).inspects().gives_all_back();
    slab_heap_before_an_arena: heap_over(|source: Source| {
        let arena = arena::<Sizing16MiB>(&source, 60_000, 8);
        SlabHeap::<Small, AlignedSlabs<_>, _, KeepSlabs<2>, 4>::new(source, arena)
    }).inspects();

    no_heap: heap(|| NoHeap).owns().resets().inspects().describes();
    source_heap: heap_over(|source: Source| SourceHeap::new(source)).describes().gives_all_back();
    source_heap_of_pages: heap_over(|source: Pages| SourceHeap::new(source)).describes().gives_all_back();
    source_heap_of_large_pages: heap_over(|source: Source<65536>| SourceHeap::new(source)).describes();
    source_heap_global: heap(|| SourceHeap::new(GlobalHeap));
    source_heap_limited: heap_over(|source: Source| SourceHeap::new(Limited::new(source, 20_000)));
    source_heap_counted: heap_over(|source: Pages| SourceHeap::new(Counted::new(source)));
    source_heap_failing: heap_over(|source: Source| SourceHeap::new(Failing::after(source, 7)));
    source_heap_limited_counted: heap_over(|source: Pages| {
        SourceHeap::new(Limited::new(Counted::new(Limited::new(source, 90_000)), 70_000))
    });
}
