//! The engine of a check: which scripts there are, and how a failure is made short. It knows subjects, and no type of a heap.

use std::borrow::ToOwned;
use std::boxed::Box;
use std::format;
use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

use super::failure::{Failure, Report};
use super::law::Law;
use super::plan::Plan;
use super::run::{Fault, Run, guarded};
use super::script::{self, Draw, Op};
use super::shadow::Outcome;
use super::subject::Subject;
use super::supply::{Injection, Ledger};

/// Runs of a script at most that look for a shorter one.
const SHRINKS_MAX: usize = 1500;

/// How a script is run.
#[derive(Clone, Copy)]
struct Mode {
    injection: Injection,
    /// Blocks come back with the requested size only.
    exact: bool,
}

/// How a subject is made of a source's account.
pub(super) type Make<'a> = dyn Fn(&Arc<Ledger>) -> Outcome<Option<Box<dyn Subject + 'a>>> + 'a;

/// What a check runs scripts on.
pub(super) struct Engine<'a> {
    /// Makes a subject; none if its source fails.
    pub(super) make: &'a Make<'a>,
    pub(super) tree: &'a dyn Fn() -> Option<String>,
    pub(super) name: &'a str,
    pub(super) plan: &'a Plan,
    /// Whether there is a source to fail and to count.
    pub(super) over_source: bool,
    /// Whether a release has to give all back.
    pub(super) all_back: bool,
}

impl Engine<'_> {
    /// Runs all scripts.
    pub(super) fn run(&self) -> Result<(), Failure> {
        self.describe()?;
        for (number, ops) in script::classics(self.plan.range).iter().enumerate() {
            self.script(ops, Injection::NONE, &format!("fixed script {number}"))?;
        }
        for number in 0..self.plan.scripts {
            let mut draw = Draw::new(self.plan.seed.wrapping_add(number as u64), self.plan.range);
            let ops = draw.script(self.plan.ops);
            self.script(&ops, Injection::NONE, &format!("random script {number}"))?;
        }
        if self.over_source { self.failing() } else { Ok(()) }
    }

    fn describe(&self) -> Result<(), Failure> {
        let fault = |law, text| self.failure(Fault { law, text }, Vec::new(), "its description");
        let tree = guarded(|| (self.tree)()).map_err(|(law, text)| fault(law, text))?;
        match tree {
            Some(tree) if tree.trim().is_empty() || !tree.ends_with('\n') => {
                Err(fault(Law::Describes, format!("{tree:?}")))
            }
            _ => Ok(()),
        }
    }

    /// The same scripts with each request of the source failing: alone, and with all after it.
    fn failing(&self) -> Result<(), Failure> {
        let mut draw = Draw::new(self.plan.seed ^ 0xFA11, self.plan.range);
        let ops = draw.script(self.plan.ops.min(80));
        let requests = match self.trial(&ops, Mode { injection: Injection::NONE, exact: false }, None) {
            Ok(requests) => requests,
            Err(_) => return self.script(&ops, Injection::NONE, "the script of failures"),
        };
        let most = self.plan.failures.min(requests);
        for turn in 0..most {
            // The first ones, and then others spread over all.
            let first = if turn < most / 2 { turn } else { turn * requests / most };
            for last in [first, u64::MAX] {
                let rest = if last == first { "" } else { " and all after it" };
                self.script(
                    &ops,
                    Injection { first, last },
                    &format!("a run where request {first} fails{rest}"),
                )?;
            }
        }
        Ok(())
    }

    /// Runs a script; where it fails, looks for the shortest that does.
    fn script(&self, ops: &[Op], injection: Injection, pass: &str) -> Result<(), Failure> {
        let mode = Mode { injection, exact: false };
        let Err(fault) = self.trial(ops, mode, None) else { return Ok(()) };
        let short = self.shorter(ops.to_vec(), mode, fault.law);
        let mut steps = Vec::new();
        let mut fault = self.trial(&short, mode, Some(&mut steps)).err().unwrap_or(fault);
        let at_source = matches!(fault.law, Law::SourceUse | Law::NothingLost);
        if at_source && self.trial(&short, Mode { injection, exact: true }, None).is_ok() {
            fault.law = Law::SizesBack;
        }
        Err(self.failure(fault, steps, pass))
    }

    pub(super) fn failure(&self, fault: Fault, steps: Vec<String>, pass: &str) -> Failure {
        let tree = guarded(|| (self.tree)()).ok().flatten();
        let (name, pass) = (self.name.to_owned(), pass.to_owned());
        Failure::new(fault.law, Report { name, text: fault.text, steps, pass, seed: self.plan.seed, tree })
    }

    /// A script that breaks the same law, and of which no part that was tried does.
    fn shorter(&self, mut ops: Vec<Op>, mode: Mode, law: Law) -> Vec<Op> {
        let mut left = SHRINKS_MAX;
        let mut fails = |ops: &[Op]| {
            left = left.saturating_sub(1);
            left > 0 && self.trial(ops, mode, None).is_err_and(|fault| fault.law == law)
        };
        loop {
            let before = ops.clone();
            without_parts(&mut ops, &mut fails);
            simpler_one_by_one(&mut ops, &mut fails);
            if ops == before {
                return ops;
            }
        }
    }

    /// Makes a subject, runs the script on it, and drops it. Gives how many requests the source had.
    fn trial(&self, ops: &[Op], mode: Mode, log: Option<&mut Vec<String>>) -> Result<u64, Fault> {
        let ledger = Ledger::new(mode.injection);
        let at = |(law, text)| Fault { law, text };
        let Some(mut subject) = (self.make)(&ledger).map_err(at)? else {
            return self.unmade(&ledger, mode.injection);
        };
        let known = self.over_source.then_some(&*ledger);
        let mut run = Run::new(&mut *subject, known, self.plan.live_max).all_back(self.all_back);
        if mode.exact {
            run = run.exact();
        }
        run.log = log.is_some().then(Vec::new);
        let done = run.script(ops);
        let all_back = self.all_back && ledger.blocks() > 0;
        if let (Some(log), Some(steps)) = (log, run.log.take()) {
            *log = steps;
        }
        if done.is_err() || all_back {
            // Whatever it is like now, nothing of it runs again.
            core::mem::forget(subject);
            done?;
            let text = format!("the source lacks {} bytes though no block is live", ledger.bytes());
            return Err(Fault { law: Law::Releases, text });
        }
        guarded(|| drop(subject)).map_err(at)?;
        settle(&ledger).map_err(at)?;
        Ok(ledger.requests())
    }

    /// A heap that could not be made is fine if the source has failed, and nothing is lost.
    fn unmade(&self, ledger: &Ledger, injection: Injection) -> Result<u64, Fault> {
        let at = |(law, text)| Fault { law, text };
        if injection == Injection::NONE {
            return Err(at((Law::Makes, "it can't be made".to_owned())));
        }
        settle(ledger).map_err(at)?;
        Ok(ledger.requests())
    }
}

/// What the source has to say when the heap is gone.
pub(super) fn settle(ledger: &Ledger) -> Result<(), (Law, String)> {
    ledger.check_guards();
    if let Some(text) = ledger.fault() {
        return Err((Law::SourceUse, text));
    }
    match ledger.blocks() {
        0 => Ok(()),
        blocks => Err((Law::NothingLost, format!("{blocks} blocks of {} bytes are lost", ledger.bytes()))),
    }
}

/// Leaves out of a script what it fails without: halves, quarters, and so on.
fn without_parts(ops: &mut Vec<Op>, fails: &mut impl FnMut(&[Op]) -> bool) {
    let mut len = ops.len().div_ceil(2);
    while len > 0 {
        let mut start = 0;
        while start < ops.len() {
            let mut fewer = ops.clone();
            fewer.drain(start..ops.len().min(start + len));
            if fails(&fewer) {
                *ops = fewer;
            } else {
                start += len;
            }
        }
        len /= 2;
    }
}

/// Makes each operation simpler, as far as the script still fails.
fn simpler_one_by_one(ops: &mut Vec<Op>, fails: &mut impl FnMut(&[Op]) -> bool) {
    for idx in 0..ops.len() {
        let mut simpler = script::simpler(ops[idx]).into_iter();
        while let Some(op) = simpler.next() {
            let mut changed = ops.clone();
            changed[idx] = op;
            if fails(&changed) {
                *ops = changed;
                simpler = script::simpler(op).into_iter();
            }
        }
    }
}
