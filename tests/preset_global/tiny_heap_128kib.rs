//! `TinyHeap128KiB` as the global allocator of a whole program.

mod program;

use heapwright::preset::TinyHeap128KiB;

#[global_allocator]
static HEAP: TinyHeap128KiB<{ 256 << 10 }> = TinyHeap128KiB::new();

fn main() {
    program::run(&HEAP);
}
