//! Shells, handles and general allocators: what users hold.

use heapwright::arena::{StaticArena, Teaspoon};
use heapwright::cache::{Classes, Exactly, KeepAll, SlabCache, SlabHeap};
use heapwright::combine::StackFirst;
use heapwright::conformance::{Source, global, shared, shared_over};
use heapwright::heap::Locked;
use heapwright::lock::{NoLock, SpinLock, TicketLock};
use heapwright::preset::{StaticHeap, TinyHeap4KiB, TinyHeap16MiB, TinyHeap128KiB};
use heapwright::sizing::{Bounded, Checked, Sizing4KiB, Sizing16MiB, Sizing128KiB};
use heapwright::slab::{AlignedSlabs, LargeSlabs};
use heapwright::source::{GlobalHeap, SourceHeap};

use crate::cores::Small;
use crate::rows;

type Over<L> = Locked<SourceHeap<Source>, L>;

fn over<L: heapwright::lock::Lock>(source: Source) -> Over<L> {
    Locked::new(SourceHeap::new(source))
}

type Board = StaticArena<40_000, Sizing16MiB>;

// One for each row: tests run side by side, and a check wants its heap for itself.
heapwright::instance! {
    static SHARED as Shared: Board = StaticArena::new();
    static BY_REFERENCE as ByReference: Board = StaticArena::new();
    static BY_GLOBAL_ALLOC as ByGlobalAlloc: Board = StaticArena::new();
}

rows! {
    locked_no_lock: shared_over(over::<NoLock>).moves().describes();
    locked_spin: shared_over(over::<SpinLock>).moves().threads().describes();
    // In turn, whoever runs: on few cores that takes its time.
    locked_ticket: shared_over(over::<TicketLock>).moves().ops(40).threads();
    static_arena_4kib: shared(StaticArena::<4096, Sizing4KiB>::new).threads();
    static_arena_128kib: shared(StaticArena::<30_000, Sizing128KiB, TicketLock>::new);
    static_arena_16mib: shared(StaticArena::<60_000, Sizing16MiB, NoLock>::new);
    static_arena_bounded: shared(StaticArena::<60_000, Bounded<Sizing16MiB>>::new).threads();
    static_arena_checked: shared(StaticArena::<60_000, Checked<Sizing16MiB>>::new).threads();
    teaspoon: shared_over(|source: Source| {
        // SAFETY: the arena uses it, and nobody else does.
        Teaspoon::<Sizing128KiB>::from_slice(unsafe { source.lend(30_000, 2) })
    }).moves().threads();
    static_heap: shared(StaticHeap::<30_000>::new).threads();
    tiny_4kib: shared(TinyHeap4KiB::<3000>::new).threads();
    tiny_128kib: shared(TinyHeap128KiB::<30_000>::new).threads();
    tiny_16mib: shared(TinyHeap16MiB::<60_000>::new).threads();
    instance: shared(|| Shared).moves().threads();
    by_reference: shared(|| ByReference.heap()).moves().threads();
    slab_cache: shared_over(SlabCache::<AlignedSlabs<Source>, SpinLock, Exactly<48, 8>>::over).sizes_to(48).moves().threads();
    slab_cache_large: shared_over(SlabCache::<LargeSlabs<Source>, NoLock, Exactly<500, 32>>::over).sizes_to(500).moves();
    slab_heap: shared_over(|source: Source| {
        let core = SlabHeap::<Classes, AlignedSlabs<_>, _, KeepAll, 4>::new(source.clone(), SourceHeap::new(source));
        Locked::<_, SpinLock>::new(core)
    }).moves().threads();
    slab_heap_small: shared_over(|source: Source| {
        let core = SlabHeap::<Small, LargeSlabs<_>, _, KeepAll, 4>::new(source.clone(), SourceHeap::new(source));
        Locked::<_, TicketLock>::new(core)
    }).moves();
    stack_first: shared_over(|source: Source| StackFirst::<200, _>::new(over::<NoLock>(source)));
    stack_first_shared: shared_over(|source: Source| StackFirst::<1000, _, SpinLock>::new(over::<SpinLock>(source))).threads();
    stack_first_global: shared(|| StackFirst::<256, GlobalHeap>::new(GlobalHeap));
    stack_first_twice: shared_over(|source: Source| {
        StackFirst::<64, _>::new(StackFirst::<512, _>::new(over::<NoLock>(source)))
    });
    global_heap: shared(|| GlobalHeap).moves().threads();
    global_by_global_alloc: global(|| std::alloc::System).threads();
    static_heap_by_global_alloc: global(StaticHeap::<30_000>::new).threads();
    instance_by_global_alloc: global(|| ByGlobalAlloc).threads();
}

#[cfg(feature = "std")]
rows! {
    locked_std: shared_over(over::<heapwright::lock::StdLock>).moves().threads();
    locked_yield: shared_over(over::<heapwright::lock::YieldLock>).moves().threads();
    locked_owner: shared_over(over::<heapwright::lock::OwnerChecked<SpinLock>>).moves().threads().refuses_reentry();
}

#[cfg(feature = "critical-section")]
rows! {
    locked_critical_section: shared_over(over::<heapwright::lock::CriticalSectionLock>).moves().threads();
}

#[cfg(feature = "lock_api")]
rows! {
    locked_lock_api: shared_over(over::<heapwright::lock::LockApi<parking_lot::RawMutex>>).moves().threads();
}

#[cfg(all(feature = "std", not(miri)))]
rows! {
    slab_malloc: global(|| heapwright::preset::SlabMalloc).threads();
    compact_malloc: global(|| heapwright::preset::CompactMalloc).threads();
}

#[cfg(feature = "allocator-api2-02")]
mod version_02 {
    use heapwright::conformance::{allocator_02, allocator_02_ref};

    use super::*;

    heapwright::instance! { static INSTANCE as Instance: Board = StaticArena::new(); }

    rows! {
        locked: allocator_02(|| Locked::<_, SpinLock>::new(SourceHeap::new(GlobalHeap))).threads();
        static_arena: allocator_02_ref(StaticArena::<40_000, Sizing16MiB>::new).threads();
        stack_first: allocator_02_ref(|| StackFirst::<300, GlobalHeap>::new(GlobalHeap));
        instance: allocator_02(|| Instance).threads();
        theirs: allocator_02(|| allocator_api2_02::alloc::Global).threads();
    }
}

#[cfg(feature = "allocator-api2-03")]
mod version_03 {
    use heapwright::conformance::{allocator_03, allocator_03_ref};

    use super::*;

    heapwright::instance! { static INSTANCE as Instance: Board = StaticArena::new(); }

    rows! {
        locked: allocator_03(|| Locked::<_, SpinLock>::new(SourceHeap::new(GlobalHeap))).threads();
        static_arena: allocator_03_ref(StaticArena::<40_000, Sizing16MiB>::new).threads();
        stack_first: allocator_03_ref(|| StackFirst::<300, GlobalHeap>::new(GlobalHeap));
        instance: allocator_03(|| Instance).threads();
    }
}

#[cfg(feature = "allocator-api2-04")]
mod version_04 {
    use heapwright::conformance::{allocator_04, allocator_04_ref};

    use super::*;

    heapwright::instance! { static INSTANCE as Instance: Board = StaticArena::new(); }

    rows! {
        locked: allocator_04(|| Locked::<_, SpinLock>::new(SourceHeap::new(GlobalHeap))).threads();
        static_arena: allocator_04_ref(StaticArena::<40_000, Sizing16MiB>::new).threads();
        stack_first: allocator_04_ref(|| StackFirst::<300, GlobalHeap>::new(GlobalHeap));
        instance: allocator_04(|| Instance).threads();
        theirs: allocator_04(|| allocator_api2_04::alloc::Global).threads();
    }

    #[cfg(feature = "std")]
    rows! {
        slab_malloc: allocator_04(|| heapwright::preset::SlabMalloc).threads();
    }
}

#[cfg(feature = "nightly")]
mod version_core {
    use heapwright::conformance::{allocator_core, allocator_core_ref};

    use super::*;

    rows! {
        locked: allocator_core(|| Locked::<_, SpinLock>::new(SourceHeap::new(GlobalHeap))).threads();
        static_arena: allocator_core_ref(StaticArena::<40_000, Sizing16MiB>::new).threads();
        theirs: allocator_core(|| std::alloc::Global).threads();
    }
}
