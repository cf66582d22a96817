//! A front of one's own.

use core::fmt;

use super::layer::{Layer, Place, impl_object_alloc};
use super::magazined::Magazined;
use crate::cache::UntypedObjectAlloc;
use crate::describe::{Cost, Describe, Tree};
use crate::lock::{Lock, SpinLock};

/// A front as a value: a cache for one thread at a time, over a [`Magazined`] that is shared. [`Magazined::handle`] makes it.
///
/// Choose it where a worker thread, a task or a data structure can hold it. It is the fastest of the fronts, works without std, and
/// for caches that are no `static`. Each holds up to `2 * N` free slots.
///
/// It may be sent to another thread if the cache may be shared; it can't be shared itself. When it is dropped, in an unwinding thread
/// too, it gives all back; one that is forgotten (`mem::forget`) takes its slots with it.
///
/// ```
/// use heapwright::cache::{HeapSlots, Magazined, UntypedObjectAlloc};
/// use heapwright::{arena::StaticArena, sizing::Sizing128KiB};
///
/// let arena = StaticArena::<8192, Sizing128KiB>::new();
/// let magazined: Magazined<_> = Magazined::new(HeapSlots::new(&arena, std::alloc::Layout::new::<[u64; 4]>()));
/// let (front, other) = (magazined.handle(), magazined.handle());
/// let slot = front.alloc_slot()?;
/// // SAFETY: it was handed out by the same layer, and comes back once.
/// unsafe { other.free_slot(slot) };
/// assert_eq!(other.alloc_slot()?, slot, "it was on top of the other front");
/// # unsafe { other.free_slot(slot) };
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// ```compile_fail,E0277
/// use heapwright::cache::{HeapSlots, Magazined};
/// use heapwright::{arena::StaticArena, sizing::Sizing4KiB};
/// fn shared<T: Sync>(_: &T) {}
/// let arena = StaticArena::<1024, Sizing4KiB>::new();
/// let magazined: Magazined<_> = Magazined::new(HeapSlots::new(&arena, std::alloc::Layout::new::<u64>()));
/// shared(&magazined.handle()); // error: a front can't be shared between threads
/// ```
pub struct Handle<'a, C, L = SpinLock, const N: usize = 64, const M: usize = 16>
where
    C: UntypedObjectAlloc,
    L: Lock,
{
    front: <Magazined<C, L, N, M> as Layer>::Front,
    layer: &'a Magazined<C, L, N, M>,
}

// SAFETY: the front's slots are free ones of a cache that is `Sync`: they may be freed and taken on any thread, contents included, as
// for the depot. The front itself is the handle's alone, and the layer may be shared.
unsafe impl<C: UntypedObjectAlloc + Sync, L: Lock + Sync, const N: usize, const M: usize> Send
    for Handle<'_, C, L, N, M>
{
}

impl<'a, C: UntypedObjectAlloc, L: Lock, const N: usize, const M: usize> Handle<'a, C, L, N, M> {
    /// An empty front.
    pub(super) const fn new(layer: &'a Magazined<C, L, N, M>) -> Self {
        Handle { front: Magazined::<C, L, N, M>::FRONT, layer }
    }

    /// The layer that it is a front of.
    pub const fn magazined(&self) -> &'a Magazined<C, L, N, M> {
        self.layer
    }

    /// Gives all that the front holds back: whole magazines to the depot as far as there is room, the rest to the inner cache.
    pub fn flush(&self) {
        self.layer.drain(self);
    }
}

impl<C: UntypedObjectAlloc, L: Lock, const N: usize, const M: usize> Drop for Handle<'_, C, L, N, M> {
    fn drop(&mut self) {
        self.flush();
    }
}

impl<C: UntypedObjectAlloc, L: Lock, const N: usize, const M: usize> Place for Handle<'_, C, L, N, M> {
    type Layer = Magazined<C, L, N, M>;

    #[inline(always)]
    fn layer(&self) -> &Self::Layer {
        self.layer
    }

    #[inline(always)]
    fn peek<R>(&self, work: impl FnOnce(&<Self::Layer as Layer>::Front) -> R) -> Option<R> {
        Some(work(&self.front))
    }
}

impl_object_alloc!([C: UntypedObjectAlloc, L: Lock, const N: usize, const M: usize] Handle<'_, C, L, N, M>, C);

impl<C: UntypedObjectAlloc, L: Lock, const N: usize, const M: usize> fmt::Debug for Handle<'_, C, L, N, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("slots", &self.front.len()).finish_non_exhaustive()
    }
}

impl<C, L, const N: usize, const M: usize> Describe for Handle<'_, C, L, N, M>
where
    C: UntypedObjectAlloc + Describe,
    L: Lock + Describe,
{
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        tree.part(
            format_args!("Handle, a front of up to {} slots", 2 * N),
            Cost::state_of::<Self>(),
            &[("layer", <Magazined<C, L, N, M>>::describe)],
        )
    }
}
