//! `StaticHeap` as the global allocator of a whole program.

mod program;

use heapwright::preset::StaticHeap;

#[global_allocator]
static HEAP: StaticHeap<{ 64 << 10 }> = StaticHeap::new();

fn main() {
    program::run(&HEAP);
}
