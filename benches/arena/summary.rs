//! One table of the run's main figures, for the README.

use crate::peers::{OURS, OURS_BOUNDED, TEASPOON};
use crate::report::{Report, Table, print_markdown, print_table};

/// A column: its heading, the figure's name but for the peer, and its unit.
const COLUMNS: [(&str, &str, &str); 8] = [
    ("24 B objects, 4 KiB", "density/4 KiB/24 B", " %"),
    ("4–255 B, 4 KiB", "density/4 KiB/4..=255 log", " %"),
    ("4–255 B, 128 KiB", "density/128 KiB/4..=255 log", " %"),
    ("after churn, 128 KiB", "churn/128 KiB/4..=255 log/tenth", " %"),
    ("alloc + free", "speed/128 KiB/pair 24 B", " ns"),
    ("replace, 4 KiB", "speed/4 KiB/replace 24 B", " ns"),
    ("replace, 128 KiB", "speed/128 KiB/replace 4..=255", " ns"),
    ("replace, 16 MiB", "speed/16 MiB/replace 4..=255", " ns"),
];

const PEERS: [&str; 9] = [
    OURS,
    OURS_BOUNDED,
    TEASPOON,
    "talc",
    "rlsf",
    "linked_list_allocator",
    "stalloc",
    "dlmalloc",
    "buddy_system_allocator",
];

/// Prints the columns whose sections were run.
pub(crate) fn print_summary(report: &Report, markdown: bool) {
    let known = |path: &str| report.figures(path).next().is_some();
    let columns: Vec<_> = COLUMNS.iter().filter(|(_, path, _)| known(path)).collect();
    if columns.is_empty() {
        return;
    }
    let mut header = vec![""];
    header.extend(columns.iter().map(|(heading, ..)| *heading));
    let note = "Payload in % of the region when an allocation first fails, or (after churn) fails in a long random run; time of \
                an allocation\nand a free of 24 B, of a replacement (free a random object, allocate one) of 24 B in 4 KiB and of \
                4–255 B elsewhere.\n";
    let mut table = Table::new("summary", note, &header);
    for peer in PEERS {
        let cells = columns.iter().map(|(_, path, unit)| match report.figure(&format!("{path}/{peer}")) {
            Some(value) if value >= 1000.0 => format!("{value:.0}{unit}"),
            Some(value) => format!("{value:.1}{unit}"),
            None => "–".into(),
        });
        table.row(peer, cells);
    }
    if markdown { print_markdown(&table) } else { print_table(&table) }
}
