//! What counters say, against what was done.

use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::arena::Arena;
use heapwright::cache::{Classes, SizeClasses};
use heapwright::combine::{
    AtomicTotals, ClassTotals, Counted, Counters, FailNth, OnFree, Quota, SizeHistogram, Totals, Zeroing,
};
use heapwright::describe::describe;
use heapwright::heap::{Heap, Inspect, Locked, NoHeap, Owns, Reset, SharedHeap};
use heapwright::lock::SpinLock;
use heapwright::sizing::Sizing128KiB;
use heapwright::source::{GlobalHeap, Limited, SourceHeap};

use super::shadow::Numbers;
use super::{layout, resize};

type All = (Totals, ClassTotals<Classes>, SizeHistogram);

/// Whatever is done, the numbers are what a list of all live blocks says.
#[test]
fn counters_agree_with_a_list() {
    let mut memory = vec![MaybeUninit::uninit(); 20_000];
    let arena = Arena::<Sizing128KiB>::from_slice(&mut memory);
    let all: All = (Totals::new(), ClassTotals::new(), SizeHistogram::new());
    let mut heap = Counted::new(all, Quota::new(arena, 8000));
    let mut numbers = Numbers(3);
    let mut live: Vec<(NonNull<u8>, Layout)> = Vec::new();
    let mut expected = Totals::new();
    let mut asked = 0;
    for _ in 0..if cfg!(miri) { 200 } else { 3000 } {
        let new = layout(1 + numbers.below(300), 1 << numbers.below(6));
        match numbers.below(7) {
            0 | 1 => match heap.alloc(new) {
                Ok(block) => {
                    live.push((block.cast(), new));
                    expected.allocated += 1;
                    asked += usize::from((64..128).contains(&new.size()));
                }
                Err(_) => expected.refused += 1,
            },
            2 | 3 if !live.is_empty() => {
                let (block, old) = live.swap_remove(numbers.below(live.len()));
                expected.freed += 1;
                if numbers.below(2) == 0 {
                    // SAFETY: the block is live, and `old` its layout.
                    unsafe { heap.dealloc(block, old) };
                } else {
                    // SAFETY: as above.
                    assert!(unsafe { heap.try_dealloc(block, old) });
                }
            }
            4 | 5 if !live.is_empty() => {
                let at = numbers.below(live.len());
                let (block, old) = live[at];
                let in_place = numbers.below(2) == 0;
                // SAFETY: the block is live, `old` its layout, and `new` is not of size zero.
                let resized = unsafe { resize(&mut heap, in_place, block, old, new) };
                match resized {
                    Ok(resized) => {
                        live[at] = (resized.cast(), new);
                        let moved = resized.cast() != block;
                        *(if moved { &mut expected.moved } else { &mut expected.resized }) += 1;
                    }
                    Err(_) => expected.refused += usize::from(!in_place),
                }
            }
            _ => {
                let mut out = [MaybeUninit::uninit(); 3];
                let got = heap.alloc_batch(new, &mut out);
                // SAFETY: so many were filled.
                live.extend(out[..got].iter().map(|block| (unsafe { block.assume_init() }, new)));
                expected.allocated += got;
                expected.refused += usize::from(got < 3);
                asked += if (64..128).contains(&new.size()) { got } else { 0 };
            }
        }
        let sizes = live.iter().map(|(_, layout)| heap.good_size(*layout));
        expected.bytes = sizes.sum();
        expected.blocks = live.len();
        expected.bytes_peak = expected.bytes_peak.max(expected.bytes);
        expected.blocks_peak = expected.blocks_peak.max(expected.blocks);
        let (totals, classes, sizes) = heap.counters();
        assert_eq!(*totals, expected);
        assert_eq!(heap.heap().used(), expected.bytes);
        assert!(heap.heap().used() <= heap.heap().limit());
        assert_eq!(sizes.count(64), asked);
        let in_class = |class: usize| {
            let of = |(_, layout): &&(NonNull<u8>, Layout)| {
                let block = Layout::from_size_align(heap.good_size(*layout), layout.align()).unwrap();
                Classes::index(block) == Some(class)
            };
            live.iter().filter(of).count()
        };
        for class in [0, 3, 9] {
            assert_eq!(classes.classes()[class].live, in_class(class));
        }
        assert_eq!(classes.classes().iter().map(|class| class.live).sum::<usize>(), live.len());
    }
    assert!(expected.refused > 0 && expected.moved > 0 && expected.resized > 0 || cfg!(miri));
    // SAFETY: no block is used any more.
    unsafe { heap.reset() };
    let (totals, classes, _) = heap.counters();
    assert_eq!((totals.blocks, totals.bytes, totals.freed), (0, 0, totals.allocated));
    assert!(classes.classes().iter().all(|class| class.live == 0));
    assert_eq!(heap.heap().used(), 0);
}

/// Atomic counters say the same as plain ones beside them.
#[test]
fn atomic_totals_are_totals() {
    static ATOMIC: AtomicTotals = AtomicTotals::new();
    let counters = (Totals::new(), &ATOMIC);
    let mut heap = Counted::new(counters, Quota::new(SourceHeap::new(GlobalHeap), 2000));
    let mut numbers = Numbers(9);
    let mut live: Vec<(NonNull<u8>, Layout)> = Vec::new();
    for _ in 0..if cfg!(miri) { 100 } else { 2000 } {
        let new = layout(1 + numbers.below(300), 8);
        if numbers.below(2) == 0 {
            live.extend(heap.alloc(new).map(|block| (block.cast(), new)));
        } else if let Some((block, old)) = live.pop() {
            // SAFETY: the block is live, and `old` its layout.
            match unsafe { heap.resize(block, old, new) } {
                Ok(block) if numbers.below(3) == 0 => live.push((block.cast(), new)),
                // SAFETY: the block is live, and `new` its layout.
                Ok(block) => unsafe { heap.dealloc(block.cast(), new) },
                // SAFETY: the block is as it was.
                Err(_) => unsafe { heap.dealloc(block, old) },
            }
        }
        assert_eq!(ATOMIC.read(), heap.counters().0);
    }
    for (block, layout) in live {
        // SAFETY: the block is live, and this its layout.
        unsafe { heap.dealloc(block, layout) };
    }
    assert_eq!((ATOMIC.read().blocks, ATOMIC.read().bytes), (0, 0));
}

/// Read without the lock, while the heap is locked; from another thread.
#[test]
fn atomic_totals_are_read_without_the_lock() {
    static TOTALS: AtomicTotals = AtomicTotals::new();
    let heap = Locked::<_, SpinLock>::new(Counted::new(&TOTALS, SourceHeap::new(GlobalHeap)));
    let work = |core: &mut Counted<&'static AtomicTotals, SourceHeap<GlobalHeap>>| {
        let block = core.alloc(layout(100, 4)).unwrap();
        let seen = std::thread::scope(|scope| scope.spawn(|| TOTALS.read().bytes).join().unwrap());
        // SAFETY: the block is live, and this its layout.
        unsafe { core.dealloc(block.cast(), layout(100, 4)) };
        seen
    };
    // SAFETY: the closure only calls the core.
    assert_eq!(unsafe { heap.enter(work) }, Ok(100));
    assert_eq!(TOTALS.read().bytes, 0);
}

#[test]
fn tables_can_be_read() {
    let counters = (Totals::new(), ClassTotals::<Classes>::new(), SizeHistogram::new());
    let mut heap = Counted::new(counters, SourceHeap::new(Limited::new(GlobalHeap, 2 << 20)));
    let live = heap.alloc(layout(100, 8)).unwrap();
    for size in [24, 24, 1 << 20] {
        let block = heap.alloc(layout(size, 8)).unwrap();
        // SAFETY: the block is live, and this its layout.
        unsafe { heap.dealloc(block.cast(), layout(size, 8)) };
    }
    assert!(heap.alloc(layout(3 << 20, 8)).is_err());
    let table = heap.to_string();
    let words: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["live", "peak"]);
    assert_eq!(words[1], ["blocks", "1", "2"]);
    assert_eq!(words[2], ["bytes", "100", "1048676"]);
    assert_eq!(table.lines().nth(3), Some("allocated 4, freed 3, resized 0, moved 0, refused 1"));
    assert_eq!(words[4], ["class", "live", "peak", "allocated"]);
    assert_eq!(words[5], ["24", "bytes", "0", "1", "2"]);
    assert_eq!(words[6], ["112", "bytes", "1", "1", "1"]);
    assert_eq!(words[7], ["larger", "0", "1", "1"]);
    assert_eq!(words[8][..5], ["16", "to", "31", "bytes", "2"]);
    assert_eq!(words[8][5].len(), 2 * words[9][5].len(), "bars of 2 and of 1");
    assert_eq!(words[10][..5], ["1048576", "to", "2097151", "bytes", "1"]);
    assert_eq!(words.len(), 11);
    // SAFETY: the block is live, and this its layout.
    unsafe { heap.dealloc(live.cast(), layout(100, 8)) };
}

/// What counts nothing is not there.
#[test]
fn nothing_is_counted_in_no_bytes() {
    assert_eq!(size_of::<Counted<(), NoHeap>>(), 0);
    assert_eq!(size_of::<Counted<((), ()), Quota<NoHeap>>>(), size_of::<Quota<NoHeap>>());
    const { assert!(!<((), ()) as Counters>::COUNTS && <((), Totals) as Counters>::COUNTS) };
}

#[test]
fn a_tower_is_described() {
    type Tower = Counted<Totals, Quota<Zeroing<OnFree, NoHeap>>>;
    let tree = describe::<Tower>().to_string();
    let bytes = |words: usize| words * size_of::<usize>();
    let expected = format!(
        "Counted, by totals ({} bytes)\n\
         └─ heap: Quota, bytes at a time ({} bytes)\n   \
            └─ heap: Zeroing, on free\n      \
               └─ heap: NoHeap, refuses every request\n",
        bytes(9),
        bytes(2)
    );
    assert_eq!(tree, expected);
}

/// What watches a heap gives it back as it is, and watches it no more.
#[test]
fn heaps_come_out_as_they_are() {
    type Room<'a> = Arena<'a, Sizing128KiB>;
    fn comes_out<'a, H: Heap>(
        memory: &'a mut [MaybeUninit<u8>],
        wrap: impl FnOnce(Room<'a>) -> H,
        out: impl FnOnce(H) -> Room<'a>,
    ) {
        let (mut heap, this) = (wrap(Arena::from_slice(memory)), layout(100, 8));
        let block = heap.alloc(this).unwrap().cast();
        assert!(heap.alloc(this).is_err(), "it is watched");
        let mut arena = out(heap);
        assert_eq!(arena.usage().objects, 1);
        arena.alloc(this).unwrap();
        // SAFETY: the block is live, and its layout this one.
        unsafe { arena.dealloc(block, this) };
        assert_eq!(arena.usage().objects, 1);
    }
    let mut memory = [MaybeUninit::uninit(); 2000];
    comes_out(&mut memory, |arena| Quota::new(arena, 150), Quota::into_inner);
    comes_out(&mut memory, |arena| FailNth::after(arena, 1), FailNth::into_inner);
    let counted = |arena| Counted::new(Totals::new(), FailNth::after(arena, 1));
    comes_out(&mut memory, counted, |heap| heap.into_inner().into_inner());
}

/// Counters that others see meanwhile have the same table, and what counts nothing has none.
#[test]
fn counters_beside_each_other_have_a_table_each() {
    let atomic = AtomicTotals::new();
    let mut heap = Counted::new((Totals::new(), &atomic, ()), SourceHeap::new(GlobalHeap));
    let block = heap.alloc(layout(100, 8)).unwrap().cast();
    let table = heap.counters().0.to_string();
    assert!(table.contains("100") && table.ends_with('\n'), "{table}");
    assert_eq!(heap.to_string(), format!("{table}{table}"));
    // SAFETY: the block is live, and its layout this one.
    unsafe { heap.dealloc(block, layout(100, 8)) };
    assert_eq!(heap.counters().0.to_string(), atomic.read().to_string());
}
