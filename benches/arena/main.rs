//! Every figure that is claimed of the teaspoon arenas, measured against named peers in one run.
//!
//! `cargo bench --bench arena [-- [SECTION..] [--quick] [--check] [--markdown]]`; `--help` lists the sections. Each heap gets
//! the same requests in regions of the same length and works without a lock, teaspoon excepted, whose lock is built in.
//! Times are CPU time of the thread, medians over rounds that run every heap in turn (`latency` says how it differs).

mod churn;
mod clock;
mod density;
mod fit;
mod latency;
mod memory;
mod mix;
mod objects;
mod others;
mod peers;
mod report;
mod scaling;
mod speed;
mod summary;
mod targets;

use std::process::ExitCode;

use crate::report::{Report, print, print_conditions};

/// A section: its name, what it shows, and how it is run.
type Section = (&'static str, &'static str, fn(&mut Report));

const SECTIONS: [Section; 6] = [
    ("density", "payload at the first failure in pure growth, and the arenas' tables", density::run),
    ("fit", "objects of one layout that fit into small regions", fit::run),
    ("churn", "payload at failures in long random use", churn::run),
    ("speed", "nanoseconds per operation, all peers in the same rounds", speed::run),
    ("scaling", "nanoseconds per operation against the number of live objects", scaling::run),
    ("latency", "nanoseconds of the slowest calls", latency::run),
];

/// The crates that are compared.
const PEERS: [&str; 7] =
    ["teaspoon", "talc", "rlsf", "linked_list_allocator", "stalloc", "dlmalloc", "buddy_system_allocator"];

fn print_help() {
    print(
        "cargo bench --bench arena -- [SECTION..] [--quick] [--check] [--markdown]\n\nsections (all, if none is named):",
    );
    for (name, what, _) in SECTIONS {
        print(&format!("  {name:10}  {what}"));
    }
    print(
        "  summary     the main figures in one table; runs the sections that they are of\n\n\
         --quick     a smoke run: few seeds and rounds\n\
         --check     fail if a figure that is not a time misses its target (see benches/arena/targets.rs)\n\
         --markdown  the summary as Markdown",
    );
}

fn main() -> ExitCode {
    let mut wanted = Vec::new();
    let (mut bench, mut quick, mut check, mut markdown) = (false, false, false, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            // From `cargo bench`.
            "--bench" => bench = true,
            "--quick" => quick = true,
            "--check" => check = true,
            "--markdown" => markdown = true,
            "summary" => wanted.extend(["density", "churn", "speed"].map(String::from)),
            name if SECTIONS.iter().any(|(section, ..)| *section == name) => wanted.push(name.to_string()),
            _ => {
                print_help();
                return if argument == "--help" { ExitCode::SUCCESS } else { ExitCode::from(2) };
            }
        }
    }
    if !bench {
        print("nothing to test here: run me with `cargo bench --bench arena`");
        return ExitCode::SUCCESS;
    }
    let mut report = Report::new(quick);
    print_conditions(&PEERS);
    for (name, _, run) in SECTIONS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            run(&mut report);
        }
    }
    summary::print_summary(&report, markdown);
    if check && !targets::check(&report) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
