//! Pools of values: they keep boxes.

use crate::pool::{Object, Objects, Pool, Shared};

/// An object in memory of its own, uninitialised as far as the crate can tell.
fn new_box<const SIZE: usize>() -> Box<Object<SIZE>> {
    Box::new(Object::new(0))
}

/// A box of an object from such a pool, by the object's address.
fn into_pointer<const SIZE: usize>(object: Box<Object<SIZE>>) -> *mut u8 {
    Box::into_raw(object).cast()
}

/// # Safety
/// `ptr` is of `into_pointer`, and used once.
unsafe fn from_pointer<const SIZE: usize>(ptr: *mut u8) -> Box<Object<SIZE>> {
    // SAFETY: the caller's promise.
    unsafe { Box::from_raw(ptr.cast()) }
}

impl<const SIZE: usize> Objects for object_pool::Pool<Box<Object<SIZE>>> {
    #[inline(always)]
    fn alloc(&mut self) -> *mut u8 {
        into_pointer(self.pull(new_box).detach().1)
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8) {
        // SAFETY: live objects are of `alloc` above, and freed once.
        self.attach(unsafe { from_pointer(ptr) });
    }
}

impl<const SIZE: usize> Pool for object_pool::Pool<Box<Object<SIZE>>> {
    const NAME: &'static str = "object-pool";

    fn make() -> Self {
        object_pool::Pool::new(0, new_box)
    }
}

// SAFETY: an object is nobody's but the thread's that has its box.
unsafe impl<const SIZE: usize> Send for Object<SIZE> {}

impl Shared for object_pool::Pool<Box<Object<64>>> {
    const NAME: &'static str = <Self as Pool>::NAME;
    type Handle<'a> = &'a Self;

    fn make() -> Self {
        Pool::make()
    }

    fn handle(&self) -> &Self {
        self
    }
}

impl<const SIZE: usize> Objects for &object_pool::Pool<Box<Object<SIZE>>> {
    #[inline(always)]
    fn alloc(&mut self) -> *mut u8 {
        into_pointer(self.pull(new_box).detach().1)
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8) {
        // SAFETY: live objects are of `alloc` above, and freed once.
        self.attach(unsafe { from_pointer(ptr) });
    }
}

pub(crate) struct Boxed<const SIZE: usize>(Box<Object<SIZE>>);

impl<const SIZE: usize> lifeguard::Recycleable for Boxed<SIZE> {
    fn new() -> Self {
        Boxed(new_box())
    }

    fn reset(&mut self) {}
}

impl<const SIZE: usize> Objects for lifeguard::Pool<Boxed<SIZE>> {
    #[inline(always)]
    fn alloc(&mut self) -> *mut u8 {
        into_pointer(self.detached().0)
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8) {
        // SAFETY: live objects are of `alloc` above, and freed once.
        drop(self.attach(Boxed(unsafe { from_pointer(ptr) })));
    }
}

impl<const SIZE: usize> Pool for lifeguard::Pool<Boxed<SIZE>> {
    const NAME: &'static str = "lifeguard";

    fn make() -> Self {
        Self::with_size(0)
    }
}
