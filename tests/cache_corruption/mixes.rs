//! Object caches of all sizes and alignments, each with two mixes of all else there is to choose.

use heapwright::cache::{KeepAll, KeepSlabs, ObjectCache, ReleaseAtOnce};
use heapwright::lock::NoLock;
use heapwright::slab::{AlignedSlabs, Bitmap, ByStride, Colored, IndexStack, LargeSlabs, NoColor};

use super::ledger::{Ledger, Via};
use super::random::operations;
use super::tester::exercise;
use super::witness::{
    Align, ByDefault, ByFunction, Fallible, Initialiser, Placed, PlacedReset, Reset, Unit, Witness,
};

/// A choice of slabs, initialiser, policy and front, by number.
struct Mix<const NUMBER: usize>;

/// A mix, for objects of any size that it is meant for.
trait Run {
    fn run<const SIZE: usize, const ALIGN: usize>()
    where
        Align<ALIGN>: Unit;
}

macro_rules! mixes {
    ($($number:literal: $init:ty, $slabs:ident<$lazy:literal, $slab_size:literal, $kind:ty, $coloring:ty>, $policy:ty, $front:literal;)+) => {$(
        impl Run for Mix<$number> {
            fn run<const SIZE: usize, const ALIGN: usize>()
            where
                Align<ALIGN>: Unit,
            {
                type Slabs<'a> = $slabs<Via<'a, $lazy>, $slab_size, $kind, $coloring>;
                let ledger = Ledger::default();
                let cache = ObjectCache::<Witness<SIZE, ALIGN>, _, Slabs<'_>, NoLock, $policy, $front>::new(
                    ledger.source(),
                    <$init as Initialiser<Witness<SIZE, ALIGN>>>::init(),
                );
                let name = concat!(stringify!($init), ", ", stringify!($slabs<$lazy, $slab_size, $kind, $coloring>), ", ",
                    stringify!($policy), ", ", stringify!($front));
                exercise(&format!("{SIZE} bytes aligned to {ALIGN}: {name}"), cache, $front, &ledger, operations());
            }
        }
    )+};
}

mixes! {
    // For all objects.
    0: ByDefault, AlignedSlabs<true, 0, Bitmap, ByStride>, KeepAll, 32;
    1: Placed, AlignedSlabs<false, 0, IndexStack, ByStride>, ReleaseAtOnce, 0;
    2: Reset, LargeSlabs<false, 0, Bitmap, ByStride>, KeepSlabs<1>, 1;
    3: Fallible, AlignedSlabs<true, 0, IndexStack, Colored>, KeepAll, 3;
    4: PlacedReset, LargeSlabs<true, 0, IndexStack, ByStride>, KeepSlabs<2>, 2;
    5: ByFunction, AlignedSlabs<false, 0, Bitmap, NoColor>, KeepAll, 1;
    6: Placed, LargeSlabs<false, 0, Bitmap, Colored>, KeepAll, 32;
    7: Reset, AlignedSlabs<false, 0, Bitmap, Colored>, ReleaseAtOnce, 3;
    // For objects of up to 8 KiB.
    8: Placed, AlignedSlabs<true, 65536, Bitmap, ByStride>, KeepSlabs<1>, 2;
    9: ByDefault, LargeSlabs<false, 50_000, IndexStack, Colored>, ReleaseAtOnce, 32;
    10: PlacedReset, AlignedSlabs<true, 16384, IndexStack, ByStride>, ReleaseAtOnce, 1;
    11: Placed, AlignedSlabs<false, 32768, Bitmap, Colored>, KeepAll, 0;
    // For objects of up to 100 bytes.
    12: ByFunction, AlignedSlabs<false, 256, Bitmap, ByStride>, KeepAll, 2;
    13: Placed, AlignedSlabs<false, 512, IndexStack, ByStride>, KeepSlabs<1>, 32;
    14: ByDefault, LargeSlabs<false, 700, Bitmap, ByStride>, ReleaseAtOnce, 0;
    15: PlacedReset, LargeSlabs<false, 300, IndexStack, Colored>, KeepAll, 3;
    16: Fallible, AlignedSlabs<true, 1024, Bitmap, Colored>, ReleaseAtOnce, 1;
    17: Reset, AlignedSlabs<true, 256, IndexStack, ByStride>, KeepSlabs<2>, 2;
    18: Placed, LargeSlabs<true, 1000, Bitmap, ByStride>, KeepAll, 0;
}

/// The mix for objects of a size and an alignment, spread over all that are meant for them; two rounds take different ones.
const fn pick(size: usize, align: usize, round: usize) -> usize {
    let spread = size * 31 + align.ilog2() as usize * 5;
    if round == 0 {
        spread % 8
    } else if size <= 100 && align <= 64 {
        12 + spread % 7
    } else if size <= 8192 {
        8 + spread % 4
    } else {
        (spread + 3) % 8
    }
}

macro_rules! sizes {
    ($($name:ident: $size:literal => $($align:literal)+;)+) => {$(
        #[test]
        fn $name() {
            $(
                Mix::<{ pick($size, $align, 0) }>::run::<$size, $align>();
                Mix::<{ pick($size, $align, 1) }>::run::<$size, $align>();
            )+
        }
    )+};
}

sizes! {
    size_0: 0 => 1 8 64 4096;
    size_1: 1 => 1;
    size_2: 2 => 1 2;
    size_3: 3 => 1;
    size_4: 4 => 1 2 4;
    size_5: 5 => 1;
    size_6: 6 => 1 2;
    size_7: 7 => 1;
    size_8: 8 => 1 2 4 8;
    size_11: 11 => 1;
    size_12: 12 => 1 2 4;
    size_13: 13 => 1;
    size_16: 16 => 1 2 4 8 16;
    size_17: 17 => 1;
    size_24: 24 => 1 2 4 8;
    size_29: 29 => 1;
    size_32: 32 => 1 2 4 8 16 32;
    size_37: 37 => 1;
    size_48: 48 => 1 2 4 8 16;
    size_53: 53 => 1;
    size_61: 61 => 1;
    size_64: 64 => 1 2 8 16 32 64;
    size_79: 79 => 1;
    size_96: 96 => 1 2 4 8 16 32;
    size_101: 101 => 1;
    size_128: 128 => 1 2 8 32 64 128;
    size_149: 149 => 1;
    size_192: 192 => 1 2 8 16 32 64;
    size_233: 233 => 1;
    size_256: 256 => 1 2 8 32 64 128 256;
    size_311: 311 => 1;
    size_384: 384 => 1 2 8 32 64 128;
    size_467: 467 => 1;
    size_512: 512 => 1 2 8 32 128 256 512;
    size_701: 701 => 1;
    size_768: 768 => 1 2 8 32 64 128 256;
    size_1024: 1024 => 1 2 8 32 128 256 512 1024;
    size_1361: 1361 => 1;
    size_1536: 1536 => 1 2 8 32 128 256 512;
    size_2048: 2048 => 1 2 8 32 128 512 1024 2048;
    size_2719: 2719 => 1;
    size_3072: 3072 => 1 2 8 32 128 256 512 1024;
    size_4096: 4096 => 1 2 8 32 128 512 1024 2048 4096;
    size_5437: 5437 => 1;
    size_6144: 6144 => 1 2 8 32 128 512 1024 2048;
    size_8192: 8192 => 1 2 8 32 128 512 2048 4096 8192;
    size_10873: 10873 => 1;
    size_12288: 12288 => 1 2 8 32 128 512 1024 2048 4096;
    size_16384: 16384 => 1 2 8 32 128 512 2048 4096 8192 16384;
    size_20011: 20011 => 1;
    size_65536: 65536 => 1 2 8 32 128 512 2048 8192 16384 65536;
    size_100000: 100000 => 1 2 4 8 16 32;
}
