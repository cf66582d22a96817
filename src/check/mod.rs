//! What a heap checks, as a type: nothing, what production can afford, or all there is.
//!
//! Safe Rust can't misuse a heap: a `Box` is freed once, with its own layout. Unsafe code, C code behind a `malloc`, and code that writes past the end of what it has can. A policy
//! ([`Checks`]) says how much of this a heap finds, and what is done then.
//!
//! | found | [`Unchecked`] | [`Checked`] | [`Hardened`] |
//! |---|---|---|---|
//! | a block freed twice | – | yes | yes |
//! | a pointer from elsewhere, or into a block's middle | – | yes | yes |
//! | a layout that the block can't have, another heap's block | – | yes | yes |
//! | writes behind a block that change a byte there | – | – | when it is freed or resized, if they are in the red zone, or among as many bytes at the block's end; at once at a guard page |
//! | writes to a freed block that change a byte | – | – | when its memory is used again, as long as its slab was in use all the time |
//! | | | | |
//! | freed memory is zeroed | – | – | yes |
//! | freed memory rests before it is used again | – | – | yes, as long as a bound allows |
//! | which block comes next | is known | is known | is a matter of chance |
//!
//! Which parts take a policy, and what each row means there:
//!
//! | part | by |
//! |---|---|
//! | arenas | the adaptor [`sizing::Checked<S, C>`](crate::sizing::Checked) |
//! | general allocators | the last parameter of the stock of chunks in their settings, [`ChunkHeap`](crate::cache::ChunkHeap); ready-made as [`preset::CheckedMalloc`](crate::preset) and `HardenedMalloc` |
//! | caches of raw memory, and heaps of them | the last parameter of [`SlabCache`](crate::cache::SlabCache) and [`SlabHeap`](crate::cache::SlabHeap); a list through free objects takes it as well, [`IntrusiveList<P>`](crate::slab::IntrusiveList). The guide's chapter [`caches`](crate::guide::caches) says what each row means and costs there |
//! | object caches, caches of made slots | none: their handles are safe, and what they keep stays as it is |
//!
//! What a policy is in an arena:
//!
//! | row | in an arena |
//! |---|---|
//! | what comes back is looked at | a mark on the first granule of each live object: every wrong call is found, whatever came before, but one for a place where another object of as many granules lives by now, and one with size zero, which frees nothing |
//! | writes behind a block | `RED_ZONE` bytes and the rest of the last granule, which also tell the size: blocks are as long as was asked for. (What zones hold is no secret: who writes the same there is not found) |
//! | writes to a freed block | free memory is zero, and looked at when it is handed out, or taken into a block that grows |
//! | links that lie in free memory are encoded | and believed only if the marks, which lie apart, and the words at both ends agree; what does not is [`Metadata`](Wrong::Metadata), and the lists are made anew. Only a link that is changed to tell the end of its list is told late, when a block beside one of those behind it is freed. [`Sizing4KiB`](crate::sizing::Sizing4KiB) has none |
//! | freed memory rests, chance, guard pages | not there: a block has one place, and there are no pages. [`Quarantine`](crate::combine::Quarantine) goes around it, as does [`RedZones`](crate::combine::RedZones) for writes before a block |
//!
//! What a policy is in a general allocator:
//!
//! | row | in a general allocator |
//! |---|---|
//! | a block freed twice | free objects hold a mark in their first word: a second free is found unless somebody has written there in between (`Hardened` finds it all the same, by the zone: told as a write behind, if more than that word was written. A live block that is all zero behind its first word, zone and all, it takes for a free one), two threads free at the same moment, or the memory is somebody else's by now |
//! | a pointer from elsewhere, or into a block's middle | a map of slabs, and how far into each objects were taken: found whatever it points to, the heap's own memory and objects that nobody was given included |
//! | a wrong layout | when it leads to another size class, or to another number of chunks. Of a block of its own (longer than 16 chunks: above 512 KiB with those of the presets) any size between that and its length is let pass; so is size zero of any block, which frees nothing. With zones a smaller size of the same class is told as a write behind the block, which is freed. (A resize that is refused leaves the block as it was, and what was told of its zone is told again when it is freed) |
//! | writes to a freed block | those that change any byte of objects, zeroes over the mark included. Longer blocks are zeroed or unmapped, and not looked at |
//! | guard pages | behind slabs, or behind the huge page in which they lie, and behind blocks without a class; on Linux 16,384 in a process ([`Checks::GUARDS`]) |
//!
//! The policy is a parameter and nothing else: it does not change with the build profile. A part that is given [`Unchecked`] is no byte larger than one that
//! could not check, and no slower.
//!
//! What is found is handed to the policy's [`Report`], after the locks of the heap are free again. (A heap around it, which has it as its source or by reference, may hold its own: that one is not to be used in the report.) If it returns, the call that was wrong has done nothing: a block that was freed twice
//! is left alone, one that was freed with a wrong layout stays live, one that was damaged goes its way, but if freed memory is zeroed and the zone is all zero: then it may be free, and stays where it is. (In an arena marks tell that it is not: there it goes.)
//!
//! Nor has a combinator around the heap, which [asks](crate::heap::Heap::judge) it before a block is wiped, counted, moved to another heap or taken out of a list. Exceptions:
//! - [`FreeLists`](crate::combine::FreeLists) keep blocks that are live to the heap behind them: a second free of one that is in a list is not found, nor a resize. Where they are to be, take a
//!   [`SlabHeap`](crate::cache::SlabHeap) with a policy instead.
//! - Magazines ([`Magazined`](crate::cache::Magazined) around a cache with a policy) keep slots that are live to the cache: it looks at them when a magazine goes back. A second free within a front is
//!   not found, and the slot may be handed out twice; what is from elsewhere may be handed out, too. A `SlabHeap` or a general allocator with a policy looks at each.
//! - A [`Chain`](crate::combine::Chain) without a heap has nobody to find a pointer from elsewhere wrong, or a layout that leads to it (by a [`Segregate`](crate::combine::Segregate), say). (Otherwise the first does, and the current one of a [`Ring`](crate::combine::Ring), if they look at frees.) What is not the first heap's of
//!   a [`Fallback`](crate::combine::Fallback) is for the second to find, if that looks at frees; else it gets it as its own.
//! - [`Quarantine`](crate::combine::Quarantine) and [`RedZones`](crate::combine::RedZones) around a heap that does not check, and [`Zeroing`](crate::combine::Zeroing) when blocks leave, write to the block, or beside it, where the layout says. A free with a wrong layout, or of a pointer from
//!   elsewhere, may have written over a live neighbour.
//! - A shell that another heap uses, as a source or by reference, tells for itself and is asked by nobody (but by [`StackFirst`](crate::combine::StackFirst), where its core [checks](crate::heap::Heap::CHECKS)): what is around it takes the call for done. So it is with the heap around a `Quarantine` or `RedZones` whose handler tells at
//!   once: there take [`Later`].
//!
//! A report says what is wrong, and not whose mistake it is. Where the block was allocated, and where it was freed before, is known to a traced heap: `Traced<Recall<Backtraces>, ..>` of
//! [`trace`](crate::trace) keeps the call sites of both, and `AbortWith` is a [`Report`] that tells them.
//!
//! # Write your own in three steps
//! 1. A type without fields, for what is done about a misuse, and one for the policy.
//! 2. `impl Report` and `impl Checks`: what is not said is not checked.
//! 3. Name the policy in a heap.
//!
//! ```
//! # #[cfg(all(feature = "os", feature = "std"))] {
//! use heapwright::cache::{ChunkHeap, Classes, MallocSettings, KeepAll};
//! use heapwright::check::{Checks, Misuse, Off, On, Report};
//! use heapwright::{lock::YieldLock, source::Pages};
//! use std::alloc::{GlobalAlloc, Layout};
//! use std::sync::atomic::{AtomicUsize, Ordering};
//!
//! // 1.
//! pub struct Count;
//! pub struct FreesAndShuffle;
//! static FOUND: AtomicUsize = AtomicUsize::new(0);
//!
//! // 2.
//! impl Report for Count {
//!     fn report(misuse: &Misuse) {
//!         eprintln!("{misuse}");
//!         FOUND.fetch_add(1, Ordering::Relaxed);
//!     }
//! }
//! impl Checks for FreesAndShuffle {
//!     type Frees = On;
//!     type Quarantine = Off;
//!     type Report = Count;
//!     const SHUFFLE: bool = true;
//! }
//!
//! // 3.
//! pub struct Settings;
//! impl MallocSettings for Settings {
//!     type Classes = Classes;
//!     type Chunks = ChunkHeap<Pages, YieldLock, KeepAll, 32768, { usize::MAX }, FreesAndShuffle>;
//!     type Lock = YieldLock;
//! }
//! heapwright::malloc! { static HEAP as Heap: Settings = ChunkHeap::new(Pages); }
//!
//! let layout = Layout::new::<[u64; 3]>();
//! // SAFETY: the first free is right; what is wrong with the second, the policy finds.
//! unsafe {
//!     let block = Heap.alloc(layout);
//!     Heap.dealloc(block, layout);
//!     Heap.dealloc(block, layout);
//! }
//! assert_eq!(FOUND.load(Ordering::Relaxed), 1);
//! # }
//! ```
//!
//! Ideas: checks of places out of line, B. Perens' Electric Fence (guard pages), D. Micay's hardened_malloc (zero on free, verified when used again; a random place in a quarantine), glibc's `tcache`
//! (a mark in freed memory), scudo and snmalloc (a policy of the build).

mod finding;
mod misuse;
mod pattern;
mod policy;
mod secret;
mod switch;

pub use self::finding::{Finding, Later};
pub use self::misuse::{Abort, CountMisuses, Damage, Misuse, MisuseHook, OnMisuse, Owner, Wrong};
pub(crate) use self::pattern::{FREED, Other, ZONE, first_other};
#[cfg(feature = "std")]
pub(crate) use self::pattern::{ZERO_SHORT_MAX, is_as_freed, word_at, zero_short};
pub use self::policy::{Checked, Checks, DefaultChecks, Hardened, Ignore, Report, Unchecked};
pub(crate) use self::policy::{Follows, report};
pub(crate) use self::secret::{Dice, Secret, entropy};
pub use self::switch::{Fresh, Off, On, Switch};
