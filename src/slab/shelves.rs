//! What all slab systems share: slabs in lists by how much of them is free, and objects taken from the fullest.

use core::mem::{self, MaybeUninit};
use core::ptr::NonNull;

use super::header::{HEADER_LEN, Header, List, PARTIAL, SHELVES, Shelf};
use super::objects::{FreeObjects, SlabView, row_bits};
use super::shape::Shape;
use super::{Census, Slab, Taken};
use crate::AllocError;
use crate::source::BackingSource;

/// Where the slabs of a system stand, and how that of an object is found.
///
/// # Safety
/// An implementation keeps these:
/// - **G1** (room) `acquire` gives a header with its tables and a slab, both of the shape's lengths and alignments, exposed, and the
///   caller's alone until `release`. It says the slab's base, and how many of its objects' room the headers have.
/// - **G2** (owner) `find` gives the header of the slab in which an object lies, or any byte of a slab, good for the header and its tables; so does
///   `seek`, if it answers.
/// - **G3** (no unwinding) no method unwinds, and after an error nothing has changed.
pub(super) unsafe trait Ground {
    type Source: BackingSource;

    /// # Safety
    /// `source` and `shape` are those of every call.
    unsafe fn acquire(&mut self, source: &mut Self::Source, shape: &Shape) -> Result<Place, AllocError>;

    /// # Safety
    /// The slab was acquired here, and none of its objects is in use.
    unsafe fn release(
        &mut self,
        source: &mut Self::Source,
        shape: &Shape,
        header: NonNull<Header>,
        base: NonNull<u8>,
    );

    /// # Safety
    /// `object` is the address of an object, or any other, in a slab that was acquired here and not released.
    unsafe fn find(&self, shape: &Shape, object: usize) -> NonNull<Header>;

    /// Whether `seek` answers.
    const SEEKS: bool = false;

    /// The header of the slab in which an address lies, if there is one: of a slab that was acquired here and not released. The address may be anything.
    fn seek(&self, shape: &Shape, address: usize) -> Option<NonNull<Header>> {
        let _ = (shape, address);
        None
    }

    /// Gives back what is left when no slab will be released any more.
    ///
    /// # Safety
    /// `source` is that of every call, and none will follow.
    unsafe fn close(&mut self, source: &mut Self::Source);
}

/// Whether objects lie one behind the other, upwards or downwards, at a distance of `stride`, if their first and last lie as if they did.
#[inline(always)]
fn is_row(objects: &[NonNull<u8>], first: NonNull<u8>, last: NonNull<u8>, stride: usize) -> bool {
    let step = if first <= last { stride } else { stride.wrapping_neg() };
    let mut expected = first.addr().get();
    // Without a way out in between, which would keep several from being compared at once.
    let differences = objects.iter().fold(0, |differences, object| {
        let difference = object.addr().get() ^ expected;
        expected = expected.wrapping_add(step);
        differences | difference
    });
    differences == 0
}

/// Brings objects of one slab back to its bookkeeping; the counts are the caller's.
///
/// # Safety
/// `slab` is a header in use, of this shape, which nobody refers to; the numbers are those of taken objects, each once.
#[inline(always)]
unsafe fn put_run<K: FreeObjects>(
    shape: &Shape,
    slab: NonNull<Header>,
    numbers: impl Iterator<Item = u32>,
    constructed: bool,
) {
    // SAFETY: the caller's promise.
    let view = unsafe { view(shape, slab) };
    if !shape.tracked {
        // SAFETY: the caller's promise.
        return unsafe { K::put(view, numbers) };
    }
    // SAFETY: a tracked slab.
    let kept = unsafe { kept_table(shape, slab) };
    // SAFETY: the table has a bit for each object.
    let marked = numbers.inspect(|&index| unsafe { mark(kept, index, constructed) });
    // SAFETY: the caller's promise.
    unsafe { K::put(view, marked) };
}

/// The numbers of the objects at the front of `rest` that lie in one slab.
struct Run<'a> {
    rest: &'a [NonNull<u8>],
    /// The slab's first byte.
    base: usize,
    shape: &'a Shape,
    /// How many there have been.
    count: u32,
}

impl Iterator for Run<'_> {
    type Item = u32;

    #[inline(always)]
    fn next(&mut self) -> Option<u32> {
        let (first, others) = self.rest.split_first()?;
        let address = first.addr().get();
        if address.wrapping_sub(self.base) >= self.shape.slab_size {
            return None;
        }
        self.rest = others;
        self.count += 1;
        let index = self.shape.index(self.base, address);
        debug_assert!(index < self.shape.capacity, "what was freed is no object of its slab");
        Some(index)
    }
}

/// A slab newly acquired.
pub(super) struct Place {
    pub(super) header: NonNull<Header>,
    pub(super) base: NonNull<u8>,
    pub(super) reserved: u32,
}

/// The slabs of a system.
///
/// Invariants: every slab stands in the list that its `shelf` names, is `current`, or has been detached. `census` counts the slabs, those
/// all free (in the list `Free`), their objects and those taken.
#[derive(Debug)]
pub(super) struct Shelves {
    /// Objects are taken from here until none is left; null, or a slab that stands in no list.
    pub(super) current: *mut Header,
    pub(super) lists: [List; SHELVES],
    pub(super) census: Census,
}

impl Shelves {
    pub(super) const NEW: Self = Shelves {
        current: core::ptr::null_mut(),
        lists: [const { List::EMPTY }; SHELVES],
        census: Census::NONE,
    };

    /// [`SlabSystem::take`](super::SlabSystem::take).
    ///
    /// # Safety
    /// The same.
    #[inline(always)]
    pub(super) unsafe fn take<G: Ground, K: FreeObjects>(
        &mut self,
        ground: &mut G,
        source: &mut G::Source,
        shape: &Shape,
        out: &mut [MaybeUninit<NonNull<u8>>],
    ) -> Result<Taken, AllocError> {
        if out.is_empty() {
            return Err(AllocError);
        }
        let slab = match NonNull::new(self.current) {
            Some(slab) => slab,
            // SAFETY: the caller's promise is the same.
            None => unsafe { self.next_slab::<G, K>(ground, source, shape) }?,
        };
        // SAFETY: the current slab has an account, and is ours.
        let view = unsafe { view(shape, slab) };
        let mut taken = Taken { count: 0, constructed: false };
        if shape.tracked {
            // SAFETY: as above.
            taken.constructed = unsafe { (*slab.as_ptr()).kept } > 0;
            // Raw objects come one at a time: each is constructed as it goes out, and no more than are needed.
            let most = if taken.constructed { out.len() } else { 1 };
            // SAFETY: a tracked slab of ours.
            let kept = unsafe { kept_table(shape, slab) };
            // SAFETY: the slab is ours, and that its table.
            taken.count = unsafe { K::take_of(view, kept, taken.constructed, &mut out[..most]) };
        } else {
            let most = if K::LOSES {
                // Whatever links say, no more than there are.
                // SAFETY: the slab is ours.
                out.len().min(unsafe { (*slab.as_ptr()).free } as usize)
            } else {
                out.len()
            };
            // SAFETY: the slab is ours.
            taken.count = unsafe { K::take(view, &mut out[..most]) };
            if K::LOSES {
                // SAFETY: the slab is ours, and what was taken has not been counted.
                unsafe { self.write_off::<K>(view, slab, taken.count) };
            }
        }
        // SAFETY: the slab is ours, and nobody else refers to its header.
        let header = unsafe { &mut *slab.as_ptr() };
        header.kept -= if taken.constructed { taken.count as u32 } else { 0 };
        header.free -= taken.count as u32;
        self.census.taken += taken.count;
        if header.free == 0 {
            self.put_down(slab);
        }
        Ok(taken)
    }

    /// Counts the free objects that the bookkeeping has lost, if it says so, as taken: for good.
    ///
    /// # Safety
    /// `slab` is a header in use, and `view` its own; `taken` of its objects have just been taken, and are not counted yet.
    #[inline(always)]
    unsafe fn write_off<K: FreeObjects>(&mut self, view: SlabView, slab: NonNull<Header>, taken: usize) {
        // SAFETY: the caller's promise.
        if let Some(left) = unsafe { K::lost_all_but(view) } {
            // SAFETY: the caller's promise; nobody else refers to the header.
            let header = unsafe { &mut *slab.as_ptr() };
            let lost = header.free.saturating_sub(left.saturating_add(taken as u32));
            header.free -= lost;
            self.census.taken += lost as usize;
        }
    }

    /// The current slab, which has no free object left or is to be no longer current, into its list.
    fn put_down(&mut self, slab: NonNull<Header>) {
        self.current = core::ptr::null_mut();
        // SAFETY: a slab of ours.
        let header = unsafe { &mut *slab.as_ptr() };
        let (shelf, limit) = Header::place(header.free, header.capacity);
        header.limit = limit;
        self.shelve(slab, shelf);
    }

    /// Puts a slab that stands in no list into one.
    fn shelve(&mut self, slab: NonNull<Header>, shelf: Shelf) {
        // SAFETY: a slab of ours.
        unsafe { (*slab.as_ptr()).shelf = shelf };
        self.census.free_slabs += usize::from(shelf == Shelf::Free);
        // SAFETY: the slab stands in no list.
        unsafe { self.lists[shelf as usize].push(slab) };
    }

    /// Takes a slab out of its list.
    fn lift(&mut self, slab: NonNull<Header>) {
        // SAFETY: a slab of ours.
        let shelf = mem::replace(unsafe { &mut (*slab.as_ptr()).shelf }, Shelf::Out);
        self.census.free_slabs -= usize::from(shelf == Shelf::Free);
        if shelf != Shelf::Out {
            // SAFETY: it stands in the list that it names.
            unsafe { self.lists[shelf as usize].unlink(slab) };
        }
    }

    /// A slab with free objects, made current: the fullest of those awake, else one all free, else a new one, else whatever has any left.
    ///
    /// # Safety
    /// As [`take`](Shelves::take).
    #[cold]
    #[inline(never)]
    unsafe fn next_slab<G: Ground, K: FreeObjects>(
        &mut self,
        ground: &mut G,
        source: &mut G::Source,
        shape: &Shape,
    ) -> Result<NonNull<Header>, AllocError> {
        let awake = PARTIAL
            .iter()
            .chain(&[Shelf::Free])
            .find_map(|&shelf| NonNull::new(self.lists[shelf as usize].first));
        let slab = match awake {
            Some(slab) => {
                self.lift(slab);
                slab
            }
            // SAFETY: the caller's promise is the same.
            None => match unsafe { self.new_slab::<G, K>(ground, source, shape) } {
                Ok(slab) => slab,
                Err(error) => {
                    let slab = self.sleeper().ok_or(error)?;
                    self.lift(slab);
                    slab
                }
            },
        };
        // SAFETY: a slab of ours.
        let header = unsafe { &mut *slab.as_ptr() };
        // Only all of it free is of interest while it is current.
        header.limit = header.capacity;
        self.current = slab.as_ptr();
        Ok(slab)
    }

    /// A slab in the list `Asleep` with some object free, if there is one at all.
    fn sleeper(&self) -> Option<NonNull<Header>> {
        if self.census.taken == self.census.capacity {
            return None;
        }
        // SAFETY: the list's invariant: a header in use.
        let header = |slab: NonNull<Header>| unsafe { slab.as_ref() };
        let first = NonNull::new(self.lists[Shelf::Asleep as usize].first);
        let mut asleep = core::iter::successors(first, |&slab| NonNull::new(header(slab).next));
        asleep.find(|&slab| header(slab).free > 0)
    }

    /// A new slab from the source, all its objects free, in no list.
    ///
    /// # Safety
    /// As [`take`](Shelves::take).
    unsafe fn new_slab<G: Ground, K: FreeObjects>(
        &mut self,
        ground: &mut G,
        source: &mut G::Source,
        shape: &Shape,
    ) -> Result<NonNull<Header>, AllocError> {
        // SAFETY: the caller's promise is the same.
        let Place { header, base, reserved } = unsafe { ground.acquire(source, shape) }?;
        let free = shape.capacity - reserved;
        // SAFETY: G1: room for a header, and ours.
        unsafe {
            header.write(Header {
                next: core::ptr::null_mut(),
                prev: core::ptr::null_mut(),
                base,
                free,
                limit: free,
                capacity: free,
                kept: 0,
                notes: [0; 2],
                shelf: Shelf::Out,
            });
        }
        let tables = shape.header_len as usize - HEADER_LEN;
        // SAFETY: G1: the tables lie behind the header.
        let table = unsafe { header.add(1) };
        // SAFETY: as above.
        unsafe { table.cast::<u8>().write_bytes(0, tables) };
        // SAFETY: G1: the slab is ours, and header and tables have just been written.
        let view = unsafe { view(shape, header) };
        // SAFETY: as above.
        unsafe { K::start(view) };
        self.census.slabs += 1;
        self.census.capacity += free as usize;
        self.census.slabs_peak = self.census.slabs_peak.max(self.census.slabs);
        Ok(header)
    }

    /// [`SlabSystem::put`](super::SlabSystem::put).
    ///
    /// # Safety
    /// The same.
    #[inline(always)]
    pub(super) unsafe fn put<G: Ground, K: FreeObjects>(
        &mut self,
        ground: &G,
        shape: &Shape,
        objects: &[NonNull<u8>],
        constructed: bool,
    ) {
        let (Some(&first), Some(&last)) = (objects.first(), objects.last()) else { return };
        let apart = first.addr().get().abs_diff(last.addr().get());
        if apart == (objects.len() - 1) * shape.stride && is_row(objects, first, last, shape.stride) {
            let ends = (first.min(last).addr().get(), first.max(last).addr().get());
            // SAFETY: the caller's promise is the same, and these are the ends.
            if unsafe { self.put_row::<G, K>(ground, shape, ends, constructed) } {
                return;
            }
        }
        // What comes back in order mostly lies in one slab, and is taken together; what comes back at random does not, and to find out for each
        // would take longer than it saves.
        let in_order = apart / 2 <= objects.len().saturating_mul(shape.stride);
        // A copy, whose fields stay in registers: what is written to headers and tables can't be it.
        let shape = &{ *shape };
        let mut rest = objects;
        while let Some(first) = rest.first() {
            // SAFETY: the caller's promise: an object of ours.
            let slab = unsafe { ground.find(shape, first.addr().get()) };
            // SAFETY: G2: the header of a slab in use.
            let base = unsafe { (*slab.as_ptr()).base }.addr().get();
            let count = if in_order {
                let mut run = Run { rest, base, shape, count: 0 };
                // SAFETY: the caller's promise: they are taken objects of this slab, and come back once.
                unsafe { put_run::<K>(shape, slab, &mut run, constructed) };
                rest = run.rest;
                run.count
            } else {
                let index = shape.index(base, first.addr().get());
                debug_assert!(index < shape.capacity, "what was freed is no object of its slab");
                // SAFETY: as above.
                unsafe { put_run::<K>(shape, slab, core::iter::once(index), constructed) };
                rest = &rest[1..];
                1
            };
            // SAFETY: G2; nobody else refers to the header.
            let header = unsafe { &mut *slab.as_ptr() };
            header.kept += if shape.tracked && constructed { count } else { 0 };
            header.free += count;
            if header.free >= header.limit {
                self.rise(slab);
            }
        }
        self.census.taken -= objects.len();
    }

    /// Brings back objects that lie one behind the other, if they are of one slab; says whether they are.
    ///
    /// # Safety
    /// As [`put`](Shelves::put), of the objects from the address `low` to the address `high`.
    #[inline(always)]
    unsafe fn put_row<G: Ground, K: FreeObjects>(
        &mut self,
        ground: &G,
        shape: &Shape,
        (low, high): (usize, usize),
        constructed: bool,
    ) -> bool {
        // SAFETY: the caller's promise: an object of ours.
        let slab = unsafe { ground.find(shape, low) };
        // SAFETY: G2: the header of a slab in use.
        let base = unsafe { (*slab.as_ptr()).base }.addr().get();
        if high - base >= shape.slab_size {
            return false;
        }
        let (from, to) = (shape.index(base, low), shape.index(base, high) + 1);
        debug_assert!(to <= shape.capacity, "what was freed is no object of its slab");
        // SAFETY: a slab in use, of this shape.
        let view = unsafe { view(shape, slab) };
        if shape.tracked {
            // SAFETY: a tracked slab.
            let kept = unsafe { kept_table(shape, slab) };
            for (word, bits) in row_bits(from, to) {
                // SAFETY: the table has a bit for each object.
                let place = unsafe { kept.add(word) };
                // SAFETY: a word of the table.
                let all = unsafe { place.read() };
                // SAFETY: as above.
                unsafe { place.write(if constructed { all | bits } else { all & !bits }) };
            }
        }
        // SAFETY: the caller's promise: they were taken, and come back once.
        unsafe { K::put_range(view, from, to) };
        self.census.taken -= (to - from) as usize;
        // SAFETY: G2; nobody else refers to the header.
        let header = unsafe { &mut *slab.as_ptr() };
        header.kept += if shape.tracked && constructed { to - from } else { 0 };
        header.free += to - from;
        if header.free >= header.limit {
            self.rise(slab);
        }
        true
    }

    /// A slab that has got so many free objects that it changes lists.
    #[cold]
    #[inline(never)]
    fn rise(&mut self, slab: NonNull<Header>) {
        if slab.as_ptr() == self.current {
            self.current = core::ptr::null_mut();
        } else {
            self.lift(slab);
        }
        // SAFETY: a slab of ours.
        let header = unsafe { &mut *slab.as_ptr() };
        let (shelf, limit) = Header::place(header.free, header.capacity);
        header.limit = limit;
        self.shelve(slab, shelf);
    }

    /// [`SlabSystem::detach`](super::SlabSystem::detach).
    pub(super) fn detach(&mut self, any: bool) -> Option<Slab> {
        let free = NonNull::new(self.lists[Shelf::Free as usize].first);
        let slab = match free {
            None if any => self.first_slab()?,
            other => other?,
        };
        if slab.as_ptr() == self.current {
            self.current = core::ptr::null_mut();
        } else {
            self.lift(slab);
        }
        // SAFETY: a slab of ours.
        let header = unsafe { slab.as_ref() };
        self.census.slabs -= 1;
        self.census.capacity -= header.capacity as usize;
        self.census.taken -= (header.capacity - header.free) as usize;
        Some(Slab::at(slab.cast(), header.base))
    }

    /// A constructed object of a detached slab that is free; from now on it counts as raw.
    ///
    /// # Safety
    /// `slab` was detached here, has not been released, and has this shape.
    pub(super) unsafe fn next_constructed<K: FreeObjects>(shape: &Shape, slab: &Slab) -> Option<NonNull<u8>> {
        let slab = slab.header.cast::<Header>();
        // SAFETY: the caller's promise: a slab that nobody else knows.
        if !shape.tracked || unsafe { (*slab.as_ptr()).kept } == 0 {
            return None;
        }
        let mut out = [MaybeUninit::uninit()];
        // SAFETY: as above.
        let view = unsafe { view(shape, slab) };
        // SAFETY: as above; it is tracked.
        let kept = unsafe { kept_table(shape, slab) };
        // SAFETY: as above, and that is its table.
        let count = unsafe { K::take_of(view, kept, true, &mut out) };
        // SAFETY: as above.
        unsafe { (*slab.as_ptr()).kept -= count as u32 };
        // The account counts it as taken from now on, `free` does not change: it is still nobody's.
        // SAFETY: `take_of` has written as many as it says.
        (count == 1).then(|| unsafe { out[0].assume_init() })
    }

    /// Whether all objects of a detached slab are free.
    ///
    /// # Safety
    /// As [`next_constructed`](Shelves::next_constructed).
    pub(super) unsafe fn is_all_free(slab: &Slab) -> bool {
        // SAFETY: the caller's promise.
        let header = unsafe { slab.header.cast::<Header>().as_ref() };
        header.free == header.capacity
    }

    /// Any slab: the current one, or the first of a list.
    fn first_slab(&self) -> Option<NonNull<Header>> {
        let listed = || self.lists.iter().find_map(|list| NonNull::new(list.first));
        NonNull::new(self.current).or_else(listed)
    }
}

/// A slab as its bookkeeping sees it.
///
/// # Safety
/// `slab` is a header in use, of this shape.
#[inline(always)]
pub(super) unsafe fn view(shape: &Shape, slab: NonNull<Header>) -> SlabView {
    // SAFETY: the caller's promise.
    let base = unsafe { (*slab.as_ptr()).base };
    // SAFETY: the caller's promise.
    let capacity = unsafe { (*slab.as_ptr()).capacity };
    // SAFETY: the field lies in the header.
    let notes = unsafe { &raw mut (*slab.as_ptr()).notes };
    SlabView {
        // SAFETY: G1: the tables lie behind the header.
        table: unsafe { slab.add(1) }.cast(),
        // SAFETY: a field's address is not null.
        notes: unsafe { NonNull::new_unchecked(notes) },
        // SAFETY: G1: the objects lie in the slab.
        objects: unsafe { base.add(shape.first(base.addr().get())) },
        stride: shape.stride,
        reserved: shape.capacity - capacity,
        end: shape.capacity,
    }
}

/// A tracked slab's table of constructed objects.
///
/// # Safety
/// `slab` is a header in use, of this shape, which is tracked.
#[inline(always)]
pub(super) unsafe fn kept_table(shape: &Shape, slab: NonNull<Header>) -> NonNull<u64> {
    // SAFETY: G1: the tables lie behind the header.
    unsafe { slab.cast::<u8>().add(shape.kept_at as usize) }.cast()
}

/// Sets or clears an object's bit.
///
/// # Safety
/// `table` has a bit for the object, and is the caller's alone.
#[inline(always)]
unsafe fn mark(table: NonNull<u64>, index: u32, on: bool) {
    // SAFETY: the caller's promise.
    let word = unsafe { table.add(index as usize / 64) };
    let bit = 1 << (index % 64);
    // SAFETY: the caller's promise.
    let all = unsafe { word.read() };
    // SAFETY: the caller's promise.
    unsafe { word.write(if on { all | bit } else { all & !bit }) };
}

/// [`SlabSystem::release`](super::SlabSystem::release).
///
/// # Safety
/// The same.
pub(super) unsafe fn release<G: Ground>(ground: &mut G, source: &mut G::Source, shape: &Shape, slab: &Slab) {
    // SAFETY: the caller's promise.
    if !unsafe { Shelves::is_all_free(slab) } {
        return;
    }
    let header = slab.header.cast::<Header>();
    // SAFETY: the caller's promise: nobody else knows the slab.
    let base = unsafe { header.as_ref() }.base;
    // SAFETY: the caller's promise.
    unsafe { ground.release(source, shape, header, base) };
}
