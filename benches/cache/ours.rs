//! This crate's caches, as the benches see them: the one file to change when there is another.

use std::alloc::Layout;
use std::ptr::{self, NonNull};

use heapwright::arena::SourceTeaspoon;
use heapwright::heap::SharedHeap;
use heapwright::lock::{Lock, NoLock, SpinLock};
use heapwright::sizing::{Link, Sizing};
use heapwright::source::Pages;

use crate::construct::VisitSessions;
use crate::mix::layout;
use crate::pool::{Objects, Pool, Shared, Visit, VisitShared};

/// The name of the variant that the others are compared to.
pub(crate) const OURS: &str = "heapwright";

/// Every variant for one thread, the one that the others are compared to first.
pub(crate) fn visit<const SIZE: usize>(visit: &mut impl Visit) {
    visit.visit::<Arena<SIZE, NoLock>>();
}

/// The variants whose objects of large sizes lie in different cache sets, and those whose do not.
pub(crate) fn visit_layouts<const SIZE: usize>(visit: &mut impl Visit) {
    visit.visit::<Arena<SIZE, NoLock>>();
}

/// What is behind a lock.
pub(crate) fn visit_locked<L: Lock + 'static>(visit: &mut impl Visit) {
    visit.visit::<Arena<64, L>>();
}

/// What several threads may share, for objects of 64 bytes.
pub(crate) fn visit_shared(visit: &mut impl VisitShared) {
    visit.visit::<Arena<64, SpinLock>>();
}

/// What keeps constructed objects.
pub(crate) const fn visit_sessions(_: &mut impl VisitSessions) {}

/// An arena in pages of the OS, until there are caches.
pub(crate) struct Arena<const SIZE: usize, L: Lock>(SourceTeaspoon<Pages, Large, L>);

/// A sizing for hundreds of megabytes.
pub(crate) struct Large;

impl Sizing for Large {
    const GRANULE: usize = 16;
    const LINK: Link = Link::Bits31;
    const OBJECT_SIZE_MAX: usize = 1 << 20;
    const REGION_SIZE_MAX: usize = 1 << 30;
}

impl<const SIZE: usize, L: Lock> Arena<SIZE, L> {
    const LAYOUT: Layout = layout(SIZE, 8);
}

impl<const SIZE: usize, L: Lock> Objects for Arena<SIZE, L> {
    #[inline(always)]
    fn alloc(&mut self) -> *mut u8 {
        (&*self).alloc()
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8) {
        // SAFETY: the caller's promise is the same.
        unsafe { (&*self).free(ptr) }
    }
}

impl<const SIZE: usize, L: Lock> Objects for &Arena<SIZE, L> {
    #[inline(always)]
    fn alloc(&mut self) -> *mut u8 {
        self.0.try_alloc(Arena::<SIZE, L>::LAYOUT).map_or(ptr::null_mut(), |block| block.as_ptr().cast())
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8) {
        let Some(ptr) = NonNull::new(ptr) else { return };
        // SAFETY: the caller's promise is the same.
        unsafe { SharedHeap::free(&self.0, ptr, Arena::<SIZE, L>::LAYOUT) }
    }
}

impl<const SIZE: usize, L: Lock + 'static> Pool for Arena<SIZE, L> {
    const NAME: &'static str = OURS;

    fn make() -> Self {
        match SourceTeaspoon::with_size(Pages, 512 << 20) {
            Ok(arena) => Arena(arena),
            Err(_) => panic!("no pages"),
        }
    }
}

impl Shared for Arena<64, SpinLock> {
    const NAME: &'static str = OURS;
    type Handle<'a> = &'a Self;

    fn make() -> Self {
        Pool::make()
    }

    fn handle(&self) -> &Self {
        self
    }
}
