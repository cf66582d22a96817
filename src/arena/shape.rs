//! The shape of an arena: how one region is divided into tables and granules.

use crate::check::{Checks, Switch};
use crate::mem::align_up;
use crate::sizing::{Placement, Sizing};

/// How a region of some length is divided under some sizing; a pure function of both.
///
/// ```text
///  region      base (aligned to the granule)                        origin
///  │           │                                                    │
///  ├───────────┼──────────────┬────────────────────┬──────┬─────────┼──────────────────────┬──────┐
///  │ lost: 0.. │ bits: 1 per  │ starts: 1 per      │ pad  │ bins: 1 │ granule 0, 1, 2, ..  │ lost │
///  │           │ granule      │ granule (CHECKED)  │      │ per class│ `granules` of them  │      │
///  └───────────┴──────────────┴────────────────────┴──────┴─────────┴──────────────────────┴──────┘
///              └──────────────── `tables` bytes ────────────────────┘
/// ```
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Granules that can be handed out. At most `S::LINK.granules_max()` (Z2), so an index fits 31 bits.
    pub(super) granules: u32,
    /// Bytes from base to origin; a multiple of the granule.
    pub(super) tables: u32,
    /// log2 of the granule in bytes.
    pub(super) shift: u8,
    /// log2 of the number of classes that hold one size each.
    pub(super) exact: u8,
    /// log2 of the number of classes per doubling above those.
    pub(super) steps: u8,
    /// The last class, which has all sizes that are too large for the others.
    pub(super) last: u8,
}

/// The shapes of bins, finest first: log2 of exact classes, log2 of classes per doubling, and how many doublings have classes of their own;
/// what is longer still shares the last. The first that costs at most 1/112 of the region is taken, or else the last.
const BIN_SHAPES: [(u8, u8, u8); 10] = [
    (6, 2, ALL),
    (6, 1, ALL),
    (5, 1, ALL),
    (4, 1, ALL),
    (4, 0, ALL),
    (4, 0, 2),
    (3, 0, ALL),
    (2, 0, ALL),
    (1, 0, ALL),
    (0, 0, ALL),
];

// A class above the exact ones is told by the bits below the highest.
const _: () = {
    let mut row = 0;
    while row < BIN_SHAPES.len() {
        assert!(BIN_SHAPES[row].1 <= BIN_SHAPES[row].0);
        row += 1;
    }
};

/// As many doublings as there are.
const ALL: u8 = 32;

/// The part of the region that bins may cost.
const BINS_PART: usize = 112;

/// The most classes that there are: one bit each in the state's map.
const CLASSES_MAX: usize = 128;

impl Shape {
    /// Rules Z1 to Z6 of [`Sizing`], checked when an arena type is first used.
    const fn check<S: Sizing>() {
        let word = S::LINK.bytes();
        assert!(
            S::GRANULE.is_power_of_two() && S::GRANULE_SMALL.is_power_of_two(),
            "Sizing rule Z1: GRANULE and GRANULE_SMALL must be powers of two"
        );
        assert!(
            S::GRANULE_SMALL >= word && S::GRANULE >= S::GRANULE_SMALL && S::GRANULE <= 4096,
            "Sizing rule Z1: need LINK.bytes() <= GRANULE_SMALL <= GRANULE <= 4096; take a larger granule or a narrower link"
        );
        assert!(
            S::REGION_SIZE_MAX / S::GRANULE <= S::LINK.granules_max()
                && S::REGION_SMALL_MAX / S::GRANULE_SMALL <= S::LINK.granules_max(),
            "Sizing rule Z2: the region has more granules than a link reaches; take a smaller REGION_SIZE_MAX, a larger GRANULE, or Link::Bits31"
        );
        assert!(
            S::OBJECT_SIZE_MAX > 0
                && S::OBJECT_SIZE_MAX <= S::REGION_SIZE_MAX
                && S::REGION_SIZE_MAX < isize::MAX as usize,
            "Sizing rule Z3: need 0 < OBJECT_SIZE_MAX <= REGION_SIZE_MAX < isize::MAX"
        );
        assert!(S::QUICK_SIZES <= 256, "Sizing rule Z4: QUICK_SIZES is at most 256");
        assert!(
            !Self::checked::<S>() || S::QUICK_SIZES == 0,
            "Sizing rule Z4: a kept block has no marks to check; with checks of frees set QUICK_SIZES to 0, or use Checked<..>"
        );
        assert!(S::BIN_STEPS <= 4, "Sizing rule Z5: BIN_STEPS is at most 4");
        assert!(
            <S::Checks as Checks>::RED_ZONE <= 4096,
            "Sizing rule Z6: the RED_ZONE of an arena's checks is at most 4096 bytes"
        );
        assert!(
            <S::Checks as Checks>::RED_ZONE == 0 || S::GRANULE <= 256,
            "Sizing rule Z6: one byte tells how much of a granule is a zone; take a GRANULE of at most 256, or a RED_ZONE of 0"
        );
        assert!(
            Self::checked::<S>()
                || <S::Checks as Checks>::RED_ZONE == 0
                    && !<S::Checks as Checks>::ZERO_FREED
                    && !<S::Checks as Checks>::ENCODE,
            "Sizing rule Z6: the other checks of an arena need those of frees; take `type Frees = On`"
        );
    }

    /// Whether there is a second bitmap, of starts.
    const fn checked<S: Sizing>() -> bool {
        <S::Checks as Checks>::Frees::ON
    }

    /// The granule of a region of `len` bytes.
    pub(super) const fn granule<S: Sizing>(len: usize) -> usize {
        if len <= S::REGION_SMALL_MAX { S::GRANULE_SMALL } else { S::GRANULE }
    }

    /// Divides a region of `len` bytes whose first byte is aligned to the granule.
    pub(super) const fn new<S: Sizing>(len: usize) -> Shape {
        const { Self::check::<S>() };
        let granule = Self::granule::<S>(len);
        let len = if len < S::REGION_SIZE_MAX { len } else { S::REGION_SIZE_MAX };
        let mut shape = Shape {
            granules: (len / granule) as u32,
            tables: 0,
            shift: granule.trailing_zeros() as u8,
            exact: 0,
            steps: 0,
            last: 0,
        };
        shape.choose_bins::<S>(len);
        // Fewer granules need smaller tables: go down to where both fit, then use what that left.
        loop {
            let tables = shape.tables_for::<S>(shape.granules);
            let fit = (len.saturating_sub(tables) / granule) as u32;
            if fit >= shape.granules {
                break;
            }
            shape.granules = fit;
        }
        loop {
            let more = shape.granules + 1;
            if shape.tables_for::<S>(more) + more as usize * granule > len {
                break;
            }
            shape.granules = more;
        }
        shape.tables = if shape.granules == 0 { 0 } else { shape.tables_for::<S>(shape.granules) as u32 };
        shape
    }

    /// Takes the finest bins that a region of `len` bytes affords.
    const fn choose_bins<S: Sizing>(&mut self, len: usize) {
        let mut row = 0;
        while row < BIN_SHAPES.len() {
            let (exact, steps, doublings) = BIN_SHAPES[row];
            self.exact = exact;
            self.steps = if steps as u32 > S::BIN_STEPS { S::BIN_STEPS as u8 } else { steps };
            // All classes there are, and then no more than wanted.
            self.last = u8::MAX;
            let all = self.class(self.granules);
            let wanted = (1usize << exact) + ((doublings as usize) << self.steps) - 1;
            let last = if all < wanted { all } else { wanted };
            if last < CLASSES_MAX {
                self.last = last as u8;
                if (last + 1) * Self::head_bytes::<S>() <= len / BINS_PART {
                    break;
                }
            }
            row += 1;
        }
    }

    /// Bytes of all tables for so many granules.
    const fn tables_for<S: Sizing>(&self, granules: u32) -> usize {
        let bitmaps = if Self::checked::<S>() { 2 } else { 1 };
        let bits = Self::words(granules) * 4 * bitmaps;
        let bytes = bits + self.heads_bytes::<S>(granules);
        match align_up(bytes, 1 << self.shift) {
            Some(bytes) => bytes,
            None => usize::MAX,
        }
    }

    /// 32-bit words of one bitmap over so many granules.
    pub(super) const fn words(granules: u32) -> usize {
        granules.div_ceil(32) as usize
    }

    /// Bytes of one list head.
    pub(super) const fn head_bytes<S: Sizing>() -> usize {
        S::LINK.bytes() / 2
    }

    /// Bytes of all list heads of the bins.
    pub(super) const fn heads_bytes<S: Sizing>(&self, granules: u32) -> usize {
        match S::PLACEMENT {
            Placement::BitmapRuns => 0,
            Placement::Bins if granules == 0 => 0,
            Placement::Bins => (self.class(granules) + 1) * Self::head_bytes::<S>(),
        }
    }

    /// The class of free blocks of `granules` (at least 1).
    ///
    /// Sizes up to `2^exact` have a class each; above, every doubling has `2^steps` classes, up to the last.
    #[inline]
    pub(super) const fn class(&self, granules: u32) -> usize {
        let exact = 1u32 << self.exact;
        if granules <= exact {
            return granules.saturating_sub(1) as usize;
        }
        let log = granules.ilog2();
        let doubling = (log - self.exact as u32) << self.steps;
        // Within a doubling: the bits below the highest, of which there are enough, as there are no more steps than exact bits.
        let step = (granules >> (log - self.steps as u32)) & ((1 << self.steps) - 1);
        // With as many steps as exact bits the first step above would hold `2^exact` alone, which has its exact class.
        let skip = (self.exact == self.steps) as u32;
        let class = (exact + doubling + step - skip) as usize;
        if class < self.last as usize { class } else { self.last as usize }
    }

    /// Whether all blocks of `class` have one size.
    #[inline]
    pub(super) const fn is_exact(&self, class: usize) -> bool {
        class < 1 << self.exact
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Unchecked;
    use crate::sizing::{Bounded, Checked, Link, Sizing4KiB, Sizing16MiB, Sizing128KiB};

    fn check_all_lengths<S: Sizing>(lengths: impl Iterator<Item = usize>) {
        for len in lengths {
            let shape = Shape::new::<S>(len);
            let granule = 1usize << shape.shift;
            assert!(shape.tables as usize + shape.granules as usize * granule <= len.min(S::REGION_SIZE_MAX));
            assert_eq!(shape.tables as usize % granule, 0);
            assert!(shape.granules as usize <= S::LINK.granules_max());
            if shape.granules > 0 {
                assert!(shape.class(shape.granules) < CLASSES_MAX);
                assert!(shape.tables as usize >= Shape::words(shape.granules) * 4);
            }
        }
    }

    #[test]
    fn shapes_fit_their_regions() {
        check_all_lengths::<Sizing4KiB>(0..20_000);
        check_all_lengths::<Bounded<Sizing4KiB>>(0..20_000);
        check_all_lengths::<Checked<Sizing4KiB>>(0..20_000);
        check_all_lengths::<Sizing128KiB>((0..300_000).step_by(7));
        check_all_lengths::<Sizing16MiB>((0..40 << 20).step_by(10_007));
    }

    /// How many blocks the last class can have at most.
    fn last_class_blocks<S: Sizing>(len: usize) -> u32 {
        let shape = Shape::new::<S>(len);
        let shortest =
            (1..=shape.granules).find(|&granules| shape.class(granules) == usize::from(shape.last));
        shortest.map_or(0, |shortest| shape.granules / shortest)
    }

    #[test]
    fn the_last_class_has_few_blocks() {
        // Up to here shapes have a last class for several doublings; above, it is a part of one.
        let most = (64..16_000).map(|len| {
            last_class_blocks::<Bounded<Sizing4KiB>>(len)
                .max(last_class_blocks::<Bounded<Sizing128KiB>>(len))
                .max(last_class_blocks::<Bounded<Sizing16MiB>>(len))
        });
        assert_eq!(most.max(), Some(39));
        assert!(last_class_blocks::<Bounded<Sizing128KiB>>(128 << 10) <= 2);
        assert!(last_class_blocks::<Bounded<Sizing16MiB>>(16 << 20) <= 2);
    }

    #[test]
    fn classes_rise_with_size_and_are_dense() {
        for len in [64, 4096, 128 << 10, 16 << 20] {
            let shape = Shape::new::<Sizing16MiB>(len);
            let mut last = 0;
            for granules in 1..=shape.granules.min(100_000) {
                let class = shape.class(granules);
                assert!(class == last || class == last + 1, "{len} {granules}: {last} then {class}");
                assert!(shape.is_exact(class) == (granules <= 1 << shape.exact));
                last = class;
            }
        }
    }

    /// Regions of up to 1 GiB, and classes as fine as is said.
    struct Steps<const STEPS: u32>;

    impl<const STEPS: u32> Sizing for Steps<STEPS> {
        type Checks = Unchecked;
        const GRANULE: usize = 8;
        const LINK: Link = Link::Bits31;
        const OBJECT_SIZE_MAX: usize = 1 << 20;
        const REGION_SIZE_MAX: usize = 1 << 30;
        const BIN_STEPS: u32 = STEPS;
    }

    #[test]
    fn short_regions_have_small_granules() {
        let granule = Shape::granule::<Sizing128KiB>;
        assert_eq!([1, 64 << 10, (64 << 10) + 1, 128 << 10].map(granule), [4, 4, 8, 8]);
    }

    #[test]
    fn classes_are_no_finer_than_is_wanted() {
        for len in [64 << 10, 1 << 20, 16 << 20] {
            let steps =
                [Shape::new::<Steps<0>>(len), Shape::new::<Steps<1>>(len), Shape::new::<Steps<2>>(len)];
            assert_eq!(steps.map(|shape| shape.steps), [0, 1, 2]);
            assert_eq!(Shape::new::<Steps<4>>(len).steps, 2, "no finer than the finest there are");
        }
    }

    /// The shapes of bins, by the numbers that the sizings' documentation leads to.
    #[test]
    fn bins_are_the_finest_that_a_region_affords() {
        fn bins<S: Sizing>(len: usize) -> (u8, u8, u8) {
            let shape = Shape::new::<S>(len);
            (shape.exact, shape.steps, shape.last)
        }
        // 36 bytes for 18 classes are 1/112 of 4 KiB to the byte, and the bits take 124 of the rest.
        assert_eq!(bins::<Bounded<Sizing4KiB>>(4096), (4, 0, 17));
        assert_eq!(Shape::new::<Bounded<Sizing4KiB>>(4096).tables, 160);
        assert_eq!(bins::<Sizing128KiB>(64 << 10), (6, 2, 96));
        assert_eq!(bins::<Sizing16MiB>(16 << 20), (6, 2, 124));
        // There are 128 classes at most.
        assert_eq!(bins::<Sizing16MiB>((32 << 20) - 8), (6, 2, 127));
        assert_eq!(bins::<Sizing16MiB>(32 << 20), (6, 1, 96));
        for len in (1..=32).map(|part| part << 25) {
            let shape = Shape::new::<Steps<2>>(len);
            assert!(shape.class(shape.granules) < 128 && shape.last < 128, "{len}");
        }
        fn cost<S: Sizing>(lengths: impl Iterator<Item = usize>) {
            for len in lengths {
                let shape = Shape::new::<S>(len);
                let bytes = shape.heads_bytes::<S>(shape.granules);
                assert!(bytes <= len / 112 || shape.exact == 0, "{bytes} bytes of {len} for bins");
            }
        }
        cost::<Bounded<Sizing4KiB>>((64..12 << 10).step_by(4));
        cost::<Bounded<Sizing128KiB>>((64..256 << 10).step_by(100));
        cost::<Sizing16MiB>((64..256 << 10).step_by(104));
    }
}
