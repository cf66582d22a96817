//! What the arenas have to reach in the figures that are not times.

use crate::peers::{OURS, OURS_BOUNDED, TEASPOON};
use crate::report::{Report, Table, print, print_table};

/// At least how much.
enum Least {
    /// This number.
    Number(f64),
    /// Another figure of the run.
    Figure(String),
}

/// A figure and its least value.
struct Target {
    figure: String,
    least: Least,
}

/// Payload in % of the region: mix, and the least at 4 KiB, 128 KiB and 16 MiB.
const DENSITY: [(&str, [f64; 3]); 4] = [
    ("8 B", [96.0, 98.0, 98.0]),
    ("24 B", [96.0, 98.0, 98.0]),
    ("1..=64", [91.0, 88.0, 88.0]),
    ("4..=255 log", [90.0, 93.0, 93.0]),
];

/// Tables in % of the region, at most.
const TABLES: [(&str, &str, f64); 4] =
    [("4KiB", "4 KiB", 3.2), ("128KiB", "64 KiB", 3.5), ("128KiB", "128 KiB", 1.8), ("16MiB", "16 MiB", 1.6)];

/// Every target.
fn targets(report: &Report) -> Vec<Target> {
    let mut targets = Vec::new();
    for (mix, least) in DENSITY {
        for (region, least) in ["4 KiB", "128 KiB", "16 MiB"].into_iter().zip(least) {
            targets.push(Target {
                figure: format!("density/{region}/{mix}/{OURS}"),
                least: Least::Number(least),
            });
        }
    }
    for (sizing, region, most) in TABLES {
        targets.push(Target {
            figure: format!("handed out/{region}/{sizing}"),
            least: Least::Number(100.0 - most),
        });
    }
    // In every cell at least as many objects as teaspoon fits.
    for (name, _) in report.figures("fit/") {
        if let Some(cell) = name.strip_suffix("/ours") {
            targets.push(Target { figure: name.into(), least: Least::Figure(format!("{cell}/teaspoon")) });
        }
    }
    // Denser than teaspoon after churn, however and with whatever sizes.
    for (name, _) in report.figures("churn/") {
        for ours in [OURS, OURS_BOUNDED] {
            if let Some(run) = name.strip_suffix(&format!("/{ours}")) {
                targets
                    .push(Target { figure: name.into(), least: Least::Figure(format!("{run}/{TEASPOON}")) });
            }
        }
    }
    targets
}

/// Compares the run's figures with the targets; false if one is missed.
pub(crate) fn check(report: &Report) -> bool {
    let mut missed = Table::new("targets missed", "", &["figure", "is", "at least"]);
    let (mut count, mut missed_count) = (0, 0);
    for Target { figure, least } in targets(report) {
        let least = match least {
            Least::Number(least) => Some(least),
            Least::Figure(other) => report.figure(&other),
        };
        // A section that was not run has no figures.
        let (Some(value), Some(least)) = (report.figure(&figure), least) else { continue };
        count += 1;
        if value < least {
            missed_count += 1;
            missed.row(figure, [format!("{value:.2}"), format!("{least:.2}")]);
        }
    }
    if missed_count > 0 {
        print_table(&missed);
    }
    print(&format!("targets: {} of {count} met", count - missed_count));
    missed_count == 0
}
