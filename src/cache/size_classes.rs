//! Size classes: the sizes that a heap of slabs has slots of, and which of them a request gets.

use core::alloc::Layout;
use core::fmt;
use core::mem::MaybeUninit;

use crate::describe::{Bytes, Cost, Tree, name};

/// All class sizes are multiples of this, in bytes.
const GRANULE: usize = 8;

/// The largest alignment in bytes that a class vouches for, whatever its size is a multiple of: a page.
const ALIGN_MAX: usize = 4096;

/// Up to this size in bytes there is an entry for every granule; above, one for every eighth of a doubling.
const SMALL_MAX: usize = 1 << SMALL_LOG;
const SMALL_LOG: u32 = 10;

/// log2 of the entries per doubling of the size above `SMALL_MAX`.
const PARTS_LOG: u32 = 3;

/// A list of slot sizes, and the rule that gives each request its class.
///
/// A heap of slabs has one cache for each class. A slot of a class has the class's size, and is aligned to the largest power of two that
/// divides it, up to [`ALIGN_MAX`](SizeClasses::ALIGN_MAX). A request gets the smallest class in which it fits, by size and by
/// alignment: one of 40 bytes aligned to 16 gets 48 bytes.
///
/// [`Classes`] is right for most heaps. [`size_classes!`](crate::size_classes) makes others from a list or a rule. By hand is worth it only
/// where the class can be computed without a table:
///
/// # Write your own in three steps
/// 1. A type without fields.
/// 2. `unsafe impl SizeClasses`, keeping K1 to K5.
/// 3. Hand it to a heap as its classes.
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::cache::SizeClasses;
///
/// // 1. a type
/// #[derive(Debug)]
/// pub struct Powers;
///
/// // 2. SAFETY: K1: as one sees. K2: `order` is that of the least power of two that is no less than size, alignment and 16. K3: which is the
/// // same for all sizes up to that power, and for that power; what is above 128 has none. K4: as one sees. K5: nothing here unwinds: sizes above 128 are gone when the power is taken.
/// unsafe impl SizeClasses for Powers {
///     const SIZES: &'static [usize] = &[16, 32, 64, 128];
///     type Array<T> = [T; 4];
///     fn index(layout: Layout) -> Option<usize> {
///         let least = layout.size().max(layout.align()).max(16);
///         (layout.size() > 0 && least <= 128).then(|| least.next_power_of_two().ilog2() as usize - 4)
///     }
///     fn array<T>(value: impl FnMut(usize) -> T) -> [T; 4] {
///         core::array::from_fn(value)
///     }
/// }
///
/// // 3. use it
/// fn slot<C: SizeClasses>(layout: Layout) -> Option<usize> {
///     C::index(layout).map(|class| C::SIZES[class])
/// }
/// assert_eq!(slot::<Powers>(Layout::new::<[u8; 65]>()), Some(128));
/// assert_eq!(slot::<Powers>(Layout::new::<[u8; 129]>()), None);
/// ```
///
/// # Safety
/// An implementation keeps these:
/// - **K1** (sizes) `SIZES` has 1 to 255 sizes, strictly rising, all multiples of 8 above zero and none above `isize::MAX - ALIGN_MAX`. `COUNT` and
///   `SIZE_MAX` are its length and its last size, and `ALIGN_MAX` is a power of two of at least 8.
/// - **K2** (fit) `index` depends on nothing but its argument, changes nothing, and uses no heap. It is below `COUNT`, and the class's size is no less than the layout's and
///   a multiple of its alignment, which is no more than `ALIGN_MAX`.
/// - **K3** (one class) all sizes from a request's to that of its class, at the same alignment, have this class: so a block may be freed
///   with any of them. Where a request has no class, no larger size at the same alignment has one: so its block is freed where it came from.
///   The size of a class, at an alignment of 1, has that class: so a block may be freed by its size alone.
/// - **K4** (array) `Array<T>` is `[T; COUNT]`, and `array` calls its function once for each class, in order.
/// - **K5** (no unwinding) `index` doesn't, and `array` does only if its function does.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a list of size classes",
    label = "this type parameter takes size classes",
    note = "use `heapwright::cache::Classes`, or declare your own: `heapwright::size_classes! {{ struct Mine = 8..=4096, 8 per doubling; }}`"
)]
pub unsafe trait SizeClasses {
    /// The sizes of all classes in bytes, smallest first.
    const SIZES: &'static [usize];

    /// How many classes there are: 1 to 255.
    const COUNT: usize = Self::SIZES.len();

    /// The largest size in bytes that has a class.
    const SIZE_MAX: usize = Self::SIZES[Self::SIZES.len() - 1];

    /// The largest alignment in bytes that has a class; slots are not aligned above it.
    const ALIGN_MAX: usize = ALIGN_MAX;

    /// One `T` for each class: `[T; COUNT]`, written so that generic code can have one.
    type Array<T>: AsRef<[T]> + AsMut<[T]>;

    /// The class of the smallest slots in which `layout` fits; `None` if there is none, and for size zero.
    ///
    /// A constant where the layout is one.
    fn index(layout: Layout) -> Option<usize>;

    /// An array of one value per class; the function gets the class's index. [`ClassArray`] makes one in a constant.
    fn array<T>(value: impl FnMut(usize) -> T) -> Self::Array<T>;
}

/// The layout of the slots of a class of `C`.
///
/// ```
/// use heapwright::cache::{Classes, slot_layout};
/// let layout = slot_layout::<Classes>(5);
/// assert_eq!((layout.size(), layout.align()), (48, 16));
/// ```
///
/// # Panics
/// When there is no class `idx`.
#[must_use]
pub const fn slot_layout<C: SizeClasses>(idx: usize) -> Layout {
    let size = C::SIZES[idx];
    let align = 1 << size.trailing_zeros();
    let align = if align < C::ALIGN_MAX { align } else { C::ALIGN_MAX };
    // SAFETY: `align` is a power of two, by K1 or as a bit alone; `size` is a multiple of it, and far enough from `isize::MAX` (K1).
    unsafe { Layout::from_size_align_unchecked(size, align) }
}

/// What size classes are, as a part of a heap. All are types without parts, so they are told by their numbers.
pub(crate) fn describe_classes<C: SizeClasses>(tree: &mut Tree<'_>) -> fmt::Result {
    let (first, last) = (Bytes(C::SIZES[0]), Bytes(C::SIZE_MAX));
    tree.part(format_args!("{}, {} sizes from {first} to {last}", name::<C>(), C::COUNT), Cost::NONE, &[])
}

/// Makes a [`SizeClasses::Array`] element by element, also in a constant.
///
/// What was pushed and not finished is leaked.
///
/// ```
/// use core::cell::Cell;
/// use heapwright::cache::{Classes, ClassArray, SizeClasses};
///
/// struct ClassTotals<C: SizeClasses> {
///     bytes: C::Array<Cell<usize>>,
/// }
///
/// impl<C: SizeClasses> ClassTotals<C> {
///     const fn new() -> Self {
///         let mut bytes = ClassArray::<C, _>::new();
///         while bytes.len() < C::COUNT {
///             bytes.push(Cell::new(C::SIZES[bytes.len()]));
///         }
///         ClassTotals { bytes: bytes.finish() }
///     }
/// }
///
/// const NEW: ClassTotals<Classes> = ClassTotals::new();
/// assert_eq!(NEW.bytes[8], Cell::new(80));
/// ```
pub struct ClassArray<C: SizeClasses, T> {
    /// The first `len` elements are initialised. By K4 this is `[T; COUNT]`.
    array: MaybeUninit<C::Array<T>>,
    /// At most `COUNT`.
    len: usize,
}

impl<C: SizeClasses, T> ClassArray<C, T> {
    /// An array without elements so far.
    #[must_use]
    pub const fn new() -> Self {
        ClassArray { array: MaybeUninit::uninit(), len: 0 }
    }

    /// How many elements there are so far: the index of the class that comes next.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is asked for the next index, and for nothing else")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Adds the element of the next class.
    ///
    /// # Panics
    /// When every class has its element.
    pub const fn push(&mut self, value: T) {
        assert!(self.len < C::COUNT, "there is one element per class: stop when `len` is `COUNT`");
        let first = self.array.as_mut_ptr().cast::<T>();
        // SAFETY: the array is `[T; COUNT]` (K4), and `len` is less than `COUNT`.
        let place = unsafe { first.add(self.len) };
        // SAFETY: the place is in the array, aligned and free.
        unsafe { place.write(value) };
        self.len += 1;
    }

    /// The array.
    ///
    /// # Panics
    /// When a class has no element.
    #[must_use]
    pub const fn finish(self) -> C::Array<T> {
        assert!(self.len == C::COUNT, "every class needs an element: push until `len` is `COUNT`");
        // SAFETY: all `COUNT` elements are initialised, and the array has no others (K4).
        unsafe { self.array.assume_init() }
    }
}

impl<C: SizeClasses, T> Default for ClassArray<C, T> {
    fn default() -> Self {
        ClassArray::new()
    }
}

impl<C: SizeClasses, T> fmt::Debug for ClassArray<C, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClassArray").field("len", &self.len).field("count", &C::COUNT).finish_non_exhaustive()
    }
}

/// The tables behind [`size_classes!`](crate::size_classes), which alone uses it.
///
/// What is looked up is `last`, the offset of the last byte of the request when it is as long as its alignment asks for. So
/// `last + 1` is a multiple of the alignment, and no size counts as zero:
///
/// ```text
///  last   0     8     16          1016   1024       1152            1920       2048
///         ├─────┼─────┼──  ...  ──┼──────┼──────────┼───    ...    ──┼──────────┼──
///         │ [0] │ [1] │  small    │ [127]│ [0]      │     large     │ [7]      │ [8]   ..
///           8 bytes each                   an eighth of a doubling each
/// ```
///
/// `SMALL` and `LARGE` are the lengths of the two tables, one byte per entry. `NEXT` is zero if a class that is large enough for `last`
/// always has the alignment too, as it is where the sizes go up to every power of two in equal steps.
#[doc(hidden)]
#[derive(Debug)]
pub struct ClassLookup<const SMALL: usize, const LARGE: usize, const NEXT: usize> {
    /// The class of each granule up to `SMALL_MAX`, or up to the largest size.
    small: [u8; SMALL],
    /// The class of the first byte of each part above.
    large: [u8; LARGE],
    /// For each class the next one that has a greater alignment; `NEXT` if there is none.
    next: [u8; NEXT],
    /// How many classes further than its first byte's the last byte of a part may be.
    further_max: u8,
}

impl<const SMALL: usize, const LARGE: usize, const NEXT: usize> ClassLookup<SMALL, LARGE, NEXT> {
    /// The tables for `sizes`; the lengths are those that [`class_rules`] says.
    #[must_use]
    pub const fn new(sizes: &[usize]) -> Self {
        let mut tables =
            ClassLookup { small: [0; SMALL], large: [0; LARGE], next: [0; NEXT], further_max: 0 };
        let mut idx = 0;
        while idx < SMALL {
            tables.small[idx] = class_of(sizes, idx * GRANULE) as u8;
            idx += 1;
        }
        idx = 0;
        while idx < LARGE {
            let first = class_of(sizes, part_start(idx));
            let further = class_of(sizes, part_start(idx + 1) - 1) - first;
            tables.large[idx] = first as u8;
            if further > tables.further_max as usize {
                tables.further_max = further as u8;
            }
            idx += 1;
        }
        idx = 0;
        while idx < NEXT {
            let mut next = idx + 1;
            while next < NEXT && sizes[next].trailing_zeros() <= sizes[idx].trailing_zeros() {
                next += 1;
            }
            tables.next[idx] = next as u8;
            idx += 1;
        }
        tables
    }

    /// The class of `layout` among `sizes`, those of which the tables were made.
    ///
    /// The tables always have what is looked up: `get` is there so that no machine code for a panic is.
    #[inline]
    #[must_use]
    pub fn index(&self, sizes: &[usize], layout: Layout) -> Option<usize> {
        // Size zero becomes the greatest number, for which there is no class.
        let last = layout.size().wrapping_sub(1) | (layout.align() - 1);
        let mut class = if last < SMALL * GRANULE {
            usize::from(self.small[last / GRANULE])
        } else if LARGE > 0 && last < sizes[sizes.len() - 1] && layout.align() <= ALIGN_MAX {
            let mut class = usize::from(*self.large.get(part(last))?);
            for _ in 0..self.further_max {
                class += usize::from(*sizes.get(class)? <= last);
            }
            class
        } else {
            return None;
        };
        // At most as many rounds as there are alignments.
        while NEXT > 0 && *sizes.get(class)? & (layout.align() - 1) != 0 {
            class = usize::from(*self.next.get(class)?);
        }
        Some(class)
    }
}

/// The first class whose slots have a byte at the offset `last`; the last class if there is none.
const fn class_of(sizes: &[usize], last: usize) -> usize {
    let mut class = 0;
    while class + 1 < sizes.len() && sizes[class] <= last {
        class += 1;
    }
    class
}

/// Which part of which doubling above `SMALL_MAX` `last` lies in.
#[inline]
const fn part(last: usize) -> usize {
    let shift = last.ilog2() - PARTS_LOG;
    // The highest bit and the next ones: 8 to 15. Both terms rise by 8 from one doubling to the next.
    let within = last >> shift;
    let first = ((SMALL_LOG - PARTS_LOG) << PARTS_LOG) + (1 << PARTS_LOG);
    ((shift << PARTS_LOG) as usize + within) - first as usize
}

/// The least `last` of a part.
const fn part_start(part: usize) -> usize {
    let doubling = SMALL_MAX << (part >> PARTS_LOG);
    doubling + (part & ((1 << PARTS_LOG) - 1)) * (doubling >> PARTS_LOG)
}

/// What [`size_classes!`](crate::size_classes) computes and checks at compile time, and what alone uses it.
#[doc(hidden)]
pub mod class_rules {
    use super::{ALIGN_MAX, GRANULE, SMALL_MAX, part};

    /// What the classes are, as a part of a heap.
    pub fn describe<C: super::SizeClasses>(tree: &mut crate::describe::Tree<'_>) -> core::fmt::Result {
        super::describe_classes::<C>(tree)
    }

    /// The largest size in bytes that a layout can have, whatever its alignment.
    const SIZE_LIMIT: usize = isize::MAX as usize - ALIGN_MAX;

    /// Length of the table for small sizes.
    #[must_use]
    pub const fn small_len(sizes: &[usize]) -> usize {
        let size_max = size_max(sizes);
        (if size_max < SMALL_MAX { size_max } else { SMALL_MAX }) / GRANULE
    }

    /// Length of the table for large sizes.
    #[must_use]
    pub const fn large_len(sizes: &[usize]) -> usize {
        let size_max = size_max(sizes);
        if size_max <= SMALL_MAX { 0 } else { part(size_max - 1) + 1 }
    }

    /// Length of the table that leads to greater alignments: zero if nobody needs it.
    #[must_use]
    pub const fn next_len(sizes: &[usize]) -> usize {
        let mut idx = 0;
        let mut below = 0;
        while idx < sizes.len() {
            let mut align = 2 * GRANULE;
            while align <= ALIGN_MAX {
                // Whoever asks for this many bytes gets this class.
                let asked = sizes[idx] & !(align - 1);
                if asked > below && asked != sizes[idx] {
                    return sizes.len();
                }
                align *= 2;
            }
            below = sizes[idx];
            idx += 1;
        }
        0
    }

    const fn size_max(sizes: &[usize]) -> usize {
        match sizes {
            [.., last] => *last,
            [] => 0,
        }
    }

    /// How many sizes the rule `first..=last, steps per doubling` gives.
    #[must_use]
    pub const fn doubling_count(range: &core::ops::RangeInclusive<usize>, steps: usize) -> usize {
        assert!(
            steps.is_power_of_two(),
            "size classes: the number of classes per doubling must be a power of two: 1, 2, 4, 8, ..."
        );
        let (first, last) = (*range.start(), *range.end());
        assert!(
            first > 0 && first % GRANULE == 0 && first % step_after(first, steps) == 0 && last >= first,
            "size classes: the range must begin with a size that the rule gives; take a power of two from 8 on, and a larger one as its end"
        );
        assert!(
            last <= SIZE_LIMIT,
            "size classes: the range goes up to more than any block can have; end it lower"
        );
        let mut count = 1;
        let mut size = first;
        while size < last {
            size += step_after(size, steps);
            count += 1;
        }
        assert!(
            size == last,
            "size classes: the range must end with a size that the rule gives; take a power of two"
        );
        count
    }

    /// The sizes of the rule `first..=last, steps per doubling`, of which there are `COUNT`.
    #[must_use]
    pub const fn doubling_sizes<const COUNT: usize>(
        range: &core::ops::RangeInclusive<usize>,
        steps: usize,
    ) -> [usize; COUNT] {
        let mut sizes = [*range.start(); COUNT];
        let mut idx = 1;
        while idx < COUNT {
            sizes[idx] = sizes[idx - 1] + step_after(sizes[idx - 1], steps);
            idx += 1;
        }
        sizes
    }

    /// From one size to the next: the doubling that it begins or is in is divided into equal steps, of no less than a granule.
    const fn step_after(size: usize, steps: usize) -> usize {
        let step = (1 << size.ilog2()) / steps;
        if step > GRANULE { step } else { GRANULE }
    }

    /// Checks K1, and that no request from the first size on wastes more than `part` in `whole` of its slot.
    pub const fn check(sizes: &[usize], part: usize, whole: usize) {
        assert!(!sizes.is_empty(), "size classes: the list is empty; name at least one size");
        assert!(
            sizes.len() <= 255,
            "size classes: there are more than 255, and an index must fit a byte; take larger steps or a smaller maximum"
        );
        let mut idx = 0;
        while idx < sizes.len() {
            let size = sizes[idx];
            if size == 0 || size % GRANULE != 0 {
                Message::new("")
                    .number(size)
                    .text(" is no size: round it up to a multiple of 8 bytes, and not zero")
                    .fail();
            }
            if size > SIZE_LIMIT {
                Message::new("")
                    .number(size)
                    .text(" bytes are more than any block can have; leave them out")
                    .fail();
            }
            if idx > 0 && size <= sizes[idx - 1] {
                Message::new("")
                    .number(size)
                    .text(" comes after ")
                    .number(sizes[idx - 1])
                    .text(", but sizes must rise; sort them, and leave duplicates out")
                    .fail();
            }
            idx += 1;
        }
        let (request, slot) = most_wasteful(sizes);
        let wasted = (slot - request) as u128;
        if wasted * whole as u128 > slot as u128 * part as u128 {
            Message::new("a request of ")
                .number(request)
                .text(" bytes gets a slot of ")
                .number(slot)
                .text(", which wastes more than is allowed (12.5 %, if nothing is said); put a size between them, or say `= [..], waste ")
                .number((wasted * 100).div_ceil(slot as u128) as usize)
                .text(" %;`")
                .fail();
        }
    }

    /// The request that wastes the greatest part of its slot, and the slot; from the first size on, in steps of a granule.
    const fn most_wasteful(sizes: &[usize]) -> (usize, usize) {
        let (mut request, mut slot) = (sizes[0], sizes[0]);
        let mut idx = 1;
        while idx < sizes.len() {
            let shortest = sizes[idx - 1] + GRANULE;
            // Less of its slot is used.
            if (shortest as u128) * (slot as u128) < (request as u128) * (sizes[idx] as u128) {
                (request, slot) = (shortest, sizes[idx]);
            }
            idx += 1;
        }
        (request, slot)
    }

    /// What the compiler says of a wrong list, with the numbers in it.
    struct Message {
        text: [u8; 256],
        len: usize,
    }

    impl Message {
        const fn new(text: &str) -> Self {
            Message { text: [0; 256], len: 0 }.text("size classes: ").text(text)
        }

        const fn text(mut self, text: &str) -> Self {
            let mut idx = 0;
            while idx < text.len() {
                self.text[self.len] = text.as_bytes()[idx];
                self.len += 1;
                idx += 1;
            }
            self
        }

        const fn number(mut self, number: usize) -> Self {
            if number >= 10 {
                self = self.number(number / 10);
            }
            self.text[self.len] = b'0' + (number % 10) as u8;
            self.len += 1;
            self
        }

        const fn fail(&self) -> ! {
            match core::str::from_utf8(self.text.split_at(self.len).0) {
                Ok(text) => panic!("{}", text),
                Err(_) => panic!("size classes: a size is wrong"),
            }
        }
    }
}

/// Declares a type that is a list of [size classes](crate::cache::SizeClasses), all checked at compile time.
///
/// Three forms:
/// - `struct Name = [8, 16, 32];` a list.
/// - `struct Name = SIZES;` a constant of the type `[usize; N]`, or any constant expression.
/// - `struct Name = 8..=32768, 8 per doubling;` a rule: every doubling of the size is divided into so many equal steps (a power of two)
///   of at least 8 bytes, so that a request wastes less than 1/8 of its slot. Both ends must be sizes that the rule gives; powers of two are.
///
/// The first two take a bound on waste: no request from the smallest class on, in steps of 8 bytes, may waste more of its slot than
/// 12.5 %, or than `, waste 25 %` says.
///
/// A look-up is a branch and one byte of a table: by granules of 8 bytes up to 1 KiB, by eighths of a doubling above. The tables take 1 byte of
/// constants per 8 bytes of the largest size, but no more than 128, and 8 bytes for every doubling above 1 KiB. Irregular lists cost more:
/// - a comparison for each further class that begins within an eighth of a doubling above 1 KiB;
/// - 1 byte of constants per class, and a comparison, if a class that is large enough may be too little aligned: in `[24, 40, 64]` that is 40
///   for a request of 32 bytes aligned to 32, which gets 64.
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::cache::SizeClasses;
///
/// heapwright::size_classes! {
///     /// What the network stack needs.
///     pub struct Packets = [64, 128, 576, 1536], waste 80 %;
/// }
/// heapwright::size_classes! {
///     pub struct Fine = 16..=512, 4 per doubling;
/// }
/// const WORDS: [usize; 4] = [8, 16, 24, 32];
/// heapwright::size_classes! {
///     struct Words = WORDS;
/// }
/// assert_eq!(Packets::index(Layout::new::<[u8; 600]>()), Some(3));
/// assert_eq!(Fine::SIZES, [16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512]);
/// assert_eq!(Words::SIZE_MAX, 32);
/// ```
///
/// What does not compile:
/// ```compile_fail,E0080
/// heapwright::size_classes! { struct Nothing = []; } // an empty list
/// ```
/// ```compile_fail,E0080
/// heapwright::size_classes! { struct Falling = [8, 24, 16]; } // sizes that don't rise
/// ```
/// ```compile_fail,E0080
/// heapwright::size_classes! { struct Twice = [8, 16, 16]; } // a size twice
/// ```
/// ```compile_fail,E0080
/// heapwright::size_classes! { struct Odd = [8, 12, 16]; } // a size that is no multiple of 8
/// ```
/// ```compile_fail,E0080
/// heapwright::size_classes! { struct Zero = [0, 8, 16]; } // a class of nothing
/// ```
/// ```compile_fail,E0080
/// heapwright::size_classes! { struct Wasteful = [8, 16, 32, 64]; } // 40 bytes waste 37.5 % of 64: say `waste 38 %`
/// ```
/// ```compile_fail,E0080
/// heapwright::size_classes! { struct StillWasteful = [8, 16, 32, 64], waste 25 %; } // as above
/// ```
/// ```compile_fail,E0080
/// heapwright::size_classes! { struct Many = 8..=1048576, 32 per doubling; } // more than 255
/// ```
/// ```compile_fail,E0080
/// heapwright::size_classes! { struct Thirds = 8..=1024, 3 per doubling; } // not a power of two
/// ```
/// ```compile_fail,E0080
/// heapwright::size_classes! { struct Ragged = 8..=1000, 8 per doubling; } // ends between 960 and 1024
/// ```
/// ```compile_fail,E0080
/// heapwright::size_classes! { struct Skewed = 24..=1024, 1 per doubling; } // begins between 16 and 32
/// ```
#[macro_export]
macro_rules! size_classes {
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident = $range:expr, $steps:literal per doubling;) => {
        $crate::size_classes! {
            @declare [$(#[$attribute])* $visibility] $name = {
                $crate::cache::class_rules::doubling_sizes::<
                    { $crate::cache::class_rules::doubling_count(&$range, $steps) },
                >(&$range, $steps)
            }, 1 in $steps
        }
    };
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident = $sizes:expr, waste $percent:literal %;) => {
        $crate::size_classes! { @declare [$(#[$attribute])* $visibility] $name = $sizes, $percent in 100 }
    };
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident = $sizes:expr;) => {
        $crate::size_classes! { @declare [$(#[$attribute])* $visibility] $name = $sizes, 1 in 8 }
    };
    // All constants are associated ones, so that none hides what the user's expression names.
    (@declare [$($head:tt)*] $name:ident = $sizes:expr, $part:literal in $whole:literal) => {
        #[derive(Debug)]
        $($head)* struct $name;

        const _: () =
            $crate::cache::class_rules::check(<$name as $crate::cache::SizeClasses>::SIZES, $part, $whole);

        // SAFETY: K1: checked in the line above. K2, K3: the tables give the smallest class that fits, and they are made of the same sizes.
        // A class is the smallest that its own size fits, and where no class fits, none fits more. K4: as one sees. K5: the tables are as long as those sizes need.
        unsafe impl $crate::cache::SizeClasses for $name {
            const SIZES: &'static [usize] = &$sizes;

            type Array<T> = [T; <$name as $crate::cache::SizeClasses>::SIZES.len()];

            #[inline]
            fn index(layout: ::core::alloc::Layout) -> ::core::option::Option<usize> {
                use $crate::cache::{ClassLookup, SizeClasses, class_rules};
                // A constant and not a static: its contents are known in every crate, and a constant layout's class with them.
                const {
                    &ClassLookup::<
                        { class_rules::small_len(<$name as SizeClasses>::SIZES) },
                        { class_rules::large_len(<$name as SizeClasses>::SIZES) },
                        { class_rules::next_len(<$name as SizeClasses>::SIZES) },
                    >::new(<$name as SizeClasses>::SIZES)
                }
                .index(<$name as SizeClasses>::SIZES, layout)
            }

            #[inline]
            fn array<T>(value: impl ::core::ops::FnMut(usize) -> T) -> Self::Array<T> {
                ::core::array::from_fn(value)
            }
        }

        impl $crate::describe::Describe for $name {
            fn describe(tree: &mut $crate::describe::Tree<'_>) -> ::core::fmt::Result {
                $crate::cache::class_rules::describe::<$name>(tree)
            }
        }
    };
}

size_classes! {
    /// Size classes for heaps of any use: 76 classes from 8 bytes to 32 KiB, and at most 12.5 % of a slot is wasted.
    ///
    /// Steps of 8 bytes up to 64, of 16 bytes up to 128, then 8 classes per doubling. A coarser list of your own has fewer slabs that are
    /// only begun, which counts where the whole heap is small; a finer one wastes less within slots.
    ///
    /// The tables of the look-up take 168 bytes of constants.
    ///
    /// ```
    /// use heapwright::cache::{Classes, SizeClasses, slot_layout};
    /// let mut table = String::from("class  size  align\n");
    /// for class in [0, 1, 2, 7, 8, 11, 12, 20, 75] {
    ///     let slot = slot_layout::<Classes>(class);
    ///     table += &format!("{class:5} {:5} {:6}\n", slot.size(), slot.align());
    /// }
    /// assert_eq!(table, "\
    /// class  size  align
    ///     0     8      8
    ///     1    16     16
    ///     2    24      8
    ///     7    64     64
    ///     8    80     16
    ///    11   128    128
    ///    12   144     16
    ///    20   288     32
    ///    75 32768   4096
    /// ");
    /// assert_eq!(Classes::COUNT, 76);
    /// ```
    pub struct Classes = [
        8, 16, 24, 32, 40, 48, 56, 64, //
        80, 96, 112, 128, //
        144, 160, 176, 192, 208, 224, 240, 256, //
        288, 320, 352, 384, 416, 448, 480, 512, //
        576, 640, 704, 768, 832, 896, 960, 1024, //
        1152, 1280, 1408, 1536, 1664, 1792, 1920, 2048, //
        2304, 2560, 2816, 3072, 3328, 3584, 3840, 4096, //
        4608, 5120, 5632, 6144, 6656, 7168, 7680, 8192, //
        9216, 10240, 11264, 12288, 13312, 14336, 15360, 16384, //
        18432, 20480, 22528, 24576, 26624, 28672, 30720, 32768,
    ];
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use core::cell::Cell;
    use core::{array, iter};
    use quickcheck::quickcheck;
    use static_assertions::{assert_eq_size, assert_impl_all, assert_not_impl_any};
    use std::vec::Vec;

    /// The smallest class that fits, found one by one.
    fn model(sizes: &[usize], size: usize, align: usize) -> Option<usize> {
        sizes.iter().position(|&slot| size > 0 && slot >= size && slot % align == 0 && align <= ALIGN_MAX)
    }

    fn aligns() -> impl Iterator<Item = usize> {
        (0..16).map(|log| 1 << log)
    }

    /// Every size from none to past the last, at every alignment.
    fn check_all<C: SizeClasses>() {
        let step = if cfg!(miri) { 61 } else { 1 };
        for size in (0..C::SIZE_MAX + 3 * C::SIZES[0]).step_by(step).chain([isize::MAX as usize - 65535]) {
            for align in aligns() {
                let layout = Layout::from_size_align(size, align).unwrap();
                let class = C::index(layout);
                assert_eq!(class, model(C::SIZES, size, align), "{layout:?}");
                if let Some(class) = class {
                    let slot = slot_layout::<C>(class);
                    assert!(slot.size() >= size && slot.align() >= align, "{layout:?} in {slot:?}");
                }
            }
        }
    }

    /// The greatest part of a slot that a request wastes, in steps of a granule from the first size on.
    fn waste<C: SizeClasses>() -> f64 {
        let requests = (C::SIZES[0]..=C::SIZE_MAX).step_by(GRANULE);
        let wasted = requests.map(|size| {
            let slot = C::SIZES[C::index(Layout::from_size_align(size, 1).unwrap()).unwrap()];
            (slot - size) as f64 / slot as f64
        });
        wasted.fold(0.0, f64::max)
    }

    size_classes! { struct Rule = 8..=32768, 8 per doubling; }
    size_classes! { struct Fine = 8..=16384, 16 per doubling; }
    size_classes! { struct Powers = 8..=4096, 1 per doubling; }
    size_classes! { struct Late = 192..=2048, 2 per doubling; }
    size_classes! { struct One = [24]; }
    size_classes! { struct Large = [40000, 40008, 40016, 40960], waste 13 %; }
    size_classes! { struct Crooked = [8, 24, 40, 72, 136, 144, 1000, 1032, 1040, 1048, 1064, 4104, 8200, 12288], waste 90 %; }
    size_classes! { struct Dense = dense::<255>(); }

    const fn dense<const COUNT: usize>() -> [usize; COUNT] {
        let mut sizes = [GRANULE; COUNT];
        let mut idx = 1;
        while idx < COUNT {
            sizes[idx] = sizes[idx - 1] + GRANULE;
            idx += 1;
        }
        sizes
    }

    #[test]
    fn every_request_gets_the_smallest_class_that_fits() {
        check_all::<Classes>();
        check_all::<Rule>();
        check_all::<Fine>();
        check_all::<Powers>();
        check_all::<Late>();
        check_all::<One>();
        check_all::<Large>();
        check_all::<Crooked>();
        check_all::<Dense>();
    }

    #[test]
    fn waste_is_bounded() {
        assert!(waste::<Classes>() <= 0.125);
        assert!(waste::<Rule>() <= 0.125);
        assert!(waste::<Fine>() <= 1.0 / 16.0);
        assert!(waste::<Late>() <= 0.5);
        assert!(waste::<Powers>() <= 1.0);
    }

    #[test]
    fn wrong_lists_are_refused_with_a_remedy() {
        let refuse = |sizes: &'static [usize], part, whole| {
            let checked = std::panic::catch_unwind(|| class_rules::check(sizes, part, whole));
            *checked.unwrap_err().downcast::<std::string::String>().unwrap()
        };
        assert!(refuse(&[8, 12], 1, 8).starts_with("size classes: 12 is no size: round it up"));
        assert!(refuse(&[0, 8], 1, 8).starts_with("size classes: 0 is no size"));
        assert!(
            refuse(&[8, 24, 16], 1, 1).starts_with("size classes: 16 comes after 24, but sizes must rise")
        );
        assert!(refuse(&[8, 16, 16], 1, 1).starts_with("size classes: 16 comes after 16"));
        assert!(
            refuse(&[8, isize::MAX as usize - 7], 1, 1).contains("bytes are more than any block can have")
        );
        let wasteful = &[8, 16, 24, 32, 64, 104];
        let message = refuse(wasteful, 1, 8);
        assert!(message.starts_with("size classes: a request of 40 bytes gets a slot of 64"), "{message}");
        assert!(message.ends_with("say `= [..], waste 38 %;`"), "{message}");
        assert_eq!(refuse(wasteful, 37, 100), message);
        class_rules::check(wasteful, 38, 100);
        // 12.5 % itself is allowed.
        class_rules::check(&[48, 64], 1, 8);
    }

    #[test]
    fn rules_give_the_sizes_that_they_promise() {
        assert_eq!(Powers::SIZES, [8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]);
        assert_eq!(Late::SIZES, [192, 256, 384, 512, 768, 1024, 1536, 2048]);
        assert_eq!(Rule::COUNT, 80);
        // The default is the rule, but for the doubling up to 128.
        let rule = Rule::SIZES.iter().filter(|&&size| size <= 64 || size >= 128 || size % 16 == 0);
        assert!(rule.eq(Classes::SIZES));
    }

    #[test]
    fn regular_lists_have_small_tables() {
        use class_rules::{large_len, next_len, small_len};
        let lens = |sizes| (small_len(sizes), large_len(sizes), next_len(sizes));
        assert_eq!(lens(Classes::SIZES), (128, 40, 0));
        assert_eq!(lens(Rule::SIZES), (128, 40, 0));
        assert_eq!(lens(One::SIZES), (3, 0, 1));
        assert_eq!(ClassLookup::<128, 40, 0>::new(Classes::SIZES).further_max, 0);
        assert_eq!(ClassLookup::<128, 32, 0>::new(Fine::SIZES).further_max, 1);
    }

    #[test]
    fn arrays_have_one_element_per_class() {
        assert_eq_size!(<Classes as SizeClasses>::Array<u64>, [u64; 76]);
        #[cfg(target_pointer_width = "64")]
        assert_eq_size!(ClassArray<Classes, u64>, [u64; 77]);
        assert_impl_all!(Classes: Send, Sync);
        assert_impl_all!(ClassArray<Classes, Cell<u8>>: Send);
        assert_not_impl_any!(ClassArray<Classes, Cell<u8>>: Sync);
        const SLOTS: [Layout; Classes::COUNT] = {
            let mut slots = ClassArray::<Classes, Layout>::new();
            while slots.len() < Classes::COUNT {
                slots.push(slot_layout::<Classes>(slots.len()));
            }
            slots.finish()
        };
        assert_eq!(SLOTS, Classes::array(slot_layout::<Classes>));
        assert!(SLOTS.iter().map(Layout::size).eq(Classes::SIZES.iter().copied()));
    }

    #[test]
    #[should_panic(expected = "push until")]
    fn an_array_is_not_finished_early() {
        let _ = ClassArray::<One, u8>::new().finish();
    }

    #[test]
    #[should_panic(expected = "stop when")]
    fn an_array_takes_no_more_than_its_classes() {
        let mut array = ClassArray::<One, u8>::new();
        array.push(1);
        array.push(2);
    }

    /// A list of `COUNT` sizes up to `size_max`, the distances between them as `steps` say.
    fn list<const COUNT: usize>(steps: &[u16], size_max: usize) -> [usize; COUNT] {
        let mut size = 0;
        let mut steps = steps.iter().chain(iter::repeat(&0));
        array::from_fn(|idx| {
            // Short steps, and now and then a long one, but no further than leaves a granule for each class to come.
            let step = steps.next().map_or(0, |&step| usize::from(step) >> (step & 15)) * GRANULE;
            let last = size_max - (COUNT - 1 - idx) * GRANULE;
            size = if idx + 1 == COUNT { size_max } else { last.min(size + GRANULE + step) };
            size
        })
    }

    /// Whether tables of these lengths give every request what the model gives it.
    fn fits_model<const COUNT: usize, const SMALL: usize, const LARGE: usize>(
        sizes: &[usize; COUNT],
        requests: &[(u16, u8)],
    ) -> bool {
        class_rules::check(sizes, 1, 1);
        assert_eq!((class_rules::small_len(sizes), class_rules::large_len(sizes)), (SMALL, LARGE));
        let climbing = ClassLookup::<SMALL, LARGE, COUNT>::new(sizes);
        let straight = ClassLookup::<SMALL, LARGE, 0>::new(sizes);
        let closed = class_rules::next_len(sizes) == 0;
        let near = sizes.iter().flat_map(|&size| [(size - 1, 0), (size, 3), (size + 1, 4)]);
        let requests = requests.iter().map(|&(size, align)| (usize::from(size), align)).chain(near);
        requests.into_iter().all(|(size, align)| {
            let layout = Layout::from_size_align(size, 1 << (align % 14)).unwrap();
            let class = model(sizes, size, layout.align());
            climbing.index(sizes, layout) == class && (!closed || straight.index(sizes, layout) == class)
        })
    }

    quickcheck! {
        fn any_list_is_looked_up_as_the_model_does(steps: Vec<u16>, requests: Vec<(u16, u8)>) -> bool {
            fits_model::<40, 128, 48>(&list(&steps, 65536), &requests)
                && fits_model::<7, 128, 48>(&list(&steps, 65536), &requests)
                && fits_model::<90, 128, 18>(&list(&steps, 5000), &requests)
                && fits_model::<12, 65, 0>(&list(&steps, 520), &requests)
        }
    }

    #[test]
    fn rules_are_followed_and_wrong_ones_are_refused() {
        use class_rules::{doubling_count, doubling_sizes};
        use core::hint::black_box;
        assert_eq!(doubling_count(&black_box(8..=4096), black_box(1)), 10);
        assert_eq!(doubling_count(&black_box(8..=32768), black_box(8)), 80);
        assert_eq!(doubling_count(&black_box(64..=64), black_box(2)), 1);
        assert_eq!(doubling_sizes::<6>(&black_box(8..=64), black_box(2)), [8, 16, 24, 32, 48, 64]);
        let refused = |range: core::ops::RangeInclusive<usize>, steps| {
            let counted = std::panic::catch_unwind(|| doubling_count(&black_box(range), black_box(steps)));
            *counted.unwrap_err().downcast::<&str>().unwrap()
        };
        assert!(refused(8..=64, 3).contains("must be a power of two: 1, 2, 4, 8"));
        for (first, last, steps) in [(0, 64, 1), (12, 64, 1), (72, 256, 1), (64, 32, 1)] {
            let message = refused(first..=last, steps);
            assert!(message.contains("must begin with a size that the rule gives"), "{first}: {message}");
        }
        assert!(refused(8..=72, 1).contains("must end with a size that the rule gives"));
        assert!(refused(8..=usize::MAX / 2 + 1, 1).contains("more than any block can have"));
    }
}
