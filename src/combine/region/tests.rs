//! What the compiler can check.

use super::*;
use crate::heap::Locked;
use crate::lock::{NoLock, SpinLock};
use crate::source::Buffer;

type Over<D> = Region<Buffer<'static>, Growing<64, 128>, D>;
type Of<L> = Scope<'static, Over<Upward>, L>;
static_assertions::const_assert_eq!(
    size_of::<Over<Upward>>(),
    4 * size_of::<usize>() + size_of::<Buffer<'static>>()
);
static_assertions::assert_impl_all!(Over<Downward>: Send, Sync);
static_assertions::assert_impl_all!(Locked<Over<Upward>, SpinLock>: Send, Sync);
static_assertions::assert_not_impl_any!(Locked<Over<Upward>, NoLock>: Sync);
static_assertions::assert_impl_all!(Of<SpinLock>: Send, Sync);
static_assertions::assert_not_impl_any!(Of<NoLock>: Send, Sync);
static_assertions::assert_not_impl_any!(Of<SpinLock>: Clone, Copy, Default);
