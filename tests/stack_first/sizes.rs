//! What a `StackFirst` weighs, and who may have it: checked when this is compiled.

use std::alloc::Layout;

use heapwright::arena::StaticArena;
use heapwright::combine::{StackFirst, StackFirstCore};
use heapwright::heap::{Locked, NoHeap};
use heapwright::lock::{NoLock, SpinLock};
use heapwright::sizing::Sizing4KiB;
use static_assertions::{assert_impl_all, assert_not_impl_any, const_assert_eq};

use super::{free, take};

type None = Locked<NoHeap, NoLock>;
type Spin = Locked<NoHeap, SpinLock>;
type Static = StaticArena<1024, Sizing4KiB>;

// Eight bytes, the lock's and the heap's beside the buffer, and all of it a multiple of 16.
const_assert_eq!(size_of::<StackFirst<0, None>>(), 16);
const_assert_eq!(size_of::<StackFirst<256, None>>(), 256 + 16);
const_assert_eq!(size_of::<StackFirst<246, None>>(), 256 + 16);
const_assert_eq!(size_of::<StackFirst<244, None>>(), 256);
const_assert_eq!(size_of::<StackFirst<256, Spin, SpinLock>>(), 256 + 16);
const_assert_eq!(align_of::<StackFirst<1, None>>(), 16);
#[cfg(target_pointer_width = "64")]
const_assert_eq!(size_of::<StackFirst<240, &Static>>(), 240 + 32);
#[cfg(feature = "alloc")]
const_assert_eq!(size_of::<StackFirst<244, heapwright::source::GlobalHeap>>(), 256);

assert_impl_all!(StackFirst<64, None>: Send);
assert_not_impl_any!(StackFirst<64, None>: Sync);
assert_not_impl_any!(StackFirst<64, Spin>: Sync);
// A lock of its own does not help if the heap behind it has none.
assert_not_impl_any!(StackFirst<64, None, SpinLock>: Sync);
assert_impl_all!(StackFirst<64, Spin, SpinLock>: Send, Sync);
assert_impl_all!(StackFirst<64, &'static Static, SpinLock>: Send, Sync);
assert_not_impl_any!(StackFirst<64, &'static None>: Send, Sync);
assert_not_impl_any!(StackFirstCore<'static, None>: Send, Sync);

#[cfg(feature = "allocator-api2-04")]
mod allocators {
    use super::*;
    use allocator_api2_04::alloc::Allocator;

    assert_impl_all!(&'static StackFirst<64, None>: Allocator);
    assert_not_impl_any!(StackFirst<64, None>: Allocator);
}

/// Made by the compiler, also where it is to be a constant.
static SHARED: StackFirst<64, &Static, SpinLock> = StackFirst::new(&BEHIND);
static BEHIND: Static = StaticArena::new();

#[test]
fn in_a_static() {
    assert!(std::ptr::eq(*SHARED.heap(), &raw const BEHIND));
    let inline = take(&SHARED, Layout::new::<[u64; 8]>(), 1);
    let behind = take(&SHARED, Layout::new::<u64>(), 2);
    assert!(SHARED.is_inline(inline.cast().as_ptr()) && !SHARED.is_inline(behind.cast().as_ptr()));
    assert!(BEHIND.owns(behind.cast(), Layout::new::<u64>()));
    free(&SHARED, inline, Layout::new::<[u64; 8]>());
    free(&SHARED, behind, Layout::new::<u64>());
    assert_eq!((SHARED.usage().objects, BEHIND.usage().objects), (0, 0));
    assert!(format!("{SHARED:?}").starts_with("StackFirst { bytes: 64, heap: "));
}
