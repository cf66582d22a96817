//! Values before and behind each block.

use core::alloc::Layout;
use core::any::type_name;
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::attach::Attach;
use super::exposed::{each_changed, expose_up_to, whole};
use super::row::inspect_one;
use crate::AllocError;
use crate::check::Finding;
use crate::describe::{Cost, Describe, Tree, name};
use crate::heap::{Heap, Inspect, Owns, Reset};
use crate::mem;

/// The heap `P`, each of whose blocks has a value of type `Pre` before it and one of type `Suf` behind it.
///
/// Choose it for what belongs to a block and not to its contents: a reference count, the call site that asked, a tag, a red zone on either side. `()` is
/// no value, and costs nothing. The values are made with the block ([`Attach`]), stay with it when it is resized, and are reached by
/// [`pre`](Affix::pre) and [`suf`](Affix::suf).
///
/// ```text
///  a block of P
///  ├─────┬───────┬─────────────────────────┬─────┬─────┐
///  │ gap │  Pre  │ the block, as asked for │ gap │ Suf │
///  └─────┴───────┴─────────────────────────┴─────┴─────┘
///                ↑ aligned as asked         ↑ up to the alignment of Suf: the owner's too
/// ```
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use core::alloc::Layout;
/// use heapwright::combine::Affix;
/// use heapwright::heap::Heap;
/// use heapwright::source::{GlobalHeap, SourceHeap};
///
/// type Shared = Affix<u32, SourceHeap<GlobalHeap>>; // a count before each block
/// let mut heap = Shared::new(SourceHeap::new(GlobalHeap));
/// let layout = Layout::new::<[u64; 3]>();
/// let block = heap.alloc(layout)?.cast::<u8>();
/// // SAFETY: the block is live, and one of this type of heap, and its layout this one.
/// unsafe {
///     let count = Shared::pre(block, layout);
///     assert_eq!(count.read(), 0);
///     count.write(2);
///     heap.dealloc(block, layout);
/// }
/// # }
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// # Cost
/// No state. For each block the sizes of `Pre` and `Suf`, and what their alignments and the block's own cost: a prefix is as long as the greatest of the three alignments at
/// least, if it is there at all. A request writes both values. A resize of a block with a suffix copies it, unless it stays where it is.
///
/// # Errors
/// As `P`; and if the block with its affixes is more than a layout may have.
///
/// # Ownership
/// A heap with a prefix hands out addresses within its parent's blocks, for which a parent can't be asked whether they are its own. So [`Owns`] is there if `Pre`
/// is `()`. Before a [`Fallback`](super::Fallback), put the affix around it: `Affix<Pre, Fallback<P, S>>`.
///
/// The idea: `AffixAllocator` of D's `std.experimental.allocator` (Andrei Alexandrescu), `AddHeap` of Heap Layers.
pub struct Affix<Pre: Attach, P: Heap, Suf: Attach = ()> {
    heap: P,
    affixes: PhantomData<fn() -> (Pre, Suf)>,
}

/// Where the parts of a block of the heap are.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Parts {
    /// What the heap is asked for: all parts.
    all: Layout,
    /// Bytes before the block, the prefix at their end.
    before: usize,
    /// Bytes of the block, up to the suffix.
    len: usize,
}

impl<Pre: Attach, P: Heap, Suf: Attach> Affix<Pre, P, Suf> {
    /// Whether something stands behind the block, so that its length is fixed.
    const HAS_SUFFIX: bool = size_of::<Suf>() > 0;

    /// `heap`, with affixes.
    #[must_use]
    pub const fn new(heap: P) -> Self {
        const {
            let longest = isize::MAX as usize / 8;
            let fits = size_of::<Pre>() <= longest && size_of::<Suf>() <= longest;
            let aligned = align_of::<Pre>() <= longest && align_of::<Suf>() <= longest;
            assert!(
                fits && aligned,
                "an affix is a small value: take an index or a pointer to what is large"
            );
        };
        Affix { heap, affixes: PhantomData }
    }

    /// The heap within.
    pub const fn heap(&self) -> &P {
        &self.heap
    }

    /// The heap, without the affixes.
    #[must_use]
    pub fn into_inner(self) -> P {
        self.heap
    }

    /// The value before a block.
    ///
    /// It may be read and written for as long as the block lives, by whoever has the block to itself; it is aligned and initialised.
    ///
    /// # Safety
    /// `ptr` is a live block of a heap of this type, in a shell or not, and `layout` its own: its alignment, a size above zero and no more than its length.
    #[must_use]
    #[inline(always)]
    pub unsafe fn pre(ptr: NonNull<u8>, layout: Layout) -> NonNull<Pre> {
        let _ = layout;
        // SAFETY: the prefix ends where the block begins, in the same block of the heap, for all of which this pointer is good.
        unsafe { whole(ptr).sub(size_of::<Pre>()) }.cast()
    }

    /// The value behind a block.
    ///
    /// It may be read and written for as long as the block lives and is not resized, by whoever has the block to itself; it is aligned and initialised.
    ///
    /// # Safety
    /// As [`pre`](Affix::pre).
    #[must_use]
    #[inline(always)]
    pub unsafe fn suf(ptr: NonNull<u8>, layout: Layout) -> NonNull<Suf> {
        // SAFETY: the suffix begins where the length of the block ends, in the same block of the heap, for all of which this pointer is good.
        unsafe { whole(ptr).add(Self::len(layout)) }.cast()
    }

    /// The size of a live block rounded up to where the suffix stands. The same for all sizes up to that.
    #[inline(always)]
    fn len(layout: Layout) -> usize {
        // No overflow: a size is at most `isize::MAX`, and no alignment is above half of that.
        (layout.size() + (align_of::<Suf>() - 1)) & !(align_of::<Suf>() - 1)
    }

    /// What a block has of `len` bytes that nothing stands behind: whole alignments of the suffix, which may have one without a size. So no size of the block is
    /// rounded up past what the heap has given.
    #[inline(always)]
    const fn free_len(len: usize) -> usize {
        len & !(align_of::<Suf>() - 1)
    }

    /// Bytes before a block of this alignment, and the alignment of the whole.
    #[inline(always)]
    fn before(align: usize) -> (usize, usize) {
        let align = align.max(align_of::<Pre>()).max(align_of::<Suf>());
        if size_of::<Pre>() == 0 {
            return (0, align);
        }
        // A prefix that is no longer than it is aligned takes one step, whatever the alignment.
        if size_of::<Pre>() <= align_of::<Pre>() {
            return (align, align);
        }
        // No overflow: a type's size is a multiple of its alignment, and if it is less than `align` that is the result.
        ((size_of::<Pre>() + (align - 1)) & !(align - 1), align)
    }

    /// The parts of a block for `layout`.
    ///
    /// # Errors
    /// For size zero, and when it is more than a layout may have.
    #[inline(always)]
    fn parts(layout: Layout) -> Result<Parts, AllocError> {
        if layout.size() == 0 {
            return Err(AllocError);
        }
        let (before, align) = Self::before(layout.align());
        let len = Self::len(layout);
        // No overflow: a layout's size is at most `isize::MAX`, an alignment with a size above zero half of that, and what an affix adds an eighth
        // (`new`). What is too much for a layout is refused.
        let all = Layout::from_size_align(before + len + size_of::<Suf>(), align).map_err(|_| AllocError)?;
        Ok(Parts { all, before, len })
    }

    /// The same for the layout of a live block.
    ///
    /// # Safety
    /// `layout` is the layout of a live block of such a heap: its size one from the requested to the returned. `ptr` is that block.
    #[inline(always)]
    unsafe fn live_parts(ptr: NonNull<u8>, layout: Layout) -> Parts {
        if P::CHECKS {
            // What no block has, if it comes to that, so that the heap finds it wrong.
            let parts = || Parts { all: layout, before: 0, len: layout.size() };
            let right = Self::parts(layout).ok().filter(|parts| ptr.addr().get() > parts.before);
            return right.unwrap_or_else(parts);
        }
        let (before, align) = Self::before(layout.align());
        let len = Self::len(layout);
        // SAFETY: without a suffix, no more than the heap's block is long; with one, just what it was asked for. The alignment is that of the request.
        let all = unsafe { Layout::from_size_align_unchecked(before + len + size_of::<Suf>(), align) };
        Parts { all, before, len }
    }

    /// What the heap is asked about a block that comes back, of this heap or not, and begins where the heap's does: a layout that no block has goes to a heap that checks as it is, which finds it wrong.
    #[inline(always)]
    fn told(layout: Layout) -> Result<Layout, AllocError> {
        let all = Self::parts(layout).map(|parts| parts.all);
        all.or(if P::CHECKS { Ok(layout) } else { Err(AllocError) })
    }

    /// The block of the heap that a block lies in.
    #[inline(always)]
    unsafe fn outer(ptr: NonNull<u8>, parts: &Parts) -> NonNull<u8> {
        if P::CHECKS {
            let outer = whole(ptr).as_ptr().wrapping_sub(parts.before);
            // SAFETY: what comes back may be anything, but lies above that (`live_parts`).
            return unsafe { NonNull::new_unchecked(outer) };
        }
        // SAFETY: so far before the block begins the heap's, for all of which this pointer is good.
        unsafe { whole(ptr).sub(parts.before) }
    }

    /// A new block within one of the heap's, its affixes made.
    ///
    /// # Safety
    /// `outer` is a block of the heap for `parts`, those of `layout`, and nobody else's.
    #[inline(always)]
    unsafe fn attach(outer: NonNull<[u8]>, parts: &Parts, layout: Layout) -> NonNull<[u8]> {
        // SAFETY: the caller's promise.
        let block = unsafe { Self::inner(outer, parts) };
        if size_of::<Pre>() > 0 {
            // SAFETY: as far as `before` the block is the prefix's; that is no less than its size.
            let pre = unsafe { block.cast::<u8>().sub(size_of::<Pre>()) };
            // SAFETY: so far from an address that is a multiple of the prefix's alignment, it is aligned too.
            unsafe { pre.cast().write(Pre::attach(layout)) };
        }
        if Self::HAS_SUFFIX {
            // SAFETY: the block of the heap has room for the suffix from there on.
            let suf = unsafe { block.cast::<u8>().add(parts.len) };
            // SAFETY: both the block and its length are multiples of the suffix's alignment.
            unsafe { suf.cast().write(Suf::attach(layout)) };
        }
        block
    }

    /// The block within one of the heap's, exposed, and cut to where the suffix stands; or to what there may be a layout for.
    ///
    /// # Safety
    /// `outer` is a block of the heap for `parts`.
    #[inline(always)]
    unsafe fn inner(outer: NonNull<[u8]>, parts: &Parts) -> NonNull<[u8]> {
        let outer = expose_up_to(outer, isize::MAX as usize + 1 - parts.all.align());
        // SAFETY: the heap's block is longer than what stands before.
        let start = unsafe { outer.cast::<u8>().add(parts.before) };
        mem::slice(
            start,
            if Self::HAS_SUFFIX { parts.len } else { Self::free_len(outer.len() - parts.before) },
        )
    }

    /// The suffix of a live block, to be put elsewhere.
    ///
    /// # Safety
    /// As [`pre`](Affix::pre).
    #[inline(always)]
    unsafe fn take_suffix(ptr: NonNull<u8>, layout: Layout) -> MaybeUninit<Suf> {
        if !Self::HAS_SUFFIX {
            return MaybeUninit::uninit();
        }
        // SAFETY: the caller's promise.
        let suf = unsafe { Self::suf(ptr, layout) };
        // SAFETY: it is aligned and there; whatever it holds is copied as it is.
        unsafe { suf.cast::<MaybeUninit<Suf>>().read() }
    }

    /// Finishes a resize: the suffix at its new place, and both told the layout.
    ///
    /// # Safety
    /// `block` is a live block of this kind of heap with `layout`, its prefix in place, `suffix` what its suffix was.
    #[inline(always)]
    unsafe fn resized(block: NonNull<[u8]>, layout: Layout, suffix: MaybeUninit<Suf>) {
        if size_of::<Pre>() > 0 {
            // SAFETY: the caller's promise.
            let mut pre = unsafe { Self::pre(block.cast(), layout) };
            // SAFETY: it is aligned and initialised, and nobody else uses it meanwhile.
            unsafe { pre.as_mut() }.resized(layout);
        }
        if Self::HAS_SUFFIX {
            // SAFETY: the caller's promise.
            let mut suf = unsafe { Self::suf(block.cast(), layout) };
            // SAFETY: it is aligned and there.
            unsafe { suf.cast::<MaybeUninit<Suf>>().write(suffix) };
            // SAFETY: it is initialised, as it was before, and nobody else uses it meanwhile.
            unsafe { suf.as_mut() }.resized(layout);
        }
    }
}

// SAFETY: H1: a block lies in one of the heap's, behind the prefix, aligned as asked, since what is before it is a multiple of that alignment, and so is the heap's block. With a
// suffix it is cut to where that stands, which is the same for all sizes up to there; so with any of these the heap gets the layout back that it was asked for.
// Without one, it gets a size from the requested to the one it gave, for the length is a multiple of what sizes are rounded up to. Pointers to the heap's block are good for all of it: it was exposed when it was handed out. The affixes are
// outside of the block. H2 to H5: those of the heap; `Attach` neither unwinds nor uses a heap. A suffix is copied before the heap may overwrite it, and after an error it stands
// where it stood. H6: refused by `parts`. H7: with a suffix, the good size is where that stands; else the heap's, less what stands before, which is the same for all sizes,
// rounded down as the length is.
unsafe impl<Pre: Attach, P: Heap, Suf: Attach> Heap for Affix<Pre, P, Suf> {
    const AT_HAND: bool = P::AT_HAND;

    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let parts = Self::parts(layout)?;
        let outer = self.heap.alloc(parts.all)?;
        // SAFETY: a fresh block of the heap for these parts.
        Ok(unsafe { Self::attach(outer, &parts, layout) })
    }

    #[inline(always)]
    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        let parts = unsafe { Self::live_parts(ptr, layout) };
        // SAFETY: the caller's promise.
        let outer = unsafe { Self::outer(ptr, &parts) };
        // SAFETY: a live block of the heap, and its layout.
        unsafe { self.heap.dealloc(outer, parts.all) };
    }

    #[inline(always)]
    fn alloc_at_hand(&mut self, layout: Layout) -> Option<NonNull<[u8]>> {
        let parts = Self::parts(layout).ok()?;
        let outer = self.heap.alloc_at_hand(parts.all)?;
        // SAFETY: a fresh block of the heap for these parts.
        Some(unsafe { Self::attach(outer, &parts, layout) })
    }

    #[inline(always)]
    unsafe fn dealloc_at_hand(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise.
        let parts = unsafe { Self::live_parts(ptr, layout) };
        // SAFETY: the caller's promise.
        let outer = unsafe { Self::outer(ptr, &parts) };
        // SAFETY: a live block of the heap, and its layout.
        unsafe { self.heap.dealloc_at_hand(outer, parts.all) }
    }

    #[inline]
    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let parts = Self::parts(layout)?;
        let outer = self.heap.alloc_zeroed(parts.all)?;
        // SAFETY: a fresh block of the heap for these parts.
        Ok(unsafe { Self::attach(outer, &parts, layout) })
    }

    #[inline]
    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        if P::CHECKS && !unsafe { self.judge(ptr, old) } {
            return Err(AllocError);
        }
        // SAFETY: the caller's promise.
        let (parts, new_parts) = (unsafe { Self::live_parts(ptr, old) }, Self::parts(new)?);
        if parts.before != new_parts.before {
            return Err(AllocError);
        }
        // SAFETY: the caller's promise.
        let suffix = unsafe { Self::take_suffix(ptr, old) };
        // SAFETY: the caller's promise.
        let outer = unsafe { Self::outer(ptr, &parts) };
        let resized = if Self::HAS_SUFFIX && parts == new_parts {
            mem::slice(outer, parts.all.size())
        } else {
            // SAFETY: a live block of the heap, and its layout.
            unsafe { self.heap.resize_in_place(outer, parts.all, new_parts.all) }?
        };
        // SAFETY: a block of the heap for the new parts.
        let block = unsafe { Self::inner(resized, &new_parts) };
        // SAFETY: its prefix is where it was, and the suffix has been copied.
        unsafe { Self::resized(block, new, suffix) };
        Ok(block)
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        if P::CHECKS && !unsafe { self.judge(ptr, old) } {
            return Err(AllocError);
        }
        // SAFETY: the caller's promise.
        let (parts, new_parts) = (unsafe { Self::live_parts(ptr, old) }, Self::parts(new)?);
        // SAFETY: the caller's promise.
        let suffix = unsafe { Self::take_suffix(ptr, old) };
        // SAFETY: the caller's promise.
        let outer = unsafe { Self::outer(ptr, &parts) };
        let block = if parts.before == new_parts.before {
            let resized = if Self::HAS_SUFFIX && parts == new_parts {
                mem::slice(outer, parts.all.size())
            } else {
                // SAFETY: a live block of the heap, and its layout. What it keeps is the prefix, and the lesser of the two sizes.
                unsafe { self.heap.resize(outer, parts.all, new_parts.all) }?
            };
            // SAFETY: a block of the heap for the new parts.
            unsafe { Self::inner(resized, &new_parts) }
        } else {
            let moved = self.heap.alloc(new_parts.all)?;
            // SAFETY: a block of the heap for the new parts.
            let block = unsafe { Self::inner(moved, &new_parts) };
            let kept = size_of::<Pre>() + old.size().min(new.size());
            // SAFETY: the prefix is part of the heap's block.
            let from = unsafe { whole(ptr).sub(size_of::<Pre>()) };
            // SAFETY: as above.
            let to = unsafe { block.cast::<u8>().sub(size_of::<Pre>()) };
            // SAFETY: the prefix and the lesser of the two sizes are within both blocks, which do not overlap (H1).
            unsafe { to.copy_from_nonoverlapping(from, kept) };
            // SAFETY: a live block of the heap, and its layout; the copy has been made.
            unsafe { self.heap.dealloc(outer, parts.all) };
            block
        };
        // SAFETY: its prefix is in place, and the suffix has been copied.
        unsafe { Self::resized(block, new, suffix) };
        Ok(block)
    }

    #[inline]
    fn good_size(&self, layout: Layout) -> usize {
        match Self::parts(layout) {
            Err(AllocError) => layout.size(),
            Ok(parts) if Self::HAS_SUFFIX => parts.len,
            Ok(parts) => {
                let good = Self::free_len(self.heap.good_size(parts.all) - parts.before);
                // Where the good size with the prefix makes no layout any more, each size is its own (H7).
                let fits =
                    Layout::from_size_align(good, layout.align()).is_ok_and(|good| Self::parts(good).is_ok());
                if fits { good } else { layout.size() }
            }
        }
    }

    fn alloc_batch(&mut self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        let Ok(parts) = Self::parts(layout) else { return 0 };
        let count = self.heap.alloc_batch(parts.all, out);
        for place in out.iter_mut().take(count) {
            // SAFETY: the heap has filled so many from the front.
            let outer = mem::slice(unsafe { place.assume_init() }, parts.all.size());
            // SAFETY: a fresh block of the heap for these parts.
            place.write(unsafe { Self::attach(outer, &parts, layout) }.cast());
        }
        count
    }

    unsafe fn dealloc_batch(&mut self, layout: Layout, blocks: &[NonNull<u8>]) {
        if P::CHECKS {
            // One after the other: what is wrong with one may be another thing than with the next.
            for &block in blocks {
                // SAFETY: the caller's promise is the same.
                unsafe { self.dealloc(block, layout) };
            }
            return;
        }
        let Some(&first) = blocks.first() else { return };
        // SAFETY: the caller's promise.
        let parts = unsafe { Self::live_parts(first, layout) };
        // SAFETY: the caller's promise.
        let outer = |block| unsafe { Self::outer(block, &parts) };
        each_changed(blocks, outer, |blocks| {
            // SAFETY: live blocks of the heap, and their layout.
            unsafe { self.heap.dealloc_batch(parts.all, blocks) };
        });
    }

    fn release_unused(&mut self) -> usize {
        self.heap.release_unused()
    }

    const CHECKS: bool = P::CHECKS;

    #[inline]
    fn looks_at(layout: Layout) -> bool {
        P::looks_at(Self::parts(layout).map_or(layout, |parts| parts.all))
    }

    unsafe fn judge(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise.
        let parts = unsafe { Self::live_parts(ptr, layout) };
        // SAFETY: the caller's promise.
        let outer = unsafe { Self::outer(ptr, &parts) };
        // SAFETY: a live block of the heap, and its layout.
        unsafe { self.heap.judge(outer, parts.all) }
    }

    #[inline(always)]
    fn take_finding(&mut self) -> Option<Finding> {
        self.heap.take_finding()
    }
}

// SAFETY: without a prefix, what begins where a block does is the heap's block.
unsafe impl<P: Owns, Suf: Attach> Owns for Affix<(), P, Suf> {
    #[inline]
    fn owns(&self, ptr: NonNull<u8>, layout: Layout) -> bool {
        Self::told(layout).is_ok_and(|all| self.heap.owns(ptr, all))
    }

    #[inline]
    unsafe fn try_dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        let Ok(all) = Self::told(layout) else { return false };
        // SAFETY: the caller's promise: a live block of the heap and its layout, or another heap's.
        unsafe { self.heap.try_dealloc(whole(ptr), all) }
    }
}

impl<Pre: Attach, P: Reset, Suf: Attach> Reset for Affix<Pre, P, Suf> {
    unsafe fn reset(&mut self) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.heap.reset() };
    }
}

inspect_one!([Pre: Attach, P: Inspect, Suf: Attach] Affix<Pre, P, Suf>);

impl<Pre: Attach, P: Heap + Default, Suf: Attach> Default for Affix<Pre, P, Suf> {
    fn default() -> Self {
        Affix::new(P::default())
    }
}

impl<Pre: Attach, P: Heap + fmt::Debug, Suf: Attach> fmt::Debug for Affix<Pre, P, Suf> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Affix")
            .field("prefix", &format_args!("{}", type_name::<Pre>()))
            .field("suffix", &format_args!("{}", type_name::<Suf>()))
            .field("heap", &self.heap)
            .finish()
    }
}

impl<Pre: Attach, P: Heap + Describe, Suf: Attach> Describe for Affix<Pre, P, Suf> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        // At an alignment of one byte: more alignment costs more.
        let cost = Cost::NONE.and_per_block(Self::before(1).0 + size_of::<Suf>());
        tree.part(
            format_args!("Affix, {} before and {} behind", name::<Pre>(), name::<Suf>()),
            cost,
            &[("heap", P::describe)],
        )
    }
}
