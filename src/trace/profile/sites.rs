//! Call sites and what was allocated there.

#![forbid(unsafe_code)]

use core::ops::Range;

use super::live::mix;
use crate::AllocError;
use crate::trace::store::Store;

/// Bytes, and blocks in units of [`BLOCK`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) bytes: u64,
    pub(super) blocks: u64,
}

/// One block: sampled ones stand for others as well, in parts.
pub(super) const BLOCK: u64 = 1024;

impl Amount {
    pub(super) const NONE: Self = Amount { bytes: 0, blocks: 0 };

    pub(super) fn add(&mut self, other: Amount) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.blocks = self.blocks.saturating_add(other.blocks);
    }

    pub(super) fn remove(&mut self, other: Amount) {
        self.bytes = self.bytes.saturating_sub(other.bytes);
        self.blocks = self.blocks.saturating_sub(other.blocks);
    }
}

/// What was allocated at one call site.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    /// All that there ever was.
    pub(super) total: Amount,
    /// What is live.
    pub(super) live: Amount,
    /// What was live when that was the most of this site.
    pub(super) most: Amount,
    /// What was live when the whole heap was at its peak number `peak`.
    pub(super) at_peak: Amount,
    peak: u64,
    /// The sum of the lives of blocks that have gone, each as often as it stands for others, in time units.
    lives: u64,
    /// The sum of the births of live blocks, each as often as it stands for others, in parts of [`BLOCK`]; it may have wrapped around.
    births: u64,
}

impl Tally {
    const NONE: Self = Tally {
        total: Amount::NONE,
        live: Amount::NONE,
        most: Amount::NONE,
        at_peak: Amount::NONE,
        peak: 0,
        lives: 0,
        births: 0,
    };

    /// Has `at_peak` be that of peak number `peak`: if there was a new one since this site has last changed, what is live now was live then.
    pub(super) fn settle(&mut self, peak: u64) {
        if self.peak != peak {
            (self.peak, self.at_peak) = (peak, self.live);
        }
    }

    /// Counts blocks that have come.
    pub(super) fn come(&mut self, amount: Amount, born: u64, peak: u64) {
        self.settle(peak);
        self.births = self.births.wrapping_add(born.wrapping_mul(amount.blocks));
        self.total.add(amount);
        self.live.add(amount);
        if self.live.bytes > self.most.bytes {
            self.most = self.live;
        }
    }

    /// Counts blocks of one birth that have gone.
    pub(super) fn go(&mut self, amount: Amount, born: u64, now: u64, peak: u64) {
        self.settle(peak);
        self.live.remove(amount);
        self.births = self.births.wrapping_sub(born.wrapping_mul(amount.blocks));
        let lives = u128::from(now.saturating_sub(born)) * u128::from(amount.blocks) / u128::from(BLOCK);
        self.lives = self.lives.saturating_add(u64::try_from(lives).unwrap_or(u64::MAX));
    }

    /// The sum of the lives of all blocks, those that are live counted until `now`.
    pub(super) const fn lives_until(&self, now: u64) -> u64 {
        let live = self.live.blocks.wrapping_mul(now).wrapping_sub(self.births) / BLOCK;
        self.lives.saturating_add(live)
    }
}

/// One call site.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site {
    first_frame: usize,
    frame_count: u32,
    /// The size class of its blocks, where there are no frames to tell them apart.
    pub(super) class: u32,
    hash: u64,
    pub(super) tally: Tally,
}

impl Site {
    /// Where its frames are.
    pub(super) fn frames(&self) -> Range<usize> {
        self.first_frame..self.first_frame + self.frame_count as usize
    }
}

/// All call sites, each once.
#[derive(Debug)]
pub(super) struct Sites {
    pub(super) all: Store<Site>,
    /// The addresses of all sites, from the innermost to the outermost.
    pub(super) frames: Store<usize>,
    /// Open addressing by hash: a site's number and 1, or 0 for a free place. A power of two of places, or none.
    places: Store<u32>,
}

impl Sites {
    pub(super) const fn new() -> Self {
        Sites { all: Store::new(), frames: Store::new(), places: Store::new() }
    }

    /// The number of a call site.
    pub(super) fn number(&mut self, frames: &[usize], class: u32) -> Result<u32, AllocError> {
        let class = if frames.is_empty() { class } else { 0 };
        if (self.all.len() + 1) * 2 > self.places.len() {
            self.grow()?;
        }
        let hash = frames.iter().fold(mix(u64::from(class) + 1), |hash, &frame| mix(hash ^ frame as u64));
        let mask = self.places.len() - 1;
        let mut at = hash as usize & mask;
        while let Some(number) = self.places.as_slice()[at].checked_sub(1) {
            let site = &self.all.as_slice()[number as usize];
            if site.hash == hash && site.class == class && self.frames.as_slice()[site.frames()] == *frames {
                return Ok(number);
            }
            at = (at + 1) & mask;
        }
        let number = u32::try_from(self.all.len()).map_err(|_| AllocError)?;
        let first_frame = self.frames.len();
        let added = frames.iter().try_for_each(|&frame| self.frames.push(frame));
        let frame_count = frames.len() as u32;
        let site = Site { first_frame, frame_count, class, hash, tally: Tally::NONE };
        let added = added.and_then(|()| self.all.push(site));
        added.inspect_err(|_| self.frames.truncate(first_frame))?;
        self.places.as_mut_slice()[at] = number + 1;
        Ok(number)
    }

    pub(super) fn tally(&mut self, number: u32) -> &mut Tally {
        &mut self.all.as_mut_slice()[number as usize].tally
    }

    fn grow(&mut self) -> Result<(), AllocError> {
        let mut places = Store::filled(self.places.len().max(128) * 2, 0u32)?;
        let mask = places.len() - 1;
        for (number, site) in self.all.as_slice().iter().enumerate() {
            let mut at = site.hash as usize & mask;
            while places.as_slice()[at] != 0 {
                at = (at + 1) & mask;
            }
            places.as_mut_slice()[at] = number as u32 + 1;
        }
        self.places = places;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_pointer_width = "64")]
    use std::vec::Vec;

    use super::*;

    #[test]
    fn a_site_has_one_number() {
        let mut sites = Sites::new();
        for round in 0..2 {
            for number in 0..1000u32 {
                let frames = [5, number as usize, 7];
                assert_eq!(sites.number(&frames, round), Ok(number), "the class does not matter with frames");
            }
        }
        assert_eq!(sites.number(&[], 1), Ok(1000));
        assert_eq!(sites.number(&[], 2), Ok(1001));
        assert_eq!(sites.number(&[], 1), Ok(1000));
        assert_eq!(sites.frames.as_slice()[sites.all.as_slice()[999].frames()], [5, 999, 7]);
    }

    #[test]
    fn what_was_live_at_the_peak_is_known_later() {
        let mut tally = Tally::NONE;
        let two = Amount { bytes: 20, blocks: 2 * BLOCK };
        tally.come(two, 4, 0); // peak 1 is here
        assert_eq!(tally.lives_until(5), 2);
        tally.go(two, 4, 7, 1);
        tally.come(Amount { bytes: 5, blocks: BLOCK }, 10, 1);
        assert_eq!(tally.at_peak, two);
        tally.settle(2); // and peak 2, later
        assert_eq!((tally.at_peak.bytes, tally.most.bytes, tally.lives_until(20)), (5, 20, 16));
    }

    /// Frames that have the same hash as others, found by going the other way.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn sites_of_one_hash_are_told_apart() {
        let mut sites = Sites::new();
        let seed = mix(1);
        let second = |first: usize, hash: u64| (mix(seed ^ first as u64) ^ hash) as usize;
        let hash = mix(seed ^ 3) ^ 4;
        assert_eq!(sites.number(&[3, second(3, hash)], 0), Ok(0));
        assert_eq!(sites.number(&[5, second(5, hash)], 0), Ok(1), "other frames");
        let none = sites.number(&[], 6);
        assert_eq!(sites.number(&[(seed ^ 7) as usize], 0).map(|number| number - 1), none, "another class");
        assert_eq!(sites.number(&[5, second(5, hash)], 0), Ok(1));
        let hashes: Vec<_> = sites.all.as_slice().iter().map(|site| site.hash).collect();
        assert_eq!((hashes[0], hashes[2]), (hashes[1], hashes[3]));
    }
}
