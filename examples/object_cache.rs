//! A static cache whose objects travel between threads, and which keeps only as much memory as the program has needed lately.
//!
//! Clients take a request from the cache, fill it and send it to a server, which drops it: so it goes back to the cache, its
//! buffer and all, to be filled by the next client. The answers are boxes in a cache of raw memory. After a burst of requests
//! the traffic is light; `tick`, called now and then, gives back the slabs that only the burst needed.
//!
//! ```text
//! cargo run --release --example object_cache -- 50000
//! ```

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use allocator_api2_04::boxed::Box;
use heapwright::AllocError;
use heapwright::cache::{
    CacheStats, DefaultInit, For, Obj, ObjectCache, SlabCache, StdClock, WithReset, WorkingSet,
};
use heapwright::lock::SpinLock;
use heapwright::slab::AlignedSlabs;
use heapwright::source::Pages;

const CLIENTS: usize = 4;
/// Requests under way at most, when the traffic is light.
const QUEUE: usize = 8;
/// More would be a flood.
const REQUESTS_MAX: usize = 1_000_000;
/// Milliseconds after which memory that was not needed goes.
const PERIOD: u64 = 50;

/// Objects that stay made, for all threads: 64 KiB slabs, of which those go that no request was in for a whole period.
type Requests = ObjectCache<
    Request,
    WithReset<DefaultInit, fn(&mut Request)>,
    AlignedSlabs<Pages>,
    SpinLock,
    WorkingSet<StdClock, PERIOD>,
>;
static REQUESTS: Requests = ObjectCache::new(Pages, WithReset(DefaultInit, |request| request.body.clear()));

/// Raw memory for one type, for all threads: an allocator.
type Answers = SlabCache<AlignedSlabs<Pages>, SpinLock, For<Answer>>;
static ANSWERS: Answers = SlabCache::over(Pages);

/// How many requests were made, rather than reused, and how many were destroyed with their slab.
static MADE: AtomicUsize = AtomicUsize::new(0);
static DESTROYED: AtomicUsize = AtomicUsize::new(0);

struct Request {
    number: usize,
    body: Vec<u8>,
}

impl Default for Request {
    fn default() -> Self {
        MADE.fetch_add(1, Ordering::Relaxed);
        Request { number: 0, body: Vec::with_capacity(1 << 10) }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        DESTROYED.fetch_add(1, Ordering::Relaxed);
    }
}

struct Answer {
    number: usize,
    sum: u64,
}

/// A request on its way: two words, which may go to any thread.
type Sent = Obj<'static, Request, Requests>;

/// What a client does: every `CLIENTS`th request is its own.
fn ask(first: usize, count: usize, mut send: impl FnMut(Sent)) -> Result<(), AllocError> {
    for number in (first..count).step_by(CLIENTS) {
        let mut request = REQUESTS.alloc()?;
        request.number = number;
        request.body.extend((0..=number % 1000).map(|byte| byte as u8));
        send(request);
    }
    Ok(())
}

/// What the server does. The request is dropped here, and ready for the next client.
fn answer(request: Sent) -> Result<Box<Answer, &'static Answers>, AllocError> {
    let sum = request.body.iter().map(|&byte| u64::from(byte)).sum();
    Box::try_new_in(Answer { number: request.number, sum }, &ANSWERS).map_err(|_| AllocError)
}

/// Has `count` requests made and answered, at most `queue` under way; `serve` gets them in any order. Gives the sum of all answers.
fn traffic(
    count: usize,
    queue: usize,
    serve: impl FnOnce(Receiver<Sent>) -> Result<Vec<Box<Answer, &'static Answers>>, AllocError>,
) -> Result<u64, AllocError> {
    let (sender, receiver) = mpsc::sync_channel(queue);
    let mut answers = thread::scope(|scope| {
        for client in 0..CLIENTS {
            let sender = sender.clone();
            // A server that has gone away wants no more requests; a client that gets no memory makes none.
            scope.spawn(move || ask(client, count, |request| drop(sender.send(request))));
        }
        drop(sender);
        serve(receiver)
    })?;
    answers.sort_unstable_by_key(|answer| answer.number);
    Ok(answers.iter().map(|answer| answer.sum).sum())
}

fn report(out: &mut impl Write, when: &str) -> io::Result<()> {
    let CacheStats { live, capacity, slabs, bytes_held, .. } = REQUESTS.stats();
    let (made, destroyed) = (MADE.load(Ordering::Relaxed), DESTROYED.load(Ordering::Relaxed));
    writeln!(
        out,
        "{when}: {made} requests made, {destroyed} destroyed, {live} under way; {slabs} slabs, {} KiB, room for {capacity}",
        bytes_held >> 10
    )
}

fn run(count: usize, out: &mut impl Write) -> io::Result<()> {
    let burst = traffic(count, count, |requests| {
        // All have come before the first is answered.
        let all: Vec<Sent> = requests.iter().collect();
        all.into_iter().map(answer).collect()
    });
    let burst = burst.map_err(io::Error::other)?;
    report(out, "after a burst")?;
    for period in 1..=3 {
        let light = traffic(count, QUEUE, |requests| requests.iter().map(answer).collect());
        let light = light.map_err(io::Error::other)?;
        if light != burst {
            return Err(io::Error::other("the answers are not the same"));
        }
        thread::sleep(Duration::from_millis(PERIOD));
        let gone = REQUESTS.tick();
        report(out, &format!("light traffic, period {period}, {gone} slabs given back"))?;
    }
    writeln!(out, "answers: {} live, {} slabs reaped", ANSWERS.stats().live, ANSWERS.reap())
}

fn main() -> io::Result<ExitCode> {
    let count: usize = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(10_000);
    let count = count.min(REQUESTS_MAX);
    run(count, &mut io::stdout().lock())?;
    let sound = REQUESTS.verify().is_ok() && ANSWERS.verify().is_ok() && REQUESTS.stats().live == 0;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
