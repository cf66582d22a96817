//! Links that lie in free memory, encoded.

use core::ptr::NonNull;

use crate::check::entropy;

/// Bytes of an encoded link.
pub(super) const LINK_LEN: usize = size_of::<u64>();

/// What the links of one slab are encoded with; zero is no key.
///
/// ```text
///   63                              16 15            0
///  ┌──────────────────────────────────┬───────────────┐
///  │ a hash of key, object and number │ number XOR    │   the hash of key and object alone hides the number,
///  │                                  │ a hash        │   that of all three tells that nobody else wrote it
///  └──────────────────────────────────┴───────────────┘
/// ```
/// What is written by mistake holds with a chance of 2⁻⁴⁸. Who forges a link has to guess the key, of which at most 31 bits are left to chance: 2⁻³¹ each
/// time, and who can read a link finds the key by trying all. What was once there, at that very object, can be put there again. (Linux's SLUB and
/// snmalloc encode links as well. Not cryptographic.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(pub(super) u32);

impl Key {
    /// A new one, for the slab with this header. Its lowest bit is one, so that it is not zero.
    pub(super) fn new(salt: usize) -> Self {
        Key(mixed(entropy(salt) as u64) as u32 | 1)
    }

    /// The link in the object `index` to the number `next`, both below 2¹⁶.
    const fn encoded(self, index: u32, next: u32) -> u64 {
        let place = (self.0 as u64) << 32 | (index as u64) << 16;
        let low = (mixed(place) ^ next as u64) & 0xffff;
        mixed(!(place | next as u64)) & !0xffff | low
    }

    /// Writes a link.
    ///
    /// # Safety
    /// `object` has `LINK_LEN` bytes, which are the caller's.
    #[inline]
    pub(super) unsafe fn write(self, object: NonNull<u8>, index: u32, next: u32) {
        // SAFETY: the caller's promise.
        unsafe { object.cast::<u64>().write_unaligned(self.encoded(index, next)) };
    }

    /// The number that a link leads to, if it is as it was written.
    ///
    /// # Safety
    /// `object` has `LINK_LEN` bytes, which are initialised, and the caller's.
    #[inline]
    pub(super) unsafe fn read(self, object: NonNull<u8>, index: u32) -> Option<u32> {
        // SAFETY: the caller's promise.
        let word = unsafe { object.cast::<u64>().read_unaligned() };
        let place = u64::from(self.0) << 32 | u64::from(index) << 16;
        let next = ((mixed(place) ^ word) & 0xffff) as u32;
        (word == self.encoded(index, next)).then_some(next)
    }
}

/// A number all of whose bits depend on all of those of `number`. (The last steps of S. Vigna's splitmix64.)
const fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written is read, and no flipped bit goes unseen.
    #[test]
    fn links_hold_and_damage_shows() {
        let key = Key::new(0);
        for (index, next) in [(0, 0), (0, 1), (1, 0), (500, 501), (65_533, 65_534)] {
            let mut object = [0u8; LINK_LEN];
            let place = NonNull::from(&mut object).cast();
            // SAFETY: the array is long enough, and ours.
            unsafe { key.write(place, index, next) };
            // SAFETY: as above.
            assert_eq!(unsafe { key.read(place, index) }, Some(next));
            // SAFETY: as above.
            assert_eq!(unsafe { key.read(place, index + 1) }, None, "the link of another object");
            for bit in 0..64 {
                let flipped = (u64::from_ne_bytes(object) ^ (1 << bit)).to_ne_bytes();
                let place = NonNull::from(&flipped).cast();
                // SAFETY: the array is long enough, and read only.
                assert_eq!(unsafe { key.read(place, index) }, None, "bit {bit}");
            }
        }
    }

    /// Nobody guesses a key: all bits are left to chance, but the lowest.
    #[cfg(feature = "std")]
    #[test]
    fn keys_differ_and_none_is_zero() {
        let keys: [_; 64] = core::array::from_fn(|_| Key::new(0));
        assert!(keys.iter().all(|key| key.0 & 1 == 1));
        assert!(
            (1..32).all(|bit| (1..63).contains(&keys.iter().filter(|key| key.0 >> bit & 1 == 1).count()))
        );
        assert!((1..64).all(|at| !keys[..at].contains(&keys[at])));
    }

    /// The hash that hides numbers is in no link as a whole.
    #[test]
    fn a_link_to_nothing_does_not_tell_the_hash() {
        let (key, index) = (Key(12_345), 7);
        let hash = mixed((12_345 << 32) | (7 << 16));
        let link = key.encoded(index, 0);
        assert_eq!(link & 0xffff, hash & 0xffff);
        assert_ne!(link, hash);
    }

    /// Each bit of a number turns about half of those of its hash.
    #[test]
    fn all_bits_of_a_hash_depend_on_all_of_the_number() {
        // The first number of the generator that these steps are of, from zero.
        assert_eq!(mixed(0x9e37_79b9_7f4a_7c15), 0xe220_a839_7b1d_cdaf);
        for from in 0..64 {
            for to in 0..64 {
                let turned = |number: u64| (mixed(number) ^ mixed(number ^ (1 << from))) >> to & 1;
                let count: u64 =
                    (0..200u64).map(|number| turned(number.wrapping_mul(0x1234_5678_9abc_def1))).sum();
                assert!((60..140).contains(&count), "{from} turns {to} {count} times of 200");
            }
        }
    }
}
