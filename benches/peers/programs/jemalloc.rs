//! The workloads in jemalloc.

mod workloads;

#[global_allocator]
static GLOBAL: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Gives back what it can: what the thread has cached, and all dirty pages of all arenas (4096 stands for all).
fn release() {
    for name in [c"thread.tcache.flush", c"arena.4096.purge"] {
        let nothing = std::ptr::null_mut();
        // SAFETY: a name that ends with a null, and no values.
        unsafe { tikv_jemalloc_sys::mallctl(name.as_ptr(), nothing, nothing.cast(), nothing, 0) };
    }
}

fn main() {
    workloads::main(release);
}
