//! What the caches have to reach: how many times as long as ours a peer takes, at least, in one run; and what figures that are no times
//! may be at most.

use crate::report::{Report, Table, print, print_table};

/// A figure, and its least value.
struct Least {
    figure: &'static str,
    least: f64,
}

/// A figure, and its largest value.
struct Most {
    figure: &'static str,
    most: f64,
}

const fn ratio(figure: &'static str, least: f64) -> Least {
    Least { figure, least }
}

const fn most(figure: &'static str, most: f64) -> Most {
    Most { figure, most }
}

const RATIOS: [Least; 16] = [
    // At most 1.5 times a list that counts nothing.
    ratio("pair/100 live/64 B/(floor: a list, nothing counted)", 0.667),
    ratio("pair/100 live/64 B/system allocator", 4.0),
    ratio("refill/100000 live/64 B/toy: a list per slab", 4.0),
    ratio("replace/64 B/1000000 live/toy: a list per slab", 3.0),
    ratio("walk/64 B, 100000 live/walk/toy: one list", 2.0),
    ratio("walk/64 B, 100000 live/walk/toy: a list per slab", 2.0),
    ratio("walk/64 B, 100000 live/walk/toy: stolen lists, countdown", 2.0),
    // As fast as with an odd number of lines between objects.
    ratio("stride/512 B/8192 live/toy: one list, a line between objects", 0.77),
    ratio("stride/1024 B/8192 live/toy: one list, a line between objects", 0.77),
    ratio("stride/2048 B/8192 live/toy: one list, a line between objects", 0.77),
    ratio("stride/4096 B/8192 live/toy: one list, a line between objects", 0.77),
    ratio("construct/256 B buffer/unused/system allocator", 5.0),
    ratio("construct/256 B buffer/pair/system allocator", 5.0),
    ratio("construct/256 B buffer/replace/system allocator", 5.0),
    // At most 1.3 times the bare lock.
    ratio("lock/64 B/SpinLock/(floor: the bare lock, twice)", 0.77),
    ratio("lock/64 B/StdLock/(floor: the bare lock, twice)", 0.77),
];

const FIGURES: [Most; 9] = [
    // Bonwick's eighth, for every size of object.
    most("fit/aligned, pages", 12.5),
    most("fit/aligned, heap", 12.5),
    most("fit/large, pages", 12.5),
    most("fit/large, heap", 12.5),
    most("fit/metadata at 64 B", 0.5),
    most("memory/SlabCache, aligned/resident", 1.02),
    most("memory/ObjectCache, aligned/resident", 1.02),
    most("memory/SlabCache, aligned/after", (1 << 20) as f64),
    most("memory/ObjectCache, aligned/after", (1 << 20) as f64),
];

/// Compares the run's figures with the targets; false if one is missed.
pub(crate) fn check(report: &Report) -> bool {
    let mut missed = Table::new("targets missed", "", &["figure", "is", "target"]);
    let (mut count, mut missed_count) = (0, 0);
    let mut judge = |figure: &str, value: f64, target: String, met: bool| {
        count += 1;
        if !met {
            missed_count += 1;
            missed.row(figure, [format!("{value:.2}"), target]);
        }
    };
    // A section that was not run has no figures.
    for Least { figure, least } in RATIOS {
        if let Some(ratio) = report.figure(&format!("ratio/{figure}")) {
            judge(figure, ratio, format!(">= {least:.2} x ours"), ratio >= least);
        }
    }
    for Most { figure, most } in FIGURES {
        if let Some(value) = report.figure(figure) {
            judge(figure, value, format!("<= {most:.2}"), value <= most + 1e-9);
        }
    }
    if missed_count > 0 {
        print_table(&missed);
    }
    print(&format!("targets: {} of {count} met", count - missed_count));
    missed_count == 0
}
