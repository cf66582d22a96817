//! A general allocator for the whole program, in one line; what it holds, before and after.
//!
//! `cargo run --release --example global_malloc`

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::thread;

use heapwright::preset::SlabMalloc;

#[global_allocator]
static GLOBAL: SlabMalloc = SlabMalloc;

/// So many words of each length on each thread.
const WORDS: usize = 20_000;

fn words(seed: u64) -> BTreeMap<String, Vec<u8>> {
    let mut state = seed;
    (0..WORDS)
        .map(|number| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (format!("{state:x}"), vec![number as u8; (state >> 56) as usize])
        })
        .collect()
}

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    let threads: Vec<_> = (0..4).map(|seed| thread::spawn(move || words(seed))).collect();
    let maps: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().ok()).collect();
    writeln!(
        out,
        "{} words of {} threads:\n{}",
        maps.iter().map(BTreeMap::len).sum::<usize>(),
        maps.len(),
        SlabMalloc.stats()
    )?;
    drop(maps);
    SlabMalloc.release();
    writeln!(out, "after they are gone, and a release:\n{}", SlabMalloc.stats())
}
