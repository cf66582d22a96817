//! Sources one by one.

use std::alloc::Layout;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::cache::{ChunkHeap, Chunks, KeepAll, ReleaseAtOnce, Retention};
use heapwright::conformance::{Source, source, source_over};
use heapwright::heap::Locked;
use heapwright::lock::{NoLock, SpinLock};
use heapwright::sizing::Sizing16MiB;
use heapwright::source::{
    BackingSource, Buffer, Counted, Failing, FromGlobalAlloc, GlobalHeap, Limited, SourceHeap,
};

use crate::based::Based;
use crate::cores::Pages;
use crate::rows;

type Stock<B, R> = ChunkHeap<B, SpinLock, R, 8192>;

/// A stock of chunks that gives all back in the end. (Most are `static`s, which have no end.)
#[derive(Debug)]
struct Released<B: BackingSource + Clone, R: Retention>(Stock<B, R>);

impl<B: BackingSource + Clone, R: Retention> Drop for Released<B, R> {
    fn drop(&mut self) {
        self.0.release();
    }
}

fn stock<R: Retention + 'static>(
    source: Pages,
) -> Based<Chunks<'static, Stock<Pages, R>>, Released<Pages, R>> {
    Based::new(Released(Stock::new(source)), |stock| Chunks(&stock.0))
}

rows! {
    source_of_the_kit: source_over(|source: Source| source).describes();
    source_of_pages_of_the_kit: source_over(|source: Pages| source).describes();
    global_heap: source(|| GlobalHeap);
    system: source(|| FromGlobalAlloc::new(&std::alloc::System));
    limited: source_over(|source: Source| Limited::new(source, 9000));
    limited_pages: source_over(|source: Pages| Limited::new(source, 50_000));
    counted: source_over(|source: Source| Counted::new(source));
    counted_pages: source_over(|source: Pages| Counted::new(source));
    failing: source_over(|source: Pages| Failing::nth(source, 3));
    failing_after: source_over(|source: Source| Failing::after(source, 20));
    buffer: source_over(|source: Source| {
        // SAFETY: the source uses it, and nobody else does.
        Buffer::from_slice(unsafe { source.lend(20_000, 1) })
    });
    buffer_counted: source_over(|source: Source| {
        // SAFETY: the source uses it, and nobody else does.
        Limited::new(Counted::new(Buffer::from_slice(unsafe { source.lend(20_000, 4) })), 10_000)
    });
    shared_heap: source_over(|source: Source| {
        Based::new(Locked::<_, NoLock>::new(SourceHeap::new(source)), |heap| heap)
    });
    shared_arena: source_over(|source: Source| {
        // SAFETY: the arena uses it, and nobody else does.
        let memory = unsafe { source.lend(30_000, 8) };
        Based::new(heapwright::arena::Teaspoon::<'static, Sizing16MiB, NoLock>::from_slice(memory), |heap| heap)
    });
    chunks: source_over(stock::<KeepAll>).sizes_to(30_000);
    chunks_at_once: source_over(stock::<ReleaseAtOnce>).sizes_to(30_000);
}

#[cfg(all(feature = "os", not(miri)))]
rows! {
    pages: source(|| heapwright::source::Pages).sizes_to(100_000);
    pages_limited: source(|| Limited::new(Counted::new(heapwright::source::Pages), 1 << 20)).sizes_to(100_000);
}

#[cfg(feature = "allocator-api2-02")]
rows! {
    from_allocator_02: source(|| heapwright::source::FromAllocator02::new(allocator_api2_02::alloc::Global));
}

#[cfg(feature = "allocator-api2-03")]
rows! {
    from_allocator_03: source(|| heapwright::source::FromAllocator03::new(allocator_api2_03::alloc::Global));
}

#[cfg(feature = "allocator-api2-04")]
rows! {
    from_allocator_04: source(|| heapwright::source::FromAllocator04::new(allocator_api2_04::alloc::Global));
}

/// Memory in huge pages, which nobody has ever seen; what can't be protected says so.
#[derive(Clone, Debug)]
struct Huge;

// SAFETY: B1 to B6: those of the global heap.
unsafe impl BackingSource for Huge {
    const GRANULE: usize = GlobalHeap::GRANULE;
    const ALIGN_MAX: usize = GlobalHeap::ALIGN_MAX;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        GlobalHeap.acquire(layout)
    }

    unsafe fn release(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { GlobalHeap.release(ptr, layout) };
    }

    fn huge_page_size(&self) -> Option<usize> {
        Some(1 << 21)
    }
}

#[test]
fn huge_pages_are_those_of_the_source_within() {
    assert_eq!(Limited::new(Huge, 1).huge_page_size(), Some(1 << 21));
    assert_eq!(Counted::new(Huge).huge_page_size(), Some(1 << 21));
    assert_eq!(Failing::never(Huge).huge_page_size(), Some(1 << 21));
    assert_eq!(<&mut Huge as BackingSource>::huge_page_size(&&mut Huge), Some(1 << 21));
    assert_eq!(GlobalHeap.huge_page_size(), None);
}

#[test]
fn what_can_not_be_protected_says_so() {
    let layout = Layout::new::<[u64; 512]>();
    let block = Huge.acquire(layout).unwrap().cast();
    // SAFETY: the whole of a live block, which nobody touches meanwhile.
    assert!(unsafe { Huge.protect(block, layout.size()) }.is_err());
    // SAFETY: the whole of a live block, for which that was refused.
    assert!(unsafe { Huge.unprotect(block, layout.size()) }.is_err());
    // SAFETY: the block can be touched, and comes back once.
    unsafe { block.write_bytes(7, layout.size()) };
    // SAFETY: as above.
    unsafe { Huge.release(block, layout) };
}
