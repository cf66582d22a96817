//! What threads share without a lock, or to make one, in every order of its atomic operations that the memory model allows.
//!
//! The library is compiled from its sources, all of it, with what stands in the place of `core` and `std` (the directories `core` and `std` here): each of its atomics is
//! one of loom's while a model runs, with its order of memory. Locks made of others' atomics (`SpinLock` and `YieldLock` of those of `spin`, `StdLock` of the standard library's)
//! can't be had so: ThreadSanitizer sees them.

mod chunks;
mod counted;
mod late;
mod locks;
#[path = "../../../tests/loom_lock/mod.rs"]
mod mutex;
mod ring;
mod static_buffer;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use loom_core::Runs;

/// In how many orders something happened: that it did at all shows that the threads met.
#[derive(Clone, Debug, Default)]
struct Times(Arc<AtomicUsize>);

impl Times {
    fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs a model in every order in which threads are switched at most `preemptions` times where they need not be.
fn explore(name: &str, preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) -> usize {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 100_000;
    let (orders, runs) = (Times::default(), Runs::default());
    let counter = orders.clone();
    let start = Instant::now();
    builder.check(move || {
        counter.count();
        runs.run(&model);
    });
    let orders = orders.get();
    let bound = preemptions.map_or("all orders".to_owned(), |bound| format!("up to {bound} preemptions"));
    println!("{name}: {orders} orders ({bound}), {:.1} s", start.elapsed().as_secs_f64());
    assert!(orders > 5, "the threads did not meet");
    orders
}

fn main() {
    let more = std::env::var("HEAPWRIGHT_LOOM_MORE").ok().and_then(|more| more.parse().ok()).unwrap_or(0);
    let only = std::env::args().nth(1);
    let models: [(&str, fn(usize)); 6] = [
        ("locks", locks::explore_all),
        ("ring", ring::explore_all),
        ("static_buffer", static_buffer::explore_all),
        ("chunks", chunks::explore_all),
        ("counted", counted::explore_all),
        ("late", late::explore_all),
    ];
    for (name, models) in models {
        if only.as_ref().is_none_or(|only| only == name) {
            models(more);
        }
    }
}
