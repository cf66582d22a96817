//! What the three ways to a front have in common: the fast paths, written once.

use core::mem::MaybeUninit;
use core::ptr::NonNull;

use crate::AllocError;
use crate::cache::UntypedObjectAlloc;
use crate::lock::Lock;

/// A magazine layer as its fronts see it: depot and inner cache. [`Magazined`](super::Magazined) is the only one; the trait
/// stands for its four parameters.
///
/// A `Place` that is passed in belongs to this layer.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a magazine layer",
    label = "fronts stand before a magazine layer",
    note = "wrap the cache: `Magazined<{Self}>`"
)]
pub trait Layer {
    /// The cache behind the depot.
    type Cache: UntypedObjectAlloc;
    /// The depot's lock.
    type Lock: Lock;
    /// The slots that one thread, handle or CPU has at hand.
    type Front;

    /// An empty front.
    const FRONT: Self::Front;

    /// The cache behind the depot.
    fn inner(&self) -> &Self::Cache;

    /// A slot of the front, if it has one.
    fn pop(front: &Self::Front) -> Option<NonNull<u8>>;

    /// Puts a slot into the front, if it has room. The slot is a free one of this layer's cache, in no other place.
    fn push(front: &Self::Front, slot: NonNull<u8>) -> bool;

    /// A slot when the front has none, or there is no front.
    ///
    /// # Errors
    /// Those of the inner cache.
    fn alloc_slow(&self, place: &impl Place<Layer = Self>) -> Result<NonNull<u8>, AllocError>;

    /// Takes a slot when the front has no room, or there is no front.
    ///
    /// # Safety
    /// The slot is a free one of this layer's cache, in no other place.
    unsafe fn free_slow(&self, place: &impl Place<Layer = Self>, slot: NonNull<u8>);

    /// Empties the front: whole magazines into the depot as far as there is room, the rest into the inner cache.
    fn drain(&self, place: &impl Place<Layer = Self>);
}

/// Where a front is found.
///
/// Work that is passed in calls nothing but methods of `Front` and `Depot`: so no two pieces of work are ever under way
/// on one front, and none while the inner cache runs.
pub trait Place {
    /// The layer that the front belongs to.
    type Layer: Layer;

    /// The layer that the front belongs to.
    fn layer(&self) -> &Self::Layer;

    /// Runs `work` on the front if it is at hand.
    fn peek<R>(&self, work: impl FnOnce(&<Self::Layer as Layer>::Front) -> R) -> Option<R>;

    /// Runs `work` on the front, opening it first if need be; `None` where there can be none.
    fn visit<R>(&self, work: impl FnOnce(&<Self::Layer as Layer>::Front) -> R) -> Option<R> {
        self.peek(work)
    }
}

/// A slot by way of a place.
#[inline(always)]
pub(super) fn alloc<P: Place>(place: &P) -> Result<NonNull<u8>, AllocError> {
    match place.peek(P::Layer::pop) {
        Some(Some(slot)) => Ok(slot),
        _ => place.layer().alloc_slow(place),
    }
}

/// Takes a slot by way of a place.
///
/// # Safety
/// The slot is a free one of this layer's cache, in no other place.
#[inline(always)]
pub(super) unsafe fn free<P: Place>(place: &P, slot: NonNull<u8>) {
    if place.peek(|front| P::Layer::push(front, slot)) != Some(true) {
        // SAFETY: the caller's promise is the same.
        unsafe { place.layer().free_slow(place, slot) };
    }
}

/// At least one slot by way of a place, and then what its front has at hand.
pub(super) fn alloc_some<P: Place>(
    place: &P,
    out: &mut [MaybeUninit<NonNull<u8>>],
) -> Result<usize, AllocError> {
    let (first, rest) = out.split_first_mut().ok_or(AllocError)?;
    first.write(alloc(place)?);
    let at_hand = place.peek(|front| {
        let slots = core::iter::from_fn(|| P::Layer::pop(front));
        rest.iter_mut().zip(slots).map(|(out, slot)| out.write(slot)).count()
    });
    Ok(1 + at_hand.unwrap_or(0))
}

/// Writes the cache traits for a type that is a `Place`.
macro_rules! impl_object_alloc {
    ([$($generics:tt)*] $type:ty, $cache:ty) => {
        // SAFETY: the slots are the inner cache's, for which U1 to U5 hold. U1: each is handed out to one at a time, since it is in one
        // front (F1), in the depot, out, or in the inner cache, and moves whole; what is handed out is remade from its address,
        // by the provenance that U5 says is exposed. U2, U3: neither is touched here. U4: while the inner cache runs, no
        // slot is on its way but those that are its own again.
        unsafe impl<$($generics)*> $crate::cache::UntypedObjectAlloc for $type {
            #[inline]
            fn slot_layout(&self) -> core::alloc::Layout {
                $crate::cache::UntypedObjectAlloc::slot_layout(Layer::inner(Place::layer(self)))
            }

            #[inline]
            fn alloc_slot(&self) -> Result<core::ptr::NonNull<u8>, $crate::AllocError> {
                super::layer::alloc(self)
            }

            #[inline]
            unsafe fn free_slot(&self, slot: core::ptr::NonNull<u8>) {
                // SAFETY: the caller's promise: the slot is this layer's, and comes back once.
                unsafe { super::layer::free(self, slot) };
            }

            #[inline]
            fn alloc_slots(
                &self,
                out: &mut [core::mem::MaybeUninit<core::ptr::NonNull<u8>>],
            ) -> Result<usize, $crate::AllocError> {
                super::layer::alloc_some(self, out)
            }
        }

        // SAFETY: O1: every slot comes from the inner cache, for which O1 holds, and its contents are not touched on the way.
        unsafe impl<T, $($generics)*> $crate::cache::ObjectAlloc<T> for $type
        where
            $cache: $crate::cache::ObjectAlloc<T>,
        {
            #[inline]
            fn reset_object(&self, object: &mut T) {
                $crate::cache::ObjectAlloc::reset_object(Layer::inner(Place::layer(self)), object);
            }

            // Magazines hold constructed objects only.
            unsafe fn free_uninit(&self, object: core::ptr::NonNull<T>) {
                let cache = Layer::inner(Place::layer(self));
                // SAFETY: the caller's promise: the slot is the inner cache's, and comes back once.
                unsafe { $crate::cache::ObjectAlloc::free_uninit(cache, object) };
            }
        }

        // SAFETY: the slots are the inner cache's, whose contents are not touched on the way.
        unsafe impl<$($generics)*> $crate::cache::RawSlots for $type where $cache: $crate::cache::RawSlots {}

        // `SlotBlocks` keeps what `SharedHeap` promises: blocks are slots that fit (U1), and stay where they are, out, wherever this value
        // goes and when it is dropped (U1); `RawSlots` does not unwind.
        $crate::alloc::impl_allocators!(
            via $crate::cache::magazine::blocks::SlotBlocks,
            [$($generics)*] $type where $cache: $crate::cache::RawSlots
        );
    };
}

pub(super) use impl_object_alloc;
