//! The arena over borrowed memory, and the face that every kind of arena shows.

use core::alloc::Layout;
use core::any::type_name;
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};
use core::slice;

use super::shape::Shape;
use super::view::{State, View};
use crate::AllocError;
use crate::check::Finding;
use crate::describe::{Cost, Describe, Tree};
use crate::heap::{Chunk, Corruption, Cursor, Heap, Inspect, Locked, Owns, Reset, Usage};
use crate::lock::{Lock, SpinLock};
use crate::mem;
use crate::sizing::{Sizing, Sizing4KiB, Sizing16MiB, Sizing128KiB, describe_sizing};

/// An arena over borrowed memory, behind a lock: the successor of the `teaspoon` crate's type of that name.
///
/// Choose it for a heap of a known, small size: a byte array, a bank of RAM, a scratch buffer. Operations do not depend on the number of
/// live objects. Most are O(1); the others empty the lists of kept blocks (at a cost that earlier frees saved), look
/// for a large object through the free blocks of its size class, or under `Sizing4KiB` read the bitmap, at most 1/32 of the region.
/// [`Bounded`](crate::sizing::Bounded) puts a bound on each single one. `usage` is O(1).
///
/// On a 64-bit machine `size_of` is 96 bytes and the lock's, rounded up to 8: 104 bytes with [`SpinLock`]. The region holds the
/// tables: 3.0 % of 4 KiB, 1.7 % of 128 KiB, 1.5 % of 16 MiB, under the sizing of that name. The guide's chapter
/// [`arenas`](crate::guide::arenas) has more.
///
/// ```
/// use core::mem::MaybeUninit;
/// use heapwright::arena::Teaspoon;
/// use heapwright::heap::SharedHeap;
/// use heapwright::lock::NoLock;
/// use heapwright::sizing::Sizing4KiB;
///
/// let mut memory = [MaybeUninit::uninit(); 1024];
/// let spoon = Teaspoon::<Sizing4KiB, NoLock>::from(&mut memory);
/// let block = spoon.try_alloc(core::alloc::Layout::new::<u128>())?;
/// assert_eq!(block.len(), 16);
/// assert_eq!((spoon.usage().used, spoon.usage().objects), (16, 1));
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// | made by | region |
/// |---|---|
/// | `from_slice`, `from` | `&mut [MaybeUninit<u8>]`, or an array of them |
/// | `from_static`, `from` | `&'static mut [u8]`, or an array |
/// | `scoped` | `&mut [u8]` for the time of a call, zero afterwards |
/// | `from_bytes`, unsafe | `&mut [u8]` that nobody reads afterwards |
/// | `from_raw_parts`, `from_ptr`, `from_ptr_size`, `from_addr_size`, all unsafe | raw memory |
///
/// A `&mut [u8]` is not taken just like that: objects with padding, or without a value yet, leave bytes uninitialised, and
/// safe code could read those when the borrow ends.
/// ```compile_fail,E0597
/// # use heapwright::arena::Teaspoon4KiB;
/// let mut memory = [0u8; 1024];
/// let spoon = <Teaspoon4KiB<'_>>::from(&mut memory); // error: `memory` is not borrowed for ever
/// ```
pub type Teaspoon<'a, S, L = SpinLock> = Locked<Arena<'a, S>, L>;

/// A [`Teaspoon`] for objects of up to 4 KiB.
///
/// ```
/// use core::mem::MaybeUninit;
/// use heapwright::{arena::Teaspoon4KiB, lock::NoLock};
/// let mut memory = [MaybeUninit::uninit(); 512];
/// let spoon = Teaspoon4KiB::<NoLock>::from_slice(&mut memory);
/// assert!(spoon.usage().free > 470);
/// ```
pub type Teaspoon4KiB<'a, L = SpinLock> = Teaspoon<'a, Sizing4KiB, L>;
/// A [`Teaspoon`] for objects of up to 128 KiB.
///
/// ```
/// use core::mem::MaybeUninit;
/// use heapwright::{arena::Teaspoon128KiB, lock::NoLock};
/// let mut memory = [MaybeUninit::uninit(); 512];
/// let spoon = Teaspoon128KiB::<NoLock>::from_slice(&mut memory);
/// assert!(spoon.usage().free > 470);
/// ```
pub type Teaspoon128KiB<'a, L = SpinLock> = Teaspoon<'a, Sizing128KiB, L>;
/// A [`Teaspoon`] for objects of up to 16 MiB.
///
/// ```
/// use core::mem::MaybeUninit;
/// use heapwright::{arena::Teaspoon16MiB, lock::NoLock};
/// let mut memory = [MaybeUninit::uninit(); 512];
/// let spoon = Teaspoon16MiB::<NoLock>::from_slice(&mut memory);
/// assert!(spoon.usage().free > 470);
/// ```
pub type Teaspoon16MiB<'a, L = SpinLock> = Teaspoon<'a, Sizing16MiB, L>;

/// The core of an arena over borrowed memory, without a lock; see [`Teaspoon`].
///
/// Choose it as a part of a core of your own, which works behind a lock already.
///
/// ```
/// use core::{alloc::Layout, mem::MaybeUninit};
/// use heapwright::{arena::Arena, heap::Heap, sizing::Sizing4KiB};
/// let mut memory = [MaybeUninit::uninit(); 512];
/// let mut arena = Arena::<Sizing4KiB>::from_slice(&mut memory);
/// let block = arena.alloc(Layout::new::<[u8; 6]>())?;
/// assert_eq!(block.len(), 8, "whole granules of 4 bytes");
/// // SAFETY: the block is live, and its layout this one.
/// unsafe { arena.dealloc(block.cast(), Layout::new::<[u8; 6]>()) };
/// # Ok::<(), heapwright::AllocError>(())
/// ```
pub struct Arena<'a, S: Sizing> {
    /// First granule (A1). Dangling if there is none.
    origin: NonNull<u8>,
    /// Bytes from the region's first byte to the origin.
    lead: u32,
    shape: Shape,
    state: State<S>,
    region: PhantomData<&'a mut [MaybeUninit<u8>]>,
    sizing: PhantomData<fn() -> S>,
}

// SAFETY: the region is borrowed exclusively, like a `&mut` slice, and the state is plain data.
unsafe impl<S: Sizing> Send for Arena<'_, S> {}
// SAFETY: through `&Arena` nothing but plain fields is read; the cells of the notes are a view's, which takes `&mut`.
unsafe impl<S: Sizing> Sync for Arena<'_, S> {}

impl<'a, S: Sizing> Arena<'a, S> {
    /// An arena in a slice. What the slice held is lost.
    ///
    /// A slice that is too short for even one granule gives an arena in which every request fails; one that is longer
    /// than the sizing's `REGION_SIZE_MAX` is used up to there. O(length / 32) at most.
    ///
    /// ```
    /// use core::mem::MaybeUninit;
    /// use heapwright::{arena::Arena, heap::Inspect, sizing::Sizing4KiB};
    /// let mut memory = [MaybeUninit::uninit(); 512];
    /// assert!(Arena::<Sizing4KiB>::from_slice(&mut memory).usage().free > 480);
    /// ```
    #[must_use]
    pub fn from_slice(memory: &'a mut [MaybeUninit<u8>]) -> Self {
        let len = memory.len();
        // SAFETY: the slice is borrowed for as long as the arena lives, and need not be initialised.
        unsafe { Self::from_raw_parts(NonNull::from(memory).cast(), len) }
    }

    /// An arena in bytes that are borrowed for ever: a leaked slice, or a static's. Otherwise as
    /// [`from_slice`](Arena::from_slice).
    ///
    /// ```
    /// use heapwright::{arena::Arena, heap::Inspect, sizing::Sizing4KiB};
    /// let arena = Arena::<Sizing4KiB>::from_static(Box::leak(Box::new([0; 512])));
    /// assert!(arena.usage().free > 480);
    /// ```
    #[must_use]
    pub fn from_static(memory: &'static mut [u8]) -> Arena<'static, S> {
        // SAFETY: the borrow never ends, so nobody reads bytes that are no longer initialised.
        unsafe { Arena::from_bytes(memory) }
    }

    /// An arena in bytes that hold nothing of use afterwards. Otherwise as [`from_slice`](Arena::from_slice).
    ///
    /// ```
    /// use heapwright::{arena::Arena, heap::Inspect, sizing::Sizing4KiB};
    /// let mut memory = [0; 512];
    /// // SAFETY: the array is not read after this.
    /// let arena = unsafe { Arena::<Sizing4KiB>::from_bytes(&mut memory) };
    /// assert!(arena.usage().free > 480);
    /// ```
    ///
    /// # Safety
    /// When the borrow ends, nobody reads a byte of `memory` before writing it: objects with padding, or without a value yet,
    /// leave bytes that are not initialised.
    #[must_use]
    pub unsafe fn from_bytes(memory: &'a mut [u8]) -> Self {
        let len = memory.len();
        // SAFETY: the slice is borrowed for as long as the arena lives; what is read later is the caller's promise.
        unsafe { Self::from_raw_parts(NonNull::from(memory).cast(), len) }
    }

    /// An arena in `len` bytes from `start` on, which need not be initialised.
    ///
    /// ```
    /// use core::{mem::MaybeUninit, ptr::NonNull};
    /// use heapwright::{arena::Arena, heap::Inspect, sizing::Sizing4KiB};
    /// let mut memory = [MaybeUninit::<u8>::uninit(); 512];
    /// let start = NonNull::from(&mut memory).cast();
    /// // SAFETY: the array outlives the arena, and nobody else uses it, then or later.
    /// let arena = unsafe { Arena::<Sizing4KiB>::from_raw_parts(start, 512) };
    /// assert!(arena.usage().free > 480);
    /// ```
    ///
    /// # Safety
    /// For as long as the arena or a block of it is used (`'a`), the bytes are valid for reads and writes through
    /// `start`, and nobody else uses them. Afterwards they count as uninitialised: nobody reads one before writing it.
    #[must_use]
    pub unsafe fn from_raw_parts(start: NonNull<u8>, len: usize) -> Self {
        let granule = Shape::granule::<S>(len);
        let pad = start.addr().get().wrapping_neg() & (granule - 1);
        let shape = Shape::new::<S>(len.saturating_sub(pad));
        let lead = if shape.granules == 0 { 0 } else { pad + shape.tables as usize };
        // SAFETY: the shape fits into `len - pad` bytes, so the origin is inside the region.
        let origin = unsafe { start.add(lead) };
        let mut arena = Arena {
            origin,
            // A pad is below 4096 and tables are less than the 2³¹ granules' bits.
            lead: lead as u32,
            shape,
            state: State::EMPTY,
            region: PhantomData,
            sizing: PhantomData,
        };
        if arena.shape.granules > 0 {
            arena.view().clear_tables();
        }
        arena
    }

    #[inline(always)]
    pub(super) fn view(&mut self) -> View<'_, S> {
        View {
            origin: self.origin.as_ptr(),
            lead: self.lead,
            shape: &self.shape,
            state: &mut self.state,
            sizing: PhantomData,
        }
    }
}

impl<S: Sizing> fmt::Debug for Arena<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena")
            .field("shape", &self.shape)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl<S: Sizing> fmt::Debug for View<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("shape", &self.shape).field("state", &self.state).finish_non_exhaustive()
    }
}

impl<S: Sizing> View<'_, S> {
    #[inline(always)]
    fn block(&self, (index, granules): (u32, u32)) -> NonNull<[u8]> {
        // SAFETY: a pointer into a live allocation (A1) is not null.
        let start = unsafe { NonNull::new_unchecked(self.at(index)) };
        mem::slice(start, (granules as usize) << self.shift())
    }

    /// What a resize to layout `new` answers.
    #[inline(always)]
    fn resized(&mut self, found: Option<(u32, u32)>, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if Self::HARDENED {
            self.mend();
            let (index, granules) = found.ok_or(AllocError)?;
            return Ok(self.enclose(index, granules, new.size()));
        }
        Ok(self.block(found.ok_or(AllocError)?))
    }
}

// SAFETY: H1: blocks are whole granules that are marked taken (A4) or in no list (quick), at least the size, at an aligned
// index, and only the caller touches them until they are given back. H2: a view points to the region. H3: nothing panics but debug
// assertions of A1. H4: every failing path returns before it changes more than its caches. H5: nothing is called back.
// H6: size zero fails both the quick comparison and `fitting_granules`.
unsafe impl<S: Sizing> Heap for View<'_, S> {
    #[inline]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if Self::HARDENED {
            return self.alloc_hardened(layout);
        }
        match self.take_block(layout) {
            Some(found) => Ok(self.block(found)),
            None => Err(AllocError),
        }
    }

    #[inline]
    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        self.give_block(ptr.addr().get(), layout);
    }

    #[inline]
    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let found = self.resize_where_it_stands(ptr.addr().get(), old, new);
        self.resized(found, new)
    }

    #[inline]
    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        let found = unsafe { self.resize_block(ptr.addr().get(), old, new) };
        self.resized(found, new)
    }

    #[inline]
    fn good_size(&self, layout: Layout) -> usize {
        self.peek().good_size(layout)
    }

    const CHECKS: bool = Self::CHECKED;

    #[inline]
    unsafe fn judge(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        self.lets_back(ptr.addr().get(), layout)
    }

    #[inline(always)]
    fn take_finding(&mut self) -> Option<Finding> {
        self.finding(type_name::<Self>())
    }
}

// SAFETY: every block lies in the region's granules, and nobody else's does (A1).
unsafe impl<S: Sizing> Owns for View<'_, S> {
    fn owns(&self, ptr: NonNull<u8>, layout: Layout) -> bool {
        self.peek().owns(ptr, layout)
    }
}

impl<S: Sizing> Inspect for View<'_, S> {
    fn usage(&self) -> Usage {
        self.peek().usage()
    }

    fn next_chunk(&mut self, cursor: &mut Cursor) -> Option<Chunk> {
        self.walk(cursor)
    }

    fn verify(&mut self) -> Result<(), Corruption> {
        self.check()
    }

    fn misuses(&self) -> usize {
        self.peek().misuses()
    }
}

impl<S: Sizing> Reset for View<'_, S> {
    unsafe fn reset(&mut self) {
        self.forget_all();
    }
}

/// An arena looked at: what can be told from its fields alone.
pub(super) struct Peek<'s, S: Sizing> {
    origin: usize,
    shape: &'s Shape,
    state: &'s State<S>,
}

impl<S: Sizing> Peek<'_, S> {
    #[inline]
    pub(super) fn good_size(&self, layout: Layout) -> usize {
        // With a zone behind it a block is as long as it was asked for, so that the zone is found again.
        if View::<S>::ZONE > 0 {
            return layout.size();
        }
        let granule = 1usize << self.shape.shift;
        // A layout's size is at most `isize::MAX`: no overflow.
        (layout.size() + granule - 1) & !(granule - 1)
    }

    #[inline]
    pub(super) fn owns(&self, ptr: NonNull<u8>, layout: Layout) -> bool {
        layout.size() > 0 && ptr.addr().get().wrapping_sub(self.origin) < self.bytes()
    }

    pub(super) fn usage(&self) -> Usage {
        let used = (self.state.used() as usize) << self.shape.shift;
        Usage {
            total: self.shape.tables as usize + self.bytes(),
            used,
            free: self.bytes() - used,
            objects: self.state.objects() as usize,
        }
    }

    pub(super) fn misuses(&self) -> usize {
        self.state.misuses as usize
    }

    /// Bytes that can be handed out in all.
    #[inline]
    fn bytes(&self) -> usize {
        (self.shape.granules as usize) << self.shape.shift
    }
}

impl<S: Sizing> View<'_, S> {
    #[inline]
    fn peek(&self) -> Peek<'_, S> {
        Peek { origin: self.origin.addr(), shape: self.shape, state: self.state }
    }
}

impl<S: Sizing> Arena<'_, S> {
    #[inline]
    fn peek(&self) -> Peek<'_, S> {
        Peek { origin: self.origin.addr().get(), shape: &self.shape, state: &self.state }
    }
}

/// Makes a core whose work is done by the view that `$view` gives.
macro_rules! forward_to_view {
    ([$($generics:tt)*] $type:ty, $self:ident => $view:expr, $peek:expr) => {
        // SAFETY: H1 and H3 to H6 are the view's. H2: the type points to the region and does not contain it.
        unsafe impl<$($generics)*> Heap for $type {
            #[inline]
            fn alloc(&mut $self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
                $view.alloc(layout)
            }

            #[inline]
            unsafe fn dealloc(&mut $self, ptr: NonNull<u8>, layout: Layout) {
                // SAFETY: the caller's promise is the same.
                unsafe { $view.dealloc(ptr, layout) }
            }

            #[inline]
            unsafe fn resize_in_place(
                &mut $self,
                ptr: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<[u8]>, AllocError> {
                // SAFETY: the caller's promise is the same.
                unsafe { $view.resize_in_place(ptr, old, new) }
            }

            #[inline]
            unsafe fn resize(
                &mut $self,
                ptr: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<[u8]>, AllocError> {
                // SAFETY: the caller's promise is the same.
                unsafe { $view.resize(ptr, old, new) }
            }

            #[inline]
            fn good_size(&$self, layout: Layout) -> usize {
                $peek.good_size(layout)
            }

            const CHECKS: bool = View::<S>::CHECKED;

            #[inline]
            unsafe fn judge(&mut $self, ptr: NonNull<u8>, layout: Layout) -> bool {
                // SAFETY: the caller's promise is the same.
                unsafe { $view.judge(ptr, layout) }
            }

            #[inline(always)]
            fn take_finding(&mut $self) -> Option<Finding> {
                $view.finding(type_name::<Self>())
            }
        }

        // SAFETY: as the view's.
        unsafe impl<$($generics)*> Owns for $type {
            #[inline]
            fn owns(&$self, ptr: NonNull<u8>, layout: Layout) -> bool {
                $peek.owns(ptr, layout)
            }
        }

        impl<$($generics)*> Inspect for $type {
            fn usage(&$self) -> Usage {
                $peek.usage()
            }

            fn next_chunk(&mut $self, cursor: &mut Cursor) -> Option<Chunk> {
                $view.next_chunk(cursor)
            }

            fn verify(&mut $self) -> Result<(), Corruption> {
                $view.verify()
            }

            fn misuses(&$self) -> usize {
                $peek.misuses()
            }
        }

        impl<$($generics)*> Reset for $type {
            unsafe fn reset(&mut $self) {
                // SAFETY: the caller's promise is the same.
                unsafe { $view.reset() }
            }
        }
    };
}
pub(super) use forward_to_view;

forward_to_view!([S: Sizing] Arena<'_, S>, self => self.view(), self.peek());

impl<'a, S: Sizing, L: Lock> Teaspoon<'a, S, L> {
    /// An arena in a slice. What the slice held is lost.
    ///
    /// Too short a slice gives an arena in which every request fails, one that is longer than the sizing's
    /// `REGION_SIZE_MAX` is used up to there. O(length / 32) at most.
    ///
    /// ```
    /// use core::mem::MaybeUninit;
    /// use heapwright::arena::Teaspoon4KiB;
    /// let mut memory = [MaybeUninit::uninit(); 512];
    /// let spoon = <Teaspoon4KiB<'_>>::from_slice(&mut memory);
    /// assert!(spoon.usage().free > 480);
    /// ```
    #[must_use]
    pub fn from_slice(memory: &'a mut [MaybeUninit<u8>]) -> Self {
        Locked::new(Arena::from_slice(memory))
    }

    /// An arena in bytes that are borrowed for ever: a leaked slice, or a static's. Otherwise as
    /// [`from_slice`](Teaspoon::from_slice).
    ///
    /// ```
    /// use heapwright::arena::Teaspoon4KiB;
    /// let memory = Box::leak(Box::new([0; 512]));
    /// let spoon = <Teaspoon4KiB<'_>>::from_static(memory);
    /// assert!(spoon.usage().free > 480);
    /// ```
    ///
    /// A borrow that ends will not do: the bytes could be read then.
    /// ```compile_fail,E0597
    /// # use heapwright::arena::Teaspoon4KiB;
    /// let mut memory = [0; 512];
    /// let spoon = <Teaspoon4KiB<'_>>::from_static(&mut memory); // error: `memory` does not live long enough
    /// ```
    #[must_use]
    pub fn from_static(memory: &'static mut [u8]) -> Teaspoon<'static, S, L> {
        Locked::new(Arena::<S>::from_static(memory))
    }

    /// Runs `work` on an arena in `memory`, and fills `memory` with zeroes afterwards.
    ///
    /// Choose it for bytes that are of use again afterwards, such as a buffer for frames between two of them. It needs no
    /// promise: no block outlives the call, and no byte is left uninitialised, even if `work` panics. Costs what
    /// [`from_slice`](Teaspoon::from_slice) does, and O(length) at the end, since all of `memory` is written.
    ///
    /// ```
    /// use heapwright::arena::Teaspoon4KiB;
    /// let mut frame = [0xFF; 512];
    /// let objects = <Teaspoon4KiB<'_>>::scoped(&mut frame, |spoon| {
    /// #   #[cfg(feature = "allocator-api2-04")]
    ///     let boxed = allocator_api2_04::boxed::Box::new_in((1u8, 2u64), spoon);
    ///     spoon.usage().objects
    /// });
    /// # #[cfg(feature = "allocator-api2-04")]
    /// assert_eq!(objects, 1);
    /// assert_eq!(frame, [0; 512]);
    /// ```
    ///
    /// Neither a result nor a variable outside takes a block along:
    /// ```compile_fail
    /// # use heapwright::arena::Teaspoon4KiB;
    /// # use allocator_api2_04::boxed::Box;
    /// # let mut frame = [0; 512];
    /// // error: lifetime may not live long enough
    /// let boxed = <Teaspoon4KiB<'_>>::scoped(&mut frame, |spoon| Box::new_in(1, spoon));
    /// ```
    /// ```compile_fail
    /// # use heapwright::arena::Teaspoon4KiB;
    /// # use allocator_api2_04::boxed::Box;
    /// # let mut frame = [0; 512];
    /// // error: lifetime may not live long enough
    /// let leaked = <Teaspoon4KiB<'_>>::scoped(&mut frame, |spoon| Box::leak(Box::new_in(1, spoon)));
    /// ```
    /// ```compile_fail,E0521
    /// # use heapwright::arena::Teaspoon4KiB;
    /// # use allocator_api2_04::boxed::Box;
    /// # let mut frame = [0; 512];
    /// let mut kept = None;
    /// <Teaspoon4KiB<'_>>::scoped(&mut frame, |spoon| {
    ///     kept = Some(Box::new_in(1, spoon)); // error: borrowed data escapes outside of closure
    /// });
    /// ```
    pub fn scoped<R>(memory: &mut [u8], work: impl for<'s, 'm> FnOnce(&'s Teaspoon<'m, S, L>) -> R) -> R {
        let (start, len) = (memory.as_mut_ptr().cast(), memory.len());
        // SAFETY: the same bytes, borrowed for as long; the value that takes the slice initialises them before it goes.
        let memory = ZeroedAtLast(unsafe { slice::from_raw_parts_mut(start, len) });
        let spoon = Teaspoon::from_slice(&mut *memory.0);
        // `work` must do for any two lifetimes, so neither its result nor what it captures can name that of the arena.
        work(&spoon)
    }

    /// An arena in bytes that hold nothing of use afterwards. Otherwise as [`from_slice`](Teaspoon::from_slice).
    ///
    /// ```
    /// use heapwright::arena::Teaspoon4KiB;
    /// let mut memory = [0; 512];
    /// // SAFETY: the array is not read after this.
    /// let spoon = unsafe { <Teaspoon4KiB<'_>>::from_bytes(&mut memory) };
    /// assert!(spoon.usage().free > 480);
    /// ```
    ///
    /// # Safety
    /// As [`Arena::from_bytes`]: when the borrow ends, nobody reads a byte of `memory` before writing it. (No such promise
    /// is needed by [`from_slice`](Teaspoon::from_slice), [`from_static`](Teaspoon::from_static) and
    /// [`scoped`](Teaspoon::scoped).)
    #[must_use]
    pub unsafe fn from_bytes(memory: &'a mut [u8]) -> Self {
        // SAFETY: the caller's promise is the same.
        Locked::new(unsafe { Arena::from_bytes(memory) })
    }

    /// An arena in `len` bytes from `start` on, which need not be initialised.
    ///
    /// ```
    /// use core::{mem::MaybeUninit, ptr::NonNull};
    /// use heapwright::arena::Teaspoon4KiB;
    /// let mut memory = [MaybeUninit::<u8>::uninit(); 512];
    /// let start = NonNull::from(&mut memory).cast();
    /// // SAFETY: the array outlives the arena, and nobody else uses it, then or later.
    /// let spoon = unsafe { <Teaspoon4KiB<'_>>::from_raw_parts(start, 512) };
    /// assert!(spoon.usage().free > 480);
    /// ```
    ///
    /// # Safety
    /// As [`Arena::from_raw_parts`].
    #[must_use]
    pub unsafe fn from_raw_parts(start: NonNull<u8>, len: usize) -> Self {
        // SAFETY: the caller's promise is the same.
        Locked::new(unsafe { Arena::from_raw_parts(start, len) })
    }

    /// An arena in the bytes that a slice pointer names. A null pointer gives an arena in which every request fails.
    ///
    /// ```
    /// use heapwright::arena::Teaspoon4KiB;
    /// let mut memory = [0u8; 512];
    /// // SAFETY: the array outlives the arena, and nobody else uses it, then or later.
    /// let spoon = unsafe { <Teaspoon4KiB<'_>>::from_ptr(&raw mut memory[..]) };
    /// assert!(spoon.usage().free > 480);
    /// ```
    ///
    /// # Safety
    /// As [`Arena::from_raw_parts`], unless null.
    #[must_use]
    pub unsafe fn from_ptr(memory: *mut [u8]) -> Self {
        // SAFETY: the caller's promise is the same.
        unsafe { Self::from_ptr_size(memory.cast(), memory.len()) }
    }

    /// An arena in `size` bytes from `start` on. A null pointer gives an arena in which every request fails.
    ///
    /// ```
    /// use heapwright::arena::Teaspoon4KiB;
    /// let mut memory = [0u8; 512];
    /// // SAFETY: the array outlives the arena, and nobody else uses it, then or later.
    /// let spoon = unsafe { <Teaspoon4KiB<'_>>::from_ptr_size(memory.as_mut_ptr(), memory.len()) };
    /// assert!(spoon.usage().free > 480);
    /// ```
    ///
    /// # Safety
    /// As [`Arena::from_raw_parts`], unless null.
    #[must_use]
    pub unsafe fn from_ptr_size(start: *mut u8, size: usize) -> Self {
        match NonNull::new(start) {
            // SAFETY: the caller's promise is the same.
            Some(start) => unsafe { Self::from_raw_parts(start, size) },
            None => Self::from_slice(&mut []),
        }
    }

    /// An arena in `size` bytes from an address on: a bank of RAM that the linker knows nothing of.
    ///
    /// Address 0 gives an arena in which every request fails.
    ///
    /// ```no_run
    /// use heapwright::arena::Teaspoon128KiB;
    /// // SAFETY: the second bank of RAM of this chip is here, and the linker script leaves it alone.
    /// let bank = unsafe { <Teaspoon128KiB<'_>>::from_addr_size(0x1000_0000, 64 << 10) };
    /// ```
    ///
    /// # Safety
    /// As [`Arena::from_raw_parts`], and if the bytes belong to a Rust object, a pointer to all of them had its
    /// provenance exposed before.
    #[must_use]
    pub unsafe fn from_addr_size(address: usize, size: usize) -> Self {
        // SAFETY: the caller's promise is the same.
        unsafe { Self::from_ptr_size(ptr::with_exposed_provenance_mut(address), size) }
    }
}

/// Bytes that become zero when this goes.
struct ZeroedAtLast<'a>(&'a mut [MaybeUninit<u8>]);

impl Drop for ZeroedAtLast<'_> {
    fn drop(&mut self) {
        self.0.fill(MaybeUninit::new(0));
    }
}

impl<'a, S: Sizing, L: Lock> From<&'a mut [MaybeUninit<u8>]> for Teaspoon<'a, S, L> {
    fn from(memory: &'a mut [MaybeUninit<u8>]) -> Self {
        Self::from_slice(memory)
    }
}

impl<'a, S: Sizing, L: Lock, const N: usize> From<&'a mut [MaybeUninit<u8>; N]> for Teaspoon<'a, S, L> {
    fn from(memory: &'a mut [MaybeUninit<u8>; N]) -> Self {
        Self::from_slice(memory)
    }
}

impl<S: Sizing, L: Lock> From<&'static mut [u8]> for Teaspoon<'static, S, L> {
    fn from(memory: &'static mut [u8]) -> Self {
        Self::from_static(memory)
    }
}

impl<S: Sizing, L: Lock, const N: usize> From<&'static mut [u8; N]> for Teaspoon<'static, S, L> {
    fn from(memory: &'static mut [u8; N]) -> Self {
        Self::from_static(memory)
    }
}

impl<S: Sizing> Describe for Arena<'_, S> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let what = format_args!("Arena in borrowed memory");
        tree.part(what, Cost::state_of::<Self>(), &[("sizing", describe_sizing::<S>)])
    }
}
