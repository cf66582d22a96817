//! The workloads in snmalloc.

mod workloads;

#[global_allocator]
static GLOBAL: snmalloc_rs::SnMalloc = snmalloc_rs::SnMalloc;

fn main() {
    // The crate has no function for it.
    workloads::main(|| ());
}
