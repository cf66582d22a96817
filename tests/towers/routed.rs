//! Combinators that route and shape, one by one.

use std::alloc::Layout;

use heapwright::AllocError;
use heapwright::arena::SourceArena;
use heapwright::cache::{Classes, SizeClasses};
use heapwright::combine::{
    Adaptive, Affix, AlignUp, AtMost, ByAlign, Fallback, FreeLists, Multiples, PerClass, Percent,
    PowersOfTwo, Quantize, Requested, Scoped, Segregate, SegregateBy, ToClasses, Unbounded,
};
use heapwright::conformance::{Call, Probe, Source, forwards, heap_over, try_heap_over};
use heapwright::sizing::{Checked, Sizing16MiB};
use heapwright::source::SourceHeap;

use crate::cores::Small;
use crate::rows;

type Made<H> = Result<H, AllocError>;
type Blocks = SourceHeap<Source>;
type Room = SourceArena<Source, Sizing16MiB>;
type Strict = SourceArena<Source, Checked<Sizing16MiB>>;
type FourWays = heapwright::segregate! { ..=32 => Blocks, ..=256 => Room, ..=4096 => Strict, _ => Blocks };

fn blocks(source: &Source) -> Blocks {
    SourceHeap::new(source.clone())
}

fn room(source: &Source, size: usize) -> Made<Room> {
    SourceArena::with_size(source.clone(), size)
}

rows! {
    fallback: try_heap_over(|source: Source| -> Made<_> { Ok(Fallback::new(room(&source, 4000)?, blocks(&source))) })
        .describes();
    fallback_of_arenas: try_heap_over(|source: Source| -> Made<_> {
        Ok(Fallback::new(room(&source, 3000)?, Fallback::new(room(&source, 5000)?, room(&source, 20_000)?)))
    }).owns().describes();
    segregate: try_heap_over(|source: Source| -> Made<_> {
        Ok(Segregate::<100, _, _>::new(room(&source, 30_000)?, blocks(&source)))
    }).describes();
    segregate_four_ways: try_heap_over(|source: Source| -> Made<FourWays> {
        let strict = Strict::with_size(source.clone(), 40_000)?;
        Ok(heapwright::segregate!(new: blocks(&source), room(&source, 30_000)?, strict, blocks(&source)))
    }).describes();
    by_align: try_heap_over(|source: Source| -> Made<_> {
        Ok(SegregateBy::<ByAlign<16>, _, _>::new(room(&source, 30_000)?, blocks(&source)))
    });
    per_class: heap_over(|source: Source| PerClass::<Small, _>::from_fn(|_| blocks(&source))).describes();
    free_lists: heap_over(|source| FreeLists::<Classes, _, Unbounded>::new(blocks(&source))).describes().gives_all_back();
    free_lists_bounded: heap_over(|source| FreeLists::<Small, _, AtMost<3>>::new(blocks(&source))).gives_all_back();
    free_lists_adaptive: heap_over(|source| FreeLists::<Small, _, Adaptive<16>>::new(blocks(&source))).gives_all_back();
    free_lists_refilled: try_heap_over(|source: Source| -> Made<_> {
        Ok(FreeLists::<Small, _, AtMost<20>, 8>::new(room(&source, 40_000)?))
    }).resets();
    quantize: heap_over(|source| Quantize::<Multiples<48>, _>::new(blocks(&source))).describes();
    quantize_to_powers: heap_over(|source| Quantize::<PowersOfTwo, _>::new(blocks(&source)));
    quantize_to_classes: heap_over(|source| Quantize::<ToClasses<Small>, _>::new(blocks(&source)));
    quantize_by_percent: heap_over(|source| Quantize::<Percent<25>, _>::new(blocks(&source)));
    align_up: heap_over(|source| AlignUp::<64, _>::new(blocks(&source))).describes();
    affix: heap_over(|source| Affix::<u64, _>::new(blocks(&source))).describes();
    affix_behind: heap_over(|source| Affix::<(), _, u32>::new(blocks(&source)));
    affix_both: heap_over(|source| Affix::<Requested, _, [u8; 3]>::new(blocks(&source)));
    per_class_arenas: try_heap_over(|source: Source| -> Made<_> {
        let arenas: Made<Vec<_>> = (0..<Small as SizeClasses>::COUNT).map(|_| room(&source, 8000)).collect();
        let mut arenas = arenas?.into_iter();
        Ok(PerClass::<Small, _>::from_fn(|_| arenas.next().expect("one for each class")))
    }).sizes_to(1024).owns().resets().inspects();
    quantize_arena: try_heap_over(|source: Source| {
        room(&source, 30_000).map(Quantize::<Multiples<48>, _>::new)
    }).owns().resets().inspects();
    align_up_arena: try_heap_over(|source: Source| room(&source, 30_000).map(AlignUp::<32, _>::new))
        .owns().resets().inspects();
    align_up_scoped: heap_over(|source: Source| AlignUp::<32, _>::new(Scoped::new(blocks(&source)))).resets().knows_sizes();
    affix_behind_arena: try_heap_over(|source: Source| room(&source, 30_000).map(Affix::<(), _, u32>::new))
        .owns().resets().inspects();
    // The rule is the good size.
    quantize_forwards: forwards(Quantize::<Multiples<8>, Probe>::new).except(Call::GoodSize);
    align_up_forwards: forwards(AlignUp::<1, Probe>::new);
    segregate_forwards: forwards(|probe| Segregate::<65_536, _, _>::new(probe, heapwright::heap::NoHeap));
    segregate_forwards_larger: forwards(|probe| Segregate::<65_536, _, _>::new(heapwright::heap::NoHeap, probe))
        .layout(Layout::new::<[u64; 10_000]>());
}
