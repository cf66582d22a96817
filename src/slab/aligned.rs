//! Slabs aligned to their own size: the slab of an object is found by masking its address.

use core::fmt;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use super::color::{ByStride, Coloring, describe_coloring};
use super::header::{Header, REGION_LEN};
use super::objects::{Bitmap, FreeObjects, describe_bookkeeping};
use super::shape::{Rules, Shape, SlabLength};
use super::shelves::{Ground, Place, Shelves};
use super::{Lookup, impl_slab_system};
use crate::AllocError;
use crate::describe::{Child, Cost, Describe, Tree};
use crate::source::BackingSource;

/// Slabs of `SLAB_SIZE` bytes, a power of two, aligned to it: the slab of an object is one AND away.
///
/// The first choice wherever the source `B` aligns. A `SLAB_SIZE` of 0, the default, is chosen by the objects' layout: at least 64 KiB over
/// OS pages, 1 KiB elsewhere, and no more than 1/8 of it wasted (for objects of a few bytes not counting the tables, which may
/// be more than that by themselves). How large a block the source can give is not known then: over a small arena, name the size. `K` is
/// the bookkeeping, `C` the coloring.
///
/// ```text
///  over OS pages: regions of up to 2 MiB                          over other sources: each slab a block
///  ┌────────┬────────┬───┬─────────┬─────────────┬───             ┌────────┬─────────┬─────────┬───
///  │ region │header 0│ … │header 31│ slab 0 …    │ slab 1         │ header │ object  │ object  │
///  └────────┴────────┴───┴─────────┴─────────────┴───             └────────┴─────────┴─────────┴───
///    header = region + 64 + slab number × header length            header = object AND NOT (SLAB_SIZE - 1)
/// ```
/// Where memory that nobody touches costs nothing ([`BackingSource::LAZY`]), many slabs form a region with all headers at its front: side by
/// side they take few cache sets and few TLB entries. With a header in front of every slab they would all share the same few sets, and
/// each would take a TLB entry.
///
/// A slab that is released inside a region has its pages purged; a region of which all slabs are released goes back to the source.
/// Cost: take and put are O(1), bookkeeping apart, and but for a take when the source has no more: it goes through the slabs asleep. 13 words (104 bytes) per system, and the source.
///
/// ```
/// use heapwright::cache::SlabCache;
/// use heapwright::heap::SharedHeap;
/// use heapwright::slab::AlignedSlabs;
/// use heapwright::source::StaticBuffer;
/// use std::alloc::Layout;
///
/// static RAM: StaticBuffer<8192> = StaticBuffer::new();
/// let cache = SlabCache::<AlignedSlabs<_, 1024>>::with_layout(&RAM, Layout::new::<[u64; 4]>())?;
/// let block = cache.try_alloc(Layout::new::<[u64; 4]>())?;
/// assert_eq!(cache.stats().slabs, 1);
/// # // SAFETY: the block is live, and its layout this one.
/// # unsafe { cache.free(block.cast(), Layout::new::<[u64; 4]>()) };
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A source that can't align is a compile error where the layout is known at compile time, and an error of `with_layout` else:
/// ```compile_fail,E0080
/// use heapwright::cache::{For, SlabCache};
/// use heapwright::lock::NoLock;
/// use heapwright::slab::AlignedSlabs;
/// use heapwright::source::BackingSource;
/// # struct Unaligned;
/// # unsafe impl BackingSource for Unaligned {
/// #     const GRANULE: usize = 1;
/// #     const ALIGN_MAX: usize = 16;
/// #     fn acquire(&mut self, _: std::alloc::Layout) -> Result<std::ptr::NonNull<[u8]>, heapwright::AllocError> { Err(heapwright::AllocError) }
/// #     unsafe fn release(&mut self, _: std::ptr::NonNull<u8>, _: std::alloc::Layout) {}
/// # }
/// // `Unaligned` gives blocks that are aligned to 16 bytes: "the source can't align a block to the slab's size ..: use `LargeSlabs<B>` .."
/// let cache: SlabCache<AlignedSlabs<Unaligned, 4096>, NoLock, For<u64>> = SlabCache::over(Unaligned);
/// let object = heapwright::heap::SharedHeap::try_alloc(&cache, std::alloc::Layout::new::<u64>());
/// ```
#[derive(Debug)]
pub struct AlignedSlabs<B, const SLAB_SIZE: usize = 0, K = Bitmap, C = ByStride> {
    shelves: Shelves,
    ground: AlignedGround<B>,
    kinds: PhantomData<fn() -> (K, C)>,
}

// SAFETY: the slabs that the pointers lead to are the system's alone, and no thread's in particular.
unsafe impl<B, const SLAB_SIZE: usize, K, C> Send for AlignedSlabs<B, SLAB_SIZE, K, C> {}

impl_slab_system!(
    [B: BackingSource, const SLAB_SIZE: usize, K: FreeObjects, C: Coloring] AlignedSlabs<B, SLAB_SIZE, K, C>,
    B,
    Lookup::Walk,
    Rules::of::<B, K, C>(SLAB_SIZE, true),
    AlignedSlabs { shelves: Shelves::NEW, ground: AlignedGround::NEW, kinds: PhantomData }
);

/// What a region of slabs knows about itself; at its front.
#[derive(Debug)]
#[repr(C)]
struct Region {
    /// The next region with a slab that is not in use, or null.
    next: *mut Region,
    /// The one before, or null.
    prev: *mut Region,
    /// One bit for each slab that is not in use.
    unused: u64,
}

/// Blocks of the source, each a slab or a region of slabs.
///
/// Invariant: `open` and those that follow it are the regions with a slab that is not in use.
#[derive(Debug)]
struct AlignedGround<B> {
    open: *mut Region,
    source: PhantomData<fn(B)>,
}

impl<B> AlignedGround<B> {
    const NEW: Self = AlignedGround { open: ptr::null_mut(), source: PhantomData };

    /// Takes a region out of the list of open ones.
    ///
    /// # Safety
    /// The region is in that list.
    unsafe fn unlink(&mut self, region: NonNull<Region>) {
        // SAFETY: the caller's promise.
        let Region { next, prev, .. } = *unsafe { region.as_ref() };
        match NonNull::new(prev) {
            // SAFETY: the list's invariant: a region in use.
            Some(prev) => unsafe { (*prev.as_ptr()).next = next },
            None => self.open = next,
        }
        if let Some(next) = NonNull::new(next) {
            // SAFETY: the list's invariant: a region in use.
            unsafe { (*next.as_ptr()).prev = prev };
        }
    }

    /// Puts a region in front of the list of open ones.
    ///
    /// # Safety
    /// The region is in use, and not in that list.
    unsafe fn push(&mut self, mut region: NonNull<Region>) {
        if let Some(first) = NonNull::new(self.open) {
            // SAFETY: the list's invariant: a region in use.
            unsafe { (*first.as_ptr()).prev = region.as_ptr() };
        }
        // SAFETY: the caller's promise.
        let links = unsafe { region.as_mut() };
        links.next = self.open;
        links.prev = ptr::null_mut();
        self.open = region.as_ptr();
    }
}

/// One bit for each of so many slabs.
const fn all_slabs(shape: &Shape) -> u64 {
    u64::MAX >> (64 - shape.region_slabs)
}

impl<B: BackingSource> AlignedGround<B> {
    /// A block of the source, exposed.
    fn block(source: &mut B, shape: &Shape) -> Result<NonNull<u8>, AllocError> {
        let block = source.acquire(shape.block_layout(true))?.cast::<u8>();
        block.as_ptr().expose_provenance();
        Ok(block)
    }

    /// A region with a slab that is not in use.
    fn open_region(&mut self, source: &mut B, shape: &Shape) -> Result<NonNull<Region>, AllocError> {
        if let Some(region) = NonNull::new(self.open) {
            return Ok(region);
        }
        let region = Self::block(source, shape)?.cast::<Region>();
        let record = Region { next: ptr::null_mut(), prev: ptr::null_mut(), unused: all_slabs(shape) };
        // SAFETY: the block is ours, and a region's front is room for its record.
        unsafe { region.write(record) };
        // SAFETY: a region in use, in no list yet.
        unsafe { self.push(region) };
        Ok(region)
    }
}

// SAFETY: G1: a slab is a block of its own, or the part of a region's block that its number says; the header lies at its front, or has
// its place among the region's. Blocks are exposed. G2: blocks are aligned to their own length. G3: B3, B4.
unsafe impl<B: BackingSource> Ground for AlignedGround<B> {
    type Source = B;

    unsafe fn acquire(&mut self, source: &mut B, shape: &Shape) -> Result<Place, AllocError> {
        if shape.region_slabs == 1 {
            let base = Self::block(source, shape)?;
            return Ok(Place { header: base.cast(), base, reserved: 0 });
        }
        let mut region = self.open_region(source, shape)?;
        // SAFETY: an open region is in use, and ours.
        let record = unsafe { region.as_mut() };
        let number = record.unused.trailing_zeros() as usize;
        record.unused &= record.unused - 1;
        if record.unused == 0 {
            // SAFETY: it was in the list, having had an unused slab.
            unsafe { self.unlink(region) };
        }
        let offset = REGION_LEN + number * shape.header_len as usize;
        let region = region.cast::<u8>();
        Ok(Place {
            // SAFETY: the region's front has room for the headers of all its slabs.
            header: unsafe { region.add(offset) }.cast(),
            // SAFETY: the slab lies in the region.
            base: unsafe { region.add(number * shape.slab_size) },
            reserved: if number == 0 { shape.reserved } else { 0 },
        })
    }

    unsafe fn release(&mut self, source: &mut B, shape: &Shape, header: NonNull<Header>, base: NonNull<u8>) {
        let layout = shape.block_layout(true);
        if shape.region_slabs == 1 {
            // SAFETY: the caller's promise: the slab is a block of this source with this layout, and nobody needs it.
            return unsafe { source.release(base, layout) };
        }
        let mask = layout.size() - 1;
        // The header's pointer is good for the whole region.
        let mut region = header.cast::<Region>().map_addr(|address| clear(address, mask));
        let number = (base.addr().get() & mask) / shape.slab_size;
        // SAFETY: the region of a slab in use is in use, and ours.
        let record = unsafe { region.as_mut() };
        let was_full = record.unused == 0;
        record.unused |= 1 << number;
        if record.unused == all_slabs(shape) {
            // SAFETY: it is in the list: of its slabs, two at least, another was unused before.
            unsafe { self.unlink(region) };
            // SAFETY: the region is a block of this source with this layout, and no slab of it is in use.
            return unsafe { source.release(region.cast(), layout) };
        }
        if was_full {
            // SAFETY: a region in use, which was in no list.
            unsafe { self.push(region) };
        }
        let headers = if number == 0 {
            REGION_LEN + shape.region_slabs as usize * shape.header_len as usize
        } else {
            0
        };
        let from = headers.next_multiple_of(B::GRANULE).min(shape.slab_size);
        // SAFETY: `from` is within the slab.
        let rest = unsafe { base.add(from) };
        // SAFETY: behind the headers the slab lies in a live block, and nobody needs what it holds.
        unsafe { source.purge(rest, shape.slab_size - from) };
    }

    #[inline(always)]
    unsafe fn find(&self, shape: &Shape, object: usize) -> NonNull<Header> {
        let address = if shape.region_slabs == 1 {
            object & !(shape.slab_size - 1)
        } else {
            let mask = shape.slab_size * shape.region_slabs as usize - 1;
            let number = (object & mask) >> shape.slab_size.trailing_zeros();
            (object & !mask) + REGION_LEN + number * shape.header_len as usize
        };
        // SAFETY: the block was exposed, and no block lies at address zero.
        unsafe { NonNull::new_unchecked(ptr::with_exposed_provenance_mut(address)) }
    }

    unsafe fn close(&mut self, _: &mut B) {}
}

/// Clears the bits of `mask` in the address of something within a block that does not start at zero.
fn clear(address: core::num::NonZeroUsize, mask: usize) -> core::num::NonZeroUsize {
    core::num::NonZeroUsize::new(address.get() & !mask).unwrap_or(address)
}

const _: () = assert!(size_of::<Region>() <= REGION_LEN && align_of::<Region>() <= REGION_LEN);

impl<B: Describe, const SLAB_SIZE: usize, K: FreeObjects, C: Coloring> Describe
    for AlignedSlabs<B, SLAB_SIZE, K, C>
{
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let parts: [Child<'_>; 3] = [
            ("free objects", describe_bookkeeping::<K>),
            ("colors", describe_coloring::<C>),
            ("source", B::describe),
        ];
        tree.part(format_args!("AlignedSlabs {}", SlabLength(SLAB_SIZE)), Cost::state_of::<Self>(), &parts)
    }
}
