//! The tester: does operations on a cache, and checks each object, each number and each book after them.

use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::cache::SlabStats;

use super::ledger::Ledger;
use super::objects::{self, Contents, Object, Owner, Stage, with};
use super::random::Random;
use super::subject::{Refusal, Subject};
use super::witness::bytes;

/// One thing to do. Objects are picked by number, modulo how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// An object is taken; its user changes it or leaves it.
    Alloc {
        changed: bool,
    },
    Free(u16),
    Destroy(u16),
    MoveOut(u16),
    AllocMany(u8),
    FreeMany(u8),
    Trim(u8),
    Reap,
    Tick,
}

/// A cache under test, and what it has handed out.
pub(crate) struct Tester<'s, S: Subject> {
    name: &'s str,
    subject: &'s S,
    layout: Layout,
    live: Vec<NonNull<u8>>,
    peak: usize,
    /// How many objects the cache may have at hand.
    at_hand_max: usize,
}

impl<'s, S: Subject> Tester<'s, S> {
    pub(crate) fn new(name: &'s str, subject: &'s S, front: usize) -> Self {
        with(|objects| *objects = objects::Objects::default());
        Tester {
            name,
            subject,
            layout: subject.layout(),
            live: Vec::new(),
            peak: 0,
            at_hand_max: if front == 0 { 0 } else { front + 1 },
        }
    }

    /// # Panics
    /// With what the test is, if `holds` is false.
    fn check(&self, holds: bool, text: impl FnOnce() -> String) {
        assert!(holds, "{}: {}", self.name, text());
    }

    /// Checks what could not be said where it was found.
    pub(crate) fn check_faults(&self) {
        let faults = with(|objects| objects.faults.clone());
        self.check(faults.is_empty(), || faults.join("\n"));
    }

    /// A pointer that the cache has just handed out, to an object that a constructor made if `fresh`.
    fn received(&mut self, object: NonNull<u8>, fresh: bool, changed: bool) {
        let (address, size) = (object.addr().get(), self.layout.size());
        self.check(address % self.layout.align() == 0, || {
            format!("{object:?} is not aligned to {:?}", self.layout)
        });
        // SAFETY: the cache has handed it out; its source hands out initialised bytes.
        let found = unsafe { bytes(object, size) };
        let contents = with(|objects| {
            let changed_to = Contents { nonce: objects.nonce(), stage: Stage::Valid, address };
            let known = objects.constructed.get(&address).copied();
            if !S::KEEPS {
                assert!(known.is_none(), "{}: handed out twice: {known:?} at {address:#x}", self.name);
                return changed_to;
            }
            let contents = match (known, fresh) {
                (None, true) => objects.last.unwrap(),
                (Some(Object { owner: Owner::Cache, contents }), false) => contents,
                other => panic!("{}: handed out at {address:#x}: known and fresh are {other:?}", self.name),
            };
            assert!(contents.is_in(found), "{}: {address:#x} does not hold {contents:?}", self.name);
            if changed { changed_to } else { contents }
        });
        contents.write(found);
        with(|objects| {
            objects.left.remove(&address);
            objects.constructed.insert(address, Object { owner: Owner::User, contents });
            let before = objects.constructed.range(..address).next_back();
            let after = objects.constructed.range(address + 1..).next();
            let apart = before.is_none_or(|(at, _)| at + size <= address)
                && after.is_none_or(|(&at, _)| address + size <= at);
            assert!(apart, "{}: {address:#x} overlaps one of {before:?} and {after:?}", self.name);
        });
        self.live.push(object);
        self.peak = self.peak.max(self.live.len());
    }

    /// The object that is picked, no longer counted as live; checked, and whose it is from now on.
    fn picked(&mut self, pick: usize, owner: Option<Owner>) -> Option<NonNull<u8>> {
        if self.live.is_empty() {
            return None;
        }
        let object = self.live.swap_remove(pick % self.live.len());
        let address = object.addr().get();
        // SAFETY: the object is live.
        let found = unsafe { bytes(object, self.layout.size()) };
        let known = with(|objects| objects.constructed.get(&address).copied());
        let whole = known.is_some_and(|known| known.owner == Owner::User && known.contents.is_in(found));
        self.check(whole, || format!("{address:#x} no longer holds {known:?}"));
        with(|objects| match (owner.filter(|_| S::KEEPS), objects.constructed.get_mut(&address)) {
            (Some(owner), Some(known)) => known.owner = owner,
            _ => drop(objects.constructed.remove(&address)),
        });
        Some(object)
    }

    fn alloc(&mut self, changed: bool) {
        let made = with(|objects| objects.made);
        let result = self.subject.alloc();
        let now = with(|objects| objects.made);
        match result {
            Ok(object) => {
                self.check(now - made <= 1, || "two constructors ran for one object".into());
                self.received(object, now > made, changed);
            }
            Err(Refusal::Init) => self.check(now == made, || "made, and refused".into()),
            Err(Refusal::Memory) => panic!("{}: no memory", self.name),
        }
    }

    fn alloc_many(&mut self, count: usize) {
        let made = with(|objects| objects.made);
        let mut out = [MaybeUninit::uninit(); 256];
        let Ok(count) = self.subject.alloc_many(&mut out[..count]) else { return };
        let fresh = with(|objects| objects.made) - made;
        self.check(count > 0 && (fresh == 0 || (fresh, count) == (1, 1)), || {
            format!("{fresh} of {count} objects are new")
        });
        for object in &out[..count] {
            // SAFETY: so many have been written.
            self.received(unsafe { object.assume_init() }, fresh > 0, true);
        }
    }

    /// Does one thing.
    pub(crate) fn step(&mut self, op: Op) {
        match op {
            Op::Alloc { changed } => self.alloc(changed),
            Op::AllocMany(count) => self.alloc_many(usize::from(count)),
            Op::Free(pick) => {
                if let Some(object) = self.picked(pick.into(), Some(Owner::Cache)) {
                    // SAFETY: it was live until now.
                    unsafe { self.subject.free(object) };
                }
            }
            Op::Destroy(pick) => {
                if let Some(object) = self.picked(pick.into(), Some(Owner::Nobody)) {
                    // SAFETY: it was live until now.
                    unsafe { self.subject.destroy(object) };
                    let left = with(|objects| objects.constructed.get(&object.addr().get()).copied());
                    self.check(left.is_none(), || format!("{left:?} was not destroyed"));
                }
            }
            Op::MoveOut(pick) => {
                if let Some(object) = self.picked(pick.into(), None) {
                    with(|objects| objects.left.insert(object.addr().get()));
                    // SAFETY: it was live until now.
                    unsafe { self.subject.move_out(object) };
                }
            }
            Op::FreeMany(count) => {
                let count = usize::from(count).min(self.live.len());
                let many: Vec<_> =
                    (0..count).filter_map(|pick| self.picked(pick * 7, Some(Owner::Cache))).collect();
                // SAFETY: they were live until now, and are all different.
                unsafe { self.subject.free_many(&many) };
            }
            Op::Trim(keep) => self.trim(keep.into()),
            Op::Reap => self.trim(0),
            Op::Tick => {
                let before = self.subject.stats().slabs;
                let gone = self.subject.tick();
                let stats = self.subject.stats();
                self.check(before - stats.slabs == gone && stats.at_hand == 0, || {
                    format!("{gone} went: {stats:?}")
                });
            }
        }
        self.check_faults();
        let stats = self.subject.stats();
        self.check(stats.live == self.live.len(), || format!("{} live: {stats:?}", self.live.len()));
    }

    fn trim(&mut self, keep: usize) {
        let before = self.subject.stats();
        let gone = self.subject.trim(keep);
        let after = self.subject.stats();
        self.check(
            after.at_hand == 0 && after.free_slabs <= keep && before.slabs - after.slabs == gone,
            || format!("{gone} went beyond {keep}: {before:?}, {after:?}"),
        );
        let occupied = after.slabs - after.free_slabs;
        self.check(occupied <= self.live.len(), || format!("slabs without live objects: {after:?}"));
    }

    /// Checks the cache's own books, and its numbers.
    pub(crate) fn audit(&self) {
        let verified = self.subject.verify();
        self.check(verified.is_ok(), || format!("{verified:?}"));
        let stats = self.subject.stats();
        let slabs = self.subject.slabs();
        let sum = |part: fn(&SlabStats) -> usize| slabs.iter().map(part).sum::<usize>();
        let right = stats.live == self.live.len()
            && stats.slabs == slabs.len()
            && stats.capacity == sum(|slab| slab.capacity)
            && stats.bytes_held == sum(|slab| slab.len)
            && stats.capacity - stats.live - stats.at_hand == sum(|slab| slab.free)
            && stats.free_slabs == slabs.iter().filter(|slab| slab.free == slab.capacity).count()
            && stats.at_hand <= self.at_hand_max
            && stats.slot_size >= self.layout.size()
            && (self.peak..=self.peak + self.at_hand_max).contains(&stats.live_peak)
            && stats.slabs_peak >= stats.slabs;
        self.check(right, || format!("{} live, peak {}: {stats:?} of {slabs:?}", self.live.len(), self.peak));
        if S::KEEPS {
            let free =
                with(|objects| objects.constructed.values().filter(|it| it.owner == Owner::Cache).count());
            self.check(free == stats.at_hand + sum(|slab| slab.constructed), || {
                format!("{free} constructed objects are free: {stats:?} of {slabs:?}")
            });
        }
    }

    /// Gives all objects back.
    pub(crate) fn finish(mut self) {
        while !self.live.is_empty() {
            self.step(if self.live.len() % 5 == 0 { Op::Destroy(0) } else { Op::Free(3) });
        }
        self.audit();
    }
}

/// Runs random operations on a cache, drops it, and checks that nothing is left: no object, no block of memory.
pub(crate) fn exercise<S: Subject>(name: &str, cache: S, front: usize, ledger: &Ledger, ops: usize) {
    ledger.watch.set(Some(objects::in_the_way));
    let mut tester = Tester::new(name, &cache, front);
    random_run(&mut tester, &mut Random::new(name), ops);
    tester.finish();
    end(name, cache, ledger);
}

/// Drops a cache whose objects are all back, and checks that nothing is left.
pub(crate) fn end<S: Subject>(name: &str, cache: S, ledger: &Ledger) {
    drop(cache);
    with(|objects| {
        assert_eq!(objects.faults, Vec::<String>::new(), "{name}");
        assert!(objects.constructed.is_empty(), "{name}: never destroyed: {:?}", objects.constructed);
        assert_eq!(objects.made, objects.dropped, "{name}");
    });
    assert_eq!((ledger.blocks(), ledger.faults()), (0, vec![]), "{name}");
}

/// Random operations: times of growing and of shrinking, and of busy standstill.
pub(crate) fn random_run<S: Subject>(tester: &mut Tester<'_, S>, random: &mut Random, ops: usize) {
    // Enough for several slabs, and not so much that it takes long.
    let most = (2 << 20) / tester.layout.size().max(1);
    let most = most.clamp(8, 400);
    let mut growth = 50;
    for step in 0..ops {
        if step % 64 == 0 {
            growth = [80, 50, 20, 50][random.below(4)];
        }
        let pick = random.next() as u16;
        let op = match random.below(1000) {
            0..5 => Op::Trim(random.below(4) as u8),
            5..8 => Op::Reap,
            8..12 => Op::Tick,
            12..30 => Op::Destroy(pick),
            30..45 => Op::MoveOut(pick),
            45..60 => Op::AllocMany(random.below(40) as u8),
            60..75 => Op::FreeMany(random.below(40) as u8),
            _ if tester.live.len() < most && random.below(100) < growth => {
                Op::Alloc { changed: random.below(2) == 0 }
            }
            // The last one in is the first one out as often as not.
            _ if random.below(2) == 0 => Op::Free((tester.live.len().max(1) - 1) as u16),
            _ => Op::Free(pick),
        };
        tester.step(op);
        if step % 50 == 0 {
            tester.audit();
        }
    }
}
