//! Looking into a heap: how much, and where.

use core::fmt;

use super::{Heap, SharedHeap};

/// How full a heap is, in bytes and objects.
///
/// `total = used + free + tables`, where the tables are what the heap keeps for itself.
///
/// ```
/// use heapwright::heap::Usage;
/// let usage = Usage { total: 1024, used: 16, free: 976, objects: 1 };
/// assert_eq!(usage.tables(), 32);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that the heap manages: those it hands out and its own tables. Not memory that it can't reach.
    pub total: usize,
    /// Bytes in live objects, each rounded up to what it really takes.
    pub used: usize,
    /// Bytes that can still be handed out (in pieces; the largest piece may be smaller).
    pub free: usize,
    /// Live objects; zero-size ones do not count.
    pub objects: usize,
}

impl Usage {
    /// Bytes of the heap's own tables.
    #[must_use]
    pub const fn tables(&self) -> usize {
        self.total.saturating_sub(self.used).saturating_sub(self.free)
    }
}

/// What a stretch of a heap's region is.
///
/// ```
/// use core::mem::MaybeUninit;
/// use heapwright::{arena::Teaspoon4KiB, heap::ChunkKind};
/// let mut memory = [MaybeUninit::uninit(); 256];
/// let spoon = <Teaspoon4KiB<'_>>::from_slice(&mut memory);
/// let kinds: Vec<_> = spoon.chunks().map(|chunk| chunk.kind).collect();
/// assert_eq!(kinds, [ChunkKind::Table, ChunkKind::Free]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkKind {
    /// The heap's own tables.
    Table,
    /// Live objects: one, or (where objects have no mark of their own) several side by side.
    Used,
    /// Free memory: one free block, merged as far as it goes.
    Free,
}

/// A stretch of a heap's region that is all of one kind.
///
/// ```
/// use heapwright::heap::{Chunk, ChunkKind};
/// let chunk = Chunk { offset: 32, len: 40, kind: ChunkKind::Used };
/// assert_eq!(chunk.offset + chunk.len, 72, "where the next one begins");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Distance from the region's first byte, in bytes.
    pub offset: usize,
    /// Length in bytes, never zero.
    pub len: usize,
    /// What it is.
    pub kind: ChunkKind,
}

/// A heap over one region that can be looked into.
///
/// The shells have methods of the same names, under the lock. Here is a core without one:
///
/// ```
/// use core::mem::MaybeUninit;
/// use heapwright::arena::Arena;
/// use heapwright::heap::{Cursor, Inspect};
/// use heapwright::sizing::Sizing4KiB;
///
/// let mut memory = [MaybeUninit::uninit(); 256];
/// let mut arena = Arena::<Sizing4KiB>::from_slice(&mut memory);
/// let mut cursor = Cursor::default();
/// let mut bytes = 0;
/// while let Some(chunk) = arena.next_chunk(&mut cursor) {
///     bytes += chunk.len;
/// }
/// assert_eq!(bytes, arena.usage().total);
/// assert_eq!((arena.verify(), arena.misuses()), (Ok(()), 0));
/// ```
pub trait Inspect: Heap {
    /// How full it is. O(1).
    fn usage(&self) -> Usage;

    /// The chunk at the cursor, which is moved behind it; `None` at the end of the region.
    ///
    /// May merge free blocks that were kept apart for speed, hence `&mut`. O(chunk length / 32), or O(chunks) for the first
    /// step after the heap has changed.
    fn next_chunk(&mut self, cursor: &mut Cursor) -> Option<Chunk>;

    /// Checks all that the heap believes about itself.
    ///
    /// # Errors
    /// The first rule found broken.
    fn verify(&mut self) -> Result<(), Corruption>;

    /// How many misuses were found: wrong frees and resizes that were refused, and writes where none may be; 0 for a heap that does not check.
    fn misuses(&self) -> usize {
        0
    }
}

/// What [`Inspect::verify`] found broken, and where.
///
/// It means that something wrote to free memory, or freed what it should not have.
///
/// ```
/// use core::mem::MaybeUninit;
/// use heapwright::arena::Teaspoon4KiB;
/// let mut memory = [MaybeUninit::uninit(); 256];
/// let spoon = <Teaspoon4KiB<'_>>::from_slice(&mut memory);
/// assert_eq!(spoon.verify(), Ok(()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// The rule that does not hold.
    pub rule: &'static str,
    /// Where, in bytes from the first that can be handed out.
    pub offset: usize,
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "heap corrupted {} bytes into its data: {}", self.offset, self.rule)
    }
}

impl core::error::Error for Corruption {}

/// Where a walk over a heap's chunks stands. The default is the region's start.
///
/// Any code can make one: a heap takes it for a wish, and answers one that stands inside a chunk with the rest of that.
///
/// ```
/// use core::mem::MaybeUninit;
/// use heapwright::arena::Arena;
/// use heapwright::heap::{Cursor, Inspect};
/// use heapwright::sizing::Sizing4KiB;
///
/// let mut memory = [MaybeUninit::uninit(); 256];
/// let mut arena = Arena::<Sizing4KiB>::from_slice(&mut memory);
/// let mut cursor = Cursor { offset: 200, version: 0 };
/// let rest = arena.next_chunk(&mut cursor).map(|chunk| chunk.offset);
/// assert_eq!(rest, Some(200), "the rest of the free memory");
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    /// Distance from the region's first byte, in bytes.
    pub offset: usize,
    /// For the heap's own use, such as its version when the cursor came here.
    pub version: u32,
}

/// The chunks of a heap in address order.
///
/// Each step takes the heap's lock for itself: with other threads at work the walk is no snapshot, but every chunk
/// was true when it was given.
///
/// ```
/// use core::mem::MaybeUninit;
/// use heapwright::{arena::Teaspoon4KiB, heap::ChunkKind};
/// let mut memory = [MaybeUninit::uninit(); 256];
/// let spoon = <Teaspoon4KiB<'_>>::from_slice(&mut memory);
/// let largest = spoon.chunks().filter(|chunk| chunk.kind == ChunkKind::Free).map(|chunk| chunk.len).max();
/// assert_eq!(largest, Some(spoon.usage().free));
/// ```
#[derive(Debug)]
pub struct Chunks<'a, A> {
    heap: &'a A,
    cursor: Cursor,
}

impl<'a, A> Chunks<'a, A> {
    /// A walk from the region's start.
    pub(crate) const fn new(heap: &'a A) -> Self {
        Chunks { heap, cursor: Cursor { offset: 0, version: 0 } }
    }
}

impl<'a, A> Iterator for Chunks<'a, A>
where
    A: SharedHeap,
    A::Core<'a>: Inspect,
{
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        let (heap, cursor) = (self.heap, &mut self.cursor);
        // SAFETY: the closure neither moves the core nor calls anything but the core.
        unsafe { heap.enter(|core| core.next_chunk(cursor)) }.ok()?
    }
}
