//! Scenarios: what programs do with a heap, step by step, over slots that hold a block or none.

use std::alloc::Layout;

use crate::books::Random;

/// One step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// A block for a slot, which has none.
    Take { slot: usize, layout: Layout, zeroed: bool },
    /// The slot's block gets another layout.
    Resize { slot: usize, layout: Layout },
    /// The slot's block goes.
    Give { slot: usize },
}

pub(crate) fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap_or_else(|_| panic!("{size} bytes aligned to {align}"))
}

fn take(slot: usize, size: usize, align: usize) -> Step {
    Step::Take { slot, layout: layout(size, align), zeroed: false }
}

fn resize(slot: usize, size: usize, align: usize) -> Step {
    Step::Resize { slot, layout: layout(size, align) }
}

fn give(slot: usize) -> Step {
    Step::Give { slot }
}

/// A block that goes through these sizes.
fn one_block_of(sizes: impl IntoIterator<Item = usize>) -> Vec<Step> {
    let mut sizes = sizes.into_iter();
    let first = sizes.next().map(|size| take(0, size, 8));
    first.into_iter().chain(sizes.map(|size| resize(0, size, 8))).chain([give(0)]).collect()
}

/// Blocks of these layouts, which then go in this order.
fn all_of(layouts: &[(usize, usize)], order: impl IntoIterator<Item = usize>) -> Vec<Step> {
    let takes = layouts.iter().enumerate().map(|(slot, &(size, align))| take(slot, size, align));
    takes.chain(order.into_iter().map(give)).collect()
}

/// A map that moves to twice its size whenever it is full, with its entries beside it.
fn a_map_that_grows() -> Vec<Step> {
    let mut steps = vec![take(0, 64, 16)];
    for entry in 0..24 {
        steps.push(take(2 + entry, 24 + entry % 3 * 8, 8));
        if (entry + 1).is_power_of_two() {
            let (old, new) = (entry.trailing_ones() as usize % 2, (entry.trailing_ones() as usize + 1) % 2);
            steps.extend([take(new, 128 << entry.trailing_ones(), 16), give(old)]);
        }
    }
    steps
}

/// Steps drawn at random, sizes up to 2 to the power of `doublings`.
fn drawn(seed: u64, doublings: usize) -> Vec<Step> {
    const SLOTS: usize = 12;
    let (mut random, mut full, mut steps) = (Random(seed), [false; SLOTS], Vec::new());
    for _ in 0..80 {
        let slot = random.below(SLOTS);
        let (size, align) = (random.size(doublings), 1 << random.below(7));
        let step = match (full[slot], random.below(3)) {
            (false, what) => Step::Take { slot, layout: layout(size, align), zeroed: what == 0 },
            (true, 0) => give(slot),
            (true, _) => resize(slot, size, align),
        };
        full[slot] = !matches!(step, Step::Give { .. });
        steps.push(step);
    }
    steps
}

/// All of them. Blocks that are left are given at the end.
pub(crate) fn scenarios() -> Vec<(&'static str, Vec<Step>)> {
    let same = [(64, 8); 40];
    let rising: Vec<_> = (0..14).map(|doublings| (1 << doublings, 8)).collect();
    let falling: Vec<_> = rising.iter().rev().copied().collect();
    let alignments: Vec<_> = (0..=12).map(|doublings| (24, 1 << doublings)).collect();
    let nodes: Vec<_> = (0..30).map(|number| ([24, 40, 56][number % 3], 8)).collect();
    let zeroed = |slot| Step::Take { slot, layout: layout(50 << slot, 8), zeroed: true };
    let mut beside = all_of(&[(100, 8); 6], [1, 3]);
    beside.extend([resize(0, 180, 8), resize(2, 180, 8), resize(2, 90, 8), resize(4, 1000, 8)]);
    let mut realigned = vec![take(0, 40, 1)];
    realigned.extend((1..=10).chain((0..10).rev()).map(|doublings| resize(0, 40, 1 << doublings)));
    let mut again = Vec::new();
    for _ in 0..3 {
        again.extend(all_of(&[(48, 8), (200, 8), (48, 8), (3000, 16)], [2, 0, 3, 1]));
    }
    let mut in_turns = Vec::new();
    for round in 0..20 {
        in_turns.push(take(round, 32 + round % 2 * 96, 8));
        in_turns.extend((round >= 4).then(|| give(round - 4)));
    }
    vec![
        ("one block", all_of(&[(24, 8)], [0])),
        ("a vector grows", one_block_of((3..14).map(|doublings| 1 << doublings))),
        ("a vector shrinks", one_block_of((3..14).rev().map(|doublings| 1 << doublings))),
        ("a string grows by a little", one_block_of((1..40).map(|number| number * 7))),
        ("a block grows and shrinks", one_block_of([30, 3000, 31, 9000, 500, 501, 20_000, 1])),
        ("last in, first out", all_of(&same, (0..40).rev())),
        ("first in, first out", all_of(&same, 0..40)),
        ("every other one goes", all_of(&same, (0..40).step_by(2))),
        ("nothing goes", all_of(&same, [])),
        ("sizes rise", all_of(&rising, 0..14)),
        ("sizes fall", all_of(&falling, 0..14)),
        ("alignments rise", all_of(&alignments, (0..13).rev())),
        ("alignments change", realigned),
        ("zeroed", (0..8).map(zeroed).collect()),
        ("blocks grow beside others", beside),
        ("all goes, three times", again),
        ("two sizes in turns", in_turns),
        ("a map grows", a_map_that_grows()),
        ("a tree of nodes", all_of(&nodes, (0..30).map(|number| number * 7 % 30))),
        ("large blocks", all_of(&[(20_000, 8), (70_000, 16), (33_000, 4096)], [1, 0, 2])),
        ("drawn, small", drawn(1, 7)),
        ("drawn, medium", drawn(2, 10)),
        ("drawn, large", drawn(3, 14)),
        ("drawn, anything", drawn(4, 16)),
    ]
}
