//! Broken heaps, sources and shells, each of which the kit has to find; and sound ones, which it has to let pass.

mod checks;
mod heaps;
mod probe;
mod reentry;
mod shells;
mod sources;
mod supply;

use std::format;
use std::string::String;

use super::{Failure, Law};

/// Checks that each mutant is found, for the law that it breaks, by a script that a reader can follow.
fn all_found<W: Copy + core::fmt::Debug>(mutants: &[(W, Law)], check: impl Fn(W) -> Result<(), Failure>) {
    let mut wrong = String::new();
    for &(mutant, law) in mutants {
        let found = match check(mutant) {
            Ok(()) => format!("{mutant:?} is not found\n"),
            Err(failure) if failure.law() != law => {
                format!("{mutant:?} is taken for another fault: {failure}\n")
            }
            Err(failure) if failure.steps().len() > 8 => format!("{mutant:?} takes many steps: {failure}\n"),
            Err(_) => continue,
        };
        wrong.push_str(&found);
    }
    assert!(wrong.is_empty(), "{wrong}");
}
