//! Memory that runs out.

use std::alloc::{GlobalAlloc, Layout};

use heapwright::cache::malloc::MallocInstance;
use heapwright::cache::{ChunkHeap, KeepAll, Malloc, MallocSettings};
use heapwright::check::{Checked, Hardened, Unchecked};
use heapwright::lock::YieldLock;

use crate::shadow::{Random, Shadow, churn};
use crate::source::{Ledger, Watched, ledger};

heapwright::size_classes! { struct Little = 8..=4096, 4 per doubling; }
/// Declares a heap of small slabs over pages with an account, with a policy of checks. (What these find ends the process.)
macro_rules! little {
    ($heap:ident as $malloc:ident, $settings:ident, $ledger:ident, $chunk:literal, $policy:ty) => {
        ledger!($ledger);
        struct $settings;
        impl MallocSettings for $settings {
            type Classes = Little;
            type Chunks = ChunkHeap<Watched<$ledger>, YieldLock, KeepAll, $chunk, { usize::MAX }, $policy>;
            type Lock = YieldLock;
        }
        heapwright::malloc! { static $heap as $malloc: $settings = ChunkHeap::new(Watched::new()); }
    };
}

little!(LITTLE as LittleMalloc, LittleSettings, LittleLedger, 8192, Unchecked);
little!(LITTLE_CHECKED as LittleChecked, LittleCheckedSettings, LittleCheckedLedger, 32768, Checked);
little!(LITTLE_HARDENED as LittleHardened, LittleHardenedSettings, LittleHardenedLedger, 32768, Hardened);
little!(OTHER as OtherMalloc, OtherSettings, OtherLedger, 8192, Unchecked);
little!(ONCE as OnceMalloc, OnceSettings, OnceLedger, 8192, Unchecked);
little!(ONCE_CHECKED as OnceChecked, OnceCheckedSettings, OnceCheckedLedger, 32768, Checked);
little!(ONCE_HARDENED as OnceHardened, OnceHardenedSettings, OnceHardenedLedger, 32768, Hardened);

/// Some requests more than a run makes.
const ENOUGH: usize = 1000;

/// Layouts of all kinds, and now and then a block that the source gives by itself.
fn some_layout(random: &mut Random) -> Layout {
    match random.below(80) {
        0 => Layout::from_size_align((520 << 10) + random.below(1 << 20), 8).unwrap(),
        _ => crate::shadow::any_layout(random),
    }
}

/// Nothing is live, and nothing stays with the heap.
fn all_is_back<I: MallocInstance>(heap: Malloc<I>) {
    heap.release();
    let stats = heap.stats();
    assert_eq!((stats.bytes_live, stats.bytes_in_slabs), (0, 0), "{stats}");
}

/// Runs with so many requests to the source that are met, one more each time, until one has all that it asks for.
fn from_a_point_on<I: MallocInstance, W: Ledger>(heap: Malloc<I>) {
    let give = |left: usize| std::mem::replace(&mut W::account().lock().unwrap().left, left);
    let mut runs_with_failures = 0;
    for left in 0.. {
        assert!(left < ENOUGH, "{left} requests to the source are not enough");
        let (mut random, mut shadow) = (Random::new(left as u64), Shadow::default());
        give(left);
        let mut failed = 0;
        for _ in 0..3000 {
            let layout = some_layout(&mut random);
            failed += usize::from(!shadow.alloc(&heap, layout, false));
            if random.below(3) == 0 {
                shadow.free(&heap, &mut random);
            }
            if random.below(8) == 0 {
                let size = random.size(16);
                shadow.resize(&heap, &mut random, size);
            }
        }
        runs_with_failures += usize::from(failed > 0);
        let unused = give(usize::MAX);
        churn(&heap, &mut random, &mut shadow, 500, 100);
        assert!(shadow.alloc(&heap, Layout::new::<[u64; 1000]>(), true), "there is enough again");
        shadow.clear(&heap);
        all_is_back(heap);
        if unused > 0 {
            assert!(runs_with_failures > 8, "{runs_with_failures} of {left} runs have seen a failure");
            return;
        }
    }
}

#[test]
fn all_requests_to_the_source_fail_from_a_point_on_and_nothing_is_lost() {
    from_a_point_on::<_, LittleLedger>(LittleMalloc);
    from_a_point_on::<_, LittleCheckedLedger>(LittleChecked);
    from_a_point_on::<_, LittleHardenedLedger>(LittleHardened);
}

/// Runs in which one request to the source fails, a later one each time, until one makes no more than those before it.
fn one_alone<I: MallocInstance, W: Ledger>(heap: Malloc<I>) {
    let fail_after =
        |before: usize| std::mem::replace(&mut W::account().lock().unwrap().before_one_fails, before);
    for before in 0.. {
        assert!(before < ENOUGH, "{before} requests to the source are not enough");
        let (mut random, mut shadow) = (Random::new(before as u64), Shadow::default());
        fail_after(before);
        for _ in 0..1500 {
            let layout = some_layout(&mut random);
            if !shadow.alloc(&heap, layout, false) {
                assert!(shadow.alloc(&heap, layout, true), "{layout:?} is refused again");
            }
            if random.below(3) == 0 {
                shadow.free(&heap, &mut random);
            }
            if random.below(8) == 0 {
                let size = random.size(16);
                shadow.resize(&heap, &mut random, size);
            }
        }
        // When one has failed the account counts down from the largest number.
        let has_failed = fail_after(usize::MAX) > before;
        shadow.clear(&heap);
        all_is_back(heap);
        if !has_failed {
            assert!(before > 6, "{before} requests to the source are all");
            return;
        }
    }
}

#[test]
fn a_request_that_was_refused_is_met_at_the_second_try() {
    one_alone::<_, OnceLedger>(OnceMalloc);
    one_alone::<_, OnceCheckedLedger>(OnceChecked);
    one_alone::<_, OnceHardenedLedger>(OnceHardened);
}

#[test]
fn what_other_classes_and_depots_keep_is_found_when_there_is_no_more() {
    // All memory in objects of one size, which come back; then another size.
    let heap = OtherMalloc;
    OtherLedger::account().lock().unwrap().left = usize::MAX;
    let (one, other) = (Layout::new::<[u64; 8]>(), Layout::new::<[u64; 300]>());
    // SAFETY: each block is freed once, with its layout.
    unsafe {
        let blocks: Vec<*mut u8> = (0..50_000).map(|_| heap.alloc(one)).collect();
        OtherLedger::account().lock().unwrap().left = 0;
        blocks.iter().for_each(|&block| heap.dealloc(block, one));
        let blocks: Vec<*mut u8> = (0..1000).map(|_| heap.alloc(other)).collect();
        OtherLedger::account().lock().unwrap().left = usize::MAX;
        assert!(blocks.iter().all(|block| !block.is_null()));
        blocks.iter().for_each(|&block| heap.dealloc(block, other));
    }
    heap.release();
}
