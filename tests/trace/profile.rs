//! The sums of a profile, against what was done.

use std::alloc::{Layout, System};
use std::hint::black_box;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::thread;

use heapwright::heap::SharedHeap;
use heapwright::trace::{AnyGlobal, Count, HeapProfile, Traced};

type Heap = Traced<HeapProfile, AnyGlobal<System>>;

fn bytes(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

fn alloc(heap: &Heap, size: usize) -> NonNull<u8> {
    heap.try_alloc(bytes(size)).unwrap().cast()
}

fn free(heap: &Heap, block: NonNull<u8>, size: usize) {
    // SAFETY: each test frees what it has allocated, with its size.
    unsafe { heap.free(block, bytes(size)) };
}

/// What no `GlobalAlloc` is asked for, as its alignment is too large; where pointers have 32 bits, what there is no room for.
pub(crate) fn beyond() -> Layout {
    // Both: half of all addresses of 32 bits the system might have.
    let quarter = 1 << (usize::BITS - 2);
    Layout::from_size_align(quarter, quarter).unwrap()
}

const fn count(bytes: u64, blocks: u64) -> Count {
    Count { bytes, blocks }
}

#[test]
fn sums_peak_and_what_was_live_there() {
    let heap = Heap::new(HeapProfile::new(), AnyGlobal::new(System));
    let (small, large) = (alloc(&heap, 100), alloc(&heap, 5000)); // the peak
    free(&heap, small, 100);
    // SAFETY: the block is live, and its layout this one.
    let larger = unsafe { heap.try_resize(large, bytes(5000), bytes(4000)) }.unwrap().cast();
    let again = alloc(&heap, 200);
    let profile = heap.sink().profile();
    assert_eq!(profile.total(), count(9300, 4), "a resize is a block that goes and one that comes");
    assert_eq!(profile.live(), count(4200, 2));
    assert_eq!(profile.peak(), count(5100, 2));
    assert_eq!((profile.lost(), profile.refused()), (0, 0));
    let site = |name: &str| {
        let sites = profile.sites();
        let site = sites.into_iter().find(|site| site.name() == name).unwrap();
        (site.total(), site.most(), site.at_peak(), site.live())
    };
    let large = site("blocks of 2049 to 8192 bytes");
    assert_eq!(large, (count(9000, 2), count(5000, 1), count(5000, 1), count(4000, 1)));
    let small = site("blocks of 33 to 128 bytes");
    assert_eq!(small, (count(100, 1), count(100, 1), count(100, 1), count(0, 0)));
    let late = site("blocks of 129 to 512 bytes");
    assert_eq!(late, (count(200, 1), count(200, 1), count(0, 0), count(200, 1)));
    free(&heap, larger, 4000);
    free(&heap, again, 200);
    assert_eq!(heap.sink().profile().live(), count(0, 0));
}

#[test]
fn a_refused_request_changes_nothing() {
    let heap = Heap::new(HeapProfile::new(), AnyGlobal::new(System));
    let block = alloc(&heap, 100);
    let before = heap.sink().profile();
    assert!(heap.try_alloc(beyond()).is_err());
    // SAFETY: the block is live, and its layout this one.
    let outcome = unsafe { heap.try_resize(block, bytes(100), beyond()) };
    assert!(outcome.is_err());
    let after = heap.sink().profile();
    assert_eq!((after.total(), after.live()), (before.total(), before.live()));
    assert_eq!(after.refused(), 1);
    free(&heap, block, 100);
    assert_eq!(heap.sink().profile().live(), count(0, 0), "it is known still");
}

#[test]
fn a_block_that_was_never_seen_is_known_once_it_is_resized() {
    let heap = Heap::new(HeapProfile::new(), AnyGlobal::new(System));
    let block = heap.heap().try_alloc(bytes(64)).unwrap().cast();
    // SAFETY: the block is live, and its layout this one.
    let outcome = unsafe { heap.try_resize(block, bytes(64), beyond()) };
    assert!(outcome.is_err());
    assert_eq!(heap.sink().profile().live(), count(0, 0));
    // SAFETY: it has stayed as it was.
    let block = unsafe { heap.try_resize(block, bytes(64), bytes(100)) }.unwrap().cast();
    assert_eq!(heap.sink().profile().total(), count(100, 1));
    free(&heap, block, 100);
    assert_eq!(heap.sink().profile().live(), count(0, 0));
}

#[test]
fn a_refusal_is_told_to_the_sink_that_is_set() {
    let heap = Traced::new(OnceLock::new(), AnyGlobal::new(System));
    assert!(heap.try_alloc(beyond()).is_err(), "and nobody is told");
    let profile = heap.sink().get_or_init(<HeapProfile>::new);
    assert_eq!(profile.profile().refused(), 0);
    assert!(heap.try_alloc(beyond()).is_err());
    assert!(heap.try_alloc_zeroed(beyond()).is_err());
    assert_eq!(profile.profile().refused(), 2);
}

#[test]
fn an_unseen_free_is_made_up_for() {
    let heap = Heap::new(HeapProfile::new(), AnyGlobal::new(System));
    let block = alloc(&heap, 100);
    // SAFETY: the block is live, and its layout this one. The profile is not told.
    unsafe { heap.heap().free(block, bytes(100)) };
    // The system gives the same address again, sooner or later.
    let mut blocks = Vec::new();
    for _ in 0..1000 {
        blocks.push(alloc(&heap, 100));
    }
    let is_again = blocks.contains(&block);
    let live = heap.sink().profile().live().blocks;
    assert_eq!(live, 1000 + u64::from(!is_again));
    blocks.into_iter().for_each(|block| free(&heap, block, 100));
    // One that it has never heard of.
    let block = heap.heap().try_alloc(bytes(64)).unwrap().cast();
    free(&heap, block, 64);
    assert_eq!(heap.sink().profile().live().blocks, u64::from(!is_again));
}

#[test]
fn a_sampled_profile_ends_with_nothing_live() {
    const COUNT: usize = if cfg!(miri) { 200 } else { 200_000 };
    static HEAP: Heap = Heap::new(HeapProfile::sampled(4096), AnyGlobal::new(System));
    let estimate = thread::spawn(|| {
        let mut blocks = Vec::new();
        for idx in 0..COUNT {
            let size = 1 + idx * 37 % 300;
            let block = alloc(&HEAP, size);
            // SAFETY: the block is live, and its layout this one.
            let block = unsafe { HEAP.try_resize(block, bytes(size), bytes(size + 50)) }.unwrap();
            blocks.push((block.cast(), size + 50));
        }
        let live = HEAP.sink().profile().live();
        blocks.into_iter().for_each(|(block, size)| free(&HEAP, block, size));
        live
    });
    let live = estimate.join().unwrap();
    let profile = HEAP.sink().profile();
    assert_eq!(profile.live(), count(0, 0));
    assert_eq!(profile.sampling_mean(), 4096);
    if !cfg!(miri) {
        let real = (0..COUNT).map(|idx| 1 + idx * 37 % 300 + 50).sum::<usize>() as f64;
        // Some 9,800 samples: a deviation of 1 %.
        assert!((live.bytes as f64 / real - 1.0).abs() < 0.1, "{live:?} for {real} bytes");
        assert!((live.blocks as f64 / COUNT as f64 - 1.0).abs() < 0.2, "{live:?}");
    }
}

#[test]
fn threads_add_up() {
    let heap = Heap::new(HeapProfile::new(), AnyGlobal::new(System));
    thread::scope(|scope| {
        for thread in 1..=4 {
            let heap = &heap;
            scope.spawn(move || {
                for size in 1..=200 {
                    let block = alloc(heap, size * thread);
                    free(heap, block, size * thread);
                }
            });
        }
        for _ in 0..20 {
            let profile = heap.sink().profile();
            assert!(profile.live().blocks <= 4 && profile.peak().blocks <= 4);
        }
    });
    let profile = heap.sink().profile();
    assert_eq!((profile.total(), profile.live()), (count(201_000, 800), count(0, 0)));
}

#[test]
fn the_programs_own_heap_can_be_looked_into() {
    let before = crate::HEAP.sink().profile();
    let text = black_box("word ".repeat(10_000));
    let after = crate::HEAP.sink().profile();
    assert!(after.total().bytes >= before.total().bytes + text.len() as u64);
    assert!(after.to_string().starts_with("total "), "{after}");
}

#[test]
fn leaks_are_those_of_the_scope() {
    let heap = Heap::new(HeapProfile::new(), AnyGlobal::new(System));
    let before = alloc(&heap, 100);
    let mut text = Vec::new();
    let report = heap.sink().report_leaks(&mut text);
    let (kept, freed) = (alloc(&heap, 10), alloc(&heap, 20));
    free(&heap, freed, 20);
    drop(report);
    let expected = "not freed: 10 bytes in 1 block, from 1 call site\n10 bytes in 1 block\n    blocks of 1 to 32 bytes\n";
    assert_eq!(String::from_utf8(text).unwrap(), expected);
    free(&heap, kept, 10);
    free(&heap, before, 100);
    let mut text = Vec::new();
    drop(heap.sink().report_leaks(&mut text));
    assert_eq!(text, b"nothing was leaked\n");
}

#[cfg(feature = "trace-backtrace")]
#[test]
#[cfg_attr(miri, ignore = "walks the stack")]
fn call_sites_have_names() {
    use heapwright::trace::Backtraces;

    #[inline(never)]
    fn reads_a_file(heap: &Traced<HeapProfile<Backtraces>, AnyGlobal<System>>) -> NonNull<u8> {
        heap.try_alloc(bytes(1234)).unwrap().cast()
    }
    let heap = Traced::new(HeapProfile::<Backtraces>::new(), AnyGlobal::new(System));
    let blocks = [reads_a_file(&heap), reads_a_file(&heap)];
    let profile = heap.sink().profile();
    let sites = profile.sites();
    let here = |symbol: &heapwright::trace::Symbol| symbol.name.contains("reads_a_file");
    let calls: Vec<_> = sites.iter().filter(|site| site.stack().first().is_some_and(here)).collect();
    assert_eq!(calls.len(), 2, "two calls: {profile}");
    assert!(calls.iter().all(|site| site.name().contains("reads_a_file")));
    assert_eq!(calls[0].total(), count(1234, 1));
    for block in blocks {
        // SAFETY: both are live, with this layout.
        unsafe { heap.free(block, bytes(1234)) };
    }
}
