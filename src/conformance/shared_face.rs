//! Shared heaps under test: shells and handles.

use core::alloc::Layout;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use std::boxed::Box;
use std::string::{String, ToString};

use super::check::Check;
use super::plan::Plan;
use super::reentry;
use super::run::Ran;
use super::script::Way;
use super::subject::{Face, Place, Subject, Tail, Traits, ZeroSize};
use super::supply::Ledger;
use super::threads;
use crate::AllocError;
use crate::describe::{Describe, describe};
use crate::heap::{Heap, SharedHeap, UsableSize};

/// What a shared heap can do beside being one.
pub struct SharedFace<A> {
    moves: bool,
    usable_size: Option<unsafe fn(&A, NonNull<u8>) -> usize>,
    threads: Option<fn(&A, &Plan) -> Ran>,
    reenter: Option<fn(&A, &Ledger) -> Ran>,
    tree: Option<fn() -> String>,
}

impl<A> Clone for SharedFace<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A> Copy for SharedFace<A> {}

impl<A> fmt::Debug for SharedFace<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedFace")
    }
}

impl<A> SharedFace<A> {
    pub(super) const NEW: Self =
        SharedFace { moves: false, usable_size: None, threads: None, reenter: None, tree: None };
}

/// What else the heap can do, each to be checked as well.
impl<A: SharedHeap> Check<'_, SharedFace<A>> {
    /// Moves the heap while blocks are live: right for heaps that do not contain their blocks (S2).
    pub fn moves(mut self) -> Self {
        self.face.moves = true;
        self
    }

    /// Uses a heap on many threads at once, which pass blocks to each other.
    pub fn threads(mut self) -> Self
    where
        A: Sync,
    {
        self.face.threads = Some(|heap, plan| threads::run(|| Shared::by_reference(heap), plan));
        self
    }

    /// Lets the source call back into the heap, which has to refuse that (S1). For locks that can tell.
    pub fn refuses_reentry(mut self) -> Self {
        self.face.reenter = Some(reentry::run::<A>);
        self
    }

    /// Checks [`UsableSize`].
    pub fn knows_sizes(mut self) -> Self
    where
        A: UsableSize,
    {
        self.face.usable_size = Some(A::usable_size);
        self
    }

    /// Checks [`Describe`], and shows the tree when something fails.
    pub fn describes(mut self) -> Self
    where
        A: Describe,
    {
        self.face.tree = Some(|| describe::<A>().to_string());
        self
    }
}

/// A shared heap in a box.
struct Shared<A> {
    heap: Place<A>,
    face: SharedFace<A>,
}

impl<'a, A: SharedHeap> Shared<&'a A> {
    fn by_reference(heap: &'a A) -> Self {
        Shared { heap: Place::new(heap), face: SharedFace::NEW }
    }
}

impl<A: SharedHeap> Subject for Shared<A> {
    fn traits(&self) -> Traits {
        Traits { zero_size: ZeroSize::Dangling, tail: Tail::PastSize, ..Traits::HEAP }
    }

    fn alloc(&mut self, layout: Layout, way: Way) -> Result<NonNull<[u8]>, AllocError> {
        if way == Way::Zeroed {
            self.heap.get().try_alloc_zeroed(layout)
        } else {
            self.heap.get().try_alloc(layout)
        }
    }

    unsafe fn free(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.heap.get().free(ptr, layout) };
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
        way: Way,
    ) -> Result<NonNull<[u8]>, AllocError> {
        match way {
            // SAFETY: the caller's promise is the same.
            Way::Zeroed => unsafe { self.heap.get().try_resize_zeroed(ptr, old, new) },
            Way::Special if old.size() > 0 && new.size() > 0 => {
                // SAFETY: the caller's promise is the same, and the sizes are not zero.
                let work = |core: &mut A::Core<'_>| unsafe { core.resize_in_place(ptr, old, new) };
                // SAFETY: the closure only calls the core.
                unsafe { self.heap.get().enter(work) }?
            }
            // SAFETY: the caller's promise is the same.
            _ => unsafe { self.heap.get().try_resize(ptr, old, new) },
        }
    }

    fn good_size(&mut self, layout: Layout) -> Option<usize> {
        // SAFETY: the closure only calls the core.
        unsafe { self.heap.get().enter(|core| core.good_size(layout)) }.ok()
    }

    fn alloc_batch(&mut self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> Option<usize> {
        Some(self.heap.get().try_alloc_batch(layout, out))
    }

    unsafe fn free_batch(&mut self, layout: Layout, blocks: &[NonNull<u8>]) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.heap.get().free_batch(layout, blocks) };
    }

    fn release_unused(&mut self) -> Option<usize> {
        Some(self.heap.get().release_unused())
    }

    fn relocate(&mut self) {
        if self.face.moves {
            self.heap.relocate();
        }
    }

    unsafe fn usable_size(&self, ptr: NonNull<u8>) -> Option<usize> {
        let usable_size = self.face.usable_size?;
        // SAFETY: the caller's promise is the same.
        Some(unsafe { usable_size(self.heap.get(), ptr) })
    }
}

impl<A: SharedHeap> Face for SharedFace<A> {
    type Heap = A;

    fn subject<'s>(&self, heap: A) -> Box<dyn Subject + 's>
    where
        A: 's,
    {
        Box::new(Shared { heap: Place::new(heap), face: *self })
    }

    fn tree(&self) -> Option<String> {
        self.tree.map(|tree| tree())
    }

    fn threads(&self, heap: &A, plan: &Plan) -> Option<Ran> {
        self.threads.map(|threads| threads(heap, plan))
    }

    fn reenter(&self, heap: &A, ledger: &Ledger) -> Option<Ran> {
        self.reenter.map(|reenter| reenter(heap, ledger))
    }
}
