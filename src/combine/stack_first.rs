//! A buffer on the stack, and a heap for what does not fit.

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::bump::{Bump, State, offset_in};
use crate::AllocError;
use crate::alloc::impl_allocators;
use crate::describe::{Bytes, Cost, Describe, Tree};
use crate::heap::{Heap, SharedHeap, Usage};
use crate::lock::{Lock, NoLock};
use crate::mem;

/// `N` bytes of its own, which are used first, and the heap `A` for what does not fit there.
///
/// Choose it for a function's collections that are small nearly always and must not fail when they are large: a line of text, a list of
/// matches, the path of a walk. As long as they fit they cost no call of the heap. `N` is 64 to 4,096 as a rule; the buffer is part of the
/// value, so it takes that much of the stack. Where *nothing* is to go to another heap, take a [`Teaspoon`](crate::arena::Teaspoon) in a
/// buffer; for a `static`, [`StaticArena`](crate::arena::StaticArena).
///
/// ```text
///  StackFirst<N, A, L>
///  ├── N bytes, one block behind the other     requests that fit
///  └── A: any `SharedHeap`                     all others
/// ```
///
/// `A` is [`GlobalHeap`](crate::source::GlobalHeap), the program's global heap; a handle such as `&StaticArena<..>` or
/// [`Of<I>`](crate::heap::Of); or a shell of its own, such as `Locked<SourceHeap<Pages>, NoLock>`.
///
/// ```
/// # #[cfg(all(feature = "alloc", feature = "allocator-api2-04"))] {
/// use allocator_api2_04::vec::Vec;
/// use heapwright::{preset::StackFirst, source::GlobalHeap};
///
/// let heap = StackFirst::<256, GlobalHeap>::new(GlobalHeap);
/// let mut bytes = Vec::new_in(&heap);
/// bytes.extend([7u8; 200]);
/// assert!(heap.is_inline(bytes.as_ptr()));
/// bytes.extend([7; 100]); // more than the buffer has: it moves to the global heap
/// assert!(!heap.is_inline(bytes.as_ptr()));
/// assert_eq!(heap.usage().objects, 0);
/// assert_eq!(bytes, [7; 300]);
/// # }
/// ```
///
/// # Cost
/// A request takes an addition and two comparisons, a free two comparisons, both beside the lock (none by default). For a block of `A` they
/// are what there is to pay beside `A`'s own cost; it is called without holding the lock. To make one writes a few bytes (in an optimised
/// build), whatever `N` is, and to drop it is nothing. Beside the buffer, the value has 8 bytes, the lock's and `A`'s; the whole is aligned to
/// 16 bytes. Blocks in the buffer are rounded up to 8 bytes, which their owner may use; there is no header.
///
/// # The buffer
/// Blocks stand one behind the other. The last one is freed, grown and shrunk where it stands, as is the only one, wherever it stands; if it
/// can't grow there it may move to the buffer's start. A block that is freed with live ones behind it leaves a gap that is used again when
/// those have gone: when no block is live the buffer is as new. That suits what lives in small buffers: one string or vector that
/// grows, and temporaries that come and go meanwhile. (One that is live while the vector grows makes it move behind, and so leave the buffer
/// at a half or a quarter of `N`: let go of it before.) An arena would use gaps at once, and pay for it with a search in each call, tables of
/// 3 % and 72 bytes of state: as much as a small buffer. Where many blocks come and go in no order, take an arena of some KiB and not this.
///
/// A block that has outgrown the buffer stays in `A` when it shrinks. Only if `A` refuses to resize it, it comes back, if there is room.
///
/// # Handles
/// The buffer moves with the value, so `&StackFirst` is the allocator and not `StackFirst`. With [`NoLock`] it stays on one
/// thread; with another lock, threads share it.
///
/// By value it is none:
/// ```compile_fail,E0277
/// use allocator_api2_04::vec::Vec;
/// use heapwright::{combine::StackFirst, source::GlobalHeap};
/// let heap = StackFirst::<256, GlobalHeap>::new(GlobalHeap);
/// let bytes = Vec::<u8, _>::new_in(heap); // error: take `&heap`
/// ```
/// Nor does it move while there are blocks:
/// ```compile_fail,E0505
/// use allocator_api2_04::vec::Vec;
/// use heapwright::{combine::StackFirst, source::GlobalHeap};
/// let heap = StackFirst::<256, GlobalHeap>::new(GlobalHeap);
/// let mut bytes = Vec::new_in(&heap);
/// bytes.push(1u8);
/// let moved = Box::new(heap); // error: `heap` is borrowed by `bytes`
/// bytes.push(2);
/// ```
/// Nor do its blocks leave the thread without a lock:
/// ```compile_fail,E0277
/// use allocator_api2_04::boxed::Box;
/// use heapwright::{combine::StackFirst, source::GlobalHeap};
/// let heap = StackFirst::<256, GlobalHeap>::new(GlobalHeap);
/// let boxed = Box::new_in(1, &heap);
/// std::thread::scope(|scope| {
///     scope.spawn(move || drop(boxed)); // error: `NoLock` can't be shared between threads
/// });
/// ```
///
/// The idea is old: Howard Hinnant's `short_alloc` for C++, and `FallbackAllocator` over `InSituRegion` of D's `std.experimental.allocator`
/// (Andrei Alexandrescu).
#[repr(C, align(16))]
pub struct StackFirst<const N: usize, A, L = NoLock> {
    /// Reached by raw pointer only: a `&mut` to it would take the blocks from their owners. Not zeroed: that would take time for each value
    /// that is made.
    buffer: UnsafeCell<[MaybeUninit<u8>; N]>,
    /// Touched only under `lock`.
    state: UnsafeCell<State>,
    lock: L,
    heap: A,
}

// SAFETY: the state is touched under the lock only (L1, L2), blocks in the buffer by their owners; the heap is shared as it is.
unsafe impl<const N: usize, A: Sync, L: Sync> Sync for StackFirst<N, A, L> {}

impl<const N: usize, A: SharedHeap, L: Lock> StackFirst<N, A, L> {
    /// A buffer that is empty, in front of `heap`.
    #[must_use]
    pub const fn new(heap: A) -> Self {
        const {
            assert!(
                N <= u32::MAX as usize,
                "the buffer of a StackFirst has less than 4 GiB: take an arena over pages"
            );
        };
        StackFirst {
            buffer: UnsafeCell::new([MaybeUninit::uninit(); N]),
            state: UnsafeCell::new(State::EMPTY),
            lock: L::INIT,
            heap,
        }
    }

    /// The heap behind the buffer.
    pub const fn heap(&self) -> &A {
        &self.heap
    }

    /// The heap behind the buffer, without it.
    #[must_use]
    pub fn into_inner(self) -> A {
        self.heap
    }

    /// Whether `ptr` points into the buffer: whether a block is there, or in the heap behind.
    #[must_use]
    pub fn is_inline(&self, ptr: *const u8) -> bool {
        offset_in(self.base(), N, ptr).is_some()
    }

    /// How full the buffer is; what is in the heap behind does not count. O(1), under the lock. All zero on re-entry.
    ///
    /// Bytes are used up to the end of the last block, gaps included.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let read = |bump: &mut Bump<'_>| Usage {
            total: N,
            used: bump.top(),
            free: N - bump.top(),
            objects: bump.live(),
        };
        // SAFETY: it reads two numbers.
        unsafe { self.under_lock(read) }.unwrap_or_default()
    }

    /// The buffer's first byte, with provenance for all of it.
    #[inline(always)]
    fn base(&self) -> NonNull<u8> {
        // Through the cell, so that what is made from it may be written.
        NonNull::from(&self.buffer).cast()
    }

    /// The buffer at work.
    ///
    /// # Safety
    /// The caller holds the lock for as long as the result lives.
    #[inline(always)]
    unsafe fn bump(&self) -> Bump<'_> {
        // SAFETY: the caller has exclusive use of the state.
        let state = unsafe { &mut *self.state.get() };
        // SAFETY: the bytes are the buffer's, valid while `self` is borrowed, and touched by owners of blocks only; `new` has checked the
        // length; the state was made with the buffer and is changed by `Bump` alone.
        unsafe { Bump::new(self.base(), N, state) }
    }

    /// Runs a leaf on the buffer under the lock.
    ///
    /// # Errors
    /// On re-entry.
    ///
    /// # Safety
    /// `leaf` calls nothing but the buffer, and does not unwind.
    #[inline(always)]
    unsafe fn under_lock<R>(&self, leaf: impl FnOnce(&mut Bump<'_>) -> R) -> Result<R, AllocError> {
        let work = || {
            // SAFETY: the lock is held for longer than the result lives.
            let mut bump = unsafe { self.bump() };
            leaf(&mut bump)
        };
        // SAFETY: the caller's promise is the same.
        unsafe { self.lock.with_leaf(work) }.ok_or(AllocError)
    }
}

impl<const N: usize, A: SharedHeap + Default, L: Lock> Default for StackFirst<N, A, L> {
    fn default() -> Self {
        Self::new(A::default())
    }
}

impl<const N: usize, A, L: fmt::Debug> fmt::Debug for StackFirst<N, A, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackFirst")
            .field("bytes", &N)
            .field("heap", &format_args!("{}", core::any::type_name::<A>()))
            .field("lock", &self.lock)
            .finish_non_exhaustive()
    }
}

/// A way to a buffer and to the heap behind it: one that locks, or one for whoever holds the lock. What goes where is decided here, for
/// both.
trait Route<A: SharedHeap> {
    /// Bytes of the buffer.
    fn len(&self) -> usize;

    /// The heap behind the buffer.
    fn behind(&self) -> &A;

    /// Where in the buffer `ptr` points to; `None` if it points elsewhere.
    fn offset(&self, ptr: NonNull<u8>) -> Option<usize>;

    /// Runs a leaf on the buffer.
    ///
    /// # Errors
    /// On re-entry.
    ///
    /// # Safety
    /// `leaf` calls nothing but the buffer, and does not unwind.
    unsafe fn buffer<R>(&mut self, leaf: impl FnOnce(&mut Bump<'_>) -> R) -> Result<R, AllocError>;

    /// A block in the buffer; `None` if there is no room.
    ///
    /// # Errors
    /// On re-entry.
    #[inline(always)]
    fn alloc_inline(&mut self, layout: Layout) -> Result<Option<NonNull<[u8]>>, AllocError> {
        if layout.size() > self.len() {
            return Ok(None);
        }
        // SAFETY: the closure only calls the buffer, which does not unwind.
        unsafe { self.buffer(|bump| bump.alloc(layout)) }
    }

    /// Takes a block of the buffer back. On re-entry it is leaked.
    ///
    /// # Safety
    /// The block is live, and `size` its own.
    #[inline(always)]
    unsafe fn free_inline(&mut self, offset: usize, size: usize) {
        // SAFETY: the caller's promise is the same.
        let leaf = |bump: &mut Bump<'_>| unsafe { bump.dealloc(offset, size) };
        // SAFETY: the closure only calls the buffer, which does not unwind.
        let _ = unsafe { self.buffer(leaf) };
    }

    /// As `Heap::alloc`, or `Heap::alloc_zeroed`; the size is not zero.
    #[inline(always)]
    fn take(&mut self, layout: Layout, zeroed: bool) -> Result<NonNull<[u8]>, AllocError> {
        match self.alloc_inline(layout)? {
            Some(block) if zeroed => {
                // SAFETY: the block is fresh, ours, and `len` bytes long.
                unsafe { block.cast::<u8>().write_bytes(0, block.len()) };
                Ok(block)
            }
            Some(block) => Ok(block),
            None if zeroed => self.behind().try_alloc_zeroed(layout),
            None => self.behind().try_alloc(layout),
        }
    }

    /// As `Heap::dealloc`.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    unsafe fn give(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // By its address, so that it makes no difference which of the sizes it is freed with.
        match self.offset(ptr) {
            // SAFETY: a block in the buffer is one of the buffer, live by the caller's promise.
            Some(offset) => unsafe { self.free_inline(offset, layout.size()) },
            // SAFETY: any other block is one of the heap's, with the layout that it was asked for or resized to.
            None => unsafe { self.behind().free(ptr, layout) },
        }
    }

    /// As `Heap::resize`; neither size is zero.
    ///
    /// # Safety
    /// As there.
    #[inline]
    unsafe fn change(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let kept = old.size().min(new.size());
        let Some(offset) = self.offset(ptr) else {
            // SAFETY: a block that is not in the buffer is the heap's; the caller's promise is the same.
            if !unsafe { is_theirs(self.behind(), ptr, old) } {
                return Err(AllocError);
            }
            // SAFETY: as above.
            if let Ok(block) = unsafe { self.behind().try_resize(ptr, old, new) } {
                return Ok(block);
            }
            let block = self.alloc_inline(new)?.ok_or(AllocError)?;
            // SAFETY: both are live blocks of at least `kept` bytes, one in the buffer and one not.
            unsafe { block.cast::<u8>().copy_from_nonoverlapping(ptr, kept) };
            // SAFETY: the block is as it was, since the heap refused to resize it (H4); the copy has been made.
            unsafe { self.behind().free(ptr, old) };
            return Ok(block);
        };
        if new.size() <= self.len() {
            // SAFETY: a block in the buffer is one of the buffer, live by the caller's promise.
            let leaf = |bump: &mut Bump<'_>| unsafe { bump.resize(ptr, offset, old.size(), new) };
            // SAFETY: the closure only calls the buffer, which does not unwind.
            if let Some(block) = unsafe { self.buffer(leaf) }? {
                return Ok(block);
            }
        }
        let block = self.behind().try_alloc(new)?;
        // SAFETY: both are live blocks of at least `kept` bytes, one in the buffer and one not.
        unsafe { block.cast::<u8>().copy_from_nonoverlapping(ptr, kept) };
        // SAFETY: the caller's promise; the copy has been made.
        unsafe { self.free_inline(offset, old.size()) };
        Ok(block)
    }
}

/// Whether a block is the heap's, as far as its core checks: asked before it is moved to the buffer.
///
/// # Safety
/// As [`Heap::judge`].
unsafe fn is_theirs<A: SharedHeap>(heap: &A, ptr: NonNull<u8>, layout: Layout) -> bool {
    if !<A::Core<'_> as Heap>::CHECKS {
        return true;
    }
    // SAFETY: the caller's promise is the same.
    let work = |core: &mut A::Core<'_>| unsafe { core.judge(ptr, layout) };
    // SAFETY: the work only calls the core, and leaves it in its place.
    unsafe { heap.enter(work) }.unwrap_or(false)
}

/// The way that locks, for as long as the buffer is in use and no longer.
impl<const N: usize, A: SharedHeap, L: Lock> Route<A> for &StackFirst<N, A, L> {
    #[inline(always)]
    fn len(&self) -> usize {
        N
    }

    #[inline(always)]
    fn behind(&self) -> &A {
        &self.heap
    }

    #[inline(always)]
    fn offset(&self, ptr: NonNull<u8>) -> Option<usize> {
        offset_in(self.base(), N, ptr.as_ptr())
    }

    #[inline(always)]
    unsafe fn buffer<R>(&mut self, leaf: impl FnOnce(&mut Bump<'_>) -> R) -> Result<R, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.under_lock(leaf) }
    }
}

/// A [`StackFirst`] under its lock: what [`enter`](SharedHeap::enter) gives.
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use heapwright::heap::{Heap, SharedHeap};
/// use heapwright::{combine::StackFirst, source::GlobalHeap};
/// use std::alloc::Layout;
///
/// let heap = StackFirst::<64, GlobalHeap>::new(GlobalHeap);
/// // SAFETY: the closure only calls the core.
/// let size = unsafe { heap.enter(|core| core.good_size(Layout::new::<[u8; 5]>())) };
/// assert_eq!(size, Ok(8));
/// # }
/// ```
pub struct StackFirstCore<'a, A> {
    bump: Bump<'a>,
    heap: &'a A,
}

impl<A> fmt::Debug for StackFirstCore<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackFirstCore").field("buffer", &self.bump).finish_non_exhaustive()
    }
}

/// The way of whoever holds the lock.
impl<A: SharedHeap> Route<A> for StackFirstCore<'_, A> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.bump.len()
    }

    #[inline(always)]
    fn behind(&self) -> &A {
        self.heap
    }

    #[inline(always)]
    fn offset(&self, ptr: NonNull<u8>) -> Option<usize> {
        self.bump.offset(ptr.as_ptr())
    }

    #[inline(always)]
    unsafe fn buffer<R>(&mut self, leaf: impl FnOnce(&mut Bump<'_>) -> R) -> Result<R, AllocError> {
        Ok(leaf(&mut self.bump))
    }
}

// SAFETY: H1: a block is one of the buffer's, which hands out bytes behind all live blocks, or one of the heap's (S1, H1), and by its address
// it goes back to where it is from, with whatever size; what is given has the provenance of the buffer's base, or the heap's. H2: it refers to
// the buffer and to the heap. H3: the buffer does not unwind, nor does the heap (S3, H3). H4: the heap's (S4), and the buffer changes when it has
// succeeded. H5: it calls the buffer and the heap behind, which does not know this shell. H6: refused here.
unsafe impl<A: SharedHeap> Heap for StackFirstCore<'_, A> {
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Err(AllocError);
        }
        self.take(layout, false)
    }

    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Err(AllocError);
        }
        self.take(layout, true)
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.give(ptr, layout) }
    }

    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if let Some(offset) = self.offset(ptr) {
            // SAFETY: a block in the buffer is one of the buffer, live by the caller's promise.
            return unsafe { self.bump.resize_in_place(offset, old.size(), new) }.ok_or(AllocError);
        }
        // SAFETY: any other block is the heap's; the caller's promise is the same.
        let work = |core: &mut A::Core<'_>| unsafe { core.resize_in_place(ptr, old, new) };
        // SAFETY: the closure only calls the core.
        unsafe { self.heap.enter(work) }?
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.change(ptr, old, new) }
    }

    fn release_unused(&mut self) -> usize {
        self.heap.release_unused()
    }

    fn good_size(&self, layout: Layout) -> usize {
        self.bump.good_size(layout.size()).unwrap_or_else(|| {
            // SAFETY: the closure only calls the core.
            unsafe { self.heap.enter(|core| core.good_size(layout)) }.unwrap_or(layout.size())
        })
    }
}

// SAFETY: S1: `enter` runs the closure under the lock (L1), and gives an error if it doesn't run. S2: borrowed it cannot move, and it is an
// `Allocator` by reference only; the heap's blocks live as long as the heap is borrowed, or longer. S3: locks do not unwind (L3). S4: the
// methods below take the way that the core takes, and lock for each of its steps in the buffer, which leave it whole; between those, the
// block that is resized is the caller's alone.
unsafe impl<const N: usize, A: SharedHeap, L: Lock> SharedHeap for StackFirst<N, A, L> {
    type Core<'a>
        = StackFirstCore<'a, A>
    where
        Self: 'a;

    #[inline]
    unsafe fn enter<'s, R>(&'s self, work: impl FnOnce(&mut Self::Core<'s>) -> R) -> Result<R, AllocError> {
        let locked = self.lock.with(|| {
            // SAFETY: the lock is held for longer than the core lives.
            let bump = unsafe { self.bump() };
            work(&mut StackFirstCore { bump, heap: &self.heap })
        });
        locked.ok_or(AllocError)
    }

    #[inline]
    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(mem::slice(mem::dangling(layout), 0));
        }
        let mut route = self;
        route.take(layout, false)
    }

    #[inline]
    fn try_alloc_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(mem::slice(mem::dangling(layout), 0));
        }
        let mut route = self;
        route.take(layout, true)
    }

    #[inline]
    unsafe fn free(&self, ptr: NonNull<u8>, layout: Layout) {
        if layout.size() > 0 {
            let mut route = self;
            // SAFETY: the caller's promise is the same.
            unsafe { route.give(ptr, layout) }
        }
    }

    #[inline]
    unsafe fn try_resize(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if old.size() == 0 {
            return self.try_alloc(new);
        }
        if new.size() == 0 {
            // SAFETY: the caller's promise is the same.
            unsafe { self.free(ptr, old) };
            return Ok(mem::slice(mem::dangling(new), 0));
        }
        let mut route = self;
        // SAFETY: the caller's promise, and both sizes are above zero.
        unsafe { route.change(ptr, old, new) }
    }

    /// One by one, so that the heap behind is called without the lock.
    fn try_alloc_batch(&self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        let mut count = 0;
        while let Some(place) = out.get_mut(count) {
            let Ok(block) = self.try_alloc(layout) else { break };
            place.write(block.cast());
            count += 1;
        }
        count
    }

    /// One by one, so that the heap behind is called without the lock.
    unsafe fn free_batch(&self, layout: Layout, blocks: &[NonNull<u8>]) {
        for &block in blocks {
            // SAFETY: the caller's promise is the same.
            unsafe { self.free(block, layout) };
        }
    }

    fn release_unused(&self) -> usize {
        self.heap.release_unused()
    }
}

impl<const N: usize, A: Describe, L: Describe> Describe for StackFirst<N, A, L> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let cost = Cost::state_around::<Self, ([u8; N], A, L)>();
        tree.part(
            format_args!("StackFirst, {} of its own first", Bytes(N)),
            cost,
            &[("lock", L::describe), ("heap", A::describe)],
        )
    }
}

impl<A: Describe> Describe for StackFirstCore<'_, A> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let what = format_args!("StackFirst at work");
        tree.part(what, Cost::state_of::<Self>(), &[("heap", A::describe)])
    }
}

impl_allocators!([const N: usize, A: SharedHeap, L: Lock] &StackFirst<N, A, L>);
