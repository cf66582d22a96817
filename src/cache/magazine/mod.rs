//! Magazines: caches for many threads, without a lock for most operations.
//!
//! [`Magazined<C>`](Magazined) puts a *depot* of magazines in front of any cache `C`, and each user has a *front* of its own: a stack of
//! up to two magazines, taken from and given to without a lock. A magazine is `N` pointers to free slots. It goes to the depot and
//! comes from there whole; what the depot has no room for, or does not have, is a matter of the cache behind.
//!
//! ```text
//!    thread            thread            thread
//!   +-------+         +-------+         +-------+
//!   | front |         | front |         | front |      up to 2 N slots each: pop and push
//!   +---+---+         +---+---+         +---+---+
//!       |   N slots       |                 |          once in N operations of a front, at most
//!   +---+-----------------+-----------------+---+
//!   | depot: up to M magazines, behind a lock   |
//!   +---------------------+---------------------+
//!                         |   N slots                  when the depot has none, or no room
//!   +---------------------+---------------------+
//!   | the cache                                 |
//!   +-------------------------------------------+
//! ```
//!
//! | front | found by | for | needs | beyond pop and push, each operation costs |
//! |---|---|---|---|---|
//! | [`Handle`] | you hold it | workers, tasks, data structures; caches that are no static | | nothing |
//! | `PerThread`, declared by [`magazined!`](crate::magazined) | the thread | caches in a `static` | feature `std` | a test |
//! | [`PerCpu<Magazined<..>, CPUS>`](PerCpu) | a function of yours | kernels, firmware with several cores, more threads than CPUs | | a lock that nobody else wants |
//!
//! All three are caches themselves ([`UntypedObjectAlloc`](super::UntypedObjectAlloc),
//! [`ObjectAlloc<T>`](super::ObjectAlloc) if the cache behind is one), several kinds may be in front of one
//! depot's cache, and what one hands out any other takes back, on any thread. Objects are not touched on the way: what was constructed
//! stays constructed, and the front that frees an object hands it out again while it is warm.
//!
//! If the cache behind hands out raw memory ([`RawSlots`](super::RawSlots): a [`SlabCache`](super::SlabCache)), a front is an `Allocator` too, for
//! every layout that fits a slot, and so is a reference to it. (Take a cache whose layout is known at compile time: one that has it
//! [`AtRunTime`](super::AtRunTime) takes its lock to tell it, for each allocation.)
//!
//! ```
//! # #[cfg(all(feature = "os", feature = "std", feature = "allocator-api2-04"))] {
//! use allocator_api2_04::boxed::Box;
//! use heapwright::cache::{For, KeepAll, Magazined, SlabCache};
//! use heapwright::{lock::SpinLock, slab::AlignedSlabs, source::Pages};
//!
//! struct Tree {
//!     key: u64,
//!     left: Option<Box<Tree, Trees>>,
//! }
//! type TreeCache = SlabCache<AlignedSlabs<Pages>, SpinLock, For<Tree>, KeepAll, 0>;
//! heapwright::magazined! { static TREES as Trees: Magazined<TreeCache> = Magazined::new(SlabCache::over(Pages)); }
//!
//! let leaf = Box::new_in(Tree { key: 1, left: None }, Trees);
//! let root = Box::new_in(Tree { key: 2, left: Some(leaf) }, Trees);
//! assert_eq!(root.left.as_ref().map(|left| left.key), Some(1));
//! assert_eq!(size_of_val(&root), size_of::<usize>());
//! std::thread::spawn(move || drop(root)).join().unwrap(); // into that thread's front, and when it ends, back
//! Trees.flush();
//! TREES.reap();
//! assert_eq!(TREES.cache().stats().live, 0);
//! # }
//! ```
//! In a cache of constructed objects a `Box` could leave anything behind, so that does not compile:
//! ```compile_fail,E0277
//! use heapwright::cache::{DefaultInit, Magazined, ObjectCache, RawSlots};
//! use heapwright::{slab::AlignedSlabs, source::StaticBuffer};
//! fn allocator(_: impl RawSlots) {}
//! static RAM: StaticBuffer<4096> = StaticBuffer::new();
//! let names = ObjectCache::<u64, DefaultInit, AlignedSlabs<_, 2048>>::over(&RAM);
//! let names: Magazined<_> = Magazined::new(names);
//! allocator(names.handle()); // error: its slots are not raw memory
//! ```
//!
//! # What is kept, and how to get it back
//! Free slots in fronts and depot are lent by the cache behind: it can't reuse their slabs, and when it has no more, one thread may get an error
//! while another's front has slots. `flush` empties a front, [`reap`](Magazined::reap) the depot, [`trim`](Magazined::trim) what of the
//! depot has been idle. A front that goes (a handle that is dropped, a thread that ends or panics) gives all back by itself, and
//! so does a [`Magazined`] that is dropped.
//!
//! # Which numbers
//! `N = 64` and `M = 16` are for small objects on a machine with an OS. For large ones divide: `N * size` of some 64 KiB
//! is plenty. On a small machine `N = 8, M = 2` take 64 bytes for the depot on a 32-bit chip (92 with its numbers and a spin lock) and 68 for each front.
//!
//! # Where the idea is from
//! Magazines and depot are J. Bonwick and J. Adams, *Magazines and Vmem*, 2001. There a CPU has a loaded and a previous magazine and
//! exchanges them; here the two lie end to end, and the older is what goes, so the fast paths have one bound to test, the recently
//! used objects stay, and the promise is the same: `N` operations at least between two visits to the depot. Magazines are
//! not objects of their own but places in the depot, so that no empty ones need to be had, and freeing never allocates.

#[cfg(any(
    feature = "allocator-api2-02",
    feature = "allocator-api2-03",
    feature = "allocator-api2-04",
    feature = "nightly"
))]
mod blocks;
mod depot;
mod front;
mod handle;
mod heap_slots;
mod layer;
mod magazined;
mod per_cpu;
#[cfg(feature = "std")]
mod per_thread;

pub use self::depot::MagazineStats;
pub use self::handle::Handle;
pub use self::heap_slots::HeapSlots;
pub use self::magazined::Magazined;
pub use self::per_cpu::PerCpu;
#[cfg(feature = "std")]
pub use self::per_thread::{FrontPointer, PerThread, ThreadFront, ThreadFronts};

// For `magazined!`, whose user may be a crate without std in scope.
#[cfg(feature = "std")]
#[doc(hidden)]
pub use std::thread_local;
