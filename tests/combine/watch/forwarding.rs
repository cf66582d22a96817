//! Every method of the heap within is reached: a wrapper that takes a default costs growth in place, zero pages, or batches.

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::cache::Classes;
use heapwright::check::CountMisuses;
use heapwright::combine::{
    AtomicTotals, ClassTotals, Counted, FailNth, FailRandom, OnAlloc, OnBoth, OnFree, Quarantine, Quota,
    RedZones, SizeHistogram, Totals, Zeroing,
};
use heapwright::heap::{Cursor, Heap, Inspect, Owns, Reset};

use super::layout;
use super::probe::{Calls, Probe};

/// What a wrapper does with its heap, where that is not simply the same.
#[derive(Clone, Copy)]
struct Manner {
    /// Requests go on as requests for zeroes.
    zeroes: bool,
    /// Blocks are moved by the wrapper, and looked at before they go.
    moves: bool,
    at_hand: bool,
    /// Blocks wait before they go.
    holds: bool,
}

const PLAIN: Manner = Manner { zeroes: false, moves: false, at_hand: true, holds: false };

/// What the probe saw of one step.
struct Steps<'f, H> {
    heap: H,
    calls: fn(&H) -> Calls,
    seen: Calls,
    name: &'f str,
}

impl<H> Steps<'_, H> {
    /// The step did nothing to the probe but what `expected` says, over what was seen before.
    #[track_caller]
    fn saw(&mut self, expected: impl FnOnce(&mut Calls)) {
        expected(&mut self.seen);
        assert_eq!((self.calls)(&self.heap), self.seen, "{}", self.name);
    }
}

fn every_method_is_reached<H: Heap + Reset + Inspect>(
    name: &str,
    manner: Manner,
    heap: H,
    calls: fn(&H) -> Calls,
) {
    let Manner { zeroes, moves, at_hand, holds } = manner;
    let mut held = 0;
    let mut on = Steps { heap, calls, seen: Calls::default(), name };
    let (short, long) = (layout(64, 8), layout(128, 8));

    assert_eq!(H::AT_HAND, at_hand, "{name}");
    assert_eq!(on.heap.alloc_at_hand(short).is_some(), at_hand, "{name}");
    on.saw(|calls| calls.alloc_at_hand += usize::from(at_hand));

    let first = on.heap.alloc(short).unwrap().cast::<u8>();
    on.saw(|calls| *(if zeroes { &mut calls.alloc_zeroed } else { &mut calls.alloc }) += 1);
    let second = on.heap.alloc_zeroed(short).unwrap().cast::<u8>();
    on.saw(|calls| calls.alloc_zeroed += 1);

    // The last block of the arena grows where it stands.
    // SAFETY: the block is live, and its layout `short`.
    let grown = unsafe { on.heap.resize_in_place(second, short, long) };
    assert_eq!(grown.map(|block| block.cast()), Ok(second), "{name}");
    on.saw(|calls| calls.resize_in_place += 1);
    // The one before it can't.
    // SAFETY: as above.
    let moved = unsafe { on.heap.resize(first, short, long) }.unwrap().cast::<u8>();
    assert_ne!(moved, first);
    on.saw(|calls| {
        if moves {
            calls.resize_in_place += 1;
            *(if zeroes { &mut calls.alloc_zeroed } else { &mut calls.alloc }) += 1;
            calls.dealloc += usize::from(!holds);
            held += 1;
        } else {
            calls.resize += 1;
        }
    });

    let third = on.heap.alloc(short).unwrap().cast();
    on.saw(|calls| *(if zeroes { &mut calls.alloc_zeroed } else { &mut calls.alloc }) += 1);
    let at_hand = at_hand && !moves;
    // SAFETY: the block is live, and its layout `short`.
    assert_eq!(unsafe { on.heap.dealloc_at_hand(third, short) }, at_hand, "{name}");
    on.saw(|calls| calls.dealloc_at_hand += usize::from(at_hand));
    // SAFETY: the block is live, and its layout `long`.
    unsafe { on.heap.dealloc(second, long) };
    on.saw(|calls| calls.dealloc += usize::from(!holds));
    held += 1;

    let mut out = [MaybeUninit::uninit(); 5];
    assert_eq!(on.heap.alloc_batch(short, &mut out), 5, "{name}");
    on.saw(|calls| calls.alloc_batch += 1);
    // SAFETY: all five were filled.
    let blocks = out.map(|block| unsafe { block.assume_init() });
    // SAFETY: they are live, different, and of this layout.
    unsafe { on.heap.dealloc_batch(short, &blocks) };
    on.saw(|calls| calls.dealloc_batch += usize::from(!holds));
    held += 5;

    assert_eq!(on.heap.release_unused(), 4321, "{name}");
    on.saw(|calls| {
        calls.release_unused += 1;
        calls.dealloc += if holds { held } else { 0 };
    });
    assert!(on.heap.good_size(layout(61, 1)) > 61, "{name}");
    assert_eq!(on.heap.verify(), Ok(()), "{name}");
    on.saw(|calls| calls.verify += 1);
    assert_eq!(on.heap.misuses(), 0, "{name}");
    assert!(on.heap.next_chunk(&mut Cursor::default()).is_some(), "{name}");
    // SAFETY: no block is used any more.
    unsafe { on.heap.reset() };
    on.saw(|calls| calls.reset += 1);
    assert_eq!(on.heap.usage().objects, 0, "{name}");
}

/// One look-up for both, where the wrapper does not have to look first.
fn ownership_is_asked_once<H: Heap + Owns>(name: &str, manner: Manner, heap: H, calls: fn(&H) -> Calls) {
    let Manner { zeroes, moves, holds, .. } = manner;
    let mut on = Steps { heap, calls, seen: Calls::default(), name };
    let layout = layout(64, 8);
    let block = on.heap.alloc(layout).unwrap().cast::<u8>();
    on.saw(|calls| *(if zeroes { &mut calls.alloc_zeroed } else { &mut calls.alloc }) += 1);
    assert!(on.heap.owns(block, layout), "{name}");
    // SAFETY: the block is live, and its layout this one.
    assert!(unsafe { on.heap.try_dealloc(block, layout) }, "{name}");
    on.saw(|calls| {
        calls.try_dealloc += usize::from(!moves);
        calls.dealloc += usize::from(moves && !holds);
    });
    let mut other = [0u64; 8];
    let foreign = NonNull::from(&mut other).cast();
    // SAFETY: the block is none of this heap's.
    assert!(!unsafe { on.heap.try_dealloc(foreign, layout) }, "{name}");
    on.saw(|calls| calls.try_dealloc += usize::from(!moves));
    assert_eq!(other, [0; 8], "{name}");
}

/// Runs both with a heap around a fresh probe.
macro_rules! reached {
    ($manner:expr, |$probe:ident| $make:expr) => {{
        reached!(but_ownership, $manner, |$probe| $make);
        let mut memory = [MaybeUninit::uninit(); 4096];
        let $probe = Probe::new(&mut memory);
        ownership_is_asked_once(stringify!($make), $manner, $make, |heap| heap.heap().calls);
    }};
    (but_ownership, $manner:expr, |$probe:ident| $make:expr) => {{
        let mut memory = [MaybeUninit::uninit(); 4096];
        let $probe = Probe::new(&mut memory);
        every_method_is_reached(stringify!($make), $manner, $make, |heap| heap.heap().calls);
    }};
}

#[test]
fn of_counted_and_quota() {
    static TOTALS: AtomicTotals = AtomicTotals::new();
    reached!(PLAIN, |probe| Quota::new(probe, 4096));
    reached!(PLAIN, |probe| Counted::new((), probe));
    reached!(PLAIN, |probe| Counted::new(Totals::new(), probe));
    reached!(PLAIN, |probe| Counted::new(&TOTALS, probe));
    reached!(PLAIN, |probe| Counted::new((ClassTotals::<Classes>::new(), SizeHistogram::new()), probe));
}

#[test]
fn of_what_refuses() {
    let manner = Manner { at_hand: false, ..PLAIN };
    reached!(manner, |probe| FailNth::never(probe));
    reached!(manner, |probe| FailRandom::new_seeded(probe, 1, 0));
}

#[test]
fn of_what_zeroes() {
    reached!(Manner { zeroes: true, ..PLAIN }, |probe| Zeroing::<OnAlloc, _>::new(probe));
    reached!(Manner { moves: true, ..PLAIN }, |probe| Zeroing::<OnFree, _>::new(probe));
    reached!(Manner { zeroes: true, moves: true, ..PLAIN }, |probe| Zeroing::<OnBoth, _>::new(probe));
}

#[test]
fn of_guards() {
    let guard = Manner { at_hand: false, ..PLAIN };
    let holds = Manner { moves: true, holds: true, ..guard };
    reached!(holds, |probe| Quarantine::<16, _, _>::new(probe, CountMisuses::new()));
    reached!(but_ownership, guard, |probe| RedZones::<16, 8, _, _>::new(probe, CountMisuses::new()));
    reached!(but_ownership, guard, |probe| RedZones::<0, 1, _, _>::new(probe, CountMisuses::new()));
}
