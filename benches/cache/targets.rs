//! What the caches have to reach: how many times as long as ours a peer takes, at least, in one run.

use crate::report::{Report, Table, print, print_table};

/// A racer's figure and its least multiple of ours.
struct Target {
    figure: &'static str,
    least: f64,
}

const fn target(figure: &'static str, least: f64) -> Target {
    Target { figure, least }
}

const TARGETS: [Target; 12] = [
    // Near the limit: at most so much above what a list costs that counts nothing.
    target("pair/empty/64 B/(floor: a list, nothing counted)", 0.6),
    target("pair/empty/64 B/system allocator", 3.0),
    target("refill/100000 live/64 B/toy: a list per slab", 2.5),
    target("refill/100000 live/64 B/toy: one list", 6.0),
    target("replace/64 B/1000000 live/toy: a list per slab", 2.5),
    target("walk/64 B, 100000 live/walk/toy: one list", 2.0),
    target("walk/64 B, 100000 live/walk/toy: a list per slab", 1.5),
    target("walk/64 B, 100000 live/walk/toy: stolen lists, countdown", 1.5),
    target("stride/4096 B/8192 live/toy: one list", 2.0),
    target("construct/256 B buffer/pair/system allocator", 2.0),
    // At most 1.3 times the bare lock.
    target("lock/64 B/SpinLock/(floor: the bare lock, twice)", 0.77),
    target("lock/64 B/StdLock/(floor: the bare lock, twice)", 0.77),
];

/// Compares the run's ratios with the targets; false if one is missed.
pub(crate) fn check(report: &Report) -> bool {
    let mut missed = Table::new("targets missed", "", &["figure", "x ours", "at least"]);
    let (mut count, mut missed_count) = (0, 0);
    for Target { figure, least } in TARGETS {
        // A section that was not run has no figures.
        let Some(ratio) = report.figure(&format!("ratio/{figure}")) else { continue };
        count += 1;
        if ratio < least {
            missed_count += 1;
            missed.row(figure, [format!("{ratio:.2}"), format!("{least:.2}")]);
        }
    }
    if missed_count > 0 {
        print_table(&missed);
    }
    print(&format!("targets: {} of {count} met", count - missed_count));
    missed_count == 0
}
