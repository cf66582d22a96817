//! What the programs do: the work of real ones, once each. A program is started with the name of a workload, does it, and prints one line: see
//! [`Outcome`].

use std::any::Any;
use std::fmt;
use std::io::Write as _;
use std::time::Instant;

#[path = "micro.rs"]
mod micro;
#[path = "random.rs"]
mod random;
#[path = "structures.rs"]
mod structures;
#[path = "texts.rs"]
mod texts;
#[path = "threads.rs"]
mod threads;

/// What is left when the work is done: data that was there before the load, and about how many bytes that is.
pub(crate) type Left = Option<(Box<dyn Any>, usize)>;

/// A workload that is ready to be timed: it says how many operations that were, for those that count them, and what is left.
pub(crate) type Work = Box<dyn FnOnce() -> (usize, Left)>;

/// Makes a workload ready: what this does is not timed. The number scales it: 1 is the usual amount.
type Prepare = fn(usize) -> Work;

/// All workloads, by name.
const WORKLOADS: [(&str, Prepare); 31] = [
    ("btree", structures::btree),
    ("hashmap", structures::hashmap),
    ("graph", structures::graph),
    ("vectors", structures::vectors),
    ("json", texts::json),
    ("regex", texts::regex),
    ("sort", texts::sort),
    ("ast", texts::ast),
    ("strings", texts::strings),
    ("server", threads::server),
    ("server-16", threads::server_16),
    ("pipeline", threads::pipeline),
    ("threads", threads::short_lived),
    ("pair-const", micro::pair_const),
    ("pair-opaque", micro::pair_opaque),
    ("pair-sizes", micro::pair_sizes),
    ("batch-1k", micro::batch_1k),
    ("batch-1k-random", micro::batch_1k_random),
    ("batch-10k", micro::batch_10k),
    ("batch-10k-random", micro::batch_10k_random),
    ("replace-1k-1000", micro::replace_1k_1000),
    ("replace-100k-1000", micro::replace_100k_1000),
    ("replace-1k-64", micro::replace_1k_64),
    ("replace-100k-64", micro::replace_100k_64),
    ("local-1t", micro::local_1),
    ("local-2t", micro::local_2),
    ("ring-2t", micro::ring),
    ("exchange-2t", micro::exchange),
    ("large", micro::large),
    ("realloc-large", micro::realloc_large),
    ("nothing", micro::nothing),
];

/// What a program prints of its work: numbers with spaces between.
struct Outcome {
    /// Nanoseconds of all processors, in the program and in the kernel.
    cpu: u64,
    /// Nanoseconds from start to end.
    wall: u64,
    /// Operations; 0 where they are not counted.
    ops: usize,
    /// KiB of resident memory at the peak of the work, all that the program has.
    peak: usize,
    /// KiB of resident memory when only what is left is live, and the allocator has been told to give back what it can, beyond what there was before.
    idle: usize,
    /// KiB of what is left.
    live: usize,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { cpu, wall, ops, peak, idle, live } = self;
        write!(f, "{cpu} {wall} {ops} {peak} {idle} {live}")
    }
}

/// KiB that `/proc/self/status` says after `key`.
fn status(key: &str) -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Nanoseconds of processor time that this process has had.
fn cpu() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place is there to be written to.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Does the workload that the command line names, and prints what came of it. `release` tells the allocator to give back what it can.
pub(crate) fn main(release: fn()) {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let amount = arguments.next().and_then(|amount| amount.parse().ok()).unwrap_or(1);
    let Some((_, prepare)) = WORKLOADS.iter().find(|(known, _)| *known == name) else {
        panic!("no workload is called `{name}`")
    };
    let work = prepare(amount);
    release();
    let before = status("VmRSS:");
    // Only what comes now counts for the peak.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let (cpu_before, start) = (cpu(), Instant::now());
    let (ops, left) = work();
    let (cpu, wall) = (cpu() - cpu_before, start.elapsed().as_nanos() as u64);
    let peak = status("VmHWM:");
    release();
    let idle = status("VmRSS:").saturating_sub(before);
    let live = left.as_ref().map_or(0, |(_, bytes)| bytes / 1024);
    let _ = writeln!(std::io::stdout(), "{}", Outcome { cpu, wall, ops, peak, idle, live });
}
