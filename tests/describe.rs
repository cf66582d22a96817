//! Every part says what it is made of, in any composition.

#![cfg(all(feature = "std", feature = "allocator-api2-04"))]
#![expect(clippy::expect_used, reason = "a test that can not go on says why and stops")]

use std::collections::BTreeSet;
use std::fs;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};

use heapwright::arena::{Arena, SourceArena, SourceTeaspoon, StaticArena, Teaspoon, View};
use heapwright::cache::{
    AtRunTime, ChunkHeap, Chunks, Classes, DefaultInit, Exactly, FnInit, For, Handle, HeapSlots, KeepAll,
    KeepSlabs, Magazined, ObjectCache, PerCpu, ReleaseAtOnce, SlabCache, SlabCore, SlabHeap, StdClock,
    UntypedCache, WithReset, WorkingSet,
};
use heapwright::combine::{
    self, Arenas, Chain, Downward, DynHeap, FailNth, FixedChunks, Growing, OnBoth, OnFree, Quarantine, Quota,
    RedZones, Region, Ring, Scoped, Shared, StackFirst, Totals, Upward, Zeroing,
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
struct Sizing1GiB;

impl Sizing for Sizing1GiB {
    const GRANULE: usize = 16;
    const LINK: Link = Link::Bits31;
    const OBJECT_SIZE_MAX: usize = 1 << 30;
    const REGION_SIZE_MAX: usize = 1 << 31;
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
        tree::<Arena<'static, Sizing1GiB>>(),
        tree::<View<'static, Sizing16MiB>>(),
        tree::<Teaspoon<'static, Bounded<Checked<Sizing128KiB>>, NoLock>>(),
        tree::<SourceArena<Buffer<'static>, Sizing4KiB>>(),
        tree::<SourceTeaspoon<&Teaspoon<'static, Sizing128KiB>, Sizing4KiB, NoLock>>(),
        tree::<StaticArena<4096, Sizing1GiB, OwnerChecked<TicketLock>>>(),
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
        tree::<Locked<combine::Counted<Totals, Quota<General2>>, SpinLock>>(),
        tree::<Zeroing<OnBoth, FailNth<Scoped<Arena<'static, Sizing4KiB>>>>>(),
        tree::<Quarantine<8, RedZones<16, 16, SourceHeap<Pages>>>>(),
        tree::<Region<Limited<Pages>, Growing<4096, 65536>, Downward>>(),
        tree::<Ring<3, Region<&General, FixedChunks<4096>, Upward>>>(),
        tree::<Chain<Arenas<Sizing16MiB, Growing<65536, 1048576>>, Pages>>(),
        tree::<Shared<Chain<Arenas<Sizing4KiB, FixedChunks<4096>>, GlobalHeap>, SpinLock>>(),
        tree::<&dyn DynHeap>(),
    ]
}

/// A general heap as a core, by way of its shell.
type General2 = SourceHeap<&'static General>;

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
