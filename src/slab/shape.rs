//! The shape of slabs: how many objects of one layout go into a slab of which size, and where they lie.

use core::alloc::Layout;
use core::fmt;

use super::color::Coloring;
use super::header::{HEADER_LEN, Header, REGION_LEN};
use super::objects::FreeObjects;
use crate::describe::Bytes;
use crate::source::BackingSource;

/// The largest slab, in bytes.
const SLAB_SIZE_MAX: usize = 1 << 30;
/// The length of a region of several slabs, in bytes: that of a huge page of the common processors.
const REGION_SIZE: usize = 2 << 20;
/// The most slabs of a region: one bit each in a word.
const REGION_SLABS_MAX: usize = 64;
/// Bytes of a cache line: what lies beside each other in it is fetched at once.
const LINE: usize = 64;

/// What a slab system brings to the choice of a [`Shape`].
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::slab::{Rules, Shape};
/// let shape = Shape::new(&Rules::new(4096), Layout::new::<[u64; 8]>(), false)?;
/// assert_eq!((shape.slab_size(), shape.stride(), shape.capacity()), (4096, 64, 63));
/// # Ok::<(), heapwright::slab::ShapeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Bytes of a slab; 0: by the fit rule.
    pub(super) slab_size: usize,
    /// Whether slabs are powers of two aligned to their own size.
    pub(super) aligned: bool,
    /// The source's granule, in bytes.
    pub(super) granule: usize,
    /// The source's largest alignment, in bytes.
    pub(super) align_max: usize,
    /// Whether memory of the source that is never touched costs nothing.
    pub(super) lazy: bool,
    /// Bits that the bookkeeping needs per object.
    pub(super) object_bits: usize,
    /// The smallest object that the bookkeeping can serve, in bytes.
    pub(super) object_min: usize,
    /// The most objects of a slab that the bookkeeping can tell apart.
    pub(super) capacity_max: usize,
    /// Whether the bookkeeping leaves free objects as they are.
    pub(super) keeps: bool,
    /// Objects a multiple of this many bytes apart get colors; 0: none do.
    pub(super) color_stride: usize,
    /// Bytes that the source has for a slab's header in another place; 0: headers lie in slabs.
    pub(super) header_room: usize,
    /// Bytes behind each object that are not its user's.
    pub(super) zone: usize,
    /// Whether objects come out of their slabs as they came in, but for fresh ones.
    pub(super) restores: bool,
    /// Whether fresh objects are zero.
    pub(super) zeroed: bool,
}

impl Rules {
    /// The rules of slabs from a source `B` with bookkeeping `K` and coloring `C`.
    pub(super) const fn of<B: BackingSource, K: FreeObjects, C: Coloring>(
        slab_size: usize,
        aligned: bool,
    ) -> Self {
        Rules {
            slab_size,
            aligned,
            granule: B::GRANULE,
            align_max: B::ALIGN_MAX,
            lazy: B::LAZY,
            object_bits: K::BITS,
            object_min: K::OBJECT_MIN,
            capacity_max: K::CAPACITY_MAX,
            keeps: K::KEEPS,
            color_stride: C::STRIDE,
            header_room: 0,
            zone: 0,
            restores: K::RESTORES,
            // A slab that comes again from a block of several still has what was written into its free objects.
            zeroed: B::ZEROED && K::KEEPS,
        }
    }

    /// The rules of slabs of `slab_size` bytes from a source `B` that has `header_room` bytes for the header of each in another place.
    pub(super) const fn beside<B: BackingSource, K: FreeObjects, C: Coloring>(
        slab_size: usize,
        header_room: usize,
    ) -> Self {
        assert!(
            header_room > HEADER_LEN + 16,
            "a header with its tables needs more room than the source has for it"
        );
        // What `acquire_slab` gives is not said to be zero.
        Rules { header_room, zeroed: false, ..Rules::of::<B, K, C>(slab_size, true) }
    }

    /// Rules for slabs of `slab_size` bytes (0: as the fit rule finds), with a bitmap, from a source that aligns to a page, without colors.
    #[must_use]
    pub const fn new(slab_size: usize) -> Self {
        Rules {
            slab_size,
            aligned: false,
            granule: 1,
            align_max: 4096,
            lazy: false,
            object_bits: 1,
            object_min: 1,
            capacity_max: u32::MAX as usize,
            keeps: true,
            color_stride: 0,
            header_room: 0,
            zone: 0,
            restores: true,
            zeroed: false,
        }
    }

    /// The same, with `zone` bytes behind each object, which are not its user's: for heaps that [check](crate::check) whether something was written there.
    ///
    /// ```
    /// use core::alloc::Layout;
    /// use heapwright::slab::{Rules, Shape};
    /// let shape = Shape::new(&Rules::new(4096).with_zone(8), Layout::new::<[u64; 8]>(), false)?;
    /// assert_eq!((shape.stride(), shape.capacity()), (72, 56));
    /// # Ok::<(), heapwright::slab::ShapeError>(())
    /// ```
    #[must_use]
    pub const fn with_zone(self, zone: usize) -> Self {
        Rules { zone, ..self }
    }

    /// Whether objects come out of their slabs as they came in, but for fresh ones.
    pub(crate) const fn restores(&self) -> bool {
        self.restores
    }

    /// Whether fresh objects are zero.
    pub(crate) const fn is_zeroed(&self) -> bool {
        self.zeroed
    }
}

/// Why there is no shape for a layout.
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::slab::{Rules, Shape, ShapeError};
/// let too_large = Shape::new(&Rules::new(4096), Layout::new::<[u8; 5000]>(), false);
/// assert_eq!(too_large, Err(ShapeError::TooLarge));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShapeError {
    /// Not one object fits into a slab of the given size, or no slab of up to 1 GiB holds such objects without wasting more than 1/8.
    TooLarge,
    /// The source can't give blocks that are aligned as the slabs have to be.
    Unaligned,
    /// Slabs that are found by masking have to be a power of two long.
    NotAPowerOfTwo,
    /// Constructed objects are to be kept, by bookkeeping that overwrites free objects.
    Overwritten,
}

impl ShapeError {
    /// What is wrong and what to do.
    const fn message(self) -> &'static str {
        match self {
            ShapeError::TooLarge => {
                "the object does not fit into a slab: choose a larger slab size, or 0 for one that fits"
            }
            ShapeError::Unaligned => {
                "the source can't align a block to the slab's size or the object's alignment: use `LargeSlabs<B>`, which needs no aligned slabs, a smaller slab, or a source that aligns, such as `Pages`"
            }
            ShapeError::NotAPowerOfTwo => {
                "the slab size of `AlignedSlabs` has to be a power of two: choose one, or use `LargeSlabs`"
            }
            ShapeError::Overwritten => {
                "an intrusive list overwrites free objects, so they can't stay constructed: use `Bitmap` or `IndexStack` as the bookkeeping"
            }
        }
    }
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl core::error::Error for ShapeError {}

/// Where the objects of one layout lie in slabs of one size.
///
/// ```text
///  one slab alone, the header at its front            a region of slabs, all headers at its front
///  ┌──────┬─────┬─────┬────────┬────────┬───┐         ┌─────────┬──────────────┬──────────────┬───
///  │header│table│slack│object 0│object 1│ … │         │headers  │ objects …    │ objects …    │
///  └──────┴─────┴─────┴────────┴────────┴───┘         └─────────┴──────────────┴──────────────┴───
///                     └ first                           slab 0                   slab 1
/// ```
/// Objects end where the slab ends, so that all slack lies before them, where colors shift them, and where the headers of
/// a region's first slab take the room of its first few objects. All lengths are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub(super) slab_size: usize,
    /// From one object to the next; a multiple of `object_align`.
    pub(super) stride: usize,
    pub(super) object_align: usize,
    /// From the slab's start to object 0, if its color is 0.
    pub(super) first: usize,
    /// 2³² / `stride`, rounded up: what replaces the division by the stride.
    reciprocal: u64,
    /// Objects of a slab.
    pub(super) capacity: u32,
    /// Objects of a region's first slab whose room the headers have.
    pub(super) reserved: u32,
    /// Slabs of a region; 1: slabs stand alone, with their header at the front.
    pub(super) region_slabs: u32,
    /// From one header of a region to the next.
    pub(super) header_len: u32,
    /// From a header to its table of constructed objects.
    pub(super) kept_at: u32,
    /// How many colors there are, a power of two; 1: none.
    pub(super) colors: u32,
    pub(super) color_step: u32,
    color_shift: u32,
    /// Whether constructed objects are told from raw ones.
    pub(super) tracked: bool,
    /// Whether the header lies in another place than the slab.
    beside: bool,
}

const fn max(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

const fn min(a: usize, b: usize) -> usize {
    if a < b { a } else { b }
}

/// As `mem::align_up`, for numbers that are known to be small.
const fn up(value: usize, align: usize) -> usize {
    (value + align - 1) & !(align - 1)
}

impl Shape {
    /// The shape for objects of `layout`; `tracked` if constructed objects are to be told from raw ones. O(1) at compile time, where it
    /// is mostly called; some hundred steps otherwise.
    ///
    /// # Errors
    /// When there is none; the error says what to do.
    pub const fn new(rules: &Rules, layout: Layout, tracked: bool) -> Result<Self, ShapeError> {
        if tracked && !rules.keeps {
            return Err(ShapeError::Overwritten);
        }
        // A size of zero still takes a byte, so that every object has an address of its own.
        // Padded before the zone, so that a slot without it is a multiple of the alignment, too.
        let size =
            max(up(max(layout.size(), 1), layout.align()).saturating_add(rules.zone), rules.object_min);
        if size > SLAB_SIZE_MAX / 2 || layout.align() > SLAB_SIZE_MAX / 4 {
            return Err(ShapeError::TooLarge);
        }
        let stride = up(size, layout.align());
        if rules.slab_size != 0 {
            return Shape::of_size(rules, rules.slab_size, stride, layout.align(), tracked);
        }
        match Shape::fitted(rules, stride, layout.align(), tracked, true) {
            // The tables of objects of a few bytes are more than an eighth by themselves: then they do not count.
            Err(ShapeError::TooLarge) => Shape::fitted(rules, stride, layout.align(), tracked, false),
            other => other,
        }
    }

    /// [`new`](Shape::new), for constants: what is wrong is a compile error.
    pub(crate) const fn checked(rules: &Rules, layout: Layout, tracked: bool) -> Self {
        match Shape::new(rules, layout, tracked) {
            Ok(shape) => shape,
            Err(error) => panic!("{}", error.message()),
        }
    }

    /// The fit rule: the smallest slab with at most 1/16 of waste, if it is at most eight times the smallest with 1/8 (Bonwick's
    /// bound), or the first that is tried beyond; otherwise the latter. `tables` says whether these are waste.
    const fn fitted(
        rules: &Rules,
        stride: usize,
        align: usize,
        tracked: bool,
        tables: bool,
    ) -> Result<Self, ShapeError> {
        let least = if rules.lazy { 64 << 10 } else { max(rules.granule, 1 << 10) };
        let mut size = max(least, if rules.aligned { align } else { 1 });
        let mut good: Option<Shape> = None;
        let mut error = ShapeError::TooLarge;
        while size <= SLAB_SIZE_MAX {
            match Shape::of_size(rules, size, stride, align, tracked) {
                Ok(shape) => {
                    let (all, bytes) = shape.waste();
                    let waste = if tables { all } else { all - shape.tables_len() };
                    if waste <= bytes / 16 {
                        return Ok(shape);
                    }
                    if good.is_none() && waste <= bytes / 8 {
                        good = Some(shape);
                    }
                }
                Err(other) => error = other,
            }
            if let Some(good) = good {
                if size / 8 >= good.slab_size || matches!(error, ShapeError::Unaligned) {
                    return Ok(good);
                }
            }
            size = if rules.aligned {
                size * 2
            } else {
                // Room for some more objects, a few at a time as slabs grow.
                up(size + max(stride, size / 8), max(rules.granule, 64))
            };
        }
        match good {
            Some(good) => Ok(good),
            None => Err(error),
        }
    }

    /// The shape with slabs of this size.
    const fn of_size(
        rules: &Rules,
        slab_size: usize,
        stride: usize,
        align: usize,
        tracked: bool,
    ) -> Result<Self, ShapeError> {
        if slab_size > SLAB_SIZE_MAX || stride > slab_size {
            return Err(ShapeError::TooLarge);
        }
        if rules.aligned {
            if !slab_size.is_power_of_two() {
                return Err(ShapeError::NotAPowerOfTwo);
            }
            if rules.header_room > 0 {
                return match Shape::beside(rules, slab_size, stride, align, tracked) {
                    Some(shape) => Ok(shape),
                    None => Err(ShapeError::TooLarge),
                };
            }
            if slab_size > rules.align_max {
                return Err(ShapeError::Unaligned);
            }
            if rules.lazy {
                let mut slabs = min(REGION_SIZE / slab_size, REGION_SLABS_MAX);
                while slabs > 1 {
                    if let Some(shape) = Shape::in_region(rules, slab_size, stride, align, tracked, slabs) {
                        return Ok(shape);
                    }
                    slabs /= 2;
                }
            }
        } else if max(align, align_of::<Header>()) > rules.align_max {
            return Err(ShapeError::Unaligned);
        }
        match Shape::alone(rules, slab_size, stride, align, tracked) {
            Some(shape) => Ok(shape),
            None => Err(ShapeError::TooLarge),
        }
    }

    /// Slabs with their headers at their front. `None`: no object fits.
    const fn alone(
        rules: &Rules,
        slab_size: usize,
        stride: usize,
        align: usize,
        tracked: bool,
    ) -> Option<Self> {
        let room = slab_size.saturating_sub(HEADER_LEN) as u64 * 8;
        let object_bits = (rules.object_bits as u64).saturating_add(stride as u64 * 8 + tracked as u64);
        let mut capacity = min((room / object_bits) as usize, rules.capacity_max);
        // A few less, since tables are of whole words, and the objects' alignment may cost some bytes.
        while capacity > 0
            && header_len(rules, capacity, tracked) + capacity * stride
                > slab_size - align_gap(slab_size, align)
        {
            capacity -= 1;
        }
        if capacity == 0 {
            return None;
        }
        let shape = Shape::assembled(rules, slab_size, stride, align, tracked, capacity, 1);
        Some(shape)
    }

    /// Slabs that hold objects only. `None`: none fits.
    const fn beside(
        rules: &Rules,
        slab_size: usize,
        stride: usize,
        align: usize,
        tracked: bool,
    ) -> Option<Self> {
        let bits = rules.object_bits.saturating_add(tracked as usize);
        // Either table is of whole words.
        let tables =
            rules.header_room - HEADER_LEN - 8 * (rules.object_bits > 0) as usize - 8 * tracked as usize;
        let described = match tables.saturating_mul(8).checked_div(bits) {
            Some(described) => described,
            None => usize::MAX,
        };
        let capacity = min(min(slab_size / stride, rules.capacity_max), described);
        // Tables longer than any slab count as of that length.
        let room = min(rules.header_room, SLAB_SIZE_MAX);
        if capacity == 0 || header_len(rules, capacity, tracked) > room {
            return None;
        }
        Some(Shape::assembled(rules, slab_size, stride, align, tracked, capacity, 1))
    }

    /// Slabs in a region, which has all headers at its front. `None`: they would take more than half of the first slab.
    const fn in_region(
        rules: &Rules,
        slab_size: usize,
        stride: usize,
        align: usize,
        tracked: bool,
        slabs: usize,
    ) -> Option<Self> {
        let capacity = min(slab_size / stride, rules.capacity_max);
        let header = up(header_len(rules, capacity, tracked), LINE);
        if capacity == 0 || header > slab_size || slab_size * slabs > rules.align_max {
            return None;
        }
        if REGION_LEN + slabs * header > slab_size / 2 {
            return None;
        }
        let shape = Shape::assembled(rules, slab_size, stride, align, tracked, capacity, slabs);
        if shape.reserved >= shape.capacity { None } else { Some(shape) }
    }

    /// A shape for `capacity` objects, which fit; gives up one for colors where that keeps the bound on waste.
    const fn assembled(
        rules: &Rules,
        slab_size: usize,
        stride: usize,
        align: usize,
        tracked: bool,
        capacity: usize,
        slabs: usize,
    ) -> Self {
        let plain = Shape::laid_out(rules, slab_size, stride, align, tracked, capacity, slabs, 1);
        if rules.color_stride == 0 || stride % rules.color_stride != 0 {
            return plain;
        }
        let step = max(LINE, align);
        let wanted = if stride / step < 2 { 1 } else { min(1 << (stride / step).ilog2(), LINE) };
        if capacity > 8 {
            let fewer =
                Shape::laid_out(rules, slab_size, stride, align, tracked, capacity - 1, slabs, wanted);
            // The room of one object is enough for all of them.
            debug_assert!(fewer.first >= fewer.header_end() + (wanted - 1) * step);
            let (waste, bytes) = fewer.waste();
            if waste <= bytes / 8 {
                return fewer;
            }
        }
        // As many as the slack has room for.
        let mut colors = wanted;
        while colors > 1 && plain.first < plain.header_end() + (colors - 1) * step {
            colors /= 2;
        }
        Shape::laid_out(rules, slab_size, stride, align, tracked, capacity, slabs, colors)
    }

    #[expect(clippy::too_many_arguments, reason = "all of them are what a shape is made from")]
    const fn laid_out(
        rules: &Rules,
        slab_size: usize,
        stride: usize,
        align: usize,
        tracked: bool,
        capacity: usize,
        slabs: usize,
        colors: usize,
    ) -> Self {
        let header = header_len(rules, capacity, tracked);
        let header = if slabs > 1 { up(header, LINE) } else { header };
        let color_step = max(LINE, align);
        // The last object ends where the slab does, or at the last multiple of the alignment before.
        let first = (slab_size - align_gap(slab_size, align)) - capacity * stride;
        let mut reserved = 0;
        if slabs > 1 {
            let headers = REGION_LEN + slabs * header + (colors - 1) * color_step;
            reserved = headers.saturating_sub(first).div_ceil(stride);
        }
        Shape {
            slab_size,
            stride,
            object_align: align,
            first,
            reciprocal: (1u64 << 32).div_ceil(stride as u64),
            capacity: capacity as u32,
            reserved: min(reserved, capacity) as u32,
            region_slabs: slabs as u32,
            header_len: header as u32,
            kept_at: (HEADER_LEN + table_len(rules.object_bits, capacity)) as u32,
            colors: colors as u32,
            color_step: color_step as u32,
            color_shift: slab_size.ilog2(),
            tracked,
            beside: rules.header_room > 0,
        }
    }

    /// Where the header of a slab that stands alone ends; 0 where headers lie elsewhere.
    const fn header_end(&self) -> usize {
        if self.region_slabs > 1 || self.beside { 0 } else { self.header_len as usize }
    }

    /// Bytes of the tables of all slabs that [`waste`](Shape::waste) is about; of those that lie elsewhere none.
    const fn tables_len(&self) -> usize {
        if self.beside {
            return 0;
        }
        self.region_slabs as usize * (self.header_len as usize - HEADER_LEN)
    }

    /// Bytes that are no objects (headers, tables, slack), and all bytes: of a slab, or of a region of slabs.
    ///
    /// ```
    /// use core::alloc::Layout;
    /// use heapwright::slab::{Rules, Shape};
    /// let shape = Shape::new(&Rules::new(0), Layout::new::<[u8; 100]>(), false)?;
    /// let (waste, bytes) = shape.waste();
    /// assert!(waste <= bytes / 8);
    /// # Ok::<(), heapwright::slab::ShapeError>(())
    /// ```
    #[must_use]
    pub const fn waste(&self) -> (usize, usize) {
        let slabs = self.region_slabs as usize;
        let objects = slabs * self.capacity as usize - self.reserved as usize;
        (slabs * self.slab_size - objects * self.stride, slabs * self.slab_size)
    }

    /// Bytes of a slab.
    #[must_use]
    pub const fn slab_size(&self) -> usize {
        self.slab_size
    }

    /// Bytes from one object to the next: the object's size, rounded up to its alignment.
    #[must_use]
    pub const fn stride(&self) -> usize {
        self.stride
    }

    /// The alignment of the objects, in bytes.
    #[must_use]
    pub const fn align(&self) -> usize {
        self.object_align
    }

    /// Objects of a slab. (The first slab of a region has fewer.)
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// How many colors slabs have: different distances of their objects from the slab's start, a cache line apart. 1: no colors.
    #[must_use]
    pub const fn colors(&self) -> usize {
        self.colors as usize
    }

    /// Whether constructed objects are told from raw ones.
    #[must_use]
    #[inline]
    pub const fn is_tracked(&self) -> bool {
        self.tracked
    }

    /// How many slabs share a block of the source, with all their headers at its front; 1: each slab is a block.
    #[must_use]
    pub const fn region_slabs(&self) -> usize {
        self.region_slabs as usize
    }

    /// The layout of a block of the source: a slab, or a region of slabs.
    pub(super) const fn block_layout(&self, aligned: bool) -> Layout {
        let len = self.slab_size * self.region_slabs as usize;
        let align = if aligned { len } else { max(self.object_align, align_of::<Header>()) };
        match Layout::from_size_align(len, align) {
            Ok(layout) => layout,
            Err(_) => panic!("a slab's length and alignment make a layout: the shape has checked them"),
        }
    }

    /// How far the color of the slab at `base` shifts its objects to its start.
    #[inline(always)]
    const fn color(&self, base: usize) -> usize {
        if self.colors == 1 {
            return 0;
        }
        ((base >> self.color_shift) & (self.colors as usize - 1)) * self.color_step as usize
    }

    /// From the slab's start at the address `base` to its object 0.
    #[inline(always)]
    pub(crate) const fn first(&self, base: usize) -> usize {
        self.first - self.color(base)
    }

    /// The number of the object at the address `object` in the slab at `base`.
    #[inline(always)]
    pub(crate) const fn index(&self, base: usize, object: usize) -> u32 {
        // A multiple of the stride, so that the rounding of the reciprocal does not show.
        let offset = object.wrapping_sub(base).wrapping_sub(self.first(base)) as u32;
        ((offset as u64 * self.reciprocal) >> 32) as u32
    }
}

/// What lies behind the last object so that its end is a multiple of the alignment.
const fn align_gap(slab_size: usize, align: usize) -> usize {
    slab_size & (align - 1)
}

/// Bytes of a table of `bits` for each object, in whole words of eight; `SLAB_SIZE_MAX` if there are more, which never fit.
const fn table_len(bits: usize, capacity: usize) -> usize {
    let words = (bits as u64).saturating_mul(capacity as u64).div_ceil(64);
    if words < SLAB_SIZE_MAX as u64 / 8 { words as usize * 8 } else { SLAB_SIZE_MAX }
}

/// Bytes of a header with its tables.
const fn header_len(rules: &Rules, capacity: usize, tracked: bool) -> usize {
    let kept = if tracked { table_len(1, capacity) } else { 0 };
    HEADER_LEN + table_len(rules.object_bits, capacity) + kept
}

/// The length of slabs as a parameter says it, in words.
pub(super) struct SlabLength(pub(super) usize);

impl fmt::Display for SlabLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => write!(f, "of a length that fits the objects, with a header of {HEADER_LEN} bytes each"),
            len => write!(f, "of {}, with a header of {HEADER_LEN} bytes each", Bytes(len)),
        }
    }
}
