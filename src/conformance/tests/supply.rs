//! The kit's source: what it notes, what it refuses, and what it does with memory that nobody needs.

use core::alloc::Layout;
use core::ptr::NonNull;
use std::string::String;
use std::sync::Arc;

use crate::AllocError;
use crate::conformance::Source;
use crate::conformance::supply::{Injection, Ledger};
use crate::source::BackingSource;

fn source<const GRANULE: usize, const ZEROED: bool>() -> (Source<GRANULE, ZEROED>, Arc<Ledger>) {
    let ledger = Ledger::new(Injection::NONE);
    (Source::new(Arc::clone(&ledger)), ledger)
}

const SIXTY: Layout = Layout::new::<[u32; 15]>();

/// A source with a block of 60 bytes; what is done to it, and the fault that the source notes.
fn noted(work: impl FnOnce(&mut Source, NonNull<u8>)) -> Option<String> {
    let (mut source, ledger) = source::<1, false>();
    let block = source.acquire(SIXTY).unwrap();
    work(&mut source, block.cast());
    assert_eq!(ledger.blocks(), 1, "the block is still there");
    ledger.fault()
}

#[test]
fn a_resize_the_wrong_way_round_is_noted() {
    let fault = noted(|source, block| {
        // SAFETY: the fault that is looked for, here and below; the source keeps account of its blocks.
        let _ = unsafe { source.extend(block, SIXTY, 30) };
    });
    assert!(fault.unwrap().starts_with("extend of "));
    let fault = noted(|source, block| {
        // SAFETY: as above.
        let _ = unsafe { source.shrink(block, SIXTY, 63) };
    });
    assert!(fault.unwrap().starts_with("shrink of "));
}

#[test]
fn what_is_no_block_is_noted() {
    let mut other = [0u8; 60];
    let stranger = NonNull::from(&mut other).cast::<u8>();
    // SAFETY: the faults that are looked for; the source keeps account of its blocks.
    let release = noted(|source, _| unsafe { source.release(stranger, SIXTY) });
    assert!(release.unwrap().starts_with("release of "));
    // SAFETY: as above.
    let purge = noted(|source, _| unsafe { source.purge(stranger, 60) });
    assert!(purge.unwrap().starts_with("purge of 60 bytes at "));
    // SAFETY: as above.
    let purge = noted(|source, block| unsafe { source.purge(block, 1 << 20) });
    assert!(purge.unwrap().starts_with("purge of 1048576 bytes at "));
    let remap = noted(|source, _| {
        // SAFETY: as above.
        assert_eq!(unsafe { source.remap(stranger, SIXTY, 120) }, Err(AllocError));
    });
    assert!(remap.unwrap().starts_with("remap of "));
    assert_eq!(other, [0; 60]);
}

/// A refusal is no fault, and the block is as it was.
#[test]
fn sizes_that_can_not_be_had_are_refused() {
    let fault = noted(|source, block| {
        // SAFETY: the block is live, and its layout this one, here and below.
        assert_eq!(unsafe { source.shrink(block, SIXTY, 0) }, Err(AllocError));
        // SAFETY: as above.
        assert_eq!(unsafe { source.remap(block, SIXTY, 30) }, Err(AllocError));
    });
    assert_eq!(fault, None);
}

/// Memory that is given back for a while holds other bytes then: zeros, where all memory arrives so.
fn purged<const ZEROED: bool>() {
    let (mut source, ledger) = source::<1, ZEROED>();
    let block = source.acquire(SIXTY).unwrap().cast::<[u8; 60]>();
    // SAFETY: the block is so long.
    unsafe { block.write([7; 60]) };
    // SAFETY: those bytes are in the block.
    unsafe { source.purge(block.cast(), 32) };
    // SAFETY: the block has been written.
    let bytes = unsafe { block.read() };
    assert!(bytes[..32].iter().all(|&byte| byte == bytes[0] && byte != 7 && (byte == 0) == ZEROED));
    assert_eq!(bytes[32..], [7; 28]);
    // SAFETY: the block is live, and its layout this one.
    unsafe { source.release(block.cast(), SIXTY) };
    assert_eq!((ledger.blocks(), ledger.bytes(), ledger.fault()), (0, 0, None));
}

#[test]
fn purged_memory_is_overwritten() {
    purged::<false>();
    purged::<true>();
}

#[test]
#[should_panic(expected = "no memory for a region of")]
fn a_region_as_large_as_memory_is_not_lent() {
    // SAFETY: it does not come to that.
    let _ = unsafe { source::<1, false>().0.lend(isize::MAX as usize, 1) };
}
