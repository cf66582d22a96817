//! Freed objects that rest before they are used again.

use core::fmt;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};

use super::settings::{MallocSettings, Numbers};
use crate::cache::size_classes::{ClassArray, SizeClasses};
use crate::check::{Dice, Fresh};

/// The most objects of a class that rest.
const SLOTS: usize = 8;

/// The places for resting objects of one class: free objects, or null. Written by their thread alone; others read them, to count.
struct Pen([AtomicPtr<u8>; SLOTS]);

impl Pen {
    const fn new() -> Self {
        Pen([const { AtomicPtr::new(ptr::null_mut()) }; SLOTS])
    }
}

/// The places of all classes, for one thread.
///
/// A freed object goes to a place by the throw of a die, and what was there goes back to the bin: so how long an object rests, and which comes next, nobody can foresee. (D. Micay,
/// hardened_malloc.)
pub(super) struct Pens<T: MallocSettings> {
    pens: <T::Classes as SizeClasses>::Array<Pen>,
    dice: Dice,
}

impl<T: MallocSettings> Fresh for Pens<T> {
    const NEW: Self = {
        let mut pens = ClassArray::<T::Classes, Pen>::new();
        while pens.len() < T::Classes::COUNT {
            pens.push(Pen::new());
        }
        Pens { pens: pens.finish(), dice: Dice::NEW }
    };
}

impl<T: MallocSettings> Pens<T> {
    /// Places that each class may use: a quarter of the objects that may be at hand on a stack, one at least. (What rests is cold when it is used again.)
    const PLACES: &'static [u8; 256] = &{
        let mut places = [1; 256];
        let mut class = 0;
        while class < T::Classes::COUNT {
            let quarter = Numbers::<T>::front_slots(class) / 4;
            places[class] = if quarter > SLOTS {
                SLOTS as u8
            } else if quarter > 1 {
                quarter as u8
            } else {
                1
            };
            class += 1;
        }
        places
    };

    /// Makes the order of what comes back one that nobody can foresee. To be called before the first exchange.
    pub(super) fn prepare(&self, secret: usize) {
        self.dice.prepare(secret);
    }

    /// Puts an object to rest, and gives one that has rested.
    ///
    /// # Safety
    /// `class` is less than `COUNT`.
    #[inline(always)]
    pub(super) unsafe fn exchange(&self, class: usize, object: NonNull<u8>) -> Option<NonNull<u8>> {
        const { assert!(SLOTS.is_power_of_two()) };
        // SAFETY: the caller's promise.
        let pen = unsafe { self.pens.as_ref().get_unchecked(class) };
        let thrown = self.dice.throw(Self::PLACES[class & 0xff] as usize);
        let place = &pen.0[thrown % SLOTS];
        let rested = place.load(Ordering::Relaxed);
        place.store(object.as_ptr(), Ordering::Relaxed);
        NonNull::new(rested)
    }

    /// Takes out an object of a class, if there is any.
    pub(super) fn take(&self, class: usize) -> Option<NonNull<u8>> {
        self.pens.as_ref()[class].0.iter().find_map(|place| {
            let object = NonNull::new(place.load(Ordering::Relaxed))?;
            place.store(ptr::null_mut(), Ordering::Relaxed);
            Some(object)
        })
    }

    /// How many objects of a class rest. Any thread may ask.
    pub(super) fn len(&self, class: usize) -> usize {
        self.pens.as_ref()[class].0.iter().filter(|place| !place.load(Ordering::Relaxed).is_null()).count()
    }
}

impl<T: MallocSettings> fmt::Debug for Pens<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pens").finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "os"))]
mod tests {
    use super::*;
    use crate::cache::{ChunkHeap, Classes, KeepAll};
    use crate::lock::YieldLock;
    use crate::source::Pages;

    struct Rests;
    impl MallocSettings for Rests {
        type Classes = Classes;
        type Chunks = ChunkHeap<Pages, YieldLock, KeepAll>;
        type Lock = YieldLock;
    }

    /// The more objects may be at hand of a class, the more rest; and none is lost on the way.
    #[test]
    fn as_many_objects_rest_as_a_class_has_places() {
        let pens = Pens::<Rests>::NEW;
        pens.prepare(0);
        for (size, places) in [(48, SLOTS), (1024, 2), (32768, 1)] {
            let class = Classes::SIZES.binary_search(&size).unwrap();
            let mut resting = 0;
            for number in 1..=300 {
                let object = NonNull::new(ptr::without_provenance_mut(number * 8)).unwrap();
                // SAFETY: one of the classes.
                resting += usize::from(unsafe { pens.exchange(class, object) }.is_none());
                assert_eq!(pens.len(class), resting);
            }
            assert_eq!(resting, places, "{size}");
            assert_eq!(core::iter::from_fn(|| pens.take(class)).count(), places);
            assert_eq!(pens.len(class), 0);
        }
    }
}
