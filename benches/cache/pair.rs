//! Allocates an object and frees it.

use std::hint::black_box;

use crate::clock;
use crate::field;
use crate::pool::{Kind, Store, Visit};
use crate::race::{Column, Lap, Race, Section};

pub(crate) const SECTION: Section = Section {
    name: "pair",
    what: "allocates an object and frees it",
    note: "nanoseconds per allocation and free; empty: no other object is live; 100 live: between those of a hundred others",
    columns,
};

/// Pairs per lap.
const PAIRS: usize = 4096;

fn columns(_: bool) -> Vec<Column> {
    let mut columns = Vec::new();
    for live in [0, 100] {
        columns.extend([column::<16>(live), column::<64>(live), column::<256>(live), column::<1024>(live)]);
    }
    columns
}

fn column<const SIZE: usize>(live: usize) -> Column {
    Column {
        table: if live == 0 { "empty".to_string() } else { format!("{live} live") },
        label: format!("{SIZE} B"),
        heavy: false,
        start: Box::new(move || {
            let mut start = Start { live, racers: Vec::new() };
            field::visit_all::<SIZE>(&mut start);
            start.racers.extend(field::elsewhere(SECTION.name, &column::<SIZE>(live)));
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
        if matches!(S::KIND, Kind::Ordinary | Kind::ListFloor) {
            self.racers.push(Box::new(Pair::<S>::new(self.live)));
        }
    }
}

pub(crate) struct Pair<S: Store> {
    store: S,
    live: Vec<S::Key>,
}

impl<S: Store> Pair<S> {
    pub(crate) fn new(count: usize) -> Self {
        let mut store = S::make();
        // Every other one of twice as many.
        let mut live = Vec::new();
        for number in 0..count {
            let between = store.alloc(number);
            live.push(store.alloc(number));
            // SAFETY: the object is live and not used any more.
            unsafe { store.free(between) };
        }
        Pair { store, live }
    }
}

impl<S: Store> Race for Pair<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    #[inline(never)]
    fn lap(&mut self) -> Lap {
        let start = clock::now();
        for number in 0..PAIRS {
            let key = black_box(self.store.alloc(number));
            // SAFETY: the object is live and not used any more.
            unsafe { self.store.free(key) };
        }
        Lap { ops: PAIRS, time: clock::now() - start }
    }
}

impl<S: Store> Drop for Pair<S> {
    fn drop(&mut self) {
        for key in self.live.drain(..) {
            // SAFETY: the object is live and not used any more.
            unsafe { self.store.free(key) };
        }
    }
}
