//! The twin: lets its racers run when the first program says so.

use std::io::{self, BufRead as _, Write as _};
use std::process::ExitCode;

use crate::protocol::{BETWEEN, lap_line, race_line};
use crate::race::{Race, SPELL, spell};
use crate::sections::SECTIONS;

/// Answers lines until there are no more.
pub(crate) fn serve() -> ExitCode {
    let mut racers: Vec<Box<dyn Race>> = Vec::new();
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { return ExitCode::FAILURE };
        let racer = line.parse().ok().and_then(|number: usize| racers.get_mut(number));
        let answer = match racer {
            Some(racer) => lap_line(spell(&mut **racer, SPELL)),
            None => {
                racers = start(&line);
                let names: Vec<&str> = racers.iter().map(|racer| racer.name()).collect();
                names.join(&BETWEEN.to_string())
            }
        };
        if writeln!(io::stdout(), "{answer}").is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The racers of a race.
fn start(race: &str) -> Vec<Box<dyn Race>> {
    let columns = SECTIONS
        .iter()
        .flat_map(|section| (section.columns)(false).into_iter().map(|column| (section.name, column)));
    let found = columns.into_iter().find(|(section, column)| race_line(section, column) == race);
    found.map(|(_, column)| (column.start)()).unwrap_or_default()
}
