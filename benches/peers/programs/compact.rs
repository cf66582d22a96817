//! The workloads in heapwright `CompactMalloc`.

mod workloads;

#[global_allocator]
static GLOBAL: heapwright::preset::CompactMalloc = heapwright::preset::CompactMalloc;

fn main() {
    workloads::main(|| heapwright::preset::CompactMalloc.release());
}
