//! Profiles a real run: this project's sources are read, and their words and items indexed.
//!
//! `cargo run --release --features trace-backtrace --example heap_profile [FILE or DIRECTORY] [--out DIRECTORY]`
//!
//! With `CARGO_PROFILE_RELEASE_DEBUG=line-tables-only` in the environment the call sites have files and lines.
//!
//! | file | what it is | to be opened with |
//! |---|---|---|
//! | `dhat-heap.json` | call sites, with sums, peaks and lives | valgrind's `dh_view.html` |
//! | `heap.pb` | the same for pprof | `go tool pprof -http=: heap.pb`, Speedscope and others |
//! | `timeline.svg` | live bytes over time, by block size | a browser |
//! | `heap-map.html` | the arena at a hundred moments, with a slider | a browser |
//!
//! The program's global heap is an arena, so that there is a region to be drawn, with the system's behind it; around both is a `Traced`, whose
//! sink is the profile.

#[path = "heap_profile/heap.rs"]
mod heap;
#[path = "heap_profile/index.rs"]
mod index;
#[path = "heap_profile/read.rs"]
mod read;

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use heapwright::heap::HeapMap;
use heapwright::trace::{AnyGlobal, Backtraces, HeapFilm, HeapProfile, Profile, Traced};
use indicatif::{ProgressBar, ProgressStyle};

use crate::heap::ArenaFirst;
use crate::index::Index;

/// Bytes of text that are read at most.
const TEXT_SIZE_MAX: usize = 2 << 20;

#[global_allocator]
static HEAP: Traced<HeapProfile<Backtraces>, AnyGlobal<ArenaFirst>> =
    Traced::new(HeapProfile::new(), AnyGlobal::new(ArenaFirst::new()));

/// Reads and indexes texts, and shows what that took of the heap.
#[derive(Parser)]
#[command(name = "heap_profile")]
struct Arguments {
    /// A source file, or a directory to read all source files of [default: this project's sources]
    #[arg(value_name = "FILE or DIRECTORY")]
    path: Option<PathBuf>,
    /// Where to write the files to [default: target/heap_profile of this project]
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
}

type Film = HeapFilm<64, 16, 128>;

/// Adds a picture of the heap as it is now.
fn take(film: &mut Film) {
    film.take(&HeapMap::of(|| HEAP.heap().allocator().arena.chunks()));
}

fn progress(len: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} files");
    ProgressBar::new(len as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// The work that is profiled.
fn work(path: &Path, film: &mut Film) -> io::Result<String> {
    let texts = read::texts(path, TEXT_SIZE_MAX)?;
    take(film);
    let bar = progress(texts.len());
    let mut index = Index::default();
    for (number, text) in texts.iter().enumerate() {
        index.add(number, text);
        bar.inc(1);
        take(film);
    }
    bar.finish_and_clear();
    // What is not needed any more goes, file by file.
    let bytes: usize = texts.iter().map(|text| text.contents.len()).sum();
    let names: Vec<String> = texts.iter().map(|text| text.name.clone()).collect();
    for text in texts {
        drop(text);
        take(film);
    }
    let (words, items) = (index.words(), index.items());
    let frequent = index.most_frequent(5).join(", ");
    let long = index.longest_item(&names);
    take(film);
    index.forget_rare(3);
    take(film);
    // So that there is something to be reported in the end.
    let _: &'static mut [String] = names.leak();
    Ok(format!(
        "{words} words and {items} items in {} KiB of text; most frequent: {frequent}\nlongest: {long}",
        bytes / 1024
    ))
}

/// Writes a file by `write`, and says that it is there.
fn file(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut to = BufWriter::new(File::create(path)?);
    write(&mut to)?;
    to.flush()?;
    writeln!(io::stdout(), "{:>10} bytes  {}", fs::metadata(path)?.len(), path.display())
}

fn write_all(out: &Path, profile: &Profile, film: &Film) -> io::Result<()> {
    fs::create_dir_all(out)?;
    file(&out.join("dhat-heap.json"), |to| profile.write_dhat(to))?;
    file(&out.join("heap.pb"), |to| profile.write_pprof(to))?;
    let svg = profile.timeline_svg("Words and items of heapwright's sources, indexed");
    file(&out.join("timeline.svg"), |to| write!(to, "{svg}"))?;
    file(&out.join("heap-map.html"), |to| film.write_html("The arena while sources are indexed", to))
}

fn run(arguments: &Arguments) -> io::Result<()> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = arguments.path.clone().unwrap_or_else(|| project.join("src"));
    let out = arguments.out.clone().unwrap_or_else(|| project.join("target/heap_profile"));
    let mut stdout = io::stdout();
    let report = HEAP.sink().report_leaks(io::stdout());
    let mut film = Film::new();
    let found = work(&path, &mut film)?;
    writeln!(stdout, "{found}\n")?;
    drop(found);
    let profile = HEAP.sink().profile();
    writeln!(stdout, "{profile}")?;
    write_all(&out, &profile, &film)?;
    writeln!(stdout)?;
    drop((path, out));
    drop(report);
    Ok(())
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "heap_profile: {error}");
            ExitCode::FAILURE
        }
    }
}
