//! `StaticHeap` as the global allocator.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod program;

use heapwright::preset::StaticHeap;

#[global_allocator]
static HEAP: StaticHeap<{ 1 << 20 }> = StaticHeap::new();

fn main() {
    program::main(|| HEAP.usage().objects);
}
