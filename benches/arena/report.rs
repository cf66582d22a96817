//! What is printed, and what is kept of it for the targets and the summary.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::Command;

/// The figures of a run, by name, and the switches that shape it.
pub(crate) struct Report {
    /// Whether this is a smoke run: fewer seeds and rounds, so that figures are rough.
    pub(crate) quick: bool,
    figures: BTreeMap<String, f64>,
}

/// A table under construction.
pub(crate) struct Table {
    title: String,
    note: String,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, note: impl Into<String>, header: &[&str]) -> Self {
        Table {
            title: title.into(),
            note: note.into(),
            header: header.iter().map(ToString::to_string).collect(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, name: impl Into<String>, cells: impl IntoIterator<Item = String>) {
        let mut row = vec![name.into()];
        row.extend(cells);
        self.rows.push(row);
    }

    /// With columns that line up, or as Markdown.
    fn text(&self, markdown: bool) -> String {
        let lines = || std::iter::once(&self.header).chain(&self.rows);
        let width = |column: usize| {
            lines().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let mut text = String::new();
        if !markdown {
            let _ = writeln!(text, "## {}", self.title);
        }
        for (number, row) in lines().enumerate() {
            let cell = |(column, cell): (usize, &String)| {
                let width = widths.get(column).copied().unwrap_or(0);
                if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            };
            let cells: Vec<String> = row.iter().enumerate().map(cell).collect();
            if markdown {
                let _ = writeln!(text, "| {} |", cells.join(" | "));
            } else {
                let _ = writeln!(text, "{}", cells.join("  ").trim_end());
            }
            if markdown && number == 0 {
                let rule = |(column, width): (usize, &usize)| {
                    if column == 0 { "-".repeat(*width) } else { "-".repeat(width.saturating_sub(1)) + ":" }
                };
                let rules: Vec<String> = widths.iter().enumerate().map(rule).collect();
                let _ = writeln!(text, "| {} |", rules.join(" | "));
            }
        }
        if !self.note.is_empty() {
            let _ = writeln!(text, "{}{}", if markdown { "\n" } else { "" }, self.note);
        }
        text
    }
}

impl Report {
    pub(crate) const fn new(quick: bool) -> Self {
        Report { quick, figures: BTreeMap::new() }
    }

    /// `full`, or `quick` in a smoke run.
    pub(crate) const fn pick(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// Keeps a figure under a name such as `density/4 KiB/24 B/talc`.
    pub(crate) fn keep(&mut self, path: &[&str], value: f64) {
        self.figures.insert(path.join("/"), value);
    }

    pub(crate) fn figure(&self, path: &str) -> Option<f64> {
        self.figures.get(path).copied()
    }

    /// Names and values of the figures whose name starts so.
    pub(crate) fn figures<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        let all = self.figures.iter().map(|(name, value)| (name.as_str(), *value));
        all.filter(move |(name, _)| name.starts_with(prefix))
    }
}

/// Writes to the standard output; a reader that has gone away is no failure.
pub(crate) fn print(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

pub(crate) fn print_table(table: &Table) {
    print(&table.text(false));
}

pub(crate) fn print_markdown(table: &Table) {
    print(&table.text(true));
}

/// A line of progress.
pub(crate) fn progress(text: &str) {
    let _ = writeln!(io::stderr(), "bench: {text}");
}

/// Says where and with what this was measured; `peers` are crates.
pub(crate) fn print_conditions(peers: &[&str]) {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown", |(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(0, Into::into);
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string());
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split(' ').take(3).collect();
    print(&format!(
        "machine: {model}, {cores} logical CPUs, {}, load {}\n\
         compiler: {}, bench profile (fat LTO, one codegen unit)\n\
         peers: {}\n",
        std::env::consts::OS,
        load.join(" "),
        rustc.unwrap_or_else(|_| "unknown".into()),
        versions(peers).join(", "),
    ));
}

/// The crates' versions, from the lock file that this program was built with.
fn versions(crates: &[&str]) -> Vec<String> {
    let lock = include_str!("../../Cargo.lock");
    let version = |name: &&str| {
        let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
        rest.split_once('"').map(|(version, _)| format!("{name} {version}"))
    };
    crates.iter().filter_map(version).collect()
}
