//! The edges of slab caches: what a user's own parts may say and do, and what may be sent where.
#![cfg(feature = "std")]
#![expect(clippy::expect_used, reason = "a test that can not go on says why and stops")]
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::marker::PhantomPinned;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::MutexGuard;

use heapwright::cache::{
    Classes, DefaultInit, FnInit, Handle, Init, KeepAll, KeepSlabs, Magazined, Obj, ObjectAlloc, ObjectCache,
    PerCpu, PinnedObj, ReleaseAtOnce, Retention, SlabCache, SlabHeap, UntypedObjectAlloc, WithReset,
};
use heapwright::heap::{Locked, NoHeap};
use heapwright::lock::{Lock, NoLock, OwnerChecked, SpinLock};
use heapwright::slab::{AlignedSlabs, Bitmap, FreeObjects, IndexStack, LargeSlabs, SlabSystem};
use heapwright::source::{GlobalHeap, SourceHeap};
use static_assertions::{assert_impl_all, assert_not_impl_any};

type Slabs = AlignedSlabs<GlobalHeap, 1024>;
/// Objects that are sent but not shared, shared but not sent, and neither.
type Sent<L> = ObjectCache<Cell<u8>, DefaultInit, Slabs, L>;
type Shared<L> = ObjectCache<MutexGuard<'static, ()>, FnInit<fn() -> MutexGuard<'static, ()>>, Slabs, L>;
type Neither<L> = ObjectCache<Rc<u8>, DefaultInit, Slabs, L>;
/// An initialiser that can't be shared.
type ByCell<L> = ObjectCache<u8, FnInit<Box<dyn Fn() -> u8 + Send>>, Slabs, L>;
/// A source that can't be sent.
type Local<'a> = &'a Locked<SourceHeap<GlobalHeap>, NoLock>;

assert_impl_all!(Sent<SpinLock>: Send, Sync);
assert_impl_all!(Sent<NoLock>: Send);
assert_not_impl_any!(Sent<NoLock>: Sync);
assert_not_impl_any!(Shared<SpinLock>: Send, Sync);
assert_not_impl_any!(Neither<SpinLock>: Send, Sync);
assert_not_impl_any!(ByCell<SpinLock>: Sync);
assert_not_impl_any!(SlabCache<AlignedSlabs<Local<'static>, 1024>, SpinLock>: Send, Sync);
assert_not_impl_any!(ObjectCache<u8, DefaultInit, AlignedSlabs<Local<'static>, 1024>, SpinLock>: Send, Sync);
assert_not_impl_any!(SlabHeap<Classes, Slabs, SourceHeap<Local<'static>>>: Send, Sync);
assert_impl_all!(SlabHeap<Classes, Slabs, NoHeap>: Send);
assert_not_impl_any!(SlabHeap<Classes, Slabs, NoHeap>: Sync);
assert_impl_all!(Locked<SlabHeap<Classes, Slabs, NoHeap>, SpinLock>: Send, Sync);
assert_impl_all!(AlignedSlabs<Local<'static>>: Send);
assert_not_impl_any!(AlignedSlabs<GlobalHeap>: Sync);
assert_not_impl_any!(LargeSlabs<GlobalHeap>: Sync);

assert_impl_all!(Obj<'static, Cell<u8>, Sent<SpinLock>>: Send);
assert_not_impl_any!(Obj<'static, Cell<u8>, Sent<SpinLock>>: Sync);
assert_not_impl_any!(Obj<'static, Cell<u8>, Sent<NoLock>>: Send);
assert_not_impl_any!(Obj<'static, MutexGuard<'static, ()>, Shared<SpinLock>>: Send);
assert_impl_all!(Obj<'static, MutexGuard<'static, ()>, Shared<SpinLock>>: Sync);
assert_not_impl_any!(Obj<'static, u8>: Send);
assert_not_impl_any!(PinnedObj<Rc<u8>, Neither<SpinLock>>: Send, Sync);
assert_not_impl_any!(PinnedObj<PhantomPinned, ObjectCache<PhantomPinned, DefaultInit, Slabs>>: Unpin);

assert_impl_all!(Handle<'static, Sent<SpinLock>>: Send);
assert_not_impl_any!(Handle<'static, Sent<SpinLock>>: Sync);
assert_not_impl_any!(Handle<'static, Sent<NoLock>>: Send, Sync);
assert_not_impl_any!(Handle<'static, Neither<SpinLock>>: Send, Sync);
assert_not_impl_any!(Handle<'static, Sent<SpinLock>, NoLock>: Send, Sync);
assert_not_impl_any!(Magazined<Sent<SpinLock>, NoLock>: Sync);
assert_not_impl_any!(Magazined<Neither<SpinLock>>: Send, Sync);
assert_impl_all!(Magazined<Sent<NoLock>>: Send);
assert_not_impl_any!(Magazined<Sent<NoLock>>: Sync);
assert_impl_all!(PerCpu<Magazined<Sent<SpinLock>>, 2>: Send, Sync);
assert_not_impl_any!(PerCpu<Magazined<Neither<SpinLock>>, 2>: Send, Sync);

/// Keeps nothing, and says so by the greatest number that there is.
#[derive(Debug)]
struct AllGo;

// SAFETY: nothing unwinds or uses a cache.
unsafe impl Retention for AllGo {
    const NEW: Self = AllGo;

    fn surplus(&mut self, _: usize) -> usize {
        usize::MAX
    }
}

#[test]
fn a_policy_may_want_more_gone_than_there_is() {
    type Texts = ObjectCache<String, DefaultInit, LargeSlabs<GlobalHeap, 512>, NoLock, AllGo, 4>;
    let texts = Texts::over(GlobalHeap);
    for _ in 0..3 {
        let some: Vec<_> = (0..100).map(|_| texts.alloc().expect("there is memory")).collect();
        let places: BTreeSet<_> = some.iter().map(|text| &raw const **text).collect();
        assert_eq!(places.len(), some.len(), "an object was handed out twice");
        drop(some);
        texts.tick();
        assert_eq!((texts.stats().slabs, texts.verify()), (0, Ok(())));
    }
}

thread_local! {
    /// What user code does next: numbers of a generator.
    static RANDOM: Cell<u64> = const { Cell::new(0) };
    /// How deep user code is in user code.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// Objects that have been made and not destroyed.
    static MADE: Cell<usize> = const { Cell::new(0) };
    /// Objects that are out, by address.
    static OUT: RefCell<BTreeSet<usize>> = const { RefCell::new(BTreeSet::new()) };
}

fn random(below: u64) -> u64 {
    RANDOM.with(|state| {
        state
            .set(state.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
        (state.get() >> 33) % below
    })
}

/// An object that knows whether it is one.
struct Item {
    /// What makes it larger than a pointer, and shows whether another one lies over it.
    marks: [u64; 5],
    last: u64,
}

const MARK: u64 = 0x1234_5678_9ABC_DEF0;

impl Item {
    fn new() -> Self {
        user_code();
        MADE.set(MADE.get() + 1);
        Item { marks: [MARK; 5], last: MARK }
    }

    fn check(&self) {
        assert_eq!((self.marks, self.last), ([MARK; 5], MARK), "not an object");
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        self.check();
        self.last = 0;
        MADE.set(MADE.get() - 1);
        user_code();
    }
}

/// The cache under test, whatever its type.
trait Face {
    fn act(&'static self);
}

thread_local! {
    static FACE: Cell<Option<&'static dyn Face>> = const { Cell::new(None) };
}

/// What constructors, hooks and destructors do: use the cache, unwind, or nothing.
fn user_code() {
    let depth = DEPTH.get();
    if depth > 3 || std::thread::panicking() {
        return;
    }
    DEPTH.set(depth + 1);
    struct Up(u32);
    impl Drop for Up {
        fn drop(&mut self) {
            DEPTH.set(self.0);
        }
    }
    let _up = Up(depth);
    match random(8) {
        0 => panic::resume_unwind(Box::new(())),
        1 | 2 => {
            if let Some(face) = FACE.get() {
                face.act();
            }
        }
        _ => {}
    }
}

/// A cache, and objects that are out.
struct Under<C: ObjectAlloc<Item> + 'static> {
    cache: &'static C,
    out: RefCell<Vec<Obj<'static, Item, C>>>,
    acts: fn(&'static C, u64),
}

impl<C: ObjectAlloc<Item> + 'static> Face for Under<C> {
    fn act(&'static self) {
        for _ in 0..=random(6) {
            let taken = match random(10) {
                0..4 => {
                    if let Ok(object) = Obj::new(self.cache) {
                        object.check();
                        let place = &raw const *object as usize;
                        assert!(OUT.with_borrow_mut(|out| out.insert(place)), "handed out twice");
                        self.out.borrow_mut().push(object);
                    }
                    None
                }
                4..9 => {
                    let mut out = self.out.borrow_mut();
                    let len = out.len() as u64;
                    (len > 0).then(|| out.swap_remove(random(len) as usize))
                }
                _ => {
                    (self.acts)(self.cache, random(3));
                    None
                }
            };
            let Some(mut object) = taken else { continue };
            object.check();
            let place = &raw const *object as usize;
            assert!(OUT.with_borrow_mut(|out| out.remove(&place)), "not handed out");
            match random(6) {
                0 => drop(Obj::into_inner(object)),
                1 => Obj::destroy(object),
                2 => *object = Item::new(),
                _ => drop(object),
            }
        }
    }
}

/// What `act` does with a front, by its number.
fn act_on_front<C: UntypedObjectAlloc>(front: &Handle<'_, C, NoLock, 3, 1>, act: u64) {
    match act {
        0 => front.flush(),
        1 => _ = front.magazined().reap(),
        _ => _ = front.magazined().trim(),
    }
}

/// What `act` does with a cache.
fn act_on_cache<I, S, L, R, const FRONT: usize>(cache: &ObjectCache<Item, I, S, L, R, FRONT>, act: u64)
where
    I: Init<Item>,
    S: SlabSystem,
    L: Lock,
    R: Retention,
{
    match act {
        0 => cache.trim(1),
        1 => cache.reap(),
        _ => cache.tick(),
    };
}

fn run<I, S, L, R, const FRONT: usize>(init: I, fronted: bool)
where
    I: Init<Item> + 'static,
    S: SlabSystem<Source = GlobalHeap> + 'static,
    L: Lock + 'static,
    R: Retention + 'static,
{
    type Layer<C> = Magazined<C, NoLock, 3, 1>;
    let cache = ObjectCache::<Item, I, S, L, R, FRONT>::new(GlobalHeap, init);
    let layer = Box::into_raw(Box::new(Layer::new(cache)));
    // SAFETY: the layer lives until the end of this function, and all that borrows it is gone by then.
    let shared: &'static Layer<_> = unsafe { &*layer };
    if fronted {
        let front = Box::into_raw(Box::new(shared.handle()));
        // SAFETY: as above, for the front.
        drive(unsafe { &*front }, act_on_front);
        // SAFETY: it was made by `into_raw`, and nobody uses it any more.
        drop(unsafe { Box::from_raw(front) });
        shared.reap();
    } else {
        drive(shared.cache(), act_on_cache);
    }
    let cache = shared.cache();
    assert_eq!((cache.stats().live, cache.verify()), (0, Ok(())), "something is lost");
    if random(2) == 0 {
        cache.reap();
        assert_eq!((cache.stats().slabs, MADE.get()), (0, 0), "an object is lost");
    }
    // SAFETY: it was made by `into_raw`, and nobody uses it any more.
    drop(unsafe { Box::from_raw(layer) });
    assert_eq!(MADE.get(), 0, "an object was not destroyed");
}

/// So often user code is let loose on each cache: `HEAPWRIGHT_SHORT=1` a tenth as often, for where all is slow.
fn rounds() -> u32 {
    match std::env::var_os("HEAPWRIGHT_SHORT") {
        _ if cfg!(miri) => 30,
        Some(_) => 300,
        None => 3000,
    }
}

fn drive<C: ObjectAlloc<Item> + 'static>(cache: &'static C, acts: fn(&'static C, u64)) {
    let under = Box::into_raw(Box::new(Under { cache, out: RefCell::default(), acts }));
    // SAFETY: it lives until the end of this function, where nobody knows it any more.
    let shared: &'static Under<C> = unsafe { &*under };
    FACE.set(Some(shared));
    DEPTH.set(0);
    for round in 0..rounds() {
        // The outcome is not of interest: what unwinds is user code.
        let _ = panic::catch_unwind(AssertUnwindSafe(|| shared.act()));
        assert_eq!(DEPTH.get(), 0, "round {round}");
    }
    // From here on user code does nothing.
    DEPTH.set(100);
    OUT.with_borrow_mut(BTreeSet::clear);
    for object in shared.out.take() {
        object.check();
        drop(object);
    }
    FACE.set(None);
    // SAFETY: it was made by `into_raw`, and nobody uses it any more.
    drop(unsafe { Box::from_raw(under) });
}

/// Constructors, reset hooks and destructors that use the cache, and that unwind, at any moment: nothing is lost, no object is handed out
/// twice or destroyed twice.
#[test]
fn user_code_may_do_anything() {
    fn all<K: FreeObjects + 'static, L: Lock + 'static, R: Retention + 'static>() {
        fn init() -> impl Init<Item> {
            WithReset(FnInit(Item::new), |item: &mut Item| {
                item.check();
                user_code();
            })
        }
        for seed in 0..if cfg!(miri) { 1 } else { 4 } {
            RANDOM.set(seed);
            for fronted in [false, true] {
                run::<_, AlignedSlabs<GlobalHeap, 512, K>, L, R, 0>(init(), fronted);
                run::<_, LargeSlabs<GlobalHeap, 300, K>, L, R, 1>(init(), fronted);
                run::<_, AlignedSlabs<GlobalHeap, 1024, K>, L, R, 2>(init(), fronted);
                run::<_, LargeSlabs<GlobalHeap, 777, K>, L, R, 7>(init(), fronted);
            }
        }
    }
    all::<Bitmap, NoLock, ReleaseAtOnce>();
    all::<IndexStack, NoLock, KeepAll>();
    all::<Bitmap, OwnerChecked<SpinLock>, KeepSlabs<1>>();
    all::<IndexStack, OwnerChecked<SpinLock>, ReleaseAtOnce>();
}

thread_local! {
    /// How many objects of type `Once` there are.
    static ONCES: Cell<usize> = const { Cell::new(0) };
    /// Whether a destructor has unwound.
    static UNWOUND: Cell<bool> = const { Cell::new(false) };
}

/// An object of whose kind one destructor unwinds, the first.
struct Once {
    _bytes: [u8; 64],
}

impl Default for Once {
    fn default() -> Self {
        ONCES.set(ONCES.get() + 1);
        Once { _bytes: [0; 64] }
    }
}

impl Drop for Once {
    fn drop(&mut self) {
        ONCES.set(ONCES.get() - 1);
        if !UNWOUND.replace(true) {
            panic::resume_unwind(Box::new("the first destructor"));
        }
    }
}

/// A cache that destroys objects as soon as they come back, each in a slab of its own.
type Onces = ObjectCache<Once, DefaultInit, LargeSlabs<GlobalHeap, 136>, NoLock, ReleaseAtOnce, 0>;

/// So many objects, made and given back, are at hand in a front.
fn put_at_hand<C: ObjectAlloc<Once>>(count: usize, front: &C) {
    UNWOUND.set(false);
    let before = ONCES.get();
    let some: Vec<_> = (0..count).map(|_| Obj::new(front).expect("there is memory")).collect();
    drop(some);
    assert_eq!((ONCES.get() - before, UNWOUND.get()), (count, false));
}

/// Runs `end`, in which a destructor unwinds.
fn unwinds(end: impl FnOnce()) {
    panic::catch_unwind(AssertUnwindSafe(end)).expect_err("a destructor unwinds");
}

#[test]
fn a_destructor_that_unwinds_holds_up_no_other_object() {
    let layer = Magazined::<Onces, NoLock, 4, 0>::new(Onces::over(GlobalHeap));
    let front = layer.handle();
    put_at_hand(8, &front);
    unwinds(|| drop(front));
    assert_eq!((layer.cache().stats().live, ONCES.get()), (0, 0), "those of a handle");

    let layer = Magazined::<Onces, NoLock, 2, 6>::new(Onces::over(GlobalHeap));
    let front = layer.handle();
    put_at_hand(8, &front);
    drop(front);
    assert_eq!((layer.stats().magazines, ONCES.get()), (4, 8));
    unwinds(|| drop(layer));
    assert_eq!(ONCES.get(), 0, "those of a depot");

    thread_local!(static CPU: Cell<usize> = const { Cell::new(0) });
    let layer = Magazined::<Onces, NoLock, 2, 0>::new(Onces::over(GlobalHeap));
    let fronts = PerCpu::<_, 3>::new(layer, || CPU.get());
    for number in 0..3 {
        CPU.set(number);
        put_at_hand(4, &fronts);
    }
    unwinds(|| fronts.flush());
    assert_eq!((fronts.magazined().cache().stats().live, ONCES.get()), (0, 0), "those of all CPUs");
}

/// What the user calls things hides nothing that [`magazined!`](heapwright::magazined) names, and the other way round.
#[test]
fn a_declared_layer_may_have_any_name() {
    const FRONT: usize = 0;
    const POINTER: usize = 2;
    type Numbers = ObjectCache<u64, DefaultInit, Slabs, SpinLock, KeepAll, FRONT>;
    heapwright::magazined! {
        static NUMBERS as Front: Magazined<ObjectCache<u64, DefaultInit, Slabs, SpinLock, KeepAll, FRONT>, SpinLock, POINTER> =
            Magazined::new(Numbers::over(GlobalHeap));
    }
    assert_eq!(Obj::new(&Front).map(|number| *number), Ok(0));
    Front.flush();
    NUMBERS.reap();
    assert_eq!(NUMBERS.cache().stats().live, 0);
}
