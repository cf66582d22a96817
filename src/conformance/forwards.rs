//! Whether a heap around another one passes requests on as what they are.

use core::alloc::Layout;
use core::any::type_name;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use std::borrow::ToOwned;
use std::boxed::Box;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::failure::{Failure, Report};
use super::law::Law;
use super::probe::{Call, Probe};
use super::run::guarded;
use super::shadow::{Outcome, ensure};
use crate::check::{Finding, Ignore, Misuse, Wrong};
use crate::heap::{Heap, Owns, Reset};

/// Checks that a heap around another one passes each request on as what it is: a wrapper that forgets `resize_in_place` or `resize`
/// takes growth in place from everything above it, and says nothing; one that forgets `take_finding` keeps to itself what the heap within has found
/// wrong, and one that forgets `judge` has it asked too late.
///
/// The closure puts the heap around a [`Probe`].
///
/// ```
/// use core::{alloc::Layout, ptr::NonNull};
/// use heapwright::AllocError;
/// use heapwright::conformance::{Call, forwards};
/// use heapwright::heap::Heap;
///
/// struct Thin<P>(P);
/// // SAFETY: all is the heap's within.
/// unsafe impl<P: Heap> Heap for Thin<P> {
///     fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
///         self.0.alloc(layout)
///     }
///     unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
///         // SAFETY: the caller's promise is the same.
///         unsafe { self.0.dealloc(ptr, layout) }
///     }
/// }
/// let missing = forwards(Thin).missing();
/// assert!(missing.contains(&Call::ResizeInPlace) && !missing.contains(&Call::Alloc));
/// ```
pub fn forwards<'a, H: Heap>(make: impl Fn(Probe) -> H + 'a) -> Forwards<'a, H> {
    let calls = [
        Call::Alloc,
        Call::Dealloc,
        Call::AllocZeroed,
        Call::ResizeInPlace,
        Call::Resize,
        Call::GoodSize,
        Call::AllocBatch,
        Call::DeallocBatch,
        Call::ReleaseUnused,
        Call::Judge,
        Call::TakeFinding,
    ];
    let layout = Layout::new::<[u64; 5]>();
    Forwards { make: Box::new(make), calls: calls.to_vec(), layout, owns: None, reset: None }
}

/// Where the heap within has found something wrong.
const FOUND_AT: usize = 0x1000;

/// `owns` and `try_dealloc`.
type OwnsFns<H> = (fn(&H, NonNull<u8>, Layout) -> bool, unsafe fn(&mut H, NonNull<u8>, Layout) -> bool);

/// A check of what a heap passes on: see [`forwards`].
#[must_use = "a check does nothing until it is run"]
pub struct Forwards<'a, H> {
    make: Box<dyn Fn(Probe) -> H + 'a>,
    calls: Vec<Call>,
    layout: Layout,
    owns: Option<OwnsFns<H>>,
    reset: Option<unsafe fn(&mut H)>,
}

impl<H> fmt::Debug for Forwards<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwards").field("calls", &self.calls).finish_non_exhaustive()
    }
}

impl<H: Heap> Forwards<'_, H> {
    /// The layout of the blocks that are asked for; one of 40 bytes, aligned to 8, otherwise. For heaps that pass
    /// some layouts on and others not.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// A call that this heap has a reason not to pass on.
    pub fn except(mut self, call: Call) -> Self {
        self.calls.retain(|&other| other != call);
        self
    }

    /// `alloc_at_hand` and `dealloc_at_hand` are passed on too.
    pub fn at_hand(mut self) -> Self {
        self.calls.extend([Call::AllocAtHand, Call::DeallocAtHand]);
        self
    }

    /// `owns` and `try_dealloc` are passed on too.
    pub fn owns(mut self) -> Self
    where
        H: Owns,
    {
        self.owns = Some((H::owns, H::try_dealloc));
        self.calls.extend([Call::Owns, Call::TryDealloc]);
        self
    }

    /// `reset` is passed on too.
    pub fn resets(mut self) -> Self
    where
        H: Reset,
    {
        self.reset = Some(H::reset);
        self.calls.push(Call::Reset);
        self
    }

    /// The calls that are not passed on.
    #[must_use]
    pub fn missing(&self) -> Vec<Call> {
        self.calls.iter().copied().filter(|&call| self.call(call).is_err()).collect()
    }

    /// Runs the check.
    ///
    /// # Panics
    /// When a call is not passed on, with the [`Failure`].
    #[track_caller]
    pub fn check(&self) {
        if let Err(failure) = self.run() {
            panic!("{failure}");
        }
    }

    /// Runs the check.
    ///
    /// # Errors
    /// The first call that is not passed on.
    pub fn run(&self) -> Result<(), Failure> {
        self.calls.iter().try_for_each(|&call| {
            self.call(call).map_err(|(law, text)| {
                let (name, pass) = (type_name::<H>().to_owned(), format!("a call of {call:?}"));
                Failure::new(law, Report { name, text, steps: Vec::new(), pass, seed: 0, tree: None })
            })
        })
    }

    /// Makes one call on a heap around a fresh probe, and looks what the probe got.
    fn call(&self, call: Call) -> Outcome {
        let probe = Probe::new();
        let mut heap = (self.make)(probe.clone());
        let layout = self.layout;
        let live = if needs_block(call) { Some(guarded(|| heap.alloc(layout))?) } else { None };
        let live = match live {
            Some(Ok(block)) => Some(block.cast::<u8>()),
            Some(Err(_)) => return Err((Law::Forwards, format!("{layout:?} is refused"))),
            None => None,
        };
        // A shell may try what is at hand first.
        let calls = || match call {
            Call::Alloc => probe.calls(call) + probe.calls(Call::AllocAtHand),
            Call::Dealloc => probe.calls(call) + probe.calls(Call::DeallocAtHand),
            _ => probe.calls(call),
        };
        let before = calls();
        if call == Call::TakeFinding {
            probe.find(Finding::new::<Ignore>(Misuse::new(Wrong::Foreign, FOUND_AT, layout)));
        }
        let (done, text) = guarded(|| self.make_call(&mut heap, call, live))?;
        ensure!(done, Forwards, "{call:?} {text}");
        let got = calls() - before;
        ensure!(got > 0, Forwards, "{call:?} is not passed on: the heap within got {probe:?}");
        Ok(())
    }

    /// Makes the call; says whether it was met as it can be, and what came of it.
    fn make_call(&self, heap: &mut H, call: Call, live: Option<NonNull<u8>>) -> (bool, String) {
        let layout = self.layout;
        let ptr = live.unwrap_or(NonNull::dangling());
        // No more than half as much again: the probe has room for that, whatever is put beside it.
        let more = Layout::from_size_align(layout.size() + layout.size().div_ceil(2), layout.align());
        let more = more.unwrap_or(layout);
        let mut out = [MaybeUninit::uninit(); 3];
        match call {
            Call::Alloc => (heap.alloc(layout).is_ok(), "is refused".into()),
            Call::AllocZeroed => (heap.alloc_zeroed(layout).is_ok(), "is refused".into()),
            Call::AllocAtHand => (heap.alloc_at_hand(layout).is_some(), "is refused".into()),
            Call::GoodSize => (heap.good_size(layout) >= layout.size(), "is less than the size".into()),
            Call::AllocBatch => (heap.alloc_batch(layout, &mut out) == 3, "is refused".into()),
            Call::ReleaseUnused => (heap.release_unused() == 0, "finds something".into()),
            Call::Dealloc => {
                // SAFETY: the block is live, and its layout this one.
                unsafe { heap.dealloc(ptr, layout) };
                (true, String::new())
            }
            Call::DeallocBatch => {
                // SAFETY: the block is live, and its layout this one.
                unsafe { heap.dealloc_batch(layout, &[ptr]) };
                (true, String::new())
            }
            Call::DeallocAtHand => {
                // SAFETY: the block is live, and its layout this one.
                (unsafe { heap.dealloc_at_hand(ptr, layout) }, "is refused".into())
            }
            Call::ResizeInPlace => {
                // SAFETY: the block is live, and its layout this one.
                let grown = unsafe { heap.resize_in_place(ptr, layout, more) };
                let same = grown.is_ok_and(|grown| grown.cast() == ptr);
                (same, format!("to {} bytes gives {grown:?} for {ptr:?}", more.size()))
            }
            Call::Resize => {
                // SAFETY: the block is live, and its layout this one.
                let grown = unsafe { heap.resize(ptr, layout, more) };
                let same = grown.is_ok_and(|grown| grown.cast() == ptr);
                (same, format!("to {} bytes gives {grown:?} for {ptr:?}", more.size()))
            }
            // SAFETY: the block is live, and its layout this one.
            Call::Judge => (unsafe { heap.judge(ptr, layout) }, "finds it wrong".into()),
            Call::Owns => (self.owns.is_some_and(|(owns, _)| owns(heap, ptr, layout)), "denies".into()),
            Call::TryDealloc => {
                // SAFETY: the block is live, and its layout this one.
                let done =
                    self.owns.is_some_and(|(_, try_dealloc)| unsafe { try_dealloc(heap, ptr, layout) });
                (done, "denies".into())
            }
            Call::TakeFinding => {
                let found = heap.take_finding().map(|finding| finding.misuse().address);
                let done = H::CHECKS && found == Some(FOUND_AT);
                (done, format!("finds {found:x?} of {FOUND_AT:x?}, and `CHECKS` is {}", H::CHECKS))
            }
            Call::Reset => {
                // SAFETY: there is no live block.
                let done = self.reset.map(|reset| unsafe { reset(heap) });
                (done.is_some(), "is not there".into())
            }
        }
    }
}

/// Whether a call is one on a live block.
fn needs_block(call: Call) -> bool {
    use Call::{Dealloc, DeallocAtHand, DeallocBatch, Judge, Owns, Resize, ResizeInPlace, TryDealloc};
    matches!(
        call,
        Dealloc | DeallocAtHand | DeallocBatch | Judge | Owns | Resize | ResizeInPlace | TryDealloc
    )
}
