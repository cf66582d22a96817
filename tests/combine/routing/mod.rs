//! What sends requests somewhere or shapes them: `Fallback`, `SegregateBy`, `PerClass`, `FreeLists`, `Quantize`, `AlignUp`, `Affix`, and towers of them.
#![expect(clippy::expect_used, reason = "a test that can not go on says why and stops")]

mod affixes;
mod constants;
mod edges;
mod forwarding;
mod routes;
mod shadow;
mod strict;
mod towers;

use std::alloc::Layout;

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a valid layout")
}
