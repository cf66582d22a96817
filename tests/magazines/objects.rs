//! Magazines in front of object caches: objects keep their state from thread to thread, and are made and destroyed once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use heapwright::cache::{DefaultInit, Magazined, Obj, ObjectAlloc, ObjectCache, PerCpu, ReleaseAtOnce};
use heapwright::lock::SpinLock;
use heapwright::slab::AlignedSlabs;
use heapwright::source::GlobalHeap;

static MADE: AtomicUsize = AtomicUsize::new(0);
static DESTROYED: AtomicUsize = AtomicUsize::new(0);

/// Counts how many there are, and how often each was used.
struct Text {
    text: String,
    uses: usize,
}

impl Default for Text {
    fn default() -> Self {
        MADE.fetch_add(1, Ordering::SeqCst);
        Text { text: String::from("made"), uses: 0 }
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        assert!(self.text.starts_with("made"));
        DESTROYED.fetch_add(1, Ordering::SeqCst);
    }
}

type Texts = ObjectCache<Text, DefaultInit, AlignedSlabs<GlobalHeap, 4096>, SpinLock, ReleaseAtOnce, 0>;

const ROUNDS: usize = if cfg!(miri) { 20 } else { 2_000 };

/// Objects come, are used, and go: some whole, some moved out, some destroyed.
fn churn<C: ObjectAlloc<Text>>(cache: &C) {
    let mut held = Vec::new();
    for round in 0..ROUNDS {
        let mut text = Obj::new(cache).unwrap();
        assert_eq!(text.text.len(), "made".len() + text.uses % 8);
        text.uses += 1;
        let used = text.uses;
        text.text.truncate("made".len());
        text.text.extend(std::iter::repeat_n('!', used % 8));
        match round % 11 {
            3 => Obj::destroy(text),
            7 => drop(Obj::into_inner(text)),
            _ => held.push(text),
        }
        if round % 40 == 39 {
            held.drain(..30);
        }
    }
}

#[test]
fn objects_keep_their_state_and_are_destroyed_once() {
    {
        let texts: PerCpu<Magazined<Texts, SpinLock, 8, 4>, 2> =
            PerCpu::new(Magazined::new(ObjectCache::over(GlobalHeap)), || 1);
        thread::scope(|scope| {
            scope.spawn(|| churn(&texts.magazined().handle()));
            scope.spawn(|| churn(&texts.magazined().handle()));
            scope.spawn(|| churn(&texts));
        });
        assert!(MADE.load(Ordering::SeqCst) < 2 * ROUNDS, "objects are used again");
        texts.flush();
        texts.magazined().reap();
        let cache = texts.magazined().cache();
        assert_eq!((cache.stats().live, cache.verify()), (0, Ok(())));
        assert_eq!(cache.stats().slabs, 0, "the policy has all slabs go that are free");
        churn(&texts);
    }
    assert_eq!(MADE.load(Ordering::SeqCst), DESTROYED.load(Ordering::SeqCst));
}
