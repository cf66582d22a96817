//! What live blocks are filled with: bytes that depend on the block's number, so that a lost, moved or overwritten byte shows.

use std::ptr::NonNull;
use std::sync::OnceLock;
use std::vec::Vec;

/// Block `id` reads the table from `id * STRIDE % PERIOD` on; a prime, so that neighbours in number differ everywhere.
const PERIOD: usize = 8191;
const STRIDE: usize = 61;

/// Of a block that is longer than twice this, so many bytes at each end are looked at.
const EDGE: usize = 32 << 10;

/// A step of the generator splitmix64 (Steele, Lea and Flood, 2014).
pub(super) fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Two periods of random bytes: filling and comparing are a `memcpy` and a `memcmp`, fast without optimisation too.
fn table() -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut state = 0u64;
        let period: Vec<u8> =
            (0..PERIOD.div_ceil(8)).flat_map(|_| splitmix(&mut state).to_le_bytes()).collect();
        period[..PERIOD].repeat(2)
    })
}

/// The stretches of a block of `len` bytes that are written and compared, in pieces that the table has: where each starts, and its bytes.
fn pieces(id: u32, len: usize) -> impl Iterator<Item = (usize, &'static [u8])> {
    let table = table();
    let edges = if len <= 2 * EDGE { [0..len, len..len] } else { [0..EDGE, len - EDGE..len] };
    edges.into_iter().flat_map(move |edge| {
        edge.clone().step_by(PERIOD).map(move |at| {
            let start = (id as usize).wrapping_mul(STRIDE).wrapping_add(at) % PERIOD;
            (at, &table[start..start + PERIOD.min(edge.end - at)])
        })
    })
}

/// Fills a block with the bytes of block `id`.
///
/// # Safety
/// The `len` bytes from `ptr` on are a live block's, and the caller's alone.
pub(super) unsafe fn fill(ptr: NonNull<u8>, len: usize, id: u32) {
    for (at, bytes) in pieces(id, len) {
        // SAFETY: the piece lies in the block, by the caller's promise.
        let to = unsafe { ptr.add(at) };
        // SAFETY: the block is the caller's alone, and does not overlap the table.
        unsafe { to.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }
}

/// Index of the first of a block's first `upto` bytes that is not as [`fill`] left it when the block was `len` bytes long and of number
/// `id`.
///
/// # Safety
/// The `upto` bytes from `ptr` on are a live block's, initialised as far as `fill` writes, and nobody writes them now.
pub(super) unsafe fn first_difference(ptr: NonNull<u8>, len: usize, id: u32, upto: usize) -> Option<usize> {
    for (at, bytes) in pieces(id, len).filter(|(at, _)| *at < upto) {
        let bytes = &bytes[..bytes.len().min(upto - at)];
        // SAFETY: the piece lies in the block, by the caller's promise.
        let from = unsafe { ptr.add(at) };
        // SAFETY: those bytes are live, initialised and not written meanwhile: the caller's promise.
        let found = unsafe { std::slice::from_raw_parts(from.as_ptr(), bytes.len()) };
        if found != bytes {
            return found.iter().zip(bytes).position(|(a, b)| a != b).map(|idx| at + idx);
        }
    }
    None
}

/// Index of the first of the bytes `from..to` of a block that is not zero.
///
/// # Safety
/// The `to` bytes from `ptr` on are a live block's, those from `from` on are initialised, and nobody writes them now.
pub(super) unsafe fn first_nonzero(ptr: NonNull<u8>, from: usize, to: usize) -> Option<usize> {
    let len = to.saturating_sub(from);
    // SAFETY: the caller's promise; nothing is read when `from` is past `to`.
    let found = unsafe { std::slice::from_raw_parts(ptr.as_ptr().wrapping_add(from), len) };
    // Word by word where it is all zero, as it mostly is: quick without optimisation too.
    // SAFETY: any bits are a `u128`.
    let (head, words, tail) = unsafe { found.align_to::<u128>() };
    let nonzero = |byte: &u8| *byte != 0;
    if !head.iter().any(nonzero) && !tail.iter().any(nonzero) && words.iter().all(|&word| word == 0) {
        return None;
    }
    found.iter().position(nonzero).map(|idx| from + idx)
}
