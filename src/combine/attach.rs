//! What stands before or behind a block.

use core::alloc::Layout;

/// A value that an [`Affix`](super::Affix) puts before or behind each block.
///
/// Ready ones are `()`, which is nothing; the integers and `[T; N]`, which begin as zero; and [`Requested`], the size that was asked for.
///
/// # Write your own in three steps
/// 1. A type that is `Copy`.
/// 2. `unsafe impl Attach`.
/// 3. Hand it to an [`Affix`](super::Affix).
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::combine::{Affix, Attach};
/// use heapwright::heap::NoHeap;
///
/// // 1. a red zone
/// #[derive(Clone, Copy, Debug, PartialEq)]
/// struct Fence([u8; 16]);
///
/// // 2. SAFETY: nothing here unwinds or uses a heap.
/// unsafe impl Attach for Fence {
///     fn attach(_: Layout) -> Self {
///         Fence([0xFD; 16])
///     }
/// }
///
/// // 3. use it
/// let heap = Affix::<Fence, NoHeap, Fence>::new(NoHeap);
/// ```
///
/// # Safety
/// No method unwinds, or uses a heap.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't stand before or behind a block",
    label = "this type parameter takes `()`, an integer, `[T; N]`, `Requested`, or an `Attach` of your own",
    note = "implement `heapwright::combine::Attach` for a type that is `Copy`: see its docs"
)]
pub unsafe trait Attach: Copy {
    /// The value for a new block of this layout.
    fn attach(layout: Layout) -> Self;

    /// The block has been resized to this layout. What is not set here stays as it was.
    #[inline(always)]
    fn resized(&mut self, layout: Layout) {
        let _ = layout;
    }
}

macro_rules! zero {
    ($($type:ty)*) => {$(
        // SAFETY: nothing unwinds or uses a heap.
        unsafe impl Attach for $type {
            #[inline(always)]
            fn attach(_: Layout) -> Self {
                0
            }
        }
    )*};
}

zero! { u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize }

// SAFETY: nothing unwinds or uses a heap.
unsafe impl Attach for () {
    #[inline(always)]
    fn attach(_: Layout) -> Self {}
}

// SAFETY: the elements neither unwind nor use a heap.
unsafe impl<T: Attach, const N: usize> Attach for [T; N] {
    #[inline(always)]
    fn attach(layout: Layout) -> Self {
        [T::attach(layout); N]
    }

    #[inline(always)]
    fn resized(&mut self, layout: Layout) {
        for element in self {
            element.resized(layout);
        }
    }
}

/// The size in bytes that was asked for, when the block was made or last resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requested(pub usize);

// SAFETY: nothing unwinds or uses a heap.
unsafe impl Attach for Requested {
    #[inline(always)]
    fn attach(layout: Layout) -> Self {
        Requested(layout.size())
    }

    #[inline(always)]
    fn resized(&mut self, layout: Layout) {
        self.0 = layout.size();
    }
}
