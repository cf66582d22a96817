//! Backing sources: whole blocks of memory for the layers above.
//!
//! A source is asked rarely and for much; arenas and slabs cut what it gives. It is a value, so it can be stateless and free
//! (`Pages`), own its state ([`Buffer`]), or be a reference to something shared (`&Locked<..>`).
//!
//! | source | hands out | block sizes | arrives zeroed | gives back | needs |
//! |---|---|---|---|---|---|
//! | `Pages` | pages of the OS | whole pages | yes | to the OS at once | feature `os` |
//! | `FromAllocator02<A>`, `..03`, `..04`, `FromCoreAllocator<A>` | blocks of any `Allocator` | any | no | to the allocator | the feature of that trait |
//! | [`FromGlobalAlloc<'a, G>`](FromGlobalAlloc) | blocks of any `&GlobalAlloc`, such as `std::alloc::System` | any | no | to it | |
//! | `GlobalHeap` | blocks of the program's global allocator | any | no | to it | feature `alloc` |
//! | [`Buffer<'a>`](Buffer) | parts of a borrowed slice, front to back | any | no | the last block at once, all when all are back | |
//! | [`&StaticBuffer<N>`](StaticBuffer) | a static's bytes, all at once | one block | yes | for the next claim | |
//! | [`&Locked<H, L>`](crate::heap::Locked), any [`&SharedHeap`](crate::heap::SharedHeap) | blocks of another heap, such as an arena | any | no | to that heap | |
//! | `&mut B` | what `B` hands out | as `B` | as `B` | to `B` | |
//! | [`Limited<B>`](Limited) | the same, up to a quota in bytes | as `B` | as `B` | to `B` | |
//! | [`Counted<B>`](Counted) | the same, and counts | as `B` | as `B` | to `B` | |
//! | [`Failing<B>`](Failing) | the same, but fails when told to: for tests | as `B` | as `B` | to `B` | |
//!
//! [`SourceHeap<B>`](SourceHeap) goes the other way: it makes a heap core of a source, one block for each request.
//!
//! # Write your own in three steps
//! 1. A type that knows where its memory is and which parts of it are out.
//! 2. `unsafe impl BackingSource`: two constants, [`acquire`](BackingSource::acquire) and
//!    [`release`](BackingSource::release), keeping obligations B1 to B7; the rest has defaults.
//! 3. Put it under whatever takes a `B: BackingSource`.
//!
//! ```
//! use core::alloc::Layout;
//! use core::ptr::NonNull;
//! use heapwright::AllocError;
//! use heapwright::heap::{Locked, SharedHeap};
//! use heapwright::lock::NoLock;
//! use heapwright::source::{BackingSource, SourceHeap};
//!
//! const FRAME: usize = 4096;
//!
//! // 1. up to 64 frames of 4 KiB, one bit each
//! struct Frames {
//!     base: NonNull<u8>,
//!     free: u64,
//! }
//!
//! impl Frames {
//!     /// # Safety
//!     /// The `count <= 64` frames from `base` on, which is aligned to a frame, are the new value's alone.
//!     unsafe fn new(base: NonNull<u8>, count: u32) -> Self {
//!         Frames { base, free: u64::MAX.checked_shr(64 - count).unwrap_or(0) }
//!     }
//! }
//!
//! // 2. SAFETY: B1: a block is a frame whose bit was set and is cleared until its release; it lies outside of `Frames`.
//! // B2: frames are aligned to their size. B3: nothing panics. B4: the bit changes last. B5: no call leaves this type.
//! // B6: the default. B7: it is not `Clone`.
//! unsafe impl BackingSource for Frames {
//!     const GRANULE: usize = FRAME;
//!     const ALIGN_MAX: usize = FRAME;
//!
//!     fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
//!         let fits = (1..=FRAME).contains(&layout.size()) && layout.align() <= FRAME;
//!         if !fits || self.free == 0 {
//!             return Err(AllocError);
//!         }
//!         let frame = self.free.trailing_zeros() as usize;
//!         self.free &= !(1 << frame);
//!         // SAFETY: the frame is one of ours.
//!         let start = unsafe { self.base.add(frame * FRAME) };
//!         Ok(NonNull::slice_from_raw_parts(start, FRAME))
//!     }
//!
//!     unsafe fn release(&mut self, block: NonNull<u8>, _: Layout) {
//!         let frame = (block.addr().get() - self.base.addr().get()) / FRAME;
//!         self.free |= 1 << frame;
//!     }
//! }
//!
//! // 3. use it
//! #[repr(align(4096))]
//! struct Ram([u8; 4 * FRAME]);
//! let mut ram = Ram([0; 4 * FRAME]);
//! // SAFETY: the array is aligned to a frame, four frames long, and borrowed by nobody else.
//! let frames = unsafe { Frames::new(NonNull::from(&mut ram).cast(), 4) };
//! let heap = Locked::<_, NoLock>::new(SourceHeap::new(frames));
//! let block = heap.try_alloc(Layout::new::<[u8; 100]>())?;
//! assert_eq!(block.len(), FRAME);
//! // SAFETY: the block is live, and its layout this one.
//! unsafe { heap.free(block.cast(), Layout::new::<[u8; 100]>()) };
//! assert_eq!(heap.into_inner().source().free, 0b1111);
//! # Ok::<(), AllocError>(())
//! ```

/// What a source that wraps another says about pages is what that one says: items of an `impl BackingSource`.
macro_rules! pages_of {
    ($source:ident of $inner:ty: $of:expr) => {
        const PROTECTS: bool = <$inner as $crate::source::BackingSource>::PROTECTS;

        unsafe fn prefer_huge(&mut self, ptr: core::ptr::NonNull<u8>, len: usize) {
            let $source = self;
            // SAFETY: the caller's promise is the same.
            unsafe { $of.prefer_huge(ptr, len) };
        }

        unsafe fn protect(
            &mut self,
            ptr: core::ptr::NonNull<u8>,
            len: usize,
        ) -> Result<(), $crate::AllocError> {
            let $source = self;
            // SAFETY: the caller's promise is the same.
            unsafe { $of.protect(ptr, len) }
        }

        unsafe fn unprotect(
            &mut self,
            ptr: core::ptr::NonNull<u8>,
            len: usize,
        ) -> Result<(), $crate::AllocError> {
            let $source = self;
            // SAFETY: the caller's promise is the same.
            unsafe { $of.unprotect(ptr, len) }
        }
    };
}

mod buffer;
mod by_reference;
mod counted;
mod failing;
#[cfg(any(
    feature = "allocator-api2-02",
    feature = "allocator-api2-03",
    feature = "allocator-api2-04",
    feature = "nightly"
))]
mod from_allocator;
mod from_global_alloc;
mod limited;
#[cfg(all(feature = "os", any(unix, windows, target_arch = "wasm32")))]
mod pages;
mod side_headers;
mod source_heap;
mod static_buffer;

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::AllocError;
use crate::mem;

pub use self::buffer::Buffer;
pub use self::counted::{Counted, Counts};
pub use self::failing::Failing;
#[cfg(feature = "allocator-api2-02")]
pub use self::from_allocator::FromAllocator02;
#[cfg(feature = "allocator-api2-03")]
pub use self::from_allocator::FromAllocator03;
#[cfg(feature = "allocator-api2-04")]
pub use self::from_allocator::FromAllocator04;
#[cfg(feature = "nightly")]
pub use self::from_allocator::FromCoreAllocator;
pub use self::from_global_alloc::FromGlobalAlloc;
#[cfg(feature = "alloc")]
pub use self::from_global_alloc::GlobalHeap;
pub use self::limited::Limited;
#[cfg(all(feature = "os", any(unix, windows, target_arch = "wasm32")))]
pub use self::pages::{Pages, Unsupported};
pub use self::side_headers::SideHeaders;
pub use self::source_heap::SourceHeap;
pub use self::static_buffer::StaticBuffer;

/// Hands out and takes back whole blocks of memory: pages, buffers, another allocator's blocks.
///
/// Sources are asked rarely and for much; arenas and slabs cut what they give. The table of ready-made ones and a worked
/// example are in [the module's docs](self).
///
/// ```
/// use core::{alloc::Layout, mem::MaybeUninit};
/// use heapwright::source::{BackingSource, Buffer};
///
/// let mut memory = [MaybeUninit::uninit(); 1024];
/// let mut source = Buffer::from_slice(&mut memory);
/// let layout = Layout::new::<[u8; 600]>();
/// let block = source.acquire(layout)?;
/// // SAFETY: the block is live; its layout is first this one, then one of 700 bytes.
/// unsafe {
///     assert_eq!(source.extend(block.cast(), layout, 700)?.len(), 700);
///     source.release(block.cast(), Layout::new::<[u8; 700]>());
/// }
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// # Safety
/// An implementation keeps these:
/// - **B1** (blocks) a block handed out has at least the layout's size and its alignment, overlaps no live block, and stays
///   valid and untouched until it is released, or the source is dropped; it survives moves of the source. The pointer that is
///   returned has provenance for the whole length, that of a resized block too; the one that comes back may have it for
///   the size that comes back, and no more.
/// - **B2** (promises) the associated constants are true: any layout whose size is a multiple of `GRANULE` and whose
///   alignment is at most `ALIGN_MAX` can be met while memory lasts; blocks arrive all zero if `ZEROED` says so, and so do
///   the bytes that [`extend`](BackingSource::extend) and [`remap`](BackingSource::remap) put behind a block's former length.
/// - **B3** (no unwinding) no method unwinds, whatever the layout.
/// - **B4** (whole) after an error nothing has changed.
/// - **B5** (no way back) no method calls, directly or not, the heap that this source serves.
/// - **B6** (good sizes) every size from a request to its [`good_size`](BackingSource::good_size) has that same good size.
/// - **B7** (copies) if the type is `Clone`, all clones are one source: each may do with a block what the one that acquired it may, at any time and on any thread that has
///   one, and blocks stay valid as long as any of them is there. To make and to drop one keeps B3 and B5. A source with a state of its own is no such type:
///   share it by reference.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a heapwright backing source",
    label = "this type parameter takes a backing source",
    note = "use `Pages` (feature `os`), `FromAllocator04<A>` (and `02`, `03`), `FromGlobalAlloc`, `Buffer`, `&StaticBuffer<N>`, `&Locked<..>`, or a wrapper such as `Limited<B>`",
    note = "or implement `heapwright::source::BackingSource` in three steps: see the docs of `heapwright::source`"
)]
pub unsafe trait BackingSource {
    /// Blocks are best asked for in multiples of this many bytes; other sizes are rounded up to it. A power of two.
    const GRANULE: usize;

    /// The largest alignment that this source can give, in bytes. A power of two.
    const ALIGN_MAX: usize;

    /// Whether every block arrives all zero.
    const ZEROED: bool = false;

    /// Whether memory that nobody has touched costs nothing, so that it is as well to ask for much at once. (A limit on the bytes handed
    /// out makes them cost: [`Limited`] sets it to `false`.)
    const LAZY: bool = false;

    /// A block for `layout`; it may be longer than asked, and any size from the request to its length may be released.
    ///
    /// # Errors
    /// When the source has no more, or `layout` is of size zero or aligned above `ALIGN_MAX`.
    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError>;

    /// Takes a block back.
    ///
    /// # Safety
    /// `block` is a live block of this source, and `layout` its own: the same alignment, a size from the requested to the given one.
    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout);

    /// Makes a block longer where it stands; gives the same address with the new length. From then on its size is between
    /// `new_size` and that.
    ///
    /// What is given is made from the memory's own base, not from `block` (B1). A source whose blocks are longer than asked
    /// does well to write this method, though it can't extend any: a size within the length is met by the block as it is.
    ///
    /// # Errors
    /// When it can't be had without moving. Nothing has changed then.
    ///
    /// # Safety
    /// `block` is a live block of this source, `old` its layout, and `new_size` no less than the old size.
    unsafe fn extend(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let _ = (block, old, new_size);
        Err(AllocError)
    }

    /// Makes a block shorter where it stands; gives the same address with the new length. From then on its size is between
    /// `new_size` and that.
    ///
    /// # Errors
    /// When it can't be had without moving, or `new_size` is zero. Nothing has changed then.
    ///
    /// # Safety
    /// `block` is a live block of this source, `old` its layout, `new_size` no more than the old size, and nobody needs the bytes
    /// from there on.
    unsafe fn shrink(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let _ = (block, old, new_size);
        Err(AllocError)
    }

    /// Makes a block longer, elsewhere if need be, without copying its bytes: what an OS can do by moving pages.
    ///
    /// # Errors
    /// When it can't be had without copying. Nothing has changed then.
    ///
    /// # Safety
    /// `block` is a live block of this source, `old` its layout, and `new_size` no less than the old size. On success `block` is
    /// dead, and the result live, with the old alignment and a size from `new_size` to its length.
    unsafe fn remap(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let _ = (block, old, new_size);
        Err(AllocError)
    }

    /// Moves the memory of a block to the front of another, without copying its bytes: what an OS can do by moving pages.
    ///
    /// # Errors
    /// When it can't be had without copying. Nothing has changed then.
    ///
    /// # Safety
    /// `block` and `target` are live blocks of this source, `old` the layout of the first, which is no longer than the second, `target` the whole of the second, as it was
    /// handed out, and nobody needs what that holds. On success `block` is dead, and `target` begins with what it held; its other bytes are as of a fresh block, and advice
    /// given for it is forgotten.
    unsafe fn relocate(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        target: NonNull<[u8]>,
    ) -> Result<(), AllocError> {
        let _ = (block, old, target);
        Err(AllocError)
    }

    /// Tells the source that the contents of these bytes are no longer needed; what they read as afterwards is undefined
    /// (zero if `ZEROED`). They stay part of their block.
    ///
    /// # Safety
    /// The `len` bytes from `ptr` on lie in one live block of this source, and nobody needs what they hold.
    unsafe fn purge(&mut self, ptr: NonNull<u8>, len: usize) {
        if Self::ZEROED {
            // SAFETY: the bytes lie in a live block, and nobody needs what they hold: the caller's promise.
            unsafe { ptr.write_bytes(0, len) };
        }
    }

    /// Asks for huge pages behind a range, where there are any: advice, which changes nothing else.
    ///
    /// # Safety
    /// The `len` bytes from `ptr` on lie in one live block of this source.
    unsafe fn prefer_huge(&mut self, ptr: NonNull<u8>, len: usize) {
        let _ = (ptr, len);
    }

    /// Whether [`protect`](BackingSource::protect) may succeed.
    const PROTECTS: bool = false;

    /// Makes pages fault when they are touched, by whomever, until [`unprotect`](BackingSource::unprotect).
    ///
    /// # Errors
    /// When the source can't do that, or the range is not of whole pages. Nothing has changed then.
    ///
    /// # Safety
    /// The `len` bytes from `ptr` on lie in one live block of this source, and nobody touches or purges them, nor resizes or releases the block, until they are unprotected.
    unsafe fn protect(&mut self, ptr: NonNull<u8>, len: usize) -> Result<(), AllocError> {
        let _ = (ptr, len);
        Err(AllocError)
    }

    /// Ends what [`protect`](BackingSource::protect) began, wherever in the range it did; the pages hold what they held.
    ///
    /// # Errors
    /// When the OS refuses; the pages fault as before.
    ///
    /// # Safety
    /// The range is one that was protected, or for which that was refused, or lies in one live block of this source, and begins and ends with such ranges. Pages that do not fault stay as they are.
    unsafe fn unprotect(&mut self, ptr: NonNull<u8>, len: usize) -> Result<(), AllocError> {
        let _ = (ptr, len);
        Err(AllocError)
    }

    /// The size in bytes that a request of `layout` should have been: asking for it costs no more. O(1).
    ///
    /// That is the size rounded up to the granule, or to a coarser one that only shows at run time (pages of 16 or 64 KiB). A size
    /// that can't be rounded, too large for any source to meet, comes back as it is.
    fn good_size(&self, layout: Layout) -> usize {
        mem::align_up(layout.size(), Self::GRANULE).unwrap_or(layout.size())
    }

    /// The length in bytes of a huge page, if this memory can be backed by some: blocks of a multiple of it, and aligned to it, can.
    fn huge_page_size(&self) -> Option<usize> {
        None
    }
}
