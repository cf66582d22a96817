//! What combinators cost: the instructions of an allocation and a free, in towers of blocks and in the same heaps written by hand.
//!
//! `cargo bench --bench towers [-- --check]`. It starts itself under valgrind, which counts; without it there is nothing to count, and the run
//! ends with the status 77, for "skipped". With `--check` it fails where a tower takes over two instructions more than what is written by hand, but for
//! those that are known to, whose bound is their own.

mod by_hand;
mod count;
mod pair;
mod rows;

use std::env;
use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::count::{Counts, count};
use crate::pair::counted;
use crate::rows::{MORE_MAX, Row, rows};

/// The status of a run that could not take place, as with automake and `.ci/run`.
const SKIPPED: u8 = 77;

/// What this binary tells itself when it runs under valgrind.
const UNDER_VALGRIND: &str = "--under-valgrind";

/// The columns of counts: the layout known to the compiler or not, ours or by hand.
const WAYS: usize = 4;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [UNDER_VALGRIND] => {
            run_all();
            ExitCode::SUCCESS
        }
        [] => table(false),
        ["--check"] => table(true),
        // What `cargo test --benches` says.
        ["--test"] => ExitCode::SUCCESS,
        _ => {
            let _ = writeln!(io::stderr(), "usage: cargo bench --bench towers [-- --check]");
            ExitCode::FAILURE
        }
    }
}

/// Runs all that is to be counted, in the order in which [`table`] reads the counts: the loop without a heap first.
fn run_all() {
    let nothing = rows::nothing();
    counted(&*nothing, true);
    counted(&*nothing, false);
    for Row { ours, by_hand, .. } in rows() {
        for known in [true, false] {
            counted(&*ours, known);
            counted(&*by_hand, known);
        }
    }
}

/// Prints the table.
fn table(check: bool) -> ExitCode {
    let rows = rows();
    let counts = match count(UNDER_VALGRIND, 2 + rows.len() * WAYS) {
        Ok(counts) => counts,
        Err(why) => {
            let _ = writeln!(io::stderr(), "skipped: {why}");
            return ExitCode::from(SKIPPED);
        }
    };
    let mut over = Vec::new();
    let mut text = String::from(
        "| tower | known: ours | by hand | not known: ours | by hand | difference |\n|---|---:|---:|---:|---:|---:|\n",
    );
    for (idx, row) in rows.iter().enumerate() {
        let [known, known_by_hand, unknown, unknown_by_hand] = counts_of(&counts, idx);
        let (more, more_unknown) = (known - known_by_hand, unknown - unknown_by_hand);
        if more > MORE_MAX || more_unknown > row.more_max {
            over.push(row.name);
        }
        text += &format!(
            "| {} | {known} | {known_by_hand} | {unknown} | {unknown_by_hand} | {more:+}, {more_unknown:+} |\n",
            row.name,
        );
    }
    let _ = writeln!(
        io::stdout(),
        "Instructions of an allocation and a free of 48 bytes, without those of the loop; the layout is known to the compiler, or not\n\n{text}"
    );
    if over.is_empty() {
        return ExitCode::SUCCESS;
    }
    let _ = writeln!(
        io::stderr(),
        "more than {MORE_MAX} instructions above what is written by hand: {}",
        over.join(", ")
    );
    if check { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The counts of a row, per pair, less the loop's.
fn counts_of(counts: &Counts, row: usize) -> [f64; WAYS] {
    let mut all = [0.0; WAYS];
    for (way, place) in all.iter_mut().enumerate() {
        let counted = counts.per_pair(2 + row * WAYS + way) - counts.per_pair(way / 2);
        // A tenth is noise of nobody's interest: the first pairs of a run take another way now and then.
        *place = (counted * 10.0).round() / 10.0;
    }
    all
}
