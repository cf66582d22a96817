//! Policies with one measure each: it works without the others, and finds nothing where nothing is wrong.

use std::alloc::{GlobalAlloc, Layout};
use std::collections::BTreeSet;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use heapwright::AllocError;
use heapwright::cache::malloc::ChunkStock;
use heapwright::cache::{ChunkHeap, Chunks, Classes, KeepAll, MallocSettings, ReleaseAtOnce};
use heapwright::check::{Checks, Misuse, Off, On, Unchecked, Wrong};
use heapwright::lock::YieldLock;
use heapwright::source::{BackingSource, Pages, SideHeaders};

use crate::valid::valid_for;
use crate::{CheckedHeap, HardenedHeap, Note, WideHeap, found, heap, times};

const CHUNK: usize = 32768;

/// Declares a policy and a heap that has it.
macro_rules! partial {
    ($heap:ident, $handle:ident, $settings:ident, $policy:ident: $frees:ty, $rests:ty $(, $item:ident: $type:ty = $value:expr)?) => {
        pub(crate) struct $policy;
        impl Checks for $policy {
            type Frees = $frees;
            type Quarantine = $rests;
            type Report = Note;
            $(const $item: $type = $value;)?
        }
        heap!($heap, $handle, $settings, $policy);
    };
}

partial!(ZONED, ZonedHeap, ZonedParts, FreesAndZones: On, Off, RED_ZONE: usize = 8);
partial!(ZEROES, ZeroesHeap, ZeroesParts, Zeroes: Off, Off, ZERO_FREED: bool = true);
heap!(WIPES, WipesHeap, WipesParts, Zeroes); // for a test that looks at freed memory
partial!(RESTS, RestsHeap, RestsParts, Rests: Off, On);
partial!(GUARDS, GuardsHeap, GuardsParts, Guards: Off, Off, GUARDS: bool = true);
partial!(SHUFFLES, ShufflesHeap, ShufflesParts, Shuffles: Off, Off, SHUFFLE: bool = true);

pub(crate) fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

pub(crate) fn alloc<A: GlobalAlloc>(heap: &A, size: usize) -> *mut u8 {
    // SAFETY: the size is not zero.
    let block = unsafe { heap.alloc(layout(size)) };
    assert!(!block.is_null());
    block
}

/// Frees what is as it should be, or what the heap is to find.
pub(crate) fn free<A: GlobalAlloc>(heap: &A, block: *mut u8, layout: Layout) {
    // SAFETY: live, with its layout; or none, where the heap looks at what comes back.
    unsafe { heap.dealloc(block, layout) };
}

/// The one thing that has been found.
fn only() -> Misuse {
    let all = found();
    assert_eq!(all.len(), 1, "{all:?}");
    all[0]
}

#[test]
fn one_measure_finds_nothing_where_nothing_is_wrong() {
    let steps = times(4_000, 2_000_000);
    valid_for(&ZonedHeap, steps);
    valid_for(&ZeroesHeap, steps);
    valid_for(&RestsHeap, steps);
    valid_for(&GuardsHeap, steps);
    valid_for(&ShufflesHeap, steps);
    valid_for(&WideHeap, steps);
}

#[test]
fn frees_and_zones_are_looked_at_without_zeroes() {
    for size in [24, 500, 5000, 100_000] {
        let block = alloc(&ZonedHeap, size);
        // SAFETY: none: the zone is the heap's.
        unsafe { block.wrapping_add(size + 3).write(1) };
        free(&ZonedHeap, block, layout(size));
        let misuse = only();
        assert_eq!((misuse.wrong, misuse.damage.unwrap().offset), (Wrong::WrittenBehind, size as isize + 3));
        free(&ZonedHeap, block, layout(size));
        assert_eq!(only().wrong, Wrong::DoubleFree, "{size}");
    }
}

/// No mark tells that an object is free, and a write to it is found all the same.
#[test]
fn zeroes_alone_find_writes_to_freed_objects() {
    for offset in [0, 8, 39] {
        // Enough that its slab does not become free altogether: then its memory would be wiped.
        let mut live: Vec<_> = (0..300).map(|_| alloc(&WipesHeap, 40)).collect();
        let block = live.swap_remove(100);
        // SAFETY: live, and so long.
        unsafe { block.write_bytes(7, 40) };
        free(&WipesHeap, block, layout(40));
        for at in 0..40 {
            // SAFETY: memory of the heap, which no other thread uses: a peek.
            assert_eq!(unsafe { block.wrapping_add(at).read_volatile() }, 0, "byte {at}");
        }
        // SAFETY: none: it is to be found.
        unsafe { block.wrapping_add(offset).write_volatile(5) };
        while live.last() != Some(&block) {
            assert!(live.len() < 5000, "it does not come again");
            assert_eq!(found(), []);
            free(&WipesHeap, live.swap_remove(0), layout(40));
            live.extend([alloc(&WipesHeap, 40), alloc(&WipesHeap, 40)]);
            if live[live.len() - 2] == block {
                let last = live.len() - 1;
                live.swap(last - 1, last);
            }
        }
        let misuse = only();
        assert_eq!((misuse.wrong, misuse.address), (Wrong::WrittenAfterFree, block.addr()));
        let damage = misuse.damage.unwrap();
        assert_eq!((damage.offset, damage.found), (offset as isize, 5));
        // SAFETY: live, and so long.
        let bytes = unsafe { std::slice::from_raw_parts(block, 40) };
        assert_eq!(bytes, [0; 40], "whoever gets it finds zeroes");
        live.into_iter().for_each(|block| free(&WipesHeap, block, layout(40)));
    }
}

/// Who asks for zeroes gets them, whatever the policy does with what comes back.
#[test]
fn zeroed_blocks_are_zero_under_any_policy() {
    fn zeroed<A: GlobalAlloc>(heap: &A) {
        for size in [8, 48, 500, 5000, 100_000] {
            for _ in 0..3 {
                let dirty: Vec<_> = (0..100).map(|_| alloc(heap, size)).collect();
                for block in dirty {
                    // SAFETY: live, and so long.
                    unsafe { block.write_bytes(0xde, size) };
                    free(heap, block, layout(size));
                }
                for _ in 0..100 {
                    // SAFETY: the size is not zero.
                    let block = unsafe { heap.alloc_zeroed(layout(size)) };
                    // SAFETY: live, and so long; it was written, or is to have been.
                    let bytes = unsafe { std::slice::from_raw_parts(block, size) };
                    assert!(bytes.iter().all(|&byte| byte == 0), "{size}");
                    // SAFETY: as above, and nobody looks at it any more.
                    unsafe { block.write_bytes(0xad, size) };
                    free(heap, block, layout(size));
                }
            }
        }
        assert_eq!(found(), []);
    }
    zeroed(&ZonedHeap);
    zeroed(&ZeroesHeap);
    zeroed(&RestsHeap);
    zeroed(&GuardsHeap);
    zeroed(&ShufflesHeap);
    zeroed(&WideHeap);
    zeroed(&CheckedHeap);
    zeroed(&HardenedHeap);
}

/// What was freed last does not come again before something else is freed.
#[test]
fn objects_rest_where_nothing_else_is_done() {
    let mut blocks: Vec<_> = (0..40).map(|_| alloc(&RestsHeap, 48)).collect();
    for _ in 0..20 {
        let last = blocks.pop().unwrap();
        blocks.drain(..).for_each(|block| free(&RestsHeap, block, layout(48)));
        free(&RestsHeap, last, layout(48));
        blocks.extend((0..60).map(|_| alloc(&RestsHeap, 48)));
        assert!(!blocks.contains(&last));
    }
    blocks.into_iter().for_each(|block| free(&RestsHeap, block, layout(48)));
    assert_eq!(found(), []);
}

/// Slabs have gaps behind them, and blocks that are long a page that is none of theirs; contents stay when they are resized.
#[test]
fn guards_alone_leave_gaps() {
    let blocks: Vec<_> = (0..3000).map(|_| alloc(&GuardsHeap, 100)).collect();
    let slabs: BTreeSet<_> = blocks.iter().map(|block| block.addr() / CHUNK).collect();
    assert!(slabs.len() > 2 && slabs.iter().all(|slab| !slabs.contains(&(slab + 1))), "{slabs:?}");
    blocks.into_iter().for_each(|block| free(&GuardsHeap, block, layout(100)));
    let long = alloc(&GuardsHeap, 100_000);
    // SAFETY: live, and so long.
    unsafe { long.write_bytes(9, 100_000) };
    // SAFETY: live, with its layout.
    let longer = unsafe { GuardsHeap.realloc(long, layout(100_000), 400_000) };
    // SAFETY: live, and so long.
    let bytes = unsafe { std::slice::from_raw_parts(longer, 100_000) };
    assert!(bytes.iter().all(|&byte| byte == 9));
    free(&GuardsHeap, longer, layout(400_000));
    assert_eq!(found(), []);
}

/// A size that stays in its class moves the zone, and nothing else.
#[test]
fn zones_move_when_an_object_is_resized_in_its_place() {
    let block = alloc(&WideHeap, 33);
    // SAFETY: live, with its layout.
    let resized = unsafe { WideHeap.realloc(block, layout(33), 35) };
    assert_eq!(resized, block, "the same class");
    // SAFETY: so many bytes are the user's now.
    unsafe { block.write_bytes(4, 35) };
    free(&WideHeap, block, layout(35));
    assert_eq!(found(), []);
    let block = alloc(&WideHeap, 35);
    // SAFETY: live, with its layout.
    unsafe { WideHeap.realloc(block, layout(35), 33) };
    // SAFETY: none: the byte is the heap's again.
    unsafe { block.wrapping_add(34).write(4) };
    free(&WideHeap, block, layout(33));
    let misuse = only();
    assert_eq!((misuse.wrong, misuse.damage.unwrap().offset), (Wrong::WrittenBehind, 34));
}

#[test]
fn a_free_object_is_not_resized_in_its_place() {
    fn resizes<A: GlobalAlloc>(heap: &A) {
        let block = alloc(heap, 33);
        free(heap, block, layout(33));
        // SAFETY: none: the heap is to find it.
        assert!(unsafe { heap.realloc(block, layout(33), 35) }.is_null());
        let misuse = only();
        assert_eq!((misuse.wrong, misuse.address), (Wrong::DoubleFree, block.addr()));
    }
    resizes(&CheckedHeap);
    resizes(&HardenedHeap);
    resizes(&ZonedHeap);
}

/// What is no object, but lies where the heap's own memory is.
#[test]
fn pointers_to_the_heaps_own_memory_are_foreign() {
    let block = alloc(&HardenedHeap, 24);
    let slab = block.map_addr(|address| address & !(CHUNK - 1));
    let region = block.map_addr(|address| address & !(64 * CHUNK - 1));
    for (place, pointer) in [("guard", slab.wrapping_add(CHUNK)), ("record", region)] {
        for offset in [0, 8, 4096] {
            let pointer = pointer.wrapping_add(offset);
            free(&HardenedHeap, pointer, layout(24));
            let misuse = only();
            assert_eq!(
                (misuse.wrong, misuse.address),
                (Wrong::Foreign, pointer.addr()),
                "{place} + {offset}"
            );
        }
    }
    free(&HardenedHeap, block, layout(24));
    assert_eq!(found(), []);
}

/// Blocks without a class, by wrong pointers and layouts: they stay live.
#[test]
fn long_blocks_do_not_come_back_by_other_pointers_or_layouts() {
    const LARGE: usize = 2 << 20;
    let large = alloc(&CheckedHeap, LARGE);
    let run = alloc(&CheckedHeap, 100_000);
    let wrong = |pointer: *mut u8, layout: Layout| {
        free(&CheckedHeap, pointer, layout);
        let misuse = only();
        assert_eq!((misuse.address, misuse.layout), (pointer.addr(), layout));
        misuse.wrong
    };
    assert_eq!(wrong(large.wrapping_add(64), layout(LARGE)), Wrong::Interior);
    assert_eq!(wrong(large, layout(100_000)), Wrong::WrongLayout, "too short to be one of its own");
    assert_eq!(wrong(large, layout(2 * LARGE)), Wrong::WrongLayout, "longer than it is");
    let aligned = Layout::from_size_align(LARGE, 1 << 20).unwrap();
    assert_ne!(large.addr() % aligned.align(), 0, "otherwise this tests nothing");
    assert_eq!(wrong(large, aligned), Wrong::WrongLayout, "an alignment that it has not");
    assert_eq!(wrong(run, layout(LARGE)), Wrong::WrongLayout);
    assert_eq!(wrong(run.wrapping_add(8), layout(100_000)), Wrong::Interior);
    for inside in [run.wrapping_add(8), large.wrapping_add(8)] {
        // SAFETY: none: the heap is to find it.
        unsafe { CheckedHeap.free_unsized(NonNull::new(inside).unwrap()) };
        let misuse = only();
        let told = (misuse.wrong, misuse.address, misuse.layout);
        assert_eq!(told, (Wrong::Interior, inside.addr(), Layout::new::<()>()), "no layout is known");
    }
    free(&CheckedHeap, run, layout(100_000));
    free(&CheckedHeap, large, layout(LARGE));
    assert_eq!(found(), []);
}

/// A stock that does not look at frees knows of no address.
#[test]
fn stocks_that_do_not_look_know_nothing() {
    static STOCK: ChunkHeap<Pages, YieldLock, KeepAll, CHUNK, { usize::MAX }, Unchecked> =
        ChunkHeap::new(Pages);
    let slab = Chunks(&STOCK).acquire_slab(48).unwrap();
    // SAFETY: nobody else uses the stock.
    assert_eq!(unsafe { STOCK.look_up(slab.addr().get()) }, Err(Wrong::Foreign));
    let run = Layout::new::<[u8; 2 * CHUNK]>();
    let block = Chunks(&STOCK).acquire(run).unwrap().cast::<u8>();
    // SAFETY: as above.
    assert_eq!(unsafe { STOCK.look_at_block(block.addr().get(), run) }, Err(Wrong::Foreign));
    // SAFETY: as above.
    assert_eq!(unsafe { STOCK.claim(block.addr().get(), run) }, Err(Wrong::Foreign));
    // SAFETY: as above.
    assert_eq!(unsafe { STOCK.note_taken(slab.addr().get(), 0) }, u32::MAX..u32::MAX);
    assert_eq!(STOCK.taken(slab.addr().get(), 6), None);
    assert_eq!(STOCK.secret(), 0);
    // SAFETY: live, with this layout.
    unsafe { Chunks(&STOCK).release(block, run) };
    // SAFETY: it was acquired there, and nobody uses it.
    unsafe { Chunks(&STOCK).release_slab(slab) };
    STOCK.release();
    assert_eq!(STOCK.stats().bytes_mapped, 0);
}

/// How many secret bytes have come back to the source of [`LentHeap`].
static SECRETS: AtomicUsize = AtomicUsize::new(0);
const SECRET: u8 = 0x5a;

/// Pages that may go on to somebody else.
#[derive(Clone)]
struct Lent;

impl Lent {
    /// Looks at what comes back.
    ///
    /// # Safety
    /// So many bytes, which nobody uses.
    unsafe fn look(start: *const u8, len: usize) {
        // SAFETY: the caller's promise; pages are zero from the start, and so initialised.
        let bytes = unsafe { std::slice::from_raw_parts(start, len) };
        SECRETS.fetch_add(bytes.iter().filter(|&&byte| byte == SECRET).count(), Relaxed);
    }
}

// SAFETY: B1 to B6 are those of `Pages`; B7: there is no state of its own.
unsafe impl BackingSource for Lent {
    const GRANULE: usize = Pages::GRANULE;
    const ALIGN_MAX: usize = Pages::ALIGN_MAX;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        Pages.acquire(layout)
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { Self::look(block.as_ptr(), layout.size()) };
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.release(block, layout) };
    }

    unsafe fn shrink(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise: what is behind the new size is not needed any more.
        unsafe { Self::look(block.as_ptr().wrapping_add(new_size), old.size() - new_size) };
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.shrink(block, old, new_size) }
    }
}

struct LentParts;
impl MallocSettings for LentParts {
    type Classes = Classes;
    type Chunks = ChunkHeap<Lent, YieldLock, ReleaseAtOnce, CHUNK, { usize::MAX }, Zeroes>;
    type Lock = YieldLock;
}
heapwright::malloc! { static LENT as LentHeap: LentParts = ChunkHeap::new(Lent); }

/// Nor does who gets memory from the source next read what was there.
#[test]
fn freed_memory_is_zero_when_it_goes_back() {
    for size in [24, 30_000, 100_000, 600_000, 3 << 20] {
        let block = alloc(&LentHeap, size);
        // SAFETY: live, and so long.
        unsafe { block.write_bytes(SECRET, size) };
        // A block of its own becomes shorter where it stands, others do not.
        let kept = if size > 1 << 20 { size / 2 } else { size };
        // SAFETY: live, with its layout.
        let block = unsafe { LentHeap.realloc(block, layout(size), kept) };
        free(&LentHeap, block, layout(kept));
        LentHeap.flush();
        LentHeap.release();
        assert_eq!(SECRETS.load(Relaxed), 0, "{size}");
    }
}
