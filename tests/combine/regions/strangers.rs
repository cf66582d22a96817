//! What comes back and is nobody's: it is left alone, and nothing unwinds.

use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::combine::{Arenas, Chain, Factory, FixedChunks, Region, Ring, Scoped};
use heapwright::conformance::{Call, Probe};
use heapwright::heap::{Heap, Owns};
use heapwright::sizing::{Checked, Sizing4KiB};
use heapwright::source::{Counted, GlobalHeap};

use super::layout;

/// Frees two blocks of another heap, alone and in a batch: this one has all of its own afterwards, and those are as they were.
fn leaves_alone<H: Owns>(heap: &mut H) {
    let layout = layout(24, 8);
    let ours = heap.alloc(layout).expect("room").cast::<u8>();
    let mut theirs = [[7u64; 3]; 2];
    let strangers = theirs.each_mut().map(|block| NonNull::from(block).cast::<u8>());
    // SAFETY: the fault that is looked for; the memory is there.
    unsafe { heap.dealloc(strangers[0], layout) };
    // SAFETY: as above.
    unsafe { heap.dealloc_batch(layout, &strangers) };
    assert_eq!(theirs, [[7; 3]; 2]);
    assert!(heap.owns(ours, layout));
    // SAFETY: the block is live, and the layout its own.
    unsafe { heap.dealloc_batch(layout, &[ours]) };
}

#[test]
fn a_chain_and_a_ring_leave_blocks_of_others_alone() {
    let mut chain = Chain::<Arenas<Checked<Sizing4KiB>, FixedChunks<4096>>, _>::new(
        Arenas::new(),
        Counted::new(GlobalHeap),
    );
    leaves_alone(&mut chain);
    assert_eq!((chain.heaps(), chain.idle(), chain.source().counts().blocks), (1, 1, 1));
    // Where the heaps look at nothing, it is found in none.
    let mut chain = Chain::<Laxes, _, 1>::new(Laxes, Counted::new(GlobalHeap));
    leaves_alone(&mut chain);
    assert_eq!((chain.heaps(), chain.idle()), (1, 1));
    leaves_alone(&mut Ring::new([(); 3].map(|()| Region::<GlobalHeap>::new(GlobalHeap))));
}

/// Every block of a scope has a record before it, so the longest layouts are those of none.
#[test]
fn a_scope_has_no_block_as_long_as_memory() {
    let probe = Probe::new();
    let mut scoped = Scoped::new(probe.clone());
    let (short, long) = (layout(24, 8), layout(isize::MAX as usize - 7, 8));
    let block = scoped.alloc(short).expect("room").cast::<u8>();
    // SAFETY: the fault that is looked for: nothing before the block is touched.
    unsafe { scoped.dealloc(block, long) };
    // SAFETY: as above.
    unsafe { scoped.dealloc_batch(long, &[block]) };
    assert_eq!((scoped.live(), probe.blocks()), (1, 1));
    assert_eq!(probe.calls(Call::Dealloc) + probe.calls(Call::DeallocBatch), 0);
    assert_eq!(scoped.good_size(long), long.size());
    assert_eq!(scoped.alloc_batch(long, &mut [MaybeUninit::uninit()]), 0);
    // SAFETY: the block is live, and the layout its own.
    unsafe { scoped.dealloc(block, short) };
    assert_eq!((scoped.live(), probe.blocks()), (0, 0));
}

/// Blocks one behind the other, each whatever comes back of the chunk.
struct Lax {
    start: NonNull<u8>,
    len: usize,
    used: usize,
}

// SAFETY: H1, H2: each block is a part of the chunk that no other is. H3 to H5: arithmetic on small numbers. H6: refused. H7: the default.
unsafe impl Heap for Lax {
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let end = self.used + layout.size().next_multiple_of(8);
        if layout.size() == 0 || layout.align() > 8 || end > self.len {
            return Err(AllocError);
        }
        // SAFETY: within the chunk.
        let start = unsafe { self.start.add(self.used) };
        self.used = end;
        Ok(NonNull::slice_from_raw_parts(start, layout.size()))
    }

    unsafe fn dealloc(&mut self, _: NonNull<u8>, _: Layout) {}
}

// SAFETY: its blocks are those in its chunk.
unsafe impl Owns for Lax {
    fn owns(&self, ptr: NonNull<u8>, _: Layout) -> bool {
        ptr.addr().get().wrapping_sub(self.start.addr().get()) < self.len
    }
}

struct Laxes;

// SAFETY: N1: a heap has bytes of its chunk only. N2: nothing unwinds. N3: the default.
unsafe impl Factory for Laxes {
    type Heap = Lax;

    fn chunk(&self, request: Layout, _: usize) -> Option<Layout> {
        (request.size() <= 1000).then_some(layout(1000, 8))
    }

    unsafe fn heap(&self, start: NonNull<u8>, len: usize) -> Lax {
        Lax { start, len, used: 0 }
    }
}

/// Where the heaps of a chain do not find it: the chain still knows which of them have blocks.
#[test]
fn a_block_that_comes_back_too_often_is_counted_once() {
    let mut chain = Chain::<Laxes, _, 1>::new(Laxes, Counted::new(GlobalHeap));
    let layout = layout(24, 8);
    let block = chain.alloc(layout).expect("room").cast::<u8>();
    for _ in 0..3 {
        // SAFETY: the block is live in the first turn; later it is the fault that is looked for, and its memory is the chunk's.
        unsafe { chain.dealloc(block, layout) };
        assert_eq!((chain.heaps(), chain.idle(), chain.source().counts().blocks), (1, 1, 1));
    }
    // SAFETY: as above.
    unsafe { chain.dealloc_batch(layout, &[block, block]) };
    assert_eq!((chain.heaps(), chain.idle()), (1, 1));
    chain.alloc(layout).expect("room");
    assert_eq!((chain.heaps(), chain.idle(), chain.source().counts().acquired), (1, 0, 1));
}
