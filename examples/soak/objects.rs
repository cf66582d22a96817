//! A cache of objects, with constructors, reset hooks and destructors that panic.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use heapwright::cache::{NewObjectError, Obj, ObjectCache, StdClock, TryInit, WithReset, WorkingSet};
use heapwright::lock::YieldLock;
use heapwright::slab::AlignedSlabs;

use crate::random::{Random, mixed};
use crate::run::{Planted, Run, panic_as_planned};
use crate::source::{Faults, Shaky};

/// What the summary calls it.
pub(crate) const NAME: &str = "ObjectCache, panics";

/// Objects that a thread has at most.
const OBJECTS_MAX: usize = 200;
/// Objects on their way between threads at most, or a few more.
const MARKET_MAX: usize = 64;

type Make = fn() -> Result<Thing, NoLuck>;
type Cache = ObjectCache<
    Thing,
    WithReset<TryInit<Make>, fn(&mut Thing)>,
    AlignedSlabs<Shaky, 8192>,
    YieldLock,
    WorkingSet<StdClock, 20>,
    16,
>;
type Handle = Obj<'static, Thing, Cache>;

static FAULTS: Faults = Faults::new(1 << 20);
static CACHE: Cache = ObjectCache::new(Shaky(&FAULTS), WithReset(TryInit(Thing::make as Make), Thing::reset));
static MARKET: Mutex<Vec<Handle>> = Mutex::new(Vec::new());

/// How many things there were, and how many have gone.
static MADE: AtomicU64 = AtomicU64::new(0);
static DESTROYED: AtomicU64 = AtomicU64::new(0);
/// How many constructors failed or panicked, and how many hooks and destructors panicked.
static INJECTED: AtomicU64 = AtomicU64::new(0);
/// Objects that were destroyed, and were not as they were left.
static DAMAGED: AtomicU64 = AtomicU64::new(0);
/// Throws of dice so far.
static THROWS: AtomicU64 = AtomicU64::new(0);
/// Whether a destructor may panic: one at a time, since a second one in the same slab ends the process, as with the items of a `Vec`.
static MAY_PANIC: AtomicBool = AtomicBool::new(true);

/// Why a constructor failed.
struct NoLuck;

/// An object; while nobody has it, its owner is 0.
struct Thing {
    owner: u64,
    /// All the same, and never 0.
    words: [u64; 30],
    text: Vec<u8>,
}

/// What chance wants.
fn throw(sides: u64) -> u64 {
    mixed(THROWS.fetch_add(1, Relaxed)) % sides
}

/// Panics, and counts that; not in a thread that is panicking already.
fn panic_once_in(sides: u64) {
    if throw(sides) == 0 && !thread::panicking() {
        INJECTED.fetch_add(1, Relaxed);
        panic_as_planned();
    }
}

impl Thing {
    fn make() -> Result<Self, NoLuck> {
        panic_once_in(60);
        if throw(60) == 0 {
            INJECTED.fetch_add(1, Relaxed);
            return Err(NoLuck);
        }
        MADE.fetch_add(1, Relaxed);
        Ok(Thing { owner: 0, words: [THROWS.load(Relaxed) | 1; 30], text: b"a thing".repeat(10) })
    }

    fn reset(&mut self) {
        panic_once_in(200);
        self.owner = 0;
    }

    fn is_whole(&self) -> bool {
        let first = self.words[0];
        first & 1 == 1 && self.words.iter().all(|&word| word == first) && self.text.starts_with(b"a thing")
    }

    /// Whether it is as `owner` left it.
    fn check(&self, owner: u64) -> Result<(), String> {
        if self.owner == owner && self.is_whole() {
            return Ok(());
        }
        Err(format!("the object at {self:p}, which is {:#x}'s, is not as {owner:#x} left it", self.owner))
    }
}

impl Drop for Thing {
    fn drop(&mut self) {
        DESTROYED.fetch_add(1, Relaxed);
        DAMAGED.fetch_add(u64::from(!self.is_whole()), Relaxed);
        if !thread::panicking()
            && MAY_PANIC.load(Relaxed)
            && throw(100) == 0
            && MAY_PANIC.swap(false, Relaxed)
        {
            INJECTED.fetch_add(1, Relaxed);
            panic_as_planned();
        }
    }
}

fn market() -> MutexGuard<'static, Vec<Handle>> {
    MARKET.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a thread has of the cache.
pub(crate) struct Objects<'r> {
    run: &'r Run,
    objects: Vec<Handle>,
}

/// All go back, in a panic as well.
impl Drop for Objects<'_> {
    fn drop(&mut self) {
        while let Some(object) = self.objects.pop() {
            self.give_back(|| drop(object));
        }
    }
}

impl<'r> Objects<'r> {
    pub(crate) fn new(run: &'r Run) -> Self {
        Objects { run, objects: Vec::new() }
    }

    /// So many operations.
    pub(crate) fn shift(&mut self, random: &mut Random, operations: usize) {
        for _ in 0..operations {
            if self.run.is_over() {
                return;
            }
            self.operation(random);
        }
        self.run.objects.operations.fetch_add(operations as u64, Relaxed);
    }

    fn operation(&mut self, random: &mut Random) {
        match random.below(1000) {
            0..450 if self.objects.len() < OBJECTS_MAX => self.alloc(),
            0..850 => self.free(random),
            850..900 if market().len() < MARKET_MAX => {
                if let Some(object) = self.pick(random) {
                    market().push(object);
                }
            }
            900..950 => {
                let taken = market().pop();
                self.run.objects.handed.fetch_add(u64::from(taken.is_some()), Relaxed);
                self.objects.extend(taken);
            }
            950..990 => {
                if let Some(object) = self.pick(random) {
                    let owner = object.owner;
                    self.run.objects.checked.fetch_add(size_of::<Thing>() as u64, Relaxed);
                    self.run.expect(NAME, object.check(owner));
                    self.objects.push(object);
                }
            }
            990..998 => self.give_back(|| CACHE.tick()),
            _ => self.give_back(|| CACHE.reap()),
        }
    }

    fn pick(&mut self, random: &mut Random) -> Option<Handle> {
        if self.objects.is_empty() {
            return None;
        }
        Some(self.objects.swap_remove(random.below(self.objects.len())))
    }

    /// Gets an object, which may have to be made.
    fn alloc(&mut self) {
        match self.run.catch(|| CACHE.try_alloc()) {
            Some(Ok(mut object)) => {
                self.run.expect(NAME, object.check(0));
                object.owner = mixed(object.words[0]) | 1;
                self.objects.push(object);
            }
            Some(Err(NewObjectError::Alloc(_) | NewObjectError::Init(NoLuck))) => {
                self.run.objects.refused.fetch_add(1, Relaxed);
            }
            None => {}
        }
        MAY_PANIC.store(true, Relaxed);
    }

    fn free(&mut self, random: &mut Random) {
        let Some(mut object) = self.pick(random) else { return };
        self.run.expect(NAME, object.check(mixed(object.words[0]) | 1));
        if self.run.is_due(Planted::Object) {
            object.words[7] = 0;
        }
        if self.run.is_due(Planted::LostObject) {
            return std::mem::forget(object);
        }
        self.give_back(|| drop(object));
    }

    /// Runs what may destroy objects.
    fn give_back<R>(&self, work: impl FnOnce() -> R) {
        self.run.catch(work);
        MAY_PANIC.store(true, Relaxed);
    }
}

/// Requests, constructors, hooks and destructors that have failed on purpose.
pub(crate) fn injected() -> u64 {
    INJECTED.load(Relaxed) + FAULTS.injected()
}

/// Objects that the cache says are live.
pub(crate) fn live() -> usize {
    CACHE.stats().live
}

/// Bytes of its slabs that are out of the source.
pub(crate) fn bytes() -> usize {
    FAULTS.bytes()
}

/// Ends all, and looks whether anything is left.
pub(crate) fn settle(run: &Run) {
    let left = std::mem::take(&mut *market());
    for object in left {
        run.catch(|| drop(object));
    }
    while run.catch(|| CACHE.reap()).is_none() {
        MAY_PANIC.store(true, Relaxed);
    }
    run.expect(NAME, CACHE.verify().map_err(|corruption| corruption.to_string()));
    let damaged = DAMAGED.load(Relaxed);
    if damaged > 0 {
        run.wrong(format!("{NAME}: {damaged} objects were not as they were left when they were destroyed"));
    }
    let (made, destroyed) = (MADE.load(Relaxed), DESTROYED.load(Relaxed));
    if made != destroyed {
        run.wrong(format!("{NAME}: {made} objects were made, {destroyed} destroyed"));
    }
    if live() > 0 || FAULTS.blocks() > 0 {
        let (live, bytes) = (live(), bytes());
        run.wrong(format!("{NAME}: at the end {live} objects are live, {bytes} bytes of slabs are out"));
    }
}
