//! A program with strings, maps, threads, a caught panic and growth, which each preset runs as the global allocator of a process of its
//! own.

use std::collections::{BTreeMap, HashMap};
use std::panic;
use std::sync::mpsc;
use std::thread;

use heapwright::arena::StaticArena;
use heapwright::heap::Usage;
use heapwright::lock::Lock;
use heapwright::sizing::Sizing;

/// Words with their lengths, two ways.
fn words() {
    let text = "the words to count, and the words that count";
    let mut counts = BTreeMap::<String, usize>::new();
    for word in text.split(' ').map(|word| word.trim_matches(',').to_uppercase()) {
        *counts.entry(word).or_default() += 1;
    }
    assert_eq!((counts["THE"], counts["WORDS"], counts["COUNT"], counts.len()), (2, 2, 2, 6));
    let lengths: HashMap<&str, usize> = counts.keys().map(|word| (word.as_str(), word.len())).collect();
    assert_eq!((lengths["THAT"], lengths.len()), (4, 6));
    assert_eq!(format!("{:>10}|{:<4}|", "right", counts.len()), "     right|6   |");
}

/// Threads that allocate at once, and free what others have allocated.
fn threads() {
    let (sender, receiver) = mpsc::channel::<Box<[u32]>>();
    let workers: Vec<_> = (0..3u32)
        .map(|worker| {
            let sender = sender.clone();
            thread::spawn(move || {
                for round in 0..200 {
                    let numbers: Vec<u32> = (0..round % 20).map(|number| number * worker).collect();
                    assert!(numbers.iter().copied().eq((0..round % 20).map(|number| number * worker)));
                }
                sender.send(vec![worker; 10].into_boxed_slice()).is_ok()
            })
        })
        .collect();
    drop(sender);
    let mut sum = 0;
    while let Ok(numbers) = receiver.recv() {
        sum += numbers.iter().sum::<u32>();
    }
    assert_eq!(sum, 30);
    for worker in workers {
        assert_eq!(worker.join().ok(), Some(true));
    }
}

/// A panic on the way leaves nothing behind.
fn panics() {
    for _ in 0..3 {
        let caught = panic::catch_unwind(|| {
            let kept: Vec<String> = (0..5).map(|number| number.to_string()).collect();
            assert!(kept.len() > 5, "{} are too few", kept.len());
        });
        let message = caught.err().and_then(|payload| payload.downcast::<String>().ok());
        assert_eq!(message.as_deref().map(String::as_str), Some("5 are too few"));
    }
}

/// Grows as far as there is room, is told when there is none, and shrinks.
fn growth(object_size_max: usize) {
    let mut bytes = Vec::new();
    for round in 0..200u32 {
        bytes.extend_from_slice(&round.to_le_bytes());
    }
    let mut numbers =
        bytes.chunks_exact(4).map(|chunk| u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]));
    assert!(numbers.by_ref().eq(0..200));
    assert!(bytes.try_reserve_exact(object_size_max).is_err(), "more than the largest object");
    assert!(Vec::<u8>::new().try_reserve_exact(isize::MAX as usize).is_err());
    bytes.truncate(8);
    bytes.shrink_to_fit();
    assert_eq!(bytes, [0, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(vec![0u64; 100], [0; 100]);
    let mut held = Vec::new();
    while held.try_reserve(1).is_ok() {
        let mut block = Vec::<u8>::new();
        if block.try_reserve_exact(object_size_max / 8).is_err() {
            break;
        }
        held.push(block);
    }
    assert!(!held.is_empty(), "there is room for an eighth of the largest object");
}

/// What is in use once nothing changes any more: a thread's last frees may come after those who wait for its work have gone on.
fn settled<const N: usize, S: Sizing, L: Lock>(heap: &StaticArena<N, S, L>) -> Usage {
    let mut usage = heap.usage();
    let mut same = 0;
    while same < 1000 {
        thread::yield_now();
        let now = heap.usage();
        same = if now == usage { same + 1 } else { 0 };
        usage = now;
    }
    usage
}

/// Runs the program until what the standard library allocates once is there, and then ten times more: all is given back.
pub(crate) fn run<const N: usize, S: Sizing, L: Lock>(heap: &StaticArena<N, S, L>) {
    let quietly = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let round = || {
        words();
        threads();
        panics();
        growth(S::OBJECT_SIZE_MAX.min(N));
    };
    let outcome = panic::catch_unwind(|| {
        round();
        round();
    });
    let before = settled(heap);
    assert!(before.used > 0 && before.used < N, "the program is in this heap: {before:?}");
    let again = panic::catch_unwind(|| (0..10).for_each(|_| round()));
    let after = settled(heap);
    panic::set_hook(quietly);
    assert!(outcome.is_ok() && again.is_ok(), "a panic that is none of the caught ones");
    // The standard library allocates a little the first time that a thread has to wait for another, which may be in any round; what each of ten
    // rounds left behind would be more.
    assert!(after.objects <= before.objects + 4, "before: {before:?}, after: {after:?}");
    assert_eq!(heap.verify(), Ok(()));
}
