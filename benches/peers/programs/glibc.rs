//! The workloads in the C library's allocator.

mod workloads;

#[global_allocator]
static GLOBAL: std::alloc::System = std::alloc::System;

/// Gives back what it can.
fn release() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time.
    unsafe {
        libc::malloc_trim(0)
    };
}

fn main() {
    workloads::main(release);
}
