//! Calls that a heap within finds wrong do nothing to what is around it either: no block is wiped, moved, counted or forgotten.

use std::alloc::Layout;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::arena::SourceArena;
use heapwright::cache::{Classes, KeepAll, SlabHeap};
use heapwright::check::{self, Checks, Finding, Hardened, Ignore, Later, Wrong};
use heapwright::combine::{
    Affix, AlignUp, Arenas, Chain, Counted, FailNth, Fallback, FixedChunks, FreeLists, Multiples, OnFree,
    PerClass, Quantize, Quarantine, Quota, RedZones, Ring, Scoped, Segregate, StackFirst, Totals, Zeroing,
};
use heapwright::heap::{Heap, Inspect, Locked, Owns, SharedHeap};
use heapwright::lock::NoLock;
use heapwright::sizing::{Checked, Sizing16MiB};
use heapwright::slab::AlignedSlabs;
use heapwright::source::GlobalHeap;

use super::{layout, resize};

type Looking<C> = SourceArena<GlobalHeap, Checked<Sizing16MiB, C>>;

heapwright::size_classes! { struct Few = 16..=1024, 1 per doubling; }

/// Bytes of an arena.
const ROOM: usize = 1 << 14;

/// What was found since it was last asked, all of it.
fn found(heap: &mut impl Heap) -> Vec<Wrong> {
    std::iter::from_fn(|| heap.take_finding()).map(|finding| finding.misuse().wrong).collect()
}

fn take(heap: &mut impl Heap, layout: Layout, fill: u8) -> NonNull<u8> {
    let block = heap.alloc(layout).expect("room").cast::<u8>();
    // SAFETY: the block is so long.
    unsafe { block.write_bytes(fill, layout.size()) };
    block
}

/// What a heap finds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Finds {
    All,
    /// Second frees it does not.
    Once,
    /// What is not its own goes elsewhere.
    Own,
}
use Finds::{All, Once, Own};

/// All that may be wrong with a call, in every call, on a heap of which a number tells what it believes.
fn does_nothing<H: Heap>(mut heap: H, finds: Finds, believes: impl Fn(&H) -> u64) {
    let twice = finds != Once;
    let this = layout(64, 8);
    let [gone, block, last] = [1, 2, 3].map(|fill| take(&mut heap, this, fill));
    if twice {
        // SAFETY: the block is live, and its layout this one.
        unsafe { heap.dealloc(gone, this) };
    }
    let mut elsewhere = [0u64; 64];
    let elsewhere = NonNull::from(&mut elsewhere[16]).cast::<u8>();
    // SAFETY: the block is longer.
    let interior = unsafe { block.add(16) };
    let wrong = [
        (gone, this, Wrong::DoubleFree),
        (gone, layout(300, 8), Wrong::DoubleFree),
        (interior, this, Wrong::Interior),
        (block, layout(300, 8), Wrong::WrongLayout),
        (block, layout(8, 8), Wrong::WrongLayout),
        (elsewhere, this, Wrong::Foreign),
        // Too low, and too much, for what stands before a block and behind it.
        (NonNull::<u64>::dangling().cast(), this, Wrong::Foreign),
        (NonNull::<u64>::dangling().cast(), layout(64, 64), Wrong::Foreign),
        (block, layout(isize::MAX as usize - 63, 64), Wrong::WrongLayout),
        (block, layout(64, 1 << (usize::BITS - 2)), Wrong::WrongLayout),
    ];
    let wrong = wrong.into_iter().filter(|&(.., kind)| twice || kind != Wrong::DoubleFree);
    let wrong = wrong.filter(|&(.., kind)| finds != Own || kind != Wrong::Foreign);
    assert_eq!(found(&mut heap), []);
    let believed = believes(&heap);
    for (ptr, of_this, kind) in wrong {
        let is_as_it_was = |heap: &mut H, call: &str| {
            // Once, or for each block of a batch; of what kind it is, a heap that is known by its size can't always tell.
            let times = found(heap).len();
            let most = 1 + usize::from(call == "dealloc_batch");
            assert!((1..=most).contains(&times), "{times} times: {call}, {kind:?}, {of_this:?}");
            assert_eq!(believes(heap), believed, "{call}, {kind:?}, {of_this:?}");
            for (block, fill) in [(block, 2), (last, 3)] {
                // SAFETY: a live block of so many bytes, which were written.
                let bytes = unsafe { block.cast::<[u8; 64]>().read() };
                assert_eq!(bytes, [fill; 64], "{call}, {kind:?}, {of_this:?}");
            }
        };
        // SAFETY: none, here and below: that it is refused is what is tested.
        assert!(!unsafe { heap.judge(ptr, of_this) });
        is_as_it_was(&mut heap, "judge");
        for to in [
            layout(4, 8),
            layout(60, 8),
            layout(700, 8),
            layout(64, 64),
            layout(2000, 8),
            layout(isize::MAX as usize - 63, 64),
            layout(isize::MAX as usize - 7, 8),
        ] {
            for in_place in [true, false] {
                // SAFETY: as above.
                let done = unsafe { resize(&mut heap, in_place, ptr, of_this, to) };
                assert!(done.is_err(), "{kind:?}, {of_this:?} to {to:?}");
                is_as_it_was(&mut heap, if in_place { "resize_in_place" } else { "resize" });
            }
        }
        // SAFETY: as above.
        unsafe { heap.dealloc(ptr, of_this) };
        is_as_it_was(&mut heap, "dealloc");
        // SAFETY: as above.
        unsafe { heap.dealloc_batch(of_this, &[ptr, ptr]) };
        is_as_it_was(&mut heap, "dealloc_batch");
        // SAFETY: as above.
        if unsafe { heap.dealloc_at_hand(ptr, of_this) } {
            is_as_it_was(&mut heap, "dealloc_at_hand");
        }
    }
    // Twice in one batch: taken once.
    // SAFETY: the block is live; the second time it is not, which is refused.
    unsafe { heap.dealloc_batch(this, &[block, block][..1 + usize::from(twice)]) };
    assert_eq!(found(&mut heap), if twice { vec![Wrong::DoubleFree] } else { vec![] });
    // SAFETY: the block is live, and its layout this one.
    let moved = unsafe { heap.resize(last, this, layout(700, 8)) }.expect("room").cast::<u8>();
    // SAFETY: a live block of more bytes, of which so many were written.
    assert_eq!(unsafe { moved.cast::<[u8; 64]>().read() }, [3; 64]);
    // SAFETY: the block is live, and its layout this one.
    unsafe { heap.dealloc(moved, layout(700, 8)) };
    assert_eq!(found(&mut heap), []);
}

/// What gives no block, and gets none.
struct Never;

// SAFETY: H1, H2, H4 to H7: no block is ever handed out. H3: it unwinds for a fault only.
unsafe impl Heap for Never {
    fn alloc(&mut self, _: Layout) -> Result<NonNull<[u8]>, AllocError> {
        Err(AllocError)
    }

    unsafe fn dealloc(&mut self, _: NonNull<u8>, layout: Layout) {
        panic!("a block of {layout:?} that is not its own");
    }

    unsafe fn resize_in_place(
        &mut self,
        _: NonNull<u8>,
        old: Layout,
        _: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        panic!("a block of {old:?} that is not its own");
    }
}

/// A heap that does no more than it has to, and has its own look at what is wrong.
struct Bare<C: Checks>(Looking<C>);

// SAFETY: all is the arena's, or the default.
unsafe impl<C: Checks> Heap for Bare<C> {
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.0.alloc(layout)
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.dealloc(ptr, layout) }
    }

    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.resize_in_place(ptr, old, new) }
    }

    const CHECKS: bool = true;

    unsafe fn judge(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.judge(ptr, layout) }
    }

    fn take_finding(&mut self) -> Option<Finding> {
        self.0.take_finding()
    }
}

fn arena<C: Checks>() -> Looking<C> {
    SourceArena::with_size(GlobalHeap, ROOM).expect("memory")
}

fn each<C: Checks>() {
    {
        let arena = arena::<C>;
        does_nothing(arena(), All, |arena| arena.usage().objects as u64);
        does_nothing(Bare::<C>(arena()), All, |heap| heap.0.usage().objects as u64);
        does_nothing(Zeroing::<OnFree, _>::new(arena()), All, |heap| heap.usage().objects as u64);
        does_nothing(Quota::new(arena(), 10_000), All, |heap| heap.used() as u64);
        does_nothing(Counted::new(Totals::new(), arena()), All, |heap| {
            (heap.counters().blocks * 100_000 + heap.counters().bytes) as u64
        });
        does_nothing(FailNth::never(arena()), All, |heap| heap.usage().objects as u64);
        does_nothing(Scoped::new(arena()), All, |heap| heap.live() as u64);
        does_nothing(Affix::<u32, _, u64>::new(arena()), All, |heap| heap.heap().usage().objects as u64);
        does_nothing(AlignUp::<64, _>::new(arena()), All, |heap| heap.heap().usage().objects as u64);
        does_nothing(Quantize::<Multiples<16>, _>::new(arena()), All, |heap| {
            heap.heap().usage().objects as u64
        });
        does_nothing(RedZones::<16, 8, _, Later<Ignore>>::new(arena(), Later::new()), All, |heap| {
            heap.usage().objects as u64
        });
        does_nothing(Quarantine::<2, _, Later<Ignore>>::new(arena(), Later::new()), All, |heap| {
            heap.held() as u64
        });
        // A list does not know which blocks are in it.
        does_nothing(FreeLists::<Classes, _>::new(arena()), Once, |_| 0);
    }
    let objects =
        |one: &Looking<C>, other: &Looking<C>| (one.usage().objects * 100 + other.usage().objects) as u64;
    does_nothing(Fallback::new(arena::<C>(), arena::<C>()), All, |heap| objects(heap.first(), heap.second()));
    // What is not the first's is for the second, which looks at nothing: only what is the first's can be tried.
    does_nothing(
        Fallback::new(Segregate::<128, _, _>::new(arena::<C>(), arena::<C>()), Never),
        Own,
        |heap| objects(heap.first().first(), heap.first().second()),
    );
    does_nothing(Fallback::new(PerClass::<Few, _>::from_fn(|_| arena::<C>()), Never), Own, |heap| {
        heap.first().heaps().iter().map(|heap| heap.usage().objects as u64).sum()
    });
    does_nothing(Fallback::new(Counted::new(Totals::new(), arena::<C>()), Never), Own, |heap| {
        let counters = heap.first().counters();
        (counters.blocks * 100_000 + counters.bytes) as u64
    });
    does_nothing(Fallback::new(Quota::new(arena::<C>(), 10_000), Never), Own, |heap| {
        heap.first().used() as u64
    });
    does_nothing(Fallback::new(Quantize::<Multiples<16>, _>::new(arena::<C>()), Never), Own, |heap| {
        heap.first().heap().usage().objects as u64
    });
    does_nothing(Fallback::new(AlignUp::<64, _>::new(arena::<C>()), Never), Own, |heap| {
        heap.first().heap().usage().objects as u64
    });
    does_nothing(Fallback::new(Affix::<(), _, u64>::new(arena::<C>()), Never), Own, |heap| {
        heap.first().heap().usage().objects as u64
    });
    does_nothing(Segregate::<128, _, _>::new(arena::<C>(), arena::<C>()), All, |heap| {
        objects(heap.first(), heap.second())
    });
    does_nothing(Ring::new([(); 2].map(|()| arena::<C>())), All, |heap| {
        objects(&heap.frames()[0], &heap.frames()[1])
    });
    let per_class = PerClass::<Few, _>::from_fn(|_| arena::<C>());
    does_nothing(per_class, All, |heap| heap.heaps().iter().map(|heap| heap.usage().objects as u64).sum());
    let slabs: SlabHeap<Few, AlignedSlabs<GlobalHeap, 4096>, _, KeepAll, 4, C> =
        SlabHeap::new(GlobalHeap, arena::<C>());
    does_nothing(slabs, All, |heap| heap.usage().objects as u64);
    let chain: Chain<Arenas<Checked<Sizing16MiB, C>, FixedChunks<{ 1 << 14 }>>, _> =
        Chain::new(Arenas::new(), GlobalHeap);
    does_nothing(chain, All, |heap| (heap.heaps() * 100 + heap.idle()) as u64);
}

#[test]
fn what_is_wrong_does_nothing() {
    each::<check::Checked<Ignore>>();
    each::<Hardened<Ignore>>();
}

/// A ring's block of an earlier turn, which would move.
#[test]
fn what_is_wrong_does_not_move_to_the_next_frame() {
    let (mut ring, this) = (Ring::new([(); 2].map(|()| arena::<check::Checked<Ignore>>())), layout(64, 8));
    let [gone, last, _behind] = [1, 2, 3].map(|fill| take(&mut ring, this, fill));
    // SAFETY: the block is live, and its layout this one.
    unsafe { ring.dealloc(gone, this) };
    // SAFETY: what the frame has handed out lately is none of the other's.
    unsafe { ring.advance() };
    // SAFETY: none: that it is refused is what is tested.
    assert!(unsafe { ring.resize(gone, this, layout(700, 8)) }.is_err());
    assert_eq!((found(&mut ring), ring.current().usage().objects), (vec![Wrong::DoubleFree], 0));
    // SAFETY: the block is live, and its layout this one.
    assert!(unsafe { ring.resize(last, this, layout(700, 8)) }.is_ok());
    assert_eq!((found(&mut ring), ring.current().usage().objects), (vec![], 1));
}

/// A heap behind a buffer tells for itself.
#[test]
fn what_is_wrong_does_not_move_to_a_buffer() {
    let behind = Locked::<_, NoLock>::new(arena::<check::Checked<Ignore>>());
    let heap = StackFirst::<256, _>::new(&behind);
    let this = layout(1000, 8);
    let block = heap.try_alloc(this).expect("room").cast::<u8>();
    // SAFETY: the block is live, and its layout this one.
    unsafe { heap.free(block, this) };
    // SAFETY: none: that it is refused is what is tested.
    assert!(unsafe { heap.try_resize(block, this, layout(10, 8)) }.is_err());
    assert_eq!((behind.misuses(), behind.usage().objects), (1, 0));
}

/// A heap of several is offered a block: it takes what is its own, and finds wrong what is its own with a layout that it can't have; all else it leaves.
#[test]
fn what_is_offered_is_taken_if_it_is_owned() {
    fn offered<H: Owns>(mut heap: H) {
        let this = layout(64, 8);
        let block = take(&mut heap, this, 1);
        let mut other = [0u64; 64];
        let other = NonNull::from(&mut other[16]).cast::<u8>();
        // SAFETY: it is somebody else's.
        assert!(!unsafe { heap.try_dealloc(other, this) });
        if H::CHECKS {
            for wrong in [layout(isize::MAX as usize - 63, 64), layout(300, 8)] {
                // SAFETY: none: that it is refused is what is tested.
                assert!(unsafe { heap.try_dealloc(block, wrong) }, "{wrong:?}");
                assert_eq!(found(&mut heap).len(), 1, "{wrong:?}");
            }
        }
        // SAFETY: the block is live, and its layout this one.
        assert!(unsafe { heap.resize_in_place(block, this, layout(60, 8)) }.is_ok());
        // SAFETY: as above; the size is one that it may have.
        assert!(unsafe { heap.try_dealloc(block, layout(60, 8)) });
        assert_eq!(found(&mut heap), []);
    }
    fn each<C: Checks>() {
        offered(Segregate::<128, _, _>::new(arena::<C>(), arena::<C>()));
        offered(PerClass::<Few, _>::from_fn(|_| arena::<C>()));
        offered(Quantize::<Multiples<16>, _>::new(arena::<C>()));
        offered(AlignUp::<64, _>::new(arena::<C>()));
        offered(Affix::<(), _, u64>::new(arena::<C>()));
        offered(Quota::new(arena::<C>(), 10_000));
    }
    each::<check::Checked<Ignore>>();
    each::<check::Unchecked>();
}

/// Blocks of one size: what has another is nobody's.
struct Exact(Looking<check::Checked<Ignore>>, usize);

// SAFETY: all is the arena's, but that other sizes are refused; H1: blocks are said to be no longer than that.
unsafe impl Heap for Exact {
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let block = if layout.size() == self.1 { self.0.alloc(layout)? } else { return Err(AllocError) };
        Ok(NonNull::slice_from_raw_parts(block.cast(), self.1))
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.dealloc(ptr, layout) }
    }

    const CHECKS: bool = true;

    unsafe fn judge(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.judge(ptr, layout) }
    }

    fn take_finding(&mut self) -> Option<Finding> {
        self.0.take_finding()
    }
}

// SAFETY: O1, O2: the arena's blocks, with the layout that they have.
unsafe impl Owns for Exact {
    fn owns(&self, ptr: NonNull<u8>, layout: Layout) -> bool {
        layout.size() == self.1 && self.0.owns(ptr, layout)
    }
}

/// A heap of a class is asked for what it has handed out: slots, not what the user asked for.
#[test]
fn a_slot_is_owned_as_the_slot_that_it_is() {
    let slots = PerClass::<Few, _>::from_fn(|slot| Exact(arena(), slot.size()));
    let mut heap = Fallback::new(slots, arena::<check::Checked<Ignore>>());
    let this = layout(60, 8);
    let block = take(&mut heap, this, 1);
    assert!(heap.first().owns(block, this));
    // SAFETY: the block is live, and its layout this one.
    unsafe { heap.dealloc(block, this) };
    assert_eq!(found(&mut heap), []);
    assert!(heap.first().heaps().iter().all(|heap| heap.0.usage().objects == 0));
}

/// Of two heaps one looks: what the other would take for its own is not said to be.
#[test]
fn what_leads_to_a_heap_that_does_not_look_is_not_owned() {
    let plain = SourceArena::<GlobalHeap, Sizing16MiB>::with_size(GlobalHeap, ROOM).expect("memory");
    let looking = arena::<check::Checked<Ignore>>;
    let mut heap = Fallback::new(Segregate::<128, _, _>::new(plain, looking()), looking());
    let small = [1, 2].map(|fill| take(&mut heap, layout(64, 8), fill));
    let large = take(&mut heap, layout(300, 8), 3);
    // SAFETY: none: that it is refused is what is tested.
    unsafe { heap.dealloc(large, layout(64, 8)) };
    assert_eq!(found(&mut heap), [Wrong::Foreign], "by the heap behind both");
    // And what leads to the one that looks is for it to find.
    // SAFETY: as above.
    unsafe { heap.dealloc(small[0], layout(300, 8)) };
    assert_eq!(found(&mut heap), [Wrong::Foreign]);
    assert_eq!((heap.first().first().usage().objects, heap.first().second().usage().objects), (2, 1));
}

/// So it is where the one that does not look stands between others.
#[test]
fn what_leads_to_a_heap_that_does_not_look_is_not_owned_by_those_around_it() {
    let plain = || SourceArena::<GlobalHeap, Sizing16MiB>::with_size(GlobalHeap, ROOM).expect("memory");
    let looking = arena::<check::Checked<Ignore>>;
    macro_rules! refused {
        ($(|$rest:ident| $around:expr),* $(,)?) => {$({
            let $rest = Segregate::<128, _, _>::new(plain(), looking());
            let mut heap = Fallback::new(Segregate::<32, _, _>::new(looking(), $around), looking());
            for right in [layout(16, 8), layout(300, 8)] {
                let block = take(&mut heap, right, 1);
                // SAFETY: none: that it is refused is what is tested.
                unsafe { heap.dealloc(block, layout(64, 8)) };
                // By the heap behind all, or by the block's own where that is asked first.
                assert!(matches!(found(&mut heap)[..], [Wrong::Foreign | Wrong::WrongLayout]), "{right:?}");
                // SAFETY: the block is live, and its layout this one.
                unsafe { heap.dealloc(block, right) };
                assert_eq!(found(&mut heap), []);
            }
        })*};
    }
    refused!(
        |rest| rest,
        |rest| Counted::new(Totals::new(), rest),
        |rest| AlignUp::<16, _>::new(rest),
        |rest| Quantize::<Multiples<8>, _>::new(rest),
        |rest| Fallback::new(arena::<check::Checked<Ignore>>(), rest),
    );
}
