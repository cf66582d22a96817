//! Every part can be printed by `{:?}`, also while it is locked, and begins with its name; what has an initial value of its own has it as `Default`.

#![cfg(all(feature = "std", feature = "allocator-api2-04"))]
#![cfg(test)]

use std::alloc::{Layout, System};
use std::fmt::Debug;
use std::mem::{ManuallyDrop, MaybeUninit};

use heapwright::arena::{Arena, SourceArena, SourceTeaspoon, StaticArena, Teaspoon};
use heapwright::cache::magazine::{FrontPointer, ThreadFront, ThreadFronts};
use heapwright::cache::{
    ChunkHeap, Chunks, ClassArray, Classes, DefaultInit, For, HeapSlots, KeepAll, Magazined, Obj,
    ObjectCache, PerCpu, PerThread, SlabCache, SlabCore, SlabHeap, StdClock, UntypedCache,
    UntypedObjectAlloc, WithReset,
};
use heapwright::check::{Abort, Checked, Hardened, Unchecked};
use heapwright::combine::{
    AlignUp, Arenas, AtomicTotals, Carried, Chain, ClassTotals, DynCore, DynHeap, FailNth, FixedChunks,
    Multiples, OnBoth, PerClass, Quantize, Quarantine, RedZones, Region, Ring, Scope, Scoped, Shared,
    SizeHistogram, StackFirst, StackFirstCore, Totals, Zeroing,
};
use heapwright::conformance;
use heapwright::describe::{Bytes, Cost, describe, name};
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
    shows(from.allocator(), "System");
    let wrapped = FromAllocator04::new(allocator_api2_04::alloc::Global);
    shows(&wrapped, "FromAllocator04");
    shows(wrapped.allocator(), "Global");
    shows(&wrapped.into_inner(), "Global");
    shows(&over(), "SourceHeap");
}

#[test]
fn caches() {
    type Slabs = LargeSlabs<GlobalHeap, 1024>;
    let raw = || SlabCache::<Slabs, SpinLock, For<u64>>::over(GlobalHeap);
    shows(&raw(), "Locked");
    shows(raw().source(), "GlobalHeap");
    shows(&SlabCore::<Slabs, For<u64>, KeepAll, 0>::new(GlobalHeap), "SlabCore");
    let fill = |bytes: &mut [MaybeUninit<u8>]| bytes.fill(MaybeUninit::new(0));
    shows(
        &UntypedCache::<_, Slabs>::with_layout(GlobalHeap, Layout::new::<u64>(), fill).unwrap(),
        "UntypedCache",
    );
    let objects = ObjectCache::<u32, DefaultInit, Slabs>::new(GlobalHeap, DefaultInit);
    shows(&objects, "ObjectCache");
    shows(objects.init(), "DefaultInit");
    let object = objects.try_alloc().unwrap();
    shows(&object, "0");
    assert_eq!((object.to_string(), objects.usage().objects), ("0".into(), 1));
    drop(object);
    shows(&WithReset(DefaultInit, |_: &mut u32| {}), "WithReset");
    let slabs = SlabHeap::<Classes, AlignedSlabs<GlobalHeap, 65536>, NoHeap>::new(GlobalHeap, NoHeap);
    shows(&slabs, "SlabHeap");
    shows(slabs.source(), "GlobalHeap");
    shows(&ClassArray::<Classes, u8>::default(), "ClassArray");
    static STOCK: ChunkHeap<Pages, YieldLock> = ChunkHeap::new(Pages);
    shows(&STOCK, "ChunkHeap");
    shows(&Chunks(&STOCK).clone(), "Chunks");
    shows(STOCK.source(), "Pages");
    let fronts = Magazined::<_, SpinLock>::new(raw());
    shows(&fronts, "Magazined");
    shows(&fronts.handle(), "Handle");
    shows(&StdClock, "StdClock");
    let per_cpu: PerCpu<_, 2> = PerCpu::new(Magazined::<_, SpinLock>::new(raw()), || 0);
    shows(&per_cpu, "PerCpu");
    let heap = Locked::<_, NoLock>::new(over());
    let slots = cloned(&HeapSlots::new(&heap, Layout::new::<[u32; 3]>()));
    shows(&slots, "HeapSlots");
    assert_eq!(slots.slot_layout(), Layout::new::<[u32; 3]>());
}

/// As generic code does it, which does not know that it is a copy.
fn cloned<T: Clone>(value: &T) -> T {
    value.clone()
}

/// The default of the value's type.
fn another<T: Default>(_: &T) -> T {
    T::default()
}

heapwright::magazined! {
    static FRONTED as Fronted: Magazined<SlabCache<LargeSlabs<GlobalHeap, 1024>, SpinLock, For<u64>>, SpinLock> =
        Magazined::new(SlabCache::over(GlobalHeap));
}

/// The parts that [`magazined!`](heapwright::magazined) declares.
#[test]
fn fronts_of_threads() {
    fn parts<I: ThreadFronts>(handle: &PerThread<I>) {
        shows(&another(&cloned(handle)), "PerThread");
        assert!(format!("{:?}", FrontPointer::<I>::default()).starts_with("FrontPointer { open: false"));
        // Its drop is the thread's end.
        shows(&*ManuallyDrop::new(ThreadFront::<I>::default()), "ThreadFront");
        let opened = I::with_pointer(|pointer| format!("{pointer:?}")).unwrap();
        assert!(opened.starts_with("FrontPointer { open: true"), "{opened}");
    }
    let slot = Fronted.alloc_slot().unwrap();
    parts(&Fronted);
    // SAFETY: the slot is from this cache, and comes back once; the handles are of the same one.
    unsafe { another(&Fronted).free_slot(slot) };
    Fronted.flush();
    FRONTED.reap();
    assert_eq!(FRONTED.cache().stats().live, 0);
}

#[test]
fn pinned_objects_are_shown_and_changed() {
    static CACHE: ObjectCache<u32, DefaultInit, AlignedSlabs<GlobalHeap, 1024>, SpinLock> =
        ObjectCache::new(GlobalHeap, DefaultInit);
    let mut pinned = Obj::into_pin(CACHE.alloc().unwrap());
    *pinned += 7;
    assert_eq!(*pinned, 7);
    shows(&pinned, "7");
}

#[test]
fn general_allocators() {
    shows(&SlabMalloc.clone(), "Malloc");
    shows(&another(&SlabMalloc), "Malloc");
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

/// What is lent for a while: the insides of heaps, and what stands for a turn or a scope.
#[test]
fn what_is_lent() {
    /// A value without memory of its frame.
    struct Number;
    impl Carried for Number {
        type In<'f> = u32;
    }
    let mut ring =
        Locked::<_, NoLock>::new(Ring::new([(); 2].map(|()| Region::<GlobalHeap>::new(GlobalHeap))));
    let mut frames = ring.frames::<Number>();
    shows(&frames, "Frames");
    frames.step(|_, earlier| {
        shows(&earlier, "Earlier");
        1
    });
    let mut region = Locked::<_, NoLock>::new(Region::<GlobalHeap>::new(GlobalHeap));
    region.scope(|scope| shows(scope, "Scope"));
    let first = StackFirst::<64, GlobalHeap>::new(GlobalHeap);
    // SAFETY: the closure only reads the core, here and below.
    unsafe { first.enter(|core| shows(core, "StackFirstCore")) }.unwrap();
    let erased: &dyn DynHeap = &region;
    // SAFETY: as above.
    unsafe { erased.enter(|core| shows(core, "DynCore")) }.unwrap();
}

#[test]
fn checks_and_descriptions() {
    shows(&conformance::heap(|| NoHeap), "Check");
    shows(&conformance::shared(|| GlobalHeap), "Check");
    shows(&conformance::source(|| GlobalHeap), "Check");
    shows(&conformance::allocator_04(|| allocator_api2_04::alloc::Global), "Check");
    shows(&conformance::forwards(|probe| probe), "Forwards");
    shows(&conformance::Probe::new(), "Probe");
    conformance::source_over(|source: conformance::Source| {
        shows(&source, "Source");
        source
    })
    .scripts(1)
    .check();
    shows(&describe::<NoHeap>(), "Description");
    assert_eq!((Cost::NONE.to_string(), Bytes(0).to_string()), ("no bytes".into(), "0 bytes".into()));
    let tree = |part: String, name: &str| assert!(part.starts_with(name), "{part}");
    tree(describe::<Scope<'_, Region<GlobalHeap>, NoLock>>().to_string(), "Scope, gives all back");
    tree(describe::<StackFirstCore<'_, NoHeap>>().to_string(), "StackFirst at work");
    tree(describe::<DynCore<'_>>().to_string(), "a heap chosen at run time");
    tree(describe::<conformance::Probe>().to_string(), "Probe, counts its calls");
    tree(describe::<Sizing4KiB>().to_string(), "Sizing4KiB");
    tree(describe::<Classes>().to_string(), "Classes, ");
    shows(&name::<NoHeap>(), "NoHeap");
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
    shows(&PROFILE.report_leaks(Vec::<u8>::new()), "LeakReport");
    shows(&Box::<HeapProfile>::default(), "HeapProfile");
    let film = HeapFilm::<32, 8, 10>::default();
    shows(&film, "HeapFilm");
    assert!(film.is_empty());
    shows(&AnyGlobal::new(System), "AnyGlobal");
    shows(AnyGlobal::new(System).allocator(), "System");
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
