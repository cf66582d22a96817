//! The threads that have objects at hand, and the memory for their stacks.

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::bin::{Bin, Place, Stacks};
use super::front::{Bins, PensOf, closed_bins};
use super::grown::Grown;
use super::quarantine::Pens;
use super::settings::{MallocSettings, Numbers};
use super::stock::ChunkStock;
use crate::AllocError;
use crate::cache::SizeClasses;
use crate::check::{Checks, Fresh, Switch};
use crate::lock::{HoldLock, Lock};
use crate::source::{BackingSource, SideHeaders};

/// As many blocks are made at once as go into so many chunks, or one.
const CHUNKS: usize = 8;

/// A thread's memory: this record with its bins, and the stacks of all classes behind it. Once made it is used again and again, by one thread at a time.
#[repr(C)]
pub(super) struct Block<T: MallocSettings> {
    /// The next block that no thread has. Touched under the registry's lock.
    next_free: *mut Block<T>,
    /// The next of all blocks; never changes.
    next: *mut Block<T>,
    /// Whether a thread has the block. Touched under the registry's lock.
    taken: AtomicBool,
    /// The number of the block: its thread uses the depots of this number.
    pub(super) number: usize,
    /// One for each class: open only while a thread has the block, and touched by that alone, but for what others may count.
    bins: Bins<T>,
    /// Freed objects that rest: none unless a thread has the block.
    pens: PensOf<T>,
    /// Of each class.
    grown: <T::Classes as SizeClasses>::Array<Grown>,
}

impl<T: MallocSettings> Block<T> {
    /// Bytes of a block before its stacks: whole cache lines.
    const RECORD_LEN: usize = size_of::<Self>().next_multiple_of(64);

    /// Bytes of a block: whole cache lines.
    pub(super) const LEN: usize = (Self::RECORD_LEN
        + Numbers::<T>::STACKS[<T::Classes as SizeClasses>::COUNT] as usize * size_of::<Place>())
    .next_multiple_of(64);

    /// The first of its bins, good for all.
    pub(super) fn bins(&self) -> *const Bin {
        ptr::from_ref(&self.bins).cast()
    }

    /// Closes the bins, which are empty.
    pub(super) fn close_bins(&self) {
        self.bins.as_ref().iter().for_each(Bin::close);
    }

    /// Where freed objects rest, if any do.
    #[inline(always)]
    pub(super) fn pens(&self) -> Option<&Pens<T>> {
        <<<T::Chunks as ChunkStock>::Checks as Checks>::Quarantine as Switch>::get(&self.pens)
    }

    /// How many objects of a class its thread has at hand. Any thread may ask.
    ///
    /// # Safety
    /// As [`stacks`](Block::stacks).
    pub(super) unsafe fn len(block: NonNull<Self>, class: usize) -> usize {
        // SAFETY: the caller's promise is the same.
        let stacks = unsafe { Self::stacks(block, class) };
        // SAFETY: blocks stay for good.
        let record = unsafe { block.as_ref() };
        let resting = record.pens().map_or(0, |pens| pens.len(class));
        record.bins.as_ref()[class].len(stacks) + resting
    }

    /// The larger stacks of a class. `class` is less than `COUNT`.
    #[inline]
    pub(super) fn grown(&self, class: usize) -> &Grown {
        &self.grown.as_ref()[class]
    }

    /// The stacks of a class.
    ///
    /// # Safety
    /// The block is in use, or was; `class` is less than `COUNT`.
    #[inline]
    pub(super) unsafe fn stacks(block: NonNull<Self>, class: usize) -> Stacks {
        // SAFETY: blocks stay for good, and what is in the record may be read by all.
        let grown = unsafe { block.as_ref() }.grown(class).stacks();
        // SAFETY: the caller's promise is the same.
        grown.unwrap_or_else(|| unsafe { Self::first_stacks(block, class) })
    }

    /// The stacks that a class has at first.
    ///
    /// # Safety
    /// As [`stacks`](Block::stacks).
    pub(super) unsafe fn first_stacks(block: NonNull<Self>, class: usize) -> Stacks {
        let at = Self::RECORD_LEN + Numbers::<T>::STACKS[class] as usize * size_of::<Place>();
        // SAFETY: the block has room for the stacks of all classes.
        let base = unsafe { block.cast::<u8>().add(at) }.cast().as_ptr();
        Stacks { base, most: Numbers::<T>::front_slots(class) }
    }
}

/// All blocks.
#[derive(Debug)]
pub(super) struct Threads<T: MallocSettings> {
    lock: T::Lock,
    lists: UnsafeCell<Lists<T>>,
    /// Blocks that a thread has.
    open: AtomicUsize,
    /// Bytes of stacks that have grown.
    grown: AtomicUsize,
}

/// Touched only under the registry's lock.
#[derive(Debug)]
struct Lists<T: MallocSettings> {
    free: *mut Block<T>,
    all: *mut Block<T>,
    blocks: usize,
    /// Bytes of the runs that they are in.
    bytes: usize,
}

// SAFETY: the lists are touched under the lock, which may be shared (L1, L2).
unsafe impl<T: MallocSettings> Sync for Threads<T> {}

impl<T: MallocSettings> Threads<T> {
    pub(super) const fn new() -> Self {
        Threads {
            lock: T::Lock::INIT,
            lists: UnsafeCell::new(Lists {
                free: ptr::null_mut(),
                all: ptr::null_mut(),
                blocks: 0,
                bytes: 0,
            }),
            open: AtomicUsize::new(0),
            grown: AtomicUsize::new(0),
        }
    }

    fn enter<R>(&self, work: impl FnOnce(&mut Lists<T>) -> R) -> Option<R> {
        self.lock.with(|| {
            // SAFETY: the lock gives exclusion (L1, L2), and no closure of this file enters again.
            work(unsafe { &mut *self.lists.get() })
        })
    }

    /// A block for this thread.
    ///
    /// # Errors
    /// When there is no memory for one.
    pub(super) fn open(&self, chunks: &T::Chunks) -> Result<NonNull<Block<T>>, AllocError> {
        let taken = self.enter(|lists| {
            if lists.free.is_null() {
                lists.add(chunks)?;
            }
            let block = NonNull::new(lists.free).ok_or(AllocError)?;
            // SAFETY: a block of the list.
            lists.free = unsafe { (*block.as_ptr()).next_free };
            // SAFETY: as above.
            unsafe { &(*block.as_ptr()).taken }.store(true, Ordering::Relaxed);
            Ok(block)
        });
        let block = taken.unwrap_or(Err(AllocError))?;
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(block)
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// It is from `open`, its bins are closed, and nobody uses it any more.
    pub(super) unsafe fn close(&self, block: NonNull<Block<T>>) {
        self.enter(|lists| {
            // SAFETY: blocks are never given back to the stock.
            unsafe { &(*block.as_ptr()).taken }.store(false, Ordering::Relaxed);
            // SAFETY: under the lock.
            unsafe { (*block.as_ptr()).next_free = lists.free };
            lists.free = block.as_ptr();
        });
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many threads have objects at hand.
    pub(super) fn open_count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Bytes of all blocks, and of stacks that have grown.
    pub(super) fn bytes(&self) -> usize {
        self.enter(|lists| lists.bytes).unwrap_or(0) + self.grown.load(Ordering::Relaxed)
    }

    /// Notes that stacks have grown by so many bytes.
    pub(super) fn add_bytes(&self, bytes: usize) {
        self.grown.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes that stacks have lost so many bytes.
    pub(super) fn remove_bytes(&self, bytes: usize) {
        self.grown.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Shows `see` the block of each thread. Threads neither come nor go meanwhile, but go on with what they have.
    pub(super) fn each(&self, mut see: impl FnMut(NonNull<Block<T>>)) {
        self.enter(|lists| {
            let mut next = NonNull::new(lists.all);
            while let Some(block) = next {
                // SAFETY: blocks are never given back to the stock.
                let record = unsafe { block.as_ref() };
                if record.taken.load(Ordering::Relaxed) {
                    see(block);
                }
                next = NonNull::new(record.next);
            }
        });
    }

    /// Gives the memory of stacks that no thread has back to the OS; the blocks stay.
    pub(super) fn purge(&self, mut chunks: <T::Chunks as ChunkStock>::Source) {
        self.enter(|lists| {
            let mut next = NonNull::new(lists.free);
            while let Some(block) = next {
                // SAFETY: the stacks lie behind the record.
                let stacks = unsafe { block.cast::<u8>().add(Block::<T>::RECORD_LEN) };
                // SAFETY: the block is in the list, so nobody has its stacks, and whoever gets it opens them anew.
                unsafe { chunks.purge(stacks, Block::<T>::LEN - Block::<T>::RECORD_LEN) };
                // SAFETY: a block of the list.
                next = NonNull::new(unsafe { (*block.as_ptr()).next_free });
            }
        });
    }

    /// Takes the lock and keeps it.
    pub(super) fn hold(&self) {
        self.lock.hold();
    }

    /// Lets go of the lock.
    ///
    /// # Safety
    /// It is held by `hold`.
    pub(super) unsafe fn let_go(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.lock.let_go() };
    }

    /// Forgets the threads that a forked child does not have: all but the one that has the block `own`, which is null if none does. Their blocks, and what they had at hand, are lost to the child.
    ///
    /// # Safety
    /// The lock is held by `hold`, and this thread is the only one.
    #[cfg_attr(not(unix), expect(dead_code, reason = "for forks, which only Unix has"))]
    pub(super) unsafe fn forget_others(&self, own: *const Block<T>) {
        // SAFETY: the caller's promise: nobody else is there to refer to the lists.
        let mut next = NonNull::new(unsafe { (*self.lists.get()).all });
        let mut open = 0;
        while let Some(block) = next {
            // SAFETY: blocks are never given back to the stock.
            let record = unsafe { block.as_ref() };
            if block.as_ptr().cast_const() == own {
                open += 1;
            } else {
                record.taken.store(false, Ordering::Relaxed);
            }
            next = NonNull::new(record.next);
        }
        self.open.store(open, Ordering::Relaxed);
    }
}

impl<T: MallocSettings> Lists<T> {
    /// Makes blocks of some chunks.
    fn add(&mut self, chunks: &T::Chunks) -> Result<(), AllocError> {
        let chunk = <<T::Chunks as ChunkStock>::Source as SideHeaders>::SLAB_SIZE;
        // Several at once: they stay for good, and are to hold up few regions.
        let len = ((CHUNKS * chunk / Block::<T>::LEN).max(1) * Block::<T>::LEN).next_multiple_of(chunk);
        let layout = Layout::from_size_align(len, 64).map_err(|_| AllocError)?;
        let run = chunks.acquire_reserved(layout)?.cast::<u8>();
        self.bytes += len;
        for number in (0..len / Block::<T>::LEN).rev() {
            // SAFETY: the block lies in the run.
            let block = unsafe { run.add(number * Block::<T>::LEN) }.cast::<Block<T>>();
            let record = Block {
                next_free: self.free,
                next: self.all,
                taken: AtomicBool::new(false),
                number: self.blocks,
                bins: const { closed_bins::<T>() },
                pens: Fresh::NEW,
                grown: T::Classes::array(|_| Grown::new()),
            };
            // SAFETY: the run is ours, and aligned to a line, as are the blocks.
            unsafe { block.write(record) };
            (self.free, self.all) = (block.as_ptr(), block.as_ptr());
            self.blocks += 1;
        }
        Ok(())
    }
}
