//! Fronts of raw caches as allocators.

use std::alloc::Layout;
use std::thread;

use allocator_api2_04::alloc::Allocator;
use allocator_api2_04::boxed::Box;
use allocator_api2_04::vec::Vec;
use heapwright::arena::StaticArena;
use heapwright::cache::{
    DefaultInit, For, Handle, HeapSlots, KeepAll, Magazined, ObjectCache, PerCpu, SlabCache,
};
use heapwright::lock::SpinLock;
use heapwright::sizing::Sizing128KiB;
use heapwright::slab::AlignedSlabs;
use heapwright::source::GlobalHeap;
use static_assertions::{assert_impl_all, assert_not_impl_any};

type Blocks = SlabCache<AlignedSlabs<GlobalHeap, 4096>, SpinLock, For<[u64; 4]>, KeepAll, 0>;
type Small = Magazined<Blocks, SpinLock, 4, 2>;

heapwright::magazined! {
    static BLOCKS as PerThreadBlocks: Small = Magazined::new(SlabCache::over(GlobalHeap));
}

assert_impl_all!(PerThreadBlocks: Allocator);
assert_impl_all!(Handle<'_, Blocks>: Allocator);
assert_impl_all!(PerCpu<Small, 2>: Allocator);
assert_impl_all!(Handle<'_, HeapSlots<'static, StaticArena<4096, Sizing128KiB>>>: Allocator);
type Objects = ObjectCache<String, DefaultInit, AlignedSlabs<GlobalHeap>, SpinLock>;
assert_not_impl_any!(Handle<'_, Objects>: Allocator);
assert_not_impl_any!(Handle<'_, &'static Objects>: Allocator);

fn live(layer: &Small) -> usize {
    layer.reap();
    layer.cache().stats().live
}

/// Blocks of several layouts come, change and go; says what was wrong.
fn use_up<A: Allocator + Copy>(front: A) {
    let word = Box::new_in(7u16, front);
    let mut list = Vec::new_in(front);
    list.extend([1u64, 2]);
    list.push(3);
    list.push(4);
    assert_eq!((*word, &list[..], list.capacity()), (7, &[1, 2, 3, 4][..], 4), "it grew within its slot");
    assert!(list.try_reserve(1).is_err(), "there is no larger slot");
    assert_eq!(&list[..], &[1, 2, 3, 4], "and it is as it was");
    list.truncate(1);
    list.shrink_to_fit();
    assert_eq!(&list[..], &[1]);
    assert!(front.allocate(Layout::new::<[u64; 5]>()).is_err());
    assert!(front.allocate(Layout::new::<std::sync::atomic::AtomicU64>().align_to(64).unwrap()).is_err());
    assert_eq!(front.allocate(Layout::new::<()>()).map(|block| block.len()), Ok(0));

    // What came back dirty, by a pointer good for two bytes, comes out clean and whole.
    drop(word);
    let layout = Layout::new::<[u64; 2]>();
    let block = front.allocate_zeroed(layout).unwrap();
    assert_eq!(block.len(), 32);
    // SAFETY: the block is live and this long, its bytes zero.
    assert_eq!(unsafe { block.cast::<[u64; 4]>().read() }, [0; 4]);
    // SAFETY: the block is live, and its alone.
    unsafe { block.cast::<[u64; 4]>().write([u64::MAX; 4]) };
    // SAFETY: the block is live, with this layout; the new one is not smaller.
    let grown = unsafe { front.grow_zeroed(block.cast(), layout, Layout::new::<[u64; 4]>()) }.unwrap();
    assert_eq!(grown.cast(), block.cast::<u8>());
    // SAFETY: as above.
    assert_eq!(unsafe { grown.cast::<[u64; 4]>().read() }, [u64::MAX, u64::MAX, 0, 0]);
    // SAFETY: the block is live, with this layout.
    unsafe { front.deallocate(grown.cast(), Layout::new::<[u64; 4]>()) };
}

/// Blocks of size zero come and go without a slot, and turn into one and back.
#[test]
fn blocks_of_size_zero_take_no_slot() {
    let layer: Small = Magazined::new(SlabCache::over(GlobalHeap));
    let front = &layer.handle();
    let (none, some) = (Layout::new::<[u64; 0]>(), Layout::new::<[u64; 3]>());
    let nothing = front.allocate(none).unwrap();
    assert_eq!((nothing.len(), live(&layer)), (0, 0));
    // SAFETY: a live block of no size; the new layout is larger.
    let block = unsafe { front.grow(nothing.cast(), none, some) }.unwrap();
    assert_eq!(block.len(), 32);
    // SAFETY: the block is live, with this layout; the new one is smaller.
    let nothing = unsafe { front.shrink(block.cast(), some, none) }.unwrap();
    assert_eq!(nothing.len(), 0);
    let next = front.allocate(some).unwrap();
    assert_eq!(next.cast::<u8>(), block.cast(), "its slot came back");
    // SAFETY: a live block of no size.
    unsafe { front.deallocate(nothing.cast(), none) };
    // SAFETY: the block is live, with this layout.
    unsafe { front.deallocate(next.cast(), some) };
    front.flush();
    assert_eq!(live(&layer), 0);
}

#[test]
fn a_handle_is_an_allocator() {
    let layer: Small = Magazined::new(SlabCache::over(GlobalHeap));
    let front = layer.handle();
    use_up(&front);
    let many: std::vec::Vec<_> = (0..50u64).map(|number| Box::new_in(number, &front)).collect();
    assert!(many.iter().zip(0..).all(|(boxed, number)| **boxed == number));
    drop(many);
    drop(front);
    assert_eq!(live(&layer), 0);
    // By value: the front goes with the box.
    drop(Box::new_in(1, layer.handle()));
    assert_eq!(live(&layer), 0);
}

#[test]
fn a_front_per_cpu_is_an_allocator() {
    let fronts: PerCpu<Small, 2> = PerCpu::new(Magazined::new(SlabCache::over(GlobalHeap)), || 1);
    use_up(&fronts);
    fronts.flush();
    assert_eq!(live(fronts.magazined()), 0);
}

#[test]
fn boxes_of_a_front_per_thread_are_one_word_and_go_where_they_like() {
    let boxes = thread::spawn(|| {
        use_up(PerThreadBlocks);
        (0..30u64).map(|number| Box::new_in([number; 4], PerThreadBlocks)).collect::<std::vec::Vec<_>>()
    });
    let boxes = boxes.join().unwrap();
    assert_eq!(size_of_val(&boxes[0]), size_of::<usize>());
    assert!(BLOCKS.cache().stats().live >= 30);
    let sum = thread::spawn(move || boxes.into_iter().map(|numbers| numbers[3]).sum::<u64>());
    assert_eq!(sum.join().unwrap(), 435);
    assert_eq!(live(&BLOCKS), 0);
}
