//! Pools whose handles own the object, or stand for it.

use std::ptr::NonNull;

use crate::pool::{Object, Store};

/// Objects that a pool with a bound may keep.
const KEPT: usize = 1_000_000;

pub(crate) struct InfinityPool<const SIZE: usize>(infinity_pool::RawPinnedPool<Object<SIZE>>);

impl<const SIZE: usize> Store for InfinityPool<SIZE> {
    const NAME: &'static str = "infinity_pool (raw, pinned)";
    type Key = infinity_pool::RawPooledMut<Object<SIZE>>;

    fn make() -> Self {
        InfinityPool(infinity_pool::RawPinnedPool::new())
    }

    #[inline(always)]
    fn alloc(&mut self, word: usize) -> Self::Key {
        self.0.insert(Object::new(word))
    }

    #[inline(always)]
    unsafe fn free(&mut self, key: Self::Key) {
        // SAFETY: the caller's promise: the handle is of this pool.
        unsafe { self.0.remove(key) };
    }

    #[inline(always)]
    fn address(&mut self, key: &Self::Key) -> *mut usize {
        key.ptr().as_ptr().cast()
    }
}

pub(crate) struct SharedArena<const SIZE: usize>(shared_arena::Pool<Object<SIZE>>);

impl<const SIZE: usize> Store for SharedArena<SIZE> {
    const NAME: &'static str = "shared_arena::Pool";
    type Key = shared_arena::PoolBox<Object<SIZE>>;

    fn make() -> Self {
        SharedArena(shared_arena::Pool::new())
    }

    #[inline(always)]
    fn alloc(&mut self, word: usize) -> Self::Key {
        self.0.alloc(Object::new(word))
    }

    #[inline(always)]
    unsafe fn free(&mut self, key: Self::Key) {
        drop(key);
    }

    #[inline(always)]
    fn address(&mut self, key: &Self::Key) -> *mut usize {
        key.address()
    }
}

pub(crate) struct Refpool<const SIZE: usize>(refpool::Pool<Object<SIZE>>);

impl<const SIZE: usize> Store for Refpool<SIZE> {
    const NAME: &'static str = "refpool";
    type Key = refpool::PoolBox<Object<SIZE>>;

    fn make() -> Self {
        Refpool(refpool::Pool::new(KEPT))
    }

    #[inline(always)]
    fn alloc(&mut self, word: usize) -> Self::Key {
        refpool::PoolBox::new(&self.0, Object::new(word))
    }

    #[inline(always)]
    unsafe fn free(&mut self, key: Self::Key) {
        drop(key);
    }

    #[inline(always)]
    fn address(&mut self, key: &Self::Key) -> *mut usize {
        key.address()
    }
}

/// Its guards borrow it, so it has a fixed place.
pub(crate) struct Opool<const SIZE: usize>(NonNull<opool::LocalPool<Boxes, Box<Object<SIZE>>>>);

pub(crate) struct Boxes;

impl<const SIZE: usize> opool::PoolAllocator<Box<Object<SIZE>>> for Boxes {
    fn allocate(&self) -> Box<Object<SIZE>> {
        Box::new(Object::new(0))
    }
}

impl<const SIZE: usize> Store for Opool<SIZE> {
    const NAME: &'static str = "opool (local)";
    type Key = opool::RefLocalGuard<'static, Boxes, Box<Object<SIZE>>>;

    fn make() -> Self {
        Opool(NonNull::from(Box::leak(Box::new(opool::LocalPool::new(KEPT, Boxes)))))
    }

    #[inline(always)]
    fn alloc(&mut self, word: usize) -> Self::Key {
        // SAFETY: the pool is dropped after its guards.
        let pool = unsafe { self.0.as_ref() };
        let guard = pool.get();
        // SAFETY: the object is this guard's, and aligned.
        unsafe { guard.address().write(word) };
        guard
    }

    #[inline(always)]
    unsafe fn free(&mut self, key: Self::Key) {
        drop(key);
    }

    #[inline(always)]
    fn address(&mut self, key: &Self::Key) -> *mut usize {
        key.address()
    }
}

impl<const SIZE: usize> Drop for Opool<SIZE> {
    fn drop(&mut self) {
        // SAFETY: leaked by `make`, and all guards are gone.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}
