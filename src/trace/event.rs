//! What happened, as a value.

use core::alloc::Layout;
use core::fmt;

use super::Block;

/// One thing that a traced heap did: what sinks keep that keep events.
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::trace::{Block, Event};
/// let block = Block { address: 0x1000, layout: Layout::new::<u64>(), len: 8 };
/// assert_eq!(Event::Freeing(block).to_string(), "free    0x1000 size 8 align 8");
/// assert_eq!(Event::Freeing(block).address(), Some(0x1000));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A block was handed out.
    Allocated(Block),
    /// A block is about to be given back.
    Freeing(Block),
    /// A block is about to be resized.
    Resizing {
        /// The block as it is.
        was: Block,
        /// What it is to be.
        new: Layout,
    },
    /// A block has been resized.
    Resized {
        /// Where it was.
        from: usize,
        /// What it is now.
        now: Block,
    },
    /// A block could not be resized, and is as it was.
    NotResized(Block),
    /// There was no room for a block of this layout.
    Refused(Layout),
}

impl Event {
    /// The address of the block, where there is one.
    #[must_use]
    pub const fn address(&self) -> Option<usize> {
        match self {
            Event::Allocated(block)
            | Event::Freeing(block)
            | Event::Resizing { was: block, .. }
            | Event::Resized { now: block, .. }
            | Event::NotResized(block) => Some(block.address),
            Event::Refused(_) => None,
        }
    }
}

/// One line, without its end: a word of up to 7 letters, and what it is about.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layout = |f: &mut fmt::Formatter<'_>, layout: &Layout| {
            write!(f, "size {} align {}", layout.size(), layout.align())
        };
        match self {
            Event::Allocated(block) => write!(f, "alloc   {block}"),
            Event::Freeing(block) => write!(f, "free    {block}"),
            Event::Resizing { was, new } => {
                write!(f, "resize  {was} to ")?;
                layout(f, new)
            }
            Event::Resized { from, now } => write!(f, "resized {now} from {from:#x}"),
            Event::NotResized(block) => write!(f, "stays   {block}"),
            Event::Refused(new) => {
                f.write_str("refused ")?;
                layout(f, new)
            }
        }
    }
}
