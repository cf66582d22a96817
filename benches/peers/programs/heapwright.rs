//! The workloads in heapwright `SlabMalloc`.

mod workloads;

#[global_allocator]
static GLOBAL: heapwright::preset::SlabMalloc = heapwright::preset::SlabMalloc;

fn main() {
    workloads::main(|| heapwright::preset::SlabMalloc.release());
}
