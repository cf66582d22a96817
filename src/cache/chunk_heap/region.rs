//! Regions of 64 chunks: what lies where.

use core::alloc::Layout;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use core::sync::atomic::AtomicU32;

/// Chunks of a region: one bit each in a word.
pub(super) const CHUNKS: usize = 64;

/// Bytes of a region's record, before its headers.
const RECORD_LEN: usize = 512;

/// The numbers of regions with chunks of `CHUNK` bytes.
pub(super) struct Grid<const CHUNK: usize>(PhantomData<()>);

impl<const CHUNK: usize> Grid<CHUNK> {
    /// Whether the numbers will do.
    pub(super) const CHECK: () = assert!(
        CHUNK.is_power_of_two() && CHUNK >= 8 << 10 && CHUNK <= 1 << 20,
        "chunks are a power of two from 8 KiB to 1 MiB: choose such a `CHUNK`"
    );

    /// Bytes of a region, and its alignment.
    pub(super) const REGION: usize = CHUNKS * CHUNK;

    /// Bytes of a slab's header: a line for itself, and a bit for every 16 bytes. An odd number of lines from chunks of 16 KiB on, so that
    /// headers spread over all cache sets.
    pub(super) const HEADER: usize = 64 + CHUNK / 128;

    /// Chunks at a region's front that hold its record and the headers.
    pub(super) const FRONT: usize = (RECORD_LEN + CHUNKS * Self::HEADER).div_ceil(CHUNK);

    /// All chunks that can be handed out, a bit each.
    pub(super) const ALL: u64 = u64::MAX << Self::FRONT;

    /// The most chunks of a run. What is longer is a block of its own.
    pub(super) const RUN_MAX: usize = 16;

    /// Whether blocks of this layout are runs. The answer is the same for all sizes up to a run's length, and for all above that.
    #[inline]
    pub(super) const fn is_run(layout: Layout) -> bool {
        layout.size() <= Self::RUN_MAX * CHUNK && layout.align() <= CHUNK
    }

    /// Where the header of the chunk lies in which `address` does.
    #[inline(always)]
    pub(super) const fn header_address(address: usize) -> usize {
        (address & !(Self::REGION - 1)) + RECORD_LEN + Self::number(address) * Self::HEADER
    }

    /// The number of the chunk in which `address` lies.
    #[inline(always)]
    pub(super) const fn number(address: usize) -> usize {
        (address >> CHUNK.trailing_zeros()) & (CHUNKS - 1)
    }

    /// Whether no chunk that can be handed out has this address.
    #[inline(always)]
    pub(super) const fn is_in_front(address: usize) -> bool {
        Self::number(address) < Self::FRONT
    }

    /// The region of a chunk, good for all of it.
    #[inline(always)]
    pub(super) fn region(chunk: NonNull<u8>) -> NonNull<Region> {
        exposed(chunk.addr().get() & !(Self::REGION - 1))
    }

    /// A chunk's pointer, good for its region: what came back may be good for less.
    #[inline]
    pub(super) fn entire(chunk: NonNull<u8>) -> NonNull<u8> {
        exposed(chunk.addr().get())
    }
}

/// What lies at an address in a region, or in a block of its own: both are exposed.
#[inline(always)]
pub(super) fn exposed<T>(address: usize) -> NonNull<T> {
    // SAFETY: nothing lies at address zero.
    unsafe { NonNull::new_unchecked(ptr::with_exposed_provenance_mut(address)) }
}

/// What a region knows about its chunks; at its front.
///
/// Invariant: `kept` and `guards` are parts of `free`, and that of `ALL`.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Region {
    /// The next region with a free chunk, higher in memory, or null.
    pub(super) next: *mut Region,
    /// The one before, or null.
    pub(super) prev: *mut Region,
    /// One bit for each chunk that is free.
    pub(super) free: u64,
    /// One bit for each of these that may be resident, and is not all zero.
    pub(super) kept: u64,
    /// One bit for each free chunk that still can't be touched, as it was the guard of a slab.
    pub(super) guards: u64,
}

/// Where the sizes begin, in bytes from the region's start: for the first chunk of each run its length in bytes, for a slab the size of its objects. They
/// are no part of the record, because they are read without a lock.
const SIZES_AT: usize = 64;

const _: () =
    assert!(size_of::<Region>() <= SIZES_AT && SIZES_AT + CHUNKS * size_of::<AtomicU32>() <= RECORD_LEN);

/// The size of an object in the slab, or of the run, that begins at or has that address.
///
/// # Safety
/// The address lies in a region in use, with chunks of that length.
#[inline]
pub(super) unsafe fn object_size<const CHUNK: usize>(address: usize) -> &'static AtomicU32 {
    let sizes = exposed::<AtomicU32>((address & !(Grid::<CHUNK>::REGION - 1)) + SIZES_AT);
    // SAFETY: the number is less than `CHUNKS`.
    let size = unsafe { sizes.add(Grid::<CHUNK>::number(address)) };
    // SAFETY: a region's front has room for the sizes, which were zeroed when it was made; callers do not keep the reference.
    unsafe { size.as_ref() }
}

/// What stands in the place of a size for the region's own first chunk, in which its record lies, if slabs there have no guards between them; for one that has a guard behind it, too; and for one with a
/// page there that is none.
pub(super) const WHOLE: u32 = 1;
pub(super) const WHOLE_FENCED: u32 = 2;
pub(super) const WHOLE_OPEN: u32 = 3;

/// Of the region in which an address lies, one of these; 0 for one whose slabs have guards, if any have.
///
/// # Safety
/// As [`object_size`].
#[inline]
pub(super) unsafe fn wholeness<const CHUNK: usize>(address: usize) -> &'static AtomicU32 {
    // SAFETY: the caller's promise.
    unsafe { object_size::<CHUNK>(address & !(Grid::<CHUNK>::REGION - 1)) }
}

/// Whether the chunk in which an address lies is free.
///
/// # Safety
/// A region in use, which nobody else touches, with chunks of that length.
#[cfg(feature = "std")]
pub(super) unsafe fn is_free<const CHUNK: usize>(region: NonNull<Region>, address: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe { region.as_ref() }.free >> Grid::<CHUNK>::number(address) & 1 == 1
}
