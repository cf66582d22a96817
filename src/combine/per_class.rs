//! A heap for each size class.

use core::alloc::Layout;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::exposed::{each_changed, expose, expose_some, whole};
use super::fallback::move_block;
use super::row::{self, Step};
use crate::AllocError;
use crate::cache::{SizeClasses, slot_layout};
use crate::check::Finding;
use crate::describe::{Cost, Describe, Tree};
use crate::heap::{Chunk, Corruption, Cursor, Heap, Inspect, Owns, Reset, Usage, dealloc_if_owned};
use crate::mem;

/// A heap `H` for each size class of `C`, which serves the requests of that class and sees one size only.
///
/// Choose it where each size is to have memory, limits or counters of its own: a region per class, a quota per class. What has no class is
/// refused; [`Segregate<{ C::SIZE_MAX }, PerClass<C, H>, Large>`](super::Segregate) sends it elsewhere. For slabs of all classes over one source
/// there is [`SlabHeap`](crate::cache::SlabHeap); for freed blocks of all classes over one heap, [`FreeLists`](super::FreeLists).
///
/// Requests are rounded up to their class, so growth and shrinking within a class happen in place and cost nothing.
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use core::alloc::Layout;
/// use heapwright::combine::PerClass;
/// use heapwright::heap::Heap;
/// use heapwright::size_classes;
/// use heapwright::source::{GlobalHeap, Limited, SourceHeap};
///
/// size_classes! { struct Few = 16..=128, 1 per doubling; }
/// // At most 4 blocks of each size.
/// let mut heap = PerClass::<Few, _>::from_fn(|class| {
///     SourceHeap::new(Limited::new(GlobalHeap, 4 * class.size()))
/// });
/// let layout = Layout::new::<[u8; 20]>();
/// let blocks: Vec<_> = core::iter::from_fn(|| heap.alloc(layout).ok()).collect();
/// assert_eq!(blocks.len(), 4);
/// assert_eq!(blocks[0].len(), 32);
/// assert!(heap.alloc(Layout::new::<[u8; 129]>()).is_err(), "there is no class for it");
/// for block in blocks {
///     // SAFETY: the block is live, and its layout this one.
///     unsafe { heap.dealloc(block.cast(), layout) };
/// }
/// # }
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// In a constant, with [`ClassArray`](crate::cache::ClassArray):
/// ```
/// use heapwright::cache::ClassArray;
/// use heapwright::combine::PerClass;
/// use heapwright::heap::{Locked, NoHeap};
/// use heapwright::{lock::SpinLock, size_classes};
///
/// size_classes! { struct Few = 16..=128, 1 per doubling; }
/// static HEAP: Locked<PerClass<Few, NoHeap>, SpinLock> = Locked::new({
///     let mut heaps = ClassArray::<Few, NoHeap>::new();
///     while heaps.len() < 4 {
///         heaps.push(NoHeap);
///     }
///     PerClass::new(heaps.finish())
/// });
/// assert_eq!(HEAP.release_unused(), 0);
/// # use heapwright::heap::SharedHeap;
/// ```
///
/// # Cost
/// The heaps, and a look-up of the class in each call, a constant where the layout is one. A block has its class's size.
///
/// # Errors
/// A request fails when it has no class, or the heap of its class refuses it.
///
/// The idea: `Bucketizer` of D's `std.experimental.allocator` (Andrei Alexandrescu), `StrictSegHeap` of Heap Layers.
pub struct PerClass<C: SizeClasses, H: Heap> {
    heaps: C::Array<H>,
}

// SAFETY: the heaps are all there is (`[H; COUNT]`, K4), and each may be sent.
unsafe impl<C: SizeClasses, H: Heap + Send> Send for PerClass<C, H> {}

impl<C: SizeClasses, H: Heap> PerClass<C, H> {
    /// One heap for each class, in order.
    #[must_use]
    pub const fn new(heaps: C::Array<H>) -> Self {
        PerClass { heaps }
    }

    /// What `heap` makes for each class, given the layout of its blocks: their size, and the largest alignment that a request of it may have.
    #[must_use]
    pub fn from_fn(mut heap: impl FnMut(Layout) -> H) -> Self {
        PerClass { heaps: C::array(|class| heap(slot_layout::<C>(class))) }
    }

    /// The heaps of all classes, in order.
    #[must_use]
    pub fn heaps(&self) -> &[H] {
        self.heaps.as_ref()
    }

    /// The heaps, out of their classes.
    #[must_use]
    pub fn into_inner(self) -> C::Array<H> {
        self.heaps
    }

    /// The class of a request, and what the class's heap is asked for: the class's size, with the request's alignment.
    ///
    /// The index is one of a heap's (K2, K4).
    #[inline(always)]
    fn class(layout: Layout) -> Option<(usize, Layout)> {
        let class = C::index(layout)?;
        // SAFETY: K2: there is such a class.
        let size = *unsafe { C::SIZES.get_unchecked(class) };
        // SAFETY: the size is a multiple of the alignment (K2) and not above `isize::MAX` (K1), so it is not above that when rounded up.
        Some((class, unsafe { Layout::from_size_align_unchecked(size, layout.align()) }))
    }

    /// The same for the layout of a live block.
    ///
    /// # Safety
    /// `layout` is the layout of a live block of this heap.
    #[inline(always)]
    unsafe fn live_class(layout: Layout) -> (usize, Layout) {
        if H::CHECKS {
            // A layout that no block has, so that the heap that gets it finds it wrong.
            return Self::class(layout).unwrap_or((0, layout));
        }
        // SAFETY: a live block has a class, since what has none is refused (K3).
        unsafe { Self::class(layout).unwrap_unchecked() }
    }

    /// The heap of a class.
    ///
    /// # Safety
    /// `class` is below `COUNT`.
    #[inline(always)]
    unsafe fn heap(&mut self, class: usize) -> &mut H {
        // SAFETY: the array has one for each class (K4), and the caller's promise.
        unsafe { self.heaps.as_mut().get_unchecked_mut(class) }
    }

    /// The heaps of two classes.
    fn two(&mut self, one: usize, other: usize) -> Option<(&mut H, &mut H)> {
        let (low, high) = (one.min(other), one.max(other));
        let (front, back) = self.heaps.as_mut().split_at_mut_checked(high)?;
        let (low, high) = (front.get_mut(low)?, back.first_mut()?);
        Some(if one < other { (low, high) } else { (high, low) })
    }
}

// SAFETY: H1: a block is one of the heap of its class, cut to what it was asked for: the class's size. All sizes from the request to that have that class
// (K3), so it comes back there, with that size and the alignment that it was asked for, by a pointer good for all of it: the block was exposed when it was
// handed out, or resized by its heap. H2 to H5: those of the heaps; K2, K5; at hand only what is at hand in the one of the class. H6: size zero has no class (K2).
// H7: the good size is the class's, for all sizes up to it (K3); where there is no class, no larger size has one.
unsafe impl<C: SizeClasses, H: Heap> Heap for PerClass<C, H> {
    const AT_HAND: bool = H::AT_HAND;

    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let (class, slot) = Self::class(layout).ok_or(AllocError)?;
        // SAFETY: K2.
        expose_some(unsafe { self.heap(class) }.alloc(slot), slot.size())
    }

    #[inline(always)]
    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        let (class, slot) = unsafe { Self::live_class(layout) };
        // SAFETY: K2.
        let heap = unsafe { self.heap(class) };
        // SAFETY: a live block of that heap, and what it was asked for.
        unsafe { heap.dealloc(whole(ptr), slot) };
    }

    #[inline(always)]
    fn alloc_at_hand(&mut self, layout: Layout) -> Option<NonNull<[u8]>> {
        let (class, slot) = Self::class(layout)?;
        // SAFETY: K2.
        Some(expose(unsafe { self.heap(class) }.alloc_at_hand(slot)?, slot.size()))
    }

    #[inline(always)]
    unsafe fn dealloc_at_hand(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise.
        let (class, slot) = unsafe { Self::live_class(layout) };
        // SAFETY: K2.
        let heap = unsafe { self.heap(class) };
        // SAFETY: a live block of that heap, and what it was asked for.
        unsafe { heap.dealloc_at_hand(whole(ptr), slot) }
    }

    #[inline]
    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let (class, slot) = Self::class(layout).ok_or(AllocError)?;
        // SAFETY: K2.
        expose_some(unsafe { self.heap(class) }.alloc_zeroed(slot), slot.size())
    }

    #[inline]
    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise.
        let (old_class, old_slot) = unsafe { Self::live_class(old) };
        // SAFETY: the caller's promise is the same.
        if H::CHECKS && !unsafe { self.judge(ptr, old) } {
            return Err(AllocError);
        }
        let (class, slot) = Self::class(new).ok_or(AllocError)?;
        if class != old_class {
            return Err(AllocError);
        }
        if slot == old_slot {
            return Ok(mem::slice(whole(ptr), slot.size()));
        }
        // SAFETY: K2.
        let heap = unsafe { self.heap(class) };
        // SAFETY: a live block of that heap, and what it was asked for.
        expose_some(unsafe { heap.resize_in_place(whole(ptr), old_slot, slot) }, slot.size())
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise.
        let (old_class, old_slot) = unsafe { Self::live_class(old) };
        // SAFETY: the caller's promise is the same.
        if H::CHECKS && !unsafe { self.judge(ptr, old) } {
            return Err(AllocError);
        }
        let (class, slot) = Self::class(new).ok_or(AllocError)?;
        if class == old_class {
            if slot == old_slot {
                return Ok(mem::slice(whole(ptr), slot.size()));
            }
            // SAFETY: K2.
            let heap = unsafe { self.heap(class) };
            // SAFETY: a live block of that heap, and what it was asked for.
            return expose_some(unsafe { heap.resize(whole(ptr), old_slot, slot) }, slot.size());
        }
        let (from, to) = self.two(old_class, class).ok_or(AllocError)?;
        // SAFETY: a live block of the old class's heap, and what it was asked for.
        expose_some(unsafe { move_block(from, to, whole(ptr), old_slot, slot) }, slot.size())
    }

    #[inline]
    fn good_size(&self, layout: Layout) -> usize {
        Self::class(layout).map_or(layout.size(), |(_, slot)| slot.size())
    }

    fn alloc_batch(&mut self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        let Some((class, slot)) = Self::class(layout) else { return 0 };
        // SAFETY: K2.
        let count = unsafe { self.heap(class) }.alloc_batch(slot, out);
        for block in out.iter().take(count) {
            // SAFETY: the heap has filled so many from the front.
            expose(mem::slice(unsafe { block.assume_init() }, slot.size()), slot.size());
        }
        count
    }

    unsafe fn dealloc_batch(&mut self, layout: Layout, blocks: &[NonNull<u8>]) {
        if blocks.is_empty() {
            return;
        }
        // SAFETY: the caller's promise.
        let (class, slot) = unsafe { Self::live_class(layout) };
        // SAFETY: K2.
        let heap = unsafe { self.heap(class) };
        each_changed(blocks, whole, |blocks| {
            // SAFETY: live blocks of that heap, and what it was asked for.
            unsafe { heap.dealloc_batch(slot, blocks) };
        });
    }

    fn release_unused(&mut self) -> usize {
        self.heaps.as_mut().iter_mut().map(Heap::release_unused).sum()
    }

    const CHECKS: bool = H::CHECKS;

    #[inline]
    fn looks_at(layout: Layout) -> bool {
        H::looks_at(Self::class(layout).map_or(layout, |(_, slot)| slot))
    }

    unsafe fn judge(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise.
        let (class, slot) = unsafe { Self::live_class(layout) };
        // SAFETY: K2.
        let heap = unsafe { self.heap(class) };
        // SAFETY: a live block of that heap, and what it was asked for.
        unsafe { heap.judge(whole(ptr), slot) }
    }

    #[inline(always)]
    fn take_finding(&mut self) -> Option<Finding> {
        self.heaps.as_mut().iter_mut().find_map(Heap::take_finding)
    }
}

// SAFETY: a live block is one of the heap of its class. A block of another heap is none of theirs, if it is not built over this one.
unsafe impl<C: SizeClasses, H: Owns> Owns for PerClass<C, H> {
    #[inline]
    fn owns(&self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // Where they look, whatever the layout, which may be wrong: then that is for one of them to find.
        Self::class(layout).is_some_and(|(class, slot)| self.heaps.as_ref()[class].owns(ptr, slot))
            || H::CHECKS && self.heaps().iter().any(|heap| heap.owns(ptr, layout))
    }

    #[inline]
    unsafe fn try_dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        if H::CHECKS {
            // SAFETY: the caller's promise is the same.
            return unsafe { dealloc_if_owned(self, ptr, layout) };
        }
        let Some((class, slot)) = Self::class(layout) else { return false };
        // SAFETY: K2.
        let heap = unsafe { self.heap(class) };
        // SAFETY: the caller's promise: a live block of that heap and what it was asked for, or another heap's.
        unsafe { heap.try_dealloc(whole(ptr), slot) }
    }
}

impl<C: SizeClasses, H: Reset> Reset for PerClass<C, H> {
    unsafe fn reset(&mut self) {
        for heap in self.heaps.as_mut() {
            // SAFETY: the caller's promise is the same.
            unsafe { heap.reset() };
        }
    }
}

/// The region of each class's heap is shown behind that of the class before.
impl<C: SizeClasses, H: Inspect> Inspect for PerClass<C, H> {
    /// How full it is. O(classes).
    fn usage(&self) -> Usage {
        self.heaps.as_ref().iter().map(Inspect::usage).fold(Usage::default(), row::sum)
    }

    fn next_chunk(&mut self, cursor: &mut Cursor) -> Option<Chunk> {
        let mut step = Step::new(cursor);
        self.heaps.as_mut().iter_mut().find_map(|heap| step.ask(heap))
    }

    fn verify(&mut self) -> Result<(), Corruption> {
        let mut before = 0;
        for heap in self.heaps.as_mut() {
            row::verify(heap, before)?;
            before += heap.usage().total;
        }
        Ok(())
    }

    fn misuses(&self) -> usize {
        self.heaps.as_ref().iter().map(Inspect::misuses).sum()
    }
}

impl<C: SizeClasses, H: Heap + Default> Default for PerClass<C, H> {
    fn default() -> Self {
        PerClass::from_fn(|_| H::default())
    }
}

impl<C: SizeClasses, H: Heap + fmt::Debug> fmt::Debug for PerClass<C, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heaps = C::SIZES.iter().zip(self.heaps.as_ref());
        f.write_str("PerClass ")?;
        f.debug_map().entries(heaps).finish()
    }
}

impl<C: SizeClasses, H: Heap + Describe> Describe for PerClass<C, H> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let (first, last) = (C::SIZES[0], C::SIZE_MAX);
        let others = (C::COUNT - 1) * size_of::<H>();
        tree.part(
            format_args!("PerClass, {} size classes from {first} to {last} bytes", C::COUNT),
            Cost { state: others, per_block: 0 },
            &[("heap of each", H::describe)],
        )
    }
}
