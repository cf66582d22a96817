//! This crate's caches, as the benches see them: the one file to change when there is another.

use std::alloc::{Layout, System};
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

use heapwright::cache::{
    AtRunTime, DefaultInit, Exactly, Handle, KeepAll, Magazined, ObjectAlloc, ObjectCache, SlabCache,
    UntypedObjectAlloc,
};
use heapwright::lock::{Lock, NoLock, SpinLock, StdLock};
use heapwright::slab::{AlignedSlabs, Bitmap, ByStride, IndexStack, IntrusiveList, NoColor, SlabSystem};
use heapwright::source::Pages;

use crate::construct::{Session, Sessions, VisitSessions};
use crate::global::Via;
use crate::mix::layout;
use crate::pool::{Kind, Objects, Pool, Shared, Visit, VisitShared};

/// The name of the variant that the others are compared to.
pub(crate) const OURS: &str = "heapwright";

/// The variants.
const NAMES: [&str; 11] = [
    OURS,
    "heapwright: 32 at hand",
    "heapwright: none at hand",
    "heapwright: intrusive list",
    "heapwright: index stack",
    "heapwright: layout at run time",
    "heapwright: no color",
    "heapwright: SpinLock",
    "heapwright: StdLock",
    "heapwright: magazines by handle",
    "heapwright: magazines by thread",
];

type Slabs<K = Bitmap, C = ByStride, const SLAB_SIZE: usize = 0> = AlignedSlabs<Pages, SLAB_SIZE, K, C>;
type Raw<const SIZE: usize, S = Slabs, L = NoLock, const FRONT: usize = 128> =
    SlabCache<S, L, Exactly<SIZE, 8>, KeepAll, FRONT>;

/// Every variant for one thread, the one that the others are compared to first.
pub(crate) fn visit<const SIZE: usize>(visit: &mut impl Visit) {
    visit.visit::<Cache<Raw<SIZE>, 0>>();
    visit.visit::<Cache<Raw<SIZE, Slabs, NoLock, 32>, 1>>();
    visit.visit::<Cache<Raw<SIZE, Slabs, NoLock, 0>, 2>>();
    visit.visit::<Cache<Raw<SIZE, Slabs<IntrusiveList>>, 3>>();
    visit.visit::<Cache<Raw<SIZE, Slabs<IndexStack, ByStride, 0x10000>>, 4>>();
    visit.visit::<Cache<RunTime<SIZE>, 5>>();
    visit.visit::<Magazines<SIZE>>();
}

/// The variants whose objects of large sizes lie in different cache sets, and those whose do not.
pub(crate) fn visit_layouts<const SIZE: usize>(visit: &mut impl Visit) {
    visit.visit::<Cache<Raw<SIZE>, 0>>();
    visit.visit::<Cache<Raw<SIZE, Slabs<Bitmap, NoColor>>, 6>>();
}

/// What is behind a lock.
pub(crate) fn visit_locked<L: Lock + 'static>(visit: &mut impl Visit) {
    visit.visit::<Cache<Raw<64, Slabs, L>, 0>>();
}

/// What several threads may share, for objects of 64 bytes.
pub(crate) fn visit_shared(visit: &mut impl VisitShared) {
    visit.visit::<Depot>();
    visit.visit::<PerThreadDepot>();
    visit.visit::<Cache<Raw<64, Slabs, SpinLock>, 7>>();
    visit.visit::<Cache<Raw<64, Slabs, StdLock>, 8>>();
}

/// What keeps constructed objects.
pub(crate) fn visit_sessions(visit: &mut impl VisitSessions) {
    visit.visit::<Objects256>();
}

/// A cache of raw memory; the number says under which name.
pub(crate) struct Cache<C, const VARIANT: usize>(C);

/// A cache over pages of the OS.
pub(crate) trait New: UntypedObjectAlloc + 'static {
    fn new() -> Self;
}

impl<const SIZE: usize, S, L, const FRONT: usize> New for Raw<SIZE, S, L, FRONT>
where
    S: SlabSystem<Source = Pages> + 'static,
    L: Lock + 'static,
{
    fn new() -> Self {
        Self::over(Pages)
    }
}

/// A cache that does not know its layout at compile time.
pub(crate) struct RunTime<const SIZE: usize>(SlabCache<Slabs, NoLock, AtRunTime>);

// SAFETY: as the cache within.
unsafe impl<const SIZE: usize> UntypedObjectAlloc for RunTime<SIZE> {
    fn slot_layout(&self) -> Layout {
        self.0.slot_layout()
    }

    #[inline]
    fn alloc_slot(&self) -> Result<NonNull<u8>, heapwright::AllocError> {
        self.0.alloc_slot()
    }

    #[inline]
    unsafe fn free_slot(&self, slot: NonNull<u8>) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.free_slot(slot) }
    }
}

impl<const SIZE: usize> New for RunTime<SIZE> {
    fn new() -> Self {
        match SlabCache::with_layout(Pages, layout(SIZE, 8)) {
            Ok(cache) => RunTime(cache),
            Err(_) => panic!("no slab of pages holds such objects"),
        }
    }
}

impl<C: UntypedObjectAlloc, const VARIANT: usize> Objects for Cache<C, VARIANT> {
    #[inline(always)]
    fn alloc(&mut self) -> *mut u8 {
        self.0.alloc_slot().map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8) {
        let Some(slot) = NonNull::new(ptr) else { return };
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.free_slot(slot) }
    }
}

impl<C: UntypedObjectAlloc, const VARIANT: usize> Objects for &Cache<C, VARIANT> {
    #[inline(always)]
    fn alloc(&mut self) -> *mut u8 {
        self.0.alloc_slot().map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8) {
        let Some(slot) = NonNull::new(ptr) else { return };
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.free_slot(slot) }
    }
}

impl<C: New, const VARIANT: usize> Pool for Cache<C, VARIANT> {
    const NAME: &'static str = NAMES[VARIANT];
    const KIND: Kind = Kind::Ordinary;

    fn make() -> Self {
        Cache(C::new())
    }
}

impl<C: New + Send + Sync, const VARIANT: usize> Shared for Cache<C, VARIANT> {
    const NAME: &'static str = NAMES[VARIANT];
    type Handle<'a> = &'a Self;

    fn make() -> Self {
        Cache(C::new())
    }

    fn handle(&self) -> &Self {
        self
    }
}

/// What is behind magazines: nothing at hand, since they are.
type Behind<const SIZE: usize> = Raw<SIZE, Slabs, SpinLock, 0>;

/// Magazines for several threads, each with a handle.
pub(crate) struct Depot(Magazined<Behind<64>>);

impl Shared for Depot {
    const NAME: &'static str = NAMES[9];
    type Handle<'a> = Cache<Handle<'a, Behind<64>>, 9>;

    fn make() -> Self {
        Depot(Magazined::new(New::new()))
    }

    fn handle(&self) -> Self::Handle<'_> {
        Cache(self.0.handle())
    }
}

heapwright::magazined! {
    pub(crate) static NODES as Nodes: Magazined<Behind<64>> = Magazined::new(SlabCache::over(Pages));
}

/// Magazines for several threads, each of which finds its own: one cache for the whole program.
pub(crate) struct PerThreadDepot;

impl Shared for PerThreadDepot {
    const NAME: &'static str = NAMES[10];
    type Handle<'a> = Cache<Nodes, 10>;

    fn make() -> Self {
        PerThreadDepot
    }

    fn handle(&self) -> Self::Handle<'_> {
        Cache(Nodes)
    }
}

/// Magazines, one of whose users is this thread.
pub(crate) struct Magazines<const SIZE: usize> {
    handle: ManuallyDrop<Handle<'static, Behind<SIZE>>>,
    depot: *mut Magazined<Behind<SIZE>>,
}

impl<const SIZE: usize> Objects for Magazines<SIZE> {
    #[inline(always)]
    fn alloc(&mut self) -> *mut u8 {
        self.handle.alloc_slot().map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8) {
        let Some(slot) = NonNull::new(ptr) else { return };
        // SAFETY: the caller's promise is the same.
        unsafe { self.handle.free_slot(slot) }
    }
}

impl<const SIZE: usize> Pool for Magazines<SIZE> {
    const NAME: &'static str = NAMES[9];

    fn make() -> Self {
        let depot: *mut Magazined<Behind<SIZE>> = Box::into_raw(Box::new(Magazined::new(New::new())));
        // SAFETY: the box lives until this value is dropped, which drops the handle first.
        let handle = unsafe { &*depot }.handle();
        Magazines { handle: ManuallyDrop::new(handle), depot }
    }
}

impl<const SIZE: usize> Drop for Magazines<SIZE> {
    fn drop(&mut self) {
        // SAFETY: it is dropped here only, and not used any more.
        unsafe { ManuallyDrop::drop(&mut self.handle) };
        // SAFETY: of `make`; the handle was the only one that borrowed it.
        drop(unsafe { Box::from_raw(self.depot) });
    }
}

type Kept = Session<Via<System>>;

/// Constructed objects.
pub(crate) struct Objects256(ObjectCache<Kept, DefaultInit, Slabs>);

impl Sessions for Objects256 {
    const NAME: &'static str = OURS;
    type Handle = NonNull<Kept>;

    fn make() -> Self {
        Objects256(ObjectCache::over(Pages))
    }

    #[inline]
    fn take(&mut self) -> NonNull<Kept> {
        self.0.alloc_object().unwrap_or_else(|_| panic!("no pages"))
    }

    #[inline]
    fn write(handle: &mut NonNull<Kept>, byte: u8) {
        // SAFETY: the session is live, and the handle's alone.
        unsafe { handle.as_mut() }.write(byte);
    }

    #[inline]
    fn give(&mut self, mut handle: NonNull<Kept>) {
        // SAFETY: the session is live, and the handle's alone.
        unsafe { handle.as_mut() }.reset();
        // SAFETY: as above, and it is not used any more.
        unsafe { self.0.free_object(handle) };
    }
}
