//! A run: what all threads share, and the threads' beginnings and ends.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::block::Block;
use crate::heaps::{Left, Subject, all};
use crate::objects;
use crate::random::Random;
use crate::worker;

/// How often it is looked whether a thread has ended.
const LOOK: Duration = Duration::from_millis(20);
/// Things that went wrong that are kept.
const FINDINGS_MAX: usize = 20;

/// What a run is to be.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) time: Duration,
    pub(crate) threads: usize,
    pub(crate) seed: u64,
    pub(crate) planted: Option<Planted>,
}

/// A fault that the run makes itself, to show that it would be found.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Planted {
    /// A byte of a live block is changed.
    Byte,
    /// A block is never freed.
    Leak,
    /// An object of the cache is changed while nobody has it.
    Object,
    /// An object of the cache never comes back.
    LostObject,
}

/// The payload of every panic that a run makes itself.
pub(crate) struct Planned;

/// Panics, without a message.
pub(crate) fn panic_as_planned() -> ! {
    resume_unwind(Box::new(Planned))
}

/// What one heap has gone through.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) operations: AtomicU64,
    /// Requests that came to nothing, after which all was as before.
    pub(crate) refused: AtomicU64,
    /// Blocks that went from one thread to another.
    pub(crate) handed: AtomicU64,
    /// Bytes that were compared with what was written.
    pub(crate) checked: AtomicU64,
}

/// A heap under test, with what goes from thread to thread.
pub(crate) struct Place {
    pub(crate) subject: Subject,
    pub(crate) tally: Tally,
    market: Mutex<Vec<Block>>,
}

impl Place {
    pub(crate) fn market(&self) -> MutexGuard<'_, Vec<Block>> {
        self.market.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all threads of a run share.
pub(crate) struct Run {
    pub(crate) places: Vec<Place>,
    pub(crate) objects: Tally,
    planted: Mutex<Option<Planted>>,
    stop: AtomicBool,
    findings: Mutex<Vec<String>>,
    pub(crate) threads_begun: AtomicUsize,
    pub(crate) threads_panicked: AtomicUsize,
    pub(crate) panics_caught: AtomicUsize,
}

impl Run {
    fn new(plan: &Plan) -> Self {
        let place = |subject| Place { subject, tally: Tally::default(), market: Mutex::default() };
        Run {
            places: all().into_iter().map(place).collect(),
            objects: Tally::default(),
            planted: Mutex::new(plan.planted),
            stop: AtomicBool::new(false),
            findings: Mutex::default(),
            threads_begun: AtomicUsize::new(0),
            threads_panicked: AtomicUsize::new(0),
            panics_caught: AtomicUsize::new(0),
        }
    }

    /// Whether threads are to come to an end.
    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// Notes what is wrong, and ends the run.
    pub(crate) fn wrong(&self, what: String) {
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        if findings.len() < FINDINGS_MAX {
            findings.push(what);
        }
        self.stop.store(true, Relaxed);
    }

    /// Notes what is wrong with `name`, if anything is.
    pub(crate) fn expect(&self, name: &str, check: Result<(), String>) -> bool {
        let check = check.map_err(|what| self.wrong(format!("{name}: {what}")));
        check.is_ok()
    }

    /// What is wrong so far.
    pub(crate) fn findings(&self) -> Vec<String> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the fault of this kind is to be made, here and now: once.
    pub(crate) fn is_due(&self, planted: Planted) -> bool {
        let mut due = self.planted.lock().unwrap_or_else(PoisonError::into_inner);
        due.take_if(|due| *due == planted).is_some()
    }

    /// Runs `work`, which may panic as planned.
    pub(crate) fn catch<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(result) => Some(result),
            Err(payload) => {
                if payload.is::<Planned>() {
                    self.panics_caught.fetch_add(1, Relaxed);
                } else {
                    self.wrong(format!("a panic that nobody has planned: {}", message(&*payload)));
                }
                None
            }
        }
    }

    /// Frees what is on its way between threads, and gives back all that can be given back.
    fn settle(&self) {
        let mut random = Random::new(0);
        for place in &self.places {
            for block in std::mem::take(&mut *place.market()) {
                worker::free(self, place, block, &mut random);
            }
            place.subject.account.rest(true);
            self.expect(place.subject.name, place.subject.account.verify(true));
            let left = place.subject.account.left();
            if left != Left::default() {
                self.wrong(format!("{}: at the end {left} are live", place.subject.name));
            }
        }
        objects::settle(self);
    }
}

/// What a panic says.
fn message(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// Does what `plan` says; `look` is called now and then, with the time that has passed.
pub(crate) fn run(plan: &Plan, mut look: impl FnMut(&Run, Duration)) -> Run {
    let run = Run::new(plan);
    let start = Instant::now();
    thread::scope(|scope| {
        let begin = |slot: usize| {
            let number = run.threads_begun.fetch_add(1, Relaxed) as u64;
            let seed = plan.seed.wrapping_mul(1 << 16).wrapping_add(number).wrapping_mul(64) + slot as u64;
            let run = &run;
            scope.spawn(move || worker::work(run, Random::new(seed)))
        };
        let mut threads: Vec<_> = (0..plan.threads).map(|slot| Some(begin(slot))).collect();
        loop {
            thread::sleep(LOOK.min(plan.time.saturating_sub(start.elapsed())));
            if start.elapsed() >= plan.time {
                run.stop.store(true, Relaxed);
            }
            for (slot, place) in threads.iter_mut().enumerate() {
                let is_over = run.is_over();
                let Some(thread) = place.take_if(|thread| is_over || thread.is_finished()) else { continue };
                // To join waits until all that a thread does at its end is done.
                if run.catch(|| thread.join().unwrap_or_else(|payload| resume_unwind(payload))).is_none() {
                    run.threads_panicked.fetch_add(1, Relaxed);
                }
                *place = if run.is_over() { None } else { Some(begin(slot)) };
            }
            look(&run, start.elapsed());
            if threads.iter().all(Option::is_none) {
                break;
            }
        }
    });
    run.settle();
    run
}
