//! Many threads work on the ready-made heaps for a while, under faults that are made on purpose, and everything is looked at.
//!
//! `cargo run --release --example soak [-- --minutes M | --seconds S] [--threads N] [--seed SEED]`
//!
//! Threads begin, allocate, resize, free, in batches as well, hand blocks to each other, have memory given back, and end: some with blocks that
//! others are to free, some by a panic. Each block is filled with what depends on its number, and compared before it is freed, when it changes
//! hands and after it was resized.
//!
//! | fault | where |
//! |---|---|
//! | a source fails, by chance and beyond a limit | behind four general allocators, a `SlabHeap`, an `ObjectCache` |
//! | a heap refuses by chance | `FailRandom` around the `SlabHeap` |
//! | a heap is too small | the static heaps, for which all threads compete |
//! | more is asked for than can be | all heaps |
//! | constructors fail and panic, hooks and destructors panic | the `ObjectCache` |
//! | a thread ends by a panic, with blocks of all heaps in its hands | all |
//!
//! At the end nothing may be live, by the heaps' own account, and what they hold must have gone back. The exit code is 1 if anything is wrong.
//! What a thread does depends on the seed; which thread comes first, on the OS.

#[path = "soak/block.rs"]
mod block;
#[path = "soak/heaps.rs"]
mod heaps;
#[path = "soak/objects.rs"]
mod objects;
#[path = "soak/random.rs"]
mod random;
#[path = "soak/run.rs"]
mod run;
#[path = "soak/source.rs"]
mod source;
#[path = "soak/worker.rs"]
mod worker;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use crate::heaps::Left;
use crate::run::{Plan, Planted, Run, Tally, run};

/// Works on all ready-made heaps with many threads for a while, and makes faults on purpose.
#[derive(Parser)]
#[command(name = "soak")]
struct Arguments {
    /// How long, in minutes; added to the seconds [default: 1 minute]
    #[arg(long, value_name = "M")]
    minutes: Option<u64>,
    /// How long, in seconds
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    /// Threads that are at work at any time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    threads: u16,
    /// What the threads' choices follow from [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// Makes a fault that must be found
    #[arg(long = "break", value_name = "FAULT", hide = true)]
    planted: Option<Planted>,
}

impl Arguments {
    fn plan(&self) -> Plan {
        let seconds = match (self.minutes, self.seconds) {
            (None, None) => 60,
            (minutes, seconds) => {
                minutes.unwrap_or(0).saturating_mul(60).saturating_add(seconds.unwrap_or(0))
            }
        };
        Plan {
            time: Duration::from_secs(seconds),
            threads: usize::from(self.threads),
            seed: self.seed.unwrap_or_else(any_seed),
            planted: self.planted,
        }
    }
}

/// A number that differs from run to run.
fn any_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish() % 1_000_000
}

/// All tallies: of the heaps, and of the cache of objects.
fn tallies(run: &Run) -> impl Iterator<Item = &Tally> {
    run.places.iter().map(|place| &place.tally).chain([&run.objects])
}

fn sum(run: &Run, of: impl Fn(&Tally) -> u64) -> u64 {
    tallies(run).map(of).sum()
}

fn injected(run: &Run) -> u64 {
    run.places.iter().map(|place| place.subject.account.injected()).sum::<u64>() + objects::injected()
}

/// Bytes that nobody has any more, and no heap has got back.
fn lost(run: &Run) -> u64 {
    let bytes = run.places.iter().map(|place| place.subject.account.left().bytes).sum::<usize>();
    (bytes + objects::bytes()) as u64
}

/// A line that tells how it is going, on a terminal.
struct Progress(ProgressBar);

impl Progress {
    fn new(plan: &Plan) -> Self {
        if !io::stderr().is_terminal() {
            return Progress(ProgressBar::hidden());
        }
        let style = ProgressStyle::with_template("{elapsed} {bar:20} {wide_msg}");
        let bar = ProgressBar::new(plan.time.as_millis() as u64);
        Progress(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    fn show(&self, run: &Run, elapsed: Duration) {
        if self.0.is_hidden() {
            return;
        }
        self.0.set_position(elapsed.as_millis() as u64);
        let operations = sum(run, |tally| tally.operations.load(Relaxed));
        self.0.set_message(format!(
            "{} operations, {} threads, {} of them panicked, {} faults",
            grouped(operations),
            run.threads_begun.load(Relaxed),
            run.threads_panicked.load(Relaxed),
            grouped(injected(run))
        ));
    }
}

/// A number with its digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx) % 3 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// One line of the summary.
fn line(out: &mut impl Write, name: &str, tally: &Tally, injected: u64, left: Left) -> io::Result<()> {
    writeln!(
        out,
        "{name:<28} {:>15} {:>13} {:>13} {:>12} {:>9} {:>6} {:>7}",
        grouped(tally.operations.load(Relaxed)),
        grouped(injected),
        grouped(tally.refused.load(Relaxed)),
        grouped(tally.handed.load(Relaxed)),
        grouped(tally.checked.load(Relaxed) >> 20),
        left.blocks,
        left.bytes
    )
}

/// What came of it.
fn summary(out: &mut impl Write, plan: &Plan, run: &Run) -> io::Result<()> {
    writeln!(
        out,
        "{:<28} {:>15} {:>13} {:>13} {:>12} {:>9} {:>6} {:>7}",
        "heap", "operations", "faults made", "refused", "handed over", "MiB read", "live", "bytes"
    )?;
    for place in &run.places {
        let account = &place.subject.account;
        line(out, place.subject.name, &place.tally, account.injected(), account.left())?;
    }
    let left = Left { blocks: objects::live(), bytes: objects::bytes() };
    line(out, objects::NAME, &run.objects, objects::injected(), left)?;
    writeln!(
        out,
        "\n{} operations in {} s, {} threads at a time, seed {}",
        grouped(sum(run, |tally| tally.operations.load(Relaxed))),
        plan.time.as_secs(),
        plan.threads,
        plan.seed
    )?;
    writeln!(
        out,
        "{} threads have begun and ended, {} of them by a panic; {} panics of constructors, hooks and destructors",
        run.threads_begun.load(Relaxed),
        run.threads_panicked.load(Relaxed),
        run.panics_caught.load(Relaxed).saturating_sub(run.threads_panicked.load(Relaxed))
    )
}

/// Tells what is wrong; whether nothing is.
fn verdict(out: &mut impl Write, run: &Run) -> io::Result<bool> {
    let findings = run.findings();
    for finding in &findings {
        writeln!(out, "WRONG: {finding}")?;
    }
    if findings.is_empty() {
        writeln!(
            out,
            "{} faults made, all survived; {} bytes are lost",
            grouped(injected(run)),
            grouped(lost(run))
        )?;
    }
    Ok(findings.is_empty())
}

fn main() -> ExitCode {
    let plan = Arguments::parse().plan();
    let progress = Progress::new(&plan);
    let run = run(&plan, |run, elapsed| progress.show(run, elapsed));
    progress.0.finish_and_clear();
    let mut out = io::stdout().lock();
    match summary(&mut out, &plan, &run).and_then(|()| verdict(&mut out, &run)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "soak: can't write the output: {error}");
            // If there was nobody to read it, what was found still counts.
            if run.findings().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}
