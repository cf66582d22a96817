//! What takes part in the races: anything that allocates one object and frees one.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

/// One object out, one object back.
pub(crate) trait Objects {
    /// A block of the pool's object size.
    fn alloc(&mut self) -> *mut u8;

    /// # Safety
    /// `ptr` is a live object of this pool.
    unsafe fn free(&mut self, ptr: *mut u8);
}

/// A pool of one thread, of objects of one size, known at compile time.
pub(crate) trait Pool: Objects + 'static {
    /// As in the tables.
    const NAME: &'static str;
    const KIND: Kind = Kind::Ordinary;
    /// Spared the workloads with more live objects, because its time grows with their number.
    const LIVE_MAX: usize = usize::MAX;

    fn make() -> Self;
}

/// A pool that several threads work in, each with a handle of its own.
pub(crate) trait Shared: Send + Sync + 'static {
    /// As in the tables.
    const NAME: &'static str;
    type Handle<'a>: Objects;

    fn make() -> Self;

    /// What the calling thread works with.
    fn handle(&self) -> Self::Handle<'_>;
}

/// What a pool can be used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Ordinary,
    /// Objects are freed all at once.
    FillOnly,
    /// No pool, but what the workload itself costs: objects overlap.
    Floor,
    /// The least that a pool can do, with few objects.
    ListFloor,
    /// Takes part in the races about cache sets only.
    Layout,
}

/// What the workloads see: a `Pool`, or a container whose keys stand for pointers.
pub(crate) trait Store: 'static {
    const NAME: &'static str;
    const KIND: Kind = Kind::Ordinary;
    const LIVE_MAX: usize = usize::MAX;
    /// What an object is freed by.
    type Key;

    fn make() -> Self;

    /// An object whose first word has this value.
    fn alloc(&mut self, word: usize) -> Self::Key;

    /// # Safety
    /// `key` is of a live object of this store, which is not used any more.
    unsafe fn free(&mut self, key: Self::Key);

    /// Where the object lies, until more objects are live than ever before.
    fn address(&mut self, key: &Self::Key) -> *mut usize;

    /// Called when no object is live.
    fn clear(&mut self) {}
}

impl<P: Pool> Store for P {
    const NAME: &'static str = P::NAME;
    const KIND: Kind = P::KIND;
    const LIVE_MAX: usize = P::LIVE_MAX;
    type Key = *mut u8;

    fn make() -> Self {
        P::make()
    }

    #[inline(always)]
    fn alloc(&mut self, word: usize) -> *mut u8 {
        let ptr = Objects::alloc(self);
        // SAFETY: the object is live, aligned to 8 bytes, and of at least 16.
        unsafe { ptr.cast::<usize>().write(word) };
        ptr
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8) {
        // SAFETY: the caller's promise is the same.
        unsafe { Objects::free(self, ptr) }
    }

    #[inline(always)]
    fn address(&mut self, ptr: &*mut u8) -> *mut usize {
        ptr.cast()
    }
}

/// Something to be done with a kind of pool.
pub(crate) trait Visit {
    fn visit<S: Store>(&mut self);
}

/// Something to be done with a kind of shared pool.
pub(crate) trait VisitShared {
    fn visit<S: Shared>(&mut self);
}

/// What the typed containers hold: `SIZE` bytes, of which only the first word is ever written.
#[repr(C)]
pub(crate) union Bytes<const SIZE: usize> {
    word: usize,
    _bytes: MaybeUninit<[u8; SIZE]>,
}

/// An object that can be written to through a shared reference: some containers give no other.
pub(crate) struct Object<const SIZE: usize>(UnsafeCell<Bytes<SIZE>>);

impl<const SIZE: usize> Object<SIZE> {
    #[inline(always)]
    pub(crate) const fn new(word: usize) -> Self {
        Object(UnsafeCell::new(Bytes { word }))
    }

    #[inline(always)]
    pub(crate) const fn address(&self) -> *mut usize {
        self.0.get().cast()
    }
}
