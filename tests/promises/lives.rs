//! Lives of heaps, from their making to their end: what they had from a source is there again, and nothing of it before its time.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::rc::Rc;

use heapwright::arena::SourceArena;
use heapwright::cache::{
    Classes, DefaultInit, Exactly, KeepAll, KeepSlabs, ObjectCache, ReleaseAtOnce, SlabCore, SlabHeap,
};
use heapwright::combine::{Arenas, AtMost, Chain, FixedChunks, FreeLists, Growing, Region, Ring, Shared};
use heapwright::heap::{Heap, Locked, SharedHeap};
use heapwright::lock::{NoLock, SpinLock};
use heapwright::sizing::{Checked, Sizing4KiB, Sizing16MiB};
use heapwright::slab::{AlignedSlabs, IntrusiveList, LargeSlabs};
use heapwright::source::{Counted, Limited, SourceHeap};

use crate::books::{Books, Random};
use crate::scale;

heapwright::size_classes! { struct Small = 8..=512, 2 per doubling; }

/// Lives in all, over the heaps below.
const LIVES: usize = 100_000;
/// How many tests share them.
const KINDS: usize = 14;

/// A few random requests; each block holds what was written until it goes.
fn live(random: &mut Random, heap: &mut impl Heap, layout: Option<Layout>) {
    let mut blocks: Vec<(NonNull<u8>, Layout)> = Vec::new();
    let check = |(ptr, layout): (NonNull<u8>, Layout)| {
        for at in [0, layout.size() - 1] {
            // SAFETY: a byte of a live block, which was written.
            let found = unsafe { ptr.add(at).read() };
            assert_eq!(found, ptr.addr().get() as u8 ^ 0x77, "byte {at} of {layout:?}");
        }
    };
    for _ in 0..random.below(16) {
        match random.below(4) {
            0 if !blocks.is_empty() => {
                let block = blocks.swap_remove(random.below(blocks.len()));
                check(block);
                // SAFETY: the block is live, of this layout.
                unsafe { heap.dealloc(block.0, block.1) };
            }
            1 => {
                heap.release_unused();
            }
            _ => {
                let drawn = Layout::from_size_align(random.size(10), 1 << random.below(5)).unwrap();
                let layout = layout.unwrap_or(drawn);
                let Ok(made) = heap.alloc(layout) else { continue };
                let ptr = made.cast::<u8>();
                // SAFETY: the block is live and so long.
                unsafe { ptr.write_bytes(ptr.addr().get() as u8 ^ 0x77, layout.size()) };
                blocks.push((ptr, layout));
            }
        }
    }
    for block in blocks {
        check(block);
        // SAFETY: the block is live, of this layout.
        unsafe { heap.dealloc(block.0, block.1) };
    }
}

/// Many lives, one after the other; the source counts.
fn lives<H>(make: impl Fn(&Rc<Books>) -> H, mut live: impl FnMut(&mut Random, &mut H)) {
    let books = Rc::new(Books::default());
    let mut random = Random(10);
    for number in 0..scale(LIVES.div_ceil(KINDS)) {
        let mut heap = make(&books);
        live(&mut random, &mut heap);
        drop(heap);
        assert_eq!(books.blocks(), 0, "after life {number}");
    }
    assert!(books.turns.count() > 0);
}

/// Writes a test for each row: `name: a heap; its only layout, if it has one`.
macro_rules! rows {
    ($($name:ident: |$books:ident| $heap:expr, $layout:expr;)*) => {$(
        #[test]
        fn $name() {
            lives(|$books| $heap, |random, heap| live(random, heap, $layout));
        }
    )*};
}

const FORTY: Option<Layout> = Some(Layout::new::<[u64; 5]>());

rows! {
    source_heap: |books| SourceHeap::new(Limited::new(Counted::new(books.source()), 5000)), None;
    arena_4kib: |books| SourceArena::<_, Sizing4KiB>::with_size(books.source(), 4096).unwrap(), None;
    arena_checked: |books| SourceArena::<_, Checked<Sizing16MiB>>::with_size(books.source(), 9000).unwrap(), None;
    slab_core: |books| SlabCore::<AlignedSlabs<_, 512>, Exactly<40, 8>, KeepAll, 4>::new(books.source()), FORTY;
    slab_core_lists: |books| SlabCore::<LargeSlabs<_, 400, IntrusiveList>, Exactly<40, 8>, ReleaseAtOnce, 0>::new(books.source()), FORTY;
    slab_heap: |books| SlabHeap::<Small, AlignedSlabs<_, 2048>, _, KeepSlabs<1>, 3>::new(books.source(), SourceHeap::new(books.source())), None;
    slab_heap_classes: |books| SlabHeap::<Classes, LargeSlabs<_>, _, KeepAll, 8>::new(books.source(), SourceHeap::new(books.source())), None;
    region: |books| Region::<_, Growing<512, 8192>>::new(books.source()), None;
    chain: |books| Chain::<_, _>::new(Arenas::<Sizing4KiB, FixedChunks<4096>>::new(), books.source()), None;
    ring: |books| Ring::new([(); 2].map(|()| Region::<_, FixedChunks<2048>>::new(books.source()))), None;
    free_lists: |books| FreeLists::<Small, _, AtMost<3>>::new(SourceHeap::new(books.source())), None;
}

/// A shell gives back what its core had, as the core does.
#[test]
fn shells() {
    let shell = |books: &Rc<Books>| {
        Locked::<_, SpinLock>::new(SourceArena::<_, Sizing16MiB>::with_size(books.source(), 9000).unwrap())
    };
    lives(shell, |random, heap| {
        // SAFETY: the core stays in its place, and the work uses no other way to the heap.
        unsafe { heap.enter(|core| live(random, core, None)) }.unwrap();
    });
}

/// A heap that many own goes with the last of them.
#[test]
fn shared() {
    let shared = |books: &Rc<Books>| Shared::<_, NoLock>::new(SourceHeap::new(books.source())).unwrap();
    lives(shared, |random, heap| {
        let other = heap.clone();
        // SAFETY: the core stays in its place, and the work uses no other way to the heap.
        unsafe { other.enter(|core| live(random, core, None)) }.unwrap();
    });
}

/// Caches whose objects have all come back.
#[test]
fn object_caches() {
    let cache = |books: &Rc<Books>| {
        ObjectCache::<[u64; 9], DefaultInit, AlignedSlabs<_, 1024>, NoLock, KeepAll, 3>::over(books.source())
    };
    lives(cache, |random, cache| {
        let mut objects = Vec::new();
        for _ in 0..random.below(16) {
            objects.push(cache.alloc().unwrap());
            if random.below(3) == 0 {
                objects.swap_remove(random.below(objects.len()));
            }
        }
    });
}
