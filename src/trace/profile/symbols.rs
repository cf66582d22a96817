//! Names of call sites, and which of their frames are worth showing.

use std::borrow::ToOwned;
use std::collections::HashMap;
use std::string::String;
use std::vec::Vec;

use super::Symbol;

/// Frames of the way from the caller to the heap: what is before the last one of these is left out.
const ALLOCATOR: &[&str] = &[
    "alloc::alloc::",
    "<alloc::alloc::Global",
    "__rust_alloc",
    "__rust_realloc",
    "__rust_dealloc",
    "__rdl_",
    "__rg_",
    "__rustc::__rust_",
    "__rustc::__rg_",
    "heapwright::trace::",
    "<heapwright::trace::",
    "backtrace::",
    "std::alloc::",
];

/// Frames of the way from the start of a thread to its code: these and what is outside of them is left out.
const START: &[&str] = &[
    "std::sys::backtrace::__rust_begin_short_backtrace",
    "std::sys_common::backtrace::__rust_begin_short_backtrace",
    "std::rt::lang_start",
    "__libc_start",
    "_start",
];

/// Frames of libraries that allocate for their caller.
const LIBRARY: &[&str] = &["std::", "core::", "alloc::", "hashbrown::", "allocator_api2", "indexmap::"];

/// Where the functions of such libraries are, which have names without modules where they were compiled into others.
const LIBRARY_FILES: &[&str] = &["library/", "/rust/deps/", "registry/"];

/// Where a function of the allocator's interface is.
const ALLOCATOR_FILE: &str = "library/alloc/src/alloc.rs";

/// How far from the innermost frame the allocator's frames may be.
const ALLOCATOR_DEPTH_MAX: usize = 24;

/// Whether a name is in one of the modules. Names of trait methods are of the form `<type as trait>::method`.
fn is_of(name: &str, modules: &[&str]) -> bool {
    let inner = name.trim_start_matches(['<', '_', '&', '[', '(']);
    modules.iter().any(|module| name.starts_with(module) || inner.starts_with(module))
}

/// Whether a call is one of the way from the caller to the heap.
fn is_allocator(symbol: &Symbol) -> bool {
    is_of(&symbol.name, ALLOCATOR) || symbol.file.as_deref() == Some(ALLOCATOR_FILE)
}

/// Whether a call is in a library that allocates for its caller.
pub(in crate::trace) fn is_library(symbol: &Symbol) -> bool {
    let is_in = |file: &str| LIBRARY_FILES.iter().any(|library| file.starts_with(library));
    is_of(&symbol.name, LIBRARY) || symbol.file.as_deref().is_some_and(is_in)
}

/// A file's path as short as it can be told: from the root of the standard library, or of the crate registry, or of the working directory.
fn short(path: &str, here: &str) -> String {
    let standard = path.strip_prefix("/rustc/").and_then(|rest| rest.split_once("/library/"));
    if let Some((_, rest)) = standard {
        return std::format!("library/{rest}");
    }
    if let Some((_, rest)) = path.split_once("/registry/src/") {
        let krate = rest.split_once('/').map_or(rest, |(_, krate)| krate);
        return std::format!("registry/{krate}");
    }
    let here = path.strip_prefix(here).and_then(|rest| rest.strip_prefix('/'));
    here.filter(|_| !path.is_empty()).unwrap_or(path).to_owned()
}

/// Names by address, each resolved once.
#[derive(Debug, Default)]
pub(in crate::trace) struct Symbols {
    by_frame: HashMap<usize, Vec<Symbol>>,
}

/// What a frame that is shown stands for: the address, and one of the functions that it is in.
#[derive(Clone, Copy, Debug)]
pub(in crate::trace) struct Named<'a> {
    pub(in crate::trace) address: usize,
    pub(in crate::trace) symbol: &'a Symbol,
}

impl Symbols {
    pub(in crate::trace) fn resolve(frames: &[usize], resolve: fn(usize) -> Vec<Symbol>) -> Self {
        let mut by_frame = HashMap::new();
        let here = std::env::current_dir()
            .map_or_else(|_| String::new(), |path| path.to_string_lossy().into_owned());
        for &frame in frames {
            by_frame.entry(frame).or_insert_with(|| {
                let mut symbols = resolve(frame);
                for file in symbols.iter_mut().filter_map(|symbol| symbol.file.as_mut()) {
                    *file = short(file, &here);
                }
                if symbols.is_empty() { Vec::from([unknown(frame)]) } else { symbols }
            });
        }
        Symbols { by_frame }
    }

    /// The frames of a stack that are worth showing, from the innermost to the outermost.
    pub(in crate::trace) fn stack<'a>(&'a self, frames: &'a [usize]) -> Vec<Named<'a>> {
        let all = frames.iter().flat_map(|&address| {
            let symbols = self.by_frame.get(&address).map_or(&[][..], Vec::as_slice);
            symbols.iter().map(move |symbol| Named { address, symbol })
        });
        let all: Vec<_> = all.collect();
        let names = |at: usize| all[at].symbol.name.as_str();
        let first = (0..all.len().min(ALLOCATOR_DEPTH_MAX)).rev().find(|&at| is_allocator(all[at].symbol));
        let first = first.map_or(0, |at| at + 1);
        let end = (first..all.len()).find(|&at| is_of(names(at), START)).unwrap_or(all.len());
        if first < end { all[first..end].to_vec() } else { all }
    }
}

/// The frame that a reader looks for: the innermost that is not a library's.
pub(in crate::trace) fn own_code<'a>(stack: &[Named<'a>]) -> Option<&'a Symbol> {
    let own = stack.iter().find(|named| !is_library(named.symbol));
    own.or(stack.first()).map(|named| named.symbol)
}

fn unknown(frame: usize) -> Symbol {
    let mut name = String::new();
    let _ = core::fmt::Write::write_fmt(&mut name, format_args!("{frame:#x}"));
    if frame == 0 {
        name = "?".to_owned();
    }
    Symbol { name, file: None, line: None }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec;

    use super::*;

    fn name(frame: usize) -> Vec<Symbol> {
        let names: &[&str] = match frame {
            1 => &[
                "<heapwright::trace::traced::Traced<T,A> as heapwright::heap::shared::SharedHeap>::try_alloc",
            ],
            2 => &["__rust_alloc", "alloc::alloc::alloc"],
            3 => &["alloc::raw_vec::RawVecInner::finish_grow"],
            4 => &["<alloc::vec::Vec<T> as core::iter::Extend>::extend", "program::read"],
            5 => &["program::main"],
            6 => &["std::sys::backtrace::__rust_begin_short_backtrace"],
            7 => &["main"],
            _ => &[],
        };
        names.iter().map(|name| Symbol { name: name.to_string(), file: None, line: None }).collect()
    }

    #[test]
    fn the_ways_in_and_out_are_left_out() {
        let frames = [1, 2, 3, 4, 5, 6, 7];
        let symbols = Symbols::resolve(&frames, name);
        let stack = symbols.stack(&frames);
        let names: Vec<_> = stack.iter().map(|named| named.symbol.name.as_str()).collect();
        assert_eq!(names.len(), 4, "{names:?}");
        assert_eq!((names[0], names[3]), ("alloc::raw_vec::RawVecInner::finish_grow", "program::main"));
        assert_eq!(own_code(&stack).unwrap().name, "program::read");
    }

    #[test]
    fn files_are_told_from_where_everybody_knows() {
        assert_eq!(short("/rustc/5980/library/alloc/src/alloc.rs", "/a"), ALLOCATOR_FILE);
        assert_eq!(
            short("/b/.cargo/registry/src/index-1/clap-4.5/src/a.rs", "/a"),
            "registry/clap-4.5/src/a.rs"
        );
        assert_eq!(short("/a/src/main.rs", "/a"), "src/main.rs");
        assert_eq!(short("/ab/src/main.rs", "/a"), "/ab/src/main.rs");
        let inlined =
            Symbol { name: "push".into(), file: Some("library/alloc/src/vec.rs".into()), line: None };
        assert!(is_library(&inlined));
    }

    #[test]
    fn a_stack_without_names_is_shown_as_it_is() {
        let symbols = Symbols::resolve(&[0x10, 0], name);
        let names: Vec<_> = symbols.stack(&[0x10, 0]).iter().map(|named| named.symbol.name.clone()).collect();
        assert_eq!(names, vec!["0x10", "?"]);
    }
}
