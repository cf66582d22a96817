//! The probe: what it makes of blocks that are not its own, and where its blocks grow.

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::AllocError;
use crate::conformance::{Call, Probe};
use crate::heap::{Heap, Owns};

#[test]
fn blocks_of_others_are_denied() {
    let (mut probe, mut other) = (Probe::new(), 7u64);
    let layout = Layout::new::<u64>();
    let stranger = NonNull::from(&mut other).cast();
    assert!(!probe.owns(stranger, layout));
    // SAFETY: a live block of somebody else.
    assert!(!unsafe { probe.try_dealloc(stranger, layout) });
    // SAFETY: as above.
    assert!(!unsafe { probe.dealloc_at_hand(stranger, layout) });
    assert_eq!((probe.calls(Call::TryDealloc), probe.calls(Call::DeallocAtHand), other), (1, 1, 7));
    let block = probe.alloc(layout).unwrap().cast();
    // SAFETY: the block is live, and its layout this one.
    assert!(unsafe { probe.try_dealloc(block, layout) });
    assert_eq!(probe.blocks(), 0);
}

#[test]
fn a_block_grows_to_twice_its_size_and_then_moves() {
    let mut probe = Probe::new();
    let (old, twice) = (Layout::new::<[u8; 8]>(), Layout::new::<[u8; 16]>());
    let (more, wider) = (Layout::new::<[u8; 17]>(), Layout::new::<u64>());
    let block = probe.alloc_zeroed(old).unwrap().cast::<u8>();
    for refused in [more, wider] {
        // SAFETY: the block is live, and its layout `old`.
        assert_eq!(unsafe { probe.resize_in_place(block, old, refused) }, Err(AllocError));
    }
    // SAFETY: as above.
    let grown = unsafe { probe.resize(block, old, twice) }.unwrap();
    assert_eq!((grown.cast(), grown.len()), (block, 16));
    // SAFETY: the block is so long.
    unsafe { block.cast::<[u8; 16]>().write([9; 16]) };
    // SAFETY: the block is live, and its layout `twice`.
    let moved = unsafe { probe.resize(block, twice, Layout::new::<[u8; 40]>()) }.unwrap();
    assert_eq!((moved.cast() == block, moved.len(), probe.blocks()), (false, 40, 1));
    // SAFETY: the first 16 bytes have been kept.
    assert_eq!(unsafe { moved.cast::<[u8; 16]>().read() }, [9; 16]);
    // SAFETY: the block is live, and its layout this one.
    unsafe { probe.dealloc(moved.cast(), Layout::new::<[u8; 40]>()) };
    assert_eq!((probe.calls(Call::Resize), probe.calls(Call::ResizeInPlace), probe.blocks()), (2, 2, 0));
}
