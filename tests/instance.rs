//! Heaps in statics and their handles of size zero.
#![cfg(all(feature = "allocator-api2-02", feature = "allocator-api2-04"))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashSet;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::arena::Arena;
use heapwright::heap::{Chunk, Corruption, Cursor, Heap, Inspect, Instance, Locked, Of, Usage};
use heapwright::lock::{NoLock, SpinLock};
use heapwright::sizing::Sizing4KiB;
use static_assertions::{assert_eq_size, assert_impl_all, assert_not_impl_any};

/// The system's heap, counted.
#[derive(Debug, Default)]
struct Counted {
    used: usize,
    objects: usize,
}

impl Counted {
    /// Nothing is in use.
    const fn new() -> Self {
        Counted { used: 0, objects: 0 }
    }
}

// SAFETY: H1, H3: the system's allocator keeps them. H2: the blocks are the system's. H4: counted only on success.
// H5: the system knows no shell. H6: refused.
unsafe impl Heap for Counted {
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Err(AllocError);
        }
        // SAFETY: the size is above zero.
        let ptr = NonNull::new(unsafe { System.alloc(layout) }).ok_or(AllocError)?;
        self.used += layout.size();
        self.objects += 1;
        Ok(NonNull::slice_from_raw_parts(ptr, layout.size()))
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        self.used -= layout.size();
        self.objects -= 1;
        // SAFETY: the caller's promise; the block is the system's.
        unsafe { System.dealloc(ptr.as_ptr(), layout) }
    }
}

impl Inspect for Counted {
    fn usage(&self) -> Usage {
        Usage { total: self.used, used: self.used, free: 0, objects: self.objects }
    }

    fn next_chunk(&mut self, _: &mut Cursor) -> Option<Chunk> {
        None
    }

    fn verify(&mut self) -> Result<(), Corruption> {
        Ok(())
    }
}

/// A core of one byte that has nothing to give.
struct Tiny(#[expect(dead_code, reason = "only its size counts")] u8);

// SAFETY: gives no blocks.
unsafe impl Heap for Tiny {
    fn alloc(&mut self, _: Layout) -> Result<NonNull<[u8]>, AllocError> {
        Err(AllocError)
    }

    unsafe fn dealloc(&mut self, _: NonNull<u8>, _: Layout) {}
}

mod declared {
    use super::{Counted, Locked, SpinLock};

    heapwright::instance! {
        /// For nodes.
        pub(crate) static NODES as NodeHeap: Locked<Counted, SpinLock> = Locked::new(Counted::new());
        /// For text, in a section of its own.
        #[cfg_attr(target_os = "linux", unsafe(link_section = ".data.heapwright_texts"))]
        pub(crate) static TEXTS as TextHeap: Locked<Counted, SpinLock> = Locked::new(Counted::new());
        static HIDDEN as HiddenHeap: Locked<Counted, SpinLock> = Locked::new(Counted::new());
    }

    pub(crate) fn used_in_hidden() -> usize {
        use allocator_api2_02::boxed::Box;
        let boxed: Box<[u8; 3], HiddenHeap> = Box::new_in([1; 3], HiddenHeap);
        assert_eq!(*boxed, [1; 3]);
        HIDDEN.usage().used
    }
}

use declared::{NODES, NodeHeap, TEXTS, TextHeap};

type Box02<T, A> = allocator_api2_02::boxed::Box<T, A>;
type Box04<T, A> = allocator_api2_04::boxed::Box<T, A>;
type Vec04<T, A> = allocator_api2_04::vec::Vec<T, A>;

assert_eq_size!(NodeHeap, ());
assert_eq_size!(Box02<u8, NodeHeap>, usize);
assert_eq_size!(Box04<u8, NodeHeap>, usize);
assert_eq_size!(Option<Box04<u8, NodeHeap>>, usize);
assert_eq_size!(Vec04<u8, NodeHeap>, [usize; 3]);
// Without a lock the shell costs its flag of one byte, rounded up to the core's alignment.
assert_eq_size!(Locked<Tiny, NoLock>, [u8; 2]);
assert_eq_size!(Locked<Counted, NoLock>, [usize; 3]);
const _: () = {
    type Core = Arena<'static, Sizing4KiB>;
    assert!(size_of::<Locked<Core, NoLock>>() == size_of::<Core>() + align_of::<Core>());
};
assert_impl_all!(NodeHeap: Copy, Default, Eq, std::hash::Hash, std::fmt::Debug, Send, Sync, Unpin, GlobalAlloc);
assert_impl_all!(NodeHeap: allocator_api2_02::alloc::Allocator, allocator_api2_04::alloc::Allocator);
assert_impl_all!(Box04<u8, NodeHeap>: Send, Sync);
assert_not_impl_any!(Box04<std::rc::Rc<u8>, NodeHeap>: Send);
// A shell is never duplicated: two of them would hand out the same memory.
assert_not_impl_any!(Locked<Counted, SpinLock>: Clone);
assert_impl_all!(Locked<Counted, NoLock>: Send, Default);
assert_not_impl_any!(Locked<Counted, NoLock>: Sync);
assert_not_impl_any!(Box04<u8, &'static Locked<Counted, NoLock>>: Send);

/// A list that owns its tail through the handle.
struct Node {
    key: u32,
    next: Option<Box04<Node, NodeHeap>>,
}

/// The one test that counts what is in `NODES`, since tests share it.
#[test]
fn boxes_in_a_named_heap() {
    let mut list: Option<Box04<Node, NodeHeap>> = None;
    for key in 0..100 {
        list = Some(Box04::new_in(Node { key, next: list.take() }, NodeHeap));
    }
    assert_eq!(NODES.usage().objects, 100);
    assert_eq!(NODES.usage().used, 100 * size_of::<Node>());
    let (mut cursor, mut sum) = (list.as_ref(), 0);
    while let Some(node) = cursor {
        sum += node.key;
        cursor = node.next.as_ref();
    }
    assert_eq!(sum, 99 * 50);

    // What one handle allocated, an equal one frees, on any thread.
    let first = Box04::into_raw(list.unwrap()).expose_provenance();
    let freeing = move || {
        let first = std::ptr::with_exposed_provenance_mut(first);
        // SAFETY: the address is that of the box given up above, of the same type and in the same heap.
        let first: Box04<Node, NodeHeap> = unsafe { Box04::from_raw_in(first, NodeHeap::default()) };
        assert_eq!(first.key, 99);
    };
    std::thread::spawn(freeing).join().unwrap();
    assert_eq!(NodeHeap.heap().usage(), Usage::default());

    let pinned = Box04::pin_in(5u64, NodeHeap);
    let copied = Box04::new_in(6u64, NodeHeap).clone();
    assert_eq!((*pinned, *copied), (5, 6));
    assert_eq!(NODES.usage().objects, 2);
    drop((pinned, copied));

    let leaked: &'static mut u64 = Box04::leak(Box04::new_in(7, NodeHeap));
    *leaked += 1;
    assert_eq!((*leaked, NODES.usage().objects), (8, 1));
    // SAFETY: `leaked` came from a box of this heap, and is not used again.
    drop(unsafe { Box04::from_raw_in(leaked, NodeHeap) });
    assert_eq!(NODES.usage(), Usage::default());
}

/// The one test that counts what is in `TEXTS`.
#[test]
fn trait_versions_share_the_heap() {
    let old = Box02::new_in([1u8; 10], TextHeap);
    let mut new = Vec04::new_in(TextHeap);
    new.extend_from_slice(&old[..]);
    let by_reference = Box04::new_in(2u8, &TEXTS);
    assert_eq!(TEXTS.usage().objects, 3);
    assert_eq!((new.len(), *by_reference), (10, 2));
    new.reserve_exact(1000);
    new.resize(1010, 9);
    assert!(new[..10].iter().all(|&byte| byte == 1) && new[10..].iter().all(|&byte| byte == 9));
    new.shrink_to_fit();
    assert_eq!(TEXTS.usage().used, 10 + 1010 + 1);
    drop((old, new, by_reference));
    assert_eq!(TEXTS.usage(), Usage::default());
    assert_eq!(declared::used_in_hidden(), 3);
}

#[test]
fn handles_are_equal_and_say_what_they_are() {
    assert_eq!(NodeHeap, NodeHeap::new());
    assert_eq!(HashSet::from([TextHeap, TextHeap::default()]).len(), 1);
    assert!(format!("{NodeHeap:?}").starts_with("Of<"));
    assert!(format!("{NodeHeap:?}").ends_with("NODES>"));
    assert!(std::ptr::eq(TextHeap.heap(), &TEXTS));
}

/// Code that is generic over the heap: one type, one static per use.
fn sum_in<I: Instance>(heap: Of<I>) -> u32 {
    let mut numbers = Vec04::new_in(heap);
    numbers.extend(1..=4);
    numbers.iter().sum()
}

#[test]
fn generic_over_the_instance() {
    heapwright::instance! {
        static LOCAL as LocalHeap: Locked<Counted, SpinLock> = Locked::new(Counted::new());
    }
    assert_eq!(sum_in(LocalHeap), 10);
    assert_eq!(LOCAL.usage(), Usage::default());
}

#[test]
fn size_zero_never_reaches_the_core() {
    heapwright::instance! {
        static EMPTY as EmptyHeap: Locked<Tiny, SpinLock> = Locked::new(Tiny(0));
    }
    #[repr(align(64))]
    #[derive(Clone)]
    struct Aligned;
    let boxed = Box04::new_in(Aligned, EmptyHeap);
    assert_eq!((&raw const *boxed).addr() % 64, 0);
    drop((boxed.clone(), boxed, Vec04::<u8, _>::with_capacity_in(0, EmptyHeap)));
    assert!(Box04::try_new_in(1u8, EmptyHeap).is_err(), "a core that gives nothing");
    assert!(Box04::try_new_in(1u8, &EMPTY).is_err());
    // SAFETY: the layout is not of size zero.
    assert!(unsafe { GlobalAlloc::alloc(&EmptyHeap, Layout::new::<u8>()) }.is_null());
}
