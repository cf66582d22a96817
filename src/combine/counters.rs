//! What a counted heap counts with.

use core::alloc::Layout;
use core::fmt;

/// What a [`Counted`](super::Counted) heap counts with.
///
/// A block is counted by one layout for as long as it lives, its size the good size: with that it is told of when it is handed out, resized
/// and taken back, so that what has been counted up is counted down.
///
/// # Write your own in three steps
/// 1. A type with the numbers.
/// 2. `unsafe impl Counters`, keeping N1: the methods that concern it; the others have defaults.
/// 3. Hand it to a [`Counted`](super::Counted), alone or in a tuple with others.
///
/// ```
/// use heapwright::combine::{Counted, Counters};
/// use heapwright::heap::Heap;
/// use heapwright::source::{FromGlobalAlloc, SourceHeap};
/// use std::alloc::{Layout, System};
///
/// // 1. the largest request
/// struct Largest(usize);
///
/// // 2. SAFETY: N1: a comparison.
/// unsafe impl Counters for Largest {
///     fn allocated(&mut self, request: Layout, _: Layout, _: usize) {
///         self.0 = self.0.max(request.size());
///     }
/// }
///
/// // 3. use it
/// let mut heap = Counted::new(Largest(0), SourceHeap::new(FromGlobalAlloc::new(&System)));
/// let layout = Layout::new::<[u8; 77]>();
/// let block = heap.alloc(layout)?.cast();
/// // SAFETY: the block is live, and its layout this one.
/// unsafe { heap.dealloc(block, layout) };
/// assert_eq!(heap.counters().0, 77);
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// # Safety
/// - **N1** (a leaf) no method unwinds, or uses a heap.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not count what a heap does",
    label = "this type parameter takes counters",
    note = "counters are `()`, `Totals`, `&AtomicTotals`, `ClassTotals<S>`, `SizeHistogram`, and tuples of two or three of them",
    note = "or implement `heapwright::combine::Counters` in three steps: see its documentation"
)]
pub unsafe trait Counters {
    /// Whether anything is counted. If not, nothing is computed for it.
    const COUNTS: bool = true;

    /// What a description of the heap calls it.
    const NAME: &'static str = "counters of its user";

    /// So many blocks were handed out for `request`, each counted by `block`.
    #[inline(always)]
    fn allocated(&mut self, request: Layout, block: Layout, count: usize) {
        let _ = (request, block, count);
    }

    /// So many blocks that are counted by `block` came back.
    #[inline(always)]
    fn freed(&mut self, block: Layout, count: usize) {
        let _ = (block, count);
    }

    /// A block that was counted by `old` is counted by `new` from here on.
    #[inline(always)]
    fn resized(&mut self, old: Layout, new: Layout, moved: bool) {
        let _ = (old, new, moved);
    }

    /// There was no block for this request, to alloc or to resize; a batch that came back short is one. A block that could not be resized where
    /// it stands is none.
    #[inline(always)]
    fn refused(&mut self, request: Layout) {
        let _ = request;
    }

    /// All blocks were forgotten at once.
    #[inline(always)]
    fn forgotten(&mut self) {}

    /// Writes a table of what was counted, each line with its end.
    ///
    /// # Errors
    /// Those of the formatter.
    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = f;
        Ok(())
    }
}

/// Counts nothing, in no bytes and no time.
// SAFETY: N1: nothing is done.
unsafe impl Counters for () {
    const COUNTS: bool = false;
    const NAME: &'static str = "nothing";
}

/// Counters beside each other are counters.
macro_rules! counters_of_tuple {
    ($name:literal, $($counters:ident $field:tt),+) => {
        /// Counts with each of them.
        // SAFETY: N1: that of each.
        unsafe impl<$($counters: Counters),+> Counters for ($($counters,)+) {
            const COUNTS: bool = $($counters::COUNTS)||+;
            const NAME: &'static str = $name;

            #[inline(always)]
            fn allocated(&mut self, request: Layout, block: Layout, count: usize) {
                $(self.$field.allocated(request, block, count);)+
            }

            #[inline(always)]
            fn freed(&mut self, block: Layout, count: usize) {
                $(self.$field.freed(block, count);)+
            }

            #[inline(always)]
            fn resized(&mut self, old: Layout, new: Layout, moved: bool) {
                $(self.$field.resized(old, new, moved);)+
            }

            #[inline(always)]
            fn refused(&mut self, request: Layout) {
                $(self.$field.refused(request);)+
            }

            #[inline(always)]
            fn forgotten(&mut self) {
                $(self.$field.forgotten();)+
            }

            fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $(self.$field.table(f)?;)+
                Ok(())
            }
        }
    };
}

counters_of_tuple!("two kinds of counters", A 0, B 1);
counters_of_tuple!("three kinds of counters", A 0, B 1, C 2);
