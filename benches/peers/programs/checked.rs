//! The workloads in heapwright `CheckedMalloc`.

mod workloads;

#[global_allocator]
static GLOBAL: heapwright::preset::CheckedMalloc = heapwright::preset::CheckedMalloc;

fn main() {
    workloads::main(|| heapwright::preset::CheckedMalloc.release());
}
