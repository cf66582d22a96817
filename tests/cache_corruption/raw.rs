//! Caches of raw memory: every size and alignment, known when the program runs, over every system, bookkeeping and front; and
//! untyped layouts that no type has.

use std::alloc::Layout;
use std::mem::MaybeUninit;

use heapwright::cache::{
    AtRunTime, Exactly, For, KeepAll, KeepSlabs, ObjectCache, ReleaseAtOnce, SlabCache, Uninit,
};
use heapwright::lock::NoLock;
use heapwright::slab::{
    AlignedSlabs, Bitmap, ByStride, Colored, IndexStack, IntrusiveList, LargeSlabs, NoColor, ShapeError,
};

use super::ledger::{Ledger, Via};
use super::random::operations;
use super::tester::exercise;
use super::witness::Witness;

/// Sizes: powers of two, what lies between them, primes, and more than a page.
const SIZES: &[usize] = &[
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 16, 17, 24, 29, 32, 37, 48, 53, 61, 64, 79, 96, 101, 128, 149,
    192, 233, 256, 311, 384, 467, 512, 701, 768, 1024, 1361, 1536, 2048, 2719, 3072, 4096, 5437, 6144, 8192,
    12_289, 20_000, 65_536,
];

/// Each cache is run over one layout of so many; caches that differ in their front take different ones.
const SHARE: usize = if cfg!(miri) { 200 } else { 5 };

/// All sizes at all alignments up to eight pages, whether or not these divide them.
fn layouts() -> impl Iterator<Item = Layout> {
    let aligned = |size| (0..16).map(move |bits| Layout::from_size_align(size, 1 << bits).unwrap());
    SIZES.iter().copied().flat_map(aligned)
}

macro_rules! raw_caches {
    ($($name:ident: $slabs:ident<$lazy:literal, $slab_size:literal, $kind:ty, $coloring:ty>, $policy:ty, [$($front:literal)+];)+) => {$(
        #[test]
        fn $name() {
            type Slabs<'a> = $slabs<Via<'a, $lazy>, $slab_size, $kind, $coloring>;
            $({
                let mut caches = 0;
                for (_, layout) in layouts().enumerate().filter(|(number, _)| (number + $front) % SHARE == 0) {
                    let ledger = Ledger::default();
                    let name = format!("{layout:?}, front of {}", $front);
                    match SlabCache::<Slabs<'_>, NoLock, AtRunTime, $policy, $front>::with_layout(ledger.source(), layout) {
                        Ok(cache) => exercise(&name, cache, $front, &ledger, operations() / 4),
                        Err(ShapeError::TooLarge) if $slab_size != 0 => continue,
                        Err(error) => panic!("{name}: {error}"),
                    }
                    caches += 1;
                }
                assert!(caches > 50 / SHARE, "only {caches} layouts fit");
            })+
        }
    )+};
}

raw_caches! {
    aligned_lazy_bitmap: AlignedSlabs<true, 0, Bitmap, ByStride>, KeepAll, [0 32];
    aligned_lazy_stack: AlignedSlabs<true, 0, IndexStack, Colored>, KeepSlabs<1>, [1 3];
    aligned_lazy_list: AlignedSlabs<true, 0, IntrusiveList, ByStride>, KeepSlabs<2>, [2 32];
    aligned_bitmap: AlignedSlabs<false, 0, Bitmap, Colored>, ReleaseAtOnce, [1 2];
    aligned_stack: AlignedSlabs<false, 0, IndexStack, NoColor>, KeepAll, [0 3];
    aligned_list: AlignedSlabs<false, 0, IntrusiveList, ByStride>, KeepAll, [0 32];
    large_bitmap: LargeSlabs<false, 0, Bitmap, ByStride>, KeepSlabs<1>, [2 32];
    large_stack: LargeSlabs<false, 0, IndexStack, Colored>, ReleaseAtOnce, [0 1];
    large_list: LargeSlabs<true, 0, IntrusiveList, Colored>, KeepAll, [3 32];
    tiny_bitmap: AlignedSlabs<false, 256, Bitmap, ByStride>, KeepAll, [0 32];
    tiny_list: AlignedSlabs<false, 512, IntrusiveList, ByStride>, ReleaseAtOnce, [1 3];
    tiny_lazy_list: AlignedSlabs<true, 256, IntrusiveList, Colored>, KeepAll, [0 2];
    tiny_lazy_stack: AlignedSlabs<true, 1024, IndexStack, ByStride>, KeepSlabs<1>, [2 32];
    tiny_large_list: LargeSlabs<false, 333, IntrusiveList, Colored>, KeepAll, [0 3];
    tiny_large_stack: LargeSlabs<false, 1001, IndexStack, ByStride>, ReleaseAtOnce, [1 32];
    big_list: AlignedSlabs<true, 1048576, IntrusiveList, ByStride>, KeepAll, [3 32];
    big_large_bitmap: LargeSlabs<true, 200_000, Bitmap, Colored>, KeepSlabs<1>, [0 32];
}

/// Layouts known when the program is compiled, that no type has; and objects that are never initialised.
#[test]
fn layouts_and_objects_without_a_type() {
    macro_rules! run {
        ($($cache:ty)+) => {$({
            let ledger = Ledger::default();
            exercise(stringify!($cache), <$cache>::over(ledger.source()), 8, &ledger, operations());
        })+};
    }
    run! {
        SlabCache<AlignedSlabs<Via<'_, true>>, NoLock, Exactly<5, 4>, KeepAll, 8>
        SlabCache<AlignedSlabs<Via<'_>, 1024, IntrusiveList>, NoLock, Exactly<5, 4>, ReleaseAtOnce, 8>
        SlabCache<LargeSlabs<Via<'_>, 100_000, IndexStack>, NoLock, Exactly<1, 8192>, KeepAll, 8>
        SlabCache<AlignedSlabs<Via<'_, true>, 0, IndexStack>, NoLock, Exactly<0>, KeepAll, 8>
        SlabCache<AlignedSlabs<Via<'_>, 0, IndexStack>, NoLock, For<u64>, KeepAll, 8>
        SlabCache<AlignedSlabs<Via<'_, true>>, NoLock, For<Witness<40, 8>>, KeepSlabs<1>, 8>
    }
    macro_rules! run_uninit {
        ($($slabs:ty)+) => {$({
            let ledger = Ledger::default();
            let cache = ObjectCache::<MaybeUninit<Witness<40, 8>>, Uninit, $slabs, NoLock, KeepSlabs<1>, 8>::new(
                ledger.source(), Uninit,
            );
            exercise(stringify!($slabs), cache, 8, &ledger, operations());
        })+};
    }
    run_uninit! {
        AlignedSlabs<Via<'_, true>>
        AlignedSlabs<Via<'_>, 512, IntrusiveList>
        LargeSlabs<Via<'_>, 777, IndexStack>
    }
}
