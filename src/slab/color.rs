//! Colors: objects of different slabs at different cache lines.

use core::fmt;

use crate::describe::{Bytes, Cost, Tree, describe_by, name};

/// Where the objects of a slab begin: all slabs alike, or a cache line further from slab to slab.
///
/// Objects a large power of two apart share few cache sets, and drive each other out of the cache while most of it is unused. A slab's
/// color shifts its objects by a number of cache lines that depends on the slab's address, which spreads them over all sets. (Bonwick
/// 1994; his colors use up slack, these may take the room of one object where 1/8 of waste is not exceeded.)
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a heapwright coloring",
    label = "this type parameter takes `ByStride`, `Colored` or `NoColor`"
)]
pub trait Coloring {
    /// Objects get colors if they are a multiple of this many bytes apart; 0: never.
    const STRIDE: usize;
}

/// Colors where they pay: for objects a multiple of 512 bytes apart. The default.
///
/// Objects of other sizes meet all sets by themselves. The bench `cache`, section `stride`, has the measurement.
///
/// ```
/// use heapwright::cache::SlabCache;
/// use heapwright::slab::{AlignedSlabs, Bitmap, ByStride, NoColor, SlabSystem, Shape};
/// use heapwright::source::StaticBuffer;
/// use std::alloc::Layout;
/// type Slabs<C> = AlignedSlabs<&'static StaticBuffer<4096>, 65536, Bitmap, C>;
/// let colors = |layout| Shape::new(&Slabs::<ByStride>::RULES, layout, false).map(|shape| shape.colors());
/// assert_eq!(colors(Layout::new::<[u8; 512]>()), Ok(8));
/// assert_eq!(colors(Layout::new::<[u8; 576]>()), Ok(1));
/// let none = Shape::new(&Slabs::<NoColor>::RULES, Layout::new::<[u8; 512]>(), false)?;
/// assert_eq!(none.colors(), 1);
/// # Ok::<(), heapwright::slab::ShapeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ByStride;

/// Colors for all objects of two cache lines or more.
#[derive(Clone, Copy, Debug, Default)]
pub struct Colored;

/// No colors: every slab holds as many objects as go in.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoColor;

impl Coloring for ByStride {
    const STRIDE: usize = 512;
}

impl Coloring for Colored {
    const STRIDE: usize = 1;
}

impl Coloring for NoColor {
    const STRIDE: usize = 0;
}

/// What a coloring is, as a part of a slab system. All are types without parts, so they are told by their number.
pub(super) fn describe_coloring<C: Coloring>(tree: &mut Tree<'_>) -> fmt::Result {
    let name = name::<C>();
    match C::STRIDE {
        0 => tree.part(format_args!("{name}"), Cost::NONE, &[]),
        1 => tree.part(format_args!("{name}, objects of two cache lines or more"), Cost::NONE, &[]),
        stride => {
            tree.part(format_args!("{name}, objects of a multiple of {}", Bytes(stride)), Cost::NONE, &[])
        }
    }
}

describe_by!(describe_coloring: [] ByStride, [] Colored, [] NoColor);
