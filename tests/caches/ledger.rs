//! A source that keeps books: what is out, what came back, what is still written to; and that fails when told to.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::source::BackingSource;

/// What blocks hold that have come back, and bytes that have been purged.
const POISON: u8 = 0xD7;

/// Released blocks are kept and watched up to so many bytes in all; then the oldest go.
const KEPT_MAX: usize = 16 << 20;

/// Says what is wrong with a range of memory that goes back, if anything.
type Watch = fn(Range<usize>) -> Option<String>;

/// The books of a source. Released blocks stay mapped, and are poisoned, so that a late write shows.
#[derive(Default)]
pub(crate) struct Ledger {
    live: RefCell<BTreeMap<usize, (NonNull<u8>, Layout)>>,
    dead: RefCell<Vec<(NonNull<u8>, Layout)>>,
    faults: RefCell<Vec<String>>,
    /// Requests so far, refused ones included.
    pub(crate) requests: Cell<usize>,
    /// Whether requests are refused.
    pub(crate) empty: Cell<bool>,
    /// The number of the one request that is refused.
    pub(crate) refused: Cell<Option<usize>>,
    /// Asked about every range that is released or purged: what is wrong with that, if anything.
    pub(crate) watch: Cell<Option<Watch>>,
}

impl Ledger {
    /// A source that keeps these books; `LAZY` as in `BackingSource`.
    pub(crate) fn source<const LAZY: bool>(&self) -> Via<'_, LAZY> {
        Via(self)
    }

    /// Blocks that are out.
    pub(crate) fn blocks(&self) -> usize {
        self.live.borrow().len()
    }

    /// What has been found wrong, and late writes into released blocks.
    pub(crate) fn faults(&self) -> Vec<String> {
        for &(block, layout) in self.dead.borrow().iter() {
            self.look(block, layout);
        }
        self.faults.borrow().clone()
    }

    fn look(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: a dead block is still ours, and all of it was written when it came back.
        let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), layout.size()) };
        if let Some(at) = bytes.iter().position(|&byte| byte != POISON) {
            self.fault(format!("byte {at} of the released block {block:?} ({layout:?}) was written"));
        }
    }

    fn fault(&self, text: String) {
        self.faults.borrow_mut().push(text);
    }

    fn watched(&self, range: Range<usize>) {
        if let Some(wrong) = self.watch.get().and_then(|watch| watch(range)) {
            self.fault(wrong);
        }
    }

    fn retire(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the block has come back, and is ours.
        unsafe { block.write_bytes(POISON, layout.size()) };
        let mut dead = self.dead.borrow_mut();
        dead.push((block, layout));
        while dead.iter().map(|(_, layout)| layout.size()).sum::<usize>() > KEPT_MAX {
            let (block, layout) = dead.remove(0);
            self.look(block, layout);
            // SAFETY: acquired with this layout, and nobody's.
            unsafe { System.dealloc(block.as_ptr(), layout) };
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let live = self.live.get_mut().values();
        for (block, layout) in live.chain(self.dead.get_mut().iter()) {
            // SAFETY: acquired with this layout; whoever had it is gone.
            unsafe { System.dealloc(block.as_ptr(), *layout) };
        }
    }
}

/// A source through a ledger.
#[derive(Clone, Copy)]
pub(crate) struct Via<'a, const LAZY: bool = false>(&'a Ledger);

// SAFETY: B1: blocks of the system's allocator, freed when the ledger goes, which `Via` borrows. B2: it aligns as asked; blocks are cleared.
// B3: what is wrong is written down. B4: nothing has changed at an error. B5: the ledger calls nobody, but for a look at a table.
unsafe impl<const LAZY: bool> BackingSource for Via<'_, LAZY> {
    const GRANULE: usize = if LAZY { 4096 } else { 1 };
    const ALIGN_MAX: usize = 1 << 30;
    const LAZY: bool = LAZY;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let number = self.0.requests.replace(self.0.requests.get() + 1);
        if self.0.empty.get() || self.0.refused.get() == Some(number) || layout.size() == 0 {
            return Err(AllocError);
        }
        // SAFETY: the size is not zero.
        let block = NonNull::new(unsafe { System.alloc_zeroed(layout) }).ok_or(AllocError)?;
        self.0.live.borrow_mut().insert(block.addr().get(), (block, layout));
        Ok(NonNull::slice_from_raw_parts(block, layout.size()))
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        let start = block.addr().get();
        self.0.watched(start..start + layout.size());
        match self.0.live.borrow_mut().remove(&start) {
            Some((block, own)) if own == layout => self.0.retire(block, layout),
            other => self.0.fault(format!("released with {layout:?}: {other:?}")),
        }
    }

    unsafe fn purge(&mut self, ptr: NonNull<u8>, len: usize) {
        let start = ptr.addr().get();
        self.0.watched(start..start + len);
        let live = self.0.live.borrow();
        let block = live.range(..=start).next_back();
        if block.is_none_or(|(&at, (_, layout))| start + len > at + layout.size()) {
            self.0.fault(format!("{len} bytes at {ptr:?} purged, which are in no block"));
            return;
        }
        // SAFETY: within a live block; the caller's promise: nobody needs what the bytes hold.
        unsafe { ptr.write_bytes(POISON, len) };
    }
}
