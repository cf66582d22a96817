//! Collections over a `StackFirst`, on one thread and on many.

use std::thread;

use allocator_api2_02::boxed::Box as Box02;
use allocator_api2_02::vec::Vec as Vec02;
use allocator_api2_04::boxed::Box as Box04;
use allocator_api2_04::vec::Vec as Vec04;
use hashbrown_17::{DefaultHashBuilder, HashMap};
use heapwright::arena::SourceTeaspoon;
use heapwright::lock::{NoLock, SpinLock};
use heapwright::preset::StackFirst;
use heapwright::sizing::{Checked, Sizing4KiB, Sizing16MiB};
use heapwright::source::GlobalHeap;

type Behind = SourceTeaspoon<GlobalHeap, Checked<Sizing16MiB>, SpinLock>;

fn behind() -> Behind {
    Behind::with_size(GlobalHeap, 1 << 20).unwrap_or_else(|error| panic!("{error}"))
}

fn assert_empty<const N: usize>(heap: &StackFirst<N, &Behind>) {
    assert_eq!((heap.usage().used, heap.usage().objects), (0, 0));
    let behind = heap.heap();
    assert_eq!((behind.usage().objects, behind.misuses(), behind.verify()), (0, 0, Ok(())));
}

/// The typical use: one vector that grows from the first byte of the buffer, and temporaries meanwhile.
#[test]
fn one_vector_and_temporaries() {
    let behind = behind();
    let heap = StackFirst::<1024, _>::new(&behind);
    let mut numbers = Vec02::new_in(&heap);
    for number in 0..1000u32 {
        let temporary = Box04::new_in([number; 4], &heap);
        let number = temporary[3];
        drop(temporary);
        numbers.push(number);
        assert_eq!(heap.is_inline(numbers.as_ptr().cast()), numbers.capacity() * 4 <= 1024, "{number}");
    }
    assert!(numbers.iter().copied().eq(0..1000));
    numbers.truncate(10);
    numbers.shrink_to_fit();
    assert!(!heap.is_inline(numbers.as_ptr().cast()) && numbers.len() == 10);
    drop(numbers);
    assert_empty(&heap);
}

/// A temporary that is live while the vector grows stands in its way: the vector goes behind it, and leaves the buffer earlier.
#[test]
fn a_temporary_in_the_way() {
    let behind = behind();
    let heap = StackFirst::<1024, _>::new(&behind);
    let mut numbers = Vec02::new_in(&heap);
    for number in 0..1000u32 {
        let temporary = Box04::new_in([number; 4], &heap);
        numbers.push(temporary[3]);
        assert!(heap.is_inline(numbers.as_ptr().cast()) || numbers.capacity() * 4 > 256, "{number}");
    }
    assert!(numbers.iter().copied().eq(0..1000));
    drop(numbers);
    assert_empty(&heap);
}

/// hashbrown frees with a size between the requested and the returned one.
#[test]
fn a_map() {
    let behind = behind();
    let heap = StackFirst::<512, _>::new(&behind);
    for end in [3, 20, 100, 1000, 7] {
        let mut map = HashMap::with_hasher_in(DefaultHashBuilder::default(), &heap);
        for key in 0..end {
            map.insert(key, Box02::new_in(key * 3, &heap));
        }
        assert!((0..end).all(|key| *map[&key] == key * 3));
        map.retain(|key, _| key % 5 == 0);
        map.shrink_to_fit();
        assert!((0..end).all(|key| map.contains_key(&key) == (key % 5 == 0)));
        drop(map);
        assert_empty(&heap);
    }
}

/// Boxes smaller than a granule, freed in every order, in the two versions of the traits.
#[test]
fn boxes() {
    let behind = behind();
    let heap = StackFirst::<64, _>::new(&behind);
    for step in [1, 3, 7, 9] {
        let mut bytes: Vec<_> = (0..10u8).map(|byte| Some(Box04::new_in(byte, &heap))).collect();
        let words: Vec<_> = (0..10u32).map(|word| Box02::new_in(word, &heap)).collect();
        for idx in 0..10 {
            assert_eq!(bytes[idx * step % 10].take().map(|byte| usize::from(*byte)), Some(idx * step % 10));
        }
        assert!(words.iter().map(|word| **word).eq(0..10));
        drop(words);
        assert_empty(&heap);
    }
    // A box whose memory a vector takes over, to grow.
    let mut slice = Vec04::new_in(&heap);
    slice.extend([1u8, 2, 3]);
    let mut grown = slice.into_boxed_slice().into_vec();
    grown.extend(4..200);
    assert!(grown.iter().copied().eq(1..200));
    drop(grown);
    assert_empty(&heap);
}

/// Over the program's heap, whose `realloc` is used once the buffer is too small.
#[test]
fn in_front_of_the_global_heap() {
    let heap = StackFirst::<256, GlobalHeap>::new(GlobalHeap);
    let mut text = Vec04::new_in(&heap);
    for line in 0..10_000 {
        text.extend_from_slice(format!("{line}\n").as_bytes());
    }
    assert_eq!(text.iter().filter(|&&byte| byte == b'\n').count(), 10_000);
    text.truncate(100);
    text.shrink_to_fit();
    assert!(text.starts_with(b"0\n1\n2\n"));
    drop(text);
    assert_eq!(heap.usage().objects, 0);
}

/// A block that was forgotten stays where it is counted, and the value may move.
#[test]
fn moves_when_nobody_borrows_it() {
    let heap = StackFirst::<64, GlobalHeap>::new(GlobalHeap);
    std::mem::forget(Box04::new_in(1u64, &heap));
    let moved = Box::new(heap);
    assert_eq!(moved.usage().objects, 1);
    let boxed = Box04::new_in([2u64; 2], &*moved);
    assert_eq!((*boxed, moved.usage().objects), ([2; 2], 2));
}

/// As a source: an arena in the buffer.
#[test]
fn as_a_source() {
    let behind = behind();
    let heap = StackFirst::<512, _>::new(&behind);
    let Ok(spoon) = SourceTeaspoon::<_, Sizing4KiB, NoLock>::with_size(&heap, 400) else {
        panic!("there is room");
    };
    let boxed = Box04::new_in([7u32; 10], &spoon);
    assert!(heap.is_inline((&raw const *boxed).cast()));
    drop(boxed);
    drop(spoon);
    assert_empty(&heap);
}

/// A lock makes it shared: threads push into vectors of their own in one buffer, and free each other's boxes.
#[test]
fn on_many_threads() {
    let behind = behind();
    let heap = StackFirst::<2048, _, SpinLock>::new(&behind);
    let rounds = if cfg!(miri) { 3 } else { 300 };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..4u32)
            .map(|worker| {
                let heap = &heap;
                scope.spawn(move || {
                    for round in 0..rounds {
                        let mut numbers = Vec04::new_in(heap);
                        for number in 0..50 + worker {
                            numbers.push(Box02::new_in(number * round, heap));
                        }
                        assert!(numbers.iter().map(|boxed| **boxed).eq((0..50 + worker).map(|n| n * round)));
                    }
                    Box04::new_in(worker, heap)
                })
            })
            .collect();
        for (idx, worker) in workers.into_iter().enumerate() {
            let boxed = worker.join().ok();
            assert_eq!(boxed.map(|boxed| *boxed as usize), Some(idx));
        }
    });
    assert_eq!((heap.usage().used, heap.usage().objects), (0, 0));
    assert_eq!((behind.usage().objects, behind.misuses(), behind.verify()), (0, 0, Ok(())));
}
