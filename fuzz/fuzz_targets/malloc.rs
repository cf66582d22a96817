//! General allocators: the presets, with checks and without, and one that has next to nothing at hand. All are statics, so each run finds what the runs before have left.
//!
//! A misuse that one of those with checks believes to have found ends the process, and so the run: there is none.

#![no_main]

use core::alloc::GlobalAlloc;

use drive::{ByGlobal, drive};
use heapwright::cache::malloc::MallocInstance;
use heapwright::cache::{ChunkHeap, Malloc, MallocSettings, ReleaseAtOnce};
use heapwright::lock::YieldLock;
use heapwright::preset::{CheckedMalloc, CompactMalloc, HardenedMalloc, SlabMalloc};
use heapwright::source::Pages;
use libfuzzer_sys::fuzz_target;

/// Stacks of two objects, depots of two, and what is free goes back at once.
struct Tiny;
impl MallocSettings for Tiny {
    type Classes = heapwright::cache::Classes;
    type Chunks = ChunkHeap<Pages, YieldLock, ReleaseAtOnce, 32768>;
    type Lock = YieldLock;
    const FRONT_SLOTS: usize = 2;
    const GROWN_BYTES: usize = 0;
    const DEPOT_SLOTS: usize = 2;
    const SHARDS: usize = 1;
}
heapwright::malloc! { static TINY as TinyMalloc: Tiny = ChunkHeap::new(Pages); }

fuzz_target!(|bytes: &[u8]| {
    let [kind, script @ ..] = bytes else { return };
    match kind % 5 {
        0 => run(&SlabMalloc, script),
        1 => run(&CompactMalloc, script),
        2 => run(&CheckedMalloc, script),
        3 => run(&HardenedMalloc, script),
        _ => run(&TinyMalloc, script),
    }
});

fn run<I: MallocInstance>(malloc: &Malloc<I>, script: &[u8])
where
    Malloc<I>: GlobalAlloc,
{
    drive(&mut ByGlobal(malloc), script);
    assert_eq!(malloc.stats().bytes_live, 0, "all blocks are free, and some are counted");
}
