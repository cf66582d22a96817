//! The heaps, and what each says of itself.

use std::alloc::Layout;
use std::fmt;

use heapwright::arena::StaticArena;
use heapwright::cache::malloc::MallocInstance;
use heapwright::cache::{ChunkHeap, Classes, Malloc, MallocSettings, SlabHeap, StdClock, WorkingSet};
use heapwright::check::{Checked, Hardened, Unchecked};
use heapwright::combine::{DynHeap, FailRandom};
use heapwright::heap::{Locked, SharedHeap};
use heapwright::lock::{Lock, SpinLock, YieldLock};
use heapwright::preset::{
    CheckedMalloc, CheckedSettings, CompactMalloc, CompactSettings, HardenedMalloc, HardenedSettings,
    SlabMalloc, SlabSettings, StaticHeap, TinyHeap4KiB, TinyHeap16MiB, TinyHeap128KiB,
};
use heapwright::sizing::Sizing;
use heapwright::slab::AlignedSlabs;
use heapwright::source::{Limited, SourceHeap};
use heapwright::trace::AnyGlobal;

use crate::source::{Faults, Shaky};

/// One of the heaps that all threads work on.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) heap: &'static (dyn DynHeap + Sync),
    pub(crate) account: Box<dyn Account + Sync>,
    /// Bytes that are asked for at most.
    pub(crate) size_max: usize,
    /// Bytes that a thread has of it, roughly.
    pub(crate) share: usize,
}

/// What a heap says of itself.
pub(crate) trait Account {
    /// What is to be done now and then; `all` if all that nobody needs is to go back.
    fn rest(&self, all: bool) {
        let _ = all;
    }

    /// What is live.
    fn left(&self) -> Left;

    /// Whether all that it believes about itself is true; `idle` if nobody else is at work.
    fn verify(&self, idle: bool) -> Result<(), String>;

    /// Requests that were refused on purpose.
    fn injected(&self) -> u64 {
        0
    }
}

/// What a heap says is live.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) blocks: usize,
    pub(crate) bytes: usize,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} blocks, {} bytes", self.blocks, self.bytes)
    }
}

/// Bytes that a thread has at most of a heap that grows.
const SHARE: usize = 1 << 20;

/// Bytes of the source's that a general allocator that looks at frees has for its map of addresses, which it keeps.
const MAP_MAX: usize = 64 << 10;

/// All heaps. For one more, there is one more line.
pub(crate) fn all() -> Vec<Subject> {
    vec![
        general("SlabMalloc", SlabMalloc, None, 4 << 20),
        general("CompactMalloc", CompactMalloc, None, 4 << 20),
        general("CheckedMalloc", CheckedMalloc, None, 4 << 20),
        general("HardenedMalloc", HardenedMalloc, None, 4 << 20),
        general("SlabMalloc, source fails", ShakySlabMalloc, Some(&SLAB_FAULTS), 4 << 20),
        general("CompactMalloc, source fails", ShakyCompactMalloc, Some(&COMPACT_FAULTS), 1 << 20),
        general("CheckedMalloc, source fails", ShakyCheckedMalloc, Some(&CHECKED_FAULTS), 4 << 20),
        general("HardenedMalloc, source fails", ShakyHardenedMalloc, Some(&HARDENED_FAULTS), 4 << 20),
        fixed("StaticHeap, 4 KiB", &STATIC_4KIB),
        fixed("StaticHeap, 64 KiB", &STATIC_64KIB),
        fixed("StaticHeap, 1 MiB", &STATIC_1MIB),
        fixed("TinyHeap4KiB", &TINY_4KIB),
        fixed("TinyHeap128KiB", &TINY_128KIB),
        fixed("TinyHeap16MiB", &TINY_16MIB),
        Subject {
            name: "SlabHeap, locked, refuses",
            heap: &SLAB_HEAP,
            account: Box::new(&SLAB_HEAP),
            size_max: 256 << 10,
            share: SHARE,
        },
    ]
}

static STATIC_4KIB: StaticHeap<4096, YieldLock> = StaticHeap::new();
static STATIC_64KIB: StaticHeap<{ 64 << 10 }, YieldLock> = StaticHeap::new();
static STATIC_1MIB: StaticHeap<{ 1 << 20 }, SpinLock> = StaticHeap::new();
static TINY_4KIB: TinyHeap4KiB<{ 12 << 10 }, YieldLock> = TinyHeap4KiB::new();
static TINY_128KIB: TinyHeap128KiB<{ 200 << 10 }, YieldLock> = TinyHeap128KiB::new();
static TINY_16MIB: TinyHeap16MiB<{ 4 << 20 }, SpinLock> = TinyHeap16MiB::new();

static SLAB_FAULTS: Faults = Faults::new(24 << 20);
static COMPACT_FAULTS: Faults = Faults::new(8 << 20);
static CHECKED_FAULTS: Faults = Faults::new(24 << 20);
static HARDENED_FAULTS: Faults = Faults::new(32 << 20);
static HEAP_FAULTS: Faults = Faults::new(64 << 20);

/// Declares general allocators with the numbers of others, and a stock of chunks over a source that fails.
macro_rules! shaky {
    ($($heap:ident as $malloc:ident, $settings:ident like $like:ty, $chunks:ty, $faults:ident;)+) => {$(
        struct $settings;
        impl MallocSettings for $settings {
            type Classes = Classes;
            type Chunks = $chunks;
            type Lock = YieldLock;
            const FRONT_SLOTS: usize = <$like>::FRONT_SLOTS;
            const FRONT_BYTES: usize = <$like>::FRONT_BYTES;
            const GROWN_BYTES: usize = <$like>::GROWN_BYTES;
            const DEPOT_SLOTS: usize = <$like>::DEPOT_SLOTS;
            const DEPOT_BYTES: usize = <$like>::DEPOT_BYTES;
            const SHARDS: usize = <$like>::SHARDS;
        }
        heapwright::malloc! { static $heap as $malloc: $settings = ChunkHeap::new(Shaky(&$faults)); }
    )+};
}

/// Chunks of which little is kept for long, so that the source is asked often.
type Chunks<const HUGE_AFTER: usize, C> =
    ChunkHeap<Shaky, YieldLock, WorkingSet<StdClock, 20>, 32768, HUGE_AFTER, C>;

shaky! {
    SHAKY_SLAB as ShakySlabMalloc, ShakySlab like SlabSettings, Chunks<8, Unchecked>, SLAB_FAULTS;
    SHAKY_COMPACT as ShakyCompactMalloc, ShakyCompact like CompactSettings, Chunks<{ usize::MAX }, Unchecked>, COMPACT_FAULTS;
    SHAKY_CHECKED as ShakyCheckedMalloc, ShakyChecked like CheckedSettings, Chunks<2, Checked>, CHECKED_FAULTS;
    SHAKY_HARDENED as ShakyHardenedMalloc, ShakyHardened like HardenedSettings, Chunks<{ usize::MAX }, Hardened>, HARDENED_FAULTS;
}

/// Slabs and larger blocks from a source that fails, the larger ones up to a limit; and of all requests, one in fifty is refused.
type Slabs = SlabHeap<Classes, AlignedSlabs<Shaky>, SourceHeap<Limited<Shaky>>, WorkingSet<StdClock, 20>>;
static SLAB_HEAP: Locked<FailRandom<Slabs>, YieldLock> = Locked::new(FailRandom::new_seeded(
    SlabHeap::new(Shaky(&HEAP_FAULTS), SourceHeap::new(Limited::new(Shaky(&HEAP_FAULTS), 2 << 20))),
    1,
    20,
));

/// A general allocator, over the OS's pages or a source that fails.
fn general<I: MallocInstance>(
    name: &'static str,
    heap: Malloc<I>,
    faults: Option<&'static Faults>,
    size_max: usize,
) -> Subject {
    let account = Box::new(General { heap, faults });
    Subject { name, heap: const { &AnyGlobal::new(Malloc::<I>::new()) }, account, size_max, share: SHARE }
}

/// A heap of a fixed length, for which the threads compete.
fn fixed<const N: usize, S: Sizing + 'static, L: Lock + Send + Sync + 'static>(
    name: &'static str,
    heap: &'static StaticArena<N, S, L>,
) -> Subject {
    Subject { name, heap, account: Box::new(heap), size_max: N / 2, share: N / 2 }
}

struct General<I: MallocInstance> {
    heap: Malloc<I>,
    faults: Option<&'static Faults>,
}

impl<I: MallocInstance> Account for General<I> {
    fn rest(&self, all: bool) {
        match all {
            true => self.heap.release(),
            false => self.heap.tick(),
        }
    }

    fn left(&self) -> Left {
        let stats = self.heap.stats();
        let blocks =
            stats.classes().iter().map(|class| class.live).sum::<usize>() + stats.chunks.large_blocks;
        Left { blocks, bytes: stats.bytes_live }
    }

    /// When all is over and given back, no thread has anything at hand, there are no slabs, and no more of the source is out than is known.
    fn verify(&self, idle: bool) -> Result<(), String> {
        let stats = self.heap.stats();
        let held = stats.bytes_at_hand + stats.bytes_in_depots + stats.bytes_in_slabs;
        if idle && held > 0 {
            return Err(format!("{held} bytes of free objects are still held:\n{stats}"));
        }
        let mapped = stats.chunks.bytes_mapped;
        match self.faults.map(Faults::bytes) {
            Some(out) if idle && !(mapped..=mapped + MAP_MAX).contains(&out) => {
                Err(format!("{mapped} bytes are mapped, and {out} are out of the source"))
            }
            _ => Ok(()),
        }
    }

    fn injected(&self) -> u64 {
        self.faults.map_or(0, Faults::injected)
    }
}

impl<const N: usize, S: Sizing, L: Lock> Account for &StaticArena<N, S, L> {
    fn left(&self) -> Left {
        let usage = self.usage();
        Left { blocks: usage.objects, bytes: usage.used }
    }

    fn verify(&self, _: bool) -> Result<(), String> {
        if self.misuses() > 0 {
            return Err(format!("{} wrong frees", self.misuses()));
        }
        StaticArena::verify(self).map_err(|corruption| corruption.to_string())
    }
}

impl Account for &Locked<FailRandom<Slabs>, YieldLock> {
    fn rest(&self, _: bool) {
        self.release_unused();
    }

    fn left(&self) -> Left {
        let usage = self.usage();
        Left { blocks: usage.objects, bytes: usage.used }
    }

    fn verify(&self, idle: bool) -> Result<(), String> {
        if idle && HEAP_FAULTS.blocks() > 0 {
            let (blocks, bytes) = (HEAP_FAULTS.blocks(), HEAP_FAULTS.bytes());
            return Err(format!("{blocks} blocks of the source, {bytes} bytes, have not come back"));
        }
        Locked::verify(self).map_err(|corruption| corruption.to_string())
    }

    fn injected(&self) -> u64 {
        HEAP_FAULTS.injected() + self.look(|core| core.refusals()).unwrap_or(0)
    }
}

/// A layout that no heap has room for.
pub(crate) fn impossible(number: usize) -> Option<Layout> {
    let max = isize::MAX as usize;
    let (size, align) = [(max, 1), (max - 63, 64), (max / 2, 8), (max - (1 << 20), 1 << 16)][number % 4];
    Layout::from_size_align(size, align).ok()
}
