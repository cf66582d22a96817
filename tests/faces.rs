//! Every part can be printed by `{:?}`, also while it is locked, and begins with its name; what has an initial value of its own has it as `Default`.

#![cfg(all(feature = "std", feature = "allocator-api2-04"))]
#![cfg(test)]

use std::alloc::{Layout, System};
use std::fmt::Debug;
use std::mem::MaybeUninit;

use heapwright::arena::{Arena, SourceArena, SourceTeaspoon, StaticArena, Teaspoon};
use heapwright::cache::{
    ChunkHeap, Chunks, Classes, DefaultInit, For, Magazined, ObjectCache, SlabCache, SlabHeap, StdClock,
    WithReset,
};
use heapwright::check::{Abort, Checked, Hardened, Unchecked};
use heapwright::combine::{
    AlignUp, Arenas, AtomicTotals, Chain, ClassTotals, FailNth, FixedChunks, Multiples, OnBoth, PerClass,
    Quantize, Quarantine, RedZones, Region, Ring, Scoped, Shared, SizeHistogram, Totals, Zeroing,
};
use heapwright::heap::{Locked, NoHeap, SharedHeap};
use heapwright::lock::{NoLock, SpinLock, StdLock, TicketLock, YieldLock};
use heapwright::preset::{CheckedMalloc, CompactMalloc, HardenedMalloc, SlabMalloc};
use heapwright::sizing::{Sizing4KiB, Sizing128KiB};
use heapwright::slab::{AlignedSlabs, LargeSlabs};
use heapwright::source::{
    Buffer, Counted, Failing, FromAllocator04, FromGlobalAlloc, GlobalHeap, Limited, Pages, SourceHeap,
    StaticBuffer,
};
use heapwright::trace::{
    AnyGlobal, HeapFilm, HeapProfile, LastEvents, LockedWriter, Recall, TextLog, Traced,
};

/// `{:?}` begins with the name.
fn shows<T: Debug + ?Sized>(value: &T, name: &str) {
    let (text, pretty) = (format!("{value:?}"), format!("{value:#?}"));
    assert!(text.starts_with(name), "`{text}` does not begin with `{name}`");
    assert!(pretty.starts_with(name) || name.starts_with('('), "`{pretty}` does not begin with `{name}`");
}

fn over() -> SourceHeap<GlobalHeap> {
    SourceHeap::new(GlobalHeap)
}

#[test]
fn arenas_and_sources() {
    let mut memory = vec![MaybeUninit::uninit(); 4096];
    {
        let arena = Arena::<Sizing4KiB>::from_slice(&mut memory);
        shows(&arena, "Arena");
    }
    shows(&Teaspoon::<Sizing4KiB, SpinLock>::from_slice(&mut memory), "Locked");
    shows(&StaticArena::<1024, Sizing4KiB>::new(), "StaticArena");
    shows(&SourceTeaspoon::<_, Sizing128KiB, NoLock>::with_size(GlobalHeap, 4096).unwrap(), "Locked");
    let sourced = SourceArena::<_, Sizing128KiB>::with_size(GlobalHeap, 4096).unwrap();
    shows(&sourced, "SourceArena");
    shows(sourced.source(), "GlobalHeap");
    shows(&Buffer::from_slice(&mut memory), "Buffer");
    shows(&StaticBuffer::<64>::default(), "StaticBuffer");
    shows(&Counted::new(Pages), "Counted");
    shows(Counted::new(Pages).source(), "Pages");
    shows(&Limited::new(Pages, 4096), "Limited");
    shows(&Failing::never(Pages), "Failing");
    let from = FromGlobalAlloc::new(&System);
    shows(&from, "FromGlobalAlloc");
    shows(&from.clone(), "FromGlobalAlloc");
    let wrapped = FromAllocator04::new(allocator_api2_04::alloc::Global);
    shows(&wrapped, "FromAllocator04");
    shows(&wrapped.into_inner(), "Global");
    shows(&over(), "SourceHeap");
}

#[test]
fn caches() {
    type Slabs = LargeSlabs<GlobalHeap, 1024>;
    let raw = || SlabCache::<Slabs, SpinLock, For<u64>>::over(GlobalHeap);
    shows(&raw(), "Locked");
    let objects = ObjectCache::<u32, DefaultInit, Slabs>::new(GlobalHeap, DefaultInit);
    shows(&objects, "ObjectCache");
    let object = objects.try_alloc().unwrap();
    shows(&object, "0");
    assert_eq!((object.to_string(), objects.usage().objects), ("0".into(), 1));
    drop(object);
    shows(&WithReset(DefaultInit, |_: &mut u32| {}), "WithReset");
    shows(&SlabHeap::<Classes, AlignedSlabs<GlobalHeap, 65536>, NoHeap>::new(GlobalHeap, NoHeap), "SlabHeap");
    static STOCK: ChunkHeap<Pages, YieldLock> = ChunkHeap::new(Pages);
    shows(&STOCK, "ChunkHeap");
    shows(&Chunks(&STOCK).clone(), "Chunks");
    shows(STOCK.source(), "Pages");
    let fronts = Magazined::<_, SpinLock>::new(raw());
    shows(&fronts, "Magazined");
    shows(&fronts.handle(), "Handle");
    shows(&StdClock, "StdClock");
}

#[test]
fn general_allocators() {
    shows(&SlabMalloc.clone(), "Malloc");
    shows(&CompactMalloc, "Malloc");
    shows(&CheckedMalloc, "Malloc");
    shows(&HardenedMalloc, "Malloc");
    shows(SlabMalloc.shared(), "SharedMalloc");
    let stats = SlabMalloc.stats();
    shows(&stats, "MallocStats");
    assert!(stats.to_string().lines().count() > 1);
    shows(&(Unchecked, Checked::default() as Checked, Hardened::default() as Hardened), "(Unchecked");
}

#[test]
fn combinators() {
    shows(&AlignUp::<64, _>::new(over()), "AlignUp");
    shows(AlignUp::<64, _>::new(over()).heap(), "SourceHeap");
    shows(&AlignUp::<64, _>::new(over()).into_inner(), "SourceHeap");
    shows(&Quantize::<Multiples<64>, _>::new(over()), "Quantize");
    shows(&Quantize::<Multiples<64>, _>::new(over()).into_inner(), "SourceHeap");
    shows(&Zeroing::<OnBoth, _>::new(over()), "Zeroing");
    shows(&Zeroing::<OnBoth, _>::new(over()).into_inner(), "SourceHeap");
    shows(&Zeroing::<OnBoth, NoHeap>::default(), "Zeroing");
    shows(&Quarantine::<4, _>::new(over(), Abort), "Quarantine");
    shows(&RedZones::<8, 8, _>::new(over(), Abort), "RedZones");
    shows(&RedZones::<8, 8, _>::new(over(), Abort).into_inner(), "(SourceHeap");
    shows(&FailNth::never(over()), "Refusing");
    shows(&Scoped::<NoHeap>::default(), "Scoped");
    shows(&Scoped::new(over()), "Scoped");
    shows(&Region::<GlobalHeap>::new(GlobalHeap), "Region");
    shows(&Region::<GlobalHeap, FixedChunks<4096>>::default(), "Region");
    shows(&Ring::<2, _>::new([over(), over()]), "Ring");
    shows(&Arenas::<Sizing4KiB, FixedChunks<4096>>::default(), "Arenas");
    shows(
        &Chain::<Arenas<Sizing4KiB, FixedChunks<4096>>, GlobalHeap>::new(Arenas::default(), GlobalHeap),
        "Chain",
    );
    shows(&PerClass::<Classes, _>::from_fn(|_| NoHeap), "PerClass");
    let shared = Shared::<_, SpinLock>::new(over()).unwrap();
    shows(&shared.clone(), "Shared");
    shows(&Totals::new(), "Totals");
    shows(&AtomicTotals::new(), "AtomicTotals");
    shows(&ClassTotals::<Classes>::default(), "ClassTotals");
    shows(&SizeHistogram::default(), "SizeHistogram");
}

#[test]
fn traces() {
    let layout = Layout::new::<[u8; 24]>();
    let heap = Traced::new(LastEvents::<4>::default(), Locked::<_, SpinLock>::new(over()));
    let block = heap.try_alloc(layout).unwrap();
    shows(&heap, "Traced");
    shows(heap.sink(), "LastEvents");
    // SAFETY: live, with its layout.
    unsafe { heap.free(block.cast(), layout) };
    static RECALL: Recall = Recall::new();
    static PROFILE: HeapProfile = HeapProfile::new();
    shows(&RECALL, "Recall");
    shows(&PROFILE, "HeapProfile");
    shows(&PROFILE.profile(), "Profile");
    shows(&HeapFilm::<32, 8, 10>::default(), "HeapFilm");
    shows(&AnyGlobal::new(System), "AnyGlobal");
    shows(&LockedWriter::new(Vec::<u8>::new()), "LockedWriter");
    shows(&TextLog::new(LockedWriter::new(Vec::<u8>::new())), "TextLog");
}

#[test]
fn locks_say_their_names() {
    shows(&SpinLock::default(), "SpinLock");
    shows(&TicketLock::default(), "TicketLock");
    shows(&YieldLock::default(), "YieldLock");
    shows(&StdLock::default(), "StdLock");
    let heap = Locked::<_, SpinLock>::new(over());
    // SAFETY: the work leaves the heap as it is.
    let inside = unsafe { heap.enter(|_| format!("{heap:?}")) }.unwrap();
    assert!(inside.starts_with("Locked"), "{inside}");
}
