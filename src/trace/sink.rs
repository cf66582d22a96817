//! The contract of those who are told, and the simplest of them.

use core::alloc::Layout;
use core::fmt;

use crate::AllocError;

/// A block of a traced heap, as a [`Sink`] is told of it: where it is, and how large. Nobody reads or writes memory through it.
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::trace::Block;
/// let block = Block { address: 0x1000, layout: Layout::new::<[u8; 5]>(), len: 8 };
/// assert_eq!(block.to_string(), "0x1000 size 5 align 1");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The address of its first byte.
    pub address: usize,
    /// What was asked for, or what it comes back with.
    pub layout: Layout,
    /// Bytes that were handed out: no less than was asked for. Of a block that comes back, the size that it comes back with.
    pub len: usize,
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x} size {} align {}", self.address, self.layout.size(), self.layout.align())
    }
}

/// Who is told what a [`Traced`](super::Traced) heap does.
///
/// Each method runs on the thread that allocates or frees, and outside of the heap's lock. The order of calls is one in which the use of
/// addresses makes sense, whatever the threads do: a free is told *before* the block is given back, an allocation *after* it was had. So nobody
/// is told of a block at an address before being told that the last one there has gone. A resize, which may do both, is told in two parts.
///
/// What a method allocates in a traced heap is not told to anyone (feature `std`). Without `std` nothing can see that it is on the way
/// already: there a sink must not allocate from the heap that it listens to. A method that panics aborts the program, since nothing may unwind
/// out of an allocator. A method must not wait for another thread that may be waiting for the sink: it may take a lock of its own, as long as
/// nothing that is done under it waits for something else.
///
/// # Write your own in three steps
/// 1. A type with what it counts or keeps, in atomics or behind a lock of [`lock`](crate::lock).
/// 2. `impl Sink`: what to note of blocks that come and go.
/// 3. [`Traced::new`](super::Traced::new) puts it around a heap.
///
/// ```
/// use core::{alloc::Layout, mem::MaybeUninit};
/// use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
/// use heapwright::AllocError;
/// use heapwright::arena::Teaspoon4KiB;
/// use heapwright::heap::SharedHeap;
/// use heapwright::trace::{Block, Sink, Traced};
///
/// // 1.
/// #[derive(Default)]
/// struct Largest(AtomicUsize);
///
/// // 2.
/// impl Sink for Largest {
///     type Resizing = ();
///     fn allocated(&self, block: &Block) {
///         self.0.fetch_max(block.layout.size(), Relaxed);
///     }
///     fn freeing(&self, _: &Block) {}
///     fn resizing(&self, _: &Block, _: Layout) {}
///     fn resized(&self, _: (), _: &Block, now: Result<&Block, AllocError>) {
///         if let Ok(block) = now {
///             self.allocated(block);
///         }
///     }
/// }
///
/// // 3.
/// let mut memory = [MaybeUninit::uninit(); 1024];
/// let heap = Traced::new(Largest::default(), <Teaspoon4KiB<'_>>::from_slice(&mut memory));
/// let layout = Layout::new::<[u64; 10]>();
/// let block = heap.try_alloc(layout)?;
/// // SAFETY: the block is live, and its layout this one.
/// unsafe { heap.free(block.cast(), layout) };
/// assert_eq!(heap.sink().0.load(Relaxed), 80);
/// # Ok::<(), AllocError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not told what a traced heap does",
    label = "this type parameter takes a sink",
    note = "use `HeapProfile` or `TextLog` (feature `std`), `LastEvents`, a pair of sinks, or `()` for none",
    note = "or implement `heapwright::trace::Sink` in three steps: see its docs"
)]
pub trait Sink {
    /// Whether anybody listens. If not, a traced heap is the heap itself, to the last instruction.
    const LISTENS: bool = true;

    /// What the sink keeps of a block while it is resized.
    type Resizing;

    /// A block was handed out.
    fn allocated(&self, block: &Block);

    /// A block is about to be given back. (A heap that checks may find the call wrong, and the block stays; what it reports comes after this.)
    fn freeing(&self, block: &Block);

    /// A block is about to be resized: until [`resized`](Sink::resized) it may move, and another thread may be told of a block at its address.
    fn resizing(&self, block: &Block, new: Layout) -> Self::Resizing;

    /// `was`, for which [`resizing`](Sink::resizing) gave `begun`, is `now` this block; or stays as it was, if there was no room.
    fn resized(&self, begun: Self::Resizing, was: &Block, now: Result<&Block, AllocError>);

    /// There was no room for a block of `layout`.
    fn refused(&self, layout: Layout) {
        let _ = layout;
    }
}

/// Nobody: the heap is as it would be without.
impl Sink for () {
    const LISTENS: bool = false;
    type Resizing = ();

    fn allocated(&self, _: &Block) {}
    fn freeing(&self, _: &Block) {}
    fn resizing(&self, _: &Block, _: Layout) {}
    fn resized(&self, (): (), _: &Block, _: Result<&Block, AllocError>) {}
}

/// The sink behind the reference.
impl<S: Sink + ?Sized> Sink for &S {
    const LISTENS: bool = S::LISTENS;
    type Resizing = S::Resizing;

    fn allocated(&self, block: &Block) {
        S::allocated(self, block);
    }

    fn freeing(&self, block: &Block) {
        S::freeing(self, block);
    }

    fn resizing(&self, block: &Block, new: Layout) -> Self::Resizing {
        S::resizing(self, block, new)
    }

    fn resized(&self, begun: Self::Resizing, was: &Block, now: Result<&Block, AllocError>) {
        S::resized(self, begun, was, now);
    }

    fn refused(&self, layout: Layout) {
        S::refused(self, layout);
    }
}

/// Both, one after the other.
impl<S: Sink, T: Sink> Sink for (S, T) {
    const LISTENS: bool = S::LISTENS || T::LISTENS;
    type Resizing = (S::Resizing, T::Resizing);

    fn allocated(&self, block: &Block) {
        self.0.allocated(block);
        self.1.allocated(block);
    }

    fn freeing(&self, block: &Block) {
        self.0.freeing(block);
        self.1.freeing(block);
    }

    fn resizing(&self, block: &Block, new: Layout) -> Self::Resizing {
        (self.0.resizing(block, new), self.1.resizing(block, new))
    }

    fn resized(&self, begun: Self::Resizing, was: &Block, now: Result<&Block, AllocError>) {
        self.0.resized(begun.0, was, now);
        self.1.resized(begun.1, was, now);
    }

    fn refused(&self, layout: Layout) {
        self.0.refused(layout);
        self.1.refused(layout);
    }
}

/// Nobody until it is set, and from then on that sink: one that can only be made at run time, such as a log in a file.
///
/// ```
/// use heapwright::trace::{AnyGlobal, TextLog, Traced};
/// use std::{alloc::System, fs::File, sync::OnceLock};
///
/// #[global_allocator]
/// static HEAP: Traced<OnceLock<TextLog<File>>, AnyGlobal<System>> =
///     Traced::new(OnceLock::new(), AnyGlobal::new(System));
///
/// let path = std::env::temp_dir().join(format!("heap-{}.log", std::process::id()));
/// let _ = HEAP.sink().set(TextLog::new(File::create(&path)?));
/// drop(vec![1, 2, 3]);
/// let log = std::fs::read_to_string(&path)?;
/// assert!(log.contains("size 12 align 4"), "{log}");
/// # std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[cfg(feature = "std")]
impl<S: Sink> Sink for std::sync::OnceLock<S> {
    const LISTENS: bool = S::LISTENS;
    type Resizing = Option<S::Resizing>;

    fn allocated(&self, block: &Block) {
        if let Some(sink) = self.get() {
            sink.allocated(block);
        }
    }

    fn freeing(&self, block: &Block) {
        if let Some(sink) = self.get() {
            sink.freeing(block);
        }
    }

    fn resizing(&self, block: &Block, new: Layout) -> Self::Resizing {
        self.get().map(|sink| sink.resizing(block, new))
    }

    fn resized(&self, begun: Self::Resizing, was: &Block, now: Result<&Block, AllocError>) {
        if let (Some(sink), Some(begun)) = (self.get(), begun) {
            sink.resized(begun, was, now);
        }
    }

    fn refused(&self, layout: Layout) {
        if let Some(sink) = self.get() {
            sink.refused(layout);
        }
    }
}
