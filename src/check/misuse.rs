//! What heaps that check find wrong, and what is done about it.

use core::alloc::Layout;
use core::fmt;

use super::finding::Finding;
use crate::describe::write_short;

/// A wrong use of a heap, found by a heap that checks.
///
/// ```
/// use heapwright::check::{Damage, Misuse, Wrong};
/// use std::alloc::Layout;
///
/// let misuse = Misuse::new(Wrong::WrittenBehind, 0x1000, Layout::new::<[u8; 24]>())
///     .with_damage(Damage { offset: 24, expected: 0xbb, found: 0 });
/// assert_eq!(
///     misuse.to_string(),
///     "written behind the block of 24 bytes, aligned to 1, at 0x1000: byte 24 is 0x00 and should be 0xbb"
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Misuse {
    /// What is wrong.
    pub wrong: Wrong,
    /// The address of the block, or of what was taken for one.
    pub address: usize,
    /// The layout that came with it.
    pub layout: Layout,
    /// The first byte that is not what it should be, where bytes were looked at.
    pub damage: Option<Damage>,
    /// What lies at the address, as far as the heap knows.
    pub owner: Option<Owner>,
}

/// What part of a heap an address belongs to.
///
/// ```
/// use heapwright::check::Owner;
/// let owner = Owner { heap: "SlabMalloc", object_size: 48 };
/// assert_eq!(owner.to_string(), "objects of 48 bytes of SlabMalloc");
/// let owner = Owner { heap: "heapwright::preset::SlabMalloc", object_size: 0 };
/// assert_eq!(owner.to_string(), "no live objects of SlabMalloc");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The heap, by the name of its type; printed without paths.
    pub heap: &'static str,
    /// Bytes of each object of the cache, or of the block; 0 where there is none, or who knows what.
    pub object_size: usize,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.object_size {
            0 => f.write_str("no live objects of ")?,
            bytes => write!(f, "objects of {bytes} bytes of ")?,
        }
        write_short(self.heap, f)
    }
}

/// The kind of a [`Misuse`].
///
/// ```
/// use heapwright::check::Wrong;
/// assert_eq!(Wrong::DoubleFree.to_string(), "freed twice:");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Wrong {
    /// A block that is free was given back, or resized.
    DoubleFree,
    /// What was given back is no block of this heap.
    Foreign,
    /// What was given back lies inside a block of this heap, not at its start.
    Interior,
    /// A block came back with a layout that it can't have.
    WrongLayout,
    /// Bytes before a block were written.
    WrittenBefore,
    /// Bytes behind a block were written.
    WrittenBehind,
    /// Bytes of a block were written after it was freed.
    WrittenAfterFree,
    /// Bytes were written that the heap keeps its books with: links and lengths in free memory.
    Metadata,
}

/// A byte that is not what it should be.
///
/// ```
/// use heapwright::check::Damage;
/// let damage = Damage { offset: -1, expected: 0xbb, found: 0x41 };
/// assert_eq!(damage.to_string(), "byte -1 is 0x41 and should be 0xbb");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Its distance from the block's first byte; negative before the block.
    pub offset: isize,
    /// What it should be.
    pub expected: u8,
    /// What it is.
    pub found: u8,
}

impl Misuse {
    /// A misuse of the block at `address`, which came with `layout`.
    #[must_use]
    pub const fn new(wrong: Wrong, address: usize, layout: Layout) -> Self {
        Misuse { wrong, address, layout, damage: None, owner: None }
    }

    /// The same, with the first byte that tells it.
    #[must_use]
    pub const fn with_damage(self, damage: Damage) -> Self {
        Misuse { damage: Some(damage), ..self }
    }

    /// The same, with what the address belongs to.
    #[must_use]
    pub const fn with_owner(self, owner: Owner) -> Self {
        Misuse { owner: Some(owner), ..self }
    }

    /// Tells `handler` of it: what a heap that checks calls. If the handler unwinds, the process is aborted: nothing unwinds out of a heap.
    #[cold]
    #[inline(never)]
    pub fn report<R: OnMisuse>(&self, handler: &mut R) {
        /// What unwinds to the edge of such a function aborts.
        extern "C" fn fenced<R: OnMisuse>(handler: &mut R, misuse: &Misuse) {
            handler.on_misuse(misuse);
        }
        fenced(handler, self);
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wrong::DoubleFree => "freed twice:",
            Wrong::Foreign => "not from this heap:",
            Wrong::Interior => "not the start of a block:",
            Wrong::WrongLayout => "with a layout that it can't have:",
            Wrong::WrittenBefore => "written before",
            Wrong::WrittenBehind => "written behind",
            Wrong::WrittenAfterFree => "written after it was freed:",
            Wrong::Metadata => "the heap's books were written to, in",
        })
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { offset, expected, found } = self;
        write!(f, "byte {offset} is {found:#04x} and should be {expected:#04x}")
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, align) = (self.layout.size(), self.layout.align());
        write!(f, "{} the block of {size} bytes, aligned to {align}, at {:#x}", self.wrong, self.address)?;
        if let Some(damage) = &self.damage {
            write!(f, ": {damage}")?;
        }
        match &self.owner {
            Some(owner) => write!(f, "; there are {owner}"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for Misuse {}

/// What is done about a [`Misuse`].
///
/// | handler | bytes | what it does |
/// |---|---|---|
/// | [`Abort`] | 0 | writes the report to standard error (with `std`) and ends the process |
/// | [`CountMisuses`] | a few words | counts, keeps the first report, and lets the program go on |
/// | [`MisuseHook`] | one word | calls a function |
/// | [`Later`](super::Later) | a few words | counts, and has a [`Report`](super::Report) called when the heap's lock is free |
///
/// A handler runs inside the heap, under its lock: it must get by without memory from it, or leave the work for [later](super::Later). To panic is to abort; but where the heap is the program's own the panic itself takes memory, and waits for ever for a lock that is held. When it returns, the program goes
/// on: a block that was freed twice is left alone then, one that was damaged goes its way.
///
/// # Write your own in three steps
/// 1. A type with what it needs.
/// 2. `unsafe impl OnMisuse`, keeping M1.
/// 3. Hand it to a heap that checks.
///
/// ```
/// use heapwright::check::{Misuse, OnMisuse, Wrong};
/// use std::alloc::Layout;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// // 1. for a device that blinks as often as there was an error
/// struct Blink(&'static AtomicUsize);
///
/// // 2. SAFETY: M1: an addition.
/// unsafe impl OnMisuse for Blink {
///     fn on_misuse(&mut self, _: &Misuse) {
///         self.0.fetch_add(1, Ordering::Relaxed);
///     }
/// }
///
/// // 3. the heap calls
/// static TIMES: AtomicUsize = AtomicUsize::new(0);
/// Misuse::new(Wrong::Foreign, 0x1000, Layout::new::<u8>()).report(&mut Blink(&TIMES));
/// assert_eq!(TIMES.load(Ordering::Relaxed), 1);
/// ```
///
/// # Safety
/// - **M1** (no way back) `on_misuse` does not use the heap that reports, directly or not. (To allocate in a handler of the global heap is to use it.)
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what is done about a misuse",
    label = "this type parameter takes a handler of misuses",
    note = "handlers are `Abort`, `CountMisuses`, `MisuseHook` and `Later`, or implement `heapwright::check::OnMisuse`"
)]
pub unsafe trait OnMisuse {
    /// A misuse was found.
    fn on_misuse(&mut self, misuse: &Misuse);

    /// How many there were, if this handler counts.
    fn misuses(&self) -> usize {
        0
    }

    /// Whether [`take_finding`](OnMisuse::take_finding) may ever give something.
    const LATER: bool = false;

    /// What is still to be told, when the heap's lock is free: heaps give it to whoever asks for [theirs](crate::heap::Heap::take_finding).
    ///
    /// ```
    /// use heapwright::check::{Abort, OnMisuse};
    /// assert!(Abort.take_finding().is_none()); // it tells at once
    /// ```
    #[inline(always)]
    fn take_finding(&mut self) -> Option<Finding> {
        None
    }
}

/// Ends the process at the first misuse.
///
/// With `std`, the report is written to standard error, without memory from any heap. Without, the program's panic handler gets it as its message, and
/// must not return by unwinding: that aborts.
///
/// ```no_run
/// use heapwright::check::{Abort, Misuse, Wrong};
/// use std::alloc::Layout;
/// Misuse::new(Wrong::DoubleFree, 0x1000, Layout::new::<u64>()).report(&mut Abort);
/// unreachable!();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abort;

// SAFETY: M1: neither standard error nor the end of the process takes memory from a heap; without `std`, none is known that could be used.
unsafe impl OnMisuse for Abort {
    #[cfg(feature = "std")]
    fn on_misuse(&mut self, misuse: &Misuse) {
        use std::io::Write;
        // Standard error has no buffer. If it can't be written to, there is nobody left to be told.
        let _ = writeln!(std::io::stderr(), "heapwright: {misuse}");
        std::process::abort();
    }

    #[cfg(not(feature = "std"))]
    fn on_misuse(&mut self, misuse: &Misuse) {
        panic!("heapwright: {misuse}");
    }
}

/// Counts misuses, keeps the first, and lets the program go on.
///
/// ```
/// use heapwright::check::{CountMisuses, Misuse, Wrong};
/// use std::alloc::Layout;
/// let mut count = CountMisuses::new();
/// Misuse::new(Wrong::DoubleFree, 0x1000, Layout::new::<u64>()).report(&mut count);
/// Misuse::new(Wrong::Foreign, 0x2000, Layout::new::<u64>()).report(&mut count);
/// assert_eq!(count.count(), 2);
/// assert_eq!(count.first().map(|first| first.wrong), Some(Wrong::DoubleFree));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountMisuses {
    count: usize,
    first: Option<Misuse>,
}

impl CountMisuses {
    /// None so far.
    #[must_use]
    pub const fn new() -> Self {
        CountMisuses { count: 0, first: None }
    }

    /// How many there were.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The first one.
    #[must_use]
    pub const fn first(&self) -> Option<Misuse> {
        self.first
    }
}

// SAFETY: M1: an addition and a copy.
unsafe impl OnMisuse for CountMisuses {
    fn on_misuse(&mut self, misuse: &Misuse) {
        self.count = self.count.saturating_add(1);
        self.first = self.first.or(Some(*misuse));
    }

    fn misuses(&self) -> usize {
        self.count
    }
}

/// Calls a function for each misuse: to log it in a way of one's own.
///
/// ```
/// use heapwright::check::{Misuse, MisuseHook, Wrong};
/// use std::alloc::Layout;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// static LAST: AtomicUsize = AtomicUsize::new(0);
/// fn note(misuse: &Misuse) {
///     LAST.store(misuse.address, Ordering::Relaxed);
/// }
/// // SAFETY: a store uses no heap.
/// let mut hook = unsafe { MisuseHook::new(note) };
/// Misuse::new(Wrong::DoubleFree, 0x1000, Layout::new::<u64>()).report(&mut hook);
/// assert_eq!(LAST.load(Ordering::Relaxed), 0x1000);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MisuseHook(fn(&Misuse));

impl MisuseHook {
    /// Calls `hook`.
    ///
    /// # Safety
    /// It does not use the heap that reports (M1).
    #[must_use]
    pub const unsafe fn new(hook: fn(&Misuse)) -> Self {
        MisuseHook(hook)
    }
}

// SAFETY: M1: promised to `new`.
unsafe impl OnMisuse for MisuseHook {
    fn on_misuse(&mut self, misuse: &Misuse) {
        (self.0)(misuse);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static_assertions::assert_impl_all!(Abort: Send, Sync);
    static_assertions::assert_impl_all!(CountMisuses: Send, Sync);
    static_assertions::assert_impl_all!(MisuseHook: Send, Sync);
    static_assertions::const_assert_eq!(size_of::<Abort>(), 0);
    static_assertions::const_assert_eq!(size_of::<MisuseHook>(), size_of::<usize>());

    /// Every kind makes a sentence.
    #[test]
    fn reports_can_be_read() {
        let report = |wrong| {
            std::string::ToString::to_string(&Misuse::new(
                wrong,
                0x20,
                Layout::from_size_align(8, 8).unwrap(),
            ))
        };
        let block = "the block of 8 bytes, aligned to 8, at 0x20";
        assert_eq!(report(Wrong::DoubleFree), std::format!("freed twice: {block}"));
        assert_eq!(report(Wrong::Foreign), std::format!("not from this heap: {block}"));
        assert_eq!(report(Wrong::Interior), std::format!("not the start of a block: {block}"));
        assert_eq!(report(Wrong::WrongLayout), std::format!("with a layout that it can't have: {block}"));
        assert_eq!(report(Wrong::Metadata), std::format!("the heap's books were written to, in {block}"));
        assert_eq!(report(Wrong::WrittenBefore), std::format!("written before {block}"));
        assert_eq!(report(Wrong::WrittenAfterFree), std::format!("written after it was freed: {block}"));
    }

    #[test]
    fn misuses_are_counted_and_the_first_is_kept_whole() {
        let layout = Layout::new::<u64>();
        let damage = Damage { offset: 3, expected: 1, found: 2 };
        let owner = Owner { heap: "a heap", object_size: 48 };
        let first = Misuse::new(Wrong::WrittenBehind, 0x1000, layout).with_damage(damage).with_owner(owner);
        assert_eq!((first.wrong, first.address, first.layout), (Wrong::WrittenBehind, 0x1000, layout));
        assert_eq!((first.damage, first.owner), (Some(damage), Some(owner)));
        let mut count = CountMisuses::new();
        assert_eq!((count.count(), count.misuses(), count.first()), (0, 0, None));
        first.report(&mut count);
        Misuse::new(Wrong::Foreign, 0x2000, layout).report(&mut count);
        assert_eq!((count.count(), count.misuses(), count.first()), (2, 2, Some(first)));
    }
}
