//! The shell: a core, a lock, and the allocator traits.

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::fmt;
use core::ptr::NonNull;

use super::{Chunks, Corruption, Heap, Inspect, Owns, Reset, SharedHeap, Usage, findings, told};
use crate::AllocError;
use crate::alloc::{impl_allocators, impl_global_alloc};
use crate::check::Finding;
use crate::describe::{Cost, Describe, Tree};
use crate::lock::{Lock, Work};
use crate::mem;

/// A heap core behind a lock: the shell that users hold.
///
/// It is an `Allocator` by value and by reference (of every allocator-api2 version that is switched on, and nightly core's),
/// and a `GlobalAlloc`. Its core's memory lies elsewhere, so the shell may move. It is `Sync` if the core may be sent and
/// the lock shared. The cost over the bare core is that of the lock.
///
/// ```
/// use core::mem::MaybeUninit;
/// use heapwright::arena::Arena;
/// use heapwright::heap::Locked;
/// use heapwright::lock::SpinLock;
/// use heapwright::sizing::Sizing4KiB;
///
/// let mut memory = [MaybeUninit::uninit(); 1024];
/// let heap: Locked<Arena<'_, Sizing4KiB>, SpinLock> = Locked::new(Arena::from_slice(&mut memory));
/// # #[cfg(feature = "allocator-api2-04")] {
/// let boxed = allocator_api2_04::boxed::Box::new_in(5u64, &heap);
/// assert_eq!(*boxed, 5);
/// assert_eq!(heap.usage().objects, 1);
/// # }
/// ```
///
/// Looked into, and emptied at once, all blocks forgotten:
/// ```
/// use heapwright::{arena::Teaspoon, heap::SharedHeap, lock::NoLock, sizing::Sizing4KiB};
/// use std::{alloc::Layout, mem::MaybeUninit};
/// let mut memory = [MaybeUninit::uninit(); 1024];
/// let mut heap = Teaspoon::<Sizing4KiB, NoLock>::from_slice(&mut memory);
/// let layout = Layout::new::<[u64; 4]>();
/// let block = heap.try_alloc(layout)?;
/// assert!(heap.owns(block.cast(), layout));
/// assert_eq!((heap.usage().used, heap.usage().objects), (32, 1));
/// assert_eq!(heap.chunks().map(|chunk| chunk.len).sum::<usize>(), heap.usage().total);
/// assert_eq!((heap.verify(), heap.misuses()), (Ok(()), 0));
/// heap.reset();
/// assert_eq!(heap.usage().objects, 0);
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// What a lock does not allow, the compiler refuses. Without one the heap can't be a `static`:
/// ```compile_fail,E0277
/// # use heapwright::{AllocError, heap::{Heap, Locked}, lock::NoLock};
/// # pub struct Nodes;
/// # unsafe impl Heap for Nodes {
/// #     fn alloc(&mut self, _: std::alloc::Layout) -> Result<std::ptr::NonNull<[u8]>, AllocError> { Err(AllocError) }
/// #     unsafe fn dealloc(&mut self, _: std::ptr::NonNull<u8>, _: std::alloc::Layout) {}
/// # }
/// static HEAP: Locked<Nodes, NoLock> = Locked::new(Nodes); // error: `NoLock` is not `Sync`
/// ```
/// nor can a box that borrows it go to another thread:
/// ```compile_fail,E0277
/// # use heapwright::{arena::Teaspoon, lock::NoLock, sizing::Sizing4KiB};
/// # let mut memory = [std::mem::MaybeUninit::uninit(); 256];
/// let spoon = Teaspoon::<Sizing4KiB, NoLock>::from_slice(&mut memory);
/// let boxed = allocator_api2_04::boxed::Box::new_in(1, &spoon);
/// std::thread::scope(|scope| {
///     scope.spawn(move || drop(boxed)); // error: `NoLock` can't be shared between threads
/// });
/// ```
/// Both compile with `SpinLock`.
pub struct Locked<H, L> {
    lock: L,
    /// Touched only under `lock`, or through `&mut self`.
    core: UnsafeCell<H>,
}

// SAFETY: all access to the core is under the lock (L1, L2), one thread at a time, so sending it is all that happens.
unsafe impl<H: Send, L: Sync> Sync for Locked<H, L> {}

impl<H: Heap, L: Lock> Locked<H, L> {
    /// Puts `core` behind a fresh lock.
    #[must_use]
    pub const fn new(core: H) -> Self {
        Locked { lock: L::INIT, core: UnsafeCell::new(core) }
    }

    /// The core, without locking: the `&mut` proves that nobody else is here.
    pub const fn get_mut(&mut self) -> &mut H {
        self.core.get_mut()
    }

    /// The core, out of its shell.
    #[must_use]
    pub fn into_inner(self) -> H {
        self.core.into_inner()
    }

    /// Looks at the core under the lock: at counters of a combinator, what a quota has left, what a source has given. `None` on re-entry.
    ///
    /// Others wait meanwhile, and `look` must not use this heap: locks that hang on re-entry hang.
    ///
    /// ```
    /// # #[cfg(feature = "os")] {
    /// use heapwright::heap::{Locked, SharedHeap};
    /// use heapwright::lock::SpinLock;
    /// use heapwright::source::{Counted, Pages, SourceHeap};
    ///
    /// static HEAP: Locked<SourceHeap<Counted<Pages>>, SpinLock> = Locked::new(SourceHeap::new(Counted::new(Pages)));
    /// assert_eq!(HEAP.look(|core| core.source().counts().blocks), Some(0));
    /// # }
    /// ```
    pub fn look<R>(&self, look: impl FnOnce(&H) -> R) -> Option<R> {
        self.read(|core| look(core))
    }

    /// Runs `read` on the core under the lock; `None` on re-entry.
    fn read<R>(&self, read: impl FnOnce(&mut H) -> R) -> Option<R> {
        let locked = self.lock.with(|| {
            // SAFETY: the lock gives exclusion (L1), and the callers in this file pass closures that only read the core; unwinding leaves the lock free (L2).
            let core = unsafe { &mut *self.core.get() };
            (read(core), findings(core))
        });
        locked.map(told)
    }

    /// Runs a leaf on the core, if core and lock are such that it pays to try one first; `None` if they are not, and on re-entry.
    ///
    /// # Safety
    /// `leaf` calls nothing but the core, leaves it in its place, and does not unwind.
    #[inline(always)]
    pub(crate) unsafe fn at_hand<R>(&self, leaf: impl FnOnce(&mut H) -> R) -> Option<R> {
        if !Self::HAS_HAND {
            return None;
        }
        if H::CHECKS {
            let work = || {
                // SAFETY: the lock gives exclusion (L1).
                let core = unsafe { &mut *self.core.get() };
                (leaf(core), findings(core))
            };
            // SAFETY: the caller's promise is the same, and what was found is only taken along.
            return unsafe { self.lock.with_leaf(work) }.map(told);
        }
        let work = || {
            // SAFETY: the lock gives exclusion (L1).
            leaf(unsafe { &mut *self.core.get() })
        };
        // SAFETY: the caller's promise is the same.
        unsafe { self.lock.with_leaf(work) }
    }

    /// Whether the block is one of this heap's. `false` on re-entry.
    #[must_use]
    pub fn owns(&self, ptr: NonNull<u8>, layout: Layout) -> bool
    where
        H: Owns,
    {
        self.read(|core| core.owns(ptr, layout)).unwrap_or(false)
    }

    /// How full the heap is. O(1), under the lock. All zero on re-entry.
    #[must_use]
    pub fn usage(&self) -> Usage
    where
        H: Inspect,
    {
        self.read(|core| core.usage()).unwrap_or_default()
    }

    /// The region's used and free chunks in address order.
    pub fn chunks(&self) -> Chunks<'_, Self>
    where
        H: Inspect,
    {
        Chunks::new(self)
    }

    /// Checks all that the heap believes about itself, under the lock. `Ok` on re-entry.
    ///
    /// # Errors
    /// The first rule found broken.
    pub fn verify(&self) -> Result<(), Corruption>
    where
        H: Inspect,
    {
        self.read(|core| core.verify()).unwrap_or(Ok(()))
    }

    /// How many misuses were found: wrong frees and resizes that were refused, and writes where none may be; 0 for a heap that does not check.
    #[must_use]
    pub fn misuses(&self) -> usize
    where
        H: Inspect,
    {
        self.read(|core| core.misuses()).unwrap_or(0)
    }

    /// Forgets all blocks at once. The `&mut` proves that no handle borrows the heap.
    ///
    /// ```compile_fail,E0502
    /// # use heapwright::{arena::Teaspoon, lock::NoLock, sizing::Sizing4KiB};
    /// # let mut memory = [std::mem::MaybeUninit::uninit(); 256];
    /// let mut spoon = Teaspoon::<Sizing4KiB, NoLock>::from_slice(&mut memory);
    /// let boxed = allocator_api2_04::boxed::Box::new_in(1, &spoon);
    /// spoon.reset(); // error: `spoon` is borrowed by `boxed`
    /// drop(boxed);
    /// ```
    pub fn reset(&mut self)
    where
        H: Reset,
    {
        let core = self.core.get_mut();
        // SAFETY: nobody borrows the heap, so nobody can free into it; what raw pointers do is their user's promise.
        unsafe { core.reset() };
        if H::CHECKS {
            told(((), findings(core)));
        }
    }
}

/// A call of a core, to be made under the lock.
struct Call<'a, H, T> {
    core: &'a UnsafeCell<H>,
    task: T,
}

/// What a core is called for.
trait Task<H> {
    type Done;

    fn of(self, core: &mut H) -> Self::Done;
}

impl<H, T: Task<H>> Work for Call<'_, H, T> {
    type Done = T::Done;

    #[inline(always)]
    fn run(self) -> T::Done {
        // SAFETY: made in this file alone, and run by the lock that guards the core (L1).
        self.task.of(unsafe { &mut *self.core.get() })
    }
}

/// A block for a layout.
struct Alloc(Layout);

impl<H: Heap> Task<H> for Alloc {
    type Done = Result<NonNull<[u8]>, AllocError>;

    #[inline(always)]
    fn of(self, core: &mut H) -> Self::Done {
        core.alloc(self.0)
    }
}

/// The same, at hand.
struct AllocAtHand(Layout);

impl<H: Heap> Task<H> for AllocAtHand {
    type Done = Option<NonNull<[u8]>>;

    #[inline(always)]
    fn of(self, core: &mut H) -> Self::Done {
        core.alloc_at_hand(self.0)
    }
}

/// A live block of the core goes back, and its layout is here too.
struct Dealloc(NonNull<u8>, Layout);

impl<H: Heap> Task<H> for Dealloc {
    type Done = ();

    #[inline(always)]
    fn of(self, core: &mut H) {
        // SAFETY: `free` makes it, whose caller promises as much.
        unsafe { core.dealloc(self.0, self.1) }
    }
}

/// The same, at hand.
struct DeallocAtHand(NonNull<u8>, Layout);

impl<H: Heap> Task<H> for DeallocAtHand {
    type Done = bool;

    #[inline(always)]
    fn of(self, core: &mut H) -> bool {
        // SAFETY: `free` makes it, whose caller promises as much.
        unsafe { core.dealloc_at_hand(self.0, self.1) }
    }
}

/// Another task, and what the core has found wrong by its end.
struct Checked<T>(T);

impl<H: Heap, T: Task<H>> Task<H> for Checked<T> {
    type Done = (T::Done, Option<Finding>);

    #[inline(always)]
    fn of(self, core: &mut H) -> Self::Done {
        (self.0.of(core), findings(core))
    }
}

impl<H: Heap, L: Lock> Locked<H, L> {
    /// Whether it is worth to ask what is at hand, before entering for the rest.
    const HAS_HAND: bool = H::AT_HAND && L::LEAF_IS_FREE;

    #[inline(always)]
    fn call<T: Task<H>>(&self, task: T) -> Option<T::Done> {
        if H::CHECKS {
            return self.lock.with_work(Call { core: &self.core, task: Checked(task) }).map(told);
        }
        self.lock.with_work(Call { core: &self.core, task })
    }

    /// # Safety
    /// As [`Lock::with_leaf`]: the task calls nothing but the core, and does not unwind.
    #[inline(always)]
    unsafe fn call_leaf<T: Task<H>>(&self, task: T) -> Option<T::Done> {
        if H::CHECKS {
            // SAFETY: the caller's promise is the same, and what was found is only taken along.
            let done = unsafe { self.lock.with_leaf_work(Call { core: &self.core, task: Checked(task) }) };
            return done.map(told);
        }
        // SAFETY: the caller's promise is the same.
        unsafe { self.lock.with_leaf_work(Call { core: &self.core, task }) }
    }
}

impl<H: Heap + Default, L: Lock> Default for Locked<H, L> {
    fn default() -> Self {
        Locked::new(H::default())
    }
}

impl<H, L: fmt::Debug> fmt::Debug for Locked<H, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locked")
            .field("core", &format_args!("{}", core::any::type_name::<H>()))
            .field("lock", &self.lock)
            .finish()
    }
}

// SAFETY: S1: `enter` runs the closure under the lock (L1), and gives an error if it doesn't run. S2: the
// core is moved with the shell and its blocks lie elsewhere (H2). S3: locks do not unwind (L3).
unsafe impl<H: Heap, L: Lock> SharedHeap for Locked<H, L> {
    type Core<'a>
        = H
    where
        Self: 'a;

    #[inline]
    unsafe fn enter<'s, R>(&'s self, work: impl FnOnce(&mut Self::Core<'s>) -> R) -> Result<R, AllocError> {
        if H::CHECKS {
            let locked = self.lock.with(|| {
                // SAFETY: the lock gives exclusion (L1).
                let core = unsafe { &mut *self.core.get() };
                (work(core), findings(core))
            });
            return locked.map(told).ok_or(AllocError);
        }
        let locked = self.lock.with(|| {
            // SAFETY: the lock gives exclusion (L1).
            work(unsafe { &mut *self.core.get() })
        });
        locked.ok_or(AllocError)
    }

    #[inline(always)]
    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(mem::slice(mem::dangling(layout), 0));
        }
        if Self::HAS_HAND {
            // SAFETY: H5: `alloc_at_hand` calls nothing but the core; H3.
            match unsafe { self.call_leaf(AllocAtHand(layout)) } {
                Some(Some(block)) => return Ok(block),
                Some(None) => {}
                // A re-entry.
                None => return Err(AllocError),
            }
        }
        self.call(Alloc(layout)).unwrap_or(Err(AllocError))
    }

    #[inline(always)]
    unsafe fn free(&self, ptr: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 {
            return;
        }
        // SAFETY: H5: `dealloc_at_hand` calls nothing but the core, or a handler in it that does not use the shell (M1) and is fenced; H3. `None` means re-entry: the block is leaked, as documented.
        if Self::HAS_HAND && unsafe { self.call_leaf(DeallocAtHand(ptr, layout)) } != Some(false) {
            return;
        }
        // As above.
        let _ = self.call(Dealloc(ptr, layout));
    }
}

impl<H: Heap + Describe, L: Lock + Describe> Describe for Locked<H, L> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        tree.part(format_args!("Locked"), Cost::NONE, &[("lock", L::describe), ("core", H::describe)])
    }
}

impl_allocators!([H: Heap, L: Lock] Locked<H, L>);
impl_global_alloc!([H: Heap, L: Lock] Locked<H, L>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Misuse, Report, Wrong};
    use crate::lock::{NoLock, SpinLock};
    use core::sync::atomic::{AtomicUsize, Ordering};

    static TOLD: AtomicUsize = AtomicUsize::new(0);

    struct Count;

    impl Report for Count {
        fn report(misuse: &Misuse) {
            TOLD.fetch_add(misuse.address, Ordering::Relaxed);
        }
    }

    /// A core that has found something wrong.
    struct Finds(Option<Finding>);

    // SAFETY: there are no blocks.
    unsafe impl Heap for Finds {
        const AT_HAND: bool = true;
        const CHECKS: bool = true;

        fn alloc(&mut self, _: Layout) -> Result<NonNull<[u8]>, AllocError> {
            Err(AllocError)
        }

        unsafe fn dealloc(&mut self, _: NonNull<u8>, _: Layout) {}

        fn take_finding(&mut self) -> Option<Finding> {
            self.0.take()
        }
    }

    /// What a leaf finds is told when it has ended.
    #[test]
    fn leaves_of_cores_that_check_are_asked() {
        fn leaf<L: Lock>() -> Option<usize> {
            let heap = Locked::<_, L>::new(Finds(None));
            let finds = |core: &mut Finds| {
                core.0 = Some(Finding::new::<Count>(Misuse::new(Wrong::DoubleFree, 8, Layout::new::<u8>())));
                TOLD.load(Ordering::Relaxed)
            };
            // SAFETY: the leaf touches nothing but the core, and does not unwind.
            unsafe { heap.at_hand(finds) }
        }
        assert_eq!((leaf::<NoLock>(), TOLD.load(Ordering::Relaxed)), (Some(0), 8));
        // Where a leaf costs as much as any other call, there is none.
        assert_eq!((leaf::<SpinLock>(), TOLD.load(Ordering::Relaxed)), (None, 8));
    }
}
