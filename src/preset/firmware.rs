//! Heaps in a static array of bytes.

use crate::arena::StaticArena;
use crate::lock::SpinLock;
use crate::sizing::{Sizing4KiB, Sizing16MiB, Sizing128KiB};

/// A heap of `N` bytes for firmware, in a `static`, as the global allocator: up to 32 MiB, under any lock.
///
/// ```text
/// StaticHeap<N, L> = StaticArena<N, Sizing16MiB, L>
/// ```
/// Choose it when the program knows how much memory its heap may take. It needs no start, lies in `.bss`, and is ready before `main`. On a chip whose interrupt
/// handlers allocate the lock has to be `CriticalSectionLock`. For less than 256 KiB the [`TinyHeap128KiB`] has the smaller tables; of more than 32 MiB the rest is
/// not used.
///
/// **Cost.** No byte per object beyond rounding to 8; tables of some 1.6 % of the region; O(1) per call. See the guide's chapter [`arenas`](crate::guide::arenas).
///
/// ```
/// use heapwright::preset::StaticHeap;
///
/// #[global_allocator]
/// static HEAP: StaticHeap<{ 1 << 20 }> = StaticHeap::new();
///
/// let text = String::from("in static memory");
/// assert!(HEAP.usage().used >= text.len());
/// ```
pub type StaticHeap<const N: usize, L = SpinLock> = StaticArena<N, Sizing16MiB, L>;

/// The smallest heap: `N` bytes up to 12 KiB, objects up to 4 KiB.
///
/// ```text
/// TinyHeap4KiB<N, L> = StaticArena<N, Sizing4KiB, L>
/// ```
/// Choose it for a handful of KiB: objects are rounded up to 4 bytes and nothing else, and the tables take 1 bit for each 4 bytes. A search looks through
/// these bits, which is quick while they are few.
///
/// ```
/// use heapwright::preset::TinyHeap4KiB;
/// use heapwright::{heap::SharedHeap, lock::NoLock};
/// use std::alloc::Layout;
///
/// let heap = TinyHeap4KiB::<4096, NoLock>::new();
/// let mut objects = 0;
/// while heap.try_alloc(Layout::new::<[u64; 3]>()).is_ok() {
///     objects += 1;
/// }
/// assert_eq!(objects, 165, "of 24 bytes: 96.7 %");
/// ```
pub type TinyHeap4KiB<const N: usize, L = SpinLock> = StaticArena<N, Sizing4KiB, L>;

/// A small heap: `N` bytes up to 256 KiB, objects up to 128 KiB.
///
/// ```text
/// TinyHeap128KiB<N, L> = StaticArena<N, Sizing128KiB, L>
/// ```
/// Choose it for 8 to 256 KiB: O(1) per call, links of two bytes, objects rounded up to 4 bytes in regions of up to 64 KiB, to 8 in larger ones.
///
/// ```
/// use heapwright::preset::TinyHeap128KiB;
/// static HEAP: TinyHeap128KiB<65536> = TinyHeap128KiB::new();
/// assert_eq!(HEAP.usage().objects, 0);
/// ```
pub type TinyHeap128KiB<const N: usize, L = SpinLock> = StaticArena<N, Sizing128KiB, L>;

/// A heap of `N` bytes up to 32 MiB, objects up to 16 MiB; the same as [`StaticHeap`].
///
/// ```text
/// TinyHeap16MiB<N, L> = StaticArena<N, Sizing16MiB, L>
/// ```
///
/// ```
/// use heapwright::preset::TinyHeap16MiB;
/// static HEAP: TinyHeap16MiB<{ 1 << 20 }> = TinyHeap16MiB::new();
/// assert_eq!(HEAP.usage().objects, 0);
/// ```
pub type TinyHeap16MiB<const N: usize, L = SpinLock> = StaticHeap<N, L>;
