//! `TinyHeap16MiB` as the global allocator of a whole program.

mod program;

use heapwright::preset::TinyHeap16MiB;

#[global_allocator]
static HEAP: TinyHeap16MiB<{ 1 << 20 }> = TinyHeap16MiB::new();

fn main() {
    program::run(&HEAP);
}
