//! Caches that threads share, and objects that go from one to another.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use heapwright::cache::{
    DefaultInit, FnInit, KeepAll, KeepSlabs, Obj, ObjectCache, ReleaseAtOnce, Retention, WithReset,
};
use heapwright::lock::{Lock, SpinLock, StdLock, TicketLock};
use heapwright::slab::{AlignedSlabs, IndexStack, LargeSlabs, SlabSystem};
use heapwright::source::GlobalHeap;

const THREADS: usize = 4;
const ROUNDS: usize = if cfg!(miri) { 30 } else { 3000 };
/// Fair locks get few: a thread that the system has put aside when its turn came stops all that come after it.
const ROUNDS_FAIR: usize = if cfg!(miri) { 30 } else { 300 };

static MADE: AtomicUsize = AtomicUsize::new(0);
static DESTROYED: AtomicUsize = AtomicUsize::new(0);

/// An object whose words all say who has it.
struct Marked([usize; 9]);

impl Marked {
    fn new() -> Self {
        MADE.fetch_add(1, Ordering::Relaxed);
        Marked([0; 9])
    }

    /// Checks that all words say the same, and says something else.
    fn mark(&mut self, before: Option<usize>, now: usize) {
        let first = self.0[0];
        assert!(self.0.iter().all(|&word| word == first), "{:?}", self.0);
        assert!(before.is_none_or(|before| before == first), "{first:x}, expected {before:x?}");
        self.0 = [now; 9];
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        self.mark(None, usize::MAX);
        DESTROYED.fetch_add(1, Ordering::Relaxed);
    }
}

type Shared<S, L, R, const FRONT: usize> =
    ObjectCache<Marked, WithReset<FnInit<fn() -> Marked>, fn(&mut Marked)>, S, L, R, FRONT>;

/// Four threads take, keep a while and free; some objects go to the next thread, which frees them.
fn exchange<S, L, R, const FRONT: usize>(rounds: usize)
where
    S: SlabSystem<Source = GlobalHeap> + Send,
    L: Lock + Sync,
    R: Retention + Send,
{
    let init =
        WithReset(FnInit(Marked::new as fn() -> Marked), (|object| object.mark(None, 7)) as fn(&mut Marked));
    let cache = Shared::<S, L, R, FRONT>::new(GlobalHeap, init);
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..THREADS).map(|_| mpsc::channel::<Obj<'_, Marked, _>>()).unzip();
    thread::scope(|scope| {
        for (number, receiver) in receivers.into_iter().enumerate() {
            let (cache, sender) = (&cache, senders[(number + 1) % THREADS].clone());
            scope.spawn(move || {
                let mut kept = Vec::new();
                for round in 0..rounds {
                    let mine = number << 16 | round;
                    let mut object = cache.alloc().unwrap();
                    object.mark(None, mine);
                    match round % 5 {
                        0 => sender.send(object).unwrap(),
                        1 => drop(object),
                        2 if round % 10 == 2 => Obj::destroy(object),
                        _ => kept.push((mine, object)),
                    }
                    if kept.len() > 40 {
                        let (mine, mut object) = kept.swap_remove(round % 40);
                        object.mark(Some(mine), mine);
                    }
                    while let Ok(mut object) = receiver.try_recv() {
                        object.mark(None, mine);
                    }
                    match round % 250 {
                        50 => drop(cache.stats()),
                        100 => drop(cache.trim(1)),
                        150 => drop(cache.tick()),
                        200 => cache.verify().unwrap(),
                        _ => {}
                    }
                }
                drop(sender);
                kept.drain(..).for_each(|(mine, mut object)| object.mark(Some(mine), 0));
                // What the thread before sends until it ends.
                receiver.iter().for_each(drop);
            });
        }
        drop(senders);
    });
    cache.verify().unwrap();
    assert_eq!(cache.stats().live, 0);
    cache.reap();
    assert_eq!(cache.stats().slabs, 0);
}

#[test]
fn threads_share_a_cache() {
    exchange::<AlignedSlabs<GlobalHeap, 1024>, SpinLock, KeepAll, 32>(ROUNDS);
    exchange::<AlignedSlabs<GlobalHeap, 1024, IndexStack>, TicketLock, ReleaseAtOnce, 3>(ROUNDS_FAIR);
    exchange::<AlignedSlabs<GlobalHeap>, StdLock, KeepSlabs<1>, 0>(ROUNDS);
    exchange::<LargeSlabs<GlobalHeap, 1000>, SpinLock, ReleaseAtOnce, 1>(ROUNDS);
    exchange::<LargeSlabs<GlobalHeap, 1000, IndexStack>, StdLock, KeepAll, 2>(ROUNDS);
    #[cfg(all(feature = "os", not(miri)))]
    thread_local_free::<AlignedSlabs<heapwright::source::Pages>>();
    assert_eq!(MADE.load(Ordering::Relaxed), DESTROYED.load(Ordering::Relaxed));
}

/// A cache in a static, with erased handles, over pages.
#[cfg(all(feature = "os", not(miri)))]
fn thread_local_free<S: SlabSystem<Source = heapwright::source::Pages> + Send + 'static>() {
    let cache = ObjectCache::<u64, DefaultInit, S, SpinLock>::over(heapwright::source::Pages);
    let objects: Vec<_> = (0..10_000).map(|_| cache.alloc().unwrap()).collect();
    thread::scope(|scope| {
        for part in chunks(objects) {
            scope.spawn(move || part.into_iter().for_each(drop));
        }
    });
    assert_eq!(cache.stats().live, 0);
    cache.verify().unwrap();
}

#[cfg(all(feature = "os", not(miri)))]
fn chunks<V>(mut all: Vec<V>) -> Vec<Vec<V>> {
    let len = all.len() / THREADS;
    (0..THREADS).map(|_| all.split_off(all.len() - len)).collect()
}

/// A cache moves to another thread with its objects, and is dropped there.
#[test]
fn a_cache_moves_between_threads() {
    let cache = ObjectCache::<Vec<u8>, DefaultInit, AlignedSlabs<GlobalHeap, 1024>>::over(GlobalHeap);
    cache.alloc().unwrap().push(5);
    thread::spawn(move || {
        assert_eq!(*cache.alloc().unwrap(), [5]);
    })
    .join()
    .unwrap();
}
