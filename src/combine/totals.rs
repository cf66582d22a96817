//! How many blocks and bytes there are, were at most, and have been.

use core::alloc::Layout;
use core::fmt;
#[cfg(target_has_atomic = "ptr")]
use core::sync::atomic::{AtomicUsize, Ordering};

#[cfg(not(target_has_atomic = "ptr"))]
use portable_atomic::{AtomicUsize, Ordering};

use super::counters::Counters;

/// Live blocks and bytes, the most there were, and what was asked for: counters in plain numbers.
///
/// `blocks = allocated - freed`, and the peaks are at least the present values. Numbers that only grow wrap at `usize::MAX`.
///
/// ```
/// use heapwright::combine::{Counted, Totals};
/// use heapwright::heap::NoHeap;
/// let heap = Counted::new(Totals::new(), NoHeap);
/// assert_eq!(heap.counters().blocks, 0);
/// print!("{heap}");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Live blocks.
    pub blocks: usize,
    /// The most live blocks at any time.
    pub blocks_peak: usize,
    /// Bytes of live blocks.
    pub bytes: usize,
    /// The most bytes of live blocks at any time.
    pub bytes_peak: usize,
    /// Blocks handed out.
    pub allocated: usize,
    /// Blocks taken back.
    pub freed: usize,
    /// Blocks resized where they stood.
    pub resized: usize,
    /// Blocks resized by a move.
    pub moved: usize,
    /// Requests that were refused.
    pub refused: usize,
}

impl Totals {
    /// All zero.
    #[must_use]
    pub const fn new() -> Self {
        Totals {
            blocks: 0,
            blocks_peak: 0,
            bytes: 0,
            bytes_peak: 0,
            allocated: 0,
            freed: 0,
            resized: 0,
            moved: 0,
            refused: 0,
        }
    }
}

// SAFETY: N1: arithmetic that wraps.
unsafe impl Counters for Totals {
    const NAME: &'static str = "totals";

    #[inline(always)]
    fn allocated(&mut self, _: Layout, block: Layout, count: usize) {
        self.allocated = self.allocated.wrapping_add(count);
        self.blocks = self.blocks.wrapping_add(count);
        self.blocks_peak = self.blocks_peak.max(self.blocks);
        self.bytes = self.bytes.wrapping_add(block.size().wrapping_mul(count));
        self.bytes_peak = self.bytes_peak.max(self.bytes);
    }

    #[inline(always)]
    fn freed(&mut self, block: Layout, count: usize) {
        self.freed = self.freed.wrapping_add(count);
        self.blocks = self.blocks.wrapping_sub(count);
        self.bytes = self.bytes.wrapping_sub(block.size().wrapping_mul(count));
    }

    #[inline(always)]
    fn resized(&mut self, old: Layout, new: Layout, moved: bool) {
        let times = if moved { &mut self.moved } else { &mut self.resized };
        *times = times.wrapping_add(1);
        self.bytes = self.bytes.wrapping_sub(old.size()).wrapping_add(new.size());
        self.bytes_peak = self.bytes_peak.max(self.bytes);
    }

    #[inline(always)]
    fn refused(&mut self, _: Layout) {
        self.refused = self.refused.wrapping_add(1);
    }

    fn forgotten(&mut self) {
        self.freed = self.freed.wrapping_add(self.blocks);
        (self.blocks, self.bytes) = (0, 0);
    }

    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:8}{:>14}{:>14}", "", "live", "peak")?;
        writeln!(f, "{:8}{:>14}{:>14}", "blocks", self.blocks, self.blocks_peak)?;
        writeln!(f, "{:8}{:>14}{:>14}", "bytes", self.bytes, self.bytes_peak)?;
        let Totals { allocated, freed, resized, moved, refused, .. } = self;
        writeln!(
            f,
            "allocated {allocated}, freed {freed}, resized {resized}, moved {moved}, refused {refused}"
        )
    }
}

/// [`Totals`] in a place of their own, which any thread may read while the heap is at work.
///
/// Heaps count with a reference; those that share one count together. Each number is right by itself; as they change one after the other,
/// a reader may see one operation half counted. When a heap is [`reset`](crate::heap::Reset::reset), the blocks that it has forgotten go on to
/// count as live: others may count here as well, so what this one had is not known.
///
/// ```
/// use core::mem::MaybeUninit;
/// use heapwright::arena::Arena;
/// use heapwright::combine::{AtomicTotals, Counted};
/// use heapwright::heap::{Locked, SharedHeap};
/// use heapwright::{lock::SpinLock, sizing::Sizing4KiB};
/// use std::alloc::Layout;
///
/// static TOTALS: AtomicTotals = AtomicTotals::new();
///
/// let mut memory = [MaybeUninit::uninit(); 1024];
/// let arena = Arena::<Sizing4KiB>::from_slice(&mut memory);
/// let heap: Locked<_, SpinLock> = Locked::new(Counted::new(&TOTALS, arena));
/// heap.try_alloc(Layout::new::<[u64; 4]>())?;
/// assert_eq!((TOTALS.read().blocks, TOTALS.read().bytes), (1, 32)); // takes no lock
/// # Ok::<(), heapwright::AllocError>(())
/// ```
#[derive(Debug, Default)]
pub struct AtomicTotals {
    blocks: AtomicUsize,
    blocks_peak: AtomicUsize,
    bytes: AtomicUsize,
    bytes_peak: AtomicUsize,
    allocated: AtomicUsize,
    freed: AtomicUsize,
    resized: AtomicUsize,
    moved: AtomicUsize,
    refused: AtomicUsize,
}

impl AtomicTotals {
    /// All zero.
    #[must_use]
    pub const fn new() -> Self {
        AtomicTotals {
            blocks: AtomicUsize::new(0),
            blocks_peak: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            bytes_peak: AtomicUsize::new(0),
            allocated: AtomicUsize::new(0),
            freed: AtomicUsize::new(0),
            resized: AtomicUsize::new(0),
            moved: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        }
    }

    /// The numbers as they are now.
    #[must_use]
    pub fn read(&self) -> Totals {
        // They order nothing: whoever wants two that belong together stops the heap.
        let get = |number: &AtomicUsize| number.load(Ordering::Relaxed);
        Totals {
            blocks: get(&self.blocks),
            blocks_peak: get(&self.blocks_peak),
            bytes: get(&self.bytes),
            bytes_peak: get(&self.bytes_peak),
            allocated: get(&self.allocated),
            freed: get(&self.freed),
            resized: get(&self.resized),
            moved: get(&self.moved),
            refused: get(&self.refused),
        }
    }
}

/// Adds to a number, and raises its peak if it is above; taking away is adding what wraps.
#[inline(always)]
fn add(number: &AtomicUsize, more: usize, peak: &AtomicUsize) {
    let now = number.fetch_add(more, Ordering::Relaxed).wrapping_add(more);
    // A peak is seldom passed, and the load is cheap.
    if now > peak.load(Ordering::Relaxed) {
        peak.fetch_max(now, Ordering::Relaxed);
    }
}

// SAFETY: N1: atomic additions, which wrap.
unsafe impl Counters for &AtomicTotals {
    const NAME: &'static str = "totals that any thread may read";

    #[inline(always)]
    fn allocated(&mut self, _: Layout, block: Layout, count: usize) {
        self.allocated.fetch_add(count, Ordering::Relaxed);
        add(&self.blocks, count, &self.blocks_peak);
        add(&self.bytes, block.size().wrapping_mul(count), &self.bytes_peak);
    }

    #[inline(always)]
    fn freed(&mut self, block: Layout, count: usize) {
        self.freed.fetch_add(count, Ordering::Relaxed);
        self.blocks.fetch_sub(count, Ordering::Relaxed);
        self.bytes.fetch_sub(block.size().wrapping_mul(count), Ordering::Relaxed);
    }

    #[inline(always)]
    fn resized(&mut self, old: Layout, new: Layout, moved: bool) {
        let times = if moved { &self.moved } else { &self.resized };
        times.fetch_add(1, Ordering::Relaxed);
        add(&self.bytes, new.size().wrapping_sub(old.size()), &self.bytes_peak);
    }

    #[inline(always)]
    fn refused(&mut self, _: Layout) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.read())
    }
}
