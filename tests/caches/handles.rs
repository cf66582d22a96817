//! Handles: what they are worth, where they go, and what becomes of their objects. Objects without size, and with a large alignment.

use std::cell::Cell;
use std::marker::PhantomPinned;
use std::mem::{self, MaybeUninit};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use heapwright::AllocError;
use heapwright::cache::{
    DefaultInit, FnInit, KeepAll, NewObjectError, Obj, ObjectAlloc, ObjectCache, PinnedObj, SlabCache,
    TryInit, Uninit, UntypedObjectAlloc, WithReset,
};
use heapwright::lock::{NoLock, SpinLock};
use heapwright::slab::{AlignedSlabs, Bitmap, IndexStack, LargeSlabs, SlabSystem};
use heapwright::source::{Counted, GlobalHeap, StaticBuffer};
use static_assertions::{assert_eq_size, assert_impl_all, assert_not_impl_any};

use crate::items::{Item, Tally};
use crate::ledger::{Ledger, Via};

type Slabs = AlignedSlabs<GlobalHeap, 1024>;
type Shared<T> = ObjectCache<T, DefaultInit, Slabs, SpinLock>;
type Local<T> = ObjectCache<T, DefaultInit, Slabs, NoLock>;
type NotSend = *const u8;
type NotSync = Cell<u8>;

// A handle is two words, an erased one three, and an `Option` of one no more.
assert_eq_size!(Obj<'static, [u64; 9], Shared<[u64; 9]>>, [usize; 2]);
assert_eq_size!(Option<Obj<'static, [u64; 9], Shared<[u64; 9]>>>, [usize; 2]);
assert_eq_size!(Obj<'static, u64>, [usize; 3]);
assert_eq_size!(Pin<PinnedObj<u64, Shared<u64>>>, [usize; 2]);
// Handles go to other threads if the object may and the cache can be shared; they are shared if the object can be.
assert_impl_all!(Obj<'static, NotSync, ObjectCache<NotSync, DefaultInit, Slabs, SpinLock>>: Send);
assert_not_impl_any!(Obj<'static, NotSync, ObjectCache<NotSync, DefaultInit, Slabs, SpinLock>>: Sync);
assert_not_impl_any!(Obj<'static, u8, Local<u8>>: Send);
assert_impl_all!(Obj<'static, u8, Local<u8>>: Sync);
assert_impl_all!(PinnedObj<u8, Shared<u8>>: Send, Sync);
assert_not_impl_any!(PinnedObj<u8, Local<u8>>: Send);
// What an erased cache may do on other threads is not known.
assert_not_impl_any!(Obj<'static, u8>: Send);
assert_impl_all!(Obj<'static, u8, dyn ObjectAlloc<u8> + Send + Sync>: Send);
// A cache can be shared if it has a lock, its objects may be sent and its initialiser be shared.
type By<I, L> = ObjectCache<NotSync, I, Slabs, L>;
assert_impl_all!(By<DefaultInit, SpinLock>: Send, Sync);
assert_impl_all!(By<DefaultInit, NoLock>: Send);
assert_not_impl_any!(By<DefaultInit, NoLock>: Sync);
assert_impl_all!(ObjectCache<NotSync, FnInit<fn() -> NotSync>, LargeSlabs<GlobalHeap>, SpinLock>: Send, Sync);
type Pointers = ObjectCache<NotSend, FnInit<fn() -> NotSend>, Slabs, SpinLock>;
assert_not_impl_any!(Pointers: Send, Sync);
assert_not_impl_any!(Obj<'static, NotSend, Pointers>: Send, Sync);
/// An initialiser that threads can't share.
type Shy = FnInit<ShyFn>;
struct ShyFn(#[expect(dead_code, reason = "it makes the type `!Sync`")] Cell<u8>);
assert_not_impl_any!(WithReset<DefaultInit, Cell<u8>>: Sync);
assert_impl_all!(Shy: Send);
assert_not_impl_any!(Shy: Sync);
// Raw memory has no type to mind.
assert_impl_all!(SlabCache<Slabs, SpinLock>: Send, Sync);
assert_not_impl_any!(SlabCache<Slabs, NoLock>: Sync);
// A source that stays on its thread keeps the cache there.
assert_not_impl_any!(SlabCache<AlignedSlabs<Via<'static>, 1024>, SpinLock>: Send, Sync);

fn counted<'t, S: SlabSystem, const FRONT: usize>(
    source: S::Source,
    tally: &'t Tally,
) -> ObjectCache<Item<'t>, FnInit<impl Fn() -> Item<'t>>, S, NoLock, KeepAll, FRONT> {
    ObjectCache::new(source, FnInit(|| tally.make()))
}

#[test]
fn handles_come_and_go() {
    let ledger = Ledger::default();
    let tally = Tally::default();
    let cache = counted::<AlignedSlabs<Via<'_>, 1024>, 4>(ledger.source(), &tally);

    // As it is, by way of a raw pointer.
    let item = cache.alloc().unwrap();
    let number = item.number;
    let raw = Obj::into_raw(item);
    assert_eq!(cache.stats().live, 1, "no longer handled, still out");
    // SAFETY: the object is from this cache, and handed back once.
    let item = unsafe { Obj::from_raw(raw, &cache) };
    item.check();
    // Its cache's type forgotten; the object does not move.
    let erased: Obj<'_, Item<'_>> = Obj::erase(item);
    erased.check();
    drop(erased);
    assert_eq!((tally.destroyed.get(), cache.stats().live), (0, 0));
    let again = cache.alloc().unwrap();
    assert_eq!(again.number, number, "recycled");

    // Destroyed now: the next in its place is made anew.
    let place = Obj::into_raw(again);
    // SAFETY: as above.
    Obj::destroy(unsafe { Obj::from_raw(place, &cache) });
    assert_eq!((tally.alive(), cache.stats().live), (0, 0));
    let next = cache.alloc().unwrap();
    assert_ne!(next.number, number);

    // Moved out: it lives on elsewhere, and is destroyed there.
    let number = next.number;
    let moved = Obj::into_inner(next);
    assert_eq!((moved.number, moved.body[0], cache.stats().live), (number, number as u64, 0));
    assert_eq!(tally.alive(), 1);
    cache.reap();
    assert_eq!((cache.stats().slabs, tally.alive()), (0, 1));
    drop(moved);
    assert_eq!(tally.alive(), 0);

    // Through the trait, and through a reference to the cache.
    let item = Obj::new(&cache).unwrap();
    let by_reference = &&cache;
    let other = Obj::new(by_reference).unwrap();
    assert_ne!(item.number, other.number);
    drop((item, other));
    let any: &dyn ObjectAlloc<Item<'_>> = &cache;
    let item = Obj::new(any).unwrap();
    item.check();
    drop(item);
    drop(cache);
    assert_eq!((tally.alive(), ledger.blocks(), ledger.faults()), (0, 0, vec![]));
}

/// An object that must not move once it is pinned.
struct Tied {
    here: Cell<*const Tied>,
    _pin: PhantomPinned,
}

static TIED_DROPPED: AtomicUsize = AtomicUsize::new(0);

impl Drop for Tied {
    fn drop(&mut self) {
        let here = self.here.get();
        assert!(here.is_null() || std::ptr::eq(here, self), "moved after it was pinned");
        TIED_DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: the pointer is only compared.
unsafe impl Send for Tied {}

#[test]
fn a_pinned_object_is_destroyed_where_it_is() {
    static RAM: StaticBuffer<4096> = StaticBuffer::new();
    type Cache =
        ObjectCache<Tied, FnInit<fn() -> Tied>, AlignedSlabs<&'static StaticBuffer<4096>, 1024>, SpinLock>;
    static CACHE: Cache =
        ObjectCache::new(&RAM, FnInit(|| Tied { here: Cell::new(std::ptr::null()), _pin: PhantomPinned }));
    for round in 0..10 {
        let pinned = Obj::into_pin(CACHE.alloc().unwrap());
        assert!(pinned.here.get().is_null(), "never one that was pinned before");
        pinned.here.set(&raw const *pinned);
        assert_eq!(TIED_DROPPED.load(Ordering::Relaxed), round);
        drop(pinned);
        assert_eq!(TIED_DROPPED.load(Ordering::Relaxed), round + 1);
    }
    // One that is forgotten stays for good.
    let pinned = Obj::into_pin(CACHE.alloc().unwrap());
    pinned.here.set(&raw const *pinned);
    let here = pinned.here.get();
    mem::forget(pinned);
    assert_eq!((CACHE.reap(), CACHE.stats().live), (0, 1));
    // SAFETY: a forgotten object of a cache in a static.
    assert_eq!(unsafe { (*here).here.get() }, here);
}

thread_local! {
    static EMPTY_MADE: Cell<usize> = const { Cell::new(0) };
    static EMPTY_DROPPED: Cell<usize> = const { Cell::new(0) };
}

/// No bytes, but a constructor and a destructor.
struct Empty;

impl Default for Empty {
    fn default() -> Self {
        EMPTY_MADE.set(EMPTY_MADE.get() + 1);
        Empty
    }
}

impl Drop for Empty {
    fn drop(&mut self) {
        EMPTY_DROPPED.set(EMPTY_DROPPED.get() + 1);
    }
}

/// Objects without size have addresses of their own, and are made and destroyed as often as others.
fn without_size<T: Default, S: SlabSystem<Source = GlobalHeap>>(count: usize) {
    let cache = ObjectCache::<T, DefaultInit, S>::over(GlobalHeap);
    EMPTY_MADE.set(0);
    EMPTY_DROPPED.set(0);
    let all: Vec<_> = (0..count).map(|_| cache.alloc().unwrap()).collect();
    let mut addresses: Vec<_> = all.iter().map(|empty| std::ptr::from_ref(&**empty).addr()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), count);
    assert!(addresses.iter().all(|address| address % align_of::<T>() == 0));
    assert_eq!(cache.slot_layout().align(), align_of::<T>());
    drop(all);
    drop(cache.alloc().unwrap());
    cache.verify().unwrap();
    if mem::needs_drop::<T>() {
        assert_eq!((EMPTY_MADE.get(), EMPTY_DROPPED.get()), (count, 0));
        drop(cache);
        assert_eq!((EMPTY_MADE.get(), EMPTY_DROPPED.get()), (count, count));
    }
}

#[test]
fn objects_without_size_are_objects() {
    #[derive(Default)]
    #[repr(align(256))]
    struct Aligned;
    without_size::<Empty, AlignedSlabs<GlobalHeap>>(5000);
    without_size::<Empty, AlignedSlabs<GlobalHeap, 256, IndexStack>>(500);
    without_size::<Empty, LargeSlabs<GlobalHeap, 300>>(700);
    without_size::<(), LargeSlabs<GlobalHeap>>(5000);
    without_size::<Aligned, AlignedSlabs<GlobalHeap, 4096>>(100);
    without_size::<bool, AlignedSlabs<GlobalHeap, 0, IndexStack>>(5000);
}

/// A word, aligned to two pages.
#[repr(align(8192))]
struct Page2(u64);

/// A word, aligned to a megabyte: too large for the stack, with its padding.
#[repr(align(1048576))]
struct Huge(u64);

/// Objects aligned above a page, in their places, which are never initialised as a whole.
fn aligned<T, S: SlabSystem>(source: S::Source, count: u64) {
    let cache = ObjectCache::<MaybeUninit<T>, Uninit, S>::new(source, Uninit);
    let mut all: Vec<_> = (0..count).map(|_| cache.alloc().unwrap()).collect();
    for (number, object) in (0..).zip(&mut all) {
        let word = object.as_mut_ptr().cast::<u64>();
        assert_eq!(word.addr() % align_of::<T>(), 0);
        // SAFETY: the first word of the object.
        unsafe { word.write(number) };
    }
    for (number, object) in (0..).zip(&all) {
        // SAFETY: the first word of the object, which was written above.
        assert_eq!(unsafe { object.as_ptr().cast::<u64>().read() }, number);
    }
    cache.verify().unwrap();
}

#[test]
fn objects_may_be_aligned_above_a_page() {
    assert_eq!((Page2(1).0, size_of::<Huge>(), mem::offset_of!(Huge, 0)), (1, 1 << 20, 0));
    aligned::<Page2, AlignedSlabs<GlobalHeap>>(GlobalHeap, 100);
    aligned::<Page2, LargeSlabs<GlobalHeap>>(GlobalHeap, 100);
    aligned::<Huge, AlignedSlabs<GlobalHeap>>(GlobalHeap, 10);
    aligned::<Huge, LargeSlabs<GlobalHeap>>(GlobalHeap, 10);
    #[cfg(all(feature = "os", not(miri)))]
    {
        use heapwright::source::Pages;
        aligned::<Page2, AlignedSlabs<Pages>>(Pages, 100);
        aligned::<Page2, LargeSlabs<Pages>>(Pages, 100);
        aligned::<Huge, AlignedSlabs<Pages>>(Pages, 10);
        aligned::<Huge, LargeSlabs<Pages>>(Pages, 10);
    }
}

/// After random frees, what is taken comes from the fullest slabs, so that the sparse ones drain and go back.
fn drains<S: SlabSystem<Source = Counted<GlobalHeap>>, const FRONT: usize>() {
    let cache =
        ObjectCache::<[u64; 4], DefaultInit, S, NoLock, KeepAll, FRONT>::over(Counted::new(GlobalHeap));
    let mut random = 0x5EED_u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize
    };
    let mut live: Vec<_> = (0..20_000).map(|_| cache.alloc().unwrap()).collect();
    let full = cache.stats().slabs;
    // Nine of ten go, at random: hardly any slab is free then.
    while live.len() > 2000 {
        let pick = next() % live.len();
        drop(live.swap_remove(pick));
    }
    cache.reap();
    let scattered = cache.stats().slabs;
    assert!(scattered > full * 9 / 10, "{scattered} of {full}");
    // So many out, so many in, at random; more than are at hand.
    for _ in 0..400 {
        for _ in 0..150 {
            let pick = next() % live.len();
            drop(live.swap_remove(pick));
        }
        live.extend((0..150).map(|_| cache.alloc().unwrap()));
    }
    cache.reap();
    cache.verify().unwrap();
    let stats = cache.stats();
    assert_eq!(stats.live, 2000);
    let needed = full / 10;
    assert!(stats.slabs < needed * 2, "{} slabs where {needed} are needed: {stats:?}", stats.slabs);
    assert!(stats.slabs_peak <= full, "{stats:?}");
}

#[test]
fn sparse_slabs_drain() {
    drains::<AlignedSlabs<Counted<GlobalHeap>, 4096, Bitmap>, 0>();
    drains::<AlignedSlabs<Counted<GlobalHeap>, 4096, IndexStack>, 32>();
    drains::<LargeSlabs<Counted<GlobalHeap>, 4096, Bitmap>, 3>();
}

/// The error of an initialiser comes through, and can be asked for its source.
#[test]
fn the_error_of_an_initialiser_comes_through() {
    let parse = || "12x".parse::<u32>();
    let cache = ObjectCache::<u32, _, Slabs>::new(GlobalHeap, TryInit(parse));
    let Err(error) = cache.try_alloc() else { panic!("it parsed") };
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.to_string().ends_with(&source), "{error}");
    assert!(cache.alloc_object().is_err());
    assert_eq!((cache.stats().live, cache.stats().slabs, cache.reap()), (0, 1, 1));
}

/// A reference to a cache is that cache: each call goes there, hooks and destructors too.
#[test]
fn a_reference_to_a_cache_is_a_cache() {
    let (ledger, tally) = (Ledger::default(), Tally::default());
    let init = WithReset(FnInit(|| tally.make()), |item: &mut Item<'_>| tally.reset(item));
    let cache =
        ObjectCache::<_, _, AlignedSlabs<Via<'_>, 1024>, NoLock, KeepAll, 4>::new(ledger.source(), init);
    let by_reference = &&cache;
    fn live<C: UntypedObjectAlloc>(cache: &C, mut live: impl FnMut() -> usize) {
        let slot = cache.alloc_slot().unwrap();
        let mut out = [MaybeUninit::uninit(); 3];
        let count = cache.alloc_slots(&mut out).unwrap();
        assert_eq!(live(), 1 + count);
        // SAFETY: so many were filled.
        let slots: Vec<_> = out[..count].iter().map(|slot| unsafe { slot.assume_init() }).collect();
        // SAFETY: they were handed out above, and come back once.
        unsafe { cache.free_slots(&slots) };
        // SAFETY: as above.
        unsafe { cache.free_slot(slot) };
        assert_eq!(live(), 0);
    }
    live(by_reference, || cache.stats().live);
    assert_eq!(by_reference.slot_layout(), cache.slot_layout());
    let made = tally.made.get();
    drop(Obj::new(by_reference).unwrap());
    assert_eq!((tally.reset.get(), tally.destroyed.get()), (1, 0));
    Obj::destroy(Obj::new(by_reference).unwrap());
    assert_eq!(tally.destroyed.get(), 1);
    let item = Obj::into_inner(Obj::new(by_reference).unwrap());
    assert_eq!((tally.destroyed.get(), cache.stats().live), (1, 0));
    drop(item);
    assert!(tally.made.get() >= made);
    drop(cache);
    assert_eq!((tally.alive(), ledger.blocks(), ledger.faults()), (0, 0, vec![]));
}

/// What went wrong is told, and what it was for.
#[test]
fn an_error_names_its_source() {
    let error = NewObjectError::<std::num::ParseIntError>::from(AllocError);
    assert_eq!(error, NewObjectError::Alloc(AllocError));
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!((source.to_string(), source.is::<AllocError>()), (error.to_string(), true));
}
