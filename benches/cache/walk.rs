//! How close together objects lie that were allocated one after the other, in a pool that has been used for a while.

use std::hint::black_box;
use std::ptr;
use std::time::Duration;

use crate::clock;
use crate::field;
use crate::mix::Rng;
use crate::pool::{Kind, Store, Visit};
use crate::race::{Column, Lap, Race, Section};
use crate::sets::shuffle;

pub(crate) const SECTION: Section = Section {
    name: "walk",
    what: "frees half of 100 k objects at random, allocates as many, and walks a list through all in order of allocation",
    note: "churn: nanoseconds per free and allocation; walk: nanoseconds per node of the list, which is built outside the time",
    columns,
};

const LIVE: usize = 100_000;

/// What of the work is timed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Churn,
    Walk,
}

fn columns(_: bool) -> Vec<Column> {
    [Part::Churn, Part::Walk].into_iter().map(column::<64>).collect()
}

fn column<const SIZE: usize>(part: Part) -> Column {
    Column {
        table: format!("{SIZE} B, {LIVE} live"),
        label: if part == Part::Churn { "churn" } else { "walk" }.to_string(),
        heavy: false,
        start: Box::new(move || {
            let mut start = Start { part, racers: Vec::new() };
            field::visit_all::<SIZE>(&mut start);
            start.racers.extend(field::elsewhere(SECTION.name, &column::<SIZE>(part)));
            start.racers
        }),
    }
}

struct Start {
    part: Part,
    racers: Vec<Box<dyn Race>>,
}

impl Visit for Start {
    fn visit<S: Store>(&mut self) {
        if S::KIND == Kind::Ordinary && LIVE <= S::LIVE_MAX {
            self.racers.push(Box::new(Walk::<S>::new(self.part)));
        }
    }
}

struct Walk<S: Store> {
    store: S,
    /// In order of allocation.
    live: Vec<S::Key>,
    /// For each of `live`, whether it is to be freed; half of them.
    leaving: Vec<bool>,
    gone: Vec<S::Key>,
    rng: Rng,
    part: Part,
}

/// A place in the list: the first word of an object.
struct Node {
    next: *const Node,
}

impl<S: Store> Walk<S> {
    fn new(part: Part) -> Self {
        let mut store = S::make();
        let live = (0..LIVE).map(|number| store.alloc(number)).collect();
        let leaving = (0..LIVE).map(|number| number % 2 == 0).collect();
        let mut walk = Walk { store, live, leaving, gone: Vec::new(), rng: Rng::new(7), part };
        for _ in 0..4 {
            walk.churn();
        }
        walk
    }

    fn churn(&mut self) -> Duration {
        shuffle(&mut self.leaving, &mut self.rng);
        let mut staying = Vec::with_capacity(LIVE);
        for (key, leaving) in self.live.drain(..).zip(&self.leaving) {
            if *leaving { self.gone.push(key) } else { staying.push(key) }
        }
        self.live = staying;
        shuffle(&mut self.gone, &mut self.rng);
        self.renew()
    }

    /// Frees those that are to go and allocates as many.
    #[inline(never)]
    fn renew(&mut self) -> Duration {
        let Walk { store, live, gone, .. } = self;
        let count = gone.len();
        let start = clock::now();
        for key in gone.drain(..) {
            // SAFETY: the object is live and not used any more.
            unsafe { store.free(key) };
        }
        live.extend((0..count).map(|number| black_box(store.alloc(number))));
        clock::now() - start
    }

    /// Links all objects; the first.
    fn link(&mut self) -> *const Node {
        let mut next = ptr::null();
        for key in self.live.iter().rev() {
            let node: *mut Node = self.store.address(key).cast();
            // SAFETY: the object is live, and has room and alignment for a word.
            unsafe { node.write(Node { next }) };
            next = node;
        }
        next
    }
}

#[inline(never)]
fn walk(mut node: *const Node) -> usize {
    let mut count = 0;
    while !node.is_null() {
        count += 1;
        // SAFETY: every node of the list is a live object that holds a node.
        node = unsafe { (*node).next };
    }
    count
}

impl<S: Store> Race for Walk<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn lap(&mut self) -> Lap {
        let churned = self.churn();
        if self.part == Part::Churn {
            return Lap { ops: self.live.len() / 2, time: churned };
        }
        let first = self.link();
        let start = clock::now();
        let ops = walk(black_box(first));
        Lap { ops, time: clock::now() - start }
    }
}

impl<S: Store> Drop for Walk<S> {
    fn drop(&mut self) {
        for key in self.live.drain(..) {
            // SAFETY: the object is live and not used any more.
            unsafe { self.store.free(key) };
        }
    }
}
