//! Slabs from a source that keeps their headers apart.

use core::fmt;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use super::color::{ByStride, Coloring, describe_coloring};
use super::header::Header;
use super::objects::{Bitmap, FreeObjects, describe_bookkeeping};
use super::shape::{Rules, Shape};
use super::shelves::{Ground, Place, Shelves};
use super::{Lookup, impl_slab_system};
use crate::AllocError;
use crate::describe::{Bytes, Child, Cost, Describe, Tree};
use crate::source::SideHeaders;

/// Slabs of a source that has room for their headers elsewhere ([`SideHeaders`]): objects of many layouts share one stock of slabs, all of one
/// size, and any slab without live objects may serve another layout next.
///
/// Choose it for heaps of many size classes, such as global allocators, over a [`ChunkHeap`](crate::cache::ChunkHeap). The slab of an object is
/// found by arithmetic on its address; nothing but objects lies in a slab. `K` is the bookkeeping, `C` the coloring.
///
/// ```
/// # #[cfg(feature = "os")] {
/// use heapwright::cache::{ChunkHeap, Chunks, SlabCache};
/// use heapwright::heap::SharedHeap;
/// use heapwright::{lock::SpinLock, slab::SideSlabs, source::Pages};
/// use std::alloc::Layout;
///
/// type Stock = ChunkHeap<Pages, SpinLock>;
/// static STOCK: Stock = ChunkHeap::new(Pages);
/// type Cache = SlabCache<SideSlabs<Chunks<'static, Stock>>>;
/// let small = Cache::with_layout(Chunks(&STOCK), Layout::new::<[u64; 2]>()).unwrap();
/// let large = Cache::with_layout(Chunks(&STOCK), Layout::new::<[u64; 500]>()).unwrap();
/// let block = small.try_alloc(Layout::new::<[u64; 2]>()).unwrap();
/// let other = large.try_alloc(Layout::new::<[u64; 500]>()).unwrap();
/// assert_eq!(STOCK.stats().chunks_used, 2);
/// # // SAFETY: the blocks are live, and their layouts these.
/// # unsafe { small.free(block.cast(), Layout::new::<[u64; 2]>()); large.free(other.cast(), Layout::new::<[u64; 500]>()) };
/// # }
/// ```
#[derive(Debug)]
pub struct SideSlabs<B, K = Bitmap, C = ByStride> {
    shelves: Shelves,
    ground: SideGround<B>,
    kinds: PhantomData<fn() -> (K, C)>,
}

// SAFETY: the slabs that the pointers lead to are the system's alone, and no thread's in particular.
unsafe impl<B, K, C> Send for SideSlabs<B, K, C> {}

impl_slab_system!(
    [B: SideHeaders, K: FreeObjects, C: Coloring] SideSlabs<B, K, C>,
    B,
    Lookup::Walk,
    Rules::beside::<B, K, C>(B::SLAB_SIZE, B::HEADER_ROOM),
    SideSlabs { shelves: Shelves::NEW, ground: SideGround { source: PhantomData }, kinds: PhantomData }
);

/// Slabs of the source.
#[derive(Debug)]
struct SideGround<B> {
    source: PhantomData<fn(B)>,
}

/// The header of the slab in which `address` lies.
#[inline(always)]
fn header<B: SideHeaders>(address: usize) -> NonNull<Header> {
    // SAFETY: D2: a header lies at that address, which is not zero; D1: its provenance is exposed.
    unsafe { NonNull::new_unchecked(ptr::with_exposed_provenance_mut(B::header_address(address))) }
}

// SAFETY: G1: D1, D2, and the shape has seen that header and tables fit their room. G2: D2. G3: B3, B4.
unsafe impl<B: SideHeaders> Ground for SideGround<B> {
    type Source = B;

    unsafe fn acquire(&mut self, source: &mut B, shape: &Shape) -> Result<Place, AllocError> {
        let base = source.acquire_slab(shape.stride())?;
        Ok(Place { header: header::<B>(base.addr().get()), base, reserved: 0 })
    }

    unsafe fn release(&mut self, source: &mut B, _: &Shape, _: NonNull<Header>, base: NonNull<u8>) {
        // SAFETY: the caller's promise: the slab was acquired here, and nobody needs it.
        unsafe { source.release_slab(base) };
    }

    #[inline(always)]
    unsafe fn find(&self, _: &Shape, object: usize) -> NonNull<Header> {
        header::<B>(object)
    }

    unsafe fn close(&mut self, _: &mut B) {}
}

impl<B: SideHeaders + Describe, K: FreeObjects, C: Coloring> Describe for SideSlabs<B, K, C> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let (slab, header) = (Bytes(B::SLAB_SIZE), Bytes(B::HEADER_ROOM));
        let parts: [Child<'_>; 3] = [
            ("free objects", describe_bookkeeping::<K>),
            ("colors", describe_coloring::<C>),
            ("source", B::describe),
        ];
        tree.part(
            format_args!("SideSlabs of {slab}, with {header} elsewhere for the header of each"),
            Cost::state_of::<Self>(),
            &parts,
        )
    }
}
