//! Loops of single operations, by the allocator's own functions.

use std::alloc::{Layout, alloc, dealloc};
use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::thread;

use super::Work;
use super::random::Random;

/// Objects of 64 bytes.
const LAYOUT: Layout = Layout::new::<[u64; 8]>();

/// A block, with its first byte written.
#[inline(always)]
fn make(layout: Layout) -> *mut u8 {
    // SAFETY: no size here is zero.
    let block = unsafe { alloc(layout) };
    assert!(!block.is_null(), "out of memory");
    // SAFETY: the block is ours, and not of size zero.
    unsafe { block.write(1) };
    block
}

/// The end of a block.
///
/// # Safety
/// It is live, and this is its layout.
#[inline(always)]
unsafe fn end(block: *mut u8, layout: Layout) {
    // SAFETY: the caller's promise is the same.
    unsafe { dealloc(block, layout) };
}

/// No operation: what a program takes that does nothing.
pub(super) fn nothing(_: usize) -> Work {
    Box::new(|| (1, None))
}

/// One object comes and goes.
pub(super) fn pair_const(amount: usize) -> Work {
    Box::new(move || {
        let pairs = 20_000_000 * amount / 100;
        for _ in 0..pairs {
            // SAFETY: no size here is zero.
            let block = black_box(unsafe { alloc(LAYOUT) });
            // SAFETY: the block has just been made, with this layout.
            unsafe { end(block, LAYOUT) };
        }
        (pairs, None)
    })
}

/// The same; the compiler does not know its layout.
pub(super) fn pair_opaque(amount: usize) -> Work {
    Box::new(move || {
        let pairs = 20_000_000 * amount / 100;
        for _ in 0..pairs {
            let layout = black_box(LAYOUT);
            // SAFETY: no size here is zero.
            let block = black_box(unsafe { alloc(layout) });
            // SAFETY: the block has just been made, with this layout.
            unsafe { end(block, layout) };
        }
        (pairs, None)
    })
}

/// The same, with one of 64 layouts in turn.
pub(super) fn pair_sizes(amount: usize) -> Work {
    let layout = |number: usize| Layout::from_size_align(8 + number * 37 % 64 * 8, 8).unwrap_or(LAYOUT);
    let layouts: Vec<Layout> = (0..64).map(layout).collect();
    Box::new(move || {
        let pairs = 10_000_000 * amount / 100;
        for number in 0..pairs {
            let layout = layouts[number % 64];
            // SAFETY: no size here is zero.
            let block = black_box(unsafe { alloc(layout) });
            // SAFETY: the block has just been made, with this layout.
            unsafe { end(block, layout) };
        }
        (pairs, None)
    })
}

/// So many objects are made, then freed in the same order, or at random.
fn batch(count: usize, random: bool, amount: usize) -> Work {
    let mut order: Vec<usize> = (0..count).collect();
    if random {
        Random::new(31).shuffle(&mut order);
    }
    let mut blocks = vec![std::ptr::null_mut(); count];
    Box::new(move || {
        let rounds = 10_000_000 * amount / 100 / count;
        for _ in 0..rounds {
            for block in &mut blocks {
                *block = make(LAYOUT);
            }
            for &number in &order {
                // SAFETY: each block is live, and freed once.
                unsafe { end(blocks[number], LAYOUT) };
            }
        }
        (rounds * count, None)
    })
}

pub(super) fn batch_1k(amount: usize) -> Work {
    batch(1000, false, amount)
}

pub(super) fn batch_1k_random(amount: usize) -> Work {
    batch(1000, true, amount)
}

pub(super) fn batch_10k(amount: usize) -> Work {
    batch(10_000, false, amount)
}

pub(super) fn batch_10k_random(amount: usize) -> Work {
    batch(10_000, true, amount)
}

/// Of so many live objects of up to `size_max` bytes one is freed at random, and another made.
fn replace(live: usize, size_max: usize, amount: usize) -> Work {
    fn layout(random: &mut Random, size_max: usize) -> Layout {
        Layout::from_size_align(1 + random.below(size_max), 1).unwrap_or(LAYOUT)
    }
    let mut random = Random::new(32);
    let mut blocks: Vec<(*mut u8, Layout)> = (0..live)
        .map(|_| {
            let layout = layout(&mut random, size_max);
            (make(layout), layout)
        })
        .collect();
    let mut replace = move |count: usize| {
        for _ in 0..count {
            let number = random.below(live);
            let (block, old) = blocks[number];
            // SAFETY: the block is live, and another takes its place.
            unsafe { end(block, old) };
            let layout = layout(&mut random, size_max);
            blocks[number] = (make(layout), layout);
        }
    };
    replace(2 * live);
    Box::new(move || {
        let count = 4_000_000 * amount / 100;
        replace(count);
        (count, None)
    })
}

pub(super) fn replace_1k_1000(amount: usize) -> Work {
    replace(1000, 1000, amount)
}

pub(super) fn replace_100k_1000(amount: usize) -> Work {
    replace(100_000, 1000, amount)
}

pub(super) fn replace_1k_64(amount: usize) -> Work {
    replace(1000, 64, amount)
}

pub(super) fn replace_100k_64(amount: usize) -> Work {
    replace(100_000, 64, amount)
}

/// Threads that each replace objects of their own.
fn local(threads: u64, amount: usize) -> Work {
    Box::new(move || {
        let count = 5_000_000 * amount / 100;
        let work = move |seed: u64| {
            let mut random = Random::new(33 + seed);
            let mut blocks: Vec<*mut u8> = (0..1000).map(|_| make(LAYOUT)).collect();
            for _ in 0..count {
                let number = random.below(1000);
                // SAFETY: the block is live, and another takes its place.
                unsafe { end(blocks[number], LAYOUT) };
                blocks[number] = make(LAYOUT);
            }
            for block in blocks {
                // SAFETY: live, and the last of it.
                unsafe { end(block, LAYOUT) };
            }
        };
        let threads: Vec<_> = (0..threads).map(|seed| thread::spawn(move || work(seed))).collect();
        let total = count * threads.len();
        threads.into_iter().for_each(|thread| _ = thread.join());
        (total, None)
    })
}

pub(super) fn local_1(amount: usize) -> Work {
    local(1, amount)
}

pub(super) fn local_2(amount: usize) -> Work {
    local(2, amount)
}

/// One thread makes objects, another frees them.
pub(super) fn ring(amount: usize) -> Work {
    Box::new(move || {
        let count = 3_000_000 * amount / 100;
        let ring: Vec<AtomicPtr<u8>> = (0..1024).map(|_| AtomicPtr::default()).collect();
        let done = AtomicUsize::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..count {
                    let block = make(LAYOUT);
                    while !ring[number % 1024].load(Ordering::Acquire).is_null() {
                        spin_loop();
                    }
                    ring[number % 1024].store(block, Ordering::Release);
                }
            });
            scope.spawn(|| {
                for number in 0..count {
                    let place = &ring[number % 1024];
                    let mut block = place.load(Ordering::Acquire);
                    while block.is_null() {
                        spin_loop();
                        block = place.load(Ordering::Acquire);
                    }
                    place.store(std::ptr::null_mut(), Ordering::Release);
                    // SAFETY: the block is live, and nobody else has it now.
                    unsafe { end(block, LAYOUT) };
                }
                done.store(count, Ordering::Relaxed);
            });
        });
        (done.into_inner(), None)
    })
}

/// Two threads put objects into 50,000 places that they share, and free what was there.
pub(super) fn exchange(amount: usize) -> Work {
    Box::new(move || {
        let count = 2_000_000 * amount / 100;
        let places: Vec<AtomicPtr<u8>> = (0..50_000).map(|_| AtomicPtr::new(make(LAYOUT))).collect();
        let work = |seed: u64| {
            let mut random = Random::new(34 + seed);
            for _ in 0..count {
                let before = places[random.below(50_000)].swap(make(LAYOUT), Ordering::AcqRel);
                // SAFETY: the block is live, and nobody else has it now.
                unsafe { end(before, LAYOUT) };
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| work(0));
            scope.spawn(|| work(1));
        });
        (2 * count, None)
    })
}

/// Blocks of 40 KB to 2.5 MB, a little of which is used.
pub(super) fn large(amount: usize) -> Work {
    Box::new(move || {
        let mut random = Random::new(35);
        let count = 200_000 * amount / 100;
        for _ in 0..count {
            let layout = Layout::from_size_align(40_000 << random.below(7), 8).unwrap_or(LAYOUT);
            let block = make(layout);
            // SAFETY: the block is longer than that.
            let place = unsafe { block.add(5000) };
            // SAFETY: within the block.
            unsafe { place.write(1) };
            // SAFETY: the block has just been made, with this layout.
            unsafe { end(black_box(block), layout) };
        }
        (count, None)
    })
}

/// A vector of 64 MiB, by pushing.
pub(super) fn realloc_large(amount: usize) -> Work {
    Box::new(move || {
        let rounds = 4 * amount.div_ceil(100);
        for _ in 0..rounds {
            let mut vector = Vec::new();
            (0..8u64 << 20).for_each(|number| vector.push(number));
            black_box(&vector);
        }
        (rounds, None)
    })
}
