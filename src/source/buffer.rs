//! A borrowed stretch of memory as a source.

use core::alloc::Layout;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

use super::BackingSource;
use crate::AllocError;
use crate::describe::describe_leaf;
use crate::mem;

/// A borrowed stretch of memory: its bytes are handed out front to back.
///
/// Choose it to put a heap on the stack, in a static, in a part of another block, or in a stretch of memory whose address is
/// known. It takes back properly only what was handed out last; the rest comes back when all blocks are back. That is enough for
/// one arena or a few, which is what a source is for. Each call takes a few instructions, and no byte of the buffer is touched.
///
/// ```text
///   base                      front                      base + len
///    |─ block ─|pad|─ block ─|───────── free ──────────────|
/// ```
///
/// ```
/// use core::alloc::Layout;
/// use core::mem::MaybeUninit;
/// use heapwright::source::{BackingSource, Buffer};
///
/// let mut memory = [MaybeUninit::uninit(); 1024];
/// let mut buffer = Buffer::from_slice(&mut memory);
/// let layout = Layout::from_size_align(600, 64)?;
/// let block = buffer.acquire(layout)?;
/// assert_eq!(block.len(), 600);
/// assert!(buffer.acquire(layout).is_err(), "1024 bytes are not enough for two");
/// // SAFETY: the block is live, and its layout this one.
/// unsafe { buffer.release(block.cast(), layout) };
/// assert_eq!(buffer.left(), 1024);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Buffer<'a> {
    /// The buffer's first byte, good for all `len`.
    base: NonNull<u8>,
    /// Bytes of the buffer. `base + len` does not wrap.
    len: usize,
    /// Bytes from `base` on that live blocks, and the gaps before them, may lie in. At most `len`; zero if `blocks` is.
    front: usize,
    /// Live blocks.
    blocks: usize,
    memory: PhantomData<&'a mut [MaybeUninit<u8>]>,
}

// SAFETY: the buffer is borrowed exclusively (or the caller's promise says as much), and bytes have no thread.
unsafe impl Send for Buffer<'_> {}

// SAFETY: through `&Buffer` only numbers can be read.
unsafe impl Sync for Buffer<'_> {}

impl<'a> Buffer<'a> {
    /// All of `memory`.
    #[must_use]
    pub const fn from_slice(memory: &'a mut [MaybeUninit<u8>]) -> Self {
        let (base, len) = (memory.as_mut_ptr().cast(), memory.len());
        // SAFETY: a reference is not null.
        let base = unsafe { NonNull::new_unchecked(base) };
        // SAFETY: the slice is borrowed for `'a`, and need not be initialised.
        unsafe { Buffer::from_raw_parts(base, len) }
    }

    /// All of `memory`, for ever: a leaked slice, or a static's.
    ///
    /// ```
    /// use heapwright::source::Buffer;
    /// let memory: &'static mut [u8] = Box::leak(vec![0; 1024].into_boxed_slice());
    /// assert_eq!(Buffer::from_static(memory).left(), 1024);
    /// ```
    #[must_use]
    pub const fn from_static(memory: &'static mut [u8]) -> Buffer<'static> {
        // SAFETY: the borrow never ends, so nobody reads bytes that are no longer initialised.
        unsafe { Buffer::from_bytes(memory) }
    }

    /// All of `memory`, which holds nothing of use afterwards.
    ///
    /// ```
    /// use heapwright::source::Buffer;
    /// let mut memory = [0; 1024];
    /// // SAFETY: the array is not read after this.
    /// let buffer = unsafe { Buffer::from_bytes(&mut memory) };
    /// assert_eq!(buffer.left(), 1024);
    /// ```
    ///
    /// # Safety
    /// When the borrow ends, nobody reads a byte of `memory` before writing it: objects with padding, or without a value yet, leave
    /// bytes that are not initialised. (No such promise is needed by [`from_slice`](Buffer::from_slice) and
    /// [`from_static`](Buffer::from_static).)
    #[must_use]
    pub const unsafe fn from_bytes(memory: &'a mut [u8]) -> Self {
        let (base, len) = (memory.as_mut_ptr(), memory.len());
        // SAFETY: a reference is not null.
        let base = unsafe { NonNull::new_unchecked(base) };
        // SAFETY: the slice is borrowed for `'a`.
        unsafe { Buffer::from_raw_parts(base, len) }
    }

    /// The `len` bytes from `base` on.
    ///
    /// # Safety
    /// For `'a` they are one object's (or a part of it), good for reads and writes through `base`, the new value's alone, and at
    /// most `isize::MAX`. Afterwards they count as uninitialised: nobody reads one before writing it.
    #[must_use]
    pub const unsafe fn from_raw_parts(base: NonNull<u8>, len: usize) -> Self {
        Buffer { base, len, front: 0, blocks: 0, memory: PhantomData }
    }

    /// The `size` bytes from address `addr` on: memory that hardware or a linker script put there, and no Rust object.
    ///
    /// The pointer has *exposed provenance*: it may be used for whatever lies at the address without being known to the compiler, such as a
    /// RAM bank, or for an object whose address has been exposed (`expose_provenance`). If there is a pointer or a reference to
    /// the memory, use it instead: [`from_raw_parts`](Buffer::from_raw_parts), [`from_slice`](Buffer::from_slice).
    ///
    /// Address zero makes an empty buffer.
    ///
    /// ```no_run
    /// use heapwright::source::Buffer;
    /// // SAFETY: the second RAM bank of this chip is here, and the linker script leaves it alone.
    /// let bank = unsafe { Buffer::from_addr_size(0x1000_0000, 64 << 10) };
    /// ```
    ///
    /// # Safety
    /// For `'a` the bytes are memory, good for reads and writes, the new value's alone; `size` is at most `isize::MAX`, and
    /// `addr + size` does not overflow. Afterwards they count as uninitialised: nobody reads one before writing it.
    #[must_use]
    pub unsafe fn from_addr_size(addr: usize, size: usize) -> Self {
        match NonNull::new(ptr::with_exposed_provenance_mut(addr)) {
            // SAFETY: the caller's promise is the same.
            Some(base) => unsafe { Buffer::from_raw_parts(base, size) },
            // SAFETY: no bytes are anybody's.
            None => unsafe { Buffer::from_raw_parts(NonNull::dangling(), 0) },
        }
    }

    /// Bytes behind the last block: what a request without an alignment can have.
    #[must_use]
    pub const fn left(&self) -> usize {
        self.len - self.front
    }

    /// Where a block lies in the buffer.
    fn offset(&self, block: NonNull<u8>) -> usize {
        block.addr().get() - self.base.addr().get()
    }

    /// The block at the same address, now `size` bytes long: a caller's pointer may be good for the old size only.
    fn resized(&self, block: NonNull<u8>, size: usize) -> NonNull<[u8]> {
        // SAFETY: blocks lie in the buffer.
        mem::slice(unsafe { self.base.add(self.offset(block)) }, size)
    }

    /// Whether a block of this size is the last one.
    fn is_last(&self, block: NonNull<u8>, size: usize) -> bool {
        self.offset(block) + size == self.front
    }
}

// SAFETY: B1: blocks lie between the front at the time and the new front, and the front moves back only over the last block or when there are
// none; the bytes lie outside of the value, and pointers to them are made from its base. B2: a request needs its size and less than its alignment of the buffer. B3: sums are
// checked. B4: fields change last. B5: nothing is called. B6: the default, for a granule of one. A block is as long as was
// asked for, so the size in `release` is its length.
unsafe impl BackingSource for Buffer<'_> {
    const GRANULE: usize = 1;
    const ALIGN_MAX: usize = 1 << 30;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 || layout.align() > Self::ALIGN_MAX {
            return Err(AllocError);
        }
        let at = self.base.addr().get() + self.front;
        let pad = at.wrapping_neg() & (layout.align() - 1);
        let need = pad.checked_add(layout.size()).ok_or(AllocError)?;
        if need > self.left() {
            return Err(AllocError);
        }
        // SAFETY: `front + pad` is less than `len`.
        let block = unsafe { self.base.add(self.front + pad) };
        self.front += need;
        self.blocks += 1;
        Ok(mem::slice(block, layout.size()))
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        if self.is_last(block, layout.size()) {
            self.front = self.offset(block);
        }
        self.blocks -= 1;
        if self.blocks == 0 {
            self.front = 0;
        }
    }

    unsafe fn extend(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if !self.is_last(block, old.size()) || new_size - old.size() > self.left() {
            return Err(AllocError);
        }
        self.front += new_size - old.size();
        Ok(self.resized(block, new_size))
    }

    unsafe fn shrink(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if !self.is_last(block, old.size()) || new_size == 0 {
            return Err(AllocError);
        }
        self.front -= old.size() - new_size;
        Ok(self.resized(block, new_size))
    }
}

describe_leaf!(Buffer<'_>, "Buffer, borrowed bytes");

#[cfg(test)]
#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each call is on a live block with a layout of its own"
)]
mod tests {
    use super::*;

    fn bytes(size: usize) -> Layout {
        Layout::from_size_align(size, 1).unwrap()
    }

    #[test]
    fn takes_back_the_last_block_and_then_all() {
        let mut memory = [MaybeUninit::uninit(); 1000];
        let mut buffer = Buffer::from_slice(&mut memory);
        let blocks = [(); 4].map(|()| buffer.acquire(bytes(250)).unwrap().cast::<u8>());
        assert_eq!(buffer.left(), 0);
        assert!(buffer.acquire(bytes(1)).is_err());
        unsafe { buffer.release(blocks[1], bytes(250)) };
        assert_eq!(buffer.left(), 0, "in the middle: it waits");
        unsafe { buffer.release(blocks[3], bytes(250)) };
        assert_eq!(buffer.left(), 250, "the last: at once");
        assert_eq!(buffer.acquire(bytes(250)).unwrap().cast(), blocks[3]);
        unsafe { buffer.release(blocks[3], bytes(250)) };
        unsafe { buffer.release(blocks[2], bytes(250)) };
        unsafe { buffer.release(blocks[0], bytes(250)) };
        assert_eq!(buffer.left(), 1000, "all back: the gap of the middle one too");
    }

    #[test]
    fn every_start_and_alignment_fits_to_the_byte() {
        let mut memory = [MaybeUninit::uninit(); 600];
        for start in 0..64 {
            for align in [1, 2, 8, 64] {
                let rest = &mut memory[start..];
                let room = rest.len() - rest.as_ptr().align_offset(align);
                let mut buffer = Buffer::from_slice(rest);
                assert!(buffer.acquire(Layout::from_size_align(room + 1, align).unwrap()).is_err());
                let layout = Layout::from_size_align(room, align).unwrap();
                let block = buffer.acquire(layout).unwrap();
                assert_eq!((block.len(), buffer.left()), (room, 0));
                assert_eq!(block.cast::<u8>().addr().get() % align, 0);
                unsafe { buffer.release(block.cast(), layout) };
                assert_eq!(buffer.left(), 600 - start);
            }
        }
    }

    #[test]
    fn only_the_last_block_is_resized() {
        let mut memory = [MaybeUninit::uninit(); 100];
        let mut buffer = Buffer::from_slice(&mut memory);
        let first = buffer.acquire(bytes(40)).unwrap().cast();
        let last = buffer.acquire(bytes(40)).unwrap().cast();
        assert!(unsafe { buffer.extend(first, bytes(40), 41) }.is_err());
        assert!(unsafe { buffer.shrink(first, bytes(40), 39) }.is_err());
        assert!(unsafe { buffer.extend(last, bytes(40), 61) }.is_err());
        assert_eq!(unsafe { buffer.extend(last, bytes(40), 60) }, Ok(mem::slice(last, 60)));
        assert_eq!(unsafe { buffer.shrink(last, bytes(60), 1) }, Ok(mem::slice(last, 1)));
        assert_eq!(buffer.left(), 59);
    }

    #[test]
    fn every_kind_of_memory() {
        let layout = Layout::new::<u64>();
        let mut array = [0u8; 64];
        let mut buffer = unsafe { Buffer::from_bytes(&mut array) };
        assert!(buffer.acquire(layout).is_ok());

        let mut array = [0u64; 8];
        let addr = (&raw mut array).expose_provenance();
        let mut buffer = unsafe { Buffer::from_addr_size(addr, 64) };
        let block = buffer.acquire(layout).unwrap();
        assert_eq!((block.addr().get(), buffer.left()), (addr, 56));
        unsafe { block.cast::<u64>().write(7) };
        assert_eq!(array[0], 7);

        let mut none = unsafe { Buffer::from_addr_size(0, 64) };
        assert_eq!(none.left(), 0);
        assert!(none.acquire(layout).is_err());
        assert!(Buffer::from_slice(&mut []).acquire(bytes(1)).is_err());
    }

    static_assertions::assert_impl_all!(Buffer<'static>: Send, Sync);
    static_assertions::assert_eq_size!(Buffer<'static>, [usize; 4]);
}
