//! A block that is moved to where the heap's map of addresses has no room for it.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]
#![expect(clippy::multiple_unsafe_ops_per_block, reason = "one block, its whole life")]

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use heapwright::AllocError;
use heapwright::cache::{ChunkHeap, Classes, KeepAll, MallocSettings};
use heapwright::check::Checked;
use heapwright::lock::YieldLock;
use heapwright::source::{BackingSource, Pages};

use crate::{Note, found};

/// Whether large blocks are to be far from all others, and small ones not to be had.
static IS_FAR: AtomicBool = AtomicBool::new(false);

/// How often the pages of a block were moved.
static MOVES: AtomicUsize = AtomicUsize::new(0);

/// Where nothing else is, as a rule, aligned to more than a region.
const FAR: usize = 0x2000_0000_0000;
const LARGE: usize = 3 << 20;

/// Pages, some of them far away.
#[derive(Clone)]
struct Far;

// SAFETY: B1 to B6 are those of `Pages`, whose memory is mapped by the same call of the OS; B7: there is no state of its own.
unsafe impl BackingSource for Far {
    const GRANULE: usize = Pages::GRANULE;
    const ALIGN_MAX: usize = Pages::ALIGN_MAX;
    const ZEROED: bool = true;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if !IS_FAR.load(Relaxed) {
            return Pages.acquire(layout);
        }
        if layout.size() < LARGE {
            return Err(AllocError);
        }
        let len = layout.size().next_multiple_of(Pages::page_size());
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let hint = std::ptr::without_provenance_mut(FAR);
        // SAFETY: fresh memory, wherever it comes to lie.
        let start = unsafe { libc::mmap(hint, len, protection, flags, -1, 0) };
        let start = NonNull::new(start.cast::<u8>()).filter(|start| start.addr().get() % layout.align() == 0);
        Ok(NonNull::slice_from_raw_parts(start.ok_or(AllocError)?, len))
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.release(block, layout) };
    }

    unsafe fn relocate(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        target: NonNull<[u8]>,
    ) -> Result<(), AllocError> {
        MOVES.fetch_add(1, Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.relocate(block, old, target) }
    }
}

struct Settings;
impl MallocSettings for Settings {
    type Classes = Classes;
    type Chunks = ChunkHeap<Far, YieldLock, KeepAll, 32768, { usize::MAX }, Checked<Note>>;
    type Lock = YieldLock;
}
heapwright::malloc! { static MOVED as MovedMalloc: Settings = ChunkHeap::new(Far); }

#[test]
fn a_block_that_can_not_be_noted_is_not_moved() {
    let (short, long) = (4 << 20, 16 << 20);
    let layout = Layout::from_size_align(short, 16).unwrap();
    // SAFETY: the block is resized and freed with the layout that it has then.
    unsafe {
        let block = MovedMalloc.alloc(layout);
        block.write(7);
        IS_FAR.store(true, Relaxed);
        assert!(MovedMalloc.realloc(block, layout, long).is_null(), "there is no room in the map");
        assert_eq!(block.read(), 7);
        IS_FAR.store(false, Relaxed);
        let moved = MovedMalloc.realloc(block, layout, long);
        assert_eq!((moved.read(), MOVES.load(Relaxed)), (7, 1), "its pages are moved");
        MovedMalloc.dealloc(moved, Layout::from_size_align(long, 16).unwrap());
    }
    assert_eq!(found(), [], "nothing was wrong");
    MovedMalloc.release();
    assert_eq!(MovedMalloc.stats().bytes_live, 0);
}
