//! Each request to what is below fails once, and all from it on, for every request of every scenario: nothing is lost, nothing changes, and
//! what was refused is met when there is more.

use std::alloc::Layout;
use std::io::Write;
use std::ptr::NonNull;
use std::rc::Rc;

use heapwright::AllocError;
use heapwright::arena::SourceArena;
use heapwright::cache::{Classes, Exactly, KeepAll, KeepSlabs, ReleaseAtOnce, SlabCore, SlabHeap};
use heapwright::check::Abort;
use heapwright::combine::{
    Adaptive, Affix, AlignUp, Arenas, AtMost, Chain, Counted, Downward, Fallback, FixedChunks, FreeLists,
    Growing, OnBoth, PerClass, PowersOfTwo, Quantize, Quarantine, Quota, RedZones, Refusing, Region,
    Requested, Ring, Segregate, Totals, Upward, Zeroing,
};
use heapwright::heap::{Heap, NoHeap};
use heapwright::sizing::{Bounded, Checked, Sizing16MiB};
use heapwright::slab::{AlignedSlabs, IntrusiveList, LargeSlabs};
use heapwright::source::SourceHeap;

use crate::books::{Books, ByTurns, Turns, Via};
use crate::scenario::{Step, scenarios};

heapwright::size_classes! { struct Small = 8..=1024, 4 per doubling; }

/// A live block, all of whose requested bytes are `fill`.
#[derive(Clone, Copy, Debug)]
struct Block {
    ptr: NonNull<u8>,
    layout: Layout,
    fill: u8,
}

impl Block {
    fn new(made: NonNull<[u8]>, layout: Layout, fill: u8) -> Self {
        let ptr = made.cast::<u8>();
        assert!(ptr.addr().get() % layout.align() == 0 && made.len() >= layout.size(), "{made:?} {layout:?}");
        // SAFETY: the block is live and at least that long.
        unsafe { ptr.write_bytes(fill, layout.size()) };
        Block { ptr, layout, fill }
    }

    /// Whether its first `len` bytes are what was written.
    fn check(&self, len: usize) {
        // SAFETY: the block is live, at least that long, and was filled.
        let bytes = unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), len) };
        assert!(bytes.iter().all(|&byte| byte == self.fill), "{self:?} has changed");
    }
}

/// What failures are asked of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failing {
    None,
    One,
    Rest,
}

/// Whose requests fail.
#[derive(Clone, Copy, Debug)]
enum Below {
    Source,
    Heap,
}

impl Below {
    fn turns(self, books: &Books) -> &Turns {
        match self {
            Below::Source => &books.turns,
            Below::Heap => &books.heap_turns,
        }
    }
}

/// A heap, and the blocks of a scenario in it.
struct Run<H> {
    heap: H,
    books: Rc<Books>,
    below: Below,
    failing: Failing,
    slots: Vec<Option<Block>>,
    /// Layouts that were refused.
    owed: Vec<Layout>,
    fill: u8,
}

impl<H: Heap> Run<H> {
    fn check_all(&self) {
        self.slots.iter().flatten().for_each(|block| block.check(block.layout.size()));
    }

    /// The same request until it is met; if all fail, not at all.
    fn insist<R>(
        &mut self,
        layout: Layout,
        ask: impl Fn(&mut H) -> Result<R, AllocError>,
    ) -> Result<R, AllocError> {
        if let Ok(made) = ask(&mut self.heap) {
            return Ok(made);
        }
        self.check_all();
        match self.failing {
            Failing::None => panic!("{layout:?} is refused though nothing fails"),
            Failing::One => {
                let again = ask(&mut self.heap);
                assert!(
                    again.is_ok(),
                    "{layout:?} is refused again, after {} requests",
                    self.below.turns(&self.books).count()
                );
                again
            }
            Failing::Rest => {
                self.owed.push(layout);
                Err(AllocError)
            }
        }
    }

    fn step(&mut self, step: Step) {
        self.fill = self.fill.wrapping_mul(5).wrapping_add(17);
        match step {
            Step::Take { slot, layout, zeroed } => {
                self.slots.resize(self.slots.len().max(slot + 1), None);
                let ask = |heap: &mut H| if zeroed { heap.alloc_zeroed(layout) } else { heap.alloc(layout) };
                let Ok(made) = self.insist(layout, ask) else { return };
                if zeroed {
                    Block { ptr: made.cast(), layout, fill: 0 }.check(made.len());
                }
                self.slots[slot] = Some(Block::new(made, layout, self.fill));
            }
            Step::Resize { slot, layout } => {
                let Some(block) = self.slots[slot] else { return };
                let Block { ptr, layout: old, .. } = block;
                // SAFETY: the block is live, of this layout; the new one is not of size zero.
                let Ok(made) = self.insist(layout, |heap| unsafe { heap.resize(ptr, old, layout) }) else {
                    return;
                };
                Block { ptr: made.cast(), ..block }.check(old.size().min(layout.size()));
                self.slots[slot] = Some(Block::new(made, layout, self.fill));
            }
            Step::Give { slot } => {
                let Some(block) = self.slots[slot].take() else { return };
                block.check(block.layout.size());
                // SAFETY: the block is live, of this layout, and leaves its slot.
                unsafe { self.heap.dealloc(block.ptr, block.layout) };
            }
        }
    }

    /// Meets what is owed, now that there is enough; then gives all.
    fn finish(mut self) {
        self.below.turns(&self.books).fail(u64::MAX, u64::MAX);
        self.check_all();
        for layout in std::mem::take(&mut self.owed) {
            let Ok(made) = self.heap.alloc(layout) else { panic!("{layout:?} is refused for good") };
            self.slots.push(Some(Block::new(made, layout, 3)));
        }
        // Nothing at once is nothing.
        let one = Layout::new::<u64>();
        assert_eq!(self.heap.alloc_batch(one, &mut []), 0);
        // SAFETY: there is no block.
        unsafe { self.heap.dealloc_batch(one, &[]) };
        (0..self.slots.len()).for_each(|slot| self.step(Step::Give { slot }));
        self.heap.release_unused();
    }
}

/// Runs a scenario on a heap; gives how many requests there were below it.
fn run<H: Heap>(
    below: Below,
    make: &impl Fn(&Rc<Books>) -> Made<H>,
    steps: &[Step],
    failing: Failing,
    first: u64,
) -> u64 {
    let books = Rc::new(Books::default());
    let turns = below.turns(&books);
    match failing {
        Failing::None => {}
        Failing::One => turns.fail(first, first + 1),
        Failing::Rest => turns.fail(first, u64::MAX),
    }
    let heap = make(&books).or_else(|AllocError| {
        assert_ne!(failing, Failing::None, "it can't be made");
        assert_eq!(books.blocks(), 0, "a heap that can't be made keeps nothing");
        turns.fail(u64::MAX, u64::MAX);
        make(&books)
    });
    let Ok(heap) = heap else { panic!("it can't be made at the second try") };
    let mut run =
        Run { heap, books: Rc::clone(&books), below, failing, slots: vec![], owed: vec![], fill: 1 };
    steps.iter().for_each(|&step| run.step(step));
    let requests = turns.count();
    run.finish();
    assert_eq!(books.blocks(), 0, "blocks of the source are lost");
    requests
}

/// Every scenario, with each request failing once, and with all from it on.
fn every_request_fails<H: Heap>(below: Below, make: impl Fn(&Rc<Books>) -> Made<H>) {
    let scenarios = scenarios();
    assert!(scenarios.len() >= 20);
    let mut all = 0;
    for (name, steps) in scenarios {
        let requests = run(below, &make, &steps, Failing::None, 0);
        all += requests;
        for first in 0..requests {
            for failing in [Failing::One, Failing::Rest] {
                let said = Said(name, failing, first);
                run(below, &make, &steps, failing, first);
                drop(said);
            }
        }
    }
    assert!(all > 20, "{all} requests in all scenarios");
}

/// Says what was run, if the run panics.
struct Said(&'static str, Failing, u64);

impl Drop for Said {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Said(name, failing, first) = *self;
            let _ = writeln!(std::io::stderr(), "in `{name}`, {failing:?} from request {first}");
        }
    }
}

type Made<H> = Result<H, AllocError>;
type Blocks = SourceHeap<Via>;
type Room = SourceArena<Via, Sizing16MiB>;
/// A heap whose requests fail by the turns of heaps; its source never fails.
type Frail = Refusing<ByTurns, SourceHeap<Via>>;

fn blocks(books: &Rc<Books>) -> Blocks {
    SourceHeap::new(books.source())
}

fn room(books: &Rc<Books>, len: usize) -> Made<Room> {
    SourceArena::with_size(books.source(), len)
}

fn frail(books: &Rc<Books>) -> Frail {
    Refusing::new(ByTurns(Rc::clone(books)), blocks(books))
}

/// Writes a test for each row: `name: whose requests fail, a heap`.
macro_rules! rows {
    ($($name:ident: $below:ident, |$books:ident| $heap:expr;)*) => {$(
        #[test]
        fn $name() {
            every_request_fails(Below::$below, |$books| $heap);
        }
    )*};
}

rows! {
    source_heap: Source, |books| Ok(blocks(books));
    arena: Source, |books| room(books, 400_000);
    arena_bounded: Source, |books| SourceArena::<_, Bounded<Sizing16MiB>>::with_size(books.source(), 400_000);
    arena_checked: Source, |books| SourceArena::<_, Checked<Sizing16MiB>>::with_size(books.source(), 400_000);
    slab_heap: Source, |books| Ok(SlabHeap::<Classes, AlignedSlabs<_>, _, KeepAll, 8>::new(books.source(), blocks(books)));
    slab_heap_lean: Source, |books| Ok(SlabHeap::<Small, LargeSlabs<_>, _, ReleaseAtOnce, 0>::new(books.source(), blocks(books)));
    slab_heap_lists: Source, |books| {
        Ok(SlabHeap::<Small, AlignedSlabs<_, 0, IntrusiveList>, _, KeepSlabs<1>, 3>::new(books.source(), blocks(books)))
    };
    region_upward: Source, |books| Ok(Region::<_, Growing<512, 131_072>, Upward>::new(books.source()));
    region_downward: Source, |books| Ok(Region::<_, FixedChunks<4096>, Downward, 16>::new(books.source()));
    chain_of_arenas: Source, |books| Ok(Chain::<_, _>::new(Arenas::<Sizing16MiB, Growing<4096, 131_072>>::new(), books.source()));
    ring: Source, |books| Ok(Ring::new([(); 2].map(|()| Region::<_, Growing<512, 65_536>>::new(books.source()))));
    fallback: Source, |books| Ok(Fallback::new(room(books, 3000)?, blocks(books)));
    segregate: Source, |books| {
        let small = Chain::<_, _>::new(Arenas::<Sizing16MiB, FixedChunks<8192>>::new(), books.source());
        Ok(Segregate::<100, _, _>::new(small, blocks(books)))
    };
    per_class: Source, |books| Ok(Segregate::<32_768, _, _>::new(PerClass::<Classes, _>::from_fn(|_| blocks(books)), blocks(books)));
    free_lists: Heap, |books| Ok(FreeLists::<Small, _, AtMost<3>>::new(frail(books)));
    free_lists_refilled: Heap, |books| Ok(FreeLists::<Small, _, Adaptive<16>, 8>::new(frail(books)));
    quantize: Heap, |books| Ok(Quantize::<PowersOfTwo, _>::new(frail(books)));
    align_up: Heap, |books| Ok(AlignUp::<64, _>::new(frail(books)));
    affix: Heap, |books| Ok(Affix::<Requested, _, u32>::new(frail(books)));
    red_zones: Heap, |books| Ok(RedZones::<8, 16, _>::new(frail(books), Abort));
    quarantine: Heap, |books| Ok(Quarantine::<6, _>::with_bytes_max(frail(books), Abort, 4096));
    zeroing: Heap, |books| Ok(Zeroing::<OnBoth, _>::new(frail(books)));
    quota: Heap, |books| Ok(Quota::new(frail(books), usize::MAX));
    counted: Heap, |books| Ok(Counted::new(Totals::default(), frail(books)));
    tower: Heap, |books| {
        let lists = FreeLists::<Small, _, AtMost<8>>::new(Affix::<u64, _>::new(frail(books)));
        Ok(Fallback::new(room(books, 2000)?, Quota::new(AlignUp::<16, _>::new(lists), usize::MAX)))
    };
}

/// Caches of one layout, whose scenarios are of one layout too.
#[test]
fn slab_cores() {
    let one = |layout: Layout| -> Vec<Step> {
        let take = |slot| Step::Take { slot, layout, zeroed: slot % 2 == 0 };
        let give = |slot: usize| Step::Give { slot };
        let all = (0..100).map(take).chain((0..100).step_by(3).map(give));
        all.chain((0..100).step_by(3).map(take))
            .chain((0..100).rev().map(give))
            .chain((0..40).map(take))
            .collect()
    };
    let steps = one(Layout::new::<[u64; 5]>());
    fn check<H: Heap>(steps: &[Step], make: impl Fn(&Rc<Books>) -> H) {
        let make = |books: &Rc<Books>| Ok(make(books));
        let requests = run(Below::Source, &make, steps, Failing::None, 0);
        assert!(requests > 0);
        for first in 0..requests {
            run(Below::Source, &make, steps, Failing::One, first);
            run(Below::Source, &make, steps, Failing::Rest, first);
        }
    }
    check(&steps, |books| SlabCore::<AlignedSlabs<_, 512>, Exactly<40, 8>, KeepAll, 8>::new(books.source()));
    check(&steps, |books| {
        SlabCore::<AlignedSlabs<_, 512, IntrusiveList>, Exactly<40, 8>, ReleaseAtOnce, 0>::new(books.source())
    });
    check(&steps, |books| {
        SlabCore::<LargeSlabs<_, 700>, Exactly<40, 8>, KeepSlabs<1>, 3>::new(books.source())
    });
    // No heap behind a heap of slabs: what is too large is refused, and nothing is lost by it.
    let books = Rc::new(Books::default());
    let mut heap = SlabHeap::<Small, AlignedSlabs<_>, NoHeap, KeepAll, 4>::new(books.source(), NoHeap);
    assert!(heap.alloc(Layout::new::<[u8; 4000]>()).is_err());
    drop(heap);
    assert_eq!(books.blocks(), 0);
}
