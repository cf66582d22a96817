//! The heap behind runs out, at each of its requests in turn.

use heapwright::AllocError;
use heapwright::combine::StackFirst;
use heapwright::heap::{Locked, SharedHeap};
use heapwright::lock::NoLock;
use heapwright::source::{Counted, Failing, GlobalHeap, SourceHeap};

use super::{holds, layout};

type Behind = Locked<SourceHeap<Failing<Counted<GlobalHeap>>>, NoLock>;

/// Blocks that live at the same time: what is in them, and their layouts.
struct Live<'a> {
    heap: &'a StackFirst<96, Behind>,
    blocks: Vec<(std::ptr::NonNull<[u8]>, std::alloc::Layout, u8)>,
}

impl Live<'_> {
    fn alloc(&mut self, size: usize, align: usize, fill: u8) -> Result<(), AllocError> {
        let block = self.heap.try_alloc(layout(size, align))?;
        // SAFETY: the block is live and that long.
        unsafe { block.cast::<u8>().write_bytes(fill, size) };
        self.blocks.push((block, layout(size, align), fill));
        Ok(())
    }

    fn resize(&mut self, at: usize, size: usize, align: usize) -> Result<(), AllocError> {
        let (block, old, fill) = self.blocks[at];
        let new = layout(size, align);
        // SAFETY: the block is live, and its layout its own.
        let resized = unsafe { self.heap.try_resize(block.cast(), old, new) }?;
        assert!(holds(resized, old.size().min(size), fill));
        // SAFETY: the block is live and that long.
        unsafe { resized.cast::<u8>().write_bytes(fill, size) };
        self.blocks[at] = (resized, new, fill);
        Ok(())
    }
}

impl Drop for Live<'_> {
    /// Whatever went wrong, every block is whole, and goes back.
    fn drop(&mut self) {
        for &(block, layout, fill) in &self.blocks {
            assert!(holds(block, layout.size(), fill), "a block of {layout:?} is no longer whole");
            // SAFETY: the block is live, and its layout its own.
            unsafe { self.heap.free(block.cast(), layout) };
        }
    }
}

/// Goes on after each failure; gives how many there were.
fn work(heap: &StackFirst<96, Behind>) -> usize {
    let mut live = Live { heap, blocks: Vec::new() };
    let mut failures = 0;
    for round in 0..4u8 {
        for (size, align) in [(10, 1), (40, 8), (30, 16), (200, 8), (24, 128)] {
            failures += usize::from(live.alloc(size, align, round * 16 + size as u8).is_err());
        }
        for at in 0..live.blocks.len() {
            for (size, align) in [(50, 8), (97, 8), (96, 8), (20, 64), (500, 2), (3, 1)] {
                failures += usize::from(live.resize(at, size, align).is_err());
            }
        }
        if let Some((block, layout, _)) = live.blocks.pop() {
            // SAFETY: the block is live, and its layout its own.
            unsafe { heap.free(block.cast(), layout) };
        }
    }
    failures
}

fn check(source: Failing<Counted<GlobalHeap>>) -> (usize, u64) {
    let heap = StackFirst::new(Behind::new(SourceHeap::new(source)));
    let failures = work(&heap);
    assert_eq!((heap.usage().used, heap.usage().objects), (0, 0));
    let source = heap.into_inner().into_inner().into_inner();
    let requests = source.requests();
    let counts = source.into_inner().counts();
    assert_eq!((counts.blocks, counts.bytes), (0, 0), "blocks are left behind");
    (failures, requests)
}

#[test]
fn at_each_request_in_turn() {
    let source = || Counted::new(GlobalHeap);
    let (failures, requests) = check(Failing::never(source()));
    assert!(failures == 0 && requests > 50, "{requests} requests, {failures} failed");
    let mut seen = 0;
    for n in 0..requests {
        seen += check(Failing::nth(source(), n)).0;
        let more = check(Failing::after(source(), n)).0;
        // The last requests may be to shrink, and what shrinks may have room in the buffer.
        assert!(more > 0 || n + 10 > requests, "all fail after {n}, and nobody is told");
    }
    assert!(seen > 0, "no failure reached the caller");
}
