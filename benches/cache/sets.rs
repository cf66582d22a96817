//! Fills a set and frees all of it, in some order.

use std::hint::black_box;
use std::time::Duration;

use crate::clock;
use crate::field;
use crate::mix::Rng;
use crate::pool::{Kind, Store, Visit};
use crate::race::{Column, Lap, Race, Section};

pub(crate) const SETS: Section = Section {
    name: "sets",
    what: "fills a set and frees all of it, last in first out, first in first out, at random",
    note: "nanoseconds per allocation and free; the order of the frees is made between fill and free, outside the time",
    columns: set_columns,
};

pub(crate) const REFILL: Section = Section {
    name: "refill",
    what: "frees 100 k objects in random order and allocates as many",
    note: "nanoseconds per free and allocation",
    columns: refill_columns,
};

/// The order in which a set is freed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Lifo,
    Fifo,
    Random,
}

impl Order {
    const ALL: [Order; 3] = [Order::Lifo, Order::Fifo, Order::Random];

    const fn name(self) -> &'static str {
        match self {
            Order::Lifo => "LIFO",
            Order::Fifo => "FIFO",
            Order::Random => "random",
        }
    }
}

fn set_columns(quick: bool) -> Vec<Column> {
    let mut columns = Vec::new();
    for live in [100, 10_000, 1_000_000] {
        // A smoke run has no time for a million.
        if !quick || live <= 10_000 {
            columns.extend(Order::ALL.map(|order| column::<16>(SETS.name, live, order)));
            columns.extend(Order::ALL.map(|order| column::<64>(SETS.name, live, order)));
            columns.extend(Order::ALL.map(|order| column::<256>(SETS.name, live, order)));
            // A million of them would take 1 GiB.
            columns.extend(Order::ALL.map(|order| column::<1024>(SETS.name, live.min(256 << 10), order)));
        }
    }
    columns
}

fn refill_columns(_: bool) -> Vec<Column> {
    vec![
        column::<16>(REFILL.name, 100_000, Order::Random),
        column::<64>(REFILL.name, 100_000, Order::Random),
        column::<256>(REFILL.name, 100_000, Order::Random),
    ]
}

fn column<const SIZE: usize>(section: &'static str, live: usize, order: Order) -> Column {
    let label = if section == SETS.name { order.name().to_string() } else { format!("{SIZE} B") };
    let table = if section == SETS.name { format!("{SIZE} B, {live} live") } else { format!("{live} live") };
    Column {
        table,
        label,
        heavy: live * SIZE > KEPT_MAX,
        start: Box::new(move || {
            let mut start = Start { live, order, keep: live * SIZE <= KEPT_MAX, racers: Vec::new() };
            field::visit_all::<SIZE>(&mut start);
            start.racers.extend(field::elsewhere(section, &column::<SIZE>(section, live, order)));
            start.racers
        }),
    }
}

/// Sets of more bytes are dropped while others run, so that not all of them are in memory at once.
const KEPT_MAX: usize = 32 << 20;

struct Start {
    live: usize,
    order: Order,
    keep: bool,
    racers: Vec<Box<dyn Race>>,
}

impl Visit for Start {
    fn visit<S: Store>(&mut self) {
        if matches!(S::KIND, Kind::Ordinary | Kind::FillOnly | Kind::Floor) && self.live <= S::LIVE_MAX {
            let Start { live, order, keep, .. } = *self;
            let keys = Vec::with_capacity(live);
            let set =
                Set::<S> { store: None, keys, rng: Rng::new(11), places: Vec::new(), live, order, keep };
            self.racers.push(Box::new(set));
        }
    }
}

struct Set<S: Store> {
    store: Option<S>,
    keys: Vec<S::Key>,
    rng: Rng,
    /// In a small set, where clocks must not tick between fill and free: when an object is freed, by the order of
    /// allocation.
    places: Vec<u32>,
    live: usize,
    order: Order,
    keep: bool,
}

/// Sets up to this size are filled and freed many times between two looks at the clock.
const SMALL_MAX: usize = 1000;
/// Objects that a lap of small sets allocates, about.
const SMALL_LAP: usize = 8000;

impl<S: Store> Race for Set<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn begin(&mut self) {
        if self.store.is_none() {
            self.store = Some(S::make());
            let mut places: Vec<u32> = (0..self.live.min(SMALL_MAX) as u32).collect();
            match self.order {
                Order::Lifo => places.reverse(),
                Order::Fifo => {}
                Order::Random => shuffle(&mut places, &mut self.rng),
            }
            self.places = places;
            self.lap();
        }
    }

    fn lap(&mut self) -> Lap {
        if self.live <= SMALL_MAX { self.small_sets() } else { self.large_set() }
    }

    fn end(&mut self) {
        if !self.keep {
            self.store = None;
        }
    }
}

impl<S: Store> Set<S> {
    #[inline(never)]
    fn small_sets(&mut self) -> Lap {
        let Set { store: Some(store), keys, places, .. } = self else { return Lap::default() };
        let sets = SMALL_LAP / places.len();
        let room = keys.spare_capacity_mut();
        let start = clock::now();
        for _ in 0..sets {
            for &place in &*places {
                // SAFETY: the places are a permutation of the indices up to their number, which is the capacity.
                let slot = unsafe { room.get_unchecked_mut(place as usize) };
                slot.write(black_box(store.alloc(place as usize)));
            }
            for slot in room.iter().take(places.len()) {
                // SAFETY: the loop above wrote every slot once, and this one reads it once.
                let key = unsafe { slot.assume_init_read() };
                // SAFETY: the object is live and not used any more.
                unsafe { store.free(key) };
            }
            store.clear();
        }
        Lap { ops: sets * places.len(), time: clock::now() - start }
    }

    #[inline(never)]
    fn large_set(&mut self) -> Lap {
        let filled = self.fill();
        match self.order {
            Order::Lifo => self.keys.reverse(),
            Order::Fifo => {}
            Order::Random => shuffle(&mut self.keys, &mut self.rng),
        }
        Lap { ops: self.live, time: filled + self.empty() }
    }

    #[inline(never)]
    fn fill(&mut self) -> Duration {
        let Set { store: Some(store), keys, live, .. } = self else { return Duration::ZERO };
        let start = clock::now();
        // There is room for all: no element is moved.
        keys.extend((0..*live).map(|number| black_box(store.alloc(number))));
        clock::now() - start
    }

    #[inline(never)]
    fn empty(&mut self) -> Duration {
        let Set { store: Some(store), keys, .. } = self else { return Duration::ZERO };
        let start = clock::now();
        for key in keys.drain(..) {
            // SAFETY: the object is live and not used any more.
            unsafe { store.free(key) };
        }
        store.clear();
        clock::now() - start
    }
}

/// A random order of the same things (Fisher and Yates, Durstenfeld).
pub(crate) fn shuffle<T>(things: &mut [T], rng: &mut Rng) {
    for last in (1..things.len()).rev() {
        things.swap(last, rng.below(last + 1));
    }
}
