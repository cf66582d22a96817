//! Freed blocks, kept in lists by size in front of any heap.

use core::alloc::Layout;
use core::fmt;
use core::hint;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ptr::{self, NonNull};

use super::bound::{Bound, Unbounded};
use super::exposed::{expose, expose_up_to, whole};
use crate::AllocError;
use crate::cache::{ClassArray, SizeClasses, slot_layout};
use crate::check::Finding;
use crate::describe::{Cost, Describe, Tree, name};
use crate::heap::{Heap, Owns, Reset};
use crate::mem;

/// Requests aligned above this many bytes bypass the lists, and no block in a list is aligned better on purpose: what every malloc gives, so that
/// the parent is not asked for costly alignments.
const ALIGN_MAX: usize = 16;

/// Blocks that go back to the parent at a time.
const AT_ONCE: usize = 32;

/// Lists of freed blocks, one for each size class of `C`, in front of the heap `P`.
///
/// Choose it to make any heap fast for sizes that come and go: a request that finds a freed block of its class takes it off the list, and a free puts it there.
/// The link is kept in the block. All blocks are `P`'s own, and `P` gets what has no class and what is aligned above 16 bytes without a detour. How many
/// blocks a list keeps is its [`Bound`]: [`Unbounded`], [`AtMost<N>`](super::AtMost), [`Adaptive`](super::Adaptive). When `P` has no room, all lists are given
/// back to it, and it is asked again; [`release_unused`](Heap::release_unused) does so at any time, and so does dropping the lists.
///
/// `REFILL` is how many blocks are asked for when a list has none: more than one pays where `P` has a cost per call ([`Heap::alloc_batch`]): behind a
/// lock, or in a heap of slabs.
///
/// [`SlabHeap`](crate::cache::SlabHeap) is as fast, gives memory back by whole slabs and can serve one size with what another has freed; it takes its memory by slabs from
/// a source. Lists need no such thing, cost 8 bytes per class, and take blocks from anywhere.
///
/// Where `P` [checks](Heap::CHECKS), it is [asked](Heap::judge) before a block joins a list: what is not its own is found, and a layout that would not be the block's for `P` (those of one list, and of two whose blocks
/// `P` can't tell apart, are let pass). A second free, or a resize, of a block that is in a list is not found, to `P` it is live there; it is handed out twice then. A `SlabHeap` with a policy finds both.
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use core::alloc::Layout;
/// use heapwright::cache::Classes;
/// use heapwright::combine::{AtMost, FreeLists};
/// use heapwright::heap::Heap;
/// use heapwright::source::{Counted, GlobalHeap, SourceHeap};
///
/// let parent = SourceHeap::new(Counted::new(GlobalHeap));
/// let mut heap = FreeLists::<Classes, _, AtMost<100>>::new(parent);
/// let layout = Layout::new::<[u8; 40]>();
/// for _ in 0..1000 {
///     let block = heap.alloc(layout)?;
///     // SAFETY: the block is live, and its layout this one.
///     unsafe { heap.dealloc(block.cast(), layout) };
/// }
/// assert_eq!(heap.heap().source().counts().acquired, 1);
/// assert_eq!(heap.release_unused(), 40);
/// assert_eq!(heap.heap().source().counts().blocks, 0);
/// # }
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// # Cost
/// 8 bytes for each class on a 64-bit machine, and the bound's count (none, 8 or 16 with padding); nothing per block but what its class is larger. A request or
/// free that stays in a list is the look-up of the class (a constant where the layout is one) and, for `Unbounded`, two loads and a store, or a load and two
/// stores. The block's first 8 bytes are touched.
///
/// # Errors
/// As `P`, when the lists have been given back and it still refuses.
///
/// ```compile_fail,E0080
/// use heapwright::{cache::Classes, combine::{AtMost, FreeLists}, heap::NoHeap};
/// let heap = FreeLists::<Classes, NoHeap, AtMost<4>, 8>::new(NoHeap); // error: more than its bound lets it keep
/// ```
///
/// The idea: `FreeList`, `FreeTree` and `Segregator` of D's `std.experimental.allocator` (Andrei Alexandrescu), `SegHeap` and `FreelistHeap` of Heap Layers; the lists
/// themselves are those of Weinstock's Quick Fit.
pub struct FreeLists<C: SizeClasses, P: Heap, B: Bound = Unbounded, const REFILL: usize = 1> {
    /// One for each class, in order.
    lists: C::Array<List<B>>,
    heap: P,
}

// SAFETY: the blocks in the lists are the heap's, which may be sent; the lists are `[List; COUNT]` (K4), whose bounds may be sent.
unsafe impl<C: SizeClasses, P: Heap + Send, B: Bound + Send, const REFILL: usize> Send
    for FreeLists<C, P, B, REFILL>
{
}

/// The freed blocks of one class.
///
/// Every block in it is live in the parent, has been asked for with the layout of the class's slots, is exposed, and nobody else's. The first word of
/// each is the address of the next one.
struct List<B> {
    first: Option<NonNull<u8>>,
    bound: B,
}

impl<B: Bound> List<B> {
    const NEW: Self = List { first: None, bound: B::NEW };

    /// Takes the first block, without the bound's being told.
    #[inline(always)]
    fn pop(&mut self) -> Option<NonNull<u8>> {
        let first = self.first?;
        // SAFETY: a block of the list, whose first word is a link.
        self.first = unsafe { first.cast::<Option<NonNull<u8>>>().read() };
        Some(first)
    }

    /// Takes the first block to be handed out.
    #[inline(always)]
    fn take(&mut self) -> Option<NonNull<u8>> {
        let block = self.pop()?;
        self.bound.taken();
        Some(block)
    }

    /// Puts a block first, without the bound's being told.
    ///
    /// # Safety
    /// It keeps what the type says of every block.
    #[inline(always)]
    unsafe fn push(&mut self, block: NonNull<u8>) {
        // SAFETY: the block is ours, at least a word long and aligned to it: a class has a multiple of 8 bytes (K1), and slots are aligned as far.
        unsafe { block.cast::<Option<NonNull<u8>>>().write(self.first) };
        self.first = Some(block);
    }

    /// Gives up to `count` blocks, which have been asked for with `slot`, back to the heap; says how many.
    #[cold]
    fn release<P: Heap>(&mut self, slot: Layout, heap: &mut P, count: usize) -> usize {
        let mut released = 0;
        while released < count && self.first.is_some() {
            let mut some = [NonNull::dangling(); AT_ONCE];
            let mut len = 0;
            for place in some.iter_mut().take(count - released) {
                let Some(block) = self.pop() else { break };
                *place = block;
                len += 1;
            }
            self.bound.left(len);
            // SAFETY: live blocks of the heap that have been asked for with this layout, good for all of it, and no longer in the list.
            unsafe { heap.dealloc_batch(slot, &some[..len]) };
            released += len;
        }
        released
    }
}

impl<C: SizeClasses, P: Heap, B: Bound, const REFILL: usize> FreeLists<C, P, B, REFILL> {
    /// Empty lists in front of `heap`.
    #[must_use]
    pub const fn new(heap: P) -> Self {
        const {
            assert!(REFILL > 0 && REFILL <= 256, "a list is refilled with 1 to 256 blocks at a time");
            assert!(
                REFILL - 1 <= B::MAX,
                "a list is refilled with more blocks than its bound lets it keep: lower `REFILL` or raise the bound"
            );
        };
        let mut lists = ClassArray::<C, List<B>>::new();
        while lists.len() < C::COUNT {
            lists.push(List::NEW);
        }
        FreeLists { lists: lists.finish(), heap }
    }

    /// The heap behind the lists. To it, the blocks in the lists are live.
    pub const fn heap(&self) -> &P {
        &self.heap
    }

    /// The heap without the lists: what is in them goes back to it.
    #[must_use]
    pub fn into_inner(mut self) -> P {
        self.flush();
        let lists = ManuallyDrop::new(self);
        // SAFETY: the heap is taken out of a value that is neither used nor dropped any more. (The lists have nothing to be dropped but bounds.)
        unsafe { ptr::read(&lists.heap) }
    }

    /// The layout that the heap is asked for in place of a request of this class.
    #[inline(always)]
    const fn slot(class: usize) -> Layout {
        let slot = slot_layout::<C>(class);
        if slot.align() <= ALIGN_MAX {
            return slot;
        }
        // SAFETY: a power of two, and the size is a multiple of a greater one, so that rounding it up changes nothing.
        unsafe { Layout::from_size_align_unchecked(slot.size(), ALIGN_MAX) }
    }

    /// A block of a class, as long as its slot.
    ///
    /// # Safety
    /// `class` is below `COUNT`.
    #[inline(always)]
    unsafe fn block(block: NonNull<u8>, class: usize) -> NonNull<[u8]> {
        // SAFETY: the caller's promise.
        mem::slice(block, *unsafe { C::SIZES.get_unchecked(class) })
    }

    /// The class of a request that the lists serve.
    ///
    /// All sizes from the request to the class's have it (K3), and where there is none, no larger size at the same alignment has one. Such a request is aligned to
    /// no more than the class's slots are: to at most `ALIGN_MAX`, and to a divisor of the class's size (K2).
    #[inline(always)]
    fn class(layout: Layout) -> Option<usize> {
        if layout.align() > ALIGN_MAX { None } else { C::index(layout) }
    }

    /// What the heap is asked for when this one is asked for `layout`.
    #[inline(always)]
    fn asked(layout: Layout) -> Layout {
        Self::class(layout).map_or(layout, Self::slot)
    }

    /// The list of a class.
    ///
    /// # Safety
    /// `class` is below `COUNT`.
    #[inline(always)]
    unsafe fn list(&mut self, class: usize) -> &mut List<B> {
        // SAFETY: the array has one for each class (K4), and the caller's promise.
        unsafe { self.lists.as_mut().get_unchecked_mut(class) }
    }

    /// Gives all blocks in lists back to the heap; says how many bytes.
    #[cold]
    fn flush(&mut self) -> usize {
        let mut bytes = 0;
        for (class, list) in self.lists.as_mut().iter_mut().enumerate() {
            let slot = Self::slot(class);
            bytes += list.release(slot, &mut self.heap, usize::MAX) * slot.size();
        }
        bytes
    }

    /// Asks the heap; if it refuses and lists have blocks, gives these back and asks it again.
    fn with_room<T>(
        &mut self,
        mut ask: impl FnMut(&mut Self) -> Result<T, AllocError>,
    ) -> Result<T, AllocError> {
        match ask(self) {
            Err(AllocError) if self.flush() > 0 => ask(self),
            answer => answer,
        }
    }

    /// A block without a class.
    #[inline(never)]
    fn alloc_past(&mut self, layout: Layout, zeroed: bool) -> Result<NonNull<[u8]>, AllocError> {
        self.with_room(
            |lists| if zeroed { lists.heap.alloc_zeroed(layout) } else { lists.heap.alloc(layout) },
        )
    }

    /// A block of a class whose list is empty.
    ///
    /// # Errors
    /// As the heap's.
    ///
    /// # Safety
    /// `class` is below `COUNT`.
    #[inline(always)]
    unsafe fn refill(&mut self, class: usize, zeroed: bool) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        let block = unsafe { self.refill_list(class, zeroed) }?;
        // SAFETY: K2, by the caller's promise.
        let size = *unsafe { C::SIZES.get_unchecked(class) };
        // SAFETY: it is cut to the size of its slot. (Said here, where a class may be a constant, so that whoever cuts it again need not.)
        unsafe { hint::assert_unchecked(block.len() == size) };
        Ok(block)
    }

    /// # Safety
    /// As `refill`.
    #[cold]
    #[inline(never)]
    unsafe fn refill_list(&mut self, class: usize, zeroed: bool) -> Result<NonNull<[u8]>, AllocError> {
        let slot = Self::slot(class);
        if zeroed {
            let block = self.with_room(|lists| lists.heap.alloc_zeroed(slot))?;
            return Ok(expose(block, slot.size()));
        }
        if REFILL == 1 {
            let block = self.with_room(|lists| lists.heap.alloc(slot))?;
            return Ok(expose(block, slot.size()));
        }
        let mut blocks = [MaybeUninit::uninit(); REFILL];
        let count = self.with_room(|lists| match lists.heap.alloc_batch(slot, &mut blocks) {
            0 => Err(AllocError),
            count => Ok(count),
        })?;
        let (first, others) = blocks[..count].split_first().ok_or(AllocError)?;
        // SAFETY: K2, by the caller's promise.
        let list = unsafe { self.list(class) };
        for block in others.iter().rev() {
            // SAFETY: the heap has filled so many from the front.
            let block = expose(mem::slice(unsafe { block.assume_init() }, slot.size()), slot.size());
            // SAFETY: a fresh block of the heap for the class's slot, exposed.
            unsafe { list.push(block.cast()) };
        }
        list.bound.joined(others.len());
        // SAFETY: as above.
        Ok(expose(mem::slice(unsafe { first.assume_init() }, slot.size()), slot.size()))
    }

    /// Takes a block back that its list's bound does not simply keep.
    ///
    /// # Safety
    /// `class` is below `COUNT`, and the block is what the list's type says of every block.
    #[cold]
    #[inline(never)]
    unsafe fn give(&mut self, class: usize, block: NonNull<u8>) {
        let slot = Self::slot(class);
        // SAFETY: the caller's promise.
        let list = unsafe { self.lists.as_mut().get_unchecked_mut(class) };
        match list.bound.surplus() {
            0 => {
                // SAFETY: the caller's promise.
                unsafe { list.push(block) };
                list.bound.joined(1);
            }
            count => {
                // SAFETY: a live block of the heap that has been asked for with this layout, good for all of it.
                unsafe { self.heap.dealloc(block, slot) };
                list.release(slot, &mut self.heap, count - 1);
            }
        }
    }
}

// SAFETY: H1: a block with a class is one of the heap for the class's slot, fresh or out of the class's list, where nobody else has it, and cut to the slot's size.
// With any size up to that it has that class again (K3) and joins that list, or goes back to the heap with the slot's layout, by a pointer good for all of it: it was
// exposed when it was handed out. All others are the heap's own and come back there, since no larger size has a class (K3). H2: links are kept in blocks,
// not the reverse; the rest is the heap's. H3: K5, the bounds' promise, and the heap's. H4: lists that are given back change no live block; an error is the
// heap's, with nothing else done. H5: only the heap is called; at hand nothing but lists and bounds, which use no heap. H6: size zero has no class (K2), and the heap refuses it.
// H7: the class's size, for all sizes up to it (K3); without a class, as the heap's, where no larger size has one.
unsafe impl<C: SizeClasses, P: Heap, B: Bound, const REFILL: usize> Heap for FreeLists<C, P, B, REFILL> {
    const AT_HAND: bool = true;

    #[inline]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let Some(class) = Self::class(layout) else {
            return self.alloc_past(layout, false);
        };
        // SAFETY: K2.
        match unsafe { self.list(class) }.take() {
            // SAFETY: K2.
            Some(block) => Ok(unsafe { Self::block(block, class) }),
            // SAFETY: K2.
            None => unsafe { self.refill(class, false) },
        }
    }

    #[inline]
    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        let Some(class) = Self::class(layout) else {
            // SAFETY: the caller's promise: a block without a class is the heap's own.
            return unsafe { self.heap.dealloc(ptr, layout) };
        };
        // SAFETY: as above.
        if P::CHECKS && !unsafe { self.judge(ptr, layout) } {
            return;
        }
        // SAFETY: K2.
        let list = unsafe { self.list(class) };
        if list.bound.keep() {
            // SAFETY: the caller's promise: a live block of this class, so one of the heap for its slot, exposed, and now ours.
            unsafe { list.push(whole(ptr)) };
        } else {
            // SAFETY: K2, and as above.
            unsafe { self.give(class, whole(ptr)) };
        }
    }

    #[inline(always)]
    fn alloc_at_hand(&mut self, layout: Layout) -> Option<NonNull<[u8]>> {
        let Some(class) = Self::class(layout) else {
            return self.heap.alloc_at_hand(layout);
        };
        // SAFETY: K2.
        let block = unsafe { self.list(class) }.take()?;
        // SAFETY: K2.
        Some(unsafe { Self::block(block, class) })
    }

    #[inline(always)]
    unsafe fn dealloc_at_hand(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        let Some(class) = Self::class(layout) else {
            // SAFETY: the caller's promise: a block without a class is the heap's own.
            return unsafe { self.heap.dealloc_at_hand(ptr, layout) };
        };
        if P::CHECKS {
            // It is asked first, and may have a handler to call.
            return false;
        }
        // SAFETY: K2.
        let list = unsafe { self.list(class) };
        let kept = list.bound.keep();
        if kept {
            // SAFETY: the caller's promise: a live block of this class, so one of the heap for its slot, exposed, and now ours.
            unsafe { list.push(whole(ptr)) };
        }
        kept
    }

    #[inline]
    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let Some(class) = Self::class(layout) else {
            return self.alloc_past(layout, true);
        };
        // SAFETY: K2.
        let Some(block) = unsafe { self.list(class) }.take() else {
            // SAFETY: K2.
            return unsafe { self.refill(class, true) };
        };
        // SAFETY: K2.
        let block = unsafe { Self::block(block, class) };
        // SAFETY: the block is good for its slot's size, and ours.
        unsafe { block.cast::<u8>().write_bytes(0, block.len()) };
        Ok(block)
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
        let (old_class, class) = (Self::class(old), Self::class(new));
        let (old, asked) = (Self::asked(old), Self::asked(new));
        let (ptr, len) = match (old_class, class) {
            // The block is aligned as its slot, and so as the new layout.
            (Some(old), Some(new)) if old == new => return Ok(mem::slice(whole(ptr), asked.size())),
            (None, None) => (ptr, usize::MAX),
            // What has no class may come back with any size, for no larger one has a class.
            (Some(_), None) => (whole(ptr), usize::MAX),
            (None, Some(_)) => (ptr, asked.size()),
            (Some(_), Some(_)) => (whole(ptr), asked.size()),
        };
        // SAFETY: a live block of the heap, and what it was asked for, by a pointer good for all of it.
        Ok(expose_up_to(unsafe { self.heap.resize_in_place(ptr, old, asked) }?, len))
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
        if Self::class(old).is_none() && Self::class(new).is_none() {
            // SAFETY: the caller's promise: the block is the heap's own; after an error it is as it was (H4).
            return self.with_room(|lists| unsafe { lists.heap.resize(ptr, old, new) });
        }
        // SAFETY: the caller's promise.
        if let Ok(block) = unsafe { self.resize_in_place(ptr, old, new) } {
            return Ok(block);
        }
        let block = self.alloc(new)?;
        // SAFETY: both are live blocks of at least that many bytes and do not overlap (H1).
        unsafe { block.cast::<u8>().copy_from_nonoverlapping(ptr, old.size().min(new.size())) };
        // SAFETY: the caller's promise; the copy has been made.
        unsafe { self.dealloc(ptr, old) };
        Ok(block)
    }

    #[inline(always)]
    fn good_size(&self, layout: Layout) -> usize {
        match Self::class(layout) {
            Some(class) => Self::slot(class).size(),
            None => self.heap.good_size(layout),
        }
    }

    fn alloc_batch(&mut self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        let Some(class) = Self::class(layout) else {
            let count = self.heap.alloc_batch(layout, out);
            if count == out.len() || self.flush() == 0 {
                return count;
            }
            return count + self.heap.alloc_batch(layout, &mut out[count..]);
        };
        let slot = Self::slot(class);
        let mut count = 0;
        // SAFETY: K2.
        let list = unsafe { self.list(class) };
        while let Some(place) = out.get_mut(count) {
            let Some(block) = list.take() else { break };
            place.write(block);
            count += 1;
        }
        for last_try in [false, true] {
            let from = count;
            count += self.heap.alloc_batch(slot, &mut out[count..]);
            for block in &out[from..count] {
                // SAFETY: the heap has filled so many from the front.
                expose(mem::slice(unsafe { block.assume_init() }, slot.size()), slot.size());
            }
            if last_try || count == out.len() || self.flush() == 0 {
                break;
            }
        }
        count
    }

    unsafe fn dealloc_batch(&mut self, layout: Layout, blocks: &[NonNull<u8>]) {
        if Self::class(layout).is_none() {
            // SAFETY: the caller's promise: blocks without a class are the heap's own.
            return unsafe { self.heap.dealloc_batch(layout, blocks) };
        }
        for &block in blocks {
            // SAFETY: the caller's promise.
            unsafe { self.dealloc(block, layout) };
        }
    }

    /// The bytes of all blocks in lists, or what the heap has given back in turn, whichever is more.
    fn release_unused(&mut self) -> usize {
        let bytes = self.flush();
        self.heap.release_unused().max(bytes)
    }

    const CHECKS: bool = P::CHECKS;

    #[inline]
    fn looks_at(layout: Layout) -> bool {
        P::looks_at(Self::asked(layout))
    }

    unsafe fn judge(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        let ptr = if Self::class(layout).is_some() { whole(ptr) } else { ptr };
        // SAFETY: a live block of the heap, and what it was asked for, by a pointer good for all of it.
        unsafe { self.heap.judge(ptr, Self::asked(layout)) }
    }

    #[inline(always)]
    fn take_finding(&mut self) -> Option<Finding> {
        self.heap.take_finding()
    }
}

// SAFETY: the blocks are the heap's own. (Those in lists are no live blocks of this heap, nor of another.)
unsafe impl<C: SizeClasses, P: Owns, B: Bound, const REFILL: usize> Owns for FreeLists<C, P, B, REFILL> {
    #[inline]
    fn owns(&self, ptr: NonNull<u8>, layout: Layout) -> bool {
        self.heap.owns(ptr, Self::asked(layout))
    }
}

impl<C: SizeClasses, P: Reset, B: Bound, const REFILL: usize> Reset for FreeLists<C, P, B, REFILL> {
    unsafe fn reset(&mut self) {
        for list in self.lists.as_mut() {
            *list = List::NEW;
        }
        // SAFETY: the caller's promise, and the blocks in lists are forgotten.
        unsafe { self.heap.reset() };
    }
}

impl<C: SizeClasses, P: Heap, B: Bound, const REFILL: usize> Drop for FreeLists<C, P, B, REFILL> {
    /// Gives all blocks in lists back to the heap: it may be one that others use as well.
    fn drop(&mut self) {
        self.flush();
    }
}

impl<C: SizeClasses, P: Heap + Default, B: Bound, const REFILL: usize> Default
    for FreeLists<C, P, B, REFILL>
{
    fn default() -> Self {
        FreeLists::new(P::default())
    }
}

impl<C: SizeClasses, P: Heap + fmt::Debug, B: Bound, const REFILL: usize> fmt::Debug
    for FreeLists<C, P, B, REFILL>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FreeLists")
            .field("classes", &C::COUNT)
            .field("bound", &format_args!("{}", name::<B>()))
            .field("heap", &self.heap)
            .finish_non_exhaustive()
    }
}

impl<C: SizeClasses, P: Heap + Describe, B: Bound, const REFILL: usize> Describe
    for FreeLists<C, P, B, REFILL>
{
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let (first, last, bound) = (C::SIZES[0], C::SIZE_MAX, name::<B>());
        tree.part(
            format_args!("FreeLists, {} size classes from {first} to {last} bytes, {bound}", C::COUNT),
            Cost::state_of::<C::Array<List<B>>>(),
            &[("heap", P::describe)],
        )
    }
}
