//! Which blocks are live: a table by address.

#![forbid(unsafe_code)]

use crate::AllocError;
use crate::trace::store::Store;

/// What is known of a live block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Live {
    /// Where it is; never zero, which stands for no block.
    pub(super) address: usize,
    /// Bytes that were asked for.
    pub(super) size: usize,
    /// When it was allocated.
    pub(super) born: u64,
    /// Number of its call site.
    pub(super) site: u32,
}

impl Live {
    const NONE: Self = Live { address: 0, size: 0, born: 0, site: 0 };
}

/// Live blocks by address: open addressing, each in the first free place from where its address points to, at most 3 of 4 places taken.
#[derive(Debug)]
pub(super) struct LiveBlocks {
    /// A power of two of places, or none.
    places: Store<Live>,
    len: usize,
}

impl LiveBlocks {
    pub(super) const fn new() -> Self {
        LiveBlocks { places: Store::new(), len: 0 }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Live> {
        self.places.as_slice().iter().filter(|live| live.address != 0)
    }

    /// Notes a block; gives the one that was noted at its address.
    pub(super) fn insert(&mut self, live: Live) -> Result<Option<Live>, AllocError> {
        if (self.len + 1) * 4 > self.places.len() * 3 {
            self.grow()?;
        }
        let idx = self.find(live.address);
        let place = &mut self.places.as_mut_slice()[idx];
        let before = (place.address != 0).then_some(*place);
        *place = live;
        self.len += usize::from(before.is_none());
        Ok(before)
    }

    /// Forgets a block.
    pub(super) fn remove(&mut self, address: usize) -> Option<Live> {
        if self.len == 0 || address == 0 {
            return None;
        }
        let mask = self.places.len() - 1;
        let mut gap = self.find(address);
        let places = self.places.as_mut_slice();
        let live = places[gap];
        if live.address == 0 {
            return None;
        }
        // Those behind it that could stand in the gap move up, so that no search ends early.
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            if places[at].address == 0 {
                break;
            }
            let home = home(places[at].address, mask);
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(gap) & mask {
                places[gap] = places[at];
                gap = at;
            }
        }
        places[gap] = Live::NONE;
        self.len -= 1;
        Some(live)
    }

    /// The place of an address, or the free one where it would be. There is at least one free place.
    fn find(&self, address: usize) -> usize {
        let places = self.places.as_slice();
        let mask = places.len() - 1;
        let mut at = home(address, mask);
        while places[at].address != address && places[at].address != 0 {
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) -> Result<(), AllocError> {
        let len = self.places.len().max(128) * 2;
        let old = core::mem::replace(&mut self.places, Store::filled(len, Live::NONE)?);
        for live in old.as_slice().iter().filter(|live| live.address != 0) {
            let idx = self.find(live.address);
            self.places.as_mut_slice()[idx] = *live;
        }
        Ok(())
    }
}

/// Where an address points to.
fn home(address: usize, mask: usize) -> usize {
    (mix(address as u64) >> 20) as usize & mask
}

/// A number whose bits all depend on all bits of `value`, the upper ones most.
pub(super) const fn mix(value: u64) -> u64 {
    let value = value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (value ^ (value >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::vec::Vec;

    use super::*;

    #[test]
    fn it_is_a_map() {
        let mut table = LiveBlocks::new();
        let mut model = HashMap::new();
        let mut random = 1u64;
        assert_eq!(table.remove(16), None);
        for step in 0..if cfg!(miri) { 500 } else { 50_000 } {
            random = mix(random + step);
            // Few addresses, near each other, as in a heap.
            let address = 16 * (1 + random as usize % 700);
            if random >> 60 < 9 {
                let live = Live { address, size: step as usize, born: step, site: 3 };
                assert_eq!(table.insert(live).unwrap(), model.insert(address, live));
            } else {
                assert_eq!(table.remove(address), model.remove(&address));
            }
            assert_eq!(table.len, model.len());
        }
        let mut all: Vec<_> = table.iter().map(|live| live.address).collect();
        let mut expected: Vec<_> = model.into_keys().collect();
        all.sort_unstable();
        expected.sort_unstable();
        assert_eq!(all, expected);
    }

    #[test]
    fn no_block_is_at_the_address_that_stands_for_none() {
        let mut table = LiveBlocks::new();
        let live = Live { address: 16, size: 5, born: 0, site: 0 };
        assert_eq!(table.insert(live), Ok(None));
        assert_eq!(table.remove(0), None);
        assert_eq!((table.len, table.remove(16)), (1, Some(live)));
    }
}
