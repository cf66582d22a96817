//! Other crates' collections and allocators in, over and beside heapwright's heaps.
//!
//! Every collection runs with each kind of handle that it can take: a reference to a heap, the heap itself by value, and the
//! handle of size zero to a heap in a `static`. Contents are checked, and afterwards the heap is as it was.
#![cfg(all(feature = "std", feature = "allocator-api2-02", feature = "allocator-api2-04"))]

use std::mem::MaybeUninit;

use heapwright::arena::{StaticArena, Teaspoon};
use heapwright::heap::{Heap, Inspect, Instance, Locked, Of, Usage};
use heapwright::lock::{Lock, SpinLock};
use heapwright::sizing::{Checked, Sizing16MiB, Sizing128KiB};

use allocator_api2_02::alloc::Allocator as Allocator02;
use allocator_api2_04::alloc::Allocator as Allocator04;

const REGION_SIZE: usize = 256 << 10;

type Spoon<'a> = Teaspoon<'a, Sizing128KiB, SpinLock>;
type CheckedSpoon<'a> = Teaspoon<'a, Checked<Sizing16MiB>, SpinLock>;
type Static = StaticArena<REGION_SIZE, Sizing128KiB, SpinLock>;

/// A handle through which the heap can be looked at.
trait Look {
    fn look(&self) -> Usage;
}

impl<H: Heap + Inspect, L: Lock> Look for Locked<H, L> {
    fn look(&self) -> Usage {
        self.usage()
    }
}

impl Look for Static {
    fn look(&self) -> Usage {
        self.usage()
    }
}

impl<A: Look> Look for &A {
    fn look(&self) -> Usage {
        A::look(self)
    }
}

impl<I: Instance<Heap: Look>> Look for Of<I> {
    fn look(&self) -> Usage {
        I::heap().look()
    }
}

/// Runs `exercise` by reference, over a heap that checks as well, and by handle, and sees that the heap is as before.
macro_rules! by_copied_handles {
    (@module $name:ident $($more:item)*) => {
        mod $name {
            use super::*;

            #[test]
            fn by_reference() {
                let mut memory = vec![MaybeUninit::uninit(); REGION_SIZE];
                let spoon = Spoon::from_slice(&mut memory);
                let start = spoon.usage();
                super::super::exercise::$name(&spoon);
                assert_eq!(spoon.usage(), start);
                assert_eq!(spoon.verify(), Ok(()));
            }

            #[test]
            fn by_handle() {
                heapwright::instance! {
                    static HEAP as Handle: Static = Static::new();
                }
                super::super::exercise::$name(Handle);
                assert_eq!((HEAP.usage().used, HEAP.usage().objects), (0, 0));
                assert_eq!(HEAP.verify(), Ok(()));
            }

            $($more)*
        }
    };
    (unchecked: $name:ident) => { by_copied_handles!(@module $name); };
    ($($name:ident),+ $(,)?) => {$(
        by_copied_handles!(@module $name
            /// No collection may be taken for one that frees wrongly.
            #[test]
            fn by_reference_checked() {
                let mut memory = vec![MaybeUninit::uninit(); REGION_SIZE];
                let spoon = CheckedSpoon::from_slice(&mut memory);
                let start = spoon.usage();
                super::super::exercise::$name(&spoon);
                assert_eq!(spoon.usage(), start);
                assert_eq!((spoon.verify(), spoon.misuses()), (Ok(()), 0));
            }
        );
    )+};
}

/// Runs `exercise` by value. The exercise itself checks the usage, since the heap goes with the collection.
macro_rules! by_value {
    ($($name:ident),+ $(,)?) => {$(
        #[test]
        fn $name() {
            let mut memory = vec![MaybeUninit::uninit(); REGION_SIZE];
            super::exercise::$name(Spoon::from_slice(&mut memory));
        }
    )+};
}

mod copied {
    use super::*;

    by_copied_handles!(
        hashbrown_15_one,
        hashbrown_15_many,
        hashbrown_17_one,
        hashbrown_17_many,
        iddqd_id_map,
        pstd_tree,
        smallvec_spilled,
        vec_02,
        vec_04,
        boxes_02,
        boxes_04,
        blink_over,
        beside_bumpalo,
    );
    // talc frees with another alignment than it asked for; whether that shows is a matter of its blocks' addresses.
    by_copied_handles!(unchecked: talc_over);
    #[cfg(feature = "allocator-api2-03")]
    by_copied_handles!(vec_03, boxes_03, smoke_kit);
}

mod by_value {
    use super::*;

    by_value!(hashbrown_15_one, hashbrown_17_one, smallvec_spilled, vec_02, vec_04, talc_over, blink_over);
    #[cfg(feature = "allocator-api2-03")]
    by_value!(vec_03);
}

/// Our heaps over other crates' allocators, by the source that takes any `Allocator`.
mod over {
    use super::*;

    use heapwright::arena::SourceTeaspoon;
    use heapwright::lock::NoLock;
    use heapwright::source::{FromAllocator02, FromAllocator04};

    const SIZE: usize = 200 << 10;

    #[test]
    fn bumpalo() {
        let bump = bumpalo::Bump::new();
        let source = FromAllocator02::new(&bump);
        let spoon = SourceTeaspoon::<_, Sizing128KiB, NoLock>::with_size(source, SIZE).unwrap();
        let start = spoon.usage();
        exercise::hashbrown_17_many(&spoon);
        exercise::boxes_04(&spoon);
        assert_eq!((spoon.usage(), spoon.verify()), (start, Ok(())));
        assert!(bump.allocated_bytes() >= SIZE);
    }

    /// A tower: an arena in a block of talc's, which has its blocks from an arena of ours, which lies in a `Vec`.
    #[test]
    fn talc_over_ours() {
        use talc::TalcCell;
        use talc::source::AllocatorSource;

        let mut memory = vec![MaybeUninit::uninit(); 2 << 20];
        // Not one that checks: talc 5.1 gives its blocks back, when it is dropped, with a larger alignment than it asked for.
        let below = Teaspoon::<Sizing16MiB, SpinLock>::from_slice(&mut memory);
        let start = below.usage();
        let talc = TalcCell::new(AllocatorSource::with_block_size(&below, 256 << 10));
        let source = FromAllocator04::new(&talc);
        let spoon = SourceTeaspoon::<_, Sizing16MiB, NoLock>::with_size(source, SIZE).unwrap();
        exercise::hashbrown_17_many(&spoon);
        exercise::vec_02(&spoon);
        assert_eq!(spoon.verify(), Ok(()));
        drop(spoon);
        drop(talc);
        assert_eq!((below.usage(), below.verify()), (start, Ok(())));
    }
}

/// A number that depends on all bits of `seed` (splitmix64's finisher).
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 27)
}

mod exercise {
    use super::*;

    /// The sizes around which a hash map grows.
    const COUNTS: [u64; 13] = [1, 3, 4, 7, 8, 14, 15, 28, 29, 57, 113, 225, 449];

    /// hashbrown 0.16 and later free a table with any size that fits what the allocator returned for it.
    macro_rules! hash_maps {
        ($hashbrown:ident, $one:ident, $many:ident) => {
            pub(crate) fn $one<A: Allocator02 + Look>(heap: A) {
                let start = heap.look();
                let mut map = $hashbrown::HashMap::<u64, u64, _, A>::new_in(heap);
                for count in COUNTS {
                    for key in 0..count {
                        assert_eq!(map.insert(key, mixed(key)), None);
                    }
                    assert!(map.allocator().look().used >= map.len() * 16);
                    map.retain(|key, _| key % 3 != 0);
                    map.shrink_to_fit();
                    for key in 0..count {
                        assert_eq!(
                            map.get(&key).copied(),
                            (key % 3 != 0).then(|| mixed(key)),
                            "{key} of {count}"
                        );
                    }
                    map.clear();
                    map.shrink_to_fit();
                    assert_eq!(map.allocator().look(), start, "after {count} keys");
                }
            }

            pub(crate) fn $many<A: Allocator02 + Look + Clone>(heap: A) {
                many_of::<[u8; 3], A>(heap.clone());
                many_of::<u64, A>(heap.clone());
                many_of::<[u64; 5], A>(heap);

                /// Maps that grow in turn, so that each one's old table lies between the others' new ones.
                fn many_of<V, A>(heap: A)
                where
                    V: samples::Sample,
                    A: Allocator02 + Look + Clone,
                {
                    let start = heap.look();
                    let mut maps = Vec::new();
                    for _ in 0..7 {
                        maps.push($hashbrown::HashMap::<u32, V, _, A>::new_in(heap.clone()));
                    }
                    for key in 0..120 {
                        for (which, map) in maps.iter_mut().enumerate() {
                            if key as usize % (which + 1) == 0 {
                                map.insert(key, V::sample(u64::from(key) << 8 | which as u64));
                            }
                        }
                    }
                    let copies = maps.clone();
                    while !maps.is_empty() {
                        drop(maps.swap_remove(maps.len() / 2));
                        for (which, map) in copies.iter().enumerate() {
                            assert_eq!(map.len(), 120usize.div_ceil(which + 1));
                            for (key, value) in map {
                                assert!(*value == V::sample(u64::from(*key) << 8 | which as u64));
                            }
                        }
                    }
                    drop(copies);
                    assert_eq!(heap.look(), start);
                }
            }
        };
    }

    /// Values whose every byte depends on a seed.
    mod samples {
        use super::mixed;

        pub(crate) trait Sample: Copy + PartialEq {
            fn sample(seed: u64) -> Self;
        }

        impl Sample for u64 {
            fn sample(seed: u64) -> u64 {
                mixed(seed)
            }
        }

        impl Sample for [u8; 3] {
            fn sample(seed: u64) -> [u8; 3] {
                let [a, b, c, ..] = mixed(seed).to_le_bytes();
                [a, b, c]
            }
        }

        impl Sample for [u64; 5] {
            fn sample(seed: u64) -> [u64; 5] {
                std::array::from_fn(|i| mixed(seed + i as u64))
            }
        }
    }

    hash_maps!(hashbrown_15, hashbrown_15_one, hashbrown_15_many);
    hash_maps!(hashbrown_17, hashbrown_17_one, hashbrown_17_many);

    pub(crate) fn iddqd_id_map<A: Allocator02 + Look + Clone>(heap: A) {
        use iddqd::{IdHashItem, IdHashMap, id_upcast};

        #[derive(Debug, PartialEq)]
        struct Item {
            id: u64,
            value: u64,
        }

        impl IdHashItem for Item {
            type Key<'a> = u64;

            fn key(&self) -> u64 {
                self.id
            }

            id_upcast!();
        }

        let start = heap.look();
        let mut map = IdHashMap::<Item, _, A>::new_in(heap.clone());
        for count in COUNTS {
            for id in 0..count {
                assert!(map.insert_unique(Item { id, value: mixed(id) }).is_ok());
            }
            assert!(map.insert_unique(Item { id: 0, value: 0 }).is_err());
            for id in (0..count).filter(|id| id % 2 == 0) {
                assert_eq!(map.remove(id), Some(Item { id, value: mixed(id) }));
            }
            assert_eq!(map.len() as u64, count / 2);
            assert!(map.iter().all(|item| item.id % 2 == 1 && item.value == mixed(item.id)));
            map.clear();
        }
        assert!(heap.look().objects > start.objects);
        drop(map);
        assert_eq!(heap.look(), start);
    }

    pub(crate) fn pstd_tree<A: Allocator02 + Look + Clone>(heap: A) {
        use pstd::collections::btree_map::{BTreeMapA, CustomTuning};

        let start = heap.look();
        let mut tree =
            BTreeMapA::<u64, u64, CustomTuning<A>>::with_tuning(CustomTuning::new_in_def(heap.clone()));
        for number in 0..2000 {
            tree.insert(mixed(number), number);
        }
        assert!(heap.look().objects > start.objects);
        let copy = tree.clone();
        tree.retain(|_, number| *number % 5 == 0);
        assert!(copy.iter().is_sorted() && tree.iter().is_sorted());
        assert_eq!((copy.len(), tree.len()), (2000, 400));
        assert!((0..2000).all(|n| copy.get(&mixed(n)) == Some(&n)));
        assert!((0..2000).all(|n| tree.contains_key(&mixed(n)) == (n % 5 == 0)));
        drop((tree, copy));
        assert_eq!(heap.look(), start);

        let shared = pstd::RcA::new_in(
            pstd::StringA::from_str_in("in the heap, all of it", heap.clone()),
            heap.clone(),
        );
        let again = shared.clone();
        drop(shared);
        assert_eq!(&**again, "in the heap, all of it");
        assert_eq!(heap.look().objects, start.objects + 2);
        drop(again);
        assert_eq!(heap.look(), start);
    }

    pub(crate) fn smallvec_spilled<A: Allocator04>(heap: A) {
        let mut vec = smallvec::SmallVec::<u32, 4, A>::new_in(heap);
        for number in 0..2000 {
            vec.push(number);
        }
        assert!(vec.iter().copied().eq(0..2000));
        vec.retain(|number| number % 100 == 0);
        vec.shrink_to_fit();
        vec.insert(1, 7);
        assert_eq!(vec[..4], [0, 7, 100, 200]);
        vec.truncate(3);
        vec.shrink_to_fit();
        assert_eq!(vec[..], [0, 7, 100]);
    }

    /// `Vec` and `Box` of one version of allocator-api2.
    macro_rules! own_collections {
        ($api:ident, $vec:ident, $boxes:ident) => {
            pub(crate) fn $vec<A: $api::alloc::Allocator + Look>(heap: A) {
                use $api::vec::Vec;

                let start = heap.look();
                let mut bytes = Vec::<u8, A>::new_in(heap);
                for number in 0..5000u64 {
                    bytes.push(mixed(number) as u8);
                    if number % 700 == 0 {
                        bytes.shrink_to_fit();
                    }
                }
                assert_eq!(bytes.allocator().look().objects, start.objects + 1);
                bytes.drain(..1000);
                bytes.shrink_to_fit();
                assert!(bytes.iter().zip(1000..).all(|(&byte, number)| byte == mixed(number) as u8));
                bytes.resize(20_000, 0);
                assert!(bytes[4000..].iter().all(|&byte| byte == 0));
                assert!(bytes[..4000].iter().zip(1000..).all(|(&byte, number)| byte == mixed(number) as u8));
                bytes.clear();
                bytes.shrink_to_fit();
                assert_eq!(bytes.allocator().look(), start);
                let too_much = usize::try_from(1u64 << 40).unwrap_or(isize::MAX as usize);
                assert!(bytes.try_reserve(too_much).is_err());
                assert_eq!(bytes.allocator().look(), start);
            }

            pub(crate) fn $boxes<A: $api::alloc::Allocator + Look + Clone>(heap: A) {
                use $api::boxed::Box;

                #[repr(align(64))]
                #[derive(Clone, PartialEq, Debug)]
                struct Line([u64; 8]);

                let start = heap.look();
                let small = Box::new_in(7u8, heap.clone());
                let line = Box::new_in(Line([3; 8]), heap.clone());
                let zeroed = Box::<[u64], A>::new_zeroed_slice_in(50, heap.clone());
                // SAFETY: zero is a `u64`.
                let zeroed = unsafe { zeroed.assume_init() };
                let unit = Box::new_in((), heap.clone());
                let copy = line.clone();
                assert_eq!(heap.look().objects, start.objects + 4, "the unit takes nothing");
                assert_eq!((&raw const *line).addr() % 64, 0);
                assert_eq!((*small, &*copy, *unit), (7, &*line, ()));
                assert!(zeroed.iter().all(|&word| word == 0));
                let (object, _) = Box::into_raw_with_allocator(small);
                // SAFETY: just taken out of its box, of the same heap.
                drop(unsafe { Box::from_raw_in(object, heap.clone()) });
                drop((line, zeroed, unit, copy));
                assert_eq!(heap.look(), start);
            }
        };
    }

    own_collections!(allocator_api2_02, vec_02, boxes_02);
    #[cfg(feature = "allocator-api2-03")]
    own_collections!(allocator_api2_03, vec_03, boxes_03);
    own_collections!(allocator_api2_04, vec_04, boxes_04);

    #[cfg(feature = "allocator-api2-03")]
    pub(crate) fn smoke_kit<A: allocator_api2_03::alloc::Allocator + Copy>(heap: A) {
        allocator_api2_tests::test_sizes(heap);
        allocator_api2_tests::test_vec(heap);
        allocator_api2_tests::test_many_boxes(heap);
    }

    /// Another crate's allocator gets its blocks from ours. (talc 5.1.1 frees its last blocks with another alignment
    /// than it asked for, 32 bytes for 1; an arena goes by the size and does not mind.)
    pub(crate) fn talc_over<A: Allocator04 + Look + std::fmt::Debug>(heap: A) {
        use talc::TalcCell;
        use talc::source::AllocatorSource;

        let talc = TalcCell::new(AllocatorSource::with_block_size(heap, 8 << 10));
        let mut vecs = Vec::new();
        for number in 1..60usize {
            let mut vec = allocator_api2_04::vec::Vec::new_in(&talc);
            vec.resize(number * 10, number);
            vecs.push(vec);
        }
        for (vec, number) in vecs.iter().zip(1..) {
            assert!(vec.len() == number * 10 && vec.iter().all(|&n| n == number));
        }
    }

    pub(crate) fn blink_over<A: Allocator04 + Look>(heap: A) {
        let start = heap.look();
        let mut blink = blink_alloc::BlinkAlloc::with_chunk_size_in(512, heap);
        for round in 0..5u64 {
            let mut vecs = Vec::new();
            for number in 0..40 {
                let mut vec = allocator_api2_04::vec::Vec::new_in(&blink);
                vec.extend((0..number).map(|i| mixed(round * 1000 + number * 50 + i)));
                vecs.push(vec);
            }
            for (vec, number) in vecs.iter().zip(0..) {
                assert!(vec.iter().zip(0..).all(|(&n, i)| n == mixed(round * 1000 + number * 50 + i)));
            }
            assert!(blink.inner().look().used > start.used);
            drop(vecs);
            blink.reset();
        }
        blink.reset_final();
        assert_eq!(blink.inner().look(), start);
    }

    /// A bump allocator, our heap, and the system's side by side behind one dynamic type.
    pub(crate) fn beside_bumpalo<A: Allocator02 + Look + Clone>(heap: A) {
        use allocator_api2_02::alloc::Global;
        use allocator_api2_02::boxed::Box;
        use allocator_api2_02::vec::Vec;

        let start = heap.look();
        let bump = bumpalo::Bump::new();
        let by_bump = &bump;
        let heaps: [&dyn Allocator02; 3] = [&by_bump, &heap, &Global];
        let mut vecs = heaps.map(Vec::<u64, &dyn Allocator02>::new_in);
        for number in 0..500 {
            vecs[number % 3].push(mixed(number as u64));
        }
        assert_eq!(heap.look().objects, start.objects + 1);
        for (which, vec) in vecs.iter().enumerate() {
            assert!(vec.iter().zip((which..).step_by(3)).all(|(&n, number)| n == mixed(number as u64)));
        }
        // Boxes of ours that hold what a bump allocated, and the other way round.
        let mut inner = Vec::new_in(&bump);
        inner.extend([1, 2, 3]);
        let ours = Box::new_in(inner, heap.clone());
        let theirs = Box::new_in(Box::new_in(ours.len(), heap.clone()), &bump);
        assert_eq!((ours[2], **theirs), (3, 3));
        assert_eq!(heap.look().objects, start.objects + 3);
        drop((vecs, theirs, ours));
        assert_eq!(heap.look(), start);
    }
}
