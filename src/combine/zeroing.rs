//! Memory that is zero when it is handed out, or before it goes back.

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::{Ordering, compiler_fence};

use super::around::{Around, Within, heap_around};
use crate::AllocError;
use crate::describe::{Cost, Describe, Tree};
use crate::heap::Heap;
use crate::mem;

mod sealed {
    pub trait Sealed {}
}

/// When a [`Zeroing`] heap zeroes: [`OnAlloc`], [`OnFree`], or [`OnBoth`].
///
/// ```
/// use heapwright::combine::{OnBoth, OnFree, ZeroWhen};
/// assert!(OnBoth::ALLOC && OnBoth::FREE && !OnFree::ALLOC);
/// ```
pub trait ZeroWhen: sealed::Sealed {
    /// Whether blocks are zero when they are handed out.
    const ALLOC: bool;
    /// Whether blocks are zeroed before they go back.
    const FREE: bool;
    /// What a description of the heap calls it.
    const NAME: &'static str;
}

macro_rules! zero_when {
    ($name:ident, $alloc:literal, $free:literal, $words:literal, $doc:literal) => {
        #[doc = $doc]
        ///
        /// ```
        #[doc = concat!("use heapwright::combine::{", stringify!($name), ", ZeroWhen};")]
        #[doc = concat!("assert_eq!((", stringify!($name), "::ALLOC, ", stringify!($name), "::FREE), (", stringify!($alloc), ", ", stringify!($free), "));")]
        /// ```
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name;

        impl sealed::Sealed for $name {}

        impl ZeroWhen for $name {
            const ALLOC: bool = $alloc;
            const FREE: bool = $free;
            const NAME: &'static str = $words;
        }
    };
}

zero_when!(
    OnAlloc,
    true,
    false,
    "on alloc",
    "Blocks are zero when they are handed out, and so is what they grow by."
);
zero_when!(OnFree, false, true, "on free", "Blocks are zeroed before they go back to the heap within.");
zero_when!(
    OnBoth,
    true,
    true,
    "on alloc and on free",
    "Blocks are zeroed before they go back, and zero when they are handed out."
);

/// A heap whose blocks are zeroed: when they are handed out, before they go back, or both, as the type `W` says.
///
/// - [`OnAlloc`] for code that must not see what others have left, or that must do the same each time it runs. What the heap within has zero
///   already is not zeroed again ([`alloc_zeroed`](Heap::alloc_zeroed)): over `Pages` it costs nothing.
/// - [`OnFree`] for secrets that are not to stay in memory, and for pages that compress well. The stores are volatile: the compiler does
///   not leave them out, though nobody reads what they wrote.
///
/// # Cost
/// No bytes. A store for each word of a block. With `OnFree` blocks are no longer than what was asked for, so that all that was used is zeroed; they grow
/// where they stand but are moved to shrink, since what a block has given back can't be zeroed any more, and before that it must not be. (So a shrink
/// may fail.) What its owner left in registers, on the stack, or in a swapped page stays.
///
/// ```
/// use heapwright::arena::Arena;
/// use heapwright::combine::{OnFree, Zeroing};
/// use heapwright::heap::Heap;
/// use heapwright::sizing::Sizing4KiB;
/// use std::{alloc::Layout, mem::MaybeUninit};
///
/// let mut memory = [MaybeUninit::new(0); 256];
/// let mut heap = Zeroing::<OnFree, _>::new(Arena::<Sizing4KiB>::from_slice(&mut memory));
/// let layout = Layout::new::<[u8; 16]>();
/// let key = heap.alloc(layout)?.cast::<[u8; 16]>();
/// // SAFETY: the block is live, and its layout this one.
/// unsafe {
///     key.write(*b"a secret of ours");
///     heap.dealloc(key.cast(), layout);
/// }
/// // SAFETY: all bytes were initialised, by us or by the arena.
/// let memory = memory.map(|byte| unsafe { byte.assume_init() });
/// assert!(!memory.windows(6).any(|window| window == b"secret"));
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// The idea: `init_on_alloc` and `init_on_free` of Linux, the crate `zeroize`.
pub struct Zeroing<W, P: Heap> {
    heap: P,
    when: PhantomData<fn() -> W>,
}

impl<W: ZeroWhen, P: Heap> Zeroing<W, P> {
    /// `heap`, whose blocks are zeroed.
    #[must_use]
    pub const fn new(heap: P) -> Self {
        Zeroing { heap, when: PhantomData }
    }

    /// The heap within.
    #[must_use]
    pub const fn heap(&self) -> &P {
        &self.heap
    }

    /// The heap within, alone.
    #[must_use]
    pub fn into_inner(self) -> P {
        self.heap
    }
}

impl<W: ZeroWhen, P: Heap + Default> Default for Zeroing<W, P> {
    fn default() -> Self {
        Self::new(P::default())
    }
}

impl<W: ZeroWhen, P: Heap + fmt::Debug> fmt::Debug for Zeroing<W, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zeroing").field("when", &W::NAME).field("heap", &self.heap).finish()
    }
}

/// Zeroes bytes by stores that the compiler does not leave out.
///
/// # Safety
/// The `len` bytes from `ptr` on are the caller's alone to write.
unsafe fn wipe(ptr: NonNull<u8>, len: usize) {
    const WORD: usize = size_of::<usize>();
    let head = ptr.align_offset(WORD).min(len);
    let words = (len - head) / WORD;
    for offset in (0..head).chain(head + words * WORD..len) {
        // SAFETY: `offset` is below `len`.
        let byte = unsafe { ptr.add(offset) };
        // SAFETY: the byte is the caller's to write.
        unsafe { byte.write_volatile(0) };
    }
    for word in 0..words {
        // SAFETY: the word ends at or before `len`.
        let word = unsafe { ptr.add(head + word * WORD) };
        // SAFETY: its bytes are the caller's to write, and it is aligned: `head` bytes behind `ptr`, or a multiple of its size further.
        unsafe { word.cast::<usize>().write_volatile(0) };
    }
    // Not before it, in the order of the program, does the block go back.
    compiler_fence(Ordering::SeqCst);
}

impl<W: ZeroWhen, P: Heap> Within for Zeroing<W, P> {
    type Heap = P;

    #[inline(always)]
    fn heap(&self) -> &P {
        &self.heap
    }

    #[inline(always)]
    fn heap_mut(&mut self) -> &mut P {
        &mut self.heap
    }
}

// SAFETY: W1: a block is cut to its request at most. W2: only bytes of blocks are written. W3: none is kept.
unsafe impl<W: ZeroWhen, P: Heap> Around for Zeroing<W, P> {
    type Note = ();

    const CLEARS: bool = W::ALLOC;
    const LOOKS: bool = W::FREE;

    #[inline(always)]
    fn admit(&mut self, _: Layout) -> Result<(), AllocError> {
        Ok(())
    }

    #[inline(always)]
    fn admit_resize(&mut self, old: Layout, new: Layout) -> Result<((), ()), AllocError> {
        // Where blocks are wiped when they leave, all resizes are in place (`LOOKS`), and what is cut off would not be wiped.
        if W::FREE && new.size() < old.size() { Err(AllocError) } else { Ok(((), ())) }
    }

    #[inline(always)]
    fn granted(&mut self, layout: Layout, (): (), block: NonNull<[u8]>) -> NonNull<[u8]> {
        if W::FREE { mem::slice(block.cast(), layout.size()) } else { block }
    }

    #[inline(always)]
    fn resized(
        &mut self,
        (_, new): (Layout, Layout),
        _: ((), ()),
        block: NonNull<[u8]>,
        _: bool,
    ) -> NonNull<[u8]> {
        self.granted(new, (), block)
    }

    #[inline(always)]
    unsafe fn leaves(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        if W::FREE {
            // SAFETY: a block that comes back is nobody's but ours, for the size that came back.
            unsafe { wipe(ptr, layout.size()) };
        }
        true
    }
}

heap_around!([W: ZeroWhen, P: Heap] Zeroing<W, P>, P);

impl<W: ZeroWhen, P: Heap + Describe> Describe for Zeroing<W, P> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        tree.part(format_args!("Zeroing, {}", W::NAME), Cost::NONE, &[("heap", P::describe)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::NoHeap;

    static_assertions::assert_impl_all!(Zeroing<OnBoth, NoHeap>: Send, Sync);
    static_assertions::const_assert_eq!(size_of::<Zeroing<OnBoth, NoHeap>>(), 0);

    /// All of the bytes and no others, however they lie to words.
    #[test]
    fn exactly_the_bytes_are_wiped() {
        for start in 0..9 {
            for len in 0..40 {
                let mut bytes = [7u64; 8];
                let base = NonNull::from(&mut bytes).cast::<u8>();
                // SAFETY: `start` is in the array.
                let first = unsafe { base.add(start) };
                // SAFETY: so is `start + len`, which is below 64.
                unsafe { wipe(first, len) };
                let before = [7u64; 8].map(u64::to_ne_bytes);
                let after = bytes.map(u64::to_ne_bytes);
                for (at, (before, after)) in before.iter().flatten().zip(after.iter().flatten()).enumerate() {
                    let wiped = (start..start + len).contains(&at);
                    assert_eq!(*after, if wiped { 0 } else { *before }, "byte {at} of {start}, {len}");
                }
            }
        }
    }
}
