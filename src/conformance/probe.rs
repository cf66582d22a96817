//! A heap that counts which of its methods are called: what a heap around another one passes on.

use core::alloc::Layout;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use std::alloc::{GlobalAlloc, System};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::AllocError;
use crate::check::Finding;
use crate::describe::{Cost, Describe, Tree};
use crate::heap::{Chunk, Corruption, Cursor, Heap, Inspect, Owns, Reset, Usage};

/// A method of [`Heap`], or of what some heaps are beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Call {
    /// [`Heap::alloc`].
    Alloc,
    /// [`Heap::dealloc`].
    Dealloc,
    /// [`Heap::alloc_at_hand`].
    AllocAtHand,
    /// [`Heap::dealloc_at_hand`].
    DeallocAtHand,
    /// [`Heap::alloc_zeroed`].
    AllocZeroed,
    /// [`Heap::resize_in_place`].
    ResizeInPlace,
    /// [`Heap::resize`].
    Resize,
    /// [`Heap::good_size`].
    GoodSize,
    /// [`Heap::alloc_batch`].
    AllocBatch,
    /// [`Heap::dealloc_batch`].
    DeallocBatch,
    /// [`Heap::release_unused`].
    ReleaseUnused,
    /// [`Heap::judge`].
    Judge,
    /// [`Heap::take_finding`], and that [`Heap::CHECKS`] says so.
    TakeFinding,
    /// [`Owns::owns`].
    Owns,
    /// [`Owns::try_dealloc`].
    TryDealloc,
    /// [`Reset::reset`].
    Reset,
}

/// A heap core that counts its calls, for heaps around it: what they pass on, and what they do by other means.
///
/// Every block has room to be resized in place to twice its size. A clone of the handle that [`Probe::calls`] reads is the same probe's.
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::conformance::{Call, Probe};
/// use heapwright::heap::Heap;
/// let mut probe = Probe::new();
/// let block = probe.alloc(Layout::new::<u64>())?;
/// // SAFETY: the block is live, and its layout this one.
/// unsafe { probe.dealloc(block.cast(), Layout::new::<u64>()) };
/// assert_eq!((probe.calls(Call::Alloc), probe.calls(Call::Resize)), (1, 0));
/// # Ok::<(), heapwright::AllocError>(())
/// ```
#[derive(Clone, Default)]
pub struct Probe {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    calls: BTreeMap<Call, usize>,
    /// Size, and the memory's layout, by address.
    live: BTreeMap<usize, (usize, Layout, NonNull<u8>)>,
    finding: Option<Finding>,
}

// SAFETY: blocks that the probe owns; what their users do is theirs.
unsafe impl Send for State {}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").field("calls", &self.state().calls).finish()
    }
}

impl Probe {
    /// A probe that has not been called.
    #[must_use]
    pub fn new() -> Self {
        Probe::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often a method was called, by its user rather than by another method.
    #[must_use]
    pub fn calls(&self, call: Call) -> usize {
        self.state().calls.get(&call).copied().unwrap_or(0)
    }

    /// Live blocks.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.state().live.len()
    }

    /// Has the probe find something wrong: what it gives when it is asked.
    pub(super) fn find(&self, finding: Finding) {
        self.state().finding = Some(finding);
    }

    fn count(&self, call: Call) -> MutexGuard<'_, State> {
        let mut state = self.state();
        *state.calls.entry(call).or_default() += 1;
        state
    }
}

impl State {
    fn take(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let room = layout.size().checked_mul(2).filter(|&room| room > 0).ok_or(AllocError)?;
        let whole = Layout::from_size_align(room, layout.align()).map_err(|_| AllocError)?;
        // SAFETY: the size is not zero.
        let base = NonNull::new(unsafe { System.alloc_zeroed(whole) }).ok_or(AllocError)?;
        self.live.insert(base.addr().get(), (layout.size(), whole, base));
        Ok(NonNull::slice_from_raw_parts(base, layout.size()))
    }

    fn give(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        let Some((size, whole, base)) = self.live.remove(&ptr.addr().get()) else { return false };
        assert!(
            (size, whole.align()) == (layout.size(), layout.align()),
            "a block of {size} bytes, aligned to {}, comes back with {layout:?}",
            whole.align()
        );
        // SAFETY: allocated in `take` with this layout.
        unsafe { System.dealloc(base.as_ptr(), whole) };
        true
    }

    fn resize_in_place(&mut self, ptr: NonNull<u8>, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let (size, whole, base) = self.live.get_mut(&ptr.addr().get()).ok_or(AllocError)?;
        if new.size() > whole.size() || new.align() != whole.align() {
            return Err(AllocError);
        }
        *size = new.size();
        Ok(NonNull::slice_from_raw_parts(*base, new.size()))
    }
}

impl Drop for State {
    fn drop(&mut self) {
        for (_, whole, base) in self.live.values() {
            // SAFETY: allocated in `take` with this layout.
            unsafe { System.dealloc(base.as_ptr(), *whole) };
        }
    }
}

// SAFETY: H1, H2: blocks are the system's, each the caller's alone. H3: nothing unwinds but on a call that breaks the contract. H4: a
// request that fails changes counts only. H5: only the system is called. H6: size zero is refused. H7: each size is its own good one.
unsafe impl Heap for Probe {
    const AT_HAND: bool = true;

    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.count(Call::Alloc).take(layout)
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        let found = self.count(Call::Dealloc).give(ptr, layout);
        assert!(found, "no live block at {ptr:?}, of {layout:?}");
    }

    fn alloc_at_hand(&mut self, layout: Layout) -> Option<NonNull<[u8]>> {
        self.count(Call::AllocAtHand).take(layout).ok()
    }

    unsafe fn dealloc_at_hand(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        self.count(Call::DeallocAtHand).give(ptr, layout)
    }

    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.count(Call::AllocZeroed).take(layout)
    }

    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        _: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        self.count(Call::ResizeInPlace).resize_in_place(ptr, new)
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let mut state = self.count(Call::Resize);
        if let Ok(block) = state.resize_in_place(ptr, new) {
            return Ok(block);
        }
        let block = state.take(new)?;
        // SAFETY: both are live blocks of at least so many bytes, and apart.
        unsafe { block.cast::<u8>().copy_from_nonoverlapping(ptr, old.size().min(new.size())) };
        state.give(ptr, old);
        Ok(block)
    }

    fn good_size(&self, layout: Layout) -> usize {
        drop(self.count(Call::GoodSize));
        layout.size()
    }

    fn alloc_batch(&mut self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        let mut state = self.count(Call::AllocBatch);
        for (count, place) in out.iter_mut().enumerate() {
            match state.take(layout) {
                Ok(block) => place.write(block.cast()),
                Err(AllocError) => return count,
            };
        }
        out.len()
    }

    unsafe fn dealloc_batch(&mut self, layout: Layout, blocks: &[NonNull<u8>]) {
        let mut state = self.count(Call::DeallocBatch);
        for &block in blocks {
            assert!(state.give(block, layout), "no live block at {block:?}, of {layout:?}");
        }
    }

    fn release_unused(&mut self) -> usize {
        drop(self.count(Call::ReleaseUnused));
        0
    }

    const CHECKS: bool = true;

    unsafe fn judge(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        let state = self.count(Call::Judge);
        let live = state.live.get(&ptr.addr().get());
        live.is_some_and(|(size, whole, _)| (*size, whole.align()) == (layout.size(), layout.align()))
    }

    fn take_finding(&mut self) -> Option<Finding> {
        self.count(Call::TakeFinding).finding.take()
    }
}

// SAFETY: live blocks are known by their address.
unsafe impl Owns for Probe {
    fn owns(&self, ptr: NonNull<u8>, _: Layout) -> bool {
        self.count(Call::Owns).live.contains_key(&ptr.addr().get())
    }

    unsafe fn try_dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        self.count(Call::TryDealloc).give(ptr, layout)
    }
}

impl Reset for Probe {
    unsafe fn reset(&mut self) {
        let mut state = self.count(Call::Reset);
        let calls = core::mem::take(&mut state.calls);
        *state = State::default();
        state.calls = calls;
    }
}

impl Inspect for Probe {
    fn usage(&self) -> Usage {
        let state = self.state();
        let used = state.live.values().map(|(size, ..)| *size).sum();
        Usage { total: used, used, free: 0, objects: state.live.len() }
    }

    fn next_chunk(&mut self, _: &mut Cursor) -> Option<Chunk> {
        None
    }

    fn verify(&mut self) -> Result<(), Corruption> {
        Ok(())
    }
}

impl Describe for Probe {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        tree.part(format_args!("Probe, counts its calls"), Cost::state_of::<Self>(), &[])
    }
}
