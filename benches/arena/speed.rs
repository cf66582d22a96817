//! Nanoseconds per operation, all peers in the same rounds.

use std::alloc::Layout;
use std::hint::black_box;
use std::slice;
use std::time::Duration;

use crate::clock;
use crate::memory::{Memory, Region};
use crate::mix::{FIXED_24, MIXED, Mix, Rng, SMALL, layout};
use crate::objects::Objects;
use crate::peers::{self, Floor, Heap, OURS_BOUNDED, Peer, Visit};
use crate::report::{Report, Table, print_table, progress};

pub(crate) const REGIONS: [Region; 3] = [Region::Kib4, Region::Kib128, Region::Mib16];

/// Where the layouts of a race come from.
trait Sizes {
    /// What has to be remembered of a layout to free it.
    type Kept: Copy + 'static;

    fn pick(&self, random: usize) -> Self::Kept;

    fn layout(kept: Self::Kept) -> Layout;
}

/// One layout, known at compile time, as of a `Box<T>`.
struct Constant<const SIZE: usize, const ALIGN: usize>;

impl<const SIZE: usize, const ALIGN: usize> Sizes for Constant<SIZE, ALIGN> {
    type Kept = ();

    #[inline(always)]
    fn pick(&self, _: usize) {}

    #[inline(always)]
    fn layout((): ()) -> Layout {
        const { layout(SIZE, ALIGN) }
    }
}

/// Many sizes, known at run time, with an alignment known at compile time, as of a `Vec<T>`.
struct Drawn<const ALIGN: usize> {
    sizes: Box<[u16; DRAWS]>,
}

/// So many that the table stays in the first-level cache.
const DRAWS: usize = 4096;

impl<const ALIGN: usize> Drawn<ALIGN> {
    fn new(mix: &Mix) -> Self {
        let mut rng = Rng::new(3);
        let mut sizes = Box::new([0; DRAWS]);
        sizes.fill_with(|| mix.draw(&mut rng).size() as u16);
        Drawn { sizes }
    }
}

impl<const ALIGN: usize> Sizes for Drawn<ALIGN> {
    type Kept = u16;

    #[inline(always)]
    fn pick(&self, random: usize) -> u16 {
        self.sizes[random % DRAWS]
    }

    #[inline(always)]
    fn layout(size: u16) -> Layout {
        // SAFETY: `ALIGN` is a power of two (the mix drew layouts with it) and sizes have 16 bits.
        unsafe { Layout::from_size_align_unchecked(size as usize, ALIGN) }
    }
}

/// A peer at the start.
trait Race {
    fn name(&self) -> &'static str;

    /// Frees a random live object and allocates one, so many times.
    fn replace(&mut self, ops: usize);

    /// Allocates an object and frees it, so many times.
    fn pair(&mut self, ops: usize);

    /// Allocations that failed since the last `forget_failures`.
    fn failures(&self) -> usize;

    fn forget_failures(&mut self);
}

#[derive(Clone, Copy)]
struct Slot<K> {
    ptr: *mut u8,
    kept: K,
}

struct Racer<'b, P: Peer, S: Sizes> {
    heap: P::Heap<'b>,
    slots: Vec<Slot<S::Kept>>,
    sizes: &'b S,
    rng: Rng,
    failures: usize,
}

impl<'b, P: Peer, S: Sizes> Racer<'b, P, S> {
    /// Fills the region to 45 % of what this peer can hold of this mix.
    fn new(memory: &'b mut Memory, len: usize, mix: &Mix, sizes: &'b S) -> Self {
        // The mean of as many fills as make up a few thousand objects. The floor never fails.
        let (mut held, mut fills) = (0, 0);
        while P::NAME != Floor::NAME && held < 4096 && fills < 64 {
            let mut full = Objects::new(P::make(memory.region(0, len)));
            full.fill(mix, &mut Rng::new(fills));
            held += full.len();
            fills += 1;
        }
        let count = if held == 0 { len / 64 } else { held * 45 / 100 / fills as usize };
        let mut heap = P::make(memory.region(0, len));
        let mut rng = Rng::new(6);
        let mut slots = Vec::with_capacity(count);
        for _ in 0..count {
            let kept = sizes.pick(rng.next() as usize);
            let ptr = heap.alloc(S::layout(kept));
            slots.push(Slot { ptr, kept });
        }
        Racer { heap, slots, sizes, rng, failures: 0 }
    }
}

impl<P: Peer, S: Sizes> Race for Racer<'_, P, S> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    #[inline(never)]
    fn replace(&mut self, ops: usize) {
        let Racer { heap, slots, sizes, rng, failures } = self;
        let count = slots.len() as u64;
        for _ in 0..ops {
            let random = rng.next();
            let index = ((random >> 32) * count) >> 32;
            // SAFETY: a 32-bit fraction of `count` is below `count`.
            let slot = unsafe { slots.get_unchecked_mut(index as usize) };
            if !slot.ptr.is_null() {
                // SAFETY: the slot's block is live, with this layout.
                unsafe { heap.free(slot.ptr, S::layout(slot.kept)) };
            }
            slot.kept = sizes.pick(random as usize);
            slot.ptr = black_box(heap.alloc(S::layout(slot.kept)));
            if slot.ptr.is_null() {
                *failures += 1;
            } else {
                // SAFETY: the block is live and of at least one byte.
                unsafe { slot.ptr.write(random as u8) };
            }
        }
    }

    #[inline(never)]
    fn pair(&mut self, ops: usize) {
        let Racer { heap, sizes, failures, .. } = self;
        for op in 0..ops {
            let kept = sizes.pick(op);
            let ptr = black_box(heap.alloc(S::layout(kept)));
            if ptr.is_null() {
                *failures += 1;
                continue;
            }
            // SAFETY: the block is live and of at least one byte.
            unsafe { ptr.write(op as u8) };
            // SAFETY: the block is live, with this layout.
            unsafe { heap.free(ptr, S::layout(kept)) };
        }
    }

    fn failures(&self) -> usize {
        self.failures
    }

    fn forget_failures(&mut self) {
        self.failures = 0;
    }
}

/// Makes the racers of a region, each in memory of its own.
struct Start<'b, S> {
    memories: slice::IterMut<'b, Memory>,
    len: usize,
    mix: &'b Mix,
    sizes: &'b S,
    racers: Vec<Box<dyn Race + 'b>>,
}

impl<'b, S: Sizes> Visit for Start<'b, S> {
    fn visit<P: Peer>(&mut self) {
        if let Some(memory) = self.memories.next() {
            self.racers.push(Box::new(Racer::<P, S>::new(memory, self.len, self.mix, self.sizes)));
        }
    }
}

/// More than there are peers.
const PEERS_MAX: usize = 16;

/// What one race is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Course {
    Replace,
    Pair,
}

/// The courses and the mixes that they are run with, the columns of the tables.
const COLUMNS: [(&str, Course, Mix); 4] = [
    ("pair 24 B", Course::Pair, FIXED_24),
    ("replace 24 B", Course::Replace, FIXED_24),
    ("replace 1..=64", Course::Replace, SMALL),
    ("replace 4..=255", Course::Replace, MIXED),
];

pub(crate) fn run(report: &mut Report) {
    for region in REGIONS {
        let mut memories: Vec<Memory> = (0..PEERS_MAX).map(|_| region.memory()).collect();
        let results: Vec<Times> = COLUMNS
            .iter()
            .map(|(name, course, mix)| {
                progress(&format!("speed, {}, {name}", region.name()));
                match mix.name {
                    _ if mix.name == FIXED_24.name => {
                        start(region, &mut memories, *course, mix, &Constant::<24, 8>, report)
                    }
                    _ if mix.name == SMALL.name => {
                        start(region, &mut memories, *course, mix, &Drawn::<1>::new(mix), report)
                    }
                    _ => start(region, &mut memories, *course, mix, &Drawn::<8>::new(mix), report),
                }
            })
            .collect();
        show(region, &results, report);
    }
}

/// Brings the racers to the start, and off.
fn start<S: Sizes + 'static>(
    region: Region,
    memories: &mut [Memory],
    course: Course,
    mix: &Mix,
    sizes: &S,
    report: &Report,
) -> Times {
    let mut start =
        Start { memories: memories.iter_mut(), len: region.len(), mix, sizes, racers: Vec::new() };
    peers::visit_all(region, &mut start);
    start.visit::<Floor>();
    race(&mut start.racers, course, report)
}

/// Prints the table of a region, and keeps its figures.
fn show(region: Region, results: &[Times], report: &mut Report) {
    let mut header = vec![region.name()];
    for (name, ..) in &COLUMNS {
        header.extend([*name, "x ours"]);
    }
    let mut table = Table::new(
        format!("speed: nanoseconds per operation in {}", region.name()),
        "pair: allocate and free; replace: free a random object and allocate one, at 45 % of what the peer can hold; the first\n\
         byte of each object is written; median of the rounds, each of which runs every peer; x ours: median of the\n\
         ratios within rounds; a *: more than 0.1 % of the allocations failed; teaspoon locks, the others do not\n",
        &header,
    );
    let Some(first) = results.first() else { return };
    for (index, name) in first.names.iter().enumerate() {
        let mut cells = Vec::new();
        for (times, (column, ..)) in results.iter().zip(COLUMNS) {
            let (median, ratio) = (times.median(index), times.ratio(index, 0));
            report.keep(&["speed", region.name(), column, name], median);
            report.keep(&["speed ratio", region.name(), column, name], ratio);
            let mark = if times.failed[index] > 0.001 { "*" } else { "" };
            cells.push(format!("{median:.1}{mark}"));
            cells.push(format!("{ratio:.2}"));
        }
        table.row(*name, cells);
    }
    let position = |wanted| first.names.iter().position(|name| *name == wanted);
    if let (Some(bounded), Some(rlsf)) = (position(OURS_BOUNDED), position("rlsf")) {
        let ratios =
            results.iter().map(|times| [String::new(), format!("{:.2}", times.ratio(bounded, rlsf))]);
        table.row("(bounded / rlsf)", ratios.flatten());
    }
    print_table(&table);
}

/// Runs chunks of operations until a spell is over; says how many that were and how long they took. The time of an
/// operation may change by orders of magnitude while a heap fragments: the chunk follows.
fn spell(racer: &mut dyn Race, course: Course, chunk: &mut usize) -> (usize, Duration) {
    let (mut ops, start) = (0, clock::now());
    loop {
        match course {
            Course::Replace => racer.replace(*chunk),
            Course::Pair => racer.pair(*chunk),
        }
        ops += *chunk;
        let elapsed = clock::now() - start;
        if elapsed >= SPELL {
            *chunk = (ops / 64).max(16);
            return (ops, elapsed);
        }
    }
}

/// The peers' times in nanoseconds per operation, round by round.
struct Times {
    names: Vec<&'static str>,
    rounds: Vec<Vec<f64>>,
    /// The fraction of the allocations that failed.
    failed: Vec<f64>,
}

/// How long a peer runs in a round, at least.
const SPELL: Duration = Duration::from_millis(4);
/// How long a peer may take to warm up.
const WARM_UP: Duration = Duration::from_millis(400);

/// Runs all racers in each of the rounds, each round starting with another.
fn race(racers: &mut [Box<dyn Race + '_>], course: Course, report: &Report) -> Times {
    let warm = report.pick(1_000_000, 0);
    let mut chunks: Vec<usize> = racers.iter().map(|_| 16).collect();
    for (racer, chunk) in racers.iter_mut().zip(&mut chunks) {
        let (mut done, start) = (0, clock::now());
        while done < warm && clock::now() - start < WARM_UP {
            done += spell(&mut **racer, course, chunk).0;
        }
        racer.forget_failures();
    }
    let names = racers.iter().map(|racer| racer.name()).collect();
    let mut times = Times { names, rounds: Vec::new(), failed: Vec::new() };
    let mut total = vec![0; racers.len()];
    for round in 0..report.pick(11, 3) {
        let mut row = vec![0.0; racers.len()];
        for turn in 0..racers.len() {
            let index = (turn + round) % racers.len();
            let (ops, elapsed) = spell(&mut *racers[index], course, &mut chunks[index]);
            total[index] += ops;
            row[index] = elapsed.as_nanos() as f64 / ops as f64;
        }
        times.rounds.push(row);
    }
    let failed = racers.iter().zip(total).map(|(racer, ops)| racer.failures() as f64 / ops as f64);
    times.failed = failed.collect();
    times
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Times {
    fn median(&self, peer: usize) -> f64 {
        median(self.rounds.iter().map(|row| row[peer]).collect())
    }

    /// The median over the rounds of a peer's time divided by another's in the same round.
    fn ratio(&self, peer: usize, to: usize) -> f64 {
        median(self.rounds.iter().map(|row| row[peer] / row[to]).collect())
    }
}
