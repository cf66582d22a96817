//! `mutate WITHOUT FILE...`: puts mutants into files, all at once, each behind a number that is asked for when the program runs; writes a line for each to standard output: number, file, line, function, what
//! is changed. Those whose names (without their number) are lines of the file `WITHOUT` are left out. What a compiler evaluates is not changed.

mod edits;
mod mutants;

use std::collections::HashSet;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let without = arguments.next().expect("a file with the names of those that are left out");
    let without: HashSet<String> = fs::read_to_string(without)?.lines().map(str::to_owned).collect();
    let mut number = 0;
    for path in arguments {
        let text = fs::read_to_string(&path)?;
        let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut found = mutants::Mutants::new(&path, &text, &without, number);
        syn::visit::Visit::visit_file(&mut found, &file);
        number = found.number;
        print!("{}", found.names);
        fs::write(&path, found.edits.apply(&text))?;
    }
    Ok(())
}
