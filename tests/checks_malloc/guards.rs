//! Guards between slabs, by a source that keeps books of what can't be touched.

use std::alloc::Layout;
use std::collections::BTreeSet;
use std::num::NonZero;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use heapwright::AllocError;
use heapwright::cache::{ChunkHeap, Chunks, KeepAll};
use heapwright::check::Hardened;
use heapwright::lock::SpinLock;
use heapwright::source::{BackingSource, Pages, SideHeaders};

#[cfg(target_os = "linux")]
use crate::endings::ending;
use crate::{Chance, Note};

/// Pages, and which pieces of `CHUNK` bytes can't be touched.
#[derive(Clone, Copy, Debug)]
struct Watched;

const CHUNK: usize = 32768;
const REGION: usize = 64 * CHUNK;
/// The books are those of one test at a time.
static ALONE: Mutex<()> = Mutex::new(());
static PROTECTED: Mutex<(BTreeSet<usize>, usize)> = Mutex::new((BTreeSet::new(), 0));

/// What the books say: the pieces, and how many calls there were.
fn books<R>(look: impl FnOnce(&mut BTreeSet<usize>, &mut usize) -> R) -> R {
    let mut books = PROTECTED.lock().unwrap_or_else(PoisonError::into_inner);
    let (pieces, calls) = &mut *books;
    look(pieces, calls)
}

fn pieces(ptr: NonNull<u8>, len: usize) -> Range<usize> {
    let start = ptr.addr().get() / CHUNK;
    start..start + len.div_ceil(CHUNK)
}

fn is_open(ptr: NonNull<u8>, len: usize) -> bool {
    books(|protected, _| protected.range(pieces(ptr, len)).next().is_none())
}

// SAFETY: as `Pages`.
unsafe impl BackingSource for Watched {
    const GRANULE: usize = Pages::GRANULE;
    const ALIGN_MAX: usize = Pages::ALIGN_MAX;
    const ZEROED: bool = true;
    const PROTECTS: bool = true;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        Pages.acquire(layout)
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        assert!(is_open(block, layout.size()), "released while it can't be touched");
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.release(block, layout) };
    }

    unsafe fn prefer_huge(&mut self, ptr: NonNull<u8>, len: usize) {
        assert_eq!((ptr.addr().get() % REGION, len), (0, REGION));
        // SAFETY: a block of this source, of which nobody has written to any yet, or the test fails.
        let bytes = unsafe { std::slice::from_raw_parts(ptr.as_ptr(), len) };
        assert!(
            bytes.iter().all(|&byte| byte == 0),
            "it has been touched, so that its first pages are small"
        );
    }

    unsafe fn purge(&mut self, ptr: NonNull<u8>, len: usize) {
        assert!(is_open(ptr, len), "purged while it can't be touched");
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.purge(ptr, len) };
    }

    unsafe fn protect(&mut self, ptr: NonNull<u8>, len: usize) -> Result<(), AllocError> {
        books(|protected, calls| {
            assert!(pieces(ptr, len).all(|piece| protected.insert(piece)), "protected twice");
            *calls += 1;
        });
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.protect(ptr, len) }
    }

    unsafe fn unprotect(&mut self, ptr: NonNull<u8>, len: usize) -> Result<(), AllocError> {
        books(|protected, calls| {
            let range = pieces(ptr, len);
            assert!(protected.contains(&range.start) && protected.contains(&(range.end - 1)));
            protected.retain(|piece| !range.contains(piece));
            *calls += 1;
        });
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.unprotect(ptr, len) }
    }
}

type Stock<const HUGE_AFTER: usize> =
    ChunkHeap<Watched, SpinLock, KeepAll, CHUNK, HUGE_AFTER, Hardened<Note>>;

/// Slabs are followed by guards, runs can be used, and what goes back to the source can be touched; slabs that come again find their guards.
#[test]
fn slabs_keep_their_guards() {
    static STOCK: Stock<{ usize::MAX }> = ChunkHeap::new(Watched);
    guarded(&STOCK, |_| false);
}

/// Where huge pages are asked for each has a guard behind it, and none within.
#[test]
fn huge_pages_have_guards_behind_them() {
    static STOCK: Stock<1> = ChunkHeap::new(Watched);
    let whole = |region: NonNull<u8>| {
        // SAFETY: no more than an address is made.
        !is_open(unsafe { region.add(REGION) }, 1)
    };
    guarded(&STOCK, whole);
    static ALL: Stock<0> = ChunkHeap::new(Watched);
    guarded(&ALL, |region| {
        assert!(whole(region));
        true
    });
}

/// Slabs and runs come and go at random. `whole`: whether there are to be no guards within a region.
fn guarded<const HUGE_AFTER: usize>(stock: &'static Stock<HUGE_AFTER>, whole: impl Fn(NonNull<u8>) -> bool) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut chance = Chance::new(9);
    let (mut slabs, mut runs) = (Vec::new(), Vec::new());
    let mut source = Chunks(stock);
    // With guards between slabs, and without.
    let mut seen = [0; 2];
    for step in 0..4000 {
        match chance.below(8) {
            0..3 if slabs.len() < 150 => {
                let slab = source.acquire_slab(48).unwrap();
                // SAFETY: the slab is ours.
                let bytes = unsafe { std::slice::from_raw_parts(slab.as_ptr(), CHUNK) };
                assert!(bytes.iter().all(|&byte| byte == 0));
                // SAFETY: as above.
                unsafe { slab.write_bytes(1, CHUNK) };
                slabs.push(slab);
            }
            3 if runs.len() < 60 => {
                let layout = Layout::from_size_align(CHUNK * (1 + chance.below(16)), 1).unwrap();
                let run = source.acquire(layout).unwrap().cast::<u8>();
                assert!(is_open(run, layout.size()));
                // SAFETY: the run is ours, and so long.
                unsafe { run.write_bytes(2, layout.size()) };
                runs.push((run, layout));
            }
            4 | 5 if !slabs.is_empty() => {
                let slab = slabs.swap_remove(chance.below(slabs.len()));
                // SAFETY: it was acquired there, and nobody uses it.
                unsafe { source.release_slab(slab) };
            }
            6 if !runs.is_empty() => {
                let (run, layout) = runs.swap_remove(chance.below(runs.len()));
                // SAFETY: as above.
                unsafe { source.release(run, layout) };
            }
            7 if step % 50 == 0 => stock.release(),
            _ => {}
        }
        for slab in &slabs {
            let whole = whole(slab.map_addr(|address| NonZero::new(address.get() & !(REGION - 1)).unwrap()));
            seen[usize::from(whole)] += 1;
            assert!(is_open(*slab, CHUNK));
            // SAFETY: no more than an address is made.
            let next = unsafe { slab.add(CHUNK) };
            let ends = next.addr().get() % REGION == 0;
            assert_eq!(is_open(next, CHUNK), whole && !ends);
        }
    }
    assert_eq!(seen.map(|times| times > 0), [HUGE_AFTER > 0, HUGE_AFTER < usize::MAX]);
    // All go and come again: their guards are there.
    let count = slabs.len();
    let before = books(|_, calls| *calls);
    for _ in 0..3 {
        // SAFETY: they were acquired there, and nobody uses them.
        slabs.drain(..).for_each(|slab| unsafe { source.release_slab(slab) });
        slabs.extend((0..count).map(|_| source.acquire_slab(112).unwrap()));
    }
    assert_eq!(books(|_, calls| *calls), before);
    // SAFETY: as above.
    slabs.drain(..).for_each(|slab| unsafe { source.release_slab(slab) });
    // SAFETY: as above.
    runs.drain(..).for_each(|(run, layout)| unsafe { source.release(run, layout) });
    stock.release();
    assert_eq!((stock.stats().regions, books(|protected, _| protected.len())), (0, 0));
}

/// A guard is made by one call, and takes no memory, also when its slab comes again; what its chunk held is given up first.
#[test]
fn guards_take_no_memory() {
    static STOCK: Stock<{ usize::MAX }> = ChunkHeap::new(Watched);
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut source = Chunks(&STOCK);
    let before = books(|_, calls| *calls);
    let slab = source.acquire_slab(48).unwrap();
    assert_eq!(books(|_, calls| *calls), before + 1);
    // SAFETY: it was acquired there, and nobody uses it.
    unsafe { source.release_slab(slab) };
    for _ in 0..2 {
        assert_eq!(STOCK.stats().bytes_kept, CHUNK);
        assert_eq!(source.acquire_slab(112), Ok(slab));
        // SAFETY: as above.
        unsafe { source.release_slab(slab) };
    }
    STOCK.release();
    let layout = Layout::new::<[u8; 5 * CHUNK]>();
    let run = source.acquire(layout).unwrap().cast::<u8>();
    // SAFETY: the run is ours, and so long.
    unsafe { run.write_bytes(2, layout.size()) };
    // SAFETY: live, with its layout.
    unsafe { source.release(run, layout) };
    assert_eq!(STOCK.stats().bytes_kept, 5 * CHUNK);
    let slab = source.acquire_slab(48).unwrap();
    assert_eq!((slab, STOCK.stats().bytes_kept), (run, 3 * CHUNK));
    // SAFETY: it was acquired there, and nobody uses it.
    unsafe { source.release_slab(slab) };
    assert_eq!(STOCK.stats().bytes_kept, 4 * CHUNK, "with the slab, and without its guard");
    STOCK.release();
}

/// Guards are as many as leave the process mappings, of which each takes two; slabs beyond that have none, until others go.
#[cfg(target_os = "linux")]
#[test]
fn guards_leave_mappings_for_others() {
    // What cannot be touched, and all that is mapped.
    fn mappings() -> (usize, usize) {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        (maps.lines().filter(|line| line.contains(" ---p ")).count(), maps.lines().count())
    }
    static MANY: ChunkHeap<Pages, SpinLock, KeepAll, CHUNK, { usize::MAX }, Hardened<Note>> =
        ChunkHeap::new(Pages);
    // In this process there are other tests, which expect guards.
    if let Some(output) = ending("guards::guards_leave_mappings_for_others") {
        let errors = String::from_utf8_lossy(&output.stderr);
        return assert!(output.status.success(), "{errors}");
    }
    let thread = || std::thread::spawn(|| 5).join().unwrap();
    // A first thread's stack, which is kept for the next.
    assert_eq!(thread(), 5);
    let mut source = Chunks(&MANY);
    let (others, _) = mappings();
    let slabs: Vec<_> = (0..40_000).map(|_| source.acquire_slab(48).unwrap()).collect();
    let (guards, all) = mappings();
    assert_eq!(guards - others, 16_384);
    assert!(all < 40_000, "{all} mappings");
    assert_eq!(thread(), 5, "it can't begin");
    // SAFETY: they were acquired there, and nobody uses them.
    slabs.into_iter().for_each(|slab| unsafe { source.release_slab(slab) });
    MANY.release();
    assert_eq!(mappings().0, others);
    let slabs: Vec<_> = (0..500).map(|_| source.acquire_slab(48).unwrap()).collect();
    assert_eq!(mappings().0, others + 500);
    // SAFETY: as above.
    slabs.into_iter().for_each(|slab| unsafe { source.release_slab(slab) });
}

/// Runs lie side by side in a region; what is longer than all of them has a mapping of its own, with guards and without.
#[cfg(target_os = "linux")]
#[test]
fn blocks_above_512_kib_are_mappings_of_their_own() {
    use heapwright::check::{Checks, Unchecked};
    fn own<C: Checks>() {
        let stock = ChunkHeap::<Small, SpinLock, KeepAll, CHUNK, { usize::MAX }, C>::new(Small);
        let mut source = Chunks(&stock);
        let counts = || (stock.stats().regions, stock.stats().large_blocks);
        let (longest, longer) = (Layout::new::<[u8; 512 << 10]>(), Layout::new::<[u8; (512 << 10) + 1]>());
        let runs = [(); 3].map(|()| source.acquire(longest).unwrap().cast::<u8>());
        assert_eq!(counts(), (1, 0));
        let blocks = [(); 3].map(|()| source.acquire(longer).unwrap().cast::<u8>());
        assert_eq!(counts(), (1, 3));
        // SAFETY: live, with these layouts.
        runs.into_iter().for_each(|run| unsafe { source.release(run, longest) });
        // SAFETY: as above.
        blocks.into_iter().for_each(|block| unsafe { source.release(block, longer) });
        stock.release();
        assert_eq!(counts(), (0, 0));
    }
    own::<Hardened<Note>>();
    own::<Unchecked>();
}

/// Pages, without huge ones behind them, which would all have to be there.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug)]
struct Small;

// SAFETY: as `Pages`.
#[cfg(target_os = "linux")]
unsafe impl BackingSource for Small {
    const GRANULE: usize = Pages::GRANULE;
    const ALIGN_MAX: usize = Pages::ALIGN_MAX;
    const ZEROED: bool = true;
    const PROTECTS: bool = true;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        Pages.acquire(layout)
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.release(block, layout) };
    }

    unsafe fn protect(&mut self, ptr: NonNull<u8>, len: usize) -> Result<(), AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.protect(ptr, len) }
    }

    unsafe fn unprotect(&mut self, ptr: NonNull<u8>, len: usize) -> Result<(), AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.unprotect(ptr, len) }
    }
}

/// Huge pages beyond those that can have a guard lie side by side, and take no mappings each. (Of 32 bits so many have no addresses.)
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[test]
fn huge_pages_without_guards_leave_mappings_for_others() {
    static MANY: ChunkHeap<Small, SpinLock, KeepAll, CHUNK, 0, Hardened<Note>> = ChunkHeap::new(Small);
    if let Some(output) = ending("guards::huge_pages_without_guards_leave_mappings_for_others") {
        let errors = String::from_utf8_lossy(&output.stderr);
        return assert!(output.status.success(), "{errors}");
    }
    let mappings = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    let mut source = Chunks(&MANY);
    let mut slabs = Vec::new();
    let mut regions = |count| {
        while MANY.stats().regions < count {
            slabs.push(source.acquire_slab(48).unwrap());
        }
        mappings()
    };
    let full = regions(16_384);
    assert!(full > 2 * 16_000, "{full} mappings");
    let more = regions(18_000);
    // Side by side but for where something else lies; an emulator leaves more gaps than the kernel.
    assert!(more < full + (18_000 - 16_384) / 3, "{full} mappings, then {more}");
    // SAFETY: they were acquired there, and nobody uses them.
    slabs.into_iter().for_each(|slab| unsafe { source.release_slab(slab) });
    MANY.release();
    assert_eq!(MANY.stats().regions, 0);
    assert!(mappings() < 500);
}
