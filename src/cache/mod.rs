//! Object caches: the fastest way to objects of one layout, in front of slabs.
//!
//! A cache has some free objects *at hand*, and gets more from the slabs of a [slab system](crate::slab), half of what it can have at hand at a
//! time. An allocation and a free that find room there touch neither slab nor object. The guide's chapter [`caches`](crate::guide::caches)
//! follows an object through all of it.
//!
//! | cache | hands out | choose it for |
//! |---|---|---|
//! | [`ObjectCache<T, I, S>`](ObjectCache) | objects of type `T` that stay constructed, by handles ([`Obj`]) | objects that cost more to make than to reuse; nodes of one type |
//! | [`SlabCache<S>`](SlabCache) | raw memory of one layout, as an `Allocator` | `Box`es of one type, layouts known at run time |
//! | [`UntypedCache<F, S>`](UntypedCache) | memory of a layout known at run time, made ready once | records of a length that a file tells, objects of another language |
//! | [`SlabHeap<C, S>`](SlabHeap) in a [`Locked`](crate::heap::Locked) | raw memory of any layout | a program's general heap, the global allocator |
//! | [`Magazined<C>`](Magazined) and its fronts | what the cache `C` does, without a lock | a cache that many threads use |
//! | `Malloc`, declared by [`malloc!`](crate::malloc) (feature `std`) | raw memory of any layout, without a lock | the global allocator of a program with threads |
//! | [`ChunkHeap<B, L>`](ChunkHeap) | slabs of any layout, runs, large blocks | what stands behind heaps of many size classes |
//! | [`HeapSlots<H>`](HeapSlots) | blocks of a heap | magazines in front of a heap that you have |
//!
//! | part | what it settles | there are |
//! |---|---|---|
//! | [`Init<T>`](Init) | how objects are made, and made ready to be kept | [`DefaultInit`], [`FnInit`], [`TryInit`], [`InPlace`], [`Uninit`]; [`WithReset`] around one of them |
//! | [`Slot`] | the layout of raw memory | [`For<T>`](For) and [`Exactly<SIZE, ALIGN>`](Exactly) when the program is compiled, [`AtRunTime`] |
//! | [`Retention`] | which slabs stay when all their objects are free | [`KeepAll`], [`KeepSlabs<N>`](KeepSlabs), [`WorkingSet<Clock>`](WorkingSet), [`ReleaseAtOnce`] |
//! | [`Clock`] | the time, for `WorkingSet` | `StdClock` (feature `std`) |
//! | [`SizeClasses`] | the sizes of a `SlabHeap` | [`Classes`]; [`size_classes!`](crate::size_classes) makes others |
//! | a front, in [`magazine`] | what of a `Magazined` each user has to itself | [`Handle`], `PerThread` by [`magazined!`](crate::magazined) (feature `std`), [`PerCpu`] |
//!
//! Slabs, their bookkeeping and their coloring are parts of the layer below, [`slab`](crate::slab).
//!
//! ```
//! # #[cfg(feature = "os")] {
//! use heapwright::cache::{DefaultInit, ObjectCache, WithReset};
//! use heapwright::{lock::SpinLock, slab::AlignedSlabs, source::Pages};
//!
//! #[derive(Default)]
//! struct Request {
//!     body: Vec<u8>,
//! }
//!
//! type Requests = ObjectCache<Request, WithReset<DefaultInit, fn(&mut Request)>, AlignedSlabs<Pages>, SpinLock>;
//! static REQUESTS: Requests = ObjectCache::new(Pages, WithReset(DefaultInit, |request| request.body.clear()));
//!
//! let mut request = REQUESTS.alloc()?;
//! request.body.extend(*b"GET /");
//! std::thread::spawn(move || drop(request)).join().unwrap(); // goes back to the cache, buffer and all
//! let request = REQUESTS.alloc()?;
//! assert!(request.body.is_empty() && request.body.capacity() >= 5);
//! # }
//! # Ok::<(), heapwright::AllocError>(())
//! ```
//!
//! # Write your own in three steps
//! Code that is generic over caches takes an [`ObjectAlloc<T>`](ObjectAlloc), or an [`UntypedObjectAlloc`] where it knows no type.
//! 1. A type that reaches its slots through a pointer, and knows which are free.
//! 2. `unsafe impl UntypedObjectAlloc`, keeping U1 to U5; and `ObjectAlloc<T>`, keeping O1, if its slots hold objects.
//! 3. Use it by way of [`Obj`], or with [`Magazined`] in front.
//!
//! ```
//! use core::alloc::Layout;
//! use core::cell::Cell;
//! use core::marker::PhantomData;
//! use core::mem::MaybeUninit;
//! use core::ptr::NonNull;
//! use heapwright::AllocError;
//! use heapwright::cache::{Magazined, Obj, ObjectAlloc, UntypedObjectAlloc};
//!
//! // 1. up to 64 places in borrowed memory, two bits each
//! struct Seats<'a, T> {
//!     first: NonNull<T>,
//!     free: Cell<u64>,
//!     /// Those that hold an object.
//!     made: Cell<u64>,
//!     memory: PhantomData<&'a mut [MaybeUninit<T>]>,
//! }
//!
//! impl<'a, T: Default> Seats<'a, T> {
//!     fn new(memory: &'a mut [MaybeUninit<T>]) -> Self {
//!         const { assert!(size_of::<T>() > 0) };
//!         let free = u64::MAX.checked_shr(64 - memory.len().min(64) as u32).unwrap_or(0);
//!         let first = memory.as_mut_ptr();
//!         first.expose_provenance();
//!         let first = NonNull::new(first).map_or(NonNull::dangling(), NonNull::cast);
//!         Seats { first, free: Cell::new(free), made: Cell::new(0), memory: PhantomData }
//!     }
//!
//!     /// A bit of `seats`, if there is one, and its place.
//!     fn one_of(&self, seats: u64) -> Result<(u64, NonNull<T>), AllocError> {
//!         let bit = 1u64.checked_shl(seats.trailing_zeros()).ok_or(AllocError)?;
//!         // SAFETY: there is a place for each bit that was ever set.
//!         Ok((bit, unsafe { self.first.add(bit.trailing_zeros() as usize) }))
//!     }
//!
//!     fn bit(&self, slot: NonNull<u8>) -> u64 {
//!         1 << ((slot.addr().get() - self.first.addr().get()) / size_of::<T>())
//!     }
//! }
//!
//! // 2. SAFETY: U1: a slot is a place of the borrowed memory, whose bit is clear while it is out; when this value goes, it touches none
//! // that are out. U2: as one sees. U3: only places that hold an object are handed out. U4: `default` may unwind, or come back
//! // here, before anything has changed. U5: all places are exposed.
//! unsafe impl<T: Default> UntypedObjectAlloc for Seats<'_, T> {
//!     fn slot_layout(&self) -> Layout {
//!         Layout::new::<T>()
//!     }
//!     fn alloc_slot(&self) -> Result<NonNull<u8>, AllocError> {
//!         if self.free.get() & self.made.get() == 0 {
//!             let object = T::default();
//!             let (bit, place) = self.one_of(self.free.get() & !self.made.get())?;
//!             // SAFETY: the place is free, and holds nothing.
//!             unsafe { place.write(object) };
//!             self.made.set(self.made.get() | bit);
//!         }
//!         let (bit, place) = self.one_of(self.free.get() & self.made.get())?;
//!         self.free.set(self.free.get() & !bit);
//!         Ok(place.cast())
//!     }
//!     unsafe fn free_slot(&self, slot: NonNull<u8>) {
//!         self.free.set(self.free.get() | self.bit(slot));
//!     }
//! }
//!
//! // SAFETY: O1: places are for `T`s, made by `default`; dropped below, if they are free then.
//! unsafe impl<T: Default> ObjectAlloc<T> for Seats<'_, T> {
//!     unsafe fn free_uninit(&self, object: NonNull<T>) {
//!         let bit = self.bit(object.cast());
//!         self.made.set(self.made.get() & !bit);
//!         self.free.set(self.free.get() | bit);
//!     }
//! }
//!
//! impl<T> Drop for Seats<'_, T> {
//!     fn drop(&mut self) {
//!         for number in (0..64).filter(|number| self.free.get() & self.made.get() & (1 << number) != 0) {
//!             // SAFETY: the place exists.
//!             let place = unsafe { self.first.add(number) };
//!             // SAFETY: it holds an object that nobody has.
//!             unsafe { place.drop_in_place() };
//!         }
//!     }
//! }
//!
//! // 3. use it
//! let mut memory = [const { MaybeUninit::uninit() }; 8];
//! let seats = Seats::<String>::new(&mut memory);
//! let mut name = Obj::new(&seats)?;
//! name.push_str("kept");
//! drop(name);
//! let magazined: Magazined<_> = Magazined::new(seats);
//! let front = magazined.handle();
//! assert_eq!(*Obj::new(&front)?, "kept");
//! # Ok::<(), AllocError>(())
//! ```

mod chunk_heap;
mod clock;
mod front;
mod init;
pub mod magazine;
#[cfg(feature = "std")]
pub mod malloc;
mod obj;
mod object_alloc;
mod object_cache;
mod retention;
mod size_classes;
mod slab_cache;
mod slab_heap;
mod slot;
mod untyped_cache;
mod watch;

pub use self::chunk_heap::{ChunkHeap, ChunkPlace, ChunkStats, Chunks};
pub use self::clock::Clock;
#[cfg(feature = "std")]
pub use self::clock::StdClock;
pub use self::init::{DefaultInit, FnInit, InPlace, Init, NewObjectError, TryInit, Uninit, WithReset};
#[cfg(feature = "std")]
pub use self::magazine::PerThread;
pub use self::magazine::{Handle, HeapSlots, MagazineStats, Magazined, PerCpu};
#[cfg(feature = "std")]
pub use self::malloc::{ClassStats, Malloc, MallocSettings, MallocStats};
pub use self::obj::{Obj, PinnedObj};
pub use self::object_alloc::{ObjectAlloc, RawSlots, UntypedObjectAlloc};
pub use self::object_cache::ObjectCache;
pub use self::retention::{KeepAll, KeepSlabs, ReleaseAtOnce, Retention, WorkingSet};
pub use self::size_classes::{ClassArray, Classes, SizeClasses, slot_layout};
#[doc(hidden)]
pub use self::size_classes::{ClassLookup, class_rules};
pub use self::slab_cache::{CacheStats, SlabCache, SlabCore, SlabStats};
pub use self::slab_heap::{SlabHeap, SlabHeapStats};
pub use self::slot::{AtRunTime, ConstSlot, Exactly, For, Slot};
pub use self::untyped_cache::UntypedCache;
