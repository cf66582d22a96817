//! A general heap as the global allocator: slabs of 76 sizes over OS pages, and pages of their own for what is larger.
//!
//! Nothing is set up before the program runs, and nothing has a fixed size: slabs come when they are needed, and go back when `reap` is called.
//!
//! ```text
//! cargo run --release --example global_slab_heap -- 1000000
//! ```

use std::collections::HashMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;

use heapwright::cache::{Classes, SizeClasses, SlabHeap};
use heapwright::heap::Locked;
use heapwright::lock::SpinLock;
use heapwright::slab::AlignedSlabs;
use heapwright::source::{Pages, SourceHeap};

type General = Locked<SlabHeap<Classes, AlignedSlabs<Pages>, SourceHeap<Pages>>, SpinLock>;

#[global_allocator]
static HEAP: General = General::over(Pages, SourceHeap::new(Pages));

/// The numbers in `from..to`, by how many steps each takes to come to 1: halved if even, else three times itself and one.
fn by_steps(from: u64, to: u64) -> HashMap<usize, Vec<u64>> {
    let mut numbers = HashMap::<usize, Vec<u64>>::new();
    for number in from..to {
        let mut steps = 0;
        let mut at = number;
        while at > 1 {
            at = if at % 2 == 0 { at / 2 } else { 3 * at + 1 };
            steps += 1;
        }
        numbers.entry(steps).or_default().push(number);
    }
    numbers
}

fn main() -> io::Result<ExitCode> {
    let limit: u64 = std::env::args().nth(1).and_then(|limit| limit.parse().ok()).unwrap_or(100_000);
    let share = limit.div_ceil(4).max(1);
    let parts = thread::scope(|scope| {
        let starts = (1..limit).step_by(usize::try_from(share).unwrap_or(usize::MAX));
        let threads: Vec<_> =
            starts.map(|from| scope.spawn(move || by_steps(from, limit.min(from + share)))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect::<Vec<_>>()
    });
    let mut out = io::stdout().lock();
    let longest = parts.iter().flatten().max_by_key(|(steps, _)| **steps);
    writeln!(
        out,
        "below {limit}, the most steps are {:?}",
        longest.map(|(steps, numbers)| (steps, &numbers[0]))
    )?;
    let full = HEAP.stats();
    writeln!(
        out,
        "{} objects in {} slabs, {} in pages of their own",
        full.live, full.slabs, full.large_blocks
    )?;
    for (class, size) in Classes::SIZES.iter().enumerate() {
        let slabs = HEAP.slabs(class).count();
        if let Some(stats) = HEAP.class_stats(class).filter(|_| slabs > 0) {
            writeln!(out, "{size:6} bytes: {:6} live in {slabs:3} slabs", stats.live)?;
        }
    }
    drop(parts);
    writeln!(out, "{} slabs given back, {} left", HEAP.reap(), HEAP.stats().slabs)?;
    Ok(if HEAP.verify().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
