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
mod drain;
mod field;
mod fit;
mod floor;
mod global;
mod guarded;
mod memory;
#[path = "../arena/mix.rs"]
#[expect(dead_code, reason = "objects have one size here; the mixes are for arenas")]
mod mix;
mod ours;
mod pair;
mod pool;
mod program;
mod race;
mod replace;
#[path = "../arena/report.rs"]
#[expect(dead_code, reason = "no summary here")]
mod report;
mod sets;
mod stride;
mod survey;
mod targets;
mod threads;
mod walk;

use std::process::ExitCode;

use crate::program::Program;
use crate::race::Section;
use crate::report::print;

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

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let count = arguments.len();
    arguments.retain(|argument| argument != "--bench");
    // It comes from `cargo bench`.
    if arguments.len() == count {
        print("nothing to test here: run me with `cargo bench --bench cache`");
        return ExitCode::SUCCESS;
    }
    let program = Program {
        command: "cargo bench --bench cache --",
        sections: &SECTIONS,
        surveys: &[fit::SURVEY, drain::SURVEY, memory::SURVEY],
        crates: &CRATES,
        ours: ours::OURS,
        check: targets::check,
    };
    program.run(arguments)
}
