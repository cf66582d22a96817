//! `SlabMalloc` as the global allocator of a program.

#![cfg(all(feature = "std", any(unix, windows), not(miri)))]

mod programs;

use heapwright::preset::SlabMalloc as Global;

#[global_allocator]
static GLOBAL: Global = Global;

/// How much of the longest tests is run: all.
const PART: usize = 1;
