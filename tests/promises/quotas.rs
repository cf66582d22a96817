//! Quotas, at their ends and between: never exceeded, and nothing is refused that there is room for.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::rc::Rc;

use heapwright::AllocError;
use heapwright::combine::Quota;
use heapwright::heap::Heap;
use heapwright::source::{BackingSource, Limited, SourceHeap};

use crate::books::{Books, Random, Via};
use crate::scale;
use crate::scenario::layout;

/// Operations of the model, over all limits.
const OPERATIONS: usize = 200_000;

/// What has a quota.
trait Bounded {
    fn limit_used_left(&self) -> [usize; 3];
    fn cost(&self, layout: Layout) -> usize;
    fn take(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError>;
    /// Whether a resize may be refused though there is room for it.
    fn may_refuse(old: Layout, new: Layout) -> bool;
    /// # Safety
    /// As `Heap::resize`.
    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError>;
    /// # Safety
    /// As `Heap::dealloc`.
    unsafe fn give(&mut self, ptr: NonNull<u8>, layout: Layout);
}

impl<H: Heap> Bounded for Quota<H> {
    fn limit_used_left(&self) -> [usize; 3] {
        [self.limit(), self.used(), self.left()]
    }

    fn cost(&self, layout: Layout) -> usize {
        self.good_size(layout)
    }

    fn take(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.alloc(layout)
    }

    /// The heap below can move whatever it can't resize in place.
    fn may_refuse(_: Layout, _: Layout) -> bool {
        false
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { Heap::resize(self, ptr, old, new) }
    }

    unsafe fn give(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.dealloc(ptr, layout) }
    }
}

impl<B: BackingSource> Bounded for Limited<B> {
    fn limit_used_left(&self) -> [usize; 3] {
        [self.limit(), self.used(), self.left()]
    }

    fn cost(&self, layout: Layout) -> usize {
        self.good_size(layout)
    }

    fn take(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.acquire(layout)
    }

    /// Sources know no other alignment, and no smaller size; this one refuses every third size.
    fn may_refuse(old: Layout, new: Layout) -> bool {
        old.align() != new.align() || new.size() < old.size() || !Via::remaps_to(new.size())
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if old.align() != new.align() || new.size() < old.size() {
            return Err(AllocError);
        }
        // SAFETY: the caller's promise, and the size is no less.
        unsafe { self.remap(ptr, old, new.size()) }
    }

    unsafe fn give(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.release(ptr, layout) }
    }
}

/// Random requests against a quota of `limit` bytes.
fn model<Q: Bounded>(bounded: &mut Q, limit: usize, count: usize) {
    let mut random = Random(limit as u64);
    let mut live: Vec<(NonNull<u8>, Layout)> = Vec::new();
    let mut used = 0;
    let sizes = (usize::BITS - limit.leading_zeros()).clamp(3, 13) as usize;
    for _ in 0..count {
        let new = layout(random.size(sizes), 1 << random.below(4));
        let left = limit - used;
        match random.below(5) {
            0 | 1 if live.len() < 64 => {
                let cost = bounded.cost(new);
                match bounded.take(new) {
                    Ok(made) => {
                        assert!(cost <= left && made.len() <= cost, "{new:?} of {left} bytes left");
                        live.push((made.cast(), new));
                        used += cost;
                    }
                    Err(AllocError) => assert!(cost > left, "{new:?} is refused, {left} bytes left"),
                }
            }
            2 | 3 if !live.is_empty() => {
                let at = random.below(live.len());
                let (ptr, old) = live[at];
                let (before, after) = (bounded.cost(old), bounded.cost(new));
                // SAFETY: the block is live, of this layout.
                match unsafe { bounded.resize(ptr, old, new) } {
                    Ok(made) => {
                        assert!(after <= left + before, "{old:?} to {new:?}, {left} bytes left");
                        live[at] = (made.cast(), new);
                        used = used - before + after;
                    }
                    Err(AllocError) => assert!(
                        after > left + before || Q::may_refuse(old, new),
                        "{old:?} to {new:?} is refused, {left} bytes left"
                    ),
                }
            }
            _ if !live.is_empty() => {
                let (ptr, old) = live.swap_remove(random.below(live.len()));
                used -= bounded.cost(old);
                // SAFETY: the block is live, of this layout.
                unsafe { bounded.give(ptr, old) };
            }
            _ => {}
        }
        assert!(used <= limit);
        assert_eq!(bounded.limit_used_left(), [limit, used, limit - used]);
    }
    for (ptr, layout) in live {
        // SAFETY: the block is live, of this layout.
        unsafe { bounded.give(ptr, layout) };
    }
    assert_eq!(bounded.limit_used_left(), [limit, 0, limit]);
}

/// A block of exactly the limit can be had, one of a byte more can't, and none beside it.
fn exact(bounded: &mut impl Bounded, limit: usize) {
    assert!(bounded.take(layout(limit + 1, 1)).is_err());
    let whole = layout(limit, 1);
    let Ok(made) = bounded.take(whole) else { panic!("{limit} bytes of as many are refused") };
    assert_eq!((made.len(), bounded.limit_used_left()), (limit, [limit, limit, 0]));
    assert!(bounded.take(layout(1, 1)).is_err());
    // SAFETY: the block is live, of this layout; a failed resize changes nothing.
    unsafe {
        assert!(bounded.resize(made.cast(), whole, layout(limit + 1, 1)).is_err());
        bounded.give(made.cast(), whole);
    }
    assert_eq!(bounded.limit_used_left(), [limit, 0, limit]);
}

#[test]
fn a_quota_is_never_exceeded() {
    let books = Rc::new(Books::default());
    let limits = [0, 1, 2, 7, 8, 100, 1000, 4096, 100_000, usize::MAX];
    for limit in limits {
        let count = scale(OPERATIONS / limits.len() / 2);
        let mut heap = Quota::new(SourceHeap::new(books.source()), limit);
        model(&mut heap, limit, count);
        let mut source = Limited::new(books.source(), limit);
        model(&mut source, limit, count);
        if limit > 0 && limit < usize::MAX {
            exact(&mut heap, limit);
            exact(&mut source, limit);
        }
        assert_eq!(books.blocks(), 0);
    }
}

/// The largest limit is no limit, and requests of all sizes are answered.
#[test]
fn the_largest_quota_does_not_overflow() {
    let books = Rc::new(Books::default());
    let mut heap = Quota::new(SourceHeap::new(books.source()), usize::MAX);
    let small = layout(100, 8);
    let block = heap.alloc(small).unwrap();
    for size in [isize::MAX as usize, isize::MAX as usize - 100, isize::MAX as usize / 8 * 7] {
        assert!(heap.alloc(layout(size, 1)).is_err());
        // SAFETY: the block is live, of this layout.
        assert!(unsafe { Heap::resize(&mut heap, block.cast(), small, layout(size & !7, 8)) }.is_err());
    }
    assert_eq!(heap.used(), 100);
    // SAFETY: as above.
    unsafe { heap.dealloc(block.cast(), small) };
    assert_eq!((heap.used(), books.blocks()), (0, 0));
}

/// A quota that is lowered below what is used: nothing more, until enough has come back.
#[test]
fn a_quota_may_be_lowered() {
    let books = Rc::new(Books::default());
    let mut heap = Quota::new(SourceHeap::new(books.source()), 1000);
    let one = layout(100, 8);
    let blocks: Vec<_> = (0..10).map(|_| heap.alloc(one).unwrap()).collect();
    heap.set_limit(250);
    for (gone, block) in blocks.into_iter().enumerate() {
        let used = (10 - gone) * 100;
        assert_eq!((heap.used(), heap.left()), (used, 250_usize.saturating_sub(used)));
        assert_eq!(heap.alloc(layout(51, 1)).is_err(), used >= 200, "{used} bytes are used");
        if used < 200 {
            return;
        }
        // SAFETY: the block is live, of this layout.
        unsafe { heap.dealloc(block.cast(), one) };
    }
}
