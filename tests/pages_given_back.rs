//! What `Pages` maps it unmaps: told by the kernel, in a process of its own, with one test on one thread.
#![cfg(test)]
#![cfg(all(feature = "os", target_os = "linux"))]
#![expect(clippy::undocumented_unsafe_blocks, reason = "each call is on a live block with its own layout")]

use core::alloc::Layout;
use std::fs::File;
use std::io::Read;

use heapwright::source::{BackingSource, Pages};

/// Reads a file of the kernel's, without allocating.
fn read<'a>(path: &str, buffer: &'a mut [u8]) -> &'a str {
    let mut file = File::open(path).unwrap();
    let mut len = 0;
    loop {
        match file.read(&mut buffer[len..]).unwrap() {
            0 => break,
            more => len += more,
        }
    }
    assert!(len < buffer.len(), "{path} is too long");
    core::str::from_utf8(&buffer[..len]).unwrap()
}

/// Bytes of address space that the process has mapped.
fn mapped(buffer: &mut [u8]) -> usize {
    let hex = |number| usize::from_str_radix(number, 16).unwrap();
    read("/proc/self/maps", buffer)
        .lines()
        // The kernel's own, at the top.
        .filter(|line| !line.ends_with("[vsyscall]"))
        .filter_map(|line| line.split(' ').next()?.split_once('-'))
        .map(|(start, end)| hex(end) - hex(start))
        .sum()
}

/// Bytes of memory that the process has.
fn resident(buffer: &mut [u8]) -> usize {
    let pages = read("/proc/self/statm", buffer).split(' ').nth(1).unwrap();
    pages.parse::<usize>().unwrap() * Pages::page_size()
}

#[test]
fn mapped_bytes_return_to_the_start() {
    let mut buffer = vec![0; 1 << 20];
    let page = Pages::page_size();
    let start = mapped(&mut buffer);
    for shift in 0..=30 {
        for size in [1, page, 5 * page + 1, 1 << 20] {
            let layout = Layout::from_size_align(size, 1 << shift).unwrap();
            let block = Pages.acquire(layout).unwrap();
            assert_eq!(mapped(&mut buffer), start + block.len(), "the ends are trimmed: {layout:?}");
            unsafe { Pages.release(block.cast(), layout) };
            assert_eq!(mapped(&mut buffer), start, "{layout:?}");
        }
    }

    let layout = |pages| Layout::from_size_align(pages * page, 2 * page).unwrap();
    let blocks = [1, 7, 2, 64].map(|pages| (Pages.acquire(layout(pages)).unwrap().cast::<u8>(), pages));
    assert_eq!(mapped(&mut buffer), start + 74 * page);
    let shrunk = unsafe { Pages.shrink(blocks[3].0, layout(64), 10 * page) }.unwrap();
    assert_eq!((shrunk.cast(), shrunk.len()), (blocks[3].0, 10 * page));
    assert_eq!(mapped(&mut buffer), start + 20 * page, "the tail went back");
    unsafe { Pages.release(blocks[3].0, layout(10)) };
    for &(block, pages) in &blocks[..3] {
        unsafe { Pages.release(block, layout(pages)) };
    }
    assert_eq!(mapped(&mut buffer), start);

    let plain = |pages| Layout::from_size_align(pages * page, 1).unwrap();
    let block = Pages.acquire(plain(3)).unwrap().cast::<u8>();
    let moved = unsafe { Pages.remap(block, plain(3), 1000 * page) }.unwrap();
    assert_eq!(mapped(&mut buffer), start + 1000 * page);
    unsafe { Pages.release(moved.cast(), plain(1000)) };
    assert_eq!(mapped(&mut buffer), start);

    // What can't be had leaves nothing behind.
    for (size, align) in [(1u64 << 62, 1), (1 << 62, 1 << 30), (1 << 46, 1 << 30), (1, 1 << 31)] {
        // Of 32 bits there are no such layouts.
        let layout = usize::try_from(size).ok().and_then(|size| Layout::from_size_align(size, align).ok());
        assert!(layout.is_none_or(|layout| Pages.acquire(layout).is_err()));
    }
    assert_eq!(mapped(&mut buffer), start);

    // Purged memory goes back to the system, and the addresses stay.
    const SIZE: usize = 64 << 20;
    let layout = Layout::from_size_align(SIZE, 1).unwrap();
    let block = Pages.acquire(layout).unwrap().cast::<u8>();
    let untouched = resident(&mut buffer);
    for decommit in [false, true] {
        unsafe { block.write_bytes(1, SIZE) };
        assert!(resident(&mut buffer) >= untouched + SIZE);
        if decommit {
            unsafe { Pages.decommit(block, SIZE) };
        } else {
            unsafe { Pages.purge(block, SIZE) };
        }
        assert!(resident(&mut buffer) < untouched + SIZE / 8, "the memory went back");
        assert_eq!(mapped(&mut buffer), start + SIZE);
    }
    unsafe { Pages.release(block, layout) };
    assert_eq!(mapped(&mut buffer), start);
}
