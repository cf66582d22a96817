//! Blocks that watch or guard one heap: that every method of the heap within is reached, and that blocks are whole whatever fails.

mod forwarding;
mod probe;

use std::alloc::Layout;

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}
