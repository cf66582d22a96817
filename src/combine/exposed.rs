//! Blocks of a child that are longer than their owner's layout says: found again by their address.
//!
//! A pointer that comes back is good for its layout's size only (H1). A combinator that asks its child for more than it was asked for
//! exposes the child's block when it hands it out, and makes a pointer to the whole of it when it comes back.

use core::ptr::{self, NonNull};

use crate::AllocError;
use crate::mem;

/// Blocks that are passed on at a time, where each needs another pointer.
const AT_ONCE: usize = 32;

/// A child's block that has been asked for with `len` bytes, exposed, and cut to these: it has no fewer (H1).
#[inline(always)]
pub(super) fn expose(block: NonNull<[u8]>, len: usize) -> NonNull<[u8]> {
    debug_assert!(block.len() >= len);
    expose_up_to(mem::slice(block.cast(), len), len)
}

/// A child's block, exposed, and cut to `len` bytes at most.
#[inline(always)]
pub(super) fn expose_up_to(block: NonNull<[u8]>, len: usize) -> NonNull<[u8]> {
    let _ = block.cast::<u8>().as_ptr().expose_provenance();
    mem::slice(block.cast(), block.len().min(len))
}

/// The same, of what a child has answered.
#[inline(always)]
pub(super) fn expose_some(
    block: Result<NonNull<[u8]>, AllocError>,
    len: usize,
) -> Result<NonNull<[u8]>, AllocError> {
    Ok(expose(block?, len))
}

/// What lies at the address of `ptr`, good for all of the block that was exposed there.
#[inline(always)]
pub(super) fn whole(ptr: NonNull<u8>) -> NonNull<u8> {
    // SAFETY: an address of a pointer that is not null.
    unsafe { NonNull::new_unchecked(ptr::with_exposed_provenance_mut(ptr.addr().get())) }
}

/// Gives `blocks` to `work`, some at a time, each as `change` has it.
pub(super) fn each_changed(
    blocks: &[NonNull<u8>],
    change: impl Fn(NonNull<u8>) -> NonNull<u8>,
    mut work: impl FnMut(&[NonNull<u8>]),
) {
    let mut changed = [NonNull::dangling(); AT_ONCE];
    for some in blocks.chunks(AT_ONCE) {
        for (place, &block) in changed.iter_mut().zip(some) {
            *place = change(block);
        }
        work(&changed[..some.len()]);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::vec::Vec;

    #[test]
    fn many_blocks_are_passed_on_some_at_a_time_in_order() {
        let mut bytes = [0u8; 100];
        let first = NonNull::from(&mut bytes).cast::<u8>();
        for count in [0, 1, 31, 32, 33, 64, 97] {
            let blocks: Vec<_> =
                (0..count).map(|idx| first.map_addr(|addr| addr.saturating_add(idx))).collect();
            let mut seen = Vec::new();
            let next = |block: NonNull<u8>| block.map_addr(|addr| addr.saturating_add(1));
            each_changed(&blocks, next, |some| {
                assert!(!some.is_empty() && some.len() <= AT_ONCE);
                seen.extend_from_slice(some);
            });
            assert!(seen.iter().copied().eq(blocks.iter().map(|&block| next(block))));
        }
    }

    #[test]
    fn a_pointer_to_the_whole_is_made_of_one_to_a_part() {
        let mut bytes = [0u8; 16];
        let block = expose(mem::slice(NonNull::from(&mut bytes).cast(), 16), 12);
        assert_eq!(block.len(), 12);
        let start = block.cast::<u8>();
        // SAFETY: a byte of the array.
        let part = NonNull::from(unsafe { &mut *start.as_ptr() });
        // SAFETY: the array has 16 bytes, all exposed.
        let last = unsafe { whole(part).add(15) };
        // SAFETY: as above.
        unsafe { last.write(7) };
        // SAFETY: as above.
        assert_eq!(unsafe { last.read() }, 7);
    }
}
