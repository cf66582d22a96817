//! What the general allocators find under each policy, and what they do not find because nothing is wrong.

#![cfg(all(feature = "std", any(unix, windows), not(miri)))]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod counts;
mod endings;
mod fickle;
mod guards;
mod kinds;
mod moods;
mod moved;
mod partial;
mod raced;
mod refused;
mod stale;
mod valid;
mod zones;

use heapwright::cache::{ChunkHeap, Classes, KeepAll, MallocSettings};
use heapwright::check::{Checked, Checks, Hardened, Misuse, Off, Report};
use heapwright::lock::YieldLock;
use heapwright::source::Pages;
use std::cell::RefCell;

std::thread_local! {
    static FOUND: RefCell<Vec<Misuse>> = const { RefCell::new(Vec::new()) };
}

/// Notes what is found, for the thread that made the mistake. It uses memory of the program's heap while it is told.
pub(crate) struct Note;

impl Report for Note {
    fn report(misuse: &Misuse) {
        FOUND.with_borrow_mut(|found| found.push(*misuse));
    }
}

/// What has been found on this thread since this was last asked.
pub(crate) fn found() -> Vec<Misuse> {
    FOUND.take()
}

/// Declares a heap with a policy.
macro_rules! heap {
    ($name:ident, $handle:ident, $settings:ident, $policy:ty) => {
        pub(crate) struct $settings;
        impl MallocSettings for $settings {
            type Classes = Classes;
            type Chunks = ChunkHeap<Pages, YieldLock, KeepAll, 32768, { usize::MAX }, $policy>;
            type Lock = YieldLock;
        }
        heapwright::malloc! { pub(crate) static $name as $handle: $settings = ChunkHeap::new(Pages); }
    };
}
pub(crate) use heap;

heap!(CHECKED, CheckedHeap, CheckedParts, Checked<Note>);
heap!(HARDENED, HardenedHeap, HardenedParts, Hardened<Note>);
// For tests that look at freed memory, or write to it, which nobody else may have been given meanwhile.
heap!(ALONE, LonelyHeap, LonelyParts, Hardened<Note>);
heap!(WRITTEN, WrittenHeap, WrittenParts, Hardened<Note>);

/// Zones of another length, and nothing else.
pub(crate) struct Wide;
impl Checks for Wide {
    type Frees = Off;
    type Quarantine = Off;
    type Report = Note;
    const RED_ZONE: usize = 20;
}
heap!(WIDE, WideHeap, WideParts, Wide);

/// How often: more with `HEAPWRIGHT_LONG`, a twentieth with `HEAPWRIGHT_SHORT`.
pub(crate) fn times(usual: usize, long: usize) -> usize {
    let is_set = |name| std::env::var_os(name).is_some();
    if is_set("HEAPWRIGHT_LONG") {
        long
    } else if is_set("HEAPWRIGHT_SHORT") {
        usual / 20 + 1
    } else {
        usual
    }
}

/// Numbers by chance, from a seed.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Chance(seed | 1)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}
