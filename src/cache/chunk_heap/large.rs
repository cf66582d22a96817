//! Blocks of their own, each with a record of its length in front.

use core::alloc::Layout;
use core::ptr::NonNull;

use super::ChunkHeap;
use super::map::Kind;
use super::region::{Grid, exposed};
use super::spares::Spare;
use crate::AllocError;
use crate::cache::retention::Retention;
use crate::check::{Checks, Switch};
use crate::lock::Lock;
use crate::mem;
use crate::source::BackingSource;

/// Bytes before a block in which its record lies: a cache line.
const RECORD_LEN: usize = 64;

/// Bytes of a block from which on huge pages are worth it.
const HUGE_LEN: usize = 4 << 20;

/// What stands before a block of its own.
///
/// ```text
///  base                       block
///   ├───────────────┬──────────┼─────────────────────────────────┤
///   │ nothing, or   │ record   │ what the user has               │
///   │ for alignment │ 64 bytes │                                 │
///   └───────────────┴──────────┴─────────────────────────────────┘
///   │◄──────── front ─────────►│◄──────────── usable ───────────►│
/// ```
/// The base is aligned to a region, and the front shorter than that of a region, or a multiple of a region's length: so no address at which such a block
/// begins is one at which a chunk could.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Record {
    /// Bytes from the base to the block.
    front: usize,
    /// Bytes of the source's block, from the base on.
    len: usize,
    /// What the base is aligned to.
    align: usize,
}

const _: () = assert!(size_of::<Record>() <= RECORD_LEN);

impl Record {
    /// The record for a block of this layout in regions of that grid; `len` is the least that will do.
    fn new<const CHUNK: usize>(layout: Layout) -> Result<Self, AllocError> {
        let front = layout.align().max(RECORD_LEN);
        let in_front = front < Grid::<CHUNK>::FRONT * CHUNK;
        let front = if in_front { front } else { front.max(Grid::<CHUNK>::REGION) };
        let align = layout.align().max(Grid::<CHUNK>::REGION);
        let len = layout.size().max(Self::least::<CHUNK>()).checked_add(front).ok_or(AllocError)?;
        Ok(Record { front, len, align })
    }

    /// The least bytes that a block has: more than any run, so that its length tells that it is none.
    const fn least<const CHUNK: usize>() -> usize {
        Grid::<CHUNK>::RUN_MAX * CHUNK + 1
    }

    /// The record of a block.
    ///
    /// # Safety
    /// It is a live block of its own.
    const unsafe fn of(block: NonNull<u8>) -> NonNull<Record> {
        // SAFETY: the caller's promise: there is a record in front.
        unsafe { block.byte_sub(RECORD_LEN) }.cast()
    }

    /// The layout of the source's block.
    fn layout(&self) -> Result<Layout, AllocError> {
        Layout::from_size_align(self.len, self.align).map_err(|_| AllocError)
    }
}

/// The address of the block of its own whose base is aligned to a region at `base`, and whose front is no multiple of a region.
///
/// # Safety
/// There is such a block, noted in the map.
#[cfg(feature = "std")]
pub(super) unsafe fn start_after(base: usize) -> usize {
    // SAFETY: the caller's promise: the front's length stands at the base.
    base + unsafe { exposed::<usize>(base).read() }
}

/// Bytes that a block has for its user.
///
/// # Safety
/// It is a live block of its own.
pub(super) unsafe fn usable_size(block: NonNull<u8>) -> usize {
    // SAFETY: the caller's promise is the same; the memory is exposed.
    let record = unsafe { Record::of(exposed(block.addr().get())) };
    // SAFETY: the record is written before the block is handed out.
    let Record { front, len, .. } = unsafe { record.read() };
    len - front
}

impl<B: BackingSource + Clone, L: Lock, R: Retention, const CHUNK: usize, const HUGE_AFTER: usize, C: Checks>
    ChunkHeap<B, L, R, CHUNK, HUGE_AFTER, C>
{
    /// A block of its own.
    #[cold]
    pub(super) fn acquire_large(&self, layout: Layout, zeroed: bool) -> Result<NonNull<[u8]>, AllocError> {
        let mut record = Record::new::<CHUNK>(layout)?;
        // Where zeroes are asked for, fresh memory that has them costs no more than to clear old.
        let may_be_spare = !(zeroed && B::ZEROED);
        let spare = may_be_spare.then(|| self.enter(|stock| stock.take_spare(record.len, record.align)));
        let base = match spare.flatten().flatten() {
            Some(spare) => {
                record.len = spare.len;
                spare.base().ok_or(AllocError)?
            }
            None => {
                let got = self.source.clone().acquire(record.layout()?)?;
                record.len = got.len();
                got.cast::<u8>().as_ptr().expose_provenance();
                // SAFETY: the block is ours.
                unsafe { self.prefer_huge(got) };
                got.cast()
            }
        };
        // SAFETY: the front is shorter than what was asked for.
        let block = unsafe { base.add(record.front) };
        if zeroed && !B::ZEROED {
            // SAFETY: the block is ours, and so long.
            unsafe { block.write_bytes(0, record.len - record.front) };
        }
        // SAFETY: the front has room for it.
        let place = unsafe { Record::of(block) };
        // SAFETY: as above; nobody else knows the block.
        unsafe { place.write(record) };
        // SAFETY: the block has just been acquired, and its record written.
        if let Err(error) = unsafe { self.note_large(block) } {
            self.let_spare_go(Spare::new(base, record.len, record.align));
            return Err(error);
        }
        self.enter(|stock| stock.count_large(0, record.len));
        Ok(mem::slice(block, record.len - record.front))
    }

    /// Notes where a block of its own begins, if frees are looked at.
    ///
    /// # Errors
    /// When there is no memory for the map.
    ///
    /// # Safety
    /// Its record has been written.
    unsafe fn note_large(&self, block: NonNull<u8>) -> Result<(), AllocError> {
        if !<C::Frees as Switch>::ON {
            return Ok(());
        }
        // SAFETY: the caller's promise is the same.
        let place = unsafe { Record::of(block) };
        // SAFETY: as above.
        let front = unsafe { place.read() }.front;
        let kind = Self::kind_of_large(front);
        if kind == Kind::LargeAtOnce {
            return self.note_locked(block.addr().get(), kind);
        }
        // SAFETY: the front lies before the block.
        let base = unsafe { block.sub(front) };
        // Either the record's first field, which has this value already, or before the record: a front is a power of two, no less than the record.
        // SAFETY: the front is ours, and its base aligned to a region.
        unsafe { base.cast::<usize>().write(front) };
        self.note_locked(block.addr().get(), kind)
    }

    /// How a map tells of a block of its own with such a front.
    const fn kind_of_large(front: usize) -> Kind {
        if front % Grid::<CHUNK>::REGION == 0 { Kind::LargeAtOnce } else { Kind::Large }
    }

    /// Asks for huge pages behind a block that is long enough.
    ///
    /// # Safety
    /// It is a live block of the source.
    unsafe fn prefer_huge(&self, block: NonNull<[u8]>) {
        if HUGE_AFTER < usize::MAX && block.len() >= HUGE_LEN {
            // SAFETY: the caller's promise is the same.
            unsafe { self.source.clone().prefer_huge(block.cast(), block.len()) };
        }
    }

    /// Takes a block of its own back.
    ///
    /// # Safety
    /// It is live, and nobody uses it.
    #[cold]
    pub(super) unsafe fn release_large(&self, block: NonNull<u8>) {
        let block = exposed::<u8>(block.addr().get());
        // SAFETY: the caller's promise is the same.
        let place = unsafe { Record::of(block) };
        // SAFETY: the record of a live block.
        let record = unsafe { place.read() };
        self.enter(|stock| {
            if let Some(map) = <C::Frees as Switch>::get(&self.map) {
                // Who brings its address from now on brings that of no block.
                map.forget(Self::unit(block.addr().get()));
            }
            stock.count_large(record.len, 0);
        });
        // SAFETY: the front lies before the block.
        let base = unsafe { block.sub(record.front) };
        let spare = Spare::new(base, record.len, record.align);
        if C::ZERO_FREED {
            // Nothing of it is to be read again: not here, nor by who gets it from the source, which clears it itself if its blocks are zero.
            if !B::ZEROED {
                // SAFETY: the block is ours, and so long.
                unsafe { block.write_bytes(0, record.len - record.front) };
            }
            return self.let_spare_go(spare);
        }
        let kept = self.enter(|stock| stock.give_spare(spare));
        let (gone, surplus) = kept.unwrap_or((Some(spare), 0));
        if let Some(gone) = gone {
            self.let_spare_go(gone);
        }
        if surplus > 0 {
            self.purge(surplus);
        }
    }

    /// Gives a block that was spare, or was to be, back to the source.
    pub(super) fn let_spare_go(&self, spare: Spare) {
        if let (Some(base), Ok(layout)) = (spare.base(), Layout::from_size_align(spare.len, spare.align)) {
            // SAFETY: the source's block, with its layout; nobody else knows it.
            unsafe { self.source.clone().release(base, layout) };
        }
    }

    /// Changes the length of a block of its own where it stands.
    ///
    /// # Safety
    /// It is live, and the bytes from the new size on are not needed; `new` is no run.
    #[cold]
    pub(super) unsafe fn resize_large(
        &self,
        block: NonNull<u8>,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let block = exposed::<u8>(block.addr().get());
        // SAFETY: the caller's promise is the same.
        let place = unsafe { Record::of(block) };
        // SAFETY: the record of a live block.
        let mut record = unsafe { place.read() };
        // SAFETY: the front lies before the block.
        let base = unsafe { block.sub(record.front) };
        let wanted = new.size().max(Record::least::<CHUNK>()).checked_add(record.front).ok_or(AllocError)?;
        let (old, mut source) = (record.layout()?, self.source.clone());
        let resized = if wanted > record.len {
            // SAFETY: the source's block, with its layout; the new size is no less.
            unsafe { source.extend(base, old, wanted) }?
        } else {
            if C::ZERO_FREED && !B::ZEROED {
                // SAFETY: inside of the block.
                let tail = unsafe { base.add(wanted) };
                // SAFETY: so many bytes follow, which the caller does not need.
                unsafe { tail.write_bytes(0, record.len - wanted) };
            }
            // SAFETY: as above; the new size is no more, and the caller's promise is that of the bytes behind it.
            match unsafe { source.shrink(base, old, wanted) } {
                Ok(resized) => resized,
                // The block is long enough as it is.
                Err(AllocError) => mem::slice(base, record.len),
            }
        };
        self.enter(|stock| stock.count_large(record.len, resized.len()));
        record.len = resized.len();
        // SAFETY: the front has room for it.
        unsafe { place.write(record) };
        Ok(mem::slice(block, record.len - record.front))
    }

    /// Makes a block of its own longer, elsewhere, by moving its pages.
    ///
    /// # Safety
    /// It is live, `old` its layout, and `new_size` no less. On success `block` is dead.
    #[cold]
    pub(super) unsafe fn move_large(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let block = exposed::<u8>(block.addr().get());
        let new = Layout::from_size_align(new_size, old.align()).map_err(|_| AllocError)?;
        let mut record = Record::new::<CHUNK>(new)?;
        // SAFETY: the caller's promise: a live block of its own.
        let place = unsafe { Record::of(block) };
        // SAFETY: the record of a live block.
        let before = unsafe { place.read() };
        if before.front != record.front {
            // It was moved here from a layout with another alignment.
            return Err(AllocError);
        }
        let (from, target, mut source) = (before.layout()?, record.layout()?, self.source.clone());
        let got = source.acquire(target)?;
        got.cast::<u8>().as_ptr().expose_provenance();
        // SAFETY: the front lies before the block.
        let base = unsafe { block.sub(before.front) };
        if got.len() < before.len {
            // SAFETY: the block has just been acquired, with that layout.
            unsafe { source.release(got.cast(), target) };
            return Err(AllocError);
        }
        // SAFETY: the front is shorter than the block.
        let moved = unsafe { got.cast::<u8>().add(record.front) };
        let mut relocate = || {
            // First, since it may fail, and a block that is not in the map could never be freed. What a map's reader looks for at the base comes along.
            self.note(moved.addr().get(), Self::kind_of_large(record.front))?;
            // SAFETY: both are the source's blocks, the second is no shorter and holds nothing.
            let relocated = unsafe { self.source.clone().relocate(base, from, got) };
            if let Some(map) = <C::Frees as Switch>::get(&self.map) {
                let gone = if relocated.is_ok() { block } else { moved };
                map.forget(Self::unit(gone.addr().get()));
            }
            relocated?;
            record.len = got.len();
            // SAFETY: the front has room for it.
            let place = unsafe { Record::of(moved) };
            // SAFETY: as above.
            unsafe { place.write(record) };
            Ok(())
        };
        // Where there is a map, nobody reads it before all is as it says.
        let done = match <C::Frees as Switch>::ON {
            true => self.enter(|_| relocate()).unwrap_or(Err(AllocError)),
            false => relocate(),
        };
        if let Err(AllocError) = done {
            // SAFETY: as above.
            unsafe { source.release(got.cast(), target) };
            return Err(AllocError);
        }
        // SAFETY: the block is ours.
        unsafe { self.prefer_huge(got) };
        self.enter(|stock| stock.count_large(before.len, record.len));
        Ok(mem::slice(moved, record.len - record.front))
    }

    /// What a request for a block of its own really gets.
    pub(super) fn large_good_size(&self, layout: Layout) -> usize {
        let asked = Record::new::<CHUNK>(layout).and_then(|record| Ok((record.front, record.layout()?)));
        asked.map_or(layout.size(), |(front, block)| self.source.good_size(block) - front)
    }
}
