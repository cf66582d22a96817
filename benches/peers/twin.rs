//! The other mimalloc's part of the races: two versions can't be in one program. Started by the first program, see protocol.rs.

#[path = "../arena/clock.rs"]
mod clock;
#[path = "../cache/construct.rs"]
#[expect(dead_code, reason = "nothing here keeps sessions")]
mod construct;
#[path = "field_of_twin.rs"]
mod field;
#[path = "../cache/global.rs"]
mod global;
mod mimallocs;
#[path = "../arena/mix.rs"]
#[expect(dead_code, reason = "objects have one size here; the mixes are for arenas")]
mod mix;
#[path = "../cache/pair.rs"]
mod pair;
#[path = "../cache/pool.rs"]
#[expect(dead_code, reason = "there are no floors and no containers here")]
mod pool;
#[expect(dead_code, reason = "the other side of it is the first program's")]
mod protocol;
#[path = "../cache/race.rs"]
#[expect(dead_code, reason = "the first program prints")]
mod race;
#[path = "../cache/replace.rs"]
mod replace;
#[path = "../arena/report.rs"]
#[expect(dead_code, reason = "the first program prints")]
mod report;
mod sections;
mod serve;
#[path = "../cache/sets.rs"]
mod sets;
#[path = "../cache/threads.rs"]
mod threads;
#[path = "../cache/walk.rs"]
mod walk;

fn main() -> std::process::ExitCode {
    serve::serve()
}
