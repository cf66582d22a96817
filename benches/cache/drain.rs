//! How many slabs are held when most objects have gone: whether sparse slabs drain.

use std::collections::VecDeque;
use std::ptr::NonNull;

use heapwright::cache::{For, ReleaseAtOnce, SlabCache, UntypedObjectAlloc};
use heapwright::lock::NoLock;
use heapwright::slab::AlignedSlabs;
use heapwright::source::Pages;

use crate::mix::Rng;
use crate::report::{Report, Table, print_table, progress};
use crate::survey::Survey;

pub(crate) const SURVEY: Survey =
    Survey { name: "drain", what: "slabs held while a large set of objects shrinks and is used on", run };

/// Objects at the start.
const FULL: usize = 200_000;
/// Objects that are replaced at a time.
const STEP: usize = 500;

type Cache<const FRONT: usize> =
    SlabCache<AlignedSlabs<Pages, 65536>, NoLock, For<[u64; 8]>, ReleaseAtOnce, FRONT>;

/// What hands out objects, and counts the slabs that it holds.
trait Slabs {
    type Object;

    fn alloc(&mut self) -> Self::Object;

    fn free(&mut self, object: Self::Object);

    fn slabs(&mut self) -> usize;
}

impl<const FRONT: usize> Slabs for Cache<FRONT> {
    type Object = NonNull<u8>;

    fn alloc(&mut self) -> NonNull<u8> {
        self.alloc_slot().unwrap_or_else(|_| panic!("no pages"))
    }

    fn free(&mut self, object: NonNull<u8>) {
        // SAFETY: the object is live, and not used again.
        unsafe { self.free_slot(object) };
    }

    fn slabs(&mut self) -> usize {
        // What is at hand would keep slabs.
        self.trim(0);
        self.stats().slabs
    }
}

/// A model without memory of slabs in a list that is not sorted by how full they are.
struct Unsorted {
    /// Whether the slab that was full last is used first (the order of slab-alloc 0.1), or the one that has waited longest.
    last_first: bool,
    /// Free objects of each slab; `None` if it has been given back.
    free: Vec<Option<usize>>,
    /// Slabs with free objects.
    partial: VecDeque<usize>,
    held: usize,
}

impl Unsorted {
    fn new(last_first: bool) -> Self {
        Unsorted { last_first, free: Vec::new(), partial: VecDeque::new(), held: 0 }
    }
}

/// As many as ours has in 64 KiB.
const CAPACITY: usize = 1024;

impl Slabs for Unsorted {
    type Object = usize;

    fn alloc(&mut self) -> usize {
        let slab = self.partial.front().copied().unwrap_or_else(|| {
            self.free.push(Some(CAPACITY));
            self.partial.push_front(self.free.len() - 1);
            self.held += 1;
            self.free.len() - 1
        });
        if let Some(free) = &mut self.free[slab] {
            *free -= 1;
            if *free == 0 {
                self.partial.pop_front();
            }
        }
        slab
    }

    fn free(&mut self, slab: usize) {
        let Some(free) = &mut self.free[slab] else { panic!("an object of a slab that is gone") };
        *free += 1;
        match *free {
            1 if self.last_first => self.partial.push_front(slab),
            1 => self.partial.push_back(slab),
            CAPACITY => {
                self.free[slab] = None;
                self.partial.retain(|&other| other != slab);
                self.held -= 1;
            }
            _ => {}
        }
    }

    fn slabs(&mut self) -> usize {
        self.held
    }
}

/// Slabs held: after the set has shrunk to each of the shares, and after it has been used on for a while.
fn shrink<S: Slabs>(mut slabs: S, shares: &[usize]) -> Vec<(usize, usize)> {
    let mut rng = Rng::new(11);
    let mut live: Vec<S::Object> = (0..FULL).map(|_| slabs.alloc()).collect();
    let mut held = Vec::new();
    for share in shares {
        let target = FULL * share / 100;
        while live.len() > target {
            let gone = rng.below(live.len());
            slabs.free(live.swap_remove(gone));
        }
        let at_once = slabs.slabs();
        // As many replacements as there are objects, twice.
        for _ in 0..(2 * target).div_ceil(STEP) {
            for _ in 0..STEP.min(target) {
                let gone = rng.below(live.len());
                slabs.free(live.swap_remove(gone));
            }
            live.extend((live.len()..target).map(|_| slabs.alloc()));
        }
        held.push((at_once, slabs.slabs()));
    }
    for object in live {
        slabs.free(object);
    }
    held
}

fn run(report: &mut Report) {
    progress("drain");
    let shares = [80, 60, 40, 20, 10, 5, 1];
    let runs = [
        ("ours", shrink(Cache::<128>::over(Pages), &shares)),
        ("ours, none at hand", shrink(Cache::<0>::over(Pages), &shares)),
        ("last first", shrink(Unsorted::new(true), &shares)),
        ("first first", shrink(Unsorted::new(false), &shares)),
    ];
    let header = ["live", "least", "ours", "none at hand", "last first", "first first"];
    let note = "slabs of 1024 objects: after objects have been freed at random until so many % of 200,000 are left / after 2 replacements for each\n\
                of those, 500 at a time; least: as many as these objects fill; ours: fullest first, all free slabs released, with 128 objects\n\
                at hand and with none; last and first first: models of lists that are not sorted by how full slabs are";
    let mut table = Table::new("drain", note, &header);
    for (row, share) in shares.iter().enumerate() {
        let least = (FULL * share / 100).div_ceil(CAPACITY);
        let cells = runs.iter().map(|(_, held)| format!("{:4}/{:4}", held[row].0, held[row].1));
        table.row(format!("{share} %"), std::iter::once(least.to_string()).chain(cells));
        for (name, held) in &runs {
            report.keep(&["drain", &share.to_string(), name], held[row].1 as f64 / least as f64);
        }
    }
    print_table(&table);
}
