//! How general allocators go on many cores, by counts: how often threads visit what they share, for how long, and what they hold.
//!
//! `cargo bench --bench scaling [-- THREADS..]`. The last columns are computed from the
//! counts; the guide's chapter `scaling` says how, and what the counts depend on.

use std::alloc::{GlobalAlloc, Layout};
use std::any::type_name_of_val;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

use heapwright::cache::{ChunkHeap, Classes, MallocSettings, StdClock, WorkingSet};
use heapwright::lock::{HoldLock, Lock, YieldLock};
use heapwright::source::Pages;

/// What the locks of one kind have seen.
struct Tally {
    entries: AtomicU64,
    /// Entries that found the lock held.
    waits: AtomicU64,
    /// Entries whose work was timed, and its nanoseconds.
    timed: AtomicU64,
    nanoseconds: AtomicU64,
}

/// Whose locks a tally is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Depot,
    /// The slabs of a class.
    Slabs,
    /// The stock of chunks.
    Stock,
    /// The registry of threads.
    Threads,
}

impl Kind {
    /// Whose lock `work` runs under: all of a heap have the same type, so it is told by the name of the function that the work is from.
    fn of<W>(work: &W) -> Self {
        let name = type_name_of_val(work);
        let known = [
            ("malloc::class::Depot", Kind::Depot),
            ("malloc::class::Class", Kind::Slabs),
            ("chunk_heap::ChunkHeap", Kind::Stock),
            ("malloc::threads::Threads", Kind::Threads),
        ];
        let Some((_, kind)) = known.into_iter().find(|(part, _)| name.contains(part)) else {
            panic!("nobody knows whose lock this is: {name}")
        };
        kind
    }
}

/// By kind.
static TALLIES: [Tally; 4] = [const {
    Tally {
        entries: AtomicU64::new(0),
        waits: AtomicU64::new(0),
        timed: AtomicU64::new(0),
        nanoseconds: AtomicU64::new(0),
    }
}; 4];

/// A lock that counts.
struct Counting(YieldLock);

// SAFETY: L1 to L4: those of the lock inside; a clock and counters do not unwind.
unsafe impl Lock for Counting {
    const INIT: Self = Counting(YieldLock::INIT);

    fn with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        let tally = &TALLIES[Kind::of(&work) as usize];
        let number = tally.entries.fetch_add(1, Ordering::Relaxed);
        let mut work = Some(work);
        // One of some is timed, so that the clock does not make the work longer.
        let mut run = || {
            let work = work.take()?;
            if number % 61 > 0 {
                return Some(work());
            }
            let start = Instant::now();
            let result = work();
            let nanoseconds = start.elapsed().as_nanos() as u64;
            // What takes longer was interrupted: that is the machine's own time.
            if nanoseconds < 10_000 {
                tally.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
                tally.timed.fetch_add(1, Ordering::Relaxed);
            }
            Some(result)
        };
        if let Some(result) = self.0.try_with(&mut run) {
            return result;
        }
        tally.waits.fetch_add(1, Ordering::Relaxed);
        self.0.with(run).flatten()
    }

    fn try_with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        self.0.try_with(work)
    }
}

// SAFETY: L5: that of the lock inside.
unsafe impl HoldLock for Counting {
    fn hold(&self) {
        self.0.hold();
    }

    unsafe fn let_go(&self) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.let_go() };
    }
}

/// The settings of `SlabMalloc`, with locks that count.
struct Counted;

impl MallocSettings for Counted {
    type Classes = Classes;
    type Chunks = ChunkHeap<Pages, Counting, WorkingSet<StdClock, 1000>, 32768, 8>;
    type Lock = Counting;
    // The worst: with stacks that grow, classes that come and go in batches visit less.
    const GROWN_BYTES: usize = 0;
}

heapwright::malloc! {
    static COUNTED as CountedMalloc: Counted = ChunkHeap::new(Pages);
}

/// Classes of up to 1000 bytes, which all are in use.
const CLASSES: usize = 36;

/// Shown are medians of so many runs: which threads run at the same time is the OS's choice, and makes a difference.
const RUNS: usize = 9;

/// Nanoseconds from one allocation or free to the next of a core that does little else.
const OPERATION: f64 = 20.0;

/// A xorshift generator (Marsaglia 2003).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % end
    }

    /// Sizes like those of programs: 8 to 1000 bytes, small ones more often.
    fn layout(&mut self) -> Layout {
        let from = 8 << self.below(7);
        Layout::from_size_align((from + self.below(from)).min(1000), 8).unwrap_or(Layout::new::<u64>())
    }
}

/// A block.
fn make(layout: Layout) -> *mut u8 {
    // SAFETY: no size here is zero.
    let block = unsafe { CountedMalloc.alloc(layout) };
    assert!(!block.is_null(), "out of memory");
    // SAFETY: the block is ours.
    unsafe { block.write(1) };
    black_box(block)
}

/// The end of a block.
///
/// # Safety
/// It is live, and this is its layout.
unsafe fn end(block: *mut u8, layout: Layout) {
    // SAFETY: the caller's promise is the same.
    unsafe { CountedMalloc.dealloc(block, layout) };
}

/// Places that threads share: a size for each, and a block or null.
type Places = Vec<(Layout, AtomicPtr<u8>)>;

/// What one thread of so many does, of whose operations there are so many.
type Work = fn(thread: usize, threads: usize, places: &Places, operations: usize);

/// Each replaces objects of its own at random.
fn local(thread: usize, _: usize, _: &Places, operations: usize) {
    let mut random = Random::new(thread as u64);
    let mut blocks: Vec<(*mut u8, Layout)> = Vec::new();
    for _ in 0..operations {
        let layout = random.layout();
        if blocks.len() < 1000 {
            blocks.push((make(layout), layout));
            continue;
        }
        let place = random.below(1000);
        let (block, old) = std::mem::replace(&mut blocks[place], (make(layout), layout));
        // SAFETY: the block is live, with that layout, and in no other place now.
        unsafe { end(block, old) };
    }
    for (block, layout) in blocks {
        // SAFETY: as above.
        unsafe { end(block, layout) };
    }
}

/// Each puts objects into random places that all share, and frees what was there: nearly all frees are of others' objects.
fn exchange(thread: usize, _: usize, places: &Places, operations: usize) {
    let mut random = Random::new(thread as u64);
    for _ in 0..operations {
        let (layout, place) = &places[random.below(places.len())];
        let before = place.swap(make(*layout), Ordering::AcqRel);
        if !before.is_null() {
            // SAFETY: the block is live, of the place's layout, and nobody else has it now.
            unsafe { end(before, *layout) };
        }
    }
}

/// Half of the threads only make objects, the other half only frees them.
fn one_way(thread: usize, threads: usize, places: &Places, operations: usize) {
    let pairs = (threads / 2).max(1);
    let share = places.len() / pairs;
    let mine = &places[thread % pairs * share..][..share];
    for number in 0..operations {
        let (layout, place) = &mine[number % share];
        if thread < pairs {
            let block = make(*layout);
            while place
                .compare_exchange(std::ptr::null_mut(), block, Ordering::AcqRel, Ordering::Relaxed)
                .is_err()
            {
                thread::yield_now();
            }
        } else {
            let mut block = place.swap(std::ptr::null_mut(), Ordering::AcqRel);
            while block.is_null() {
                thread::yield_now();
                block = place.swap(std::ptr::null_mut(), Ordering::AcqRel);
            }
            // SAFETY: the block is live, of the place's layout, and nobody else has it now.
            unsafe { end(block, *layout) };
        }
    }
}

/// What one run of some threads gives: of the locks of depots, slabs and the stock visits per 1000 operations, % of them that waited, nanoseconds; KiB at hand for
/// each thread; cores at which depots are busy all the time, with objects of all classes and of one; the same of slabs.
type Figures = [f64; 14];

/// Medians of some runs, each figure by itself.
fn medians(mut runs: Vec<Figures>) -> Figures {
    std::array::from_fn(|figure| {
        runs.sort_by(|one, other| one[figure].total_cmp(&other[figure]));
        runs[runs.len() / 2][figure]
    })
}

/// A line of the table.
fn line(name: &str, threads: usize, figures: Figures) -> String {
    let mut line = format!("| {name} | {threads} |");
    for (figure, value) in figures.into_iter().enumerate() {
        let _ = match figure {
            0 | 3 | 6 => write!(line, " {value:.2} |"),
            1 | 4 | 7 => write!(line, " {value:.2} % |"),
            // What is beyond that means: never.
            10.. if value >= 100_000.0 => write!(line, " – |"),
            _ => write!(line, " {value:.0} |"),
        };
    }
    line
}

/// Runs so many threads once.
fn measure(work: Work, threads: usize) -> Figures {
    let operations = 2_000_000 / threads;
    let mut random = Random::new(99);
    let places: Places = (0..50_000).map(|_| (random.layout(), AtomicPtr::default())).collect();
    let places = Arc::new(places);
    let (ready, done) = (Arc::new(Barrier::new(threads + 1)), Arc::new(Barrier::new(threads + 1)));
    let running: Vec<_> = (0..threads)
        .map(|thread| {
            let (places, ready, done) = (Arc::clone(&places), Arc::clone(&ready), Arc::clone(&done));
            thread::spawn(move || {
                // So that starting is not counted.
                work(thread, threads, &places, operations.min(2000));
                ready.wait();
                work(thread, threads, &places, operations);
                done.wait();
                // What threads have at hand is looked at while they have it.
                done.wait();
            })
        })
        .collect();
    ready.wait();
    let before = counts();
    done.wait();
    let after = counts();
    let stats = CountedMalloc.stats();
    done.wait();
    running.into_iter().for_each(|thread| _ = thread.join());
    for (layout, place) in places.iter() {
        let block = place.swap(std::ptr::null_mut(), Ordering::Acquire);
        if !block.is_null() {
            // SAFETY: the block is live, of the place's layout.
            unsafe { end(block, *layout) };
        }
    }
    CountedMalloc.release();
    // One that both makes and frees has two operations for each count.
    let all =
        (operations * threads) as f64 * if work as usize == one_way as Work as usize { 1.0 } else { 2.0 };
    let of = |kind: Kind| {
        let (before, after) = (before[kind as usize], after[kind as usize]);
        let entries = after.0 - before.0;
        (
            entries as f64 * 1000.0 / all,
            (after.1 - before.1) as f64 * 100.0 / entries.max(1) as f64,
            hold(before, after),
        )
    };
    let [depots, slabs, stock] = [Kind::Depot, Kind::Slabs, Kind::Stock].map(of);
    let at_hand = stats.bytes_at_hand as f64 / 1024.0 / stats.threads.max(1) as f64;
    let limit = |(visits, _, nanoseconds): (f64, f64, f64), locks: usize| {
        locks as f64 * OPERATION / (visits / 1000.0 * nanoseconds).max(1e-9)
    };
    [
        depots.0,
        depots.1,
        depots.2,
        slabs.0,
        slabs.1,
        slabs.2,
        stock.0,
        stock.1,
        stock.2,
        at_hand,
        limit(depots, Counted::SHARDS * CLASSES),
        limit(depots, Counted::SHARDS),
        limit(slabs, CLASSES),
        limit(slabs, 1),
    ]
}

/// Entries, waits, timed entries and their nanoseconds of all kinds of locks.
fn counts() -> [(u64, u64, u64, u64); 4] {
    std::array::from_fn(|kind| {
        let Tally { entries, waits, timed, nanoseconds } = &TALLIES[kind];
        let [entries, waits, timed, nanoseconds] =
            [entries, waits, timed, nanoseconds].map(|count| count.load(Ordering::Relaxed));
        (entries, waits, timed, nanoseconds)
    })
}

/// Nanoseconds of an entry, without those of the clock.
fn hold(before: (u64, u64, u64, u64), after: (u64, u64, u64, u64)) -> f64 {
    let clock = {
        let start = Instant::now();
        (0..1000).for_each(|_| _ = black_box(Instant::now()));
        start.elapsed().as_nanos() as f64 / 1000.0
    };
    let timed = (after.2 - before.2).max(1);
    // No less than what the clock can tell.
    ((after.3 - before.3) as f64 / timed as f64 - clock).max(1.0)
}

fn main() -> io::Result<()> {
    let named: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let threads = if named.is_empty() { vec![1, 2, 8, 32, 128, 256] } else { named };
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "| workload | threads | depots: visits per 1000 operations | of these waited | ns each | slabs: visits | waited | ns | stock: visits | waited | ns \
         | KiB at hand per thread | depots: cores | of one class | slabs: cores | of one class |"
    )?;
    writeln!(out, "| --- |{}", " ---: |".repeat(15))?;
    let works: [(&str, Work); 3] = [("own objects", local), ("exchange", exchange), ("one way", one_way)];
    for (name, work) in works {
        for &threads in threads.iter().filter(|&&threads| name != "one way" || threads > 1) {
            let runs = (0..RUNS).map(|_| measure(work, threads)).collect();
            writeln!(out, "{}", line(name, threads, medians(runs)))?;
        }
    }
    Ok(())
}
