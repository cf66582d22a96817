//! The other crates' heaps, each without a lock.

use std::alloc::Layout;
use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use rlsf::int::BinInteger;
use stalloc::{Align, Alignment};
use talc::base::binning::DefaultBinning;
use talc::source::Manual;

use crate::peers::{Heap, Peer};

fn or_null(block: Option<NonNull<u8>>) -> *mut u8 {
    block.map_or(ptr::null_mut(), NonNull::as_ptr)
}

/// talc's core.
pub(crate) struct Talc;

/// A talc that borrows its region.
pub(crate) struct TalcHeap<'a> {
    talc: talc::base::Talc<Manual, DefaultBinning>,
    region: PhantomData<&'a mut [MaybeUninit<u8>]>,
}

impl Peer for Talc {
    const NAME: &'static str = "talc";
    type Heap<'a> = TalcHeap<'a>;

    fn make(region: &mut [MaybeUninit<u8>]) -> Self::Heap<'_> {
        let mut talc = talc::base::Talc::new(Manual);
        // SAFETY: the region is borrowed for as long as the heap lives. If it is too small, talc stays empty.
        let _ = unsafe { talc.claim(region.as_mut_ptr().cast(), region.len()) };
        TalcHeap { talc, region: PhantomData }
    }
}

impl Heap for TalcHeap<'_> {
    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> *mut u8 {
        // SAFETY: no workload asks for zero bytes.
        or_null(unsafe { self.talc.allocate(layout) })
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.talc.deallocate(ptr, layout) }
    }
}

/// rlsf's TLSF with lists for the region.
pub(crate) struct Rlsf<F, S, const FIRST: usize, const SECOND: usize>(PhantomData<(F, S)>);

impl<F, S, const FIRST: usize, const SECOND: usize> Peer for Rlsf<F, S, FIRST, SECOND>
where
    F: BinInteger + 'static,
    S: BinInteger + 'static,
{
    const NAME: &'static str = "rlsf";
    type Heap<'a> = rlsf::Tlsf<'a, F, S, FIRST, SECOND>;

    fn make(region: &mut [MaybeUninit<u8>]) -> Self::Heap<'_> {
        let mut tlsf = rlsf::Tlsf::new();
        tlsf.insert_free_block(region);
        tlsf
    }
}

impl<F: BinInteger, S: BinInteger, const FIRST: usize, const SECOND: usize> Heap
    for rlsf::Tlsf<'_, F, S, FIRST, SECOND>
{
    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> *mut u8 {
        or_null(self.allocate(layout))
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8, layout: Layout) {
        let Some(ptr) = NonNull::new(ptr) else { return };
        // SAFETY: the caller's promise is the same.
        unsafe { self.deallocate(ptr, layout.align()) }
    }
}

/// linked_list_allocator's core.
pub(crate) struct LinkedList;

/// A hole list that borrows its region.
pub(crate) struct LinkedListHeap<'a> {
    heap: linked_list_allocator::Heap,
    region: PhantomData<&'a mut [MaybeUninit<u8>]>,
}

impl Peer for LinkedList {
    const NAME: &'static str = "linked_list_allocator";
    const SLOW: bool = true;
    type Heap<'a> = LinkedListHeap<'a>;

    fn make(region: &mut [MaybeUninit<u8>]) -> Self::Heap<'_> {
        // SAFETY: the region is borrowed for as long as the heap lives, which never leaves its shell here.
        let heap = unsafe { linked_list_allocator::Heap::new(region.as_mut_ptr().cast(), region.len()) };
        LinkedListHeap { heap, region: PhantomData }
    }
}

impl Heap for LinkedListHeap<'_> {
    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> *mut u8 {
        or_null(self.heap.allocate_first_fit(layout).ok())
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8, layout: Layout) {
        let Some(ptr) = NonNull::new(ptr) else { return };
        // SAFETY: the caller's promise is the same.
        unsafe { self.heap.deallocate(ptr, layout) }
    }
}

/// stalloc, which contains its `BLOCKS` blocks of `BYTES`: laid over the region.
pub(crate) struct Stalloc<const BLOCKS: usize, const BYTES: usize>;

/// A stalloc at the start of a region.
pub(crate) struct StallocHeap<'a, const BLOCKS: usize, const BYTES: usize>
where
    Align<BYTES>: Alignment,
{
    stalloc: &'a mut stalloc::Stalloc<BLOCKS, BYTES>,
}

impl<const BLOCKS: usize, const BYTES: usize> Peer for Stalloc<BLOCKS, BYTES>
where
    Align<BYTES>: Alignment,
{
    const NAME: &'static str = "stalloc";
    const SLOW: bool = true;
    type Heap<'a> = StallocHeap<'a, BLOCKS, BYTES>;

    fn make(region: &mut [MaybeUninit<u8>]) -> Self::Heap<'_> {
        assert!(
            size_of::<stalloc::Stalloc<BLOCKS, BYTES>>() <= region.len(),
            "the stalloc is larger than its region"
        );
        let start = region.as_mut_ptr().cast::<stalloc::Stalloc<BLOCKS, BYTES>>();
        // SAFETY: the region is page-aligned, large enough (asserted) and borrowed exclusively; a stalloc is made of bytes that
        // may be anything and of integers, which lie in no block: they hold what the memory was filled with, or a stalloc.
        let stalloc = unsafe { &mut *start };
        // SAFETY: nothing has been allocated.
        unsafe { stalloc.clear() };
        StallocHeap { stalloc }
    }
}

impl<const BLOCKS: usize, const BYTES: usize> Heap for StallocHeap<'_, BLOCKS, BYTES>
where
    Align<BYTES>: Alignment,
{
    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> *mut u8 {
        let (blocks, align) = (layout.size().div_ceil(BYTES), layout.align().div_ceil(BYTES));
        // SAFETY: no workload asks for zero bytes, and alignments are powers of two of at most a page.
        or_null(unsafe { self.stalloc.allocate_blocks(blocks, align) }.ok())
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8, layout: Layout) {
        let Some(ptr) = NonNull::new(ptr) else { return };
        // SAFETY: the caller's promise is the same.
        unsafe { self.stalloc.deallocate_blocks(ptr, layout.size().div_ceil(BYTES)) }
    }
}

/// dlmalloc with the region as its only page.
pub(crate) struct Dlmalloc;

/// Gives the region once.
pub(crate) struct OnePage<'a> {
    start: Cell<*mut u8>,
    len: usize,
    region: PhantomData<&'a mut [MaybeUninit<u8>]>,
}

// SAFETY: the region is borrowed exclusively, and nothing else is behind the pointer.
unsafe impl Send for OnePage<'_> {}

// SAFETY: one block, given once, never taken back: dlmalloc is told that it can't be.
unsafe impl dlmalloc::Allocator for OnePage<'_> {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        if size > self.len {
            return (ptr::null_mut(), 0, 0);
        }
        (self.start.replace(ptr::null_mut()), self.len, 0)
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        ptr::null_mut()
    }

    fn free_part(&self, _: *mut u8, _: usize, _: usize) -> bool {
        false
    }

    fn free(&self, _: *mut u8, _: usize) -> bool {
        false
    }

    fn can_release_part(&self, _: u32) -> bool {
        false
    }

    fn allocates_zeros(&self) -> bool {
        false
    }

    fn page_size(&self) -> usize {
        64
    }
}

impl Peer for Dlmalloc {
    const NAME: &'static str = "dlmalloc";
    type Heap<'a> = dlmalloc::Dlmalloc<OnePage<'a>>;

    fn make(region: &mut [MaybeUninit<u8>]) -> Self::Heap<'_> {
        let page =
            OnePage { start: Cell::new(region.as_mut_ptr().cast()), len: region.len(), region: PhantomData };
        let mut heap = dlmalloc::Dlmalloc::new_with_allocator(page);
        assert!(heap.set_granularity(64), "64 bytes is a granularity that dlmalloc takes");
        heap
    }
}

impl Heap for dlmalloc::Dlmalloc<OnePage<'_>> {
    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> *mut u8 {
        // SAFETY: any size and any power of two will do.
        unsafe { self.malloc(layout.size(), layout.align()) }
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { dlmalloc::Dlmalloc::free(self, ptr, layout.size(), layout.align()) }
    }
}

/// buddy_system_allocator's core.
pub(crate) struct Buddy;

/// A buddy heap that borrows its region.
pub(crate) struct BuddyHeap<'a> {
    heap: buddy_system_allocator::Heap<32>,
    region: PhantomData<&'a mut [MaybeUninit<u8>]>,
}

impl Peer for Buddy {
    const NAME: &'static str = "buddy_system_allocator";
    type Heap<'a> = BuddyHeap<'a>;

    fn make(region: &mut [MaybeUninit<u8>]) -> Self::Heap<'_> {
        let mut heap = buddy_system_allocator::Heap::new();
        // SAFETY: the region is borrowed for as long as the heap lives.
        unsafe { heap.init(region.as_mut_ptr().expose_provenance(), region.len()) };
        BuddyHeap { heap, region: PhantomData }
    }
}

impl Heap for BuddyHeap<'_> {
    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> *mut u8 {
        or_null(self.heap.alloc(layout).ok())
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8, layout: Layout) {
        let Some(ptr) = NonNull::new(ptr) else { return };
        // SAFETY: the caller's promise is the same.
        unsafe { self.heap.dealloc(ptr, layout) }
    }
}
