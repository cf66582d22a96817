//! Memory that runs out.

use std::alloc::{GlobalAlloc, Layout};

use heapwright::cache::{ChunkHeap, KeepAll, MallocSettings};
use heapwright::lock::YieldLock;

use crate::shadow::{Random, Shadow, churn};
use crate::source::{Ledger, Watched, ledger};

heapwright::size_classes! { struct Little = 8..=4096, 4 per doubling; }
/// Declares a heap of small slabs over pages with an account.
macro_rules! little {
    ($heap:ident as $malloc:ident, $settings:ident, $ledger:ident) => {
        ledger!($ledger);
        struct $settings;
        impl MallocSettings for $settings {
            type Classes = Little;
            type Chunks = ChunkHeap<Watched<$ledger>, YieldLock, KeepAll, 8192>;
            type Lock = YieldLock;
        }
        heapwright::malloc! { static $heap as $malloc: $settings = ChunkHeap::new(Watched::new()); }
    };
}

little!(LITTLE as LittleMalloc, LittleSettings, LittleLedger);
little!(OTHER as OtherMalloc, OtherSettings, OtherLedger);
little!(ONCE as OnceMalloc, OnceSettings, OnceLedger);

#[test]
fn every_request_to_the_source_fails_once_and_nothing_is_lost() {
    let give = |left: usize| LittleLedger::account().lock().unwrap().left = left;
    for left in 0..24 {
        let (mut random, mut shadow) = (Random::new(left as u64), Shadow::default());
        give(left);
        let mut failed = 0;
        for _ in 0..3000 {
            let layout = crate::shadow::any_layout(&mut random);
            failed += usize::from(!shadow.alloc(&LittleMalloc, layout, false));
            if random.below(3) == 0 {
                shadow.free(&LittleMalloc, &mut random);
            }
            if random.below(8) == 0 {
                let size = random.size(16);
                shadow.resize(&LittleMalloc, &mut random, size);
            }
        }
        assert!(failed > 0 || left > 4, "with {left} blocks of the source nothing failed");
        give(usize::MAX);
        churn(&LittleMalloc, &mut random, &mut shadow, 500, 100);
        assert!(shadow.alloc(&LittleMalloc, Layout::new::<[u64; 1000]>(), true), "there is enough again");
        shadow.clear(&LittleMalloc);
        LittleMalloc.release();
        let stats = LittleMalloc.stats();
        assert_eq!((stats.bytes_live, stats.bytes_in_slabs), (0, 0), "{stats}");
    }
}

#[test]
fn a_request_that_was_refused_is_met_at_the_second_try() {
    let mut failed = 0;
    for before in 0..8 {
        let (mut random, mut shadow) = (Random::new(before as u64), Shadow::default());
        OnceLedger::account().lock().unwrap().before_one_fails = before;
        for _ in 0..1500 {
            let layout = crate::shadow::any_layout(&mut random);
            if !shadow.alloc(&OnceMalloc, layout, false) {
                assert!(shadow.alloc(&OnceMalloc, layout, true), "{layout:?} is refused again");
            }
            if random.below(3) == 0 {
                shadow.free(&OnceMalloc, &mut random);
            }
            if random.below(8) == 0 {
                let size = random.size(16);
                shadow.resize(&OnceMalloc, &mut random, size);
            }
        }
        let left = std::mem::replace(&mut OnceLedger::account().lock().unwrap().before_one_fails, usize::MAX);
        failed += usize::from(left > before);
        shadow.clear(&OnceMalloc);
        OnceMalloc.release();
        let stats = OnceMalloc.stats();
        assert_eq!((stats.bytes_live, stats.bytes_in_slabs), (0, 0), "{stats}");
    }
    assert!(failed > 2, "{failed} requests to the source have failed");
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
