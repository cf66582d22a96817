//! Towers of combinators, over the global heap or an arena: the sanitizer sees every block at the bottom.

#![no_main]

use drive::drive;
use heapwright::arena::SourceArena;
use heapwright::check::Abort;
use heapwright::combine::{
    Affix, AlignUp, Arenas, AtMost, Chain, Fallback, FreeLists, Growing, OnFree, PowersOfTwo, Quantize,
    Quarantine, Quota, RedZones, Region, Scoped, Segregate, StackFirst, Upward, Zeroing,
};
use heapwright::heap::{Heap, Locked};
use heapwright::lock::NoLock;
use heapwright::sizing::{Checked, Sizing16MiB};
use heapwright::source::{GlobalHeap, SourceHeap};
use libfuzzer_sys::fuzz_target;

heapwright::size_classes! { struct Small = 8..=1024, 4 per doubling; }

type Blocks = SourceHeap<GlobalHeap>;

fn blocks() -> Blocks {
    SourceHeap::new(GlobalHeap)
}

fuzz_target!(|bytes: &[u8]| {
    let [kind, script @ ..] = bytes else { return };
    match kind % 12 {
        0 => run(Affix::<u64, _, u16>::new(blocks()), script),
        1 => run(RedZones::<8, 8, _>::new(Quota::new(blocks(), 60_000), Abort), script),
        2 => run(Region::<_, Growing<1024, 16_384>, Upward, 4>::new(GlobalHeap), script),
        3 => run(Chain::<_, _>::new(Arenas::<Sizing16MiB, Growing<4096, 16_384>>::new(), GlobalHeap), script),
        4 => run(Scoped::new(AlignUp::<16, _>::new(blocks())), script),
        5 => {
            let small = FreeLists::<Small, _, AtMost<8>>::new(blocks());
            run(Segregate::<700, _, _>::new(small, Quantize::<PowersOfTwo, _>::new(blocks())), script);
        }
        6 => {
            if let Ok(first) = SourceArena::<_, Checked<Sizing16MiB>>::with_size(GlobalHeap, 5000) {
                run(Fallback::new(first, AlignUp::<16, _>::new(blocks())), script);
            }
        }
        7 => {
            let stack = StackFirst::<500, _>::new(Locked::<_, NoLock>::new(blocks()));
            run(SourceHeap::new(&stack), script);
        }
        8 => run(
            Affix::<u16, _, ()>::new(RedZones::<16, 16, _>::new(
                FreeLists::<Small, _, AtMost<4>>::new(blocks()),
                Abort,
            )),
            script,
        ),
        9 => run(Zeroing::<OnFree, _>::new(Quantize::<PowersOfTwo, _>::new(blocks())), script),
        10 => run(Quarantine::<8, _>::new(blocks(), Abort), script),
        _ => {
            if let Ok(arena) = SourceArena::<_, Sizing16MiB>::with_size(GlobalHeap, 30_000) {
                run(Scoped::new(Quota::new(FreeLists::<Small, _, AtMost<8>>::new(arena), 20_000)), script);
            }
        }
    }
});

fn run<H: Heap>(mut heap: H, script: &[u8]) {
    drive(&mut heap, script);
}
