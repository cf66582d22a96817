//! Two heaps, and a rule that says by a request's layout which of them serves it.

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::fallback::move_block;
use super::row::inspect_two;
use crate::AllocError;
use crate::check::Finding;
use crate::describe::{Cost, Describe, Tree, name};
use crate::heap::{Heap, Inspect, Owns, Reset, dealloc_if_owned, refuse};
use crate::mem;

/// A rule that sends each layout to the first or to the second of two heaps.
///
/// # Write your own in three steps
/// 1. A type without fields.
/// 2. `unsafe impl Route`, keeping R1 to R3.
/// 3. Hand it to a [`SegregateBy`].
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::combine::{Route, SegregateBy};
/// use heapwright::heap::{Heap, NoHeap};
///
/// // 1. tables: what is large and aligned to a page; sizes at that alignment are large from 64 KiB on
/// struct Tables;
///
/// // 2. SAFETY: R1, R3: as one sees. R2: below 64 KiB and aligned to a page, all sizes up to 65,535 go to the second heap; everything else goes
/// // where all larger sizes of its alignment go.
/// unsafe impl Route for Tables {
///     fn first(layout: Layout) -> bool {
///         layout.align() >= 4096 && layout.size() >= 65_536
///     }
///     fn same_up_to(layout: Layout) -> usize {
///         if layout.align() >= 4096 && layout.size() < 65_536 { 65_535 } else { usize::MAX }
///     }
/// }
///
/// // 3. use it
/// let mut heap = SegregateBy::<Tables, NoHeap, NoHeap>::new(NoHeap, NoHeap);
/// assert!(heap.alloc(Layout::new::<u8>()).is_err());
/// ```
///
/// # Safety
/// An implementation keeps these:
/// - **R1** (pure) both functions depend on nothing but their argument, change nothing, and use no heap.
/// - **R2** (one side) for every size from a layout's to `same_up_to` of it, at the same alignment, both functions give what they give for that
///   layout; and `same_up_to` is no less than the layout's size. So a block may be freed with any of these sizes.
/// - **R3** (no unwinding) neither function does.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a rule that sends layouts to one of two heaps",
    label = "this type parameter takes a `Route`",
    note = "use `BySize<AT>` or `ByAlign<AT>`, or implement `heapwright::combine::Route` in three steps: see its docs"
)]
pub unsafe trait Route {
    /// Evaluated where a heap is made of this rule: a place for a rule's `assert!` about its own numbers.
    const VALID: () = ();

    /// Whether the first heap serves this layout.
    fn first(layout: Layout) -> bool;

    /// The largest size in bytes up to which, at the same alignment, the answers stay the same.
    fn same_up_to(layout: Layout) -> usize;
}

/// Sizes up to `AT` bytes to the first heap, larger ones to the second.
#[derive(Clone, Copy, Debug, Default)]
pub struct BySize<const AT: usize>;

// SAFETY: R1, R3: as one sees. R2: sizes up to `AT` are on one side, all above on the other.
unsafe impl<const AT: usize> Route for BySize<AT> {
    const VALID: () = assert!(
        AT > 0 && AT < isize::MAX as usize,
        "a limit that no request is below, or none above, leaves one heap idle: take the other one alone"
    );

    #[inline(always)]
    fn first(layout: Layout) -> bool {
        layout.size() <= AT
    }

    #[inline(always)]
    fn same_up_to(layout: Layout) -> usize {
        if layout.size() <= AT { AT } else { usize::MAX }
    }
}

/// Alignments up to `AT` bytes to the first heap, larger ones to the second.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByAlign<const AT: usize>;

// SAFETY: R1, R3: as one sees. R2: the size makes no difference.
unsafe impl<const AT: usize> Route for ByAlign<AT> {
    const VALID: () = assert!(AT.is_power_of_two(), "an alignment is a power of two: 8, 16, 64, 4096");

    #[inline(always)]
    fn first(layout: Layout) -> bool {
        layout.align() <= AT
    }

    #[inline(always)]
    fn same_up_to(_: Layout) -> usize {
        usize::MAX
    }
}

/// The heap `A` for some requests and `B` for the others, as the rule `R` says by their layout.
///
/// Choose it where requests are of kinds that different heaps serve best, and the layout tells them apart. [`Segregate`] is the one by size;
/// [`ByAlign`] sends what is aligned beyond the usual elsewhere; others are a [`Route`] of one's own. Neither heap has to know its blocks,
/// since the layout that comes back tells where they are from.
///
/// ```
/// # #[cfg(feature = "os")] {
/// use core::alloc::Layout;
/// use heapwright::combine::{ByAlign, SegregateBy};
/// use heapwright::heap::Heap;
/// use heapwright::source::{Pages, SourceHeap};
/// use heapwright::{arena::Arena, sizing::Sizing4KiB};
///
/// let mut memory = [core::mem::MaybeUninit::uninit(); 1024];
/// let words = Arena::<Sizing4KiB>::from_slice(&mut memory);
/// // What is aligned above 16 bytes gets pages of its own.
/// let mut heap = SegregateBy::<ByAlign<16>, _, _>::new(words, SourceHeap::new(Pages));
/// let layout = Layout::from_size_align(100, 4096)?;
/// let block = heap.alloc(layout)?;
/// assert!(block.len() >= 4096);
/// // SAFETY: the block is live, and its layout this one.
/// unsafe { heap.dealloc(block.cast(), layout) };
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Cost
/// No state and nothing per block; the rule's own comparison in each call, none where the layout is a constant. A block is cut to the sizes for which
/// the rule says the same, so that any size up to its length leads back to its heap. One that is resized past the rule's limit moves.
///
/// # Errors
/// A request fails when the heap that the rule names refuses it. (To try the other one, put a [`Fallback`](super::Fallback) there.)
///
/// The idea: `Segregator` of D's `std.experimental.allocator` (Andrei Alexandrescu), `HybridHeap` of Heap Layers (Berger, Zorn, McKinley), and the
/// segregators of foonathan/memory, which take a predicate as well.
pub struct SegregateBy<R: Route, A: Heap, B: Heap> {
    first: A,
    second: B,
    rule: PhantomData<fn() -> R>,
}

/// The heap `Small` for requests up to `AT` bytes, the heap `Large` for larger ones.
///
/// [`segregate!`](crate::segregate) writes nested ones. What [`SegregateBy`] says holds here.
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use core::{alloc::Layout, mem::MaybeUninit};
/// use heapwright::combine::Segregate;
/// use heapwright::heap::{Heap, Inspect};
/// use heapwright::{arena::Arena, sizing::Sizing4KiB, source::{GlobalHeap, SourceHeap}};
///
/// let mut memory = [MaybeUninit::uninit(); 1024];
/// let arena = Arena::<Sizing4KiB>::from_slice(&mut memory);
/// let mut heap = Segregate::<64, _, _>::new(arena, SourceHeap::new(GlobalHeap));
/// let (small, large) = (Layout::new::<[u8; 64]>(), Layout::new::<[u8; 65]>());
/// let blocks = (heap.alloc(small)?.cast(), heap.alloc(large)?.cast());
/// assert_eq!(heap.first().usage().objects, 1);
/// // SAFETY: the blocks are live, and the layouts their own.
/// unsafe {
///     heap.dealloc(blocks.0, small);
///     heap.dealloc(blocks.1, large);
/// }
/// # }
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// A limit that makes no sense is refused:
/// ```compile_fail,E0080
/// use heapwright::{combine::Segregate, heap::NoHeap};
/// let heap = Segregate::<0, NoHeap, NoHeap>::new(NoHeap, NoHeap); // error: a limit that no request is below
/// ```
pub type Segregate<const AT: usize, Small, Large> = SegregateBy<BySize<AT>, Small, Large>;

impl<R: Route, A: Heap, B: Heap> SegregateBy<R, A, B> {
    /// `first` for what the rule sends there, `second` for the rest.
    #[must_use]
    pub const fn new(first: A, second: B) -> Self {
        const { R::VALID };
        SegregateBy { first, second, rule: PhantomData }
    }

    /// The first heap: the one of small sizes or alignments.
    pub const fn first(&self) -> &A {
        &self.first
    }

    /// The second heap.
    pub const fn second(&self) -> &B {
        &self.second
    }

    /// Both heaps.
    #[must_use]
    pub fn into_inner(self) -> (A, B) {
        (self.first, self.second)
    }
}

/// A block cut to the sizes that lead to its heap.
#[inline(always)]
fn cut<R: Route>(
    block: Result<NonNull<[u8]>, AllocError>,
    layout: Layout,
) -> Result<NonNull<[u8]>, AllocError> {
    let block = block?;
    Ok(mem::slice(block.cast(), block.len().min(R::same_up_to(layout))))
}

// SAFETY: H1: a block is one of the heap that the rule names for its layout, cut to sizes for which the rule names the same (R2): so with any size up to
// its length it comes back to that heap, as one of the sizes that this heap gave it for. H2 to H4: those of both, and R3; `move_block`
// allocates before it frees. H5: only the two are called, and a rule that uses no heap (R1); at hand only what the one in question has at hand. H6:
// both refuse size zero. H7: up to the lesser of the heap's good size and the rule's limit, the heap says the same (H7), and the rule too (R2).
unsafe impl<R: Route, A: Heap, B: Heap> Heap for SegregateBy<R, A, B> {
    const AT_HAND: bool = A::AT_HAND || B::AT_HAND;

    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        // Cut on either way: on one the rule's limit is a constant mostly, and on the other there is none.
        if R::first(layout) {
            cut::<R>(self.first.alloc(layout), layout)
        } else {
            cut::<R>(self.second.alloc(layout), layout)
        }
    }

    #[inline(always)]
    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        if R::first(layout) {
            // SAFETY: the caller's promise, and the rule led the block's request to this heap.
            unsafe { self.first.dealloc(ptr, layout) }
        } else {
            // SAFETY: as above.
            unsafe { self.second.dealloc(ptr, layout) }
        }
    }

    #[inline(always)]
    fn alloc_at_hand(&mut self, layout: Layout) -> Option<NonNull<[u8]>> {
        if R::first(layout) {
            cut::<R>(self.first.alloc_at_hand(layout).ok_or(AllocError), layout).ok()
        } else {
            cut::<R>(self.second.alloc_at_hand(layout).ok_or(AllocError), layout).ok()
        }
    }

    #[inline(always)]
    unsafe fn dealloc_at_hand(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        if R::first(layout) {
            // SAFETY: the caller's promise, and the rule led the block's request to this heap.
            unsafe { self.first.dealloc_at_hand(ptr, layout) }
        } else {
            // SAFETY: as above.
            unsafe { self.second.dealloc_at_hand(ptr, layout) }
        }
    }

    #[inline]
    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let block =
            if R::first(layout) { self.first.alloc_zeroed(layout) } else { self.second.alloc_zeroed(layout) };
        cut::<R>(block, layout)
    }

    #[inline]
    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let block = match (R::first(old), R::first(new)) {
            // SAFETY: the caller's promise, and the rule led the block's request to this heap.
            (true, true) => unsafe { self.first.resize_in_place(ptr, old, new) },
            // SAFETY: as above.
            (false, false) => unsafe { self.second.resize_in_place(ptr, old, new) },
            // With its new layout it would be taken for the other heap's.
            // SAFETY: the caller's promise is the same.
            _ => Err(unsafe { refuse(self, ptr, old) }),
        };
        cut::<R>(block, new)
    }

    #[inline]
    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let block = match (R::first(old), R::first(new)) {
            // SAFETY: the caller's promise, and the rule led the block's request to this heap.
            (true, true) => unsafe { self.first.resize(ptr, old, new) },
            // SAFETY: as above.
            (false, false) => unsafe { self.second.resize(ptr, old, new) },
            // SAFETY: as above; the new layout is the other heap's.
            (true, false) => unsafe { move_block(&mut self.first, &mut self.second, ptr, old, new) },
            // SAFETY: as above.
            (false, true) => unsafe { move_block(&mut self.second, &mut self.first, ptr, old, new) },
        };
        cut::<R>(block, new)
    }

    #[inline(always)]
    fn good_size(&self, layout: Layout) -> usize {
        let size =
            if R::first(layout) { self.first.good_size(layout) } else { self.second.good_size(layout) };
        size.min(R::same_up_to(layout))
    }

    #[inline]
    fn alloc_batch(&mut self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        if R::first(layout) {
            self.first.alloc_batch(layout, out)
        } else {
            self.second.alloc_batch(layout, out)
        }
    }

    #[inline]
    unsafe fn dealloc_batch(&mut self, layout: Layout, blocks: &[NonNull<u8>]) {
        if R::first(layout) {
            // SAFETY: the caller's promise, and the rule led the blocks' requests to this heap.
            unsafe { self.first.dealloc_batch(layout, blocks) }
        } else {
            // SAFETY: as above.
            unsafe { self.second.dealloc_batch(layout, blocks) }
        }
    }

    fn release_unused(&mut self) -> usize {
        self.first.release_unused() + self.second.release_unused()
    }

    const CHECKS: bool = A::CHECKS || B::CHECKS;

    #[inline]
    fn looks_at(layout: Layout) -> bool {
        if R::first(layout) { A::looks_at(layout) } else { B::looks_at(layout) }
    }

    unsafe fn judge(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        if R::first(layout) {
            // SAFETY: the caller's promise, and the rule led the block's request to this heap.
            unsafe { self.first.judge(ptr, layout) }
        } else {
            // SAFETY: as above.
            unsafe { self.second.judge(ptr, layout) }
        }
    }

    #[inline(always)]
    fn take_finding(&mut self) -> Option<Finding> {
        self.first.take_finding().or_else(|| self.second.take_finding())
    }
}

// SAFETY: a live block is one of the heap that the rule names for its layout. A block of another heap is neither's, if it is not built over this one.
unsafe impl<R: Route, A: Owns, B: Owns> Owns for SegregateBy<R, A, B> {
    #[inline]
    fn owns(&self, ptr: NonNull<u8>, layout: Layout) -> bool {
        if Self::looks_at(layout) {
            // Whatever the layout, which may be wrong: then that is for the one to find that it leads to.
            return self.first.owns(ptr, layout) || self.second.owns(ptr, layout);
        }
        if R::first(layout) { self.first.owns(ptr, layout) } else { self.second.owns(ptr, layout) }
    }

    #[inline]
    unsafe fn try_dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        if Self::CHECKS {
            // SAFETY: the caller's promise is the same.
            return unsafe { dealloc_if_owned(self, ptr, layout) };
        }
        if R::first(layout) {
            // SAFETY: the caller's promise is the same.
            unsafe { self.first.try_dealloc(ptr, layout) }
        } else {
            // SAFETY: as above.
            unsafe { self.second.try_dealloc(ptr, layout) }
        }
    }
}

impl<R: Route, A: Reset, B: Reset> Reset for SegregateBy<R, A, B> {
    unsafe fn reset(&mut self) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.first.reset() };
        // SAFETY: as above.
        unsafe { self.second.reset() };
    }
}

inspect_two!([R: Route, A: Inspect, B: Inspect] SegregateBy<R, A, B>);

impl<R: Route, A: Heap + Default, B: Heap + Default> Default for SegregateBy<R, A, B> {
    fn default() -> Self {
        SegregateBy::new(A::default(), B::default())
    }
}

impl<R: Route, A: Heap + fmt::Debug, B: Heap + fmt::Debug> fmt::Debug for SegregateBy<R, A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegregateBy")
            .field("rule", &format_args!("{}", name::<R>()))
            .field("first", &self.first)
            .field("second", &self.second)
            .finish()
    }
}

impl<R: Route, A: Heap + Describe, B: Heap + Describe> Describe for SegregateBy<R, A, B> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let parts: [crate::describe::Child<'_>; 2] = [("first", A::describe), ("second", B::describe)];
        tree.part(format_args!("Segregate {}", name::<R>()), Cost::NONE, &parts)
    }
}

/// The limit number `idx` of a list that must rise: what [`segregate!`](crate::segregate) checks.
#[doc(hidden)]
#[must_use]
pub const fn rising(limits: &[usize], idx: usize) -> usize {
    assert!(
        idx == 0 || limits[idx - 1] < limits[idx],
        "segregate!: each limit must be above the one before it: sort the arms, smallest first"
    );
    limits[idx]
}

/// The type of a heap that sends each request to one of several by its size, or a value of such a type.
///
/// The arms are limits in bytes, constants that rise, and the heap for sizes up to each; the last one is for all that is larger.
/// It makes nested [`Segregate`](crate::combine::Segregate)s: a request takes a comparison for each limit up to its own.
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use core::{alloc::Layout, mem::MaybeUninit};
/// use heapwright::combine::Segregate;
/// use heapwright::heap::{Heap, Inspect, NoHeap};
/// use heapwright::{arena::Arena, segregate, sizing::Sizing4KiB, source::{GlobalHeap, SourceHeap}};
///
/// type Words<'a> = Arena<'a, Sizing4KiB>;
/// type General<'a> = segregate! { ..=64 => Words<'a>, ..=1024 => SourceHeap<GlobalHeap>, _ => NoHeap };
///
/// let mut memory = [MaybeUninit::uninit(); 1024];
/// let words = Arena::from_slice(&mut memory);
/// let mut heap: General<'_> = segregate!(new: words, SourceHeap::new(GlobalHeap), NoHeap);
/// // which is the same as
/// let mut heap: Segregate<64, Words<'_>, Segregate<1024, SourceHeap<GlobalHeap>, NoHeap>> = heap;
///
/// assert!(heap.alloc(Layout::new::<[u8; 1025]>()).is_err());
/// let layout = Layout::new::<[u8; 24]>();
/// let block = heap.alloc(layout)?;
/// assert_eq!(heap.first().usage().objects, 1);
/// // SAFETY: the block is live, and its layout this one.
/// unsafe { heap.dealloc(block.cast(), layout) };
/// # }
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// Limits that don't rise are refused:
/// ```compile_fail,E0080
/// use heapwright::{heap::NoHeap, segregate};
/// type Wrong = segregate! { ..=64 => NoHeap, ..=64 => NoHeap, _ => NoHeap };
/// let heap: Option<Wrong> = None; // error: each limit must be above the one before it
/// ```
#[macro_export]
macro_rules! segregate {
    (new: $first:expr, $last:expr $(,)?) => {
        $crate::combine::SegregateBy::new($first, $last)
    };
    (new: $first:expr, $($rest:expr),+ $(,)?) => {
        $crate::combine::SegregateBy::new($first, $crate::segregate!(new: $($rest),+))
    };
    (@nest [$($all:expr),*] $idx:expr; _ => $last:ty $(,)?) => {
        $last
    };
    (@nest [$($all:expr),*] $idx:expr; ..=$limit:expr => $heap:ty, $($rest:tt)+) => {
        $crate::combine::Segregate<
            { $crate::combine::rising(&[$($all),*], $idx) },
            $heap,
            $crate::segregate!(@nest [$($all),*] $idx + 1; $($rest)+),
        >
    };
    ($(..=$limit:expr => $heap:ty,)+ _ => $last:ty $(,)?) => {
        $crate::segregate!(@nest [$($limit),+] 0; $(..=$limit => $heap,)+ _ => $last)
    };
}
