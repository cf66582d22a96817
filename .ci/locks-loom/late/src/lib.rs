//! The key of a heap for values of threads, which the first thread that asks makes: the file that does so, compiled with a C library that can be asked what became of its keys.

// The library's file finds here what it imports.
extern crate self as libc;

use std::collections::BTreeSet;
use std::ffi::c_void;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use loom::thread;

#[path = "../../../../src/cache/malloc/late.rs"]
mod late;

mod cache {
    pub(crate) mod malloc {
        pub(crate) mod handle {
            pub(crate) trait MallocInstance {
                fn shared() -> &'static crate::Heap;
                fn with_front<R>(work: impl FnOnce(&crate::Front) -> R) -> Option<R>;
            }
        }
    }
}

/// What all threads share of a heap, of which this is all that counts here.
struct Heap {
    late: late::Late,
}

/// What a thread has of it.
struct Front;

impl Front {
    fn close(&self, _: &Heap) {
        unreachable!("the C library's threads do not end here");
    }
}

/// The heap of the run.
static HEAP: AtomicPtr<Heap> = AtomicPtr::new(std::ptr::null_mut());

struct Model;

impl cache::malloc::handle::MallocInstance for Model {
    fn shared() -> &'static Heap {
        // SAFETY: it is there as long as the run's threads.
        unsafe { HEAP.load(Ordering::Relaxed).as_ref() }.expect("a model runs")
    }

    fn with_front<R>(work: impl FnOnce(&Front) -> R) -> Option<R> {
        Some(work(&Front))
    }
}

/// Keys of a run: how many were made, which were deleted, and under which a thread has a value.
static KEYS: Mutex<(u32, BTreeSet<u32>, BTreeSet<u32>)> = Mutex::new((0, BTreeSet::new(), BTreeSet::new()));

fn keys() -> MutexGuard<'static, (u32, BTreeSet<u32>, BTreeSet<u32>)> {
    KEYS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(non_camel_case_types, reason = "the C library's name")]
type pthread_key_t = u32;

unsafe fn pthread_key_create(key: &mut u32, _: Option<unsafe extern "C" fn(*mut c_void)>) -> i32 {
    let mut keys = keys();
    *key = keys.0;
    keys.0 += 1;
    0
}

unsafe fn pthread_key_delete(key: u32) -> i32 {
    assert!(keys().1.insert(key), "deleted twice");
    0
}

unsafe fn pthread_setspecific(key: u32, _: *const c_void) -> i32 {
    keys().2.insert(key);
    0
}

/// One run: so many threads come first. All have a value under one key, which is the only one that is kept. Says how many were made.
#[must_use]
pub fn threads_come_first(threads: usize) -> u32 {
    *keys() = (0, BTreeSet::new(), BTreeSet::new());
    let heap = Box::into_raw(Box::new(Heap { late: late::Late::new() }));
    HEAP.store(heap, Ordering::Relaxed);
    let come = || _ = late::see_to::<Model>();
    let spawned: Vec<_> = (1..threads).map(|_| thread::spawn(come)).collect();
    come();
    spawned.into_iter().for_each(|thread| thread.join().expect("it ends"));
    // SAFETY: it was made above, and its threads have ended.
    drop(unsafe { Box::from_raw(heap) });
    let (made, deleted, used) = &*keys();
    let kept: BTreeSet<_> = (0..*made).filter(|key| !deleted.contains(key)).collect();
    assert!(kept.len() == 1 && *used == kept, "of {made} keys {deleted:?} were deleted, {used:?} are in use");
    *made
}
