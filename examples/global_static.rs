//! A whole program in 1 MiB of `.bss`: its global allocator is one line.
//!
//! Counts the words of a text, in several threads, and says how much of the heap that took.
//!
//! ```text
//! cargo run --example global_static -- the words to count, the words that count
//! cargo run --example global_static -- --fill     # what running out looks like
//! cargo run --example global_static -- --panic    # a panic that is caught
//! ```

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::panic;
use std::process::ExitCode;
use std::thread;

use heapwright::arena::StaticArena;
use heapwright::lock::SpinLock;
use heapwright::sizing::Sizing16MiB;

#[global_allocator]
static HEAP: StaticArena<{ 1 << 20 }, Sizing16MiB, SpinLock> = StaticArena::new();

const THREADS: usize = 4;

/// The words of `text` with their counts, each thread taking a share of the text.
fn count_words(text: &[String]) -> BTreeMap<String, usize> {
    let share = text.len().div_ceil(THREADS).max(1);
    let mut all = BTreeMap::new();
    thread::scope(|scope| {
        let counting = |part: &[String]| {
            let mut counts: HashMap<String, usize> = HashMap::new();
            for word in part.iter().flat_map(|argument| argument.split_whitespace()) {
                let word = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
                *counts.entry(word).or_default() += 1;
            }
            counts
        };
        let threads: Vec<_> = text.chunks(share).map(|part| scope.spawn(move || counting(part))).collect();
        for counts in threads.into_iter().filter_map(|thread| thread.join().ok()) {
            for (word, count) in counts {
                *all.entry(word).or_default() += count;
            }
        }
    });
    all
}

/// Takes all there is. Collections that can't report it end the program with "memory allocation of .. bytes failed".
fn fill() {
    let mut blocks: Vec<Box<[u8]>> = Vec::new();
    loop {
        blocks.push(vec![1; 10_000].into_boxed_slice());
    }
}

/// Asks first, so that it can report that there is no more.
fn fill_politely(out: &mut impl Write) -> io::Result<()> {
    let mut bytes: Vec<u8> = Vec::new();
    while bytes.try_reserve_exact(10_000).is_ok() {
        bytes.resize(bytes.capacity(), 1);
    }
    writeln!(out, "no more than {} bytes in one piece", bytes.capacity())
}

/// Panics with 101 objects live and catches it, twice: what one costs, the heap gets back.
fn panic_twice(out: &mut impl Write) -> io::Result<()> {
    let objects_after = || {
        let caught = panic::catch_unwind(|| {
            let words = vec![String::from("on the heap"); 100];
            assert!(words.is_empty(), "{} words of no use", words.len());
        });
        drop(caught);
        HEAP.usage().objects
    };
    let (first, second) = (objects_after(), objects_after());
    writeln!(out, "caught two panics, the second left {} objects behind", second.saturating_sub(first))
}

fn report(out: &mut impl Write) -> io::Result<()> {
    let usage = HEAP.usage();
    writeln!(
        out,
        "heap: {} bytes used by {} objects, {} bytes free of {}",
        usage.used, usage.objects, usage.free, usage.total
    )
}

fn main() -> io::Result<ExitCode> {
    // To print a backtrace, std reads the debug information into the heap: megabytes. Where they aren't there, it waits for its
    // own lock for ever. So with a small heap the message must do, whatever RUST_BACKTRACE says.
    panic::set_hook(Box::new(|info| {
        // There is nobody to tell that telling failed.
        let _ = writeln!(io::stderr(), "{info}");
    }));
    let mut out = io::stdout().lock();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--fill") => fill(),
        Some("--fill-politely") => fill_politely(&mut out)?,
        Some("--panic") => panic_twice(&mut out)?,
        _ => {
            for (word, count) in count_words(&arguments) {
                writeln!(out, "{count:4} {word}")?;
            }
        }
    }
    report(&mut out)?;
    Ok(if HEAP.verify().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
