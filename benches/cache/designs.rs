//! The designs of known allocators in their plainest form: what a pool of one thread and one size makes of each idea, without
//! checks, memory return or other threads.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;

use crate::pool::{Kind, Objects, Pool};

/// Bytes of a slab, and their alignment.
const SLAB: usize = 64 << 10;
/// Bytes asked of the system at a time.
const CHUNK: usize = 4 << 20;
/// Bytes of fresh memory that are put into a list at a time: fewer than a cache holds, and no page is touched too early.
const CARVE: usize = 4 << 10;

struct Link {
    next: *mut Link,
}

/// Pushes an object to the list that starts at `first`.
///
/// # Safety
/// The object is free, in no list, and has room and alignment for a link.
#[inline(always)]
unsafe fn push(first: &mut *mut Link, object: *mut u8) {
    let link = object.cast::<Link>();
    // SAFETY: the caller's promise.
    unsafe { link.write(Link { next: *first }) };
    *first = link;
}

/// Takes the first object of a list.
///
/// # Safety
/// The list is not empty.
#[inline(always)]
unsafe fn pop(first: &mut *mut Link) -> *mut u8 {
    let link = *first;
    // SAFETY: the list is not empty, so this is a free object with a link in it.
    *first = unsafe { (*link).next };
    link.cast()
}

/// Memory from the system, handed out in order of address.
struct Chunks {
    chunks: Vec<*mut u8>,
    next: *mut u8,
    left: usize,
}

impl Chunks {
    const LAYOUT: Layout = match Layout::from_size_align(CHUNK, SLAB) {
        Ok(layout) => layout,
        Err(_) => panic!("a chunk is no layout"),
    };

    const fn new() -> Self {
        Chunks { chunks: Vec::new(), next: ptr::null_mut(), left: 0 }
    }

    /// The next `size` bytes, which are at most a chunk.
    fn take(&mut self, size: usize) -> *mut u8 {
        if self.left < size {
            // SAFETY: the layout is not empty.
            self.next = unsafe { System.alloc(Self::LAYOUT) };
            assert!(!self.next.is_null(), "out of memory");
            self.chunks.push(self.next);
            self.left = CHUNK;
        }
        let taken = self.next;
        self.next = taken.wrapping_add(size);
        self.left -= size;
        taken
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        for chunk in self.chunks.drain(..) {
            // SAFETY: the chunk is from the system, with this layout.
            unsafe { System.dealloc(chunk, Self::LAYOUT) };
        }
    }
}

/// One list of all free objects, wherever they lie. `PAD` bytes between objects put those of a large size into different
/// cache sets.
pub(crate) struct GlobalList<const SIZE: usize, const PAD: usize> {
    first: *mut Link,
    chunks: Chunks,
}

impl<const SIZE: usize, const PAD: usize> GlobalList<SIZE, PAD> {
    #[cold]
    #[inline(never)]
    fn fresh(&mut self) -> *mut u8 {
        self.chunks.take(SIZE + PAD)
    }
}

impl<const SIZE: usize, const PAD: usize> Objects for GlobalList<SIZE, PAD> {
    #[inline(always)]
    fn alloc(&mut self) -> *mut u8 {
        if self.first.is_null() {
            return self.fresh();
        }
        // SAFETY: the list is not empty.
        unsafe { pop(&mut self.first) }
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8) {
        // SAFETY: the object is free now, and of 16 bytes at least.
        unsafe { push(&mut self.first, ptr) };
    }
}

impl<const SIZE: usize, const PAD: usize> Pool for GlobalList<SIZE, PAD> {
    const NAME: &'static str =
        if PAD == 0 { "toy: one list" } else { "toy: one list, a line between objects" };
    const KIND: Kind = if PAD == 0 { Kind::Ordinary } else { Kind::Layout };

    fn make() -> Self {
        GlobalList { first: ptr::null_mut(), chunks: Chunks::new() }
    }
}

/// Each slab has a list of its own free objects, found from the object's address by masking; the slabs that have free objects wait in
/// a queue, which a slab joins again as soon as one of its objects is freed (after mimalloc).
pub(crate) struct SlabList<const SIZE: usize> {
    /// The first of the queue, or null.
    current: *mut SlabHeader,
    /// The last of the queue, unless that is empty.
    last: *mut SlabHeader,
    /// Slabs without live objects.
    spare: *mut SlabHeader,
    chunks: Chunks,
}

/// Stands at the front of a slab.
struct SlabHeader {
    first: *mut Link,
    /// Objects in use.
    used: usize,
    /// Bytes from the start of the slab to what was never in a list.
    carved: usize,
    queued: bool,
    next: *mut SlabHeader,
    previous: *mut SlabHeader,
}

impl SlabHeader {
    const fn new(carved: usize) -> Self {
        SlabHeader {
            first: ptr::null_mut(),
            used: 0,
            carved,
            queued: false,
            next: ptr::null_mut(),
            previous: ptr::null_mut(),
        }
    }
}

impl<const SIZE: usize> SlabList<SIZE> {
    /// Where the objects of a slab begin.
    const FRONT: usize = size_of::<SlabHeader>().next_multiple_of(if SIZE < 64 { 16 } else { 64 });

    /// The current slab has nothing in its list: carves, or moves on, until one has.
    #[cold]
    #[inline(never)]
    fn find(&mut self) -> *mut SlabHeader {
        while !self.current.is_null() {
            // SAFETY: the slabs of the queue are headers in chunks, and only this thread uses them.
            let slab = unsafe { &mut *self.current };
            if !slab.first.is_null() || Self::carve(slab) {
                return slab;
            }
            slab.queued = false;
            self.current = slab.next;
            if !self.current.is_null() {
                // SAFETY: as above; `slab` is not used any more.
                unsafe { (*self.current).previous = ptr::null_mut() };
            }
        }
        let taken = self.spare;
        let slab = if taken.is_null() { self.chunks.take(SLAB).cast() } else { taken };
        if !taken.is_null() {
            // SAFETY: spare slabs have headers.
            self.spare = unsafe { (*taken).next };
        }
        // SAFETY: the slab is ours, aligned and large enough.
        unsafe { slab.write(SlabHeader::new(Self::FRONT)) };
        self.queue(slab);
        // SAFETY: just written.
        Self::carve(unsafe { &mut *slab });
        slab
    }

    /// Puts some objects that were never used into the list, lowest first; false if there are none.
    fn carve(slab: &mut SlabHeader) -> bool {
        let base = ptr::from_mut(slab).cast::<u8>();
        let count = ((SLAB - slab.carved) / SIZE).min((CARVE / SIZE).max(1));
        for index in (0..count).rev() {
            // SAFETY: the object lies in the slab, and nobody has it.
            unsafe { push(&mut slab.first, base.wrapping_add(slab.carved + index * SIZE)) };
        }
        slab.carved += count * SIZE;
        count > 0
    }

    /// A slab that was out of objects has one again: to the end of the queue, so that more come until its turn.
    #[cold]
    #[inline(never)]
    fn queue(&mut self, slab: *mut SlabHeader) {
        // SAFETY: a header in a chunk, used by this thread only.
        let header = unsafe { &mut *slab };
        header.queued = true;
        header.next = ptr::null_mut();
        if self.current.is_null() {
            header.previous = ptr::null_mut();
            self.current = slab;
        } else {
            header.previous = self.last;
            // SAFETY: the queue is not empty, so this is the header of its last slab.
            unsafe { (*self.last).next = slab };
        }
        self.last = slab;
    }

    /// The last object of a slab was freed: it becomes spare, unless it is in use.
    #[cold]
    #[inline(never)]
    fn retire(&mut self, slab: *mut SlabHeader) {
        if slab == self.current {
            return;
        }
        // SAFETY: a header in a chunk, used by this thread only.
        let header = unsafe { &mut *slab };
        // SAFETY: a slab with a free object is in the queue, and this one not first there: one is before it.
        unsafe { (*header.previous).next = header.next };
        if header.next.is_null() {
            self.last = header.previous;
        } else {
            // SAFETY: the next of the queue.
            unsafe { (*header.next).previous = header.previous };
        }
        header.next = self.spare;
        self.spare = slab;
    }
}

impl<const SIZE: usize> Objects for SlabList<SIZE> {
    #[inline(always)]
    fn alloc(&mut self) -> *mut u8 {
        let mut slab = self.current;
        // SAFETY: not null, so a header in a chunk.
        if slab.is_null() || unsafe { (*slab).first.is_null() } {
            slab = self.find();
        }
        // SAFETY: a header in a chunk, used by this thread only.
        let slab = unsafe { &mut *slab };
        slab.used += 1;
        // SAFETY: the list is not empty.
        unsafe { pop(&mut slab.first) }
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8) {
        let slab = ptr.map_addr(|address| address & !(SLAB - 1)).cast::<SlabHeader>();
        // SAFETY: the object lies in a slab, whose header is at its front; only this thread uses it.
        let header = unsafe { &mut *slab };
        // SAFETY: the object is free now, and of 16 bytes at least.
        unsafe { push(&mut header.first, ptr) };
        header.used -= 1;
        let (used, queued) = (header.used, header.queued);
        if !queued {
            self.queue(slab);
        }
        if used == 0 {
            self.retire(slab);
        }
    }
}

impl<const SIZE: usize> Pool for SlabList<SIZE> {
    const NAME: &'static str = "toy: a list per slab";

    fn make() -> Self {
        SlabList {
            current: ptr::null_mut(),
            last: ptr::null_mut(),
            spare: ptr::null_mut(),
            chunks: Chunks::new(),
        }
    }
}

/// The list of a slab is taken whole by the allocating side; a slab comes back only when so many of its objects are free that it is
/// worth it, which one countdown per slab tells (after snmalloc).
pub(crate) struct StolenList<const SIZE: usize> {
    /// What is allocated from: the list of one slab.
    first: *mut Link,
    /// Memory that was never in a list: where it begins, and how many objects it has.
    fresh: *mut u8,
    fresh_left: usize,
    /// Slabs worth taking the list of, the last one woken first.
    awake: *mut StolenHeader,
    chunks: Chunks,
}

/// Stands at the front of a slab.
struct StolenHeader {
    /// Freed since the list was taken.
    first: *mut Link,
    /// Frees until the slab is worth taking from.
    needed: usize,
    next: *mut StolenHeader,
}

impl<const SIZE: usize> StolenList<SIZE> {
    /// Where the objects of a slab begin.
    const FRONT: usize = size_of::<StolenHeader>().next_multiple_of(if SIZE < 64 { 16 } else { 64 });
    const CAPACITY: usize = (SLAB - Self::FRONT) / SIZE;
    /// Free objects that wake a slab.
    const WAKE: usize = {
        let quarter = Self::CAPACITY / 4;
        if quarter < 32 { quarter } else { 32 }
    };

    /// Fills the list.
    #[cold]
    #[inline(never)]
    fn refill(&mut self) {
        if self.fresh_left > 0 {
            return self.carve();
        }
        if !self.awake.is_null() {
            // SAFETY: a header in a chunk, used by this thread only.
            let slab = unsafe { &mut *self.awake };
            self.awake = slab.next;
            self.first = slab.first;
            slab.first = ptr::null_mut();
            slab.needed = Self::WAKE;
            return;
        }
        let slab = self.chunks.take(SLAB).cast::<StolenHeader>();
        let header = StolenHeader { first: ptr::null_mut(), needed: Self::WAKE, next: ptr::null_mut() };
        // SAFETY: the slab is ours, aligned and large enough.
        unsafe { slab.write(header) };
        self.fresh = slab.cast::<u8>().wrapping_add(Self::FRONT);
        self.fresh_left = Self::CAPACITY;
        self.carve();
    }

    fn carve(&mut self) {
        let count = self.fresh_left.min((CARVE / SIZE).max(1));
        for index in (0..count).rev() {
            // SAFETY: the object lies in the slab, and nobody has it.
            unsafe { push(&mut self.first, self.fresh.wrapping_add(index * SIZE)) };
        }
        self.fresh = self.fresh.wrapping_add(count * SIZE);
        self.fresh_left -= count;
    }

    #[cold]
    #[inline(never)]
    fn wake(&mut self, slab: *mut StolenHeader) {
        // SAFETY: a header in a chunk, used by this thread only.
        let header = unsafe { &mut *slab };
        // It is awake; the next countdown starts when its list is taken.
        header.needed = usize::MAX;
        header.next = self.awake;
        self.awake = slab;
    }
}

impl<const SIZE: usize> Objects for StolenList<SIZE> {
    #[inline(always)]
    fn alloc(&mut self) -> *mut u8 {
        if self.first.is_null() {
            self.refill();
        }
        // SAFETY: the list is not empty.
        unsafe { pop(&mut self.first) }
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8) {
        let slab = ptr.map_addr(|address| address & !(SLAB - 1)).cast::<StolenHeader>();
        // SAFETY: the object lies in a slab, whose header is at its front; only this thread uses it.
        let header = unsafe { &mut *slab };
        // SAFETY: the object is free now, and of 16 bytes at least.
        unsafe { push(&mut header.first, ptr) };
        header.needed -= 1;
        if header.needed == 0 {
            self.wake(slab);
        }
    }
}

impl<const SIZE: usize> Pool for StolenList<SIZE> {
    const NAME: &'static str = "toy: stolen lists, countdown";

    fn make() -> Self {
        StolenList {
            first: ptr::null_mut(),
            fresh: ptr::null_mut(),
            fresh_left: 0,
            awake: ptr::null_mut(),
            chunks: Chunks::new(),
        }
    }
}
