//! How many scripts, from which seed, and the report of a failure.

use quickcheck::{Gen, QuickCheck, TestResult};

use super::run::Fault;
use super::script::Script;

/// A heap and a region that scripts run on.
pub(crate) trait Case: 'static {
    /// What it is, for the report.
    fn name() -> String;

    /// Makes the heap, and runs the script on it.
    fn run(script: &Script) -> Result<(), Fault>;
}

/// Operations of the longest script.
const SCRIPT_LEN_MAX: usize = 800;

/// The seed that scripts are drawn from when none is given: a fixed one, so that a run that crashes can be run again.
const SEED: u64 = 0x7EA5_9000;

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    Some(number.unwrap_or_else(|_| panic!("{name} is `{text}`, expected a number")))
}

fn property<C: Case>(script: Script) -> TestResult {
    match C::run(&script) {
        Ok(()) => TestResult::passed(),
        Err(fault) => TestResult::error(format!("{}: {fault}\nscript: {script:?}", C::name())),
    }
}

/// Runs scripts of about `HEAPWRIGHT_MODEL_OPS` operations in all.
///
/// # Panics
/// When a script fails: with the seed, and the shortest script found that fails.
pub(crate) fn check<C: Case>() {
    let ops = setting("HEAPWRIGHT_MODEL_OPS").unwrap_or(if cfg!(miri) { 200 } else { 10_000 });
    let seed = setting("HEAPWRIGHT_MODEL_SEED").unwrap_or(SEED);
    let scripts = ops.div_ceil(SCRIPT_LEN_MAX as u64 / 2);
    let mut driver = QuickCheck::new().rng(Gen::from_size_and_seed(SCRIPT_LEN_MAX, seed)).tests(scripts);
    if let Err(failure) = driver.quicktest(property::<C> as fn(Script) -> TestResult) {
        panic!("run again with HEAPWRIGHT_MODEL_SEED={seed:#x} HEAPWRIGHT_MODEL_OPS={ops}\n{failure:?}");
    }
}
