//! What ends the process: reports that abort, reports that panic, pages that can't be touched. Each in a process of its own.

use heapwright::cache::{ChunkHeap, Classes, KeepAll, MallocSettings};
use heapwright::check::{Checked, Hardened, Misuse, Report};
use heapwright::lock::YieldLock;
use heapwright::preset::{CheckedMalloc, HardenedMalloc};
use heapwright::source::Pages;
use std::alloc::{GlobalAlloc, Layout};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Names the test that is run once more, alone, to its end.
const ENDING: &str = "HEAPWRIGHT_ENDING";

/// Runs `test` in a process of its own if this is not that process: `None` there.
pub(crate) fn ending(test: &str) -> Option<Output> {
    if std::env::var_os(ENDING).is_some() {
        return None;
    }
    let program = std::env::current_exe().unwrap();
    Some(Command::new(program).args(["--exact", test, "--nocapture"]).env(ENDING, "1").output().unwrap())
}

fn ended_badly(output: &Output, words: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "it went on: {errors}");
    assert!(errors.contains(words), "no `{words}` in: {errors}");
    assert!(!errors.contains("went on"), "{errors}");
}

/// What a process says that should have ended.
#[expect(clippy::print_stderr, reason = "it is the output of a process that should have ended")]
fn went_on() {
    eprintln!("went on");
}

#[test]
fn a_double_free_ends_the_process_with_a_report() {
    if let Some(output) = ending("endings::a_double_free_ends_the_process_with_a_report") {
        return ended_badly(&output, "heapwright: freed twice: the block of 24 bytes, aligned to ");
    }
    let layout = Layout::new::<[u64; 3]>();
    // SAFETY: the size is not zero.
    let block = unsafe { CheckedMalloc.alloc(layout) };
    // SAFETY: live, with its layout.
    unsafe { CheckedMalloc.dealloc(block, layout) };
    // SAFETY: none: it is to be found.
    unsafe { CheckedMalloc.dealloc(block, layout) };
    went_on();
}

struct Panics;

impl Report for Panics {
    fn report(misuse: &Misuse) {
        panic!("told of it: {misuse}");
    }
}

struct Parts;

impl MallocSettings for Parts {
    type Classes = Classes;
    type Chunks = ChunkHeap<Pages, YieldLock, KeepAll, 32768, { usize::MAX }, Checked<Panics>>;
    type Lock = YieldLock;
}

heapwright::malloc! { static PANICS as PanicsHeap: Parts = ChunkHeap::new(Pages); }

#[test]
fn a_report_that_panics_ends_the_process() {
    if let Some(output) = ending("endings::a_report_that_panics_ends_the_process") {
        return ended_badly(&output, "told of it: not from this heap");
    }
    let local = 5u64;
    let caught = std::panic::catch_unwind(|| {
        // SAFETY: none: it is to be found.
        unsafe { PanicsHeap.dealloc((&raw const local).cast_mut().cast(), Layout::new::<u64>()) };
    });
    drop(caught);
    went_on();
}

/// Touches the byte at a distance from a block.
#[cfg(unix)]
fn touch(layout: Layout, distance: usize) {
    // SAFETY: the size is not zero.
    let block = unsafe { HardenedMalloc.alloc(layout) };
    // SAFETY: none: the page is to fault.
    unsafe { block.wrapping_add(distance).write_volatile(1) };
    went_on();
}

#[test]
#[cfg(unix)]
fn a_write_far_behind_a_large_block_faults() {
    use std::os::unix::process::ExitStatusExt;
    for (test, size) in [("run", 100_000), ("large", 1 << 20)] {
        let name = "endings::a_write_far_behind_a_large_block_faults";
        match std::env::var(ENDING) {
            Err(_) => {
                let output = Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", name, "--nocapture"])
                    .env(ENDING, test)
                    .output()
                    .unwrap();
                assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{output:?}");
            }
            Ok(wanted) if wanted == test => {
                // As far as the block may be long, up to its last page.
                // SAFETY: the size is not zero.
                let block = unsafe { HardenedMalloc.alloc(Layout::from_size_align(size, 8).unwrap()) };
                let mut at = size + 8;
                loop {
                    // SAFETY: none: the last page is to fault.
                    unsafe { block.wrapping_add(at).write_volatile(1) };
                    at += 64;
                    assert!(at < size + (64 << 10), "no page faulted");
                }
            }
            Ok(_) => {}
        }
    }
}

#[test]
#[cfg(unix)]
fn a_write_behind_a_slab_faults() {
    use std::os::unix::process::ExitStatusExt;
    if let Some(output) = ending("endings::a_write_behind_a_slab_faults") {
        assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{output:?}");
        return;
    }
    // No object is further than a slab from its slab's end.
    touch(Layout::new::<[u64; 3]>(), 32 << 10);
}

/// Uses the heap that reports.
struct Allocates;

impl Report for Allocates {
    fn report(misuse: &Misuse) {
        let text = misuse.to_string();
        for size in [text.len(), 5000, 100_000, 2 << 20] {
            let layout = Layout::from_size_align(size, 1).unwrap();
            // SAFETY: the size is not zero.
            let block = unsafe { AllocatesHeap.alloc_zeroed(layout) };
            // SAFETY: live, with its layout.
            unsafe { AllocatesHeap.dealloc(block, layout) };
        }
        LENGTH.store(text.len(), Ordering::Relaxed);
    }
}

static LENGTH: AtomicUsize = AtomicUsize::new(0);

struct AllocatesParts;

impl MallocSettings for AllocatesParts {
    type Classes = Classes;
    type Chunks = ChunkHeap<Pages, YieldLock, KeepAll, 32768, { usize::MAX }, Hardened<Allocates>>;
    type Lock = YieldLock;
}

heapwright::malloc! { static ALLOCATES as AllocatesHeap: AllocatesParts = ChunkHeap::new(Pages); }

/// No lock is held while it is told, on any way to it.
#[test]
fn a_report_may_use_the_heap_that_reports() {
    let told = || LENGTH.swap(0, Ordering::Relaxed) > 0;
    for size in [24, 5000, 100_000, 2 << 20] {
        let layout = Layout::from_size_align(size, 8).unwrap();
        // SAFETY: the size is not zero.
        let block = unsafe { AllocatesHeap.alloc(layout) };
        // SAFETY: none: the red zone is the heap's.
        unsafe { block.wrapping_add(size).write(1) };
        // SAFETY: live, with its layout.
        unsafe { AllocatesHeap.dealloc(block, layout) };
        assert!(told(), "written behind {size}");
        // SAFETY: none: it is free.
        unsafe { AllocatesHeap.dealloc(block, layout) };
        assert!(told(), "freed twice, {size}");
        // SAFETY: none: it is free.
        assert!(unsafe { AllocatesHeap.realloc(block, layout, 2 * size) }.is_null());
        assert!(told(), "resized when free, {size}");
    }
}
