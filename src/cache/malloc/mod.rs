//! General allocators for many threads, put together from size classes, slabs and chunks.
//!
//! [`malloc!`](crate::malloc) declares one from settings, a type that names its parts; the presets are made in the same way. Each thread has a *front*: a *bin* for each
//! class, two stacks of free objects, found by a thread-local pointer, used without a lock. Behind the fronts are *depots*, behind those the slabs of the class, and behind
//! all classes one stock of chunks.
//!
//! ```text
//!   thread                              thread
//!  ┌─────────────────────────┐         ┌─────────────────────────┐
//!  │ a bin for each class    │         │ a bin for each class    │   pop, push: no lock, no shared memory
//!  └───────────┬─────────────┘         └───────────┬─────────────┘
//!              │ one of a bin's stacks at once     │
//!  ┌───────────┴─────────────┬─────────────────────┴─────────────┐
//!  │ class: depot, depot, .. │ class: depot, depot, ..     ..    │   a lock for each depot
//!  │        slabs            │        slabs                ..    │   a lock for each class
//!  ├─────────────────────────┴───────────────────────────────────┤
//!  │ stock of chunks: slabs, runs of chunks, blocks of their own │   a lock, once for each slab or run
//!  └─────────────────────────────┬───────────────────────────────┘
//!                              pages
//! ```
//!
//! | what comes back | goes |
//! |---|---|
//! | an object | on the bin of the thread that frees it, whichever thread it came from; if the stack that it would go to has no more room, that stack goes whole to the thread's depot, or gets more room (see below) |
//! | what a depot has no room for | to its slabs, a bit each, under the lock of the class |
//! | a slab without live objects | to the stock, for any class to use; it stays resident if the policy wants it |
//! | a thread that ends | all that it has at hand, as above; its memory for stacks to the next thread |
//!
//! Nothing belongs to a thread but what it has at hand: no slab is abandoned when a thread ends, and there is nothing to adopt. A free needs no look-up, as
//! Rust says the layout; [`UsableSize`](crate::heap::UsableSize) finds it for who does not have it.
//!
//! # Bounds
//! A thread has at hand at most two stacks of a class, each of `FRONT_SLOTS` objects and `FRONT_BYTES` at most, or of one object if that is more; the depots of a class
//! have `SHARDS × DEPOT_BYTES` at most. Where many objects of a class come and go in batches (four stacks' worth went back, and then as many were taken), the class's
//! stacks get twice the room with each such turn, as long as the thread's larger stacks with their places are no more than a fourth of `GROWN_BYTES`, and no more than
//! `GROWN_BYTES` divided by the threads that there are at that moment: for `n` threads that begin one after the other at most `GROWN_BYTES × (1 + ln(n / 4))` in all. What a thread does not use goes back by and by: each time that it has visited what is shared 32 times, the next class in turn gives
//! back one of its stacks if it has not been used since its last turn, and its larger stacks when both are empty. So memory that is not live is bounded by the threads that *are*, not those that were: see the guide's chapter
//! [`scaling`](crate::guide::scaling).
//!
//! # Checks
//! By the policy of the stock ([`check`](crate::check)). A free object holds a mark in its first word, made of its address and a number that each process has another one of: who frees it
//! once more is found by that. Where an object begins, and of which class it is, the stock's map of its chunks and the class's shape tell. With red zones, each block ends in a pattern;
//! with zeroing, what is free is zero but for its mark, in slabs that are used anew as well; with a quarantine, each thread has up to 8 resting objects of each class, of no more bytes than a quarter of one of its
//! stacks, or one. Larger blocks are taken out of the stock's books before they are given back, so that of two frees one is refused, on whatever threads they are.
//!
//! # Ends and beginnings
//! It works before `main` and after the last destructor. A thread whose thread-local destructors have run goes past the bins (on Linux, one whose values under
//! `pthread` keys are being destroyed). What a thread has at hand lies in the heap's memory, and not in the thread's: what nothing has told the heap of is lost with the thread at worst. A forked child finds every lock of this heap free (those
//! of its source are the source's: `Pages` has none, and another heap of this kind sees to its own); what the parent's other threads had at hand is lost to it. Signal handlers must not allocate: a handler may have interrupted this heap.
//!
//! Ideas: per-thread stacks of pointers and whole batches to a shared depot, J. Bonwick and J. Adams, *Magazines and Vmem*, 2001; a front of any slab's objects
//! instead of slabs of threads: tcmalloc; sizes that come back with a free: C++14, C23; slabs found by masking, headers apart: jemalloc, mimalloc. The bin's end mark, its two
//! stacks, and their growth by turns are ours.

mod bin;
#[cfg(any(
    feature = "allocator-api2-02",
    feature = "allocator-api2-03",
    feature = "allocator-api2-04",
    feature = "nightly"
))]
mod blocks;
mod checked;
mod class;
mod fork;
mod front;
mod grown;
mod handle;
mod late;
mod quarantine;
mod settings;
mod shared;
mod stats;
mod stock;
mod threads;

pub use self::front::{Front, NoBins};
pub use self::handle::{Malloc, MallocInstance, ThreadEnd};
pub use self::settings::MallocSettings;
pub use self::shared::SharedMalloc;
pub use self::stats::{ClassStats, MallocStats};
pub use self::stock::ChunkStock;

// For `malloc!`, whose user may be a crate without std in scope.
#[doc(hidden)]
pub use std::thread_local;
