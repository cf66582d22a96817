//! The stock of chunks of a heap that checks: its map, which is read without the lock; the table of each region, whose memory comes and goes; and the secret, which is made once.

use std::alloc::Layout;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use heapwright::AllocError;
use heapwright::cache::malloc::ChunkStock;
use heapwright::cache::{ChunkHeap, ReleaseAtOnce};
use heapwright::check::{Checked, Wrong};
use heapwright::source::{BackingSource, SideHeaders};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use loom_core::Memory;

use super::Times;
use super::mutex::LoomLock;

const CHUNK: usize = 32 << 10;
const REGION: usize = 64 * CHUNK;

type Stock = ChunkHeap<Rooms, LoomLock, ReleaseAtOnce, CHUNK, { usize::MAX }, Checked>;

/// A source of memory whose atomics come and go with it. It is the same addresses in each run: the first region is the first of them.
#[derive(Clone, Debug)]
struct Rooms;

/// Bytes that all of it takes, and their alignment.
const ARENA: usize = 32 * REGION;

/// Where it begins; what was not handed out in this run; and what has come back, with its length and alignment.
static ROOMS: Mutex<(usize, Range<usize>, Vec<(usize, (usize, usize))>)> = Mutex::new((0, 0..0, Vec::new()));

impl Rooms {
    /// All memory is back, and zero. Gives where it begins.
    fn begin() -> usize {
        let mut rooms = ROOMS.lock().unwrap_or_else(PoisonError::into_inner);
        if rooms.0 == 0 {
            let (access, map) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            // SAFETY: fresh memory.
            let base = unsafe { libc::mmap(std::ptr::null_mut(), 2 * ARENA, access, map, -1, 0) };
            assert_ne!(base, libc::MAP_FAILED);
            rooms.0 = base.expose_provenance().next_multiple_of(ARENA);
        }
        let all = rooms.0..rooms.0 + ARENA;
        clear(all.start, rooms.1.start.saturating_sub(all.start));
        rooms.1 = all.clone();
        rooms.2.clear();
        all.start
    }
}

/// Makes memory of ours zero.
fn clear(address: usize, len: usize) {
    if len > 0 {
        // SAFETY: whole pages of ours, whose contents nobody needs.
        let done = unsafe {
            libc::madvise(std::ptr::with_exposed_provenance_mut(address), len, libc::MADV_DONTNEED)
        };
        assert_eq!(done, 0);
    }
}

// SAFETY: B1, B2: pages of ours, which nobody else has, and all zero. B3: nothing unwinds but for a fault. B4 to B7: nothing else is done; clones are all this one.
unsafe impl BackingSource for Rooms {
    const GRANULE: usize = 4096;
    const ALIGN_MAX: usize = REGION;
    const ZEROED: bool = true;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let len = layout.size().next_multiple_of(4096);
        let address = {
            let mut rooms = ROOMS.lock().unwrap_or_else(PoisonError::into_inner);
            let back = rooms.2.iter().rposition(|&(_, back)| back == (len, layout.align()));
            match back.map(|at| rooms.2.remove(at).0) {
                Some(address) => address,
                None => {
                    let address = rooms.1.start.next_multiple_of(layout.align());
                    assert!(address + len <= rooms.1.end, "the arena is too small");
                    rooms.1.start = address + len;
                    address
                }
            }
        };
        // Of a leaf of the map, which is the only block with so small an alignment, there are the places of some chunks of ours.
        let (all, leaf) = (ROOMS.lock().unwrap_or_else(PoisonError::into_inner).0, layout.align() < REGION);
        let chunks = (0..4).flat_map(|region| (0..4).map(move |chunk| all / CHUNK + 64 * region + chunk));
        let places = chunks.map(|chunk| address + (4 * chunk) % layout.size());
        Memory::acquired(&(address..address + len), places.filter(|_| leaf));
        let block = NonNull::new(std::ptr::with_exposed_provenance_mut(address)).ok_or(AllocError)?;
        Ok(NonNull::slice_from_raw_parts(block, len))
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        let (address, len) = (block.addr().get(), layout.size().next_multiple_of(4096));
        Memory::released(address..address + len);
        clear(address, len);
        ROOMS.lock().unwrap_or_else(PoisonError::into_inner).2.push((address, (len, layout.align())));
    }
}

/// A stock for one run, and where its first region will be.
fn with_stock(work: impl FnOnce(&'static Stock, usize)) {
    let first = Rooms::begin();
    let stock = Box::into_raw(Box::new(Stock::new(Rooms)));
    // SAFETY: it is there until the threads have ended.
    let shared: &'static Stock = unsafe { &*stock };
    // The lock is loom's from here on.
    assert_eq!(shared.numbers().regions, 0);
    work(shared, first);
    // SAFETY: all threads have ended.
    drop(unsafe { Box::from_raw(stock) });
}

/// Who is handed an object by another thread finds it in the map, without a lock; what nobody was handed is not found; and to ask for what the map has no leaf for yet is no fault, either.
fn what_is_handed_over_is_found() {
    const SIZE: usize = 64;
    const NUMBER: u16 = SIZE as u16 / 8;
    let found = Times::default();
    let count = found.clone();
    let name = "ChunkHeap, an object is handed over";
    let orders = super::explore(name, None, move || {
        with_stock(|stock, first| {
            let object = Arc::new(AtomicUsize::new(0));
            let other = thread::spawn({
                let object = Arc::clone(&object);
                move || {
                    let slab = stock.chunks().acquire_slab(SIZE).expect("there is memory");
                    let second = slab.addr().get() + SIZE;
                    // SAFETY: the slab is this thread's.
                    assert_eq!(unsafe { stock.note_taken(second, 1) }, 0..2, "none has been taken");
                    object.store(second, Ordering::Release);
                    slab.addr()
                }
            });
            for _ in 0..2 {
                // Somebody's mistake, in a slab to be: not taken from it, by whatever has been done by now.
                assert!(stock.taken(first + CHUNK, NUMBER).is_none_or(|taken| taken <= 2));
                let address = object.load(Ordering::Acquire);
                if address != 0 {
                    count.count();
                    assert_eq!(
                        stock.taken(address, NUMBER),
                        Some(2),
                        "it is not known for what it is, or not with what was taken before it"
                    );
                    assert_eq!(stock.taken(address, NUMBER + 1), None);
                    assert_ne!(stock.secret(), 0);
                }
            }
            let slab = other.join().expect("it ends").get();
            // What goes back is known no longer.
            let slab = NonNull::new(std::ptr::with_exposed_provenance_mut(slab)).expect("not null");
            // SAFETY: nobody uses it.
            unsafe { stock.chunks().release_slab(slab) };
            assert_eq!(stock.taken(slab.addr().get(), NUMBER), None);
            assert_eq!(stock.numbers().regions, 0);
        });
    });
    println!("    {} times before the other thread had ended", found.get());
    assert!(found.get() > 0 && found.get() < 2 * orders, "the threads did not meet");
}

/// Blocks that are no slabs: a run, and one of its own.
const RUN: Layout = Layout::new::<[u8; 2 * CHUNK]>();
const LARGE: Layout = Layout::new::<[u8; 17 * CHUNK]>();

fn take(stock: &'static Stock, layout: Layout) -> usize {
    let block = stock.chunks().acquire(layout).expect("there is memory").cast::<u8>();
    block.as_ptr().expose_provenance()
}

/// Frees a block; says whether it was one.
fn free(stock: &'static Stock, address: usize, layout: Layout) -> bool {
    // SAFETY: nobody resizes it; if it is live, it may be freed here.
    let Ok(len) = (unsafe { stock.claim(address, layout) }) else { return false };
    assert!(len >= layout.size());
    let block = NonNull::new(std::ptr::with_exposed_provenance_mut(address)).expect("not null");
    // SAFETY: it has been claimed.
    unsafe { stock.chunks().release(block, layout) };
    true
}

/// Two threads free one block: one is told so. Its region goes back to the source as soon as nothing in it is in use, whoever looks at it then.
fn a_block_is_freed_once(name: &str, layout: Layout) {
    let first_won = Times::default();
    let count = first_won.clone();
    let orders = super::explore(name, None, move || {
        with_stock(|stock, _| {
            let address = take(stock, layout);
            let other = thread::spawn(move || free(stock, address, layout));
            let own = free(stock, address, layout);
            assert_ne!(own, other.join().expect("it ends"), "freed twice, or not at all");
            if own {
                count.count();
            }
            // SAFETY: nobody resizes it.
            assert_eq!(unsafe { stock.look_up(address) }, Err(Wrong::Foreign));
            assert_eq!((stock.numbers().regions, stock.numbers().large_blocks), (0, 0));
        });
    });
    println!("    in {} of them one of the threads, else the other", first_won.get());
    assert!(first_won.get() > 0 && first_won.get() < orders, "the threads did not meet");
}

/// A thread takes and frees a block while another looks up its address, which it has from somewhere else: it gets one of the answers that are true at some time, and touches nothing that
/// has gone back.
fn a_stale_address_is_harmless(name: &str, layout: Layout) {
    let (live, gone) = (Times::default(), Times::default());
    let counts = (live.clone(), gone.clone());
    super::explore(name, None, move || {
        with_stock(|stock, _| {
            let address = take(stock, layout);
            let other = thread::spawn(move || {
                assert!(free(stock, address, layout));
                assert_eq!(take(stock, layout), address, "the memory comes again");
                assert!(free(stock, address, layout));
            });
            for _ in 0..2 {
                // SAFETY: nobody resizes what is there.
                match unsafe { stock.look_up(address) } {
                    Ok(place) => {
                        assert!(place.start == address && place.len >= layout.size());
                        counts.0.count();
                    }
                    // The last while it is being freed: its chunks are nobody's, and not yet free.
                    Err(Wrong::Foreign | Wrong::DoubleFree | Wrong::Interior) => counts.1.count(),
                    Err(other) => panic!("{other}"),
                }
            }
            other.join().expect("it ends");
        });
    });
    println!("    {} times it was live, {} times not", live.get(), gone.get());
    assert!(live.get() > 0 && gone.get() > 0, "the threads did not meet");
}

/// Two threads are the first to come: they get two blocks, and one secret.
fn there_is_one_secret() {
    super::explore("ChunkHeap, two threads come first", None, || {
        with_stock(|stock, _| {
            let come = move || {
                let address = take(stock, RUN);
                let secret = stock.secret();
                assert_ne!(secret, 0, "marks would be none");
                // SAFETY: the block is this thread's.
                let place = unsafe { stock.look_up(address) }.expect("it is live");
                assert_eq!((place.start, place.len), (address, 2 * CHUNK));
                (address, secret)
            };
            let other = thread::spawn(come);
            let own = come();
            let other = other.join().expect("it ends");
            assert_ne!(own.0, other.0, "two have one block");
            assert_eq!((own.1, stock.secret()), (other.1, own.1), "the secret has changed");
            assert!([own.0, other.0].iter().all(|&address| free(stock, address, RUN)));
            assert_eq!(stock.numbers().regions, 0);
        });
    });
}

/// All of them. They are few enough for all orders.
pub(crate) fn explore_all(_: usize) {
    what_is_handed_over_is_found();
    a_block_is_freed_once("ChunkHeap, a run is freed by two", RUN);
    a_block_is_freed_once("ChunkHeap, a block of its own is freed by two", LARGE);
    a_stale_address_is_harmless("ChunkHeap, a run is looked up while it goes and comes", RUN);
    a_stale_address_is_harmless("ChunkHeap, a block of its own is looked up while it goes and comes", LARGE);
    there_is_one_secret();
}
