//! Sequences of operations that shrink: what fails is found again with the fewest of them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use heapwright::cache::{KeepAll, KeepSlabs, ObjectCache, ReleaseAtOnce};
use heapwright::lock::NoLock;
use heapwright::slab::{AlignedSlabs, Bitmap, Colored, IndexStack, LargeSlabs};
use quickcheck::{Arbitrary, Gen, QuickCheck, TestResult};

use super::ledger::{Ledger, Via};
use super::random::{operations, setting};
use super::subject::Subject;
use super::tester::{Op, Tester, end};
use super::witness::{ByDefault, Fallible, Initialiser, Placed, PlacedReset, Witness};

/// Operations of the longest sequence.
const LEN_MAX: usize = 300;

#[derive(Clone, Debug)]
struct Sequence(Vec<Op>);

impl Arbitrary for Op {
    fn arbitrary(g: &mut Gen) -> Self {
        let (pick, many) = (u16::arbitrary(g), u8::arbitrary(g) % 40);
        match u8::arbitrary(g) % 100 {
            0..50 => Op::Alloc { changed: bool::arbitrary(g) },
            50..86 => Op::Free(pick),
            86..88 => Op::Destroy(pick),
            88..90 => Op::MoveOut(pick),
            90..92 => Op::AllocMany(many),
            92..94 => Op::FreeMany(many),
            94..96 => Op::Trim(many % 5),
            96..97 => Op::Reap,
            _ => Op::Tick,
        }
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        match *self {
            Op::Free(pick) => Box::new(pick.shrink().map(Op::Free)),
            Op::AllocMany(many) => Box::new(many.shrink().map(Op::AllocMany)),
            Op::FreeMany(many) => Box::new(many.shrink().map(Op::FreeMany)),
            Op::Trim(keep) => Box::new(keep.shrink().map(Op::Trim)),
            Op::Destroy(pick) | Op::MoveOut(pick) => Box::new(std::iter::once(Op::Free(pick))),
            Op::Alloc { .. } | Op::Reap | Op::Tick => Box::new(std::iter::empty()),
        }
    }
}

impl Arbitrary for Sequence {
    fn arbitrary(g: &mut Gen) -> Self {
        // More than is given back, so that it grows, in most of them.
        Sequence((0..LEN_MAX).map(|_| Op::arbitrary(g)).collect())
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        Box::new(self.0.shrink().map(Sequence))
    }
}

/// Runs a sequence on a cache, with an audit every few operations; then drops it, and looks for what is left.
fn run<S: Subject>(cache: S, front: usize, ledger: &Ledger, ops: &[Op]) {
    ledger.watch.set(Some(super::objects::in_the_way));
    let mut tester = Tester::new("sequence", &cache, front);
    for (number, &op) in ops.iter().enumerate() {
        tester.step(op);
        if number % 5 == 0 {
            tester.audit();
        }
    }
    tester.finish();
    end("sequence", cache, ledger);
}

/// Runs a sequence, and tells how it went.
fn outcome(runs: fn(&[Op]), sequence: &Sequence) -> TestResult {
    match catch_unwind(AssertUnwindSafe(|| runs(&sequence.0))) {
        Ok(()) => TestResult::passed(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| String::from(*text)));
            TestResult::error(format!("{sequence:?}: {}", text.unwrap_or_default()))
        }
    }
}

/// # Panics
/// When a sequence fails: with the seed, and the shortest found that does.
fn check(property: fn(Sequence) -> TestResult) {
    let seed = setting("HEAPWRIGHT_CACHE_SEED").unwrap_or(0x0B1EC75);
    let count = (operations() / 25).max(2) as u64;
    let mut driver = QuickCheck::new().rng(Gen::from_size_and_seed(LEN_MAX, seed)).tests(count);
    if let Err(failure) = driver.quicktest(property) {
        panic!("run again with HEAPWRIGHT_CACHE_SEED={seed:#x}\n{failure:?}");
    }
}

macro_rules! sequences {
    ($($name:ident: $size:literal $align:literal, $init:ty, $slabs:ident<$lazy:literal, $slab_size:literal, $kind:ty>, $policy:ty, $front:literal;)+) => {$(
        #[test]
        fn $name() {
            fn runs(ops: &[Op]) {
                let ledger = Ledger::default();
                let cache = ObjectCache::<Witness<$size, $align>, _, $slabs<Via<'_, $lazy>, $slab_size, $kind, Colored>, NoLock, $policy, $front>::new(
                    ledger.source(),
                    <$init as Initialiser<Witness<$size, $align>>>::init(),
                );
                run(cache, $front, &ledger, ops);
            }
            check(|sequence| outcome(runs, &sequence));
        }
    )+};
}

sequences! {
    aligned_small: 24 8, Placed, AlignedSlabs<false, 512, Bitmap>, KeepSlabs<1>, 3;
    aligned_lazy: 40 8, PlacedReset, AlignedSlabs<true, 1024, IndexStack>, ReleaseAtOnce, 2;
    aligned_one_by_one: 200 8, Placed, AlignedSlabs<false, 512, IndexStack>, ReleaseAtOnce, 0;
    large_small: 24 8, Fallible, LargeSlabs<false, 300, Bitmap>, KeepSlabs<2>, 4;
    large_odd: 61 1, Placed, LargeSlabs<false, 777, IndexStack>, KeepAll, 32;
    nothing_at_all: 0 1, ByDefault, AlignedSlabs<false, 256, Bitmap>, ReleaseAtOnce, 1;
}
