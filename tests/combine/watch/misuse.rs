//! Each misuse is found, every time, and reported as what it is, once.

use std::mem::MaybeUninit;
use std::process::{Command, ExitStatus};
use std::ptr::NonNull;

use heapwright::arena::Arena;
use heapwright::check::{Abort, CountMisuses, Damage, Misuse, MisuseHook, Wrong};
use heapwright::combine::{Quarantine, RedZones};
use heapwright::heap::{Heap, Inspect};
use heapwright::sizing::Sizing128KiB;

use super::{layout, resize};

type Memory = [MaybeUninit<u8>; 4096];

fn quarantine<const N: usize>(memory: &mut Memory) -> Quarantine<N, Arena<'_, Sizing128KiB>, CountMisuses> {
    Quarantine::new(Arena::from_slice(memory), CountMisuses::new())
}

fn zones<const PRE: usize, const POST: usize>(
    memory: &mut Memory,
) -> RedZones<PRE, POST, Arena<'_, Sizing128KiB>, CountMisuses> {
    RedZones::new(Arena::from_slice(memory), CountMisuses::new())
}

/// Writes where it must not be done; the memory is there, that of the arena.
fn poke(block: NonNull<u8>, offset: isize, value: u8) {
    let place = block.as_ptr().expose_provenance().wrapping_add_signed(offset);
    let place = std::ptr::with_exposed_provenance_mut::<u8>(place);
    // SAFETY: the tests hand in places in the arena's memory, whose provenance the heap, or the first line, has exposed.
    unsafe { place.write(value) };
}

/// A write to any byte of a freed block, of any size.
#[test]
fn writes_after_a_free_are_found() {
    for size in 1..40usize {
        for at in 0..size {
            let mut memory = [MaybeUninit::uninit(); 4096];
            let mut heap = quarantine::<4>(&mut memory);
            let layout = layout(size, 8);
            let block = heap.alloc(layout).unwrap().cast::<u8>();
            // SAFETY: the block is live, and its layout this one.
            unsafe { heap.dealloc(block, layout) };
            poke(block, at as isize, 0x11);
            assert_eq!(heap.misuses(), 0, "not looked at yet");
            assert_eq!(heap.verify(), Ok(()));
            let first = heap.handler().first().unwrap();
            assert_eq!(
                (first.wrong, first.address, first.layout),
                (Wrong::WrittenAfterFree, block.addr().get(), layout)
            );
            assert_eq!(first.damage, Some(Damage { offset: at as isize, expected: 0xdf, found: 0x11 }));
        }
    }
}

/// The damaged block is found when it leaves, which it does when so many others have come, and goes to the heap all the same.
#[test]
fn the_queue_is_as_long_as_it_says() {
    let mut memory = [MaybeUninit::uninit(); 4096];
    let mut heap = quarantine::<3>(&mut memory);
    let layout = layout(24, 8);
    let blocks = [(); 4].map(|()| heap.alloc(layout).unwrap().cast::<u8>());
    for (number, block) in blocks.into_iter().enumerate() {
        assert_eq!((heap.held(), heap.misuses()), (number, 0));
        // SAFETY: the block is live, and its layout this one.
        unsafe { heap.dealloc(block, layout) };
        poke(block, 0, 0);
    }
    assert_eq!((heap.held(), heap.held_bytes(), heap.misuses()), (3, 72, 1));
    assert_eq!(heap.usage().objects, 3);
    heap.release_unused();
    assert_eq!((heap.held(), heap.held_bytes(), heap.misuses()), (0, 0, 4));
    let (arena, count) = heap.into_inner();
    assert_eq!((arena.usage().objects, count.count()), (0, 4));
}

/// While it waits, a block is known; the free is left out, so that the block is not handed out twice.
#[test]
fn a_block_freed_twice_is_found() {
    let mut memory = [MaybeUninit::uninit(); 4096];
    let mut heap = quarantine::<3>(&mut memory);
    let layout = layout(24, 8);
    let blocks = [(); 3].map(|()| heap.alloc(layout).unwrap().cast::<u8>());
    for block in blocks {
        // SAFETY: the block is live, and its layout this one.
        unsafe { heap.dealloc(block, layout) };
    }
    for (number, block) in blocks.into_iter().enumerate() {
        // SAFETY: the fault that is looked for; the block waits.
        unsafe { heap.dealloc(block, layout) };
        assert_eq!(heap.misuses(), number + 1);
    }
    let first = heap.handler().first().unwrap();
    assert_eq!(first, Misuse::new(Wrong::DoubleFree, blocks[0].addr().get(), layout));
    assert_eq!(heap.held(), 3);
    assert_eq!(heap.into_inner().0.usage().objects, 0);
}

#[test]
fn a_full_heap_lets_the_queue_go() {
    let mut memory = [MaybeUninit::uninit(); 4096];
    let mut heap = quarantine::<100>(&mut memory);
    let (half, all) = (layout(2000, 8), layout(3000, 8));
    let block = heap.alloc(half).unwrap().cast();
    // SAFETY: the block is live, and its layout this one.
    unsafe { heap.dealloc(block, half) };
    assert_eq!(heap.held_bytes(), 2000);
    heap.alloc(all).unwrap();
    assert_eq!(heap.held(), 0);

    // Many at once, too.
    let mut memory = [MaybeUninit::uninit(); 4096];
    let mut heap = quarantine::<100>(&mut memory);
    let block = heap.alloc(half).unwrap().cast();
    // SAFETY: as above.
    unsafe { heap.dealloc(block, half) };
    let mut out = [MaybeUninit::uninit(); 6];
    assert_eq!(heap.alloc_batch(layout(500, 8), &mut out), 6);
    assert_eq!(heap.held(), 0);
}

#[test]
fn the_queue_has_a_bound_of_bytes() {
    let mut memory = [MaybeUninit::uninit(); 4096];
    let arena = Arena::<Sizing128KiB>::from_slice(&mut memory);
    let mut heap = Quarantine::<8, _, _>::with_bytes_max(arena, CountMisuses::new(), 100);
    for (size, held, bytes) in [(60, 1, 60), (40, 2, 100), (1, 2, 41), (101, 2, 41), (100, 1, 100)] {
        let layout = layout(size, 8);
        let block = heap.alloc(layout).unwrap().cast();
        // SAFETY: the block is live, and its layout this one.
        unsafe { heap.dealloc(block, layout) };
        assert_eq!((heap.held(), heap.held_bytes()), (held, bytes), "after one of {size}");
    }
    assert_eq!(heap.usage().objects, 1);
}

/// Any byte of either zone, for any size and alignment.
fn every_byte_of_the_zones<const PRE: usize, const POST: usize>() {
    for size in [1, 7, 8, 24, 61] {
        for align in [1, 2, 8, 32] {
            let layout = layout(size, align);
            let before = PRE.next_multiple_of(align);
            for offset in (-(before as isize)..0).chain(size as isize..(size + POST) as isize) {
                let mut memory = [MaybeUninit::uninit(); 4096];
                let mut heap = zones::<PRE, POST>(&mut memory);
                let block = heap.alloc(layout).unwrap();
                assert_eq!((block.len(), block.addr().get() % align), (size, 0));
                poke(block.cast(), offset, 0x11);
                // SAFETY: the block is live, and its layout this one.
                unsafe { heap.dealloc(block.cast(), layout) };
                let wrong = if offset < 0 { Wrong::WrittenBefore } else { Wrong::WrittenBehind };
                let damage = Damage { offset, expected: 0xbb, found: 0x11 };
                let misuse = Misuse::new(wrong, block.addr().get(), layout).with_damage(damage);
                assert_eq!((heap.misuses(), heap.handler().first()), (1, Some(misuse)));
                assert_eq!(heap.usage().objects, 0, "it goes back all the same");
            }
        }
    }
}

#[test]
fn writes_past_the_ends_are_found() {
    every_byte_of_the_zones::<16, 8>();
    every_byte_of_the_zones::<0, 1>();
    every_byte_of_the_zones::<1, 0>();
    every_byte_of_the_zones::<3, 17>();
}

/// A resize looks at the zones as a free does; what it has reported is not reported again.
#[test]
fn a_resize_looks_too() {
    for in_place in [false, true] {
        for new in [layout(8, 8), layout(40, 8), layout(100, 64)] {
            let mut memory = [MaybeUninit::uninit(); 4096];
            let mut heap = zones::<16, 8>(&mut memory);
            let old = layout(20, 8);
            let block = heap.alloc(old).unwrap().cast::<u8>();
            poke(block, 20, 1);
            poke(block, -1, 2);
            // SAFETY: the block is live, its layout `old`, and `new` is not of size zero.
            let resized = unsafe { resize(&mut heap, in_place, block, old, new) };
            let (block, layout) = resized.map_or((block, old), |block| (block.cast(), new));
            assert_eq!(heap.misuses(), 2);
            // SAFETY: the block is live, and this its layout.
            unsafe { heap.dealloc(block, layout) };
            assert_eq!((heap.misuses(), heap.usage().objects), (2, 0));
        }
    }
}

/// Freed once more before its memory is used again, alone and in a batch; with a quarantine within, in any case.
#[test]
fn a_block_between_zones_freed_twice_is_found() {
    fn twice<H: Heap + Inspect>(mut heap: H) {
        let layout = layout(40, 8);
        let block = heap.alloc(layout).unwrap().cast();
        // SAFETY: the block is live, and its layout this one.
        unsafe { heap.dealloc(block, layout) };
        // SAFETY: the fault that is looked for; the memory is the arena's.
        unsafe { heap.dealloc(block, layout) };
        assert_eq!(heap.misuses(), 1);
        // SAFETY: as above.
        unsafe { heap.dealloc_batch(layout, &[block, block]) };
        assert_eq!(heap.misuses(), 3);
        // SAFETY: as above.
        assert!(unsafe { heap.resize(block, layout, layout) }.is_err());
        assert_eq!(heap.misuses(), 4);
        heap.release_unused();
        assert_eq!((heap.usage().objects, heap.misuses()), (0, 4));
    }
    let mut memory = [MaybeUninit::uninit(); 4096];
    twice(zones::<16, 8>(&mut memory));
    twice(zones::<0, 16>(&mut memory));
    twice(RedZones::<16, 8, _, _>::new(quarantine::<8>(&mut memory), CountMisuses::new()));
}

#[test]
fn what_can_be_no_block_is_refused() {
    let mut memory = [MaybeUninit::uninit(); 4096];
    let mut heap = zones::<16, 8>(&mut memory);
    for size in [0, isize::MAX as usize, isize::MAX as usize - 23] {
        assert!(heap.alloc(layout(size, 1)).is_err());
        assert!(heap.alloc_zeroed(layout(size, 1)).is_err());
        assert_eq!(heap.alloc_batch(layout(size, 1), &mut [MaybeUninit::uninit()]), 0);
        assert_eq!(heap.good_size(layout(size, 1)), size);
    }
}

/// This test, in a process of its own, with the name of a fault to make.
fn in_a_process(fault: &str) -> (ExitStatus, String) {
    let test = "watch::misuse::a_handler_may_end_the_process";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(FAULT, fault).env("RUST_BACKTRACE", "0");
    let output = command.output().unwrap();
    (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
}

const FAULT: &str = "HEAPWRIGHT_TEST_FAULT";

/// The process ends, with the report, and does not unwind.
#[test]
#[cfg(not(miri))]
fn a_handler_may_end_the_process() {
    let Ok(fault) = std::env::var(FAULT) else {
        for fault in ["abort", "panic"] {
            let (status, text) = in_a_process(fault);
            assert!(!status.success());
            assert!(status.code() != Some(101), "it has unwound: {text}");
            assert!(text.contains("freed twice: the block of 24 bytes, aligned to 8, at 0x"), "{text}");
        }
        return;
    };
    fn twice<H: Heap>(mut heap: H) {
        let layout = layout(24, 8);
        let block = heap.alloc(layout).unwrap().cast();
        // SAFETY: the block is live, and its layout this one.
        unsafe { heap.dealloc(block, layout) };
        // SAFETY: the fault that is looked for; the block waits.
        unsafe { heap.dealloc(block, layout) };
    }
    let mut memory = [MaybeUninit::uninit(); 4096];
    let arena = Arena::<Sizing128KiB>::from_slice(&mut memory);
    if fault == "abort" {
        twice(Quarantine::<4, _>::new(arena, Abort));
    } else {
        // SAFETY: it uses no heap of ours.
        let hook = unsafe { MisuseHook::new(|misuse| panic!("{misuse}")) };
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            twice(Quarantine::<4, _, _>::new(arena, hook));
        }));
        assert!(caught.is_ok());
    }
    unreachable!("the process has ended");
}

/// What was found under the lock is told when it is free: a report may take memory of the heap that reports, through whatever is around the heap that found it. Of several
/// findings of one call the first is told, all are counted.
#[cfg(feature = "std")]
#[test]
#[cfg(feature = "std")]
fn what_is_found_is_told_when_the_lock_is_free() {
    use heapwright::check::{Later, Report};
    use heapwright::heap::{Locked, SharedHeap};
    use heapwright::lock::{OwnerChecked, SpinLock};
    use std::sync::Mutex;

    type Core = RedZones<16, 8, Quarantine<3, Arena<'static, Sizing128KiB>, Later<Note>>, Later<Note>>;
    static HEAP: Mutex<Option<&'static Locked<Core, OwnerChecked<SpinLock>>>> = Mutex::new(None);
    static TOLD: Mutex<Vec<Wrong>> = Mutex::new(Vec::new());
    struct Note;
    impl Report for Note {
        fn report(misuse: &Misuse) {
            let heap = HEAP.lock().unwrap().unwrap();
            // With the lock held, this would be refused.
            let block = heap.try_alloc(layout(24, 8)).unwrap();
            // SAFETY: the block is live, and its layout this one.
            unsafe { heap.free(block.cast(), layout(24, 8)) };
            TOLD.lock().unwrap().push(misuse.wrong);
        }
    }

    let memory: &'static mut Memory = Box::leak(Box::new([MaybeUninit::uninit(); 4096]));
    let waiting = Quarantine::new(Arena::from_slice(memory), Later::<Note>::new());
    let heap: &'static _ = Box::leak(Box::new(Locked::new(RedZones::new(waiting, Later::<Note>::new()))));
    *HEAP.lock().unwrap() = Some(heap);
    let layout = layout(40, 8);
    let told = || std::mem::take(&mut *TOLD.lock().unwrap());

    let block = heap.try_alloc(layout).unwrap().cast::<u8>();
    poke(block, -1, 0);
    poke(block, 40, 0);
    assert!(told().is_empty(), "not looked at yet");
    // SAFETY: the block is live, and its layout this one.
    unsafe { heap.free(block, layout) };
    assert_eq!((told(), heap.misuses()), (vec![Wrong::WrittenBefore], 2));

    poke(block, 3, 0);
    let bytes = heap.release_unused();
    assert!(bytes > 0, "a block was waiting");
    assert_eq!((told(), heap.misuses()), (vec![Wrong::WrittenAfterFree], 3));
    assert_eq!(heap.look(|core| (core.handler().count(), core.heap().handler().count())), Some((2, 1)));
    let text = format!("{:?}", Later::<Note>::default());
    assert_eq!(text, "Later { count: 0, untold: None }");
}

/// What several parts of a heap find in one call is told once, and nothing of it by a later call.
#[cfg(feature = "std")]
#[test]
fn what_a_call_finds_is_not_told_by_the_next() {
    use heapwright::check::{Hardened, Later, Report};
    use heapwright::heap::{Locked, SharedHeap};
    use heapwright::lock::NoLock;
    use heapwright::sizing::{Checked, Sizing4KiB};
    use std::cell::RefCell;

    thread_local!(static TOLD: RefCell<Vec<Wrong>> = const { RefCell::new(Vec::new()) });
    struct Note;
    impl Report for Note {
        fn report(misuse: &Misuse) {
            TOLD.with_borrow_mut(|told| told.push(misuse.wrong));
        }
    }
    type Core<'a> = RedZones<16, 8, Arena<'a, Checked<Sizing4KiB, Hardened<Note>>>, Later<Note>>;

    let mut memory = [MaybeUninit::uninit(); 4096];
    let mut heap =
        Locked::<Core<'_>, NoLock>::new(RedZones::new(Arena::from_slice(&mut memory), Later::new()));
    let layout = layout(40, 8);
    let told = || TOLD.take();
    for round in 1..=3 {
        let block = heap.try_alloc(layout).unwrap().cast::<u8>();
        // Both the zone behind it and that of the arena.
        (40..64).for_each(|at| poke(block, at, 0));
        // SAFETY: the block is live, and its layout this one.
        unsafe { heap.free(block, layout) };
        assert_eq!(told(), [Wrong::WrittenBehind]);
        assert_eq!((heap.misuses(), told()), (2 * round, vec![]), "both are counted");
        heap.reset();
        assert_eq!(told(), []);
    }
}
