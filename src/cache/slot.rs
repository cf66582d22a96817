//! The layout of a cache's objects: known when the program is compiled, or when it runs.

use core::alloc::Layout;
use core::marker::PhantomData;

use super::init::Init;
use super::watch::SlabChecks;
use crate::check::Checks;
use crate::describe::{describe_leaf, name};
use crate::slab::{Rules, Shape, ShapeError, SlabSystem};

/// The layout that a cache's objects have.
///
/// # Safety
/// An implementation keeps these:
/// - **T1** (one shape) [`shape`](Slot::shape) gives, for one value, one `S` and one `P`, always the same shape, made by [`Shape::new`] from `S::RULES` with
///   `TRACKED`, and with the red zone that `P` names, if it looks at frees, as their [zone](Rules::with_zone).
/// - **T2** (a leaf) it does not unwind, and uses no heap: it runs inside the cache, also where a lock does not note that anything does
///   ([`Lock::with_leaf`](crate::lock::Lock::with_leaf)).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the layout of a heapwright cache's objects",
    label = "this type parameter takes `For<T>`, `Exactly<SIZE, ALIGN>` or `AtRunTime`"
)]
pub unsafe trait Slot: Copy {
    /// Whether constructed objects are told from raw ones.
    const TRACKED: bool = false;

    /// A slot with the same shapes as any other value has, if there is one: then a cache tells its layout without taking its lock.
    const KNOWN: Option<Self> = None;

    /// The shape of slabs of `S` for objects of this layout, in a cache that checks what `P` says.
    fn shape<S: SlabSystem, P: Checks>(&self) -> Shape;
}

/// The rules of slabs of `S` in a cache that checks what `P` says.
const fn rules<S: SlabSystem, P: Checks>() -> Rules {
    S::RULES.with_zone(P::ZONE)
}

/// A slot that needs no value: its layout is known at compile time.
pub trait ConstSlot: Slot {
    /// The one value.
    const NEW: Self;
}

/// The layout of `T`, at compile time. What a cache does with it is as fast as if it were written for `T`.
///
/// ```
/// use heapwright::cache::{For, SlabCache};
/// use heapwright::lock::NoLock;
/// use heapwright::slab::AlignedSlabs;
/// use heapwright::source::StaticBuffer;
/// static RAM: StaticBuffer<4096> = StaticBuffer::new();
/// let cache: SlabCache<AlignedSlabs<_, 1024>, NoLock, For<[u64; 3]>> = SlabCache::over(&RAM);
/// assert_eq!(cache.slot_size(), 24);
/// ```
#[derive(Debug)]
pub struct For<T>(PhantomData<fn() -> T>);

impl<T> Clone for For<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for For<T> {}

// SAFETY: T1, T2: one constant for each `S`, `T` and `P`.
unsafe impl<T> Slot for For<T> {
    const KNOWN: Option<Self> = Some(Self::NEW);

    #[inline(always)]
    fn shape<S: SlabSystem, P: Checks>(&self) -> Shape {
        const { Shape::checked(&rules::<S, P>(), Layout::new::<T>(), false) }
    }
}

impl<T> ConstSlot for For<T> {
    const NEW: Self = For(PhantomData);
}

/// As [`For`], for objects that `I` initialises: constructed ones are told from raw ones, if it keeps them.
#[derive(Debug)]
pub(super) struct Constructed<T, I>(PhantomData<fn() -> (T, I)>);

impl<T, I> Clone for Constructed<T, I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, I> Copy for Constructed<T, I> {}

// SAFETY: T1, T2: one constant for each `S`, `T`, `I` and `P`.
unsafe impl<T, I: Init<T>> Slot for Constructed<T, I> {
    const TRACKED: bool = I::KEEPS;

    #[inline(always)]
    fn shape<S: SlabSystem, P: Checks>(&self) -> Shape {
        const { Shape::checked(&rules::<S, P>(), Layout::new::<T>(), I::KEEPS) }
    }
}

impl<T, I: Init<T>> ConstSlot for Constructed<T, I> {
    const NEW: Self = Constructed(PhantomData);
}

/// Objects of `SIZE` bytes aligned to `ALIGN`, at compile time.
///
/// ```
/// use heapwright::cache::{Exactly, SlabCache};
/// use heapwright::lock::NoLock;
/// use heapwright::slab::AlignedSlabs;
/// use heapwright::source::StaticBuffer;
/// static RAM: StaticBuffer<4096> = StaticBuffer::new();
/// let cache: SlabCache<AlignedSlabs<_, 1024>, NoLock, Exactly<5, 4>> = SlabCache::over(&RAM);
/// assert_eq!(cache.slot_size(), 8, "rounded up to the alignment");
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Exactly<const SIZE: usize, const ALIGN: usize = 1>;

impl<const SIZE: usize, const ALIGN: usize> Exactly<SIZE, ALIGN> {
    const LAYOUT: Layout = match Layout::from_size_align(SIZE, ALIGN) {
        Ok(layout) => layout,
        Err(_) => {
            panic!("the ALIGN of `Exactly<SIZE, ALIGN>` has to be a power of two, and SIZE below isize::MAX")
        }
    };
}

// SAFETY: T1, T2: one constant for each `S`, `P` and layout.
unsafe impl<const SIZE: usize, const ALIGN: usize> Slot for Exactly<SIZE, ALIGN> {
    const KNOWN: Option<Self> = Some(Self::NEW);

    #[inline(always)]
    fn shape<S: SlabSystem, P: Checks>(&self) -> Shape {
        const { Shape::checked(&rules::<S, P>(), Self::LAYOUT, false) }
    }
}

impl<const SIZE: usize, const ALIGN: usize> ConstSlot for Exactly<SIZE, ALIGN> {
    const NEW: Self = Exactly;
}

/// A layout given when the program runs.
///
/// Made by [`SlabCache::with_layout`](super::SlabCache). It costs a few loads, and a multiplication where a compile-time layout has a
/// shift, in the slow paths; the fast ones are the same.
#[derive(Clone, Copy, Debug)]
pub struct AtRunTime {
    shape: Shape,
}

impl AtRunTime {
    /// For caches over `S` with the policy `P`, and no other.
    pub(super) const fn new<S: SlabSystem, P: Checks>(layout: Layout) -> Result<Self, ShapeError> {
        match Shape::new(&rules::<S, P>(), layout, false) {
            Ok(shape) => Ok(AtRunTime { shape }),
            Err(error) => Err(error),
        }
    }
}

// SAFETY: T1: the shape was made for the one `S` that the cache is over, and its one `P`. T2: it is copied.
unsafe impl Slot for AtRunTime {
    #[inline(always)]
    fn shape<S: SlabSystem, P: Checks>(&self) -> Shape {
        self.shape
    }
}

/// As [`AtRunTime`], for slots that are made ready before their first use and stay as they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeptAtRunTime {
    shape: Shape,
}

impl KeptAtRunTime {
    /// For caches over `S`, and no other.
    pub(super) const fn new<S: SlabSystem>(layout: Layout) -> Result<Self, ShapeError> {
        match Shape::new(&S::RULES, layout, true) {
            Ok(shape) => Ok(KeptAtRunTime { shape }),
            Err(error) => Err(error),
        }
    }
}

// SAFETY: T1: the shape was made for the one `S` that the cache is over, and caches of made slots check nothing. T2: it is copied.
unsafe impl Slot for KeptAtRunTime {
    const TRACKED: bool = true;

    #[inline(always)]
    fn shape<S: SlabSystem, P: Checks>(&self) -> Shape {
        self.shape
    }
}

describe_leaf!([T] For<T>, "{:#}, {} bytes aligned to {}", name::<T>(), size_of::<T>(), align_of::<T>());
describe_leaf!([const SIZE: usize, const ALIGN: usize] Exactly<SIZE, ALIGN>, "Exactly {SIZE} bytes aligned to {ALIGN}");
describe_leaf!(AtRunTime, "AtRunTime, known when the cache is made");
