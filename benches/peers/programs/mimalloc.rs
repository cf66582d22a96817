//! The workloads in mimalloc, of the version that this program is built with.

mod workloads;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives back what it can.
fn release() {
    // SAFETY: it may be called at any time.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

fn main() {
    workloads::main(release);
}
