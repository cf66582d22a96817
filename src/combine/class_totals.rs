//! How many blocks each size class has.

use core::alloc::Layout;
use core::fmt;

use super::counters::Counters;
use crate::cache::{ClassArray, SizeClasses};

/// Blocks by size class: how many live, how many at most, and how many were handed out.
///
/// Choose it to see where a program's memory is, or whether the classes `S` suit it. The heap may be any; over one of the same classes the
/// numbers are those of its caches. What no class is large enough for is counted together. The cost is a look-up of the class and three
/// additions.
///
/// ```
/// use heapwright::cache::Classes;
/// use heapwright::combine::{Counted, ClassTotals};
/// use heapwright::heap::Heap;
/// use heapwright::source::{FromGlobalAlloc, SourceHeap};
/// use std::alloc::{Layout, System};
///
/// let mut heap = Counted::new(ClassTotals::<Classes>::new(), SourceHeap::new(FromGlobalAlloc::new(&System)));
/// let layout = Layout::new::<[u64; 5]>();
/// let block = heap.alloc(layout)?.cast();
/// assert_eq!(heap.counters().class(layout).live, 1);
/// println!("{heap}");
/// // SAFETY: the block is live, and its layout this one.
/// unsafe { heap.dealloc(block, layout) };
/// let class = heap.counters().class(layout);
/// assert_eq!((class.live, class.peak, class.allocated), (0, 1, 1));
/// # Ok::<(), heapwright::AllocError>(())
/// ```
pub struct ClassTotals<S: SizeClasses> {
    classes: S::Array<ClassCount>,
    /// Blocks that have no class.
    larger: ClassCount,
}

/// The blocks of one class.
///
/// ```
/// use heapwright::cache::Classes;
/// use heapwright::combine::{ClassCount, ClassTotals};
/// let counters = ClassTotals::<Classes>::new();
/// assert_eq!(counters.larger(), ClassCount::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassCount {
    /// Live blocks.
    pub live: usize,
    /// The most live blocks at any time.
    pub peak: usize,
    /// Blocks handed out, or resized to this class from another.
    pub allocated: usize,
}

impl ClassCount {
    const ZERO: ClassCount = ClassCount { live: 0, peak: 0, allocated: 0 };
}

impl<S: SizeClasses> ClassTotals<S> {
    /// All zero.
    #[must_use]
    pub const fn new() -> Self {
        let mut classes = ClassArray::<S, _>::new();
        while classes.len() < S::COUNT {
            classes.push(ClassCount::ZERO);
        }
        ClassTotals { classes: classes.finish(), larger: ClassCount::ZERO }
    }

    /// The blocks of the class that `layout` has, or those without a class if it has none.
    #[must_use]
    pub fn class(&self, layout: Layout) -> ClassCount {
        S::index(layout).and_then(|idx| self.classes().get(idx)).copied().unwrap_or(self.larger)
    }

    /// The blocks of all classes, in the order of [`SizeClasses::SIZES`].
    #[must_use]
    pub fn classes(&self) -> &[ClassCount] {
        self.classes.as_ref()
    }

    /// The blocks without a class.
    #[must_use]
    pub const fn larger(&self) -> ClassCount {
        self.larger
    }

    #[inline(always)]
    fn class_mut(&mut self, layout: Layout) -> &mut ClassCount {
        match S::index(layout).and_then(|idx| self.classes.as_mut().get_mut(idx)) {
            Some(class) => class,
            None => &mut self.larger,
        }
    }
}

impl<S: SizeClasses> Default for ClassTotals<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: SizeClasses> fmt::Debug for ClassTotals<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClassTotals").field("classes", &self.classes()).field("larger", &self.larger).finish()
    }
}

// SAFETY: N1: a class is found without unwinding (K2, K5), and arithmetic wraps.
unsafe impl<S: SizeClasses> Counters for ClassTotals<S> {
    const NAME: &'static str = "size class";

    #[inline(always)]
    fn allocated(&mut self, _: Layout, block: Layout, count: usize) {
        let class = self.class_mut(block);
        class.live = class.live.wrapping_add(count);
        class.peak = class.peak.max(class.live);
        class.allocated = class.allocated.wrapping_add(count);
    }

    #[inline(always)]
    fn freed(&mut self, block: Layout, count: usize) {
        let class = self.class_mut(block);
        class.live = class.live.wrapping_sub(count);
    }

    #[inline(always)]
    fn resized(&mut self, old: Layout, new: Layout, _: bool) {
        if S::index(old) != S::index(new) {
            self.freed(old, 1);
            self.allocated(new, new, 1);
        }
    }

    fn forgotten(&mut self) {
        for class in self.classes.as_mut().iter_mut().chain([&mut self.larger]) {
            class.live = 0;
        }
    }

    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A line for each class that had a block.
impl<S: SizeClasses> fmt::Display for ClassTotals<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>14}{:>12}{:>12}{:>14}", "class", "live", "peak", "allocated")?;
        let used = |class: &&ClassCount| class.allocated > 0;
        for (size, class) in S::SIZES.iter().zip(self.classes()).filter(|(_, class)| used(class)) {
            writeln!(f, "{size:>8} bytes{:>12}{:>12}{:>14}", class.live, class.peak, class.allocated)?;
        }
        if used(&&self.larger) {
            let ClassCount { live, peak, allocated } = self.larger;
            writeln!(f, "{:>14}{live:>12}{peak:>12}{allocated:>14}", "larger")?;
        }
        Ok(())
    }
}
