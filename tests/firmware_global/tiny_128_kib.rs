//! `TinyHeap128KiB` as the global allocator.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod program;

use heapwright::preset::TinyHeap128KiB;

#[global_allocator]
static HEAP: TinyHeap128KiB<65536> = TinyHeap128KiB::new();

fn main() {
    program::main(|| HEAP.usage().objects);
}
