//! A heap that fails on purpose.

use core::alloc::Layout;
use core::fmt;

use super::around::{Around, Within, heap_around};
use crate::AllocError;
use crate::describe::{Cost, Describe, Tree};
use crate::heap::Heap;

/// Which requests a [`Refusing`] heap refuses.
///
/// ```
/// use heapwright::combine::{Refusal, Refusing};
/// use heapwright::heap::Heap;
/// use heapwright::source::{FromGlobalAlloc, SourceHeap};
/// use std::alloc::{Layout, System};
///
/// /// Refuses what is larger.
/// struct Above(usize);
///
/// // SAFETY: a comparison neither unwinds nor uses a heap.
/// unsafe impl Refusal for Above {
///     fn refuses(&mut self, _: u64, layout: Layout) -> bool {
///         layout.size() > self.0
///     }
/// }
///
/// let mut heap = Refusing::new(Above(100), SourceHeap::new(FromGlobalAlloc::new(&System)));
/// assert!(heap.alloc(Layout::new::<[u8; 101]>()).is_err());
/// assert_eq!((heap.requests(), heap.refusals()), (1, 1));
/// ```
///
/// # Safety
/// `refuses` neither unwinds nor uses a heap.
pub unsafe trait Refusal {
    /// What a description of the heap calls it.
    const NAME: &'static str = "by a rule of its user";

    /// Whether request number `number`, counted from zero, is refused. Asked once for each request, in order.
    fn refuses(&mut self, number: u64, layout: Layout) -> bool;
}

/// A heap that refuses the requests that a rule picks: for tests that memory running out does no harm.
///
/// [`FailNth`] and [`FailRandom`] have the rules that tests need most; [`Refusal`] is for others. A request is an alloc, each block of a batch
/// up to the first that is refused, and any resize, in place or not, larger or smaller: each of them may fail. Frees never fail.
///
/// The cost is a call of the rule and an addition for each request; two counters and the rule in bytes.
#[derive(Debug)]
pub struct Refusing<W: Refusal, P: Heap> {
    rule: W,
    requests: u64,
    refusals: u64,
    heap: P,
}

/// A heap that refuses the n-th request, or all from the n-th on.
///
/// A test runs its work once with [`never`](FailNth::never) to learn how many requests there are, then once with each of them failing,
/// alone ([`nth`](FailNth::nth)) or with all after it ([`after`](FailNth::after)).
///
/// ```
/// use heapwright::AllocError;
/// use heapwright::combine::FailNth;
/// use heapwright::heap::Heap;
/// use heapwright::source::{FromGlobalAlloc, SourceHeap};
/// use std::alloc::{Layout, System};
///
/// fn work(heap: &mut impl Heap) -> Result<(), AllocError> {
///     let (short, long) = (Layout::new::<[u8; 10]>(), Layout::new::<[u8; 20]>());
///     let block = heap.alloc(short)?.cast();
///     // SAFETY: the block is live, and its layout `short`.
///     let (block, layout) = match unsafe { heap.resize(block, short, long) } {
///         Ok(block) => (block.cast(), long),
///         Err(AllocError) => (block, short),
///     };
///     // SAFETY: the block is live, and this its layout.
///     unsafe { heap.dealloc(block, layout) };
///     if layout == long { Ok(()) } else { Err(AllocError) }
/// }
///
/// let heap = || SourceHeap::new(FromGlobalAlloc::new(&System));
/// let mut whole = FailNth::never(heap());
/// work(&mut whole)?;
/// for n in 0..whole.requests() {
///     assert!(work(&mut FailNth::nth(heap(), n)).is_err());
///     assert!(work(&mut FailNth::after(heap(), n)).is_err());
/// }
/// # Ok::<(), AllocError>(())
/// ```
///
/// [`source::Failing`](crate::source::Failing) does the same for a source. The idea: Zig's `FailingAllocator`.
pub type FailNth<P> = Refusing<Nth, P>;

/// A heap that refuses requests at random, the same ones each time it runs with the same seed.
///
/// ```
/// use heapwright::combine::FailRandom;
/// use heapwright::heap::Heap;
/// use heapwright::source::{FromGlobalAlloc, SourceHeap};
/// use std::alloc::{Layout, System};
///
/// let run = |seed| {
///     let mut heap = FailRandom::new_seeded(SourceHeap::new(FromGlobalAlloc::new(&System)), seed, 100); // one of ten
///     let layout = Layout::new::<u64>();
///     [(); 50].map(|()| {
///         let Ok(block) = heap.alloc(layout) else { return false };
///         // SAFETY: the block is live, and its layout this one.
///         unsafe { heap.dealloc(block.cast(), layout) };
///         true
///     })
/// };
/// assert_eq!(run(1), run(1));
/// assert_ne!(run(1), run(2));
/// ```
pub type FailRandom<P> = Refusing<Random, P>;

/// The rule of [`FailNth`]: requests from one number to another are refused.
///
/// ```
/// use heapwright::combine::{Nth, Refusal};
/// use std::alloc::Layout;
/// let layout = Layout::new::<u8>();
/// assert_eq!([2, 3, 5, 6].map(|n| Nth { first: 3, last: 5 }.refuses(n, layout)), [false, true, true, false]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nth {
    /// The first request that is refused, counted from zero.
    pub first: u64,
    /// The last one.
    pub last: u64,
}

// SAFETY: two comparisons.
unsafe impl Refusal for Nth {
    const NAME: &'static str = "by number";

    #[inline]
    fn refuses(&mut self, number: u64, _: Layout) -> bool {
        self.first <= number && number <= self.last
    }
}

/// The rule of [`FailRandom`]: a share of all requests, picked by a sequence of numbers that looks random (SplitMix64, by Guy Steele, Doug Lea
/// and Christine Flood).
///
/// ```
/// use heapwright::combine::{Random, Refusal};
/// use std::alloc::Layout;
/// let layout = Layout::new::<u8>();
/// assert!((0..100).all(|n| !Random::new(7, 0).refuses(n, layout) && Random::new(7, 1000).refuses(n, layout)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Random {
    state: u64,
    per_mille: u32,
}

impl Random {
    /// Of 1,000 requests about `per_mille` are refused: none with 0, all with 1,000 or more.
    #[must_use]
    pub const fn new(seed: u64, per_mille: u32) -> Self {
        Random { state: seed, per_mille }
    }
}

// SAFETY: arithmetic that wraps.
unsafe impl Refusal for Random {
    const NAME: &'static str = "at random";

    #[inline]
    fn refuses(&mut self, _: u64, _: Layout) -> bool {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // The upper half, scaled to 0..1000.
        let number = ((mixed >> 32) * 1000) >> 32;
        number < u64::from(self.per_mille)
    }
}

impl<P: Heap> FailNth<P> {
    /// Refuses no request, but counts them.
    #[must_use]
    pub const fn never(heap: P) -> Self {
        Self::new(Nth { first: u64::MAX, last: 0 }, heap)
    }

    /// Refuses request number `n`, counted from zero, and no other.
    #[must_use]
    pub const fn nth(heap: P, n: u64) -> Self {
        Self::new(Nth { first: n, last: n }, heap)
    }

    /// Lets `n` requests through, and refuses all after them.
    #[must_use]
    pub const fn after(heap: P, n: u64) -> Self {
        Self::new(Nth { first: n, last: u64::MAX }, heap)
    }
}

impl<P: Heap> FailRandom<P> {
    /// Refuses about `per_mille` of 1,000 requests, picked by `seed`.
    #[must_use]
    pub const fn new_seeded(heap: P, seed: u64, per_mille: u32) -> Self {
        Self::new(Random::new(seed, per_mille), heap)
    }
}

impl<W: Refusal, P: Heap> Refusing<W, P> {
    /// `heap`, but for the requests that `rule` refuses.
    #[must_use]
    pub const fn new(rule: W, heap: P) -> Self {
        Refusing { rule, requests: 0, refusals: 0, heap }
    }

    /// Requests so far, refused ones included.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// Requests that the rule refused. Those that the heap within refused are none of them.
    #[must_use]
    pub const fn refusals(&self) -> u64 {
        self.refusals
    }

    /// Goes by another rule from here on; requests are counted on.
    pub fn set_rule(&mut self, rule: W) {
        self.rule = rule;
    }

    /// The heap within.
    #[must_use]
    pub const fn heap(&self) -> &P {
        &self.heap
    }

    /// The heap, refusing no more by a rule.
    #[must_use]
    pub fn into_inner(self) -> P {
        self.heap
    }
}

impl<W: Refusal, P: Heap> Within for Refusing<W, P> {
    type Heap = P;

    #[inline(always)]
    fn heap(&self) -> &P {
        &self.heap
    }

    #[inline(always)]
    fn heap_mut(&mut self) -> &mut P {
        &mut self.heap
    }
}

// SAFETY: W1: blocks are left as they are. W2: a rule neither unwinds nor uses a heap; `admit` counts, so nothing is at hand. W3: none is kept.
unsafe impl<W: Refusal, P: Heap> Around for Refusing<W, P> {
    type Note = ();

    const AT_HAND: bool = false;

    #[inline]
    fn admit(&mut self, layout: Layout) -> Result<(), AllocError> {
        let number = self.requests;
        self.requests = number.wrapping_add(1);
        if self.rule.refuses(number, layout) {
            self.refusals = self.refusals.wrapping_add(1);
            return Err(AllocError);
        }
        Ok(())
    }

    fn admit_batch(&mut self, layout: Layout, count: usize) -> usize {
        (0..count).find(|_| self.admit(layout).is_err()).unwrap_or(count)
    }

    #[inline]
    fn admit_resize(&mut self, _: Layout, new: Layout) -> Result<((), ()), AllocError> {
        self.admit(new)?;
        Ok(((), ()))
    }
}

heap_around!([W: Refusal, P: Heap] Refusing<W, P>, P);

impl<W: Refusal, P: Heap + Describe> Describe for Refusing<W, P> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let cost = Cost::state_of::<(W, u64, u64)>();
        tree.part(format_args!("Refusing, {}", W::NAME), cost, &[("heap", P::describe)])
    }
}

#[cfg(test)]
mod tests {
    use core::mem::MaybeUninit;

    use super::*;
    use crate::heap::NoHeap;
    use crate::source::{SourceHeap, StaticBuffer};

    static_assertions::assert_impl_all!(FailNth<NoHeap>: Send, Sync);
    static_assertions::const_assert_eq!(size_of::<FailNth<NoHeap>>(), 32);
    #[cfg(target_pointer_width = "64")]
    static_assertions::const_assert_eq!(size_of::<FailRandom<NoHeap>>(), 32);

    /// Which of five requests get through.
    fn pattern<W: Refusal, P: Heap>(mut heap: Refusing<W, P>) -> [bool; 5] {
        let passed = [(); 5].map(|()| {
            let layout = Layout::new::<u8>();
            let Ok(block) = heap.alloc(layout) else { return false };
            // SAFETY: the block is live, and its layout this one.
            unsafe { heap.dealloc(block.cast(), layout) };
            true
        });
        assert_eq!(heap.requests(), 5);
        assert_eq!(heap.refusals(), passed.iter().filter(|passed| !**passed).count() as u64);
        passed
    }

    #[test]
    fn fails_when_told() {
        let ram = StaticBuffer::<8>::new();
        let heap = || SourceHeap::new(&ram);
        assert_eq!(pattern(FailNth::never(heap())), [true; 5]);
        assert_eq!(pattern(FailNth::nth(heap(), 0)), [false, true, true, true, true]);
        assert_eq!(pattern(FailNth::nth(heap(), 2)), [true, true, false, true, true]);
        assert_eq!(pattern(FailNth::after(heap(), 2)), [true, true, false, false, false]);
        assert_eq!(pattern(FailNth::after(heap(), 0)), [false; 5]);
        assert_eq!(pattern(FailRandom::new_seeded(heap(), 0, 0)), [true; 5]);
        assert_eq!(pattern(FailRandom::new_seeded(heap(), 0, 1000)), [false; 5]);
    }

    /// A share of what comes, whatever the seed.
    #[test]
    fn random_refusals_have_their_share() {
        for seed in [0, 1, 77, u64::MAX] {
            let mut rule = Random::new(seed, 250);
            let refused = (0..10_000).filter(|&n| rule.refuses(n, Layout::new::<u8>())).count();
            assert!((2300..2700).contains(&refused), "{refused} of 10000 with seed {seed}");
        }
    }

    #[test]
    fn a_batch_ends_where_one_is_refused() {
        let mut memory = [MaybeUninit::uninit(); 100];
        let mut heap = FailNth::nth(SourceHeap::new(crate::source::Buffer::from_slice(&mut memory)), 3);
        let mut out = [MaybeUninit::uninit(); 5];
        assert_eq!(heap.alloc_batch(Layout::new::<u8>(), &mut out), 3);
        assert_eq!((heap.requests(), heap.refusals()), (4, 1));
        assert_eq!(heap.alloc_batch(Layout::new::<u8>(), &mut out), 5);
    }
}
