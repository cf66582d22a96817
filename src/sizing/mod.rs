//! Sizings: the numbers of an arena, as a type.
//!
//! A sizing says how finely an arena cuts its region (the granule), how far its links reach, how large one
//! object may be, and which structure finds free runs. It holds no memory and no code: constants only, checked when
//! an arena is made of it (a wrong one is a compile error that names the remedy).
//!
//! | sizing | granule | largest object | largest region | structure |
//! |---|---|---|---|---|
//! | [`Sizing4KiB`] | 4 B | 4 KiB | 12 KiB | one bit per granule, first fit |
//! | [`Sizing128KiB`] | 4 B up to 64 KiB of region, then 8 B | 128 KiB | 256 KiB less 8 B | bins, one boundary bit per granule |
//! | [`Sizing16MiB`] | 8 B | 16 MiB | 32 MiB | bins, one boundary bit per granule |
//!
//! Adaptors change one thing of another sizing: [`Bounded`] (no deferred work), [`Checked`] (a [policy](crate::check) of checks: wrong frees are found, or
//! all there is).
//!
//! # Write your own in three steps
//! 1. A type without fields.
//! 2. `impl Sizing`: checks, granule, reach, largest object; the rest has defaults.
//! 3. Name it in an arena. Every rule (Z1 to Z6 of [`Sizing`]) is checked there at compile time.
//!
//! ```
//! use core::mem::MaybeUninit;
//! use heapwright::arena::Teaspoon;
//! use heapwright::check::Unchecked;
//! use heapwright::lock::NoLock;
//! use heapwright::sizing::{Link, Sizing};
//!
//! // 1. a type
//! #[derive(Debug)]
//! pub struct Sizing1GiB;
//!
//! // 2. its numbers: 16-byte granules, so one bit for every 16 bytes
//! impl Sizing for Sizing1GiB {
//!     type Checks = Unchecked;
//!     const GRANULE: usize = 16;
//!     const LINK: Link = Link::Bits31;
//!     const OBJECT_SIZE_MAX: usize = 1 << 30;
//!     const REGION_SIZE_MAX: usize = 1 << 31;
//! }
//!
//! // 3. use it
//! let mut memory = [MaybeUninit::uninit(); 4096];
//! let spoon = Teaspoon::<Sizing1GiB, NoLock>::from_slice(&mut memory);
//! assert_eq!(spoon.usage().used, 0);
//! ```

use core::fmt;

use crate::check::{self, Checks, Switch, Unchecked};
use crate::describe::{Bytes, Cost, Tree, describe_by, name};

/// How wide the links are that an arena writes into its free memory.
///
/// ```
/// use heapwright::sizing::Link;
/// assert_eq!(Link::Bits15.bytes(), 4);
/// assert_eq!(Link::Bits31.granules_max(), (1 << 31) - 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Two links of 15 bits in one 4-byte word: up to 32,767 granules.
    Bits15,
    /// Two links of 31 bits in one 8-byte word: up to 2³¹ − 1 granules.
    Bits31,
}

impl Link {
    /// Size in bytes of the word that holds two links: the smallest free block must have it.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Link::Bits15 => 4,
            Link::Bits31 => 8,
        }
    }

    /// The most granules that a region may have.
    #[must_use]
    pub const fn granules_max(self) -> usize {
        match self {
            Link::Bits15 => (1 << 15) - 1,
            Link::Bits31 => (1 << 31) - 1,
        }
    }
}

/// The structure that finds a run of free granules.
///
/// ```
/// use heapwright::sizing::{Placement, Sizing, Sizing4KiB, Sizing16MiB};
/// assert_eq!(Sizing4KiB::PLACEMENT, Placement::BitmapRuns);
/// assert_eq!(Sizing16MiB::PLACEMENT, Placement::Bins);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// One bit per granule, set while the granule is taken; first fit by address. Densest (no table but the bits, no
    /// merging) and simplest; a search reads at most the whole bitmap, so it is for regions of a few KiB.
    BitmapRuns,
    /// One bit per granule, set on the first and the last granule of each free block, and lists of free blocks by
    /// size (bins): O(1) merge with both neighbours without a header on live objects. For regions of any size.
    Bins,
}

/// The numbers of an arena.
///
/// The trait is safe: an arena refuses to compile with numbers that break one of these.
/// - **Z1** `GRANULE` and `GRANULE_SMALL` are powers of two, at least `LINK.bytes()` (a free granule holds a link word),
///   `GRANULE_SMALL <= GRANULE <= 4096`.
/// - **Z2** `REGION_SIZE_MAX / GRANULE <= LINK.granules_max()`, and the same for `REGION_SMALL_MAX` and `GRANULE_SMALL`.
/// - **Z3** `OBJECT_SIZE_MAX <= REGION_SIZE_MAX`, neither is zero, and both are below `isize::MAX`.
/// - **Z4** `QUICK_SIZES <= 256`, and it is 0 where `Checks` looks at frees.
/// - **Z5** `BIN_STEPS <= 4`.
/// - **Z6** `Checks::RED_ZONE <= 4096`, and where there is one `GRANULE <= 256`, so that a byte tells an object's size;
///   where it, `ZERO_FREED` or `ENCODE` is switched on, `Frees` is.
///
/// ```compile_fail,E0080
/// use heapwright::arena::StaticArena;
/// use heapwright::check::Checked;
/// use heapwright::lock::SpinLock;
/// use heapwright::sizing::{Link, Sizing};
///
/// pub struct Mine;
/// impl Sizing for Mine {
///     type Checks = Checked; // error: Z4, as QUICK_SIZES is 64 unless told otherwise
///     const GRANULE: usize = 8;
///     const LINK: Link = Link::Bits31;
///     const OBJECT_SIZE_MAX: usize = 4096;
///     const REGION_SIZE_MAX: usize = 65_536;
/// }
/// static HEAP: StaticArena<4096, Mine, SpinLock> = StaticArena::new();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a heapwright sizing",
    label = "this type parameter takes a sizing",
    note = "use `Sizing4KiB`, `Sizing128KiB` or `Sizing16MiB`, or an adaptor such as `Bounded<Sizing128KiB>`",
    note = "or implement `heapwright::sizing::Sizing` in three steps: see the docs of `heapwright::sizing`"
)]
pub trait Sizing: 'static {
    /// What the arena checks, and what is done about what it finds: [`Unchecked`], or see [`Checked`]. Needs `QUICK_SIZES` to be 0 (Z4), unless nothing is.
    type Checks: Checks;
    /// Bytes of one granule: every block is a whole number of them and starts at a multiple.
    const GRANULE: usize;
    /// Width of the links in free memory.
    const LINK: Link;
    /// Largest object, in bytes.
    const OBJECT_SIZE_MAX: usize;
    /// Largest region, in bytes, that an arena uses; what lies beyond is left alone and not counted.
    const REGION_SIZE_MAX: usize;
    /// Bytes of one granule in regions of up to `REGION_SMALL_MAX` bytes.
    const GRANULE_SMALL: usize = Self::GRANULE;
    /// Up to this many bytes of region the small granule is used.
    const REGION_SMALL_MAX: usize = 0;
    /// The structure that finds free runs.
    const PLACEMENT: Placement = Placement::Bins;
    /// Freed objects of up to this many granules are kept, unmerged, in lists of exactly their size, as long as memory
    /// is plentiful, and taken from there first. 0: never, so that no operation ever pays for earlier ones.
    const QUICK_SIZES: usize = 64;
    /// Bins per doubling of the size, as a power of two (2: four bins between 64 and 128 granules).
    const BIN_STEPS: u32 = 2;
}

/// Objects of up to 4 KiB in regions of up to 12 KiB, in 4-byte granules: the densest for firmware.
///
/// Tables: 1 bit per granule in 4-byte words, 3.0 % of a region of 4 KiB.
///
/// ```
/// use heapwright::{arena::StaticArena, lock::NoLock, sizing::Sizing4KiB};
/// let usage = StaticArena::<4096, Sizing4KiB, NoLock>::new().usage();
/// assert_eq!((usage.free, usage.tables()), (3968, 124));
/// ```
#[derive(Debug)]
pub struct Sizing4KiB;

impl Sizing for Sizing4KiB {
    type Checks = Unchecked;
    const GRANULE: usize = 4;
    const LINK: Link = Link::Bits15;
    const OBJECT_SIZE_MAX: usize = 4 << 10;
    const REGION_SIZE_MAX: usize = 12 << 10;
    const PLACEMENT: Placement = Placement::BitmapRuns;
}

/// Objects of up to 128 KiB in regions of up to 256 KiB (less 8 bytes, so that links of 15 bits reach).
///
/// The granule is 4 bytes in regions of up to 64 KiB and 8 bytes above. Tables: 1 bit per granule, and bins of about 1/112 of the
/// region but no more than 204 bytes; together 3.3 % of 64 KiB, 1.7 % of 128 KiB.
///
/// ```
/// use heapwright::{arena::StaticArena, lock::NoLock, sizing::Sizing128KiB};
/// static SMALL: StaticArena<{ 64 << 10 }, Sizing128KiB> = StaticArena::new();
/// static LARGE: StaticArena<{ 128 << 10 }, Sizing128KiB> = StaticArena::new();
/// assert!(SMALL.usage().tables() < 2200 && LARGE.usage().tables() < 2300);
/// ```
#[derive(Debug)]
pub struct Sizing128KiB;

impl Sizing for Sizing128KiB {
    type Checks = Unchecked;
    const GRANULE: usize = 8;
    const LINK: Link = Link::Bits15;
    const OBJECT_SIZE_MAX: usize = 128 << 10;
    const REGION_SIZE_MAX: usize = (256 << 10) - 8;
    const GRANULE_SMALL: usize = 4;
    const REGION_SMALL_MAX: usize = 64 << 10;
}

/// Objects of up to 16 MiB in regions of up to 32 MiB, in 8-byte granules.
///
/// Tables: 1 bit per granule, and bins of about 1/112 of the region but no more than 516 bytes; together 1.6 % of 1 MiB, 1.5 % of
/// 16 MiB.
///
/// ```
/// use heapwright::{arena::StaticArena, sizing::Sizing16MiB};
/// static HEAP: StaticArena<{ 1 << 20 }, Sizing16MiB> = StaticArena::new();
/// assert!(HEAP.usage().tables() < 17_000);
/// ```
#[derive(Debug)]
pub struct Sizing16MiB;

impl Sizing for Sizing16MiB {
    type Checks = Unchecked;
    const GRANULE: usize = 8;
    const LINK: Link = Link::Bits31;
    const OBJECT_SIZE_MAX: usize = 16 << 20;
    const REGION_SIZE_MAX: usize = 32 << 20;
}

/// Sizing `S` without deferred work: every operation has a small fixed bound of its own.
///
/// Free blocks are looked up in bins and merged with their neighbours, all but the one freed last at once. For real-time users: nothing
/// that happened before makes a later call slower. A request looks at 8 blocks of its size class at most, of 8 classes if it is
/// aligned above the granule, and so may be refused although a block further back would do. Only of the last class, which has the
/// largest blocks and so at most 39 of them, it looks at all. What depends on a size is the request's
/// own: the table words of memory that was never used before (4 bytes for 32 granules), and the bytes that a resize moves.
///
/// Costs speed on average where sizes are mixed, and 0.9 % more of 4 KiB for tables than `Sizing4KiB`; the guide's chapter
/// [`performance`](crate::guide::performance) has the figures.
///
/// ```
/// use heapwright::{arena::StaticArena, sizing::{Bounded, Sizing4KiB}};
/// static HEAP: StaticArena<4096, Bounded<Sizing4KiB>> = StaticArena::new();
/// assert_eq!(HEAP.usage().tables(), 160);
/// ```
#[derive(Debug)]
pub struct Bounded<S>(core::marker::PhantomData<fn() -> S>);

impl<S: Sizing> Sizing for Bounded<S> {
    type Checks = S::Checks;
    const GRANULE: usize = S::GRANULE;
    const LINK: Link = S::LINK;
    const OBJECT_SIZE_MAX: usize = S::OBJECT_SIZE_MAX;
    const REGION_SIZE_MAX: usize = S::REGION_SIZE_MAX;
    const GRANULE_SMALL: usize = S::GRANULE_SMALL;
    const REGION_SMALL_MAX: usize = S::REGION_SMALL_MAX;
    const PLACEMENT: Placement = Placement::Bins;
    const QUICK_SIZES: usize = 0;
    const BIN_STEPS: u32 = S::BIN_STEPS;
}

/// Sizing `S` with checks: those of the policy `C`.
///
/// One more bit per granule tells where objects start. By it every double free, every free of a foreign or interior pointer and every free with a layout that can't
/// be the object's is found, and resizes likewise: the call is refused, counted ([`Locked::misuses`](crate::heap::Locked::misuses)), and told to the policy's
/// [`Report`](crate::check::Report) when the lock is free. It also makes [`Locked::chunks`](crate::heap::Locked::chunks) show single objects. Not found is a stale pointer to a
/// place where another object of as many granules lives by then, nor a free with size zero, which does nothing.
///
/// | policy | beside that | cost |
/// |---|---|---|
/// | [`Checked<R>`](crate::check::Checked) | | 1 bit per granule, and speed: no block is kept for the next request of its size. A request looks at as few blocks as under [`Bounded`] |
/// | [`Hardened<R>`](crate::check::Hardened) | writes behind an object, and to a freed one; links in free memory are encoded, and believed only where the tables agree | 8 bytes for each object and the rest of its granule; each byte of a block is written when it is freed and read when it is handed out |
/// | your own [`Checks`] | what of these it has; those of frees have to be among them (Z6) | |
///
/// Of a hardened policy, a quarantine, chance and guard pages mean nothing here: an arena has one place for a block, and no pages. [`Quarantine`](crate::combine::Quarantine)
/// goes around it. Where free memory is found written to at its links, the lists are made anew from the tables, which lie apart; this is reported as
/// [`Metadata`](crate::check::Wrong::Metadata).
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::{arena::StaticArena, check, heap::SharedHeap, sizing::{Checked, Sizing4KiB}};
/// static HEAP: StaticArena<4096, Checked<Sizing4KiB, check::Checked<check::Ignore>>> = StaticArena::new();
/// let layout = Layout::new::<u64>();
/// let block = HEAP.try_alloc(layout)?.cast();
/// // SAFETY: the first free is a right one; the second is refused by `Checked`.
/// unsafe {
///     HEAP.free(block, layout);
///     HEAP.free(block, layout);
/// }
/// assert_eq!((HEAP.misuses(), HEAP.verify()), (1, Ok(())));
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// All there is, with a report of one's own:
/// ```
/// use core::alloc::Layout;
/// use heapwright::check::{Hardened, Misuse, Report, Wrong};
/// use heapwright::{arena::StaticArena, heap::SharedHeap, sizing::{Checked, Sizing128KiB}};
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// struct Note;
/// static OVERRUN: AtomicBool = AtomicBool::new(false);
/// impl Report for Note {
///     fn report(misuse: &Misuse) {
///         OVERRUN.store(misuse.wrong == Wrong::WrittenBehind, Ordering::Relaxed);
///     }
/// }
/// static HEAP: StaticArena<65_536, Checked<Sizing128KiB, Hardened<Note>>> = StaticArena::new();
///
/// let layout = Layout::new::<[u8; 13]>();
/// let block = HEAP.try_alloc(layout)?.cast::<u8>();
/// // SAFETY: one byte too many: the zone behind the block has room for it, and it is found by the free.
/// unsafe {
///     block.write_bytes(0, 14);
///     HEAP.free(block, layout);
/// }
/// assert!(OVERRUN.load(Ordering::Relaxed));
/// # Ok::<(), heapwright::AllocError>(())
/// ```
#[derive(Debug)]
pub struct Checked<S, C = check::Checked>(core::marker::PhantomData<fn() -> (S, C)>);

impl<S: Sizing, C: Checks> Sizing for Checked<S, C> {
    type Checks = C;
    const GRANULE: usize = S::GRANULE;
    const LINK: Link = S::LINK;
    const OBJECT_SIZE_MAX: usize = S::OBJECT_SIZE_MAX;
    const REGION_SIZE_MAX: usize = S::REGION_SIZE_MAX;
    const GRANULE_SMALL: usize = S::GRANULE_SMALL;
    const REGION_SMALL_MAX: usize = S::REGION_SMALL_MAX;
    const PLACEMENT: Placement = S::PLACEMENT;
    // Kept blocks have no marks: without them every wrong free can be told.
    const QUICK_SIZES: usize = 0;
    const BIN_STEPS: u32 = S::BIN_STEPS;
}

/// What a sizing is, as a part of an arena. All sizings are types without parts, so they are told by their numbers.
pub(crate) fn describe_sizing<S: Sizing>(tree: &mut Tree<'_>) -> fmt::Result {
    let (name, granule, max) = (name::<S>(), S::GRANULE, Bytes(S::OBJECT_SIZE_MAX));
    let bits = if <S::Checks as Checks>::Frees::ON { "2 bits" } else { "1 bit" };
    if S::REGION_SMALL_MAX > 0 && S::GRANULE_SMALL != granule {
        let (small, until) = (S::GRANULE_SMALL, Bytes(S::REGION_SMALL_MAX));
        return tree.part(format_args!("{name}, granules of {small} bytes ({granule} beyond {until}) with {bits} each, objects of up to {max}"), Cost::NONE, &[]);
    }
    tree.part(
        format_args!("{name}, granules of {granule} bytes with {bits} each, objects of up to {max}"),
        Cost::NONE,
        &[],
    )
}

describe_by!(describe_sizing: [] Sizing4KiB, [] Sizing128KiB, [] Sizing16MiB, [S: Sizing] Bounded<S>, [S: Sizing, C: Checks] Checked<S, C>);
