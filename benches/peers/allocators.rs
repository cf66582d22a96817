//! The other allocators.

use snmalloc_rs::SnMalloc;
use tikv_jemallocator::Jemalloc;

use crate::global::Global;

impl Global for SnMalloc {
    const NAME: &'static str = "snmalloc";
    const IT: Self = SnMalloc;
}

impl Global for Jemalloc {
    const NAME: &'static str = "jemalloc";
    const IT: Self = Jemalloc;
}
