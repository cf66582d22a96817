//! The check: what is under test, and how much is done.

use core::any::type_name;
use core::fmt;
use std::borrow::ToOwned;
use std::boxed::Box;
use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

use super::engine::{Engine, settle};
use super::failure::Failure;
use super::law::Law;
use super::plan::Plan;
use super::run::{Fault, guarded};
use super::subject::Face;
use super::supply::{Injection, Ledger};
use crate::AllocError;

/// How a subject is made of a source's ledger.
type Make<'a, H> = Box<dyn Fn(&Arc<Ledger>) -> Result<H, AllocError> + 'a>;

/// A check of a heap, an allocator or a source: what is checked, and how much is done.
///
/// The functions of [the module](super) make one. [`check`](Check::check) runs it, or [`run`](Check::run) where the failure is wanted as a
/// value.
///
/// ```
/// use heapwright::conformance;
/// use heapwright::source::{GlobalHeap, SourceHeap};
/// conformance::heap(|| SourceHeap::new(GlobalHeap)).seed(7).scripts(2).ops(100).sizes_to(500).check();
/// ```
#[must_use = "a check does nothing until it is run"]
pub struct Check<'a, F: Face> {
    pub(super) face: F,
    make: Make<'a, F::Heap>,
    /// Whether there is a source to fail and to count.
    over_source: bool,
    name: String,
    plan: Plan,
    all_back: bool,
}

impl<F: Face + fmt::Debug> fmt::Debug for Check<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("name", &self.name).field("face", &self.face).finish_non_exhaustive()
    }
}

impl<'a, F: Face> Check<'a, F> {
    pub(super) fn new(
        face: F,
        over_source: bool,
        make: impl Fn(&Arc<Ledger>) -> Result<F::Heap, AllocError> + 'a,
    ) -> Self {
        let name = type_name::<F::Heap>().to_owned();
        Check { face, make: Box::new(make), over_source, name, plan: Plan::new(), all_back: false }
    }

    /// The name in reports, which is the type's otherwise.
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// The seed that scripts are drawn from; otherwise it is a fixed one, or `HEAPWRIGHT_TEST_SEED`.
    pub fn seed(mut self, seed: u64) -> Self {
        self.plan.seed = seed;
        self
    }

    /// How many random scripts there are.
    pub fn scripts(mut self, scripts: usize) -> Self {
        self.plan.scripts = scripts;
        self
    }

    /// Operations of each random script.
    pub fn ops(mut self, ops: usize) -> Self {
        self.plan.ops = ops;
        self
    }

    /// The largest size that is asked for as a rule, in bytes; extremes are asked for all the same. For heaps that have no
    /// larger blocks, or have them by other means.
    pub fn sizes_to(mut self, size_max: usize) -> Self {
        self.plan.range.size_max = size_max.max(1);
        self
    }

    /// The largest alignment that is asked for as a rule, in bytes: a power of two, 8 KiB otherwise.
    pub fn aligns_to(mut self, align_max: usize) -> Self {
        self.plan.range.align_max = align_max.next_power_of_two();
        self
    }

    /// Blocks that are live at once, at most.
    pub fn live_to(mut self, live_max: usize) -> Self {
        self.plan.live_max = live_max;
        self
    }

    /// How many requests of the source are made to fail, each in runs of its own: alone, and with all after it.
    pub fn failures(mut self, failures: u64) -> Self {
        self.plan.failures = failures;
        self
    }

    /// When no block is live, `release_unused` gives the source all that it gave, and says so. For heaps right over the source.
    pub fn gives_all_back(mut self) -> Self {
        self.all_back = true;
        self
    }

    /// Runs the check.
    ///
    /// # Panics
    /// When a law is broken, with the [`Failure`].
    #[track_caller]
    pub fn check(&self) {
        if let Err(failure) = self.run() {
            panic!("{failure}");
        }
    }

    /// Runs the check.
    ///
    /// # Errors
    /// The first law found broken.
    pub fn run(&self) -> Result<(), Failure> {
        let make = |ledger: &Arc<Ledger>| {
            let heap = guarded(|| (self.make)(ledger))?;
            Ok(heap.ok().map(|heap| self.face.subject(heap)))
        };
        let tree = || self.face.tree();
        let Check { ref name, ref plan, over_source, all_back, .. } = *self;
        let engine = Engine { make: &make, tree: &tree, name, plan, over_source, all_back };
        engine.run()?;
        self.whole_heap(&engine, "threads", |heap, _| self.face.threads(heap, &self.plan))?;
        self.whole_heap(&engine, "a source that calls back", |heap, ledger| self.face.reenter(heap, ledger))
    }

    /// Runs something else on a whole heap.
    fn whole_heap(
        &self,
        engine: &Engine<'_>,
        pass: &str,
        run: impl FnOnce(&F::Heap, &Ledger) -> Option<Result<(), Fault>>,
    ) -> Result<(), Failure> {
        let ledger = Ledger::new(Injection::NONE);
        let fail = |(law, text)| engine.failure(Fault { law, text }, Vec::new(), pass);
        let heap = guarded(|| (self.make)(&ledger)).map_err(fail)?;
        let heap = heap.map_err(|AllocError| fail((Law::Makes, "it can't be made".to_owned())))?;
        match run(&heap, &ledger) {
            None => Ok(()),
            Some(Err(fault)) => {
                core::mem::forget(heap);
                Err(engine.failure(fault, Vec::new(), pass))
            }
            Some(Ok(())) => {
                guarded(|| drop(heap)).map_err(fail)?;
                settle(&ledger).map_err(fail)
            }
        }
    }
}
