//! The arena that is a `static`.

use core::alloc::Layout;
use core::any::type_name;
use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::shape::Shape;
use super::view::{State, View};
use crate::AllocError;
use crate::alloc::{impl_allocators, impl_global_alloc};
use crate::describe::{Bytes, Cost, Describe, Tree};
use crate::heap::{Chunks, Corruption, Heap, Inspect, Owns, Reset, SharedHeap, Usage, told};
use crate::lock::{Lock, SpinLock};
use crate::sizing::{Sizing, describe_sizing};

/// An arena of `N` bytes that contains its region: for a `static`, as the global allocator or by reference.
///
/// `const fn new`, no lazy start: all its bytes are zero, so it lands in `.bss` and is ready before `main`. Its shape is a
/// constant of the type. It contains its blocks, so it is an `Allocator` by reference only: moving it would move them.
///
/// Costs as [`Teaspoon`](super::Teaspoon). The region is aligned to 16 bytes. On a 64-bit machine the state takes 72 bytes and the
/// lock's beside the `N` of the region, and the whole is rounded up to 16: 4,176 bytes for 4 KiB with a [`SpinLock`].
///
/// ```
/// use heapwright::arena::StaticArena;
/// use heapwright::lock::SpinLock;
/// use heapwright::sizing::Sizing128KiB;
///
/// #[global_allocator]
/// static HEAP: StaticArena<{ 256 << 10 }, Sizing128KiB, SpinLock> = StaticArena::new();
///
/// let words = vec!["one", "line"];
/// assert!(HEAP.usage().objects >= 1);
/// # drop(words);
/// ```
///
/// Looked into, and emptied at once, all blocks forgotten:
/// ```
/// use heapwright::{arena::StaticArena, heap::SharedHeap, lock::NoLock, sizing::Sizing4KiB};
/// use std::alloc::Layout;
/// let mut arena = StaticArena::<1024, Sizing4KiB, NoLock>::new();
/// let layout = Layout::new::<[u64; 4]>();
/// let block = arena.try_alloc(layout)?;
/// assert!(arena.owns(block.cast(), layout));
/// assert_eq!((arena.usage().used, arena.usage().objects), (32, 1));
/// assert_eq!(arena.chunks().map(|chunk| chunk.len).sum::<usize>(), arena.usage().total);
/// assert_eq!((arena.verify(), arena.misuses()), (Ok(()), 0));
/// arena.reset();
/// assert_eq!(arena.usage().objects, 0);
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// By value it is no allocator:
/// ```compile_fail,E0277
/// use allocator_api2_04::alloc::Allocator;
/// use heapwright::{arena::StaticArena, lock::NoLock, sizing::Sizing4KiB};
/// fn by_value<A: Allocator>(_: A) {}
/// by_value(StaticArena::<1024, Sizing4KiB, NoLock>::new());
/// ```
///
/// Without a lock it is no static:
/// ```compile_fail,E0277
/// use heapwright::{arena::StaticArena, lock::NoLock, sizing::Sizing4KiB};
/// static HEAP: StaticArena<1024, Sizing4KiB, NoLock> = StaticArena::new();
/// ```
#[repr(C, align(16))]
pub struct StaticArena<const N: usize, S: Sizing, L = SpinLock> {
    /// Reached by raw pointer only: a `&mut` to it would take the blocks from their owners. Former blocks leave bytes
    /// uninitialised, which move with the arena.
    region: UnsafeCell<[MaybeUninit<u8>; N]>,
    /// Touched only under `lock`, or through `&mut self`.
    state: UnsafeCell<State<S>>,
    lock: L,
    sizing: PhantomData<fn() -> S>,
}

// SAFETY: state and tables are touched under the lock only (L1, L2), and blocks by their owners.
unsafe impl<const N: usize, S: Sizing, L: Sync> Sync for StaticArena<N, S, L> {}

/// The alignment of the region in bytes, as `repr` says.
const REGION_ALIGN: usize = 16;

impl<const N: usize, S: Sizing, L: Lock> StaticArena<N, S, L> {
    /// The region's shape, known to the compiler.
    const SHAPE: Shape = {
        assert!(
            S::GRANULE <= REGION_ALIGN,
            "a StaticArena is aligned to 16 bytes: take a sizing with a granule of at most 16 bytes"
        );
        Shape::new::<S>(N)
    };

    /// An empty arena.
    #[must_use]
    pub const fn new() -> Self {
        let _ = Self::SHAPE;
        StaticArena {
            region: UnsafeCell::new([MaybeUninit::new(0); N]),
            state: UnsafeCell::new(State::EMPTY),
            lock: L::INIT,
            sizing: PhantomData,
        }
    }

    /// The arena at work.
    ///
    /// # Safety
    /// The caller holds the lock, or `&mut self`, for as long as the view lives.
    #[inline(always)]
    unsafe fn view(&self) -> View<'_, S> {
        let region = self.region.get().cast::<u8>();
        View {
            // Tables fit the region, so the origin is inside it.
            origin: region.wrapping_add(Self::SHAPE.tables as usize),
            lead: Self::SHAPE.tables,
            shape: &Self::SHAPE,
            // SAFETY: the caller has exclusive use of the state.
            state: unsafe { &mut *self.state.get() },
            sizing: PhantomData,
        }
    }

    /// Runs `work` on the arena under the lock; `None` on re-entry.
    fn under_lock<R>(&self, work: impl FnOnce(&mut View<'_, S>) -> R) -> Option<R> {
        let locked = self.lock.with(|| {
            // SAFETY: the lock is held for longer than the view lives.
            let mut view = unsafe { self.view() };
            (work(&mut view), view.finding(type_name::<Self>()))
        });
        locked.map(told)
    }

    /// How full the arena is. O(1), under the lock. All zero on re-entry.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.under_lock(|view| view.usage()).unwrap_or_default()
    }

    /// Whether the block is one of this arena's. `false` on re-entry.
    #[must_use]
    pub fn owns(&self, ptr: NonNull<u8>, layout: Layout) -> bool {
        self.under_lock(|view| view.owns(ptr, layout)).unwrap_or(false)
    }

    /// The region's used and free chunks in address order.
    pub fn chunks(&self) -> Chunks<'_, Self> {
        Chunks::new(self)
    }

    /// Checks all that the arena believes about itself, under the lock. `Ok` on re-entry.
    ///
    /// # Errors
    /// The first rule found broken.
    pub fn verify(&self) -> Result<(), Corruption> {
        self.under_lock(|view| view.verify()).unwrap_or(Ok(()))
    }

    /// How many misuses were found; 0 unless the sizing is `Checked`.
    #[must_use]
    pub fn misuses(&self) -> usize {
        self.under_lock(|view| view.misuses()).unwrap_or(0)
    }

    /// Forgets all blocks at once. The `&mut` proves that no handle borrows the arena.
    pub fn reset(&mut self) {
        // SAFETY: `&mut self` is exclusive use.
        let mut view = unsafe { self.view() };
        // SAFETY: nobody borrows the arena, so nobody can free into it; what raw pointers do is their user's promise.
        unsafe { Reset::reset(&mut view) };
        told(((), view.finding(type_name::<Self>())));
    }
}

impl<const N: usize, S: Sizing, L: Lock> Default for StaticArena<N, S, L> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize, S: Sizing, L: fmt::Debug> fmt::Debug for StaticArena<N, S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticArena").field("bytes", &N).field("lock", &self.lock).finish_non_exhaustive()
    }
}

// SAFETY: S1: `enter` runs the closure under the lock (L1). S2: borrowed it cannot move, and it is an `Allocator` by
// reference only. S3: locks do not unwind (L3).
unsafe impl<const N: usize, S: Sizing, L: Lock> SharedHeap for StaticArena<N, S, L> {
    type Core<'a>
        = View<'a, S>
    where
        Self: 'a;

    #[inline]
    unsafe fn enter<'s, R>(&'s self, work: impl FnOnce(&mut Self::Core<'s>) -> R) -> Result<R, AllocError> {
        if Self::Core::<'_>::CHECKS {
            let locked = self.lock.with(|| {
                // SAFETY: the lock is held for longer than the view lives.
                let mut view = unsafe { self.view() };
                (work(&mut view), view.finding(type_name::<Self>()))
            });
            return locked.map(told).ok_or(AllocError);
        }
        let locked = self.lock.with(|| {
            // SAFETY: the lock is held for longer than the view lives.
            let mut view = unsafe { self.view() };
            work(&mut view)
        });
        locked.ok_or(AllocError)
    }
}

impl<const N: usize, S: Sizing, L: Lock + Describe> Describe for StaticArena<N, S, L> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let (region, tables) = (Bytes(N), Bytes(Self::SHAPE.tables as usize));
        let cost = Cost::state_around::<Self, ([u8; N], L)>();
        tree.part(
            format_args!("StaticArena of {region}, {tables} of it for tables"),
            cost,
            &[("lock", L::describe), ("sizing", describe_sizing::<S>)],
        )
    }
}

impl_allocators!([const N: usize, S: Sizing, L: Lock] &StaticArena<N, S, L>);
impl_global_alloc!([const N: usize, S: Sizing, L: Lock] StaticArena<N, S, L>);
