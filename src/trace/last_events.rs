//! The last events, in a ring that nobody waits for.

#![forbid(unsafe_code)]

use core::alloc::Layout;
use core::fmt;

#[cfg(target_has_atomic = "ptr")]
use core::sync::atomic::{AtomicUsize, Ordering, fence};
#[cfg(not(target_has_atomic = "ptr"))]
use portable_atomic::{AtomicUsize, Ordering, fence};

use super::{Block, Event, Sink};
use crate::AllocError;

/// The last `N` events of a traced heap, in a ring: the flight recorder.
///
/// Choose it where there is no file and no time: in firmware, in a kernel, in a program that crashes now and then. It needs no `std`,
/// allocates nothing, and can be read at any time, by a debugger or a panic handler as well.
///
/// No lock: a writer takes the next number by an atomic addition and fills the place of that number. Nobody waits for anybody. Should a writer be
/// overtaken by `N` others, the events of the slow or of the fast one are left out ([`lost`](LastEvents::lost) counts them); a reader leaves out
/// the places that are written to meanwhile.
///
/// Costs 6 words per event that it keeps, and per event two atomic operations and six stores.
///
/// ```
/// use core::alloc::Layout;
/// use heapwright::arena::StaticArena;
/// use heapwright::heap::SharedHeap;
/// use heapwright::sizing::Sizing4KiB;
/// use heapwright::trace::{LastEvents, Traced};
///
/// static HEAP: Traced<LastEvents<32>, StaticArena<1024, Sizing4KiB>> =
///     Traced::new(LastEvents::new(), StaticArena::new());
///
/// let layout = Layout::new::<[u8; 24]>();
/// let block = HEAP.try_alloc(layout)?;
/// // SAFETY: the block is live, and its layout this one.
/// unsafe { HEAP.free(block.cast(), layout) };
/// assert!(HEAP.try_alloc(Layout::new::<[u8; 5000]>()).is_err());
///
/// let text = HEAP.sink().to_string();
/// let words: Vec<_> = text.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
/// assert_eq!(words, ["alloc", "free", "refused"]);
/// # Ok::<(), heapwright::AllocError>(())
/// ```
pub struct LastEvents<const N: usize> {
    /// The number of the next event.
    next: AtomicUsize,
    lost: AtomicUsize,
    places: [Place; N],
}

/// One event that [`LastEvents`] has kept, and its number: 0 is the first one that was ever told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// How many were told before.
    pub number: usize,
    /// What happened.
    pub event: Event,
}

impl fmt::Display for Numbered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8} {}", self.number, self.event)
    }
}

/// Place of an event: words, so that a torn one can be read and thrown away.
struct Place {
    /// Twice the number of the event, and 2 more; 1 more than before while it is written; 0 at first.
    stamp: AtomicUsize,
    /// The kind in the lowest 3 bits, above them the binary logarithms of the alignments: 8 bits each.
    kind: AtomicUsize,
    words: [AtomicUsize; 4],
}

impl Place {
    const fn new() -> Self {
        Place {
            stamp: AtomicUsize::new(0),
            kind: AtomicUsize::new(0),
            words: [const { AtomicUsize::new(0) }; 4],
        }
    }

    /// The event of `number`, if it is here, and whole.
    fn read(&self, number: usize) -> Option<Event> {
        let stamp = stamp(number);
        if self.stamp.load(Ordering::Acquire) != stamp {
            return None;
        }
        let kind = self.kind.load(Ordering::Relaxed);
        let words = self.words.each_ref().map(|word| word.load(Ordering::Relaxed));
        // What was read above was there before the stamp is looked at again.
        fence(Ordering::Acquire);
        if self.stamp.load(Ordering::Relaxed) != stamp {
            return None;
        }
        decode(kind, words)
    }
}

/// The stamp of a place that the event of `number` is in.
const fn stamp(number: usize) -> usize {
    number.wrapping_mul(2).wrapping_add(2)
}

impl<const N: usize> LastEvents<N> {
    /// No event so far.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(N > 0, "a LastEvents keeps at least 1 event: take `()` to keep none") };
        LastEvents {
            next: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
            places: [const { Place::new() }; N],
        }
    }

    /// How many events there were, those no longer kept included.
    pub fn told(&self) -> usize {
        self.next.load(Ordering::Relaxed)
    }

    /// How many of them were left out because their place was being written to by another thread.
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }

    /// The last events, from the oldest to the newest. Those that are overwritten meanwhile are left out.
    pub fn iter(&self) -> impl Iterator<Item = Numbered> + '_ {
        let end = self.told();
        let len = N.min(end);
        (0..len).filter_map(move |idx| {
            let number = end.wrapping_sub(len).wrapping_add(idx);
            self.places[number % N].read(number).map(|event| Numbered { number, event })
        })
    }

    /// Copies the last events into `out`, from the oldest to the newest; gives the part that was filled.
    ///
    /// For those who want to look at them while the heap goes on.
    pub fn copy_to<'a>(&self, out: &'a mut [Option<Numbered>]) -> &'a [Option<Numbered>] {
        let skipped = self.iter().count().saturating_sub(out.len());
        let mut count = 0;
        for (place, event) in out.iter_mut().zip(self.iter().skip(skipped)) {
            *place = Some(event);
            count += 1;
        }
        &out[..count]
    }

    /// Keeps an event.
    fn keep(&self, event: Event) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let place = &self.places[number % N];
        let seen = place.stamp.load(Ordering::Relaxed);
        let writing = stamp(number).wrapping_sub(1);
        // Another writer is in there, or a later one has been: it is theirs.
        let is_later = stamp(number).wrapping_sub(seen) > usize::MAX / 2;
        let taken = !is_later
            && seen % 2 == 0
            && place.stamp.compare_exchange(seen, writing, Ordering::Acquire, Ordering::Relaxed).is_ok();
        if !taken {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // Who reads a word of the new event sees the stamp of writing, too.
        fence(Ordering::Release);
        let (kind, words) = encode(event);
        place.kind.store(kind, Ordering::Relaxed);
        for (word, value) in place.words.iter().zip(words) {
            word.store(value, Ordering::Relaxed);
        }
        place.stamp.store(stamp(number), Ordering::Release);
    }
}

/// An event in words.
fn encode(event: Event) -> (usize, [usize; 4]) {
    let align = |layout: Layout| layout.align().trailing_zeros() as usize;
    let of_block = |kind: usize, block: Block, fourth: usize| {
        (kind | align(block.layout) << 3, [block.address, block.layout.size(), block.len, fourth])
    };
    match event {
        Event::Allocated(block) => of_block(1, block, 0),
        Event::Freeing(block) => of_block(2, block, 0),
        Event::Resizing { was, new } => {
            let (kind, words) = of_block(3, was, new.size());
            (kind | align(new) << 11, words)
        }
        Event::Resized { from, now } => of_block(4, now, from),
        Event::NotResized(block) => of_block(5, block, 0),
        Event::Refused(layout) => (6 | align(layout) << 3, [0, layout.size(), 0, 0]),
    }
}

/// The event that was put in words; `None` for words that were never one.
fn decode(kind: usize, [address, size, len, fourth]: [usize; 4]) -> Option<Event> {
    let layout = |size, bits: usize| {
        let align = 1usize.checked_shl((bits & 0xff) as u32).unwrap_or(0);
        Layout::from_size_align(size, align).ok()
    };
    let first = layout(size, kind >> 3)?;
    let block = Block { address, layout: first, len };
    Some(match kind & 7 {
        1 => Event::Allocated(block),
        2 => Event::Freeing(block),
        3 => Event::Resizing { was: block, new: layout(fourth, kind >> 11)? },
        4 => Event::Resized { from: fourth, now: block },
        5 => Event::NotResized(block),
        6 => Event::Refused(first),
        _ => return None,
    })
}

impl<const N: usize> Default for LastEvents<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Debug for LastEvents<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LastEvents").field("places", &N).field("told", &self.told()).finish_non_exhaustive()
    }
}

/// A line for each, from the oldest to the newest.
impl<const N: usize> fmt::Display for LastEvents<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|event| writeln!(f, "{event}"))
    }
}

impl<const N: usize> Sink for LastEvents<N> {
    type Resizing = ();

    fn allocated(&self, block: &Block) {
        self.keep(Event::Allocated(*block));
    }

    fn freeing(&self, block: &Block) {
        self.keep(Event::Freeing(*block));
    }

    fn resizing(&self, block: &Block, new: Layout) {
        self.keep(Event::Resizing { was: *block, new });
    }

    fn resized(&self, (): (), was: &Block, now: Result<&Block, AllocError>) {
        self.keep(match now {
            Ok(now) => Event::Resized { from: was.address, now: *now },
            Err(AllocError) => Event::NotResized(*was),
        });
    }

    fn refused(&self, layout: Layout) {
        self.keep(Event::Refused(layout));
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use static_assertions::{assert_eq_size, assert_impl_all};

    use super::*;

    assert_eq_size!(LastEvents<8>, [usize; 2 + 8 * 6]);
    assert_impl_all!(LastEvents<8>: Send, Sync);

    fn block(address: usize, size: usize, align: usize) -> Block {
        Block { address, layout: Layout::from_size_align(size, align).unwrap(), len: size + 3 }
    }

    #[test]
    fn every_event_comes_back_as_it_was() {
        let (small, large) =
            (block(usize::MAX, 1, 1), block(64, isize::MAX as usize / 2, 1 << (usize::BITS - 24)));
        let events = [
            Event::Allocated(small),
            Event::Freeing(large),
            Event::Resizing { was: large, new: small.layout },
            Event::Resizing { was: small, new: large.layout },
            Event::Resized { from: 5, now: large },
            Event::NotResized(small),
            Event::Refused(large.layout),
        ];
        let last = LastEvents::<16>::new();
        for event in events {
            last.keep(event);
        }
        assert_eq!(last.iter().map(|numbered| numbered.event).collect::<Vec<_>>(), events);
        assert_eq!((last.told(), last.lost()), (7, 0));
    }

    #[test]
    fn only_the_last_ones_are_kept() {
        let last = LastEvents::<3>::new();
        for address in 1..=10 {
            last.allocated(&block(address, 8, 8));
        }
        let numbers: Vec<_> = last.iter().map(|kept| (kept.number, kept.event.address())).collect();
        assert_eq!(numbers, [(7, Some(8)), (8, Some(9)), (9, Some(10))]);
        let mut out = [None; 2];
        let numbers: Vec<_> = last.copy_to(&mut out).iter().flatten().map(|kept| kept.number).collect();
        assert_eq!(numbers, [8, 9]);
    }

    #[test]
    fn a_torn_event_is_never_read() {
        // Each event has one number in all its words.
        const PER_THREAD: usize = if cfg!(miri) { 50 } else { 20_000 };
        let last = LastEvents::<4>::new();
        let last = &last;
        std::thread::scope(|scope| {
            for thread in 1..=3usize {
                scope.spawn(move || {
                    for count in 0..PER_THREAD {
                        let value = thread * PER_THREAD + count;
                        let layout = Layout::from_size_align(value, 8).unwrap();
                        last.allocated(&Block { address: value, layout, len: value });
                    }
                });
            }
            for _ in 0..PER_THREAD {
                for kept in last.iter() {
                    let Event::Allocated(block) = kept.event else { panic!("{kept}") };
                    assert!(block.address == block.len && block.len == block.layout.size(), "{kept}");
                }
            }
        });
        assert_eq!(last.told(), 3 * PER_THREAD);
    }

    #[test]
    fn a_place_gives_the_event_that_it_is_asked_for_or_none() {
        let last = LastEvents::<2>::new();
        assert_eq!(last.places[0].read(0), None, "nothing has happened");
        for address in 1..=3 {
            last.allocated(&block(address, 8, 8));
        }
        assert_eq!(last.places[0].read(0), None, "it is overwritten");
        assert_eq!(last.places[0].read(2), Some(Event::Allocated(block(3, 8, 8))));
    }

    #[test]
    fn a_writer_that_is_overtaken_loses_its_event() {
        let last = LastEvents::<1>::new();
        for address in 1..=4 {
            last.allocated(&block(address, 8, 8));
        }
        // As if it had taken its number before the others.
        last.next.store(2, Ordering::Relaxed);
        last.allocated(&block(99, 8, 8));
        last.next.store(4, Ordering::Relaxed);
        assert_eq!(last.iter().map(|kept| kept.event.address()).collect::<Vec<_>>(), [Some(4)]);
        // As if another were in the middle of writing.
        last.places[0].stamp.fetch_sub(1, Ordering::Relaxed);
        last.allocated(&block(99, 8, 8));
        assert_eq!((last.lost(), last.iter().count()), (2, 0));
    }
}
