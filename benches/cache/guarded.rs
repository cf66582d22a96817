//! What a lock around a pool costs.

use std::cell::UnsafeCell;

use heapwright::lock::{Lock, SpinLock, StdLock};

use crate::field;
use crate::pair::Pair;
use crate::pool::{Objects, Pool, Shared, Store, Visit};
use crate::race::{Column, Race, Section};

pub(crate) const SECTION: Section = Section {
    name: "lock",
    what: "allocates an object and frees it, under a lock that nobody else wants",
    note: "nanoseconds per allocation and free of 64 bytes: the lock is taken twice",
    columns,
};

fn columns(_: bool) -> Vec<Column> {
    vec![column::<SpinLock>("SpinLock"), column::<StdLock>("StdLock")]
}

fn column<L: Lock + 'static>(label: &'static str) -> Column {
    Column {
        table: "64 B".to_string(),
        label: label.to_string(),
        heavy: false,
        start: Box::new(|| {
            let mut start = Start { racers: Vec::new() };
            field::visit_locked::<L>(&mut start);
            start.racers
        }),
    }
}

struct Start {
    racers: Vec<Box<dyn Race>>,
}

impl Visit for Start {
    fn visit<S: Store>(&mut self) {
        self.racers.push(Box::new(Pair::<S>::new(0)));
    }
}

/// A pool behind a lock; the number says under which name.
pub(crate) struct Guarded<L, P, const VARIANT: usize> {
    lock: L,
    pool: UnsafeCell<P>,
}

// SAFETY: the pool is used under the lock only, and the pools here may be used by any thread.
unsafe impl<L: Send, P, const VARIANT: usize> Send for Guarded<L, P, VARIANT> {}
// SAFETY: as above.
unsafe impl<L: Sync, P, const VARIANT: usize> Sync for Guarded<L, P, VARIANT> {}

impl<L: Lock, P: Pool, const VARIANT: usize> Guarded<L, P, VARIANT> {
    #[inline(always)]
    fn locked_alloc(&self) -> *mut u8 {
        let object = self.lock.with(|| {
            // SAFETY: under the lock this is the only reference.
            unsafe { &mut *self.pool.get() }.alloc()
        });
        object.unwrap_or_else(|| panic!("a lock that was free refused"))
    }

    /// # Safety
    /// As `Objects::free`.
    #[inline(always)]
    unsafe fn locked_free(&self, ptr: *mut u8) {
        self.lock.with(|| {
            // SAFETY: under the lock this is the only reference.
            let pool = unsafe { &mut *self.pool.get() };
            // SAFETY: the caller's promise is the same.
            unsafe { Objects::free(pool, ptr) }
        });
    }
}

impl<L: Lock, P: Pool, const VARIANT: usize> Objects for Guarded<L, P, VARIANT> {
    #[inline(always)]
    fn alloc(&mut self) -> *mut u8 {
        self.locked_alloc()
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.locked_free(ptr) }
    }
}

impl<L: Lock, P: Pool, const VARIANT: usize> Objects for &Guarded<L, P, VARIANT> {
    #[inline(always)]
    fn alloc(&mut self) -> *mut u8 {
        self.locked_alloc()
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.locked_free(ptr) }
    }
}

impl<L: Lock + 'static, P: Pool, const VARIANT: usize> Pool for Guarded<L, P, VARIANT> {
    const NAME: &'static str = [
        "(floor: the bare lock, twice)",
        "toy: one list, locked",
        "toy: one list, SpinLock",
        "toy: one list, StdLock",
    ][VARIANT];

    fn make() -> Self {
        Guarded { lock: L::INIT, pool: UnsafeCell::new(P::make()) }
    }
}

impl<L: Lock + Send + Sync + 'static, P: Pool, const VARIANT: usize> Shared for Guarded<L, P, VARIANT> {
    const NAME: &'static str = <Self as Pool>::NAME;
    type Handle<'a> = &'a Self;

    fn make() -> Self {
        Pool::make()
    }

    fn handle(&self) -> &Self {
        self
    }
}
