//! What the kit asks of whatever is under test: one face for heaps, shared heaps, allocators and sources.

use core::alloc::Layout;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use std::boxed::Box;
use std::string::String;
use std::vec::Vec;

use super::script::Way;
use crate::AllocError;
use crate::heap::Usage;

/// What a subject does differently from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    pub(super) zero_size: ZeroSize,
    /// The largest alignment that may be met.
    pub(super) align_max: usize,
    /// Whether a resize may change the alignment.
    pub(super) aligns: bool,
    /// Whether [`Way::Zeroed`] gives zeroed blocks.
    pub(super) zeroes: bool,
    /// Whether all memory arrives zeroed.
    pub(super) zeroed: bool,
    /// Which bytes of a block are zero after a resize by [`Way::Zeroed`], or after each if all memory arrives zeroed.
    pub(super) tail: Tail,
    /// Whether a resize by [`Way::Special`] stays where it is.
    pub(super) in_place: bool,
    /// Whether blocks may come back with sizes up to the returned length, or with the requested one only.
    pub(super) slack: bool,
}

impl Traits {
    pub(super) const HEAP: Traits = Traits {
        zero_size: ZeroSize::Refused,
        align_max: usize::MAX,
        aligns: true,
        zeroes: true,
        zeroed: false,
        tail: Tail::Undefined,
        in_place: true,
        slack: true,
    };
}

/// What is zero of a block that has grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// Nothing is known.
    Undefined,
    /// All from the old size on.
    PastSize,
    /// All from the old length on.
    PastLen,
}

/// What becomes of requests of size zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ZeroSize {
    /// They are refused.
    Refused,
    /// They are met, by a dangling block of length zero.
    Dangling,
    /// They are met, by any block.
    Met,
    /// They are not made.
    Undefined,
}

/// Something under test. What it can't do gives `None`.
pub trait Subject {
    fn traits(&self) -> Traits;
    fn alloc(&mut self, layout: Layout, way: Way) -> Result<NonNull<[u8]>, AllocError>;
    /// # Safety
    /// As [`Heap::dealloc`](crate::heap::Heap::dealloc).
    unsafe fn free(&mut self, ptr: NonNull<u8>, layout: Layout);
    /// # Safety
    /// As [`Heap::resize`](crate::heap::Heap::resize).
    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
        way: Way,
    ) -> Result<NonNull<[u8]>, AllocError>;

    fn alloc_at_hand(&mut self, layout: Layout) -> Option<NonNull<[u8]>> {
        let _ = layout;
        None
    }

    /// # Safety
    /// As [`Heap::dealloc_at_hand`](crate::heap::Heap::dealloc_at_hand).
    unsafe fn free_at_hand(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        let _ = (ptr, layout);
        false
    }

    fn good_size(&mut self, layout: Layout) -> Option<usize> {
        let _ = layout;
        None
    }

    fn alloc_batch(&mut self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> Option<usize> {
        let _ = (layout, out);
        None
    }

    /// # Safety
    /// As [`Heap::dealloc_batch`](crate::heap::Heap::dealloc_batch).
    unsafe fn free_batch(&mut self, layout: Layout, blocks: &[NonNull<u8>]) {
        for &block in blocks {
            // SAFETY: the caller's promise is the same.
            unsafe { self.free(block, layout) };
        }
    }

    fn release_unused(&mut self) -> Option<usize> {
        None
    }

    /// Moves the heap, if its kind may be moved.
    fn relocate(&mut self) {}

    fn owns(&self, ptr: NonNull<u8>, layout: Layout) -> Option<bool> {
        let _ = (ptr, layout);
        None
    }

    /// # Safety
    /// As [`Owns::try_dealloc`](crate::heap::Owns::try_dealloc).
    unsafe fn try_free(&mut self, ptr: NonNull<u8>, layout: Layout) -> Option<bool> {
        let _ = (ptr, layout);
        None
    }

    /// Forgets all blocks; says whether it can.
    ///
    /// # Safety
    /// As [`Reset::reset`](crate::heap::Reset::reset).
    unsafe fn reset(&mut self) -> bool {
        false
    }

    fn usage(&mut self) -> Option<Usage> {
        None
    }

    /// The subject's own check of itself, and whether its chunks make sense.
    fn inspect(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// # Safety
    /// As [`UsableSize::usable_size`](crate::heap::UsableSize::usable_size).
    unsafe fn usable_size(&self, ptr: NonNull<u8>) -> Option<usize> {
        let _ = ptr;
        None
    }
}

/// A kind of subject: how one is made of a heap, and what is known of the type.
pub trait Face {
    /// What is under test.
    type Heap;

    fn subject<'s>(&self, heap: Self::Heap) -> Box<dyn Subject + 's>
    where
        Self::Heap: 's;

    /// What the heap is made of, if it says so.
    fn tree(&self) -> Option<String> {
        None
    }

    /// Whether a heap may be used by several threads, and the run that does.
    fn threads(
        &self,
        _heap: &Self::Heap,
        _plan: &super::plan::Plan,
    ) -> Option<Result<(), super::run::Fault>> {
        None
    }

    /// A run in which the source calls back into the heap, where the heap is to refuse that.
    fn reenter(
        &self,
        _heap: &Self::Heap,
        _ledger: &super::supply::Ledger,
    ) -> Option<Result<(), super::run::Fault>> {
        None
    }
}

/// A value in a box that can move to another one. Its former places stay allocated, so that a block that has stayed
/// there is found by what it holds.
pub(super) struct Place<T> {
    value: Box<T>,
    former: Vec<Box<MaybeUninit<T>>>,
}

impl<T> Place<T> {
    pub(super) fn new(value: T) -> Self {
        Place { value: Box::new(value), former: Vec::new() }
    }

    pub(super) fn get(&self) -> &T {
        &self.value
    }

    pub(super) fn get_mut(&mut self) -> &mut T {
        &mut self.value
    }

    /// Moves the value, and writes over the place where it was.
    pub(super) fn relocate(&mut self) {
        let mut new = Box::<T>::new_uninit();
        // SAFETY: the box holds a value, which is used from the new one only from here on; the boxes do not overlap.
        unsafe { core::ptr::copy_nonoverlapping(&raw const *self.value, new.as_mut_ptr(), 1) };
        // SAFETY: the value has been copied there.
        let new = unsafe { new.assume_init() };
        let old = Box::into_raw(core::mem::replace(&mut self.value, new));
        // SAFETY: `MaybeUninit<T>` has the layout of `T`, and the memory is a box's.
        let mut empty = unsafe { Box::from_raw(old.cast::<MaybeUninit<T>>()) };
        let bytes = empty.as_mut_ptr().cast::<u8>();
        // SAFETY: the box is `size_of::<T>()` bytes long and holds no value any more.
        unsafe { bytes.write_bytes(0xD7, size_of::<T>()) };
        self.former.push(empty);
    }
}
