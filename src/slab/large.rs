//! Slabs of any length, anywhere: the slab of an object is found in a pointer map.

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use super::color::{ByStride, Coloring, describe_coloring};
use super::header::Header;
use super::map::SlabMap;
use super::objects::{Bitmap, FreeObjects, describe_bookkeeping};
use super::shape::{Rules, Shape, SlabLength};
use super::shelves::{Ground, Place, Shelves};
use super::{Lookup, impl_slab_system};
use crate::AllocError;
use crate::describe::{Child, Cost, Describe, Tree};
use crate::source::BackingSource;

/// Slabs of `SLAB_SIZE` bytes, any number, wherever the source puts them: the slab of an object is found in a pointer map.
///
/// Choose it where [`AlignedSlabs`](super::AlignedSlabs) can't be had: sources that do not align, or where aligning would waste memory (a
/// nearly full arena); or for large objects, whose slabs then need not be a power of two long. A `SLAB_SIZE` of 0, the default, is
/// chosen by the objects' layout: at least 64 KiB over OS pages, 1 KiB elsewhere, and no more than 1/8 of it wasted (for objects of
/// a few bytes not counting the tables). How large a block the source can give is not known then: over a small arena, name the size. `K`
/// is the bookkeeping, `C` the coloring.
///
/// ```text
///  ┌────────┬───────┬─────────┬─────────┬───        map: base of each slab, hashed by the
///  │ header │ table │ object  │ object  │ …              address's high bits; 8 bytes per slab
///  └────────┴───────┴─────────┴─────────┴───             and place, from the same source
/// ```
/// Cost: a take is O(1), unless the source has no more: then it goes through the slabs asleep. A put looks into the map, O(1) on average (the guide's chapter [`performance`](crate::guide::performance) has figures). The map takes no memory for the first few slabs, then
/// 11 to 64 bytes per slab, from the same source, and shrinks again.
///
/// ```
/// use heapwright::cache::SlabCache;
/// use heapwright::heap::SharedHeap;
/// use heapwright::slab::LargeSlabs;
/// use heapwright::source::Buffer;
/// use std::alloc::Layout;
/// use std::mem::MaybeUninit;
///
/// let mut memory = [MaybeUninit::uninit(); 5000];
/// let cache = SlabCache::<LargeSlabs<_, 1200>>::with_layout(Buffer::from_slice(&mut memory), Layout::new::<[u64; 4]>())?;
/// let block = cache.try_alloc(Layout::new::<[u64; 4]>())?;
/// assert_eq!((cache.stats().slabs, cache.stats().capacity), (1, 35));
/// # // SAFETY: the block is live, and its layout this one.
/// # unsafe { cache.free(block.cast(), Layout::new::<[u64; 4]>()) };
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LargeSlabs<B, const SLAB_SIZE: usize = 0, K = Bitmap, C = ByStride> {
    shelves: Shelves,
    ground: LargeGround<B>,
    kinds: PhantomData<fn() -> (K, C)>,
}

// SAFETY: the slabs and the map that the pointers lead to are the system's alone, and no thread's in particular.
unsafe impl<B, const SLAB_SIZE: usize, K, C> Send for LargeSlabs<B, SLAB_SIZE, K, C> {}

impl_slab_system!(
    [B: BackingSource, const SLAB_SIZE: usize, K: FreeObjects, C: Coloring] LargeSlabs<B, SLAB_SIZE, K, C>,
    B,
    Lookup::Map,
    Rules::of::<B, K, C>(SLAB_SIZE, false),
    LargeSlabs { shelves: Shelves::NEW, ground: LargeGround { map: SlabMap::EMPTY, source: PhantomData }, kinds: PhantomData }
);

/// Blocks of the source, each a slab, with its header at its front.
///
/// Invariant: the map holds the base of every slab that was acquired and not released, and its table is a block of the source.
#[derive(Debug)]
struct LargeGround<B> {
    map: SlabMap,
    source: PhantomData<fn(B)>,
}

// SAFETY: G1: a slab is a block of its own, with its header at its front, exposed. G2: the map holds the slab's base, good for all of it.
// G3: B3, B4; the map neither unwinds nor changes what it holds when it can't grow.
unsafe impl<B: BackingSource> Ground for LargeGround<B> {
    type Source = B;
    const SEEKS: bool = true;

    unsafe fn acquire(&mut self, source: &mut B, shape: &Shape) -> Result<Place, AllocError> {
        // SAFETY: the map has seen this source and this length only.
        unsafe { self.map.reserve(source, shape.slab_size) }?;
        let base = source.acquire(shape.block_layout(false))?.cast::<u8>();
        base.as_ptr().expose_provenance();
        // SAFETY: there is room for one more, and the slab is new, and overlaps none.
        unsafe { self.map.insert(base, shape.slab_size) };
        Ok(Place { header: base.cast(), base, reserved: 0 })
    }

    unsafe fn release(&mut self, source: &mut B, shape: &Shape, _: NonNull<Header>, base: NonNull<u8>) {
        // SAFETY: the caller's promise: the slab is in the map, with this length.
        unsafe { self.map.remove(source, base, shape.slab_size) };
        // SAFETY: the caller's promise: the slab is a block of this source with this layout, and nobody needs it.
        unsafe { source.release(base, shape.block_layout(false)) };
    }

    #[inline(always)]
    unsafe fn find(&self, shape: &Shape, object: usize) -> NonNull<Header> {
        let slab = self.map.find(object, shape.slab_size);
        debug_assert!(slab.is_some(), "what was freed lies in no slab");
        // SAFETY: the caller's promise: the object's slab is in the map.
        unsafe { slab.unwrap_unchecked() }.cast()
    }

    fn seek(&self, shape: &Shape, address: usize) -> Option<NonNull<Header>> {
        self.map.find(address, shape.slab_size).map(NonNull::cast)
    }

    unsafe fn close(&mut self, source: &mut B) {
        // SAFETY: the map has seen this source only, and is not used again.
        unsafe { self.map.release(source) };
    }
}

impl<B: Describe, const SLAB_SIZE: usize, K: FreeObjects, C: Coloring> Describe
    for LargeSlabs<B, SLAB_SIZE, K, C>
{
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let parts: [Child<'_>; 3] = [
            ("free objects", describe_bookkeeping::<K>),
            ("colors", describe_coloring::<C>),
            ("source", B::describe),
        ];
        tree.part(
            format_args!("LargeSlabs {}, found in a map", SlabLength(SLAB_SIZE)),
            Cost::state_of::<Self>(),
            &parts,
        )
    }
}
