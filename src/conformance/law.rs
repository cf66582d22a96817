//! What is checked, by name.

use core::fmt;

/// A duty of heaps, sources or allocators that the kit holds them to.
///
/// It prints as its name and its numbers in the contracts: `H1` to `H7` of [`Heap`](crate::heap::Heap), `S1` to `S4` of
/// [`SharedHeap`](crate::heap::SharedHeap), `B1` to `B6` of [`BackingSource`](crate::source::BackingSource), `V1` of
/// [`UsableSize`](crate::heap::UsableSize).
///
/// ```
/// use heapwright::conformance::Law;
/// assert_eq!(Law::Blocks.to_string(), "Blocks (H1, S4, B1)");
/// assert_eq!(Law::Blocks.text(), "a block has the layout's size and alignment, overlaps no live block, and stays untouched");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Law {
    /// A block has the layout's size and alignment, overlaps no live block, and stays untouched.
    Blocks,
    /// Every size from the requested to the returned one may come back with the block.
    SizesBack,
    /// Blocks survive moves of the heap.
    Outside,
    /// No method unwinds, whatever the layout.
    NoUnwinding,
    /// After an error nothing has changed.
    Whole,
    /// Nothing calls back into the heap, and a request that does is refused.
    NoWayBack,
    /// A request of size zero has its defined answer.
    SizeZero,
    /// Sizes from a request to its good size have that same good size.
    GoodSizes,
    /// A block that is to be zeroed is zero, its whole length.
    Zeroed,
    /// A resize keeps the bytes up to the smaller one of both sizes.
    Kept,
    /// A resize in place gives the same address.
    InPlace,
    /// A batch is filled from its front, and short only where there is no room for more.
    Batches,
    /// What memory is given back without need is said, and nothing live is harmed.
    Releases,
    /// `owns` is true for live blocks, and false for those of others.
    Owns,
    /// A heap that was reset is as when it was new.
    Reset,
    /// Usage and chunks are those of the live blocks, and the heap finds itself in order.
    Inspect,
    /// A usable size lies between what was asked for and what the block has.
    UsableSizes,
    /// A description is written, a line for each part.
    Describes,
    /// A source gets its own blocks back, each once, with its alignment and a size that it may come back with.
    SourceUse,
    /// The constants of a source are true.
    Promises,
    /// When all blocks are back and the heap is dropped, its source has all that it gave.
    NothingLost,
    /// Requests that must be met are met: a heap over a source that has enough can be made.
    Makes,
    /// A wrapper passes each request on as what it is.
    Forwards,
}

impl Law {
    /// The law in a sentence.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Law::Blocks => {
                "a block has the layout's size and alignment, overlaps no live block, and stays untouched"
            }
            Law::SizesBack => {
                "every size from the requested to the returned one may come back with the block"
            }
            Law::Outside => "blocks survive moves of the heap",
            Law::NoUnwinding => "no method unwinds, whatever the layout",
            Law::Whole => "after an error nothing has changed",
            Law::NoWayBack => "nothing calls back into the heap, and a request that does is refused",
            Law::SizeZero => "a request of size zero has its defined answer",
            Law::GoodSizes => "sizes from a request to its good size have that same good size",
            Law::Zeroed => "a block that is to be zeroed is zero, its whole length",
            Law::Kept => "a resize keeps the bytes up to the smaller one of both sizes",
            Law::InPlace => "a resize in place gives the same address",
            Law::Batches => {
                "a batch is filled from its front, and short only where there is no room for more"
            }
            Law::Releases => "what memory is given back without need is said, and nothing live is harmed",
            Law::Owns => "`owns` is true for live blocks, and false for those of others",
            Law::Reset => "a heap that was reset is as when it was new",
            Law::Inspect => {
                "usage and chunks are those of the live blocks, and the heap finds itself in order"
            }
            Law::UsableSizes => "a usable size lies between what was asked for and what the block has",
            Law::Describes => "a description is written, a line for each part",
            Law::SourceUse => {
                "a source gets its own blocks back, each once, with its alignment and a size that it may come back with"
            }
            Law::Promises => "the constants of a source are true",
            Law::NothingLost => {
                "when all blocks are back and the heap is dropped, its source has all that it gave"
            }
            Law::Makes => "a heap over a source that has enough can be made",
            Law::Forwards => "a wrapper passes each request on as what it is",
        }
    }

    /// Its numbers in the contracts, as far as it has any.
    #[must_use]
    pub const fn numbers(self) -> &'static str {
        match self {
            Law::Blocks => "H1, S4, B1",
            Law::SizesBack => "H1, B1",
            Law::Outside => "H2, S2, B1",
            Law::NoUnwinding => "H3, S3, B3",
            Law::Whole => "H4, S4, B4",
            Law::NoWayBack => "H5, S1, B5",
            Law::SizeZero => "H6",
            Law::GoodSizes => "H7, B6",
            Law::Promises => "B2",
            Law::UsableSizes => "V1",
            _ => "",
        }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")?;
        match self.numbers() {
            "" => Ok(()),
            numbers => write!(f, " ({numbers})"),
        }
    }
}
