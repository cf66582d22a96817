//! Runs of chunks in a word of bits.

use core::ptr::NonNull;

/// A run that has been handed out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) first: NonNull<u8>,
    /// One bit for each of its chunks that may not be all zero.
    pub(super) kept: u64,
    /// One bit for each of its chunks that can't be touched.
    pub(super) guards: u64,
}

impl Run {
    /// One of so many chunks, all of which may hold something, and be touched.
    pub(super) const fn used(first: NonNull<u8>, chunks: usize) -> Self {
        Run { first, kept: mask(0, chunks), guards: 0 }
    }
}

/// So many bits from number `at` on.
#[inline]
pub(super) const fn mask(at: usize, len: usize) -> u64 {
    (u64::MAX >> (64 - len)) << at
}

/// The lowest bits, so many; all of them if there are fewer.
#[inline]
pub(super) const fn lowest(len: usize) -> u64 {
    if len < 64 { (1 << len) - 1 } else { u64::MAX }
}

/// The lowest place at which so many bits in a row are set. `len` is 1 to 64.
///
/// A word and-ed with itself shifted by 1, 2, 4, .. leaves the starts of long enough runs (Warren, *Hacker's Delight*, 6-3).
#[inline]
pub(super) const fn find(bits: u64, len: usize) -> Option<usize> {
    let mut starts = bits;
    let mut have = 1;
    while have < len {
        let step = if have < len - have { have } else { len - have };
        starts &= starts >> step;
        have += step;
    }
    if starts == 0 { None } else { Some(starts.trailing_zeros() as usize) }
}

/// The highest run of set bits, no longer than `most`: where it begins, and its length. `bits` is not zero.
#[inline]
pub(super) const fn highest(bits: u64, most: usize) -> (usize, usize) {
    let end = 64 - bits.leading_zeros() as usize;
    let all = (bits << (64 - end)).leading_ones() as usize;
    let len = if all < most { all } else { most };
    (end - len, len)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use quickcheck::quickcheck;

    /// The lowest run, found bit by bit.
    fn model(bits: u64, len: usize) -> Option<usize> {
        (0..=64 - len).find(|&at| (at..at + len).all(|bit| bits >> bit & 1 == 1))
    }

    quickcheck! {
        fn find_gives_the_lowest_run(bits: u64, holes: u64, len: usize) -> bool {
            let (bits, len) = (bits | holes, len % 64 + 1);
            find(bits, len) == model(bits, len)
        }

        fn highest_gives_the_end_of_the_highest_run(bits: u64, more: u64, most: usize) -> bool {
            let (bits, most) = (bits | more | 1, most % 64 + 1);
            let (at, len) = highest(bits, most);
            let end = at + len;
            let longer = at > 0 && bits >> (at - 1) & 1 == 1;
            bits & mask(at, len) == mask(at, len) && (end == 64 || bits >> end == 0) && len <= most && (len == most || !longer)
        }
    }

    #[test]
    fn whole_words() {
        assert_eq!((find(u64::MAX, 64), find(0, 1), find(u64::MAX >> 1, 64)), (Some(0), None, None));
        assert_eq!((lowest(0), lowest(63), lowest(64), lowest(1000)), (0, u64::MAX >> 1, u64::MAX, u64::MAX));
        assert_eq!((mask(0, 64), mask(63, 1), highest(u64::MAX, 64)), (u64::MAX, 1 << 63, (0, 64)));
    }
}
