//! Scopes: what is allocated in one is gone at its end, and the compiler sees to it that nobody misses it.

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::AllocError;
use crate::alloc::impl_allocators;
use crate::describe::{Cost, Describe, Tree};
use crate::heap::{Heap, Locked, SharedHeap, forward_shared_heap};
use crate::lock::Lock;

/// A heap that can go back to where it was: [`Region`](super::Region), and heaps of your own.
///
/// With it, [`Locked::scope`](crate::heap::Locked::scope) is there.
///
/// # Safety
/// An implementation keeps these:
/// - **K1** (the rest stays) `rewind` changes no block that was live when the mark was made, and leaves the heap as if none had been handed out since.
/// - **K2** (marks last) a mark stays good whatever is called on the heap, but for what `rewind` rules out.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't go back to a mark",
    label = "scopes are there for heaps that can",
    note = "take a `heapwright::combine::Region`, or implement `heapwright::combine::Marks`"
)]
pub unsafe trait Marks: Heap {
    /// A place to go back to.
    type Mark: Copy;

    /// The place where the heap stands now.
    fn mark(&self) -> Self::Mark;

    /// Goes back to where `mark` was made: all blocks that have been handed out since are forgotten.
    ///
    /// # Safety
    /// `mark` is of this heap; since it was made, no block from before has been freed or resized, and the heap has neither been reset nor gone
    /// back to an earlier mark. No block from after it is used again, not even to free it.
    unsafe fn rewind(&mut self, mark: Self::Mark);
}

/// What a closure allocates from within [`Locked::scope`](crate::heap::Locked::scope): all of it is taken back when the closure has returned or unwound.
///
/// `&Scope` is an `Allocator` for collections. [`alloc`](Scope::alloc) and its kin give references that are good until the scope's end, beyond
/// that of any scope within: `'s` is the scope's own lifetime, which no other has.
///
/// ```
/// # #[cfg(all(feature = "alloc", feature = "allocator-api2-04"))] {
/// use allocator_api2_04::vec::Vec;
/// use heapwright::{combine::Region, heap::Locked, lock::NoLock, source::GlobalHeap};
///
/// let mut region = Locked::<Region<GlobalHeap>, NoLock>::new(Region::new(GlobalHeap));
/// let total = region.scope(|outer| {
///     let limit: &mut u32 = outer.alloc(3)?; // lives through the scopes within
///     let mut total = 0;
///     for turn in 0..1000 {
///         total += outer.scope(|inner| {
///             let mut squares = Vec::new_in(&*inner);
///             squares.extend((0..*limit).map(|n| n * n + turn));
///             squares.iter().sum::<u32>()
///         }); // `squares` is gone, and its memory is used by the next turn
///     }
///     Ok::<_, heapwright::AllocError>(total)
/// });
/// assert_eq!(total, Ok(1000 * 5 + 3 * 499_500));
/// # }
/// ```
///
/// # What the compiler refuses
/// What was allocated in a scope does not leave it, by return
/// ```compile_fail
/// # use heapwright::{combine::Region, heap::Locked, lock::NoLock, source::GlobalHeap};
/// # let mut region = Locked::<Region<GlobalHeap>, NoLock>::new(Region::new(GlobalHeap));
/// let kept = region.scope(|scope| scope.alloc(1)); // error: lifetime may not live long enough
/// ```
/// or by assignment, of references
/// ```compile_fail,E0521
/// # use heapwright::{combine::Region, heap::Locked, lock::NoLock, source::GlobalHeap};
/// # let mut region = Locked::<Region<GlobalHeap>, NoLock>::new(Region::new(GlobalHeap));
/// let mut kept: Option<&mut i32> = None;
/// region.scope(|scope| kept = scope.alloc(1).ok()); // error: borrowed data escapes
/// # drop(kept);
/// ```
/// or of collections.
/// ```compile_fail,E0521
/// # use heapwright::{combine::Region, heap::Locked, lock::NoLock, source::GlobalHeap};
/// # use allocator_api2_04::boxed::Box;
/// # let mut region = Locked::<Region<GlobalHeap>, NoLock>::new(Region::new(GlobalHeap));
/// region.scope(|outer| {
///     let mut kept = None;
///     outer.scope(|inner| kept = Some(Box::new_in(1, &*inner))); // error: borrowed data escapes
///     drop(kept);
/// });
/// ```
/// A collection of the outer scope can't be used, grown or freed within the inner one, whose end would take back what it has grown into
/// ```compile_fail,E0502
/// # use heapwright::{combine::Region, heap::Locked, lock::NoLock, source::GlobalHeap};
/// # use allocator_api2_04::vec::Vec;
/// # let mut region = Locked::<Region<GlobalHeap>, NoLock>::new(Region::new(GlobalHeap));
/// region.scope(|outer| {
///     let mut list = Vec::new_in(&*outer);
///     list.push(1);
///     outer.scope(|_| list.push(2)); // error: `*outer` is borrowed by `list`
/// });
/// ```
/// nor can the outer scope itself
/// ```compile_fail,E0502
/// # use heapwright::{combine::Region, heap::Locked, lock::NoLock, source::GlobalHeap};
/// # let mut region = Locked::<Region<GlobalHeap>, NoLock>::new(Region::new(GlobalHeap));
/// region.scope(|outer| {
///     outer.scope(|_| outer.alloc(2).map(|two| *two)); // error: `outer` is in use
/// });
/// ```
/// or the region.
/// ```compile_fail,E0502
/// # use heapwright::{combine::Region, heap::Locked, lock::NoLock, source::GlobalHeap};
/// # use allocator_api2_04::boxed::Box;
/// # let mut region = Locked::<Region<GlobalHeap>, NoLock>::new(Region::new(GlobalHeap));
/// region.scope(|_| drop(Box::new_in(1, &region))); // error: `region` is in use
/// ```
/// Scopes do not take each other's place, of two regions either,
/// ```compile_fail,E0521
/// # use heapwright::{combine::Region, heap::Locked, lock::NoLock, source::GlobalHeap};
/// # let mut region = Locked::<Region<GlobalHeap>, NoLock>::new(Region::new(GlobalHeap));
/// # let mut other = Locked::<Region<GlobalHeap>, NoLock>::new(Region::new(GlobalHeap));
/// region.scope(|one| other.scope(|two| core::mem::swap(one, two))); // error: borrowed data escapes
/// ```
/// nor do they stay behind.
/// ```compile_fail,E0521
/// # use heapwright::{combine::Region, heap::Locked, lock::NoLock, source::GlobalHeap};
/// # let mut region = Locked::<Region<GlobalHeap>, NoLock>::new(Region::new(GlobalHeap));
/// let mut kept = None;
/// region.scope(|scope| kept = Some(scope)); // error: borrowed data escapes
/// ```
/// And what has a destructor is not left without it.
/// ```compile_fail,E0080
/// # use heapwright::{combine::Region, heap::Locked, lock::NoLock, source::GlobalHeap};
/// # let mut region = Locked::<Region<GlobalHeap>, NoLock>::new(Region::new(GlobalHeap));
/// region.scope(|scope| { let _ = scope.alloc(String::new()); }); // error: this needs drop
/// ```
///
/// # Beside scopes
/// Where an outer collection is to grow while an inner scope's come and go, make a second region of the first: `Region::new(&first)` takes its chunks
/// from there, and gives them back when it is dropped.
///
/// The idea is that of obstacks and of foonathan/memory's `temporary_allocator`; that scopes borrow their parents is from bump-scope (Lukas Lueg and
/// others).
pub struct Scope<'s, H: Marks, L: Lock> {
    /// Never given out for `'s`: who had it could allocate while a scope within is open.
    heap: &'s Locked<H, L>,
    /// One scope's lifetime is no other's, longer or shorter.
    brand: PhantomData<fn(&'s ()) -> &'s ()>,
}

/// Goes back to the mark when the scope ends, however it does.
struct GoBack<'h, H: Marks, L: Lock> {
    heap: &'h Locked<H, L>,
    mark: H::Mark,
}

impl<H: Marks, L: Lock> Drop for GoBack<'_, H, L> {
    fn drop(&mut self) {
        // SAFETY: by `run`: for as long as this value has lived, all that was handed out is from after the mark, and blocks from before were not
        // touched: of the scope's closure nobody knew the heap but through a `Scope` for a lifetime that has ended.
        let work = |core: &mut H| unsafe { core.rewind(self.mark) };
        // SAFETY: the closure only calls the core. On re-entry, which no closure can bring about, the blocks would be leaked.
        let _ = unsafe { self.heap.enter(work) };
    }
}

/// Runs `work` in a scope on `heap`.
///
/// # Safety
/// Until this returns, nobody else uses the heap, and none of its blocks is freed or resized but those that `work` has had from its scope.
unsafe fn run<H: Marks, L: Lock, R>(
    heap: &Locked<H, L>,
    work: impl for<'s> FnOnce(&mut Scope<'s, H, L>) -> R,
) -> R {
    // SAFETY: the closure only reads the core.
    let mark = unsafe { heap.enter(|core| core.mark()) };
    // Without a mark, on re-entry, everything stays.
    let _back = mark.ok().map(|mark| GoBack { heap, mark });
    work(&mut Scope { heap, brand: PhantomData })
}

impl<H: Marks, L: Lock> Locked<H, L> {
    /// Runs `work` with a [`Scope`] to allocate from, and then takes back all that was allocated, also when `work` unwinds.
    ///
    /// The `&mut` proves that no handle borrows the heap. Costs two entries under the lock.
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use heapwright::{combine::Region, heap::Locked, lock::NoLock, source::GlobalHeap};
    /// let mut region = Locked::<Region<GlobalHeap>, NoLock>::new(Region::new(GlobalHeap));
    /// let len = region.scope(|scope| scope.alloc_str("for a while").map(|text| text.len()));
    /// assert_eq!(len, Ok(11));
    /// # }
    /// ```
    pub fn scope<R>(&mut self, work: impl for<'s> FnOnce(&mut Scope<'s, H, L>) -> R) -> R {
        // SAFETY: the heap is borrowed, so nobody else uses it; what raw pointers do is their user's promise.
        unsafe { run(self, work) }
    }
}

impl<'s, H: Marks, L: Lock> Scope<'s, H, L> {
    /// Runs `work` in a scope within this one, which can't be used meanwhile; what [`alloc`](Scope::alloc) has given stays good.
    pub fn scope<R>(&mut self, work: impl for<'t> FnOnce(&mut Scope<'t, H, L>) -> R) -> R {
        // SAFETY: this scope is the only way to the heap: its own handle came from `run`, which has lent it to nobody else; and it is borrowed, so
        // no collection holds it. What `alloc` has given is not freed or resized by anybody.
        unsafe { run(self.heap, work) }
    }

    /// Places `value`, good until the scope's end.
    ///
    /// It must not need drop, since nobody would. (A `Box` in `&Scope` drops what it holds.)
    ///
    /// # Errors
    /// When there is no room; `value` is dropped.
    pub fn alloc<T>(&self, value: T) -> Result<&'s mut T, AllocError> {
        const {
            assert!(
                !core::mem::needs_drop::<T>(),
                "this needs drop, which `Scope::alloc` never does: put it in a `Box` or `Vec` in `&Scope`"
            );
        };
        let place = self.heap.try_alloc(Layout::new::<T>())?.cast::<T>();
        // SAFETY: the block is fresh, ours, and fits a `T`.
        unsafe { place.write(value) };
        // SAFETY: it holds a value and nobody else knows it; it is live until the heap goes back to a mark from before, for which `'s` has to end.
        Ok(unsafe { &mut *place.as_ptr() })
    }

    /// Places a copy of `values`, good until the scope's end.
    ///
    /// # Errors
    /// When there is no room.
    pub fn alloc_slice<T: Copy>(&self, values: &[T]) -> Result<&'s mut [T], AllocError> {
        let place = self.heap.try_alloc(Layout::for_value(values))?.cast::<T>();
        let from = NonNull::from(values).cast::<T>();
        // SAFETY: the block is fresh, ours, and fits so many values.
        unsafe { place.copy_from_nonoverlapping(from, values.len()) };
        // SAFETY: as in `alloc`.
        Ok(unsafe { &mut *NonNull::slice_from_raw_parts(place, values.len()).as_ptr() })
    }

    /// Places a copy of `text`, good until the scope's end.
    ///
    /// # Errors
    /// When there is no room.
    pub fn alloc_str(&self, text: &str) -> Result<&'s mut str, AllocError> {
        let bytes = self.alloc_slice(text.as_bytes())?;
        // SAFETY: a copy of a `str`.
        Ok(unsafe { core::str::from_utf8_unchecked_mut(bytes) })
    }
}

impl<H: Marks + Describe, L: Lock + Describe> Describe for Scope<'_, H, L> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let what = format_args!("Scope, gives all back at its end");
        tree.part(what, Cost::state_of::<Self>(), &[("heap", <Locked<H, L>>::describe)])
    }
}

impl<H: Marks, L: Lock> fmt::Debug for Scope<'_, H, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("heap", &format_args!("{}", core::any::type_name::<H>())).finish()
    }
}

// SAFETY: S1 to S4 hold for the heap behind it. S2: a block is live until the heap goes back to a mark from before it, which takes the end of the
// scope that it is from, and the end of every borrow of that; moving the scope moves a reference.
unsafe impl<H: Marks, L: Lock> SharedHeap for Scope<'_, H, L> {
    type Core<'a>
        = H
    where
        Self: 'a;

    forward_shared_heap!(Locked<H, L>, |this| this.heap);
}

impl_allocators!([H: Marks, L: Lock] Scope<'_, H, L>);
