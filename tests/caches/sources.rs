//! Caches over every kind of source, several on one, and what the source has when they are gone.

use std::alloc::Layout;
use std::collections::HashSet;
use std::mem::MaybeUninit;

use heapwright::arena::Teaspoon;
use heapwright::cache::{DefaultInit, FnInit, For, KeepSlabs, ObjectCache, SlabCache};
use heapwright::heap::{Inspect, Locked, SharedHeap};
use heapwright::lock::{NoLock, SpinLock};
use heapwright::sizing::{Sizing16MiB, Sizing128KiB};
use heapwright::slab::{AlignedSlabs, IndexStack, IntrusiveList, LargeSlabs, SlabSystem};
use heapwright::source::{
    BackingSource, Buffer, Counted, FromGlobalAlloc, GlobalHeap, Limited, SourceHeap, StaticBuffer,
};

/// What a cache over a source can do: `count` strings out at once, each its own, and all back; twice.
fn strings<S: SlabSystem>(source: S::Source, count: usize) {
    let cache = ObjectCache::<String, DefaultInit, S, NoLock, KeepSlabs<1>, 4>::over(source);
    for round in 0..2 {
        let mut taken: Vec<_> = (0..count).map(|_| cache.alloc().unwrap()).collect();
        for (number, text) in taken.iter_mut().enumerate() {
            text.clear();
            **text += &format!("number {number} of round {round}");
        }
        let all: HashSet<String> = taken.iter().map(|text| String::clone(text)).collect();
        assert_eq!(all.len(), count);
        cache.verify().unwrap();
        assert_eq!(cache.stats().live, count);
    }
}

/// Both systems over a source that is had anew for each.
fn both_systems<B: BackingSource>(source: impl Fn() -> B, count: usize) {
    strings::<AlignedSlabs<B>>(source(), count);
    strings::<AlignedSlabs<B, 1024, IndexStack>>(source(), count);
    strings::<LargeSlabs<B>>(source(), count);
    strings::<LargeSlabs<B, 900>>(source(), count);
}

#[test]
fn every_source_serves() {
    both_systems(|| GlobalHeap, 2000);
    both_systems(|| FromGlobalAlloc::new(&std::alloc::System), 2000);
    both_systems(|| Limited::new(GlobalHeap, 200 << 10), 2000);
    #[cfg(feature = "allocator-api2-02")]
    both_systems(|| heapwright::source::FromAllocator02::new(allocator_api2_02::alloc::Global), 2000);
    #[cfg(feature = "allocator-api2-04")]
    both_systems(|| heapwright::source::FromAllocator04::new(allocator_api2_04::alloc::Global), 2000);
    #[cfg(all(feature = "os", not(miri)))]
    {
        use heapwright::source::Pages;
        both_systems(|| Pages, 20_000);
        both_systems(|| Limited::new(Counted::new(Pages), 16 << 20), 2000);
        let heap = Locked::<_, SpinLock>::new(SourceHeap::new(Pages));
        both_systems(|| &heap, 2000);
    }
}

/// A static's bytes are one block: one slab.
#[test]
fn a_static_buffer_serves_one_slab() {
    static RAM: StaticBuffer<8192> = StaticBuffer::new();
    for _ in 0..2 {
        strings::<AlignedSlabs<_, 2048>>(&RAM, 80);
        strings::<LargeSlabs<_, 8000>>(&RAM, 300);
        assert!(!RAM.is_claimed(), "it is back");
    }
    let cache = ObjectCache::<u64, DefaultInit, LargeSlabs<_, 4000>>::over(&RAM);
    let mut all = Vec::new();
    while let Ok(number) = cache.alloc() {
        all.push(number);
    }
    assert_eq!(all.len(), cache.stats().capacity);
    assert_eq!(cache.stats().slabs, 1);
}

/// A borrowed slice, by a source that can take back only what it gave last, or all.
#[test]
fn a_buffer_serves_and_is_whole_afterwards() {
    let mut memory = vec![MaybeUninit::uninit(); 64 << 10];
    let source = Locked::<_, NoLock>::new(SourceHeap::new(Buffer::from_slice(&mut memory)));
    both_systems(|| &source, 300);
    assert_eq!(source.into_inner().source().left(), 64 << 10);
    both_systems(|| Buffer::from_slice(vec![MaybeUninit::uninit(); 96 << 10].leak()), 300);
}

/// `&mut` of a source serves, and has its own numbers afterwards.
#[test]
fn a_source_by_reference_counts_what_a_cache_takes() {
    let mut counted = Counted::new(GlobalHeap);
    strings::<AlignedSlabs<_>>(&mut counted, 1000);
    let counts = counted.counts();
    assert_eq!((counts.blocks, counts.bytes, counts.acquired), (0, 0, counts.released));
    assert!(counts.bytes_peak >= 1000 * size_of::<String>());
    let mut counted = Counted::new(GlobalHeap);
    strings::<LargeSlabs<_>>(&mut counted, 1000);
    let counts = counted.counts();
    assert_eq!((counts.blocks, counts.bytes, counts.acquired), (0, 0, counts.released));
}

/// Caches of several kinds at work at once on one arena; when all are gone, the arena is as it was.
fn on_an_arena<H: Inspect + Send>(arena: &Locked<H, SpinLock>) {
    let before = arena.usage();
    {
        let make = || Vec::<u8>::with_capacity(3);
        let lists = ObjectCache::<Vec<u8>, _, AlignedSlabs<_, 1024>>::new(arena, FnInit(make));
        let numbers = ObjectCache::<[u64; 5], DefaultInit, LargeSlabs<_, 700, IndexStack>>::over(arena);
        let raw: SlabCache<AlignedSlabs<_, 512, IntrusiveList>, NoLock, For<[u8; 24]>> =
            SlabCache::over(arena);
        let other = arena.try_alloc(Layout::new::<[u8; 100]>()).unwrap();
        let mut out = Vec::new();
        for round in 0..200_u64 {
            let mut list = lists.alloc().unwrap();
            list.clear();
            list.push(round as u8);
            let mut five = numbers.alloc().unwrap();
            *five = [round; 5];
            let block = raw.try_alloc(Layout::new::<[u8; 24]>()).unwrap();
            // SAFETY: the block is ours, and 24 bytes long.
            unsafe { block.cast::<u8>().write_bytes(round as u8, 24) };
            out.push((round, list, five, block));
            if round % 3 == 2 {
                let (round, list, five, block) = out.swap_remove(round as usize % out.len());
                assert_eq!((list.as_slice(), *five), (&[round as u8][..], [round; 5]));
                // SAFETY: the block is live.
                assert_eq!(unsafe { block.cast::<[u8; 24]>().read() }, [round as u8; 24]);
                // SAFETY: as above, and its layout this one.
                unsafe { raw.free(block.cast(), Layout::new::<[u8; 24]>()) };
            }
            if round % 50 == 49 {
                lists.reap();
                numbers.reap();
                raw.reap();
                arena.verify().unwrap();
            }
        }
        for cache in [lists.stats(), numbers.stats()] {
            assert_eq!(cache.live, out.len());
        }
        for (_, _, _, block) in out {
            // SAFETY: the block is live, and its layout this one.
            unsafe { raw.free(block.cast(), Layout::new::<[u8; 24]>()) };
        }
        // SAFETY: the block is live, and its layout this one.
        unsafe { arena.free(other.cast(), Layout::new::<[u8; 100]>()) };
        assert!(arena.usage().used > before.used);
    }
    assert_eq!(arena.usage(), before);
    arena.verify().unwrap();
}

#[test]
fn an_arena_is_as_before_when_its_caches_are_gone() {
    let mut memory = vec![MaybeUninit::uninit(); 100 << 10];
    on_an_arena(&Teaspoon::<Sizing128KiB, SpinLock>::from_slice(&mut memory));
    let mut memory = vec![MaybeUninit::uninit(); 200_001];
    on_an_arena(&Teaspoon::<Sizing16MiB, SpinLock>::from_slice(&mut memory[1..]));
}

/// When an arena is full, each of the caches on it says so, and goes on when another gives memory back.
#[test]
fn what_one_cache_gives_back_another_can_have() {
    let mut memory = vec![MaybeUninit::uninit(); 16 << 10];
    let arena = Teaspoon::<Sizing128KiB, NoLock>::from_slice(&mut memory);
    let first = ObjectCache::<[u64; 4], DefaultInit, AlignedSlabs<_, 1024>>::over(&arena);
    let second = ObjectCache::<[u64; 8], DefaultInit, LargeSlabs<_, 1000>>::over(&arena);
    let mut all = Vec::new();
    while let Ok(object) = first.alloc() {
        all.push(object);
    }
    assert!(all.len() > 200);
    // What alignment left over may do for one or the other.
    let mut others = Vec::new();
    while let Ok(object) = second.alloc() {
        others.push(object);
    }
    let few = others.len();
    drop(all);
    assert!(second.alloc().is_err(), "the first cache keeps its slabs");
    assert!(first.reap() > 5);
    while let Ok(object) = second.alloc() {
        others.push(object);
    }
    assert!(others.len() > few + 50);
    drop(others);
    drop((first, second));
    assert_eq!(arena.usage().objects, 0);
}
