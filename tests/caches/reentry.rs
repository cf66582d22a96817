//! User code that comes back to the cache that called it, and a source that does so against its contract: no hang, no object twice.

use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::cache::{
    DefaultInit, FnInit, Init, KeepAll, ObjectAlloc, ObjectCache, ReleaseAtOnce, Retention,
    UntypedObjectAlloc, WithReset,
};
use heapwright::lock::{Lock, NoLock, OwnerChecked, SpinLock, StdLock, TicketLock};
use heapwright::slab::{AlignedSlabs, IndexStack, LargeSlabs, SlabSystem};
use heapwright::source::{BackingSource, GlobalHeap};

use crate::items::{Item, Tally};

/// Items in a slab of 1 KiB.
const SLAB: usize = 7;

thread_local! {
    /// How deep user code is nested.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// How often it has run.
    static RUNS: Cell<usize> = const { Cell::new(0) };
}

/// Runs `work` unless it is nested too deep.
fn nested(deepest: usize, work: impl FnOnce()) {
    if DEPTH.get() < deepest {
        DEPTH.set(DEPTH.get() + 1);
        work();
        DEPTH.set(DEPTH.get() - 1);
        RUNS.set(RUNS.get() + 1);
    }
}

/// A value that lives as long as the test says.
struct Lasting<V: 'static>(&'static V);

impl<V> Lasting<V> {
    fn new(value: V) -> Self {
        Lasting(Box::leak(Box::new(value)))
    }

    /// # Safety
    /// Nobody uses the reference any more.
    unsafe fn end(self) {
        // SAFETY: made by `new`; the rest is the caller's promise.
        drop(unsafe { Box::from_raw(std::ptr::from_ref(self.0).cast_mut()) });
    }
}

/// Takes some objects and puts them back, in one way or the other.
fn use_it<C: ObjectAlloc<Item<'static>>>(cache: &C) {
    let object = cache.alloc_object().unwrap();
    let mut more = [MaybeUninit::uninit(); 3];
    let count = cache.alloc_slots(&mut more).unwrap();
    // SAFETY: it has just come from the cache.
    unsafe { object.as_ref() }.check();
    for slot in &more[..count] {
        // SAFETY: so many have been written.
        let slot = unsafe { slot.assume_init() };
        assert_ne!(slot, object.cast());
        // SAFETY: as above.
        unsafe { slot.cast::<Item<'_>>().as_ref() }.check();
        // SAFETY: the slot is out.
        unsafe { cache.free_object(slot.cast()) };
    }
    // SAFETY: the object is out.
    unsafe { cache.free_object(object) };
}

/// Constructors, reset hooks and destructors that all use the cache.
fn everything_comes_back<S, L, R, const FRONT: usize>()
where
    S: SlabSystem<Source = GlobalHeap> + 'static,
    L: Lock + 'static,
    R: Retention + 'static,
{
    let tally = Lasting::new(Tally::default());
    let counted = tally.0;
    let init = WithReset(FnInit(|| counted.make()), |item: &mut Item<'static>| counted.reset(item));
    let cache = Lasting::new(ObjectCache::<_, _, S, L, R, FRONT>::new(GlobalHeap, init));
    run(counted, cache.0);
    // SAFETY: the objects' hooks, which use the cache, were taken away.
    unsafe { cache.end() };
    assert_eq!((counted.alive(), counted.made.get()), (0, counted.destroyed.get()));
    // SAFETY: the cache is gone.
    unsafe { tally.end() };
}

fn run<I, S, L, R, const FRONT: usize>(
    tally: &'static Tally,
    cache: &'static ObjectCache<Item<'static>, I, S, L, R, FRONT>,
) where
    I: Init<Item<'static>>,
    S: SlabSystem,
    L: Lock,
    R: Retention,
{
    *tally.on_make.borrow_mut() = Some(Box::new(|call| {
        if call % 3 == 0 {
            nested(3, || use_it(cache));
        }
    }));
    *tally.on_reset.borrow_mut() = Some(Box::new(|_| nested(2, || use_it(cache))));
    *tally.on_destroy.borrow_mut() = Some(Box::new(|_| {
        nested(2, || {
            use_it(cache);
            cache.verify().unwrap();
        });
    }));
    RUNS.set(0);
    let mut items = Vec::new();
    for round in 0..5 {
        items.extend((0..5 * SLAB).map(|_| cache.try_alloc().map_err(drop).unwrap()));
        items.iter().for_each(|item| item.check());
        items.truncate([30, 0, 10, 50, 0][round]);
        cache.verify().unwrap();
        match round % 3 {
            0 => cache.reap(),
            1 => cache.trim(1),
            _ => cache.tick(),
        };
        assert_eq!(cache.stats().live, items.len());
        assert!(cache.stats().slabs < 60, "destructors that use the cache: {:?}", cache.stats());
    }
    assert!(RUNS.get() > 100);
    *tally.on_make.borrow_mut() = None;
    *tally.on_reset.borrow_mut() = None;
    *tally.on_destroy.borrow_mut() = None;
    cache.reap();
    assert_eq!((cache.stats().slabs, tally.alive()), (0, 0));
}

#[test]
fn user_code_may_use_its_own_cache() {
    everything_comes_back::<AlignedSlabs<GlobalHeap, 1024>, NoLock, KeepAll, 0>();
    everything_comes_back::<AlignedSlabs<GlobalHeap, 1024>, NoLock, KeepAll, 32>();
    everything_comes_back::<AlignedSlabs<GlobalHeap, 1024, IndexStack>, SpinLock, KeepAll, 1>();
    everything_comes_back::<AlignedSlabs<GlobalHeap, 1024>, StdLock, ReleaseAtOnce, 3>();
    everything_comes_back::<LargeSlabs<GlobalHeap, 1024>, TicketLock, KeepAll, 0>();
    everything_comes_back::<
        LargeSlabs<GlobalHeap, 1024, IndexStack>,
        OwnerChecked<SpinLock>,
        ReleaseAtOnce,
        32,
    >();
    everything_comes_back::<LargeSlabs<GlobalHeap, 1024>, NoLock, ReleaseAtOnce, 2>();
}

/// Destructors that reap, take out, and destroy, while their own slab is on its way out.
#[test]
fn destructors_may_reap() {
    fn check<S: SlabSystem<Source = GlobalHeap> + 'static, const FRONT: usize>() {
        let tally = Lasting::new(Tally::default());
        let counted = tally.0;
        let init = FnInit(|| counted.make());
        let cache =
            Lasting::new(ObjectCache::<Item<'static>, _, S, SpinLock, KeepAll, FRONT>::new(GlobalHeap, init));
        let used = cache.0;
        drop((0..10 * SLAB).map(|_| used.alloc().unwrap()).collect::<Vec<_>>());
        let kept = used.alloc().unwrap();
        *counted.on_destroy.borrow_mut() = Some(Box::new(|_| {
            nested(3, || {
                used.reap();
                used.verify().unwrap();
            });
        }));
        let slabs = used.stats().slabs;
        assert!(used.reap() < slabs, "those that a nested call released were counted there");
        assert_eq!((used.stats().slabs, used.stats().live), (1, 1));
        kept.check();
        drop(kept);
        used.reap();
        assert_eq!(counted.alive(), 0);
        *counted.on_destroy.borrow_mut() = None;
        // SAFETY: nobody uses it any more.
        unsafe { cache.end() };
        // SAFETY: the cache is gone.
        unsafe { tally.end() };
    }
    check::<AlignedSlabs<GlobalHeap, 1024>, 0>();
    check::<LargeSlabs<GlobalHeap, 1024>, 8>();
}

type Call = Box<dyn Fn()>;

thread_local! {
    /// What the source does before its work.
    static CALL: RefCell<Option<Call>> = const { RefCell::new(None) };
}

/// A source that calls the cache it serves, against its contract (B5).
struct Turncoat {
    /// True during a call.
    inside: bool,
}

impl Turncoat {
    fn betray(&mut self) {
        assert!(!self.inside, "a second `&mut` to the source");
        self.inside = true;
        CALL.with_borrow(|call| {
            if let Some(call) = call {
                call();
                RUNS.set(RUNS.get() + 1);
            }
        });
        self.inside = false;
    }
}

// SAFETY: B1 to B4: the global heap's, and assertions that hold. B5 is broken; the lock must see to that nothing comes of it.
unsafe impl BackingSource for Turncoat {
    const GRANULE: usize = GlobalHeap::GRANULE;
    const ALIGN_MAX: usize = GlobalHeap::ALIGN_MAX;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.betray();
        GlobalHeap.acquire(layout)
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        self.betray();
        // SAFETY: the caller's promise is the same.
        unsafe { GlobalHeap.release(block, layout) };
    }
}

fn betrayed<S: SlabSystem<Source = Turncoat> + 'static, L: Lock + 'static, const FRONT: usize>() {
    let source = Turncoat { inside: false };
    let cache = Lasting::new(ObjectCache::<u64, DefaultInit, S, L, KeepAll, FRONT>::over(source));
    let used = cache.0;
    let slot = used.slot_layout();
    CALL.set(Some(Box::new(move || {
        assert!(used.alloc().is_err(), "let in");
        assert!(used.alloc_slot().is_err(), "let in");
        assert_eq!((used.reap(), used.tick(), used.stats()), (0, 0, Default::default()));
        assert_eq!(used.slabs().count(), 0);
        assert_eq!(used.slot_layout(), slot, "the layout never changes");
        used.verify().unwrap();
    })));
    RUNS.set(0);
    let mut items = Vec::new();
    for number in 0..1000 {
        let mut item = used.alloc().unwrap();
        *item = number;
        items.push(item);
    }
    assert!(items.iter().zip(0..).all(|(item, number)| **item == number));
    assert_eq!(used.stats().live, 1000);
    drop(items);
    assert!(used.reap() > 5);
    assert!(RUNS.get() > 10);
    CALL.set(None);
    // SAFETY: nobody uses it any more.
    unsafe { cache.end() };
}

#[test]
fn a_source_that_comes_back_is_refused() {
    betrayed::<AlignedSlabs<Turncoat, 1024>, NoLock, 0>();
    betrayed::<AlignedSlabs<Turncoat, 1024>, OwnerChecked<SpinLock>, 32>();
    betrayed::<LargeSlabs<Turncoat, 1000>, NoLock, 32>();
    betrayed::<LargeSlabs<Turncoat, 1000>, OwnerChecked<StdLock>, 3>();
}
