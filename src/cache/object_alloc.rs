//! What all caches have in common.

use core::alloc::Layout;
use core::mem::{self, MaybeUninit};
use core::ptr::NonNull;

use crate::AllocError;

/// A cache of objects of one layout, for code that is generic over caches and knows no type.
///
/// All methods take `&self`: whether several threads may call them at once is a matter of the cache's lock, and the compiler
/// sees to it.
///
/// # Safety
/// An implementation keeps these:
/// - **U1** (slots) a slot handed out has the size and the alignment of [`slot_layout`](UntypedObjectAlloc::slot_layout), overlaps
///   no other slot handed out, and stays valid and untouched until it is given back. Slots survive moves of the cache, and
///   a cache that is dropped while slots are out leaves those where they are.
/// - **U2** (one layout) `slot_layout` never changes.
/// - **U3** (contents) if the type says that slots hold something (a constructed object), they do when they are handed out, and whoever gives
///   one back sees to it that it does then. Otherwise their bytes are their user's.
/// - **U4** (whole) after an error, or after user code (a constructor) has unwound, nothing is lost.
/// - **U5** (exposed) the provenance of a slot handed out is exposed
///   ([`expose_provenance`](https://doc.rust-lang.org/core/primitive.pointer.html#method.expose_provenance)), and is good for the
///   whole slot: so a magazine may remake its pointer from the address of whatever pointer comes back, a `Box`'s of a
///   smaller type, say.
pub unsafe trait UntypedObjectAlloc {
    /// The layout that each slot has. Its size is a multiple of its alignment, and not zero.
    fn slot_layout(&self) -> Layout;

    /// A slot.
    ///
    /// # Errors
    /// When the source has no more, or on re-entry.
    fn alloc_slot(&self) -> Result<NonNull<u8>, AllocError>;

    /// Takes a slot back.
    ///
    /// # Safety
    /// `slot` was handed out by this cache (by any of its handles, on any thread) and has not come back since, and it holds what the cache's
    /// slots hold (U3): a valid object, for an [`ObjectAlloc`].
    unsafe fn free_slot(&self, slot: NonNull<u8>);

    /// Fills `out` from the front with as many slots as there are at little cost, at least one; says how many.
    ///
    /// # Errors
    /// As [`alloc_slot`](UntypedObjectAlloc::alloc_slot), and when `out` is empty.
    #[inline]
    fn alloc_slots(&self, out: &mut [MaybeUninit<NonNull<u8>>]) -> Result<usize, AllocError> {
        let first = out.first_mut().ok_or(AllocError)?;
        first.write(self.alloc_slot()?);
        Ok(1)
    }

    /// Takes slots back, cheaper than one by one.
    ///
    /// # Safety
    /// Each of them as for [`free_slot`](UntypedObjectAlloc::free_slot), and all different.
    #[inline]
    unsafe fn free_slots(&self, slots: &[NonNull<u8>]) {
        for &slot in slots {
            // SAFETY: the caller's promise is the same.
            unsafe { self.free_slot(slot) };
        }
    }
}

/// A cache whose slots hold nothing in particular: memory for any use that fits.
///
/// The magazines' fronts of such a cache are `Allocator`s. [`SlabCache`](super::SlabCache) and [`HeapSlots`](super::HeapSlots) are raw,
/// an [`ObjectCache`](super::ObjectCache) is not: what comes back to it has to be a valid object.
///
/// # Safety
/// `free_slot` and `free_slots` take slots back whatever their bytes are (U3: the type says nothing of contents), and no method unwinds.
#[diagnostic::on_unimplemented(
    message = "the slots of `{Self}` are not raw memory",
    note = "objects that stay constructed are used by `Obj::new(&front)`; for `Box`es take a `SlabCache`"
)]
pub unsafe trait RawSlots: UntypedObjectAlloc {}

// SAFETY: true of the cache behind the reference.
unsafe impl<C: RawSlots + ?Sized> RawSlots for &C {}

/// A cache of initialised `T`s, for code that is generic over caches.
///
/// # Safety
/// An implementation keeps this:
/// - **O1** (contents) a slot of the cache has a layout in which `T` fits, and holds a valid `T` whenever it is handed out:
///   fresh from the initialiser, or as it was when it came back. The cache drops it at most once, and never while it is out.
pub unsafe trait ObjectAlloc<T>: UntypedObjectAlloc {
    /// Makes an object ready to be kept until it is used again: the cache's reset hook. `free_slot` alone does not call it.
    #[inline]
    fn reset_object(&self, object: &mut T) {
        let _ = object;
    }

    /// An initialised object. It is its user's until it comes back; one that never does is leaked.
    ///
    /// # Errors
    /// When the source has no more, on re-entry, or when the initialiser reports an error.
    #[inline]
    fn alloc_object(&self) -> Result<NonNull<T>, AllocError> {
        self.alloc_slot().map(NonNull::cast)
    }

    /// Takes back the memory of an object that has been moved out or destroyed: it will be initialised anew.
    ///
    /// # Safety
    /// As [`free_slot`](UntypedObjectAlloc::free_slot), but the slot need not hold anything.
    unsafe fn free_uninit(&self, object: NonNull<T>);

    /// Resets an object and takes it back, in the state in which it is to come again. If the reset hook unwinds, the object is
    /// destroyed.
    ///
    /// # Safety
    /// As [`free_slot`](UntypedObjectAlloc::free_slot), and the slot holds a valid `T`.
    #[inline]
    unsafe fn free_object(&self, mut object: NonNull<T>) {
        let unwinding = Destroy { cache: self, object };
        // SAFETY: the caller's promise: the object is valid, and the caller's alone.
        self.reset_object(unsafe { object.as_mut() });
        mem::forget(unwinding);
        // SAFETY: the caller's promise is the same.
        unsafe { self.free_slot(object.cast()) };
    }

    /// Destroys an object and takes its memory back, also if its destructor unwinds.
    ///
    /// # Safety
    /// As [`free_object`](ObjectAlloc::free_object).
    unsafe fn destroy_object(&self, object: NonNull<T>) {
        drop(Destroy { cache: self, object });
    }
}

/// An object that is destroyed, and its memory taken back, when this is dropped.
struct Destroy<'a, T, C: ObjectAlloc<T> + ?Sized> {
    cache: &'a C,
    /// Valid, and nobody else's.
    object: NonNull<T>,
}

impl<T, C: ObjectAlloc<T> + ?Sized> Drop for Destroy<'_, T, C> {
    fn drop(&mut self) {
        let _raw = FreeUninit { cache: self.cache, object: self.object };
        // SAFETY: the field's invariant.
        unsafe { self.object.drop_in_place() };
    }
}

/// A slot that is taken back as raw memory when this is dropped.
struct FreeUninit<'a, T, C: ObjectAlloc<T> + ?Sized> {
    cache: &'a C,
    /// Out, and nobody else's.
    object: NonNull<T>,
}

impl<T, C: ObjectAlloc<T> + ?Sized> Drop for FreeUninit<'_, T, C> {
    fn drop(&mut self) {
        // SAFETY: the field's invariant.
        unsafe { self.cache.free_uninit(self.object) };
    }
}

// SAFETY: U1 to U5 hold for the cache behind the reference.
unsafe impl<C: UntypedObjectAlloc + ?Sized> UntypedObjectAlloc for &C {
    #[inline]
    fn slot_layout(&self) -> Layout {
        C::slot_layout(self)
    }

    #[inline]
    fn alloc_slot(&self) -> Result<NonNull<u8>, AllocError> {
        C::alloc_slot(self)
    }

    #[inline]
    unsafe fn free_slot(&self, slot: NonNull<u8>) {
        // SAFETY: the caller's promise is the same.
        unsafe { C::free_slot(self, slot) };
    }

    #[inline]
    fn alloc_slots(&self, out: &mut [MaybeUninit<NonNull<u8>>]) -> Result<usize, AllocError> {
        C::alloc_slots(self, out)
    }

    #[inline]
    unsafe fn free_slots(&self, slots: &[NonNull<u8>]) {
        // SAFETY: the caller's promise is the same.
        unsafe { C::free_slots(self, slots) };
    }
}

// SAFETY: O1 holds for the cache behind the reference.
unsafe impl<T, C: ObjectAlloc<T> + ?Sized> ObjectAlloc<T> for &C {
    #[inline]
    fn reset_object(&self, object: &mut T) {
        C::reset_object(self, object);
    }

    #[inline]
    fn alloc_object(&self) -> Result<NonNull<T>, AllocError> {
        C::alloc_object(self)
    }

    #[inline]
    unsafe fn free_uninit(&self, object: NonNull<T>) {
        // SAFETY: the caller's promise is the same.
        unsafe { C::free_uninit(self, object) };
    }

    #[inline]
    unsafe fn free_object(&self, object: NonNull<T>) {
        // SAFETY: the caller's promise is the same.
        unsafe { C::free_object(self, object) };
    }

    unsafe fn destroy_object(&self, object: NonNull<T>) {
        // SAFETY: the caller's promise is the same.
        unsafe { C::destroy_object(self, object) };
    }
}
