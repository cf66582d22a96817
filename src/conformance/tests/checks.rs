//! The check itself: how it ends, and what it says of heaps that can't even be made.

use core::alloc::Layout;
use core::cell::Cell;
use core::fmt;
use core::ptr::NonNull;
use std::boxed::Box;
use std::sync::Arc;

use crate::AllocError;
use crate::conformance::run::Run;
use crate::conformance::script::{Op, Size, Way};
use crate::conformance::source_face::SourceFace;
use crate::conformance::subject::{Face, Subject};
use crate::conformance::supply::{Injection, Ledger};
use crate::conformance::{self, Law, Source};
use crate::describe::{Cost, Describe, Tree};
use crate::heap::{Heap, NoHeap};
use crate::source::{BackingSource, SourceHeap};

/// A heap that forgets to give blocks back.
struct Leaky(Source);

// SAFETY: every block is one of the source's.
unsafe impl Heap for Leaky {
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.0.acquire(layout)
    }

    unsafe fn dealloc(&mut self, _: NonNull<u8>, _: Layout) {}
}

#[test]
#[should_panic(expected = "breaks NothingLost")]
fn a_check_stops_the_test() {
    conformance::heap_over(Leaky).check();
}

#[test]
fn a_heap_of_single_bytes_has_scripts_too() {
    let outcome = conformance::heap_over(|source: Source| SourceHeap::new(source)).sizes_to(1).run();
    assert_eq!(outcome.map_err(|failure| failure.law()), Ok(()));
    let outcome = conformance::heap_over(Leaky).sizes_to(0).run();
    assert_eq!(outcome.map_err(|failure| failure.law()), Err(Law::NothingLost));
}

#[test]
fn a_heap_that_is_never_made_is_found() {
    let outcome = conformance::try_heap_over(|_: Source| Err::<NoHeap, ()>(())).run();
    assert_eq!(outcome.map_err(|failure| failure.law()), Err(Law::Makes));
}

/// Made for all scripts, and not for one of the two passes on a whole heap.
#[test]
fn a_heap_that_is_not_always_made_is_found() {
    let made = Cell::new(0);
    let run = |last: usize| {
        made.set(0);
        let make = |source: Source| {
            made.set(made.get() + 1);
            if made.get() > last { Err(()) } else { Ok(SourceHeap::new(source)) }
        };
        let outcome = conformance::try_heap_over(make).scripts(1).ops(10).failures(1).run();
        outcome.map_err(|failure| failure.law())
    };
    assert_eq!(run(usize::MAX), Ok(()));
    let all = made.get();
    assert_eq!(run(all), Ok(()));
    assert_eq!(run(all - 1), Err(Law::Makes));
    assert_eq!(run(all - 2), Err(Law::Makes));
}

/// A heap that says nothing of itself, or no more than that it has one within.
struct Mute<const WITHIN: bool>;

// SAFETY: no block is ever handed out.
unsafe impl<const WITHIN: bool> Heap for Mute<WITHIN> {
    fn alloc(&mut self, _: Layout) -> Result<NonNull<[u8]>, AllocError> {
        Err(AllocError)
    }

    unsafe fn dealloc(&mut self, _: NonNull<u8>, _: Layout) {}
}

impl<const WITHIN: bool> Describe for Mute<WITHIN> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        if WITHIN {
            tree.part(format_args!("Around"), Cost::NONE, &[("heap", Mute::<false>::describe)])
        } else {
            Ok(())
        }
    }
}

#[test]
fn a_description_without_a_line_for_each_part_is_found() {
    let law = |outcome: Result<(), conformance::Failure>| outcome.map_err(|failure| failure.law());
    assert_eq!(law(conformance::heap(|| Mute::<false>).describes().run()), Err(Law::Describes));
    assert_eq!(law(conformance::heap(|| Mute::<true>).describes().run()), Err(Law::Describes));
    assert_eq!(law(conformance::heap(|| NoHeap).describes().run()), Ok(()));
}

/// A heap that gives up after it was asked so often for good sizes.
struct Tired(Cell<usize>);

// SAFETY: no block is ever handed out. H3: broken, which is the point.
unsafe impl Heap for Tired {
    fn alloc(&mut self, _: Layout) -> Result<NonNull<[u8]>, AllocError> {
        Err(AllocError)
    }

    unsafe fn dealloc(&mut self, _: NonNull<u8>, _: Layout) {}

    fn good_size(&self, layout: Layout) -> usize {
        self.0.set(self.0.get() + 1);
        assert!(self.0.get() < 1200, "too often");
        layout.size()
    }
}

/// A fault that takes a script of hundreds of steps: the search for a shorter one ends some time.
#[test]
#[cfg(not(miri))]
fn a_fault_that_takes_a_long_script_is_told_all_the_same() {
    let made = Cell::new(0);
    let make = || {
        made.set(made.get() + 1);
        Tired(Cell::new(0))
    };
    let failure = conformance::heap(make).scripts(1).ops(3000).sizes_to(64).aligns_to(8).run().unwrap_err();
    assert_eq!((failure.law(), failure.text()), (Law::NoUnwinding, "too often"));
    assert!(failure.steps().len() > 100, "each step asks a few times");
    assert!((1500..1700).contains(&made.get()), "{} heaps were made", made.get());
}

/// A source has no other alignment for a block, and none with that one: it is not asked.
#[test]
fn a_resize_to_no_layout_is_left_out() {
    let ledger = Ledger::new(Injection::NONE);
    let mut subject: Box<dyn Subject> = SourceFace::<Source>::NEW.subject(Source::new(Arc::clone(&ledger)));
    let mut run = Run::new(&mut *subject, Some(&ledger), 9);
    let alloc = Op::Alloc { size: Size::Bytes(24), align: 6, way: Way::Plain };
    let resize = Op::Resize { pick: 0, size: Size::Huge(0), align: Some(0), slack: 0, way: Way::Plain };
    assert_eq!((run.step(alloc), run.step(resize)), (Ok(()), Ok(())));
    assert_eq!((ledger.blocks(), ledger.calls()), (1, 1));
    assert_eq!(run.finish(), Ok(()));
    assert_eq!(ledger.blocks(), 0);
}
