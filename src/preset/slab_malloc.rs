//! General allocators.

use crate::cache::{ChunkHeap, Classes, MallocSettings, StdClock, WorkingSet};
use crate::check::{Checked, Hardened};
use crate::lock::YieldLock;
use crate::source::Pages;

/// The settings of `SlabMalloc`: written out, the whole of it is
///
/// ```
/// use heapwright::cache::{ChunkHeap, Classes, MallocSettings, StdClock, WorkingSet};
/// use heapwright::{lock::YieldLock, source::Pages};
///
/// struct Mine;
/// impl MallocSettings for Mine {
///     type Classes = Classes; // 76 sizes from 8 bytes to 32 KiB
///     // Slabs of 32 KiB; when memory becomes free, what was not needed in the last second goes back; huge pages behind blocks of 4 MiB and more,
///     // and behind slabs beyond the first 16 MiB.
///     type Chunks = ChunkHeap<Pages, YieldLock, WorkingSet<StdClock, 1000>, 32768, 8>;
///     type Lock = YieldLock;
///     // The defaults: two stacks of up to 32 objects and 8 KiB for each class at hand, and up to 6 MiB for those that come and go in batches; four
///     // depots of up to 64 objects and 16 KiB for each class.
///     const FRONT_SLOTS: usize = 32;
///     const FRONT_BYTES: usize = 8 << 10;
///     const GROWN_BYTES: usize = 6 << 20;
///     const DEPOT_SLOTS: usize = 64;
///     const DEPOT_BYTES: usize = 16 << 10;
///     const SHARDS: usize = 4;
/// }
/// heapwright::malloc! { static MINE as MyMalloc: Mine = ChunkHeap::new(Pages); }
/// # use heapwright::preset::SlabSettings;
/// # fn same<A: MallocSettings, B: MallocSettings<Classes = A::Classes, Chunks = A::Chunks, Lock = A::Lock>>() {
/// #     assert_eq!(
/// #         [A::FRONT_SLOTS, A::FRONT_BYTES, A::GROWN_BYTES, A::DEPOT_SLOTS, A::DEPOT_BYTES, A::SHARDS],
/// #         [B::FRONT_SLOTS, B::FRONT_BYTES, B::GROWN_BYTES, B::DEPOT_SLOTS, B::DEPOT_BYTES, B::SHARDS],
/// #     );
/// # }
/// # same::<Mine, SlabSettings>();
/// ```
/// The policy is asked when a slab or a larger block becomes free, and now and then by threads that are at work. A program that goes quiet keeps what it has, up to then:
/// `tick` asks again, `release` gives all.
/// To never give memory back by itself take [`KeepAll`](crate::cache::KeepAll) for the policy, to do it at once
/// [`ReleaseAtOnce`](crate::cache::ReleaseAtOnce).
#[derive(Debug)]
pub struct SlabSettings;

impl MallocSettings for SlabSettings {
    type Classes = Classes;
    type Chunks = ChunkHeap<Pages, YieldLock, WorkingSet<StdClock, 1000>, 32768, 8>;
    type Lock = YieldLock;
}

/// The settings of `CompactMalloc`: a quarter of what `SlabMalloc` has at hand (of sizes up to 2 KiB; one object of those above), never more for batches, one depot for
/// each class instead of four, a quarter as large, free memory kept for a tenth of a second, and no huge pages.
///
/// ```
/// use heapwright::cache::{ChunkHeap, Classes, MallocSettings, StdClock, WorkingSet};
/// use heapwright::{lock::YieldLock, source::Pages};
///
/// struct Mine;
/// impl MallocSettings for Mine {
///     type Classes = Classes;
///     type Chunks = ChunkHeap<Pages, YieldLock, WorkingSet<StdClock, 100>, 32768>;
///     type Lock = YieldLock;
///     const FRONT_SLOTS: usize = 8;
///     const FRONT_BYTES: usize = 2 << 10;
///     const GROWN_BYTES: usize = 0;
///     const DEPOT_SLOTS: usize = 16;
///     const DEPOT_BYTES: usize = 4 << 10;
///     const SHARDS: usize = 1;
/// }
/// heapwright::malloc! { static MINE as MyMalloc: Mine = ChunkHeap::new(Pages); }
/// # use heapwright::preset::CompactSettings;
/// # fn same<A: MallocSettings, B: MallocSettings<Classes = A::Classes, Chunks = A::Chunks, Lock = A::Lock>>() {
/// #     assert_eq!(
/// #         [A::FRONT_SLOTS, A::FRONT_BYTES, A::GROWN_BYTES, A::DEPOT_SLOTS, A::DEPOT_BYTES, A::SHARDS],
/// #         [B::FRONT_SLOTS, B::FRONT_BYTES, B::GROWN_BYTES, B::DEPOT_SLOTS, B::DEPOT_BYTES, B::SHARDS],
/// #     );
/// # }
/// # same::<Mine, CompactSettings>();
/// ```
#[derive(Debug)]
pub struct CompactSettings;

impl MallocSettings for CompactSettings {
    type Classes = Classes;
    type Chunks = ChunkHeap<Pages, YieldLock, WorkingSet<StdClock, 100>, 32768>;
    type Lock = YieldLock;
    const FRONT_SLOTS: usize = 8;
    const FRONT_BYTES: usize = 2 << 10;
    const GROWN_BYTES: usize = 0;
    const DEPOT_SLOTS: usize = 16;
    const DEPOT_BYTES: usize = 4 << 10;
    const SHARDS: usize = 1;
}

/// The settings of `CheckedMalloc`: `SlabMalloc`'s, over a stock with the policy [`Checked`], and with huge pages beyond the first 4 MiB instead of 16: each object that is freed is touched, which costs less
/// where few pages hold it. To have another report than the end of the process, take `Checked<Mine>`:
///
/// ```
/// use heapwright::cache::{ChunkHeap, Classes, MallocSettings, StdClock, WorkingSet};
/// use heapwright::check::{Checked, Misuse, Report};
/// use heapwright::{lock::YieldLock, source::Pages};
///
/// struct Log;
/// impl Report for Log {
///     fn report(misuse: &Misuse) {
///         eprintln!("in the heap: {misuse}");
///     }
/// }
/// struct Mine;
/// impl MallocSettings for Mine {
///     type Classes = Classes;
///     type Chunks = ChunkHeap<Pages, YieldLock, WorkingSet<StdClock, 1000>, 32768, 2, Checked<Log>>;
///     type Lock = YieldLock;
/// }
/// heapwright::malloc! { static MINE as MyMalloc: Mine = ChunkHeap::new(Pages); }
/// ```
#[derive(Debug)]
pub struct CheckedSettings;

impl MallocSettings for CheckedSettings {
    type Classes = Classes;
    type Chunks = ChunkHeap<Pages, YieldLock, WorkingSet<StdClock, 1000>, 32768, 2, Checked>;
    type Lock = YieldLock;
}

/// The settings of `HardenedMalloc`: `SlabMalloc`'s, over a stock with the policy [`Hardened`], and without stacks that grow. A thread has less at hand, since all that is freed is read and written as a
/// whole, and is to be still in the cache when it is used again.
///
/// The first 8 MiB of addresses have a guard behind each slab; beyond these are huge pages, each with a guard behind it, as guards between its slabs would cut it up. To have one behind every slab of the
/// first half GiB, take a stock without huge pages, which costs what the guide's chapter [`performance`](crate::guide::performance) tells:
/// ```
/// use heapwright::cache::{ChunkHeap, Classes, MallocSettings, StdClock, WorkingSet};
/// use heapwright::{check::Hardened, lock::YieldLock, source::Pages};
///
/// struct Mine;
/// impl MallocSettings for Mine {
///     type Classes = Classes;
///     type Chunks = ChunkHeap<Pages, YieldLock, WorkingSet<StdClock, 1000>, 32768, { usize::MAX }, Hardened>;
///     type Lock = YieldLock;
///     const FRONT_SLOTS: usize = 16;
///     const FRONT_BYTES: usize = 2 << 10;
///     const GROWN_BYTES: usize = 0;
/// }
/// heapwright::malloc! { static MINE as MyMalloc: Mine = ChunkHeap::new(Pages); }
/// ```
#[derive(Debug)]
pub struct HardenedSettings;

impl MallocSettings for HardenedSettings {
    type Classes = Classes;
    type Chunks = ChunkHeap<Pages, YieldLock, WorkingSet<StdClock, 1000>, 32768, 4, Hardened>;
    type Lock = YieldLock;
    const FRONT_SLOTS: usize = 16;
    const FRONT_BYTES: usize = 2 << 10;
    const GROWN_BYTES: usize = 0;
}

crate::malloc! {
    /// The general allocator of a program, for any number of threads: what to take instead of mimalloc, jemalloc or snmalloc.
    ///
    /// ```
    /// use heapwright::preset::SlabMalloc;
    ///
    /// #[global_allocator]
    /// static GLOBAL: SlabMalloc = SlabMalloc;
    ///
    /// let lists: Vec<Vec<u32>> = (0..100).map(|len| (0..len).collect()).collect();
    /// println!("{}", SlabMalloc.stats());
    /// drop(lists);
    /// SlabMalloc.release(); // all that is free goes back to the OS, now
    /// ```
    /// What it is made of, here on a 64-bit machine:
    /// ```
    /// use heapwright::describe::describe;
    /// use heapwright::preset::SlabMalloc;
    /// # #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    /// assert_eq!(describe::<SlabMalloc>().to_string(), "\
    /// Malloc, a static for all threads (408728 bytes)
    /// ├─ classes: Classes, 76 sizes from 8 bytes to 32 KiB
    /// ├─ stacks of each thread: two per class of up to 32 objects and 8 KiB, those that grow up to 6 MiB for all threads (21104 bytes)
    /// ├─ depots of each class: 4 of up to 64 objects and 16 KiB
    /// ├─ slabs of each class: SideSlabs of 32 KiB, 1 bit per object
    /// ├─ lock of each depot and class: YieldLock (1 byte)
    /// └─ chunks: ChunkHeap, chunks of 32 KiB in regions of 2 MiB, huge pages from region 8 on (456 bytes)
    ///    ├─ lock: YieldLock (1 byte)
    ///    ├─ free chunks: WorkingSet of the last 1000 ms by StdClock (24 bytes)
    ///    └─ source: Pages of the OS
    /// ");
    /// ```
    ///
    /// Its parts, each of which can be changed, are in [`SlabSettings`]; how they work together, in [`cache::malloc`](crate::cache::malloc); what it costs and against
    /// whom, in the guide's chapter [`performance`](crate::guide::performance), and on many cores in [`scaling`](crate::guide::scaling).
    pub static SLAB_MALLOC as SlabMalloc: SlabSettings = ChunkHeap::new(Pages);

    /// `SlabMalloc`'s parts, set for little memory: for programs of many threads that are mostly idle, and for small machines with an OS.
    ///
    /// ```
    /// use heapwright::preset::CompactMalloc;
    ///
    /// #[global_allocator]
    /// static GLOBAL: CompactMalloc = CompactMalloc;
    ///
    /// let text = String::from("in slabs");
    /// assert!(CompactMalloc.stats().bytes_live >= text.len());
    /// ```
    /// What it is made of, here on a 64-bit machine:
    /// ```
    /// use heapwright::describe::describe;
    /// use heapwright::preset::CompactMalloc;
    /// # #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    /// assert_eq!(describe::<CompactMalloc>().to_string(), "\
    /// Malloc, a static for all threads (408728 bytes)
    /// ├─ classes: Classes, 76 sizes from 8 bytes to 32 KiB
    /// ├─ stacks of each thread: two per class of up to 8 objects and 2 KiB (9712 bytes)
    /// ├─ depots of each class: 1 of up to 16 objects and 4 KiB
    /// ├─ slabs of each class: SideSlabs of 32 KiB, 1 bit per object
    /// ├─ lock of each depot and class: YieldLock (1 byte)
    /// └─ chunks: ChunkHeap, chunks of 32 KiB in regions of 2 MiB (456 bytes)
    ///    ├─ lock: YieldLock (1 byte)
    ///    ├─ free chunks: WorkingSet of the last 100 ms by StdClock (24 bytes)
    ///    └─ source: Pages of the OS
    /// ");
    /// ```
    ///
    /// Its parts are in [`CompactSettings`].
    pub static COMPACT_MALLOC as CompactMalloc: CompactSettings = ChunkHeap::new(Pages);

    /// [`SlabMalloc`](type@SlabMalloc) that looks at what comes back: blocks freed twice, pointers from elsewhere or into a block's middle, layouts that a block can't have. What it finds ends the process, with a
    /// report on standard error. For programs with unsafe code or C code in production.
    ///
    /// ```
    /// use heapwright::preset::CheckedMalloc;
    ///
    /// #[global_allocator]
    /// static GLOBAL: CheckedMalloc = CheckedMalloc;
    ///
    /// let text = String::from("freed once");
    /// assert!(CheckedMalloc.stats().bytes_live >= text.len());
    /// ```
    /// A block freed twice is found as long as nobody has written to its first word in between, or has been given its memory, and unless two threads do it at the same moment; blocks of more than 32 KiB
    /// as long as nobody has been given theirs. A free object holds a mark in its first word, which nobody can foresee; no block is longer for it.
    ///
    /// It has no use for memory at addresses of more than 48 bits, which few systems give a program unasked: see [`ChunkHeap`]. Nor has `HardenedMalloc`.
    ///
    /// Its parts are in [`CheckedSettings`], what is checked, in [`check`](crate::check).
    pub static CHECKED_MALLOC as CheckedMalloc: CheckedSettings = ChunkHeap::new(Pages);

    /// [`SlabMalloc`](type@SlabMalloc) with all checks there are: besides those of [`CheckedMalloc`](type@CheckedMalloc), writes behind a block and to freed memory are found, freed memory is zeroed and
    /// rests before it is used again, and pages that can't be touched follow slabs and large blocks.
    ///
    /// ```
    /// use heapwright::preset::HardenedMalloc;
    ///
    /// #[global_allocator]
    /// static GLOBAL: HardenedMalloc = HardenedMalloc;
    ///
    /// let text = String::from("zeroed when it is freed");
    /// assert!(HardenedMalloc.stats().bytes_live >= text.len());
    /// ```
    /// Each block is at least 8 bytes longer than asked for. Up to 4 objects of each class and thread rest, no more than 512 bytes of a class, or one object. Guards take
    /// addresses and entries in the kernel's map of the process, of which Linux allows 65,530 by default: there is one behind each slab in the first 8 MiB of addresses, behind each huge page from there on, and
    /// behind blocks without a class, 16,384 at most.
    /// A write to the first word of a freed block does not hide a second free here.
    ///
    /// Its parts are in [`HardenedSettings`], what is checked, in [`check`](crate::check).
    pub static HARDENED_MALLOC as HardenedMalloc: HardenedSettings = ChunkHeap::new(Pages);
}
