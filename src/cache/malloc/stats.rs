//! How much there is of what.

use core::fmt;

use crate::cache::chunk_heap::ChunkStats;
use crate::cache::size_classes::SizeClasses;

/// The objects of one class of a [`Malloc`](super::Malloc).
///
/// ```
/// use heapwright::cache::ClassStats;
/// assert_eq!(ClassStats::default().live, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassStats {
    /// Bytes of an object.
    pub size: usize,
    /// Live objects. What has been lost to a forked child counts as live there.
    pub live: usize,
    /// Free objects that threads have at hand.
    pub at_hand: usize,
    /// Free objects in depots.
    pub in_depots: usize,
    /// Slabs.
    pub slabs: usize,
}

/// How much a [`Malloc`](super::Malloc) holds, and where it is. Prints as a table.
///
/// ```
/// # #[cfg(feature = "os")] {
/// use heapwright::preset::SlabMalloc;
/// use std::alloc::{GlobalAlloc, Layout};
/// let layout = Layout::new::<[u64; 100]>();
/// // SAFETY: the block is freed once, with its layout.
/// unsafe {
///     let block = SlabMalloc.alloc(layout);
///     let stats = SlabMalloc.stats();
///     println!("{stats}");
///     assert_eq!(stats.bytes_live, 832);
///     SlabMalloc.dealloc(block, layout);
/// }
/// # }
/// ```
#[non_exhaustive]
pub struct MallocStats<C: SizeClasses> {
    /// Bytes of live objects and blocks, with what they were rounded up by.
    pub bytes_live: usize,
    /// Bytes of free objects that threads have at hand.
    pub bytes_at_hand: usize,
    /// Those of the thread that has the most.
    pub bytes_at_hand_most: usize,
    /// Bytes of free objects in depots.
    pub bytes_in_depots: usize,
    /// Bytes of slabs.
    pub bytes_in_slabs: usize,
    /// Threads that have objects at hand.
    pub threads: usize,
    /// Bytes of the memory in which threads have their stacks.
    pub bytes_of_threads: usize,
    /// The stock of chunks: what is mapped, and what is free but kept.
    pub chunks: ChunkStats,
    classes: C::Array<ClassStats>,
}

impl<C: SizeClasses> MallocStats<C> {
    pub(super) fn new(
        classes: C::Array<ClassStats>,
        chunks: ChunkStats,
        threads: usize,
        bytes_of_threads: usize,
        slab_size: usize,
    ) -> Self {
        let mut stats = MallocStats::<C> {
            bytes_live: 0,
            bytes_at_hand: 0,
            bytes_at_hand_most: 0,
            bytes_in_depots: 0,
            bytes_in_slabs: 0,
            threads,
            bytes_of_threads,
            chunks,
            classes,
        };
        for class in stats.classes.as_ref() {
            stats.bytes_live += class.live * class.size;
            stats.bytes_at_hand += class.at_hand * class.size;
            stats.bytes_in_depots += class.in_depots * class.size;
            stats.bytes_in_slabs += class.slabs * slab_size;
        }
        let runs = (chunks.chunks_used * slab_size).saturating_sub(stats.bytes_in_slabs);
        stats.bytes_live += (runs + chunks.large_bytes).saturating_sub(bytes_of_threads);
        stats
    }

    /// The classes, smallest first.
    #[must_use]
    pub fn classes(&self) -> &[ClassStats] {
        self.classes.as_ref()
    }
}

/// Bytes, as people read them: in columns, or (`{:#}`) in a sentence.
struct Bytes(usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = match self.0 {
            0..=9999 => (self.0, "B"),
            10_000..=10_239_999 => (self.0 >> 10, "KiB"),
            _ => (self.0 >> 20, "MiB"),
        };
        if f.alternate() { write!(f, "{number} {unit}") } else { write!(f, "{number:>7} {unit:<3}") }
    }
}

impl<C: SizeClasses> fmt::Display for MallocStats<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "live         {}", Bytes(self.bytes_live))?;
        writeln!(
            f,
            "at hand      {}  of {} threads, at most {:#} each",
            Bytes(self.bytes_at_hand),
            self.threads,
            Bytes(self.bytes_at_hand_most)
        )?;
        writeln!(f, "in depots    {}", Bytes(self.bytes_in_depots))?;
        writeln!(f, "in slabs     {}", Bytes(self.bytes_in_slabs))?;
        writeln!(f, "free, kept   {}", Bytes(self.chunks.bytes_kept))?;
        let (regions, blocks) = (self.chunks.regions, self.chunks.large_blocks);
        writeln!(
            f,
            "mapped       {}  in {regions} regions and {blocks} large blocks",
            Bytes(self.chunks.bytes_mapped)
        )?;
        writeln!(f, "\n  object        live     at hand   in depots       slabs")?;
        for class in self.classes().iter().filter(|class| class.slabs > 0) {
            let ClassStats { size, live, at_hand, in_depots, slabs } = class;
            writeln!(f, "{size:>6} B {live:>11} {at_hand:>11} {in_depots:>11} {slabs:>11}")?;
        }
        Ok(())
    }
}

impl<C: SizeClasses> fmt::Debug for MallocStats<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MallocStats")
            .field("bytes_live", &self.bytes_live)
            .field("bytes_at_hand", &self.bytes_at_hand)
            .field("bytes_at_hand_most", &self.bytes_at_hand_most)
            .field("bytes_in_depots", &self.bytes_in_depots)
            .field("bytes_in_slabs", &self.bytes_in_slabs)
            .field("threads", &self.threads)
            .field("chunks", &self.chunks)
            .finish_non_exhaustive()
    }
}
