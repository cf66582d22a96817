//! The towers, each beside what is written by hand.

use std::mem::MaybeUninit;

use heapwright::arena;
use heapwright::cache::Classes;
use heapwright::combine::{
    Affix, AlignUp, AtMost, Counted, Fallback, FixedChunks, FreeLists, OnAlloc, PerClass, PowersOfTwo,
    Quantize, Quota, Region, Segregate, StackFirst, Totals, Upward, Zeroing,
};
use heapwright::heap::{Heap, Locked};
use heapwright::lock::{NoLock, SpinLock};
use heapwright::segregate;
use heapwright::sizing::Sizing16MiB;
use heapwright::source::{GlobalHeap, SourceHeap};
use heapwright::trace::Traced;

use crate::by_hand::{
    AffixByHand, AlignedByHand, ArenaByHand, Arenas, BoundedListsByHand, EverythingByHand, FallbackByHand,
    FourWaysByHand, InStatic, ListsByHand, PerClassByHand, QuantizedByHand, QuotaByHand, RegionByHand, Shell,
    StackFirstByHand, TotalsByHand, TwoSizesByHand, ZeroedByHand,
};
use crate::pair::{Face, Nothing, Ours, Work};

/// The heap at the ground of most towers.
pub(crate) type Arena = arena::Arena<'static, Sizing16MiB>;

type System = SourceHeap<GlobalHeap>;

heapwright::size_classes! {
    /// Sizes of which there are few.
    pub(crate) struct Few = [16, 32, 48, 64], waste 50 %;
}

heapwright::size_classes! {
    /// Sizes above those of [`Few`].
    pub(crate) struct Medium = 8..=512, 4 per doubling;
}

/// How many instructions more than by hand a tower may take.
pub(crate) const MORE_MAX: f64 = 2.0;

/// How many blocks a limited list keeps.
pub(crate) const KEPT: usize = 64;

/// Bytes of a chunk of the region.
pub(crate) const CHUNK: usize = 64 << 10;

/// Bytes that are used before the global heap.
pub(crate) const STACK: usize = 256;

/// Bytes of which a quota never lets go.
const QUOTA: usize = 1 << 20;

type FourWays = segregate! {
    ..=64 => FreeLists<Few, Arena>,
    ..=512 => FreeLists<Medium, Arena>,
    ..=4096 => Arena,
    _ => Arena,
};

type Everything =
    Quota<Counted<Totals, Segregate<512, FreeLists<Classes, Fallback<Arena, Arena>, AtMost<KEPT>>, Arena>>>;

type InStaticTower = Segregate<512, FreeLists<Classes, System, AtMost<KEPT>>, System>;

heapwright::instance! {
    static TOWER as Handle: Locked<InStaticTower, SpinLock> = Locked::new(Segregate::new(
        FreeLists::new(SourceHeap::new(GlobalHeap)),
        SourceHeap::new(GlobalHeap),
    ));
}

/// A tower, and what does the same.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) ours: Box<dyn Work>,
    pub(crate) by_hand: Box<dyn Work>,
    /// How many instructions more than by hand it may take where the compiler does not know the layout.
    pub(crate) more_max: f64,
}

impl Row {
    fn new(name: &'static str, ours: impl Face + 'static, by_hand: impl Face + 'static) -> Self {
        Row { name, ours: Box::new(ours), by_hand: Box::new(by_hand), more_max: MORE_MAX }
    }

    /// A tower that is known to take more, and by how much.
    fn known_to_miss(self, more_max: f64) -> Self {
        Row { more_max, ..self }
    }
}

/// No heap.
pub(crate) fn nothing() -> Box<dyn Work> {
    Box::new(Nothing)
}

/// A fresh arena, in memory that is never given back.
fn arena() -> Arena {
    arena::Arena::from_slice(Box::leak(vec![MaybeUninit::uninit(); 256 << 10].into_boxed_slice()))
}

/// A core under no lock, for one thread.
fn locked<H: Heap>(core: H) -> Ours<Locked<H, NoLock>> {
    Ours(Locked::new(core))
}

/// All rows.
pub(crate) fn rows() -> Vec<Row> {
    let four = || [(); 4].map(|()| arena());
    let [few, medium, large, largest] = four();
    let four_ways: FourWays = segregate!(new: FreeLists::new(few), FreeLists::new(medium), large, largest);
    let small = FreeLists::new(Fallback::new(arena(), arena()));
    let everything: Everything =
        Quota::new(Counted::new(Totals::new(), Segregate::new(small, arena())), QUOTA);
    vec![
        Row::new("`Arena`", locked(arena()), Shell::new(ArenaByHand(arena()))),
        Row::new(
            "`Segregate<512, Arena, Arena>`",
            locked(Segregate::<512, _, _>::new(arena(), arena())),
            Shell::new(TwoSizesByHand { small: arena(), large: arena() }),
        ),
        Row::new(
            "`Fallback<Arena, Arena>`",
            locked(Fallback::new(arena(), arena())),
            Shell::new(FallbackByHand { first: arena(), second: arena() }),
        ),
        Row::new(
            "`Quantize<PowersOfTwo, Arena>`",
            locked(Quantize::<PowersOfTwo, _>::new(arena())),
            Shell::new(QuantizedByHand(arena())),
        ),
        Row::new(
            "`AlignUp<64, Arena>`",
            locked(AlignUp::<64, _>::new(arena())),
            Shell::new(AlignedByHand(arena())),
        ),
        Row::new(
            "`Affix<u64, Arena, u32>`",
            locked(Affix::<u64, _, u32>::new(arena())),
            Shell::new(AffixByHand(arena())),
        ),
        Row::new(
            "`Quota<Arena>`",
            locked(Quota::new(arena(), QUOTA)),
            Shell::new(QuotaByHand { arena: arena(), limit: QUOTA, used: 0 }),
        ),
        Row::new("`Counted<(), Arena>`", locked(Counted::new((), arena())), Shell::new(ArenaByHand(arena()))),
        Row::new(
            "`Counted<Totals, Arena>`",
            locked(Counted::new(Totals::new(), arena())),
            Shell::new(TotalsByHand { arena: arena(), totals: Totals::new() }),
        ),
        Row::new(
            "`Traced<(), Locked<Arena, NoLock>>`",
            Ours(Traced::new((), Locked::<_, NoLock>::new(arena()))),
            Shell::new(ArenaByHand(arena())),
        ),
        Row::new(
            "`Zeroing<OnAlloc, Arena>`",
            locked(Zeroing::<OnAlloc, _>::new(arena())),
            Shell::new(ZeroedByHand(arena())),
        ),
        Row::new(
            "`PerClass<Few, Arena>`",
            locked(PerClass::<Few, _>::from_fn(|_| arena())),
            Shell::new(PerClassByHand(four())),
        ),
        Row::new(
            "`FreeLists<Classes, Arena>`",
            locked(FreeLists::<Classes, _>::new(arena())),
            ListsByHand::new(arena()),
        ),
        Row::new(
            "`FreeLists<Classes, Arena, AtMost<64>>`",
            locked(FreeLists::<Classes, _, AtMost<KEPT>>::new(arena())),
            BoundedListsByHand::new(arena()),
        ),
        Row::new(
            "`segregate!`, four ways, two with `FreeLists`",
            locked(four_ways),
            FourWaysByHand::new(four()),
        ),
        Row::new(
            "`Region<GlobalHeap, FixedChunks<65536>, Upward, 8>`",
            locked(Region::<_, FixedChunks<CHUNK>, Upward, 8>::new(GlobalHeap)),
            RegionByHand::new(),
        ),
        Row::new(
            "`StackFirst<256, GlobalHeap>`",
            Ours(StackFirst::<STACK, _>::new(GlobalHeap)),
            StackFirstByHand::new(),
        ),
        // By hand large blocks are fetched out of line; here that is part of the caller, and saves it two registers more.
        Row::new("`Of<..>`, `SpinLock`, `Segregate`, `FreeLists`", Ours(Handle), InStatic).known_to_miss(4.0),
        Row::new(
            "`Quota`, `Counted<Totals>`, `Segregate`, `FreeLists`, `Fallback`",
            locked(everything),
            EverythingByHand::new(QUOTA, Arenas { first: arena(), second: arena(), large: arena() }),
        )
        // `Quota` and `Counted` ask their heaps for the good size, and a class that is computed is computed again for it.
        .known_to_miss(24.0),
    ]
}
