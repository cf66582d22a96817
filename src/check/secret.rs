//! Numbers that nobody can foresee.

use core::cell::Cell;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::switch::Fresh;

/// A number that each process has another one of; 0 until it is asked for.
///
/// With `std` it comes from the OS, by the seed of the standard library's hash maps. Without, from where things lie in memory: where that is always the same, so is this.
#[derive(Debug)]
pub(crate) struct Secret(AtomicUsize);

impl Secret {
    pub(crate) const fn new() -> Self {
        Secret(AtomicUsize::new(0))
    }

    /// The number, once there is one: a single load.
    #[inline(always)]
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Makes the number, if it has not been made. Callers have it to themselves.
    pub(crate) fn make(&self) {
        if self.get() == 0 {
            self.set(entropy(core::ptr::from_ref(self).addr()));
        }
    }

    /// Gives the number its value, if it has none. Callers are under one lock; `number` is from [`entropy`], asked for outside it.
    pub(crate) fn set(&self, number: usize) {
        if self.get() == 0 {
            self.0.store(number | 1, Ordering::Relaxed);
        }
    }
}

impl Fresh for Secret {
    const NEW: Self = Secret::new();
}

/// A number that depends on `salt`, and on what is known of chance here.
pub(crate) fn entropy(salt: usize) -> usize {
    let here = core::ptr::from_ref(&salt).addr();
    #[cfg(feature = "std")]
    {
        use std::hash::{BuildHasher, Hasher};
        let mut hasher = std::hash::RandomState::new().build_hasher();
        hasher.write_usize(salt);
        hasher.write_usize(here);
        hasher.finish() as usize
    }
    #[cfg(not(feature = "std"))]
    mixed(salt ^ here.rotate_left(usize::BITS / 2))
}

/// A number all of whose bits depend on all of those of `number`. (The steps of a multiplicative hash; not cryptographic.)
const fn mixed(number: usize) -> usize {
    let number = (number as u64 ^ (number as u64 >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (number ^ (number >> 32)) as usize
}

/// Throws of dice: numbers that are hard to foresee for who does not know the state. Not cryptographic.
///
/// A linear congruential generator, of which the upper half is used: D. Knuth's for MMIX (*The Art of Computer Programming*, 3.3.4).
#[derive(Debug)]
pub(crate) struct Dice(Cell<u64>);

impl Fresh for Dice {
    const NEW: Self = Dice(Cell::new(0));
}

impl Dice {
    /// Dice with a state of their own.
    #[cfg(feature = "std")]
    pub(crate) const fn seeded(seed: u64) -> Self {
        Dice(Cell::new(seed | 1))
    }

    /// Gives the dice a state, if they have none: from a secret, which differs for others with the same, or if that is zero, from what is known of chance.
    #[inline]
    pub(crate) fn prepare(&self, secret: usize) {
        if self.0.get() == 0 {
            let place = core::ptr::from_ref(self).addr();
            let seed = if secret == 0 { entropy(place) } else { mixed(secret ^ mixed(place)) };
            self.0.set(seed as u64 | 1);
        }
    }

    /// A number below `count`, which is not zero.
    #[inline]
    pub(crate) fn below(&self, count: usize) -> usize {
        self.prepare(0);
        self.throw(count)
    }

    /// The same, of dice that have been prepared. (Others would show numbers that can be foreseen.)
    #[inline(always)]
    pub(crate) fn throw(&self, count: usize) -> usize {
        let state = self.0.get();
        debug_assert_ne!(state, 0, "dice are prepared before they are thrown");
        let state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0.set(state);
        let high = state >> 32;
        // Spread over the range by its upper half.
        ((high * count as u64) >> 32) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dice_show_every_number_about_as_often() {
        let dice = Dice::NEW;
        let mut counts = [0; 16];
        for _ in 0..16_000 {
            counts[dice.below(16)] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }

    #[cfg(feature = "std")]
    #[test]
    fn dice_with_a_state_of_their_own_show_the_same_again() {
        let throws = |seed: u64| {
            let dice = Dice::seeded(seed);
            [(); 20].map(|()| dice.below(1000))
        };
        assert_eq!(throws(40), throws(40));
        assert_ne!(throws(40), throws(42));
        assert_eq!((Dice::seeded(0).0.get(), Dice::seeded(1).0.get()), (1, 1), "zero would be none");
    }

    /// Each has a state of its own, from all that is known of chance, or from a secret and its place.
    #[cfg(feature = "std")]
    #[test]
    fn no_two_dice_show_the_same() {
        for secret in [0, 0x1234_5677] {
            let dice: [Dice; 20] = core::array::from_fn(|_| Dice::NEW);
            let all = dice.each_ref().map(|dice| {
                dice.prepare(secret);
                [(); 20].map(|()| dice.throw(1000))
            });
            for (at, one) in all.iter().enumerate() {
                assert!(!all[..at].contains(one), "{one:?}");
            }
        }
    }

    /// Who knows the place of the dice knows nothing without all of the secret; and it is all there is to know, but where there is none.
    #[cfg(feature = "std")]
    #[test]
    fn each_bit_of_a_secret_counts() {
        let mut dice = Dice::NEW;
        let mut shown = |secret: usize| {
            dice = Dice::NEW;
            dice.prepare(secret);
            [(); 20].map(|()| dice.throw(1000))
        };
        let secret = (usize::MAX / 5) | 1;
        let usual = shown(secret);
        assert_eq!(shown(secret), usual);
        assert_ne!(shown(0), shown(0));
        for bit in 0..usize::BITS {
            assert_ne!(shown(secret ^ (1 << bit)), usual, "bit {bit}");
        }
    }

    /// Each bit of a number changes most of those of the result, which are as often set as not.
    #[test]
    fn numbers_are_mixed_well() {
        let numbers = || (0..1000_usize).map(|at| at.wrapping_mul(usize::MAX / 7));
        for bit in 0..usize::BITS {
            let changed = numbers().fold(0, |all, number| all | mixed(number) ^ mixed(number ^ (1 << bit)));
            assert!(changed.count_ones() > usize::BITS * 5 / 8, "{bit}: {changed:b}");
            let set = numbers().filter(|&number| mixed(number) >> bit & 1 == 1).count();
            assert!((350..650).contains(&set), "{bit}: {set}");
        }
    }

    #[test]
    fn secrets_differ_and_stay() {
        let (one, other) = (Secret::new(), Secret::new());
        assert_eq!(one.get(), 0);
        one.set(entropy(1));
        other.set(entropy(2));
        let first = one.get();
        one.set(entropy(3));
        assert_eq!(one.get(), first);
        assert_ne!(first, other.get());
        let (made, least) = (Secret::new(), Secret::new());
        made.make();
        let first = made.get();
        made.make();
        assert_eq!((first != 0, made.get()), (true, first));
        least.set(1);
        assert_eq!(least.get(), 1, "zero would be none");
    }
}
