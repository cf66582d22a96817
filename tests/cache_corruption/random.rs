//! Numbers that look random and are the same in each run.

use std::sync::OnceLock;

/// A number from the environment, decimal or `0x..`.
pub(crate) fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    Some(number.unwrap_or_else(|_| panic!("{name} is `{text}`, expected a number")))
}

/// Operations for each cache.
pub(crate) fn operations() -> usize {
    let default = if cfg!(miri) { 60 } else { 500 };
    setting("HEAPWRIGHT_CACHE_OPS").map_or(default, |number| usize::try_from(number).unwrap())
}

/// The generator splitmix64 (Steele, Lea and Flood, 2014).
pub(crate) struct Random(u64);

impl Random {
    /// Numbers for the test of this name.
    pub(crate) fn new(name: &str) -> Self {
        let seed = setting("HEAPWRIGHT_CACHE_SEED").unwrap_or(0xCAC4E);
        Random(name.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// Bits well mixed.
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The longest filler, in bytes.
const FILLER_MAX: usize = 1 << 20;
/// A prime: where fillers begin in the table.
const PERIOD: usize = 8191;

/// `len` bytes that depend on a number. Slices of one table, so that filling and comparing is fast without optimisation too.
pub(crate) fn filler(number: u32, len: usize) -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let mut random = Random(0xF111E4);
        (0..(FILLER_MAX + PERIOD).div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).collect()
    });
    let start = number as usize % PERIOD;
    &table[start..start + len]
}
