//! A static's bytes as a source.

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
#[cfg(target_has_atomic = "ptr")]
use core::sync::atomic::{AtomicU8, Ordering};

// Made of critical sections where the chip has no compare-and-swap.
#[cfg(not(target_has_atomic = "ptr"))]
use portable_atomic::{AtomicU8, Ordering};

use super::BackingSource;
use crate::AllocError;
use crate::describe::{Bytes, Cost, Describe, Tree};
use crate::mem;

/// `N` bytes in a static: `&RAM` is a source that hands them out once.
///
/// Choose it where there is no OS to ask and the memory is to be set aside when the program is linked. The whole is one block: the first
/// request that fits gets all of it (less what its alignment costs), and who comes next gets an error until it has been
/// released. Any number of threads and interrupts may try; one compare-and-swap decides. It is all zero, so it lies in `.bss` and takes no
/// place in the program's image, and needs no initialisation.
///
/// Bytes arrive zero. A block that has been out before is cleared when it is handed out again, which takes the time of writing `N` bytes.
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::source::{BackingSource, StaticBuffer};
///
/// static RAM: StaticBuffer<4096> = StaticBuffer::new();
///
/// let layout = Layout::new::<u64>();
/// let block = (&RAM).acquire(layout)?;
/// assert_eq!(block.len(), 4096, "all of it");
/// assert!((&RAM).acquire(layout).is_err(), "there is only one block");
/// // SAFETY: the block is live, and its layout this one.
/// unsafe { (&RAM).release(block.cast(), layout) };
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// The bytes are aligned to 16; a request for more loses what lies before the first aligned one.
#[repr(C, align(16))]
pub struct StaticBuffer<const N: usize> {
    /// Written by live blocks only, through pointers made from this cell: nobody else looks. Former blocks leave bytes
    /// uninitialised, which move with the buffer.
    bytes: UnsafeCell<[MaybeUninit<u8>; N]>,
    /// `FRESH`, `CLAIMED` while a block is live, or `USED`. What the claimer does is ordered by acquire and release on it.
    state: AtomicU8,
}

/// Never handed out: all bytes are zero.
const FRESH: u8 = 0;
/// A block is live.
const CLAIMED: u8 = 1;
/// Handed out before, and back: the bytes may be anything.
const USED: u8 = 2;

// SAFETY: the bytes are reached only by the one who moved the state to `CLAIMED`, and the state is atomic.
unsafe impl<const N: usize> Sync for StaticBuffer<N> {}

impl<const N: usize> StaticBuffer<N> {
    /// `N` zero bytes.
    #[must_use]
    pub const fn new() -> Self {
        StaticBuffer { bytes: UnsafeCell::new([MaybeUninit::new(0); N]), state: AtomicU8::new(FRESH) }
    }

    /// Whether a block is out now.
    #[must_use]
    pub fn is_claimed(&self) -> bool {
        self.state.load(Ordering::Relaxed) == CLAIMED
    }

    /// The first byte, good for all `N`.
    const fn base(&self) -> NonNull<u8> {
        // SAFETY: a cell's address is not null.
        unsafe { NonNull::new_unchecked(self.bytes.get().cast()) }
    }
}

impl<const N: usize> Default for StaticBuffer<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Debug for StaticBuffer<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticBuffer").field("size", &N).field("claimed", &self.is_claimed()).finish()
    }
}

/// The reference is the source: its block lies in the buffer, which stays where it is while it is borrowed.
// SAFETY: B1: the one who moves the state to `CLAIMED` has all bytes until `release` moves it on; they lie in the buffer, not in the
// reference. B2: a fresh buffer is zero by `new`, a used one is cleared. B3: nothing panics. B4: the state changes after all
// checks. B5: nothing is called. B6: the default, for a granule of one.
unsafe impl<const N: usize> BackingSource for &StaticBuffer<N> {
    const GRANULE: usize = 1;
    const ALIGN_MAX: usize = 1 << 30;
    const ZEROED: bool = true;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 || layout.align() > Self::ALIGN_MAX {
            return Err(AllocError);
        }
        let base = self.base();
        let pad = base.addr().get().wrapping_neg() & (layout.align() - 1);
        let len = N.checked_sub(pad).filter(|&len| layout.size() <= len).ok_or(AllocError)?;
        let claim =
            |from| self.state.compare_exchange(from, CLAIMED, Ordering::Acquire, Ordering::Relaxed).is_ok();
        if !claim(FRESH) {
            if !claim(USED) {
                return Err(AllocError);
            }
            // SAFETY: the claim makes all `N` bytes ours.
            unsafe { base.write_bytes(0, N) };
        }
        // SAFETY: `pad` is less than `N`.
        Ok(mem::slice(unsafe { base.add(pad) }, len))
    }

    unsafe fn release(&mut self, _: NonNull<u8>, _: Layout) {
        self.state.store(USED, Ordering::Release);
    }

    unsafe fn extend(
        &mut self,
        block: NonNull<u8>,
        _: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // The block has all there is from its start on. (It can't be made shorter: what it leaves would have to be zeroed.)
        let pad = block.addr().get() - self.base().addr().get();
        if new_size > N - pad {
            return Err(AllocError);
        }
        // SAFETY: the block lies in the buffer, `pad` bytes from its start.
        Ok(mem::slice(unsafe { self.base().add(pad) }, N - pad))
    }
}

impl<const N: usize> Describe for StaticBuffer<N> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let cost = Cost::state_around::<Self, [u8; N]>();
        tree.part(format_args!("StaticBuffer of {}", Bytes(N)), cost, &[])
    }
}

#[cfg(test)]
#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each call is on a live block with a layout of its own"
)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn one_of_many_threads_gets_it_and_it_is_zero_again() {
        static RAM: StaticBuffer<64> = StaticBuffer::new();
        let layout = Layout::new::<[u8; 64]>();
        let claim = || {
            let Ok(block) = (&RAM).acquire(layout) else { return 0 };
            assert_eq!(unsafe { block.cast::<[u8; 64]>().read() }, [0; 64]);
            unsafe { block.cast::<[u8; 64]>().write([1; 64]) };
            1
        };
        for _ in 0..50 {
            let claims: i32 = std::thread::scope(|scope| {
                let threads = [(); 4].map(|()| scope.spawn(claim));
                threads.map(|thread| thread.join().unwrap()).iter().sum()
            });
            assert_eq!(claims, 1);
            assert!(RAM.is_claimed());
            unsafe { (&RAM).release(RAM.base(), layout) };
            assert!(!RAM.is_claimed());
        }
    }

    #[test]
    fn fits_or_stays_free() {
        #[repr(align(64))]
        struct Aligned(StaticBuffer<100>);
        let Aligned(ram) = &Aligned(StaticBuffer::new());
        let (mut ram, align) = (ram, |align| Layout::from_size_align(1, align).unwrap());
        assert!(ram.acquire(Layout::new::<[u8; 101]>()).is_err());
        assert!(ram.acquire(Layout::from_size_align(0, 1).unwrap()).is_err());
        // With 32 bits no layout has that alignment.
        if usize::BITS > 32 {
            assert!(ram.acquire(align(1 << 31)).is_err());
        }
        let block = ram.acquire(align(64)).unwrap();
        assert_eq!(block.len(), 100);
        assert!(ram.acquire(align(1)).is_err());
        assert_eq!(unsafe { ram.extend(block.cast(), align(64), 100) }, Ok(block));
        assert!(unsafe { ram.extend(block.cast(), align(64), 101) }.is_err());
        unsafe { ram.release(block.cast(), align(64)) };
        assert!((&StaticBuffer::<0>::new()).acquire(align(1)).is_err());
    }

    #[test]
    fn an_alignment_that_it_lacks_costs_what_lies_before() {
        #[repr(C, align(64))]
        struct Off(u8, StaticBuffer<100>);
        let off = Off(0, StaticBuffer::new());
        let (mut ram, layout) = (&off.1, Layout::from_size_align(52, 64).unwrap());
        assert_eq!(ram.base().addr().get() % 64, 16);
        let block = ram.acquire(layout).unwrap();
        assert_eq!((block.len(), block.addr().get() - ram.base().addr().get()), (52, 48));
        assert!(unsafe { ram.extend(block.cast(), layout, 53) }.is_err());
    }

    /// A hundred and twenty-eight MiB of static buffer add nothing to the program's file.
    #[test]
    fn lies_in_bss() {
        static RAM: StaticBuffer<{ 128 << 20 }> = StaticBuffer::new();
        let block = (&RAM).acquire(Layout::new::<u64>()).unwrap();
        assert_eq!(block.len(), 128 << 20);
        let file = std::env::current_exe().and_then(std::fs::metadata).unwrap();
        assert!(file.len() < 128 << 20, "the program is {} bytes long", file.len());
    }

    static_assertions::assert_impl_all!(StaticBuffer<16>: Send, Sync);
    static_assertions::assert_impl_all!(&'static StaticBuffer<16>: BackingSource);
    // By value its bytes would move with it.
    static_assertions::assert_not_impl_any!(StaticBuffer<16>: BackingSource);
}
