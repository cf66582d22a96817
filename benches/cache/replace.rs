//! Frees a random live object and allocates one.

use std::hint::black_box;
use std::mem;

use crate::clock;
use crate::field;
use crate::mix::Rng;
use crate::pool::{Kind, Store, Visit};
use crate::race::{Column, Lap, Race, Section};

pub(crate) const SECTION: Section = Section {
    name: "replace",
    what: "frees a random live object and allocates one",
    note: "nanoseconds per free and allocation, of 64-byte objects, after as many replacements as there are objects",
    columns,
};

/// Replacements per lap.
const REPLACEMENTS: usize = 8192;

fn columns(quick: bool) -> Vec<Column> {
    let lives = [1000, 20_000, 200_000, 1_000_000].into_iter();
    lives.filter(|&live| !quick || live <= 20_000).map(column).collect()
}

fn column(live: usize) -> Column {
    Column {
        table: "64 B".to_string(),
        label: format!("{live} live"),
        heavy: false,
        start: Box::new(move || {
            let mut start = Start { live, racers: Vec::new() };
            field::visit_all::<64>(&mut start);
            start.racers.extend(field::elsewhere(SECTION.name, &column(live)));
            start.racers
        }),
    }
}

struct Start {
    live: usize,
    racers: Vec<Box<dyn Race>>,
}

impl Visit for Start {
    fn visit<S: Store>(&mut self) {
        if matches!(S::KIND, Kind::Ordinary | Kind::Floor) && self.live <= S::LIVE_MAX {
            self.racers.push(Box::new(Replace::<S>::new(self.live)));
        }
    }
}

struct Replace<S: Store> {
    store: S,
    live: Vec<S::Key>,
    rng: Rng,
}

impl<S: Store> Replace<S> {
    fn new(count: usize) -> Self {
        let mut store = S::make();
        let live = (0..count).map(|number| store.alloc(number)).collect();
        let mut replace = Replace { store, live, rng: Rng::new(6) };
        replace.replace(count);
        replace
    }

    #[inline(never)]
    fn replace(&mut self, count: usize) {
        let Replace { store, live, rng } = self;
        for number in 0..count {
            let index = rng.below(live.len());
            // SAFETY: the index is below the length.
            let slot = unsafe { live.get_unchecked_mut(index) };
            // SAFETY: what is read is written over below, and nothing in between unwinds.
            let old = unsafe { std::ptr::read(slot) };
            // SAFETY: the object is live and not used any more.
            unsafe { store.free(old) };
            mem::forget(mem::replace(slot, black_box(store.alloc(number))));
        }
    }
}

impl<S: Store> Race for Replace<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn lap(&mut self) -> Lap {
        let start = clock::now();
        self.replace(REPLACEMENTS);
        Lap { ops: REPLACEMENTS, time: clock::now() - start }
    }
}

impl<S: Store> Drop for Replace<S> {
    fn drop(&mut self) {
        for key in self.live.drain(..) {
            // SAFETY: the object is live and not used any more.
            unsafe { self.store.free(key) };
        }
    }
}
