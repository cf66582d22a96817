//! Counting by valgrind.

use std::env;
use std::process::{self, Command};
use std::{fs, io};

use crate::pair::PAIRS;

/// The function whose instructions count.
const COUNTED: &str = "towers::pair::towers_counted";

/// Instructions of all calls of `counted`, in order.
pub(crate) struct Counts(Vec<u64>);

impl Counts {
    /// Instructions of one pair in the call `idx`.
    pub(crate) fn per_pair(&self, idx: usize) -> f64 {
        self.0[idx] as f64 / f64::from(PAIRS)
    }
}

/// Runs this binary under callgrind with the argument `word`, and reads what it counted within [`COUNTED`], call by call.
///
/// # Errors
/// Says why nothing could be counted.
///
/// # Panics
/// When the run has fewer than `calls` calls.
pub(crate) fn count(word: &str, calls: usize) -> Result<Counts, String> {
    let file = env::temp_dir().join(format!("heapwright-towers-{}", process::id()));
    let exe = env::current_exe().map_err(|error| format!("nobody knows where this program is: {error}"))?;
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--combine-dumps=yes", "--quiet"]);
    command.args([format!("--toggle-collect={COUNTED}"), format!("--dump-after={COUNTED}")]);
    command.arg(format!("--callgrind-out-file={}", file.display())).arg(exe).arg(word);
    let output = command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "there is no valgrind here".to_owned(),
        _ => format!("valgrind does not start: {error}"),
    })?;
    if !output.status.success() {
        return Err(format!("valgrind failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let text = fs::read_to_string(&file).map_err(|error| format!("no counts in {}: {error}", file.display()));
    let _ = fs::remove_file(&file);
    let counts: Vec<u64> = text?
        .lines()
        .filter_map(|line| line.strip_prefix("totals: "))
        .filter_map(|total| total.trim().parse().ok())
        .collect();
    assert!(counts.len() >= calls, "{} parts were counted, of {calls}", counts.len());
    Ok(Counts(counts))
}
