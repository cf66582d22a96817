//! What holds of all combinators of cores: sizes, `Send` and `Sync`, constants, descriptions.

use std::alloc::Layout;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::NonNull;

use static_assertions::{assert_eq_size, assert_impl_all, assert_not_impl_any, const_assert_eq};

use heapwright::AllocError;
use heapwright::cache::Classes;
use heapwright::combine::{
    Adaptive, Affix, AlignUp, AtMost, ByAlign, Fallback, FreeLists, Multiples, PerClass, PowersOfTwo,
    Quantize, Segregate, SegregateBy, ToClasses,
};
use heapwright::describe::describe;
use heapwright::heap::{Heap, Inspect, Locked, NoHeap, Owns, Reset, UsableSize};
use heapwright::lock::SpinLock;
use heapwright::{segregate, size_classes};

/// A heap of two words that stays on its thread.
#[derive(Debug, Default)]
struct Local {
    requests: Cell<[usize; 2]>,
    thread: PhantomData<*const u8>,
}

// SAFETY: no block is ever handed out.
unsafe impl Heap for Local {
    fn alloc(&mut self, _: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.requests.get_mut()[0] += 1;
        Err(AllocError)
    }

    unsafe fn dealloc(&mut self, _: NonNull<u8>, _: Layout) {}
}

size_classes! { struct Four = 16..=128, 1 per doubling; }

const_assert_eq!(size_of::<Fallback<NoHeap, NoHeap>>(), 0);
const_assert_eq!(size_of::<Segregate<64, NoHeap, NoHeap>>(), 0);
const_assert_eq!(size_of::<Quantize<PowersOfTwo, NoHeap>>(), 0);
const_assert_eq!(size_of::<AlignUp<64, NoHeap>>(), 0);
const_assert_eq!(size_of::<Affix<u64, NoHeap, u64>>(), 0);
const_assert_eq!(size_of::<PerClass<Four, NoHeap>>(), 0);
assert_eq_size!(PerClass<Four, Local>, [Local; 4]);
assert_eq_size!(FreeLists<Four, NoHeap>, [usize; 4]);
assert_eq_size!(FreeLists<Four, NoHeap, AtMost<8>>, [usize; 8]);
assert_eq_size!(Fallback<NoHeap, Local>, SegregateBy<ByAlign<8>, Local, NoHeap>, Local);

assert_impl_all!(Fallback<NoHeap, NoHeap>: Send, Sync, Owns, Reset, Inspect);
assert_impl_all!(Segregate<64, NoHeap, NoHeap>: Send, Sync, Owns, Reset, Inspect);
assert_impl_all!(Quantize<PowersOfTwo, NoHeap>: Send, Sync, Owns, Reset, Inspect);
assert_impl_all!(AlignUp<64, NoHeap>: Send, Sync, Owns, Reset, Inspect);
assert_impl_all!(Affix<(), NoHeap, u64>: Send, Sync, Owns, Reset, Inspect);
assert_impl_all!(Affix<u64, NoHeap>: Reset, Inspect);
assert_impl_all!(PerClass<Classes, NoHeap>: Send, Owns, Reset, Inspect);
assert_impl_all!(FreeLists<Classes, NoHeap, Adaptive>: Send, Owns, Reset);

assert_not_impl_any!(FreeLists<Classes, NoHeap>: Sync);
assert_not_impl_any!(Fallback<NoHeap, Local>: Send, Sync, Owns, Reset, Inspect);
assert_not_impl_any!(Segregate<64, Local, NoHeap>: Send, Sync, Owns, Reset, Inspect);
assert_not_impl_any!(Quantize<PowersOfTwo, Local>: Send, Sync, Owns, Reset, Inspect);
assert_not_impl_any!(AlignUp<64, Local>: Send, Sync, Owns, Reset, Inspect, UsableSize);
assert_not_impl_any!(PerClass<Classes, Local>: Send, Sync, Owns, Reset, Inspect);
assert_not_impl_any!(FreeLists<Classes, Local>: Send, Sync, Owns, Reset);
// What stands before a block is not known to the parent as a block.
assert_not_impl_any!(Affix<u64, NoHeap>: Owns);

type Small = FreeLists<Four, Fallback<NoHeap, NoHeap>, AtMost<8>>;
type Large = Affix<u64, Quantize<Multiples<64>, AlignUp<32, NoHeap>>, u32>;
type Tower = segregate! { ..=64 => Small, ..=1024 => Large, _ => SegregateBy<ByAlign<16>, NoHeap, NoHeap> };

/// A tower in a static, made by the compiler.
static TOWER: Locked<Tower, SpinLock> = Locked::new(segregate!(
    new: FreeLists::new(Fallback::new(NoHeap, NoHeap)),
    Affix::new(Quantize::new(AlignUp::new(NoHeap))),
    SegregateBy::new(NoHeap, NoHeap),
));

#[test]
fn a_tower_is_a_constant_and_says_what_it_is() {
    use heapwright::heap::SharedHeap;
    assert!(TOWER.try_alloc(Layout::new::<u64>()).is_err());
    let tree = describe::<Tower>().to_string();
    let word = size_of::<usize>();
    let expected = format!(
        "\
Segregate BySize<64>
├─ first: FreeLists, 4 size classes from 16 to 128 bytes, AtMost<8> ({} bytes)
│  └─ heap: Fallback, the second for what the first refuses
│     ├─ first: NoHeap, refuses every request
│     └─ then: NoHeap, refuses every request
└─ second: Segregate BySize<1024>
   ├─ first: Affix, u64 before and u32 behind ({} bytes per block)
   │  └─ heap: Quantize, sizes rounded up to Multiples<64>
   │     └─ heap: AlignUp, every block aligned to 32 bytes or more
   │        └─ heap: NoHeap, refuses every request
   └─ second: Segregate ByAlign<16>
      ├─ first: NoHeap, refuses every request
      └─ second: NoHeap, refuses every request
",
        8 * word,
        8 + 4
    );
    assert_eq!(tree, expected);
    let debug = format!("{:?}", Tower::default());
    assert!(debug.starts_with("SegregateBy { rule: BySize<64>, first: FreeLists { classes: 4"), "{debug}");
}

#[test]
fn per_class_says_what_it_has() {
    let tree = describe::<PerClass<Four, Quantize<ToClasses<Classes>, NoHeap>>>().to_string();
    assert_eq!(
        tree,
        "\
PerClass, 4 size classes from 16 to 128 bytes
└─ heap of each: Quantize, sizes rounded up to ToClasses<Classes>
   └─ heap: NoHeap, refuses every request
"
    );
    let debug = format!("{:?}", PerClass::<Four, NoHeap>::default());
    assert_eq!(debug, "PerClass {16: NoHeap, 32: NoHeap, 64: NoHeap, 128: NoHeap}");
}
