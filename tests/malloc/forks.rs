//! Forks at moments that are seldom met: while a heap asks its source for the first time, and between a heap and the one that is its source.

use std::alloc::{GlobalAlloc, Layout, System};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use heapwright::AllocError;
use heapwright::cache::{ChunkHeap, Classes, KeepAll, MallocSettings, ReleaseAtOnce};
use heapwright::lock::{HoldLock, Lock, YieldLock};
use heapwright::source::{BackingSource, FromGlobalAlloc, Pages};

use crate::ends::{keys, use_once};
use crate::gone::fork;

/// What a source does when it is asked.
trait Story: 'static {
    /// What the source says of its blocks. What is zero is from no heap, and is not asked before the heap takes a lock.
    const ZEROED: bool;

    /// How often it was asked.
    fn asked() -> &'static AtomicUsize;

    /// Before it gives what it is asked for; says whether it does. `number` is that of the request.
    fn meets(number: usize) -> bool;
}

/// Pages with a story.
struct Told<S>(PhantomData<fn() -> S>);

impl<S> Clone for Told<S> {
    fn clone(&self) -> Self {
        Told(PhantomData)
    }
}

// SAFETY: B1 to B4, B6 are those of `Pages`; more requests may fail. B5: as the stories say. B7: there is no state but the story.
unsafe impl<S: Story> BackingSource for Told<S> {
    const GRANULE: usize = Pages::GRANULE;
    const ALIGN_MAX: usize = Pages::ALIGN_MAX;
    const ZEROED: bool = S::ZEROED;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if !S::meets(S::asked().fetch_add(1, Ordering::Relaxed)) {
            return Err(AllocError);
        }
        Pages.acquire(layout)
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.release(block, layout) };
    }
}

/// Declares a heap over such a source.
macro_rules! told {
    ($story:ident, $heap:ident, $handle:ident, $settings:ident: $zeroed:literal, $meets:expr) => {
        struct $story;
        impl Story for $story {
            const ZEROED: bool = $zeroed;

            fn asked() -> &'static AtomicUsize {
                static ASKED: AtomicUsize = AtomicUsize::new(0);
                &ASKED
            }

            fn meets(number: usize) -> bool {
                $meets(number)
            }
        }
        struct $settings;
        impl MallocSettings for $settings {
            type Classes = Classes;
            type Chunks = ChunkHeap<Told<$story>, YieldLock, KeepAll>;
            type Lock = YieldLock;
        }
        heapwright::malloc! { static $heap as $handle: $settings = ChunkHeap::new(Told(PhantomData)); }
    };
}

told!(Fresh, FRESH, FreshMalloc, FreshParts: true, slow);
told!(Lent, LENT, LentMalloc, LentParts: false, slow);
told!(Alone, ALONE, AloneMalloc, AloneParts: false, alone);
told!(Again, AGAIN, AgainMalloc, AgainParts: false, again);
told!(Refused, REFUSED, RefusedMalloc, RefusedParts: false, |number| number > 0);

/// Long enough that what others do meanwhile is done, if they can. Nothing that is right depends on it.
fn linger() {
    thread::sleep(Duration::from_millis(200));
}

/// The first two times it is long under way.
fn slow(number: usize) -> bool {
    if number < 2 {
        linger();
    }
    true
}

/// Whether another thread has asked while the first request was under way.
static CROWDED: AtomicBool = AtomicBool::new(false);

fn alone(number: usize) -> bool {
    if number == 0 {
        linger();
        CROWDED.store(Alone::asked().load(Ordering::Relaxed) > 1, Ordering::Relaxed);
    }
    true
}

/// The first request is made with no lock held, as the C library makes those that it needs to register something: that one may use the heap.
fn again(number: usize) -> bool {
    if number == 0 {
        use_once(&AgainMalloc);
    }
    true
}

/// A child can use a heap whatever another thread was doing with it for the first time, and so can the child's child.
#[test]
fn a_fork_while_a_heap_is_asked_for_the_first_time() {
    fn forked<S: Story>(heap: &'static (impl GlobalAlloc + Sync), requests: usize) {
        let first = thread::spawn(|| use_once(heap));
        let used = || {
            use_once(heap);
            true
        };
        for request in 1..=requests {
            while S::asked().load(Ordering::Relaxed) < request && !first.is_finished() {
                thread::yield_now();
            }
            let status = fork(|| {
                S::asked().store(2, Ordering::Relaxed);
                used() && fork(used) == 0
            });
            assert_eq!(status, 0, "request {request}");
        }
        first.join().unwrap();
        assert_eq!(fork(used), 0);
    }
    let _keys = keys();
    // The first is the one under the locks.
    forked::<Fresh>(&FreshMalloc, 1);
    // The first is the one before, the second the one under the locks.
    forked::<Lent>(&LentMalloc, 2);
}

/// Nobody takes a lock before forks are seen to.
#[test]
fn others_wait_until_forks_are_seen_to() {
    let _keys = keys();
    let first = thread::spawn(|| use_once(&AloneMalloc));
    while Alone::asked().load(Ordering::Relaxed) == 0 {
        thread::yield_now();
    }
    let others = [(); 2].map(|()| thread::spawn(|| use_once(&AloneMalloc)));
    first.join().unwrap();
    others.into_iter().for_each(|other| other.join().unwrap());
    assert!(!CROWDED.load(Ordering::Relaxed));
}

/// Who comes again while it sees to forks does not wait for itself. (In a process of its own, which would hang.)
#[test]
fn a_thread_that_sees_to_forks_may_use_the_heap() {
    let _keys = keys();
    let used = || {
        use_once(&AgainMalloc);
        Again::asked().load(Ordering::Relaxed) > 1
    };
    assert_eq!(fork(used), 0);
}

#[test]
fn a_source_that_refuses_the_first_request_is_asked_again() {
    let _keys = keys();
    use_once(&RefusedMalloc);
    let used = || {
        use_once(&RefusedMalloc);
        true
    };
    assert_eq!(fork(used), 0);
}

/// What is known of the locks of two heaps, the lower one of which is the other's source.
struct Pair {
    /// Locks of the lower heap that are held by a thread that forks.
    lower_held: AtomicUsize,
    /// Locks of the upper heap that were taken by then.
    too_late: AtomicUsize,
    /// All locks of the upper heap that were taken so.
    upper_held: AtomicUsize,
}

static PAIRS: [Pair; 2] = [const {
    Pair { lower_held: AtomicUsize::new(0), too_late: AtomicUsize::new(0), upper_held: AtomicUsize::new(0) }
}; 2];

/// A lock of one of two heaps: that of the lower one is to be taken last.
#[derive(Debug)]
struct Level<const PAIR: usize, const IS_LOWER: bool>(YieldLock);

// SAFETY: as `YieldLock`.
unsafe impl<const PAIR: usize, const IS_LOWER: bool> Lock for Level<PAIR, IS_LOWER> {
    const INIT: Self = Level(YieldLock::INIT);

    fn with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        self.0.with(work)
    }

    fn try_with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        self.0.try_with(work)
    }
}

// SAFETY: as `YieldLock`.
unsafe impl<const PAIR: usize, const IS_LOWER: bool> HoldLock for Level<PAIR, IS_LOWER> {
    fn hold(&self) {
        self.0.hold();
        let pair = &PAIRS[PAIR];
        if IS_LOWER {
            pair.lower_held.fetch_add(1, Ordering::Relaxed);
        } else {
            pair.upper_held.fetch_add(1, Ordering::Relaxed);
            pair.too_late
                .fetch_add(usize::from(pair.lower_held.load(Ordering::Relaxed) > 0), Ordering::Relaxed);
        }
    }

    unsafe fn let_go(&self) {
        if IS_LOWER {
            PAIRS[PAIR].lower_held.fetch_sub(1, Ordering::Relaxed);
        }
        // SAFETY: the caller's promise.
        unsafe { self.0.let_go() };
    }
}

/// Declares two heaps, the upper over what `$source` gives.
macro_rules! over {
    ($pair:literal, $lower:ident, $lower_handle:ident, $lower_parts:ident; $upper:ident, $upper_handle:ident, $upper_parts:ident; $kind:ty, $source:expr) => {
        struct $lower_parts;
        impl MallocSettings for $lower_parts {
            type Classes = Classes;
            type Chunks = ChunkHeap<Pages, Level<$pair, true>, KeepAll, 32768>;
            type Lock = Level<$pair, true>;
        }
        struct $upper_parts;
        impl MallocSettings for $upper_parts {
            type Classes = Classes;
            type Chunks =
                ChunkHeap<FromGlobalAlloc<'static, $kind>, Level<$pair, false>, ReleaseAtOnce, 32768>;
            type Lock = Level<$pair, false>;
        }
        heapwright::malloc! {
            static $lower as $lower_handle: $lower_parts = ChunkHeap::new(Pages);
            static $upper as $upper_handle: $upper_parts = ChunkHeap::new(FromGlobalAlloc::new($source));
        }
    };
}

over!(0, LOWER, LowerMalloc, Lower; UPPER, UpperMalloc, Upper; LowerMalloc, &LowerMalloc);
over!(1, LONGER, LongerMalloc, Longer; SPLIT, SplitMalloc, Split; Longest, &Longest);

/// Gives long blocks by the lower heap only.
struct Longest;

impl Longest {
    fn heap(layout: Layout) -> &'static dyn GlobalAlloc {
        if layout.size() < 1024 { &System } else { &LongerMalloc }
    }
}

// SAFETY: both heaps are, and a layout always leads to the same.
unsafe impl GlobalAlloc for Longest {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the same.
        unsafe { Self::heap(layout).alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { Self::heap(layout).dealloc(block, layout) };
    }
}

/// A heap's locks are taken before those of the heap that is its source, as calls take them: else a thread that forks and one that allocates could wait for each other. Also if the upper heap is the first
/// to be used, by a long block.
#[test]
fn before_a_fork_locks_are_taken_from_the_top() {
    fn taken(upper: &impl GlobalAlloc, lower: &impl GlobalAlloc, pair: &Pair) {
        let long = Layout::new::<[u8; 100_000]>();
        // SAFETY: the block is freed once, with its layout.
        unsafe { upper.dealloc(upper.alloc(long), long) };
        let used = || {
            use_once(upper);
            use_once(lower);
            pair.lower_held.load(Ordering::Relaxed) == 0
        };
        assert_eq!(fork(used), 0);
        let taken = [&pair.lower_held, &pair.too_late].map(|number| number.load(Ordering::Relaxed));
        assert_eq!(taken, [0, 0]);
        assert!(pair.upper_held.load(Ordering::Relaxed) > 0, "its locks are taken");
    }
    let _keys = keys();
    taken(&UpperMalloc, &LowerMalloc, &PAIRS[0]);
    taken(&SplitMalloc, &LongerMalloc, &PAIRS[1]);
}
