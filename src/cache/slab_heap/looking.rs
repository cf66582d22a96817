//! What a heap of slab caches looks at, if its policy says so.

use core::alloc::Layout;
use core::ptr::NonNull;

use super::SlabHeap;
use crate::AllocError;
use crate::cache::front::{Room, renewed};
use crate::cache::retention::Retention;
use crate::cache::size_classes::SizeClasses;
use crate::cache::watch::{SlabChecks, Watch};
use crate::check::{Checks, Misuse, Owner, Wrong};
use crate::heap::Heap;
use crate::slab::{Lookup, SlabSystem};

impl<C: SizeClasses, S: SlabSystem, N: Heap, R: Retention, const FRONT: usize, P: Checks>
    SlabHeap<C, S, N, R, FRONT, P>
{
    /// Makes an object ready to be a block of `layout`.
    ///
    /// # Safety
    /// It has just been taken from this class, which is below `COUNT` and has room for the layout and its zone.
    pub(super) unsafe fn make_ready(&mut self, class: usize, object: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        let (fronted, shape, _) = unsafe { self.class(class) };
        if let Some((damaged, count)) = fronted.take_damaged() {
            self.watch.note_some(Misuse::new(Wrong::Metadata, damaged.addr().get(), layout), count);
        }
        // SAFETY: the caller's promise.
        unsafe { self.watch.ready(object, layout, shape.stride(), S::LOOKUP != Lookup::None) };
    }

    /// As [`make_ready`](SlabHeap::make_ready), of many.
    ///
    /// # Safety
    /// The same, of each; all places are written.
    pub(super) unsafe fn make_all_ready(&mut self, class: usize, objects: &[Room], layout: Layout) {
        for object in objects {
            // SAFETY: the caller's promise.
            let object = unsafe { object.assume_init() };
            // SAFETY: the caller's promise.
            unsafe { self.make_ready(class, object, layout) };
        }
    }

    /// Moves the zones of ready slots to where blocks of `layout` end.
    ///
    /// # Safety
    /// As [`make_all_ready`](SlabHeap::make_all_ready).
    pub(super) unsafe fn enclose_all(class: usize, objects: &[Room], layout: Layout) {
        for object in objects {
            // SAFETY: the caller's promise.
            let object = unsafe { object.assume_init() };
            // SAFETY: the caller's promise.
            unsafe { Watch::<P>::enclose(object, layout.size(), Self::stride(class)) };
        }
    }

    /// Whether a block may come back: it is live, of this class, and whole. What is wrong is noted.
    ///
    /// # Safety
    /// As [`Heap::dealloc`], but for what is looked at; the layout has this class, which is below `COUNT`.
    unsafe fn lets_back(&mut self, class: usize, ptr: NonNull<u8>, layout: Layout) -> bool {
        let address = ptr.addr().get();
        // SAFETY: the caller's promise.
        let (fronted, shape, _) = unsafe { self.class(class) };
        // SAFETY: the invariant of `classes`.
        let place = unsafe { fronted.place_of(shape, address) };
        let place = place.map_err(|wrong| match self.owner_of(address).filter(|_| wrong == Wrong::Foreign) {
            Some(owner) => Misuse::new(Wrong::WrongLayout, address, layout).with_owner(owner),
            None => Misuse::new(wrong, address, layout),
        });
        // SAFETY: an object of ours that is live, and of this class.
        unsafe { self.watch.lets_back(place, renewed(ptr), layout, shape.stride()) }
    }

    /// As [`lets_back`](SlabHeap::lets_back); if it may, its memory is made ready to be free.
    ///
    /// # Safety
    /// The same. The block is free then, and nowhere yet.
    pub(super) unsafe fn takes_back(&mut self, class: usize, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise is the same.
        let back = unsafe { self.lets_back(class, ptr, layout) };
        if back {
            // SAFETY: a live object of ours, which is free now.
            unsafe { Watch::<P>::clear(renewed(ptr), Self::stride(class)) };
        }
        back
    }

    /// Takes blocks of a class back, each looked at when those before it are free.
    ///
    /// # Safety
    /// As [`lets_back`](SlabHeap::lets_back), of each.
    pub(super) unsafe fn take_all_back(&mut self, class: usize, blocks: &[NonNull<u8>], layout: Layout) {
        for &block in blocks {
            // SAFETY: the caller's promise is the same.
            if unsafe { self.takes_back(class, block, layout) } {
                // SAFETY: the caller's promise; it is free, and nowhere yet.
                unsafe { self.push(class, block) };
            }
        }
    }

    /// Whether a block may come back to the next heap: none does that lies in a slab, nor if that heap has none, or finds it wrong.
    ///
    /// # Safety
    /// As [`Heap::dealloc`], but for what is looked at; the layout has no class.
    pub(super) unsafe fn lets_back_large(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        if P::LOOKS {
            let misuse = |wrong| Misuse::new(wrong, ptr.addr().get(), layout);
            if let Some(owner) = self.owner_of(ptr.addr().get()) {
                self.watch.note(misuse(Wrong::WrongLayout).with_owner(owner));
                return false;
            }
            if self.large.blocks == 0 {
                self.watch.note(misuse(Wrong::Foreign));
                return false;
            }
        }
        // SAFETY: the caller's promise: what has no class is the next heap's.
        !N::CHECKS || unsafe { self.next.judge(ptr, layout) }
    }

    /// As [`Heap::judge`].
    ///
    /// # Safety
    /// As there.
    pub(super) unsafe fn judge_block(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        let Some(class) = Self::index(layout) else {
            // SAFETY: the caller's promise is the same.
            return unsafe { self.lets_back_large(ptr, layout) };
        };
        // SAFETY: K2; the caller's promise is the same.
        !P::LOOKS || unsafe { self.lets_back(class, ptr, layout) }
    }

    /// A block that is resized within its class.
    ///
    /// # Errors
    /// When the policy has found that it is none.
    ///
    /// # Safety
    /// As [`Heap::resize_in_place`]; both layouts have this class, which is below `COUNT`.
    #[inline(always)]
    pub(super) unsafe fn stay(
        &mut self,
        class: usize,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if P::LOOKS {
            // SAFETY: the caller's promise is the same.
            if !unsafe { self.lets_back(class, ptr, old) } {
                return Err(AllocError);
            }
            // SAFETY: a live object of ours, and nobody needs what lies behind the new size.
            unsafe { Watch::<P>::enclose(renewed(ptr), new.size(), Self::stride(class)) };
        }
        // SAFETY: the caller's promise.
        Ok(unsafe { Self::slot(renewed(ptr), class, new) })
    }

    /// [`Heap::resize`] of a block that has to move, looked at before anything is done.
    ///
    /// # Safety
    /// The same.
    pub(super) unsafe fn move_looked_at(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let from = Self::index(old);
        let back = match from {
            // SAFETY: K2; the caller's promise is the same.
            Some(class) => unsafe { self.lets_back(class, ptr, old) },
            // SAFETY: the caller's promise is the same.
            None => unsafe { self.lets_back_large(ptr, old) },
        };
        if !back {
            return Err(AllocError);
        }
        let block = self.alloc(new)?;
        // SAFETY: both are live blocks of at least `min(old, new)` bytes and do not overlap (H1).
        unsafe { block.cast::<u8>().copy_from_nonoverlapping(ptr, old.size().min(new.size())) };
        match from {
            Some(class) => {
                // SAFETY: a live object of ours, which is free now.
                unsafe { Watch::<P>::clear(renewed(ptr), Self::stride(class)) };
                // SAFETY: K2; it is free, and nowhere yet.
                unsafe { self.push(class, ptr) };
            }
            // SAFETY: the caller's promise; the copy has been made.
            None => unsafe { self.dealloc(ptr, old) },
        }
        Ok(block)
    }

    /// Bytes of the objects of a class, which there is.
    fn stride(class: usize) -> usize {
        super::Shapes::<C, S>::ALL[class].stride()
    }

    /// The class in whose slabs an address lies, if it lies in any. O(classes).
    fn owner_of(&self, address: usize) -> Option<Owner> {
        let mut classes = self.classes.as_ref().iter().zip(super::Shapes::<C, S>::ALL);
        // SAFETY: the invariant of `classes`.
        let (_, shape) = classes.find(|(class, shape)| unsafe { class.has(shape, address) })?;
        Some(Owner { heap: "SlabHeap", object_size: shape.stride() })
    }

    /// An object of a class that is free goes to those at hand, or to its slab.
    ///
    /// # Safety
    /// `class` is below `COUNT`; it is an object of this class that was taken, and is nowhere yet.
    unsafe fn push(&mut self, class: usize, object: NonNull<u8>) {
        // SAFETY: the caller's promise.
        let (fronted, ..) = unsafe { self.class(class) };
        // SAFETY: the caller's promise.
        if !unsafe { fronted.push(object) } {
            // SAFETY: the caller's promise.
            unsafe { self.push_when_full(class, object) };
        }
    }
}
