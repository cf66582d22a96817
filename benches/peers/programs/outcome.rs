//! What a program says of its work.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the launcher says that the programs are; that of mimalloc 2 has a place of its own.
const PLACE: &str = "HEAPWRIGHT_PEERS_PROGRAMS";
const PLACE_OF_TWIN: &str = "HEAPWRIGHT_PEERS_PROGRAMS_TWIN";

/// A program with one allocator.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) path: PathBuf,
}

/// What a workload took, in the words of the program that did it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// Nanoseconds of processor time.
    pub(crate) cpu: f64,
    /// Nanoseconds from start to end.
    pub(crate) wall: f64,
    /// Operations, where they are counted.
    pub(crate) ops: f64,
    /// KiB of memory at the peak, when it has been given back, and of what is live then.
    pub(crate) peak: f64,
    pub(crate) idle: f64,
    pub(crate) live: f64,
}

/// The programs, and what came of the workloads, by workload and program.
pub(crate) struct Field {
    pub(crate) programs: Vec<Program>,
    pub(crate) outcomes: BTreeMap<(&'static str, &'static str), Vec<Outcome>>,
}

/// The name that stands for this crate's allocator in all tables.
pub(crate) const OURS: &str = "heapwright";
/// That of the one for little memory, which is shown and not judged.
const COMPACT: &str = "compact";
/// Those with checks, which are judged by what they cost.
pub(crate) const CHECKED: &str = "checked";
pub(crate) const HARDENED: &str = "hardened";

impl Program {
    /// Those that could be built.
    pub(crate) fn all() -> Vec<Program> {
        let names = [
            OURS,
            COMPACT,
            CHECKED,
            HARDENED,
            "mimalloc-3",
            "mimalloc-2",
            "jemalloc",
            "snmalloc",
            "rpmalloc",
            "glibc",
        ];
        let place = |name: &str| {
            let (variable, file) = match name {
                "mimalloc-2" => (PLACE_OF_TWIN, "program-mimalloc".to_owned()),
                "mimalloc-3" => (PLACE, "program-mimalloc".to_owned()),
                name => (PLACE, format!("program-{name}")),
            };
            let path =
                Path::new(&env::var_os(variable)?).join(file).with_extension(env::consts::EXE_EXTENSION);
            path.exists().then_some(path)
        };
        names.iter().filter_map(|name| Some(Program { name, path: place(name)? })).collect()
    }

    /// Runs a workload.
    pub(crate) fn run(&self, workload: &str, amount: usize) -> Result<Outcome, String> {
        let failed = |what: String| format!("{} failed at `{workload}`: {what}", self.name);
        let output = Command::new(&self.path)
            .args([workload, &amount.to_string()])
            .output()
            .map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stderr))));
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let numbers: Vec<f64> = text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let [cpu, wall, ops, peak, idle, live] = numbers[..] else { return Err(failed(text)) };
        Ok(Outcome { cpu, wall, ops, peak, idle, live })
    }
}

impl Field {
    /// The median of what `of` gives, over all rounds; `None` if there were none.
    pub(crate) fn median(&self, workload: &str, program: &str, of: fn(&Outcome) -> f64) -> Option<f64> {
        let found = self.outcomes.iter().find(|((work, by), _)| *work == workload && *by == program);
        let mut values: Vec<f64> = found?.1.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() {
            0 => None,
            len if len % 2 == 0 => Some((values[middle - 1] + values[middle]) / 2.0),
            _ => Some(values[middle]),
        }
    }

    /// All programs but this crate's.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.programs
            .iter()
            .map(|program| program.name)
            .filter(|name| ![OURS, COMPACT, CHECKED, HARDENED].contains(name))
    }

    /// The geometric mean of `of` over workloads, as a ratio to that of this crate's allocator.
    pub(crate) fn ratio(&self, program: &str, workloads: &[&str], of: fn(&Outcome) -> f64) -> Option<f64> {
        let mut sum = 0.0;
        let mut count = 0.0;
        for workload in workloads {
            let (theirs, ours) = (self.median(workload, program, of)?, self.median(workload, OURS, of)?);
            sum += (theirs.max(1.0) / ours.max(1.0)).ln();
            count += 1.0;
        }
        (count > 0.0).then(|| (sum / count).exp())
    }

    /// The workloads of a kind that have been run.
    pub(crate) fn run(&self, names: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
        names.filter(|name| self.outcomes.keys().any(|(work, _)| work == name)).collect()
    }
}
