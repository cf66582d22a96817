//! A list of heaps of one kind, which grows with what is asked of it.

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::region::{self, Growth};
use crate::AllocError;
use crate::arena::Arena;
use crate::check::{Checks, Finding};
use crate::describe::{Bytes, Cost, Describe, Tree};
use crate::heap::{Heap, Owns, Reset, refuse};
use crate::sizing::{Sizing, describe_sizing};
use crate::source::BackingSource;

/// Makes the heaps of a [`Chain`], each over a chunk of memory.
///
/// [`Arenas`] is ready-made. Write your own in three steps: a type, how large a chunk has to be, and the heap.
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use core::{alloc::Layout, ptr::NonNull, slice};
/// use heapwright::arena::Arena;
/// use heapwright::combine::{Chain, Factory};
/// use heapwright::{heap::Locked, lock::NoLock, sizing::{Checked, Sizing4KiB}, source::GlobalHeap};
///
/// // 1.
/// struct Small;
/// // SAFETY: N1: an arena hands out bytes of its region. N2: nothing unwinds. N3: the default.
/// unsafe impl Factory for Small {
///     type Heap = Arena<'static, Checked<Sizing4KiB>>;
///     // 2.
///     fn chunk(&self, layout: Layout, _heaps: usize) -> Option<Layout> {
///         if layout.size() > 3000 { return None; }
///         Layout::from_size_align(4096, 16).ok()
///     }
///     // 3.
///     unsafe fn heap(&self, start: NonNull<u8>, len: usize) -> Self::Heap {
///         // SAFETY: the caller's promise: the bytes are the heap's alone.
///         unsafe { Arena::from_raw_parts(start, len) }
///     }
/// }
/// let heap = Locked::<_, NoLock>::new(Chain::<Small, GlobalHeap>::new(Small, GlobalHeap));
/// # let _ = heap;
/// # }
/// ```
///
/// # Safety
/// An implementation keeps these:
/// - **N1** (its own chunk) a heap hands out memory of its chunk only, and owns nothing else.
/// - **N2** (no unwinding) no method unwinds, nor does a heap's drop, or calls the chain.
/// - **N3** (good sizes) [`good_size`](Factory::good_size) keeps H7, and is no more than what a heap's blocks have.
pub unsafe trait Factory {
    /// The heaps.
    type Heap: Owns;

    /// Size and alignment of the memory for one more heap, which is to have room for `layout`, beside so many that there are. `None` if no heap could.
    fn chunk(&self, layout: Layout, heaps: usize) -> Option<Layout>;

    /// A heap over the `len` bytes from `start` on, which have the size and alignment that [`chunk`](Factory::chunk) gave.
    ///
    /// # Safety
    /// The bytes are valid, and the heap's alone until it is dropped.
    unsafe fn heap(&self, start: NonNull<u8>, len: usize) -> Self::Heap;

    /// The size that a request of `layout` would really get in every heap.
    fn good_size(&self, layout: Layout) -> usize {
        layout.size()
    }
}

/// Arenas with a [`Sizing`], in chunks that grow as `G` says: for a [`Chain`].
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use heapwright::combine::{Arenas, Chain, FixedChunks};
/// use heapwright::{heap::{Locked, SharedHeap}, lock::NoLock, sizing::Sizing128KiB, source::GlobalHeap};
/// type Kind = Arenas<Sizing128KiB, FixedChunks<{ 64 << 10 }>>;
/// let heap = Locked::<_, NoLock>::new(Chain::<Kind, GlobalHeap>::new(Arenas::new(), GlobalHeap));
/// assert!(heap.try_alloc(std::alloc::Layout::new::<[u64; 1000]>()).is_ok());
/// # }
/// ```
pub struct Arenas<S, G>(PhantomData<fn() -> (S, G)>);

impl<S: Sizing, G: Growth> Arenas<S, G> {
    /// The factory, which has no state.
    #[must_use]
    pub const fn new() -> Self {
        const { region::check::<G>() };
        Arenas(PhantomData)
    }
}

impl<S: Sizing, G: Growth> Default for Arenas<S, G> {
    fn default() -> Self {
        Arenas::new()
    }
}

impl<S, G> fmt::Debug for Arenas<S, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Arenas<{}>", core::any::type_name::<S>())
    }
}

// SAFETY: N1: an arena hands out bytes of its region. N2: arithmetic that saturates, and an arena neither unwinds nor knows others. N3: the default.
unsafe impl<S: Sizing, G: Growth> Factory for Arenas<S, G> {
    type Heap = Arena<'static, S>;

    fn chunk(&self, layout: Layout, heaps: usize) -> Option<Layout> {
        if layout.size() > S::OBJECT_SIZE_MAX {
            return None;
        }
        let mut size = G::FIRST;
        for _ in 0..heaps {
            if size >= G::MAX || G::NUMERATOR <= G::DENOMINATOR {
                break;
            }
            size = size.saturating_mul(G::NUMERATOR) / G::DENOMINATOR;
        }
        // An arena's tables take 1/16 at most, and a few hundred bytes; there may be a zone behind each block; and granules begin at multiples of their length.
        let size_in_arena = layout.size().checked_add(S::Checks::RED_ZONE)?;
        let needed = size_in_arena
            .checked_add(size_in_arena / 8)?
            .checked_add(layout.align())?
            .checked_add(512)?
            .checked_add(3 * S::GRANULE)?;
        Layout::from_size_align(size.min(G::MAX).max(needed), 16).ok()
    }

    unsafe fn heap(&self, start: NonNull<u8>, len: usize) -> Arena<'static, S> {
        // SAFETY: the caller's promise is the same.
        unsafe { Arena::from_raw_parts(start, len) }
    }
}

impl<S: Sizing, G: Growth> Describe for Arenas<S, G> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        tree.part(
            format_args!("Arenas in chunks of {} to {}", Bytes(G::FIRST), Bytes(G::MAX)),
            Cost::NONE,
            &[("sizing", describe_sizing::<S>)],
        )
    }
}

/// As many heaps of one kind as it takes, in chunks of a source, the most recently used first.
///
/// Choose it where a heap works on one region, such as an arena, and nobody knows how much there will be. The heap that has served last is asked first; when
/// none has room the factory makes another one. A heap without blocks is kept for later while there are no more than `KEEP` of them, otherwise its
/// chunk goes back at once: so a load that comes and goes at the border of a heap does not ask the source each time.
///
/// ```text
///  a chunk
///  ├─ next │ live │ layout │ heap ─┬─ the heap's memory ───────────────┤
/// ```
/// Where heaps check, there is room for a finding behind each.
///
/// ```
/// # #[cfg(all(feature = "alloc", feature = "allocator-api2-04"))] {
/// use allocator_api2_04::{boxed::Box, vec::Vec};
/// use heapwright::combine::{Arenas, Chain, FixedChunks};
/// use heapwright::{heap::Locked, lock::NoLock, sizing::Sizing4KiB, source::GlobalHeap};
///
/// type Small = Arenas<Sizing4KiB, FixedChunks<4096>>;
/// let mut heap = Locked::<_, NoLock>::new(Chain::<Small, _>::new(Arenas::new(), GlobalHeap));
/// let numbers: std::vec::Vec<_> = (0..1000u64).map(|n| Box::new_in(n, &heap)).collect();
/// assert_eq!(numbers.iter().map(|n| **n).sum::<u64>(), 499_500);
/// drop(numbers);
/// assert_eq!((heap.get_mut().heaps(), heap.get_mut().idle()), (1, 1));
/// # }
/// ```
///
/// # Cost
/// Five words and the heap's state in each chunk, no other memory (a dozen words more where heaps check); three words of state, the factory's and the source's. A request that the first heap meets
/// takes three instructions more than there; one that none meets asks each. A free and a resize ask each heap whether a block is its own.
///
/// # Checks
/// What a heap [finds](Heap::take_finding) is passed on. A free that it finds [wrong](Heap::judge) is not counted, and a resize that it finds wrong is refused by the chain. What belongs to no heap the first of them finds wrong; where there is none, it is ignored. A heap that has found something
/// keeps its chunk until that was taken: it goes back with [`release_unused`](Heap::release_unused), or when it has served again.
///
/// What a heap refuses and does not say that way is counted as a free: after it the heap may be taken for one without blocks. So in a chain let a handler that is told at once, as a
/// [`Quarantine`](super::Quarantine)'s may be, end the process, as [`Abort`](crate::check::Abort) does; or use [`Later`](crate::check::Later).
///
/// # Errors
/// When no heap has room and the source no chunk, or the factory has no heap for the request.
///
/// The idea is D's `AllocatorList` (Andrei Alexandrescu), "ouroboros" bookkeeping in the heaps' own memory included.
pub struct Chain<F: Factory, B: BackingSource, const KEEP: usize = 1> {
    /// The list of heaps. Each is a node at the start of a live chunk.
    first: Option<NonNull<Node<F::Heap>>>,
    /// Heaps in the list.
    heaps: usize,
    /// Those without a live block.
    idle: usize,
    factory: F,
    source: B,
}

struct Node<H> {
    next: Option<NonNull<Node<H>>>,
    /// Live blocks.
    live: usize,
    /// What the source was asked for.
    chunk: Layout,
    heap: H,
}

/// What stands at the front of a chunk where heaps check.
#[repr(C)]
struct Noted<H> {
    node: Node<H>,
    /// What the heap has found, if it is not with the heap any more and nobody was told: the first of it.
    found: Option<Finding>,
}

// SAFETY: the chunks and the heaps in them are this value's alone, and go where it goes.
unsafe impl<F: Factory + Send, B: BackingSource + Send, const KEEP: usize> Send for Chain<F, B, KEEP> where
    F::Heap: Send
{
}

impl<F: Factory, B: BackingSource, const KEEP: usize> Chain<F, B, KEEP> {
    /// Without a heap: the first request makes one.
    #[must_use]
    pub const fn new(factory: F, source: B) -> Self {
        Chain { first: None, heaps: 0, idle: 0, factory, source }
    }

    /// Heaps at the moment.
    pub const fn heaps(&self) -> usize {
        self.heaps
    }

    /// Heaps without a block: at most `KEEP`, beside those that have found something.
    pub const fn idle(&self) -> usize {
        self.idle
    }

    /// The source.
    pub const fn source(&self) -> &B {
        &self.source
    }

    /// The node as a reference.
    ///
    /// # Safety
    /// It is in the list, and there is no other reference to it.
    unsafe fn node<'n>(node: NonNull<Node<F::Heap>>) -> &'n mut Node<F::Heap> {
        // SAFETY: nodes in the list are live and this value's alone; heaps do not touch them (N1).
        unsafe { &mut *node.as_ptr() }
    }

    /// The front of a chunk, before the heap's memory.
    const FRONT: Layout =
        if F::Heap::CHECKS { Layout::new::<Noted<F::Heap>>() } else { Layout::new::<Node<F::Heap>>() };

    /// The place for what a heap that checks has found.
    ///
    /// # Safety
    /// Heaps check, the node is live, and there is no other reference to the place.
    unsafe fn found<'n>(node: NonNull<Node<F::Heap>>) -> &'n mut Option<Finding> {
        let noted = node.cast::<Noted<F::Heap>>().as_ptr();
        // SAFETY: where heaps check, nodes are made at the front of such a value, by a pointer to the whole chunk.
        let found = unsafe { &raw mut (*noted).found };
        // SAFETY: it is initialised, and by the caller nobody else's.
        unsafe { &mut *found }
    }

    /// Takes what a heap that checks has found, and keeps the first.
    ///
    /// # Safety
    /// Heaps check, the node is live, and there is no reference to it.
    unsafe fn note(node: NonNull<Node<F::Heap>>) {
        // SAFETY: the caller's promise.
        let this = unsafe { Self::node(node) };
        while let Some(finding) = this.heap.take_finding() {
            // SAFETY: heaps check, and this is the only reference to the place.
            let kept = unsafe { Self::found(node) };
            *kept = kept.or(Some(finding));
        }
    }

    /// Whether a heap without a block has found something that nobody was told, as far as it can tell: what it keeps back is looked at.
    ///
    /// # Safety
    /// The node is live, and there is no reference to it.
    unsafe fn is_untold(node: NonNull<Node<F::Heap>>) -> bool {
        if !F::Heap::CHECKS {
            return false;
        }
        // SAFETY: the caller's promise.
        unsafe { Self::node(node) }.heap.release_unused();
        // SAFETY: heaps check, and as above.
        unsafe { Self::note(node) };
        // SAFETY: as above.
        unsafe { Self::found(node) }.is_some()
    }

    /// Counts `count` new blocks of a heap.
    fn count(&mut self, node: &mut Node<F::Heap>, count: usize) {
        if node.live == 0 && count > 0 {
            self.idle -= 1;
        }
        node.live += count;
    }

    /// Counts `count` blocks of a heap less, and gives the heap back if there are enough without blocks.
    fn uncount(&mut self, place: Place<F::Heap>, count: usize) {
        // SAFETY: it is in the list, and the caller has no reference to it.
        let node = unsafe { Self::node(place.node) };
        // A free too many is the caller's fault and undefined; it does not unwind all the same.
        let live = node.live;
        node.live = live.saturating_sub(count);
        if live > 0 && node.live == 0 {
            self.idle += 1;
            if self.idle > KEEP {
                self.shed(place);
            }
        }
    }

    fn unlink(&mut self, Place { before, node }: Place<F::Heap>) {
        // SAFETY: it is in the list.
        let next = unsafe { Self::node(node) }.next;
        match before {
            // SAFETY: as above.
            Some(before) => unsafe { Self::node(before) }.next = next,
            None => self.first = next,
        }
        self.heaps -= 1;
    }

    fn push(&mut self, node: NonNull<Node<F::Heap>>) {
        // SAFETY: it is live, and in no list.
        unsafe { Self::node(node) }.next = self.first;
        self.first = Some(node);
        self.heaps += 1;
    }

    /// Puts a heap first that has served.
    fn bring_to_front(&mut self, place: Place<F::Heap>) {
        if place.before.is_some() {
            self.unlink(place);
            self.push(place.node);
        }
    }

    /// Drops a heap and gives its chunk back.
    ///
    /// # Safety
    /// The node is live, in no list, and none of the heap's blocks is used again.
    unsafe fn discard(&mut self, node: NonNull<Node<F::Heap>>) {
        // SAFETY: the node is live; it is taken out, and not looked at again.
        let Node { chunk, heap, .. } = unsafe { node.read() };
        drop(heap);
        // SAFETY: the chunk, with what it was asked for; nobody uses it any more.
        unsafe { self.source.release(node.cast(), chunk) };
    }

    /// One more heap, first in the list, that ought to have room for `layout`.
    #[cold]
    fn grow(&mut self, layout: Layout) -> Result<NonNull<Node<F::Heap>>, AllocError> {
        const { assert!(B::ALIGN_MAX >= Self::FRONT.align(), "this source can't align a heap") };
        let memory = self.factory.chunk(layout, self.heaps).ok_or(AllocError)?;
        let (chunk, offset) = Self::FRONT.extend(memory).map_err(|_| AllocError)?;
        let block = self.source.acquire(chunk)?;
        let node = block.cast::<Node<F::Heap>>();
        // SAFETY: the chunk is at least that long.
        let start = unsafe { block.cast::<u8>().add(offset) };
        // SAFETY: the rest of the chunk, aligned as asked, which nobody else touches until the heap is dropped.
        let heap = unsafe { self.factory.heap(start, memory.size()) };
        // SAFETY: the chunk is fresh, and begins with room for a node, aligned.
        unsafe { node.write(Node { next: None, live: 0, chunk, heap }) };
        if F::Heap::CHECKS {
            // SAFETY: the place is behind the node.
            let found = unsafe { &raw mut (*block.cast::<Noted<F::Heap>>().as_ptr()).found };
            // SAFETY: it is the fresh chunk's, which has room for it, aligned.
            unsafe { found.write(None) };
        }
        self.push(node);
        self.idle += 1;
        Ok(node)
    }

    /// A block from the heaps that there are, or from a new one.
    #[inline]
    fn take(
        &mut self,
        layout: Layout,
        ask: impl Fn(&mut F::Heap) -> Result<NonNull<[u8]>, AllocError>,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Err(AllocError);
        }
        let mut before = None;
        let mut at = self.first;
        while let Some(node) = at {
            // SAFETY: it is in the list, and this is the only reference to it.
            let this = unsafe { Self::node(node) };
            if let Ok(block) = ask(&mut this.heap) {
                self.count(this, 1);
                self.bring_to_front(Place { before, node });
                return Ok(block);
            }
            (before, at) = (at, this.next);
        }
        let node = self.grow(layout)?;
        // SAFETY: as above.
        let this = unsafe { Self::node(node) };
        let block = ask(&mut this.heap);
        match block {
            Ok(_) => self.count(this, 1),
            Err(AllocError) => {
                self.shed(Place { before: None, node });
            }
        }
        block
    }

    /// Gives a heap back that has no block, unless somebody is to be told what it has found. Gives the size of its chunk.
    fn shed(&mut self, place: Place<F::Heap>) -> Option<usize> {
        // SAFETY: it is in the list, and the callers have no reference to it.
        if unsafe { Self::is_untold(place.node) } {
            return None;
        }
        // SAFETY: as above.
        let size = unsafe { Self::node(place.node) }.chunk.size();
        self.unlink(place);
        // SAFETY: it is in the list no more, and has no block.
        unsafe { self.discard(place.node) };
        self.idle -= 1;
        Some(size)
    }

    /// The heap that a block is from.
    fn owner(&self, ptr: NonNull<u8>, layout: Layout) -> Option<Place<F::Heap>> {
        let mut before = None;
        let mut at = self.first;
        while let Some(node) = at {
            // SAFETY: it is in the list; nobody changes it, as `self` is borrowed.
            let this = unsafe { node.as_ref() };
            if this.heap.owns(ptr, layout) {
                return Some(Place { before, node });
            }
            (before, at) = (at, this.next);
        }
        None
    }

    /// The same for a block that comes back. What is no heap's the first one, if it checks, finds wrong.
    ///
    /// # Safety
    /// As [`Heap::dealloc`].
    unsafe fn place_of(&mut self, ptr: NonNull<u8>, layout: Layout) -> Option<Place<F::Heap>> {
        let owner = self.owner(ptr, layout);
        if let (None, Some(first)) = (&owner, self.first) {
            // SAFETY: it is in the list, and this is the only reference to it.
            let heap = &mut unsafe { Self::node(first) }.heap;
            // SAFETY: the caller's promise; it is no block of this heap.
            unsafe { refuse(heap, ptr, layout) };
        }
        owner
    }

    /// Gives all heaps back.
    fn clear(&mut self) {
        while let Some(node) = self.first {
            self.unlink(Place { before: None, node });
            // SAFETY: it is in the list no more; by the callers no block is used again.
            unsafe { self.discard(node) };
        }
        self.idle = 0;
    }
}

/// A node of the list, and the one before it.
struct Place<H> {
    before: Option<NonNull<Node<H>>>,
    node: NonNull<Node<H>>,
}

impl<H> Clone for Place<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for Place<H> {}

// SAFETY: H1: a block is one of a heap (H1) over a chunk of its own (B1, N1), and goes back there, whatever its size, by ownership; a chunk goes back when
// its heap has no live block. H2: chunks are the source's, and nodes stand in them beside what the heaps hand out. H3: H3, B3, N2. H4: what was done for a
// request that fails in the end is undone, or leaves a heap without blocks. H5: B5, N2. H6: refused. H7: N3.
unsafe impl<F: Factory, B: BackingSource, const KEEP: usize> Heap for Chain<F, B, KEEP> {
    #[inline]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.take(layout, |heap| heap.alloc(layout))
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        if F::Heap::CHECKS {
            // SAFETY: the caller's promise is the same.
            let Some(place) = (unsafe { self.place_of(ptr, layout) }) else { return };
            // SAFETY: it is in the list, and this is the only reference to it.
            let heap = &mut unsafe { Self::node(place.node) }.heap;
            // SAFETY: a block of this heap, live by the caller's promise.
            if unsafe { heap.judge(ptr, layout) } {
                // SAFETY: as above.
                unsafe { heap.dealloc(ptr, layout) };
                self.uncount(place, 1);
            }
            return;
        }
        let mut before = None;
        let mut at = self.first;
        while let Some(node) = at {
            // SAFETY: it is in the list, and this is the only reference to it.
            let this = unsafe { Self::node(node) };
            // SAFETY: a live block of this heap or another one, by the caller's promise.
            if unsafe { this.heap.try_dealloc(ptr, layout) } {
                self.uncount(Place { before, node }, 1);
                return;
            }
            (before, at) = (at, this.next);
        }
    }

    #[inline]
    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.take(layout, |heap| heap.alloc_zeroed(layout))
    }

    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        let Place { node, .. } = unsafe { self.place_of(ptr, old) }.ok_or(AllocError)?;
        // SAFETY: it is in the list, and this is the only reference to it.
        let this = unsafe { Self::node(node) };
        // SAFETY: a live block of this heap.
        unsafe { this.heap.resize_in_place(ptr, old, new) }
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        let Place { node, .. } = unsafe { self.place_of(ptr, old) }.ok_or(AllocError)?;
        // SAFETY: it is in the list, and this is the only reference to it.
        let heap = &mut unsafe { Self::node(node) }.heap;
        // SAFETY: a live block of this heap.
        if F::Heap::CHECKS && !unsafe { heap.judge(ptr, old) } {
            return Err(AllocError);
        }
        // SAFETY: as above.
        if let Ok(block) = unsafe { heap.resize(ptr, old, new) } {
            return Ok(block);
        }
        let block = self.alloc(new)?;
        // SAFETY: both are live blocks of at least `min(old, new)` bytes and do not overlap (H1).
        unsafe { block.cast::<u8>().copy_from_nonoverlapping(ptr, old.size().min(new.size())) };
        // SAFETY: the caller's promise; the copy has been made.
        unsafe { self.dealloc(ptr, old) };
        Ok(block)
    }

    fn good_size(&self, layout: Layout) -> usize {
        self.factory.good_size(layout)
    }

    fn alloc_batch(&mut self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        let mut done = 0;
        let mut at = self.first;
        while let (Some(node), false) = (at, layout.size() == 0 || done == out.len()) {
            // SAFETY: it is in the list, and this is the only reference to it.
            let this = unsafe { Self::node(node) };
            let count = this.heap.alloc_batch(layout, &mut out[done..]);
            self.count(this, count);
            done += count;
            at = this.next;
        }
        while done < out.len() {
            // What does not fit into a new heap fits nowhere.
            let Ok(block) = self.alloc(layout) else { break };
            out[done].write(block.cast());
            done += 1;
            // The heap that it is from comes first.
            done += self.first.map_or(0, |node| {
                // SAFETY: as above.
                let this = unsafe { Self::node(node) };
                let count = this.heap.alloc_batch(layout, &mut out[done..]);
                self.count(this, count);
                count
            });
        }
        done
    }

    unsafe fn dealloc_batch(&mut self, layout: Layout, blocks: &[NonNull<u8>]) {
        if F::Heap::CHECKS {
            for &block in blocks {
                // SAFETY: the caller's promise is the same.
                unsafe { self.dealloc(block, layout) };
            }
            return;
        }
        let mut rest = blocks;
        while let Some(&first) = rest.first() {
            let Some(place) = self.owner(first, layout) else { return };
            // SAFETY: it is in the list, and this is the only reference to it.
            let heap = &mut unsafe { Self::node(place.node) }.heap;
            let run = rest.iter().position(|&block| !heap.owns(block, layout)).unwrap_or(rest.len());
            let (some, others) = rest.split_at(run);
            // SAFETY: live blocks of this heap, all different.
            unsafe { heap.dealloc_batch(layout, some) };
            self.uncount(place, run);
            rest = others;
        }
    }

    /// What the heaps can, and all heaps without a block (but one that has found something which nobody was told).
    fn release_unused(&mut self) -> usize {
        let mut bytes = 0;
        let mut before = None;
        let mut at = self.first;
        while let Some(node) = at {
            // SAFETY: it is in the list, and this is the only reference to it.
            let this = unsafe { Self::node(node) };
            let (next, live) = (this.next, this.live);
            let shed = if live == 0 { self.shed(Place { before, node }) } else { None };
            bytes += match shed {
                Some(size) => size,
                None => {
                    before = at;
                    // SAFETY: it is still in the list, and this is the only reference to it.
                    unsafe { Self::node(node) }.heap.release_unused()
                }
            };
            at = next;
        }
        bytes
    }

    const CHECKS: bool = F::Heap::CHECKS;

    #[inline]
    fn looks_at(layout: Layout) -> bool {
        F::Heap::looks_at(layout)
    }

    unsafe fn judge(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise is the same.
        let Some(Place { node, .. }) = (unsafe { self.place_of(ptr, layout) }) else { return false };
        // SAFETY: it is in the list, and this is the only reference to it.
        let heap = &mut unsafe { Self::node(node) }.heap;
        // SAFETY: a block of this heap, live by the caller's promise.
        unsafe { heap.judge(ptr, layout) }
    }

    fn take_finding(&mut self) -> Option<Finding> {
        let mut at = self.first.filter(|_| F::Heap::CHECKS);
        while let Some(node) = at {
            // SAFETY: it is in the list, and this is the only reference to it.
            let this = unsafe { Self::node(node) };
            at = this.next;
            // SAFETY: heaps check, and this is the only reference to the place.
            let kept = unsafe { Self::found(node) }.take();
            let found = kept.or_else(|| this.heap.take_finding());
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

// SAFETY: a block lies in the chunk of one of the heaps, which are this value's alone, and owned by that heap.
unsafe impl<F: Factory, B: BackingSource, const KEEP: usize> Owns for Chain<F, B, KEEP> {
    fn owns(&self, ptr: NonNull<u8>, layout: Layout) -> bool {
        self.owner(ptr, layout).is_some()
    }
}

impl<F: Factory, B: BackingSource, const KEEP: usize> Reset for Chain<F, B, KEEP> {
    unsafe fn reset(&mut self) {
        self.clear();
    }
}

impl<F: Factory, B: BackingSource, const KEEP: usize> Drop for Chain<F, B, KEEP> {
    fn drop(&mut self) {
        self.clear();
    }
}

impl<F: Factory, B: BackingSource, const KEEP: usize> fmt::Debug for Chain<F, B, KEEP> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("heaps", &self.heaps).field("idle", &self.idle).finish_non_exhaustive()
    }
}

impl<F: Factory + Describe, B: BackingSource + Describe, const KEEP: usize> Describe for Chain<F, B, KEEP> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let cost = Cost::state_of::<[usize; 3]>();
        tree.part(
            format_args!("Chain of heaps, {KEEP} kept without blocks"),
            cost,
            &[("heaps", F::describe), ("source", B::describe)],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::combine::FixedChunks;
    use crate::heap::Locked;
    use crate::lock::SpinLock;
    use crate::sizing::Sizing4KiB;
    use crate::source::Buffer;

    type Small = Chain<Arenas<Sizing4KiB, FixedChunks<4096>>, Buffer<'static>>;
    static_assertions::const_assert_eq!(
        size_of::<Small>(),
        3 * size_of::<usize>() + size_of::<Buffer<'static>>()
    );
    static_assertions::const_assert_eq!(
        Small::FRONT.size(),
        4 * size_of::<usize>() + size_of::<Arena<'static, Sizing4KiB>>()
    );
    static_assertions::assert_impl_all!(Small: Send);
    static_assertions::assert_impl_all!(Locked<Small, SpinLock>: Send, Sync);
}
