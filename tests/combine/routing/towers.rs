//! Every block over strict parents, and towers of them, against the model.

use heapwright::arena::SourceArena;
use heapwright::cache::Classes;
use heapwright::combine::{
    Adaptive, Affix, AlignUp, AtMost, ByAlign, Fallback, FreeLists, Multiples, PerClass, Percent,
    PowersOfTwo, Quantize, Requested, Segregate, SegregateBy, ToClasses, Unbounded,
};
use heapwright::heap::{Heap, Locked, NoHeap};
use heapwright::lock::{NoLock, SpinLock};
use heapwright::sizing::{Checked, Sizing16MiB};
use heapwright::source::{Counted, GlobalHeap, SourceHeap};
use heapwright::{segregate, size_classes};

use super::shadow::{Op, check, holds, run};
use super::strict::{Shared, Strict};
use quickcheck::{Arbitrary, Gen};

size_classes! { struct Few = 16..=512, 1 per doubling; }

/// Odd lengths, so that what is given is nearly always more than was asked.
fn odd(log: &Shared) -> Strict {
    log.heap().granule(24)
}

fn scarce(log: &Shared) -> Strict {
    log.heap().granule(8).room(5)
}

/// One test for each line: the heap that is made.
macro_rules! towers {
    ($($name:ident: $heap:ty = |$log:ident| $make:expr;)*) => {$(
        #[test]
        fn $name() {
            fn make($log: &Shared) -> $heap {
                $make
            }
            fn property(script: Vec<Op>) -> bool {
                check(make, &script, script.len() % 2 == 0, None);
                true
            }
            holds(make, property);
        }
    )*};
}

type Small = Lists<Fallback<AlignUp<16, Strict>, Quantize<Multiples<40>, Strict>>, AtMost<10>, 2>;
type Large = Affix<u64, SegregateBy<ByAlign<8>, Fallback<Strict, Strict>, Strict>, u32>;
type Lists<P, B = Unbounded, const REFILL: usize = 1> = FreeLists<Few, P, B, REFILL>;

towers! {
    a_strict_heap: Strict = |log| odd(log);
    fallback: Fallback<Strict, Strict> = |log| Fallback::new(scarce(log), odd(log));
    fallback_without_a_first: Fallback<NoHeap, Strict> = |log| Fallback::new(NoHeap, odd(log));
    fallback_without_a_second: Fallback<Strict, NoHeap> = |log| Fallback::new(scarce(log), NoHeap);
    fallbacks_nested: Fallback<Fallback<Strict, Strict>, Fallback<Strict, Strict>> = |log| Fallback::new(
        Fallback::new(scarce(log), odd(log).room(3)),
        Fallback::new(scarce(log), odd(log)),
    );
    segregate: Segregate<100, Strict, Strict> = |log| Segregate::new(log.heap().granule(512), odd(log));
    segregate_one: Segregate<1, Strict, Strict> = |log| Segregate::new(log.heap().granule(64), odd(log));
    segregate_by_align: SegregateBy<ByAlign<16>, Strict, Strict> = |log| SegregateBy::new(odd(log), odd(log));
    segregate_four: segregate! { ..=16 => Strict, ..=100 => Strict, ..=1024 => Strict, _ => Strict } =
        |log| segregate!(new: odd(log), odd(log), log.heap().granule(1000), odd(log));
    per_class: PerClass<Few, Strict> = |log| PerClass::from_fn(|_| odd(log));
    per_class_or_large: Segregate<512, PerClass<Few, Strict>, Strict> =
        |log| Segregate::new(PerClass::from_fn(|_| odd(log)), odd(log));
    free_lists: Lists<Strict> = |log| FreeLists::new(odd(log));
    free_lists_of_one: Lists<Strict, AtMost<1>> = |log| FreeLists::new(odd(log));
    free_lists_bounded: Lists<Strict, AtMost<7>, 4> = |log| FreeLists::new(odd(log));
    free_lists_refilled: Lists<Strict, Unbounded, 16> = |log| FreeLists::new(odd(log));
    free_lists_adaptive: Lists<Strict, Adaptive<8>, 3> = |log| FreeLists::new(odd(log));
    free_lists_scarce: Lists<Strict, Unbounded, 8> = |log| FreeLists::new(log.heap().room(20));
    free_lists_fine: FreeLists<Classes, Strict> = |log| FreeLists::new(odd(log));
    quantize_multiples: Quantize<Multiples<48>, Strict> = |log| Quantize::new(odd(log));
    quantize_powers: Quantize<PowersOfTwo, Strict> = |log| Quantize::new(odd(log));
    quantize_classes: Quantize<ToClasses<Few>, Strict> = |log| Quantize::new(odd(log));
    quantize_percent: Quantize<Percent<25>, Strict> = |log| Quantize::new(odd(log));
    align_up: AlignUp<64, Strict> = |log| AlignUp::new(odd(log));
    affix_nothing: Affix<(), Strict, ()> = |log| Affix::new(odd(log));
    affix_before: Affix<u32, Strict> = |log| Affix::new(odd(log));
    affix_behind: Affix<(), Strict, u64> = |log| Affix::new(odd(log));
    affix_both: Affix<[u16; 5], Strict, u128> = |log| Affix::new(odd(log));
    affix_bytes: Affix<u8, Strict, u8> = |log| Affix::new(odd(log));
    lists_before_a_fallback: Lists<Fallback<Strict, Strict>, AtMost<3>> =
        |log| FreeLists::new(Fallback::new(scarce(log), odd(log)));
    fallback_before_lists: Fallback<Lists<Strict>, Lists<Strict, Adaptive<16>>> =
        |log| Fallback::new(FreeLists::new(scarce(log)), FreeLists::new(odd(log)));
    quantized_lines: Quantize<Multiples<64>, AlignUp<64, Strict>> = |log| Quantize::new(AlignUp::new(odd(log)));
    affix_in_affix: Affix<Requested, Affix<u8, Strict, u16>, u32> = |log| Affix::new(Affix::new(odd(log)));
    quantize_in_affix: Affix<u64, Quantize<Percent<50>, Strict>, [u8; 3]> = |log| Affix::new(Quantize::new(odd(log)));
    affix_in_quantize: Quantize<Percent<12>, Affix<u64, Strict, u64>> = |log| Quantize::new(Affix::new(odd(log)));
    lists_in_lists: FreeLists<Classes, Lists<Strict, AtMost<4>, 3>, AtMost<2>, 2> =
        |log| FreeLists::new(FreeLists::new(odd(log)));
    lists_per_class: PerClass<Few, FreeLists<Classes, Strict>> = |log| PerClass::from_fn(|_| FreeLists::new(odd(log)));
    classes_first: Fallback<PerClass<Few, Strict>, Affix<(), Strict, u32>> =
        |log| Fallback::new(PerClass::from_fn(|_| scarce(log)), Affix::new(odd(log)));
    all_at_once: Segregate<128, Small, Large> = |log| Segregate::new(
        FreeLists::new(Fallback::new(AlignUp::new(scarce(log)), Quantize::new(odd(log)))),
        Affix::new(SegregateBy::new(Fallback::new(scarce(log), odd(log)), odd(log))),
    );
}

type Arena = SourceArena<SourceBlock, Checked<Sizing16MiB>>;
type SourceBlock = GlobalHeap;

fn arena(len: usize) -> Arena {
    SourceArena::with_size(GlobalHeap, len).expect("the system has that much")
}

fn scripts(mut each: impl FnMut(&[Op], bool)) {
    let mut seed = Gen::from_size_and_seed(400, 0xA4E4A);
    for round in 0..if cfg!(miri) { 2 } else { 20 } {
        each(&Vec::<Op>::arbitrary(&mut seed), round % 2 == 0);
    }
}

/// Arenas, the system's heap behind a counter, and lists: what is used in earnest.
#[test]
fn an_arena_first_and_the_system_behind_it() {
    use heapwright::heap::Inspect;

    type Behind = SourceHeap<Counted<GlobalHeap>>;
    type Tower = Segregate<128, Lists<Fallback<Arena, Behind>, AtMost<20>>, Affix<usize, Behind, usize>>;
    let mut acquired = 0;
    scripts(|script, at_hand| {
        let behind = || SourceHeap::new(Counted::new(GlobalHeap));
        let mut heap: Tower =
            Segregate::new(FreeLists::new(Fallback::new(arena(2048), behind())), Affix::new(behind()));
        run(&mut heap, script, at_hand);
        let (small, large) = heap.into_inner();
        let (mut first, second) = small.into_inner().into_inner();
        assert_eq!((first.usage().objects, first.misuses(), first.verify()), (0, 0, Ok(())));
        assert_eq!(second.source().counts().blocks, 0);
        let counts = large.heap().source().counts();
        assert_eq!((counts.blocks, counts.bytes), (0, 0));
        acquired += counts.acquired;
    });
    assert!(acquired > 0);
}

/// Lists over a heap that others use too: dropped, they leave nothing there.
#[test]
fn lists_over_a_shared_heap_give_all_back() {
    let shared = Locked::<_, SpinLock>::new(arena(4 << 20));
    scripts(|script, at_hand| {
        let mut one = FreeLists::<Classes, _, Adaptive<32>, 8>::new(SourceHeap::new(&shared));
        let mut other = PerClass::<Few, _>::from_fn(|_| Lists::<_, Unbounded>::new(SourceHeap::new(&shared)));
        run(&mut one, script, at_hand);
        run(&mut other, script, at_hand);
        drop((one, other));
        assert_eq!((shared.usage().objects, shared.misuses(), shared.verify()), (0, 0, Ok(())));
    });
}

/// Behind a lock, by the handles of collections.
#[cfg(all(feature = "allocator-api2-02", feature = "allocator-api2-04"))]
#[test]
fn collections_live_in_a_tower() {
    type Small = FreeLists<Classes, Affix<u32, SourceHeap<Counted<GlobalHeap>>, u16>>;
    type Tower = segregate! { ..=96 => Small, ..=1000 => Quantize<Percent<25>, SourceHeap<GlobalHeap>>, _ => AlignUp<4096, SourceHeap<GlobalHeap>> };
    let behind = SourceHeap::new(Counted::new(GlobalHeap));
    let tower: Tower = segregate!(
        new: FreeLists::new(Affix::new(behind)),
        Quantize::new(SourceHeap::new(GlobalHeap)),
        AlignUp::new(SourceHeap::new(GlobalHeap)),
    );
    let heap = Locked::<_, NoLock>::new(tower);
    {
        let mut map = hashbrown_17::HashMap::with_hasher_in(std::hash::RandomState::new(), &heap);
        let mut words = allocator_api2_04::vec::Vec::new_in(&heap);
        for number in 0..3000u32 {
            let mut name = allocator_api2_04::vec::Vec::new_in(&heap);
            name.extend_from_slice(number.to_string().as_bytes());
            words.push(name);
            map.insert(number, u64::from(number) * 3);
            if number % 3 == 0 {
                words.remove(words.len() / 2);
                map.remove(&(number / 2));
            }
        }
        assert_eq!(words.len(), 2000);
        assert!(map.iter().all(|(key, value)| u64::from(*key) * 3 == *value));
    }
    heap.release_unused_of_all();
    let small = heap.into_inner().into_inner().0;
    assert_eq!(small.into_inner().into_inner().source().counts().blocks, 0);
}

/// A short way to the method of the trait.
#[cfg(all(feature = "allocator-api2-02", feature = "allocator-api2-04"))]
trait ReleaseAll {
    fn release_unused_of_all(&self);
}

#[cfg(all(feature = "allocator-api2-02", feature = "allocator-api2-04"))]
impl<H: Heap> ReleaseAll for Locked<H, NoLock> {
    fn release_unused_of_all(&self) {
        use heapwright::heap::SharedHeap;
        assert!(self.release_unused() > 0);
    }
}
