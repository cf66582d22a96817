//! The first moments of a thread, and its last.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use heapwright::cache::malloc::{Front, MallocInstance, NoBins, SharedMalloc, ThreadEnd};
use heapwright::cache::{ChunkHeap, Classes, KeepAll, Malloc, MallocSettings};
use heapwright::lock::YieldLock;
use heapwright::source::Pages;

/// The settings of all heaps here.
pub(crate) struct Plain;
impl MallocSettings for Plain {
    type Classes = Classes;
    type Chunks = ChunkHeap<Pages, YieldLock, KeepAll>;
    type Lock = YieldLock;
}

/// An object of this size is what a thread asks for first, and what is asked for while its end is seen to.
const FIRST: Layout = Layout::new::<[u64; 4]>();

/// Takes an object and gives it back.
pub(crate) fn use_once(heap: &impl GlobalAlloc) {
    // SAFETY: the block is freed once, with its layout.
    unsafe {
        let block = heap.alloc(FIRST);
        assert!(!block.is_null());
        heap.dealloc(block, FIRST);
    }
}

/// A heap that is used when it sees to a thread's end, as that of a program is where the standard library keeps a list of what is to be dropped.
enum Eager {}

static EAGER: SharedMalloc<Plain> = SharedMalloc::new(ChunkHeap::new(Pages));
static NO_BINS: NoBins<Plain> = NoBins::new();

thread_local! {
    static EAGER_FRONT: Front<Plain> = const { Front::new(&NO_BINS) };
    static EAGER_END: ThreadEnd<Eager> = const { ThreadEnd::new() };
}

// SAFETY: M1: there is one static. M2, M3: thread-locals, the first without a destructor. M4: nothing unwinds but for a fault.
unsafe impl MallocInstance for Eager {
    type Settings = Plain;

    fn shared() -> &'static SharedMalloc<Plain> {
        &EAGER
    }

    fn with_front<R>(work: impl FnOnce(&Front<Plain>) -> R) -> Option<R> {
        EAGER_FRONT.try_with(work).ok()
    }

    fn see_to_end() -> bool {
        use_once(&Malloc::<Eager>::new());
        EAGER_END.try_with(|_| ()).is_ok()
    }
}

/// For tests that have all of the C library's keys, and those that need one.
static KEYS: Mutex<()> = Mutex::new(());

pub(crate) fn keys() -> MutexGuard<'static, ()> {
    KEYS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All keys of the C library that are left, so that a heap has none and asks for a thread-local.
#[cfg(unix)]
pub(crate) struct AllKeys(Vec<libc::pthread_key_t>);

#[cfg(unix)]
impl AllKeys {
    pub(crate) fn new() -> Self {
        let mut keys = Vec::new();
        let mut key = 0;
        // SAFETY: a place for the key, which has no destructor.
        while unsafe { libc::pthread_key_create(&mut key, None) } == 0 {
            keys.push(key);
        }
        AllKeys(keys)
    }

    /// One of them, which is free now, and nobody else's.
    fn one_goes(&mut self) -> libc::pthread_key_t {
        let key = self.0.pop().unwrap();
        // SAFETY: it was made here.
        assert_eq!(unsafe { libc::pthread_key_delete(key) }, 0);
        key
    }

    /// The same comes back.
    fn comes(&mut self, key: libc::pthread_key_t) {
        let mut made = 0;
        // SAFETY: a place for the key, which has no destructor.
        assert_eq!(unsafe { libc::pthread_key_create(&mut made, None) }, 0);
        assert_eq!(made, key, "no other was free");
        self.0.push(key);
    }
}

#[cfg(unix)]
impl Drop for AllKeys {
    fn drop(&mut self) {
        for &key in &self.0 {
            // SAFETY: it was made here.
            assert_eq!(unsafe { libc::pthread_key_delete(key) }, 0);
        }
    }
}

#[test]
fn what_comes_to_hand_while_a_thread_begins_is_not_lost() {
    let _keys = keys();
    #[cfg(unix)]
    let _all = AllKeys::new();
    let heap = Malloc::<Eager>::new();
    for _ in 0..3 {
        let work = move || {
            use_once(&heap);
            assert_eq!(heap.stats().threads, 1, "it is known to the heap");
        };
        thread::spawn(work).join().unwrap();
        let stats = heap.stats();
        assert_eq!((stats.threads, stats.bytes_live, stats.bytes_at_hand), (0, 0, 0), "{stats}");
    }
}

/// Threads that use a heap for the first time when the C library ends them, after all destructors that Rust knows of.
#[cfg(unix)]
mod late {
    use std::ffi::c_void;
    use std::ptr;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    heapwright::malloc! {
        static LATE as LateMalloc: Plain = ChunkHeap::new(Pages);
        static LATER as LaterMalloc: Plain = ChunkHeap::new(Pages);
        static TOO_LATE as TooLateMalloc: Plain = ChunkHeap::new(Pages);
        static REFUSED as RefusedMalloc: Plain = ChunkHeap::new(Pages);
    }

    /// Memory for a thread's stack, and with it for its thread-locals.
    const STACK: usize = 1 << 20;

    /// Runs a thread that does nothing but to have `end` called by the C library when it ends. Its memory is gone afterwards.
    fn run(end: libc::pthread_key_t) {
        extern "C" fn work(key: *mut c_void) -> *mut c_void {
            // SAFETY: the key is there, and its destructor uses no value.
            unsafe { libc::pthread_setspecific(key.addr() as libc::pthread_key_t, key) };
            ptr::null_mut()
        }
        let key = ptr::without_provenance_mut(end as usize);
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
        // SAFETY: the thread's function takes the key as its argument; the stack is there as long as the thread.
        unsafe {
            let stack = libc::mmap(ptr::null_mut(), STACK, access, kind, -1, 0);
            assert_ne!(stack, libc::MAP_FAILED);
            let (mut thread, mut attributes) = (std::mem::zeroed(), std::mem::zeroed());
            assert_eq!(libc::pthread_attr_init(&mut attributes), 0);
            assert_eq!(libc::pthread_attr_setstack(&mut attributes, stack, STACK), 0);
            assert_eq!(libc::pthread_create(&mut thread, &attributes, work, key), 0);
            assert_eq!(libc::pthread_join(thread, ptr::null_mut()), 0);
            assert_eq!(libc::pthread_attr_destroy(&mut attributes), 0);
            assert_eq!(libc::munmap(stack, STACK), 0);
        }
    }

    /// A key whose destructor is this.
    fn key(end: unsafe extern "C" fn(*mut c_void)) -> libc::pthread_key_t {
        // A number of zero would be no value.
        let mut key = 0;
        while key == 0 {
            // SAFETY: a place for the key.
            assert_eq!(unsafe { libc::pthread_key_create(&mut key, Some(end)) }, 0);
        }
        key
    }

    #[test]
    fn threads_that_begin_when_they_end_leave_nothing() {
        unsafe extern "C" fn end(_: *mut c_void) {
            use_once(&LateMalloc);
        }
        let _keys = keys();
        let key = key(end);
        for _ in 0..3 {
            run(key);
            let stats = LateMalloc.stats();
            assert_eq!((stats.threads, stats.bytes_live, stats.bytes_at_hand), (0, 0, 0), "{stats}");
        }
    }

    /// What is first asked for in the last round of destructors nobody is told of any more: it is lost with the thread, and that is all.
    #[test]
    fn threads_that_begin_too_late_leave_what_they_have_at_hand() {
        /// How often it is called for each thread: in the last round Linux has.
        const ROUNDS: usize = 4;
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        static KEY: AtomicUsize = AtomicUsize::new(0);
        static TAKES: AtomicBool = AtomicBool::new(true);
        unsafe extern "C" fn end(value: *mut c_void) {
            let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
            if calls % ROUNDS != 0 {
                // SAFETY: the key is there, and its destructor uses no value.
                unsafe {
                    libc::pthread_setspecific(KEY.load(Ordering::Relaxed) as libc::pthread_key_t, value)
                };
            } else if TAKES.load(Ordering::Relaxed) {
                use_once(&TooLateMalloc);
            } else {
                for block in GIVEN.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                    // SAFETY: the block is freed once, with its layout.
                    unsafe { TooLateMalloc.dealloc(ptr::with_exposed_provenance_mut(block), FIRST) };
                }
            }
        }
        static GIVEN: Mutex<Vec<usize>> = Mutex::new(Vec::new());
        if !cfg!(target_os = "linux") {
            return;
        }
        let _keys = keys();
        // The heap's key is made first, so that its destructor is called before this one.
        thread::spawn(|| use_once(&TooLateMalloc)).join().unwrap();
        let key = key(end);
        KEY.store(key as usize, Ordering::Relaxed);
        for threads in 1..=5 {
            run(key);
            let stats = TooLateMalloc.stats();
            assert_eq!(
                (CALLS.load(Ordering::Relaxed), stats.threads),
                (threads * ROUNDS, threads),
                "{stats}"
            );
            assert_eq!((stats.bytes_live, stats.bytes_at_hand > 0), (0, true), "{stats}");
        }
        // A thread that only frees then, as the C library itself does, leaves nothing, unless that is much.
        TAKES.store(false, Ordering::Relaxed);
        for (frees, left) in [(1, 6), (64, 6), (65, 7), (64, 7), (100, 8)] {
            // SAFETY: the size is not zero.
            let blocks = (0..frees).map(|_| unsafe { TooLateMalloc.alloc(FIRST) }.expose_provenance());
            *GIVEN.lock().unwrap() = blocks.collect();
            run(key);
            TooLateMalloc.flush();
            let stats = TooLateMalloc.stats();
            assert_eq!((stats.threads, stats.bytes_live), (left, 0), "{frees} frees; this thread counts too");
        }
    }

    /// Where the C library has no memory to note that a thread is to be seen to (the key is gone here: it says no as well), the standard library is not asked,
    /// which would end the process: the thread has nothing at hand, until it can be noted.
    #[test]
    fn a_thread_whose_end_can_not_be_seen_to_is_served() {
        if !cfg!(target_os = "linux") {
            return;
        }
        let _keys = keys();
        let mut all = AllKeys::new();
        let key = all.one_goes();
        thread::spawn(|| use_once(&RefusedMalloc)).join().unwrap();
        // SAFETY: it was the only one that was left for the heap.
        assert_eq!(unsafe { libc::pthread_key_delete(key) }, 0);
        let thread = thread::spawn(move || {
            for _ in 0..3 {
                use_once(&RefusedMalloc);
                assert_eq!(RefusedMalloc.stats().threads, 0, "it is not known to the heap");
            }
            all.comes(key);
            use_once(&RefusedMalloc);
            assert_eq!(RefusedMalloc.stats().threads, 1);
            RefusedMalloc.flush();
            all
        });
        drop(thread.join().unwrap());
        let stats = RefusedMalloc.stats();
        assert_eq!((stats.bytes_live, stats.bytes_at_hand), (0, 0), "{stats}");
    }

    #[test]
    fn nor_do_they_where_the_heap_was_used_before() {
        unsafe extern "C" fn end(_: *mut c_void) {
            use_once(&LaterMalloc);
        }
        let _keys = keys();
        thread::spawn(|| use_once(&LaterMalloc)).join().unwrap();
        let key = key(end);
        for _ in 0..3 {
            run(key);
            let stats = LaterMalloc.stats();
            assert_eq!((stats.threads, stats.bytes_live, stats.bytes_at_hand), (0, 0, 0), "{stats}");
        }
    }
}
