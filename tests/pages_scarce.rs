//! Pages of a process that has as many mappings as its kernel allows, so that nothing can be cut out of another: what fails leaves all as it was. A program of its own, with one test, since
//! nothing else in the process could map anything meanwhile.

#![cfg(all(target_os = "linux", feature = "os", not(miri)))]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::alloc::Layout;
use std::ptr::{self, NonNull};

use heapwright::AllocError;
use heapwright::source::{BackingSource, Pages};

/// Less than a huge page, which kernels put at places of their own choice.
const ALIGN: usize = 1 << 20;
const PART: usize = 64 << 10;
const USABLE: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// Maps memory, at this address unless it is zero; where it lies.
fn map(address: usize, len: usize, access: i32) -> usize {
    let fixed = if address == 0 { 0 } else { libc::MAP_FIXED };
    // As `Pages` maps it, so that neighbours become one.
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | fixed;
    // SAFETY: fresh memory, or a hole in what this test has mapped.
    let start = unsafe { libc::mmap(ptr::without_provenance_mut(address), len, access, flags, -1, 0) };
    assert_ne!(start, libc::MAP_FAILED);
    start.expose_provenance()
}

fn unmap(address: usize, len: usize) {
    // SAFETY: callers have mapped it, and nobody uses it.
    assert_eq!(unsafe { libc::munmap(ptr::with_exposed_provenance_mut(address), len) }, 0);
}

/// Says whether it could.
fn protect(address: usize, len: usize, access: i32) -> bool {
    // SAFETY: callers have mapped it, and nobody uses it.
    unsafe { libc::mprotect(ptr::with_exposed_provenance_mut(address), len, access) == 0 }
}

/// Whether nothing is mapped there, in no page of it.
fn is_hole(address: usize, len: usize) -> bool {
    (address..address + len).step_by(Pages::page_size()).all(|page| {
        // SAFETY: the call touches no byte; it fails where nothing is mapped.
        unsafe { libc::msync(ptr::with_exposed_provenance_mut(page), 1, libc::MS_ASYNC) != 0 }
    })
}

/// Takes all mappings that are left; gives what is to be unmapped, or `None` if there is no end of them.
fn take_all_mappings() -> Option<(usize, usize)> {
    const MOST: usize = 200_000;
    let page = Pages::page_size();
    let (start, len) = (map(0, MOST * page, libc::PROT_NONE), MOST * page);
    // Each page that gets an access other than its neighbours' makes one mapping more.
    let taken = (1..MOST).find(|&number| {
        let access = if number % 2 == 0 { libc::PROT_READ } else { libc::PROT_WRITE };
        !protect(start + len - number * page, page, access)
    });
    if taken.is_none() {
        unmap(start, len);
    }
    taken.map(|_| (start, len))
}

/// Memory in which the kernel has its choice only of the holes that the test makes: there are none above it that are as long.
fn memory(len: usize) -> usize {
    let start = map(0, len, USABLE);
    for gap in [ALIGN, PART] {
        while map(0, gap, libc::PROT_NONE) > start {}
    }
    start
}

/// A hole whose head and tail are to be cut off a block with alignment, and where that block would be.
fn hole(near: usize) -> usize {
    let start = near.next_multiple_of(ALIGN) + PART;
    unmap(start, ALIGN);
    start
}

fn aligned() -> Layout {
    Layout::from_size_align(Pages::page_size(), ALIGN).unwrap()
}

#[test]
fn what_can_not_be_cut_is_not_lost() {
    if std::env::var_os("HEAPWRIGHT_SHORT").is_some() {
        return; // an emulator, or a program that is instrumented, can't do without mappings of its own
    }
    let page = Pages::page_size();
    let start = memory(16 * ALIGN);
    // Three blocks side by side, in one mapping with what is around them.
    let part = Layout::from_size_align(PART, page).unwrap();
    unmap(start + PART, 3 * PART);
    let mut blocks: Vec<_> = (0..3).map(|_| Pages.acquire(part).unwrap().cast::<u8>()).collect();
    blocks.sort_unstable();
    let [low, middle, high] = blocks[..] else { panic!("three") };
    if (low.addr().get(), high.addr().get()) != (start + PART, start + 3 * PART) {
        return; // a kernel that puts them elsewhere
    }
    // SAFETY: the blocks are ours, and so long.
    blocks.iter().for_each(|block| unsafe { block.write_bytes(7, PART) });
    // Two holes: below both is usable memory, which a new mapping becomes one with. Above the first as well.
    let (lower, upper) = (hole(start + 4 * ALIGN), hole(start + 10 * ALIGN));
    assert!(protect(upper + ALIGN, page, libc::PROT_NONE));

    let Some((filler, filler_len)) = take_all_mappings() else { return };
    // The head can't be cut off, and the tail can.
    let with_head = Pages.acquire(aligned());
    let upper_is_hole = is_hole(upper, ALIGN);
    map(upper, ALIGN, USABLE);
    // The head can be cut off, and then the tail can't.
    let with_tail = Pages.acquire(aligned());
    let lower_is_hole = is_hole(lower, ALIGN);
    // SAFETY: the block is ours, with its layout; its second half is not needed.
    let shrunk = unsafe { Pages.shrink(low, part, page) };
    // SAFETY: the block is ours, with its layout, and not used again.
    unsafe { Pages.release(middle, part) };
    unmap(filler, filler_len);

    assert_eq!((with_head, upper_is_hole), (Err(AllocError), true));
    assert_eq!((with_tail, lower_is_hole), (Err(AllocError), true));
    assert_eq!(shrunk, Err(AllocError));
    assert!(holds(low, 7) && holds(high, 7), "they are as they were");
    // The addresses could not go, but the memory behind them did.
    assert!(holds(NonNull::new(ptr::with_exposed_provenance_mut(middle.addr().get())).unwrap(), 0));
    // Again with mappings to spare.
    let block = Pages.acquire(aligned()).unwrap().cast::<u8>();
    assert_eq!(block.addr().get() % ALIGN, 0);
    // SAFETY: the block is ours, with its layout; its second half is not needed.
    let shrunk = unsafe { Pages.shrink(low, part, page) };
    assert_eq!(shrunk.map(|block| block.len()), Ok(page));
    assert!(is_hole(low.addr().get() + page, PART - page));
    for (block, layout) in
        [(block, aligned()), (low, Layout::from_size_align(page, page).unwrap()), (high, part)]
    {
        // SAFETY: the block is ours, with its layout.
        unsafe { Pages.release(block, layout) };
        assert!(is_hole(block.addr().get(), layout.size()));
    }
}

/// Whether all bytes of a part are this one.
fn holds(block: NonNull<u8>, byte: u8) -> bool {
    // SAFETY: callers have a block that is mapped, and so long.
    unsafe { std::slice::from_raw_parts(block.as_ptr(), PART) }.iter().all(|&found| found == byte)
}
