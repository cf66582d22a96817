//! Two threads that free one block at once, the second before the first one has a lock.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError};

use heapwright::cache::malloc::ChunkStock;
use heapwright::cache::{ChunkHeap, Classes, KeepAll, MallocSettings};
use heapwright::check::{Checked, Wrong};
use heapwright::lock::{HoldLock, Lock, YieldLock};
use heapwright::source::Pages;

use crate::{Note, found};

/// So many locks from now, what happens then.
type After = (usize, fn());

std::thread_local! {
    /// What the other one does before this thread gets a lock.
    static OTHER: Cell<Option<After>> = const { Cell::new(None) };
    /// Locks that this thread holds for a fork.
    static HELD: Cell<usize> = const { Cell::new(0) };
    static BLOCK: Cell<(*mut u8, usize)> = const { Cell::new((std::ptr::null_mut(), 0)) };
}

/// Frees the block; the same as a thread would that comes first.
fn frees() {
    let (block, size) = BLOCK.get();
    // SAFETY: live, with its layout.
    unsafe { LateHeap.dealloc(block, layout(size)) };
}

/// A lock that lets another in first.
#[derive(Debug)]
struct Late(YieldLock);

// SAFETY: L1 to L4: those of the lock within, before which a call is made that neither unwinds nor holds it.
unsafe impl Lock for Late {
    const INIT: Self = Late(YieldLock::INIT);

    fn with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        match OTHER.take() {
            Some((0, other)) => other(),
            Some((locks, other)) => OTHER.set(Some((locks - 1, other))),
            None => {}
        }
        self.0.with(work)
    }

    fn try_with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        self.0.try_with(work)
    }
}

// SAFETY: L5: that of the lock within.
unsafe impl HoldLock for Late {
    fn hold(&self) {
        self.0.hold();
        HELD.set(HELD.get() + 1);
    }

    unsafe fn let_go(&self) {
        HELD.set(HELD.get() - 1);
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.let_go() };
    }
}

struct Parts;
impl MallocSettings for Parts {
    type Classes = Classes;
    type Chunks = ChunkHeap<Pages, Late, KeepAll, 32768, { usize::MAX }, Checked<Note>>;
    type Lock = YieldLock;
}
heapwright::malloc! { static LATE as LateHeap: Parts = ChunkHeap::new(Pages); }

/// What other tests have in the heap is not to be in the way.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

/// One of the two frees it, and the other is told: who has not looked at it yet, and who takes it out of the books after that.
#[test]
fn of_two_frees_at_once_one_is_told() {
    let _alone = alone();
    // A large block that has gone is unknown.
    let blocks = [(100_000, Wrong::DoubleFree), (2 << 20, Wrong::Foreign)];
    for ((size, told), locks) in blocks.into_iter().flat_map(|block| [(block, 0), (block, 1)]) {
        // SAFETY: the size is not zero.
        let block = unsafe { LateHeap.alloc(layout(size)) };
        let before = LateHeap.stats().bytes_live;
        BLOCK.set((block, size));
        OTHER.set(Some((locks, frees)));
        // SAFETY: none: it is free by the time that it is taken out of the books, which is to be found.
        unsafe { LateHeap.dealloc(block, layout(size)) };
        assert!(OTHER.get().is_none(), "the other was first");
        let all = found();
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!((all[0].wrong, all[0].address), (told, block.addr()));
        assert!(before - LateHeap.stats().bytes_live >= size, "it was freed once");
        // SAFETY: the size is not zero.
        let [one, other] = [(); 2].map(|()| unsafe { LateHeap.alloc(layout(size)) });
        assert_ne!(one, other, "nobody gets it twice");
        for block in [one, other] {
            // SAFETY: live, with that layout.
            unsafe { LateHeap.dealloc(block, layout(size)) };
        }
        assert_eq!(found(), []);
    }
    LateHeap.release();
}

/// The same where the memory of the block has gone back to the OS by then: nobody looks at it.
#[test]
fn of_two_frees_at_once_one_is_told_when_the_memory_is_gone() {
    fn frees_and_releases() {
        frees();
        LateHeap.release();
    }
    let _alone = alone();
    for locks in [0, 1] {
        LateHeap.release();
        // What is in the region of the thread's own memory would keep it: another one is full by then.
        let layout = layout(16 * 32768);
        let full: Vec<_> = (0..4)
            .map(|_| {
                // SAFETY: the size is not zero.
                unsafe { LateHeap.alloc(layout) }
            })
            .collect();
        let regions = LateHeap.stats().chunks.regions;
        let mut others = full;
        let block = loop {
            // SAFETY: the size is not zero.
            let block = unsafe { LateHeap.alloc(layout) };
            if LateHeap.stats().chunks.regions > regions {
                break block;
            }
            others.push(block);
        };
        BLOCK.set((block, layout.size()));
        OTHER.set(Some((locks, frees_and_releases)));
        // SAFETY: none: it is free, and gone, by the time that it is taken out of the books.
        unsafe { LateHeap.dealloc(block, layout) };
        let all = found();
        assert_eq!((all.len(), all[0].address), (1, block.addr()), "{all:?}");
        for block in others {
            // SAFETY: live, with that layout.
            unsafe { LateHeap.dealloc(block, layout) };
        }
        assert_eq!(found(), []);
    }
}

/// Who forks holds the stock's lock meanwhile.
#[test]
fn stocks_are_held() {
    static STOCK: ChunkHeap<Pages, Late> = ChunkHeap::new(Pages);
    STOCK.hold();
    assert_eq!(HELD.get(), 1);
    // SAFETY: it is held by this thread.
    unsafe { STOCK.let_go() };
    assert_eq!(HELD.get(), 0);
}
