//! A tour: which words of a text stand near each other, worked out in heaps assembled from parts.
//!
//! `cargo run --release --example tour [FILE or DIRECTORY] [--word WORD] [--to WORD] [--svg FILE]`
//!
//! | heap | parts | what is in it |
//! |---|---|---|
//! | static arena | `StaticArena<65536, Sizing128KiB, SpinLock>` | the text of every word: `Box<[u8]>` |
//! | paged arena | `SourceTeaspoon<Pages, Sizing16MiB, SpinLock>` | the index: `HashMap` and `Vec`; the graph: `Box` and `Vec` |
//! | stack arena | `Teaspoon<Sizing4KiB, NoLock>` in a local array | one search at a time: `HashMap` and `Vec` |
//! | two object caches | `ObjectCache` of `AlignedSlabs` in the paged arena, and over `Counted<Pages>` | the nodes of a passage's graph, kept for the next passage |
//! | global heap | `Locked<SourceHeap<GlobalHeap>, SpinLock>` | what the others have no room for |
//!
//! A heap that runs out says so, and the next larger one takes over.

#![forbid(unsafe_code)]

#[path = "tour/graph.rs"]
mod graph;
#[path = "tour/heaps.rs"]
mod heaps;
#[path = "tour/index.rs"]
mod index;
#[path = "tour/passages.rs"]
mod passages;
#[path = "tour/text.rs"]
mod text;

use std::env;
use std::fs;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use heapwright::source::{Counted, Counts, Pages};

use crate::graph::{Graph, Ranking, Search};
use crate::heaps::{
    AnyHeap, ArenaSlabs, Full, GLOBAL, PAGED_ARENA_SIZE_MAX, PageSlabs, PagedArena, Portrait,
    STACK_ARENA_SIZE, StackArena, WORDS, WordArena, svg,
};
use crate::index::{Index, Place};
use crate::passages::Passages;
use crate::text::Library;

/// Reads texts and tells which words stand near each other; then shows the heaps that the work was done in.
#[derive(Parser)]
#[command(name = "tour")]
struct Arguments {
    /// A text file, or a directory to read all text files of [default: this project's sources]
    #[arg(value_name = "FILE or DIRECTORY")]
    path: Option<PathBuf>,
    /// Tell about this word instead of the most frequent ones
    #[arg(long, value_name = "WORD")]
    word: Option<String>,
    /// Look for the way to this word
    #[arg(long, value_name = "WORD")]
    to: Option<String>,
    /// Write the pictures of the heaps to this SVG file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Size of the paged arena, in KiB [default: as the text needs, up to 32 MiB]
    #[arg(long, value_name = "KIB")]
    paged_kib: Option<usize>,
}

/// Why the program ends early.
enum Failure {
    /// For the user to read.
    Message(String),
    /// The output could not be written.
    Output(io::Error),
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Failure::Message(message)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}

impl From<Full> for Failure {
    fn from(_: Full) -> Self {
        Failure::Message("the global heap is full too".into())
    }
}

/// How many words the list of frequent words has.
const FREQUENT: usize = 10;
/// How many of them are told more about, unless the user asks for a word.
const TOLD: usize = 3;
/// How many places of a word are shown.
const PLACES: usize = 3;
/// How many pairs of words are shown.
const PAIRS: usize = 5;

fn main() -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let failure = match run(&Arguments::parse(), &mut out).and_then(|()| Ok(out.flush()?)) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Message(message)) => message,
        // The reader has seen enough, as `head` does.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
        Err(Failure::Output(error)) => format!("can't write the output: {error}"),
    };
    // What was found out so far is shown before the reason of the end. If neither can be written, the exit code tells.
    let _ = out.flush();
    let _ = writeln!(io::stderr(), "tour: {failure}");
    ExitCode::FAILURE
}

fn run(arguments: &Arguments, out: &mut impl Write) -> Result<(), Failure> {
    let library = match &arguments.path {
        Some(path) => Library::read(path)?,
        None => Library::read_project()?,
    };
    let paged_kib = arguments.paged_kib.unwrap_or_else(|| paged_kib(library.bytes()));
    let paged = paged_kib.checked_mul(1 << 10).and_then(|size| PagedArena::with_size(Pages, size).ok());
    let paged = paged.ok_or_else(|| format!("can't get {paged_kib} KiB of pages for the paged arena"))?;
    let mut tour = Tour {
        arguments,
        library: &library,
        paged: &paged,
        out,
        static_portrait: None,
        paged_portraits: Vec::new(),
        stack_portrait: None,
        cache_portraits: Vec::new(),
    };
    tour.index()?;
    tour.show_heaps()
}

/// KiB of pages that will do for a text, as a rule: places and links take up to 16 times its length.
fn paged_kib(text_bytes: u64) -> usize {
    let max = PAGED_ARENA_SIZE_MAX >> 10;
    usize::try_from(256 + text_bytes / 1024 * 16).map_or(max, |kib| kib.min(max))
}

/// What all stages of the program need.
struct Tour<'t, O> {
    arguments: &'t Arguments,
    library: &'t Library,
    paged: &'t PagedArena,
    out: O,
    /// With all words in it.
    static_portrait: Option<Portrait>,
    /// After each stage.
    paged_portraits: Vec<Portrait>,
    /// At its fullest.
    stack_portrait: Option<Portrait>,
    /// Halfway through the passages.
    cache_portraits: Vec<Portrait>,
}

impl<O: Write> Tour<'_, O> {
    /// Makes the index, in the paged arena if it has room, and goes on to the next stage.
    fn index(&mut self) -> Result<(), Failure> {
        let (library, paged) = (self.library, self.paged);
        let mut index = Index::new_in(paged);
        if index.fill(library, paged).is_ok() {
            return self.graph(&index);
        }
        self.draw_paged("full", format!("the index as far as it got: {} different words", index.len()));
        drop(index);
        writeln!(
            self.out,
            "! The paged arena has no room for the index: it is made anew in the global heap."
        )?;
        let mut index = Index::new_in(&GLOBAL);
        index.fill(library, paged)?;
        self.graph(&index)
    }

    /// Makes the graph, in the paged arena if it has room, and goes on to the next stage.
    fn graph<A: AnyHeap>(&mut self, index: &Index<'_, A>) -> Result<(), Failure> {
        let words = format!("the text of {} words", index.words_in_static_arena());
        self.static_portrait =
            Some(Portrait::new::<WordArena, _>("static arena", words, WORDS.usage(), || WORDS.chunks()));
        self.tell_size(index)?;

        let mut graph = Graph::new_in(self.paged);
        if graph.fill(index, self.library).is_ok() {
            self.draw_paged("with all links", format!("the links between {} different words", index.len()));
            if graph.keep_nearest().is_ok() {
                let contents = format!("the nearest links of {} different words", index.len());
                self.draw_paged("with the nearest links only", contents);
                return self.answer(index, &graph);
            }
        }
        self.draw_paged("full", "the links as far as they got".into());
        drop(graph);
        writeln!(
            self.out,
            "! The paged arena has no room for the links: they are made anew in the global heap.\n"
        )?;
        let mut graph = Graph::new_in(&GLOBAL);
        graph.fill(index, self.library)?;
        graph.keep_nearest()?;
        self.answer(index, &graph)
    }

    /// Answers the user's questions, or some of our own.
    fn answer<A: AnyHeap, B: AnyHeap>(
        &mut self,
        index: &Index<'_, A>,
        graph: &Graph<'_, B>,
    ) -> Result<(), Failure> {
        let frequent = self.frequent(graph)?;
        writeln!(self.out, "Most frequent:")?;
        for &id in &frequent {
            let node = graph.node(id);
            writeln!(self.out, "  {:>6} {}", node.count, node.word)?;
        }
        let asked = self.find(index, self.arguments.word.as_deref())?;
        let told = match asked {
            Some(id) => vec![id],
            None => frequent.iter().copied().take(TOLD).collect(),
        };
        writeln!(self.out, "\nNearest, the nearest first:")?;
        for &id in &told {
            self.tell_nearest(graph, id)?;
        }
        if let Some(id) = asked {
            self.tell_places(index, graph.node(id).word)?;
        }
        let to = self.find(index, self.arguments.to.as_deref())?;
        let ends = match to {
            Some(to) => vec![to],
            None => frequent.iter().copied().filter(|id| !told.contains(id)).take(TOLD).collect(),
        };
        writeln!(self.out, "\nFrom word to nearest word:")?;
        for (&from, &to) in told.iter().cycle().zip(&ends) {
            let way = self.way(graph, from, to)?;
            let way = way.unwrap_or_else(|| vec![graph.node(from).word, "no way", graph.node(to).word]);
            writeln!(self.out, "  {}", way.join(" -> "))?;
        }
        writeln!(self.out)?;
        self.passages(&Passages::new(self.library, index, graph))
    }

    /// Makes a graph of each passage, with its nodes in caches.
    fn passages(&mut self, passages: &Passages<'_>) -> Result<(), Failure> {
        writeln!(self.out, "Near each other in the most of {} passages:", passages.len())?;
        for ([a, b], count) in passages.frequent_pairs(&GLOBAL, PAIRS)? {
            writeln!(self.out, "  {count:>6} {a} {b}")?;
        }

        let paged = self.paged;
        let before = paged.usage().used;
        let name = "cache in the paged arena, its slabs one behind the other";
        match passages.compare::<_, ArenaSlabs<'_>, _>(name, paged, paged, || paged.usage().used) {
            Ok((mut portrait, after)) => {
                portrait.note(format!("used in the paged arena: {before} bytes before, {after} bytes after"));
                self.cache_portraits.push(portrait);
            }
            Err(Full) => {
                writeln!(self.out, "! The paged arena has no room for the nodes of the passages.")?;
            }
        }

        let mut pages = Counted::new(Pages);
        let name = "cache over pages, its slabs one behind the other";
        let (mut portrait, ()) = passages.compare::<_, PageSlabs<'_>, _>(name, &GLOBAL, &mut pages, || ())?;
        let Counts { acquired, bytes_peak, blocks, bytes, .. } = pages.counts();
        portrait.note(format!(
            "blocks of pages: {acquired} from the operating system, {bytes_peak} bytes at most; {blocks} left, {bytes} bytes"
        ));
        self.cache_portraits.push(portrait);
        Ok(writeln!(self.out)?)
    }

    /// The most frequent words, worked out in the stack arena.
    fn frequent<A: AnyHeap>(&mut self, graph: &Graph<'_, A>) -> Result<Vec<u32>, Failure> {
        let mut memory = [MaybeUninit::uninit(); STACK_ARENA_SIZE];
        let arena = StackArena::from_slice(&mut memory);
        Ok(Ranking::new_in(&arena).find(graph, FREQUENT)?.to_vec())
    }

    /// The shortest way between two words, worked out in the smallest heap that has room.
    fn way<'i, A: AnyHeap>(
        &mut self,
        graph: &Graph<'i, A>,
        from: u32,
        to: u32,
    ) -> Result<Option<Vec<&'i str>>, Failure> {
        let mut memory = [MaybeUninit::uninit(); STACK_ARENA_SIZE];
        let arena = StackArena::from_slice(&mut memory);
        let mut search = Search::new_in(&arena);
        let found = search.find(graph, from, to);
        self.draw_stack(&arena, search.seen());
        if let Ok(way) = found {
            return Ok(way);
        }
        writeln!(
            self.out,
            "! The stack arena has no room for larger tables after {} words: the search starts anew in the paged arena.",
            search.seen()
        )?;
        let mut search = Search::new_in(self.paged);
        if let Ok(way) = search.find(graph, from, to) {
            return Ok(way);
        }
        writeln!(self.out, "! The paged arena is full too: the search starts anew in the global heap.")?;
        Ok(Search::new_in(&GLOBAL).find(graph, from, to)?)
    }

    /// The number of a word that the user named.
    fn find<A: AnyHeap>(&self, index: &Index<'_, A>, word: Option<&str>) -> Result<Option<u32>, String> {
        let Some(word) = word else { return Ok(None) };
        let entry = index.get(&word.to_lowercase());
        let entry = entry.ok_or_else(|| {
            format!("the word \"{word}\" does not occur in the text, or is too common to count")
        })?;
        Ok(Some(entry.id))
    }

    /// What has been read.
    fn tell_size<A: AnyHeap>(&mut self, index: &Index<'_, A>) -> Result<(), Failure> {
        let Library { documents, binary, unreadable } = self.library;
        let passed_over = format!("passed over: {binary} that are not text, {unreadable} that can't be read");
        if index.len() == 0 {
            let read = documents.len();
            return Err(Failure::Message(format!(
                "no words in the text (files read: {read}; {passed_over})"
            )));
        }
        writeln!(
            self.out,
            "Files read: {}, {} bytes, {} words, {} of them different ({passed_over}).\n",
            documents.len(),
            self.library.bytes(),
            index.occurrences(),
            index.len()
        )?;
        let outside = index.len() - index.words_in_static_arena();
        if outside > 0 {
            writeln!(
                self.out,
                "! The static arena is full: {outside} words have their text in larger heaps.\n"
            )?;
        }
        Ok(())
    }

    fn tell_nearest<A: AnyHeap>(&mut self, graph: &Graph<'_, A>, id: u32) -> Result<(), Failure> {
        write!(self.out, "  {}:", graph.node(id).word)?;
        for (word, nearness) in graph.nearest(id) {
            write!(self.out, " {word} {nearness:.2}")?;
        }
        Ok(writeln!(self.out)?)
    }

    fn tell_places<A: AnyHeap>(&mut self, index: &Index<'_, A>, word: &str) -> Result<(), Failure> {
        let places = index.get(word).map_or(&[][..], |entry| &entry.places);
        writeln!(self.out, "\n{word} occurs {} times:", places.len())?;
        for &Place { document, line } in places.iter().take(PLACES) {
            writeln!(self.out, "  {}:{line}", self.library.documents[document as usize].name)?;
        }
        if places.len() > PLACES {
            writeln!(self.out, "  and so on")?;
        }
        Ok(())
    }

    /// Draws the paged arena as it is now.
    fn draw_paged(&mut self, moment: &str, contents: String) {
        let name = format!("paged arena, {moment}");
        let paged = self.paged;
        self.paged_portraits
            .push(Portrait::new::<PagedArena, _>(name, contents, paged.usage(), || paged.chunks()));
    }

    /// Draws the stack arena as it is now, if it is fuller than it was in earlier searches.
    fn draw_stack(&mut self, arena: &StackArena<'_>, seen: usize) {
        let fuller = |kept: &Portrait| arena.usage().used > kept.used();
        if self.stack_portrait.as_ref().is_none_or(fuller) {
            let contents = format!("a search that has seen {seen} words");
            self.stack_portrait =
                Some(Portrait::new::<StackArena<'_>, _>("stack arena", contents, arena.usage(), || {
                    arena.chunks()
                }));
        }
    }

    /// Shows all heaps, and writes the image of them if the user wants one.
    fn show_heaps(&mut self) -> Result<(), Failure> {
        let colours = io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none();
        let portraits = self.static_portrait.take().into_iter().chain(self.paged_portraits.drain(..));
        let mut portraits: Vec<_> =
            portraits.chain(self.stack_portrait.take()).chain(self.cache_portraits.drain(..)).collect();
        writeln!(self.out, "The heaps:\n")?;
        for at in (1..portraits.len()).rev() {
            let (before, after) = portraits.split_at_mut(at);
            after[0].comes_after(&before[at - 1]);
        }
        for portrait in &mut portraits {
            portrait.colours(colours);
            writeln!(self.out, "{portrait}")?;
        }
        if let Some(path) = &self.arguments.svg {
            fs::write(path, svg(&portraits))
                .map_err(|error| format!("can't write {}: {error}", path.display()))?;
            writeln!(self.out, "Pictures written to {}", path.display())?;
        }
        Ok(())
    }
}
