//! Which blocks are looked at, and how many others each of them stands for.

use core::cell::Cell;
use core::sync::atomic::{AtomicU8, Ordering};

use super::live::mix;
use super::sites::{Amount, BLOCK};

/// Every block, or one in so many bytes.
///
/// Sampling is by a Poisson process over the bytes that a thread allocates: each byte is hit with the same small probability, whatever was hit
/// before, and a block is looked at if one of its bytes is. So large blocks are nearly always seen, small ones in proportion to their bytes; a
/// block that is seen with probability `p` stands for `1/p` like it, which makes all sums right on average.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    /// The binary logarithm of the mean number of bytes from one hit to the next; 0 for every block.
    mean_log2: u32,
}

impl Rate {
    pub(super) const EVERY_BLOCK: Self = Rate { mean_log2: 0 };

    /// One hit in `mean` bytes, or a little more: a power of two.
    pub(super) const fn one_in(mean: usize) -> Self {
        let log2 = match mean {
            0 | 1 => 0,
            mean => (mean - 1).ilog2() + 1,
        };
        Rate { mean_log2: if log2 > 32 { 32 } else { log2 } }
    }

    pub(super) const fn is_every_block(self) -> bool {
        self.mean_log2 == 0
    }

    /// Bytes from one hit to the next, on average; 1 for every block.
    pub(super) const fn mean(self) -> u64 {
        1 << self.mean_log2
    }

    /// Whether a block of `size` bytes, allocated now on this thread, is to be looked at.
    pub(super) fn hits(self, size: usize) -> bool {
        if self.is_every_block() {
            return true;
        }
        // In units of the mean, so that profiles with different rates share one countdown: each takes from it in proportion to its own rate.
        let part = (size as u64)
            .checked_shl(32 - self.mean_log2)
            .filter(|part| part >> (32 - self.mean_log2) == size as u64);
        LEFT.with(|left| {
            let (before, part) = (left.get(), part.unwrap_or(u64::MAX));
            if before == UNKNOWN {
                left.set(next_hit());
                return self.hits_within(left, part);
            }
            self.hits_within(left, part)
        })
    }

    fn hits_within(self, left: &Cell<u64>, part: u64) -> bool {
        match left.get().checked_sub(part) {
            Some(rest) if rest > 0 => {
                left.set(rest);
                false
            }
            _ => {
                left.set(next_hit());
                true
            }
        }
    }

    /// What a block of `size` bytes that was looked at stands for. The same whenever it is asked.
    pub(super) fn weigh(self, size: usize) -> Amount {
        if self.is_every_block() {
            return Amount { bytes: size as u64, blocks: BLOCK };
        }
        let seen = -(-(size as f64) / self.mean() as f64).exp_m1();
        let like_it = 1.0 / seen.max(f64::MIN_POSITIVE);
        Amount {
            bytes: (size as f64 * like_it).round() as u64,
            blocks: (BLOCK as f64 * like_it).round() as u64,
        }
    }
}

/// For a countdown that has not begun. Others are above zero.
const UNKNOWN: u64 = 0;

std::thread_local! {
    /// What is left until the next hit, in 2⁻³² of the mean. Const-made and without destructors, so that they can be had at any time.
    static LEFT: Cell<u64> = const { Cell::new(UNKNOWN) };
    static RANDOM: Cell<u64> = const { Cell::new(0) };
}

/// How far the next hit is, in 2⁻³² of the mean: exponentially distributed.
fn next_hit() -> u64 {
    let random = RANDOM.with(|state| {
        let seed = state.get();
        // Threads begin with numbers of their own.
        let seed = if seed == 0 { core::ptr::from_ref(state).addr() as u64 | 1 } else { seed };
        let next = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(if next == 0 { 1 } else { next });
        mix(next ^ (next >> 29))
    });
    // From 2⁻⁵³ to 1.
    let uniform = ((random >> 11) + 1) as f64 / (1u64 << 53) as f64;
    ((-uniform.ln() * (1u64 << 32) as f64) as u64).max(1)
}

/// Tells of most blocks that were not looked at that they were not, without a lock: how many of those that were have an address that falls on
/// the same counter.
#[derive(Debug)]
pub(super) struct Filter {
    /// A counter that has reached its highest stays there.
    counts: [AtomicU8; COUNTERS],
}

const COUNTERS: usize = 4096;

impl Filter {
    pub(super) const fn new() -> Self {
        Filter { counts: [const { AtomicU8::new(0) }; COUNTERS] }
    }

    fn count(&self, address: usize) -> &AtomicU8 {
        &self.counts[(mix(address as u64) >> 33) as usize % COUNTERS]
    }

    pub(super) fn insert(&self, address: usize) {
        // The closure never refuses.
        let _ = self
            .count(address)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| Some(count.saturating_add(1)));
    }

    /// The address was inserted, and is no longer.
    pub(super) fn remove(&self, address: usize) {
        let _ = self.count(address).fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| match count {
            0 | u8::MAX => None,
            count => Some(count - 1),
        });
    }

    /// Whether the address may have been inserted. Who was handed the block sees that it was.
    pub(super) fn may_have(&self, address: usize) -> bool {
        self.count(address).load(Ordering::Relaxed) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_right_on_average() {
        // On a thread of its own: the countdown is the thread's.
        let run = || {
            let rate = Rate::one_in(4000);
            assert_eq!(rate.mean(), 4096);
            for size in [16usize, 300, 5000, 100_000] {
                let count = 20_000_000 / size;
                let mut sum = Amount::NONE;
                for _ in 0..count {
                    if rate.hits(size) {
                        sum.add(rate.weigh(size));
                    }
                }
                let (bytes, blocks) = ((count * size) as f64, count as f64);
                // About 4,900 hits: a deviation of 1.5 %, of which 10 % is seven times as much.
                assert!((sum.bytes as f64 / bytes - 1.0).abs() < 0.1, "{size}: {sum:?} for {bytes}");
                assert!((sum.blocks as f64 / BLOCK as f64 / blocks - 1.0).abs() < 0.1, "{size}: {sum:?}");
            }
        };
        if !cfg!(miri) {
            std::thread::spawn(run).join().unwrap();
        }
    }

    #[test]
    fn large_blocks_are_seen_and_stand_for_themselves() {
        let rate = Rate::one_in(1 << 10);
        assert!(rate.hits(usize::MAX));
        assert_eq!(rate.weigh(1 << 20), Amount { bytes: 1 << 20, blocks: BLOCK });
        assert_eq!(Rate::one_in(1), Rate::EVERY_BLOCK);
        assert_eq!(Rate::one_in(usize::MAX).mean(), 1 << 32);
        assert!(Rate::EVERY_BLOCK.hits(1));
    }

    #[test]
    fn a_filter_never_denies_what_is_there() {
        let filter = Filter::new();
        for address in (0..100_000).step_by(16) {
            filter.insert(address);
        }
        for address in (0..50_000).step_by(16) {
            filter.remove(address);
        }
        assert!((50_000..100_000).step_by(16).all(|address| filter.may_have(address)));
        let empty = Filter::new();
        empty.remove(5);
        assert!(!empty.may_have(5));
    }

    #[test]
    fn the_last_byte_before_a_hit_is_the_hit() {
        // On a thread of its own: the countdown is the thread's.
        let run = || {
            let rate = Rate::one_in(1 << 12);
            LEFT.set(3 << 20); // 3 bytes, in parts of the mean
            assert!(!rate.hits(2));
            assert_eq!(LEFT.get(), 1 << 20);
            assert!(rate.hits(1), "nothing is left");
            assert_ne!(LEFT.get(), UNKNOWN);
        };
        std::thread::spawn(run).join().unwrap();
    }

    #[test]
    fn random_numbers_do_not_begin_anew() {
        // On a thread of its own: the numbers are the thread's.
        let run = || {
            RANDOM.set(0x9e37_79b9_7f4a_7c15_u64.wrapping_neg());
            assert!(next_hit() > 0);
            assert_eq!(RANDOM.get(), 1, "0 is for those that have not begun");
        };
        std::thread::spawn(run).join().unwrap();
    }
}
