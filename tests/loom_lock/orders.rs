//! How models under loom are run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Explores every order of a model's threads in which they are switched at most `preemptions` times where they need not be, and as many times more as the
/// environment variable `HEAPWRIGHT_LOOM_MORE` says; or every order there is.
#[expect(clippy::print_stdout, reason = "how many orders it were is a figure")]
pub(crate) fn explore(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let more = std::env::var("HEAPWRIGHT_LOOM_MORE").ok().and_then(|more| more.parse::<usize>().ok());
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions.map(|preemptions| preemptions + more.unwrap_or(0));
    let orders = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&orders);
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let orders = orders.load(Ordering::Relaxed);
    println!("{}: {orders} orders", std::thread::current().name().unwrap_or_default());
    assert!(orders > 100, "only {orders}: the threads did not meet");
}
