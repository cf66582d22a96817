//! Bytes filled with a pattern, and looked at again.

use core::ptr::NonNull;

/// What freed memory is filled with.
pub(crate) const FREED: u8 = 0xdf;

/// What stands around live blocks.
pub(crate) const ZONE: u8 = 0xbb;

/// Bytes that are compared at once.
const WORD: usize = size_of::<usize>();

/// A byte that is not what is expected: its offset, and what it is.
pub(crate) type Other = (usize, u8);

/// The first of `len` bytes from `ptr` on that is not `expected`.
///
/// # Safety
/// The bytes may be read, and are initialised.
#[inline]
pub(crate) unsafe fn first_other(ptr: NonNull<u8>, len: usize, expected: u8) -> Option<Other> {
    let pattern = usize::from_ne_bytes([expected; WORD]);
    let is_filled = |at: usize| {
        // SAFETY: callers ask for words that end at or before `len`.
        let word = unsafe { ptr.add(at) };
        // SAFETY: its bytes may be read.
        unsafe { word.cast::<usize>().read_unaligned() == pattern }
    };
    let mut at = 0;
    while len - at >= WORD && is_filled(at) {
        at += WORD;
    }
    // What is left is less than a word: with what is before it, one.
    if len - at < WORD && len >= WORD && is_filled(len - WORD) {
        return None;
    }
    while at < len {
        // SAFETY: `at` is below `len`.
        let byte = unsafe { ptr.add(at) };
        // SAFETY: the byte may be read.
        let found = unsafe { byte.read() };
        if found != expected {
            return Some((at, found));
        }
        at += 1;
    }
    None
}

/// The eight bytes at a place.
///
/// # Safety
/// They may be read, and are initialised.
#[cfg(feature = "std")]
#[inline(always)]
pub(crate) unsafe fn word_at(place: *const u8) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { place.cast::<u64>().read_unaligned() }
}

/// Whether `len` bytes are all zero; `len` is a multiple of eight.
///
/// What is left after whole steps is looked at from the end, so some words for the second time: the number of steps is all that a processor has to guess.
///
/// # Safety
/// They may be read, and are initialised.
#[cfg(feature = "std")]
#[inline(always)]
pub(crate) unsafe fn is_zero(from: *const u8, len: usize) -> bool {
    let word = |at: usize| {
        // SAFETY: what follows asks for words that end at or before `len`.
        let place = unsafe { from.add(at) };
        // SAFETY: the caller's promise.
        unsafe { word_at(place) }
    };
    if len >= 64 {
        let mut bits = [0; 8];
        let mut look =
            |at: usize| bits.iter_mut().enumerate().for_each(|(number, bits)| *bits |= word(at + 8 * number));
        for step in 0..(len - 1) / 64 {
            look(64 * step);
        }
        look(len - 64);
        return bits.iter().fold(0, |all, bits| all | bits) == 0;
    }
    let two = |at: usize| word(at) | word(at + 8);
    if len >= 32 {
        return two(0) | two(16) | two(len - 32) | two(len - 16) == 0;
    }
    if len >= 16 {
        return two(0) | two(len - 16) == 0;
    }
    len == 0 || word(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One wrong byte, wherever it is, whatever is looked at.
    #[test]
    fn a_wrong_byte_is_found() {
        for len in 0..40 {
            for wrong in 0..40 {
                let mut bytes = [FREED; 40];
                bytes[wrong] = FREED ^ 0x10;
                let start = NonNull::from(&mut bytes).cast();
                // SAFETY: no more than the array is read.
                let found = unsafe { first_other(start, len, FREED) };
                assert_eq!(found, (wrong < len).then_some((wrong, FREED ^ 0x10)), "{wrong} of {len}");
            }
        }
    }

    /// One bit, wherever it is, in all lengths that are looked at in different ways.
    #[cfg(feature = "std")]
    #[test]
    fn a_bit_that_is_set_is_found() {
        let mut bytes = [0_u8; 24 * 8];
        for len in (0..=bytes.len()).step_by(8) {
            // SAFETY: no more than the array is read.
            assert!(unsafe { is_zero(bytes.as_ptr(), len) }, "{len}");
            for at in 0..bytes.len() {
                bytes[at] = 1 << (at % 8);
                // SAFETY: as above.
                assert_eq!(unsafe { is_zero(bytes.as_ptr(), len) }, at >= len, "{at} of {len}");
                bytes[at] = 0;
            }
        }
    }
}
