//! The source that heaps are made over: it counts, fails when it is told to, and checks whoever uses it.

use core::alloc::Layout;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use std::alloc::{GlobalAlloc, System};
use std::boxed::Box;
use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use crate::AllocError;
use crate::describe::{Cost, Describe, Tree};
use crate::source::BackingSource;

/// Bytes of sentinel before and behind each block.
const GUARD: usize = 64;
/// What the sentinels hold.
const SENTINEL: u8 = 0xA5;
/// What memory holds that nobody has written.
const JUNK: u8 = 0xC3;

/// A source for heaps under test, which keeps account of every block.
///
/// [`heap_over`](super::heap_over) and its kin give one to the closure that makes the heap. It hands out the system's memory, some blocks a
/// little longer than asked, full of junk unless `ZEROED`, each between sentinels. It extends, shrinks and moves blocks at times and
/// refuses to at others, always the same in each run. It finds blocks that come back twice, with another
/// alignment, or with a size that they don't have; blocks that do not come back; and writes past either end. A clone is a handle
/// to the same memory.
///
/// ```
/// use heapwright::conformance::{self, Source};
/// use heapwright::source::SourceHeap;
/// conformance::heap_over(|source: Source| SourceHeap::new(source)).check();
/// conformance::heap_over(|pages: Source<4096, true>| SourceHeap::new(pages)).check();
/// ```
#[derive(Clone)]
pub struct Source<const GRANULE: usize = 1, const ZEROED: bool = false> {
    ledger: Arc<Ledger>,
}

impl<const GRANULE: usize, const ZEROED: bool> fmt::Debug for Source<GRANULE, ZEROED> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("blocks", &self.ledger.blocks()).finish_non_exhaustive()
    }
}

impl<const GRANULE: usize, const ZEROED: bool> Source<GRANULE, ZEROED> {
    pub(super) fn new(ledger: Arc<Ledger>) -> Self {
        Source { ledger }
    }

    /// Memory for a heap that borrows its region: `len` bytes, aligned to `align`, between sentinels. It counts as no block, and is
    /// never refused.
    ///
    /// ```
    /// use heapwright::arena::Teaspoon4KiB;
    /// use heapwright::conformance::{self, Source};
    /// conformance::shared_over(|source: Source| {
    ///     // SAFETY: the arena uses it, and nobody else does.
    ///     let memory = unsafe { source.lend(2000, 4) };
    ///     <Teaspoon4KiB<'_>>::from_slice(memory)
    /// })
    /// .check();
    /// ```
    ///
    /// # Panics
    /// When the system has no memory, or there is no such layout.
    ///
    /// # Safety
    /// The memory is not used after the heap under test has been dropped.
    #[must_use]
    pub unsafe fn lend<'m>(&self, len: usize, align: usize) -> &'m mut [MaybeUninit<u8>] {
        let block =
            Layout::from_size_align(len, align).ok().and_then(|layout| Block::new(layout, len, false));
        let Some(block) = block else { panic!("no memory for a region of {len} bytes") };
        let start = block.start().cast();
        self.ledger.state().lent.push(block);
        // SAFETY: the block is so long, and stays where it is until the ledger is dropped, which is after the heap.
        unsafe { core::slice::from_raw_parts_mut(start.as_ptr(), len) }
    }
}

/// A block's memory: sentinels, and the bytes between.
struct Block {
    base: NonNull<u8>,
    whole: Layout,
    /// The first byte, from `base`.
    front: usize,
    /// As asked for.
    layout: Layout,
    /// As handed out.
    len: usize,
    /// How long it can be where it stands.
    room: usize,
}

// SAFETY: memory that the ledger owns; what its user does is the user's.
unsafe impl Send for Block {}

impl Block {
    fn new(layout: Layout, len: usize, zeroed: bool) -> Option<Block> {
        let front = layout.align().max(GUARD);
        let room = len.checked_add(len / 2)?;
        let size = room.checked_add(front + GUARD)?;
        let whole = Layout::from_size_align(size, front).ok()?;
        // SAFETY: the size is above zero.
        let base = NonNull::new(unsafe { System.alloc(whole) })?;
        let block = Block { base, whole, front, layout, len, room };
        block.clear(0, len, zeroed);
        block.guard();
        Some(block)
    }

    fn at(&self, offset: usize) -> NonNull<u8> {
        // SAFETY: callers stay within the allocation.
        unsafe { self.base.add(offset) }
    }

    fn start(&self) -> NonNull<u8> {
        self.at(self.front)
    }

    /// Sets the bytes `from..to` of the block to what fresh memory holds.
    fn clear(&self, from: usize, to: usize, zeroed: bool) {
        let byte = if zeroed { 0 } else { JUNK };
        // SAFETY: those bytes are in the block's room, and nobody uses them yet, or any longer.
        unsafe { self.at(self.front + from).write_bytes(byte, to.saturating_sub(from)) };
    }

    fn guards(&self) -> [NonNull<u8>; 2] {
        [self.at(self.front - GUARD), self.at(self.front + self.len)]
    }

    /// Writes the sentinels.
    fn guard(&self) {
        for side in self.guards() {
            // SAFETY: both lie in the allocation, outside of the block.
            unsafe { side.write_bytes(SENTINEL, GUARD) };
        }
    }

    /// Whether the sentinels are as they were.
    fn is_guarded(&self) -> bool {
        self.guards().into_iter().all(|side| {
            let side = NonNull::slice_from_raw_parts(side, GUARD);
            // SAFETY: it lies in the allocation, is initialised, and nobody should be writing it.
            unsafe { side.as_ref() }.iter().all(|&byte| byte == SENTINEL)
        })
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { System.dealloc(self.base.as_ptr(), self.whole) };
    }
}

/// Which requests of a source fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Injection {
    /// The first that fails, counted from zero.
    pub(super) first: u64,
    /// The last that fails.
    pub(super) last: u64,
}

impl Injection {
    pub(super) const NONE: Injection = Injection { first: u64::MAX, last: 0 };
}

/// What is called whenever a source is.
type Hook = Box<dyn Fn() + Send>;

#[derive(Default)]
struct State {
    live: BTreeMap<usize, Block>,
    lent: Vec<Block>,
    bytes: usize,
    /// Requests for memory.
    requests: u64,
    /// Calls of any kind.
    calls: u64,
    fault: Option<String>,
}

/// The account of a [`Source`] and its clones.
pub struct Ledger {
    injection: Injection,
    state: Mutex<State>,
    hook: Mutex<Option<Hook>>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("blocks", &self.blocks()).finish_non_exhaustive()
    }
}

impl Ledger {
    pub(super) fn new(injection: Injection) -> Arc<Self> {
        Arc::new(Ledger { injection, state: Mutex::default(), hook: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is called at the next call of the source, once.
    pub(super) fn set_hook(&self, hook: Option<Hook>) {
        *self.hook.lock().unwrap_or_else(PoisonError::into_inner) = hook;
    }

    /// Requests so far.
    pub(super) fn requests(&self) -> u64 {
        self.state().requests
    }

    /// Calls so far.
    pub(super) fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Live blocks.
    pub(super) fn blocks(&self) -> usize {
        self.state().live.len()
    }

    /// Bytes in live blocks.
    pub(super) fn bytes(&self) -> usize {
        self.state().bytes
    }

    pub(super) fn injects(&self) -> bool {
        self.injection != Injection::NONE
    }

    /// What was done wrong first, if anything.
    pub(super) fn fault(&self) -> Option<String> {
        self.state().fault.clone()
    }

    /// Checks all sentinels.
    pub(super) fn check_guards(&self) {
        let mut state = self.state();
        let broken = state.live.values().chain(&state.lent).find(|block| !block.is_guarded());
        let text = broken.map(|block| format!("bytes beside a block of {} bytes were written", block.len));
        state.fault = state.fault.take().or(text);
    }

    fn call(&self) -> MutexGuard<'_, State> {
        let hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(hook) = hook {
            hook();
        }
        let mut state = self.state();
        state.calls += 1;
        state
    }

    fn request(&self) -> Result<MutexGuard<'_, State>, AllocError> {
        let mut state = self.call();
        let request = state.requests;
        state.requests += 1;
        let fails = self.injection.first <= request && request <= self.injection.last;
        if fails { Err(AllocError) } else { Ok(state) }
    }
}

impl State {
    /// The block at `ptr`, if it is live and `layout` its own; otherwise notes the fault.
    fn block(&mut self, ptr: NonNull<u8>, layout: Layout, what: &str) -> Option<&mut Block> {
        let found = self.live.get(&ptr.addr().get());
        let text = match found {
            None => format!("{what} of {layout:?} at {ptr:?}, which is no live block of the source"),
            Some(block) if block.layout.align() != layout.align() => {
                format!("{what} with {layout:?} of a block that was asked for with {:?}", block.layout)
            }
            Some(block) if !(block.layout.size()..=block.len).contains(&layout.size()) => {
                format!("{what} with {layout:?} of a block of {}..={} bytes", block.layout.size(), block.len)
            }
            Some(block) if !block.is_guarded() => {
                format!("{what} of {layout:?}: bytes beside its {} were written", block.len)
            }
            Some(_) => return self.live.get_mut(&ptr.addr().get()),
        };
        self.fault.get_or_insert(text);
        None
    }

    /// As [`block`](State::block); the block is the caller's then.
    fn take(&mut self, ptr: NonNull<u8>, layout: Layout, what: &str) -> Option<Block> {
        self.block(ptr, layout, what)?;
        let block = self.live.remove(&ptr.addr().get())?;
        self.bytes -= block.len;
        Some(block)
    }

    fn put(&mut self, block: Block) -> NonNull<[u8]> {
        let given = NonNull::slice_from_raw_parts(block.start(), block.len);
        self.bytes += block.len;
        self.live.insert(block.start().addr().get(), block);
        given
    }

    /// Sets the length of a live block.
    fn resize(&mut self, ptr: NonNull<u8>, size: usize, len: usize, zeroed: bool) -> Option<NonNull<[u8]>> {
        let block = self.live.get_mut(&ptr.addr().get())?;
        if len > block.room {
            return None;
        }
        block.clear(block.len, len, zeroed);
        self.bytes = self.bytes - block.len + len;
        block.len = len;
        block.layout = Layout::from_size_align(size, block.layout.align()).ok()?;
        block.guard();
        Some(NonNull::slice_from_raw_parts(block.start(), len))
    }
}

impl<const GRANULE: usize, const ZEROED: bool> Source<GRANULE, ZEROED> {
    /// The length of the block that answers a request of `layout`: where the granule is 1, a little more than asked at times.
    fn len(&self, layout: Layout) -> usize {
        let size = self.good_size(layout);
        if GRANULE == 1 { size + (size % 7) % 3 * 4 } else { size }
    }
}

// SAFETY: B1: blocks of the system's allocator, with sentinels around them, which are the ledger's; they do not move with the handle, and
// pointers are made from the whole allocation's. B2: the system takes every alignment up to `ALIGN_MAX`; what fresh memory and tails
// hold is written here. B3: nothing unwinds: locks that are poisoned are taken all the same. B4: requests that fail change nothing but
// counts. B5: only the hook calls anything else, where the kit wants that. B6: the default.
unsafe impl<const GRANULE: usize, const ZEROED: bool> BackingSource for Source<GRANULE, ZEROED> {
    const GRANULE: usize = GRANULE;
    const ALIGN_MAX: usize = 4 << 20;
    const ZEROED: bool = ZEROED;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let mut state = self.ledger.request()?;
        // Sizes like these are never met, so that no test depends on how much the machine has.
        if layout.size() == 0 || layout.align() > Self::ALIGN_MAX || layout.size() > 1 << 30 {
            return Err(AllocError);
        }
        let block = Block::new(layout, self.len(layout), ZEROED).ok_or(AllocError)?;
        Ok(state.put(block))
    }

    unsafe fn release(&mut self, ptr: NonNull<u8>, layout: Layout) {
        if let Some(block) = self.ledger.call().take(ptr, layout, "release") {
            // A read of freed memory finds other bytes, or a tool that watches for them.
            block.clear(0, block.len, false);
        }
    }

    unsafe fn extend(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let mut state = self.ledger.request()?;
        let new = Layout::from_size_align(new_size, old.align()).map_err(|_| AllocError)?;
        let len = state.block(ptr, old, "extend").ok_or(AllocError)?.len;
        if new_size < old.size() {
            state.fault = Some(format!("extend of {old:?} to {new_size} bytes"));
        }
        let new_len = len.max(self.len(new));
        state.resize(ptr, new_size, new_len, ZEROED).ok_or(AllocError)
    }

    unsafe fn shrink(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let mut state = self.ledger.call();
        let new = Layout::from_size_align(new_size, old.align()).map_err(|_| AllocError)?;
        let len = state.block(ptr, old, "shrink").ok_or(AllocError)?.len;
        if new_size > old.size() {
            state.fault = Some(format!("shrink of {old:?} to {new_size} bytes"));
        }
        // Every third size can't be had without moving.
        if new_size == 0 || new_size % 3 == 2 {
            return Err(AllocError);
        }
        state.resize(ptr, new_size, len.min(self.len(new)), ZEROED).ok_or(AllocError)
    }

    unsafe fn remap(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let mut state = self.ledger.request()?;
        let new = Layout::from_size_align(new_size, old.align()).map_err(|_| AllocError)?;
        let old_len = state.block(ptr, old, "remap").ok_or(AllocError)?.len;
        // Every third size can't be had without copying.
        if new_size % 3 == 1 || new_size > 1 << 30 || new_size < old.size() {
            return Err(AllocError);
        }
        let block = Block::new(new, self.len(new).max(old_len), ZEROED).ok_or(AllocError)?;
        let old_block = state.take(ptr, old, "remap").ok_or(AllocError)?;
        // SAFETY: both blocks are so long, and apart.
        unsafe { block.start().copy_from_nonoverlapping(old_block.start(), old_len) };
        Ok(state.put(block))
    }

    unsafe fn purge(&mut self, ptr: NonNull<u8>, len: usize) {
        let mut state = self.ledger.call();
        let (start, byte) = (ptr.addr().get(), if ZEROED { 0 } else { JUNK });
        let around = state.live.range(..=start).next_back();
        let to = around.filter(|(at, block)| start + len <= *at + block.len);
        let Some((at, block)) = to else {
            state.fault = Some(format!("purge of {len} bytes at {ptr:?}, which are in no live block"));
            return;
        };
        // SAFETY: those bytes lie in the block, and nobody needs what they hold: the caller's promise.
        unsafe { block.at(block.front + (start - at)).write_bytes(byte, len) };
    }
}

impl<const GRANULE: usize, const ZEROED: bool> Describe for Source<GRANULE, ZEROED> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let zeroed = if ZEROED { ", zeroed" } else { "" };
        tree.part(format_args!("Source of the kit, granule {GRANULE}{zeroed}"), Cost::state_of::<Self>(), &[])
    }
}
