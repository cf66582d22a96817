//! The model test of every heap: see `model`.

mod model;

use std::marker::PhantomData;

use heapwright::heap::Locked;
use heapwright::lock::{NoLock, SpinLock};
use heapwright::sizing::{Bounded, Checked, Sizing4KiB, Sizing16MiB, Sizing128KiB};

use self::model::arenas::{
    In, InAddr, InPtr, InRawParts, InSlice, InSource, InUninit, Inline, Own16, OwnRuns, OwnSmall,
};
use self::model::drive::{self, Case};
use self::model::first_fit::{self, FirstFit, Seeded};
use self::model::region::Region;
use self::model::run::{self, Check, Fault};
use self::model::script::Script;
use self::model::subject::{Face, Facts, Under};

/// One test per sizing, as it is, bounded, checked, and both; `$case` is the case with the sizing left out.
macro_rules! models {
    ($($module:ident: |$sizing:ident, $len:ident| $case:ty;)*) => {
        $(mod $module {
            use super::*;

            models!(@sizings $module |$sizing, $len| $case;
                four_kib: Sizing4KiB, 4096;
                four_kib_longest: Sizing4KiB, 12 << 10;
                fine_128_kib: Sizing128KiB, 20_000;
                coarse_128_kib: Sizing128KiB, 70_000;
                sixteen_mib: Sizing16MiB, 300_000;
                own: Own16, 40_000;
                own_runs: OwnRuns, 20_000;
                own_small: OwnSmall, 9000;
            );
        })*
    };
    (@sizings $module:ident |$sizing:ident, $len:ident| $case:ty; $($name:ident: $base:ty, $bytes:expr;)*) => {
        $(mod $name {
            use super::*;

            #[test]
            fn plain() {
                type $sizing = $base;
                const $len: usize = $bytes;
                drive::check::<$case>();
            }

            #[test]
            fn bounded() {
                type $sizing = Bounded<$base>;
                const $len: usize = $bytes;
                drive::check::<$case>();
            }

            #[test]
            fn checked() {
                type $sizing = Checked<$base>;
                const $len: usize = $bytes;
                drive::check::<$case>();
            }

            #[test]
            fn bounded_and_checked() {
                type $sizing = Bounded<Checked<$base>>;
                const $len: usize = $bytes;
                drive::check::<$case>();
            }
        })*
    };
}

models! {
    slice: |S, LEN| In<InSlice, S, NoLock, LEN>;
    uninit: |S, LEN| In<InUninit, S, SpinLock, LEN>;
    raw_parts: |S, LEN| In<InRawParts, S, NoLock, LEN>;
    slice_pointer: |S, LEN| In<InPtr, S, SpinLock, LEN>;
    address: |S, LEN| In<InAddr, S, NoLock, LEN>;
    source: |S, LEN| InSource<S, SpinLock, LEN>;
    inline: |S, LEN| Inline<S, SpinLock, LEN>;
}

/// The test's own heap under the model, with a fault.
fn run_first_fit(script: &Script, fault: Seeded) -> Result<(), Fault> {
    let region = Region::new(4096 - script.trim, script.skew.next_multiple_of(first_fit::GRANULE));
    // A granule of the sentinel is the heap's too: one fault writes there.
    // SAFETY: nobody else uses the region while the heap lives.
    let heap = unsafe { FirstFit::new(region.start(), region.len() / 4 * 4, fault) };
    let start = region.start().addr().get();
    let mut subject = Under {
        heap: Locked::<_, NoLock>::new(heap),
        face: Face::of_locked(),
        facts: Facts {
            granule: first_fit::GRANULE,
            object_size_max: region.len(),
            region: Some(start..start + region.len()),
            fixed: true,
            slides: false,
            bounded: false,
        },
    };
    run::run(&mut subject, &|| region.untouched(), script)
}

/// The test's own heap without a fault.
struct Sound(PhantomData<()>);

impl Case for Sound {
    fn name() -> String {
        "first fit".into()
    }

    fn run(script: &Script) -> Result<(), Fault> {
        run_first_fit(script, Seeded::Nothing)
    }
}

#[test]
fn model_accepts_a_sound_heap() {
    drive::check::<Sound>();
}

/// Draws scripts until one fails, and shrinks it; gives its length and what it found.
fn shortest_failure(fault: Seeded) -> (Script, Fault) {
    use quickcheck::{Arbitrary, Gen};
    let mut g = Gen::from_size_and_seed(200, 1);
    let failing = (0..200).find_map(|_| {
        let script = Script::arbitrary(&mut g);
        run_first_fit(&script, fault).err().map(|found| (script, found))
    });
    let Some((mut script, mut found)) = failing else { panic!("{fault:?} passed 200 scripts") };
    'shorter: loop {
        for simpler in script.shrink() {
            if let Err(fault) = run_first_fit(&simpler, fault) {
                (script, found) = (simpler, fault);
                continue 'shorter;
            }
        }
        return (script, found);
    }
}

/// Each seeded fault is found, as what it is, and the script that shows it shrinks to a few operations.
#[test]
fn model_finds_seeded_faults() {
    let expected = [
        (Seeded::ForgetsTheMoved, Check::Usage),
        (Seeded::CopiesTooLittle, Check::Contents),
        (Seeded::FreesOnFailure, Check::Usage),
        (Seeded::GrowsTooFar, Check::Overlap),
        (Seeded::AlignsTooLittle, Check::Alignment),
        (Seeded::ZeroesTooLittle, Check::Zeroed),
        (Seeded::RoundsDown, Check::Length),
        (Seeded::PassesTheEnd, Check::Bounds),
        (Seeded::WritesBehind, Check::Sentinel),
        (Seeded::CountsTwice, Check::Usage),
        (Seeded::CountsShort, Check::Usage),
        (Seeded::RefusesLarge, Check::Refusal),
        (Seeded::FreesExactOnly, Check::Length),
        (Seeded::SplitsChunks, Check::Chunks),
        (Seeded::DeniesTheFirst, Check::Owns),
    ];
    for (fault, check) in expected {
        let (script, found) = shortest_failure(fault);
        assert_eq!(found.check, check, "{fault:?} shows as {found}\n{script:?}");
        assert!(script.ops.len() <= 6, "{fault:?} needs {} operations: {script:?}", script.ops.len());
    }
}
