//! Every part says what it is made of, in any composition.

#![cfg(all(feature = "std", feature = "allocator-api2-04"))]
#![expect(clippy::expect_used, reason = "a test that can not go on says why and stops")]

use std::collections::BTreeSet;
use std::fs;
use std::mem::MaybeUninit;
use std::path::Path;

use heapwright::arena::{Arena, SourceArena, SourceTeaspoon, StaticArena, Teaspoon, View};
use heapwright::cache::{
    AtRunTime, ChunkHeap, Chunks, Classes, DefaultInit, Exactly, FnInit, For, Handle, HeapSlots, KeepAll,
    KeepSlabs, Magazined, ObjectCache, PerCpu, ReleaseAtOnce, SizeClasses, SlabCache, SlabCore, SlabHeap,
    StdClock, Uninit, UntypedCache, WithReset, WorkingSet,
};
use heapwright::check::Hardened;
use heapwright::combine::{
    self, Affix, AlignUp, Arenas, AtMost, Chain, Downward, DynHeap, FailNth, Fallback, FixedChunks,
    FreeLists, Growing, OnBoth, PerClass, Percent, Quantize, Quarantine, Quota, RedZones, Region, Ring,
    Scoped, Segregate, Shared, StackFirst, ToClasses, Totals, Upward, Zeroing,
};
use heapwright::describe::{Describe, describe};
use heapwright::heap::{Locked, NoHeap};
use heapwright::lock::{NoLock, OwnerChecked, SpinLock, StdLock, TicketLock, YieldLock};
use heapwright::preset::{
    CompactMalloc, SlabMalloc, StaticHeap, TinyHeap4KiB, TinyHeap16MiB, TinyHeap128KiB,
};
use heapwright::sizing::{Bounded, Checked, Link, Sizing, Sizing4KiB, Sizing16MiB, Sizing128KiB};
use heapwright::slab::{
    AlignedSlabs, Bitmap, ByStride, Colored, IndexStack, IntrusiveList, LargeSlabs, NoColor, SideSlabs,
};
use heapwright::source::{
    Buffer, Counted, Failing, FromAllocator04, FromGlobalAlloc, GlobalHeap, Limited, Pages, SourceHeap,
    StaticBuffer,
};
use heapwright::trace::{AnyGlobal, TextLog, Traced};

type Nodes1KiB = StaticArena<1024, Checked<Sizing4KiB>>;
type NodeCache = SlabCache<LargeSlabs<Nodes, 512, IndexStack, Colored>, SpinLock, For<[u64; 3]>>;
type Nodes = &'static Nodes1KiB;
type ClearInit = WithReset<DefaultInit, fn(&mut Vec<u8>)>;
type Stock = ChunkHeap<Pages, SpinLock>;
type General = Locked<SlabHeap<Classes, AlignedSlabs<Pages>, SourceHeap<Pages>>, SpinLock>;
type FillInit = fn(&mut [MaybeUninit<u8>]);

heapwright::instance! { static NODES as NodeHeap: Nodes1KiB = StaticArena::new(); }
heapwright::magazined! { static TREES as Trees: Magazined<NodeCache> = Magazined::new(SlabCache::over(&NODES)); }
heapwright::size_classes! { struct Packets = [64, 128, 576, 1536], waste 80 %; }

/// A sizing of somebody else, who has never heard of descriptions.
struct Sizing512MiB;

impl Sizing for Sizing512MiB {
    type Checks = heapwright::check::Unchecked;
    const GRANULE: usize = 16;
    const LINK: Link = Link::Bits31;
    const OBJECT_SIZE_MAX: usize = 1 << 29;
    const REGION_SIZE_MAX: usize = 1 << 30;
}

/// The tree of a composition, and the size of its value.
fn tree<T: Describe>() -> (&'static str, String) {
    (std::any::type_name::<T>(), describe::<T>().to_string())
}

/// At least one composition with each part.
fn compositions() -> Vec<(&'static str, String)> {
    vec![
        // Arenas and sizings.
        tree::<Arena<'static, Sizing4KiB>>(),
        tree::<Arena<'static, Sizing512MiB>>(),
        tree::<View<'static, Sizing16MiB>>(),
        tree::<Teaspoon<'static, Bounded<Checked<Sizing128KiB>>, NoLock>>(),
        tree::<SourceArena<Buffer<'static>, Sizing4KiB>>(),
        tree::<SourceTeaspoon<&Teaspoon<'static, Sizing128KiB>, Sizing4KiB, NoLock>>(),
        tree::<StaticArena<4096, Sizing512MiB, OwnerChecked<TicketLock>>>(),
        // Sources.
        tree::<SourceHeap<Limited<Counted<Failing<Pages>>>>>(),
        tree::<SourceHeap<&mut Limited<Pages>>>(),
        tree::<SourceHeap<&StaticBuffer<8192>>>(),
        tree::<SourceHeap<FromAllocator04<allocator_api2_04::alloc::Global>>>(),
        tree::<SourceHeap<FromGlobalAlloc<'static, std::alloc::System>>>(),
        tree::<Locked<SourceHeap<GlobalHeap>, YieldLock>>(),
        tree::<SourceHeap<Buffer<'static>>>(),
        // Slabs, their bookkeeping and their colors.
        tree::<AlignedSlabs<Pages, 4096, Bitmap, ByStride>>(),
        tree::<AlignedSlabs<&StaticBuffer<4096>, 1024, IntrusiveList, NoColor>>(),
        tree::<LargeSlabs<Buffer<'static>, 1200, IndexStack, Colored>>(),
        tree::<SideSlabs<Chunks<'static, Stock>, Bitmap>>(),
        // Caches, their layouts, initialisers and policies.
        tree::<SlabCore<AlignedSlabs<Pages>, AtRunTime, KeepAll, 16>>(),
        tree::<SlabCache<AlignedSlabs<GlobalHeap, 4096>, StdLock, Exactly<40, 8>, ReleaseAtOnce, 0>>(),
        tree::<NodeCache>(),
        tree::<ObjectCache<Vec<u8>, ClearInit, AlignedSlabs<Pages>, SpinLock, WorkingSet<StdClock>>>(),
        tree::<ObjectCache<u64, FnInit<fn() -> u64>, LargeSlabs<Pages>, NoLock, KeepSlabs<4>, 0>>(),
        tree::<UntypedCache<FillInit, SideSlabs<Chunks<'static, Stock>>, SpinLock>>(),
        tree::<General>(),
        tree::<SlabHeap<Packets, AlignedSlabs<Pages>, NoHeap, KeepSlabs<1>, 0>>(),
        tree::<Stock>(),
        tree::<ChunkHeap<Pages, SpinLock, ReleaseAtOnce, 32768, 4>>(),
        tree::<ChunkHeap<Pages, SpinLock, KeepAll, 32768, { usize::MAX }, Hardened>>(),
        // Magazines and handles.
        tree::<Trees>(),
        tree::<Handle<'static, HeapSlots<'static, NodeHeap>>>(),
        tree::<PerCpu<Magazined<HeapSlots<'static, General>, NoLock, 8, 2>, 4>>(),
        tree::<NodeHeap>(),
        // Presets.
        tree::<StaticHeap<{ 64 << 10 }>>(),
        tree::<TinyHeap4KiB<4096>>(),
        tree::<TinyHeap128KiB<{ 128 << 10 }, StdLock>>(),
        tree::<TinyHeap16MiB<{ 1 << 20 }>>(),
        tree::<SlabMalloc>(),
        tree::<CompactMalloc>(),
        // Combinators.
        tree::<StackFirst<256, GlobalHeap>>(),
        tree::<StackFirst<64, StackFirst<512, NodeHeap>, SpinLock>>(),
        tree::<Locked<combine::Counted<Totals, Quota<ByShell>>, SpinLock>>(),
        tree::<Zeroing<OnBoth, FailNth<Scoped<Arena<'static, Sizing4KiB>>>>>(),
        tree::<Quarantine<8, RedZones<16, 16, SourceHeap<Pages>>>>(),
        tree::<Region<Limited<Pages>, Growing<4096, 65536>, Downward>>(),
        tree::<Ring<3, Region<&General, FixedChunks<4096>, Upward>>>(),
        tree::<Chain<Arenas<Sizing16MiB, Growing<65536, 1048576>>, Pages>>(),
        tree::<Shared<Chain<Arenas<Sizing4KiB, FixedChunks<4096>>, GlobalHeap>, SpinLock>>(),
        tree::<&dyn DynHeap>(),
        tree::<Fallback<Arena<'static, Sizing4KiB>, Segregate<64, NoHeap, ByShell>>>(),
        tree::<FreeLists<Packets, PerClass<Packets, AlignUp<64, ByShell>>, AtMost<8>>>(),
        tree::<Quantize<Percent<10>, Affix<u64, Quantize<ToClasses<Classes>, ByShell>, u32>>>(),
        tree::<Traced<TextLog<fs::File>, GlobalHeap>>(),
        tree::<Traced<(), AnyGlobal<std::alloc::System>>>(),
    ]
}

/// A general heap as a core, by way of its shell.
type ByShell = SourceHeap<&'static General>;

#[test]
fn every_composition_has_a_tree() {
    let all = compositions();
    assert!(all.len() >= 40, "{}", all.len());
    for (name, text) in &all {
        check_shape(name, text);
    }
}

/// Whether each line stands under its parent: one level deeper at most, behind a branch that its parents have drawn.
fn check_shape(name: &str, text: &str) {
    assert!(text.ends_with('\n') && !text.contains("\n\n"), "{name}:\n{text}");
    assert!(
        !text.contains("::") && !text.contains('_'),
        "a path, or an identifier of the inside, in {name}:\n{text}"
    );
    // For each level above the line: whether another line of that level has to come.
    let mut open: Vec<bool> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if number == 0 {
            assert!(line.starts_with(|first: char| first.is_alphabetic()), "{name}:\n{text}");
            continue;
        }
        let signs: Vec<char> = line.chars().take_while(|sign| " │├└─".contains(*sign)).collect();
        let depth = signs.len() / 3;
        assert!(signs.len() % 3 == 0 && depth >= 1 && depth <= open.len() + 1, "{line:?} of {name}:\n{text}");
        for (level, was_open) in open.iter().take(depth - 1).enumerate() {
            assert_eq!(signs[level * 3] == '│', *was_open, "level {level} of {line:?} of {name}:\n{text}");
        }
        if let Some(more) = open.get(depth - 1) {
            assert!(more, "{line:?} comes after the last of its level in {name}:\n{text}");
        }
        open.truncate(depth - 1);
        let branch: String = signs[depth * 3 - 3..].iter().collect();
        assert!(branch == "├─ " || branch == "└─ ", "{line:?} of {name}:\n{text}");
        open.push(branch == "├─ ");
        let said: String = line.chars().skip(signs.len()).collect();
        let (role, what) = said.split_once(": ").expect("a role, and what it is");
        assert!(!role.is_empty() && !what.is_empty(), "{line:?} of {name}:\n{text}");
    }
    assert!(!open.contains(&true), "something has to follow in {name}:\n{text}");
}

/// A composition's tree, compared with what is written here.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn is_described<T: Describe>(expected: &str) {
    let found = describe::<T>().to_string();
    assert_eq!(found, expected.trim_start_matches('\n'), "found:\n{found}");
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[test]
fn arenas_and_sources_are_described() {
    is_described::<SourceTeaspoon<Limited<Pages>, Bounded<Sizing16MiB>>>(
        "
Locked
├─ lock: SpinLock (1 byte)
└─ core: SourceArena, one block of the source (120 bytes)
   ├─ sizing: Bounded<Sizing16MiB>, granules of 8 bytes with 1 bit each, objects of up to 16 MiB
   └─ source: Limited to a number of bytes at a time (16 bytes)
      └─ source: Pages of the OS
",
    );
    is_described::<StaticHeap<{ 64 << 10 }>>(
        "
StaticArena of 64 KiB, 2172 bytes of it for tables (79 bytes)
├─ lock: SpinLock (1 byte)
└─ sizing: FirmwareSizing<65536>, granules of 4 bytes (8 beyond 64 KiB) with 1 bit each, objects of up to 128 KiB
",
    );
    is_described::<Arena<'static, Sizing512MiB>>(
        "
Arena in borrowed memory (96 bytes)
└─ sizing: Sizing512MiB, granules of 16 bytes with 1 bit each, objects of up to 512 MiB
",
    );
    is_described::<SourceHeap<Counted<Failing<FromGlobalAlloc<'static, std::alloc::System>>>>>(
        "
SourceHeap, a block of the source for each request
└─ source: Counted, by blocks and bytes (56 bytes)
   └─ source: Failing, requests refused on purpose (24 bytes)
      └─ source: FromGlobalAlloc over System (8 bytes)
",
    );
    is_described::<StackFirst<256, GlobalHeap>>(
        "
StackFirst, 256 bytes of its own first (15 bytes)
├─ lock: NoLock, for one thread (1 byte)
└─ heap: GlobalHeap, the program's own
",
    );
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[test]
fn caches_are_described() {
    is_described::<
        ObjectCache<Vec<u8>, ClearInit, AlignedSlabs<Pages>, OwnerChecked<StdLock>, WorkingSet<StdClock>>,
    >(
        "
ObjectCache, up to 129 objects at hand (1056 bytes)
├─ lock: OwnerChecked (8 bytes)
│  └─ lock: StdLock (8 bytes)
├─ objects: Vec, 24 bytes aligned to 8, made by WithReset, kept constructed (1 bit per object) (8 bytes)
├─ slabs: AlignedSlabs of a length that fits the objects, with a header of 56 bytes each (104 bytes)
│  ├─ free objects: Bitmap, 1 bit per object
│  ├─ colors: ByStride, objects of a multiple of 512 bytes
│  └─ source: Pages of the OS
└─ free slabs: WorkingSet of the last 15000 ms by StdClock (24 bytes)
",
    );
    is_described::<
        SlabCache<
            AlignedSlabs<Pages, 4096, IntrusiveList<Hardened>>,
            NoLock,
            Exactly<40, 8>,
            KeepAll,
            0,
            Hardened,
        >,
    >(
        "
Locked
├─ lock: NoLock, for one thread (1 byte)
└─ core: SlabCore, no objects at hand (192 bytes)
   ├─ layout: Exactly 40 bytes aligned to 8
   ├─ slabs: AlignedSlabs of 4 KiB, with a header of 56 bytes each (104 bytes)
   │  ├─ free objects: IntrusiveList, nothing per object, links encoded, at least 8 bytes each
   │  ├─ colors: ByStride, objects of a multiple of 512 bytes
   │  └─ source: Pages of the OS
   ├─ free slabs: KeepAll
   └─ checks: Hardened
",
    );
    is_described::<
        SlabCache<
            LargeSlabs<Buffer<'static>, 1200, IndexStack, Colored>,
            NoLock,
            Exactly<40, 8>,
            KeepSlabs<4>,
            0,
        >,
    >(
        "
Locked
├─ lock: NoLock, for one thread (1 byte)
└─ core: SlabCore, no objects at hand (32 bytes)
   ├─ layout: Exactly 40 bytes aligned to 8
   ├─ slabs: LargeSlabs of 1200 bytes, with a header of 56 bytes each, found in a map (144 bytes)
   │  ├─ free objects: IndexStack, 2 bytes per object
   │  ├─ colors: Colored, objects of two cache lines or more
   │  └─ source: Buffer, borrowed bytes (32 bytes)
   └─ free slabs: KeepSlabs, 4 at most
",
    );
    is_described::<UntypedCache<FillInit, SideSlabs<Chunks<'static, Stock>>, SpinLock, ReleaseAtOnce>>(
        "
UntypedCache, up to 129 objects at hand (1152 bytes)
├─ lock: SpinLock (1 byte)
├─ slots: of a layout known when the cache is made, made ready once (1 bit per slot) (8 bytes)
├─ slabs: SideSlabs of 64 KiB, with 576 bytes elsewhere for the header of each (96 bytes)
│  ├─ free objects: Bitmap, 1 bit per object
│  ├─ colors: ByStride, objects of a multiple of 512 bytes
│  └─ source: ChunkHeap, chunks of 64 KiB in regions of 4 MiB (463 bytes)
│     ├─ lock: SpinLock (1 byte)
│     ├─ free chunks: KeepAll
│     └─ source: Pages of the OS
└─ free slabs: ReleaseAtOnce
",
    );
    is_described::<Trees>(
        "
PerThread, a front of 1032 bytes for each thread
└─ layer: Magazined, a depot of 16 magazines of 64 slots (8240 bytes)
   ├─ lock: SpinLock (1 byte)
   └─ cache: Locked
      ├─ lock: SpinLock (1 byte)
      └─ core: SlabCore, up to 129 objects at hand (1056 bytes)
         ├─ layout: [u64; 3], 24 bytes aligned to 8
         ├─ slabs: LargeSlabs of 512 bytes, with a header of 56 bytes each, found in a map (144 bytes)
         │  ├─ free objects: IndexStack, 2 bytes per object
         │  ├─ colors: Colored, objects of two cache lines or more
         │  └─ source: StaticArena of 1 KiB, 64 bytes of it for tables (143 bytes)
         │     ├─ lock: SpinLock (1 byte)
         │     └─ sizing: Checked<Sizing4KiB>, granules of 4 bytes with 2 bits each, objects of up to 4 KiB
         └─ free slabs: KeepAll
",
    );
}

/// A sizing whose small regions are cut as the others are.
struct Even;

impl Sizing for Even {
    type Checks = heapwright::check::Unchecked;
    const GRANULE: usize = 8;
    const LINK: Link = Link::Bits31;
    const OBJECT_SIZE_MAX: usize = 4096;
    const REGION_SIZE_MAX: usize = 65_536;
    const REGION_SMALL_MAX: usize = 8192;
}

#[test]
fn what_is_checked_and_what_is_not_kept_is_described() {
    let (_, text) = tree::<ObjectCache<MaybeUninit<u64>, Uninit, AlignedSlabs<Pages>, SpinLock>>();
    let anew = format!("8 bytes aligned to {}, made by Uninit, made anew each time\n", align_of::<u64>());
    assert!(text.contains(&anew), "{text}");
    type Heap = SlabHeap<Packets, AlignedSlabs<Pages>, NoHeap, KeepAll, 0, heapwright::check::Checked>;
    let (name, text) = tree::<Heap>();
    check_shape(name, &text);
    assert!(text.lines().last().is_some_and(|line| line.starts_with("└─ checks: Checked")), "{text}");
    let (_, text) = tree::<Arena<'static, Bounded<Even>>>();
    let sizing = "sizing: Bounded<Even>, granules of 8 bytes with 1 bit each, objects of up to 4 KiB\n";
    assert!(text.ends_with(sizing), "{text}");
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[test]
fn heaps_and_handles_are_described() {
    is_described::<General>(
        "
Locked
├─ lock: SpinLock (1 byte)
└─ core: SlabHeap, up to 16 objects at hand for each class (12176 bytes)
   ├─ classes: Classes, 76 sizes from 8 bytes to 32 KiB
   ├─ slabs of each class: AlignedSlabs of a length that fits the objects, with a header of 56 bytes each (104 bytes)
   │  ├─ free objects: Bitmap, 1 bit per object
   │  ├─ colors: ByStride, objects of a multiple of 512 bytes
   │  └─ source: Pages of the OS
   ├─ free slabs of each class: KeepAll
   └─ next: SourceHeap, a block of the source for each request
      └─ source: Pages of the OS
",
    );
    is_described::<NodeHeap>(
        "
Of<NODES>, a handle
└─ heap: StaticArena of 1 KiB, 64 bytes of it for tables (143 bytes)
   ├─ lock: SpinLock (1 byte)
   └─ sizing: Checked<Sizing4KiB>, granules of 4 bytes with 2 bits each, objects of up to 4 KiB
",
    );
    is_described::<Chain<Arenas<Sizing16MiB, Growing<65536, 1048576>>, Pages>>(
        "
Chain of heaps, 1 kept without blocks (24 bytes)
├─ heaps: Arenas in chunks of 64 KiB to 1 MiB
│  └─ sizing: Sizing16MiB, granules of 8 bytes with 1 bit each, objects of up to 16 MiB
└─ source: Pages of the OS
",
    );
    is_described::<Zeroing<OnBoth, FailNth<Scoped<Arena<'static, Sizing4KiB>>>>>(
        "
Zeroing, on alloc and on free
└─ heap: Refusing, by number (32 bytes)
   └─ heap: Scoped, gives all back at its end (8 bytes, 32 per block)
      └─ parent: Arena in borrowed memory (96 bytes)
         └─ sizing: Sizing4KiB, granules of 4 bytes with 1 bit each, objects of up to 4 KiB
",
    );
}

/// `$part` around a heap, so many times.
macro_rules! nested {
    ($heap:ty;) => { $heap };
    ($heap:ty; $level:tt $($levels:tt)*) => { Quota<nested!($heap; $($levels)*)> };
}

#[test]
fn deep_nesting_is_drawn_and_ends() {
    type Ten<P> = nested!(P; 1 2 3 4 5 6 7 8 9 10);
    type Forty = Ten<Ten<Ten<Ten<NoHeap>>>>;
    type Hundred = Ten<Ten<Ten<Ten<Ten<Ten<Forty>>>>>>;
    let (name, text) = tree::<Forty>();
    check_shape(name, &text);
    assert_eq!(text.lines().count(), 41);
    let hundred = describe::<Hundred>().to_string();
    assert_eq!(hundred.lines().count(), 101);
    let last = hundred.lines().last().expect("a last line");
    assert_eq!(last.trim_start(), "└─ heap: NoHeap, refuses every request");
    assert_eq!(last.chars().take_while(|sign| *sign == ' ').count(), 99 * 3);
}

#[test]
fn branches_are_drawn_beside_what_hangs_below() {
    // A lock of locks: lines of both branches side by side.
    type Branches = StaticArena<1024, Sizing4KiB, OwnerChecked<OwnerChecked<SpinLock>>>;
    let text = describe::<Locked<SlabHeap<Packets, AlignedSlabs<&Branches>, NoHeap>, OwnerChecked<NoLock>>>()
        .to_string();
    assert!(text.contains("\n├─ lock: OwnerChecked"), "{text}");
    assert!(text.contains("\n│  └─ lock: NoLock"), "{text}");
    assert!(text.contains("\n   │     ├─ lock: OwnerChecked"), "{text}");
    assert!(text.contains("\n   │     │  └─ lock: OwnerChecked"), "{text}");
    assert!(text.contains("\n   │     │     └─ lock: SpinLock"), "{text}");
}

/// The bytes in brackets at the ends of all lines.
fn sum(text: &str) -> usize {
    let bytes = |line: &str| -> Option<usize> {
        let (_, cost) = line.strip_suffix(')')?.rsplit_once('(')?;
        cost.split_once(" byte")?.0.parse().ok()
    };
    text.lines().filter_map(bytes).sum()
}

/// What the parts take is what the whole takes, but for padding between them, where each is there once and by value.
#[test]
fn the_parts_take_what_the_whole_takes() {
    fn check<T: Describe>(beside: usize) {
        let text = describe::<T>().to_string();
        let sum = sum(&text) + beside;
        let whole = size_of::<T>();
        assert!(sum <= whole && sum + align_of::<T>().max(16) > whole, "{sum} of {whole} bytes:\n{text}");
    }
    check::<Teaspoon<'static, Sizing4KiB, SpinLock>>(0);
    check::<SourceTeaspoon<Limited<Counted<Pages>>, Sizing4KiB, StdLock>>(0);
    check::<StaticArena<4096, Sizing4KiB, OwnerChecked<SpinLock>>>(4096);
    check::<StackFirst<256, GlobalHeap, TicketLock>>(256);
    check::<SlabCache<AlignedSlabs<Limited<Pages>>, SpinLock, For<u64>, WorkingSet<StdClock>, 16>>(0);
    check::<ObjectCache<Vec<u8>, ClearInit, LargeSlabs<Counted<Pages>>, StdLock, WorkingSet<StdClock>>>(0);
    check::<UntypedCache<FillInit, AlignedSlabs<Failing<Pages>>, SpinLock>>(0);
    check::<Magazined<SlabCache<AlignedSlabs<Limited<Pages>>, SpinLock, For<u64>>, TicketLock, 8, 2>>(0);
    check::<ChunkHeap<Limited<Pages>, SpinLock, WorkingSet<StdClock>>>(0);
    // Of slabs and policies there is one for each class.
    let of_others =
        (Classes::COUNT - 1) * (size_of::<AlignedSlabs<Pages>>() + size_of::<WorkingSet<StdClock>>());
    check::<
        Locked<
            SlabHeap<Classes, AlignedSlabs<Pages>, SourceHeap<Limited<Pages>>, WorkingSet<StdClock>>,
            SpinLock,
        >,
    >(of_others);
}

/// The contracts of which every public implementation has to say what it is made of.
const CONTRACTS: [&str; 16] = [
    "BackingSource",
    "Clock",
    "Coloring",
    "Factory",
    "FreeObjects",
    "GlobalAlloc",
    "Heap",
    "Layer",
    "Lock",
    "Retention",
    "SharedHeap",
    "SizeClasses",
    "Sizing",
    "SlabSystem",
    "Slot",
    "UntypedObjectAlloc",
];

/// What stands in the sources: public types, those that keep one of the contracts, and those that say what they are made of.
#[derive(Default)]
struct Parts {
    public: BTreeSet<String>,
    parts: BTreeSet<String>,
    described: BTreeSet<String>,
}

/// The identifiers of a text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|sign: char| !sign.is_alphanumeric() && sign != '_').filter(|word| !word.is_empty())
}

impl Parts {
    /// Reads all files of a directory.
    fn read(&mut self, directory: &Path) {
        for entry in fs::read_dir(directory).expect("the sources are there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                self.read(&path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                self.look(&fs::read_to_string(&path).expect("a source is text"));
            }
        }
    }

    /// Looks through one file, its tests and comments left out.
    fn look(&mut self, source: &str) {
        let source = source.split("\n#[cfg(test)]").next().unwrap_or(source);
        let code: Vec<&str> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let code = code.join("\n");
        for (at, _) in code.match_indices("pub struct ") {
            self.public.extend(words(&code[at + 11..]).next().map(str::to_owned));
        }
        for (at, _) in code.match_indices("impl") {
            let Some(head) = code[at..].split('{').next() else { continue };
            let Some((contract, of)) = head.split_once(" for ") else { continue };
            let contract = words(contract).last().unwrap_or_default();
            let of = of.trim_start_matches('&').trim_start_matches("mut ");
            let Some(of) = words(of).next() else { continue };
            if contract == "Describe" {
                self.described.insert(of.to_owned());
            } else if CONTRACTS.contains(&contract) {
                self.parts.insert(of.to_owned());
            }
        }
        // Macros that write an implementation begin with the generics.
        for name in [
            "forward_to_view!([",
            "impl_slab_system!(\n    [",
            "impl_object_alloc!([",
            "impl_object_alloc!(\n    [",
        ] {
            for (at, _) in code.match_indices(name) {
                let of = code[at..].split_once("] ").and_then(|(_, of)| words(of).next());
                self.parts.extend(of.map(str::to_owned));
            }
        }
        for name in ["describe_leaf!(", "describe_by!("] {
            for (at, _) in code.match_indices(name) {
                let text = code[at..].split(");").next().unwrap_or_default();
                self.described.extend(words(text).map(str::to_owned));
            }
        }
    }
}

#[test]
fn every_public_part_says_what_it_is_made_of() {
    let mut found = Parts::default();
    found.read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let parts: BTreeSet<_> = found.parts.intersection(&found.public).cloned().collect();
    for known in
        ["Arena", "StaticArena", "Bounded", "Pages", "Limited", "SpinLock", "Malloc", "SlabHeap", "KeepAll"]
    {
        assert!(parts.contains(known), "{known} is a part: {parts:?}");
    }
    let silent: Vec<_> = parts.difference(&found.described).collect();
    assert!(silent.is_empty(), "these have no `Describe`: {silent:?}");
}

/// A policy is a part of a stock that checks, and not of one that does not.
#[test]
fn stocks_that_check_say_how() {
    let (_, plain) = tree::<Stock>();
    assert!(!plain.contains("checks: "), "{plain}");
    let (_, hardened) = tree::<ChunkHeap<Pages, SpinLock, KeepAll, 32768, { usize::MAX }, Hardened>>();
    assert!(hardened.contains("\n├─ checks: Hardened"), "{hardened}");
}
