//! The longest call of heaps whose calls are said to be bounded, in machine instructions: it does not grow with what the heap holds.
//!
//! A child process makes the calls, and its parent has it stop after each instruction. That is exact, whatever else the machine does. Where processes can't
//! be traced nothing is counted, and a line says so; with `HEAPWRIGHT_COUNTS=1`, as `.ci/run` has it, that is a failure.

use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::rc::Rc;

use heapwright::arena::Arena;
use heapwright::cache::{Exactly, KeepAll, SlabCore};
use heapwright::check::{self, Checks, Unchecked};
use heapwright::heap::Heap;
use heapwright::preset::FirmwareSizing;
use heapwright::sizing::{Bounded, Checked, Sizing, Sizing4KiB, Sizing16MiB};
use heapwright::slab::{AlignedSlabs, Bitmap, FreeObjects, IndexStack};

use crate::books::{Books, Random, Via};
use crate::is_long;
use crate::scenario::layout;

/// The child says so before and after what is counted.
const BEGIN: i32 = libc::SIGUSR1;
const END: i32 = libc::SIGUSR2;

/// How many pairs of requests and frees are counted, and half as many resizes: a step takes some microseconds, and a call of a hardened heap many steps.
fn calls<P: Checks>() -> usize {
    let usual = if P::ENCODE { 4 } else { 12 };
    if is_long() { 1000 } else { usual }
}

fn tell(signal: i32) {
    // SAFETY: the parent stops the child at each signal, and keeps it from it.
    unsafe { libc::raise(signal) };
}

/// Says that nothing is counted, which is a failure if counts are asked for.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn none_counted() {
    let wanted = std::env::var("HEAPWRIGHT_COUNTS").is_ok_and(|value| value == "1");
    assert!(!wanted, "processes can't be traced here, and HEAPWRIGHT_COUNTS=1 asks for counts");
    eprintln!("skipped: processes can't be traced here, so that no instructions are counted");
}

/// Runs `work` in a child; gives the instructions between each pair of its marks. Nothing where processes can't be traced.
fn counts(work: impl FnOnce()) -> Option<Vec<usize>> {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the child only runs the work and ends.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "no fork");
    if child == 0 {
        // SAFETY: it asks to be traced, and has no further arguments.
        if unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, none, none) } == 0 {
            tell(libc::SIGSTOP);
            work();
        }
        // SAFETY: it ends the child, without destructors.
        unsafe { libc::_exit(0) };
    }
    let (mut counts, mut count, mut request) = (Vec::new(), None, libc::PTRACE_CONT);
    let mut stopped = false;
    loop {
        let mut status = 0;
        // SAFETY: a child of ours, and a place for its status.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        if libc::WIFEXITED(status) {
            if !stopped {
                none_counted();
            }
            return stopped.then_some(counts);
        }
        assert!(libc::WIFSTOPPED(status), "the child ended with {status:#x}");
        stopped = true;
        match (libc::WSTOPSIG(status), count) {
            (BEGIN, _) => (count, request) = (Some(0), libc::PTRACE_SINGLESTEP),
            (END, Some(steps)) => {
                counts.push(steps);
                (count, request) = (None, libc::PTRACE_CONT);
            }
            (libc::SIGTRAP, Some(steps)) => count = Some(steps + 1),
            (libc::SIGSTOP, None) => {}
            (signal, _) => panic!("the child had signal {signal}"),
        }
        // SAFETY: the child is stopped; it goes on without the signal.
        assert_eq!(unsafe { libc::ptrace(request, child, none, none) }, 0);
    }
}

/// The longest of the calls in `work`, less what the marks take.
fn longest(work: impl FnOnce()) -> Option<usize> {
    let marks = counts(|| {
        tell(BEGIN);
        tell(END);
    })?;
    let all = counts(work)?;
    assert!(!all.is_empty());
    Some(all.into_iter().max()?.saturating_sub(marks[0]))
}

/// Counts what `work` does.
fn marked<R>(work: impl FnOnce() -> R) -> R {
    tell(BEGIN);
    let result = work();
    tell(END);
    result
}

/// Fills a heap with blocks of many sizes, frees some so that no two free ones are neighbours, and then makes calls that are counted.
fn calls_on_a_heap_with_holes(heap: &mut impl Heap, calls: usize) {
    let mut random = Random(15);
    let mut blocks: Vec<(NonNull<u8>, Layout)> = Vec::with_capacity(1 << 16);
    loop {
        let layout = layout(8 + random.below(30) * 8, 8);
        let Ok(made) = heap.alloc(layout) else { break };
        blocks.push((made.cast(), layout));
    }
    let mut live = Vec::with_capacity(blocks.len());
    for (number, (ptr, layout)) in blocks.into_iter().enumerate() {
        if number % 2 == 0 {
            // SAFETY: the block is live, of this layout.
            unsafe { heap.dealloc(ptr, layout) };
        } else {
            live.push((ptr, layout));
        }
    }
    for number in 0..calls {
        let layout = layout(8 + random.below(40) * 8, if number % 4 == 0 { 64 } else { 8 });
        let made = marked(|| heap.alloc(layout));
        if let Ok(made) = made {
            live.push((made.cast(), layout));
        }
        let (ptr, layout) = live.swap_remove(random.below(live.len()));
        // SAFETY: the block is live, of this layout.
        marked(|| unsafe { heap.dealloc(ptr, layout) });
        if number % 2 > 0 {
            continue;
        }
        let at = random.below(live.len());
        let (ptr, old) = live[at];
        let new = self::layout(8 + random.below(40) * 8, old.align());
        // SAFETY: the block is live, of the old layout.
        if let Ok(made) = marked(|| unsafe { heap.resize_in_place(ptr, old, new) }) {
            live[at] = (made.cast(), new);
        }
    }
}

/// Makes calls, which are counted, on a heap most of which is one hole, out of which they take and to which they give.
fn calls_beside_one_hole(heap: &mut impl Heap, len: usize, calls: usize) {
    let (most, small) = (layout(len / 10 * 8, 8), layout(40, 8));
    let (Ok(hole), Ok(_)) = (heap.alloc(most), heap.alloc(small)) else { panic!("there is room for both") };
    // SAFETY: the block is live, of this layout.
    unsafe { heap.dealloc(hole.cast(), most) };
    for _ in 0..calls {
        let Ok(made) = marked(|| heap.alloc(small)) else { panic!("there is room") };
        // SAFETY: the block is live, of this layout.
        marked(|| unsafe { heap.dealloc(made.cast(), small) });
    }
}

/// The longest call in an arena of so many bytes. It begins at a multiple of a page, so that blocks fit at an alignment wherever the memory is.
fn arena<S: Sizing>(len: usize) -> Option<usize> {
    const PAGE: usize = 4096;
    let mut memory = vec![MaybeUninit::<u8>::uninit(); PAGE + len];
    longest(move || {
        let calls = calls::<S::Checks>();
        let start = memory.as_ptr().align_offset(PAGE);
        let memory = &mut memory[start..][..len];
        let mut arena = Arena::<S>::from_slice(memory);
        calls_on_a_heap_with_holes(&mut arena, calls);
        let mut arena = Arena::<S>::from_slice(memory);
        calls_beside_one_hole(&mut arena, len, calls);
    })
}

/// Whatever an arena of a bounded sizing holds, no call is much longer than in one that is a hundredth as large; which is large enough for lists of more blocks than are looked at.
#[test]
fn calls_of_bounded_arenas_do_not_grow_with_the_arena() {
    fn check<S: Sizing>() -> Option<usize> {
        let (small, large) = (arena::<S>(100_000)?, arena::<S>(10_000_000)?);
        let name = std::any::type_name::<S>();
        assert!(large <= 2 * small, "{name}: {large} instructions in 10 MB, {small} in 100 kB");
        Some(small)
    }
    let Some(small) = check::<Bounded<Sizing16MiB>>() else { return };
    let Some(firmware) = arena::<FirmwareSizing<{ 64 << 10 }>>(64 << 10) else { return };
    assert!(firmware <= 2 * small, "{firmware} instructions in a StaticHeap of 64 KiB, {small} in 100 kB");
    check::<Bounded<Checked<Sizing16MiB, check::Checked>>>();
    check::<Bounded<Checked<Sizing16MiB, check::Hardened>>>();
}

/// The count sees it where a bound is missing: one bit for each granule is looked at.
#[test]
fn calls_of_arenas_without_a_bound_do() {
    let Some(small) = arena::<Sizing4KiB>(400) else { return };
    let Some(large) = arena::<Sizing4KiB>(12 << 10) else { return };
    assert!(large > 2 * small, "{large} instructions in 12 KiB, {small} in 400 bytes");
}

/// The longest call of a cache with objects all over its slabs. Slabs are there before.
fn cache<K: FreeObjects + 'static, P: Checks>(objects: usize) -> Option<usize> {
    longest(move || {
        let books = Rc::new(Books::default());
        let mut cache =
            SlabCore::<AlignedSlabs<Via, 4096, K>, Exactly<32, 8>, KeepAll, 0, P>::new(books.source());
        let (mut random, one, less) = (Random(16), layout(32, 8), layout(24, 8));
        let mut live: Vec<_> = (0..objects).map(|_| cache.alloc(one).unwrap().cast::<u8>()).collect();
        for _ in 0..objects / 2 {
            let block = live.swap_remove(random.below(live.len()));
            // SAFETY: the block is live, of this layout.
            unsafe { cache.dealloc(block, one) };
        }
        for number in 0..calls::<P>() {
            live.push(marked(|| cache.alloc(one)).unwrap().cast());
            if number % 2 == 0 {
                let block = live[random.below(live.len())];
                // SAFETY: the block is live, of this layout, and a free may have the old one or the new.
                marked(|| unsafe { cache.resize_in_place(block, one, less) }).unwrap();
            }
            let block = live.swap_remove(random.below(live.len()));
            // SAFETY: the block is live, of this layout.
            marked(|| unsafe { cache.dealloc(block, one) });
        }
    })
}

#[test]
fn calls_of_caches_do_not_grow_with_the_cache() {
    fn check<K: FreeObjects + 'static, P: Checks>() {
        let (Some(small), Some(large)) = (cache::<K, P>(400), cache::<K, P>(40_000)) else { return };
        assert!(large <= 2 * small, "{large} instructions with 40,000 objects, {small} with 400");
    }
    check::<IndexStack, Unchecked>();
    check::<Bitmap, Unchecked>();
    check::<IndexStack, check::Checked>();
}
