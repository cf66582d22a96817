//! That no wrapper forgets a method of the heap within.

use std::mem::MaybeUninit;

use heapwright::combine::{
    Affix, AlignUp, BySize, Fallback, FreeLists, Multiples, PerClass, Quantize, SegregateBy,
};
use heapwright::heap::{Heap, NoHeap};
use heapwright::size_classes;

use super::layout;
use super::strict::{Shared, Strict};

size_classes! { struct Steps = [64, 96, 128, 192], waste 40 %; }

/// Calls each method of the wrapper, and sees that the one of the heap within was called once.
fn forwards<H: Heap>(make: impl Fn(Strict) -> H) {
    let log = Shared::default();
    let mut heap = make(log.heap());
    let old = layout(40, 8);
    let at = heap.alloc(old).expect("there is room").cast();
    assert_eq!(log.see(|log| (log.alloc, log.zeroed)), (1, 0));
    // The strict heap has twice the room behind each block.
    let new = layout(70, 8);
    // SAFETY: a live block and its layout, here and below.
    let grown = unsafe { heap.resize_in_place(at, old, new) };
    assert!(grown.is_ok_and(|block| block.cast() == at && block.len() >= 70), "grown in place");
    assert_eq!(log.see(|log| (log.in_place, log.resize)), (1, 0));
    // SAFETY: as above.
    unsafe { heap.dealloc(at, new) };
    let at = heap.alloc_zeroed(old).expect("there is room").cast();
    let far = layout(3000, 8);
    // SAFETY: as above.
    let moved = unsafe { heap.resize(at, old, far) }.expect("there is room").cast();
    // SAFETY: as above.
    unsafe { heap.dealloc(moved, far) };
    let mut out = [MaybeUninit::uninit(); 3];
    assert_eq!(heap.alloc_batch(old, &mut out), 3);
    assert!(log.see(|log| log.alloc_batch == 1 && log.live >= 3));
    // SAFETY: all three were filled.
    let blocks = out.map(|block| unsafe { block.assume_init() });
    // SAFETY: live blocks of this layout, all different.
    unsafe { heap.dealloc_batch(old, &blocks) };
    assert!(heap.release_unused() > 0);
    assert_eq!(log.see(|log| (log.release, log.live)), (1, 0));
}

/// As the other wrappers are: a resize that moves is the heap's own, in one call, and so are batches and zeroes.
fn forwards_all<H: Heap>(make: impl Fn(Strict) -> H) {
    forwards(&make);
    let log = Shared::default();
    let mut heap = make(log.heap());
    let (old, far) = (layout(40, 8), layout(3000, 8));
    let at = heap.alloc_zeroed(old).expect("there is room").cast();
    // SAFETY: a live block and its layout, here and below.
    let moved = unsafe { heap.resize(at, old, far) }.expect("there is room").cast();
    assert_eq!(log.see(|log| (log.zeroed, log.alloc, log.resize, log.dealloc)), (1, 0, 1, 0));
    // SAFETY: as above.
    unsafe { heap.dealloc(moved, far) };
    let mut out = [MaybeUninit::uninit(); 40];
    assert_eq!(heap.alloc_batch(old, &mut out), 40);
    // SAFETY: all were filled.
    let blocks = out.map(|block| unsafe { block.assume_init() });
    // SAFETY: live blocks of this layout, all different.
    unsafe { heap.dealloc_batch(old, &blocks) };
    assert!(log.see(|log| log.dealloc + log.try_dealloc == 1 && log.dealloc_batch <= 2));
}

#[test]
fn no_wrapper_forgets_a_method() {
    forwards_all(|heap| Fallback::new(heap, NoHeap));
    forwards_all(|heap| SegregateBy::<BySize<5000>, _, _>::new(heap, NoHeap));
    forwards_all(|heap| SegregateBy::<BySize<5>, _, _>::new(NoHeap, heap));
    forwards_all(Quantize::<Multiples<16>, _>::new);
    forwards_all(AlignUp::<32, _>::new);
    forwards_all(Affix::<u32, _>::new);
    forwards_all(Affix::<u32, _, u64>::new);
    forwards_all(Affix::<(), _, u8>::new);
    forwards(FreeLists::<Steps, _>::new);
}

/// What a heap without an owner's test forwards: the second of a fallback.
#[test]
fn a_fallback_forwards_to_its_second() {
    let log = Shared::default();
    let mut heap = Fallback::new(NoHeap, log.heap());
    let (old, new, far) = (layout(40, 8), layout(70, 8), layout(3000, 8));
    let at = heap.alloc_zeroed(old).expect("there is room").cast();
    // SAFETY: a live block and its layout, here and below.
    assert!(unsafe { heap.resize_in_place(at, old, new) }.is_ok());
    // SAFETY: as above.
    let moved = unsafe { heap.resize(at, new, far) }.expect("there is room").cast();
    assert_eq!(log.see(|log| (log.zeroed, log.in_place, log.resize)), (1, 1, 1));
    // SAFETY: as above.
    unsafe { heap.dealloc(moved, far) };
}

/// Within a class nobody is asked; to another alignment within it the heap of the class is; another class means another block.
#[test]
fn heaps_per_class_resize_within_a_class() {
    let log = Shared::default();
    let mut heap = PerClass::<Steps, _>::from_fn(|_| log.heap());
    let at = heap.alloc(layout(70, 8)).expect("there is room").cast();
    // SAFETY: a live block and its layout, here and below.
    let same = unsafe { heap.resize_in_place(at, layout(70, 8), layout(96, 8)) }.expect("in its class");
    assert_eq!((same.len(), log.see(|log| log.in_place)), (96, 0));
    // SAFETY: as above.
    assert!(unsafe { heap.resize_in_place(at, layout(96, 8), layout(97, 8)) }.is_err());
    // SAFETY: as above.
    assert!(unsafe { heap.resize_in_place(at, layout(96, 8), layout(96, 32)) }.is_err());
    assert_eq!(log.see(|log| log.in_place), 1);
    // SAFETY: as above.
    let moved = unsafe { heap.resize(at, layout(96, 8), layout(96, 32)) }.expect("there is room").cast();
    assert_eq!(log.see(|log| log.resize), 1);
    // SAFETY: as above.
    let moved = unsafe { heap.resize(moved, layout(96, 32), layout(20, 8)) }.expect("there is room");
    assert_eq!((moved.len(), log.see(|log| (log.resize, log.live))), (64, (1, 1)));
    // SAFETY: as above.
    unsafe { heap.dealloc(moved.cast(), layout(64, 8)) };
    assert_eq!(heap.release_unused(), 4, "every heap is asked");
}

/// Within a quantum nobody is asked.
#[test]
fn a_quantum_is_grown_into_at_no_cost() {
    let log = Shared::default();
    let mut heap = Quantize::<Multiples<64>, _>::new(log.heap());
    let at = heap.alloc(layout(1, 8)).expect("there is room").cast();
    for size in 1..64 {
        // SAFETY: a live block and its layout, here and below.
        let block = unsafe { heap.resize(at, layout(size, 8), layout(size + 1, 8)) };
        assert!(block.is_ok_and(|block| block.cast() == at && block.len() == 64));
    }
    assert_eq!(log.see(|log| (log.in_place, log.resize)), (0, 0));
    // SAFETY: as above.
    unsafe { heap.dealloc(at, layout(64, 8)) };
}

/// The parent gives 24, 48, 72, .. bytes; each wrapper says how much of that a request gets.
#[test]
fn good_sizes_are_the_parents_as_far_as_they_go() {
    fn good(heap: &impl Heap) -> [usize; 3] {
        [1, 50, 200].map(|size| heap.good_size(layout(size, 8)))
    }
    let odd = || Shared::default().heap().granule(24);
    assert_eq!(good(&odd()), [24, 72, 216]);
    assert_eq!(good(&Fallback::new(odd(), odd())), [24, 72, 216]);
    assert_eq!(good(&Fallback::new(odd().granule(16), odd())), [16, 64, 208]);
    assert_eq!(good(&SegregateBy::<BySize<60>, _, _>::new(odd(), odd())), [24, 60, 216]);
    assert_eq!(good(&Quantize::<Multiples<64>, _>::new(odd())), [64, 64, 256]);
    assert_eq!(good(&AlignUp::<64, _>::new(odd())), [24, 72, 216]);
    assert_eq!(good(&Affix::<u32, _>::new(odd())), [16, 64, 208]);
    let whole = if align_of::<u64>() == 8 { [8, 56, 200] } else { [4, 52, 200] };
    assert_eq!(good(&Affix::<(), _, u64>::new(odd())), whole);
    assert_eq!(good(&FreeLists::<Steps, _>::new(odd())), [64, 64, 216]);
    assert_eq!(good(&PerClass::<Steps, _>::from_fn(|_| odd())), [64, 64, 200]);
}
