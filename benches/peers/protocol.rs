//! What the two programs say to each other: lines of text. The first names a race, the twin answers with the names of its racers, with tabs
//! between them; then, for each number of a racer that it is sent, the twin lets that racer run and answers with operations and nanoseconds.

use std::time::Duration;

use crate::race::{Column, Lap};

/// What stands between the parts of a line.
pub(crate) const BETWEEN: char = '\t';

/// The name of a race.
pub(crate) fn race_line(section: &str, column: &Column) -> String {
    format!("{section}{BETWEEN}{}{BETWEEN}{}", column.table, column.label)
}

pub(crate) fn lap_line(lap: Lap) -> String {
    format!("{}{BETWEEN}{}", lap.ops, lap.time.as_nanos())
}

pub(crate) fn parse_lap(line: &str) -> Option<Lap> {
    let (ops, time) = line.trim_end().split_once(BETWEEN)?;
    Some(Lap { ops: ops.parse().ok()?, time: Duration::from_nanos(time.parse().ok()?) })
}
