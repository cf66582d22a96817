//! `Pages` below the global allocator of a whole program: nothing in them calls back, whatever the thread.
#![cfg(test)]
#![cfg(feature = "os")]

use std::collections::BTreeMap;
use std::thread;

use heapwright::heap::Locked;
use heapwright::lock::SpinLock;
use heapwright::source::{Pages, SourceHeap};

#[global_allocator]
static HEAP: Locked<SourceHeap<Pages>, SpinLock> = Locked::new(SourceHeap::new(Pages));

#[test]
fn a_program_runs_on_pages_alone() {
    let threads: Vec<_> = (0..4u64)
        .map(|seed| {
            thread::spawn(move || {
                let mut map = BTreeMap::new();
                let mut text = String::new();
                for i in 0..500u64 {
                    map.insert(i.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ seed, vec![i; 3]);
                    text.push_str("grows from page to page; ");
                }
                assert!(map.values().all(|v| v.len() == 3 && v[0] == v[2]));
                assert_eq!(text.len(), 500 * 25);
                map.values().map(|v| v[0]).sum::<u64>()
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().ok(), Some(499 * 500 / 2));
    }
}
