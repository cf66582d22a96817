//! Pools of values, for constructed objects.

use std::alloc::System;

use crate::construct::{Session, Sessions};
use crate::global::Via;

/// A session that a pool keeps.
pub(crate) struct Kept(Box<Session<Via<System>>>);

impl Kept {
    fn new() -> Self {
        Kept(Box::new(Session::new_in(Via::default())))
    }
}

impl Sessions for object_pool::Pool<Kept> {
    const NAME: &'static str = "object-pool";
    type Handle = Kept;

    fn make() -> Self {
        object_pool::Pool::new(0, Kept::new)
    }

    #[inline]
    fn take(&mut self) -> Kept {
        self.pull(Kept::new).detach().1
    }

    #[inline]
    fn write(handle: &mut Kept, byte: u8) {
        handle.0.write(byte);
    }

    #[inline]
    fn give(&mut self, mut handle: Kept) {
        handle.0.reset();
        self.attach(handle);
    }
}

impl lifeguard::Recycleable for Kept {
    fn new() -> Self {
        Kept::new()
    }

    fn reset(&mut self) {
        self.0.reset();
    }
}

impl Sessions for lifeguard::Pool<Kept> {
    const NAME: &'static str = "lifeguard";
    type Handle = Kept;

    fn make() -> Self {
        Self::with_size(0)
    }

    #[inline]
    fn take(&mut self) -> Kept {
        self.detached()
    }

    #[inline]
    fn write(handle: &mut Kept, byte: u8) {
        handle.0.write(byte);
    }

    #[inline]
    fn give(&mut self, handle: Kept) {
        drop(self.attach(handle));
    }
}
