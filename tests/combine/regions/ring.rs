//! `Ring` and `Frames`: what lives through which turn.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

use heapwright::combine::{Carried, FixedChunks, Region, Ring};
use heapwright::heap::{Heap, Locked, Owns, SharedHeap};
use heapwright::lock::{Lock, NoLock};
use heapwright::source::GlobalHeap;

use super::layout;
use super::shadow::{Parent, Shadow, assert_whole, never, parent};

fn turned<'a, const N: usize>(parent: &'a Parent, seed: u64) {
    let frame = || Region::<&'a Parent, FixedChunks<1024>>::new(parent);
    let mut ring: Ring<N, _> = Ring::new(std::array::from_fn(|_| frame()));
    let mut shadow = Shadow::new(seed, 2000);
    for frame in 0..20 {
        shadow.frame = frame;
        shadow.run(&mut ring, 40);
        assert!(shadow.blocks.iter().all(|block| ring.owns(block.at, block.layout)));
        for block in &shadow.blocks {
            block.assert_whole(block.layout.size());
        }
        // Those that are `N` frames old by then are not used again.
        shadow.blocks.retain(|block| block.frame + N > frame + 1);
        // SAFETY: as above.
        unsafe { ring.advance() };
        for block in &shadow.blocks {
            block.assert_whole(block.layout.size());
        }
    }
}

#[test]
fn blocks_live_through_as_many_turns_as_there_are_heaps() {
    let parent = parent(never, 0);
    for seed in 1..6 {
        turned::<1>(&parent, seed);
        turned::<2>(&parent, seed);
        turned::<5>(&parent, seed);
    }
    assert_whole(parent);
}

#[test]
fn a_heap_is_used_again_when_its_turn_comes() {
    let mut ring: Ring<3, Region<GlobalHeap>> = Ring::new([(); 3].map(|()| Region::new(GlobalHeap)));
    let mut starts = Vec::new();
    for _ in 0..9 {
        starts.push(ring.alloc(layout(100, 8)).expect("room").cast::<u8>());
        // SAFETY: blocks are not used again.
        unsafe { ring.advance() };
    }
    assert!(starts[0] == starts[3] && starts[1] == starts[4] && starts[5] == starts[8]);
    assert!(starts[0] != starts[1] && starts[1] != starts[2] && starts[0] != starts[2]);
}

type World = Locked<Ring<3, Region<GlobalHeap>>, NoLock>;

fn world() -> World {
    Locked::new(Ring::new([(); 3].map(|()| Region::new(GlobalHeap))))
}

/// A value that notes when it goes.
struct NotedIn<'x>(std::marker::PhantomData<&'x ()>);

/// The value and the list that notes it, which outlives the frames.
impl<'x> Carried for NotedIn<'x> {
    type In<'f> = (NotedBy<'x>, RefCell<allocator_api2_04::vec::Vec<u32, &'f World>>);
}

struct NotedBy<'x> {
    number: u32,
    gone: &'x RefCell<Vec<u32>>,
}

impl Drop for NotedBy<'_> {
    fn drop(&mut self) {
        self.gone.borrow_mut().push(self.number);
    }
}

#[test]
fn values_are_there_for_as_many_turns_and_then_dropped() {
    let gone = RefCell::new(Vec::new());
    let mut world = world();
    let mut frames = world.frames::<NotedIn<'_>>();
    for number in 0..8u32 {
        frames.step(|frame, earlier| {
            // The value whose frame this was went before its memory did.
            assert_eq!(gone.borrow().len(), number.saturating_sub(2) as usize);
            let mut list = allocator_api2_04::vec::Vec::new_in(frame);
            for age in 0..4 {
                let seen = earlier.with(age, |(noted, list)| {
                    // A value of an earlier frame may still change, in memory of this one.
                    list.borrow_mut().extend([number; 50]);
                    (noted.number, list.borrow().len())
                });
                let expected = (age == 1 || age == 2) && number >= age as u32;
                assert_eq!(seen.is_some(), expected, "frame {number}, age {age}");
                if let Some((seen, len)) = seen {
                    assert_eq!((seen, len), (number - age as u32, 3 + 50 * age));
                }
            }
            list.extend([1, 2, 3]);
            (NotedBy { number, gone: &gone }, RefCell::new(list))
        });
        let expected: Vec<u32> = (0..(number + 1).saturating_sub(3)).collect();
        assert_eq!(*gone.borrow(), expected);
        assert_eq!(frames.newest(|(noted, _)| noted.number), Some(number));
    }
    drop(frames);
    assert_eq!(gone.borrow().len(), 8);
    let mut again = world.frames::<NotedIn<'_>>();
    assert_eq!(again.newest(|_| ()), None);
    again.step(|frame, _| {
        (NotedBy { number: 100, gone: &gone }, RefCell::new(allocator_api2_04::vec::Vec::new_in(frame)))
    });
}

#[test]
fn a_frame_that_panics_has_no_value() {
    let gone = RefCell::new(Vec::new());
    let mut world = world();
    let mut frames = world.frames::<NotedIn<'_>>();
    for number in 0..10 {
        let panics = number % 3 == 1;
        let step = AssertUnwindSafe(|| {
            frames.step(|frame, _| {
                let noted = NotedBy { number, gone: &gone };
                let mut list = allocator_api2_04::vec::Vec::new_in(frame);
                list.extend(0..1000);
                assert!(!panics, "on purpose");
                (noted, RefCell::new(list))
            });
        });
        assert_eq!(catch_unwind(step).is_err(), panics);
        assert_eq!(frames.newest(|(noted, _)| noted.number), (!panics).then_some(number));
    }
    drop(frames);
    let mut gone = gone.into_inner();
    gone.sort_unstable();
    assert_eq!(gone, (0..10).collect::<Vec<_>>(), "each once");
}

thread_local! {
    static ENTERED: Cell<bool> = const { Cell::new(false) };
}

/// A lock that takes whoever comes while `ENTERED` is set for one who has it already.
struct Entered(NoLock);

// SAFETY: L1 to L4: those of the lock within, and what that would do may be refused.
unsafe impl Lock for Entered {
    const INIT: Self = Entered(NoLock::INIT);

    fn with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        if ENTERED.get() { None } else { self.0.with(work) }
    }

    fn try_with<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        self.with(work)
    }
}

/// A value without memory of its frame.
struct Number;

impl Carried for Number {
    type In<'f> = u32;
}

#[test]
fn a_ring_that_can_not_turn_stays_where_it_is() {
    let regions = [(); 2].map(|()| Region::<GlobalHeap>::new(GlobalHeap));
    let mut world = Locked::<_, Entered>::new(Ring::new(regions));
    let mut frames = world.frames::<Number>();
    frames.step(|_, _| 1);
    ENTERED.set(true);
    frames.step(|_, _| unreachable!("there is no frame for it"));
    ENTERED.set(false);
    assert_eq!(frames.newest(|&number| number), Some(1));
    frames.step(|_, earlier| {
        assert_eq!(earlier.with(1, |&number| number), Some(1));
        2
    });
    assert_eq!(frames.newest(|&number| number), Some(2));
    // SAFETY: the closure only reads the core.
    assert_eq!(unsafe { frames.ring().enter(|ring| ring.turn()) }, Ok(0));
    drop(frames);
    assert_eq!(world.get_mut().turn(), 0, "two turns of two");
}
