//! `HardenedMalloc` as the global allocator of a program.

#![cfg(all(feature = "std", any(unix, windows), not(miri)))]

#[path = "../malloc_global/programs.rs"]
mod programs;

use heapwright::preset::HardenedMalloc as Global;

#[global_allocator]
static GLOBAL: Global = Global;

/// How much of the longest tests is run: a fifth.
const PART: usize = 5;
