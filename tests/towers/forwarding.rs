//! What blocks around others pass on.

use heapwright::conformance::{Call, Probe, forwards};
use heapwright::heap::Locked;
use heapwright::lock::NoLock;
use heapwright::source::SourceHeap;

use crate::based::Based;
use crate::rows;

/// A heap's blocks, through the heap as a source: sizes are the source's business, and so are in-place resizes.
fn through(probe: Probe) -> Based<SourceHeap<&'static Locked<Probe, NoLock>>, Locked<Probe, NoLock>> {
    Based::new(Locked::new(probe), SourceHeap::new)
}

rows! {
    based: forwards(|probe| Based::new((), |()| probe)).at_hand().owns().resets();
    source_heap: forwards(through)
        .except(Call::AllocZeroed)
        .except(Call::Resize)
        .except(Call::GoodSize)
        .except(Call::AllocBatch)
        .except(Call::DeallocBatch)
        .except(Call::ReleaseUnused)
        .except(Call::TakeFinding);
}
