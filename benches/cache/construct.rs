//! Objects that are worth keeping constructed: reused by a cache, or built and dropped each time.

use std::hint::black_box;
use std::sync::Mutex;

use allocator_api2_04::alloc::Allocator;
use allocator_api2_04::vec::Vec as VecIn;

use crate::clock;
use crate::field;
use crate::mix::Rng;
use crate::race::{Column, Lap, Race, Section};

pub(crate) const SECTION: Section = Section {
    name: "construct",
    what: "gets an object with a buffer of 256 bytes and a mutex, writes a byte, and gives it back",
    note: "nanoseconds per object; unused: one at a time, nothing written; pair: one at a time; replace: at random in a set of 1000; a cache keeps objects constructed, \
           an allocator\nbuilds and drops each",
    columns,
};

/// Bytes of the buffer.
const CAPACITY: usize = 256;

/// The object.
pub(crate) struct Session<A: Allocator> {
    buffer: VecIn<u8, A>,
    state: Mutex<u64>,
}

impl<A: Allocator> Session<A> {
    #[inline]
    pub(crate) fn new_in(allocator: A) -> Self {
        Session { buffer: VecIn::with_capacity_in(CAPACITY, allocator), state: Mutex::new(1) }
    }

    #[inline]
    pub(crate) fn write(&mut self, byte: u8) {
        if let Ok(state) = self.state.get_mut() {
            *state += 1;
        }
        if let Some(place) = self.buffer.spare_capacity_mut().first_mut() {
            place.write(byte);
            let len = self.buffer.len() + 1;
            // SAFETY: one more byte is written, within the capacity.
            unsafe { self.buffer.set_len(len) };
        }
    }

    /// As new, but for what it costs to be made.
    #[inline]
    pub(crate) fn reset(&mut self) {
        self.buffer.clear();
    }
}

impl<A: Allocator + Default> Default for Session<A> {
    fn default() -> Self {
        Session::new_in(A::default())
    }
}

/// Where sessions come from.
pub(crate) trait Sessions: 'static {
    /// As in the tables.
    const NAME: &'static str;
    type Handle;

    fn make() -> Self;

    /// A session whose buffer is empty and has its capacity.
    fn take(&mut self) -> Self::Handle;

    fn write(handle: &mut Self::Handle, byte: u8);

    fn give(&mut self, handle: Self::Handle);
}

/// Something to be done with a kind of these.
pub(crate) trait VisitSessions {
    fn visit<S: Sessions>(&mut self);
}

/// Live sessions in the columns; with none, a session is not used either.
const LIVES: [usize; 3] = [0, 1, 1000];
/// Sessions per lap.
const REPLACEMENTS: usize = 4096;

fn columns(_: bool) -> Vec<Column> {
    LIVES.into_iter().map(column).collect()
}

fn column(live: usize) -> Column {
    Column {
        table: "256 B buffer".to_string(),
        label: ["unused", "pair", "replace"][live.min(2)].to_string(),
        heavy: false,
        start: Box::new(move || {
            let mut start = Start { live, racers: Vec::new() };
            field::visit_sessions(&mut start);
            start.racers.extend(field::elsewhere(SECTION.name, &column(live)));
            start.racers
        }),
    }
}

struct Start {
    live: usize,
    racers: Vec<Box<dyn Race>>,
}

impl VisitSessions for Start {
    fn visit<S: Sessions>(&mut self) {
        let mut sessions = S::make();
        if self.live == 0 {
            return self.racers.push(Box::new(Unused { sessions }));
        }
        let live = (0..self.live).map(|_| sessions.take()).collect();
        self.racers.push(Box::new(Use { sessions, live, rng: Rng::new(9) }));
    }
}

struct Unused<S: Sessions> {
    sessions: S,
}

impl<S: Sessions> Race for Unused<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    #[inline(never)]
    fn lap(&mut self) -> Lap {
        let sessions = &mut self.sessions;
        let start = clock::now();
        for _ in 0..REPLACEMENTS {
            let mut session = sessions.take();
            black_box(&mut session);
            sessions.give(session);
        }
        Lap { ops: REPLACEMENTS, time: clock::now() - start }
    }
}

struct Use<S: Sessions> {
    sessions: S,
    live: Vec<S::Handle>,
    rng: Rng,
}

impl<S: Sessions> Race for Use<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    #[inline(never)]
    fn lap(&mut self) -> Lap {
        let Use { sessions, live, rng } = self;
        let start = clock::now();
        for number in 0..REPLACEMENTS {
            let old = live.swap_remove(rng.below(live.len()));
            sessions.give(black_box(old));
            let mut new = sessions.take();
            S::write(&mut new, black_box(number as u8));
            live.push(new);
        }
        Lap { ops: REPLACEMENTS, time: clock::now() - start }
    }
}

impl<S: Sessions> Drop for Use<S> {
    fn drop(&mut self) {
        for session in self.live.drain(..) {
            self.sessions.give(session);
        }
    }
}
