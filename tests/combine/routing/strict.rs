//! A heap that holds whoever uses it to the contract: the parent of the heaps under test.

use std::alloc::{self, Layout};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use heapwright::AllocError;
use heapwright::heap::{Heap, Owns, Reset};

/// How often each method was called, and which request is to fail.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) alloc: usize,
    pub(super) zeroed: usize,
    pub(super) dealloc: usize,
    pub(super) in_place: usize,
    pub(super) resize: usize,
    pub(super) alloc_batch: usize,
    pub(super) dealloc_batch: usize,
    pub(super) release: usize,
    pub(super) good_size: usize,
    pub(super) try_dealloc: usize,
    pub(super) reset: usize,
    /// Blocks alive in all heaps of this log.
    pub(super) live: usize,
    /// Requests so far.
    requests: u64,
    /// The first and the last request to be refused.
    refused: Option<(u64, u64)>,
}

impl Log {
    /// Whether a request may go on.
    fn pass(&mut self) -> Result<(), AllocError> {
        let request = self.requests;
        self.requests += 1;
        match self.refused {
            Some((first, last)) if first <= request && request <= last => Err(AllocError),
            _ => Ok(()),
        }
    }
}

/// What several heaps note together.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared(Rc<RefCell<Log>>);

impl Shared {
    pub(super) fn heap(&self) -> Strict {
        Strict { log: self.clone(), granule: 1, room: usize::MAX, blocks: BTreeMap::new() }
    }

    pub(super) fn requests(&self) -> u64 {
        self.0.borrow().requests
    }

    pub(super) fn refuse(&self, first: u64, last: u64) {
        self.0.borrow_mut().refused = Some((first, last));
    }

    pub(super) fn see<R>(&self, see: impl FnOnce(&Log) -> R) -> R {
        see(&self.0.borrow())
    }

    fn note<R>(&self, note: impl FnOnce(&mut Log) -> R) -> R {
        note(&mut self.0.borrow_mut())
    }
}

/// A block as it was asked for, what it was given as, and what there is of it.
#[derive(Clone, Copy, Debug)]
struct Given {
    asked: Layout,
    len: usize,
    /// Twice the length, so that some blocks grow where they stand.
    whole: Layout,
    start: NonNull<u8>,
}

/// A heap over the system's that knows each of its blocks, and stops the test when one comes back by another address, alignment, or a size that it
/// was not given for. What is freed is overwritten through the pointer that came back, which has to be good for that.
#[derive(Debug)]
pub(super) struct Strict {
    log: Shared,
    /// Lengths are rounded up to a multiple of this: more than was asked for.
    granule: usize,
    /// Blocks that there is room for.
    room: usize,
    blocks: BTreeMap<usize, Given>,
}

impl Strict {
    pub(super) fn granule(mut self, granule: usize) -> Self {
        self.granule = granule;
        self
    }

    pub(super) fn room(mut self, room: usize) -> Self {
        self.room = room;
        self
    }

    fn len(&self, size: usize) -> usize {
        size.next_multiple_of(self.granule)
    }

    fn give(&mut self, layout: Layout, byte: u8) -> Result<NonNull<[u8]>, AllocError> {
        self.log.note(Log::pass)?;
        if layout.size() == 0 || layout.size() > 1 << 24 || self.blocks.len() >= self.room {
            return Err(AllocError);
        }
        let len = self.len(layout.size());
        let whole = Layout::from_size_align(2 * len, layout.align()).map_err(|_| AllocError)?;
        // SAFETY: not of size zero.
        let start = NonNull::new(unsafe { alloc::alloc(whole) }).ok_or(AllocError)?;
        // SAFETY: fresh, and so long.
        unsafe { start.write_bytes(byte, whole.size()) };
        self.blocks.insert(start.addr().get(), Given { asked: layout, len, whole, start });
        self.log.note(|log| log.live += 1);
        Ok(NonNull::slice_from_raw_parts(start, len))
    }

    fn known(&self, ptr: NonNull<u8>, layout: Layout) -> Given {
        let given = self.blocks.get(&ptr.addr().get()).expect("no block begins there");
        assert_eq!(given.asked.align(), layout.align(), "another alignment came back than was asked for");
        let sizes = given.asked.size()..=given.len;
        assert!(sizes.contains(&layout.size()), "{layout:?} came back for a block of {sizes:?} bytes");
        *given
    }

    fn take(&mut self, ptr: NonNull<u8>, layout: Layout) {
        let given = self.known(ptr, layout);
        // SAFETY: a pointer that comes back is good for its layout's size.
        unsafe { ptr.write_bytes(0xDD, layout.size()) };
        self.blocks.remove(&ptr.addr().get());
        self.log.note(|log| log.live -= 1);
        // SAFETY: it was made with this layout, and the table no longer has it.
        unsafe { alloc::dealloc(given.start.as_ptr(), given.whole) };
    }

    fn in_place(&mut self, ptr: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let mut given = self.known(ptr, old);
        self.log.note(Log::pass)?;
        let len = self.len(new.size());
        if old.align() != new.align() || len > given.whole.size() {
            return Err(AllocError);
        }
        (given.asked, given.len) = (new, len);
        self.blocks.insert(ptr.addr().get(), given);
        Ok(NonNull::slice_from_raw_parts(given.start, len))
    }
}

impl Drop for Strict {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.blocks.is_empty(), "blocks that never came back: {:?}", self.blocks);
        }
    }
}

// SAFETY: H1: blocks are the system's, one each, and it has their pointers. H2: it only has those. H3: it panics only when the contract is broken by the heap under
// test, which is what the test is to show. H4: what is refused is so before anything changes. H5: only the system is called. H6: refused. H7: a multiple of the granule.
unsafe impl Heap for Strict {
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.log.note(|log| log.alloc += 1);
        self.give(layout, 0xCC)
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        self.log.note(|log| log.dealloc += 1);
        self.take(ptr, layout);
    }

    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.log.note(|log| log.zeroed += 1);
        self.give(layout, 0)
    }

    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        self.log.note(|log| log.in_place += 1);
        self.in_place(ptr, old, new)
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        self.log.note(|log| log.resize += 1);
        if let Ok(block) = self.in_place(ptr, old, new) {
            return Ok(block);
        }
        let moved = self.give(new, 0xCC)?;
        // SAFETY: both are live and long enough.
        unsafe { moved.cast::<u8>().copy_from_nonoverlapping(ptr, old.size().min(new.size())) };
        self.take(ptr, old);
        Ok(moved)
    }

    fn good_size(&self, layout: Layout) -> usize {
        self.log.note(|log| log.good_size += 1);
        self.len(layout.size())
    }

    fn alloc_batch(&mut self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        self.log.note(|log| log.alloc_batch += 1);
        let mut count = 0;
        while let Some(place) = out.get_mut(count) {
            let Ok(block) = self.give(layout, 0xCC) else { break };
            place.write(block.cast());
            count += 1;
        }
        count
    }

    unsafe fn dealloc_batch(&mut self, layout: Layout, blocks: &[NonNull<u8>]) {
        self.log.note(|log| log.dealloc_batch += 1);
        blocks.iter().for_each(|&block| self.take(block, layout));
    }

    fn release_unused(&mut self) -> usize {
        self.log.note(|log| log.release += 1);
        1
    }
}

// SAFETY: the table has all live blocks of this heap and no others.
unsafe impl Owns for Strict {
    fn owns(&self, ptr: NonNull<u8>, _: Layout) -> bool {
        self.blocks.contains_key(&ptr.addr().get())
    }

    unsafe fn try_dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        self.log.note(|log| log.try_dealloc += 1);
        let owned = self.owns(ptr, layout);
        if owned {
            self.take(ptr, layout);
        }
        owned
    }
}

impl Reset for Strict {
    unsafe fn reset(&mut self) {
        self.log.note(|log| log.reset += 1);
        while let Some((_, given)) = self.blocks.pop_first() {
            self.log.note(|log| log.live -= 1);
            // SAFETY: it was made with this layout, and the table no longer has it.
            unsafe { alloc::dealloc(given.start.as_ptr(), given.whole) };
        }
    }
}

/// A pointer to the same place, good for `size` bytes and no more: what a collection gives back that was made from a slice.
pub(super) fn narrowed(ptr: NonNull<u8>, size: usize) -> NonNull<u8> {
    let bytes = ptr::slice_from_raw_parts_mut(ptr.as_ptr().cast::<MaybeUninit<u8>>(), size);
    // SAFETY: the caller passes a block of its own with a size that it has.
    NonNull::from(unsafe { &mut *bytes }).cast()
}
