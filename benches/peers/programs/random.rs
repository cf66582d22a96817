//! Random numbers that are the same in every run.

/// A xorshift generator (Marsaglia 2003).
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (((self.next() >> 32) * end as u64) >> 32) as usize
    }

    /// A size from `low` to `high` whose logarithm is uniform, nearly.
    pub(crate) fn size(&mut self, low: usize, high: usize) -> usize {
        let doublings = (high / low).max(1).ilog2() as usize + 1;
        let from = low << self.below(doublings);
        (from + self.below(from)).min(high)
    }

    /// A word of lower-case letters.
    pub(crate) fn word(&mut self) -> String {
        let len = 3 + self.below(9);
        (0..len).map(|_| (b'a' + self.below(26) as u8) as char).collect()
    }

    /// Brings the elements into random order.
    pub(crate) fn shuffle<T>(&mut self, elements: &mut [T]) {
        for end in (1..elements.len()).rev() {
            elements.swap(end, self.below(end + 1));
        }
    }
}
