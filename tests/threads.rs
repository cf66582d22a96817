//! Several threads on one heap: what each writes to its blocks it finds there, and at the end everything adds up.
//!
//! `HEAPWRIGHT_LONG=1` has four threads do 10,000,000 operations each on statics under unfair locks, and on general allocators; otherwise it is 4000.

#![expect(clippy::expect_used, reason = "a test that can not go on says why and stops")]

use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::{Barrier, mpsc};
use std::thread;

use heapwright::arena::{StaticArena, Teaspoon};
use heapwright::heap::{SharedHeap, Usage};
use heapwright::lock::{Lock, SpinLock, TicketLock};
#[cfg(feature = "std")]
use heapwright::lock::{OwnerChecked, StdLock};
use heapwright::sizing::{Bounded, Checked, Sizing, Sizing4KiB, Sizing16MiB, Sizing128KiB};

/// How many threads, and how many operations of each.
///
/// Fair locks get few: a ticket holder that the system has put aside stops all who come after it, so with more runnable
/// threads than processors each operation can take as long as the system's time slice.
#[derive(Clone, Copy)]
struct Load {
    threads: usize,
    steps: usize,
}

impl Load {
    const UNFAIR: Load = Load { threads: 4, steps: if cfg!(miri) { 50 } else { 4000 } };
    const FAIR: Load = Load { threads: 2, steps: if cfg!(miri) { 50 } else { 100 } };

    /// This, or its long form.
    fn or_long(self) -> Load {
        let is_long = std::env::var_os("HEAPWRIGHT_LONG").is_some_and(|value| value == "1");
        if is_long && self.threads == Load::UNFAIR.threads {
            Load { steps: 10_000_000, ..self }
        } else {
            self
        }
    }

    /// This, but at most so many threads.
    fn at_most(self, threads: usize) -> Load {
        Load { threads: self.threads.min(threads), ..self }
    }
}

/// A live block: whoever holds it may use its bytes.
struct Block {
    ptr: NonNull<u8>,
    layout: Layout,
    len: usize,
    stamp: u8,
}

// SAFETY: a block is owned like a `Box<[u8]>`.
unsafe impl Send for Block {}

impl Block {
    fn take(heap: &impl SharedHeap, layout: Layout, stamp: u8) -> Option<Block> {
        let made = heap.try_alloc(layout).ok()?;
        Some(Block { ptr: made.cast(), layout, len: made.len(), stamp }.stamped())
    }

    /// Fills it with its stamp.
    fn stamped(self) -> Block {
        // SAFETY: the block is live, that long, and ours.
        unsafe { self.ptr.write_bytes(self.stamp, self.len) };
        self
    }

    fn check(&self, len: usize) {
        // SAFETY: the block is live, ours, and was filled.
        let bytes = unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), len) };
        assert!(bytes.iter().all(|&byte| byte == self.stamp), "a block of {:?} was overwritten", self.layout);
    }

    fn resize(self, heap: &impl SharedHeap, layout: Layout, stamp: u8) -> Block {
        self.check(self.len);
        // SAFETY: the block is live and its layout its own.
        match unsafe { heap.try_resize(self.ptr, self.layout, layout) } {
            Ok(made) => {
                let kept = self.layout.size().min(layout.size());
                let moved = Block { ptr: made.cast(), layout, len: made.len(), stamp: self.stamp };
                moved.check(kept);
                Block { stamp, ..moved }.stamped()
            }
            Err(_) => self,
        }
    }

    fn give(self, heap: &impl SharedHeap) {
        self.check(self.len);
        // SAFETY: the block is live, its layout its own, and nobody has it any more.
        unsafe { heap.free(self.ptr, self.layout) };
    }
}

/// A step of the generator xorshift64 (Marsaglia 2003).
fn draw(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 16) as usize
}

fn draw_layout(state: &mut u64) -> Layout {
    let size = 1 + draw(state) % [8, 40, 200][draw(state) % 3];
    Layout::from_size_align(size, 1 << (draw(state) % 6)).expect("a valid layout")
}

/// How many blocks a thread keeps at most.
const BLOCKS_MAX: usize = 1000;

/// What one thread does: takes, resizes, gives back, and hands every so many blocks to the next thread, which frees them.
fn work(
    heap: &impl SharedHeap,
    (seed, steps): (u64, usize),
    next: &mpsc::Sender<Block>,
    from_before: &mpsc::Receiver<Block>,
) {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut blocks = Vec::new();
    for step in 0..steps {
        let stamp = (step as u8).wrapping_mul(4) | (seed as u8 & 3);
        match draw(&mut state) % 8 {
            0..4 if blocks.len() < BLOCKS_MAX => {
                blocks.extend(Block::take(heap, draw_layout(&mut state), stamp));
            }
            _ if blocks.is_empty() => {}
            4 => {
                let block = blocks.swap_remove(draw(&mut state) % blocks.len());
                next.send(block).expect("receivers live until all threads are done");
            }
            5 => {
                let block = blocks.swap_remove(draw(&mut state) % blocks.len());
                blocks.push(block.resize(heap, draw_layout(&mut state), stamp));
            }
            _ => blocks.swap_remove(draw(&mut state) % blocks.len()).give(heap),
        }
        from_before.try_iter().for_each(|block| block.give(heap));
    }
    blocks.into_iter().for_each(|block| block.give(heap));
}

/// Runs threads on `heap`, started together, each handing blocks to the next in a ring.
fn run(heap: &(impl SharedHeap + Sync), Load { threads: count, steps }: Load) {
    let start = Barrier::new(count);
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel()).unzip();
    thread::scope(|scope| {
        let spawned = receivers.into_iter().enumerate().map(|(idx, from_before)| {
            let next = senders[(idx + 1) % count].clone();
            let start = &start;
            scope.spawn(move || {
                start.wait();
                work(heap, (idx as u64 + 1, steps), &next, &from_before);
                drop(next);
                // What the thread before still sends, until it is done too.
                from_before.iter().for_each(|block| block.give(heap));
            })
        });
        let spawned: Vec<_> = spawned.collect();
        drop(senders);
        // A scope alone does not wait for what their thread-locals have to do.
        spawned.into_iter().for_each(|thread| thread.join().expect("a thread that ends well"));
    });
}

fn shared_by_threads<S: Sizing, L: Lock + Sync + Send>(load: Load) {
    for (threads, len) in [(2, 2048), (3, 12 << 10), (4, 60_000)] {
        let mut memory = vec![MaybeUninit::uninit(); len];
        let spoon = Teaspoon::<S, L>::from_slice(&mut memory);
        let fresh = spoon.usage();
        run(&spoon, load.at_most(threads));
        assert_eq!((spoon.usage(), spoon.misuses(), spoon.verify()), (fresh, 0, Ok(())));
        // Merged as far as it goes: the region is as good as new.
        let whole = fresh.free.min(S::OBJECT_SIZE_MAX);
        assert!(spoon.try_alloc(Layout::from_size_align(whole, 1).expect("a valid layout")).is_ok());
    }
}

/// Usage and walks from one thread while others work: never more than there is, and every chunk inside the region.
fn looked_into_by_threads<S: Sizing, L: Lock + Sync + Send>(load: Load) {
    let mut memory = vec![MaybeUninit::uninit(); 8192];
    let spoon = Teaspoon::<S, L>::from_slice(&mut memory);
    let fresh = spoon.usage();
    thread::scope(|scope| {
        let working = scope.spawn(|| run(&spoon, load.at_most(2)));
        let mut looks = 0;
        while !working.is_finished() || looks == 0 {
            let Usage { total, used, free, objects } = spoon.usage();
            assert_eq!((total, used + free), (fresh.total, fresh.free));
            assert!(objects <= used);
            assert!(spoon.chunks().all(|chunk| chunk.len > 0 && chunk.offset + chunk.len <= 8192));
            assert_eq!(spoon.verify(), Ok(()));
            looks += 1;
        }
    });
    assert_eq!(spoon.usage(), fresh);
}

macro_rules! tests {
    ($($lock:ident: $type:ty, $load:expr;)*) => {
        $(mod $lock {
            use super::*;

            #[test]
            fn shared() {
                shared_by_threads::<Sizing4KiB, $type>($load);
                shared_by_threads::<Sizing128KiB, $type>($load);
                shared_by_threads::<Sizing16MiB, $type>($load);
                shared_by_threads::<Bounded<Sizing128KiB>, $type>($load);
                shared_by_threads::<Checked<Sizing16MiB>, $type>($load);
            }

            #[test]
            fn looked_into() {
                looked_into_by_threads::<Sizing4KiB, $type>($load);
                looked_into_by_threads::<Sizing128KiB, $type>($load);
                looked_into_by_threads::<Bounded<Checked<Sizing16MiB>>, $type>($load);
            }

            #[test]
            fn a_static() {
                static HEAP: StaticArena<{ 32 << 10 }, Sizing128KiB, $type> = StaticArena::new();
                let fresh = HEAP.usage();
                run(&HEAP, $load.or_long());
                assert_eq!((HEAP.usage(), HEAP.verify()), (fresh, Ok(())));
            }
        })*
    };
}

tests! {
    spin: SpinLock, Load::UNFAIR;
    ticket: TicketLock, Load::FAIR;
}

#[cfg(feature = "std")]
tests! {
    futex: StdLock, Load::UNFAIR;
    owner_checked: OwnerChecked<StdLock>, Load::UNFAIR;
}

/// Those that check end the program at anything that they take for wrong.
#[cfg(all(feature = "std", any(unix, windows), not(miri)))]
mod general_allocators {
    use heapwright::preset::{CheckedMalloc, CompactMalloc, HardenedMalloc, SlabMalloc};
    use heapwright::trace::AnyGlobal;

    use super::{Load, run};

    #[test]
    fn slab_malloc() {
        run(&AnyGlobal::new(SlabMalloc), Load::UNFAIR.or_long());
        assert_eq!(SlabMalloc.stats().bytes_live, 0);
    }

    #[test]
    fn compact_malloc() {
        run(&AnyGlobal::new(CompactMalloc), Load::UNFAIR.or_long());
        assert_eq!(CompactMalloc.stats().bytes_live, 0);
    }

    #[test]
    fn checked_malloc() {
        run(&AnyGlobal::new(CheckedMalloc), Load::UNFAIR.or_long());
        assert_eq!(CheckedMalloc.stats().bytes_live, 0);
    }

    #[test]
    fn hardened_malloc() {
        run(&AnyGlobal::new(HardenedMalloc), Load::UNFAIR.or_long());
        assert_eq!(HardenedMalloc.stats().bytes_live, 0);
    }
}
