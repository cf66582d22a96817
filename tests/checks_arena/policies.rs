//! Policies and their reports: what a report may do, and what a policy may leave out.

use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use heapwright::arena::{Arena, StaticArena};
use heapwright::check::{Checked as Frees, Checks, Misuse, Off, On, Report, Wrong};
use heapwright::combine::{Fallback, FreeLists, Quota, Segregate};
use heapwright::heap::{Heap, Locked, NoHeap, SharedHeap};
use heapwright::lock::{NoLock, SpinLock};
use heapwright::sizing::{Checked, Sizing, Sizing4KiB, Sizing16MiB, Sizing128KiB};

use crate::subject::{Borrowed, Found, Hard, Note, Play, times, told};

const LAYOUT: Layout = Layout::new::<[u64; 3]>();

/// A block that is free.
fn freed(heap: &impl SharedHeap) -> std::ptr::NonNull<u8> {
    let block = heap.try_alloc(LAYOUT).expect("room").cast();
    // SAFETY: the block is live, and its layout this one.
    unsafe { heap.free(block, LAYOUT) };
    block
}

/// Takes memory from the heap that reports, under a lock that hangs on re-entry.
struct Allocates;
static HEAP: StaticArena<4096, Checked<Sizing128KiB, Frees<Allocates>>, SpinLock> = StaticArena::new();
static TIMES: AtomicUsize = AtomicUsize::new(0);

impl Report for Allocates {
    fn report(_: &Misuse) {
        TIMES.fetch_add(1, Ordering::Relaxed);
        freed(&HEAP);
    }
}

#[test]
fn a_report_may_use_the_heap() {
    let block = freed(&HEAP);
    // SAFETY: none: that it is refused is what is tested.
    unsafe { HEAP.free(block, LAYOUT) };
    // SAFETY: as above.
    assert!(unsafe { HEAP.try_resize(block, LAYOUT, Layout::new::<u8>()) }.is_err());
    // SAFETY: as above.
    unsafe { HEAP.free_batch(LAYOUT, &[block, block, block]) };
    assert_eq!((TIMES.load(Ordering::Relaxed), HEAP.misuses()), (5, 5));
    assert_eq!((HEAP.usage().objects, HEAP.verify()), (0, Ok(())));
}

struct Panics;

impl Report for Panics {
    fn report(misuse: &Misuse) {
        panic!("{misuse}");
    }
}

/// Runs this very test in a process of its own, and says what became of that.
#[test]
#[cfg_attr(miri, ignore = "starts a process")]
fn a_report_that_panics_aborts() {
    const CHILD: &str = "HEAPWRIGHT_CHECKS_ARENA_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let heap = Box::new(StaticArena::<1024, Checked<Sizing4KiB, Frees<Panics>>, NoLock>::new());
        let block = freed(&*heap);
        // SAFETY: none: that it ends the process is what is tested.
        let caught =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| unsafe { heap.free(block, LAYOUT) }));
        // Not reached: it would end the process in good order.
        assert!(caught.is_err());
        std::process::exit(0);
    }
    let program = std::env::current_exe().expect("a program");
    let output = Command::new(program)
        .args(["--exact", "policies::a_report_that_panics_aborts", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("a process");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("freed twice"), "{:?}: {text}", output.status);
    #[cfg(unix)]
    assert!(std::os::unix::process::ExitStatusExt::signal(&output.status).is_some(), "{:?}", output.status);
}

/// A policy with one thing of those that a hardened one has.
macro_rules! one_thing {
    ($($name:ident: $constant:ident = $value:expr;)*) => {$(
        struct $name;
        impl Checks for $name {
            type Frees = On;
            type Quarantine = Off;
            type Report = Note;
            const $constant: $crate::policies::one_thing!(@ $constant) = $value;
        }
    )*};
    (@ RED_ZONE) => { usize };
    (@ $other:ident) => { bool };
}
pub(crate) use one_thing;

one_thing! {
    Zone1: RED_ZONE = 1;
    Zone300: RED_ZONE = 300;
    Zeroes: ZERO_FREED = true;
    Encodes: ENCODE = true;
}

/// Right calls, no report, with each of these things alone.
fn alone<S: Sizing>(memory: &mut [MaybeUninit<u8>]) {
    let heap = Borrowed::<S, NoLock>::new(memory);
    let mut play = Play::new(&heap, 5);
    for _ in 0..times(30) {
        play.step();
    }
    play.end();
    assert_eq!(told(), []);
}

#[test]
fn each_thing_can_be_had_alone() {
    let mut memory = vec![MaybeUninit::uninit(); 3003];
    alone::<Checked<Sizing4KiB, Zone1>>(&mut memory);
    alone::<Checked<Sizing128KiB, Zone1>>(&mut memory);
    alone::<Checked<Sizing128KiB, Zone300>>(&mut memory);
    alone::<Checked<Sizing4KiB, Zeroes>>(&mut memory);
    alone::<Checked<Sizing16MiB, Zeroes>>(&mut memory);
    alone::<Checked<Sizing4KiB, Encodes>>(&mut memory);
    alone::<Checked<Sizing128KiB, Encodes>>(&mut memory);
    alone::<Checked<Sizing16MiB, Encodes>>(&mut memory);
}

/// What is found in the innermost heap is told by the shell.
#[test]
fn findings_come_through_other_heaps() {
    let mut memory = vec![MaybeUninit::uninit(); 4096];
    let arena = Arena::<Found<Sizing16MiB>>::from_slice(&mut memory);
    let lists = Quota::new(Fallback::new(arena, NoHeap), 4096);
    let heap = Locked::<_, SpinLock>::new(Segregate::<1024, _, _>::new(lists, NoHeap));
    let block = freed(&heap);
    assert_eq!(told(), []);
    // SAFETY: none: that it is refused is what is tested.
    unsafe { heap.free(block, LAYOUT) };
    assert_eq!(told().iter().map(|misuse| misuse.wrong).collect::<Vec<_>>(), [Wrong::DoubleFree]);
}

/// Without a shell, who uses the core is told when it asks.
#[test]
fn a_core_is_asked() {
    let mut memory = vec![MaybeUninit::uninit(); 1024];
    let mut arena = Arena::<Hard<Sizing4KiB>>::from_slice(&mut memory);
    let block = arena.alloc(LAYOUT).expect("room").cast();
    for _ in 0..3 {
        // SAFETY: the first is right; that the others are refused is what is tested.
        unsafe { arena.dealloc(block, LAYOUT) };
    }
    let finding = arena.take_finding().expect("the first of two");
    assert_eq!(finding.misuse().wrong, Wrong::DoubleFree);
    assert!(finding.misuse().to_string().contains("Arena"), "{}", finding.misuse());
    assert_eq!(told(), []);
    finding.tell();
    assert_eq!(told().len(), 1);
    assert!(arena.take_finding().is_none());
}

/// Freed memory holds nothing of what it held.
#[test]
fn freed_memory_is_zero() {
    let mut memory = vec![MaybeUninit::uninit(); 1024];
    let heap = Borrowed::<Hard<Sizing4KiB>, NoLock>::new(&mut memory);
    let block = heap.try_alloc(LAYOUT).expect("room").cast::<[u8; 24]>();
    // SAFETY: the block is live.
    unsafe { block.write([0x77; 24]) };
    // SAFETY: the block is live, and its layout this one.
    unsafe { heap.free(block.cast(), LAYOUT) };
    // SAFETY: memory of the region, which nobody uses meanwhile.
    assert_eq!(unsafe { block.read() }, [0; 24]);
}

/// Lists in front of a checked heap give it what it gets: nothing is told that is right.
#[test]
fn lists_before_a_checked_arena() {
    type Lists<'a> =
        FreeLists<heapwright::cache::Classes, Arena<'a, Hard<Sizing16MiB>>, heapwright::combine::AtMost<8>>;
    let mut memory = vec![MaybeUninit::uninit(); 60_000];
    let heap = Locked::<Lists<'_>, NoLock>::new(FreeLists::new(Arena::from_slice(&mut memory)));
    for round in 0..200 {
        let layout = Layout::from_size_align(1 + round % 90, 8).expect("a small layout");
        let blocks: Vec<_> = (0..10).map(|_| heap.try_alloc(layout).expect("room").cast::<u8>()).collect();
        for block in blocks {
            // SAFETY: the block is live, and its layout this one.
            unsafe { heap.free(block, layout) };
        }
    }
    heap.release_unused();
    assert_eq!(told(), []);
}
