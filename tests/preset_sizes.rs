//! The presets as types: what they are made of, weigh, and who may share them.

use heapwright::arena::StaticArena;
use heapwright::check::{Checks, Switch};
use heapwright::lock::{Lock, NoLock, SpinLock};
use heapwright::preset::{FirmwareSizing, StaticHeap, TinyHeap4KiB, TinyHeap16MiB, TinyHeap128KiB, Whole};
use heapwright::sizing::{Bounded, Sizing, Sizing4KiB, Sizing16MiB, Sizing128KiB};
use static_assertions::{assert_impl_all, assert_not_impl_any, assert_type_eq_all, const_assert_eq};

const KIB: usize = 1 << 10;

assert_type_eq_all!(StaticHeap<4096>, StaticHeap<4096, SpinLock>, StaticArena<4096, FirmwareSizing<4096>, SpinLock>);
assert_type_eq_all!(TinyHeap4KiB<64, NoLock>, StaticArena<64, Whole<64, Sizing4KiB>, NoLock>);
assert_type_eq_all!(TinyHeap128KiB<64>, StaticArena<64, Whole<64, Sizing128KiB>, SpinLock>);
assert_type_eq_all!(TinyHeap16MiB<64>, StaticArena<64, Whole<64, Sizing16MiB>, SpinLock>);

/// The region, 72 bytes of state, one of the lock; a multiple of 16.
#[cfg(target_pointer_width = "64")]
mod weights {
    use super::*;

    const_assert_eq!(size_of::<StaticHeap<4096>>(), 4096 + 80);
    const_assert_eq!(size_of::<StaticHeap<{ 300 * KIB }>>(), 300 * KIB + 80);
    const_assert_eq!(size_of::<TinyHeap4KiB<4096>>(), 4096 + 80);
    const_assert_eq!(size_of::<TinyHeap128KiB<4096, NoLock>>(), 4096 + 80);
    const_assert_eq!(size_of::<TinyHeap16MiB<4096>>(), 4096 + 80);
    #[cfg(feature = "critical-section")]
    const_assert_eq!(size_of::<StaticHeap<4096, heapwright::lock::CriticalSectionLock>>(), 4096 + 80);
}

assert_impl_all!(StaticHeap<64>: Send, Sync, std::alloc::GlobalAlloc);
assert_impl_all!(TinyHeap4KiB<64>: Send, Sync, std::alloc::GlobalAlloc);
assert_impl_all!(TinyHeap128KiB<64>: Send, Sync, std::alloc::GlobalAlloc);
assert_impl_all!(TinyHeap16MiB<64>: Send, Sync, std::alloc::GlobalAlloc);
assert_impl_all!(StaticHeap<64, NoLock>: Send);
assert_not_impl_any!(StaticHeap<64, NoLock>: Sync);
assert_not_impl_any!(TinyHeap4KiB<64, NoLock>: Sync);
#[cfg(feature = "critical-section")]
assert_impl_all!(StaticHeap<64, heapwright::lock::CriticalSectionLock>: Send, Sync, std::alloc::GlobalAlloc);

/// Whether two sizings cut a region of up to `S`'s reach alike.
fn same<S: Sizing, T: Sizing>() -> bool {
    (S::GRANULE, S::LINK, S::OBJECT_SIZE_MAX, S::REGION_SIZE_MAX, S::GRANULE_SMALL, S::REGION_SMALL_MAX)
        == (
            T::GRANULE,
            T::LINK,
            T::OBJECT_SIZE_MAX,
            T::REGION_SIZE_MAX,
            T::GRANULE_SMALL,
            T::REGION_SMALL_MAX,
        )
        && (S::PLACEMENT, S::QUICK_SIZES, S::BIN_STEPS, <S::Checks as Checks>::Frees::ON)
            == (T::PLACEMENT, T::QUICK_SIZES, T::BIN_STEPS, <T::Checks as Checks>::Frees::ON)
}

#[test]
fn the_sizing_follows_from_the_length() {
    assert!(same::<FirmwareSizing<64>, Sizing4KiB>());
    assert!(same::<FirmwareSizing<{ 12 * KIB }>, Sizing4KiB>());
    assert!(same::<FirmwareSizing<{ 12 * KIB + 1 }>, Bounded<Sizing128KiB>>());
    assert!(same::<FirmwareSizing<{ 256 * KIB }>, Bounded<Sizing128KiB>>());
    assert!(same::<FirmwareSizing<{ 256 * KIB + 1 }>, Bounded<Sizing16MiB>>());
    assert!(same::<FirmwareSizing<{ 32 * KIB * KIB }>, Bounded<Sizing16MiB>>());
    assert!(same::<Whole<64, Bounded<Sizing4KiB>>, Bounded<Sizing4KiB>>());
    assert!(same::<Whole<{ 12 * KIB }, Sizing4KiB>, Sizing4KiB>());
    assert!(same::<Whole<{ 256 * KIB }, Sizing128KiB>, Sizing128KiB>());
    assert!(same::<Whole<{ 32 * KIB * KIB }, Sizing16MiB>, Sizing16MiB>());
}

static FIRMWARE_4: StaticHeap<4096> = StaticHeap::new();
static FIRMWARE_64: StaticHeap<{ 64 * KIB }> = StaticHeap::new();
static FIRMWARE_256: StaticHeap<{ 256 * KIB }> = StaticHeap::new();
static FIRMWARE_1024: StaticHeap<{ 1024 * KIB }> = StaticHeap::new();
static TINY_4: TinyHeap4KiB<4096> = TinyHeap4KiB::new();
static TINY_12: TinyHeap4KiB<{ 12 * KIB }> = TinyHeap4KiB::new();
static SMALL_64: TinyHeap128KiB<{ 64 * KIB }> = TinyHeap128KiB::new();
static SMALL_128: TinyHeap128KiB<{ 128 * KIB }> = TinyHeap128KiB::new();
static LARGE_1024: TinyHeap16MiB<{ 1024 * KIB }> = TinyHeap16MiB::new();

/// Bytes of tables, after a look at what is counted: nothing but the region, all of it but for a granule.
fn tables<const N: usize, S: Sizing, L: Lock>(heap: &StaticArena<N, S, L>) -> usize {
    let usage = heap.usage();
    assert!(usage.used == 0 && usage.total <= N && usage.total + 2 * S::GRANULE > N, "{usage:?}");
    usage.tables()
}

/// The figures of the documentation.
#[test]
fn tables_are_as_documented() {
    let firmware = [tables(&FIRMWARE_4), tables(&FIRMWARE_64), tables(&FIRMWARE_256), tables(&FIRMWARE_1024)];
    let tiny =
        [tables(&TINY_4), tables(&TINY_12), tables(&SMALL_64), tables(&SMALL_128), tables(&LARGE_1024)];
    assert_eq!((firmware, tiny), ([124, 2172, 4232, 16_560], [124, 376, 2172, 2208, 16_560]));
}
