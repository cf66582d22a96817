//! How much is done, and from which seed.

use std::env;

use super::script::Range;

/// How much a check does. [`Check`](super::Check) has a method for each number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    pub(super) seed: u64,
    /// Random scripts.
    pub(super) scripts: usize,
    /// Operations of each.
    pub(super) ops: usize,
    /// Requests of a source that are made to fail, one after the other.
    pub(super) failures: u64,
    pub(super) threads: usize,
    pub(super) live_max: usize,
    pub(super) range: Range,
}

impl Plan {
    pub(super) fn new() -> Self {
        let scale = number("HEAPWRIGHT_TEST_SCALE").unwrap_or(1).max(1);
        let scale = usize::try_from(scale).unwrap_or(usize::MAX);
        // An interpreter is a thousand times slower.
        let (scripts, ops, failures) = if cfg!(miri) { (1, 60, 3) } else { (4, 250, 12) };
        Plan {
            seed: number("HEAPWRIGHT_TEST_SEED").unwrap_or(0x4EA9_1973),
            scripts: scale.saturating_mul(scripts),
            ops,
            failures: (scale as u64).saturating_mul(failures),
            threads: 4,
            live_max: 48,
            range: Range { size_max: 3000, align_max: 1 << 13 },
        }
    }
}

/// A number from the environment, decimal or after `0x`.
fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    let number = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    match number {
        Ok(number) => Some(number),
        Err(_) => panic!("{name} is `{text}`, expected a number"),
    }
}
