//! `TinyHeap4KiB` as the global allocator of a whole program.

mod program;

use heapwright::preset::TinyHeap4KiB;

#[global_allocator]
static HEAP: TinyHeap4KiB<{ 12 << 10 }> = TinyHeap4KiB::new();

fn main() {
    program::run(&HEAP);
}
