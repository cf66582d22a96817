//! The heaps of the tour, each assembled from parts, and what they look like.

use std::any;
use std::fmt;

use heapwright::arena::{SourceTeaspoon, StaticArena, Teaspoon};
use heapwright::cache::NewObjectError;
use heapwright::describe::{Describe, describe};
use heapwright::heap::{Chunk, HeapMap, Locked, Usage};
use heapwright::lock::{NoLock, SpinLock};
use heapwright::sizing::{Sizing4KiB, Sizing16MiB, Sizing128KiB};
use heapwright::slab::AlignedSlabs;
use heapwright::source::{self, Counted, Pages, SourceHeap};

/// In a static: there from the start, for as long as the program runs, and for all threads.
pub(crate) type WordArena = StaticArena<{ 64 << 10 }, Sizing128KiB, SpinLock>;
/// Over pages of the operating system, which get them back when it is dropped.
pub(crate) type PagedArena = SourceTeaspoon<Pages, Sizing16MiB, SpinLock>;
/// Over the program's global allocator, one of its blocks for each of ours.
pub(crate) type GlobalHeap = Locked<SourceHeap<source::GlobalHeap>, SpinLock>;
/// In a local array: for one thread and one function call.
pub(crate) type StackArena<'a> = Teaspoon<'a, Sizing4KiB, NoLock>;

/// The texts of the words.
pub(crate) static WORDS: WordArena = StaticArena::new();
/// The last resort.
pub(crate) static GLOBAL: GlobalHeap = Locked::new(SourceHeap::new(source::GlobalHeap));
/// Slabs in the paged arena, as small as the nodes in them allow.
pub(crate) type ArenaSlabs<'a> = AlignedSlabs<&'a PagedArena>;
/// Slabs of 4 KiB, several at a time from the operating system, in blocks that are counted.
pub(crate) type PageSlabs<'a> = AlignedSlabs<&'a mut Counted<Pages>, { 4 << 10 }>;
/// Bytes of the local array: as many as its sizing reaches.
pub(crate) const STACK_ARENA_SIZE: usize = 12 << 10;
/// Bytes of pages at most, unless the user says otherwise: as many as its sizing reaches.
pub(crate) const PAGED_ARENA_SIZE_MAX: usize = 32 << 20;

/// A heap that `Box`, `Vec` (both of allocator-api2 0.4) and hashbrown's `HashMap` (of allocator-api2 0.2) can live in.
pub(crate) trait AnyHeap:
    Copy + allocator_api2_02::alloc::Allocator + allocator_api2_04::alloc::Allocator
{
}

impl<A> AnyHeap for A where A: Copy + allocator_api2_02::alloc::Allocator + allocator_api2_04::alloc::Allocator
{}

/// A heap has no more room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Full;

impl From<allocator_api2_04::alloc::AllocError> for Full {
    fn from(_: allocator_api2_04::alloc::AllocError) -> Self {
        Full
    }
}

impl From<NewObjectError<Full>> for Full {
    fn from(_: NewObjectError<Full>) -> Self {
        Full
    }
}

impl From<allocator_api2_04::collections::TryReserveError> for Full {
    fn from(_: allocator_api2_04::collections::TryReserveError) -> Self {
        Full
    }
}

impl From<hashbrown_17::TryReserveError> for Full {
    fn from(_: hashbrown_17::TryReserveError) -> Self {
        Full
    }
}

/// A heap as it is at one moment.
pub(crate) struct Portrait {
    /// What the tour calls it.
    name: String,
    /// What it is composed of: the type's name.
    composition: String,
    /// The same as a tree of parts, until it is told that this stands elsewhere.
    tree: String,
    /// What is in it.
    contents: String,
    usage: Usage,
    /// What else there is to say, a line each.
    notes: Vec<String>,
    map: HeapMap<64, 4>,
}

impl Portrait {
    /// Draws a heap that is made as `A` is, given a function that walks over its chunks.
    pub(crate) fn new<A: Describe, I: Iterator<Item = Chunk>>(
        name: impl Into<String>,
        contents: String,
        usage: Usage,
        walk: impl Fn() -> I,
    ) -> Self {
        let map = HeapMap::of(walk);
        let composition = readable(any::type_name::<A>());
        let tree = describe::<A>().to_string();
        Portrait { name: name.into(), composition, tree, contents, usage, notes: Vec::new(), map }
    }

    /// Shows the parts of `heap` instead, in which the one that is drawn is a part.
    pub(crate) fn part_of<A: Describe>(&mut self, _heap: &A) {
        self.tree = describe::<A>().to_string();
    }

    /// Shows the parts only if those of `before`, which is shown before this one, are others.
    pub(crate) fn comes_after(&mut self, before: &Portrait) {
        if self.composition == before.composition {
            self.tree.clear();
        }
    }

    /// Adds a line below the figures.
    pub(crate) fn note(&mut self, line: String) {
        self.notes.push(line);
    }

    /// Shows it with or without colours.
    pub(crate) fn colours(&mut self, on: bool) {
        self.map = self.map.clone().ansi_colours(on);
    }

    /// Bytes in use in the heap.
    pub(crate) fn used(&self) -> usize {
        self.usage.used
    }

    /// The line above the picture.
    pub(crate) fn title(&self) -> String {
        format!("{}: {}", self.name, self.composition)
    }
}

impl fmt::Display for Portrait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Usage { total, used, free, objects } = self.usage;
        writeln!(f, "{}", self.title())?;
        for line in self.tree.lines() {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "  holds {}", self.contents)?;
        writeln!(
            f,
            "  {used} used + {free} free + {} tables = {total} bytes, {objects} objects",
            self.usage.tables()
        )?;
        for line in &self.notes {
            writeln!(f, "  {line}")?;
        }
        for line in self.map.to_string().lines() {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}

/// Several portraits as one SVG image, one below the other.
pub(crate) fn svg(portraits: &[Portrait]) -> String {
    let titles: Vec<_> = portraits.iter().map(Portrait::title).collect();
    let images = || portraits.iter().zip(&titles).map(|(portrait, title)| portrait.map.svg(title));
    let width = images().map(|image| image.width()).max().unwrap_or_default();
    let (mut height, mut body) = (0, String::new());
    for image in images() {
        body.push_str(&image.at(0, height).width_min(width).to_string());
        height += image.height();
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\">\n{body}</svg>\n"
    )
}

/// A type's name without the paths of the modules.
fn readable(type_name: &str) -> String {
    let mut short = String::new();
    let mut word_start = 0;
    for character in type_name.chars() {
        if character == ':' {
            short.truncate(word_start);
            continue;
        }
        short.push(character);
        if !character.is_alphanumeric() && character != '_' {
            word_start = short.len();
        }
    }
    short
}
