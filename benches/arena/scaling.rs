//! Whether the time of an operation depends on how much is live.

use std::alloc::Layout;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::time::Duration;

use heapwright::lock::NoLock;
use heapwright::sizing::{Bounded, Sizing16MiB};

use crate::clock;
use crate::memory::{Memory, Region};
use crate::mix::layout;
use crate::peers::{Ancestor, Heap, Ours, Peer, Spoon};
use crate::report::{Report, Table, print_table, progress};
use crate::speed::median;

const COUNTS: [usize; 4] = [1_000, 10_000, 100_000, 600_000];

const OBJECT: Layout = layout(16, 8);

/// The operations, in the order of the rows.
const ROWS: [&str; 9] = [
    "alloc + free, room at the end",
    "grow in place + shrink",
    "alloc + grow by moving + free",
    "usage",
    "alloc + free in the last hole",
    "failing alloc, full",
    "free + alloc, every second one free",
    "the first failing alloc after that",
    "failing alloc, every second one free",
];

/// An arena with its live objects, all of `OBJECT`.
struct Loaded<'a, P: Peer> {
    heap: P::Heap<'a>,
    live: Vec<*mut u8>,
}

impl<'a, P: Peer> Loaded<'a, P>
where
    P::Heap<'a>: Spoon,
{
    fn new(region: &'a mut [MaybeUninit<u8>], count: usize) -> Self {
        let mut heap = P::make(region);
        let live = (0..count).map(|_| heap.alloc(OBJECT)).collect();
        Loaded { heap, live }
    }

    fn alloc(&mut self, layout: Layout) -> *mut u8 {
        black_box(self.heap.alloc(black_box(layout)))
    }

    fn free(&mut self, ptr: *mut u8, layout: Layout) {
        assert!(!ptr.is_null(), "the arena had no room where there should be some");
        // SAFETY: the rows free what they allocated, with its layout, once.
        unsafe { self.heap.free(ptr, layout) }
    }

    fn resize(&mut self, ptr: *mut u8, old: Layout, new_size: usize) -> *mut u8 {
        assert!(!ptr.is_null(), "the arena had no room where there should be some");
        // SAFETY: the rows resize what they allocated, with its layout.
        black_box(unsafe { self.heap.resize(ptr, old, black_box(new_size)) })
    }

    /// Takes all that is free in blocks of halving sizes.
    fn fill_up(&mut self) {
        let mut size = 8 << 20;
        while size >= OBJECT.size() {
            while !self.heap.alloc(layout(size, 8)).is_null() {}
            size /= 2;
        }
    }

    fn alloc_free(&mut self, layout: Layout) {
        let ptr = self.alloc(layout);
        self.free(ptr, layout);
    }

    /// Nanoseconds of each row.
    fn run(&mut self) -> Vec<f64> {
        let mut row = Vec::new();
        row.push(time(|| self.alloc_free(OBJECT)));

        // A block with the free end of the arena behind it.
        let end = self.alloc(OBJECT);
        row.push(time(|| {
            let grown = self.resize(end, OBJECT, 256);
            assert!(grown == end, "the block moved although there was room behind it");
            self.resize(grown, layout(256, 8), OBJECT.size());
        }));
        self.free(end, OBJECT);

        row.push(time(|| {
            let ptr = self.alloc(OBJECT);
            // In the way.
            let wall = self.alloc(OBJECT);
            let grown = self.resize(ptr, OBJECT, 64);
            self.free(wall, OBJECT);
            self.free(grown, layout(64, 8));
        }));
        row.push(time(|| {
            black_box(self.heap.fill().objects);
        }));

        self.fill_up();
        let middle = self.live.len() / 2;
        self.free(self.live[middle], OBJECT);
        row.push(time(|| self.alloc_free(OBJECT)));
        self.live[middle] = self.alloc(OBJECT);
        row.push(time(|| assert!(self.alloc(OBJECT).is_null(), "the arena was not full")));

        for index in (0..self.live.len()).step_by(2) {
            self.free(self.live[index], OBJECT);
        }
        // Most of the holes are out of the caches: the same few, in turn.
        let mut turn = 1;
        row.push(time(|| {
            let index = turn % 64;
            self.free(self.live[index], OBJECT);
            self.live[index] = self.alloc(OBJECT);
            turn += 2;
        }));
        // What the frees left unmerged is merged now, once.
        let start = clock::now();
        assert!(self.alloc(layout(64 << 10, 8)).is_null(), "the arena found room between objects");
        row.push((clock::now() - start).as_nanos() as f64);
        row.push(time(|| {
            assert!(self.alloc(layout(64 << 10, 8)).is_null(), "the arena found room between objects");
        }));
        row
    }
}

/// How long a row is repeated, for each of its measurements.
const SPELL: Duration = Duration::from_millis(3);

/// The median of five measurements, in nanoseconds.
fn time(mut work: impl FnMut()) -> f64 {
    let mut chunk = 1;
    let mut times = Vec::new();
    for _ in 0..6 {
        let (mut ops, start) = (0, clock::now());
        let elapsed = loop {
            for _ in 0..chunk {
                work();
            }
            ops += chunk;
            let elapsed = clock::now() - start;
            if elapsed >= SPELL {
                break elapsed;
            }
        };
        chunk = (ops / 64).max(1);
        times.push(elapsed.as_nanos() as f64 / ops as f64);
    }
    // The first one warmed up.
    times.remove(0);
    median(times)
}

pub(crate) fn run(report: &mut Report) {
    let mut memory = Region::Mib16.memory();
    table_of::<Ours<Sizing16MiB, NoLock, 0>>("a ! marks a ratio above 3\n", &mut memory, report);
    table_of::<Ours<Bounded<Sizing16MiB>, NoLock, 1>>("a ! marks a ratio above 3\n", &mut memory, report);
    table_of::<Ancestor<teaspoon::Sizing16MiB>>(
        "teaspoon walks the list of its objects; its first row has room behind the last one\n",
        &mut memory,
        report,
    );
}

fn table_of<P: Peer>(note: &str, memory: &mut Memory, report: &mut Report)
where
    for<'a> P::Heap<'a>: Spoon,
{
    progress(&format!("scaling, {}", P::NAME));
    let counts = &COUNTS[..report.pick(4, 2)];
    let columns: Vec<Vec<f64>> = counts
        .iter()
        .map(|count| Loaded::<P>::new(memory.region(0, Region::Mib16.len()), *count).run())
        .collect();
    let mut table = Table::new(
        format!("scaling: nanoseconds per operation against live objects of 16 bytes in 16 MiB, {}", P::NAME),
        note,
        &["", "1,000", "10,000", "100,000", "600,000", "max/min"],
    );
    for (index, name) in ROWS.iter().enumerate() {
        let times: Vec<f64> = columns.iter().map(|column| column[index]).collect();
        let (low, high) = times
            .iter()
            .fold((f64::MAX, 0.0), |(low, high): (f64, f64), time| (low.min(*time), high.max(*time)));
        report.keep(&["scaling", name, P::NAME], high / low);
        let mut cells: Vec<String> = times.iter().map(|time| format!("{time:.1}")).collect();
        cells.resize(COUNTS.len(), "-".into());
        cells.push(format!("{:.2}{}", high / low, if high > 3.0 * low { "!" } else { "" }));
        table.row(*name, cells);
    }
    print_table(&table);
}
