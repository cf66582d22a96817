//! The heap of a firmware: a static arena whose sizing follows from its length.

use crate::arena::StaticArena;
use crate::check::Unchecked;
use crate::describe::describe_by;
use crate::lock::SpinLock;
use crate::sizing::{
    Bounded, Link, Placement, Sizing, Sizing4KiB, Sizing16MiB, Sizing128KiB, describe_sizing,
};

/// A heap of `N` bytes for firmware: a static, all zero, so it lies in `.bss` and is ready before `main`.
///
/// ```
/// # use heapwright::{arena::StaticArena, lock::SpinLock, preset::{FirmwareSizing, StaticHeap}};
/// # const N: usize = 4096;
/// # fn same(heap: StaticHeap<N>) -> StaticArena<N, FirmwareSizing<N>, SpinLock> { heap }
/// type Composition = StaticArena<N, FirmwareSizing<N>, SpinLock>; // what `StaticHeap<N>` is
/// ```
///
/// What it is made of, here on a 64-bit machine:
/// ```
/// use heapwright::describe::describe;
/// use heapwright::preset::StaticHeap;
/// # #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
/// assert_eq!(describe::<StaticHeap<{ 64 << 10 }>>().to_string(), "\
/// StaticArena of 64 KiB, 2172 bytes of it for tables (79 bytes)
/// ├─ lock: SpinLock (1 byte)
/// └─ sizing: FirmwareSizing<65536>, granules of 4 bytes (8 beyond 64 KiB) with 1 bit each, objects of up to 128 KiB
/// ");
/// ```
///
/// Choose it when a program has one block of RAM for everything: `N` says how much, [`FirmwareSizing`] takes the densest sizing that
/// reaches so far, up to 32 MiB, and calls stay short. For the highest speed on average, take [`TinyHeap128KiB`](super::TinyHeap128KiB)
/// or [`TinyHeap16MiB`](super::TinyHeap16MiB).
///
/// ```
/// use heapwright::preset::StaticHeap;
///
/// #[global_allocator]
/// static HEAP: StaticHeap<{ 256 << 10 }> = StaticHeap::new();
///
/// let words = vec!["one", "line"];
/// assert!(HEAP.usage().used >= size_of_val(&words[..]));
/// ```
///
/// # The lock
/// A [`SpinLock`], which is right for threads and for cores. **Where interrupt handlers allocate, name
/// `CriticalSectionLock`**: a handler that spins for a lock which the code that it interrupted holds waits for ever. On one thread, by
/// reference, name `NoLock`.
///
/// ```
/// # #[cfg(feature = "critical-section")] {
/// use heapwright::{lock::CriticalSectionLock, preset::StaticHeap};
///
/// #[global_allocator]
/// static HEAP: StaticHeap<{ 256 << 10 }, CriticalSectionLock> = StaticHeap::new();
///
/// let text = String::from("an interrupt handler may do this, too");
/// assert!(HEAP.usage().used >= text.len());
/// # }
/// ```
///
/// # Cost
/// The table of [`FirmwareSizing`]; an object takes its size rounded up to the granule, and nothing else. Beside the `N` bytes, on a 64-bit
/// machine, 72 bytes of state and the lock; the whole is a multiple of 16 bytes.
///
/// # Checked
/// What it can't reach, and what has no room for anything, does not compile:
/// ```compile_fail,E0080
/// # use heapwright::preset::StaticHeap;
/// static HEAP: StaticHeap<{ 64 << 20 }> = StaticHeap::new(); // error: a StaticHeap reaches 32 MiB
/// ```
/// ```compile_fail,E0080
/// # use heapwright::preset::StaticHeap;
/// static HEAP: StaticHeap<32> = StaticHeap::new(); // error: bytes, not KiB
/// ```
/// Nor does one without a lock that is to be shared:
/// ```compile_fail,E0277
/// # use heapwright::{lock::NoLock, preset::StaticHeap};
/// static HEAP: StaticHeap<4096, NoLock> = StaticHeap::new(); // error: `NoLock` is not `Sync`
/// ```
pub type StaticHeap<const N: usize, L = SpinLock> = StaticArena<N, FirmwareSizing<N>, L>;

/// The sizing for a region of `N` bytes, of which each call has a small bound.
///
/// | `N` | is | granule | bytes of tables | a call looks at |
/// |---|---|---|---|---|
/// | 64 to 12 KiB | [`Sizing4KiB`] | 4 | 124 of 4 KiB | all bits, one for each granule, at most |
/// | to 64 KiB | [`Bounded<Sizing128KiB>`](Bounded) | 4 | 2,172 of 64 KiB | a few blocks |
/// | to 256 KiB | [`Bounded<Sizing128KiB>`](Bounded) | 8 | 4,232 of 256 KiB | a few blocks |
/// | to 32 MiB | [`Bounded<Sizing16MiB>`](Bounded) | 8 | 16,560 of 1 MiB | a few blocks |
///
/// Up to 12 KiB a call may also merge what earlier frees have left, at most as many blocks as there are granules. At 256 KiB, the last 8
/// bytes are out of reach. The largest object is 4 KiB, 128 KiB or 16 MiB.
///
/// Choose it by way of [`StaticHeap`]; in any other arena it is the sizing for a region of at most `N` bytes.
///
/// ```
/// use heapwright::preset::StaticHeap;
/// use heapwright::lock::NoLock;
///
/// assert_eq!(StaticHeap::<4096, NoLock>::new().usage().tables(), 124);
/// static LARGE: StaticHeap<{ 64 << 10 }> = StaticHeap::new();
/// assert_eq!(LARGE.usage().tables(), 2172);
/// ```
#[derive(Debug)]
pub struct FirmwareSizing<const N: usize>;

impl<const N: usize> FirmwareSizing<N> {
    /// Whether the region is one for `Sizing4KiB`.
    const TINY: bool = N <= Sizing4KiB::REGION_SIZE_MAX;
    /// Whether it is one for `Sizing128KiB`: whole numbers of KiB count, though links don't reach the last granule.
    const SMALL: bool = N <= Sizing128KiB::REGION_SIZE_MAX + Sizing128KiB::GRANULE;

    /// One of three numbers, by length.
    const fn pick(tiny: usize, small: usize, large: usize) -> usize {
        if Self::TINY {
            tiny
        } else if Self::SMALL {
            small
        } else {
            large
        }
    }
}

/// The sizing for regions that are longer than 12 KiB.
type Small = Bounded<Sizing128KiB>;
/// The sizing for regions that are longer than 256 KiB.
type Large = Bounded<Sizing16MiB>;

impl<const N: usize> Sizing for FirmwareSizing<N> {
    type Checks = Unchecked;
    const GRANULE: usize = Self::pick(Sizing4KiB::GRANULE, Small::GRANULE, Large::GRANULE);
    const LINK: Link = if Self::SMALL { Small::LINK } else { Large::LINK };
    const OBJECT_SIZE_MAX: usize =
        Self::pick(Sizing4KiB::OBJECT_SIZE_MAX, Small::OBJECT_SIZE_MAX, Large::OBJECT_SIZE_MAX);
    const REGION_SIZE_MAX: usize = {
        assert!(
            N <= Large::REGION_SIZE_MAX,
            "a StaticHeap reaches 32 MiB: take a smaller one, or a StaticArena with a sizing of your own"
        );
        assert!(
            N >= 64,
            "a StaticHeap of less than 64 bytes has room for next to nothing: its length is in bytes, so 64 KiB are {{ 64 << 10 }}"
        );
        Self::pick(Sizing4KiB::REGION_SIZE_MAX, Small::REGION_SIZE_MAX, Large::REGION_SIZE_MAX)
    };
    const GRANULE_SMALL: usize =
        Self::pick(Sizing4KiB::GRANULE_SMALL, Small::GRANULE_SMALL, Large::GRANULE_SMALL);
    const REGION_SMALL_MAX: usize =
        Self::pick(Sizing4KiB::REGION_SMALL_MAX, Small::REGION_SMALL_MAX, Large::REGION_SMALL_MAX);
    const PLACEMENT: Placement = if Self::TINY { Sizing4KiB::PLACEMENT } else { Small::PLACEMENT };
    const QUICK_SIZES: usize = Self::pick(Sizing4KiB::QUICK_SIZES, Small::QUICK_SIZES, Large::QUICK_SIZES);
}

describe_by!(describe_sizing: [const N: usize] FirmwareSizing<N>);
