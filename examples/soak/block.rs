//! Blocks, filled so that a byte that was lost, moved or overwritten shows.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::OnceLock;

use crate::random::{Random, mixed};

/// The contents of block `id` begin somewhere in a table of so many bytes, which repeats; a prime.
const PERIOD: usize = 8191;

/// Two periods of random bytes, so that filling and comparing are whole copies and comparisons.
fn table() -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut random = Random::new(0);
        let period: Vec<u8> = (0..PERIOD).map(|_| random.next() as u8).collect();
        period.repeat(2)
    })
}

/// The contents of block `id`, in pieces: where each begins, and its bytes.
fn pieces(id: u64, len: usize) -> impl Iterator<Item = (usize, &'static [u8])> {
    let start = (mixed(id) % PERIOD as u64) as usize;
    let table = table();
    (0..len).step_by(PERIOD).map(move |at| (at, &table[start..start + PERIOD.min(len - at)]))
}

/// A block of a heap, the bytes in which say whose they are.
pub(crate) struct Block {
    /// Invariant: the first of `len` bytes that are this value's alone.
    start: NonNull<u8>,
    len: usize,
    layout: Layout,
    id: u64,
}

// SAFETY: the bytes are the value's own.
unsafe impl Send for Block {}

impl Block {
    /// The block that a heap has given for `layout`, filled as number `id`.
    ///
    /// # Safety
    /// It is live, and from now on nobody else's.
    pub(crate) unsafe fn fill(given: NonNull<[u8]>, layout: Layout, id: u64) -> Self {
        let block = Block { start: given.cast(), len: given.len(), layout, id };
        for (at, bytes) in pieces(id, block.len) {
            // SAFETY: the piece lies in the block.
            let to = unsafe { block.start.add(at) };
            // SAFETY: the bytes are the block's, and the table is elsewhere.
            unsafe { to.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        }
        block
    }

    pub(crate) const fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn layout(&self) -> Layout {
        self.layout
    }

    /// A layout that the block may come back with: any size from what was asked for to what was given.
    pub(crate) fn any_layout(&self, random: &mut Random) -> Layout {
        let size = random.between(self.layout.size(), self.len);
        Layout::from_size_align(size, self.layout.align()).unwrap_or(self.layout)
    }

    /// Whether all of its bytes are as they were left.
    pub(crate) fn check(&self) -> Result<(), String> {
        // SAFETY: the invariant of `start`.
        unsafe { check(self.start, self.len, self.id) }
    }

    /// Whether the first `len` bytes from `start` on, where a resize has put them, are as they were left in this block.
    ///
    /// # Safety
    /// So many bytes are a live block's, and nobody writes them.
    pub(crate) unsafe fn check_moved(&self, start: NonNull<u8>, len: usize) -> Result<(), String> {
        // SAFETY: the caller's promise is the same.
        unsafe { check(start, len, self.id) }
    }

    /// Changes one byte: what a write that went astray would do.
    pub(crate) fn spoil(&mut self, random: &mut Random) {
        // SAFETY: the byte is the block's, whose length is not zero.
        let place = unsafe { self.start.add(random.below(self.len)) };
        // SAFETY: as above; the block was filled.
        let byte = unsafe { place.read() };
        // SAFETY: as above.
        unsafe { place.write(!byte) };
    }
}

/// Whether `len` bytes are those of block `id`.
///
/// # Safety
/// They are a live block's, were written, and nobody writes them now.
unsafe fn check(start: NonNull<u8>, len: usize, id: u64) -> Result<(), String> {
    for (at, bytes) in pieces(id, len) {
        // SAFETY: the piece lies in the block.
        let piece = unsafe { start.add(at) };
        // SAFETY: the caller's promise.
        let found = unsafe { std::slice::from_raw_parts(piece.as_ptr(), bytes.len()) };
        if found != bytes {
            let idx = found.iter().zip(bytes).position(|(found, byte)| found != byte).unwrap_or(0);
            let (found, expected) = (found[idx], bytes[idx]);
            return Err(format!(
                "byte {} of {len} at {start:?} is {found:#04x}, where {expected:#04x} was written",
                at + idx
            ));
        }
    }
    Ok(())
}

/// Whether the bytes of a block from `from` on are zero.
///
/// # Safety
/// The block is live, initialized from there on, and nobody else's.
pub(crate) unsafe fn check_zeroed(given: NonNull<[u8]>, from: usize) -> Result<(), String> {
    let from = from.min(given.len());
    // SAFETY: a place in the block, or its end.
    let start = unsafe { given.cast::<u8>().add(from) };
    // SAFETY: the caller's promise.
    let bytes = unsafe { std::slice::from_raw_parts(start.as_ptr(), given.len() - from) };
    match bytes.iter().position(|&byte| byte != 0) {
        None => Ok(()),
        Some(idx) => Err(format!(
            "byte {} of {} at {given:?} is {:#04x}, and should be zero",
            from + idx,
            given.len(),
            bytes[idx]
        )),
    }
}
