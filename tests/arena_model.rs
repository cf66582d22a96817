//! The model test of every heap: see `model`.

mod model;

use std::marker::PhantomData;

use heapwright::heap::Locked;
#[cfg(feature = "critical-section")]
use heapwright::lock::CriticalSectionLock;
#[cfg(feature = "lock_api")]
use heapwright::lock::LockApi;
use heapwright::lock::{NoLock, SpinLock, TicketLock};
#[cfg(feature = "std")]
use heapwright::lock::{OwnerChecked, StdLock};
use heapwright::sizing::{Bounded, Checked, Sizing4KiB, Sizing16MiB, Sizing128KiB};

#[cfg(all(feature = "alloc", feature = "allocator-api2-04"))]
use heapwright::source::FromAllocator04;
#[cfg(feature = "alloc")]
use heapwright::source::GlobalHeap;
#[cfg(feature = "os")]
use heapwright::source::Pages;

#[cfg(any(feature = "os", feature = "alloc"))]
use self::model::arenas::Over;
use self::model::arenas::{
    In, InAddr, InPtr, InRawParts, InSlice, InSource, InUninit, Inline, Nested, Own16, OwnRuns, OwnSmall,
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
    raw_parts: |S, LEN| In<InRawParts, S, TicketLock, LEN>;
    slice_pointer: |S, LEN| In<InPtr, S, NoLock, LEN>;
    address: |S, LEN| In<InAddr, S, SpinLock, LEN>;
    inline: |S, LEN| Inline<S, TicketLock, LEN>;
    source: |S, LEN| InSource<S, NoLock, LEN>;
    nested: |S, LEN| Nested<S, SpinLock, LEN>;
}

#[cfg(feature = "std")]
models! {
    slice_with_std_lock: |S, LEN| In<InSlice, S, StdLock, LEN>;
}

#[cfg(feature = "std")]
models! {
    slice_with_owner_checked: |S, LEN| In<InSlice, S, OwnerChecked<SpinLock>, LEN>;
}

#[cfg(feature = "critical-section")]
models! {
    slice_with_critical_section: |S, LEN| In<InSlice, S, CriticalSectionLock, LEN>;
}

#[cfg(feature = "lock_api")]
models! {
    slice_with_lock_api: |S, LEN| In<InSlice, S, LockApi<parking_lot::RawMutex>, LEN>;
}

#[cfg(feature = "os")]
models! {
    pages: |S, LEN| Over<Pages, S, NoLock, LEN>;
}

#[cfg(feature = "alloc")]
models! {
    global_heap: |S, LEN| Over<GlobalHeap, S, TicketLock, LEN>;
}

#[cfg(all(feature = "alloc", feature = "allocator-api2-04"))]
models! {
    allocator: |S, LEN| Over<FromAllocator04<allocator_api2_04::alloc::Global>, S, SpinLock, LEN>;
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
        (Seeded::ForgetsTheMoved, [Check::Usage; 2]),
        (Seeded::CopiesTooLittle, [Check::Contents; 2]),
        (Seeded::FreesOnFailure, [Check::Usage; 2]),
        (Seeded::GrowsTooFar, [Check::Overlap; 2]),
        (Seeded::AlignsTooLittle, [Check::Alignment; 2]),
        (Seeded::ZeroesTooLittle, [Check::Zeroed; 2]),
        (Seeded::RoundsDown, [Check::Length; 2]),
        (Seeded::PassesTheEnd, [Check::Bounds; 2]),
        (Seeded::WritesBehind, [Check::Sentinel; 2]),
        (Seeded::CountsTwice, [Check::Usage; 2]),
        (Seeded::CountsShort, [Check::Usage; 2]),
        (Seeded::RefusesLarge, [Check::Refusal; 2]),
        (Seeded::FreesExactOnly, [Check::Usage, Check::Length]),
        (Seeded::SplitsChunks, [Check::Chunks; 2]),
        (Seeded::DeniesTheFirst, [Check::Owns; 2]),
    ];
    for (fault, checks) in expected {
        let (script, found) = shortest_failure(fault);
        assert!(checks.contains(&found.check), "{fault:?} shows as {found}\n{script:?}");
        assert!(script.ops.len() <= 6, "{fault:?} needs {} operations: {script:?}", script.ops.len());
    }
}
