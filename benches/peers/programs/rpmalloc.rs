//! The workloads in rpmalloc.

mod workloads;

#[global_allocator]
static GLOBAL: rpmalloc::RpMalloc = rpmalloc::RpMalloc;

fn main() {
    // The crate has no function for it.
    workloads::main(|| ());
}
