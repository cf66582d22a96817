//! Heaps of many settings under random operations.

use std::thread;

use heapwright::cache::malloc::MallocInstance;
use heapwright::cache::{
    ChunkHeap, Classes, KeepAll, KeepSlabs, Malloc, MallocSettings, ReleaseAtOnce, StdClock, WorkingSet,
};
use heapwright::heap::UsableSize;
use heapwright::lock::{SpinLock, YieldLock};
use std::alloc::{GlobalAlloc, Layout};
use std::ptr::NonNull;

use crate::shadow::{Random, Shadow, churn};
use crate::source::{Ledger, Watched, ledger};

heapwright::size_classes! { struct Small = 8..=1024, 4 per doubling; }

/// Declares settings, their ledger and their heap.
macro_rules! heap {
    ($heap:ident as $malloc:ident, $settings:ident, $ledger:ident: $classes:ty, $lock:ty, $retention:ty, $chunk:literal, $huge:expr; $($number:ident = $value:expr),*) => {
        ledger!($ledger);
        struct $settings;
        impl MallocSettings for $settings {
            type Classes = $classes;
            type Chunks = ChunkHeap<Watched<$ledger>, $lock, $retention, $chunk, { $huge }>;
            type Lock = $lock;
            $(const $number: usize = $value;)*
        }
        heapwright::malloc! { static $heap as $malloc: $settings = ChunkHeap::new(Watched::new()); }
    };
}

heap!(PLAIN as PlainMalloc, Plain, PlainLedger: Classes, YieldLock, KeepAll, 65536, usize::MAX;);
heap!(TINY as TinyMalloc, Tiny, TinyLedger: Small, SpinLock, ReleaseAtOnce, 8192, usize::MAX; FRONT_SLOTS = 1, DEPOT_SLOTS = 0, SHARDS = 1);
heap!(WIDE as WideMalloc, Wide, WideLedger: Classes, YieldLock, WorkingSet<StdClock, 1>, 32768, 0; FRONT_SLOTS = 200, FRONT_BYTES = 1 << 20, DEPOT_BYTES = 1 << 20, SHARDS = 8);
heap!(BROAD as BroadMalloc, Broad, BroadLedger: Classes, YieldLock, KeepSlabs<3>, 1048576, 1; FRONT_SLOTS = 3, SHARDS = 2);

/// Random operations on several threads, one after the other and at once; all comes back.
fn all_comes_back<I: MallocInstance, W: Ledger>(malloc: Malloc<I>) {
    for seed in 0..3 {
        let (mut random, mut shadow) = (Random::new(seed), Shadow::default());
        churn(&malloc, &mut random, &mut shadow, 20_000, 600);
        sizes_are_known(malloc, &shadow);
        let stats = malloc.stats();
        assert!(stats.bytes_live >= shadow.bytes(), "{} live bytes are too few\n{stats}", shadow.bytes());
        // Frees on a thread that has allocated nothing.
        thread::spawn(move || shadow.clear(&malloc)).join().unwrap();
    }
    let threads: Vec<_> = (10..14)
        .map(|seed| {
            thread::spawn(move || {
                let (mut random, mut shadow) = (Random::new(seed), Shadow::default());
                churn(&malloc, &mut random, &mut shadow, 15_000, 300);
                shadow
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap().clear(&malloc));
    malloc.release();
    let stats = malloc.stats();
    assert_eq!(
        (stats.bytes_live, stats.bytes_at_hand, stats.bytes_in_depots, stats.bytes_in_slabs),
        (0, 0, 0, 0)
    );
    assert_eq!((stats.chunks.large_blocks, stats.chunks.bytes_kept, stats.threads), (0, 0, 1));
    let account = W::account().lock().unwrap();
    let mapped: usize = account.out.iter().map(|(_, layout)| layout.size()).sum();
    assert_eq!(mapped, stats.chunks.bytes_mapped);
    // What is left are the regions in which threads have their stacks.
    let blocks = stats.chunks.chunks_used;
    assert!(
        blocks <= 40 && account.out.len() <= 6,
        "{blocks} chunks in {} regions are left",
        account.out.len()
    );
}

/// The size of each block can be had from its pointer, and all of it used.
fn sizes_are_known<I: MallocInstance>(malloc: Malloc<I>, shadow: &Shadow) {
    shadow.each(|block, layout| {
        // SAFETY: the block is live.
        let size = unsafe { malloc.usable_size(NonNull::new(block).unwrap()) };
        assert!(size >= layout.size(), "{layout:?} has {size} bytes");
        assert!(size <= 4 * layout.size().max(layout.align()).max(1 << 20), "{layout:?} has {size} bytes");
    });
}

#[test]
fn with_the_defaults() {
    all_comes_back::<_, PlainLedger>(PlainMalloc);
}

#[test]
fn with_next_to_nothing_at_hand() {
    all_comes_back::<_, TinyLedger>(TinyMalloc);
}

#[test]
fn with_much_at_hand() {
    all_comes_back::<_, WideLedger>(WideMalloc);
}

#[test]
fn with_large_slabs() {
    all_comes_back::<_, BroadLedger>(BroadMalloc);
}

#[test]
fn a_block_may_be_freed_by_its_pointer_alone() {
    let malloc = heapwright::preset::CompactMalloc;
    let mut random = Random::new(5);
    let blocks: Vec<(NonNull<u8>, usize)> = (0..3000)
        .map(|_| {
            let layout = crate::shadow::any_layout(&mut random);
            // SAFETY: no size here is zero.
            let block = NonNull::new(unsafe { malloc.alloc(layout) }).unwrap();
            // SAFETY: the block is live.
            let size = unsafe { malloc.usable_size(block) };
            // SAFETY: it is so long.
            unsafe { block.write_bytes(0xa5, size) };
            (block, size)
        })
        .collect();
    for (block, size) in blocks {
        // SAFETY: the block is that long.
        let last = unsafe { block.add(size - 1).read() };
        assert_eq!(last, 0xa5);
        // SAFETY: the block is live.
        unsafe { malloc.free_unsized(block) };
    }
}

#[test]
fn sizes_of_zero_and_of_all_there_is() {
    let malloc = PlainMalloc;
    for align in [1, 8, 4096, 1 << 20] {
        let nothing = Layout::from_size_align(0, align).unwrap();
        // SAFETY: the layouts are those of the blocks. (A size of zero is no layout for `GlobalAlloc`; here it is defined.)
        unsafe {
            let block = malloc.alloc(nothing);
            assert_eq!(block.addr(), align);
            let grown = malloc.realloc(block, nothing, 100);
            grown.write_bytes(1, 100);
            malloc.dealloc(grown, Layout::from_size_align(100, align).unwrap());
            malloc.dealloc(block, nothing);
        }
    }
    let most = Layout::from_size_align(isize::MAX as usize - 4096, 8).unwrap();
    // SAFETY: the block, if there is one, is not used.
    assert!(unsafe { malloc.alloc(most) }.is_null());
    // SAFETY: as above.
    assert!(unsafe { malloc.alloc_zeroed(most) }.is_null());
}
