//! Freed blocks that are not used again for a while.

use core::alloc::Layout;
use core::fmt;
use core::mem::{self, ManuallyDrop};
use core::ptr::{self, NonNull};

use super::around::{Around, Within, heap_around};
use crate::AllocError;
use crate::check::{Abort, Damage, Finding, Misuse, OnMisuse, Wrong};
use crate::check::{FREED, first_other};
use crate::describe::{Cost, Describe, Tree};
use crate::heap::Heap;

/// A heap whose freed blocks are held back for a while, filled with a pattern: writes to freed memory, and blocks freed twice, are found.
///
/// Choose it to find who writes to memory after it was freed, or to make such a fault do less harm. A block that is freed is filled with
/// `0xdf` and goes to the end of a queue; when more than `N` blocks wait, or more than a bound of bytes, the oldest is looked at and goes back
/// to `P`. What was written to it since is reported to `R`, as is a block that is freed or resized while it waits. Reads after a free are not
/// found, but what they read is the pattern and not another's data.
///
/// ```text
///  freed ──▶ │ filled │ filled │ .. │ filled │ ──▶ as it was? ──▶ freed in P
///             newest       at most N    oldest
/// ```
///
/// When `P` refuses a request all of them go back, and it is asked again; so they do with [`release_unused`](Heap::release_unused) and when the
/// heap is dropped. Memory that is scarce is not kept from those who need it.
///
/// A block is filled as far as the layout says that it came with. Where `P` [checks](Heap::CHECKS), it is [asked](Heap::judge) before, and a free with a wrong layout or of a pointer from
/// elsewhere does nothing. Where it does not, such a free writes over what lies there, which may be a live neighbour.
///
/// # Cost
/// 3 words for each of the `N` blocks, and the memory of the blocks that wait. A free writes the whole block, reads the one that leaves the
/// queue, and compares the block's address with each of the `N`, as does a resize. Blocks are moved to be resized, unless that can be done where they stand (what
/// such a one gives back is not held).
///
/// ```
/// use core::mem::MaybeUninit;
/// use heapwright::arena::Arena;
/// use heapwright::combine::Quarantine;
/// use heapwright::check::{CountMisuses, Wrong};
/// use heapwright::heap::Heap;
/// use heapwright::sizing::Sizing4KiB;
/// use std::alloc::Layout;
///
/// let mut memory = [MaybeUninit::uninit(); 1024];
/// let arena = Arena::<Sizing4KiB>::from_slice(&mut memory);
/// let mut heap = Quarantine::<8, _, _>::new(arena, CountMisuses::new());
/// let layout = Layout::new::<[u8; 40]>();
/// let block = heap.alloc(layout)?.cast::<u8>();
/// // SAFETY: the block is live, and its layout this one. The write behind its free is the fault that is looked for; the memory is still there.
/// unsafe {
///     heap.dealloc(block, layout);
///     block.add(7).write(1);
/// }
/// assert_eq!(heap.held(), 1);
/// heap.release_unused();
/// let first = heap.handler().first();
/// assert_eq!(first.map(|misuse| (misuse.wrong, misuse.address)), Some((Wrong::WrittenAfterFree, block.addr().get())));
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// The ideas: the quarantines of AddressSanitizer and hardened_malloc; `0xdeadbeef` of the kernel memory allocator of SunOS (Jeff Bonwick).
pub struct Quarantine<const N: usize, P: Heap, R: OnMisuse = Abort> {
    heap: P,
    handler: R,
    bytes_max: usize,
    /// Bytes of the blocks that wait, at most `bytes_max`.
    bytes: usize,
    /// The place of the oldest block that waits, less than `N`.
    oldest: usize,
    /// Blocks that wait, at most `N`.
    count: usize,
    /// From `oldest` on, round about, `count` blocks, free for their owners and live for the heap, their bytes filled; `NONE` elsewhere.
    queue: [Held; N],
}

/// A block that waits.
#[derive(Clone, Copy, Debug)]
struct Held {
    ptr: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a block that waits is the quarantine's alone, and goes where that goes.
unsafe impl Send for Held {}

// SAFETY: by a shared reference only addresses are read.
unsafe impl Sync for Held {}

impl Held {
    /// No block has its size.
    const NONE: Held = Held { ptr: NonNull::dangling(), layout: Layout::new::<()>() };
}

impl<const N: usize, P: Heap, R: OnMisuse> Quarantine<N, P, R> {
    /// `heap`, whose freed blocks wait, at most `N` of them. What is found goes to `handler`.
    #[must_use]
    pub const fn new(heap: P, handler: R) -> Self {
        Self::with_bytes_max(heap, handler, usize::MAX)
    }

    /// The same, with at most `bytes_max` bytes in the blocks that wait. A block that is larger does not wait.
    #[must_use]
    pub const fn with_bytes_max(heap: P, handler: R, bytes_max: usize) -> Self {
        const { assert!(N > 0, "a Quarantine of no blocks holds nothing back: give it some, or leave it out") };
        Quarantine { heap, handler, bytes_max, bytes: 0, oldest: 0, count: 0, queue: [Held::NONE; N] }
    }

    /// Blocks that wait.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.count
    }

    /// Bytes of the blocks that wait.
    #[must_use]
    pub const fn held_bytes(&self) -> usize {
        self.bytes
    }

    /// What has been done about misuses.
    #[must_use]
    pub const fn handler(&self) -> &R {
        &self.handler
    }

    /// The heap within. Blocks that wait are live there.
    #[must_use]
    pub const fn heap(&self) -> &P {
        &self.heap
    }

    /// The heap within, with all blocks that have waited, and the handler.
    #[must_use]
    pub fn into_inner(mut self) -> (P, R) {
        self.flush();
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` is not dropped, nor used after this.
        let heap = unsafe { ptr::read(&this.heap) };
        // SAFETY: as above.
        let handler = unsafe { ptr::read(&this.handler) };
        (heap, handler)
    }

    /// Whether the block at `ptr` waits, for which a call came that only its owner may make: this is reported.
    fn waits(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        let waits = self.queue.iter().any(|held| held.ptr == ptr && held.layout.size() > 0);
        if waits {
            Misuse::new(Wrong::DoubleFree, ptr.addr().get(), layout).report(&mut self.handler);
        }
        waits
    }

    /// Looks at a block that waits.
    fn look(&mut self, held: Held) {
        // SAFETY: the block is live for the heap, its owner has no claim to it, and all of it was filled. The pointer is good for that many bytes.
        let other = unsafe { first_other(held.ptr, held.layout.size(), FREED) };
        if let Some((offset, found)) = other {
            let misuse = Misuse::new(Wrong::WrittenAfterFree, held.ptr.addr().get(), held.layout);
            let damage = Damage { offset: offset as isize, expected: FREED, found };
            misuse.with_damage(damage).report(&mut self.handler);
            // So that it is reported once, if the block goes on to wait.
            // SAFETY: as above.
            unsafe { held.ptr.write_bytes(FREED, held.layout.size()) };
        }
    }

    /// Gives the block that waits for longest back; false if none waits.
    fn release_oldest(&mut self) -> bool {
        let Some(place) = self.queue.get_mut(self.oldest).filter(|_| self.count > 0) else { return false };
        let held = mem::replace(place, Held::NONE);
        self.oldest = (self.oldest + 1) % N;
        self.count -= 1;
        self.bytes -= held.layout.size();
        self.look(held);
        // SAFETY: the block is live for the heap, came back with this layout, and is in the queue no more.
        unsafe { self.heap.dealloc(held.ptr, held.layout) };
        true
    }

    /// Gives all blocks that wait back; says whether there were any.
    fn flush(&mut self) -> bool {
        let any = self.count > 0;
        while self.release_oldest() {}
        any
    }
}

impl<const N: usize, P: Heap, R: OnMisuse> Drop for Quarantine<N, P, R> {
    fn drop(&mut self) {
        self.flush();
    }
}

impl<const N: usize, P: Heap, R: OnMisuse> Within for Quarantine<N, P, R> {
    type Heap = P;

    #[inline(always)]
    fn heap(&self) -> &P {
        &self.heap
    }

    #[inline(always)]
    fn heap_mut(&mut self) -> &mut P {
        &mut self.heap
    }

    fn forget(&mut self) {
        self.inspect();
        (self.oldest, self.count, self.bytes) = (0, 0, 0);
        self.queue = [Held::NONE; N];
    }

    fn inspect(&mut self) {
        for at in self.oldest..self.oldest + self.count {
            self.look(self.queue[at % N]);
        }
    }

    fn misuses(&self) -> usize {
        self.handler.misuses()
    }
}

// SAFETY: W1: blocks are left as they are. W2: handlers are fenced, and use no shell of this heap (M1); arithmetic is within the bounds of the
// fields; nothing is at hand. W3: what waits is given back when it leaves the queue, or forgotten with all others.
unsafe impl<const N: usize, P: Heap, R: OnMisuse> Around for Quarantine<N, P, R> {
    type Note = ();

    const AT_HAND: bool = false;
    const LOOKS: bool = true;
    const KEEPS: bool = true;
    const FINDS: bool = R::LATER;

    #[inline(always)]
    fn found(&mut self) -> Option<Finding> {
        self.handler.take_finding()
    }

    #[inline(always)]
    fn admit(&mut self, _: Layout) -> Result<(), AllocError> {
        Ok(())
    }

    #[inline(always)]
    fn admit_resize(&mut self, _: Layout, _: Layout) -> Result<((), ()), AllocError> {
        Ok(((), ()))
    }

    fn admit_block(&mut self, ptr: NonNull<u8>, layout: Layout) -> Result<(), AllocError> {
        if self.waits(ptr, layout) { Err(AllocError) } else { Ok(()) }
    }

    fn refused(&mut self, _: Layout) -> bool {
        self.flush()
    }

    unsafe fn leaves(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        if self.waits(ptr, layout) {
            return false;
        }
        let size = layout.size();
        // SAFETY: the block was its owner's until now, and has at least these bytes, for which the pointer is good.
        unsafe { ptr.write_bytes(FREED, size) };
        if size > self.bytes_max {
            return true;
        }
        // Once there is none left, all bytes are free, and no more are needed than there may be.
        while self.count == N || size > self.bytes_max - self.bytes {
            self.release_oldest();
        }
        self.queue[(self.oldest + self.count) % N] = Held { ptr, layout };
        self.count += 1;
        self.bytes += size;
        false
    }

    fn let_go(&mut self) -> usize {
        let bytes = self.bytes;
        self.flush();
        bytes
    }
}

heap_around!([const N: usize, P: Heap, R: OnMisuse] Quarantine<N, P, R>, P);

impl<const N: usize, P: Heap + fmt::Debug, R: OnMisuse + fmt::Debug> fmt::Debug for Quarantine<N, P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quarantine")
            .field("heap", &self.heap)
            .field("handler", &self.handler)
            .field("held", &self.count)
            .field("held_bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl<const N: usize, P: Heap + Describe, R: OnMisuse> Describe for Quarantine<N, P, R> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let cost = Cost { state: size_of::<Self>() - size_of::<P>(), per_block: 0 };
        tree.part(format_args!("Quarantine of {N} freed blocks"), cost, &[("heap", P::describe)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::NoHeap;

    static_assertions::assert_impl_all!(Quarantine<4, NoHeap>: Send, Sync);
    static_assertions::const_assert_eq!(
        size_of::<Quarantine<10, NoHeap>>(),
        (4 + 3 * 10) * size_of::<usize>()
    );
}
