//! Atomics of the size of core's, and made by constants as they are; while a model runs, each has one of loom's that stands for it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic as plain;

pub use std::sync::atomic::{Ordering, compiler_fence};

use crate::run::{is_running, known, written};

type Loom = loom::sync::atomic::AtomicU64;

/// As core's.
pub fn fence(order: Ordering) {
    if is_running() { loom::sync::atomic::fence(order) } else { plain::fence(order) }
}

/// What can be kept in 64 bits.
trait Word: Copy {
    const MASK: u64;
    fn word(self) -> u64;
    fn of(word: u64) -> Self;
}

macro_rules! word {
    ($($type:ty)*) => {$(
        impl Word for $type {
            const MASK: u64 = <$type>::MAX as u64;
            fn word(self) -> u64 {
                self as u64
            }
            fn of(word: u64) -> Self {
                word as $type
            }
        }
    )*};
}
word!(u8 u32 u64 usize);

impl Word for bool {
    const MASK: u64 = u8::MAX as u64;
    fn word(self) -> u64 {
        u64::from(self)
    }
    fn of(word: u64) -> Self {
        word != 0
    }
}

impl<T> Word for *mut T {
    const MASK: u64 = usize::MAX as u64;
    fn word(self) -> u64 {
        self.expose_provenance() as u64
    }
    fn of(word: u64) -> Self {
        std::ptr::with_exposed_provenance_mut(word as usize)
    }
}

/// One of loom's, and what is to be added to its value.
struct Stands {
    atomic: Arc<Loom>,
    base: u64,
}

impl Stands {
    fn inside<W: Word>(&self, value: W) -> u64 {
        value.word().wrapping_sub(self.base) & W::MASK
    }

    fn outside<W: Word>(&self, value: u64) -> W {
        W::of(value.wrapping_add(self.base) & W::MASK)
    }
}

macro_rules! atomic {
    ($name:ident $(<$generic:ident>)?, $type:ty) => {
        /// As core's.
        #[repr(transparent)]
        pub struct $name $(<$generic>)?(plain::$name $(<$generic>)?);

        impl $(<$generic>)? $name $(<$generic>)? {
            /// As core's.
            pub const fn new(value: $type) -> Self {
                $name(plain::$name::new(value))
            }

            /// As core's.
            ///
            /// # Safety
            /// As core's.
            pub const unsafe fn from_ptr<'a>(place: *mut $type) -> &'a Self {
                // SAFETY: the caller's promise; it is nothing but such an atomic.
                unsafe { &*place.cast::<Self>() }
            }

            fn address(&self) -> usize {
                std::ptr::from_ref(self).addr()
            }

            fn stands(&self) -> Option<Stands> {
                let (atomic, base) = known(self.address(), self.0.load(Ordering::Relaxed).word())?;
                Some(Stands { atomic, base })
            }

            /// Keeps the plain value true, for when the atomic is moved.
            fn keep(&self, value: $type) {
                self.0.store(value, Ordering::Relaxed);
                written(self.address(), value.word());
            }

            /// As core's.
            pub fn load(&self, order: Ordering) -> $type {
                match self.stands() {
                    Some(stands) => stands.outside(stands.atomic.load(order)),
                    None => self.0.load(order),
                }
            }

            /// As core's.
            pub fn store(&self, value: $type, order: Ordering) {
                match self.stands() {
                    Some(stands) => {
                        stands.atomic.store(stands.inside(value), order);
                        self.keep(value);
                    }
                    None => self.0.store(value, order),
                }
            }

            /// As core's.
            pub fn swap(&self, value: $type, order: Ordering) -> $type {
                match self.stands() {
                    Some(stands) => {
                        let was = stands.outside(stands.atomic.swap(stands.inside(value), order));
                        self.keep(value);
                        was
                    }
                    None => self.0.swap(value, order),
                }
            }

            /// As core's.
            pub fn compare_exchange(
                &self,
                current: $type,
                new: $type,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$type, $type> {
                let Some(stands) = self.stands() else {
                    return self.0.compare_exchange(current, new, success, failure);
                };
                let [current, inside] = [current, new].map(|value| stands.inside(value));
                let was = stands.atomic.compare_exchange(current, inside, success, failure);
                if was.is_ok() {
                    self.keep(new);
                }
                was.map(|was| stands.outside(was)).map_err(|was| stands.outside(was))
            }

            /// As core's.
            pub fn fetch_update(
                &self,
                set: Ordering,
                fetch: Ordering,
                mut change: impl FnMut($type) -> Option<$type>,
            ) -> Result<$type, $type> {
                let mut was = self.load(fetch);
                while let Some(new) = change(was) {
                    match self.compare_exchange(was, new, set, fetch) {
                        Ok(was) => return Ok(was),
                        Err(other) => was = other,
                    }
                }
                Err(was)
            }
        }

        impl $(<$generic>)? fmt::Debug for $name $(<$generic>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.load(Ordering::Relaxed).fmt(f)
            }
        }
    };
}
atomic!(AtomicBool, bool);
atomic!(AtomicU8, u8);
atomic!(AtomicU32, u32);
atomic!(AtomicUsize, usize);
atomic!(AtomicPtr<T>, *mut T);

impl Default for AtomicUsize {
    fn default() -> Self {
        AtomicUsize::new(0)
    }
}

impl Default for AtomicBool {
    fn default() -> Self {
        AtomicBool::new(false)
    }
}

/// Additions, each one operation of loom's.
impl AtomicUsize {
    /// As core's.
    pub fn fetch_add(&self, more: usize, order: Ordering) -> usize {
        let Some(stands) = self.stands() else { return self.0.fetch_add(more, order) };
        let was = stands.outside::<usize>(stands.atomic.fetch_add(more as u64, order));
        self.keep(was.wrapping_add(more));
        was
    }

    /// As core's.
    pub fn fetch_sub(&self, less: usize, order: Ordering) -> usize {
        self.fetch_add(less.wrapping_neg(), order)
    }

    /// As core's.
    pub fn fetch_max(&self, least: usize, order: Ordering) -> usize {
        let Some(stands) = self.stands() else { return self.0.fetch_max(least, order) };
        assert_eq!(stands.base, 0, "nothing is known of the greater one then");
        let was = stands.atomic.fetch_max(least as u64, order) as usize;
        self.keep(was.max(least));
        was
    }
}
