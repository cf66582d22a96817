//! What a global allocator is made of.

use core::marker::PhantomData;

use super::bin::Stacks;
use super::stock::ChunkStock;
use crate::cache::SizeClasses;
use crate::lock::HoldLock;

/// The most objects that a depot holds.
pub(super) const DEPOT_MAX: usize = 64;
/// The most depots of a class.
pub(super) const SHARDS_MAX: usize = 8;

/// The parts and numbers of a [`Malloc`](super::Malloc): what [`malloc!`](crate::malloc) takes. All numbers have defaults.
///
/// ```
/// # #[cfg(feature = "os")] {
/// use heapwright::cache::{ChunkHeap, Classes, KeepAll, MallocSettings};
/// use heapwright::{lock::YieldLock, source::Pages};
///
/// /// Slabs of 32 KiB, at most 16 objects of a class at hand on each of two stacks, memory never given back by itself.
/// struct Frugal;
/// impl MallocSettings for Frugal {
///     type Classes = Classes;
///     type Chunks = ChunkHeap<Pages, YieldLock, KeepAll, 32768>;
///     type Lock = YieldLock;
///     const FRONT_SLOTS: usize = 16;
/// }
/// heapwright::malloc! { static FRUGAL as FrugalMalloc: Frugal = ChunkHeap::new(Pages); }
///
/// let list = allocator_api2_04::vec::Vec::<u32, _>::with_capacity_in(100, FrugalMalloc);
/// assert_eq!(FrugalMalloc.stats().bytes_live, 416);
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` are not the settings of a heapwright `Malloc`",
    label = "this takes a type with its parts and numbers",
    note = "implement `heapwright::cache::MallocSettings`: three types; the numbers have defaults"
)]
pub trait MallocSettings: Sized + 'static {
    /// The sizes of small objects; what is larger, or aligned above the largest alignment of a class, gets chunks.
    type Classes: SizeClasses;

    /// The stock of chunks: a [`ChunkHeap`](crate::cache::ChunkHeap) with its source, the length of slabs, and the policy how much free memory stays.
    type Chunks: ChunkStock;

    /// The lock of each shared part.
    type Lock: HoldLock + Sync;

    /// The most free objects of a class on each of the two stacks that a thread has at hand: 1 to 2048.
    const FRONT_SLOTS: usize = 32;

    /// The most bytes of a class on each of these stacks, but for one object, which there may always be.
    const FRONT_BYTES: usize = 8 << 10;

    /// The most bytes that all threads together may have at hand on stacks that have grown beyond that, both stacks and their places counted; a thread has
    /// at most a fourth of it. 0: stacks do not grow. A class's stacks grow where it goes back and forth: where more is freed than they hold, and then
    /// allocated again.
    const GROWN_BYTES: usize = 6 << 20;

    /// The most free objects of a class in a depot, where they are for any thread of that shard to take: up to 64.
    const DEPOT_SLOTS: usize = DEPOT_MAX;

    /// The most bytes of a class in a depot.
    const DEPOT_BYTES: usize = 16 << 10;

    /// How many depots each class has, a power of two up to 8. Threads are dealt to them in turn.
    const SHARDS: usize = 4;
}

/// What follows from settings, checked.
pub(super) struct Numbers<T>(PhantomData<T>);

impl<T: MallocSettings> Numbers<T> {
    /// Whether the numbers will do.
    pub(super) const CHECK: () = {
        assert!(
            T::FRONT_SLOTS >= 1 && T::FRONT_SLOTS <= 2048,
            "a thread has two stacks of 1 to 2048 objects at hand: choose such a `FRONT_SLOTS`"
        );
        assert!(
            T::DEPOT_SLOTS <= DEPOT_MAX,
            "a depot has room for 64 objects: choose a smaller `DEPOT_SLOTS`, or more `SHARDS`"
        );
        assert!(
            T::SHARDS.is_power_of_two() && T::SHARDS <= SHARDS_MAX,
            "there are 1, 2, 4 or 8 depots for each class: choose such a number of `SHARDS`"
        );
    };

    /// Bytes of an object of a class.
    #[inline]
    pub(super) fn size(class: usize) -> usize {
        T::Classes::SIZES[class]
    }

    /// The same, without a look whether there is such a class.
    ///
    /// # Safety
    /// It is less than `COUNT`.
    #[inline(always)]
    pub(super) const unsafe fn size_of(class: usize) -> usize {
        debug_assert!(class < T::Classes::COUNT);
        let sizes: *const usize = T::Classes::SIZES.as_ptr();
        // SAFETY: the caller's promise.
        let size = unsafe { sizes.add(class) };
        // SAFETY: as above.
        unsafe { size.read() }
    }

    /// How many objects of each class may be on one of a thread's two stacks, and in a depot. (Computed beforehand: they are asked for too often to divide each time.)
    const SLOTS: &'static [(u16, u16); 256] = &{
        let () = Self::CHECK;
        const fn bounded(number: usize, most: usize) -> u16 {
            if number < most { number as u16 } else { most as u16 }
        }
        let mut slots = [(0, 0); 256];
        let mut class = 0;
        while class < T::Classes::COUNT {
            let size = T::Classes::SIZES[class];
            let front = bounded(T::FRONT_BYTES / size, T::FRONT_SLOTS);
            slots[class] =
                (if front < 1 { 1 } else { front }, bounded(T::DEPOT_BYTES / size, T::DEPOT_SLOTS));
            class += 1;
        }
        slots
    };

    /// How many objects of a class may be on one of a thread's two stacks.
    pub(super) const fn front_slots(class: usize) -> usize {
        Self::SLOTS[class & 0xff].0 as usize
    }

    /// How many objects of a class a depot may hold.
    #[inline]
    pub(super) const fn depot_slots(class: usize) -> usize {
        Self::SLOTS[class & 0xff].1 as usize
    }

    /// Where the stacks of each class begin in a thread's block, in pointers; and where the last ones end.
    pub(super) const STACKS: &'static [u32; 256] = &{
        let () = Self::CHECK;
        let mut starts = [0; 256];
        let (mut class, mut at) = (0, 0);
        while class < T::Classes::COUNT {
            // Behind a mark, which ends the stack.
            starts[class] = at + 1;
            at += Stacks::places(Self::front_slots(class)) as u32;
            class += 1;
        }
        starts[class] = at;
        starts
    };
}
