//! The handle to an object of a cache.

use core::fmt;
use core::marker::PhantomData;
use core::mem::{self, ManuallyDrop};
use core::ops::{Deref, DerefMut};
use core::pin::Pin;
use core::ptr::NonNull;

use super::object_alloc::ObjectAlloc;

/// An object of a cache, its user's alone until it is dropped; then it goes back to the cache, reset if there is a reset hook, but not destroyed.
///
/// Two words. `Obj<'_, T>` without a third parameter is for code that leaves open which cache it is ([`erase`](Obj::erase)). It may be
/// sent to another thread if the object may and the cache can be shared.
///
/// ```
/// use heapwright::cache::{DefaultInit, Obj, ObjectCache};
/// use heapwright::slab::AlignedSlabs;
/// use heapwright::source::StaticBuffer;
/// static RAM: StaticBuffer<4096> = StaticBuffer::new();
/// let cache = ObjectCache::<Vec<u8>, DefaultInit, AlignedSlabs<_, 2048>>::new(&RAM, DefaultInit);
/// let mut list = cache.alloc()?;
/// list.push(1);
/// let raw = Obj::into_raw(list);
/// // SAFETY: the object is from this cache, and handed back once.
/// let list = unsafe { Obj::from_raw(raw, &cache) };
/// let any: Obj<'_, Vec<u8>> = Obj::erase(list);
/// assert_eq!(*any, [1]);
/// # drop(any);
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// Without a lock the cache can't be shared, and its objects stay on their thread:
/// ```compile_fail,E0277
/// use heapwright::cache::{DefaultInit, ObjectCache};
/// use heapwright::lock::NoLock;
/// use heapwright::slab::AlignedSlabs;
/// use heapwright::source::StaticBuffer;
/// static RAM: StaticBuffer<4096> = StaticBuffer::new();
/// let cache = ObjectCache::<Vec<u8>, DefaultInit, AlignedSlabs<_, 2048>, NoLock>::new(&RAM, DefaultInit);
/// let list = cache.alloc().unwrap();
/// std::thread::scope(|scope| {
///     scope.spawn(move || drop(list)); // error: `NoLock` can't be shared between threads
/// });
/// ```
pub struct Obj<'a, T, C = dyn ObjectAlloc<T> + 'a>
where
    C: ObjectAlloc<T> + ?Sized,
{
    /// A valid object of the cache, this handle's alone.
    object: NonNull<T>,
    cache: &'a C,
    owns: PhantomData<T>,
}

// SAFETY: the object is the handle's alone, so sending it sends a `T`; dropping it uses the cache from the other thread.
unsafe impl<T: Send, C: ObjectAlloc<T> + Sync + ?Sized> Send for Obj<'_, T, C> {}

// SAFETY: a shared handle gives `&T` and nothing else.
unsafe impl<T: Sync, C: ObjectAlloc<T> + ?Sized> Sync for Obj<'_, T, C> {}

impl<'a, T, C: ObjectAlloc<T> + ?Sized> Obj<'a, T, C> {
    /// A handle to an object that has just come from `cache`.
    ///
    /// # Errors
    /// As [`ObjectAlloc::alloc_object`].
    pub fn new(cache: &'a C) -> Result<Self, crate::AllocError> {
        let object = cache.alloc_object()?;
        Ok(Obj { object, cache, owns: PhantomData })
    }

    /// The object, no longer handled: until [`from_raw`](Obj::from_raw) it is leaked. An associated function, as `Box`'s.
    #[must_use]
    pub const fn into_raw(this: Self) -> NonNull<T> {
        let object = this.object;
        mem::forget(this);
        object
    }

    /// The handle of an object that [`into_raw`](Obj::into_raw) or the cache's raw methods gave.
    ///
    /// # Safety
    /// The object came from this cache, holds a valid `T`, is the caller's alone, and is not handed back otherwise.
    #[must_use]
    pub const unsafe fn from_raw(object: NonNull<T>, cache: &'a C) -> Self {
        Obj { object, cache, owns: PhantomData }
    }

    /// The object, moved out; the cache takes its memory back and will initialise it anew.
    #[must_use]
    pub fn into_inner(this: Self) -> T {
        let (object, cache) = (this.object, this.cache);
        let _moved = ManuallyDrop::new(this);
        // SAFETY: the object is valid, and is not used again where it lies.
        let value = unsafe { object.read() };
        // SAFETY: the object was the handle's alone, which is never dropped, and has been moved out.
        unsafe { cache.free_uninit(object) };
        value
    }

    /// Destroys the object and gives its memory back, so that the next one in this place is made anew.
    pub fn destroy(this: Self) {
        let this = ManuallyDrop::new(this);
        // SAFETY: the object was the handle's alone, which is never dropped.
        unsafe { this.cache.destroy_object(this.object) };
    }

    /// The same handle, its cache's type forgotten.
    #[must_use]
    pub fn erase(this: Self) -> Obj<'a, T>
    where
        C: Sized,
    {
        let this = ManuallyDrop::new(this);
        Obj { object: this.object, cache: this.cache, owns: PhantomData }
    }
}

impl<T, C: ObjectAlloc<T> + ?Sized> Obj<'static, T, C> {
    /// Pins the object: it stays where it is until it is dropped, and it *is* dropped, in place, when the handle goes: a pinned object
    /// is not reused. For caches that live forever; the others' memory may go before a leaked object has been dropped.
    ///
    /// ```
    /// use heapwright::cache::{DefaultInit, Obj, ObjectCache};
    /// use heapwright::lock::SpinLock;
    /// use heapwright::slab::AlignedSlabs;
    /// use heapwright::source::StaticBuffer;
    /// static RAM: StaticBuffer<4096> = StaticBuffer::new();
    /// type Numbers = ObjectCache<u64, DefaultInit, AlignedSlabs<&'static StaticBuffer<4096>, 2048>, SpinLock>;
    /// static NUMBERS: Numbers = ObjectCache::new(&RAM, DefaultInit);
    /// let pinned = Obj::into_pin(NUMBERS.alloc()?);
    /// assert_eq!(*pinned, 0);
    /// # Ok::<(), heapwright::AllocError>(())
    /// ```
    #[must_use]
    pub fn into_pin(this: Self) -> Pin<PinnedObj<T, C>> {
        let pinned = PinnedObj { object: ManuallyDrop::new(this) };
        // SAFETY: `PinnedObj` never gives the object out for reuse: it drops it where it is. Its memory stays, leaked or not: the
        // cache is borrowed for good.
        unsafe { Pin::new_unchecked(pinned) }
    }
}

impl<T, C: ObjectAlloc<T> + ?Sized> Deref for Obj<'_, T, C> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the field's invariant.
        unsafe { self.object.as_ref() }
    }
}

impl<T, C: ObjectAlloc<T> + ?Sized> DerefMut for Obj<'_, T, C> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the field's invariant.
        unsafe { self.object.as_mut() }
    }
}

impl<T, C: ObjectAlloc<T> + ?Sized> Drop for Obj<'_, T, C> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the field's invariant, and the handle is gone.
        unsafe { self.cache.free_object(self.object) };
    }
}

impl<T: fmt::Debug, C: ObjectAlloc<T> + ?Sized> fmt::Debug for Obj<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

impl<T: fmt::Display, C: ObjectAlloc<T> + ?Sized> fmt::Display for Obj<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

/// A pinned object of a cache that lives forever; see [`Obj::into_pin`].
pub struct PinnedObj<T: 'static, C: ObjectAlloc<T> + ?Sized + 'static> {
    object: ManuallyDrop<Obj<'static, T, C>>,
}

impl<T, C: ObjectAlloc<T> + ?Sized> Deref for PinnedObj<T, C> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}

impl<T, C: ObjectAlloc<T> + ?Sized> DerefMut for PinnedObj<T, C> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.object
    }
}

impl<T, C: ObjectAlloc<T> + ?Sized> Drop for PinnedObj<T, C> {
    fn drop(&mut self) {
        // SAFETY: the handle is not used again.
        Obj::destroy(unsafe { ManuallyDrop::take(&mut self.object) });
    }
}

impl<T: fmt::Debug, C: ObjectAlloc<T> + ?Sized> fmt::Debug for PinnedObj<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}
