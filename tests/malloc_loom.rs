//! General allocators under loom, which runs threads in all the orders that their synchronisation allows: what goes from thread to thread by way of depots and slabs,
//! and the memory for stacks by way of threads that end.
//!
//! All synchronisation of a `Malloc` goes through its locks; so with a lock of loom's mutex, loom sees all of it.

#![cfg(all(feature = "std", any(unix, windows), not(miri)))]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod loom_lock;
#[path = "loom_lock/orders.rs"]
mod orders;

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, Ordering};

use heapwright::AllocError;
use heapwright::cache::malloc::{Front, MallocInstance, NoBins, SharedMalloc, ThreadEnd};
use heapwright::cache::{ChunkHeap, Malloc, MallocSettings, ReleaseAtOnce};
use heapwright::source::{BackingSource, Pages};
use loom::sync::{Arc, Mutex};
use loom::thread;

use loom_lock::LoomLock;

/// Pages that are handed out again in each run of a model, whose heap is forgotten at its end: it is one of few runs of many thousand.
#[derive(Clone)]
struct Again;

/// Blocks, all of one layout, and how many of them are out.
static BLOCKS: std::sync::Mutex<(Vec<(usize, Layout)>, usize)> = std::sync::Mutex::new((Vec::new(), 0));

// SAFETY: B1 to B7 are those of `Pages`. Blocks are not given back, and come again when the heap that had them is gone.
unsafe impl BackingSource for Again {
    const GRANULE: usize = Pages::GRANULE;
    const ALIGN_MAX: usize = Pages::ALIGN_MAX;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout == Layout::new::<usize>() {
            // What a heap asks for to find out whether its source is one.
            return Err(AllocError);
        }
        let mut blocks = BLOCKS.lock().unwrap();
        let number = blocks.1;
        if number == blocks.0.len() {
            let block = Pages.acquire(layout)?;
            blocks.0.push((block.cast::<u8>().as_ptr().expose_provenance(), layout));
        }
        let (address, known) = blocks.0[number];
        assert_eq!(known, layout, "regions only");
        blocks.1 += 1;
        let start = NonNull::new(std::ptr::with_exposed_provenance_mut(address)).unwrap();
        Ok(NonNull::slice_from_raw_parts(start, layout.size()))
    }

    unsafe fn release(&mut self, _: NonNull<u8>, _: Layout) {}
}

heapwright::size_classes! { struct One = [64]; }

/// One class; a thread has two stacks of two objects, and there are two depots of two.
struct Tiny;
impl MallocSettings for Tiny {
    type Classes = One;
    type Chunks = ChunkHeap<Again, LoomLock, ReleaseAtOnce, 8192>;
    type Lock = LoomLock;
    const FRONT_SLOTS: usize = 2;
    const DEPOT_SLOTS: usize = 2;
    const SHARDS: usize = 2;
}

/// The heap of the run.
static HEAP: AtomicPtr<SharedMalloc<Tiny>> = AtomicPtr::new(std::ptr::null_mut());

std::thread_local! {
    /// Whether a model runs on this thread of the OS: all threads of a model do.
    static IS_RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// A model runs as long as this is there.
struct Running;

impl Running {
    fn new() -> Self {
        IS_RUNNING.set(true);
        Running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        IS_RUNNING.set(false);
    }
}

static NO_BINS: NoBins<Tiny> = NoBins::new();

loom::thread_local! {
    static FRONT: Front<Tiny> = Front::new(&NO_BINS);
}

#[derive(Debug)]
enum Model {}

// SAFETY: M1: there is one heap in each run, which all of its threads outlive. M2: loom's thread-locals. M3: `on_thread` and `run` drop one at the
// end of each thread. M4: nothing unwinds but for a fault.
unsafe impl MallocInstance for Model {
    type Settings = Tiny;

    fn shared() -> &'static SharedMalloc<Tiny> {
        // SAFETY: `run` has put it there, and it is there as long as its threads.
        unsafe { HEAP.load(Ordering::Relaxed).as_ref() }.unwrap()
    }

    fn with_front<R>(work: impl FnOnce(&Front<Tiny>) -> R) -> Option<R> {
        // The thread of the OS ends, too.
        if !IS_RUNNING.get() {
            return None;
        }
        FRONT.try_with(work).ok()
    }

    fn see_to_end() -> bool {
        true
    }
}

const MALLOC: Malloc<Model> = Malloc::new();
const LAYOUT: Layout = Layout::new::<[u64; 8]>();

/// An object that its owner has marked.
struct Object {
    block: *mut u64,
    mark: u64,
}

// SAFETY: objects may be used and freed on any thread.
unsafe impl Send for Object {}

/// Takes objects and writes into each, so that a second owner is seen.
fn take(count: usize, mark: u64) -> Vec<Object> {
    let objects: Vec<_> = (0..count)
        .map(|_| {
            // SAFETY: the size is not zero.
            Object { block: unsafe { MALLOC.alloc(LAYOUT) }.cast(), mark }
        })
        .collect();
    for object in &objects {
        assert!(!object.block.is_null());
        // SAFETY: the object is ours.
        unsafe { object.block.write(mark) };
    }
    objects
}

fn give(objects: impl IntoIterator<Item = Object>) {
    for Object { block, mark } in objects {
        // SAFETY: the object is ours.
        assert_eq!(unsafe { block.read() }, mark, "two had this object at once");
        // SAFETY: it is live, and given back once.
        unsafe { MALLOC.dealloc(block.cast(), LAYOUT) };
    }
}

/// A thread that ends as threads do.
fn on_thread(work: impl FnOnce() + 'static) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        work();
        drop(ThreadEnd::<Model>::new());
    })
}

/// Runs a model in all orders up to a bound (`orders::explore`), each with a heap of its own, of which nothing may be left.
fn explore(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    /// Models run one after the other: they share the heap's place.
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let _running = Running::new();
    orders::explore(preemptions, move || run(&model));
}

/// One run of a model.
fn run(model: &impl Fn()) {
    BLOCKS.lock().unwrap().1 = 0;
    let heap = Box::into_raw(Box::new(SharedMalloc::new(ChunkHeap::new(Again))));
    HEAP.store(heap, Ordering::Relaxed);
    model();
    drop(ThreadEnd::<Model>::new());
    let stats = MALLOC.stats();
    assert_eq!((stats.threads, stats.bytes_live, stats.bytes_at_hand), (0, 0, 0), "{stats}");
    MALLOC.release();
    let stats = MALLOC.stats();
    assert_eq!((stats.bytes_in_depots, stats.bytes_in_slabs), (0, 0), "{stats}");
    // SAFETY: it was made above, and its threads have ended.
    drop(unsafe { Box::from_raw(heap) });
}

#[test]
fn two_threads_take_and_give() {
    explore(None, || {
        let other = on_thread(|| give(take(5, 1)));
        give(take(5, 2));
        other.join().unwrap();
    });
}

#[test]
fn threads_free_what_others_took() {
    explore(None, || {
        let shared = Arc::new(Mutex::new(Vec::new()));
        let work = |shared: &Mutex<Vec<Object>>, mark| {
            let theirs = std::mem::replace(&mut *shared.lock().unwrap(), take(4, mark));
            give(theirs);
            give(take(3, mark + 1));
        };
        let of_other = Arc::clone(&shared);
        let other = on_thread(move || work(&of_other, 10));
        work(&shared, 20);
        other.join().unwrap();
        let left = std::mem::take(&mut *shared.lock().unwrap());
        assert_eq!(left.len(), 4);
        give(left);
    });
}

#[test]
fn threads_end_and_begin_while_others_look_and_release() {
    explore(Some(3), || {
        let first = on_thread(|| give(take(3, 1)));
        let looking = thread::spawn(|| {
            let stats = MALLOC.stats();
            assert!(stats.threads <= 2, "{stats}");
            MALLOC.release();
        });
        give(take(3, 2));
        first.join().unwrap();
        // It has the stacks of the first.
        on_thread(|| give(take(1, 3))).join().unwrap();
        looking.join().unwrap();
    });
}
