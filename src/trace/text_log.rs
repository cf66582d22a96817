//! Events as lines of text.

use core::alloc::Layout;
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::io::{self, Write};

use super::{Block, Event, Sink, untraced};
use crate::AllocError;
use crate::lock::{Lock, YieldLock};

/// A line of text for each event, to any writer. Feature `std`.
///
/// Choose it for short runs, to be read by people or to be searched with a line tool. Each line is one call of `write_all` and a system call with a
/// `File`, a microsecond or so; the writer is not flushed.
///
/// `W` is one whose *shared reference* is a writer, so that no lock is held but its own: `File`, `Stderr`, `TcpStream`. For all others there is
/// [`Locked`](LockedWriter): `TextLog<LockedWriter<Vec<u8>>>`. A writer should not wait for other threads that use the heap: `Stdout` may, where it
/// is locked by a thread that allocates meanwhile.
///
/// ```
/// use core::{alloc::Layout, mem::MaybeUninit};
/// use heapwright::arena::Teaspoon4KiB;
/// use heapwright::heap::SharedHeap;
/// use heapwright::trace::{LockedWriter, TextLog, Traced};
///
/// let mut memory = [MaybeUninit::uninit(); 1024];
/// let log = TextLog::new(LockedWriter::new(Vec::new()));
/// let heap = Traced::new(log, <Teaspoon4KiB<'_>>::from_slice(&mut memory));
/// let (short, long) = (Layout::new::<[u8; 8]>(), Layout::new::<[u8; 80]>());
/// let block = heap.try_alloc(short)?;
/// // SAFETY: the block is live, and its layout first the short, then the long one.
/// unsafe {
///     let block = heap.try_resize(block.cast(), short, long)?;
///     heap.free(block.cast(), long);
/// }
/// let (log, _) = heap.into_parts();
/// let text = String::from_utf8(log.into_inner().into_inner())?;
/// let words: Vec<_> = text.lines().filter_map(|line| line.split(' ').next()).collect();
/// assert_eq!(words, ["alloc", "resize", "resized", "free"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TextLog<W> {
    /// How many lines could not be written.
    lost: AtomicUsize,
    writer: W,
}

impl<W> TextLog<W>
where
    for<'a> &'a W: Write,
{
    /// A log to `writer`.
    #[must_use]
    pub const fn new(writer: W) -> Self {
        TextLog { lost: AtomicUsize::new(0), writer }
    }

    /// The writer.
    pub const fn writer(&self) -> &W {
        &self.writer
    }

    /// The writer, no longer written to.
    #[must_use]
    pub fn into_inner(self) -> W {
        self.writer
    }

    /// How many lines could not be written.
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }

    /// Writes a line, all at once.
    fn line(&self, event: Event) {
        let mut line = Line { bytes: [0; LINE_LEN_MAX], len: 0 };
        let formatted = fmt::Write::write_fmt(&mut line, format_args!("{event}\n"));
        let mut writer = &self.writer;
        let written = formatted.ok().and_then(|()| writer.write_all(&line.bytes[..line.len]).ok());
        if written.is_none() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Bytes that the longest line has: a resize, with two sizes and an address of 20 digits each.
const LINE_LEN_MAX: usize = 192;

/// A line in the making, on the stack.
struct Line {
    bytes: [u8; LINE_LEN_MAX],
    len: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

impl<W> Sink for TextLog<W>
where
    for<'a> &'a W: Write,
{
    type Resizing = ();

    fn allocated(&self, block: &Block) {
        self.line(Event::Allocated(*block));
    }

    fn freeing(&self, block: &Block) {
        self.line(Event::Freeing(*block));
    }

    fn resizing(&self, block: &Block, new: Layout) {
        self.line(Event::Resizing { was: *block, new });
    }

    fn resized(&self, (): (), was: &Block, now: Result<&Block, AllocError>) {
        self.line(match now {
            Ok(now) => Event::Resized { from: was.address, now: *now },
            Err(AllocError) => Event::NotResized(*was),
        });
    }

    fn refused(&self, layout: Layout) {
        self.line(Event::Refused(layout));
    }
}

/// Any writer behind a lock, as one whose shared reference writes: for [`TextLog`].
///
/// What the writer allocates while it writes is not [traced](untraced), whoever writes by way of it: else a log would wait for itself. If a traced heap is to free the writer, or what it has
/// grown to, make it within [`untraced`] and drop it there, so that no sink is told of one half only.
///
/// ```
/// use heapwright::trace::LockedWriter;
/// use std::io::Write;
/// let writer = LockedWriter::new(Vec::new());
/// (&writer).write_all(b"line")?;
/// assert_eq!(writer.into_inner(), b"line");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct LockedWriter<W> {
    lock: YieldLock,
    writer: core::cell::UnsafeCell<W>,
}

// SAFETY: the writer is touched under the lock only, by one thread at a time (L1, L2), which is as if it were sent there.
unsafe impl<W: Send> Sync for LockedWriter<W> {}

impl<W> LockedWriter<W> {
    /// `writer` behind a lock.
    #[must_use]
    pub const fn new(writer: W) -> Self {
        LockedWriter { lock: YieldLock::INIT, writer: core::cell::UnsafeCell::new(writer) }
    }

    /// The writer, without the lock.
    #[must_use]
    pub fn into_inner(self) -> W {
        self.writer.into_inner()
    }

    /// Runs `work` on the writer.
    fn with<R>(&self, work: impl FnOnce(&mut W) -> io::Result<R>) -> io::Result<R> {
        let under_lock = || {
            // SAFETY: the lock gives exclusion (L1).
            work(unsafe { &mut *self.writer.get() })
        };
        // What the writer allocates meanwhile is not for the log that waits for it.
        untraced(|| self.lock.with(under_lock))
            .unwrap_or_else(|| Err(io::Error::from(io::ErrorKind::WouldBlock)))
    }
}

impl<W> fmt::Debug for LockedWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockedWriter").finish_non_exhaustive()
    }
}

impl<W: Write> Write for &LockedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|writer| writer.write(bytes))
    }

    /// All of it under one lock.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.with(|writer| writer.write_all(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.with(W::flush)
    }
}

#[cfg(test)]
mod tests {
    use std::string::String;
    use std::vec::Vec;

    use static_assertions::{assert_impl_all, assert_not_impl_any};

    use super::*;

    assert_impl_all!(TextLog<std::fs::File>: Send, Sync);
    assert_impl_all!(TextLog<LockedWriter<Vec<u8>>>: Send, Sync);
    assert_not_impl_any!(LockedWriter<std::rc::Rc<()>>: Sync);

    #[test]
    fn the_longest_line_fits() {
        let layout = Layout::from_size_align(isize::MAX as usize / 2, 1 << (usize::BITS - 3)).unwrap();
        let was = Block { address: usize::MAX, layout, len: usize::MAX };
        let log = TextLog::new(LockedWriter::new(Vec::new()));
        log.resizing(&was, layout);
        log.resized((), &was, Ok(&was));
        assert_eq!(log.lost(), 0);
        let text = String::from_utf8(log.into_inner().into_inner()).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
    }

    #[test]
    fn lines_that_can_not_be_written_are_counted() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::from(io::ErrorKind::BrokenPipe))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let log = TextLog::new(LockedWriter::new(Broken));
        log.refused(Layout::new::<u8>());
        assert_eq!(log.lost(), 1);
    }
}
