//! Caches of one layout.

use std::alloc::Layout;
use std::collections::HashSet;
use std::ptr::NonNull;

use heapwright::cache::{AtRunTime, Chunks, Exactly, KeepAll, SlabCache, UntypedObjectAlloc};
use heapwright::check::{Checked, Checks, Hardened, Off, On, Wrong};
use heapwright::heap::{Heap, SharedHeap};
use heapwright::lock::NoLock;
use heapwright::slab::{AlignedSlabs, Bitmap, IndexStack, IntrusiveList, LargeSlabs, SideSlabs, SlabSystem};
use heapwright::source::{GlobalHeap, Pages};

use crate::random::Random;
use crate::told::{Keep, told};
use crate::{Apart, STOCK, flip, free, is_resized, share};

type Cache<S, P, const FRONT: usize> = SlabCache<S, NoLock, AtRunTime, KeepAll, FRONT, P>;

/// A cache under test, what it has handed out, and what has come back and was not handed out again.
struct Subject<S: SlabSystem, P: Checks, const FRONT: usize> {
    cache: Cache<S, P, FRONT>,
    layout: Layout,
    random: Random,
    live: Vec<(NonNull<u8>, Layout)>,
    free: HashSet<usize>,
    misuses: usize,
}

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Double,
    DoubleResize,
    DoubleSlot,
    Inside,
    Elsewhere,
    Layout,
    Behind,
}

impl<S: SlabSystem, P: Checks, const FRONT: usize> Subject<S, P, FRONT> {
    fn new(source: S::Source, size: usize, seed: u64) -> Self {
        let layout = Layout::from_size_align(size, 8).unwrap();
        let cache = Cache::with_layout(source, layout).unwrap();
        let (live, free) = (Vec::new(), HashSet::new());
        Subject { cache, layout, random: Random::new(seed), live, free, misuses: 0 }
    }

    /// Takes or gives a block, which is filled, and was not written to by anybody else.
    fn step(&mut self) {
        if self.live.len() < 40 || (self.live.len() < 400 && self.random.below(2) == 0) {
            let size = self.random.below(self.layout.size()) + 1;
            let layout = Layout::from_size_align(size, 1 << self.random.below(4)).unwrap();
            let block = self.cache.try_alloc(layout).unwrap();
            assert!(block.len() >= size && block.addr().get() % layout.align() == 0);
            let block = block.cast::<u8>();
            self.free.remove(&block.addr().get());
            // SAFETY: the block is ours, and so long.
            unsafe { block.write_bytes(block.addr().get() as u8 >> 3 | 1, size) };
            self.live.push((block, layout));
            return;
        }
        let (block, layout) = self.pick();
        self.remove(block);
        // SAFETY: the block is so long, and filled.
        let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), layout.size()) };
        assert!(bytes.iter().all(|&byte| byte == block.addr().get() as u8 >> 3 | 1));
        // SAFETY: a live block, and its layout.
        unsafe { self.cache.free(block, layout) };
    }

    fn pick(&mut self) -> (NonNull<u8>, Layout) {
        self.live[self.random.below(self.live.len())]
    }

    fn remove(&mut self, block: NonNull<u8>) {
        let at = self.live.iter().position(|&(live, _)| live == block).unwrap();
        self.live.swap_remove(at);
        self.free.insert(block.addr().get());
    }

    /// Does something wrong; says what should be told.
    fn misuse(&mut self, kind: Kind) -> (Wrong, usize) {
        let (block, layout) = self.pick();
        let address = block.addr().get();
        match kind {
            Kind::Double | Kind::DoubleResize | Kind::DoubleSlot => {
                let nth = self.random.below(self.free.len().min(50));
                let freed = *self.free.iter().nth(nth).unwrap();
                let freed_block = at(freed);
                match kind {
                    Kind::Double => free(&self.cache, freed_block, layout),
                    // SAFETY: none: it is free.
                    Kind::DoubleSlot => unsafe { self.cache.free_slot(freed_block) },
                    _ => assert!(!is_resized(&self.cache, freed_block, layout, self.layout)),
                }
                (Wrong::DoubleFree, freed)
            }
            Kind::Inside => {
                let inside = address + 1 + self.random.below(self.layout.size() - 1);
                free(&self.cache, at(inside), layout);
                (Wrong::Interior, inside)
            }
            Kind::Elsewhere => {
                let elsewhere = match self.random.below(4) {
                    0 => self.random.next() as usize | 1,
                    1 => self.random.below(4096) + 1,
                    2 => std::ptr::from_ref(&layout).addr(),
                    // Close by, where a header might be thought to be.
                    _ => (address ^ (1 << (21 + self.random.below(usize::BITS as usize / 3 - 1)))) | 8,
                };
                if self.cache.slabs().any(|slab| (slab.address..slab.address + slab.len).contains(&elsewhere))
                {
                    return self.misuse(kind);
                }
                free(&self.cache, at(elsewhere), layout);
                (Wrong::Foreign, elsewhere)
            }
            Kind::Layout => {
                let wrong = match self.random.below(2) {
                    0 => Layout::from_size_align(self.cache.slot_size() + 1 + self.random.below(1000), 8),
                    _ => Layout::from_size_align(layout.size(), 16 << self.random.below(4)),
                };
                free(&self.cache, block, wrong.unwrap());
                (Wrong::WrongLayout, address)
            }
            Kind::Behind => {
                self.remove(block);
                let behind = layout.size() + self.random.below(P::RED_ZONE);
                // SAFETY: it lies behind the block, in its zone.
                unsafe { flip(block, behind, self.random.below(8)) };
                // SAFETY: a live block, and its layout.
                unsafe { self.cache.free(block, layout) };
                (Wrong::WrittenBehind, address)
            }
        }
    }

    /// Does something wrong now and then; each time it is told, and nothing else ever.
    fn injected(&mut self, kind: Kind, count: usize, name: &str) {
        for _ in 0..600 {
            self.step();
        }
        for _ in 0..count {
            for _ in 0..self.random.below(4) {
                self.step();
            }
            if self.free.is_empty() {
                self.step();
                continue;
            }
            assert_eq!(told(), [], "{name}: nothing was wrong");
            let (wrong, address) = self.misuse(kind);
            self.misuses += 1;
            let found: Vec<_> = told().iter().map(|misuse| (misuse.wrong, misuse.address)).collect();
            assert_eq!(found, [(wrong, address)], "{name}: {kind:?}");
        }
        self.end(name);
    }

    /// Gives all back: nothing that was wrong has done any harm.
    fn end(&mut self, name: &str) {
        while let Some((block, layout)) = self.live.pop() {
            // SAFETY: a live block, and its layout.
            unsafe { self.cache.free(block, layout) };
        }
        assert_eq!((told(), self.cache.misuses()), (vec![], self.misuses), "{name}");
        assert_eq!((self.cache.verify(), self.cache.stats().live), (Ok(()), 0), "{name}");
        let slabs = self.cache.stats().slabs;
        assert_eq!(self.cache.reap(), slabs, "{name}");
    }
}

/// The block at an address.
fn at(address: usize) -> NonNull<u8> {
    NonNull::new(std::ptr::with_exposed_provenance_mut(address)).unwrap()
}

/// A source of a slab system, made anew.
trait Fresh {
    fn fresh() -> Self;
}

impl Fresh for Pages {
    fn fresh() -> Self {
        Pages
    }
}

impl Fresh for Apart {
    fn fresh() -> Self {
        Chunks(&STOCK)
    }
}

/// Calls `$one` with each system, each bookkeeping, and some numbers of objects at hand.
macro_rules! each {
    ($kind:expr, $policy:ty, $list:ty, $share:expr) => {
        each!(@ $kind, $policy, $share; Bitmap, $list, IndexStack);
    };
    (@ $kind:expr, $policy:ty, $share:expr; $($keeps:ty),*) => {$(
        one::<AlignedSlabs<Pages, 4096, $keeps>, $policy, 16>($kind, $share);
        one::<AlignedSlabs<Pages, 0, $keeps>, $policy, 0>($kind, $share);
        one::<LargeSlabs<Pages, 6000, $keeps>, $policy, 7>($kind, $share);
        one::<SideSlabs<Apart, $keeps>, $policy, 128>($kind, $share);
    )*};
}

/// How many subjects `each` has.
const SUBJECTS: usize = 12;

fn one<S: SlabSystem<Source: Fresh>, P: Checks, const FRONT: usize>(kind: Kind, count: usize) {
    let name = std::any::type_name::<(S, P)>();
    for (size, seed) in [(24, 7), (100, 8), (1000, 9)] {
        Subject::<S, P, FRONT>::new(Fresh::fresh(), size, seed + FRONT as u64).injected(
            kind,
            count / 3 + 1,
            name,
        );
    }
}

fn checked(kind: Kind) {
    each!(kind, Checked<Keep>, IntrusiveList, share(2 * SUBJECTS));
    each!(kind, Hardened<Keep>, IntrusiveList<Hardened<Keep>>, share(2 * SUBJECTS));
}

#[test]
fn what_is_freed_twice() {
    checked(Kind::Double);
}

#[test]
fn what_is_resized_when_it_is_free() {
    checked(Kind::DoubleResize);
}

#[test]
fn slots_that_are_freed_twice() {
    checked(Kind::DoubleSlot);
}

#[test]
fn what_is_no_start() {
    checked(Kind::Inside);
}

#[test]
fn what_is_from_elsewhere() {
    checked(Kind::Elsewhere);
}

#[test]
fn layouts_that_do_not_fit() {
    checked(Kind::Layout);
}

#[test]
fn what_is_written_behind() {
    each!(Kind::Behind, Hardened<Keep>, IntrusiveList<Hardened<Keep>>, share(SUBJECTS));
}

/// Writes `byte` behind a block, to the end of its object.
fn fill_behind<S: SlabSystem, P: Checks, const FRONT: usize>(
    cache: &Cache<S, P, FRONT>,
    block: NonNull<u8>,
    size: usize,
    byte: u8,
) {
    // SAFETY: it lies behind the block, in its zone.
    let behind = unsafe { block.add(size) };
    // SAFETY: as above; the zone ends with the slot and its own bytes.
    unsafe { behind.write_bytes(byte, cache.slot_size() + P::RED_ZONE - size) };
}

/// What was told, and where.
fn kinds() -> Vec<(Wrong, usize)> {
    told().iter().map(|misuse| (misuse.wrong, misuse.address)).collect()
}

/// A zone that is all zero may be that of a free object: the block stays where it is, and can be used.
fn zeroed_behind<S: SlabSystem<Source: Fresh>, const FRONT: usize>() {
    let layout = Layout::new::<[u8; 100]>();
    let cache = Cache::<S, Hardened<Keep>, FRONT>::with_layout(Fresh::fresh(), layout).unwrap();
    for size in [1, 7, 8, 9, 100] {
        let layout = Layout::from_size_align(size, 1).unwrap();
        let block = cache.try_alloc(layout).unwrap().cast::<u8>();
        // SAFETY: the block is so long.
        unsafe { block.write_bytes(0x44, size) };
        let is_told = || assert_eq!(kinds(), [(Wrong::WrittenBehind, block.addr().get())], "{size}");
        fill_behind(&cache, block, size, 0);
        free(&cache, block, layout);
        is_told();
        assert!(!is_resized(&cache, block, layout, layout));
        is_told();
        // SAFETY: the block is so long.
        let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), size) };
        assert!(bytes.iter().all(|&byte| byte == 0x44) && cache.stats().live == 1);
        let other = cache.try_alloc(layout).unwrap().cast::<u8>();
        assert_ne!(other, block);
        // A single byte that is not zero tells that somebody has it.
        fill_behind(&cache, block, size, 0);
        // SAFETY: it lies in the zone.
        let last = unsafe { block.add(cache.slot_size() + 7) };
        // SAFETY: as above.
        unsafe { last.write(1) };
        free(&cache, block, layout);
        is_told();
        free(&cache, other, layout);
        assert_eq!((told(), cache.stats().live, cache.verify()), (vec![], 0, Ok(())));
    }
}

#[test]
fn a_zone_of_zeroes_may_be_that_of_a_free_object() {
    type List = IntrusiveList<Hardened<Keep>>;
    zeroed_behind::<AlignedSlabs<Pages, 4096, Bitmap>, 16>();
    zeroed_behind::<AlignedSlabs<Pages, 0, List>, 0>();
    zeroed_behind::<LargeSlabs<Pages, 6000, IndexStack>, 7>();
    zeroed_behind::<SideSlabs<Apart, List>, 128>();
}

/// A resize that finds damage, and has no room, tells of it; the free does not tell again.
#[test]
fn damage_is_told_once() {
    let layout = Layout::new::<[u8; 100]>();
    type Slabs = AlignedSlabs<Pages, 4096>;
    let cache = Cache::<Slabs, Hardened<Keep>, 4>::with_layout(Pages, layout).unwrap();
    let small = Layout::new::<[u8; 30]>();
    let block = cache.try_alloc(small).unwrap().cast::<u8>();
    fill_behind(&cache, block, small.size(), 0x33);
    assert!(!is_resized(&cache, block, small, Layout::new::<[u8; 1000]>()));
    assert_eq!(kinds(), [(Wrong::WrittenBehind, block.addr().get())]);
    assert!(!is_resized(&cache, block, small, Layout::new::<[u8; 1000]>()));
    assert!(is_resized(&cache, block, small, layout));
    free(&cache, block, layout);
    assert_eq!((told(), cache.misuses(), cache.stats().live), (vec![], 1, 0));
    assert!(!is_resized(&cache, block, small, Layout::new::<[u8; 1000]>()));
    assert_eq!(
        kinds(),
        [(Wrong::DoubleFree, block.addr().get())],
        "what is wrong is told though it has no room"
    );
}

/// A core that is told the size zero of a block, which the layers above it never do, leaves its bytes alone.
#[test]
fn a_size_of_zero_writes_no_zone_over_a_block() {
    let (layout, zero) = (Layout::new::<[u8; 100]>(), Layout::new::<()>());
    let cache = Cache::<AlignedSlabs<Pages, 4096>, Hardened<Keep>, 4>::with_layout(Pages, layout).unwrap();
    let block = cache.try_alloc(layout).unwrap();
    // SAFETY: the block is so long.
    unsafe { block.cast::<u8>().write_bytes(9, layout.size()) };
    // SAFETY: a live block; what is wrong with its size is what the test is about.
    let resize = |core: &mut _| unsafe {
        Heap::resize_in_place(core, block.cast(), zero, Layout::new::<[u8; 1000]>())
    };
    // SAFETY: the closure calls the core and nothing else.
    assert!(unsafe { cache.enter(resize) }.unwrap().is_err());
    // SAFETY: it has been written, and is not used otherwise.
    assert!(unsafe { block.as_ref() }[..layout.size()].iter().all(|&byte| byte == 9));
    assert_eq!(kinds(), [(Wrong::WrittenBehind, block.cast::<u8>().addr().get())]);
    free(&cache, block.cast(), layout);
    assert_eq!(told(), []);
}

/// A zone of one byte, and zeroes in what is free.
struct Short;

impl Checks for Short {
    type Frees = On;
    type Quarantine = Off;
    type Report = Keep;
    const RED_ZONE: usize = 1;
    const ZERO_FREED: bool = true;
}

/// A block whose zone was written to comes back, as long as that is not zero, also where there is no more than the zone behind the first word.
#[test]
fn what_was_written_behind_comes_back_from_the_shortest_slots() {
    for size in [7, 8, 15, 16] {
        let layout = Layout::from_size_align(size, 1).unwrap();
        let cache = Cache::<AlignedSlabs<Pages, 4096>, Short, 0>::with_layout(Pages, layout).unwrap();
        let block = cache.try_alloc(layout).unwrap().cast::<u8>();
        fill_behind(&cache, block, size, 5);
        free(&cache, block, layout);
        assert_eq!((kinds(), cache.stats().live), (vec![(Wrong::WrittenBehind, block.addr().get())], 0));
    }
}

/// A zone, and whatever was in what is free.
struct Zoned;

impl Checks for Zoned {
    type Frees = On;
    type Quarantine = Off;
    type Report = Keep;
    const RED_ZONE: usize = 8;
}

/// Where what is free is not zero, a zone of zeroes says nothing of it: the block comes back.
#[test]
fn zeroes_behind_are_damage_like_any_other() {
    let layout = Layout::new::<[u8; 100]>();
    let cache = Cache::<AlignedSlabs<Pages, 4096>, Zoned, 0>::with_layout(Pages, layout).unwrap();
    let block = cache.try_alloc(layout).unwrap().cast::<u8>();
    fill_behind(&cache, block, layout.size(), 0);
    free(&cache, block, layout);
    assert_eq!((kinds(), cache.stats().live), (vec![(Wrong::WrittenBehind, block.addr().get())], 0));
}

/// Without a mistake nothing is told.
fn right<S: SlabSystem<Source: Fresh>, P: Checks, const FRONT: usize>(steps: usize) {
    for size in [8, 24, 100, 1000] {
        let mut subject = Subject::<S, P, FRONT>::new(Fresh::fresh(), size, size as u64);
        for step in 0..steps / 4 {
            subject.step();
            if step % 100 == 0 {
                assert_eq!(subject.cache.verify(), Ok(()));
                subject.cache.trim(1);
                subject.free.clear();
            }
        }
        subject.end(std::any::type_name::<(S, P)>());
    }
}

#[test]
fn what_is_right_is_let_pass() {
    let steps = share(24);
    macro_rules! rights {
        ($policy:ty: $($keeps:ty),*) => {$(
            right::<AlignedSlabs<Pages, 2048, $keeps>, $policy, 1>(steps);
            right::<AlignedSlabs<Pages, 0, $keeps>, $policy, 128>(steps);
            right::<LargeSlabs<Pages, 5000, $keeps>, $policy, 0>(steps);
            right::<SideSlabs<Apart, $keeps>, $policy, 6>(steps);
        )*};
    }
    rights!(Checked<Keep>: Bitmap, IntrusiveList, IndexStack);
    rights!(Hardened<Keep>: Bitmap, IntrusiveList<Hardened<Keep>>, IndexStack);
}

/// No byte and no object more, unless something is looked at.
#[test]
fn unchecked_is_nothing() {
    use heapwright::cache::{For, SlabCore};
    type Slabs = AlignedSlabs<Pages>;
    type Unchecked = heapwright::check::Unchecked;
    assert_eq!(
        size_of::<SlabCore<Slabs, For<u64>, KeepAll, 16, Unchecked>>(),
        size_of::<SlabCore<Slabs, For<u64>, KeepAll, 16>>()
    );
    // The slabs, the source and what is at hand, a count of these, the hot one, and two counts.
    assert_eq!(
        size_of::<SlabCore<Slabs, For<u64>, KeepAll, 16>>(),
        size_of::<Slabs>() + (16 + 4) * size_of::<usize>()
    );
    assert!(
        size_of::<SlabCore<Slabs, For<u64>, KeepAll, 16, Checked>>()
            > size_of::<Slabs>() + 20 * size_of::<usize>()
    );
}

/// With chance, neither fresh objects nor freed ones come in an order.
#[test]
fn order_is_a_matter_of_chance() {
    fn order<P: Checks, const FRONT: usize>() -> (bool, bool) {
        let layout = Layout::new::<[u64; 4]>();
        let cache = Cache::<AlignedSlabs<Pages>, P, FRONT>::with_layout(Pages, layout).unwrap();
        let take = || cache.try_alloc(layout).unwrap().cast::<u8>();
        let fresh: Vec<_> = (0..64).map(|_| take()).collect();
        let mut again = 0;
        for &last in fresh.iter().rev() {
            // SAFETY: the block is live.
            unsafe { cache.free(last, layout) };
            again += usize::from(take() == last);
        }
        (fresh.windows(2).all(|two| two[0] < two[1]), again > 32)
    }
    assert_eq!(order::<Checked<Keep>, 32>(), (true, true));
    assert_eq!(order::<Hardened<Keep>, 32>(), (false, false));
    assert_eq!(order::<Hardened<Keep>, 0>(), (false, false));
    told();
}

/// A slot can be told by a layout whose size is a multiple of its alignment, whatever the zone behind it.
#[test]
fn slots_before_a_zone_have_whole_layouts() {
    macro_rules! whole {
        ($($slot:ty: $least:expr),* $(,)?) => {$({
            type Slabs = AlignedSlabs<GlobalHeap, 4096>;
            let cache = SlabCache::<Slabs, NoLock, $slot, KeepAll, 4, Hardened<Keep>>::over(GlobalHeap);
            let slot = cache.slot_layout();
            assert!(slot.size() > 0 && slot == slot.pad_to_align() && slot.size() >= $least, "{slot:?}");
            let block = cache.try_alloc(slot).unwrap().cast::<u8>();
            // SAFETY: the block is live, and so long.
            unsafe { block.write_bytes(7, slot.size()) };
            // SAFETY: the block is live, and its layout this one.
            unsafe { cache.free(block, slot) };
            assert_eq!(told(), []);
        })*};
    }
    whole!(
        Exactly<64, 64>: 64, Exactly<40, 8>: 40, Exactly<16, 16>: 16, Exactly<20, 16>: 20, Exactly<1, 1>: 1,
        Exactly<0, 1>: 1, Exactly<0, 16>: 1, Exactly<0, 64>: 1,
    );
}
