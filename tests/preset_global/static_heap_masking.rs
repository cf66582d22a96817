//! `StaticHeap` under `CriticalSectionLock` as the global allocator of a whole program.

mod program;

use heapwright::lock::CriticalSectionLock;
use heapwright::preset::StaticHeap;

#[global_allocator]
static HEAP: StaticHeap<{ 300 << 10 }, CriticalSectionLock> = StaticHeap::new();

fn main() {
    program::run(&HEAP);
}
