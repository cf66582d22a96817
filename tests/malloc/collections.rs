//! The allocator traits' users.

#[cfg(feature = "allocator-api2-02")]
#[test]
fn boxes_vectors_and_maps_of_version_0_2() {
    use allocator_api2_02::{boxed::Box, vec::Vec};
    use hashbrown_17::{DefaultHashBuilder, HashMap};
    use heapwright::preset::SlabMalloc;

    let mut map = HashMap::with_hasher_in(DefaultHashBuilder::default(), SlabMalloc);
    for number in 0..5000u64 {
        let mut list = Vec::new_in(SlabMalloc);
        list.extend(0..number % 50);
        map.insert(number, Box::new_in(list, SlabMalloc));
    }
    map.retain(|number, _| number % 3 == 0);
    assert_eq!(map.len(), 1667);
    assert!(map.iter().all(|(number, list)| list.iter().sum::<u64>() == (0..number % 50).sum()));
    assert_eq!(size_of_val(&map[&0]), size_of::<usize>());
}

#[cfg(feature = "allocator-api2-04")]
#[test]
fn vectors_of_version_0_4_grow_shrink_and_are_zeroed() {
    use allocator_api2_04::alloc::Allocator;
    use allocator_api2_04::vec::Vec;
    use heapwright::preset::SlabMalloc;
    use std::alloc::Layout;

    let mut list = Vec::new_in(SlabMalloc);
    (0..3_000_000u32).for_each(|number| list.push(number));
    list.truncate(1000);
    list.shrink_to_fit();
    assert!(list.iter().copied().eq(0..1000));
    let (short, long) = (Layout::new::<[u8; 100]>(), Layout::new::<[u8; 3_000_000]>());
    let block = SlabMalloc.allocate(short).unwrap();
    // SAFETY: the block is live, and its layout first the one, then the other.
    unsafe {
        block.cast::<u8>().write_bytes(9, 100);
        let grown = SlabMalloc.grow_zeroed(block.cast(), short, long).unwrap();
        let bytes = std::slice::from_raw_parts(grown.cast::<u8>().as_ptr(), 3_000_000);
        assert!(bytes[..100].iter().all(|&byte| byte == 9) && bytes[100..].iter().all(|&byte| byte == 0));
        let shrunk = SlabMalloc.shrink(grown.cast(), long, short).unwrap();
        assert_eq!(shrunk.cast::<[u8; 100]>().read(), [9; 100]);
        SlabMalloc.deallocate(shrunk.cast(), short);
    }
}

/// A block that has no class, and is to have another alignment, moves.
#[cfg(feature = "allocator-api2-04")]
#[test]
fn long_blocks_get_another_alignment() {
    use allocator_api2_04::alloc::Allocator;
    use heapwright::preset::SlabMalloc;
    use std::alloc::Layout;

    let old = Layout::from_size_align(1_000_000, 8).unwrap();
    let new = Layout::from_size_align(1_200_000, 1 << 20).unwrap();
    let block = SlabMalloc.allocate(old).unwrap().cast::<u8>();
    // SAFETY: the block is live, and so long.
    unsafe { block.write_bytes(7, old.size()) };
    // SAFETY: the block is live, with its layout.
    let grown = unsafe { SlabMalloc.grow(block, old, new) }.unwrap().cast::<u8>();
    assert_eq!(grown.addr().get() % new.align(), 0);
    // SAFETY: the block is live, and so long.
    let bytes = unsafe { std::slice::from_raw_parts(grown.as_ptr(), old.size()) };
    assert!(bytes.iter().all(|&byte| byte == 7));
    // SAFETY: as above.
    unsafe { SlabMalloc.deallocate(grown, new) };
}

/// What comes back through the allocator traits is free; and a block of size zero, which is none, grows and is shrunk to.
#[cfg(feature = "allocator-api2-04")]
#[test]
fn what_is_deallocated_is_free_and_size_zero_is_no_block() {
    use allocator_api2_04::alloc::Allocator;
    use heapwright::cache::{ChunkHeap, Classes, KeepAll, MallocSettings};
    use heapwright::{lock::YieldLock, source::Pages};
    use std::alloc::Layout;

    struct Traits;
    impl MallocSettings for Traits {
        type Classes = Classes;
        type Chunks = ChunkHeap<Pages, YieldLock, KeepAll>;
        type Lock = YieldLock;
    }
    heapwright::malloc! { static TRAITS as TraitsMalloc: Traits = ChunkHeap::new(Pages); }

    let zero = Layout::from_size_align(0, 8).unwrap();
    for size in [1, 100, 5000, 100_000, 2_000_000] {
        let layout = Layout::from_size_align(size, 8).unwrap();
        let block = TraitsMalloc.allocate(layout).unwrap();
        assert!(TraitsMalloc.stats().bytes_live >= size, "{size}");
        // SAFETY: live, with its layout.
        unsafe { TraitsMalloc.deallocate(block.cast(), layout) };
        assert_eq!(TraitsMalloc.stats().bytes_live, 0, "{size}");
        let nothing = TraitsMalloc.allocate(zero).unwrap();
        // SAFETY: live, with its layout.
        let block = unsafe { TraitsMalloc.grow(nothing.cast(), zero, layout) }.unwrap();
        // SAFETY: live, and so long.
        unsafe { block.cast::<u8>().write_bytes(5, size) };
        assert!(TraitsMalloc.stats().bytes_live >= size, "{size}");
        // SAFETY: live, with its layout.
        let nothing = unsafe { TraitsMalloc.shrink(block.cast(), layout, zero) }.unwrap();
        assert_eq!(TraitsMalloc.stats().bytes_live, 0, "{size}");
        // SAFETY: live, with its layout.
        unsafe { TraitsMalloc.deallocate(nothing.cast(), zero) };
    }
}
