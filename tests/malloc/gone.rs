//! Threads that have nothing at hand: whose front is gone or closed, whose end nobody sees to, or who were left behind by a fork.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use heapwright::cache::malloc::{Front, MallocInstance, NoBins, SharedMalloc, ThreadEnd};
use heapwright::cache::{ChunkHeap, Classes, KeepAll, Malloc, MallocSettings};
use heapwright::lock::{HoldLock, Lock, YieldLock};
use heapwright::source::Pages;

use crate::ends::{AllKeys, Plain, keys, use_once};

thread_local! {
    /// Whether this thread is so far gone that it has no front.
    static GONE: Cell<bool> = const { Cell::new(false) };
}

static NO_BINS: NoBins<Plain> = NoBins::new();

/// Declares a heap whose threads can be gone; `$sees` says whether their end is seen to.
macro_rules! instance {
    ($instance:ident, $heap:ident, $front:ident, $end:ident, $sees:literal) => {
        enum $instance {}

        static $heap: SharedMalloc<Plain> = SharedMalloc::new(ChunkHeap::new(Pages));

        thread_local! {
            static $front: Front<Plain> = const { Front::new(&NO_BINS) };
            static $end: ThreadEnd<$instance> = const { ThreadEnd::new() };
        }

        // SAFETY: M1: there is one static. M2, M3: thread-locals, the first without a destructor. M4: nothing unwinds.
        unsafe impl MallocInstance for $instance {
            type Settings = Plain;

            fn shared() -> &'static SharedMalloc<Plain> {
                &$heap
            }

            fn with_front<R>(work: impl FnOnce(&Front<Plain>) -> R) -> Option<R> {
                if GONE.get() { None } else { $front.try_with(work).ok() }
            }

            fn see_to_end() -> bool {
                $sees && $end.try_with(|_| ()).is_ok()
            }
        }
    };
}

instance!(Leaving, LEAVING, LEAVING_FRONT, LEAVING_END, true);
instance!(Unseen, UNSEEN, UNSEEN_FRONT, UNSEEN_END, false);
instance!(Forked, FORKED, FORKED_FRONT, FORKED_END, true);
heapwright::malloc! { static CLOSED as ClosedMalloc: Plain = ChunkHeap::new(Pages); }

const LAYOUT: Layout = Layout::new::<[u64; 6]>();

/// What a thread frees that has no front goes past it, to the others; it gets nothing.
#[test]
fn a_thread_without_a_front_frees() {
    let _keys = keys();
    let heap = Malloc::<Leaving>::new();
    thread::spawn(move || {
        // SAFETY: the size is not zero.
        let blocks: Vec<_> = (0..100).map(|_| unsafe { heap.alloc(LAYOUT) }).collect();
        assert!(blocks.iter().all(|block| !block.is_null()));
        heap.flush();
        let before = heap.stats().bytes_live;
        GONE.set(true);
        // SAFETY: each block is freed once, with its layout.
        blocks.into_iter().for_each(|block| unsafe { heap.dealloc(block, LAYOUT) });
        assert_eq!(before - heap.stats().bytes_live, 100 * LAYOUT.size());
        // SAFETY: the size is not zero.
        assert!(unsafe { heap.alloc(LAYOUT) }.is_null());
        GONE.set(false);
        use_once(&heap);
    })
    .join()
    .unwrap();
    let stats = heap.stats();
    assert_eq!((stats.threads, stats.bytes_live), (0, 0), "{stats}");
}

/// Where nobody would give back what a thread has at hand, it has nothing at hand.
#[test]
fn a_thread_whose_end_nobody_sees_has_nothing_at_hand() {
    let _keys = keys();
    let _all = AllKeys::new();
    let heap = Malloc::<Unseen>::new();
    thread::spawn(move || {
        // SAFETY: each block is freed once, with its layout.
        unsafe {
            let blocks: Vec<_> = (0..100).map(|_| heap.alloc(LAYOUT)).collect();
            assert!(blocks.iter().all(|block| !block.is_null()));
            assert_eq!(heap.stats().threads, 0);
            blocks.into_iter().for_each(|block| heap.dealloc(block, LAYOUT));
        }
        let stats = heap.stats();
        assert_eq!((stats.bytes_at_hand, stats.bytes_live), (0, 0), "{stats}");
    })
    .join()
    .unwrap();
}

/// An end that comes before the first use, and twice.
#[test]
fn a_thread_may_end_before_it_begins() {
    let _keys = keys();
    let heap = Malloc::<Leaving>::new();
    thread::spawn(move || {
        drop(ThreadEnd::<Leaving>::new());
        use_once(&heap);
        assert_eq!(heap.stats().bytes_at_hand, 0);
        drop(ThreadEnd::<Leaving>::new());
        use_once(&heap);
    })
    .join()
    .unwrap();
    assert_eq!(heap.stats().bytes_live, 0);
}

/// A block that comes back after the C library has told the heap of its thread's end.
#[test]
fn what_comes_back_after_the_end_is_not_lost() {
    unsafe extern "C" fn end(block: *mut c_void) {
        // SAFETY: the block is freed once, with its layout.
        unsafe { ClosedMalloc.dealloc(block.cast(), LAYOUT) };
    }
    let _keys = keys();
    // The heap's key first: values go in the order of their keys.
    thread::spawn(|| use_once(&ClosedMalloc)).join().unwrap();
    let mut key = 0;
    // SAFETY: a place for the key.
    assert_eq!(unsafe { libc::pthread_key_create(&mut key, Some(end)) }, 0);
    for _ in 0..3 {
        thread::spawn(move || {
            // SAFETY: the size is not zero.
            let block = unsafe { ClosedMalloc.alloc(LAYOUT) };
            // SAFETY: the key is there; its destructor takes a block.
            assert_eq!(unsafe { libc::pthread_setspecific(key, block.cast()) }, 0);
        })
        .join()
        .unwrap();
        let stats = ClosedMalloc.stats();
        assert_eq!((stats.threads, stats.bytes_live, stats.bytes_at_hand), (0, 0, 0), "{stats}");
    }
}

/// Forks; says how the child ends, which does this work. It ends as a program does, but where leaks are looked for: what the threads left that it has not is none.
pub(crate) fn fork(work: impl FnOnce() -> bool) -> i32 {
    let ends_at_once = std::env::var_os("HEAPWRIGHT_SHORT").is_some();
    // SAFETY: the child does nothing but use a heap that sees to forks, and end.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "no fork");
    if child == 0 {
        // SAFETY: no handler is set, so it ends the child should it hang.
        unsafe { libc::alarm(300) };
        let status = if work() { 0 } else { 3 };
        if ends_at_once {
            // SAFETY: it ends the child, without destructors.
            unsafe { libc::_exit(status) };
        }
        std::process::exit(status);
    }
    let mut status = 0;
    // SAFETY: a child of ours, and a place for its status.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    status
}

/// A child has the thread that forked, if that has objects at hand, and no other.
#[test]
fn a_forked_child_forgets_the_threads_that_it_has_not() {
    let _keys = keys();
    let heap = Malloc::<Forked>::new();
    let (begun, begins) = mpsc::channel();
    let others: Vec<_> = (0..3)
        .map(|_| {
            let (begun, (stop, stops)) = (begun.clone(), mpsc::channel::<()>());
            let thread = thread::spawn(move || {
                use_once(&heap);
                begun.send(()).unwrap();
                stops.recv().unwrap_err();
            });
            (thread, stop)
        })
        .collect();
    others.iter().for_each(|_| begins.recv().unwrap());
    let left = move |threads: usize| {
        let before = heap.stats().threads;
        use_once(&heap);
        before == threads && heap.stats().threads == 1
    };
    assert_eq!(heap.stats().threads, 3);
    assert_eq!(fork(move || left(0)), 0, "a thread that has not used the heap");
    // SAFETY: the size is not zero.
    let block = unsafe { heap.alloc(LAYOUT) };
    // SAFETY: the block is freed once in each process, with its layout.
    let free = move || unsafe { heap.dealloc(block, LAYOUT) };
    let freed = move || {
        free();
        left(1)
    };
    assert_eq!(fork(freed), 0, "a thread that has");
    GONE.set(true);
    let status = fork(move || heap.stats().threads == 0);
    GONE.set(false);
    assert_eq!(status, 0, "a thread without a front");
    free();
    assert_eq!(heap.stats().threads, 4, "nobody is forgotten here");
    for (thread, stop) in others {
        drop(stop);
        thread.join().unwrap();
    }
    assert_eq!(heap.stats().threads, 1);
}

/// Locks that were let go of without having been held.
static NOT_HELD: AtomicUsize = AtomicUsize::new(0);
static HELD: AtomicUsize = AtomicUsize::new(0);

/// A lock that knows whether it is held across calls.
#[derive(Debug)]
struct Noted(YieldLock, AtomicBool);

// SAFETY: as `YieldLock`.
unsafe impl Lock for Noted {
    const INIT: Self = Noted(YieldLock::INIT, AtomicBool::new(false));

    fn with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        self.0.with(work)
    }

    fn try_with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        self.0.try_with(work)
    }
}

// SAFETY: as `YieldLock`.
unsafe impl HoldLock for Noted {
    fn hold(&self) {
        self.0.hold();
        self.1.store(true, Ordering::Relaxed);
        HELD.fetch_add(1, Ordering::Relaxed);
        EVER_HELD.fetch_add(1, Ordering::Relaxed);
    }

    unsafe fn let_go(&self) {
        if self.1.swap(false, Ordering::Relaxed) {
            HELD.fetch_sub(1, Ordering::Relaxed);
            // SAFETY: the caller's promise.
            unsafe { self.0.let_go() };
        } else {
            NOT_HELD.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Noting;
impl MallocSettings for Noting {
    type Classes = Classes;
    type Chunks = ChunkHeap<Pages, Noted, KeepAll>;
    type Lock = Noted;
}
heapwright::malloc! {
    static NOTING as NotingMalloc: Noting = ChunkHeap::new(Pages);
    static NOTING_LARGE as NotingLargeMalloc: Noting = ChunkHeap::new(Pages);
}

/// Locks that were held and let go of.
static EVER_HELD: AtomicUsize = AtomicUsize::new(0);

/// All locks of a heap are held while the process forks, and none afterwards, here or there; also if all that the heap has handed out are blocks that no thread has at hand.
#[test]
fn all_locks_are_held_while_the_process_forks() {
    let _keys = keys();
    let numbers = || [&HELD, &NOT_HELD].map(|number| number.load(Ordering::Relaxed));
    let held = move || {
        use_once(&NotingMalloc);
        numbers() == [0, 0]
    };
    let large = Layout::new::<[u8; 100_000]>();
    // SAFETY: the block is freed once, with its layout.
    unsafe { NotingLargeMalloc.dealloc(NotingLargeMalloc.alloc(large), large) };
    let mut before = 0;
    for _ in 0..2 {
        assert_eq!(fork(held), 0);
        assert_eq!(numbers(), [0, 0]);
        let now = EVER_HELD.load(Ordering::Relaxed);
        assert!(now > 2 * before, "the locks of one heap, then of two: {now}");
        before = now;
        use_once(&NotingMalloc);
    }
}
