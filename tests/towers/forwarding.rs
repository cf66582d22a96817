//! What blocks around others pass on.

use heapwright::cache::Classes;
use heapwright::check::Abort;
use heapwright::combine::{
    Affix, AlignUp, AtMost, Counted, FailNth, Fallback, FreeLists, Multiples, OnFree, Quantize, Quarantine,
    Quota, RedZones, Ring, Scoped, Segregate, Zeroing,
};
use heapwright::conformance::{Call, Probe, forwards};
use heapwright::heap::{Heap, Locked, NoHeap};
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
        .except(Call::Judge)
        .except(Call::TakeFinding);
}

/// Whether the heap within is asked about a block before something is done to it elsewhere.
fn asks<H: Heap>(make: impl Fn(Probe) -> H) -> bool {
    !forwards(make).missing().contains(&Call::Judge)
}

#[test]
fn blocks_are_judged_where_they_are_from() {
    assert!(asks(Affix::<u32, _>::new));
    assert!(asks(AlignUp::<64, _>::new));
    assert!(asks(Quantize::<Multiples<16>, _>::new));
    assert!(asks(FreeLists::<Classes, _, AtMost<4>>::new));
    assert!(asks(Scoped::new));
    assert!(asks(|probe| RedZones::<8, 8, _>::new(probe, Abort)));
    assert!(asks(|probe| Quarantine::<4, _>::new(probe, Abort)));
    assert!(asks(|probe| Quota::new(probe, 1000)));
    assert!(asks(|probe| Counted::new((), probe)));
    assert!(asks(FailNth::never));
    assert!(asks(Zeroing::<OnFree, _>::new));
    assert!(asks(|probe| Fallback::new(probe, NoHeap)));
    assert!(asks(|probe| Segregate::<100, _, _>::new(probe, NoHeap)));
    assert!(asks(|probe| Ring::new([probe, Probe::new()])));
}

/// Whether what the heap within finds comes out of the one around it.
fn tells<H: Heap>(make: impl Fn(Probe) -> H) -> bool {
    !forwards(make).missing().contains(&Call::TakeFinding)
}

#[test]
fn findings_come_through() {
    assert!(tells(Affix::<u32, _>::new));
    assert!(tells(AlignUp::<64, _>::new));
    assert!(tells(Quantize::<Multiples<16>, _>::new));
    assert!(tells(FreeLists::<Classes, _, AtMost<4>>::new));
    assert!(tells(Scoped::new));
    assert!(tells(|probe| RedZones::<8, 8, _>::new(probe, Abort)));
    assert!(tells(|probe| Quarantine::<4, _>::new(probe, Abort)));
    assert!(tells(|probe| Quota::new(probe, 1000)));
    assert!(tells(|probe| Counted::new((), probe)));
    assert!(tells(FailNth::never));
    assert!(tells(Zeroing::<OnFree, _>::new));
    assert!(tells(|probe| Fallback::new(probe, NoHeap)));
    assert!(tells(|probe| Fallback::new(Probe::new(), probe)));
    assert!(tells(|probe| Segregate::<100, _, _>::new(probe, NoHeap)));
    assert!(tells(|probe| Segregate::<100, _, _>::new(NoHeap, probe)));
    assert!(tells(|probe| Ring::new([Probe::new(), Probe::new(), probe])));
}
