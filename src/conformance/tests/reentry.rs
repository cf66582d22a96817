//! Shells that a source may call back into, in one way and not in others; and heaps that give it no occasion.

use core::alloc::Layout;
use core::cell::{Cell, UnsafeCell};
use core::ptr::NonNull;
use std::alloc::System;

use crate::AllocError;
use crate::conformance::{Law, Source, shared, shared_over};
use crate::heap::{Heap, Locked, NoHeap, SharedHeap};
use crate::lock::NoLock;
use crate::source::{Buffer, FromGlobalAlloc, SourceHeap};

/// What is not refused while the shell is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Nothing,
    /// A resize, which leaves the block as it is.
    Resize,
    /// A way to a core, which is another one.
    Enter,
    /// All is refused, size zero as well.
    Less,
}

struct Shell {
    open: Open,
    busy: Cell<bool>,
    heap: UnsafeCell<SourceHeap<Source>>,
}

impl Shell {
    fn new(open: Open, source: Source) -> Self {
        Shell { open, busy: Cell::new(false), heap: SourceHeap::new(source).into() }
    }
}

/// A core for whoever should not be there.
type Other = SourceHeap<Buffer<'static>>;

/// The core, or the other one.
enum Either<'a> {
    Own(&'a mut SourceHeap<Source>),
    Other(Other),
}

// SAFETY: the blocks are the heap's.
unsafe impl Heap for Either<'_> {
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        match self {
            Either::Own(heap) => heap.alloc(layout),
            Either::Other(heap) => heap.alloc(layout),
        }
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        match self {
            // SAFETY: the caller's promise is the same.
            Either::Own(heap) => unsafe { heap.dealloc(ptr, layout) },
            // SAFETY: as above.
            Either::Other(heap) => unsafe { heap.dealloc(ptr, layout) },
        }
    }
}

// SAFETY: none, which is the point, where something is open; what is reached by it has no state that another call could meet half changed.
unsafe impl SharedHeap for Shell {
    type Core<'a> = Either<'a>;

    unsafe fn enter<'s, R>(&'s self, work: impl FnOnce(&mut Self::Core<'s>) -> R) -> Result<R, AllocError> {
        if self.busy.replace(true) {
            let mut other = Either::Other(SourceHeap::new(Buffer::from_slice(&mut [])));
            return if self.open == Open::Enter { Ok(work(&mut other)) } else { Err(AllocError) };
        }
        // SAFETY: nobody else is here.
        let done = work(&mut Either::Own(unsafe { &mut *self.heap.get() }));
        self.busy.set(false);
        Ok(done)
    }

    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 && !(self.busy.get() && self.open == Open::Less) {
            return Ok(NonNull::slice_from_raw_parts(crate::mem::dangling(layout), 0));
        }
        // SAFETY: the closure only calls the core.
        unsafe { self.enter(|core| core.alloc(layout)) }?
    }

    unsafe fn try_resize(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if self.busy.get() {
            let open = self.open == Open::Resize && new.size() <= old.size();
            return if open { Ok(NonNull::slice_from_raw_parts(ptr, new.size())) } else { Err(AllocError) };
        }
        if old.size() == 0 {
            return self.try_alloc(new);
        }
        if new.size() == 0 {
            // SAFETY: the caller's promise is the same.
            unsafe { self.free(ptr, old) };
            return self.try_alloc(new);
        }
        // SAFETY: the caller's promise is the same.
        let work = |core: &mut Either<'_>| unsafe { core.resize(ptr, old, new) };
        // SAFETY: the closure only calls the core.
        unsafe { self.enter(work) }?
    }
}

#[test]
fn every_way_back_in_is_found() {
    let check = |open| shared_over(move |source| Shell::new(open, source)).refuses_reentry().run();
    let found = |open, text: &str| {
        let failure = check(open).unwrap_err();
        assert_eq!((failure.law(), failure.text().contains(text)), (Law::NoWayBack, true), "{failure}");
    };
    if let Err(failure) = check(Open::Nothing) {
        panic!("{failure}");
    }
    found(Open::Resize, "gets a resized block at");
    found(Open::Enter, "gets another way in");
    found(Open::Less, "gets no block of size zero");
}

/// No block at all, none of some size on, or all from another source: there is nothing to call back from.
#[test]
fn a_heap_that_does_not_ask_its_source_passes() {
    let none = shared(|| Locked::<_, NoLock>::new(NoHeap)).refuses_reentry().run();
    assert!(none.is_ok());
    let few = shared_over(|source: Source| {
        // SAFETY: the buffer uses it, and nobody else does.
        let memory = unsafe { source.lend(4096, 16) };
        Locked::<_, NoLock>::new(SourceHeap::new(Buffer::from_slice(memory)))
    });
    assert!(few.refuses_reentry().run().is_ok());
    let many =
        shared_over(|_: Source| Locked::<_, NoLock>::new(SourceHeap::new(FromGlobalAlloc::new(&System))));
    assert!(many.refuses_reentry().run().is_ok());
}
