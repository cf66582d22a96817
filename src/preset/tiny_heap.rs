//! Static heaps of the three sizings, as they are: for whoever knows which one is wanted.

use core::marker::PhantomData;

use crate::arena::StaticArena;
use crate::describe::describe_by;
use crate::lock::SpinLock;
use crate::sizing::{Link, Placement, Sizing, Sizing4KiB, Sizing16MiB, Sizing128KiB, describe_sizing};

/// A heap of up to 12 KiB, of `N` bytes, for objects of up to 4 KiB: the densest there is.
///
/// ```
/// # use heapwright::{arena::StaticArena, lock::SpinLock, preset::{TinyHeap4KiB, Whole}, sizing::Sizing4KiB};
/// # const N: usize = 4096;
/// # fn same(heap: TinyHeap4KiB<N>) -> StaticArena<N, Whole<N, Sizing4KiB>, SpinLock> { heap }
/// type Composition = StaticArena<N, Whole<N, Sizing4KiB>, SpinLock>; // what `TinyHeap4KiB<N>` is
/// ```
///
/// What it is made of, here on a 64-bit machine:
/// ```
/// use heapwright::describe::describe;
/// use heapwright::preset::TinyHeap4KiB;
/// # #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
/// assert_eq!(describe::<TinyHeap4KiB<4096>>().to_string(), "\
/// StaticArena of 4 KiB, 124 bytes of it for tables (79 bytes)
/// ├─ lock: SpinLock (1 byte)
/// └─ sizing: Whole<4096, Sizing4KiB>, granules of 4 bytes with 1 bit each, objects of up to 4 KiB
/// ");
/// ```
///
/// Choose it for the heap of a small chip, and for a part of a program that is to have its own few KiB. In a `static` with the default
/// lock, or beside the collections with `NoLock`; where interrupt handlers allocate, with `CriticalSectionLock`.
///
/// Granules of 4 bytes: an object takes its size rounded up to 4, and nothing else. Tables: 124 bytes of 4 KiB, 376 of 12 KiB. Beside the
/// region, on a 64-bit machine, 72 bytes and the lock; the whole is a multiple of 16 bytes.
///
/// ```
/// use heapwright::preset::TinyHeap4KiB;
///
/// static HEAP: TinyHeap4KiB<4096> = TinyHeap4KiB::new();
/// # #[cfg(feature = "allocator-api2-04")] {
/// use allocator_api2_04::{boxed::Box, vec::Vec};
/// let mut words = Vec::new_in(&HEAP);
/// words.push(Box::new_in(*b"tiny", &HEAP));
/// assert_eq!(HEAP.usage().objects, 2);
/// # }
/// ```
///
/// A region that is longer than its sizing reaches is a mistake:
/// ```compile_fail,E0080
/// # use heapwright::preset::TinyHeap4KiB;
/// static HEAP: TinyHeap4KiB<{ 16 << 10 }> = TinyHeap4KiB::new(); // error: longer than 12 KiB
/// ```
pub type TinyHeap4KiB<const N: usize, L = SpinLock> = StaticArena<N, Whole<N, Sizing4KiB>, L>;

/// A heap of up to 256 KiB, of `N` bytes, for objects of up to 128 KiB.
///
/// ```
/// # use heapwright::{arena::StaticArena, lock::SpinLock, preset::{TinyHeap128KiB, Whole}, sizing::Sizing128KiB};
/// # const N: usize = 4096;
/// # fn same(heap: TinyHeap128KiB<N>) -> StaticArena<N, Whole<N, Sizing128KiB>, SpinLock> { heap }
/// type Composition = StaticArena<N, Whole<N, Sizing128KiB>, SpinLock>; // what `TinyHeap128KiB<N>` is
/// ```
///
/// What it is made of, here on a 64-bit machine:
/// ```
/// use heapwright::describe::describe;
/// use heapwright::preset::TinyHeap128KiB;
/// # #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
/// assert_eq!(describe::<TinyHeap128KiB<{ 128 << 10 }>>().to_string(), "\
/// StaticArena of 128 KiB, 2208 bytes of it for tables (79 bytes)
/// ├─ lock: SpinLock (1 byte)
/// └─ sizing: Whole<131072, Sizing128KiB>, granules of 4 bytes (8 beyond 64 KiB) with 1 bit each, objects of up to 128 KiB
/// ");
/// ```
///
/// Choose it for 12 to 256 KiB, where the speed on average counts: freed blocks are kept for the next request of their size, and a call
/// pays for it when memory runs short. Where the longest call counts, take [`StaticHeap`](super::StaticHeap). For less memory,
/// [`TinyHeap4KiB`] has smaller tables; it reads more of them in a call.
///
/// Granules of 4 bytes up to 64 KiB, of 8 above; no header. Tables: 2,172 bytes of 64 KiB, 2,208 of 128 KiB. Beside the region, on a 64-bit
/// machine, 72 bytes and the lock; the whole is a multiple of 16 bytes.
///
/// ```
/// use heapwright::preset::TinyHeap128KiB;
///
/// #[global_allocator]
/// static HEAP: TinyHeap128KiB<{ 256 << 10 }> = TinyHeap128KiB::new();
///
/// let words = vec![String::from("one line")];
/// assert!(HEAP.usage().objects >= 2);
/// # drop(words);
/// ```
///
/// A region that is longer than its sizing reaches is a mistake. (At 256 KiB exactly, the last 8 bytes are left over.)
/// ```compile_fail,E0080
/// # use heapwright::preset::TinyHeap128KiB;
/// static HEAP: TinyHeap128KiB<{ 300 << 10 }> = TinyHeap128KiB::new(); // error: longer than 256 KiB
/// ```
pub type TinyHeap128KiB<const N: usize, L = SpinLock> = StaticArena<N, Whole<N, Sizing128KiB>, L>;

/// A heap of up to 32 MiB, of `N` bytes, for objects of up to 16 MiB.
///
/// ```
/// # use heapwright::{arena::StaticArena, lock::SpinLock, preset::{TinyHeap16MiB, Whole}, sizing::Sizing16MiB};
/// # const N: usize = 4096;
/// # fn same(heap: TinyHeap16MiB<N>) -> StaticArena<N, Whole<N, Sizing16MiB>, SpinLock> { heap }
/// type Composition = StaticArena<N, Whole<N, Sizing16MiB>, SpinLock>; // what `TinyHeap16MiB<N>` is
/// ```
///
/// What it is made of, here on a 64-bit machine:
/// ```
/// use heapwright::describe::describe;
/// use heapwright::preset::TinyHeap16MiB;
/// # #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
/// assert_eq!(describe::<TinyHeap16MiB<{ 1 << 20 }>>().to_string(), "\
/// StaticArena of 1 MiB, 16560 bytes of it for tables (79 bytes)
/// ├─ lock: SpinLock (1 byte)
/// └─ sizing: Whole<1048576, Sizing16MiB>, granules of 8 bytes with 1 bit each, objects of up to 16 MiB
/// ");
/// ```
///
/// Choose it above 256 KiB, where the speed on average counts, as with [`TinyHeap128KiB`]. It is as large as it is told to be, once and for
/// all: where there is an OS, a heap over [`Pages`](crate::guide::composing) grows.
///
/// Granules of 8 bytes, no header. Tables: 16,560 bytes of 1 MiB, 1.5 % of 16 MiB. Beside the region, on a 64-bit machine, 72 bytes and the
/// lock; the whole is a multiple of 16 bytes.
///
/// ```
/// use heapwright::preset::TinyHeap16MiB;
///
/// #[global_allocator]
/// static HEAP: TinyHeap16MiB<{ 2 << 20 }> = TinyHeap16MiB::new();
///
/// let buffer = vec![0u8; 1 << 20];
/// assert!(HEAP.usage().used >= buffer.len());
/// ```
///
/// A region that is longer than its sizing reaches is a mistake:
/// ```compile_fail,E0080
/// # use heapwright::preset::TinyHeap16MiB;
/// static HEAP: TinyHeap16MiB<{ 33 << 20 }> = TinyHeap16MiB::new(); // error: longer than 32 MiB
/// ```
pub type TinyHeap16MiB<const N: usize, L = SpinLock> = StaticArena<N, Whole<N, Sizing16MiB>, L>;

/// Sizing `S` for a region of `N` bytes which is used whole: a compile error if `S` does not reach to the region's end.
///
/// An arena as such leaves alone what lies beyond its reach. Where the length is a constant that somebody has written down, it is a mistake.
/// A granule of `S` may be left over, where links reach all but the last.
///
/// ```
/// use heapwright::{preset::Whole, sizing::{Sizing, Sizing4KiB}};
/// assert_eq!(Whole::<4096, Sizing4KiB>::REGION_SIZE_MAX, Sizing4KiB::REGION_SIZE_MAX);
/// ```
#[derive(Debug)]
pub struct Whole<const N: usize, S>(PhantomData<fn() -> S>);

impl<const N: usize, S: Sizing> Sizing for Whole<N, S> {
    const GRANULE: usize = S::GRANULE;
    const LINK: Link = S::LINK;
    const OBJECT_SIZE_MAX: usize = S::OBJECT_SIZE_MAX;
    const REGION_SIZE_MAX: usize = {
        assert!(
            N <= S::REGION_SIZE_MAX.saturating_add(S::GRANULE),
            "the region is longer than its sizing reaches, and the rest would never be used: take a shorter one, or the next sizing \
             (Sizing4KiB reaches 12 KiB, Sizing128KiB 256 KiB, Sizing16MiB 32 MiB)"
        );
        S::REGION_SIZE_MAX
    };
    const GRANULE_SMALL: usize = S::GRANULE_SMALL;
    const REGION_SMALL_MAX: usize = S::REGION_SMALL_MAX;
    const PLACEMENT: Placement = S::PLACEMENT;
    const QUICK_SIZES: usize = S::QUICK_SIZES;
    const BIN_STEPS: u32 = S::BIN_STEPS;
    type Checks = S::Checks;
}

describe_by!(describe_sizing: [const N: usize, S: Sizing] Whole<N, S>);
