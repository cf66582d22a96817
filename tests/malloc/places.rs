//! Which chunks a stock hands out, which go back, and what its source is told.

use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

use heapwright::AllocError;
#[cfg(target_os = "linux")]
use heapwright::cache::malloc::ChunkStock;
use heapwright::cache::{ChunkHeap, ChunkStats, Chunks, KeepAll, KeepSlabs, ReleaseAtOnce};
#[cfg(target_os = "linux")]
use heapwright::check::{Abort, Checks, Off};
use heapwright::heap::UsableSize;
use heapwright::lock::YieldLock;
#[cfg(target_os = "linux")]
use heapwright::source::SideHeaders;
use heapwright::source::{BackingSource, Pages};

const CHUNK: usize = 8192;
const REGION: usize = 64 * CHUNK;
/// Chunks of a region that can be handed out, the last ones.
const CHUNKS: usize = 62;

/// What a source is told, by address and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Acquire(Layout),
    Purge(usize, usize),
    PreferHuge(usize, usize),
}

type Work = Box<dyn FnOnce() + Send>;

std::thread_local! {
    static CALLS: RefCell<Vec<Call>> = const { RefCell::new(Vec::new()) };
    /// What another thread does while this one purges the next time.
    static MEANWHILE: Cell<Option<Work>> = const { Cell::new(None) };
}

/// What this thread's sources have been told since this was last asked.
fn calls() -> Vec<Call> {
    CALLS.take()
}

/// Pages that note what they are told, aligned to a region at most, which extend no block and purge by writing.
#[derive(Clone, Copy, Debug)]
struct Told<const ZEROED: bool>;

// SAFETY: B1 to B6 are those of `Pages`, whose alignments are more. B7: there is no state of its own.
unsafe impl<const ZEROED: bool> BackingSource for Told<ZEROED> {
    const GRANULE: usize = Pages::GRANULE;
    const ALIGN_MAX: usize = REGION;
    const ZEROED: bool = ZEROED;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        CALLS.with_borrow_mut(|calls| calls.push(Call::Acquire(layout)));
        Pages.acquire(layout)
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.release(block, layout) };
    }

    unsafe fn shrink(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.shrink(block, old, new_size) }
    }

    unsafe fn relocate(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        target: NonNull<[u8]>,
    ) -> Result<(), AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.relocate(block, old, target) }
    }

    unsafe fn purge(&mut self, ptr: NonNull<u8>, len: usize) {
        CALLS.with_borrow_mut(|calls| calls.push(Call::Purge(ptr.addr().get(), len)));
        if let Some(work) = MEANWHILE.take() {
            std::thread::spawn(work).join().unwrap();
        }
        // SAFETY: the caller's promise: nobody needs what is there.
        unsafe { ptr.write_bytes(0, len) };
    }

    fn good_size(&self, layout: Layout) -> usize {
        Pages.good_size(layout)
    }

    unsafe fn prefer_huge(&mut self, ptr: NonNull<u8>, len: usize) {
        CALLS.with_borrow_mut(|calls| calls.push(Call::PreferHuge(ptr.addr().get(), len)));
    }
}

type Stock<R = KeepAll, const ZEROED: bool = true> = ChunkHeap<Told<ZEROED>, YieldLock, R, CHUNK>;

fn chunks(count: usize) -> Layout {
    Layout::from_size_align(count * CHUNK, 1).unwrap()
}

/// A run of so many chunks.
fn run<H>(stock: &H, count: usize) -> NonNull<u8>
where
    for<'a> Chunks<'a, H>: BackingSource,
{
    let run = Chunks(stock).acquire(chunks(count)).unwrap();
    assert_eq!((run.len(), Chunks(stock).good_size(chunks(count))), (count * CHUNK, count * CHUNK));
    run.cast()
}

fn give<H>(stock: &H, run: NonNull<u8>, count: usize)
where
    for<'a> Chunks<'a, H>: BackingSource,
{
    // SAFETY: callers have a live run of so many chunks, which nobody uses.
    unsafe { Chunks(stock).release(run, chunks(count)) };
}

/// The number of a chunk in its region.
fn number(run: NonNull<u8>) -> usize {
    run.addr().get() % REGION / CHUNK
}

fn region(run: NonNull<u8>) -> usize {
    run.addr().get() / REGION
}

/// A run takes the chunks behind it that it needs, and no other has to be free; up to the region's last.
#[test]
fn runs_grow_where_they_stand() {
    let stock = Stock::<KeepAll>::new(Told);
    let extend = |block: NonNull<u8>, from: usize, to: usize| {
        // SAFETY: callers have a live run of so many chunks.
        let grown = unsafe { Chunks(&stock).extend(block, chunks(from), to * CHUNK) };
        assert!(grown.is_err() || grown == Ok(NonNull::slice_from_raw_parts(block, to * CHUNK)));
        // SAFETY: the run is live, with one of these lengths.
        assert_eq!(unsafe { stock.usable_size(block) }, if grown.is_ok() { to } else { from } * CHUNK);
        grown.is_ok()
    };
    let (short, gap, other) = (run(&stock, 2), run(&stock, 2), run(&stock, 1));
    assert_eq!([short, gap, other].map(number), [2, 4, 6]);
    assert!(!extend(short, 2, 3));
    give(&stock, gap, 2);
    assert!(extend(short, 2, 4) && !extend(short, 4, 5));
    let fill: Vec<_> = (0..3).map(|_| run(&stock, 16)).collect();
    let last = run(&stock, 7);
    assert_eq!(number(last), 55);
    assert!(!extend(last, 7, 10), "behind the region");
    assert!(extend(last, 7, 9), "to its end");
    assert_eq!((stock.stats().chunks_used, stock.stats().regions), (CHUNKS, 1));
    fill.into_iter().for_each(|run| give(&stock, run, 16));
    [(short, 4), (other, 1), (last, 9)].into_iter().for_each(|(run, count)| give(&stock, run, count));
    stock.release();
    assert_eq!(stock.stats(), ChunkStats::default());
}

/// A block of its own is resized where it stands, also by a source that extends none, as far as it is long.
#[test]
fn larger_blocks_are_resized_where_they_stand() {
    let stock = Stock::<KeepAll>::new(Told);
    let layout = Layout::from_size_align(1_000_000, 16).unwrap();
    let block = Chunks(&stock).acquire(layout).unwrap();
    let (start, len, bytes) = (block.cast::<u8>(), block.len(), stock.stats().large_bytes);
    assert!(len > layout.size(), "whole pages, less the record");
    assert_eq!(Chunks(&stock).good_size(layout), len);
    // SAFETY: the block is live, its layout this one, and what lies behind a new size is not needed.
    unsafe {
        assert!(Chunks(&stock).extend(start, layout, len + 1).is_err());
        assert_eq!(Chunks(&stock).extend(start, layout, len), Ok(block));
        let long = Layout::from_size_align(len, 16).unwrap();
        let shrunk = Chunks(&stock).shrink(start, long, 300_000).unwrap();
        assert_eq!((shrunk.cast(), stock.usable_size(start)), (start, shrunk.len()));
        if cfg!(unix) {
            assert!(shrunk.len() < 400_000 && bytes - stock.stats().large_bytes == len - shrunk.len());
        }
        Chunks(&stock).release(start, Layout::from_size_align(300_000, 16).unwrap());
    }
    stock.release();
    assert_eq!(stock.stats(), ChunkStats::default());
}

/// No block is of size zero, or aligned to more than the source can; what is aligned to a chunk is a run.
#[test]
fn alignments_are_those_of_chunks_or_of_the_source() {
    let stock = Stock::<KeepAll>::new(Told);
    let layout = |size, align| Layout::from_size_align(size, align).unwrap();
    for refused in [layout(0, 1), layout(0, REGION), layout(8, 2 * REGION)] {
        assert_eq!(Chunks(&stock).acquire(refused), Err(AllocError), "{refused:?}");
    }
    assert_eq!(calls(), [], "the source is not asked");
    for (align, large) in [(CHUNK, 0), (2 * CHUNK, 1), (REGION, 1)] {
        let block = Chunks(&stock).acquire(layout(CHUNK, align)).unwrap().cast::<u8>();
        assert_eq!((block.addr().get() % align, stock.stats().large_blocks), (0, large), "{align}");
        // SAFETY: live, with its layout.
        unsafe { Chunks(&stock).release(block, layout(CHUNK, align)) };
    }
    stock.release();
    assert_eq!(stock.stats(), ChunkStats::default());
}

/// Chunks are those of the lowest region that has any; in a region first those that are resident.
#[test]
fn the_lowest_region_comes_first_and_in_it_what_is_resident() {
    let stock = Stock::<KeepAll>::new(Told);
    let mut runs: Vec<_> = (0..3 * CHUNKS).map(|_| run(&stock, 1)).collect();
    assert_eq!(stock.stats().regions, 3);
    runs.sort_unstable();
    let [low, middle, high] = [5, CHUNKS + 5, 2 * CHUNKS + 5].map(|at| runs[at]);
    assert!(region(low) < region(middle) && region(middle) < region(high));
    for order in [[low, middle, high], [middle, high, low], [high, low, middle], [high, middle, low]] {
        order.into_iter().for_each(|run| give(&stock, run, 1));
        assert_eq!([(); 3].map(|()| run(&stock, 1)), [low, middle, high], "{order:?}");
    }
    let resident = runs[9];
    give(&stock, low, 1);
    stock.release();
    give(&stock, resident, 1);
    assert_eq!((stock.stats().bytes_kept, [(); 2].map(|()| run(&stock, 1))), (CHUNK, [resident, low]));
    runs.into_iter().for_each(|run| give(&stock, run, 1));
    stock.release();
    assert_eq!(stock.stats(), ChunkStats::default());
}

/// What a policy keeps is kept: no more is purged than it says, though it comes in several pieces, or as larger blocks.
#[test]
fn as_much_is_kept_as_the_policy_says() {
    let stock = Stock::<KeepSlabs<4>>::new(Told);
    let (low, between, high) = (run(&stock, 6), run(&stock, 1), run(&stock, 1));
    give(&stock, high, 1);
    calls();
    give(&stock, low, 6);
    let purged = [(high, 1), (low.map_addr(|low| low.checked_add(4 * CHUNK).unwrap()), 2)];
    assert_eq!(calls(), purged.map(|(run, count)| Call::Purge(run.addr().get(), count * CHUNK)));
    assert_eq!(stock.stats().bytes_kept, 4 * CHUNK);
    give(&stock, between, 1);

    let stock = Stock::<KeepSlabs<70>>::new(Told);
    // Of 32 chunks each, its record included.
    let layout = Layout::from_size_align(32 * CHUNK - 64, 16).unwrap();
    let blocks = [(); 4].map(|()| Chunks(&stock).acquire(layout).unwrap().cast::<u8>());
    // SAFETY: each is live, with this layout.
    let kept = blocks.map(|block| unsafe {
        Chunks(&stock).release(block, layout);
        stock.stats().bytes_kept / CHUNK
    });
    assert_eq!(kept, [32, 64, 64, 64], "one goes for one that comes");
    let longer = Layout::from_size_align(63 * CHUNK, 16).unwrap();
    let block = Chunks(&stock).acquire(longer).unwrap().cast::<u8>();
    // SAFETY: live, with its layout.
    unsafe { Chunks(&stock).release(block, longer) };
    assert_eq!(stock.stats().bytes_kept, 64 * CHUNK, "two go");
    stock.release();
    assert_eq!(stock.stats(), ChunkStats::default());
}

/// Where purged memory is not zero, each piece is purged once, the highest first.
#[test]
fn what_is_not_zero_is_purged_once() {
    let stock = Stock::<KeepAll, false>::new(Told);
    let runs = [2, 1, 3, 1, 4, 1].map(|count| (run(&stock, count), count));
    for (run, count) in [runs[0], runs[2], runs[4]] {
        give(&stock, run, count);
    }
    calls();
    stock.release();
    let rest = runs[5].0.addr().get() + CHUNK;
    let expected = [(rest, REGION - rest % REGION)]
        .into_iter()
        .chain([runs[4], runs[2], runs[0]].map(|(run, count)| (run.addr().get(), count * CHUNK)));
    assert_eq!(calls(), expected.map(|(start, len)| Call::Purge(start, len)).collect::<Vec<_>>());
    for (run, count) in [runs[1], runs[3], runs[5]] {
        give(&stock, run, count);
    }
    stock.release();
    assert_eq!(stock.stats().regions, 0);
}

/// What two threads purge at once leaves a region of which nothing is in use, or resident: it goes back as others do.
#[test]
fn regions_that_are_purged_by_two_threads_go_back() {
    static STOCK: Stock<ReleaseAtOnce> = ChunkHeap::new(Told);
    let mut runs: Vec<_> = (0..CHUNKS + 2).map(|_| run(&STOCK, 1)).collect();
    // Two of each region, of which one has no others.
    let alone = runs.split_off(CHUNKS);
    let crowd = runs.split_off(2);
    crowd.into_iter().for_each(|run| give(&STOCK, run, 1));
    let mut pairs = [[runs[0], runs[1]], [alone[0], alone[1]]];
    pairs.sort_unstable();
    for [one, other] in pairs {
        assert_eq!(region(one), region(other));
        let other = other.as_ptr().expose_provenance();
        MEANWHILE.set(Some(Box::new(move || {
            let other = NonNull::new(std::ptr::with_exposed_provenance_mut(other)).unwrap();
            give(&STOCK, other, 1);
        })));
        give(&STOCK, one, 1);
        assert!(MEANWHILE.take().is_none());
    }
    let stats = STOCK.stats();
    assert_eq!((stats.regions, stats.chunks_used, stats.bytes_kept), (2, 0, 0));
    STOCK.release();
    assert_eq!(STOCK.stats(), ChunkStats::default());
}

/// What the heap above purges the source is told.
#[test]
fn purges_are_passed_on() {
    let stock = Stock::<KeepAll>::new(Told);
    let block = run(&stock, 3);
    calls();
    let part = block.map_addr(|block| block.checked_add(4096).unwrap());
    // SAFETY: within the run, and nobody needs what it holds.
    unsafe { Chunks(&stock).purge(part, CHUNK) };
    assert_eq!(calls(), [Call::Purge(part.addr().get(), CHUNK)]);
    give(&stock, block, 3);
    stock.release();
}

/// Huge pages are asked for behind regions from a number on, and behind blocks of 4 MiB and more; or never.
#[test]
fn huge_pages_are_asked_for_where_they_are_worth_it() {
    fn advice<const HUGE_AFTER: usize>() -> Vec<usize> {
        let stock = ChunkHeap::<Told<true>, YieldLock, KeepAll, CHUNK, HUGE_AFTER>::new(Told);
        let advised = || {
            let lens = calls().into_iter().filter_map(|call| match call {
                Call::PreferHuge(_, len) => Some(len),
                _ => None,
            });
            lens.collect::<Vec<_>>()
        };
        let runs: Vec<_> = (0..2 * CHUNKS).map(|_| run(&stock, 1)).collect();
        runs.into_iter().for_each(|run| give(&stock, run, 1));
        let mut all = advised();
        // With its record one has 4 MiB, the other less by more than a page.
        for size in [(4 << 20) - 64, 3 << 20] {
            let layout = Layout::from_size_align(size, 16).unwrap();
            let block = Chunks(&stock).acquire(layout).unwrap().cast::<u8>();
            all.extend(advised());
            // SAFETY: live, with its layout.
            let moved = unsafe { Chunks(&stock).remap(block, layout, 5 << 20) };
            let advised = advised();
            let (block, size) = match moved {
                Ok(moved) => (moved.cast(), 5 << 20),
                Err(AllocError) => (block, size),
            };
            assert_eq!(advised.len(), usize::from(HUGE_AFTER < usize::MAX && moved.is_ok()));
            // SAFETY: live, with its layout.
            unsafe { Chunks(&stock).release(block, Layout::from_size_align(size, 16).unwrap()) };
        }
        stock.release();
        all
    }
    assert_eq!(advice::<0>(), [REGION, REGION, 4 << 20]);
    assert_eq!(advice::<1>(), [REGION, 4 << 20]);
    assert_eq!(advice::<{ usize::MAX }>(), []);
}

/// Pages of the usual length, whatever the system prefers.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug)]
struct Small;

// SAFETY: B1 to B7 are those of `Pages`; the advice changes no contents.
#[cfg(target_os = "linux")]
unsafe impl BackingSource for Small {
    const GRANULE: usize = Pages::GRANULE;
    const ALIGN_MAX: usize = Pages::ALIGN_MAX;
    const ZEROED: bool = true;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let block = Pages.acquire(layout)?;
        // SAFETY: advice about a fresh mapping, which a kernel may refuse that has no other pages.
        unsafe { libc::madvise(block.as_ptr().cast(), block.len(), libc::MADV_NOHUGEPAGE) };
        Ok(block)
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.release(block, layout) };
    }
}

/// How many of the whole pages of a block are resident, and how many there are.
#[cfg(target_os = "linux")]
fn resident(block: NonNull<u8>, len: usize) -> (usize, usize) {
    let page = Pages::page_size();
    let start = block.map_addr(|start| start.checked_add((page - start.get() % page) % page).unwrap());
    let mut pages = vec![0u8; (block.addr().get() + len - start.addr().get()) / page];
    // SAFETY: pages of a live mapping, and a byte for each.
    assert_eq!(unsafe { libc::mincore(start.as_ptr().cast(), pages.len() * page, pages.as_mut_ptr()) }, 0);
    (pages.iter().filter(|&&page| page & 1 == 1).count(), pages.len())
}

/// Freed memory is zeroed, and nothing else is done.
#[cfg(target_os = "linux")]
struct Zeroes;

#[cfg(target_os = "linux")]
impl Checks for Zeroes {
    type Frees = Off;
    type Quarantine = Off;
    type Report = Abort;
    const ZERO_FREED: bool = true;
}

/// Zeroes that fresh memory has are not written: what nobody touches takes no memory.
#[cfg(target_os = "linux")]
#[test]
fn zeroes_that_are_there_are_not_written() {
    let stock = ChunkHeap::<Small, YieldLock, KeepAll, 65536, { usize::MAX }, Zeroes>::new(Small);
    let layout = Layout::from_size_align(16 << 20, 16).unwrap();
    let block = stock.acquire_zeroed(layout).unwrap().cast::<u8>();
    let (touched, pages) = resident(block, layout.size());
    assert!(touched == 0 && pages > 15, "{touched} of {pages} pages");
    let slab = Chunks(&stock).acquire_slab(48).unwrap();
    let (touched, pages) = resident(slab, 65536);
    assert!(touched == 0 && pages > 0, "{touched} of {pages} pages of a slab");
    // SAFETY: each was acquired there, and nobody uses it.
    unsafe {
        Chunks(&stock).release_slab(slab);
        Chunks(&stock).release(block, layout);
    }
    stock.release();
    assert_eq!(stock.stats(), ChunkStats::default());
}
