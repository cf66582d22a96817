//! Caches of objects of one layout against pools of other crates, and against the designs that known allocators are made of.
//!
//! `cargo bench --bench cache [-- [SECTION..] [--only WORD].. [--quick] [--check]]`; `--help` lists the sections. Times are medians over
//! rounds that run every racer in turn, each round starting with another: CPU time of the thread, or time on the wall where
//! there are two threads. *x ours* is the median of the ratios within rounds. benches/peers has the allocators that need
//! a C compiler.

#[path = "../arena/clock.rs"]
mod clock;
mod construct;
mod crates;
mod designs;
mod field;
mod floor;
mod global;
mod guarded;
#[path = "../arena/mix.rs"]
#[expect(dead_code, reason = "objects have one size here; the mixes are for arenas")]
mod mix;
mod ours;
mod pair;
mod pool;
mod race;
mod replace;
#[path = "../arena/report.rs"]
#[expect(dead_code, reason = "no summary here")]
mod report;
mod sets;
mod stride;
mod targets;
mod threads;
mod walk;

use std::process::ExitCode;

use crate::race::{Choice, Section};
use crate::report::{Report, print, print_conditions};

const SECTIONS: [Section; 11] = [
    pair::SECTION,
    sets::SETS,
    replace::SECTION,
    sets::REFILL,
    walk::SECTION,
    stride::SECTION,
    construct::SECTION,
    guarded::SECTION,
    threads::LOCAL,
    threads::EXCHANGE,
    threads::PRODUCER,
];

/// The crates in the races.
const CRATES: [&str; 15] = [
    "slabbin",
    "slabmalloc",
    "infinity_pool",
    "shared_arena",
    "slab",
    "slotmap",
    "thunderdome",
    "generational-arena",
    "obj-pool",
    "sharded-slab",
    "refpool",
    "lifeguard",
    "opool",
    "object-pool",
    "typed-arena",
];

fn print_help() {
    print(
        "cargo bench --bench cache -- [SECTION..] [--only WORD].. [--quick] [--check]\n\nsections (all, if none is named):",
    );
    for section in &SECTIONS {
        print(&format!("  {:10}  {}", section.name, section.what));
    }
    print(
        "\n\
         --only WORD  of the racers show ours and those whose names contain the word\n\
         --quick      a smoke run: few rounds, no large sets\n\
         --check      fail if a ratio misses its target (see benches/cache/targets.rs)",
    );
}

fn main() -> ExitCode {
    let mut wanted = Vec::new();
    let mut only = Vec::new();
    let (mut bench, mut quick, mut check) = (false, false, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // From `cargo bench`.
            "--bench" => bench = true,
            "--quick" => quick = true,
            "--check" => check = true,
            "--only" => only.extend(arguments.next()),
            name if SECTIONS.iter().any(|section| section.name == name) => wanted.push(name.to_string()),
            _ => {
                print_help();
                return if argument == "--help" { ExitCode::SUCCESS } else { ExitCode::from(2) };
            }
        }
    }
    if !bench {
        print("nothing to test here: run me with `cargo bench --bench cache`");
        return ExitCode::SUCCESS;
    }
    let mut report = Report::new(quick);
    print_conditions(&CRATES);
    let choice = Choice { only, ours: ours::OURS };
    for section in &SECTIONS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == section.name) {
            race::run(section, &choice, &mut report);
        }
    }
    if check && !targets::check(&report) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
