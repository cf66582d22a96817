//! The races of benches/cache, run by allocators of whole programs. Started by launcher.rs.

mod allocators;
#[path = "../arena/clock.rs"]
mod clock;
#[path = "../cache/construct.rs"]
mod construct;
mod field;
#[path = "../cache/floor.rs"]
mod floor;
#[path = "../cache/global.rs"]
mod global;
mod mimallocs;
#[path = "../arena/mix.rs"]
#[expect(dead_code, reason = "objects have one size here; the mixes are for arenas")]
mod mix;
#[path = "../cache/ours.rs"]
#[expect(dead_code, reason = "locks and cache sets are raced elsewhere")]
mod ours;
#[path = "../cache/pair.rs"]
mod pair;
#[path = "../cache/pool.rs"]
#[expect(dead_code, reason = "containers with keys are raced elsewhere")]
mod pool;
#[path = "../cache/program.rs"]
mod program;
#[expect(dead_code, reason = "the other side of it is the twin's")]
mod protocol;
#[path = "../cache/race.rs"]
mod race;
mod remote;
#[path = "../cache/replace.rs"]
mod replace;
#[path = "../arena/report.rs"]
#[expect(dead_code, reason = "no summary here")]
mod report;
mod sections;
#[path = "../cache/sets.rs"]
mod sets;
#[path = "../cache/survey.rs"]
mod survey;
#[path = "../cache/threads.rs"]
mod threads;
#[path = "../cache/walk.rs"]
mod walk;

use std::process::ExitCode;

use crate::sections::SECTIONS;

fn main() -> ExitCode {
    let program = program::Program {
        command: "cargo run -p heapwright-peers --",
        sections: &SECTIONS,
        surveys: &[],
        crates: &[
            "mimalloc",
            "libmimalloc-sys",
            "snmalloc-rs",
            "snmalloc-sys",
            "tikv-jemallocator",
            "tikv-jemalloc-sys",
        ],
        ours: ours::OURS,
        check: |_| true,
    };
    program.run(std::env::args().skip(1))
}
