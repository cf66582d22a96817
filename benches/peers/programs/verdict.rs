//! What this crate's allocator is to reach.

use std::io::{self, Write};

use crate::WORKLOADS;
use crate::outcome::{CHECKED, Field, HARDENED, OURS, Outcome};
use crate::report::{Kind, live, programs};

/// How much faster than a peer: the workload, the peer (`None`: the best of all), and the least that its time is to be as a multiple of ours.
const FASTER: [(&str, Option<&str>, f64); 23] = [
    ("pair-const", Some("snmalloc"), 2.5),
    ("pair-const", Some("jemalloc"), 2.5),
    ("pair-const", Some("mimalloc-2"), 3.5),
    ("pair-const", Some("mimalloc-3"), 3.5),
    ("pair-opaque", Some("snmalloc"), 1.0),
    ("batch-1k", Some("snmalloc"), 2.0),
    ("batch-1k", Some("jemalloc"), 2.0),
    ("batch-1k", Some("mimalloc-2"), 2.0),
    ("batch-1k", Some("mimalloc-3"), 2.0),
    ("batch-1k-random", Some("snmalloc"), 2.0),
    ("batch-1k-random", Some("jemalloc"), 2.0),
    ("batch-1k-random", Some("mimalloc-2"), 2.0),
    ("batch-1k-random", Some("mimalloc-3"), 2.0),
    ("batch-10k", Some("snmalloc"), 2.0),
    ("batch-10k", Some("jemalloc"), 2.0),
    ("batch-10k", Some("mimalloc-2"), 2.0),
    ("batch-10k", Some("mimalloc-3"), 2.0),
    ("batch-10k-random", Some("snmalloc"), 2.0),
    ("batch-10k-random", Some("jemalloc"), 2.0),
    ("batch-10k-random", Some("mimalloc-3"), 2.0),
    ("replace-100k-1000", None, 1.4),
    ("replace-100k-64", None, 1.1),
    ("ring-2t", None, 1.0),
];

/// Prints a line for each target that was measured; says whether all are met.
pub(crate) fn print(out: &mut impl Write, field: &Field) -> io::Result<bool> {
    let mut all = true;
    let mut judge = |out: &mut dyn Write, what: String, has: f64, wanted: f64, met: bool| {
        all &= met;
        writeln!(out, "{} {what}: {has:.2}, wanted {wanted:.2}", if met { "met   " } else { "MISSED" })
    };
    writeln!(out)?;
    let ran = programs(field);
    for peer in field.peers().filter(|_| !ran.is_empty()) {
        if let Some(ratio) = field.ratio(peer, &ran, |outcome| outcome.cpu) {
            judge(out, format!("geometric mean of processor time, {peer} / ours"), ratio, 1.0, ratio > 1.0)?;
        }
    }
    for (policy, most) in [(CHECKED, 1.05), (HARDENED, 1.4)] {
        if let Some(ratio) = field.ratio(policy, &ran, |outcome| outcome.cpu).filter(|_| !ran.is_empty()) {
            judge(
                out,
                format!("geometric mean of processor time, {policy} / ours"),
                ratio,
                most,
                ratio <= most,
            )?;
        }
    }
    for workload in &ran {
        if let Some((peer, ratio)) = best(field, workload, |outcome| outcome.cpu) {
            judge(
                out,
                format!("{workload}, ours / best peer ({peer})"),
                1.0 / ratio,
                1.1,
                1.0 / ratio <= 1.1,
            )?;
        }
    }
    if let Some(ratio) = field.ratio("jemalloc", &ran, |outcome| outcome.peak) {
        judge(out, "geometric mean of peak memory, jemalloc / ours".into(), ratio, 1.0, ratio >= 1.0)?;
    }
    for workload in &ran {
        if let (Some(idle), Some(live)) =
            (field.median(workload, OURS, |outcome| outcome.idle), live(field, workload))
        {
            judge(
                out,
                format!("{workload}, resident after the load / live"),
                idle / live,
                2.0,
                idle <= 2.0 * live,
            )?;
        }
    }
    for (workload, peer, wanted) in FASTER {
        let Some(known) = WORKLOADS.iter().find(|known| known.name == workload) else { continue };
        let of = known.kind.of();
        let found = match peer {
            Some(peer) => field
                .median(workload, peer, of)
                .zip(field.median(workload, OURS, of))
                .map(|(theirs, ours)| (peer, theirs / ours)),
            None => best(field, workload, of),
        };
        if let Some((peer, ratio)) = found {
            judge(out, format!("{workload}, {peer} / ours"), ratio, wanted, ratio >= wanted)?;
        }
    }
    let per_operation = Kind::Operation.of();
    // By the clock, which stands still for nobody, and by what processors did for it: where others use the machine as well, the first tells of them.
    for (how, of, threads) in [("the clock", Kind::Elapsed.of(), 1.0), ("processor time", per_operation, 2.0)]
    {
        if let (Some(one), Some(two)) =
            (field.median("local-1t", OURS, of), field.median("local-2t", OURS, of))
        {
            let ratio = threads * one / two;
            judge(out, format!("throughput of two threads / of one, by {how}"), ratio, 1.9, ratio >= 1.9)?;
        }
    }
    Ok(all)
}

/// The best peer, and its number as a multiple of ours.
fn best(field: &Field, workload: &str, of: fn(&Outcome) -> f64) -> Option<(&'static str, f64)> {
    let ours = field.median(workload, OURS, of)?;
    let each = field.peers().filter_map(|peer| Some((peer, field.median(workload, peer, of)? / ours)));
    each.min_by(|one, other| one.1.total_cmp(&other.1))
}
