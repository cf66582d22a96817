//! The first moments of a thread, and its last.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use heapwright::cache::malloc::{Front, MallocInstance, SharedMalloc, ThreadEnd};
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

thread_local! {
    static EAGER_FRONT: Front<Plain> = const { Front::new() };
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
        thread::spawn(move || use_once(&heap)).join().unwrap();
        let stats = heap.stats();
        assert_eq!((stats.threads, stats.bytes_live, stats.bytes_at_hand), (0, 0, 0), "{stats}");
    }
}

/// Threads that use a heap for the first time when the C library ends them, after all destructors that Rust knows of.
#[cfg(unix)]
mod late {
    use std::ffi::c_void;
    use std::ptr;

    use super::*;

    heapwright::malloc! {
        static LATE as LateMalloc: Plain = ChunkHeap::new(Pages);
        static LATER as LaterMalloc: Plain = ChunkHeap::new(Pages);
    }

    /// Runs a thread that does nothing but to have `end` called by the C library when it ends.
    fn run(end: libc::pthread_key_t) {
        extern "C" fn work(key: *mut c_void) -> *mut c_void {
            // SAFETY: the key is there, and its destructor uses no value.
            unsafe { libc::pthread_setspecific(key.addr() as libc::pthread_key_t, key) };
            ptr::null_mut()
        }
        let key = ptr::without_provenance_mut(end as usize);
        // SAFETY: the thread's function takes the key as its argument.
        unsafe {
            let mut thread = std::mem::zeroed();
            assert_eq!(libc::pthread_create(&mut thread, ptr::null(), work, key), 0);
            assert_eq!(libc::pthread_join(thread, ptr::null_mut()), 0);
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
