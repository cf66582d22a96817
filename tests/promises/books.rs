//! A source that keeps books, and turns that fail when they are told to.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::rc::Rc;

use heapwright::AllocError;
use heapwright::combine::Refusal;
use heapwright::source::BackingSource;

/// What blocks hold when they come and when they have gone.
const JUNK: u8 = 0xC3;

/// Requests, counted from zero, of which some fail.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    count: Cell<u64>,
    /// The first that fails, and the one behind the last.
    failing: Cell<(u64, u64)>,
}

impl Turns {
    /// Requests so far.
    pub(crate) fn count(&self) -> u64 {
        self.count.get()
    }

    /// Has requests from `first` to before `end` fail.
    pub(crate) fn fail(&self, first: u64, end: u64) {
        self.failing.set((first, end));
    }

    /// Counts a request; says whether it fails.
    fn next(&self) -> bool {
        let number = self.count.replace(self.count.get() + 1);
        let (first, end) = self.failing.get();
        (first..end).contains(&number)
    }
}

/// A rule for heaps: requests fail by the turns of heaps.
#[derive(Clone, Debug)]
pub(crate) struct ByTurns(pub(crate) Rc<Books>);

// SAFETY: it counts.
unsafe impl Refusal for ByTurns {
    fn refuses(&mut self, _: u64, _: Layout) -> bool {
        self.0.heap_turns.next()
    }
}

/// Which blocks are out.
#[derive(Debug, Default)]
pub(crate) struct Books {
    out: RefCell<BTreeMap<usize, (NonNull<u8>, Layout)>>,
    /// Requests to the source.
    pub(crate) turns: Turns,
    /// Requests to heaps that go by these books.
    pub(crate) heap_turns: Turns,
}

impl Books {
    /// Blocks that are out.
    pub(crate) fn blocks(&self) -> usize {
        self.out.borrow().len()
    }

    /// A source that keeps these books.
    pub(crate) fn source(self: &Rc<Self>) -> Via {
        Via(Rc::clone(self))
    }

    fn write(&self, block: NonNull<u8>, layout: Layout) -> NonNull<[u8]> {
        self.out.borrow_mut().insert(block.addr().get(), (block, layout));
        NonNull::slice_from_raw_parts(block, layout.size())
    }

    fn strike(&self, block: NonNull<u8>, layout: Layout) -> NonNull<u8> {
        match self.out.borrow_mut().remove(&block.addr().get()) {
            Some((own, known)) if known == layout => own,
            other => panic!("{block:?} of {layout:?} comes back, and is {other:?}"),
        }
    }
}

impl Drop for Books {
    fn drop(&mut self) {
        for &(block, layout) in self.out.get_mut().values() {
            // SAFETY: the system's, of this layout; whoever had it is gone.
            unsafe { System.dealloc(block.as_ptr(), layout) };
        }
    }
}

/// A source through the books.
#[derive(Clone, Debug)]
pub(crate) struct Via(Rc<Books>);

impl Via {
    /// Whether blocks can become so long without copying: every third size can't be had so.
    pub(crate) fn remaps_to(size: usize) -> bool {
        (size as u64) < 1 << 40 && size % 3 != 1
    }
}

// SAFETY: B1: blocks of the system's heap, which the books give back when they go. B2: the system aligns as asked. B3: it unwinds
// only where a test has failed. B4: an error comes before anything is changed. B5: it calls nobody. B6: every size is a good one.
// B7: the books are one.
unsafe impl BackingSource for Via {
    const GRANULE: usize = 1;
    const ALIGN_MAX: usize = 1 << 20;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let possible =
            layout.size() > 0 && (layout.size() as u64) < 1 << 40 && layout.align() <= Self::ALIGN_MAX;
        if self.0.turns.next() || !possible {
            return Err(AllocError);
        }
        // SAFETY: the size is not zero.
        let block = NonNull::new(unsafe { System.alloc(layout) }).ok_or(AllocError)?;
        // SAFETY: a fresh block, as long as this.
        unsafe { block.write_bytes(JUNK, layout.size()) };
        Ok(self.0.write(block, layout))
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        let block = self.0.strike(block, layout);
        // SAFETY: nobody uses it any more, the caller's promise.
        unsafe { block.write_bytes(JUNK, layout.size()) };
        // SAFETY: the system's, of this layout.
        unsafe { System.dealloc(block.as_ptr(), layout) };
    }

    unsafe fn remap(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let new = Layout::from_size_align(new_size, old.align()).map_err(|_| AllocError)?;
        if self.0.turns.next() || !Self::remaps_to(new_size) {
            return Err(AllocError);
        }
        let own = self.0.strike(block, old);
        // SAFETY: the system's, of the old layout; the new one is a layout, and not of size zero.
        match NonNull::new(unsafe { System.realloc(own.as_ptr(), old, new_size) }) {
            Some(block) => Ok(self.0.write(block, new)),
            None => {
                self.0.write(own, old);
                Err(AllocError)
            }
        }
    }
}

/// A generator of numbers: SplitMix64, by Guy Steele, Doug Lea and Christine Flood.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not zero.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        ((self.next() >> 16) % end as u64) as usize
    }

    /// A size of one byte to 2 to the power of `doublings`, its logarithm uniform.
    pub(crate) fn size(&mut self, doublings: usize) -> usize {
        let top = 1usize << self.below(doublings + 1);
        top - self.below(top.div_ceil(2))
    }
}
