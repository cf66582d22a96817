//! Pools of memory: objects by pointer.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::NonNull;

use crate::pool::{Kind, Object, Objects, Pool, Store};

pub(crate) struct Slabbin<const SIZE: usize>(slabbin::SlabAllocator<Object<SIZE>>);

impl<const SIZE: usize> Objects for Slabbin<SIZE> {
    #[inline(always)]
    fn alloc(&mut self) -> *mut u8 {
        self.0.allocate().as_ptr().cast()
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8) {
        // SAFETY: live objects are not null.
        let ptr = unsafe { NonNull::new_unchecked(ptr) };
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.deallocate(ptr.cast()) }
    }
}

impl<const SIZE: usize> Pool for Slabbin<SIZE> {
    const NAME: &'static str = "slabbin";

    fn make() -> Self {
        Slabbin(slabbin::SlabAllocator::new((64 << 10) / SIZE))
    }
}

pub(crate) struct Slabmalloc<const SIZE: usize> {
    pages: Vec<*mut u8>,
    allocator: slabmalloc::SCAllocator<'static, slabmalloc::ObjectPage<'static>>,
}

const PAGE: Layout = Layout::new::<slabmalloc::ObjectPage<'static>>();

impl<const SIZE: usize> Slabmalloc<SIZE> {
    const OBJECT: Layout = Layout::new::<Object<SIZE>>();

    #[cold]
    #[inline(never)]
    fn refill(&mut self) {
        let layout = PAGE.align_to(4096).unwrap_or(PAGE);
        // SAFETY: a page is not empty.
        let page = unsafe { System.alloc_zeroed(layout) };
        assert!(!page.is_null(), "out of memory");
        self.pages.push(page);
        // SAFETY: the page is aligned, all zero as a default one, and lives as long as the allocator.
        let page = unsafe { &mut *page.cast::<slabmalloc::ObjectPage<'static>>() };
        // SAFETY: the page is unused.
        unsafe { self.allocator.refill(page) };
    }
}

impl<const SIZE: usize> Objects for Slabmalloc<SIZE> {
    #[inline(always)]
    fn alloc(&mut self) -> *mut u8 {
        loop {
            if let Ok(object) = self.allocator.allocate(Self::OBJECT) {
                return object.as_ptr();
            }
            self.refill();
        }
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8) {
        // SAFETY: live objects are not null.
        let ptr = unsafe { NonNull::new_unchecked(ptr) };
        let _ = self.allocator.deallocate(ptr, Self::OBJECT);
    }
}

impl<const SIZE: usize> Pool for Slabmalloc<SIZE> {
    const NAME: &'static str = "slabmalloc";
    // It looks through its pages one by one.
    const LIVE_MAX: usize = 1000;

    fn make() -> Self {
        Slabmalloc { pages: Vec::new(), allocator: slabmalloc::SCAllocator::new(SIZE) }
    }
}

impl<const SIZE: usize> Drop for Slabmalloc<SIZE> {
    fn drop(&mut self) {
        for page in self.pages.drain(..) {
            // SAFETY: the page is from the system, with this layout, and its objects are not used any more.
            unsafe { System.dealloc(page, PAGE.align_to(4096).unwrap_or(PAGE)) };
        }
    }
}

/// Objects are never freed one by one.
impl<const SIZE: usize> Store for typed_arena::Arena<Object<SIZE>> {
    const NAME: &'static str = "typed-arena (freed whole)";
    const KIND: Kind = Kind::FillOnly;
    type Key = *mut usize;

    fn make() -> Self {
        Self::new()
    }

    #[inline(always)]
    fn alloc(&mut self, word: usize) -> *mut usize {
        typed_arena::Arena::alloc(self, Object::new(word)).address()
    }

    #[inline(always)]
    unsafe fn free(&mut self, _: *mut usize) {}

    #[inline(always)]
    fn address(&mut self, key: &*mut usize) -> *mut usize {
        *key
    }

    fn clear(&mut self) {
        *self = Self::new();
    }
}
