//! General allocators.

use crate::cache::{ChunkHeap, Classes, MallocSettings, StdClock, WorkingSet};
use crate::lock::YieldLock;
use crate::source::Pages;

/// The settings of [`SlabMalloc`].
#[derive(Debug)]
pub struct SlabSettings;

impl MallocSettings for SlabSettings {
    type Classes = Classes;
    type Chunks = ChunkHeap<Pages, YieldLock, WorkingSet<StdClock, 1000>, 32768, 16>;
    type Lock = YieldLock;
}

/// The settings of [`CompactMalloc`].
#[derive(Debug)]
pub struct CompactSettings;

impl MallocSettings for CompactSettings {
    type Classes = Classes;
    type Chunks = ChunkHeap<Pages, YieldLock, WorkingSet<StdClock, 100>, 32768>;
    type Lock = YieldLock;
    const FRONT_SLOTS: usize = 16;
    const FRONT_BYTES: usize = 8 << 10;
    const DEPOT_SLOTS: usize = 16;
    const DEPOT_BYTES: usize = 8 << 10;
    const SHARDS: usize = 1;
}

crate::malloc! {
    /// The heap behind [`SlabMalloc`].
    pub static SLAB_MALLOC as SlabMalloc: SlabSettings = ChunkHeap::new(Pages);
    /// The heap behind [`CompactMalloc`].
    pub static COMPACT_MALLOC as CompactMalloc: CompactSettings = ChunkHeap::new(Pages);
}
