//! How large the public types are, and which of them may go to, and be shared between, threads. All of it is checked when this
//! file is compiled.
//!
//! A size that changes here changes the documentation of `Teaspoon`, `StaticArena` and `SourceTeaspoon`, and the guide's chapter `arenas`.

use heapwright::arena::{Arena, SourceArena, SourceTeaspoon, StaticArena, Teaspoon, View};
use heapwright::check::{Hardened, Unchecked};
use heapwright::heap::{Locked, Usage};
use heapwright::lock::{Lock, NoLock, SpinLock, TicketLock};
use heapwright::sizing::{Bounded, Checked, Sizing4KiB, Sizing16MiB, Sizing128KiB};
use heapwright::source::{BackingSource, Buffer, Counted, Failing, Limited, SourceHeap, StaticBuffer};
use static_assertions::{assert_impl_all, assert_not_impl_any, const_assert_eq};

/// A source without a state, that is sent and shared as it likes.
struct Free;
/// A source that stays on its thread.
struct Bound(#[expect(dead_code, reason = "makes the type neither `Send` nor `Sync`")] *mut u8);

macro_rules! no_source {
    ($($source:ty),+) => {$(
        // SAFETY: no block is ever handed out, and nothing else happens.
        unsafe impl BackingSource for $source {
            const GRANULE: usize = 1;
            const ALIGN_MAX: usize = 1;

            fn acquire(
                &mut self,
                _: core::alloc::Layout,
            ) -> Result<core::ptr::NonNull<[u8]>, heapwright::AllocError> {
                Err(heapwright::AllocError)
            }

            unsafe fn release(&mut self, _: core::ptr::NonNull<u8>, _: core::alloc::Layout) {}
        }
    )+};
}
no_source!(Free, Bound);

/// A word.
const WORD: usize = size_of::<usize>();

/// Bytes of a core and its lock, rounded up to the core's alignment.
#[cfg(target_pointer_width = "64")]
const fn locked(core: usize, lock: usize) -> usize {
    (core + lock).div_ceil(8) * 8
}

// ---- cores -------------------------------------------------------------------------------------------------------

/// Bytes of the core of an arena, whatever its sizing.
#[cfg(target_pointer_width = "64")]
const ARENA: usize = 96;
/// Bytes of the state of an arena, which a `StaticArena` has beside its region.
#[cfg(target_pointer_width = "64")]
const STATE: usize = 72;

#[cfg(target_pointer_width = "64")]
mod cores {
    use super::*;

    const_assert_eq!(size_of::<Arena<'static, Sizing4KiB>>(), ARENA);
    const_assert_eq!(size_of::<Arena<'static, Sizing128KiB>>(), ARENA);
    const_assert_eq!(size_of::<Arena<'static, Sizing16MiB>>(), ARENA);
    const_assert_eq!(size_of::<Arena<'static, Checked<Sizing16MiB, Unchecked>>>(), ARENA);
    // What was found, the secret, and two words of four bytes, under any policy that checks.
    const_assert_eq!(size_of::<Arena<'static, Bounded<Checked<Sizing128KiB>>>>(), ARENA + 64);
    const_assert_eq!(size_of::<Arena<'static, Checked<Sizing4KiB, Hardened>>>(), ARENA + 64);
    // The source, and the block and its layout.
    const_assert_eq!(size_of::<SourceArena<Free, Sizing4KiB>>(), ARENA + 3 * WORD);
    const_assert_eq!(size_of::<SourceArena<Limited<Free>, Sizing16MiB>>(), ARENA + 5 * WORD);
}

const_assert_eq!(size_of::<SourceHeap<Free>>(), 0);
const_assert_eq!(size_of::<Usage>(), 4 * WORD);

assert_impl_all!(Arena<'static, Sizing4KiB>: Send, Sync, Unpin);
assert_impl_all!(SourceArena<Free, Sizing4KiB>: Send);
// Its core is reached through a lock, which asks for `Send` only.
assert_not_impl_any!(SourceArena<Free, Sizing4KiB>: Sync);
assert_not_impl_any!(SourceArena<Bound, Sizing4KiB>: Send, Sync);
assert_impl_all!(SourceHeap<Free>: Send, Sync);
assert_not_impl_any!(SourceHeap<Bound>: Send, Sync);
// A view is at work on one thread, under the lock.
assert_not_impl_any!(View<'static, Sizing4KiB>: Send, Sync);

// ---- shells under each lock --------------------------------------------------------------------------------------

/// Every shell under a lock of so many bytes that may be sent, and shared if `Sync` is said.
macro_rules! shells {
    ($name:ident: $lock:ty, $bytes:expr, [$($shared:tt)*], not [$($not_shared:ident)*]) => {
        mod $name {
            use super::*;

            type Spoon = Teaspoon<'static, Sizing128KiB, $lock>;
            type Sourced = SourceTeaspoon<Free, Sizing16MiB, $lock>;
            type Static = StaticArena<4096, Sizing4KiB, $lock>;
            type Pagewise = Locked<SourceHeap<Free>, $lock>;

            const_assert_eq!(size_of::<$lock>(), $bytes);
            const_assert_eq!(size_of::<Pagewise>(), $bytes);
            #[cfg(target_pointer_width = "64")]
            mod sizes {
                use super::*;

                const_assert_eq!(size_of::<Spoon>(), locked(ARENA, $bytes));
                const_assert_eq!(size_of::<Sourced>(), locked(ARENA + 3 * WORD, $bytes));
                // The region is aligned to 16 bytes, and so is the whole.
                const_assert_eq!(align_of::<Static>(), 16);
                const_assert_eq!(size_of::<Static>(), (4096 + STATE + $bytes as usize).div_ceil(16) * 16);
            }

            assert_impl_all!(Spoon: Send, $($shared)*);
            assert_impl_all!(Sourced: Send, $($shared)*);
            assert_impl_all!(Static: Send, $($shared)*);
            assert_impl_all!(Pagewise: Send, $($shared)*);
            assert_impl_all!($lock: Lock, Send, $($shared)*);
            // A core that must not change threads is not shared either, whatever the lock.
            assert_not_impl_any!(SourceTeaspoon<Bound, Sizing4KiB, $lock>: Send, Sync);
            $(
                assert_not_impl_any!(Spoon: $not_shared);
                assert_not_impl_any!(Sourced: $not_shared);
                assert_not_impl_any!(Static: $not_shared);
                assert_not_impl_any!(Pagewise: $not_shared);
            )*
        }
    };
}

shells!(none: NoLock, 1, [], not [Sync]);
shells!(spin: SpinLock, 1, [Sync], not []);
shells!(ticket: TicketLock, 2 * WORD, [Sync], not []);
#[cfg(all(feature = "std", target_os = "linux"))]
shells!(std: heapwright::lock::StdLock, 8, [Sync], not []);
#[cfg(feature = "std")]
shells!(owner_spin: heapwright::lock::OwnerChecked<SpinLock>, 2 * WORD, [Sync], not []);
#[cfg(feature = "std")]
shells!(owner_none: heapwright::lock::OwnerChecked<NoLock>, 2 * WORD, [], not [Sync]);
#[cfg(feature = "critical-section")]
shells!(critical_section: heapwright::lock::CriticalSectionLock, 1, [Sync], not []);
#[cfg(feature = "lock_api")]
shells!(lock_api: heapwright::lock::LockApi<parking_lot::RawMutex>, 1, [Sync], not []);

// ---- sources -----------------------------------------------------------------------------------------------------

const_assert_eq!(size_of::<Buffer<'static>>(), 4 * WORD);
const_assert_eq!(size_of::<Limited<Free>>(), 2 * WORD);
const_assert_eq!(size_of::<Counted<Free>>(), 4 * WORD + 3 * size_of::<u64>());
const_assert_eq!(size_of::<Failing<Free>>(), 3 * size_of::<u64>());
const_assert_eq!(size_of::<StaticBuffer<4096>>(), 4096 + 16);

assert_impl_all!(Buffer<'static>: Send, Sync);
assert_impl_all!(StaticBuffer<64>: Send, Sync);
assert_impl_all!(Limited<Free>: Send, Sync);
assert_impl_all!(Counted<Free>: Send, Sync);
assert_impl_all!(Failing<Free>: Send, Sync);
assert_not_impl_any!(Limited<Bound>: Send, Sync);
assert_not_impl_any!(Counted<Bound>: Send, Sync);
assert_not_impl_any!(Failing<Bound>: Send, Sync);

#[cfg(feature = "os")]
mod pages {
    use super::*;
    use heapwright::source::Pages;

    const_assert_eq!(size_of::<Pages>(), 0);
    assert_impl_all!(Pages: Send, Sync, Copy);
    assert_impl_all!(SourceTeaspoon<Pages, Sizing16MiB, SpinLock>: Send, Sync);
}

// ---- handles -----------------------------------------------------------------------------------------------------

heapwright::instance! {
    static HEAP as Handle: StaticArena<64, Sizing4KiB> = StaticArena::new();
}

const_assert_eq!(size_of::<Handle>(), 0);
assert_impl_all!(Handle: Send, Sync, Copy, Default);

#[cfg(feature = "allocator-api2-04")]
mod boxes {
    use super::*;
    use allocator_api2_04::boxed::Box;

    const_assert_eq!(size_of::<Box<u64, Handle>>(), WORD);
    const_assert_eq!(size_of::<Box<u64, &StaticArena<64, Sizing4KiB>>>(), 2 * WORD);
    const_assert_eq!(size_of::<Box<u64, &Teaspoon<'_, Sizing4KiB, NoLock>>>(), 2 * WORD);
    // Nothing without a lock leaves its thread inside of a box.
    assert_not_impl_any!(Box<u64, &Teaspoon<'static, Sizing4KiB, NoLock>>: Send, Sync);
    assert_impl_all!(Box<u64, &Teaspoon<'static, Sizing4KiB, SpinLock>>: Send, Sync);
}
