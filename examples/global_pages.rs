//! A global allocator of one's own make: an arena over 32 MiB of OS pages, which it asks for at the first request.
//!
//! A `static` is there before the program runs, so it can't hold pages yet. The core below holds them from its first use
//! on; pages that nothing touches cost no memory. Nothing else is needed: the shell brings the lock and the traits.
//!
//! ```text
//! cargo run --release --example global_pages -- 1000000
//! ```

use std::alloc::Layout;
use std::io::{self, Write};
use std::process::ExitCode;
use std::ptr::NonNull;
use std::thread;

use heapwright::AllocError;
use heapwright::arena::SourceArena;
use heapwright::heap::{Chunk, Corruption, Cursor, Heap, Inspect, Locked, Usage};
use heapwright::lock::SpinLock;
use heapwright::sizing::Sizing16MiB;
use heapwright::source::Pages;

#[global_allocator]
static HEAP: Locked<FirstUse, SpinLock> = Locked::new(FirstUse { arena: None });

const HEAP_SIZE: usize = 32 << 20;

/// An arena that is made when it is first asked for something.
struct FirstUse {
    arena: Option<SourceArena<Pages, Sizing16MiB>>,
}

impl FirstUse {
    fn arena(&mut self) -> Result<&mut SourceArena<Pages, Sizing16MiB>, AllocError> {
        match &mut self.arena {
            Some(arena) => Ok(arena),
            none => Ok(none.insert(SourceArena::with_size(Pages, HEAP_SIZE)?)),
        }
    }
}

// SAFETY: the arena keeps H1 to H6, and it is never replaced. Before it is there nothing was handed out, and asking the OS
// for pages allocates nothing (H5).
unsafe impl Heap for FirstUse {
    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.arena()?.alloc(layout)
    }

    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.arena()?.alloc_zeroed(layout)
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        if let Some(arena) = &mut self.arena {
            // SAFETY: the caller's promise is the same.
            unsafe { arena.dealloc(ptr, layout) }
        }
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.arena()?.resize(ptr, old, new) }
    }
}

impl Inspect for FirstUse {
    fn usage(&self) -> Usage {
        self.arena.as_ref().map_or_else(Usage::default, Inspect::usage)
    }

    fn next_chunk(&mut self, cursor: &mut Cursor) -> Option<Chunk> {
        self.arena.as_mut()?.next_chunk(cursor)
    }

    fn verify(&mut self) -> Result<(), Corruption> {
        self.arena.as_mut().map_or(Ok(()), Inspect::verify)
    }
}

/// The primes in `from..to`, given those up to the square root of `to`.
fn primes_between(from: usize, to: usize, small: &[usize]) -> Vec<usize> {
    let mut composite = vec![false; to - from];
    for &prime in small {
        let first = from.next_multiple_of(prime).max(prime * prime);
        for multiple in (first..to).step_by(prime) {
            composite[multiple - from] = true;
        }
    }
    (from..to).filter(|&number| number > 1 && !composite[number - from]).collect()
}

fn main() -> io::Result<ExitCode> {
    let limit: usize = std::env::args().nth(1).and_then(|limit| limit.parse().ok()).unwrap_or(100_000);
    let small: Vec<usize> =
        (2..=limit.isqrt()).filter(|n| (2..=n.isqrt()).all(|divisor| n % divisor != 0)).collect();
    let share = limit.div_ceil(4).max(1);
    let primes = thread::scope(|scope| {
        let sieve = |from: usize| primes_between(from, limit.min(from + share), &small);
        let threads: Vec<_> =
            (0..limit).step_by(share).map(|from| scope.spawn(move || sieve(from))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect::<Vec<_>>().concat()
    });
    let usage = HEAP.usage();
    let mut out = io::stdout().lock();
    writeln!(out, "{} primes below {limit}, the largest is {:?}", primes.len(), primes.last())?;
    writeln!(out, "heap: {} bytes used by {} objects of {HEAP_SIZE}", usage.used, usage.objects)?;
    Ok(if HEAP.verify().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
