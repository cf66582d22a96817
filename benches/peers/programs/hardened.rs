//! The workloads in heapwright `HardenedMalloc`.

mod workloads;

#[global_allocator]
static GLOBAL: heapwright::preset::HardenedMalloc = heapwright::preset::HardenedMalloc;

fn main() {
    workloads::main(|| heapwright::preset::HardenedMalloc.release());
}
