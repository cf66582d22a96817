//! What bytes say.

use core::alloc::Layout;

/// Bytes, read from the front.
#[derive(Debug)]
pub struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// To be read from the first on.
    pub fn new(bytes: &'a [u8]) -> Self {
        Bytes(bytes)
    }

    /// The next, or zero at the end.
    pub fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    /// A layout, small ones more often than not; extremes are among them.
    pub fn layout(&mut self) -> Option<Layout> {
        let (kind, low, align) = (self.byte(), usize::from(self.byte()), u32::from(self.byte()));
        let align = 1usize << if align < 0xE0 { align % 5 } else { align % 17 };
        let within = usize::from(kind % 32);
        let size = match kind / 32 {
            0..=3 => low % 64,
            4 => low,
            5 => low * 8,
            6 => (within << 8) + low,
            _ if within < 4 => (isize::MAX as usize - (align - 1)).checked_sub(low)?,
            // More than any machine has; what some might have would take too long to fill.
            _ if within < 8 => isize::MAX as usize >> (low % 4),
            _ => (within << 10) + low,
        };
        Layout::from_size_align(size, align).ok()
    }
}

impl Iterator for Bytes<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }
}

/// Bytes of chance, always the same ones from the same seed.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub const fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// Fills the bytes (the generator is SplitMix64).
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}
