//! Broken shells, and heaps around others that forget to pass something on.

use core::alloc::Layout;
use core::ptr::NonNull;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread::{self, ThreadId};

use super::all_found;
use crate::AllocError;
use crate::check::Finding;
use crate::conformance::{Call, Failure, Law, Probe, Source, forwards, shared_over};
use crate::heap::{Heap, Locked, SharedHeap};
use crate::lock::SpinLock;
use crate::source::SourceHeap;

/// What a [`Mutant`] does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Nothing,
    RefusesSizeZero,
    MisalignsSizeZero,
    /// Size zero reaches the core, which finds no such block.
    FreesSizeZero,
    /// A resize to size zero keeps the block.
    KeepsOnShrinkToZero,
    ResizeZeroesNothing,
    ResizeZeroesTooMuch,
    ZeroesNothing,
    /// A block is lost if another thread frees it than the one that has it from the heap.
    LosesWhatOthersFree,
}

/// A shell around a core over a source, that breaks one law.
struct Mutant {
    wrong: Wrong,
    heap: Locked<SourceHeap<Source>, SpinLock>,
    /// Which thread has asked for which block.
    owners: Mutex<BTreeMap<usize, ThreadId>>,
}

type Core = SourceHeap<Source>;

// SAFETY: none for most, which is the point; all memory is the source's, and lasts longer than the run.
unsafe impl SharedHeap for Mutant {
    type Core<'a> = Core;

    unsafe fn enter<'s, R>(&'s self, work: impl FnOnce(&mut Self::Core<'s>) -> R) -> Result<R, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.heap.enter(work) }
    }

    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            match self.wrong {
                Wrong::RefusesSizeZero => return Err(AllocError),
                Wrong::MisalignsSizeZero => return Ok(NonNull::slice_from_raw_parts(NonNull::dangling(), 0)),
                _ => {}
            }
        }
        let made = self.heap.try_alloc(layout);
        if let (Ok(block), Wrong::LosesWhatOthersFree) = (made, self.wrong) {
            self.owners.lock().unwrap().insert(block.cast::<u8>().addr().get(), thread::current().id());
        }
        made
    }

    fn try_alloc_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if self.wrong == Wrong::ZeroesNothing {
            self.try_alloc(layout)
        } else {
            self.heap.try_alloc_zeroed(layout)
        }
    }

    unsafe fn free(&self, ptr: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 && self.wrong == Wrong::FreesSizeZero {
            // SAFETY: none, but the source notes it.
            let work = |core: &mut Core| unsafe { core.dealloc(ptr, Layout::new::<u8>()) };
            // SAFETY: the closure only calls the core.
            let _ = unsafe { self.enter(work) };
        }
        if self.wrong == Wrong::LosesWhatOthersFree && layout.size() > 0 {
            let owner = self.owners.lock().unwrap().remove(&ptr.addr().get());
            if owner.is_some_and(|owner| owner != thread::current().id()) {
                return;
            }
        }
        // SAFETY: the caller's promise is the same.
        unsafe { self.heap.free(ptr, layout) };
    }

    unsafe fn try_resize(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if new.size() == 0 && self.wrong == Wrong::KeepsOnShrinkToZero {
            return Ok(NonNull::slice_from_raw_parts(crate::mem::dangling(new), 0));
        }
        // SAFETY: the caller's promise is the same.
        unsafe { self.heap.try_resize(ptr, old, new) }
    }

    unsafe fn try_resize_zeroed(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if self.wrong == Wrong::ResizeZeroesNothing {
            // SAFETY: the caller's promise is the same.
            return unsafe { self.heap.try_resize(ptr, old, new) };
        }
        // SAFETY: the caller's promise is the same.
        let block = unsafe { self.heap.try_resize_zeroed(ptr, old, new) }?;
        if self.wrong == Wrong::ResizeZeroesTooMuch && !block.is_empty() {
            // SAFETY: the block is so long.
            unsafe { block.cast::<u8>().write_bytes(0, block.len()) };
        }
        Ok(block)
    }
}

fn check(wrong: Wrong) -> Result<(), Failure> {
    let make =
        |source| Mutant { wrong, heap: Locked::new(SourceHeap::new(source)), owners: Mutex::default() };
    shared_over(make).moves().threads().run()
}

#[test]
fn a_sound_shell_passes() {
    if let Err(failure) = check(Wrong::Nothing) {
        panic!("{failure}");
    }
}

const MUTANTS: &[(Wrong, Law)] = &[
    (Wrong::RefusesSizeZero, Law::SizeZero),
    (Wrong::MisalignsSizeZero, Law::Blocks),
    (Wrong::FreesSizeZero, Law::SourceUse),
    (Wrong::KeepsOnShrinkToZero, Law::NothingLost),
    (Wrong::ResizeZeroesNothing, Law::Zeroed),
    (Wrong::ResizeZeroesTooMuch, Law::Kept),
    (Wrong::ZeroesNothing, Law::Zeroed),
    (Wrong::LosesWhatOthersFree, Law::NothingLost),
];

#[test]
fn every_mutant_is_found() {
    all_found(MUTANTS, check);
}

/// A heap that lets the core be entered again, from within.
struct Reentered(std::cell::UnsafeCell<SourceHeap<Source>>);

// SAFETY: none, which is the point: the core of such a heap has no state that a second `&mut` could meet half changed.
unsafe impl SharedHeap for Reentered {
    type Core<'a> = Core;

    unsafe fn enter<'s, R>(&'s self, work: impl FnOnce(&mut Self::Core<'s>) -> R) -> Result<R, AllocError> {
        // SAFETY: see above.
        Ok(work(unsafe { &mut *self.0.get() }))
    }
}

#[test]
fn a_way_back_in_is_found() {
    let failure = shared_over(|source| Reentered(SourceHeap::new(source).into())).refuses_reentry().run();
    assert_eq!(failure.map_err(|failure| failure.law()), Err(Law::NoWayBack));
}

/// A heap around another one that passes on what [`Heap`] demands, and nothing else.
struct Thin<P>(P);

// SAFETY: all is the heap's within.
unsafe impl<P: Heap> Heap for Thin<P> {
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.0.alloc(layout)
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.dealloc(ptr, layout) };
    }
}

/// Passes findings on, and does not say so.
struct Silent<P>(Thin<P>);

// SAFETY: all is the heap's within.
unsafe impl<P: Heap> Heap for Silent<P> {
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.0.alloc(layout)
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.dealloc(ptr, layout) };
    }

    fn take_finding(&mut self) -> Option<Finding> {
        self.0.0.take_finding()
    }
}

/// Says that it passes findings on, and throws them away.
struct Losing<P>(Thin<P>);

// SAFETY: all is the heap's within.
unsafe impl<P: Heap> Heap for Losing<P> {
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.0.alloc(layout)
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.dealloc(ptr, layout) };
    }

    const CHECKS: bool = P::CHECKS;

    fn take_finding(&mut self) -> Option<Finding> {
        self.0.0.take_finding();
        None
    }
}

#[test]
fn findings_that_get_lost_are_found() {
    let misses = |missing: std::vec::Vec<Call>| missing.contains(&Call::TakeFinding);
    assert!(misses(forwards(Thin).missing()));
    assert!(misses(forwards(|probe| Silent(Thin(probe))).missing()));
    assert!(misses(forwards(|probe| Losing(Thin(probe))).missing()));
    assert!(!misses(forwards(|probe: Probe| probe).missing()));
}

#[test]
fn what_is_not_passed_on_is_found() {
    let missing = forwards(Thin).missing();
    assert_eq!(
        missing,
        [
            Call::AllocZeroed,
            Call::ResizeInPlace,
            Call::Resize,
            Call::GoodSize,
            Call::AllocBatch,
            Call::DeallocBatch,
            Call::ReleaseUnused,
            Call::Judge,
            Call::TakeFinding
        ]
    );
    assert_eq!(forwards(|probe: Probe| probe).at_hand().owns().resets().missing(), []);
    let failure = forwards(Thin).run().map_err(|failure| failure.law());
    assert_eq!(failure, Err(Law::Forwards));
    assert!(!forwards(Thin).except(Call::Resize).missing().contains(&Call::Resize));
}

#[test]
#[should_panic(expected = "breaks Forwards: a wrapper passes each request on as what it is")]
fn a_check_of_what_is_passed_on_stops_the_test() {
    forwards(Thin).check();
}
