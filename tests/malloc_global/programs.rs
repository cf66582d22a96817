//! Programs whose every allocation comes from one of the presets. All general presets run them, each in a process of its own.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::panic;
#[cfg(unix)]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;

use crate::{Global, PART};

/// Tests run one after the other: they look at what the whole process holds.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// So often what takes longest: with `HEAPWRIGHT_SHORT=1` a tenth of that, for where all is slow.
fn times(all: usize) -> usize {
    let part = if std::env::var_os("HEAPWRIGHT_SHORT").is_some() { 10 } else { 1 };
    (all / PART / part).max(4)
}

/// Strings, maps and vectors that grow, shrink and go; gives a number that follows from all of them.
fn work(seed: u64) -> usize {
    let mut state = seed | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize >> 8
    };
    let mut map: HashMap<String, Vec<u16>> = HashMap::new();
    let mut tree = BTreeMap::new();
    for number in 0..3000 {
        let key = format!("{}", next() % 500);
        let list = map.entry(key).or_default();
        list.extend(0..(next() % 40) as u16);
        if list.len() > 300 {
            list.truncate(10);
            list.shrink_to_fit();
        }
        tree.insert(next(), vec![number as u8; next() % 2000].into_boxed_slice());
        if tree.len() > 200 {
            tree.pop_first();
        }
    }
    map.values().map(Vec::len).sum::<usize>()
        + tree.values().map(|bytes| bytes.iter().filter(|&&byte| byte == bytes[0]).count()).sum::<usize>()
}

#[test]
fn a_program_with_threads() {
    let _alone = alone();
    let expected: Vec<usize> = (0..8).map(work).collect();
    let threads: Vec<_> = (0..8).map(|seed| thread::spawn(move || work(seed))).collect();
    let found: Vec<usize> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(found, expected);
    assert!(Global.stats().bytes_live > 0);
}

#[test]
fn a_panic_is_caught_and_its_message_is_whole() {
    let _alone = alone();
    let caught = thread::spawn(|| {
        let text = "x".repeat(10_000);
        panic::catch_unwind(move || panic!("{}: {text}", text.len())).unwrap_err()
    });
    let message = caught.join().unwrap().downcast::<String>().unwrap();
    assert!(message.starts_with("10000: xxx") && message.len() == 10_007);
}

#[test]
fn one_vector_grows_from_a_byte_to_all_sizes_and_back() {
    let _alone = alone();
    let mut bytes: Vec<u8> = Vec::new();
    for number in 0..20_000_000usize {
        bytes.push(number as u8);
    }
    assert!(bytes.iter().enumerate().all(|(number, &byte)| byte == number as u8));
    while bytes.len() > 1 {
        bytes.truncate(bytes.len() / 3 + 1);
        bytes.shrink_to_fit();
        assert!(bytes.iter().enumerate().all(|(number, &byte)| byte == number as u8));
        if bytes.len() < 3 {
            break;
        }
    }
}

/// What runs before `main`, and before the standard library knows of anything.
#[cfg(target_os = "linux")]
mod before_main {
    use std::sync::atomic::{AtomicUsize, Ordering};

    static LEN: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn allocate() {
        let texts: Vec<String> = (0..100).map(|number| format!("early {number}")).collect();
        LEN.store(texts.concat().len(), Ordering::Relaxed);
    }

    // SAFETY: the section is for functions of this type, which are called before `main`.
    #[used]
    #[unsafe(link_section = ".init_array")]
    static CALLED: extern "C" fn() = allocate;

    #[test]
    fn what_runs_before_main_allocates() {
        assert_eq!(LEN.load(Ordering::Relaxed), 100 * 6 + 190);
    }
}

/// Allocates and frees when its thread ends.
struct Late(Vec<String>);

impl Drop for Late {
    fn drop(&mut self) {
        let texts: Vec<String> = (0..200).map(|number| format!("late {number}")).collect();
        assert_eq!(texts.concat().len(), 200 * 5 + 10 + 180 + 300);
        self.0.extend(texts);
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

static DROPPED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static FIRST: RefCell<Option<Late>> = const { RefCell::new(None) };
    static SECOND: RefCell<Option<Late>> = const { RefCell::new(None) };
}

#[test]
fn destructors_of_thread_locals_allocate_and_free() {
    let _alone = alone();
    work(1);
    let before = Global.stats();
    let dropped = DROPPED.load(Ordering::Relaxed);
    for round in 0..50 {
        let threads = [false, true].map(|early| {
            thread::spawn(move || {
                if early {
                    FIRST.set(Some(Late(Vec::new())));
                }
                work(round);
                SECOND.set(Some(Late(vec!["from before".into()])));
                FIRST.set(Some(Late(vec!["of the first".into()])));
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
    // In one thread of two the first is set twice.
    assert_eq!(DROPPED.load(Ordering::Relaxed) - dropped, 50 * 5);
    let after = Global.stats();
    // The harness may begin a thread of its own meanwhile, or two; a hundred have ended.
    assert!(after.threads <= before.threads + 2, "{after}");
    assert!(after.bytes_live <= before.bytes_live + (64 << 10), "before\n{before}\nafter\n{after}");
}

#[test]
fn thousands_of_short_lived_threads_leave_nothing() {
    let _alone = alone();
    let run = |count: usize| {
        for round in 0..count / 4 {
            let threads: Vec<_> =
                (0..4).map(|thread| thread::spawn(move || format!("{round}.{thread}").len())).collect();
            assert!(threads.into_iter().all(|thread| thread.join().unwrap() >= 3));
        }
        Global.release();
        Global.stats()
    };
    let (few, many) = (run(100), run(times(10_000)));
    assert_eq!(many.bytes_of_threads, few.bytes_of_threads, "stacks are used again");
    assert!(many.bytes_live <= few.bytes_live + (64 << 10), "few\n{few}\nmany\n{many}");
    assert!(many.chunks.bytes_mapped <= few.chunks.bytes_mapped + (4 << 20), "few\n{few}\nmany\n{many}");
}

/// A thread that ends by a panic gives back what it owned and what it had at hand; destructors of its thread-locals run as ever.
#[test]
fn threads_that_end_by_a_panic_leave_nothing() {
    let _alone = alone();
    let dropped = DROPPED.load(Ordering::Relaxed);
    let run = |count: usize| {
        for seed in 0..count {
            let thread = thread::spawn(move || {
                FIRST.set(Some(Late(vec!["of a thread that panics".into()])));
                let owned: Vec<Box<[u8]>> = (0..500).map(|number| vec![1; 1 + number * 7].into()).collect();
                // Without a message, which the harness would keep.
                panic::resume_unwind(Box::new((seed, owned)));
            });
            let payload = thread.join().unwrap_err().downcast::<(usize, Vec<Box<[u8]>>)>().unwrap();
            assert_eq!((payload.0, payload.1.len()), (seed, 500));
        }
        Global.release();
        Global.stats()
    };
    let (few, many) = (run(20), run(times(1000)));
    assert_eq!(DROPPED.load(Ordering::Relaxed) - dropped, 20 + times(1000));
    // The harness may begin a thread of its own meanwhile, or two.
    assert!(many.threads <= few.threads + 2, "few\n{few}\nmany\n{many}");
    assert!(many.bytes_of_threads <= few.bytes_of_threads, "few\n{few}\nmany\n{many}");
    assert!(many.bytes_live <= few.bytes_live + (64 << 10), "few\n{few}\nmany\n{many}");
    assert!(many.chunks.bytes_mapped <= few.chunks.bytes_mapped + (4 << 20), "few\n{few}\nmany\n{many}");
}

#[test]
fn many_more_threads_than_processors_and_what_they_hold_is_bounded() {
    let _alone = alone();
    let (count, barrier) = (200, Arc::new(Barrier::new(201)));
    let threads: Vec<_> = (0..count)
        .map(|seed| {
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || {
                let found = work(seed);
                barrier.wait();
                barrier.wait();
                found
            })
        })
        .collect();
    barrier.wait();
    let stats = Global.stats();
    assert!(stats.threads >= 200, "{stats}");
    // Two stacks of 8 KiB, or of one object, for each class that is used: 46 classes up to 2 KiB, and a few larger ones.
    assert!(stats.bytes_at_hand <= stats.threads * (46 * (16 << 10) + (200 << 10)), "{stats}");
    barrier.wait();
    for (seed, thread) in (0..count).zip(threads) {
        assert_eq!(thread.join().unwrap(), work(seed));
    }
    assert!(Global.stats().threads < 10);
}

#[test]
fn what_one_thread_makes_others_free() {
    let _alone = alone();
    let before = Global.stats().bytes_live;
    let (give, take) = mpsc::sync_channel::<Vec<Box<[u8]>>>(16);
    let taker = thread::spawn(move || take.into_iter().flatten().map(|bytes| bytes.len()).sum::<usize>());
    let mut sent = 0;
    for round in 0..2000 {
        let parcel: Vec<Box<[u8]>> =
            (0..30).map(|part| vec![1; (round * 7 + part * 13) % 700].into()).collect();
        sent += parcel.iter().map(|bytes| bytes.len()).sum::<usize>();
        give.send(parcel).unwrap();
    }
    drop(give);
    assert_eq!(taker.join().unwrap(), sent);
    let after = Global.stats();
    assert!(after.bytes_live <= before + (64 << 10), "{before} bytes before\n{after}");
}

#[cfg(target_os = "linux")]
#[test]
fn after_the_load_little_more_than_what_is_live_is_resident() {
    let _alone = alone();
    let resident = || {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        text.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    Global.release();
    let before = resident();
    let kept: Vec<Box<[u8]>> = (0..20_000).map(|number| vec![1; 16 + number % 400].into()).collect();
    let live: usize = kept.iter().map(|bytes| bytes.len() + 16).sum();
    let load: Vec<Vec<u8>> = (0..300_000).map(|number| vec![2; number % 500]).collect();
    assert!(resident() >= before + 10 * live);
    drop(load);
    Global.release();
    let after = resident().saturating_sub(before);
    assert!(after <= 2 * live + (1 << 20), "{after} bytes for {live}");
    drop(kept);
}

/// In the child of a fork other threads are gone, whatever they were doing.
#[cfg(unix)]
#[test]
fn forked_children_allocate_whatever_other_threads_were_doing() {
    /// Forks; the child does some work, forks again if it may, and ends. A child that hangs is ended by its alarm.
    fn fork(generations: usize) -> i32 {
        // SAFETY: the child does nothing but allocate and end.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "no fork");
        if child == 0 {
            // SAFETY: no handler is set, so it ends the child.
            unsafe { libc::alarm(300) };
            let mut right = work(7) == work(7);
            let large: Vec<u64> = (0..300_000).collect();
            right &= large.iter().sum::<u64>() == 299_999 * 150_000;
            right &= Global.stats().threads == 1;
            if generations > 0 {
                right &= fork(generations - 1) == 0;
            }
            Global.release();
            // SAFETY: it ends the child, without destructors.
            unsafe { libc::_exit(if right { 0 } else { 3 }) };
        }
        let mut status = 0;
        // SAFETY: a child of ours, and a place for its status.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        status
    }
    let _alone = alone();
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..4)
        .map(|seed| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    work(seed);
                    drop(vec![0u8; 3 << 20]);
                    Global.flush();
                    Global.release();
                }
            })
        })
        .collect();
    for _ in 0..times(40) {
        assert_eq!(fork(1), 0, "a child hung or found something wrong");
    }
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}
