//! What all threads share.

use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;

use super::class::{Bring, Class, Depot, Shard, Slabs};
use super::fork::Handlers;
use super::front::Front;
use super::late::Late;
use super::settings::{MallocSettings, Numbers, SHARDS_MAX};
use super::stats::{ClassStats, MallocStats};
use super::stock::ChunkStock;
use super::threads::{Block, Threads};
use crate::AllocError;
use crate::cache::front::Room;
use crate::cache::size_classes::{ClassArray, SizeClasses, describe_classes};
use crate::cache::slab_heap::Shapes;
use crate::describe::{Bytes, Child, Cost, Describe, Tree};
use crate::source::{BackingSource, SideHeaders};

/// What all threads of a [`Malloc`](super::Malloc) share: a stock of chunks, and for each class depots and slabs. [`malloc!`](crate::malloc) declares it, in a
/// `static`.
pub struct SharedMalloc<T: MallocSettings> {
    chunks: T::Chunks,
    classes: <T::Classes as SizeClasses>::Array<Class<T>>,
    shards: [Shard<T>; SHARDS_MAX],
    pub(super) threads: Threads<T>,
    #[cfg_attr(not(unix), expect(dead_code, reason = "for forks, which only Unix has"))]
    pub(super) forks: Handlers,
    #[cfg_attr(not(unix), expect(dead_code, reason = "for forks, which only Unix has"))]
    pub(super) late: Late,
}

// SAFETY: the arrays are `[Class<T>; COUNT]` and `[Depot; COUNT]` (K4), which may be shared, as may the stock and the registry of threads.
unsafe impl<T: MallocSettings> Sync for SharedMalloc<T> {}

impl<T: MallocSettings> SharedMalloc<T> {
    /// A heap over a stock of chunks; all zero, but for what that brings.
    #[must_use]
    pub const fn new(chunks: T::Chunks) -> Self {
        let () = Numbers::<T>::CHECK;
        let mut classes = ClassArray::<T::Classes, Class<T>>::new();
        while classes.len() < T::Classes::COUNT {
            classes.push(Class::new());
        }
        SharedMalloc {
            chunks,
            classes: classes.finish(),
            shards: [const { Self::shard() }; SHARDS_MAX],
            threads: Threads::new(),
            forks: Handlers::new(),
            late: Late::new(),
        }
    }

    /// Empty depots.
    const fn shard() -> Shard<T> {
        let mut depots = ClassArray::<T::Classes, Depot<T::Lock>>::new();
        while depots.len() < T::Classes::COUNT {
            depots.push(Depot::new());
        }
        depots.finish()
    }

    /// The stock of chunks.
    pub const fn stock(&self) -> &T::Chunks {
        &self.chunks
    }

    /// The stock as a source.
    pub(super) fn chunks(&'static self) -> <T::Chunks as ChunkStock>::Source {
        self.chunks.chunks()
    }

    /// A class, and what calls on it bring.
    fn class(&'static self, class: usize) -> (&'static Class<T>, Bring<'static, T>) {
        let slabs = &self.classes.as_ref()[class];
        // SAFETY: there is a shape for each class, and the line above has seen that there is such a class.
        let shape = unsafe { Shapes::<T::Classes, Slabs<T>>::of(class) };
        (slabs, Bring { class, shape, stock: &self.chunks, shards: &self.shards })
    }

    /// Fills `out` from its front with free objects of a class, at least one; says how many. `class` is less than `COUNT`.
    pub(super) fn refill(
        &'static self,
        class: usize,
        shard: usize,
        out: &mut [Room],
    ) -> Result<usize, AllocError> {
        let (class, bring) = self.class(class);
        match class.refill(&bring, shard, out) {
            Err(AllocError) => {
                self.release();
                class.refill(&bring, shard, out)
            }
            taken => taken,
        }
    }

    /// Takes free objects back, one at least. `class` is less than `COUNT`.
    ///
    /// # Safety
    /// They are free objects of this class, in no other place.
    pub(super) unsafe fn flush(&'static self, class: usize, shard: usize, objects: &[NonNull<u8>]) {
        let (class, bring) = self.class(class);
        // SAFETY: the caller's promise is the same.
        unsafe { class.flush(&bring, shard, objects) };
    }

    /// A block that has no class.
    pub(super) fn acquire(&'static self, layout: Layout, zeroed: bool) -> Result<NonNull<[u8]>, AllocError> {
        let acquire = || {
            if zeroed { self.chunks.acquire_zeroed(layout) } else { self.chunks().acquire(layout) }
        };
        acquire().or_else(|_| {
            self.release();
            acquire()
        })
    }

    /// Gives all that no thread has at hand back to the OS.
    pub fn release(&'static self) {
        for class in 0..T::Classes::COUNT {
            let (class, bring) = self.class(class);
            class.drain(&bring);
        }
        self.threads.purge(self.chunks());
        self.chunks.release_free();
    }

    /// How much there is, and where.
    pub(super) fn stats(&'static self) -> MallocStats<T::Classes> {
        let mut classes = T::Classes::array(|class| {
            let (shared, bring) = self.class(class);
            let counts = shared.counts(&bring);
            ClassStats {
                size: Numbers::<T>::size(class),
                live: counts.taken.saturating_sub(counts.in_depots),
                at_hand: 0,
                in_depots: counts.in_depots,
                slabs: counts.slabs,
            }
        });
        let mut bytes_at_hand_most = 0;
        self.threads.each(|block| {
            let mut bytes = 0;
            for (number, class) in classes.as_mut().iter_mut().enumerate() {
                // SAFETY: a block in use; there is a number for each class.
                let objects = unsafe { Block::len(block, number) };
                class.at_hand += objects;
                bytes += objects * class.size;
            }
            bytes_at_hand_most = bytes_at_hand_most.max(bytes);
        });
        for class in classes.as_mut() {
            // Threads go on meanwhile, so that the sums may be off by what moves.
            class.at_hand = class.at_hand.min(class.live);
            class.live -= class.at_hand;
        }
        let slab = <<T::Chunks as ChunkStock>::Source as SideHeaders>::SLAB_SIZE;
        let mut stats = MallocStats::new(
            classes,
            self.chunks.numbers(),
            self.threads.open_count(),
            self.threads.bytes(),
            slab,
        );
        stats.bytes_at_hand_most = bytes_at_hand_most;
        stats
    }

    /// Takes all locks, and keeps them: before a fork. In the order in which calls take them.
    #[cfg_attr(not(unix), expect(dead_code, reason = "for forks, which only Unix has"))]
    pub(super) fn hold(&self) {
        self.threads.hold();
        self.shards.iter().for_each(|depots| depots.as_ref().iter().for_each(Depot::hold));
        self.classes.as_ref().iter().for_each(Class::hold);
        self.chunks.hold();
    }

    /// Lets go of all locks.
    ///
    /// # Safety
    /// They are held by `hold`.
    #[cfg_attr(not(unix), expect(dead_code, reason = "for forks, which only Unix has"))]
    pub(super) unsafe fn let_go(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.chunks.let_go() };
        for class in self.classes.as_ref() {
            // SAFETY: the caller's promise.
            unsafe { class.let_go() };
        }
        for depot in self.shards.iter().flat_map(|depots| depots.as_ref()) {
            // SAFETY: the caller's promise.
            unsafe { depot.let_go() };
        }
        // SAFETY: the caller's promise.
        unsafe { self.threads.let_go() };
    }
}

impl<T: MallocSettings> fmt::Debug for SharedMalloc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMalloc").field("threads", &self.threads.open_count()).finish_non_exhaustive()
    }
}

impl<T: MallocSettings<Chunks: Describe, Lock: Describe>> Describe for SharedMalloc<T> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let cost = Cost::state_around::<Self, T::Chunks>();
        let parts: [Child<'_>; 6] = [
            ("classes", describe_classes::<T::Classes>),
            ("stacks of each thread", describe_stacks::<T>),
            ("depots of each class", describe_depots::<T>),
            ("slabs of each class", describe_slabs::<T>),
            ("lock of each depot and class", T::Lock::describe),
            ("chunks", T::Chunks::describe),
        ];
        tree.part(format_args!("Malloc, a static for all threads"), cost, &parts)
    }
}

/// What a thread has at hand.
fn describe_stacks<T: MallocSettings>(tree: &mut Tree<'_>) -> fmt::Result {
    let cost = Cost { state: size_of::<Front<T>>() + Block::<T>::LEN, per_block: 0 };
    let (slots, bytes) = (T::FRONT_SLOTS, Bytes(T::FRONT_BYTES));
    if T::GROWN_BYTES == 0 {
        return tree.part(format_args!("two per class of up to {slots} objects and {bytes}"), cost, &[]);
    }
    let grown = Bytes(T::GROWN_BYTES);
    tree.part(
        format_args!(
            "two per class of up to {slots} objects and {bytes}, those that grow up to {grown} for all threads"
        ),
        cost,
        &[],
    )
}

/// What threads pass to each other.
fn describe_depots<T: MallocSettings>(tree: &mut Tree<'_>) -> fmt::Result {
    let (depots, slots, bytes) = (T::SHARDS, T::DEPOT_SLOTS, Bytes(T::DEPOT_BYTES));
    tree.part(format_args!("{depots} of up to {slots} objects and {bytes}"), Cost::NONE, &[])
}

/// The slabs, whose source is the stock of chunks.
fn describe_slabs<T: MallocSettings>(tree: &mut Tree<'_>) -> fmt::Result {
    let slab = Bytes(<<T::Chunks as ChunkStock>::Source as SideHeaders>::SLAB_SIZE);
    tree.part(format_args!("SideSlabs of {slab}, 1 bit per object"), Cost::NONE, &[])
}
