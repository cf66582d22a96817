//! Where in the program an allocation is asked for.

use std::string::String;
use std::vec::Vec;

/// How a [`HeapProfile`](super::HeapProfile) tells call sites apart: by return addresses, which are resolved to names when a report is written.
///
/// [`BySize`] has none; `Backtraces` walks the stack, with feature `trace-backtrace`.
///
/// # Write your own in three steps
/// 1. A type without a value.
/// 2. `impl CallSites`: the numbers that stand for "where", such as the task that runs, or a stack walked by frame pointers.
/// 3. `HeapProfile<Yours>`.
///
/// ```
/// use heapwright::trace::{AnyGlobal, CallSites, HeapProfile, Symbol, Traced};
/// use std::{alloc::System, cell::Cell};
///
/// thread_local!(static TASK: Cell<usize> = const { Cell::new(0) });
///
/// // 1.
/// struct ByTask;
///
/// // 2.
/// impl CallSites for ByTask {
///     fn capture(frames: &mut [usize]) -> usize {
///         frames[0] = TASK.get();
///         1
///     }
///     fn resolve(task: usize) -> Vec<Symbol> {
///         vec![Symbol { name: ["start", "reading"][task].to_string(), file: None, line: None }]
///     }
/// }
///
/// // 3.
/// #[global_allocator]
/// static HEAP: Traced<HeapProfile<ByTask>, AnyGlobal<System>> =
///     Traced::new(HeapProfile::new(), AnyGlobal::new(System));
///
/// TASK.set(1);
/// let read = vec![0u8; 100_000];
/// TASK.set(0);
/// let profile = HEAP.sink().profile();
/// assert_eq!(profile.sites()[0].stack()[0].name, "reading");
/// drop(read);
/// ```
pub trait CallSites {
    /// Writes what stands for the place of the call into `frames`, from the innermost to the outermost; gives how many there are.
    ///
    /// It runs for each block that is looked at. It must not panic, nor wait.
    fn capture(frames: &mut [usize]) -> usize;

    /// What a number that was captured stands for; functions that were compiled into one another come from the innermost to the outermost.
    fn resolve(frame: usize) -> Vec<Symbol>;
}

/// What the address of a call stands for.
///
/// ```
/// use heapwright::trace::Symbol;
/// let symbol = Symbol { name: "main".into(), file: Some("src/main.rs".into()), line: Some(5) };
/// assert_eq!(symbol.to_string(), "main (src/main.rs:5)");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbol {
    /// The function's name.
    pub name: String,
    /// Its source file, where that is known.
    pub file: Option<String>,
    /// The line of the call, where that is known.
    pub line: Option<u32>,
}

impl core::fmt::Display for Symbol {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.name)?;
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, " ({file}:{line})"),
            (Some(file), None) => write!(f, " ({file})"),
            (None, _) => Ok(()),
        }
    }
}

/// No call sites: blocks are told apart by their size class only.
///
/// ```
/// use heapwright::trace::{BySize, CallSites};
/// assert_eq!(BySize::capture(&mut [0; 8]), 0);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct BySize;

impl CallSites for BySize {
    fn capture(_: &mut [usize]) -> usize {
        0
    }

    fn resolve(_: usize) -> Vec<Symbol> {
        Vec::new()
    }
}

/// Call sites by a walk over the stack, `DEPTH` frames of it at most. Feature `trace-backtrace`.
///
/// A walk costs about a microsecond and more with depth, allocates nothing, and takes no lock on Unix. Names are resolved when a report is
/// written: from the program's symbols, and with files and lines where it has debug information (`debug = "line-tables-only"` in the
/// profile of `Cargo.toml` is enough). At most 64 frames.
///
/// ```
/// # #[cfg(feature = "trace-backtrace")] {
/// use heapwright::trace::{Backtraces, CallSites};
/// let mut frames = [0; 8];
/// let count = <Backtraces>::capture(&mut frames);
/// assert_eq!(count, 8);
/// # }
/// ```
#[cfg(feature = "trace-backtrace")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Backtraces<const DEPTH: usize = 40>;

#[cfg(feature = "trace-backtrace")]
impl<const DEPTH: usize> CallSites for Backtraces<DEPTH> {
    fn capture(frames: &mut [usize]) -> usize {
        const { assert!(DEPTH > 0, "a call site has at least 1 frame: take `BySize` for none") };
        let mut count = 0;
        let max = DEPTH.min(frames.len());
        let note = |frame: &backtrace::Frame| {
            frames[count] = frame.ip().addr();
            count += 1;
            count < max
        };
        walk(note);
        count
    }

    fn resolve(frame: usize) -> Vec<Symbol> {
        let mut symbols = Vec::new();
        backtrace::resolve(core::ptr::without_provenance_mut(frame), |symbol| {
            let name =
                symbol.name().map_or_else(|| std::format!("{frame:#x}"), |name| std::format!("{name:#}"));
            let file = symbol.filename().map(|file| file.to_string_lossy().into_owned());
            symbols.push(Symbol { name, file, line: symbol.lineno() });
        });
        symbols
    }
}

/// Walks over the stack, for as long as `note` says so.
#[cfg(all(feature = "trace-backtrace", unix))]
fn walk(note: impl FnMut(&backtrace::Frame) -> bool) {
    // SAFETY: what must not run on two threads at once is Windows's `dbghelp`; the unwinders of Unix are made for any number of threads.
    unsafe { backtrace::trace_unsynchronized(note) };
}

/// Walks over the stack, for as long as `note` says so.
#[cfg(all(feature = "trace-backtrace", not(unix)))]
fn walk(note: impl FnMut(&backtrace::Frame) -> bool) {
    backtrace::trace(note);
}
