//! One run of a model: which of loom's atomics stands for which of the library's.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use loom::sync::atomic::AtomicU64;

/// The run, if there is one: models run one after the other, all of their threads on one thread of the OS.
static RUN: Mutex<Option<Run>> = Mutex::new(None);

#[derive(Default)]
struct Run {
    /// Made before any thread was started, and zero.
    spare: Vec<Arc<AtomicU64>>,
    /// By address.
    known: BTreeMap<usize, Known>,
    /// Memory that has gone back.
    gone: Vec<Range<usize>>,
}

/// What stands for an atomic.
struct Known {
    /// Its value less `base`: so one that is zero stands for an atomic with any value, as if it had been there before all threads.
    atomic: Arc<AtomicU64>,
    base: u64,
    /// What was written last, which stands in the library's atomic too. Where it does not, that is another atomic, which came to lie there.
    last: u64,
}

fn lock() -> MutexGuard<'static, Option<Run>> {
    RUN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does something with the run, if there is one.
fn with<R>(work: impl FnOnce(&mut Run) -> R) -> Option<R> {
    lock().as_mut().map(work)
}

pub(crate) fn is_running() -> bool {
    lock().is_some()
}

/// The runs of one model.
#[derive(Debug, Default)]
pub struct Runs {
    /// The most atomics that one of them had so far; 0 before the first.
    atomics: AtomicUsize,
}

impl Runs {
    /// One run, in a model of loom's, with the library's atomics as loom's. They are as if they had been made when the run began, but for those of [`Memory`].
    pub fn run(&self, work: impl FnOnce()) {
        struct End;
        impl Drop for End {
            fn drop(&mut self) {
                *lock() = None;
            }
        }
        let most = self.atomics.load(Ordering::Relaxed);
        // Runs differ a little.
        let made = if most == 0 { 4096 } else { 2 * most + 16 };
        let spare = (0..made).map(|_| Arc::new(AtomicU64::new(0))).collect();
        *lock() = Some(Run { spare, ..Run::default() });
        let _end = End;
        work();
        if let Some(left) = with(|run| run.spare.len()) {
            self.atomics.fetch_max((made - left).max(1), Ordering::Relaxed);
        }
    }
}

/// What stands for the atomic at an address, whose plain value is this, and its base; `None` if no model runs.
pub(crate) fn known(address: usize, plain: u64) -> Option<(Arc<AtomicU64>, u64)> {
    let found = with(|run| {
        if run.gone.iter().any(|gone| gone.contains(&address)) {
            return Err("an atomic in memory that has gone back");
        }
        if let Some(known) = run.known.get(&address).filter(|known| known.last == plain) {
            return Ok((Arc::clone(&known.atomic), known.base));
        }
        let atomic = run.spare.pop().ok_or("the model has more atomics than in its first runs")?;
        run.known.insert(address, Known { atomic: Arc::clone(&atomic), base: plain, last: plain });
        Ok((atomic, plain))
    })?;
    // The run's lock is free here.
    Some(found.unwrap_or_else(|fault| panic!("{fault}")))
}

/// Notes what was written to the atomic at an address.
pub(crate) fn written(address: usize, value: u64) {
    with(|run| {
        if let Some(known) = run.known.get_mut(&address) {
            known.last = value;
        }
    });
}

/// Memory that comes and goes while a model runs, by its addresses.
#[derive(Debug)]
pub struct Memory;

impl Memory {
    /// Memory is handed out, all zero. The atomics at these addresses in it are made by the thread that calls: loom sees whoever uses one of them without having
    /// seen that it was made.
    pub fn acquired(range: &Range<usize>, atomics: impl IntoIterator<Item = usize>) {
        let new = || Known { atomic: Arc::new(AtomicU64::new(0)), base: 0, last: 0 };
        let made: Vec<_> = atomics.into_iter().map(|address| (address, new())).collect();
        with(|run| {
            run.gone.retain(|gone| gone.end <= range.start || range.end <= gone.start);
            run.known.retain(|address, _| !range.contains(address));
            run.known.extend(made);
        });
    }

    /// Memory goes back: loom sees whoever has used an atomic there without having come before this, and nobody may use one there again.
    pub fn released(range: Range<usize>) {
        let ended = with(|run| {
            let addresses: Vec<_> = run.known.range(range.clone()).map(|(address, _)| *address).collect();
            run.gone.push(range);
            addresses.iter().filter_map(|address| run.known.remove(address)).collect::<Vec<_>>()
        });
        for known in ended.into_iter().flatten() {
            if let Some(mut atomic) = Arc::into_inner(known.atomic) {
                atomic.with_mut(|_| ());
            }
        }
    }
}
