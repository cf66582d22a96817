//! What is asked for: a random number generator and the size mixes.

use std::alloc::Layout;

/// A splitmix64 generator (Steele, Lea, Flood 2014): every peer gets the same numbers from the same seed.
#[derive(Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) const fn new(seed: u64) -> Self {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    #[inline(always)]
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is below 2³².
    #[inline(always)]
    pub(crate) const fn below(&mut self, bound: usize) -> usize {
        (((self.next() >> 32) * bound as u64) >> 32) as usize
    }
}

/// How the sizes of a mix are spread between its bounds, both included.
#[derive(Clone, Copy)]
pub(crate) enum Spread {
    /// Every size is as likely.
    Uniform,
    /// Every doubling is as likely, and every size within it; the bounds are whole doublings apart.
    Log,
}

/// What alignment goes with a size.
#[derive(Clone, Copy)]
pub(crate) enum Align {
    /// The same for every size.
    Fixed(usize),
    /// The largest power of two that divides the size, but at most 16, as in a type without padding.
    Natural,
}

/// A distribution of layouts.
#[derive(Clone, Copy)]
pub(crate) struct Mix {
    pub(crate) name: &'static str,
    low: usize,
    high: usize,
    spread: Spread,
    align: Align,
}

impl Mix {
    pub(crate) const fn fixed(name: &'static str, size: usize, align: usize) -> Self {
        Mix { name, low: size, high: size, spread: Spread::Uniform, align: Align::Fixed(align) }
    }

    pub(crate) const fn new(
        name: &'static str,
        low: usize,
        high: usize,
        spread: Spread,
        align: Align,
    ) -> Self {
        Mix { name, low, high, spread, align }
    }

    /// The next layout.
    pub(crate) fn draw(&self, rng: &mut Rng) -> Layout {
        let size = match self.spread {
            Spread::Uniform => self.low + rng.below(self.high - self.low + 1),
            Spread::Log => {
                let doublings = ((self.high + 1) / self.low).ilog2() as usize;
                let low = self.low << rng.below(doublings);
                low + rng.below(low)
            }
        };
        let align = match self.align {
            Align::Fixed(align) => align,
            Align::Natural => 1 << size.trailing_zeros().min(4),
        };
        layout(size, align)
    }

    /// The mean size, of many draws.
    pub(crate) fn mean(&self) -> f64 {
        let mut rng = Rng::new(1);
        (0..4096).map(|_| self.draw(&mut rng).size() as f64).sum::<f64>() / 4096.0
    }
}

/// A layout of numbers that are known to be right.
#[inline(always)]
pub(crate) const fn layout(size: usize, align: usize) -> Layout {
    match Layout::from_size_align(size, align) {
        Ok(layout) => layout,
        Err(_) => panic!("a mix asks for a size and an alignment that make no layout"),
    }
}

pub(crate) const FIXED_8: Mix = Mix::fixed("8 B", 8, 8);
pub(crate) const FIXED_24: Mix = Mix::fixed("24 B", 24, 8);
/// Odd little things: strings, small vectors.
pub(crate) const SMALL: Mix = Mix::new("1..=64", 1, 64, Spread::Uniform, Align::Fixed(1));
/// The mix that stands for ordinary programs.
pub(crate) const MIXED: Mix = Mix::new("4..=255 log", 4, 255, Spread::Log, Align::Fixed(8));
