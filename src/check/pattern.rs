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
}
