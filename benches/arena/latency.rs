//! The slowest operations: how long one call may take.

use std::alloc::Layout;
use std::time::Instant;

use crate::memory::Region;
use crate::mix::{MIXED, Rng};
use crate::peers::{self, Floor, Heap, Peer, Visit};
use crate::report::{Report, Table, print_table, progress};

const REGIONS: [Region; 3] = [Region::Kib4, Region::Kib128, Region::Mib16];

/// One call.
#[derive(Clone, Copy)]
enum Op {
    Alloc(usize, Layout),
    Free(usize),
}

/// A random sequence of calls: fills the region to about 60 % and goes on for as long again and more.
fn sequence(region: Region, quick: bool) -> (Vec<Op>, usize) {
    let mut rng = Rng::new(11);
    // Half of the slots are occupied in the long run.
    let slots = (2.0 * 0.6 * region.len() as f64 / MIXED.mean()) as usize;
    let calls = if quick { 20_000 } else { (slots * 4).max(200_000) };
    let mut occupied = vec![false; slots];
    let ops = (0..calls).map(|_| {
        let slot = rng.below(slots);
        occupied[slot] = !occupied[slot];
        if occupied[slot] { Op::Alloc(slot, MIXED.draw(&mut rng)) } else { Op::Free(slot) }
    });
    (ops.collect(), slots)
}

pub(crate) fn run(report: &mut Report) {
    let replays = report.pick(15, 3);
    for region in REGIONS {
        progress(&format!("latency, {}", region.name()));
        let (ops, slots) = sequence(region, report.quick);
        let table = Table::new(
            format!("latency: nanoseconds of the slowest calls in {}", region.name()),
            format!(
                "a random sequence of {} calls (sizes {}) at up to 60 % of the region, replayed {replays} times; of each call \
                 the fastest\nreplay counts, which takes the machine's own interruptions out; the clock's own time is in it\n",
                ops.len(),
                MIXED.name
            ),
            &[region.name(), "median", "p99", "p99.99", "max"],
        );
        let mut latency = Latency { region, ops, slots, replays, table, report };
        peers::visit_all(region, &mut latency);
        latency.visit::<Floor>();
        print_table(&latency.table);
    }
}

struct Latency<'r> {
    region: Region,
    ops: Vec<Op>,
    slots: usize,
    replays: usize,
    table: Table,
    report: &'r mut Report,
}

impl Visit for Latency<'_> {
    fn visit<P: Peer>(&mut self) {
        if (P::SPEED_ONLY && P::NAME != Floor::NAME) || (P::SLOW && self.region == Region::Mib16) {
            return;
        }
        let mut memory = self.region.memory();
        let mut fastest = vec![u32::MAX; self.ops.len()];
        for _ in 0..self.replays {
            replay(P::make(memory.region(0, self.region.len())), &self.ops, self.slots, &mut fastest);
        }
        fastest.sort_unstable();
        let at = |fraction: f64| fastest[((fastest.len() - 1) as f64 * fraction) as usize];
        let quantiles = [("median", at(0.5)), ("p99", at(0.99)), ("p99.99", at(0.9999)), ("max", at(1.0))];
        for (name, time) in quantiles {
            self.report.keep(&["latency", self.region.name(), name, P::NAME], f64::from(time));
        }
        self.table.row(P::NAME, quantiles.map(|(_, time)| time.to_string()));
    }
}

/// Runs the calls in a fresh heap, and notes for each whether it was faster than ever before.
fn replay<H: Heap>(mut heap: H, ops: &[Op], slots: usize, fastest: &mut [u32]) {
    let mut live = vec![(std::ptr::null_mut::<u8>(), Layout::new::<u8>()); slots];
    for (op, fastest) in ops.iter().zip(fastest) {
        let start = Instant::now();
        match *op {
            Op::Alloc(slot, layout) => live[slot] = (heap.alloc(layout), layout),
            // The allocation may have failed.
            Op::Free(slot) if live[slot].0.is_null() => {}
            // SAFETY: the slot's block is live, with this layout; it is freed once, since slots alternate.
            Op::Free(slot) => unsafe { heap.free(live[slot].0, live[slot].1) },
        }
        let time = u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX);
        *fastest = time.min(*fastest);
    }
}
