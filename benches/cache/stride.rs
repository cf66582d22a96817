//! Whether objects of large sizes compete for the same few sets of the caches.

use std::hint::black_box;

use crate::clock;
use crate::field;
use crate::mix::Rng;
use crate::pool::{Kind, Store, Visit};
use crate::race::{Column, Lap, Race, Section};
use crate::sets::shuffle;

pub(crate) const SECTION: Section = Section {
    name: "stride",
    what: "touches the first line of large objects, in an order that is random but stays",
    note: "nanoseconds per object; each read says where the next is",
    columns,
};

fn columns(_: bool) -> Vec<Column> {
    let lives = [256, 1024, 8192];
    let mut columns = Vec::new();
    columns.extend(lives.map(column::<512>));
    columns.extend(lives.map(column::<1024>));
    columns.extend(lives.map(column::<2048>));
    columns.extend(lives.map(column::<4096>));
    columns
}

fn column<const SIZE: usize>(live: usize) -> Column {
    Column {
        table: format!("{SIZE} B"),
        label: format!("{live} live"),
        heavy: false,
        start: Box::new(move || {
            let mut start = Start { live, racers: Vec::new() };
            field::visit_layouts::<SIZE>(&mut start);
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
        if matches!(S::KIND, Kind::Ordinary | Kind::Layout) && self.live <= S::LIVE_MAX {
            self.racers.push(Box::new(Stride::<S>::new(self.live)));
        }
    }
}

struct Stride<S: Store> {
    store: S,
    live: Vec<S::Key>,
    first: *const Node,
}

/// The first word of an object: a place in a ring through all objects.
struct Node {
    next: *const Node,
}

impl<S: Store> Stride<S> {
    fn new(count: usize) -> Self {
        let mut store = S::make();
        let live: Vec<S::Key> = (0..count).map(|number| store.alloc(number)).collect();
        let mut nodes: Vec<*mut Node> = live.iter().map(|key| store.address(key).cast()).collect();
        shuffle(&mut nodes, &mut Rng::new(8));
        for (node, next) in nodes.iter().zip(nodes.iter().cycle().skip(1)) {
            // SAFETY: the object is live, and has room and alignment for a word.
            unsafe { node.write(Node { next: *next }) };
        }
        let first = nodes.first().map_or(std::ptr::null(), |node| *node);
        Stride { store, live, first }
    }
}

#[inline(never)]
fn touch(mut node: *const Node, count: usize) -> *const Node {
    for _ in 0..count {
        // SAFETY: every node of the ring is a live object that holds a node.
        node = unsafe { (*node).next };
    }
    node
}

impl<S: Store> Race for Stride<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn lap(&mut self) -> Lap {
        let ops = self.live.len().max(8192);
        let start = clock::now();
        black_box(touch(black_box(self.first), ops));
        Lap { ops, time: clock::now() - start }
    }
}

impl<S: Store> Drop for Stride<S> {
    fn drop(&mut self) {
        for key in self.live.drain(..) {
            // SAFETY: the object is live and not used any more.
            unsafe { self.store.free(key) };
        }
    }
}
