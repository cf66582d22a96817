//! How much fits in the long run: the payload when allocations fail, after many frees in random order.

use std::time::{Duration, Instant};

use crate::memory::Region;
use crate::mix::{Align, MIXED, Mix, Rng, SMALL, Spread};
use crate::objects::Objects;
use crate::peers::{self, Peer, Visit};
use crate::report::{Report, Table, print_table, progress};

const REGIONS: [Region; 3] = [Region::Kib4, Region::Kib128, Region::Mib1];

/// Sizes over ten doublings, as far as the region bears it.
const fn wide(region: Region) -> Mix {
    match region {
        Region::Kib4 => Mix::new("16..=511 log", 16, 511, Spread::Log, Align::Fixed(8)),
        _ => Mix::new("16..=16383 log", 16, (16 << 10) - 1, Spread::Log, Align::Fixed(8)),
    }
}

/// What is freed when an allocation fails.
#[derive(Clone, Copy)]
enum Style {
    /// One random object.
    One,
    /// A random tenth of the objects.
    Tenth,
}

const STYLES: [(Style, &str); 2] = [(Style::One, "one"), (Style::Tenth, "tenth")];

pub(crate) fn run(report: &mut Report) {
    for region in REGIONS {
        progress(&format!("churn, {}", region.name()));
        let mixes = [SMALL, MIXED, wide(region)];
        let mut header = vec![String::from(region.name())];
        for mix in &mixes {
            header.extend(STYLES.iter().map(|(_, style)| format!("{}, {style}", mix.name)));
        }
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let table = Table::new(
            format!(
                "churn: payload in % of a region of {} when allocations fail in a long random run",
                region.name()
            ),
            "after each failure: one random object is freed, or a random tenth of them, and the same request is made again;\n\
             mean over the failed requests in the second half of the run; a ~ marks a run cut short for its time;\n\
             stalloc 0.7.0 takes itself for full once its last hole is filled exactly, and loses the holes before it\n",
            &header,
        );
        let mut churn = Churn { region, mixes, table, report };
        peers::visit_all(region, &mut churn);
        print_table(&churn.table);
    }
}

struct Churn<'r> {
    region: Region,
    mixes: [Mix; 3],
    table: Table,
    report: &'r mut Report,
}

impl Visit for Churn<'_> {
    fn visit<P: Peer>(&mut self) {
        if P::SPEED_ONLY {
            return;
        }
        let mut memory = self.region.memory();
        let len = self.region.len();
        let mut cells = Vec::new();
        for mix in &self.mixes {
            for (style, style_name) in STYLES {
                // Enough for every object to be replaced many times over.
                let live = (len as f64 / mix.mean()) as usize;
                let allocs = (live * 40).clamp(200_000, 800_000) / self.report.pick(1, 20);
                let objects = Objects::new(P::make(memory.region(0, len)));
                let (payload, whole) = churn(objects, mix, style, allocs);
                let percent = 100.0 * payload / len as f64;
                self.report.keep(&["churn", self.region.name(), mix.name, style_name, P::NAME], percent);
                cells.push(format!("{}{percent:.1}", if whole { "" } else { "~" }));
            }
        }
        self.table.row(P::NAME, cells);
    }
}

/// The longest that one run may take: only heaps whose time grows with the number of objects come near.
const LONGEST: Duration = Duration::from_secs(10);

/// The mean payload at failures in the second half of the allocations, and whether there was time for all of them.
fn churn<H: peers::Heap>(mut objects: Objects<H>, mix: &Mix, style: Style, allocs: usize) -> (f64, bool) {
    let mut rng = Rng::new(7);
    let start = Instant::now();
    let mut payloads = Vec::new();
    let mut whole = true;
    let mut half = None;
    for done in 0..allocs {
        let layout = mix.draw(&mut rng);
        let payload = objects.payload();
        let mut failed = false;
        while !objects.add(layout) {
            if objects.len() == 0 {
                // Too large for this heap even when it is empty.
                break;
            }
            failed = true;
            let count = match style {
                Style::One => 1,
                Style::Tenth => objects.len().div_ceil(10),
            };
            for _ in 0..count {
                objects.remove_random(&mut rng);
            }
        }
        if failed {
            payloads.push(payload);
        }
        if done >= allocs / 2 && half.is_none() {
            half = Some(payloads.len());
        }
        if done % 64 == 0 && start.elapsed() > LONGEST {
            whole = false;
            break;
        }
    }
    let second_half = &payloads[half.unwrap_or(payloads.len() / 2)..];
    let sum: usize = second_half.iter().sum();
    (sum as f64 / second_half.len().max(1) as f64, whole)
}
