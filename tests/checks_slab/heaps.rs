//! Heaps of caches, one for each size class.

use std::alloc::Layout;
use std::ptr::NonNull;

use heapwright::arena::SourceArena;
use heapwright::cache::{Chunks, Classes, Exactly, KeepAll, SizeClasses, SlabCore, SlabHeap};
use heapwright::check::{Checked, Checks, Hardened, Unchecked, Wrong};
use heapwright::heap::{Heap as Core, Inspect, Locked, NoHeap, SharedHeap};
use heapwright::lock::NoLock;
use heapwright::sizing::{self, Sizing16MiB};
use heapwright::slab::{AlignedSlabs, Bitmap, IndexStack, IntrusiveList, LargeSlabs, SideSlabs, SlabSystem};
use heapwright::source::{Pages, SourceHeap};

use crate::random::Random;
use crate::told::{Keep, told};
use crate::{Apart, STOCK, flip, free, is_resized, share};

heapwright::size_classes! {
    /// Not many, so that each has slabs.
    struct Few = 16..=2048, 2 per doubling;
}

type Heap<S, P> = Locked<SlabHeap<Few, S, SourceHeap<Pages>, KeepAll, 8, P>, NoLock>;

/// A heap under test, what it has handed out, and the last that has come back.
struct Subject<S: SlabSystem, P: Checks> {
    heap: Heap<S, P>,
    random: Random,
    live: Vec<(NonNull<u8>, Layout)>,
    misuses: usize,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Double,
    Inside,
    OtherClass,
    Large,
    Resize,
    Behind,
}

impl<S: SlabSystem, P: Checks> Subject<S, P> {
    fn new(source: S::Source, seed: u64) -> Self {
        let heap = Heap::over(source, SourceHeap::new(Pages));
        Subject { heap, random: Random::new(seed), live: Vec::new(), misuses: 0 }
    }

    /// Of every class, and now and then none.
    fn layout(&mut self) -> Layout {
        let doublings = self.random.below(11);
        let size = match self.random.below(100) {
            0 => 2048 + self.random.below(9000),
            _ => self.random.below(2 << doublings) + 1,
        };
        Layout::from_size_align(size, 1 << self.random.below(6)).unwrap()
    }

    fn check(block: NonNull<u8>, layout: Layout) {
        // SAFETY: the block is so long, and filled.
        let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), layout.size()) };
        assert!(bytes.iter().all(|&byte| byte == layout.size() as u8));
    }

    fn step(&mut self) {
        let layout = self.layout();
        match self.random.below(5) {
            _ if self.live.len() < 30 => {}
            0 | 1 if self.live.len() < 300 => {}
            2 => {
                let at = self.random.below(self.live.len());
                let (block, old) = self.live[at];
                Self::check(block, old);
                // SAFETY: a live block, and its layout.
                let block = unsafe { self.heap.try_resize(block, old, layout) }.unwrap();
                assert!(block.len() >= layout.size());
                let block = block.cast::<u8>();
                let kept = Layout::from_size_align(layout.size().min(old.size()), 1).unwrap();
                // SAFETY: so many bytes have been kept.
                let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), kept.size()) };
                assert!(bytes.iter().all(|&byte| byte == old.size() as u8));
                // SAFETY: the block is so long.
                unsafe { block.write_bytes(layout.size() as u8, layout.size()) };
                self.live[at] = (block, layout);
                return;
            }
            _ => {
                let at = self.random.below(self.live.len());
                let (block, layout) = self.live.swap_remove(at);
                Self::check(block, layout);
                // SAFETY: a live block, and its layout.
                unsafe { self.heap.free(block, layout) };
                return;
            }
        }
        let block = if self.random.below(4) == 0 {
            let block = self.heap.try_alloc_zeroed(layout).unwrap();
            // SAFETY: the block is so long.
            assert!(unsafe { block.as_ref() }.iter().all(|&byte| byte == 0));
            block
        } else {
            self.heap.try_alloc(layout).unwrap()
        };
        assert!(block.len() >= layout.size() && block.cast::<u8>().addr().get() % layout.align() == 0);
        // SAFETY: the block is so long.
        unsafe { block.cast::<u8>().write_bytes(layout.size() as u8, layout.size()) };
        self.live.push((block.cast(), layout));
    }

    /// The class of a layout, with what lies behind its blocks.
    fn class(layout: Layout) -> Option<usize> {
        Few::index(Layout::from_size_align(layout.size() + P::RED_ZONE, layout.align()).unwrap())
    }

    /// A live block of a class.
    fn pick(&mut self) -> (NonNull<u8>, Layout) {
        loop {
            let (block, layout) = self.live[self.random.below(self.live.len())];
            if Self::class(layout).is_some() {
                return (block, layout);
            }
        }
    }

    /// Does something wrong; says what should be told, and of objects of which size.
    fn misuse(&mut self, kind: Kind) -> (Wrong, usize, Option<usize>) {
        let (block, layout) = self.pick();
        let address = block.addr().get();
        match kind {
            Kind::Double => {
                self.live.retain(|&(live, _)| live != block);
                free(&self.heap, block, layout);
                free(&self.heap, block, layout);
                (Wrong::DoubleFree, address, None)
            }
            Kind::Inside => {
                let inside = address + 1 + self.random.below(15);
                let inside = NonNull::new(std::ptr::with_exposed_provenance_mut(inside)).unwrap();
                free(&self.heap, inside, layout);
                (Wrong::Interior, inside.addr().get(), None)
            }
            Kind::OtherClass | Kind::Resize => {
                let mut other = self.layout();
                while Self::class(other) == Self::class(layout)
                    || (matches!(kind, Kind::OtherClass) && Self::class(other).is_none())
                {
                    other = self.layout();
                }
                match kind {
                    Kind::Resize => assert!(!is_resized(&self.heap, block, other, layout)),
                    _ => free(&self.heap, block, other),
                }
                (Wrong::WrongLayout, address, Some(Few::SIZES[Self::class(layout).unwrap()]))
            }
            Kind::Large => {
                let large = Layout::from_size_align(4096 + self.random.below(9000), 8).unwrap();
                free(&self.heap, block, large);
                (Wrong::WrongLayout, address, Some(Few::SIZES[Self::class(layout).unwrap()]))
            }
            Kind::Behind => {
                self.live.retain(|&(live, _)| live != block);
                let behind = layout.size() + self.random.below(P::RED_ZONE);
                // SAFETY: it lies behind the block, in its zone.
                unsafe { flip(block, behind, self.random.below(8)) };
                // SAFETY: a live block, and its layout.
                unsafe { self.heap.free(block, layout) };
                (Wrong::WrittenBehind, address, None)
            }
        }
    }

    fn injected(&mut self, kind: Kind, count: usize, name: &str) {
        for _ in 0..500 {
            self.step();
        }
        for _ in 0..count {
            for _ in 0..self.random.below(4) {
                self.step();
            }
            while self.live.len() < 30 {
                self.step();
            }
            assert_eq!(told(), [], "{name}: nothing was wrong");
            let expected = self.misuse(kind);
            self.misuses += 1;
            let found: Vec<_> = told()
                .iter()
                .map(|misuse| (misuse.wrong, misuse.address, misuse.owner.map(|owner| owner.object_size)))
                .collect();
            assert_eq!(found, [expected], "{name}: {kind:?}");
        }
        self.end(name);
    }

    fn end(&mut self, name: &str) {
        for (block, layout) in self.live.drain(..) {
            Self::check(block, layout);
            // SAFETY: a live block, and its layout.
            unsafe { self.heap.free(block, layout) };
        }
        assert_eq!((told(), self.heap.misuses()), (vec![], self.misuses), "{name}");
        assert_eq!((self.heap.verify(), self.heap.usage().objects), (Ok(()), 0), "{name}");
        let slabs = self.heap.stats().slabs;
        assert_eq!(self.heap.reap(), slabs, "{name}");
    }
}

fn one<S: SlabSystem, P: Checks>(source: S::Source, kind: Kind, count: usize) {
    Subject::<S, P>::new(source, 11).injected(kind, count, std::any::type_name::<(S, P)>());
}

/// Every system with every bookkeeping.
macro_rules! each {
    ($kind:expr, $policy:ty, $share:expr; $($keeps:ty),*) => {$(
        one::<AlignedSlabs<Pages, 0, $keeps>, $policy>(Pages, $kind, $share);
        one::<AlignedSlabs<Pages, 8192, $keeps>, $policy>(Pages, $kind, $share);
        one::<LargeSlabs<Pages, 10_000, $keeps>, $policy>(Pages, $kind, $share);
        one::<SideSlabs<Apart, $keeps>, $policy>(Chunks(&STOCK), $kind, $share);
    )*};
}

fn checked(kind: Kind) {
    each!(kind, Checked<Keep>, share(24); Bitmap, IntrusiveList, IndexStack);
    each!(kind, Hardened<Keep>, share(24); Bitmap, IntrusiveList<Hardened<Keep>>, IndexStack);
}

#[test]
fn what_is_freed_twice() {
    checked(Kind::Double);
}

#[test]
fn what_is_no_start() {
    checked(Kind::Inside);
}

#[test]
fn blocks_of_another_class_are_told_by_their_own() {
    checked(Kind::OtherClass);
}

#[test]
fn small_blocks_that_come_back_as_large_ones() {
    checked(Kind::Large);
}

#[test]
fn what_is_resized_with_a_wrong_layout() {
    checked(Kind::Resize);
}

#[test]
fn what_is_written_behind() {
    each!(Kind::Behind, Hardened<Keep>, share(12); Bitmap, IntrusiveList<Hardened<Keep>>, IndexStack);
}

fn right<S: SlabSystem, P: Checks>(source: S::Source) {
    let mut subject = Subject::<S, P>::new(source, 3);
    for step in 0..share(24) {
        subject.step();
        if step % 1000 == 0 {
            assert_eq!(subject.heap.verify(), Ok(()));
            subject.heap.trim(1);
        }
    }
    subject.end(std::any::type_name::<(S, P)>());
}

#[test]
fn what_is_right_is_let_pass() {
    macro_rules! rights {
        ($policy:ty: $($keeps:ty),*) => {$(
            right::<AlignedSlabs<Pages, 0, $keeps>, $policy>(Pages);
            right::<AlignedSlabs<Pages, 8192, $keeps>, $policy>(Pages);
            right::<LargeSlabs<Pages, 10_000, $keeps>, $policy>(Pages);
            right::<SideSlabs<Apart, $keeps>, $policy>(Chunks(&STOCK));
        )*};
    }
    rights!(Checked<Keep>: Bitmap, IntrusiveList, IndexStack);
    rights!(Hardened<Keep>: Bitmap, IntrusiveList<Hardened<Keep>>, IndexStack);
}

/// No byte more, unless something is looked at.
#[test]
fn unchecked_is_nothing() {
    type Slabs = AlignedSlabs<Pages>;
    type Unchecked = heapwright::check::Unchecked;
    type General<P> = SlabHeap<Classes, Slabs, SourceHeap<Pages>, KeepAll, 16, P>;
    assert_eq!(size_of::<General<Unchecked>>(), size_of::<SlabHeap<Classes, Slabs, SourceHeap<Pages>>>());
    assert_eq!(
        size_of::<General<Unchecked>>(),
        Classes::COUNT * (size_of::<Slabs>() + 20 * size_of::<usize>()) + 2 * size_of::<usize>()
    );
}

/// A resize that finds damage, and has no room, tells of it; the free does not tell again.
#[test]
fn damage_is_told_once() {
    type Small = SlabHeap<Few, AlignedSlabs<Pages>, NoHeap, KeepAll, 8, Hardened<Keep>>;
    let heap = Locked::<Small, NoLock>::over(Pages, NoHeap);
    let layout = Layout::new::<[u8; 20]>();
    let block = heap.try_alloc(layout).unwrap().cast::<u8>();
    // SAFETY: it lies behind the block, in its zone.
    unsafe { flip(block, 22, 3) };
    for found in [1, 0] {
        assert!(!is_resized(&heap, block, layout, Layout::new::<[u8; 5000]>()), "it has no class");
        let told = told();
        assert!(told.len() == found && told.iter().all(|misuse| misuse.wrong == Wrong::WrittenBehind));
    }
    free(&heap, block, layout);
    assert_eq!((told(), heap.misuses(), heap.usage().objects), (vec![], 1, 0));
}

/// A core that is told the size zero of a block, which the layers above it never do, leaves its bytes alone.
#[test]
fn a_size_of_zero_writes_no_zone_over_a_block() {
    type Small = SlabHeap<Few, AlignedSlabs<Pages>, NoHeap, KeepAll, 8, Hardened<Keep>>;
    let heap = Locked::<Small, NoLock>::over(Pages, NoHeap);
    let (layout, zero) = (Layout::new::<u64>(), Layout::new::<()>());
    let block = heap.try_alloc(layout).unwrap();
    // SAFETY: the block is so long.
    unsafe { block.cast::<u8>().write_bytes(9, layout.size()) };
    // SAFETY: a live block; what is wrong with its size is what the test is about.
    let resize =
        |core: &mut _| unsafe { Core::resize(core, block.cast(), zero, Layout::new::<[u8; 5000]>()) };
    // SAFETY: the closure calls the core and nothing else.
    assert!(unsafe { heap.enter(resize) }.unwrap().is_err());
    // SAFETY: it has been written, and is not used otherwise.
    assert_eq!(unsafe { block.as_ref() }[..layout.size()], [9; 8]);
    told();
    free(&heap, block.cast(), layout);
    assert_eq!((told(), heap.usage().objects), (vec![], 0));
}

/// What was found since it was last asked, all of it.
fn found(heap: &mut impl Core) -> Vec<Wrong> {
    std::iter::from_fn(|| heap.take_finding()).map(|finding| finding.misuse().wrong).collect()
}

/// Blocks beyond all classes, in a heap of slabs that checks, or before one that does.
#[test]
fn large_blocks_are_counted_when_they_are_taken_back() {
    type Next = SourceArena<Pages, sizing::Checked<Sizing16MiB, Checked<Keep>>>;
    type Over<P> = SlabHeap<Few, AlignedSlabs<Pages>, Next, KeepAll, 4, P>;
    /// Says whether it was done, as far as it can.
    type Way<P> = fn(&mut Over<P>, NonNull<u8>, [Layout; 3]) -> bool;

    fn large<P: Checks>() {
        let mut heap: Over<P> = SlabHeap::new(Pages, SourceArena::with_size(Pages, 1 << 20).unwrap());
        let [this, small, larger] = [5000, 16, 9000].map(|size| Layout::from_size_align(size, 1).unwrap());
        let [gone, last] = [(); 2].map(|()| heap.alloc(this).unwrap().cast::<u8>());
        // SAFETY: the block is live, and its layout this one.
        unsafe { heap.dealloc(gone, this) };
        let ways: [Way<P>; 5] = [
            // SAFETY: none, here and below: that it is refused is what is tested.
            |heap, ptr, [this, ..]| unsafe { heap.judge(ptr, this) },
            |heap, ptr, [this, ..]| {
                // SAFETY: as above.
                unsafe { heap.dealloc(ptr, this) };
                false
            },
            |heap, ptr, [this, ..]| {
                // SAFETY: as above.
                unsafe { heap.dealloc_batch(this, &[ptr, ptr]) };
                false
            },
            // SAFETY: as above.
            |heap, ptr, [this, small, _]| unsafe { heap.resize(ptr, this, small) }.is_ok(),
            // SAFETY: as above.
            |heap, ptr, [this, _, larger]| unsafe { heap.resize(ptr, this, larger) }.is_ok(),
        ];
        for way in ways {
            assert!(!way(&mut heap, gone, [this, small, larger]));
            assert_eq!((found(&mut heap), heap.usage().objects), (vec![Wrong::DoubleFree], 1));
        }
        // What is right is done, from a class to none and back.
        let mut block = last;
        for (old, new) in [(this, larger), (larger, small), (small, this)] {
            // SAFETY: the block is live, and its layout the old one.
            assert!(unsafe { heap.judge(block, old) });
            // SAFETY: as above.
            block = unsafe { heap.resize(block, old, new) }.unwrap().cast();
            assert_eq!((found(&mut heap), heap.usage().objects), (vec![], 1));
        }
        // SAFETY: the block is live, and its layout this one.
        unsafe { heap.dealloc(block, this) };
        assert_eq!((found(&mut heap), heap.usage().objects), (vec![], 0));
    }
    large::<Unchecked>();
    large::<Checked<Keep>>();
    large::<Hardened<Keep>>();
    // Before a heap that does not check, what comes back when there is no block is found.
    let mut heap: SlabHeap<Few, AlignedSlabs<Pages>, NoHeap, KeepAll, 4, Checked<Keep>> =
        SlabHeap::new(Pages, NoHeap);
    // SAFETY: none: that it is refused is what is tested.
    unsafe { heap.dealloc(NonNull::dangling(), Layout::new::<[u8; 5000]>()) };
    assert_eq!((found(&mut heap), heap.usage().objects), (vec![Wrong::Foreign], 0));
    // Where nothing looks, nobody is asked.
    let mut heap: SlabHeap<Few, AlignedSlabs<Pages>, NoHeap, KeepAll, 4> = SlabHeap::new(Pages, NoHeap);
    // SAFETY: nothing is done with it.
    assert!(unsafe { heap.judge(NonNull::dangling(), Layout::new::<[u8; 5000]>()) });
}

/// Who asks before a free is told as the free would be, and the free has nothing to tell any more.
#[test]
fn what_is_asked_for_is_told_once() {
    fn asked(mut heap: impl Core) {
        let layout = Layout::new::<[u8; 20]>();
        let [gone, block, last] = [(); 3].map(|()| heap.alloc(layout).unwrap().cast::<u8>());
        // SAFETY: the block is live, and its layout this one.
        unsafe { heap.dealloc(gone, layout) };
        let interior = block.map_addr(|address| address.checked_add(8).unwrap());
        let wrong = [
            (gone, layout, Wrong::DoubleFree),
            (interior, layout, Wrong::Interior),
            (block, Layout::new::<[u8; 900]>(), Wrong::WrongLayout),
            (NonNull::dangling(), layout, Wrong::Foreign),
        ];
        for (ptr, layout, kind) in wrong {
            // SAFETY: none: that it is refused is what is tested.
            assert!(!unsafe { heap.judge(ptr, layout) });
            assert_eq!(found(&mut heap), [kind]);
        }
        // SAFETY: it lies behind the block, in its zone.
        unsafe { flip(last, 21, 3) };
        for (block, damage) in [(block, vec![]), (last, vec![Wrong::WrittenBehind]), (last, vec![])] {
            // SAFETY: the block is live, and its layout this one.
            assert!(unsafe { heap.judge(block, layout) });
            assert_eq!(found(&mut heap), damage);
        }
        for block in [block, last] {
            // SAFETY: the block is live, and its layout this one.
            unsafe { heap.dealloc(block, layout) };
        }
        assert_eq!(found(&mut heap), []);
    }
    type Many = SlabHeap<Few, AlignedSlabs<Pages>, NoHeap, KeepAll, 4, Hardened<Keep>>;
    type One = SlabCore<AlignedSlabs<Pages>, Exactly<32>, KeepAll, 4, Hardened<Keep>>;
    asked(Many::new(Pages, NoHeap));
    asked(One::new(Pages));
    let mut blind = SlabCore::<AlignedSlabs<Pages>, Exactly<32>, KeepAll, 4>::new(Pages);
    // SAFETY: nothing is done with it.
    assert!(unsafe { blind.judge(NonNull::dangling(), Layout::new::<u64>()) });
}
