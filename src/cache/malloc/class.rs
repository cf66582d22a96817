//! What all threads share of one class: depots, and slabs.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::settings::{DEPOT_MAX, MallocSettings, Numbers, SHARDS_MAX};
use super::stock::ChunkStock;
use crate::AllocError;
use crate::cache::front::{self, Fronted, Room};
use crate::cache::retention::ReleaseAtOnce;
use crate::cache::size_classes::SizeClasses;
use crate::check::{Checks, Switch};
use crate::lock::{HoldLock, Lock};
use crate::slab::{Shape, SideSlabs, SlabSystem};

/// Bytes that lie in one page, on all systems.
const PAGE: usize = 4096;

/// Whether frees are looked at.
type Frees<T> = <<<T as MallocSettings>::Chunks as ChunkStock>::Checks as Checks>::Frees;

/// The slabs of a class.
pub(super) type Slabs<T> = SideSlabs<<<T as MallocSettings>::Chunks as ChunkStock>::Source>;

/// Free objects of one class that no thread has at hand, for all threads of a shard.
#[repr(align(128))]
pub(super) struct Depot<L> {
    lock: L,
    /// Written under the lock; read without it, as a hint.
    count: AtomicUsize,
    /// The first `count` are free objects. Touched only under the lock.
    objects: UnsafeCell<[Room; DEPOT_MAX]>,
}

impl<L: Lock> Depot<L> {
    pub(super) const fn new() -> Self {
        Depot {
            lock: L::INIT,
            count: AtomicUsize::new(0),
            objects: UnsafeCell::new([const { MaybeUninit::zeroed() }; DEPOT_MAX]),
        }
    }

    /// Runs `work` on the objects and their number under the lock, and keeps the number that it gives.
    fn enter<R>(&self, work: impl FnOnce(&mut [Room; DEPOT_MAX], usize) -> (usize, R)) -> Option<R> {
        self.lock.with(|| {
            // SAFETY: the lock gives exclusion (L1, L2), and no closure of this file enters again.
            let objects = unsafe { &mut *self.objects.get() };
            let (count, result) = work(objects, self.count.load(Ordering::Relaxed));
            self.count.store(count, Ordering::Relaxed);
            result
        })
    }

    /// Moves the objects that came last to the front of `out`; says how many.
    fn take(&self, out: &mut [Room]) -> usize {
        if self.count.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        self.enter(|objects, count| {
            let taken = count.min(out.len());
            let rest = count - taken;
            out[..taken].copy_from_slice(&objects[rest..count]);
            (rest, taken)
        })
        .unwrap_or(0)
    }

    /// Takes objects in, if there is room for all of them up to `most`; says whether.
    fn put(&self, some: &[NonNull<u8>], most: usize) -> bool {
        if self.count.load(Ordering::Relaxed) + some.len() > most {
            return false;
        }
        self.enter(|objects, count| {
            let end = count + some.len();
            if end > most.min(DEPOT_MAX) {
                return (count, false);
            }
            for (place, &object) in objects[count..end].iter_mut().zip(some) {
                place.write(object);
            }
            (end, true)
        })
        .unwrap_or(false)
    }
}

/// The depots of one shard, one for each class: side by side, since a thread uses those of one shard.
pub(super) type Shard<T> =
    <<T as MallocSettings>::Classes as SizeClasses>::Array<Depot<<T as MallocSettings>::Lock>>;

/// The slabs of one class.
#[repr(align(128))]
pub(super) struct Class<T: MallocSettings> {
    lock: T::Lock,
    /// Touched only under `lock`. Invariant: every call on it brings the stock of `T` and the shape of this class.
    slabs: UnsafeCell<Fronted<Slabs<T>, ReleaseAtOnce, 0, false>>,
}

// SAFETY: what lies in the cell is touched under the lock, which may be shared (L1, L2). Slabs belong to no thread.
unsafe impl<T: MallocSettings> Sync for Class<T> {}

// SAFETY: as above; free objects belong to no thread.
unsafe impl<L: Sync> Sync for Depot<L> {}

/// What the calls on a class bring: its number, its shape, the stock of chunks, and all depots.
pub(super) struct Bring<'a, T: MallocSettings> {
    pub(super) class: usize,
    pub(super) shape: &'static Shape,
    pub(super) stock: &'static T::Chunks,
    pub(super) shards: &'a [Shard<T>; SHARDS_MAX],
}

/// Sees to it that the pages of an object can be written behind its first word, which has been: those that have never been written to are zero pages to the system, and an object that is read before it is
/// written would have each of them made present twice.
///
/// # Safety
/// It has `len` bytes, eight at least, aligned to 8, which nobody else uses.
#[inline]
unsafe fn make_present(object: NonNull<u8>, len: usize) {
    let mut at = PAGE - object.addr().get() % PAGE;
    while at < len {
        // SAFETY: inside, the first word of a page.
        let place = unsafe { object.add(at) };
        // SAFETY: nobody else uses it; a word of zero stays zero, and any other what it is.
        let word = unsafe { AtomicUsize::from_ptr(place.as_ptr().cast()) };
        let _ = word.compare_exchange(0, 0, Ordering::Relaxed, Ordering::Relaxed);
        at += PAGE;
    }
}

/// How many objects of a class there are, and where.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Objects out of their slabs: live, at hand, or in a depot.
    pub(super) taken: usize,
    pub(super) in_depots: usize,
    pub(super) slabs: usize,
}

impl<T: MallocSettings> Class<T> {
    pub(super) const fn new() -> Self {
        Class { lock: T::Lock::INIT, slabs: UnsafeCell::new(Fronted::NEW) }
    }

    /// Runs `work` on the slabs under their lock.
    fn enter<R>(&self, work: impl FnOnce(&mut Fronted<Slabs<T>, ReleaseAtOnce, 0, false>) -> R) -> Option<R> {
        self.lock.with(|| {
            // SAFETY: the lock gives exclusion (L1, L2), and no closure of this file enters again.
            work(unsafe { &mut *self.slabs.get() })
        })
    }

    /// Fills `out` from its front with free objects, at least one; says how many. From the shard's depot, from those of others, or from slabs.
    pub(super) fn refill(
        &self,
        bring: &Bring<'_, T>,
        shard: usize,
        out: &mut [Room],
    ) -> Result<usize, AllocError> {
        for step in 0..T::SHARDS {
            let taken = bring.depot(shard + step).take(out);
            if taken > 0 {
                return Ok(taken);
            }
        }
        let mut source = bring.stock.chunks();
        let taken = self.enter(|slabs| {
            // SAFETY: the invariant of `slabs`.
            let count = unsafe { slabs.take(&mut source, bring.shape, out) }?.count;
            if !<Frees<T> as Switch>::ON {
                return Ok((count, usize::MAX));
            }
            // SAFETY: so many have been written.
            let objects = unsafe { front::objects(&out[..count]) };
            let Some(&last_object) = objects.iter().max() else { return Ok((0, usize::MAX)) };
            let (shape, last) = (bring.shape, last_object.addr().get());
            let base = last & !(shape.slab_size() - 1);
            let number = shape.index(base, last);
            // SAFETY: they have just been taken, from one slab, under the lock.
            let counted = unsafe { bring.stock.note_taken(base, number) };
            for further in 1..counted.end.min(shape.capacity() as u32) - number {
                // It is nobody's, but counts as taken with those before it.
                // SAFETY: an object of the same slab.
                let object = unsafe { last_object.add(further as usize * shape.stride()) };
                // SAFETY: nobody gets it but under the lock.
                unsafe { object.cast::<usize>().write(bring.stock.mark(object.addr().get())) };
            }
            let first = last - number as usize * shape.stride();
            Ok((count, first + counted.start as usize * shape.stride()))
        });
        let (count, fresh) = taken.unwrap_or(Err(AllocError))?;
        if <Frees<T> as Switch>::ON {
            // Those that come for the first time are marked as free, as the others were when they came back: whoever frees one that nobody was given, or writes to it, is found out.
            // SAFETY: so many have been written.
            let objects = unsafe { front::objects(&out[..count]) };
            for object in objects.iter().filter(|object| object.addr().get() >= fresh) {
                // SAFETY: an object has a word, and this one is the caller's.
                unsafe { object.cast::<usize>().write(bring.stock.mark(object.addr().get())) };
                if <T::Chunks as ChunkStock>::Checks::ZERO_FREED {
                    // SAFETY: a free object of the class, which nobody else uses.
                    unsafe { make_present(*object, bring.shape.stride()) };
                }
            }
        }
        Ok(count)
    }

    /// Takes free objects back, one at least: into the shard's depot if it has room, else to their slabs.
    ///
    /// # Safety
    /// They are free objects of this class, in no other place.
    pub(super) unsafe fn flush(&self, bring: &Bring<'_, T>, shard: usize, objects: &[NonNull<u8>]) {
        let most = Numbers::<T>::depot_slots(bring.class);
        if !bring.depot(shard).put(objects, most) {
            // SAFETY: the caller's promise is the same.
            unsafe { self.put(bring, objects) };
        }
    }

    /// Takes free objects back to their slabs.
    ///
    /// # Safety
    /// As [`flush`](Class::flush).
    unsafe fn put(&self, bring: &Bring<'_, T>, objects: &[NonNull<u8>]) {
        let mut source = bring.stock.chunks();
        // SAFETY: the caller's promise; the invariant of `slabs`.
        self.enter(|slabs| unsafe { slabs.put(&mut source, bring.shape, objects, true) });
    }

    /// Empties the depots, each once: what others put there meanwhile stays.
    pub(super) fn drain(&self, bring: &Bring<'_, T>) {
        for shard in 0..T::SHARDS {
            let mut out = [const { MaybeUninit::uninit() }; DEPOT_MAX];
            let taken = bring.depot(shard).take(&mut out);
            if taken > 0 {
                // SAFETY: the depot has written so many.
                let objects = unsafe { front::objects(&out[..taken]) };
                // SAFETY: they were in the depot, and are in no other place now.
                unsafe { self.put(bring, objects) };
            }
        }
    }

    /// How many objects there are, and where.
    pub(super) fn counts(&self, bring: &Bring<'_, T>) -> Counts {
        let count = |shard| bring.depot(shard).count.load(Ordering::Relaxed);
        let in_depots = (0..T::SHARDS).map(count).sum();
        let census = self.enter(|slabs| slabs.system().census()).unwrap_or_default();
        Counts { taken: census.taken, in_depots, slabs: census.slabs }
    }

    /// Takes the lock, and keeps it.
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
}

impl<L: HoldLock> Depot<L> {
    /// Takes the lock, and keeps it.
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
}

impl<T: MallocSettings> Bring<'_, T> {
    /// The depot of the class for a shard, of which there are `SHARDS`, counted round.
    fn depot(&self, shard: usize) -> &Depot<T::Lock> {
        &self.shards[shard % T::SHARDS].as_ref()[self.class]
    }
}
