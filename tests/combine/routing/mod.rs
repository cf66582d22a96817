//! What sends requests somewhere or shapes them: `Fallback`, `SegregateBy`, `PerClass`, `FreeLists`, `Quantize`, `AlignUp`, `Affix`, and towers of them.

mod affixes;
mod constants;
mod forwarding;
mod routes;
mod shadow;
mod strict;
mod towers;

use std::alloc::Layout;

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a valid layout")
}
