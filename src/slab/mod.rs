//! Slab systems: blocks of a source cut into objects of one layout.
//!
//! | system | owner of an object | choose it for |
//! |---|---|---|
//! | [`AlignedSlabs`] | by masking its address: one AND; over OS pages the headers of many slabs lie side by side | sources that align: pages, arenas, heaps |
//! | [`LargeSlabs`] | in a pointer map | sources that don't, slabs of any length, objects of many pages |
//! | [`SideSlabs`] | by arithmetic on its address; headers lie side by side, apart from the slabs | slabs of many layouts out of one stock: global allocators |
//!
//! | bookkeeping | per object | free objects | choose it for |
//! |---|---|---|---|
//! | [`Bitmap`] | 1 bit | stay as they are | everything but the next two |
//! | [`IntrusiveList`] | nothing | hold a link | tiny slabs of raw memory; `IntrusiveList<Hardened>` encodes the links |
//! | [`IndexStack`] | 2 bytes | stay as they are | calls that must be short in the worst case |
//!
//! | coloring | choose it for |
//! |---|---|
//! | [`ByStride`] | the default: objects of a multiple of 512 bytes are shifted by a cache line from slab to slab |
//! | [`Colored`], [`NoColor`] | always, never |
//!
//! A slab system finds objects and slabs; which slabs to keep, and how to make the common case fast, is the business of the caches in
//! [`cache`](crate::cache).
//!
//! # Fullest first
//! Objects are taken from the slab that has the fewest free ones, so that sparse slabs drain and go back. A slab of which nothing is free
//! is looked at again only when an eighth of it is: until then its objects wait, unless memory runs out.
//! (The eighth is snmalloc's idea, fullest first SuperMalloc's.)
//!
//! # Write your own in three steps
//! 1. A type that remembers its slabs; the source is not part of it.
//! 2. `unsafe impl SlabSystem`: `take` acquires a slab when none has room, `put` finds the slab by the object's address.
//! 3. Use it in a cache.
//!
//! ```
//! # #[cfg(feature = "alloc")] {
//! use core::mem::MaybeUninit;
//! use core::ptr::NonNull;
//! use heapwright::AllocError;
//! use heapwright::cache::SlabCache;
//! use heapwright::heap::SharedHeap;
//! use heapwright::slab::{Census, Rules, Shape, Slab, SlabSystem, Taken};
//! use heapwright::source::{BackingSource, GlobalHeap};
//! use std::alloc::Layout;
//!
//! // 1. slabs of one object each; those that came back are kept
//! struct Singles {
//!     kept: Vec<NonNull<u8>>,
//!     census: Census,
//! }
//!
//! fn layout(shape: &Shape) -> Layout {
//!     Layout::from_size_align(shape.stride(), shape.align()).unwrap_or(Layout::new::<u8>())
//! }
//!
//! // 2. SAFETY: Y1: an object is a whole block of the source, in use or in `kept`, never both. Y2: the slab is the object. Y3: only
//! // blocks in `kept` are released, and they leave it. Y4: nothing unwinds but for the global heap running out. Y5: it is. Y6: objects
//! // come one by one, all as raw ones, so an object cache would make each anew.
//! unsafe impl SlabSystem for Singles {
//!     type Source = GlobalHeap;
//!     const RULES: Rules = Rules::new(0);
//!     const NEW: Self = Singles { kept: Vec::new(), census: Census::NONE };
//!
//!     unsafe fn take(&mut self, source: &mut GlobalHeap, shape: &Shape, out: &mut [MaybeUninit<NonNull<u8>>]) -> Result<Taken, AllocError> {
//!         let place = out.first_mut().ok_or(AllocError)?;
//!         let object = match self.kept.pop() {
//!             Some(object) => object,
//!             None => source.acquire(layout(shape))?.cast(),
//!         };
//!         object.as_ptr().expose_provenance();
//!         place.write(object);
//!         self.census.taken += 1;
//!         self.census.slabs = self.census.taken + self.kept.len();
//!         self.census.free_slabs = self.kept.len();
//!         Ok(Taken { count: 1, constructed: false })
//!     }
//!     unsafe fn put(&mut self, _: &Shape, objects: &[NonNull<u8>], _: bool) {
//!         self.kept.extend(objects);
//!         self.census.taken -= objects.len();
//!         self.census.free_slabs = self.kept.len();
//!     }
//!     unsafe fn detach(&mut self, _: &Shape, _: bool) -> Option<Slab> {
//!         let slab = self.kept.pop().map(Slab::new);
//!         self.census.free_slabs = self.kept.len();
//!         slab
//!     }
//!     unsafe fn release(&mut self, source: &mut GlobalHeap, shape: &Shape, slab: Slab) {
//!         self.census.slabs = self.census.taken + self.kept.len();
//!         // SAFETY: the slab is a block of this source with this layout, and in no other place.
//!         unsafe { source.release(slab.header(), layout(shape)) };
//!     }
//!     fn census(&self) -> Census {
//!         self.census
//!     }
//! }
//!
//! // 3. use it
//! let cache = SlabCache::<Singles>::with_layout(GlobalHeap, Layout::new::<[u64; 4]>()).unwrap();
//! let block = cache.try_alloc(Layout::new::<[u64; 3]>()).unwrap();
//! assert_eq!(block.len(), 32);
//! // SAFETY: the block is live, and its layout this one.
//! unsafe { cache.free(block.cast(), Layout::new::<[u64; 3]>()) };
//! assert_eq!(cache.reap(), 1);
//! # }
//! ```

mod aligned;
mod color;
mod header;
mod large;
mod links;
mod looking;
mod map;
mod objects;
mod shape;
mod shelves;
mod side;
#[cfg(feature = "std")]
mod starts;
#[cfg(test)]
mod tests;

use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use crate::AllocError;
use crate::check::Wrong;
use crate::heap::Corruption;
use crate::source::BackingSource;

pub use self::aligned::AlignedSlabs;
pub use self::color::{ByStride, Colored, Coloring, NoColor};
pub use self::large::LargeSlabs;
pub(crate) use self::map::SlabMap;
pub use self::objects::{Bitmap, FreeObjects, IndexStack, IntrusiveList, SlabView};
pub use self::shape::{Rules, Shape, ShapeError};
pub use self::side::SideSlabs;
#[cfg(feature = "std")]
pub(crate) use self::starts::Starts;

/// Cuts blocks of a source into objects of one layout.
///
/// The source comes by argument, so that many slab systems can share one. Every call on one system brings the same source and
/// the same shape, made by [`Shape::new`] from the system's [`RULES`](SlabSystem::RULES), with a [zone](Rules::with_zone) or without: that is the
/// caller's promise, and caches keep it.
/// [The module's docs](self) have an implementation in three steps.
///
/// # Safety
/// An implementation keeps these:
/// - **Y1** (objects) an object handed out has the shape's stride as its size, and its alignment, lies in a slab acquired from the source, and
///   overlaps no live object. The system leaves live objects alone, and if `RULES` come from a bookkeeping that keeps objects, free ones too.
/// - **Y2** (owner) `put` finds the slab of an object by its address alone.
/// - **Y3** (whole slabs) a slab goes back to the source only when all its objects are free, and exactly once; dropping a system
///   releases nothing.
/// - **Y4** (no unwinding) no method unwinds, and after an error nothing has changed.
/// - **Y5** (exposed) the provenance of every object is exposed: a pointer good for the whole object can be made from its address.
/// - **Y6** (contents) if the shape is tracked, `take` gives either objects that all came back constructed, or one alone that it says is
///   raw (if it holds something, that is leaked). `next_constructed` gives constructed objects that are free, and each once.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a heapwright slab system",
    label = "this type parameter takes a slab system",
    note = "use `AlignedSlabs<B, SLAB_SIZE>` or `LargeSlabs<B, SLAB_SIZE>` over a backing source `B`",
    note = "or implement `heapwright::slab::SlabSystem` in three steps: see the docs of `heapwright::slab`"
)]
pub unsafe trait SlabSystem {
    /// Where slabs come from.
    type Source: BackingSource;

    /// What shapes are made by.
    const RULES: Rules;

    /// A system without slabs.
    const NEW: Self;

    /// Objects into `out` from its front, at least one; they are meant to be used from the last to the first. If the shape is tracked they are
    /// all constructed ones, or a single raw one (Y6).
    ///
    /// # Errors
    /// When no slab has a free object and the source has no block, or `out` is empty.
    ///
    /// # Safety
    /// `source` and `shape` are those of every call on this system: one source, and one shape made by [`Shape::new`] from `RULES`.
    unsafe fn take(
        &mut self,
        source: &mut Self::Source,
        shape: &Shape,
        out: &mut [MaybeUninit<NonNull<u8>>],
    ) -> Result<Taken, AllocError>;

    /// Takes objects back to their slabs; `constructed` says whether they all hold a constructed object (if the shape is tracked).
    ///
    /// # Safety
    /// All of them were taken from this system, with this shape, and have not come back since.
    unsafe fn put(&mut self, shape: &Shape, objects: &[NonNull<u8>], constructed: bool);

    /// Takes a slab of which all objects are free out of use, to be released; if there is none, and `any` is set, any other. `None`: there
    /// is no such slab.
    ///
    /// # Safety
    /// `shape` as for [`take`](SlabSystem::take).
    unsafe fn detach(&mut self, shape: &Shape, any: bool) -> Option<Slab>;

    /// A constructed object in a detached slab that is free, to be destroyed: each is given once.
    ///
    /// # Safety
    /// `slab` was detached from this system, with this shape.
    unsafe fn next_constructed(&mut self, shape: &Shape, slab: &Slab) -> Option<NonNull<u8>> {
        let _ = (shape, slab);
        None
    }

    /// Gives a detached slab back to the source, if all its objects are free; otherwise it stays as it is for good.
    ///
    /// # Safety
    /// `slab` was detached from this system, `source` and `shape` are those of [`take`](SlabSystem::take), and no object of the slab holds
    /// anything that is still needed.
    unsafe fn release(&mut self, source: &mut Self::Source, shape: &Shape, slab: Slab);

    /// Gives back what the system has besides slabs, when no call will follow.
    ///
    /// # Safety
    /// `source` and `shape` as for [`take`](SlabSystem::take); only `census` is called afterwards.
    unsafe fn close(&mut self, source: &mut Self::Source, shape: &Shape) {
        let _ = (source, shape);
    }

    /// How many slabs and objects there are. O(1).
    fn census(&self) -> Census;

    /// The slab of this number, counted from 0 in no particular order. O(slabs).
    ///
    /// # Safety
    /// `shape` as for [`take`](SlabSystem::take).
    unsafe fn slab(&self, shape: &Shape, number: usize) -> Option<SlabInfo<'_>> {
        let _ = (shape, number);
        None
    }

    /// How the system finds the slab of an address that may be anything; with the default it does not, and heaps that
    /// [check](crate::check) take pointers into its slabs at their word.
    const LOOKUP: Lookup = Lookup::None;

    /// The slab in which `address` lies, whatever number that is; `None` if it lies in none that is in use. No memory is touched but the
    /// system's own. As long as [`LOOKUP`](SlabSystem::LOOKUP) says.
    ///
    /// # Safety
    /// `shape` as for [`take`](SlabSystem::take).
    unsafe fn slab_at(&self, shape: &Shape, address: usize) -> Option<SlabInfo<'_>> {
        let _ = (shape, address);
        None
    }

    /// As [`slab_at`](SlabSystem::slab_at), of an address that lies in a slab. O(1).
    ///
    /// # Safety
    /// The same, and `address` lies in a slab of this system that is in use.
    unsafe fn slab_of(&self, shape: &Shape, address: usize) -> Option<SlabInfo<'_>> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.slab_at(shape, address) }
    }

    /// Checks all that the system believes about itself. O(objects), or worse.
    ///
    /// # Errors
    /// A rule found broken.
    ///
    /// # Safety
    /// `shape` as for [`take`](SlabSystem::take).
    unsafe fn verify(&self, shape: &Shape) -> Result<(), Corruption> {
        let _ = shape;
        Ok(())
    }
}

/// How a slab system finds the slab of an address that may be anything.
///
/// ```
/// use heapwright::slab::{AlignedSlabs, LargeSlabs, Lookup, SlabSystem};
/// use heapwright::source::StaticBuffer;
/// type Source = &'static StaticBuffer<4096>;
/// assert_eq!(<AlignedSlabs<Source> as SlabSystem>::LOOKUP, Lookup::Walk);
/// assert_eq!(<LargeSlabs<Source> as SlabSystem>::LOOKUP, Lookup::Map);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It does not.
    None,
    /// By going through all slabs: a heap that looks often keeps a map of them.
    Walk,
    /// In a map of its own: O(1).
    Map,
}

/// What a `take` has given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// How many objects.
    pub count: usize,
    /// Whether they are constructed ones.
    pub constructed: bool,
}

/// A slab that has been taken out of use, and is to be released.
#[derive(Debug)]
pub struct Slab {
    header: NonNull<u8>,
    /// Its first byte, of systems that look slabs up.
    base: Option<NonNull<u8>>,
}

impl Slab {
    /// A slab, for a system of your own: what `header` points to is its business.
    #[must_use]
    pub const fn new(header: NonNull<u8>) -> Self {
        Slab { header, base: None }
    }

    /// The same, of a system that looks slabs up.
    const fn at(header: NonNull<u8>, base: NonNull<u8>) -> Self {
        Slab { header, base: Some(base) }
    }

    /// Its first byte, if its system looks slabs up.
    pub(crate) const fn base(&self) -> Option<NonNull<u8>> {
        self.base
    }

    /// What it was made from.
    #[must_use]
    pub const fn header(&self) -> NonNull<u8> {
        self.header
    }
}

/// How many slabs and objects a system has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Slabs.
    pub slabs: usize,
    /// Slabs of which all objects are free.
    pub free_slabs: usize,
    /// Objects of all slabs, free or not.
    pub capacity: usize,
    /// Objects taken and not put back.
    pub taken: usize,
    /// The most slabs that there ever were.
    pub slabs_peak: usize,
}

impl Census {
    /// No slab.
    pub const NONE: Self = Census { slabs: 0, free_slabs: 0, capacity: 0, taken: 0, slabs_peak: 0 };
}

/// A look at one slab.
#[derive(Clone, Copy, Debug)]
pub struct SlabInfo<'a> {
    base: NonNull<u8>,
    len: usize,
    /// From the base to object 0.
    first: usize,
    stride: usize,
    reserved: u32,
    end: u32,
    free: u32,
    kept: u32,
    is_free: fn(SlabView, u32) -> bool,
    was_freed: fn(SlabView, u32) -> bool,
    is_damaged: fn(SlabView) -> bool,
    view: SlabView,
    borrow: PhantomData<&'a ()>,
}

impl SlabInfo<'_> {
    /// The address of its first byte.
    #[must_use]
    pub fn address(&self) -> usize {
        self.base.addr().get()
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no byte: never.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Objects that it has room for.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        (self.end - self.reserved) as usize
    }

    /// Objects that are free.
    #[must_use]
    pub const fn free(&self) -> usize {
        self.free as usize
    }

    /// Free objects that are constructed.
    #[must_use]
    pub const fn constructed(&self) -> usize {
        self.kept as usize
    }

    /// Bytes from the slab's start to its first object: headers, tables, color.
    #[must_use]
    pub const fn objects_at(&self) -> usize {
        self.first + self.reserved as usize * self.stride
    }

    /// Bytes from one object to the next.
    #[must_use]
    pub const fn stride(&self) -> usize {
        self.stride
    }

    /// Whether a live object begins at `address`, as far as the slab knows: what caches have at hand counts as live. As long as the bookkeeping
    /// takes to tell a free object: O(1) with [`Bitmap`], O(free objects) with the others.
    ///
    /// ```
    /// use heapwright::check::Wrong;
    /// use heapwright::slab::{AlignedSlabs, Shape, SlabSystem};
    /// use heapwright::source::StaticBuffer;
    /// use std::{alloc::Layout, mem::MaybeUninit};
    ///
    /// static RAM: StaticBuffer<4096> = StaticBuffer::new();
    /// type Slabs = AlignedSlabs<&'static StaticBuffer<4096>, 1024>;
    /// let (mut slabs, mut source) = (Slabs::NEW, &RAM);
    /// let shape = Shape::new(&Slabs::RULES, Layout::new::<u64>(), false)?;
    /// let mut out = [MaybeUninit::uninit()];
    /// // SAFETY: one source and one shape.
    /// unsafe { slabs.take(&mut source, &shape, &mut out) }?;
    /// // SAFETY: one object has been written.
    /// let object = unsafe { out[0].assume_init() }.addr().get();
    /// // SAFETY: one shape.
    /// let slab = unsafe { slabs.slab_at(&shape, object) }.ok_or("no slab")?;
    /// assert_eq!(slab.place_of(object), Ok(()));
    /// assert_eq!(slab.place_of(object + 1), Err(Wrong::Interior));
    /// assert_eq!(slab.place_of(object + 8), Err(Wrong::DoubleFree), "it is free");
    /// assert_eq!(slab.place_of(slab.address()), Err(Wrong::Foreign), "a header");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Wrong::Foreign`] where no object is, [`Wrong::Interior`] inside one, [`Wrong::DoubleFree`] if the object is free, or was lost when it was.
    pub fn place_of(&self, address: usize) -> Result<(), Wrong> {
        // Before object 0 it is more than any object's offset.
        let offset = address.wrapping_sub(self.address()).wrapping_sub(self.first);
        let number = offset / self.stride;
        if number < self.reserved as usize || number >= self.end as usize {
            return Err(Wrong::Foreign);
        }
        if offset % self.stride != 0 {
            return Err(Wrong::Interior);
        }
        if (self.was_freed)(self.view, number as u32) { Err(Wrong::DoubleFree) } else { Ok(()) }
    }

    /// Whether the last take has found that a free object was written to.
    pub(crate) fn is_damaged(&self) -> bool {
        (self.is_damaged)(self.view)
    }

    /// Its first byte.
    pub(crate) const fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The first object that there is, good for all of them.
    pub(crate) fn first_object(&self) -> NonNull<u8> {
        // SAFETY: `reserved` is below `end`.
        unsafe { self.view.object(self.reserved) }
    }

    /// Whether the object of a number, below [`capacity`](SlabInfo::capacity), is free; those beyond are not.
    #[must_use]
    pub fn is_free(&self, number: usize) -> bool {
        number < self.capacity() && (self.is_free)(self.view, self.reserved + number as u32)
    }
}

/// Writes `impl SlabSystem` for a type with the fields `shelves` and `ground` and a bookkeeping `K`.
macro_rules! impl_slab_system {
    ([$($generics:tt)*] $type:ty, $source:ty, $lookup:expr, $rules:expr, $new:expr) => {
        // SAFETY: Y1, Y3: K1 and the invariants of `Shelves`: an object is free, or taken by one caller; only detached slabs are
        // released. Y2: G2. Y4: K4, G3. Y5: G1, and objects are made from the slab's base. Y6: a bit for each free object says so, and
        // `take` asks the bookkeeping for one raw object at a time.
        unsafe impl<$($generics)*> crate::slab::SlabSystem for $type {
            type Source = $source;
            const RULES: crate::slab::Rules = $rules;
            const NEW: Self = $new;
            const LOOKUP: crate::slab::Lookup = $lookup;

            #[inline(always)]
            unsafe fn take(
                &mut self,
                source: &mut Self::Source,
                shape: &crate::slab::Shape,
                out: &mut [core::mem::MaybeUninit<core::ptr::NonNull<u8>>],
            ) -> Result<crate::slab::Taken, crate::AllocError> {
                // SAFETY: the caller's promise is the same.
                unsafe { self.shelves.take::<_, K>(&mut self.ground, source, shape, out) }
            }

            #[inline(always)]
            unsafe fn put(&mut self, shape: &crate::slab::Shape, objects: &[core::ptr::NonNull<u8>], constructed: bool) {
                // SAFETY: the caller's promise is the same.
                unsafe { self.shelves.put::<_, K>(&self.ground, shape, objects, constructed) };
            }

            unsafe fn detach(&mut self, _: &crate::slab::Shape, any: bool) -> Option<crate::slab::Slab> {
                self.shelves.detach(any)
            }

            unsafe fn next_constructed(
                &mut self,
                shape: &crate::slab::Shape,
                slab: &crate::slab::Slab,
            ) -> Option<core::ptr::NonNull<u8>> {
                // SAFETY: the caller's promise is the same.
                unsafe { crate::slab::shelves::Shelves::next_constructed::<K>(shape, slab) }
            }

            unsafe fn release(&mut self, source: &mut Self::Source, shape: &crate::slab::Shape, slab: crate::slab::Slab) {
                // SAFETY: the caller's promise is the same.
                unsafe { crate::slab::shelves::release(&mut self.ground, source, shape, &slab) };
            }

            unsafe fn close(&mut self, source: &mut Self::Source, _: &crate::slab::Shape) {
                // SAFETY: the caller's promise is the same.
                unsafe { crate::slab::shelves::Ground::close(&mut self.ground, source) };
            }

            #[inline]
            fn census(&self) -> crate::slab::Census {
                self.shelves.census
            }

            unsafe fn slab(&self, shape: &crate::slab::Shape, number: usize) -> Option<crate::slab::SlabInfo<'_>> {
                // SAFETY: the caller's promise is the same.
                unsafe { self.shelves.slab::<K>(shape, number) }
            }

            unsafe fn slab_at(&self, shape: &crate::slab::Shape, address: usize) -> Option<crate::slab::SlabInfo<'_>> {
                // SAFETY: the caller's promise is the same.
                unsafe { self.shelves.slab_at::<_, K>(&self.ground, shape, address) }
            }

            unsafe fn slab_of(&self, shape: &crate::slab::Shape, address: usize) -> Option<crate::slab::SlabInfo<'_>> {
                // SAFETY: the caller's promise is the same.
                Some(unsafe { self.shelves.slab_of::<_, K>(&self.ground, shape, address) })
            }

            unsafe fn verify(&self, shape: &crate::slab::Shape) -> Result<(), crate::heap::Corruption> {
                // SAFETY: the caller's promise is the same.
                unsafe { self.shelves.verify::<_, K>(&self.ground, shape) }
            }
        }
    };
}

use impl_slab_system;
