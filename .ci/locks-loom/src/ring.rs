//! The ring of last events: what a reader gets was told, as it is, whoever writes meanwhile.

use real::alloc::Layout;

use loom::sync::Arc;
use loom::thread;

use super::last_events::LastEvents;
use super::{Block, Event, Sink, plain};

/// An event with one number in all its words.
fn block(number: usize) -> Block {
    let layout = Layout::from_size_align(number, 1).expect("a small size has a layout");
    Block { address: number, layout, len: number }
}

/// Writers that tell of `per_writer` blocks each, and a reader, on a ring of `N` places.
fn readers_get_what_was_told<const N: usize>(writers: usize, per_writer: usize, preemptions: usize) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 100_000;
    let counts = real::sync::Arc::new((plain::AtomicUsize::new(0), plain::AtomicUsize::new(0)));
    let seen = real::sync::Arc::clone(&counts);
    let start = real::time::Instant::now();
    builder.check(move || {
        seen.0.fetch_add(1, plain::Ordering::Relaxed);
        let ring = Arc::new(LastEvents::<N>::new());
        // All atomics are used once, so that they are made.
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
            seen.1.fetch_add(1, plain::Ordering::Relaxed);
        }
        threads.into_iter().for_each(|thread| thread.join().expect("a writer ends"));
        assert_eq!(ring.told(), N + writers * per_writer);
        assert!(ring.lost() < writers * per_writer, "one of them had the place for itself");
        assert!(ring.iter().all(|kept| is_whole(kept.event)));
    });
    let [orders, none] = [&counts.0, &counts.1].map(|count| count.load(plain::Ordering::Relaxed));
    println!(
        "LastEvents<{N}>, {writers} writers of {per_writer}: {orders} orders (up to {preemptions} preemptions), in {none} nothing was whole, {:.1} s",
        start.elapsed().as_secs_f64()
    );
    assert!(orders > 1000 && none < orders, "the threads did not meet");
}

/// All of them.
pub(crate) fn explore(more: usize) {
    readers_get_what_was_told::<1>(1, 2, 3 + more);
    readers_get_what_was_told::<1>(2, 1, 2 + more);
    readers_get_what_was_told::<2>(2, 1, 2 + more);
}
