//! The ring of last events: what a reader gets was told, as it is, whoever writes meanwhile.

use std::alloc::Layout;

use heapwright::trace::{Block, Event, LastEvents, Sink};
use loom::sync::Arc;
use loom::thread;

use super::Times;

/// An event with one number in all its words.
fn block(number: usize) -> Block {
    let layout = Layout::from_size_align(number, 1).expect("a small size has a layout");
    Block { address: number, layout, len: number }
}

/// Writers that tell of `per_writer` blocks each, and a reader, on a ring of `N` places.
fn readers_get_what_was_told<const N: usize>(writers: usize, per_writer: usize, preemptions: usize) {
    let none = Times::default();
    let counter = none.clone();
    let name = format!("LastEvents<{N}>, {writers} writers of {per_writer}");
    let orders = super::explore(&name, Some(preemptions), move || {
        let ring = Arc::new(LastEvents::<N>::new());
        (0..N).for_each(|place| ring.allocated(&block(90 + place)));
        assert_eq!((ring.iter().count(), ring.lost()), (N, 0));
        let threads: Vec<_> = (1..=writers)
            .map(|writer| {
                let ring = Arc::clone(&ring);
                thread::spawn(move || {
                    (0..per_writer).for_each(|count| ring.allocated(&block(10 * writer + count)));
                })
            })
            .collect();
        let is_whole = |event: Event| match event {
            Event::Allocated(found) => {
                found == block(found.address) && (found.address >= 90 || found.address / 10 <= writers)
            }
            _ => false,
        };
        let mut last = None;
        for kept in ring.iter() {
            assert!(is_whole(kept.event), "torn: {kept}");
            assert!(last < Some(kept.number), "out of order: {kept}");
            last = Some(kept.number);
        }
        if last.is_none() {
            counter.count();
        }
        threads.into_iter().for_each(|thread| thread.join().expect("a writer ends"));
        assert_eq!(ring.told(), N + writers * per_writer);
        assert!(ring.lost() < writers * per_writer, "one of them had the place for itself");
        assert!(ring.iter().all(|kept| is_whole(kept.event)));
    });
    println!("    in {} of them nothing was whole", none.get());
    assert!(orders > 1000 && none.get() < orders, "the threads did not meet");
}

/// All of them.
pub(crate) fn explore_all(more: usize) {
    readers_get_what_was_told::<1>(1, 2, 3 + more);
    readers_get_what_was_told::<1>(2, 1, 2 + more);
    readers_get_what_was_told::<2>(2, 1, 2 + more);
}
