//! A profile of a heap: who has allocated how much, when it was most, and what is still there.

mod call_sites;
mod dhat;
mod history;
mod leaks;
mod live;
mod pprof;
mod report;
mod sampling;
mod sites;
pub(super) mod symbols;
mod timeline;

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;

use self::history::{History, class};
use self::live::{Live, LiveBlocks};
use self::sampling::{Filter, Rate};
use self::sites::{Amount, Sites};
use super::{Block, Sink};
use crate::AllocError;
use crate::lock::{Lock, YieldLock};

#[cfg(feature = "trace-backtrace")]
pub use self::call_sites::Backtraces;
pub use self::call_sites::{BySize, CallSites, Symbol};
pub use self::leaks::LeakReport;
pub use self::report::{CallSite, Count, Profile};
pub use self::timeline::TimelineSvg;

/// Frames that are asked of a [`CallSites`] at most.
const FRAMES_MAX: usize = 64;

/// Who has allocated how much in a traced heap, when it was most, and what is still there: the heap profiler. Feature `std`.
///
/// Choose it to find out what a program's memory is for, and what it leaks. [`profile`](HeapProfile::profile) gives a snapshot at any time, to be
/// written for DHAT's viewer, for pprof, or as an SVG; [`report_leaks`](HeapProfile::report_leaks) writes what is live at the end of `main`.
///
/// Call sites come from `C`: `Backtraces` with the feature `trace-backtrace`, or [`BySize`], none.
///
/// ```
/// use heapwright::trace::{AnyGlobal, HeapProfile, Traced};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static HEAP: Traced<HeapProfile, AnyGlobal<System>> =
///     Traced::new(HeapProfile::new(), AnyGlobal::new(System));
///
/// let before = HEAP.sink().profile();
/// let lines: Vec<String> = (0..100).map(|n| format!("line {n}")).collect();
/// let profile = HEAP.sink().profile();
/// assert!(profile.live().blocks >= before.live().blocks + 101);
/// assert!(profile.peak().bytes >= profile.live().bytes);
///
/// let mut dhat = Vec::new();
/// profile.write_dhat(&mut dhat)?;
/// let mut pprof = Vec::new();
/// profile.write_pprof(&mut pprof)?;
/// let svg = profile.timeline_svg("a hundred lines").to_string();
/// # drop(lines);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Every block, or some
/// [`new`](HeapProfile::new) looks at every block: exact, and slow, one lock and two look-ups in tables for each block that comes or goes, and
/// the walk over the stack. [`sampled`](HeapProfile::sampled) looks at one block in so many bytes, by a Poisson process: a block that it does
/// not look at costs some instructions and no lock, so that it may stay on for good. 512 KiB is what other profilers take; all sums are
/// estimates then, which come closer the larger they are, and small leaks are found when they have grown.
///
/// # Memory
/// Its tables are in pages of their own, from the OS: 32 bytes per live block that it looks at, in a table that is up to 3/4 full, and 170
/// bytes and a stack per call site; 32 KiB for the timeline; and 4 KiB in the value. If the OS has no more pages, it goes on without what
/// did not fit, and [`Profile::lost`] says so.
///
/// # Forks
/// A process that was forked while another thread was in the profile must not allocate before `exec`, as nobody will unlock it there. That is
/// what POSIX asks of it anyway.
///
/// The idea is that of DHAT (Nicholas Nethercote) and of tcmalloc's sampling.
pub struct HeapProfile<C = BySize> {
    rate: Rate,
    filter: Filter,
    lock: YieldLock,
    /// Touched under the lock only.
    state: UnsafeCell<State>,
    call_sites: PhantomData<fn() -> C>,
}

// SAFETY: the state is touched under the lock only (L1, L2).
unsafe impl<C> Sync for HeapProfile<C> {}

/// What is known so far.
#[derive(Debug)]
struct State {
    clock: ticks::Ticks,
    sites: Sites,
    blocks: LiveBlocks,
    history: History,
    total: Amount,
    live: Amount,
    peak: Amount,
    /// How often there were more live bytes than ever before.
    peaks: u64,
    /// When it was last.
    peak_time: u64,
    refused: u64,
    lost: u64,
}

impl State {
    const fn new() -> Self {
        State {
            clock: ticks::Ticks::new(),
            sites: Sites::new(),
            blocks: LiveBlocks::new(),
            history: History::new(),
            total: Amount::NONE,
            live: Amount::NONE,
            peak: Amount::NONE,
            peaks: 0,
            peak_time: 0,
            refused: 0,
            lost: 0,
        }
    }

    /// Counts an event that could not be kept.
    fn note(&mut self, outcome: Result<(), AllocError>) {
        self.lost += u64::from(outcome.is_err());
    }

    fn come(&mut self, rate: Rate, frames: &[usize], address: usize, size: usize) -> Result<(), AllocError> {
        let born = self.clock.now();
        let site = self.sites.number(frames, class(size) as u32)?;
        if let Some(before) = self.blocks.insert(Live { address, size, born, site })? {
            // It went unseen, since its free was not traced.
            self.gone(rate, before, born);
        }
        let amount = rate.weigh(size);
        self.sites.tally(site).come(amount, born, self.peaks);
        self.total.add(amount);
        self.live.add(amount);
        if self.live.bytes > self.peak.bytes {
            (self.peak, self.peak_time) = (self.live, born);
            self.peaks += 1;
        }
        self.history.change(born, class(size), amount.bytes, true)
    }

    /// Counts a block as gone that is in the table no longer.
    fn gone(&mut self, rate: Rate, live: Live, time: u64) {
        let amount = rate.weigh(live.size);
        self.sites.tally(live.site).go(amount, live.born, time, self.peaks);
        self.live.remove(amount);
        let outcome = self.history.change(time, class(live.size), amount.bytes, false);
        self.note(outcome);
    }
}

impl<C: CallSites> HeapProfile<C> {
    /// A profile that looks at every block.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_rate(Rate::EVERY_BLOCK)
    }

    /// A profile that looks at one block in `mean_bytes` bytes or a little more, on average; rounded up to a power of two, 4 GiB at most.
    ///
    /// ```
    /// use heapwright::trace::HeapProfile;
    /// static PROFILE: HeapProfile = HeapProfile::sampled(500_000);
    /// assert_eq!(PROFILE.sampling_mean(), 1 << 19);
    /// ```
    #[must_use]
    pub const fn sampled(mean_bytes: usize) -> Self {
        Self::with_rate(Rate::one_in(mean_bytes))
    }

    const fn with_rate(rate: Rate) -> Self {
        HeapProfile {
            rate,
            filter: Filter::new(),
            lock: YieldLock::INIT,
            state: UnsafeCell::new(State::new()),
            call_sites: PhantomData,
        }
    }

    /// Bytes from one sample to the next, on average; 1 if it looks at every block.
    #[must_use]
    pub const fn sampling_mean(&self) -> u64 {
        self.rate.mean()
    }

    /// Runs `work` on the state, under the lock. It does not unwind, nor does it allocate from anything but the OS's pages.
    fn with<R>(&self, work: impl FnOnce(&mut State) -> R) -> Option<R> {
        self.lock.with(|| {
            // SAFETY: the lock gives exclusion (L1).
            work(unsafe { &mut *self.state.get() })
        })
    }

    /// Takes a block out of the table, if it is there, for `work`.
    fn take<R>(&self, address: usize, work: impl FnOnce(&mut State, Live) -> R) -> Option<R> {
        if !self.rate.is_every_block() && !self.filter.may_have(address) {
            return None;
        }
        let found = self.with(|state| state.blocks.remove(address).map(|live| work(state, live)));
        let found = found.flatten();
        if found.is_some() && !self.rate.is_every_block() {
            self.filter.remove(address);
        }
        found
    }
}

impl<C: CallSites> Sink for HeapProfile<C> {
    /// What was known of the block.
    type Resizing = Option<ResizingBlock>;

    fn allocated(&self, block: &Block) {
        let size = block.layout.size();
        if !self.rate.hits(size) {
            return;
        }
        let mut frames = [0; FRAMES_MAX];
        let count = C::capture(&mut frames).min(FRAMES_MAX);
        if !self.rate.is_every_block() {
            self.filter.insert(block.address);
        }
        self.with(|state| {
            let outcome = state.come(self.rate, &frames[..count], block.address, size);
            state.note(outcome);
        });
    }

    fn freeing(&self, block: &Block) {
        self.take(block.address, |state, live| {
            let time = state.clock.now();
            state.gone(self.rate, live, time);
        });
    }

    /// The block counts as live until the resize is over.
    fn resizing(&self, block: &Block, _: Layout) -> Self::Resizing {
        self.take(block.address, |_, live| ResizingBlock(live))
    }

    /// One block that has gone, and one that has come.
    fn resized(&self, begun: Self::Resizing, _: &Block, now: Result<&Block, AllocError>) {
        let Ok(block) = now else {
            if let Some(ResizingBlock(live)) = begun {
                self.filter.insert(live.address);
                self.with(|state| {
                    let outcome = state.blocks.insert(live).map(drop);
                    state.note(outcome);
                });
            }
            return;
        };
        if let Some(ResizingBlock(live)) = begun {
            self.with(|state| {
                let time = state.clock.now();
                state.gone(self.rate, live, time);
            });
        }
        self.allocated(block);
    }

    fn refused(&self, _: Layout) {
        self.with(|state| state.refused += 1);
    }
}

/// What a [`HeapProfile`] keeps of a block while it is resized.
///
/// ```
/// use heapwright::trace::{HeapProfile, Sink};
/// fn _same(begun: <HeapProfile as Sink>::Resizing) -> Option<heapwright::trace::ResizingBlock> {
///     begun
/// }
/// ```
#[derive(Debug)]
pub struct ResizingBlock(Live);

impl<C: CallSites> Default for HeapProfile<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C> fmt::Debug for HeapProfile<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeapProfile").field("rate", &self.rate).finish_non_exhaustive()
    }
}

mod ticks {
    //! Time, as a profile counts it.

    /// Microseconds since the first question; where there is no clock, the number of questions.
    #[derive(Debug)]
    pub(super) struct Ticks {
        #[cfg(not(all(target_arch = "wasm32", target_os = "unknown")))]
        start: Option<std::time::Instant>,
        #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
        count: u64,
    }

    #[cfg(not(all(target_arch = "wasm32", target_os = "unknown")))]
    impl Ticks {
        pub(super) const fn new() -> Self {
            Ticks { start: None }
        }

        pub(super) fn now(&mut self) -> u64 {
            let now = std::time::Instant::now();
            let start = *self.start.get_or_insert(now);
            u64::try_from(now.saturating_duration_since(start).as_micros()).unwrap_or(u64::MAX)
        }
    }

    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    impl Ticks {
        pub(super) const fn new() -> Self {
            Ticks { count: 0 }
        }

        pub(super) fn now(&mut self) -> u64 {
            self.count += 1;
            self.count
        }
    }
}
