//! What live blocks are filled with: bytes that depend on the block's number, so that a lost, moved or overwritten
//! byte shows.

use std::ptr::NonNull;
use std::sync::OnceLock;

/// The longest block, in bytes, that a pattern covers.
pub(crate) const LEN_MAX: usize = 2 << 20;

/// Block `id` reads the table from `id * STRIDE % PERIOD` on; a prime, so that neighbours in number differ everywhere.
const PERIOD: usize = 8191;
const STRIDE: usize = 61;

/// The bytes of block `id`. Slices of one random table: filling and comparing are a `memcpy` and a `memcmp`, fast
/// without optimisation too.
pub(crate) fn of(id: u32, len: usize) -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let mut state = 0u64;
        let words = (LEN_MAX + PERIOD).div_ceil(8);
        (0..words).flat_map(|_| splitmix(&mut state).to_le_bytes()).collect()
    });
    let start = (id as usize).wrapping_mul(STRIDE) % PERIOD;
    &table[start..start + len]
}

/// Fills a block with the bytes of block `id`.
///
/// # Safety
/// The `len` bytes from `ptr` on are a live block's, and the caller's alone.
pub(crate) unsafe fn fill(ptr: NonNull<u8>, len: usize, id: u32) {
    let bytes = of(id, len);
    // SAFETY: the block is `len` bytes long by the caller's promise, and does not overlap the table.
    unsafe { ptr.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), len) };
}

/// Index of the first of `len` bytes that is not as [`fill`] left it.
///
/// # Safety
/// The `len` bytes from `ptr` on are a live block's, initialised, and nobody writes them now.
pub(crate) unsafe fn first_difference(ptr: NonNull<u8>, len: usize, id: u32) -> Option<usize> {
    // SAFETY: the caller's promise.
    let found = unsafe { std::slice::from_raw_parts(ptr.as_ptr(), len) };
    let expected = of(id, len);
    if found == expected {
        return None;
    }
    found.iter().zip(expected).position(|(a, b)| a != b)
}

/// Index of the first of the bytes `from..to` of a block that is not zero.
///
/// # Safety
/// The `to` bytes from `ptr` on are a live block's, those from `from` on are initialised, and nobody writes them now.
pub(crate) unsafe fn first_nonzero(ptr: NonNull<u8>, from: usize, to: usize) -> Option<usize> {
    let len = to.saturating_sub(from);
    // SAFETY: the caller's promise; nothing is read when `from` is past `to`.
    let found = unsafe { std::slice::from_raw_parts(ptr.as_ptr().wrapping_add(from), len) };
    found.iter().position(|&byte| byte != 0).map(|idx| from + idx)
}

/// A step of the generator splitmix64 (Steele, Lea and Flood, 2014).
pub(crate) fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
