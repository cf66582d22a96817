//! The core contract: what every heap does behind `&mut self`, and the one shell that makes it shareable.
//!
//! A *core* implements [`Heap`]: it takes `&mut self`, knows no lock, and never contains the memory that it hands
//! out. The shell [`Locked`] adds the lock, zero-size requests, and every allocator trait. So a core is written once,
//! and towers of cores pay for one lock.
//!
//! # Handles
//! What a collection holds is a handle. Every kind frees what an equivalent one allocated.
//!
//! | handle | `Box<T, handle>` | choose it for |
//! |---|---|---|
//! | `&Locked<..>`, `&StaticArena<..>` | two words | heaps with a scope: the borrow keeps the heap alive and in place |
//! | `Locked<..>` by value | one word and the shell | a heap for one collection, which takes it along. No `Clone`: there is one heap |
//! | [`Of<I>`](Of), from [`instance!`](crate::instance) | one word | heaps in a `static`: pinned, leaked, copied to any thread |
//! | `&dyn Allocator` | three words | a heap chosen at run time |
//!
//! Two references are equivalent if they refer to one heap, two `Of<I>` always. `StaticArena` contains its blocks and is
//! no allocator by value: moving it would move them.
//!
//! # Write your own in three steps
//! 1. A type that reaches its memory through a pointer.
//! 2. `unsafe impl Heap`: `alloc` and `dealloc`; the rest has defaults.
//! 3. Put it in [`Locked`] and use it in `Box`, `Vec`, `HashMap`, or as the global allocator.
//!
//! ```
//! use core::alloc::Layout;
//! use core::mem::{self, MaybeUninit};
//! use core::ptr::NonNull;
//! use heapwright::AllocError;
//! use heapwright::heap::{Heap, Locked};
//! use heapwright::lock::NoLock;
//!
//! // 1. hands memory out front to back and never takes it back
//! struct Once<'a> {
//!     free: &'a mut [MaybeUninit<u8>],
//! }
//!
//! // 2. SAFETY: H1: blocks lie in the borrowed slice, aligned, one behind the other, split off for good. H2: `Once` refers
//! // to the bytes and does not contain them. H3: nothing unwinds. H4: a request that fails changes nothing.
//! unsafe impl Heap for Once<'_> {
//!     fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
//!         let pad = self.free.as_ptr().align_offset(layout.align());
//!         let need = pad.checked_add(layout.size()).filter(|&n| n <= self.free.len()).ok_or(AllocError)?;
//!         let (taken, free) = mem::take(&mut self.free).split_at_mut(need);
//!         self.free = free;
//!         Ok(NonNull::slice_from_raw_parts(NonNull::from(&mut taken[pad..]).cast(), layout.size()))
//!     }
//!     unsafe fn dealloc(&mut self, _: NonNull<u8>, _: Layout) {}
//! }
//!
//! // 3. use it
//! let mut buffer = [MaybeUninit::uninit(); 256];
//! let heap = Locked::<_, NoLock>::new(Once { free: &mut buffer });
//! # #[cfg(feature = "allocator-api2-04")] {
//! let mut v = allocator_api2_04::vec::Vec::new_in(&heap);
//! v.extend([1, 2, 3]);
//! assert_eq!(v.as_slice(), [1, 2, 3]);
//! # }
//! ```

mod inspect;
mod instance;
mod locked;
mod nothing;
mod picture;
mod shared;
mod usable;

use core::alloc::Layout;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use crate::AllocError;
use crate::check::Finding;

pub use self::inspect::{Chunk, ChunkKind, Chunks, Corruption, Cursor, Inspect, Usage};
pub use self::instance::{Instance, Of};
pub use self::locked::Locked;
pub use self::nothing::NoHeap;
#[cfg(all(feature = "std", any(unix, windows, target_arch = "wasm32")))]
pub(crate) use self::picture::{Bytes, Escaped};
pub use self::picture::{HeapMap, MapCell, Svg};
pub use self::shared::SharedHeap;
pub(crate) use self::shared::forward_shared_heap;
pub use self::usable::UsableSize;

/// A heap core: memory of any layout, behind `&mut self`.
///
/// [The module's docs](self) have an implementation in three steps. Used without a shell:
///
/// ```
/// use core::{alloc::Layout, mem::MaybeUninit};
/// use heapwright::arena::Arena;
/// use heapwright::heap::Heap;
/// use heapwright::sizing::Sizing4KiB;
///
/// let mut memory = [MaybeUninit::uninit(); 256];
/// let mut arena = Arena::<Sizing4KiB>::from_slice(&mut memory);
/// let (short, long) = (Layout::new::<u32>(), Layout::new::<[u32; 4]>());
/// assert_eq!(arena.good_size(Layout::new::<[u8; 5]>()), 8);
/// let block = arena.alloc_zeroed(short)?.cast::<u8>();
/// // SAFETY: the block is live, and its layout is first `short`, then `long`.
/// unsafe {
///     let block = arena.resize(block, short, long)?.cast::<u8>();
///     assert_eq!(block.cast::<u32>().read(), 0);
///     arena.dealloc(block, long);
/// }
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// # Safety
/// An implementation keeps these:
/// - **H1** (blocks) a block handed out has at least the layout's size and its alignment, overlaps no live block, and stays
///   valid and untouched until it is given back, or the core is dropped. Its length may exceed the request, and any size
///   from the request to that length may come back with it. The pointer that is returned has provenance for the whole
///   length, that of a resized block too; the one that comes back may have it for the size that comes back, and no more.
/// - **H2** (outside) the core does not contain the memory that it hands out: moving the core moves no block.
/// - **H3** (no unwinding) no method unwinds, whatever the layout.
/// - **H4** (whole) after an error nothing has changed: every live block is as it was.
/// - **H5** (no way back) no method calls, directly or not, the shell that guards this core. `alloc_at_hand` and `dealloc_at_hand` call
///   nothing that is not part of the core.
/// - **H6** (size zero) a request of size zero is answered with an error or with a block, not with undefined behaviour. [`Locked`] never makes one.
/// - **H7** (good sizes) every size from a request to its [`good_size`](Heap::good_size), at the same alignment, has that same good size, for
///   as long as the heap lives. It is no less than the request, and that of a request that has been met makes a layout with its alignment.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a heapwright heap core",
    label = "this type parameter takes a heap core",
    note = "cores are `Arena`, `SourceArena`, `SourceHeap<B>` (turns a backing source into a heap)",
    note = "or implement `heapwright::heap::Heap` in three steps: see the docs of `heapwright::heap`"
)]
pub unsafe trait Heap {
    /// A block for `layout`, its bytes undefined.
    ///
    /// # Errors
    /// When there is no room, or could never be.
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError>;

    /// Takes a block back.
    ///
    /// # Safety
    /// `ptr` is a live block of this heap, and `layout` its own: the same alignment, a size from the requested to the returned one.
    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout);

    /// Whether [`alloc_at_hand`](Heap::alloc_at_hand) and [`dealloc_at_hand`](Heap::dealloc_at_hand) are worth calling.
    const AT_HAND: bool = false;

    /// What [`alloc`](Heap::alloc) gives, if it can be had at once, without a call to anything but the core (no source, no policy). For
    /// shells, which need not note that such a call runs. `None`: ask `alloc`.
    #[inline(always)]
    fn alloc_at_hand(&mut self, layout: Layout) -> Option<NonNull<[u8]>> {
        let _ = layout;
        None
    }

    /// Does what [`dealloc`](Heap::dealloc) does, if it can be done at once, without a call to anything but the core; says whether it was.
    ///
    /// # Safety
    /// As [`dealloc`](Heap::dealloc).
    #[inline(always)]
    unsafe fn dealloc_at_hand(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        let _ = (ptr, layout);
        false
    }

    /// A block for `layout`, all its bytes zero.
    ///
    /// # Errors
    /// As [`alloc`](Heap::alloc).
    #[inline]
    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let block = self.alloc(layout)?;
        // SAFETY: the block is fresh, ours, and `len` bytes long (H1).
        unsafe { block.cast::<u8>().write_bytes(0, block.len()) };
        Ok(block)
    }

    /// Changes the size of a block where it stands; gives the same address with the new length.
    ///
    /// What is given is made from the memory's own base, not from `ptr`: a `Box` whose memory a `Vec` takes over, to grow,
    /// passes a pointer that must not be used for a byte past the old size.
    ///
    /// # Errors
    /// When it can't be had without moving, or `new` asks for an alignment that the block lacks. Nothing has changed then.
    ///
    /// # Safety
    /// `ptr` is a live block of this heap, `old` its layout, `new` is not of size zero.
    #[inline]
    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let _ = (ptr, old, new);
        Err(AllocError)
    }

    /// Changes size and alignment of a block, moving it if need be; keeps the first `min(old, new)` bytes.
    ///
    /// # Errors
    /// When there is no room; the block is as it was.
    ///
    /// # Safety
    /// As [`resize_in_place`](Heap::resize_in_place). On success `ptr` is dead.
    #[inline]
    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        if Self::CHECKS && !unsafe { self.judge(ptr, old) } {
            return Err(AllocError);
        }
        // SAFETY: as above.
        if let Ok(block) = unsafe { self.resize_in_place(ptr, old, new) } {
            return Ok(block);
        }
        let block = self.alloc(new)?;
        // SAFETY: both are live blocks of at least `min(old, new)` bytes and do not overlap (H1).
        unsafe { block.cast::<u8>().copy_from_nonoverlapping(ptr, old.size().min(new.size())) };
        // SAFETY: the caller's promise; the copy has been made.
        unsafe { self.dealloc(ptr, old) };
        Ok(block)
    }

    /// The size in bytes that a request of `layout` would really get: asking for it costs no more.
    #[inline]
    fn good_size(&self, layout: Layout) -> usize {
        layout.size()
    }

    /// Fills `out` from its front with blocks for `layout`, each as if from [`alloc`](Heap::alloc); says how many there are: fewer than asked
    /// for only when there is no room for more. For layers that move many at once.
    #[inline]
    fn alloc_batch(&mut self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        for (count, place) in out.iter_mut().enumerate() {
            match self.alloc(layout) {
                Ok(block) => place.write(block.cast()),
                Err(AllocError) => return count,
            };
        }
        out.len()
    }

    /// Takes blocks of one layout back.
    ///
    /// # Safety
    /// Each is a live block of this heap, all are different, and `layout` is the layout of each.
    #[inline]
    unsafe fn dealloc_batch(&mut self, layout: Layout, blocks: &[NonNull<u8>]) {
        for &block in blocks {
            // SAFETY: the caller's promise is the same.
            unsafe { self.dealloc(block, layout) };
        }
    }

    /// Gives memory that no block needs back to where the heap has it from, as far as it can; says how many bytes, as far
    /// as it knows: at least what this layer gave. It does not have to be called: heaps that keep some have a policy for it.
    ///
    /// ```
    /// # #[cfg(feature = "os")] {
    /// use core::alloc::Layout;
    /// use heapwright::cache::{Exactly, KeepAll, SlabCore};
    /// use heapwright::heap::Heap;
    /// use heapwright::slab::AlignedSlabs;
    /// use heapwright::source::Pages;
    ///
    /// let mut cache = SlabCore::<AlignedSlabs<Pages, 4096>, Exactly<64>, KeepAll, 4>::new(Pages);
    /// let block = cache.alloc(Layout::new::<[u8; 64]>())?;
    /// // SAFETY: the block is live, and its layout this one.
    /// unsafe { cache.dealloc(block.cast(), Layout::new::<[u8; 64]>()) };
    /// assert!(cache.release_unused() >= 4096);
    /// assert_eq!(cache.release_unused(), 0);
    /// # }
    /// # Ok::<(), heapwright::AllocError>(())
    /// ```
    #[inline]
    fn release_unused(&mut self) -> usize {
        0
    }

    /// Whether [`take_finding`](Heap::take_finding) may ever give something, and [`judge`](Heap::judge) say no. Shells do not ask otherwise.
    const CHECKS: bool = false;

    /// Whether what comes back with a layout is [looked at](Heap::judge): where several heaps [check](Heap::CHECKS), and some do not, by the one that the layout leads to, whoever's
    /// block it is.
    ///
    /// ```
    /// use core::alloc::Layout;
    /// use heapwright::arena::Arena;
    /// use heapwright::combine::Segregate;
    /// use heapwright::heap::Heap;
    /// use heapwright::sizing::{Checked, Sizing4KiB};
    ///
    /// type Halves<'a> = Segregate<64, Arena<'a, Checked<Sizing4KiB>>, Arena<'a, Sizing4KiB>>;
    /// assert!(Halves::looks_at(Layout::new::<u64>()));
    /// assert!(!Halves::looks_at(Layout::new::<[u64; 9]>()));
    /// ```
    #[inline(always)]
    #[must_use]
    fn looks_at(layout: Layout) -> bool {
        let _ = layout;
        Self::CHECKS
    }

    /// Whether a free of the block would be done; if not, what is wrong with it is noted, as by that free. Who does something to a block before this heap sees it come back (counts it, wipes it,
    /// moves it elsewhere) asks first, where heaps [check](Heap::CHECKS): a wrong call then does nothing at all. What is found behind a block that may come back is noted here, and
    /// not again when it does.
    ///
    /// ```
    /// use core::{alloc::Layout, mem::MaybeUninit};
    /// use heapwright::arena::Arena;
    /// use heapwright::heap::{Heap, Inspect};
    /// use heapwright::sizing::{Checked, Sizing4KiB};
    ///
    /// let mut memory = [MaybeUninit::uninit(); 256];
    /// let mut arena = Arena::<Checked<Sizing4KiB>>::from_slice(&mut memory);
    /// let layout = Layout::new::<u64>();
    /// let block = arena.alloc(layout)?.cast();
    /// // SAFETY: the block is live, and its layout this one.
    /// assert!(unsafe { arena.judge(block, layout) });
    /// // SAFETY: as above.
    /// unsafe { arena.dealloc(block, layout) };
    /// // SAFETY: the arena checks, and reads nothing of what is no block.
    /// assert!(!unsafe { arena.judge(block, layout) });
    /// assert_eq!(arena.misuses(), 1);
    /// # Ok::<(), heapwright::AllocError>(())
    /// ```
    ///
    /// # Safety
    /// As [`dealloc`](Heap::dealloc).
    #[inline(always)]
    unsafe fn judge(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        let _ = (ptr, layout);
        true
    }

    /// What was found wrong since it was last asked: of several the first, or the first of each part, one each time; and none once all were given. Shells ask at the end
    /// of each call until there is none, and tell the first when their lock is free; so does whoever uses a core without a shell. Others of the same call are not told, but
    /// counted ([`Inspect::misuses`]): nothing stays over, to be told by a later call that is right. See [`crate::check`].
    ///
    /// A shell that another heap uses, by reference or as a source, tells for itself, when its own lock is free: its report must not use the heap around it.
    ///
    /// ```
    /// use core::{alloc::Layout, mem::MaybeUninit};
    /// use heapwright::arena::Arena;
    /// use heapwright::heap::Heap;
    /// use heapwright::sizing::Sizing4KiB;
    ///
    /// let mut memory = [MaybeUninit::uninit(); 256];
    /// let mut arena = Arena::<Sizing4KiB>::from_slice(&mut memory);
    /// arena.alloc(Layout::new::<u32>())?;
    /// if let Some(finding) = arena.take_finding() {
    ///     finding.tell();
    /// }
    /// # Ok::<(), heapwright::AllocError>(())
    /// ```
    #[inline(always)]
    fn take_finding(&mut self) -> Option<Finding> {
        None
    }
}

/// Refuses a call for a block, for another reason than that it may be none: a heap that checks is asked all the same, so that what is wrong with it is told.
///
/// # Safety
/// As [`Heap::judge`].
#[inline(always)]
pub(crate) unsafe fn refuse<H: Heap + ?Sized>(heap: &mut H, ptr: NonNull<u8>, layout: Layout) -> AllocError {
    if H::CHECKS {
        // SAFETY: the caller's promise is the same.
        let _ = unsafe { heap.judge(ptr, layout) };
    }
    AllocError
}

/// As [`Owns::try_dealloc`], in two look-ups.
///
/// # Safety
/// As there.
#[inline(always)]
pub(crate) unsafe fn dealloc_if_owned<H: Owns + ?Sized>(
    heap: &mut H,
    ptr: NonNull<u8>,
    layout: Layout,
) -> bool {
    let owned = heap.owns(ptr, layout);
    if owned {
        // SAFETY: the caller's promise, and the block is the heap's.
        unsafe { heap.dealloc(ptr, layout) };
    }
    owned
}

/// What a core has found by the end of its work: the first of it. What else there is goes with it, so that no later call tells it.
#[inline(always)]
pub(crate) fn findings(core: &mut impl Heap) -> Option<Finding> {
    let first = core.take_finding();
    if first.is_some() {
        forget_findings(core);
    }
    first
}

/// Takes what a core has found, and leaves it at that.
#[cold]
#[inline(never)]
fn forget_findings(core: &mut impl Heap) {
    while core.take_finding().is_some() {}
}

/// Tells what a core has found by the end of its work, once that has given up the lock.
#[inline(always)]
pub(crate) fn told<R>((done, finding): (R, Option<Finding>)) -> R {
    if let Some(finding) = finding {
        finding.tell();
    }
    done
}

/// A heap that can tell its own blocks from others', so that a free can be routed to it.
///
/// ```
/// use core::{alloc::Layout, mem::MaybeUninit, ptr::NonNull};
/// use heapwright::arena::Arena;
/// use heapwright::heap::{Heap, Owns};
/// use heapwright::sizing::Sizing4KiB;
///
/// let mut memory = [MaybeUninit::uninit(); 256];
/// let mut arena = Arena::<Sizing4KiB>::from_slice(&mut memory);
/// let block = arena.alloc(Layout::new::<u32>())?;
/// assert!(arena.owns(block.cast(), Layout::new::<u32>()));
/// let mut other = 5u32;
/// assert!(!arena.owns(NonNull::from(&mut other).cast(), Layout::new::<u32>()));
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// # Safety
/// `owns` is true for every live block of this heap, and false for every block of any other heap that is not built over this
/// one. (The blocks of a heap that is built over this one lie in blocks of this one: ask that heap first.) Only a core that owns its heap implements it, not a handle by
/// which others could build over the same: whoever has such a core knows that nothing else is built over it.
pub unsafe trait Owns: Heap {
    /// Whether the block is one of this heap's. O(1).
    fn owns(&self, ptr: NonNull<u8>, layout: Layout) -> bool;

    /// Takes the block back if it is one of this heap's; says whether it was. One look-up for both, where the heap can do that.
    ///
    /// # Safety
    /// `ptr` is a live block of this heap and `layout` its own, or a live block of another heap.
    #[inline]
    unsafe fn try_dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise is the same.
        unsafe { dealloc_if_owned(self, ptr, layout) }
    }
}

/// A heap that can forget all its blocks at once.
///
/// ```
/// use core::{alloc::Layout, mem::MaybeUninit};
/// use heapwright::arena::Arena;
/// use heapwright::heap::{Heap, Inspect, Reset};
/// use heapwright::sizing::Sizing4KiB;
///
/// let mut memory = [MaybeUninit::uninit(); 256];
/// let mut arena = Arena::<Sizing4KiB>::from_slice(&mut memory);
/// arena.alloc(Layout::new::<u32>())?;
/// // SAFETY: the block is not used again.
/// unsafe { arena.reset() };
/// assert_eq!(arena.usage().objects, 0);
/// # Ok::<(), heapwright::AllocError>(())
/// ```
pub trait Reset: Heap {
    /// Forgets all blocks: the heap is as it was when new.
    ///
    /// # Safety
    /// No block handed out before is used again, not even to free it.
    unsafe fn reset(&mut self);
}
