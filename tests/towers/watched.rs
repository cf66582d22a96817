//! Heaps that watch, bound or guard one heap.

use heapwright::arena::SourceArena;
use heapwright::cache::Classes;
use heapwright::check::Abort;
use heapwright::combine::{
    Counted, FailNth, FailRandom, OnAlloc, OnBoth, OnFree, Quarantine, Quota, RedZones, Refusing,
    SizeHistogram, Totals, Zeroing,
};
use heapwright::conformance::{Call, Law, Probe, Source, forwards, heap_over, shared_over, try_heap_over};
use heapwright::describe::describe;
use heapwright::heap::{Heap, Locked};
use heapwright::lock::SpinLock;
use heapwright::sizing::Sizing16MiB;
use heapwright::source::SourceHeap;
use heapwright::trace::{LastEvents, Traced};

use crate::cores::Pages;
use crate::rows;

type Arena = SourceArena<Source, Sizing16MiB>;
type ClassTotals = heapwright::combine::ClassTotals<Classes>;

fn blocks(source: Source) -> SourceHeap<Source> {
    SourceHeap::new(source)
}

fn arena(source: Source) -> Result<Arena, heapwright::AllocError> {
    SourceArena::with_size(source, 60_000)
}

/// What refuses nothing and changes no block passes all on.
fn passes_on<H: Heap>(make: impl Fn(Probe) -> H) {
    forwards(make).at_hand().check();
}

rows! {
    quota: heap_over(|source| Quota::new(blocks(source), 20_000)).describes().gives_all_back();
    quota_of_pages: heap_over(|source: Pages| Quota::new(SourceHeap::new(source), 80_000)).describes();
    quota_of_an_arena: try_heap_over(|source| Ok::<_, heapwright::AllocError>(Quota::new(arena(source)?, 30_000)))
        .owns().resets().inspects();
    counted: heap_over(|source| Counted::new(Totals::new(), blocks(source))).describes();
    counted_by_nothing: heap_over(|source| Counted::new((), blocks(source))).describes();
    counted_by_class: heap_over(|source| Counted::new((ClassTotals::new(), SizeHistogram::new()), blocks(source)));
    counted_arena: try_heap_over(|source| arena(source).map(|arena| Counted::new(Totals::new(), arena)))
        .owns().resets().inspects();
    fail_none: heap_over(|source| FailNth::never(blocks(source))).describes();
    fail_after: heap_over(|source| FailNth::after(blocks(source), 30));
    fail_after_arena: try_heap_over(|source| arena(source).map(|arena| FailNth::after(arena, 50))).owns().resets().inspects();
    zeroing_on_alloc: heap_over(|source| Zeroing::<OnAlloc, _>::new(blocks(source))).describes();
    zeroing_on_free: heap_over(|source| Zeroing::<OnFree, _>::new(blocks(source)));
    zeroing_arena: try_heap_over(|source| arena(source).map(Zeroing::<OnBoth, _>::new)).owns().resets().inspects();
    zeroing_pages: heap_over(|source: Pages| Zeroing::<OnBoth, _>::new(SourceHeap::new(source)));
    quarantine: heap_over(|source| Quarantine::<8, _>::new(blocks(source), Abort)).describes();
    quarantine_arena: try_heap_over(|source| arena(source).map(|arena| Quarantine::<100, _>::new(arena, Abort)));
    red_zones: heap_over(|source| RedZones::<16, 16, _>::new(blocks(source), Abort)).describes();
    red_zones_behind: heap_over(|source| RedZones::<0, 7, _>::new(blocks(source), Abort));
    red_zones_arena: try_heap_over(|source| arena(source).map(|arena| RedZones::<32, 1, _>::new(arena, Abort)));
    all_of_them: try_heap_over(|source| {
        let zones = RedZones::<8, 8, _>::new(arena(source)?, Abort);
        let held = Quarantine::<16, _>::new(Zeroing::<OnFree, _>::new(zones), Abort);
        Ok::<_, heapwright::AllocError>(Counted::new(Totals::new(), Quota::new(held, 20_000)))
    });
    traced: shared_over(|source| {
        Traced::new(LastEvents::<64>::new(), Locked::<_, SpinLock>::new(Counted::new(Totals::new(), blocks(source))))
    }).threads();
}

#[test]
fn what_changes_nothing_passes_all_on() {
    passes_on(|probe| Quota::new(probe, 1 << 20));
    passes_on(|probe| Counted::new(Totals::new(), probe));
    passes_on(|probe| Counted::new((), probe));
    forwards(FailNth::never).check();
    forwards(Zeroing::<OnAlloc, _>::new).except(Call::Alloc).except(Call::AllocBatch).check();
}

/// One that refuses at random is whole all the same; a batch is short where it says so.
#[test]
fn refusals_at_random() {
    let failure = heap_over(|source| FailRandom::new_seeded(blocks(source), 5, 100))
        .describes()
        .seed(0xC0FFEE)
        .run()
        .unwrap_err();
    assert_eq!((failure.law(), failure.seed()), (Law::Batches, 0xC0FFEE));
    let text = failure.to_string();
    assert!(text.contains(Law::Batches.text()) && text.contains("HEAPWRIGHT_TEST_SEED=0xc0ffee"), "{text}");
    assert!(text.ends_with(&format!("\nof\n{}", describe::<FailRandom<SourceHeap<Source>>>())), "{text}");
    let _: fn(_, _) -> Refusing<heapwright::combine::Random, SourceHeap<Source>> = Refusing::new;
}
