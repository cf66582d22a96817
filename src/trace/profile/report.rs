//! A snapshot of a profile, and its summary.

use core::fmt;
use core::ops::Range;
use std::string::{String, ToString};
use std::sync::OnceLock;
use std::time::Duration;
use std::vec::Vec;

use super::history::{Bytes, class_max};
use super::sites::{Amount, BLOCK, Tally};
use super::symbols::{Symbols, own_code};
use super::{CallSites, HeapProfile, State, Symbol};
use crate::heap::Bytes as Readable;
use crate::trace::untraced;

/// Bytes and blocks. Of a sampled profile they are estimates.
///
/// ```
/// use heapwright::trace::Count;
/// assert_eq!(Count { bytes: 3 << 20, blocks: 5 }.to_string(), "3 MiB in 5 blocks");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Bytes that were asked for.
    pub bytes: u64,
    /// Blocks that they are in.
    pub blocks: u64,
}

impl From<Amount> for Count {
    fn from(amount: Amount) -> Self {
        Count { bytes: amount.bytes, blocks: (amount.blocks + BLOCK / 2) / BLOCK }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = Readable(usize::try_from(self.bytes).unwrap_or(usize::MAX));
        write!(f, "{bytes} in {} block{}", self.blocks, if self.blocks == 1 { "" } else { "s" })
    }
}

/// A call site in a [`Profile`].
#[derive(Debug)]
pub(super) struct Record {
    pub(super) frames: Range<usize>,
    class: u32,
    pub(super) tally: Tally,
    /// What is live and was allocated since the moment that the snapshot is about.
    pub(super) fresh: Amount,
}

/// What a [`HeapProfile`] knew at one moment. It stays as it is while the program goes on.
///
/// `Display` gives a summary: the sums, and the ten call sites that had most at the peak.
///
/// ```
/// use heapwright::trace::{AnyGlobal, HeapProfile, Traced};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static HEAP: Traced<HeapProfile, AnyGlobal<System>> =
///     Traced::new(HeapProfile::new(), AnyGlobal::new(System));
///
/// let large = vec![1u8; 1 << 20];
/// let profile = HEAP.sink().profile();
/// drop(large);
/// assert!(profile.to_string().contains("peak"));
/// assert!(profile.sites()[0].at_peak().bytes >= 1 << 20);
/// ```
pub struct Profile {
    pub(super) records: Vec<Record>,
    pub(super) frames: Vec<usize>,
    pub(super) points: Vec<Bytes>,
    /// Microseconds that a point of the timeline stands for.
    pub(super) step: u64,
    pub(super) mean: u64,
    total: Amount,
    live: Amount,
    peak: Amount,
    pub(super) peak_time: u64,
    pub(super) end: u64,
    refused: u64,
    lost: u64,
    resolve: fn(usize) -> Vec<Symbol>,
    symbols: OnceLock<Symbols>,
}

/// How much room a snapshot needs.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Lens {
    sites: usize,
    frames: usize,
    points: usize,
}

impl Lens {
    const NONE: Self = Lens { sites: 0, frames: 0, points: 0 };

    fn of(state: &State) -> Self {
        Lens {
            sites: state.sites.all.len(),
            frames: state.sites.frames.len(),
            points: state.history.points.len(),
        }
    }

    fn fits(self, room: Lens) -> bool {
        self.sites <= room.sites && self.frames <= room.frames && self.points <= room.points
    }
}

impl<C: CallSites> HeapProfile<C> {
    /// What is known now. O(call sites), with the lock held while they are copied.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.profile_since(None)
    }

    /// The time now, as blocks note it.
    pub(super) fn now(&self) -> u64 {
        self.with(|state| state.clock.now()).unwrap_or(0)
    }

    /// The same; what is live and was allocated at `since` or later is counted by itself: O(live blocks).
    pub(super) fn profile_since(&self, since: Option<u64>) -> Profile {
        untraced(|| {
            let mut profile = Profile::empty(C::resolve, self.sampling_mean());
            let mut room = self.with(|state| Lens::of(state)).unwrap_or(Lens::NONE);
            // The last time with much more than there was.
            loop {
                let more =
                    Lens { sites: room.sites + 64, frames: room.frames + 2048, points: room.points + 64 };
                match self.copy_within(&mut profile, more, since) {
                    Ok(()) => return profile,
                    Err(Lens { sites, frames, points }) => {
                        room = Lens { sites: sites * 2, frames: frames * 2, points: points * 2 };
                    }
                }
            }
        })
    }

    /// Copies what is known into an empty profile, for which room is made without the lock: it may be too little by the time that it is there.
    ///
    /// # Errors
    /// The room that it would have taken.
    fn copy_within(&self, profile: &mut Profile, room: Lens, since: Option<u64>) -> Result<(), Lens> {
        profile.records.reserve(room.sites);
        profile.frames.reserve(room.frames);
        profile.points.reserve(room.points);
        let copied = self.with(|state| {
            let lens = Lens::of(state);
            if !lens.fits(room) {
                return Err(lens);
            }
            profile.copy(self, state, since);
            Ok(())
        });
        copied.unwrap_or(Ok(()))
    }
}

impl Profile {
    fn empty(resolve: fn(usize) -> Vec<Symbol>, mean: u64) -> Self {
        Profile {
            records: Vec::new(),
            frames: Vec::new(),
            points: Vec::new(),
            step: 1,
            mean,
            total: Amount::NONE,
            live: Amount::NONE,
            peak: Amount::NONE,
            peak_time: 0,
            end: 0,
            refused: 0,
            lost: 0,
            resolve,
            symbols: OnceLock::new(),
        }
    }

    /// Copies all of it, into vectors that have the room. Nothing is allocated here: the lock is held.
    fn copy<C: CallSites>(&mut self, profile: &HeapProfile<C>, state: &mut State, since: Option<u64>) {
        self.end = state.clock.now();
        let reached = state.history.reach(self.end);
        state.note(reached);
        let room = self.points.capacity().min(state.history.points.len());
        self.points.extend_from_slice(&state.history.points.as_slice()[..room]);
        self.step = state.history.step;
        self.frames.extend_from_slice(state.sites.frames.as_slice());
        let peaks = state.peaks;
        self.records.extend(state.sites.all.as_slice().iter().map(|site| {
            let mut tally = site.tally;
            tally.settle(peaks);
            Record { frames: site.frames(), class: site.class, tally, fresh: Amount::NONE }
        }));
        if let Some(since) = since {
            for live in state.blocks.iter().filter(|live| live.born >= since) {
                self.records[live.site as usize].fresh.add(profile.rate.weigh(live.size));
            }
        }
        (self.total, self.live, self.peak) = (state.total, state.live, state.peak);
        (self.peak_time, self.refused, self.lost) = (state.peak_time, state.refused, state.lost);
    }

    /// All that was ever allocated.
    #[must_use]
    pub fn total(&self) -> Count {
        self.total.into()
    }

    /// What is live.
    #[must_use]
    pub fn live(&self) -> Count {
        self.live.into()
    }

    /// What was live when that was most.
    #[must_use]
    pub fn peak(&self) -> Count {
        self.peak.into()
    }

    /// When that was, from the first event on.
    #[must_use]
    pub const fn peak_time(&self) -> Duration {
        Duration::from_micros(self.peak_time)
    }

    /// From the first event to the snapshot.
    #[must_use]
    pub const fn duration(&self) -> Duration {
        Duration::from_micros(self.end)
    }

    /// Bytes from one sample to the next, on average; 1 if every block was looked at.
    #[must_use]
    pub const fn sampling_mean(&self) -> u64 {
        self.mean
    }

    /// Requests that the heap refused.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Events that found no room in the profile's own tables: if there are any, the sums are too low.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// All call sites; those that had most bytes at the peak come first.
    #[must_use]
    pub fn sites(&self) -> Vec<CallSite<'_>> {
        self.sites_by(|tally| (tally.at_peak.bytes, tally.total.bytes))
    }

    /// All call sites; those with the highest key come first.
    fn sites_by<K: Ord>(&self, key: impl Fn(&Tally) -> K) -> Vec<CallSite<'_>> {
        let mut sites: Vec<_> =
            self.records.iter().map(|record| CallSite { profile: self, record }).collect();
        sites.sort_by_key(|site| core::cmp::Reverse(key(&site.record.tally)));
        sites
    }

    /// The names of all frames. Resolved once; this may take a while.
    pub(super) fn symbols(&self) -> &Symbols {
        self.symbols.get_or_init(|| untraced(|| Symbols::resolve(&self.frames, self.resolve)))
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile")
            .field("sites", &self.records.len())
            .field("total", &self.total())
            .field("live", &self.live())
            .field("peak", &self.peak())
            .finish_non_exhaustive()
    }
}

/// Call sites that a summary shows.
const SHOWN: usize = 10;

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |time: Duration| time.as_secs_f64();
        writeln!(f, "total  {}, in {:.3} s", self.total(), seconds(self.duration()))?;
        writeln!(f, "peak   {}, at {:.3} s", self.peak(), seconds(self.peak_time()))?;
        writeln!(f, "live   {}", self.live())?;
        if self.mean > 1 {
            writeln!(f, "estimated from one block in {} bytes", self.mean)?;
        }
        if self.lost > 0 {
            writeln!(f, "{} events found no room here, so the sums are too low", self.lost)?;
        }
        let sites = self.sites();
        writeln!(
            f,
            "{:>12} {:>12} {:>12}  call site, the largest at the peak first",
            "at peak", "live", "in all"
        )?;
        for site in sites.iter().take(SHOWN) {
            let bytes =
                |count: Count| Readable(usize::try_from(count.bytes).unwrap_or(usize::MAX)).to_string();
            let [peak, live, total] = [site.at_peak(), site.live(), site.total()].map(bytes);
            writeln!(f, "{peak:>12} {live:>12} {total:>12}  {}", site.name())?;
        }
        if sites.len() > SHOWN {
            writeln!(f, "{:>12} more", sites.len() - SHOWN)?;
        }
        Ok(())
    }
}

/// A place in the program that allocates, and what it has allocated.
///
/// ```
/// use heapwright::trace::{AnyGlobal, CallSite, HeapProfile, Traced};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static HEAP: Traced<HeapProfile, AnyGlobal<System>> =
///     Traced::new(HeapProfile::new(), AnyGlobal::new(System));
///
/// let block = Box::new([0u8; 5000]);
/// let profile = HEAP.sink().profile();
/// let sites = profile.sites();
/// let site = sites.iter().find(|site| site.name() == "blocks of 2049 to 8192 bytes").unwrap();
/// assert!(site.live().bytes >= 5000 && site.total().blocks >= 1);
/// assert_eq!(block.len(), 5000);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CallSite<'a> {
    profile: &'a Profile,
    record: &'a Record,
}

impl CallSite<'_> {
    /// All that was ever allocated here.
    #[must_use]
    pub fn total(&self) -> Count {
        self.record.tally.total.into()
    }

    /// What is live.
    #[must_use]
    pub fn live(&self) -> Count {
        self.record.tally.live.into()
    }

    /// What was live when that was most, of this call site.
    #[must_use]
    pub fn most(&self) -> Count {
        self.record.tally.most.into()
    }

    /// What was live when that was most, of the whole heap.
    #[must_use]
    pub fn at_peak(&self) -> Count {
        self.record.tally.at_peak.into()
    }

    /// The calls, from the innermost to the outermost; without those inside of the allocator, and those that start a thread. The first time it
    /// resolves the names of all call sites, which may take a while.
    #[must_use]
    pub fn stack(&self) -> Vec<Symbol> {
        let frames = &self.profile.frames[self.record.frames.clone()];
        self.profile.symbols().stack(frames).into_iter().map(|named| named.symbol.clone()).collect()
    }

    /// One line for it: the innermost call that is not in a library; without call sites, the sizes of its blocks.
    #[must_use]
    pub fn name(&self) -> String {
        self.profile.name(self.record)
    }
}

impl Profile {
    /// One line for a call site.
    pub(super) fn name(&self, record: &Record) -> String {
        let stack = self.symbols().stack(&self.frames[record.frames.clone()]);
        own_code(&stack).map_or_else(|| self.sizes(record).to_string(), ToString::to_string)
    }

    /// The sizes of a call site's blocks: what stands for its frames if it has none.
    pub(super) fn sizes(&self, record: &Record) -> SizesOf {
        SizesOf(record.class as usize)
    }
}

/// The sizes of a class, in words.
pub(super) struct SizesOf(usize);

impl fmt::Display for SizesOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let min = self.0.checked_sub(1).and_then(class_max).map_or(1, |max| max + 1);
        match class_max(self.0) {
            Some(max) => write!(f, "blocks of {min} to {max} bytes"),
            None => write!(f, "blocks of {min} bytes and more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use core::alloc::Layout;

    use super::*;
    use crate::trace::{Block, Sink};

    /// One call, for all that is allocated.
    struct One;

    impl CallSites for One {
        fn capture(frames: &mut [usize]) -> usize {
            frames[0] = 5;
            1
        }

        fn resolve(_: usize) -> Vec<Symbol> {
            Vec::new()
        }
    }

    fn told<C: CallSites>() -> HeapProfile<C> {
        let profile = HeapProfile::new();
        for (address, size) in [(0x1000, 24), (0x2000, 500)] {
            let layout = Layout::from_size_align(size, 8).unwrap();
            profile.allocated(&Block { address, layout, len: size });
        }
        profile
    }

    #[test]
    fn room_that_is_too_little_for_a_snapshot_is_not_filled() {
        let heap = told::<One>();
        let enough = Lens { sites: 1, frames: 1, points: 600 };
        let little = [
            Lens::NONE,
            Lens { sites: 0, ..enough },
            Lens { frames: 0, ..enough },
            Lens { points: 0, ..enough },
        ];
        for room in little {
            let mut profile = Profile::empty(One::resolve, 1);
            let outcome = heap.copy_within(&mut profile, room, None);
            assert!(outcome.is_err_and(|lens| (lens.sites, lens.frames) == (1, 1) && lens.points > 0));
            assert_eq!((profile.records.len(), profile.live()), (0, Count::default()));
        }
        let mut profile = Profile::empty(One::resolve, 1);
        assert!(heap.copy_within(&mut profile, enough, None).is_ok());
        assert_eq!((profile.records.len(), profile.live()), (1, Count { bytes: 524, blocks: 2 }));
    }

    #[test]
    fn a_summary_says_that_events_were_lost() {
        let mut profile = told::<One>().profile();
        assert!(!profile.to_string().contains("no room"));
        profile.lost = 7;
        let text = profile.to_string();
        assert!(text.contains("\n7 events found no room here, so the sums are too low\n"), "{text}");
    }
}
