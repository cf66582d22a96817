//! Chunks used like a stack, a buffer on the stack, and a heap in a `static`.

use std::alloc::{self, Layout};
use std::cell::{Cell, UnsafeCell};
use std::hint;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};

use heapwright::AllocError;
use heapwright::cache::{Classes, SizeClasses};

use super::{empty, slice};
use crate::pair::Face;
use crate::rows::{CHUNK, KEPT, STACK};

/// Chunks of the global heap, cut upwards in steps of eight bytes; the last block goes back.
pub(crate) struct RegionByHand {
    /// Raised while the global heap is asked, which may come back here.
    busy: Cell<bool>,
    top: Cell<*mut u8>,
    limit: Cell<usize>,
    /// The newest chunk.
    chunk: Cell<Option<NonNull<Chunk>>>,
}

/// What a chunk begins with.
struct Chunk {
    before: Option<NonNull<Chunk>>,
    len: usize,
}

impl RegionByHand {
    pub(crate) fn new() -> Self {
        RegionByHand {
            busy: Cell::new(false),
            top: Cell::new(ptr::null_mut()),
            limit: Cell::new(0),
            chunk: Cell::new(None),
        }
    }

    #[inline(always)]
    fn cut(&self, layout: Layout) -> Option<NonNull<[u8]>> {
        let len = layout.size().checked_add(7)? & !7;
        let top = self.top.get();
        let start = top.addr();
        let start = match layout.align() {
            ..=8 => start,
            align => start.checked_add(align - 1)? & !(align - 1),
        };
        if len > self.limit.get().checked_sub(start)? {
            return None;
        }
        self.top.set(top.with_addr(start + len));
        // SAFETY: there is a chunk, since without one there is no room.
        Some(slice(unsafe { NonNull::new_unchecked(top.with_addr(start)) }, len))
    }

    #[cold]
    #[inline(never)]
    fn cut_from_next(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        const HEADER: usize = size_of::<Chunk>();
        let least = layout.size().checked_add(HEADER + 8 + layout.align()).ok_or(AllocError)?;
        let len = least.max(CHUNK);
        let chunk = Layout::from_size_align(len, 8).map_err(|_| AllocError)?;
        self.busy.set(true);
        // SAFETY: the size is not zero.
        let chunk = unsafe { alloc::alloc(chunk) };
        self.busy.set(false);
        let chunk = NonNull::new(chunk).ok_or(AllocError)?.cast::<Chunk>();
        // SAFETY: it is fresh, aligned, and longer than that.
        unsafe { chunk.write(Chunk { before: self.chunk.get(), len }) };
        self.chunk.set(Some(chunk));
        // SAFETY: it is longer than its header.
        self.top.set(unsafe { chunk.cast::<u8>().add(HEADER) }.as_ptr());
        self.limit.set(chunk.addr().get() + len);
        self.cut(layout).ok_or(AllocError)
    }
}

impl Drop for RegionByHand {
    fn drop(&mut self) {
        while let Some(chunk) = self.chunk.get() {
            // SAFETY: a live chunk begins so.
            let Chunk { before, len } = unsafe { chunk.read() };
            self.chunk.set(before);
            // SAFETY: what it was asked for with.
            let layout = unsafe { Layout::from_size_align_unchecked(len, 8) };
            // SAFETY: it is in no list any more.
            unsafe { alloc::dealloc(chunk.as_ptr().cast(), layout) };
        }
    }
}

impl Face for RegionByHand {
    #[inline(always)]
    fn get(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(empty(layout));
        }
        if self.busy.get() {
            return Err(AllocError);
        }
        match self.cut(layout) {
            Some(block) => Ok(block),
            None => self.cut_from_next(layout),
        }
    }

    #[inline(always)]
    unsafe fn give(&self, ptr: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 || self.busy.get() {
            return;
        }
        let len = (layout.size() + 7) & !7;
        let top = self.top.get();
        if ptr.addr().get() + len == top.addr() {
            self.top.set(top.with_addr(ptr.addr().get()));
        }
    }
}

/// A buffer that is used first, and the global heap. Nobody can come in while the buffer is at work, so nothing tells it.
#[repr(C, align(16))]
pub(crate) struct StackFirstByHand {
    buffer: UnsafeCell<[MaybeUninit<u8>; STACK]>,
    top: Cell<u32>,
    live: Cell<u32>,
}

impl StackFirstByHand {
    pub(crate) const fn new() -> Self {
        StackFirstByHand {
            buffer: UnsafeCell::new([MaybeUninit::uninit(); STACK]),
            top: Cell::new(0),
            live: Cell::new(0),
        }
    }

    #[inline(always)]
    fn cut(&self, layout: Layout) -> Option<NonNull<[u8]>> {
        if layout.size() > STACK {
            return None;
        }
        let base = self.buffer.get().cast::<u8>();
        let from = (base.addr() + self.top.get() as usize).checked_add(layout.align() - 1)?;
        let start = (from & !(layout.align() - 1)) - base.addr();
        // Both are far from overflowing by now: an address in the buffer, rounded up, and the buffer's length.
        let end = (start.checked_add(layout.size())? + 7) & !7;
        if end > STACK {
            return None;
        }
        self.top.set(end as u32);
        self.live.set(self.live.get() + 1);
        // SAFETY: in the buffer, or right at its end.
        Some(slice(unsafe { NonNull::new_unchecked(base.wrapping_add(start)) }, end - start))
    }
}

impl Face for StackFirstByHand {
    #[inline(always)]
    fn get(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(empty(layout));
        }
        if let Some(block) = self.cut(layout) {
            return Ok(block);
        }
        // SAFETY: the size is not zero.
        let block = unsafe { alloc::alloc(layout) };
        Ok(slice(NonNull::new(block).ok_or(AllocError)?, layout.size()))
    }

    #[inline(always)]
    unsafe fn give(&self, ptr: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 {
            return;
        }
        let start = ptr.addr().get().wrapping_sub(self.buffer.get().addr());
        if start >= STACK {
            // SAFETY: the caller's promise, and the block is not the buffer's.
            return unsafe { alloc::dealloc(ptr.as_ptr(), layout) };
        }
        self.live.set(self.live.get() - 1);
        if self.live.get() == 0 {
            self.top.set(0);
        } else if (start + layout.size() + 7) & !7 == self.top.get() as usize {
            self.top.set(start as u32);
        }
    }
}

/// Limited lists before the global heap for sizes of up to 512 bytes, in a `static` with a lock.
struct Shared {
    locked: AtomicBool,
    lists: UnsafeCell<[Listed; Classes::COUNT]>,
}

#[derive(Clone, Copy)]
struct Listed {
    first: Option<NonNull<u8>>,
    len: u32,
}

// SAFETY: the lists are touched under the lock alone, and their blocks may be sent.
unsafe impl Sync for Shared {}

static SHARED: Shared = Shared {
    locked: AtomicBool::new(false),
    lists: UnsafeCell::new([Listed { first: None, len: 0 }; Classes::COUNT]),
};

impl Shared {
    #[inline(always)]
    fn under_lock<R>(&self, work: impl FnOnce(&mut [Listed; Classes::COUNT]) -> R) -> R {
        while self.locked.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            while self.locked.load(Ordering::Relaxed) {
                hint::spin_loop();
            }
        }
        // SAFETY: it is locked.
        let result = work(unsafe { &mut *self.lists.get() });
        self.locked.store(false, Ordering::Release);
        result
    }
}

/// A block of the global heap.
#[cold]
#[inline(never)]
fn fetch(layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
    // SAFETY: the callers have looked that the size is not zero.
    let block = NonNull::new(unsafe { alloc::alloc(layout) }).ok_or(AllocError)?;
    Ok(slice(block, layout.size()))
}

/// What a class's blocks are asked for with.
fn slot(class: usize) -> Layout {
    let size = Classes::SIZES[class];
    // SAFETY: a power of two, of which the size is a multiple.
    unsafe { Layout::from_size_align_unchecked(size, (1 << size.trailing_zeros()).min(16)) }
}

/// The handle of no size to the heap in the `static`.
#[derive(Clone, Copy)]
pub(crate) struct InStatic;

impl InStatic {
    /// The list of a layout, if it has one.
    #[inline(always)]
    fn class(layout: Layout) -> Option<usize> {
        if layout.size() > 512 || layout.align() > 16 { None } else { Classes::index(layout) }
    }
}

impl Face for InStatic {
    #[inline(always)]
    fn get(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(empty(layout));
        }
        SHARED.under_lock(|lists| {
            let Some(class) = Self::class(layout) else { return fetch(layout) };
            // SAFETY: there is such a class, and a list for each.
            let list = unsafe { lists.get_unchecked_mut(class) };
            let Some(block) = list.first else { return fetch(slot(class)) };
            // SAFETY: a block of the list, which begins with its link.
            list.first = unsafe { block.cast().read() };
            list.len -= 1;
            // SAFETY: there is such a class.
            let size = *unsafe { Classes::SIZES.get_unchecked(class) };
            Ok(slice(block, size.min(512)))
        })
    }

    #[inline(always)]
    unsafe fn give(&self, ptr: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 {
            return;
        }
        SHARED.under_lock(|lists| {
            let Some(class) = Self::class(layout) else {
                // SAFETY: the caller's promise: it was asked for as it is.
                return unsafe { alloc::dealloc(ptr.as_ptr(), layout) };
            };
            // SAFETY: there is such a class, and a list for each.
            let list = unsafe { lists.get_unchecked_mut(class) };
            if list.len >= KEPT as u32 {
                // SAFETY: the caller's promise, and what the class's blocks are asked for with.
                return unsafe { alloc::dealloc(ptr.as_ptr(), slot(class)) };
            }
            list.len += 1;
            // SAFETY: the caller's promise; classes are words long, and aligned.
            unsafe { ptr.cast().write(list.first) };
            list.first = Some(ptr);
        });
    }
}
