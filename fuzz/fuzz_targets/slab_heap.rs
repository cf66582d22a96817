//! Heaps of slab caches: slabs of every kind, all policies of what to keep and of what to check, with and without objects at hand, over a source that may run out.
//!
//! Slabs of 64 KiB, which a length of 0 gives, are mapped and unmapped by the sanitizer one by one, and so are slow: one kind in six has them.

#![no_main]

use core::sync::atomic::{AtomicUsize, Ordering};

use core::alloc::Layout;
use core::ptr::NonNull;

use drive::drive_inspected;
use heapwright::AllocError;
use heapwright::cache::{Classes, KeepAll, KeepSlabs, ReleaseAtOnce, Retention, SizeClasses, SlabHeap};
use heapwright::check::{Checked, Checks, Hardened, Unchecked};
use heapwright::slab::{AlignedSlabs, IndexStack, IntrusiveList, LargeSlabs, SlabSystem};
use heapwright::source::{BackingSource, GlobalHeap, SourceHeap};
use libfuzzer_sys::fuzz_target;

heapwright::size_classes! { struct Small = 8..=1024, 4 per doubling; }
heapwright::size_classes! { struct Odd = [8, 24, 40, 72, 136, 144, 1000, 4104], waste 90 %; }

/// The global heap, up to a number of blocks; counts those that are out.
#[derive(Clone)]
struct Scarce;

static LEFT: AtomicUsize = AtomicUsize::new(0);
static OUT: AtomicUsize = AtomicUsize::new(0);

// SAFETY: B1 to B7 are those of `GlobalHeap`; a refusal changes nothing.
unsafe impl BackingSource for Scarce {
    const GRANULE: usize = GlobalHeap::GRANULE;
    const ALIGN_MAX: usize = GlobalHeap::ALIGN_MAX;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if LEFT.load(Ordering::Relaxed) == 0 {
            return Err(AllocError);
        }
        let block = GlobalHeap.acquire(layout)?;
        LEFT.fetch_sub(1, Ordering::Relaxed);
        OUT.fetch_add(1, Ordering::Relaxed);
        Ok(block)
    }

    unsafe fn release(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { GlobalHeap.release(ptr, layout) };
        OUT.fetch_sub(1, Ordering::Relaxed);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let [kind, left, script @ ..] = bytes else { return };
    LEFT.store(if *left < 40 { usize::from(*left) } else { usize::MAX }, Ordering::Relaxed);
    match kind % 12 {
        0 => heap::<Small, AlignedSlabs<Scarce>, KeepAll, 16, Unchecked>(script),
        1 => heap::<Small, AlignedSlabs<Scarce, 4096, IntrusiveList>, KeepSlabs<1>, 2, Unchecked>(script),
        2 => heap::<Odd, LargeSlabs<Scarce>, ReleaseAtOnce, 0, Unchecked>(script),
        3 => heap::<Odd, LargeSlabs<Scarce, 0, IntrusiveList>, KeepSlabs<2>, 4, Unchecked>(script),
        4 => heap::<Small, AlignedSlabs<Scarce, 16384, IndexStack>, ReleaseAtOnce, 8, Unchecked>(script),
        5 => heap::<Classes, AlignedSlabs<Scarce>, KeepSlabs<1>, 4, Unchecked>(script),
        6 => heap::<Small, AlignedSlabs<Scarce, 4096>, KeepAll, 8, Checked>(script),
        7 => heap::<Odd, LargeSlabs<Scarce>, KeepSlabs<1>, 2, Checked>(script),
        8 => heap::<Small, AlignedSlabs<Scarce, 16384>, KeepSlabs<1>, 8, Hardened>(script),
        9 => heap::<Small, AlignedSlabs<Scarce, 4096, IntrusiveList<Hardened>>, KeepAll, 2, Hardened>(script),
        10 => heap::<Odd, LargeSlabs<Scarce, 0, IntrusiveList<Hardened>>, ReleaseAtOnce, 4, Hardened>(script),
        _ => heap::<Odd, LargeSlabs<Scarce, 0, IndexStack>, ReleaseAtOnce, 0, Hardened>(script),
    }
    assert_eq!(OUT.load(Ordering::Relaxed), 0, "the source does not have all back");
});

fn heap<C: SizeClasses, S: SlabSystem<Source = Scarce>, R: Retention, const FRONT: usize, P: Checks>(
    script: &[u8],
) {
    let mut heap = SlabHeap::<C, S, _, R, FRONT, P>::new(Scarce, SourceHeap::new(Scarce));
    drive_inspected(&mut heap, script);
}
