//! The standard library's own collections in heapwright's heaps, by core's unstable `Allocator`.
#![cfg(feature = "nightly")]
#![feature(allocator_api, btreemap_alloc)]

use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::sync::Arc;

use heapwright::arena::{StaticArena, Teaspoon};
use heapwright::lock::{NoLock, SpinLock};
use heapwright::sizing::Sizing128KiB;

heapwright::instance! {
    static HEAP as Handle: StaticArena<65536, Sizing128KiB, SpinLock> = StaticArena::new();
}

#[test]
fn std_collections_by_reference() {
    let mut memory = vec![MaybeUninit::uninit(); 64 << 10];
    let spoon = Teaspoon::<Sizing128KiB, NoLock>::from_slice(&mut memory);
    let start = spoon.usage();
    let mut tree = BTreeMap::new_in(&spoon);
    let mut ring = VecDeque::new_in(&spoon);
    let mut largest = BinaryHeap::new_in(&spoon);
    for number in 0..300u32 {
        tree.insert(number.reverse_bits(), number);
        ring.push_front(number);
        largest.push(number ^ 0x55);
        if number % 3 == 0 {
            ring.pop_back();
        }
    }
    assert!((0..300).all(|n| tree.get(&u32::reverse_bits(n)) == Some(&n)));
    assert!(ring.iter().copied().eq((100..300).rev()));
    assert_eq!(largest.into_sorted_vec().len(), 300);
    drop((tree, ring));
    assert_eq!(spoon.usage(), start);
}

#[test]
fn std_boxes_by_handle() {
    assert_eq!(size_of::<Box<u8, Handle>>(), size_of::<usize>());
    let unsized_box: Box<dyn Fn(u32) -> u32 + Send, Handle> = Box::new_in(|n| n + 1, Handle);
    assert_eq!(std::thread::spawn(move || unsized_box(1)).join().unwrap(), 2);
    let pinned = Box::pin_in(3, Handle);
    let shared = Arc::new_in(vec![*pinned], Handle);
    let local = Rc::new_in(shared.clone(), Handle);
    assert_eq!((local[0], Arc::strong_count(&shared)), (3, 2));
    assert_eq!(HEAP.usage().objects, 3);
    drop((pinned, shared, local));
    assert_eq!((HEAP.usage().used, HEAP.usage().objects), (0, 0));
}

#[test]
fn by_value() {
    let mut memory = [MaybeUninit::uninit(); 4096];
    let spoon = Teaspoon::<Sizing128KiB, SpinLock>::from_slice(&mut memory);
    let mut text = Vec::new_in(spoon);
    text.extend_from_slice(&[7u8; 100]);
    text.shrink_to_fit();
    assert!(text.iter().all(|&byte| byte == 7));
    assert_eq!(text.allocator().usage().objects, 1);
}
