//! Two threads at work in one pool.

use std::hint;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::field;
use crate::mix::Rng;
use crate::pool::{Objects, Shared, VisitShared};
use crate::race::{Column, Lap, Race, Section};

pub(crate) const LOCAL: Section = Section {
    name: "local",
    what: "two threads, each of which replaces objects in a set of its own",
    note: "nanoseconds on the wall per free and allocation of each thread",
    columns: |_| vec![column(Play::Local)],
};

pub(crate) const EXCHANGE: Section = Section {
    name: "exchange",
    what: "two threads that allocate objects, swap them with those in shared slots, and free what they find",
    note: "nanoseconds on the wall per allocation and free of each thread",
    columns: |_| vec![column(Play::Exchange(1000)), column(Play::Exchange(50_000))],
};

pub(crate) const PRODUCER: Section = Section {
    name: "producer",
    what: "one thread allocates, the other frees, with a ring between them",
    note: "nanoseconds on the wall per object",
    columns: |_| vec![column(Play::Producer)],
};

/// What the two threads do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Play {
    Local,
    /// In so many slots.
    Exchange(usize),
    Producer,
}

/// Operations of each thread in a lap.
const OPS: usize = 200_000;
/// Objects of each thread in `local`.
const LOCAL_LIVE: usize = 1000;
/// Objects that fit into the ring.
const RING: usize = 1024;

fn column(play: Play) -> Column {
    let (section, label) = match play {
        Play::Local => (LOCAL.name, format!("{LOCAL_LIVE} each")),
        Play::Exchange(slots) => (EXCHANGE.name, format!("{slots} slots")),
        Play::Producer => (PRODUCER.name, format!("ring of {RING}")),
    };
    Column {
        table: "64 B, 2 threads".to_string(),
        label,
        heavy: false,
        start: Box::new(move || {
            let mut start = Start { play, racers: Vec::new() };
            field::visit_shared(&mut start);
            start.racers.extend(field::elsewhere(section, &column(play)));
            start.racers
        }),
    }
}

struct Start {
    play: Play,
    racers: Vec<Box<dyn Race>>,
}

impl VisitShared for Start {
    fn visit<S: Shared>(&mut self) {
        let slots = match self.play {
            Play::Local => 0,
            Play::Exchange(slots) => slots,
            Play::Producer => RING,
        };
        let slots = (0..slots).map(|_| AtomicPtr::new(ptr::null_mut())).collect();
        self.racers.push(Box::new(Pairs { pool: S::make(), play: self.play, slots, laps: 0 }));
    }
}

struct Pairs<S: Shared> {
    pool: S,
    play: Play,
    /// Objects between the threads.
    slots: Vec<AtomicPtr<u8>>,
    laps: u64,
}

impl<S: Shared> Race for Pairs<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn lap(&mut self) -> Lap {
        self.laps += 1;
        let Pairs { pool, play, slots, laps } = &*self;
        let (gate, ring) = (Gate::default(), Ring { slots, taken: Line::default(), put: Line::default() });
        let run = |thread: usize| {
            let mut handle = pool.handle();
            let mut rng = Rng::new(2 * laps + thread as u64);
            match (play, thread) {
                (Play::Local, _) => local(&mut handle, &mut rng, &gate),
                (Play::Exchange(_), _) => exchange(&mut handle, slots, &mut rng, &gate),
                (Play::Producer, 0) => produce(&mut handle, &ring, &gate),
                (Play::Producer, _) => consume(&mut handle, &ring, &gate),
            }
        };
        let (first, second) = thread::scope(|scope| {
            let other = scope.spawn(|| run(1));
            (run(0), other.join().unwrap_or(Duration::ZERO))
        });
        Lap { ops: OPS, time: first.max(second) }
    }
}

impl<S: Shared> Drop for Pairs<S> {
    fn drop(&mut self) {
        let mut handle = self.pool.handle();
        for slot in &mut self.slots {
            let left = *slot.get_mut();
            if !left.is_null() {
                // SAFETY: the object is live and not used any more.
                unsafe { handle.free(left) };
            }
        }
    }
}

/// Replaces random objects of this thread's own.
fn local(handle: &mut impl Objects, rng: &mut Rng, gate: &Gate) -> Duration {
    let mut live: Vec<*mut u8> = (0..LOCAL_LIVE).map(|_| handle.alloc()).collect();
    let time = gate.timed(|| {
        for number in 0..OPS {
            let slot = &mut live[rng.below(LOCAL_LIVE)];
            // SAFETY: the object is live and not used any more.
            unsafe { handle.free(*slot) };
            *slot = hint::black_box(handle.alloc());
            mark(*slot, number);
        }
    });
    for object in live {
        // SAFETY: the object is live and not used any more.
        unsafe { handle.free(object) };
    }
    gate.meet();
    time
}

/// Puts new objects into random slots and frees those that were there.
fn exchange(handle: &mut impl Objects, slots: &[AtomicPtr<u8>], rng: &mut Rng, gate: &Gate) -> Duration {
    let time = gate.timed(|| {
        for number in 0..OPS {
            let object = handle.alloc();
            mark(object, number);
            let found = slots[rng.below(slots.len())].swap(object, Ordering::AcqRel);
            if !found.is_null() {
                // SAFETY: the object is live, and whoever takes it from the slot has it alone.
                unsafe { handle.free(found) };
            }
        }
    });
    gate.meet();
    time
}

/// The ring of the producer and the consumer.
struct Ring<'a> {
    slots: &'a [AtomicPtr<u8>],
    put: Line,
    taken: Line,
}

/// A counter that no other shares a line with.
#[derive(Default)]
#[repr(align(128))]
struct Line(AtomicUsize);

fn produce(handle: &mut impl Objects, ring: &Ring<'_>, gate: &Gate) -> Duration {
    let time = gate.timed(|| {
        let mut taken = 0;
        for number in 0..OPS {
            let object = handle.alloc();
            mark(object, number);
            while number - taken == ring.slots.len() {
                taken = wait_for(|| ring.taken.0.load(Ordering::Acquire), |now| now != taken);
            }
            ring.slots[number % RING].store(object, Ordering::Relaxed);
            ring.put.0.store(number + 1, Ordering::Release);
        }
    });
    gate.meet();
    time
}

fn consume(handle: &mut impl Objects, ring: &Ring<'_>, gate: &Gate) -> Duration {
    let time = gate.timed(|| {
        let mut put = 0;
        for number in 0..OPS {
            if number == put {
                put = wait_for(|| ring.put.0.load(Ordering::Acquire), |now| now != put);
            }
            let object = ring.slots[number % RING].load(Ordering::Relaxed);
            // SAFETY: as in `mark`.
            let word = unsafe { &*object.cast::<AtomicUsize>() };
            hint::black_box(word.load(Ordering::Relaxed));
            ring.taken.0.store(number + 1, Ordering::Release);
            // SAFETY: the object is live, and whoever takes it from the ring has it alone.
            unsafe { handle.free(object) };
        }
    });
    ring.slots.iter().for_each(|slot| slot.store(ptr::null_mut(), Ordering::Relaxed));
    gate.meet();
    time
}

/// Uses the object. By an atomic, since the objects of the floor overlap.
#[inline(always)]
fn mark(object: *mut u8, word: usize) {
    // SAFETY: objects are aligned to 8 bytes, of 16 at least, and in live memory.
    let first = unsafe { &*object.cast::<AtomicUsize>() };
    first.store(word, Ordering::Relaxed);
}

/// Spins, and gives way if that takes long: the other thread may be waiting for this CPU.
fn wait_for(value: impl Fn() -> usize, good: impl Fn(usize) -> bool) -> usize {
    let mut spins = 0;
    loop {
        let now = value();
        if good(now) {
            return now;
        }
        spins += 1;
        if spins % 1024 == 0 {
            thread::yield_now();
        } else {
            hint::spin_loop();
        }
    }
}

/// Where the two threads meet.
#[derive(Default)]
struct Gate {
    arrivals: AtomicUsize,
}

impl Gate {
    /// Waits until both threads have come here as often.
    fn meet(&self) {
        let arrivals = self.arrivals.fetch_add(1, Ordering::AcqRel) + 1;
        let both = arrivals.next_multiple_of(2);
        wait_for(|| self.arrivals.load(Ordering::Acquire), |now| now >= both);
    }

    /// How long this thread takes from when both have come.
    fn timed(&self, work: impl FnOnce()) -> Duration {
        self.meet();
        let start = Instant::now();
        work();
        start.elapsed()
    }
}
