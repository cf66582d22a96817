//! `StaticBuffer`: one claimer at a time, who finds zeroes, and comes after all that the claimer before did.

use std::alloc::Layout;

use heapwright::source::{BackingSource, StaticBuffer};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::Times;

const LEN: usize = 16;
const LAYOUT: Layout = Layout::new::<[u8; LEN]>();

struct Shared {
    ram: StaticBuffer<LEN>,
    /// Touched by who has the block, and by nobody else at the same time: loom sees whoever does not come after the claimer before. (The bytes themselves it can't see.)
    claimer: UnsafeCell<u8>,
}

// SAFETY: the cell is touched by who has the block only, which is what is tested.
unsafe impl Sync for Shared {}

impl Shared {
    /// Claims the buffer if it is free, and gives it back; says whether.
    fn claim(&self, number: u8) -> bool {
        let Ok(block) = (&self.ram).acquire(LAYOUT) else { return false };
        let bytes = block.cast::<[u8; LEN]>();
        let read = || {
            // SAFETY: a live block of this layout.
            unsafe { bytes.read() }
        };
        assert_eq!(read(), [0; LEN], "former bytes are there");
        // SAFETY: as above.
        unsafe { bytes.write([number; LEN]) };
        self.claimer.with_mut(|claimer| {
            // SAFETY: who has the block has the cell, as loom checks.
            unsafe { claimer.write(number) };
        });
        // Others may come here.
        assert!((&self.ram).acquire(LAYOUT).is_err() && self.ram.is_claimed());
        self.claimer.with(|claimer| {
            // SAFETY: as above.
            assert_eq!(unsafe { claimer.read() }, number, "two had it at once");
        });
        assert_eq!(read(), [number; LEN], "two had it at once");
        // SAFETY: the block is live.
        unsafe { (&self.ram).release(block.cast(), LAYOUT) };
        true
    }
}

/// Threads that try so often each, the first of them on the main thread.
fn one_claims_at_a_time(tries: &'static [usize], preemptions: Option<usize>) {
    let (refused, again) = (Times::default(), Times::default());
    let (counts, name) =
        ((refused.clone(), again.clone()), format!("StaticBuffer, threads that try {tries:?}"));
    super::explore(&name, preemptions, move || {
        let shared = Arc::new(Shared { ram: StaticBuffer::new(), claimer: UnsafeCell::new(0) });
        let work = |shared: Arc<Shared>, thread: usize| {
            (0..tries[thread]).filter(|&count| shared.claim((10 * thread + count + 1) as u8)).count()
        };
        let threads: Vec<_> = (1..tries.len())
            .map(|number| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || work(shared, number))
            })
            .collect();
        let mut claims = work(Arc::clone(&shared), 0);
        let own = claims;
        claims += threads.into_iter().map(|thread| thread.join().expect("it ends")).sum::<usize>();
        let all: usize = tries.iter().sum();
        assert!(claims > 0, "it was free at first");
        if claims < all {
            counts.0.count();
        }
        if own > 0 && claims > own {
            counts.1.count();
        }
        assert!(!shared.ram.is_claimed() && shared.claim(u8::MAX), "it is free");
    });
    println!("    in {} of them one was refused, in {} several had it", refused.get(), again.get());
    assert!(refused.get() > 0 && again.get() > 0, "the threads did not meet");
}

/// All of them.
pub(crate) fn explore_all(more: usize) {
    one_claims_at_a_time(&[2, 2], None);
    one_claims_at_a_time(&[1, 1, 1], Some(3 + more));
    one_claims_at_a_time(&[2, 2, 1], Some(3 + more));
}
