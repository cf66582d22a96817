//! The edges of slab caches: what a user's own parts may say, and what may be sent where.

use std::collections::BTreeSet;

use heapwright::cache::{DefaultInit, ObjectCache, Retention};
use heapwright::lock::NoLock;
use heapwright::slab::LargeSlabs;
use heapwright::source::GlobalHeap;

/// Keeps nothing, and says so by the greatest number that there is.
#[derive(Debug)]
struct AllGo;

// SAFETY: nothing unwinds or uses a cache.
unsafe impl Retention for AllGo {
    const NEW: Self = AllGo;

    fn surplus(&mut self, _: usize) -> usize {
        usize::MAX
    }
}

#[test]
fn a_policy_may_want_more_gone_than_there_is() {
    type Texts = ObjectCache<String, DefaultInit, LargeSlabs<GlobalHeap, 512>, NoLock, AllGo, 4>;
    let texts = Texts::over(GlobalHeap);
    for _ in 0..3 {
        let some: Vec<_> = (0..100).map(|_| texts.alloc().expect("there is memory")).collect();
        let places: BTreeSet<_> = some.iter().map(|text| &raw const **text).collect();
        assert_eq!(places.len(), some.len(), "an object was handed out twice");
        drop(some);
        texts.tick();
        assert_eq!((texts.stats().slabs, texts.verify()), (0, Ok(())));
    }
}
