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

/// Bytes that are looked at, or written, at once.
#[cfg(feature = "std")]
const PAIR: usize = 16;

/// Bytes of a step, of four of them.
#[cfg(feature = "std")]
const STEP: usize = 4 * PAIR;

/// What the first bytes of a free object are: its mark.
#[cfg(feature = "std")]
#[inline(always)]
const fn head(mark: usize) -> [u64; 2] {
    let (bytes, mut first) = (mark.to_ne_bytes(), [0; 8]);
    let mut at = 0;
    while at < bytes.len() {
        first[at] = bytes[at];
        at += 1;
    }
    [u64::from_ne_bytes(first), 0]
}

/// Whether the first word of an object is `mark`, and what is behind it zero.
///
/// How long an object is no processor can guess where many lengths come and go. So those of up to 64 bytes are looked at in four parts, whatever their length: what would be behind the end is the last part once
/// more. Of longer ones the number of steps is all there is to guess.
///
/// # Safety
/// It has `len` bytes, a multiple of eight and eight at least, which may be read, and are initialised.
#[cfg(feature = "std")]
#[inline(always)]
pub(crate) unsafe fn is_as_freed(object: *const u8, len: usize, mark: usize) -> bool {
    let head = head(mark);
    if len < PAIR {
        // SAFETY: the caller's promise.
        return unsafe { word_at(object) } == head[0];
    }
    let pair = |at: usize| {
        // SAFETY: what follows asks for places 16 bytes or more before the end.
        let place = unsafe { object.add(at) };
        // SAFETY: the caller's promise.
        unsafe { place.cast::<[u64; 2]>().read_unaligned() }
    };
    let first = pair(0);
    let first = (first[0] ^ head[0]) | (first[1] ^ head[1]);
    let mut others = [0; 2];
    let mut look = |at: usize| {
        let found = pair(at);
        others = [others[0] | found[0], others[1] | found[1]];
    };
    if len <= STEP {
        (1..4).for_each(|part| look((part * PAIR).min(len - PAIR)));
        // Of an object of one part all others are the first, mark and all.
        let behind = if len == PAIR { 0 } else { others[0] | others[1] };
        return first | behind == 0;
    }
    let mut at = PAIR;
    while at + STEP < len {
        (0..4).for_each(|part| look(at + part * PAIR));
        at += STEP;
    }
    (0..4).for_each(|part| look(len - STEP + part * PAIR));
    first | others[0] | others[1] == 0
}

/// The longest object for [`zero_short`].
#[cfg(feature = "std")]
pub(crate) const ZERO_SHORT_MAX: usize = 2 * STEP;

/// Makes an object all zero, in parts like those of [`is_as_freed`].
///
/// # Safety
/// It has `len` bytes, eight at least and [`ZERO_SHORT_MAX`] at most, which may be written.
#[cfg(feature = "std")]
#[inline(always)]
pub(crate) unsafe fn zero_short(object: *mut u8, len: usize) {
    debug_assert!((8..=ZERO_SHORT_MAX).contains(&len));
    let clear = |at: usize| {
        // SAFETY: what follows asks for places 16 bytes or more before the end.
        let place = unsafe { object.add(at) };
        // SAFETY: the caller's promise.
        unsafe { place.cast::<[u64; 2]>().write_unaligned([0; 2]) };
    };
    if len > STEP {
        return (0..4).for_each(|part| {
            clear(part * PAIR);
            clear(len - STEP + part * PAIR);
        });
    }
    if len >= PAIR {
        return (0..4).for_each(|part| clear((part * PAIR).min(len - PAIR)));
    }
    // SAFETY: the caller's promise: one word.
    unsafe { object.cast::<u64>().write_unaligned(0) };
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

    /// One bit, wherever it is, in all lengths that are looked at in different ways, and none behind the end; with a mark, and without.
    #[cfg(feature = "std")]
    #[test]
    fn a_bit_that_is_set_is_found() {
        for (len, mark) in (8..=50 * 8).step_by(8).flat_map(|len| [(len, 0), (len, usize::MAX / 3)]) {
            let mut bytes = [0_u8; 51 * 8];
            bytes[..WORD].copy_from_slice(&mark.to_ne_bytes());
            // SAFETY: no more than the array is read.
            let look = |bytes: &[u8]| unsafe { is_as_freed(bytes.as_ptr(), len, mark) };
            assert!(look(&bytes), "{len}");
            for at in 0..bytes.len() {
                bytes[at] ^= 1 << (at % 8);
                assert_eq!(look(&bytes), at >= len, "{at} of {len}");
                // One bit does not hide another, the same of any word.
                for other in (at % 8..len).step_by(8).filter(|&other| other != at && len <= 160) {
                    bytes[other] ^= 1 << (at % 8);
                    assert!(!look(&bytes), "{at} and {other} of {len}");
                    bytes[other] ^= 1 << (at % 8);
                }
                bytes[at] ^= 1 << (at % 8);
            }
        }
    }

    /// All of an object, and nothing else.
    #[cfg(feature = "std")]
    #[test]
    fn a_short_object_is_zeroed_as_a_whole() {
        for len in (8..=ZERO_SHORT_MAX).step_by(8) {
            let mut bytes = [0xff_u8; 8 + ZERO_SHORT_MAX + 8];
            // SAFETY: no more than the array is written.
            unsafe { zero_short(bytes[8..].as_mut_ptr(), len) };
            let zeroes = bytes.iter().enumerate().filter(|(_, byte)| **byte == 0).map(|(at, _)| at);
            assert!(zeroes.eq(8..8 + len), "{len}");
        }
    }
}
