//! Rules that round sizes up.

use core::alloc::Layout;
use core::marker::PhantomData;

use crate::cache::SizeClasses;

/// A rule that rounds the sizes of requests up, so that only some sizes occur: quanta.
///
/// Ready ones are [`Multiples`], [`PowersOfTwo`], [`ToClasses`] and [`Percent`].
///
/// # Write your own in three steps
/// 1. A type without fields.
/// 2. `unsafe impl Round`, keeping Q1 to Q3.
/// 3. Hand it to a [`Quantize`](super::Quantize).
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::combine::{Quantize, Round};
/// use heapwright::heap::{Heap, NoHeap};
///
/// // 1. small or a page
/// struct SmallOrPage;
///
/// // 2. SAFETY: Q1, Q3: as one sees. Q2: 64 for all up to that, 4096 for all above and up to that, and larger sizes stay as they are.
/// unsafe impl Round for SmallOrPage {
///     fn round(layout: Layout) -> usize {
///         match layout.size() {
///             0..=64 => 64,
///             65..=4096 => 4096,
///             large => large,
///         }
///     }
/// }
///
/// // 3. use it
/// let heap = Quantize::<SmallOrPage, _>::new(NoHeap);
/// assert_eq!(heap.good_size(Layout::new::<[u8; 65]>()), 4096);
/// ```
///
/// # Safety
/// An implementation keeps these:
/// - **Q1** (pure) the result depends on nothing but the argument; the function changes nothing, and uses no heap.
/// - **Q2** (quanta) the result is no less than the layout's size, and every size from there to the result, at the same alignment, has the same
///   result. So a block may be freed with any of these sizes.
/// - **Q3** (no unwinding) it doesn't. A size that can't be rounded, too large for any heap to meet, comes back as it is.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a rule that rounds sizes",
    label = "this type parameter takes a `Round`",
    note = "use `Multiples<N>`, `PowersOfTwo`, `ToClasses<C>` or `Percent<P>`, or implement `heapwright::combine::Round` in three steps: see its docs"
)]
pub unsafe trait Round {
    /// Evaluated where a heap is made of this rule: a place for a rule's `assert!` about its own numbers.
    const VALID: () = ();

    /// The size in bytes that is asked for instead.
    fn round(layout: Layout) -> usize;
}

/// Rounds up to multiples of `N` bytes.
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::combine::{Multiples, Round};
/// let sizes = [1, 47, 48, 49].map(|size| Multiples::<48>::round(Layout::array::<u8>(size).unwrap()));
/// assert_eq!(sizes, [48, 48, 48, 96]);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Multiples<const N: usize>;

// SAFETY: Q1, Q3: as one sees. Q2: from a size to the next multiple there is no other; sizes without a next one come back as they are, and all
// larger ones too.
unsafe impl<const N: usize> Round for Multiples<N> {
    const VALID: () = assert!(
        N > 1,
        "multiples of 0 are none, and of 1 all sizes: leave out the `Quantize`, or take 8 or more"
    );

    #[inline(always)]
    fn round(layout: Layout) -> usize {
        layout.size().checked_next_multiple_of(N).unwrap_or(layout.size())
    }
}

/// Rounds up to powers of two: few sizes, and up to half of a block is wasted.
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::combine::{PowersOfTwo, Round};
/// let sizes = [1, 3, 64, 65].map(|size| PowersOfTwo::round(Layout::array::<u8>(size).unwrap()));
/// assert_eq!(sizes, [1, 4, 64, 128]);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct PowersOfTwo;

// SAFETY: Q1, Q3: as one sees; a layout's size is at most `isize::MAX`, which has a power of two above it. Q2: from a size to the next power of two there is no
// other, and size zero has 1, as 1 has.
unsafe impl Round for PowersOfTwo {
    #[inline(always)]
    fn round(layout: Layout) -> usize {
        layout.size().next_power_of_two()
    }
}

/// Rounds up to the size classes `C`; sizes without a class stay as they are.
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::cache::Classes;
/// use heapwright::combine::{Round, ToClasses};
/// let sizes = [1, 65, 1000, 40_000].map(|size| ToClasses::<Classes>::round(Layout::array::<u8>(size).unwrap()));
/// assert_eq!(sizes, [8, 80, 1024, 40_000]);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ToClasses<C>(PhantomData<fn() -> C>);

// SAFETY: Q1: K2. Q2: all sizes up to that of the class have the class, and where there is none, no larger size has one (K2, K3). Q3: K5.
unsafe impl<C: SizeClasses> Round for ToClasses<C> {
    #[inline(always)]
    fn round(layout: Layout) -> usize {
        C::index(layout).map_or(layout.size(), |class| C::SIZES[class])
    }
}

/// Rounds up by at most `P` percent, to equal steps within each doubling: for blocks that grow, whose owner asks for a little more each time.
///
/// From one power of two to the next there are 2, 4, 8, .. steps, the fewest that keep the waste within `P` percent of the request.
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::combine::{Percent, Round};
/// let sizes = [100, 1000, 1025, 4097].map(|size| Percent::<25>::round(Layout::array::<u8>(size).unwrap()));
/// assert_eq!(sizes, [112, 1024, 1280, 5120], "four steps for each doubling");
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Percent<const P: usize>;

impl<const P: usize> Percent<P> {
    /// log2 of the steps per doubling.
    const STEPS_LOG: u32 = {
        let mut log = 0;
        while P > 0 && (P << log) < 100 {
            log += 1;
        }
        log
    };
}

// SAFETY: Q1, Q3: as one sees; nothing overflows, since no size is above `isize::MAX`. Q2: all sizes above one power of two and up to the next have
// the same step, a power of two that divides both. So the next multiple of it is no more than that power, and from a size to it there is no other.
unsafe impl<const P: usize> Round for Percent<P> {
    const VALID: () = assert!(P > 0 && P <= 100, "1 to 100 percent: for more, take `PowersOfTwo`");

    #[inline(always)]
    fn round(layout: Layout) -> usize {
        let Some(last) = layout.size().checked_sub(1) else { return 0 };
        let step = (1usize << last.checked_ilog2().unwrap_or(0)) >> Self::STEPS_LOG;
        let mask = step.max(1) - 1;
        (last | mask) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Classes;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    /// Q2 at every size up to some thousand and about every power of two, and what a request wastes at most, in percent of its size.
    fn quanta<R: Round>() -> usize {
        let () = R::VALID;
        let mut waste = 0;
        let small = 0..5000;
        let large = (13..isize::BITS - 1).flat_map(|log| {
            let power = 1usize << log;
            [power - 1, power, power + 1, power + power / 3]
        });
        let last = isize::MAX as usize;
        for size in small.chain(large).chain([last - 4095, last]) {
            for align in [1, 8, 64, 4096] {
                let Ok(asked) = Layout::from_size_align(size, align) else { continue };
                let quantum = R::round(asked);
                assert!(quantum >= size, "{asked:?} is rounded to {quantum}");
                for between in [size, (size + 1).min(quantum), size + (quantum - size) / 2, quantum] {
                    let Ok(between) = Layout::from_size_align(between, align) else { continue };
                    assert_eq!(R::round(between), quantum, "{asked:?}, {between:?}");
                }
                if align == 1 && (1000..1 << 20).contains(&size) && quantum < 1 << 24 {
                    waste = waste.max((quantum - size) * 100 / size);
                }
            }
        }
        waste
    }

    #[test]
    fn every_size_up_to_a_quantum_has_that_quantum() {
        assert!(quanta::<Multiples<48>>() <= 4);
        quanta::<Multiples<4096>>();
        quanta::<Multiples<{ usize::MAX }>>();
        assert!(quanta::<PowersOfTwo>() <= 100);
        assert!(quanta::<ToClasses<Classes>>() <= 15);
        assert_eq!(quanta::<Percent<25>>(), 24);
        assert_eq!(quanta::<Percent<24>>(), 12);
        assert!(quanta::<Percent<1>>() == 0);
        assert!(quanta::<Percent<100>>() > 90);
        assert!((49..=50).contains(&quanta::<Percent<50>>()));
    }

    #[test]
    fn the_quanta_are_those_of_the_rules() {
        assert_eq!(Multiples::<16>::round(layout(0, 1)), 0);
        assert_eq!(Percent::<50>::round(layout(0, 1)), 0);
        assert_eq!(Percent::<50>::round(layout(1, 1)), 1);
        assert_eq!([5, 6, 7, 8, 9].map(|size| Percent::<50>::round(layout(size, 1))), [6, 6, 8, 8, 12]);
        assert_eq!(ToClasses::<Classes>::round(layout(40, 16)), 48);
        assert_eq!(ToClasses::<Classes>::round(layout(100_000, 16)), 100_000);
    }
}
