//! The stock of chunks by itself.

use std::alloc::Layout;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use heapwright::cache::{ChunkHeap, Chunks, Clock, KeepAll, KeepSlabs, ReleaseAtOnce, Retention, WorkingSet};
use heapwright::heap::{Locked, UsableSize};
use heapwright::lock::SpinLock;
use heapwright::source::{BackingSource, Limited, Pages, SideHeaders, SourceHeap};

use crate::shadow::Random;
use crate::source::{Ledger, Watched, ledger};

static NOW: AtomicU64 = AtomicU64::new(0);

struct Ticks;
// SAFETY: an atomic addition neither unwinds nor uses a cache.
unsafe impl Clock for Ticks {
    fn now() -> u64 {
        NOW.fetch_add(1, Ordering::Relaxed)
    }
}

/// A block of the stock, and what it was filled with.
struct Live {
    layout: Layout,
    slab: bool,
    mark: u8,
}

/// The first, the last and some bytes between.
fn each_place(block: NonNull<u8>, len: usize, mut see: impl FnMut(NonNull<u8>)) {
    for offset in (0..len).step_by(4000).chain([len - 1]) {
        // SAFETY: within the block.
        see(unsafe { block.add(offset) });
    }
}

fn fill(block: NonNull<u8>, len: usize, mark: u8) {
    // SAFETY: within the block.
    each_place(block, len, |place| unsafe { place.write(mark) });
}

/// Checks the first bytes of a block that was filled.
fn check(block: NonNull<u8>, len: usize, mark: u8) {
    for offset in (0..len).step_by(4000) {
        // SAFETY: within the block.
        assert_eq!(unsafe { block.add(offset).read() }, mark, "at {offset} of {len}");
    }
}

/// Random slabs, runs and larger blocks, which grow, shrink, move and go.
fn model<B, R, const CHUNK: usize>(stock: &ChunkHeap<B, SpinLock, R, CHUNK>, seed: u64)
where
    B: BackingSource + Clone,
    R: Retention,
{
    let mut random = Random::new(seed);
    let mut live: BTreeMap<usize, Live> = BTreeMap::new();
    let mut source = Chunks(stock);
    for step in 0..3000u32 {
        let mark = step as u8;
        let action = random.below(10);
        if action < 5 && live.len() < 60 {
            let slab = action < 2;
            let size = if slab { CHUNK } else { 1 + random.below(if action == 4 { 40 } else { 10 } * CHUNK) };
            let doublings = if random.below(9) == 0 { 24 } else { 13 };
            let align = if slab { CHUNK } else { 1 << random.below(doublings) };
            let layout = Layout::from_size_align(size, align).unwrap();
            let got = if slab {
                source.acquire_slab(48).map(|block| NonNull::slice_from_raw_parts(block, CHUNK))
            } else {
                source.acquire(layout)
            };
            let Ok(got) = got else { continue };
            let block = got.cast::<u8>();
            let (start, len) = (block.addr().get(), got.len());
            assert!(len >= size && start % align == 0, "{layout:?}: {len} bytes at {start:#x}");
            if let Some((other, known)) = live.range(..start + len).next_back() {
                assert!(other + known.layout.size() <= start, "{layout:?} overlaps {:?}", known.layout);
            }
            if slab {
                let header =
                    <Chunks<'_, ChunkHeap<B, SpinLock, R, CHUNK>> as SideHeaders>::header_address(start + 48);
                assert!(
                    live.range(..=header)
                        .next_back()
                        .is_none_or(|(other, known)| other + known.layout.size() <= header)
                );
                // SAFETY: the slab is live, and the place a multiple of 48 bytes on.
                assert_eq!(unsafe { stock.usable_size(block.add(480)) }, 48);
            } else {
                // SAFETY: the block is live.
                assert_eq!(unsafe { stock.usable_size(block) }, len);
            }
            fill(block, size, mark);
            live.insert(start, Live { layout, slab, mark });
            continue;
        }
        let from = random.next() as usize >> 17;
        let Some((&start, _)) = live.range(from..).next().or(live.iter().next()) else { continue };
        let known = live.remove(&start).unwrap();
        let block = NonNull::new(std::ptr::with_exposed_provenance_mut::<u8>(start)).unwrap();
        let (layout, old) = (known.layout, known.layout.size());
        check(block, old, known.mark);
        if known.slab {
            // SAFETY: the slab is live, and nobody uses it.
            unsafe { source.release_slab(block) };
            continue;
        }
        let new_size = match action {
            5 => old + random.below(4 * CHUNK),
            6 => 1 + random.below(old),
            7 => 2 * old,
            _ => {
                // SAFETY: the block is live, and its layout this one.
                unsafe { source.release(block, layout) };
                continue;
            }
        };
        // SAFETY: the block is live, its layout this one, and what lies behind the new size is not needed.
        let resized = unsafe {
            match action {
                5 => source.extend(block, layout, new_size),
                6 => source.shrink(block, layout, new_size),
                _ => source.remap(block, layout, new_size),
            }
        };
        let (block, size) = resized.map_or((block, old), |block| (block.cast(), new_size));
        check(block, old.min(size), known.mark);
        fill(block, size, mark);
        let layout = Layout::from_size_align(size, layout.align()).unwrap();
        assert_eq!(block.addr().get() % layout.align(), 0);
        live.insert(block.addr().get(), Live { layout, slab: false, mark });
    }
    for (start, known) in live {
        let block = NonNull::new(std::ptr::with_exposed_provenance_mut::<u8>(start)).unwrap();
        check(block, known.layout.size(), known.mark);
        // SAFETY: each is live, with this layout.
        unsafe { if known.slab { source.release_slab(block) } else { source.release(block, known.layout) } };
    }
    stock.tick();
    assert_eq!((stock.stats().chunks_used, stock.stats().large_blocks), (0, 0));
    stock.release();
    assert_eq!(stock.stats(), heapwright::cache::ChunkStats::default());
}

fn over_pages<R: Retention, const CHUNK: usize>(seed: u64) {
    model(&ChunkHeap::<Pages, SpinLock, R, CHUNK>::new(Pages), seed);
}

#[test]
fn with_every_policy_and_chunks_of_all_lengths() {
    over_pages::<KeepAll, 65536>(1);
    over_pages::<ReleaseAtOnce, 65536>(2);
    over_pages::<KeepSlabs<5>, 8192>(3);
    over_pages::<WorkingSet<Ticks, 7>, 16384>(4);
    over_pages::<KeepAll, 8192>(5);
    over_pages::<KeepSlabs<2>, 1048576>(6);
}

#[test]
fn over_a_heap_by_reference_that_runs_out() {
    let heap = Locked::<_, SpinLock>::new(SourceHeap::new(Limited::new(Pages, 24 << 20)));
    model(&ChunkHeap::<_, SpinLock, KeepSlabs<9>, 16384>::new(&heap), 7);
    assert_eq!(heap.into_inner().source().used(), 0);
}

/// What is purged still counts as kept where purged memory is not zero. It does not stand in the way of what lies below it.
#[test]
fn regions_without_a_chunk_in_use_go_back_to_a_source_that_does_not_zero() {
    const RUN: Layout = Layout::new::<[u8; 16 * 8192]>();
    let heap = Locked::<_, SpinLock>::new(SourceHeap::new(Limited::new(Pages, 24 << 20)));
    let stock = ChunkHeap::<_, SpinLock, KeepAll, 8192>::new(&heap);
    let mut runs: Vec<_> = (0..12).map(|_| Chunks(&stock).acquire(RUN).unwrap().cast::<u8>()).collect();
    assert!(stock.stats().regions > 2);
    runs.sort_unstable();
    let highest = runs.pop().unwrap();
    // SAFETY: each is live, with this layout.
    runs.into_iter().for_each(|run| unsafe { Chunks(&stock).release(run, RUN) });
    stock.release();
    assert_eq!((stock.stats().regions, stock.stats().chunks_used), (1, 16));
    // SAFETY: as above.
    unsafe { Chunks(&stock).release(highest, RUN) };
    stock.release();
    assert_eq!(heap.into_inner().source().used(), 0);
}

#[test]
fn the_source_gets_back_what_it_gave() {
    ledger!(Stock);
    for left in 0..12 {
        Stock::account().lock().unwrap().left = left;
        model(
            &ChunkHeap::<Watched<Stock>, SpinLock, WorkingSet<Ticks, 30>, 8192>::new(Watched::new()),
            left as u64,
        );
        assert!(Stock::account().lock().unwrap().out.is_empty());
    }
}

#[test]
fn what_is_kept_is_used_again_and_what_is_purged_is_zero() {
    let stock = ChunkHeap::<Pages, SpinLock, KeepAll>::new(Pages);
    let layout = Layout::new::<[u8; 200_000]>();
    let block = Chunks(&stock).acquire(layout).unwrap().cast::<u8>();
    fill(block, 200_000, 7);
    // SAFETY: the block is live.
    unsafe { Chunks(&stock).release(block, layout) };
    assert_eq!(stock.stats().bytes_kept, 4 * 65536);
    let again = Chunks(&stock).acquire(layout).unwrap().cast::<u8>();
    assert_eq!(again, block, "resident memory first");
    check(again, 200_000, 7);
    let slab = Chunks(&stock).acquire_slab(16).unwrap();
    // SAFETY: the block is live.
    unsafe { Chunks(&stock).release(again, layout) };
    stock.release();
    assert_eq!((stock.stats().bytes_kept, stock.stats().regions), (0, 1));
    let purged = Chunks(&stock).acquire(layout).unwrap().cast::<u8>();
    assert_eq!(purged, block);
    check(purged, 200_000, 0);
    // SAFETY: both are live.
    unsafe {
        Chunks(&stock).release(purged, layout);
        Chunks(&stock).release_slab(slab);
    }
    stock.release();
    assert_eq!(stock.stats().regions, 0);
}

#[test]
fn large_blocks_are_kept_for_the_next_and_moved_by_their_pages() {
    let stock = ChunkHeap::<Pages, SpinLock, KeepAll>::new(Pages);
    let layout = Layout::from_size_align(2_000_000, 4096).unwrap();
    let block = Chunks(&stock).acquire(layout).unwrap().cast::<u8>();
    // SAFETY: the block is live.
    unsafe { Chunks(&stock).release(block, layout) };
    assert!(stock.stats().bytes_kept >= 2_000_000);
    let shorter = Layout::from_size_align(1_950_000, 4096).unwrap();
    assert_eq!(Chunks(&stock).acquire(shorter).unwrap().cast(), block);
    fill(block, 1_950_000, 3);
    // SAFETY: the block is live, and its layout this one.
    let moved = unsafe { Chunks(&stock).remap(block, shorter, 50_000_000) };
    if cfg!(target_os = "linux") {
        let (moved, len) = moved.map(|moved| (moved.cast::<u8>(), moved.len())).unwrap();
        check(moved, 1_900_000, 3);
        // SAFETY: the block is live.
        assert_eq!(unsafe { stock.usable_size(moved) }, len);
        assert!(len >= 50_000_000);
        // SAFETY: the block is live, and its layout this one.
        unsafe { Chunks(&stock).release(moved, Layout::from_size_align(50_000_000, 4096).unwrap()) };
    }
    stock.release();
}

#[test]
fn no_block_is_shrunk_to_nothing() {
    let stock = ChunkHeap::<Pages, SpinLock, KeepAll, 8192>::new(Pages);
    for size in [20_000, 1_000_000] {
        let layout = Layout::from_size_align(size, 8).unwrap();
        let block = Chunks(&stock).acquire(layout).unwrap().cast::<u8>();
        fill(block, size, 5);
        // SAFETY: the block is live, and its layout this one.
        assert!(unsafe { Chunks(&stock).shrink(block, layout, 0) }.is_err());
        check(block, size, 5);
        // SAFETY: as above.
        unsafe { Chunks(&stock).release(block, layout) };
    }
}
