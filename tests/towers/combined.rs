//! Combinators one by one, over plain heaps and sources.

use heapwright::arena::SourceArena;
use heapwright::combine::{
    Arenas, Chain, Downward, DynHeap, FixedChunks, Growing, Region, Ring, Scoped, Shared, StackFirst, Upward,
};
use heapwright::conformance::{Source, forwards, heap_over, shared_over, try_heap_over, try_shared_over};
use heapwright::heap::Locked;
use heapwright::lock::{NoLock, SpinLock};
use heapwright::sizing::{Bounded, Sizing4KiB, Sizing16MiB};
use heapwright::source::SourceHeap;

use crate::based::Based;
use crate::cores::Pages;
use crate::rows;

type Small = Growing<512, 8192>;

rows! {
    region_up: heap_over(Region::<Source>::new).owns().resets().describes();
    region_up_small: heap_over(Region::<Source, Small, Upward, 8>::new).owns().resets().describes();
    region_down: heap_over(Region::<Pages, Small, Downward>::new).owns().resets();
    region_fixed: heap_over(Region::<Source, FixedChunks<4096>, Downward, 16>::new).owns().resets();
    chain: heap_over(|source: Source| Chain::<_, _>::new(Arenas::<Sizing16MiB, Growing<4096, 65536>>::new(), source))
        .owns().resets().describes();
    chain_of_small_arenas: heap_over(|pages: Pages| {
        Chain::<_, _, 0>::new(Arenas::<Bounded<Sizing4KiB>, FixedChunks<4096>>::new(), pages)
    }).owns().resets().gives_all_back();
    ring: heap_over(|source: Source| Ring::new([(); 1].map(|()| Region::<_, Small>::new(source.clone())))).owns().resets();
    ring_of_three: heap_over(|source: Source| Ring::new([(); 3].map(|()| Region::<_>::new(source.clone()))))
        .owns().resets().describes();
    ring_of_arenas: try_heap_over(|source: Source| {
        let frame = || SourceArena::<_, Sizing16MiB>::with_size(source.clone(), 20_000);
        frame().and_then(|first| Ok(Ring::new([first, frame()?])))
    }).owns().resets();
    scoped: heap_over(|source: Source| Scoped::new(SourceHeap::new(source))).resets().knows_sizes().describes();
    scoped_arena: try_heap_over(|source: Source| {
        SourceArena::<_, Sizing16MiB>::with_size(source, 30_000).map(Scoped::new)
    }).resets().knows_sizes().inspects();
    scoped_forwards: forwards(Scoped::new);
    shared: try_shared_over(|source: Source| Shared::<_, SpinLock>::new(SourceHeap::new(source)))
        .moves().threads().describes();
    shared_arena: try_shared_over(|source: Source| {
        SourceArena::<_, Sizing16MiB>::with_size(source, 30_000).and_then(Shared::<_, NoLock>::new)
    }).moves();
    dyn_heap: shared_over(|source: Source| {
        Based::new(Locked::<_, NoLock>::new(SourceHeap::new(source)), |heap| -> &dyn DynHeap { heap })
    }).moves();
    dyn_heap_shared: shared_over(|source: Source| {
        let heap = Locked::<_, SpinLock>::new(SourceHeap::new(source));
        Based::new(heap, |heap| -> &(dyn DynHeap + Sync) { heap })
    }).moves().threads();
    stack_first_in_frames: shared_over(|source: Source| {
        StackFirst::<300, _>::new(Locked::<_, NoLock>::new(Region::<_, Small>::new(source)))
    });
}
