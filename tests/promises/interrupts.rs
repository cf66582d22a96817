//! Signal handlers and forks. No heap may be called from a handler; and a forked child finds locks as they were. Both as SECURITY.md says;
//! and what a lock can do about it that does not wait.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use heapwright::arena::StaticArena;
use heapwright::heap::SharedHeap;
use heapwright::lock::{Lock, SpinLock};
use heapwright::sizing::Sizing16MiB;

/// A spin lock for which nobody waits: what finds it taken gets nothing.
#[derive(Debug)]
struct TryLock(SpinLock);

// SAFETY: L1 to L4 are the spin lock's.
unsafe impl Lock for TryLock {
    const INIT: Self = TryLock(SpinLock::INIT);

    fn with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        self.0.try_with(work)
    }

    fn try_with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        self.0.try_with(work)
    }
}

/// The same, with a signal as soon as it is taken.
#[derive(Debug)]
struct Interrupted(TryLock);

// SAFETY: L1 to L4 are those of the lock within; a signal runs its handler.
unsafe impl Lock for Interrupted {
    const INIT: Self = Interrupted(TryLock::INIT);

    fn with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        self.0.with(|| {
            // SAFETY: a signal to this thread; the test has set its handler.
            unsafe { libc::raise(libc::SIGUSR1) };
            work()
        })
    }

    fn try_with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        self.with(work)
    }
}

static INTERRUPTED: StaticArena<4096, Sizing16MiB, Interrupted> = StaticArena::new();
static REFUSED: AtomicUsize = AtomicUsize::new(0);
const LAYOUT: Layout = Layout::new::<[u64; 4]>();

/// Asks the heap that was interrupted for a block.
extern "C" fn ask(_: i32) {
    // SAFETY: the size is not zero.
    if unsafe { INTERRUPTED.alloc(LAYOUT) }.is_null() {
        REFUSED.fetch_add(1, Ordering::Relaxed);
    }
}

/// A handler that comes while the heap is at work gets null and does not wait for what it has interrupted; the heap goes on whole.
#[test]
fn with_a_lock_that_does_not_wait_a_handler_gets_null() {
    let handler = ask as extern "C" fn(i32);
    // SAFETY: the handler counts, and asks a heap whose lock does not wait.
    let before = unsafe { libc::signal(libc::SIGUSR1, handler as *const () as libc::sighandler_t) };
    for _ in 0..1000 {
        // SAFETY: the block is freed once, with its layout.
        unsafe {
            let block = INTERRUPTED.alloc(LAYOUT);
            assert!(!block.is_null());
            INTERRUPTED.dealloc(block, LAYOUT);
        }
    }
    assert_eq!(REFUSED.load(Ordering::Relaxed), 2000);
    // SAFETY: what was there before.
    unsafe { libc::signal(libc::SIGUSR1, before) };
}

static FORKED: StaticArena<4096, Sizing16MiB, TryLock> = StaticArena::new();

/// In a forked child a lock that another thread held is held for good, since that thread is not there to let it go: whoever waited would wait
/// for ever. The parent's is free again as soon as its thread is done.
#[test]
fn in_a_forked_child_a_lock_that_was_held_stays_held() {
    let (held, done) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let wait = || {
                held.wait();
                done.wait();
            };
            // SAFETY: the work does not touch the core, and does not unwind.
            unsafe { FORKED.enter(|_| wait()) }.unwrap();
        });
        held.wait();
        // SAFETY: the child does nothing but to ask the heap, and end.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "no fork");
        if child == 0 {
            let refused = (0..1000).all(|_| FORKED.try_alloc(LAYOUT).is_err());
            // SAFETY: it ends the child, without destructors.
            unsafe { libc::_exit(i32::from(!refused)) };
        }
        let mut status = -1;
        // SAFETY: a child of ours, and a place for its status.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0, "the child got a block from a heap that was locked");
        done.wait();
    });
    let block = FORKED.try_alloc(LAYOUT).unwrap();
    // SAFETY: the block is live, of this layout.
    unsafe { FORKED.free(block.cast(), LAYOUT) };
}
