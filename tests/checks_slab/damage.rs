//! Free memory that was written to.

use std::alloc::Layout;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::cache::{Exactly, KeepAll, ReleaseAtOnce, SlabCache};
use heapwright::check::{Checks, Hardened, Off, On, Wrong};
use heapwright::heap::SharedHeap;
use heapwright::lock::NoLock;
use heapwright::slab::{AlignedSlabs, Bitmap, IndexStack, IntrusiveList, LargeSlabs, SlabSystem};
use heapwright::source::Buffer;

use crate::random::Random;
use crate::told::{Keep, told};
use crate::{flip, free, share};

/// Links are encoded, and nothing else.
struct Encoded;

impl Checks for Encoded {
    type Frees = On;
    type Quarantine = Off;
    type Report = Keep;
    const ENCODE: bool = true;
}

const LAYOUT: Layout = Layout::new::<[u64; 5]>();

/// What lies around the memory of a cache.
const GUARD: u8 = 0x5a;

/// Memory in the midst of other memory.
#[repr(C, align(4096))]
struct Memory {
    before: [u8; 4096],
    slabs: [MaybeUninit<u8>; 2048],
    behind: [u8; 4096],
}

impl Memory {
    fn new() -> Box<Self> {
        Box::new(Memory {
            before: [GUARD; 4096],
            slabs: [MaybeUninit::new(0xee); 2048],
            behind: [GUARD; 4096],
        })
    }

    fn is_whole(&self) -> bool {
        self.before.iter().chain(&self.behind).all(|&byte| byte == GUARD)
    }
}

type Cache<S, P, const FRONT: usize> = SlabCache<S, NoLock, Exactly<40, 8>, KeepAll, FRONT, P>;

/// All there is, handed out.
fn take_all(cache: &impl SharedHeap) -> Vec<NonNull<u8>> {
    std::iter::from_fn(|| cache.try_alloc(LAYOUT).ok().map(NonNull::cast)).collect()
}

/// Some free objects are written to: each is told once, and all is well with the others. Says how many.
fn written<'a, S: SlabSystem<Source = Buffer<'a>>, P: Checks, const FRONT: usize, const LINKED: bool>(
    slabs: &'a mut [MaybeUninit<u8>],
    random: &mut Random,
) -> usize {
    let cache = Cache::<S, P, FRONT>::over(Buffer::from_slice(slabs));
    let (mut live, mut free, mut written) = (take_all(&cache), Vec::new(), HashMap::new());
    assert!(live.len() > 8 && told().is_empty());
    for _ in 0..1 + random.below(live.len() - 1) {
        let block = live.swap_remove(random.below(live.len()));
        // SAFETY: a live block, and its layout.
        unsafe { cache.free(block, LAYOUT) };
        free.push(block);
    }
    // What lies behind a broken link is lost, so that no more than one can be told.
    let count = if LINKED { 1 } else { 1 + random.below(free.len()) };
    for _ in 0..count {
        let block = free[random.below(free.len())];
        let offset = random.below(if P::ZERO_FREED { LAYOUT.size() } else { 8 });
        if let Entry::Vacant(place) = written.entry(block.addr().get()) {
            // SAFETY: memory that we have, though nobody may write there.
            unsafe { flip(block, offset, random.below(8)) };
            place.insert(offset);
        }
    }
    let again = take_all(&cache);
    let mut all: Vec<_> = live.iter().chain(&again).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), live.len() + again.len(), "no object is handed out twice");
    let (told, injected) = (told(), written.len());
    assert_eq!((told.len(), cache.misuses()), (injected, injected), "each is told: {told:?}");
    for misuse in told {
        // It was written to, and is told once.
        let offset = written.remove(&misuse.address).unwrap();
        match misuse.wrong {
            Wrong::WrittenAfterFree => {
                let damage = misuse.damage.unwrap();
                assert_eq!((damage.offset, damage.expected), (offset as isize, 0));
                assert_eq!(again.len(), free.len(), "nothing is lost");
            }
            wrong => assert_eq!((wrong, LINKED), (Wrong::Metadata, true)),
        }
    }
    for block in live.into_iter().chain(again) {
        // SAFETY: a live block, and its layout.
        unsafe { cache.free(block, LAYOUT) };
    }
    assert_eq!((cache.verify(), crate::told::told()), (Ok(()), vec![]));
    injected
}

/// Calls `written` until there were enough, with memory in the midst of other memory.
macro_rules! often {
    ($policy:ty, $linked:literal; $($system:ty, $front:literal;)*) => {$(
        let (mut memory, mut random, mut count) = (Memory::new(), Random::new(5), 0);
        while count < share(if $linked { 6 } else { 3 }) {
            count += written::<$system, $policy, $front, $linked>(&mut memory.slabs, &mut random);
        }
        assert!(memory.is_whole(), "nothing was touched outside");
    )*};
}

type List = IntrusiveList<Hardened<Keep>>;

#[test]
fn what_is_written_after_it_was_freed() {
    often!(Hardened<Keep>, false;
        AlignedSlabs<_, 1024, Bitmap>, 16; AlignedSlabs<_, 2048, IndexStack>, 0; LargeSlabs<_, 1000, Bitmap>, 7;
    );
}

#[test]
fn links_that_were_written_to() {
    often!(Hardened<Keep>, true;
        AlignedSlabs<_, 1024, List>, 5; AlignedSlabs<_, 2048, List>, 0; LargeSlabs<_, 1000, List>, 1;
    );
    often!(Encoded, true;
        AlignedSlabs<_, 1024, IntrusiveList<Encoded>>, 0; AlignedSlabs<_, 2048, IntrusiveList<Encoded>>, 0;
        LargeSlabs<_, 1000, IntrusiveList<Encoded>>, 0;
    );
}

/// A link is written to, and what is free is freed again, before that is found and after: each time it is told, and nothing else comes of it. Says how many objects were lost.
fn freed_again<'a, S: SlabSystem<Source = Buffer<'a>>, P: Checks>(
    slabs: &'a mut [MaybeUninit<u8>],
    random: &mut Random,
) -> usize {
    let cache = SlabCache::<S, NoLock, Exactly<40, 8>, ReleaseAtOnce, 0, P>::over(Buffer::from_slice(slabs));
    let mut live = take_all(&cache);
    let count = live.len();
    // The rest stays, so that no slab goes back.
    let home = |block: &NonNull<u8>| {
        let address = block.addr().get();
        cache.slabs().find(|slab| (slab.address..slab.address + slab.len).contains(&address))
    };
    let slab = home(&live[0]).unwrap().address;
    let mut free_ones = Vec::new();
    for _ in 0..2 + random.below(count / 3) {
        let block = live.swap_remove(1 + random.below(live.len() - 1));
        // SAFETY: a live block, and its layout.
        unsafe { cache.free(block, LAYOUT) };
        free_ones.push(block);
    }
    let again_and_again = |blocks: &[NonNull<u8>]| {
        for &block in blocks.iter().chain(blocks) {
            free(&cache, block, LAYOUT);
            let found: Vec<_> = told().iter().map(|misuse| (misuse.wrong, misuse.address)).collect();
            assert_eq!(found, [(Wrong::DoubleFree, block.addr().get())]);
        }
    };
    let broken = free_ones[random.below(free_ones.len())];
    // SAFETY: memory that we have, though nobody may write there.
    unsafe { flip(broken, random.below(8), random.below(8)) };
    again_and_again(&free_ones);
    let again = take_all(&cache);
    let found: Vec<_> = told().iter().map(|misuse| (misuse.wrong, misuse.address)).collect();
    assert_eq!(found, [(Wrong::Metadata, broken.addr().get())]);
    let back: HashSet<_> = again.iter().copied().collect();
    live.extend(again);
    let all: HashSet<_> = live.iter().copied().collect();
    assert_eq!(all.len(), live.len(), "no object is handed out twice");
    let lost: Vec<_> = free_ones.into_iter().filter(|block| !back.contains(block)).collect();
    assert_eq!(live.len() + lost.len(), count, "and none is gone but those");
    again_and_again(&lost);
    assert_eq!((cache.verify(), cache.stats().live), (Ok(()), count));
    // All but one go; its slab stays.
    for block in live.drain(1..) {
        // SAFETY: a live block, and its layout.
        unsafe { cache.free(block, LAYOUT) };
    }
    again_and_again(&lost);
    assert_eq!((cache.verify(), cache.stats().live), (Ok(()), 1 + lost.len()));
    assert_eq!(home(&live[0]).map(|slab| slab.address), Some(slab));
    // SAFETY: a live block, and its layout.
    unsafe { cache.free(live[0], LAYOUT) };
    let homes: HashSet<_> = lost.iter().map(|block| home(block).unwrap().address).collect();
    assert_eq!((told(), cache.stats().slabs), (vec![], homes.len()), "what has lost objects stays");
    lost.len()
}

#[test]
fn what_lies_behind_a_broken_link_is_not_freed_again() {
    macro_rules! often {
        ($policy:ty; $($system:ty;)*) => {$(
            let (mut memory, mut random, mut lost) = (Memory::new(), Random::new(11), 0);
            for _ in 0..share(100) {
                lost += freed_again::<$system, $policy>(&mut memory.slabs, &mut random);
            }
            assert!(memory.is_whole() && lost > 0);
        )*};
    }
    often!(Hardened<Keep>; AlignedSlabs<_, 1024, List>; AlignedSlabs<_, 2048, List>; LargeSlabs<_, 1000, List>;);
    often!(Encoded;
        AlignedSlabs<_, 1024, IntrusiveList<Encoded>>; AlignedSlabs<_, 2048, IntrusiveList<Encoded>>;
        LargeSlabs<_, 1000, IntrusiveList<Encoded>>;
    );
}

/// A free object whose own link is broken, and that of the one before it as well, is found by its zone, which is zero: nobody gets it twice.
#[test]
fn what_was_lost_with_its_own_link_stays_lost() {
    let mut memory = Memory::new();
    type Slabs<'a> = AlignedSlabs<Buffer<'a>, 2048, List>;
    let cache = Cache::<Slabs<'_>, Hardened<Keep>, 0>::over(Buffer::from_slice(&mut memory.slabs));
    let mut live = take_all(&cache);
    let count = live.len();
    let freed: Vec<_> = live.drain(3..7).collect();
    for &block in &freed {
        // SAFETY: a live block, and its layout.
        unsafe { cache.free(block, LAYOUT) };
    }
    for block in &freed[2..] {
        // SAFETY: memory that we have, though nobody may write there.
        unsafe { flip(*block, 5, 2) };
    }
    let is_told = || {
        for (&block, wrong) in freed.iter().zip([Wrong::DoubleFree, Wrong::DoubleFree, Wrong::WrittenBehind])
        {
            for layout in [LAYOUT, Layout::new::<[u8; 3]>()] {
                free(&cache, block, layout);
                let found: Vec<_> = told().iter().map(|misuse| (misuse.wrong, misuse.address)).collect();
                assert_eq!(found, [(wrong, block.addr().get())]);
            }
        }
    };
    is_told();
    live.extend(take_all(&cache));
    let found: Vec<_> = told().iter().map(|misuse| (misuse.wrong, misuse.address)).collect();
    assert_eq!(found, [(Wrong::Metadata, freed[3].addr().get())]);
    is_told();
    let all: HashSet<_> = live.iter().collect();
    assert_eq!((all.len(), live.len()), (count - 3, count - 3), "no object is handed out twice");
    assert_eq!((cache.verify(), cache.stats().live), (Ok(()), count));
}
