//! What is put through random scripts on machines without an OS: arenas of every sizing, in memory of their own and as statics, a heap of slabs over a
//! static buffer, and heaps behind locks.

#![no_std]

// Its critical sections for machines with std.
#[cfg(not(target_os = "none"))]
use critical_section as _;

use core::alloc::Layout;
use core::mem::MaybeUninit;

use drive::{ByGlobal, Random, drive, drive_inspected};
use heapwright::arena::{Arena, SourceArena, StaticArena};
use heapwright::cache::{KeepAll, KeepSlabs, SlabHeap};
use heapwright::heap::{Locked, NoHeap, SharedHeap};
use heapwright::lock::{CriticalSectionLock, NoLock, SpinLock};
use heapwright::sizing::{Bounded, Checked, Sizing, Sizing4KiB, Sizing16MiB, Sizing128KiB};
use heapwright::slab::AlignedSlabs;
use heapwright::source::StaticBuffer;

heapwright::size_classes! { struct Small = 8..=512, 4 per doubling; }

/// How much is done: scripts for each heap, and the bytes of each.
const SCRIPTS: u64 = 60;
const SCRIPT: usize = 1000;

/// A script of chance.
fn script(seed: u64) -> [u8; SCRIPT] {
    let mut bytes = [0; SCRIPT];
    Random::new(seed).fill(&mut bytes);
    bytes
}

/// Arenas in memory of any length and place, up to 16 KiB.
fn arenas<S: Sizing>() {
    let mut memory = [MaybeUninit::<u8>::uninit(); 16 << 10];
    for seed in 0..SCRIPTS {
        let (from, step) = (seed as usize % 17, 1 + seed as usize % 13);
        let end = memory.len() / step;
        let mut arena = Arena::<S>::from_slice(&mut memory[from.min(end)..end]);
        drive_inspected(&mut arena, &script(seed));
    }
}

/// An arena over a source, which gets its memory back.
fn arena_over_a_buffer() {
    static RAM: StaticBuffer<{ 12 << 10 }> = StaticBuffer::new();
    for seed in 0..SCRIPTS {
        let arena = SourceArena::<_, Sizing128KiB>::with_size(&RAM, 8 << 10);
        let Ok(mut arena) = arena else { panic!("the buffer is out, and should be free") };
        drive_inspected(&mut arena, &script(seed));
        drop(arena);
        assert!(!RAM.is_claimed(), "the arena is gone, and its memory is not");
    }
}

/// Slabs from an arena in a static buffer.
fn slabs() {
    static RAM: StaticBuffer<{ 64 << 10 }> = StaticBuffer::new();
    type Backing = Locked<SourceArena<&'static StaticBuffer<{ 64 << 10 }>, Sizing128KiB>, NoLock>;
    let Ok(arena) = SourceArena::with_size(&RAM, 48 << 10) else { panic!("no room for an arena") };
    let backing = Backing::new(arena);
    for seed in 0..SCRIPTS {
        let mut heap = SlabHeap::<Small, AlignedSlabs<_, 2048>, _, KeepAll, 4>::new(&backing, NoHeap);
        drive_inspected(&mut heap, &script(seed));
        drop(heap);
        let mut heap = SlabHeap::<Small, AlignedSlabs<_, 1024>, _, KeepSlabs<1>, 0>::new(&backing, NoHeap);
        drive_inspected(&mut heap, &script(!seed));
        drop(heap);
        assert_eq!(backing.usage().objects, 0, "slabs are lost");
    }
}

/// Statics, as a program's global allocator.
fn statics() {
    static SMALL: StaticArena<4096, Sizing4KiB, CriticalSectionLock> = StaticArena::new();
    static LARGE: StaticArena<{ 24 << 10 }, Checked<Sizing16MiB>, SpinLock> = StaticArena::new();
    for seed in 0..SCRIPTS {
        drive(&mut ByGlobal(&SMALL), &script(seed));
        drive(&mut ByGlobal(&LARGE), &script(seed));
        assert_eq!((SMALL.usage().objects, LARGE.usage().objects), (0, 0));
        assert_eq!((SMALL.verify(), LARGE.verify()), (Ok(()), Ok(())));
    }
    // What is there once can be had again, and what is too much is refused.
    let all = Layout::new::<[u64; 2048]>();
    assert!(SMALL.try_alloc(all).is_err());
    let Ok(block) = LARGE.try_alloc(all) else { panic!("the arena is free, and refuses") };
    // SAFETY: the block is live, and its layout this one.
    unsafe { LARGE.free(block.cast(), all) };
}

/// All of it. Panics if anything is wrong.
pub fn run() {
    arenas::<Sizing4KiB>();
    arenas::<Sizing128KiB>();
    arenas::<Sizing16MiB>();
    arenas::<Bounded<Sizing128KiB>>();
    arenas::<Checked<Sizing4KiB>>();
    arenas::<Checked<Sizing16MiB>>();
    arena_over_a_buffer();
    slabs();
    statics();
}

/// The same for WebAssembly, where a panic is a trap; says how many scripts there were.
#[cfg(target_arch = "wasm32")]
#[unsafe(no_mangle)]
pub extern "C" fn run_all() -> u32 {
    run();
    (11 * SCRIPTS) as u32
}

#[cfg(test)]
#[test]
fn here() {
    run();
}
