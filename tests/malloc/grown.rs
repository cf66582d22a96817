//! Stacks that grow where a class goes back and forth.

use std::alloc::{GlobalAlloc, Layout};
use std::thread;

use heapwright::cache::malloc::MallocInstance;
use heapwright::cache::{ChunkHeap, ClassStats, Classes, KeepAll, Malloc, MallocSettings, MallocStats};
use heapwright::lock::YieldLock;

use crate::shadow::{Random, Shadow, churn};
use crate::source::{Ledger, Watched, ledger};

/// Declares a heap over pages with an account.
macro_rules! heap {
    ($heap:ident as $malloc:ident, $settings:ident, $ledger:ident; $($number:ident = $value:expr),*) => {
        ledger!($ledger);
        struct $settings;
        impl MallocSettings for $settings {
            type Classes = Classes;
            type Chunks = ChunkHeap<Watched<$ledger>, YieldLock, KeepAll, 32768>;
            type Lock = YieldLock;
            $(const $number: usize = $value;)*
        }
        heapwright::malloc! { static $heap as $malloc: $settings = ChunkHeap::new(Watched::new()); }
    };
}

heap!(BATCHES as BatchesMalloc, Batches, BatchesLedger;);
heap!(FIXED as FixedMalloc, Fixed, FixedLedger; GROWN_BYTES = 0);
heap!(SHARES as SharesMalloc, Shares, SharesLedger; GROWN_BYTES = 1 << 20);
heap!(ONE_WAY as OneWayMalloc, OneWay, OneWayLedger;);
heap!(IDLE as IdleMalloc, Idle, IdleLedger;);
heap!(SCARCE as ScarceMalloc, Scarce, ScarceLedger;);
// A fourth of it is what one class takes with room for 1024 objects on each stack.
heap!(EXACT as ExactMalloc, Exact, ExactLedger; GROWN_BYTES = 4 * 2 * 1024 * (64 + size_of::<usize>()));
heap!(SHORT as ShortMalloc, Short, ShortLedger;);
heap!(MIXED as MixedMalloc, Mixed, MixedLedger; FRONT_SLOTS = 4, GROWN_BYTES = 64 << 20);

const LAYOUT: Layout = Layout::new::<[u64; 8]>();

/// The numbers of the class of `LAYOUT`.
fn class<I: MallocInstance<Settings: MallocSettings<Classes = Classes>>>(malloc: Malloc<I>) -> ClassStats {
    malloc.stats().classes().iter().find(|class| class.size == 64).copied().unwrap()
}

/// So many objects are allocated and then freed, so many times.
fn batches(malloc: &impl GlobalAlloc, rounds: usize, count: usize) {
    for round in 0..rounds {
        // SAFETY: each block is freed once, with its layout.
        unsafe {
            let blocks: Vec<*mut u8> = (0..count).map(|_| malloc.alloc(LAYOUT)).collect();
            for (number, &block) in blocks.iter().enumerate() {
                block.cast::<usize>().write(number ^ round);
            }
            for (number, &block) in blocks.iter().enumerate() {
                assert_eq!(block.cast::<usize>().read(), number ^ round);
                malloc.dealloc(block, LAYOUT);
            }
        }
    }
}

#[test]
fn what_comes_and_goes_in_batches_is_at_hand_after_some_turns() {
    batches(&BatchesMalloc, 1, 1);
    BatchesMalloc.release();
    let first = BatchesMalloc.stats();
    for _ in 0..3 {
        batches(&BatchesMalloc, 12, 5000);
        let stats = class(BatchesMalloc);
        assert_eq!((stats.at_hand, stats.live), (5000, 0), "{stats:?}");
        // And goes back when the thread says so, with the memory of the stacks: of all that the class has had.
        let before = BatchesMalloc.stats().bytes_of_threads;
        BatchesMalloc.release();
        let stats = BatchesMalloc.stats();
        assert_eq!((stats.bytes_at_hand, stats.bytes_live), (0, 0), "{stats}");
        assert!(stats.bytes_of_threads < before, "{stats}");
        let back = |stats: &MallocStats<Classes>| (stats.bytes_of_threads, stats.chunks.chunks_used);
        assert_eq!(back(&stats), back(&first), "{stats}");
    }
    batches(&BatchesMalloc, 3, 500);
}

/// All of a share may be had, time and again; and of a stack that has grown no more than half goes back at once, however much is freed.
#[test]
fn a_share_is_what_it_is_again_when_stacks_have_gone_back() {
    for more in [0, 300, 600, 900] {
        batches(&ExactMalloc, 12, 5000 + more);
        let at_hand = class(ExactMalloc).at_hand;
        assert!((1024 + 512..=2048).contains(&at_hand), "{at_hand} objects at hand");
        ExactMalloc.flush();
    }
}

/// A few objects more than there is room for are not worth larger stacks.
#[test]
fn short_turns_get_no_larger_stacks() {
    let at_hand = |count| {
        batches(&ShortMalloc, 20, count);
        class(ShortMalloc).at_hand
    };
    let short = at_hand(120);
    assert!(short <= 2 * Short::FRONT_SLOTS, "{short} objects at hand");
    // Four times what fits on a stack is a long turn: now and then there is one of just that.
    let long = at_hand(150);
    assert!(long > 2 * Short::FRONT_SLOTS, "{long} objects at hand");
}

#[test]
fn stacks_that_may_not_grow_do_not() {
    batches(&FixedMalloc, 12, 5000);
    assert!(class(FixedMalloc).at_hand <= 2 * Fixed::FRONT_SLOTS, "{:?}", class(FixedMalloc));
}

#[test]
fn threads_keep_to_their_share_and_leave_nothing() {
    let work = || {
        batches(&SharesMalloc, 14, 20_000);
        class(SharesMalloc).at_hand
    };
    // Room doubles; with twice as much the objects and their places would be more than a share.
    const { assert!(2 * 2048 * (64 + size_of::<usize>()) > Shares::GROWN_BYTES / 4) };
    let alone = thread::spawn(work).join().unwrap();
    assert!(alone > 2 * Shares::FRONT_SLOTS && alone <= 2 * 1024, "{alone} objects at hand");
    let threads: Vec<_> = (0..8).map(|_| thread::spawn(work)).collect();
    threads.into_iter().for_each(|thread| _ = thread.join().unwrap());
    let stats = SharesMalloc.stats();
    assert_eq!((stats.threads, stats.bytes_at_hand, stats.bytes_live), (0, 0, 0), "{stats}");
}

#[test]
fn a_thread_that_only_frees_gets_no_larger_stacks() {
    for _ in 0..8 {
        // SAFETY: each block is freed once, with its layout.
        let blocks: Vec<usize> =
            (0..5000).map(|_| unsafe { OneWayMalloc.alloc(LAYOUT) }.expose_provenance()).collect();
        let free = move || {
            for block in blocks {
                // SAFETY: as above.
                unsafe { OneWayMalloc.dealloc(std::ptr::with_exposed_provenance_mut(block), LAYOUT) };
            }
            class(OneWayMalloc).at_hand
        };
        // This thread, which only allocates, and that one.
        let at_hand = thread::spawn(free).join().unwrap();
        assert!(at_hand <= 4 * OneWay::FRONT_SLOTS, "{at_hand} objects at hand");
    }
}

#[test]
fn stacks_that_are_not_in_use_give_up_what_they_have() {
    batches(&IdleMalloc, 12, 5000);
    let before = (class(IdleMalloc).at_hand, IdleMalloc.stats().bytes_of_threads);
    assert_eq!(before.0, 5000);
    // Many objects of another class, so that what is shared is visited again and again.
    let other = Layout::new::<[u64; 2]>();
    // SAFETY: each block is freed once, with its layout.
    unsafe {
        let blocks: Vec<*mut u8> = (0..500_000).map(|_| IdleMalloc.alloc(other)).collect();
        blocks.into_iter().for_each(|block| IdleMalloc.dealloc(block, other));
    }
    let after = (class(IdleMalloc).at_hand, IdleMalloc.stats().bytes_of_threads);
    assert!(after.0 == 0 && after.1 < before.1, "{before:?} {after:?}");
}

#[test]
fn without_memory_for_larger_stacks_the_small_ones_do() {
    batches(&ScarceMalloc, 2, 3000);
    ScarceLedger::account().lock().unwrap().left = 0;
    batches(&ScarceMalloc, 12, 3000);
    ScarceLedger::account().lock().unwrap().left = usize::MAX;
    batches(&ScarceMalloc, 12, 3000);
    ScarceMalloc.flush();
    assert_eq!(ScarceMalloc.stats().bytes_live, 0);
}

#[test]
fn random_operations_go_well_with_stacks_that_grow_and_shrink() {
    for seed in 0..6 {
        let (mut random, mut shadow) = (Random::new(seed), Shadow::default());
        for _ in 0..6 {
            churn(&MixedMalloc, &mut random, &mut shadow, 3000, 4000);
            shadow.clear(&MixedMalloc);
            batches(&MixedMalloc, 2, 1000 + random.below(3000));
            if random.below(3) == 0 {
                MixedMalloc.flush();
            }
        }
    }
    MixedMalloc.flush();
    let stats = MixedMalloc.stats();
    assert_eq!((stats.bytes_live, stats.bytes_at_hand), (0, 0), "{stats}");
}
