//! Which methods of its child each wrapper calls: one that forgets `resize` would lose growth in place.

use std::alloc::Layout;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::combine::{DynHeap, Ring, Scoped, Shared};
use heapwright::heap::{Heap, Locked, Owns, SharedHeap};
use heapwright::lock::NoLock;
use heapwright::source::{Buffer, SourceHeap};

use super::layout;

thread_local! {
    static CALLS: Cell<[u32; 8]> = const { Cell::new([0; 8]) };
}

const ALLOC: usize = 0;
const ZEROED: usize = 1;
const DEALLOC: usize = 2;
const RESIZE: usize = 3;
const IN_PLACE: usize = 4;
const BATCH: usize = 5;
const FREE_BATCH: usize = 6;
const RELEASE: usize = 7;

fn call(which: usize) {
    CALLS.with(|calls| {
        let mut now = calls.get();
        now[which] += 1;
        calls.set(now);
    });
}

/// How often each was called since the last time.
fn calls() -> [u32; 8] {
    CALLS.with(|calls| calls.replace([0; 8]))
}

struct Probe<'a>(SourceHeap<Buffer<'a>>);

// SAFETY: H1 to H7 are those of the heap within.
unsafe impl Heap for Probe<'_> {
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        call(ALLOC);
        self.0.alloc(layout)
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        call(DEALLOC);
        // SAFETY: the caller's promise is the same, here and below.
        unsafe { self.0.dealloc(ptr, layout) };
    }

    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        call(ZEROED);
        self.0.alloc_zeroed(layout)
    }

    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        call(IN_PLACE);
        // SAFETY: as above.
        unsafe { self.0.resize_in_place(ptr, old, new) }
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        call(RESIZE);
        // SAFETY: as above.
        unsafe { self.0.resize(ptr, old, new) }
    }

    fn good_size(&self, layout: Layout) -> usize {
        layout.size().next_multiple_of(512)
    }

    fn alloc_batch(&mut self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        call(BATCH);
        self.0.alloc_batch(layout, out)
    }

    unsafe fn dealloc_batch(&mut self, layout: Layout, blocks: &[NonNull<u8>]) {
        call(FREE_BATCH);
        // SAFETY: as above.
        unsafe { self.0.dealloc_batch(layout, blocks) };
    }

    fn release_unused(&mut self) -> usize {
        call(RELEASE);
        77
    }
}

// SAFETY: there is one such heap in each test.
unsafe impl Owns for Probe<'_> {
    fn owns(&self, _: NonNull<u8>, _: Layout) -> bool {
        true
    }
}

fn in_place<A: SharedHeap>(
    heap: &A,
    block: NonNull<u8>,
    old: Layout,
    new: Layout,
) -> Result<Result<NonNull<[u8]>, AllocError>, AllocError> {
    // SAFETY: the callers' block is live, and `old` its layout.
    let work = |core: &mut A::Core<'_>| unsafe { core.resize_in_place(block, old, new) };
    // SAFETY: the closure only calls the core.
    unsafe { heap.enter(work) }
}

/// Calls everything once, through the shared side.
fn all_through(heap: &impl SharedHeap, good: usize) {
    let (short, long) = (layout(32, 8), layout(64, 8));
    calls();
    let block = heap.try_alloc(short).expect("room").cast::<u8>();
    assert_eq!(calls()[ALLOC], 1);
    let grown = in_place(heap, block, short, long);
    assert_eq!(
        grown.map(|block| block.map(|block| block.cast())),
        Ok(Ok(block)),
        "the last block grows where it stands"
    );
    assert_eq!(calls()[IN_PLACE], 1);
    // SAFETY: as above.
    let shrunk = unsafe { heap.try_resize(block, long, short) };
    assert_eq!(shrunk.map(|block| block.cast()), Ok(block));
    assert_eq!(calls(), [0, 0, 0, 1, 0, 0, 0, 0]);
    // SAFETY: as above.
    unsafe { heap.free(block, short) };
    assert_eq!(calls()[DEALLOC], 1);
    let block = heap.try_alloc_zeroed(short).expect("room").cast::<u8>();
    assert_eq!(calls(), [0, 1, 0, 0, 0, 0, 0, 0]);
    // SAFETY: as above.
    unsafe { heap.free(block, short) };
    let mut places = [MaybeUninit::uninit(); 3];
    calls();
    assert_eq!(heap.try_alloc_batch(short, &mut places), 3);
    assert_eq!(calls(), [0, 0, 0, 0, 0, 1, 0, 0]);
    // SAFETY: all were filled.
    let blocks = places.map(|place| unsafe { place.assume_init() });
    // SAFETY: they are live and all different, and the layout is their own.
    unsafe { heap.free_batch(short, &blocks) };
    assert_eq!(calls(), [0, 0, 0, 0, 0, 0, 1, 0]);
    assert_eq!(heap.release_unused(), 77);
    assert_eq!(calls()[RELEASE], 1);
    // SAFETY: the closure only calls the core.
    assert_eq!(unsafe { heap.enter(|core| core.good_size(short)) }, Ok(good));
}

#[test]
fn every_method_is_forwarded() {
    let mut memory = vec![MaybeUninit::uninit(); 4096];
    let mut probe = || {
        // SAFETY: the bytes outlive all heaps of this test, which are used one after the other.
        let all = unsafe { std::slice::from_raw_parts_mut(memory.as_mut_ptr(), 4096) };
        Probe(SourceHeap::new(Buffer::from_slice(all)))
    };
    all_through(&Locked::<_, NoLock>::new(probe()), 512);
    all_through(&Locked::<_, NoLock>::new(Scoped::new(probe())), 512 - 4 * size_of::<usize>());
    all_through(&Locked::<_, NoLock>::new(Ring::new([probe()])), 512);
    all_through(&Shared::<_, NoLock>::new(probe()).expect("room"), 512);
    let heap = Locked::<_, NoLock>::new(probe());
    let erased: &dyn DynHeap = &heap;
    all_through(&erased, 512);
    let twice: &dyn DynHeap = &erased;
    all_through(&twice, 512);
}
