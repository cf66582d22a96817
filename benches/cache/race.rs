//! Races: all racers of a column run in each of its rounds, each round starting with another.

use std::time::Duration;

use crate::report::{Report, Table, print_table, progress};

/// What was done and how long it took.
#[derive(Clone, Copy, Default)]
pub(crate) struct Lap {
    pub(crate) ops: usize,
    pub(crate) time: Duration,
}

/// A peer at the start.
pub(crate) trait Race {
    fn name(&self) -> &'static str;

    /// Makes whatever is missing for the laps. Not timed.
    fn begin(&mut self) {}

    /// Does the work once.
    fn lap(&mut self) -> Lap;

    /// Drops what is too large to be kept while others run. Not timed.
    fn end(&mut self) {}
}

/// A race that is waiting to be run: one column of a table.
pub(crate) struct Column {
    pub(crate) table: String,
    pub(crate) label: String,
    /// Whether a lap takes so long that fewer rounds must do.
    pub(crate) heavy: bool,
    pub(crate) start: Box<dyn Fn() -> Vec<Box<dyn Race>>>,
}

/// A group of tables: its name, what it shows, what is said below its tables, and its columns.
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) note: &'static str,
    pub(crate) columns: fn(quick: bool) -> Vec<Column>,
}

/// The racers' times in nanoseconds per operation, round by round.
pub(crate) struct Times {
    pub(crate) names: Vec<&'static str>,
    rounds: Vec<Vec<f64>>,
}

/// How long a racer runs in a round, at least.
pub(crate) const SPELL: Duration = Duration::from_millis(4);
/// How long it warms up, at least.
const WARM_UP: Duration = Duration::from_millis(20);

impl Times {
    pub(crate) fn median(&self, racer: usize) -> f64 {
        median(self.rounds.iter().map(|row| row[racer]).collect())
    }

    /// The median over the rounds of a racer's time divided by another's in the same round.
    pub(crate) fn ratio(&self, racer: usize, to: usize) -> f64 {
        median(self.rounds.iter().map(|row| row[racer] / row[to]).collect())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Runs laps for at least so long.
pub(crate) fn spell(racer: &mut dyn Race, least: Duration) -> Lap {
    let mut sum = Lap::default();
    racer.begin();
    loop {
        let lap = racer.lap();
        sum.ops += lap.ops;
        sum.time += lap.time;
        if sum.time >= least {
            break;
        }
    }
    racer.end();
    sum
}

/// Runs all racers in each of the rounds.
fn race(racers: &mut [Box<dyn Race>], heavy: bool, quick: bool) -> Times {
    if !quick && !heavy {
        for racer in &mut *racers {
            spell(&mut **racer, WARM_UP);
        }
    }
    let names = racers.iter().map(|racer| racer.name()).collect();
    let mut times = Times { names, rounds: Vec::new() };
    let rounds = match (quick, heavy) {
        (true, _) => 3,
        (false, true) => 5,
        (false, false) => 11,
    };
    for round in 0..rounds {
        let mut row = vec![0.0; racers.len()];
        for turn in 0..racers.len() {
            let index = (turn + round) % racers.len();
            let lap = spell(&mut *racers[index], SPELL);
            row[index] = lap.time.as_nanos() as f64 / lap.ops as f64;
        }
        times.rounds.push(row);
    }
    times
}

/// What is to be run.
pub(crate) struct Choice {
    /// Words that the names of the racers shown must contain, one of them at least; none: all are shown.
    pub(crate) only: Vec<String>,
    /// What the names of our racers begin with; the first of them is what the others are compared to.
    pub(crate) ours: &'static str,
}

impl Choice {
    /// Where the racer is that the others are compared to.
    fn position(&self, names: &[&'static str]) -> Option<usize> {
        names.iter().position(|name| name.starts_with(self.ours))
    }

    fn admits(&self, name: &str) -> bool {
        self.only.is_empty()
            || name.starts_with(self.ours)
            || self.only.iter().any(|word| name.contains(word))
    }
}

/// Runs a section, prints its tables, and keeps its figures: `section/table/column/racer` in nanoseconds, and the same with
/// `ratio/` in front as multiples of ours.
pub(crate) fn run(section: &Section, choice: &Choice, report: &mut Report) {
    let mut columns = (section.columns)(report.quick).into_iter().peekable();
    while let Some(first) = columns.next() {
        let title = first.table.clone();
        let mut results = vec![run_column(section, &first, choice, report)];
        while let Some(next) = columns.next_if(|next| next.table == title) {
            results.push(run_column(section, &next, choice, report));
        }
        show(section, &title, &results, choice);
    }
}

fn run_column(section: &Section, column: &Column, choice: &Choice, report: &mut Report) -> (String, Times) {
    progress(&format!("{}, {}, {}", section.name, column.table, column.label));
    let mut racers = (column.start)();
    racers.retain(|racer| choice.admits(racer.name()));
    let times = race(&mut racers, column.heavy, report.quick);
    let ours = choice.position(&times.names);
    for (index, name) in times.names.iter().enumerate() {
        let path = [section.name, &column.table, &column.label, name];
        report.keep(&path, times.median(index));
        if let Some(ours) = ours {
            report.keep(&["ratio", path[0], path[1], path[2], path[3]], times.ratio(index, ours));
        }
    }
    (column.label.clone(), times)
}

fn show(section: &Section, title: &str, results: &[(String, Times)], choice: &Choice) {
    let mut header = vec!["ns"];
    for (label, _) in results {
        header.extend([label.as_str(), "x ours"]);
    }
    let mut table = Table::new(format!("{}: {title}", section.name), section.note, &header);
    let mut names: Vec<&'static str> = Vec::new();
    for (_, times) in results {
        for name in &times.names {
            if !names.contains(name) {
                names.push(name);
            }
        }
    }
    for name in names {
        let cells = results.iter().flat_map(|(_, times)| {
            let position = |wanted| times.names.iter().position(|name| *name == wanted);
            let Some(index) = position(name) else { return ["-".to_string(), String::new()] };
            let ratio = choice.position(&times.names).map(|ours| format!("{:.2}", times.ratio(index, ours)));
            [format!("{:.1}", times.median(index)), ratio.unwrap_or_default()]
        });
        table.row(name, cells);
    }
    print_table(&table);
}
