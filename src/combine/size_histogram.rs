//! How large requests are, by powers of two.

use core::alloc::Layout;
use core::fmt;

use super::counters::Counters;

/// Requests met, by their size as it was asked for: one number for each power of two. Resizes are none.
///
/// Choose it to see which sizes a program asks for, before choosing size classes. The cost is an addition for each request.
///
/// ```
/// use heapwright::combine::{Counted, SizeHistogram};
/// use heapwright::heap::Heap;
/// use heapwright::source::{FromGlobalAlloc, SourceHeap};
/// use std::alloc::{Layout, System};
///
/// let mut heap = Counted::new(SizeHistogram::new(), SourceHeap::new(FromGlobalAlloc::new(&System)));
/// let layout = Layout::new::<[u8; 24]>();
/// let block = heap.alloc(layout)?.cast();
/// // SAFETY: the block is live, and its layout this one.
/// unsafe { heap.dealloc(block, layout) };
/// assert_eq!((heap.counters().count(16), heap.counters().count(31), heap.counters().count(32)), (1, 1, 0));
/// assert_eq!(heap.to_string().split_whitespace().collect::<Vec<_>>()[..5], ["16", "to", "31", "bytes", "1"]);
/// # Ok::<(), heapwright::AllocError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeHistogram {
    /// Requests of `1 << idx` bytes and less than twice as many.
    counts: [usize; usize::BITS as usize],
}

impl SizeHistogram {
    /// Characters of the longest bar.
    const BAR: usize = 40;

    /// All zero.
    #[must_use]
    pub const fn new() -> Self {
        SizeHistogram { counts: [0; usize::BITS as usize] }
    }

    /// Requests whose size has the same highest bit as `size`; none have size zero.
    #[must_use]
    pub fn count(&self, size: usize) -> usize {
        size.checked_ilog2().and_then(|bit| self.counts.get(bit as usize)).copied().unwrap_or(0)
    }

    /// The smallest size of each power of two that was asked for, and how often one of that many bytes to twice as many was.
    pub fn iter(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(bit, &count)| (1 << bit, count))
    }
}

impl Default for SizeHistogram {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: N1: an addition that wraps.
unsafe impl Counters for SizeHistogram {
    const NAME: &'static str = "a histogram of sizes";

    #[inline(always)]
    fn allocated(&mut self, request: Layout, _: Layout, count: usize) {
        // A request of size zero is never met.
        let number = &mut self.counts[(request.size() | 1).ilog2() as usize];
        *number = number.wrapping_add(count);
    }

    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A line for each power of two, with a bar.
impl fmt::Display for SizeHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = self.iter().map(|(_, count)| count).max().unwrap_or(1);
        for (size, count) in self.iter() {
            let bar = (count as u128 * Self::BAR as u128).div_ceil(most as u128) as usize;
            writeln!(f, "{size:>10} to {:>10} bytes {count:>12} {:#<bar$}", size | (size - 1), "")?;
        }
        Ok(())
    }
}
