//! `TinyHeap4KiB` as the global allocator.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod program;

use heapwright::preset::TinyHeap4KiB;

#[global_allocator]
static HEAP: TinyHeap4KiB<12288> = TinyHeap4KiB::new();

fn main() {
    program::main(|| HEAP.usage().objects);
}
