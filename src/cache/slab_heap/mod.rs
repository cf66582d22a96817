//! A heap of slab caches, one for each size class.

mod inside;
mod looking;

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::front::Fronted;
use super::retention::{KeepAll, Retention};
use super::size_classes::{ClassArray, SizeClasses, slot_layout};
use super::slab_cache::{CacheStats, SlabStats};
use super::watch::{SlabChecks, Watch};
use crate::AllocError;
use crate::check::{Checks, Finding, Unchecked};
use crate::heap::{Heap, Locked, NoHeap, SharedHeap, refuse};
use crate::lock::Lock;
use crate::slab::{Shape, SlabSystem};

/// A heap core for every layout: a slab cache for each size class, and another heap for what is larger.
///
/// Choose it as the general heap of a program that allocates small objects of many sizes: objects of one size lie side by side, take no
/// header, and go in and out in O(1). A free needs no look-up, since the layout says the class. For a shell, put it in a [`Locked`].
///
/// | parameter | |
/// |---|---|
/// | `C` | the sizes: [`Classes`](super::Classes), or your own from [`size_classes!`](crate::size_classes) |
/// | `S` | the slabs of all classes: [`AlignedSlabs`](crate::slab::AlignedSlabs), [`LargeSlabs`](crate::slab::LargeSlabs), your own |
/// | `N` | the next heap, for requests above `C::SIZE_MAX` or `C::ALIGN_MAX`: [`SourceHeap`](crate::source::SourceHeap), an arena core; [`NoHeap`] refuses them |
/// | `R` | which slabs without live objects each class keeps |
/// | `FRONT` | how many free objects each class has at hand, outside their slabs; 0 for none |
/// | `P` | what is [checked](crate::check) when a block comes back, and goes out; what the next heap checks is said there |
///
/// ```text
///   layout ─ C::index ─┬─ class 0   ┌ objects at hand ┬ slabs of   8 bytes ┐
///                      ├─ class 1   │                 │ slabs of  16 bytes │
///                      │   ..       │                 │   ..               ├─ one source
///                      ├─ class 75  └                 ┴ slabs of 32 KiB    ┘
///                      └─ none ──── the next heap
/// ```
/// All classes share one source. A request that finds no memory takes back what other classes keep and is tried again, so that memory of a
/// class that has gone quiet is never in the way; in that case it costs O(classes + slabs released).
///
/// # Cost
/// An allocation and a free are O(1), bookkeeping apart, as long as the source has memory. Each class takes `size_of::<S>()` and 4 + `FRONT` words in this value (and the policy's
/// state, if it has any), and nothing else while it is not used; all of it zero, so that a static heap lies in `.bss`.
/// Objects of one size can be resized where they stand as long as they stay in their class; larger ones as the next heap can.
///
/// With a policy `P` that looks at [frees](Checks::Frees), what comes back, to be freed or resized, has to be a live block of the class that its layout has: else it is left alone, counted
/// ([`misuses`](Locked::misuses)), and told, with the class that it is of ([`Misuse::owner`](crate::check::Misuse::owner)). A block with a red zone is of the class for both. The guide's chapter
/// [`caches`](crate::guide::caches#checks) says what the rest of a policy comes to, and what it costs.
///
/// ```
/// # #[cfg(all(feature = "os", feature = "allocator-api2-04"))] {
/// use heapwright::cache::{Classes, SlabHeap};
/// use heapwright::heap::Locked;
/// use heapwright::lock::SpinLock;
/// use heapwright::slab::AlignedSlabs;
/// use heapwright::source::{Pages, SourceHeap};
///
/// type General = Locked<SlabHeap<Classes, AlignedSlabs<Pages>, SourceHeap<Pages>>, SpinLock>;
/// static HEAP: General = General::over(Pages, SourceHeap::new(Pages));
///
/// let mut numbers = allocator_api2_04::vec::Vec::new_in(&HEAP);
/// for number in 0..10_000u32 {
///     numbers.push(number); // through the classes from 16 bytes on, and then into pages of its own
/// }
/// assert_eq!((HEAP.stats().live, HEAP.stats().large_blocks), (0, 1));
/// drop(numbers);
/// assert_eq!(HEAP.usage().objects, 0);
/// assert_eq!(HEAP.reap(), 12, "each class that it came through kept a slab");
/// # }
/// ```
///
/// In a few KiB, with classes to fit and no other heap:
/// ```
/// use heapwright::cache::{KeepAll, SlabHeap};
/// use heapwright::heap::{Locked, NoHeap, SharedHeap};
/// use heapwright::lock::NoLock;
/// use heapwright::slab::AlignedSlabs;
/// use heapwright::{arena::Teaspoon, sizing::Sizing128KiB};
/// use std::{alloc::Layout, mem::MaybeUninit};
///
/// heapwright::size_classes! { struct Small = 8..=64, 4 per doubling; }
///
/// let mut memory = [MaybeUninit::uninit(); 8192];
/// let arena = Teaspoon::<Sizing128KiB, NoLock>::from_slice(&mut memory);
/// type Tiny<S> = Locked<SlabHeap<Small, S, NoHeap, KeepAll, 0>, NoLock>;
/// let heap = Tiny::<AlignedSlabs<_, 512>>::over(&arena, NoHeap);
/// let block = heap.try_alloc(Layout::new::<[u8; 13]>())?;
/// assert_eq!((block.len(), heap.class_stats(1).map(|class| class.live)), (16, Some(1)));
/// assert!(heap.try_alloc(Layout::new::<[u8; 65]>()).is_err());
/// # // SAFETY: the block is live, and its layout this one.
/// # unsafe { heap.free(block.cast(), Layout::new::<[u8; 13]>()) };
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// A class that no slab can hold is a compile error:
/// ```compile_fail,E0080
/// # use heapwright::cache::{Classes, SlabHeap};
/// # use heapwright::heap::{Heap, NoHeap};
/// # use heapwright::slab::AlignedSlabs;
/// # use heapwright::source::StaticBuffer;
/// # static RAM: StaticBuffer<8192> = StaticBuffer::new();
/// // "the object does not fit into a slab: choose a larger slab size, or 0 for one that fits"
/// let mut heap: SlabHeap<Classes, AlignedSlabs<_, 4096>, NoHeap> = SlabHeap::new(&RAM, NoHeap);
/// let block = heap.alloc(std::alloc::Layout::new::<u64>());
/// ```
pub struct SlabHeap<
    C: SizeClasses,
    S: SlabSystem,
    N: Heap = NoHeap,
    R: Retention = KeepAll,
    const FRONT: usize = 16,
    P: Checks = Unchecked,
> {
    /// One for each class, in order. Invariant: every call on one brings `source` and the class's own shape, of [`Shapes`].
    classes: C::Array<Fronted<S, R, FRONT, false, P>>,
    source: S::Source,
    next: N,
    /// What the next heap has handed out.
    large: Large,
    watch: Watch<P>,
}

// SAFETY: the array is `[Fronted; COUNT]` (K4), which may be sent if `S` and `R` may.
unsafe impl<C, S, N, R, const FRONT: usize, P> Send for SlabHeap<C, S, N, R, FRONT, P>
where
    C: SizeClasses,
    S: SlabSystem + Send,
    S::Source: Send,
    N: Heap + Send,
    R: Retention + Send,
    P: Checks,
{
}

/// How full a [`SlabHeap`] is, over all classes.
///
/// ```
/// use heapwright::cache::{Classes, SlabHeap, SlabHeapStats};
/// use heapwright::heap::{Locked, NoHeap};
/// use heapwright::lock::NoLock;
/// use heapwright::slab::AlignedSlabs;
/// use heapwright::source::StaticBuffer;
/// static RAM: StaticBuffer<4096> = StaticBuffer::new();
/// type Small = Locked<SlabHeap<Classes, AlignedSlabs<&'static StaticBuffer<4096>>>, NoLock>;
/// let heap = Small::over(&RAM, NoHeap);
/// assert_eq!(heap.stats(), SlabHeapStats::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlabHeapStats {
    /// Live objects in slabs.
    pub live: usize,
    /// Bytes of their slots.
    pub bytes_live: usize,
    /// Free objects at hand.
    pub at_hand: usize,
    /// Slabs that are held.
    pub slabs: usize,
    /// Slabs all of whose objects are free.
    pub free_slabs: usize,
    /// Bytes of the slabs that are held.
    pub bytes_held: usize,
    /// Bytes of these that can never be objects: headers, tables, slack.
    pub bytes_wasted: usize,
    /// Live blocks of the next heap.
    pub large_blocks: usize,
    /// Their bytes, each block rounded up as the next heap says ([`Heap::good_size`]).
    pub large_bytes: usize,
}

/// What the next heap has handed out, by its own word.
#[derive(Clone, Copy, Debug, Default)]
struct Large {
    blocks: usize,
    bytes: usize,
}

/// The shapes of all classes of `C` in slabs of `S`: constants.
pub(super) struct Shapes<C, S>(PhantomData<fn() -> (C, S)>);

impl<C: SizeClasses, S: SlabSystem> Shapes<C, S> {
    /// One for each class, and perhaps more. A constant can't refer to an array of a length that depends on `C`, hence the steps.
    pub(in crate::cache) const ALL: &'static [Shape] = match C::COUNT {
        0..=16 => const { &Self::table::<16>(1) },
        17..=40 => const { &Self::table::<40>(17) },
        41..=80 => const { &Self::table::<80>(41) },
        81..=128 => const { &Self::table::<128>(81) },
        _ => const { &Self::table::<255>(129) },
    };

    /// The shapes of the first `LEN` classes, if there are at least `count` and no more than `LEN`.
    const fn table<const LEN: usize>(count: usize) -> [Shape; LEN] {
        let mut shapes = [Shape::checked(&S::RULES, slot_layout::<C>(0), false); LEN];
        let mut class = 1;
        while count <= C::COUNT && C::COUNT <= LEN && class < C::COUNT {
            shapes[class] = Shape::checked(&S::RULES, slot_layout::<C>(class), false);
            class += 1;
        }
        shapes
    }

    /// The shape of a class.
    ///
    /// # Safety
    /// `class` is below `COUNT`.
    #[inline(always)]
    pub(super) unsafe fn of(class: usize) -> &'static Shape {
        // SAFETY: there is a shape for each class, and the caller's promise.
        unsafe { Self::ALL.get_unchecked(class) }
    }
}

impl<C: SizeClasses, S: SlabSystem, N: Heap, R: Retention, const FRONT: usize, P: Checks>
    SlabHeap<C, S, N, R, FRONT, P>
{
    /// A heap with slabs from `source`, and `next` for what is larger than all classes.
    #[must_use]
    pub const fn new(source: S::Source, next: N) -> Self {
        let mut classes = ClassArray::<C, Fronted<S, R, FRONT, false, P>>::new();
        while classes.len() < C::COUNT {
            classes.push(Fronted::NEW);
        }
        SlabHeap {
            classes: classes.finish(),
            source,
            next,
            large: Large { blocks: 0, bytes: 0 },
            watch: Watch::NEW,
        }
    }

    /// The source of all slabs.
    #[must_use]
    pub const fn source(&self) -> &S::Source {
        &self.source
    }

    /// The heap for what is larger than all classes.
    #[must_use]
    pub const fn next(&self) -> &N {
        &self.next
    }

    /// A class, its shape, and the source: what the calls on that class bring.
    ///
    /// # Safety
    /// `class` is below `COUNT`.
    #[inline(always)]
    unsafe fn class(
        &mut self,
        class: usize,
    ) -> (&mut Fronted<S, R, FRONT, false, P>, &'static Shape, &mut S::Source) {
        // SAFETY: the array has one element for each class (K4), and the caller's promise.
        let fronted = unsafe { self.classes.as_mut().get_unchecked_mut(class) };
        // SAFETY: the caller's promise.
        (fronted, unsafe { Shapes::<C, S>::of(class) }, &mut self.source)
    }

    /// Runs `work` on each class, and adds up what it gives.
    fn each(
        &mut self,
        mut work: impl FnMut(&mut Fronted<S, R, FRONT, false, P>, &'static Shape, &mut S::Source) -> usize,
    ) -> usize {
        let classes = self.classes.as_mut().iter_mut().zip(Shapes::<C, S>::ALL);
        classes.map(|(class, shape)| work(class, shape, &mut self.source)).sum()
    }

    /// A slot of a class as a block of `layout`, which has it.
    ///
    /// # Safety
    /// `class` is below `COUNT`.
    #[inline(always)]
    unsafe fn slot(object: NonNull<u8>, class: usize, layout: Layout) -> NonNull<[u8]> {
        if P::ZONE > 0 {
            // What lies behind the block is its zone.
            return NonNull::slice_from_raw_parts(object, layout.size());
        }
        // SAFETY: the caller's promise.
        NonNull::slice_from_raw_parts(object, *unsafe { C::SIZES.get_unchecked(class) })
    }

    /// The class for blocks of `layout`, and what lies behind them.
    #[inline(always)]
    fn index(layout: Layout) -> Option<usize> {
        if P::ZONE == 0 || layout.size() == 0 {
            return C::index(layout);
        }
        C::index(Layout::from_size_align(layout.size().checked_add(P::ZONE)?, layout.align()).ok()?)
    }

    /// The layout of the largest block in a slot of a class.
    ///
    /// # Safety
    /// `class` is below `COUNT`.
    unsafe fn slot_layout(class: usize) -> Layout {
        // SAFETY: the caller's promise.
        let shape = unsafe { Shapes::<C, S>::of(class) };
        let size = shape.stride().saturating_sub(P::ZONE);
        Layout::from_size_align(size, shape.align()).unwrap_or(Layout::new::<u8>())
    }

    /// Does `work`; if it fails and some class keeps slabs that nobody needs, releases these and does it again.
    fn with_room<T>(
        &mut self,
        mut work: impl FnMut(&mut Self) -> Result<T, AllocError>,
    ) -> Result<T, AllocError> {
        match work(self) {
            Err(_) if self.trim(0) > 0 => work(self),
            result => result,
        }
    }

    /// An object of a class that has none at hand.
    ///
    /// # Safety
    /// `class` is below `COUNT`.
    #[cold]
    #[inline(never)]
    unsafe fn refill(&mut self, class: usize) -> Result<NonNull<u8>, AllocError> {
        self.with_room(|heap| {
            // SAFETY: the caller's promise.
            let (fronted, shape, source) = unsafe { heap.class(class) };
            // SAFETY: the invariant of `classes`.
            let (object, _) = unsafe { fronted.refill(source, shape) }?;
            Ok(object)
        })
    }

    /// Takes an object back for which its class has no room at hand.
    ///
    /// # Safety
    /// It is a live object of this class, which is below `COUNT`.
    #[cold]
    #[inline(never)]
    unsafe fn push_when_full(&mut self, class: usize, object: NonNull<u8>) {
        // SAFETY: the caller's promise.
        let (fronted, shape, source) = unsafe { self.class(class) };
        // SAFETY: the caller's promise; the invariant of `classes`.
        unsafe { fronted.push_when_full(source, shape, object) };
    }

    /// A block of the next heap.
    #[inline(never)]
    fn alloc_large(&mut self, layout: Layout, zeroed: bool) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Err(AllocError);
        }
        let block =
            self.with_room(
                |heap| {
                    if zeroed { heap.next.alloc_zeroed(layout) } else { heap.next.alloc(layout) }
                },
            )?;
        self.large.blocks += 1;
        self.large.bytes += self.next.good_size(layout);
        Ok(block)
    }

    /// Gives a block back to the next heap.
    ///
    /// # Safety
    /// As [`Heap::dealloc`], and the layout has no class.
    #[inline(never)]
    unsafe fn dealloc_large(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        if Self::CHECKS && !unsafe { self.lets_back_large(ptr, layout) } {
            return;
        }
        // A free too many is the caller's fault and undefined where nothing checks; it does not unwind all the same.
        self.large.blocks = self.large.blocks.saturating_sub(1);
        self.large.bytes = self.large.bytes.saturating_sub(self.next.good_size(layout));
        // SAFETY: the caller's promise: no layout with a class comes from there, and all others do.
        unsafe { self.next.dealloc(ptr, layout) };
    }

    /// Resizes a block that was the next heap's and stays there.
    ///
    /// # Safety
    /// As [`Heap::resize`], and neither layout has a class.
    #[inline(never)]
    unsafe fn resize_large(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
        may_move: bool,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        if Self::CHECKS && !unsafe { self.lets_back_large(ptr, old) } {
            return Err(AllocError);
        }
        let block = if may_move {
            // SAFETY: the caller's promise; a resize that fails leaves the block as it was (H4).
            self.with_room(|heap| unsafe { heap.next.resize(ptr, old, new) })?
        } else {
            // SAFETY: the caller's promise.
            unsafe { self.next.resize_in_place(ptr, old, new) }?
        };
        let rest = self.large.bytes.saturating_sub(self.next.good_size(old));
        self.large.bytes = rest + self.next.good_size(new);
        Ok(block)
    }

    /// Fills `out` from its front with slots of one class, as many as there are at little cost, at least one; says how many. For layers that
    /// move many at once, such as caches per thread.
    ///
    /// A slot is as long as its class, less the policy's [`RED_ZONE`](crate::check::Checks::RED_ZONE): so many of its last bytes are not its user's.
    ///
    /// # Errors
    /// When the source has no more, there is no such class, or `out` is empty.
    pub fn take_slots(
        &mut self,
        class: usize,
        out: &mut [MaybeUninit<NonNull<u8>>],
    ) -> Result<usize, AllocError> {
        if class >= C::COUNT || out.is_empty() {
            return Err(AllocError);
        }
        let mut take = |heap: &mut Self, from| {
            // SAFETY: just checked.
            let (fronted, shape, source) = unsafe { heap.class(class) };
            // SAFETY: the invariant of `classes`.
            let taken = unsafe { fronted.take(source, shape, &mut out[from..]) }?;
            Ok(from + taken.count)
        };
        let mut count = self.with_room(|heap| take(heap, 0))?;
        while let Ok(more) = take(self, count) {
            count = more;
        }
        if P::LOOKS {
            // SAFETY: there is such a class.
            let layout = unsafe { Self::slot_layout(class) };
            // SAFETY: as above; so many slots of it have just been taken.
            unsafe { self.make_all_ready(class, &out[..count], layout) };
        }
        Ok(count)
    }

    /// Takes slots of one class back, cheaper than one by one.
    ///
    /// # Safety
    /// There is such a class; all are live blocks of this heap whose layouts have it, and all are different.
    pub unsafe fn give_slots(&mut self, class: usize, slots: &[NonNull<u8>]) {
        if P::LOOKS {
            // SAFETY: the caller's promise: there is such a class.
            let layout = unsafe { Self::slot_layout(class) };
            // SAFETY: as above, and the slots are its.
            return unsafe { self.take_all_back(class, slots, layout) };
        }
        // SAFETY: the caller's promise: the class is below `COUNT`.
        let (fronted, shape, source) = unsafe { self.class(class) };
        // SAFETY: the caller's promise; the invariant of `classes`.
        unsafe { fronted.put(source, shape, slots, false) };
    }
}

/// What is there, and giving it back.
impl<C: SizeClasses, S: SlabSystem, N: Heap, R: Retention, const FRONT: usize, P: Checks>
    SlabHeap<C, S, N, R, FRONT, P>
{
    /// Gives slabs without live objects back to the source until each class has at most `keep` of them, objects at hand included; says how
    /// many went.
    fn trim(&mut self, keep: usize) -> usize {
        // SAFETY: the invariant of `classes`; raw memory holds nothing that has to be destroyed.
        self.each(|class, shape, source| unsafe { class.trim(source, shape, keep) })
    }

    /// Lets the policies look again; says how many slabs went.
    fn tick(&mut self) -> usize {
        // SAFETY: the invariant of `classes`.
        self.each(|class, shape, source| unsafe { class.tick(source, shape) })
    }

    fn stats(&self) -> SlabHeapStats {
        let mut sum = SlabHeapStats {
            large_blocks: self.large.blocks,
            large_bytes: self.large.bytes,
            ..SlabHeapStats::default()
        };
        for (class, shape) in self.classes.as_ref().iter().zip(Shapes::<C, S>::ALL) {
            let stats = class.stats(shape);
            sum.live += stats.live;
            sum.bytes_live += stats.bytes_live();
            sum.at_hand += stats.at_hand;
            sum.slabs += stats.slabs;
            sum.free_slabs += stats.free_slabs;
            sum.bytes_held += stats.bytes_held;
            sum.bytes_wasted += stats.bytes_wasted();
        }
        sum
    }

    fn class_stats(&self, class: usize) -> Option<CacheStats> {
        let fronted = self.classes.as_ref().get(class)?;
        Some(fronted.stats(Shapes::<C, S>::ALL.get(class)?))
    }

    /// The slab of this number, of a class.
    fn slab(&self, class: usize, number: usize) -> Option<SlabStats> {
        let fronted = self.classes.as_ref().get(class)?;
        // SAFETY: the invariant of `classes`.
        let slab = unsafe { fronted.system().slab(Shapes::<C, S>::ALL.get(class)?, number) }?;
        Some(SlabStats {
            address: slab.address(),
            len: slab.len(),
            capacity: slab.capacity(),
            free: slab.free(),
            constructed: slab.constructed(),
        })
    }
}

// SAFETY: H1: a free object is in its slab or at hand, and leaves that place when it is handed out (Y1); it has its class's size and
// alignment, in which the layout fits (K2), and all sizes up to its length have the same class (K3), so it comes back to where it is from. It
// is handed out with its slab's provenance (Y5). Layouts without a class go to the next heap (H1); a larger size at the same alignment has
// none either (K3), so its blocks come back there. H2: slabs are blocks of the source; the next heap (H2). H3: Y4, K5, H3, and policies do not
// unwind. H4: Y4, H4. H5: B5, H5, and what is done at hand calls nothing but `C::index`, a function of its argument (K2). H6: size zero has no
// class, and ends in `alloc_large`. H7: the class's size, or with zones the size itself, as no block is longer than what was asked for; H7.
unsafe impl<C: SizeClasses, S: SlabSystem, N: Heap, R: Retention, const FRONT: usize, P: Checks> Heap
    for SlabHeap<C, S, N, R, FRONT, P>
{
    /// What is looked at takes longer than any leaf.
    const AT_HAND: bool = FRONT > 0 && !P::LOOKS;

    #[inline]
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let Some(class) = Self::index(layout) else { return self.alloc_large(layout, false) };
        // SAFETY: K2.
        let (fronted, ..) = unsafe { self.class(class) };
        let object = match fronted.pop() {
            Some(object) => object,
            // SAFETY: K2.
            None => unsafe { self.refill(class) }?,
        };
        if P::LOOKS {
            // SAFETY: K2; it has just been taken.
            unsafe { self.make_ready(class, object, layout) };
        }
        // SAFETY: K2.
        Ok(unsafe { Self::slot(object, class, layout) })
    }

    #[inline]
    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        let Some(class) = Self::index(layout) else {
            // SAFETY: the caller's promise is the same.
            return unsafe { self.dealloc_large(ptr, layout) };
        };
        // SAFETY: K2; the caller's promise is the same.
        if P::LOOKS && !unsafe { self.takes_back(class, ptr, layout) } {
            return;
        }
        // SAFETY: K2.
        let (fronted, ..) = unsafe { self.class(class) };
        // SAFETY: the caller's promise: a live block, of this class as its layout has it (K2, K3).
        if !unsafe { fronted.push(ptr) } {
            // SAFETY: the same.
            unsafe { self.push_when_full(class, ptr) };
        }
    }

    #[inline(always)]
    fn alloc_at_hand(&mut self, layout: Layout) -> Option<NonNull<[u8]>> {
        if P::LOOKS {
            return None;
        }
        let class = C::index(layout)?;
        // SAFETY: K2.
        let (fronted, ..) = unsafe { self.class(class) };
        let object = fronted.pop()?;
        // SAFETY: K2.
        Some(unsafe { Self::slot(object, class, layout) })
    }

    #[inline(always)]
    unsafe fn dealloc_at_hand(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        if P::LOOKS {
            return false;
        }
        let Some(class) = C::index(layout) else { return false };
        // SAFETY: K2.
        let (fronted, ..) = unsafe { self.class(class) };
        // SAFETY: the caller's promise: a live block, of this class as its layout has it (K2, K3).
        unsafe { fronted.push(ptr) }
    }

    #[inline]
    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if Self::index(layout).is_none() {
            return self.alloc_large(layout, true);
        }
        let block = self.alloc(layout)?;
        // SAFETY: the block is fresh, ours, and `len` bytes long (H1).
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
        match (Self::index(old), Self::index(new)) {
            // SAFETY: the caller's promise is the same.
            (None, None) => unsafe { self.resize_large(ptr, old, new, false) },
            // SAFETY: K2; the caller's promise is the same.
            (Some(class), Some(other)) if class == other => unsafe { self.stay(class, ptr, old, new) },
            // SAFETY: the caller's promise is the same.
            _ => Err(unsafe { refuse(self, ptr, old) }),
        }
    }

    #[inline]
    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let (from, to) = (Self::index(old), Self::index(new));
        if from.is_none() && to.is_none() {
            // SAFETY: the caller's promise is the same.
            return unsafe { self.resize_large(ptr, old, new, true) };
        }
        if let Some(class) = from.filter(|_| from == to) {
            // SAFETY: K2; the caller's promise is the same.
            return unsafe { self.stay(class, ptr, old, new) };
        }
        let looks = if from.is_some() { P::LOOKS } else { Self::CHECKS };
        if looks {
            // SAFETY: the caller's promise is the same.
            return unsafe { self.move_looked_at(ptr, old, new) };
        }
        let block = self.alloc(new)?;
        // SAFETY: both are live blocks of at least `min(old, new)` bytes and do not overlap (H1).
        unsafe { block.cast::<u8>().copy_from_nonoverlapping(ptr, old.size().min(new.size())) };
        // SAFETY: the caller's promise; the copy has been made.
        unsafe { self.dealloc(ptr, old) };
        Ok(block)
    }

    #[inline]
    fn good_size(&self, layout: Layout) -> usize {
        match Self::index(layout) {
            Some(_) if P::ZONE > 0 => layout.size(),
            Some(class) => C::SIZES[class],
            None => self.next.good_size(layout),
        }
    }

    fn alloc_batch(&mut self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        let mut count = 0;
        let Some(class) = Self::index(layout) else {
            while let Some(place) = out.get_mut(count) {
                let Ok(block) = self.alloc_large(layout, false) else { break };
                place.write(block.cast());
                count += 1;
            }
            return count;
        };
        while let Ok(more) = self.take_slots(class, &mut out[count..]) {
            count += more;
        }
        if P::ZONE > 0 {
            // SAFETY: K2; so many slots of it have just been taken.
            unsafe { Self::enclose_all(class, &out[..count], layout) };
        }
        count
    }

    unsafe fn dealloc_batch(&mut self, layout: Layout, blocks: &[NonNull<u8>]) {
        if let Some(class) = Self::index(layout) {
            if P::LOOKS {
                // SAFETY: K2; the caller's promise is the same.
                return unsafe { self.take_all_back(class, blocks, layout) };
            }
            // SAFETY: K2: there is such a class; the caller's promise: live blocks of it (K2, K3), all different.
            return unsafe { self.give_slots(class, blocks) };
        }
        for &block in blocks {
            // SAFETY: the caller's promise, and the layout has no class.
            unsafe { self.dealloc_large(block, layout) };
        }
    }

    fn release_unused(&mut self) -> usize {
        let held = self.stats().bytes_held;
        self.trim(0);
        held - self.stats().bytes_held + self.next.release_unused()
    }

    const CHECKS: bool = P::LOOKS || N::CHECKS;

    unsafe fn judge(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise is the same.
        unsafe { self.judge_block(ptr, layout) }
    }

    #[inline(always)]
    fn take_finding(&mut self) -> Option<Finding> {
        self.watch.take().or_else(|| self.next.take_finding())
    }
}

impl<C: SizeClasses, S: SlabSystem, N: Heap, R: Retention, const FRONT: usize, L: Lock, P: Checks>
    Locked<SlabHeap<C, S, N, R, FRONT, P>, L>
{
    /// A heap with slabs from `source`, and `next` for what is larger than all classes.
    #[must_use]
    pub const fn over(source: S::Source, next: N) -> Self {
        Locked::new(SlabHeap::new(source, next))
    }

    /// Runs `work` on the core, which is locked; the default of `T` on re-entry.
    fn locked<T: Default>(&self, work: impl FnOnce(&mut SlabHeap<C, S, N, R, FRONT, P>) -> T) -> T {
        // SAFETY: the closures in this file call nothing but the core, leave it in its place and do not unwind.
        unsafe { self.enter(work) }.unwrap_or_default()
    }

    /// How many objects, slabs and bytes there are in all. O(classes). All zero on re-entry.
    #[must_use]
    pub fn stats(&self) -> SlabHeapStats {
        self.locked(|core| core.stats())
    }

    /// How many objects and slabs a class has, of which `C::SIZES` is the list; `None` if there is no such class, and on re-entry.
    #[must_use]
    pub fn class_stats(&self, class: usize) -> Option<CacheStats> {
        self.locked(|core| core.class_stats(class))
    }

    /// The slabs of a class, in no particular order. Each step takes the lock, and O(slabs) to find its place: with other threads at work
    /// slabs may be missed or seen twice.
    pub fn slabs(&self, class: usize) -> impl Iterator<Item = SlabStats> {
        (0..).map_while(move |number| self.locked(|core| core.slab(class, number)))
    }

    /// Gives slabs without live objects back to the source until each class has at most `keep` of them, objects at hand included; says how
    /// many went.
    pub fn trim(&self, keep: usize) -> usize {
        self.locked(|core| core.trim(keep))
    }

    /// Gives all slabs without live objects back to the source; says how many went.
    pub fn reap(&self) -> usize {
        self.trim(0)
    }

    /// Lets the retention policies look again, for a program that has gone quiet; says how many slabs went.
    pub fn tick(&self) -> usize {
        self.locked(SlabHeap::tick)
    }
}

impl<C: SizeClasses, S: SlabSystem, N: Heap, R: Retention, const FRONT: usize, P: Checks> Drop
    for SlabHeap<C, S, N, R, FRONT, P>
{
    fn drop(&mut self) {
        self.each(|class, shape, source| {
            // SAFETY: the invariant of `classes`; no call follows.
            unsafe { class.close(source, shape) };
            0
        });
    }
}

impl<C: SizeClasses, S: SlabSystem, N: Heap, R: Retention, const FRONT: usize, P: Checks> fmt::Debug
    for SlabHeap<C, S, N, R, FRONT, P>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlabHeap").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
