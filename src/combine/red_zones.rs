//! Blocks between bytes that nobody may write.

use core::alloc::Layout;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

use super::around::{Within, reset_and_inspect};
use crate::AllocError;
use crate::check::{Abort, Damage, Finding, Misuse, OnMisuse, Wrong};
use crate::check::{FREED, Other, ZONE, first_other};
use crate::describe::{Cost, Describe, Tree};
use crate::heap::Heap;
use crate::mem::{self, align_up};

/// A heap whose blocks stand between zones of a pattern, `PRE` bytes before and `POST` bytes behind: writes past either end are found.
///
/// Choose it to find who writes past the end of a block, in tests, or in a program that can pay for it. The zones are looked at when a block comes
/// back to be freed or resized. A byte that is not the pattern's is reported to `R`, as is a block that is freed twice, if its memory was not
/// used meanwhile. Where reads and writes of freed memory are to be found, too, put a [`Quarantine`](super::Quarantine) within.
///
/// ```text
///  a block of P
///  ├─────────────┬────────────────────────┬─────────────┬──────┤
///  │ bb bb .. bb │ the block: layout.size │ bb bb .. bb │ rest │
///  └─────────────┴────────────────────────┴─────────────┴──────┘
///    PRE or more   aligned as asked for     POST
/// ```
///
/// The zone behind begins right at the size that was asked for: blocks are no longer than that, so that even the first byte past the end
/// is seen.
///
/// # Cost
/// `POST` bytes for each block and `PRE`, rounded up to the block's alignment: 16 and 8 are usual, for at a word past an end the
/// nearest write is most likely. An alloc writes the zones, a free reads and writes them. No state but the handler's.
///
/// ```
/// use core::mem::MaybeUninit;
/// use heapwright::arena::Arena;
/// use heapwright::combine::RedZones;
/// use heapwright::check::{CountMisuses, Wrong};
/// use heapwright::heap::Heap;
/// use heapwright::sizing::Sizing4KiB;
/// use std::alloc::Layout;
///
/// let mut memory = [MaybeUninit::uninit(); 1024];
/// let arena = Arena::<Sizing4KiB>::from_slice(&mut memory);
/// let mut heap = RedZones::<16, 8, _, _>::new(arena, CountMisuses::new());
/// let layout = Layout::new::<[u8; 5]>();
/// let block = heap.alloc(layout)?.cast::<u8>();
/// // SAFETY: the block is live, and its layout this one. The write past its end is the fault that is looked for; the memory is the arena's.
/// unsafe {
///     block.add(5).write(0);
///     heap.dealloc(block, layout);
/// }
/// let first = heap.handler().first().ok_or(heapwright::AllocError)?;
/// assert_eq!((first.wrong, first.damage.map(|damage| damage.offset)), (Wrong::WrittenBehind, Some(5)));
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// Zones are looked for, and written, where the layout says. Where `P` [checks](Heap::CHECKS), it is [asked](Heap::judge) before, and a free or resize with a wrong layout, or of a pointer from elsewhere, does
/// nothing. Where it does not, such a call reads and writes up to `PRE` (rounded up) and `POST` bytes that may be a live neighbour's. A policy with a [`RED_ZONE`](crate::check::Checks::RED_ZONE) looks
/// behind blocks as well.
///
/// It can't tell whether a block is its own ([`Owns`](crate::heap::Owns)): the zone before a foreign block may lie in another's. Where a free
/// is routed by ownership, put the zones around the whole.
///
/// The ideas: the fences of foonathan/memory, `DebugHeap` of Heap Layers (Emery Berger et al.), the red zones of the SunOS kernel and Linux.
pub struct RedZones<const PRE: usize, const POST: usize, P: Heap, R: OnMisuse = Abort> {
    heap: P,
    handler: R,
}

/// Where a block stands in the one of the heap within. The same for all sizes that the block may come back with, as that is only one.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Bytes before it: a multiple of its alignment.
    before: usize,
    /// The block within: those bytes, the block, and the zone behind it.
    whole: Layout,
}

impl<const PRE: usize, const POST: usize, P: Heap, R: OnMisuse> RedZones<PRE, POST, P, R> {
    /// `heap`, whose blocks stand between zones. What is found goes to `handler`.
    #[must_use]
    pub const fn new(heap: P, handler: R) -> Self {
        const {
            assert!(
                PRE + POST > 0,
                "RedZones without zones find nothing: give it some bytes, or leave it out"
            );
        };
        RedZones { heap, handler }
    }

    /// What has been done about misuses.
    #[must_use]
    pub const fn handler(&self) -> &R {
        &self.handler
    }

    /// The heap within.
    #[must_use]
    pub const fn heap(&self) -> &P {
        &self.heap
    }

    /// The heap within, and the handler.
    #[must_use]
    pub fn into_inner(self) -> (P, R) {
        (self.heap, self.handler)
    }

    /// Where a block of `layout` stands; an error if it is too large, or of size zero.
    #[inline]
    fn place(layout: Layout) -> Result<Place, AllocError> {
        if layout.size() == 0 {
            return Err(AllocError);
        }
        let before = align_up(PRE, layout.align()).ok_or(AllocError)?;
        let size = before.checked_add(layout.size()).and_then(|size| size.checked_add(POST));
        let whole = Layout::from_size_align(size.ok_or(AllocError)?, layout.align());
        Ok(Place { before, whole: whole.map_err(|_| AllocError)? })
    }

    /// Where a block stands that comes back. None: no block has that layout, or that address with it; the heap within, if it checks, has noted what is wrong.
    ///
    /// # Safety
    /// As [`Heap::dealloc`].
    #[inline]
    unsafe fn place_of(&mut self, ptr: NonNull<u8>, layout: Layout) -> Option<Place> {
        let place = Self::place(layout).ok();
        if !P::CHECKS {
            return place;
        }
        let place = place.filter(|place| ptr.addr().get() > place.before);
        if place.is_none() {
            // SAFETY: the caller's promise; no block of that heap either has that layout.
            let _ = unsafe { self.heap.judge(ptr, layout) };
        }
        place
    }

    /// The block within in which the block at `ptr` stands, good for all of it: what comes back is good for its own size only.
    ///
    /// # Safety
    /// The block is live, and `place` its own; or the address is above what is before a block there.
    #[inline]
    unsafe fn whole(ptr: NonNull<u8>, place: Place) -> NonNull<u8> {
        let address = ptr.addr().get().wrapping_sub(place.before);
        // `enclose` has exposed the provenance.
        let whole = ptr::with_exposed_provenance_mut(address);
        // SAFETY: it is the address of a block, or above zero.
        unsafe { NonNull::new_unchecked(whole) }
    }

    /// Fills the zones of a block that begins at `whole`.
    ///
    /// # Safety
    /// The block within is live, `whole` is good for all of it, and `place` is that of a block of `size` bytes.
    #[inline]
    unsafe fn fill(whole: NonNull<u8>, place: Place, size: usize, pattern: u8) {
        // SAFETY: so many bytes are before the block.
        unsafe { whole.write_bytes(pattern, place.before) };
        // SAFETY: the block and the zone behind it follow.
        let behind = unsafe { whole.add(place.before + size) };
        // SAFETY: so many bytes are behind the block.
        unsafe { behind.write_bytes(pattern, POST) };
    }

    /// Makes a block between zones of a fresh or resized one of the heap within.
    ///
    /// # Safety
    /// `whole` is a live block of `place.whole`, good for all of it, and `place` is that of a block of `size` bytes.
    #[inline]
    unsafe fn enclose(whole: NonNull<u8>, place: Place, size: usize) -> NonNull<[u8]> {
        // For `whole`.
        let _ = whole.as_ptr().expose_provenance();
        // SAFETY: the caller's promise is the same.
        unsafe { Self::fill(whole, place, size, ZONE) };
        // SAFETY: so many bytes are before the block.
        mem::slice(unsafe { whole.add(place.before) }, size)
    }

    /// Whether a block is the heap's, as far as that checks: asked before its zones are looked at, which are where its layout says.
    ///
    /// # Safety
    /// As [`Heap::dealloc`]; `place` is that of the block's layout.
    #[inline]
    unsafe fn is_theirs(&mut self, ptr: NonNull<u8>, place: Place) -> bool {
        // SAFETY: the caller's promise.
        let whole = unsafe { Self::whole(ptr, place) };
        // SAFETY: the block within is live, and was asked for by this layout.
        !P::CHECKS || unsafe { self.heap.judge(whole, place.whole) }
    }

    /// Looks at a block that came back, and at its zones, and reports what is wrong. False: it may not, as it was freed before, or is no block of the heap.
    ///
    /// # Safety
    /// The block is live, `layout` is its own, and `place` that of this layout.
    unsafe fn check(&mut self, ptr: NonNull<u8>, layout: Layout, place: Place) -> bool {
        // SAFETY: the caller's promise is the same.
        if !unsafe { self.is_theirs(ptr, place) } {
            return false;
        }
        // SAFETY: the caller's promise is the same.
        let whole = unsafe { Self::whole(ptr, place) };
        // SAFETY: the bytes before the block were filled when it was handed out.
        let before = unsafe { first_other(whole, place.before, ZONE) };
        // SAFETY: the zone behind the block is in the block within.
        let zone = unsafe { whole.add(place.before + layout.size()) };
        // SAFETY: its bytes were filled when the block was handed out.
        let behind = unsafe { first_other(zone, POST, ZONE) };
        if before.is_none() && behind.is_none() {
            return true;
        }
        // SAFETY: as above.
        unsafe { self.report(whole, (before, behind), layout, place) }
    }

    /// As `check`, when a zone is not as it was: the first bytes of each that are not the pattern's are given.
    ///
    /// # Safety
    /// The block within begins at `whole`, and `place` is that of the block, whose layout is `layout`.
    #[cold]
    #[inline(never)]
    unsafe fn report(
        &mut self,
        whole: NonNull<u8>,
        (before, behind): (Option<Other>, Option<Other>),
        layout: Layout,
        place: Place,
    ) -> bool {
        let (address, size) = (whole.addr().get() + place.before, layout.size());
        let misuse = |wrong| Misuse::new(wrong, address, layout);
        // The bytes next to the block: the far end of the zone may be what a heap has for its own in a free block.
        let (near, len) = if place.before > 0 {
            let len = place.before.min(size_of::<usize>());
            (place.before - len, len)
        } else {
            (size, POST.min(size_of::<usize>()))
        };
        // SAFETY: `near` is in the block within.
        let near = unsafe { whole.add(near) };
        // SAFETY: the bytes are a zone's.
        if unsafe { first_other(near, len, FREED) }.is_none() {
            misuse(Wrong::DoubleFree).report(&mut self.handler);
            return false;
        }
        let damage = |offset: usize, found| Damage { offset: offset as isize, expected: ZONE, found };
        if let Some((at, found)) = before {
            let damage = damage(at.wrapping_sub(place.before), found);
            misuse(Wrong::WrittenBefore).with_damage(damage).report(&mut self.handler);
        }
        if let Some((at, found)) = behind {
            let damage = damage(size + at, found);
            misuse(Wrong::WrittenBehind).with_damage(damage).report(&mut self.handler);
        }
        // So that it is reported once, if the block goes on to live.
        // SAFETY: the zones are ours, whoever wrote there.
        unsafe { Self::fill(whole, place, size, ZONE) };
        true
    }

    /// Looks at a block that came back to be freed, and marks it as free; gives the block within, or none if it was freed before.
    ///
    /// # Safety
    /// As [`Heap::dealloc`].
    #[inline]
    unsafe fn open(&mut self, ptr: NonNull<u8>, layout: Layout, place: Place) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise is the same.
        if !unsafe { self.check(ptr, layout, place) } {
            return None;
        }
        // SAFETY: the block is live, and `place` its own.
        let whole = unsafe { Self::whole(ptr, place) };
        // SAFETY: as above.
        unsafe { Self::fill(whole, place, layout.size(), FREED) };
        Some(whole)
    }
}

// SAFETY: H1: a block lies within one of the heap's, with its provenance; it is aligned, as that one is and as many bytes before it as are a
// multiple of the alignment; it is as long as was asked for, so that it comes back with that size, and the layout of the block within is
// found again. H2: the heap's. H3: the heap's, and handlers are fenced. H4: the heap's; before it is asked only zones are written, and after an
// error they are zones again. H5: the heap's, and handlers do not call the shell (M1); nothing is at hand. H6: refused by `place`. H7: sizes up to a good size are, with the zones,
// sizes up to the heap's good size, which is the same for all of them.
unsafe impl<const PRE: usize, const POST: usize, P: Heap, R: OnMisuse> Heap for RedZones<PRE, POST, P, R> {
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let place = Self::place(layout)?;
        let whole = self.heap.alloc(place.whole)?;
        // SAFETY: the block is fresh (H1), and `place` that of the layout.
        Ok(unsafe { Self::enclose(whole.cast(), place, layout.size()) })
    }

    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let place = Self::place(layout)?;
        let whole = self.heap.alloc_zeroed(place.whole)?;
        // SAFETY: the block is fresh (H1), and `place` that of the layout.
        Ok(unsafe { Self::enclose(whole.cast(), place, layout.size()) })
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same. A layout without a place is that of no block.
        let Some(place) = (unsafe { self.place_of(ptr, layout) }) else { return };
        // SAFETY: as above.
        if let Some(whole) = unsafe { self.open(ptr, layout, place) } {
            // SAFETY: the block within is live, and was asked for by this layout.
            unsafe { self.heap.dealloc(whole, place.whole) };
        }
    }

    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        let from = unsafe { self.place_of(ptr, old) }.ok_or(AllocError)?;
        // SAFETY: as above.
        if !unsafe { self.check(ptr, old, from) } {
            return Err(AllocError);
        }
        let to = Self::place(new)?;
        if from.before != to.before {
            return Err(AllocError);
        }
        // SAFETY: the block is live, and `from` its own.
        let whole = unsafe { Self::whole(ptr, from) };
        // SAFETY: the block within is live, and was asked for by this layout; the new one is not of size zero.
        let whole = unsafe { self.heap.resize_in_place(whole, from.whole, to.whole) }?;
        // SAFETY: the block has the new layout from here on.
        Ok(unsafe { Self::enclose(whole.cast(), to, new.size()) })
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        let from = unsafe { self.place_of(ptr, old) }.ok_or(AllocError)?;
        // SAFETY: as above.
        if !unsafe { self.check(ptr, old, from) } {
            return Err(AllocError);
        }
        let to = Self::place(new)?;
        if from.before == to.before {
            // SAFETY: the block is live, and `from` its own.
            let whole = unsafe { Self::whole(ptr, from) };
            // The block may move, and its old place is not ours then: it is marked as free before.
            // SAFETY: as above.
            unsafe { Self::fill(whole, from, old.size(), FREED) };
            // SAFETY: as in `resize_in_place`. The first bytes of the block within are kept, and with them those of the block.
            let Ok(moved) = (unsafe { self.heap.resize(whole, from.whole, to.whole) }) else {
                // SAFETY: the block is as it was (H4).
                unsafe { Self::fill(whole, from, old.size(), ZONE) };
                return Err(AllocError);
            };
            // SAFETY: the block has the new layout from here on.
            return Ok(unsafe { Self::enclose(moved.cast(), to, new.size()) });
        }
        let block = self.alloc(new)?;
        // SAFETY: both are live blocks of at least `min(old, new)` bytes and do not overlap (H1).
        unsafe { block.cast::<u8>().copy_from_nonoverlapping(ptr, old.size().min(new.size())) };
        // SAFETY: the caller's promise; the copy has been made.
        unsafe { self.dealloc(ptr, old) };
        Ok(block)
    }

    fn good_size(&self, layout: Layout) -> usize {
        let Ok(place) = Self::place(layout) else { return layout.size() };
        let zones = place.whole.size() - layout.size();
        let good = self.heap.good_size(place.whole).saturating_sub(zones).max(layout.size());
        // Where the zones of the good size make no layout any more, each size is its own (H7).
        let fits = Layout::from_size_align(good, layout.align()).is_ok_and(|good| Self::place(good).is_ok());
        if fits { good } else { layout.size() }
    }

    fn alloc_batch(&mut self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        let Ok(place) = Self::place(layout) else { return 0 };
        let count = self.heap.alloc_batch(place.whole, out);
        for block in out.iter_mut().take(count) {
            // SAFETY: the heap has filled so many from the front.
            let whole = unsafe { block.assume_init() };
            // SAFETY: the block is fresh (H1), and `place` that of the layout.
            block.write(unsafe { Self::enclose(whole, place, layout.size()) }.cast());
        }
        count
    }

    unsafe fn dealloc_batch(&mut self, layout: Layout, blocks: &[NonNull<u8>]) {
        /// Blocks that go back at once.
        const MANY: usize = 32;
        let Ok(place) = Self::place(layout) else {
            for &block in blocks {
                // SAFETY: the caller's promise is the same. It is no block's layout: that is noted.
                let _ = unsafe { self.place_of(block, layout) };
            }
            return;
        };
        for blocks in blocks.chunks(MANY) {
            let mut open = [NonNull::dangling(); MANY];
            let mut count = 0;
            let wholes = blocks.iter().filter_map(|&block| {
                // SAFETY: the caller's promise is the same.
                let place = unsafe { self.place_of(block, layout) }?;
                // SAFETY: as above.
                unsafe { self.open(block, layout, place) }
            });
            for (next, whole) in open.iter_mut().zip(wholes) {
                *next = whole;
                count += 1;
            }
            // SAFETY: the blocks within are live, all different, and were asked for by this layout.
            unsafe { self.heap.dealloc_batch(place.whole, open.get(..count).unwrap_or_default()) };
        }
    }

    fn release_unused(&mut self) -> usize {
        self.heap.release_unused()
    }

    const CHECKS: bool = P::CHECKS || R::LATER;

    #[inline]
    fn looks_at(layout: Layout) -> bool {
        P::looks_at(Self::place(layout).map_or(layout, |place| place.whole))
    }

    unsafe fn judge(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise is the same.
        let Some(place) = (unsafe { self.place_of(ptr, layout) }) else { return false };
        // SAFETY: as above.
        unsafe { self.check(ptr, layout, place) }
    }

    #[inline(always)]
    fn take_finding(&mut self) -> Option<Finding> {
        self.handler.take_finding().or_else(|| self.heap.take_finding())
    }
}

impl<const PRE: usize, const POST: usize, P: Heap, R: OnMisuse> Within for RedZones<PRE, POST, P, R> {
    type Heap = P;

    fn heap(&self) -> &P {
        &self.heap
    }

    fn heap_mut(&mut self) -> &mut P {
        &mut self.heap
    }

    fn misuses(&self) -> usize {
        self.handler.misuses()
    }
}

reset_and_inspect!([const PRE: usize, const POST: usize, P: Heap, R: OnMisuse] RedZones<PRE, POST, P, R>, P);

impl<const PRE: usize, const POST: usize, P, R> fmt::Debug for RedZones<PRE, POST, P, R>
where
    P: Heap + fmt::Debug,
    R: OnMisuse + fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedZones").field("heap", &self.heap).field("handler", &self.handler).finish()
    }
}

impl<const PRE: usize, const POST: usize, P, R> Describe for RedZones<PRE, POST, P, R>
where
    P: Heap + Describe,
    R: OnMisuse,
{
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let cost = Cost::state_of::<R>().and_per_block(PRE + POST);
        tree.part(
            format_args!("RedZones, {PRE} bytes before and {POST} behind"),
            cost,
            &[("heap", P::describe)],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::NoHeap;

    static_assertions::assert_impl_all!(RedZones<16, 8, NoHeap>: Send, Sync);
    static_assertions::const_assert_eq!(size_of::<RedZones<16, 8, NoHeap>>(), 0);
}
