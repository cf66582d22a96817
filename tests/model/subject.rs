//! What the model asks of a heap under test, and the adaptor that gives it for every `SharedHeap`.

use std::alloc::{GlobalAlloc, Layout};
use std::fmt;
use std::ops::Range;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::heap::{Chunk, Heap, Inspect, Locked, Owns, Reset, SharedHeap, Usage};
use heapwright::lock::Lock;

use super::script::Way;

/// What a heap promises about its numbers.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Bytes of one granule: addresses and lengths of blocks are multiples of it.
    pub(crate) granule: usize,
    /// Largest object, in bytes.
    pub(crate) object_size_max: usize,
    /// Where blocks may lie; `None` if the heap gets its memory elsewhere as it goes.
    pub(crate) region: Option<Range<usize>>,
    /// Whether the region stays the same, so that used and free bytes add up to what they did when new.
    pub(crate) fixed: bool,
    /// Whether a resize moves a block within its own room and the free memory on both sides of it, so that it fails
    /// only if there is no room there either. If not, the block's own address counts alone.
    pub(crate) slides: bool,
    /// A request may fail although a free chunk has room for it, unless the chunk is twice as long as the request
    /// can need: the price of bounded time.
    pub(crate) bounded: bool,
}

/// A heap as the model sees it. The methods are those of the heap's faces, with the face as an argument.
pub(crate) trait Subject {
    fn facts(&self) -> Facts;
    fn alloc(&self, layout: Layout, zeroed: bool, way: Way) -> Result<NonNull<[u8]>, AllocError>;
    /// # Safety
    /// As `SharedHeap::free`; with `Way::Global` the layout is exactly the block's.
    unsafe fn free(&self, ptr: NonNull<u8>, layout: Layout, way: Way);
    /// # Safety
    /// As `SharedHeap::try_resize`; with `Way::Global` the layout is exactly the block's and the alignments are equal.
    unsafe fn resize(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
        zeroed: bool,
        way: Way,
    ) -> Result<NonNull<[u8]>, AllocError>;
    fn usage(&self) -> Usage;
    fn owns(&self, ptr: NonNull<u8>, layout: Layout) -> bool;
    /// The size that a request of `layout` should really get.
    fn good_size(&self, layout: Layout) -> usize;
    /// The heap's own check of all its state.
    fn verify(&self) -> Result<(), String>;
    /// How many calls the heap ignored as misuse.
    fn misuses(&self) -> usize;
    fn chunks(&self) -> Vec<Chunk>;
    /// Forgets all blocks, if the heap can.
    fn reset(&mut self) -> bool;
}

/// The parts of a heap's face that no trait names, as functions.
pub(crate) struct Face<A> {
    pub(crate) usage: fn(&A) -> Usage,
    pub(crate) owns: fn(&A, NonNull<u8>, Layout) -> bool,
    pub(crate) verify: fn(&A) -> Result<(), String>,
    pub(crate) misuses: fn(&A) -> usize,
    pub(crate) chunks: fn(&A) -> Vec<Chunk>,
    pub(crate) reset: fn(&mut A) -> bool,
    /// The `GlobalAlloc` face, of heaps that have it.
    pub(crate) global: Option<for<'a> fn(&'a A) -> &'a dyn GlobalAlloc>,
    /// The `Allocator` face, of heaps that have it.
    #[cfg(feature = "allocator-api2-04")]
    pub(crate) allocator: Option<for<'a> fn(&'a A) -> &'a dyn allocator_api2_04::alloc::Allocator>,
}

impl<H: Inspect + Owns + Reset, L: Lock> Face<Locked<H, L>> {
    /// The face of a core in its shell.
    pub(crate) fn of_locked() -> Self {
        Face {
            usage: |heap| heap.usage(),
            owns: |heap, ptr, layout| heap.owns(ptr, layout),
            verify: |heap| heap.verify().map_err(|found| found.to_string()),
            misuses: |heap| heap.misuses(),
            chunks: |heap| heap.chunks().collect(),
            reset: |heap| {
                heap.reset();
                true
            },
            global: Some(|heap| heap),
            #[cfg(feature = "allocator-api2-04")]
            allocator: Some(|heap| heap),
        }
    }
}

/// A heap with the functions and facts that make it a subject.
pub(crate) struct Under<A> {
    pub(crate) heap: A,
    pub(crate) face: Face<A>,
    pub(crate) facts: Facts,
}

impl<A> fmt::Debug for Under<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Under").field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// A pointer from `GlobalAlloc` as a block of the requested length.
fn as_block(ptr: *mut u8, size: usize) -> Result<NonNull<[u8]>, AllocError> {
    NonNull::new(ptr).map(|ptr| NonNull::slice_from_raw_parts(ptr, size)).ok_or(AllocError)
}

impl<A: SharedHeap> Subject for Under<A> {
    fn facts(&self) -> Facts {
        self.facts.clone()
    }

    fn alloc(&self, layout: Layout, zeroed: bool, way: Way) -> Result<NonNull<[u8]>, AllocError> {
        if let (Way::Global, Some(global)) = (way, self.face.global) {
            let global = global(&self.heap);
            let ptr = if zeroed {
                // SAFETY: heapwright defines requests of size zero too.
                unsafe { global.alloc_zeroed(layout) }
            } else {
                // SAFETY: as above.
                unsafe { global.alloc(layout) }
            };
            return as_block(ptr, layout.size());
        }
        #[cfg(feature = "allocator-api2-04")]
        if let (Way::Allocator, Some(allocator)) = (way, self.face.allocator) {
            let allocator = allocator(&self.heap);
            let made = if zeroed { allocator.allocate_zeroed(layout) } else { allocator.allocate(layout) };
            return made.map_err(|_| AllocError);
        }
        if zeroed { self.heap.try_alloc_zeroed(layout) } else { self.heap.try_alloc(layout) }
    }

    unsafe fn free(&self, ptr: NonNull<u8>, layout: Layout, way: Way) {
        if let (Way::Global, Some(global)) = (way, self.face.global) {
            // SAFETY: the caller's promise.
            return unsafe { global(&self.heap).dealloc(ptr.as_ptr(), layout) };
        }
        #[cfg(feature = "allocator-api2-04")]
        if let (Way::Allocator, Some(allocator)) = (way, self.face.allocator) {
            // SAFETY: the caller's promise.
            return unsafe { allocator(&self.heap).deallocate(ptr, layout) };
        }
        // SAFETY: the caller's promise.
        unsafe { self.heap.free(ptr, layout) }
    }

    unsafe fn resize(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
        zeroed: bool,
        way: Way,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if let (Way::Global, Some(global), false) = (way, self.face.global, zeroed) {
            // SAFETY: the caller's promise; a `Layout` holds the new size, so it does not overflow when rounded up.
            let ptr = unsafe { global(&self.heap).realloc(ptr.as_ptr(), old, new.size()) };
            return as_block(ptr, new.size());
        }
        #[cfg(feature = "allocator-api2-04")]
        if let (Way::Allocator, Some(allocator)) = (way, self.face.allocator) {
            let allocator = allocator(&self.heap);
            let made = match (new.size() < old.size(), zeroed) {
                // SAFETY: the caller's promise, and the new size is the smaller one.
                (true, _) => unsafe { allocator.shrink(ptr, old, new) },
                // SAFETY: the caller's promise, and the new size is not the smaller one.
                (false, false) => unsafe { allocator.grow(ptr, old, new) },
                // SAFETY: as above.
                (false, true) => unsafe { allocator.grow_zeroed(ptr, old, new) },
            };
            return made.map_err(|_| AllocError);
        }
        if zeroed {
            // SAFETY: the caller's promise.
            unsafe { self.heap.try_resize_zeroed(ptr, old, new) }
        } else {
            // SAFETY: the caller's promise.
            unsafe { self.heap.try_resize(ptr, old, new) }
        }
    }

    fn usage(&self) -> Usage {
        (self.face.usage)(&self.heap)
    }

    fn owns(&self, ptr: NonNull<u8>, layout: Layout) -> bool {
        (self.face.owns)(&self.heap, ptr, layout)
    }

    fn good_size(&self, layout: Layout) -> usize {
        // SAFETY: the closure only calls the core.
        let size = unsafe { self.heap.enter(|core| core.good_size(layout)) };
        size.unwrap_or_else(|_| panic!("the model never enters a heap twice"))
    }

    fn verify(&self) -> Result<(), String> {
        (self.face.verify)(&self.heap)
    }

    fn misuses(&self) -> usize {
        (self.face.misuses)(&self.heap)
    }

    fn chunks(&self) -> Vec<Chunk> {
        (self.face.chunks)(&self.heap)
    }

    fn reset(&mut self) -> bool {
        (self.face.reset)(&mut self.heap)
    }
}
