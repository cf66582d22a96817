//! Pools of other crates. Where a crate gives out keys or guards instead of pointers, those stand for the objects; where it keeps
//! values instead of memory, it keeps boxes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::NonNull;

use crate::construct::{Session, Sessions, VisitSessions};
use crate::global::Via;
use crate::pool::{Kind, Object, Objects, Pool, Shared, Store, Visit, VisitShared};

pub(crate) fn visit<const SIZE: usize>(visit: &mut impl Visit) {
    visit.visit::<Slabbin<SIZE>>();
    visit.visit::<Slabmalloc<SIZE>>();
    visit.visit::<InfinityPool<SIZE>>();
    visit.visit::<SharedArena<SIZE>>();
    visit.visit::<slab::Slab<Object<SIZE>>>();
    visit.visit::<slotmap::SlotMap<slotmap::DefaultKey, Object<SIZE>>>();
    visit.visit::<thunderdome::Arena<Object<SIZE>>>();
    visit.visit::<generational_arena::Arena<Object<SIZE>>>();
    visit.visit::<obj_pool::ObjPool<Object<SIZE>>>();
    visit.visit::<sharded_slab::Slab<Object<SIZE>>>();
    visit.visit::<Refpool<SIZE>>();
    visit.visit::<lifeguard::Pool<Boxed<SIZE>>>();
    visit.visit::<Opool<SIZE>>();
    visit.visit::<object_pool::Pool<Box<Object<SIZE>>>>();
    visit.visit::<typed_arena::Arena<Object<SIZE>>>();
}

pub(crate) fn visit_shared(visit: &mut impl VisitShared) {
    visit.visit::<object_pool::Pool<Box<Object<64>>>>();
}

pub(crate) fn visit_sessions(visit: &mut impl VisitSessions) {
    visit.visit::<object_pool::Pool<Kept>>();
    visit.visit::<lifeguard::Pool<Kept>>();
}

// --- pools of memory, by pointer ---

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

// --- pools whose handles own the object ---

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

/// Objects that a pool with a bound may keep.
const KEPT: usize = 1_000_000;

// --- containers, by key ---

impl<const SIZE: usize> Store for slab::Slab<Object<SIZE>> {
    const NAME: &'static str = "slab";
    type Key = usize;

    fn make() -> Self {
        Self::new()
    }

    #[inline(always)]
    fn alloc(&mut self, word: usize) -> usize {
        self.insert(Object::new(word))
    }

    #[inline(always)]
    unsafe fn free(&mut self, key: usize) {
        self.remove(key);
    }

    #[inline(always)]
    fn address(&mut self, key: &usize) -> *mut usize {
        self[*key].address()
    }
}

impl<const SIZE: usize> Store for slotmap::SlotMap<slotmap::DefaultKey, Object<SIZE>> {
    const NAME: &'static str = "slotmap";
    type Key = slotmap::DefaultKey;

    fn make() -> Self {
        Self::new()
    }

    #[inline(always)]
    fn alloc(&mut self, word: usize) -> slotmap::DefaultKey {
        self.insert(Object::new(word))
    }

    #[inline(always)]
    unsafe fn free(&mut self, key: slotmap::DefaultKey) {
        self.remove(key);
    }

    #[inline(always)]
    fn address(&mut self, key: &slotmap::DefaultKey) -> *mut usize {
        self[*key].address()
    }
}

impl<const SIZE: usize> Store for thunderdome::Arena<Object<SIZE>> {
    const NAME: &'static str = "thunderdome";
    type Key = thunderdome::Index;

    fn make() -> Self {
        Self::new()
    }

    #[inline(always)]
    fn alloc(&mut self, word: usize) -> thunderdome::Index {
        self.insert(Object::new(word))
    }

    #[inline(always)]
    unsafe fn free(&mut self, key: thunderdome::Index) {
        self.remove(key);
    }

    #[inline(always)]
    fn address(&mut self, key: &thunderdome::Index) -> *mut usize {
        self[*key].address()
    }
}

impl<const SIZE: usize> Store for generational_arena::Arena<Object<SIZE>> {
    const NAME: &'static str = "generational-arena";
    type Key = generational_arena::Index;

    fn make() -> Self {
        Self::new()
    }

    #[inline(always)]
    fn alloc(&mut self, word: usize) -> generational_arena::Index {
        self.insert(Object::new(word))
    }

    #[inline(always)]
    unsafe fn free(&mut self, key: generational_arena::Index) {
        self.remove(key);
    }

    #[inline(always)]
    fn address(&mut self, key: &generational_arena::Index) -> *mut usize {
        self[*key].address()
    }
}

impl<const SIZE: usize> Store for obj_pool::ObjPool<Object<SIZE>> {
    const NAME: &'static str = "obj-pool";
    type Key = obj_pool::ObjId;

    fn make() -> Self {
        Self::new()
    }

    #[inline(always)]
    fn alloc(&mut self, word: usize) -> obj_pool::ObjId {
        self.insert(Object::new(word))
    }

    #[inline(always)]
    unsafe fn free(&mut self, key: obj_pool::ObjId) {
        self.remove(key);
    }

    #[inline(always)]
    fn address(&mut self, key: &obj_pool::ObjId) -> *mut usize {
        self[*key].address()
    }
}

impl<const SIZE: usize> Store for sharded_slab::Slab<Object<SIZE>> {
    const NAME: &'static str = "sharded-slab";
    type Key = usize;

    fn make() -> Self {
        Self::new()
    }

    #[inline(always)]
    fn alloc(&mut self, word: usize) -> usize {
        self.insert(Object::new(word)).unwrap_or_else(|| panic!("sharded-slab has no more room"))
    }

    #[inline(always)]
    unsafe fn free(&mut self, key: usize) {
        self.remove(key);
    }

    fn address(&mut self, key: &usize) -> *mut usize {
        self.get(*key).map_or(std::ptr::null_mut(), |object| object.address())
    }
}

// --- pools of values: they keep boxes ---

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

/// Its guards borrow it, so it has a fixed place.
pub(crate) struct Opool<const SIZE: usize>(NonNull<opool::LocalPool<Boxes, Box<Object<SIZE>>>>);

pub(crate) struct Boxes;

impl<const SIZE: usize> opool::PoolAllocator<Box<Object<SIZE>>> for Boxes {
    fn allocate(&self) -> Box<Object<SIZE>> {
        new_box()
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

// --- constructed objects ---

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
    fn write(handle: &mut Kept, bytes: &[u8]) {
        handle.0.write(bytes);
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
    fn write(handle: &mut Kept, bytes: &[u8]) {
        handle.0.write(bytes);
    }

    #[inline]
    fn give(&mut self, handle: Kept) {
        drop(self.attach(handle));
    }
}
