//! `TinyHeap16MiB` as the global allocator.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod program;

use heapwright::preset::TinyHeap16MiB;

#[global_allocator]
static HEAP: TinyHeap16MiB<{ 256 << 10 }> = TinyHeap16MiB::new();

fn main() {
    program::main(|| HEAP.usage().objects);
}
