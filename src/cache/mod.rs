//! Object caches: the fastest way to objects of one layout, in front of slabs.
//!
//! The traits here let code be generic over caches; each cache implements them.

mod clock;
mod front;
mod init;
pub mod magazine;
mod obj;
mod object_alloc;
mod object_cache;
mod retention;
mod size_classes;
mod slab_cache;
mod slab_heap;
mod slot;

pub use self::clock::Clock;
#[cfg(feature = "std")]
pub use self::clock::StdClock;
pub use self::init::{DefaultInit, FnInit, InPlace, Init, NewObjectError, TryInit, Uninit, WithReset};
#[cfg(feature = "std")]
pub use self::magazine::PerThread;
pub use self::magazine::{Handle, HeapSlots, MagazineStats, Magazined, PerCpu};
pub use self::obj::{Obj, PinnedObj};
pub use self::object_alloc::{ObjectAlloc, UntypedObjectAlloc};
pub use self::object_cache::ObjectCache;
pub use self::retention::{KeepAll, KeepSlabs, ReleaseAtOnce, Retention, WorkingSet};
pub use self::size_classes::{ClassArray, Classes, SizeClasses, slot_layout};
#[doc(hidden)]
pub use self::size_classes::{ClassLookup, class_rules};
pub use self::slab_cache::{CacheStats, SlabCache, SlabCore, SlabStats};
pub use self::slab_heap::{SlabHeap, SlabHeapStats};
pub use self::slot::{AtRunTime, ConstSlot, Exactly, For, Slot};
