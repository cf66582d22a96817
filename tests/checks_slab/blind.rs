//! Slab systems that can't tell, or can't remember, in which slab an address lies.

use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::cache::{Exactly, KeepAll, SlabCache};
use heapwright::check::{Checked, Checks, Hardened, Wrong};
use heapwright::heap::SharedHeap;
use heapwright::lock::NoLock;
use heapwright::slab::{AlignedSlabs, Bitmap, Census, Rules, Shape, Slab, SlabSystem, Taken};
use heapwright::source::{Failing, GlobalHeap, Pages};

use crate::told::{Keep, told};
use crate::{flip, free};

/// A system of somebody else, who knows of no addresses: everything that a system need not have is missing.
struct Blind<S>(S);

// SAFETY: Y1 to Y6: those of the system within. What is detached is released by its header.
unsafe impl<S: SlabSystem> SlabSystem for Blind<S> {
    type Source = S::Source;
    const RULES: Rules = S::RULES;
    const NEW: Self = Blind(S::NEW);

    unsafe fn take(
        &mut self,
        source: &mut S::Source,
        shape: &Shape,
        out: &mut [MaybeUninit<NonNull<u8>>],
    ) -> Result<Taken, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.take(source, shape, out) }
    }

    unsafe fn put(&mut self, shape: &Shape, objects: &[NonNull<u8>], constructed: bool) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.put(shape, objects, constructed) };
    }

    unsafe fn detach(&mut self, shape: &Shape, any: bool) -> Option<Slab> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.detach(shape, any) }.map(|slab| Slab::new(slab.header()))
    }

    unsafe fn release(&mut self, source: &mut S::Source, shape: &Shape, slab: Slab) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.release(source, shape, slab) };
    }

    fn census(&self) -> Census {
        self.0.census()
    }
}

const LAYOUT: Layout = Layout::new::<[u64; 3]>();

type Cache<S, P, const FRONT: usize> = SlabCache<S, NoLock, Exactly<40, 8>, KeepAll, FRONT, P>;

fn take<S: SlabSystem, P: Checks, const FRONT: usize>(
    cache: &Cache<S, P, FRONT>,
    count: usize,
) -> Vec<NonNull<u8>> {
    (0..count).map(|_| cache.try_alloc(LAYOUT).unwrap().cast()).collect()
}

/// What was told, in short.
fn found() -> Vec<(Wrong, usize)> {
    told().iter().map(|misuse| (misuse.wrong, misuse.address)).collect()
}

#[test]
fn without_a_look_up_what_can_be_seen_at_hand_is_found() {
    let cache = Cache::<Blind<AlignedSlabs<Pages, 4096, Bitmap>>, Hardened<Keep>, 16>::over(Pages);
    let blocks = take(&cache, 200);
    // SAFETY: it lies behind the block, in its zone.
    unsafe { flip(blocks[0], 24, 3) };
    free(&cache, blocks[0], LAYOUT);
    free(&cache, blocks[0], LAYOUT);
    let address = blocks[0].addr().get();
    assert_eq!(found(), [(Wrong::WrittenBehind, address), (Wrong::DoubleFree, address)]);
    // Where nobody can say that memory was zero, nobody can say that it was written to.
    blocks[1..].iter().for_each(|&block| free(&cache, block, LAYOUT));
    // SAFETY: memory that we have, though nobody may write there.
    unsafe { flip(blocks[1], 0, 0) };
    let again = take(&cache, 200);
    again.into_iter().for_each(|block| free(&cache, block, LAYOUT));
    assert_eq!((found(), cache.stats().live), (vec![], 0));
    let slabs = cache.stats().slabs;
    assert!(slabs > 1 && cache.reap() == slabs);
}

#[test]
fn slabs_that_nobody_had_memory_to_remember_are_looked_for() {
    type Source = Failing<GlobalHeap>;
    // Four slabs are remembered in the value itself; the request after that for the fifth slab is refused: that for a table.
    let source = Failing::nth(GlobalHeap, 5);
    let cache = Cache::<AlignedSlabs<Source, 4096, Bitmap>, Checked<Keep>, 0>::over(source);
    let mut blocks = Vec::new();
    while cache.stats().slabs < 7 {
        blocks.extend(take(&cache, 1));
    }
    let of_slabs: Vec<_> = cache.slabs().map(|slab| (slab.address, slab.len)).collect();
    for (address, len) in of_slabs {
        let of_slab = |block: &NonNull<u8>| (address..address + len).contains(&block.addr().get());
        let at = blocks.iter().position(of_slab).unwrap();
        let block = blocks.swap_remove(at);
        free(&cache, block, LAYOUT);
        assert_eq!(found(), []);
        free(&cache, block, LAYOUT);
        assert_eq!(found(), [(Wrong::DoubleFree, block.addr().get())]);
    }
    let foreign = Box::new([0u64; 5]);
    free(&cache, NonNull::from(&*foreign).cast(), LAYOUT);
    assert_eq!(found(), [(Wrong::Foreign, std::ptr::from_ref(&*foreign).addr())]);
    blocks.into_iter().for_each(|block| free(&cache, block, LAYOUT));
    assert_eq!((found(), cache.verify(), cache.stats().live), (vec![], Ok(()), 0));
    let slabs = cache.stats().slabs;
    assert_eq!(cache.reap(), slabs);
}
