//! Towers: lists of storeys, and every way to put them on each other.
//!
//! A storey is a function from the heap below to the one above. One that is added to a list is put on all of those in the list before.

use heapwright::AllocError;
use heapwright::arena::SourceArena;
use heapwright::cache::{Classes, KeepAll, KeepSlabs, ReleaseAtOnce, SlabHeap};
use heapwright::check::Abort;
use heapwright::combine::{
    Affix, AlignUp, Arenas, AtMost, Chain, Fallback, FreeLists, Growing, PowersOfTwo, Quantize, Quota,
    RedZones, Region, Scoped, Segregate, StackFirst, Upward,
};
use heapwright::conformance::{Source, try_heap_over};
use heapwright::heap::{Heap, Locked};
use heapwright::lock::{NoLock, SpinLock};
use heapwright::sizing::{Bounded, Checked, Sizing16MiB};
use heapwright::slab::{AlignedSlabs, IntrusiveList, LargeSlabs};
use heapwright::source::{Counted, Limited, SourceHeap};

use crate::based::Based;
use crate::cores::{Odd, Small};

type Made<H> = Result<H, AllocError>;
type Shell<P> = Locked<P, NoLock>;

/// At the bottom.
mod ground {
    use super::*;

    pub(super) fn blocks(source: Source) -> Made<SourceHeap<Source>> {
        Ok(SourceHeap::new(source))
    }

    pub(super) fn arena(source: Source) -> Made<SourceArena<Source, Sizing16MiB>> {
        SourceArena::with_size(source, 300_000)
    }

    pub(super) fn bounded(source: Source) -> Made<SourceArena<Source, Checked<Bounded<Sizing16MiB>>>> {
        SourceArena::with_size(source, 400_000)
    }

    pub(super) fn slabs(
        source: Source,
    ) -> Made<SlabHeap<Classes, AlignedSlabs<Source>, SourceHeap<Source>, KeepAll, 4>> {
        Ok(SlabHeap::new(source.clone(), SourceHeap::new(source)))
    }
}

/// Above another.
mod storey {
    use super::*;

    pub(super) fn limited<P: Heap + 'static>(below: P) -> Made<impl Heap> {
        Ok(Based::new(Shell::new(below), |below| SourceHeap::new(Limited::new(below, 200_000))))
    }

    pub(super) fn counted<P: Heap + 'static>(below: P) -> Made<impl Heap> {
        Ok(Based::new(Locked::<P, SpinLock>::new(below), |below| SourceHeap::new(Counted::new(below))))
    }

    pub(super) fn arena<P: Heap + 'static>(below: P) -> Made<impl Heap> {
        Based::try_new(Shell::new(below), |below| SourceArena::<_, Sizing16MiB>::with_size(below, 100_000))
    }

    pub(super) fn small_arena<P: Heap + 'static>(below: P) -> Made<impl Heap> {
        Based::try_new(Shell::new(below), |below| {
            SourceArena::<_, Bounded<Sizing16MiB>>::with_size(below, 40_000)
        })
    }

    pub(super) fn slabs<P: Heap + 'static>(below: P) -> Made<impl Heap> {
        Ok(Based::new(Shell::new(below), |below| {
            SlabHeap::<Small, AlignedSlabs<_, 4096, IntrusiveList>, _, KeepSlabs<1>, 2>::new(
                below,
                SourceHeap::new(below),
            )
        }))
    }

    pub(super) fn large_slabs<P: Heap + 'static>(below: P) -> Made<impl Heap> {
        Ok(Based::new(Shell::new(below), |below| {
            SlabHeap::<Odd, LargeSlabs<_>, _, ReleaseAtOnce, 0>::new(below, SourceHeap::new(below))
        }))
    }

    pub(super) fn region<P: Heap + 'static>(below: P) -> Made<impl Heap> {
        Ok(Based::new(Shell::new(below), Region::<_, Growing<1024, 16_384>, Upward, 4>::new))
    }

    pub(super) fn chain<P: Heap + 'static>(below: P) -> Made<impl Heap> {
        Ok(Based::new(Shell::new(below), |below| {
            Chain::<_, _>::new(Arenas::<Sizing16MiB, Growing<4096, 16_384>>::new(), below)
        }))
    }

    pub(super) fn scoped<P: Heap + 'static>(below: P) -> Made<impl Heap> {
        Ok(Scoped::new(below))
    }

    pub(super) fn segregated<P: Heap + 'static>(below: P) -> Made<impl Heap> {
        Ok(Based::new(Shell::new(below), |below| {
            let small = FreeLists::<Small, _, AtMost<8>>::new(SourceHeap::new(below));
            Segregate::<700, _, _>::new(small, Quantize::<PowersOfTwo, _>::new(SourceHeap::new(below)))
        }))
    }

    pub(super) fn fallback<P: Heap + 'static>(below: P) -> Made<impl Heap> {
        Based::try_new(Shell::new(below), |below| {
            let first = SourceArena::<_, Sizing16MiB>::with_size(below, 5000)?;
            Ok(Fallback::new(first, AlignUp::<16, _>::new(SourceHeap::new(below))))
        })
    }

    pub(super) fn affixed<P: Heap + 'static>(below: P) -> Made<impl Heap> {
        Ok(Affix::<u64, _, u16>::new(below))
    }

    pub(super) fn guarded<P: Heap + 'static>(below: P) -> Made<impl Heap> {
        Ok(RedZones::<8, 8, _>::new(Quota::new(below, 150_000), Abort))
    }

    pub(super) fn stack_first<P: Heap + 'static>(below: P) -> Made<impl Heap> {
        Ok(Based::new(StackFirst::<500, _>::new(Shell::new(below)), SourceHeap::new))
    }
}

/// Writes a test for every tower of one storey of each list, bottom first; each list but the last becomes a module.
macro_rules! cross {
    // The last list: tests.
    (@ $below:tt, [$($top:ident)*]) => {$(
        #[test]
        fn $top() {
            cross!(@check $top $below);
        }
    )*};
    // Another list is put on what is there.
    (@ [$($below:ident)*], [$($storey:ident)*], $($rest:tt),+) => {
        cross!(@each [$($below)*], [$($storey)*], [$($rest),+]);
    };
    (@each $below:tt, [$($storey:ident)*], $rest:tt) => {$(
        mod $storey {
            use super::*;

            cross!(@put $storey $below, $rest);
        }
    )*};
    (@put $storey:ident [$($below:ident)*], [$($rest:tt),+]) => {
        cross!(@ [$($below)* $storey], $($rest),+);
    };
    (@check $top:ident [$ground:ident $($below:ident)*]) => {
        try_heap_over(|source: Source| {
            let heap = ground::$ground(source)?;
            $(let heap = storey::$below(heap)?;)*
            storey::$top(heap)
        })
        .named(concat!(stringify!($ground $(, $below)*, $top), ", bottom first"))
        .scripts(2)
        .failures(6)
        .check()
    };
    ($($lists:tt),+) => {
        cross!(@ [], $($lists),+);
    };
}

cross!([blocks arena bounded slabs], [limited arena slabs segregated fallback affixed region], [counted small_arena large_slabs segregated guarded stack_first chain scoped]);
