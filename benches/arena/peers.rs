//! The heaps that are compared, behind one trait.

use std::alloc::{GlobalAlloc, Layout};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use heapwright::arena;
use heapwright::heap::SharedHeap;
use heapwright::lock::{Lock, NoLock, SpinLock};
use heapwright::sizing::{self, Bounded};

use crate::memory::Region;
use crate::mix::layout;
use crate::others::{Buddy, Dlmalloc, LinkedList, Rlsf, Stalloc, Talc};

/// A heap at work in a region.
pub(crate) trait Heap {
    /// A block, or null.
    fn alloc(&mut self, layout: Layout) -> *mut u8;

    /// # Safety
    /// `ptr` is a live block of this heap, and `layout` its own.
    unsafe fn free(&mut self, ptr: *mut u8, layout: Layout);
}

/// How full a heap says it is, in bytes.
pub(crate) struct Fill {
    pub(crate) total: usize,
    pub(crate) free: usize,
    pub(crate) objects: usize,
}

/// What the teaspoons do beyond a `Heap`.
pub(crate) trait Spoon: Heap {
    /// A block for `new_size` bytes with the contents of the old one, or null.
    ///
    /// # Safety
    /// `ptr` is a live block of this heap, and `old` its layout.
    unsafe fn resize(&mut self, ptr: *mut u8, old: Layout, new_size: usize) -> *mut u8;

    fn fill(&self) -> Fill;
}

/// A kind of heap.
pub(crate) trait Peer: 'static {
    /// As in the tables.
    const NAME: &'static str;
    /// Whether the time of an operation grows with the number of objects: spared the largest workloads.
    const SLOW: bool = false;
    /// Whether it is in the race for its speed only, since its memory is that of another.
    const SPEED_ONLY: bool = false;

    type Heap<'a>: Heap;

    fn make(region: &mut [MaybeUninit<u8>]) -> Self::Heap<'_>;
}

/// Something to be done with a kind of heap.
pub(crate) trait Visit {
    fn visit<P: Peer>(&mut self);
}

/// Shows `visit` every peer that can serve the region, this crate's first.
pub(crate) fn visit_all(region: Region, visit: &mut impl Visit) {
    match region {
        Region::Kib4 => {
            visit_ours::<sizing::Sizing4KiB>(visit);
            visit.visit::<Ancestor<teaspoon::Sizing4KiB>>();
            visit.visit::<Talc>();
            visit.visit::<Rlsf<u8, u16, 8, 16>>();
        }
        Region::Kib128 => {
            visit_ours::<sizing::Sizing128KiB>(visit);
            visit.visit::<Ancestor<teaspoon::Sizing128KiB>>();
            visit.visit::<Talc>();
            visit.visit::<Rlsf<u16, u32, 13, 32>>();
        }
        Region::Mib1 | Region::Mib16 => {
            visit_ours::<sizing::Sizing16MiB>(visit);
            visit.visit::<Ancestor<teaspoon::Sizing16MiB>>();
            visit.visit::<Talc>();
            visit.visit::<Rlsf<u32, u32, 20, 32>>();
        }
    }
    visit.visit::<LinkedList>();
    match region {
        Region::Kib4 => visit.visit::<Stalloc<{ (4 << 10) / 4 - 1 }, 4>>(),
        Region::Kib128 => visit.visit::<Stalloc<{ (128 << 10) / 8 - 1 }, 8>>(),
        // Its links have 16 bits.
        Region::Mib1 | Region::Mib16 => {}
    }
    visit.visit::<Dlmalloc>();
    visit.visit::<Buddy>();
}

fn visit_ours<S: sizing::Sizing>(visit: &mut impl Visit) {
    visit.visit::<Ours<S, NoLock, 0>>();
    visit.visit::<Ours<Bounded<S>, NoLock, 1>>();
    visit.visit::<Ours<S, SpinLock, 2>>();
}

pub(crate) const OURS: &str = "heapwright";
pub(crate) const OURS_BOUNDED: &str = "heapwright bounded";
pub(crate) const OURS_SPIN: &str = "heapwright spin lock";
pub(crate) const TEASPOON: &str = "teaspoon";

/// This crate's teaspoon arena; the number says under which name.
pub(crate) struct Ours<S, L, const VARIANT: usize>(PhantomData<(S, L)>);

impl<S: sizing::Sizing, L: Lock + 'static, const VARIANT: usize> Peer for Ours<S, L, VARIANT> {
    const NAME: &'static str = [OURS, OURS_BOUNDED, OURS_SPIN][VARIANT];
    const SPEED_ONLY: bool = VARIANT == 2;
    type Heap<'a> = arena::Teaspoon<'a, S, L>;

    fn make(region: &mut [MaybeUninit<u8>]) -> Self::Heap<'_> {
        arena::Teaspoon::from_slice(region)
    }
}

impl<S: sizing::Sizing, L: Lock> Heap for arena::Teaspoon<'_, S, L> {
    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> *mut u8 {
        self.try_alloc(layout).map_or(ptr::null_mut(), |block| block.as_ptr().cast())
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8, layout: Layout) {
        let Some(ptr) = NonNull::new(ptr) else { return };
        // SAFETY: the caller's promise is the same.
        unsafe { SharedHeap::free(self, ptr, layout) }
    }
}

impl<S: sizing::Sizing, L: Lock> Spoon for arena::Teaspoon<'_, S, L> {
    #[inline(always)]
    unsafe fn resize(&mut self, ptr: *mut u8, old: Layout, new_size: usize) -> *mut u8 {
        let Some(ptr) = NonNull::new(ptr) else { return ptr::null_mut() };
        let new = layout(new_size, old.align());
        // SAFETY: the caller's promise is the same.
        let moved = unsafe { self.try_resize(ptr, old, new) };
        moved.map_or(ptr::null_mut(), |block| block.as_ptr().cast())
    }

    #[inline(always)]
    fn fill(&self) -> Fill {
        let usage = self.usage();
        Fill { total: usage.total, free: usage.free, objects: usage.objects }
    }
}

/// The crate teaspoon, whose spin lock is built in.
pub(crate) struct Ancestor<S>(PhantomData<S>);

impl<S: teaspoon::Sizing + 'static> Peer for Ancestor<S> {
    const NAME: &'static str = TEASPOON;
    const SLOW: bool = true;
    type Heap<'a> = teaspoon::Teaspoon<'a, S>;

    fn make(region: &mut [MaybeUninit<u8>]) -> Self::Heap<'_> {
        // SAFETY: the region is borrowed for as long as the heap lives, and the arena reads only what it has written.
        unsafe { teaspoon::Teaspoon::from_ptr_size(region.as_mut_ptr().cast(), region.len()) }
    }
}

impl<S: teaspoon::Sizing> Heap for teaspoon::Teaspoon<'_, S> {
    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> *mut u8 {
        // SAFETY: no workload asks for zero bytes.
        unsafe { GlobalAlloc::alloc(self, layout) }
    }

    #[inline(always)]
    unsafe fn free(&mut self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.dealloc(ptr, layout) }
    }
}

impl<S: teaspoon::Sizing> Spoon for teaspoon::Teaspoon<'_, S> {
    #[inline(always)]
    unsafe fn resize(&mut self, ptr: *mut u8, old: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise is the same, and no workload asks for zero bytes.
        unsafe { self.realloc(ptr, old, new_size) }
    }

    #[inline(always)]
    fn fill(&self) -> Fill {
        let usage = self.usage();
        Fill { total: usage.total, free: usage.free, objects: usage.objects }
    }
}

/// No heap: what the workload itself costs.
pub(crate) struct Floor;

/// Hands out the lines of its region in turn.
pub(crate) struct FloorHeap<'a> {
    region: &'a mut [MaybeUninit<u8>],
    next: usize,
}

impl Peer for Floor {
    const NAME: &'static str = "(no heap: the harness)";
    const SPEED_ONLY: bool = true;
    type Heap<'a> = FloorHeap<'a>;

    fn make(region: &mut [MaybeUninit<u8>]) -> Self::Heap<'_> {
        assert!(region.len().is_power_of_two(), "the floor wraps around by masking");
        FloorHeap { region, next: 0 }
    }
}

impl Heap for FloorHeap<'_> {
    #[inline(always)]
    fn alloc(&mut self, _: Layout) -> *mut u8 {
        self.next = (self.next + 64) & (self.region.len() - 1);
        self.region.as_mut_ptr().wrapping_add(self.next).cast()
    }

    #[inline(always)]
    unsafe fn free(&mut self, _: *mut u8, _: Layout) {}
}
