//! A panic at each call of user code in turn: constructors, reset hooks and destructors, in caches with every lock, with and without magazines.
//! Nothing is lost, nothing is destroyed twice, no lock stays taken, and all goes on.

use std::alloc::Layout;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use heapwright::cache::{
    FnInit, Init, KeepAll, Magazined, Obj, ObjectAlloc, ObjectCache, ReleaseAtOnce, Retention, UntypedCache,
    UntypedObjectAlloc, WithReset,
};
#[cfg(feature = "critical-section")]
use heapwright::lock::CriticalSectionLock;
#[cfg(feature = "lock_api")]
use heapwright::lock::LockApi;
use heapwright::lock::{Lock, NoLock, OwnerChecked, SpinLock, StdLock, TicketLock, YieldLock};
use heapwright::slab::{AlignedSlabs, IndexStack, LargeSlabs, SlabSystem};

use crate::items::{Item, Tally, up};
use crate::ledger::{Ledger, Via};

/// Each of so many first calls panics in turn.
const CALLS: usize = 64;

/// What the tests panic with. It does not go through the panic hook, so that nothing is printed.
struct Intended;

/// Calls of user code, of which one panics.
struct Calls {
    count: Cell<usize>,
    panics: usize,
    seen: Cell<usize>,
}

impl Calls {
    fn new(panics: usize) -> Self {
        Calls { count: Cell::new(0), panics, seen: Cell::new(0) }
    }

    fn call(&self) {
        if up(&self.count) == self.panics {
            resume_unwind(Box::new(Intended));
        }
    }

    /// Does something that may meet the panic.
    fn guarded(&self, work: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            assert!(panic.is::<Intended>(), "it panicked by itself");
            up(&self.seen);
        }
    }
}

/// Uses a cache in every way.
fn work<'t, C: ObjectAlloc<Item<'t>>>(calls: &Calls, cache: &C, reap: &dyn Fn()) {
    let mut items: Vec<Obj<'_, Item<'t>, C>> = Vec::new();
    for round in 0..48 {
        calls.guarded(|| items.push(Obj::new(cache).map_err(|_| "no object").unwrap()));
        items.iter().for_each(|item| item.check());
        match round % 12 {
            2 | 5 | 8 if !items.is_empty() => calls.guarded(|| drop(items.remove(0))),
            3 => calls.guarded(|| items.pop().into_iter().for_each(Obj::destroy)),
            7 => calls.guarded(|| items.pop().into_iter().for_each(|item| drop(Obj::into_inner(item)))),
            11 => calls.guarded(reap),
            _ => {}
        }
    }
    for item in items {
        calls.guarded(|| drop(item));
    }
    calls.guarded(reap);
}

/// Runs the work with a panic at one call; gives how many calls there were.
fn run<'l, S: SlabSystem<Source = Via<'l>>, L: Lock, R: Retention, const FRONT: usize>(
    ledger: &'l Ledger,
    panics: usize,
    magazined: bool,
) -> usize {
    let (tally, calls) = (Tally::default(), Rc::new(Calls::new(panics)));
    let [make, reset, destroy] = [(); 3].map(|()| Rc::clone(&calls));
    *tally.on_make.borrow_mut() = Some(Box::new(move |_| make.call()));
    *tally.on_reset.borrow_mut() = Some(Box::new(move |_| reset.call()));
    *tally.on_destroy.borrow_mut() = Some(Box::new(move |_| destroy.call()));
    let init = WithReset(FnInit(|| tally.make()), |item: &mut Item<'_>| tally.reset(item));
    fn cache<'t, I: Init<Item<'t>>, S: SlabSystem, L: Lock, R: Retention, const FRONT: usize>(
        source: S::Source,
        init: I,
    ) -> ObjectCache<Item<'t>, I, S, L, R, FRONT> {
        ObjectCache::new(source, init)
    }
    let cache = cache::<_, S, L, R, FRONT>(ledger.source(), init);
    if magazined {
        let cache = Magazined::<_, L>::new(cache);
        let handle = cache.handle();
        work(&calls, &handle, &|| {
            cache.reap();
        });
        calls.guarded(|| drop(handle));
        calls.guarded(|| drop(cache));
    } else {
        work(&calls, &cache, &|| {
            cache.reap();
        });
        assert_eq!(cache.stats().live, 0);
        assert!(cache.alloc_slots(&mut []).is_err());
        cache.verify().unwrap();
        calls.guarded(|| drop(cache));
    }
    let count = calls.count.get();
    assert_eq!(calls.seen.get(), usize::from(panics < count), "one panic, of call {panics} of {count}");
    assert_eq!(
        (tally.made.get(), tally.alive()),
        (tally.destroyed.get(), 0),
        "with a panic in call {panics}"
    );
    count
}

fn every_call<L: Lock>() {
    let each = |run: fn(&'_ Ledger, usize, bool) -> usize, magazined: bool| {
        let count = run(&Ledger::default(), usize::MAX, magazined);
        assert!(count >= CALLS, "{count} calls of user code are too few");
        for panics in 0..count {
            let ledger = Ledger::default();
            run(&ledger, panics, magazined);
            assert_eq!((ledger.blocks(), ledger.faults()), (0, vec![]), "with a panic in call {panics}");
        }
    };
    for magazined in [false, true] {
        each(|l, p, m| run::<AlignedSlabs<Via<'_>, 1024>, L, KeepAll, 0>(l, p, m), magazined);
        each(|l, p, m| run::<LargeSlabs<Via<'_>, 1024, IndexStack>, L, ReleaseAtOnce, 3>(l, p, m), magazined);
    }
}

macro_rules! locks {
    ($($(#[$attribute:meta])* $name:ident: $lock:ty;)*) => {$(
        #[test]
        $(#[$attribute])*
        fn $name() {
            every_call::<$lock>();
            every_initialiser_of_raw_slots::<$lock>();
        }
    )*};
}

locks! {
    no_lock: NoLock;
    spin_lock: SpinLock;
    ticket_lock: TicketLock;
    yield_lock: YieldLock;
    std_lock: StdLock;
    owner_checked: OwnerChecked<SpinLock>;
    #[cfg(feature = "critical-section")]
    critical_section: CriticalSectionLock;
    #[cfg(feature = "lock_api")]
    lock_api: LockApi<parking_lot::RawMutex>;
}

/// Slots of raw memory, whose only user code makes them ready.
fn every_initialiser_of_raw_slots<L: Lock>() {
    for panics in 0..CALLS {
        let (ledger, calls) = (Ledger::default(), Calls::new(panics));
        let ready = |bytes: &mut [MaybeUninit<u8>]| {
            calls.call();
            bytes.fill(MaybeUninit::new(7));
        };
        let layout = Layout::new::<[u64; 16]>();
        let cache = UntypedCache::<_, AlignedSlabs<Via<'_>, 1024>, L, KeepAll, 3>::with_layout(
            ledger.source(),
            layout,
            ready,
        );
        let cache = cache.unwrap();
        let mut slots = Vec::new();
        for _ in 0..CALLS + 8 {
            calls.guarded(|| slots.push(cache.alloc_slot().unwrap()));
        }
        assert_eq!((calls.seen.get(), slots.len()), (1, CALLS + 7));
        cache.verify().unwrap();
        for slot in slots {
            // SAFETY: the slot is ours, and filled.
            assert_eq!(unsafe { slot.cast::<[u8; 128]>().read() }, [7; 128]);
            // SAFETY: handed out above, and comes back once.
            unsafe { cache.free_slot(slot) };
        }
        assert!(cache.alloc_slots(&mut []).is_err());
        assert_eq!(cache.stats().live, 0);
        drop(cache);
        assert_eq!((ledger.blocks(), ledger.faults()), (0, vec![]), "with a panic in call {panics}");
    }
}
